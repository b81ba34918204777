"""A pass of this engine: NumPy's functions that are Python, in terms of those that write into a given array.

The values stay as they are, to the bit or to a rounding of the last digit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nngraph.engines.layout import order
from nngraph.program.functions import astype
from nngraph.program.program import Operation, Program, Variable

Rule = Callable[["Lowering", Operation], bool]


class Lowering:
    """The operations that a program becomes, written one by one."""

    def __init__(self, program: Program, varying: set[Variable]) -> None:
        self.operations: list[Operation] = []
        self.constants = dict(program.constants)
        self.guards = list(program.guards)
        # What changes in every step, while the rest is computed once for its data.
        self.varying = set(varying)

    def write(self, function: Any, *arguments: Any, like: Any, kind: Any = "compute", **keywords: Any) -> Variable:
        """Write an operation whose result has the shape and dtype of `like`, a variable or (shape, dtype)."""
        shape, dtype = like if isinstance(like, tuple) else (like.shape, like.dtype)
        output = like if isinstance(like, Variable) else Variable(shape, np.dtype(dtype))
        self.add(Operation(function, arguments, output, keywords, kind))
        return output

    def add(self, operation: Operation) -> None:
        """Write an operation as it is."""
        if operation.kind == "call" or any(v in self.varying for v in operation.variables):
            self.varying.add(operation.output)
        self.operations.append(operation)


def lower(program: Program, varying: set[Variable]) -> Program:
    """Rewrite what there is a rule for.

    Parameters
    ----------
    program : Program
    varying : set of variables
        The inputs that change from step to step.
    """
    lowering = Lowering(program, varying)
    for operation in program.operations:
        rule = RULES.get(operation.function)
        # A rule takes the array as the first argument: np.sum(a=x) is left as it is.
        if operation.output.shape is None or not (rule and operation.arguments and rule(lowering, operation)):
            lowering.add(_real_masks(lowering, operation))
    constants, guards = lowering.constants, tuple(lowering.guards)
    return program.after("lower to NumPy's C functions", lowering.operations, constants=constants, guards=guards)


def _real_masks(lowering: Lowering, operation: Operation) -> Operation:
    """Convert booleans that meet floats into an array of ours: NumPy would take a new buffer for that in every step."""
    if not isinstance(operation.function, np.ufunc) or operation.output.dtype is None:
        return operation
    dtype, table = operation.output.dtype, {}
    for v in operation.variables:
        if dtype.kind == "f" and v.dtype == bool and v.shape:
            table[v] = lowering.write(astype, v, dtype, like=(v.shape, dtype))
    return operation.substitute(table)


def _bound(operation: Operation, **defaults: Any) -> dict[str, Any] | None:
    """Return the arguments after the first by name, None if there are others than `defaults` names."""
    names = list(defaults)
    given = dict(zip(names, operation.arguments[1:], strict=False)) | dict(operation.keywords)
    if len(operation.arguments) - 1 > len(names) or not given.keys() <= defaults.keys():
        return None
    return defaults | given


def _reduction(ufunc: np.ufunc) -> Rule:
    def rule(lowering: Lowering, operation: Operation) -> bool:
        given = _bound(operation, axis=None, dtype=None, out=None, keepdims=False)
        (x, *_) = operation.arguments
        if given is None or not isinstance(x, Variable) or given["out"] is not None:
            return False
        keywords = {"axis": given["axis"], "dtype": given["dtype"], "keepdims": given["keepdims"]}
        lowering.add(Operation(ufunc.reduce, (x,), operation.output, keywords))
        return True

    return rule


def _mean(lowering: Lowering, operation: Operation) -> bool:
    given = _bound(operation, axis=None, dtype=None, out=None, keepdims=False)
    (x, *_), output = operation.arguments, operation.output
    if given is None or given["dtype"] is not None or not isinstance(x, Variable) or x.shape is None:
        return False
    size = int(np.prod(output.shape, dtype=np.int64))
    count = int(np.prod(x.shape, dtype=np.int64)) // size if size else 0
    if not count or x.dtype not in (np.float64, np.float32):
        return False
    keywords = {"axis": given["axis"], "dtype": None, "keepdims": given["keepdims"]}
    total = lowering.write(np.add.reduce, x, like=(output.shape, x.dtype), **keywords)
    lowering.write(np.true_divide, total, float(count), like=output)
    return True


def _clip(lowering: Lowering, operation: Operation) -> bool:
    given = _bound(operation, a_min=None, a_max=None)
    (x, *_) = operation.arguments
    if given is None or None in given.values() or not isinstance(x, Variable):
        return False
    if not all(isinstance(bound, int | float | Variable) for bound in given.values()):
        return False
    low = lowering.write(np.maximum, x, given["a_min"], like=(operation.output.shape, operation.output.dtype))
    lowering.write(np.minimum, low, given["a_max"], like=operation.output)
    return True


def _accumulate(ufunc: np.ufunc) -> Rule:
    def rule(lowering: Lowering, operation: Operation) -> bool:
        given = _bound(operation, axis=None)
        (x, *_) = operation.arguments
        if given is None or given["axis"] is None or not isinstance(x, Variable):
            return False
        lowering.add(Operation(ufunc.accumulate, (x,), operation.output, given))
        return True

    return rule


def _dot(lowering: Lowering, operation: Operation) -> bool:
    if operation.keywords or len(operation.arguments) != 2:
        return False
    x, y = operation.arguments
    if not all(isinstance(v, Variable) and v.shape and len(v.shape) == 2 for v in (x, y)):
        return False
    lowering.add(Operation(np.matmul, (x, y), operation.output))
    return True


def _take_along_axis(lowering: Lowering, operation: Operation) -> bool:
    """Pick by places in memory, computed once for labels that stay: ``x.ravel(order)[labels * step + row]``."""
    given = _bound(operation, indices=None, axis=-1)
    (x, *_), output = operation.arguments, operation.output
    if given is None or given["axis"] is None or not isinstance(x, Variable):
        return False
    indices, axis = given["indices"], given["axis"]
    settled = isinstance(indices, Variable) and indices not in lowering.varying and indices.shape is not None
    if not settled or not x.shape or x not in lowering.varying or len(indices.shape) != len(x.shape):
        return False
    axis %= len(x.shape)
    others = [i for i in range(len(x.shape)) if i != axis]
    if any(indices.shape[i] != x.shape[i] for i in others):
        return False
    length = x.shape[axis]
    steps = np.array(np.empty(x.shape, np.int8, order(x.shape)).strides)
    places = sum(
        np.arange(x.shape[i]).reshape([-1 if j == i else 1 for j in range(len(x.shape))]) * steps[i] for i in others
    )
    start = Variable(np.shape(places), np.dtype(np.intp))
    lowering.constants[start] = np.asarray(places, dtype=np.intp)
    # Out of range is an error, which the node-by-node way tells; negative numbers count from the end.
    like = (indices.shape, np.dtype(bool))
    inside = lowering.write(
        np.logical_and,
        lowering.write(np.greater_equal, indices, -length, like=like),
        lowering.write(np.less, indices, length, like=like),
        like=like,
    )
    lowering.guards.append((lowering.write(np.logical_and.reduce, inside, like=((), bool), axis=None), True))
    whole = (indices.shape, np.dtype(np.intp))
    wrapped = lowering.write(
        np.remainder, lowering.write(astype, indices, np.dtype(np.intp), like=whole), length, like=whole
    )
    place = lowering.write(
        np.add, lowering.write(np.multiply, wrapped, int(steps[axis]), like=whole), start, like=whole
    )
    lies = order(x.shape)
    flat = lowering.write(np.ravel, x, lies, like=((int(np.prod(x.shape)),), x.dtype), kind="view")
    lowering.add(Operation(np.take, (flat, place), output, {"mode": "clip"}))
    return True


RULES: dict[Callable[..., Any], Rule] = {
    np.sum: _reduction(np.add),
    np.prod: _reduction(np.multiply),
    np.max: _reduction(np.maximum),
    np.amax: _reduction(np.maximum),
    np.min: _reduction(np.minimum),
    np.amin: _reduction(np.minimum),
    np.all: _reduction(np.logical_and),
    np.any: _reduction(np.logical_or),
    np.mean: _mean,
    np.clip: _clip,
    np.cumsum: _accumulate(np.add),
    np.cumprod: _accumulate(np.multiply),
    np.dot: _dot,
    np.take_along_axis: _take_along_axis,
}
