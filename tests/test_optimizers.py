"""Optimisers: equal to PyTorch's, to the papers' formulas one number at a time, and pure."""

from __future__ import annotations

import inspect
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal

import nngraph.optimizers
from nngraph import Model
from nngraph.capture.recorder import Recorder
from nngraph.capture.tape import Tape
from nngraph.optimizers import Adagrad, Adam, AdamW, GradientDescent, Momentum, Nesterov, Optimizer, RMSprop
from nngraph.program.passes import optimize
from nngraph.program.program import Program

TORCH = json.loads((Path(__file__).parent / "torch_reference.json").read_text(encoding="utf-8"))


def slope(theta):
    """The gradient that the table of PyTorch's weights was made with; `benchmarks/torch_reference.py` has it too."""
    weights = (1 + np.arange(12)) / 4
    return weights * theta / (1 + theta * theta) + theta * theta * theta / 10 - np.roll(theta, 1) / 20


def take(optimizer, theta, gradient, step, state, rate=None):
    """Take one step; return the next theta and the next state."""
    numbers = optimizer.numbers(optimizer.rate if rate is None else rate, step)
    result = optimizer.update(theta, gradient, *numbers, *state)
    return (result[0], result[1:]) if isinstance(result, tuple) else (result, ())


def path(optimizer, theta, gradients, rates=None):
    """Take a step for every gradient; return every theta on the way."""
    state, thetas = optimizer.start(theta), [theta]
    for step, gradient in enumerate(gradients, start=1):
        theta, state = take(optimizer, theta, gradient, step, state, rates and rates[step - 1])
        thetas.append(theta)
    return thetas


def descend(optimizer, theta, gradients, rates=None):
    """Take a step for every gradient; return where that leads."""
    return path(optimizer, theta, gradients, rates)[-1]


# --- One number at a time, as the papers write it ---------------------------------------------------------------------


def gradient_descent(theta, gradients, rates):
    for g, rate in zip(gradients, rates, strict=True):
        theta -= rate * g
    return theta


def heavy_ball(theta, gradients, rates, momentum):
    """Polyak's form, in which the rate is part of the momentum; the same only at a constant rate."""
    before = theta
    for g, rate in zip(gradients, rates, strict=True):
        theta, before = theta - rate * g + momentum * (theta - before), theta
    return theta


def nesterov(theta, gradients, rates, momentum):
    """Sutskever's form: the gradient where the momentum leads, which is what our theta is; at a constant rate."""
    ahead, v = theta, 0.0
    for g, rate in zip(gradients, rates, strict=True):
        # The last point is where the momentum led to from `phi`.
        phi = ahead - momentum * v
        v = momentum * v - rate * g
        ahead = phi + v + momentum * v
    return ahead


def adagrad(theta, gradients, rates, rate_decay, initial, epsilon):
    for t, rate in enumerate(rates):
        total = initial + math.fsum(g * g for g in gradients[: t + 1])
        theta -= rate / (1 + t * rate_decay) * gradients[t] / (math.sqrt(total) + epsilon)
    return theta


def mean(values, beta):
    """Return ``(1 - beta) sum(beta^(t - i) values[i])``, the running mean from 0, in closed form."""
    return (1 - beta) * math.fsum(beta ** (len(values) - 1 - i) * value for i, value in enumerate(values))


def rmsprop(theta, gradients, rates, alpha, epsilon):
    for t, rate in enumerate(rates):
        v = mean([g * g for g in gradients[: t + 1]], alpha)
        theta -= rate * gradients[t] / (math.sqrt(v) + epsilon)
    return theta


def adam(theta, gradients, rates, beta1, beta2, epsilon, weight_decay=0.0):
    for t, rate in enumerate(rates, start=1):
        M = mean(gradients[:t], beta1) / (1 - beta1**t)
        V = mean([g * g for g in gradients[:t]], beta2) / (1 - beta2**t)
        theta -= rate * weight_decay * theta + rate * M / (math.sqrt(V) + epsilon)
    return theta


