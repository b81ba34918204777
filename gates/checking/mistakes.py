"""The mistakes that are known, one function each: it returns its diagnosis if it explains the wrong gradient."""

from __future__ import annotations

import itertools

import numpy as np

from gates.arrays import Array
from gates.checking.evidence import Diagnosis, Evidence, close, number
from gates.checking.sums import one_use_each


def no_gradient(e: Evidence) -> Diagnosis | None:
    """Recognise zeros, or None, where there is a slope."""
    if e.returned.any() or e.jacobians[e.k].constant.any() or not e.true.any():
        return None
    slope = float(np.abs(e.true).max())
    return Diagnosis(
        "no gradient",
        f"the gradient of {e.name} is zero or None, and slopes are measured; if it is a constant by design, name it in "
        f'the class, constants = ("{e.name}",)',
        f"; here up to {slope:.4g}",
    )


def upstream(e: Evidence) -> Diagnosis | None:
    """Recognise a gradient that does not go with dZ as the chain rule wants."""
    G, H = (e.rng.standard_normal(e.Z.shape) for _ in range(2))
    g, h, twice = (e.trial.gradient(e.k, up) for up in (G, H, 2 * G))
    t = e.true
    if not (np.isfinite(g).all() and np.isfinite(h).all()):
        return None
    if g.any() and close(g, h):
        ones = t.sum(axis=0).reshape(e.x.shape)
        right = "; for dZ = 1 everywhere it would be right" if close(g, ones) else ""
        return Diagnosis(
            "upstream ignored", f"the gradient of {e.name} is the same whatever dZ is{right}; multiply by dZ"
        )
    squared = ((G * G).reshape(1, -1) @ t).reshape(e.x.shape)
    if g.any() and (close(g, squared) or close(twice, 4 * g)):
        return Diagnosis(
            "upstream twice", f"twice the dZ gives four times the gradient of {e.name}: dZ is multiplied in twice"
        )
    summed = (G.sum() * t.sum(axis=0)).reshape(e.x.shape)
    if e.Z.size > 1 and close(g, summed):
        return Diagnosis(
            "upstream summed",
            f"the gradient of {e.name} depends on the sum of dZ only: dZ is added up before it is used",
        )
    return None


def wrong_order(e: Evidence) -> Diagnosis | None:
    """Recognise gradients that are returned in another order."""
    places = list(e.jacobians)
    for order in itertools.permutations(places):
        moved = dict(zip(places, order, strict=True))
        if moved[e.k] != e.k and all(close(e.jacobians[i].returned, e.jacobians[j].measured) for i, j in moved.items()):
            names = e.trial.names
            return Diagnosis(
                "wrong order",
                f"the gradients come in the order {', '.join(f'd{names[moved[k]]}' for k in places)}, and must come in "
                f"the order of the inputs, {', '.join(f'd{names[k]}' for k in places)}",
            )
    return None


def sign_flipped(e: Evidence) -> Diagnosis | None:
    """Recognise minus the right gradient."""
    if close(-e.returned, e.true) and e.true.any():
        return Diagnosis("sign flipped", f"the gradient of {e.name} is -1 times the right one")
    return None


def constant_factor(e: Evidence) -> Diagnosis | None:
    """Recognise the right gradient times a number."""
    norm = float(np.sum(e.true * e.true))
    factor = float(np.sum(e.true * e.returned)) / norm if norm else 0.0
    if factor == 0.0 or min(abs(factor - 1), abs(factor + 1)) < 1e-9 or not close(e.returned / factor, e.true):
        return None
    text = f"the gradient of {e.name} is {number(factor)} times the right one"
    return Diagnosis("constant factor", text + _factor_means(e, factor))


def _factor_means(e: Evidence, factor: float) -> str:
    """Name where a factor may come from: how many elements go into one of Z, or how many of Z one goes into."""
    size = abs(factor)
    uses = (e.true != 0).sum(axis=0), (e.true != 0).sum(axis=1)
    counts = {int(n) for use in uses for n in use[use > 0] if (use[use > 0] == n).all()}
    for n in sorted(counts - {0, 1}):
        if abs(size - n) < 1e-5 * n:
            return f", and {n} elements are taken together: summed where the forward averages"
        if abs(size * n - 1) < 1e-5:
            return f", and {n} elements are taken together: averaged where they must be summed"
    if e.Z.size < e.x.size and any(abs(size - n) < 1e-5 * n or abs(size * n - 1) < 1e-5 for n in e.x.shape if n > 2):
        # A loss may be a mean over rows only; or it is chance.
        return f", and an axis of {e.name} is as long: perhaps a sum in the place of a mean, or the other way round"
    if abs(size - 0.5) < 1e-5:
        return ": a 2 is missing, as from a square (X^2 -> 2 X) or from 2 X inside"
    if abs(size - 2) < 1e-5:
        return ": a 2 too many, or a 1/2 of the forward is left out"
    return ": a constant of the forward is left out of the derivative, or counted twice"


