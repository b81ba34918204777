"""The solvers of scikit-learn's multi-layer perceptrons as optimisers, and their initial weights.

They differ from those of `nngraph.optimizers` in where the rate and epsilon stand; with them a training goes step by
step as scikit-learn's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gates.arrays import Array
from nngraph.initializers import Generator
from nngraph.optimizers import Adam, Optimizer


class Velocity(Optimizer):
    """``v = momentum v - rate g``, ``theta = theta + v``, or with Nesterov's ``theta + momentum v - rate g``.

    The rate is in the velocity: where it falls, earlier steps count more than in `Momentum` and `Nesterov`.

    Parameters
    ----------
    rate : float
        The learning rate.
    momentum : float
        How much of the velocity is left after a step, from 0 to 1.
    nesterov : bool
        Whether the step looks ahead.

    References
    ----------
    Sutskever, Martens, Dahl, Hinton: On the importance of initialization and momentum in deep learning. ICML 2013.
    """

    def __init__(self, rate: float, momentum: float, nesterov: bool) -> None:
        super().__init__(rate)
        self.momentum, self.nesterov = momentum, nesterov

    def start(self, theta: Array) -> tuple[Array, ...]:
        return (np.zeros_like(theta),)

    def update(self, theta: Array, gradient: Array, rate: float, velocity: Array) -> tuple[Array, Array]:
        step = rate * gradient
        velocity = self.momentum * velocity - step
        return theta + (self.momentum * velocity - step if self.nesterov else velocity), velocity


class UncorrectedAdam(Adam):
    """Adam with an epsilon that is added to the root of v before its start at 0 is made up for.

    References
    ----------
    Kingma, Ba: Adam: a method for stochastic optimization. ICLR 2015, the end of section 2.
    """

    def numbers(self, rate: float, step: int) -> tuple[float, ...]:
        # The state are the sums m / (1 - beta1) and v / (1 - beta2), see `Adam`.
        root = math.sqrt(1 - self.beta2)
        corrected = rate * math.sqrt(1 - self.beta2**step) / (1 - self.beta1**step)
        return corrected * (1 - self.beta1) / root, self.epsilon / root


class Order:
    """The order of the examples: in every epoch that of the one before is shuffled, as scikit-learn does.

    Parameters
    ----------
    rng : RandomState or Generator
    """

    def __init__(self, rng: Generator) -> None:
        self._rng, self._rows = rng, np.arange(0)

    def __repr__(self) -> str:
        return "scikit-learn's order"

    def __call__(self, rows: int) -> Array:
        """Return the next order of so many rows."""
        if len(self._rows) != rows:
            self._rows = np.arange(rows)
        shuffled = np.arange(rows)
        self._rng.shuffle(shuffled)
        self._rows = self._rows[shuffled]
        return self._rows

    def mark(self) -> Callable[[], None]:
        """Return what brings the order, and its generator, back to where they are now."""
        rng, rows = self._rng, self._rows
        state: Any = rng.get_state() if isinstance(rng, np.random.RandomState) else rng.bit_generator.state

        def back() -> None:
            self._rows = rows
            if isinstance(rng, np.random.RandomState):
                rng.set_state(state)
            else:
                rng.bit_generator.state = state

        return back


def uniform(activation: Any, rng: Generator) -> Callable[[Generator, int, int], tuple[Array, Array]]:
    """Return scikit-learn's initial weights: ``W, b ~ U(-l, l)``, ``l = sqrt(6 / (fan_in + fan_out))``; 2 for sigmoids.

    They are drawn from a generator of their own, so that the same seed gives the same weights as there.

    References
    ----------
    Glorot, Bengio: Understanding the difficulty of training deep feedforward neural networks. AISTATS 2010.
    """
    factor = 2.0 if activation == "logistic" else 6.0

    def draw(_: Generator, fan_in: int, fan_out: int) -> tuple[Array, Array]:
        limit = np.sqrt(factor / (fan_in + fan_out))
        return rng.uniform(-limit, limit, (fan_in, fan_out)), rng.uniform(-limit, limit, fan_out)

    return draw
