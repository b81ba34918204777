"""Predictions in blocks: where rows do not depend on each other, and never where they do."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy
from numpy.lib.stride_tricks import sliding_window_view
from numpy.testing import assert_allclose

import nngraph.engines.engine
from gates import Gate, GateError, GatherGate
from nngraph import Graph, Input, Parameter
from nngraph.engines.engine import Engine
from nngraph.engines.rows import independent

RNG = np.random.default_rng(0)
W, W4, b = RNG.standard_normal((3, 5)), RNG.standard_normal((4, 3, 5)), RNG.standard_normal(3)
P, TABLE = RNG.standard_normal((3, 3)), RNG.standard_normal((6, 3))
PICK = np.array([2, 0])


class Function(Gate):
    """``Z = f(X, P)`` for a function from the tables below."""

    def __init__(self, f):
        self.f = f

    def forward(self, *X):
        Z = self.f(*X)
        return Z if Z.dtype.kind == "f" else Z.astype(np.float64)

    def backward(self, *X):
        raise NotImplementedError


def written(X, index, value):
    Z = np.zeros_like(X)
    Z[index] = value
    return Z


def changed(X, index, value):
    Z = X.copy()
    Z[index] = value
    return Z


def added_at(X):
    Z = np.zeros_like(X)
    np.add.at(Z, (slice(None), np.array([0, 0])), X[:, :2])
    return Z


def dropout_like(X):
    Z = np.empty_like(X)
    np.exp(X, out=Z, where=X > 0)
    np.multiply(X, 2.5, out=Z, where=X <= 0)
    return Z


def asks_any(X):
    if (abs(X) > 1e6).any():
        raise ValueError("too large")
    return np.tanh(X)


def asks_all(X):
    return np.sqrt(abs(X)) if np.isfinite(X).all() else X


def asks_sum(X):
    return X / 7.5 if abs(X).sum() > 60 else X


def asks_max(X):
    return X / 7.5 if X.max() > 0.75 else X


# What keeps the rows apart, and is known to: for X of shape (n, 3).
KEEPS = {
    "identity": lambda X: X,
    "elementwise": lambda X: np.tanh(X * 2.5 - 1.5) ** 3 + np.sqrt(abs(X)) + X * X / (1.5 + X * X),
    "scipy": lambda X: scipy.special.expit(X) * scipy.special.ndtr(X),
    "bias": lambda X: X + b,
    "bias of one row": lambda X: X + b[None],
    "list": lambda X: X * [1.5, 2.5, 3.5],
    "column": lambda X: X - X[:, :1],
    "where": lambda X: np.where(b < X, X, 0.25 * X),
    "clip": lambda X: np.clip(X, -0.75, b),
    "clip, one side": lambda X: X.clip(min=0.1),
    "astype": lambda X: X.astype(np.float32).astype(np.float64),
    "copy": lambda X: X.copy(),
    "round": lambda X: np.round(X, 1),
    "zeros": lambda X: np.maximum(np.zeros_like(X), X) + np.zeros((len(X), 1)) + np.full_like(X, 2.5),
    "ones": lambda X: X * np.ones_like(X) + np.ones(X.shape),
    "matmul": lambda X: X @ W,
    "vector": lambda X: X @ b,
    "vector on the left": lambda X: np.matmul(b, X.T),
    "W.T X.T": lambda X: (W.T @ X.T).T,
    "row order": lambda X: np.dot(X, W),
    "np.dot with a vector": lambda X: X.dot(b),
    "einsum": lambda X: np.einsum("ij,jk->ik", X, W),
    "einsum of rows": lambda X: np.einsum("ij, ij -> i", X, X),
    "outer products": lambda X: X[:, :, None] @ X[:, None, :],
    "stack of matrices": lambda X: X[:, None, None, :] @ W4,
    "gram of each": lambda X: np.einsum("ni,nj->nij", X, X),
    "sum": lambda X: X.sum(axis=1),
    "mean, keepdims": lambda X: X - X.mean(axis=-1, keepdims=True),
    "layer norm": lambda X: (X - X.mean(1, keepdims=True)) / np.sqrt(X.var(axis=1, keepdims=True) + 1e-5),
    "softmax": lambda X: np.exp(X - X.max(1, keepdims=True)) / np.exp(X - X.max(1, keepdims=True)).sum(1)[:, None],
    "reduce": lambda X: np.add.reduce(X, axis=1) + np.maximum.reduce(X, 1, keepdims=True)[:, 0],
    "others": lambda X: X.min(1) + X.prod(1) + X.std(1) + X.argmax(1) + X.argmin(axis=1) + np.median(X, axis=1),
    "norm": lambda X: X / np.linalg.norm(X, axis=1, keepdims=True),
    "any, all": lambda X: np.where((X > 0.25).any(axis=1, keepdims=True), X, (X < 0.5).all(1)[:, None]),
    "two axes": lambda X: (X[:, :, None] * b).sum(axis=(1, 2)),
    "cumsum": lambda X: np.cumsum(X, axis=1) + X.cumprod(axis=1) + np.add.accumulate(X, axis=1),
    "sort": lambda X: np.sort(X) + np.argsort(X, axis=-1),
    "flip": lambda X: np.flip(X, 1) + X[:, ::-1],
    "reshape": lambda X: X.reshape(len(X), 3, 1).reshape(-1, 3).reshape((len(X), -1)),
    "flatten": lambda X: np.einsum("ni,nj->nij", X, X).reshape(len(X), -1),
    "reshape of columns": lambda X: np.swapaxes(X.T.reshape(3, 1, -1), 0, 2)[:, 0],
    "ravel of one column": lambda X: X[:, :1].ravel(),
    "transpose": lambda X: X.T.T + np.transpose(X[:, None], (1, 0, 2))[0] + X.swapaxes(0, 1).transpose(1, 0),
    "moveaxis": lambda X: np.moveaxis(np.moveaxis(X[None], 0, -1), -1, 1)[:, 0],
    "expand, squeeze": lambda X: np.expand_dims(X, (0, 2)).squeeze(axis=(0, 2)),
    "broadcast_to": lambda X: np.broadcast_to(X[:, None], (len(X), 4, 3)),
    "index": lambda X: X[..., None][:, 1:, 0] + X[:, [2, 0]] + X[:, PICK] + X[:][:, -1:],
    "index of an axis in front": lambda X: X[None, :, 1][0],
    "take": lambda X: X.take(PICK, axis=1) + np.take(X, 1, axis=-1)[:, None] + np.take(X, [[2], [1]], axis=1)[:, :, 0],
    "take_along_axis": lambda X: np.take_along_axis(X, np.argsort(X, axis=1), axis=1),
    "take_along_axis, one for all": lambda X: np.take_along_axis(X, PICK[None], axis=1),
    "lookup": lambda X, P: P[X.argmax(axis=1)],
    "take of a table": lambda X, P: np.take(P, X.argmax(axis=1), axis=0) + P.T.take(X.argmax(1), axis=1).T,
    "concatenate": lambda X: np.concatenate([X, X @ W], axis=1),
    "column of ones": lambda X: np.concatenate([X, np.ones((len(X), 1))], axis=-1),
    "stack": lambda X: np.stack([X, np.tanh(X)], axis=1) + np.stack([X, X], axis=0).swapaxes(0, 1),
    "stack at the end": lambda X: np.stack((X, X), axis=-1),
    "windows": lambda X: sliding_window_view(X, 2, axis=1).mean(axis=-1),
    "parts": lambda X: np.multiply(*np.split(X[:, :2], 2, axis=1)),
    "triangle": lambda X: np.tril(np.einsum("ni,nj->nij", X, X)),
    "write": lambda X: written(X, (slice(None), 1), X[:, 0]) + changed(X, np.s_[..., :2], b[:2]),
    "write at columns": lambda X: changed(X, (slice(None), PICK), X[:, :2]),
    "write a mask": lambda X: changed(X, X > 0.25, 0.25),
    "write a mask of rows": lambda X: changed(X, X[:, 0] > 0.25, 0.25),
    "write everywhere": lambda X: changed(X, ..., 0.25 * X),
    "masked": dropout_like,
    "a guard that holds for some": asks_any,
    "a guard that holds for all": asks_all,
}

# What must not go in blocks.
MIXES = {
    "mean of the batch": lambda X: X - X.mean(axis=0),
    "batch statistics": lambda X: (X - X.mean(0, keepdims=True)) / np.sqrt(X.var(0, keepdims=True) + 1e-5),
    "sum of all": lambda X: X / abs(X).sum(),
    "softmax over the batch": lambda X: np.exp(X) / np.exp(X).sum(axis=0),
    "norm of all": lambda X: X / np.linalg.norm(X),
    "reduce": lambda X: X - np.add.reduce(X),
    "mean of both axes": lambda X: X - X.mean(axis=(0, 1), keepdims=True),
    "cumsum": lambda X: np.cumsum(X, axis=0),
    "cumsum of all": lambda X: np.cumsum(X).reshape(X.shape),
    "accumulate": np.add.accumulate,
    "sort": lambda X: np.sort(X, axis=0),
    "sort of all": lambda X: np.sort(X, axis=None).reshape(X.shape),
    "argsort": lambda X: np.argsort(X[:, 0]),
    "turned": lambda X: X[::-1],
    "flip": np.flip,
    "first row": lambda X: X - X[0],
    "first rows": lambda X: X - X[:1],
    "cut": lambda X: X[:4],
    "cut off": lambda X: X[1:] + X[:-1],
    "kernel": lambda X: X @ X.T,
    "kernel by einsum": lambda X: np.einsum("ij,kj->ik", X, X),
    "covariance": lambda X: X @ (X.T @ X),
    "sum over rows": lambda X: X + b * (b @ X.T).sum(),
    "distances": lambda X: ((X[:, None] - X[None]) ** 2).sum(axis=-1),
    "one column and one row": lambda X: X[:, :1] + X[:, 0],
    "reshape": lambda X: X.reshape(3, -1).T,
    "reshape that mixes": lambda X: X.reshape(X.shape[::-1]).T + X,
    "ravel": np.ravel,
    "ravel in the other order": lambda X: X.ravel("F").reshape(X.shape),
    "transpose": lambda X: X.T,
    "roll": lambda X: np.roll(X, 1, axis=0),
    "differences": lambda X: np.diff(X, axis=0, prepend=0.0),
    "concatenate": lambda X: np.concatenate([X, X]),
    "numbers of rows": lambda X: X + np.arange(len(X))[:, None],
    "a matrix of numbers of rows": lambda X: X[:, :1] + np.arange(len(X)),
    "weights of rows": lambda X: X * np.linspace(0.0, 1.0, len(X))[:, None],
    "divided by the number": lambda X: X / len(X),
    "times one over the number": lambda X: X * (1 / len(X)),
    "a row of the number": lambda X: X + np.full_like(X, len(X)),
    "P divided by the number": lambda X, P: X + P[0] / len(X),
    "P repeated": lambda X, P: X[:, :1] + np.broadcast_to(P[:, :1], (3, len(X))).sum(axis=0),
    "take": lambda X: X.take([0], axis=0) + X,
    "take of all": lambda X: X + X.take(0),
    "diagonal": lambda X: X + X[np.arange(3), np.arange(3)],
    "its place and the index": lambda X: X[np.arange(len(X)), X.argmax(axis=1)] + np.arange(len(X)),
    "lookup in the data": lambda X: X[X.argmax(axis=1)],
    "take_along_axis": lambda X: np.take_along_axis(X, np.argsort(X, axis=0), axis=0),
    "concatenate of all": lambda X: np.concatenate([X, X], axis=None),
    "write what has no rows": lambda X: changed(np.zeros((1, 3)) + np.zeros_like(X[:1]), 0, X[0]),
    "selected": lambda X: X[X[:, 0] > 0],
    "write a row": lambda X: changed(X, 0, 0.25),
    "write each other": lambda X: changed(X, np.s_[::2], 0.25),
    "write the mean": lambda X: changed(X, (slice(None), 0), X[:, 0].mean()),
    "write by a mask of places": lambda X: changed(X, np.arange(len(X)) % 2 == 0, 0.25),
    "numbers of rows written": lambda X: written(X, (slice(None), 0), np.arange(len(X))),
    "parameters alone": lambda X, P: P @ W if len(X) else X,
    "windows of rows": lambda X: sliding_window_view(X, 2, axis=0).mean(axis=-1),
    "triangle": np.tril,
    "a branch": asks_max,
    "a branch that parts may take otherwise": asks_sum,
    "diagonal of the rows": lambda X: np.diagonal(X[:, None, :] * np.arange(20.0)[:, None])[0],
    "columns as many as rows": lambda X: np.ones((1, 20))[:, : len(X)] * X[:, :1],
    "squeeze": lambda X: (X[:, :1] + 0).squeeze(),
    "many rows": lambda X: X * (2.0 if len(X) > 100 else 1.0),
}


def build(f):
    """Return a graph of one function of the data X, and of a parameter P if it takes one."""
    two = hasattr(f, "__code__") and f.__code__.co_varnames[:2] == ("X", "P")
    return Graph(Function(f)(Input("X"), *[Parameter(P, "P")] * two))


def draw(n):
    return np.random.default_rng(n).standard_normal((n, 3))


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 16 rows."""
    monkeypatch.setattr(nngraph.engines.engine, "block_rows", lambda _rows: 16)


