"""check_gate itself: what it must catch, what its report says, and whom it must not blame."""

from __future__ import annotations

import inspect
import io
import math
import re
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rich.console import Console

from gates import (
    ELU,
    GELU,
    AddGate,
    ConcatenateGate,
    DivideGate,
    ElementwiseGate,
    ElementwiseProductGate,
    ExpGate,
    Gate,
    GateError,
    GatherGate,
    LeakyReLU,
    LogGate,
    MaximumGate,
    MinimumGate,
    MultiplyGate,
    NegateGate,
    PowerGate,
    ReLU,
    Report,
    ReshapeGate,
    Sigmoid,
    SiLU,
    Softmax,
    SoftmaxLayer,
    Softplus,
    SquaredError,
    SubtractGate,
    SumGate,
    Tanh,
    check_gate,
)
from gates.checking.checks import CHECKS
from gates.checking.slopes import EPSILON, Analytic, measure, rounding_noise, scales
from gates.contract import run_backward
from tests.gate_table import ROWS, Array, Row

RNG = np.random.default_rng(7)
X = RNG.standard_normal((3, 4))
Y = RNG.standard_normal((3, 4)) + 3.0

GRADIENT = "gradient is right"
MESSAGE = re.compile(
    r"^backward's gradient of input (?P<input>\w+) \((?P<number>\d) of (?P<count>\d)\) is wrong in "
    r"(?P<wrong>\d+) of (?P<size>\d+) elements, most at (?P<name>\w+)(?:\[(?P<at>[\d, ]+)\])?: "
    r"expected (?P<expected>\S+) \(measured\), got (?P<got>\S+)$",
    re.MULTILINE,
)


# Of large inputs the place is named, and then what is wrong in a part of them.
MESSAGE_OF_PART = re.compile(
    r"^backward's gradient of input (?P<input>\w+) is wrong at \w+\[(?P<place>[\d, ]+)\]\n"
    r"example: [^\n]*?(?P<shape>\([\d, ]+\)) \(given\)\n"
    r"in a part of it, [^\n]*?(?P<part>\([\d, ]+\)) \(a part\): "
    r"backward's gradient of input \w+ \(\d of \d\) is wrong in (?P<wrong>\d+) of (?P<size>\d+) elements, "
    r"most at \w+\[[\d, ]+\]: "
    r"expected (?P<expected>\S+) \(measured\), got (?P<got>\S+)$",
    re.MULTILINE,
)


def found(report: Report, check: str) -> str:
    """Return what a report says of one check."""
    (message,) = (result.message for result in report.results if result.name == check)
    return message


def status(report: Report) -> dict[str, str]:
    """Return passed, failed or skipped for every check."""
    return {result.name: result.status for result in report.results}


def blame(gate: Gate, *inputs: Any, **options: Any) -> re.Match[str]:
    """Return the parts of the message of a wrong gradient, which must come."""
    report = check_gate(gate, *inputs, **options)
    assert GRADIENT in report.failed, f"not blamed: {report}"
    match = MESSAGE.search(found(report, GRADIENT))
    assert match, f"not the message of a wrong gradient: {report}"
    return match


# --- Wrong gates ------------------------------------------------------------------------------------------------------


class Pointwise(Gate):
    """A gate of one input whose forward and backward the test gives."""

    def __init__(self, forward: Callable[[Array], Any], backward: Callable[[Array, Array], Any]) -> None:
        self._forward, self._backward = forward, backward

    def forward(self, X):
        return self._forward(X)

    def backward(self, X, dZ):
        return self._backward(X, dZ)

    def __repr__(self) -> str:
        return "Pointwise()"


class Planted(Gate):
    """A gate of one input whose backward another function has spoilt."""

    def __init__(self, gate: Gate, spoil: Callable[[Array, Array], Any]) -> None:
        self.gate, self.spoil = gate, spoil

    def forward(self, X):
        return self.gate.forward(X)

    def backward(self, X, dZ):
        return self.spoil(self.gate.backward(X, dZ), dZ)


class PlantedPair(Gate):
    """The product of W and X with a backward given by the test."""

    def __init__(self, back: Callable[[Array, Array, Array], Any]) -> None:
        self.back = back

    def forward(self, W, X):
        return W * X

    def backward(self, W, X, dZ):
        return self.back(W, X, dZ)


class SpoiltElement(Gate):
    """A gate whose gradient of one input is 1.001 times too large at one element."""

    def __init__(self, gate: Gate, k: int, at: int) -> None:
        self.gate, self.k, self.at = gate, k, at

    def forward(self, *inputs):
        return self.gate.forward(*inputs)

    def backward(self, *arguments):
        gradients = [np.array(g) for g in run_backward(self.gate, arguments[:-1], arguments[-1])]
        spoilt = gradients[self.k]
        if spoilt.size > self.at:
            spoilt.flat[self.at] *= 1.001
        return tuple(gradients)


def _first_element(dX: Array, _dZ: Array) -> Array:
    dX = dX.copy()
    dX[1, 2] *= 1.01
    return dX


WRONG = {
    "1.001 times too large": lambda dX, _dZ: 1.001 * dX,
    "1.001 times too small": lambda dX, _dZ: dX / 1.001,
    "wrong sign": lambda dX, _dZ: -dX,
    "twice": lambda dX, _dZ: 2 * dX,
    "ignores the upstream gradient": lambda dX, dZ: dX / dZ,
    "zeros": lambda dX, _dZ: np.zeros_like(dX),
    "rows swapped": lambda dX, _dZ: dX[::-1],
    "constant added": lambda dX, _dZ: dX + 1e-3,
    "one element": _first_element,
    "nan": lambda dX, _dZ: np.full_like(dX, np.nan),
    "inf": lambda dX, _dZ: np.full_like(dX, np.inf),
    "one nan": lambda dX, _dZ: np.where(np.arange(4) == 2, np.nan, dX),
}


@pytest.mark.parametrize("gate", [Tanh(), Sigmoid(), ExpGate(), SoftmaxLayer()], ids=repr)
@pytest.mark.parametrize("spoil", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("seed", range(2))
def test_wrong_gradient_is_caught(gate: Gate, spoil: Callable[[Array, Array], Any], seed: int) -> None:
    """Each planted error is found, whatever the upstream gradient."""
    match = blame(Planted(gate, spoil), X, random_state=seed)
    assert (match["input"], match["number"], match["count"], match["size"]) == ("X", "1", "1", "12")
    assert 0 < int(match["wrong"]) <= 12


def test_softmax_with_zero_gradient_is_caught() -> None:
    """The sum of a softmax never changes, so a checker with an upstream gradient of ones would pass this one."""

    class ZeroSoftmax(SoftmaxLayer):
        def backward(self, X, dZ):
            return np.zeros_like(dZ)

    report = check_gate(ZeroSoftmax(), X)
    assert GRADIENT in report.failed
    assert [d.kind for d in report.diagnoses] == ["no gradient"]


def test_softmax_without_its_jacobian_is_caught() -> None:
    """Only the diagonal of the Jacobian is not the Jacobian."""

    class DiagonalSoftmax(SoftmaxLayer):
        def backward(self, X, dZ):
            Z = self.forward(X)
            return Z * (1 - Z) * dZ

    assert [d.kind for d in check_gate(DiagonalSoftmax(), X).diagnoses] == ["diagonal only"]


@pytest.mark.parametrize(
    ("back", "name", "number"),
    [
        (lambda W, X, dZ: (X * dZ, 1.001 * W * dZ), "X", "2"),
        (lambda W, X, dZ: (1.001 * X * dZ, W * dZ), "W", "1"),
        (lambda W, X, dZ: (W * dZ, X * dZ), "W", "1"),
        (lambda _W, X, dZ: (X * dZ, None), "X", "2"),
    ],
)
def test_the_input_that_is_wrong_is_named(back: Callable[..., Any], name: str, number: str) -> None:
    """Of two inputs the message names the one whose gradient is wrong."""
    match = blame(PlantedPair(back), X, Y)
    assert (match["input"], match["number"], match["count"], match["name"]) == (name, number, "2", name)


def test_broadcast_input_is_checked_in_its_own_shape() -> None:
    """The gradient of a row that was broadcast is added up, then compared with the slopes of that row."""
    right = PlantedPair(lambda W, X, dZ: (X * dZ, W * dZ))
    assert check_gate(right, X, Y[0])
    assert check_gate(right, X[:, :1], Y)
    assert check_gate(right, 2.0, Y)
    match = blame(PlantedPair(lambda W, X, dZ: (X * dZ, (W * dZ).mean(axis=0))), X, Y[0])
    assert (match["input"], match["size"]) == ("X", "4")


@pytest.mark.parametrize("seed", range(5))
def test_the_message_tells_the_truth(seed: int) -> None:
    """Expected and got are the analytic gradient, and the one that came, for a dZ that backward was really given."""
    calls = []

    def spoil(dX: Array, dZ: Array) -> Array:
        wrong = _first_element(dX, dZ)
        calls.append((dZ.copy(), wrong.copy()))
        return wrong

    match = blame(Planted(Tanh(), lambda dX, dZ: spoil(dX, dZ) if dX.shape == (3, 4) else dX), X, random_state=seed)
    assert (match["at"], match["wrong"]) == ("1, 2", "1")
    assert float(match["got"]) == pytest.approx(1.01 * float(match["expected"]), rel=1e-6)
    got = float(match["got"])
    used = [dZ for dZ, wrong in calls if math.isclose(wrong[1, 2], got, rel_tol=1e-6)]
    true = [(1 - math.tanh(X[1, 2]) ** 2) * dZ[1, 2] for dZ in used]
    assert any(math.isclose(t, float(match["expected"]), rel_tol=1e-6) for t in true)


def test_the_element_that_is_furthest_off_is_named() -> None:
    """Of several wrong elements the message counts all, and names the one with the largest error; nan comes first."""
    error = np.zeros((3, 4))
    error[0, 1], error[2, 3], error[1, 0] = 0.1, -0.5, 0.2
    match = blame(Planted(Tanh(), lambda dX, _dZ: dX + error[: len(dX)]), X)
    assert (match["at"], match["wrong"]) == ("2, 3", "3")
    assert float(match["got"]) - float(match["expected"]) == pytest.approx(-0.5, rel=1e-6)
    error[1, 1] = np.nan
    match = blame(Planted(Tanh(), lambda dX, _dZ: dX + error[: len(dX)]), X)
    assert (match["at"], match["wrong"], match["got"]) == ("1, 1", "4", "nan")


def test_an_input_without_axes_has_no_element() -> None:
    """A scalar is named without brackets."""
    match = blame(Planted(Tanh(), lambda dX, _dZ: -dX), 0.5)
    assert (match["name"], match["at"]) == ("X", None)


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint8, np.float32, np.float16])
def test_inputs_of_other_dtypes_are_checked(dtype: type) -> None:
    """Whole numbers, and narrow floats, are checked at their values in float64."""
    values = np.array([[1, 2, 3], [4, 5, 2]]).astype(dtype)
    assert check_gate(ElementwiseProductGate(), values, values)
    assert check_gate(SquaredError(), values, values + 1)
    assert blame(PlantedPair(lambda W, X, dZ: (X * dZ, -W * dZ)), values, values)["input"] == "X"


@pytest.mark.parametrize(
    ("gate", "inputs"),
    [
        (ElementwiseProductGate(), ([True, False], [True, True])),
        (SquaredError(), ([True, False], [1.0, 2.0])),
        (PowerGate(), ([1, 2], [-1, 2])),
    ],
)
def test_whole_numbers_are_numbers(gate: Gate, inputs: tuple[Any, ...]) -> None:
    """What NumPy refuses for booleans or whole numbers only is no reason to prove nothing."""
    report = check_gate(gate, *inputs)
    assert report, report


def test_lists_and_numbers_are_inputs() -> None:
    """Inputs may be written as lists and numbers."""
    assert check_gate(MultiplyGate(), [[1, 2], [3, 4]], [[0.5, 1]])
    assert check_gate(ElementwiseProductGate(), 2, 3.0)
    blame(Planted(Tanh(), lambda dX, _dZ: -dX), [1, 2, 3])


# --- Small beside large -----------------------------------------------------------------------------------------------


