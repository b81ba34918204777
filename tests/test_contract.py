"""The contract of a gate: what is checked around forward and backward, and what the messages say."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gates import (
    AddGate,
    ConcatenateGate,
    DivideGate,
    ElementwiseProductGate,
    Gate,
    GateError,
    LeakyReLU,
    MultiplyGate,
    NegateGate,
    PowerGate,
    Softmax,
    SubtractGate,
    Tanh,
    check_gate,
)
from gates.arithmetic import Operators
from gates.arrays import as_array, unbroadcast
from gates.contract import input_names, run_backward, run_forward

ONES = np.ones((2, 3))


class Scripted(Gate):
    """A gate of two inputs, W and X, that does what the test says."""

    def __init__(self, then: Callable[..., Any] = np.add, back: Callable[..., Any] | None = None) -> None:
        self.then, self.back = then, back

    def forward(self, W, X):
        return self.then(W, X)

    def backward(self, W, X, dZ):
        return self.back(W, X, dZ)


class Optional(Gate):
    """A gate of one to two inputs."""

    def forward(self, X, scale=None):
        return X if scale is None else X * scale

    def backward(self, X, *scale_and_dZ):
        return scale_and_dZ[-1], *(None for _ in scale_and_dZ[:-1])


class Many(Gate):
    """A gate of one named input and any number of others."""

    def forward(self, first, *others):
        return first + sum(others)

    def backward(self, *args):
        return [args[-1]] * (len(args) - 1)


# --- Calling a gate ---------------------------------------------------------------------------------------------------


def test_a_gate_computes_on_arrays() -> None:
    """Called on arrays, lists or numbers, a gate gives the array of its forward."""
    Z = MultiplyGate()([[1.0], [2.0]], np.array([[3.0, 4.0]]))
    assert type(Z) is np.ndarray
    np.testing.assert_array_equal(Z, [[11.0]])
    assert ElementwiseProductGate()(3, 4.0) == 12


def test_abstract_gates_cannot_be_made() -> None:
    """A gate without forward or backward is refused by Python itself."""

    class Half(Gate):
        def forward(self, X):
            return X

    with pytest.raises(TypeError, match="backward"):
        Half()


@pytest.mark.parametrize(
    ("gate", "count", "message"),
    [
        (Scripted(), 1, r"Scripted takes 2 inputs (W, X), got 1"),
        (Scripted(), 3, r"Scripted takes 2 inputs (W, X), got 3"),
        (Scripted(), 0, r"Scripted takes 2 inputs (W, X), got 0"),
        (MultiplyGate(), 3, r"MultiplyGate takes 2 inputs (W, X), got 3"),
        (AddGate(), 1, r"AddGate takes 2 inputs (X, b), got 1"),
        (Optional(), 3, r"Optional takes 1 to 2 inputs (X, scale), got 3"),
        (Softmax(), 1, r"Softmax takes 2 to 3 inputs (scores, targets, sample_weight), got 1"),
        (Many(), 0, r"Many takes 1 or more inputs (first), got 0"),
        (ConcatenateGate(), 0, r"ConcatenateGate takes 1 or more inputs, got 0"),
    ],
    ids=str,
)
def test_wrong_number_of_inputs(gate: Gate, count: int, message: str) -> None:
    """The message has the expected number, the inputs' names, and the number that came."""
    with pytest.raises(GateError, match=f"^{re.escape(message)}$"):
        gate(*[ONES] * count)


def test_forward_may_be_a_static_method():
    """A forward without `self` has one input fewer to skip."""

    class Static(Gate):
        @staticmethod
        def forward(X):
            return X * X

        @staticmethod
        def backward(X, dZ):
            return 2 * X * dZ

    assert check_gate(Static(), [1.0, 2.0])
    with pytest.raises(GateError, match=r"Static takes 1 input \(X\), got 2"):
        Static()(1.0, 2.0)


@pytest.mark.parametrize(("gate", "counts"), [(Optional(), [1, 2]), (Many(), [1, 2, 5]), (ConcatenateGate(), [1, 4])])
def test_optional_and_open_numbers_of_inputs(gate: Gate, counts: list[int]) -> None:
    """Inputs with a default may be left out, and a starred input takes any number."""
    for count in counts:
        inputs = [ONES] * count
        Z = run_forward(gate, [as_array(x, "x", GateError) for x in inputs])
        assert len(run_backward(gate, inputs, Z)) == count


