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
