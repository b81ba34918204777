"""The museum of wrong gates, each with the diagnosis that it must get; and right gates, of which none may be blamed."""

from __future__ import annotations

import copy
import multiprocessing
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from gates import Gate, check_gate
from gates.checking.examples import find_trials
from tests import summary
from tests.gallery import RIGHT
from tests.gate_table import ROWS
from tests.museum import WRONG, Exhibit

SEEDS = 200
named: Counter[str] = Counter()
proofs: Counter[str] = Counter()


def museum_line() -> str | None:
    """Say how many wrong gates were shown, and how many got their diagnosis."""
    if not named:
        return None
    kinds = {exhibit.kind for exhibit in WRONG if exhibit.kind}
    return (
        f"museum: {named['right']} of {named['seen']} wrong gates got the diagnosis they must get "
        f"({len(kinds)} kinds of mistake; {named['no kind']} of them no known mistake, or none of the gradient)"
    )


def gallery_line() -> str | None:
    """Say how many proofs of right gates were made, and how many of them blamed one."""
    return (
        f"gallery: {proofs['made']} proofs of {proofs['gates']} right gates, {proofs['blamed']} false alarms"
        if proofs
        else None
    )


summary.LINES += [museum_line, gallery_line]


# --- Wrong gates ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exhibit", WRONG, ids=lambda exhibit: type(exhibit.gate).__name__)
def test_every_wrong_gate_gets_its_diagnosis(exhibit: Exhibit) -> None:
    """The first diagnosis is the one that the exhibit is there for; where there is none, the check named fails."""
    named["seen"] += 1
    # Some exhibits keep values on themselves.
    report = check_gate(copy.deepcopy(exhibit.gate), *exhibit.inputs)
    assert not report.passed
    if exhibit.kind is not None:
        assert report.diagnoses, report
        assert report.diagnoses[0].kind == exhibit.kind, report
        assert re.search(exhibit.says, report.diagnoses[0].text), report
    else:
        named["no kind"] += 1
        assert exhibit.check in report.failed, report
        # No guess is presented as certain.
        assert not (exhibit.check == "gradient is right" and report.diagnoses), report
        assert exhibit.check != "gradient is right" or "no known mistake explains these numbers" in str(report)
    named["right"] += 1


def test_the_museum_is_large_and_covers_every_kind() -> None:
    """At least 40 faulty gates, and at least one of every kind of mistake that the checker knows."""
    assert len(WRONG) >= 40
    assert {exhibit.kind for exhibit in WRONG if exhibit.kind} >= {
        "sign flipped",
        "constant factor",
        "transposed",
        "wrong order",
        "broadcast sum",
        "upstream ignored",
        "upstream twice",
        "chain rule stops early",
        "derivative at the output",
        "derivative at the input",
        "additive term",
        "wrong in part",
        "input overwritten",
        "stale value",
        "non-square shapes",
        "no gradient",
        "one use of several",
        "wrong places",
        "diagonal only",
    }


# --- Right gates ------------------------------------------------------------------------------------------------------


def blamed(seeds: Sequence[int]) -> tuple[int, list[str]]:
    """Prove every public gate and every right gate at these seeds; return how many proofs, and what was blamed."""
    kinds = {type(row.gate): [r for r in ROWS if type(r.gate) is type(row.gate)] for row in ROWS}
    made, wrong = 0, []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in seeds:
            rng = np.random.default_rng(seed)
            jobs: list[tuple[Gate, tuple[np.ndarray, ...]]] = []
            for rows in kinds.values():
                row = rows[seed % len(rows)]
                jobs.append((row.gate, row.inputs(rng)))
            for gate in RIGHT:
                # One of the examples that the checker finds; all of them at some seeds.
                trials = find_trials(gate, (), rng)
                jobs.append((gate, () if seed % 20 == 0 else trials[seed % len(trials)].inputs))
            for gate, inputs in jobs:
                report = check_gate(gate, *inputs, random_state=seed)
                made += 1
                if not report:
                    wrong.append(f"seed {seed}: {report}")
    return made, wrong


def test_no_right_gate_is_ever_blamed() -> None:
    """All public gates and the gallery of right gates, at 200 seeds each, without a false alarm."""
    # Two processes of their own: nothing that this one has loaded or traced slows them down.
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        results = list(pool.map(blamed, [range(start, SEEDS, 8) for start in range(8)]))
    wrong = [text for _, found in results for text in found]
    gates = {type(row.gate) for row in ROWS} | {type(gate) for gate in RIGHT}
    proofs.update(made=sum(made for made, _ in results), blamed=len(wrong), gates=len(gates))
    assert wrong == []
    assert len({type(gate) for gate in RIGHT}) >= 20


def test_a_wrong_gate_among_the_right_ones_would_be_told() -> None:
    """The harness of the test above can fail: it blames a wrong gate."""
    wrong = next(exhibit.gate for exhibit in WRONG if exhibit.kind == "sign flipped" and not exhibit.inputs)
    RIGHT.append(wrong)
    try:
        _, told = blamed([1])
    finally:
        RIGHT.remove(wrong)
    assert len(told) == 1
    assert type(wrong).__name__ in told[0]