def test_names_of_inputs() -> None:
    """Inputs are called as forward spells them, and by number where it does not."""
    assert input_names(Scripted(), 2) == ["W", "X"]
    assert input_names(Many(), 3) == ["first", "input 2", "input 3"]
    assert input_names(Softmax(), 2) == ["scores", "targets"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (["a", "b"], "got list with strings"),
        (np.array([b"a"]), "got ndarray with strings"),
        (None, "got NoneType with dtype object"),
        (1 + 2j, "got complex with dtype complex128"),
        ([[1, 2], [3]], "got rows of unequal length"),
        (np.array(["2020-01-01"], "datetime64[D]"), "got ndarray with dtype datetime64"),
        ({"a": 1}, "got dict with dtype object"),
    ],
    ids=repr,
)
def test_inputs_that_are_no_real_numbers(value: Any, message: str) -> None:
    """Strings, objects, complex numbers and ragged rows are refused, saying what came."""
    with pytest.raises(GateError, match=f"an input must be an array of .*numbers, {message}"):
        Tanh()(value)


# --- What forward gives back ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ([1.0, 2.0], "must be an array, got list"),
        ((1.0, 2.0), "must be an array, got tuple"),
        (None, "must be an array, got NoneType"),
        ("text", "must be an array, got str"),
        (1j, "must be an array, got complex"),
        (np.complex128(1), "must be an array of real numbers, got dtype complex128"),
    ],
    ids=repr,
)
def test_forward_that_returns_no_array(result: Any, message: str) -> None:
    """The message says whose result it is, and what it is."""
    with pytest.raises(GateError, match=f"^Scripted: forward's result {message}"):
        Scripted(lambda _W, _X: result)(ONES, ONES)


@pytest.mark.parametrize("result", [np.array([1j]), np.array([None]), np.array(["a"])], ids=repr)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_forward_that_returns_an_array_of_something_else(result: Any, dtype: type) -> None:
    """Complex numbers, objects and strings are no result, whatever the inputs are."""
    inputs = ONES.astype(dtype)
    with pytest.raises(GateError, match=f"^Scripted: forward.* must (be|return) .*, got (dtype )?{result.dtype}"):
        Scripted(lambda _W, _X: result)(inputs, inputs)


@pytest.mark.parametrize("result", [2.0, np.float64(2), np.array(2.0)], ids=repr)
def test_forward_may_return_a_scalar(result: Any) -> None:
    """A float and a NumPy scalar become an array without axes."""
    Z = Scripted(lambda _W, _X: result)(ONES, ONES)
    assert type(Z) is np.ndarray
    assert (Z.shape, Z) == ((), 2)


def test_forward_that_widens_float32() -> None:
    """The message says which dtypes, and what to write instead."""
    gate = Scripted(lambda W, X: (W + X) * np.sqrt(2.0))
    narrow = ONES.astype(np.float32)
    message = r"Scripted: forward must return float32, the dtype of its inputs, got float64; .*write math\.sqrt\(2\.0\)"
    with pytest.raises(GateError, match=message):
        gate(narrow, narrow)
    assert Scripted(lambda W, X: (W + X) * math.sqrt(2.0))(narrow, narrow).dtype == np.float32


def test_forward_that_narrows_or_rounds() -> None:
    """From float64 to float32 or to integers is a breach as well."""
    for dtype in (np.float32, np.int64):
        with pytest.raises(GateError, match=f"forward must return float64, .*got {np.dtype(dtype)}"):
            Scripted(lambda W, X, dtype=dtype: (W + X).astype(dtype))(ONES, ONES)


def test_integer_inputs_ask_for_no_dtype() -> None:
    """Of whole numbers a gate may make what it likes."""
    whole = np.array([1, 2])
    assert AddGate()(whole, whole).dtype == whole.dtype
    assert DivideGate()(whole, whole).dtype == np.float64


