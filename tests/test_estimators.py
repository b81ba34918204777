"""The estimators inside scikit-learn: its own checks, what composes them, what they take, and how they travel."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
import unittest
import warnings

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy
import sklearn
from matplotlib import pyplot as plt
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification
from sklearn.ensemble import BaggingRegressor, VotingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.inspection import DecisionBoundaryDisplay, permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score, learning_curve
from sklearn.multioutput import ClassifierChain
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks
from sklearn.utils.validation import check_is_fitted

import gates
from gates import Gate
from nngraph import Dense, GateClassifier, GateRegressor, LayerNorm
from nngraph.callbacks import Target
from nngraph.optimizers import Adam, AdamW, Momentum, ScipyMinimize
from nngraph.schedules import Cosine

# So few epochs that most of the trainings here do not converge; that is said, and is tested elsewhere.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, LABELS = make_classification(60, 4, n_informative=3, n_redundant=0, random_state=0)
THREE = np.digitize(X[:, 0] + X[:, 1], [-0.5, 0.5])
Y = X[:, 0] - 2 * X[:, 1]
TWO = np.stack([LABELS, THREE > 0], axis=1).astype(int)
SMALL = {"hidden_layer_sizes": (6,), "max_iter": 8, "random_state": 0, "learning_rate_init": 0.05}
MANY = {"max_iter": 60, "learning_rate_init": 0.05, "hidden_layer_sizes": (20,), "random_state": 0}
NAMES = ["length", "width", "depth", "mass"]


class Sine(Gate):
    """``sin(X)``: a gate of one's own."""

    def forward(self, X):
        """Return it."""
        return np.sin(X)

    def backward(self, X, dZ):
        """Return the gradient."""
        return np.cos(X) * dZ


# --- scikit-learn's own checks ----------------------------------------------------------------------------------------


@parametrize_with_checks([GateClassifier(), GateRegressor()])
def test_checks(estimator: object, check: object) -> None:
    """All of them, for the default settings."""
    check(estimator)


@parametrize_with_checks(
    [
        GateClassifier((20,), activation=Sine(), solver=Momentum(0.1), max_iter=100),
        GateRegressor((20,), activation=Sine(), solver=AdamW(0.01), max_iter=100),
        GateClassifier([16, LayerNorm(), gates.Tanh(), Dense(8, gates.GELU())], learning_rate_init=0.01, max_iter=100),
        GateRegressor(solver="lbfgs", activation="softplus"),
        GateRegressor(loss="huber", solver=ScipyMinimize("CG"), max_iter=50),
        GateRegressor((20,), loss=gates.AbsoluteError(), learning_rate_init=0.01, learning_rate=Cosine()),
        GateClassifier(solver="sgd", learning_rate="adaptive", learning_rate_init=0.1, nesterovs_momentum=False),
        GateClassifier(clip_norm=1.0, learning_rate_init=0.01),
        GateClassifier(loss="hinge", learning_rate_init=0.01),
        GateClassifier(loss="squared_error", learning_rate_init=0.01),
    ]
)
def test_checks_of_other_settings(estimator: object, check: object) -> None:
    """All of them for these settings, too."""
    check(estimator)


