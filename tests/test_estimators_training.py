"""How the estimators train: on and on, judged by other examples, watched, and what their settings do."""

from __future__ import annotations

import copy
import csv
import itertools
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy
from numpy.testing import assert_allclose
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.datasets import make_moons
from sklearn.ensemble import StackingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression
from sklearn.metrics import accuracy_score, hinge_loss, log_loss, r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

import gates
from gates import Gate, OutputGate
from nngraph import BatchNorm, Dense, Dropout, GateClassifier, GateRegressor, LayerNorm
from nngraph.callbacks import Callback, CSVLog, EarlyStopping, Target
from nngraph.initializers import he_normal
from nngraph.optimizers import Adam, AdamW, GradientDescent, Momentum, ScipyMinimize
from nngraph.schedules import Cosine, StepDecay

X, LABELS = make_moons(60, noise=0.2, random_state=0)
THREE = np.digitize(X[:, 0], [0.0, 1.0])
Y = np.sin(X[:, 0]) + X[:, 1]
TWO = np.stack([LABELS, THREE > 0], axis=1).astype(int)
WEIGHTS = np.random.default_rng(3).uniform(0.2, 2.0, 60)
SMALL = {"hidden_layer_sizes": (5,), "max_iter": 6, "random_state": 0, "learning_rate_init": 0.05, "batch_size": 16}


def fit(estimator, *args, **kwargs):
    """Fit, where too few epochs are expected."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(*args, **kwargs)


def classifier(**given):
    """Return a small classifier."""
    return GateClassifier(**{**SMALL, **given})


def regressor(**given):
    """Return a small regressor."""
    return GateRegressor(**{**SMALL, **given})


def same(one, other):
    """Assert that two have learned the same, to the last digit."""
    assert one.loss_curve_ == other.loss_curve_
    assert (one.t_, one.loss_, one.best_loss_) == (other.t_, other.loss_, other.best_loss_)
    assert one.model_.parameters.keys() == other.model_.parameters.keys()
    for name, value in one.model_.parameters.items():
        np.testing.assert_array_equal(value, other.model_.parameters[name], err_msg=name)
    np.testing.assert_array_equal(one.predict(X), other.predict(X))


# --- On and on --------------------------------------------------------------------------------------------------------


class EveryThird:
    """A schedule that can be pickled."""

    def __call__(self, epoch, epochs):
        """Return the factor."""
        return 0.5 ** (epoch // 3)


WAYS = {
    "adam": {},
    "sgd": {"solver": "sgd"},
    "momentum": {"solver": "sgd", "nesterovs_momentum": False, "shuffle": False},
    "plain": {"solver": "sgd", "momentum": 0.0},
    "one batch": {"batch_size": "auto"},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling"},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.1, "n_iter_no_change": 1},
    "dropout": {"dropout": 0.4},
    "batch norm": {"batch_norm": True, "batch_size": 15},
    "both": {"batch_norm": True, "dropout": 0.2, "batch_size": 15, "solver": "sgd"},
    "an optimizer": {"solver": AdamW(0.02)},
    "another": {"solver": Momentum(0.05), "clip_norm": 0.5},
    "float32": {"dropout": 0.1},
}


def rows_for(name):
    """Return the features in the dtype of a row of WAYS."""
    return X.astype(np.float32) if name == "float32" else X


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("pickled", [False, True])
def test_many_fits_are_one(name: str, pickled: bool) -> None:
    """With warm_start n fits of an epoch are one of n epochs, also if the estimator was stored in between."""
    rows = rows_for(name)
    one = fit(
        regressor(**WAYS[name], n_iter_no_change=np.inf) if name != "adaptive" else regressor(**WAYS[name]), rows, Y
    )
    many = copy.deepcopy(one).set_params(max_iter=1, warm_start=True)
    many = type(one)(**many.get_params())
    for _ in range(one.n_iter_):
        many = fit(many, rows, Y)
        if pickled:
            many = pickle.loads(pickle.dumps(many))  # noqa: S301 - our own
    same(many, one)
    assert (many.n_iter_, one.n_iter_) == (1, 6)


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("pickled", [False, True])
def test_many_partial_fits_are_one_fit(name: str, pickled: bool) -> None:
    """n calls of partial_fit on the same examples are a fit of n epochs; a fit goes on as a partial_fit, too."""
    rows, given = rows_for(name), {"n_iter_no_change": np.inf, **WAYS[name]}
    one, many = fit(classifier(**given), rows, THREE, WEIGHTS), classifier(**given)
    for _ in range(6):
        many.partial_fit(rows, THREE, WEIGHTS, classes=[0, 1, 2])
        if pickled:
            many = pickle.loads(pickle.dumps(many))  # noqa: S301 - our own
    same(many, one)
    half = fit(classifier(**given, warm_start=True).set_params(max_iter=3), rows, THREE, WEIGHTS)
    mixed = half.partial_fit(rows, THREE, WEIGHTS)
    mixed = fit(mixed.set_params(max_iter=2), rows, THREE, WEIGHTS)
    same(mixed, one)


def test_many_fits_with_a_random_state() -> None:
    """The same if the generator is the user's."""
    one = fit(regressor(random_state=np.random.RandomState(4)), X, Y)
    many = regressor(random_state=np.random.RandomState(4), warm_start=True, max_iter=2)
    for _ in range(3):
        fit(many, X, Y)
    same(many, one)


def test_warm_start_with_other_settings() -> None:
    """It goes on with the weights under another solver and another penalty, whose state begins anew."""
    first = fit(regressor(warm_start=True), X, Y)
    weights = [W.copy() for W in first.coefs_]
    second = fit(first.set_params(solver="sgd", learning_rate_init=1e-12, alpha=1.0, max_iter=1), X, Y)
    for before, after in zip(weights, second.coefs_, strict=True):
        np.testing.assert_allclose(before, after, rtol=1e-9)
    fit(second.set_params(warm_start=False, solver="adam", learning_rate_init=0.05, alpha=1e-4, max_iter=6), X, Y)
    same(second, fit(regressor(), X, Y))


@pytest.mark.parametrize(
    ("first", "then"), [({"solver": "sgd"}, Momentum(0.05)), ({"solver": AdamW(0.01)}, Adam(0.01))]
)
def test_another_optimizer_begins_anew(first: dict, then: object) -> None:
    """What one remembers is not what another does, also where it has the same shape: only the weights stay."""
    one, twin = (fit(regressor(**first, warm_start=True, shuffle=False), X, Y) for _ in range(2))
    other = regressor(solver=then, warm_start=True, shuffle=False, max_iter=1).partial_fit(X, Y)
    # At the same weights, and with nothing to remember.
    other = GateRegressor(**other.get_params())
    other.initializer = lambda _, m, n: next(
        (W, b) for W, b in zip(twin.coefs_, twin.intercepts_, strict=True) if W.shape == (m, n)
    )
    fit(other, X, Y)
    part = copy.deepcopy(one).set_params(solver=then).partial_fit(X, Y)
    fit(one.set_params(solver=then, max_iter=1), X, Y)
    for found in (one, part):
        for W, expected in zip(found.coefs_, other.coefs_, strict=True):
            np.testing.assert_array_equal(W, expected)


@pytest.mark.parametrize(
    "change",
    [{"alpha": 50.0}, {"solver": "adam"}, {"momentum": 0.0}, {"nesterovs_momentum": False}, {"clip_norm": 1e-3},
     {"learning_rate_init": 1e-3}, {"solver": GradientDescent(0.01)}],
)  # fmt: skip
def test_partial_fit_sees_changed_settings(change: dict) -> None:
    """What is changed between two calls counts from the next one on, as for an estimator that was stored in between."""
    one = regressor(solver="sgd").partial_fit(X, Y)
    other = pickle.loads(pickle.dumps(one))  # noqa: S301 - our own
    unchanged = copy.deepcopy(one).partial_fit(X, Y)
    same(one.set_params(**change).partial_fit(X, Y), other.set_params(**change).partial_fit(X, Y))
    assert not np.array_equal(one.coefs_[0], unchanged.coefs_[0])


def test_partial_fit_sees_changed_weights() -> None:
    """What is written into the weights is what a step begins from."""
    one = regressor(solver="sgd", momentum=0.0, learning_rate_init=1e-9).partial_fit(X, Y)
    one.coefs_[0][...] = 0.25
    one.partial_fit(X, Y)
    np.testing.assert_allclose(one.coefs_[0], 0.25, rtol=1e-6)


def test_partial_fit_on_parts() -> None:
    """Examples in any number, a class that does not come at first, one row; the counts add up."""
    estimator = classifier(batch_size="auto")
    for part in (slice(0, 1), slice(1, 30), slice(30, 31), slice(31, 60)):
        estimator.partial_fit(X[part], THREE[part], classes=[0, 1, 2])
    assert (estimator.t_, len(estimator.loss_curve_), estimator.n_iter_) == (60, 4, 1)
    assert estimator.predict_proba(X).shape == (60, 3)
    labels = classifier(batch_size="auto").partial_fit(X[:1], TWO[:1], classes=[0, 1]).partial_fit(X, TWO)
    assert labels.predict(X).shape == (60, 2)


def test_balanced_is_not_for_parts() -> None:
    """What is balanced is not known from a part."""
    with pytest.raises(ValueError, match="class_weight='balanced' needs all examples"):
        classifier(class_weight="balanced").partial_fit(X, LABELS, classes=[0, 1])
    given = classifier(class_weight={0: 3.0}).partial_fit(X, LABELS, classes=[0, 1])
    same(given, classifier().partial_fit(X, LABELS, np.where(LABELS, 1.0, 3.0), classes=[0, 1]))


# --- Weights of examples ----------------------------------------------------------------------------------------------

EACH = [(classifier, LABELS), (classifier, THREE), (classifier, TWO), (regressor, Y)]


@pytest.mark.parametrize(("make", "y"), EACH)
@pytest.mark.parametrize("given", [{}, {"solver": "lbfgs", "batch_size": "auto"}, {"early_stopping": True}])
def test_a_weight_of_zero_is_a_row_less(make: object, y: np.ndarray, given: dict) -> None:
    """To the last digit."""
    weights = np.where(np.arange(60) % 4 == 1, 0.0, WEIGHTS)
    kept = weights > 0
    same(fit(make(**given), X, y, weights), fit(make(**given), X[kept], y[kept], weights[kept]))
    if not given:
        known = {"classes": np.unique(y)} if make is classifier else {}
        same(make().partial_fit(X, y, weights, **known), make().partial_fit(X[kept], y[kept], weights[kept], **known))


@pytest.mark.parametrize("y", [LABELS, THREE, np.array(["b", "a"])[LABELS]])
def test_class_weight_is_sample_weight(y: np.ndarray) -> None:
    """A dict, or what balances the classes; both multiply with sample_weight."""
    names = np.unique(y).tolist()
    for given in ("balanced", dict(zip(names, [3.0, 0.5, 2.0], strict=False))):
        by_class = compute_sample_weight(given, y)
        same(fit(classifier(class_weight=given), X, y), fit(classifier(), X, y, by_class))
        same(fit(classifier(class_weight=given), X, y, WEIGHTS), fit(classifier(), X, y, WEIGHTS * by_class))
    several = [{0: 1.0, 1: 2.0}, {0: 3.0, 1: 1.0}]
    weights = compute_sample_weight(several, TWO)
    same(fit(classifier(class_weight=several), X, TWO), fit(classifier(), X, TWO, weights))


def test_a_class_that_weighs_more_is_found_more() -> None:
    """What it is for."""
    rare = np.where(np.arange(60) < 50, 0, LABELS)
    found = [
        fit(classifier(class_weight=given, max_iter=20), X, rare).predict(X).sum() for given in (None, {0: 1, 1: 100})
    ]
    assert found[0] < found[1]


# --- Examples to judge by ---------------------------------------------------------------------------------------------

TRAIN, OTHER = slice(0, 40), slice(40, 60)
JUDGES = [
    (classifier, LABELS, {}), (classifier, THREE, {}), (classifier, TWO, {}), (classifier, THREE, {"loss": "hinge"}),
    (classifier, LABELS, {"solver": "lbfgs", "batch_size": "auto"}), (classifier, LABELS, {"dropout": 0.3}),
    (regressor, Y, {}), (regressor, np.stack([Y, -Y], axis=1), {}),
    (regressor, Y, {"batch_norm": True, "batch_size": 20}),
    (regressor, np.exp(Y), {"loss": "poisson", "learning_rate_init": 0.01}),
]  # fmt: skip


@pytest.mark.parametrize(("make", "y", "given"), JUDGES)
@pytest.mark.parametrize("weights", [None, WEIGHTS[OTHER]])
def test_own_validation(make: object, y: np.ndarray, given: dict, weights: np.ndarray | None) -> None:
    """Both curves are those of the weights after each epoch, and the best of these are kept."""

    class Keeps(Callback):
        """Keeps the model after each epoch."""

        def __init__(self):
            self.models = []

        def epoch_end(self, training):
            """Keep it."""
            self.models.append(copy.deepcopy(training.model))

        def __deepcopy__(self, memo):
            return self

    keeps = Keeps()
    judged = make(**{**given, "early_stopping": True, "max_iter": 25, "n_iter_no_change": 4, "callbacks": [keeps]})
    fit(judged, X[TRAIN], y[TRAIN], X_val=X[OTHER], y_val=y[OTHER], sample_weight_val=weights)
    assert len(keeps.models) == len(judged.loss_curve_) == len(judged.validation_scores_)
    scores, losses = [], []
    for model in keeps.models:
        then = copy.copy(judged)
        then.model_ = model
        scores.append(then.score(X[OTHER], y[OTHER], sample_weight=weights))
        if judged.loss == "log_loss" and y.ndim == 1:
            losses.append(log_loss(y[OTHER], then.predict_proba(X[OTHER]), sample_weight=weights))
        elif judged.loss == "hinge":
            reference = hinge_loss(y[OTHER], then.decision_function(X[OTHER]), sample_weight=weights)
            losses.append(reference)
        elif judged.loss == "squared_error":
            squares = ((then.predict(X[OTHER]) - y[OTHER]) ** 2).reshape(20, -1).mean(axis=1) / 2
            losses.append(np.average(squares, weights=weights))
    np.testing.assert_allclose(judged.validation_scores_, scores, rtol=1e-12)
    if losses:
        np.testing.assert_allclose(judged.validation_loss_curve_, losses, rtol=1e-9)
    # The first of the best.
    best = int(np.argmax(scores))
    assert judged.best_validation_score_ == pytest.approx(scores[best], rel=1e-12)
    assert judged.score(X[OTHER], y[OTHER], sample_weight=weights) == pytest.approx(scores[best], rel=1e-12)
    for name, value in keeps.models[best].parameters.items():
        np.testing.assert_array_equal(judged.model_.parameters[name], value)
    assert judged.best_loss_ is None


def test_validation_without_early_stopping() -> None:
    """Then it stops nothing, and the steps are those without; but the weights that are best on it are kept."""
    settings = {"max_iter": 12, "learning_rate_init": 0.3}
    plain = fit(classifier(**settings), X[TRAIN], THREE[TRAIN])
    watched = fit(classifier(**settings), X[TRAIN], THREE[TRAIN], X_val=X[OTHER], y_val=THREE[OTHER])
    assert watched.loss_curve_ == plain.loss_curve_
    scores = watched.validation_scores_
    best = int(np.argmax(scores))
    assert best + 1 < len(scores) == 12
    shorter = fit(classifier(**{**settings, "max_iter": best + 1}), X[TRAIN], THREE[TRAIN])
    for one, other in zip(shorter.coefs_, watched.coefs_, strict=True):
        np.testing.assert_array_equal(one, other)
    assert watched.score(X[OTHER], THREE[OTHER]) == watched.best_validation_score_ == max(scores)
    assert plain.validation_loss_curve_ is plain.validation_scores_ is plain.best_validation_score_ is None
    assert len(watched.validation_loss_curve_) == 12


def test_early_stopping_goes_on() -> None:
    """With warm_start the best weights so far are kept, over all fits: those whose score is the best."""
    estimator = classifier(early_stopping=True, warm_start=True, max_iter=2, learning_rate_init=0.3)
    for fits in range(1, 9):
        fit(estimator, X[TRAIN], THREE[TRAIN], X_val=X[OTHER], y_val=THREE[OTHER])
        assert estimator.best_validation_score_ == max(estimator.validation_scores_)
        assert estimator.score(X[OTHER], THREE[OTHER]) == estimator.best_validation_score_
        assert len(estimator.validation_scores_) == len(estimator.loss_curve_) <= 2 * fits


def test_held_out_examples() -> None:
    """What is held out is not trained on, and of few classes none is lost from what is trained on."""
    held = fit(classifier(early_stopping=True, validation_fraction=0.4), X, LABELS)
    assert held.t_ == 36 * held.n_iter_
    rare = np.where(np.arange(60) < 57, LABELS, 2)
    for seed in range(8):
        estimator = fit(classifier(early_stopping=True, validation_fraction=0.5, random_state=seed), X, rare)
        assert len(estimator.classes_) == 3


# --- Who watches ------------------------------------------------------------------------------------------------------


def test_nngraph_callbacks(tmp_path) -> None:
    """Those of `Model.fit`: each sees the epochs, and may end the training."""
    log = tmp_path / "log.csv"
    stopping = EarlyStopping(patience=2, monitor="validation_loss")
    estimator = classifier(max_iter=300, callbacks=[CSVLog(log), stopping], learning_rate_init=0.3)
    estimator.fit(X[TRAIN], LABELS[TRAIN], X_val=X[OTHER], y_val=LABELS[OTHER])
    with log.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == estimator.n_iter_ < 300
    np.testing.assert_allclose([float(row["validation_loss"]) for row in rows], estimator.validation_loss_curve_)
    best = int(np.argmin(estimator.validation_loss_curve_))
    assert estimator.n_iter_ == best + 3
    # It has brought the best weights back.
    kept = log_loss(LABELS[OTHER], estimator.predict_proba(X[OTHER]))
    assert kept == pytest.approx(estimator.validation_loss_curve_[best])
    quick = classifier(max_iter=300, callbacks=[Target(0.4)]).fit(X, LABELS)
    assert quick.history_["loss"][-1] <= 0.4 < quick.history_["loss"][-2]


class Watching:
    """A callback of scikit-learn's protocol: writes down, and stops after some epochs."""

    def __init__(self, epochs=None, error=None):
        self.epochs, self.error, self.seen, self.scores = epochs, error, [], []

    def setup(self, estimator, context):
        """Write it down."""
        self.seen.append("setup")

    def teardown(self, estimator, context):
        """Write it down."""
        self.seen.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        """Write it down."""
        self.seen.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        """Write it down, with the score of what is fitted so far."""
        self.seen.append(f"end {context.task_name}")
        if context.parent is None or context.task_name == "fit":
            return False
        if self.error is not None:
            raise self.error
        self.scores.append(fitted_estimator.score(X, y, **(metadata or {})))
        return len(self.scores) == self.epochs


@pytest.mark.parametrize("given", [{}, {"solver": "lbfgs", "batch_size": "auto"}, {"early_stopping": True}])
def test_callbacks_of_scikit_learn(given: dict) -> None:
    """They are told of every epoch, see an estimator that predicts as if it were done, and may end the training."""
    watching = Watching(epochs=3)
    estimator = classifier(max_iter=50, **given).set_callbacks(watching)
    estimator.fit(X, LABELS, WEIGHTS)
    epochs = [[f"begin epoch {i}", f"end epoch {i}"] for i in (1, 2, 3)]
    assert watching.seen == ["setup", "begin fit", *itertools.chain(*epochs), "end fit", "teardown"]
    assert estimator.n_iter_ == 3
    for epoch, score in enumerate(watching.scores, start=1):
        shorter = classifier(**{**given, "max_iter": epoch, "early_stopping": False})
        if not given.get("early_stopping"):
            assert fit(shorter, X, LABELS, WEIGHTS).score(X, LABELS, WEIGHTS) == score
    if not given:
        same(estimator, fit(classifier(max_iter=3), X, LABELS, WEIGHTS))


def test_a_callback_of_scikit_learn_that_raises() -> None:
    """Its teardown is called, and the estimator is as it was."""
    watching = Watching(error=KeyError("no"))
    estimator = fit(classifier(), X, LABELS)
    weights, names = [W.copy() for W in estimator.coefs_], set(vars(estimator))
    estimator.set_callbacks(watching)
    with pytest.raises(KeyError):
        estimator.fit(X, LABELS)
    assert watching.seen[-1] == "teardown"
    assert set(vars(estimator)) == names | {"_skl_callbacks"}
    for before, after in zip(weights, estimator.coefs_, strict=True):
        np.testing.assert_array_equal(before, after)
    estimator.set_callbacks()
    fit(estimator, X, LABELS)


def test_scoring_monitor_and_progress_bar(capsys) -> None:
    """scikit-learn's own two."""
    monitor = ScoringMonitor(scoring="accuracy")
    estimator = fit(classifier().set_callbacks(monitor, ProgressBar()), X, LABELS)
    rows = [row for row in monitor.get_logs().data if row["task_name"].startswith("epoch")]
    assert len(rows) == 6
    assert rows[-1]["accuracy"] == estimator.score(X, LABELS)
    assert "GateClassifier" in capsys.readouterr().out


def test_callbacks_below_meta_estimators() -> None:
    """In a pipeline, and in a search; each candidate is told of."""
    watching = Watching()
    pipeline = make_pipeline(StandardScaler(), classifier().set_callbacks(watching))
    fit(pipeline, X, LABELS)
    assert watching.seen.count("setup") == watching.seen.count("teardown") == 1
    assert watching.seen.count("begin epoch 6") == 1
    search = GridSearchCV(
        classifier(callbacks=[Target(0.0)]).set_callbacks(Watching(epochs=2)), {"alpha": [0.1, 1]}, cv=2
    )
    fit(search, X, LABELS)
    assert search.best_estimator_.n_iter_ in (2, 6)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_progress_bar_over_all(capsys, jobs: int) -> None:
    """One that is set on top is told of every net below, also in other processes."""
    net = classifier(tol=10.0, n_iter_no_change=1)
    GridSearchCV(net, {"alpha": [0.1, 1.0]}, cv=2, n_jobs=jobs).set_callbacks(ProgressBar()).fit(X, LABELS)
    assert capsys.readouterr().out.count("GateClassifier - fit") >= 5
    make_pipeline(StandardScaler(), net).set_callbacks(ProgressBar()).fit(X, LABELS)
    assert "GateClassifier - fit" in capsys.readouterr().out


def test_verbose(capsys) -> None:
    """The lines of the epochs are scikit-learn's."""
    for ours, theirs, y in ((GateClassifier, MLPClassifier, LABELS), (GateRegressor, MLPRegressor, Y)):
        for given in ({}, {"early_stopping": True}, {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.1,
                      "n_iter_no_change": 1, "max_iter": 12}):  # fmt: skip
            printed = []
            for kind in (ours, theirs):
                fit(kind(**{**SMALL, **given, "verbose": True}), X, y)
                printed.append(
                    [line for line in capsys.readouterr().out.splitlines() if line[0] in "IV" and "did" not in line]
                )
            assert printed[0] == printed[1]
            assert len(printed[0]) >= 6
    parts = []
    for kind in (GateRegressor, MLPRegressor):
        kind(**{**SMALL, "verbose": True, "shuffle": False}).partial_fit(X, Y)
        parts.append(capsys.readouterr().out)
    assert parts[0] == parts[1] != ""
    fit(classifier(), X, LABELS)
    assert capsys.readouterr() == ("", "")


def test_too_few_epochs() -> None:
    """It is said, at the line of the user, with what to do."""
    with pytest.warns(ConvergenceWarning, match="max_iter=6") as caught:
        classifier().fit(X, LABELS)
    assert [warning.filename for warning in caught] == [__file__]
    assert "raise max_iter" in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classifier(tol=10.0, max_iter=50).fit(X, LABELS)
        classifier().partial_fit(X, LABELS, classes=[0, 1])


# --- What the net is made of ------------------------------------------------------------------------------------------


class Sine(Gate):
    """``sin(X)``: a gate of one's own."""

    def forward(self, X):
        """Return it."""
        return np.sin(X)

    def backward(self, X, dZ):
        """Return the gradient."""
        return np.cos(X) * dZ


class Cubed(OutputGate):
    """``|s - t|^3``: an output of one's own, for numbers."""

    def losses(self, scores, targets):
        """Return it."""
        return np.abs(scores - targets) ** 3

    def slopes(self, scores, targets):
        """Return the derivative."""
        return 3 * (scores - targets) * np.abs(scores - targets)


FORMULAS = {
    "identity": lambda Z: Z,
    "logistic": scipy.special.expit,
    "tanh": np.tanh,
    "relu": lambda Z: np.maximum(Z, 0),
    "elu": lambda Z: np.where(Z > 0, Z, np.expm1(np.minimum(Z, 0))),
    "gelu": lambda Z: Z * scipy.stats.norm.cdf(Z),
    "leaky_relu": lambda Z: np.where(Z > 0, Z, 0.01 * Z),
    "silu": lambda Z: Z * scipy.special.expit(Z),
    "softmax": lambda Z: scipy.special.softmax(Z, axis=1),
    "softplus": lambda Z: np.logaddexp(0, Z),
}


@pytest.mark.parametrize("first", FORMULAS)
def test_one_activation_per_layer(first: str) -> None:
    """Each layer has its own, by name: prediction by hand."""
    estimator = fit(regressor(hidden_layer_sizes=(4, 3), activation=(first, Sine())), X, Y)
    (W1, W2, W3), (b1, b2, b3) = estimator.coefs_, estimator.intercepts_
    by_hand = np.sin(FORMULAS[first](X @ W1 + b1) @ W2 + b2) @ W3 + b3
    np.testing.assert_allclose(estimator.predict(X), by_hand[:, 0], rtol=1e-12)
    # Without an activation there is no node of it.
    name = "Z1" if first == "identity" else "A1"
    np.testing.assert_allclose(estimator.activations(X)[name], FORMULAS[first](X @ W1 + b1), rtol=1e-12)


NETS = [
    {"hidden_layer_sizes": [6, LayerNorm(), gates.Tanh(), Dense(4, gates.GELU())], "activation": None},
    {"hidden_layer_sizes": [Dense(5), BatchNorm(), gates.ReLU(), Dropout(0.2), 3], "batch_size": 20},
    {"hidden_layer_sizes": [Dense(5, Sine(), use_bias=False), 4], "activation": ["tanh"]},
    {"hidden_layer_sizes": [4, 4], "activation": [Sine(), None], "dropout": [0.0, 0.5]},
    {"hidden_layer_sizes": [4, 4], "batch_norm": True, "dropout": 0.1, "batch_size": 20},
    {"hidden_layer_sizes": [], "solver": Adam(0.1)},
    {"hidden_layer_sizes": np.array([3, 2]), "activation": "softmax", "learning_rate": Cosine()},
    {"hidden_layer_sizes": 3, "initializer": he_normal, "learning_rate": StepDecay(0.5, 2), "clip_norm": 0.1},
    {"hidden_layer_sizes": (3,), "solver": ScipyMinimize("CG"), "batch_size": "auto"},
]


@pytest.mark.parametrize("given", NETS)
@pytest.mark.parametrize(("make", "y"), EACH)
def test_gradients(given: dict, make: object, y: np.ndarray) -> None:
    """They are the slopes of the mean loss, measured at some weights of every parameter; coefs_ are these weights."""
    estimator = fit(make(**{**given, "max_iter": 2}), X, y)
    assert len(estimator.coefs_) == estimator.n_layers_ - 1
    assert estimator.coefs_[0].shape[0] == 2
    assert estimator.coefs_[-1].shape[1] == estimator.n_outputs_
    # Of batches there is none here: as it predicts.
    few, targets = X[:9], y[:9]

    def mean_loss():
        if make is regressor:
            return ((estimator.predict(few) - targets) ** 2).mean() / 2
        logs, k = estimator.predict_log_proba(few), len(estimator.classes_)
        if y.ndim == 2:
            against = np.log1p(-estimator.predict_proba(few))
            return -np.where(targets, logs, against).sum(axis=1).mean()
        return -logs[np.arange(9), np.searchsorted(np.arange(k), targets)].mean()

    gradients = estimator.gradients(few, targets)
    for name, value in estimator.model_.parameters.items():
        place, step = (0,) * value.ndim, 1e-6
        old = value[place]
        value[place] = old + step
        above = mean_loss()
        value[place] = old - step
        below = mean_loss()
        value[place] = old
        assert gradients[name][place] == pytest.approx((above - below) / (2 * step), rel=1e-4, abs=1e-8), name


def test_dropout_and_batch_norm() -> None:
    """Dropout changes the training, not the prediction, which is the same twice; BatchNorm learns averages."""
    plain, dropped = fit(regressor(), X, Y), fit(regressor(dropout=0.5), X, Y)
    assert plain.loss_curve_[0] != dropped.loss_curve_[0]
    np.testing.assert_array_equal(dropped.predict(X), dropped.predict(X))
    none = fit(regressor(dropout=[0.0]), X, Y)
    same(plain, none)
    normed = fit(regressor(batch_norm=True, max_iter=60, batch_size=20), 100 * X + 7, Y)
    Z = (100 * X + 7) @ normed.coefs_[0] + normed.intercepts_[0]
    (mean, variance) = (node.value for node in normed.model_.graph.running)
    np.testing.assert_allclose(mean, Z.mean(axis=0), rtol=0.2, atol=0.3 * Z.std())
    np.testing.assert_allclose(variance, Z.var(axis=0, ddof=1), rtol=0.3)
    # They are the estimator's only: with batch_norm the intercepts are those of the layers.
    assert [b.shape for b in normed.intercepts_] == [(5,), (1,)]


LOSSES = [
    (LABELS, "log_loss"), (LABELS, "hinge"), (LABELS, "squared_error"), (LABELS, gates.Softmax()),
    (LABELS, gates.Logistic(reduction="sum")), (LABELS, gates.Hinge()), (LABELS, gates.Huber()), (LABELS, Cubed()),
    (LABELS, gates.SquaredError(reduction="batchmean")), (LABELS, gates.Softmax(class_weight=[1.0, 4.0])),
    (THREE, "log_loss"), (THREE, "hinge"), (THREE, "squared_error"), (THREE, gates.AbsoluteError()), (THREE, Cubed()),
    (THREE, gates.Softmax(reduction="sum")), (THREE, gates.Poisson()), (TWO, "log_loss"), (TWO, gates.Logistic()),
]  # fmt: skip


@pytest.mark.parametrize(("y", "loss"), LOSSES)
def test_decisions(y: np.ndarray, loss: object) -> None:
    """What is predicted is what the scores say, and the probabilities, if there are any."""
    names = np.array(["x", "y", "z"])
    labels = y if y.ndim == 2 else names[y]
    estimator = fit(classifier(loss=loss, learning_rate_init=0.01, max_iter=15), X, labels)
    scores, found = estimator.decision_function(X), estimator.predict(X)
    assert scores.shape == (y.shape if y is not THREE else (60, 3))
    if y is THREE:
        np.testing.assert_array_equal(found, names[scores.argmax(axis=1)])
    else:
        np.testing.assert_array_equal(found, (scores > 0).astype(int) if y is TWO else names[(scores > 0).astype(int)])
    assert estimator.score(X, labels) == accuracy_score(labels, found)
    assert estimator.score(X, labels) > (0.2 if y is TWO else 0.5)
    if hasattr(estimator, "predict_proba"):
        probabilities = estimator.predict_proba(X)
        np.testing.assert_allclose(np.exp(estimator.predict_log_proba(X)), probabilities, rtol=1e-9)
        if y is not TWO:
            np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)
            np.testing.assert_array_equal(found, estimator.classes_[probabilities.argmax(axis=1)])
    else:
        assert estimator.out_activation_ == "identity"


@pytest.mark.parametrize("y", [LABELS, THREE, TWO])
def test_extreme_scores(y: np.ndarray) -> None:
    """Far out the logarithms stay finite, without a warning; probabilities are 0 and 1."""
    estimator = fit(classifier(activation="identity"), X, y)
    for size in (1e3, 1e8, 1e300):
        logs, probabilities = estimator.predict_log_proba(size * X), estimator.predict_proba(size * X)
        assert np.isfinite(logs).all()
        assert (logs <= 0).all()
        assert ((probabilities >= 0) & (probabilities <= 1)).all()


@pytest.mark.parametrize("loss", ["absolute_error", "huber", "poisson", Cubed(), gates.SquaredError(reduction="sum")])
def test_regression_losses(loss: object) -> None:
    """Each learns; several targets, too."""
    for y in (np.exp(Y), np.exp(np.stack([Y, -Y], axis=1))):
        estimator = fit(regressor(loss=loss, max_iter=150, learning_rate_init=0.01, hidden_layer_sizes=(20,)), X, y)
        assert estimator.score(X, y) == r2_score(y, estimator.predict(X)) > 0.5
        assert estimator.predict(X).shape == y.shape


def test_scale_of_several_targets() -> None:
    """The loss of the same target twice is that of it alone, as in scikit-learn; its gradient is not halved."""
    for weights in ([], [WEIGHTS]):
        ours, theirs = (
            fit(kind(hidden_layer_sizes=(4,), max_iter=1, alpha=0.0, random_state=0), X, np.stack([Y, Y], 1), *weights)
            for kind in (GateRegressor, MLPRegressor)
        )
        assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-12)


# --- Together ---------------------------------------------------------------------------------------------------------


def test_threads_predict_alike() -> None:
    """Many threads at once, on data of several shapes, each get what one alone gets."""
    estimator = fit(classifier(batch_norm=True, batch_size=20, dropout=0.3), X, THREE)
    parts = [X[:n] for n in (1, 2, 7, 60)] * 10
    expected = [pickle.loads(pickle.dumps(estimator)).predict_proba(part) for part in parts[:4]] * 10  # noqa: S301
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(estimator.predict_proba, parts))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_size_when_stored() -> None:
    """The weights and the optimiser's state, and not the data: not much more than scikit-learn's."""
    many = np.random.default_rng(0).normal(size=(3000, 20))
    y = many[:, 0] > 0
    sizes = [len(pickle.dumps(fit(kind(max_iter=2), many, y))) for kind in (GateClassifier, MLPClassifier)]
    assert sizes[0] < 1.5 * sizes[1]


def test_in_a_stack() -> None:
    """Below a meta-estimator that clones and fits on parts."""
    stack = StackingRegressor([("net", regressor(max_iter=40))], LinearRegression(), cv=3)
    assert fit(stack, X, Y).score(X, Y) > 0.5


def test_class_weights_are_not_in_the_score():
    """The held-out score is that of `score`, whatever the classes weigh; a part that lacks a class takes its dict."""
    X = np.random.default_rng(0).normal(size=(120, 3))
    y = np.where(X[:, 0] + X[:, 1] > 0.8, "rare", "often")
    settings = {"early_stopping": True, "validation_fraction": 0.3, "max_iter": 5, "random_state": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        nets = [GateClassifier(**settings, class_weight=weight).fit(X, y) for weight in (None, {"rare": 50.0})]
    # Both hold the same 36 examples out, so a share of them is right.
    for net in nets:
        assert_allclose(36 * np.array(net.validation_scores_) % 1, 0, atol=1e-9)
    assert nets[1].predict(X).tolist().count("rare") > nets[0].predict(X).tolist().count("rare")
    net = GateClassifier(class_weight={"rare": 2.0}).partial_fit(X, y, classes=["often", "rare"])
    assert net.partial_fit(X[y == "often"], y[y == "often"]).t_ == 120 + (y == "often").sum()
