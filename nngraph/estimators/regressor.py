"""A regressor for scikit-learn, over `Model`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if

from gates.arrays import Array
from gates.losses import ClassOutput, OutputGate
from gates.outputs import Poisson
from nngraph.estimators.base import GateEstimator
from nngraph.estimators.constraints import CONSTRAINTS
from nngraph.estimators.names import REGRESSION_LOSSES


class GateRegressor(RegressorMixin, GateEstimator):
    """A net of gates as a scikit-learn regressor; with its defaults it trains as scikit-learn's `MLPRegressor`.

    It minimises ``mean loss + alpha / 2 sum(W^2) / m`` in steps on batches of m examples.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence, default=(100,)
        The widths of the hidden layers; beside widths whatever may stand in the architecture of a `Model`: `Dense`,
        `Dropout`, `BatchNorm`, `LayerNorm`, and gates of one input.
    activation : str, Gate or None, or sequence of these, default="relu"
        What follows each hidden layer that is given by a width: "identity", "logistic", "tanh", "relu", "elu", "gelu",
        "leaky_relu", "silu", "softmax", "softplus", or any gate of one input; one for all or one for each.
    loss : {"squared_error", "poisson", "absolute_error", "huber"} or OutputGate, default="squared_error"
        What is minimised; of several targets the sum. "squared_error" is half the square, "poisson" predicts
        ``exp(score)``.
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
    initializer : callable or None, default=None
        The initial weights, see `nngraph.initializers`; None for those of `MLPRegressor`.
    clip_norm : float or None, default=None
        The largest norm of the gradient; a longer one is cut down to it.
    callbacks : list or None, default=None
        Of `nngraph.callbacks`; those of scikit-learn are given to `set_callbacks`. The file of a `Checkpoint` can be
        loaded as a net, but this `fit` does not resume from it.

    Attributes
    ----------
    model_ : Model
        The net: ``model_.summary()``, ``model_.source()``, ``model_.diagnose(X, y)``, ``model_.save(path)``.
    coefs_, intercepts_ : lists of arrays
        The weights and biases, layer by layer.
    loss_, best_loss_ : float
        The mean objective of the last epoch, and the lowest (None with early stopping).
    loss_curve_ : list of float
        That of every epoch; of several targets with the squared error, whose sum is minimised, their mean, as
        `MLPRegressor` has it.
    validation_loss_curve_, validation_scores_ : lists of float, or None
        The loss on the validation data, without penalty, and R^2, after every epoch.
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
    >>> import numpy as np
    >>> from nngraph import GateRegressor
    >>> X = np.linspace(-2, 2, 100)[:, None]
    >>> net = GateRegressor((20,), activation="tanh", solver="lbfgs", random_state=0).fit(X, np.sin(2 * X.ravel()))
    >>> bool(net.score(X, np.sin(2 * X.ravel())) > 0.99)
    True
    """

    _parameter_constraints: ClassVar[Mapping[str, Any]] = {
        **CONSTRAINTS,
        "loss": [StrOptions(set(REGRESSION_LOSSES)), OutputGate],
    }

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        loss: Any = "squared_error",
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
        initializer: Any = None,
        clip_norm: float | None = None,
        callbacks: Any = None,
    ) -> None:
        self._keep(locals())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
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
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The target of each example, or several.
        sample_weight : array-like of shape (n_samples,), optional
            What each example weighs; one that weighs 0 is left out.
        X_val, y_val, sample_weight_val : array-like, optional
            Examples to judge by after every epoch; the weights with the best score on them are kept.

        Returns
        -------
        self : GateRegressor

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
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Go through some examples once, and go on where the last call, or `fit`, stopped.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        self : GateRegressor

        Raises
        ------
        ValueError, DivergenceError
            As in `fit`.
        """
        with self._or_as_before():
            self._partial_fit(X, y, sample_weight, reset=not hasattr(self, "model_"))
        return self

    # --- Targets -----------------------------------------------------------------------------------------------------

    def _labels(self, y: Array, *, known: bool) -> Array:
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        columns = 1 if y.ndim == 1 else y.shape[1]
        if not known or not hasattr(self, "_targets_of_each"):
            self._targets_of_each = columns
        if columns != self._targets_of_each:
            raise ValueError(f"y must have {self._targets_of_each} targets for each example, as before, got {columns}")
        try:
            return y.astype(np.float64, copy=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"y must be numbers, which a regressor predicts, but {error}") from error

    def _output(self) -> OutputGate:
        output = REGRESSION_LOSSES[self.loss] if isinstance(self.loss, str) else self.loss
        if isinstance(output, ClassOutput):
            raise ValueError(f"loss={output!r} is for classes, but a regressor predicts numbers; take a GateClassifier")
        return output

    def _columns(self) -> int:
        return self._targets_of_each

    def _targets(self, labels: Array) -> Array:
        return labels

    def _scale(self) -> float:
        return 1 / self._targets_of_each if self.loss == "squared_error" else 1.0

    def _score_of(self, scores: Array, labels: Array, weights: Array | None) -> float:
        found = self._output().predict(scores)
        return float(r2_score(labels, found, sample_weight=weights)) if np.isfinite(found).all() else math.nan

    def predict(self, X: Any) -> Array:
        """Return the prediction for each example.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        y : array of shape (n_samples,) or (n_samples, n_outputs)
        """
        return self._output().predict(self._scores(X))

    @property
    def out_activation_(self) -> str:
        """What makes predictions of scores: "exp" for Poisson's loss, else "identity"."""
        return "exp" if isinstance(self._fitted("out_activation_").output, Poisson) else "identity"