def same_as_by_node(graph, X):
    """Whether the engine gives what the graph gives, whatever the number of rows."""
    engine, (data,) = Engine(graph), graph.inputs
    for n in (20, 3, 1, 50, 16, 33):
        try:
            expected = graph.evaluate({data: X(n)})[graph.outputs[0]]
        except GateError:
            with pytest.raises(GateError):
                engine.run_rows(data, X(n))
            continue
        found = engine.run_rows(data, X(n))
        assert_allclose(expected if found is None else found, expected, rtol=1e-12, atol=1e-12)
    return True


@pytest.mark.parametrize("name", KEEPS)
@pytest.mark.usefixtures("small_blocks")
def test_rows_apart(name):
    """Rows that do not depend on each other are known as such, and blocks give the same rows."""
    graph = build(KEEPS[name])
    assert independent(graph, graph.inputs[0], draw(20))
    assert same_as_by_node(graph, draw)


@pytest.mark.parametrize("name", MIXES)
@pytest.mark.usefixtures("small_blocks")
def test_rows_mixed(name):
    """Rows that depend on each other, on their number or their places, come right whatever their number."""
    graph = build(MIXES[name])
    # What asks all rows together is told by the program's guards.
    assert independent(graph, graph.inputs[0], draw(20)) <= ("a branch" in name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert same_as_by_node(graph, draw)


@pytest.mark.usefixtures("small_blocks")
def test_rows_of_numbers():
    """Row numbers for data, an embedding, go in blocks; of a single kind of row nothing is known."""
    rows = Input("X", dtype=int)
    graph = Graph(GatherGate()(Parameter(TABLE, "table"), rows))
    assert independent(graph, rows, np.array([0, 5, 2, 2, 1]))
    assert not independent(graph, rows, np.array([3, 3]))
    assert same_as_by_node(graph, lambda n: np.arange(n) % 6)
    with pytest.raises(GateError, match=r"rows must be in 0\.\.5, got 6 at position 40"):
        Engine(graph).run_rows(rows, np.array([0, 1] * 20 + [6]))
