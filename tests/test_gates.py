"""Every gate against its row of the table, and properties that hold for whole families of gates."""

from __future__ import annotations

import copy
import importlib
import inspect
import math
import pkgutil
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import gates
from gates import (
    ELU,
    GELU,
    AddGate,
    ConcatenateGate,
    DivideGate,
    ElementwiseProductGate,
    ExpGate,
    Gate,
    GateError,
    GatherGate,
    LeakyReLU,
    LogGate,
    MaximumGate,
    MinimumGate,
    NegateGate,
    OutputGate,
    PowerGate,
    ReLU,
    ReshapeGate,
    Sigmoid,
    SiLU,
    SliceGate,
    SoftmaxLayer,
    Softplus,
    SubtractGate,
    SumGate,
    Tanh,
    TransposeGate,
    check_gate,
)
from gates.arrays import unbroadcast
from gates.contract import run_backward, run_forward
from tests.gate_table import ROWS, Array, Row

every_row = pytest.mark.parametrize("row", ROWS, ids=Row.name)
batch_rows = pytest.mark.parametrize("row", [row for row in ROWS if row.batch], ids=Row.name)


def drawn(row: Row, seed: int = 0) -> tuple[tuple[Array, ...], Array]:
    """Draw the inputs of a row and a random upstream gradient."""
    rng = np.random.default_rng(seed)
    inputs = row.inputs(rng)
    return inputs, np.asarray(rng.standard_normal(run_forward(row.gate, inputs).shape))


def assert_same(gradients: Sequence[Array | None], expected: Sequence[Array | None], **tolerance: float) -> None:
    """Compare gradients, None with None."""
    assert [g is None for g in gradients] == [e is None for e in expected]
    for gradient, right in zip(gradients, expected, strict=True):
        if gradient is not None and right is not None:
            assert gradient.shape == right.shape
            np.testing.assert_allclose(gradient, right, **tolerance)


# --- The table is complete --------------------------------------------------------------------------------------------


def test_every_public_gate_has_a_row() -> None:
    """A public gate without a row fails here."""
    public = {getattr(gates, name) for name in gates.__all__}
    concrete = {g for g in public if isinstance(g, type) and issubclass(g, Gate) and not inspect.isabstract(g)}
    assert concrete - {type(row.gate) for row in ROWS} == set()


@pytest.mark.parametrize("row", ROWS, ids=Row.name)
def test_rows_are_found_by_class(row: Row, request: pytest.FixtureRequest) -> None:
    """`pytest -k ClassName` selects the rows of that class."""
    assert type(row.gate).__name__ in request.node.name


def test_the_row_of_every_gate_is_named_once() -> None:
    """No two rows share an id, so a failure names its row."""
    names = [row.id for row in ROWS]
    assert len(names) == len(set(names))


def test_every_gate_of_the_package_is_public() -> None:
    """A concrete gate that a module defines is in __all__, and so is in the table."""
    hidden = set()
    for module in pkgutil.iter_modules(gates.__path__, "gates."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, type) and issubclass(value, Gate) and not inspect.isabstract(value):
                hidden |= {name} - set(gates.__all__)
    assert hidden == set()


# --- Each row ---------------------------------------------------------------------------------------------------------


@every_row
@pytest.mark.parametrize("seed", range(3))
def test_forward_is_the_reference(row: Row, seed: int) -> None:
    """The output is that of an independent computation."""
    inputs, _ = drawn(row, seed)
    expected = np.asarray(row.reference(*inputs), dtype=float)
    Z = run_forward(row.gate, inputs)
    assert Z.shape == expected.shape
    assert Z.dtype == np.float64
    np.testing.assert_allclose(Z, expected, rtol=1e-12, atol=1e-13)


@every_row
@pytest.mark.parametrize("seed", range(3))
def test_backward_is_the_slope_of_forward(row: Row, seed: int) -> None:
    """check_gate finds nothing, whatever the upstream gradient."""
    inputs, _ = drawn(row, seed)
    assert check_gate(row.gate, *inputs, random_state=seed)


