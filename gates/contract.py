"""The contract of a gate, and the chores that are done around every gate.

A gate's author writes mathematics only. Reducing a gradient back to the shape of a broadcast input and checking
counts, shapes and dtypes is done once, here, by whoever runs the gate: a graph, an engine, or the checker.
"""

from __future__ import annotations

import functools
import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from gates.arrays import Array, as_array, describe, float_dtype, is_number, unbroadcast, was_broadcast


class GateError(ValueError):
    """A gate was given, or gave back, something that breaks its contract."""


class Gate(ABC):
    """``Z = f(X1, ..., Xn)`` and its chain rule ``dXi = (dZ/dXi)^T dZ``.

    A gate is pure: its attributes are settings, `forward` and `backward` read their arguments, write into none of
    them, and give the same answer twice. Nothing is kept between the two: `backward` gets the inputs again.

    Calling a gate on nodes makes a node; calling it on arrays computes `forward` and checks the result.

    Examples
    --------
    >>> class Square(Gate):
    ...     def forward(self, X):
    ...         return X * X
    ...     def backward(self, X, dZ):
    ...         return 2 * X * dZ
    >>> Square()(np.array([1.0, 2.0, 3.0]))
    array([1., 4., 9.])
    """

    # Names of floating inputs that are constants by design and get no gradient, such as targets.
    constants: ClassVar[tuple[str, ...]] = ()

    # The signatures are open on purpose: an author names the inputs as the formula does, `forward(self, W, X)`.
    @abstractmethod
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return Z for the inputs X1, ..., Xn."""

    @abstractmethod
    def backward(self, *args: Any, **kwargs: Any) -> Any:
        """Return one gradient per input, in the inputs' order, for the same inputs followed by dZ = dL/dZ.

        ``None`` stands for "no gradient" (labels, indices). Where an input was broadcast, its gradient may be as long
        as the output: whoever runs the gate adds it up.
        """

    def __call__(self, *inputs: Any, name: str | None = None) -> Any:
        """Apply the gate: to nodes it makes a node called `name`, to arrays it computes.

        Raises
        ------
        GateError
            If the number of inputs is wrong, or (for arrays) if the inputs do not fit or `forward` breaks the contract.
        """
        check_count(self, len(inputs))
        for value in inputs:
            # As in NumPy's own protocols, an input that is not an array may say itself what applying a gate means.
            if hasattr(value, "apply_gate"):
                return value.apply_gate(self, inputs, name)
        arrays = [as_array(value, "an input", GateError) for value in inputs]
        dtype = float_dtype([array for array, value in zip(arrays, inputs, strict=True) if not is_number(value)])
        return run_forward(
            self,
            [array.astype(dtype) if is_number(x) and dtype else array for array, x in zip(arrays, inputs, strict=True)],
        )

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in vars(self).items() if value is not None)
        return f"{type(self).__name__}({settings})"


class ElementwiseGate(Gate):
    """``Z = f(X)`` element by element, so ``dX = f'(X) dZ``: a subclass writes `forward` and `derivative`."""

    @abstractmethod
    def derivative(self, X: Array) -> Array:
        """Return f'(X), in the shape and dtype of X."""

    def backward(self, X: Array, dZ: Array) -> Array:
        return self.derivative(X) * dZ


@functools.cache
def _input_names(kind: type[Gate]) -> tuple[tuple[str, ...], int, bool]:
    """Names of the inputs of a gate's `forward`, how many are required, and whether any number may follow."""
    parameters = list(inspect.signature(kind.forward).parameters.values())
    if not isinstance(inspect.getattr_static(kind, "forward"), staticmethod | classmethod):
        parameters = parameters[1:]
    named = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = sum(p.default is p.empty for p in named)
    return tuple(p.name for p in named), required, any(p.kind is p.VAR_POSITIONAL for p in parameters)


def input_names(gate: Gate, count: int) -> list[str]:
    """Names of the first `count` inputs of a gate, as its `forward` spells them."""
    names, _, _ = _input_names(type(gate))
    return [*names, *(f"input {i + 1}" for i in range(len(names), count))][:count]


def be_gate(gate: Any, who: str) -> None:
    """Raise TypeError, naming the function that asks, unless `gate` is a Gate."""
    if not isinstance(gate, Gate):
        advice = f"; write {gate.__name__}()" if isinstance(gate, type) and issubclass(gate, Gate) else ""
        raise TypeError(f"{who} proves a Gate, got {gate!r}{advice}")


def count_range(gate: Gate) -> tuple[int, float]:
    """Return how many inputs a gate takes: at least, and at most (infinity for any number)."""
    names, required, any_number = _input_names(type(gate))
    return max(required, 1), math.inf if any_number else len(names)


def check_count(gate: Gate, count: int) -> None:
    """Raise GateError unless the gate takes `count` inputs."""
    names, required, any_number = _input_names(type(gate))
    if count < max(required, 1) or (count > len(names) and not any_number):
        expected = str(required) if required == len(names) else f"{required} to {len(names)}"
        if any_number:
            expected = f"{max(required, 1)} or more"
        listed = f" ({', '.join(names)})" if names else ""
        plural = "" if expected == "1" else "s"
        raise GateError(f"{type(gate).__name__} takes {expected} input{plural}{listed}, got {count}")


