"""What learning needs of a model: its objective on data, steps on it, and where they draw from."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from gates.arrays import Array
from nngraph.capture.graphs import Scale
from nngraph.engines.engine import Engine
from nngraph.flat import Flat
from nngraph.graph import Graph
from nngraph.nodes import Input, Node
from nngraph.objective import Objective
from nngraph.penalties import L2, penalties_on
from nngraph.printed import PrintedModel
from nngraph.steps import Captured, NodeByNode, Steps, with_random
from nngraph.validation import drawing, not_negative


class LearningModel(PrintedModel):
    """What `Model` has for learning; see there for the attributes."""

    engine: Literal["numpy", "graph"]
    _engines: dict[str, Any]
    _told: set[str]
    _w: Input
    _random: Any

    @abstractmethod
    def _captured(self, what: Literal["scores", "loss", "weighted loss"]) -> Engine:
        """Return the engine that computes something for predictions."""

    def objective_on(self, X: Any, y: Any, reg_lambda: float = 0.01) -> Objective:
        """Return the objective that `train` descends on these data; it follows the parameters as they change."""
        penalty = L2(not_negative(reg_lambda, "reg_lambda"))
        penalties = penalties_on(self.graph.parameters, list(self.parameters), penalty)
        return replace(self._objective(self._feeds(X, y), summed=True), penalties=penalties)

    def objective(self, X: Any, y: Any, reg_lambda: float = 0.01) -> tuple[float, dict[str, Array]]:
        """Return J, which `train` descends, and its gradient.

        Parameters
        ----------
        X, y, reg_lambda
            As in `train`.

        Returns
        -------
        J : float
            The sum of the losses (or what the output sums) and the penalty.
        gradient : dict from name to array
            dJ/dp for every parameter p, in its shape.
        """
        objective = self.objective_on(X, y, reg_lambda)
        values = objective.forward()
        value = objective.value(objective.loss(values))
        gradient = objective.gradient(objective.backward(values))
        return value, {name: array.copy() for name, array in zip(self.parameters, gradient, strict=True)}

    def _objective(self, feeds: Mapping[Node, Array], *, summed: bool = False) -> Objective:
        """Return the objective on data, without penalties; what is random is drawn, but always the same."""
        graph, scale = self._loss_graph(weighted=self._w in feeds), 1.0
        if len(feeds[self._X]) == 1 and any(node.unbiased for node in graph.running):
            raise ValueError("batch normalisation needs two or more rows in every batch: what spread has a single one?")
        feeds = with_random(graph, feeds)
        if summed:
            values = graph.evaluate(feeds, training=True)
            weights = [feeds[node] for node in (self._w,) if node in feeds]
            scale = float(self.output.divisor(values[self.scores], feeds[self._y], *weights))
        return Objective(graph, feeds, scale)

    def _loss_graph(self, *, weighted: bool) -> Graph:
        """Return the graph of the loss, with or without weights of the examples."""
        if not weighted:
            return self.graph
        found: Graph = self._engines.setdefault(
            "weighted graph",
            self._engines.get("weighted graph") or Graph(self.output(self.scores, self._y, self._w, name="loss")),
        )
        return found

    def _learning_engine(self, flat: Flat, *, summed: bool, weighted: bool) -> Engine:
        scale: Scale = self.output.divisor, (self.scores, self._y, *[self._w] * weighted)
        graph = self._loss_graph(weighted=weighted)
        return Engine(graph, flat.values, flat.gradients, flat.statistics_of, scale if summed else None, self._told)

    def _learner(self, *, summed: bool = False, weighted: bool = False) -> Engine:
        """Return the engine with which `train` and `fit` learn."""
        key = f"gradient, {summed=}, {weighted=}"
        found: Engine | None = self._engines.get(key)
        if found is None:
            # Of threads that come at once all take the first.
            made = self._learning_engine(self._flat(), summed=summed, weighted=weighted)
            found = self._engines.setdefault(key, made)
        return found

    def _flat(self) -> Flat:
        """Return the vectors in which `train` and `fit` have the parameters and their gradients."""
        found: Flat = self._engines.setdefault("flat", self._engines.get("flat") or Flat(self.graph))
        return found

    def _steps(self, objective: Objective, flat: Flat, engine: Engine, *, stays: bool = False) -> Steps:
        """Return how the loss and its gradient are computed on data that stay, or that others follow."""
        if self.engine == "numpy":
            compiled = engine.load(objective.feeds, stays=stays)
            if compiled is not None:
                return Captured(compiled, flat, objective)
        return NodeByNode(objective, flat)

    def _rng(self, random_state: Any) -> np.random.Generator:
        """Return where training draws from: a generator made of `random_state`, or the model's own."""
        if random_state is not None:
            return drawing(random_state)
        if not isinstance(self._random, np.random.Generator):
            self._random = drawing(self._random)
        return self._random

    def draw_on(self, random: Any) -> None:
        """Have the model's own generator go on from the state of another one."""
        if isinstance(random, np.random.RandomState):
            # Of a RandomState that others share nothing was drawn.
            return
        mine = self._random
        if isinstance(mine, np.random.Generator) and type(mine.bit_generator) is type(random.bit_generator):
            mine.bit_generator.state = random.bit_generator.state
        else:
            self._random = random
