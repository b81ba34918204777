"""Trainings of `GateClassifier` and `GateRegressor` side by side with scikit-learn's multi-layer perceptrons."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import make_classification, make_multilabel_classification, make_regression
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor

from nngraph import GateClassifier, GateRegressor
from nngraph.optimizers import GradientDescent, ScipyMinimize

ROWS = 47  # of which no batch size here is a divisor


def standard(X):
    """Return columns of mean 0 and variance 1."""
    return (X - X.mean(axis=0)) / X.std(axis=0)


def classes(count, names=None):
    """Return examples of so many classes."""
    X, y = make_classification(ROWS, 5, n_informative=4, n_redundant=0, n_classes=count, random_state=0)
    return X, y if names is None else np.array(names)[y]


def targets(count):
    """Return examples of a regression, scaled."""
    X, y = make_regression(ROWS, 5, n_targets=count, random_state=0)
    return standard(X), standard(y)


def counts(columns):
    """Return examples of counts."""
    X, y = targets(columns)
    return X, np.floor(np.exp(y))


DATA = {
    "two classes": classes(2),
    "named": classes(2, ["yes", "no"]),
    "three classes": classes(3),
    "labels": make_multilabel_classification(ROWS, 5, n_classes=4, random_state=0),
    "regression": targets(1),
    "several targets": targets(3),
    "counts": counts(1),
    "several counts": counts(2),
}
DATA["labels"] = standard(DATA["labels"][0]), DATA["labels"][1]
WEIGHTS = np.random.default_rng(1).uniform(0.1, 3.0, ROWS)

CLASSIFIED = ("two classes", "named", "three classes", "labels")
SGD = {"solver": "sgd", "learning_rate_init": 0.1, "momentum": 0.0}
# What the two have in common: name of the data -> settings. The weighted rows are trained with WEIGHTS, too.
COMMON = {"hidden_layer_sizes": (7, 4), "max_iter": 12, "random_state": 3, "alpha": 0.3}
TABLE = {
    **{
        f"{activation}, {data}": (data, {**SGD, "activation": activation, "shuffle": False})
        for activation in ("identity", "logistic", "tanh", "relu")
        for data in DATA
    },
    **{f"adam, {data}": (data, {"learning_rate_init": 0.01, "batch_size": 10}) for data in DATA},
    **{f"early stopping, {data}": (data, {"learning_rate_init": 0.02, "early_stopping": True, "max_iter": 40,
                                          "validation_fraction": 0.3, "n_iter_no_change": 4, "batch_size": 10})
       for data in DATA},
    "no penalty": ("three classes", {**SGD, "alpha": 0.0}),
    "ragged": ("three classes", {**SGD, "batch_size": 23}),
    "one by one": ("regression", {**SGD, "learning_rate_init": 0.01, "batch_size": 1}),
    "alone at the end": ("two classes", {**SGD, "batch_size": 46}),
    "momentum": ("three classes", {**SGD, "momentum": 0.8, "nesterovs_momentum": False, "batch_size": 10}),
    "nesterov": ("three classes", {**SGD, "momentum": 0.8, "batch_size": 10}),
    "momentum 1": ("three classes", {**SGD, "momentum": 1.0, "learning_rate_init": 0.001, "batch_size": 10}),
    "invscaling": ("two classes", {**SGD, "learning_rate": "invscaling", "power_t": 0.3, "batch_size": 10}),
    "invscaling, momentum": ("regression", {**SGD, "learning_rate": "invscaling", "momentum": 0.7, "batch_size": 9}),
    "invscaling, poisson": ("counts", {**SGD, "learning_rate": "invscaling", "learning_rate_init": 0.01}),
    "adaptive": ("regression", {**SGD, "learning_rate": "adaptive", "max_iter": 80, "tol": 0.01, "momentum": 0.9,
                                "n_iter_no_change": 1}),
    "adaptive, to its end": ("two classes", {**SGD, "learning_rate": "adaptive", "max_iter": 400, "tol": 10.0,
                                             "n_iter_no_change": 1}),
    "adaptive, early stopping": ("two classes", {**SGD, "learning_rate": "adaptive", "max_iter": 100, "tol": 0.01,
                                                 "n_iter_no_change": 2, "early_stopping": True}),
    "adam, invscaling": ("two classes", {"learning_rate": "invscaling", "learning_rate_init": 0.01}),
    "adam, adaptive": ("two classes", {"learning_rate": "adaptive", "learning_rate_init": 0.01, "tol": 0.1,
                                       "n_iter_no_change": 2, "max_iter": 50}),
    "adam, betas": ("three classes", {"beta_1": 0.5, "beta_2": 0.7, "epsilon": 0.01, "learning_rate_init": 0.05}),
    "adam, betas 0": ("regression", {"beta_1": 0.0, "beta_2": 0.0, "epsilon": 0.1, "learning_rate_init": 0.05}),
    "stops": ("regression", {**SGD, "max_iter": 300, "tol": 1e-3}),
    "stops at once": ("regression", {**SGD, "max_iter": 300, "tol": 5.0, "n_iter_no_change": 3}),
    "never stops": ("regression", {**SGD, "max_iter": 40, "tol": 5.0, "n_iter_no_change": np.inf}),
    "tol 0": ("regression", {**SGD, "max_iter": 60, "tol": 0.0, "n_iter_no_change": 2}),
    "no hidden layer": ("three classes", {**SGD, "hidden_layer_sizes": ()}),
    "one width": ("three classes", {**SGD, "hidden_layer_sizes": 6}),
    "an array of widths": ("three classes", {**SGD, "hidden_layer_sizes": np.array([4, 3])}),
    "one epoch": ("three classes", {**SGD, "max_iter": 1}),
    "RandomState": ("three classes", {**SGD, "random_state": np.random.RandomState(5)}),
}  # fmt: skip
WEIGHTED = [
    "tanh, two classes", "tanh, three classes", "tanh, labels", "relu, regression", "relu, several targets",
    "tanh, counts", "adam, named", "adam, several targets", "early stopping, two classes", "early stopping, regression",
    "ragged", "one by one", "adaptive", "invscaling",
]  # fmt: skip


def pair(data, given):
    """Return our estimator and scikit-learn's, with the same settings."""
    ours, theirs = (GateClassifier, MLPClassifier) if data in CLASSIFIED else (GateRegressor, MLPRegressor)
    if "counts" in data:
        given = {"loss": "poisson", **given}
    given = {**COMMON, **given}
    random = given["random_state"]
    twin = np.random.RandomState() if isinstance(random, np.random.RandomState) else random
    if twin is not random:
        twin.set_state(random.get_state())
    return ours(**given), theirs(**{**given, "random_state": twin})


