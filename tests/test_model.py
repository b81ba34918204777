"""The model: its forms, what it computes, and the objective that it descends."""

from __future__ import annotations

import contextlib
import copy
import inspect
import io
import pickle
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse
import scipy.special
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import make_blobs, make_moons

from gates import (
    ELU,
    GELU,
    AbsoluteError,
    AddGate,
    GatherGate,
    Hinge,
    Huber,
    LeakyReLU,
    Logistic,
    MultiplyGate,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    SoftmaxLayer,
    Softplus,
    SquaredError,
    SumGate,
    Tanh,
)
from nngraph import Dense, Graph, Input, Model, Parameter
from nngraph.initializers import published
from tests.published import published_data, published_network


def data(rows=8, features=2, classes=3, seed=0):
    """Return random features and one label per row, every class among them."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, features)), rng.permutation(np.arange(rows) % classes)


def snapshot(model):
    """Return the bytes of all parameters, by name."""
    return {name: value.tobytes() for name, value in model.parameters.items()}


# --- The published network -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference():
    """The independent network, trained: its losses by pass, and its layers."""
    return published_network(*published_data())


@pytest.fixture(scope="module")
def moons_model():
    """Our model of the published network, trained, with its data and what it printed."""
    X, y, rng = published_data()
    # This training makes the last digits grow a millionfold: only what rounds alike stays alike for 20,000 passes.
    published_model = {"layer": Tanh(), "last_layer": Tanh(), "initializer": published}
    model = Model([2, 3, 2], **published_model, random_state=rng, engine="graph")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        model.train(X, y, print_loss=True)
    return model, X, y, printed.getvalue()


def test_published_losses(reference, moons_model):
    """The losses after every 1,000th pass are those of the independent network."""
    losses, _ = reference
    model = moons_model[0]
    assert list(losses) == [*range(1, 20_000, 1000), 20_000]
    assert len(model.loss_history) == 20_001
    assert_allclose([model.loss_history[k] for k in losses], list(losses.values()), rtol=0, atol=1e-9)


def test_published_weights(reference, moons_model):
    """The trained weights are those of the independent network."""
    _, layers = reference
    model = moons_model[0]
    for i, (W, b) in enumerate(layers):
        assert_allclose(model.W[i], W, rtol=0, atol=1e-9)
        assert_allclose(model.b[i], b, rtol=0, atol=1e-9)


def test_published_figures(moons_model):
    """Mean loss 0.15999273 and training accuracy 0.985, as published."""
    model, X, y, _ = moons_model
    # Rounding errors of other processors, which the training amplifies, move the last two digits: 20,000 passes after
    # a change of the last bit of W1, or with another order of summing, end between 0.15999270 and 0.15999274.
    assert model.calculate_loss(X, y) == pytest.approx(0.15999273, abs=5e-8)
    assert f"{model.loss_history[-1]:.6f}" == "0.159993"
    assert np.mean(model.predict(X) == y) == 0.985


def test_published_figures_captured():
    """Captured, it reaches the same figures, and every pass is that of the graph from the same weights."""
    X, y, rng = published_data()
    model = Model([2, 3, 2], layer=Tanh(), last_layer=Tanh(), initializer=published, random_state=rng)
    by_node = copy.deepcopy(model)
    by_node.engine = "graph"
    for _ in range(20):
        for name, value in model.parameters.items():
            by_node.parameters[name][...] = value
        model.train(X, y, num_passes=1)
        by_node.train(X, y, num_passes=1)
        for name, value in model.parameters.items():
            assert_allclose(value, by_node.parameters[name], rtol=1e-12)
        model.train(X, y, num_passes=999)
    assert len(model.loss_history) == 20001
    assert model.loss_history[-1] == pytest.approx(0.15999273, abs=5e-8)
    assert np.mean(model.predict(X) == y) == 0.985


def test_print_loss(reference, moons_model):
    """The lines that training prints are the published ones: after every 1,000th pass, counted from 0."""
    losses = [loss for done, loss in reference[0].items() if done % 1000 == 1]
    expected = [f"Loss after iteration {1000 * i}: {loss:f}" for i, loss in enumerate(losses)]
    assert len(expected) == 20
    assert moons_model[3].splitlines() == expected


def test_silent_by_default(capsys):
    """Nothing is printed unless asked for."""
    X, y = data()
    Model([2, 3, 3], random_state=0).train(X, y, num_passes=3)
    assert capsys.readouterr() == ("", "")


# --- The known faults of the published network -----------------------------------------------------------------------


def test_fault_tanh_on_the_scores():
    """Scores in [-1, 1] keep the two-class loss above log(1 + exp(-2)) = 0.1269; free scores go below it."""
    X, y = np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([0, 0, 1, 1])
    squashed, free = (Model([1, 3, 2], last_layer=last, random_state=0) for last in (Tanh(), None))
    for model in (squashed, free):
        model.train(X, y, num_passes=3000, epsilon=0.1, reg_lambda=0)
    floor = np.log1p(np.exp(-2))
    assert floor == pytest.approx(0.1269, abs=1e-4)
    assert floor < min(squashed.loss_history) < floor + 0.01
    assert free.loss_history[-1] < 0.01


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_fault_softmax_overflows(dtype):
    """Scores of +-1000 give probabilities, losses and gradients that are numbers, and right."""
    model = Model([1, 2], use_bias=False, dtype=dtype)
    model.W[0] = [[1000.0, 0.0]]
    X, y = [[1.0], [-1.0]], [0, 0]
    assert_array_equal(model.predict_proba(X), [[1, 0], [0, 1]])
    assert model.calculate_loss(X, y) == 500
    assert_array_equal(model.gradients(X, y)["Z1"], [[0, 0], [-0.5, 0.5]])


@pytest.mark.parametrize("layer", [Sigmoid(), Tanh(), Softplus(), SiLU(), ELU(), GELU()])
def test_fault_sigmoid_overflows(layer):
    """Hidden units at +-1000 pass on numbers, forward and backward, without a warning."""
    model = Model([1, 2, 2], layer=layer, random_state=0)
    model.W[0] = [[1000.0, -1000.0]]
    X, y = [[1.0], [-1.0], [0.5]], [0, 1, 1]
    assert np.isfinite(model.predict_proba(X)).all()
    assert all(np.isfinite(g).all() for g in model.gradients(X, y).values() if g is not None)


def test_fault_order_of_gradients():
    """The gradients of AddGate come in the order of its inputs, X before b."""
    rng = np.random.default_rng(0)
    X, b, dZ = rng.normal(size=(5, 3)), rng.normal(size=3), rng.normal(size=(5, 3))
    graph = Graph(AddGate()(Input("X"), Parameter(b, "b")))
    graph.forward(X=X)
    gradients = graph.backward(dZ)
    assert_array_equal(gradients["X"], dZ)
    assert_allclose(gradients["b"], dZ.sum(axis=0), rtol=1e-14)


def test_fault_mean_loss_summed_gradient():
    """The reported loss is a mean; the descended J is the sum plus penalty, with its own true gradient."""
    X, y = data(classes=2)
    model = Model([2, 3, 2], random_state=0)
    J, dJ = model.objective(X, y, 0.3)
    penalty = 0.15 * sum((W**2).sum() for W in model.W)
    assert_allclose(J, len(X) * model.calculate_loss(X, y) + penalty, rtol=1e-13)
    mean = model.gradients(X, y)
    for name, value in model.parameters.items():
        penalised = 0.3 * value if name.startswith("W") else 0
        assert_allclose(dJ[name], len(X) * mean[name] + penalised, rtol=1e-12, atol=1e-14)


def test_fault_penalty_is_not_in_the_loss():
    """The loss that is reported has no penalty, whatever was trained with; the biases are never penalised."""
    X, y = data(classes=2)
    model = Model([2, 3, 2], initializer=published, random_state=0)
    before = model.calculate_loss(X, y)
    model.train(X, y, num_passes=0, reg_lambda=100)
    assert model.loss_history == [before]
    _, without = model.objective(X, y, 0)
    _, dJ = model.objective(X, y, 100)
    assert_array_equal(dJ["b1"], without["b1"])
    assert_array_equal(dJ["b2"], without["b2"])


# --- Forms -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "architecture",
    [
        [2, 4, 3],
        (2, 4, 3),
        np.array([2, 4, 3]),
        [np.int64(2), np.int32(4), 3],
        [2, Dense(4, Tanh()), Dense(3)],
        [2, Dense(4, Tanh()), 3],
        [2, 4, Dense(3)],
    ],
    ids=str,
)
def test_forms_are_equal(architecture):
    """Widths, Dense layers and mixtures of them make the same model, bit by bit."""
    X, y = data()
    model, expected = (Model(a, random_state=0) for a in (architecture, [2, 4, 3]))
    assert list(model.parameters) == ["W1", "b1", "W2", "b2"]
    assert snapshot(model) == snapshot(expected)
    for m in (model, expected):
        m.train(X, y, num_passes=3)
    assert snapshot(model) == snapshot(expected)
    assert model.loss_history == expected.loss_history


def test_one_layer():
    """Two widths are a linear model."""
    X, y = data()
    model = Model([2, 3], random_state=0)
    assert list(model.parameters) == ["W1", "b1"]
    assert_allclose(model.activations(X)[model.scores], X @ model.W[0] + model.b[0], rtol=1e-14)
    assert model.calculate_loss(X, y) > 0


def test_dense_overrides():
    """A Dense layer has its own activation, bias and initializer; what it leaves out comes from the model."""

    def ones(_rng, fan_in, fan_out):
        return np.ones((fan_in, fan_out)), np.full(fan_out, 7.0)

    specification = [2, Dense(3, ReLU(), use_bias=True, initializer=ones), Dense(4, Sigmoid()), 5]
    model = Model(specification, layer=Tanh(), last_layer=Softplus(), use_bias=False, random_state=0)
    assert {name: value.shape for name, value in model.parameters.items()} == {
        "W1": (2, 3),
        "b1": (3,),
        "W2": (3, 4),
        "W3": (4, 5),
    }
    assert_array_equal(model.W[0], np.ones((2, 3)))
    assert_array_equal(model.b[0], [7, 7, 7])
    X, _ = data()
    A1 = np.maximum(X.sum(axis=1, keepdims=True) + 7, 0) * np.ones(3)
    A2 = 1 / (1 + np.exp(-A1 @ model.W[1]))
    assert_allclose(model.activations(X)[model.scores], np.log1p(np.exp(A2 @ model.W[2])), rtol=1e-13)


def test_dense_without_bias_in_a_model_with():
    """use_bias=False of one Dense holds for that layer only."""
    model = Model([2, Dense(3, Tanh(), use_bias=False), 2])
    assert list(model.parameters) == ["W1", "W2", "b2"]
    assert len(model.W) == 2
    assert len(model.b) == 1


def test_use_bias():
    """Without biases the model has weights only, and 0 goes to 0 through tanh."""
    model = Model([2, 3, 4, 2], use_bias=False, random_state=0)
    assert list(model.parameters) == ["W1", "W2", "W3"]
    assert len(model.b) == 0
    assert_array_equal(model.activations(np.zeros((1, 2)))[model.scores], [[0, 0]])


def residual_scores(rng, dtype=np.float64):
    """Return the scores node of a net with a skip connection, and the net as a NumPy function of its parameters."""
    shapes = {"U": (2, 2), "c": (2,), "V": (2, 3)}
    P = {name: Parameter(rng.normal(size=shape).astype(dtype), name) for name, shape in shapes.items()}
    X = Input("features")
    H = X + Tanh()(X @ P["U"] + P["c"], name="H")
    scores = MultiplyGate()(P["V"], H, name="scores")

    def net(X, U, c, V):
        return (X + np.tanh(X @ U + c)) @ V

    return scores, net


def test_scores_node():
    """A graph built by hand, with a residual connection, trains like any model: J and a step by the formula."""
    X, y = data()
    scores, net = residual_scores(np.random.default_rng(0))
    model = Model(scores)
    assert model.scores is scores
    assert set(model.parameters) == {"U", "c", "V"}
    assert_allclose(model.activations(X)["scores"], net(X, **model.parameters), rtol=1e-13)
    assert_array_equal(model.predict(X), net(X, **model.parameters).argmax(axis=1))

    def J(**parameters):
        S = net(X, **parameters)
        penalty = 0.05 * sum((parameters[name] ** 2).sum() for name in ("U", "V"))
        return (scipy.special.logsumexp(S, axis=1) - S[np.arange(len(y)), y]).sum() + penalty

    start = {name: value.copy() for name, value in model.parameters.items()}
    slopes = {name: central_differences(lambda v, n=name: J(**{**start, n: v}), start[name]) for name in start}
    model.train(X, y, num_passes=1, epsilon=2.0**-10, reg_lambda=0.1)
    for name, value in model.parameters.items():
        assert_allclose((start[name] - value) * 2.0**10, slopes[name], rtol=1e-6, atol=1e-7)
    model.train(X, y, num_passes=300, epsilon=0.05)
    assert model.loss_history[-1] < model.loss_history[0]


def test_scores_node_shares_its_parameters():
    """Two models of one scores node share its parameters; a Parameter's own value shows the training."""
    X, y = data()
    scores, _ = residual_scores(np.random.default_rng(0))
    one, other = Model(scores), Model(scores, output=Hinge())
    one.train(X, y, num_passes=2)
    assert snapshot(one) == snapshot(other)
    parameter = next(p for p in one.graph.parameters if p.name == "U")
    assert_array_equal(parameter.value, one.parameters["U"])