def test_checks_of_arrays():
    """The one check that skips itself unless SciPy was told of other arrays before it was imported."""
    code = (
        "from sklearn.utils.estimator_checks import estimator_checks_generator; import nngraph, warnings;"
        "warnings.simplefilter('ignore');"
        "checks = [(e, c) for kind in (nngraph.GateClassifier, nngraph.GateRegressor)"
        "    for e, c in estimator_checks_generator(kind()) if c.func.__name__ == 'check_array_api_input'];"
        "print([c(e) for e, c in checks])"
    )
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code],
        env={**os.environ, "SCIPY_ARRAY_API": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "[None, None]", done.stderr


# What cannot hold, and why; every other check does.
TWICE = "check_sample_weight_equivalence_on_dense_data"  # a weight of 2 is a row twice: not where rows are drawn for
PARTIAL = {  # partial_fit refuses early stopping, as scikit-learn's does
    "check_n_features_in_after_fitting",
    "check_estimators_partial_fit_n_features",
    "check_fit_score_takes_y",
}
LIMITS = [
    (GateClassifier((20,), dropout=0.2, learning_rate_init=0.01), {TWICE}),
    (GateRegressor((20,), dropout=0.2), {TWICE}),
    (GateClassifier((20,), batch_norm=True, learning_rate_init=0.01), {TWICE}),
    (GateRegressor((20,), batch_norm=True), {TWICE}),
    (GateClassifier(early_stopping=True, validation_fraction=0.4, learning_rate_init=0.01), PARTIAL | {TWICE}),
    (GateRegressor(early_stopping=True, validation_fraction=0.4), PARTIAL | {TWICE}),
]


@pytest.mark.parametrize(("estimator", "expected"), LIMITS)
def test_checks_with_limits(estimator: object, expected: set[str]) -> None:
    """These fail, because of what the setting is, and no others."""
    failed = {}
    for one, check in estimator_checks_generator(estimator):
        try:
            check(one)
        except unittest.SkipTest:
            continue
        except (AssertionError, ValueError) as error:
            failed[check.func.__name__] = str(error)
    assert failed.keys() == expected, failed


# --- Round trips ------------------------------------------------------------------------------------------------------

SETTINGS = [
    GateClassifier(**SMALL),
    GateClassifier(**SMALL, activation=gates.ELU(0.3), dropout=0.3, solver=Adam(0.02), callbacks=[Target(0.0)]),
    GateRegressor(**SMALL, batch_norm=True, early_stopping=True, learning_rate=Cosine()),
    GateRegressor(**{**SMALL, "hidden_layer_sizes": [4, LayerNorm(), gates.Tanh()]}, loss=gates.Huber(0.5)),
    GateClassifier(**SMALL, solver="lbfgs", class_weight="balanced"),
]
TRIPS = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda estimator: pickle.loads(pickle.dumps(estimator)),  # noqa: S301 - our own
    "oldest pickle": lambda estimator: pickle.loads(pickle.dumps(estimator, 2)),  # noqa: S301 - our own
}


def target_of(estimator):
    """Return what it can learn."""
    return THREE if is_classifier(estimator) else Y


@pytest.mark.parametrize("trip", TRIPS)
@pytest.mark.parametrize("settings", SETTINGS)
def test_round_trips(trip: str, settings: object) -> None:
    """What comes back predicts the same, and has the same settings; so it does before it is fitted."""
    there_and_back, y = TRIPS[trip], target_of(settings)
    new = there_and_back(clone(settings))
    assert repr(new.get_params()) == repr(settings.get_params())
    with pytest.raises(ValueError, match="not fitted"):
        check_is_fitted(new)
    fitted = clone(settings).fit(X, y)
    back = there_and_back(fitted)
    assert_array_equal(back.predict(X), fitted.predict(X))
    assert_array_equal(new.fit(X, y).predict(X), fitted.predict(X))
    assert back.loss_curve_ == fitted.loss_curve_
    assert back.score(X, y) == fitted.score(X, y)


@pytest.mark.parametrize("settings", SETTINGS)
def test_clone(settings: object) -> None:
    """A clone of what is fitted has its settings and none of what it learned, and learns the same."""
    fitted = clone(settings).fit(X, target_of(settings))
    again = clone(fitted)
    assert not [name for name in vars(again) if name.endswith("_")]
    assert repr(again) == repr(settings)
    assert again.fit(X, target_of(settings)).loss_curve_ == fitted.loss_curve_


def test_a_copy_that_goes_on() -> None:
    """A deep copy goes on alone."""
    fitted = GateRegressor(**SMALL).partial_fit(X, Y)
    before, other = fitted.predict(X), copy.deepcopy(fitted)
    other.partial_fit(X, Y)
    assert_array_equal(fitted.predict(X), before)
    fitted.partial_fit(X, Y)
    assert_array_equal(fitted.predict(X), other.predict(X))


