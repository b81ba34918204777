"""A Program: what NumPy was asked to do, as a flat list of operations on variables, each assigned once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np

from gates.arrays import Array

# compute: a new array. view: the memory of its first argument, seen otherwise. update: a copy of its first argument,
# into which the function writes. call: a function that nothing is known about; it may return anything, even its input.
Kind: TypeAlias = Literal["compute", "view", "update", "call"]


class Variable:
    """The result of an operation, or an input or constant of a program. Two variables are equal if they are one.

    Attributes
    ----------
    name : str or None
        What the graph calls it.
    shape : tuple of ints, or None
        None where it depends on the data (``X[X > 0]``), or where the value is no array.
    dtype : dtype or None
        None where the value is no array.
    """

    __slots__ = ("dtype", "name", "shape")

    def __init__(self, shape: tuple[int, ...] | None, dtype: np.dtype[Any] | None, name: str | None = None) -> None:
        # Any: nearly all variables have both.
        self.shape: Any = shape
        self.dtype: Any = dtype
        self.name = name

    def __repr__(self) -> str:
        return f"<{self.name or 'variable'} {self.shape} {self.dtype}>"


@dataclass(frozen=True, eq=False)
class Operation:
    """``output = function(*arguments, **keywords)``.

    Attributes
    ----------
    function : callable
        NumPy's own, or one of Python's operators.
    arguments, keywords
        Variables and plain Python values; variables may stand inside tuples, lists and slices.
    output : Variable
    kind : {"compute", "view", "update", "call"}
        Whether the output is a new array, a view of the first argument, a changed copy of it, or anything.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    output: Variable
    keywords: Mapping[str, Any] = field(default_factory=dict)
    kind: Kind = "compute"

    @cached_property
    def variables(self) -> tuple[Variable, ...]:
        """The variables that it reads, in the order of the arguments."""
        return tuple(leaves((self.arguments, self.keywords)))

    def substitute(self, table: Mapping[Any, Any]) -> Operation:
        """Return the operation with its variables replaced where `table` has others, or values, for them."""
        if table.keys().isdisjoint(self.variables):
            return self
        arguments, keywords = mapped((self.arguments, dict(self.keywords)), lambda v: table.get(v, v))
        return replace(self, arguments=arguments, keywords=keywords)

    def run(self, values: Mapping[Variable, Any]) -> Any:
        """Compute the output's value from those of the variables that it reads; these are not changed."""
        arguments, keywords = mapped((self.arguments, dict(self.keywords)), values.__getitem__)
        if self.kind != "update":
            return self.function(*arguments, **keywords)
        target = np.array(arguments[0], order="K")
        self.function(target, *arguments[1:], **keywords)
        return target


def leaves(tree: Any) -> Iterator[Variable]:
    """Yield the variables in tuples, lists, dicts and slices."""
    if isinstance(tree, Variable):
        yield tree
    elif isinstance(tree, tuple | list):
        for branch in tree:
            yield from leaves(branch)
    elif isinstance(tree, Mapping):
        yield from leaves(tuple(tree.values()))
    elif isinstance(tree, slice):
        yield from leaves((tree.start, tree.stop, tree.step))


def mapped(tree: Any, function: Callable[[Variable], Any]) -> Any:
    """Return tuples, lists, dicts and slices with `function` applied to each variable in them."""
    if isinstance(tree, Variable):
        return function(tree)
    if isinstance(tree, tuple | list):
        return type(tree)([mapped(branch, function) for branch in tree])
    if isinstance(tree, dict):
        return {key: mapped(branch, function) for key, branch in tree.items()}
    if isinstance(tree, slice):
        return slice(*(mapped(part, function) for part in (tree.start, tree.stop, tree.step)))
    return tree


@dataclass(frozen=True)
class Opaque:
    """A gate that could not be followed, and why: it is called as it is."""

    gate: str
    reason: str

    def __str__(self) -> str:
        return f"{self.gate}: {self.reason}"