def reference_slopes(row: Row, inputs: Sequence[Array], i: int, G: Array) -> Array:
    """Measure the slopes of sum(G reference(inputs)) to input i, by Richardson's extrapolation of two differences."""

    def total(at: tuple[int, ...], step: float) -> float:
        moved = [x.copy() for x in inputs]
        moved[i][at] += step
        return G * np.asarray(row.reference(*moved), dtype=float)

    result = np.empty_like(inputs[i])
    for at in np.ndindex(inputs[i].shape):
        h = 1e-5 * (abs(float(inputs[i][at])) or 1.0)
        near, far = total(at, h) - total(at, -h), total(at, 2 * h) - total(at, -2 * h)
        result[at] = np.sum(8 * near - far) / (12 * h)
    return result


@every_row
def test_extreme_inputs(row: Row) -> None:
    """At +-1000 the output is the reference's, and the gradients are the reference's slopes, without a warning."""
    expected = np.asarray(row.reference(*row.extreme), dtype=float)
    assert np.isfinite(expected).all(), "the row asks for something infinite"
    Z = run_forward(row.gate, row.extreme)
    np.testing.assert_allclose(Z, expected, rtol=1e-12, atol=1e-13)
    G = np.random.default_rng(0).standard_normal(Z.shape)
    for i, gradient in enumerate(run_backward(row.gate, row.extreme, G)):
        if gradient is not None:
            right = reference_slopes(row, row.extreme, i, G)
            np.testing.assert_allclose(gradient, right, rtol=1e-6, atol=1e-7 * max(1, np.abs(right).max()))


@every_row
def test_extreme_inputs_in_float32(row: Row) -> None:
    """At +-1000 nothing overflows in float32 either."""
    inputs = [x.astype(np.float32) if x.dtype.kind == "f" else x for x in row.extreme]
    Z = run_forward(row.gate, inputs)
    assert np.isfinite(Z).all()
    for gradient in run_backward(row.gate, inputs, np.ones_like(Z)):
        assert gradient is None or np.isfinite(gradient).all()


@every_row
def test_float32_in_gives_float32_out(row: Row) -> None:
    """Neither forward nor backward widens float32, and both are close to float64."""
    inputs, G = drawn(row)
    narrow = [x.astype(np.float32) if x.dtype.kind == "f" else x for x in inputs]
    wide = [x.astype(np.float64) if x.dtype.kind == "f" else x for x in narrow]
    G32 = G.astype(np.float32)
    Z32 = run_forward(row.gate, narrow)
    assert Z32.dtype == np.float32
    np.testing.assert_allclose(Z32, run_forward(row.gate, wide), rtol=2e-5, atol=2e-5)
    raw = row.gate.backward(*narrow, G32)
    assert {np.asarray(g).dtype for g in (raw if isinstance(raw, tuple) else (raw,)) if g is not None} == {
        np.dtype(np.float32)
    }
    gradients = run_backward(row.gate, narrow, G32)
    assert all(g is None or g.dtype == np.float32 for g in gradients)
    assert_same(gradients, run_backward(row.gate, wide, G32.astype(float)), rtol=2e-4, atol=2e-5)


def _strided(x: Array) -> Array:
    padded = np.full([2 * n for n in x.shape], 77, x.dtype)
    view = padded[(..., *(slice(None, None, 2) for _ in x.shape))]
    view[...] = x
    return view


def _first_axis_last(x: Array) -> Array:
    return np.moveaxis(np.array(np.moveaxis(x, 0, -1), order="C"), -1, 0) if x.ndim else x


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "fortran": lambda x: np.array(x, order="F"),
    "transposed": lambda x: np.array(x.T, order="C").T,
    "strided": _strided,
    "negative strides": lambda x: np.flip(np.array(np.flip(x), order="C")),
    "first axis last": _first_axis_last,
}


@every_row
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_does_not_matter(row: Row, layout: str) -> None:
    """Arrays that are not contiguous give the same values and gradients."""
    inputs, G = drawn(row)
    moved, moved_G = [LAYOUTS[layout](x) for x in inputs], LAYOUTS[layout](G)
    np.testing.assert_allclose(run_forward(row.gate, moved), run_forward(row.gate, inputs), rtol=1e-13, atol=1e-14)
    expected = run_backward(row.gate, inputs, G)
    assert_same(run_backward(row.gate, moved, moved_G), expected, rtol=1e-13, atol=1e-14)


