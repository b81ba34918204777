"""Mistakes of the chain rule: a factor left out, or a derivative taken in another place."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from gates.arrays import Array
from gates.checking.evidence import Diagnosis, Evidence, close, number
from gates.checking.sums import one_use_each

# Derivatives of what stands inside or outside of a function, up to a constant factor.
INNER: dict[str, Callable[[Array], Array]] = {
    "{}": lambda x: x,
    "{}^2": lambda x: x * x,
    "{}^3": lambda x: x**3,
    "1 / {}": lambda x: 1 / x,
    "1 / {}^2": lambda x: 1 / x**2,
    "1 / sqrt({})": lambda x: 1 / np.sqrt(x),
    "exp({})": np.exp,
    "exp(-{})": lambda x: np.exp(-x),
    "cos({})": np.cos,
    "sin({})": np.sin,
    "1 - tanh({})^2": lambda x: 1 - np.tanh(x) ** 2,
    "sigmoid({}) (1 - sigmoid({}))": lambda x: 1 / (2 + np.exp(x) + np.exp(-x)),
    "sigmoid({})": lambda x: 1 / (1 + np.exp(-x)),
    "1 / (1 + {}^2)": lambda x: 1 / (1 + x * x),
    "{} / sqrt(1 + {}^2)": lambda x: x / np.sqrt(1 + x * x),
}
OUTER: dict[str, Callable[[Array], Array]] = {
    "1 - Z^2": lambda z: 1 - z * z,
    "Z (1 - Z)": lambda z: z * (1 - z),
    "Z": lambda z: z,
    "1 / Z": lambda z: 1 / z,
    "Z^2": lambda z: z * z,
    "1 - exp(-Z)": lambda z: 1 - np.exp(-z),
    "exp(-Z)": lambda z: np.exp(-z),
    "cos(arcsin(Z))": lambda z: np.sqrt(1 - z * z),
    "1 - Z": lambda z: 1 - z,
    "1 + Z": lambda z: 1 + z,
}


def chain_rule(e: Evidence) -> Diagnosis | None:
    """Recognise a factor of the chain rule that is left out, or there too often, as a function of an input or of Z."""
    T, B = e.true, e.returned
    support = (T != 0) & (B != 0)
    passed = _column(e.Z > 0)
    if not one_use_each(T) and close(B * passed, T):
        text = f"the gradient of {e.name} lacks the factor (Z > 0): it is not stopped where the forward is cut off"
        return Diagnosis("chain rule stops early", text)
    if not support.any() or (T[B == 0] != 0).any():
        return None
    factors = list(_factors(e, support))
    for form, factor in factors:
        if scale := _scale(B * factor, T):
            found, shown = "chain rule stops early", _times(scale, form)
            return Diagnosis(found, f"the gradient of {e.name} lacks the factor {shown} of the chain rule")
    for form, factor in factors:
        if scale := _scale(T * factor, B):
            return Diagnosis(
                "factor too many", f"the gradient of {e.name} has the factor {_times(scale, form)} too many"
            )
    return _square_outside(e) or _row_factors(e)


def _factors(e: Evidence, support: Array) -> Iterator[tuple[str, Array]]:
    """Give every known form, with its values at the entries of the Jacobian: of X, of Z, of the other inputs."""
    shape = e.true.shape
    places = [(e.name, np.broadcast_to(e.x.ravel(), shape), INNER), ("Z", np.broadcast_to(_column(e.Z), shape), OUTER)]
    for name, y in zip(e.trial.names, e.trial.inputs, strict=True):
        # Another input that goes with the elements of Z one by one.
        if (
            name != e.name
            and y.ndim <= e.Z.ndim
            and all(n in (1, m) for n, m in zip(y.shape[::-1], e.Z.shape[::-1], strict=False))
        ):
            places.append((name, np.broadcast_to(_column(np.broadcast_to(y, e.Z.shape)), shape), INNER))
    for name, at, forms in places:
        for form, phi in forms.items():
            with np.errstate(all="ignore"):
                factor = phi(at)
            # A constant is no function of anything.
            if np.isfinite(factor[support]).all() and np.ptp(factor[support]) > 0:
                yield form.replace("{}", name), np.where(support, factor, 0.0)


def _column(values: Array) -> Array:
    return values.reshape(-1, 1)


def _scale(a: Array, b: Array) -> float:
    """Return the c with ``c a = b``, 0 if there is none."""
    norm = float(np.sum(a * a))
    scale = float(np.sum(a * b)) / norm if norm else 0.0
    return scale if scale and close(scale * a, b) else 0.0


def _times(scale: float, form: str) -> str:
    return form if abs(scale - 1) < 1e-5 else f"-{form}" if abs(scale + 1) < 1e-5 else f"{number(scale)} {form}"


def _square_outside(e: Evidence) -> Diagnosis | None:
    """Recognise that the derivative of an outer square is left out: 2 sqrt(Z), of either sign."""
    if (e.Z < 0).any():
        return None
    root = np.sqrt(e.Z).reshape(-1, 1) * np.sign(e.true * e.returned)
    if close(2 * e.returned * root, e.true):
        text = "lacks the factor 2 sqrt(Z) of the chain rule, of either sign: the derivative of an outer square"
        return Diagnosis("chain rule stops early", f"the gradient of {e.name} {text}")
    return None


def _row_factors(e: Evidence) -> Diagnosis | None:
    """Recognise that every element of Z has a factor of its own too few: an outer derivative of unknown form."""
    T, B = e.true, e.returned
    # With one entry a row there always is such a factor, and it shows nothing.
    if T.shape[0] < 2 or ((T != 0).sum(axis=1) < 2).any():
        return None
    factors = (T * B).sum(axis=1) / np.maximum((B * B).sum(axis=1), np.finfo(float).tiny)
    if not close(B * factors[:, None], T):
        return None
    low, high = factors.min(), factors.max()
    return Diagnosis(
        "chain rule stops early",
        f"the gradient of {e.name} lacks a factor for every element of Z, the derivative of an outer function",
        f", here from {low:.4g} to {high:.4g}",
    )


def at_output(e: Evidence) -> Diagnosis | None:
    """Recognise f'(Z) in the place of f'(X), and a formula in Z that was given X."""
    T, Z = e.true, e.Z
    if Z.shape != e.x.shape or len(e.trial.varies) > 1:
        return None
    G = e.rng.standard_normal(Z.shape)
    name = e.name
    try:
        elsewhere = e.trial.gradient(e.k, G, Z)
    except Exception:  # noqa: BLE001 - backward cannot be taken there, so this explains nothing
        elsewhere = np.full(Z.shape, np.nan)
    if close(elsewhere, (G.reshape(1, -1) @ T).reshape(Z.shape)):
        return Diagnosis(
            "derivative at the input",
            f"the formula is one in the output, and gets {name}: with Z = forward({name}) in its place it is right",
        )
    elementwise = not (T - np.diag(np.diag(T))).any()
    wrong = np.asarray(e.jacobians[e.k].wrong.any(axis=0))
    all_wrong = bool(wrong[T.any(axis=0)].all())
    if elementwise and all_wrong and close(e.trial.gradient(e.k, G), G * _slopes_at(e, Z)):
        return Diagnosis(
            "derivative at the output", f"the derivative is taken at Z = forward({name}), and must be at {name}"
        )
    return None


def _slopes_at(e: Evidence, x: Array) -> Array:
    """Measure the slopes of an elementwise function at another place."""
    function, steps = e.trial.function(e.k), 1e-5 * np.maximum(np.abs(x), 1.0)
    return (function(x + steps) - function(x - steps)) / (2 * steps)
