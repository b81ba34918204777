"""Training with optimisers, penalties, dropout and a schedule, written by hand as in `by_hand.py`: flat and in place.

The rows of a batch are gathered, and dropout is drawn, as `Model.fit` does it and in the same order; an epoch's mean
loss, with the penalty at its beginning, is kept with the time. The rate of gradient descent is a factor of the loss's
slope, which saves a call on all parameters. L2 is added to the gradient: as a factor of the weights it would be rounded
away in float32.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from recipes import Recipe, Task
from scipy.special import expit

from nngraph.optimizers import Adagrad, Adam, AdamW, GradientDescent, Momentum, Nesterov, RMSprop

# The loss, and the time since the beginning, at the end of every epoch.
Epochs: TypeAlias = list[tuple[float, float]]


@dataclass
class Net:
    """A net's parameters and gradient as vectors, and what is done with a batch.

    Attributes
    ----------
    theta, gradient : arrays
    scale : array without axes
        What the slope of the sum of losses is multiplied by.
    load : function of row numbers
        Gathers a batch.
    step : function
        Writes the gradient, and returns the sum of the losses.
    mask : array or None
        What dropout multiplies with, in the order in which it is drawn.
    """

    theta: Any
    gradient: Any
    scale: Any
    load: Callable[[Any], object]
    step: Callable[[], float]
    mask: Any


def by_hand(task: Task, recipe: Recipe, epochs: int, seed: int) -> Epochs:
    """Train for so many epochs."""
    start, history = time.perf_counter(), []
    net = (_columns if task.workload.loss == "Softmax" else _rows)(task, recipe)
    losses = task.batch_size * (1 if task.workload.loss == "Softmax" else task.workload.widths[-1])
    rng, rate, count = np.random.default_rng(seed), recipe.optimizer.rate, task.steps
    folded = type(recipe.optimizer) is GradientDescent
    net.scale[()] = (rate if folded else 1.0) / losses
    penalty, pull = _penalty(task, recipe, net, rate if folded else None)
    update = _rule(recipe, net)
    mask, draw = net.mask, rng.random
    dropped, factor = (np.array(x, task.dtype) for x in (recipe.dropout, 1 / (1 - recipe.dropout)))
    clip = None if recipe.clip_norm is None else recipe.clip_norm * (rate if folded else 1.0)
    theta, gradient, load, forward_and_backward, present, t = net.theta, net.gradient, net.load, net.step, rate, 0
    net.load(np.arange(task.batch_size))
    for epoch in range(epochs):
        total, value = 0.0, penalty()
        order = rng.permutation(task.rows) if count > 1 else None
        for batch in range(count):
            if order is not None:
                load(order[batch * task.batch_size : (batch + 1) * task.batch_size])
            if mask is not None:
                draw(None, mask.dtype, mask)
                np.greater_equal(mask, dropped, mask)
                np.multiply(mask, factor, mask)
            if recipe.cosine:
                present = rate * (1 + math.cos(math.pi * (epoch + batch / count) / epochs)) / 2
                if folded:
                    net.scale[()] = present / losses
            loss = forward_and_backward() / losses
            if not math.isfinite(loss):
                raise ArithmeticError("the training diverged")
            total += loss
            if pull is not None:
                pull()
            if clip is not None:
                square = gradient.dot(gradient)
                if square > clip * clip:
                    np.multiply(gradient, clip / math.sqrt(square), gradient)
            t += 1
            update(present, t)
        if not math.isfinite(theta.dot(theta)):
            raise ArithmeticError("the training diverged")
        history.append((total / count + value, time.perf_counter() - start))
    return history


def _columns(task: Task, recipe: Recipe) -> Net:
    """Train ``H = tanh(W1' X + b1), S = W2' H + b2, P = softmax(S)``, a column per example, as `by_hand._moons`."""
    (X, y), dtype, n, width = task.data, task.dtype, task.batch_size, task.workload.widths[1]
    theta = task.workload.flat(dtype)
    gradient, scale = np.empty_like(theta), np.ones((), dtype)
    W1, dW1 = (v[: 3 * width].reshape(3, width) for v in (theta, gradient))
    W2, dW2 = (v[3 * width :].reshape(width + 1, 2) for v in (theta, gradient))
    all_X, all_wanted = np.ascontiguousarray(X.T), np.array([y == 0, y == 1], dtype)
    X_ones, wanted, D_ones = np.ones((3, n), dtype), np.empty((2, n), dtype), np.ones((width + 1, n), dtype)
    X_only, D = X_ones[:2], D_ones[:width]
    H = np.empty_like(D) if recipe.dropout else D
    dH, slope_H = np.empty((2, width, n), dtype)
    S, dS = np.empty((2, 2, n), dtype)
    # All rows together lie in columns, a few in rows.
    drawn = np.empty((n, width) if task.steps > 1 else (width, n), dtype) if recipe.dropout else None
    mask = drawn if drawn is None or task.steps == 1 else drawn.T
    W1T, W2T, W2_only, dST, dHT = W1.T, W2.T, W2[:width], dS.T, dH.T
    (S_0, S_1), (dS_0, dS_1) = S, dS
    highest, total = np.empty((2, n), dtype)
    flat_dS, flat_wanted, ones, one = dS.reshape(-1), wanted.reshape(-1), np.ones(n, dtype), np.ones((), dtype)

    def load(rows: Any) -> None:
        all_X.take(rows, 1, X_only, "clip")
        all_wanted.take(rows, 1, wanted, "clip")

    def step() -> float:
        W1T.dot(X_ones, H)
        np.tanh(H, H)
        if mask is not None:
            np.multiply(H, mask, D)
        W2T.dot(D_ones, S)
        np.maximum(S_0, S_1, out=highest)
        np.subtract(S_0, highest, dS_0)
        np.subtract(S_1, highest, dS_1)
        picked = flat_wanted.dot(flat_dS)
        np.exp(dS, dS)
        np.add(dS_0, dS_1, total)
        np.divide(dS_0, total, dS_0)
        np.divide(dS_1, total, dS_1)
        np.log(total, total)
        np.subtract(dS, wanted, dS)
        np.multiply(dS, scale, dS)
        D_ones.dot(dST, dW2)
        W2_only.dot(dS, dH)
        if mask is not None:
            np.multiply(dH, mask, dH)
        np.multiply(H, H, slope_H)
        np.subtract(one, slope_H, slope_H)
        np.multiply(dH, slope_H, dH)
        X_ones.dot(dHT, dW1)
        return float(ones.dot(total)) - float(picked)

    if task.steps == 1:
        load(np.arange(n))
    return Net(theta, gradient, scale, load, step, drawn)


def _rows(task: Task, recipe: Recipe) -> Net:
    """Train ``A = sigmoid(A W + b)`` twice, a row per example, as `by_hand._rows`."""
    (all_X, all_y), dtype, n = task.data, task.dtype, task.batch_size
    theta = task.workload.flat(dtype)
    gradient, scale = np.empty_like(theta), np.ones((), dtype)
    (W1, b1), (W2, b2) = task.workload.cut(theta)
    (dW1, db1), (dW2, db2) = task.workload.cut(gradient)
    features, width, scores = task.workload.widths
    X, y, ones = np.empty((n, features), dtype), np.empty((n, scores), dtype), np.ones(n, dtype)
    H, dH, slope_H = np.empty((3, n, width), dtype)
    S, dS, slope_S = np.empty((3, n, scores), dtype)
    D, mask = (np.empty_like(H), np.empty_like(H)) if recipe.dropout else (H, None)
    XT, DT, W2T, flat_dS, twice = X.T, D.T, W2.T, dS.reshape(-1), np.ones((), dtype)

    def load(rows: Any) -> None:
        all_X.take(rows, 0, X, "clip")
        all_y.take(rows, 0, y, "clip")

    def step() -> float:
        X.dot(W1, H)
        np.add(H, b1, H)
        expit(H, H)
        if mask is not None:
            np.multiply(H, mask, D)
        D.dot(W2, S)
        np.add(S, b2, S)
        expit(S, S)
        np.subtract(S, y, dS)
        loss = float(flat_dS.dot(flat_dS))
        np.add(scale, scale, twice)
        np.multiply(dS, twice, dS)
        np.multiply(S, S, slope_S)
        np.subtract(S, slope_S, slope_S)
        np.multiply(dS, slope_S, dS)
        DT.dot(dS, dW2)
        ones.dot(dS, db2)
        dS.dot(W2T, dH)
        if mask is not None:
            np.multiply(dH, mask, dH)
        np.multiply(H, H, slope_H)
        np.subtract(H, slope_H, slope_H)
        np.multiply(dH, slope_H, dH)
        XT.dot(dH, dW1)
        ones.dot(dH, db1)
        return loss

    return Net(theta, gradient, scale, load, step, mask)


def _penalty(
    task: Task, recipe: Recipe, net: Net, rate: float | None
) -> tuple[Callable[[], float], Callable[[], None] | None]:
    """Return the penalty, and what adds its gradient to that of the loss; with a rate all of it is times the rate.

    A small vector is pulled in one piece, of a large one each W by itself.
    """
    if recipe.penalty is None:
        return lambda: 0.0, None
    l1, l2, dtype = recipe.penalty.l1, recipe.penalty.l2, task.dtype
    parts = list(
        zip(*([W.reshape(-1) for W, _ in task.workload.cut(v)] for v in (net.theta, net.gradient)), strict=True)
    )
    strengths: list[Any] = [1.0 for _ in parts]
    if net.theta.size < 4096:
        strengths = [np.zeros_like(net.theta)]
        for W, _ in task.workload.cut(strengths[0]):
            W[...] = 1
        parts = [(net.theta, net.gradient)]
    each = [
        (
            W,
            dW,
            np.empty_like(W),
            np.asarray(strength, dtype),
            np.asarray(l1 * strength * (rate or 1), dtype),
            np.asarray(l2 * strength * (rate or 1), dtype),
        )
        for (W, dW), strength in zip(parts, strengths, strict=True)
    ]

    def value() -> float:
        total = 0.0
        for W, _, spare, strength, *_ in each:
            weights = W if not strength.ndim else np.multiply(W, strength, spare)
            if l2:
                total += l2 / 2 * float(weights.dot(weights))
            if l1:
                total += l1 * float(np.add.reduce(np.abs(weights, spare)))
        return total

    def pull() -> None:
        for W, dW, spare, _, by_sign, by_value in each:
            if l1:
                np.sign(W, spare)
                np.multiply(spare, by_sign, spare)
                np.add(dW, spare, dW)
            if l2:
                np.multiply(W, by_value, spare)
                np.add(dW, spare, dW)

    return value, pull


def _rule(recipe: Recipe, net: Net) -> Callable[[float, int], object]:
    """Return an optimiser's rule, as a function of the rate and the number of the step."""
    optimizer = recipe.optimizer
    if isinstance(optimizer, Adam):
        return _adam(optimizer, net)
    if isinstance(optimizer, Adagrad | RMSprop):
        return _by_squares(optimizer, net)
    theta, g = net.theta, net.gradient
    v, spare = np.zeros_like(theta), np.empty_like(theta)
    momentum, number = (np.array(x, theta.dtype) for x in (getattr(optimizer, "momentum", 0.0), optimizer.rate))
    nesterov = isinstance(optimizer, Nesterov)

    def descent(*_: float) -> None:
        np.subtract(theta, g, theta)

    def by_velocity(*_: float) -> None:
        np.multiply(v, momentum, v)
        np.add(v, g, v)
        if nesterov:
            np.multiply(v, momentum, spare)
            np.add(g, spare, g)
            np.multiply(g, number, g)
            np.subtract(theta, g, theta)
        else:
            np.multiply(v, number, spare)
            np.subtract(theta, spare, theta)

    return by_velocity if isinstance(optimizer, Momentum) else descent


def _by_squares(optimizer: Adagrad | RMSprop, net: Net) -> Callable[[float, int], object]:
    """Return ``s = alpha s + g^2, theta = theta - rate g / (sqrt(s) + epsilon)``; for RMSprop s is v / (1 - alpha)."""
    theta, g = net.theta, net.gradient
    s, spare, root = np.zeros_like(theta), np.empty_like(theta), 1.0
    if isinstance(optimizer, RMSprop):
        root = math.sqrt(1 - optimizer.alpha)
    alpha = np.array(optimizer.alpha, theta.dtype) if isinstance(optimizer, RMSprop) else None
    number, epsilon = (np.array(x / root, theta.dtype) for x in (optimizer.rate, optimizer.epsilon))

    def rule(*_: float) -> None:
        np.multiply(g, g, spare)
        if alpha is not None:
            np.multiply(s, alpha, s)
        np.add(s, spare, s)
        np.sqrt(s, spare)
        np.add(spare, epsilon, spare)
        np.multiply(g, number, g)
        np.divide(g, spare, g)
        np.subtract(theta, g, theta)

    return rule


def _adam(optimizer: Adam, net: Net) -> Callable[[float, int], object]:
    """Return the rule with sums in place of means, whose factors are part of the rate and of epsilon."""
    theta, g = net.theta, net.gradient
    m, v = np.zeros((2, len(theta)), theta.dtype)
    b1, b2 = optimizer.beta1, optimizer.beta2
    beta1, beta2, number, epsilon, keep = (np.array(x, theta.dtype) for x in (b1, b2, 0.0, 0.0, 1.0))
    decay = optimizer.weight_decay if isinstance(optimizer, AdamW) else 0.0

    def rule(rate: float, t: int) -> None:
        first, root = (1 - b1**t) / (1 - b1), math.sqrt((1 - b2**t) / (1 - b2))
        number[()], epsilon[()] = rate * root / first, optimizer.epsilon * root
        np.multiply(m, beta1, m)
        np.add(m, g, m)
        np.multiply(g, g, g)
        np.multiply(v, beta2, v)
        np.add(v, g, v)
        np.sqrt(v, g)
        np.add(g, epsilon, g)
        np.divide(m, g, g)
        np.multiply(g, number, g)
        if decay:
            keep[()] = 1 - rate * decay
            np.multiply(theta, keep, theta)
        np.subtract(theta, g, theta)

    return rule
