"""The graph: building and sorting, values and gradients node by node."""

from __future__ import annotations

import gc
import weakref
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

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
    LogGate,
    MaximumGate,
    MeanGate,
    MinimumGate,
    MultiplyGate,
    NegateGate,
    PowerGate,
    Sigmoid,
    SiLU,
    SliceGate,
    Softmax,
    SoftmaxLayer,
    Softplus,
    SquaredError,
    SubtractGate,
    SumGate,
    Tanh,
)
from nngraph import Constant, Graph, GraphError, Input, Node, Parameter, Values


class Counting(Gate):
    """``Z = X / 2 + Y / 2``, which counts how often it is asked."""

    def __init__(self):
        self.calls = Counter()

    def forward(self, X, Y):
        self.calls["forward"] += 1
        return X / 2 + Y / 2

    def backward(self, X, Y, dZ):
        self.calls["backward"] += 1
        return dZ / 2, dZ / 2


class Writing(Gate):
    """``Z = 2 X``, computed by writing over X: what a gate must not do."""

    def forward(self, X):
        X *= 2
        return X

    def backward(self, X, dZ):
        return 2 * dZ


class WritingBackward(Gate):
    """``Z = 2 X``, whose backward writes over the upstream gradient, or over X."""

    def __init__(self, where):
        self.where = where

    def forward(self, X):
        return 2 * X

    def backward(self, X, dZ):
        target = dZ if self.where == "dZ" else X
        target *= 2
        return dZ


# --- Sorting ---------------------------------------------------------------------------------------------------------


def test_inputs_come_first():
    """Each node comes once, after its inputs, however tangled the graph."""
    rng = np.random.default_rng(0)
    nodes = [Input("x"), Parameter(1.0, "p")]
    for _ in range(300):
        i, j = rng.integers(len(nodes), size=2)
        nodes.append(AddGate()(nodes[i], nodes[j]))
    graph = Graph(*nodes[-3:])
    assert len(set(graph.nodes)) == len(graph.nodes) == len(graph.names) == len(set(graph.names))
    for i, node in enumerate(graph.nodes):
        assert all(graph.position(x) < i for x in node.inputs)
        assert graph.position(node) == graph.position(graph.names[i]) == i


def test_long_chain():
    """A chain of 100,000 gates is built, sorted, run, differentiated and freed."""
    node = first = Input("x")
    gate = NegateGate()
    watched = weakref.ref(gate)
    for _ in range(100_000):
        node = gate(node)
    graph = Graph(node)
    assert len(graph.nodes) == 100_001
    assert graph.forward(x=3.0)[node] == 3
    assert graph.backward()[first] == 1
    del graph, node, first, gate
    gc.collect()
    assert watched() is None


def test_deep_diamond():
    """A diamond 40 levels deep has 2^40 paths, and each gate runs once forward and once backward."""
    gates = [Counting() for _ in range(40)]
    node = Input("x")
    for gate in gates:
        node = gate(node, node)
    graph = Graph(node)
    assert len(graph.nodes) == 41
    assert graph.forward(x=1.5)[node] == 1.5
    assert graph.backward()["x"] == 1
    assert all(gate.calls == {"forward": 1, "backward": 1} for gate in gates)


def test_wide_diamond():
    """The same with two different arms per level: 3 nodes a level."""
    top = Input("x")
    gates = []
    node = top
    for _ in range(40):
        left, right = Tanh()(node), node * 0.5
        gates.append(Counting())
        node = gates[-1](left, right)
    graph = Graph(node)
    graph.forward(x=0.3)
    gradient = graph.backward()["x"]
    expected, value = 1.0, 0.3
    for _ in range(40):
        expected *= (1 - np.tanh(value) ** 2) / 2 + 0.25
        value = np.tanh(value) / 2 + value / 4
    assert_allclose(gradient, expected, rtol=1e-12)
    assert all(gate.calls == {"forward": 1, "backward": 1} for gate in gates)


def test_layers_read_as_written():
    """Parameters stand in the order of the layers that use them."""
    A = Input("X")
    for i in (1, 2, 3):
        A = Tanh()(MultiplyGate()(Parameter(np.eye(2), f"W{i}"), A) + Parameter(np.zeros(2), f"b{i}"))
    assert [p.name for p in Graph(A).parameters] == ["W1", "b1", "W2", "b2", "W3", "b3"]
    assert [x.name for x in Graph(A).inputs] == ["X"]


