"""check_gate itself: what it must catch, what its message says, and whom it must not blame."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gates import (
    AddGate,
    DivideGate,
    ElementwiseProductGate,
    ExpGate,
    Gate,
    GateError,
    GatherGate,
    LogGate,
    MultiplyGate,
    PowerGate,
    Sigmoid,
    Softmax,
    SoftmaxLayer,
    SquaredError,
    SumGate,
    Tanh,
    check_gate,
)
from tests.gate_table import ROWS, Array, Row

RNG = np.random.default_rng(7)
X = RNG.standard_normal((3, 4))
Y = RNG.standard_normal((3, 4)) + 3.0

MESSAGE = re.compile(
    r"^(?P<gate>\w+): backward's gradient of input (?P<input>\w+) \((?P<number>\d) of (?P<count>\d)\) is wrong in "
    r"(?P<wrong>\d+) of (?P<size>\d+) elements, most at (?P<name>\w+)(?:\[(?P<at>[\d, ]+)\])?: "
    r"expected (?P<expected>\S+) \(central difference\), got (?P<got>\S+)$"
)


def blame(gate: Gate, *inputs: Any, **settings: Any) -> re.Match[str]:
    """Return the parts of check_gate's message, which must come."""
    with pytest.raises(GateError) as caught:
        check_gate(gate, *inputs, **settings)
    found = MESSAGE.match(str(caught.value))
    assert found, f"not the message of a wrong gradient: {caught.value}"
    return found


# --- Wrong gates ------------------------------------------------------------------------------------------------------


class Planted(Gate):
    """A gate of one input whose backward another one has spoilt."""

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
@pytest.mark.parametrize("seed", range(3))
def test_wrong_gradient_is_caught(gate: Gate, spoil: Callable[[Array, Array], Any], seed: int) -> None:
    """Each planted error is found, whatever the upstream gradient."""
    found = blame(Planted(gate, spoil), X, random_state=seed)
    assert (found["gate"], found["input"], found["number"], found["count"]) == ("Planted", "X", "1", "1")
    assert int(found["size"]) == 12


def test_softmax_with_zero_gradient_is_caught() -> None:
    """The sum of a softmax never changes, so a checker with an upstream gradient of ones would pass this one."""

    class ZeroSoftmax(SoftmaxLayer):
        def backward(self, X, dZ):
            return np.zeros_like(dZ)

    assert blame(ZeroSoftmax(), X)["gate"] == "ZeroSoftmax"


def test_softmax_without_its_jacobian_is_caught() -> None:
    """Only the diagonal of the Jacobian is not the Jacobian."""

    class DiagonalSoftmax(SoftmaxLayer):
        def backward(self, X, dZ):
            Z = self.forward(X)
            return Z * (1 - Z) * dZ

    blame(DiagonalSoftmax(), X)


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
    found = blame(PlantedPair(back), X, Y)
    assert (found["input"], found["number"], found["count"], found["name"]) == (name, number, "2", name)


def test_broadcast_input_is_checked_in_its_own_shape() -> None:
    """The gradient of a row that was broadcast is added up, then compared with the slopes of that row."""
    right = PlantedPair(lambda W, X, dZ: (X * dZ, W * dZ))
    check_gate(right, X, Y[0])
    check_gate(right, X[:, :1], Y)
    check_gate(right, 2.0, Y)
    found = blame(PlantedPair(lambda W, X, dZ: (X * dZ, (W * dZ).mean(axis=0))), X, Y[0])
    assert (found["input"], found["size"]) == ("X", "4")


def test_the_message_tells_the_truth() -> None:
    """Element, expected and got are those of the analytic gradient."""
    G = np.random.default_rng(3).standard_normal(X.shape)
    found = blame(Planted(Tanh(), _first_element), X, random_state=3)
    true = (1 - np.tanh(X[1, 2]) ** 2) * G[1, 2]
    assert (found["at"], found["wrong"]) == ("1, 2", "1")
    assert float(found["expected"]) == pytest.approx(true, rel=1e-6)
    assert float(found["got"]) == pytest.approx(1.01 * true, rel=1e-6)


def test_the_element_that_is_furthest_off_is_named() -> None:
    """Of several wrong elements the message counts all, and names the one with the largest error; nan comes first."""
    error = np.zeros((3, 4))
    error[0, 1], error[2, 3], error[1, 0] = 0.1, -0.5, 0.2
    found = blame(Planted(Tanh(), lambda dX, _dZ: dX + error), X)
    assert (found["at"], found["wrong"]) == ("2, 3", "3")
    assert float(found["got"]) - float(found["expected"]) == pytest.approx(-0.5, rel=1e-6)
    error[1, 1] = np.nan
    found = blame(Planted(Tanh(), lambda dX, _dZ: dX + error), X)
    assert (found["at"], found["wrong"], found["got"]) == ("1, 1", "4", "nan")


