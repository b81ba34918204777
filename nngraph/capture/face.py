"""What an array has, as far as it can be written down: indices, shapes, methods, and what asks for values."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from gates.arrays import Array, as_array, float_dtype, is_number
from gates.contract import Gate, GateError, run_forward
from nngraph.capture.followed import METHODS
from nngraph.capture.tape import Tape
from nngraph.program.functions import astype
from nngraph.program.program import Variable


class ArrayFace(NDArrayOperatorsMixin):
    """The face of an array; a `Recorder` is behind it.

    Attributes
    ----------
    tape : Tape
        Where operations are written.
    value : array
        The real value.
    variable : Variable
        What stands for it on the tape now.
    """

    __slots__ = ()

    tape: Tape
    value: Array

    @property
    def variable(self) -> Variable:
        raise NotImplementedError

    def compute(self, function: Any, arguments: Sequence[Any], keywords: dict[str, Any]) -> Any:
        """Run a function on the real values, write it down, and return what it gave."""
        raise NotImplementedError

    def change(self, function: Any, arguments: Sequence[Any], keywords: dict[str, Any] | None = None) -> Any:
        """Run a function that writes into its first argument, and write it down."""
        raise NotImplementedError

    def __getitem__(self, index: Any) -> Any:
        return self.compute(operator.getitem, (self, _plain_slices(index)), {})

    def __setitem__(self, index: Any, value: Any) -> None:
        self.change(operator.setitem, (self, _plain_slices(index), value))

    def static(self) -> Array:
        """Return the real value, of which shapes may be asked."""
        if self.variable.shape is None:
            self.tape.refuse("asks for the shape of what was selected by a mask, which depends on the data")
        return self.value

    @property
    def shape(self) -> tuple[int, ...]:
        return self.static().shape

    @property
    def size(self) -> int:
        return self.static().size

    @property
    def nbytes(self) -> int:
        return self.static().nbytes

    @property
    def ndim(self) -> int:
        return self.value.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.value.dtype

    @property
    def itemsize(self) -> int:
        return self.value.itemsize

    @property
    def flags(self) -> Any:
        return self.value.flags

    def __len__(self) -> int:
        return len(self.static())

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    @property
    def T(self) -> Any:
        return np.transpose(self)

    @property
    def mT(self) -> Any:
        return np.swapaxes(self, -1, -2)

    @property
    def real(self) -> Any:
        return np.real(self)

    @property
    def imag(self) -> Any:
        return np.imag(self)

    def reshape(self, *shape: Any, **keywords: Any) -> Any:
        """As an array's."""
        return np.reshape(self, shape[0] if len(shape) == 1 else shape, **keywords)

    def transpose(self, *axes: Any) -> Any:
        """As an array's."""
        return np.transpose(self, axes[0] if len(axes) == 1 else axes or None)

    def flatten(self) -> Any:
        """As an array's."""
        return np.copy(np.reshape(self, -1))

    def astype(self, dtype: Any, *, copy: bool = True, **keywords: Any) -> Any:
        """As an array's."""
        if keywords:
            self.tape.refuse(f"astype with {', '.join(keywords)} is not followed")
        if not copy and self.value.dtype == dtype:
            return self
        return self.compute(astype, (self, np.dtype(dtype)), {})

    def __copy__(self) -> Any:
        return np.copy(self)

    def __deepcopy__(self, _memo: Any) -> Any:
        return np.copy(self)

    def fill(self, value: Any) -> None:
        """As an array's."""
        self[...] = value

    def __pow__(self, exponent: Any) -> Any:
        # As ndarray does: some powers have functions of their own, and other last digits than np.power.
        return np.power(self, exponent) if (simple := self._simple_power(exponent)) is None else simple(self)

    def __ipow__(self, exponent: Any) -> Any:
        simple = self._simple_power(exponent)
        this: Any = self
        return np.power(this, exponent, out=this) if simple is None else simple(this, out=this)

    def _simple_power(self, exponent: Any) -> np.ufunc | None:
        if type(exponent) not in (int, float) or self.value.dtype.kind != "f":
            return None
        return {2: np.square, 1: np.positive, 0.5: np.sqrt, -1: np.reciprocal}.get(exponent)

    # --- What depends on values --------------------------------------------------------------------------------------

    def __bool__(self) -> bool:
        answer = bool(self.value)
        # A number is true if it is not zero: other data may have another number, as long as it is as true.
        asked: Any = self if self.value.dtype == bool else np.not_equal(self, 0)
        self.tape.guard(asked.variable, answer, "a branch is taken on a value that")
        return answer

    def __index__(self) -> int:
        answer = operator.index(self.value)
        self.tape.guard(self.variable, answer, "a whole number that")
        return answer

    def __int__(self) -> int:
        if self.value.dtype.kind not in "iu":
            self.tape.refuse("int(x) makes a plain number of a value")
        return self.__index__()

    def __float__(self) -> float:
        self.tape.refuse("float(x) makes a plain number of a value")

    def __getattr__(self, name: str) -> Any:
        # Protocols look for special names, and take their absence for an answer.
        if name.startswith("__"):
            raise AttributeError(name)
        self.tape.refuse(f"x.{name} is not followed")

    def __repr__(self) -> str:
        return f"<recorder of {self.value.shape} {self.value.dtype}>"

    def apply_gate(self, gate: Gate, inputs: Sequence[Any], _name: str | None) -> Any:
        """Apply a gate within a gate."""
        given: list[Any] = [x if isinstance(x, ArrayFace) else as_array(x, "an input", GateError) for x in inputs]
        dtype = float_dtype([a for a, x in zip(given, inputs, strict=True) if not is_number(x)])
        pairs = zip(given, inputs, strict=True)
        return run_forward(gate, [a.astype(dtype) if is_number(x) and dtype else a for a, x in pairs])


def _plain_slices(index: Any) -> Any:
    """Return an index whose slices have plain bounds: the shape follows from them, so they are asked for."""
    if isinstance(index, tuple):
        return tuple(_plain_slices(part) for part in index)
    if isinstance(index, slice):
        bounds = (index.start, index.stop, index.step)
        return slice(*(operator.index(x) if isinstance(x, ArrayFace) else x for x in bounds))
    return index


def _method(function: Any) -> Callable[..., Any]:
    def method(self: ArrayFace, *arguments: Any, **keywords: Any) -> Any:
        return function(self, *arguments, **keywords)

    method.__doc__ = "As an array's."
    return method


for _name, _function in METHODS.items():
    setattr(ArrayFace, _name, _method(_function))
