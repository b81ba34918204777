"""Slopes measured on a function: how Z changes along a direction, how far that is certain, and where it has kinks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gates.arrays import Array

EPSILON = float(np.finfo(np.float64).eps)
# The smallest numbers lose digits gradually; below this nothing is compared.
TINY = 1e-290
# From long steps, for which rounding is small, to short ones, which come between a value and a kink beside it.
STEPS = 2.0 ** -np.array([4.0, 6.0, 8.0, 10.0, 13.0, 16.0, 20.0, 24.0, 28.0])
RATIOS = STEPS[:-1] / STEPS[1:]
# The step in the imaginary direction: nothing is subtracted, so it can be too short for any truncation.
COMPLEX_STEP = 1e-20

Function = Callable[[Array], Array]


@dataclass(frozen=True)
class Slope:
    """``dZ(x + t v)/dt`` at t = 0, for every element of Z.

    Attributes
    ----------
    value : array
        The slope; nan where it could not be measured.
    error : array
        How far the value may be off; infinite where it could not be measured.
    kink : array of bool
        Where the slopes to the left and to the right differ. Neither is an error there, nor is any between them.
    lower, upper : array
        The smaller and the larger of the two one-sided slopes.
    noise : array
        How far Z was seen to be uncertain.
    is_complex : bool
        Whether complex steps were taken and confirmed.
    """

    value: Array
    error: Array
    kink: Array
    lower: Array
    upper: Array
    noise: Array
    is_complex: bool

    @property
    def measured(self) -> Array:
        """Where there is one slope, and it is known."""
        return np.isfinite(self.error) & ~self.kink


def rounding_noise(function: Function, x: Array, Z: Array, rng: np.random.Generator) -> Array:
    """Return by how much Z is uncertain: what changes when every element of x moves by its last digit.

    It holds both the rounding within the function and its condition, whatever the function does inside: a sum of a
    million terms is noisier than one exponential.
    """
    noise = EPSILON * np.abs(Z)
    for _ in range(3):
        moved = function(x * (1 + EPSILON * rng.choice([-1.0, 1.0], x.shape)))
        # nan beyond the edge of the domain says nothing.
        noise = np.fmax(noise, np.abs(moved - Z))
    return np.asarray(np.where(np.isfinite(noise), noise, np.inf))


def measure(function: Function, x: Array, v: Array, Z: Array, noise: Array) -> Slope:
    """Measure the slope of `function` at x along v.

    Central differences ``(Z(x + h v) - Z(x - h v)) / 2h`` are taken for nine steps h and extrapolated pairwise
    (Richardson). The step is chosen for every element of Z where the last three extrapolations agree best, given the
    rounding; their spread is the error. A step counts only where Z is smooth on its scale: where the second difference
    shrinks with the step, twice. Where it does not shrink even at the shortest steps, Z has a kink.

    If the function takes complex numbers and agrees with the differences, the complex step ``Im Z(x + i h v) / h``
    takes their place: nothing is subtracted in it, so it is exact to rounding. Where it cannot be seen that all is
    analytic, what it differs by is its error: abs and sign take complex numbers and mean otherwise.

    Parameters
    ----------
    function : callable
        Array to array, of float64.
    x, v : array
        The point, and the direction in units in which the function changes: about the size of x.
    Z, noise : array
        ``function(x)``, and how far it is uncertain.

    Returns
    -------
    slope : Slope

    References
    ----------
    Ridders: Accurate computation of F'(x) and F'(x) F''(x). Advances in Engineering Software 4, 1982.
    Squire, Trapp: Using complex variables to estimate derivatives of real functions. SIAM Review 40, 1998.
    """
    h, ratio = (values.reshape(-1, *[1] * Z.ndim) for values in (STEPS, RATIOS))
    above, below = (np.stack([function(x + step * v) for step in steps]) for steps in (STEPS, -STEPS))
    central, rounding = (above - below) / (2 * h), 4 * noise / h
    right, left = (above - Z) / h, (Z - below) / h
    # Where Z is smooth the gap between the one-sided slopes shrinks with the step, fourfold or more; not at a kink.
    gap = np.abs(right - left)
    shrinks = gap[1:] <= 0.35 * gap[:-1] + 4 * rounding[1:]
    extrapolated = central[1:] + (central[1:] - central[:-1]) / (ratio**2 - 1)
    change = np.abs(extrapolated[1:] - extrapolated[:-1])
    # Two small changes in a row: one may be chance, where the steps are far too long for a rough function.
    doubt = np.maximum(change[1:], change[:-1]) + rounding[3:]
    doubt = np.where(shrinks[2:] & shrinks[1:-1] & np.isfinite(doubt), doubt, np.inf)
    # And no shorter step may see something else: what is finer than a step passes it by. In the second difference of
    # the shortest nothing but rounding is left, where it is small beside what Z does in long steps.
    second, span = np.abs(above[-1] + below[-1] - 2 * Z), np.abs(above[0] - below[0])
    seen = np.fmax(noise, np.where(second < 1e-3 * span, second, 0.0))
    for i in range(len(doubt) - 1):
        finer = np.abs(extrapolated[i + 3 :] - extrapolated[i + 2]) <= 8 * doubt[i] + 16 * seen / h[i + 4 :]
        doubt[i] = np.where(finer.all(axis=0), doubt[i], np.inf)
    best = doubt.argmin(axis=0)[None]
    error = np.take_along_axis(doubt, best, axis=0)[0]
    value = np.where(np.isfinite(error), np.take_along_axis(extrapolated[2:], best, axis=0)[0], np.nan)
    # What is left between the shortest steps and the slope is rounding too: more than `noise` where large terms cancel.
    noise = np.fmax(noise, (np.abs(central[-3:] - value) * h[-3:]).max(axis=0))
    error = np.maximum(error, 4 * noise / np.take(STEPS[3:], best[0]))
    # Both slopes must have settled: at a jump or a pole there are none to lie between.
    settled = np.maximum(np.abs(right[-1] - right[-2]), np.abs(left[-1] - left[-2])) <= 0.25 * gap[-1]
    kink = ~shrinks[-1] & settled & (gap[-1] > 50 * rounding[-1])
    kink &= (gap[-1] > 1e-6 * np.abs(central[-1])) & ~(error < 1e-3 * np.abs(value))
    lower, upper = np.minimum(left[-1], right[-1]), np.maximum(left[-1], right[-1])
    exact, spread, is_analytic = _complex_slope(function, x, v, Z.shape)
    differs = np.abs(exact - value)
    confirmed = differs <= 8 * error + TINY
    is_complex = 2 * int(confirmed.sum()) >= Z.size > 0 and not (np.isfinite(error) & ~confirmed).any()
    if is_complex:
        sharp = 4 * (noise + spread) + 32 * EPSILON * np.abs(exact)
        sharp = np.where(confirmed, sharp if is_analytic else np.maximum(sharp, differs), np.inf)
        value, error = np.where(sharp < error, exact, value), np.minimum(error, sharp)
    return Slope(value, error, np.asarray(kink), lower, upper, noise, is_complex)


class Analytic(np.ndarray):
    """A complex array that lets nothing happen to it that is not analytic, where it sees it: no abs, no real part.

    Comparisons are allowed: a piecewise function is analytic within its pieces.
    """

    FORBIDDEN = (
        *(np.absolute, np.fabs, np.conjugate, np.sign, np.angle, np.real, np.imag, np.real_if_close, np.nan_to_num),
        *(np.vdot, np.cov, np.linalg.cholesky, np.linalg.eigvalsh),
    )

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **settings: Any) -> Any:
        if ufunc in self.FORBIDDEN:
            raise TypeError(f"{ufunc.__name__} is not analytic")
        plain = [x.view(np.ndarray) if isinstance(x, Analytic) else x for x in inputs]
        if "out" in settings:
            settings["out"] = tuple(x.view(np.ndarray) if isinstance(x, Analytic) else x for x in settings["out"])
        return _watched(getattr(ufunc, method)(*plain, **settings))

    def __array_function__(self, function: Any, types: Any, arguments: Any, settings: Any) -> Any:
        if function in self.FORBIDDEN:
            raise TypeError(f"{function.__name__} is not analytic")
        return _watched(super().__array_function__(function, types, arguments, settings))

    def astype(self, dtype: Any, *arguments: Any, **settings: Any) -> Any:
        if np.dtype(dtype).kind != "c":
            raise TypeError("a cast to real numbers is not analytic")
        return super().astype(dtype, *arguments, **settings)

    def __getattribute__(self, name: str) -> Any:
        if name in {"real", "imag"}:
            raise TypeError("the real and the imaginary part are not analytic")
        return super().__getattribute__(name)


def _watched(result: Any) -> Any:
    return np.asarray(result).view(Analytic) if np.iscomplexobj(result) else result


def _complex_slope(function: Function, x: Array, v: Array, shape: tuple[int, ...]) -> tuple[Array, Array, bool]:
    """Return ``Im Z(x + i h v) / h``, how far it is rounded, and whether all that was done to x is analytic.

    nan where it cannot be had. The rounding shows between steps of different lengths.
    """
    for is_analytic in (True, False):
        slopes = []
        for h in (COMPLEX_STEP, 1.37 * COMPLEX_STEP, 0.61 * COMPLEX_STEP):
            shifted = x + 1j * h * v
            try:
                Z: Any = function(shifted.view(Analytic) if is_analytic else shifted)
            except Exception:  # noqa: BLE001 - whatever it says, this function takes no such numbers
                break
            if not np.iscomplexobj(Z) or Z.shape != shape or isinstance(Z, Analytic) < is_analytic:
                break
            slopes.append(np.asarray(Z).view(np.ndarray).imag / h)
        else:
            return slopes[0], np.ptp(slopes, axis=0), is_analytic
    return np.full(shape, np.nan), np.full(shape, np.nan), False


def scales(x: Array) -> list[Array]:
    """Return the units in which the elements of x are moved: ``max(|x|, 1)`` and then, if it differs, ``min(|x|, 1)``.

    The first suits functions that change over lengths of about 1, or of about x. The second suits those with a pole, an
    edge of their domain or a kink at 0, and those that oscillate, far from 0.
    """
    size = np.abs(x)
    short = np.where(size > 0, np.minimum(size, 1.0), 1.0)
    differ = ((size > 0) & (size < 0.5)) | (size > 4.0)
    return [np.maximum(size, 1.0), short] if differ.any() else [np.maximum(size, 1.0)]


def nearby_noise(function: Function, x: Array, slope: Slope) -> Array:
    """Return by how much Z is uncertain where it is small beside the values around it, as 1 - cos(x) is near 0.

    There all digits may be lost, and moves of the last digit of x show nothing. `slope` is one in long steps.
    """
    step = STEPS[0] * np.maximum(np.abs(x), 1.0)
    around = np.fmax(np.abs(function(x + step)), np.abs(function(x - step)))
    lost = EPSILON * np.where(np.isfinite(around), around, 0.0)
    return np.asarray(np.fmax(lost, np.where(np.isfinite(slope.error), slope.noise, 0.0)))