@every_row
def test_nothing_is_written_into(row: Row) -> None:
    """Inputs and upstream gradient stay as they are, writeable or not."""
    inputs, G = drawn(row)
    kept = copy.deepcopy((inputs, G))
    row.gate.forward(*inputs)
    row.gate.backward(*inputs, G)
    for array, copied in zip((*inputs, G), (*kept[0], kept[1]), strict=True):
        np.testing.assert_array_equal(array, copied)
        array.flags.writeable = False
    row.gate.forward(*inputs)
    row.gate.backward(*inputs, G)


@every_row
def test_gate_is_pure(row: Row) -> None:
    """The same answer twice, to the bit; no attribute changes; the global random state is not touched."""
    inputs, G = drawn(row)
    settings_before = copy.deepcopy(vars(row.gate))
    random_before = np.random.get_state(legacy=False)  # noqa: NPY002 -- the legacy state is what is watched
    first = run_forward(row.gate, inputs), *run_backward(row.gate, inputs, G)
    row.gate.forward(*row.extreme)
    second = run_forward(row.gate, inputs), *run_backward(row.gate, inputs, G)
    assert [x is None for x in first] == [x is None for x in second]
    assert [x.tobytes() for x in first if x is not None] == [x.tobytes() for x in second if x is not None]
    np.testing.assert_equal(vars(row.gate), settings_before)
    np.testing.assert_equal(np.random.get_state(legacy=False), random_before)  # noqa: NPY002 -- see above


@batch_rows
def test_one_row(row: Row) -> None:
    """A batch of one row is a batch."""
    inputs = [x[:1] if i in row.batch else x for i, x in enumerate(drawn(row)[0])]
    Z = run_forward(row.gate, inputs)
    np.testing.assert_allclose(Z, np.asarray(row.reference(*inputs), dtype=float), rtol=1e-12, atol=1e-13)
    assert check_gate(row.gate, *inputs)


@batch_rows
def test_no_rows(row: Row) -> None:
    """A batch of no rows gives no rows, and gradients of zero or of no rows; of nothing there is no mean loss."""
    inputs = [x[:0] if i in row.batch else x for i, x in enumerate(drawn(row)[0])]
    if isinstance(row.gate, OutputGate) and row.gate.reduction != "sum":
        with pytest.raises(GateError):
            run_forward(row.gate, inputs)
        return
    Z = run_forward(row.gate, inputs)
    assert Z.size == 0 or isinstance(row.gate, OutputGate)
    assert Z.sum() == 0
    for x, gradient in zip(inputs, run_backward(row.gate, inputs, np.ones_like(Z)), strict=True):
        if gradient is not None:
            np.testing.assert_array_equal(gradient, np.zeros_like(x))


@every_row
def test_repr_names_class_and_settings(row: Row) -> None:
    """repr(gate) is on one line: class, then the settings that differ from None."""
    text = repr(row.gate)
    assert text.startswith(f"{type(row.gate).__name__}(")
    assert text.endswith(")")
    assert "\n" not in text
    assert " object at 0x" not in text
    for name, value in vars(row.gate).items():
        assert (f"{name}={value!r}" in text) == (value is not None)


@every_row
def test_gate_can_be_copied(row: Row) -> None:
    """A deep copy of a gate computes the same, as scikit-learn's clone needs."""
    inputs, _ = drawn(row)
    np.testing.assert_array_equal(copy.deepcopy(row.gate)(*inputs), row.gate(*inputs))


# --- Families: gates of two inputs that broadcast ---------------------------------------------------------------------

Slopes = tuple[Callable[[float, float], float], Callable[[float, float], float]]

