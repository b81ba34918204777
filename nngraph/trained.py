"""How a model learns: `train` as it was published, `fit` for everything, and single steps."""

from __future__ import annotations

import copy
import math
import warnings
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gates.arrays import Array
from gates.losses import ClassOutput
from nngraph.batches import Batches, Order
from nngraph.callbacks import Checkpoint, ProgressBar
from nngraph.course import Course, Resumed
from nngraph.descent import Descent
from nngraph.fitting import (
    accuracy,
    check_accuracy,
    check_alone,
    check_callbacks,
    check_flags,
    check_labels_seen,
    check_metrics,
    check_optimizer,
    check_schedule,
    class_weights,
    held_out,
    validation_arrays,
)
from nngraph.flat import Flat
from nngraph.history import History
from nngraph.learning import LearningModel
from nngraph.meter import Meter
from nngraph.minimize import Minimizer
from nngraph.nodes import Node, Parameter
from nngraph.objective import ADVICE, FIT_ADVICE
from nngraph.optimizers import Adam, GradientDescent, Optimizer, ScipyMinimize
from nngraph.penalties import Penalty, penalties_on
from nngraph.progress import on_terminal, progress_bar
from nngraph.steps import Steps
from nngraph.training import Callback, Training
from nngraph.update import Update
from nngraph.validation import finite, instance, not_negative, positive, whole_number


