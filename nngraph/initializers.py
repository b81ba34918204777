"""Initial weights and biases: functions of a generator and the widths of a layer.

An initialiser is any function ``(rng, fan_in, fan_out) -> (W, b)`` with W of shape (fan_in, fan_out) and b of shape
(fan_out,). `rng` has the methods `standard_normal` and `uniform`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from gates.arrays import Array

Generator: TypeAlias = np.random.Generator | np.random.RandomState
Initializer: TypeAlias = Callable[[Generator, int, int], tuple[Array, Array]]


def _normal(rng: Generator, fan_in: int, fan_out: int, variance: float) -> tuple[Array, Array]:
    return rng.standard_normal((fan_in, fan_out)) * math.sqrt(variance), np.zeros(fan_out)


def _uniform(rng: Generator, fan_in: int, fan_out: int, variance: float) -> tuple[Array, Array]:
    limit = math.sqrt(3 * variance)
    return rng.uniform(-limit, limit, (fan_in, fan_out)), np.zeros(fan_out)


def published(rng: Generator, fan_in: int, fan_out: int) -> tuple[Array, Array]:
    """``W ~ N(0, 1) / sqrt(fan_in)``, ``b ~ N(0, 1)``, drawn in this order: the published moons network's."""
    return rng.standard_normal((fan_in, fan_out)) / np.sqrt(fan_in), rng.standard_normal(fan_out)


def glorot_uniform(rng: Generator, fan_in: int, fan_out: int) -> tuple[Array, Array]:
    """``W ~ U(-l, l)``, ``l = sqrt(6 / (fan_in + fan_out))``, ``b = 0``; also called Xavier; for tanh and sigmoid.

    References
    ----------
    Glorot, Bengio: Understanding the difficulty of training deep feedforward neural networks. AISTATS 2010.
    """
    return _uniform(rng, fan_in, fan_out, 2 / (fan_in + fan_out))


def glorot_normal(rng: Generator, fan_in: int, fan_out: int) -> tuple[Array, Array]:
    """``W ~ N(0, 2 / (fan_in + fan_out))``, ``b = 0``; the second argument is the variance; see `glorot_uniform`."""
    return _normal(rng, fan_in, fan_out, 2 / (fan_in + fan_out))


def he_uniform(rng: Generator, fan_in: int, fan_out: int) -> tuple[Array, Array]:
    """``W ~ U(-l, l)``, ``l = sqrt(6 / fan_in)``, ``b = 0``; for ReLU and its relatives; see `he_normal`."""
    return _uniform(rng, fan_in, fan_out, 2 / fan_in)


def he_normal(rng: Generator, fan_in: int, fan_out: int) -> tuple[Array, Array]:
    """``W ~ N(0, 2 / fan_in)``, ``b = 0``; the second argument is the variance; for ReLU and its relatives.

    References
    ----------
    He, Zhang, Ren, Sun: Delving deep into rectifiers. ICCV 2015.
    """
    return _normal(rng, fan_in, fan_out, 2 / fan_in)


def lecun_uniform(rng: Generator, fan_in: int, fan_out: int) -> tuple[Array, Array]:
    """``W ~ U(-l, l)``, ``l = sqrt(3 / fan_in)``, ``b = 0``; see `lecun_normal`."""
    return _uniform(rng, fan_in, fan_out, 1 / fan_in)


def lecun_normal(rng: Generator, fan_in: int, fan_out: int) -> tuple[Array, Array]:
    """``W ~ N(0, 1 / fan_in)``, ``b = 0``; the second argument is the variance.

    References
    ----------
    LeCun, Bottou, Orr, Müller: Efficient BackProp. In: Neural networks: tricks of the trade. Springer, 1998.
    """
    return _normal(rng, fan_in, fan_out, 1 / fan_in)
