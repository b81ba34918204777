"""Dropout, batch norm and layer norm in a model: masks, averages, gradients; in training, afterwards; as PyTorch."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gates import ReLU, SquaredError, Tanh
from nngraph import BatchNorm, Dense, DivergenceError, Dropout, LayerNorm, Model, check_model
from nngraph.callbacks import Callback
from nngraph.optimizers import Adam, GradientDescent

RNG = np.random.default_rng(0)
X = RNG.normal(1, 2, size=(40, 3))
Y = (X[:, 0] + X[:, 1] > 2).astype(int)
ENGINES = pytest.mark.parametrize("engine", ["numpy", "graph"])
DTYPES = pytest.mark.parametrize("dtype", [np.float64, np.float32])
REFERENCE = json.loads((Path(__file__).parent / "torch_reference.json").read_text(encoding="utf-8"))


def net(*layers, **settings):
    """Return a net with a hidden layer, and what stands behind it."""
    return Model([3, 5, *layers, 2], **{"random_state": 1, **settings})


def averages(model):
    """Return the running averages by name."""
    return {str(node.name): node.value for node in model.graph.running}


# --- Dropout ---------------------------------------------------------------------------------------------------------


@DTYPES
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_masks(rate, dtype):
    """A mask is 0 with the rate's probability, else ``1 / (1 - rate)``: its mean is 1."""
    out, n = np.empty((500, 200), dtype), 100_000
    Dropout(rate).draw(np.random.default_rng(0), out)
    assert set(np.unique(out)) <= {dtype(0), dtype(1 / (1 - rate))}
    assert abs((out == 0).mean() - rate) <= 4 * np.sqrt(rate * (1 - rate) / n)
    assert abs(out.mean() - 1) <= 4 * np.sqrt(rate / (1 - rate) / n) + 1e-5
    # Neither rows nor columns are left out as a whole.
    assert rate == 0 or min((out == 0).mean(axis=0).std(), (out == 0).mean(axis=1).std()) < 2 * np.sqrt(rate / 200)


@ENGINES
@DTYPES
def test_predictions_know_no_dropout(engine, dtype):
    """Predictions, losses and gradients are those of the net without dropout with the same weights, every time."""
    one, other = (net(*layers, engine=engine, dtype=dtype) for layers in ((Dropout(0.6),), ()))
    one.fit(X, Y, epochs=2)
    for name, value in other.parameters.items():
        value[...] = one.parameters[name]
    assert_array_equal(one.predict_proba(X), one.predict_proba(X))
    assert_allclose(one.predict_proba(X), other.predict_proba(X), rtol=1e-5 if dtype == np.float32 else 1e-13)
    assert one.calculate_loss(X, Y) == pytest.approx(other.calculate_loss(X, Y), rel=1e-5)
    for name in one.parameters:
        assert_allclose(one.gradients(X, Y)[name], other.gradients(X, Y)[name], rtol=1e-4, atol=1e-6)


@ENGINES
def test_rate_zero_is_no_dropout(engine):
    """Dropout of nothing trains as no dropout."""
    models = [net(*layers, engine=engine) for layers in ((Dropout(0.0),), ())]
    for model in models:
        model.fit(X, Y, epochs=3, batch_size=40, optimizer=GradientDescent(0.1))
    for name, value in models[0].parameters.items():
        assert_allclose(value, models[1].parameters[name], rtol=1e-12, atol=1e-15)


def loss_with_mask(parameters, mask, rows, labels):
    """Return the loss of a net of one hidden layer whose activations are multiplied by a mask."""
    W1, b1, W2, b2 = parameters
    scores = (np.tanh(rows @ W1 + b1) * mask) @ W2 + b2
    scores = scores - scores.max(axis=1, keepdims=True)
    return -(scores - np.log(np.exp(scores).sum(axis=1, keepdims=True)))[np.arange(len(rows)), labels].mean()