def test_only_what_is_needed():
    """Nodes that no output depends on are not in the graph."""
    x = Input("x")
    Tanh()(x, name="aside")
    graph = Graph(x + 1)
    assert "aside" not in graph.names
    assert len(graph.nodes) == 3


def test_a_source_as_output():
    """An input or a parameter may itself be an output."""
    x, p = Input("x"), Parameter([1.0, 2.0], "p")
    graph = Graph(x, p)
    values = graph.forward(x=3.0)
    assert values["x"] == 3
    gradients = graph.backward({x: 2.0, p: [5.0, 6.0]})
    assert gradients[x] == 2
    assert_array_equal(gradients[p], [5, 6])


def test_graphs_share_nodes():
    """Two graphs of the same nodes keep their values apart."""
    x = Input("x")
    y = x * x
    one, other = Graph(y), Graph(y + x)
    one.forward(x=2.0)
    other.forward(x=5.0)
    assert one.backward()["x"] == 4
    assert other.backward()["x"] == 11


# --- Fan-out, several outputs, backward ------------------------------------------------------------------------------


def test_fan_out_adds_up():
    """A value that is used three times gets the sum of three gradients."""
    x = Input("x")
    graph = Graph(SumGate()(x * 2 + Tanh()(x) + ExpGate()(x)))
    X = np.array([0.5, -1.0])
    graph.forward(x=X)
    assert_allclose(graph.backward()["x"], 2 + (1 - np.tanh(X) ** 2) + np.exp(X), rtol=1e-14)


@pytest.mark.parametrize(
    ("write", "slope"),
    [
        (lambda x: x * x, lambda x: 2 * x),
        (lambda x: x + x, lambda x: 2 + 0 * x),
        (lambda x: x - x, lambda x: 0 * x),
        (lambda x: x / x, lambda x: 0 * x),
        (lambda x: MaximumGate()(x, x), lambda x: 1 + 0 * x),
        (lambda x: x * x * x + x, lambda x: 3 * x**2 + 1),
        (lambda x: x**x, lambda x: x**x * (np.log(x) + 1)),
    ],
    ids=["x*x", "x+x", "x-x", "x/x", "max", "x^3+x", "x^x"],
)
def test_the_same_node_twice(write, slope):
    """A node used twice by one gate gets both its gradients."""
    x = Input("x")
    graph = Graph(write(x))
    X = np.array([0.5, 2.0, 3.0])
    graph.forward(x=X)
    assert_allclose(graph.backward(np.ones(3))["x"], slope(X), rtol=1e-13, atol=1e-15)


def test_one_gate_gradient_for_many():
    """A gradient that a gate returns for several inputs is not spoilt when one of them adds up more."""
    a, b = Input("a"), Input("b")
    z = a + b
    graph = Graph(z * 1.0 + a * 10.0 + a * 100.0)
    graph.forward(a=np.ones(2), b=np.ones(2))
    gradients = graph.backward(np.ones(2))
    assert_array_equal(gradients[z], [1, 1])
    assert_array_equal(gradients["b"], [1, 1])
    assert_array_equal(gradients["a"], [111, 111])


def test_several_outputs():
    """Upstream gradients of several outputs, by node or by name, add up; one that is left out counts as nothing."""
    x = Input("x")
    y, z = Tanh()(x, name="y"), x * x
    graph = Graph(y, z)
    X, G, H = np.array([0.5, -2.0]), np.array([1.0, 3.0]), np.array([-2.0, 0.5])
    graph.forward(x=X)
    by_y, by_z = G * (1 - np.tanh(X) ** 2), H * 2 * X
    assert_allclose(graph.backward({y: G, z: H})["x"], by_y + by_z, rtol=1e-14)
    assert_allclose(graph.backward({"y": G, graph.names[graph.position(z)]: H})["x"], by_y + by_z, rtol=1e-14)
    alone = graph.backward({z: H})
    assert_allclose(alone["x"], by_z, rtol=1e-14)
    assert alone["y"] is None


