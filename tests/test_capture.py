"""Recorders: what is followed gives what NumPy gives, on other values too; what is not is one call, with a reason."""

# ruff: noqa: ARG001, ARG005, PLW2901 -- functions of one table take the same arguments, and people write into loop variables

from __future__ import annotations

import copy
import math
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import scipy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from gates import ExpGate, Gate, GateError, MultiplyGate, Softmax, SquaredError, SumGate
from nngraph import Graph, Input, Parameter
from nngraph.capture.follower import ImpureError
from nngraph.capture.graphs import record_forward, record_gradient
from nngraph.capture.recorder import Recorder
from nngraph.capture.tape import Refusal, Tape
from nngraph.engines.compiled import Compiled
from nngraph.program.passes import optimize
from nngraph.program.program import GuardError, Program

Array = NDArray[Any]
Function = Callable[..., Any]

# --- The harness ------------------------------------------------------------------------------------------------------

# A short array, which lies in rows, and a tall one, which the engine lays in columns.
LENGTHS = (5, 40)
NAMES = ("X", "Y", "v", "k")
# The matrix X and the row v are parameters, the matrix Y and the labels k are data.
VARYING = ("X", "v")


def draw(n: int, seed: int, dtype: Any = np.float64) -> tuple[Array, ...]:
    """Draw X (n, 3), Y (n, 3), v (3,) and labels k (n,) in 0..2."""
    rng = np.random.default_rng(seed)
    floats = (rng.standard_normal(shape).astype(dtype) for shape in ((n, 3), (n, 3), 3))
    return *floats, rng.integers(0, 3, n)


def locked(array: Array) -> Array:
    """Copy an array, so that whoever writes into it is told."""
    array = np.array(array)
    array.flags.writeable = False
    return array


def results(value: Any) -> list[Any]:
    """Return what a function returned as a list."""
    return list(value) if isinstance(value, tuple | list) else [value]


def record(function: Function, values: Sequence[Array], varying: Sequence[str] = VARYING) -> Program:
    """Record a function of X, Y, v, k; raise Refusal, or what the function raises, if it cannot be followed."""
    tape = Tape()
    variables = [tape.input(a, name, varies=name in varying) for name, a in zip(NAMES, values, strict=True)]
    recorders = [Recorder(tape, locked(a), v) for v, a in zip(variables, values, strict=True)]
    with tape.attempt():
        found = results(function(*recorders))
    return tape.program([r.variable if isinstance(r, Recorder) else tape.constant(np.asarray(r)) for r in found])


def compiled(program: Program, varying: Sequence[str] = VARYING) -> Compiled:
    """Compile a program with the inputs of these names as parameters."""
    return Compiled(program, varying=[v for v in program.inputs if v.name in varying])


def run(engine: Compiled, values: Sequence[Array]) -> list[Array]:
    """Load data and parameters, do a step, and return copies of the outputs."""
    for name, value in zip(NAMES, values, strict=True):
        engine.inputs[name][...] = value
    engine.load()
    engine.step()
    return [np.array(output) for output in engine.outputs]


def assert_same(found: Sequence[Any], expected: Sequence[Any]) -> None:
    """Compare to the bit, with shapes and dtypes."""
    assert len(found) == len(expected)
    for value, right in zip(found, expected, strict=True):
        value, right = np.asarray(value), np.asarray(right)
        assert (value.shape, value.dtype) == (right.shape, right.dtype)
        assert value.tobytes() == right.tobytes(), f"{value} is not {right}"


def assert_close(found: Sequence[Any], expected: Sequence[Any], units: float = 64) -> None:
    """Compare up to the roundings of sums in another order, in units of the last place of the largest element.

    The functions here add up at most 120 numbers of one size: each addition rounds by half a unit of the sum so far.
    """
    assert len(found) == len(expected)
    for value, right in zip(found, expected, strict=True):
        value, right = np.asarray(value), np.asarray(right)
        assert (value.shape, value.dtype) == (right.shape, right.dtype)
        if right.dtype.kind not in "fc":
            np.testing.assert_array_equal(value, right)
        elif right.size:
            finite = np.abs(right[np.isfinite(right)])
            size = max(1.0, float(finite.max())) if finite.size else 1.0
            np.testing.assert_allclose(value, right, rtol=0, atol=units * float(np.finfo(right.dtype).eps) * size)


def plain(function: Function, values: Sequence[Array]) -> list[Array]:
    """Call a function on arrays that it cannot write into."""
    return [np.array(x) for x in results(function(*(locked(value) for value in values)))]


def check(function: Function, n: int, dtype: Any = np.float64) -> None:
    """Record on some values, and compare on others: as written, after all passes, and compiled."""
    program = record(function, draw(n, 0, dtype))
    optimized = optimize(program)
    engine = compiled(program)
    for seed in (1, 2):
        values = draw(n, seed, dtype)
        kept = copy.deepcopy(values)
        expected = plain(function, values)
        assert_same(program.evaluate(*values), expected)
        assert_same(optimized.evaluate(*values), expected)
        assert_close(run(engine, values), expected)
        assert_same(values, kept)


# --- What is followed -------------------------------------------------------------------------------------------------