class ScaledConcatenation(Gate):
    """``Z = [a, b]`` with the gradient of b times a factor."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def forward(self, a, b):
        return np.concatenate([a, b])

    def backward(self, a, b, dZ):
        return dZ[: len(a)], self.factor * dZ[len(a) :]


@pytest.mark.parametrize("large", [1e7, 1e9, 1e11, 1e13])
@pytest.mark.parametrize("factor", [1.0, 1.001, 0.0, -1.0])
def test_large_values_of_another_input_hide_nothing(large: float, factor: float) -> None:
    """At [1e13] and [1.0] the gradient of the second is checked as well as if it stood alone."""
    report = check_gate(ScaledConcatenation(factor), [large], [1.0])
    assert report.passed == (factor == 1.0)
    if factor != 1.0:
        assert MESSAGE.search(found(report, GRADIENT))["input"] == "b"  # type: ignore[index] # None fails too


@pytest.mark.parametrize("offset", [1e6, 1e8, 1e10])
@pytest.mark.parametrize("factor", [1.0, 1.001, 1.1])
def test_a_large_constant_in_the_output_hides_nothing(offset: float, factor: float) -> None:
    """sin(X) + 1e6 keeps ten digits of the sine, and they are enough for a factor of 1.001."""
    gate = Pointwise(lambda X: np.sin(X) + offset, lambda X, dZ: factor * np.cos(X) * dZ)
    assert check_gate(gate, [0.3, 1.0, 2.0]).passed == (factor == 1.0)


@pytest.mark.parametrize("largest", [20.0, 25.0, 30.0])
@pytest.mark.parametrize("factor", [1.0, 1.001, 2.0])
def test_a_large_slope_beside_a_small_one_hides_nothing(largest: float, factor: float) -> None:
    """exp(30) has a slope 1e13 times that of exp(0.5), whose error must show."""
    gate = Pointwise(np.exp, lambda X, dZ: np.where(X < 20, factor, 1.0).astype(X.dtype) * np.exp(X) * dZ)
    report = check_gate(gate, [0.5, 1.0, largest])
    assert report.passed == (factor == 1.0)


def test_a_small_slope_beside_a_large_one_is_told_truly() -> None:
    """The count is not zero, and no diagnosis calls the wrong gradient 1 times the right one."""
    gate = Pointwise(np.exp, lambda X, dZ: np.where(X < 20, 1.001, 1.0).astype(X.dtype) * np.exp(X) * dZ)
    report = check_gate(gate, [0.5, 1.0, 30.0])
    assert int(MESSAGE.search(found(report, GRADIENT))["wrong"]) > 0  # type: ignore[index] # None fails too
    assert not any(" 1 times the right one" in str(d) for d in report.diagnoses)


@pytest.mark.parametrize("scale", [1e-9, 1e-6, 1e-3, 1.0, 1e3, 1e6, 1e9])
@pytest.mark.parametrize("factor", [-1.0, 0.0, 1.001, 2.0])
def test_wrong_gradient_is_caught_at_any_scale(scale: float, factor: float) -> None:
    """A gate with small or large slopes is no less wrong."""

    def slope(X: Array) -> Array:
        return scale * (1 - np.tanh(X) ** 2)

    assert check_gate(Pointwise(lambda X: scale * np.tanh(X), lambda X, dZ: slope(X) * dZ), X)
    blame(Pointwise(lambda X: scale * np.tanh(X), lambda X, dZ: factor * slope(X) * dZ), X)


@pytest.mark.parametrize("value", [1e-6, 1e-3, 1.0, 1e3, 1e6])
@pytest.mark.parametrize(
    ("gate", "arguments"),
    [
        (Tanh(), lambda v: [v]),
        (Sigmoid(), lambda v: [v]),
        (LogGate(), lambda v: [v]),
        (ElementwiseProductGate(), lambda v: [v, 3.0]),
        (DivideGate(), lambda v: [3.0, v]),
        (DivideGate(), lambda v: [v, 3.0]),
        (PowerGate(), lambda v: [v, 2.0]),
        (PowerGate(), lambda v: [v, 0.5]),
        (PowerGate(), lambda v: [v, -1.0]),
        (SumGate(), lambda v: [v, -v, 2 * v]),
        (SoftmaxLayer(), lambda v: [v, -v, 0.5]),
        (SquaredError(), lambda v: [v, 0.0]),
    ],
    ids=lambda x: repr(x) if isinstance(x, Gate | float) else "",
)
def test_right_gates_at_small_and_large_values(
    gate: Gate, arguments: Callable[[float], list[float]], value: float
) -> None:
    """Values of 1e-6 and of 1e6 are measured with a step that suits them."""
    given_values = arguments(value)
    single = isinstance(gate, SumGate | SoftmaxLayer)
    inputs = [np.array(given_values)] if single else [np.array([v]) for v in given_values]
    report = check_gate(gate, *inputs)
    assert report, report


@pytest.mark.parametrize("value", [1e-8, -1e-8, 1e-9, 1e-12])
def test_right_gates_close_to_a_pole(value: float) -> None:
    """1/x close to 0 is smooth on the scale of x."""
    report = check_gate(DivideGate(), [1.0], [value])
    assert report, report


@pytest.mark.parametrize("value", [1e-12, 1e-16, 1e-20, 1e-30, 1e-100])
def test_right_gates_at_tiny_values(value: float) -> None:
    """X^2 at 1e-30 has the slope 2e-30."""
    report = check_gate(Pointwise(_square, _twice), [value])
    assert report, report


def test_exp_at_twenty() -> None:
    """exp(20) is 5e8, and so is its slope."""
    assert check_gate(ExpGate(), [20.0, -20.0, 0.0, 1e-6])


@pytest.mark.parametrize("gate", [SumGate(), SquaredError(), SquaredError(reduction="sum")], ids=repr)
def test_sum_of_ten_thousand_terms(gate: Gate) -> None:
    """What many other terms add to the output does not drown the slope to one."""
    many = np.random.default_rng(0).uniform(-3, 3, 10_000)
    assert check_gate(gate, *([many] if isinstance(gate, SumGate) else [many, many[::-1].copy()]))


def test_ten_thousand_large_terms() -> None:
    """Terms of a thousand, ten thousand of them."""
    assert check_gate(SumGate(), 1000 + np.random.default_rng(0).uniform(0, 1, 10_000))


def test_a_million_terms() -> None:
    """A sum of a million terms is right, and 1.001 times its gradient is wrong."""
    many = np.random.default_rng(0).uniform(-3, 3, 1_000_000)
    assert check_gate(SumGate(), many)
    report = check_gate(Pointwise(lambda X: np.asarray(X.sum()), lambda X, dZ: 1.001 * np.full(X.shape, dZ)), many[:99])
    assert [d.kind for d in report.diagnoses] == ["constant factor"]


@pytest.mark.parametrize("row", ROWS, ids=Row.name)
@pytest.mark.parametrize("seed", [11, 12])
def test_no_right_gate_is_blamed(row: Row, seed: int) -> None:
    """Every gate of the table passes, at other inputs and other upstream gradients than its own tests use."""
    report = check_gate(row.gate, *row.inputs(np.random.default_rng(seed)), random_state=seed)
    assert report, report


# --- Kinks ------------------------------------------------------------------------------------------------------------


def absolute(at_zero: float = 0.0, beside: float = 1.0) -> Gate:
    """Make |X| with a slope of its own at 0, and the right one times a factor elsewhere."""
    return Pointwise(np.abs, lambda X, dZ: np.where(X == 0, at_zero, beside * np.sign(X)).astype(X.dtype) * dZ)


def rectifier(at_zero: float = 0.0, beside: float = 1.0) -> Gate:
    """Make max(X, 0) with a slope of its own at 0, and the right one times a factor elsewhere."""
    return Pointwise(
        lambda X: np.maximum(X, 0), lambda X, dZ: np.where(X == 0, at_zero, beside * (X > 0)).astype(X.dtype) * dZ
    )


def leaning(at_zero: float) -> Gate:
    """Make X + |X| / 100 with a slope of its own at 0."""
    return Pointwise(
        lambda X: X + 0.01 * np.abs(X),
        lambda X, dZ: np.where(X == 0, at_zero, 1 + 0.01 * np.sign(X)).astype(X.dtype) * dZ,
    )


def _pool(X: Array) -> Array:
    return X.reshape(*X.shape[:-1], -1, 2).max(axis=-1)


def pooling(spoil: float = 1.0, other: bool = False) -> Gate:
    """Make a maximum over pairs; at a tie the gradient goes to the first, or wrongly always to the smaller."""

    def back(X: Array, dZ: Array) -> Array:
        pairs = X.reshape(*X.shape[:-1], -1, 2)
        dX = np.zeros_like(pairs)
        winner = (pairs.argmin if other else pairs.argmax)(axis=-1)[..., None]
        np.put_along_axis(dX, winner, spoil * dZ[..., None], axis=-1)
        return dX.reshape(X.shape)

    return Pointwise(_pool, back)


TIES = np.array([[1.0, 1.0, 0.5, 2.0], [3.0, 1.0, -1.0, -1.0]])


@pytest.mark.parametrize(
    ("gate", "inputs", "kinks"),
    [
        (ReLU(), ([1.0, 0.0, -1.0],), 1),
        (ReLU(), ([0.0],), 1),
        (ReLU(), (np.zeros((2, 3)),), 6),
        (LeakyReLU(), ([0.0, 0.5, 0.0],), 2),
        (absolute(), ([0.0, 1.0, -1.0],), 1),
        (absolute(1.0), ([1.0, 0.0],), 1),
        (absolute(-1.0), ([1.0, 0.0],), 1),
        (absolute(0.3), ([1.0, 0.0],), 1),
        (rectifier(0.5), ([-1.0, 0.0],), 1),
        (rectifier(1.0), ([-1.0, 0.0],), 1),
        # Each of two inputs meets the kink.
        (MaximumGate(), ([1.0, 2.0, 3.0], [1.0, 2.5, 3.0]), 4),
        (MinimumGate(), ([1.0, 2.0, 3.0], [1.0, 2.5, 3.0]), 4),
        (pooling(), (TIES,), 2),
    ],
)
def test_kinks_are_reported_and_not_blamed(gate: Gate, inputs: tuple[Any, ...], kinks: int) -> None:
    """At a kink any value between the one-sided slopes is right, and the report counts the kinks."""
    report = check_gate(gate, *inputs)
    assert report, report
    plural = "" if kinks == 1 else "s"
    assert f"; {kinks} kink{plural}, and between the one-sided slopes there" in found(report, GRADIENT)


@pytest.mark.parametrize(
    ("gate", "inputs"),
    [
        (rectifier(-0.1), ([1.0, 0.0, -1.0],)),
        (rectifier(1.1), ([1.0, 0.0, -1.0],)),
        (rectifier(2.0), (np.zeros((2, 3)),)),
        (absolute(1.5), ([0.0],)),
        (absolute(-1.01), ([3.0, 0.0],)),
        (leaning(0.9), ([0.0, 1.0],)),
        (leaning(1.02), ([0.0, 1.0],)),
        (Pointwise(np.abs, lambda X, dZ: np.where(X == 0, np.nan, np.sign(X)).astype(X.dtype) * dZ), ([0.0, 1.0],)),
        # Right or free at the kink, wrong beside it: among the inputs given, or where there is none.
        (rectifier(0.0, 1.01), ([1.0, 0.0, -1.0],)),
        (rectifier(0.0, 1.01), (np.zeros((2, 3)),)),
        (absolute(0.0, -1.0), (np.zeros(4),)),
        (pooling(1.01), (TIES,)),
        (pooling(1.01), (np.ones((2, 4)),)),
        (pooling(other=True), (np.ones((2, 4)),)),
        (pooling(other=True), (TIES,)),
    ],
)
def test_what_is_wrong_at_a_kink_or_beside_it_is_blamed(gate: Gate, inputs: tuple[Any, ...]) -> None:
    """A value outside of the one-sided slopes is wrong, and a kink excuses nothing beside it."""
    assert GRADIENT in check_gate(gate, *inputs).failed


def test_beside_a_kink_of_the_gates_own_examples() -> None:
    """Where all elements of all examples are kinks, the places beside them are looked at."""

    class AtZero(Pointwise):
        def examples(self, _rng):
            return [(np.zeros(3),)]

    def gate(factor: float) -> Gate:
        return AtZero(lambda X: np.maximum(X, 0), lambda X, dZ: (factor * (X > 0)).astype(X.dtype) * dZ)

    assert check_gate(gate(1.0))
    match = blame(gate(1.01))
    assert float(match["got"]) == pytest.approx(1.01 * float(match["expected"]), rel=1e-6)


def test_a_wrong_value_at_a_kink_is_named() -> None:
    """The element of Z that has the kink is named, with its one-sided slopes along a direction and what came."""
    report = check_gate(rectifier(1.5), [1.0, 0.0, -1.0])
    assert report.failed == (GRADIENT,)
    match = re.search(
        r"gradient of input X: Z\[1\] has a kink here, and along a direction one-sided slopes of (\S+) and (\S+); "
        r"backward gives (\S+), which is not between them\nexample: X \(3,\) \(given\)$",
        found(report, GRADIENT),
    )
    assert match, report
    lower, upper, got = map(float, match.groups())
    assert min(abs(lower), abs(upper)) == pytest.approx(0.0, abs=1e-9)
    assert got == pytest.approx(1.5 * (lower + upper), rel=1e-6)


@pytest.mark.parametrize("value", [0.0, [[0.0]]])
def test_a_kink_without_axes(value: Any) -> None:
    """A scalar may be at a kink."""
    assert check_gate(ReLU(), value)


@pytest.mark.parametrize("size", [1e-3, 1e-5, 1e-7, 1e-9, 1e-12])
def test_values_close_to_a_kink_have_one_slope(size: float) -> None:
    """ReLU at 1e-12 has slope 1, whatever is at 0: it is measured, and an error of 1.001 is found."""
    values = [size, -size, 1.0]
    report = check_gate(ReLU(), values)
    assert report, report
    assert "kink" not in found(report, GRADIENT)
    blame(rectifier(0.0, 1.001), values)


# --- Every check ------------------------------------------------------------------------------------------------------


class WritesInput(Gate):
    """A ReLU that works in its input."""

    def forward(self, X):
        X[X < 0] = 0
        return X

    def backward(self, X, dZ):
        return (X > 0) * dZ


class WritesInputBackward(Gate):
    """A ReLU whose backward works in its input."""

    def forward(self, X):
        return np.maximum(X, 0)

    def backward(self, X, dZ):
        X[:] = X > 0
        return X * dZ


class WritesUpstream(Gate):
    """A ReLU whose backward works in the upstream gradient: the most usual slip, and it spoils every fan-out."""

    def forward(self, X):
        return np.maximum(X, 0)

    def backward(self, X, dZ):
        dZ[X < 0] = 0
        return dZ


class Stateful(Gate):
    """A tanh whose backward takes what the last forward left."""

    def forward(self, X):
        self.Z = np.tanh(X)
        return self.Z

    def backward(self, X, dZ):
        return (1 - self.Z * self.Z) * dZ


class Noisy(Gate):
    """A gate with noise of its own."""

    def forward(self, X):
        return X * np.random.default_rng().standard_normal(X.shape)

    def backward(self, X, dZ):
        return dZ


def _raises(*_: Any) -> Any:
    raise RuntimeError("no such thing")


def _globally_random(X: Array) -> Array:
    np.random.standard_normal()  # noqa: NPY002 - the state that must not be used
    return 2 * X


def _widens(X: Array, dZ: Array) -> Array:
    return (2 * X * dZ).astype(np.float64)


def _in_memory_order(X: Array) -> Array:
    return 2 * X.ravel(order="K")


def _needs_rows(least: int, function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    def checked(X: Array) -> Array:
        if len(X) < least:
            raise ValueError("rows are needed")
        return function(X)

    return checked


def _not_large(X: Array) -> Array:
    if np.abs(X).max(initial=0.0) > 50:
        raise ValueError("these are too large")
    return X * X


def _square(X: Array) -> Array:
    return X * X


def _twice(X: Array, dZ: Array) -> Array:
    return 2 * X * dZ


class Unbroadcastable(Gate):
    """A product that fills an array of the shape of X, and so takes no X that is broadcast."""

    def forward(self, X, Y):
        return X * Y

    def backward(self, X, Y, dZ):
        dX = np.empty(X.shape, dZ.dtype)
        dX[...] = Y * dZ
        return dX, X * dZ


class MeanTimesCount(Gate):
    """A sum over rows that is written as a mean, and there is none of no rows."""

    def forward(self, X, b):
        return X + b

    def backward(self, X, b, dZ):
        return dZ, dZ.mean(axis=0) * dZ.dtype.type(len(dZ)) if b.ndim else dZ


RIGHT_SQUARE = Pointwise(_square, _twice)
BROKEN_FORWARD = Pointwise(_raises, _twice)
BROKEN_BACKWARD = Pointwise(_square, _raises)

# Of each check: gates that fail it, with what it then says; and gates of which it has nothing to say, with the reason.
Case = tuple[Gate, tuple[Any, ...], str]
CASES: dict[str, tuple[list[Case], list[Case]]] = {
    "forward runs": ([(BROKEN_FORWARD, (X,), "RuntimeError: no such thing")], []),
    "gradients fit their inputs": (
        [
            (BROKEN_BACKWARD, (X,), "RuntimeError: no such thing"),
            (PlantedPair(lambda _W, _X, dZ: (dZ,)), (X, Y), "must return 2 gradients, .*got 1"),
            (PlantedPair(lambda _W, _X, dZ: (dZ, dZ.T)), (X, Y), r"must have the shape of X, \(3, 4\), got \(4, 3\)"),
            (PlantedPair(lambda _W, _X, dZ: (dZ, dZ.astype("f4"))), (X, Y), "must have dtype float64, got float32"),
            (PlantedPair(lambda _W, _X, _dZ: (None, None)), (X, Y), "no gradient for any of W, X; is a `return` miss"),
            (Pointwise(_square, lambda _X, _dZ: "2"), (X,), "gradient of X must be an array, got str"),
            (Pointwise(_square, lambda _X, dZ: 2j * dZ), (X,), "gradient of X must have dtype float64, got complex128"),
        ],
        [(BROKEN_FORWARD, (X,), "needs a forward that runs")],
    ),
    "gradient is right": (
        [
            (Pointwise(_square, lambda X, dZ: X * dZ), (X,), "gradient of input X .* is wrong in 12 of 12 elements"),
            (Pointwise(_square, lambda X, dZ: X * dZ), (X,), r"example: X \(3, 4\) \(given\)"),
        ],
        [
            (BROKEN_FORWARD, (X,), "needs a forward that runs"),
            (BROKEN_BACKWARD, (X,), "needs a backward whose gradients fit their inputs"),
        ],
    ),
    "upstream is used": (
        [(Pointwise(_square, lambda X, _dZ: 2 * X), (X,), "gradient of X is the same for two different dZ")],
        [
            (BROKEN_BACKWARD, (X,), "needs a backward whose gradients fit their inputs"),
            (Pointwise(np.sign, lambda _X, dZ: 0 * dZ), (X,), "all gradients are zero"),
        ],
    ),
    "linear in the upstream gradient": (
        [
            (
                Pointwise(_square, lambda X, dZ: 2 * X * dZ + 1),
                (X,),
                r"for dZ = 2 G - 3 H the gradient of X must be 2 g - 3 h, \S+ at X\[0, 0\], got",
            ),
            (
                Pointwise(_square, lambda X, dZ: 2 * X * dZ + (not dZ.any())),
                (X,),
                r"for dZ = 0 the gradient of X must be 0, got 1 at X\[0, 0\]\nexample: X \(3, 4\)",
            ),
            (Pointwise(_square, lambda X, dZ: 2 * X * np.clip(dZ, -0.1, 0.1)), (X,), "for dZ = 2 G - 3 H .* must be"),
        ],
        [(BROKEN_BACKWARD, (X,), "needs a backward whose gradients fit their inputs")],
    ),
    "inputs stay unchanged": (
        [
            (WritesInput(), (-abs(X),), r"forward writes into X: X\[0, 0\] was -\S+ and is 0"),
            (WritesInputBackward(), (X,), r"backward writes into X: X\[0, 0\] was \S+ and is [01]"),
            (WritesUpstream(), (-abs(X),), r"backward writes into dZ: dZ\[0, 0\] was \S+ and is 0"),
        ],
        [(BROKEN_FORWARD, (X,), "needs a forward that runs")],
    ),
    "same answer twice": (
        [
            (Noisy(), (X,), "forward gives another result the second time"),
            (
                Pointwise(_square, lambda X, dZ: 2 * X * dZ * np.random.default_rng().uniform(1, 1.1)),
                (X,),
                "backward gives another gradient of X the second time",
            ),
        ],
        [(BROKEN_FORWARD, (X,), "needs a forward that runs")],
    ),
    "nothing is kept": (
        [(Stateful(), (X,), "the gradient of X is another after forward ran at other inputs")],
        [(BROKEN_FORWARD, (X,), "needs a forward that runs")],
    ),
    "no global randomness": (
        [(Pointwise(_globally_random, lambda _X, dZ: 2 * dZ), (X,), "draws from the global generator")],
        [(BROKEN_FORWARD, (X,), "needs a forward that runs")],
    ),
    "float32 stays float32": (
        [
            (Pointwise(lambda X: np.sqrt(2.0) * X, lambda _X, dZ: np.sqrt(2.0) * dZ), (X,), "must return float32"),
            (Pointwise(_square, _widens), (X,), "gradient of X must have dtype float32, got float64"),
        ],
        [(BROKEN_FORWARD, (X,), "needs a forward that runs")],
    ),
    "non-contiguous inputs": (
        [
            (
                Pointwise(_in_memory_order, lambda X, dZ: 2 * dZ.reshape(X.shape)),
                (X,),
                r"forward gives another result for inputs in column order: expected \S+ at \[\d+\], got",
            ),
            (
                Pointwise(_square, lambda X, dZ: (2 * X * dZ).ravel(order="K").reshape(X.shape)),
                (X,),
                r"the gradient of X is another for inputs in column order: expected \S+ at \[\d, \d\], got",
            ),
        ],
        [(BROKEN_FORWARD, (X,), "needs a forward that runs")],
    ),
    "zero-size inputs": (
        [
            (
                Pointwise(_square, lambda X, dZ: 2 * X * dZ * (X.min() < 9)),
                (X,),
                "zero-size array to reduction operation minimum",
            ),
            (MeanTimesCount(), (X, Y[0]), "the gradient of b is not finite for no rows"),
        ],
        [
            (Pointwise(_needs_rows(1, _square), _twice), (X,), "no example can be cut to no rows"),
            (RIGHT_SQUARE, (0.5,), "no example can be cut to no rows"),
        ],
    ),
    "one row": (
        [
            (
                Pointwise(lambda X: np.squeeze(2 * X), lambda _X, dZ: 2 * dZ if dZ.ndim > 1 else 3 * dZ[None]),
                (X,),
                "gradient of input X .* is wrong in 4 of 4 elements",
            )
        ],
        [
            (Pointwise(_needs_rows(2, _square), _twice), (X,), "no example can be cut to one row"),
            (Pointwise(_square, lambda X, dZ: X * dZ), (X,), "the gradient is wrong with more rows, too"),
        ],
    ),
    "broadcasting": (
        [
            (Unbroadcastable(), (X, Y), "could not be broadcast|could not broadcast"),
            (
                PlantedPair(lambda W, X, dZ: (X * dZ if W.shape == dZ.shape else 2 * X * dZ, W * dZ)),
                (X, Y),
                r"gradient of input W .* is wrong in \d of \d elements[^$]*W broadcast",
            ),
        ],
        [
            (RIGHT_SQUARE, (X,), "one input"),
            (MultiplyGate(), (np.ones((1, 1)), np.ones((1, 1))), "no more of the inputs can be broadcast"),
            (PlantedPair(lambda W, X, dZ: (X * dZ, 2 * W * dZ)), (X, Y), "the gradient is wrong without broadcasting"),
        ],
    ),
    "extreme inputs": (
        [
            (
                Pointwise(lambda X: np.log(1 + np.exp(X)), lambda X, dZ: dZ / (1 + np.exp(-X))),
                (X,),
                r"forward gives inf at Z\[\S+ \S+\] in float32, and the true value is 100: something overflows",
            ),
            (
                Pointwise(lambda X: np.logaddexp(X, 0), lambda X, dZ: np.exp(X) / (1 + np.exp(X)) * dZ),
                (X,),
                r"the gradient of X is nan at \[\S+ \S+\] in float32, and the true one is \S+: something overflows",
            ),
        ],
        [
            (Pointwise(_not_large, _twice), (X,), r"the forward has no finite value at \+-100 and \+-1000"),
            (BROKEN_BACKWARD, (X,), "needs a backward whose gradients fit their inputs"),
        ],
    ),
}


def test_every_check_has_cases() -> None:
    """The table above covers the list of checks, in its order."""
    assert list(CASES) == [check.name for check in CHECKS]
    for name, (failing, skipped) in CASES.items():
        assert failing, name
        assert skipped or name == "forward runs", name


@pytest.mark.parametrize("check", [c.name for c in CHECKS])
def test_every_check_passes(check: str) -> None:
    """A right gate of two inputs passes every check; none is skipped."""
    report = check_gate(ElementwiseProductGate(), X, Y)
    assert status(report)[check] == "passed"
    assert found(report, check)


@pytest.mark.parametrize(
    ("check", "gate", "inputs", "message"),
    [(check, *case) for check, (failing, _) in CASES.items() for case in failing],
)
def test_every_check_fails(check: str, gate: Gate, inputs: tuple[Any, ...], message: str) -> None:
    """The failing check is in the report, with the place and the numbers, and in what raise_if_failed raises."""
    report = check_gate(gate, *inputs)
    assert check in report.failed
    assert re.search(message, found(report, check), re.DOTALL), found(report, check)
    with pytest.raises(GateError) as caught:
        report.raise_if_failed()
    assert str(caught.value) == str(report)


# What is broken so that only one check can see it; where a gate fails others, too, that is another matter.
ALONE = {"forward runs", "gradient is right", "zero-size inputs", "one row", "broadcasting", "extreme inputs"}


@pytest.mark.parametrize(
    ("check", "gate", "inputs"),
    [(check, case[0], case[1]) for check, (failing, _) in CASES.items() for case in failing if check in ALONE],
)
def test_one_mistake_fails_one_check(check: str, gate: Gate, inputs: tuple[Any, ...]) -> None:
    """What one check says is not said again by the others."""
    assert check_gate(gate, *inputs).failed == (check,)


@pytest.mark.parametrize(
    ("check", "gate", "inputs", "reason"),
    [(check, *case) for check, (_, skipped) in CASES.items() for case in skipped],
)
def test_every_check_is_skipped_with_its_reason(check: str, gate: Gate, inputs: tuple[Any, ...], reason: str) -> None:
    """What does not apply is skipped, and the report says why; that is no failure."""
    report = check_gate(gate, *inputs)
    assert status(report)[check] == "skipped"
    assert re.search(reason, found(report, check)), found(report, check)
    assert check not in report.failed


@pytest.mark.parametrize("gate", [WritesInput(), WritesInputBackward(), WritesUpstream(), Tanh()], ids=repr)
def test_the_callers_arrays_stay_as_they_are(gate: Gate) -> None:
    """Whatever the gate does, it does it to copies."""
    mine = X.copy()
    check_gate(gate, mine)
    np.testing.assert_array_equal(mine, X)
    assert mine.flags.writeable


def test_arrays_of_the_gates_examples_stay_as_they_are() -> None:
    """The arrays that `examples` hands out are copied, too."""
    mine = X.copy()

    class Offering(WritesInput):
        def examples(self, rng):
            return [(mine,)]

    assert "inputs stay unchanged" in check_gate(Offering()).failed
    np.testing.assert_array_equal(mine, X)


@pytest.mark.parametrize("values", [X, np.zeros(3)], ids=["drawn", "zeros"])
def test_gate_that_keeps_values_from_its_forward_is_caught(values: Array) -> None:
    """A gate is run elsewhere between forward and backward, as a gate object in two layers is; at zeros, too."""
    report = check_gate(Stateful(), values)
    assert "nothing is kept" in report.failed


def test_a_value_kept_is_diagnosed() -> None:
    """The attribute is named, and it is shown that the gradient is that of the last forward."""
    (diagnosis,) = check_gate(Stateful(), X).diagnoses
    assert diagnosis.kind == "stale value"
    assert "forward writes self.Z" in diagnosis.text
    assert "it is the gradient at those inputs" in diagnosis.text


def test_an_attribute_of_another_kind_is_seen() -> None:
    """Slots, and lists that are shared by all objects of the class, keep values as well."""

    class Slotted(Gate):
        __slots__ = ("last",)

        def forward(self, X):
            self.last = X.copy()
            return 2 * X

        def backward(self, X, dZ):
            return 2 * dZ

    class Shared(Gate):
        history: list[int] = []  # noqa: RUF012 - the mistake

        def forward(self, X):
            self.history.append(X.size)
            return 2 * X

        def backward(self, X, dZ):
            return 2 * dZ

    for gate, name in ((Slotted(), "last"), (Shared(), "history")):
        assert found(check_gate(gate, X), "nothing is kept").startswith(f"a call changes self.{name};")


def test_constants_may_have_none() -> None:
    """A floating input whose gradient is None needs the gate's word that it is a constant."""

    class Scaled(Gate):
        def forward(self, X, scale):
            return X * scale

        def backward(self, X, scale, dZ):
            return scale * dZ, None

    class ScaledByConstant(Scaled):
        constants = ("scale",)

    report = check_gate(Scaled(), X, 2.0)
    assert MESSAGE.search(found(report, GRADIENT))["input"] == "scale"  # type: ignore[index] # None fails too
    assert [d.kind for d in report.diagnoses] == ["no gradient"]
    assert check_gate(ScaledByConstant(), X, 2.0)


