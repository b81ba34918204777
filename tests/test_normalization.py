"""Gates that normalise: against sums written out, against the same of smaller gates, and what must not matter."""

from __future__ import annotations

import math
import statistics
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal

from gates import (
    Gate,
    GateError,
    LayerNormGate,
    MeanGate,
    MultiplyGate,
    SquaredError,
    StandardizeGate,
    SumGate,
    Tanh,
    VarianceGate,
    check_gate,
)
from gates.contract import run_backward, run_forward
from nngraph import Graph, Input, Model, Parameter, check_graph
from nngraph.nodes import Node
from nngraph.program.passes import optimize
from nngraph.program.program import Program
from tests.gate_table import Array

REALS = st.floats(-9, 9)
SEEDS = st.integers(0, 2**32 - 1)
# Batches that leave nothing to divide by, and such as are far out.
HARD = {
    "one row": np.array([[3.0, -1.0, 1000.0]]),
    "constant columns": np.full((5, 3), [0.1, -1000.0, 0.0]),
    "a constant column among others": np.array([[0.1, 2.0, 1.0], [0.1, -3.0, 0.5], [0.1, 1.0, 7.0]]),
    "far out": np.array([[1000.0, -1000.0, 1.0], [-1000.0, 999.0, 1.0], [1000.0, 0.5, -1000.0]]),
    "far from zero": 1000 + np.array([[0.25, -0.5], [0.75, 0.5], [-1.0, 0.0]]),
}


def batch_norm(X: Node, gamma: Any, beta: Any, *, keepdims: bool = False, epsilon: float = 1e-5) -> Node:
    """Normalise the columns of a node by their own statistics."""
    mean, variance = MeanGate(0, keepdims)(X), VarianceGate(0, keepdims)(X)
    node: Node = StandardizeGate(epsilon)(X, mean, variance, gamma, beta)
    return node


def gradients_of(Z: Node, G: Array, **values: Array) -> tuple[Array, dict[str, Array]]:
    """Return the value of a node, and the gradients of sum(G Z) with respect to the inputs."""
    graph = Graph(SumGate()(Z * G))
    found = graph.forward(values)
    gradients = graph.backward(values=found)
    return found[Z], {name: gradients[name] for name in values}


def ioffe_szegedy(X: Array, gamma: Array, beta: Array, G: Array, epsilon: float) -> dict[str, Array]:
    """Write out the sums of the paper, one column after the other, one term after the other."""
    m, d = X.shape
    Z, dX, dgamma, dbeta = np.empty((m, d)), np.empty((m, d)), np.empty(d), np.empty(d)
    for j in range(d):
        x, g = X[:, j].tolist(), G[:, j].tolist()
        mean, variance = statistics.mean(x), statistics.pvariance(x)
        deviation = math.sqrt(variance + epsilon)
        normal = [(xi - mean) / deviation for xi in x]
        dnormal = [gi * float(gamma[j]) for gi in g]
        dvariance = math.fsum(dn * (xi - mean) for dn, xi in zip(dnormal, x, strict=True)) * -0.5 / deviation**3
        dmean = -math.fsum(dnormal) / deviation + dvariance * math.fsum(-2 * (xi - mean) for xi in x) / m
        for i in range(m):
            Z[i, j] = float(gamma[j]) * normal[i] + float(beta[j])
            dX[i, j] = dnormal[i] / deviation + dvariance * 2 * (x[i] - mean) / m + dmean / m
        dgamma[j] = math.fsum(gi * n for gi, n in zip(g, normal, strict=True))
        dbeta[j] = math.fsum(g)
    return {"Z": Z, "X": dX, "gamma": dgamma, "beta": dbeta}


# --- Batch normalisation ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("epsilon", [1e-5, 0.5])
@given(X=hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=REALS), seed=SEEDS)
@settings(deadline=None, max_examples=60)
def test_batch_norm_is_the_paper(keepdims: bool, epsilon: float, X: Array, seed: int) -> None:
    """A mean, a variance and StandardizeGate have together the values and gradients that the paper writes out."""
    rng = np.random.default_rng(seed)
    # Rounded, so that a column is either constant or varies by more than the rounding of its mean.
    X = np.round(X, 1)
    gamma, beta, G = rng.standard_normal(X.shape[1]), rng.standard_normal(X.shape[1]), rng.standard_normal(X.shape)
    inputs = Input("X"), Input("gamma"), Input("beta")
    Z, found = gradients_of(batch_norm(*inputs, keepdims=keepdims, epsilon=epsilon), G, X=X, gamma=gamma, beta=beta)
    expected = ioffe_szegedy(X, gamma, beta, G, epsilon)
    assert_allclose(Z, expected["Z"], rtol=1e-10, atol=1e-10)
    for name, gradient in found.items():
        size = max(1.0, float(np.abs(expected[name]).max()))
        assert_allclose(gradient, expected[name], rtol=1e-9, atol=1e-9 * size, err_msg=name)


