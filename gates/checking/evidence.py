"""What is known of a wrong gradient, and what is called an explanation of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from gates.arrays import Array
from gates.checking.jacobian import Jacobian
from gates.checking.trial import Trial


@dataclass(frozen=True)
class Diagnosis:
    """One mistake that explains a wrong gradient to within rounding.

    Attributes
    ----------
    kind : str
        The field's name for the mistake, such as "sign flipped".
    text : str
        One sentence; it holds at other inputs as well.
    numbers : str
        The numbers that show it here.
    """

    kind: str
    text: str
    # Numbers that are others at other inputs.
    numbers: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}{self.numbers}"


@dataclass(frozen=True)
class Evidence:
    """A wrong gradient of input k, with everything that was measured around it.

    Attributes
    ----------
    trial : Trial
        The function and the point.
    k : int
        The input whose gradient is wrong.
    jacobians : mapping of int to Jacobian
        Of every input that has a gradient.
    rng : Generator
        Draws upstream gradients.
    """

    trial: Trial
    k: int
    jacobians: dict[int, Jacobian]
    rng: np.random.Generator

    @property
    def x(self) -> Array:
        return self.trial.inputs[self.k]

    @property
    def name(self) -> str:
        return self.trial.names[self.k]

    @property
    def Z(self) -> Array:
        return self.trial.forward(self.trial.inputs)

    @property
    def true(self) -> Array:
        """The measured Jacobian (m, n), zeros where nothing is known or nothing but rounding was measured."""
        found = self.jacobians[self.k]
        T = np.where(np.isfinite(found.measured), found.measured, 0.0)
        size = np.abs(T)
        beside = np.minimum(size.max(axis=1, initial=0.0)[:, None], size.max(axis=0, initial=0.0))
        return np.where(size > np.maximum(8 * found.error, 1e-9 * beside), T, 0.0)

    @property
    def returned(self) -> Array:
        """What backward makes of unit upstream gradients (m, n)."""
        return self.jacobians[self.k].returned

    def tensor(self, matrix: Array) -> Array:
        """Return a matrix (m, n) with the axes of Z, then those of X."""
        return matrix.reshape(self.Z.shape + self.x.shape)


def close(a: Array, b: Array) -> bool:
    """Whether a equals the measured b, entry by entry; nothing else is called an explanation.

    Entries of a matrix that are small beside both their row and their column may be rounding.
    """
    if a.shape != b.shape:
        return False
    size = np.abs(b)
    rounding = 1e-12 * size.max(initial=0.0)
    if b.ndim == 2:
        rounding = 1e-8 * np.minimum(size.max(axis=1, initial=0.0)[:, None], size.max(axis=0, initial=0.0))
    return bool((np.abs(a - b) <= 1e-5 * size + rounding).all())


def number(value: float) -> str:
    """Write a number as people say it: 2, 1/3, -0.5."""
    fraction = Fraction(value).limit_denominator(12)
    if fraction and abs(float(fraction) - value) <= 1e-6 * abs(value):
        return str(fraction)
    return f"{value:.4g}"
