"""The built-in engine: a program as Python functions that call NumPy with arrays laid out beforehand.

`load` does what depends on the data alone, `step` what depends on the parameters, too. Nothing is allocated in a step
that NumPy can write into a given array: each result has its place in a pool of memory, elementwise operations write
over an operand that is not needed any more, and views are made once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from gates.arrays import Array
from nngraph.engines.gathering import HOLDS_FOR_PARTS, by_rows
from nngraph.engines.layout import empty, order
from nngraph.engines.lowering import lower
from nngraph.engines.ones import with_ones
from nngraph.engines.writer import Writer
from nngraph.program.passes import drop, optimize, share, simplify, split
from nngraph.program.program import Operation, Program, Variable, last_reads
from nngraph.program.report import ProgramReport, report


class Compiled:
    """A program that is bound to memory.

    Parameters
    ----------
    program : Program
        As recorded; all passes are done here.
    varying : iterable of variables
        The inputs that change from step to step; all others are data.
    given : mapping from input to array, optional
        Where inputs lie; for the others there are buffers. These arrays are not written into, unless `into` or `spare`
        says so.
    into : sequence of arrays or None, optional
        Where the outputs, in their order, are to be written; None for anywhere. They may be given arrays, too: such a
        one is written when its old value is not needed any more.
    rows : collection of inputs, optional
        Those that have a row for each example, if examples are to be gathered from more of them.
    spare : collection of inputs, optional
        Given arrays that a step may use up, as there are others in them before the next one.

    Attributes
    ----------
    program : Program
        As it is run, after all passes.
    inputs : dict from name to array
        Where each input lies. Write the data there, then call `load`, then `step`.
    outputs : list of arrays
        Where `step` leaves the outputs; the next step writes over them. Those of `into` are these arrays.
    gathered : list of (variable, array)
        What depends on each row of the data by itself, and where it lies: write it there, then call `reload`, then
        `step`. Empty if that cannot be done.
    guarded : bool
        Whether gates asked something of the data.
    guards_by_rows : bool
        Whether what gates asked of the data holds for all rows if it holds for each part of them.
    source : str
        The functions.
    buffer_bytes : int
        The memory of all buffers, constants included.
    """

    def __init__(
        self,
        program: Program,
        varying: Iterable[Variable] = (),
        given: Mapping[Variable, Array] | None = None,
        into: Sequence[Array | None] = (),
        rows: Collection[Variable] = (),
        spare: Collection[Variable] = (),
    ) -> None:
        given, varying = given or {}, set(varying)
        program = optimize(program)
        made = {operation.output: operation for operation in program.operations}
        answers = [(made[v].function if v in made else None, bool(answer)) for v, answer in program.guards]
        self.guarded = bool(answers)
        self.guards_by_rows = all(answer in HOLDS_FOR_PARTS for answer in answers)
        # Twice, if one output is to be written to two places.
        wanted = list(zip(program.outputs, into, strict=False))
        lowered = drop(share(simplify(lower(program, varying))))
        places = {v: place for v, place in wanted if place is not None}
        self.program, beside, beside_bytes = with_ones(lowered, given, places)
        data, steps = split(self.program, varying)
        # A given array, a part of one with ones beside it, or a buffer.
        arrays = {v: empty(v.shape or (), v.dtype) for v in program.inputs if v not in given and v not in beside}
        arrays |= {v: given[v] if v in given else beside[v] for v in program.inputs if v not in arrays}
        self.inputs = {str(v.name): array for v, array in arrays.items()}
        operations = [*data.operations, *steps.operations]
        self.gathered: list[tuple[Variable, Array]] = []
        apart = by_rows(data, steps, rows) if rows else None
        last = last_reads(operations, [*self.program.results, *data.outputs, *(apart.gathered if apart else ())])
        # What the data alone decide is computed once; it is copied in every step, as places may be changed in between.
        late = {operation.output for operation in steps.operations}
        places = {v: place for v, place in wanted if place is not None and v in late and place.flags.c_contiguous}
        places = _through_views(places, steps.operations)
        places = _when_free(places, given, operations, last) | beside
        writer = Writer({**self.program.constants, **arrays}, places, last, spare)
        again: list[str] = []
        for i, operation in enumerate(data.operations):
            before = len(writer.lines)
            writer.place(operation, i)
            if apart is not None and operation in apart.rest:
                again += writer.lines[before:]
        load, writer.lines = writer.lines, []
        for i, operation in enumerate(steps.operations, start=len(data.operations)):
            writer.place(operation, i)
        for variable, place in wanted:
            found = writer.arrays.get(variable)
            if place is not None and (found is None or not np.may_share_memory(found, place)):
                writer.copy(variable, place)
        self._guards, self._writer, self._into = self.program.guards, writer, tuple(into)
        # What each row by itself decides can be gathered where it has a place.
        if apart is not None and all(v in writer.arrays for v in apart.gathered):
            self.gathered = [(v, writer.arrays[v]) for v in apart.gathered]
        self.source = self._write({"load": load, "step": writer.lines, "reload": again})
        own = [array for v, array in arrays.items() if v not in given and v not in beside]
        fixed = sum(a.nbytes for a in (*own, *self.program.constants.values()))
        self.buffer_bytes = writer.pool.bytes + beside_bytes + fixed

    def _write(self, functions: Mapping[str, Sequence[str]]) -> str:
        """Make the functions of their lines; return their text."""
        namespace, assigned = self._writer.namespace, self._writer.assigned
        declared = [f"global {', '.join(assigned)}"] if assigned else []
        source = "\n".join(
            "\n    ".join([f"def {name}():", *declared, *(lines or ["pass"])]) + "\n"
            for name, lines in functions.items()
        )
        exec(compile(source, "<program>", "exec"), namespace)  # noqa: S102 - our own text
        self._load, self.step, self.reload = namespace["load"], namespace["step"], namespace["reload"]
        if self.program.quiet:
            self.step = np.errstate(all="ignore")(self.step)
            self.reload = np.errstate(all="ignore")(self.reload)
        if self.program.quiet or self._guards:
            # What a gate refuses, such as weights that add up to zero, is computed to its end before it is asked.
            self._load = np.errstate(all="ignore")(self._load)
        return source

    def report(self) -> ProgramReport:
        """Report what the program costs as it is run, and the memory of its buffers."""
        return report(self.program, self.buffer_bytes)

    def load(self) -> None:
        """Compute what depends on the data alone.

        Raises
        ------
        GuardError
            If a gate asks these data for something, and gets another answer than when the program was recorded.
        """
        self._load()
        self.program.check_guards({variable: self._value(variable) for variable, _ in self._guards})

    @property
    def outputs(self) -> list[Any]:
        pairs = zip_longest(self.program.outputs, self._into)
        # Before the first step there is nothing yet of what NumPy makes anew in each.
        return [self._value(variable) if place is None else place for variable, place in pairs]

    def _value(self, variable: Variable) -> Any:
        found = self._writer.arrays.get(variable)
        return self._writer.namespace[self._writer.name(variable)] if found is None else found


def _when_free(
    places: Mapping[Variable, Array],
    given: Mapping[Variable, Array],
    operations: Sequence[Operation],
    last: Mapping[Variable, int],
) -> dict[Variable, Array]:
    """Return those places that can be written at once: nobody reads what was there, but an elementwise function."""
    found, owned = dict(places), defaultdict(list)
    for v, array in given.items():
        owned[_owner(array)].append((last.get(v, -1), array))
    for i, operation in enumerate(operations):
        place = found.get(operation.output)
        if place is None:
            continue
        elementwise = isinstance(operation.function, np.ufunc) and not operation.function.signature
        needed = [read for read, array in owned[_owner(place)] if np.may_share_memory(array, place)]
        if any(read > i or (read == i and not elementwise) for read in needed):
            del found[operation.output]
    return found


def _owner(array: Array) -> int:
    """Return the identity of the array whose memory it is."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return id(array)


def _through_views(places: Mapping[Variable, Array], operations: Sequence[Operation]) -> dict[Variable, Array]:
    """Let what is only reshaped into a wanted result be computed in its place."""
    found = dict(places)
    reads = Counter(v for operation in operations for v in operation.variables)
    for operation in reversed(operations):
        if operation.output in found and operation.function is np.reshape:
            source = operation.arguments[0]
            if reads[source] == 1 and source not in found and order(source.shape) == "C":
                found[source] = found[operation.output].reshape(source.shape)
    return found
