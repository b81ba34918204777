"""Prove a gate: compare its backward with the slopes that are measured on its forward."""

from __future__ import annotations

from typing import Any

import numpy as np

from gates.arrays import Array, as_array, first, float_dtype
from gates.contract import Gate, GateError, check_count, input_names, run_backward, run_forward

# The step that balances truncation (h^2) against cancellation (eps / h) in a central difference.
EPSILON = float(np.finfo(np.float64).eps)
STEP = EPSILON ** (1 / 3)


def check_gate(gate: Gate, *inputs: Any, rtol: float = 1e-5, atol: float = 1e-7, random_state: int = 0) -> None:
    """Check ``backward`` against central differences ``dL/dx = (L(x + h) - L(x - h)) / 2h``, ``L = sum(G Z)``.

    G is a random upstream gradient, so that a gate that ignores it, or is right only for ones, is found out. The
    inputs are copied to float64. Labels and rows (integers without a gradient) and the gate's `constants` are held
    fixed.

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
    values = [_own(as_array(value, "an input", GateError)) for value in inputs]
    names = input_names(gate, len(values))
    Z = run_forward(gate, values)
    # Whole numbers that the gate differentiates are values like any others; labels and rows have no gradient.
    gradients = run_backward(gate, values, _own(np.ones(Z.shape, float_dtype([Z]) or float)))
    fixed = [gradient is None and value.dtype.kind != "f" for value, gradient in zip(values, gradients, strict=True)]
    values = [value if fix else _own(value, np.float64) for value, fix in zip(values, fixed, strict=True)]
    if not np.isfinite(Z).all():
        raise GateError(f"{type(gate).__name__}: forward is not finite here; check it at inputs where it is defined")
    G = _own(np.random.default_rng(random_state).standard_normal(Z.shape))
    gradients = run_backward(gate, values, G)
    held = [name in gate.constants or value.dtype.kind != "f" for name, value in zip(names, values, strict=True)]
    if all(held):
        raise GateError(f"{type(gate).__name__}: none of its inputs has a gradient, so there is nothing to check")
    for i, (name, given) in enumerate(zip(names, gradients, strict=True)):
        if given is None and held[i]:
            continue
        # None says that the slope is zero.
        gradient = np.zeros_like(values[i]) if given is None else given
        slopes, rounding = _slopes(gate, values, i, G, shortest=1.0)
        wrong = _differs(gradient, slopes, rounding, rtol, atol)
        if wrong.any():
            # A step that suits numbers around 1 is too long beside a pole at 0: what a step relative to x finds right
            # is right. That one gets no allowance for rounding: where it is too short to measure, it acquits nobody.
            slopes, _ = _slopes(gate, values, i, G, shortest=0.0)
            wrong &= _differs(gradient, slopes, 0.0, rtol, atol)
        if wrong.any():
            error = np.where(wrong, np.nan_to_num(np.abs(gradient - slopes), nan=np.inf), -1)
            at, position = first(error == error.max())
            element = f"[{position}]" if at else ""
            got = "None" if given is None else f"{gradient[at]:.7g}"
            raise GateError(
                f"{type(gate).__name__}: backward's gradient of input {name} ({i + 1} of {len(values)}) is wrong in "
                f"{wrong.sum()} of {wrong.size} elements, most at {name}{element}: "
                f"expected {slopes[at]:.7g} (central difference), got {got}"
            )
    # The last forward ran at a shifted input: a gate that keeps values from it answers differently now.
    again = run_backward(gate, values, G)
    for name, one, other in zip(names, gradients, again, strict=True):
        if one is not None and other is not None and not np.array_equal(one, other, equal_nan=True):
            raise GateError(
                f"{type(gate).__name__}: backward's gradient of input {name} changed after forward had run at other "
                "inputs; keep nothing on self: backward gets the inputs again"
            )


def _own(value: Any, dtype: Any = None) -> Array:
    """Return a copy that nobody can write into: a gate that tries is told so."""
    copy = np.array(value, dtype=dtype)
    copy.flags.writeable = False
    return copy


def _differs(gradient: Array, slopes: Array, rounding: Any, rtol: float, atol: float) -> Array:
    largest = np.abs(slopes).max(initial=0, where=np.isfinite(slopes))
    # Written so that nan differs from everything.
    return ~(np.abs(gradient - slopes) <= rtol * np.abs(slopes) + atol * largest + rounding)


def _slopes(gate: Gate, values: list[Array], i: int, G: Array, shortest: float) -> tuple[Array, Array]:
    """Measure dL/dx for every element x of input i, with steps of ``STEP max(shortest, |x|)``.

    The second array is what the rounding of Z may have added to each slope.
    """
    x = values[i]
    slopes, rounding = np.empty_like(x), np.empty_like(x)
    # Beside a pole or an edge of its domain a right gate overflows; the slope there is nan, and measured anew.
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        for at in np.ndindex(x.shape):
            step = STEP * (max(shortest, abs(float(x[at]))) or 1.0)
            above, below = x.copy(), x.copy()
            above[at] += step
            below[at] -= step
            # The step that was really taken, after rounding.
            distance = above[at] - below[at]
            Z_above, Z_below = (run_forward(gate, [*values[:i], _own(y), *values[i + 1 :]]) for y in (above, below))
            # Differenced before it is summed: less cancels.
            slopes[at] = np.sum(G * ((Z_above - Z_below) / distance))
            rounding[at] = 4 * EPSILON / distance * np.sum(np.abs(G) * (np.abs(Z_above) + np.abs(Z_below)))
    return slopes, rounding
