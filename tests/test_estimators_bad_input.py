"""Bad settings and bad data to the estimators: refused, with what was expected and what came; nothing is changed."""

from __future__ import annotations

import inspect
import math
import pickle
import re
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy
import sklearn.callback
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.neural_network import MLPClassifier, MLPRegressor

import gates
from gates import GateError
from nngraph import DivergenceError, GateClassifier, GateRegressor, GraphError
from nngraph.architecture import Dense, Dropout
from nngraph.callbacks import Callback, EarlyStopping, Target
from nngraph.optimizers import GradientDescent, ScipyMinimize
from nngraph.schedules import Cosine

NAN, INF = math.nan, math.inf
X = np.random.default_rng(0).normal(size=(40, 3))
LABELS = np.arange(40) % 2
Y = X @ [1.0, -2.0, 0.5]
BOTH = [(GateClassifier, LABELS), (GateRegressor, Y)]
SMALL = {"hidden_layer_sizes": (4,), "max_iter": 2, "random_state": 0}


def fit(estimator, *args, **kwargs):
    """Fit, where too few epochs are expected."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(*args, **kwargs)


def classifier(**given):
    """Return a small classifier, fitted."""
    return fit(GateClassifier(**SMALL, **given), X, LABELS)


def regressor(**given):
    """Return a small regressor, fitted."""
    return fit(GateRegressor(**SMALL, **given), X, Y)


def state(estimator):
    """Return all that is learned, as bytes."""
    given = estimator.__getstate__().items()
    return pickle.dumps({name: value for name, value in given if name.endswith("_") or name[0] == "_"})


def same(one, other):
    """Assert that two estimators have learned the same, to the last digit, and go on alike."""
    assert one.loss_curve_ == other.loss_curve_
    assert (one.n_iter_, one.t_, one.loss_, one.best_loss_) == (other.n_iter_, other.t_, other.loss_, other.best_loss_)
    for name, value in one.model_.parameters.items():
        np.testing.assert_array_equal(value, other.model_.parameters[name])
    np.testing.assert_array_equal(one.predict(X), other.predict(X))


# --- Settings ---------------------------------------------------------------------------------------------------------

# What scikit-learn's perceptrons have as well, with the same constraint: the messages are compared.
SHARED = {
    "alpha": [-1, -1e-9, "a", None, NAN, [1], 1j],
    "batch_size": [0, -1, 2.5, "all", None, NAN, 10.0],
    "learning_rate_init": [0, -1, "a", None, NAN],
    "power_t": [-1, "a", None, NAN],
    "max_iter": [0, -1, 2.5, "a", None, INF],
    "shuffle": [1, "yes", None, NAN],
    "random_state": [-1, "a", 1.5, 2**32, [1], np.random.default_rng(0)],
    "tol": [-1, "a", None, NAN],
    "verbose": [-1, "a", None, 2.5],
    "warm_start": ["yes", None, 1],
    "momentum": [-0.1, 1.1, "a", None, NAN],
    "nesterovs_momentum": ["a", None, 1],
    "early_stopping": ["a", None, 2],
    "validation_fraction": [-0.1, 1, 1.5, "a", None, NAN],
    "beta_1": [-0.1, 1, "a", None, NAN],
    "beta_2": [-0.1, 1.0, "a", None],
    "epsilon": [0, -1, "a", None, NAN],
    "n_iter_no_change": [0, -1, 2.5, "a", None, NAN],
    "max_fun": [0, -1, 2.5, "a", None],
    "hidden_layer_sizes": [0, -1, (3, 0), (3, -2), "a", None, 2.5, NAN],
}
# More is allowed than there; the message begins the same, and goes on.
WIDER = {
    "activation": ["Tanh", "sigmoid", 1, gates.Tanh, ""],
    "solver": ["SGD", None, 1, GradientDescent, ScipyMinimize],
    "learning_rate": ["constnat", None, 0.1, True],
}


def said(estimator, y):
    """Return what `fit` raises, its options in alphabetical order."""
    before = state(estimator)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it is, it is compared
        fit(estimator, X, y)
    if not isinstance(estimator, MLPClassifier | MLPRegressor):
        assert state(estimator) == before
    text = re.sub(r"\{([^}]*)\}", lambda m: "{" + ", ".join(sorted(m[1].split(", "))) + "}", str(caught.value))
    return type(caught.value), re.sub("(MLP|Gate)(Classifier|Regressor)", "*", text)


SHARED_ROWS = [pytest.param(name, value, id=f"{name}={value!r}") for name in SHARED for value in SHARED[name]]
WIDER_ROWS = [pytest.param(name, value, id=f"{name}={value!r}") for name in WIDER for value in WIDER[name]]
TWINS = [(GateClassifier, MLPClassifier, LABELS), (GateRegressor, MLPRegressor, Y)]


@pytest.mark.parametrize(("name", "value"), SHARED_ROWS)
@pytest.mark.parametrize(("ours", "theirs", "y"), TWINS)
def test_as_scikit_learn_says(name: str, value: object, ours: type, theirs: type, y: np.ndarray) -> None:
    """The same exception, in the same words."""
    assert said(ours(**{name: value}), y) == said(theirs(**{name: value}), y)
    # And of one that is fitted, too: what it learned stays.
    fitted = fit(ours(**SMALL), X, y).set_params(**{name: value})
    assert said(fitted, y) == said(theirs(**{name: value}), y)


@pytest.mark.parametrize(("name", "value"), WIDER_ROWS)
@pytest.mark.parametrize(("ours", "theirs", "y"), TWINS)
def test_nearly_as_scikit_learn_says(name: str, value: object, ours: type, theirs: type, y: np.ndarray) -> None:
    """The same exception, in the same words but for what else is allowed."""
    kind, text = said(ours(**{name: value}), y)
    other_kind, other = said(theirs(**{name: value}), y)
    assert kind is other_kind
    beginning, end = other.split("{")[0], other[other.index("Got ") :]
    assert text.startswith(beginning)
    assert text.endswith(end)
    options = set(re.search(r"\{(.*?)\}", text)[1].split(", "))
    assert options >= set(re.search(r"\{(.*?)\}", other)[1].split(", "))


# Ours alone: the bad value, what the message must hold, for whom it is. InvalidParameterError is a ValueError.
OWN = [
    ("hidden_layer_sizes", True, ["hidden_layer_sizes", "True"]),
    ("hidden_layer_sizes", (3, True), ["hidden_layer_sizes", "(3, True)"]),
    ("hidden_layer_sizes", [[3, 4]], ["hidden_layer_sizes must be a width, or one list", "[[3, 4]]"]),
    ("hidden_layer_sizes", (2.5,), ["width must be an integer", "2.5"]),
    ("hidden_layer_sizes", (3, None), ["width must be an integer", "None"]),
    ("hidden_layer_sizes", ("3",), ["width must be an integer", "'3'"]),
    ("hidden_layer_sizes", [Dense], ["instances", "write Dense(width)"]),
    ("hidden_layer_sizes", [4, Dropout], ["write Dropout()"]),
    ("hidden_layer_sizes", [4, gates.Tanh], ["write Tanh()"]),
    ("hidden_layer_sizes", [4, gates.Softmax()], ["Softmax", "is an output, no layer", "SoftmaxLayer()"]),
    ("hidden_layer_sizes", [4, gates.AddGate()], ["AddGate takes 2 inputs"]),
    ("activation", [gates.Tanh], ["activation must be one of 'identity'", "write Tanh()"]),
    ("activation", ["sigmoid"], ["'logistic'", "'sigmoid'"]),
    ("activation", ("relu", "tanh"), ["activation must be one for all", "the 1 that", "got 2"]),
    ("activation", gates.Softmax(), ["is an output, no layer"]),
    ("activation", gates.AddGate(), ["AddGate takes 2 inputs"]),
    ("loss", "mse", ["'loss' parameter", "squared_error", "Got 'mse'"]),
    ("loss", None, ["'loss' parameter", "Got None"]),
    ("loss", gates.Softmax, ["'loss' parameter", "Got <class"]),
    ("learning_rate", Cosine, ["learning_rate", "write Cosine()"]),
    ("learning_rate", lambda *_: -1.0, ["factor", "not negative", "-1.0"]),
    ("learning_rate", lambda *_: NAN, ["factor", "finite", "nan"]),
    ("learning_rate", lambda *_: "a", ["factor", "number", "'a'"]),
    ("dropout", -0.1, ["'dropout' parameter", "[0.0, 1.0)", "-0.1"]),
    ("dropout", 1, ["'dropout' parameter", "[0.0, 1.0)", "Got 1"]),
    ("dropout", "a", ["'dropout' parameter", "'a'"]),
    ("dropout", NAN, ["'dropout' parameter", "nan"]),
    ("dropout", [0.1, 0.2], ["dropout must be one for all", "got 2: [0.1, 0.2]"]),
    ("dropout", [1.5], ["dropout must be at least 0 and below 1", "1.5"]),
    ("dropout", [None], ["dropout must be a number", "None"]),
    ("batch_norm", 1, ["'batch_norm' parameter", "Got 1"]),
    ("batch_norm", None, ["'batch_norm' parameter", "Got None"]),
    ("initializer", "glorot", ["'initializer' parameter", "callable", "'glorot'"]),
    ("initializer", lambda *_: 1, ["initializer must return the pair (W, b)", "int"]),
    ("initializer", lambda _, m, n: (np.ones((m, n)), np.ones(3)), ["initializer's b", "(4,)", "(3,)"]),
    ("initializer", lambda _, m, n: (np.full((m, n), NAN), np.ones(n)), ["initializer's W", "nan"]),
    ("clip_norm", 0, ["'clip_norm' parameter", "(0.0, inf)", "Got 0"]),
    ("clip_norm", NAN, ["'clip_norm' parameter", "nan"]),
    ("clip_norm", "a", ["'clip_norm' parameter", "'a'"]),
    ("callbacks", "a", ["'callbacks' parameter", "list", "'a'"]),
    ("callbacks", EarlyStopping(), ["'callbacks' parameter", "list", "EarlyStopping("]),
    ("callbacks", [sklearn.callback.ProgressBar()], ["one of scikit-learn's", "set_callbacks(ProgressBar())"]),
    ("callbacks", [1], ["a callback must be an instance of Callback", "1"]),
    ("callbacks", [EarlyStopping], ["write EarlyStopping()"]),
    ("callbacks", [EarlyStopping()], ["'validation_loss' is not measured", "X_val", "early_stopping=True"]),
    ("callbacks", [Target(0.1, monitor="accuracy")], ["'accuracy' is not measured", "loss"]),
]
OF_CLASSIFIERS = [
    ("class_weight", "balance", ["'class_weight' parameter", "balanced", "'balance'"]),
    ("class_weight", 1, ["'class_weight' parameter", "Got 1"]),
    ("class_weight", {7: 1.0}, ["class_weight={7: 1.0}", "[0, 1]"]),
    ("class_weight", {0: -1.0, 1: 1.0}, ["class_weight", "not below 0", "-1.0"]),
    ("class_weight", {0: NAN, 1: 1.0}, ["class_weight", "finite", "nan"]),
    ("class_weight", {0: INF, 1: 1.0}, ["class_weight", "finite", "inf"]),
    ("class_weight", {0: "a", 1: 1.0}, ["class_weight", "'a'"]),
    ("class_weight", {0: 0.0, 1: 0.0}, ["weights of all examples are zero"]),
    ("class_weight", {0: 1e308, 1: 1e308}, ["weights of all examples add up", "float64"]),
    ("loss", "poisson", ["'loss' parameter", "log_loss", "Got 'poisson'"]),
]
OF_REGRESSORS = [
    ("loss", "log_loss", ["'loss' parameter", "poisson", "Got 'log_loss'"]),
    ("loss", gates.Softmax(), ["is for classes", "GateClassifier"]),
    ("loss", "poisson", ["targets must not be negative", "as counts are"]),
    ("loss", gates.Poisson(), ["targets must not be negative"]),
]
OWN_ROWS = [
    *((*row, *who) for row in OWN for who in BOTH),
    *((*row, *BOTH[0]) for row in OF_CLASSIFIERS),
    *((*row, *BOTH[1]) for row in OF_REGRESSORS),
]


@pytest.mark.parametrize(("name", "value", "words", "ours", "y"), OWN_ROWS)
def test_own_settings(name: str, value: object, words: list[str], ours: type, y: np.ndarray) -> None:
    """A ValueError names the setting and what came; what was learned before stays."""
    fitted = fit(ours(**SMALL), X, y)
    before = state(fitted)
    with pytest.raises(ValueError, match=r".") as caught:
        fit(fitted.set_params(**{name: value}), X, y)
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)
    assert state(fitted) == before
    new = ours(**{**SMALL, name: value})
    with pytest.raises(ValueError, match=r"."):
        fit(new, X, y)
    assert vars(new) == vars(ours(**{**SMALL, name: value})) or name == "callbacks"


@pytest.mark.parametrize("ours", [GateClassifier, GateRegressor])
def test_every_setting_is_tried(ours: type) -> None:
    """No setting without two bad values."""
    own = OWN + (OF_CLASSIFIERS if ours is GateClassifier else OF_REGRESSORS)
    tried = [name for table in (SHARED, WIDER) for name, values in table.items() for _ in values]
    tried += [name for name, *_ in own]
    assert {name for name in inspect.signature(ours).parameters if tried.count(name) < 2} == set()


# Settings that do not go together.
TOGETHER = [
    ({"solver": "lbfgs", "dropout": 0.5}, ["dropout does not go with", "L-BFGS-B"]),
    ({"solver": "lbfgs", "clip_norm": 1.0}, ["clip_norm does not go with", "L-BFGS-B"]),
    ({"solver": "lbfgs", "learning_rate": Cosine()}, ["learning_rate=Cosine", "solver='lbfgs'", "'constant'"]),
    ({"solver": ScipyMinimize("CG"), "learning_rate": Cosine()}, ["learning_rate=Cosine", "'CG'"]),
    ({"batch_norm": True, "batch_size": 13}, ["batch normalisation needs two or more rows", "batch_size=13"]),
    ({"early_stopping": True, "validation_fraction": 0.0}, ["validation_fraction=0.0"]),
    ({"early_stopping": True, "validation_fraction": 0.02}, ["validation_fraction"]),
]


@pytest.mark.parametrize(("given", "words"), TOGETHER)
@pytest.mark.parametrize(("ours", "y"), BOTH)
def test_settings_that_do_not_go_together(given: dict, words: list[str], ours: type, y: np.ndarray) -> None:
    """They are named, and what to do instead."""
    fitted = fit(ours(**SMALL), X, y)
    before = state(fitted)
    with pytest.raises(ValueError, match=r".") as caught:
        fit(fitted.set_params(**given), X, y)
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)
    assert state(fitted) == before


@pytest.mark.parametrize("rate", ["adaptive", "invscaling"])
@pytest.mark.parametrize("solver", ["lbfgs", ScipyMinimize("CG")])
def test_settings_of_other_solvers(rate: str, solver: object) -> None:
    """What is not asked for by this solver is not looked at, as in scikit-learn; it stops all the same."""
    plain = regressor(solver=solver)
    given = regressor(solver=solver, learning_rate=rate, batch_size=7, momentum=0.1, learning_rate_init=7.0)
    np.testing.assert_array_equal(plain.coefs_[0], given.coefs_[0])
    given.set_params(max_iter=500, tol=10.0, n_iter_no_change=1, early_stopping=True).fit(X, Y)
    assert given.n_iter_ < 10


def test_bad_settings_in_partial_fit() -> None:
    """As in scikit-learn the first call looks at them all; a later one at what it uses."""
    for ours, y in BOTH:
        known = {"classes": [0, 1]} if ours is GateClassifier else {}
        with pytest.raises(ValueError, match="'alpha' parameter"):
            ours(**SMALL, alpha=-1).partial_fit(X, y, **known)
        fitted = ours(**SMALL).partial_fit(X, y, **known)
        before = state(fitted)
        for name, value in {"alpha": -1, "learning_rate": lambda *_: -1.0, "clip_norm": -1}.items():
            with pytest.raises(ValueError, match=r"negative|clip_norm"):
                fitted.set_params(**{name: value}).partial_fit(X, y)
            fitted.set_params(**{name: getattr(ours(), name)})
            assert state(fitted) == before
        with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True"):
            fitted.set_params(early_stopping=True).partial_fit(X, y)


@pytest.mark.parametrize("solver", ["lbfgs", ScipyMinimize("CG")])
def test_no_partial_fit(solver: object) -> None:
    """What does not take steps has no partial_fit, and says why."""
    estimator = GateRegressor(solver=solver)
    assert not hasattr(estimator, "partial_fit")
    with pytest.raises(AttributeError, match="partial_fit") as caught:
        estimator.partial_fit(X, Y)
    assert "takes steps" in str(caught.value.__cause__)


def test_no_probabilities() -> None:
    """A loss that gives none says so."""
    estimator = classifier(loss="hinge")
    assert not hasattr(estimator, "predict_proba")
    assert not hasattr(estimator, "predict_log_proba")
    with pytest.raises(AttributeError, match="predict_proba") as caught:
        estimator.predict_proba(X)
    assert "loss='hinge' gives no probabilities; 'log_loss' does" in str(caught.value.__cause__)


# --- Data -------------------------------------------------------------------------------------------------------------


def spoilt(value, dtype=float):
    """Return examples with one value that is none."""
    bad = np.array(X, dtype)
    bad[7, 1] = value
    return bad


NAMES = ["length", "width", "depth"]
FEATURES = {
    "nan": (spoilt(NAN), ["NaN", "of X is nan", "row 7, column 1", "there are 1"]),
    "inf": (spoilt(INF), ["infinity", "of X is inf", "row 7, column 1"]),
    "-inf": (spoilt(-INF), ["infinity", "of X is -inf", "row 7, column 1"]),
    "pandas": (pd.DataFrame(spoilt(NAN), columns=NAMES), ["NaN", "row 7, column 'width'"]),
    "polars": (pl.DataFrame(spoilt(NAN), schema=NAMES), ["NaN", "row 7, column 'width'"]),
    "null": (pl.DataFrame(spoilt(NAN), schema=NAMES, nan_to_null=True), ["NaN", "row 7, column 'width'"]),
    "strings": ([["a", "b", "c"]] * 40, ["could not convert string to float: 'a'"]),
    "complex": (X.astype(complex), ["Complex data not supported"]),
    "one axis": (X[:, 0], ["Expected 2D array, got 1D array"]),
    "three axes": (X[:, :, None], ["dim 3"]),
    "a number": (3.0, ["Expected 2D array, got scalar"]),
    "no rows": (X[:0], ["0 sample(s)", "minimum of 1"]),
    "no columns": (X[:, :0], ["0 feature(s)", "minimum of 1"]),
}
SPARSE = [scipy.sparse.csr_array(X), scipy.sparse.csc_matrix(X)]


def refused(call, estimator, words, kind=ValueError):
    """Assert that a call is refused in some words, without a warning, and leaves the estimator as it was."""
    before = dict(vars(estimator))
    learned = state(estimator)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "X has feature names", UserWarning)
        with pytest.raises(kind) as caught:
            call()
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)
    assert vars(estimator).keys() == before.keys()
    assert state(estimator) == learned


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("make", [classifier, regressor])
def test_bad_features(name: str, make: object) -> None:
    """Everywhere features are taken; of what is not finite it is said where it stands."""
    bad, words = FEATURES[name]
    estimator = make()
    y = (LABELS if make is classifier else Y)[: len(bad) if hasattr(bad, "__len__") else 1]
    for call in (
        lambda: estimator.fit(bad, y),
        lambda: estimator.partial_fit(bad, y),
        lambda: estimator.predict(bad),
        lambda: estimator.score(bad, y),
        lambda: estimator.activations(bad),
        lambda: estimator.gradients(bad, y),
    ):
        refused(call, estimator, words)
    given = estimator.fit if make is regressor else type(estimator)(**SMALL).fit
    refused(lambda: given(X, LABELS, X_val=bad, y_val=y), estimator, ["X_val, y_val: ", *words])
    new = type(estimator)(**SMALL)
    known = {"classes": [0, 1]} if make is classifier else {}
    refused(lambda: new.fit(bad, y), new, words)
    refused(lambda: new.partial_fit(bad, y, **known), new, words)
    if make is classifier:
        refused(lambda: estimator.predict_proba(bad), estimator, words)
        refused(lambda: estimator.decision_function(bad), estimator, words)


@pytest.mark.parametrize("bad", SPARSE)
@pytest.mark.parametrize("make", [classifier, regressor])
def test_sparse_features(bad: object, make: object) -> None:
    """They are refused, with what to do; scikit-learn's word for it is a TypeError."""
    estimator, words = make(), ["Sparse data was passed for X", ".toarray()"]
    y = LABELS if make is classifier else Y
    for call in (
        lambda: estimator.fit(bad, y),
        lambda: estimator.partial_fit(bad, y),
        lambda: estimator.predict(bad),
        lambda: estimator.fit(X, y, X_val=bad, y_val=y),
    ):
        refused(call, estimator, words, TypeError)


