"""What is not finite is traced: to the node that made it, the place, the inputs, and the cause."""

import math
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from gates import (
    DivideGate,
    ElementwiseGate,
    ElementwiseProductGate,
    ExpGate,
    Gate,
    LayerNormGate,
    LogGate,
    Logistic,
    PowerGate,
    ReLU,
    Softmax,
    SquaredError,
    SumGate,
    Tanh,
)
from nngraph import Dense, DivergenceError, GateRegressor, Graph, Input, Model, NonFiniteError, Parameter
from nngraph.optimizers import GradientDescent
from nngraph.tracing import all_finite, predictable, trace, trace_gradient

pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")


class Root(ElementwiseGate):
    """The square root, which knows nothing of negative numbers."""

    def forward(self, X):
        return np.sqrt(X)

    def derivative(self, X):
        return 0.5 / np.sqrt(X)


class Share(Gate):
    """Each number's part of its row."""

    def forward(self, X):
        return X / X.sum(axis=-1, keepdims=True)

    def backward(self, X, dZ):
        raise NotImplementedError


class OwnRoot(Gate):
    """The square root, as who has only read of `Gate` writes it."""

    def forward(self, X):
        return np.sqrt(X)

    def backward(self, X, dZ):
        return dZ / (2 * np.sqrt(X))


class RootOfPositive(OwnRoot):
    """Its values are finite everywhere, its gradients are nan wherever a unit is off."""

    def forward(self, X):
        return np.sqrt(np.maximum(X, 0))

    def backward(self, X, dZ):
        return dZ * (X > 0) / (2 * np.sqrt(np.maximum(X, 0)))


def traced(node, **feeds):
    """Return the trace of a graph on some data."""
    graph = Graph(node)
    with np.errstate(all="ignore"):
        return trace(graph, graph.evaluate({name: np.array(x) for name, x in feeds.items()}))