# Functions of X, Y, v and k that change nothing in place.
PURE: dict[str, Function] = {
    # ufuncs and their methods
    "ufunc of one": lambda X, Y, v, k: np.tanh(X),
    "ufunc of two": lambda X, Y, v, k: np.hypot(X, Y),
    "ufunc of data alone": lambda X, Y, v, k: np.exp(Y),
    "ufunc, dtype=": lambda X, Y, v, k: np.multiply(X, 0.1, dtype=np.float64),
    "ufunc, casting=": lambda X, Y, v, k: np.add(X, Y, casting="safe"),
    "reduce": lambda X, Y, v, k: np.add.reduce(X),
    "reduce, axis": lambda X, Y, v, k: np.maximum.reduce(X, axis=1),
    "reduce, positions": lambda X, Y, v, k: np.add.reduce(X, 1, None, None, True),
    "reduce, where": lambda X, Y, v, k: np.add.reduce(X, axis=1, where=X > 0),
    "reduce, initial": lambda X, Y, v, k: np.minimum.reduce(X, axis=0, initial=-0.5),
    "reduce by difference": lambda X, Y, v, k: np.subtract.reduce(X, axis=1),
    "accumulate": lambda X, Y, v, k: np.maximum.accumulate(X, axis=0),
    "accumulate, default axis": lambda X, Y, v, k: np.add.accumulate(X),
    "outer": lambda X, Y, v, k: np.multiply.outer(v, v),
    "reduceat": lambda X, Y, v, k: np.add.reduceat(X, [0, 2, 4], axis=0),
    "logical": lambda X, Y, v, k: np.logical_xor(X > 0, Y > 0),
    "whole number beside reals": lambda X, Y, v, k: np.ldexp(X, 3),
    "scipy ufunc": lambda X, Y, v, k: scipy.special.expit(X),
    "scipy ufunc of two": lambda X, Y, v, k: scipy.special.xlogy(np.abs(X), np.abs(Y)),
    "scipy ufunc of a whole number": lambda X, Y, v, k: scipy.special.eval_legendre(2, X),
    "scipy ufunc of data": lambda X, Y, v, k: scipy.special.gammaln(np.abs(Y)) * X,
    # operators
    "arithmetic": lambda X, Y, v, k: (X + Y) * 2 - X / 3 + (-Y),
    "reflected": lambda X, Y, v, k: 1 - (2 / (3 + np.abs(X))) * 0.5,
    "reflected by an array": lambda X, Y, v, k: np.array([1.0, 2.0, 3.0]) - X,
    "reflected by a NumPy number": lambda X, Y, v, k: X.dtype.type(2) * X,
    "array on the left of @": lambda X, Y, v, k: np.eye(3) @ v,
    "floor and remainder": lambda X, Y, v, k: (X // 0.5, X % 0.5),
    "powers": lambda X, Y, v, k: (X**2, X**3, np.abs(X) ** 0.5, np.abs(X) ** 1.7, X**-1, X**0, X**1, X**2.0),
    "power of a row": lambda X, Y, v, k: np.abs(X) ** v,
    "powers of 2": lambda X, Y, v, k: 2**X,
    "abs, neg, pos": lambda X, Y, v, k: abs(-X) + (+Y),
    "comparisons": lambda X, Y, v, k: (X > 0, X >= Y, Y < 0.5, v >= X, X == Y, X != Y),
    "not, and, or, xor": lambda X, Y, v, k: (~(X > 0), (X > 0) & (Y > 0), (X > 0) | (Y > 0), (X > 0) ^ (Y > 0)),
    "shifts": lambda X, Y, v, k: ((k << 2) >> 1, -k),
    "mask times array": lambda X, Y, v, k: (X > 0) * Y,
    "mask of data times array": lambda X, Y, v, k: (Y > 0) * X + (Y < 0) * v,
    "mask as numbers": lambda X, Y, v, k: (X > 0).astype(X.dtype) * Y,
    "mask times mask": lambda X, Y, v, k: (X > 0).astype(X.dtype) * (X < 1).astype(X.dtype),
    "one minus mask": lambda X, Y, v, k: 1 - (X > 0),
    # products
    "matmul": lambda X, Y, v, k: X.T @ Y,
    "matmul with a row": lambda X, Y, v, k: X @ v,
    "matmul of vectors": lambda X, Y, v, k: v @ v,
    "np.matmul": lambda X, Y, v, k: np.matmul(X, Y.T),
    "dot": lambda X, Y, v, k: np.dot(X.T, Y),
    "dot as a method": lambda X, Y, v, k: X.dot(v),
    "stack of matrices": lambda X, Y, v, k: X[:, :, None] @ Y[:, None, :],
    "inner, outer, vdot": lambda X, Y, v, k: (np.inner(X, Y), np.outer(v, v), np.vdot(X, Y)),
    "tensordot": lambda X, Y, v, k: np.tensordot(X, Y, axes=([0], [0])),
    "einsum": lambda X, Y, v, k: np.einsum("ni,nj->ij", X, Y),
    "einsum to a number": lambda X, Y, v, k: np.einsum("ni,ni->", X, Y),
    "einsum of three": lambda X, Y, v, k: np.einsum("ni,i,ni->n", X, v, Y, optimize=True),
    "cross": lambda X, Y, v, k: np.cross(X, Y),
    "kron": lambda X, Y, v, k: np.kron(v, v),
    # reductions
    "sum": lambda X, Y, v, k: (np.sum(X), X.sum(), X.sum(axis=0), X.sum(1), X.sum(axis=-1, keepdims=True)),
    "sum over both axes": lambda X, Y, v, k: X.sum(axis=(0, 1)),
    "sum over no axis": lambda X, Y, v, k: X.sum(axis=()),
    "sum, dtype=": lambda X, Y, v, k: X.sum(axis=0, dtype=np.float64),
    "sum, where=": lambda X, Y, v, k: X.sum(axis=0, where=Y > 0),
    "sum of truths": lambda X, Y, v, k: ((X > 0).sum(), (X > 0).sum(axis=0), np.sum(Y > 0, axis=1)),
    "mean": lambda X, Y, v, k: (X.mean(), np.mean(X, axis=0), X.mean(axis=1, keepdims=True)),
    "mean of truths": lambda X, Y, v, k: (X > 0).mean(axis=0),
    "var, std": lambda X, Y, v, k: (X.var(axis=0), np.std(X, axis=1, ddof=1)),
    "max, min": lambda X, Y, v, k: (X.max(), X.max(axis=0), np.min(X, axis=1), np.amax(X, -1, keepdims=True)),
    "argmax, argmin": lambda X, Y, v, k: (X.argmax(), X.argmax(axis=1), np.argmin(X, axis=0, keepdims=True)),
    "prod": lambda X, Y, v, k: (X.prod(axis=1), np.prod(v)),
    "cumsum, cumprod": lambda X, Y, v, k: (X.cumsum(), X.cumsum(axis=0), np.cumprod(X, axis=1)),
    "cumsum of truths": lambda X, Y, v, k: (X > 0).cumsum(axis=0),
    "any, all": lambda X, Y, v, k: ((X > 2).any(), (X > -9).all(axis=0), np.any(X > 1, axis=1, keepdims=True)),
    "any of numbers": lambda X, Y, v, k: (X.any(axis=1), np.all(X, axis=0)),
    "ptp, median, average": lambda X, Y, v, k: (
        np.ptp(X, axis=0),
        np.median(X, axis=0),
        np.average(X, axis=1, weights=v * v),
    ),
    "norm": lambda X, Y, v, k: (np.linalg.norm(X, axis=1), np.linalg.norm(v)),
    "count_nonzero": lambda X, Y, v, k: np.count_nonzero(X > 0, axis=0),
    "argument by name": lambda X, Y, v, k: np.sum(a=X, axis=0),
    # shapes
    "reshape": lambda X, Y, v, k: (X.reshape(3, -1), X.reshape((-1,)), np.reshape(X, (-1, 1, 3)), X.reshape(-1)),
    "reshape in columns": lambda X, Y, v, k: (np.exp(X.reshape(-1, order="F")), np.exp(X).reshape(3, -1, order="F")),
    "ravel": lambda X, Y, v, k: (X.ravel(), np.ravel(X.T), X.flatten()),
    "ravel in columns": lambda X, Y, v, k: (np.exp(X).ravel(order="F"), X.ravel("F")),
    "T": lambda X, Y, v, k: (X.T, X.T.T, np.exp(X.T)),
    "transpose": lambda X, Y, v, k: (X.transpose(), X.transpose(1, 0), np.transpose(X, (1, 0)), X.transpose((0, 1))),
    "swapaxes, moveaxis": lambda X, Y, v, k: (X.swapaxes(0, 1), np.moveaxis(X[None], 0, -1), X[None].mT),
    "expand_dims, squeeze": lambda X, Y, v, k: (np.expand_dims(X, 1), np.expand_dims(X, (0, 3)).squeeze(), X[:, None]),
    "broadcast_to": lambda X, Y, v, k: np.broadcast_to(v, X.shape) * X,
    "concatenate": lambda X, Y, v, k: (np.concatenate([X, Y]), np.concatenate((X, Y, X), axis=1), np.hstack([X, Y])),
    "concatenate, dtype=": lambda X, Y, v, k: (
        np.concatenate([X, Y], dtype=np.float64),
        np.stack([X, Y], dtype=np.float64),
    ),
    "stack": lambda X, Y, v, k: (
        np.stack([X, Y]),
        np.stack([X, Y], axis=-1),
        np.vstack([v, v]),
        np.column_stack([v, v]),
    ),
    "split": lambda X, Y, v, k: (
        *np.split(X, 3, axis=1),
        *np.split(X, [1, 3]),
        *np.array_split(X, 2),
        *np.hsplit(X, [1]),
    ),
    "flip, roll, rot90": lambda X, Y, v, k: (np.flip(X), X[::-1], np.fliplr(X), np.roll(X, 1, axis=0), np.rot90(X)),
    "tile, repeat, pad": lambda X, Y, v, k: (np.tile(v, 2), np.repeat(X, 2, axis=1), np.pad(X, 1), X.repeat(2)),
    "diagonal, trace": lambda X, Y, v, k: (np.diag(X), X.diagonal(), np.trace(X), np.diag(v), np.tril(X), np.triu(X)),
    "windows": lambda X, Y, v, k: sliding_window_view(X, 2, axis=0).max(axis=-1),
    "windows and einsum": lambda X, Y, v, k: np.einsum("nij,j->ni", sliding_window_view(X, 2, axis=1), v[:2]),
    "blocks and max": lambda X, Y, v, k: X[: X.shape[0] // 2 * 2].reshape(-1, 2, 3).max(axis=1),
    "atleast": lambda X, Y, v, k: (np.atleast_1d(X.sum()), np.atleast_2d(v), np.atleast_3d(X)),
    # indices
    "slices": lambda X, Y, v, k: (X[1:], X[:, 1:], X[..., 0], X[::2, ::-1], X[-1], X[1, 2], X[:, None, 1]),
    "slices of slices": lambda X, Y, v, k: (X[1:][:, 1:][0], X.T[1:].T[2:]),
    "integer arrays": lambda X, Y, v, k: (X[np.array([0, 2, 0])], X[[0, 1]], X[:, [2, 0]], v[k], Y[k], X[k, k]),
    "rows and labels": lambda X, Y, v, k: X[np.arange(len(X)), k],
    "masks": lambda X, Y, v, k: (X[X > -9], X[Y > -9].sum(), X[(X > -9).all(axis=1)]),
    "mask of rows by a list": lambda X, Y, v, k: v[[True, False, True]],
    "take": lambda X, Y, v, k: (np.take(X, [0, 2], axis=1), X.take(k), np.take(v, k)),
    "take_along_axis": lambda X, Y, v, k: np.take_along_axis(X, k[:, None], axis=1),
    "take_along_axis from the end": lambda X, Y, v, k: np.take_along_axis(X, k[:, None] - 3, axis=-1)[:, 0],
    "take_along_axis down": lambda X, Y, v, k: np.take_along_axis(X, k[None, :3], axis=0),
    "take_along_axis of what is computed": lambda X, Y, v, k: np.take_along_axis(
        np.exp(X), np.argsort(X, axis=1), axis=1
    ),
    "take_along_axis of columns": lambda X, Y, v, k: np.take_along_axis(np.exp(X.T), k[None, :], axis=0),
    "a row by a label": lambda X, Y, v, k: X[k[0]] + X[k[1], k[2]],
    "one-hot by comparison": lambda X, Y, v, k: (k[:, None] == np.arange(3)).astype(X.dtype) - X,
    "sort, argsort": lambda X, Y, v, k: (np.sort(X, axis=1), X.argsort(axis=0), np.partition(X, 1, axis=1)),
    "searchsorted, digitize": lambda X, Y, v, k: (np.searchsorted(np.arange(3.0), X), np.digitize(X, [-1.0, 0.0, 1.0])),
    "where": lambda X, Y, v, k: (np.where(X > 0, X, 0), np.where(X > 0, X, 0.1 * X), np.where(Y > 0, v, Y)),
    "select, choose": lambda X, Y, v, k: (
        np.select([X > 1, X > 0], [X, Y], 0.0),
        np.choose(k, [X[:, 0], Y[:, 1], X[:, 2]]),
    ),
    "clip": lambda X, Y, v, k: (
        np.clip(X, -0.5, 0.5),
        X.clip(0, None),
        np.clip(X, -np.abs(v), np.abs(v)),
        np.clip(k, 0, 1),
    ),
    "clip by other shapes": lambda X, Y, v, k: np.clip(v, -1, np.abs(Y)),
    "minimum, maximum": lambda X, Y, v, k: np.minimum(np.maximum(X, 0), 1),
    "nan_to_num, round": lambda X, Y, v, k: (np.nan_to_num(X), np.round(X, 2), X.round(1), np.sign(X), np.trunc(X)),
    "isclose": lambda X, Y, v, k: np.isclose(X, Y, atol=1.0),
    "diff, gradient": lambda X, Y, v, k: (np.diff(X, axis=0), np.gradient(X, axis=1)),
    "interp": lambda X, Y, v, k: np.interp(X, [-1.0, 0.0, 1.0], [3.0, 1.0, 2.0]),
    # arrays like others, and dtypes
    "like": lambda X, Y, v, k: (np.zeros_like(X) + X, np.ones_like(X) * Y, np.full_like(X, 2.5) * X),
    "like, of another shape": lambda X, Y, v, k: np.ones_like(X, shape=(2, *v.shape)) * v,
    "like, of another dtype": lambda X, Y, v, k: (
        np.zeros_like(X, dtype=int) + k[:, None],
        np.full_like(k, 1.7, dtype=float),
    ),
    "full_like of a value": lambda X, Y, v, k: (np.full_like(X, v), np.full_like(X, v[0]), np.full_like(k, v[0])),
    "astype": lambda X, Y, v, k: (X.astype(np.float32), (X * 10).astype(int), k.astype(X.dtype), (X > 0).astype(int)),
    "astype to the same": lambda X, Y, v, k: X.astype(X.dtype, copy=False) + X.astype(X.dtype),
    "copy": lambda X, Y, v, k: (X.copy(), np.copy(Y), copy.copy(X * 2), copy.deepcopy(X * 3)),
    "complex": lambda X, Y, v, k: (np.fft.ifft(np.fft.fft(X, axis=1), axis=1).real, np.abs(np.fft.rfft(X, axis=0))),
    "linalg": lambda X, Y, v, k: np.linalg.solve(
        X.T @ X + 3 * np.eye(3, dtype=X.dtype), np.linalg.inv(Y.T @ Y + 2 * np.eye(3, dtype=X.dtype)) @ v
    ),
    "det": lambda X, Y, v, k: np.linalg.det(X.T @ X + np.eye(3, dtype=X.dtype)),
    # numbers
    "a loop over rows": lambda X, Y, v, k: sum(row @ v for row in X),
    "a loop over numbers": lambda X, Y, v, k: sum(x * x for x in v) / len(v),
    "a loop over the shape": lambda X, Y, v, k: np.stack([X[i] * i for i in range(X.shape[0])]),
    "sums that grow": lambda X, Y, v, k: grown(X, Y),
    "a number of the shape": lambda X, Y, v, k: X / X.shape[0] + X.size * X.ndim / X.itemsize - len(X),
    "functions of the shape": lambda X, Y, v, k: X * (np.size(X) + np.ndim(X) + np.shape(X)[0] + np.size(X, 1)),
    "branches on shape and dtype": lambda X, Y, v, k: X.T @ X if X.shape[0] > 4 and X.dtype.kind == "f" else X,
    "result_type": lambda X, Y, v, k: k.astype(np.result_type(X, np.float32)),
    "pi": lambda X, Y, v, k: X * math.pi + math.sqrt(X.shape[1]),
    "numbers without axes": lambda X, Y, v, k: X.sum() * 2 + v[0] ** 2 - Y.mean(),
    "divide by a number": lambda X, Y, v, k: X / X.sum() + v.max(),
    "reversed": lambda X, Y, v, k: np.stack(list(reversed(X))),
    "unpacked": lambda X, Y, v, k: v[0] * operator.add(*v[1:]),
    "as a list of columns": lambda X, Y, v, k: np.stack([*X.T]),
    # what changes nothing
    "the input itself": lambda X, Y, v, k: (X, Y, k),
    "times one": lambda X, Y, v, k: (X * 1, 1.0 * Y, X / 1, X * np.ones(3, X.dtype), +X),
    "the same twice": lambda X, Y, v, k: (np.exp(X), np.exp(X), np.exp(X) * np.exp(X)),
    "nothing of the inputs": lambda X, Y, v, k: np.arange(3.0) * 2,
    "no elements": lambda X, Y, v, k: (X[:0].sum(axis=0), X[:, :0] @ X[:, :0].T, np.exp(X[:0])),
    # of many operations
    "softmax": lambda X, Y, v, k: (
        np.exp(X - X.max(axis=1, keepdims=True)) / np.exp(X - X.max(axis=1, keepdims=True)).sum(axis=1, keepdims=True)
    ),
    "layer norm": lambda X, Y, v, k: (
        (X - X.mean(axis=-1, keepdims=True)) / np.sqrt(X.var(axis=-1, keepdims=True) + 0.01) * v
    ),
    "Horner": lambda X, Y, v, k: ((v[0] * X + v[1]) * X + v[2]) * X,
    "gates within": lambda X, Y, v, k: ExpGate()(X) + MultiplyGate()(v, X)[:, None],
}


def grown(X: Any, Y: Any) -> Any:
    """Add up numbers; a number does not change in place, so `first` keeps its value."""
    total = X.sum()
    first = total
    total += Y.sum()
    total *= 2
    return first + total


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("name", PURE)
def test_pure_functions(name: str, n: int) -> None:
    """What NumPy is asked for is written down, and gives the same on other values."""
    check(PURE[name], n)


# --- Arrays that change -----------------------------------------------------------------------------------------------

# Functions that write into arrays of their own, as people do. Each takes X, Y, v, k.
CHANGING: dict[str, Function] = {}


def changing(function: Function) -> Function:
    """Add a function to the table, under its docstring."""
    CHANGING[str(function.__doc__).strip().rstrip(".")] = function
    return function


@changing
def _(X, Y, v, k):
    """In-place operators on an array of its own."""
    Z = X * 2
    Z += Y
    Z -= 1
    Z *= v
    Z /= 3
    Z **= 2
    Z **= 0.5
    Z //= 0.1
    Z %= 7
    return Z


@changing
def _(X, Y, v, k):
    """In-place operators on truths and whole numbers."""
    mask, counts = X > 0, k.copy()
    mask &= Y > 0
    mask |= X > 1
    mask ^= Y > 1
    counts += 3
    counts *= k
    counts <<= 1
    return mask, counts


@changing
def _(X, Y, v, k):
    """Another name for the same array."""
    Z = np.exp(X)
    other = Z
    Z += 1
    other *= 2
    return Z, other


@changing
def _(X, Y, v, k):
    """Two arrays of equal values are two arrays."""
    A, B = np.exp(X), np.exp(X)
    A += 1
    return A, B, np.exp(X)


@changing
def _(X, Y, v, k):
    """Zeros that are filled and zeros that stay."""
    A, B = np.zeros_like(X), np.zeros_like(X)
    A[0] = v
    return A, B


@changing
def _(X, Y, v, k):
    """A slice that is assigned."""
    Z = np.zeros_like(X)
    Z[1:] = X[:-1]
    Z[0] = v
    Z[:, 1] = 5
    Z[..., -1] = Y[:, 0]
    return Z


@changing
def _(X, Y, v, k):
    """A slice that is added to."""
    Z = np.zeros_like(X)
    for j in range(2):
        Z[:, j : j + 2] += X[:, :2] * (j + 1)
    return Z


@changing
def _(X, Y, v, k):
    """A view that is written into changes its base."""
    Z = X + 0
    row = Z[1]
    row += v
    row[0] = 9
    return Z


@changing
def _(X, Y, v, k):
    """A view of a view of a view."""
    Z = X + 0
    part = Z[1:][:, 1:].T[0]
    part *= 3
    part[1:] += 1
    return Z, part


@changing
def _(X, Y, v, k):
    """A view that is read after its base changed."""
    Z = X * 1.5
    row, column = Z[0], Z[:, 1]
    before = row * 1
    Z += 1
    Z[0, 1] = 4
    return row, column, before, row + column[0]


@changing
def _(X, Y, v, k):
    """A base that is read after its view changed, in between and after."""
    Z = np.exp(X)
    row = Z[2]
    first = Z.sum()
    row -= 1
    second = Z.sum()
    Z *= 2
    row[...] = 0
    return first, second, Z, row


@changing
def _(X, Y, v, k):
    """Two views that overlap."""
    Z = X - Y
    left, right = Z[:, :2], Z[:, 1:]
    left += 1
    right *= 2
    left -= right
    return Z, left, right


@changing
def _(X, Y, v, k):
    """An array shifted within itself."""
    Z = X * 3
    Z[1:] = Z[:-1]
    Z[:, 1:] += Z[:, :-1]
    return Z


@changing
def _(X, Y, v, k):
    """Views by reshape, ravel, transpose, swapaxes, expand_dims and squeeze."""
    Z = X * 2
    Z.reshape(-1)[3] = 7
    flat = Z.ravel()
    flat[1::2] += 1
    Z.T[0] *= 5
    np.swapaxes(Z, 0, 1)[2, 0] = -1
    other = Z.swapaxes(1, 0)
    other += 1
    Z[None].squeeze(0)[0] = v
    np.expand_dims(Z, 1)[:, 0, 0] = 3
    np.transpose(Z[:, :, None], (2, 0, 1))[0, 1] = v
    return Z, flat, other


@changing
def _(X, Y, v, k):
    """A copy of a view is on its own."""
    Z = X + 1
    part = Z[1:].copy()
    part += 1
    Z *= 2
    return Z, part


@changing
def _(X, Y, v, k):
    """A flattened array is on its own, a ravelled one is not."""
    Z = X + 1
    Z.flatten()[0] = 9
    Z.ravel()[1] = 8
    Z.T.ravel()[2] = 7
    return Z


@changing
def _(X, Y, v, k):
    """The probability of the right class minus one."""
    p = np.exp(X)
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(X)), k] -= 1
    return p / len(X)


