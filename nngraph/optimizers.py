"""Optimisers: how a gradient changes the parameters, elementwise and in plain NumPy.

Below, t counts the steps from 1, g is the gradient, and the rate is the present one: the optimiser's own times the
factor of a schedule.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from gates.arrays import Array
from nngraph.validation import fraction, not_negative, positive


class Optimizer(ABC):
    """``theta, *state = update(theta, g, *numbers(rate, t), *state)``, from ``state = start(theta)``.

    An optimiser is pure: its attributes are settings, what it remembers is handed in and handed back. So one optimiser
    may serve two trainings at once, and one formula serves an array of any shape.

    A subclass writes `update`; `start` if it remembers something; `numbers` if a number other than the rate changes
    from step to step.

    Parameters
    ----------
    rate : float, default=0.01
        The learning rate; 0 is allowed.

    Raises
    ------
    ValueError
        If the rate is no number, not finite or negative.

    Examples
    --------
    >>> class SignDescent(Optimizer):
    ...     def update(self, theta, gradient, rate):
    ...         return theta - rate * np.sign(gradient)
    >>> SignDescent(0.5).update(np.array([1.0, 2.0, 3.0]), np.array([0.1, -7.0, 0.0]), 0.5)
    array([0.5, 2.5, 3. ])
    """

    rate: float

    def __init__(self, rate: float = 0.01) -> None:
        self.rate = not_negative(rate, self._title("rate"))

    def start(self, theta: Array) -> tuple[Array, ...]:
        """Return the state before the first step: arrays of theta's shape and dtype; none, unless overridden."""
        return ()

    def numbers(self, rate: float, step: int) -> tuple[float, ...]:
        """Return what changes from step to step but is the same for all elements: ``(rate,)``, unless overridden.

        These are Python floats, which are float64, so that a training in float32 loses nothing here.

        Parameters
        ----------
        rate : float
            The present rate, after the schedule.
        step : int
            Which step this is, from 1.
        """
        return (rate,)

    # The signature is open on purpose: an author names the numbers and the state as the formula does.
    @abstractmethod
    def update(self, *args: Any, **kwargs: Any) -> Any:
        """Return the next theta, or a tuple of it and the next state, for ``theta, g, *numbers, *state``.

        Elementwise, in plain NumPy; it writes into none of its arguments and keeps the dtype of theta.
        """

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"

    def _title(self, setting: str) -> str:
        return f"{type(self).__name__}: {setting}"


class GradientDescent(Optimizer):
    """``theta = theta - rate g``.

    With the gradient of a random batch it is stochastic gradient descent. The same as torch.optim.SGD.

    Parameters
    ----------
    rate : float, default=0.01
        The learning rate.

    References
    ----------
    Robbins, Monro: A stochastic approximation method. Annals of Mathematical Statistics 22, 1951.
    """

    def update(self, theta: Array, gradient: Array, rate: float) -> Array:
        return theta - rate * gradient


class Momentum(Optimizer):
    """``v = momentum v + g``, ``theta = theta - rate v``, from v = 0; also called the heavy ball.

    In a steady slope the steps grow to ``1 / (1 - momentum)`` times those of gradient descent. The same as
    torch.optim.SGD with a momentum.

    Parameters
    ----------
    rate : float, default=0.01
        The learning rate.
    momentum : float, default=0.9
        How much of the velocity is left after a step, at least 0 and below 1.

    References
    ----------
    Polyak: Some methods of speeding up the convergence of iteration methods. USSR Computational Mathematics and
    Mathematical Physics 4(5), 1964.
    """

    def __init__(self, rate: float = 0.01, momentum: float = 0.9) -> None:
        super().__init__(rate)
        self.momentum = fraction(momentum, self._title("momentum"))

    def start(self, theta: Array) -> tuple[Array, ...]:
        return (np.zeros_like(theta),)

    def update(self, theta: Array, gradient: Array, rate: float, velocity: Array) -> tuple[Array, Array]:
        velocity = self.momentum * velocity + gradient
        return theta - rate * velocity, velocity


class Nesterov(Momentum):
    """``v = momentum v + g``, ``theta = theta - rate (g + momentum v)``, from v = 0.

    Nesterov takes the gradient where the momentum is about to lead. This is his method in terms of that point, so that
    the gradient is the one at theta. The same as torch.optim.SGD with a momentum and nesterov=True.

    Parameters
    ----------
    rate : float, default=0.01
        The learning rate.
    momentum : float, default=0.9
        How much of the velocity is left after a step, at least 0 and below 1.

    References
    ----------
    Nesterov: A method for solving the convex programming problem with convergence rate O(1/k^2). Soviet Mathematics
    Doklady 27, 1983. Sutskever, Martens, Dahl, Hinton: On the importance of initialization and momentum in deep
    learning. ICML 2013.
    """

    def update(self, theta: Array, gradient: Array, rate: float, velocity: Array) -> tuple[Array, Array]:
        velocity = self.momentum * velocity + gradient
        return theta - rate * (gradient + self.momentum * velocity), velocity


