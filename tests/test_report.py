"""The report of a program: counted by hand, and read at 80 columns."""

from __future__ import annotations

import operator
from itertools import pairwise

import numpy as np
import pytest
from sklearn.datasets import make_moons

from gates import Gate, SumGate, Tanh
from nngraph import Graph, Input, Model, Parameter
from nngraph.capture.graphs import record_forward, record_gradient
from nngraph.engines.compiled import Compiled
from nngraph.program.flops import flops
from nngraph.program.functions import astype, masked
from nngraph.program.memory import planned_bytes
from nngraph.program.passes import optimize
from nngraph.program.program import Operation, Program, Variable
from nngraph.program.report import human_bytes, report


def variable(*shape):
    return Variable(shape, np.dtype(np.float64))


def dense(n=5, k=3, m=2):
    """Record ``L = sum(tanh(X W + b))`` and its gradients."""
    X, W, b = Input("X"), Parameter(np.ones((k, m)), "W"), Parameter(np.ones(m), "b")
    return record_gradient(Graph(SumGate()(Tanh()(X @ W + b))), {"X": np.ones((n, k))}).program


def test_a_dense_layer_by_hand():
    """n = 5 rows, k = 3 features, m = 2 units: each product 2 n k m = 60, all else n m = 10."""
    found = {cost.name: (cost.times, cost.flops) for cost in report(dense()).costs if cost.flops}
    assert found == {
        "matmul": (3, 180),  # X W, dW = X^T dZ, dX = dZ W^T
        "tanh": (2, 20),  # forward, and once more backward
        "add": (1, 10),  # + b
        "sum": (2, 20),  # L, db
        "multiply": (2, 20),  # Z Z, (1 - Z Z) dZ
        "subtract": (1, 10),  # 1 - Z Z
    }
    assert report(dense()).flops == 260


def test_a_dense_layer_after_the_passes():
    """The passes spare the second tanh, the gradient of the data, and the multiplication by ones."""
    before, after = report(dense()), report(optimize(dense()))
    assert before.flops - after.flops == 10 + 60 + 10
    assert after.operations < before.operations == len(dense().operations)


x, y, v, stack, mask = variable(4, 3), variable(3, 5), variable(3), variable(2, 4, 3), Variable((4, 3), np.dtype(bool))
COUNTS = {
    "product": (np.matmul, (x, y), variable(4, 5), 2 * 4 * 3 * 5),
    "product with a vector": (np.matmul, (x, v), variable(4), 2 * 4 * 3),
    "product of vectors": (np.dot, (v, v), variable(), 2 * 3),
    "product with a list": (np.matmul, ([1.0] * 4, x), variable(3), 2 * 4 * 3),
    "stack of products": (np.matmul, (stack, y), variable(2, 4, 5), 2 * 2 * 4 * 3 * 5),
    "einsum as a product": (np.einsum, ("ij,jk->ik", x, y), variable(4, 5), 2 * 4 * 3 * 5),
    "einsum without a result": (np.einsum, ("ij,jk", x, y), variable(4, 5), 2 * 4 * 3 * 5),
    "einsum, outer product": (np.einsum, ("i,j->ij", v, v), variable(3, 3), 9),
    "einsum, sum": (np.einsum, ("ij->j", x), variable(3), 12),
    "einsum, three": (np.einsum, ("i,i,i->", v, v, v), variable(), 9),
    "einsum, transpose": (np.einsum, ("ij->ji", x), variable(3, 4), 0),
    "einsum, unknown": (np.einsum, ("...j->...", x), variable(4), None),
    "broadcast": (np.add, (v, x), variable(4, 3), 12),
    "exp": (np.exp, (x,), variable(4, 3), 12),
    "where": (np.where, (mask, x, 0.0), variable(4, 3), 12),
    "sum": (np.sum, (x,), variable(), 12),
    "mean": (np.mean, (x, 1), variable(4), 12),
    "reduce": (np.maximum.reduce, (x,), variable(3), 12),
    "cumsum": (np.cumsum, (x, 1), variable(4, 3), 12),
    "accumulate": (np.add.accumulate, (x,), variable(4, 3), 12),
    "scalar": (np.multiply, (variable(), 2.0), variable(), 1),
    "none": (np.exp, (variable(0, 3),), variable(0, 3), 0),
    "index": (operator.getitem, (x, 0), variable(3), 0),
    "set": (operator.setitem, (x, 0, 1.0), variable(4, 3), 0),
    "astype": (astype, (x, np.float32), variable(4, 3), 0),
    "concatenate": (np.concatenate, ((x, x),), variable(8, 3), 0),
    "masked": (masked, (x, mask, np.exp, x), variable(4, 3), 12),
    "add.at": (np.add.at, (x, Variable((7,), np.dtype(int)), variable(7, 3)), variable(4, 3), 21),
    "add.at, one number": (np.add.at, (x, Variable((7,), np.dtype(int)), 1.0), variable(4, 3), 21),
    "inverse": (np.linalg.inv, (variable(3, 3),), variable(3, 3), None),
    "selected": (np.exp, (Variable(None, np.dtype(float)),), Variable(None, np.dtype(float)), None),
}