def test_an_output_that_is_used():
    """An output that others depend on gets its own upstream gradient and theirs."""
    x = Input("x")
    y = x * 3.0
    z = y * y
    graph = Graph(y, z)
    graph.forward(x=2.0)
    gradients = graph.backward({y: 100.0, z: 1.0})
    assert gradients[y] == 112
    assert gradients["x"] == 336


def test_backward_twice():
    """A second backward gives the same gradients, not doubled ones, and leaves the first ones as they were."""
    rng = np.random.default_rng(0)
    W = Parameter(rng.normal(size=(3, 2)), "W")
    x = Input("x")
    graph = Graph(SumGate()(Tanh()(x @ W) * (x @ W) + x @ W))
    graph.forward(x=rng.normal(size=(4, 3)))
    first = graph.backward()
    kept = {name: np.array(g) for name, g in first.items()}
    second = graph.backward()
    for name, gradient in kept.items():
        assert_array_equal(second[name], gradient)
        assert_array_equal(first[name], gradient)
    assert_allclose(graph.backward(3.0)["W"], 3 * kept["W"], rtol=1e-14)


def test_backward_uses_the_values_of_the_last_forward():
    """Parameters that change between forward and backward do not mix two states."""
    w = Parameter(3.0, "w")
    x = Input("x")
    graph = Graph(x * w)
    graph.forward(x=2.0)
    w.value = 50.0
    assert graph.backward()["x"] == 3
    graph.forward(x=2.0)
    assert graph.backward()["x"] == 50


def test_a_second_forward_leaves_the_first_values():
    """Values and gradients that were handed out stay as they are when the graph runs again."""
    x = Input("x")
    graph = Graph(x * x)
    first, slopes = graph.forward(x=2.0), graph.backward()
    graph.forward(x=5.0)
    graph.backward()
    assert first["x"] == 2
    assert slopes["x"] == 4


# --- The circuit and the operators -----------------------------------------------------------------------------------


def test_circuit():
    """The scalar circuit x y + z at (3, -2, 5): -6 and -1 forward; 1, 1, -2, 3, 1 backward."""
    x, y, z = Input("x"), Input("y"), Input("z")
    product = x * y
    graph = Graph(product + z)
    assert len(graph.nodes) == 5
    values = graph.forward(x=3, y=-2, z=5)
    gradients = graph.backward()
    assert (values[product], values["Add"]) == (-6, -1)
    assert [float(gradients[n]) for n in ("Add", product, "x", "y", "z")] == [1, 1, -2, 3, 1]
    assert {v.dtype for v in (*values.values(), *gradients.values())} == {np.dtype(np.float64)}


OPERATIONS = {
    "x + c": (lambda x, c: x + c, np.add),
    "c + x": (lambda x, c: c + x, lambda x, c: np.add(c, x)),
    "x - c": (lambda x, c: x - c, np.subtract),
    "c - x": (lambda x, c: c - x, lambda x, c: np.subtract(c, x)),
    "x * c": (lambda x, c: x * c, np.multiply),
    "c * x": (lambda x, c: c * x, lambda x, c: np.multiply(c, x)),
    "x / c": (lambda x, c: x / c, np.divide),
    "c / x": (lambda x, c: c / x, lambda x, c: np.divide(c, x)),
    "x ** c": (lambda x, c: x**c, np.power),
    "c ** x": (lambda x, c: c**x, lambda x, c: np.power(c, x)),
    "-x": (lambda x, _: -x, lambda x, _: np.negative(x)),
}

CONSTANTS = {
    "int": 2,
    "float": 1.5,
    "array": np.array([0.5, 2.0, 3.0]),
    "column": np.array([[0.5], [2.0]]),
    "float64 scalar": np.float64(2.5),
    "int array": np.array([1, 2, 3]),
    "array of 0 axes": np.array(2.5),
}


