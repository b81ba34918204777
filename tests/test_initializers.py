"""Initial weights: shapes, spreads and the order of the draws."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from nngraph import Model
from nngraph.initializers import (
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    lecun_normal,
    lecun_uniform,
    published,
)

# Initializer, the variance of W from the widths, whether W is uniform.
INITIALIZERS = [
    (published, lambda m, _: 1 / m, False),
    (glorot_uniform, lambda m, n: 2 / (m + n), True),
    (glorot_normal, lambda m, n: 2 / (m + n), False),
    (he_uniform, lambda m, _: 2 / m, True),
    (he_normal, lambda m, _: 2 / m, False),
    (lecun_uniform, lambda m, _: 1 / m, True),
    (lecun_normal, lambda m, _: 1 / m, False),
]
spreads = pytest.mark.parametrize(
    ("initializer", "variance", "uniform"), INITIALIZERS, ids=[row[0].__name__ for row in INITIALIZERS]
)
initializers = pytest.mark.parametrize("initializer", [row[0] for row in INITIALIZERS])
generators = pytest.mark.parametrize("make", [np.random.default_rng, np.random.RandomState])


@spreads
@generators
@pytest.mark.parametrize(("m", "n"), [(300, 500), (500, 300)])
def test_spread(initializer, variance, uniform, make, m, n):
    """Mean, variance and shape of the distribution are those of the formula, within five standard errors."""
    W, b = initializer(make(0), m, n)
    assert W.shape == (m, n)
    assert b.shape == (n,)
    assert W.dtype == b.dtype == np.float64
    expected = variance(m, n)
    # The fourth moment over the squared variance is 9/5 for a uniform and 3 for a normal distribution.
    kurtosis = 1.8 if uniform else 3.0
    assert abs(W.mean()) < 5 * np.sqrt(expected / W.size)
    assert_allclose(W.var(), expected, rtol=5 * np.sqrt((kurtosis - 1) / W.size))
    assert_allclose((W**4).mean() / W.var() ** 2, kurtosis, rtol=0.05)
    if uniform:
        limit = np.sqrt(3 * expected)
        assert 0.999 * limit < W.max() <= limit
        assert -limit <= W.min() < -0.999 * limit
    # Neither rows nor columns are alike.
    assert np.linalg.matrix_rank(W) == min(m, n)


@initializers
def test_biases(initializer):
    """Biases are zero, but for the published ones, which are N(0, 1)."""
    b = initializer(np.random.RandomState(0), 3, 4000)[1]
    if initializer is published:
        assert abs(b.mean()) < 5 / np.sqrt(4000)
        assert_allclose(b.var(), 1, rtol=5 * np.sqrt(2 / 4000))
    else:
        assert_array_equal(b, np.zeros(4000))


@initializers
@generators
@pytest.mark.parametrize(("m", "n"), [(1, 1), (1, 5), (5, 1)])
def test_small_layers(initializer, make, m, n):
    """A single unit on either side has its shapes too, and a seed gives its weights again."""
    (W, b), again = initializer(make(3), m, n), initializer(make(3), m, n)
    assert W.shape == (m, n)
    assert b.shape == (n,)
    assert np.isfinite(W).all()
    assert (W != 0).all()
    assert_array_equal(W, again[0])
    assert_array_equal(b, again[1])


def test_published_draws():
    """The published draws: W then b, layer by layer, from one generator; W over the root of its fan-in."""
    rng = np.random.RandomState(0)
    numbers = rng.normal(size=2 * 3 + 3 + 3 * 2 + 2)
    model = Model([2, 3, 2], initializer=published, random_state=np.random.RandomState(0))
    assert_array_equal(model.W[0], numbers[:6].reshape(2, 3) / np.sqrt(2))
    assert_array_equal(model.b[0], numbers[6:9])
    assert_array_equal(model.W[1], numbers[9:15].reshape(3, 2) / np.sqrt(3))
    assert_array_equal(model.b[1], numbers[15:])


@initializers
def test_model_draws_in_order(initializer):
    """A model draws its layers in order, in full precision whatever its dtype."""
    rng = np.random.RandomState(1)
    layers = [initializer(rng, m, n) for m, n in ((4, 3), (3, 5), (5, 2))]
    for dtype in (np.float64, np.float32):
        model = Model([4, 3, 5, 2], initializer=initializer, dtype=dtype, random_state=1)
        for i, (W, b) in enumerate(layers):
            assert model.W[i].dtype == model.b[i].dtype == dtype
            assert_array_equal(model.W[i], W.astype(dtype))
            assert_array_equal(model.b[i], b.astype(dtype))


def test_default_is_glorot_uniform():
    """Without an initializer a model is drawn by glorot_uniform."""
    default, explicit = Model([3, 4, 2], random_state=0), Model([3, 4, 2], initializer=glorot_uniform, random_state=0)
    for i in range(2):
        assert_array_equal(default.W[i], explicit.W[i])


def test_result_is_copied():
    """What an initializer returns stays its own: training does not write into it."""
    W, b = np.ones((2, 2)), np.zeros(2)
    model = Model([2, 2], initializer=lambda _rng, _m, _n: (W, b))
    model.train([[1.0, 2.0]], [0], num_passes=3)
    assert_array_equal(W, np.ones((2, 2)))
    assert_array_equal(b, np.zeros(2))
    assert W.flags.writeable


def test_result_may_be_lists():
    """Anything that makes arrays of the right shapes will do."""
    model = Model([2, 2], initializer=lambda _rng, _m, _n: ([[1, 2], [3, 4]], (5, 6)))
    assert_array_equal(model.W[0], [[1, 2], [3, 4]])
    assert_array_equal(model.b[0], [5, 6])
    assert model.W[0].dtype == model.b[0].dtype == np.float64