def test_another_process(tmp_path) -> None:
    """A file of joblib, read where nothing but nngraph is imported."""
    fitted, path = GateClassifier(**SMALL, activation="gelu").fit(X, THREE), tmp_path / "net.joblib"
    joblib.dump(fitted, path, compress=True)
    code = "import sys, json, joblib\nprint(joblib.load(sys.argv[1]).predict_proba(json.loads(sys.argv[2])).tolist())"
    run = subprocess.run(  # noqa: S603 - our own
        [sys.executable, "-c", code, str(path), json.dumps(X.tolist())], capture_output=True, text=True, check=True
    )
    assert_array_equal(json.loads(run.stdout), fitted.predict_proba(X))


# --- Composed ---------------------------------------------------------------------------------------------------------


def test_grid_search() -> None:
    """Over gates, solvers and widths, in two processes."""
    grid = {
        "activation": ["tanh", gates.GELU(), gates.ELU(0.5)],
        "solver": ["adam", "lbfgs", Momentum(0.1)],
        "hidden_layer_sizes": [(4,), [4, LayerNorm(), 4]],
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        serial = GridSearchCV(GateClassifier(**SMALL), grid, cv=2).fit(X, LABELS)
        parallel = GridSearchCV(GateClassifier(**SMALL, verbose=0), grid, cv=2, n_jobs=2)
        with joblib.parallel_config("threading"):
            parallel.fit(X, LABELS)
    assert_array_equal(serial.cv_results_["mean_test_score"], parallel.cv_results_["mean_test_score"])
    assert len(serial.cv_results_["params"]) == 18
    assert np.isfinite(serial.cv_results_["mean_test_score"]).all()
    assert serial.best_score_ > 0.5
    assert_array_equal(serial.predict(X), serial.best_estimator_.predict(X))


def test_grid_search_in_processes() -> None:
    """The same in processes of their own, to which settings and results travel."""
    grid = {"activation": ["tanh", gates.GELU()], "solver": [Adam(0.05), "lbfgs"]}
    scores = [
        GridSearchCV(GateRegressor(**{**SMALL, "tol": 10.0, "n_iter_no_change": 100}), grid, cv=2, n_jobs=n, verbose=0)
        .set_params(estimator__max_iter=300, estimator__n_iter_no_change=1)
        .fit(X, Y)
        .cv_results_["mean_test_score"]
        for n in (1, 2)
    ]
    assert_allclose(scores[0], scores[1], rtol=1e-12)


def test_pipeline_keeps_names() -> None:
    """Feature names go through a scaler that gives a frame."""
    frame = pd.DataFrame(X, columns=NAMES)
    pipeline = make_pipeline(StandardScaler().set_output(transform="pandas"), GateClassifier(**SMALL)).fit(frame, THREE)
    assert pipeline[-1].feature_names_in_.tolist() == NAMES
    assert pipeline[-1].n_features_in_ == pipeline.n_features_in_ == 4
    scaled = StandardScaler().fit_transform(X)
    expected = GateClassifier(**SMALL).fit(scaled, THREE).predict_proba(scaled)
    # A frame lays its columns out otherwise, so sums are rounded otherwise.
    assert_allclose(pipeline.predict_proba(frame), expected, rtol=1e-9)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_frames(frame: type) -> None:
    """Names are kept; columns of several dtypes are one array; what is predicted is that of arrays."""
    rows = frame(dict(zip(NAMES, X.T, strict=True)))
    series = pd.Series if frame is pd.DataFrame else pl.Series
    for make, y in ((GateClassifier, LABELS), (GateRegressor, Y)):
        named, plain = make(**SMALL).fit(rows, series(y)), make(**SMALL).fit(X, y)
        assert named.feature_names_in_.tolist() == NAMES
        assert not hasattr(plain, "feature_names_in_")
        assert_array_equal(named.predict(rows), plain.predict(X))
        assert named.score(rows, series(y)) == plain.score(X, y)
        assert named.activations(rows)["X"].shape == (60, 4)
        part = make(**SMALL).partial_fit(rows, series(y), **({"classes": [0, 1]} if make is GateClassifier else {}))
        assert part.feature_names_in_.tolist() == NAMES
        mixed = make(**SMALL).fit(frame({"a": np.arange(60), "b": X[:, 0] > 0, "c": X[:, 1].astype(np.float32)}), y)
        assert mixed.coefs_[0].dtype == np.float64
        judged = make(**SMALL).fit(rows, series(y), X_val=rows, y_val=series(y), sample_weight_val=series(np.ones(60)))
        assert len(judged.validation_scores_) == judged.n_iter_
    several = frame({"one": Y, "two": -Y})
    assert GateRegressor(**SMALL).fit(rows, several).predict(rows).shape == (60, 2)


def test_metadata_routing() -> None:
    """Weights, and validation data that are scaled as the examples are."""
    net = GateRegressor(**SMALL, early_stopping=True, validation_fraction=0.5)
    with sklearn.config_context(enable_metadata_routing=True):
        net.set_fit_request(sample_weight=True, X_val=True, y_val=True).set_score_request(sample_weight=True)
        pipeline = Pipeline([("scale", StandardScaler()), ("net", net)], transform_input=["X_val"])
        weights = np.linspace(0.1, 2, 40)
        pipeline[0].set_fit_request(sample_weight=False)
        pipeline.fit(X[:40], Y[:40], sample_weight=weights, X_val=X[40:], y_val=Y[40:])
        search = GridSearchCV(net, {"alpha": [0.1, 1.0]}, cv=2).fit(X, Y, sample_weight=np.ones(60), X_val=X, y_val=Y)
        assert search.best_estimator_.t_ == 60 * search.best_estimator_.n_iter_
    scaler = StandardScaler().fit(X[:40])
    by_hand = GateRegressor(**SMALL, early_stopping=True).fit(
        scaler.transform(X[:40]), Y[:40], weights, X_val=scaler.transform(X[40:]), y_val=Y[40:]
    )
    assert_array_equal(pipeline.predict(X), by_hand.predict(scaler.transform(X)))
    assert pipeline[-1].validation_scores_ == by_hand.validation_scores_


def test_meta_estimators() -> None:
    """Those that ask for classes, probabilities, scores, and parts."""
    net = GateClassifier(**MANY)
    for loss, y in (("hinge", LABELS), ("hinge", THREE), ("log_loss", THREE)):
        calibrated = CalibratedClassifierCV(clone(net).set_params(loss=loss), cv=2).fit(X, y)
        assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1)
        assert calibrated.score(X, y) > 0.6
    voting = VotingClassifier([("one", net), ("two", clone(net).set_params(activation="gelu"))], voting="soft")
    assert voting.fit(X, THREE).score(X, THREE) > 0.8
    assert ClassifierChain(net).fit(X, TWO).predict(X).shape == (60, 2)
    assert BaggingRegressor(GateRegressor(**MANY), 3, random_state=0).fit(X, Y).score(X, Y) > 0.8
    assert cross_val_score(net, X, THREE, cv=3).mean() > 0.6
    assert cross_val_predict(net, X, TWO, cv=3, method="predict_proba").shape == (60, 2)