def _raise(error: Exception) -> Callable[..., Any]:
    def act(*_: Any) -> Any:
        raise error

    return act


@pytest.mark.parametrize("error", [ValueError, IndexError, TypeError])
def test_errors_of_forward_and_backward_are_wrapped(error: type[Exception]) -> None:
    """What arrays that do not fit raise comes with every name and shape, and with its cause."""
    gate = Scripted(_raise(error("so it is")), _raise(error("so it is")))
    W, X = np.ones((2, 3)), np.ones((4, 5))
    with pytest.raises(
        GateError, match=r"^Scripted: forward failed for inputs W \(2, 3\), X \(4, 5\): so it is"
    ) as one:
        gate(W, X)
    assert type(one.value.__cause__) is error
    listed = r"W \(2, 3\), X \(4, 5\), dZ \(7,\)"
    with pytest.raises(GateError, match=rf"^Scripted: backward failed for {listed}: so it is") as two:
        run_backward(gate, [W, X], np.ones(7))
    assert type(two.value.__cause__) is error


@pytest.mark.parametrize("error", [NameError, AttributeError, KeyError, ZeroDivisionError, KeyboardInterrupt])
def test_other_errors_pass_through(error: type[BaseException]) -> None:
    """A misspelt name is the author's to see, with its own traceback."""
    gate = Scripted(_raise(error("a typo")), _raise(error("a typo")))
    with pytest.raises(error, match="a typo"):
        gate(ONES, ONES)
    with pytest.raises(error, match="a typo"):
        run_backward(gate, [ONES, ONES], ONES)


def test_gate_errors_get_the_gate_s_title_once() -> None:
    """What a gate itself refuses keeps its words, behind the title that the caller gave."""
    gate = Scripted(_raise(GateError("no such row")), _raise(GateError("no such row")))
    with pytest.raises(GateError, match=r"^Scripted: no such row$"):
        gate(ONES, ONES)
    with pytest.raises(GateError, match=r"^node Z1: no such row$"):
        run_forward(gate, [ONES, ONES], title="node Z1")
    with pytest.raises(GateError, match=r"^node Z1: no such row$"):
        run_backward(gate, [ONES, ONES], ONES, title="node Z1")


def test_messages_use_the_callers_names() -> None:
    """A graph calls gate and inputs by its nodes' names, in every message."""
    gate = Scripted(_raise(ValueError("no")), lambda _W, _X, _dZ: (ONES, np.ones(7)))
    with pytest.raises(GateError, match=r"^node Z1: forward failed for inputs W1 \(2, 3\), x \(2, 3\): no"):
        run_forward(gate, [ONES, ONES], "node Z1", ["W1", "x"])
    with pytest.raises(GateError, match=r"^node Z1: backward's gradient of x must have the shape of x, \(2, 3\)"):
        run_backward(gate, [ONES, ONES], ONES, "node Z1", ["W1", "x"])


# --- What backward gives back -----------------------------------------------------------------------------------------

_WHERE = "Scripted: backward"


