"""`Model.diagnose`: sick nets are found by name, healthy ones are told nothing, and nothing is changed."""

import copy
import io
import math
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from rich.console import Console
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine, make_moons

from gates import (
    ELU,
    GELU,
    AbsoluteError,
    GatherGate,
    Hinge,
    Huber,
    LeakyReLU,
    LogGate,
    Logistic,
    OutputGate,
    ReLU,
    ReshapeGate,
    Sigmoid,
    Softmax,
    SoftmaxLayer,
    Softplus,
    SquaredError,
    Tanh,
)
from nngraph import BatchNorm, Dense, Dropout, Input, LayerNorm, Model, Parameter
from nngraph.diagnosis import Diagnosis, Finding, evidence, motion
from nngraph.initializers import glorot_uniform
from nngraph.initializers import he_normal as he
from nngraph.optimizers import Adam, GradientDescent, Optimizer, RMSprop


def scaled(X):
    X = np.asarray(X, float)
    spread = X.std(axis=0)
    return (X - X.mean(axis=0)) / np.where(spread > 0, spread, 1)


def moons():
    return make_moons(200, noise=0.2, random_state=0)


def digits():
    X, y = load_digits(return_X_y=True)
    return X[:600] / 16, y[:600]


def iris():
    X, y = load_iris(return_X_y=True)
    return scaled(X), y


def wine():
    X, y = load_wine(return_X_y=True)
    return scaled(X), y


def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return scaled(X), y


def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return scaled(X), scaled(y)


def several_labels():
    X, y = digits()
    return X, np.column_stack([y % 2 == 0, y >= 5, y == 3]).astype(int)


def one_hot():
    X, y = digits()
    return X, np.eye(10)[y]


def words():
    """Return row numbers of an embedding, five to an example, and whether there is a 3 among them."""
    X = np.random.default_rng(0).integers(0, 12, (300, 5))
    return X, (X == 3).any(axis=1).astype(int)


def embedding():
    rng = np.random.default_rng(0)
    X = Input("X", dtype=int)
    rows = ReshapeGate((-1, 20))(GatherGate()(Parameter(rng.standard_normal((12, 4)), "E"), X))
    hidden = Tanh()(rows @ Parameter(0.3 * rng.standard_normal((20, 16)), "W1") + Parameter(np.zeros(16), "b1"))
    return Model(hidden @ Parameter(0.3 * rng.standard_normal((16, 2)), "W2") + Parameter(np.zeros(2), "b2"))


def residual():
    rng = np.random.default_rng(0)
    X = Input("X")
    A = X
    for i in range(1, 7):
        Z = A @ Parameter(rng.standard_normal((13, 13)) / 6, f"W{i}") + Parameter(np.zeros(13), f"b{i}")
        A = A + Tanh()(Z, name=f"A{i}")
    return Model(A @ Parameter(0.1 * rng.standard_normal((13, 3)), "W"))


def norm(layers, layer, before=()):
    return Model([64, *[x for _ in range(layers) for x in (Dense(32), *before, layer)], 10],
                 initializer=he, random_state=0)  # fmt: skip


class HalfSlope(OutputGate):
    """A squared error that has forgotten the 2."""

    def losses(self, scores, targets):
        return (scores - targets) ** 2

    def slopes(self, scores, targets):
        return scores - targets


class RightSlope(HalfSlope):
    def slopes(self, scores, targets):
        return 2 * (scores - targets)


