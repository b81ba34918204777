"""check_graph and check_model: every gradient of a graph is proven, and the gate that is wrong is named."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime, check_grad

from gates import (
    ELU,
    GELU,
    AbsoluteError,
    AddGate,
    ConcatenateGate,
    ElementwiseProductGate,
    Gate,
    GateError,
    GatherGate,
    Hinge,
    Huber,
    LeakyReLU,
    LogGate,
    Logistic,
    MaximumGate,
    MeanGate,
    ReLU,
    ReshapeGate,
    Sigmoid,
    SiLU,
    SliceGate,
    Softmax,
    SoftmaxLayer,
    Softplus,
    SquaredError,
    SumGate,
    Tanh,
    TransposeGate,
)
from gates.checking.report import NOTHING_FITS
from nngraph import Constant, Dense, Graph, GraphError, Input, Model, Parameter, check_graph, check_model
from nngraph.training import Objective

RNG = np.random.default_rng(5)
X = RNG.standard_normal((5, 3))
ROW = RNG.standard_normal(3)
COLUMN = RNG.standard_normal((5, 1))
SQUARE = RNG.standard_normal((3, 3))
LABELS = np.array([0, 2, 1, 1, 0])


class Spoilt(Gate):
    """A gate whose gradient of one input, the last one by default, is multiplied by a factor."""

    def __init__(self, gate, factor=1.01, which=-1):
        self.gate, self.factor, self.which = gate, factor, which

    def forward(self, *inputs):
        return self.gate.forward(*inputs)

    def backward(self, *inputs_and_dZ):
        gradients = self.gate.backward(*inputs_and_dZ)
        gradients = list(gradients) if isinstance(gradients, tuple) else [gradients]
        gradients[self.which] = gradients[self.which] * self.factor
        return tuple(gradients)


class SpoiltTanh(Tanh):
    """Tanh with 1 + Z^2 for its derivative."""

    def derivative(self, X):
        return 1 + np.tanh(X) ** 2


class SpoiltError(SquaredError):
    """The squared error without the 2 of its derivative."""

    def slopes(self, scores, targets):
        return super().slopes(scores, targets) / 2


class FirstRow(AddGate):
    """A bias whose gradient counts the first row only."""

    def backward(self, X, b, dZ):
        return dZ, dZ[:1]


class Silent(Gate):
    """``Z = X * Y``, which gives no gradient to Y, and does not say that Y is a constant."""

    def forward(self, X, Y):
        return X * Y

    def backward(self, X, Y, dZ):
        return Y * dZ, None


class Frozen(Silent):
    """The same, which says so."""

    constants = ("Y",)


class Next(Gate):
    """The rows after the given ones: whole numbers to whole numbers, without a gradient."""

    def forward(self, rows):
        return rows + 1

    def backward(self, rows, dZ):
        return None


class Steps(Silent):
    """``Z = X * floor(Y)``, which is flat in Y, and gives no gradient to it."""

    def forward(self, X, Y):
        return X * np.floor(Y)

    def backward(self, X, Y, dZ):
        return np.floor(Y) * dZ, None


class Misshapen(Tanh):
    """A gradient of another shape."""

    def backward(self, X, dZ):
        return super().backward(X, dZ)[:1]


class Raising(Tanh):
    """A backward that raises."""

    def backward(self, X, dZ):
        raise KeyError("missing")


def lines(report):
    """Return the names of what was proven."""
    return [result.name for result in report.results]


def gradients_of(*names):
    """Return what the lines of these inputs and parameters are called."""
    return [f"gradient of {name}" for name in names]


def blamed(report):
    """Return the nodes that a report blames, as ``Tanh at node 'A1'``."""
    return [name for name in report.failed if " at node " in name]


def state(*arrays):
    """Return all that may not change about arrays: bytes, dtype, shape and whether they can be written."""
    return [(a.tobytes(), a.dtype, a.shape, a.strides, a.flags.writeable) for a in arrays]


# --- Right graphs ----------------------------------------------------------------------------------------------------


def inputs(*names):
    """Return inputs of these names."""
    return [Input(name) for name in names]


def fan_out():
    """One input used by three gates, and a product of it with itself."""
    (x,) = inputs("x")
    return Graph(Tanh()(x) * Sigmoid()(x) + x * x), {"x": X}


def shared_parameter():
    """One parameter in two layers and as a factor."""
    x, W = Input("x"), Parameter(SQUARE, "W")
    return Graph(Tanh()(Tanh()(x @ W) @ W) * SumGate()(W)), {"x": X}


def several_outputs():
    """A matrix, a row and a number, one of them within another."""
    x, y = inputs("x", "y")
    h = Tanh()(x * y)
    return Graph(h, MeanGate(axis=0)(h), SumGate()(x)), {"x": X, "y": ROW}


def broadcasting():
    """A row, a column and a number added to a matrix."""
    b, c, s = Parameter(ROW, "b"), Parameter(COLUMN, "c"), Parameter(0.5, "s")
    return Graph(Softplus()(Input("x") * s + b - c)), {"x": X}


def labels():
    """Scores and integer labels, which have no gradient."""
    x, y = inputs("x", "y")
    return Graph(Softmax()(x @ Parameter(SQUARE, "W"), y)), {"x": X, "y": LABELS}


def embedding():
    """Rows by number, some twice."""
    rows = Input("rows", dtype=int)
    return Graph(SiLU()(GatherGate()(Parameter(X, "table"), rows))), {"rows": [[0, 4], [4, 1]]}


def whole_numbers():
    """Whole numbers that are differentiated: arrays and a Python number."""
    x, y = inputs("x", "y")
    return Graph(x * y + x @ SQUARE), {"x": np.array([[1, 2, 3], [4, 5, 6]]), "y": 3}


def constants():
    """Constants, arrays and numbers, beside an input."""
    x = Input("x")
    return Graph(2 / (Constant(np.exp(ROW), "c") + Tanh()(x * 0.5) ** 2)), {"x": X}


def shaping():
    """Gates that change the shape."""
    x, y = inputs("x", "y")
    joined = ConcatenateGate(axis=1)(x, y)
    return Graph(SoftmaxLayer()(ReshapeGate((-1, 2))(TransposeGate()(SliceGate(np.s_[1:, :])(joined))))), {
        "x": X,
        "y": COLUMN,
    }


def declared_constant():
    """A floating input that its gate names as a constant."""
    x, y = inputs("x", "y")
    return Graph(Frozen()(x, y)), {"x": X, "y": ROW}


GRAPHS = {
    fan_out: ["x"],
    shared_parameter: ["x", "W"],
    several_outputs: ["x", "y"],
    broadcasting: ["x", "b", "c", "s"],
    labels: ["x", "W"],
    embedding: ["table"],
    whole_numbers: ["x", "y"],
    constants: ["x"],
    shaping: ["x", "y"],
    declared_constant: ["x"],
}


@pytest.mark.parametrize("make", GRAPHS, ids=lambda make: make.__name__)
def test_right_graph(make):
    """Every input and every parameter that has a gradient has its line, and all pass."""
    graph, feeds = make()
    report = check_graph(graph, feeds)
    assert report, report
    assert sorted(lines(report)) == sorted(gradients_of(*GRAPHS[make]))
    assert report.title == f"Graph of {len(graph.nodes)} nodes"
    assert str(report).startswith(f"{report.title} is proven: {len(GRAPHS[make])} checks passed")


@pytest.mark.parametrize("make", GRAPHS, ids=lambda make: make.__name__)
def test_feeds_by_node(make):
    """Feeds by node give the report that feeds by name give, and the same seed the same report."""
    graph, feeds = make()
    by_node = {node: feeds[node.name] for node in graph.inputs}
    assert str(check_graph(graph, by_node, random_state=3)) == str(check_graph(graph, feeds, random_state=3))


@pytest.mark.parametrize("make", GRAPHS, ids=lambda make: make.__name__)
def test_float32(make):
    """In float32 a graph is proven as sharply: float64 copies are taken."""
    graph, feeds = make()
    for parameter in graph.parameters:
        parameter._value = parameter.value.astype(np.float32)
    narrow = {
        name: np.float32(value) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value
        for name, value in feeds.items()
    }
    report = check_graph(graph, narrow)
    assert report, report
    assert sorted(lines(report)) == sorted(gradients_of(*GRAPHS[make]))


def test_float32_is_sharp():
    """In a graph of float32 an error is found that no slope measured in float32 could show, and in float64 the same."""
    reports = []
    for dtype in (np.float32, np.float64):
        x = Input("x")
        graph = Graph(Spoilt(Tanh(), 1 + 1e-5)(x * Parameter(ROW.astype(np.float32).astype(dtype), "w"), name="bad"))
        reports.append(check_graph(graph, {"x": X.astype(np.float32).astype(dtype)}))
    assert blamed(reports[0]) == ["Spoilt at node 'bad'"]
    assert str(reports[0]) == str(reports[1])


@pytest.mark.parametrize("gate", [ReLU(), LeakyReLU(0.1), ELU(0.5)], ids=repr)
@pytest.mark.parametrize("ends", [SumGate(), Tanh()], ids=["scalar", "array"])
def test_kinks_of_a_layer(gate, ends):
    """A kink at the data is no error: there backward may give any slope between the one-sided ones."""
    graph = Graph(ends(gate(Input("x"))))
    assert check_graph(graph, {"x": [0.0, 1.0, -1.0, 0.0]})


def test_kinks_of_ties():
    """Nor is a tie of the two inputs of a maximum, or of its input with a constant."""
    x, y = inputs("x", "y")
    report = check_graph(Graph(MaximumGate()(x, y) * MaximumGate()(y, 1.0)), {"x": [1.0, 2.0, 3.0], "y": [1.0, 2, 1]})
    assert report, report


@pytest.mark.parametrize("point", [0.5, 0.0, -0.0])
def test_kinks_that_cancel(point):
    """``relu(x) - relu(-x)`` is x, and at 0 its gates give 0: neither of them is wrong, so the graph is not blamed."""
    x = Input("x")
    report = check_graph(Graph(ReLU()(x) - ReLU()(-x)), {"x": [point, 1.0]})
    assert report, report
    assert lines(report) == gradients_of("x")


def test_wrong_where_kinks_cancel():
    """Where kinks meet, what is wrong is found still, at its node."""
    x = Input("x")
    wrong = Graph(Spoilt(ReLU(), 1.5)(x, name="bad") - ReLU()(-x))
    report = check_graph(wrong, {"x": [0.0, 1.0]})
    assert report.failed == ("gradient of x", "Spoilt at node 'bad'")


def test_wrong_sum_where_kinks_cancel(monkeypatch):
    """The same where every gate is right and the graph itself is wrong: beside the kinks it is wrong as well."""
    right = Graph.backward
    monkeypatch.setattr(
        Graph, "backward", lambda self, dZ, **given: right(self, {n: 2 * g for n, g in dZ.items()}, **given)
    )
    x = Input("x")
    report = check_graph(Graph(ReLU()(x) - ReLU()(-x)), {"x": [0.0, 1.0]})
    assert report.failed == ("gradient of x",)


@pytest.mark.parametrize("seed", range(6))
def test_kinks_of_a_model(seed):
    """A new model has biases of 0, so a row of zeros is at the kink of every ReLU; its gates are right."""
    data = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    report = check_model(Model([2, 8, 2], layer=ReLU(), random_state=seed), data, [0, 1, 1, 0])
    assert report, report


def test_kinks_of_a_loss():
    """The absolute error at residuals of exactly 0."""
    model = Model([2, 1], output=AbsoluteError(), random_state=0)
    data = np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0]])
    assert check_model(model, data, [model.W[0][0, 0], 1.0, -1.0])


def test_output_given_twice():
    """An output that is given twice is one output."""
    h = Tanh()(Input("x"))
    report = check_graph(Graph(h, h), {"x": [1.0, 2.0]})
    assert report, report


@pytest.mark.parametrize("shape", [(0,), (0, 3), (4, 0)])
def test_no_elements(shape):
    """An input without elements has no gradient that could be wrong."""
    x, y = inputs("x", "y")
    report = check_graph(Graph(SumGate()(Tanh()(x)) + y), {"x": np.zeros(shape), "y": 1.0})
    assert report, report


# --- Wrong graphs ----------------------------------------------------------------------------------------------------


def deep(spoilt_at, depth=6):
    """Return a chain of tanh layers of which one is spoilt; every layer has a weight, W0, W1, ..., and a name."""
    node = Input("x")
    for i in range(depth):
        gate = SpoiltTanh() if i == spoilt_at else Tanh()
        node = gate(node @ Parameter(SQUARE, f"W{i}"), name=f"layer {i}")
    return Graph(node)


@pytest.mark.parametrize("place", range(6))
def test_deep_place(place):
    """The layer that is wrong is named, no other is; wrong are the gradients of what lies below it, and no others."""
    report = check_graph(deep(place), {"x": X})
    assert not report
    assert blamed(report) == [f"SpoiltTanh at node 'layer {place}'"]
    below = gradients_of("x", *(f"W{i}" for i in range(place + 1)))
    assert sorted(set(report.failed) - set(blamed(report))) == sorted(below)
    assert [name for name in lines(report) if name not in report.failed] == gradients_of(
        *(f"W{i}" for i in range(place + 1, 6))
    )
    assert all("\n" not in result.message for result in report.results[:7]), "the first line of each"
    (at_node,) = [result for result in report.results if result.name in blamed(report)]
    assert "backward's gradient of input X (1 of 1) is wrong" in at_node.message
    assert f"at node 'layer {place}'" in at_node.message


def test_right_without_spoilt():
    """The same chain without a wrong gate is proven, so it is the gate that makes the difference."""
    assert check_graph(deep(None), {"x": X})


@pytest.mark.parametrize(
    ("factor", "kind"), [(-1.0, "sign flipped"), (0.5, "constant factor"), (1.01, "constant factor")]
)
@pytest.mark.parametrize("which", [0, 1])
def test_diagnosis(factor, kind, which):
    """At the node stands the diagnosis, with the input that is wrong."""
    x, y = inputs("x", "y")
    wrong = Spoilt(ElementwiseProductGate(), factor, which)
    report = check_graph(Graph(Tanh()(wrong(x, y, name="bad"))), {"x": X, "y": ROW})
    assert blamed(report) == ["Spoilt at node 'bad'"]
    assert report.diagnoses[0].kind == kind
    assert report.failed[0] == f"gradient of {'xy'[which]}"
    assert f"=> {kind}: " in str(report)


def test_several_wrong():
    """Each wrong node is named, a gate that stands at two nodes twice."""
    gate = SpoiltTanh()
    x = Input("x")
    graph = Graph(gate(x, name="one") + Tanh()(gate(x * 2, name="two")) + Spoilt(Sigmoid())(x, name="three"))
    assert sorted(blamed(check_graph(graph, {"x": X}))) == [
        "Spoilt at node 'three'",
        "SpoiltTanh at node 'one'",
        "SpoiltTanh at node 'two'",
    ]


def test_nameless_node():
    """A nameless node is named as the graph names it."""
    x = Input("x")
    graph = Graph(SpoiltTanh()(Tanh()(x)) * Tanh()(x) + SpoiltTanh()(x))
    assert blamed(check_graph(graph, {"x": X})) == [
        f"SpoiltTanh at node {name!r}" for name in graph.names if name.startswith("SpoiltTanh")
    ]


@pytest.mark.parametrize("output", [0, 1])
def test_wrong_in_one_output(output):
    """What is wrong in one of several outputs is found."""
    x = Input("x")
    outputs = [Tanh()(x), Sigmoid()(x)]
    outputs[output] = Spoilt(outputs[output].gate)(x, name="bad")
    assert blamed(check_graph(Graph(*outputs), {"x": X})) == ["Spoilt at node 'bad'"]


def test_wrong_bias():
    """A bias whose gradient is wrong is found where the matrix that it is added to is right."""
    x, b = Input("x"), Parameter(ROW, "b")
    report = check_graph(Graph(Tanh()(FirstRow()(x, b, name="bad"))), {"x": X})
    assert report.failed == ("gradient of b", "FirstRow at node 'bad'")
    assert report.diagnoses[0].kind == "broadcast sum"


def test_large():
    """What is wrong in a large graph is found, and placed at its node, in a second or two."""
    x, rng = Input("x"), np.random.default_rng(0)
    graph = Graph(SumGate()(SpoiltTanh()(x @ Parameter(rng.standard_normal((60, 50)), "W"), name="bad")))
    report = check_graph(graph, {"x": rng.standard_normal((100, 60))})
    assert set(report.failed) == {*gradients_of("x", "W"), "SpoiltTanh at node 'bad'"}


def test_missing_gradient():
    """A gate that returns None for an input that it differentiates is wrong, unless it names it as a constant."""
    x, y = inputs("x", "y")
    report = check_graph(Graph(Silent()(x, y, name="bad")), {"x": X, "y": ROW})
    assert report.failed == ("gradient of y", "Silent at node 'bad'")
    assert lines(report)[0] == "gradient of x"


def test_flat_without_gradient():
    """A floating input without a gradient is right where everything is flat in it."""
    x, y = inputs("x", "y")
    report = check_graph(Graph(Steps()(x, y)), {"x": X, "y": ROW})
    assert report, report
    assert sorted(lines(report)) == gradients_of("x", "y")


def test_wrong_beside_rows():
    """A gate that makes row numbers is no hindrance to finding another that is wrong."""
    rows = Next()(Input("rows", dtype=int))
    graph = Graph(SpoiltTanh()(GatherGate()(Parameter(X, "table"), rows), name="bad"))
    assert blamed(check_graph(graph, {"rows": [0, 3]})) == ["SpoiltTanh at node 'bad'"]


@pytest.mark.parametrize(
    ("gate", "said"),
    [(Misshapen(), "must have the shape of"), (Raising(), "KeyError: 'missing'")],
    ids=["shape", "raise"],
)
def test_broken_backward_in_a_model(gate, said):
    """A backward that raises, or whose gradient does not fit, is a failure of the report, at its node."""
    report = check_model(Model([3, 4, 3], layer=gate, random_state=0), X, LABELS)
    assert blamed(report) == [f"{type(gate).__name__} at node 'A1'"]
    assert said in str(report)


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        pytest.param(Misshapen(), "must have the shape of", id="shape"),
        pytest.param(
            Raising(),
            "KeyError: 'missing'",
            id="raise",
        ),
    ],
)
def test_broken_backward_in_a_graph(gate, said):
    """The same in a graph, of whole numbers too."""
    for feed in (X, LABELS):
        report = check_graph(Graph(gate(Input("x") * Parameter(ROW[0], "w"), name="bad")), {"x": feed})
        assert blamed(report) == [f"{type(gate).__name__} at node 'bad'"]
        assert said in str(report)


# --- Models ----------------------------------------------------------------------------------------------------------

OUTPUTS = [
    (Softmax(), 3, LABELS),
    (Softmax(class_weight=[1.0, 2.0, 0.5], reduction="sum"), 3, LABELS),
    (Softmax(), 3, np.full((5, 3), 1 / 3)),
    (Logistic(), 1, LABELS % 2),
    (Logistic(), 3, np.eye(3)[LABELS]),
    (SquaredError(), 2, X[:, :2]),
    (SquaredError(reduction="sum"), 1, X[:, 0]),
    (AbsoluteError(), 2, X[:, 1:] + 9),
    (Huber(), 1, X[:, 0]),
    (Huber(), 2, X[:, :2] * 9),
    (Hinge(), 3, LABELS),
    (Hinge(), 1, LABELS % 2),
]


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize(
    ("output", "width", "y"), OUTPUTS, ids=lambda value: repr(value) if isinstance(value, Gate) else ""
)
def test_right_model(output, width, y, dtype):
    """Every parameter and X have their line, and pass, whatever the output and the dtype."""
    model = Model([3, 4, width], output=output, dtype=dtype, random_state=1)
    report = check_model(model, X, y, reg_lambda=0.3)
    assert report, report
    assert lines(report) == gradients_of(*model.parameters, "X")
    assert report.summary() == "Model of 4 parameters is proven: 5 checks passed"


def by_hand():
    """A model of a graph built by hand, with nameless parameters and a shortcut."""
    x = Input("inputs")
    hidden = GELU()(x @ Parameter(SQUARE) + Parameter(ROW))
    return Model(hidden @ Parameter(SQUARE[:, :1], "last") + x @ Parameter(SQUARE[:, 1:2]), output=SquaredError())


def by_rows():
    """A model of embedded rows: its input has no gradient."""
    h = GatherGate()(Parameter(X, "table"), Input("rows", dtype=int))
    return Model(Tanh()(h) @ Parameter(SQUARE, "W"), output=SquaredError())


def test_model_by_hand():
    """A model of a graph that was built by hand: its input goes by its own name."""
    model = by_hand()
    report = check_model(model, X, X[:, :1])
    assert report, report
    assert lines(report) == gradients_of(*model.parameters, "inputs")


def test_model_by_rows():
    """Row numbers have no gradient, and no line."""
    report = check_model(by_rows(), [[0], [1], [4]], X[:3, None])
    assert lines(report) == gradients_of("table", "W")


@pytest.mark.parametrize("place", ["A1", "A2"])
def test_wrong_layer(place):
    """A wrong layer of a model is named, and the gradients above it are right."""
    layers = {"A1": Tanh(), "A2": Tanh(), place: SpoiltTanh()}
    model = Model([3, Dense(4, layers["A1"]), Dense(4, layers["A2"]), 3], random_state=0)
    report = check_model(model, X, LABELS)
    assert blamed(report) == [f"SpoiltTanh at node {place!r}"]
    wrong = ["W1", "b1", "X"] + ["W2", "b2"] * (place == "A2")
    assert set(report.failed) - set(blamed(report)) == set(gradients_of(*wrong))
    assert NOTHING_FITS in str(report)


def test_wrong_output():
    """A wrong output is named."""
    report = check_model(Model([3, 2], output=SpoiltError(), random_state=0), X, X[:, :2], reg_lambda=0)
    assert blamed(report) == ["SpoiltError at node 'loss'"]
    assert report.diagnoses[0].kind == "constant factor"
    assert set(gradients_of("W1", "b1", "X")) <= set(report.failed)


# How often the gradient of the penalty is counted, for W and for b; it must be 1 and 0.
PENALTIES = {"twice": (2, 0), "none": (0, 0), "minus": (-1, 0), "biases too": (1, 1)}


@pytest.mark.parametrize("kind", PENALTIES)
def test_wrong_penalty(monkeypatch, kind):
    """A penalty whose gradient is wrong shows at the parameters that have it; no gate is blamed, nor is X."""
    model = Model([3, 4, 3], random_state=0)
    model.b[0], model.b[1] = ROW[[0, 1, 2, 0]], ROW
    assert check_model(model, X, LABELS, reg_lambda=0.5)
    times = PENALTIES[kind]
    monkeypatch.setattr(Objective, "_penalised", lambda _self, p, g: g + times[p.value.ndim < 2] * 0.5 * p.value)
    wrong = ("b1", "b2") if kind == "biases too" else ("W1", "W2")
    assert sorted(check_model(model, X, LABELS, reg_lambda=0.5).failed) == gradients_of(*wrong)


def test_wrong_data_gradient(monkeypatch):
    """A gradient of the data that is wrong, though every gate is right, shows at everything that it reaches."""
    # The scale, the number of examples, is forgotten.
    monkeypatch.setattr(Objective, "backward", lambda self, values: self.graph.backward(1.0, values=values))
    model = Model([3, 4, 3], random_state=0)
    report = check_model(model, X, LABELS)
    assert report.failed == tuple(gradients_of(*model.parameters, "X"))
    assert check_model(Model([3, 4, 3], output=Softmax(reduction="sum"), random_state=0), X, LABELS)


@pytest.mark.parametrize("reg_lambda", [0.0, 0.01, 3.0])
@pytest.mark.parametrize(
    ("output", "width", "y"), OUTPUTS[:6], ids=lambda value: repr(value) if isinstance(value, Gate) else ""
)
def test_independent_reference(output, width, y, reg_lambda):
    """Finite differences of another library agree about the objective whose gradient check_model proves."""
    model = Model([3, 4, width], output=output, random_state=2)
    shapes = {name: value.shape for name, value in model.parameters.items()}

    def put(theta):
        ends = np.cumsum([np.prod(shape) for shape in shapes.values()])[:-1]
        for name, part in zip(shapes, np.split(theta, ends), strict=True):
            model.parameters[name][...] = part.reshape(shapes[name])

    def value(theta):
        put(theta)
        return model.objective(X, y, reg_lambda)[0]

    def gradient(theta):
        put(theta)
        return np.concatenate([g.ravel() for g in model.objective(X, y, reg_lambda)[1].values()])

    start = np.concatenate([v.ravel() for v in model.parameters.values()])
    assert check_grad(value, gradient, start) < 1e-5
    put(start)
    assert check_model(model, X, y, reg_lambda=reg_lambda)


def test_scipy_agrees_on_the_fault():
    """Where check_graph finds a gradient wrong, finite differences of another library differ from it as much."""
    x = Input("x")
    for gate, right in ((Tanh(), True), (Spoilt(Tanh()), False)):
        graph = Graph(SumGate()(gate(x) * x))
        graph.forward(x=ROW)
        slopes = approx_fprime(ROW, lambda point, graph=graph: float(graph.evaluate(x=point)[graph.outputs[0]]))
        assert bool(check_graph(graph, {"x": ROW})) == right == np.allclose(graph.backward()["x"], slopes, atol=1e-5)


# --- What must not change --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gate", [Tanh(), SpoiltTanh()], ids=["right", "wrong"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_graph_unchanged(gate, dtype):
    """Feeds, parameters and constants stay to the byte, and so do the values kept for backward."""
    x, n, y = inputs("x", "n", "y")
    arrays = [X.astype(dtype), ROW.astype(dtype), LABELS.copy()]
    W, c = Parameter(SQUARE.astype(dtype), "W"), Constant(ROW.astype(dtype), "c")
    graph = Graph(Softmax()(gate(x @ W + c) * n, y))
    feeds = {"x": arrays[0], n: arrays[1], "y": arrays[2]}
    kept = graph.forward(feeds)
    before = state(*arrays, W.value, c.value, *kept.values())
    gradients = state(*(g for g in graph.backward().values() if g is not None))
    attributes = {**vars(graph)}
    assert bool(check_graph(graph, feeds)) == (type(gate) is Tanh)
    assert list(feeds) == ["x", n, "y"]
    assert [feeds["x"] is arrays[0], feeds[n] is arrays[1], feeds["y"] is arrays[2]] == [True] * 3
    assert vars(graph) == attributes
    assert graph._values is kept
    assert state(*arrays, W.value, c.value, *kept.values()) == before
    assert state(*(g for g in graph.backward().values() if g is not None)) == gradients


@pytest.mark.parametrize("layer", [Tanh(), SpoiltTanh(), Raising()], ids=["right", "wrong", "raises"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_model_unchanged(layer, dtype):
    """Data, parameters, history and predictions of a model stay to the byte."""
    model = Model([3, 4, 3], layer=layer, dtype=dtype, random_state=0)
    model.train(X, LABELS, num_passes=0)
    data, y = X.astype(dtype), LABELS.copy()
    parameters = list(model.parameters.values())
    before = state(data, y, *parameters, model.predict(data))
    graph, history, attributes = model.graph, list(model.loss_history), {**vars(model)}
    assert bool(check_model(model, data, y)) == (type(layer) is Tanh)
    assert [p is q for p, q in zip(parameters, model.parameters.values(), strict=True)] == [True] * 4
    assert state(data, y, *parameters, model.predict(data)) == before
    assert (model.graph, model.loss_history) == (graph, history)
    assert {**vars(model)} == attributes


def test_read_only_data():
    """Arrays that cannot be written are proven like others."""
    data, y = X.copy(), LABELS.copy()
    data.flags.writeable = y.flags.writeable = False
    assert check_model(Model([3, 4, 3], random_state=0), data, y)
    assert check_graph(Graph(Tanh()(Input("x"))), {"x": data})


def test_global_generator_untouched():
    """Nothing is drawn from NumPy's global generator."""
    before = copy.deepcopy(np.random.get_state()[1:3])  # noqa: NPY002 - what must stay as it is
    check_model(Model([3, 4, 3], random_state=0), X, LABELS)
    check_graph(deep(2), {"x": X})
    after = np.random.get_state()[1:3]  # noqa: NPY002 - the same
    assert (before[0] == after[0]).all()
    assert before[1] == after[1]


