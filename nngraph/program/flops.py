"""Counting: an estimate of how much arithmetic an operation does."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from nngraph.program.functions import astype, masked
from nngraph.program.program import Operation, Variable

Count: TypeAlias = Callable[[Operation], int | None]


def flops(operation: Operation) -> int | None:
    """``2 n k m`` for the product of (n, k) and (k, m); one for each element of a result, or of what is added up.

    - A multiplication and an addition count one each, and so does ``tanh``, ``exp`` or any other function of numbers.
    - Elementwise functions, sums that keep their terms (``cumsum``) and ``where`` count one per element of the result.
    - Reductions (``sum``, ``max``, ``mean``, ``any``, ``var``, ...) count one per element that they read.
    - Views, copies, conversions, indices and sorting count nothing.

    Parameters
    ----------
    operation : Operation

    Returns
    -------
    count : int or None
        None for functions that there is no rule for, gates that are called as they are, and lengths that depend on the
        data.
    """
    if operation.kind == "view":
        return 0
    if operation.kind == "call" or any(v.shape is None for v in (*operation.variables, operation.output)):
        return None
    count = _rule(operation.function)
    return None if count is None else count(operation)


def size(x: Any) -> int:
    """Return the number of elements of a variable or a plain value."""
    return math.prod(x.shape or ()) if isinstance(x, Variable) else np.size(x)


def _rule(function: Any) -> Count | None:
    if isinstance(function, np.ufunc) and function.signature is None:
        return _each_result
    if isinstance(getattr(function, "__self__", None), np.ufunc):
        return METHODS.get(function.__name__)
    return RULES.get(function)


def _nothing(_: Operation) -> int:
    return 0


def _each_result(operation: Operation) -> int:
    return size(operation.output)


def _each_read(operation: Operation) -> int:
    return max(map(size, operation.variables), default=0)


def _each_added(operation: Operation) -> int:
    """``ufunc.at(x, index, values)``: one for each value that is added."""
    target, index, *values = operation.arguments
    rows = size(index) * math.prod(target.shape[1:]) if isinstance(index, Variable | list | int) else 0
    return max(rows, *map(size, values)) if values else rows


def _product(operation: Operation) -> int:
    """``2 n k m``, for stacks of matrices as often as there are matrices; for vectors 2 k."""
    x = operation.arguments[0] if operation.arguments else operation.keywords["a"]
    lengths = x.shape if isinstance(x, Variable) else np.shape(x)
    return 2 * size(operation.output) * (lengths[-1] if lengths else 1)


def _einsum(operation: Operation) -> int | None:
    """``p n_i n_j n_k`` for p arrays with letters i, j, k; one factor less where nothing is added up."""
    subscripts, *arrays = operation.arguments
    if not isinstance(subscripts, str) or "." in subscripts or not all(isinstance(x, Variable) for x in arrays):
        return None
    left, arrow, result = subscripts.replace(" ", "").partition("->")
    lengths: dict[str, int] = {}
    for term, array in zip(left.split(","), arrays, strict=True):
        for letter, length in zip(term, array.shape, strict=True):
            lengths[letter] = max(length, lengths.get(letter, 1))
    summed = (
        any(letter not in result for letter in lengths)
        if arrow
        else size(operation.output) < math.prod(lengths.values())
    )
    return (len(arrays) - 1 + summed) * math.prod(lengths.values())


METHODS: dict[str, Count] = {"reduce": _each_read, "accumulate": _each_result, "outer": _each_result, "at": _each_added}

RULES: dict[Callable[..., Any], Count] = {
    function: count
    for count, functions in (
        (_product, (np.matmul, np.dot)),
        (_einsum, (np.einsum,)),
        (_each_result, (np.where, np.clip, np.round, np.nan_to_num, np.cumsum, np.cumprod, np.diff, np.outer, masked)),
        (_each_read, (np.sum, np.prod, np.mean, np.std, np.var, np.max, np.min, np.ptp, np.any, np.all)),
        (_each_read, (np.argmax, np.argmin, np.count_nonzero, np.linalg.norm)),
        (_nothing, (operator.getitem, operator.setitem, np.take, np.take_along_axis, np.put_along_axis)),
        (_nothing, (np.concatenate, np.stack, np.repeat, np.tile, np.pad, np.roll, np.flip, np.tril, np.triu)),
        (_nothing, (np.copy, astype, np.reshape, np.ravel, np.zeros, np.ones, np.full, np.sort, np.argsort)),
    )
    for function in functions
}
