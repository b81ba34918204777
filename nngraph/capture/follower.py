"""Gates run on recorders; what cannot be followed is run as it is, and becomes one opaque call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from gates.arrays import Array
from gates.contract import Gate, GateError, run_backward, run_forward
from nngraph.capture.recorder import Recorder
from nngraph.capture.tape import Refusal, Tape
from nngraph.program.program import Opaque, Variable
from nngraph.program.recorded import RecordedProgram


@dataclass(frozen=True, eq=False)
class Call:
    """A gate that is called as it is: ``forward`` or ``backward``, with the checks of its contract.

    What it gets cannot be written into, and what it returns is its own: it may return an input itself.
    """

    run: Callable[..., Any]
    gate: Gate
    label: tuple[str, Sequence[str]]

    def __call__(self, *inputs: Array) -> Any:
        shown = [value.view() for value in inputs]
        for value in shown:
            value.flags.writeable = False
        if self.run is run_forward:
            return np.array(run_forward(self.gate, shown, *self.label))
        gradients = run_backward(self.gate, shown[:-1], shown[-1], *self.label)
        return tuple(None if gradient is None else np.array(gradient) for gradient in gradients)


@dataclass(frozen=True, eq=False)
class Factor:
    """What a loss is multiplied by, as an array."""

    function: Callable[..., Any]
    dtype: np.dtype[Any]

    def __call__(self, *inputs: Array) -> Array:
        return np.asarray(self.function(*inputs), self.dtype)


class ImpureError(GateError):
    """A gate keeps something on itself, so that it is not the same from one call to the next."""


@dataclass(frozen=True)
class Step:
    """What one run of a gate was recorded as: on which variables it ran, and which it gave (None for no gradient).

    `operations` are the places, in the program as it was recorded, of what the gate asked for.
    """

    call: Call
    inputs: tuple[Variable, ...]
    results: tuple[Variable | None, ...]
    operations: range


@dataclass(frozen=True)
class Recording:
    """A program, and which part of it each gate is, in the order of the runs."""

    program: RecordedProgram
    steps: tuple[Step, ...]


@contextmanager
def put_back(thing: Any) -> Iterator[list[str]]:
    """Put an object's attributes back as they were; the list that is given has those that were changed: ``self.x``."""
    attributes, changed = getattr(thing, "__dict__", {}), list[str]()
    before = dict(attributes)
    try:
        yield changed
    finally:
        after = dict(attributes)
        changed += sorted(f"self.{key}" for key in {*before, *after} if before.get(key) is not after.get(key))
        # Other threads may use it.
        if changed:
            attributes.clear()
            attributes.update(before)