def fitted(estimator, *data):
    """Fit; return whether it said that there were too few epochs."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.fit(*data)
    kinds = [warning.category for warning in caught]
    assert set(kinds) <= {ConvergenceWarning}, [str(warning.message) for warning in caught]
    return len(kinds)


def same(ours, theirs, X, tolerance):
    """Assert that everything that a training leaves is the same."""
    close = {"rtol": tolerance, "atol": tolerance}
    assert (ours.n_iter_, ours.t_) == (theirs.n_iter_, theirs.t_)
    for name in ("n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    for name in ("loss_curve_", "loss_", "best_loss_", "validation_scores_", "best_validation_score_"):
        mine, other = getattr(ours, name), getattr(theirs, name)
        assert (mine is None) == (other is None), name
        if mine is not None:
            np.testing.assert_allclose(mine, other, err_msg=name, **close)
    for mine, other in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        assert mine.dtype == other.dtype
        np.testing.assert_allclose(mine, other, **close)
    predicted(ours, theirs, X, tolerance)


def predicted(ours, theirs, X, tolerance):
    """Assert that the same is predicted."""
    if not hasattr(theirs, "predict_proba"):
        mine, other = ours.predict(X), theirs.predict(X)
        assert (mine.shape, mine.dtype) == (other.shape, other.dtype)
        np.testing.assert_allclose(mine, other, rtol=10 * tolerance, atol=10 * tolerance)
        return
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    assert ours.predict(X).dtype == theirs.predict(X).dtype
    for method in ("predict_proba", "predict_log_proba"):
        mine, other = getattr(ours, method)(X), getattr(theirs, method)(X)
        assert (mine.shape, mine.dtype) == (other.shape, other.dtype)
        np.testing.assert_allclose(mine, other, rtol=100 * tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("name", [*TABLE, *(f"{name}, weighted" for name in WEIGHTED)])
def test_training(name: str) -> None:
    """Curves, weights, counts, stopping and predictions are scikit-learn's, to 1e-10, with Adam to 1e-8."""
    data, given = TABLE[name.removesuffix(", weighted")]
    X, y = DATA[data]
    weights = [WEIGHTS] if name.endswith("weighted") else []
    ours, theirs = pair(data, given)
    assert fitted(ours, X, y, *weights) == fitted(theirs, X, y, *weights)
    same(ours, theirs, X, 1e-10 if given.get("solver") == "sgd" else 1e-8)
    assert ours.score(X, y) == pytest.approx(theirs.score(X, y), abs=1e-8)


