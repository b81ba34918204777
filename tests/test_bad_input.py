"""Bad input: every case says what was expected, what came and where, and leaves the model as it was."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

from gates import (
    AddGate,
    Gate,
    GateError,
    Hinge,
    Huber,
    Logistic,
    MultiplyGate,
    ReLU,
    Softmax,
    SquaredError,
    Tanh,
)
from nngraph import Constant, Dense, Dropout, Graph, GraphError, Input, Model, Parameter

X = np.random.default_rng(0).normal(size=(6, 2))
Y = np.array([0, 1, 2, 0, 1, 2])


def state(model):
    """Return all parameters' bytes and the history."""
    return {name: value.tobytes() for name, value in model.parameters.items()}, list(model.loss_history)


def refused(error, parts, call, *args, **kwargs):
    """Assert that the call raises just this error, a ValueError, with all of these parts in its message."""
    assert issubclass(error, ValueError)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 -- class and message are compared below, more strictly
        call(*args, **kwargs)
    assert type(caught.value) is error, repr(caught.value)
    missing = [part for part in parts if part not in str(caught.value)]
    assert not missing, f"{missing} not in: {caught.value}"


@pytest.fixture
def model():
    """A model that was trained for a few passes; afterwards it must be as it was, and able to train on."""
    model = Model([2, 3, 3], random_state=0)
    model.train(X, Y, num_passes=4)
    before = state(model)
    yield model
    assert state(model) == before
    model.train(X, Y, num_passes=2)
    assert len(model.loss_history) == 7
    assert model.loss_history[-1] < model.loss_history[-2]


def with_value(a, value, at):
    """Return a copy of an array with one value changed."""
    a = np.array(a, dtype=np.result_type(a, np.asarray(value)) if isinstance(value, int | float) else object)
    a[at] = value
    return a


# --- Features --------------------------------------------------------------------------------------------------------

# id: X, what the message must hold.
BAD_X = {
    "nan": (with_value(X, np.nan, (3, 1)), ["X must be finite", "nan", "[3, 1]"]),
    "inf": (with_value(X, -np.inf, (0, 0)), ["X must be finite", "-inf", "[0, 0]"]),
    "no rows": (np.empty((0, 2)), ["X", "at least one example", "(0, 2)"]),
    "no columns": (np.empty((6, 0)), ["X", "at least", "(6, 0)"]),
    "empty list": ([], ["X", "(examples, features)", "(0,)"]),
    "one axis": (X[0], ["X must have shape (examples, features)", "(2,)", "X[None, :]"]),
    "a number": (3.0, ["X must have shape (examples, features)", "()"]),
    "three axes": (X[:, :, None], ["X must have shape (examples, 2)", "(6, 2, 1)"]),
    "too wide": (np.ones((6, 5)), ["X must have shape (examples, 2)", "input width", "(6, 5)"]),
    "too narrow": (np.ones((6, 1)), ["X must have shape (examples, 2)", "(6, 1)"]),
    "strings": ([["a", "b"]] * 6, ["X must be an array of real numbers", "strings"]),
    "numbers as strings": (X.astype(str), ["X must be an array of real numbers", "strings"]),
    "bytes": (X.astype("S"), ["X must be an array of real numbers", "strings"]),
    "ragged": ([[1.0, 2.0], [3.0]], ["X must be an array of numbers", "unequal length"]),
    "complex": (X + 1j, ["X must be an array of real numbers", "complex128"]),
    "objects": (with_value(X, "one", (0, 0)), ["X must be an array of real numbers", "object"]),
    "dates": (np.zeros((6, 2), "M8[D]"), ["X must be an array of real numbers", "datetime64"]),
    "records": (np.zeros(6, [("a", float), ("b", float)]), ["X must be an array of real numbers", "[('a'"]),
    "None": (None, ["X must be an array of real numbers", "NoneType"]),
    "dict": ({"a": X}, ["X must be an array of real numbers", "dict"]),
    "masked": (np.ma.masked_less(X, 0.5), ["X must be a plain array", "masked", "fill or drop"]),
    "sparse": (scipy.sparse.csr_array(X), ["X must be an array of real numbers", "csr_array"]),
}


@pytest.mark.parametrize("method", ["train", "calculate_loss", "gradients", "objective"])
@pytest.mark.parametrize("case", BAD_X)
def test_features_with_targets(model, case, method):
    """Whatever takes X and y refuses a bad X."""
    bad, parts = BAD_X[case]
    refused(ValueError, parts, getattr(model, method), bad, Y)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "activations"])
