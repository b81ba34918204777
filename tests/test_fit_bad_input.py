"""Bad input to `fit` and what goes with it: refused before any work, with what was expected, what came, what to do."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gates import Gate, Logistic, MeanGate, Softmax, SquaredError
from nngraph import BatchNorm, Constant, Dense, Dropout, Input, LayerNorm, Model, Parameter, Random, Running
from nngraph.callbacks import Callback, CSVLog, EarlyStopping, ProgressBar, Target, TimeLimit
from nngraph.optimizers import Adagrad, Adam, AdamW, GradientDescent, Momentum, Optimizer, RMSprop, ScipyMinimize
from nngraph.penalties import L1, L2, ElasticNet
from nngraph.schedules import Cosine, ExponentialDecay, InverseTime, Plateau, StepDecay, WarmUp

X = np.random.default_rng(0).normal(size=(12, 3))
Y = np.array([0, 1, 2] * 4)
NAN = math.nan
SCIPY = ScipyMinimize()


def averaged(**settings):
    """Return a net with dropout and batch norm."""
    return Model([3, 4, BatchNorm(), Dropout(0.5), 3], random_state=0, **settings)


def plain(**settings):
    """Return a net without them."""
    return Model([3, 4, 3], random_state=0, **settings)


def regression():
    """Return a net for regression."""
    return Model([3, 4, 1], output=SquaredError(), random_state=0)


def columns():
    """Return a net for three labels of each row."""
    return Model([3, 3], output=Logistic(), random_state=0)


def state(model, *given):
    """Return all that a refused call must leave alone, as bytes."""
    parts = {name: value.tobytes() for name, value in model.parameters.items()}
    parts |= {str(node.name): node.value.tobytes() for node in model.graph.running}
    drawn = model._random
    parts["random"] = str(drawn.bit_generator.state if isinstance(drawn, np.random.Generator) else drawn)
    return parts, list(model.loss_history), [repr(np.asarray(array).tolist()) for array in given]


def with_value(a, value, at):
    """Return a copy of an array with one value changed."""
    a = np.array(a, dtype=float)
    a[at] = value
    return a


def metric(name):
    """Return a metric of that name."""

    def found(*_):
        raise AssertionError("nothing is measured")

    found.__name__ = name
    return found


class Misspelt(Callback):
    """A callback with a method that nobody calls."""

    def on_epoch_end(self, training):
        """Is never called."""


class Counting(GradientDescent):
    """An optimiser that counts its steps itself."""

    t = 0

    def update(self, theta, gradient, rate):
        self.t += 1
        return theta - rate / self.t * gradient


class Remembering(GradientDescent):
    """An optimiser that keeps what it should hand back."""

    def __init__(self):
        super().__init__(0.1)
        self.m = 0.0

    def update(self, theta, gradient, rate):
        self.m = 0.9 * self.m + gradient
        return theta - rate * self.m


class Rateless(GradientDescent):
    """An optimiser that forgot super().__init__()."""

    def __init__(self):
        pass


class Starting(GradientDescent):
    """An optimiser whose state is an array."""

    def start(self, theta):
        return np.zeros_like(theta)


class Writing(GradientDescent):
    """An optimiser that writes into theta."""

    def update(self, theta, gradient, rate):
        theta -= rate * gradient
        return theta


class Narrow(GradientDescent):
    """An optimiser that returns a number."""

    def update(self, theta, gradient, rate):
        return theta.sum()


class Raises(GradientDescent):
    """An optimiser that breaks."""

    def update(self, theta, gradient, rate):
        raise ValueError("broken update")


class NoRate(GradientDescent):
    """An optimiser whose rate was spoilt afterwards."""

    def __init__(self):
        super().__init__()
        self.rate = "fast"


STOPPING = EarlyStopping(monitor="loss")
LABELS = np.array([0, 1, 2] * 3 + [0, 1, 0])

# id: how the model is made, what is given (X and y too, to replace them), what the message must hold.
FIT = {
    # Numbers.
    "epochs negative": (plain, {"epochs": -1}, ["epochs", ">= 0", "-1"]),
    "epochs float": (plain, {"epochs": 2.0}, ["epochs must be an integer", "2.0"]),
    "epochs bool": (plain, {"epochs": True}, ["epochs must be an integer", "True"]),
    "epochs word": (plain, {"epochs": "10"}, ["epochs must be an integer", "'10'"]),
    "epochs none": (plain, {"epochs": None}, ["epochs must be an integer", "None"]),
    "epochs nan": (plain, {"epochs": NAN}, ["epochs must be an integer", "nan"]),
    "batch 0": (plain, {"batch_size": 0}, ["batch_size", ">= 1", "0"]),
    "batch negative": (plain, {"batch_size": -5}, ["batch_size", ">= 1", "-5"]),
    "batch too large": (plain, {"batch_size": 13}, ["batch_size", "at most the number of examples, 12", "13"]),
    "batch float": (plain, {"batch_size": 4.0}, ["batch_size must be an integer", "4.0"]),
    "batch bool": (plain, {"batch_size": True}, ["batch_size must be an integer", "True"]),
    "batch word": (plain, {"batch_size": "all"}, ["batch_size must be an integer", "'all'"]),
    "clip 0": (plain, {"clip_norm": 0}, ["clip_norm", "greater than 0", "0"]),
    "clip negative": (plain, {"clip_norm": -1.0}, ["clip_norm", "not negative", "-1.0"]),
    "clip nan": (plain, {"clip_norm": NAN}, ["clip_norm", "finite", "nan"]),
    "clip inf": (plain, {"clip_norm": math.inf}, ["clip_norm", "finite", "inf"]),
    "clip bool": (plain, {"clip_norm": True}, ["clip_norm must be a number", "True"]),
    "clip word": (plain, {"clip_norm": "1"}, ["clip_norm must be a number", "'1'"]),
    "shuffle word": (plain, {"shuffle": "yes"}, ["shuffle", "bool", "'yes'"]),
    "shuffle number": (plain, {"shuffle": 1}, ["shuffle", "bool", "1"]),
    "shuffle none": (plain, {"shuffle": None}, ["shuffle", "bool", "None"]),
    "progress word": (plain, {"progress": "no"}, ["progress", "bool", "'no'"]),
    "state negative": (plain, {"random_state": -1}, ["random_state", "-1"]),
    "state bool": (plain, {"random_state": True}, ["random_state", "True"]),
    "state float": (plain, {"random_state": 0.5}, ["random_state", "0.5"]),
    "state word": (plain, {"random_state": "0"}, ["random_state", "'0'"]),
    "state module": (plain, {"random_state": np.random}, ["random_state", "Generator"]),
    # Optimisers and schedules.
    "optimizer class": (plain, {"optimizer": Adam}, ["optimizer must be", "write Adam()"]),
    "optimizer word": (plain, {"optimizer": "adam"}, ["optimizer must be", "Adam(0.001)", "'adam'"]),
    "optimizer number": (plain, {"optimizer": 0.01}, ["optimizer must be", "0.01"]),
    "optimizer none": (plain, {"optimizer": None}, ["optimizer must be", "None"]),
    "optimizer of scipy, a class": (plain, {"optimizer": ScipyMinimize}, ["write ScipyMinimize()"]),
    "optimizer that writes": (plain, {"optimizer": Writing()}, ["read-only"]),
    "optimizer of numbers": (plain, {"optimizer": Narrow()}, ["Narrow.update must return", "(31,)", "()"]),
    "optimizer that raises": (plain, {"optimizer": Raises()}, ["broken update"]),
    "optimizer without a rate": (plain, {"optimizer": NoRate()}, ["'fast'"]),
    "schedule class": (plain, {"schedule": Cosine}, ["schedule must be", "write Cosine()"]),
    "schedule number": (plain, {"schedule": 0.5}, ["schedule must be a function", "0.5"]),
    "schedule word": (plain, {"schedule": "cosine"}, ["schedule must be a function", "'cosine'"]),
    "schedule negative": (plain, {"schedule": lambda *_: -1.0}, ["factor that the schedule gives", "-1.0"]),
    "schedule nan": (plain, {"schedule": lambda *_: NAN}, ["factor that the schedule gives", "nan"]),
    "schedule none": (plain, {"schedule": lambda *_: None}, ["factor that the schedule gives", "None"]),
    # Penalties.
    "penalty number": (plain, {"penalty": 0.01}, ["penalty must be L1(...), L2(...)", "write L2(0.01)"]),
    "penalty class": (plain, {"penalty": L2}, ["penalty must be L1(...), L2(...)", "such as L2(0.001)"]),
    "penalty bool": (plain, {"penalty": True}, ["penalty must be", "True"]),
    "penalty word": (plain, {"penalty": "l2"}, ["penalty must be", "'l2'"]),
    "penalty list": (plain, {"penalty": [L2(0.1)]}, ["penalty must be", "L2(0.1)"]),
    "penalty on what is not there": (plain, {"penalty": {"W9": L2(0.1)}}, ["no parameter 'W9'", "'W1', 'b1', 'W2'"]),
    "penalty on a number": (plain, {"penalty": {0: L2(0.1)}}, ["no parameter 0", "'W1'"]),
    "penalty number by name": (plain, {"penalty": {"W1": 0.1}}, ["penalty of 'W1'", "write L2(0.1)"]),
    "penalty none by name": (plain, {"penalty": {"W1": None}}, ["penalty of 'W1'", "None"]),
    # Features and targets.
    "X nan": (plain, {"X": with_value(X, NAN, (3, 1))}, ["X must be finite", "nan", "[3, 1]"]),
    "X too wide": (plain, {"X": np.ones((12, 4))}, ["X must have shape (examples, 3)", "(12, 4)"]),
    "X words": (plain, {"X": X.astype(str)}, ["X must be an array of real numbers"]),
    "X empty": (plain, {"X": np.empty((0, 3)), "y": []}, ["X must hold at least one example"]),
    "y too short": (plain, {"y": Y[:5]}, ["y must have one target for each of the 12 rows", "(5,)"]),
    "y out of range": (plain, {"y": Y + 1}, ["3"]),
    "y floats": (plain, {"y": Y + 0.5}, ["labels"]),
    "y none": (plain, {"y": None}, ["y"]),
    # Weights.
    "weights all 0": (plain, {"sample_weight": np.zeros(12)}, ["sample_weight must not be zero everywhere"]),
    "weights negative": (
        plain,
        {"sample_weight": with_value(np.ones(12), -1, 4)},
        ["sample_weight must not be negative", "-1.0 at [4]"],
    ),
    "weights nan": (plain, {"sample_weight": with_value(np.ones(12), NAN, 4)}, ["sample_weight must be finite", "[4]"]),
    "weights too few": (plain, {"sample_weight": np.ones(5)}, ["sample_weight", "12 rows", "(5,)"]),
    "weights in a column": (plain, {"sample_weight": np.ones((12, 1))}, ["sample_weight", "12 rows", "(12, 1)"]),
    "weights one number": (plain, {"sample_weight": 1.0}, ["sample_weight", "12 rows", "()"]),
    "weights words": (plain, {"sample_weight": ["1"] * 12}, ["sample_weight", "numbers"]),
    "weights of a word": (plain, {"sample_weight": "balanced"}, ["sample_weight"]),
    "weights too large for float32": (
        lambda: plain(dtype=np.float32),
        {"sample_weight": np.full(12, 1e300)},
        ["sample_weight must be finite", "inf"],
    ),
    "weights too small for float32": (
        lambda: plain(dtype=np.float32),
        {"sample_weight": np.full(12, 1e-300)},
        ["sample_weight must not be zero everywhere"],
    ),
    "class weight of no label": (plain, {"class_weight": {7: 2.0}}, ["no example has the label 7", "[0, 1, 2]"]),
    "class weight of a word": (plain, {"class_weight": {"a": 2.0}}, ["no example has the label 'a'"]),
    "class weight negative": (plain, {"class_weight": {1: -2.0}}, ["class_weight[1]", "not negative", "-2.0"]),
    "class weight nan": (plain, {"class_weight": {1: NAN}}, ["class_weight[1]", "finite", "nan"]),
    "class weight bool": (plain, {"class_weight": {1: True}}, ["class_weight[1]", "number", "True"]),
    "class weights all 0": (plain, {"class_weight": {0: 0, 1: 0, 2: 0}}, ["class_weight must not be zero for all"]),
    "class weight list": (plain, {"class_weight": [1, 2, 3]}, ["'balanced' or a dict", "[1, 2, 3]"]),
    "class weight other word": (plain, {"class_weight": "auto"}, ["'balanced' or a dict", "'auto'"]),
    "class weight number": (plain, {"class_weight": 2.0}, ["'balanced' or a dict", "2.0"]),
    "class weight too large": (
        lambda: plain(dtype=np.float32),
        {"class_weight": {0: 1e300}},
        ["class_weight must be finite", "inf"],
    ),
    "class weight in columns": (
        columns,
        {"y": (X > 0).astype(int), "class_weight": "balanced"},
        ["integer labels", "use sample_weight"],
    ),
    "class weight of a regression": (
        regression,
        {"y": X[:, 0], "class_weight": "balanced"},
        ["integer labels", "use sample_weight"],
    ),
    "weights that cancel": (
        plain,
        {"class_weight": {0: 0.0}, "sample_weight": (Y == 0).astype(float)},
        ["weights of all examples", "zero"],
    ),
    "weights whose product overflows": (
        plain,
        {"class_weight": {0: 1e300}, "sample_weight": np.full(12, 1e300)},
        ["sample_weight times class_weight must be finite"],
    ),
    # Validation.
    "validation 0": (plain, {"validation": 0.0}, ["validation", "above 0 and below 1", "0.0"]),
    "validation in percent": (plain, {"validation": 20}, ["above 0 and below 1, got 20", "write 0.2 for 20 percent"]),
    "accuracy of numbers": (regression, {"y": X[:, 0], "metrics": ["accuracy"]}, ["predicts numbers", "r2_score"]),
    "callback whose event is no event": (plain, {"callbacks": [Misspelt()]}, ["Misspelt.on_epoch_end", "epoch_end"]),
    "monitor of other libraries": (
        plain,
        {"callbacks": [EarlyStopping(monitor="val_loss")]},
        ["did you mean 'validation_loss'?"],
    ),
    "optimizer that counts": (plain, {"optimizer": Counting()}, ["Counting.update changes self.t", "numbers(rate"]),
    "optimizer that remembers": (plain, {"optimizer": Remembering()}, ["Remembering.update changes self.m", "start"]),
    "optimizer that forgot its rate": (plain, {"optimizer": Rateless()}, ["Rateless has no rate", "super().__init__"]),
    "optimizer with a start that is no tuple": (plain, {"optimizer": Starting()}, ["Starting.start", "(array,)"]),
    "validation 1": (plain, {"validation": 1.0}, ["validation", "below 1", "1.0"]),
    "validation negative": (plain, {"validation": -0.2}, ["validation", "-0.2"]),
    "validation nan": (plain, {"validation": NAN}, ["validation", "nan"]),
    "validation bool": (plain, {"validation": True}, ["validation", "True"]),
    "validation tiny": (plain, {"validation": 0.01}, ["validation=0.01 cannot be held out"]),
    "validation nearly all": (plain, {"validation": 0.99}, ["validation=0.99 cannot be held out"]),
    "validation of a rare label": (
        plain,
        {"y": np.array([0, 1] * 5 + [0, 2]), "validation": 0.5},
        ["validation=0.5 cannot be held out", "[2]"],
    ),
    "validation word": (plain, {"validation": "0.2"}, ["validation must be (X_val, y_val)", "str"]),
    "validation without targets": (plain, {"validation": (X,)}, ["validation must be (X_val, y_val)", "tuple"]),
    "validation of features": (plain, {"validation": X}, ["validation must be (X_val, y_val)", "ndarray"]),
    "validation of no targets": (plain, {"validation": (X, None)}, ["validation: y"]),
    "validation of four": (plain, {"validation": (X, Y, None, None)}, ["validation must be (X_val, y_val)"]),
    "validation of a dict": (plain, {"validation": {"X": X, "y": Y}}, ["validation must be (X_val, y_val)", "dict"]),
    "validation of another width": (
        plain,
        {"validation": (X[:, :2], Y)},
        ["validation: X must have shape (examples, 3)", "(12, 2)"],
    ),
    "validation of another length": (plain, {"validation": (X, Y[:3])}, ["validation: y", "12 rows", "(3,)"]),
    "validation nan in it": (plain, {"validation": (with_value(X, NAN, (0, 0)), Y)}, ["validation: X must be finite"]),
    "validation with bad labels": (plain, {"validation": (X, Y + 1)}, ["validation: ", "3"]),
    "validation with a new label": (
        plain,
        {"y": Y % 2, "validation": (X, Y)},
        ["validation: the label 2", "the training data have [0, 1]"],
    ),
    "validation weights all 0": (plain, {"validation": (X, Y, np.zeros(12))}, ["validation: sample_weight", "zero"]),
    "validation weights negative": (plain, {"validation": (X, Y, -np.ones(12))}, ["validation: sample_weight", "-1.0"]),
    "validation of a label that weighs nothing": (
        plain,
        {"sample_weight": (Y != 2).astype(float), "validation": (X, Y)},
        ["validation: the label 2"],
    ),
    "validation of targets of another shape": (
        columns,
        {"y": (X > 0).astype(int), "validation": (X, Y)},
        ["validation: ", "(12,)"],
    ),
    # Metrics.
    "metrics word": (plain, {"metrics": "accuracy"}, ["metrics must be a list", "['accuracy']", "'accuracy'"]),
    "metrics function": (plain, {"metrics": metric("f")}, ["metrics must be a list"]),
    "metric unknown": (plain, {"metrics": ["f1"]}, ["a metric must be 'accuracy' or a function", "'f1'"]),
    "metric class": (plain, {"metrics": [Softmax]}, ["a metric must be 'accuracy' or a function"]),
    "metric none": (plain, {"metrics": [None]}, ["a metric must be 'accuracy' or a function", "None"]),
    "metric twice": (plain, {"metrics": ["accuracy", "accuracy"]}, ["two columns", "'accuracy'"]),
    "metric of the same name": (plain, {"metrics": ["accuracy", metric("accuracy")]}, ["two columns", "'accuracy'"]),
    **{
        f"metric called {name}": (plain, {"metrics": [metric(name)]}, ["two columns", repr(name), "__name__"])
        for name in ("loss", "objective", "rate", "seconds", "epoch")
    },
    "metric called validation_loss": (plain, {"metrics": [metric("validation_loss")]}, ["must not begin with"]),
    "accuracy of probabilities": (
        plain,
        {"y": np.eye(3)[Y], "metrics": ["accuracy"]},
        ["accuracy compares targets of shape (3,)", "give a function"],
    ),
    # Callbacks.
    "callbacks one": (plain, {"callbacks": STOPPING}, ["callbacks must be a list"]),
    "callbacks none": (plain, {"callbacks": None}, ["callbacks must be a list", "None"]),
    "callback class": (plain, {"callbacks": [ProgressBar]}, ["a callback must be an instance", "write ProgressBar()"]),
    "callback word": (plain, {"callbacks": ["stop"]}, ["a callback must be an instance", "'stop'"]),
    "callback function": (plain, {"callbacks": [print]}, ["a callback must be an instance"]),
    "callback twice": (plain, {"callbacks": [STOPPING, STOPPING]}, ["a callback is given twice"]),
    "early stopping without validation": (
        plain,
        {"validation": None, "callbacks": [EarlyStopping()]},
        ["EarlyStopping: 'validation_loss' is not measured, but loss, rate, seconds are", "give validation=(X_val"],
    ),
    "early stopping by nothing": (
        plain,
        {"validation": 0.5, "callbacks": [EarlyStopping(monitor="f1")]},
        ["EarlyStopping: 'f1' is not measured", "validation_loss", "give it in metrics"],
    ),
    "early stopping without penalty": (
        plain,
        {"callbacks": [EarlyStopping(monitor="objective")]},
        ["EarlyStopping: 'objective' is not measured"],
    ),
    "target without a metric": (
        plain,
        {"callbacks": [Target(0.9, "accuracy")]},
        ["Target: 'accuracy' is not measured", "give it in metrics"],
    ),
    # Batch norm.
    "a batch of one row": (averaged, {"batch_size": 1}, ["batch normalisation needs two or more rows", "batch_size=1"]),
    "a last batch of one row": (
        averaged,
        {"batch_size": 11, "validation": None},
        ["batch normalisation", "batch_size=11", "12 examples"],
    ),
    "one row": (averaged, {"X": X[:1], "y": Y[:1], "validation": None}, ["batch normalisation needs two or more rows"]),
    # What SciPy's methods leave no room for.
    "scipy and schedule": (plain, {"optimizer": SCIPY, "schedule": Cosine()}, ["schedule does not go with Scipy"]),
    "scipy and clip": (plain, {"optimizer": SCIPY, "clip_norm": 1.0}, ["clip_norm does not go with ScipyMinimize"]),
    "scipy and batches": (plain, {"optimizer": SCIPY, "batch_size": 4}, ["batch_size does not go with ScipyMinimize"]),
    "scipy and dropout": (averaged, {"optimizer": SCIPY}, ["dropout does not go with ScipyMinimize", "same loss"]),
    "scipy and a wrong option": (
        plain,
        {"optimizer": ScipyMinimize("BFGS", gtoll=1e-3)},
        ["ScipyMinimize('BFGS', gtoll=0.001)", "Unknown solver options: gtoll"],
    ),
}


@pytest.mark.parametrize("engine", ["numpy", "graph"])
@pytest.mark.parametrize("case", FIT)
def test_fit(case, engine):
    """Every bad argument is a ValueError that says so, and leaves the model, the data and all generators alone."""
    make, settings, parts = FIT[case]
    model = make()
    model.engine = engine
    state_of_state = np.random.RandomState(5)
    for given in (None, np.random.default_rng(5), state_of_state):
        arguments = {"X": X, "y": Y, "validation": 0.5, "random_state": given} | settings
        arrays = [arguments["X"], arguments["y"]]
        before = state(model, *arrays)
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared below
            model.fit(arguments.pop("X"), arguments.pop("y"), **arguments)
        missing = [part for part in parts if part not in str(caught.value)]
        assert not missing, f"{missing} not in: {caught.value}"
        assert state(model, *arrays) == before
        if isinstance(given, np.random.Generator):
            assert given.random() == np.random.default_rng(5).random()


def test_a_generator_of_the_model():
    """A Generator that the model was given stands where it stood, too."""
    generator, twin = np.random.default_rng(3), np.random.default_rng(3)
    model = Model([3, 4, Dropout(0.5), 3], random_state=generator)
    Model([3, 4, Dropout(0.5), 3], random_state=twin)
    with pytest.raises(ValueError, match="EarlyStopping"):
        model.fit(X, Y, validation=0.5, callbacks=[EarlyStopping(monitor="f1")])
    assert generator.normal() == twin.normal()


class BreaksInBackward(Gate):
    """A gate whose gradient has another shape."""

    def forward(self, X):
        return X * 1.0

    def backward(self, X, dZ):
        return dZ[0]


@pytest.mark.parametrize("engine", ["numpy", "graph"])
@pytest.mark.parametrize("size", [12, 4])
def test_a_gate_that_breaks_its_contract(engine, size):
    """A gate that is wrong in its first step leaves all as it was, and is named."""
    model = Model([3, Dense(4, BreaksInBackward()), 3], random_state=0, engine=engine)
    before = state(model)
    with pytest.raises(ValueError, match="BreaksInBackward"):
        model.fit(X, Y, batch_size=size, random_state=1)
    assert state(model) == before


# --- A metric or a schedule that is wrong later ----------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, "good", [1.0, 2.0], np.ones(2), 1j], ids=repr)
def test_metrics_that_are_no_numbers(value):
    """What a metric returns must be a number: it is told by name, and the weights are those of the beginning."""
    model = plain()
    before = state(model)[0]

    def strange(*_):
        return value

    with pytest.raises(ValueError, match="the metric strange must return a number"):
        model.fit(X, Y, epochs=2, metrics=[strange])
    after = state(model)[0]
    assert {name: after[name] for name in model.parameters} == {name: before[name] for name in model.parameters}


def test_a_schedule_that_goes_wrong_later():
    """The weights are those of the beginning of the epoch in which it does."""
    model, other = plain(), plain()
    with pytest.raises(ValueError, match="factor that the schedule gives"):
        model.fit(X, Y, epochs=5, batch_size=4, random_state=0, schedule=lambda epoch, _: 1.0 if epoch < 2.5 else NAN)
    other.fit(X, Y, epochs=2, batch_size=4, random_state=0)
    assert state(model)[0]["W1"] == state(other)[0]["W1"]


# --- Descent ---------------------------------------------------------------------------------------------------------

DESCENT = {
    "optimizer class": ({"optimizer": Adam}, ["optimizer", "write Adam()"]),
    "optimizer of scipy": ({"optimizer": SCIPY}, ["optimizer", "ScipyMinimize"]),
    "optimizer word": ({"optimizer": "adam"}, ["optimizer", "'adam'"]),
    "optimizer that raises": ({"optimizer": Raises()}, ["broken update"]),
    "summed word": ({"summed": "yes"}, ["summed", "'yes'"]),
    "summed number": ({"summed": 1}, ["summed", "1"]),
    "penalty number": ({"penalty": 0.1}, ["penalty", "write L2(0.1)"]),
    "penalty on what is not there": ({"penalty": {"V": L1(0.1)}}, ["no parameter 'V'"]),
    "clip 0": ({"clip_norm": 0.0}, ["clip_norm", "greater than 0"]),
    "clip word": ({"clip_norm": "1"}, ["clip_norm", "'1'"]),
    "state": ({"random_state": "x"}, ["random_state", "'x'"]),
}


@pytest.mark.parametrize("case", DESCENT)
def test_descent(case):
    """As for `fit`."""
    settings, parts = DESCENT[case]
    model = averaged()
    before, source = state(model), np.random.default_rng(5)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared below
        model.descent(**{"random_state": source} | settings)
    assert not [part for part in parts if part not in str(caught.value)], caught.value
    assert state(model) == before
    assert source.random() == np.random.default_rng(5).random()


BATCHES = {
    "weights negative": ((X, Y, -np.ones(12)), "sample_weight must not be negative"),
    "weights 0": ((X, Y, np.zeros(12)), "sample_weight must not be zero everywhere|add up to zero"),
    "weights nan": ((X, Y, np.full(12, NAN)), "sample_weight must be finite"),
    "weights too few": ((X, Y, np.ones(3)), "sample_weight must have one weight"),
    "labels": ((X, Y + 1), "3"),
    "width": ((X[:, :2], Y), r"X must have shape \(examples, 3\)"),
    "rows": ((X, Y[:5]), "one target for each"),
    "nan": ((with_value(X, NAN, (1, 1)), Y), "X must be finite"),
    "one row": ((X[:1], Y[:1]), "batch normalisation needs two or more rows"),
}


@pytest.mark.parametrize("engine", ["numpy", "graph"])
@pytest.mark.parametrize("case", BATCHES)
def test_batches_of_a_descent(case, engine):
    """A bad batch is refused, at first and later, and the next good one is right."""
    batch, message = BATCHES[case]
    one, other = averaged(engine=engine), averaged(engine=engine)
    descents = [model.descent(Adam(0.1), random_state=3) for model in (one, other)]
    for _ in range(2):
        with pytest.raises(ValueError, match=message):
            descents[0].load(*batch)
        for early in (descents[0].compute, descents[0].update):
            with pytest.raises(ValueError, match=r"there are no data|there is no gradient"):
                early()
        for descent in descents:
            descent.load(X, Y, np.ones(12))
            descent.compute()
            descent.update()
    for descent in descents:
        descent.finish()
    assert state(one)[0] == state(other)[0]
    descents[0].compute()
    with pytest.raises(ValueError, match="rate must be"):
        descents[0].update(-1.0)


# --- Settings of the parts -------------------------------------------------------------------------------------------

# A call that must be refused, and parts of what it says.
SETTINGS = {
    **{
        f"{kind.__name__}({value!r})": (lambda kind=kind, value=value: kind(value), [kind.__name__, repr(value)])
        for kind in (L1, L2, GradientDescent, Momentum, Adagrad, RMSprop, Adam, AdamW)
        for value in (-1.0, NAN, math.inf, "0.1", None, True, [0.1])
    },
    **{
        f"{kind.__name__}({name}={value!r})": (lambda k=kind, n=name, v=value: k(**{n: v}), [kind.__name__, name])
        for kind, name, values in (
            (Momentum, "momentum", (1.0, -0.1, NAN, True, None)),
            (Adagrad, "rate_decay", (-1.0, NAN, "0")),
            (Adagrad, "initial", (-1.0, math.inf)),
            (Adagrad, "epsilon", (0, -1.0, NAN)),
            (RMSprop, "alpha", (1.0, -0.1, NAN)),
            (RMSprop, "epsilon", (0, True)),
            (Adam, "beta1", (1, -0.1, NAN, "0.9")),
            (Adam, "beta2", (1, 2.0, None)),
            (Adam, "epsilon", (0, -1e-8, NAN)),
            (AdamW, "weight_decay", (-0.1, NAN, "0")),
            (StepDecay, "factor", (-0.1, 1.1, NAN, True)),
            (StepDecay, "every", (0, 1.5, True)),
            (ExponentialDecay, "factor", (2, -1, "1")),
            (InverseTime, "decay", (-1, NAN)),
            (Cosine, "end", (-0.1, NAN)),
            (WarmUp, "over", (-1, NAN)),
            (WarmUp, "start", (1.5, -0.1)),
            (WarmUp, "then", (Cosine, 0.5)),
            (Plateau, "factor", (1, -0.1)),
            (Plateau, "patience", (-1, 1.5, True)),
            (Plateau, "threshold", (1, NAN)),
            (Plateau, "cooldown", (-1, 0.5)),
            (Plateau, "minimum", (-1, 1.5)),
            (Plateau, "monitor", (1, True)),
            (EarlyStopping, "patience", (0, -1, 1.5, True, NAN, "10", None)),
            (EarlyStopping, "monitor", (1, True, ["loss"])),
            (EarlyStopping, "min_delta", (-0.1, NAN, "0", True)),
            (EarlyStopping, "mode", ("less", 1, "MIN")),
            (EarlyStopping, "restore_best", (1, None, "yes")),
            (TimeLimit, "seconds", (-1, NAN, math.inf, "1", True, None)),
            (ProgressBar, "plain", (1, None)),
            (ProgressBar, "interval", (-1, NAN, "1", True)),
        )
        for value in values
    },
    "ElasticNet l1": (lambda: ElasticNet(-1, 0), ["ElasticNet: l1", "-1"]),
    "ElasticNet l2": (lambda: ElasticNet(0, NAN), ["ElasticNet: l2", "nan"]),
    "Target nan": (lambda: Target(NAN), ["Target: value", "nan"]),
    "Target bool": (lambda: Target(True), ["Target: value", "True"]),
    "Target word": (lambda: Target("0.5"), ["Target: value", "'0.5'"]),
    "Target monitor": (lambda: Target(0.5, 1), ["Target: monitor", "1"]),
    "Target mode": (lambda: Target(0.5, mode="up"), ["Target: mode", "'up'"]),
    "CSVLog none": (lambda: CSVLog(None), ["CSVLog: path", "None"]),
    "CSVLog number": (lambda: CSVLog(3), ["CSVLog: path", "3"]),
    "CSVLog append": (lambda: CSVLog("log.csv", append="yes"), ["CSVLog: append", "'yes'"]),
    "method": (lambda: ScipyMinimize("Adam"), ["method must be one of CG, BFGS", "'Adam'"]),
    "method none": (lambda: ScipyMinimize(None), ["method must be one of", "None"]),
    "tol": (lambda: ScipyMinimize(tol=-1), ["tol", "-1"]),
    "tol word": (lambda: ScipyMinimize(tol="small"), ["tol", "'small'"]),
    "maxiter": (lambda: ScipyMinimize(maxiter=10), ["epochs"]),
    "Optimizer": (lambda: type("O", (Optimizer,), {"update": None})(-1), ["O: rate", "-1"]),
    **{
        f"Dropout({value!r})": (lambda value=value: Dropout(value), ["rate of a Dropout", repr(value)])
        for value in (-0.1, 1.0, 1.5, NAN, "0.5", None, True)
    },
    **{
        f"BatchNorm momentum {value!r}": (
            lambda v=value: BatchNorm(momentum=v),
            ["momentum of a BatchNorm", repr(value)],
        )
        for value in (-0.1, 1.5, NAN, "0.1", None, True)
    },
    **{
        f"{kind.__name__} epsilon {value!r}": (
            lambda k=kind, v=value: k(epsilon=v),
            ["epsilon", kind.__name__, repr(value)],
        )
        for kind in (BatchNorm, LayerNorm)
        for value in (0, -1.0, NAN, math.inf, "1", True)
    },
    **{
        f"{kind.__name__} as a class": (lambda kind=kind: Model([3, 4, kind, 3]), [f"write {kind.__name__}()"])
        for kind in (Dropout, BatchNorm, LayerNorm)
    },
    "Dropout alone": (lambda: Model([3, Dropout()]), ["needs a width"]),
    "Dropout first": (lambda: Model([Dropout(), 3, 2]), ["input width"]),
    "Random of no function": (lambda: Random(3, Input("X")), ["draw must be a function", "3"]),
    "Random of no node": (lambda: Random(print, X), ["shape of a node"]),
    "Random nan": (lambda: Random(print, Input("X"), NAN), ["finite number", "nan"]),
    "Random word": (lambda: Random(print, Input("X"), "1"), ["finite number", "'1'"]),
    "Running of no node": (lambda: Running(X, 0.0), ["value of a node"]),
    "Running momentum": (lambda: Running(Input("X"), 0.0, 1.5), ["momentum", "1.5"]),
    "Running momentum nan": (lambda: Running(Input("X"), 0.0, NAN), ["momentum", "nan"]),
    "Running momentum word": (lambda: Running(Input("X"), 0.0, "0.1"), ["momentum", "'0.1'"]),
    "Running momentum bool": (lambda: Running(Input("X"), 0.0, True), ["momentum", "True"]),
    "Running unbiased": (lambda: Running(Input("X"), 0.0, unbiased="no"), ["unbiased", "'no'"]),
    "Running nan": (lambda: Running(Input("X"), [0.0, NAN]), ["Running's value must be finite", "nan"]),
    "Running words": (lambda: Running(Input("X"), "zero"), ["Running's value"]),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_settings(case):
    """What cannot be is said where it is made, by the name of the class and of the setting."""
    call, parts = SETTINGS[case]
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared below
        call()
    missing = [part for part in parts if part not in str(caught.value)]
    assert not missing, f"{missing} not in: {caught.value}"


@pytest.mark.parametrize("engine", ["numpy", "graph"])
@pytest.mark.parametrize("shape", [(), (1, 3), (2,), (3, 1)])
def test_a_running_average_of_another_shape(shape, engine):
    """The average must have its statistic's shape: it is told by name, before any work."""
    rows = Input("X")
    mean = Running(MeanGate(axis=0)(rows, name="mean"), np.zeros(shape), name="average")
    W = Parameter(np.ones((3, 3)), "W")
    with pytest.raises(ValueError, match=r"average|broadcast"):
        Model((rows + Constant(np.zeros(3)) + mean * 0.0) @ W, engine=engine).fit(X, Y)
    assert (W.value == 1).all()
    assert mean.value.shape == shape


def test_a_target_that_is_reached_at_once_does_not_hide_an_error(tmp_path):
    """A log whose columns are others is refused before any work, and stays as it was."""
    path = tmp_path / "log.csv"
    path.write_text("epoch,loss,speed\n0,1.0,2.0\n")
    model = plain()
    before = state(model)
    with pytest.raises(ValueError, match="has the columns epoch, loss, speed, not epoch, loss, rate, seconds"):
        model.fit(X, Y, callbacks=[CSVLog(path, append=True), Target(100.0)])
    assert path.read_text() == "epoch,loss,speed\n0,1.0,2.0\n"
    assert state(model) == before


class Breaks(Callback):
    """Raises at the beginning."""

    def fit_begin(self, training):
        raise ValueError("not today")


def test_a_callback_that_refuses():
    """What a callback raises at the beginning comes before any work; those that heard of it hear of the end."""
    ended = []

    class Hears(Callback):
        def fit_end(self, training):
            ended.append(training.epoch)

    model = averaged()
    before = state(model)
    with pytest.raises(ValueError, match="not today"):
        model.fit(X, Y, callbacks=[Hears(), Breaks(), Hears()])
    assert state(model) == before
    assert ended == [0]
