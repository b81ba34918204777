"""What an estimator shows of its net."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sklearn.utils.validation import check_is_fitted

from gates.arrays import Array
from nngraph.estimators.data import checked
from nngraph.graph import Values
from nngraph.model import Model
from nngraph.optimizers import Adam, Optimizer, ScipyMinimize

if TYPE_CHECKING:
    from nngraph.diagnosis import Diagnosis


class OpenedNet(ABC):
    """The net of a fitted estimator: its scores, values, gradients, weights, and what is wrong with it."""

    model_: Model

    @abstractmethod
    def _labels(self, y: Array, *, known: bool) -> Array:
        """Return what is to be learned as numbers; look at its kind, and remember it unless that is known."""

    @abstractmethod
    def _targets(self, labels: Array) -> Array:
        """Return the targets as the output wants them."""

    @abstractmethod
    def _optimizer(self) -> Optimizer | ScipyMinimize:
        """Return what becomes of the gradient."""

    def _scores(self, X: Any) -> Array:
        check_is_fitted(self)
        return self.model_.decision_function(checked(self, X))

    def activations(self, X: Any) -> Values:
        """Return the value of every node of the net up to the scores.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        values : Values
            By name: X, XW1, Z1, A1, ...
        """
        check_is_fitted(self)
        return self.model_.activations(checked(self, X))

    def gradients(self, X: Any, y: Any) -> Values:
        """Return the gradient of the mean loss (without the penalty) by every node of the net.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)

        Returns
        -------
        gradients : Values
            By name: W1, b1, A1, ...
        """
        check_is_fitted(self)
        X, y = checked(self, X, y, reset=False)
        return self.model_.gradients(X, self._targets(self._labels(y, known=True)))

    def diagnose(self, X: Any, y: Any) -> Diagnosis:
        """Say what is wrong with the net on these data, with its solver, by name, with numbers and advice.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)

        Returns
        -------
        diagnosis : Diagnosis
            See `Model.diagnose`.
        """
        check_is_fitted(self)
        X, y = checked(self, X, y, reset=False)
        optimizer = self._optimizer()
        # What SciPy's methods do in a step is theirs.
        taken = optimizer if isinstance(optimizer, Optimizer) else Adam(0.0)
        found = self.model_.diagnose(X, self._targets(self._labels(y, known=True)), optimizer=taken)
        if getattr(self, "class_weight", None) is None:
            return found
        # The weights of the classes are for that.
        return replace(found, findings=tuple(one for one in found.findings if one.kind != "dominant class"))

    @property
    def coefs_(self) -> list[Array]:
        """The weights, layer by layer; writing into them changes the net."""
        return list(self._fitted("coefs_").W)

    @property
    def intercepts_(self) -> list[Array]:
        """The biases, layer by layer; writing into them changes the net."""
        parameters = self._fitted("intercepts_").parameters.items()
        return [value for name, value in parameters if re.fullmatch(r"b\d+", name)]

    def _fitted(self, name: str) -> Model:
        if "model_" not in vars(self):
            raise AttributeError(f"{type(self).__name__} has no {name} before fit")
        return self.model_

    @property
    def n_layers_(self) -> int:
        """The number of layers, that of the features and that of the scores included."""
        return len(self._fitted("n_layers_").W) + 1

    @property
    def n_outputs_(self) -> int:
        """The number of scores."""
        return len(self._fitted("n_outputs_").W[-1].T)
