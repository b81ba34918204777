"""Arrays as gates and graphs take them: conversion, dtypes, broadcasting, and how messages write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]


def as_array(value: Any, what: str, error: type[ValueError]) -> Array:
    """Convert to an array of real numbers; raise `error`, saying `what` it is, when that cannot be done."""
    if isinstance(value, np.ma.MaskedArray):
        raise error(f"{what} must be a plain array, got a masked one; fill or drop what is masked")
    try:
        array = np.asarray(value)
    except ValueError as problem:
        raise error(f"{what} must be an array of numbers, got rows of unequal length ({problem})") from problem
    if array.dtype.kind not in "biuf":
        kind = "strings" if array.dtype.kind in "SU" else f"dtype {array.dtype}"
        raise error(f"{what} must be an array of real numbers, got {type(value).__name__} with {kind}")
    if array.dtype.kind in "iu" and array.dtype.itemsize < 8:
        # Gradients take whole numbers for real ones, and those do not wrap around at 255.
        return array.astype(np.int64)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def is_number(value: Any) -> bool:
    """Whether a value is a Python number (np.float64 is one too), which takes the dtype of the arrays beside it."""
    return isinstance(value, int | float)


def float_dtype(values: Sequence[Array]) -> np.dtype[Any] | None:
    """Return the common dtype of the floating arrays among `values`, None when there is none."""
    found: np.dtype[Any] | None = None
    for value in values:
        dtype = value.dtype
        if dtype.kind == "f" and dtype is not found:
            found = dtype if found is None else np.result_type(found, dtype)
    return found


def first(wrong: Array) -> tuple[tuple[int, ...], str]:
    """Return the index of the first true element, and how a message writes it: ``3`` or ``3, 1``."""
    at = tuple(int(i) for i in np.unravel_index(np.argmax(wrong), wrong.shape))
    return at, ", ".join(map(str, at))


def describe(names: Sequence[str], values: Sequence[Array]) -> str:
    """Return ``W1 (2, 3), X (200, 2)`` for use in messages."""
    return ", ".join(f"{name} {value.shape}" for name, value in zip(names, values, strict=True))


def was_broadcast(shape: tuple[int, ...], gradient: tuple[int, ...], output: tuple[int, ...]) -> bool:
    """Whether a gradient of this shape comes from broadcasting: it is longer only where the output is as long."""
    if not len(shape) <= len(gradient) <= max(len(shape), len(output)):
        return False
    padded = (1,) * (len(gradient) - len(shape)) + shape
    reach = (1,) * (len(gradient) - len(output)) + output[max(len(output) - len(gradient), 0) :]
    return all(g == n or (n == 1 and g == z) for n, g, z in zip(padded, gradient, reach, strict=True))


def unbroadcast(gradient: Array, shape: tuple[int, ...]) -> Array:
    """Add a gradient up over the axes along which an input of `shape` was broadcast.

    Broadcasting repeats the input, so by the chain rule its gradient is the sum over the repetitions.
    """
    extra = gradient.ndim - len(shape)
    stretched = tuple(extra + i for i, n in enumerate(shape) if n == 1 and gradient.shape[extra + i] != 1)
    return gradient.sum(axis=(*range(extra), *stretched), keepdims=True).reshape(shape)
