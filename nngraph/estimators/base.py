"""What both estimators share: their settings, and how they train."""

from __future__ import annotations

import contextlib
import copy
import warnings
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin
from sklearn.exceptions import ConvergenceWarning

from gates.arrays import Array
from gates.losses import OutputGate
from nngraph.estimators.constraints import CONSTRAINTS
from nngraph.estimators.data import Examples, checked, counting, held_out, weighted
from nngraph.estimators.names import architecture
from nngraph.estimators.online import Online
from nngraph.estimators.opened import OpenedNet
from nngraph.estimators.progress import Progress, continued
from nngraph.estimators.rules import Order, UncorrectedAdam, Velocity, uniform
from nngraph.estimators.watch import Watch
from nngraph.initializers import Generator
from nngraph.model import Model
from nngraph.optimizers import GradientDescent, Optimizer, ScipyMinimize
from nngraph.penalties import L2
from nngraph.schedules import Schedule
from nngraph.validation import drawing, generator

# What scikit-learn sets while an estimator fits, and takes away itself.
OF_CALLBACKS = ("_callback_fit_ctx", "_skl_callbacks_to_teardown", "_parent_callback_ctx", "_skl_callbacks")


class GateEstimator(OpenedNet, CallbackSupportMixin, BaseEstimator):
    """A `Model` behind scikit-learn's interface; see `GateClassifier` and `GateRegressor`."""

    _parameter_constraints: ClassVar[Mapping[str, Any]] = CONSTRAINTS

    # The settings, described in the subclasses.
    hidden_layer_sizes: Any
    activation: Any
    loss: Any
    solver: Any
    alpha: float
    batch_size: Any
    learning_rate: Any
    learning_rate_init: float
    max_iter: int
    shuffle: bool
    random_state: Any
    tol: float
    verbose: Any
    warm_start: bool
    momentum: float
    nesterovs_momentum: bool
    early_stopping: bool
    validation_fraction: float
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: float
    max_fun: int
    dropout: Any
    batch_norm: bool
    initializer: Any
    clip_norm: float | None
    callbacks: Any

    _progress: Progress
    _order: Order
    _online: Online | None = None

    def _keep(self, arguments: Mapping[str, Any]) -> None:
        """Make attributes of the arguments of `__init__`, unchanged, as scikit-learn wants it."""
        self.__dict__.update({name: value for name, value in arguments.items() if name != "self"})

    # --- What the two differ in --------------------------------------------------------------------------------------

    @abstractmethod
    def _output(self) -> OutputGate:
        """Return the output gate for the labels that were looked at."""

    @abstractmethod
    def _columns(self) -> int:
        """Return how many scores there are."""

    @abstractmethod
    def _score_of(self, scores: Array, labels: Array, weights: Array | None) -> float:
        """Return what `score` would."""

    def _takes_steps(self) -> bool:
        """Whether it trains in steps; raise AttributeError, which says why, if it does not."""
        if self.solver == "lbfgs" or isinstance(self.solver, ScipyMinimize):
            raise AttributeError(f"partial_fit takes steps, which solver={self.solver!r} does not; 'adam' and 'sgd' do")
        return True

    def _classes(self) -> int:
        """Return how many classes there are; 0 where the labels are no classes."""
        return 0

    def _by_class(self, train: Examples) -> Examples:
        """Return what is trained on with the weights of the classes, if they have any."""
        return train

    def _scale(self) -> float:
        """Return what a loss of the model is multiplied by in the curves."""
        return 1.0

    # --- Training ----------------------------------------------------------------------------------------------------

    def _fit(self, X: Any, y: Any, sample_weight: Any, validation: Sequence[Any]) -> None:
        """Fit anew, or with warm_start go on; `validation` are examples, targets and weights, or None for each."""
        told = {"X": X, "y": y, "metadata": {"sample_weight": sample_weight}}
        task = None
        if getattr(self, "_skl_callbacks", None) or hasattr(self, "_parent_callback_ctx"):
            task = self._init_callback_context(max_subtasks=self.max_iter)
            task.call_on_fit_task_begin(estimator=self, **told)
        for callback in self.callbacks or ():
            if hasattr(callback, "on_fit_task_end"):
                name = type(callback).__name__
                raise ValueError(f"callbacks has {name}, which is one of scikit-learn's; write set_callbacks({name}())")
        going_on = self.warm_start and hasattr(self, "model_")
        given = self._examples(X, y, sample_weight, reset=not going_on, known=going_on)
        rng = generator(self.random_state)
        if going_on:
            # Of a copy: what the weights are drawn from may be what the order goes on with.
            rng = copy.deepcopy(rng)
        model = self._new_model(given.X, rng)
        if going_on:
            try:
                model.adopt(self.model_)
            except ValueError as error:
                raise ValueError(
                    f"warm_start goes on with the weights of the last fit, but {error}; False begins anew"
                ) from error
        train, held = self._held_out(given, validation, rng)
        train = self._by_class(train)
        progress = copy.deepcopy(self._where()) if going_on else Progress(self.early_stopping)
        progress.epochs, progress.early_stopping = 0, self.early_stopping
        self.model_, self._progress, self._online = model, progress, None
        if not going_on:
            self._order = Order(rng)
        optimizer, size = self._optimizer(), None
        if isinstance(optimizer, Optimizer):
            optimizer, size = continued(optimizer, progress, _theta(model)), self._batch_size(len(train.X), model)
        score = None if held is None else (lambda: self._score_of(model.decision_function(held.X), *held[1:3]))
        watch = Watch(self, progress, train, self._scale(), score, task, told)
        self.history_ = model.fit(
            train.X, self._targets(train.labels), sample_weight=train.weights,
            epochs=int(self.max_iter), batch_size=size, optimizer=optimizer, schedule=self._schedule(progress),
            penalty=self._penalty(), clip_norm=self.clip_norm,
            validation=None if held is None else (held.X, self._targets(held.labels), held.weights),
            callbacks=[watch, *(self.callbacks or ())], shuffle=self._order if self.shuffle else False, progress=False,
        )  # fmt: skip
        self.__dict__.update(progress.attributes())
        if task is not None:
            task.call_on_fit_task_end(estimator=self, reconstruction_attributes={}, **told)
        if self.history_.stopped == "all epochs are done":
            text = f"{type(self).__name__} has not converged after max_iter={self.max_iter} epochs, by tol={self.tol:g}"
            warnings.warn(f"{text}; raise max_iter, or tol, or scale the data", ConvergenceWarning, 4)
        elif watch.failed:
            text = f"{type(self).__name__} has not converged after {self.n_iter_} epochs: {self.history_.stopped}"
            warnings.warn(f"{text}; raise max_fun, scale the data, or take another solver", ConvergenceWarning, 4)

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, *, reset: bool) -> None:
        """Take one epoch on these examples, and go on where the last call, or `fit`, left off."""
        if self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        train = self._by_class(self._examples(X, y, sample_weight, reset=reset, known=True))
        if not hasattr(self, "model_"):
            rng = generator(self.random_state)
            self.model_, self._progress, self._order = self._new_model(train.X, rng), Progress(False), Order(rng)
        model, progress, optimizer = self.model_, self._progress, self._optimizer()
        assert isinstance(optimizer, Optimizer)  # noqa: S101 - with SciPy's methods there is no partial_fit
        # The rate may change from call to call.
        made_of = repr((type(optimizer), {**vars(optimizer), "rate": None}, self.alpha, self.clip_norm))
        if self._online is None or self._online.made_of != made_of:
            settings = {"penalty": self._penalty(), "clip_norm": self.clip_norm}
            going_on = continued(optimizer, self._where(), _theta(model))
            self._online = Online(model, going_on, self.alpha, made_of, **settings)
        schedule = self._schedule(progress)
        rate = optimizer.rate * (1.0 if schedule is None else schedule(len(progress.loss_curve), self.max_iter))
        size, rows = self._batch_size(len(train.X), model), len(train.X)
        order = self._order(rows) if self.shuffle and size < rows else np.arange(rows)
        train = train._replace(labels=self._targets(train.labels))
        loss = self._online.epoch(train, size, order, rate, self._scale())
        progress.epochs = 0
        progress.end_epoch(loss, rows, self)
        if self.verbose:
            print(f"Iteration {progress.epochs}, loss = {loss:.8f}")
        if progress.idle > self.n_iter_no_change:
            progress.turn_down(rate, self)
        self.__dict__.update(progress.attributes())

    @contextlib.contextmanager
    def _or_as_before(self) -> Iterator[None]:
        """Leave the estimator as it was if something fails."""
        before = dict(vars(self))
        back = self._order.mark() if "_order" in before else None
        try:
            yield
        except BaseException:
            if back is not None:
                back()
            now = self.__dict__
            kept = {name: now[name] for name in OF_CALLBACKS if name in now}
            now.clear()
            now.update({**before, **kept})
            raise

    def _where(self) -> Progress:
        """Return how far training has come, with the optimiser's present state."""
        if self._online is not None:
            self._progress.state = self._online.state
        return self._progress

    def __getstate__(self) -> dict[str, Any]:
        # What steps are taken with is recorded anew.
        if self._online is not None:
            self._where()
        return {**super().__getstate__(), "_online": None}

    # --- Parts -------------------------------------------------------------------------------------------------------

    def _examples(self, X: Any, y: Any, sample_weight: Any, *, reset: bool, known: bool) -> Examples:
        """Return looked-at data; with `reset` the features are new, and unless `known` the kind of labels is."""
        X, y = checked(self, X, y, reset=reset)
        labels = self._labels(y, known=known)
        return counting(Examples(X, labels, weighted(sample_weight, X), np.arange(len(X))))

    def _held_out(self, given: Examples, validation: Sequence[Any], rng: Generator) -> tuple[Examples, Examples | None]:
        """Return what is trained on, and what is held out, if anything is."""
        X_val, y_val, weight_val = validation
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val go together: the examples to judge by, and their targets")
        if X_val is None and weight_val is not None:
            raise ValueError("sample_weight_val goes with X_val and y_val, which are not given")
        if X_val is not None:
            try:
                X_val, y_val = checked(self, X_val, y_val, reset=False)
                held = counting(
                    Examples(X_val, self._labels(y_val, known=True), weighted(weight_val, X_val), np.arange(len(X_val)))
                )
                if len(held.X) < 2 and not self._classes():
                    raise ValueError("R^2, which judges, needs two or more examples, got 1")
            except ValueError as error:
                raise ValueError(f"X_val, y_val: {error}") from error
            return given, held
        if not self.early_stopping:
            return given, None
        return held_out(given, self.validation_fraction, rng, classes=self._classes())

    def _new_model(self, X: Array, rng: Generator) -> Model:
        return Model(
            architecture(
                self.hidden_layer_sizes, self.activation, self.dropout, self.batch_norm, (X.shape[1], self._columns())
            ),
            output=self._output(),
            initializer=uniform(self.activation, rng) if self.initializer is None else self.initializer,
            dtype=X.dtype,
            # Of its own, so that weights, order and what is held out are drawn as scikit-learn draws them.
            random_state=drawing(copy.deepcopy(rng)),
        )

    def _optimizer(self) -> Optimizer | ScipyMinimize:
        if not isinstance(self.solver, str):
            return self.solver
        rate = float(self.learning_rate_init)
        if self.solver == "lbfgs":
            return ScipyMinimize("L-BFGS-B", gtol=self.tol, maxfun=self.max_fun)
        if self.solver == "adam":
            return UncorrectedAdam(rate, self.beta_1, self.beta_2, self.epsilon)
        if self.momentum == 0:
            return GradientDescent(rate)
        return Velocity(rate, self.momentum, self.nesterovs_momentum)

    def _schedule(self, progress: Progress) -> Schedule | None:
        steps = self.solver != "lbfgs" and not isinstance(self.solver, ScipyMinimize)
        if callable(self.learning_rate):
            if isinstance(self.learning_rate, type):
                name = self.learning_rate.__name__
                raise ValueError(f"learning_rate must be a schedule, got the class {name}; write {name}()")
            if not steps:
                raise ValueError(
                    f"learning_rate={self.learning_rate!r} does not go with solver={self.solver!r}, which finds its "
                    "own steps; leave it 'constant'"
                )
            return self.learning_rate
        # As in scikit-learn, Adam's rate is its own.
        return progress if self.learning_rate != "constant" and steps and self.solver != "adam" else None

    def _penalty(self) -> L2 | None:
        return L2(self.alpha, shared=True) if self.alpha else None

    def _batch_size(self, rows: int, model: Model) -> int:
        if self.batch_size != "auto":
            if self.batch_size > rows:
                text = f"batch_size={self.batch_size} is larger than the {rows} training examples"
                warnings.warn(f"{text}; a batch has all of them", UserWarning, 5)
            return min(int(self.batch_size), rows)
        if rows == 1 and model.graph.running:
            raise ValueError("batch normalisation needs two or more examples to train on, got 1 sample")
        size = min(200, rows)
        # So that no example is alone where a batch is normalised.
        while size > 2 and rows % size == 1 and model.graph.running:
            size -= 1
        return size


def _theta(model: Model) -> Array:
    """Return an array of the size of all parameters."""
    return np.zeros(sum(value.size for value in model.parameters.values()), model.dtype)
