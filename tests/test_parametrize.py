"""parametrize_with_gate_checks: one test per gate and check, run by pytest itself in a folder of its own."""

from __future__ import annotations

import contextlib
import re
from textwrap import dedent
from unittest import SkipTest

import numpy as np
import pytest

from gates import (
    ConcatenateGate,
    Gate,
    GateError,
    LeakyReLU,
    ReshapeGate,
    Softmax,
    Tanh,
    check_gate,
    parametrize_with_gate_checks,
)
from gates.checking.checks import CHECKS

pytest_plugins = ["pytester"]

NAMES = [check.name for check in CHECKS]

GATES = '''
import math
import numpy as np
from gates import *
from gates import Gate

class Swish(Gate):
    def forward(self, X):
        return X / (1 + np.exp(-X))

    def backward(self, X, dZ):
        s = 1 / (1 + np.exp(-X))
        return (s + X * s * (1 - s)) * dZ

class Half(Swish):
    def backward(self, X, dZ):
        return super().backward(X, dZ) / 2

class Forgetful(Swish):
    """The upstream gradient is forgotten."""

    def backward(self, X, dZ):
        return super().backward(X, np.ones_like(X))

class Keeping(Swish):
    """What forward saw is kept for backward."""

    def forward(self, X):
        self.X = X
        return super().forward(X)

class Writing(Swish):
    """The input is written over, after it was used."""

    def forward(self, X):
        Z = super().forward(X)
        X *= 0
        return Z

class Wide(Swish):
    """A NumPy scalar makes float64 of float32."""

    def forward(self, X):
        return super().forward(X) * np.float64(1)

class Scaled(Gate):
    def __init__(self, scale):
        self.scale = scale

    def forward(self, X):
        return self.scale * X

    def backward(self, X, dZ):
        return self.scale * dZ

class Nine(Gate):
    """Nine times nine elements, which no shape that is tried has."""

    def forward(self, X):
        return X.reshape(9, 9) * 1

    def backward(self, X, dZ):
        return dZ.reshape(X.shape)

class NineWithExamples(Nine):
    def examples(self, rng):
        return [(rng.standard_normal(81),), (rng.standard_normal((3, 27)),)]
'''


def namespace():
    """Return what the gates' file defines."""
    names = {}
    exec(compile(GATES, "mine.py", "exec"), names)  # noqa: S102 - our own text
    return names


def expected(text):
    """Return the names of the checks that fail and that are skipped, by a report of the gate that `text` makes."""
    results = check_gate(eval(text, namespace())).results  # noqa: S307 - our own text
    return [{r.name for r in results if r.status == status} for status in ("failed", "skipped")]


@pytest.fixture
def run(pytester, monkeypatch):
    """Return a function that tests a list of gates in pytest, warnings being errors, and returns what it found."""
    monkeypatch.setenv("COLUMNS", "300")

    def run(gates, *options):
        pytester.makepyfile(mine=GATES)
        test = f"""
            from mine import *

            @parametrize_with_gate_checks({gates})
            def test_gates(gate, check):
                check(gate)
        """
        pytester.makepyfile(test_mine=dedent(test))
        return pytester.runpytest_inprocess(
            "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-W", "error", "-rs", *options
        )

    return run


def outcomes(result):
    """Return the outcome of every test by its id."""
    found = {}
    for line in result.outlines:
        if line.startswith("test_mine.py::test_gates["):
            name, _, outcome = line.removeprefix("test_mine.py::test_gates[").partition("] ")
            assert name not in found, "ids are distinct"
            found[name] = outcome.split()[0]
    return found


# --- Tests and their ids ---------------------------------------------------------------------------------------------


def test_names_are_known():
    """The checks have names that say what they ask for."""
    assert {"forward runs", "gradient is right", "upstream is used", "float32 stays float32"} <= set(NAMES)
    assert len(set(NAMES)) == len(NAMES) >= 15


def test_ids(run):
    """One test per gate and check, in this order, called after both; settings are in the name."""
    result = run("[Swish(), Scaled(2.0), Scaled(scale=3.0), LeakyReLU()]", "-v")
    titles = ["Swish", "Scaled(scale=2.0)", "Scaled(scale=3.0)", "LeakyReLU(slope=0.01)"]
    assert list(outcomes(result)) == [f"{title}-{name}" for title in titles for name in NAMES]
    assert result.ret == 0


def test_ids_of_equal_gates(run):
    """Two gates of one name and the same settings still have tests of their own."""
    result = run("[Swish(), Swish()]", "-v")
    assert len(outcomes(result)) == 2 * len(NAMES)
    assert result.ret == 0