def test_learning_curve() -> None:
    """With parts of the examples, also one part after another."""
    for incremental in (False, True):
        sizes, train, test = learning_curve(
            GateClassifier(**MANY), X, LABELS, cv=2, train_sizes=[0.5, 1.0], exploit_incremental_learning=incremental
        )
        assert (len(sizes), train.shape, test.shape) == (2, (2, 2), (2, 2))
        assert np.isfinite(test).all()


def test_inspection() -> None:
    """What matters is found, and what is decided is drawn."""
    regressor = GateRegressor(**MANY).fit(X, Y)
    found = permutation_importance(regressor, X, Y, n_repeats=3, random_state=0).importances_mean
    assert found.argmax() == 1
    assert found[:2].min() > 5 * abs(found[2:]).max()
    for loss, y in (("log_loss", LABELS), ("hinge", LABELS), ("log_loss", THREE)):
        net = GateClassifier(**MANY, loss=loss).fit(X[:, :2], y)
        display = DecisionBoundaryDisplay.from_estimator(net, X[:, :2], grid_resolution=20)
        assert display.response.shape == (20, 20) if y is LABELS else (20, 20, 3)
    display = DecisionBoundaryDisplay.from_estimator(regressor.fit(X[:, :2], Y), X[:, :2], grid_resolution=20)
    assert display.response.shape == (20, 20)
    plt.close("all")