def test_inputs_without_gradient_are_held_fixed() -> None:
    """Labels and row numbers stay integers all the way through the check."""
    assert check_gate(Softmax(), X, [0, 1, 3])
    assert check_gate(GatherGate(), X, [[0, 2], [2, 2]])


@pytest.mark.parametrize("index", [slice(0, 0), slice(1, 3)])
def test_no_output_from_some_input(index: slice) -> None:
    """Of no elements none is wrong."""

    def back(X: Array, dZ: Array) -> Array:
        dX = np.zeros_like(X)
        dX[index] = dZ
        return dX

    gate = Pointwise(lambda X: X[index].copy(), back)
    assert GRADIENT not in check_gate(gate, [1.0, 2.0, 3.0, 4.0]).failed


def test_what_cannot_be_measured_is_no_proof() -> None:
    """Where there is no slope to compare with, that is what the report says."""

    class Root(Pointwise):
        def examples(self, _rng):
            return [(np.zeros(2),)]

    report = check_gate(Root(np.sqrt, lambda X, dZ: X * dZ))
    assert report.failed == (GRADIENT,)
    assert found(report, GRADIENT).startswith("the slopes could not be measured")


@pytest.mark.parametrize(
    ("offset", "factor"),
    [
        (1e10, 2.0),
        (1e10, -1.0),
        (1e10, 0.0),
    ],
)
def test_what_is_lost_in_rounding_is_no_proof(offset: float, factor: float) -> None:
    """Where a measurement would let any gradient pass, the report does not say that it agrees to 2e-16."""
    gate = Pointwise(_only_real(lambda X: np.sin(X) + offset), lambda X, dZ: factor * np.cos(X) * dZ)
    report = check_gate(gate, [0.3, 1.0])
    assert GRADIENT in report.failed or "could not be measured" in found(report, GRADIENT)


@pytest.mark.parametrize("offset", [1e8, 1e10])
def test_complex_steps_see_beside_large_constants(offset: float) -> None:
    """Where the forward is plain NumPy, no digit is lost to a constant: 1.001 is told from 1."""
    for factor in (1.0, 1.001):
        gate = Pointwise(lambda X: np.sin(X) + offset, lambda X, dZ, f=factor: f * np.cos(X) * dZ)  # type: ignore[misc]
        report = check_gate(gate, [0.3, 1.0])
        assert report.passed == (factor == 1.0), report
        if factor == 1.0:
            assert "by complex steps" in found(report, GRADIENT)