# The partial derivatives with respect to the first and the second input, for Python floats.
BINARY: list[tuple[Gate, Slopes]] = [
    (AddGate(), (lambda _x, _y: 1, lambda _x, _y: 1)),
    (SubtractGate(), (lambda _x, _y: 1, lambda _x, _y: -1)),
    (ElementwiseProductGate(), (lambda _x, y: y, lambda x, _y: x)),
    (DivideGate(), (lambda _x, y: 1 / y, lambda x, y: -x / y**2)),
    (PowerGate(), (lambda x, y: y * math.pow(x, y - 1), lambda x, y: math.pow(x, y) * math.log(x))),
    (MaximumGate(), (lambda x, y: float(x > y), lambda x, y: float(x < y))),
    (MinimumGate(), (lambda x, y: float(x < y), lambda x, y: float(x > y))),
]


def reached(at: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the element of an input of `shape` that output element `at` was computed from."""
    return tuple(i if n != 1 else 0 for i, n in zip(at[len(at) - len(shape) :], shape, strict=True))


@pytest.mark.parametrize(("gate", "slopes"), BINARY, ids=[repr(gate) for gate, _ in BINARY])
@given(
    shapes=hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, min_side=0, max_side=3),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=40)
def test_broadcast_gradients(gate: Gate, slopes: Slopes, shapes: hnp.BroadcastableShapes, seed: int) -> None:
    """Whatever the shapes, a gradient has its input's shape and adds up every element that the input reached."""
    rng = np.random.default_rng(seed)
    # Positive, and 0.1 or more apart: right for a power, and away from the kinks of maximum and minimum.
    X, Y = (rng.integers(1, 4, shape) + offset + rng.uniform(0, 0.1, shape) for shape, offset in
            zip(shapes.input_shapes, (0.0, 0.5), strict=True))  # fmt: skip
    X, Y = np.asarray(X), np.asarray(Y)
    Z = run_forward(gate, [X, Y])
    assert Z.shape == shapes.result_shape
    G = rng.standard_normal(Z.shape)
    expected = np.zeros_like(X), np.zeros_like(Y)
    for at in np.ndindex(Z.shape):
        i, j = reached(at, X.shape), reached(at, Y.shape)
        expected[0][i] += G[at] * slopes[0](float(X[i]), float(Y[j]))
        expected[1][j] += G[at] * slopes[1](float(X[i]), float(Y[j]))
    assert_same(run_backward(gate, [X, Y], G), expected, rtol=1e-9, atol=1e-12)
    # Without any element there is nothing to prove.
    assert X.size + Y.size == 0 or check_gate(gate, X, Y, random_state=seed)


@given(
    shapes=hnp.mutually_broadcastable_shapes(num_shapes=1, base_shape=(2, 1, 3), max_dims=4, min_side=0, max_side=3),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=80)
def test_unbroadcast_is_the_transpose_of_broadcast(shapes: hnp.BroadcastableShapes, seed: int) -> None:
    """<broadcast(x), g> = <x, unbroadcast(g)> for all x, and the shape is x's."""
    rng = np.random.default_rng(seed)
    shape, full = shapes.input_shapes[0], shapes.result_shape
    x, g = rng.standard_normal(shape), rng.standard_normal(full)
    reduced = unbroadcast(g, shape)
    assert reduced.shape == shape
    assert math.isclose(np.sum(np.broadcast_to(x, full) * g), np.sum(x * reduced), rel_tol=1e-9, abs_tol=1e-9)


# --- Families: gates of one input -------------------------------------------------------------------------------------

UNARY = [Sigmoid(), Tanh(), ReLU(), LeakyReLU(), ELU(), ELU(2.0), GELU(), SiLU(), Softplus(), ExpGate(), NegateGate()]


@pytest.mark.parametrize("gate", UNARY, ids=repr)
@given(
    X=hnp.arrays(
        np.float64,
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
        elements=st.floats(-30, 30).filter(lambda x: abs(x) > 1e-3),
    ),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=40)
def test_layers_at_any_values(gate: Gate, X: Array, seed: int) -> None:
    """A layer keeps the shape, works element by element, and its backward is its slope."""
    Z = run_forward(gate, [X])
    assert Z.shape == X.shape
    alone = [run_forward(gate, [np.array(x)]) for x in X.ravel()]
    np.testing.assert_allclose(Z.ravel(), alone, rtol=1e-14)
    # Without any element there is nothing to prove.
    assert X.size == 0 or check_gate(gate, X, random_state=seed)


@given(
    X=hnp.arrays(np.float64, hnp.array_shapes(max_dims=3, max_side=4), elements=st.floats(-50, 50)),
    data=st.data(),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=60)
def test_softmax_layer_along_any_axis(X: Array, data: st.DataObject, seed: int) -> None:
    """Values are positive and sum to one along the axis; dX sums to zero along it; a shift changes nothing."""
    axis = data.draw(st.integers(-X.ndim, X.ndim - 1))
    gate = SoftmaxLayer(axis)
    Z = gate(X)
    assert (Z >= 0).all()
    np.testing.assert_allclose(Z.sum(axis=axis), 1, rtol=1e-12)
    np.testing.assert_allclose(gate(X + 3.0), Z, rtol=1e-9, atol=1e-300)
    (dX,) = run_backward(gate, [X], np.random.default_rng(seed).standard_normal(X.shape))
    assert dX is not None
    np.testing.assert_allclose(dX.sum(axis=axis), 0, atol=1e-12)
    assert check_gate(gate, X, random_state=seed)


@given(X=hnp.arrays(np.float64, hnp.array_shapes(min_dims=0, max_dims=3, max_side=3), elements=st.floats(-9, 9)),
       data=st.data())  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_any_basic_index(X: Array, data: st.DataObject) -> None:
    """Whatever the basic index, SliceGate gives what NumPy gives, and its gradient goes back to where it came from."""
    index = data.draw(hnp.basic_indices(X.shape, allow_newaxis=True))
    gate = SliceGate(index)
    np.testing.assert_array_equal(gate(X), X[index])
    assert check_gate(gate, X)


@given(X=hnp.arrays(np.float64, hnp.array_shapes(min_dims=0, max_dims=4, max_side=3), elements=st.floats(-9, 9)),
       data=st.data())  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_any_permutation_of_axes(X: Array, data: st.DataObject) -> None:
    """Whatever the permutation, written from either end, backward undoes forward."""
    order = data.draw(st.permutations(range(X.ndim)))
    axes = [axis - X.ndim * data.draw(st.booleans()) for axis in order]
    gate = TransposeGate(axes)
    np.testing.assert_array_equal(run_backward(gate, [X], gate(X))[0], X)


@given(X=hnp.arrays(np.float64, hnp.array_shapes(max_dims=3, max_side=3), elements=st.floats(-9, 9)), data=st.data())
@settings(deadline=None, max_examples=60)
def test_any_axes_of_a_sum(X: Array, data: st.DataObject) -> None:
    """Whatever the axes, written from either end, a sum is NumPy's and its gradient repeats dZ."""
    axes = data.draw(hnp.valid_tuple_axes(X.ndim))
    keepdims = data.draw(st.booleans())
    gate = SumGate(axes, keepdims=keepdims)
    np.testing.assert_allclose(gate(X), np.sum(X, axis=axes, keepdims=keepdims))
    assert check_gate(gate, X)


@given(lengths=st.lists(st.integers(0, 3), min_size=1, max_size=4), axis=st.sampled_from([0, 1, -1, -2]))
@settings(deadline=None, max_examples=40)
def test_any_stretches_of_a_concatenation(lengths: list[int], axis: int) -> None:
    """Every input gets its own stretch of the gradient back, empty ones too."""
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal((n, 2) if axis in {0, -2} else (2, n)) for n in lengths]
    gate = ConcatenateGate(axis)
    assert_same(run_backward(gate, inputs, gate(*inputs)), inputs)