FRACTIONS = st.floats(0, 0.999)
DECAYS = st.floats(0, 2)
EPSILONS = st.floats(1e-10, 1)
# Class, its formula, its settings beside the rate, whether the formula is for a constant rate only.
FORMULAS = [
    (GradientDescent, gradient_descent, {}, False),
    (Momentum, heavy_ball, {"momentum": FRACTIONS}, True),
    (Nesterov, nesterov, {"momentum": FRACTIONS}, True),
    (Adagrad, adagrad, {"rate_decay": DECAYS, "initial": DECAYS, "epsilon": EPSILONS}, False),
    (RMSprop, rmsprop, {"alpha": FRACTIONS, "epsilon": EPSILONS}, False),
    (Adam, adam, {"beta1": FRACTIONS, "beta2": FRACTIONS, "epsilon": EPSILONS}, False),
    (AdamW, adam, {"beta1": FRACTIONS, "beta2": FRACTIONS, "epsilon": EPSILONS, "weight_decay": DECAYS}, False),
]
KINDS = [row[0] for row in FORMULAS]
every_kind = pytest.mark.parametrize("kind", KINDS)


def test_every_optimizer_has_its_rows():
    """A new optimiser without a formula, or without PyTorch's weights for two settings, fails here."""
    public = {
        value
        for value in vars(nngraph.optimizers).values()
        if isinstance(value, type) and issubclass(value, Optimizer) and value is not Optimizer
    }
    assert public == set(KINDS)
    for kind in KINDS:
        found = [bool(row["settings"]) for row in TORCH["optimizers"] if row["optimizer"] == kind.__name__]
        assert set(found) == {False, True}


@pytest.mark.parametrize(
    "row", TORCH["optimizers"], ids=[f"{row['torch']}-{row['decay']}" for row in TORCH["optimizers"]]
)
def test_equal_to_torch(row):
    """After 1, 10 and 100 steps the weights are PyTorch's, at a constant rate and at one that decays."""
    theta = np.array(TORCH["start"])
    assert_array_equal(slope(theta), TORCH["slope"])
    optimizer = getattr(nngraph.optimizers, row["optimizer"])(**row["settings"])
    state = optimizer.start(theta)
    for step in range(1, 101):
        rate = optimizer.rate * row["decay"] ** (step - 1)
        theta, state = take(optimizer, theta, slope(theta), step, state, rate)
        if str(step) in row["weights"]:
            assert_allclose(theta, row["weights"][str(step)], rtol=0, atol=1e-10)


@pytest.mark.parametrize(("kind", "formula", "choices", "constant"), FORMULAS, ids=[kind.__name__ for kind in KINDS])
@settings(deadline=None)
@given(data=st.data())
def test_equal_to_the_formula(kind, formula, choices, constant, data):
    """Each element goes its own way, as the paper's formula says, for any settings, rates and gradients."""
    steps, width = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 3))
    numbers = st.floats(-10, 10, allow_subnormal=False)
    theta = data.draw(hnp.arrays(float, width, elements=numbers))
    gradients = data.draw(hnp.arrays(float, (steps, width), elements=numbers))
    chosen = {name: data.draw(choice, label=name) for name, choice in choices.items()}
    rates = data.draw(st.lists(st.floats(0, 1), min_size=steps, max_size=steps))
    if constant:
        rates = [rates[0]] * steps
    thetas = path(kind(**chosen), theta, gradients, rates)
    expected = [formula(float(x), [float(g) for g in gradients[:, i]], rates, **chosen) for i, x in enumerate(theta)]
    # A rounding is as large as the largest number on the way: a small gradient after large ones may throw Adam far out.
    assert_allclose(thetas[-1], expected, rtol=0, atol=1e-11 * max(1, np.abs(thetas).max()))


# --- Properties -------------------------------------------------------------------------------------------------------

SHAPES = [(), (5,), (3, 2), (0,), (4, 1, 2)]
OTHERS = {
    GradientDescent: {},
    Momentum: {"momentum": 0.5},
    Nesterov: {"momentum": 0.5},
    Adagrad: {"rate_decay": 0.1, "initial": 0.2, "epsilon": 0.01},
    RMSprop: {"alpha": 0.5, "epsilon": 0.01},
    Adam: {"beta1": 0.5, "beta2": 0.7, "epsilon": 0.01},
    AdamW: {"beta1": 0.5, "beta2": 0.7, "epsilon": 0.01, "weight_decay": 0.1},
}
MADE = [kind(**chosen) for kind in KINDS for chosen in ({}, {"rate": 0.1, **OTHERS[kind]})]
every_optimizer = pytest.mark.parametrize("optimizer", MADE, ids=repr)


def drawn(shape, dtype, steps=6):
    """Theta and gradients, all read-only."""
    rng = np.random.default_rng(0)
    arrays = [np.asarray(rng.standard_normal(shape), dtype) for _ in range(steps + 1)]
    for array in arrays:
        array.flags.writeable = False
    return arrays[0], arrays[1:]