def test_selection(run):
    """A gate, and a check, are selected by their names; an id picks one test."""
    result = run("[Swish(), Scaled(2.0)]", "-v", "-k", "Swish and upstream")
    assert list(outcomes(result)) == ["Swish-upstream is used", "Swish-linear in the upstream gradient"]
    result = run("[Swish(), Scaled(2.0)]", "-v", "test_mine.py::test_gates[Swish-upstream is used]")
    assert outcomes(result) == {"Swish-upstream is used": "PASSED"}


def test_any_iterable(run):
    """A generator of gates will do, and no gate at all is no test."""
    result = run("(gate() for gate in (Swish, Tanh))", "-v")
    assert len(outcomes(result)) == 2 * len(NAMES)
    run("[]").assert_outcomes(skipped=1)


def test_names_of_arguments():
    """The mark is pytest's own, over `gate` and `check`: it stands beside others, and a check prints its name."""
    mark = parametrize_with_gate_checks([Tanh(), ConcatenateGate()]).mark
    assert (mark.name, mark.args[0]) == ("parametrize", ("gate", "check"))
    assert [repr(param.values[1]) for param in mark.args[1]] == NAMES * 2
    assert [type(param.values[0]) for param in mark.args[1]] == [Tanh] * len(NAMES) + [ConcatenateGate] * len(NAMES)


# --- Outcomes --------------------------------------------------------------------------------------------------------

# What must fail at least; all that fails is what the report of check_gate says.
WRONG = {
    "Half()": {"gradient is right"},
    "Forgetful()": {"gradient is right", "upstream is used", "linear in the upstream gradient"},
    "Keeping()": {"nothing is kept"},
    "Writing()": {"inputs stay unchanged"},
    "Wide()": {"float32 stays float32"},
}
RIGHT = ["Swish()", "Scaled(-2.0)", "NineWithExamples()", "AddGate()", "ReshapeGate(-1)", "Softmax()", "GatherGate()"]


@pytest.mark.parametrize("text", [*WRONG, *RIGHT])
def test_outcomes(run, text):
    """Exactly those tests fail, and those are skipped, that the report of check_gate says so of."""
    failed, skipped = expected(text)
    result = run(f"[{text}]", "-v")
    found = {next(n for n in NAMES if i.endswith(f"-{n}")): outcome for i, outcome in outcomes(result).items()}
    assert {name for name, outcome in found.items() if outcome == "FAILED"} == failed
    assert {name for name, outcome in found.items() if outcome == "SKIPPED"} == skipped
    assert set(found) == set(NAMES)
    assert failed == WRONG.get(text, set())
    result.assert_outcomes(failed=len(failed), skipped=len(skipped), passed=len(NAMES) - len(failed) - len(skipped))


def test_wrong_beside_right(run):
    """A wrong gate does not touch the tests of another."""
    found = outcomes(run("[Swish(), Half(), Scaled(2.0)]", "-v"))
    assert {name for name, outcome in found.items() if outcome == "FAILED"} == {"Half-gradient is right"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Half()", ["Half: gradient is right", "15 of 15 elements", "=> constant factor: the gradient of X is 1/2"]),
        ("Forgetful()", ["Forgetful: upstream is used", "=> upstream ignored:", "multiply by dZ"]),
        ("Keeping()", ["nothing is kept", "a call changes self.X; a gate's attributes are settings"]),
        ("Nine()", ["Nine: of 35 examples tried none fits", "write a method examples(self, rng)"]),
    ],
    ids=["half", "forgetful", "keeping", "no example"],
)
def test_failure_says_why(run, text, said):
    """The failure has the gate, the check, the numbers and the diagnosis; it is a GateError."""
    out = "\n".join(run(f"[{text}]").outlines)
    for line in ["GateError", *said]:
        assert line in out


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(
            (),
            id="all",
        ),
        pytest.param(("-k", "kept"), id="alone"),
    ],
)
def test_title_of_a_gate_that_keeps(run, options):
    """A gate that keeps what it saw is called as it was made, without these arrays."""
    out = "\n".join(run("[Keeping()]", *options).outlines)
    assert "GateError: Keeping: nothing is kept" in out


def test_skip_says_why(run):
    """A check that does not apply is skipped with its reason."""
    result = run("[Swish()]")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["SKIPPED * one input"])
    result.assert_outcomes(passed=len(NAMES) - 1, skipped=1)