def _result_array(value: Any, what: str) -> Array:
    # What says itself what applying a gate means stands for an array, here as in `Gate.__call__`.
    if hasattr(value, "apply_gate") and hasattr(value, "dtype"):
        return _real_numbers(value, what)
    if isinstance(value, np.ndarray | np.generic | float | int):
        return _real_numbers(np.asarray(value), what)
    raise GateError(f"{what} must be an array, got {type(value).__name__}")


def _real_numbers(array: Any, what: str) -> Array:
    if array.dtype.kind in "biuf":
        return array
    raise GateError(f"{what} must be an array of real numbers, got dtype {array.dtype}")


def run_forward(
    gate: Gate, inputs: Sequence[Array], title: str | None = None, names: Sequence[str] | None = None
) -> Array:
    """Compute ``Z = gate.forward(*inputs)`` and hold the gate to its contract.

    Parameters
    ----------
    gate : Gate
        The gate to run.
    inputs : sequence of arrays
        Its inputs.
    title, names : str and sequence of str, optional
        What messages call the gate and its inputs; by default as the class and its `forward` do.

    Returns
    -------
    Z : array
        The output, in the dtype of a floating input if there is one.

    Raises
    ------
    GateError
        If the inputs do not fit the gate, or the output is no array of the inputs' dtype.
    """
    title = title or type(gate).__name__
    try:
        Z = gate.forward(*inputs)
    except GateError as error:
        raise GateError(f"{title}: {error}") from error
    except (ValueError, IndexError, TypeError) as error:
        names = names or input_names(gate, len(inputs))
        raise GateError(f"{title}: forward failed for inputs {describe(names, inputs)}: {error}") from error
    except Exception as error:
        error.add_note(f"in the forward of {title}")
        raise
    if type(Z) is not np.ndarray or Z.dtype.kind not in "biuf":
        Z = _result_array(Z, f"{title}: forward's result")
    floats = [value.dtype for value in inputs if value.dtype.kind == "f"]
    if floats and Z.dtype not in floats:
        raise GateError(
            f"{title}: forward must return {floats[0]}, the dtype of its inputs, got {Z.dtype}; a NumPy scalar such as "
            "np.sqrt(2.0) is float64 and widens float32 (write math.sqrt(2.0), a Python float), and so do int64 inputs"
        )
    return Z


def run_backward(
    gate: Gate,
    inputs: Sequence[Array],
    dZ: Array,
    title: str | None = None,
    names: Sequence[str] | None = None,
) -> tuple[Array | None, ...]:
    """Compute ``gate.backward(*inputs, dZ)``, hold it to its contract, and fit each gradient to its input.

    Returns
    -------
    gradients : tuple
        One per input: an array of the input's shape (and dtype, if that is floating), or None.

    Raises
    ------
    GateError
        If the number of gradients, or a gradient's shape or dtype, is wrong.
    """
    title = title or type(gate).__name__
    names = names or input_names(gate, len(inputs))
    try:
        result = gate.backward(*inputs, dZ)
    except GateError as error:
        raise GateError(f"{title}: {error}") from error
    except (ValueError, IndexError, TypeError) as error:
        listed = describe([*names, "dZ"], [*inputs, dZ])
        raise GateError(f"{title}: backward failed for {listed}: {error}") from error
    except Exception as error:
        error.add_note(f"in the backward of {title}")
        raise
    gradients = result if isinstance(result, tuple | list) else (result,)
    if len(gradients) != len(inputs):
        raise GateError(
            f"{title}: backward must return {len(inputs)} gradient{'s' * (len(inputs) != 1)}, one for each of "
            f"{', '.join(names)} in this order (None for no gradient), got {len(gradients)}"
        )
    if all(gradient is None for gradient in gradients) and float_dtype(inputs):
        raise GateError(
            f"{title}: backward returned no gradient for any of {', '.join(names)}; is a `return` missing? "
            "A gate that stops gradients on purpose returns zeros"
        )
    wide = float_dtype([*inputs, dZ]) or np.dtype(np.float64)
    return tuple(
        None if gradient is None else _fit(gradient, value, dZ, wide, title, name)
        for gradient, value, name in zip(gradients, inputs, names, strict=True)
    )


def _fit(gradient: Any, value: Array, dZ: Array, wide: np.dtype[Any], title: str, name: str) -> Array:
    """Reduce one gradient to the shape and dtype of its input, or say why that cannot be right."""
    if type(gradient) is not np.ndarray:
        gradient = _result_array(gradient, f"{title}: backward's gradient of {name}")
    dtype = value.dtype if value.dtype.kind == "f" else wide
    if gradient.dtype not in (dtype, wide):
        raise GateError(f"{title}: backward's gradient of {name} must have dtype {dtype}, got {gradient.dtype}")
    if gradient.shape != value.shape:
        if not was_broadcast(value.shape, gradient.shape, dZ.shape):
            raise GateError(
                f"{title}: backward's gradient of {name} must have the shape of {name}, {value.shape}, "
                f"got {gradient.shape}"
            )
        gradient = unbroadcast(gradient, value.shape)
    return gradient.astype(dtype, copy=False)


def setting(value: Any, what: str, must_be: Literal["finite", "positive", "not negative"] = "finite") -> float:
    """Return a gate's setting as a Python float, which widens no float32; raise GateError unless it fits."""
    try:
        number = math.nan if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    fits = {"finite": True, "positive": number > 0, "not negative": number >= 0}
    if not (math.isfinite(number) and fits[must_be]):
        also = "" if must_be == "finite" else f" and {must_be}"
        raise GateError(f"{what} must be finite{also}, got {value!r}")
    return number
