"""check_gate is tested by mutation: whatever is changed in the backward of a public gate, it must notice.

A mutant (`tests/mutation.py`) is judged for every gate that runs the changed method. It is *caught* if `check_gate`
fails it, or it raises, on inputs on which the gate itself passes. It is *equivalent* if its gradients are those of the
gate on all the inputs of `tried`: then there is nothing to notice. At a kink more than one gradient is right: one
counts as equal if it lies between the slopes of the forward to the left and to the right. Anything else is a
*survivor*, and fails its test.

Two things are not asked of `check_gate`; `test_gates.py` and `test_outputs.py` are for them: what a gate answers where
its forward has no slope, such as PowerGate at 0 to the power 0, and what it answers for arrays of integers.
"""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gates import Gate, GateError, MaximumGate, MeanGate, PowerGate, ReLU, SumGate, Tanh, check_gate
from gates.contract import input_names, run_backward, run_forward
from tests import conftest, summary
from tests.gate_table import ROWS, Array
from tests.mutation import Mutant, backward_path, changes, mutants, planted

Inputs = tuple[Array, ...]
Gradients = tuple[Array | None, ...]
Check = Callable[[Gate, Inputs], bool]

GATES = list(dict.fromkeys(type(row.gate) for row in ROWS))
# The methods that are changed, and the gates that run each.
PLACES = {
    place: [heir for heir in GATES if place in backward_path(heir)] for gate in GATES for place in backward_path(gate)
}
every_place = pytest.mark.parametrize(
    ("owner", "method"), PLACES, ids=[f"{owner.__name__}.{method}" for owner, method in PLACES]
)

# Gradients are compared at all seeds; check_gate sees the first ones.
SEEDS = 30
CHECKED_SEEDS = 3
# How far "to the left" and "to the right" is.
ASIDE = 1e-6


def passes(gate: Gate, inputs: Inputs) -> bool:
    """Whether check_gate finds nothing wrong."""
    return check_gate(gate, *inputs, random_state=0).passed


# --- Inputs -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Case:
    """A gate of the table and inputs, with its gradients there."""

    gate: Gate
    inputs: Inputs
    upstream: Array
    gradients: Gradients
    # Whether check_gate may be asked here, or gradients are only compared.
    checked: bool

    @functools.cached_property
    def passes(self) -> bool:
        """Whether the gate itself passes."""
        return not fails(self.gate, self.inputs, passes)


def tried(gate: type[Gate]) -> Iterator[tuple[Gate, Inputs, bool]]:
    """Yield the gates of a class with inputs, and whether check_gate may be asked there."""
    for row in (row for row in ROWS if type(row.gate) is gate):
        for seed in range(SEEDS):
            inputs = row.inputs(np.random.default_rng(seed))
            yield row.gate, inputs, seed < CHECKED_SEEDS
            yield row.gate, with_floats(inputs, lambda x: x.astype(np.float32)), False
            yield row.gate, with_floats(inputs, np.rint), seed < CHECKED_SEEDS
        yield row.gate, with_floats(inputs, np.zeros_like), True
        yield row.gate, tuple(x[(..., *[slice(1)] * x.ndim)] for x in inputs), True
        yield row.gate, tuple(x[:0] if i in row.batch else x for i, x in enumerate(inputs)), True
        yield row.gate, row.extreme, True
    if gate is PowerGate:
        # What its formula has cases for, and what a slip could make one of.
        yield PowerGate(), (np.zeros(3), np.array([2.0, 1.0, 3.0])), True
        yield PowerGate(), (np.array([0.5, 1.5, 2.0, 3.0, 1.0]), np.array([-1.0, 0.0, 1.0, 2.0, -2.0])), True


def with_floats(inputs: Sequence[Array], change: Callable[[Array], Array]) -> Inputs:
    """Change the floating inputs."""
    return tuple(np.asarray(change(x)) if x.dtype.kind == "f" else x for x in inputs)