@pytest.mark.parametrize(
    ("back", "message"),
    [
        (
            lambda _W, _X, dZ: (dZ,),
            r" must return 2 gradients, one for each of W, X in this order \(None for no gradient\), got 1",
        ),
        (lambda _W, _X, dZ: dZ, r" must return 2 gradients, .*got 1"),
        (lambda _W, _X, dZ: (dZ, dZ, dZ), r" must return 2 gradients, .*got 3"),
        (lambda _W, _X, _dZ: (), r" must return 2 gradients, .*got 0"),
        (lambda _W, _X, _dZ: None, r" must return 2 gradients, .*got 1"),
        (lambda _W, _X, dZ: (dZ, dZ[0]), r"'s gradient of X must have the shape of X, \(2, 3\), got \(3,\)"),
        (lambda _W, _X, dZ: (dZ.T, dZ), r"'s gradient of W must have the shape of W, \(2, 3\), got \(3, 2\)"),
        (lambda _W, _X, dZ: (dZ, dZ[None] * np.ones((4, 1, 1))), r"'s gradient of X must have .*got \(4, 2, 3\)"),
        (lambda _W, _X, dZ: (dZ, dZ[:, :1]), r"'s gradient of X must have the shape of X, \(2, 3\), got \(2, 1\)"),
        (lambda _W, _X, dZ: (dZ.sum(), dZ), r"'s gradient of W must have the shape of W, \(2, 3\), got \(\)"),
        (lambda _W, _X, dZ: (dZ.astype(np.float32), dZ), r"'s gradient of W must have dtype float64, got float32"),
        (lambda _W, _X, dZ: (dZ, dZ.astype(int)), r"'s gradient of X must have dtype float64, got int64"),
        (lambda _W, _X, dZ: (dZ, dZ > 0), r"'s gradient of X must have dtype float64, got bool"),
        (lambda _W, _X, dZ: (dZ, dZ * 1j), r"'s gradient of X must have dtype float64, got complex128"),
        (lambda _W, _X, dZ: (dZ, dZ.astype(object)), r"'s gradient of X .*object"),
        (lambda _W, _X, dZ: (dZ, dZ.tolist()), r"'s gradient of X must be an array, got list"),
        (lambda _W, _X, dZ: (dZ, "dX"), r"'s gradient of X must be an array, got str"),
    ],
)
def test_backward_that_breaks_the_contract(back: Callable[..., Any], message: str) -> None:
    """Wrong count, shape, dtype or kind: the message has gate, input, expected and got."""
    with pytest.raises(GateError, match=f"^{_WHERE}{message}"):
        run_backward(Scripted(back=back), [ONES, ONES], ONES)


def test_backward_may_return_a_list_of_gradients_or_a_single_one() -> None:
    """A list stands for a tuple, and one input needs neither."""
    gate = Scripted(back=lambda _W, _X, dZ: [dZ, None])
    dW, dX = run_backward(gate, [ONES, ONES], ONES)
    np.testing.assert_array_equal(dW, ONES)
    assert dX is None
    (dX,) = run_backward(NegateGate(), [ONES], ONES)
    np.testing.assert_array_equal(dX, -ONES)


@pytest.mark.parametrize(
    ("shape", "output", "gradient"),
    [
        ((1, 3), (1, 3), (5, 3)),
        ((3,), (3,), (5, 3)),
        ((3,), (2, 3), (5, 3)),
        ((1, 3), (4, 3), (5, 3)),
        ((1, 3), (3, 3), (3, 1)),
        ((1, 3), (1, 3), (3, 1)),
        ((), (), (4,)),
        ((), (2,), (3,)),
        ((2, 3), (), (2,)),
        ((2, 3), (4, 2, 3), (3,)),
        ((3,), (3,), (4, 5, 3)),
        ((1, 3, 4), (3, 4), (5, 3, 4)),
        ((3, 4), (3, 4), (2, 3, 4)),
        ((3, 4), (3,), (2, 3, 4)),
        ((4,), (5, 3), (5, 3, 2)),
        ((1,), (7, 7), (2, 7, 7)),
    ],
)
def test_gradient_that_was_not_broadcast(
    shape: tuple[int, ...], output: tuple[int, ...], gradient: tuple[int, ...]
) -> None:
    """A gradient that is larger than its input where the output is not as large is refused, not added up."""
    gate = Scripted(back=lambda _W, _X, _dZ: (np.ones(gradient), None))
    message = f"gradient of W must have the shape of W, {shape}, got {gradient}"
    with pytest.raises(GateError, match=re.escape(message)):
        run_backward(gate, [np.ones(shape), ONES], np.ones(output))


