"""What `Model.fit` does: against loops written out in NumPy, scikit-learn and SciPy, and itself said in another way."""

from __future__ import annotations

import re
import tracemalloc
import warnings

import numpy as np
import pytest
import scipy
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Ridge
from sklearn.metrics import accuracy_score, r2_score

from gates import AbsoluteError, Gate, HalfSquaredError, Hinge, Huber, Logistic, ReLU, Softmax, SquaredError, Tanh
from nngraph import BatchNorm, Dense, DivergenceError, Dropout, Input, LayerNorm, Model, Parameter, Random
from nngraph.callbacks import Callback
from nngraph.optimizers import (
    WITH_CURVATURE,
    WITH_GRADIENT,
    WITH_HESSIAN,
    WITHOUT_GRADIENT,
    Adagrad,
    Adam,
    AdamW,
    GradientDescent,
    Momentum,
    Nesterov,
    RMSprop,
    ScipyMinimize,
)
from nngraph.penalties import L1, L2, ElasticNet
from nngraph.schedules import ExponentialDecay

ENGINES = pytest.mark.parametrize("engine", ["numpy", "graph"])
RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 3))
Y = (X[:, 0] + 0.3 * RNG.normal(size=50) > 0).astype(int) + (X[:, 1] > 0.5)
OPTIMIZERS = [
    GradientDescent(0.1),
    Momentum(0.05),
    Nesterov(0.05),
    Adagrad(0.1),
    RMSprop(),
    Adam(0.01),
    AdamW(0.01),
]


def linear(**settings):
    """Return softmax regression."""
    return Model([3, 3], **{"random_state": 1, **settings})


def net(*layers, **settings):
    """Return a net with a hidden layer, and what else stands behind it."""
    return Model([3, 4, *layers, 3], **{"random_state": 1, **settings})


def weights(model):
    """Return the bytes of all parameters and running averages."""
    parts = {name: value.tobytes() for name, value in model.parameters.items()}
    return parts | {str(node.name): node.value.tobytes() for node in model.graph.running}


def assert_close(one, other, rtol=1e-9):
    """Assert that two models have the same parameters and averages, to rounding."""
    for name, value in one.parameters.items():
        assert_allclose(value, other.parameters[name], rtol=rtol, atol=rtol, err_msg=name)
    for a, b in zip(one.graph.running, other.graph.running, strict=True):
        assert_allclose(a.value, b.value, rtol=rtol, atol=rtol, err_msg=str(a.name))


def measured(history):
    """Return the columns without the clock's, as bytes."""
    return {name: column.tobytes() for name, column in history.to_dict().items() if name != "seconds"}


class Recorder(Callback):
    """Notes the losses of the steps."""

    def fit_begin(self, training):
        self.losses = []

    def batch_end(self, training):
        self.losses.append(training.loss)


# --- Against loops by hand -------------------------------------------------------------------------------------------


def softmax_loss(W, b, rows, labels):
    """Return the mean loss of softmax regression, and its gradients."""
    scores = rows @ W + b
    scores = scores - scores.max(axis=1, keepdims=True)
    P = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    G = (P - np.eye(3)[labels]) / len(rows)
    return -np.log(P[np.arange(len(rows)), labels]).mean(), rows.T @ G, G.sum(axis=0)


def pull(W, l1, l2):
    """Return the gradient of ``l1 sum |W| + l2 / 2 sum W^2``."""
    return l1 * np.sign(W) + l2 * W


# What is given to `fit`, and for the loop: l1 and l2 of W, l1 and l2 of b, the clip.
PENALTIES = {
    "none": ({}, (0, 0), (0, 0), np.inf),
    "L1": ({"penalty": L1(0.03)}, (0.03, 0), (0, 0), np.inf),
    "L2": ({"penalty": L2(0.2)}, (0, 0.2), (0, 0), np.inf),
    "ElasticNet": ({"penalty": ElasticNet(0.03, 0.2)}, (0.03, 0.2), (0, 0), np.inf),
    "one by name": ({"penalty": {"W1": L1(0.02)}}, (0.02, 0), (0, 0), np.inf),
    "each by name": ({"penalty": {"W1": L2(0.1), "b1": ElasticNet(0.05, 0.3)}}, (0, 0.1), (0.05, 0.3), np.inf),
    "clipped": ({"clip_norm": 0.05}, (0, 0), (0, 0), 0.05),
    "clipped with penalty": ({"clip_norm": 0.05, "penalty": L2(0.7)}, (0, 0.7), (0, 0), 0.05),
    "clipped at the end of all floats": ({"clip_norm": 1e300}, (0, 0), (0, 0), 1e300),
}