def test_nested_input_shapes():
    """A scores node may take examples of more than one axis."""
    rng = np.random.default_rng(0)
    X = Input("X")
    from_matrix = X @ Parameter(rng.normal(size=(4, 3)), "W")
    model = Model(from_matrix)
    X = rng.normal(size=(5, 2, 4))
    y = rng.integers(0, 3, size=(5, 2))
    model.train(X, y, num_passes=5)
    assert model.predict(X).shape == (5, 2)
    assert model.loss_history[-1] < model.loss_history[0]


def test_repr():
    """The representation shows shapes, the number of parameters, the dtype and the output."""
    shown = repr(Model([2, 3, 2], dtype=np.float32))
    for part in ("W1 (2, 3)", "b2 (2,)", "17 parameters", "float32", "Softmax"):
        assert part in shown


# --- Looking inside --------------------------------------------------------------------------------------------------


def by_hand(model, X, y):
    """Values and mean-loss gradients of a two-layer tanh network with softmax, by the textbook."""
    (W1, W2), (b1, b2) = model.W, model.b
    Z1 = X @ W1 + b1
    A1 = np.tanh(Z1)
    S = A1 @ W2 + b2
    P = scipy.special.softmax(S, axis=1)
    dS = (P - np.eye(S.shape[1])[y]) / len(X)
    dA1 = dS @ W2.T
    dZ1 = dA1 * (1 - A1**2)
    values = {"X": X, "XW1": X @ W1, "Z1": Z1, "A1": A1, "A1W2": A1 @ W2, "Z2": S, "W1": W1, "b2": b2}
    gradients = {
        "Z2": dS,
        "W2": A1.T @ dS,
        "b2": dS.sum(axis=0),
        "A1": dA1,
        "Z1": dZ1,
        "W1": X.T @ dZ1,
        "b1": dZ1.sum(axis=0),
        "X": dZ1 @ W1.T,
    }
    return values, gradients, P, -np.log(P[np.arange(len(y)), y]).mean()


