"""Prove a gate: compare its backward with the slopes that are measured on its forward."""

from __future__ import annotations

from typing import Any

import numpy as np

from gates.contract import (
    Array,
    Gate,
    GateError,
    as_array,
    check_count,
    float_dtype,
    input_names,
    run_backward,
    run_forward,
)

# The step that balances truncation (h^2) against cancellation (eps / h) in a central difference.
STEP = float(np.cbrt(np.finfo(np.float64).eps))


def check_gate(gate: Gate, *inputs: Any, rtol: float = 1e-5, atol: float = 1e-7, random_state: int = 0) -> None:
    """Check ``backward`` against central differences ``dL/dx = (L(x + h) - L(x - h)) / 2h``, ``L = sum(G Z)``.

    G is a random upstream gradient, so that a gate that ignores it, or is right only for ones, is found out. The
    inputs are copied to float64; those whose gradient is None (labels, rows) are held fixed.

    Parameters
    ----------
    gate : Gate
        The gate to prove.
    *inputs : array-like
        Its inputs, in shapes that fit, broadcast ones included; away from kinks such as ReLU's at 0.
    rtol, atol : float, default=1e-5, 1e-7
        How far a gradient may be off, relative to the slope and to the largest slope of that input.
    random_state : int, default=0
        Seed of the upstream gradient.

    Raises
    ------
    GateError
        If a gradient is wrong: names the gate, the input, the element that is furthest off, expected and got. Also if
        the gate breaks its contract otherwise, or gives no gradient at all.
    TypeError
        If `gate` is not a Gate.

    Examples
    --------
    >>> from gates import Tanh, check_gate
    >>> check_gate(Tanh(), [[0.5, -1.0], [2.0, 0.0]])
    """
    if not isinstance(gate, Gate):
        raise TypeError(
            f"check_gate proves a Gate, got {gate!r}" + ("; write MyGate()" if isinstance(gate, type) else "")
        )
    check_count(gate, len(inputs))
    values = [as_array(value) for value in inputs]
    names = input_names(gate, len(values))
    Z = run_forward(gate, values)
    # Whole numbers that the gate differentiates are values like any others; labels and rows have no gradient.
    gradients = run_backward(gate, values, np.ones(Z.shape, float_dtype([Z]) or float))
    values = [_own(v, np.dtype(v.dtype if g is None else float)) for v, g in zip(values, gradients, strict=True)]
    if all(gradient is None for gradient in gradients):
        raise GateError(f"{type(gate).__name__}: backward returned None for every input, so there is nothing to check")
    G = np.random.default_rng(random_state).standard_normal(Z.shape)
    gradients = run_backward(gate, values, G)
    for i, (name, gradient) in enumerate(zip(names, gradients, strict=True)):
        if gradient is None:
            continue
        slopes = _slopes(gate, values, i, G)
        error = np.abs(gradient - slopes)
        allowed = rtol * np.abs(slopes) + atol * max(1.0, np.abs(slopes).max(initial=0))
        # Written so that a nan is wrong too.
        wrong = ~(error <= allowed)
        if wrong.any():
            at = np.unravel_index(np.argmax(np.where(wrong, np.nan_to_num(error, nan=np.inf), -1)), error.shape)
            element = f"[{', '.join(str(int(k)) for k in at)}]" if at else ""
            raise GateError(
                f"{type(gate).__name__}: backward's gradient of input {name} ({i + 1} of {len(values)}) is wrong in "
                f"{wrong.sum()} of {wrong.size} elements, most at {name}{element}: "
                f"expected {slopes[at]:.7g} (central difference), got {gradient[at]:.7g}"
            )


def _own(value: Array, dtype: np.dtype[Any]) -> Array:
    """Return a copy that nobody can write into: a gate that tries is told so."""
    copy = value.astype(np.float64 if dtype.kind == "f" else dtype)
    copy.flags.writeable = False
    return copy


def _slopes(gate: Gate, values: list[Array], i: int, G: Array) -> Array:
    """Measure dL/dx for every element x of input i."""
    x = values[i]
    slopes = np.empty_like(x)
    for at in np.ndindex(x.shape):
        above, below = x.copy(), x.copy()
        step = STEP * max(1.0, abs(float(x[at])))
        above[at] += step
        below[at] -= step
        # The steps that were really taken, after rounding. Z is differenced before it is summed: less cancels.
        distance = above[at] - below[at]
        above.flags.writeable = below.flags.writeable = False
        difference = run_forward(gate, [*values[:i], above, *values[i + 1 :]]) - run_forward(
            gate, [*values[:i], below, *values[i + 1 :]]
        )
        slopes[at] = np.sum(G * (difference / distance))
    return slopes
