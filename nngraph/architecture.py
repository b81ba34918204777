"""Architectures: the layers of a model by their widths, chained into a graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gates.arithmetic import AddGate, MultiplyGate
from gates.arrays import Array, as_array
from gates.contract import Gate, check_count
from gates.losses import OutputGate
from nngraph.initializers import Generator, Initializer
from nngraph.nodes import GraphError, Input, Node, Parameter
from nngraph.validation import finite, instance, whole_number


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
        check_layer(self.layer)


def check_layer(layer: Any) -> None:
    """Raise ValueError unless `layer` is a gate of one input, or None."""
    if layer is not None:
        instance(layer, Gate, "a layer")
        if isinstance(layer, OutputGate):
            raise GraphError(f"{layer!r} is an output, no layer: give output=..., or the layer SoftmaxLayer()")
        check_count(layer, 1)


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
    instance(use_bias, bool, "use_bias")
    for given in (layer, last_layer):
        check_layer(given)
    sequence = isinstance(architecture, Sequence | np.ndarray) and not isinstance(architecture, str | bytes)
    items = list(architecture) if sequence and np.ndim(architecture) else []
    if len(items) < 2:
        raise GraphError(f"an architecture is a list of two or more widths such as [2, 3, 2], got {architecture!r}")
    fan_in = whole_number(items[0], "the input width", 1)
    *hidden, last = items[1:]
    layers = [item if isinstance(item, Dense) else Dense(item, layer) for item in hidden]
    layers.append(last if isinstance(last, Dense) else Dense(last, last_layer))
    A: Node = Input("X")
    for i, dense in enumerate(layers, start=1):
        W, b = _initial(dense.initializer or initializer, rng, fan_in, dense.width, dtype)
        has_bias = use_bias if dense.use_bias is None else dense.use_bias
        Z = MultiplyGate()(Parameter(W, f"W{i}"), A, name=f"{A.name}W{i}" if has_bias else f"Z{i}")
        if has_bias:
            Z = AddGate()(Z, Parameter(b, f"b{i}"), name=f"Z{i}")
        A = Z if dense.layer is None else dense.layer(Z, name=f"A{i}")
        fan_in = dense.width
    return A


def _initial(initializer: Any, rng: Generator, fan_in: int, fan_out: int, dtype: np.dtype[Any]) -> list[Array]:
    """Draw W and b, and hold the initialiser to its contract."""
    if not callable(initializer):
        raise GraphError(f"the initializer must be a function (rng, fan_in, fan_out) -> (W, b), got {initializer!r}")
    drawn = initializer(rng, fan_in, fan_out)
    if not isinstance(drawn, tuple | list) or len(drawn) != 2:
        raise GraphError(f"the initializer must return the pair (W, b), got {type(drawn).__name__}")
    arrays = []
    for name, value, shape in zip("Wb", drawn, ((fan_in, fan_out), (fan_out,)), strict=True):
        array = as_array(value, f"the initializer's {name}", GraphError)
        if array.shape != shape:
            raise GraphError(f"the initializer's {name} must have shape {shape}, got {array.shape}")
        arrays.append(finite(array.astype(dtype), f"the initializer's {name}"))
    return arrays
