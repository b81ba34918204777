"""What may be wrong with a net, one rule after another: each looks at the evidence and returns what it finds.

A new rule is a function, an entry in `OF_DATA` or `OF_THE_NET`, two sick nets with their healthy twins in
``tests/test_diagnosis.py``, and a row in ``docs/diagnose.md``.
"""

from __future__ import annotations

from nngraph.diagnosis.evidence import Evidence
from nngraph.diagnosis.finding import Finding, Rule
from nngraph.diagnosis.of_data import (
    constant_features,
    dominant_class,
    missing_classes,
    unscaled_features,
    unscaled_targets,
)
from nngraph.diagnosis.of_nets import (
    dead_relus,
    exploding_gradients,
    not_finite,
    probabilities,
    saturated_units,
    steps_too_large,
    steps_too_small,
    symmetric_weights,
    targets_out_of_reach,
    vanishing_gradients,
    worse_than_guessing,
    wrong_gradient,
)

# Of the data first: what is wrong there is behind much of what follows.
OF_DATA: list[Rule] = [
    unscaled_features, constant_features, unscaled_targets, dominant_class, missing_classes
]  # fmt: skip
OF_THE_NET: list[Rule] = [
    probabilities, targets_out_of_reach, symmetric_weights, dead_relus, saturated_units, vanishing_gradients,
    exploding_gradients, worse_than_guessing, steps_too_large, steps_too_small, wrong_gradient,
]  # fmt: skip


def findings(e: Evidence) -> tuple[Finding, ...]:
    """Return what is wrong; of a net whose values are not finite, that and what is wrong with the data."""
    rules = [*OF_DATA, not_finite, *(OF_THE_NET if e.trace is None else [])]
    return tuple(finding for rule in rules for finding in rule(e))