@pytest.mark.parametrize("case", BAD_X)
def test_features_alone(model, case, method):
    """Whatever takes X alone refuses a bad X."""
    bad, parts = BAD_X[case]
    refused(ValueError, parts, getattr(model, method), bad)


def test_finite_in_float64_only():
    """A value that float32 cannot hold is refused by a float32 model, without a warning."""
    model = Model([2, 2], dtype=np.float32)
    refused(ValueError, ["X must be finite", "inf", "[1, 0]"], model.predict, [[1.0, 2.0], [1e300, 1.0]])


def test_targets_finite_in_float64_only():
    """A target that float32 cannot hold is refused too."""
    model = Model([2, 1], output=SquaredError(), dtype=np.float32)
    refused(ValueError, ["y must be finite", "[1]"], model.train, [[1.0, 2.0], [1.0, 1.0]], [1.0, 1e300])


def test_features_of_a_hand_built_graph():
    """Without widths the gate tells both shapes and both names; nan and one axis are refused as ever."""
    model = Model(Tanh()(Input("features") @ Parameter(np.ones((2, 3)), "U"), name="scores"))
    parts = ["MultiplyGate at node", "U (2, 3)", "features (6, 5)"]
    refused(GateError, parts, model.predict, np.ones((6, 5)))
    refused(GateError, parts, model.train, np.ones((6, 5)), Y)
    refused(ValueError, ["X must be finite", "nan"], model.predict, [[np.nan, 1.0]])
    refused(ValueError, ["X must have shape (examples, features)"], model.predict, [1.0, 2.0])
    assert model.loss_history == []


# --- Targets ---------------------------------------------------------------------------------------------------------

# id: y, error, what the message must hold.
BAD_Y = {
    "too large": (with_value(Y, 3, 4), GateError, ["labels must be in 0..2", "got 3", "position 4"]),
    "negative": (with_value(Y, -1, 2), GateError, ["labels must be in 0..2", "got -1", "position 2"]),
    "fractional": (Y + 0.5, GateError, ["labels must be integers in 0..2", "float64"]),
    "whole but float": (Y.astype(float), GateError, ["labels must be integers in 0..2", "float64", ".astype(int)"]),
    "too short": (Y[:5], ValueError, ["y must have one target for each of the 6 rows", "(5,)"]),
    "too long": ([*Y, 0], ValueError, ["y must have one target for each of the 6 rows", "(7,)"]),
    "none": ([], ValueError, ["y must have one target for each of the 6 rows", "(0,)"]),
    "one for all": (1, ValueError, ["y must have one target for each of the 6 rows", "()"]),
    "column": (Y[:, None], GateError, ["labels must have shape (6,)", "(6, 1)", ".ravel()"]),
    "row": (Y[None, :], ValueError, ["y must have one target for each of the 6 rows", "(1, 6)"]),
    "strings": (["a", "b", "c"] * 2, ValueError, ["y must be an array of real numbers", "strings"]),
    "nan": (with_value(Y, np.nan, 5), ValueError, ["y must be finite", "nan", "[5]"]),
    "inf": (with_value(Y, np.inf, 5), ValueError, ["y must be finite", "inf", "[5]"]),
    "ragged": ([[0], [1], [2], [0], [1], [2, 3]], ValueError, ["y must be an array of numbers", "unequal length"]),
    "None": (None, ValueError, ["y must be an array of real numbers", "NoneType"]),
    "complex": (Y + 0j, ValueError, ["y must be an array of real numbers", "complex128"]),
    "objects": (Y.astype(object), ValueError, ["y must be an array of real numbers", "object"]),
    "rows that do not sum to 1": (np.ones((6, 3)), GateError, ["probabilities", "sum to 1"]),
    "rows with a negative": (np.tile([1.5, -0.5, 0.0], (6, 1)), GateError, ["probabilities", ">= 0"]),
    "rows of another width": (np.eye(2)[Y % 2], GateError, ["labels must have shape (6,)", "(6, 2)"]),
}


@pytest.mark.parametrize("method", ["train", "calculate_loss", "gradients", "objective"])
@pytest.mark.parametrize("case", BAD_Y)
def test_targets(model, case, method):
    """Whatever takes y refuses a bad y."""
    bad, error, parts = BAD_Y[case]
    refused(error, parts, getattr(model, method), X, bad)