@pytest.mark.parametrize("constant", CONSTANTS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_operators(operation, constant):
    """Operators make gates of nodes and constants, on either side, arrays included."""
    write, expected = OPERATIONS[operation]
    x, c = Input("x"), CONSTANTS[constant]
    X = np.array([[1.0, 2.0, 3.0], [0.5, 0.25, 4.0]])
    node = write(x, c)
    assert isinstance(node, Node)
    graph = Graph(node)
    G = np.random.default_rng(0).normal(size=(2, 3))
    assert_allclose(graph.forward(x=X)[node], expected(X, np.asarray(c, float)), rtol=1e-14)
    h = 1e-6
    slopes = (expected(X + h, np.asarray(c, float)) - expected(X - h, np.asarray(c, float))) / (2 * h)
    assert_allclose(graph.backward(G)["x"], G * slopes, rtol=1e-7, atol=1e-8)


def test_matrix_product_operator():
    """x @ y is the matrix product for nodes and arrays, on either side, with right gradients."""
    rng = np.random.default_rng(0)
    X, C = rng.normal(size=(3, 3)), rng.normal(size=(3, 3))
    G = rng.normal(size=(3, 3))
    x, y = Input("x"), Input("y")
    for node, value, slope in [
        (x @ C, X @ C, G @ C.T),
        (C @ x, C @ X, C.T @ G),
        (x @ y, X @ C, G @ C.T),
        (y @ x, C @ X, C.T @ G),
    ]:
        graph = Graph(node)
        feeds = {"x": X, "y": C}
        values = graph.forward({i: feeds[i.name] for i in graph.inputs})
        assert_allclose(values[node], value, rtol=1e-14)
        assert_allclose(graph.backward(G)["x"], slope, rtol=1e-13)


@pytest.mark.parametrize("number", [2, 2.5, np.float64(2.5), True])
@pytest.mark.parametrize("write", [lambda x, c: x * c, lambda x, c: c - x, lambda x, c: x**c])
def test_numbers_do_not_widen(write, number):
    """A number among float32 values stays float32, forward and backward."""
    x, p = Input("x"), Parameter(np.ones(3, np.float32), "p")
    node = write(x, number) + write(p, number)
    graph = Graph(node)
    values = graph.forward(x=np.array([1, 2, 3], np.float32))
    gradients = graph.backward(np.ones(3))
    assert {v.dtype for v in values.values()} == {np.dtype(np.float32)}
    assert {g.dtype for g in gradients.values() if g is not None} == {np.dtype(np.float32)}


def test_a_constant_is_a_copy():
    """A Constant keeps its value when the user's array changes."""
    mine = np.array([1.0, 2.0])
    x = Input("x")
    graph = Graph(x + mine)
    mine[:] = 100
    assert_array_equal(graph.forward(x=np.zeros(2))[graph.outputs[0]], [1, 2])
    assert mine.flags.writeable


# --- Names -----------------------------------------------------------------------------------------------------------


def test_names_of_the_nameless():
    """Nameless nodes are called after their gates, in the order of computation; given names are left alone."""
    x = Input("x")
    node = Tanh()(Tanh()(Tanh()(x), name="Tanh_2")) * 2.0 + Parameter(1.0)
    graph = Graph(SquaredError()(MultiplyGate()(node, 3.0), Constant(0.0)))
    assert graph.names == [
        "x",
        "Tanh",
        "Tanh_2",
        "Tanh_3",
        "Constant",
        "ElementwiseProduct",
        "Parameter",
        "Add",
        "Constant_2",
        "Multiply",
        "Constant_3",
        "SquaredError",
    ]


def test_a_gate_called_gate():
    """A class whose name is nothing but Gate still gives a name."""

    class Gate(NegateGate):
        pass

    assert Graph(Gate()(Input("x"))).names == ["x", "Gate"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Input("n") + Input("n"),
        lambda: Input("n") + Parameter(1.0, "n"),
        lambda: Tanh()(Sigmoid()(Input("x"), name="n"), name="n"),
    ],
)
def test_duplicate_names(make):
    """Two nodes of one name are refused, and the name is told."""
    with pytest.raises(GraphError, match=r"two nodes are called 'n': <.*> and <.*>; rename one"):
        Graph(make())


@pytest.mark.parametrize("name", ["", 3, b"x", ["x"]])
def test_bad_names(name):
    """A name is a string that is not empty."""
    for make in (Input, lambda n: Parameter(1.0, n), lambda n: Tanh()(Input("x"), name=n)):
        with pytest.raises(GraphError, match="name must be a string that is not empty, got"):
            make(name)


def test_input_needs_a_name():
    """An Input without a name could not be fed."""
    with pytest.raises(GraphError, match="needs a name"):
        Input(None)


