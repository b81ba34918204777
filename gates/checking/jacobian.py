"""The whole Jacobian of a small input, as measured and as returned: where exactly a gradient is wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gates.arrays import Array, first
from gates.checking.gradient import SAFETY
from gates.checking.slopes import measure, nearby_noise, rounding_noise, scales
from gates.checking.trial import Trial


@dataclass(frozen=True)
class Jacobian:
    """``dZ/dX`` of one input, one row per element of Z and one column per element of X: as measured, as returned.

    Attributes
    ----------
    measured, error : arrays of shape (m, n)
        The slopes and how far they are certain; nan and infinite at kinks and where nothing could be measured.
    returned : array of shape (m, n)
        Row i is what backward returns for a dZ that is 1 at element i and 0 elsewhere, minus `constant`.
    constant : array of shape (n,)
        What backward returns for a dZ of zeros: zeros, if it is right.
    """

    measured: Array
    error: Array
    returned: Array
    constant: Array

    @property
    def wrong(self) -> Array:
        """The entries that differ by more than the measurement is uncertain."""
        known = np.isfinite(self.error)
        size = np.where(known, np.abs(self.measured), 0.0)
        # A sum of large and small slopes is rounded as its row and its column are.
        beside = np.minimum(size.max(axis=1, initial=0.0)[:, None], size.max(axis=0, initial=0.0))
        allowed = SAFETY * self.error + 1e-9 * size + 1e-12 * beside
        return known & ~(np.abs(self.returned + self.constant - self.measured) <= allowed)


def jacobian(trial: Trial, k: int, rng: np.random.Generator) -> Jacobian:
    """Measure the whole Jacobian of input k, column by column, and ask backward for it, row by row."""
    x, function = trial.inputs[k], trial.function(k)
    Z = trial.forward(trial.inputs)
    noise = rounding_noise(function, x, Z, rng)
    measured, error = np.full((Z.size, x.size), np.nan), np.full((Z.size, x.size), np.inf)
    seen = noise
    for scale in scales(x):
        for j, at in enumerate(np.ndindex(x.shape)):
            v = np.zeros(x.shape)
            v[at] = scale[at]
            slope = measure(function, x, v, Z, noise)
            value, doubt = slope.value.ravel() / scale[at], slope.error.ravel() / scale[at]
            better = slope.measured.ravel() & (doubt < error[:, j])
            measured[better, j], error[better, j] = value[better], doubt[better]
            seen = np.maximum(seen, nearby_noise(function, x, slope))
        noise = np.maximum(noise, seen)
    constant = np.array(trial.gradient(k, np.zeros(Z.shape))).ravel()
    returned = np.empty(measured.shape)
    for i, at in enumerate(np.ndindex(Z.shape)):
        one = np.zeros(Z.shape)
        one[at] = 1.0
        returned[i] = trial.gradient(k, one).ravel() - constant
    # What is infinite where the slope is belongs to no comparison.
    edge = ~np.isfinite(error).all(axis=0)
    returned[:, edge] = np.where(np.isfinite(returned[:, edge]), returned[:, edge], 0.0)
    constant[edge] = np.where(np.isfinite(constant[edge]), constant[edge], 0.0)
    return Jacobian(measured, error, returned, constant)


def describe_wrong(trial: Trial, k: int, found: Jacobian, rng: np.random.Generator) -> str | None:
    """Say which elements of the gradient are wrong, which most, what was expected there and what came.

    None where no element is: then it was rounding that made a direction fail.
    """
    x, name = trial.inputs[k], trial.names[k]
    known = np.isfinite(found.error)
    rows = known.all(axis=1) if known.all(axis=1).any() else np.ones(len(known), bool)
    # Elements of Z with a kink, or too rough to measure, are left out as far as there are others.
    G = np.where(rows, rng.standard_normal(len(known)), 0.0)
    size = np.where(known, np.abs(found.measured), 0.0)
    expected = (G @ np.where(known, found.measured, 0.0)).reshape(x.shape)
    doubt = np.where(known, SAFETY * found.error + 1e-9 * size, 0.0) + 1e-12 * size
    allowed: Array = np.abs(G) @ doubt
    got = trial.gradient(k, G.reshape(trial.forward(trial.inputs).shape))
    wrong = ~(np.abs(got - expected) <= allowed.reshape(x.shape)) & known[rows].all(axis=0).reshape(x.shape)
    # An infinite slope is none to compare.
    wrong &= np.isfinite(got) | known.all(axis=0).reshape(x.shape)
    if not (wrong.any() or found.wrong.any()):
        return None
    if not wrong.any():
        # Small entries beside large ones: seen one output at a time.
        i = int(np.argmax(found.wrong.any(axis=1)))
        expected, got = found.measured[i].reshape(x.shape), (found.returned[i] + found.constant).reshape(x.shape)
        wrong = found.wrong[i].reshape(x.shape)
    off = np.where(wrong, np.nan_to_num(np.abs(got - expected), nan=np.inf), -1)
    at, position = first(off == off.max())
    element = f"[{position}]" if at else ""
    return (
        f"backward's gradient of {input_title(name)} ({k + 1} of {len(trial.inputs)}) is wrong in {wrong.sum()} of "
        f"{wrong.size} elements, most at {name}{element}: expected {expected[at]:.7g} (measured), got {got[at]:.7g}"
    )


def input_title(name: str) -> str:
    """Write ``input X``, and ``input 1`` for one that has no name."""
    return name if name.startswith("input ") else f"input {name}"