# Output, number of scores, y, what the message must hold.
BAD_TARGETS_OF_OUTPUTS = [
    (Logistic(), 1, Y, ["0, 1, or a probability between", "got 2"]),
    (Logistic(), 1, Y - 1, ["0, 1, or a probability between", "got -1"]),
    (Logistic(), 3, Y, ["shape of the scores, (6, 3)", "(6,)"]),
    (Hinge(), 1, Y, ["labels must be in 0..1", "got 2", "position 2"]),
    (Hinge(), 3, Y + 1, ["labels must be in 0..2", "got 3", "position 2"]),
    (SquaredError(), 2, Y, ["shape of the scores, (6, 2)", "(6,)"]),
    (SquaredError(), 1, np.ones((6, 2)), ["shape of the scores, (6, 1)", "(6, 2)"]),
    (Huber(), 2, np.ones((6, 3)), ["shape of the scores, (6, 2)", "(6, 3)"]),
    (Softmax(), 1, Y, ["two or more classes", "(6, 1)"]),
    (Softmax(class_weight=[1.0, 2.0]), 3, Y, ["each of the 3 classes", "[1.0, 2.0]"]),
    (Softmax(class_weight={5: 1.0}), 3, Y, ["each of the 3 classes", "{5: 1.0}"]),
    (Softmax(class_weight=[0, 0, 1]), 3, Y * 0, ["weights", "zero"]),
]


@pytest.mark.parametrize(("output", "columns", "y", "parts"), BAD_TARGETS_OF_OUTPUTS, ids=lambda v: repr(v)[:40])
@pytest.mark.parametrize("method", ["train", "calculate_loss"])
def test_targets_of_outputs(output, columns, y, parts, method):
    """Each output refuses the targets that it cannot have."""
    model = Model([2, columns], output=output, random_state=0)
    before = state(model)
    refused(GateError, parts, getattr(model, method), X, y)
    assert state(model) == before


@pytest.mark.parametrize("output", [Hinge(), SquaredError()])
def test_no_probabilities(output):
    """An output that models no probabilities says which do."""
    model = Model([2, 3], output=output)
    refused(GateError, [type(output).__name__, "no probabilities", "Softmax"], model.predict_proba, X)


# --- Numbers ---------------------------------------------------------------------------------------------------------

# id: keyword arguments of train, what the message must hold.
BAD_NUMBERS = {
    **{
        f"{name} {value!r}"[:22]: ({name: value}, [name, "must be", f"{value!r}"[:20]])
        for name in ("epsilon", "reg_lambda")
        for value in (-0.01, np.nan, np.inf, -np.inf, "fast", "0.01", None, [0.1], 1j, np.array([0.1, 0.2]), 10**400)
    },
    **{
        f"num_passes {value!r}": ({"num_passes": value}, ["num_passes must be an integer", f"{value!r}"])
        for value in (-1, 1.5, 10.0, np.nan, np.inf, "10", None, [10], True, np.float64(3))
    },
}


@pytest.mark.parametrize("case", BAD_NUMBERS)
def test_numbers(model, case):
    """Rates, penalties and numbers of passes that make no sense are refused before training."""
    settings, parts = BAD_NUMBERS[case]
    refused(ValueError, parts, model.train, X, Y, **{"num_passes": 3, **settings})


@pytest.mark.parametrize("value", [-1.0, np.nan, "much"])
def test_penalty_of_the_objective(model, value):
    """The objective refuses a bad penalty as train does."""
    refused(ValueError, ["reg_lambda must be"], model.objective, X, Y, value)


# --- Architectures and settings --------------------------------------------------------------------------------------


def constant_initializer(result):
    """Return an initializer that always returns this."""
    return lambda _rng, _m, _n: result


W22, W22_32 = (Parameter(np.ones((2, 2), t), f"W{i}") for i, t in enumerate((np.float64, np.float32)))