def test_against_the_textbook():
    """Activations, gradients, loss, probabilities and predictions are those of the formulas."""
    X, y = data()
    model = Model([2, 4, 3], initializer=published, random_state=3)
    values, gradients, P, loss = by_hand(model, X, y)
    found = model.activations(X)
    for name, value in values.items():
        assert_allclose(found[name], value, rtol=1e-13, atol=1e-15, err_msg=name)
    found = model.gradients(X, y)
    for name, gradient in gradients.items():
        assert_allclose(found[name], gradient, rtol=1e-12, atol=1e-15, err_msg=name)
    assert found["y"] is None
    assert found["loss"] == 1
    assert_allclose(model.predict_proba(X), P, rtol=1e-13)
    assert_allclose(model.calculate_loss(X, y), loss, rtol=1e-13)
    assert_array_equal(model.predict(X), P.argmax(axis=1))
    assert isinstance(model.calculate_loss(X, y), float)


def test_activations_need_no_targets():
    """The activations go up to the scores and hold no loss."""
    names = list(Model([2, 3, 2]).activations([[1.0, 2.0]]))
    assert set(names) == {"X", "W1", "XW1", "b1", "Z1", "A1", "W2", "A1W2", "b2", "Z2"}
    assert names.index("Z1") < names.index("A1") < names.index("Z2")