@pytest.mark.parametrize(
    ("shape", "output", "axes"),
    [
        ((3,), (2, 3), (0,)),
        ((3,), (5, 2, 3), (0, 1)),
        ((2, 1), (2, 3), (1,)),
        ((1, 3), (2, 3), (0,)),
        ((2, 1, 4), (2, 3, 4), (1,)),
        ((1, 1), (2, 3), (0, 1)),
        ((3, 1), (2, 3, 4), (0, 2)),
        ((), (2, 3), (0, 1)),
        ((1,), (2, 3), (0, 1)),
        ((), (), ()),
        ((2, 3), (2, 3), ()),
        ((1, 3), (0, 3), (0,)),
        ((1,), (0,), (0,)),
    ],
)
def test_gradient_of_a_broadcast_input(shape: tuple[int, ...], output: tuple[int, ...], axes: tuple[int, ...]) -> None:
    """Leading axes, axes of length one, and scalars: the gradient is added up over the repetitions."""
    G = np.asarray(np.random.default_rng(0).standard_normal(output))
    expected = np.sum(G, axis=axes).reshape(shape)
    np.testing.assert_allclose(unbroadcast(G, shape), expected)
    dX, db = run_backward(AddGate(), [np.ones(output), np.ones(shape)], G)
    assert dX is not None
    assert db is not None
    assert db.shape == shape
    np.testing.assert_allclose(db, expected)
    np.testing.assert_array_equal(dX, G)


def test_a_broadcast_that_the_output_does_not_show_is_the_gates_own() -> None:
    """A gate that broadcasts inside and sums is told to add up itself: from outside it would be a guess."""

    class RowSums(Gate):
        def forward(self, X, b):
            return (X * b).sum(axis=-1)

        def backward(self, X, b, dZ):
            return dZ[..., None] * b, dZ[..., None] * X

    X, b, G = np.arange(60.0).reshape(5, 3, 4), np.arange(4.0), np.ones((5, 3))
    with pytest.raises(GateError, match=r"gradient of b must have the shape of b, \(4,\), got \(5, 3, 4\)"):
        run_backward(RowSums(), [X, b], G)


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4)])
def test_a_gradient_with_a_spare_axis_is_refused(shape: tuple[int, ...]) -> None:
    """A gradient has no more axes than its input and the output have: a spare one of length one is a mistake."""
    gate = Scripted(back=lambda _W, _X, dZ: (dZ[None], None))
    with pytest.raises(GateError, match="gradient of W must have the shape of W"):
        run_backward(gate, [np.ones(shape), ONES], np.ones(shape))


def test_a_missing_return_is_said() -> None:
    """No gradient for any floating input is a forgotten `return`; for whole numbers alone it is right."""

    class Forgot(Gate):
        def forward(self, X):
            return np.tanh(X)

        def backward(self, X, dZ):
            _ = (1 - np.tanh(X) ** 2) * dZ

    with pytest.raises(GateError, match=r"Forgot: backward returned no gradient for any of X; is a `return` missing\?"):
        run_backward(Forgot(), [ONES], ONES)
    assert run_backward(Forgot(), [np.array([1, 2])], np.ones(2)) == (None,)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint32])
def test_narrow_integers_do_not_wrap_around(dtype: type) -> None:
    """Whole numbers stand for real ones: 1 - 2 is -1, and 100 * 100 is 10000."""
    one, two, hundred = (np.array([n], dtype) for n in (1, 2, 100))
    assert SubtractGate()(one, two) == -1
    assert NegateGate()(one) == -1
    assert AddGate()(hundred, hundred) == 200
    assert Tanh()(one).dtype == np.float64


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_other_exceptions_carry_a_note(where: str) -> None:
    """An exception of the gate's own passes through, with a note of the gate and the direction."""

    class Broken(Gate):
        def forward(self, X):
            return X / {"forward": {}}.get(where, {0: 1})[0]

        def backward(self, X, dZ):
            return {}[0]

    with pytest.raises(KeyError) as caught:
        run_backward(Broken(), [ONES], ONES) if where == "backward" else Broken()(ONES)
    assert caught.value.__notes__ == [f"in the {where} of Broken"]


def test_none_is_no_gradient_and_integers_get_a_floating_one() -> None:
    """None stays None; the gradient of whole numbers has the dtype of the floating arrays around it."""
    gate = Scripted(back=lambda _W, X, dZ: (None, X * dZ))
    dW, dX = run_backward(gate, [ONES, np.array([[1, 2, 3]])], ONES.astype(np.float32).astype(np.float64))
    assert dW is None
    assert dX is not None
    assert dX.dtype == np.float64
    np.testing.assert_array_equal(dX, [[2, 4, 6]])