def test_forward_that_does_not_run(run):
    """Where the forward does not run the tests say so once, as the report of check_gate does."""
    text = "type('Broken', (Swish,), {'forward': lambda self, X: undefined})()"
    failed, skipped = expected(text)
    assert failed == {"forward runs"}
    run(f"[{text}]").assert_outcomes(failed=len(failed), skipped=len(skipped))


def test_other_runners():
    """A check is called with a gate in any test: it returns, raises GateError, or skips as unittest does."""
    checks = {param.id: param.values for param in parametrize_with_gate_checks([Tanh(), namespace()["Half"]()]).args[1]}
    gate, check = checks["Tanh-gradient is right"]
    assert check(gate) is None
    gate, check = checks["Half-gradient is right"]
    with pytest.raises(GateError, match=r"^Half: gradient is right\nbackward's gradient of input X"):
        check(gate)
    gate, check = checks["Tanh-broadcasting"]
    with pytest.raises(SkipTest, match=r"^one input$"):
        check(gate)


def test_seed():
    """The same seed finds the same, and another one other numbers."""
    (param,) = [p for p in parametrize_with_gate_checks([namespace()["Half"]()]).args[1] if "is right" in p.id]
    gate, check = param.values
    messages = []
    for seed in (0, 0, 1):
        with pytest.raises(GateError) as caught:
            check(gate, random_state=seed)
        messages.append(str(caught.value))
    assert messages[0] == messages[1] != messages[2]


class Counted(Gate):
    """A gate whose examples count how often they are asked for, and what with."""

    def __init__(self):
        self.seen = []

    def __repr__(self):
        return "Counted()"

    def examples(self, rng):
        self.seen.append(rng.standard_normal())
        return [(np.ones((9, 9)) + rng.uniform(0, 1, (9, 9)),)]

    def forward(self, X):
        return X.reshape(81) * 2

    def backward(self, X, dZ):
        return 2 * dZ.reshape(9, 9)


def test_examples_are_used():
    """The gate's own examples are what it is proven at, drawn alike for every check."""
    gate = Counted()
    for param in parametrize_with_gate_checks([gate]).args[1]:
        with contextlib.suppress(SkipTest):
            param.values[1](gate)
    assert gate.seen == [np.random.default_rng(0).standard_normal()] * len(NAMES)


# --- At collection ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gates", "said"),
    [
        ("[Swish]", ["proves a Gate, got <class 'mine.Swish'>", "write Swish()"]),
        ("[Swish(), Scaled]", ["got <class 'mine.Scaled'>", "write Scaled()"]),
        ("[Swish(), 3]", ["proves a Gate, got 3"]),
        ("[Swish(), None]", ["proves a Gate, got None"]),
        ("['Swish']", ["proves a Gate, got 'Swish'"]),
        ("[dict]", ["proves a Gate, got <class 'dict'>"]),
        ("[[Swish()]]", ["proves a Gate, got [Swish()]"]),
        ("Swish()", ["parametrize_with_gate_checks takes a list of gates, [MyGate()], got Swish"]),
        ("Swish", ["parametrize_with_gate_checks takes a list of gates, [MyGate()], got <class 'mine.Swish'>"]),
    ],
)
def test_no_gate(run, gates, said):
    """What is no gate is a TypeError when tests are collected, which says what to write; no test runs."""
    result = run(gates)
    out = "\n".join(result.outlines)
    result.assert_outcomes(errors=1)
    assert "E   TypeError: " in out
    for text in said:
        assert text in out


@pytest.mark.parametrize("gates", [namespace()["Swish"](), namespace()["Swish"]], ids=["gate", "class"])
def test_gate_in_place_of_a_list(gates):
    """A gate alone, or its class, is a TypeError that says what is wanted; it is not taken for an iterable."""
    said = f"parametrize_with_gate_checks takes a list of gates, [MyGate()], got {gates!r}"
    with pytest.raises(TypeError, match=f"^{re.escape(said)}$"):
        parametrize_with_gate_checks(gates)


@pytest.mark.parametrize(
    "gate",
    [Tanh(), LeakyReLU(0.3), ReshapeGate((-1,)), Softmax(class_weight={0: 2.0}), ConcatenateGate(axis=-1)],
    ids=repr,
)
def test_here(gate):
    """The decorator is of use in this project's own tests: what check_gate passes, every check passes or skips."""
    for param in parametrize_with_gate_checks([gate]).args[1]:
        with contextlib.suppress(SkipTest):
            param.values[1](param.values[0])
