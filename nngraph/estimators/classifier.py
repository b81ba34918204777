"""A classifier for scikit-learn, over `Model`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, check_classification_targets, type_of_target

from gates.arrays import Array
from gates.layers import log_softmax
from gates.losses import ClassOutput, OutputGate
from gates.outputs import Logistic, Softmax
from nngraph.estimators.base import GateEstimator
from nngraph.estimators.constraints import CONSTRAINTS
from nngraph.estimators.data import Examples, class_weighted
from nngraph.estimators.names import CLASSIFICATION_LOSSES, classification_loss


def _has_probabilities(estimator: GateClassifier) -> bool:
    """Whether the loss models probabilities; raise AttributeError, with the reason, if it does not."""
    loss = estimator.loss
    if loss == "log_loss" or (
        isinstance(loss, OutputGate) and type(loss).predict_proba is not OutputGate.predict_proba
    ):
        return True
    raise AttributeError(f"loss={loss!r} gives no probabilities; 'log_loss' does")


class GateClassifier(ClassifierMixin, GateEstimator):
    """A net of gates as a scikit-learn classifier; with its defaults it trains as scikit-learn's `MLPClassifier`.

    It minimises ``mean loss + alpha / 2 sum(W^2) / m`` in steps on batches of m examples.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence, default=(100,)
        The widths of the hidden layers; beside widths whatever may stand in the architecture of a `Model`: `Dense`,
        `Dropout`, `BatchNorm`, `LayerNorm`, and gates of one input.
    activation : str, Gate or None, or sequence of these, default="relu"
        What follows each hidden layer that is given by a width: "identity", "logistic", "tanh", "relu", "elu", "gelu",
        "leaky_relu", "silu", "softmax", "softplus", or any gate of one input; one for all or one for each.
    loss : {"log_loss", "hinge", "squared_error"} or OutputGate, default="log_loss"
        What is minimised. "log_loss" is `Softmax`, or `Logistic` for two classes or several labels at once. A
        `ClassOutput` gets whole numbers, another output gate a column of 0 and 1 for every class.
    solver : {"adam", "sgd", "lbfgs"}, Optimizer or ScipyMinimize, default="adam"
        What becomes of the gradient; an object of `nngraph.optimizers` brings its own rate.
    alpha : float, default=0.0001
        The strength of the L2 penalty.
    batch_size : int or "auto", default="auto"
        How many examples a step takes; "auto" is 200, or all if there are fewer.
    learning_rate : {"constant", "invscaling", "adaptive"} or schedule, default="constant"
        How the rate changes: "invscaling" divides it by ``(t + 1)^power_t`` after t examples, "adaptive" by 5 when
        nothing improves; neither goes with "adam". Or a schedule of `nngraph.schedules`, which does.
    learning_rate_init : float, default=0.001
        The rate of "adam" and "sgd".
    power_t : float, default=0.5
        See `learning_rate`.
    max_iter : int, default=200
        How many epochs at most, or iterations of "lbfgs".
    shuffle : bool, default=True
        Whether the examples come in another order in every epoch.
    random_state : int, RandomState or None, default=None
        Where initial weights, order, dropout and what is held out are drawn from; None for the system's. NumPy's global
        generator is never used.
    tol : float, default=1e-4
        By less than which an epoch brings nothing; for "lbfgs" the gradient at which it stops.
    verbose : bool or int, default=False
        Whether each epoch is printed.
    warm_start : bool, default=False
        Whether `fit` goes on where the last one stopped: with its weights, the optimiser's state, the rate and the
        generator, so that many short fits are one long one (but with "lbfgs", which begins anew, and with
        validation data, by which the best weights are brought back each time).
    momentum : float, default=0.9
        Of "sgd".
    nesterovs_momentum : bool, default=True
        Whether "sgd" looks ahead.
    early_stopping : bool, default=False
        Whether the score on validation data decides when to stop: that on ``X_val, y_val`` of `fit`, or on a part of
        the examples that is held out.
    validation_fraction : float, default=0.1
        How large a part.
    beta_1, beta_2, epsilon : float, default=0.9, 0.999 and 1e-8
        Of "adam".
    n_iter_no_change : int, default=10
        How many epochs may bring nothing.
    max_fun : int, default=15000
        How often "lbfgs" may compute the loss.
    dropout : float or sequence of floats, default=0.0
        The share of the units that a step leaves out, after each hidden layer that is given by a width.
    batch_norm : bool, default=False
        Whether these layers are normalised by the batch, before their activation.
    class_weight : dict, "balanced" or None, default=None
        What each class weighs in training, not in scores on validation data; "balanced" as much in all, which
        `partial_fit` cannot know from a part. For several labels a list of dicts, one for each label.
    initializer : callable or None, default=None
        The initial weights, see `nngraph.initializers`; None for those of `MLPClassifier`.
    clip_norm : float or None, default=None
        The largest norm of the gradient; a longer one is cut down to it.
    callbacks : list or None, default=None
        Of `nngraph.callbacks`; those of scikit-learn are given to `set_callbacks`. The file of a `Checkpoint` can be
        loaded as a net, but this `fit` does not resume from it.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
    model_ : Model
        The net: ``model_.summary()``, ``model_.source()``, ``model_.diagnose(X, labels)``, ``model_.save(path)``. Its
        labels are positions in `classes_`.
    coefs_, intercepts_ : lists of arrays
        The weights and biases, layer by layer.
    loss_, best_loss_ : float
        The mean objective of the last epoch, and the lowest (None with early stopping).
    loss_curve_ : list of float
        That of every epoch.
    validation_loss_curve_, validation_scores_ : lists of float, or None
        The loss on the validation data, without penalty, and the accuracy, after every epoch.
    best_validation_score_ : float or None
    history_ : History
        All that was measured in the last `fit`, and why it stopped.
    n_iter_, t_ : int
        How many epochs the last call had, and how many examples were seen in all.
    n_features_in_, n_layers_, n_outputs_ : int
    feature_names_in_ : array of str
        If the features have names.
    out_activation_ : str

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from nngraph import GateClassifier
    >>> X, y = make_moons(200, noise=0.2, random_state=0)
    >>> net = GateClassifier((16, 16), activation="gelu", solver="lbfgs", random_state=0).fit(X, y)
    >>> bool(net.score(X, y) > 0.97)
    True
    """

    _parameter_constraints: ClassVar[Mapping[str, Any]] = {
        **CONSTRAINTS,
        "loss": [StrOptions({"log_loss", *CLASSIFICATION_LOSSES}), OutputGate],
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
    }

    class_weight: Any
    classes_: Array

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        loss: Any = "log_loss",
        solver: Any = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: Any = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: Any = 0.0,
        batch_norm: bool = False,
        class_weight: Any = None,
        initializer: Any = None,
        clip_norm: float | None = None,
        callbacks: Any = None,
    ) -> None:
        self._keep(locals())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = self.loss == "log_loss" or isinstance(self.loss, Logistic)
        return tags

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:
        """Train.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,), or of shape (n_samples, n_labels)
            The class of each example; or, if several labels may hold together, 0 and 1 for each.
        sample_weight : array-like of shape (n_samples,), optional
            What each example weighs; one that weighs 0 is left out.
        X_val, y_val, sample_weight_val : array-like, optional
            Examples to judge by after every epoch; the weights with the best score on them are kept.

        Returns
        -------
        self : GateClassifier

        Raises
        ------
        ValueError
            If a setting or the data are bad; the estimator is as it was.
        DivergenceError
            If a value is no longer finite; likewise.

        Warns
        -----
        ConvergenceWarning
            If `max_iter` epochs were not enough.
        """
        with self._or_as_before():
            self._fit(X, y, sample_weight, (X_val, y_val, sample_weight_val))
        return self

    @available_if(GateEstimator._takes_steps)  # noqa: SLF001 - it is ours
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Go through some examples once, and go on where the last call, or `fit`, stopped.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        classes : array-like of shape (n_classes,), optional
            All classes that will ever come; needed in the first call.

        Returns
        -------
        self : GateClassifier

        Raises
        ------
        ValueError, DivergenceError
            As in `fit`.
        """
        if isinstance(self.class_weight, str):
            raise ValueError(
                "class_weight='balanced' needs all examples, of which partial_fit sees a part; give a dict, such as "
                "compute_class_weight of scikit-learn finds"
            )
        with self._or_as_before():
            first_call = _check_partial_fit_first_call(self, classes)
            if first_call:
                self._multilabel = type_of_target(y) == "multilabel-indicator"
            self._partial_fit(X, y, sample_weight, reset=first_call)
        return self

    # --- Labels ------------------------------------------------------------------------------------------------------

    def _labels(self, y: Array, *, known: bool) -> Array:
        check_classification_targets(y)
        multilabel = type_of_target(y) == "multilabel-indicator"
        if not multilabel:
            y = column_or_1d(y, warn=True)
        if not known:
            self._multilabel = multilabel
            self.classes_ = np.arange(y.shape[1]) if multilabel else np.unique(y)
            if not multilabel and len(self.classes_) < 2:
                raise ValueError(
                    f"{type(self).__name__} needs samples of at least 2 classes in the data, but the data contains "
                    f"only one class: {self.classes_.tolist()[0]!r}"
                )
        if multilabel != self._multilabel or (multilabel and y.shape[1] != len(self.classes_)):
            kinds = {True: f"0 or 1 for each of {len(self.classes_)} labels", False: "one class for each example"}
            raise ValueError(f"y must have {kinds[self._multilabel]}, as before, got shape {y.shape}")
        if multilabel:
            return y.astype(np.intp)
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {unknown}."
            )
        return np.searchsorted(self.classes_, y)

    def _output(self) -> OutputGate:
        return classification_loss(self.loss, len(self.classes_), multilabel=self._multilabel)

    def _by_class(self, train: Examples) -> Examples:
        return train if self.class_weight is None else class_weighted(train, self.class_weight, self.classes_)

    def _classes(self) -> int:
        return 0 if self._multilabel else len(self.classes_)

    def _columns(self) -> int:
        binary = isinstance(self._output(), Logistic) and not self._multilabel
        return 1 if binary else len(self.classes_)

    def _targets(self, labels: Array) -> Array:
        if self._multilabel or isinstance(self._output(), ClassOutput):
            return labels
        return (labels[:, None] == np.arange(len(self.classes_))).astype(np.float64)

    def _decide(self, scores: Array) -> Array:
        """Return labels as numbers."""
        output = self._output()
        found = output.predict(scores)
        # An output that predicts numbers has a column for each class.
        return found if found.dtype.kind in "iu" else scores.argmax(axis=-1)

    def _score_of(self, scores: Array, labels: Array, weights: Array | None) -> float:
        right = self._decide(scores) == labels
        return float(np.average(right if right.ndim == 1 else right.all(axis=1), weights=weights))

    # --- Predictions -------------------------------------------------------------------------------------------------

    def predict(self, X: Any) -> Array:
        """Return the most probable class of each example, or 0 and 1 for each of several labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        y : array of shape (n_samples,) or (n_samples, n_labels)
        """
        decided = self._decide(self._scores(X))
        return decided if self._multilabel else self.classes_[decided]

    def decision_function(self, X: Any) -> Array:
        """Return the scores, from which the classes are predicted: the largest, or for two classes what is above 0.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        scores : array of shape (n_samples,) for two classes, else (n_samples, n_classes)
        """
        scores = self._scores(X)
        if self._multilabel or len(self.classes_) > 2:
            return scores
        return scores[:, 0] if scores.shape[1] == 1 else scores[:, 1] - scores[:, 0]

    @available_if(_has_probabilities)
    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class, or of each of several labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        probabilities : array of shape (n_samples, n_classes)
        """
        scores = self._scores(X)
        return self._output().predict_proba(scores)

    @available_if(_has_probabilities)
    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithms of `predict_proba`, also of what is too small for a probability.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        logarithms : array of shape (n_samples, n_classes)
        """
        scores, output = self._scores(X), self._output()
        if isinstance(output, Softmax):
            return log_softmax(scores)
        if isinstance(output, Logistic):
            return -np.logaddexp(0, -scores if self._multilabel else np.concatenate([scores, -scores], axis=1))
        with np.errstate(divide="ignore"):
            return np.log(output.predict_proba(scores))

    @property
    def out_activation_(self) -> str:
        """What makes probabilities of scores: "softmax", "logistic", or "identity" where nothing does."""
        output = self._fitted("out_activation_").output
        return "softmax" if isinstance(output, Softmax) else "logistic" if isinstance(output, Logistic) else "identity"