@functools.cache
def cases(gate: type[Gate]) -> list[Case]:
    """List the cases of a class: the inputs that can be differentiated."""
    found = []
    for instance, drawn, checked in tried(gate):
        if finite_around(instance, drawn):
            inputs = tuple(map(read_only, drawn))
            Z = run_forward(instance, inputs)
            dZ = read_only(np.random.default_rng(1).standard_normal(Z.shape).astype(Z.dtype))
            found.append(Case(instance, inputs, dZ, run_backward(instance, inputs, dZ), checked))
    return found


def read_only(x: Array) -> Array:
    """Copy an array such that no mutant can write into it."""
    copy = np.array(x)
    copy.flags.writeable = False
    return copy


def finite_around(gate: Gate, inputs: Inputs) -> bool:
    """Whether the forward takes these inputs, and is finite there and aside."""
    names = input_names(gate, len(inputs))
    free = [i for i, x in enumerate(inputs) if x.dtype.kind == "f" and names[i] not in gate.constants]
    aside = [(*inputs[:i], inputs[i] + step, *inputs[i + 1 :]) for i in free for step in (-ASIDE, ASIDE)]
    with np.errstate(all="ignore"):
        try:
            return all(np.isfinite(run_forward(gate, at)).all() for at in (inputs, *aside))
        except GateError:
            return False


# --- Verdicts ---------------------------------------------------------------------------------------------------------


def fails(gate: Gate, inputs: Inputs, check: Check) -> bool:
    """Whether a check fails or raises. A warning is no verdict."""
    with warnings.catch_warnings(action="ignore"):
        try:
            return not check(gate, inputs)
        except Exception:  # noqa: BLE001 -- a wrong gate may raise anything
            return True


def agrees(gate: Gate, case: Case) -> bool:
    """Whether a gate's gradients are those of a case, or are as right."""
    with warnings.catch_warnings(action="ignore"):
        try:
            gradients = run_backward(gate, case.inputs, case.upstream)
        except Exception:  # noqa: BLE001 -- as above
            return False
    for i, (found, right) in enumerate(zip(gradients, case.gradients, strict=True)):
        if found is None or right is None:
            if found is not right:
                return False
            continue
        rtol = 1e-12 if right.dtype == np.float64 else 1e-5
        differs = np.argwhere(~np.isclose(found, right, rtol=rtol, atol=0, equal_nan=True))
        if not all(is_between_slopes(float(found[at]), case, i, at) for at in map(tuple, differs)):
            return False
    return True


def is_between_slopes(value: float, case: Case, i: int, at: tuple[int, ...]) -> bool:
    """Whether the forward has a kink along one element of input i, and a value lies between its two slopes."""
    wide = with_floats(case.inputs, lambda x: x.astype(float))

    def loss(step: float) -> float:
        x = wide[i].copy()
        x[at] += step
        return float(np.sum(case.upstream * run_forward(case.gate, [*wide[:i], x, *wide[i + 1 :]])))

    low, high = sorted([(loss(0) - loss(-ASIDE)) / ASIDE, (loss(ASIDE) - loss(0)) / ASIDE])
    slack = 1e-4 * max(abs(low), abs(high))
    return high - low > 10 * slack and low - slack <= value <= high + slack


def verdict(gate: type[Gate], owner: type[Gate], source: str, check: Check = passes) -> str:
    """Judge one class of gates with the text of a method changed: caught, equivalent or survivor."""
    wrong = functools.cache(lambda instance: planted(instance, owner, source))

    def catches(case: Case) -> bool:
        return fails(wrong(case.gate), case.inputs, check) and case.passes

    checked = [case for case in cases(gate) if case.checked]
    # The cases where gradients differ come first: there it is likely to be caught.
    differs = False
    for case in checked:
        if not agrees(wrong(case.gate), case):
            differs = True
            if catches(case):
                return "caught"
    if not differs and all(agrees(wrong(case.gate), case) for case in cases(gate)):
        return "equivalent"
    return "caught" if any(catches(case) for case in checked) else "survivor"


