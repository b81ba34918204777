"""The list of checks, in the order of a report."""

from __future__ import annotations

from gates.arrays import describe
from gates.checking.check_arrays import (
    broadcasting,
    extreme_inputs,
    float32_stays,
    non_contiguous,
    one_row,
    zero_size,
)
from gates.checking.check_gradient import (
    forward_runs,
    gradient_is_right,
    gradients_fit,
    linear_in_upstream,
    upstream_is_used,
)
from gates.checking.check_purity import inputs_unchanged, no_global_randomness, nothing_is_kept, same_answer_twice
from gates.checking.outcome import Check, Proof, gate_title
from gates.checking.report import Report, Result

CHECKS = [
    Check("forward runs", forward_runs),
    Check("gradients fit their inputs", gradients_fit),
    Check("gradient is right", gradient_is_right),
    Check("upstream is used", upstream_is_used),
    Check("linear in the upstream gradient", linear_in_upstream),
    Check("inputs stay unchanged", inputs_unchanged),
    Check("same answer twice", same_answer_twice),
    Check("nothing is kept", nothing_is_kept),
    Check("no global randomness", no_global_randomness),
    Check("float32 stays float32", float32_stays),
    Check("non-contiguous inputs", non_contiguous),
    Check("zero-size inputs", zero_size),
    Check("one row", one_row),
    Check("broadcasting", broadcasting),
    Check("extreme inputs", extreme_inputs),
]


def prove(proof: Proof) -> Report:
    """Run all checks; when the forward does not run, the others have nothing to say."""
    # Before it runs: a gate that keeps values would show them.
    title = gate_title(proof.gate)
    results = [CHECKS[0].run(proof)]
    for check in CHECKS[1:]:
        if results[0].status == "failed":
            results.append(Result(check.name, "skipped", "needs a forward that runs"))
        else:
            results.append(check.run(proof))
    origins = dict.fromkeys(trial.origin for trial in proof.trials)
    examples = (
        f"{'; '.join(describe(t.names, t.inputs) for t in proof.trials if t.origin == origin)} ({origin})"
        for origin in origins
    )
    return Report(title, tuple(examples), tuple(results))
