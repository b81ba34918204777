"""Ensembles: averages of models, trained one by one or in processes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import make_moons

from gates import Gate, GateError, Hinge, Logistic, ReLU, Softmax, SquaredError
from nngraph import BatchNorm, Dense, Dropout, Ensemble, History, Input, Model, Parameter
from nngraph.optimizers import Adam

X, Y = make_moons(120, noise=0.2, random_state=0)


def members(count=3, widths=(2, 6, 2), **options):
    """Return models that differ in their initial weights."""
    return [Model(list(widths), random_state=k, **options) for k in range(count)]


def state(ensemble):
    """Return all that was learned, as bytes."""
    return [
        node.value.tobytes() for model in ensemble.models for node in (*model.graph.parameters, *model.graph.running)
    ]


def test_soft_vote():
    """Probabilities are averaged, and the label is the one with the largest mean: not the one with most votes."""
    ensemble = Ensemble(members())
    probabilities = [[0.9, 0.1], [0.4, 0.6], [0.45, 0.55]]
    for model, row in zip(ensemble.models, probabilities, strict=True):
        model.W[1] = np.zeros((6, 2))
        model.b[1] = np.log(row)
    assert [model.predict(X[:1])[0] for model in ensemble.models] == [0, 1, 1]
    assert_allclose(ensemble.predict_proba(X[:4]), np.tile(np.mean(probabilities, axis=0), (4, 1)), rtol=1e-14)
    assert_array_equal(ensemble.predict(X[:4]), [0, 0, 0, 0])


@pytest.mark.parametrize("columns", [1, 3])
def test_logistic(columns):
    """One column is two classes, several are decisions of their own: where the mean probability is above a half."""
    ensemble = Ensemble(members(widths=(2, 4, columns), output=Logistic()))
    mean = np.mean([model.predict_proba(X) for model in ensemble.models], axis=0)
    expected = mean[:, 1] > 0.5 if columns == 1 else mean > 0.5
    assert_array_equal(ensemble.predict(X), expected)
    assert ensemble.predict(X).shape == ensemble.models[0].predict(X).shape
    assert ensemble.predict(X).dtype == ensemble.models[0].predict(X).dtype


def test_regression():
    """Values are averaged, and there are no probabilities."""
    ensemble = Ensemble(members(widths=(2, 4, 1), output=SquaredError()))
    assert_allclose(ensemble.predict(X), np.mean([model.predict(X) for model in ensemble.models], axis=0), rtol=1e-14)
    with pytest.raises(GateError, match="SquaredError gives no probabilities"):
        ensemble.predict_proba(X)


def test_labels_without_probabilities():
    """Labels cannot be averaged: an output without probabilities says so."""
    with pytest.raises(GateError, match="Hinge gives no probabilities"):
        Ensemble(members(output=Hinge())).predict(X)


@pytest.mark.parametrize("random_state", [None, 5])
def test_processes(random_state):
    """In processes each model learns to the byte what it learns here, averages and generator included; twice over."""
    widths = [2, Dense(6), BatchNorm(), ReLU(), Dropout(0.2), 2]
    here, there = (Ensemble([Model(widths, random_state=k) for k in range(3)]) for _ in range(2))
    options = {"epochs": 4, "batch_size": 30, "validation": 0.2, "random_state": random_state}
    for _ in range(2):
        one = here.fit(X, Y, **options)
        other = there.fit(X, Y, n_jobs=2, **options)
        assert state(here) == state(there)
        assert all(isinstance(history, History) for history in other)
        for mine, theirs in zip(one, other, strict=True):
            assert_array_equal(mine["validation_loss"], theirs["validation_loss"])
    assert len({model.W[0].tobytes() for model in here.models}) == 3


def test_random_state():
    """A seed gives each model a generator of its own, and the same ones again."""
    histories = []
    for _ in range(2):
        ensemble = Ensemble([Model([2, 6, 2], random_state=0) for _ in range(2)])
        histories.append([history["loss"] for history in ensemble.fit(X, Y, epochs=2, batch_size=10, random_state=1)])
    assert_array_equal(histories[0], histories[1])
    assert (histories[0][0] != histories[0][1]).any()


class Doubled(Gate):
    """A gate of a test module, which a process must be sent."""

    def forward(self, X):
        return 2 * X

    def backward(self, X, dZ):
        return 2 * dZ


def test_own_gates_in_processes():
    """Gates that a test or a notebook defines travel to the processes."""
    ensemble = Ensemble(members(2, layer=Doubled()))
    ensemble.fit(X, Y, epochs=2, n_jobs=2)
    assert ensemble.predict(X).shape == (120,)


def test_better_than_its_members():
    """The mean loss of an ensemble is not above the mean of its members': cross-entropy is convex."""
    ensemble = Ensemble(members(5))
    ensemble.fit(X, Y, epochs=30, optimizer=Adam(0.05))
    p = ensemble.predict_proba(X)[np.arange(len(Y)), Y]
    assert -np.log(p).mean() < np.mean([model.calculate_loss(X, Y) for model in ensemble.models])


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ([], "one or more models, got \\[\\]"),
        (None, "one or more models, got None"),
        ([Softmax()], "made of models, got Softmax"),
        ([Model], "made of models, got <class"),
        ([Model([2, 2]), Model([2, 1], output=Logistic())], "outputs of one kind, got Logistic, Softmax"),
    ],
)
def test_bad_models(models, message):
    """What is no ensemble is refused."""
    with pytest.raises(ValueError, match=message):
        Ensemble(models)


def test_bad_fit():
    """The same model twice, models that do not go together, and what fit refuses."""
    model = Model([2, 2])
    with pytest.raises(ValueError, match="twice"):
        Ensemble([model, model])
    with pytest.raises(ValueError, match="one shape"):
        Ensemble([Model([2, 2]), Model([2, 3])]).predict(X)
    ensemble = Ensemble(members())
    before = state(ensemble)
    for n_jobs in (None, 2):
        with pytest.raises(ValueError, match="epochs must be an integer"):
            ensemble.fit(X, Y, epochs="many", n_jobs=n_jobs)
    assert state(ensemble) == before


def test_adopt():
    """A model takes what another of its kind has learned, and refuses one of another kind unchanged."""
    one, other = Model([2, 3, 2], random_state=0), Model([2, 3, 2], random_state=1)
    one.adopt(other)
    assert_array_equal(one.predict_proba(X), other.predict_proba(X))
    assert not np.shares_memory(one.W[0], other.W[0])
    before = one.W[0].copy()
    with pytest.raises(ValueError, match="one of its kind"):
        one.adopt(Model([2, 4, 2]))
    with pytest.raises(ValueError, match="one of its kind"):
        one.adopt(Model(Input("X") @ Parameter(np.ones((2, 2)))))
    assert_array_equal(one.W[0], before)


def test_repr():
    """It says what it is."""
    assert repr(Ensemble(members(2))).startswith("<Ensemble of 2 models, the first <Model with W1 (2, 6)")
