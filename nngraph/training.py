"""The training loop: epochs of steps on batches, what watches them, and how it ends, well or not."""

from __future__ import annotations

import contextlib
import difflib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gates.arrays import Array
from nngraph.flat import Flat
from nngraph.history import History
from nngraph.nodes import Node
from nngraph.objective import DivergenceError, Objective
from nngraph.steps import Steps
from nngraph.update import Update


class Callback:
    """What is called in the course of a training. A subclass writes those of the methods that it needs.

    Each gets the `Training`: its ``model``, ``history``, ``epoch``, ``batch``, ``loss`` and ``rate`` may be read, and
    ``stop(reason)`` ends it. Whatever happens, `fit_end` is called if `fit_begin` was.

    Examples
    --------
    >>> class PrintEvery(Callback):
    ...     def __init__(self, epochs):
    ...         self.epochs = epochs
    ...     def epoch_end(self, training):
    ...         if training.epoch % self.epochs == 0:
    ...             print(training.epoch, training.history.last("loss"))
    """

    def __repr__(self) -> str:
        settings = (f"{name}={value!r}" for name, value in vars(self).items() if name[0] != "_")
        return f"{type(self).__name__}({', '.join(settings)})"

    def fit_begin(self, training: Training) -> None:
        """Before the first epoch; what raises here stops the training before any work."""

    def epoch_begin(self, training: Training) -> None:
        """Before the first batch of an epoch."""

    def batch_begin(self, training: Training) -> None:
        """Before a step."""

    def batch_end(self, training: Training) -> None:
        """After a step; ``training.loss`` is the loss on the batch, before the step."""

    def epoch_end(self, training: Training) -> None:
        """After an epoch: the history has its row, and the model has the present weights."""

    def fit_end(self, training: Training) -> None:
        """After the last epoch, however it ended."""


EVENTS = ("fit_begin", "epoch_begin", "batch_begin", "batch_end", "epoch_end", "fit_end")


