"""A pass of this engine: a bias for nothing. ``X W + b = [X 1] [W; b]``, and ``[dW; db] = [X 1]^T dZ``.

It pays where arrays are tall and thin, so that a call costs as much as the work: their columns lie one behind the
other, and a column of ones beside them does no harm. In theta b follows W, so that the two are one matrix already.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gates.arrays import Array
from nngraph.engines.layout import order
from nngraph.program.program import Operation, Program, Variable

Places = Mapping[Variable, Array]


def with_ones(program: Program, given: Places, wanted: Places) -> tuple[Program, dict[Variable, Array], int]:
    """Join the product and the sum of every layer that allows it, and the two gradients.

    Parameters
    ----------
    program : Program
    given : mapping from input to array
        Where parameters lie.
    wanted : mapping from output to array
        Where gradients are to be written.

    Returns
    -------
    program : Program
    places : dict from variable to array
        Where what lies beside ones, and joined gradients, must be written.
    bytes : int
        The memory of what lies beside ones.
    """
    layers = _Layers(program, given, wanted)
    for operation in program.operations:
        if operation.function is np.add and operation.kind == "compute":
            layers.join(operation)
    return program.after("a column of ones for the biases", layers.operations()), layers.places, layers.bytes


class _Layers:
    def __init__(self, program: Program, given: Places, wanted: Places) -> None:
        self.places: dict[Variable, Array] = {}
        self.bytes = 0
        self._program, self._given, self._wanted = program, given, wanted
        self._made = {operation.output: operation for operation in program.operations}
        self._reads = Counter(v for operation in program.operations for v in operation.variables)
        self._reads.update(program.results)
        # What stands in the place of an operation, and what lies beside ones already.
        self._instead: dict[Variable, list[Operation]] = {}
        self._beside: dict[Variable, Variable] = {}

    def operations(self) -> list[Operation]:
        """Return the operations, some of them replaced."""
        return [x for operation in self._program.operations for x in self._instead.get(operation.output, [operation])]

    def join(self, operation: Operation) -> None:
        """Join ``Z = X W + b`` to one product, if it is one and lies so that it can be done."""
        product, b = operation.arguments
        made = self._made.get(product) if isinstance(product, Variable) else None
        if made is None or made.function is not np.matmul or self._reads[product] != 1:
            return
        X, W = made.arguments
        Wb = _joined(self._given.get(W), self._given.get(b))
        if Wb is None or not self._can_have_ones(X):
            return
        first = X not in self._beside
        X1 = self._beside.setdefault(X, Variable((X.shape[0], X.shape[1] + 1), X.dtype))
        new = []
        if first:
            whole = np.ones(X1.shape, X.dtype, "F")
            self.bytes += whole.nbytes
            self.places[X] = whole[:, :-1]
            new.append(Operation(_returning(whole), (X,), X1, kind="view"))
        matrix = Variable(Wb.shape, Wb.dtype)
        new.append(Operation(_returning(Wb), (W,), matrix, kind="view"))
        new.append(Operation(np.matmul, (X1, matrix), operation.output))
        self._instead |= {product: [], operation.output: new}
        self._join_gradients(X, X1, W)

    def _can_have_ones(self, X: Variable) -> bool:
        """Whether X is tall, and data or what an elementwise function computes: it can be written beside ones."""
        if X in self._beside:
            return True
        made = self._made.get(X)
        elementwise = made is None or (isinstance(made.function, np.ufunc) and made.function.signature is None)
        free = X not in self._given and X not in self._program.constants and X not in self._wanted
        return elementwise and free and len(X.shape) == 2 and order(X.shape) == "F"

    def _join_gradients(self, X: Variable, X1: Variable, W: Variable) -> None:
        """Write ``[dW; db]`` as one product, if both are wanted one behind the other."""
        for dW, place in self._wanted.items():
            made = self._made.get(dW)
            if made is None or made.function is not np.matmul or dW.shape != W.shape:
                continue
            turned = self._made.get(made.arguments[0])
            if turned is None or turned.function is not np.swapaxes or turned.arguments != (X, -1, -2):
                continue
            for db, place_of_db in self._wanted.items():
                both = _joined(place, place_of_db)
                total = self._sum_of(db, made.arguments[1])
                if both is None or total is None:
                    continue
                X1t, J = Variable(X1.shape[::-1], X1.dtype), Variable(both.shape, both.dtype)
                self.places[J] = both
                new = [
                    Operation(np.swapaxes, (X1, -1, -2), X1t, kind="view"),
                    Operation(np.matmul, (X1t, made.arguments[1]), J),
                    Operation(operator.getitem, (J, slice(0, W.shape[0])), dW, kind="view"),
                    Operation(operator.getitem, (J, W.shape[0]), db, kind="view"),
                ]
                order_of = [operation.output for operation in self._program.operations]
                one, other = sorted((dW, total), key=order_of.index)
                self._instead |= {one: new, other: []}
                if db is not total:
                    self._instead[db] = []
                return

    def _sum_of(self, db: Variable, dZ: Variable) -> Variable | None:
        """Return what sums dZ over the rows to make db, if nothing else reads it."""
        made = self._made.get(db)
        if made is not None and made.function is np.reshape and self._reads[made.arguments[0]] == 1:
            made = self._made.get(made.arguments[0])
        if made is None or made.function != np.add.reduce or made.arguments[0] is not dZ:
            return None
        return made.output if made.keywords.get("axis") in (0, (0,)) and len(made.arguments) == 1 else None


def _joined(W: Array | None, b: Array | None) -> Array | None:
    """Return the matrix ``[W; b]``, a view, if b lies behind W; else None."""
    if W is None or b is None or W.ndim != 2 or b.shape != W.shape[1:] or W.dtype != b.dtype:
        return None
    adjacent = W.ctypes.data + W.nbytes == b.ctypes.data and W.flags.c_contiguous and b.flags.c_contiguous
    if not adjacent or W.base is None or W.base is not b.base:
        return None
    return np.lib.stride_tricks.as_strided(W, (W.shape[0] + 1, W.shape[1]), W.strides)


def _returning(array: Array) -> Callable[..., Any]:
    """Return a function of anything that returns an array."""
    return lambda *_: array