# A net, its data, and how many epochs it trains after the first look.
HEALTHY = {
    "moons, tanh": (lambda: Model([2, 8, 2], random_state=0), moons, 100),
    "moons, tanh, sharpened": (lambda: Model([2, 8, 2], random_state=0), moons, 2000),
    "moons, ReLU": (lambda: Model([2, 32, 32, 2], layer=ReLU(), initializer=he, random_state=0), moons, 100),
    "moons, ReLU, Glorot": (lambda: Model([2, 16, 16, 2], layer=ReLU(), random_state=1), moons, 100),
    "moons, no hidden layer": (lambda: Model([2, 2], random_state=0), moons, 50),
    "moons, one column": (lambda: Model([2, 8, 1], output=Logistic(), random_state=0), moons, 50),
    "moons, hinge": (lambda: Model([2, 8, 2], output=Hinge(), random_state=0), moons, 50),
    "moons, hinge, sharpened": (lambda: Model([2, 8, 2], output=Hinge(), random_state=0), moons, 2000),
    "diabetes, an output of one's own": (
        lambda: Model([10, 20, 1], output=RightSlope(), random_state=0), diabetes, 300,
    ),
    "moons, float32": (lambda: Model([2, 16, 2], dtype=np.float32, random_state=0), moons, 100),
    "moons, no bias": (lambda: Model([2, 16, 2], use_bias=False, layer=ReLU(), random_state=0), moons, 50),
    "digits, ReLU": (lambda: Model([64, 50, 10], layer=ReLU(), random_state=0), digits, 20),
    "digits, sigmoid": (lambda: Model([64, 30, 10], layer=Sigmoid(), random_state=0), digits, 20),
    "digits, sigmoid twice": (lambda: Model([64, 30, 30, 10], layer=Sigmoid(), random_state=0), digits, 20),
    "digits, dropout": (
        lambda: Model([64, Dense(100, ReLU()), Dropout(0.5), Dense(100, ReLU()), Dropout(0.5), 10], random_state=0),
        digits, 20,
    ),
    "digits, batch norm": (lambda: norm(2, ReLU(), [BatchNorm()]), digits, 20),
    "digits, layer norm, deep": (lambda: norm(8, GELU(), [LayerNorm()]), digits, 10),
    "digits, He, ten layers": (lambda: norm(10, ReLU()), digits, 10),
    "digits, tanh, ten layers": (lambda: Model([64, *[40] * 10, 10], random_state=0), digits, 10),
    "digits, several labels": (
        lambda: Model([64, 30, 3], layer=LeakyReLU(), output=Logistic(), random_state=0), several_labels, 20,
    ),
    "digits, one-hot": (lambda: Model([64, 30, 10], layer=ELU(), random_state=0), one_hot, 10),
    "digits, probabilities by squares": (
        lambda: Model([64, 30, Dense(10, SoftmaxLayer())], output=SquaredError(), random_state=0), one_hot, 20,
    ),
    "digits, zero last layer": (
        lambda: Model([64, 30, Dense(10, initializer=lambda _, m, n: (np.zeros((m, n)), np.zeros(n)))], random_state=0),
        digits, 10,
    ),
    "digits, zeros, no hidden layer": (
        lambda: Model([64, 10], initializer=lambda _, m, n: (np.zeros((m, n)), np.zeros(n))), digits, 10,
    ),
    "iris": (lambda: Model([4, 8, 3], layer=Softplus(), random_state=0), iris, 100),
    "wine, shortcuts": (residual, wine, 50),
    "cancer": (lambda: Model([30, 16, 2], layer=ReLU(), random_state=0), cancer, 50),
    "diabetes": (lambda: Model([10, 20, 1], output=SquaredError(), random_state=0), diabetes, 100),
    "diabetes, Huber": (lambda: Model([10, 20, 20, 1], layer=ReLU(), output=Huber(), random_state=0), diabetes, 50),
    "diabetes, absolute": (lambda: Model([10, 20, 1], output=AbsoluteError(), random_state=0), diabetes, 50),
    "embedding": (embedding, words, 50),
}  # fmt: skip