def test_weights_in_order_and_in_place():
    """W and b run from the first layer to the last; changing them in place or by element changes the model."""
    X, y = data()
    model = Model([2, 4, 5, 3], random_state=0)
    assert [W.shape for W in model.W] == [(2, 4), (4, 5), (5, 3)]
    assert [b.shape for b in model.b] == [(4,), (5,), (3,)]
    assert [W.shape for W in model.W[1:]] == [(4, 5), (5, 3)]
    assert model.W[-1].shape == (5, 3)
    assert len(model.W) == len(model.b) == 3
    assert "array" in repr(model.W)
    model.W[0] = np.zeros((2, 4))
    model.b[0][:] = 0
    model.b[1] += 2
    model.W[2][1, 2] = 9
    for i in range(3):
        assert_array_equal(model.parameters[f"W{i + 1}"], model.W[i])
        assert_array_equal(model.parameters[f"b{i + 1}"], model.b[i])
    assert_array_equal(model.activations(X)["Z1"], np.zeros((8, 4)))
    assert_array_equal(model.activations(X)["Z2"], np.full((8, 5), 2.0))
    assert model.W[2][1, 2] == 9
    model.parameters["b3"][...] = [0, 50, 0]
    assert_array_equal(model.b[2], [0, 50, 0])
    assert_array_equal(model.predict(X), np.ones(8))
    assert model.calculate_loss(X, y) > 1


def test_assigned_weights_are_copied():
    """Assigning copies: the user's array and the model stay apart."""
    model, mine = Model([2, 2], random_state=0), np.ones((2, 2))
    model.W[0] = mine
    mine[:] = 5
    assert_array_equal(model.W[0], np.ones((2, 2)))
    assert mine.flags.writeable


def test_parameters_mapping_is_read_only():
    """A parameter is changed in place; the mapping itself takes no assignment."""
    model = Model([2, 2])
    with pytest.raises(TypeError):
        model.parameters["W1"] = np.zeros((2, 2))


def test_views_live_through_training():
    """Arrays taken from W and parameters before training show the weights after it."""
    X, y = data()
    model = Model([2, 3, 3], random_state=0)
    W, b, kept = model.W[0], model.parameters["b1"], model.W[0].copy()
    model.train(X, y, num_passes=5)
    assert W is model.W[0]
    assert b is model.b[0]
    assert not np.array_equal(W, kept)


@pytest.mark.parametrize(
    ("output", "classes", "expected"),
    [
        (Softmax(), 3, lambda S: scipy.special.softmax(S, axis=1)),
        (Logistic(), 1, lambda S: np.hstack([scipy.special.expit(-S), scipy.special.expit(S)])),
        (Logistic(), 3, scipy.special.expit),
    ],
)
def test_predict_proba(output, classes, expected):
    """Probabilities by the formulas; predictions are the likelier ones."""
    X, _ = data(20)
    model = Model([2, 3, classes], output=output, random_state=0)
    S = model.activations(X)[model.scores]
    assert_allclose(model.predict_proba(X), expected(S), rtol=1e-12)
    if classes == 3 and isinstance(output, Logistic):
        assert_array_equal(model.predict(X), expected(S) > 0.5)
    else:
        assert_array_equal(model.predict(X), expected(S).argmax(axis=1))


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("output", [SquaredError(), AbsoluteError(), Huber()], ids=repr)
def test_regression_predicts_values(output, columns):
    """A regression predicts its scores, and one column as a flat array."""
    X, _ = data()
    model = Model([2, 3, columns], output=output, random_state=0)
    S = model.activations(X)[model.scores]
    assert_array_equal(model.predict(X), S[:, 0] if columns == 1 else S)


# --- The objective ---------------------------------------------------------------------------------------------------


def central_differences(f, x, h=1e-5):
    """Return the slopes of f at x, element by element."""
    slopes = np.empty_like(x)
    for at in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[at] = h
        slopes[at] = (f(x + step) - f(x - step)) / (2 * h)
    return slopes


def labels(k):
    """Return a function that draws labels 0..k-1."""
    return lambda rng, n: rng.permutation(np.arange(n) % k)


def rows(k):
    """Return a function that draws rows of k probabilities."""
    return lambda rng, n: rng.dirichlet(np.ones(k), size=n)


def values(*shape):
    """Return a function that draws targets of a regression."""
    return lambda rng, n: rng.normal(size=(n, *shape))


def cross_entropy(S, y):
    """Return -log softmax(S)[y] for every row."""
    return scipy.special.logsumexp(S, axis=1) - S[np.arange(len(S)), y]


def soft_cross_entropy(S, T):
    """Return -sum(T log softmax(S)) for every row."""
    return -(T * (S - scipy.special.logsumexp(S, axis=1, keepdims=True))).sum(axis=1)


def log_loss(S, t):
    """Return -t log(p) - (1 - t) log(1 - p), p the sigmoid of S."""
    t = np.reshape(t, S.shape)
    return -t * scipy.special.log_expit(S) - (1 - t) * scipy.special.log_expit(-S)


def huber(r, delta):
    """Return Huber's loss of the residuals r."""
    return np.where(abs(r) <= delta, r * r / 2, delta * (abs(r) - delta / 2))


def multi_hinge(S, y, margin=1.0):
    """Return max(0, margin + best wrong score - right score) for every row."""
    right = S[np.arange(len(S)), y]
    wrong = np.where(np.eye(S.shape[1], dtype=bool)[y], -np.inf, S).max(axis=1)
    return np.maximum(0, margin + wrong - right)


CLASS_WEIGHT = np.array([1.0, 2.5, 0.5])

