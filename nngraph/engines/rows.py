"""Whether the rows of a graph's output may be computed in blocks."""

from __future__ import annotations

import numpy as np

from gates.arrays import Array
from gates.contract import GateError
from nngraph.graph import Graph
from nngraph.nodes import Node

# How many rows of the data are tried, and as many made from them.
TRIED = 8

# And how many at once.
MANY = 1009


def independent(graph: Graph, data: Node, rows: Array) -> bool | None:
    """Whether each row of the output depends on the same row of the data alone: ``f(X)[i:j] = f(X[i:j])``.

    It is tried, on some of the rows and others made from them: all together, one by one, and in halves. What depends on
    other rows, on their number, or on the place gives other values there; but for a gate that asks its data for
    something, which the guards of a program tell. It is tried with other parameters, too: one that is zero hides what
    it is multiplied with.

    Parameters
    ----------
    graph : Graph
        With one output.
    data : node
        Its input.
    rows : array of shape (n, ...)
        The data.

    Returns
    -------
    independent : bool or None
        None if there are too few rows to tell.
    """
    sample = _sample(rows)
    if len(np.unique(sample, axis=0)) < 2:
        return None
    blocks = [slice(i, i + 1) for i in range(len(sample))] + [slice(0, len(sample) // 2), slice(len(sample) // 2, None)]
    try:
        return all(_same(graph, data, sample, blocks, moved=moved) for moved in (False, True))
    except GateError:
        return False


def _same(graph: Graph, data: Node, sample: Array, blocks: list[slice], *, moved: bool) -> bool:
    """Whether blocks of rows give what all of them give there, for the parameters as they are or moved."""

    def output(rows: Array) -> Array:
        values = graph.sources({data: rows}, {})
        rng = np.random.default_rng(0)
        for parameter in graph.parameters if moved else ():
            spread = rng.uniform(0.1, 0.9, parameter.value.shape)
            values[graph.position(parameter)] = np.asarray(parameter.value + spread, parameter.value.dtype)
        graph.compute(values)
        result: Array = values[graph.position(graph.outputs[0])]
        return result

    with np.errstate(all="ignore"):
        whole, *parts = (output(sample[block]) for block in (slice(None), *blocks))
        # A gate may do something else for many rows.
        crowd = output(np.resize(sample, (MANY, *sample.shape[1:])))
    if whole.shape[:1] != sample.shape[:1] or crowd.shape != (MANY, *whole.shape[1:]):
        return False
    blocks, parts = [*blocks, slice(None)], [*parts, crowd[: len(sample)]]
    allowed = 1e3 * np.finfo(whole.dtype).eps if whole.dtype.kind == "f" else 0.0
    allowed *= float(np.nanmax(np.abs(whole[np.isfinite(whole)]), initial=0.0))
    return all(
        part.shape == whole[block].shape and np.allclose(part, whole[block], rtol=0, atol=allowed, equal_nan=True)
        for block, part in zip(blocks, parts, strict=True)
    )


def _sample(rows: Array) -> Array:
    """Return some of the rows, and, of real numbers, as many that differ from them."""
    some: Array = rows[np.unique(np.linspace(0, len(rows) - 1, TRIED).astype(int))]
    if rows.dtype.kind != "f":
        return some
    spread = np.random.default_rng(0).uniform(0.5, 1.5, (TRIED, *some.shape[1:])).astype(rows.dtype)
    return np.concatenate([some, np.resize(some, spread.shape) * spread])