@pytest.mark.parametrize("case", HEALTHY)
def test_healthy_nets_are_told_nothing(case):
    """Before the training, in its course, and at its end."""
    make, data, epochs = HEALTHY[case]
    model, (X, y) = make(), data()
    told = {0: model.diagnose(X, y)}
    for part in (epochs // 5, epochs - epochs // 5):
        model.fit(X, y, epochs=part, optimizer=Adam(0.01), progress=False)
        told[part] = model.diagnose(X, y, optimizer=Adam(0.01))
    assert {stage: str(found) for stage, found in told.items() if not found.healthy} == {}
    # On a few of the examples, too, and on one.
    for rows in (1, 4):
        found = model.diagnose(X[:rows], y[:rows])
        assert found.healthy, str(found)


# --- Sick nets -------------------------------------------------------------------------------------------------------


def drawn(spread, bias=0.0):
    return lambda rng, m, n: (spread * rng.standard_normal((m, n)), np.full(n, bias))


def equal(value):
    return lambda _, m, n: (np.full((m, n), value), np.zeros(n))


def deep(layers, layer, initializer=glorot_uniform, **settings):
    return lambda: Model([64, *[40] * layers, 10], layer=layer, initializer=initializer, random_state=0, **settings)


def imbalanced(share):
    def data():
        X, _ = moons()
        return X, (np.arange(200) < 200 * (1 - share)).astype(int)

    return data


def columns(change):
    """Return data whose columns are changed."""

    def data():
        X, y = wine()
        return change(X), y

    return data


def times(j, factor):
    return columns(lambda X: X * np.where(np.arange(13) == j, factor, 1.0))


def shifted(by):
    def data():
        X, y = diabetes()
        return X, by(y)

    return data


class WrongTanh(Tanh):
    """Forgets the square."""

    def derivative(self, X):
        return 1 - np.abs(np.tanh(X))


def linear(layer, last=None, classes=3):
    return lambda: Model([13, Dense(20, layer), Dense(classes, last)], random_state=0)


REGRESSION = {"output": SquaredError(), "random_state": 0}
gd = GradientDescent
# A kind, the sick net, its data, where, words of the numbers, its healthy twin; optimisers, where they matter.
SICK = [
    ("dead ReLUs", deep(1, ReLU(), drawn(0.1, -5)), digits, "A1", "units are 0 for all 600", deep(1, ReLU()), digits),
    ("dead ReLUs", deep(3, ReLU(), drawn(0.1, -20)), digits, "A1, A2, A3", "40 of 40", deep(3, LeakyReLU()), digits),
    ("saturated units", deep(1, Tanh(), drawn(3.0)), digits, "A1", "of inputs of size", deep(1, Tanh()), digits),
    ("saturated units", deep(2, Sigmoid(), drawn(9.0)), digits, "A1, A2", "slope", deep(2, Sigmoid()), digits),
    ("vanishing gradients", deep(8, Sigmoid()), digits, "Z1", "per", deep(8, Tanh()), digits),
    ("vanishing gradients", deep(10, ReLU(), drawn(0.01)), digits, "Z1", "per", deep(10, ReLU(), he), digits),
    ("exploding gradients", deep(10, ReLU(), drawn(1.0)), digits, "Z1", "per", deep(10, ReLU(), he), digits),
    ("exploding gradients", deep(10, Tanh(), drawn(2.0)), digits, "Z1", "per", deep(10, Tanh()), digits),
    ("symmetric weights", deep(1, Tanh(), equal(0.1)), digits, "W1", "all 40", deep(1, Tanh()), digits),
    ("symmetric weights", deep(2, ReLU(), equal(0.0)), digits, "W1", "all 40", deep(2, ReLU(), drawn(0.1)), digits),
    ("probabilities given to Softmax", linear(Tanh(), SoftmaxLayer()), wine, "A2", "sum to 1", linear(Tanh()), wine),
    ("probabilities given to Softmax", lambda: Model([13, 3], last_layer=SoftmaxLayer()), wine, "A1", "sum to 1",
     lambda: Model([13, 3]), wine),
    ("probabilities given to Softmax", linear(Tanh(), Sigmoid()), wine, "A2", "are sigmoids: the loss cannot fall",
     linear(Tanh()), wine),
    ("probabilities given to Logistic", lambda: Model([2, 8, 1], last_layer=Sigmoid(), output=Logistic()), moons, "A2",
     "sigmoids", lambda: Model([2, 8, 1], output=Logistic()), moons),
    ("targets out of reach", lambda: Model([10, 8, Dense(1, ReLU())], **REGRESSION), diabetes, "A2",
     "55% of the targets are below 0", lambda: Model([10, 8, Dense(1, ReLU())], **REGRESSION),
     shifted(np.abs)),
    ("targets out of reach", lambda: Model([10, 8, Dense(1, Tanh())], **REGRESSION), diabetes, "A2",
     "below -1 or above 1", lambda: Model([10, 8, Dense(1, Tanh())], **REGRESSION), shifted(np.tanh)),
    ("targets out of reach", lambda: Model([2, 8, Dense(1, ReLU())], output=Logistic(), random_state=0), moons, "A2",
     "class 0 is never predicted", lambda: Model([2, 8, 1], output=Logistic(), random_state=0), moons),
    ("dominant class", lambda: Model([2, 4, 2], random_state=0), imbalanced(0.95), "y", "94.5% of the 200 labels are 0",
     lambda: Model([2, 4, 2], random_state=0), imbalanced(0.8)),
    ("dominant class", lambda: Model([2, 4, 1], output=Logistic(), random_state=0), imbalanced(0.03), "y", "97.0%",
     lambda: Model([2, 4, 1], output=Logistic(class_weight={0: 30.0, 1: 1.0}), random_state=0), imbalanced(0.03)),
    ("dominant class", lambda: Model([2, 4, 2], random_state=0), imbalanced(1.0), "y", "100.0%",
     lambda: Model([2, 4, 2], random_state=0), imbalanced(0.5)),
    ("classes without examples", linear(Tanh(), classes=5), wine, "y", "of 5 classes 2 have no example, the first is 3",
     linear(Tanh()), wine),
    ("classes without examples", lambda: Model([2, 4, 3], random_state=0), moons, "y", "the first is 2",
     lambda: Model([2, 4, 2], random_state=0), moons),
    ("unscaled features", linear(Tanh()), times(4, 100.0), "X", "1 of 13 columns are larger than 10; column 4",
     linear(Tanh()), times(4, 3.0)),
    ("unscaled features", linear(ReLU()), columns(lambda X: 255 * X), "X", "13 of 13",
     lambda: Model([13, BatchNorm(), Dense(20, ReLU()), 3], random_state=0), columns(lambda X: 255 * X)),
    ("unscaled features", linear(Tanh()), columns(lambda X: 1e-4 * X), "X", "size 0.0001", linear(Tanh()), wine),
    ("constant features", linear(Tanh()), columns(lambda X: np.where(np.arange(13) < 8, 1.0, X)), "X", "8 of 13",
     linear(Tanh()), columns(lambda X: np.where(np.arange(13) < 3, 1.0, X))),
    ("constant features", linear(Tanh()), columns(np.zeros_like), "X", "13 of 13", linear(Tanh()), wine),
    ("unscaled targets", lambda: Model([10, 8, 1], **REGRESSION), shifted(lambda y: 100 * y), "y", "size 1e+02",
     lambda: Model([10, 8, 1], **REGRESSION), diabetes),
    ("unscaled targets", lambda: Model([10, 8, 1], output=Huber(), random_state=0), shifted(lambda y: y + 2000), "y",
     "mean 2e+03 and spread 1", lambda: Model([10, 8, 1], output=Huber(), random_state=0), shifted(lambda y: y + 1)),
    ("worse than guessing", deep(2, ReLU(), drawn(1.0)), digits, "loss", "2.3 for the best", deep(2, ReLU()), digits),
    ("worse than guessing", lambda: Model([10, 50, 1], layer=ReLU(), initializer=drawn(2.0), **REGRESSION), diabetes,
     "loss", "1 for the best", lambda: Model([10, 50, 1], layer=ReLU(), **REGRESSION), diabetes),
    ("steps too large", linear(ReLU()), wine, "W", "times as long", linear(ReLU()), wine, gd(30.0), gd(0.3)),
    ("steps too large", deep(2, Tanh()), digits, "W", "10 of them", deep(2, Tanh()), digits,
     RMSprop(0.3), RMSprop(0.001)),
    ("steps too large", lambda: Model([10, 8, 1], **REGRESSION), diabetes, "W", "1 of them take the loss from",
     lambda: Model([10, 8, 1], **REGRESSION), diabetes, gd(1e200), gd(0.01)),
    ("steps too small", linear(ReLU()), wine, "W", "no other is larger", linear(ReLU()), wine, gd(1e-6), gd(0.1)),
    ("steps too small", deep(2, Tanh()), digits, "W", "times as long", deep(2, Tanh()), digits, Adam(1e-7), Adam(1e-4)),
    ("wrong gradient", lambda: Model([10, 8, 1], output=HalfSlope()), diabetes, "b2", "by backpropagation",
     lambda: Model([10, 8, 1], output=RightSlope()), diabetes),
    ("wrong gradient", linear(WrongTanh()), wine, "b1", "by backpropagation", linear(Tanh()), wine),
    ("values not finite", lambda: Model(LogGate()(Input("X") @ Parameter(np.ones((13, 3)), "W"))), wine, "Log",
     "logarithm of a negative number", linear(Tanh()), wine),
    ("values not finite", lambda: Model([13, 20, 3], initializer=drawn(9.0)), columns(lambda X: 2e307 * X), "XW1",
     "goes up to",
     linear(ReLU()), wine),
]  # fmt: skip


@pytest.mark.parametrize("k", range(len(SICK)), ids=[f"{i} {row[0]}" for i, row in enumerate(SICK)])
def test_sick_nets_are_found_and_their_twins_are_not(k):
    """Each sickness has its name, its place, its numbers and advice; the twin has nothing at all."""
    kind, sick, data, where, numbers, twin, others, *optimizers = SICK[k]
    ill, well = optimizers or (Adam(), Adam())
    found = sick().diagnose(*data(), optimizer=ill)
    (finding,) = (x for x in found.findings if x.kind == kind)
    assert kind in found.kinds
    assert not found.healthy
    assert finding.where.startswith(where)
    assert numbers in finding.numbers
    assert 20 < len(finding.advice) < 140
    assert "\n" not in finding.advice
    healthy = twin().diagnose(*others(), optimizer=well)
    assert healthy.healthy, str(healthy)


def test_every_kind_has_two_sick_nets():
    """No rule goes untested: as many kinds as there are in the rules, each twice."""
    kinds = [row[0] for row in SICK]
    once = {"probabilities given to Logistic"}  # beside the two for Softmax
    assert {kind for kind in kinds if kinds.count(kind) < 2} == once


def test_advice_works():
    """Followed, the advice on a dominant class finds the rare one."""
    rng = np.random.default_rng(0)
    y = (rng.uniform(size=600) < 0.05).astype(int)
    X = rng.normal(size=(600, 2)) + 1.2 * y[:, None]
    recalls = []
    for weight in (None, "balanced"):
        model = Model([2, 8, 2], random_state=0)
        assert model.diagnose(X, y).kinds == ("dominant class",)
        model.fit(X, y, epochs=30, optimizer=Adam(0.01), class_weight=weight, progress=False)
        recalls.append((model.predict(X)[y == 1] == 1).mean())
    assert recalls[1] > recalls[0] + 0.3


# --- The numbers -----------------------------------------------------------------------------------------------------


def test_the_table_is_what_numpy_measures():
    """Means, spreads, shares, gradients and steps are those of the formulas."""
    X, y = digits()
    model = Model([64, Dense(30, ReLU()), Dense(20, Tanh()), Dense(10)], random_state=0)
    model.W[1] = 5 * model.W[1]
    layers = {layer.name: layer for layer in model.diagnose(X, y, optimizer=gd(0.5)).layers}
    values, gradients = model.activations(X), model.gradients(X, y)
    assert list(layers) == ["Z1", "A1", "Z2", "A2", "Z3"]
    for name, layer in layers.items():
        assert_allclose([layer.mean, layer.std], [values[name].mean(), values[name].std()], rtol=1e-9, atol=1e-12)
        assert layer.gradient == pytest.approx(np.sqrt((gradients[name] ** 2).mean()))
    assert layers["A1"].zeros == (values["A1"] == 0).mean()
    assert layers["A2"].saturated == (1 - values["A2"] ** 2 < 0.05).mean()
    assert layers["A2"].zeros is layers["A1"].saturated is layers["A1"].step is None
    for i in (1, 2, 3):
        ratio = 0.5 * np.linalg.norm(gradients[f"W{i}"]) / np.linalg.norm(model.W[i - 1])
        assert layers[f"Z{i}"].step == pytest.approx(ratio)
    assert model.diagnose(X, y).loss == pytest.approx(model.calculate_loss(X, y))


@pytest.mark.parametrize("optimizer", [gd(0.1), Adam(0.01), RMSprop(0.003)], ids=repr)
def test_steps_are_those_of_a_training(optimizer):
    """What is foretold of ten steps is what `fit` then does on full batches."""
    X, y = iris()
    model = Model([4, 8, 3], random_state=0)
    looked = evidence.Evidence(model._scorer, model.graph, model._feeds(X, y), optimizer)
    foretold = looked.descend(10)
    history = model.fit(X, y, epochs=11, batch_size=len(X), optimizer=optimizer, progress=False)
    assert_allclose(foretold, history["loss"][1:], rtol=1e-9)


BASELINES = {
    "softmax": (Softmax(), lambda y: y, lambda y: -np.log(np.bincount(y) / len(y))[y].mean()),
    "rows": (Softmax(), lambda y: np.eye(3)[y], lambda y: -np.log(np.bincount(y) / len(y))[y].mean()),
    "logistic": (
        Logistic(), lambda y: np.eye(3)[y],
        lambda y: -np.mean([p * np.log(p) + (1 - p) * np.log(1 - p) for p in np.bincount(y) / len(y)]),
    ),
    "squares": (SquaredError(), lambda y: np.eye(3)[y] * 7, lambda y: (np.eye(3)[y] * 7).var(axis=0).mean()),
    "absolute": (
        AbsoluteError(), lambda y: np.eye(3)[y] * 7, lambda y: np.abs(np.eye(3)[y] * 7).mean(),
    ),
    "hinge": (Hinge(), lambda y: y, lambda _: None),
}  # fmt: skip


@pytest.mark.parametrize("case", BASELINES)
def test_the_loss_of_guessing(case):
    """It is the entropy of the labels, the variance of the targets, or how far they are from their median."""
    output, targets, expected = BASELINES[case]
    X, y = wine()
    model = Model([13, 3], output=output, random_state=0)
    looked = evidence.Evidence(model._scorer, model.graph, model._feeds(X, targets(y)), Adam())
    assert looked.baseline == (None if expected(y) is None else pytest.approx(expected(y)))


@pytest.mark.parametrize("output", [Hinge(), RightSlope()], ids=repr)
def test_having_learned_without_a_known_loss(output):
    """Of an output that is not known the predictions tell: of a net before and after its training."""
    X, y = moons()
    y = y if isinstance(output, Hinge) else y.astype(float)
    model = Model([2, 8, 2 if isinstance(output, Hinge) else 1], output=output, random_state=0)
    fitted = []
    for _ in range(2):
        fitted.append(evidence.Evidence(model._scorer, model.graph, model._feeds(X, y), Adam()).fitted)
        model.fit(X, y, epochs=100, optimizer=Adam(0.01), progress=False)
    assert fitted == [False, True]
    if y.dtype == float:
        # A column of targets is as good.
        feeds = model._feeds(X, y[:, None])
        assert evidence.Evidence(model._scorer, model.graph, feeds, Adam()).fitted


@pytest.mark.parametrize("y", [several_labels, one_hot], ids=["labels", "rows"])
def test_predictions_of_another_shape_tell_nothing(y):
    """Whether a net has learned is then not known, and it is taken as one that has not."""

    class Total(OutputGate):
        per_row = True

        def losses(self, scores, targets):
            return ((scores - targets) ** 2).sum(axis=-1)

        def slopes(self, scores, targets):
            return 2 * (scores - targets)

        def predict(self, scores):
            return scores[:, 0]

    X, y = y()
    model = Model([64, y.shape[1]], output=Total(), random_state=0)
    looked = evidence.Evidence(model._scorer, model.graph, model._feeds(X, y), Adam())
    assert looked.baseline is None
    assert not looked.fitted


# --- What it leaves alone --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["numpy", "graph"])
def test_nothing_is_changed(engine):
    """Parameters, averages, generator, data and histories stay, and the next training is the same to the byte."""
    X, y = digits()
    layers = [64, Dense(30), BatchNorm(), ReLU(), Dropout(0.5), 10]
    nets = [Model(layers, random_state=0, engine=engine) for _ in range(2)]
    states = []
    for k, model in enumerate(nets):
        model.fit(X, y, epochs=1, progress=False)
        before, given = copy.deepcopy(model), (X.copy(), y.copy())
        if k:
            model.diagnose(X, y, optimizer=gd(100.0))
            assert_array_equal(X, given[0])
            assert_array_equal(y, given[1])
            for mine, others in zip(model.graph.parameters, before.graph.parameters, strict=True):
                assert_array_equal(mine.value, others.value)
            for average, other in zip(model.graph.running, before.graph.running, strict=True):
                assert_array_equal(average.value, other.value)
            assert model._random.bit_generator.state == before._random.bit_generator.state
        model.fit(X, y, epochs=2, progress=False)
        states.append([value.tobytes() for value in model.parameters.values()])
    assert states[0] == states[1]


def test_many_examples():
    """The net is looked at with 2,000 of them, evenly spaced, and says so; the data are looked at all."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20_000, 3)), np.arange(20_000) // 10_000
    X[:, 0] += 3 * y
    found = Model([3, 8, 2], random_state=0).diagnose(X, y)
    assert found.healthy
    assert (found.examples, found.rows) == (20_000, 2_000)
    assert "20,000 examples, 2,000 of them in the net" in found.title()
    X[7, 1] = 1e5
    assert "20,000" in str(Model([3, 8, 2], random_state=0).diagnose(X, y))
    assert "unscaled features" in Model([3, 8, 2], random_state=0).diagnose(X, y).kinds


def test_bad_input_is_that_of_calculate_loss():
    """The same errors, and one for what is no optimiser."""
    X, y = moons()
    model = Model([2, 4, 2], random_state=0)
    for arguments in ((X[:, :1], y), (X, y[:3]), (X, y + 7), (X * np.nan, y), ("X", y)):
        errors = []
        for ask in (model.calculate_loss, model.diagnose):
            with pytest.raises(ValueError) as caught:  # noqa: PT011 - the texts are compared
                ask(*arguments)
            errors.append((type(caught.value), str(caught.value)))
        assert errors[0] == errors[1]
    for wrong in ("adam", Adam, None):
        with pytest.raises(ValueError, match="optimizer must be an instance of Optimizer"):
            model.diagnose(X, y, optimizer=wrong)

    class Two(Optimizer):
        def update(self, theta, gradient, rate):
            return theta, theta

    with pytest.raises(ValueError, match=r"Two.update must return the next theta"):
        model.diagnose(X, y, optimizer=Two())


# --- How it looks ----------------------------------------------------------------------------------------------------


def test_it_is_neither_true_nor_false():
    found = Model([2, 4, 2], random_state=0).diagnose(*moons())
    with pytest.raises(ValueError, match="neither true nor false"):
        bool(found)


@pytest.mark.parametrize("sick", [False, True])
def test_text_rich_and_html(sick):
    """All three have the title, every finding with its advice, and a row for every layer, and no line is too long."""
    X, y = digits()
    model = Model([64, *[40] * 10, 10], layer=ReLU(), initializer=drawn(1.0) if sick else he, random_state=0)
    found = model.diagnose(X * (300 if sick else 1), y)
    assert isinstance(found, Diagnosis)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(found)
    wide, text, page = console.export_text(), str(found), found._repr_html_()
    assert repr(found) == text
    assert max(map(len, text.splitlines())) <= 80
    assert text.startswith("Sick: unscaled features, exploding" if sick else "Healthy: nothing found on 600 examples\n")
    for finding in found.findings:
        assert isinstance(finding, Finding)
        assert " ".join(f"{finding.kind} in {finding.where}: {finding.numbers}.".split()) in " ".join(text.split())
        for shown in (wide, page.replace("&#x27;", "'"), str(finding)):
            assert finding.advice in shown
    for layer in found.layers:
        assert f"\n{layer.name} " in text
        assert f">{layer.name}</td>" in page
    assert page.count("<table>") == page.count("</table>") == 1


def test_names_are_escaped():
    X = Input("X")
    model = Model(Tanh()(X @ Parameter(np.eye(2), "W<1>"), name="<b>"))
    assert "&lt;b&gt;" in model.diagnose(*moons())._repr_html_()


def test_large_numbers():
    """Numbers whose squares overflow have a size, and nothing warns."""
    assert motion.rms(np.array([3e200, -4e200])) == pytest.approx(math.sqrt(12.5) * 1e200)
    assert motion.rms(np.zeros(3)) == 0
    assert motion.rms(np.empty(0)) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        X, y = moons()
        for factor in (1e100, 1e200, 1e307):
            found = Model([2, 4, 2], layer=ReLU(), random_state=0).diagnose(factor * X, y)
            assert "unscaled features" in found.kinds