# id: positional and keyword arguments of Model, error, what the message must hold.
BAD_MODELS = {
    "no widths": ([[]], {}, GraphError, ["two or more widths", "[2, 3, 2]", "got []"]),
    "one width": ([[2]], {}, GraphError, ["two or more widths", "got [2]"]),
    "a number": ([3], {}, GraphError, ["two or more widths", "got 3"]),
    "an array of no axes": ([np.array(3)], {}, GraphError, ["two or more widths", "got array(3)"]),
    "a string": (["23"], {}, GraphError, ["two or more widths", "got '23'"]),
    "None": ([None], {}, GraphError, ["two or more widths", "got None"]),
    "a set": ([{2, 3}], {}, GraphError, ["two or more widths", "got {2, 3}"]),
    "a dict": ([{2: 3, 3: 4}], {}, GraphError, ["two or more widths", "got {2: 3"]),
    "no input": ([[0, 2]], {}, ValueError, ["input width", ">= 1", "got 0"]),
    "Dense as input": ([[Dense(2), 2]], {}, ValueError, ["input width must be an integer", "Dense(width=2"]),
    "no hidden units": ([[2, 0, 2]], {}, ValueError, ["width", ">= 1", "got 0"]),
    "no outputs": ([[2, 3, 0]], {}, ValueError, ["width", ">= 1", "got 0"]),
    "negative": ([[2, -3, 2]], {}, ValueError, ["width", ">= 1", "got -3"]),
    "fractional": ([[2, 3.5, 2]], {}, ValueError, ["width must be an integer", "got 3.5"]),
    "whole but float": ([[2, 3.0, 2]], {}, ValueError, ["width must be an integer", "got 3.0"]),
    "array of floats": ([np.array([2.0, 3.0])], {}, ValueError, ["width must be an integer", "2.0"]),
    "matrix": ([np.ones((2, 2), int)], {}, ValueError, ["width must be an integer", "array([1, 1])"]),
    "nan": ([[2, np.nan, 2]], {}, ValueError, ["width must be an integer", "got nan"]),
    "bool": ([[2, True, 2]], {}, ValueError, ["width must be an integer", "got True"]),
    "numpy bool": ([[2, np.True_, 2]], {}, ValueError, ["width must be an integer", "True"]),
    "string width": ([[2, "3", 2]], {}, ValueError, ["width must be an integer", "got '3'"]),
    "None width": ([[2, None, 2]], {}, ValueError, ["width must be an integer", "got None"]),
    "a gate of two inputs among widths": ([[2, 3, AddGate(), 2]], {}, ValueError, ["AddGate takes 2 inputs", "got 1"]),
    "a gate's class among widths": ([[2, 3, Tanh, 2]], {}, GraphError, ["instances", "write Tanh()"]),
    "dropout's class": ([[2, 3, Dropout, 2]], {}, GraphError, ["instances", "write Dropout()"]),
    "an output among widths": ([[2, 3, Softmax(), 2]], {}, ValueError, ["is an output, no layer"]),
    "no width after the first": ([[2, Dropout(0.5)]], {}, GraphError, ["needs a width or a Dense"]),
    "layer a class": ([[2, 3, 2]], {"layer": Tanh}, None, ["layer must be an instance of Gate", "write Tanh()"]),
    "layer a class, unused": ([[2, 2]], {"layer": Tanh}, None, ["layer must be an instance of Gate", "write Tanh()"]),
    "layer a name": ([[2, 3, 2]], {"layer": "tanh"}, None, ["layer must be an instance of Gate", "got 'tanh'"]),
    "layer a function": ([[2, 3, 2]], {"layer": np.tanh}, None, ["layer must be an instance of Gate", "tanh"]),
    "last_layer a class": ([[2, 3, 2]], {"last_layer": ReLU}, None, ["layer must be an instance", "write ReLU()"]),
    "layer of two inputs": ([[2, 3, 2]], {"layer": AddGate()}, GateError, ["AddGate takes 2 inputs (X, b), got 1"]),
    "output a layer": ([[2, 3, 2]], {"output": Tanh()}, None, ["output", "OutputGate", "got Tanh()"]),
    "output a class": ([[2, 3, 2]], {"output": Softmax}, None, ["output", "OutputGate", "write Softmax()"]),
    "output None": ([[2, 3, 2]], {"output": None}, None, ["output", "OutputGate", "got None"]),
    "initializer no function": ([[2, 2]], {"initializer": "he"}, None, ["initializer", "'he'"]),
    "initializer None": ([[2, 2]], {"initializer": None}, None, ["initializer", "None"]),
    "initial W transposed": (
        [[2, 3]],
        {"initializer": constant_initializer((np.ones((3, 2)), np.ones(3)))},
        None,
        ["initializer's W must have shape (2, 3), got (3, 2)"],
    ),
    "initial b a row": (
        [[2, 3]],
        {"initializer": constant_initializer((np.ones((2, 3)), np.ones((1, 3))))},
        None,
        ["initializer's b must have shape (3,), got (1, 3)"],
    ),
    "initial W alone": ([[3, 4]], {"initializer": constant_initializer(np.ones((3, 4)))}, None, ["initializer"]),
    "initial nothing": ([[3, 4]], {"initializer": constant_initializer(None)}, None, ["initializer", "None"]),
    "initial strings": (
        [[1, 1]],
        {"initializer": constant_initializer(([["a"]], ["b"]))},
        None,
        ["initializer", "real numbers"],
    ),
    "initial complex": (
        [[1, 1]],
        {"initializer": constant_initializer((np.array([[1j]]), np.zeros(1)))},
        None,
        ["initializer", "complex"],
    ),
    "int": ([[2, 2]], {"dtype": int}, ValueError, ["dtype must be float64 or float32", "int"]),
    "float16": ([[2, 2]], {"dtype": np.float16}, ValueError, ["dtype must be float64 or float32", "float16"]),
    "complex": ([[2, 2]], {"dtype": complex}, ValueError, ["dtype must be float64 or float32", "complex"]),
    "no dtype": ([[2, 2]], {"dtype": "real"}, ValueError, ["dtype must be float64 or float32", "'real'"]),
    "negative seed": ([[2, 2]], {"random_state": -1}, ValueError, ["random_state must be", "got -1"]),
    "large seed": ([[2, 2]], {"random_state": 2**32}, ValueError, ["random_state must be", "2**32-1", "4294967296"]),
    "fractional seed": ([[2, 2]], {"random_state": 0.5}, ValueError, ["random_state must be", "got 0.5"]),
    "string seed": ([[2, 2]], {"random_state": "0"}, ValueError, ["random_state must be", "got '0'"]),
    "global generator": ([[2, 2]], {"random_state": np.random}, ValueError, ["random_state must be", "numpy.random"]),
    "no Input": ([W22 @ np.ones((2, 2))], {}, GraphError, ["exactly one Input", "got none"]),
    "two Inputs": (
        [Input("left") @ W22 + Input("right")],
        {},
        GraphError,
        ["exactly one Input", "'left'", "'right'"],
    ),
    "an Input called y": ([Input("y") @ W22], {}, GraphError, ["two nodes are called 'y'"]),
    "no parameters": ([Tanh()(Input("X"))], {}, GraphError, ["parameters"]),
    "mixed dtypes": (
        [Input("X") @ W22 @ W22_32],
        {},
        GraphError,
        ["parameters", "one dtype", "float32", "float64"],
    ),
    "twice the same Input": ([[Input("X"), 2]], {}, ValueError, ["input width must be an integer", "<Input 'X'>"]),
}


