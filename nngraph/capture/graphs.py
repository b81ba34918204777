"""A graph, run once with recorders in the place of arrays: its forward, or its loss and gradients, as a Program."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from gates.arrays import Array
from gates.contract import Gate, GateError, run_backward, run_forward
from nngraph.capture.recorder import Recorder
from nngraph.capture.tape import Refusal, Tape
from nngraph.graph import Graph
from nngraph.nodes import Constant, Input, Node, Parameter
from nngraph.program.program import Opaque, Variable
from nngraph.program.recorded import RecordedProgram

# What a loss is multiplied by: a function, and the nodes whose values it takes.
Scale: TypeAlias = tuple[Callable[..., Any], tuple[Node, ...]]


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


@dataclass(frozen=True)
class Factor:
    """What a loss is multiplied by, as an array."""

    function: Callable[..., Any]
    dtype: np.dtype[Any]

    def __call__(self, *inputs: Array) -> Array:
        return np.asarray(self.function(*inputs), self.dtype)


class ImpureError(Exception):
    """A gate keeps something on itself, so that it is not the same from one call to the next."""


@dataclass(frozen=True)
class Step:
    """What one run of a gate was recorded as: on which variables it ran, and which it gave (None for no gradient)."""

    call: Call
    inputs: tuple[Variable, ...]
    results: tuple[Variable | None, ...]


@dataclass(frozen=True)
class Recording:
    """A program, and which part of it each gate is, in the order of the runs."""

    program: RecordedProgram
    steps: tuple[Step, ...]


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
        attributes = getattr(gate, "__dict__", {})
        before = dict(attributes)
        try:
            yield
        finally:
            after = dict(attributes)
            changed = sorted(key for key in {*before, *after} if before.get(key) is not after.get(key))
            # Other threads may use the gate.
            if changed:
                attributes.clear()
                attributes.update(before)
        if changed:
            listed = ", ".join(f"self.{key}" for key in changed)
            raise ImpureError(f"{title} is not pure: it changes {listed}")

    def forward(self, gate: Gate, inputs: Sequence[Recorder], *label: Any) -> Recorder:
        """Do what `run_forward` does."""
        with self._pure(gate, label[0]):
            Z = self._forward(gate, inputs, *label)
        variables = tuple(x.variable for x in inputs)
        self.steps.append(Step(Call(run_forward, gate, (label[0], tuple(label[1]))), variables, (Z.variable,)))
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
        _refuse_kept([Z], label)
        return Recorder(self.tape, Z, self._call(run_forward, gate, label, inputs, Z, reason))

    def backward(self, gate: Gate, inputs: Sequence[Recorder], dZ: Recorder, *label: Any) -> Sequence[Recorder | None]:
        """Do what `run_backward` does."""
        with self._pure(gate, label[0]):
            parts = self._backward(gate, inputs, dZ, *label)
        variables = tuple(x.variable for x in (*inputs, dZ))
        results = tuple(None if part is None else part.variable for part in parts)
        self.steps.append(Step(Call(run_backward, gate, (label[0], tuple(label[1]))), variables, results))
        return parts

    def _backward(self, gate: Gate, inputs: Sequence[Any], dZ: Any, *label: Any) -> Sequence[Recorder | None]:
        try:
            with self.tape.attempt():
                parts = run_backward(gate, inputs, dZ, *label)
                return [None if part is None else self._recorder(part) for part in parts]
        except Exception as error:  # noqa: BLE001 - if the gate itself is to blame, it raises again on the real values
            reason = self.tape.refusal or error
        gradients = run_backward(gate, [x.value for x in inputs], dZ.value, *label)
        _refuse_kept(gradients, label)
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

    def results(self, function: Callable[..., Any], argument: Recorder, count: int, title: str) -> list[Recorder]:
        """Return what a function gives, `count` arrays; raise ValueError if it cannot be followed."""
        try:
            with self.tape.attempt():
                found = function(argument)
                found = found if isinstance(found, tuple) else (found,)
                if len(found) != count or not all(isinstance(x, np.ndarray | np.generic) for x in found):
                    self.tape.refuse("they are no arrays")
                return [self._recorder(x) for x in found]
        except Refusal as refusal:
            raise ValueError(f"{title} cannot be followed: {refusal}") from None

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


def _refuse_kept(results: Sequence[Any], label: Sequence[Any]) -> None:
    """Raise GateError if a gate that was run on plain arrays returns a recorder: it kept one of an earlier run."""
    if any(isinstance(result, Recorder) for result in results):
        raise GateError(f"{label[0]} keeps an array of an earlier call; a gate is pure, and gets its inputs again")


def part(parts: Sequence[Any], k: int) -> Any:
    """Return one of the gradients that a gate returned."""
    return parts[k]


def sources(graph: Graph, tape: Tape, feeds: Mapping[Any, Any]) -> list[Any]:
    """Return a list with recorders for the sources of a graph in their places; numbers stay part of the program."""
    values: list[Any] = list(graph.sources(feeds, {}))
    for i, (node, name) in enumerate(zip(graph.nodes, graph.names, strict=True)):
        if isinstance(node, Constant) and node.is_number:
            values[i] = Recorder(tape, values[i], tape.constant(values[i]))
        elif isinstance(node, Input | Parameter | Constant):
            variable = tape.input(values[i], name, varies=isinstance(node, Parameter))
            values[i] = Recorder(tape, values[i], variable)
    return values


def record_forward(graph: Graph, feeds: Mapping[Any, Any]) -> Recording:
    """Record the forward of a graph.

    Parameters
    ----------
    graph : Graph
    feeds : mapping from input (node or name) to array
        The data to record on; the program holds for data of these shapes and dtypes.

    Returns
    -------
    recording : Recording
        The program's inputs are the graph's sources by name, its outputs the graph's outputs.

    Raises
    ------
    ImpureError
        If a gate keeps something on itself.
    """
    tape = Tape()
    follower = Follower(tape)
    values = sources(graph, tape, feeds)
    graph.compute(values, follower.forward)
    _name(graph.names, values)
    return follower.recording([values[graph.position(output)].variable for output in graph.outputs])


def record_gradient(graph: Graph, feeds: Mapping[Any, Any], scale: Scale | None = None) -> Recording:
    """Record the forward and the backward of a graph whose one output is a loss.

    Parameters
    ----------
    graph : Graph
    feeds : mapping from input (node or name) to array
        The data to record on; the program holds for data of these shapes and dtypes.
    scale : (callable, nodes), optional
        What the loss is multiplied by: a function of the values of these nodes. By default 1.

    Returns
    -------
    recording : Recording
        The program's inputs are the graph's sources by name; its outputs the loss (not multiplied) and the gradient of
        every parameter, in the graph's order.

    Raises
    ------
    ImpureError
        If a gate keeps something on itself.
    """
    follower, values, gradients = _differentiated(graph, feeds, scale)
    outputs = [values[graph.position(graph.outputs[0])], *gradients]
    return follower.recording([output.variable for output in outputs])


def record_step(
    graph: Graph, feeds: Mapping[Any, Any], scale: Scale | None, step: Callable[..., Any], rates: Mapping[str, float]
) -> Recording:
    """Record a whole training step: forward, backward, and what becomes of every parameter.

    Parameters
    ----------
    graph, feeds, scale
        As in `record_gradient`.
    step : callable
        Called as ``step(parameter, value, gradient, **rates)``; returns the parameter's next value.
    rates : mapping from name to float
        Numbers that are inputs of the program.

    Returns
    -------
    recording : Recording
        The program's inputs are the graph's sources and the rates by name; its outputs the loss and the next value of
        every parameter, in the graph's order.
    """
    follower, values, gradients = _differentiated(graph, feeds, scale)
    tape, numbers = follower.tape, {}
    loss = values[graph.position(graph.outputs[0])]
    for name, rate in rates.items():
        value = np.asarray(rate, loss.dtype)
        numbers[name] = Recorder(tape, value, tape.input(value, name, varies=True))
    outputs = [loss]
    for parameter, gradient in zip(graph.parameters, gradients, strict=True):
        i = graph.position(parameter)
        outputs.append(step(parameter, values[i], gradient, **numbers))
        outputs[-1].variable.name = f"next_{graph.names[i]}"
    return follower.recording([output.variable for output in outputs])


def record_function(
    graph: Graph, feeds: Mapping[Any, Any], function: Callable[..., Any], names: Sequence[str], title: str
) -> Recording:
    """Record the forward of a graph, and a function of its one output that returns one array or several.

    Parameters
    ----------
    graph : Graph
    feeds : mapping from input (node or name) to array
    function : callable
    names : sequence of str
        What its results are called.
    title : str
        What the function is, for messages.

    Raises
    ------
    ValueError
        If the function cannot be followed.
    """
    tape = Tape()
    follower = Follower(tape)
    values = sources(graph, tape, feeds)
    graph.compute(values, follower.forward)
    _name(graph.names, values)
    results = follower.results(function, values[graph.position(graph.outputs[0])], len(names), title)
    _name(names, results)
    return follower.recording([result.variable for result in results])


def _differentiated(
    graph: Graph, feeds: Mapping[Any, Any], scale: Scale | None
) -> tuple[Follower, list[Any], list[Any]]:
    """Run a graph forward and backward; return every node's value, and every parameter's gradient."""
    tape = Tape()
    follower = Follower(tape)
    values = sources(graph, tape, feeds)
    graph.compute(values, follower.forward)
    _name(graph.names, values)
    at = graph.position(graph.outputs[0])
    gradients: list[Any] = [None] * len(values)
    function, nodes = scale or ((lambda: 1.0), ())
    gradients[at] = follower.upstream(function, [values[graph.position(node)] for node in nodes], values[at].dtype)
    graph.differentiate(values, gradients, follower.backward)
    # Of several nodes with one gradient the last is the one that it is the gradient of in a formula: dZ1, not dXW1.
    # What the loss is multiplied by is nobody's gradient: it may be a sum of weights.
    _name(
        [f"d{name}" for name in reversed(graph.names)], [None if i == at else g for i, g in enumerate(gradients)][::-1]
    )
    found = [gradients[graph.position(parameter)] for parameter in graph.parameters]
    for i, parameter in enumerate(graph.parameters):
        if found[i] is None:
            zeros = np.zeros_like(parameter.value)
            found[i] = Recorder(tape, zeros, tape.write(np.zeros, (zeros.shape, zeros.dtype), zeros))
    return follower, values, found


def _name(names: Sequence[str], recorders: Sequence[Any]) -> None:
    """Give variables the names of the nodes that they stand for."""
    for name, recorder in zip(names, recorders, strict=True):
        if recorder is not None:
            recorder.variable.name = recorder.variable.name or name