@pytest.mark.parametrize("make", [classifier, regressor])
def test_other_features(make: object) -> None:
    """Another number of columns, or other names, than were learned from."""
    estimator, y = make(), LABELS if make is classifier else Y
    words = ["X has 2 features", "is expecting 3 features"]
    for call in (
        lambda: estimator.predict(X[:, :2]),
        lambda: estimator.partial_fit(X[:, :2], y),
        lambda: estimator.fit(X, y, X_val=X[:, :2], y_val=y),
        lambda: estimator.set_params(warm_start=True).fit(X[:, :2], y),
        lambda: estimator.activations(X[:, :2]),
        lambda: estimator.gradients(X[:, :2], y),
    ):
        refused(call, estimator, words)
    frame = pd.DataFrame(X, columns=NAMES)
    fit(estimator.set_params(warm_start=False), frame, y)
    renamed = frame.rename(columns={"width": "breadth"})
    words = ["feature names should match", "breadth", "width"]
    refused(lambda: estimator.predict(renamed), estimator, words)
    refused(lambda: estimator.partial_fit(renamed, y), estimator, words)
    refused(lambda: estimator.predict(frame[NAMES[::-1]]), estimator, ["must be in the same order"])
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        estimator.predict(X)


def with_value(y, value, dtype=float):
    """Return targets with one bad value."""
    bad = np.array(y, dtype)
    bad[7] = value
    return bad


