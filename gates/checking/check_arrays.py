"""Checks of arrays of every kind: narrow, strided, empty, short, broadcast, extreme."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gates.arrays import Array, describe, first
from gates.checking.blame import diagnose_shapes, prove_variants
from gates.checking.gradient import background, gradient_with_error
from gates.checking.outcome import Failure, NotApplicable, Proof, applicable, breach, need
from gates.checking.slopes import EPSILON, rounding_noise
from gates.checking.trial import GateTrial, Trial
from gates.checking.variants import accepted, with_rows
from gates.contract import run_backward, run_forward


def float32_stays(proof: Proof) -> str:
    """Run everything in float32."""
    for trial in proof.trials:
        values = [x.astype(np.float32) if x.dtype.kind == "f" else x for x in trial.inputs]
        # Rounded to float32 they may lie outside of the forward's domain.
        if not accepted(trial, [x.astype(np.float64) if x.dtype.kind == "f" else x for x in values], "rounded"):
            continue
        Z = run_forward(proof.gate, [x.copy() for x in values])
        if breach(trial, proof.rng()):
            continue
        dZ = proof.rng().standard_normal(Z.shape).astype(np.float32)
        run_backward(proof.gate, [x.copy() for x in values], dZ)
    return "in forward and backward"


def non_contiguous(proof: Proof) -> str:
    """Run on arrays with strides and in column order."""
    for trial in proof.trials:
        Z = trial.forward(trial.inputs)
        G = proof.rng().standard_normal(Z.shape)
        fits = breach(trial, proof.rng()) is None
        for how, view in (("in column order", _column_order), ("with strides", _strided)):
            got = run_forward(proof.gate, [view(x) for x in trial.inputs])
            noises = (rounding_noise(trial.function(k), trial.inputs[k], Z, proof.rng()) for k in trial.varies)
            _close_to(got, Z, noises, f"forward gives another result for inputs {how}", trial)
            if not fits:
                continue
            gradients = run_backward(proof.gate, [view(x) for x in trial.inputs], view(G))
            for k in trial.varies:
                got_k = gradients[k]
                if got_k is not None:
                    what = f"the gradient of {trial.names[k]} is another for inputs {how}"
                    _close_to(got_k, trial.gradient(k, G), _gradient_noises(trial, k, G, proof), what, trial)
    return "strides and column order make no difference"


def _column_order(x: Array) -> Array:
    return np.array(x, order="F")


def _strided(x: Array) -> Array:
    wide = np.repeat(np.repeat(x, 2, axis=-1), 2, axis=0) if x.ndim else x.copy()
    # What lies between must not be read; nan would show it.
    if x.ndim and x.dtype.kind == "f":
        wide[..., 1::2] = np.nan
        wide[1::2] = np.nan
    return wide[::2, ..., ::2] if x.ndim > 1 else wide[::4] if x.ndim else wide


def _gradient_noises(trial: Trial, k: int, G: Array, proof: Proof) -> Iterator[Array]:
    yield gradient_with_error(trial, k, G, proof.rng())[1]
    yield EPSILON * background(trial, k, G, proof.rng())


def _close_to(got: Array, expected: Array, noises: Iterator[Array], message: str, trial: Trial) -> None:
    """Raise Failure where two results differ by more than another order of addition explains.

    The noises cost many calls of the gate, and are asked for only where the results are not the same at once.
    """
    allowed = 1e-9 * np.abs(expected)
    wrong = ~(np.abs(got - expected) <= allowed) & np.isfinite(expected)
    if wrong.any():
        allowed = allowed + sum(64 * np.where(np.isfinite(noise), noise, 0.0) for noise in noises)
        wrong = ~(np.abs(got - expected) <= allowed) & np.isfinite(expected)
    if wrong.any():
        at, position = first(wrong)
        raise Failure(f"{message}: expected {expected[at]:.7g} at [{position}], got {got[at]:.7g}\nexample: {trial}")


def zero_size(proof: Proof) -> str:
    """Run without rows."""
    trials = [t for trial in need(proof.runnable) if (t := with_rows(trial, 0))]
    for trial in applicable(trials, "no example can be cut to no rows"):
        for name, gradient in zip(trial.names, trial.backward(trial.inputs, trial.forward(trial.inputs)), strict=True):
            if gradient is not None and not np.isfinite(gradient).all():
                raise Failure(f"the gradient of {name} is not finite for no rows\nexample: {trial}")
    return f"gradients fit at {describe(trials[0].names, trials[0].inputs)}"


def one_row(proof: Proof) -> str:
    """Prove the gradients at a single row."""
    trials = [t for trial in need(proof.runnable) if (t := with_rows(trial, 1))]
    applicable(trials, "no example can be cut to one row")
    return prove_variants(proof, trials[:3], "with more rows")


def broadcasting(proof: Proof) -> str:
    """Repeat one input along each axis in turn, where Z is as large as its inputs broadcast."""
    if len(proof.trials[0].inputs) == 1:
        raise NotApplicable("one input")
    trials = [short for trial in need(proof.runnable) for short in _broadcast(trial)][:6]
    for short in applicable(trials, "no more of the inputs can be broadcast"):
        if problem := breach(short, proof.rng()):
            raise Failure(f"{problem}\nexample: {short}", diagnose_shapes(short, proof))
    return prove_variants(proof, trials, "without broadcasting")


def _broadcast(trial: Trial) -> Iterator[Trial]:
    """Give the trial with one place of an axis of an input in the place of all, where the forward repeats it."""
    shapes = [x.shape for x in trial.inputs]
    Z = trial.forward(trial.inputs)
    try:
        if np.broadcast_shapes(*shapes) != Z.shape:
            return
    except ValueError:
        return
    for k in trial.varies:
        if not trial.inputs[k].size or not _goes_by_element(trial, k, Z):
            continue
        for axis, n in enumerate(shapes[k]):
            if n < 2:
                continue
            inputs = list(trial.inputs)
            inputs[k] = np.take(inputs[k], [0], axis=axis)
            short = accepted(trial, inputs, f"{trial.names[k]} broadcast")
            if short is not None and short.forward(inputs).shape == Z.shape:
                inputs[k] = np.repeat(inputs[k], n, axis=axis)
                # What is repeated by hand gives the same.
                if np.allclose(short.forward(short.inputs), trial.forward(inputs), rtol=1e-9, atol=0, equal_nan=True):
                    yield short


def _goes_by_element(trial: Trial, k: int, Z: Array) -> bool:
    """Whether one element of an input reaches no more of Z than its share, as no element of a product of matrices."""
    moved = np.array(trial.inputs[k])
    moved.flat[0] += 0.1 * max(abs(float(moved.flat[0])), 1.0)
    reached = ~np.isclose(trial.function(k)(moved), Z, rtol=1e-12, atol=0, equal_nan=True)
    return int(reached.sum()) <= Z.size // moved.size


def extreme_inputs(proof: Proof) -> str:
    """Compare each precision with the next wider one, at numbers whose exponential overflows in the narrow one only."""
    compared = 0
    for trial in need(proof.runnable)[:3]:
        rng = proof.rng()
        for narrow, wide, size in ((np.float32, np.float64, 100.0), (np.float64, np.longdouble, 1000.0)):
            if np.finfo(wide).max <= np.finfo(narrow).max:
                continue
            for signs in ([-1.0, 1.0], [1.0], [-1.0]):
                inputs = [
                    np.where(rng.random(x.shape) < 0.7, size * rng.choice(signs, x.shape), x)
                    if k in trial.varies
                    else x
                    for k, x in enumerate(trial.inputs)
                ]
                # Rounded to the narrow precision for both: the same function at the same place.
                inputs = [x.astype(narrow).astype(np.float64) if x.dtype.kind == "f" else x for x in inputs]
                compared += _overflows(trial, inputs, narrow, wide, rng)
    if not compared:
        raise NotApplicable("the forward has no finite value at +-100 and +-1000")
    return "finite at +-100 in float32 and +-1000 in float64 wherever the true value is"


def _overflows(trial: GateTrial, inputs: Sequence[Array], narrow: Any, wide: Any, rng: np.random.Generator) -> int:
    """Raise Failure where the wider precision has a finite value and the narrower has none; return how many it saw."""
    G = rng.standard_normal(trial.forward(trial.inputs).shape).astype(narrow)
    results = []
    for dtype in (narrow, wide):
        values = [x.astype(dtype) if x.dtype.kind == "f" else x for x in inputs]
        try:
            Z = np.asarray(trial.gate.forward(*(x.copy() for x in values)))
            gradients = trial.gate.backward(*(x.copy() for x in values), G.astype(dtype))
        except Exception:  # noqa: BLE001 - a gate need not take such values, nor long doubles
            return 0
        if Z.dtype != dtype:
            return 0
        results.append((Z, gradients if isinstance(gradients, tuple | list) else (gradients,)))
    (Z, gradients), (true_Z, true_gradients) = results
    # Beside the largest number any way there may overflow.
    limit = 1e-8 * float(np.finfo(narrow).max)
    lost = ~np.isfinite(Z) & (np.abs(true_Z) < limit)
    bits = f"float{np.finfo(narrow).bits}"
    if lost.any():
        at, position = first(lost)
        raise Failure(
            f"forward gives {Z[at]} at Z[{position}] in {bits}, and the true value is {float(true_Z[at]):.4g}: "
            f"something overflows on the way\nexample: {_shown(trial, inputs)}"
        )
    if not np.isfinite(Z).all():
        return 0
    for k in trial.varies:
        if gradients[k] is None or true_gradients[k] is None:
            continue
        g, true = np.asarray(gradients[k]), np.asarray(true_gradients[k])
        lost = ~np.isfinite(g) & (np.abs(true) < limit)
        if lost.any():
            at, position = first(lost)
            raise Failure(
                f"the gradient of {trial.names[k]} is {g[at]} at [{position}] in {bits}, and the true one is "
                f"{float(true[at]):.4g}: something overflows on the way\nexample: {_shown(trial, inputs)}"
            )
    return 1


def _shown(trial: Trial, inputs: Sequence[Array]) -> str:
    largest = max(float(np.abs(x).max(initial=0.0)) for x in inputs)
    return f"{describe(trial.names, inputs)} with values of +-{largest:.4g}"