# name: output, columns of scores, how the targets are drawn, the sum of the losses from scores and targets.
OBJECTIVES = {
    "softmax": (Softmax(), 3, labels(3), lambda S, y: cross_entropy(S, y).sum()),
    "softmax sum": (Softmax(reduction="sum"), 3, labels(3), lambda S, y: cross_entropy(S, y).sum()),
    "softmax 2": (Softmax(), 2, labels(2), lambda S, y: cross_entropy(S, y).sum()),
    "softmax bool": (
        Softmax(),
        2,
        lambda r, n: labels(2)(r, n) > 0,
        lambda S, y: cross_entropy(S, y.astype(int)).sum(),
    ),
    "softmax rows": (Softmax(), 3, rows(3), lambda S, T: soft_cross_entropy(S, T).sum()),
    "softmax weighted": (
        Softmax(class_weight=CLASS_WEIGHT.tolist()),
        3,
        labels(3),
        lambda S, y: (CLASS_WEIGHT[y] * cross_entropy(S, y)).sum(),
    ),
    "softmax weighted sum": (
        Softmax(class_weight={1: 2.5, 2: 0.5}, reduction="sum"),
        3,
        labels(3),
        lambda S, y: (CLASS_WEIGHT[y] * cross_entropy(S, y)).sum(),
    ),
    "softmax weighted rows": (
        Softmax(class_weight=CLASS_WEIGHT.tolist()),
        3,
        rows(3),
        lambda S, T: ((T @ CLASS_WEIGHT) * soft_cross_entropy(S, T)).sum(),
    ),
    "logistic": (Logistic(), 1, labels(2), lambda S, y: log_loss(S, y).sum()),
    "logistic many": (
        Logistic(),
        3,
        lambda rng, n: rng.integers(0, 2, size=(n, 3)),
        lambda S, t: log_loss(S, t).sum(),
    ),
    "logistic soft sum": (
        Logistic(reduction="sum"),
        2,
        lambda rng, n: rng.random((n, 2)),
        lambda S, t: log_loss(S, t).sum(),
    ),
    "logistic weighted": (
        Logistic(class_weight=[0.5, 3.0]),
        1,
        labels(2),
        lambda S, y: (np.where(y == 1, 3.0, 0.5)[:, None] * log_loss(S, y)).sum(),
    ),
    "squared": (SquaredError(), 2, values(2), lambda S, t: ((S - t) ** 2).sum()),
    "squared column": (SquaredError(), 1, values(), lambda S, t: ((S[:, 0] - t) ** 2).sum()),
    "squared sum": (SquaredError(reduction="sum"), 2, values(2), lambda S, t: ((S - t) ** 2).sum()),
    "absolute": (AbsoluteError(), 2, values(2), lambda S, t: abs(S - t).sum()),
    "huber": (Huber(delta=0.7), 2, values(2), lambda S, t: huber(S - t, 0.7).sum()),
    "huber sum": (Huber(reduction="sum"), 1, values(1), lambda S, t: huber(S - t, 1.0).sum()),
    "hinge": (Hinge(), 3, labels(3), lambda S, y: multi_hinge(S, y).sum()),
    "hinge weighted": (
        Hinge(margin=0.5, class_weight=CLASS_WEIGHT.tolist()),
        3,
        labels(3),
        lambda S, y: (CLASS_WEIGHT[y] * multi_hinge(S, y, 0.5)).sum(),
    ),
    "hinge column": (Hinge(), 1, labels(2), lambda S, y: np.maximum(0, 1 - (2 * y - 1) * S[:, 0]).sum()),
}

LAYERS = {
    "tanh": (Tanh(), np.tanh),
    "sigmoid": (Sigmoid(), lambda Z: 1 / (1 + np.exp(-Z))),
    "relu": (ReLU(), lambda Z: Z * (Z > 0)),
    "leaky": (LeakyReLU(0.1), lambda Z: np.maximum(Z, 0.1 * Z)),
    "elu": (ELU(), lambda Z: np.where(Z > 0, Z, np.exp(Z) - 1)),
    "gelu": (GELU(), lambda Z: Z * (1 + scipy.special.erf(Z / np.sqrt(2))) / 2),
    "silu": (SiLU(), lambda Z: Z / (1 + np.exp(-Z))),
    "softplus": (Softplus(), lambda Z: np.log1p(np.exp(Z))),
    "softmax": (SoftmaxLayer(), lambda Z: scipy.special.softmax(Z, axis=-1)),
}


@pytest.mark.parametrize("use_bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_objective(name, layer, use_bias):
    """One pass moves every parameter by the measured slopes of an independent J, penalty included."""
    output, columns, draw, summed = OBJECTIVES[name]
    gate, f = LAYERS[layer]
    rng = np.random.default_rng(len(name) + 100 * len(layer))
    X = rng.normal(size=(9, 2))
    y = draw(rng, 9)
    model = Model(
        [2, 4, 3, columns], layer=gate, output=output, use_bias=use_bias, initializer=published, random_state=len(layer)
    )
    start = {key: value.copy() for key, value in model.parameters.items()}

    def J(parameters):
        A = X
        for i in (1, 2, 3):
            Z = A @ parameters[f"W{i}"] + (parameters[f"b{i}"] if use_bias else 0)
            A = f(Z) if i < 3 else Z
        return summed(A, y) + 0.3 / 2 * sum((parameters[f"W{i}"] ** 2).sum() for i in (1, 2, 3))

    found, gradient = model.objective(X, y, reg_lambda=0.3)
    assert_allclose(found, J(start), rtol=1e-12)
    model.train(X, y, num_passes=1, epsilon=2.0**-10, reg_lambda=0.3)
    assert list(gradient) == list(start) == list(model.parameters)
    for key, value in start.items():
        slopes = central_differences(lambda v, k=key: J({**start, k: v}), value)
        allowed = {"rtol": 1e-6, "atol": 1e-7 * max(1, abs(slopes).max())}
        assert_allclose(gradient[key], slopes, **allowed, err_msg=f"objective: {key}")
        assert_allclose((value - model.parameters[key]) * 2.0**10, slopes, **allowed, err_msg=f"train: {key}")


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_output_learns(name):
    """Training with any output lowers its loss."""
    output, columns, draw, _ = OBJECTIVES[name]
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 2)), draw(rng, 30)
    model = Model([2, 6, columns], output=output, random_state=0)
    model.train(X, y, num_passes=200, epsilon=0.002, reg_lambda=0)
    assert model.loss_history[-1] < model.loss_history[0]


