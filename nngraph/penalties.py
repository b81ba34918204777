"""Penalties on weights: what is added to the loss so that they stay small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from gates.arrays import Array
from nngraph.nodes import Parameter
from nngraph.validation import instance, not_negative


@dataclass(frozen=True)
class ElasticNet:
    """``l1 sum(|W|) + l2 / 2 sum(W^2)``; the gradient is ``l1 sign(W) + l2 W``.

    Parameters
    ----------
    l1, l2 : float
        The strengths, not negative.
    shared : bool, default=False
        Whether the examples of a batch share it: it is divided by their number (or weight), as if it were added to the
        sum of their losses and not to the mean. So is the alpha of scikit-learn's MLPClassifier.

    References
    ----------
    Zou, Hastie: Regularization and variable selection via the elastic net. Journal of the Royal Statistical Society B
    67, 2005.
    """

    l1: float
    l2: float
    shared: bool = False

    def __post_init__(self) -> None:
        instance(self.shared, bool, f"{type(self).__name__}: shared")
        # Frozen, so that a penalty given twice is one: this is how dataclasses say "set once".
        for name in ("l1", "l2"):
            strength = not_negative(getattr(self, name), f"{type(self).__name__}: {name}")
            object.__setattr__(self, name, strength)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(l1={self.l1!r}, l2={self.l2!r}{self._sharing()})"

    def _sharing(self) -> str:
        return ", shared=True" if self.shared else ""

    def value(self, W: Array) -> float:
        """Return the penalty of an array."""
        # Skipped where it is zero: the square of a large weight may overflow.
        flat, value = W.ravel(), 0.0
        if self.l1:
            value += self.l1 * float(np.add.reduce(np.abs(flat)))
        if self.l2:
            value += self.l2 / 2 * float(flat.dot(flat))
        return value

    def gradient(self, W: Array) -> Array:
        """Return the derivative by every element, 0 for an element that is 0."""
        return self.l2 * W + self.l1 * np.sign(W) if self.l1 else self.l2 * W


class L1(ElasticNet):
    """``strength sum(|W|)``; the gradient is ``strength sign(W)``, which makes small weights exactly zero, nearly.

    Parameters
    ----------
    strength : float
        Not negative.
    shared : bool, default=False
        Whether the examples of a batch share it, see `ElasticNet`.

    References
    ----------
    Tibshirani: Regression shrinkage and selection via the lasso. Journal of the Royal Statistical Society B 58, 1996.
    """

    def __init__(self, strength: float, *, shared: bool = False) -> None:
        super().__init__(not_negative(strength, "L1: strength"), 0.0, shared)

    def __repr__(self) -> str:
        return f"L1({self.l1!r}{self._sharing()})"


class L2(ElasticNet):
    """``strength / 2 sum(W^2)``; the gradient is ``strength W``. Also called weight decay, ridge and Tikhonov.

    Parameters
    ----------
    strength : float
        Not negative.
    shared : bool, default=False
        Whether the examples of a batch share it, see `ElasticNet`.

    References
    ----------
    Hoerl, Kennard: Ridge regression: biased estimation for nonorthogonal problems. Technometrics 12, 1970.
    """

    def __init__(self, strength: float, *, shared: bool = False) -> None:
        super().__init__(0.0, not_negative(strength, "L2: strength"), shared)

    def __repr__(self) -> str:
        return f"L2({self.l2!r}{self._sharing()})"


Penalty: TypeAlias = ElasticNet | Mapping[str, ElasticNet] | None


def penalties_on(
    parameters: Sequence[Parameter], names: Sequence[str], penalty: Penalty
) -> Mapping[Parameter, ElasticNet]:
    """Return the penalty of every parameter that has one.

    Parameters
    ----------
    parameters : sequence of parameters
    names : sequence of str
        Their names.
    penalty : ElasticNet, mapping from name to ElasticNet, or None
        One for all weights, the parameters of two or more axes; or one for each parameter that is named.

    Raises
    ------
    ValueError
        If it is neither, or there is no such parameter.
    """
    if penalty is None:
        return MappingProxyType({})
    if isinstance(penalty, Mapping):
        named = dict(zip(names, parameters, strict=True))
        for name, one in penalty.items():
            if name not in named:
                raise ValueError(f"penalty: there is no parameter {name!r}; there are {', '.join(map(repr, names))}")
            _check(one, f"the penalty of {name!r}")
        return MappingProxyType({named[name]: one for name, one in penalty.items() if one.l1 or one.l2})
    _check(penalty, "penalty")
    weights = [p for p in parameters if p.value.ndim >= 2]
    return MappingProxyType(dict.fromkeys(weights, penalty) if penalty.l1 or penalty.l2 else {})


def _check(penalty: Any, what: str) -> None:
    if isinstance(penalty, int | float) and not isinstance(penalty, bool):
        raise ValueError(f"{what} must be L1(...), L2(...) or ElasticNet(...), got {penalty!r}; write L2({penalty!r})")
    if not isinstance(penalty, ElasticNet):
        raise ValueError(f"{what} must be L1(...), L2(...) or ElasticNet(...), got {penalty!r}; such as L2(0.001)")