@every_optimizer
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("as_arrays", [False, True], ids=["floats", "arrays"])
def test_pure(optimizer, shape, dtype, as_arrays):
    """No argument and no setting is changed; shape and dtype are theta's, for numbers of Python or of that dtype."""
    theta, gradients = drawn(shape, dtype)
    before = dict(vars(optimizer))
    state = optimizer.start(theta)
    assert isinstance(state, tuple)
    for step, gradient in enumerate(gradients, start=1):
        numbers = optimizer.numbers(optimizer.rate, step)
        assert all(type(number) is float for number in numbers)
        given_numbers = [np.asarray(number, dtype) for number in numbers] if as_arrays else numbers
        for value in state:
            assert np.shape(value) == shape
            assert value.dtype == dtype
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
        result = optimizer.update(theta, gradient, *given_numbers, *state)
        assert isinstance(result, tuple) == bool(state)
        again = optimizer.update(theta, gradient, *given_numbers, *state)
        assert_array_equal(np.array(result), np.array(again))
        theta, *state = result if isinstance(result, tuple) else (result,)
        assert np.shape(theta) == shape
        assert theta.dtype == dtype
    assert vars(optimizer) == before


@every_optimizer
def test_float32_is_float64_rounded(optimizer):
    """On the same gradients the weights in float32 are those in float64, but for the rounding of 1,000 steps."""
    theta, gradients = drawn((5,), np.float32, steps=1000)
    found = descend(optimizer, theta, gradients)
    assert found.dtype == np.float32
    expected = descend(optimizer, theta.astype(float), [g.astype(float) for g in gradients])
    assert_allclose(found, expected, rtol=0, atol=1000 * np.spacing(np.float32(abs(expected).max())))


@every_optimizer
def test_rate_zero_changes_nothing(optimizer):
    """At a rate of 0 theta stays what it was to the last bit, whatever the state."""
    theta, gradients = drawn((5,), np.float64)
    assert_array_equal(descend(optimizer, theta, gradients, [0.0] * len(gradients)), theta)
    still = type(optimizer)(0)
    assert still.rate == 0
    assert_array_equal(descend(still, theta, gradients), theta)


@every_optimizer
def test_elements_know_nothing_of_each_other(optimizer):
    """Parts of a vector give the same to the last bit as the whole, in any order and shape."""
    theta, gradients = drawn((6,), np.float64)
    whole = descend(optimizer, theta, gradients)
    order = np.array([4, 1, 5, 0, 2, 3])
    parts = descend(optimizer, theta[order].reshape(2, 3), [g[order].reshape(2, 3) for g in gradients])
    assert_array_equal(parts.ravel(), whole[order])


@every_optimizer
def test_two_trainings_share_one(optimizer):
    """Steps of two trainings, taken in turn with one optimiser, are those of each alone."""
    theta, gradients = drawn((5,), np.float64)
    paths = [(theta, gradients), (-2 * theta, gradients[::-1])]
    now = [(x, optimizer.start(x)) for x, _ in paths]
    for step in range(1, len(gradients) + 1):
        now = [take(optimizer, x, g[step - 1], step, state) for (x, state), (_, g) in zip(now, paths, strict=True)]
    for (found, _), (x, g) in zip(now, paths, strict=True):
        assert_array_equal(found, descend(optimizer, x, g))


@every_optimizer
def test_no_gradient_no_move(optimizer):
    """Where the gradient was always 0 theta stays, without a warning; only weight decay draws it to 0."""
    theta, _ = drawn((5,), np.float32)
    found = descend(optimizer, theta, [np.zeros_like(theta)] * 5)
    keep = 1 - optimizer.rate * getattr(optimizer, "weight_decay", 0.0)
    assert_allclose(found, theta * keep**5, rtol=1e-6)


@every_optimizer
def test_recorded(optimizer):
    """Recorders follow an update in few operations, and what they write down gives the same on other numbers."""
    theta, gradients = drawn((5,), np.float64)
    state = optimizer.start(theta)
    tape = Tape()
    numbers = [np.asarray(number) for number in optimizer.numbers(optimizer.rate, 1)]
    values = [theta, gradients[0], *numbers, *state]
    recorders = [Recorder(tape, value, tape.input(value, f"x{i}", varies=True)) for i, value in enumerate(values)]
    result = optimizer.update(*recorders)
    outputs = result if isinstance(result, tuple) else (result,)
    assert tape.refusal is None
    assert not tape.opaque
    program = optimize(Program(tape.inputs, tape.operations, [x.variable for x in outputs], tape.constants))
    operations = {
        GradientDescent: 2,
        Momentum: 4,
        Nesterov: 6,
        Adagrad: 7,
        RMSprop: 8,
        Adam: 10,
        AdamW: 11,
    }
    assert len(program.operations) <= operations[type(optimizer)]
    other = [np.abs(value) + 0.1 for value in values]
    expected = optimizer.update(*other)
    for found, value in zip(program.evaluate(*other), expected if state else (expected,), strict=True):
        assert_allclose(found, value, rtol=1e-14)