def test_an_input_without_axes_has_no_element() -> None:
    """A scalar is named without brackets."""
    found = blame(Planted(Tanh(), lambda dX, _dZ: -dX), 0.5)
    assert (found["name"], found["at"]) == ("X", None)


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint8, np.float32, np.float16])
def test_inputs_of_other_dtypes_are_checked(dtype: type) -> None:
    """Whole numbers, and narrow floats, are checked at their values in float64."""
    values = np.array([[1, 2, 3], [4, 5, 2]], dtype)
    check_gate(ElementwiseProductGate(), values, values)
    check_gate(SquaredError(), values, values + 1)
    assert blame(PlantedPair(lambda W, X, dZ: (X * dZ, -W * dZ)), values, values)["input"] == "X"


def test_lists_and_numbers_are_inputs() -> None:
    """Inputs may be written as lists and numbers."""
    check_gate(MultiplyGate(), [[1, 2], [3, 4]], [[0.5, 1]])
    blame(Planted(Tanh(), lambda dX, _dZ: -dX), [1, 2, 3])


# --- Breaches of the contract -----------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("gate", [WritesInput(), WritesInputBackward(), WritesUpstream()], ids=repr)
def test_gate_that_writes_into_its_arguments_is_caught(gate: Gate) -> None:
    """A gate writes into none of its arguments: inputs, upstream gradient."""
    with pytest.raises(GateError, match=f"{type(gate).__name__}: .*read-only"):
        check_gate(gate, X.copy())


@pytest.mark.parametrize("gate", [WritesInput(), WritesInputBackward(), WritesUpstream(), Tanh()], ids=repr)
def test_the_callers_arrays_stay_as_they_are(gate: Gate) -> None:
    """Whatever the gate does, it does it to copies."""
    mine = X.copy()
    # Whether it is caught is the test above.
    with contextlib.suppress(GateError):
        check_gate(gate, mine)
    np.testing.assert_array_equal(mine, X)
    assert mine.flags.writeable


def test_gate_that_differs_from_call_to_call_is_caught() -> None:
    """A gate with noise of its own has no slope to compare with."""

    class Noisy(Gate):
        def forward(self, X):
            return X * np.random.default_rng().standard_normal(X.shape)

        def backward(self, X, dZ):
            return dZ

    with pytest.raises(GateError, match="Noisy"):
        check_gate(Noisy(), X)


def test_gate_that_keeps_values_from_its_forward_is_caught() -> None:
    """A gate is run elsewhere between forward and backward, as a gate object in two layers is."""

    class Stateful(Gate):
        def forward(self, X):
            self.Z = np.tanh(X)
            return self.Z

        def backward(self, X, dZ):
            return (1 - self.Z * self.Z) * dZ

    for values in (X, np.zeros(3)):
        with pytest.raises(GateError, match=r"Stateful: backward's gradient of input X changed.*keep nothing on self"):
            check_gate(Stateful(), values)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_forward_that_is_not_finite_is_said(bad: float) -> None:
    """Where there is no value there is no slope, and that is what the message says."""
    with pytest.raises(GateError, match="ExpGate: forward is not finite here; check it at inputs where it is"):
        check_gate(ExpGate(), [1.0, bad])


def test_gate_without_any_gradient_is_refused() -> None:
    """None for every floating input is a mistake; a gate of whole numbers alone leaves nothing to check."""
    nothing = PlantedPair(lambda _W, _X, _dZ: (None, None))
    with pytest.raises(GateError, match="PlantedPair: backward returned no gradient for any of W, X"):
        check_gate(nothing, X, Y)
    with pytest.raises(GateError, match="PlantedPair: none of its inputs has a gradient, so there is nothing to check"):
        check_gate(nothing, [1, 2], [3, 4])


def test_constants_may_have_none() -> None:
    """A floating input whose gradient is None needs the gate's word that it is a constant."""

    class Scaled(Gate):
        def forward(self, X, scale):
            return X * scale

        def backward(self, X, scale, dZ):
            return scale * dZ, None

    class ScaledByConstant(Scaled):
        constants = ("scale",)

    assert blame(Scaled(), X, 2.0)["got"] == "None"
    check_gate(ScaledByConstant(), X, 2.0)


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        (Tanh, r"^check_gate proves a Gate, got <class 'gates\.layers\.Tanh'>; write MyGate\(\)$"),
        (np.tanh, r"^check_gate proves a Gate, got <ufunc 'tanh'>$"),
        ("Tanh", r"^check_gate proves a Gate, got 'Tanh'$"),
        (None, r"^check_gate proves a Gate, got None$"),
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
        (Tanh(), (), r"Tanh takes 1 inputs? \(X\), got 0"),
        (AddGate(), (X,), r"AddGate takes 2 inputs \(X, b\), got 1"),
        (AddGate(), (X, np.ones(3)), r"AddGate: forward failed for inputs X \(3, 4\), b \(3,\)"),
        (Tanh(), (["a"],), "must be an array of real numbers, got list with strings"),
        (Softmax(), (X, [0, 1, 9]), r"Softmax: labels must be in 0\.\.3, got 9 at position 2"),
        (PlantedPair(lambda _W, _X, dZ: (dZ,)), (X, Y), "must return 2 gradients, .*got 1"),
        (PlantedPair(lambda _W, _X, dZ: (dZ, dZ.T)), (X, Y), r"must have the shape of X, \(3, 4\), got \(4, 3\)"),
        (PlantedPair(lambda _W, _X, dZ: (dZ, dZ.astype("f4"))), (X, Y), "must have dtype float64, got float32"),
    ],
    ids=str,
)
def test_other_breaches_keep_their_message(gate: Gate, inputs: tuple[Any, ...], message: str) -> None:
    """Wrong counts, shapes, labels and dtypes are said as when the gate is run."""
    with pytest.raises(GateError, match=message):
        check_gate(gate, *inputs)