@changing
def _(X, Y, v, k):
    """An integer-array index gives a copy, which changes nothing."""
    Z = X + 0
    rows = Z[[0, 1]]
    rows += 1
    Z[np.array([2, 3])] += 10
    return Z, rows


@changing
def _(X, Y, v, k):
    """Masks that are assigned."""
    g = Y * 1
    g[X <= 0] = 0
    g[X > 1] *= 2
    g[Y > 1] = g[Y > 1] + 1
    return g


@changing
def _(X, Y, v, k):
    """What a mask selects changes on its own."""
    part = X[X > -1e9]
    part += 1
    part[part > 2] = 0
    part[0] = 5
    return part


@changing
def _(X, Y, v, k):
    """A mask of rows that is assigned, of data and of parameters."""
    g = X * 2
    g[Y[:, 0] > 0] = 0
    g[X[:, 1] > 0, 1] += 1
    g[(k == 1) | (k == 2)] -= v
    return g


@changing
def _(X, Y, v, k):
    """np.add.at and its likes."""
    Z = np.zeros_like(X, shape=(3, 3))
    np.add.at(Z, k, X)
    np.subtract.at(Z, (k, k), Y[:, 0])
    np.maximum.at(Z[0], [0, 0, 1], v)
    np.multiply.at(Z[:, 1], k, 1.5)
    return Z