CLASSES = {
    "nan": (with_value(LABELS, NAN), ["NaN", "of y is nan, in row 7"]),
    "inf": (with_value(LABELS, INF), ["infinity", "of y is inf, in row 7"]),
    "nullable": (pd.Series([pd.NA, *LABELS[1:]], dtype="Int64"), ["NaN", "in row 0"]),
    "None": (with_value(LABELS, None, object), ["y has None in row 7"]),
    "None in a list": ([None, *LABELS[1:].tolist()], ["y has None in row 0"]),
    "mixed": (with_value(LABELS, "a", object), ["y mixes int and str", "make all of them strings"]),
    "a mixed list": ([0, "a"] * 20, ["y mixes int and str"]),
    "a mixed column": (pd.Series([0, "a"] * 20, dtype=object), ["y mixes int and str"]),
    "numbers": (Y, ["Unknown label type", "continuous"]),
    "one class": (np.zeros(40, int), ["at least 2 classes", "only one class: 0"]),
    "one name": (["no"] * 40, ["only one class: 'no'"]),
    "too few": (LABELS[:39], ["inconsistent numbers of samples: [40, 39]"]),
    "several classes": (np.stack([LABELS, LABELS + 1], axis=1), ["y should be a 1d array", "(40, 2)"]),
    "none": (None, ["requires y to be passed"]),
    "no rows": (LABELS[:0], ["0 sample(s)"]),
    "three axes": (np.zeros((40, 2, 2), int), ["dim 3"]),
}
NUMBERS = {
    "nan": (with_value(Y, NAN), ["NaN", "of y is nan, in row 7"]),
    "-inf": (with_value(Y, -INF), ["infinity", "of y is -inf, in row 7"]),
    "several": (np.stack([Y, with_value(Y, NAN)], axis=1), ["NaN", "of y is nan, in row 7, column 1"]),
    "a column": (pd.DataFrame({"a": Y, "b": with_value(Y, NAN)}), ["NaN", "in row 7, column 'b'"]),
    "None": (with_value(Y, None, object), ["y has None in row 7"]),
    "nan among objects": (with_value(Y, NAN, object), ["NaN", "in row 7"]),
    "strings": (np.array(["a", "b"] * 20), ["y must be numbers", "'a'"]),
    "mixed": ([0.5, "a"] * 20, ["y mixes float and str"]),
    "complex": (Y.astype(complex), ["Complex data not supported"]),
    "too few": (Y[:39], ["inconsistent numbers of samples: [40, 39]"]),
    "none": (None, ["requires y to be passed"]),
}