def test_after_training():
    """A model can go on training after it was proven, to the bytes of one that was not."""
    models = [Model([3, 4, 3], random_state=0) for _ in range(2)]
    for model in models:
        model.train(X, LABELS, num_passes=5)
    assert check_model(models[0], X, LABELS)
    for model in models:
        model.train(X, LABELS, num_passes=5)
    assert state(*models[0].parameters.values()) == state(*models[1].parameters.values())
    assert models[0].loss_history == models[1].loss_history


# --- Bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, 3, Input("x"), Tanh(), Graph, Model([2, 2], random_state=0)], ids=repr)
def test_not_a_graph(value):
    """What is no graph is a TypeError that says what came."""
    with pytest.raises(TypeError, match=r"^check_graph proves a Graph, got ") as caught:
        check_graph(value, {"x": 1.0})
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("value", [None, 3, Input("x"), Tanh(), Model, Graph(Input("x"))], ids=repr)
def test_not_a_model(value):
    """What is no model is a TypeError that says what came."""
    with pytest.raises(TypeError, match=r"^check_model proves a Model, got ") as caught:
        check_model(value, X, LABELS)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    "feeds",
    [
        None,
        {},
        {"x": X},
        {"x": X, "y": X, "z": X},
        {"x": X, "y": X, "w": 1.0},
        {"x": X, "y": "text"},
        {"x": X, "y": [[1.0], [1.0, 2.0]]},
        {"x": X, "y": X + 1j},
        {"x": X, "y": X[:2]},
        [1, 2],
        "x",
        3,
    ],
    ids=[
        "none",
        "empty",
        "missing",
        "unknown",
        "parameter",
        "text",
        "ragged",
        "complex",
        "shape",
        "list",
        "str",
        "int",
    ],
)
def test_bad_feeds(feeds):
    """Feeds that do not fit are the error of graph.evaluate, word for word."""
    x, y = inputs("x", "y")
    graph = Graph(Tanh()(x * y) * Parameter(1.0, "w"))
    with pytest.raises((GraphError, GateError)) as expected:
        graph.evaluate(feeds)
    with pytest.raises(type(expected.value)) as caught:
        check_graph(graph, feeds)
    assert str(caught.value) == str(expected.value)


