"""A stand-in for an array that carries the real value and writes down what NumPy is asked to do with it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from gates.arrays import Array, as_array, float_dtype, is_number
from gates.contract import Gate, GateError, run_forward
from nngraph.capture.followed import (
    CHANGES,
    COMPUTES,
    LIKE,
    METHODS,
    SPLITS,
    STATIC,
    VIEWS,
    arrays,
    has_mask,
    inverse,
    mapped,
    split_axis,
    title,
)
from nngraph.capture.tape import Tape
from nngraph.program.functions import astype, masked
from nngraph.program.program import Kind, Variable


class Storage:
    """What an array and its views share: the variable that stands for its memory now, and how often it changed."""

    __slots__ = ("variable", "version")

    def __init__(self, variable: Variable) -> None:
        self.variable, self.version = variable, 0


class Recorder(NDArrayOperatorsMixin):
    """An array to a gate, in all that can be written down; anything else raises Refusal.

    A variable of a program never changes. A recorder does: writing into it gives its storage a new variable, and a view
    reads that anew, or, written into, writes it.

    Parameters
    ----------
    tape : Tape
        Where operations are written.
    value : array
        The real value.
    variable : Variable
        What stands for it on the tape.
    parent, view : Recorder and (function, arguments), optional
        What this is a view of, and how it is seen.
    scalar : bool, default=False
        Whether NumPy would have given a number: those do not change in place.
    """

    __slots__ = ("_parent", "_variable", "_version", "_view", "scalar", "storage", "tape", "value")

    def __init__(
        self,
        tape: Tape,
        value: Array,
        variable: Variable,
        parent: Recorder | None = None,
        view: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]] | None = None,
        *,
        scalar: bool = False,
    ) -> None:
        self.tape, self.value, self.scalar = tape, value, scalar
        self._parent, self._variable = parent, variable
        self._view: Any = view
        self.storage: Storage = Storage(variable) if parent is None else parent.storage
        self._version = self.storage.version

    @property
    def variable(self) -> Variable:
        """The variable of its present value."""
        if self._parent is None:
            return self.storage.variable
        if self._version != self.storage.version:
            function, arguments, keywords = self._view
            read = (self._parent.variable, *arguments)
            self._variable = self.tape.write(function, read, self.value, keywords, "view")
            self._version = self.storage.version
        return self._variable

    def assign(self, variable: Variable) -> None:
        """Make `variable` the present value, of what it is a view of, too."""
        if self._parent is None:
            self.storage.variable = variable
            self.storage.version += 1
            return
        parent = self._parent
        function, arguments, keywords = self._view
        if function is operator.getitem:
            target = (parent.variable, *arguments, variable)
            parent.assign(self.tape.write(operator.setitem, target, parent.value, kind="update"))
        else:
            back = inverse(function, arguments, keywords, parent.value)
            if back is None:
                self.tape.refuse(f"writes into what {title(function)} returned")
            else:
                parent.assign(self.tape.write(back[0], (variable, *back[1]), parent.value, kind="view"))
        self._variable, self._version = variable, self.storage.version

    @property  # type: ignore[misc]  # nobody assigns to it
    def __class__(self) -> Any:
        """What isinstance is told: an array, or a number where NumPy would have given one."""
        return self.value.dtype.type if self.scalar else np.ndarray

    # --- NumPy's protocols -------------------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **keywords: Any) -> Any:
        if ufunc.nout != 1:
            self.tape.refuse(f"np.{ufunc.__name__} gives several arrays")
        if method == "at":
            self.change(ufunc.at, inputs)
            return None
        out = keywords.pop("out", (None,))[0]
        where = keywords.get("where", True)
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        if where is not True and method == "__call__":
            if out is None:
                self.tape.refuse(f"np.{ufunc.__name__} with where, but without out, leaves elements undefined")
            if keywords.keys() != {"where"}:
                self.tape.refuse(f"np.{ufunc.__name__} with where and {', '.join(keywords.keys() - {'where'})}")
            return self._own(out).change(masked, (out, where, ufunc, *inputs))
        return self._into(out, self._compute(function, inputs, keywords), function)

    def __array_function__(self, function: Any, _types: Any, arguments: Any, keywords: Any) -> Any:
        keywords = {key: value for key, value in keywords.items() if key != "like"}
        if function in STATIC:
            shapes = function in (np.shape, np.size)
            real = [x.static() if shapes and isinstance(x, Recorder) else self._real(x) for x in arguments]
            return function(*real, **self._real(keywords))
        if function in LIKE:
            return self._like(function, *arguments, **keywords)
        if function in SPLITS:
            return self._split(function, arguments, keywords)
        if function is np.copyto:
            return self._copyto(*arguments, **keywords)
        if function in CHANGES:
            self.change(function, arguments, keywords)
            return None
        if function not in VIEWS and function not in COMPUTES:
            self.tape.refuse(f"{title(function)} is not followed")
        if function in (np.reshape, np.ravel) and {"A", "K"} & {*map(str, arguments[1:]), str(keywords.get("order"))}:
            self.tape.refuse(f"{title(function)} in the order of memory, which is not the same in every engine")
        if function in VIEWS and not arguments:
            self.tape.refuse(f"{title(function)} with its array by name is not followed")
        out = keywords.pop("out", None)
        return self._into(out, self._compute(function, arguments, keywords), function)

    def __array__(self, *_: Any, **__: Any) -> Any:
        self.tape.refuse(
            "the numbers themselves are asked for, as np.asarray(x) does and writing into an array that does not come "
            "from the inputs (np.zeros_like(x, shape=...) does, np.zeros does not)"
        )

    # --- How operations are written down -----------------------------------------------------------------------------

    def _real(self, tree: Any) -> Any:
        """Return arguments with the real values of recorders: numbers where NumPy would have given them."""

        def real(x: Any) -> Any:
            if not isinstance(x, Recorder):
                return x
            return x.value[()] if x.scalar else x.value

        return mapped(tree, real)

    def _written(self, tree: Any) -> Any:
        """Return arguments with variables in the place of recorders and plain arrays."""

        def variable(x: Any) -> Any:
            if isinstance(x, Recorder):
                if x.tape is not self.tape:
                    self.tape.refuse("an array of an earlier call is used: the gate keeps something")
                return x.variable
            return self.tape.constant(x) if isinstance(x, np.ndarray) else x

        return mapped(tree, variable)

    def _compute(self, function: Any, arguments: Sequence[Any], keywords: dict[str, Any]) -> Recorder:
        """Run a function on the real values, write it down, and return what it gave."""
        arguments, real = tuple(arguments), self._real(tuple(arguments))
        written, written_keywords = self._written(arguments), self._written(keywords)
        if function is not operator.getitem and function not in VIEWS:
            # Some can write into their arguments (np.clip(x, 0, 1, x)); NumPy then says so, and we do not follow.
            real = mapped(real, _locked)
        result = function(*real, **self._real(keywords))
        if isinstance(result, tuple | list):
            self.tape.refuse(f"{title(function)} gives several arrays")
        value = np.asarray(result)
        first = arguments[0] if arguments else None
        shared = isinstance(result, np.ndarray) and self._shares(value, real)
        if shared and not (isinstance(first, Recorder) and np.may_share_memory(value, first.value)):
            self.tape.refuse(f"{title(function)} returns a view of what is not its first argument")
        kind: Kind = "view" if shared or function in VIEWS else "compute"
        variable = self.tape.write(function, written, value, written_keywords, kind)
        by_mask = function is operator.getitem and not shared and has_mask(real[1])
        # How often, and which not, are numbers of elements.
        if by_mask or (
            function in (np.repeat, np.delete)
            and any(isinstance(x, Recorder) for x in (*arguments[1:], *keywords.values()))
        ):
            variable.shape = None
        if not shared:
            return Recorder(self.tape, value, variable, scalar=not isinstance(result, np.ndarray))
        # One of NumPy's own that returns its argument itself (np.atleast_1d): so do we.
        return Recorder(self.tape, value, variable, first, (function, written[1:], written_keywords))

    @staticmethod
    def _shares(value: Array, real: Any) -> bool:
        return any(np.may_share_memory(value, x) for x in arrays(real))

    def _own(self, target: Any) -> Recorder:
        """Return what is written into, if it is a recorder."""
        if not isinstance(target, Recorder):
            self.tape.refuse("writes into an array that does not come from the inputs; np.zeros_like(x) would")
        return target

    def _into(self, out: Any, result: Recorder, function: Any) -> Recorder:
        """Return a result, written into `out` if there is one."""
        if isinstance(out, tuple):
            (out,) = out
        # Numbers do not change in place: `total += x` makes a new one.
        if out is None or (isinstance(out, Recorder) and out.scalar):
            return result
        target = self._own(out)
        if not isinstance(function, np.ufunc) and result.value.dtype != target.value.dtype:
            self.tape.refuse(f"{title(function)} with an out of another dtype, in which it may add up")
        if result.value.shape != target.value.shape:
            target[...] = result
            return target
        np.copyto(target.value, result.value, casting="same_kind")
        variable = result.variable
        if variable.dtype != target.value.dtype:
            variable = self.tape.write(astype, (variable, target.value.dtype), target.value)
        target.assign(variable)
        return target

    def change(self, function: Any, arguments: Sequence[Any], keywords: dict[str, Any] | None = None) -> Recorder:
        """Run a function that writes into its first argument."""
        target, keywords = self._own(arguments[0]), keywords or {}
        written, written_keywords = self._written(tuple(arguments)), self._written(keywords)
        function(*self._real(tuple(arguments)), **self._real(keywords))
        target.assign(self.tape.write(function, written, target.value, written_keywords, "update"))
        return target

    def _copyto(self, target: Any, source: Any, casting: str = "same_kind", where: Any = True) -> None:
        if casting != "same_kind":
            self.tape.refuse(f"np.copyto with casting={casting!r} is not followed")
        if where is True:
            self._own(target)[...] = source
        else:
            self._own(target).change(masked, (target, where, np.positive, source))

    def _like(self, function: Any, prototype: Any, *arguments: Any, **keywords: Any) -> Recorder:
        """Make a new array of an array's shape: from shapes alone, so that nothing depends on the array."""
        value = np.array(function(self._real(prototype), *self._real(arguments), **self._real(keywords)), order="C")
        if isinstance(prototype, Recorder) and prototype.variable.shape is None and "shape" not in keywords:
            return self._compute(function, (prototype, *arguments), keywords)
        make: Any = np.ones if function is np.ones_like else np.zeros
        first: tuple[Any, ...] = ()
        if function is np.full_like:
            make, first = np.full, (self._written(arguments[0] if arguments else keywords["fill_value"]),)
        return Recorder(self.tape, value, self.tape.write(make, (value.shape, *first, value.dtype), value))

    def _split(self, function: Any, arguments: Any, keywords: Any) -> list[Recorder]:
        """Cut into views, each a slice."""
        if any(isinstance(x, Recorder) for x in (*arguments[1:], *keywords.values())):
            self.tape.refuse(f"{title(function)} at places that depend on values, or with its array by name")
        parts = function(*self._real(arguments), **self._real(keywords))
        axis = split_axis(function, arguments, keywords, self.value.ndim)
        if sum(part.shape[axis] for part in parts) != self.value.shape[axis]:
            self.tape.refuse(f"{title(function)} into parts that overlap")
        ends = np.cumsum([part.shape[axis] for part in parts]).tolist()
        before = (slice(None),) * (axis % self.value.ndim)
        return [self[(*before, slice(a, b))] for a, b in zip([0, *ends[:-1]], ends, strict=True)]

    # --- What an array has -------------------------------------------------------------------------------------------

    def __getitem__(self, index: Any) -> Recorder:
        return self._compute(operator.getitem, (self, _plain_slices(index)), {})

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

    def __iter__(self) -> Iterator[Recorder]:
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
        return self._compute(astype, (self, np.dtype(dtype)), {})

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
        given: list[Any] = [x if isinstance(x, Recorder) else as_array(x, "an input", GateError) for x in inputs]
        dtype = float_dtype([a for a, x in zip(given, inputs, strict=True) if not is_number(x)])
        pairs = zip(given, inputs, strict=True)
        return run_forward(gate, [a.astype(dtype) if is_number(x) and dtype else a for a, x in pairs])


def _plain_slices(index: Any) -> Any:
    """Return an index whose slices have plain bounds: the shape follows from them, so they are asked for."""
    if isinstance(index, tuple):
        return tuple(_plain_slices(part) for part in index)
    if isinstance(index, slice):
        bounds = (index.start, index.stop, index.step)
        return slice(*(operator.index(x) if isinstance(x, Recorder) else x for x in bounds))
    return index


def _locked(x: Any) -> Any:
    """Return an array's view that cannot be written into; anything else as it is."""
    if isinstance(x, np.ndarray):
        x = x.view()
        x.flags.writeable = False
    return x


def _method(function: Any) -> Callable[..., Any]:
    def method(self: Recorder, *arguments: Any, **keywords: Any) -> Any:
        return function(self, *arguments, **keywords)

    method.__doc__ = "As an array's."
    return method


for _name, _function in METHODS.items():
    setattr(Recorder, _name, _method(_function))
