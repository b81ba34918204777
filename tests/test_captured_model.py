"""Models that run captured: they do what they do node by node, whatever the gates, the data and the order of calls."""

from __future__ import annotations

import copy
import itertools
import pickle
import signal
import sys
import threading
import tracemalloc
import types
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import gates
import nngraph.engines.engine
from gates import (
    ElementwiseGate,
    Gate,
    GateError,
    GatherGate,
    Hinge,
    LeakyReLU,
    Logistic,
    OutputGate,
    Softmax,
    SquaredError,
    SumGate,
    Tanh,
)
from nngraph import Constant, Dense, DivergenceError, Input, Model, Parameter

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 2))
Y = (X[:, 0] > 0).astype(int)


def two(make):
    """Return two equal models: captured, and node by node."""
    captured, by_node = make(), make()
    captured.engine, by_node.engine = "numpy", "graph"
    return captured, by_node


def net(**settings):
    """Return a small classifier."""
    return Model([2, 3, 2], random_state=0, **settings)


def distance(one, other):
    """Return how far the parameters of one model are from another's, in ulp of each array's largest number."""
    pairs = [(one.parameters[name], value) for name, value in other.parameters.items()]
    return max(np.abs(a - b).max() / max(np.abs(b).max(), 1e-3) / np.finfo(b.dtype).eps for a, b in pairs)


# --- Data and parameters between calls -------------------------------------------------------------------------------


def test_assigned_weights_then_another_shape():
    """Weights assigned between two trainings are those that a new program is compared at: no warning, and right."""
    one, other = two(net)
    for model in (one, other):
        model.train(X, Y, num_passes=3)
        model.W[0] = np.ones((2, 3))
        model.b[1][...] = 0.5
        model.train(X[:40], Y[:40], num_passes=3)
    assert distance(one, other) < 16


def by_hand(model, batches, epsilon, reg_lambda):
    """Take a step for each batch on the model's parameters, node by node; return the losses."""
    losses = []
    for rows, labels in batches:
        losses.append(model.calculate_loss(rows, labels))
        gradient = model.objective(rows, labels, reg_lambda)[1]
        for name, value in model.parameters.items():
            value -= epsilon * gradient[name]
    return losses


def by_descent(model, batches, epsilon, reg_lambda):
    """Take the same steps through `Model.descent`."""
    descent, losses = model.descent(epsilon=epsilon, reg_lambda=reg_lambda), []
    for rows, labels in batches:
        descent.load(rows, labels)
        losses.append(descent.compute())
        descent.update()
    descent.finish()
    return losses


def test_last_short_batch():
    """A last short batch is recorded in the midst of a descent, at the parameters that it has come to."""
    one, other = two(net)
    batches = [(X[a : a + 20], Y[a : a + 20]) for a in (0, 20, 40, 0, 20, 40)]
    assert_allclose(by_descent(one, batches, 0.1, 0.01), by_hand(other, batches, 0.1, 0.01), rtol=1e-13)
    assert distance(one, other) < 64


# --- Settings that change --------------------------------------------------------------------------------------------


class Scale(ElementwiseGate):
    """``Z = k X``, the setting `k` kept in one of several ways."""

    def __init__(self, k):
        self.set(k)

    def set(self, k):
        self.k = k

    def get(self):
        return self.k

    def forward(self, X):
        return X * X.dtype.type(self.get())

    def derivative(self, X):
        return np.full_like(X, self.get())


class InSlot(Scale):
    """In a slot, which is not in the gate's dict."""

    __slots__ = ("k",)


class InArray(Scale):
    """In an array that is changed in place."""

    def set(self, k):
        self.k = getattr(self, "k", np.zeros(1))
        self.k[0] = k

    def get(self):
        return self.k[0]


class InList(Scale):
    """In a list in a dict."""

    def set(self, k):
        self.k = getattr(self, "k", {"k": [0]})
        self.k["k"][0] = k

    def get(self):
        return self.k["k"][0]


class InObject(Scale):
    """In an object of the gate."""

    def set(self, k):
        self.k = getattr(self, "k", types.SimpleNamespace())
        self.k.k = k

    def get(self):
        return self.k.k


class InClass(Scale):
    """In the gate's class."""

    setting = 1.0

    def set(self, k):
        type(self).setting = k

    def get(self):
        return self.setting