# --- Small and large --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-9, 1e-6, 1e-3, 1.0, 1e3, 1e6, 1e9])
@pytest.mark.parametrize("factor", [-1.0, 0.0, 1.001, 2.0])
def test_wrong_gradient_is_caught_at_any_scale(scale: float, factor: float) -> None:
    """A gate with small or large slopes is no less wrong."""

    class Scaled(Gate):
        def forward(self, X):
            return scale * np.tanh(X)

        def backward(self, X, dZ):
            return factor * scale * (1 - np.tanh(X) ** 2) * dZ

    blame(Scaled(), X)


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
    check_gate(gate, *inputs)


def test_exp_at_twenty() -> None:
    """exp(20) is 5e8, and so is its slope."""
    check_gate(ExpGate(), [20.0, -20.0, 0.0, 1e-6])


@pytest.mark.parametrize("gate", [SumGate(), SquaredError(), SquaredError(reduction="sum")], ids=repr)
def test_sum_of_ten_thousand_terms(gate: Gate) -> None:
    """What many other terms add to the output does not drown the slope to one."""
    many = np.random.default_rng(0).uniform(-3, 3, 10_000)
    check_gate(gate, *([many] if isinstance(gate, SumGate) else [many, many[::-1].copy()]))


def test_ten_thousand_large_terms() -> None:
    """Terms of a thousand, ten thousand of them."""
    check_gate(SumGate(), 1000 + np.random.default_rng(0).uniform(0, 1, 10_000))


@pytest.mark.parametrize("row", ROWS, ids=Row.name)
@pytest.mark.parametrize("seed", [11, 12, 13, 14])
def test_no_right_gate_is_blamed(row: Row, seed: int) -> None:
    """Every gate of the table passes, at other inputs and other upstream gradients than its own tests use."""
    check_gate(row.gate, *row.inputs(np.random.default_rng(seed)), random_state=seed)


@given(
    value=st.floats(-20, 20),
    other=st.floats(0.01, 20),
    gate=st.sampled_from([Tanh(), Sigmoid(), ExpGate(), SoftmaxLayer()]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=100)
def test_no_smooth_gate_is_blamed_at_any_value(value: float, other: float, gate: Gate, seed: int) -> None:
    """Between -20 and 20 no smooth gate is blamed, and one that is 1.001 times off always is where it has a slope."""
    values = np.array([value, other])
    check_gate(gate, values, random_state=seed)
    G = np.random.default_rng(seed).standard_normal(2)
    if np.abs(gate.backward(values, G)).max() > 1e-2:
        blame(Planted(gate, WRONG["1.001 times too large"]), values, random_state=seed)


# --- Settings ---------------------------------------------------------------------------------------------------------


def test_tolerances_are_settings() -> None:
    """A looser rtol lets a small error pass, a tighter one does not."""
    slightly = Planted(Tanh(), WRONG["1.001 times too large"])
    check_gate(slightly, X, rtol=1e-2)
    check_gate(slightly, X, atol=1.0)
    blame(slightly, X, rtol=1e-5)


def test_same_seed_same_message_and_global_state_untouched() -> None:
    """The check is reproducible, and draws from its own generator."""
    before = np.random.get_state(legacy=False)  # noqa: NPY002 -- the legacy state is what is watched
    wrong = Planted(Tanh(), WRONG["wrong sign"])
    first, second, other = blame(wrong, X), blame(wrong, X), blame(wrong, X, random_state=1)
    assert first[0] == second[0] != other[0]
    np.testing.assert_equal(np.random.get_state(legacy=False), before)  # noqa: NPY002 -- see above


def test_inputs_without_gradient_are_held_fixed() -> None:
    """Labels and row numbers stay integers all the way through the check."""
    check_gate(Softmax(), X, [0, 1, 3])
    check_gate(GatherGate(), X, [[0, 2], [2, 2]])


def test_empty_inputs_pass() -> None:
    """Of no elements none is wrong."""
    check_gate(Tanh(), np.empty((0, 3)))
    check_gate(AddGate(), np.empty((0, 3)), np.ones(3))


def test_check_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    """A gate that passes says nothing, and returns nothing."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert check_gate(Tanh(), X) is None
    assert caught == []
    assert capsys.readouterr() == ("", "")