@changing
def _(X, Y, v, k):
    """put_along_axis, fill_diagonal, putmask, place, put, copyto."""
    Z = X * 1
    np.put_along_axis(Z, k[:, None], v[k][:, None], axis=1)
    np.fill_diagonal(Z, 3)
    np.putmask(Z, Y > 1, 7.0)
    np.put(Z, [0, 4], v[:2])
    np.copyto(Z[1], v)
    np.copyto(Z, Y, where=X > 1)
    np.place(Z, X < -1, [1.0, 2.0])
    return Z


@changing
def _(X, Y, v, k):
    """out= of ufuncs."""
    Z = np.empty_like(X)
    np.multiply(X, Y, out=Z)
    np.add(Z, v, Z)
    np.exp(-Z, out=Z)
    np.add(v, 1, out=Z[0])
    np.negative(v, out=Z)
    return Z, np.tanh(Z, out=Z)


@changing
def _(X, Y, v, k):
    """out= of reductions and other functions."""
    s, m, P = np.empty_like(v), np.empty_like(v), np.empty_like(X, shape=(3, 3))
    np.sum(X, axis=0, out=s)
    X.max(axis=0, out=m)
    np.matmul(X.T, Y, out=P)
    np.add.reduce(Y, axis=0, out=P[1])
    Z = np.clip(X, -1, 1, out=np.empty_like(X))
    Z.clip(0, 1, out=Z)
    return s, m, P, Z, np.concatenate([v, v], out=np.zeros_like(v, shape=6))


