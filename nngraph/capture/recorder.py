"""A stand-in for an array that carries the real value and writes down what NumPy is asked to do with it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gates.arrays import Array
from nngraph.capture.face import ArrayFace
from nngraph.capture.followed import (
    CHANGES,
    COMPUTES,
    LIKE,
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


class Recorder(ArrayFace):
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
        return self._into(out, self.compute(function, inputs, keywords), function)

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
        return self._into(out, self.compute(function, arguments, keywords), function)

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

    def compute(self, function: Any, arguments: Sequence[Any], keywords: dict[str, Any]) -> Recorder:
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
            return self.compute(function, (prototype, *arguments), keywords)
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


def _locked(x: Any) -> Any:
    """Return an array's view that cannot be written into; anything else as it is."""
    if isinstance(x, np.ndarray):
        x = x.view()
        x.flags.writeable = False
    return x