@ENGINES
def test_the_gradient_has_the_mask_of_the_loss(engine):
    """The gradient of a step is that of its loss, with the mask held fixed; the next step has another mask."""
    model = net(Dropout(0.5), engine=engine)
    descent = model.descent(GradientDescent(0.0), random_state=np.random.default_rng(7))
    twin, losses = np.random.default_rng(7), []
    descent.load(X, Y)
    parameters = [value.copy() for value in model.parameters.values()]
    for _ in range(3):
        # Drawn as the generator draws them, in the place where the program has them.
        loss = descent.compute()
        gradient = [part.copy() for part in descent.flat.gradients.values()]
        masks = []
        for order in "CF":
            drawn = np.empty((40, 5), order=order)
            Dropout(0.5).draw(copy.deepcopy(twin), drawn)
            masks.append(drawn)
        twin.random(200)
        mask = min(masks, key=lambda mask: abs(loss_with_mask(parameters, mask, X, Y) - loss))
        assert loss == pytest.approx(loss_with_mask(parameters, mask, X, Y), rel=1e-12)
        for i, value in enumerate(parameters):
            numeric = np.empty_like(value)
            for at in np.ndindex(value.shape):
                ends = []
                for side in (1e-6, -1e-6):
                    moved = [p.copy() for p in parameters]
                    moved[i][at] += side
                    ends.append(loss_with_mask(moved, mask, X, Y))
                numeric[at] = (ends[0] - ends[1]) / 2e-6
            assert_allclose(gradient[i], numeric, rtol=1e-5, atol=1e-8)
        losses.append(loss)
        descent.update()
    assert len(set(losses)) == 3


@ENGINES
def test_layers_have_masks_of_their_own(engine):
    """Two dropouts of one net, of equal shapes, have different masks; engines draw the same numbers."""
    drawn = {}

    class Own(Dropout):
        def draw(self, rng, out):
            super().draw(rng, out)
            drawn.setdefault(id(self), []).append(out.copy())

    layers = Own(0.5), Own(0.4999)
    model = Model([3, 4, layers[0], 4, layers[1], 2], random_state=0, engine=engine)
    model.fit(X, Y, epochs=3, batch_size=40, random_state=2)
    first, second = (drawn[id(layer)][-3:] for layer in layers)
    assert not any(np.array_equal(a == 0, b == 0) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0], first[1])


def test_dropout_of_the_features_and_in_train():
    """Dropout may stand first, and `train` draws it too: with the same seed the same."""
    models = [Model([3, Dropout(0.2), 4, Dropout(0.3), 2], random_state=3) for _ in range(2)]
    plain = Model([3, 4, 2], random_state=3)
    for model in (*models, plain):
        model.train(X, Y, num_passes=20, epsilon=0.002)
    assert models[0].loss_history == models[1].loss_history != plain.loss_history
    assert len(models[0].loss_history) == 21
    assert "mask0" in models[0].graph.names


# --- Batch norm ------------------------------------------------------------------------------------------------------


@ENGINES
@DTYPES
@pytest.mark.parametrize("momentum", [0.0, 0.1, 1.0])
def test_running_averages(momentum, dtype, engine):
    """A hand-written recursion over the batches: means, and unbiased variances, start 0 and 1; predictions use them."""
    model = Model([3, 4, BatchNorm(momentum), 2], random_state=0, dtype=dtype, engine=engine)
    model.fit(X, Y, epochs=3, batch_size=16, optimizer=GradientDescent(0), shuffle=False)
    A = np.tanh(X.astype(dtype) @ model.W[0] + model.parameters["b1"])
    mean, variance = np.zeros(4), np.ones(4)
    for _ in range(3):
        for batch in (A[:16], A[16:32], A[32:]):
            mean = (1 - momentum) * mean + momentum * batch.mean(axis=0)
            variance = (1 - momentum) * variance + momentum * batch.var(axis=0, ddof=1)
    rtol = 1e-5 if dtype == np.float32 else 1e-12
    assert_allclose(averages(model)["mean1"], mean, rtol=rtol, atol=rtol)
    assert_allclose(averages(model)["variance1"], variance, rtol=rtol)
    normalised = (A - mean) / np.sqrt(variance + 1e-5) * model.parameters["gamma1"] + model.parameters["beta1"]
    scores = normalised @ model.parameters["W2"] + model.parameters["b2"]
    P = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    assert_allclose(model.predict_proba(X), P, rtol=10 * rtol)
    # One row among many is the row alone.
    alone = np.concatenate([model.predict_proba(X[i : i + 1]) for i in range(40)])
    assert_allclose(alone, model.predict_proba(X), rtol=10 * rtol)