@ENGINES
@pytest.mark.parametrize("size", [50, 25, 16, 7, 1])
@pytest.mark.parametrize("case", PENALTIES)
def test_gradient_descent_by_hand(case, size, engine):
    """Full batches, mini-batches and a last short one are a loop over slices; so is what the history says of it."""
    settings, of_W, of_b, most = PENALTIES[case]
    model, recorder = linear(engine=engine), Recorder()
    W, b, losses, epochs, objectives = model.W[0].copy(), model.b[0].copy(), [], [], []
    for _ in range(4):
        extra = sum(l1 * np.abs(p).sum() + l2 / 2 * (p**2).sum() for p, (l1, l2) in ((W, of_W), (b, of_b)))
        for start in range(0, 50, size):
            loss, dW, db = softmax_loss(W, b, X[start : start + size], Y[start : start + size])
            dW, db = dW + pull(W, *of_W), db + pull(b, *of_b)
            length = np.sqrt((dW**2).sum() + (db**2).sum())
            factor = min(1, most / length)
            W, b = W - 0.3 * factor * dW, b - 0.3 * factor * db
            losses.append((loss, len(X[start : start + size])))
        last = losses[len(epochs) * -(-50 // size) :]
        epochs.append(np.average([loss for loss, _ in last], weights=[rows for _, rows in last]))
        objectives.append(epochs[-1] + extra)
    history = model.fit(
        X, Y, epochs=4, batch_size=size, optimizer=GradientDescent(0.3), shuffle=False, callbacks=[recorder], **settings
    )
    assert_allclose(model.W[0], W, rtol=1e-11)
    assert_allclose(model.b[0], b, rtol=1e-11, atol=1e-14)
    assert_allclose(recorder.losses, [loss for loss, _ in losses], rtol=1e-11)
    assert_allclose(history["loss"], epochs, rtol=1e-11)
    assert ("objective" in history) == ("penalty" in settings)
    if "penalty" in settings:
        assert_allclose(history["objective"], objectives, rtol=1e-11)


@ENGINES
@pytest.mark.parametrize("size", [50, 16, 7])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("l1", "l2"), [(0.0, 1.5), (0.4, 0.0), (0.3, 2.0)])
def test_a_shared_penalty_by_hand(l1, l2, weighted, size, engine):
    """It is added to the sum of a batch's losses: the loop, the history, and single steps say so."""
    one, other = linear(engine=engine), linear(engine=engine)
    weight = RNG.uniform(0.2, 3.0, 50) if weighted else np.ones(50)
    given = [weight] if weighted else []
    penalty = ElasticNet(l1, l2, shared=True)
    W, b, objectives = one.W[0].copy(), one.b[0].copy(), []
    descent = other.descent(GradientDescent(0.3), penalty=penalty)
    for _ in range(3):
        before, losses = l1 * np.abs(W).sum() + l2 / 2 * (W**2).sum(), 0.0
        for start in range(0, 50, size):
            part = slice(start, start + size)
            share = weight[part]
            P = scipy.special.softmax(X[part] @ W + b, axis=1)
            losses += share @ -np.log(P[np.arange(len(share)), Y[part]])
            G = share[:, None] * (P - np.eye(3)[Y[part]])
            # The gradient of the sum of the losses and the penalty, by what the batch weighs.
            W, b = W - 0.3 * (X[part].T @ G + pull(W, l1, l2)) / share.sum(), b - 0.3 * G.sum(axis=0) / share.sum()
            descent.load(X[part], Y[part], *(array[part] for array in given))
            descent.compute()
            descent.update()
        batches = -(-50 // size)
        objectives.append((losses + batches * before) / weight.sum())
    history = one.fit(
        X, Y, epochs=3, batch_size=size, optimizer=GradientDescent(0.3), shuffle=False, penalty=penalty,
        sample_weight=weight if weighted else None, progress=False,
    )  # fmt: skip
    descent.finish()
    for model in (one, other):
        assert_allclose(model.W[0], W, rtol=1e-10)
        assert_allclose(model.b[0], b, rtol=1e-10, atol=1e-13)
    assert_allclose(history["objective"], objectives, rtol=1e-10)


def test_a_shared_penalty_with_others():
    """Penalties that are shared and that are not, of several parameters at once, each count as they are."""
    models = [net(), net(), net()]
    given = [
        {"W1": L2(0.5, shared=True), "W2": L2(0.02), "b1": L1(0.1, shared=True)},
        # Of full batches of 50.
        {"W1": L2(0.01), "W2": L2(0.02), "b1": L1(0.002)},
        {"W1": L2(0.01), "W2": L2(1.0, shared=True), "b1": L1(0.1, shared=True)},
    ]
    for model, penalty in zip(models, given, strict=True):
        model.fit(X, Y, epochs=5, batch_size=50, optimizer=Momentum(0.1), penalty=penalty, progress=False)
    assert_close(models[0], models[1], 1e-11)
    assert_close(models[0], models[2], 1e-11)


@pytest.mark.parametrize("penalty", [L1(0.1), L2(0.1), ElasticNet(0.1, 0.2)])
def test_shared_penalties_say_so(penalty):
    """In their repr, where they are compared, and where they are refused."""
    kind = type(penalty)
    numbers = [penalty.l1, penalty.l2] if kind is ElasticNet else [penalty.l1 or penalty.l2]
    shared = kind(*numbers, shared=True)
    assert eval(repr(shared)) == shared != penalty  # noqa: S307 - our own
    assert "shared" not in repr(penalty)
    with pytest.raises(ValueError, match=f"{kind.__name__}: shared"):
        kind(*numbers, shared=1)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_shared_penalty_with_scipy(weighted):
    """All examples are one batch: the minimum is that of the penalty by what they weigh, and ridge regression."""
    weight = RNG.uniform(0.2, 3.0, 50) if weighted else np.ones(50)
    target = X @ [1.0, -2.0, 0.5] + 0.1 * RNG.normal(size=50)
    found = []
    for penalty in (L2(4.0, shared=True), L2(4.0 / weight.sum())):
        model = Model([3, 1], output=HalfSquaredError(), random_state=0)
        history = model.fit(
            X, target, epochs=200, optimizer=ScipyMinimize("BFGS", gtol=1e-9), penalty=penalty,
            sample_weight=weight if weighted else None, progress=False,
        )  # fmt: skip
        found.append(model.W[0].ravel().copy())
        assert_allclose(history["objective"][-1] - history["loss"][-1], 2 * (model.W[0] ** 2).sum() / weight.sum())
    assert_allclose(found[0], found[1], rtol=1e-6)
    assert_allclose(found[0], Ridge(alpha=4.0).fit(X, target, weight).coef_, rtol=1e-6)


def test_an_order_of_ones_own():
    """A function that returns the rows' numbers: any, some twice; the batches are cut from it."""
    orders = [RNG.permutation(50), RNG.integers(0, 50, 50), np.arange(50)[::-1]]
    one, other, left = net(), net(), iter(orders)
    one.fit(X, Y, epochs=3, batch_size=16, optimizer=Adam(0.01), shuffle=lambda rows: next(left)[:rows], progress=False)
    descent = other.descent(Adam(0.01))
    for order in orders:
        for start in range(0, 50, 16):
            descent.load(X[order[start : start + 16]], Y[order[start : start + 16]])
            descent.compute()
            descent.update()
    descent.finish()
    assert_close(one, other, 1e-11)


@pytest.mark.parametrize(
    "order",
    [np.arange(49), np.arange(1, 51), np.arange(-1, 49), np.arange(50.0), np.arange(50) > 3, [[0] * 50], None, "abc"],
    ids=str,
)
def test_an_order_that_is_none(order):
    """It is refused when it comes, and the weights are those of before."""
    model = net()
    before = weights(model)
    with pytest.raises(ValueError, match="shuffle must return the numbers of 50 rows, from 0 to 49"):
        model.fit(X, Y, epochs=2, batch_size=16, shuffle=lambda _: order, progress=False)
    assert weights(model) == before


@ENGINES
@pytest.mark.parametrize("weighted", [False, True])
def test_what_a_callback_sees_of_a_batch(weighted, engine):
    """Its rows, what they weigh, and the parameters before and after the step."""
    weight = RNG.uniform(0.2, 3.0, 50) if weighted else np.ones(50)
    model, seen = net(engine=engine), []

    class Sees(Callback):
        """Notes what there is."""

        def batch_begin(self, training):
            """The parameters of before."""
            self.before = {name: value.copy() for name, value in training.parameters.items()}

        def batch_end(self, training):
            """And what has become of them."""
            step = {name: (self.before[name] - value) / 0.1 for name, value in training.parameters.items()}
            seen.append((training.rows, training.weight, self.before, step))

    model.fit(
        X, Y, epochs=1, batch_size=16, optimizer=GradientDescent(0.1), shuffle=False, callbacks=[Sees()],
        sample_weight=weight if weighted else None, progress=False,
    )  # fmt: skip
    assert [rows for rows, *_ in seen] == [16, 16, 16, 2]
    assert_allclose([share for _, share, *_ in seen], [weight[i : i + 16].sum() for i in range(0, 50, 16)])
    twin = net(output=Softmax(reduction="sum"))
    for i, (rows, share, before, step) in enumerate(seen):
        for name, value in before.items():
            twin.parameters[name][...] = value
        part = slice(16 * i, 16 * i + rows)
        # The gradient of one example after another, weighed by hand.
        totals = dict.fromkeys(before, 0.0)
        for j in range(part.start, part.stop):
            gradients = twin.gradients(X[j : j + 1], Y[j : j + 1])
            totals = {name: total + weight[j] * gradients[name] for name, total in totals.items()}
        for name, total in totals.items():
            assert_allclose(step[name], total / share, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("output", [SquaredError, HalfSquaredError, AbsoluteError, Huber, Logistic])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_mean_over_rows(output, weighted):
    """``reduction="batchmean"`` is the mean times the number of columns, in the loss and in the training."""
    targets = (X > 0).astype(float)
    weight = np.arange(1.0, 51) if weighted else None
    models = [Model([3, 4, 3], output=output(reduction=kind), random_state=0) for kind in ("batchmean", "mean")]
    assert models[0].calculate_loss(X, targets) == pytest.approx(3 * models[1].calculate_loss(X, targets))
    for model, rate in zip(models, (0.01, 0.03), strict=True):
        model.fit(
            X, targets, epochs=3, batch_size=16, optimizer=GradientDescent(rate), shuffle=False, sample_weight=weight,
            progress=False,
        )  # fmt: skip
    assert_close(*models, 1e-10)


@ENGINES
@pytest.mark.parametrize("output", [Softmax(), SquaredError(), Logistic(), Huber()], ids=repr)
def test_train_and_fit_agree(engine, output):
    """`train` follows the sum of the losses, `fit` their mean: the same steps, with rates n apart."""
    y = Y if isinstance(output, Softmax) else (X > 0).astype(float) if isinstance(output, Logistic) else np.sin(X)
    one, other = net(output=output, engine=engine), net(output=output, engine=engine)
    # For columns the losses of all are summed.
    losses = len(X) * (1 if y.ndim == 1 else y.shape[1])
    one.train(X, y, num_passes=25, epsilon=0.5 / losses, reg_lambda=0.3)
    history = other.fit(
        X, y, epochs=25, batch_size=len(X), optimizer=GradientDescent(0.5), penalty=L2(0.3 / losses), shuffle=False
    )
    assert_close(one, other, 1e-11)
    assert_allclose(history["loss"], one.loss_history[:-1], rtol=1e-11)


def test_a_gradient_whose_square_overflows_is_clipped():
    """A gradient of a norm near the largest float is cut down to the norm that is asked for, not to 0."""
    for dtype, scale in ((np.float32, 1e25), (np.float64, 1e200)):
        W = Parameter(np.zeros((1, 2), dtype), "W")
        model = Model(Input("X") @ W * scale, output=SquaredError(), engine="graph")
        model.fit([[1.0]], [[-3.0, 4.0]], epochs=1, optimizer=GradientDescent(1.0), clip_norm=10.0)
        assert_allclose(W.value, [[-6.0, 8.0]], rtol=1e-6)


@ENGINES
def test_the_rate_follows_the_schedule(engine):
    """A schedule is asked with the part of the epoch that is done, and the history has an epoch's last rate."""
    model, W = linear(engine=engine), linear().W[0].copy()
    b = np.zeros(3)
    for step in range(6):
        rows = slice(25 * (step % 2), 25 * (step % 2) + 25)
        _, dW, db = softmax_loss(W, b, X[rows], Y[rows])
        W, b = W - 0.4 * 0.5 ** (step / 2) * dW, b - 0.4 * 0.5 ** (step / 2) * db
    model.b[0] = np.zeros(3)
    history = model.fit(
        X, Y, epochs=3, batch_size=25, shuffle=False, optimizer=GradientDescent(0.4), schedule=ExponentialDecay(0.5)
    )
    assert_allclose(model.W[0], W, rtol=1e-12)
    assert_allclose(history["rate"], 0.4 * 0.5 ** np.array([0.5, 1.5, 2.5]))


# --- Order -----------------------------------------------------------------------------------------------------------


class Seen(Gate):
    """``Z = X``, which notes the first column of what passes while a training is on."""

    def __init__(self):
        self.rows = []

    def forward(self, X):
        return X * 1.0

    def backward(self, X, dZ):
        self.rows.append(X[:, 0].copy())
        return dZ


@pytest.mark.parametrize("size", [50, 16, 7, 1])
@pytest.mark.parametrize("shuffle", [True, False])
def test_every_row_once_an_epoch(size, shuffle):
    """Every epoch sees every row once, in another order if it is shuffled, with its own target and weight."""
    seen = Seen()
    numbers = np.arange(50.0)
    model = Model([1, Dense(1, seen)], output=SquaredError(), engine="graph", use_bias=False)
    model.W[0] = [[1.0]]
    model.fit(
        numbers[:, None], numbers, epochs=3, batch_size=size, optimizer=GradientDescent(0), shuffle=shuffle,
        sample_weight=1 + numbers, random_state=0,
    )  # fmt: skip
    count = -(-50 // size)
    assert len(seen.rows) == 3 * count
    orders = [np.concatenate(seen.rows[i : i + count]) for i in range(0, 3 * count, count)]
    assert [len(rows) for rows in seen.rows[:count]] == [min(size, 50 - i) for i in range(0, 50, size)]
    for order in orders:
        assert_array_equal(np.sort(order), numbers)
        assert np.array_equal(order, numbers) == (not shuffle or size == 50)
    assert (len({order.tobytes() for order in orders}) == 3) == (shuffle and size < 50)


@ENGINES
def test_rows_stay_with_their_targets_and_weights(engine):
    """Shuffled rows come with their own targets and weights: where all fit exactly there is nothing to learn."""
    model = Model([3, 1], output=SquaredError(), random_state=0, engine=engine)
    y = X @ model.W[0][:, 0] + model.b[0][0]
    before = weights(model)
    y[:10] += 5
    weight = np.r_[np.zeros(10), np.ones(40)]
    history = model.fit(X, y, epochs=5, batch_size=7, sample_weight=weight, optimizer=GradientDescent(0.1))
    assert history["loss"].max() < 1e-25
    for name, value in model.parameters.items():
        assert_allclose(value, np.frombuffer(before[name]).reshape(value.shape), rtol=1e-12)


# --- Weights of examples ---------------------------------------------------------------------------------------------


def fitted(make, *data, **settings):
    """Return a model that was trained in full batches."""
    model = make()
    model.fit(*data, **{"epochs": 5, "batch_size": len(data[0]), "optimizer": GradientDescent(0.3)} | settings)
    return model


OUTPUTS = {
    "Softmax": (Softmax(), Y),
    "Logistic": (Logistic(), (X > 0).astype(int)),
    "Hinge": (Hinge(), Y),
    "SquaredError": (SquaredError(), np.sin(X)),
}


@ENGINES
@pytest.mark.parametrize("output", OUTPUTS)
def test_weights_as_rows(output, engine):
    """A weight of 2 is the row twice, and 0 the row removed; so are all weights, up to a factor."""
    gate, y = OUTPUTS[output]
    times = np.arange(50) % 3

    def make():
        return net(output=gate, engine=engine)

    one = fitted(make, X, y, sample_weight=times)
    other = fitted(make, np.repeat(X, times, axis=0), np.repeat(y, times, axis=0))
    assert_close(one, other, 1e-11)
    assert_close(one, fitted(make, X, y, sample_weight=0.1 * times), 1e-11)


@ENGINES
@pytest.mark.parametrize("extra", [{}, {"validation": 0.25}], ids=str)
def test_weight_zero_is_a_row_removed(engine, extra):
    """To the byte, in mini-batches, with what is drawn: rows that weigh nothing are not there."""
    weight = np.where(np.arange(50) % 5 == 0, 0.0, 1.0 + np.arange(50) % 2)
    there = weight > 0
    for layers in ((), (Dropout(0.3), BatchNorm())):
        one, other = (net(*layers, engine=engine) for _ in range(2))
        settings = {"epochs": 3, "batch_size": 8, "random_state": 5, "metrics": ["accuracy"], **extra}
        histories = [
            one.fit(X, Y, sample_weight=weight, **settings),
            other.fit(X[there], Y[there], sample_weight=weight[there], **settings),
        ]
        assert weights(one) == weights(other)
        assert measured(histories[0]) == measured(histories[1])


def test_weights_of_ones_are_none():
    """With weights that are all 1 it trains as without."""
    one, other = net(), net()
    one.fit(X, Y, epochs=3, random_state=0)
    other.fit(X, Y, epochs=3, random_state=0, sample_weight=np.ones(50))
    assert_close(one, other, 1e-12)


@pytest.mark.parametrize("given", ["balanced", {0: 2.0, 2: 0.5}, {1: 0.0}, {np.int64(1): 3}], ids=repr)
def test_class_weights_are_sample_weights(given):
    """Weights of classes are those of their examples, and multiply with those that the examples have."""
    if given == "balanced":
        by_row = 50 / (3 * np.bincount(Y)[Y])
    else:
        by_row = np.array([given.get(label, 1.0) for label in Y.tolist()])
    weight = 1 + np.arange(50) % 4
    for one, other in (({}, by_row), ({"sample_weight": weight}, weight * by_row)):
        assert_close(fitted(net, X, Y, class_weight=given, **one), fitted(net, X, Y, sample_weight=other), 1e-12)


def test_the_loss_of_an_epoch_is_weighted():
    """An epoch's loss is the mean over its examples by their weights, as a full batch has it."""
    weight = 1.0 + np.arange(50) % 7
    history = net().fit(
        X, Y, epochs=1, batch_size=8, optimizer=GradientDescent(0), sample_weight=weight, validation=(X, Y, weight)
    )
    assert_allclose(history["loss"], history["validation_loss"], rtol=1e-12)


# --- Validation and metrics ------------------------------------------------------------------------------------------


class Data(Callback):
    """Takes part in nothing, and sees the rows that are trained on through a metric."""

    def __init__(self):
        self.targets = []

    def __call__(self, y, predictions):
        self.targets.append(np.array(y))
        return 0.0


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_a_fraction_is_held_out(share):
    """What is trained on and what is held out are disjoint, and all; it is drawn from the random state alone."""
    numbers, seen = np.arange(50.0), Data()
    model = Model([3, 1], output=SquaredError(), random_state=0)
    model.fit(X, numbers, epochs=1, validation=share, metrics=[seen], random_state=3)
    trained, held = seen.targets
    assert len(held) == round(50 * share)
    assert_array_equal(np.sort(np.concatenate([trained, held])), numbers)
    Model([3, 1], output=SquaredError()).fit(X, numbers, epochs=1, validation=share, metrics=[seen], random_state=3)
    assert_array_equal(seen.targets[3], held)


def test_a_fraction_of_each_label():
    """Each label gives its share."""
    labels, seen = np.repeat([0, 1, 2], [60, 30, 10]), Data()
    rows = np.random.default_rng(1).normal(size=(100, 3))
    linear().fit(rows, labels, epochs=1, validation=0.2, metrics=[seen])
    assert_array_equal(np.bincount(seen.targets[0]), [48, 24, 8])
    assert_array_equal(np.bincount(seen.targets[1]), [12, 6, 2])


def test_a_fraction_of_columns_of_labels():
    """Columns of labels, where most combinations are there once, can be held out too."""
    rows = np.random.default_rng(1).normal(size=(40, 6))
    seen = Data()
    model = Model([6, 6], output=Logistic(), random_state=0)
    model.fit(rows, (rows > 0).astype(int), epochs=1, validation=0.25, metrics=["accuracy", seen])
    assert [len(targets) for targets in seen.targets] == [30, 10]


@ENGINES
def test_validation_is_measured_as_predictions_are(engine):
    """The columns are the loss and the metrics of the model as it is at the epoch's end."""
    validation, weight = (X[:20] + 0.1, Y[:20]), 1 + np.arange(20) % 3
    model, rows = net(Dropout(0.5), BatchNorm(), engine=engine), []

    class Look(Callback):
        def epoch_end(self, training):
            rows.append((
                model.calculate_loss(*validation),
                accuracy_score(validation[1], model.predict(validation[0])),
                accuracy_score(Y, model.predict(X)),
            ))  # fmt: skip

    history = model.fit(X, Y, epochs=3, validation=validation, metrics=["accuracy"], callbacks=[Look()])
    assert list(history) == ["loss", "rate", "seconds", "accuracy", "validation_loss", "validation_accuracy"]
    expected = np.array(rows).T
    assert_allclose(history["validation_loss"], expected[0], rtol=1e-12)
    assert_array_equal(history["validation_accuracy"], expected[1])
    assert_array_equal(history["accuracy"], expected[2])
    assert (np.diff(history["seconds"]) > 0).all()
    weighted = model.fit(X, Y, epochs=1, optimizer=GradientDescent(0), validation=(*validation, weight))
    P = model.predict_proba(validation[0])[np.arange(20), validation[1]]
    assert_allclose(weighted["validation_loss"], [np.average(-np.log(P), weights=weight)], rtol=1e-12)


def test_metrics_of_scikit_learn():
    """A function of targets and predictions stands under its name."""
    y = X @ [1.0, -2.0, 0.5]
    model = Model([3, 1], output=SquaredError(), random_state=0)
    history = model.fit(X, y, epochs=200, optimizer=Adam(0.05), metrics=[r2_score], validation=0.2)
    assert history["r2_score"][-1] == pytest.approx(1, abs=1e-3)
    assert history["validation_r2_score"][-1] == pytest.approx(1, abs=1e-2)
    assert history.stopped == "all epochs are done"
    assert history.epochs == len(history["loss"]) == 200


def test_history_says_what_it_has():
    """A column that is not there is told with those that are; an empty history has none."""
    history = linear().fit(X, Y, epochs=2)
    with pytest.raises(KeyError, match="'accuracy' was not measured; there are loss, rate, seconds"):
        history["accuracy"]
    assert history.last("loss") == history["loss"][-1]
    assert set(history.to_dict()) == set(history) == {"loss", "rate", "seconds"}
    empty = linear().fit(X, Y, epochs=0)
    assert (empty.epochs, len(empty), list(empty)) == (0, 0, [])
    with pytest.raises(KeyError, match="no epoch has ended yet"):
        empty["loss"]


# --- Dtypes, engines, repetition -------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", OUTPUTS)
def test_float32(output):
    """A model in float32 stays so, and goes where the one in float64 goes."""
    gate, y = OUTPUTS[output]
    models = [net(BatchNorm(), output=gate, dtype=dtype) for dtype in (np.float32, np.float64)]
    for name, value in models[1].parameters.items():
        value[...] = models[0].parameters[name]
    for model in models:
        model.fit(X, y, epochs=5, batch_size=16, shuffle=False, penalty=L2(0.01), sample_weight=1 + np.arange(50) % 2)
    assert all(value.dtype == np.float32 for value in models[0].parameters.values())
    assert all(node.value.dtype == np.float32 for node in models[0].graph.running)
    assert_close(*models, rtol=2e-4)
    assert models[0].predict(X).dtype == models[1].predict(X).dtype or output == "SquaredError"


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: type(optimizer).__name__)
def test_the_same_seed_is_the_same_training(optimizer):
    """To the byte, and on another engine to rounding; NumPy's global generator is never touched."""
    np.random.seed(7)  # noqa: NPY002 - to see that it is not touched
    before = np.random.get_state()[1].tobytes()  # noqa: NPY002
    runs = []
    for engine in ("numpy", "numpy", "graph"):
        model = net(Dropout(0.3), BatchNorm(), LayerNorm(), engine=engine)
        settings = {"batch_size": 12, "penalty": L2(0.01), "validation": 0.2, "metrics": ["accuracy"]}
        history = model.fit(X, Y, epochs=4, optimizer=optimizer, **settings)
        runs.append((model, history))
    (one, first), (two, second), (other, third) = runs
    assert weights(one) == weights(two)
    assert measured(first) == measured(second)
    assert_close(one, other, 1e-7)
    assert_allclose(first["loss"], third["loss"], rtol=1e-9)
    assert np.random.get_state()[1].tobytes() == before  # noqa: NPY002


def test_where_it_draws_from():
    """A Generator goes on where it stood; a RandomState gives a seed of 16 bytes; else the model's own goes on."""
    generator = np.random.default_rng(3)
    net().fit(X, Y, epochs=2, batch_size=10, random_state=generator)
    twin = np.random.default_rng(3)
    for _ in range(2):
        twin.permutation(50)
    assert generator.random() == twin.random()

    state = np.random.RandomState(3)
    net().fit(X, Y, epochs=2, random_state=state)
    twin = np.random.RandomState(3)
    twin.bytes(16)
    assert state.random_sample() == twin.random_sample()

    one, other = net(), net()
    one.fit(X, Y, epochs=2, batch_size=10)
    one.fit(X, Y, epochs=2, batch_size=10)
    other.fit(X, Y, epochs=2, batch_size=10)
    assert weights(one) != weights(other)
    other.fit(X, Y, epochs=2, batch_size=10)
    assert weights(one) == weights(other)

    # What is not shuffled, nor dropped, needs nothing.
    generator = np.random.default_rng(3)
    net().fit(X, Y, epochs=2, batch_size=10, shuffle=False, random_state=generator)
    assert generator.random() == np.random.default_rng(3).random()


@ENGINES
def test_one_training_after_another(engine):
    """Trainings of both kinds in sequence, with other data, are those of a model that never captured anything."""
    one, other = net(engine=engine), net(engine="graph")
    for model in (one, other):
        model.train(X, Y, num_passes=3, epsilon=0.001)
        model.fit(X[:40], Y[:40], epochs=2, optimizer=Momentum(0.1), random_state=1)
        model.train(X[:30], Y[:30], num_passes=3, epsilon=0.001)
        model.fit(X, Y, epochs=2, sample_weight=1 + np.arange(50) % 2, random_state=1)
        model.W[0] = model.W[0] / 2
        model.fit(X, Y, epochs=2, batch_size=50, random_state=1)
    assert_close(one, other, 1e-9)
    assert len(one.loss_history) == 7
    assert_allclose(one.loss_history, other.loss_history, rtol=1e-9)


class Branching(Gate):
    """Takes a branch on hidden values, which some batches take and others do not."""

    def forward(self, X):
        return np.tanh(X) if X.sum() > 0 else X

    def backward(self, X, dZ):
        return (1 - np.tanh(X) ** 2) * dZ if X.sum() > 0 else dZ


class Keeping(Gate):
    """Keeps Z for its backward."""

    def forward(self, X):
        self.Z = np.tanh(X)
        return self.Z

    def backward(self, X, dZ):
        return (1 - self.Z**2) * dZ


@pytest.mark.parametrize("size", [50, 7])
@pytest.mark.parametrize("gate", [Branching, Keeping])
def test_gates_that_are_not_followed(gate, size):
    """Gates that cannot be captured train all the same, as node by node."""
    one, other = Model([3, Dense(4, gate()), 3], random_state=0), None
    with warnings.catch_warnings():
        # An impure gate is named.
        warnings.simplefilter("ignore" if gate is Keeping else "error")
        one.fit(X, Y, epochs=4, batch_size=size, optimizer=Adam(0.02))
        other = Model([3, Dense(4, gate()), 3], random_state=0, engine="graph")
        other.fit(X, Y, epochs=4, batch_size=size, optimizer=Adam(0.02))
    assert_close(one, other, 1e-9)


# --- What it leaves alone --------------------------------------------------------------------------------------------


@ENGINES
def test_what_is_given_is_not_changed(engine):
    """Arrays that cannot be written to will do, and none is written to."""
    given = [X.copy(), Y.copy(), 1.0 + np.arange(50) % 3, X[:10].copy(), Y[:10].copy(), np.ones(10)]
    copies = [array.copy() for array in given]
    for writeable in (True, False):
        for array in given:
            array.flags.writeable = writeable
        for size in (50, 16):
            net(Dropout(), BatchNorm(), engine=engine).fit(
                given[0], given[1], epochs=2, batch_size=size, sample_weight=given[2], validation=tuple(given[3:])
            )
        for array, copy in zip(given, copies, strict=True):
            assert_array_equal(array, copy)


class Peaks(Callback):
    """Notes by how much the memory rose from batch to batch, from the beginning."""

    def fit_begin(self, training):
        self.peaks, self.before = [], tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()

    def batch_end(self, training):
        self.peaks.append(tracemalloc.get_traced_memory()[1] - self.before)


class PeaksOfSteps(Peaks):
    """Notes by how much the memory rises in a step."""

    def batch_begin(self, training):
        self.before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()


def test_memory_of_many_rows():
    """The features are not copied, and a step allocates nothing that grows with the epochs."""
    rows = np.random.default_rng(0).normal(size=(200_000, 20))
    labels = (rows[:, 0] > 0).astype(int)
    for size in (1024, len(rows)):
        model = Model([20, 2], random_state=0)
        peaks = []
        for epochs in (1, 3):
            steps = Peaks()
            tracemalloc.start()
            model.fit(rows, labels, epochs=epochs, batch_size=size, callbacks=[steps])
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        if size < len(rows):
            # While they are looked at: the mask of what is finite, and the scores by which the output looks at targets.
            assert peaks[0] < rows.nbytes / 2
            assert max(steps.peaks) < rows.nbytes / 8
        assert peaks[1] < peaks[0] + 2**21


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: type(optimizer).__name__)
def test_no_array_is_made_in_a_step(optimizer):
    """Once it runs, a step makes no array: what NumPy casts it casts in pieces of 64 KiB."""
    rows = np.random.default_rng(0).normal(size=(6000, 30))
    labels = (rows[:, 0] > 0).astype(int)
    steps = PeaksOfSteps()
    model = Model([30, 40, Dropout(0.2), BatchNorm(), 2], random_state=0)
    tracemalloc.start()
    model.fit(
        rows, labels, epochs=3, batch_size=3000, optimizer=optimizer, callbacks=[steps], penalty=ElasticNet(0.1, 0.1),
        clip_norm=1.0,
    )  # fmt: skip
    tracemalloc.stop()
    # The first two are recorded: a batch's rows alone have 720 kB and more.
    assert max(steps.peaks[2:]) < 150_000


# --- Divergence ------------------------------------------------------------------------------------------------------


@ENGINES
@pytest.mark.parametrize("size", [50, 16])
def test_divergence(engine, size):
    """The error names the epoch, the batch and the node; the weights are those of the beginning of the epoch."""
    y = 100 * X[:, 0]
    settings = {"batch_size": size, "optimizer": GradientDescent(30.0), "shuffle": False}
    model = Model([3, 1], output=SquaredError(), random_state=0, engine=engine)
    with pytest.raises(DivergenceError) as caught:
        model.fit(X, y, epochs=1000, **settings)
    count = -(-50 // size)
    epoch, batch = divmod(caught.value.pass_number, count)
    where = f"epoch {epoch}" + (f", batch {batch}" if count > 1 else "")
    message = str(caught.value)
    if count > 1:
        # Which rows, of which the last batch has two.
        message = re.sub(r" \(rows \d+, \d+(, \d+, \.\.\.)? of X\)", "", message)
    assert f"diverged in {where}: node {caught.value.node!r}" in message
    assert "smaller rate (it was 30)" in str(caught.value)
    other = Model([3, 1], output=SquaredError(), random_state=0, engine=engine)
    # If the epoch's first loss is the one that is not finite, the weights before the last one are kept.
    with pytest.warns(UserWarning, match="Training made the model worse: the loss rose from"):
        other.fit(X, y, epochs=epoch if batch else epoch - 1, **settings)
    assert weights(model) == weights(other)
    assert np.isfinite(model.calculate_loss(X, y))


@pytest.mark.parametrize("held", [None, 0.2])
def test_targets_whose_square_overflows(held):
    """They diverge at the first loss, and nothing is said of it before."""
    model = Model([3, 1], output=SquaredError(), random_state=0)
    with pytest.raises(DivergenceError, match="node 'loss' \\(SquaredError\\) became inf"):
        model.fit(X, 1e200 * X[:, 0], epochs=2, validation=held, progress=False)


@ENGINES
def test_a_broken_gate_leaves_the_epochs_beginning(engine):
    """An error in a gate in the third epoch leaves the weights after the second, and the model trains on."""

    class Late(Gate):
        calls = 0

        def forward(self, X):
            if X.sum() > 1e6:
                raise RuntimeError("too much")
            return X * 1.0

        def backward(self, X, dZ):
            return dZ

    def make():
        return Model([1, Dense(1, Late())], output=SquaredError(), random_state=0, engine=engine)

    rows, y = np.ones((4, 1)), np.full(4, 100.0)
    settings = {"batch_size": 2, "optimizer": GradientDescent(20.0), "shuffle": False, "epochs": 10}
    model = make()
    with pytest.raises((RuntimeError, ValueError)):
        model.fit(rows, y, **settings)
    losses = [model.calculate_loss(rows, y)]
    found = [make().calculate_loss(rows, y)]
    for epochs in range(1, 6):
        other = make()
        try:
            other.fit(rows, y, **settings | {"epochs": epochs})
        except (RuntimeError, ValueError):
            break
        found.append(other.calculate_loss(rows, y))
    assert losses[0] == found[-1]


# --- Methods of SciPy ------------------------------------------------------------------------------------------------


def with_penalty(theta, l2):
    """Return J of softmax regression with a penalty on weights and biases, and its gradient, for SciPy."""
    W, b = theta[:9].reshape(3, 3), theta[9:]
    loss, dW, db = softmax_loss(W, b, X, Y)
    return loss + l2 / 2 * (theta**2).sum(), np.r_[dW.ravel(), db] + l2 * theta


SOLUTION = scipy.optimize.minimize(
    with_penalty, np.zeros(12), args=(0.1,), jac=True, method="BFGS", options={"gtol": 1e-10}
)
# Of the biases too: without it the minimum is a line, and the Hessian no positive definite one, as dogleg wants it.
EVERYWHERE = {"W1": L2(0.1), "b1": L2(0.1)}
TOLERANCES = {
    "COBYLA": {"tol": 1e-7},
    "TNC": {"tol": 1e-12},
    "SLSQP": {"tol": 1e-12},
    "Nelder-Mead": {"tol": 1e-9, "adaptive": True},
}


# Those without a gradient take thousands of losses, which node by node lasts.
METHODS = [
    (method, engine) for method in (*WITH_GRADIENT, *WITH_CURVATURE, *WITH_HESSIAN) for engine in ("numpy", "graph")
]
METHODS += [(method, "numpy") for method in WITHOUT_GRADIENT]


@pytest.mark.parametrize(("method", "engine"), METHODS)
def test_methods_of_scipy(method, engine):
    """Every method comes to SciPy's own minimum of the same objective, with a row of the history per iteration."""
    model, recorder = linear(engine=engine), Recorder()
    optimizer = ScipyMinimize(method.upper(), **TOLERANCES.get(method, {}))
    history = model.fit(X, Y, epochs=20000, optimizer=optimizer, penalty=EVERYWHERE, callbacks=[recorder])
    assert history["objective"][-1] == pytest.approx(SOLUTION.fun, abs=1e-4)
    assert_allclose(np.r_[model.W[0].ravel(), model.b[0]], SOLUTION.x, atol=0.03)
    assert history.stopped.startswith(method)
    assert "rate" not in history
    assert len(recorder.losses) == history.epochs
    # The history is that of the weights that are left.
    assert model.calculate_loss(X, Y) == pytest.approx(history["loss"][-1], rel=1e-12)


@pytest.mark.parametrize("method", [*WITH_GRADIENT, *WITH_CURVATURE, *WITH_HESSIAN, *WITHOUT_GRADIENT])
@pytest.mark.parametrize("epochs", [0, 1, 3])
def test_epochs_are_iterations(method, epochs):
    """No more iterations than epochs, and without an epoch nothing changes; the weights are those of the last."""
    model = linear()
    before = weights(model)
    history = model.fit(X, Y, epochs=epochs, optimizer=ScipyMinimize(method), penalty=EVERYWHERE, metrics=["accuracy"])
    assert history.epochs == epochs
    assert history.stopped == "all epochs are done"
    if epochs:
        assert model.calculate_loss(X, Y) == pytest.approx(history["loss"][-1], rel=1e-12)
    else:
        assert weights(model) == before


@pytest.mark.parametrize("method", ["L-BFGS-B", "trust-ncg", "CG", "Powell"])
def test_scipy_in_float32(method):
    """A model in float32 is minimised too, as far as its digits go."""
    model = linear(dtype=np.float32)
    model.fit(X, Y, epochs=3000, optimizer=ScipyMinimize(method), penalty=EVERYWHERE)
    assert model.W[0].dtype == np.float32
    theta = np.r_[model.W[0].ravel(), model.b[0]].astype(float)
    assert with_penalty(theta, 0.1)[0] == pytest.approx(SOLUTION.fun, abs=2e-3)


def test_scipy_with_weights_and_averages():
    """Weights of examples enter; batch norm has averages afterwards, and a validation set is measured."""
    one, other = linear(), linear()
    times = 1 + np.arange(50) % 3
    one.fit(X, Y, epochs=50, optimizer=ScipyMinimize(), penalty=L2(0.1), sample_weight=times)
    other.fit(np.repeat(X, times, 0), np.repeat(Y, times), epochs=50, optimizer=ScipyMinimize(), penalty=L2(0.1))
    assert_allclose(one.W[0], other.W[0], atol=1e-3)
    model = net(BatchNorm())
    history = model.fit(X, Y, epochs=20, optimizer=ScipyMinimize("bfgs"), validation=0.2, penalty=L1(0.01))
    assert not np.array_equal(model.graph.running[0].value, np.zeros(4))
    assert list(history) == ["loss", "objective", "seconds", "validation_loss"]


@pytest.mark.parametrize("method", ["SLSQP", "COBYLA", "TNC"])
def test_more_iterations_than_scipy_has_by_default(method):
    """SciPy's own limits do not hold: epochs are what is asked for."""
    rng = np.random.default_rng(0)
    rows, y = rng.normal(size=(40, 3)), rng.normal(size=40)
    model = Model([3, 6, 6, 1] if method != "COBYLA" else [3, 3, 1], output=SquaredError(), random_state=0)
    epochs = 1200 if method == "COBYLA" else 120
    history = model.fit(rows, y, epochs=epochs, optimizer=ScipyMinimize(method, tol=1e-14))
    assert history.epochs == epochs


def test_scipy_that_cannot_begin():
    """Weights whose loss is not finite are a divergence at once."""
    model = linear()
    model.W[0] = np.full((3, 3), 1e308)
    before = weights(model)
    with pytest.raises(DivergenceError, match=r"epoch 0.*initial weights are kept.*scale the data"):
        model.fit(X, Y, optimizer=ScipyMinimize())
    assert weights(model) == before


def test_scipy_keeps_what_it_found():
    """The weights are the minimum that the method reports, and not the point where it looked last."""
    for seed in range(5):
        model = Model([3, 5, 1], layer=ReLU(), output=SquaredError(), random_state=seed)
        y = np.sin(3 * X[:, 0])
        history = model.fit(X, y, epochs=3000, optimizer=ScipyMinimize("BFGS", gtol=1e-30))
        assert model.calculate_loss(X, y) == pytest.approx(history["loss"][-1], rel=1e-12)


# --- Single steps ----------------------------------------------------------------------------------------------------


@ENGINES
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: type(optimizer).__name__)
def test_descent_is_fit(engine, optimizer):
    """A loop of one's own over the same batches is `fit`."""
    one, other = net(BatchNorm(), Dropout(0.2), engine=engine), net(BatchNorm(), Dropout(0.2), engine=engine)
    weight = 1.0 + np.arange(50) % 3
    settings = {"penalty": ElasticNet(0.01, 0.1), "clip_norm": 0.5}
    one.fit(
        X, Y, epochs=2, batch_size=20, optimizer=optimizer, shuffle=False, sample_weight=weight,
        random_state=np.random.default_rng(4), **settings,
    )  # fmt: skip
    descent = other.descent(optimizer, random_state=np.random.default_rng(4), **settings)
    for start in (0, 20, 40) * 2:
        batch = slice(start, start + 20)
        descent.load(X[batch], Y[batch], weight[batch])
        descent.compute()
        descent.update()
    descent.finish()
    assert_close(one, other, 1e-11)


def test_the_state_of_a_descent():
    """How many steps were taken, and copies of what the optimiser remembers: here sums of powers of a gradient."""
    descent = linear().descent(Momentum(0.0, 0.5))
    assert descent.state[0] == 0
    assert_array_equal(np.concatenate(descent.state[1]), np.zeros(12))
    descent.load(X, Y)
    states = []
    for _ in range(3):
        descent.compute()
        descent.update()
        states.append(descent.state)
    assert [step for step, _ in states] == [1, 2, 3]
    # With a rate of 0 the gradient stays.
    (first,), (second,), (third,) = (state for _, state in states)
    assert np.abs(first).max() > 0.01
    assert_allclose(second, 1.5 * first, rtol=1e-12)
    assert_allclose(third, 1.75 * first, rtol=1e-12)


def test_noise_on_the_features():
    """A Random of one's own is drawn anew in every step, and is its number afterwards."""
    drawn = []

    def draw(rng, out):
        out[...] = rng.normal(size=out.shape)
        drawn.append(out.copy())

    rows = Input("X")
    W = Parameter(np.zeros((3, 3)), "W")
    model = Model((rows + Random(draw, like=rows, name="noise")) @ W, engine="graph")
    model.fit(X, Y, epochs=2, batch_size=25, optimizer=GradientDescent(0.5), shuffle=False, random_state=0)
    steps = drawn[-4:]
    assert len({noise.tobytes() for noise in steps}) == 4
    assert_array_equal(model.predict(X), np.argmax(X @ W.value, axis=1))
    by_hand = np.zeros((3, 3))
    noises = [noise for noise in drawn if noise.shape == (25, 3)]
    for step in range(4):
        batch = slice(25 * (step % 2), 25 * (step % 2) + 25)
        by_hand -= 0.5 * softmax_loss(by_hand, 0, X[batch] + noises[step - 4], Y[batch])[1]
    assert_allclose(W.value, by_hand, rtol=1e-10)


def test_a_rate_that_is_a_whole_number():
    """An optimiser of one's own may have a rate that is no float."""

    class Own(GradientDescent):
        def __init__(self):
            self.rate = 1

    one, other = net(layer=Tanh()), net(layer=Tanh())
    one.fit(X, Y, epochs=2, optimizer=Own(), random_state=0)
    other.fit(X, Y, epochs=2, optimizer=GradientDescent(1.0), random_state=0)
    assert weights(one) == weights(other)