def judged(owner: type[Gate], method: str, check: Check = passes) -> Iterator[tuple[Mutant, str, str]]:
    """Yield every mutant of a method with its verdict, and the gates that it survives in.

    It counts as a survivor if it survives in any gate that runs the method, and as equivalent if it is so in all.
    """
    for mutant in mutants(vars(owner)[method]):
        verdicts = {gate.__name__: verdict(gate, owner, mutant.source, check) for gate in PLACES[owner, method]}
        what = next(what for what in ("survivor", "caught", "equivalent") if what in verdicts.values())
        yield mutant, what, ", ".join(name for name, found in verdicts.items() if found == "survivor")


# --- The score --------------------------------------------------------------------------------------------------------

# What was judged in this session: verdicts, and gates by name.
VERDICTS: Counter[str] = Counter()
JUDGED: set[str] = set()


def score() -> str | None:
    """Say how many mutants were caught in this session."""
    if not VERDICTS:
        return None
    wrong = VERDICTS["caught"] + VERDICTS["survivor"]
    return (
        f"mutation score: {VERDICTS['caught']} of {wrong} mutants of {len(JUDGED)} gates caught "
        f"({VERDICTS['equivalent']} further ones are equivalent by value)"
    )


summary.LINES.append(score)


@every_place
def test_check_gate_catches_every_mutant(owner: type[Gate], method: str) -> None:
    """Whatever is changed in a backward, check_gate notices, unless the gradients stay as they were."""
    survivors = []
    for mutant, what, where in judged(owner, method):
        VERDICTS[what] += 1
        if what == "survivor":
            survivors.append(f"in {where}, {mutant.kind}: {mutant.before} -> {mutant.after}\n    {mutant.statement}")
    JUDGED.update(gate.__name__ for gate in PLACES[owner, method])
    place = f"{owner.__name__}.{method}"
    assert not survivors, f"check_gate misses in {place}:\n" + "\n".join(survivors)


# --- The test can fail ------------------------------------------------------------------------------------------------


def test_every_gate_is_mutated() -> None:
    """No gate is without a method that is changed, and every such method has mutants."""
    assert {gate for gates in PLACES.values() for gate in gates} == set(GATES)
    assert all(mutants(vars(owner)[method]) for owner, method in PLACES)


@pytest.mark.parametrize(("owner", "method"), [(Tanh, "derivative"), (SumGate, "backward")], ids=["Tanh", "SumGate"])
def test_a_blind_check_leaves_survivors(owner: type[Gate], method: str) -> None:
    """Where the check finds nothing, every mutant that is not equivalent survives, in every gate that runs it."""
    verdicts = {what for _, what, _ in judged(owner, method, check=lambda _gate, _inputs: True)}
    assert verdicts - {"equivalent"} == {"survivor"}


def test_a_check_that_fails_the_gate_too_catches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure counts only where the gate itself passes."""
    monkeypatch.setattr("tests.test_mutation.check_gate", lambda *_, **__: SimpleNamespace(passed=False))
    monkeypatch.setattr("tests.test_mutation.cases", functools.cache(cases.__wrapped__))
    assert {what for _, what, _ in judged(Tanh, "derivative")} - {"equivalent"} == {"survivor"}


@pytest.mark.parametrize(
    ("gate", "source", "agreed"),
    [
        (ReLU, "def derivative(self, X): return (X >= 0).astype(X.dtype)", True),
        (ReLU, "def derivative(self, X): return (X > 0) + np.where(X == 0, X + 0.3, 0)", True),
        (ReLU, "def derivative(self, X): return (X > 0) + np.where(X == 0, X + 1.1, 0)", False),
        (ReLU, "def derivative(self, X): return (X > 0) + np.where(X == 0, X - 0.1, 0)", False),
        (ReLU, "def derivative(self, X): return (X > 0) + np.where(X == 0, np.nan * X, 0)", False),
        (ReLU, "def derivative(self, X): return (X > 0) * (1 + 1e-9)", False),
        (ReLU, "def derivative(self, X): return (X > 0).astype(float)", False),
        (Tanh, "def derivative(self, X): return (1 - self.forward(X)) * (1 + self.forward(X))", True),
        (Tanh, "def derivative(self, X): raise RuntimeError", False),
        (MaximumGate, "def backward(self, X, Y, dZ): return (X >= Y) * dZ, (X < Y) * dZ", True),
        (MaximumGate, "def backward(self, X, Y, dZ): return (X >= Y) * dZ, -(X == Y) * dZ + (X < Y) * dZ", False),
    ],
)
def test_what_is_equal(gate: type[Gate], source: str, agreed: bool) -> None:
    """At a kink every value between the slopes is right; elsewhere only the gate's is, to the last digits and dtype."""
    assert all(agrees(planted(case.gate, gate, source), case) for case in cases(gate)) == agreed