class AsNarrowNumber(Scale):
    """As a NumPy number, a new one at an old one's address."""

    def set(self, k):
        self.k = None
        self.k = np.float32(k)


class AsFunction(Scale):
    """As a function, a new one at an old one's address."""

    def set(self, k):
        self.k = None
        self.k = lambda: k

    def get(self):
        return self.k()


class Inner(Scale):
    """In a gate of the gate's own."""

    def set(self, k):
        self.k = getattr(self, "k", LeakyReLU())
        self.k.slope = k

    def get(self):
        return self.k.slope


KEEPERS = [Scale, InSlot, InArray, InList, InObject, InClass, AsNarrowNumber, AsFunction, Inner]


@pytest.mark.parametrize("kind", KEEPERS, ids=lambda kind: kind.__name__)
def test_changed_setting(kind):
    """A setting that is changed between two calls shows in the next, wherever the gate keeps it."""
    gate = kind(1.0)
    model = Model([2, Dense(3, gate)], output=SquaredError(), random_state=0)
    alone, targets = model.predict(X), np.zeros((50, 3))
    loss = model.calculate_loss(X, targets)
    for k in [2.0, 3.0, 0.5, *range(1, 20)]:
        gate.set(k)
        assert_allclose(model.predict(X), k * alone, rtol=1e-14)
        assert_allclose(model.calculate_loss(X, targets), k * k * loss, rtol=1e-13)
        model.train(X, targets, num_passes=1, epsilon=0)
        assert_allclose(model.loss_history[-1], k * k * loss, rtol=1e-13)


@pytest.mark.parametrize("kind", KEEPERS, ids=lambda kind: kind.__name__)
def test_changed_setting_in_descent(kind):
    """A setting that is changed between two steps of a descent shows in the next, in loss and gradient."""
    gate = kind(1.0)
    model = Model([2, Dense(3, gate)], output=SquaredError(), random_state=0)
    descent, losses, gradients = model.descent(epsilon=0), [], []
    for k in (1.0, 2.0, 1.0, 4.0):
        gate.set(k)
        descent.load(X, np.zeros((50, 3)))
        losses.append(descent.compute())
        gradients.append(descent.flat.gradient.copy())
        descent.update()
    assert_allclose(losses, losses[0] * np.array([1, 4, 1, 16]), rtol=1e-13)
    assert_allclose(gradients, [gradients[0] * k for k in (1, 4, 1, 16)], rtol=1e-12, atol=1e-12)


def test_changed_class_weight():
    """Weights of classes in a list that is changed in place show in the next call, however it is called."""
    output = Softmax(class_weight=[1.0, 1.0])
    one, other = two(lambda: net(output=output))
    for weight in (1.0, 5.0, 0.5):
        output.class_weight[1] = weight
        for model in (one, other):
            model.train(X, Y, num_passes=2)
        assert_allclose(one.calculate_loss(X, Y), other.calculate_loss(X, Y), rtol=1e-14)
        assert distance(one, other) < 64


@pytest.mark.parametrize("value", [2.0, np.array([2.0, 2.0]), np.full((50, 2), 2.0)], ids=["number", "row", "matrix"])
@pytest.mark.parametrize("in_place", [True, False])
def test_changed_constant(value, in_place):
    """A constant of the graph whose value is changed shows in the next call, also one that is a number."""
    constant = Constant(value)
    model = Model(constant * (Input("X") @ Parameter(np.eye(2), "W")), output=SquaredError())
    descent = model.descent(epsilon=0)
    for k in (2.0, 3.0, 4.0):
        if in_place:
            constant.value[...] = k
        else:
            constant.value = np.full_like(constant.value, k)
        assert_allclose(model.predict(X), k * X)
        assert_allclose(model.calculate_loss(X, np.zeros((50, 2))), np.mean(k * k * X * X))
        descent.load(X, np.zeros((50, 2)))
        assert_allclose(descent.compute(), np.mean(k * k * X * X))


def test_constant_of_another_shape():
    """A constant that is given another shape or dtype is another program."""
    constant = Constant(np.array([2.0, 3.0]))
    one, other = two(lambda: Model(constant * (Input("X") @ Parameter(np.eye(2), "W")), output=SquaredError()))
    for value in (np.array([2.0, 3.0]), np.array([[5.0]]), np.array([1, 2]), np.array(7.0), np.ones((1, 2), np.float32)):
        constant.value = value
        assert_array_equal(one.predict(X), other.predict(X))