@pytest.mark.parametrize("name", COUNTS)
def test_counts(name):
    function, arguments, output, expected = COUNTS[name]
    assert flops(Operation(function, arguments, output)) == expected


def test_views_and_calls():
    """A view is free, whatever makes it; what a gate does that is called as it is, nobody knows."""
    assert flops(Operation(np.linalg.inv, (x,), x, kind="view")) == 0
    assert flops(Operation(np.exp, (x,), x, kind="call")) is None


def test_arguments_by_name():
    assert flops(Operation(np.dot, (), variable(4, 5), {"a": x, "b": y})) == 2 * 4 * 3 * 5
    assert flops(Operation(np.sum, (), variable(), {"a": x})) == 12


def moons_step():
    X, targets = make_moons(200, noise=0.2, random_state=0)
    model = Model([2, 8, 2], random_state=0)
    program = record_gradient(model.graph, {"X": X, "y": targets}).program
    return Compiled(program, [p for p in program.inputs if p.name not in ("X", "y")])


def test_the_moons_step():
    """It reads as text of 80 columns: what it costs, what each pass did, which operations cost most."""
    compiled = moons_step()
    found = report(compiled.program, compiled.buffer_bytes)
    lines = str(found).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith(f"{len(compiled.program.operations)} operations, ")
    assert lines[0].endswith(f"FLOPs per run, {human_bytes(compiled.buffer_bytes)} of buffers, 2 guards")
    assert lines[1] == "  for W1 (2, 8), X (200, 2), b1 (8,), W2 (8, 2), b2 (2,), y (200,)"
    passes = compiled.program.passes
    for (_, before), (name, after) in pairwise(passes):
        assert any(line.split() == [*name.split(), str(before), str(after)] for line in lines)
    # X W1 and A1 W2, their gradients by W, and that of A1: each 2 * 200 * 2 * 8.
    assert "  matmul                      5  32,000" in str(found)
    shares = [float(line.split()[-1][:-1]) for line in lines if line.endswith("%")]
    assert sum(shares) == pytest.approx(100, abs=0.05 * len(shares))
    assert shares == sorted(shares, reverse=True)
    assert repr(found) == str(found)


def test_planned_bytes():
    """A chain of elementwise operations needs one buffer; what is read again later keeps its own."""
    X, W = Input("X"), Parameter(np.ones((5, 3)), "W")
    chain = Tanh()(Tanh()(Tanh()(X @ W)))
    forward = record_forward(Graph(chain), {"X": np.ones((40, 5))}).program
    assert planned_bytes(forward) == 40 * 3 * 8
    gradient = optimize(record_gradient(Graph(SumGate()(chain)), {"X": np.ones((40, 5))}).program)
    # The three values that the backward reads, two gradients on their way, W's, and the loss.
    assert 3 * 960 <= planned_bytes(gradient) <= 6 * 960 + 120 + 8
    assert report(gradient).buffer_bytes == planned_bytes(gradient)


class Opaque(Gate):
    """``Z = X / max(X)``, with a number that no program can have."""

    def forward(self, X):
        return X / float(X.max())

    def backward(self, X, dZ):
        raise NotImplementedError


class Inverse(Gate):
    """``Z = X^-1``."""

    def forward(self, X):
        return np.linalg.inv(X)

    def backward(self, X, dZ):
        raise NotImplementedError


def test_opaque_gates_and_unknown_functions():
    """They are listed first, with a question mark, and why a gate is called as it is stands below."""
    node = Tanh()(Opaque()(Inverse()(Input("X")), name="scaled"))
    found = report(record_forward(Graph(node), {"X": np.eye(3)}).program)
    text = str(found)
    assert found.flops == 9
    assert text.startswith("3 operations, at least 9 FLOPs per run, 144 bytes of buffers, 0 guards, 1 opaque call\n")
    assert [cost.name for cost in found.costs] == ["inv", "opaque gates", "tanh"]
    assert "  inv               1      ?\n" in text
    assert "  called as they are:\n    - Opaque at node 'scaled', forward: float(x) makes a plain number" in text
    assert max(map(len, text.splitlines()[1:])) <= 80


def test_small_and_large():
    """A program without anything, and one with many inputs."""
    empty = "0 operations, 0 FLOPs per run, 0 bytes of buffers, 0 guards\n  for no inputs\n"
    assert str(report(Program((), (), ()))).startswith(empty)
    inputs = tuple(Variable((2, 2), np.dtype(float), f"W{i}") for i in range(200))
    text = str(report(Program(inputs, (), ()), 0))
    assert "0 bytes of buffers" in text
    assert "W7 (2, 2), ... (200 inputs)" in text


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (1000, "1.0 kB"), (13_440, "13.4 kB"), (999_949, "999.9 kB"),
        (999_950, "1.0 MB"), (2_100_000, "2.1 MB"), (3 * 10**9, "3.0 GB"), (5 * 10**12, "5,000.0 GB"),
    ],
)  # fmt: skip
def test_human_bytes(count, expected):
    assert human_bytes(count) == expected
