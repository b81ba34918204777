"""What a step does to the loss, and how steep it is: measured, on copies of the parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gates.arrays import Array
from nngraph.flat import Flat, split
from nngraph.graph import Graph, Values
from nngraph.nodes import Node, Parameter
from nngraph.optimizers import Optimizer
from nngraph.update import results

# Of so many parameters the gradient is measured, in so many directions of each.
SLOPE_PARAMETERS, SLOPE_WAYS = 12, 3


def first_step(graph: Graph, gradients: Values, optimizer: Optimizer) -> dict[Parameter, Array]:
    """Return what the parameters are after the first step."""
    flat = Flat(graph)
    after, _ = _step(flat, dict(zip(graph.nodes, gradients.values(), strict=True)), optimizer, 1, None)
    return split(after, flat.parameters)


def _step(
    flat: Flat, gradients: Mapping[Node, Array | None], optimizer: Optimizer, step: int, state: Sequence[Array] | None
) -> tuple[Array, Sequence[Array]]:
    """Return theta and the optimiser's state after a step."""
    for parameter, part in flat.gradients.items():
        gradient = gradients[parameter]
        part[...] = 0 if gradient is None else gradient
    state = optimizer.start(flat.theta.copy()) if state is None else state
    numbers = [np.asarray(x, flat.theta.dtype) for x in optimizer.numbers(optimizer.rate, step)]
    theta, *state = results(optimizer, (flat.theta, flat.gradient, *numbers, *state), 1 + len(state))
    return np.asarray(theta), state


def descend(
    graph: Graph, feeds: Mapping[Node, Array], gradients: Values, optimizer: Optimizer, steps: int
) -> list[float]:
    """Return the loss after each of some steps, all on the same examples; no more of them once it is not finite."""
    flat, state, losses = Flat(graph), None, []
    sources, training = graph.sources(feeds, {}), gradients.training
    slopes_of: Mapping[Node, Array | None] = dict(zip(graph.nodes, gradients.values(), strict=True))
    out = graph.position(graph.outputs[0])
    for step in range(1, steps + 1):
        theta, state = _step(flat, slopes_of, optimizer, step, state)
        flat.theta[...] = theta
        values: list[Any] = list(sources)
        for parameter, part in flat.values.items():
            values[graph.position(parameter)] = part.copy()
        graph.compute(values, training=training)
        losses.append(float(values[out]))
        if not math.isfinite(losses[-1]):
            break
        found: list[Any] = [None] * len(values)
        found[out] = np.ones((), values[out].dtype)
        graph.differentiate(values, found, training=training)
        slopes_of = dict(zip(graph.nodes, found, strict=True))
    return losses


def slopes(
    graph: Graph, feeds: Mapping[Node, Array], parameters: Sequence[Parameter]
) -> dict[Parameter, list[tuple[float, float]]]:
    """Return the slope of the loss along random directions of each parameter: measured, and by backpropagation.

    In float64, and for a few of the parameters if there are many. Where steps of two lengths, or ahead and behind,
    disagree there is a kink, or too much curvature, and the direction is left out.
    """
    training, rng = len(next(iter(feeds.values()))) > 1, np.random.default_rng(0)
    sources: list[Any] = [v.astype(np.float64) if v.dtype.kind == "f" else v for v in graph.sources(feeds, {})]
    out = graph.position(graph.outputs[0])
    # Away from where a kink is likely: from weights and biases that are exactly zero.
    for i in map(graph.position, parameters):
        sources[i] = sources[i] + 0.01 * (rms(sources[i]) or 1.0) * rng.standard_normal(sources[i].shape)

    def run(moved: Mapping[int, Array]) -> list[Any]:
        values = [moved.get(i, value) for i, value in enumerate(sources)]
        graph.compute(values, training=training)
        return values

    values = run({})
    loss = float(values[out])
    gradients: list[Any] = [None] * len(values)
    gradients[out] = np.ones(())
    graph.differentiate(values, gradients, training=training)
    # What rounding makes of a difference of two losses, divided by the shorter step.
    noise = 1e3 * np.finfo(np.float64).eps * abs(loss) / 1e-5
    some = np.linspace(0, len(parameters) - 1, min(len(parameters), SLOPE_PARAMETERS)).astype(int)
    found: dict[Parameter, list[tuple[float, float]]] = {parameters[k]: [] for k in some}
    for parameter, pairs in found.items():
        i = graph.position(parameter)
        for _ in range(SLOPE_WAYS):
            way = (rms(sources[i]) or 1.0) * rng.standard_normal(sources[i].shape)
            foretold = float((gradients[i] * way).sum())
            # Ahead and behind, by steps of two lengths.
            losses = [float(run({i: sources[i] + h * way})[out]) for h in (1e-4, -1e-4, 1e-5, -1e-5)]
            long, short = (losses[0] - losses[1]) / 2e-4, (losses[2] - losses[3]) / 2e-5
            ahead, behind = (losses[2] - loss) / 1e-5, (loss - losses[3]) / 1e-5
            bound = 0.01 * abs(short) + noise
            certain = abs(long - short) < bound and abs(ahead - behind) < bound
            if certain and max(abs(short), abs(foretold)) > 10 * noise:
                pairs.append((short, foretold))
    return found


def sizes(X: Array) -> Array:
    """Return the root of the mean square of every column."""
    rows = X.reshape(-1, X.shape[-1])
    squares = np.einsum("ij,ij->j", rows, rows, dtype=np.float64)
    found: Array = np.sqrt(squares / len(rows))
    for j in np.flatnonzero(~np.isfinite(found) | (found == 0)):
        found[j] = rms(rows[:, j])
    return found


def rms(array: Array) -> float:
    """Return the root of the mean square; of numbers whose squares overflow, too."""
    largest = float(np.abs(array).max(initial=0.0))
    if not largest or not math.isfinite(largest):
        return largest
    return largest * math.sqrt(float(np.mean((array / largest) ** 2)))