a, b = Input("a"), Input("b")
BIG = [[1e300, 1.0], [2.0, 3.0]]
# A graph and its data; the node, the place and the value; the elements; and words of the cause.
MADE = {
    "log of zero": (LogGate()(a), {"a": [1.0, 0.0]}, "Log", (1,), -math.inf, {"a": ((1,), 0.0)}, "logarithm of 0"),
    "log of less": (LogGate()(a), {"a": [[1.0, -2.0]]}, "Log", (0, 1), math.nan, {"a": ((0, 1), -2.0)}, "negative"),
    "1 / 0": (
        DivideGate()(a, b), {"a": [[1.0], [2.0]], "b": [1.0, 0.0]}, "Divide", (0, 1), math.inf,
        {"a": ((0, 0), 1.0), "b": ((1,), 0.0)}, "division by zero",
    ),
    "0 / 0": (
        DivideGate()(a, b), {"a": [0.0], "b": [0.0]}, "Divide", (0,), math.nan,
        {"a": ((0,), 0.0), "b": ((0,), 0.0)}, "0 / 0",
    ),
    "nearly 0": (
        DivideGate()(a, b), {"a": [1e300], "b": [1e-300]}, "Divide", (0,), math.inf,
        {"a": ((0,), 1e300), "b": ((0,), 1e-300)}, "nearly 0",
    ),
    "exp": (
        ExpGate()(a), {"a": [0.0, 710.0]}, "Exp", (1,), math.inf, {"a": ((1,), 710.0)}, "float64 ends at exp(709.8)",
    ),
    "exp in float32": (
        ExpGate()(a), {"a": np.array([0.0, 89.0], np.float32)}, "Exp", (1,), math.inf,
        {"a": ((1,), 89.0)}, "float32 ends at exp(88.7)",
    ),
    "root by power": (PowerGate()(a, 0.5), {"a": [-1.0]}, "Power", (0,), math.nan, {"a": ((0,), -1.0)}, "real power"),
    "0 ** -1": (PowerGate()(a, -1.0), {"a": [0.0]}, "Power", (0,), math.inf, {"a": ((0,), 0.0)}, "division by zero"),
    "a gate of one's own": (Root()(a), {"a": [4.0, -1.0]}, "Root", (1,), math.nan, {"a": ((1,), -1.0)}, ""),
    "not the largest of its row": (
        OwnRoot()(a), {"a": [[4.0, 1.0], [9.0, -1.0]]}, "OwnRoot", (1, 1), math.nan, {"a": ((1, 1), -1.0)}, "",
    ),
    "sum": (a + b, {"a": [1e308], "b": [1.5e308]}, "Add", (0,), math.inf, {"a": ((0,), 1e308)}, "b goes up to"),
    "column": (
        a @ Parameter(np.ones((2, 1)), "W"), {"a": [[1.0, 1e308], [1.0, -1e308]]}, None, None, None, {}, "",
    ),
    "unscaled": (
        a @ Parameter([[1.0], [10.0]], "W"), {"a": [[1.0, 2.0], [1.0, -1e308]]}, "Multiply", (1, 0), -math.inf,
        {"a": ((1, 1), -1e308), "W": ((1, 0), 10.0)}, "column 1 of a goes up to 1e+308",
    ),
    "weights": (
        a @ Parameter([[1e308], [1.0]], "W"), {"a": [[20.0, 1.0]]}, "Multiply", (0, 0), math.inf,
        {"a": ((0, 0), 20.0), "W": ((0, 0), 1e308)}, "W is as large as 1e+308",
    ),
    "float32": (
        a @ Parameter(np.array([[1e38], [1.0]], np.float32), "W"), {"a": np.array([[20.0, 1.0]], np.float32)},
        "Multiply", (0, 0), math.inf, {"a": ((0, 0), 20.0)}, "float32 ends at 3.4e+38",
    ),
    "along a row": (
        LayerNormGate()(a, np.ones(2), np.zeros(2)), {"a": [[1.0, 2.0], [1.0, 1e200]]}, None, None, None, {}, "",
    ),
    "share of a row": (
        Share()(a), {"a": [[1.0, 2.0], [3.0, -3.0]]}, "Share", (1, 0), math.inf, {"a": ((1, 0), 3.0)}, "",
    ),
    "the larger is to blame": (
        a @ Parameter([[2e3]], "W"), {"a": [[1e306]]}, "Multiply", (0, 0), math.inf,
        {"W": ((0, 0), 2e3)}, "column 0 of a",
    ),
    "many large": (
        ElementwiseProductGate()(a * 1e3, a * 1e3) * 1e300, {"a": [900.0]}, "ElementwiseProduct_4", (0,), math.inf,
        {"ElementwiseProduct_3": ((0,), 8.1e11)}, "leave the range of float64",
    ),
    "reduction": (SumGate()(a), {"a": [1e308, 1.5e308]}, "Sum", (), math.inf, {"a": ((1,), 1.5e308)}, "goes up to"),
    "loss": (
        SquaredError()(a, b), {"a": [[1.0], [1e200]], "b": [0.0, 3.0]}, "SquaredError", (), math.inf,
        {"a": ((1, 0), 1e200), "b": ((1,), 3.0)}, "column 0 of a",
    ),
    "inf - inf": (
        (a + np.array([-np.inf, 0.0])) * np.array([0.0, 1.0]), {"a": [1.0, 2.0]}, "ElementwiseProduct", (0,), math.nan,
        {"Add": ((0,), -math.inf)}, "times zero",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MADE)
def test_the_node_the_place_the_inputs_and_the_cause(case):
    """Each of them is what was planted; what is finite, or was meant, has no trace."""
    node, feeds, name, place, value, elements, cause = MADE[case]
    found = traced(node, **feeds)
    if name is None:
        assert found is None
        return
    assert (found.node, found.did, found.place) == (name, "became", place)
    assert_array_equal(found.value, value)
    made = {x.name: (x.place, x.value) for x in reversed(found.inputs)}
    for of, (at, number) in elements.items():
        assert made[of][0] == at
        assert made[of][1] == pytest.approx(number)
    assert cause in found.cause
    assert bool(found.cause) == bool(cause)
    text = str(found)
    assert f"node {name!r}" in text
    assert all(str(x) in text for x in found.inputs)


@given(
    st.integers(1, 5), st.integers(1, 4), st.integers(1, 3), st.data(),
)  # fmt: skip
def test_the_planted_place_is_found(rows, width, units, data):
    """Of a net of two layers one weight or example is huge: the trace names a product that has it as a factor."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    X, W = rng.uniform(0.5, 1, (rows, width)), rng.uniform(0.5, 1, (width, units))
    i, k, j = (data.draw(st.integers(0, n - 1)) for n in (rows, width, units))
    X[i, k], W[k, j] = 1e200, 1e200
    graph = Graph(Tanh()(Input("X") @ Parameter(W, "W"), name="A"))
    with np.errstate(all="ignore"):
        found = trace(graph, graph.evaluate(X=X))
    assert (found.node, found.place) == ("Multiply", (i, j))
    assert [(x.name, x.place) for x in found.inputs[:2]] == [("X", (i, k)), ("W", (k, j))]


def test_gradients():
    """An infinite slope is traced to the gate whose slope it is, and where."""
    x = Input("x")
    graph = Graph(SumGate()(Root()(x * 1.0)))
    with np.errstate(all="ignore"):
        values = graph.evaluate(x=np.array([1.0, 0.0, 4.0]))
        found = trace_gradient(graph, values, graph.backward(values=values))
    assert trace(graph, values) is None
    assert (found.node, found.place, found.value, found.did) == (
        "ElementwiseProduct",
        (1,),
        math.inf,
        "got a gradient of",
    )
    assert "the slope of Root (node 'Root') is not finite at 0" in found.cause
    values = graph.evaluate(x=np.array([1.0, 4.0]))
    assert trace_gradient(graph, values, graph.backward(values=values)) is None


GRADIENTS = {
    "arrives large": (lambda x: x * 1e200 * 1e200, [1e-300], "the gradient that arrives at 'ElementwiseProduct' is"),
    "backward": (
        lambda x: (x @ np.full((1, 2), 1e200)) * np.full((1, 2), 1e130), [[1e-300]], "of gradients up to 1e+130",
    ),
    "two readers": (
        lambda x: SumGate()(Root()(x)) + 0.0 * SumGate()(x), [0.0, 1.0], "the slope of Root",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", GRADIENTS)
def test_causes_of_gradients(case):
    """Too much arrives, a backward makes it, or a slope is infinite."""
    make, data, cause = GRADIENTS[case]
    graph = Graph(SumGate()(make(Input("x"))))
    with np.errstate(all="ignore"):
        values = graph.evaluate(x=np.array(data))
        found = trace_gradient(graph, values, graph.backward(values=values))
    assert trace(graph, values) is None
    assert found.node == "x"
    assert cause in found.cause


def test_a_reader_without_a_gradient_is_passed_over():
    """An output whose upstream gradient is not given reads the node, too."""
    x = Input("x")
    y = x * 1.0
    aside, root = Tanh()(y, name="aside"), Root()(y, name="root")
    graph = Graph(aside, root)
    with np.errstate(all="ignore"):
        values = graph.evaluate(x=np.array([0.0, 1.0]))
        found = trace_gradient(graph, values, graph.backward({root: np.ones(2)}, values=values))
    assert "the slope of Root (node 'root')" in found.cause


def regression():
    x = np.linspace(0, 10, 40)
    return np.column_stack([x, x**2]), 3 * x - x**2 + 2


def test_training_says_how_the_weights_grew():
    """The loss is traced to its row, and the growth of the weights in the last pass is that of a loop by hand."""
    X, y = regression()
    model = Model([2, 1], output=SquaredError(), random_state=0)
    with pytest.raises(DivergenceError) as caught:
        model.train(X, y, num_passes=1000, reg_lambda=0)
    error = caught.value
    residual = X @ model.W[0][:, 0] + model.b[0] - y
    step = 0.01 * 2 * X.T @ residual
    before, after = np.abs(model.W[0]).max(), np.abs(model.W[0][:, 0] - step).max()
    # What is kept is the weights of the last finite loss.
    assert f"the last steps took W1 from {before:.2g} to {after:.2g}: the rate is too high" in error.cause
    assert (error.node, error.place) == ("loss", ())
    assert [(x.name, x.place) for x in error.inputs] == [("Z1", (39, 0)), ("y", (39,))]
    assert error.inputs[1].value == y[39]
    assert error.cause in str(error)


@pytest.mark.parametrize("size", [None, 5, 20])
def test_a_wrong_backward_is_no_matter_of_the_rate(size):
    """A gradient that is nan though the loss is not is traced to the gate, in one batch or in many."""
    X = np.random.default_rng(0).normal(size=(40, 3))
    model = Model([3, Dense(8, RootOfPositive()), 1], output=SquaredError(), random_state=0)
    with pytest.raises(DivergenceError) as caught:
        model.fit(X, X[:, 0], epochs=3, batch_size=size, progress=False)
    error = caught.value
    assert "got a gradient of nan" in str(error)
    assert error.node == "Z1"
    assert "the backward of RootOfPositive (node 'A1')" in error.cause
    assert "rate" not in error.cause


def test_a_step_is_traced():
    """A parameter that leaves the numbers says what it was, and its gradient."""
    model = Model([1, 2], last_layer=Tanh(), random_state=0)
    model.W[0] = [[0.01, -0.01]]
    with pytest.raises(DivergenceError) as caught:
        model.train([[10.0], [20.0]], [1, 1], num_passes=5, epsilon=1e308, reg_lambda=0)
    error = caught.value
    assert error.inputs
    assert error.inputs[0].name == f"{error.node} before the step"
    assert "the rate, or a penalty, is too high" in error.cause


@pytest.mark.parametrize("engine", ["numpy", "graph"])
@pytest.mark.parametrize("metrics", [[], ["accuracy"]])
def test_measuring_in_a_training_diverges(engine, metrics):
    """Validation data that overflow end a training as a divergence, with the weights of the epoch's beginning."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 2)), rng.integers(0, 2, 20)
    model = Model([2, 4, 2], layer=ReLU(), random_state=0, engine=engine)
    model.W[0] = np.full((2, 4), 1.0)
    before = {name: value.copy() for name, value in model.parameters.items()}
    with pytest.raises(DivergenceError, match=r"diverged in epoch 0.*after it, the loss is") as caught:
        model.fit(X, y, epochs=3, validation=(np.full((3, 2), 1.7e308), [0, 1, 0]), metrics=metrics, progress=False)
    assert "X" in caught.value.cause
    for name, value in model.parameters.items():
        assert_array_equal(value, before[name])


# --- Predictions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["numpy", "graph"])
@pytest.mark.parametrize("rows", [1, 3, 5000])
def test_predictions_made_of_nan_are_refused(engine, rows):
    """No label is made of nan: the error names the node, and it travels to other processes."""
    model = Model([2, Dense(3, ReLU()), 3], random_state=0, engine=engine)
    model.W[0] = np.full((2, 3), 1e200)
    model.W[1] = np.full((3, 3), 1e200)
    X = np.full((rows, 2), 1.0)
    for ask in (model.predict, model.predict_proba, lambda X: model.calculate_loss(X, np.zeros(rows, int))):
        with pytest.raises(NonFiniteError, match="node 'A1W2'") as caught:
            ask(X)
        assert isinstance(caught.value, ArithmeticError)
        assert not isinstance(caught.value, ValueError)
        assert "W1 is as large as 1e+200" in caught.value.cause
        again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own bytes
        assert (type(again), str(again), vars(again)) == (NonFiniteError, str(caught.value), vars(caught.value))
    # For looking: these show what there is.
    assert not np.isfinite(model.activations(X)["Z2"]).all()
    assert model.gradients(X, np.zeros(rows, int))["W1"].shape == (2, 3)


def masked(mask, output=None):
    scores = Input("X") @ Parameter(np.eye(2, 3), "W") + np.array(mask)
    return Model(scores, output=output or Softmax())


@pytest.mark.parametrize("engine", ["numpy", "graph"])
def test_a_mask_is_no_sickness(engine):
    """A class with a score of minus infinity is never predicted; it trains, too, unless it is the target's."""
    model = masked([0.0, -np.inf, 0.0])
    model.engine = engine
    X = [[1.0, 5.0], [-1.0, 2.0]]
    assert_array_equal(model.predict(X), [0, 2])
    assert_array_equal(model.predict_proba(X)[:, 1], [0, 0])
    assert np.isfinite(model.calculate_loss(X, [0, 2]))
    with pytest.raises(NonFiniteError, match=r"from Add\[1, 1\] = -inf, y\[1\] = 1.*a mask hides the class"):
        model.calculate_loss(X, [0, 1])


def test_a_mask_of_everything_is_refused():
    """Where no class is left, the probabilities would be nan."""
    with pytest.raises(NonFiniteError, match="a mask leaves no class in this row") as caught:
        masked([-np.inf] * 3).predict([[1.0, 2.0]])
    assert (caught.value.node, caught.value.place) == ("Add", (0, 0))
    with pytest.raises(NonFiniteError):
        masked([-np.inf, 0.0, 0.0], SquaredError()).predict([[1.0, 2.0]])
    # Of labels that may hold together each is a decision of its own.
    assert_array_equal(masked([-np.inf] * 3, Logistic()).predict([[1.0, 2.0]]), [[0, 0, 0]])


@given(st.lists(st.sampled_from([0.0, 1e200, -1e200, 1e308, math.inf, -math.inf, math.nan, -0.0, 5e-324]), max_size=9))
def test_one_look_sees_what_isfinite_sees(numbers):
    """The quick look agrees with the exact one, for numbers whose squares overflow, too; silently."""
    array = np.array(numbers)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all_finite(array) == bool(np.isfinite(array).all())
        assert all_finite(np.asfortranarray(array.reshape(1, -1).repeat(2, 0))) == bool(np.isfinite(array).all())
    assert all_finite(np.array([1, 2]))
    scores = array.reshape(1, -1)
    if scores.size:
        usual = bool(np.isfinite(array).all())
        assert predictable(SquaredError(), scores) == usual
        with np.errstate(all="ignore"):
            probabilities = Softmax().predict_proba(scores) if scores.size > 1 else np.ones(1)
        assert scores.size < 2 or predictable(Softmax(), scores) == bool(np.isfinite(probabilities).all())


def test_a_gate_that_raises_on_other_data_is_no_obstacle():
    """The cause is then left open, but the node is named."""

    class Picky(Gate):
        def forward(self, X):
            if np.abs(X).max() <= 1:
                raise ValueError("too small")
            return X * X

        def backward(self, X, dZ):
            return 2 * X * dZ

    found = traced(Picky()(a), a=[1.0, 1e200])
    assert (found.node, found.place, found.cause) == ("Picky", (1,), "")


def test_descent_by_batches_is_traced():
    """In mini-batches, too, the message has the node, the inputs and a cause."""
    X, y = regression()
    model = Model([2, 8, 1], layer=ReLU(), output=SquaredError(), random_state=0)
    with pytest.raises(DivergenceError) as caught:
        model.fit(X, y, epochs=50, batch_size=8, optimizer=GradientDescent(10.0), progress=False)
    assert caught.value.inputs
    assert "rate is too high" in caught.value.cause or "rate that is too high" in caught.value.cause


D = np.random.default_rng(5).normal(size=(90, 3))
T = 100 + np.arange(90.0)
# A third weighs nothing.
SOME = (np.arange(90) % 3 > 0).astype(float)
STEEP = {"solver": GradientDescent(1e9), "activation": "identity", "random_state": 0, "max_iter": 50}


@pytest.mark.parametrize("engine", ["numpy", "graph"])
@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 16}, {"batch_size": 16, "validation": 0.3}, {"batch_size": 16, "sample_weight": SOME},
        {"batch_size": 7, "sample_weight": SOME, "validation": 0.4}, {"batch_size": 90, "sample_weight": SOME},
        {"batch_size": 90},
    ],
    ids=repr,
)  # fmt: skip
def test_a_row_of_a_batch_is_found_in_the_data(options, engine):
    """`rows` says which row of X each row of the batch is, whatever was shuffled, held out or left out."""
    model = Model([3, Dense(5), 1], output=SquaredError(), random_state=0, engine=engine)
    with pytest.raises(DivergenceError) as caught:
        model.fit(D, T, epochs=400, optimizer=GradientDescent(1e25), progress=False, **options)
    hold(caught.value, whole=options == {"batch_size": 90})