@pytest.mark.parametrize(
    ("data", "y", "reg_lambda"),
    [
        (X[0], LABELS, 0.01),
        (X[:, :2], LABELS, 0.01),
        (X * np.nan, LABELS, 0.01),
        ("text", LABELS, 0.01),
        (X, LABELS[:2], 0.01),
        (X, LABELS + 1, 0.01),
        (X, LABELS * 1.0, 0.01),
        (X, ["a", "b", "c", "a", "b"], 0.01),
        (X, LABELS, -1),
        (X, LABELS, "much"),
        (X, LABELS, np.nan),
    ],
    ids=["axes", "width", "nan", "text", "rows", "class", "float", "names", "negative", "word", "lambda"],
)
def test_bad_data(data, y, reg_lambda):
    """Data that do not fit are the error of Model.train, word for word."""
    model = Model([3, 4, 3], random_state=0)
    with pytest.raises(ValueError, match=r".") as expected:
        model.train(data, y, num_passes=1, reg_lambda=reg_lambda)
    with pytest.raises(type(expected.value)) as caught:
        check_model(model, data, y, reg_lambda=reg_lambda)
    assert str(caught.value) == str(expected.value)


def test_too_large_for_float32():
    """What Model.train refuses check_model refuses: 1e300 is not finite in float32."""
    model = Model([3, 3], dtype=np.float32, random_state=0)
    with pytest.raises(ValueError, match="X must be finite") as expected:
        model.train(X * 1e300, LABELS, num_passes=1)
    with pytest.raises(ValueError, match="X must be finite") as caught:
        check_model(model, X * 1e300, LABELS)
    assert str(caught.value) == str(expected.value)


