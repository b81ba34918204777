"""Gradient descent on a loss: the loop, and what happens when it diverges."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from gates.arrays import Array
from nngraph.objective import ADVICE, DivergenceError, Objective
from nngraph.steps import Flat, GradientStep, Steps


def gradient_descent(
    steps: Steps,
    objective: Objective,
    num_passes: int,
    epsilon: float,
    history: list[float],
    report: Callable[[int, float], None],
) -> int:
    """Take `num_passes` steps ``theta <- theta - epsilon dJ/dtheta`` on all data at once.

    Parameters
    ----------
    steps : Steps
        How the loss and its gradient are computed.
    objective : Objective
        J; its graph's parameters are trained.
    num_passes : int
        The number of steps.
    epsilon : float
        The learning rate.
    history : list of float
        ``history[k]`` becomes the loss after k passes; where it is not empty, its last pass is where this starts.
    report : callable
        Called as ``report(k, loss)`` with the loss after k passes.

    Returns
    -------
    passes : int
        The steps that were taken; fewer than `num_passes` if a KeyboardInterrupt (Ctrl-C) ended it. One that comes
        before the first loss is raised.

    Raises
    ------
    DivergenceError
        If a value, a gradient or a step is not finite.

    Notes
    -----
    The parameters get their values at the end, and however it ends, these are the last whose loss was computed and
    finite, and `history` ends with that loss. If a gate raises before any step was taken, both are as they were.
    """
    flat = steps.flat
    step = GradientStep(flat, epsilon, objective.reg_lambda)
    start = max(len(history) - 1, 0)
    theta, spare = flat.theta.copy(), flat.theta.copy()
    # Moved on by one assignment, so that an interrupt finds the old state or the new one, whole.
    initial: tuple[int, Array, list[float]] = (0, theta, history[start:])
    good = initial
    try:
        for passes in range(num_passes + 1):
            loss = steps.loss()
            if not math.isfinite(loss):
                raise _divergence(flat, objective, passes, epsilon)
            np.copyto(spare, flat.theta)
            good, spare = (passes, spare, [loss]), good[1]
            history[start + passes :] = [loss]
            report(passes, loss)
            if passes < num_passes:
                steps.differentiate()
                step()
                # A sum of squares that overflows may have finite terms; one that is finite has no others.
                if not math.isfinite(flat.theta.dot(flat.theta)) and not np.isfinite(flat.theta).all():
                    raise _divergence(flat, objective, passes, epsilon, good[1])
    except KeyboardInterrupt:
        if good is initial:
            raise
        return good[0]
    except Exception as error:
        if good[0] == 0 and not isinstance(error, DivergenceError):
            good = initial
        raise
    finally:
        passes, theta, last = good
        history[start + passes :] = last
        flat.theta[...] = theta
        _whole(flat.write)
    return passes


def _whole(action: Callable[[], None]) -> None:
    """Do something to its end: an interrupt comes after it."""
    interrupt: KeyboardInterrupt | None = None
    while True:
        try:
            action()
            break
        except KeyboardInterrupt as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt


def _divergence(
    flat: Flat, objective: Objective, passes: int, epsilon: float, before: Array | None = None
) -> DivergenceError:
    """Describe what first became non-finite: a value, else (after the step from `before`) a gradient, else a parameter.

    It is looked for node by node.
    """
    graph = objective.graph
    stepped = {p: part.copy() for p, part in flat.values.items()}
    if before is not None:
        flat.theta[...] = before
    flat.write()
    values = objective.forward()
    arrays: list[tuple[str, str, Array | None]] = [(name, "became", array) for name, array in values.items()]
    if before is not None:
        gradients = objective.backward(values)
        arrays += [(name, "got a gradient of", gradients[name]) for name in reversed(graph.names)]
        arrays += [(graph.names[graph.position(p)], "became", stepped[p]) for p in graph.parameters]
    bad = ((n, d, a[~np.isfinite(a)][0]) for n, d, a in arrays if a is not None and not np.isfinite(a).all())
    # The captured program and the graph may round to both sides of the largest number.
    name, did, value = next(bad, (graph.names[graph.position(graph.outputs[0])], "became", math.inf))
    node = graph.nodes[graph.position(name)]
    kind = type(node if node.gate is None else node.gate).__name__
    kept = "The initial weights are kept" if passes == 0 else "The last finite weights are kept, but may be huge"
    return DivergenceError(
        f"training diverged in pass {passes}: node {name!r} ({kind}) {did} {value}. {kept}. {ADVICE.format(epsilon)}",
        passes,
        name,
    )