@pytest.mark.parametrize("keepdims", [False, True])
def test_a_graph_with_batch_norm_is_proven(keepdims: bool) -> None:
    """check_graph finds nothing in a net with batch normalisation between its layers."""
    rng = np.random.default_rng(0)
    W, gamma, beta = (Parameter(rng.standard_normal(shape)) for shape in ((3, 4), 4, 4))
    Z = Tanh()(batch_norm(Input("X") @ W, gamma, beta, keepdims=keepdims, epsilon=0.1))
    graph = Graph(SquaredError()(Z, Input("y")))
    assert check_graph(graph, {"X": rng.normal(size=(6, 3)), "y": rng.normal(size=(6, 4))})


def test_the_statistics_of_other_data() -> None:
    """With statistics that were kept, each row is normalised for itself."""
    rng = np.random.default_rng(0)
    seen, X, gamma, beta = rng.normal(3, 5, (200, 4)), rng.normal(3, 5, (7, 4)), *rng.standard_normal((2, 4))
    mean, variance = MeanGate(0)(seen), VarianceGate(0)(seen)
    Z = StandardizeGate()(X, mean, variance, gamma, beta)
    for i, row in enumerate(X):
        assert_array_equal(StandardizeGate()(row, mean, variance, gamma, beta), Z[i])
    assert_allclose(Z, gamma * (X - np.mean(seen, axis=0)) / np.sqrt(np.var(seen, axis=0) + 1e-5) + beta, rtol=1e-12)
    whole = StandardizeGate()(seen, mean, variance, np.ones(4), np.zeros(4))
    assert_allclose(whole.mean(axis=0), 0, atol=1e-14)
    assert_allclose(whole.var(axis=0), 1, rtol=1e-5)


# --- Against gates that are smaller, or larger ------------------------------------------------------------------------


@given(X=hnp.arrays(np.float64, hnp.array_shapes(max_dims=3, max_side=4), elements=REALS), data=st.data())
@settings(deadline=None, max_examples=100)
def test_variance_along_any_axes(X: Array, data: st.DataObject) -> None:
    """The variance is NumPy's; it and its gradients are those of means, differences and squares."""
    axis = data.draw(st.none() | st.integers(-X.ndim, X.ndim - 1) | hnp.valid_tuple_axes(X.ndim))
    gate = VarianceGate(axis, data.draw(st.booleans()))
    Z = run_forward(gate, [X])
    assert_allclose(Z, X.var(axis=axis, keepdims=gate.keepdims), rtol=1e-12, atol=1e-12)
    assert np.shape(Z) == np.shape(X.var(axis=axis, keepdims=gate.keepdims))
    G = np.asarray(np.random.default_rng(0).standard_normal(np.shape(Z)))
    x = Input("X")
    small, expected = gradients_of(MeanGate(axis, gate.keepdims)((x - MeanGate(axis, keepdims=True)(x)) ** 2), G, X=X)
    assert_allclose(Z, small, rtol=1e-12, atol=1e-12)
    (dX,) = run_backward(gate, [X], G)
    assert_allclose(dX, expected["X"], rtol=1e-10, atol=1e-10)


@given(shapes=hnp.mutually_broadcastable_shapes(num_shapes=5, max_dims=3, max_side=3), seed=SEEDS)
@settings(deadline=None, max_examples=150)
def test_standardize_of_any_shapes(shapes: hnp.BroadcastableShapes, seed: int) -> None:
    """Whatever broadcasts with whatever, values and gradients are those of the formula in gates of arithmetic."""
    rng = np.random.default_rng(seed)
    names = ["X", "mean", "variance", "gamma", "beta"]
    values = {name: rng.standard_normal(shape) for name, shape in zip(names, shapes.input_shapes, strict=True)}
    values["variance"] = np.asarray(values["variance"] ** 2)
    G = rng.standard_normal(shapes.result_shape)
    X, mean, variance, gamma, beta = map(Input, names)
    expected, right = gradients_of(gamma * (X - mean) / (variance + 0.1) ** 0.5 + beta, G, **values)
    gate = StandardizeGate(0.1)
    assert_allclose(run_forward(gate, list(values.values())), expected, rtol=1e-12, atol=1e-12)
    for name, gradient in zip(names, run_backward(gate, list(values.values()), G), strict=True):
        assert gradient is not None
        assert gradient.shape == values[name].shape
        assert_allclose(gradient, right[name], rtol=1e-9, atol=1e-9, err_msg=name)