@pytest.mark.parametrize("case", BAD_MODELS)
def test_models(case):
    """An architecture or setting that makes no sense is refused; None stands for any ValueError."""
    args, kwargs, error, parts = BAD_MODELS[case]
    with pytest.raises(error or ValueError) as caught:
        Model(*args, **kwargs)
    assert isinstance(caught.value, ValueError)
    missing = [part for part in parts if part not in str(caught.value)]
    assert not missing, f"{missing} not in: {caught.value}"


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        ([0], ["width", ">= 1", "got 0"]),
        ([-2], ["width", ">= 1", "got -2"]),
        ([2.5], ["width must be an integer", "got 2.5"]),
        ([True], ["width must be an integer", "got True"]),
        (["3"], ["width must be an integer", "got '3'"]),
        ([3, Tanh], ["layer must be an instance of Gate", "write Tanh()"]),
        ([3, "tanh"], ["layer must be an instance of Gate", "got 'tanh'"]),
        ([3, MultiplyGate()], ["MultiplyGate takes 2 inputs (W, X), got 1"]),
        ([3, Softmax()], ["is an output, no layer", "SoftmaxLayer()"]),
    ],
    ids=repr,
)
def test_dense(args, parts):
    """A Dense layer is checked where it is written."""
    with pytest.raises(ValueError, match=r".") as caught:
        Dense(*args)
    missing = [part for part in parts if part not in str(caught.value)]
    assert not missing, f"{missing} not in: {caught.value}"


@pytest.mark.parametrize(
    ("name", "i", "value", "error", "parts"),
    [
        ("W", 0, np.ones((3, 2)), GraphError, ["W1", "(2, 3)", "got (3, 2)"]),
        ("W", 0, np.ones(3), GraphError, ["W1", "(2, 3)", "got (3,)"]),
        ("b", 1, np.ones((1, 3)), GraphError, ["b2", "(3,)", "got (1, 3)"]),
        ("b", 1, 0.0, GraphError, ["b2", "(3,)", "got ()"]),
        ("b", 0, ["a", "b", "c"], GraphError, ["b1", "real numbers", "strings"]),
        ("b", 0, [1j, 0, 0], GraphError, ["b1", "real numbers", "complex"]),
    ],
    ids=repr,
)
def test_assigned_weights(model, name, i, value, error, parts):
    """Assigned weights must fit: nothing is broadcast into a parameter."""
    refused(error, parts, getattr(model, name).__setitem__, i, value)


@pytest.mark.parametrize("value", ["a", [[1.0], [2.0, 3.0]], 1j, None, object()], ids=repr)
@pytest.mark.parametrize("kind", [Parameter, Constant])
def test_values_of_nodes(kind, value):
    """Parameters and constants hold real numbers."""
    refused(GraphError, ["constant" if kind is Constant else "Parameter", "numbers"], kind, value)