class TrainedModel(LearningModel):
    """What `Model` does with examples and their targets to learn from them; see there for the attributes."""

    loss_history: list[float]

    @abstractmethod
    def predict(self, X: Any) -> Array:
        """Return the predictions for some rows."""

    @abstractmethod
    def _loss_of(self, scores: Array, y: Array, *weights: Array) -> float:
        """Return the loss, with errors that are the graph's."""

    def train(
        self,
        X: Any,
        y: Any,
        num_passes: int = 20000,
        epsilon: float = 0.01,
        reg_lambda: float = 0.01,
        print_loss: bool = False,
    ) -> None:
        """Descend ``J = sum of losses + reg_lambda / 2 * sum(W^2)`` by ``theta <- theta - epsilon dJ/dtheta``.

        Each pass takes all data at once. J sums the losses even where the output reports their mean, so epsilon goes
        with the number of examples: twice the data is twice the step.

        Parameters
        ----------
        X : array-like of shape (examples, features)
            The features.
        y : array-like
            The targets, as the output wants them: for Softmax integer labels of shape (examples,).
        num_passes : int, default=20000
            How many steps to take; 0 only measures the loss.
        epsilon : float, default=0.01
            The learning rate.
        reg_lambda : float, default=0.01
            The strength of the penalty on W; the biases are free.
        print_loss : bool, default=False
            Whether to print the loss (without the penalty) after passes 1, 1001, 2001, ...

        Raises
        ------
        ValueError, GateError
            If the data or a number is bad; before any weight is changed.
        DivergenceError
            If a value is no longer finite; the last finite weights are kept.

        Warns
        -----
        UserWarning
            If interrupted with Ctrl-C; the last weights whose loss was computed are kept. If J is larger at the end
            than at the start.
        """
        num_passes = whole_number(num_passes, "num_passes", 0)
        epsilon = not_negative(epsilon, "epsilon")
        losses, start = self.loss_history, max(len(self.loss_history) - 1, 0)
        # What overflows is found and named by the training.
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"), progress_bar(num_passes) as update:
            objective = self.objective_on(X, y, reg_lambda)

            def computed(passes: int, loss: float) -> None:
                losses[start + passes :] = [loss]
                if print_loss and passes % 1000 == 1:
                    print(f"Loss after iteration {passes - 1}: {loss:f}")
                update(passes, loss)

            flat = self._flat()
            # Without a pass there is nothing to differentiate.
            engine = self._learner(summed=True) if num_passes else self._captured("loss")
            # Nothing else is drawn: all examples are in every step.
            rng = self._rng(None) if self.graph.randoms else np.random.default_rng(0)
            flat.read()

            # All examples are the one batch.
            batches = [(self._steps(objective, flat, engine, stays=True), len(objective.feeds[self._X]), 1.0)]
            step = Update(flat, GradientDescent(epsilon), objective.penalties)
            advice = ADVICE.format(epsilon)
            training = Training(self, flat, num_passes, 1, lambda training: (f"pass {training.epoch}", advice))
            penalty, before = objective.value(0.0), losses[start:]
            try:
                training.run(batches, step, epsilon, rng, computed=computed)
            finally:
                passes, _, _, last = training.kept
                losses[start + passes :] = before if last is None else [last]
        if training.interrupted:
            interrupted = f"Training was interrupted after {passes} of {num_passes} passes"
            warnings.warn(f"{interrupted}; the model keeps what it learned.", stacklevel=2)
            return
        J, J_end = penalty + objective.scale * losses[start], objective.value(losses[-1])
        # Where nothing is left to learn, rounding moves J up and down.
        if J_end > 1.01 * J + 1e-6 * objective.scale:
            worse = f"Training made the model worse: the objective rose from {J:.4g} to {J_end:.4g}"
            warnings.warn(f"{worse}. {ADVICE.format(epsilon)}.", stacklevel=2)

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        epochs: int = 100,
        batch_size: int | None = None,
        optimizer: Optimizer | ScipyMinimize = Adam(),
        schedule: Callable[[float, int], float] | None = None,
        penalty: Penalty = None,
        clip_norm: float | None = None,
        validation: Any = None,
        metrics: Sequence[Any] = (),
        callbacks: Sequence[Callback] = (),
        sample_weight: Any = None,
        class_weight: Any = None,
        shuffle: Order = True,
        progress: bool = True,
        random_state: Any = None,
        resume: Any = None,
    ) -> History:
        """Descend ``J = mean loss + penalty`` in steps on batches of the examples, epoch after epoch.

        Parameters
        ----------
        X : array-like of shape (examples, features)
            The features.
        y : array-like
            The targets, as the output wants them: for Softmax integer labels of shape (examples,).
        epochs : int, default=100
            How many times to go through all examples.
        batch_size : int, optional
            How many examples a step takes, by default 32, or all if there are fewer (and a little less where a single
            example would be a batch to be normalised); ``len(X)`` for full batches. The last batch of an epoch has what
            is left.
        optimizer : Optimizer or ScipyMinimize, default=Adam()
            What becomes of the gradient, with the learning rate, see `nngraph.optimizers`.
        schedule : callable, optional
            By what the rate is multiplied, ``schedule(epoch, epochs)``, see `nngraph.schedules`.
        penalty : L1, L2 or ElasticNet, or dict from parameter name to these, optional
            What is added to the loss, see `nngraph.penalties`: one for all weights (not the biases), or one for each
            parameter that is named, ``{"W1": L1(0.001)}``.
        clip_norm : float, optional
            The largest norm of the gradient of J, by all parameters together; a longer one is cut down to it.
        validation : (X, y), (X, y, weights) or float, optional
            Examples on which loss and metrics are measured after every epoch; or the fraction of the examples to hold
            out for it, of each label alike.
        metrics : sequence, default=()
            What else to measure after every epoch: "accuracy", or functions of the targets and the predictions, such
            as scikit-learn's ``r2_score``, by their names.
        callbacks : sequence of Callback, default=()
            What is called in the course of it, see `nngraph.callbacks`.
        sample_weight : array-like of shape (examples,), optional
            What each example weighs in the loss; those that weigh nothing are left out.
        class_weight : "balanced" or dict from label to float, optional
            What each label weighs; it multiplies with sample_weight.
        shuffle : bool or callable, default=True
            Whether the examples come in another order in every epoch; or a function that returns it,
            ``shuffle(rows)``, as an array of the numbers of so many rows (some may come twice, and others not).
        progress : bool, default=True
            Whether a bar is drawn where the output is a terminal, once it lasts longer than a second.
        random_state : int, RandomState, Generator or None, default=None
            Where the order, what is held out and dropout are drawn from; None for the model's own, which goes on where
            it stopped.
        resume : str or path, optional
            The file of a `Checkpoint`, from which the training goes on as if it had never stopped, to the byte. All
            other arguments, and the model, are to be what they were; `epochs` may be larger.

        Returns
        -------
        history : History
            What was measured, a row per epoch, and why it ended.

        Raises
        ------
        ValueError, GateError
            If the data or a parameter is bad; before any weight is changed.
        StorageError, OSError
            If a training cannot be resumed: the file is no checkpoint, or that of another training; the model is
            unchanged.
        DivergenceError
            If a value is no longer finite; the model has the weights of the beginning of that epoch.

        Warns
        -----
        UserWarning
            If interrupted with Ctrl-C: the model has the weights of the last step, or the best if a callback says so.
            If the loss has doubled from the first epoch to the last.
        """
        epochs = whole_number(epochs, "epochs", 0)
        check_flags(shuffle, progress)
        if clip_norm is not None:
            clip_norm = positive(clip_norm, "clip_norm")
        check_optimizer(optimizer)
        check_schedule(schedule)
        measured = check_metrics(metrics)
        listeners = check_callbacks(callbacks)
        penalties = penalties_on(self.graph.parameters, list(self.parameters), penalty)
        resumed = None if resume is None else Resumed(resume, self, epochs)
        flat = self._flat()
        flat.read()
        rng = self._rng(random_state)
        begin = _beginning(rng, resumed, listeners)
        train, held, whose = self._data(X, y, validation, sample_weight, class_weight, begin)
        rows = len(train[self._X])
        size = self._batch_size(batch_size, len(X), rows)
        if measured.get("accuracy") is accuracy:
            check_accuracy(train[self._y], self.predict(train[self._X][:2]))
        if isinstance(optimizer, ScipyMinimize):
            alone = {"schedule": schedule, "clip_norm": clip_norm, "batch_size": batch_size if size < rows else None}
            alone["resume"] = resume
            check_alone(optimizer, alone, self.graph)
            size = rows
        listeners = _listeners(listeners, schedule, progress)

        engine = self._learner(weighted=self._w in train)

        def steps_on(data: Mapping[Node, Array]) -> Steps:
            return self._steps(self._objective(data), flat, engine, stays=size == rows)

        batches = Batches(train, size, rng, steps_on, shuffle=shuffle, weights=train.get(self._w))
        meter = Meter(self, train, held, measured, penalties, batches.weight, rate=isinstance(optimizer, Optimizer))
        training = Training(
            self, flat, epochs, batches.count, _told_of_fit,
            listeners=listeners, meter=meter, whose=lambda: _present(whose, batches, len(X)),
        )  # fmt: skip
        settings = {
            "optimizer": optimizer, "penalty": {name: penalties[p] for name, p in self._named() if p in penalties},
            "clip_norm": clip_norm, "batch_size": size, "rows": rows, "held out": len(held.get(self._X, ())),
            "shuffle": shuffle, "columns": training.columns,
        }  # fmt: skip
        training.course = course = Course(training, flat, rng, begin, meter, listeners, settings)
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            if isinstance(optimizer, ScipyMinimize):
                Minimizer(optimizer, flat, steps_on(train), penalties, rows, batches.weight).run(training)
            else:
                update = Update(flat, optimizer, penalties, clip_norm)
                if resumed is not None:
                    course.resume(resumed)
                training.run(batches, update, _rate(optimizer, schedule, epochs), rng)
        history = training.history
        history.stopped = "interrupted" if training.interrupted else training.reason or "all epochs are done"
        if training.interrupted:
            done = f"Training was interrupted after {history.epochs} of {epochs} epochs"
            warnings.warn(f"{done}; the model keeps what it learned.", stacklevel=2)
        elif history.epochs > 1 and (losses := history["loss"])[-1] > 2 * losses[0] + 1e-6:
            worse = f"the loss rose from {losses[0]:.4g} to {losses[-1]:.4g}"
            advice = f" {FIT_ADVICE.format(training.rate)}." if isinstance(optimizer, Optimizer) else ""
            warnings.warn(f"Training made the model worse: {worse}.{advice}", stacklevel=2)
        return history

    def descent(
        self,
        optimizer: Optimizer = GradientDescent(),
        *,
        penalty: Penalty = None,
        clip_norm: float | None = None,
        summed: bool = False,
        random_state: Any = None,
    ) -> Descent:
        """Return training in single steps, for a loop of one's own over mini-batches.

        Parameters
        ----------
        optimizer, penalty, clip_norm, random_state
            As in `fit`.
        summed : bool, default=False
            Whether to follow the sum of the losses, as `train` does, instead of what the output reports.

        Returns
        -------
        descent : Descent
            Call its `load`, `compute` and `update` for every step, and `finish` at the end.
        """
        instance(optimizer, Optimizer, "optimizer")
        instance(summed, bool, "summed")
        if clip_norm is not None:
            clip_norm = positive(clip_norm, "clip_norm")
        penalties = penalties_on(self.graph.parameters, list(self.parameters), penalty)
        # Its own, so that it goes on undisturbed by another descent or a training.
        flat, engines = Flat(self.graph), {}
        update = Update(flat, optimizer, penalties, clip_norm)
        rng = self._rng(random_state)

        def arrays(X: Any, y: Any, sample_weight: Any) -> dict[Node, Array]:
            given: dict[Node, Array] = {self._X: np.asarray(X), self._y: np.asarray(y)}
            return given if sample_weight is None else {**given, self._w: np.asarray(sample_weight)}

        def steps_on(X: Any, y: Any, sample_weight: Any) -> Steps:
            weighted = sample_weight is not None
            if weighted not in engines:
                engines[weighted] = self._learning_engine(flat, summed=summed, weighted=weighted)
            # Copies: the caller may fill the same arrays with the next batch.
            feeds = {node: array.copy() for node, array in self._feeds(X, y, sample_weight).items()}
            return self._steps(self._objective(feeds, summed=summed), flat, engines[weighted])

        return Descent(steps_on, arrays, flat, update, optimizer.rate, rng)

    # --- Parts -------------------------------------------------------------------------------------------------------

    def _named(self) -> list[tuple[str, Parameter]]:
        """Return the parameters with their names."""
        return list(zip(self.parameters, self.graph.parameters, strict=True))

    def _batch_size(self, batch_size: Any, given: int, rows: int) -> int:
        """Return how many of the rows that are trained on a step takes; `given` were there before any were held out."""
        size = 32 if batch_size is None else whole_number(batch_size, "batch_size", 1)
        if batch_size is not None and size > given:
            raise ValueError(f"batch_size must be at most the number of examples, {given}, got {size}")
        size = min(size, rows)
        if batch_size is None and any(node.unbiased for node in self.graph.running):
            # So that no example is alone.
            while size > 2 and rows % size == 1:
                size -= 1
        if 1 in (size, rows % size) and any(node.unbiased for node in self.graph.running):
            raise ValueError(
                f"batch normalisation needs two or more rows in every batch, but with batch_size={size} one of the "
                f"{rows} examples is alone; take another batch_size"
            )
        return size

    def _data(
        self, X: Any, y: Any, validation: Any, sample_weight: Any, class_weight: Any, rng: np.random.Generator
    ) -> tuple[dict[Node, Array], dict[Node, Array], Array]:
        """Return what to train on, what is held out, {} for nothing, and which rows are trained on.

        The output has looked at all targets.
        """
        train, held = self._feeds(X, y, sample_weight), {}
        whose = np.arange(len(train[self._X]))
        labels = isinstance(self.output, ClassOutput) and train[self._y].dtype.kind in "iub"
        self._look_at(train)
        if class_weight is not None:
            by_class = class_weights(class_weight, train[self._y], self.dtype)
            with np.errstate(over="ignore", under="ignore"):
                both = by_class * train[self._w] if self._w in train else by_class
            train[self._w] = finite(both, "sample_weight times class_weight")
        if self._w in train:
            counts = train[self._w] > 0
            if not counts.any():
                raise ValueError("the weights of all examples to train on are zero: then there is nothing to learn")
            if not counts.all():
                whose, train = whose[counts], {node: array[counts] for node, array in train.items()}
        if isinstance(validation, int | float | np.number):
            kept, out = held_out(validation, train[self._y], labels, rng)
            train, held = ({node: array[rows] for node, array in train.items()} for rows in (kept, out))
            whose = whose[kept]
        elif validation is not None:
            arrays = validation_arrays(validation)
            try:
                held = self._feeds(*arrays)
                self._look_at(held)
            except ValueError as error:
                raise type(error)(f"validation: {error}") from error
        if held and labels and train[self._y].ndim == 1:
            check_labels_seen(train[self._y], held[self._y])
        return train, held, whose

    def _look_at(self, feeds: Mapping[Node, Array]) -> None:
        """Let the output look at all targets; raise what it raises, as the graph would."""
        scores = self._scorer.evaluate({self._X: feeds[self._X][:2]})[self.scores]
        # What overflows is found and named by the training.
        with np.errstate(over="ignore"):
            self._loss_of(np.zeros((len(feeds[self._y]), *scores.shape[1:]), scores.dtype), *list(feeds.values())[1:])