def test_awkward_input_names():
    """Inputs may be called like the arguments of forward."""
    a, b, c = Input("self"), Input("feeds"), Input("not an identifier")
    graph = Graph(a + b + c)
    values = graph.forward({"not an identifier": 4.0}, self=1.0, feeds=2.0)
    assert values[graph.outputs[0]] == 7


def test_reprs():
    """Nodes and values show what they are."""
    x, p = Input("x"), Parameter([1.0], "p")
    assert repr(x) == "<Input 'x'>"
    assert repr(Tanh()(x)) == "<Tanh()>"
    assert repr(Tanh()(x, name="h")) == "<Tanh() 'h'>"
    graph = Graph(SumGate()(p * 2, name="s"))
    assert "p (1,) float64" in repr(graph.forward())
    assert "Constant None" in repr(graph.backward())


# --- Values ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def small():
    """A graph of one input, one parameter and a constant, with its nodes."""
    x, p = Input("x"), Parameter([1.0, 2.0], "p")
    h = Tanh()(x * p, name="h")
    return Graph(SumGate()(h * 3.0, name="s")), x, p, h


def test_values_by_node_and_by_name(small):
    """Values and gradients are found by node and by name, in the order of computation."""
    graph, x, p, h = small
    for found in (graph.forward(x=[0.5, 0.25]), graph.backward()):
        assert isinstance(found, Values)
        for node, name in ((x, "x"), (p, "p"), (h, "h")):
            assert found[node] is found[name]
            assert node in found
            assert name in found
        assert list(found) == graph.names
        assert len(found) == len(graph.nodes)
        assert "nothing" not in found
        assert Input("x") not in found
        assert 3 not in found


def test_values_are_a_mapping(small):
    """As of any mapping, `get` gives the default for a name that is not there."""
    values = small[0].forward(x=[0.5, 0.25])
    assert values.get("h") is values["h"]
    assert values.get("nothing") is None
    assert values.get("nothing", 7) == 7


def test_values_are_read_only(small):
    """Nobody changes a value or a gradient unawares."""
    graph, *_ = small
    for found in (graph.forward(x=[0.5, 0.25]), graph.backward()):
        for array in found.values():
            if array is not None:
                with pytest.raises(ValueError, match="read-only"):
                    array[...] = 0


def test_values_stay_when_parameters_change(small):
    """A later change of a parameter, in place or assigned, does not show in values or gradients."""
    graph, x, p, _ = small
    values = graph.forward(x=[0.5, 0.25])
    gradients = graph.backward()
    kept = [np.array(a) for a in (values["p"], values["h"], gradients["x"])]
    p.value[0] = 100
    p.value = [7.0, 8.0]
    for array, before in zip((values["p"], values["h"], gradients["x"]), kept, strict=True):
        assert_array_equal(array, before)
    assert_array_equal(graph.forward({x: [0.5, 0.25]})["p"], [7, 8])


def test_parameter_is_a_copy():
    """A Parameter copies the user's array, and leaves it writeable; integers become float64."""
    for mine in (np.array([1.0, 2.0]), np.array([1, 2]), np.array([1, 2], np.float32)):
        p = Parameter(mine, "p")
        mine[0] = 50
        assert_array_equal(p.value, [1, 2])
        assert p.value.dtype == (np.float32 if mine.dtype == np.float32 else np.float64)
        p.value[1] = 9
        assert mine[1] == 2


def test_parameter_keeps_its_array():
    """Assigning to value writes into the same array: shape and dtype stay."""
    p = Parameter(np.ones((2, 2), np.float32), "p")
    array = p.value
    p.value = np.arange(4).reshape(2, 2)
    assert p.value is array
    assert array.dtype == np.float32
    assert_array_equal(array, [[0, 1], [2, 3]])
    with pytest.raises(GraphError, match=r"p must have shape \(2, 2\), got \(2,\)"):
        p.value = [1.0, 2.0]
    assert_array_equal(array, [[0, 1], [2, 3]])


def test_feeds_are_left_alone():
    """What is fed is neither changed nor made read-only."""
    X = np.array([[1.0, 2.0], [3.0, 4.0]])
    kept = X.copy()
    x = Input("x")
    graph = Graph(SumGate()(Tanh()(x) * x))
    graph.forward(x=X)
    graph.backward()
    assert_array_equal(X, kept)
    assert X.flags.writeable
    X[0, 0] = 5


