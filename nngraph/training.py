"""The training loop: epochs of steps on batches, what watches them, and how it ends, well or not."""

from __future__ import annotations

import contextlib
import difflib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gates.arrays import Array
from nngraph.flat import Flat, split
from nngraph.history import History
from nngraph.nodes import Parameter
from nngraph.objective import DivergenceError, Objective
from nngraph.steps import Steps
from nngraph.tracing import NonFiniteError, Trace, trace, trace_gradient, trace_step
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

    def state(self, training: Training) -> Any:
        """Return what this callback must know to go on from the end of an epoch, for a `Checkpoint`; None for nothing.

        Of numbers, strings, None, lists, tuples, dicts and arrays.
        """

    def restore(self, training: Training, state: Any) -> None:
        """Go on from what `state` returned: called after `fit_begin`, if a training is resumed."""


EVENTS = ("fit_begin", "epoch_begin", "batch_begin", "batch_end", "epoch_end", "fit_end")


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
    rows : int
        How many examples it had.
    weight : float
        And what they weigh: their number, or the sum of their weights.
    rate : float
        The learning rate of the last step.
    update : Update or None
        What takes the steps, with the optimiser's state; None where the loop is SciPy's.
    first : int
        The epoch with which it begins: 0, or how many were done already if it is resumed.
    """

    def __init__(
        self,
        model: Any,
        flat: Flat,
        epochs: int,
        batches: int,
        told: Callable[[Training], tuple[str, str]],
        *,
        listeners: Sequence[Any] = (),
        meter: Any = None,
        whose: Callable[[], Array | None] | None = None,
    ) -> None:
        self.model, self.history, self.epochs, self.batches = model, History(), epochs, batches
        self.epoch, self.batch, self.loss, self.rate, self.first = 0, 0, math.nan, math.nan, 0
        self.rows, self.weight = 0, 1.0
        self.columns: tuple[str, ...] = () if meter is None else tuple(meter.columns)
        self.update: Update | None = None
        # Which rows of the user's X the present batch has, None for all.
        self.whose = whose
        # Why it is to end, or has ended; empty if nothing but the number of epochs says so.
        self.reason, self.interrupted = "", False
        # Whether a method of SciPy says that it has not found what it looked for.
        self.failed = False
        self._flat, self._told, self._meter, self._listeners = flat, told, meter, list(listeners)
        self._calls = {event: self._calls_of(event) for event in EVENTS}
        self._begun: list[Any] = []
        # Whether theta is what an epoch begins with, of which no loss is known yet.
        self._fresh = False
        self.kept: tuple[int, Array, Array, float | None] = (0, flat.theta, flat.averages, None)
        # What writes its state down, see `nngraph.course`, and what brings another's back, until it is done.
        self.course: Any = None
        self.resume: Callable[[], None] | None = None

    # --- What callbacks may ask for ----------------------------------------------------------------------------------

    def stop(self, reason: str) -> None:
        """End the training: after the present step (in `batch_end`) or epoch, or before any (when one begins)."""
        self.reason = self.reason or str(reason)

    @property
    def parameters(self) -> Mapping[str, Array]:
        """The present parameters by name, as they are between two steps, too: views."""
        return {self._flat.graph.names[self._flat.graph.position(p)]: part for p, part in self._flat.values.items()}

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
                advice = (
                    "; give validation=(X_val, y_val), or a fraction to hold out such as validation=0.2; an estimator "
                    "takes X_val and y_val in fit, or early_stopping=True"
                )
            else:
                advice = "" if found == "objective" else "; give it in metrics=..."
            raise ValueError(f"{who}: {found!r} is not measured, but {', '.join(self.columns)} are{advice}")
        return found

    # --- The loop ----------------------------------------------------------------------------------------------------

    def run(  # noqa: PLR0912, PLR0915 - the loop in one piece, as it runs
        self,
        batches: Iterable[tuple[Steps, int, float]],
        update: Update,
        rate_at: Callable[[float], float] | float,
        rng: np.random.Generator,
        *,
        computed: Callable[[int, float], None] | None = None,
    ) -> None:
        """Train, to the last epoch or until something ends it.

        Parameters
        ----------
        batches : iterable
            Gives the steps of an epoch, how many rows each has, and what it weighs.
        update : Update
            Takes a step.
        rate_at : callable or float
            The learning rate, or a function of how many epochs are done, with the part of the running one.
        rng : numpy.random.Generator
            Where what is random is drawn from.
        computed : callable, optional
            Called as ``computed(k, loss)`` with the first loss after k epochs; then there is one after the last, too.

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
        flat, last, closing = self._flat, self.epochs, computed is not None
        self.update = update
        random, running = bool(flat.graph.randoms), bool(flat.running)
        epoch_begin, batch_begin, batch_end = (self._calls[e] for e in ("epoch_begin", "batch_begin", "batch_end"))
        ends = self._meter is not None or bool(self._calls["epoch_end"])
        spare = flat.theta.copy(), flat.averages.copy()
        with self.lasting():
            rate = rate_at(float(self.first)) if callable(rate_at) else rate_at
            # Of a resumed training it is known.
            self.rate = rate if math.isnan(self.rate) else self.rate
            if self.batches == 1 and last + closing:
                batches = list(batches)  # the same in every epoch
            for epoch in range(self.first, last + closing):
                self.epoch, self.batch, total, weight = epoch, 0, 0.0, 0.0
                self._fresh = not closing
                for call in epoch_begin:
                    call(self)
                if self.reason:
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
                    update(rate, share)
                    if running:
                        flat.average(rows)
                    self.loss, self.rows, self.weight = loss, rows, share
                    total += share * loss
                    weight += share
                    for call in batch_end:
                        call(self)
                    if self.reason:
                        break
                    self.batch += 1
                if epoch < last:
                    if not _finite(flat.theta) or (running and not _finite(flat.averages)):
                        raise self.diverged(steps.objective(), stepped=True)
                    # Of one batch it is the loss to the last digit.
                    if ends and self.end_epoch(loss if self.batches == 1 else total / weight):
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
            if self.resume is not None:
                self.resume()
                self.resume = None
            yield
            good = True
        except KeyboardInterrupt:
            if self.kept is initial:
                raise
            self.interrupted = True
            # In the midst of an epoch the last step counts, unless it was the one that diverged.
            good = self.batches > 1 and _finite(flat.theta) and _finite(flat.averages)
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
            if self.resume is not None:
                # Whatever the listeners brought back: nothing was resumed.
                self.restore(initial[1:3])

    def _calls_of(self, event: str) -> list[Callable[[Training], None]]:
        """Return those listeners' methods for an event that do something."""
        found = [getattr(listener, event, None) for listener in self._listeners]
        return [call for call in found if call is not None and getattr(call, "__func__", None) is not EMPTY[event]]

    def tell(self, event: str) -> None:
        """Tell the listeners of an event."""
        for call in self._calls[event]:
            call(self)

    def end_epoch(self, loss: float) -> bool:
        """Write the epoch's row into the history and tell the listeners; return whether they want an end."""
        if self._meter is not None:
            if self._meter.predicts or self._calls["epoch_end"]:
                self._flat.write()
            try:
                row = self._meter.row(self, loss)
            except NonFiniteError as error:
                raise self._error(f"after it, {error}", error.trace) from error
            self.history.append(row)
        self.tell("epoch_end")
        return bool(self.reason)

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
        """Describe what first became non-finite: a value, else, after a step, a gradient, a parameter, or an average.

        It is looked for node by node.
        """
        flat, graph = self._flat, objective.graph
        after = {node: part.copy() for node, part in (*flat.values.items(), *flat.averages_of.items())}
        # Of several steps the one that did it is not known.
        alone = stepped and self.batches == 1
        before = split(self.kept[1], graph.parameters)
        if alone:
            flat.theta[...] = self.kept[1]
        flat.write()
        found, gradients = None, None
        values = objective.forward()
        if alone or not stepped:
            found = trace(graph, values, before if self.kept[3] is not None else None)
        if alone and found is None:
            gradients = objective.backward(values)
            found = trace_gradient(graph, values, gradients)
        if not alone and (stepped or (found is not None and found.kind == Parameter.__name__)):
            found = self._backward(objective) or found
        if stepped and found is None:
            found = trace_step(graph, after, before, gradients)
        if found is None:
            # The captured program and the graph may round to both sides of the largest number.
            output = graph.nodes[graph.position(graph.outputs[0])]
            found = Trace(graph.names[graph.position(output)], type(output.gate).__name__, "became", math.inf)
        return self._error(str(found), found, None if self.whose is None else self.whose())

    def _backward(self, objective: Objective) -> Trace | None:
        """Return which gradient is not finite where the values are, at the weights that are kept; None if all are.

        The data are those of the present batch: a backward that makes nan does so on this one, too, as a rule.
        """
        self._flat.theta[...] = self.kept[1]
        self._flat.write()
        values = objective.forward()
        if trace(objective.graph, values) is not None:
            return None
        return trace_gradient(objective.graph, values, objective.backward(values))

    def _error(self, what: str, found: Trace, rows: Array | None = None) -> DivergenceError:
        """Return the error for what was found in some rows of X, with what is kept, and what to do."""
        last = "The last finite weights" if self.batches == 1 else "The weights of the beginning of the epoch"
        kept = "The initial weights are kept" if self.kept[0] == 0 else f"{last} are kept, but may be huge"
        where, advice = self._told(self)
        if rows is not None:
            where += f" (rows {', '.join(map(str, rows[:3]))}{', ...' if len(rows) > 3 else ''} of X)"
        text = f"training diverged in {where}: {what}. {kept}. {advice}"
        return DivergenceError(text, self.epoch * self.batches + min(self.batch, self.batches - 1), found, rows)


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
