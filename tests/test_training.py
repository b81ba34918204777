"""Training that goes wrong: divergence, interruption, and gates that break half-way."""

from __future__ import annotations

import contextlib
import json
import pickle
import re
import signal
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_iris

import nngraph.flat
import nngraph.trained
from gates import Gate, GateError, ReLU, SquaredError, Tanh
from nngraph import Dense, DivergenceError, Input, Model, Parameter


class Root(Gate):
    """``Z = sqrt(X)``, whose slope at 0 is infinite."""

    def forward(self, X):
        return np.sqrt(X)

    def backward(self, X, dZ):
        return dZ / (2 * np.sqrt(X))


class Breaking(Gate):
    """``Z = f(X)``, which raises `error` once, in the pass `at`, in its forward or its backward."""

    def __init__(self, at, where, error, f=np.tanh, slope=lambda X: 1 - np.tanh(X) * np.tanh(X)):
        self.at, self.where, self.error, self.passes = at, where, error, 0
        self.f, self.slope = f, slope

    def _break(self, where):
        if self.error is not None and where == self.where and self.passes == self.at:
            error, self.error = self.error, None
            raise error

    def forward(self, X):
        self._break("forward")
        return self.f(X)

    def backward(self, X, dZ):
        self._break("backward")
        # Training differentiates once in each pass.
        self.passes += 1
        return self.slope(X) * dZ


def snapshot(model):
    """Return the bytes of all parameters, by name."""
    return {name: value.tobytes() for name, value in model.parameters.items()}