@pytest.mark.parametrize(
    ("graph", "feeds"),
    [
        (Graph(Tanh()(Constant(1.0))), None),
        (Graph(Constant(X)), {}),
        (Graph(Next()(Input("rows", dtype=int))), {"rows": [1, 2]}),
    ],
    ids=["constants", "one constant", "rows"],
)
def test_nothing_to_differentiate(graph, feeds):
    """A graph in which nothing has a gradient is an error, not a proof of nothing."""
    with pytest.raises(GraphError, match=r"^no input and no parameter has a gradient, so there is nothing to prove$"):
        check_graph(graph, feeds)


@pytest.mark.parametrize(
    ("gate", "value", "node"),
    [
        (Tanh(), [np.nan, 1.0], "x"),
        (Tanh(), [np.inf, 1.0], "x"),
        (LogGate(), [0.0, 1.0], "here"),
        (LogGate(), [-1.0, 1.0], "here"),
    ],
    ids=["nan", "inf", "minus infinity", "not a number"],
)
def test_not_finite(gate, value, node):
    """Where a feed or the result is not finite nothing can be proven: the first such node is named, none is blamed."""
    with pytest.raises(GraphError, match=f"^node {node!r} is not finite at these values; prove the graph where it is$"):
        check_graph(Graph(gate(Input("x"), name="here")), {"x": value})


