"""How one operation becomes a line of Python that calls NumPy, with arrays laid out beforehand."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gates.arrays import Array
from nngraph.engines.layout import order
from nngraph.engines.namespace import Namespace
from nngraph.engines.pool import Pool
from nngraph.program.functions import astype
from nngraph.program.program import Operation, Variable, leaves, mapped

# A reduction over at most so many columns that lie one behind the other is done column by column.
FEW_COLUMNS = 3

# Of more rows than these a call is work enough.
MANY_ROWS = 4096

# Sums of at most so many numbers are products with ones: NumPy adds longer ones in pairs, which rounds better.
SHORT = 2048


class Writer(Namespace):
    """Gives every variable its place, and writes the lines.

    A variable is static if it lies in an array that is there before the first step; else it is a name that a line
    assigns to, as for what NumPy cannot write into a given array.

    Parameters
    ----------
    arrays : mapping from variable to array
        Constants and inputs; they are never written into.
    into : mapping from variable to array
        Where some results are to be written.
    last : mapping from variable to int
        When the memory of each is needed last, see `last_reads`.
    spare : collection of variables
        Inputs that may be written over when they are not needed any more.
    """

    def __init__(
        self,
        arrays: Mapping[Variable, Array],
        into: Mapping[Variable, Array],
        last: Mapping[Variable, int],
        spare: Collection[Variable] = (),
    ) -> None:
        super().__init__(arrays)
        self._spare = set(spare)
        self.lines: list[str] = []
        self.pool = Pool()
        self._into, self._last = dict(into), last
        self._blocks: dict[Variable, int] = {}

    def place(self, operation: Operation, i: int) -> None:
        """Give the i-th operation's output its place, and write the line that computes it."""
        output = operation.output
        static = all(v in self.arrays for v in operation.variables)
        if operation.kind == "view" and static and self._view(operation):
            pass
        elif operation.kind == "update":
            self._update(operation, i)
        elif output.shape is None or output.dtype == object or not self._write(operation, i):
            self.lines.append(f"{self.name(output)} = {self._call(operation.function, operation)}")
        for v in dict.fromkeys((*operation.variables, output)):
            if self._last[v] == i and v in self._blocks:
                self.pool.release(self._blocks.pop(v))

    def copy(self, variable: Variable, to: Array) -> None:
        """Write a line that copies a result."""
        self.lines.append(f"{self.bind(np.copyto)}({self.bind(to, 'out')}, {self.name(variable)})")

    # --- Places ------------------------------------------------------------------------------------------------------

    def _view(self, operation: Operation) -> bool:
        """Make a view, once; return False if these arrays, as they lie, have none such."""
        if any(True for _ in leaves((operation.arguments[1:], operation.keywords))):
            return False  # which row it is depends on the data
        source, *arguments = mapped(operation.arguments, self.arrays.__getitem__)
        if operation.function is operator.getitem:
            # With an ellipsis a single element is a view, too.
            (index,) = arguments
            index = index if isinstance(index, tuple) else (index,)
            arguments = [index if any(part is Ellipsis for part in index) else (*index, Ellipsis)]
        value = operation.function(source, *arguments, **operation.keywords)
        if not isinstance(value, np.ndarray) or not (np.may_share_memory(value, source) or value.size == 0):
            return False
        self.arrays[operation.output] = value
        return True

    def _new(self, output: Variable) -> Array:
        """Give a result its place: where it is wanted, or in the pool."""
        if output in self._into:
            array = self._into.pop(output)
        else:
            array, self._blocks[output] = self.pool.acquire(output.shape, output.dtype)
        self.arrays[output] = array
        return array

    def _over(self, operation: Operation, i: int, operands: Sequence[Any]) -> Array | None:
        """Let a result take over the place of an operand that is not needed any more, if there is one of its kind."""
        output = operation.output
        for v in operands:
            if output in self._into or not isinstance(v, Variable) or self._last[v] != i:
                continue
            if v not in self._blocks and v not in self._spare:
                continue
            array = self.arrays[v]
            others = [self.arrays[w] for w in operation.variables if w is not v and w in self.arrays]
            alike = array.shape == output.shape and array.dtype == output.dtype
            if alike and not any(np.may_share_memory(array, other) for other in others):
                if v in self._blocks:
                    self._blocks[output] = self._blocks.pop(v)
                else:
                    self._spare.add(output)
                self.arrays[output] = array
                return array
        return None

    def _update(self, operation: Operation, i: int) -> None:
        """Write into the target where nobody needs its old value, else into a copy."""
        target, output = operation.arguments[0], operation.output
        rest = replace(operation, arguments=operation.arguments[1:])
        alone = target not in rest.variables
        if output.shape is None:
            self.lines.append(f"{self.name(output)} = {self.bind(np.copy)}({self.name(target)})")
        elif not alone or self._over(operation, i, (target,)) is None:
            self._new(output)
            self.lines.append(f"{self.bind(np.copyto)}({self.name(output)}, {self.name(target)})")
        self.lines.append(self._call(operation.function, rest, self.name(output)))

    # --- Lines -------------------------------------------------------------------------------------------------------

    def _write(self, operation: Operation, i: int) -> bool:
        """Write a line that computes into a place; return False if NumPy has no such form."""
        function = operation.function
        if operation.kind not in ("compute", "view") or operation.output.dtype is None:
            return False
        if isinstance(function, np.ufunc):
            return self._ufunc(function, operation, i)
        if isinstance(getattr(function, "__self__", None), np.ufunc):
            return self._of_ufunc(function, operation)
        form = FORMS.get(function)
        return form is not None and form(self, operation)

    def _of_ufunc(self, function: Any, operation: Operation) -> bool:
        """Write ``np.add.reduce(x, axis, dtype, out, keepdims)`` or ``np.add.accumulate(x, axis, dtype, out)``."""
        output, x = operation.output, operation.arguments[0]
        named = {"reduce": ("axis", "dtype", "keepdims"), "accumulate": ("axis", "dtype")}.get(function.__name__, ())
        given = dict(zip(("axis", "dtype"), operation.arguments[1:], strict=False)) | dict(operation.keywords)
        if not named or not given.keys() <= set(named):
            return False
        given = {"axis": 0, "dtype": None, "keepdims": False} | given
        reduces = "keepdims" in named
        if reduces and given["dtype"] is None and self._reduce(function.__self__, x, given["axis"], output):
            return True
        self._new(output)
        parts = [self.text(x), self.text(given["axis"]), self.text(given["dtype"]), self.name(output)]
        parts += [self.text(given["keepdims"])] if reduces else []
        self.lines.append(f"{self.bind(function)}({', '.join(parts)})")
        return True

    def converted(self, operation: Operation) -> bool:
        self._new(operation.output)
        parts = self.name(operation.output), self.text(operation.arguments[0])
        self.lines.append(f"{self.bind(np.copyto)}({parts[0]}, {parts[1]}, 'unsafe')")
        return True

    def full(self, operation: Operation) -> bool:
        self._new(operation.output)
        parts = self.name(operation.output), self.text(operation.arguments[1])
        self.lines.append(f"{self.bind(np.copyto)}({parts[0]}, {parts[1]}, 'unsafe')")
        return True

    def reshaped(self, operation: Operation) -> bool:
        """Copy what cannot be seen in another shape as it lies."""
        if not operation.arguments:
            return False
        source, *arguments = operation.arguments
        by_rows = not any(isinstance(x, str) for x in arguments) and operation.keywords.get("order", "C") == "C"
        if not by_rows or order(operation.output.shape) != "C" or source.shape is None:
            return False
        shaped = self._new(operation.output).reshape(source.shape)
        self.lines.append(f"{self.bind(np.copyto)}({self.bind(shaped, 'reshaped')}, {self.text(source)})")
        return True

    def take(self, operation: Operation) -> bool:
        """Write ``x.take(places, None, out, "clip")``; in the mode "raise" NumPy makes another array for the result."""
        source = self.arrays.get(operation.arguments[0])
        if source is None or dict(operation.keywords) != {"mode": "clip"}:
            return False
        self._new(operation.output)
        parts = self.text(operation.arguments[1]), self.name(operation.output)
        self.lines.append(f"{self.bind(source.take, 'take')}({parts[0]}, None, {parts[1]}, 'clip')")
        return True

    def with_out(self, operation: Operation) -> bool:
        # np.concatenate takes out or dtype, but not both; into `out` it converts as it does for its dtype.
        if "dtype" in operation.keywords:
            return False
        self._new(operation.output)
        self.lines.append(self._call(operation.function, operation, out=self.name(operation.output)))
        return True

    def _ufunc(self, function: np.ufunc, operation: Operation, i: int) -> bool:
        output = operation.output
        # Before the output takes over an operand's place.
        parts = [self.text(x) for x in self._operands(function, operation)]
        named = {key: self.text(value) for key, value in operation.keywords.items()}
        out = None if function.signature else self._over(operation, i, operation.arguments)
        out = self._new(output) if out is None else out
        if function is np.matmul and not named and self._dot(operation.arguments, out):
            return True
        if not named and self._by_columns(function, operation, out):
            return True
        self._ufunc_line(function, parts, self.name(output), **named)
        return True

    def _ufunc_line(self, function: np.ufunc, parts: Sequence[str], out: str, **named: str) -> None:
        # NumPy warns of a third positional argument of some; of the others it is the fastest way.
        by_name = "out=" if function in (np.maximum, np.minimum, np.fmax, np.fmin) else ""
        text = "".join(f", {key}={value}" for key, value in named.items())
        self.lines.append(f"{self.bind(function)}({', '.join(parts)}, {by_name}{out}{text})")

    def _by_columns(self, function: np.ufunc, operation: Operation, out: Array) -> bool:
        """Write a call for every column, where one number per row meets a few columns: NumPy broadcasts slowly."""
        n, k = out.shape if out.ndim == 2 else (0, 0)
        operands = [self.arrays.get(v) if isinstance(v, Variable) else None for v in operation.arguments]
        shapes = sorted(x.shape for x in operands if x is not None)
        fits = len(operands) == 2 and shapes == [(n, 1), (n, k)] and 2 <= k <= FEW_COLUMNS
        if not fits or n > MANY_ROWS or not out.flags.f_contiguous:
            return False
        for j in range(k):
            # One view where it writes over an operand: NumPy looks long at two of the same memory.
            columns = {id(x): x[:, j if x.shape[1] > 1 else 0] for x in (*operands, out) if x is not None}
            *parts, to = (self.bind(columns[id(x)], "column") for x in (*operands, out) if x is not None)
            self._ufunc_line(function, parts, to)
        return True

    def _dot(self, factors: Sequence[Any], out: Array) -> bool:
        """Write a product of matrices as ``X.dot(Y, out)``, which starts three times as fast as `np.matmul`.

        It writes rows only; columns are the rows of the transposed product.
        """
        x, y = (self.arrays.get(v) if isinstance(v, Variable) else None for v in factors)
        if x is None or y is None or x.ndim != 2 or y.ndim != 2 or x.dtype != y.dtype or x.dtype.kind != "f":
            return False
        if not out.flags.c_contiguous:
            x, y, out = y.T, x.T, out.T
        self._dot_line(x, y, out)
        return True

    def _dot_line(self, x: Array, y: Array, out: Array) -> None:
        self.lines.append(f"{self.bind(x.dot, 'dot')}({self.bind(y, 'factor')}, {self.bind(out, 'product')})")

    def _reduce(self, ufunc: np.ufunc, x: Any, axis: Any, output: Variable) -> bool:
        """Write a reduction as what is faster for its shape; return False if nothing is.

        NumPy takes a microsecond to begin a reduction. A few columns are joined one by one, and short sums are products
        with ones.
        """
        array = self.arrays.get(x) if isinstance(x, Variable) else None
        if array is None or array.ndim not in (1, 2) or array.dtype != output.dtype or not array.size:
            return False
        axes = set(range(array.ndim)) if axis is None else {a % array.ndim for a in np.atleast_1d(axis).tolist()}
        if axes == {1} and order(array.shape) == "F" and 2 <= array.shape[1] <= FEW_COLUMNS:
            out = self._new(output).reshape(-1)
            columns = [array[:, j] for j in range(array.shape[1])]
            joined = columns[0]
            for column in columns[1:]:
                *parts, to = (self.bind(part, "column") for part in (joined, column, out))
                self._ufunc_line(ufunc, parts, to)
                joined = out
            return True
        length = int(np.prod([array.shape[a] for a in axes]))
        if ufunc is not np.add or array.dtype.kind != "f" or length > SHORT or len(axes) == 0:
            return False
        if not (array.flags.c_contiguous or array.flags.f_contiguous):
            return False
        out, ones = self._new(output), self._ones(length, array.dtype)
        if len(axes) == array.ndim:
            self._dot_line(array.ravel("K"), ones, out.reshape(()))
        elif axes == {1}:
            self._dot_line(array, ones, out.reshape(-1))
        else:
            self._dot_line(ones, array, out.reshape(-1))
        return True

    def _ones(self, length: int, dtype: np.dtype[Any]) -> Array:
        key = ("ones", length, dtype)
        if key not in self._names:
            self._names[key] = self._unique("ones")
            self.namespace[self._names[key]] = np.ones(length, dtype)
        ones: Array = self.namespace[self._names[key]]
        return ones

    def _operands(self, function: np.ufunc, operation: Operation) -> list[Any]:
        """Return a ufunc's operands; numbers as arrays of the dtype that it takes, which saves time in every step."""
        values = [np.asarray(x) if isinstance(x, np.generic) else x for x in operation.arguments]
        numbers = [type(x) if type(x) in (int, float) else None for x in values]
        dtypes = [getattr(x, "dtype", number) for x, number in zip(values, numbers, strict=True)]
        # With `is`: a dtype equals None if it is the default one.
        if any(numbers) and not operation.keywords and all(dtype is not None for dtype in dtypes):
            taken = function.resolve_dtypes((*dtypes, None))
            for i, number in enumerate(numbers):
                # A whole number may be too large: whoever compares knows what that means.
                with contextlib.suppress(OverflowError):
                    values[i] = values[i] if number is None else np.asarray(values[i], taken[i])
        return values

    def _call(self, function: Any, operation: Operation, *before: str, **named: str) -> str:
        parts = [*before, *(self.text(x) for x in operation.arguments)]
        parts += [f"{key}={self.text(value)}" for key, value in operation.keywords.items()]
        parts += [f"{key}={value}" for key, value in named.items()]
        return f"{self.bind(function)}({', '.join(parts)})"


# How functions that are no ufuncs are written with a place for their result.
FORMS: dict[Callable[..., Any], Callable[[Writer, Operation], bool]] = {
    astype: Writer.converted,
    np.copy: Writer.converted,
    np.full: Writer.full,
    np.take: Writer.take,
    **dict.fromkeys((np.reshape, np.ravel, np.expand_dims, np.squeeze), Writer.reshaped),
    **dict.fromkeys((np.einsum, np.concatenate, np.stack, np.argmax, np.argmin, np.round), Writer.with_out),
}