@pytest.mark.parametrize(
    ("optimizer", "same"),
    [
        (Momentum(0.1, momentum=0), GradientDescent(0.1)),
        (Nesterov(0.1, momentum=0), GradientDescent(0.1)),
        (AdamW(0.1, weight_decay=0), Adam(0.1)),
    ],
    ids=repr,
)
def test_special_cases(optimizer, same):
    """Without momentum or decay an optimiser is a simpler one, to the last bit."""
    theta, gradients = drawn((5,), np.float64)
    assert_array_equal(descend(optimizer, theta, gradients), descend(same, theta, gradients))


@pytest.mark.parametrize("optimizer", [Adam(epsilon=1e-30), RMSprop(epsilon=1e-30), Adagrad(epsilon=1e-30)], ids=repr)
@given(scale=st.floats(1e-6, 1e6))
def test_scale_of_the_gradient_does_not_matter(optimizer, scale):
    """Those that divide by the size of the gradients do the same for 1000 times the gradient."""
    theta, gradients = drawn((5,), np.float64)
    assert_allclose(
        descend(optimizer, theta, [scale * g for g in gradients]), descend(optimizer, theta, gradients), rtol=1e-10
    )


def test_first_step_of_adam():
    """The first step goes the rate's length against the sign of the gradient, however small the gradient is."""
    gradient = np.array([3.0, -1e-3, 1e3])
    assert_allclose(descend(Adam(0.1), np.zeros(3), [gradient]), [-0.1, 0.1, -0.1], rtol=2e-5)


def test_numbers_are_exact_late():
    """The corrections of Adam are right in the first step and fade, at any number of steps."""
    rate, epsilon = Adam(0.5).numbers(0.5, 1)
    assert_allclose([rate, epsilon], [0.5, 1e-8], rtol=1e-12)
    rate, epsilon = Adam(0.5).numbers(0.5, 10**9)
    assert_allclose([rate, epsilon], [0.5 * 0.1 * math.sqrt(1000), 1e-8 * math.sqrt(1000)], rtol=1e-10)


# --- Settings ---------------------------------------------------------------------------------------------------------

NO_NUMBERS = ["0.1", b"1", None, True, np.True_, [0.1], 1j, object, np.array([0.1, 0.2])]
BAD = {
    "not negative": [-0.1, -1e-300, math.nan, math.inf, -math.inf, 10**400, np.float32(-1)],
    "positive": [0, 0.0, -0.1, math.nan, math.inf],
    "fraction": [1, 1.0, 1.5, -0.1, math.nan, math.inf, np.float64(2)],
}
WHAT = {
    "rate": "not negative",
    "rate_decay": "not negative",
    "initial": "not negative",
    "weight_decay": "not negative",
    "epsilon": "positive",
    "momentum": "fraction",
    "alpha": "fraction",
    "beta1": "fraction",
    "beta2": "fraction",
}
EXPECTED = {
    "not negative": "must be finite and not negative",
    "positive": "must be (finite and not negative|greater than 0)",
    "fraction": "must be (finite and not negative|at least 0 and below 1)",
}


def names(kind):
    """Names of an optimiser's settings."""
    return list(inspect.signature(kind).parameters)


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in names(kind)])
def test_bad_settings(kind, name):
    """A setting that makes no sense is refused where it is set, by name, with what was given."""
    for value in NO_NUMBERS:
        with pytest.raises(ValueError, match=f"^{kind.__name__}: {name} must be a number, got "):
            kind(**{name: value})
    for value in BAD[WHAT[name]]:
        with pytest.raises(ValueError, match=f"^{kind.__name__}: {name} {EXPECTED[WHAT[name]]}, got ") as caught:
            kind(**{name: value})
        assert repr(value) in str(caught.value)


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in names(kind)])
@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.float64(0.5), np.array(0.5)])
def test_settings_become_floats(kind, name, value):
    """NumPy's numbers are taken too, and kept as Python's, which widen nothing."""
    kept = getattr(kind(**{name: value}), name)
    assert type(kept) is float
    assert kept == 0.5