def test_upstream_is_left_alone():
    """The upstream gradient stays the user's, to read and to write."""
    x = Input("x")
    graph = Graph(x, x * 1.0)
    graph.forward(x=np.ones(2))
    G, H = np.ones(2), np.ones(2)
    first = graph.backward({x: G, graph.outputs[1]: H})
    assert_array_equal(first["x"], [2, 2])
    assert_array_equal(G, [1, 1])
    G[:], H[:] = 5, 5
    assert_array_equal(first["x"], [2, 2])


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(lambda a: a.tolist(), id="list"),
        pytest.param(np.asfortranarray, id="fortran"),
        pytest.param(lambda a: np.repeat(a, 2, axis=1)[:, ::2], id="strided"),
        pytest.param(lambda a: a.astype(a.dtype.newbyteorder()), id="other byte order"),
        pytest.param(lambda a: np.broadcast_to(a, a.shape), id="read-only"),
    ],
)
def test_forms_of_feeds(form):
    """Arrays of any layout, and lists, feed a graph alike."""
    X = np.random.default_rng(0).normal(size=(3, 4))
    x = Input("x")
    graph = Graph(SumGate()(Tanh()(x) * np.arange(4.0)))
    fed = form(X)
    assert_allclose(graph.forward(x=fed)[graph.outputs[0]], (np.tanh(X) * np.arange(4)).sum(), rtol=1e-13)
    assert_allclose(graph.backward()["x"], (1 - np.tanh(X) ** 2) * np.arange(4), rtol=1e-13)


@pytest.mark.parametrize("source", ["x", "p", "h"])
def test_a_gate_that_writes_into_its_input(source):
    """It is named, and neither the user's array nor the parameter is touched."""
    X, p = np.array([1.0, 2.0]), Parameter([3.0, 4.0], "p")
    x = Input("x")
    node = {"x": x, "p": p, "h": Tanh()(x, name="h")}[source]
    graph = Graph(Writing()(node, name="bad") + p + x)
    with pytest.raises(GateError, match=rf"Writing at node 'bad'.*{source} \(2,\).*read-only"):
        graph.forward(x=X)
    assert_array_equal(X, [1, 2])
    assert_array_equal(p.value, [3, 4])


@pytest.mark.parametrize("where", ["X", "dZ"])
def test_a_backward_that_writes(where):
    """A backward that writes into an input or the upstream gradient is named too."""
    X = np.array([1.0, 2.0])
    graph = Graph(WritingBackward(where)(Input("x"), name="bad"))
    graph.forward(x=X)
    with pytest.raises(GateError, match=r"WritingBackward at node 'bad'.*read-only"):
        graph.backward(np.ones(2))
    assert_array_equal(X, [1, 2])


def test_no_gradient():
    """Labels, constants, and what no output with an upstream gradient depends on have None."""
    x, y, other = Input("x"), Input("y"), Input("other")
    c = Constant(np.array([[2.0, 1.0]]), "c")
    cc = Tanh()(c, name="cc")
    loss = Softmax()(x * cc, y, name="loss")
    graph = Graph(loss, Tanh()(other, name="unreached"))
    graph.forward(x=[[1.0, 2.0], [3.0, 4.0]], y=[0, 1], other=1.0)
    gradients = graph.backward({loss: 1.0})
    assert {name for name, g in gradients.items() if g is None} == {"y", "c", "cc", "other", "unreached"}


def test_constants_are_not_differentiated():
    """A gate of constants only is not asked for its backward."""
    gate = Counting()
    graph = Graph(gate(Constant(1.0), Constant(2.0)) * Input("x"))
    graph.forward(x=2.0)
    graph.backward()
    assert gate.calls == {"forward": 1}


