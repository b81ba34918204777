"""Architectures: the layers of a model by their widths, chained into a graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gates.arithmetic import AddGate, MultiplyGate
from gates.contract import Gate, check_count
from nngraph.initializers import Generator, Initializer
from nngraph.nodes import GraphError, Input, Node, Parameter
from nngraph.validation import instance, whole_number


@dataclass(frozen=True)
class Dense:
    """``A = layer(X W + b)``, a fully connected layer.

    Parameters
    ----------
    width : int
        The number of its units, the columns of W.
    layer : Gate or None, default=None
        The activation; None for none, as before a Softmax output.
    use_bias : bool or None, default=None
        Whether there is a b; None for what the model says.
    initializer : callable or None, default=None
        Its initial weights (see `nngraph.initializers`); None for what the model says.
    """

    width: int
    layer: Gate | None = None
    use_bias: bool | None = None
    initializer: Initializer | None = None

    def __post_init__(self) -> None:
        whole_number(self.width, "a layer's width", 1)
        if self.layer is not None:
            instance(self.layer, Gate, "a layer")
            check_count(self.layer, 1)


def chain(
    architecture: Any,
    layer: Gate,
    last_layer: Gate | None,
    use_bias: bool,
    initializer: Initializer,
    dtype: np.dtype[Any],
    rng: Generator,
) -> Node:
    """Return the scores node of a chain of dense layers: X, Z1 = X W1 + b1, A1 = layer(Z1), ..."""
    if isinstance(architecture, str) or not isinstance(architecture, Sequence | np.ndarray) or len(architecture) < 2:
        raise GraphError(f"an architecture is a list of two or more widths such as [2, 3, 2], got {architecture!r}")
    fan_in = whole_number(architecture[0], "the input width", 1)
    *hidden, last = architecture[1:]
    layers = [item if isinstance(item, Dense) else Dense(item, layer) for item in hidden]
    layers.append(last if isinstance(last, Dense) else Dense(last, last_layer))
    A: Node = Input("X")
    for i, dense in enumerate(layers, start=1):
        W, b = (dense.initializer or initializer)(rng, fan_in, dense.width)
        if np.shape(W) != (fan_in, dense.width) or np.shape(b) != (dense.width,):
            raise GraphError(
                f"the initializer must return W of shape {(fan_in, dense.width)} and b of shape {(dense.width,)}, "
                f"got {np.shape(W)} and {np.shape(b)}"
            )
        has_bias = use_bias if dense.use_bias is None else dense.use_bias
        Z = MultiplyGate()(Parameter(np.asarray(W, dtype), f"W{i}"), A, name=f"{A.name}W{i}" if has_bias else f"Z{i}")
        if has_bias:
            Z = AddGate()(Z, Parameter(np.asarray(b, dtype), f"b{i}"), name=f"Z{i}")
        A = Z if dense.layer is None else dense.layer(Z, name=f"A{i}")
        fan_in = dense.width
    return A