def test_the_table_stops() -> None:
    """What the rows about stopping are for does happen in them."""
    short = {"stops", "stops at once", "adaptive", "adaptive, to its end", "adam, adaptive", "early stopping, named"}
    for name in short:
        data, given = TABLE[name]
        ours, _ = pair(data, given)
        assert not fitted(ours, *DATA[data])
        assert 1 < ours.n_iter_ < ours.max_iter, name


DRAWN = st.fixed_dictionaries(
    {
        "hidden_layer_sizes": st.lists(st.integers(1, 6), max_size=3),
        "activation": st.sampled_from(["identity", "logistic", "tanh", "relu"]),
        "solver": st.sampled_from(["sgd", "adam"]),
        "alpha": st.sampled_from([0.0, 1e-4, 1.0]),
        "batch_size": st.sampled_from(["auto", 1, 5, 16, 46, 47]),
        "learning_rate": st.sampled_from(["constant", "invscaling", "adaptive"]),
        "learning_rate_init": st.sampled_from([1e-4, 1e-3]),
        "power_t": st.sampled_from([0.0, 0.25, 1.0]),
        "max_iter": st.integers(1, 15),
        "shuffle": st.booleans(),
        "random_state": st.integers(0, 2**32 - 1),
        "tol": st.sampled_from([0.0, 1e-4, 1e-1]),
        "momentum": st.sampled_from([0.0, 0.5, 0.9]),
        "nesterovs_momentum": st.booleans(),
        "early_stopping": st.booleans(),
        "validation_fraction": st.sampled_from([0.1, 0.5]),
        "n_iter_no_change": st.sampled_from([1, 3, np.inf]),
    }
)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(DATA)), DRAWN, st.booleans())
def test_any_training(data: str, given: dict, weighted: bool) -> None:
    """The same for settings of all kinds together."""
    X, y = DATA[data]
    # The large counts here let a longer step diverge.
    given["learning_rate_init"] /= 100 if "counts" in data else 1
    given["batch_size"] = min(given["batch_size"], 23) if given["batch_size"] != "auto" else "auto"
    ours, theirs = pair(data, given)
    weights = [WEIGHTS] if weighted else []
    assert fitted(ours, X, y, *weights) == fitted(theirs, X, y, *weights)
    same(ours, theirs, X, 1e-8)


@pytest.mark.parametrize("data", ["two classes", "named", "three classes", "labels", "regression", "counts"])
@pytest.mark.parametrize("weights", [[], [WEIGHTS]], ids=["", "weighted"])
def test_lbfgs(data: str, weights: list) -> None:
    """L-BFGS takes the same steps up to rounding: few of them are the same, many end at the same minimum."""
    X, y = DATA[data]
    ours, theirs = pair(data, {"solver": "lbfgs", "max_iter": 5, "activation": "tanh"})
    for estimator in (ours, theirs):
        with pytest.warns(ConvergenceWarning):
            estimator.fit(X, y, *weights)
    assert ours.n_iter_ == theirs.n_iter_ == 5
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-7)
    predicted(ours, theirs, X, 1e-6)
    # Without a hidden layer there is one minimum.
    end = {"hidden_layer_sizes": (), "max_iter": 500, "alpha": 1.0, "tol": 1e-6}
    ours, theirs = (estimator.set_params(**end).fit(X, y, *weights) for estimator in (ours, theirs))
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-8)
    np.testing.assert_allclose(ours.coefs_[0], theirs.coefs_[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"solver": "lbfgs", "max_fun": 5}, "EVALUATIONS EXCEEDS LIMIT"),
        ({"solver": ScipyMinimize("dogleg")}, "non-psd Hessian"),
    ],
)
def test_a_method_of_scipys_that_fails(settings: dict, words: str) -> None:
    """If it gives up before it has found a minimum, that is warned of, as scikit-learn does."""
    X, y = DATA["two classes"]
    ours = GateClassifier((3,), random_state=0, **settings)
    with pytest.warns(ConvergenceWarning, match=f"has not converged after .* epochs: .*{words}"):
        ours.fit(X, y)
    if settings["solver"] == "lbfgs":
        with pytest.warns(ConvergenceWarning, match=words):
            MLPClassifier((3,), random_state=0, **settings).fit(X, y)