@given(rows=hnp.arrays(np.int64, hnp.array_shapes(min_dims=0, max_dims=2, min_side=0), elements=st.integers(0, 3)))
@settings(deadline=None, max_examples=40)
def test_a_gathered_row_counts_as_often_as_it_is_taken(rows: Array) -> None:
    """With an upstream gradient of ones the gradient of a row is the number of times that it was taken."""
    X = np.arange(8.0).reshape(4, 2)
    gate = GatherGate()
    dX, drows = run_backward(gate, [X, rows], np.ones((*rows.shape, 2)))
    assert drows is None
    np.testing.assert_array_equal(dX, np.bincount(rows.ravel(), minlength=4)[:, None] * np.ones((1, 2)))


# --- Points of single gates -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gate", "X", "slope"),
    [
        (Sigmoid(), [-1000, 0, 1000], [0, 0.25, 0]),
        (Tanh(), [-1000, 0, 1000], [0, 1, 0]),
        (ReLU(), [-1000, 0, 1000], [0, 0, 1]),
        (LeakyReLU(0.1), [-1000, 0, 1000], [0.1, 0.1, 1]),
        (ELU(), [-1000, 0, 1000], [0, 1, 1]),
        (GELU(), [-1000, 0, 1000], [0, 0.5, 1]),
        (SiLU(), [-1000, 0, 1000], [0, 0.5, 1]),
        (Softplus(), [-1000, 0, 1000], [0, 0.5, 1]),
        (ExpGate(), [-1000, 0, 20], [0, 1, math.exp(20)]),
        (LogGate(), [0.001, 1, 1000], [1000, 1, 0.001]),
    ],
    ids=repr,
)
def test_slope_far_out_and_at_zero(gate: Gate, X: list[float], slope: list[float]) -> None:
    """The derivative far out is the limit, exactly; at a kink it is the one of the docstring."""
    X_float = np.array(X, float)
    (dX,) = run_backward(gate, [X_float], np.full(3, 2.0))
    np.testing.assert_allclose(dX, 2 * np.array(slope, float), rtol=1e-12, atol=0)