@pytest.mark.parametrize(
    ("make", "bad", "words"),
    [
        *(pytest.param(classifier, *CLASSES[name], id=f"classifier, {name}") for name in CLASSES),
        *(pytest.param(regressor, *NUMBERS[name], id=f"regressor, {name}") for name in NUMBERS),
    ],
)
def test_bad_targets(make: object, bad: object, words: list[str]) -> None:
    """In fit, in partial_fit, and of the validation data."""
    estimator = make()
    new = type(estimator)(**SMALL)
    refused(lambda: estimator.fit(X, bad), estimator, words)
    refused(lambda: new.fit(X, bad), new, words)
    if "only one class" not in " ".join(words):
        # A part may well have one class only.
        refused(lambda: estimator.partial_fit(X, bad), estimator, words)
        if bad is not None:
            y = LABELS if make is classifier else Y
            words = ["X_val, y_val: ", *words]
            refused(lambda: estimator.fit(X, y, X_val=X, y_val=bad), estimator, words)


PAIRS = np.stack([LABELS, 1 - LABELS], axis=1)
THREE = np.arange(40) % 3
OTHERS = [
    (classifier, {"y": THREE}, ["classes not in `self.classes_`", "[0 1]", "[2]"]),
    (classifier, {"y": np.array(["a", "b"])[LABELS]}, ["classes not in `self.classes_`", "'a'"]),
    (classifier, {"y": PAIRS}, ["y must have one class for each example", "(40, 2)"]),
    (classifier, {"y": LABELS, "classes": [0, 1, 2]}, ["`classes=[0, 1, 2]` is not the same as on last call"]),
    (regressor, {"y": np.stack([Y, Y], axis=1)}, ["y must have 1 targets for each example, as before, got 2"]),
]