def test_reduction_does_not_change_the_training():
    """A mean and a sum descend the same J; only the loss that is reported differs, by the number of losses."""
    X, y = data()
    mean, total = (Model([2, 3, 3], output=Softmax(reduction=r), random_state=0) for r in ("mean", "sum"))
    for model in (mean, total):
        model.train(X, y, num_passes=20)
    for one, other in zip(mean.parameters.values(), total.parameters.values(), strict=True):
        assert_allclose(one, other, rtol=1e-10)
    assert_allclose(8 * np.array(mean.loss_history), total.loss_history, rtol=1e-10)


# --- Training --------------------------------------------------------------------------------------------------------


def test_loss_history():
    """loss_history[k] is the loss after k passes: measured anew, it is that of a model stopped there."""
    X, y = data()
    model = Model([2, 3, 3], random_state=0)
    assert model.loss_history == []
    model.train(X, y, num_passes=5)
    assert len(model.loss_history) == 6
    for k in range(6):
        stopped = Model([2, 3, 3], random_state=0)
        stopped.train(X, y, num_passes=k)
        assert stopped.loss_history == model.loss_history[: k + 1]
        assert stopped.calculate_loss(X, y) == model.loss_history[k]
    assert all(type(loss) is float for loss in model.loss_history)


def test_training_in_parts():
    """Training 3 and then 4 passes is training 7, weights and history alike."""
    X, y = data()
    parts, whole = (Model([2, 3, 3], random_state=0) for _ in range(2))
    parts.train(X, y, num_passes=3)
    parts.train(X, y, num_passes=4)
    whole.train(X, y, num_passes=7)
    assert parts.loss_history == whole.loss_history
    assert snapshot(parts) == snapshot(whole)


def test_no_passes():
    """num_passes=0 measures the loss and changes nothing."""
    X, y = data()
    model = Model([2, 3, 3], random_state=0)
    before = snapshot(model)
    for _ in range(2):
        model.train(X, y, num_passes=0)
        assert model.loss_history == [model.calculate_loss(X, y)]
    assert snapshot(model) == before


def test_epsilon_zero():
    """A rate of zero leaves the weights to the bit and repeats the loss."""
    X, y = data()
    model = Model([2, 3, 3], random_state=0)
    before = snapshot(model)
    model.train(X, y, num_passes=3, epsilon=0)
    assert snapshot(model) == before
    assert len(set(model.loss_history)) == 1


def test_defaults_are_the_published_ones():
    """train's arguments and defaults: 20,000 passes, epsilon 0.01, reg_lambda 0.01, silent."""
    defaults = {p.name: p.default for p in list(inspect.signature(Model.train).parameters.values())[3:]}
    expected = {"num_passes": 20000, "epsilon": 0.01, "reg_lambda": 0.01, "print_loss": False}
    assert list(defaults.items()) == list(expected.items())


def test_looking_does_not_change_training():
    """Predicting, measuring and differentiating on other data in between leaves the training as it is."""
    X, y = data()
    watched, alone = (Model([2, 3, 3], random_state=0) for _ in range(2))
    for _ in range(3):
        watched.train(X, y, num_passes=2)
        watched.gradients(X[:2] + 1, y[:2])
        watched.objective(X[:3], y[:3])
        watched.predict(X[:1])
    alone.train(X, y, num_passes=6)
    assert snapshot(watched) == snapshot(alone)


def test_two_runs_same_bytes():
    """Two runs with one seed give the same bytes, and another seed gives others."""
    X, y = data()
    runs = []
    for seed in (1, 1, 2):
        model = Model([2, 5, 3], random_state=seed)
        model.train(X, y, num_passes=50)
        runs.append((snapshot(model), model.loss_history, model.predict_proba(X).tobytes()))
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


@pytest.mark.parametrize(
    "make",
    [lambda: 5, lambda: np.int32(5), lambda: np.random.RandomState(5), lambda: np.random.default_rng(5)],
    ids=["int", "numpy int", "RandomState", "Generator"],
)
def test_random_state(make):
    """Every kind of seed gives one model twice; NumPy's global generator stays untouched."""
    X, y = data()
    before = np.random.get_state()  # noqa: NPY002 -- the global generator is what is tested
    first, second = Model([2, 3, 2], random_state=make()), Model([2, 3, 2], random_state=make())
    first.train(X, y % 2, num_passes=2)
    after = np.random.get_state()  # noqa: NPY002 -- as above
    second.train(X, y % 2, num_passes=2)
    assert snapshot(first) == snapshot(second)
    for one, other in zip(before, after, strict=True):
        assert_array_equal(one, other)


def test_int_seed_is_a_random_state():
    """An integer stands for RandomState(integer), as in scikit-learn."""
    by_int, by_state = (Model([2, 3, 2], random_state=r) for r in (7, np.random.RandomState(7)))
    assert snapshot(by_int) == snapshot(by_state)


def test_a_generator_goes_on():
    """A generator that is handed over is used, not copied: the next model gets the next numbers."""
    rng = np.random.default_rng(0)
    assert snapshot(Model([2, 3, 2], random_state=rng)) != snapshot(Model([2, 3, 2], random_state=rng))


def test_random_state_none():
    """None gives other weights each time, and leaves the global generator alone."""
    before = np.random.get_state()  # noqa: NPY002 -- the global generator is what is tested
    first, second = Model([2, 3, 2]), Model([2, 3, 2], random_state=None)
    assert snapshot(first) != snapshot(second)
    assert_array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002 -- as above