# --- The mutator ------------------------------------------------------------------------------------------------------


class Tiny(Gate):
    """A gate for these tests, with one of each."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def forward(self, X: Array) -> Array:
        return self.factor * X

    def backward(self, X: Array, dZ: Array) -> Array:
        """Say a thing, which is no code."""
        return self.factor * dZ


def test_the_mutants_of_a_tiny_method() -> None:
    """Every change of every node, once each; the docstring and the annotations stay out of it."""
    assert [(m.kind, m.before, m.after, m.statement) for m in mutants(Tiny.backward)] == [
        ("return", "return self.factor * dZ", "return -(self.factor * dZ)", "return -(self.factor * dZ)"),
        ("return", "return self.factor * dZ", "return 0 * (self.factor * dZ)", "return 0 * (self.factor * dZ)"),
        ("return", "return self.factor * dZ", "return None", "return None"),
        ("operator", "self.factor * dZ", "self.factor / dZ", "return self.factor / dZ"),
        ("operator", "self.factor * dZ", "self.factor + dZ", "return self.factor + dZ"),
        ("term dropped", "self.factor * dZ", "self.factor", "return self.factor"),
        ("term dropped", "self.factor * dZ", "dZ", "return dZ"),
        ("setting", "self.factor", "0", "return 0 * dZ"),
        ("setting", "self.factor", "1", "return 1 * dZ"),
        ("setting", "self.factor", "None", "return None * dZ"),
        ("name", "dZ", "X", "return self.factor * X"),
    ]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("X - Y", ["X + Y", "X", "Y", "Y - X"]),
        ("X @ Y", ["X * Y", "X", "Y", "Y @ X"]),
        ("X & Y", ["X | Y", "X", "Y"]),
        ("X and Y", ["X or Y", "X", "Y"]),
        ("-X", ["X"]),
        ("~X", ["X"]),
        ("not X", ["X"]),
        ("X > Y", ["X >= Y", "X < Y", "X <= Y"]),
        ("X == 0", ["X != 0"]),
        ("X is None", ["X is not None"]),
        ("2", ["3", "1"]),
        ("0.5", ["1.0", "0.0"]),
        ("True", ["False"]),
        ("None", []),
        ("X", ["Y"]),
        ("unknown", []),
        ("(X, Y, 1)", ["(Y, X, 1)", "(X, 1, Y)"]),
        ("X.T", ["X"]),
        ("X[0]", ["X"]),
        ("np.swapaxes(X, -1, -2)", ["np.swapaxes(-1, X, -2)", "np.swapaxes(X, -2, -1)", "X"]),
        ("X.transpose(Y)", ["X"]),
        ("(X * Y).sum(keepdims=True)", ["(X * Y).sum()", "X * Y"]),
        ("self.forward(X)", ["X"]),
        ("super().backward(X, Y)", ["super().backward(Y, X)", "X"]),
        ("X if Y else 1", ["X if 0 else 1", "X if 1 else 1"]),
        ("return X, None", ["return (-X, None)", "return (0 * X, None)", "return (None, None)"]),
        ("X = np.exp(Y)", ["pass"]),
        ("Z = np.exp(Y)", []),
        ("X[Y] = 1", ["pass"]),
        ("np.add.at(X, Y, 1)", ["pass"]),
        ("if X:\n    Y = 1", ["if 0:\n    Y = 1", "if 1:\n    Y = 1"]),
    ],
)
def test_changes_of_one_node(code: str, expected: list[str]) -> None:
    """What may stand in place of an expression or a statement, when X and Y are at hand."""
    (statement,) = ast.parse(code).body
    node: Any = statement
    # A call may stand alone: then it is a statement too.
    if isinstance(statement, ast.Expr) and not code.startswith("np.add"):
        node = statement.value
    assert [ast.unparse(other) for _, other in changes(node, ["X", "Y"])] == expected


def test_changes_of_an_axis_and_of_a_filter() -> None:
    """An axis that is named changes wherever it comes from; a comprehension loses its condition."""
    (call,) = (node for node in ast.walk(ast.parse("X.sum(axis=self.axis)")) if isinstance(node, ast.keyword))
    assert [ast.unparse(other) for _, other in changes(call, [])] == ["axis=0", "axis=1", "axis=None"]
    (part,) = (node for node in ast.walk(ast.parse("[x for x in X if x]")) if isinstance(node, ast.comprehension))
    assert [ast.unparse(other).strip() for _, other in changes(part, [])] == ["for x in X"]


@every_place
def test_an_unchanged_copy_is_the_gate(owner: type[Gate], method: str) -> None:
    """A method planted as it is computes the same in every gate that runs it, `super()` and settings included."""
    original = vars(owner)[method]
    source = textwrap.dedent(inspect.getsource(original))
    for gate in PLACES[owner, method]:
        for case in cases(gate)[::20]:
            copied = planted(case.gate, owner, source)
            assert isinstance(copied, gate)
            assert vars(copied) == vars(case.gate)
            assert agrees(copied, case)
    assert vars(owner)[method] is original


def test_a_base_is_changed_below_the_class() -> None:
    """The changed SumGate.backward is the one that MeanGate's `super()` finds; the classes stay as they are."""
    gate = MeanGate(axis=0)
    wrong = planted(gate, SumGate, "def backward(self, X, dZ): return np.full(X.shape, 7.0) * dZ")
    X, dZ = np.ones((4, 3)), np.ones(3)
    np.testing.assert_array_equal(wrong.backward(X, dZ), np.full((4, 3), 7 / 4))
    np.testing.assert_array_equal(gate.backward(X, dZ), np.full((4, 3), 1 / 4))
    assert type(gate) is MeanGate


# --- The line at the end of a run -------------------------------------------------------------------------------------


def test_the_score_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line counts what was judged; where nothing was, there is none."""
    monkeypatch.setattr("tests.test_mutation.VERDICTS", Counter())
    assert score() is None
    monkeypatch.setattr("tests.test_mutation.VERDICTS", Counter(caught=8, survivor=1, equivalent=2))
    monkeypatch.setattr("tests.test_mutation.JUDGED", {"Tanh", "ReLU"})
    assert score() == "mutation score: 8 of 9 mutants of 2 gates caught (2 further ones are equivalent by value)"


def test_lines_are_printed_under_one_heading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line that there is, and no heading without one."""
    printed: list[str] = []
    reporter: Any = SimpleNamespace(section=printed.append, line=printed.append)
    monkeypatch.setattr(conftest, "LINES", [lambda: None])
    conftest.pytest_terminal_summary(reporter)
    assert printed == []
    monkeypatch.setattr(conftest, "LINES", [lambda: None, lambda: "a line"])
    conftest.pytest_terminal_summary(reporter)
    assert printed == ["measured", "a line"]