@changing
def _(X, Y, v, k):
    """out= of another dtype."""
    Z = np.zeros_like(X, dtype=np.float64)
    np.add(X, 1, out=Z)
    W = np.zeros_like(X, dtype=np.float32)
    np.multiply(X, 3, out=W, casting="same_kind")
    return Z, W


@changing
def _(X, Y, v, k):
    """where= with out=."""
    Z = np.zeros_like(X)
    np.log(X, out=Z, where=X > 0)
    np.divide(Y, X, out=Z, where=X < -0.1)
    np.add(Z, 1, out=Z, where=(k == 1)[:, None])
    return Z


@changing
def _(X, Y, v, k):
    """A loop over rows, filling an array."""
    Z = np.zeros_like(X)
    for i, row in enumerate(X):
        Z[i] = row * v
        for j in range(3):
            Z[i, j] += Y[i, j]
    return Z


@changing
def _(X, Y, v, k):
    """A loop over rows that are written into."""
    Z = X * 1
    for row, label in zip(Z, Y, strict=True):
        row -= label
        row[row < 0] = 0
    return Z


@changing
def _(X, Y, v, k):
    """Rows that are added up by labels."""
    Z = np.zeros_like(X)
    for i in range(4):
        Z[k[i]] += Y[i]
    return Z


@changing
def _(X, Y, v, k):
    """A row by a label is a view, and changes its base."""
    Z = np.zeros_like(X)
    for i in range(4):
        row = Z[k[i]]
        row += Y[i]
        row[k[i]] = 3
    return Z


@changing
def _(X, Y, v, k):
    """A prefix by recursion."""
    Z = np.empty_like(X)
    Z[0] = X[0]
    for i in range(1, len(X)):
        Z[i] = np.tanh(0.5 * Z[i - 1] + X[i])
    return Z


@changing
def _(X, Y, v, k):
    """Sums of an array and itself in place."""
    Z = X + 0
    Z += Z
    Z *= Z
    Z -= Z.T.T
    Z += Z[0]
    return Z


@changing
def _(X, Y, v, k):
    """An array that is changed after it was used."""
    Z = X * 2
    A = Z @ Z.T
    Z[0] = 0
    B = Z @ Z.T
    Z.fill(1)
    return A, B, Z


@changing
def _(X, Y, v, k):
    """Arrays without axes."""
    z = np.zeros_like(X[0, 0], shape=())
    other = z
    z += X.sum()
    z[...] = z * 2
    total = X.sum()
    kept = total
    total += 1
    return z, other, total, kept


@changing
def _(X, Y, v, k):
    """Lists of arrays of one's own."""
    columns = [X[:, j] * 1 for j in range(3)]
    for column in columns:
        column -= column.mean()
    columns[1][:] = columns[0]
    columns[0] += 1
    return np.stack(columns, axis=1)


@changing
def _(X, Y, v, k):
    """A plain array that is changed between two uses."""
    weights = np.ones(3, X.dtype)
    A = X * weights
    weights[1] = -2
    B = X * weights
    weights[1:] = 0
    return A, B, X * weights


@changing
def _(X, Y, v, k):
    """Positions and signs of zero."""
    Z = X * 0.0
    Z[X > 0] = -0.0
    return Z, 1 / (np.copysign(1, Z)), np.zeros_like(X) * -1


@changing
def _(X, Y, v, k):
    """Copies by the module copy."""
    Z = X * 2
    A, B = copy.copy(Z), copy.deepcopy(Z)
    A += 1
    B[0] = 0
    return Z, A, B


@changing
def _(X, Y, v, k):
    """Split, and the parts changed."""
    Z = X * 2
    a, b, c = np.split(Z, 3, axis=1)
    a += 1
    b[...] = c
    return Z


@changing
def _(X, Y, v, k):
    """A result that is written over the last operand of an earlier view."""
    Z = X + Y
    W = Z[1:]
    U = np.exp(Z)
    U += 1
    return (W * 2).sum(axis=0), U.sum(axis=0)


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("name", CHANGING)
def test_changing_functions(name: str, n: int) -> None:
    """Arrays of one's own change in place, and views with them, as in NumPy."""
    check(CHANGING[name], n)


EVERY = {**PURE, **CHANGING}


@pytest.mark.parametrize("name", EVERY)
def test_narrow_numbers(name: str) -> None:
    """In float32 the same holds, and nothing is widened that NumPy does not widen."""
    check(EVERY[name], LENGTHS[1], np.float32)


@pytest.mark.parametrize("varying", [(), NAMES[:3], ("v",)], ids=["none", "all", "v"])
@pytest.mark.parametrize("name", EVERY)
def test_whatever_varies(name: str, varying: Sequence[str]) -> None:
    """Compiled, the results do not depend on what is data and what is a parameter."""
    function = EVERY[name]
    engine = compiled(record(function, draw(40, 0), varying), varying)
    for seed in (1, 2):
        values = draw(40, seed)
        assert_close(run(engine, values), plain(function, values))


# --- What is refused --------------------------------------------------------------------------------------------------


class Wrapped(Gate):
    """A gate around a function of X and v; its backward is the function's linear part, by the function again."""

    def __init__(self, function: Function) -> None:
        self.function = function

    def forward(self, X, v):
        return self.function(X, v)

    def backward(self, X, v, dZ):
        # Not a derivative, but a backward that does what the function does, and depends on every input.
        Z = self.function(X, v)
        return np.zeros_like(X) + (dZ * Z).sum(), np.ones_like(v) * dZ.sum() + self.function(X, v).sum()


def filled(X: Any, v: Any) -> Any:
    """Fill an array that does not come from the inputs."""
    Z = np.zeros(X.shape, X.dtype)
    Z[:] = X * v
    return Z


def filled_by_numbers(X: Any, v: Any) -> Any:
    """Fill an array one number at a time."""
    Z = np.zeros(X.shape, X.dtype)
    Z[0, 0] = X[0, 0]
    return Z + v


def caught(X: Any, v: Any) -> Any:
    """Catch what a recorder raises."""
    try:
        scale = float(X.sum())
    except Exception:  # noqa: BLE001 -- as careless gates do
        scale = 1.0
    return X * scale + v


class Keeper(Gate):
    """Keeps what its forward made, and uses it in the next forward: impure."""

    def __init__(self) -> None:
        self.kept = None

    def forward(self, X, v):
        before, self.kept = self.kept, X * v
        return self.kept + (0 if before is None else before.sum())

    def backward(self, X, v, dZ):
        return dZ * v, dZ * X


def written(function: Function) -> Function:
    """Return a function that makes an array, has `function` write into it, and returns it."""

    def forward(X: Any, v: Any) -> Any:
        Z = X * v
        function(Z)
        return Z

    return forward


