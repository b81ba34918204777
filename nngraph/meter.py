"""What is measured at the end of every epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gates.arrays import Array
from nngraph.flat import places
from nngraph.nodes import Node, Parameter
from nngraph.penalties import ElasticNet
from nngraph.training import Training


class Meter:
    """Makes the rows of a History.

    Parameters
    ----------
    model : Model
    train, held : mappings from node to array
        The data, in the order features, targets and, if there are any, weights; `held` may be empty.
    metrics : mapping from name to function
    penalties : mapping from parameter to ElasticNet
    weight : float
        What all rows that are trained on weigh.
    rate : bool
        Whether there is a learning rate.

    Attributes
    ----------
    columns : list of str
        What a row has.
    predicts : bool
        Whether the model is asked, so that it must have the present weights.
    """

    def __init__(
        self,
        model: Any,
        train: Mapping[Node, Array],
        held: Mapping[Node, Array],
        metrics: Mapping[str, Callable[[Any, Any], Any]],
        penalties: Mapping[Parameter, ElasticNet],
        weight: float,
        *,
        rate: bool,
    ) -> None:
        self._model, self._metrics = model, metrics
        # Each penalty, and which part of theta has it.
        parts = places(model.graph.parameters)
        self._penalties = [(penalty, parts[p]) for p, penalty in penalties.items()]
        self._weight = weight
        self._parts = [("", train, list(train.values()))]
        if held:
            self._parts.append(("validation_", held, list(held.values())))
        self.predicts = bool(held or metrics)
        self._start = time.perf_counter()
        self._rate = rate
        self.columns = ["loss", *["objective"] * bool(penalties), *["rate"] * rate, "seconds", *metrics]
        if held:
            self.columns += ["validation_loss", *(f"validation_{name}" for name in metrics)]

    def resume(self, seconds: float) -> None:
        """Count the time on from so many seconds."""
        self._start = time.perf_counter() - seconds

    def row(self, training: Training, loss: float) -> dict[str, float]:
        """Measure."""
        row = {"loss": loss}
        if self._penalties:
            # Those with which the epoch's first loss was computed.
            theta = training.kept[1]
            for penalty, part in self._penalties:
                # Each batch has the whole of a shared one, over its own weight.
                loss += penalty.value(theta[part]) * (training.batches / self._weight if penalty.shared else 1.0)
            row["objective"] = loss
        if self._rate:
            row["rate"] = training.rate
        row["seconds"] = time.perf_counter() - self._start
        for prefix, feeds, arrays in self._parts if self.predicts else ():
            if prefix:
                row["validation_loss"] = self._model.loss_on(feeds)
            if self._metrics:
                predictions = self._model.predict(arrays[0])
                for name, metric in self._metrics.items():
                    row[prefix + name] = _number(metric(arrays[1], predictions), name)
        return row


def _number(value: Any, name: str) -> float:
    if np.ndim(value) or not isinstance(value, int | float | np.number | np.ndarray):
        raise ValueError(f"the metric {name} must return a number, got {value!r}")
    return float(value)