def test_nan_is_not_told_three_times() -> None:
    """A gradient of nan does not go with dZ, but that is not what is wrong."""
    report = check_gate(Pointwise(_square, lambda X, _dZ: np.full_like(X, np.nan)), X)
    assert report.failed == (GRADIENT,)


# --- Exceptions -------------------------------------------------------------------------------------------------------


class Divides(Gate):
    """Raises in forward or in backward, by a helper or itself."""

    def __init__(self, where: str) -> None:
        self.where = where

    def forward(self, X):
        if self.where == "forward":
            raise KeyError("forward")  # marked: forward
        if self.where == "helper":
            _helper()
        if self.where == "library":
            np.linalg.inv(np.zeros((2, 2)))  # marked: library
        if self.where == "shapes":
            return X @ np.ones((7, 7))  # marked: shapes
        return 2 * X

    def backward(self, X, dZ):
        if self.where == "backward":
            1 / 0  # noqa: B018 # marked: backward
        return 2 * dZ


def _helper() -> None:
    raise RuntimeError("inside")  # marked: helper


def line_of(mark: str) -> int:
    """Return the number of the line of this file that has a mark."""
    lines = inspect.getsource(inspect.getmodule(line_of)).splitlines()  # type: ignore[arg-type] # it has a module
    (number,) = (i for i, line in enumerate(lines, 1) if line.endswith(f"# marked: {mark}"))
    return number


@pytest.mark.parametrize(
    ("where", "check", "says", "function"),
    [
        ("forward", "forward runs", "KeyError: 'forward'", "forward"),
        ("helper", "forward runs", "RuntimeError: inside", "_helper"),
        ("library", "forward runs", "Singular matrix", "forward"),
        ("shapes", "forward runs", r"Divides: forward failed for inputs X \(3, 4\): ", "forward"),
        ("backward", "gradients fit their inputs", "ZeroDivisionError: division by zero", "backward"),
    ],
)
def test_exceptions_are_told_with_their_line(where: str, check: str, says: str, function: str) -> None:
    """The report has the exception, the line of the user's own file, its code, and the example."""
    report = check_gate(Divides(where), X)
    message = found(report, check)
    assert report.failed == (check,)
    assert re.search(says, message)
    assert f"at line {line_of(where)} of test_checking.py, in {function}: " in message
    assert f"# marked: {where}" in message
    assert message.endswith("example: X (3, 4) (given)")


@pytest.mark.parametrize("where", ["forward", "helper", "library"])
def test_no_other_check_runs_without_a_forward(where: str) -> None:
    """When the forward does not run the others have nothing to say."""
    statuses = list(status(check_gate(Divides(where), X)).values())
    assert statuses == ["failed"] + ["skipped"] * (len(CHECKS) - 1)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_is_none_of_the_gates_mistakes(error: type[BaseException]) -> None:
    """Ctrl-C stops the proof."""

    def interrupted(_X: Array) -> Array:
        raise error

    with pytest.raises(error):
        check_gate(Pointwise(interrupted, _twice), X)


def test_a_mistake_in_the_forward_is_told_without_inputs() -> None:
    """No shape mends a name that is not defined, so it is not called a matter of shapes."""

    class Misspelt(Gate):
        def forward(self, X):
            return np.tanh(Xx)  # noqa: F821 - the mistake

        def backward(self, X, dZ):
            return dZ

    message = found(check_gate(Misspelt()), "forward runs")
    assert message.startswith("NameError: name 'Xx' is not defined\nat line ")


def test_an_exception_only_at_a_part_does_not_hide_what_was_found() -> None:
    """The gate may refuse the part that is cut out of large inputs; then the place is named without it."""

    def back(X: Array, dZ: Array) -> Array:
        dX = 2 * X * dZ
        if len(X) not in {0, 1, 30}:
            raise ZeroDivisionError("only here")
        if len(X) == 30:
            dX[3, 4] *= 1.01
        return dX

    report = check_gate(Pointwise(_square, back), np.random.default_rng(0).uniform(1, 2, (30, 40)))
    assert "X[3, 4]" in found(report, GRADIENT)


# --- Bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        (Tanh, r"^check_gate proves a Gate, got <class 'gates\.layers\.Tanh'>; write Tanh\(\)$"),
        (np.tanh, r"^check_gate proves a Gate, got <ufunc 'tanh'>$"),
        ("Tanh", r"^check_gate proves a Gate, got 'Tanh'$"),
        (None, r"^check_gate proves a Gate, got None$"),
        (int, r"^check_gate proves a Gate, got <class 'int'>$"),
    ],
    ids=repr,
)
def test_what_is_no_gate_is_a_type_error(thing: Any, message: str) -> None:
    """A class instead of an instance, a function, a name: the message says what came."""
    with pytest.raises(TypeError, match=message):
        check_gate(thing, X)


@pytest.mark.parametrize(
    ("gate", "inputs", "message"),
    [
        (Tanh(), (X, X), r"Tanh takes 1 input \(X\), got 2"),
        (AddGate(), (X,), r"AddGate takes 2 inputs \(X, b\), got 1"),
        (AddGate(), (X, X, X), r"AddGate takes 2 inputs \(X, b\), got 3"),
        (Tanh(), (["a"],), "input X must be an array of real numbers, got list with strings"),
        (Tanh(), (None,), "input X must be an array of real numbers, got NoneType"),
        (Tanh(), ([[1.0], [1.0, 2.0]],), "input X must be an array of numbers, got rows of unequal length"),
        (Tanh(), (np.ma.array([1.0]),), "input X must be a plain array, got a masked one"),
        (Tanh(), ([1j],), "input X must be an array of real numbers, got list with dtype complex128"),
        (AddGate(), (X, X + 0j), "input b must be an array of real numbers, got ndarray with dtype complex128"),
        (Tanh(), ([1.0, np.nan],), "input X must be finite, got nan"),
        (AddGate(), (X, np.full(4, -np.inf)), "input b must be finite, got -inf"),
        (Tanh(), (np.empty((0, 3)),), r"Tanh: X \(0, 3\) hold no element, so there is nothing to prove"),
        (AddGate(), (np.empty((0, 3)), []), r"AddGate: X \(0, 3\), b \(0,\) hold no element"),
        (
            PlantedPair(lambda _W, _X, _dZ: (None, None)),
            ([1, 2], [3, 4]),
            "none of its inputs has a gradient, so there is nothing to prove; got W int64, X int64; write the numbers",
        ),
    ],
    ids=str,
)
def test_inputs_that_cannot_be_used(gate: Gate, inputs: tuple[Any, ...], message: str) -> None:
    """Inputs that say nothing of the gate are an error of the caller, not of the gate."""
    with pytest.raises(GateError, match=message):
        check_gate(gate, *inputs)


@pytest.mark.parametrize(
    ("gate", "inputs", "message"),
    [
        (AddGate(), (X, np.ones(3)), r"AddGate: forward failed for inputs X \(3, 4\), b \(3,\)"),
        (Softmax(), (X, [0, 1, 9]), r"Softmax: labels must be in 0\.\.3, got 9 at position 2"),
        (ExpGate(), ([1.0, 1e3],), r"forward is not finite here: Z\[1\] is inf; prove it at inputs where it is def"),
        (LogGate(), ([-1.0],), r"forward is not finite here: Z\[0\] is nan"),
    ],
)
def test_inputs_that_the_forward_does_not_take(gate: Gate, inputs: tuple[Any, ...], message: str) -> None:
    """What the forward says of inputs is in the report."""
    report = check_gate(gate, *inputs)
    assert report.failed == ("forward runs",)
    assert re.search(message, found(report, "forward runs"))


NO_ARRAYS = {
    "None": (None, "must be an array, got NoneType"),
    "list": ([1.0, 2.0], "must be an array, got list"),
    "tuple": ((1.0, 2.0), "must be an array, got tuple"),
    "string": ("12", "must be an array, got str"),
    "dict": ({}, "must be an array, got dict"),
    "complex number": (3j, "must be an array, got complex"),
    "complex array": (np.ones(2) * 1j, "must be an array of real numbers, got dtype complex128"),
    "array of strings": (np.array(["1", "2"]), "must be an array of real numbers, got dtype <U1"),
    "array of objects": (np.array([None, None]), "must be an array of real numbers, got dtype object"),
}


@pytest.mark.parametrize(("output", "message"), NO_ARRAYS.values(), ids=NO_ARRAYS)
@pytest.mark.parametrize("inputs", [([1.0, 2.0],), ()], ids=["given", "found"])
def test_an_output_that_is_no_array(output: Any, message: str, inputs: tuple[Any, ...]) -> None:
    """The forward must return an array of real numbers; the report says what came instead."""
    report = check_gate(Pointwise(lambda _X: output, lambda _X, dZ: dZ), *inputs)
    assert report.failed == ("forward runs",)
    assert f"Pointwise: forward's result {message}" in found(report, "forward runs")


@pytest.mark.parametrize(("output", "_message"), NO_ARRAYS.values(), ids=NO_ARRAYS)
def test_a_gradient_that_is_no_array(output: Any, _message: str) -> None:
    """The backward must return arrays of real numbers, too, and whatever comes instead is in the report."""
    report = check_gate(Pointwise(lambda X: 2 * X, lambda _X, _dZ: output), [1.0, 2.0])
    assert report.failed == ("gradients fit their inputs",)


def test_a_gradient_of_strings_in_another_shape() -> None:
    """What cannot be compared needs no explanation."""
    report = check_gate(Pointwise(lambda X: 2 * X, lambda _X, _dZ: np.array("a")), [1.0, 2.0])
    assert report.failed == ("gradients fit their inputs",)


class Offering(Tanh):
    """A tanh with examples of its own."""

    def __init__(self, offer: Any) -> None:
        self.offer = offer

    def examples(self, _rng):
        return self.offer


@pytest.mark.parametrize(
    ("offer", "message"),
    [
        (None, r"examples\(self, rng\) must return one or more tuples of inputs, as \[\(X, W\), .*\], got NoneType$"),
        (np.ones(3), "got ndarray$"),
        (5, "got int$"),
        ("ab", "got str$"),
        ([], "got none$"),
        ({}, "got none$"),
        ([np.ones(3)], "got ndarray among them"),
        ((np.ones(3),), "got ndarray among them"),
        ([None], "got NoneType among them"),
        ([(np.ones(3),), np.ones(3)], "got ndarray among them"),
        ([()], r"Offering takes 1 input \(X\), got 0"),
        ([(1.0, 2.0)], r"Offering takes 1 input \(X\), got 2"),
        ([("a",)], "input X must be an array of real numbers"),
        ([([1j],)], "input X must be an array of real numbers, got list with dtype complex128"),
        ([([np.inf],)], "input X must be finite, got inf"),
        ([(np.empty(0),)], r"X \(0,\) hold no element"),
    ],
)
def test_examples_that_are_nonsense(offer: Any, message: str) -> None:
    """What `examples` must give is said, and what it gave."""
    with pytest.raises(GateError, match=message):
        check_gate(Offering(offer))


# --- Examples ---------------------------------------------------------------------------------------------------------


def test_examples_of_the_gate_are_used_and_named() -> None:
    """The gate's own examples are drawn with the seeded generator, all proven, and listed."""
    seen = []

    class Own(Tanh):
        def examples(self, rng):
            seen.append(rng.standard_normal())
            return [(rng.standard_normal((2, 7)),), [rng.standard_normal(6)]]

    for seed in (0, 0, 1):
        report = check_gate(Own(), random_state=seed)
        assert report
        assert report.examples == ("X (2, 7); X (6,) (from examples(rng))",)
        assert "example: X (2, 7); X (6,) (from examples(rng))" in str(report)
        assert "finite at 2 examples" in found(report, "forward runs")
    assert seen[0] == seen[1] != seen[2]
    assert check_gate(Own(), [1.0, 2.0]).examples == ("X (2,) (given)",)


def test_a_mistake_at_the_second_example_is_found() -> None:
    """Every example is proven."""

    class Own(Gate):
        def forward(self, X):
            return 2 * X

        def backward(self, X, dZ):
            return (2.0 if X.ndim == 1 else 3.0) * dZ

        def examples(self, rng):
            return [(rng.standard_normal(5),), (rng.standard_normal((2, 3)),)]

    report = check_gate(Own())
    assert report.failed == (GRADIENT,)
    assert "example: X (2, 3) (from examples(rng))" in found(report, GRADIENT)


class Affine(Gate):
    """``Z = X W + b``."""

    def forward(self, X, W, b):
        if X.ndim != 2 or W.ndim != 2 or b.shape != W.shape[1:]:
            raise ValueError("X and W are matrices, b is a row")
        return X @ W + b

    def backward(self, X, W, b, dZ):
        return dZ @ W.T, X.T @ dZ, dZ.sum(axis=0)


def test_a_layer_in_its_plainest_form() -> None:
    """``X W + b`` needs no guards to be right."""

    class Plain(Affine):
        def forward(self, X, W, b):
            return X @ W + b

    rng = np.random.default_rng(0)
    report = check_gate(Plain(), rng.standard_normal((5, 3)), rng.standard_normal((3, 4)), rng.standard_normal(4))
    assert report, report


@pytest.mark.parametrize(
    ("gate", "shapes", "values"),
    [
        (Tanh(), "X (5, 3); X (3, 3); X (4,); X (); X (3, 4, 5); X (4, 3); X (3, 3, 3)", "of either sign"),
        (LogGate(), "X (5, 3); X (3, 3); X (4,); X (); X (3, 4, 5); X (4, 3); X (3, 3, 3)", "positive"),
        (
            Pointwise(np.arccosh, lambda X, dZ: dZ / np.sqrt(X * X - 1)),
            "X (5, 3); X (3, 3); X (4,); X (); X (3, 4, 5); X (4, 3); X (3, 3, 3)",
            "above 1",
        ),
        (ElementwiseProductGate(), "X (5, 3), Y (5, 3); X (3, 3), Y (3, 3); ", "of either sign"),
        (MultiplyGate(), "W (3, 4), X (5, 3); W (3, 3), X (3, 3); ", "of either sign"),
        (ConcatenateGate(), "input 1 (5, 3), input 2 (5, 3); ", "of either sign"),
        (Affine(), "X (5, 3), W (3, 4), b (4,); X (3, 3), W (3, 3), b (3,)", "of either sign"),
    ],
    ids=lambda x: repr(x) if isinstance(x, Gate) else "",
)
def test_shapes_are_found_and_named(gate: Gate, shapes: str, values: str) -> None:
    """For one, two and three inputs shapes that the forward takes are found, with values in its domain."""
    report = check_gate(gate)
    assert report, report
    (example,) = report.examples
    assert example.startswith(shapes)
    assert example.endswith(f"(found by trying, values {values})")