def test_gradients_come_in_the_dtype_of_their_input() -> None:
    """Of a float32 and a float64 input each gets its own dtype back."""
    narrow = ONES.astype(np.float32)
    dX, db = run_backward(AddGate(), [narrow, ONES], ONES)
    assert dX is not None
    assert db is not None
    assert (dX.dtype, db.dtype) == (np.float32, np.float64)


def test_repr() -> None:
    """A gate's repr has its settings; those that are None are left out."""
    assert repr(Tanh()) == "Tanh()"
    assert repr(LeakyReLU(0.2)) == "LeakyReLU(slope=0.2)"
    assert repr(Softmax(class_weight={0: 2.0})) == "Softmax(reduction='mean', class_weight={0: 2.0})"


# --- Operators --------------------------------------------------------------------------------------------------------


class Symbol(Operators):
    """A stand-in for a node: applying a gate to it tells the gate's class, the inputs and the name."""

    def apply_gate(self, gate, inputs, name):
        return type(gate), inputs, name


x, y, A = Symbol(), Symbol(), np.ones(2)


@pytest.mark.parametrize(
    ("call", "gate", "inputs"),
    [
        (lambda: x + y, AddGate, (x, y)),
        (lambda: x + 1, AddGate, (x, 1)),
        (lambda: 1 + x, AddGate, (1, x)),
        (lambda: A + x, AddGate, (A, x)),
        (lambda: x + A, AddGate, (x, A)),
        (lambda: x - y, SubtractGate, (x, y)),
        (lambda: 1 - x, SubtractGate, (1, x)),
        (lambda: A - x, SubtractGate, (A, x)),
        (lambda: x * y, ElementwiseProductGate, (x, y)),
        (lambda: 2 * x, ElementwiseProductGate, (2, x)),
        (lambda: A * x, ElementwiseProductGate, (A, x)),
        (lambda: np.float64(2) * x, ElementwiseProductGate, (np.float64(2), x)),
        (lambda: x / y, DivideGate, (x, y)),
        (lambda: 1 / x, DivideGate, (1, x)),
        (lambda: A / x, DivideGate, (A, x)),
        (lambda: x**2, PowerGate, (x, 2)),
        (lambda: 2**x, PowerGate, (2, x)),
        (lambda: A**x, PowerGate, (A, x)),
        (lambda: x @ y, MultiplyGate, (y, x)),
        (lambda: x @ A, MultiplyGate, (A, x)),
        (lambda: A @ x, MultiplyGate, (x, A)),
        (lambda: -x, NegateGate, (x,)),
    ],
)
def test_operators_are_gates(call: Callable[[], Any], gate: type[Gate], inputs: tuple[Any, ...]) -> None:
    """Each operator applies its gate, once, to the operands in the gate's order, also with an array on the left."""
    made, given, name = call()
    assert made is gate
    assert name is None
    assert len(given) == len(inputs)
    assert all(one is other or one == other for one, other in zip(given, inputs, strict=True))


def test_a_symbol_gets_the_call_whatever_its_place() -> None:
    """The first input that has apply_gate decides; the number of inputs is checked before; the name is passed on."""
    assert AddGate()(A, x, name="sum") == (AddGate, (A, x), "sum")
    with pytest.raises(GateError, match=r"AddGate takes 2 inputs \(X, b\), got 1"):
        AddGate()(x)


@pytest.mark.parametrize("call", [lambda: np.exp(x), lambda: np.add(A, x), lambda: A.__iadd__(x)])
def test_numpy_functions_refuse_a_symbol(call: Callable[[], Any]) -> None:
    """A ufunc does not take a symbol for an object array of one element."""
    with pytest.raises(TypeError):
        call()


def test_operators_on_arrays_are_numpy_s_own() -> None:
    """The gates behind the operators compute what the operators compute on arrays."""
    a, b = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[2.0, 0.5], [1.0, 3.0]])
    for gate, expected in [
        (AddGate(), a + b),
        (SubtractGate(), a - b),
        (ElementwiseProductGate(), a * b),
        (DivideGate(), a / b),
        (PowerGate(), a**b),
    ]:
        np.testing.assert_array_equal(gate(a, b), expected)
    np.testing.assert_array_equal(MultiplyGate()(b, a), a @ b)
