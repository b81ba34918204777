"""Checks of what is computed: forward and backward run, fit, and agree; dZ enters as the chain rule wants."""

from __future__ import annotations

import inspect

import numpy as np

from gates.arrays import first
from gates.checking.blame import diagnose_shapes, prove_gradients, square_only
from gates.checking.evidence import Evidence
from gates.checking.gradient import FEW, background, gradient_with_error
from gates.checking.jacobian import jacobian
from gates.checking.mistakes import upstream
from gates.checking.outcome import Failure, NotApplicable, Proof, breach, counted, need, told
from gates.checking.slopes import EPSILON
from gates.checking.trial import Trial
from gates.checking.variants import beside
from gates.contract import run_forward


def forward_runs(proof: Proof) -> str:
    """Run the forward at every example: an array of real numbers comes, in the dtype of the inputs, and finite."""
    for trial in proof.trials:
        try:
            Z = run_forward(proof.gate, [x.copy() for x in trial.inputs])
        except Exception as error:
            raise Failure(f"{told(error)}\nexample: {trial}") from error
        if not np.isfinite(Z).all():
            at, position = first(~np.isfinite(Z))
            raise Failure(
                f"forward is not finite here: Z[{position}] is {Z[at]}; prove it at inputs where it is defined\n"
                f"example: {trial}"
            )
    return f"finite at {counted(len(proof.trials), 'example')}"


def gradients_fit(proof: Proof) -> str:
    """Run the backward at every example: one gradient per input, in its shape and dtype."""
    names = list(inspect.signature(type(proof.gate).backward).parameters)
    if "dZ" in names[:-1]:
        order = ", ".join([*proof.trials[0].names, "dZ"])
        raise Failure(f"backward is ({', '.join(names)}): the inputs come first and dZ last, backward(self, {order})")
    problems = [(trial, breach(trial, proof.rng())) for trial in proof.trials]
    wrong = [(trial, problem) for trial, problem in problems if problem]
    if wrong:
        trial, problem = wrong[0]
        diagnoses = [square_only([t for t, _ in wrong], proof.rng()), *diagnose_shapes(trial, proof)]
        raise Failure(f"{problem}\nexample: {trial}", diagnoses)
    return "one per input, in its shape and dtype"


def gradient_is_right(proof: Proof) -> str:
    """Compare the gradients with measured slopes, at given inputs and beside them."""
    rng = proof.rng()
    trials: list[Trial] = list(need(proof.runnable))
    trials = [*trials, *(t for trial in trials if trial.origin == "given" and (t := beside(trial, rng)))]
    return prove_gradients(trials, rng)


def upstream_is_used(proof: Proof) -> str:
    """Give two different dZ: the gradients differ."""
    changes = False
    for trial in need(proof.runnable):
        rng = proof.rng()
        shape = trial.forward(trial.inputs).shape
        G, H = rng.standard_normal(shape), rng.standard_normal(shape)
        for k in trial.varies:
            g, h = trial.gradient(k, G), trial.gradient(k, H)
            finite = np.isfinite(g) & np.isfinite(h)
            if (g != 0).any(where=finite) and np.array_equal(g[finite], h[finite]):
                message = f"the gradient of {trial.names[k]} is the same for two different dZ\nexample: {trial}"
                jacobians = {k: jacobian(trial, k, rng)} if g.size <= FEW else {}
                raise Failure(message, [upstream(Evidence(trial, k, jacobians, rng)) if jacobians else None])
            changes |= bool((g != h).any(where=finite))
    if not changes:
        raise NotApplicable("all gradients are zero")
    return "another dZ, another gradient"


def linear_in_upstream(proof: Proof) -> str:
    """Give 2 G - 3 H, and 0: the chain rule is linear in dZ."""
    for trial in need(proof.runnable):
        rng = proof.rng()
        shape = trial.forward(trial.inputs).shape
        G, H = rng.standard_normal(shape), rng.standard_normal(shape)
        for k in trial.varies:
            name = trial.names[k]
            for (a, one), (b, two) in (((2, G), (-3, H)), ((1e6, G), (0, H)), ((1e-9, G), (0, H))):
                given = [gradient_with_error(trial, k, up, rng) for up in (a * one + b * two, one, two)]
                (both, doubt), (g, doubt_g), (h, doubt_h) = given
                expected = a * g + b * h
                off = np.abs(both - expected)
                doubts = doubt.max(initial=0) + abs(a) * doubt_g.max(initial=0) + abs(b) * doubt_h.max(initial=0)
                allowed = 64 * doubts + 1e-9 * np.abs(both)
                if (off > allowed).any():
                    # What terms that cancel leave, as where a function is saturated.
                    allowed += 256 * EPSILON * (abs(a) + abs(b)) * background(trial, k, np.abs(G) + np.abs(H), rng)
                if (off > allowed).any():
                    at, position = first(off > allowed)
                    element = f"{name}[{position}]" if at else name
                    raise Failure(
                        f"for dZ = {a:g} G{f' - {-b:g} H' if b else ''} the gradient of {name} must be {a:g} g"
                        f"{f' - {-b:g} h' if b else ''}, {expected[at]:.7g} at {element}, got {both[at]:.7g}\n"
                        f"example: {trial}"
                    )
            zero = trial.gradient(k, np.zeros(shape))
            if (zero != 0).any(where=np.isfinite(zero)):
                at, position = first((zero != 0) & np.isfinite(zero))
                element = f"{name}[{position}]" if at else name
                raise Failure(
                    f"for dZ = 0 the gradient of {name} must be 0, got {zero[at]:.7g} at {element}\nexample: {trial}"
                )
    return "2 G - 3 H gives 2 g - 3 h, a million G a million g, and 0 gives 0"