# --- Broadcasting, dtypes, sharing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (1,), (3,), (1, 3), (4, 1), (1, 1), (2, 1, 3), (1, 4, 1), (2, 4, 3)])
@pytest.mark.parametrize("gate", [AddGate(), SubtractGate(), ElementwiseProductGate(), DivideGate()], ids=repr)
def test_broadcast_parameters(gate, shape):
    """The gradient of a parameter that was broadcast has its shape, and is the measured slope."""
    rng = np.random.default_rng(0)
    P = rng.uniform(1, 2, size=shape)
    p = Parameter(P, "p")
    graph = Graph(gate(Input("x"), p))
    X, G = rng.normal(size=(2, 4, 3)), rng.normal(size=(2, 4, 3))
    graph.forward(x=X)
    gradient = graph.backward(G)["p"]
    assert gradient.shape == shape
    operation = {"Add": np.add, "Sub": np.subtract, "Ele": np.multiply, "Div": np.divide}[type(gate).__name__[:3]]
    for at in np.ndindex(shape):
        step = np.zeros(shape)
        step[at] = 1e-6
        slope = (G * (operation(X, P + step) - operation(X, P - step))).sum() / 2e-6
        assert_allclose(gradient[at], slope, rtol=1e-6, atol=1e-8)


def test_float32():
    """float32 in, float32 out: values and gradients, with an upstream gradient of float64."""
    rng = np.random.default_rng(0)
    W, b = (Parameter(rng.normal(size=s).astype(np.float32)) for s in ((3, 2), (2,)))
    x = Input("x")
    graph = Graph(Tanh()(x @ W + b) * 0.5)
    values = graph.forward(x=rng.normal(size=(4, 3)).astype(np.float32))
    gradients = graph.backward(rng.normal(size=(4, 2)))
    arrays = [a for a in (*values.values(), *gradients.values()) if a is not None]
    assert {a.dtype for a in arrays} == {np.dtype(np.float32)}


def test_integer_inputs():
    """Whole numbers may be fed; their gradient is a float."""
    x = Input("x")
    graph = Graph(SumGate()(x * x))
    graph.forward(x=np.array([1, 2, 3]))
    assert_array_equal(graph.backward()["x"], [2.0, 4.0, 6.0])


def test_shared_parameter():
    """A parameter that two layers use is one parameter with the sum of both gradients."""
    rng = np.random.default_rng(0)
    M, X, G = rng.normal(size=(3, 3)), rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    W = Parameter(M, "W")
    x = Input("x")
    H = Tanh()(x @ W)
    graph = Graph(H @ W)
    assert graph.parameters == (W,)
    graph.forward(x=X)
    A = np.tanh(X @ M)
    expected = A.T @ G + X.T @ ((1 - A**2) * (G @ M.T))
    assert_allclose(graph.backward(G)["W"], expected, rtol=1e-12)


# --- Any graph -------------------------------------------------------------------------------------------------------

UNARY = [Tanh(), Sigmoid(), SiLU(), Softplus(), GELU(), ELU(), NegateGate(), MeanGate(-1, keepdims=True), MeanGate()]
BINARY = [AddGate(), SubtractGate(), MaximumGate(), MinimumGate()]
# All of these broadcast together.
SHAPES = [(), (1,), (3,), (1, 3), (2, 1), (2, 3)]


def random_graph(rng):
    """Return a random graph, whose values stay moderate, and its feeds. Nodes are used again and again."""
    feeds = {f"x{i}": rng.normal(size=SHAPES[rng.integers(len(SHAPES))]) for i in range(2)}
    feeds["rows"] = rng.integers(0, 4, size=2)
    rows = Input("rows")
    table, square = Parameter(rng.normal(size=(4, 3)), "table"), Parameter(rng.normal(size=(3, 3)), "square")
    nodes = [Input("x0"), Input("x1"), *(Parameter(rng.normal(size=s)) for s in rng.permutation(SHAPES_ARRAY)[:2])]
    nodes.append(GatherGate()(table, rows))
    shapes = [feeds["x0"].shape, feeds["x1"].shape, *(n.value.shape for n in nodes[2:4]), (2, 3)]

    def add(node, shape):
        nodes.append(node)
        shapes.append(shape)

    for _ in range(rng.integers(3, 12)):
        i, j = rng.integers(len(nodes), size=2)
        a, b, shape = nodes[i], nodes[j], shapes[i]
        both = np.broadcast_shapes(shape, shapes[j])
        kind = rng.integers(10)
        if kind < 3:
            gate = UNARY[rng.integers(len(UNARY) if shape else len(UNARY) - 2)]
            add(gate(a), np.mean(np.empty(shape), **vars(gate)).shape if isinstance(gate, MeanGate) else shape)
        elif kind < 5:
            add(BINARY[rng.integers(len(BINARY))](a, b), both)
        elif kind == 5:
            add(Tanh()(a * b) + rng.normal(), both)
        elif kind == 6:
            add(Tanh()(a / (1.0 + ExpGate()(Tanh()(b)))), both)
        elif kind == 7:
            add(PowerGate()(Sigmoid()(a) + 0.5, Tanh()(b)) - LogGate()(Softplus()(b) + 0.5), both)
        elif kind == 8 and shape[-1:] == (3,):
            add(Tanh()(MultiplyGate()(square, a)), shape)
            add(SoftmaxLayer()(nodes[-1]), shape)
        elif shape:
            piece = SliceGate(np.s_[..., :1])(a)
            add(piece, (*shape[:-1], 1))
            add(ConcatenateGate(axis=-1)(piece, piece * 2.0, Tanh()(piece)), (*shape[:-1], 3))
    graph = Graph(nodes[-1], nodes[rng.integers(len(nodes) - 1)])
    return graph, {name: value for name, value in feeds.items() if name in graph.names}


