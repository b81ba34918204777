"""The tape that recorders write on, and what it becomes: a Program."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np

from gates.arrays import Array
from nngraph.program.program import Kind, Opaque, Operation, Variable, leaves
from nngraph.program.recorded import RecordedProgram


class Refusal(Exception):  # noqa: N818 -- not an error of the gate: it is right, and called as it is
    """A gate asked an array for something that cannot be written down as an array operation."""


class Tape:
    """Operations as they are asked for, with the arrays that they met and what was asked of the data."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.inputs: list[Variable] = []
        self.constants: dict[Variable, Array] = {}
        self.guards: list[tuple[Variable, Any]] = []
        self.opaque: list[Opaque] = []
        self.refusal: Refusal | None = None
        # Whether a gate silences NumPy's warnings.
        self.quiet = False
        self._errors = np.geterr()
        # What depends on a parameter, so that it changes from step to step.
        self._varying: set[Variable] = set()
        # A plain array that a gate uses, by identity; kept alive, so that no other takes its identity.
        self._met: dict[int, tuple[Array, Variable]] = {}

    def input(self, value: Array, name: str, *, varies: bool) -> Variable:
        """Make a variable for an input of the program."""
        variable = Variable(value.shape, value.dtype, name)
        self.inputs.append(variable)
        if varies:
            self._varying.add(variable)
        return variable

    def constant(self, value: Array) -> Variable:
        """Make a variable for an array that is no recorder: a setting of a gate, or made from shapes alone."""
        array, variable = self._met.get(id(value), (None, None))
        if array is None or variable is None or self.constants[variable].tobytes() != array.tobytes():
            variable = Variable(value.shape, value.dtype)
            self.constants[variable] = np.array(value, order="K")
            self._met[id(value)] = value, variable
        return variable

    def write(
        self,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        result: Any,
        keywords: Mapping[str, Any] | None = None,
        kind: Kind = "compute",
    ) -> Variable:
        """Write an operation down; `result` is what it gave."""
        shape, dtype = (result.shape, result.dtype) if isinstance(result, np.ndarray) else (None, None)
        output = Variable(shape, dtype)
        operation = Operation(function, arguments, output, keywords or {}, kind)
        variables = operation.variables
        # What is selected by a mask is as long as the data have it; an update has the shape of its target.
        sized = variables[:1] if kind == "update" else variables
        if shape and any(v.shape is None and v.dtype is not None for v in sized):
            output.shape = None
        if kind == "call" or any(v in self._varying for v in variables):
            self._varying.add(output)
        self.operations.append(operation)
        self.quiet |= np.geterr() != self._errors
        return output

    def guard(self, variable: Variable, expected: Any, what: str) -> None:
        """Note what a gate was told about the data; refuse to tell what depends on a parameter."""
        if variable in self._varying:
            self.refuse(f"{what} depends on the parameters")
        self.guards.append((variable, expected))

    def refuse(self, reason: str) -> NoReturn:
        """Raise Refusal, and remember it: a gate might catch what it raises."""
        self.refusal = Refusal(reason)
        raise self.refusal

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Take back what was written if a gate cannot be followed to its end."""
        operations, guards, self.refusal = len(self.operations), len(self.guards), None
        try:
            yield
            if self.refusal is not None:
                raise self.refusal
        except BaseException:
            del self.operations[operations:], self.guards[guards:]
            raise

    def program(self, outputs: Sequence[Variable]) -> RecordedProgram:
        """Return what was written so far."""
        used = {v for operation in self.operations for v in operation.variables} | set(leaves(tuple(outputs)))
        return RecordedProgram(
            inputs=tuple(self.inputs),
            operations=tuple(self.operations),
            outputs=tuple(outputs),
            constants={v: value for v, value in self.constants.items() if v in used},
            guards=tuple(dict(self.guards).items()),
            opaque=tuple(self.opaque),
            passes=(("recorded", len(self.operations)),),
            quiet=self.quiet,
        )