def three_classes():
    """Return features and labels of three classes."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(12, 2)), np.arange(12) % 3


def trained(passes, layer=Tanh(), engine="graph", **settings):
    """Return a model of `three_classes` that was trained undisturbed."""
    model = Model([2, Dense(4, layer), 3], random_state=0, engine=engine)
    model.train(*three_classes(), num_passes=passes, **settings)
    return model


# --- Divergence ------------------------------------------------------------------------------------------------------


def parabola():
    """Return [x, x^2] unscaled, and a target."""
    x = np.linspace(0, 10, 40)
    return np.column_stack([x, x**2]), 3 * x - x**2 + 2


def test_linear_regression_diverges():
    """Unscaled [x, x^2] blows up: the pass and the node are those of a loop by hand, and the weights stay finite."""
    X, y = parabola()
    model = Model([2, 1], output=SquaredError(), random_state=0)
    w, c = model.W[0][:, 0].copy(), model.b[0][0]
    losses, states = [], []
    with np.errstate(over="ignore"):
        while not losses or np.isfinite(losses[-1]):
            residual = X @ w + c - y
            losses.append((residual**2).mean())
            states.append((w, c))
            w, c = w - 0.01 * (2 * X.T @ residual + 0.01 * w), c - 0.01 * 2 * residual.sum()
    assert np.isfinite(states[-1][0]).all()
    with pytest.raises(DivergenceError) as caught:
        model.train(X, y, num_passes=1000)
    error = caught.value
    diverged = len(losses) - 1
    assert error.pass_number == diverged
    assert error.node == "loss"
    for part in (f"diverged in pass {diverged}", "'loss'", "SquaredError", "became inf", "0.01", "scale the data"):
        assert part in str(error)
    assert isinstance(error, ArithmeticError)
    assert_allclose(model.W[0][:, 0], states[-2][0], rtol=1e-10)
    assert_allclose(model.b[0], states[-2][1], rtol=1e-10)
    assert len(model.loss_history) == diverged
    assert np.isfinite(model.loss_history).all()
    assert model.calculate_loss(X, y) == model.loss_history[-1]


def test_scaled_linear_regression_converges():
    """The same data with mean 0 and variance 1 converge to least squares."""
    X, y = parabola()
    X, y = (X - X.mean(axis=0)) / X.std(axis=0), (y - y.mean()) / y.std()
    model = Model([2, 1], output=SquaredError(), random_state=0)
    model.train(X, y, num_passes=3000, reg_lambda=0)
    expected = np.linalg.lstsq(np.column_stack([X, np.ones(len(X))]), y, rcond=None)[0]
    assert_allclose(np.append(model.W[0], model.b[0]), expected, rtol=1e-6, atol=1e-8)


def test_training_goes_on_after_divergence():
    """With a smaller rate the same model trains on, from the finite weights that were kept."""
    X, y = parabola()
    model = Model([2, 1], output=SquaredError(), random_state=0)
    with pytest.raises(DivergenceError):
        model.train(X, y, num_passes=1000, epsilon=1e-3)
    kept = list(model.loss_history)
    model.train(X, y, num_passes=10, epsilon=1e-6)
    assert model.loss_history[: len(kept)] == kept
    assert len(model.loss_history) == len(kept) + 10
    assert model.loss_history[-1] < kept[-1]


def test_training_that_makes_it_worse_warns():
    """Steps that are too long, but stay finite, are said: the objective rose, from what to what, and what to do."""
    X, y = load_iris(return_X_y=True)
    model = Model([4, 8, 3], random_state=0)
    with pytest.warns(UserWarning, match="made the model worse") as caught:
        model.train(X, y, num_passes=500)
    assert caught[0].filename == __file__
    before, after = (float(part) for part in re.findall(r"rose from (\S+) to (\S+)\. ", str(caught[0].message))[0])
    assert before < after == pytest.approx(model.objective(X, y)[0], rel=1e-3)
    assert "smaller epsilon (it was 0.01), or scale the data" in str(caught[0].message)
    # What is advised helps.
    model = Model([4, 8, 3], random_state=0)
    model.train((X - X.mean(axis=0)) / X.std(axis=0), y, num_passes=500, epsilon=0.002)
    assert np.mean(model.predict((X - X.mean(axis=0)) / X.std(axis=0)) == y) > 0.95


def bad_names(arrays):
    """Return the names of the arrays that hold nan or infinity, in order."""
    return [name for name, array in arrays if array is not None and not np.isfinite(array).all()]


@pytest.mark.parametrize("epsilon", [0.1, 1e3, 1e30])
@pytest.mark.parametrize("layers", [[2, 4, 1], [2, 4, 4, 1]], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_deep_divergence(layers, dtype, epsilon):
    """The named node is the first that is not finite: in the forward, else the backward, else the step of its pass."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 2)).astype(dtype) * 10, rng.normal(size=20).astype(dtype)
    model = Model(layers, layer=ReLU(), output=SquaredError(), dtype=dtype, random_state=0)
    with pytest.raises(DivergenceError) as caught:
        model.train(X, y, num_passes=1000, epsilon=epsilon)
    error = caught.value
    assert all(np.isfinite(value).all() for value in model.parameters.values())
    with np.errstate(all="ignore"):
        assert model.calculate_loss(X, y) == model.loss_history[-1]
        values, gradients = model.graph.forward(X=X, y=y), model.gradients(X, y)
        gradient = model.objective(X, y)[1]
        stepped = {name: value - dtype(epsilon) * gradient[name] for name, value in model.parameters.items()}
        assert np.isfinite(model.loss_history).all()
        if len(model.loss_history) == error.pass_number:
            # The loss after one step more was not finite, so the weights before it were kept.
            for name, value in stepped.items():
                model.parameters[name][...] = value
            expected = bad_names(model.graph.forward(X=X, y=y).items())
        else:
            assert len(model.loss_history) == error.pass_number + 1
            expected = [
                *bad_names(values.items()),
                *bad_names([(name, gradients[name]) for name in reversed(model.graph.names)]),
                *bad_names(stepped.items()),
            ]
    assert error.node == expected[0]
    assert f"pass {error.pass_number}: node {error.node!r}" in str(error)


def test_gradient_that_is_not_finite():
    """A finite loss whose gradient is infinite stops too; the node is the first that got such a gradient."""
    W = Parameter(np.zeros((2, 1)), "W")
    hidden = Root()(Input("X") @ W, name="root")
    model = Model(hidden * 1.0, output=SquaredError())
    with pytest.raises(DivergenceError) as caught:
        model.train([[1.0, 2.0], [3.0, 4.0]], [1.0, 2.0])
    assert caught.value.pass_number == 0
    assert caught.value.node == "Multiply"
    assert "'Multiply' (MultiplyGate) got a gradient of -inf" in str(caught.value)
    assert "The initial weights are kept" in str(caught.value)
    assert_array_equal(W.value, np.zeros((2, 1)))
    assert model.loss_history == [2.5]


def test_penalty_whose_gradient_overflows():
    """A penalty so strong that only its gradient overflows is a divergence too, and leaves the weights."""
    model = Model([2, 3, 3], random_state=0)
    model.W[0] = np.full((2, 3), 100.0)
    before = snapshot(model)
    with pytest.raises(DivergenceError, match="W1") as caught:
        model.train(*three_classes(), num_passes=5, reg_lambda=1e308)
    assert caught.value.pass_number == 0
    assert caught.value.node == "W1"
    assert snapshot(model) == before