@pytest.mark.parametrize(("make", "given", "words"), OTHERS)
def test_other_targets(make: object, given: dict, words: list[str]) -> None:
    """What was never announced, in partial_fit, in a warm start, and in the validation data."""
    estimator = make()
    refused(lambda: estimator.partial_fit(X, **given), estimator, words)
    if "classes" not in given:
        y = LABELS if make is classifier else Y
        refused(lambda: estimator.fit(X, y, X_val=X, y_val=given["y"]), estimator, words)
        estimator.set_params(warm_start=True)
        refused(lambda: estimator.fit(X, **given), estimator, words)


def test_partial_fit_without_classes() -> None:
    """The first call must say which there will be, and these are held to."""
    new = GateClassifier(**SMALL)
    refused(lambda: new.partial_fit(X, LABELS), new, ["classes must be passed on the first call to partial_fit"])
    refused(lambda: new.partial_fit(X, LABELS, classes=[1]), new, ["classes not in `self.classes_`", "[0]"])
    labels = fit(GateClassifier(**SMALL), X, PAIRS)
    refused(lambda: labels.partial_fit(X, LABELS), labels, ["0 or 1 for each of 2 labels", "(40,)"])
    three = np.stack([LABELS, LABELS, LABELS], axis=1)
    refused(lambda: labels.partial_fit(X, three), labels, ["0 or 1 for each of 2 labels", "(40, 3)"])