# --- Gates that break their contract, in a model ---------------------------------------------------------------------


class Breaks(Gate):
    """``Z = X``, until `result` is set: then the forward or the backward returns what that makes of its result."""

    def __init__(self):
        self.where, self.result = None, None

    def forward(self, X):
        return self.result(X * 1.0) if self.where == "forward" else X * 1.0

    def backward(self, X, dZ):
        return self.result(dZ) if self.where == "backward" else dZ


# id: where, what it returns in place of the array, what the message must hold.
BREACHES = {
    "two gradients": ("backward", lambda d: (d, d), ["must return 1 gradient", "for each of Z1", "got 2"]),
    "no gradients": ("backward", lambda _: (), ["must return 1 gradient", "got 0"]),
    "a column": ("backward", lambda d: d[:, :1], ["gradient of Z1", "shape of Z1, (6, 3)", "got (6, 1)"]),
    "transposed": ("backward", lambda d: d.T, ["gradient of Z1", "(6, 3)", "got (3, 6)"]),
    "an axis more": ("backward", lambda d: np.stack([d, d]), ["gradient of Z1", "(6, 3)", "got (2, 6, 3)"]),
    "summed": ("backward", lambda d: d.sum(), ["gradient of Z1", "(6, 3)", "got ()"]),
    "float32": ("backward", lambda d: d.astype(np.float32), ["gradient of Z1", "dtype float64", "got float32"]),
    "int": ("backward", lambda d: d.astype(int), ["gradient of Z1", "dtype float64", "got int64"]),
    "complex": ("backward", lambda d: d + 0j, ["gradient of Z1", "dtype float64", "got complex128"]),
    "objects": ("backward", lambda d: d.astype(object), ["gradient of Z1", "dtype float64", "got object"]),
    "a string": ("backward", lambda _: "dX", ["gradient of Z1", "must be an array", "str"]),
    "a list of lists": ("backward", lambda d: d.tolist(), ["must return 1 gradient", "got 6"]),
    "an error": ("backward", lambda d: d @ d, ["backward failed for Z1 (6, 3), dZ (6, 3)", "matmul"]),
    "Z float32": ("forward", lambda Z: Z.astype(np.float32), ["forward must return float64", "got float32"]),
    "Z complex": ("forward", lambda Z: Z + 0j, ["forward's result must be", "real numbers", "complex128"]),
    "Z None": ("forward", lambda _: None, ["forward's result must be an array", "NoneType"]),
    "Z a tuple": ("forward", lambda Z: (Z,), ["forward's result must be an array", "tuple"]),
    "Z an error": ("forward", lambda Z: Z @ Z, ["forward failed for inputs Z1 (6, 3)", "matmul"]),
}


@pytest.mark.parametrize("method", ["train", "gradients", "objective"])
@pytest.mark.parametrize("case", BREACHES)
def test_broken_gates(case, method):
    """A gate that breaks its contract is named with its node, and the model stays as it was."""
    where, result, parts = BREACHES[case]
    gate, sound = Breaks(), Breaks()
    model, expected = Model([2, Dense(3, gate), 3], random_state=0), Model([2, Dense(3, sound), 3], random_state=0)
    model.train(X, Y, num_passes=3)
    before = state(model)
    gate.where, gate.result = where, result
    refused(GateError, ["Breaks at node 'A1'", *parts], getattr(model, method), X, Y)
    assert state(model) == before
    gate.where = None
    model.train(X, Y, num_passes=3)
    expected.train(X, Y, num_passes=6)
    assert state(model) == state(expected)


@pytest.mark.parametrize("case", BREACHES)
def test_broken_gates_at_the_start(case):
    """In the very first pass too nothing stays behind: neither a step nor a loss."""
    where, result, parts = BREACHES[case]
    gate = Breaks()
    model = Model([2, Dense(3, gate), 3], random_state=0)
    before = state(model)
    gate.where, gate.result = where, result
    refused(GateError, ["Breaks at node 'A1'", *parts], model.train, X, Y)
    assert state(model) == before


def test_broken_gate_on_other_data():
    """A training on other data that fails leaves the history of the first."""
    gate = Breaks()
    model = Model([2, Dense(3, gate), 3], random_state=0)
    model.train(X, Y, num_passes=3)
    before = state(model)
    gate.where, gate.result = "backward", lambda d: (d, d)
    refused(GateError, ["must return 1 gradient"], model.train, 2 * X, Y)
    assert state(model) == before