@dataclass(frozen=True)
class Program:
    """A straight line of array operations, for fixed shapes and dtypes.

    Attributes
    ----------
    inputs, outputs : tuples of variables
    operations : tuple of operations
        Each after those whose outputs it reads.
    constants : dict from variable to array
        Arrays that are part of the program.
    guards : tuple of (variable, value)
        What a gate asked of the data while it was recorded (``if wrong.any():``), and what it was told. For data that
        answer otherwise the program does not hold.
    opaque : tuple of Opaque
        The gates that are called as they are.
    passes : tuple of (name, number of operations)
        What was done to it, and how long it was afterwards.
    quiet : bool
        Whether a gate silenced NumPy's warnings (``np.errstate``); then all are silenced.
    """

    inputs: tuple[Variable, ...]
    operations: tuple[Operation, ...]
    outputs: tuple[Variable, ...]
    constants: Mapping[Variable, Array] = field(default_factory=dict)
    guards: tuple[tuple[Variable, Any], ...] = ()
    opaque: tuple[Opaque, ...] = ()
    passes: tuple[tuple[str, int], ...] = ()
    quiet: bool = False

    def evaluate(self, *values: Any) -> list[Any]:
        """Run it operation by operation on the inputs' values; return the outputs'.

        Raises
        ------
        GuardError
            If the data answer a guard otherwise than those that it was recorded on.
        """
        computed = self._run(values, last_reads(self.operations, self.results))
        return [computed[variable] for variable in self.outputs]

    def trace(self, *values: Any) -> dict[Variable, Any]:
        """Run it as `evaluate` does; return every variable's value."""
        return self._run(values, {})

    def _run(self, values: Sequence[Any], last: Mapping[Variable, int]) -> dict[Variable, Any]:
        """Return the variables' values but for those that, by `last`, were needed for the last time."""
        computed: dict[Variable, Any] = {**self.constants, **dict(zip(self.inputs, values, strict=True))}
        with np.errstate(all="ignore" if self.quiet else None):
            for i, operation in enumerate(self.operations):
                computed[operation.output] = operation.run(computed)
                for variable in (*operation.variables, operation.output):
                    if last.get(variable) == i:
                        computed.pop(variable, None)
        self.check_guards(computed)
        return computed

    def check_guards(self, computed: Mapping[Variable, Any]) -> None:
        """Raise GuardError unless the values answer all guards as when it was recorded."""
        for variable, expected in self.guards:
            if np.asarray(computed[variable]).item() != expected:
                raise GuardError(f"a gate asked for a value that was {expected} and is {computed[variable]} now")

    @property
    def results(self) -> tuple[Variable, ...]:
        """What must be computed: the outputs and what the guards ask for."""
        return (*self.outputs, *(variable for variable, _ in self.guards))

    def after(self, name: str, operations: Sequence[Operation], **changes: Any) -> Program:
        """Return the program with other operations, as the pass `name` made them."""
        passes = (*self.passes, (name, len(operations)))
        return replace(self, operations=tuple(operations), passes=passes, **changes)


def last_reads(operations: Sequence[Operation], results: Sequence[Variable]) -> dict[Variable, int]:
    """Return for each variable the position of the last operation that may read its memory, itself or through views.

    Parameters
    ----------
    operations : sequence of operations
    results : sequence of variables
        What is read after the last operation: its position is the number of operations.

    Notes
    -----
    A view, and what an unknown function returns, may be the memory of what they are made from; so that must last as
    long as they do. Going backwards, each is met before its sources.
    """
    last = dict.fromkeys(results, len(operations))
    for i in range(len(operations) - 1, -1, -1):
        operation = operations[i]
        # A result that nobody reads is still written, here.
        until = last.setdefault(operation.output, i)
        if operation.kind not in ("view", "call"):
            until = i
        for variable in operation.variables:
            last[variable] = max(last.get(variable, i), until)
    return last


class GuardError(ValueError):
    """The data are not like those that a program was recorded on, in a way that a gate asks for."""