WEIGHTS = {
    "negative": (with_value(np.ones(40), -0.5), ["Negative values", "of sample_weight is -0.5, in row 7"]),
    "nan": (with_value(np.ones(40), NAN), ["NaN", "of sample_weight is nan, in row 7"]),
    "inf": (with_value(np.ones(40), INF), ["infinity", "of sample_weight is inf, in row 7"]),
    "zero": (np.zeros(40), ["at least one non-zero number"]),
    "too few": (np.ones(39), ["sample_weight.shape == (39,), expected (40,)"]),
    "columns": (np.ones((40, 2)), ["1D array or scalar"]),
    "strings": (["a"] * 40, ["could not convert string to float"]),
    "too large": (np.full(40, 1e308), ["weights of all examples add up to more than float64 can hold"]),
}


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("make", [classifier, regressor])
def test_bad_weights(name: str, make: object) -> None:
    """In fit, in partial_fit, and of the validation data."""
    bad, words = WEIGHTS[name]
    estimator, y = make(), LABELS if make is classifier else Y
    refused(lambda: estimator.fit(X, y, bad), estimator, words)
    refused(lambda: estimator.partial_fit(X, y, bad), estimator, words)
    validation = {"X_val": X, "y_val": y, "sample_weight_val": bad}
    refused(lambda: estimator.fit(X, y, **validation), estimator, ["X_val, y_val: ", *words])