REFUSED: dict[str, tuple[Function, str]] = {
    "a branch": (lambda X, v: X * v if X.sum() > 0 else -X * v, "a branch is taken on a value that depends on the par"),
    "a branch on a truth of all": (
        lambda X, v: v * (X if np.allclose(X, 0) else 2 * X),
        "a branch is taken on a value",
    ),
    "a loop until": (
        lambda X, v: X * v * next(i for i in range(99) if i > X[0, 0]),
        "a branch is taken on a value that",
    ),
    "the larger by Python": (lambda X, v: X * max(v), "a branch is taken on a value that depends on the parameters"),
    "a condition": (lambda X, v: X * v * (1 if np.isfinite(X).all() else 2), "a branch is taken on a value"),
    "float": (lambda X, v: X * float(v.sum()), r"float\(x\) makes a plain number of a value"),
    "int": (lambda X, v: X * v * int(v.sum()), r"int\(x\) makes a plain number of a value"),
    "math": (lambda X, v: X * v * math.exp(v[0]), r"float\(x\) makes a plain number of a value"),
    "a place that depends on parameters": (
        lambda X, v: X * v[int(X[0].argmax())],
        "a whole number that depends on the",
    ),
    "a slice that depends on parameters": (
        lambda X, v: X * v[v.argmax() :].sum(),
        "a whole number that depends on the",
    ),
    "item": (lambda X, v: X * v.sum().item(), "x.item is not followed"),
    "tolist": (lambda X, v: X * np.array(v.tolist()), "x.tolist is not followed"),
    "flat": (lambda X, v: np.array([x * 2 for x in X.flat]).reshape(X.shape) * v, "x.flat is not followed"),
    "np.asarray": (lambda X, v: np.asarray(X) * v, "the numbers themselves are asked for"),
    "np.array": (lambda X, v: np.array(X * v), "the numbers themselves are asked for"),
    "np.array of numbers": (
        lambda X, v: X * np.array([v[0], v[1], v[2]]),
        "makes a plain number|the numbers themselves",
    ),
    "np.vectorize": (lambda X, v: np.vectorize(lambda x: x * x)(X) * v, "the numbers themselves are asked for"),
    "np.apply_along_axis": (
        lambda X, v: np.apply_along_axis(lambda x: x * 2, 1, X) * v,
        "apply_along_axis is not followed",
    ),
    "rows of a plain array": (lambda X, v: np.eye(3)[X.argmax(axis=1)] * X * v, "the numbers themselves are asked for"),
    "scipy's functions": (lambda X, v: scipy.special.softmax(X, axis=1) * v, "the numbers themselves are asked for"),
    "random numbers of values": (
        lambda X, v: np.random.default_rng(0).normal(X) * v,
        "the numbers themselves are asked|makes a plain",
    ),
    "zeros that are filled": (filled, "writes into an array that does not come from the inputs|the numbers themselves"),
    "zeros filled by numbers": (filled_by_numbers, "makes a plain number of a value|the numbers themselves"),
    "a plain array as out": (
        lambda X, v: np.multiply(X, v, out=np.zeros(X.shape, X.dtype)),
        "writes into an array that does not",
    ),
    "a plain array that is added to": (
        lambda X, v: operator.iadd(np.zeros(X.shape, X.dtype), X * v),
        "writes into an array that",
    ),
    "np.add.at a plain array": (
        lambda X, v: X * v + np.add.at(np.zeros(3), [0], v[:1]) if 0 else X @ np.diag(added(v)),
        "writes into",
    ),
    "unique": (lambda X, v: X * v * np.unique(X).size, "np.unique is not followed"),
    "nonzero": (lambda X, v: X * v + np.nonzero(X > 0)[0].size, "np.nonzero is not followed"),
    "where with one argument": (lambda X, v: X * v + np.where(X > 0)[0].sum(), "np.where gives several arrays"),
    "the number of what a mask selects": (
        lambda X, v: X * v * X[X > 0].size,
        "asks for the shape of what was selected",
    ),
    "len of what a mask selects": (lambda X, v: X * v * len(X[X > 0]), "asks for the shape of what was selected"),
    "np.size of what a mask selects": (
        lambda X, v: X * v * np.size(X[X > 0]),
        "asks for the shape of what was selected",
    ),
    "several arrays": (lambda X, v: np.modf(X)[0] * v, "np.modf gives several arrays"),
    "a decomposition": (lambda X, v: X @ np.linalg.qr(X)[1] * v, "np.linalg.qr is not followed"),
    "order of memory": (lambda X, v: (X * v).ravel("K").reshape(X.shape), "in the order of memory"),
    "order of memory by name": (
        lambda X, v: np.reshape(X * v, -1, order="A").reshape(X.shape),
        "in the order of memory",
    ),
    "split at values": (
        lambda X, v: X * v * np.split(v, X[:1, :1].astype(int)[0])[0].size,
        "at places that depend on values",
    ),
    "an out by position": (written(lambda Z: np.clip(Z, -1, 1, Z)), "read-only"),
    "changed in place by an option": (written(lambda Z: np.nan_to_num(Z, copy=False)), "read-only"),
    "scratch that is an argument": (written(lambda Z: np.median(Z, overwrite_input=True)), "read-only"),
    "sorted in place": (written(lambda Z: Z.sort(axis=1)), "x.sort is not followed"),
    "a flip that is written into": (
        written(lambda Z: np.flip(Z).__setitem__(0, 1)),
        "writes into what np.flip returned",
    ),
    "axes by name that are written into": (
        written(lambda Z: np.swapaxes(Z, axis1=0, axis2=1).__setitem__(0, 1)),
        "writes into what np",
    ),
    "sum into another dtype": (
        lambda X, v: X * v * np.sum(X, axis=0, out=np.zeros_like(v, dtype=np.float16)),
        "of another dtype|same_kind",
    ),
    "an error that is caught": (caught, r"float\(x\) makes a plain number of a value"),
    "strides": (lambda X, v: X * v * X.strides[0], "x.strides is not followed"),
    "view": (lambda X, v: (X * v).view(np.int64) % 7 * v, "x.view is not followed"),
}


def added(v: Any) -> Any:
    """Add to a plain array at places."""
    total = np.zeros(3)
    np.add.at(total, [0, 0, 1], v)
    return total


def refused_graph(gate: Gate) -> tuple[Graph, dict[str, Array]]:
    """Return a graph of the gate between gates that are followed, and its data."""
    X, W, v = Input("X"), Parameter(np.eye(3) * 1.5 + 0.1, "W"), Parameter([0.5, -1.0, 2.0], "v")
    return Graph(SumGate()(ExpGate()(0.1 * gate(X @ W, v)))), {"X": draw(5, 0)[0]}


def node_by_node(graph: Graph, feeds: dict[str, Array]) -> list[Array]:
    """Return the loss and the gradients of the parameters."""
    values = graph.forward(feeds)
    gradients = graph.backward(values=values)
    return [values[graph.outputs[0]], *(gradients[p] for p in graph.parameters)]


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    """The gate becomes one call forward and one backward, says why, and the results stay right on other values."""
    function, reason = REFUSED[name]
    graph, feeds = refused_graph(Wrapped(function))
    program = record_gradient(graph, feeds).program
    assert [o.gate.rpartition(", ")[2] for o in program.opaque] == ["forward", "backward"]
    for opaque in program.opaque:
        assert opaque.gate.startswith("Wrapped at node 'Wrapped'")
        assert re.search(reason, opaque.reason), opaque.reason
        assert str(opaque) == f"{opaque.gate}: {opaque.reason}"
    assert sum(operation.kind == "call" for operation in program.operations) == 2
    engine = Compiled(program, varying=[v for v in program.inputs if v.name != "X"])
    for seed in (1, 2):
        feeds = {"X": draw(5, seed)[0]}
        graph.parameters[0].value = np.eye(3) * 1.2 + 0.05 * seed
        expected = node_by_node(graph, feeds)
        values = [feeds["X"] if v.name == "X" else graph.nodes[graph.position(v.name)].value for v in program.inputs]
        assert_close(program.evaluate(*values), expected)
        for v, value in zip(program.inputs, values, strict=True):
            engine.inputs[v.name][...] = value
        engine.load()
        engine.step()
        assert_close(engine.outputs, expected)


def test_an_array_of_an_earlier_call() -> None:
    """A gate that keeps an array on itself is named, and what it had is put back; recordings do not mix."""
    gate = Keeper()
    graph, feeds = refused_graph(gate)
    before = dict(vars(gate))
    for _ in range(2):
        with pytest.raises(ImpureError, match=r"Keeper at node 'Keeper' is not pure: it changes self\.kept"):
            record_gradient(graph, feeds)
        assert vars(gate) == before
    tape, other = Tape(), Tape()
    one, two = (Recorder(t, np.ones(3), t.input(np.ones(3), "X", varies=True)) for t in (tape, other))
    with pytest.raises(Refusal, match="an array of an earlier call is used: the gate keeps something"):
        one + two