@pytest.mark.parametrize("use_bias", [True, False])
def test_weights_that_overflow_behind_tanh(use_bias):
    """Weights that become infinite while tanh keeps the loss finite are a divergence: the finite ones are kept."""
    model = Model([1, 2], last_layer=Tanh(), use_bias=use_bias, random_state=0)
    model.W[0] = [[0.01, -0.01]]
    X, y = [[10.0], [20.0]], [1, 1]
    with pytest.raises(DivergenceError) as caught:
        model.train(X, y, num_passes=5, epsilon=1e308, reg_lambda=0)
    assert caught.value.node in ("W1", "b1")
    assert all(np.isfinite(value).all() for value in model.parameters.values())
    assert np.isfinite(model.calculate_loss(X, y))
    assert len(model.loss_history) == max(caught.value.pass_number, 1)


@pytest.mark.parametrize("scale", [1e200, 1e308])
def test_divergence_in_the_first_pass(scale):
    """Initial weights that are too large are named in pass 0, without a warning, and kept."""
    model = Model([2, 4, 3], layer=ReLU(), random_state=0)
    for W in model.W:
        W[...] = scale
    before = snapshot(model)
    with pytest.raises(DivergenceError, match="pass 0") as caught:
        model.train(*three_classes(), num_passes=5)
    assert caught.value.pass_number == 0
    assert caught.value.node in ("XW1", "A1W2")
    assert "The initial weights are kept" in str(caught.value)
    assert snapshot(model) == before
    assert model.loss_history == []


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite(bad):
    """A weight that was set to nan or infinity is the first bad node."""
    model = Model([2, 4, 3], random_state=0)
    model.W[1][2, 1] = bad
    with pytest.raises(DivergenceError, match=f"pass 0: node 'W2' \\(Parameter\\) became {bad}"):
        model.train(*three_classes(), num_passes=5)


def test_divergence_error_pickles():
    """The error keeps its message and attributes in another process."""
    X, y = parabola()
    model = Model([2, 1], output=SquaredError(), random_state=0)
    with pytest.raises(DivergenceError) as caught:
        model.train(X, y, num_passes=1000)
    error = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 -- our own bytes
    assert type(error) is DivergenceError
    assert str(error) == str(caught.value)
    assert vars(error) == vars(caught.value)
    assert error.inputs


# --- Interruption ----------------------------------------------------------------------------------------------------


# The scores are computed once before the first pass, so there is no breaking the forward of pass 0.
@pytest.mark.parametrize(
    ("at", "where", "kept"),
    [(0, "backward", 0), (1, "forward", 0), (1, "backward", 1), (7, "forward", 6), (7, "backward", 7)],
)
def test_interrupt_in_a_gate(at, where, kept):
    """Ctrl-C inside a gate leaves the last weights whose loss was computed, and training can go on."""
    X, y = three_classes()
    model = Model([2, Dense(4, Breaking(at, where, KeyboardInterrupt())), 3], random_state=0, engine="graph")
    with pytest.warns(UserWarning, match=f"interrupted after {kept} of 20 passes") as caught:
        model.train(X, y, num_passes=20)
    assert caught[0].filename == __file__
    expected = trained(kept)
    assert snapshot(model) == snapshot(expected)
    assert model.loss_history == expected.loss_history
    assert_array_equal(model.predict(X), expected.predict(X))
    model.train(X, y, num_passes=20 - kept)
    assert snapshot(model) == snapshot(trained(20))
    assert model.loss_history == trained(20).loss_history


def test_interrupt_in_the_report(monkeypatch):
    """Ctrl-C while the progress is drawn keeps the pass that was reported."""

    def interrupting(_total):
        def update(passes, _loss):
            if passes == 6:
                raise KeyboardInterrupt

        return contextlib.nullcontext(update)

    monkeypatch.setattr(nngraph.trained, "progress_bar", interrupting)
    model = Model([2, Dense(4, Tanh()), 3], random_state=0)
    with pytest.warns(UserWarning, match="interrupted after 6 of 20 passes"):
        model.train(*three_classes(), num_passes=20)
    expected = trained_alone(monkeypatch, 6)
    assert snapshot(model) == snapshot(expected)
    assert model.loss_history == expected.loss_history