@pytest.mark.parametrize("data", ["several targets", "several counts"])
def test_lbfgs_on_several_targets(data: str) -> None:
    """Of several targets the sum is minimised: the minimum is that of Ridge, which with a constant column has all.

    (In scikit-learn the loss is a mean over the targets and the gradient is not: it stops elsewhere.)
    """
    X, y = DATA[data]
    ours, _ = pair(data, {"solver": "lbfgs", "hidden_layer_sizes": (), "max_iter": 500, "alpha": 2.0, "tol": 1e-9})
    ours.set_params(loss="squared_error").fit(X, y)
    ridge = Ridge(alpha=2.0).fit(X, y)
    np.testing.assert_allclose(ours.coefs_[0].T, ridge.coef_, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours.intercepts_[0], ridge.intercept_, rtol=1e-5, atol=1e-6)
    expected = (((ridge.predict(X) - y) ** 2).mean() + 2.0 * (ridge.coef_**2).sum() / ROWS) / 2
    assert ours.loss_ == pytest.approx(expected)


@pytest.mark.parametrize("data", ["two classes", "three classes", "labels", "several targets", "counts"])
@pytest.mark.parametrize("solver", [{"momentum": 0.9, "learning_rate": "invscaling", **SGD}, {"solver": "adam"}])
def test_partial_fit(data: str, solver: dict) -> None:
    """Parts of other sizes, one after another, in the given order: as scikit-learn's."""
    X, y = DATA[data]
    ours, theirs = pair(data, {**solver, "shuffle": False, "batch_size": 10, "learning_rate_init": 0.01})
    parts = [slice(0, 20), slice(20, 47), slice(3, 14), slice(0, 47)]
    for i, part in enumerate(parts * 2):
        some = {"classes": np.unique(y)} if data.endswith("classes") and i == 0 else {}
        if data == "labels" and i == 0:
            some = {"classes": np.arange(4)}
        some["sample_weight"] = WEIGHTS[part]
        for estimator in (ours, theirs):
            estimator.partial_fit(X[part], y[part], **some)
        same(ours, theirs, X, 1e-8)


@pytest.mark.parametrize("data", ["two classes", "three classes", "several targets"])
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_float32(data: str, solver: str) -> None:
    """What is float32 stays so, and rounds as scikit-learn's does."""
    X, y = DATA[data]
    X = X.astype(np.float32)
    ours, theirs = pair(data, {"solver": solver, "learning_rate_init": 0.01, "max_iter": 3})
    assert fitted(ours, X, y) == fitted(theirs, X, y)
    for mine, other in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        assert mine.dtype == np.float32
        np.testing.assert_allclose(mine, other, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(ours.loss_curve_[:8], (getattr(theirs, "loss_curve_", ours.loss_curve_))[:8], rtol=1e-4)


def test_initial_weights() -> None:
    """The weights to begin with are drawn as scikit-learn draws them, for every activation."""
    X, y = DATA["three classes"]
    for activation in ("identity", "logistic", "tanh", "relu"):
        given = {"activation": activation, "max_iter": 1, "learning_rate_init": 1e-300, "solver": "sgd"}
        ours, theirs = pair("three classes", given)
        fitted(ours, X, y)
        fitted(theirs, X, y)
        for mine, other in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
            np.testing.assert_array_equal(mine, other)


def test_an_optimizer_for_a_name() -> None:
    """An optimiser object with the same rule is the same training."""
    X, y = DATA["three classes"]
    ours, theirs = pair("three classes", {**SGD, "batch_size": 10})
    ours.set_params(solver=GradientDescent(0.1), learning_rate_init=7.0)
    assert fitted(ours, X, y) == fitted(theirs, X, y)
    same(ours, theirs, X, 1e-10)


def test_shared_random_state() -> None:
    """A RandomState is drawn from as scikit-learn draws: a second fit goes on with it, and gives other weights."""
    X, y = DATA["two classes"]
    ours, theirs = pair("two classes", {**SGD, "random_state": np.random.RandomState(9), "early_stopping": True,
                                        "max_iter": 5, "batch_size": 10})  # fmt: skip
    for _ in range(2):
        assert fitted(ours, X, y) == fitted(theirs, X, y)
        same(ours, theirs, X, 1e-10)
    for mine, other in zip(ours.random_state.get_state(), theirs.random_state.get_state(), strict=True):
        np.testing.assert_array_equal(mine, other)