def test_softmax_learns_three_classes():
    """Three blobs are told apart."""
    X, y = make_blobs(90, centers=[[0, 0], [4, 0], [0, 4]], cluster_std=0.5, random_state=0)
    model = Model([2, 5, 3], random_state=0)
    model.train(X, y, num_passes=300)
    assert np.mean(model.predict(X) == y) == 1
    assert model.loss_history[-1] < 0.1


def test_probabilities_and_labels_train_alike():
    """One-hot rows of probabilities are the same training as their labels."""
    X, y = data()
    by_label, by_row = (Model([2, 3, 3], random_state=0) for _ in range(2))
    by_label.train(X, y, num_passes=20)
    by_row.train(X, np.eye(3)[y], num_passes=20)
    assert_allclose(by_label.loss_history, by_row.loss_history, rtol=1e-10)


# --- float32 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OBJECTIVES)
def test_float32_throughout(name):
    """A float32 model stays float32 with plain targets: values, gradients, probabilities and trained weights."""
    output, columns, draw, _ = OBJECTIVES[name]
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(9, 2)), draw(rng, 9)
    model, wide = (Model([2, 4, columns], output=output, dtype=t, random_state=0) for t in (np.float32, np.float64))
    before = snapshot(model)
    for m in (model, wide):
        m.train(X, y, num_passes=10)
    assert before != snapshot(model)
    assert model.dtype == np.float32
    arrays = [*model.parameters.values(), *model.activations(X).values(), *model.objective(X, y)[1].values()]
    arrays += [g for g in model.gradients(X, y).values() if g is not None]
    if isinstance(output, Softmax | Logistic):
        arrays.append(model.predict_proba(X))
    assert {a.dtype for a in arrays} == {np.dtype(np.float32)}
    assert model.predict(X).dtype in (np.float32, np.intp)
    assert_allclose(model.loss_history, wide.loss_history, rtol=1e-4)


@pytest.mark.parametrize("layer", LAYERS)
def test_float32_layers(layer):
    """No layer widens float32."""
    X, y = data()
    model = Model([2, 3, 3], layer=LAYERS[layer][0], dtype="float32", random_state=0)
    model.train(X, y, num_passes=2)
    assert {a.dtype for a in model.activations(X).values()} == {np.dtype(np.float32)}
    assert {g.dtype for g in model.gradients(X, y).values() if g is not None} == {np.dtype(np.float32)}


def test_float32_scores_node():
    """A scores node brings its parameters' dtype, and data are converted to it."""
    X, y = data()
    scores, _ = residual_scores(np.random.default_rng(0), np.float32)
    model = Model(scores)
    model.train(X, y, num_passes=2)
    assert model.dtype == np.float32
    assert {a.dtype for a in model.activations(X).values()} == {np.dtype(np.float32)}


# --- Data in all forms -----------------------------------------------------------------------------------------------


def read_only(a):
    """Return a copy that cannot be written."""
    a = a.copy()
    a.flags.writeable = False
    return a


FORMS = {
    "list": lambda a: a.tolist(),
    "tuple": lambda a: tuple(map(tuple, a)) if a.ndim > 1 else tuple(a),
    "list of arrays": list,
    "float32": lambda a: a.astype(np.float32) if a.dtype.kind == "f" else a,
    "float16": lambda a: a.astype(np.float16) if a.dtype.kind == "f" else a,
    "longdouble": lambda a: a.astype(np.longdouble) if a.dtype.kind == "f" else a,
    "int8": lambda a: a.astype(np.int8) if a.dtype.kind == "i" else a,
    "unsigned": lambda a: a.astype(np.uint64) if a.dtype.kind == "i" else a,
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "fortran": np.asfortranarray,
    "every second": lambda a: np.repeat(a, 2, axis=0)[::2],
    "reversed": lambda a: a[::-1].copy()[::-1],
    "inner columns": lambda a: np.pad(a, [(0, 0), (1, 1)][: a.ndim] if a.ndim > 1 else [(1, 1)])[
        (slice(None), slice(1, -1)) if a.ndim > 1 else slice(1, -1)
    ],
    "read-only": read_only,
    "matrix row views": lambda a: np.asarray(memoryview(np.ascontiguousarray(a))),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_data(form):
    """X and y in any form train to the same bytes, and are neither changed nor made read-only."""
    X, y = data()
    X = np.round(X * 8) / 8  # Exact in float16 too, so that every form is the same data.
    mine = [FORMS[form](X), FORMS[form](y)]
    kept = [np.array(a) for a in mine]
    writeable = [a.flags.writeable if isinstance(a, np.ndarray) else None for a in mine]
    model, expected = (Model([2, 3, 3], random_state=0) for _ in range(2))
    model.train(*mine, num_passes=5)
    expected.train(X, y, num_passes=5)
    for name, value in expected.parameters.items():
        assert_allclose(model.parameters[name], value, rtol=1e-12, atol=1e-14)
    assert_array_equal(model.predict(mine[0]), expected.predict(X))
    assert_allclose(model.gradients(*mine)["X"], expected.gradients(X, y)["X"], rtol=1e-10, atol=1e-14)
    for a, b, w in zip(mine, kept, writeable, strict=True):
        assert_array_equal(np.array(a), b)
        assert w == (a.flags.writeable if isinstance(a, np.ndarray) else None)


def test_integer_and_boolean_features():
    """Whole numbers and truth values are features like any others."""
    X, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])
    results = []
    for form in (X, X.astype(bool), X.astype(float), X.astype(np.uint8)):
        model = Model([2, 3, 2], random_state=0)
        model.train(form, y, num_passes=5)
        results.append(snapshot(model))
    assert results.count(results[0]) == len(results)