class Follower:
    """Runs gates on recorders; those that cannot be followed are run on the real values, and called as they are."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.steps: list[Step] = []

    def recording(self, outputs: Sequence[Variable]) -> Recording:
        """Return what was written so far."""
        return Recording(self.tape.program(outputs), tuple(self.steps))

    @contextmanager
    def _pure(self, gate: Gate, title: str) -> Iterator[None]:
        """Put a gate's attributes back as they were, and raise ImpureError if they were not."""
        with put_back(gate) as changed:
            yield
        if changed:
            raise ImpureError(f"{title} is not pure: it changes {', '.join(changed)}")

    def forward(self, gate: Gate, inputs: Sequence[Recorder], *label: Any) -> Recorder:
        """Do what `run_forward` does."""
        start = len(self.tape.operations)
        with self._pure(gate, label[0]):
            Z = self._forward(gate, inputs, *label)
        self._add_step(run_forward, gate, inputs, [Z], start, label)
        return Z

    # Any: to the contract recorders are arrays.
    def _forward(self, gate: Gate, inputs: Sequence[Any], *label: Any) -> Recorder:
        try:
            with self.tape.attempt():
                Z = run_forward(gate, inputs, *label)
                return self._recorder(Z)
        except Exception as error:  # noqa: BLE001 - if the gate itself is to blame, it raises again on the real values
            reason = self.tape.refusal or error
        Z = run_forward(gate, [x.value for x in inputs], *label)
        return Recorder(self.tape, Z, self._call(run_forward, gate, label, inputs, Z, reason))

    def backward(self, gate: Gate, inputs: Sequence[Recorder], dZ: Recorder, *label: Any) -> Sequence[Recorder | None]:
        """Do what `run_backward` does."""
        start = len(self.tape.operations)
        with self._pure(gate, label[0]):
            parts = self._backward(gate, inputs, dZ, *label)
        self._add_step(run_backward, gate, [*inputs, dZ], parts, start, label)
        return parts

    def _backward(self, gate: Gate, inputs: Sequence[Any], dZ: Any, *label: Any) -> Sequence[Recorder | None]:
        try:
            with self.tape.attempt():
                parts = run_backward(gate, inputs, dZ, *label)
                return [None if part is None else self._recorder(part) for part in parts]
        except Exception as error:  # noqa: BLE001 - if the gate itself is to blame, it raises again on the real values
            reason = self.tape.refusal or error
        gradients = run_backward(gate, [x.value for x in inputs], dZ.value, *label)
        called = self._call(run_backward, gate, label, [*inputs, dZ], gradients, reason)
        return [None if g is None else self._part(called, k, g) for k, g in enumerate(gradients)]

    def upstream(self, function: Callable[..., Any], inputs: Sequence[Recorder], dtype: Any) -> Any:
        """Return the gradient that arrives at the loss, as a function gives it."""
        try:
            with self.tape.attempt():
                factor = function(*inputs)
                found = self._recorder(factor if isinstance(factor, Recorder) else np.asarray(factor, dtype))
                return found if found.dtype == dtype else found.astype(dtype)
        except Exception as error:  # noqa: BLE001 - if the function itself is to blame, it raises again on the real values
            reason = str(error)
        call = Factor(function, dtype)
        self.tape.opaque.append(Opaque("the factor of the loss", reason))
        value = call(*(x.value for x in inputs))
        return Recorder(self.tape, value, self.tape.write(call, tuple(x.variable for x in inputs), value, kind="call"))

    def results(
        self, function: Callable[..., Any], arguments: Sequence[Recorder], count: int, title: str
    ) -> list[Recorder]:
        """Return what a function gives, `count` arrays; raise ValueError if it cannot be followed."""
        try:
            with self.tape.attempt():
                found = function(*arguments)
                found = found if isinstance(found, tuple) else (found,)
                if len(found) != count or not all(isinstance(x, np.ndarray | np.generic) for x in found):
                    self.tape.refuse("they are no arrays")
                return [self._recorder(x) for x in found]
        except Refusal as refusal:
            raise ValueError(f"{title} cannot be followed: {refusal}") from None

    def _add_step(
        self, run: Any, gate: Gate, inputs: Sequence[Recorder], found: Sequence[Recorder | None], start: int, label: Any
    ) -> None:
        call = Call(run, gate, (label[0], tuple(label[1])))
        results = tuple(None if x is None else x.variable for x in found)
        operations = range(start, len(self.tape.operations))
        self.steps.append(Step(call, tuple(x.variable for x in inputs), results, operations))

    def _recorder(self, value: Any) -> Recorder:
        """Return what a gate returned as a recorder: it may be a plain array, made from shapes alone."""
        if isinstance(value, Recorder):
            if value.tape is not self.tape:
                self.tape.refuse("an array of an earlier call is returned: the gate keeps something")
            return value
        array = np.array(value)
        return Recorder(self.tape, array, self.tape.constant(array))

    def _call(
        self, run: Any, gate: Gate, label: Any, inputs: Sequence[Recorder], result: Any, reason: Exception
    ) -> Variable:
        where = "forward" if run is run_forward else "backward"
        self.tape.opaque.append(Opaque(f"{label[0]}, {where}", str(reason) or type(reason).__name__))
        return self.tape.write(
            Call(run, gate, (label[0], tuple(label[1]))), tuple(x.variable for x in inputs), result, kind="call"
        )

    def _part(self, called: Variable, k: int, gradient: Array) -> Recorder:
        return Recorder(self.tape, gradient, self.tape.write(part, (called, k), gradient, kind="view"))


def part(parts: Sequence[Any], k: int) -> Any:
    """Return one of the gradients that a gate returned."""
    return parts[k]