def trained_alone(monkeypatch, passes, engine="numpy"):
    """Return the model as `trained`, with what was patched put back."""
    monkeypatch.undo()
    return trained(passes, engine=engine)


@pytest.mark.parametrize("engine", ["numpy", "graph"])
def test_interrupt_while_the_weights_are_written(monkeypatch, engine):
    """Ctrl-C between two parameters that get their values at the end: all get them, and then it is Ctrl-C."""
    write, calls = nngraph.flat.Flat.write, []

    def half(flat):
        calls.append(flat)
        # Node by node they are written in every pass, too.
        if len(calls) == (1 if engine == "numpy" else 5):
            flat.parameters[0].value[...] = 77
            raise KeyboardInterrupt
        write(flat)

    monkeypatch.setattr(nngraph.flat.Flat, "write", half)
    model = Model([2, Dense(4, Tanh()), 3], random_state=0, engine=engine)
    with pytest.raises(KeyboardInterrupt):
        model.train(*three_classes(), num_passes=3)
    expected = trained_alone(monkeypatch, 3, engine)
    assert snapshot(model) == snapshot(expected)
    assert model.loss_history == expected.loss_history


def test_interrupt_where_warnings_are_errors():
    """If the warning itself raises, the model is as whole as before."""
    model = Model([2, Dense(4, Breaking(3, "backward", KeyboardInterrupt())), 3], random_state=0, engine="graph")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="interrupted"):
            model.train(*three_classes(), num_passes=20)
    assert snapshot(model) == snapshot(trained(3))
    assert model.loss_history == trained(3).loss_history


def test_interrupt_after_a_step_that_diverged():
    """Ctrl-C just after a step whose loss is not finite: the weights that are kept have a finite loss."""
    X, y = parabola()
    model = Model([2, 1], output=SquaredError(), random_state=0)
    with pytest.raises(DivergenceError) as caught:
        model.train(X, y, num_passes=1000)
    gate = Breaking(caught.value.pass_number, "forward", KeyboardInterrupt(), f=lambda X: X * 1.0, slope=np.ones_like)
    again = Model([2, Dense(1, gate)], output=SquaredError(), random_state=0, engine="graph")
    with pytest.warns(UserWarning, match="interrupted"):
        again.train(X, y, num_passes=1000)
    assert np.isfinite(again.loss_history).all()
    assert np.isfinite(again.calculate_loss(X, y))
    assert again.calculate_loss(X, y) == again.loss_history[-1]


SIGINT = """
    import contextlib, json, signal, warnings
    import numpy as np
    import nngraph.trained
    from nngraph import Model

    def tell(passes, loss):
        if passes == 100:
            print("training", flush=True)

    # Whoever runs the tests in the background may have told the shell to ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    nngraph.trained.progress_bar = lambda _total: contextlib.nullcontext(tell)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(50, 2)), rng.integers(0, 2, size=50)
    model = Model([2, 5, 2], random_state=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.train(X, y, num_passes=10**9)
    history = list(model.loss_history)
    loss = model.calculate_loss(X, y)
    model.train(X, y, num_passes=10)
    print(json.dumps({
        "warnings": [str(w.message) for w in caught],
        "passes": len(history) - 1,
        "loss": loss,
        "last": history[-1],
        "first": history[0],
        "afterwards": len(model.loss_history) - 1,
        "predicts": model.predict(X).shape == (50,),
    }))
"""