def _present(whose: Array, batches: Batches, given: int) -> Array | None:
    """Return which rows of X the present batch has; None where these are all of them."""
    if batches.present is None:
        return None if len(whose) == given else whose
    found: Array = whose[batches.present]
    return found


def _beginning(rng: np.random.Generator, resumed: Resumed | None, callbacks: list[Any]) -> np.random.Generator:
    """Return a generator in the state with which a training begins, or began; its own if nobody writes that down."""
    if resumed is not None:
        return resumed.begin
    written = any(isinstance(callback, Checkpoint) for callback in callbacks)
    begin: np.random.Generator = copy.deepcopy(rng) if written else rng
    return begin


def _listeners(callbacks: list[Any], schedule: Any, progress: bool) -> list[Any]:
    """Return all who are told of a training, in their order."""
    found = list(callbacks)
    if progress and not any(isinstance(callback, ProgressBar) for callback in callbacks) and on_terminal():
        found.append(ProgressBar(plain=False))
    if hasattr(schedule, "epoch_end") or hasattr(schedule, "fit_begin"):
        found.append(schedule)
    # Checkpoints write down what the others have become.
    return sorted(found, key=lambda listener: isinstance(listener, Checkpoint))


def _rate(
    optimizer: Optimizer, schedule: Callable[[float, int], float] | None, epochs: int
) -> Callable[[float], float] | float:
    """Return the learning rate, with a schedule as a function of how many epochs are done."""
    # An int counts, too.
    rate = float(optimizer.rate)
    if schedule is None:
        return rate
    return lambda epoch: rate * not_negative(schedule(epoch, epochs), "the factor that the schedule gives")


def _told_of_fit(training: Training) -> tuple[str, str]:
    """Return where a training is, and what to do when it diverges there."""
    where = f"epoch {training.epoch}" + (f", batch {training.batch}" if training.batches > 1 else "")
    if math.isnan(training.rate):
        return where, "Start anew from smaller weights, or scale the data to columns of mean 0 and variance 1"
    return where, FIT_ADVICE.format(training.rate)