@pytest.mark.parametrize("make", [classifier, regressor])
def test_half_a_validation(make: object) -> None:
    """Examples without targets, targets without examples, weights without either."""
    estimator, y = make(), LABELS if make is classifier else Y
    words = ["X_val and y_val go together"]
    refused(lambda: estimator.fit(X, y, X_val=X), estimator, words)
    refused(lambda: estimator.fit(X, y, y_val=y), estimator, words)
    words = ["sample_weight_val goes with X_val and y_val"]
    refused(lambda: estimator.fit(X, y, sample_weight_val=np.ones(40)), estimator, words)


def test_few_rows() -> None:
    """One example is enough where it makes sense; where it does not, it is said."""
    one = fit(GateRegressor(**SMALL), X[:1], Y[:1])
    assert one.predict(X[:1]).shape == (1,)
    new = GateRegressor(**SMALL, batch_norm=True)
    words = ["batch normalisation needs two or more examples", "1 sample"]
    refused(lambda: new.fit(X[:1], Y[:1]), new, words)
    refused(lambda: new.partial_fit(X[:1], Y[:1]), new, words)
    new = GateClassifier(**SMALL)
    refused(lambda: new.fit(X[:1], LABELS[:1]), new, ["only one class"])
    estimator = regressor()
    words = ["X_val, y_val: ", "two or more examples, got 1"]
    refused(lambda: estimator.fit(X, Y, X_val=X[:1], y_val=Y[:1]), estimator, words)
    weights = np.eye(40)[3]
    refused(lambda: estimator.fit(X, Y, X_val=X, y_val=Y, sample_weight_val=weights), estimator, words)
    assert fit(GateClassifier(**SMALL), X, LABELS, X_val=X[:1], y_val=LABELS[:1]).validation_scores_[0] in (0.0, 1.0)


def test_nothing_before_fit() -> None:
    """What is asked of an estimator that was not fitted."""
    for new in (GateClassifier(), GateRegressor()):
        for method in ("predict", "activations"):
            with pytest.raises(NotFittedError, match="is not fitted yet"):
                getattr(new, method)(X)
        with pytest.raises(NotFittedError):
            new.gradients(X, LABELS)
        for name in ("coefs_", "intercepts_", "n_layers_", "n_outputs_", "out_activation_", "loss_curve_", "model_"):
            assert not hasattr(new, name), name
        with pytest.raises(AttributeError, match="has no coefs_ before fit"):
            new.coefs_  # noqa: B018 - it is to raise


def test_bad_warm_start() -> None:
    """A warm start with another net than the last."""
    estimator = regressor(warm_start=True).set_params(hidden_layer_sizes=(5,))
    refused(lambda: estimator.fit(X, Y), estimator, ["warm_start", "(3, 5)", "(3, 4)", "False begins anew"])


# --- What fails in the course of it -----------------------------------------------------------------------------------


class Breaks(Callback):
    """Raises after some batches."""

    def __init__(self, error, after):
        self.error, self.left = error, after

    def batch_end(self, training):
        """Count down."""
        self.left -= 1
        if self.left < 0:
            raise self.error


LEARNING = {
    "sgd": {"solver": "sgd", "batch_size": 7},
    "adam, dropout": {"dropout": 0.3, "batch_size": 7},
    "batch norm": {"batch_norm": True, "batch_size": 8, "solver": "sgd"},
    "one batch": {"solver": "sgd"},
}
HUGE = X.copy()
HUGE[-1] = 1e300