def test_representations() -> None:
    """The settings that are not the default ones, as text and as HTML."""
    net = GateClassifier([8, LayerNorm()], activation=gates.ELU(0.3), solver=AdamW(0.02), dropout=0.25)
    text = repr(net)
    html = net._repr_html_()
    for word in ("ELU(alpha=0.3)", "AdamW(rate=0.02", "LayerNorm(", "0.25"):
        assert word in text.replace("\n", "").replace("  ", "")
        assert word in html
    assert "tol" not in text
    assert "fitted" not in html.split("Not ")[0][-5:]
    assert "GateClassifier" in make_pipeline(StandardScaler(), net)._repr_html_()
    assert_array_equal(eval(repr(GateRegressor((3, 2), alpha=0.5))).hidden_layer_sizes, (3, 2))  # noqa: S307 - our own


def test_tags() -> None:
    """What scikit-learn is told of them."""
    classifier, regressor = (sklearn.utils.get_tags(kind()) for kind in (GateClassifier, GateRegressor))
    assert is_classifier(GateClassifier())
    assert is_regressor(GateRegressor())
    assert classifier.classifier_tags.multi_label
    assert regressor.target_tags.multi_output
    assert not classifier.input_tags.sparse
    assert not regressor.input_tags.allow_nan
    assert classifier.target_tags.required


# --- What they learn from ---------------------------------------------------------------------------------------------

KINDS = {
    "integers": np.array([7, 3]),
    "negative": np.array([-1, -5]),
    "strings": np.array(["yes", "no"]),
    "objects": np.array(["yes", "no"], dtype=object),
    "bool": np.array([True, False]),
    "whole floats": np.array([2.0, -1.0]),
    "unsigned": np.array([100, 3], dtype=np.uint8),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [2, 3])
def test_kinds_of_classes(kind: str, count: int) -> None:
    """Classes come back as they were given, in sorted order; only their names differ."""
    names = KINDS[kind]
    if count == 3 and kind != "bool":
        names = np.append(names, np.array([names.tolist()[0] * 2], names.dtype))
    y = names[THREE % len(names)]
    net, plain = GateClassifier(**SMALL).fit(X, y), GateClassifier(**SMALL).fit(X, np.searchsorted(np.unique(y), y))
    assert_array_equal(net.classes_, np.unique(y))
    assert net.predict(X).dtype == net.classes_.dtype == y.dtype
    assert_array_equal(net.predict(X), net.classes_[plain.predict(X)])
    assert_array_equal(net.predict_proba(X), plain.predict_proba(X))
    part = GateClassifier(**SMALL).partial_fit(X, y, classes=names)
    assert_array_equal(part.classes_, np.unique(y))


SERIES = {
    "category": lambda y: pd.Series(np.array(["yes", "no"])[y], dtype="category"),
    "string": lambda y: pd.Series(np.array(["yes", "no"])[y], dtype="string"),
    "Int64": lambda y: pd.Series(y, dtype="Int64"),
    "boolean": lambda y: pd.Series(y == 1, dtype="boolean"),
    "polars": lambda y: pl.Series(np.array(["yes", "no"])[y]),
    "polars category": lambda y: pl.Series(np.array(["yes", "no"])[y], dtype=pl.Categorical),
    "a list": lambda y: y.tolist(),
    "a list of strings": lambda y: np.array(["yes", "no"])[y].tolist(),
}