@every_optimizer
def test_repr(optimizer):
    """An optimiser is written as it is made."""
    again = eval(repr(optimizer), vars(nngraph.optimizers))  # noqa: S307 -- our own text
    assert type(again) is type(optimizer)
    assert vars(again) == vars(optimizer)
    assert list(vars(optimizer)) == names(type(optimizer))


def test_repr_of_adam():
    assert repr(Adam()) == "Adam(rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-08)"


def test_the_base_class_is_no_optimizer():
    """An optimiser without an update is none; the rest has defaults."""
    with pytest.raises(TypeError, match="update"):
        Optimizer()

    class Still(Optimizer):
        def update(self, theta, _gradient, _rate):
            return theta

    assert Still().rate == 0.01
    assert Still().start(np.ones(3)) == ()
    assert Still().numbers(0.2, 7) == (0.2,)
    assert repr(Still(2)) == "Still(rate=2.0)"
    with pytest.raises(ValueError, match=r"^Still: rate must be finite and not negative, got -1"):
        Still(-1)


@every_kind
def test_documented(kind):
    """The docstring begins with the formula, names every setting and a source."""
    doc = inspect.getdoc(kind)
    assert doc.startswith("``")
    assert "References" in doc
    assert "torch.optim." in doc
    section = doc.split("Parameters\n")[1]
    for name, parameter in inspect.signature(kind).parameters.items():
        assert name in section
        assert str(parameter.default).replace("e-0", "e-") in section


@pytest.mark.parametrize("returned", ["gradient first", "gradient last", "twice"])
def test_a_gradient_that_is_remembered(returned):
    """The gradient's memory is used up by a step, but not before it is needed last."""

    class Remembers(Optimizer):
        def start(self, theta):
            return np.zeros_like(theta), np.zeros_like(theta)

        def update(self, theta, gradient, rate, before, product):
            product = 0.5 * product + rate * gradient
            if returned == "gradient first":
                return theta - rate * (gradient + before), gradient, product
            if returned == "twice":
                return theta - rate * gradient, gradient, gradient
            return theta - rate * (2 * gradient - before), 1.0 * gradient, product * gradient

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3)), rng.integers(0, 2, 40)
    models = [Model([3, 4, 2], random_state=0, engine=engine) for engine in ("numpy", "graph")]
    optimizer = Remembers(0.1)
    for model in models:
        model.fit(X, y, epochs=5, batch_size=16, optimizer=optimizer, shuffle=False)
    for one, other in zip(models[0].parameters.values(), models[1].parameters.values(), strict=True):
        assert_allclose(one, other, rtol=1e-12)
    # A loop that keeps every array.
    model = Model([3, 4, 2], random_state=0, engine="graph")
    state = [{name: np.zeros_like(value) for name, value in model.parameters.items()} for _ in range(2)]
    for _ in range(5):
        for start in range(0, 40, 16):
            gradients = model.gradients(X[start : start + 16], y[start : start + 16])
            for name, value in model.parameters.items():
                held = [part[name] for part in state]
                value[...], state[0][name], state[1][name] = optimizer.update(value, gradients[name], 0.1, *held)
    for one, other in zip(models[0].parameters.values(), model.parameters.values(), strict=True):
        assert_allclose(one, other, rtol=1e-11)


def test_a_state_that_numpy_writes_into_no_given_place():
    """np.where makes an array of its own, which is copied into the state."""

    class Hesitant(Optimizer):
        def start(self, theta):
            return np.zeros_like(theta), np.ones_like(theta)

        def update(self, theta, gradient, rate, mean, length):
            mean = mean + gradient
            return theta - rate * np.sign(mean) * length, mean, np.where(mean > 0, length, 0.9 * length)

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 3)), rng.integers(0, 2, 20)
    model = Model([3, 2], random_state=0)
    theta, state = {n: v.copy() for n, v in model.parameters.items()}, {}
    by_hand = Model([3, 2], random_state=0, engine="graph")
    for _ in range(6):
        gradients = by_hand.gradients(X, y)
        for name, value in by_hand.parameters.items():
            held = state.get(name, (np.zeros_like(value), np.ones_like(value)))
            value[...], *state[name] = Hesitant().update(value, gradients[name], 0.1, *held)
    model.fit(X, y, epochs=6, batch_size=20, optimizer=Hesitant(0.1))
    for name, value in model.parameters.items():
        assert_allclose(value, by_hand.parameters[name], rtol=1e-12)
        assert not np.array_equal(value, theta[name])