def broken(estimator):
    """Let a callback raise in the second epoch."""
    try:
        fit(estimator.set_params(callbacks=[Breaks(KeyError("broken"), 1)]), X, Y)
    finally:
        estimator.set_params(callbacks=None)


FAILURES = {
    "fit diverges": (lambda e: fit(e, HUGE, Y), ArithmeticError),
    "partial_fit diverges": (lambda e: e.partial_fit(HUGE, Y), ArithmeticError),
    "a callback": (broken, KeyError),
    "bad features": (lambda e: e.partial_fit(spoilt(NAN), Y), ValueError),
    "bad targets": (lambda e: e.partial_fit(X, np.stack([Y, Y], axis=1)), ValueError),
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("settings", LEARNING)
@pytest.mark.parametrize("first", ["fit", "partial_fit"])
@pytest.mark.parametrize("warm", [False, True])
def test_after_a_failure(failure: str, settings: str, first: str, warm: bool) -> None:
    """What fails leaves no trace: what comes after is what would have come without it, to the last digit."""

    def learned():
        estimator = GateRegressor(**SMALL, **LEARNING[settings], warm_start=warm)
        return fit(estimator, X, Y) if first == "fit" else estimator.partial_fit(X, Y).partial_fit(X, Y)

    fails, kind = FAILURES[failure]
    for after in (lambda e: fit(e, X, Y), lambda e: e.partial_fit(X, Y)):
        estimator, other = learned(), learned()
        before, rows = state(estimator), [X.tobytes(), Y.tobytes(), HUGE.tobytes()]
        with pytest.raises(kind):
            fails(estimator)
        assert state(estimator) == before
        assert [X.tobytes(), Y.tobytes(), HUGE.tobytes()] == rows
        for _ in range(2):
            after(estimator)
            after(other)
        same(estimator, other)


def test_poisson_targets_in_partial_fit() -> None:
    """What the output refuses in the course of an epoch leaves no trace, either."""
    counts = np.abs(Y)
    twins = [GateRegressor(**SMALL, loss="poisson", batch_size=7).partial_fit(X, counts) for _ in range(2)]
    bad = with_value(counts, -3.0)
    refused(lambda: twins[0].partial_fit(X, bad), twins[0], ["targets must not be negative", "-3.0"], GateError)
    same(twins[0].partial_fit(X, counts), twins[1].partial_fit(X, counts))


def test_interrupt() -> None:
    """Ctrl-C before the first loss is an error like others; a later one ends the training; what is learned stays."""

    class AtOnce(Callback):
        def fit_begin(self, training):
            raise KeyboardInterrupt

    estimator = regressor()
    before = state(estimator)
    with pytest.raises(KeyboardInterrupt):
        estimator.set_params(callbacks=[AtOnce()]).fit(X, Y)
    estimator.set_params(callbacks=None)
    assert state(estimator) == before
    estimator.set_params(callbacks=[Breaks(KeyboardInterrupt(), 3)], max_iter=10, batch_size=10)
    with pytest.warns(UserWarning, match="interrupted after 0 of 10 epochs"):
        estimator.fit(X, Y)
    assert estimator.history_.stopped == "interrupted"


def test_divergence_is_traced() -> None:
    """Where it happened, and what to do."""
    estimator = regressor(solver="sgd", activation="identity").set_params(max_iter=100, learning_rate_init=1e6)
    with pytest.raises(DivergenceError, match="diverged in epoch") as caught:
        estimator.fit(X, Y)
    assert "smaller rate (it was 1e+06)" in str(caught.value)


def test_nothing_else_is_touched() -> None:
    """Neither the user's arrays, read-only or not, nor NumPy's global generator."""
    given = [X.copy(), LABELS.copy(), np.ones(40), X.copy(order="F"), LABELS.astype(float)]
    copies = [array.tobytes() for array in given]
    for array in given:
        array.flags.writeable = False
    drawn = np.random.get_state()[1].tobytes(), np.random.get_state()[2]  # noqa: NPY002 - it is not to be touched
    data, labels, weights, columns, numbers = given
    for early in (False, True):
        fitted = fit(GateClassifier((4,), max_iter=3, dropout=0.5, early_stopping=early), data, labels, weights)
        fitted.set_params(early_stopping=False).partial_fit(columns, labels, weights)
        fitted.predict_proba(columns)
        fit(GateRegressor((4,), max_iter=3, early_stopping=early), columns, numbers, weights).score(data, numbers)
    assert [array.tobytes() for array in given] == copies
    assert drawn == (np.random.get_state()[1].tobytes(), np.random.get_state()[2])  # noqa: NPY002 - the same


def test_graph_errors_are_value_errors() -> None:
    """What the core raises is caught with what scikit-learn raises."""
    assert issubclass(GraphError, ValueError)
    assert issubclass(GateError, ValueError)