@ENGINES
def test_training_uses_the_batch(engine):
    """The loss of a step is that of columns of mean 0 and variance 1 in the batch, whatever the averages are."""
    model = net(BatchNorm(), engine=engine)
    descent = model.descent(GradientDescent(0.0))
    losses = []
    for start in (0, 20):
        batch = slice(start, start + 20)
        descent.load(X[batch], Y[batch])
        losses.append(descent.compute())
        A = np.tanh(X[batch] @ model.W[0] + model.parameters["b1"])
        Z = (A - A.mean(axis=0)) / np.sqrt(A.var(axis=0) + 1e-5)
        scores = Z @ model.parameters["W2"] + model.parameters["b2"]
        P = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        assert losses[-1] == pytest.approx(-np.log(P[np.arange(20), Y[batch]]).mean(), rel=1e-12)
        descent.update()
    if engine == "numpy":
        # Until the end the model has the averages of the beginning.
        assert_array_equal(averages(model)["mean1"], np.zeros(5))
    descent.finish()
    assert (averages(model)["mean1"] != 0).all()


@pytest.mark.parametrize(
    "layers", [(BatchNorm(),), (LayerNorm(),), (BatchNorm(), Dropout(0.3)), (LayerNorm(), BatchNorm())]
)
def test_gradients_are_proven(layers):
    """The gradient, through the statistics too, is that of finite differences."""
    check_model(net(*layers), X[:9], Y[:9])


@ENGINES
@pytest.mark.parametrize("layers", [(BatchNorm(),), (LayerNorm(),)], ids=str)
def test_the_gradient_of_a_step(layers, engine):
    """In a step, where the statistics are the batch's, the gradient is that of the step's own loss."""
    model = net(*layers, engine=engine)

    def computed():
        descent = model.descent(GradientDescent(0.0))
        descent.load(X, Y)
        return descent.compute(), {p.name: part.copy() for p, part in descent.flat.gradients.items()}

    gradient = computed()[1]
    for name, value in model.parameters.items():
        at = tuple(0 for _ in value.shape)
        kept, ends = value[at], []
        for side in (1e-5, -1e-5):
            value[at] = kept + side
            ends.append(computed()[0])
        value[at] = kept
        assert gradient[name][at] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5, abs=1e-8)


@ENGINES
def test_train_with_batch_norm(engine):
    """`train` normalises by all data, and leaves averages: with momentum 1 those of the last pass."""
    model = Model([3, 4, BatchNorm(1.0), 2], random_state=0, engine=engine)
    model.train(X, Y, num_passes=30, epsilon=0.002)
    assert model.loss_history[-1] < model.loss_history[0]
    assert len(model.loss_history) == 31
    # The loss of the last pass is measured with the data's own statistics; the averages are those before the last step.
    A = np.tanh(X @ model.W[0] + model.parameters["b1"])
    assert_allclose(averages(model)["mean1"], A.mean(axis=0), atol=0.02)
    assert_allclose(averages(model)["variance1"], A.var(axis=0, ddof=1), atol=0.02)
    assert model.calculate_loss(X, Y) == pytest.approx(model.loss_history[-1], rel=0.1)


@pytest.mark.parametrize("duplicate", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy])  # noqa: S301 - our own bytes
def test_copies_keep_the_averages(duplicate):
    """A copy predicts the same, trains on the same, and shares nothing."""
    model = net(BatchNorm(), Dropout(0.2), LayerNorm())
    model.fit(X, Y, epochs=3)
    other = duplicate(model)
    assert_array_equal(other.predict_proba(X), model.predict_proba(X))
    for name, value in averages(model).items():
        assert_array_equal(averages(other)[name], value)
    kept = averages(model)["mean1"].copy()
    other.fit(X, Y, epochs=2)
    assert_array_equal(averages(model)["mean1"], kept)
    model.fit(X, Y, epochs=2)
    for name, value in (averages(model) | dict(model.parameters)).items():
        assert_array_equal((averages(other) | dict(other.parameters))[name], value)