def test_sigint():
    """A real SIGINT in mid-training: a warning, the weights of the last complete pass, and a model that goes on."""
    command = [sys.executable, "-c", textwrap.dedent(SIGINT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603 -- our own script
        assert process.stdout.readline() == "training\n"
        process.send_signal(signal.SIGINT)
        try:
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, err
    found = json.loads(out)
    assert found["passes"] >= 100
    assert found["warnings"] == [
        f"Training was interrupted after {found['passes']} of {10**9} passes; the model keeps what it learned."
    ]
    assert found["loss"] == found["last"] < found["first"]
    assert found["afterwards"] == found["passes"] + 10
    assert found["predicts"]


STORM = """
    import random, signal, warnings
    import numpy as np
    from nngraph import Model

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 2)), rng.integers(0, 2, size=30)
    model, alone = Model([2, 5, 2], random_state=0), Model([2, 5, 2], random_state=0)
    model.train(X, y, num_passes=1)
    # A timer is exact where a second process, or a thread, would come at any time.
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    random.seed(0)
    stopped = 0
    for _ in range(200):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0005 + 0.003 * random.random())
                model.train(X, y, num_passes=10**9)
                stopped += 1
                assert len(caught) == 1, caught
            except KeyboardInterrupt:
                # It struck before the first pass: nothing has changed.
                assert not caught, caught
        assert model.calculate_loss(X, y) == model.loss_history[-1]
    assert stopped > 100, stopped
    alone.train(X, y, num_passes=len(model.loss_history) - 1)
    assert alone.loss_history == model.loss_history
    assert all(np.array_equal(a, b) for a, b in zip(alone.W, model.W))
    print("whole")
"""


def test_many_sigints():
    """Wherever two hundred signals strike, the passes in between are those of an undisturbed training, bit by bit."""
    command = [sys.executable, "-c", textwrap.dedent(STORM)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603 -- our own script
    assert (done.returncode, done.stdout) == (0, "whole\n"), done.stderr


# --- Gates that break ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError("broken"), MemoryError(), ValueError("broken"), ZeroDivisionError()])
@pytest.mark.parametrize("where", ["forward", "backward"])
def test_a_gate_that_breaks(where, error):
    """An exception in pass 5 leaves the last weights with a loss; a ValueError comes as the GateError that it is."""
    model = Model([2, Dense(4, Breaking(5, where, error)), 3], random_state=0, engine="graph")
    with pytest.raises(GateError if isinstance(error, ValueError) else type(error)):
        model.train(*three_classes(), num_passes=20)
    assert snapshot(model) == snapshot(trained(4 if where == "forward" else 5))


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_history_fits_the_weights_after_a_break(where):
    """After an exception the last loss in the history is that of the weights, and training can go on."""
    X, y = three_classes()
    model = Model([2, Dense(4, Breaking(5, where, RuntimeError("broken"))), 3], random_state=0, engine="graph")
    with pytest.raises(RuntimeError, match="broken"):
        model.train(X, y, num_passes=20)
    assert model.loss_history[-1] == model.calculate_loss(X, y)
    passes = len(model.loss_history) - 1
    model.train(X, y, num_passes=20 - passes)
    assert model.loss_history == trained(20).loss_history


def test_a_parameter_without_influence():
    """A parameter whose gradient is zero everywhere stays, but for the penalty."""

    class Deaf(Gate):
        def forward(self, X):
            return X * 1.0

        def backward(self, X, dZ):
            return np.zeros_like(dZ)

    W, V = Parameter(np.ones((2, 2)), "W"), Parameter(np.ones((2, 2)), "V")
    X = Input("X")
    model = Model(Deaf()(X @ W) + X @ V)
    model.train([[1.0, 2.0], [2.0, -1.0]], [0, 1], num_passes=1, epsilon=0.5, reg_lambda=0.2)
    assert_allclose(W.value, np.full((2, 2), 0.9), rtol=1e-15)
    assert not np.allclose(V.value, 0.9)


def test_a_parameter_without_gradient():
    """A parameter that only enters as a constant has no gradient: it stays, but for the penalty."""

    class Scaled(Gate):
        constants = ("scale",)

        def forward(self, X, scale):
            return X * scale

        def backward(self, X, scale, dZ):
            return dZ * scale, None

    W, V = Parameter(np.ones((2, 2)), "W"), Parameter(np.ones((2, 2)), "V")
    model = Model(Scaled()(Input("X") @ V, W))
    model.train([[1.0, 2.0], [2.0, -1.0]], [0, 1], num_passes=1, epsilon=0.5, reg_lambda=0.2)
    assert_allclose(W.value, np.full((2, 2), 0.9), rtol=1e-15)
    assert not np.allclose(V.value, 0.9)
    assert model.gradients([[1.0, 2.0], [2.0, -1.0]], [0, 1])["W"] is None


def test_interrupt_before_the_first_loss():
    """Ctrl-C before anything was computed is Ctrl-C as usual, and leaves everything as it was."""
    X, y = three_classes()
    # The scores are computed once before the first pass.
    model = Model([2, Dense(4, Breaking(0, "forward", KeyboardInterrupt())), 3], random_state=0, engine="graph")
    before = snapshot(model)
    with pytest.raises(KeyboardInterrupt):
        model.train(X, y, num_passes=20)
    assert snapshot(model) == before
    assert model.loss_history == []