class Adagrad(Optimizer):
    """``s = s + g^2``, ``theta = theta - r g / (sqrt(s) + epsilon)``, from s = initial.

    Each element has a rate of its own, which falls the faster the larger its gradients were. r is
    ``rate / (1 + (t - 1) rate_decay)``. The same as torch.optim.Adagrad.

    Parameters
    ----------
    rate : float, default=0.01
        The learning rate.
    rate_decay : float, default=0.0
        How fast the rate falls by itself, beside a schedule (torch: lr_decay).
    initial : float, default=0.0
        What s is before the first step (torch: initial_accumulator_value).
    epsilon : float, default=1e-10
        Keeps elements still whose gradient was always 0; positive.

    References
    ----------
    Duchi, Hazan, Singer: Adaptive subgradient methods for online learning and stochastic optimization. Journal of
    Machine Learning Research 12, 2011.
    """

    def __init__(
        self, rate: float = 0.01, rate_decay: float = 0.0, initial: float = 0.0, epsilon: float = 1e-10
    ) -> None:
        super().__init__(rate)
        self.rate_decay = not_negative(rate_decay, self._title("rate_decay"))
        self.initial = not_negative(initial, self._title("initial"))
        self.epsilon = positive(epsilon, self._title("epsilon"))

    def start(self, theta: Array) -> tuple[Array, ...]:
        return (np.full_like(theta, self.initial),)

    def numbers(self, rate: float, step: int) -> tuple[float, ...]:
        return (rate / (1 + (step - 1) * self.rate_decay),)

    def update(self, theta: Array, gradient: Array, rate: float, squares: Array) -> tuple[Array, Array]:
        squares = squares + gradient * gradient
        return theta - rate * gradient / (np.sqrt(squares) + self.epsilon), squares


class RMSprop(Optimizer):
    """``v = alpha v + (1 - alpha) g^2``, ``theta = theta - rate g / (sqrt(v) + epsilon)``, from v = 0.

    The same as torch.optim.RMSprop.

    Parameters
    ----------
    rate : float, default=0.01
        The learning rate.
    alpha : float, default=0.99
        How much of the mean of the squares is left after a step, at least 0 and below 1.
    epsilon : float, default=1e-8
        Keeps elements still whose gradient was always 0; positive.

    Notes
    -----
    The state is ``v / (1 - alpha)``: a sum in place of a mean saves a multiplication of arrays in every step.

    References
    ----------
    Tieleman, Hinton: Lecture 6e, rmsprop: divide the gradient by a running average of its recent magnitude. Coursera:
    Neural networks for machine learning, 2012.
    """

    def __init__(self, rate: float = 0.01, alpha: float = 0.99, epsilon: float = 1e-8) -> None:
        super().__init__(rate)
        self.alpha = fraction(alpha, self._title("alpha"))
        self.epsilon = positive(epsilon, self._title("epsilon"))

    def start(self, theta: Array) -> tuple[Array, ...]:
        return (np.zeros_like(theta),)

    def numbers(self, rate: float, step: int) -> tuple[float, ...]:
        root = math.sqrt(1 - self.alpha)
        return rate / root, self.epsilon / root

    def update(self, theta: Array, gradient: Array, rate: float, epsilon: float, squares: Array) -> tuple[Array, Array]:
        squares = self.alpha * squares + gradient * gradient
        return theta - rate * gradient / (np.sqrt(squares) + epsilon), squares