def transposed(e: Evidence) -> Diagnosis | None:
    """Recognise two axes that are exchanged: in the gradient, in dZ, or in a factor of a product."""
    T, B = e.tensor(e.true), e.tensor(e.returned)
    z = e.Z.ndim
    for a, b in itertools.combinations(range(T.ndim), 2):
        if T.shape[a] != T.shape[b] or T.shape[a] == 1:
            continue
        swapped = np.swapaxes(T, a, b)
        # Where elements are only moved about, this is no factor but the way back: see wrong_places.
        moves = a < z <= b and one_use_each(e.true)
        if moves or not close(B, swapped) or close(T, swapped):
            continue
        if a >= z:
            text = (
                f"the gradient of {e.name} is right but for a transposition (axes {a - z} and {b - z}): .T is missing"
            )
        elif b < z:
            text = f"the gradient of {e.name} is what a transposed dZ would give (axes {a} and {b})"
        else:
            text = f"the gradient of {e.name} would be right with a factor transposed: a .T is missing or one too many"
        return Diagnosis("transposed", text)
    return None


def diagonal_only(e: Evidence) -> Diagnosis | None:
    """Recognise a Jacobian of which only the diagonal is used."""
    T = e.true
    if e.Z.shape != e.x.shape or T.shape[0] < 2:
        return None
    diagonal = np.diag(np.diag(T))
    if close(e.returned, diagonal) and not close(diagonal, T):
        largest = float(np.abs(T - diagonal).max())
        return Diagnosis(
            "diagonal only",
            f"dZ[i]/d{e.name}[i] is right, and dZ[i]/d{e.name}[j] is left out: elements share a sum, so each depends "
            "on the others",
            f", here by up to {largest:.4g}",
        )
    return None


def additive_term(e: Evidence) -> Diagnosis | None:
    """Recognise the right gradient plus a multiple of 1, X, Z or dZ."""
    constant = e.jacobians[e.k].constant.reshape(e.x.shape)
    lead = f"the gradient of {e.name} is right but for an added"
    if constant.any() and close(e.returned, e.true):
        shown = _multiple(constant, {"": np.ones(e.x.shape), f" {e.name}": e.x, " Z": e.Z})
        numbers = "" if shown else f", up to {np.abs(constant).max():.4g}"
        shown = f": {shown}" if shown else ""
        return Diagnosis("additive term", f"{lead} term that does not go with dZ{shown}", numbers)
    D = e.returned - e.true
    support = (e.true != 0).astype(float)
    x = np.broadcast_to(e.x.ravel(), D.shape)
    forms = {" dZ": support, f" {e.name} dZ": support * x, " dZ at every element": np.ones(D.shape)}
    if e.x.shape == e.Z.shape:
        forms[" dZ"] = np.eye(*D.shape)
        forms[f" {e.name} dZ"] = np.eye(*D.shape) * x
        forms[" Z dZ"] = np.eye(*D.shape) * e.Z.ravel()
    shown = _multiple(D, forms)
    return Diagnosis("additive term", f"{lead} {shown}") if shown else None


def _multiple(term: Array, forms: dict[str, Array]) -> str | None:
    """Write `term` as a number times one of the forms."""
    for what, form in forms.items():
        if form.shape != term.shape or not form.any():
            continue
        scale = float(np.sum(term * form) / np.sum(form * form))
        if scale and np.allclose(term, scale * form, rtol=1e-4, atol=1e-4 * abs(scale) * np.abs(form).max()):
            return f"{scale:.4g}{what}"
    return None


def wrong_places(e: Evidence) -> Diagnosis | None:
    """Recognise the right numbers at the wrong elements."""
    T, B = e.tensor(e.true), e.tensor(e.returned)
    z = e.Z.ndim
    for axis in range(z, T.ndim):
        if T.shape[axis] > 1 and close(B, np.flip(T, axis)):
            return Diagnosis("wrong places", f"the gradient of {e.name} is right but reversed along axis {axis - z}")
        for shift in range(1, T.shape[axis]):
            if close(B, np.roll(T, shift, axis)):
                return Diagnosis(
                    "wrong places", f"the gradient of {e.name} is right but shifted by {shift} along axis {axis - z}"
                )
    if one_use_each(e.true) and close(e.returned, e.true.T):
        return Diagnosis(
            "wrong places",
            f"the elements of {e.name} are moved on once more, and must be moved back: the inverse order",
        )
    G = e.rng.standard_normal(e.Z.shape)
    right, got = (G.reshape(1, -1) @ e.true).ravel(), e.trial.gradient(e.k, G).ravel()
    if len(set(np.round(right, 9))) > 2 and close(np.sort(got), np.sort(right)):
        return Diagnosis("wrong places", f"the gradient of {e.name} has the right numbers at the wrong elements")
    return None
