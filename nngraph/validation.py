"""Checks of what users hand over: numbers, data and generators. Everything raises ValueError with what to do."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from gates.arrays import Array, as_array, first
from nngraph.initializers import Generator


def whole_number(value: Any, what: str, at_least: int) -> int:
    """Return `value` as an int; raise ValueError unless it is a whole number of a size that makes sense."""
    try:
        number = None if isinstance(value, bool | np.bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise ValueError(f"{what} must be an integer, got {value!r}")
    if number < at_least:
        raise ValueError(f"{what} must be an integer >= {at_least}, got {value!r}")
    return number


def not_negative(value: Any, what: str) -> float:
    """Return `value` as a float; raise ValueError unless it is finite and not negative."""
    # First what it mostly is: a schedule's factor is looked at in every step.
    if type(value) is float and 0 <= value < math.inf:
        return value
    try:
        number = None if isinstance(value, str | bytes | bool | np.bool) else float(value)
    except OverflowError:
        number = math.inf
    except (TypeError, ValueError):
        number = None
    if number is None:
        raise ValueError(f"{what} must be a number, got {value!r}")
    if not 0 <= number < math.inf:
        raise ValueError(f"{what} must be finite and not negative, got {value!r}")
    return number


def positive(value: Any, what: str) -> float:
    """Return `value` as a float; raise ValueError unless it is finite and greater than 0."""
    number = not_negative(value, what)
    if number == 0:
        raise ValueError(f"{what} must be greater than 0, got {value!r}")
    return number


def fraction(value: Any, what: str, *, one: bool = False) -> float:
    """Return `value` as a float; raise ValueError unless it is at least 0 and below 1, or 1 where that is allowed."""
    number = not_negative(value, what)
    if number > 1 or (number == 1 and not one):
        raise ValueError(f"{what} must be at least 0 and {'at most' if one else 'below'} 1, got {value!r}")
    return number


def float_type(dtype: Any) -> np.dtype[Any]:
    """Return the dtype; raise ValueError unless it is float64 or float32."""
    found: np.dtype[Any] | None
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    if found is None or found not in (np.float64, np.float32):
        raise ValueError(f"dtype must be float64 or float32, got {dtype!r}")
    return found


def instance(value: Any, kind: type, what: str) -> None:
    """Raise ValueError unless `value` is an instance of `kind`; a class is often given instead."""
    if not isinstance(value, kind):
        advice = f"; write {value.__name__}()" if isinstance(value, type) and issubclass(value, kind) else ""
        raise ValueError(f"{what} must be an instance of {kind.__name__}, got {value!r}{advice}")


def finite(array: Array, what: str) -> Array:
    """Return `array`; raise ValueError with the first place that holds nan or infinity."""
    wrong = ~np.isfinite(array)
    if wrong.any():
        at, position = first(wrong)
        raise ValueError(f"{what} must be finite, got {array[at]} at [{position}] ({wrong.sum()} such values in all)")
    return array


def features(X: Any, dtype: np.dtype[Any], width: int | None = None) -> Array:
    """Return X as an array of `dtype` with one row per example; copies only where it must convert.

    Raises
    ------
    ValueError
        If X is ragged, no numbers, empty, not finite, has fewer than two axes, or not `width` columns.
    """
    array = as_array(X, "X", ValueError)
    if array.ndim < 2:
        advice = "X[None, :] makes one example, X[:, None] one feature"
        raise ValueError(f"X must have shape (examples, features), got {array.shape}; {advice}")
    if array.size == 0:
        raise ValueError(f"X must hold at least one example and one feature, got shape {array.shape}")
    if width is not None and array.shape[1:] != (width,):
        raise ValueError(f"X must have shape (examples, {width}), as the model's input width says, got {array.shape}")
    if dtype.kind == "i" and array.dtype.kind == "f":
        raise ValueError(f"X must be integers, as the model's Input says, got {array.dtype}")
    # Checked after the conversion: 1e300 is finite, but not in float32.
    with np.errstate(over="ignore"):
        return finite(array.astype(dtype, copy=False), "X")


def targets(y: Any, rows: int, dtype: np.dtype[Any]) -> Array:
    """Return y with one target per row of X, floats as `dtype`; what the targets mean is checked by the output."""
    try:
        array = as_array(y, "y", ValueError)
    except ValueError as error:
        raise ValueError(f"{error}; number labels from 0 up: names, y = np.unique(y, return_inverse=True)") from error
    if array.shape[:1] != (rows,):
        raise ValueError(f"y must have one target for each of the {rows} rows of X, got shape {array.shape}")
    with np.errstate(over="ignore"):
        return finite(array.astype(dtype, copy=False) if array.dtype.kind == "f" else array, "y")


def drawing(random_state: Any) -> np.random.Generator:
    """Return a new-style generator of one's own: as given, or seeded by what is given."""
    if isinstance(random_state, np.random.Generator):
        return random_state
    seeded = generator(random_state)
    return np.random.default_rng(list(seeded.bytes(16)))


def generator(random_state: Any) -> Generator:
    """Return a generator of one's own: from an int, as given, or (None) seeded by the system.

    Unlike in scikit-learn, None does not stand for NumPy's global generator: that one is never touched.
    """
    if isinstance(random_state, np.random.RandomState | np.random.Generator):
        return random_state
    if random_state is None:
        return np.random.RandomState()
    kinds = "None, an integer in 0..2**32-1, a RandomState or a Generator"
    if isinstance(random_state, bool | np.bool):
        raise ValueError(f"random_state must be {kinds}, got {random_state!r}")
    try:
        return np.random.RandomState(operator.index(random_state))
    except (TypeError, ValueError) as error:
        raise ValueError(f"random_state must be {kinds}, got {random_state!r}") from error