def test_gradient_wider_than_one_example():
    """With one example, a gradient of several rows is no broadcast one: it is refused."""
    gate = Breaks()
    model = Model([2, Dense(3, gate), 3], random_state=0)
    gate.where, gate.result = "backward", lambda d: np.repeat(d, 4, axis=0)
    refused(GateError, ["Breaks at node 'A1'", "(1, 3)", "got (4, 3)"], model.gradients, X[:1], Y[:1])


# --- Graphs ----------------------------------------------------------------------------------------------------------

x, y, w = Input("x"), Input("y"), Parameter(np.ones((2, 3)), "w")
other = Tanh()(Input("z"), name="t")
scalar = Graph(x * y)
matrix = Graph(MultiplyGate()(w, x, name="product") + y)
both = Graph(x * 2.0, Tanh()(y, name="tanh"))


def after_forward(graph, upstream, **feeds):
    """Differentiate after a forward."""
    graph.forward(**feeds)
    graph.backward(upstream)


# id: what is called, error, what the message must hold.
BAD_GRAPHS = {
    "no inputs": (AddGate(), GateError, ["AddGate takes 2 inputs (X, b), got 0"]),
    "one input too few": (lambda: AddGate()(x), GateError, ["AddGate takes 2 inputs (X, b), got 1"]),
    "one input too many": (lambda: Tanh()(x, y), GateError, ["Tanh takes 1 input (X), got 2"]),
    "no outputs": (Graph, GraphError, ["at least one output"]),
    "no node": (lambda: Graph(3.0), GraphError, ["made of nodes", "got 3.0"]),
    "an array": (lambda: Graph(np.ones(2)), GraphError, ["made of nodes", "array"]),
    "a list of nodes": (lambda: Graph([x]), GraphError, ["made of nodes", "[<Input 'x'>]"]),
    "a gate": (lambda: Graph(x, Tanh()), GraphError, ["made of nodes", "Tanh()"]),
    "two Inputs of one name": (lambda: Graph(x + Input("x")), GraphError, ["two nodes are called 'x'", "<Input 'x'>"]),
    "missing": (lambda: scalar.forward(x=1.0), GraphError, ["inputs are missing", "'y'", "forward(name=...)"]),
    "both missing": (scalar.forward, GraphError, ["inputs are missing", "'x'", "'y'"]),
    "unknown": (lambda: scalar.forward(x=1.0, y=2.0, q=3.0), GraphError, ["'q'", "this graph has x, y"]),
    "not hashable as a name": (lambda: scalar.forward({1: 2.0}), GraphError, ["1", "this graph has x, y"]),
    "fed twice": (lambda: scalar.forward({x: 1.0}, x=1.0, y=1.0), GraphError, ["input 'x' is fed twice"]),
    "fed by node and name": (lambda: scalar.forward({x: 1.0, "x": 2.0, y: 3.0}), GraphError, ["'x' is fed twice"]),
    "a parameter fed": (lambda: matrix.forward(x=1.0, y=1.0, w=1.0), GraphError, ["'w' is not an input"]),
    "a value fed": (lambda: matrix.forward({"product": 1.0}), GraphError, ["'product' is not an input"]),
    "not a mapping": (lambda: scalar.forward(np.ones(3)), GraphError, ["feeds", "mapping"]),
    "a list of feeds": (lambda: scalar.forward([1.0, 2.0]), GraphError, ["feeds", "mapping"]),
    "another graph's input fed": (
        lambda: scalar.forward({x: 1.0, y: 1.0, other.inputs[0]: 1.0}),
        GraphError,
        ["<Input 'z'>", "another graph"],
    ),
    "a namesake fed": (lambda: scalar.forward({Input("x"): 1.0, y: 1.0}), GraphError, ["<Input 'x'>", "another graph"]),
    "another graph's value": (
        lambda: scalar.forward(x=1.0, y=1.0)[other],
        GraphError,
        ["<Tanh() 't'>", "another graph"],
    ),
    "unknown value": (lambda: scalar.forward(x=1.0, y=1.0)["q"], GraphError, ["'q'", "this graph has x, y"]),
    "value by number": (lambda: scalar.forward(x=1.0, y=1.0)[0], GraphError, ["0", "this graph has x, y"]),
    "strings fed": (lambda: scalar.forward(x="a", y=1.0), GraphError, ["input 'x'", "real numbers", "strings"]),
    "ragged fed": (lambda: scalar.forward(x=[[1], [1, 2]], y=1.0), GraphError, ["input 'x'", "unequal length"]),
    "None fed": (lambda: scalar.forward(x=None, y=1.0), GraphError, ["input 'x'", "real numbers", "NoneType"]),
    "complex fed": (lambda: scalar.forward(x=1j, y=1.0), GraphError, ["input 'x'", "real numbers", "complex"]),
    "shapes": (
        lambda: matrix.forward(x=np.ones((4, 5)), y=1.0),
        GateError,
        ["MultiplyGate at node 'product'", "w (2, 3)", "x (4, 5)"],
    ),
    "shapes of a sum": (
        lambda: matrix.forward(x=np.ones((4, 2)), y=np.ones(2)),
        GateError,
        ["AddGate at node 'Add'", "product (4, 3)", "y (2,)"],
    ),
    "shapes of arrays": (
        lambda: MultiplyGate()(np.ones((2, 3)), np.ones((4, 5))),
        GateError,
        ["MultiplyGate", "W (2, 3)", "X (4, 5)"],
    ),
    "backward first": (
        lambda: Graph(x).backward(),
        GraphError,
        ["needs the values of a forward", "graph.forward("],
    ),
    "no upstream": (
        lambda: after_forward(scalar, None, x=np.ones(3), y=1.0),
        GraphError,
        ["shape (3,)", "no scalar", "upstream"],
    ),
    "upstream of several": (
        lambda: after_forward(both, np.ones(3), x=np.ones(3), y=1.0),
        GraphError,
        ["several outputs", "ElementwiseProduct, tanh", "dict"],
    ),
    "no upstream of several": (
        lambda: after_forward(both, None, x=1.0, y=1.0),
        GraphError,
        ["several outputs", "ElementwiseProduct, tanh", "dict"],
    ),
    "upstream too short": (
        lambda: after_forward(scalar, np.ones(2), x=np.ones(3), y=1.0),
        GraphError,
        ["upstream gradient of 'ElementwiseProduct'", "(3,)", "got (2,)"],
    ),
    "upstream a number": (
        lambda: after_forward(scalar, 1.0, x=np.ones(3), y=1.0),
        GraphError,
        ["upstream gradient of 'ElementwiseProduct'", "(3,)", "got ()"],
    ),
    "upstream that would broadcast": (
        lambda: after_forward(both, {"tanh": np.ones((1, 3))}, x=1.0, y=np.ones(3)),
        GraphError,
        ["upstream gradient of 'tanh'", "(3,)", "got (1, 3)"],
    ),
    "upstream strings": (lambda: after_forward(scalar, "1", x=1.0, y=1.0), GraphError, ["upstream", "strings"]),
    "upstream of an input": (
        lambda: after_forward(scalar, {"x": 1.0}, x=1.0, y=1.0),
        GraphError,
        ["'x' is not an output"],
    ),
    "upstream of another graph": (
        lambda: after_forward(scalar, {other: 1.0}, x=1.0, y=1.0),
        GraphError,
        ["<Tanh() 't'>", "another graph"],
    ),
    "upstream unknown": (lambda: after_forward(scalar, {"q": 1.0}, x=1.0, y=1.0), GraphError, ["'q'"]),
    "upstream twice": (
        lambda: after_forward(both, {both.outputs[1]: 1.0, "tanh": 2.0}, x=1.0, y=1.0),
        GraphError,
        ["'tanh'", "twice"],
    ),
    "upstream empty": (
        lambda: after_forward(both, {}, x=1.0, y=1.0),
        GraphError,
        ["no upstream gradient is given"],
    ),
    "labels": (
        lambda: Graph(Softmax()(x, y, name="loss")).forward(x=np.ones((2, 3)), y=[0, 7]),
        GateError,
        ["Softmax at node 'loss'", "0..2", "got 7", "position 1"],
    ),
}


@pytest.mark.parametrize("case", BAD_GRAPHS)
def test_graphs(case):
    """A graph that is built, fed or asked wrongly says so, and its parameters stay."""
    call, error, parts = BAD_GRAPHS[case]
    refused(error, parts, call)
    assert (w.value == 1).all()
    assert scalar.forward(x=2.0, y=3.0)[scalar.outputs[0]] == 6


def test_word_labels_are_told_to_be_numbered(model):
    """Labels that are words: the message has the line that numbers them."""
    refused(ValueError, ["y must be", "strings", "np.unique(y, return_inverse=True)"], model.train, X, list("abcabc"))


def test_many_names_are_cut_short():
    """The message about an unknown name lists some of the names, not thousands."""
    node = x
    for _ in range(1000):
        node = Tanh()(node)
    with pytest.raises(GraphError, match=r"no node is called 'q'.*\.\.\.") as caught:
        Graph(node).forward(x=1.0)["q"]
    assert len(str(caught.value)) < 500