@given(X=hnp.arrays(np.float64, hnp.array_shapes(max_dims=3, max_side=5), elements=REALS), seed=SEEDS)
@settings(deadline=None, max_examples=100)
def test_layer_norm_is_standardize_by_rows(X: Array, seed: int) -> None:
    """LayerNormGate is StandardizeGate with the statistics of every row, values and gradients."""
    rng = np.random.default_rng(seed)
    values = {"X": X, "gamma": rng.standard_normal(X.shape[-1]), "beta": rng.standard_normal(X.shape[-1])}
    G = rng.standard_normal(X.shape)
    x, gamma, beta = map(Input, values)
    moments = [gate(-1, keepdims=True)(x) for gate in (MeanGate, VarianceGate)]
    expected, right = gradients_of(StandardizeGate(0.1)(x, *moments, gamma, beta), G, **values)
    Z, found = gradients_of(LayerNormGate(0.1)(x, gamma, beta), G, **values)
    assert_allclose(Z, expected, rtol=1e-10, atol=1e-10)
    for name, gradient in found.items():
        assert_allclose(gradient, right[name], rtol=1e-9, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("scale", [1.0, -0.5])
@pytest.mark.parametrize("gamma", [np.array(2.0), np.array([[1.0, -2.0, 0.5]]), np.full((4, 1), 3.0)], ids=np.shape)
def test_layer_norm_with_gamma_of_other_shapes(gamma: Array, scale: float) -> None:
    """One number, or a number for each row, broadcasts too."""
    X = np.random.default_rng(0).standard_normal((4, 3))
    assert check_gate(LayerNormGate(), X, scale * gamma, np.zeros(()))


# --- What must not matter ---------------------------------------------------------------------------------------------


def normalised(gate: str, epsilon: float) -> Node:
    """Return a node that normalises the input X: columns or rows, with a gamma that is uneven."""
    if gate == "layer norm":
        node: Node = LayerNormGate(epsilon)(Input("X"), np.array([1.5, -0.5, 2.0]), np.array([0.5, 0.0, 1.0]))
        return node
    return batch_norm(Input("X"), np.array([1.5, -0.5, 2.0]), np.array([0.5, 0.0, 1.0]), epsilon=epsilon)


@pytest.mark.parametrize("gate", ["batch norm", "layer norm"])
@given(shift=st.floats(-100, 100), factor=st.floats(0.01, 100), seed=SEEDS)
@settings(deadline=None, max_examples=50)
def test_shift_and_scale_do_not_matter(gate: str, shift: float, factor: float, seed: int) -> None:
    """What is added to a column (a row) or multiplies it is taken away again, where epsilon is scaled with it."""
    rng = np.random.default_rng(seed)
    X, G = rng.standard_normal((2, 5, 3))
    Z, found = gradients_of(normalised(gate, 0.01), G, X=X)
    Z_moved, moved = gradients_of(normalised(gate, 0.01 * factor**2), G, X=factor * X + shift)
    # The shift costs digits: its rounding, next to a factor as small as 0.01.
    assert_allclose(Z_moved, Z, rtol=0, atol=1e-9)
    assert_allclose(factor * moved["X"], found["X"], rtol=0, atol=1e-8)


@pytest.mark.parametrize(("gate", "axis"), [("batch norm", 0), ("layer norm", 1)])
@given(seed=SEEDS)
@settings(deadline=None, max_examples=50)
def test_gradients_that_cancel(gate: str, axis: int, seed: int) -> None:
    """A shift changes nothing, so that dX adds up to zero; nor does a scale without epsilon, so that X dX does, too."""
    rng = np.random.default_rng(seed)
    X, G = rng.standard_normal((2, 5, 3))
    _, found = gradients_of(normalised(gate, 0.1), G, X=X)
    assert np.abs(found["X"]).max() > 1e-3
    assert_allclose(found["X"].sum(axis=axis), 0, atol=1e-13)
    _, found = gradients_of(normalised(gate, 1e-14), G, X=X)
    size = np.abs(X * found["X"]).sum(axis=axis)
    assert (np.abs((X * found["X"]).sum(axis=axis)) <= 1e-8 * size).all()


@given(X=hnp.arrays(np.float64, (4, 3), elements=REALS), shift=REALS, factor=REALS)
@settings(deadline=None, max_examples=50)
def test_variance_of_what_is_moved(X: Array, shift: float, factor: float) -> None:
    """The variance of a X + b is a^2 times that of X; its gradient adds up to zero, and X dX to twice the variance."""
    for axis in (None, 0, 1):
        gate = VarianceGate(axis)
        Z = run_forward(gate, [X])
        assert_allclose(gate(factor * X + shift), factor**2 * Z, rtol=1e-10, atol=1e-10)
        (dX,) = run_backward(gate, [X], np.ones_like(Z))
        assert dX is not None
        assert_allclose(dX.sum(axis=axis), 0, atol=1e-12)
        assert_allclose((X * dX).sum(axis=axis), 2 * Z, rtol=1e-10, atol=1e-10)


# --- Where there is nothing to divide by, and far out -----------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("X", HARD.values(), ids=list(HARD))
def test_hard_batches(X: Array, dtype: Any) -> None:
    """One row, constant columns, +-1000: values and gradients are finite, keep their dtype, and are small."""
    d = X.shape[1]
    values = {"X": X.astype(dtype), "gamma": np.full(d, 2, dtype), "beta": np.full(d, 0.5, dtype)}
    G = np.random.default_rng(0).standard_normal(X.shape).astype(dtype)
    x, gamma, beta = map(Input, values)
    for node in (batch_norm(x, gamma, beta), LayerNormGate()(x, gamma, beta)):
        Z, found = gradients_of(node, G, **values)
        # No value of m is further than sqrt(m - 1) deviations from their mean.
        assert np.abs(Z - 0.5).max() <= 2 * math.sqrt(max(X.shape)) + 1e-3
        for gradient in (Z, *found.values()):
            assert gradient.dtype == dtype
            assert np.isfinite(gradient).all()


@pytest.mark.parametrize("m", [1, 5])
def test_constant_columns_and_rows_become_beta(m: int) -> None:
    """Where nothing varies what is left is beta; the gradient is as large as epsilon allows, and adds up to zero."""
    beta, G = np.array([0.5, -1.0, 2.0]), np.random.default_rng(0).standard_normal((m, 3))
    X = np.full((m, 3), [1000.0, -0.5, 0.0])
    Z, found = gradients_of(batch_norm(Input("X"), np.array(3.0), beta), G, X=X)
    assert_array_equal(Z, np.broadcast_to(beta, (m, 3)))
    assert_allclose(found["X"], 3 * (G - G.mean(axis=0)) / math.sqrt(1e-5), rtol=1e-12, atol=1e-10)
    gate, rows = LayerNormGate(), np.full((m, 3), 0.25)
    assert_array_equal(gate(rows, np.array(3.0), beta), np.broadcast_to(beta, (m, 3)))
    dX, *_ = run_backward(gate, [rows, np.array(3.0), beta], G)
    assert_allclose(dX, 3 * (G - G.mean(axis=1, keepdims=True)) / math.sqrt(1e-5), rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("X", HARD.values(), ids=list(HARD))
def test_proofs_of_hard_batches(X: Array) -> None:
    """check_gate finds nothing there, either, with an epsilon that leaves room for its steps."""
    gamma, beta = np.linspace(-1, 2, X.shape[1]), np.ones(X.shape[1])
    assert check_gate(VarianceGate(0), X)
    assert check_gate(LayerNormGate(0.1), X, gamma, beta)
    assert check_gate(StandardizeGate(0.1), X, X.mean(axis=0), X.var(axis=0), gamma, beta)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_variance_far_from_zero_keeps_its_digits(dtype: Any) -> None:
    """The mean of the squares minus the square of the mean would have lost them all."""
    X = np.array([[4096.25], [4095.75], [4096.0], [4096.0]], dtype)
    assert_array_equal(VarianceGate(0)(X), np.array([0.03125], dtype))
    N = LayerNormGate(1e-12)(X.T, np.ones(4, dtype), np.zeros(4, dtype))
    assert_allclose(N, [[math.sqrt(2), -math.sqrt(2), 0, 0]], rtol=1e-5 if dtype == np.float32 else 1e-9)


@pytest.mark.parametrize("gate", [StandardizeGate, LayerNormGate])
@pytest.mark.parametrize("epsilon", [0.0, -1e-5, math.inf, math.nan, "1e-5", None], ids=repr)
def test_epsilon_must_be_positive(gate: type[StandardizeGate | LayerNormGate], epsilon: Any) -> None:
    with pytest.raises(GateError, match=f"{gate.__name__}: epsilon must be finite and positive, got "):
        gate(epsilon)


@pytest.mark.parametrize(
    ("gate", "inputs", "listed"),
    [
        (StandardizeGate(), [np.ones((4, 3)), np.ones(2), np.ones(3), np.ones(3), np.ones(3)], r"mean \(2,\)"),
        (LayerNormGate(), [np.ones((4, 3)), np.ones(4), np.ones(3)], r"gamma \(4,\)"),
        (LayerNormGate(), [np.ones(()), np.ones(3), np.ones(3)], r"X \(\)"),
        (VarianceGate(2), [np.ones((4, 3))], r"X \(4, 3\)"),
    ],
    ids=["mean", "gamma", "a number", "axis"],
)
def test_shapes_that_do_not_fit(gate: Gate, inputs: list[Array], listed: str) -> None:
    with pytest.raises(GateError, match=f"{type(gate).__name__}: forward failed for inputs .*{listed}"):
        gate(*inputs)


# --- Captured ---------------------------------------------------------------------------------------------------------


def model_of(norm: str, dtype: Any = np.float64, **settings: Any) -> Model:
    """Return a net of one normalised layer."""
    rng = np.random.default_rng(0)
    W1, W2 = (Parameter(rng.standard_normal(s).astype(dtype), n) for s, n in (((3, 8), "W1"), ((8, 2), "W2")))
    gamma, beta = Parameter(np.ones(8, dtype), "gamma"), Parameter(np.zeros(8, dtype), "beta")
    layer = MultiplyGate()(W1, Input("X"))
    if norm == "layer norm":
        layer = LayerNormGate()(layer, gamma, beta)
    else:
        layer = batch_norm(layer, gamma, beta, keepdims=norm == "batch norm, keepdims")
    return Model(Tanh()(layer) @ W2, output=SquaredError(), **settings)


NORMS = ["batch norm", "batch norm, keepdims", "layer norm"]


def data(n: int, dtype: Any = np.float64) -> tuple[Array, Array]:
    """Return rows and targets."""
    rng = np.random.default_rng(n)
    X = rng.normal(2, 3, (n, 3)).astype(dtype)
    return X, np.stack([np.sin(X[:, 0]), X[:, 1] - X[:, 2]], axis=1)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", [1, 7, 200])
@pytest.mark.parametrize("norm", NORMS)
def test_captured_as_node_by_node(norm: str, n: int, dtype: Any) -> None:
    """Training gives the same losses captured and node by node."""
    losses = []
    for engine in ("numpy", "graph"):
        model = model_of(norm, dtype, engine=engine)
        model.train(*data(n, dtype), num_passes=20, epsilon=0.01 / n, reg_lambda=0.01)
        losses.append(model.loss_history)
    assert losses[0][-1] < losses[0][0]
    assert_allclose(*losses, rtol=1e-9 if dtype == np.float64 else 1e-3)


def count(program: Program, function: Any) -> int:
    """Count the operations of a program that call a function."""
    return sum(operation.function is function for operation in program.operations)


@pytest.mark.parametrize("norm", NORMS)
def test_nothing_is_computed_twice(norm: str) -> None:
    """Captured, a norm and its gradient share the mean, the difference and the square root; so does a variance."""
    program = optimize(model_of(norm).program(*data(9)))
    assert program.opaque == ()
    # The gradient of a normalised row has two means of its own.
    assert count(program, np.mean) == (4 if norm == "layer norm" else 2)
    assert count(program, np.sqrt) == 1
    # X - mean, the scores minus the targets, and 1 - tanh^2; for a row also the two means of its gradient.
    assert count(program, np.subtract) == (5 if norm == "layer norm" else 3)