@pytest.mark.parametrize("function", [operator.iadd, lambda X, v: np.exp(X, out=X) * v], ids=["+=", "out="])
def test_writing_into_an_input_is_the_gates_error(function: Function) -> None:
    """A gate that writes into its input fails when it is recorded as it fails node by node."""
    graph, feeds = refused_graph(Wrapped(function))
    with pytest.raises(GateError, match="read-only"):
        graph.forward(feeds)
    with pytest.raises(GateError, match="read-only"):
        record_gradient(graph, feeds)


def test_errors_of_gates_are_theirs() -> None:
    """Data that a gate refuses are refused in the same words when they are recorded."""
    X, W = Input("X"), Parameter(np.eye(3), "W")
    graph = Graph(Softmax()(X @ W, Input("y")))
    feeds = {"X": draw(5, 0)[0], "y": np.array([0, 1, 2, 3, 0])}
    with pytest.raises(GateError) as expected:
        graph.forward(feeds)
    with pytest.raises(GateError) as found:
        record_gradient(graph, feeds)
    assert str(found.value) == str(expected.value)


# --- Guards -----------------------------------------------------------------------------------------------------------

# Functions that ask the data Y and k something, and k and a factor of Y for which the answer differs.
GUARDED: dict[str, tuple[Function, Sequence[int], float]] = {
    "a branch on data": (lambda X, Y, v, k: X * 2 if (k < 2).any() else X, (2, 2, 2, 2, 2), 1),
    "a branch on a number": (lambda X, Y, v, k: X * 2 if Y.sum() else X, (0, 1, 2, 0, 0), 0),
    "a branch on a whole number": (lambda X, Y, v, k: X * 2 if k.sum() else X, (0, 0, 0, 0, 0), 1),
    "a branch by np.allclose": (lambda X, Y, v, k: X if np.allclose(Y, 0) else X * 2, (0, 1, 2, 0, 0), 0),
    "a branch by np.array_equal": (lambda X, Y, v, k: X if np.array_equal(k, k * 0) else -X, (0, 0, 0, 0, 0), 1),
    "while": (lambda X, Y, v, k: X * next(i for i in range(9) if i > k[1]), (0, 2, 0, 0, 0), 1),
    "a count": (lambda X, Y, v, k: X[: k[1] + 1].sum(axis=0), (0, 2, 0, 0, 0), 1),
    "range": (lambda X, Y, v, k: sum(X[i] for i in range(k[1] + 1)), (0, 2, 0, 0, 0), 1),
    "int": (lambda X, Y, v, k: X * int(k[1]), (0, 2, 0, 0, 0), 1),
    "an element of a list": (lambda X, Y, v, k: [X, Y, X * Y][k[1]], (0, 2, 0, 0, 0), 1),
    "contains": (lambda X, Y, v, k: X * (2 in k[:2]), (0, 2, 0, 0, 0), 1),
    "is it finite": (lambda X, Y, v, k: X if np.isfinite(Y).all() else -X, (0, 1, 0, 0, 0), np.inf),
}


@pytest.mark.parametrize("name", GUARDED)
def test_guards(name: str) -> None:
    """What is asked of data alone holds where they answer as before; else GuardError, from evaluate and from load."""
    function, k, factor = GUARDED[name]
    X, Y, v, _ = draw(5, 0)
    labels = np.array([0, 1, 2, 0, 1])
    program = record(function, (X, Y, v, labels))
    assert program.guards
    engine = compiled(program)
    # The same answer from other data.
    good = (X * 2, Y * 0.5, v + 1, np.array([1, 1, 2, 1, 0]))
    assert_same(program.evaluate(*good), plain(function, good))
    assert_same(optimize(program).evaluate(*good), plain(function, good))
    assert_close(run(engine, good), plain(function, good))
    bad = (X, np.where(Y > 0, Y, 1) * factor, v, np.array(k))
    for evaluate in (program.evaluate, optimize(program).evaluate, lambda *values: run(engine, values)):
        with pytest.raises(GuardError, match=r"a gate asked for a value that was .* and is .* now"):
            evaluate(*bad)
    # And good data are good again.
    assert_close(run(engine, good), plain(function, good))


@pytest.mark.parametrize("labels", [[0, 1, 2, 3, 0], [0, -1, 2, 1, 0], [9, 9, 9, 9, 9]], ids=str)
def test_labels_are_checked(labels: list[int]) -> None:
    """Softmax checks its labels: bad ones are told when they are loaded."""
    X, W, y = Input("X"), Parameter(np.eye(3), "W"), Input("y")
    graph = Graph(Softmax()(X @ W, y))
    feeds = {"X": draw(5, 0)[0], "y": np.array([0, 1, 2, 2, 0])}
    program = record_gradient(graph, feeds).program
    assert not program.opaque
    engine = Compiled(program, varying=[v for v in program.inputs if v.name == "W"])
    engine.inputs["X"][...], engine.inputs["W"][...], engine.inputs["y"][...] = feeds["X"], np.eye(3), labels
    with pytest.raises(GuardError):
        engine.load()
    engine.inputs["y"][...] = [2, 2, 1, 0, 1]
    engine.load()
    engine.step()
    assert_close(engine.outputs, node_by_node(graph, feeds | {"y": np.array([2, 2, 1, 0, 1])}))


def test_places_out_of_range_are_told() -> None:
    """What take_along_axis would refuse, load refuses; numbers from the end are right."""
    function = PURE["take_along_axis"]
    X, Y, v, k = draw(5, 0)
    engine = compiled(record(function, (X, Y, v, k)))
    assert_close(run(engine, (X, Y, v, k - 3)), plain(function, (X, Y, v, k - 3)))
    for bad in (3, -4):
        with pytest.raises(GuardError):
            run(engine, (X, Y, v, np.full_like(k, bad)))


# Functions whose shapes in between depend on the data: no guard, and no shape baked in.
OF_ANY_LENGTH: dict[str, Function] = {
    "rows by a mask": lambda X, Y, v, k: (X[k == 1] * 2).sum(axis=0),
    "rows by a mask, compiled on": lambda X, Y, v, k: (
        np.exp(X[Y[:, 0] > 0] @ v).sum() + np.maximum(Y[Y > 0], 0.1).sum()
    ),
    "selected, changed and put back": lambda X, Y, v, k: put_back(X, Y),
    "repeat": lambda X, Y, v, k: np.exp(np.repeat(X, k, axis=0)).sum(axis=0),
    "delete": lambda X, Y, v, k: np.exp(np.delete(X, k, axis=0)).sum(axis=0),
    "likes of what was selected": lambda X, Y, v, k: (np.ones_like(Y[Y > 0]) * Y[Y > 0]).sum() * X,
    "a mask of a parameter": lambda X, Y, v, k: X[X > 0].sum() + (X[X > 0] * Y[X > 0]).sum(),
}


def put_back(X: Any, Y: Any) -> Any:
    """Change what a mask selects, in its own array and in where it comes from."""
    part = Y[Y > 0]
    part[part > 1] = 1
    part *= 2
    Z = X * 1
    Z[Y > 0] = part
    return Z


@pytest.mark.parametrize("name", OF_ANY_LENGTH)
def test_lengths_that_depend_on_data(name: str) -> None:
    """A mask selects more or less of other data, down to nothing."""
    function = OF_ANY_LENGTH[name]
    program = record(function, draw(5, 0))
    engine = compiled(program)
    X, Y, v, k = draw(5, 1)
    for values in (*(draw(5, seed) for seed in range(2, 6)), (X, -abs(Y), v, k * 0), (abs(X), abs(Y), v, k * 0 + 2)):
        expected = plain(function, values)
        assert_same(program.evaluate(*values), expected)
        assert_close(run(engine, values), expected)


def test_warnings_that_a_gate_silences() -> None:
    """np.errstate within a function holds for its program, which else warns as NumPy does."""

    def quiet(X: Any, Y: Any, v: Any, k: Any) -> Any:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(X > 0, np.log(X), 0)

    check(quiet, 5)
    program = record(lambda X, Y, v, k: np.log(X), [np.abs(x) for x in draw(5, 0)])
    with pytest.warns(RuntimeWarning, match="invalid value"):
        program.evaluate(*draw(5, 0))
    with pytest.warns(RuntimeWarning, match="invalid value"):
        run(compiled(program), draw(5, 0))