class Adam(Optimizer):
    """``theta = theta - rate M / (sqrt(V) + epsilon)``, M and V the means of g and of g^2 so far.

    The means count recent gradients more: ``m = beta1 m + (1 - beta1) g`` and ``v = beta2 v + (1 - beta2) g^2`` from 0,
    and ``M = m / (1 - beta1^t)``, ``V = v / (1 - beta2^t)`` make up for the start at 0. The same as torch.optim.Adam.

    Parameters
    ----------
    rate : float, default=0.001
        The learning rate: about how far an element moves in a step.
    beta1, beta2 : float, default=0.9 and 0.999
        How much of each mean is left after a step, at least 0 and below 1.
    epsilon : float, default=1e-8
        Keeps elements still whose gradient was always 0; positive.

    Notes
    -----
    The state is ``m / (1 - beta1)`` and ``v / (1 - beta2)``, sums in place of means; their factors and the corrections
    are part of two numbers, a rate and an epsilon for each step. That saves three operations on arrays of thirteen.

    References
    ----------
    Kingma, Ba: Adam: a method for stochastic optimization. ICLR 2015.
    """

    def __init__(self, rate: float = 0.001, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> None:
        super().__init__(rate)
        self.beta1 = fraction(beta1, self._title("beta1"))
        self.beta2 = fraction(beta2, self._title("beta2"))
        self.epsilon = positive(epsilon, self._title("epsilon"))

    def start(self, theta: Array) -> tuple[Array, ...]:
        return np.zeros_like(theta), np.zeros_like(theta)

    def numbers(self, rate: float, step: int) -> tuple[float, ...]:
        # The sums over the means: M = sums / first, V = squares / second.
        first = (1 - self.beta1**step) / (1 - self.beta1)
        second = (1 - self.beta2**step) / (1 - self.beta2)
        return rate * math.sqrt(second) / first, self.epsilon * math.sqrt(second)

    def update(
        self, theta: Array, gradient: Array, rate: float, epsilon: float, sums: Array, squares: Array
    ) -> tuple[Array, Array, Array]:
        sums = self.beta1 * sums + gradient
        squares = self.beta2 * squares + gradient * gradient
        return theta - rate * sums / (np.sqrt(squares) + epsilon), sums, squares


class AdamW(Adam):
    """``theta = (1 - rate weight_decay) theta - rate M / (sqrt(V) + epsilon)``, M and V as in `Adam`.

    The decay goes past the means, unlike that of a penalty in the loss; it holds for all parameters, biases too. The
    same as torch.optim.AdamW.

    Parameters
    ----------
    rate : float, default=0.001
        The learning rate.
    beta1, beta2 : float, default=0.9 and 0.999
        How much of each mean is left after a step, at least 0 and below 1.
    epsilon : float, default=1e-8
        Keeps elements still whose gradient was always 0; positive.
    weight_decay : float, default=0.01
        Which part of theta a step takes away, over the rate.

    References
    ----------
    Loshchilov, Hutter: Decoupled weight decay regularization. ICLR 2019.
    """

    def __init__(
        self,
        rate: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(rate, beta1, beta2, epsilon)
        self.weight_decay = not_negative(weight_decay, self._title("weight_decay"))

    def numbers(self, rate: float, step: int) -> tuple[float, ...]:
        return 1 - rate * self.weight_decay, *super().numbers(rate, step)

    def update(self, theta: Array, gradient: Array, keep: float, *rest: Any) -> tuple[Array, Array, Array]:
        return super().update(keep * theta, gradient, *rest)


class ScipyMinimize:
    """Any method of `scipy.optimize.minimize` that takes a gradient or needs none, on all examples at once.

    The objective is the mean loss plus the penalty, of all parameters as one vector. An epoch is an iteration of the
    method. Second derivatives, where a method asks for them, are differences of gradients; "dogleg" and "trust-exact"
    ask for all of them, two gradients for each parameter, which only small nets can afford.

    Parameters
    ----------
    method : str, default="L-BFGS-B"
        "CG", "BFGS", "L-BFGS-B", "Newton-CG", "TNC", "SLSQP", "trust-ncg", ...; see SciPy's documentation.
    tol : float or None, default=None
        When to stop, in the method's own sense.
    **options
        The method's own options, such as ``gtol=1e-8``.

    References
    ----------
    Nocedal, Wright: Numerical optimization. Springer, 2006.
    """

    def __init__(self, method: str = "L-BFGS-B", tol: float | None = None, **options: Any) -> None:
        methods = (*WITH_GRADIENT, *WITH_CURVATURE, *WITH_HESSIAN, *WITHOUT_GRADIENT)
        known = {name.lower(): name for name in methods}
        if not isinstance(method, str) or method.lower() not in known:
            raise ValueError(f"ScipyMinimize: method must be one of {', '.join(known.values())}; got {method!r}")
        self.method = known[method.lower()]
        self.tol = None if tol is None else not_negative(tol, "ScipyMinimize: tol")
        if "maxiter" in options:
            raise ValueError("ScipyMinimize: an epoch is an iteration, so write fit(..., epochs=...) for maxiter")
        self.options = options

    def __repr__(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"ScipyMinimize({self.method!r}{'' if self.tol is None else f', tol={self.tol!r}'}{options})"


# The methods of scipy.optimize.minimize, by what they ask for.
WITH_GRADIENT = ("CG", "BFGS", "L-BFGS-B", "TNC", "SLSQP")
WITH_CURVATURE = ("Newton-CG", "trust-ncg", "trust-krylov", "trust-constr")
WITH_HESSIAN = ("dogleg", "trust-exact")
WITHOUT_GRADIENT = ("Nelder-Mead", "Powell", "COBYLA", "COBYQA")
