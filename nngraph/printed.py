"""What a model shows of itself: its training step as a program, as Python, and as a file that needs NumPy only."""

from __future__ import annotations

import importlib
from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gates.arrays import Array
from gates.contract import GateError
from gates.losses import OutputGate
from nngraph.capture.graphs import Scale, record_gradient
from nngraph.export import names_of, prediction_source, safe_names, step_source, write_module
from nngraph.graph import Graph
from nngraph.nodes import Constant, Input, Node, Running
from nngraph.optimizers import Adam, Optimizer
from nngraph.program.recorded import RecordedProgram
from nngraph.steps import with_random
from nngraph.validation import instance, whole_number

if TYPE_CHECKING:
    from nngraph.diagnosis import Diagnosis
    from nngraph.summary import Summary


class PrintedModel:
    """What `Model` can say about itself; see there for the attributes."""

    graph: Graph
    scores: Node
    output: OutputGate
    dtype: np.dtype[Any]
    _scorer: Graph
    _X: Input
    _y: Input
    _width: int | None

    @property
    @abstractmethod
    def parameters(self) -> Mapping[str, Array]:
        """All parameters' arrays by name."""

    @abstractmethod
    def _rows(self, X: Any) -> Array:
        """Return X as an array of the model's dtype."""

    @abstractmethod
    def _feeds(self, X: Any, y: Any, sample_weight: Any = None) -> dict[Node, Array]:
        """Return examples, their targets and weights as the graph takes them."""

    @property
    def _scale(self) -> Scale:
        """What the loss is multiplied by: the number of losses, to descend their sum."""
        return self.output.divisor, (self.scores, self._y)

    def summary(self, X: Any = None, y: Any = None, *, batch_size: int = 32) -> Summary:
        """Return a table of the model: its layers, their outputs, parameters and FLOPs, and the memory for a batch.

        Parameters
        ----------
        X : array-like, optional
            Some examples; needed for a graph built by hand, of which the shapes are not known.
        y : array-like, optional
            Their targets; needed where the output takes neither labels that are all zero nor zeros like the scores.
        batch_size : int, default=32
            For how many examples the memory is stated.

        Returns
        -------
        summary : Summary
            It prints as a table, in a notebook and with rich, too; its attributes have the numbers.

        Raises
        ------
        ValueError
            If the data are missing or bad, or the batch size is no positive integer.
        """
        batch_size = whole_number(batch_size, "batch_size", 1)
        with np.errstate(all="ignore"):
            if X is None and y is None and self._width is None:
                raise ValueError("the shapes of a graph built by hand are not known: give some examples X")
            if X is not None and y is None:
                y = self._some_targets(self._rows(X))
            # Loaded when somebody asks: it takes a tenth of the time of the import.
            module = importlib.import_module("nngraph.summary")
            found: Summary = module.summarize(self._scorer, self.graph, self._scale, self._examples(X, y), batch_size)
            return found

    def diagnose(self, X: Any, y: Any, *, optimizer: Optimizer = Adam()) -> Diagnosis:
        """Say what is wrong with the model on these data, by name, with numbers and advice; silent on a healthy one.

        Parameters
        ----------
        X, y
            As in `calculate_loss`. Of more than 2,000 examples the net is looked at with 2,000, evenly spaced.
        optimizer : Optimizer, default=Adam()
            That of the training, whose first step is held against the weights. For `train`, which follows the sum of
            the losses, ``GradientDescent(epsilon * len(X))``.

        Returns
        -------
        diagnosis : Diagnosis
            It has the ``findings``, the ``layers`` and ``healthy``, and prints them. ``docs/diagnose.md`` explains all
            that may be found.

        Raises
        ------
        ValueError, GateError
            If the data or the optimiser are bad. Values that are not finite are a finding.

        Notes
        -----
        Nothing of the model is changed, and nothing is drawn. Values and gradients are those of a training step on all
        these examples, but without dropout.

        References
        ----------
        Glorot, Bengio: Understanding the difficulty of training deep feedforward neural networks. AISTATS 2010.
        He, Zhang, Ren, Sun: Delving deep into rectifiers. ICCV 2015.
        """
        instance(optimizer, Optimizer, "optimizer")
        feeds = self._feeds(X, y)
        # Loaded when somebody asks.
        module = importlib.import_module("nngraph.diagnosis")
        found: Diagnosis = module.diagnose(self._scorer, self.graph, feeds, optimizer)
        return found

    def program(self, X: Any, y: Any) -> RecordedProgram:
        """Return what `train` records on these data: the loss and every parameter's gradient as array operations.

        What is drawn at random, such as the masks of a `Dropout`, is an input of it; behind the gradients it returns
        the statistics of the batch, which a `BatchNorm` averages.

        ``program.source()`` prints it, ``program.report()`` says what it costs and which gates are called as they are.

        Parameters
        ----------
        X, y
            As in `train`.
        """
        return record_gradient(self.graph, with_random(self.graph, self._feeds(X, y)), self._scale).program

    def source(self, X: Any = None, y: Any = None) -> str:
        """Return a training step as Python that needs NumPy only: forward, backward and update.

        What training draws, such as the masks of a `Dropout`, is an argument, as the data are. The running averages of
        a `BatchNorm` are arguments, too, and returned behind the parameters.

        Parameters
        ----------
        X, y : array-like, optional
            Some examples and their targets; needed for a graph built by hand, of which the shapes are not known.

        Returns
        -------
        source : str
            A module with a function ``step``.

        Raises
        ------
        ValueError
            If a gate cannot be followed; the message says which, and why.
        """
        # Weights that are not finite are printed, too.
        with np.errstate(all="ignore"):
            return step_source(self.graph, self._scale, self._examples(X, y), str(self._X.name))

    def export_numpy(self, path: Any, X: Any = None, y: Any = None) -> None:
        """Write the model as a Python file that needs NumPy only, predicts, and can go on training.

        Where training draws something, as with `Dropout`, the file has a function ``step`` that takes it, but not the
        loop ``train``.

        Parameters
        ----------
        path : str or path
            Ends in ``.py``. More than 2,000 weights are written beside it, in a file that ends in ``.npz``.
        X, y : array-like, optional
            As in `source`.

        Raises
        ------
        ValueError
            If a gate cannot be followed, or the path does not end in ``.py``; no file is written then.
        """
        path = Path(path)
        if path.suffix != ".py":
            raise ValueError(f"path must end in .py, got {str(path)!r}")
        names, name = safe_names(self.graph), str(self._X.name)
        with np.errstate(all="ignore"):
            examples = self._examples(X, y)
            some = examples(2)
            step = step_source(self.graph, self._scale, examples, name)

            def rows(n: int) -> Mapping[Node, Array]:
                return {self._X: examples(n)[self._X]}

            forward = prediction_source(self._scorer, self.output, rows, name, names)
        title = f"A net with {', '.join(f'{key} {value.shape}' for key, value in self.parameters.items())}."
        data = name, some[self._X].dtype
        tables: dict[str, dict[str, Array]] = {"PARAMETERS": dict(self.parameters), "AVERAGES": {}, "CONSTANTS": {}}
        for node, key, value in zip(self.graph.nodes, self.graph.names, self.graph.sources(some, {}), strict=True):
            if isinstance(node, Running):
                tables["AVERAGES"][key] = value
            elif isinstance(node, Constant) and not node.is_number:
                tables["CONSTANTS"][key] = value
        drawn = names_of(self.graph, self.graph.randoms, names)
        write_module(path, title, step, forward, tables, names, data, some[self._y].dtype, drawn)

    def _examples(self, X: Any, y: Any) -> Callable[[int], Mapping[Node, Array]]:
        """Return a function that gives data of so many rows: those given, repeated, or any that fit.

        With what is drawn for them; of so many rows they are always the same.
        """
        if (X is None) != (y is None):
            raise ValueError("give both X and y, or neither")
        if X is None:
            if self._width is None:
                raise ValueError(
                    "the shapes of a graph built by hand are not known: give some examples X and targets y"
                )
            X = np.random.default_rng(0).standard_normal((4, self._width))
            y = self._some_targets(self._rows(X))
        feeds = self._feeds(X, y)

        @cache
        def examples(n: int) -> Mapping[Node, Array]:
            data = {node: np.resize(array, (n, *array.shape[1:])) for node, array in feeds.items()}
            return with_random(self.graph, data)

        return examples

    def _some_targets(self, rows: Array) -> Array:
        """Return targets that the output takes: zeros, one for each score, or labels."""
        scores = self._scorer.evaluate({self._X: rows})[self.scores]
        # What takes (n,) beside a column of scores gives it the column's shape, so that (n, 1) will do, too.
        zeros = np.zeros(scores.shape[:1] if scores.shape[1:] == (1,) else scores.shape, self.dtype)
        try:
            self.output(scores, zeros)
        except GateError:
            return np.zeros(len(rows), np.intp)
        return zeros
