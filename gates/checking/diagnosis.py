"""What kind of wrong: the mistakes that explain a wrong gradient."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gates.arrays import Array
from gates.checking.chain import at_output, chain_rule
from gates.checking.evidence import Diagnosis, Evidence, close
from gates.checking.masks import wrong_in_part
from gates.checking.mistakes import (
    additive_term,
    constant_factor,
    diagonal_only,
    no_gradient,
    sign_flipped,
    transposed,
    upstream,
    wrong_order,
    wrong_places,
)
from gates.checking.sums import axes_text, broadcast_axis, explain_sum, factor_lost, one_use_each, uses_lost

Rule = Callable[[Evidence], Diagnosis | None]

# Rules of one group are of the same rank, and all that fit are told; a later group is asked when none before fits.
RULES: list[list[Rule]] = [
    [no_gradient],
    [upstream],
    [wrong_order],
    [sign_flipped, constant_factor],
    [uses_lost, factor_lost, broadcast_axis],
    [transposed],
    [diagonal_only],
    [at_output],
    [chain_rule],
    [additive_term],
    [wrong_places],
    [wrong_in_part],
]


def diagnose(evidence: Evidence, elsewhere: Evidence | None = None) -> list[Diagnosis]:
    """Return the known mistakes that explain the wrong gradient, the most specific kind first; none is a guess.

    What explains it must do so elsewhere as well, if that is given: at one point two mistakes may look the same.
    """
    found = evidence.jacobians[evidence.k]
    groups = RULES
    if not found.wrong.any():
        # For each dZ that is 1 at one element it is right, so what is wrong is how dZ enters.
        groups = [[upstream]]
    elif found.constant.any():
        # What is added whatever dZ is stands beside every other mistake.
        groups = [[no_gradient], [upstream], [additive_term]]
    for rules in groups:
        told = [(rule, diagnosis) for rule in rules if (diagnosis := rule(evidence))]
        confirmed = [diagnosis for rule, diagnosis in told if elsewhere is None or rule(elsewhere) == diagnosis]
        if confirmed:
            return confirmed
    return []


def diagnose_shape(e: Evidence, raw: Sequence[Any], dZ: Array) -> Diagnosis | None:
    """Explain a gradient of input k whose shape cannot be right by what the right one is."""
    got = np.asarray(raw[e.k])
    right = (dZ.reshape(1, -1) @ e.true).reshape(e.x.shape)
    for other, found in e.jacobians.items():
        theirs = (dZ.reshape(1, -1) @ found.measured).reshape(e.trial.inputs[other].shape)
        if other != e.k and close(got, theirs):
            return Diagnosis(
                "wrong order",
                f"what is returned for {e.name} is the gradient of {e.trial.names[other]}; "
                f"return them in the order of the inputs: {', '.join(e.trial.names)}",
            )
    for axes in itertools.permutations(range(got.ndim)):
        if got.shape != e.x.shape and close(got.transpose(axes), right):
            return Diagnosis("transposed", f"the gradient of {e.name} is right but for a transposition: .T is missing")
    for axes in itertools.chain.from_iterable(
        itertools.combinations(range(got.ndim), n) for n in range(1, got.ndim + 1)
    ):
        total = got.sum(axis=axes)
        if total.size == right.size and close(total.ravel(), right.ravel()):
            return Diagnosis(
                "broadcast sum",
                f"{e.name} {e.x.shape} is repeated in Z {e.Z.shape}, and the sum over {axes_text(axes)} of its "
                "gradient is missing",
            )
    if one_use_each(e.true):
        contributions = (dZ.reshape(-1) * e.true.sum(axis=1)).reshape(e.Z.shape)
        return explain_sum(e.name, e.x.shape, contributions, got, right)
    return None
