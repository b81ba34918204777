"""What is proven: a function of several arrays with a backward, at one example."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from gates.arrays import Array, describe
from gates.checking.slopes import Function
from gates.contract import Gate, GateError, input_names, run_backward


class Trial(ABC):
    """``Z = f(X1, ..., Xn)`` and its backward, at one point.

    Attributes
    ----------
    name : str
        What messages call it.
    names : sequence of str
        What they call its inputs.
    inputs : tuple of arrays
        The point: float64 where there is a gradient.
    varies : tuple of int
        The positions of the inputs that have a gradient.
    origin : str
        Where the example comes from.
    """

    name: str
    names: Sequence[str]
    inputs: tuple[Array, ...]
    varies: tuple[int, ...]
    origin: str = "given"

    @abstractmethod
    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return Z; complex inputs may come, and may be refused with any exception."""

    @abstractmethod
    def backward(self, inputs: Sequence[Array], dZ: Array) -> Sequence[Array | None]:
        """Return the gradient of each input, in its shape."""

    def gradient(self, k: int, dZ: Array, x: Array | None = None) -> Array:
        """Return the gradient of input k, zeros for None; at `x` in its place if that is given."""
        inputs = self.inputs if x is None else self._with(k, x)
        gradient = self.backward(inputs, dZ)[k]
        return np.zeros(self.inputs[k].shape) if gradient is None else gradient

    def function(self, k: int) -> Function:
        """Return Z as a function of input k alone: nan where the forward refuses, beyond the edge of its domain."""
        shape = self.forward(self.inputs).shape

        def Z(x: Array) -> Array:
            try:
                values = self.forward(self._with(k, x))
            except Exception:
                if np.iscomplexobj(x):
                    raise
                return np.full(shape, np.nan)
            return values if values.shape == shape else np.full(shape, np.nan)

        return Z

    def at(self, inputs: Sequence[Array], origin: str) -> Trial:
        """Return the same at other inputs."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.inputs, other.origin = tuple(inputs), origin
        return other

    def _with(self, k: int, x: Array) -> list[Array]:
        return [*self.inputs[:k], x, *self.inputs[k + 1 :]]

    def __str__(self) -> str:
        return f"{describe(self.names, self.inputs)} ({self.origin})"


class GateTrial(Trial):
    """A gate at one example. It gets copies at each call: what it does to them is a check of its own."""

    def __init__(self, gate: Gate, inputs: Sequence[Array], origin: str) -> None:
        self.gate, self.name, self.origin = gate, type(gate).__name__, origin
        self.names = input_names(gate, len(inputs))
        self.inputs = tuple(inputs)
        self.varies = tuple(
            k for k, x in enumerate(inputs) if x.dtype.kind == "f" and self.names[k] not in gate.constants
        )

    def forward(self, inputs: Sequence[Array]) -> Array:
        return np.asanyarray(self.gate.forward(*(np.array(x, subok=True) for x in inputs)))

    def raw_backward(self, inputs: Sequence[Array], dZ: Array) -> object:
        """Return what the gate's backward returns. Its forward ran before, at the same inputs, as in training."""
        self.forward(inputs)
        return self.gate.backward(*(np.array(x) for x in inputs), np.array(dZ))

    def backward(self, inputs: Sequence[Array], dZ: Array) -> Sequence[Array | None]:
        self.forward(inputs)
        return run_backward(self.gate, [np.array(x) for x in inputs], np.array(dZ), names=self.names)


def differentiable(gate: Gate, inputs: Sequence[Array], origin: str) -> GateTrial:
    """Make the trial of a gate: float64 copies, whole numbers among them where the gate differentiates them.

    Labels and rows, whole numbers to which backward gives no gradient, stay as they are.
    """
    names = input_names(gate, len(inputs))
    gradients: Sequence[Array | None] = [None] * len(inputs)
    # Powers of whole numbers, for one, are refused where they are not whole.
    for tried in (inputs, [x.astype(np.float64) for x in inputs]):
        try:
            trial = GateTrial(gate, tried, origin)
            gradients = trial.backward(tried, np.ones(trial.forward(tried).shape))
            break
        except Exception:  # noqa: BLE001, S112 - what is wrong with it is said by the checks, which run it again
            continue
    values = [
        x if x.dtype.kind != "f" and (given is None or name in gate.constants) else x.astype(np.float64)
        for x, given, name in zip(inputs, gradients, names, strict=True)
    ]
    made = GateTrial(gate, values, origin)
    if not made.varies:
        listed = ", ".join(f"{name} {x.dtype}" for name, x in zip(names, inputs, strict=True))
        raise GateError(
            f"{type(gate).__name__}: none of its inputs has a gradient, so there is nothing to prove; got {listed}; "
            "write the numbers that it differentiates as floats"
        )
    return made