SHAPES_ARRAY = np.empty(len(SHAPES), object)
SHAPES_ARRAY[:] = SHAPES


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_random_graphs(seed):
    """The gradients of every input and parameter of a random graph are the measured slopes."""
    rng = np.random.default_rng(seed)
    graph, feeds = random_graph(rng)
    values = graph.forward(feeds)
    upstream = {node: rng.normal(size=values[node].shape) for node in graph.outputs}
    gradients = graph.backward(upstream)
    assert all(np.isfinite(v).all() for v in values.values())

    def L(source, value):
        if isinstance(source, Parameter):
            kept = source.value.copy()
            source.value = value
            found = graph.forward(feeds)
            source.value = kept
        else:
            found = graph.forward({**feeds, source.name: value})
        return sum((G * found[node]).sum() for node, G in upstream.items())

    h = 1e-5
    for source in (*graph.inputs, *graph.parameters):
        if source.name == "rows":
            assert gradients[source] is None
            continue
        value = values[source]
        slopes = np.empty_like(value)
        for at in np.ndindex(value.shape):
            step = np.zeros_like(value)
            step[at] = h
            slopes[at] = (L(source, value + step) - L(source, value - step)) / (2 * h)
        assert gradients[source].shape == value.shape
        allowed = 1e-7 * max(1, abs(slopes).max(initial=0))
        assert_allclose(gradients[source], slopes, rtol=1e-6, atol=allowed, err_msg=repr(source))


def test_many_outputs_in_linear_time():
    """Upstream gradients of 20,000 outputs are looked up, not searched for."""
    x = Input("x")
    outputs = [x * float(k) for k in range(20_000)]
    graph = Graph(*outputs)
    graph.forward(x=2.0)
    assert graph.backward(dict.fromkeys(outputs, 1.0))["x"] == 19_999 * 10_000


def test_evaluate_keeps_nothing():
    """evaluate leaves the values of the last forward in place; backward takes either, but not another graph's."""
    x = Input("x")
    graph, other = Graph(x * x), Graph(x * x)
    with pytest.raises(GraphError, match=r"call graph\.forward"):
        graph.backward()
    graph.forward(x=3.0)
    values = graph.evaluate(x=5.0)
    assert graph.backward()["x"] == 6
    assert graph.backward(values=values)["x"] == 10
    with pytest.raises(GraphError, match="values of another graph"):
        other.backward(values=values)


def test_inputs_of_integers():
    """An Input of integers keeps a Python number whole, and refuses what is not."""
    rows = Input("rows", dtype=int)
    graph = Graph(GatherGate()(Parameter(np.eye(3), "table"), rows))
    assert_array_equal(graph.forward(rows=1)[graph.outputs[0]], [0, 1, 0])
    with pytest.raises(GraphError, match="input 'rows' must be integers, got float64"):
        graph.forward(rows=1.5)
    with pytest.raises(GraphError, match="dtype of an Input must be None or int, got 'f8'"):
        Input("x", dtype="f8")


def test_repr_of_a_graph():
    """A graph shows how many nodes it has, and their names, not thousands of them."""
    x = Input("x")
    assert repr(Graph(Tanh()(x, name="h"))) == "<Graph of 2 nodes: x, h>"
    node = x
    for _ in range(1000):
        node = Tanh()(node)
    assert len(repr(Graph(node))) < 300