@pytest.mark.parametrize(
    "function",
    [
        lambda X, Y, v, k: X if isinstance(X, np.ndarray) and not isinstance(X, float) else -X,
        lambda X, Y, v, k: X if isinstance(X.sum(), float | np.float32) and not isinstance(X.sum(), np.ndarray) else -X,
    ],
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_isinstance(function: Function, dtype: Any) -> None:
    """A recorder is an array to whoever asks, and a number where NumPy gives one."""
    check(function, 5, dtype)


def test_functions_of_python_on_arrays() -> None:
    """What np.frompyfunc makes is a ufunc, of objects."""
    erf = np.frompyfunc(math.erf, 1, 1)
    check(lambda X, Y, v, k: erf(X).astype(X.dtype) * v, 5)


# --- Any sequence of views and changes --------------------------------------------------------------------------------

# Each takes an array and a number in 0..5, and returns a view of it, or changes it and returns None.
STEPS: dict[str, Callable[[Any, int], Any]] = {
    "slice": lambda a, i: a[i % len(a) :] if a.ndim else a[...],
    "step": lambda a, i: a[:: i % 3 + 1] if a.ndim else a[...],
    "backwards": lambda a, i: a[..., ::-1] if a.ndim else a[...],
    "row": lambda a, i: a[i % len(a)][...] if a.ndim > 1 else a,
    "new axis": lambda a, i: a[..., None] if a.ndim < 4 else a,
    "transpose": lambda a, i: a.T,
    "swap": lambda a, i: a.swapaxes(0, -1) if a.ndim else a,
    "reshape": lambda a, i: a.reshape(-1),
    "copy": lambda a, i: a.copy(),
    "double": lambda a, i: a * 2,
    "add": lambda a, i: operator.iadd(a, i + 0.5) if a.ndim else None,
    "scale by itself": lambda a, i: operator.imul(a, a[::-1]) if a.ndim else None,
    "assign": lambda a, i: a.__setitem__(Ellipsis, a * 0.5 + i),
    "assign a part": lambda a, i: a.__setitem__(slice(i % len(a), None), i) if a.ndim else None,
    "mask": lambda a, i: a.__setitem__(a > i, -1.0),
    "add at": lambda a, i: np.add.at(a, [0, 0, i % len(a)], 1.0) if a.ndim else None,
    "rows": lambda a, i: a.__setitem__([0, -1], 2.5) if a.ndim else None,
}


@given(
    steps=st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 5), st.integers(0, 5)), max_size=14),
    shape=hnp.array_shapes(min_dims=1, max_dims=3, max_side=4),
    seed=st.integers(0, 2**16),
)
@settings(deadline=None, max_examples=120)
def test_any_views_and_changes(steps: list[tuple[str, int, int]], shape: tuple[int, ...], seed: int) -> None:
    """Whatever is viewed and changed in whatever order, every array that was made is what it is in NumPy."""

    def function(X: Any) -> list[Any]:
        made = [X * 1]
        for name, which, i in steps:
            found = STEPS[name](made[which % len(made)], i)
            made += [found] if found is not None else []
        return made

    def record_one(array: Array) -> Program:
        tape = Tape()
        recorder = Recorder(tape, locked(array), tape.input(array, "X", varies=True))
        with tape.attempt():
            return tape.program([r.variable for r in function(recorder)])

    rng = np.random.default_rng(seed)
    program = record_one(rng.standard_normal(shape))
    engine = Compiled(program, program.inputs)
    for _ in range(2):
        X = rng.standard_normal(shape)
        expected = [np.array(x) for x in function(locked(X))]
        assert_same(program.evaluate(X), expected)
        assert_same(optimize(program).evaluate(X), expected)
        engine.inputs["X"][...] = X
        engine.load()
        engine.step()
        for value, right in zip(engine.outputs, expected, strict=True):
            np.testing.assert_array_equal(value, right)


@given(
    shape=hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4),
    data=st.data(),
    seed=st.integers(0, 2**16),
)
@settings(deadline=None, max_examples=100)
def test_any_index(shape: tuple[int, ...], data: st.DataObject, seed: int) -> None:
    """Whatever the index, it is read from, added to and assigned to as in NumPy."""
    basic = hnp.basic_indices(shape, allow_newaxis=True)
    index = data.draw(st.one_of(basic, hnp.integer_array_indices(shape)) if 0 not in shape else basic)

    def function(X: Any) -> list[Any]:
        Z, W = np.zeros_like(X), X * 1
        Z[index] += X[index]
        W[index] = 3
        return [X[index], Z, W]

    X = np.random.default_rng(seed).standard_normal(shape)
    tape = Tape()
    found = function(Recorder(tape, locked(X), tape.input(X, "X", varies=True)))
    program = tape.program([r.variable for r in found])
    engine = Compiled(program, program.inputs)
    X = X + 1
    expected = function(locked(X))
    assert_same(program.evaluate(X), expected)
    engine.inputs["X"][...] = X
    engine.load()
    engine.step()
    for value, right in zip(engine.outputs, expected, strict=True):
        np.testing.assert_array_equal(value, right)


# --- Whole graphs -----------------------------------------------------------------------------------------------------


def test_the_outputs_of_a_forward() -> None:
    """record_forward gives a program with the graph's outputs, in their order, of all sources by name."""
    X, W = Input("X"), Parameter(np.arange(6.0).reshape(3, 2), "W")
    Z = X @ W
    graph = Graph(ExpGate()(0.1 * Z), Z)
    data = draw(5, 0)[0]
    program = record_forward(graph, {"X": data}).program
    assert {v.name for v in program.inputs} == {"X", "W"}
    values = graph.forward({"X": data + 1})
    inputs = {"X": data + 1, "W": W.value}
    assert_same(program.evaluate(*(inputs[v.name] for v in program.inputs)), [values[o] for o in graph.outputs])


def test_the_scale_of_the_gradient() -> None:
    """The gradients are those of the scaled loss, the loss is not scaled; the scale may be a number or a value."""
    X, W, y = Input("X"), Parameter(np.ones((3, 1)), "W"), Input("y")
    graph = Graph(SquaredError()(X @ W, y))
    feeds = {"X": draw(5, 0)[0], "y": draw(5, 1)[0][:, 0]}
    loss, gradient = node_by_node(graph, feeds)
    for scale, factor in (((lambda: 3.0, ()), 3.0), ((lambda value: value * 2, graph.outputs), 2 * loss)):
        program = record_gradient(graph, feeds, scale).program
        inputs = {**feeds, "W": W.value}
        found = program.evaluate(*(inputs[v.name] for v in program.inputs))
        assert_close(found, [loss, gradient * factor])


def test_names_of_variables() -> None:
    """Variables are called as the nodes that they stand for, and gradients d and the node's name."""
    X, W = Input("X"), Parameter(np.eye(3), "W")
    graph = Graph(SumGate()(ExpGate()(X @ W, name="H"), name="loss"))
    program = record_gradient(graph, {"X": draw(5, 0)[0]}).program
    names = {operation.output.name for operation in program.operations}
    assert {"H", "loss", "dW"} <= names
    assert program.outputs[0].name == "loss"
    assert program.outputs[1].name == "dW"


def test_a_refusal_is_no_error_of_numbers() -> None:
    """Outside a gate a recorder says what it cannot do."""
    tape = Tape()
    X = Recorder(tape, np.ones(3), tape.input(np.ones(3), "X", varies=True))
    assert repr(X) == "<recorder of (3,) float64>"
    with pytest.raises(Refusal, match=r"x\.foo is not followed"):
        X.foo  # noqa: B018
    assert not hasattr(X, "__array_interface__")