def test_values_of_different_kinds_are_found() -> None:
    """A base that is positive and a number between 0 and 1 are found, too."""

    class LogTimesArcsine(Gate):
        def forward(self, X, Y):
            if X.shape != (5, 3) or Y.shape != (5, 3) or np.any(X < 1) or np.any(np.abs(Y) > 1):
                raise ValueError("out of the domain")
            return np.log(X) * np.arcsin(Y)

        def backward(self, X, Y, dZ):
            return np.arcsin(Y) / X * dZ, np.log(X) / np.sqrt(1 - Y * Y) * dZ

    report = check_gate(LogTimesArcsine())
    assert report, report
    assert report.examples == ("X (5, 3), Y (5, 3) (found by trying, values above 1, between 0 and 1)",)


class FourInputs(Gate):
    """A sum of four."""

    def forward(self, a, b, c, d):
        return a + b + c + d

    def backward(self, a, b, c, d, dZ):
        return dZ, dZ, dZ, dZ


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        (ReshapeGate((3, 8)), r"ReshapeGate: of \d+ examples tried none fits \(for X \(5, 3\): .*; give inputs, or"),
        (FourInputs(), r"FourInputs: examples of 4 inputs are not found by trying shapes; give inputs, or write a"),
        (Pointwise(lambda X: X + np.nan, _twice), r"for X \(5, 3\): the result is not finite\); give inputs, or"),
        (BROKEN_FORWARD, r"for X \(5, 3\): RuntimeError: no such thing\); give inputs, or write a method examples"),
    ],
    ids=repr,
)
def test_no_example_can_be_found(gate: Gate, message: str) -> None:
    """Where trying finds nothing, the message says what was tried and what to do."""
    with pytest.raises(GateError, match=message):
        check_gate(gate)


# --- The report -------------------------------------------------------------------------------------------------------


class Halved(Tanh):
    """A tanh with half its slope, and a setting."""

    def __init__(self, note: str = "") -> None:
        self.note = note

    def derivative(self, X):
        return super().derivative(X) / 2


def test_report_of_a_right_gate() -> None:
    """It is true, has one result per check in their order, and nothing to raise."""
    report = check_gate(Tanh(), X)
    assert report.passed
    assert bool(report) is True
    assert report.failed == report.diagnoses == ()
    assert [result.name for result in report.results] == [check.name for check in CHECKS]
    assert report.raise_if_failed() is None
    ran = sum(result.status == "passed" for result in report.results)
    assert report.summary() == f"Tanh is proven: {ran} checks passed"


def test_report_of_a_wrong_gate() -> None:
    """It is false, names what failed, and its error is the whole report, each check on a line."""
    report = check_gate(Halved("x"), X)
    assert not report.passed
    assert bool(report) is False
    assert report.failed == (GRADIENT,)
    assert [d.kind for d in report.diagnoses] == ["constant factor"]
    assert str(report.diagnoses[0]).startswith("constant factor: the gradient of X is 1/2 times the right one: a 2 is")
    ran = sum(result.status != "skipped" for result in report.results)
    assert report.summary() == f"Halved(note='x') is wrong: 1 of {ran} checks failed"
    lines = str(report).splitlines()
    assert lines[:2] == [report.summary(), "  example: X (3, 4) (given)"]
    for result in report.results:
        word = {"passed": "ok", "failed": "WRONG", "skipped": "-"}[result.status]
        (line,) = (line for line in lines if re.match(rf"  {word} +{re.escape(result.name)}  ", line))
        assert line.endswith(result.message.splitlines()[0])
    assert any(line.strip() == f"=> {report.diagnoses[0]}" for line in lines)
    assert repr(report) == str(report)
    with pytest.raises(GateError) as caught:
        report.raise_if_failed()
    assert str(caught.value) == str(report)


@pytest.mark.parametrize(
    ("setting", "title"),
    [
        ("x" * 500, r"Halved\(note='x{60,}\.\.\.\)"),
        (list(range(1000)), r"Halved\(note=\[0, 1, 2, .*\.\.\.\)"),
        (np.zeros((50, 50)), r"Halved\(note=array\(\[\[0\., \.\.\., 0\.\], .*"),
        (np.arange(10_000), r"Halved\(note=array\(\[ *0, +\.\.\., 9999\].*"),
        ("two\nlines", r"Halved\(note='two\\nlines'\)"),
        ("x" * 65, r"Halved\(note='x{65}'\)"),
    ],
    ids=["string", "list", "matrix", "array", "lines", "fits"],
)
def test_long_titles_are_shortened(setting: Any, title: str) -> None:
    """A title is one line of 80 characters at most, whatever the settings hold, and as long as it can be."""
    report = check_gate(Halved(setting), [1.0])
    assert re.fullmatch(title, report.title), report.title
    assert len(report.title) <= 80
    assert "\n" not in report.title
    assert str(report).startswith(f"{report.title} is wrong: ")


SIGNED = np.array([[0.5, -1.2, 0.8], [-0.4, 1.5, 0.3], [-2.0, 0.7, 1.1], [1.3, -0.6, -0.9]])


def _tanh_slope(X: Array) -> Array:
    return 1 - np.tanh(X) ** 2


@pytest.mark.parametrize(
    ("forward", "backward", "diagnosis"),
    [
        (
            lambda X: np.sin(X * X),
            lambda X, dZ: np.cos(X * X) * dZ,
            "chain rule stops early: .* lacks the factor 2 X of the chain rule$",
        ),
        (
            lambda X: np.exp(np.sin(X)),
            lambda X, dZ: np.cos(X) * dZ,
            "chain rule stops early: .* lacks the factor Z of the chain rule$",
        ),
        (
            np.tanh,
            lambda X, dZ: _tanh_slope(X) * X * dZ,
            r"chain rule stops early: .* lacks the factor 1 / X of the chain rule$",
        ),
        (np.sin, lambda X, dZ: np.cos(np.sin(X)) * dZ, "derivative at the output: "),
        (np.tanh, lambda X, dZ: (1 - X * X) * dZ, "derivative at the input: "),
        (np.tanh, lambda X, dZ: _tanh_slope(X) * dZ.sum(), "upstream summed: "),
        (np.tanh, lambda X, dZ: _tanh_slope(X) * dZ + 0.01 * X, "additive term: .* 0.01 X$"),
        (np.tanh, lambda X, dZ: (_tanh_slope(X) + 0.01 * X) * dZ, "additive term: .* 0.01 X dZ$"),
        (
            np.abs,
            lambda X, dZ: np.abs(np.sign(X)) * dZ,
            "wrong in part: .* where X < 0 only, where the sign is flipped; here in 5 of 12 elements$",
        ),
        (_square, lambda X, dZ: 2 * X * dZ * (1 - np.eye(*X.shape) / 2), "wrong in part: .* on the diagonal only"),
        (
            _square,
            lambda X, dZ: X * dZ * (1 + (np.abs(X) < 1)),
            r"wrong in part: .* where \|X\| is large only, where it is 1/2 times the right one, above about 1; here",
        ),
        (lambda X: X[::-1] * 2, lambda _X, dZ: 2 * dZ, "wrong places: .* reversed along axis 0$"),
        (lambda X: np.roll(X, 1, 0), lambda _X, dZ: np.roll(dZ, 1, 0), "wrong places: .* shifted by 2 along axis 0$"),
    ],
)
def test_known_mistakes_are_diagnosed(
    forward: Callable[[Array], Array], backward: Callable[[Array, Array], Array], diagnosis: str
) -> None:
    """One mistake, one diagnosis, which names it and where it is."""
    (found_one,) = check_gate(Pointwise(forward, backward), SIGNED).diagnoses
    assert re.match(diagnosis, str(found_one)), str(found_one)
    assert str(found_one) == f"{found_one.kind}: {found_one.text}{found_one.numbers}"


def test_diagnoses_are_listed_once() -> None:
    """The same diagnosis of several checks is one."""
    report = check_gate(Pointwise(_square, lambda X, _dZ: 2 * X), X)
    listed = [d for result in report.results for d in result.diagnoses]
    assert len(set(listed)) == len(report.diagnoses) < len(listed)


def test_what_no_mistake_explains_is_said() -> None:
    """No diagnosis is a guess."""
    report = check_gate(Pointwise(np.tanh, lambda X, dZ: np.sin(3 * X + 1) * dZ), X)
    assert report.diagnoses == ()
    assert "no known mistake explains these numbers" in found(report, GRADIENT)


@pytest.mark.parametrize("gate", [Tanh(), Halved("<i>&[bold]")], ids=["right", "wrong"])
def test_rich_rendering(gate: Gate) -> None:
    """A terminal shows the summary, the examples, every check, and the brackets that are in a message."""
    report = check_gate(gate, X)
    console = Console(record=True, width=400, file=io.StringIO())
    console.print(report)
    text = console.export_text()
    assert report.summary() in text
    assert "example: X (3, 4) (given)" in text
    for result in report.results:
        assert result.name in text
        assert all(line in text for line in result.lines())


@pytest.mark.parametrize("gate", [Tanh(), Halved("<i>&")], ids=["right", "wrong"])
def test_html_rendering(gate: Gate) -> None:
    """A notebook shows every check, and nothing of a message is taken for markup."""
    report = check_gate(gate, X)
    page = report._repr_html_()
    assert page.count("<tr>") == page.count("</tr>") == len(CHECKS) + 1
    assert "<i>" not in page
    assert "example: X (3, 4) (given)" in page
    for result in report.results:
        assert f">{result.name}</td>" in page
    if report.failed:
        assert "Halved(note=&#x27;&lt;i&gt;&amp;&#x27;) is wrong" in page
        assert "<b>=&gt; constant factor" in page


def test_html_escapes_messages() -> None:
    """An exception may have angle brackets in it."""

    def fails(_X: Array) -> Array:
        raise RuntimeError("<script>alert(1)</script>")

    report = check_gate(Pointwise(fails, _twice), X)
    page = report._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


# --- Large inputs -----------------------------------------------------------------------------------------------------


def square_wrong_above(limit: float) -> Gate:
    """Make X^2 with a slope that is 1.01 times too large where X is above a limit."""
    return Pointwise(_square, lambda X, dZ: np.where(limit < X, 2.02, 2.0).astype(X.dtype) * X * dZ)


MANY = [
    ((100, 100), (57, 31)),
    ((100, 100), (57, 57)),
    ((1000, 50), (571, 31)),
    ((5000,), (777,)),
    ((9, 8, 7), (4, 6, 1)),
]


def of_many(shape: tuple[int, ...], at: tuple[int, ...], wrong: int) -> Report:
    """Prove X^2 that is wrong above 2 at values of which one, or two neighbours, are above it."""
    values = np.random.default_rng(0).uniform(0.5, 1.5, shape)
    assert check_gate(square_wrong_above(2.0), values)
    for step in range(wrong):
        values[(*at[:-1], at[-1] + step)] = 2.5 + step / 4
    report = check_gate(square_wrong_above(2.0), values, random_state=1)
    assert report.failed == (GRADIENT,)
    message = found(report, GRADIENT)
    match = MESSAGE_OF_PART.search(message)
    assert match, message
    places = [(*at[:-1], at[-1] + step) for step in range(wrong)]
    assert match["place"] in [", ".join(map(str, place)) for place in places]
    assert match["shape"] == str(shape)
    assert match["wrong"] == str(wrong)
    assert int(match["size"]) <= 120
    assert match["part"].count(",") == max(len(shape) - 1, 1)
    assert float(match["got"]) == pytest.approx(1.01 * float(match["expected"]), rel=1e-6)
    return report


@pytest.mark.parametrize(("shape", "at"), MANY)
def test_one_wrong_element_of_many(shape: tuple[int, ...], at: tuple[int, ...]) -> None:
    """It is found and named, and shown in a few rows and columns cut out around it; one value makes no mask."""
    report = of_many(shape, at, 1)
    assert not any("large" in d.text or d.kind == "constant factor" for d in report.diagnoses), report


@pytest.mark.parametrize(("shape", "at"), MANY)
def test_two_wrong_elements_of_many(shape: tuple[int, ...], at: tuple[int, ...]) -> None:
    """Two of them, and what is right beside them, make a mask; it is told by the values."""
    (diagnosis,) = (d for d in of_many(shape, at, 2).diagnoses if d.kind == "wrong in part")
    assert diagnosis.text == "the gradient of X is wrong where X is large only, where it is 1.01 times the right one"
    assert re.fullmatch(r", above about (1\.[89]\d?|2); here in 2 of \d+ elements", diagnosis.numbers), (
        diagnosis.numbers
    )


@pytest.mark.parametrize(("shape", "at"), [((1000, 50), (571, 31)), ((30, 20), (20, 15)), ((12, 11), (11, 9))])
def test_a_wrong_value_of_many_is_no_matter_of_squares(shape: tuple[int, ...], at: tuple[int, ...]) -> None:
    """A gate that goes element by element knows no shapes, and no diagnosis says it is right for square ones."""
    assert not any(d.kind == "non-square shapes" for d in of_many(shape, at, 1).diagnoses)


def test_one_wrong_value_of_four_is_no_matter_of_places() -> None:
    """No seed makes a value that is wrong the place that is wrong."""
    for seed in range(20):
        report = check_gate(square_wrong_above(2.0), [1.0, 2.5, 0.7, 1.2], random_state=seed)
        assert report.failed == (GRADIENT,)
        assert not any("X[1]" in d.text for d in report.diagnoses), report


@pytest.mark.parametrize(
    ("shape", "at"), [((100, 100), (57, 31)), ((300, 50), (271, 31)), ((2000,), (1234,)), ((9, 8, 7), (4, 6, 1))]
)
def test_one_wrong_place_of_many_is_named(shape: tuple[int, ...], at: tuple[int, ...]) -> None:
    """Where the mistake is one of the place, no part shows it, and the place itself is named."""

    def back(X: Array, dZ: Array) -> Array:
        dX = 2 * X * dZ
        if X.shape == shape:
            dX[at] *= 1.01
        return dX

    report = check_gate(Pointwise(_square, back), np.random.default_rng(0).uniform(0.5, 1.5, shape))
    assert report.failed == (GRADIENT,)
    assert f"is wrong at X[{', '.join(map(str, at))}]\n" in found(report, GRADIENT)


@pytest.mark.parametrize(
    ("rows", "where"),
    [(np.s_[-1:], "in the last row only"), (np.s_[:1], "in the first row only"), (np.s_[:, -1:], "in the last column")],
)
def test_a_wrong_edge_of_many_is_diagnosed(rows: Any, where: str) -> None:
    """The ends of the axes are in the part that is cut out."""

    def back(X: Array, dZ: Array) -> Array:
        dX = 2 * X * dZ
        dX[rows] *= 1.5
        return dX

    report = check_gate(Pointwise(_square, back), np.random.default_rng(0).uniform(0.5, 1.5, (40, 30)))
    assert any(d.kind == "wrong in part" and where in d.text for d in report.diagnoses), report