@pytest.mark.parametrize("gate", [MaximumGate(), MinimumGate()], ids=repr)
def test_ties_share_the_gradient(gate: Gate) -> None:
    """Where two inputs tie, half of the gradient goes to each."""
    X = np.array([1.0, -2.0, 0.0])
    assert_same(run_backward(gate, [X, X.copy()], np.full(3, 4.0)), [np.full(3, 2.0), np.full(3, 2.0)])


def test_whole_powers_of_negative_numbers() -> None:
    """A negative X has whole powers with a right dX; the slope to P does not exist there and is nan."""
    X, P, dZ = np.array([-2.0, -2.0, -3.0, 2.0]), np.array([3.0, -1.0, 0.0, 3.0]), np.array([1.0, 2.0, 3.0, 4.0])
    np.testing.assert_allclose(PowerGate()(X, P), [-8, -0.5, 1, 8])
    dX, dP = run_backward(PowerGate(), [X, P], dZ)
    np.testing.assert_allclose(dX, [12, -0.5, 0, 48])
    np.testing.assert_allclose(dP, [math.nan, math.nan, math.nan, 32 * math.log(2)])


def test_powers_of_zero() -> None:
    """At X = 0 the slopes to X of X^2, X and 1 are 0, 1 and 0, and dP is its limit 0; nothing warns."""
    X, P = np.zeros(4), np.array([2.0, 1.0, 0.0, 3.0])
    dX, dP = run_backward(PowerGate(), [X, P], np.full(4, 5.0))
    np.testing.assert_array_equal(dX, [0, 5, 0, 0])
    np.testing.assert_array_equal(dP, np.zeros(4))


def test_square_of_a_negative_number_by_a_whole_number_exponent() -> None:
    """``x ** 2`` with an integer 2 works for negative x, in float64."""
    np.testing.assert_array_equal(PowerGate()([-3.0, 2.0], 2), [9.0, 4.0])
    dX, _ = run_backward(PowerGate(), [np.array([-3.0, 2.0]), np.array(2)], np.ones(2))
    np.testing.assert_array_equal(dX, [-6.0, 4.0])


@pytest.mark.parametrize(
    "gate", [AddGate(), SubtractGate(), ElementwiseProductGate(), DivideGate(), PowerGate()], ids=repr
)
def test_a_python_number_does_not_widen_float32(gate: Gate) -> None:
    """``x * 2`` and ``x * 0.5`` keep float32, as in NumPy: a Python number has no width of its own."""
    X = np.array([1.0, 2.0], np.float32)
    assert gate(X, 2).dtype == np.float32
    assert gate(X, 0.5).dtype == np.float32