def test_memmap(tmp_path):
    """Data may stay in a file."""
    X, y = data()
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    model, expected = (Model([2, 3, 3], random_state=0) for _ in range(2))
    model.train(mapped, y, num_passes=5)
    expected.train(X, y, num_passes=5)
    assert snapshot(model) == snapshot(expected)
    assert type(model.activations(mapped)["Z1"]) is np.ndarray


def test_dense_array_of_a_sparse_matrix():
    """A sparse matrix goes in once it is made dense, as the message about it would have it."""
    X, y = data()
    Model([2, 3]).train(scipy.sparse.csr_array(X).toarray(), y, num_passes=1)


@pytest.mark.parametrize("n", [1, 2])
def test_few_examples(n):
    """One example is enough, and its labels need not hold every class."""
    model = Model([2, 3, 4], random_state=0)
    model.train([[1.0, 2.0]] * n, [3] * n, num_passes=50, epsilon=0.1)
    assert_array_equal(model.predict([[1.0, 2.0]]), [3])


def test_moons_generalise():
    """With its defaults the model separates fresh moons too."""
    X, y = make_moons(200, noise=0.2, random_state=1)
    fresh, labels_of_fresh = make_moons(500, noise=0.2, random_state=2)
    model = Model([2, 8, 2], random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.train(X, y, num_passes=3000)
    assert np.mean(model.predict(fresh) == labels_of_fresh) > 0.94


def test_widths_and_shapes_agree():
    """Each W has the shape of its two widths."""
    widths = [3, 1, 7, 2, 5]
    model = Model(widths)
    assert [W.shape for W in model.W] == list(pairwise(widths))


# --- Models travel, and are shared ------------------------------------------------------------------------------------


def test_copies_and_files_hold_no_data():
    """A pickled model has its parameters and none of the data that it saw; a deep one needs no recursion."""
    X, y = data()
    model = Model([2, 4, 3], random_state=0)
    small = len(pickle.dumps(model))
    model.train(np.repeat(X, 500, axis=0), np.repeat(y, 500), num_passes=1, epsilon=1e-6)
    model.graph.forward(X=np.repeat(X, 500, axis=0), y=np.repeat(y, 500))
    assert len(pickle.dumps(model)) < small + 200
    deep = Model([2, *[3] * 1000, 2], random_state=0)
    again = pickle.loads(pickle.dumps(deep))  # noqa: S301 -- our own bytes
    assert_array_equal(again.predict_proba(X), deep.predict_proba(X))
    assert_array_equal(copy.deepcopy(deep).predict_proba(X), deep.predict_proba(X))


def test_threads_may_share_a_model():
    """Gradients and predictions of one model in several threads are those of one thread."""
    model = Model([2, 5, 3], random_state=0)
    rng = np.random.default_rng(0)
    batches = [(rng.normal(size=(n, 2)), rng.integers(0, 3, n)) for n in range(5, 13)]
    alone = [model.gradients(X, y)["W1"] for X, y in batches]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda batch: model.gradients(*batch)["W1"], batches * 100))
    finally:
        sys.setswitchinterval(interval)
    for i, gradient in enumerate(found):
        assert_array_equal(gradient, alone[i % len(batches)])


def test_rows_by_number_train_an_embedding():
    """A model whose Input is of integers looks up rows: words to vectors, summed, classified."""
    rows = Input("rows", dtype=int)
    table = Parameter(np.random.default_rng(0).normal(size=(6, 2)), "table")
    model = Model(SumGate(axis=1)(GatherGate()(table, rows)))
    X, y = np.array([[0, 1], [2, 3], [1, 0], [3, 2], [4, 4]]), np.array([0, 1, 0, 1, 0])
    model.train(X, y, num_passes=200, epsilon=0.1, reg_lambda=0)
    assert_array_equal(model.predict(X), y)
    assert_array_equal(model.parameters["table"][5], np.random.default_rng(0).normal(size=(6, 2))[5])
    with pytest.raises(ValueError, match="X must be integers, as the model's Input says, got float64"):
        model.predict(X.astype(float))


def test_a_trained_model_is_not_blamed():
    """One more pass at the optimum, where only rounding moves the objective, is no training that made it worse."""
    x = np.linspace(-1, 1, 30)[:, None]
    model = Model([1, 1], output=SquaredError(), random_state=0)
    model.train(x, 2 * x[:, 0] + 1, num_passes=3000, epsilon=0.01, reg_lambda=0)
    assert model.loss_history[-1] < 1e-25
    for _ in range(20):
        model.train(x, 2 * x[:, 0] + 1, num_passes=1, epsilon=0.01, reg_lambda=0)


def test_a_sum_may_weigh_nothing():
    """Where the losses are summed, a batch whose classes all weigh nothing is no mistake."""
    X, _ = data()
    model = Model([2, 3], output=Softmax(class_weight=[0, 1, 1], reduction="sum"), random_state=0)
    before = snapshot(model)
    model.train(X, np.zeros(len(X), int), num_passes=3, reg_lambda=0)
    assert snapshot(model) == before
    assert model.loss_history == [0.0] * 4


@pytest.mark.parametrize("engine", ["numpy", "graph"])
@pytest.mark.parametrize("rows", [1, 7, 5000])
def test_decision_function(engine, rows):
    """The scores, by hand; from them the output predicts; they are the caller's own."""
    X = np.random.default_rng(rows).normal(size=(rows, 3))
    model = Model([3, 4, 2], random_state=0, engine=engine)
    scores = model.decision_function(X)
    (W1, W2), (b1, b2) = model.W, model.b
    np.testing.assert_allclose(scores, np.tanh(X @ W1 + b1) @ W2 + b2, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(model.predict(X), model.output.predict(scores))
    np.testing.assert_array_equal(model.predict_proba(X), model.output.predict_proba(scores))
    before = scores.copy()
    scores[...] = 0.0
    np.testing.assert_array_equal(model.decision_function(X), before)
