"""What a batch needs of each of its rows: computed once for all rows, and gathered by who takes some of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from gates.arrays import Array
from nngraph.engines.layout import empty
from nngraph.program.functions import astype
from nngraph.program.program import GuardError, Operation, Program, Variable

# What gates ask of all rows, as it is recorded and as it is lowered, and the answer that holds for all if it holds for
# each part of them: "is any wrong?", "no".
HOLDS_FOR_PARTS = ((np.any, False), (np.all, True), (np.logical_or.reduce, False), (np.logical_and.reduce, True))

# How many bytes the tables may have, or which part of the data's, if that is more.
MOST_BYTES = 2**20
MOST_SHARE = 1 / 8

# Data of so many bytes, which the processor has at hand, are turned for a training.
SMALL = 2**19


@dataclass(frozen=True)
class ByRows:
    """A program's part that depends on the data alone, as far as it is a matter of each row by itself.

    Attributes
    ----------
    gathered : tuple of variables
        Of each row by itself: inputs, and what is computed from them, as far as others read it.
    rest : tuple of operations
        What is computed from these for a batch as a whole.
    """

    gathered: tuple[Variable, ...]
    rest: tuple[Operation, ...]


def by_rows(data: Program, steps: Program, rows: Collection[Variable]) -> ByRows | None:
    """Take apart what depends on the data alone; None if a gate asks for more than each row by itself.

    Parameters
    ----------
    data, steps : Program
        What is computed once for its data, and what in every step.
    rows : collection of variables
        The inputs that have a row for each example.
    """
    made = {operation.output: operation for operation in data.operations}
    single = {v for v in rows if v.shape}
    for operation in data.operations:
        if _of_single_rows(operation, single, data.constants):
            single.add(operation.output)
    for variable, answer in data.guards:
        asked = made.get(variable)
        if asked is None or (asked.function, answer) not in HOLDS_FOR_PARTS or not single.issuperset(asked.variables):
            return None
    read = (v for operation in steps.operations for v in operation.variables if v in rows)
    needed, rest = dict.fromkeys((*data.outputs, *read)), []
    for operation in reversed(data.operations):
        if operation.output in needed and operation.output not in single:
            rest.append(operation)
            needed |= dict.fromkeys(operation.variables)
    return ByRows(tuple(v for v in needed if v in single), tuple(reversed(rest)))


def _of_single_rows(operation: Operation, single: Collection[Variable], constants: Mapping[Variable, Array]) -> bool:
    """Whether each row of an operation's output depends on the same row of its operands alone."""
    shape, variables = operation.output.shape, operation.variables
    if not shape or operation.keywords or not any(v in single for v in variables):
        return False
    function = operation.function
    if function is astype:
        return True
    if operation.kind == "view":
        return operation.arguments[1:] == ((Ellipsis, None),)
    if not isinstance(function, np.ufunc) or function.signature:
        return False
    return all(
        v.shape is not None
        and (
            (len(v.shape) == len(shape) and v.shape[0] == shape[0])
            if v in single
            else v in constants and (len(v.shape) < len(shape) or v.shape[0] == 1)
        )
        for v in variables
    )


class Loaded(Protocol):
    """A compiled program, as far as it takes data."""

    inputs: dict[str, Array]
    gathered: list[tuple[Variable, Array]]
    guarded: bool

    def load(self) -> None:
        """Compute what depends on the data in `inputs` alone; raise GuardError if it does not hold for them."""


def tables(compiled: Loaded, data: Mapping[str, Array]) -> list[tuple[Array, Array]] | None:
    """Return what is to be gathered, for all rows, and the place of each; None if it is too much, or a guard fails.

    Parameters
    ----------
    compiled : Compiled
        The data that it has are overwritten.
    data : mapping from name of input to array
        All rows.
    """
    found = [(data.get(str(v.name)), place) for v, place in compiled.gathered]
    if not compiled.guarded and all(table is not None for table, _ in found):
        return [(table, place) for table, place in found if table is not None]
    size, count = len(found[0][1]), len(next(iter(data.values())))
    most = max(MOST_BYTES, MOST_SHARE * sum(array.nbytes for array in data.values()))
    if sum(place.nbytes for table, place in found if table is None) // size * count > most:
        return None
    made = [(empty((count, *p.shape[1:]), p.dtype) if table is None else table, p) for table, p in found]
    computed = [pair for pair, (table, _) in zip(made, found, strict=True) if table is None]
    for start in range(0, count, size):
        # The last block begins earlier, so that it is whole.
        block = slice(min(start, count - size), start + size)
        for name, array in data.items():
            if name in compiled.inputs:
                np.copyto(compiled.inputs[name], array[block])
        try:
            compiled.load()
        except GuardError:
            return None
        for table, place in computed:
            table[block] = place
    return made


def gather(table: Array, place: Array) -> Callable[[Array], object]:
    """Return a function that writes rows of a table, given by number, into their place."""
    if place.ndim == 2 and place.flags.f_contiguous and not place.flags.c_contiguous:
        # Columns lie in one piece: so each is gathered by itself.
        if table.nbytes <= SMALL or table.flags.f_contiguous:
            turned, to = np.ascontiguousarray(table.T), place.T
            return lambda rows: turned.take(rows, 1, to, "clip")
        # Of large data there is no copy, and their rows are met faster than their single numbers.
        batch = np.empty(place.shape, place.dtype)

        def whole_rows(rows: Array) -> None:
            table.take(rows, 0, batch, "clip")
            np.copyto(place, batch)

        return whole_rows
    return lambda rows: table.take(rows, 0, place, "clip")