@pytest.mark.parametrize("index", [True, [0, 1], np.array([0, 1]), (slice(None), [0]), 1.5, "a"], ids=repr)
def test_slice_takes_basic_indices_only(index: Any) -> None:
    """An index with a list, an array, a float or a bool is refused with advice."""
    with pytest.raises(GateError, match=r"SliceGate takes integers, slices, \.\.\. and None, got .*use GatherGate"):
        SliceGate(index)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([0, 3], r"rows must be in 0\.\.2, got 3 at position 1"),
        ([[0, 1], [2, -1]], r"rows must be in 0\.\.2, got -1 at position 1, 1"),
        ([0.0, 1.0], r"rows must be integers in 0\.\.2, got dtype float64"),
        ([True, False, True], r"rows must be integers in 0\.\.2, got dtype bool"),
    ],
)
def test_gather_refuses_other_rows(rows: Any, message: str) -> None:
    """A row that is not there is named with its position; no index counts from the end."""
    with pytest.raises(GateError, match=f"GatherGate: {message}"):
        GatherGate()(np.ones((3, 2)), rows)


@pytest.mark.parametrize(
    ("gate", "inputs", "listed"),
    [
        (gates.MultiplyGate(), [np.ones((3, 2)), np.ones((4, 5))], r"W \(3, 2\), X \(4, 5\)"),
        (AddGate(), [np.ones((3, 2)), np.ones(3)], r"X \(3, 2\), b \(3,\)"),
        (ConcatenateGate(), [np.ones((3, 2)), np.ones((3, 3))], r"input 1 \(3, 2\), input 2 \(3, 3\)"),
        (ReshapeGate((5, 5)), [np.ones((3, 2))], r"X \(3, 2\)"),
        (TransposeGate((0, 2)), [np.ones((3, 2))], r"X \(3, 2\)"),
        (SumGate(axis=2), [np.ones((3, 2))], r"X \(3, 2\)"),
        (SliceGate((0, 5)), [np.ones((3, 2))], r"X \(3, 2\)"),
        (SoftmaxLayer(axis=2), [np.ones((3, 2))], r"X \(3, 2\)"),
        (GatherGate(), [np.array(1.0), np.array([0])], r"X \(\), rows \(1,\)"),
    ],
    ids=repr,
)
def test_shapes_that_do_not_fit(gate: Gate, inputs: list[Array], listed: str) -> None:
    """The message names the gate, and every input with its shape."""
    with pytest.raises(GateError, match=f"^{type(gate).__name__}: forward failed for inputs {listed}: "):
        gate(*inputs)


def test_reductions_of_integers_and_booleans() -> None:
    """Whole numbers and truths are numbers: they sum and average, and their gradient is floating."""
    assert SumGate()(np.array([True, True, False])) == 2
    assert gates.MeanGate()(np.array([1, 2, 4])) == pytest.approx(7 / 3)
    (dX,) = run_backward(gates.MeanGate(), [np.array([1, 2])], np.array(1.0))
    np.testing.assert_array_equal(dX, [0.5, 0.5])


@pytest.mark.parametrize("gate", UNARY, ids=repr)
def test_layers_of_integers_are_those_of_the_same_floats(gate: Gate) -> None:
    """An integer array is taken for its values."""
    X = np.array([-3, -1, 2])
    np.testing.assert_allclose(gate(X), gate(X.astype(float)))
    assert_same(run_backward(gate, [X], np.ones(3)), run_backward(gate, [X.astype(float)], np.ones(3)))


@given(st.floats(-700, 700), st.floats(-700, 700))
@settings(deadline=None)
def test_sigmoid_and_softplus_fit_together(x: float, shift: float) -> None:
    """sigmoid(x) + sigmoid(-x) = 1 and softplus(x) - softplus(-x) = x, far out too."""
    assume(abs(x + shift) < 700)
    both = np.array([x + shift, -x - shift])
    assert Sigmoid()(both).sum() == pytest.approx(1, abs=1e-15)
    assert np.subtract(*Softplus()(both)) == pytest.approx(x + shift, rel=1e-13, abs=1e-13)