class Batches:
    """The batches of an epoch, each as steps that have its data.

    Parameters
    ----------
    data : mapping from node to array
        All rows.
    size : int
        How many rows a batch has; the last one of an epoch may have fewer.
    shuffle : bool
        Whether the rows come in another order in every epoch.
    rng : numpy.random.Generator
    steps_on : callable
        Returns new steps on some data.
    """

    def __init__(
        self,
        data: Mapping[Node, Array],
        size: int,
        rng: np.random.Generator,
        steps_on: Callable[[Mapping[Node, Array]], Steps],
        *,
        shuffle: bool,
        weights: Array | None = None,
    ) -> None:
        self.rows = len(next(iter(data.values())))
        self.count = -(-self.rows // size)
        self._data, self._size, self._rng, self._shuffle = data, size, rng, shuffle
        self._steps_on, self._weights = steps_on, weights
        self._steps: dict[int, tuple[Steps, Callable[[Array], bool]]] = {}

    def __iter__(self) -> Iterator[tuple[Steps, int, float]]:
        """Give the steps on every batch, its rows, and what it weighs."""
        if self.count == 1:
            yield self._steps_on(self._data), self.rows, 1.0
            return
        order = self._rng.permutation(self.rows) if self._shuffle else np.arange(self.rows)
        for start in range(0, self.rows, self._size):
            rows = order[start : start + self._size]
            weight = len(rows) if self._weights is None else float(self._weights.take(rows).sum())
            yield self._take(rows), len(rows), weight

    def _take(self, rows: Array) -> Steps:
        steps, take = self._steps.get(len(rows), (None, None))
        if steps is None or take is None or not take(rows):
            steps = self._steps_on({node: array[rows] for node, array in self._data.items()})
            self._steps[len(rows)] = steps, steps.taker(self._data)
        return steps


class Training:
    """A training in its course, as callbacks see it.

    Attributes
    ----------
    model : Model
        It has the present weights in `fit_begin`, `epoch_end` and `fit_end`.
    history : History
        A row for every epoch that has ended.
    epochs, batches : int
        How many epochs were asked for, and how many steps each has.
    epoch, batch : int
        Where it is, counted from 0.
    loss : float
        On the last batch, before its step.
    rate : float
        The learning rate of the last step.
    """

    def __init__(
        self,
        model: Any,
        flat: Flat,
        batches: Batches,
        update: Update,
        rate_at: Callable[[float], float] | float,
        epochs: int,
        rng: np.random.Generator,
        *,
        listeners: Sequence[Any] = (),
        meter: Any = None,
        computed: Callable[[int, float], None] | None = None,
        told: Callable[[Training], tuple[str, str]],
    ) -> None:
        self.model, self.history, self.epochs, self.batches = model, History(), epochs, batches.count
        self.epoch, self.batch, self.loss, self.rate = 0, 0, math.nan, math.nan
        self.columns: tuple[str, ...] = () if meter is None else tuple(meter.columns)
        self._flat, self._batches, self._update, self._rng = flat, batches, update, rng
        self._rate_at, self._meter, self._computed, self._told = rate_at, meter, computed, told
        # Whether theta is what an epoch begins with, of which no loss is known yet.
        self._fresh = False
        self._begun: list[Any] = []
        self._listeners, self._reason, self.interrupted = list(listeners), "", False
        self._epoch_begin, self._epoch_end = self._calls("epoch_begin"), self._calls("epoch_end")
        self._batch_begin, self._batch_end = self._calls("batch_begin"), self._calls("batch_end")
        self.kept: tuple[int, Array, Array, float | None] = (0, flat.theta, flat.averages, None)

    # --- What callbacks may ask for ----------------------------------------------------------------------------------

    def stop(self, reason: str) -> None:
        """End the training: after the present step (in `batch_end`) or epoch, or before any (when one begins)."""
        self._reason = self._reason or str(reason)

    @property
    def reason(self) -> str:
        """Why it is to end, or has ended; empty if nothing but the number of epochs says so."""
        return self._reason

    def weights(self) -> tuple[Array, Array]:
        """Return a copy of the present parameters and running averages, for `restore`."""
        return self._flat.theta.copy(), self._flat.averages.copy()

    def restore(self, weights: tuple[Array, Array]) -> None:
        """Go back to what `weights` returned."""
        self._flat.theta[...], self._flat.averages[...] = weights
        self._flat.write()

    def monitored(self, name: str | None, who: str) -> str:
        """Return the column that a callback asks for, "validation_loss" for None; raise ValueError if there is none."""
        found = name or "validation_loss"
        if found not in self.columns:
            # Other libraries say val_loss.
            close = difflib.get_close_matches(found.replace("val_", "validation_"), self.columns, n=1)
            if close:
                advice = f"; did you mean {close[0]!r}?"
            elif found.startswith("validation_"):
                advice = "; give validation=(X_val, y_val), or a fraction to hold out such as validation=0.2"
            else:
                advice = "" if found == "objective" else "; give it in metrics=..."
            raise ValueError(f"{who}: {found!r} is not measured, but {', '.join(self.columns)} are{advice}")
        return found

    # --- The loop ----------------------------------------------------------------------------------------------------

    def run(self, *, closing: bool = False) -> None:  # noqa: PLR0912, PLR0915 - the loop in one piece, as it runs
        """Train, to the last epoch or until something ends it.

        Parameters
        ----------
        closing : bool, default=False
            Whether the loss is computed once more after the last step.

        Raises
        ------
        DivergenceError
            If a loss or a parameter is not finite.
        KeyboardInterrupt
            If it comes before the first loss; a later one sets `interrupted`, and the training ends.

        Notes
        -----
        After an error the parameters are those at the beginning of the epoch; if they are those that diverge, of the
        epoch before: `kept` is the last epoch whose first loss is known, its theta, averages and loss. After an
        interrupt they are those of the last whole step with a finite loss.
        """
        flat, rng, rate_at, computed = self._flat, self._rng, self._rate_at, self._computed
        random, running, last = bool(flat.graph.randoms), bool(flat.running), self.epochs
        update, ends = self._update, self._meter is not None or bool(self._epoch_end)
        batch_begin, batch_end = self._batch_begin, self._batch_end
        spare = flat.theta.copy(), flat.averages.copy()
        with self.lasting():
            self.rate = rate = rate_at(0.0) if callable(rate_at) else rate_at
            batches: Iterable[tuple[Steps, int, float]] = self._batches
            if self.batches == 1 and last + closing:
                batches = list(batches)  # the same in every epoch
            for epoch in range(last + closing):
                self.epoch, self.batch, total, weight = epoch, 0, 0.0, 0.0
                self._fresh = computed is None
                if self._epoch_begin:
                    self.begin_epoch()
                if self._reason:
                    break
                for steps, rows, share in batches:
                    for call in batch_begin:
                        call(self)
                    if random:
                        steps.draw(rng)
                    loss = steps.loss()
                    if not math.isfinite(loss):
                        raise self.diverged(steps.objective())
                    if self.batch == 0:
                        np.copyto(spare[0], flat.theta)
                        if running:
                            np.copyto(spare[1], flat.averages)
                        # By one assignment, so that an interrupt finds the old state or the new one, whole.
                        self.kept, spare = (epoch, *spare, loss), self.kept[1:3]
                        self._fresh = False
                        if computed is not None:
                            computed(epoch, loss)
                        if epoch == last:
                            break
                    steps.differentiate()
                    if callable(rate_at):
                        self.rate = rate = rate_at(epoch + self.batch / self.batches)
                    update(rate)
                    if running:
                        flat.average(rows)
                    self.loss = loss
                    total += share * loss
                    weight += share
                    for call in batch_end:
                        call(self)
                    if self._reason:
                        break
                    self.batch += 1
                if epoch < last:
                    if not _finite(flat.theta):
                        raise self.diverged(steps.objective(), stepped=True)
                    if ends and self.end_epoch(total / weight):
                        break

    @contextlib.contextmanager
    def lasting(self) -> Iterator[None]:
        """Tell the listeners of the beginning and the end, and leave weights that are whole and finite."""
        flat = self._flat
        self.kept = initial = (0, flat.theta.copy(), flat.averages.copy(), None)
        good = False
        try:
            for listener in self._listeners:
                self._begun.append(listener)
                if hasattr(listener, "fit_begin"):
                    listener.fit_begin(self)
            yield
            good = True
        except KeyboardInterrupt:
            if self.kept is initial:
                raise
            self.interrupted = True
            # In the midst of an epoch the last step counts, unless it was the one that diverged.
            good = self.batches > 1 and _finite(flat.theta)
        except Exception as error:
            if not isinstance(error, DivergenceError):
                good = self._fresh
                if self.kept[0] == 0:
                    self.kept = initial
            raise
        finally:
            if not good:
                flat.theta[...], flat.averages[...] = self.kept[1:3]
            _whole(flat.write)
            self._end()

    def begin_batch(self) -> None:
        """Tell the listeners that a step begins."""
        for call in self._batch_begin:
            call(self)

    def end_batch(self) -> None:
        """Tell the listeners that a step was taken."""
        for call in self._batch_end:
            call(self)

    def _calls(self, event: str) -> list[Callable[[Training], None]]:
        """Return those listeners' methods for an event that do something."""
        found = [getattr(listener, event, None) for listener in self._listeners]
        return [call for call in found if call is not None and getattr(call, "__func__", None) is not EMPTY[event]]

    def begin_epoch(self) -> None:
        """Tell the listeners that an epoch begins."""
        for call in self._epoch_begin:
            call(self)

    def end_epoch(self, loss: float) -> bool:
        """Write the epoch's row into the history and tell the listeners; return whether they want an end."""
        if self._meter is not None:
            if self._meter.predicts or self._epoch_end:
                self._flat.write()
            self.history.append(self._meter.row(self, loss))
        for call in self._epoch_end:
            call(self)
        return bool(self._reason)

    def keep(self, loss: float) -> None:
        """Remember the present state as good."""
        self.kept = self.epoch, self._flat.theta.copy(), self._flat.averages.copy(), loss

    def _end(self) -> None:
        """Tell all who heard of the beginning, whatever the others raise."""
        with contextlib.ExitStack() as stack:
            for listener in reversed(self._begun):
                if hasattr(listener, "fit_end"):
                    stack.callback(listener.fit_end, self)

    def diverged(self, objective: Objective, *, stepped: bool = False) -> DivergenceError:
        """Describe what first became non-finite: a value, else, after a step, a gradient, else a parameter.

        It is looked for node by node.
        """
        flat, graph = self._flat, objective.graph
        after = {p: part.copy() for p, part in flat.values.items()}
        # Of several steps the one that did it is not known.
        alone = stepped and self.batches == 1
        if alone:
            flat.theta[...] = self.kept[1]
        flat.write()
        values = objective.forward()
        arrays: list[tuple[str, str, Array | None]] = []
        if alone or not stepped:
            arrays += [(name, "became", array) for name, array in values.items()]
        if alone:
            gradients = objective.backward(values)
            arrays += [(name, "got a gradient of", gradients[name]) for name in reversed(graph.names)]
        if stepped:
            arrays += [(graph.names[graph.position(p)], "became", after[p]) for p in graph.parameters]
        bad = ((n, d, a[~np.isfinite(a)][0]) for n, d, a in arrays if a is not None and not np.isfinite(a).all())
        # The captured program and the graph may round to both sides of the largest number.
        name, did, value = next(bad, (graph.names[graph.position(graph.outputs[0])], "became", math.inf))
        node = graph.nodes[graph.position(name)]
        kind = type(node if node.gate is None else node.gate).__name__
        last = "The last finite weights" if self.batches == 1 else "The weights of the beginning of the epoch"
        kept = "The initial weights are kept" if self.kept[0] == 0 else f"{last} are kept, but may be huge"
        where, advice = self._told(self)
        text = f"training diverged in {where}: node {name!r} ({kind}) {did} {value}. {kept}. {advice}"
        return DivergenceError(text, self.epoch * self.batches + min(self.batch, self.batches - 1), name)


EMPTY = {event: getattr(Callback, event) for event in EVENTS}


def _finite(theta: Array) -> bool:
    """Whether all numbers are finite."""
    # A sum of squares that overflows may have finite terms; one that is finite has no others.
    return math.isfinite(theta.dot(theta)) or bool(np.isfinite(theta).all())


def _whole(action: Callable[[], None]) -> None:
    """Do something to its end: an interrupt comes after it."""
    interrupt: KeyboardInterrupt | None = None
    while True:
        try:
            action()
            break
        except KeyboardInterrupt as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt
