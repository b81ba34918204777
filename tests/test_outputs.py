"""The outputs: their gradients, weights and predictions, and the targets that they refuse."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import hinge_loss, log_loss
from sklearn.svm import LinearSVC

from gates import (
    AbsoluteError,
    GateError,
    Hinge,
    Huber,
    Logistic,
    OutputGate,
    Softmax,
    SquaredError,
)
from gates.contract import run_backward, run_forward
from tests.gate_table import ROWS, Array, Row

OUTPUTS = [row for row in ROWS if isinstance(row.gate, OutputGate)]
every_output = pytest.mark.parametrize("row", OUTPUTS, ids=lambda row: row.id)

# One of each output with settings, scores and targets for it: twelve rows.
RNG = np.random.default_rng(5)
SCORES = 2 * RNG.standard_normal((12, 3))
LABELS = RNG.integers(0, 3, 12)
BITS = RNG.integers(0, 2, 12)
ROWS_OF_P = RNG.dirichlet(np.ones(3), 12)
VALUES = RNG.standard_normal((12, 3))

CASES: dict[str, tuple[type[OutputGate], dict[str, Any], Array, Array]] = {
    "softmax": (Softmax, {}, SCORES, LABELS),
    "softmax with class weights": (Softmax, {"class_weight": [1.0, 0.25, 3.0]}, SCORES, LABELS),
    "softmax of probabilities": (Softmax, {}, SCORES, ROWS_OF_P),
    "softmax of weighted probabilities": (Softmax, {"class_weight": {1: 2.0}}, SCORES, ROWS_OF_P),
    "logistic": (Logistic, {}, SCORES[:, :1], BITS),
    "logistic with class weights": (Logistic, {"class_weight": [1.0, 5.0]}, SCORES[:, :1], BITS),
    "logistic multi-label": (Logistic, {}, SCORES, ROWS_OF_P),
    "squared error": (SquaredError, {}, SCORES, VALUES),
    "squared error of a column": (SquaredError, {}, SCORES[:, :1], VALUES[:, 0]),
    "absolute error": (AbsoluteError, {}, SCORES, VALUES),
    "huber": (Huber, {"delta": 0.7}, SCORES, VALUES),
    "hinge": (Hinge, {}, SCORES, LABELS),
    "hinge of a column": (Hinge, {"margin": 0.5}, SCORES[:, :1], BITS),
    "hinge with class weights": (Hinge, {"class_weight": {0: 3.0}}, SCORES, LABELS),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
Case = tuple[type[OutputGate], dict[str, Any], Array, Array]


def loss_and_gradient(gate: OutputGate, *inputs: Array) -> tuple[float, Array]:
    """Return the loss and the gradient of the scores, dloss being 1."""
    dscores, *others = run_backward(gate, inputs, np.array(1.0))
    assert dscores is not None
    assert others == [None] * len(others)
    return run_forward(gate, inputs).item(), dscores


# --- Gradients --------------------------------------------------------------------------------------------------------


@every_output
@pytest.mark.parametrize("seed", range(3))
def test_gradient_is_that_of_its_own_loss(row: Row, seed: int) -> None:
    """Along random directions the loss rises as its gradient says: no forgotten factor, no other loss's gradient."""
    rng = np.random.default_rng(seed)
    scores, *targets = row.inputs(rng)
    _, dscores = loss_and_gradient(row.gate, scores, *targets)
    for _ in range(5):
        direction = rng.standard_normal(scores.shape)
        ahead, behind = (row.gate(scores + h * direction, *targets) for h in (1e-6, -1e-6))
        assert (ahead - behind) / 2e-6 == pytest.approx(np.sum(dscores * direction), rel=1e-5, abs=1e-8)


@every_output
def test_gradient_is_linear_in_dloss(row: Row) -> None:
    """The upstream gradient of a loss is a factor."""
    inputs = row.inputs(np.random.default_rng(0))
    one, *_ = run_backward(row.gate, inputs, np.array(1.0))
    many, *_ = run_backward(row.gate, inputs, np.array(-2.5))
    assert one is not None
    np.testing.assert_allclose(many, -2.5 * one, rtol=1e-14)


@every_case
def test_sum_is_mean_times_divisor(case: Case) -> None:
    """reduction="sum" and "mean" differ by the factor `divisor`, in the loss and in the gradient, with weights too."""
    make, options, scores, targets = case
    for weights in ([], [RNG.uniform(0.5, 2, len(scores))]):
        mean, dmean = loss_and_gradient(make(**options), scores, targets, *weights)
        total, dtotal = loss_and_gradient(make(**options, reduction="sum"), scores, targets, *weights)
        divisor = make(**options).divisor(scores, targets, *weights)
        assert total == pytest.approx(mean * divisor, rel=1e-13)
        np.testing.assert_allclose(dtotal, dmean * divisor, rtol=1e-12)


def test_divisor_counts_rows_or_elements() -> None:
    """Without weights the divisor is the number of losses: rows where a row has one, else elements."""
    assert Softmax().divisor(SCORES, LABELS) == 12
    assert Hinge().divisor(SCORES, LABELS) == 12
    assert SquaredError().divisor(SCORES, VALUES) == 36
    assert Logistic().divisor(SCORES, ROWS_OF_P) == 36
    assert Softmax(class_weight=[0, 2, 5]).divisor(SCORES[:3], np.array([0, 1, 2])) == 7


# --- Weights ----------------------------------------------------------------------------------------------------------


@every_case
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_whole_weights_repeat_rows(case: Case, reduction: str) -> None:
    """A row of weight 3 is three rows, one of weight 0 is none."""
    make, options, scores, targets = case
    gate = make(**options, reduction=reduction)
    times = np.arange(len(scores)) % 4
    weighted, dweighted = loss_and_gradient(gate, scores, targets, times)
    repeated, drepeated = loss_and_gradient(gate, np.repeat(scores, times, axis=0), np.repeat(targets, times, axis=0))
    assert weighted == pytest.approx(repeated, rel=1e-13)
    rows = np.repeat(np.arange(len(scores)), times)
    gathered = np.zeros_like(scores)
    np.add.at(gathered, rows, drepeated)
    np.testing.assert_allclose(dweighted, gathered, rtol=1e-12, atol=1e-15)


@every_case
def test_equal_weights_change_no_mean(case: Case) -> None:
    """A mean is over the weights: doubling all changes nothing."""
    make, options, scores, targets = case
    plain, dplain = loss_and_gradient(make(**options), scores, targets)
    double, ddouble = loss_and_gradient(make(**options), scores, targets, np.full(len(scores), 2.0))
    assert double == pytest.approx(plain, rel=1e-14)
    np.testing.assert_allclose(ddouble, dplain, rtol=1e-13)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("weight", [[2.0, 0.0, 5.0], {0: 2.0, 1: 0.0, 2: 5.0}, np.array([2.0, 0.0, 5.0])], ids=type)
@pytest.mark.parametrize("make", [Softmax, Hinge])
def test_class_weights_are_sample_weights_by_label(make: type[OutputGate], weight: Any, reduction: str) -> None:
    """The weight of a class is the weight of every row with its label."""
    by_row = np.array([weight[int(label)] for label in LABELS])
    one = loss_and_gradient(make(class_weight=weight, reduction=reduction), SCORES, LABELS)
    other = loss_and_gradient(make(reduction=reduction), SCORES, LABELS, by_row)
    assert one[0] == pytest.approx(other[0], rel=1e-14)
    np.testing.assert_allclose(one[1], other[1], rtol=1e-13)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("make", [Logistic, Hinge])
def test_binary_class_weights_are_sample_weights_by_label(make: type[OutputGate], reduction: str) -> None:
    """With one column there are two classes to weigh."""
    one = loss_and_gradient(make(class_weight={1: 5.0}, reduction=reduction), SCORES[:, :1], BITS)
    other = loss_and_gradient(make(reduction=reduction), SCORES[:, :1], BITS, np.where(BITS == 1, 5.0, 1.0))
    assert one[0] == pytest.approx(other[0], rel=1e-14)
    np.testing.assert_allclose(one[1], other[1], rtol=1e-13)


def test_class_and_sample_weights_multiply() -> None:
    """A row that has both weights weighs their product."""
    by_class, by_row = np.array([2.0, 0.5, 5.0]), RNG.uniform(0.5, 2, 12)
    both = Softmax(class_weight=by_class)(SCORES, LABELS, by_row)
    assert both == pytest.approx(Softmax()(SCORES, LABELS, by_row * by_class[LABELS]), rel=1e-14)


# --- Agreement of one with another, and with scikit-learn ------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"reduction": "sum"}, {"class_weight": [2.0, 0.5, 1.0]}], ids=str)
@pytest.mark.parametrize("dtype", [float, int, bool, np.float32])
def test_labels_are_one_hot_probabilities(options: dict[str, Any], dtype: type) -> None:
    """Integer labels, and rows with a single 1 of whatever type, are the same targets."""
    one_hot = (LABELS[:, None] == np.arange(3)).astype(dtype)
    by_label, dby_label = loss_and_gradient(Softmax(**options), SCORES, LABELS)
    by_row, dby_row = loss_and_gradient(Softmax(**options), SCORES, one_hot)
    assert by_label == pytest.approx(by_row, rel=1e-14)
    np.testing.assert_allclose(dby_label, dby_row, rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.uint64, bool])
def test_labels_of_any_integer_type(dtype: type) -> None:
    """Labels may be short, unsigned, or truths."""
    assert Softmax()(SCORES[:, :2], BITS.astype(dtype)) == Softmax()(SCORES[:, :2], BITS)
    assert Hinge()(SCORES[:, :1], BITS.astype(dtype)) == Hinge()(SCORES[:, :1], BITS)
    assert Logistic()(SCORES[:, :1], BITS.astype(dtype)) == Logistic()(SCORES[:, :1], BITS)


def test_softmax_of_two_columns_is_logistic_of_their_difference() -> None:
    """Two scores and the one between them say the same."""
    two = SCORES[:, :2]
    difference = two[:, 1:] - two[:, :1]
    assert Softmax()(two, BITS) == pytest.approx(Logistic()(difference, BITS), rel=1e-13)
    np.testing.assert_allclose(Softmax().predict_proba(two), Logistic().predict_proba(difference), rtol=1e-12)
    np.testing.assert_array_equal(Softmax().predict(two), Logistic().predict(difference))


def test_losses_are_those_of_scikit_learn() -> None:
    """Cross-entropies and hinge losses, weighted, by sklearn.metrics."""
    weights = RNG.uniform(0.5, 2, 12)
    proba = scipy.special.softmax(SCORES, axis=1)
    expected = log_loss(LABELS, proba, sample_weight=weights, labels=[0, 1, 2])
    assert Softmax()(SCORES, LABELS, weights) == pytest.approx(expected, rel=1e-12)
    column = SCORES[:, 0]
    expected = log_loss(BITS, scipy.special.expit(column), sample_weight=weights)
    assert Logistic()(SCORES[:, :1], BITS, weights) == pytest.approx(expected, rel=1e-12)
    expected = hinge_loss(LABELS, SCORES, labels=[0, 1, 2], sample_weight=weights)
    assert Hinge()(SCORES, LABELS, weights) == pytest.approx(expected, rel=1e-12)
    assert Hinge()(SCORES[:, :1], BITS, weights) == pytest.approx(hinge_loss(BITS, column, sample_weight=weights))


def test_predictions_are_those_of_scikit_learn() -> None:
    """With the decision values of a fitted classifier as scores, labels and probabilities are that classifier's."""
    X = SCORES + LABELS[:, None]
    many = LogisticRegression().fit(X, LABELS)
    scores = many.decision_function(X)
    np.testing.assert_array_equal(Softmax().predict(scores), many.predict(X))
    np.testing.assert_allclose(Softmax().predict_proba(scores), many.predict_proba(X), rtol=1e-12)
    two = LogisticRegression().fit(X, BITS)
    column = two.decision_function(X)[:, None]
    np.testing.assert_array_equal(Logistic().predict(column), two.predict(X))
    np.testing.assert_allclose(Logistic().predict_proba(column), two.predict_proba(X), rtol=1e-12)
    for labels in (LABELS, BITS):
        machine = LinearSVC(max_iter=100_000).fit(X, labels)
        decision = machine.decision_function(X)
        decision = decision[:, None] if decision.ndim == 1 else decision
        np.testing.assert_array_equal(Hinge().predict(decision), machine.predict(X))


# --- Predictions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gate", "scores", "expected"),
    [
        (Softmax(), [[1, 3, 2], [5, 0, 0], [0, 0, 1]], [1, 0, 2]),
        (Softmax(), [[1, 1, 0], [0, 2, 2], [3, 3, 3]], [0, 1, 0]),
        (Softmax(), [[[1, 3], [3, 1]], [[0, 0], [0, 1]]], [[1, 0], [0, 1]]),
        (Logistic(), [[-1], [0.5], [0]], [0, 1, 0]),
        (Logistic(), [-1, 0.5, 0], [0, 1, 0]),
        (Logistic(), [[-1, 1], [0, 2]], [[0, 1], [0, 1]]),
        (Hinge(), [[-1], [0.5], [0]], [0, 1, 0]),
        (Hinge(), [[1, 3, 2], [2, 2, 0]], [1, 0]),
        (SquaredError(), [[1.5], [-2]], [1.5, -2]),
        (SquaredError(), [[1.5, 2], [-2, 3]], [[1.5, 2], [-2, 3]]),
        (SquaredError(), [1.5, 2], [1.5, 2]),
        (AbsoluteError(), [[1.5], [-2]], [1.5, -2]),
        (Huber(), [[1.5], [-2]], [1.5, -2]),
    ],
)
def test_predict(gate: OutputGate, scores: Any, expected: Any) -> None:
    """Classes by the largest score, the first of several, and by the sign; values as they are; (n, 1) becomes (n,)."""
    predicted = gate.predict(np.array(scores, float))
    expected = np.array(expected)
    np.testing.assert_array_equal(predicted, expected)
    assert (predicted.shape, predicted.dtype.kind) == (expected.shape, expected.dtype.kind)


@every_output
def test_predict_takes_no_rows_and_one(row: Row) -> None:
    """Predictions of no rows are none, of one row one."""
    scores = row.inputs(np.random.default_rng(0))[0]
    for n in (0, 1):
        assert len(row.gate.predict(scores[:n])) == n


@every_output
def test_predict_proba(row: Row) -> None:
    """Probabilities are between 0 and 1, sum to one where classes exclude each other, and agree with predict."""
    scores = row.inputs(np.random.default_rng(0))[0]
    if not isinstance(row.gate, Softmax | Logistic):
        with pytest.raises(
            GateError, match=f"{type(row.gate).__name__} gives no probabilities; Softmax and Logistic do"
        ):
            row.gate.predict_proba(scores)
        return
    proba = row.gate.predict_proba(scores)
    assert ((proba >= 0) & (proba <= 1)).all()
    if isinstance(row.gate, Logistic) and scores.ndim == 2 and scores.shape[1] > 1:
        np.testing.assert_allclose(proba, 1 / (1 + np.exp(-scores)), rtol=1e-13)
        np.testing.assert_array_equal(row.gate.predict(scores), proba > 0.5)
    else:
        np.testing.assert_allclose(proba.sum(axis=-1), 1, rtol=1e-14)
        np.testing.assert_array_equal(row.gate.predict(scores), proba.argmax(axis=-1))


def test_probabilities_far_out() -> None:
    """At +-1000 probabilities are exactly 0 and 1, without a warning."""
    np.testing.assert_array_equal(Softmax().predict_proba(np.array([[1000.0, 0.0]])), [[1, 0]])
    np.testing.assert_array_equal(Softmax().predict_proba(np.array([[-1000.0, 1000.0, 0.0]])), [[0, 1, 0]])
    np.testing.assert_array_equal(Logistic().predict_proba(np.array([[-1000.0], [1000.0]])), [[1, 0], [0, 1]])
    np.testing.assert_array_equal(Logistic().predict_proba(np.array([[-1000.0, 1000.0]])), [[0, 1]])


def test_probabilities_of_small_classes_keep_their_digits() -> None:
    """The probability of class 0 at a score of 40 is exp(-40), not 1 - 1."""
    assert Logistic().predict_proba(np.array([[40.0]]))[0, 0] == pytest.approx(math.exp(-40), rel=1e-12)


@pytest.mark.parametrize(
    ("gate", "scores", "targets", "loss", "gradient"),
    [
        (Softmax(), [[1000, 0]], [0], 0, [[0, 0]]),
        (Softmax(), [[1000, 0]], [1], 1000, [[1, -1]]),
        (Softmax(), [[-1000, -1000]], [1], math.log(2), [[0.5, -0.5]]),
        (Softmax(), [[1000, -1000]], [[0.5, 0.5]], 1000, [[0.5, -0.5]]),
        (Logistic(), [[1000]], [1], 0, [[0]]),
        (Logistic(), [[1000]], [0], 1000, [[1]]),
        (Logistic(), [[-1000]], [0], 0, [[0]]),
        (Logistic(), [[-1000]], [1], 1000, [[-1]]),
        (Hinge(), [[1000, -1000]], [0], 0, [[0, 0]]),
        (Hinge(), [[1000, -1000]], [1], 2001, [[1, -1]]),
        (Hinge(), [[-1000]], [1], 1001, [[-1]]),
        (SquaredError(), [[1000]], [-1000], 4e6, [[4000]]),
        (AbsoluteError(), [[1000]], [-1000], 2000, [[1]]),
        (AbsoluteError(), [[1000]], [1000], 0, [[0]]),
        (Huber(), [[1000]], [-1000], 1999.5, [[1]]),
        (Huber(), [[1000]], [1000.5], 0.125, [[-0.5]]),
    ],
    ids=str,
)
def test_losses_far_out(gate: OutputGate, scores: Any, targets: Any, loss: float, gradient: Any) -> None:
    """At +-1000 losses and gradients are exact, without a warning."""
    got, dscores = loss_and_gradient(gate, np.array(scores, float), np.array(targets))
    assert got == pytest.approx(loss, rel=1e-15)
    np.testing.assert_array_equal(dscores, gradient)


@pytest.mark.parametrize("s", [-30.0, -3.0, 0.0, 3.0, 20.0, 30.0])
def test_small_losses_keep_their_digits(s: float) -> None:
    """The loss of a row that is well learnt is exp(-s): Logistic gives its digits, Softmax is right to rounding."""
    expected = math.log1p(math.exp(-s))
    assert Softmax()(np.array([[0.0, s]]), np.array([1])) == pytest.approx(expected, rel=1e-15, abs=1e-15)
    assert Logistic()(np.array([[s]]), np.array([1])) == pytest.approx(expected, rel=1e-12, abs=0)
    assert Logistic()(np.array([[-s]]), np.array([0])) == pytest.approx(expected, rel=1e-12, abs=0)


# --- Dtypes that are mixed --------------------------------------------------------------------------------------------


@every_case
def test_whole_number_scores_are_those_of_the_same_floats(case: Case) -> None:
    """Scores that are written as integers leave targets and weights their fractions."""
    make, options, scores, targets = case
    whole = np.round(scores).astype(int)
    weights = RNG.uniform(0.5, 2, len(scores))
    for extra in ([], [weights]):
        one, done = loss_and_gradient(make(**options), whole, targets, *extra)
        other, dother = loss_and_gradient(make(**options), whole.astype(float), targets, *extra)
        assert one == pytest.approx(other, rel=1e-14)
        np.testing.assert_allclose(done, dother, rtol=1e-13)


@every_case
def test_float32_scores_take_float64_targets_and_weights(case: Case) -> None:
    """Targets and weights are data: float64 ones do not stop float32 work, nor widen it."""
    make, options, scores, targets = case
    gate, narrow, weights = make(**options), scores.astype(np.float32), np.ones(len(scores))
    Z = run_forward(gate, [narrow, targets, weights])
    assert Z.dtype == np.float32
    assert run_backward(gate, [narrow, targets, weights], Z)[0].dtype == np.float32
    np.testing.assert_allclose(Z, gate(scores, targets, weights), rtol=1e-5)


# --- What is refused --------------------------------------------------------------------------------------------------

S, C = np.zeros((4, 3)), np.zeros((4, 1))
NAN, INF = math.nan, math.inf

LABEL_ERRORS = [
    ([0, 1, 3, 2], r"labels must be in 0\.\.2, got 3 at position 2"),
    ([-1, 1, 2, 0], r"labels must be in 0\.\.2, got -1 at position 0"),
    ([0, 1, 1, -7], r"labels must be in 0\.\.2, got -7 at position 3"),
    ([0.5, 1.0, 2.0, 0.0], r"labels must be integers in 0\.\.2, got dtype float64"),
    ([0.0, 1.0, 2.0, 0.0], r"labels must be integers in 0\.\.2, got dtype float64; .*\.astype\(int\)"),
    ([0, 1, 2], r"labels must have shape \(4,\), one per row of scores, got \(3,\)"),
    ([0, 1, 2, 0, 1], r"labels must have shape \(4,\), one per row of scores, got \(5,\)"),
    ([], r"labels must have shape \(4,\), one per row of scores, got \(0,\)"),
    ([[0], [1], [2], [0]], r"labels must have shape \(4,\), one per row of scores, got \(4, 1\); .*\.ravel\(\)"),
    ([[0, 1, 2, 0]], r"labels must have shape \(4,\), one per row of scores, got \(1, 4\)"),
    (1, r"labels must have shape \(4,\), one per row of scores, got \(\)"),
    (["a", "b", "c", "a"], r"must be an array of real numbers, got list with strings"),
    ([0, 1, None, 2], r"must be an array of real numbers, got list with dtype object"),
]


@pytest.mark.parametrize("gate", [Softmax(), Hinge()], ids=repr)
@pytest.mark.parametrize(("labels", "message"), LABEL_ERRORS, ids=str)
def test_bad_labels(gate: OutputGate, labels: Any, message: str) -> None:
    """Out of range, negative, fractional, of the wrong length or kind: what was expected, what came, and where."""
    with pytest.raises(GateError, match=message):
        gate(S, labels)


@pytest.mark.parametrize("labels", [labels for labels, _ in LABEL_ERRORS[:10]], ids=str)
def test_backward_refuses_bad_labels_too(labels: Any) -> None:
    """No gradient of a target that has no loss."""
    with pytest.raises(GateError, match="Softmax: labels must"):
        run_backward(Softmax(), [S, np.array(labels)], np.array(1.0))


@pytest.mark.parametrize(
    ("gate", "scores", "targets", "message"),
    [
        (Hinge(), C, [0, 1, 2, 0], r"Hinge: labels must be in 0\.\.1, got 2 at position 2"),
        (Hinge(), C, [0, 1, -1, 0], r"Hinge: labels must be in 0\.\.1, got -1 at position 2"),
        (
            Softmax(),
            np.zeros((2, 2, 3)),
            [[0, 1], [5, 0]],
            r"Softmax: labels must be in 0\.\.2, got 5 at position 1, 0",
        ),
        (Softmax(), C, [0, 1, 1, 0], r"Softmax: scores must have a column for each of two or .*got shape \(4, 1\)"),
        (Softmax(), np.zeros(4), 0, r"Softmax: scores must have a column for each of two or .*got shape \(4,\)"),
        (Hinge(), np.zeros(4), [0, 1, 1, 0], r"Hinge: scores must have shape \(n, 1\) or \(n, classes\), got \(4,\)"),
        (Hinge(), np.zeros((4, 0)), [0, 1, 1, 0], r"Hinge: scores must have shape \(n, 1\) or .*got \(4, 0\)"),
        (Softmax(), S, np.full((4, 3), 0.5), r"Softmax: targets .*must be probabilities.* sum to 1.*got .*(0\.5|1\.5)"),
        (Softmax(), S, np.tile([1.5, -0.5, 0], (4, 1)), r"Softmax: targets .*must be probabilities.*got .*-0\.5"),
        (Softmax(), S, np.full((4, 3), NAN), r"Softmax: targets .*must be probabilities.*got .*nan"),
        (Softmax(), S, np.full((4, 3), INF), r"Softmax: targets .*must be probabilities.*got .*inf"),
        (Logistic(), C, [0, 1, 2, 0], r"Logistic: targets must be 0, 1, or a probability between, got 2"),
        (Logistic(), C, [0, 1, -1, 0], r"Logistic: targets must be 0, 1, or a probability between, got -1"),
        (Logistic(), C, [0, 1, NAN, 0], r"Logistic: targets must be 0, 1, or a probability between, got nan"),
        (Logistic(), C, [0, 1, 1.5, 0], r"Logistic: targets must be 0, 1, .*got 1\.5 at position 2"),
        (Logistic(), S, [0, 1, 1, 0], r"Logistic: targets must have the shape of the scores, \(4, 3\), got \(4,\)"),
        (Logistic(), C, [0, 1, 1], r"Logistic: targets must have the shape of the scores, \(4, 1\), got \(3,\)"),
        (Logistic(), C[:, 0], C, r"Logistic: targets must have the shape of the scores, \(4,\), got \(4, 1\)"),
        (SquaredError(), S, S[:, :2], r"SquaredError: targets must have the shape .*\(4, 3\), got \(4, 2\)"),
        (SquaredError(), S, S[0], r"SquaredError: targets must have the shape .*\(4, 3\), got \(3,\)"),
        (SquaredError(), S, 1.0, r"SquaredError: targets must have the shape .*\(4, 3\), got \(\)"),
        (SquaredError(), C, C.T, r"SquaredError: targets must have the shape .*\(4, 1\), got \(1, 4\)"),
        (AbsoluteError(), S, S.T, r"AbsoluteError: targets must have the shape .*\(4, 3\), got \(3, 4\)"),
        (Huber(), S, S[:3], r"Huber: targets must have the shape .*\(4, 3\), got \(3, 3\)"),
    ],
)
def test_bad_targets(gate: OutputGate, scores: Array, targets: Any, message: str) -> None:
    """Targets that no loss can be taken of, and scores of the wrong shape."""
    with pytest.raises(GateError, match=message):
        gate(scores, targets)


@pytest.mark.parametrize(
    ("gate", "scores", "targets"),
    [(Softmax(), S, [0, 1, 2, 0]), (Logistic(), C, [0, 1, 1, 0]), (SquaredError(), S, S), (Hinge(), C, [0, 1, 1, 0])],
    ids=["softmax", "logistic", "squared", "hinge"],
)
@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 1, 1], r"sample_weight must be one weight per row, \(4,\), got \(3,\)"),
        ([[1], [1], [1], [1]], r"sample_weight must be one weight per row, \(4,\), got \(4, 1\)"),
        (2.0, r"sample_weight must be one weight per row, \(4,\), got \(\)"),
        ([1, -1, 1, 1], r"sample_weight must .*none negative.*got -1.* at position 1"),
        ([1, 1, NAN, 1], r"sample_weight must .*finite.*got nan at position 2"),
        ([1, 1, 1, INF], r"sample_weight must .*finite.*got inf at position 3"),
        ([0, 0, 0, 0], r"the weights of all rows add up to zero"),
        (["1", "1", "1", "1"], r"must be an array of real numbers, got list with strings"),
    ],
    ids=str,
)
def test_bad_sample_weights(gate: OutputGate, scores: Array, targets: Any, weights: Any, message: str) -> None:
    """Of the wrong length, negative, not finite, or all zero."""
    with pytest.raises(GateError, match=message):
        gate(scores, targets, weights)


def test_classes_of_weight_zero_leave_nothing_to_average() -> None:
    """A batch with classes of weight 0 only has no mean loss; its summed loss is 0."""
    with pytest.raises(GateError, match="Softmax: the weights of all rows add up to zero"):
        Softmax(class_weight=[0, 1, 1])(S, [0, 0, 0, 0])
    assert Softmax(class_weight=[0, 1, 1], reduction="sum")(S, [0, 0, 0, 0]) == 0


def test_no_rows_are_said_to_be_none() -> None:
    """Of no rows there is no mean loss, and the message does not talk of weights that nobody gave."""
    with pytest.raises(GateError, match=r"^Softmax: .*no rows"):
        Softmax()(np.empty((0, 3)), np.empty(0, int))
    assert Softmax(reduction="sum")(np.empty((0, 3)), np.empty(0, int)) == 0


@pytest.mark.parametrize(
    ("make", "weight", "message"),
    [
        (Softmax, [1.0, 2.0], r"class_weight must have a weight for each of the 3 classes, got \[1\.0, 2\.0\]"),
        (Softmax, [1, 2, 3, 4], r"class_weight must have a weight for each of the 3 classes, got \[1, 2, 3, 4\]"),
        (Softmax, {3: 1.0}, r"class_weight must have a weight for each of the 3 classes, got \{3: 1\.0\}"),
        (Softmax, {"a": 1.0}, r"class_weight must have a weight for each of the 3 classes, got \{'a': 1\.0\}"),
        (Softmax, {-1: 1.0}, r"class_weight must have a weight for each of the 3 classes, got \{-1: 1\.0\}"),
        (Hinge, [], r"class_weight must have a weight for each of the 3 classes, got \[\]"),
        (Softmax, [1, -2, 3], r"Softmax: class_weight must be finite and not negative, got \[1, -2, 3\]"),
        (Softmax, [1, NAN, 3], r"Softmax: class_weight must be finite and not negative, got \[1, nan, 3\]"),
        (Hinge, {0: INF}, r"Hinge: class_weight must be finite and not negative, got \{0: inf\}"),
        (Logistic, [1, 2, 3], r"class_weight must have a weight for each of the 2 classes, got \[1, 2, 3\]"),
        (Logistic, {0: -1}, r"Logistic: class_weight must be finite and not negative, got \{0: -1\}"),
        (Softmax, "balanced", r"Softmax: class_weight must .*got .*balanced"),
        (Softmax, 2.0, r"Softmax: class_weight must .*got 2\.0"),
        (Softmax, ["1", "2", "3"], r"Softmax: class_weight must .*got \['1', '2', '3'\]"),
    ],
    ids=str,
)
def test_bad_class_weights(make: type[OutputGate], weight: Any, message: str) -> None:
    """Of the wrong length, of labels that do not exist, negative, not finite, no numbers."""
    targets = np.zeros((4, 3)) if make is Logistic else [0, 1, 2, 0]
    with pytest.raises(GateError, match=message):
        make(class_weight=weight)(S, targets)


@pytest.mark.parametrize("make", [Softmax, Logistic, SquaredError, AbsoluteError, Huber, Hinge])
@pytest.mark.parametrize("reduction", ["average", "none", None, "Mean", 1])
def test_bad_reduction(make: type[OutputGate], reduction: Any) -> None:
    """Only 'mean' and 'sum' are reductions."""
    message = f"{make.__name__}: reduction must be 'mean', 'batchmean' or 'sum', got {reduction!r}"
    with pytest.raises(GateError, match=message):
        make(reduction=reduction)


@pytest.mark.parametrize("delta", [0, -1.0, NAN, INF, None, "1"])
def test_bad_delta(delta: Any) -> None:
    """Huber's delta is positive and finite."""
    with pytest.raises(GateError, match=f"Huber: delta must be finite and positive, got {delta!r}"):
        Huber(delta)


@pytest.mark.parametrize("margin", [-1.0, NAN, INF, None, "1"])
def test_bad_margin(margin: Any) -> None:
    """A margin is finite and not negative; 0 is the perceptron's."""
    with pytest.raises(GateError, match=f"Hinge: margin must be finite and not negative, got {margin!r}"):
        Hinge(margin)
    assert Hinge(0)(np.array([[2.0]]), np.array([0])) == 2


@pytest.mark.parametrize(
    ("losses", "got"),
    [(lambda s, t: np.mean((s - t) ** 2), r"\(\)"), (lambda s, t: ((s - t) ** 2).sum(axis=1), r"\(5,\)")],
)
def test_losses_of_another_shape_are_refused(losses, got):
    """One loss per element, or per row if the class says so: else the weights would be multiplied to no sense."""

    class OwnLoss(SquaredError):  # noqa: N818 - no exception, for all its base is called
        def losses(self, scores, targets):
            return losses(scores, targets)

    with pytest.raises(
        GateError, match=rf"losses must return one loss per element of scores, shape \(5, 3\), got {got}"
    ):
        OwnLoss()(np.zeros((5, 3)), np.ones((5, 3)))
