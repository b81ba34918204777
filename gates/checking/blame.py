"""Prove the gradients of all inputs at all examples; blame what is wrong, with its place and its diagnosis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gates.arrays import Array, describe
from gates.checking.diagnosis import diagnose, diagnose_shape
from gates.checking.evidence import Diagnosis, Evidence
from gates.checking.gradient import FEW, Comparison, compare, find_element
from gates.checking.jacobian import Jacobian, describe_wrong, input_title, jacobian
from gates.checking.outcome import Failure, NotApplicable, Proof, Unmeasured, counted
from gates.checking.report import NOTHING_FITS
from gates.checking.slopes import EPSILON
from gates.checking.trial import GateTrial, Trial
from gates.checking.variants import beside, elsewhere, is_square, smaller_part, square_variants


def prove_gradients(trials: Sequence[Trial], rng: np.random.Generator) -> str:
    """Compare the gradients of all inputs with measured slopes; raise Failure with a diagnosis for what is wrong."""
    wrong: list[tuple[Trial, int, Comparison]] = []
    difference, directions, complex_steps, kinks, unmeasured, seen, left_out = 0.0, 0, 0, 0, 0, 0, 0
    for trial in trials:
        for k in trial.varies:
            if not trial.inputs[k].size:
                continue
            found = compare(trial, k, rng)
            left_out += found.left_out
            directions, complex_steps = directions + found.directions, complex_steps + found.complex_steps
            difference = max(difference, found.difference)
            unmeasured, seen = unmeasured + found.unmeasured, seen + found.outputs
            near = beside(trial, rng) if found.kinks.any() and not found.outside else None
            if near:
                # Between the one-sided slopes everything is right at a kink, and where three values tie, the one in the
                # middle has no single slope either; beside a kink there is one slope again.
                kinks += int(found.kinks.sum())
                found = compare(near, k, rng)
            if not found.right:
                wrong.append((near or trial, k, found))
    if wrong and (failure := _blame(wrong, rng)):
        raise failure
    if unmeasured == seen > 0:
        raise Unmeasured(
            "the slopes could not be measured: the forward is too rough here, its values are too large beside its "
            "slopes, or it is not the same twice; give inputs around which it is smooth"
        )
    text = f"agrees with measured slopes to {max(difference, EPSILON):.1g} along {counted(directions, 'direction')}"
    if complex_steps:
        text += f", {complex_steps} by complex steps" if complex_steps < directions else ", by complex steps"
    if kinks:
        text += f"; {counted(kinks, 'kink')}, and between the one-sided slopes there"
    if unmeasured:
        text += f"; {unmeasured} of {counted(seen, 'element')} of Z could not be measured"
    if left_out:
        text += f"; {counted(left_out, 'element')} with an infinite slope left out"
    return text


def prove_variants(proof: Proof, variants: Sequence[Trial], otherwise: str) -> str:
    """Prove the gradients at variants of the examples, where these are right themselves: one mistake is told once."""
    try:
        return prove_gradients(variants, proof.rng())
    except Unmeasured as reason:
        raise NotApplicable(str(reason)) from None
    except Failure:
        try:
            prove_gradients(proof.runnable, proof.rng())
        except Failure:
            raise NotApplicable(f"the gradient is wrong {otherwise}, too") from None
        raise


def _blame(wrong: list[tuple[Trial, int, Comparison]], rng: np.random.Generator) -> Failure | None:
    """Say where the gradients are wrong, and diagnose them; None where no element confirms what a direction says."""
    messages: list[str] = []
    diagnoses: list[Diagnosis | None] = []
    confirmed: list[Trial] = []
    told: set[int] = set()
    for trial, k, found in wrong:
        if k in told:
            continue
        lines, explained, shown = _place(trial, k, found, rng)
        if lines:
            told.add(k)
            confirmed.append(shown)
            messages += lines
            diagnoses += explained
    return Failure("\n".join(messages), [square_only(confirmed, rng), *diagnoses]) if messages else None


def _place(
    trial: Trial, k: int, found: Comparison, rng: np.random.Generator
) -> tuple[list[str], Sequence[Diagnosis], Trial]:
    """Find the elements of one gradient that are wrong; return what to say, the diagnoses, and where it shows."""
    at_kink = [f"backward's gradient of {input_title(trial.names[k])}: {text}" for text in found.outside[:1]]
    if not found.failed:
        return [*at_kink, f"example: {trial}"], [], trial
    name, small = trial.names[k], trial
    lines = []
    if trial.inputs[k].size > FEW:
        at = find_element(trial, k, found.failed[0], rng)
        where = f" at {name}[{', '.join(map(str, at))}]" if at else ""
        lines = [f"backward's gradient of {input_title(name)} is wrong{where}", f"example: {trial}"]
        part = smaller_part(trial, k, at, rng) if at else None
        if part is None:
            return [*lines, "for a diagnosis, prove it at fewer elements"], [], trial
        small = part
    jacobians = {i: jacobian(small, i, rng) for i in small.varies if small.inputs[i].size <= FEW}
    described = describe_wrong(small, k, jacobians[k], rng)
    if described is None:
        return [*at_kink, f"example: {trial}"] if at_kink else [], [], small
    lines += [described, f"example: {small}"] if small is trial else [f"in a part of it, {small}: {described}"]
    explained = _explain(small, k, jacobians, rng)
    return [*lines, *([] if explained else [NOTHING_FITS])], explained, small


def _explain(trial: Trial, k: int, jacobians: dict[int, Jacobian], rng: np.random.Generator) -> list[Diagnosis]:
    """Return the mistakes that explain a gradient, here and elsewhere."""
    here, other = Evidence(trial, k, jacobians, rng), elsewhere(trial, rng)
    if other is None:
        return diagnose(here)
    try:
        there = Evidence(other, k, {i: jacobian(other, i, rng) for i in jacobians}, rng)
        return diagnose(here, there)
    except Exception:  # noqa: BLE001 - a backward that does not run there says nothing
        return diagnose(here)


def square_only(failing: Sequence[Trial], rng: np.random.Generator) -> Diagnosis | None:
    """Say that only square inputs are right, if all that can be made of an example that is wrong are.

    The example must be wrong elsewhere as well, as the square ones are right there.
    """
    if any(is_square(bad) for bad in failing):
        return None
    for bad in failing:
        squares = square_variants(bad, rng)
        others = [other for _ in range(2) if (other := elsewhere(bad, rng))]
        if squares and all(_right(square, rng) for square in squares) and not any(_right(o, rng) for o in others):
            good = squares[0]
            return Diagnosis(
                "non-square shapes",
                f"right for {describe(good.names, good.inputs)}, wrong for {describe(bad.names, bad.inputs)}: an axis "
                "is taken for another, or a .T is missing, and square inputs hide it; if only square ones are meant, "
                "have forward refuse others",
            )
    return None


def _right(trial: Trial, rng: np.random.Generator) -> bool:
    try:
        return all(compare(trial, k, rng).right for k in trial.varies)
    except Exception:  # noqa: BLE001 - a backward that raises there is not right there
        return False


def diagnose_shapes(trial: GateTrial, proof: Proof) -> Iterator[Diagnosis | None]:
    """Explain the first gradient whose shape does not fit."""
    rng = proof.rng()
    Z = trial.forward(trial.inputs)
    dZ = rng.standard_normal(Z.shape)
    try:
        raw = trial.raw_backward(trial.inputs, dZ)
    except Exception:  # noqa: BLE001 - then there is nothing to compare; the message has the exception
        return
    raw = raw if isinstance(raw, tuple | list) else (raw,)
    if all(gradient is None for gradient in raw):
        yield Diagnosis("no gradient", "backward returns None; is a `return` missing?")
        return
    if not all(g is None or np.asarray(g).dtype.kind in "biuf" for g in raw):
        return
    if len(raw) != len(trial.inputs) or not all(isinstance(raw[k], np.ndarray) for k in trial.varies):
        return
    # The slopes are measured on the forward alone.
    silent = Silent(trial)
    jacobians = {k: jacobian(silent, k, rng) for k in trial.varies}
    for k in trial.varies:
        if raw[k].shape != trial.inputs[k].shape:
            yield diagnose_shape(Evidence(silent, k, jacobians, rng), raw, dZ)
            return


class Silent(Trial):
    """A trial with its forward, and zeros in place of its backward."""

    def __init__(self, trial: Trial) -> None:
        self.trial, self.name, self.names, self.inputs = trial, trial.name, trial.names, trial.inputs
        self.varies, self.origin = trial.varies, trial.origin

    def forward(self, inputs: Sequence[Array]) -> Array:
        return self.trial.forward(inputs)

    def backward(self, inputs: Sequence[Array], _dZ: Array) -> Sequence[Array]:
        return [np.zeros(x.shape) for x in inputs]