@ENGINES
@DTYPES
@pytest.mark.parametrize("layers", [(BatchNorm(),), (LayerNorm(),), (BatchNorm(), ReLU(), Dropout(0.1))], ids=str)
def test_norms_help_badly_scaled_features(layers, dtype, engine):
    """They learn, in both dtypes and engines, and keep the dtype."""
    rows = X * [1.0, 100.0, 1e-2] + [0, 1000.0, 0]
    model = Model([3, Dense(8), *layers, 2], random_state=0, dtype=dtype, engine=engine)
    history = model.fit(rows - rows.mean(axis=0), Y, epochs=60, batch_size=20, optimizer=Adam(0.05))
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert all(value.dtype == dtype for value in (averages(model) | dict(model.parameters)).values())


def test_a_penalty_leaves_norms_alone():
    """gamma and beta are no weights."""
    model = net(BatchNorm(), LayerNorm())
    assert [W.shape for W in model.W] == [(3, 5), (5, 2)]


def test_averages_where_a_training_ends_badly():
    """An error takes the averages back with the weights."""

    class Breaks(Callback):
        def batch_end(self, training):
            if training.epoch == 1:
                raise RuntimeError("broken")

    model, other = net(BatchNorm()), net(BatchNorm())
    with pytest.raises(RuntimeError, match="broken"):
        model.fit(X, Y, epochs=3, batch_size=10, callbacks=[Breaks()])
    other.fit(X, Y, epochs=1, batch_size=10)
    for name, value in averages(model).items():
        assert_array_equal(value, averages(other)[name])


# --- PyTorch ---------------------------------------------------------------------------------------------------------


@ENGINES
@pytest.mark.parametrize("row", REFERENCE["norms"], ids=lambda row: row["torch"])
def test_equal_to_torch(row, engine):
    """Outputs in training, gradients, averages after three batches, and the output afterwards, as PyTorch has them."""
    layer = {"BatchNorm": BatchNorm, "LayerNorm": LayerNorm}[row["layer"]](**row["settings"])
    model = Model([3, Dense(4, Tanh()), layer, Dense(2)], output=SquaredError(), random_state=0, engine=engine)
    for name, value in row["start"].items():
        model.parameters[name][...] = value
    descent = model.descent(GradientDescent(row["rate"]))
    for rows, targets, expected in zip(row["X"], row["Y"], row["steps"], strict=True):
        descent.load(rows, targets)
        assert descent.compute() == pytest.approx(expected["loss"], rel=1e-12)
        for parameter, gradient in descent.flat.gradients.items():
            assert_allclose(gradient, expected["gradients"][parameter.name], rtol=1e-9, atol=1e-13)
        descent.update()
    descent.finish()
    for name, value in averages(model).items():
        assert_allclose(value, row["averages"][name], rtol=1e-12, atol=1e-15)
    assert_allclose(model.predict(row["X"][0]), row["predictions"], rtol=1e-11)


@pytest.mark.parametrize("batch_size", [4, 8])
def test_averages_that_are_no_longer_finite(batch_size: int) -> None:
    """The spread of huge examples overflows: a model that would predict with it for ever is none."""
    rows = np.random.default_rng(0).normal(size=(8, 2))
    model = Model([2, Dense(3), BatchNorm(), 1], output=SquaredError(), random_state=0)
    model.fit(rows, rows[:, 0], epochs=2, batch_size=batch_size, progress=False)
    before = model.predict(rows)
    with pytest.raises(DivergenceError, match=r"node '(batch_)?variance1' \(\w+\) became inf"):
        model.fit(np.where(rows == rows[-1], 1e300, rows), rows[:, 0], epochs=2, batch_size=batch_size, progress=False)
    np.testing.assert_array_equal(model.predict(rows), before)