def test_a_large_product_with_a_wrong_factor() -> None:
    """All inputs are cut alike, so that a product of matrices stays one."""

    class Product(MultiplyGate):
        def backward(self, W, X, dZ):
            dW, dX = super().backward(W, X, dZ)
            return dW, 2 * dX

    rng = np.random.default_rng(0)
    report = check_gate(Product(), rng.uniform(0.5, 1.5, (30, 20)), rng.uniform(0.5, 1.5, (50, 30)))
    assert report.failed == (GRADIENT,)
    assert [d.kind for d in report.diagnoses] == ["constant factor"]
    match = MESSAGE_OF_PART.search(found(report, GRADIENT))
    assert match, report
    assert "example: W (30, 20), X (50, 30) (given)\n" in match[0]
    # Of W (p, q) and X (m, p) the parts still fit.
    parts = re.search(r"in a part of it, W \((\d+), \d+\), X \(\d+, (\d+)\) \(a part\): ", match[0])
    assert parts, match[0]
    assert parts[1] == parts[2]
    assert match["wrong"] == match["size"]
    assert float(match["got"]) == pytest.approx(2 * float(match["expected"]), rel=1e-6)


# --- Slopes -----------------------------------------------------------------------------------------------------------


def _only_real(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Refuse complex numbers."""

    def real(x: Array) -> Array:
        if np.iscomplexobj(x):
            raise TypeError("real numbers only")
        return function(x)

    return real


# Name: the function, its derivative, the places, whether it is analytic there.
SLOPES: dict[str, tuple[Callable[[Array], Array], Callable[[float], float], list[float], bool]] = {
    "sin(1000 x)": (lambda x: np.sin(1000 * x), lambda x: 1000 * math.cos(1000 * x), [0.0, 0.1, 0.3, 1.0, 7.0], True),
    "x^3": (lambda x: x**3, lambda x: 3 * x * x, [0.0, 1e-9, 1.0, -1e5], True),
    "1/x": (lambda x: 1 / x, lambda x: -1 / x**2, [1e-6, -1e-6, 1e-3, 1.0, 1e6], True),
    "log": (np.log, lambda x: 1 / x, [1e-12, 1e-6, 0.5, 1.0, 1e6], True),
    "sqrt": (np.sqrt, lambda x: 0.5 / math.sqrt(x), [1e-12, 1e-6, 1.0, 1e6], True),
    "exp": (np.exp, math.exp, [-600.0, -1.0, 0.0, 20.0, 700.0], True),
    "x - tanh(x)": (lambda x: x - np.tanh(x), lambda x: math.tanh(x) ** 2, [0.0, 1e-4, 1e-3, 0.1, 1.0], True),
    "tan": (np.tan, lambda x: 1 + math.tan(x) ** 2, [0.0, 1.5, 1.57, 1.5707], True),
    "sin + 1e6": (lambda x: np.sin(x) + 1e6, math.cos, [0.3, 1.0], True),
    "sin + 1e12": (lambda x: np.sin(x) + 1e12, math.cos, [0.3, 1.0], True),
    "x^2": (lambda x: x * x, lambda x: 2 * x, [0.0, 1e-12, 1.0, 1e100], True),
    "constant": (lambda x: 0 * x + 3.0, lambda _x: 0.0, [0.0, 2.0], True),
    "exp(-1/x^2)": (lambda x: np.exp(-1 / (x * x)), lambda x: 2 / x**3 * math.exp(-1 / x**2), [0.1, 0.5, 3.0], True),
    "|x|^1.5": (
        lambda x: np.abs(x) ** 1.5,
        lambda x: 1.5 * math.copysign(math.sqrt(abs(x)), x),
        [0.0, 1e-7, 0.1, -2.0],
        False,
    ),
    "|x|": (np.abs, lambda x: math.copysign(1.0, x), [1e-12, 1e-7, -1e-3, 1.0, -3.0], False),
    "sign": (np.sign, lambda _x: 0.0, [1e-7, -1e-3, 0.0, 1.0, -3.0], False),
    "sign real": (_only_real(np.sign), lambda _x: 0.0, [1e-7, 0.0, -3.0], False),
    "floor": (_only_real(np.floor), lambda _x: 0.0, [0.5, 1e-7, 1.0, -2.5], False),
    "max(x, 0)": (lambda x: np.maximum(x, 0), lambda x: float(x > 0), [1e-7, -1e-7, 1e-12, 1.0], False),
    "|x|^2": (lambda x: np.abs(x) ** 2, lambda x: 2 * x, [1.0, -2.0], False),
    "conjugate": (np.conj, lambda _x: 1.0, [1.0, -2.0], False),
    "real part": (lambda x: np.real(x) * 1.0, lambda _x: 1.0, [1.0, -2.0], False),
    "angle dropped": (lambda x: x * np.abs(x) / np.conj(x), lambda x: math.copysign(1.0, x), [1.0, -2.0], False),
}


def places() -> list[Any]:
    """Return every function at every place, with each unit that would be tried there, complex or not."""
    return [
        pytest.param(
            function if takes else _only_real(function),
            derivative,
            x,
            float(unit[0]),
            id=f"{name}-{x:g}-{unit[0]:g}{'-real' * (not takes)}",
        )
        for name, (function, derivative, at, _) in SLOPES.items()
        for x in at
        for unit in scales(np.array([x]))
        for takes in (True, False)
    ]


def slope_at(function: Callable[[Array], Array], x: float, unit: float) -> Any:
    """Measure one slope."""
    at = np.array([x])
    Z = function(at)
    with np.errstate(all="ignore"):
        noise = rounding_noise(function, at, Z, np.random.default_rng(0))
        return measure(function, at, np.array([unit]), Z, noise)


@pytest.mark.parametrize(("function", "derivative", "x", "unit"), places())
def test_measured_slopes_are_known_derivatives(
    function: Callable[[Array], Array], derivative: Callable[[float], float], x: float, unit: float
) -> None:
    """The true slope lies within 8 times the error given, or there is a kink, or it is not measured."""
    slope = slope_at(function, x, unit)
    true = derivative(x) * unit
    if slope.kink[0]:
        assert not slope.measured[0]
        assert slope.lower[0] <= slope.upper[0]
    elif slope.measured[0]:
        assert abs(slope.value[0] - true) <= 8 * slope.error[0] + 1e-290


@pytest.mark.parametrize(
    ("function", "derivative", "x"),
    [
        pytest.param(
            function,
            derivative,
            x,
            id=f"{name}-{x:g}",
        )
        for name, (function, derivative, at, analytic) in SLOPES.items()
        for x in at
        if analytic and name != "sin + 1e12"
    ],
)
def test_analytic_functions_are_measured_to_six_digits(
    function: Callable[[Array], Array], derivative: Callable[[float], float], x: float
) -> None:
    """With one of the units that are tried a complex step is confirmed, and it is sharp."""
    slopes = [(slope_at(function, x, float(unit[0])), float(unit[0])) for unit in scales(np.array([x]))]
    true = derivative(x)
    errors = [slope.error[0] / unit for slope, unit in slopes if slope.measured[0] and slope.is_complex]
    assert min(errors) <= 1e-6 * abs(true) + 1e-10


@pytest.mark.parametrize(
    ("function", "x"),
    [
        pytest.param(function, x, id=f"{name}-{x:g}")
        for name, (function, _, at, analytic) in SLOPES.items()
        for x in at
        if not analytic and x and name != "max(x, 0)"
    ],
)
def test_complex_steps_that_mean_otherwise_are_refused(function: Callable[[Array], Array], x: float) -> None:
    """abs, sign and conj take complex numbers, and mean no slopes by it: refused, or nothing is known."""
    for unit in scales(np.array([x])):
        slope = slope_at(function, x, float(unit[0]))
        assert not slope.is_complex or slope.error[0] >= 0.5 * abs(slope.value[0])


@pytest.mark.parametrize(
    ("function", "x", "lower", "upper"),
    [
        (np.abs, 0.0, -1.0, 1.0),
        (lambda x: np.maximum(x, 0), 0.0, 0.0, 1.0),
        (lambda x: np.maximum(x - 1, 3 * x - 3), 1.0, 1.0, 3.0),
        (lambda x: np.minimum(x, 0.5 * x), 0.0, 0.5, 1.0),
        (lambda x: x + 1e-3 * np.abs(x), 0.0, 0.999, 1.001),
    ],
)
def test_one_sided_slopes_at_a_kink(function: Callable[[Array], Array], x: float, lower: float, upper: float) -> None:
    """At a kink both one-sided slopes are measured."""
    for variant in (function, _only_real(function)):
        slope = slope_at(variant, x, 1.0)
        assert slope.kink[0]
        assert (slope.lower[0], slope.upper[0]) == pytest.approx((lower, upper), rel=1e-6, abs=1e-9)


def not_tiny(most: float) -> st.SearchStrategy[float]:
    """Draw numbers of either sign that are 0 or no less than 1e-6."""
    return st.floats(-most, most).map(lambda x: x if abs(x) > 1e-6 else 0.0)


@given(a=not_tiny(3), b=not_tiny(3), c=st.floats(0.1, 30), x=not_tiny(20), shift=not_tiny(1e4))
@settings(deadline=None, max_examples=200)
def test_slopes_of_drawn_functions(a: float, b: float, c: float, x: float, shift: float) -> None:
    """a sin(c x) + b x^2 + shift has the slope a c cos(c x) + 2 b x, within 8 times the error given, at any values."""

    def function(x: Array) -> Array:
        return a * np.sin(c * x) + b * x * x + shift

    true = a * c * math.cos(c * x) + 2 * b * x
    for variant in (function, _only_real(function)):
        unit = max(abs(x), 1.0)
        slope = slope_at(variant, x, unit)
        if slope.measured[0]:
            assert abs(slope.value[0] - true * unit) <= 8 * slope.error[0] + 1e-290
        else:
            assert not slope.kink[0] or slope.lower[0] - 1e-3 <= true * unit <= slope.upper[0] + 1e-3


# --- Complex steps that are watched ----------------------------------------------------------------------------------

GRID = np.random.default_rng(5).standard_normal((3, 4))
WEIGHTS = np.random.default_rng(2).standard_normal((4, 3))


def _in_its_own_copy(x: Array) -> Array:
    y = x.copy()
    y[0] *= 2
    y[1:] += y[:-1] ** 2
    return y


def _into_its_own_array(x: Array) -> Array:
    Z = np.empty_like(x)
    Z[...] = np.sin(x)
    return Z


def _sliding(x: Array) -> Array:
    return (np.lib.stride_tricks.sliding_window_view(x, 2, axis=1) * np.array([0.5, 2.0])).sum(axis=-1)


ANALYTIC: dict[str, Callable[[Array], Any]] = {
    "tanh": np.tanh,
    "1 / (1 + exp)": lambda x: 1 / (1 + np.exp(-x)),
    "@": lambda x: x @ WEIGHTS,
    "@ from the left": lambda x: WEIGHTS @ x,
    "matmul out": lambda x: np.matmul(x, WEIGHTS, out=np.empty((3, 3), x.dtype)),
    "dot": lambda x: np.dot(x, WEIGHTS),
    "einsum": lambda x: np.einsum("ij,ik->jk", x, x),
    "where": lambda x: np.where(x > 0, x * x, np.exp(x)),
    "sum": lambda x: (x**3).sum(axis=0),
    "sum of all": lambda x: np.sum(x**3),
    "mean": lambda x: np.mean(x * x, axis=1, keepdims=True),
    "cumsum": lambda x: np.cumsum(x * x),
    "stack": lambda x: np.stack([x, x * x]),
    "concatenate": lambda x: np.concatenate([x, np.cos(x)], axis=1),
    "pad": lambda x: np.pad(x * x, 1),
    "rows taken": lambda x: x[[0, 0, 2], 1:] ** 2,
    "elements taken": lambda x: np.exp(x[x > 0]),
    "in place": _in_its_own_copy,
    "empty_like": _into_its_own_array,
    "sliding windows": _sliding,
    "max": lambda x: x.max(axis=0),
    "maximum": lambda x: np.maximum(x, -x / 2),
    "sort": lambda x: np.sort(x, axis=0),
    "copy": lambda x: np.array(x, subok=True) ** 2,
    "cast to itself": lambda x: x.astype(np.complex128 if x.dtype.kind == "c" else float) * 2,
}

# With a name for what is not analytic in it; all are right for real numbers.
REFUSED: dict[str, Callable[[Array], Any]] = {
    "abs": lambda x: abs(x) * x,
    "absolute": lambda x: np.absolute(x) * x,
    "fabs": lambda x: np.fabs(x) * x,
    "sign": lambda x: x * np.sign(x) * x,
    "real": lambda x: np.real(x) * x,
    ".real": lambda x: x.real * x,
    "imag": lambda x: np.imag(x) + x,
    ".imag": lambda x: x.imag + x,
    "conj": lambda x: np.conj(x) * x,
    ".conj()": lambda x: x.conj() * x,
    "conjugate": lambda x: np.conjugate(x.T) @ x,
    "angle": lambda x: np.angle(x) + x,
    "nan_to_num": lambda x: np.nan_to_num(x) * x,
    "real_if_close": lambda x: np.real_if_close(x) * x,
    "astype": lambda x: x * x.astype(float),
}

UNSEEN: dict[str, Callable[[Array], Any]] = {
    "asarray": lambda x: np.asarray(x) ** 2,
    "array": lambda x: np.array(x) ** 2,
    "asarray, abs": lambda x: np.abs(np.asarray(x)) ** 3,
    "asarray, conj": lambda x: np.conj(np.asarray(x)) * np.asarray(x),
    "asarray, real": lambda x: np.asarray(x).real ** 2,
    "zeros": lambda x: np.add(np.zeros(x.shape, x.dtype), np.asarray(x)) ** 3,
    "a loop": lambda x: np.array([t * t for t in x.ravel()]),
    "vectorize": np.vectorize(lambda t: t * t * t),
}


def slope_along(function: Callable[[Array], Any], x: Array, v: Array) -> Any:
    """Measure the slope of a function of an array along a direction."""
    Z = np.asarray(function(x))
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return measure(function, x, v, Z, rounding_noise(function, x, Z, np.random.default_rng(0)))


DIRECTION = np.random.default_rng(1).uniform(0.5, 1.5, GRID.shape)


@pytest.mark.parametrize("function", ANALYTIC.values(), ids=ANALYTIC)
def test_analytic_operations_are_trusted_to_rounding(function: Callable[[Array], Any]) -> None:
    """Complex steps through plain NumPy have errors of some hundred EPSILON, and so sharp a mistake is found."""
    slope = slope_along(function, GRID, DIRECTION)
    assert slope.is_complex
    assert slope.measured.all()
    assert (slope.error <= 300 * EPSILON * np.maximum(np.abs(slope.value), 1.0)).all()
    exact = np.asarray(function(GRID + 1e-30j * DIRECTION)).imag / 1e-30
    assert (np.abs(slope.value - exact) <= slope.error).all()


@pytest.mark.parametrize("function", REFUSED.values(), ids=REFUSED)
def test_operations_that_are_not_analytic_are_refused(function: Callable[[Array], Any]) -> None:
    """A watched array raises; without watching, the step is taken no more seriously than it agrees."""
    with pytest.raises(TypeError, match=r"not (an )?analytic|not supported for the input types"):
        function((GRID + 0j).view(Analytic))
    slope = slope_along(function, GRID, DIRECTION)
    plain = slope_along(_only_real(function), GRID, DIRECTION)
    assert not plain.is_complex
    assert (np.abs(slope.value - plain.value) <= 8 * (slope.error + plain.error)).all()
    assert not slope.is_complex or (slope.error >= np.abs(slope.value - plain.value)).all()


@pytest.mark.parametrize("function", UNSEEN.values(), ids=UNSEEN)
def test_what_is_lost_from_sight_is_trusted_as_far_as_it_agrees(function: Callable[[Array], Any]) -> None:
    """np.asarray takes the watch off: the error is no less than the distance to the differences."""
    slope = slope_along(function, GRID, DIRECTION)
    plain = slope_along(_only_real(function), GRID, DIRECTION)
    assert (np.abs(slope.value - plain.value) <= slope.error + 1e-300).all()
    assert (slope.error <= plain.error).all()


@pytest.mark.parametrize("name", ["asarray, abs", "asarray, conj", "asarray, real"])
def test_unseen_steps_that_disagree_are_not_taken(name: str) -> None:
    """An imaginary part that is no slope is thrown away."""
    assert not slope_along(UNSEEN[name], GRID, DIRECTION).is_complex


def test_a_watched_array_watches_what_is_made_of_it() -> None:
    """Results stay watched, comparisons are plain, and a bare view of the same numbers is free to do as it likes."""
    x = (GRID + 0j).view(Analytic)
    for made in (x + 1, x.T, x[0], x @ WEIGHTS, np.exp(x), x.sum(axis=0), np.stack([x, x]), x.copy(), x.reshape(-1)):
        assert type(made) is Analytic
    assert type(x > 0) is np.ndarray
    assert np.abs(np.asarray(x)).dtype == np.float64
    with pytest.raises(TypeError, match="absolute is not analytic"):
        abs(x.T[0])


@pytest.mark.parametrize("function", [np.abs, np.real, lambda X: np.asarray(np.nan_to_num(X))])
def test_gates_that_are_not_analytic_are_proven_by_differences(function: Callable[[Array], Array]) -> None:
    """|X| X, and what else means otherwise for complex numbers, is right, and 1.001 times its gradient is wrong."""

    def gate(factor: float) -> Gate:
        odd = function is np.abs

        def back(X: Array, dZ: Array) -> Array:
            return np.asarray((2 * factor * (np.abs(X) if odd else X) * dZ).astype(dZ.dtype))

        return Pointwise(lambda X: function(X) * X, back)

    report = check_gate(gate(1.0), GRID)
    assert report, report
    assert float(blame(gate(1.001), GRID)["got"])


# --- Settings that are hard to compare --------------------------------------------------------------------------------


class Thing:
    """An object without a comparison of its own."""

    def __init__(self) -> None:
        self.numbers = [1.0, 2.0]


class Uncomparable:
    """An object that refuses to be compared."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("compare me not")

    __hash__ = None  # type: ignore[assignment] # nothing that is compared this way has one


class Undecided:
    """An object whose comparison gives an array."""

    def __eq__(self, other: object) -> Any:
        return np.array([True, True])

    __hash__ = None  # type: ignore[assignment] # nothing that is compared this way has one


def _endless() -> Thing:
    thing = Thing()
    thing.itself = thing  # type: ignore[attr-defined] # that is the difficulty
    return thing


def _sparse() -> Any:
    return pytest.importorskip("scipy.sparse").csr_matrix(np.eye(3))


class Configured(Tanh):
    """A tanh with a setting."""

    def __init__(self, setting: Any) -> None:
        self.setting = setting


@pytest.mark.parametrize(
    "make",
    [
        lambda: math,
        threading.Lock,
        lambda: {"lock": threading.Lock()},
        Thing,
        lambda: [Thing()],
        _endless,
        Uncomparable,
        Undecided,
        _sparse,
        lambda: (i for i in range(3)),
        lambda: np.random.default_rng(0),
        lambda: np.sin,
        lambda: math.nan,
        lambda: [math.nan],
        lambda: np.array([math.nan]),
        lambda: np.array([None, {}], dtype=object),
        lambda: np.ma.array([1.0, 2.0], mask=[False, True]),
        pytest.param(lambda: np.array([complex(math.nan)])),
    ],
)
def test_settings_that_cannot_be_compared_are_not_blamed(make: Callable[[], Any]) -> None:
    """What cannot be copied, or cannot tell whether it is the same, was not written."""
    report = check_gate(Configured(make()), X)
    assert report, report
    assert status(report)["nothing is kept"] == "passed"


@pytest.mark.parametrize(
    ("setting", "write"),
    [
        ([], lambda s: s.append(1)),
        ([1, 2], lambda s: s.reverse()),
        ({}, lambda s: s.update({len(s): 1})),
        ({"deep": [1]}, lambda s: s["deep"].append(1)),
        (set(), lambda s: s.add(len(s))),
        (bytearray(), lambda s: s.append(1)),
        (np.zeros(2), lambda s: s.__iadd__(1)),
        (([],), lambda s: s[0].append(1)),
        (Thing(), lambda s: s.numbers.append(1.0)),
        (_endless(), lambda s: s.numbers.append(1.0)),
    ],
    ids=lambda x: type(x).__name__,
)
def test_settings_that_are_changed_in_place_are_blamed(setting: Any, write: Callable[[Any], Any]) -> None:
    """A list, dict, set, array or object that grows in forward is kept between the calls."""

    class Growing(Gate):
        def __init__(self, setting: Any) -> None:
            self.setting = setting

        def forward(self, X):
            write(self.setting)
            return 2 * X

        def backward(self, X, dZ):
            return 2 * dZ

    report = check_gate(Growing(setting), X)
    assert report.failed == ("nothing is kept",)
    assert found(report, "nothing is kept").startswith("a call changes self.setting; a gate's attributes are settings")


# --- Edges of the domain ----------------------------------------------------------------------------------------------


def _within(function: Callable[[Array], Array], low: float, high: float) -> Callable[[Array], Array]:
    def guarded(X: Array) -> Array:
        if np.any(X.real < low) or np.any(X.real > high):
            raise ValueError("outside of the domain")
        return function(X)

    return guarded


@pytest.mark.parametrize(
    ("function", "slope", "low", "high", "values"),
    [
        (np.log, lambda X: 1 / X, 1e-300, np.inf, [1e-9, 1e-3, 1.0]),
        (np.sqrt, lambda X: 0.5 / np.sqrt(X), 0.0, np.inf, [1e-6, 1e-2, 2.0]),
        (np.arcsin, lambda X: 1 / np.sqrt(1 - X * X), -1.0, 1.0, [0.9, -0.999, 0.5]),
        (lambda X: X * X, lambda X: 2 * X, 1.0, 3.0, [1.005, 2.995, 2.0]),
    ],
)
@pytest.mark.parametrize("takes_complex", [True, False])
def test_forwards_that_raise_are_proven_near_the_edge(
    function: Callable[[Array], Array],
    slope: Callable[[Array], Array],
    low: float,
    high: float,
    values: list[float],
    takes_complex: bool,
) -> None:
    """A forward that raises beyond the edge of its domain is right close to it, and 1.001 times its gradient is not."""
    forward = _within(function, low, high)
    forward = forward if takes_complex else _only_real(forward)
    report = check_gate(Pointwise(forward, lambda X, dZ: slope(X) * dZ), values)
    assert report, report
    assert "could not be measured" not in found(report, GRADIENT)
    report = check_gate(Pointwise(forward, lambda X, dZ: (1.001 * slope(X) * dZ).astype(dZ.dtype)), values)
    assert report.failed == (GRADIENT,)
    assert [d.kind for d in report.diagnoses] == ["constant factor"]


@pytest.mark.parametrize("seed", range(4))
def test_forwards_that_raise_are_not_blamed_at_the_edge(seed: int) -> None:
    """At the edge itself one step in the last digit leaves the domain: no mistake, at most not measured."""
    gate = Pointwise(_within(lambda X: X * X, 1.0, np.inf), _twice)
    report = check_gate(gate, [1.0, 2.0], random_state=seed)
    assert report.failed in ((), (GRADIENT,))
    assert report.passed or found(report, GRADIENT).startswith("the slopes could not be measured")


@pytest.mark.parametrize(
    ("forward", "slope", "values", "count"),
    [
        (np.sqrt, lambda X: 0.5 / np.sqrt(X), [0.0, 1.0, 4.0], 1),
        (np.sqrt, lambda X: 0.5 / np.sqrt(X), [[0.0, 1.0], [4.0, 0.0]], 2),
        (np.arcsin, lambda X: 1 / np.sqrt(1 - X * X), [1.0, 0.5, -0.3], 1),
        (np.arcsin, lambda X: 1 / np.sqrt(1 - X * X), [1.0, -1.0, 0.5], 2),
    ],
)
def test_infinite_slopes_are_left_out_and_counted(
    forward: Callable[[Array], Array], slope: Callable[[Array], Array], values: Any, count: int
) -> None:
    """Where the slope is infinite there is nothing to compare; the others are compared all the same."""

    def gate(factor: float) -> Gate:
        return Pointwise(forward, lambda X, dZ: np.where(np.isfinite(slope(X)), factor, 1) * slope(X) * dZ)

    report = check_gate(Pointwise(forward, lambda X, dZ: slope(X) * dZ), values)
    assert report, report
    plural = "" if count == 1 else "s"
    assert f"{count} element{plural} with an infinite slope left out" in found(report, GRADIENT)
    assert GRADIENT in check_gate(gate(1.001), values).failed


def test_only_infinite_slopes_are_no_proof() -> None:
    """With nothing left to compare nothing is proven."""
    report = check_gate(Pointwise(np.sqrt, lambda X, dZ: 0.5 / np.sqrt(X) * dZ), [0.0, 0.0])
    assert report.failed == (GRADIENT,)
    assert found(report, GRADIENT).startswith("the slopes could not be measured")


def test_an_infinite_gradient_of_a_finite_slope_is_wrong() -> None:
    """Infinite is left out where the function is infinitely steep, and nowhere else."""
    gate = Pointwise(np.tanh, lambda X, dZ: np.where(X == 0, np.inf, _tanh_slope(X)).astype(dZ.dtype) * dZ)
    match = blame(gate, [0.0, 1.0, 4.0])
    assert (match["at"], match["wrong"]) == ("0", "1")
    assert match["got"] in {"inf", "-inf"}


def test_a_mistake_beside_an_infinite_slope_is_told() -> None:
    """What is left out of the proof is left out of the blame."""
    report = check_gate(Pointwise(np.sqrt, lambda X, dZ: 1.001 * dZ / (2 * np.sqrt(X))), [0.0, 1.0, 4.0])
    match = MESSAGE.search(found(report, GRADIENT))
    assert match, report
    assert match["at"] != "0"
    assert float(match["got"]) == pytest.approx(1.001 * float(match["expected"]), rel=1e-6)
    assert [d.kind for d in report.diagnoses] == ["constant factor"]


# --- Examples that backward does not take -----------------------------------------------------------------------------


class RowProduct(Gate):
    """The dot product of the rows of two matrices; its backward is written for matrices only."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor

    def forward(self, X, Y):
        return (X * Y).sum(axis=-1)

    def backward(self, X, Y, dZ):
        return self.factor * dZ[:, None] * Y, dZ[:, None] * X


class Trace(Gate):
    """The trace, with a backward for matrices."""

    def __init__(self, identity: Callable[[Array], Array]) -> None:
        self.identity = identity

    def forward(self, X):
        return np.trace(X)

    def backward(self, X, dZ):
        return dZ * self.identity(X).astype(X.dtype)


class Bilinear(Gate):
    """``Z = X W`` with a backward in which a .T is missing: it runs for square ones only."""

    def forward(self, X, W):
        if X.ndim != 2 or W.ndim != 2:
            raise ValueError("matrices")
        return X @ W

    def backward(self, X, W, dZ):
        return dZ @ W, X.T @ dZ


def test_examples_of_a_kind_that_backward_does_not_take_are_left_out() -> None:
    """The forward takes vectors or stacks as well; that the backward does not is no mistake, as nobody asked."""
    report = check_gate(RowProduct())
    assert report, report
    assert report.examples[0].startswith("X (5, 3), Y (5, 3); X (3, 3), Y (3, 3) (found")
    report = check_gate(Trace(lambda X: np.eye(*X.shape)))
    assert report, report
    assert report.examples[0].startswith("X (5, 3); X (3, 3); X (4, 3) (found")


def test_mistakes_in_what_is_left_are_found() -> None:
    """Leaving examples out hides nothing in those that are left."""
    report = check_gate(RowProduct(1.001))
    assert report.failed == (GRADIENT,)
    assert [d.kind for d in report.diagnoses] == ["constant factor"]
    report = check_gate(Trace(lambda X: 2 * np.eye(*X.shape)))
    assert report.failed == (GRADIENT,)


def test_given_examples_are_never_left_out() -> None:
    """Whoever gives inputs, or examples of a gate, asks for them."""
    assert check_gate(RowProduct(), [1.0, 2.0], [3.0, 4.0]).failed == ("gradients fit their inputs",)

    class Own(RowProduct):
        def examples(self, rng):
            return [(rng.standard_normal((2, 3)), rng.standard_normal((2, 3))), (np.ones(3), np.ones(3))]

    assert check_gate(Own()).failed == ("gradients fit their inputs",)


def test_a_backward_for_square_inputs_only_is_blamed() -> None:
    """Square examples are taken, and they are not enough."""
    report = check_gate(Trace(lambda X: np.eye(len(X))))
    assert report.failed[0] == "gradients fit their inputs"
    assert "must have the shape of X, (5, 3), got (5, 5)\nexample: X (5, 3) (found" in found(report, report.failed[0])
    report = check_gate(Bilinear())
    assert report.failed[0] == "gradients fit their inputs"
    assert re.search(r"example: X \((\d), (\d)\), W \(\2, \d\) \(found", found(report, report.failed[0]))
    assert "transposed" in [d.kind for d in report.diagnoses]


# --- What holds by chance ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.5, [0.5], [0.5, 0.5], [[0.5]]])
def test_a_wrong_formula_at_one_point_is_no_known_mistake(value: Any) -> None:
    """At one value any formula is a number times another; at other values it is not."""
    report = check_gate(Pointwise(np.tanh, lambda X, dZ: (dZ / (1 + X * X)).astype(dZ.dtype)), value)
    assert report.failed == (GRADIENT,)
    assert report.diagnoses == ()


@pytest.mark.parametrize("values", [[1.0, -1.0, 1.0], [1.0, -1.0, 1.0, -1.0], [[1.0, -1.0], [-1.0, 1.0]]])
def test_a_sign_at_ones_is_no_factor(values: Any) -> None:
    """|X| with slope 1 lacks X at 1 and -1, and 1 / X, and Z; nowhere else does it, and none of them is told."""
    report = check_gate(Pointwise(np.abs, lambda _X, dZ: dZ), values)
    assert report.failed == (GRADIENT,)
    assert {d.kind for d in report.diagnoses} <= {"wrong in part"}


@pytest.mark.parametrize("shape", [(), (3,), (3, 4), (5, 3), (3, 3, 3)])
def test_a_third_is_not_always_an_axis(shape: tuple[int, ...]) -> None:
    """X^3 without its 3 averages nothing, whatever its axes are."""
    values = np.random.default_rng(0).uniform(0.5, 2.0, shape)
    (diagnosis,) = check_gate(Pointwise(lambda X: X**3, lambda X, dZ: X * X * dZ), values).diagnoses
    assert diagnosis.kind == "constant factor"
    assert diagnosis.text == (
        "the gradient of X is 1/3 times the right one: a constant of the forward is left out of the derivative, or "
        "counted twice"
    )


@pytest.mark.parametrize("value", [[2.0], [0.7, 0.7]])
def test_a_mistake_at_one_value_is_told_if_it_is_one_elsewhere(value: Any) -> None:
    """A factor of 2 and a missing factor X are known mistakes, seen at one value or many."""
    (diagnosis,) = check_gate(Pointwise(_square, lambda X, dZ: 4 * X * dZ), value).diagnoses
    assert (
        diagnosis.text
        == "the gradient of X is 2 times the right one: a 2 too many, or a 1/2 of the forward is left out"
    )


def test_numbers_are_not_what_tells_diagnoses_apart() -> None:
    """What holds at other inputs is in the text, and what is seen here is in the numbers: two of one text are one."""
    one, two = (
        check_gate(Pointwise(np.abs, lambda X, dZ: np.abs(np.sign(X)) * dZ), X + shift).diagnoses[0]
        for shift in (0.0, 0.1)
    )
    assert one == two
    assert "here in" in one.numbers
    assert "here in" not in one.text


# --- Drawn inputs -----------------------------------------------------------------------------------------------------

# The largest value each takes: exp(700) is near the end of float64.
ELEMENTWISE: dict[Gate, float] = dict.fromkeys(
    [Tanh(), Sigmoid(), ReLU(), LeakyReLU(), ELU(), ELU(2.0), GELU(), SiLU(), Softplus(), NegateGate(), LogGate()], 1e3
) | {ExpGate(): 700.0}
BINARY = [
    AddGate(),
    SubtractGate(),
    ElementwiseProductGate(),
    DivideGate(),
    MaximumGate(),
    MinimumGate(),
    PowerGate(),
]


def values(shape: Any, *, least: float, most: float, signed: bool) -> st.SearchStrategy[Array]:
    """Draw values whose sizes go from `least` to `most`, evenly in their exponents, in several dtypes."""
    sizes = st.floats(math.log10(least), math.log10(most)).map(lambda e: min(10.0**e, most))
    if signed:
        sizes = st.builds(lambda size, sign: size * sign, sizes, st.sampled_from([-1.0, 1.0]))
    floats = hnp.arrays(np.float64, shape, elements=sizes)
    whole = hnp.arrays(np.int64, shape, elements=st.integers(-20 if signed else 1, 20))
    narrow = floats.map(lambda x: x.astype(np.float32)).filter(lambda x: bool((np.abs(x) <= most).all()))
    return st.one_of(floats, narrow, whole)


@pytest.mark.parametrize("gate", ELEMENTWISE, ids=repr)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=25)
def test_elementwise_gates_at_drawn_inputs(gate: Gate, data: st.DataObject, seed: int) -> None:
    """In any shape, dtype and size of values none is blamed, and a factor of 1.001 at one element always is caught."""
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=3, max_side=3))
    x = data.draw(values(shape, least=1e-12, most=ELEMENTWISE[gate], signed=not isinstance(gate, LogGate)))
    # A kink at a scalar is a test above.
    assume(x.ndim or abs(x) > 1e-3)
    report = check_gate(gate, x, random_state=seed)
    assert report, report
    at = data.draw(st.integers(0, x.size - 1))
    exact = x.astype(float)
    slope = abs(gate.backward(exact, np.ones(x.shape)).flat[at])
    # At a kink a factor of 1.001 may stay between the slopes, and where there is no slope there is nothing to spoil;
    # smaller values beside larger ones are the test below.
    if abs(exact.flat[at]) > 1e-8 and slope > 1e-3:
        assert GRADIENT in check_gate(SpoiltElement(gate, 0, at), x, random_state=seed).failed


@pytest.mark.parametrize("seed", [11, 26])
def test_a_tiny_value_beside_a_large_one_is_checked(seed: int) -> None:
    """No seed draws a dZ with which a factor of 1.001 at 1e-10 is hidden by the 1 beside it."""
    assert GRADIENT in check_gate(SpoiltElement(ReLU(), 0, 1), [1.0, 1e-10], random_state=seed).failed


def test_a_third_is_not_always_an_average() -> None:
    """The sum of X^3 without its 3, where X has three rows, is not told to be averaged."""
    values = np.random.default_rng(0).uniform(0.5, 2.0, (3, 4))
    gate = Pointwise(lambda X: np.asarray(np.sum(X**3)), lambda X, dZ: X * X * dZ)
    (diagnosis,) = check_gate(gate, values).diagnoses
    assert diagnosis.kind == "constant factor"
    assert "3 elements are taken together" not in diagnosis.text


@pytest.mark.parametrize("gate", BINARY, ids=repr)
@given(
    data=st.data(),
    shapes=hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, min_side=1, max_side=3),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=25)
def test_binary_gates_at_drawn_inputs(
    gate: Gate, data: st.DataObject, shapes: hnp.BroadcastableShapes, seed: int
) -> None:
    """In any two shapes that broadcast, and any dtypes, none is blamed, and a factor of 1.001 at one element is."""
    power = isinstance(gate, PowerGate)
    pair = [
        data.draw(values(shape, least=least, most=most, signed=signed))
        for shape, least, most, signed in zip(
            shapes.input_shapes,
            (1e-3 if power else 1e-12, 1e-6),
            (1e3, 3.0 if power else 1e3),
            (not power, True),
            strict=True,
        )
    ]
    if isinstance(gate, PowerGate | DivideGate):
        # Whole numbers may be 0, and 20 is too large an exponent.
        pair[1] = np.where(pair[1] == 0, 1, np.clip(pair[1], -1000, 3 if power else 1000)).astype(pair[1].dtype)
        pair[1] = np.maximum(pair[1], -3).astype(pair[1].dtype) if power else pair[1]
    if power:
        # Negative powers of whole numbers are a test above.
        pair[1] = pair[1].astype(float)
    exact = [x.astype(float) for x in pair]
    # A kink at a scalar is a test above.
    assume(shapes.result_shape or not isinstance(gate, MaximumGate | MinimumGate))
    report = check_gate(gate, *pair, random_state=seed)
    assert report, report
    k = data.draw(st.integers(0, 1))
    at = data.draw(st.integers(0, pair[k].size - 1))
    if spoils(gate, exact, k, at):
        assert GRADIENT in check_gate(SpoiltElement(gate, k, at), *pair, random_state=seed).failed


def spoils(gate: Gate, exact: list[Array], k: int, at: int) -> bool:
    """Whether some output changes by this element so much that a factor of 1.001 is more than rounding."""
    X, Y = exact
    if isinstance(gate, MaximumGate | MinimumGate) and np.abs(X - Y).min() < 1e-2:
        return False
    Z = gate.forward(X, Y)
    moved = [x.copy() for x in exact]
    size = max(abs(moved[k].flat[at]), 1e-6)
    moved[k].flat[at] += 1e-6 * size
    change = np.abs(gate.forward(*moved) - Z) / 1e-6
    return bool((change > 1e-2 * (1 + np.abs(Z).max())).any())


@given(
    value=st.floats(-20, 20),
    other=st.floats(0.01, 20),
    gate=st.sampled_from([Tanh(), Sigmoid(), ExpGate(), SoftmaxLayer()]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=100)
def test_no_smooth_gate_is_blamed_at_any_value(value: float, other: float, gate: Gate, seed: int) -> None:
    """Between -20 and 20 no smooth gate is blamed, and one that is 1.001 times off always is where it has a slope."""
    inputs = np.array([value, other])
    report = check_gate(gate, inputs, random_state=seed)
    assert GRADIENT not in report.failed, report
    G = np.random.default_rng(seed).standard_normal(2)
    if np.abs(gate.backward(inputs, G)).max() > 1e-2:
        blame(Planted(gate, WRONG["1.001 times too large"]), inputs, random_state=seed)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([16.0, 0.0]),
        [30.0, -5.0, 1.0],
        [0.0, 40.0],
    ],
)
def test_softmax_that_is_nearly_sure_is_linear(values: list[float]) -> None:
    """Where softmax's gradient is a small difference of large terms, its rounding is not taken for a breach."""
    for seed in range(20):
        report = check_gate(SoftmaxLayer(), values, random_state=seed)
        assert report, report


# --- Settings ---------------------------------------------------------------------------------------------------------


def test_the_seed_is_the_only_setting() -> None:
    """Tolerances follow from what is measured, and are not asked for."""
    for old in ("rtol", "atol"):
        with pytest.raises(TypeError, match=old):
            check_gate(Tanh(), X, **{old: 1e-3})  # type: ignore[arg-type] # they are gone


@pytest.mark.parametrize("seed", [-1, np.int64(-3), 1.5, 2.0, np.float64(1), "a", None, [1]], ids=repr)
def test_seeds_that_are_none(seed: Any) -> None:
    """A seed is an integer that is not negative, and the message has what came."""
    with pytest.raises(ValueError, match=rf"^random_state must be an integer >= 0, got {re.escape(repr(seed))}$"):
        check_gate(Tanh(), X, random_state=seed)


@pytest.mark.parametrize("seed", [0, np.int64(3), np.uint8(3), 2**70], ids=repr)
def test_seeds_of_every_kind_of_integer(seed: Any) -> None:
    """NumPy's integers, and large ones, are seeds."""
    assert str(check_gate(Tanh(), X, random_state=seed)) == str(check_gate(Tanh(), X, random_state=int(seed)))


def test_same_seed_same_report_and_global_state_untouched() -> None:
    """The check is reproducible, and draws from its own generator, whatever the gate does."""
    before = np.random.get_state(legacy=False)  # noqa: NPY002 -- the legacy state is what is watched
    wrong = Planted(Tanh(), WRONG["wrong sign"])
    first, second, other = blame(wrong, X), blame(wrong, X), blame(wrong, X, random_state=1)
    assert first[0] == second[0] != other[0]
    assert str(check_gate(Tanh(), random_state=3)) == str(check_gate(Tanh(), random_state=3))
    np.testing.assert_equal(np.random.get_state(legacy=False), before)  # noqa: NPY002 -- see above


def test_global_state_is_untouched_by_right_gates() -> None:
    """No check draws from the global generators, or leaves them seeded."""
    before = np.random.get_state(legacy=False)  # noqa: NPY002 -- the legacy state is what is watched
    for gate in (Tanh(), Planted(Tanh(), WRONG["twice"]), BROKEN_BACKWARD):
        check_gate(gate, X)
    np.testing.assert_equal(np.random.get_state(legacy=False), before)  # noqa: NPY002 -- see above


def test_check_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever the gate does inside, nothing is printed and nothing warns; what was found is in the report."""
    overflowing = Pointwise(lambda X: np.log(1 + np.exp(X)), lambda X, dZ: dZ / (1 + np.exp(-X)))

    def warns(X: Array) -> Array:
        warnings.warn("mind the step", stacklevel=1)
        return 2 * X

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for gate in (Tanh(), LogGate(), Halved(), overflowing, Pointwise(warns, lambda _X, dZ: 2 * dZ)):
            for inputs in ((X * X,), ()):
                assert isinstance(check_gate(gate, *inputs), Report)
    assert caught == []
    assert capsys.readouterr() == ("", "")


def test_elementwise_gates_need_no_backward() -> None:
    """A gate that only writes its derivative is proven as any other."""

    class Cosine(ElementwiseGate):
        def forward(self, X):
            return np.cos(X)

        def derivative(self, X):
            return -np.sin(X)

    assert check_gate(Cosine())


# --- What a reader gets wrong -----------------------------------------------------------------------------------------


class UpstreamFirst(Gate):
    """X w with dZ as the first argument of backward."""

    def forward(self, X, w):
        return X * w

    def backward(self, dZ, X, w):
        return dZ * w, dZ * X


class RowSum(Gate):
    """The sum of each row, with a backward that forgets the axis: it runs for square matrices and vectors only."""

    def forward(self, X):
        return X.sum(axis=-1)

    def backward(self, X, dZ):
        return np.ones_like(X) * dZ


class RowsDotRows(Gate):
    """The product of rows with rows, whose backward is not meant for one row with all."""

    def forward(self, X, Y):
        return (X * Y).sum(axis=1)

    def backward(self, X, Y, dZ):
        return Y * dZ[:, None], X * dZ[:, None]


def test_upstream_gradient_in_the_first_place_is_told() -> None:
    """The order of backward's arguments can be seen, and what it must be is said."""
    report = check_gate(UpstreamFirst())
    assert found(report, "gradients fit their inputs") == (
        "backward is (self, dZ, X, w): the inputs come first and dZ last, backward(self, X, w, dZ)"
    )


def test_shapes_that_backward_does_not_take_are_not_passed_over() -> None:
    """What fails for a matrix is told first, though vectors and square matrices go through."""
    report = check_gate(RowSum())
    assert "backward failed for X (5, 3), dZ (5,)" in found(report, "gradients fit their inputs")


def test_shapes_that_are_left_out_are_told() -> None:
    """Shapes that only the checker thought of do not count, and the report says which were left out."""
    report = check_gate(RowsDotRows())
    assert report, report
    assert "; not at X (5, 3), Y (3,), where forward runs and backward fails" in report.examples[0]