def test_not_finite_parameter():
    """The same of a parameter."""
    with pytest.raises(GraphError, match=r"^node 'W' is not finite at these values"):
        check_graph(Graph(Input("x") * Parameter([np.nan, 1.0], "W")), {"x": 1.0})


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_model_not_finite(value):
    """A model whose parameters are not finite, as after training that diverged, cannot be proven: no gate is blamed."""
    model = Model([3, 4, 3], random_state=0)
    model.W[0][0, 0] = value
    with pytest.raises((GraphError, ValueError), match="finite"):
        check_model(model, X, LABELS)


# --- Random graphs ---------------------------------------------------------------------------------------------------

# Smooth and of moderate slope, so that a factor of 1.01 anywhere shows.
SMOOTH = [Tanh(), Sigmoid(), Softplus(), SiLU(), GELU()]


@st.composite
def random_graphs(draw, spoil=False):
    """Draw a graph of elementwise gates, sums and products with shared nodes; one is spoilt if that is asked for."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shapes = [(4, 3), (3,), (4, 1), ()]
    nodes = [Input("x"), Input("y"), Parameter(rng.standard_normal(shapes[draw(st.integers(0, 3))]), "p")]
    feeds = {name: rng.standard_normal(shapes[draw(st.integers(0, 3))]) for name in "xy"}
    count = draw(st.integers(2, 8))
    bad = draw(st.integers(0, count - 1)) if spoil else None
    for i in range(count):
        a, b = (nodes[draw(st.integers(0, len(nodes) - 1))] for _ in range(2))
        gate = draw(st.sampled_from([*SMOOTH, "sum", "product"]))
        node = a * b if gate == "product" else a + b if gate == "sum" else gate(a)
        if i == bad:
            node = Spoilt(node.gate)(*node.inputs, name="bad")
        nodes.append(node)
    used = {x for node in nodes for x in node.inputs}
    # All that nothing else uses are outputs, so that every node counts.
    outputs = [node for node in nodes if node not in used and node.gate is not None]
    graph = Graph(*outputs)
    return graph, {name: value for name, value in feeds.items() if graph.find(name) is not None}


@given(random_graphs(), st.integers(0, 100))
@settings(max_examples=60, deadline=None)
def test_random_graphs(drawn, seed):
    """A graph of right gates is never blamed, and every input and parameter has its line."""
    graph, feeds = drawn
    report = check_graph(graph, feeds, random_state=seed)
    assert report, report
    names = [name for name, node in zip(graph.names, graph.nodes, strict=True) if node.gate is None]
    assert sorted(lines(report)) == sorted(gradients_of(*names))


@given(random_graphs(spoil=True), st.integers(0, 100))
@settings(max_examples=60, deadline=None)
def test_random_graphs_spoilt(drawn, seed):
    """One gate whose gradient is 1.01 times the right one is blamed at its node, and nothing else."""
    graph, feeds = drawn
    report = check_graph(graph, feeds, random_state=seed)
    assert blamed(report) == ["Spoilt at node 'bad'"], report


@given(
    st.lists(st.sampled_from([*SMOOTH, ELU(0.7), LeakyReLU(0.2)]), min_size=1, max_size=3), st.integers(0, 2**32 - 1)
)
@settings(max_examples=25, deadline=None)
def test_random_models(layers, seed):
    """Models of random layers, weights and data are never blamed."""
    rng = np.random.default_rng(seed)
    model = Model([2, *(Dense(int(rng.integers(1, 4)), layer) for layer in layers), 3], random_state=seed)
    report = check_model(model, rng.standard_normal((4, 2)), rng.integers(0, 3, 4), reg_lambda=rng.uniform(0, 2))
    assert report, report


def test_wrong_gate_right_at_an_input():
    """The numbers are told where the gradient of an input comes straight from its gate, which is read-only there."""

    class Half(Tanh):
        def derivative(self, X):
            return super().derivative(X) / 2

    report = check_graph(Graph(Half()(Input("x"))), {"x": [[0.5, 1.0, 2.0]]})
    assert not report
    assert "(measured), got" in report.results[0].message
