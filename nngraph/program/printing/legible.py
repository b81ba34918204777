"""Passes for a reader: what is left is what one would write by hand. To the bit, it computes the same."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gates.arrays import Array
from nngraph.program.passes import drop
from nngraph.program.printing.literals import is_uniform, shortest
from nngraph.program.program import Operation, Program, Variable


def legible(program: Program) -> Program:
    """Apply all passes; guards are left out, with what only they need."""
    for step in (settle, plain_sums, plain_numbers, drop):
        program = step(replace(program, guards=()))
    return program


def settle(program: Program) -> Program:
    """Assign once what ``x[i] += y`` assigns twice: Python assigns to ``x[i]`` after the view was changed."""
    made: dict[Variable, Operation] = {}
    kept = []
    for operation in program.operations:
        target, *rest = operation.arguments or (None,)
        before = made.get(target) if operation.function is operator.setitem and isinstance(target, Variable) else None
        if before is not None and before.function is operator.setitem and same(list(before.arguments[1:]), rest):
            # The first is left out with all that nobody reads.
            operation = replace(operation, arguments=(before.arguments[0], *rest))  # noqa: PLW2901 - the same, shorter
        kept.append(operation)
        made[operation.output] = operation
    return program.after("assign once", kept)


def same(one: Any, other: Any) -> bool:
    """Whether two arguments are the same variables and values."""
    if type(one) is not type(other):
        return False
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, slice):
        return same((one.start, one.stop, one.step), (other.start, other.stop, other.step))
    return one is other if isinstance(one, Variable) else repr(one) == repr(other)


def plain_sums(program: Program) -> Program:
    """``x.sum(axis=0, keepdims=True).reshape(k)``, which fits a gradient to its input, is ``x.sum(axis=0)``."""
    made = {operation.output: operation for operation in program.operations}
    kept = []
    for operation in program.operations:
        total = made.get(operation.arguments[0]) if operation.function is np.reshape else None
        if total is not None and total.function is np.sum and _drops_axes(total, operation.output.shape):
            keywords = {**total.keywords, "keepdims": False}
            operation = replace(total, output=operation.output, keywords=keywords)  # noqa: PLW2901 - the same, shorter
        kept.append(operation)
    return program.after("plain sums", kept)


def _drops_axes(total: Operation, shape: tuple[int, ...] | None) -> bool:
    """Whether `shape` is what the sum would have without keepdims."""
    x, axes = total.arguments[0], total.keywords.get("axis")
    if len(total.arguments) > 1 or not total.keywords.get("keepdims") or not isinstance(axes, tuple | int):
        return False
    dropped = {axis % len(x.shape) for axis in np.atleast_1d(axes)} if isinstance(x, Variable) and x.shape else set()
    return bool(dropped) and shape == tuple(n for axis, n in enumerate(x.shape) if axis not in dropped)


# An array of equal numbers or one number, they compute the same; others have loops of their own for one number.
ARITHMETIC = (
    np.add, np.subtract, np.multiply, np.divide, np.maximum, np.minimum, np.less, np.less_equal, np.greater,
    np.greater_equal, np.equal, np.not_equal,
)  # fmt: skip


def plain_numbers(program: Program) -> Program:
    """``x / 200.0`` for constants that are one number, or one number throughout."""
    kept = []
    for operation in program.operations:
        if operation.function in ARITHMETIC and len(operation.arguments) == 2 and not operation.keywords:
            x, y = operation.arguments
            plain = (
                _number(x, y, operation.output, program.constants),
                _number(y, x, operation.output, program.constants),
            )
            operation = replace(operation, arguments=plain)  # noqa: PLW2901 - the same, shorter
        kept.append(operation)
    return program.after("plain numbers", kept)


def _number(value: Any, other: Any, output: Variable, constants: Mapping[Variable, Array]) -> Any:
    """Return the Python number that does what `value` does beside `other`, `value` itself if there is none."""
    array = np.asarray(value) if isinstance(value, np.generic) else constants.get(value)
    if array is None or array.dtype.kind not in "iuf" or not array.size or not is_uniform(array):
        return value
    if not isinstance(other, Variable) or other in constants or other.dtype is None:
        return value
    # With two long axes it would have a say in how the result lies in memory, and so in the order of later sums.
    one_axis = sum(n > 1 for n in array.shape) <= 1 and other.shape is not None and other.shape == output.shape
    if np.result_type(array.dtype, other.dtype) != other.dtype or not (array.ndim == 0 or one_axis):
        return value
    number = array.flat[0]
    return shortest(number) if number.dtype == other.dtype else number.item()
