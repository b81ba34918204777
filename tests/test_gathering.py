"""Batches are gathered from tables of all rows where each row counts by itself; else they are computed anew."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gates import Gate, Sigmoid, Softmax, SquaredError, Tanh
from nngraph import Dense, DivergenceError, Model
from nngraph.engines import gathering
from nngraph.optimizers import GradientDescent

RNG = np.random.default_rng(0)
X, LABELS = RNG.normal(size=(23, 3)), RNG.integers(0, 4, 23)


class Branching(Gate):
    """``Z = X``, or twice that where a question to all rows of the batch is answered with yes."""

    def __init__(self, question):
        self.question = question

    def forward(self, X):
        return X * 2 if self.question(X) else X * 1

    def backward(self, dZ, X):
        return dZ * 2 if self.question(X) else dZ * 1


def fitted(engine, *, layers=(5, 4), output=Softmax(), y=LABELS, rate=0.5, **options):
    model = Model([3, *layers], layer=Tanh(), output=output, random_state=0, engine=engine)
    options = {"batch_size": 5, "epochs": 4, "random_state": 1, **options}
    history = model.fit(X, y, optimizer=GradientDescent(rate), **options)
    return history["loss"], *model.parameters.values()


CASES = {
    "labels": {},
    "one row in a batch": {"batch_size": 1},
    "all but one": {"batch_size": 22},
    "targets": {"output": SquaredError(), "y": RNG.normal(size=(23, 4))},
    "weights": {"sample_weight": RNG.random(23)},
    "in order": {"shuffle": False},
    "a question with one answer": {"layers": (Branching(lambda X: (X > 100).any()), 5, 4)},
    "a question of each row": {"layers": (Branching(lambda X: (X > 1.5).any()), 5, 4)},
    "a question of all rows": {"layers": (Branching(lambda X: X.sum() > 0), 5, 4)},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("most", [gathering.MOST_BYTES, 0])
def test_batches_are_those_of_the_graph(case, most, monkeypatch):
    """Captured, losses and weights are what they are node by node, with tables and without."""
    monkeypatch.setattr(gathering, "MOST_BYTES", most)
    for found, expected in zip(fitted("numpy", **CASES[case]), fitted("graph", **CASES[case]), strict=True):
        assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", ["labels", "targets"])
def test_divergence_is_described_on_its_batch(case):
    """The labels of the batch are those that were taken, though a program needs only what was computed from them."""
    found = []
    for engine in ("numpy", "graph"):
        with pytest.raises(DivergenceError) as caught:
            fitted(engine, layers=(Dense(5, Sigmoid()), 4), rate=1e308, **CASES[case])
        found.append(str(caught.value))
    assert found[0] == found[1]