@pytest.mark.parametrize("kind", SERIES)
def test_columns_of_classes(kind: str) -> None:
    """Of every dtype of pandas and polars that holds classes."""
    y = SERIES[kind](LABELS)
    net = GateClassifier(**MANY).fit(X, y)
    assert net.score(X, y) > 0.8
    assert len(net.classes_) == 2
    assert set(np.asarray(net.classes_).tolist()) == set(np.asarray(y).tolist())


@pytest.mark.parametrize(
    "convert",
    [np.asarray, np.ndarray.tolist, scipy.sparse.csr_array, scipy.sparse.csc_matrix, lambda y: y.astype(bool),
     lambda y: pd.DataFrame(y, columns=["a", "b"]), lambda y: y.astype(float)],
)  # fmt: skip
def test_several_labels(convert: object) -> None:
    """Dense, sparse, a list or a frame; 0 and 1 come back, and a column for each label."""
    y = convert(TWO)
    net = GateClassifier(**MANY).fit(X, y)
    assert_array_equal(net.predict(X), GateClassifier(**MANY).fit(X, TWO).predict(X))
    assert net.score(X, y) > 0.7
    assert net.predict_proba(X).shape == net.decision_function(X).shape == (60, 2)
    assert_array_equal(net.predict(X), net.predict_proba(X) > 0.5)
    assert_array_equal(net.classes_, [0, 1])
    part = GateClassifier(**SMALL).partial_fit(X, y, classes=[0, 1]).partial_fit(X, y)
    assert part.predict(X).shape == (60, 2)


def test_a_column_of_targets() -> None:
    """It is taken as one target, with scikit-learn's warning."""
    for make, y in ((GateClassifier, LABELS), (GateRegressor, Y)):
        with pytest.warns(sklearn.exceptions.DataConversionWarning, match="column-vector"):
            column = make(**SMALL).fit(X, y[:, None])
        assert_array_equal(column.predict(X), make(**SMALL).fit(X, y).predict(X))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int64, np.bool_, np.longdouble])
def test_dtypes(dtype: type) -> None:
    """float32 stays, everything else is float64; a prediction keeps the net's dtype whatever it is asked with."""
    rows = (10 * X).astype(dtype)
    expected = np.float32 if dtype is np.float32 else np.float64
    for net in (GateClassifier(**SMALL).fit(rows, THREE), GateRegressor(**SMALL).fit(rows, Y)):
        assert {array.dtype.type for array in net.coefs_ + net.intercepts_} == {expected}
        asked = net.predict_proba if is_classifier(net) else net.predict
        assert asked(rows).dtype == asked(rows.astype(np.float64)).dtype == expected
        assert_allclose(asked(rows), asked(rows.astype(np.float64)), rtol=1e-5)


def test_layouts() -> None:
    """Neither strides nor order nor write protection matter."""
    expected = GateRegressor(**SMALL).fit(X, Y)
    wide = np.zeros((120, 8))
    wide[::2, ::2] = X
    locked = X.copy()
    locked.flags.writeable = False
    for rows in (np.asfortranarray(X), wide[::2, ::2], X[::-1][::-1], locked, X.tolist()):
        assert_allclose(GateRegressor(**SMALL).fit(rows, Y).predict(rows), expected.predict(X), rtol=1e-9)


def test_weights_are_views() -> None:
    """What is written into them is what predicts."""
    net = GateRegressor((), max_iter=1).fit(X, Y)
    net.coefs_[0][...] = [[1.0], [-2.0], [0.0], [0.0]]
    net.intercepts_[0][...] = 0.5
    assert_allclose(net.predict(X), Y + 0.5)
    assert net.score(X, Y + 0.5) == pytest.approx(1.0)


def test_the_model_inside() -> None:
    """It is a Model like others: its summary, its program, its scores."""
    net = GateClassifier(**SMALL).fit(X, THREE)
    assert "W1" in str(net.model_.summary())
    assert_array_equal(net.model_.decision_function(X), net.decision_function(X))
    assert_array_equal(net.model_.predict(X), net.predict(X))
    assert_allclose(net.history_["loss"][-1], net.loss_, rtol=0.1)
    assert net.gradients(X, THREE)["W1"].shape == net.coefs_[0].shape