@pytest.mark.parametrize("settings", [{}, {"batch_size": 16}, {"early_stopping": True, "batch_size": 16}], ids=repr)
@pytest.mark.parametrize("weights", [None, SOME])
def test_a_row_of_an_estimators_batch_is_found_in_the_data(settings, weights):
    """The estimators leave rows out, and hold some out, themselves."""
    net = GateRegressor(**STEEP, **settings)
    with pytest.raises(DivergenceError) as caught:
        net.fit(D, T, weights)
    hold(caught.value, whole=settings == {} and weights is None)
    if "early_stopping" not in settings:
        with pytest.raises(DivergenceError) as caught:
            [net.partial_fit(D, T, weights) for _ in range(50)]
        hold(caught.value, whole=False)


def hold(error, whole):
    """Assert that the target that the error shows stands where it says."""
    assert (error.rows is None) == whole
    (target,) = (element for element in error.inputs if element.name == "y")
    row = target.place[0] if whole else error.rows[target.place[0]]
    assert T[row] == target.value
    if not whole and "partial_fit" not in str(error):
        assert f"(rows {error.rows[0]}, {error.rows[1]}, {error.rows[2]}, ... of X)" in str(error)
    assert_array_equal(pickle.loads(pickle.dumps(error)).rows, error.rows)  # noqa: S301 - our own
