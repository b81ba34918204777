"""Architectures: the layers of a model by their widths, chained into a graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np

from gates.arithmetic import AddGate, ElementwiseProductGate, MultiplyGate
from gates.arrays import Array, as_array
from gates.contract import Gate, check_count
from gates.losses import OutputGate
from gates.normalization import LayerNormGate, StandardizeGate
from gates.shaping import MeanGate, VarianceGate
from nngraph.initializers import Generator, Initializer
from nngraph.nodes import GraphError, Input, Node, Parameter, Random, Running
from nngraph.validation import finite, fraction, instance, positive, whole_number


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


@dataclass(frozen=True)
class Dropout:
    """``A M / (1 - rate)``, M drawn anew in every step: 0 with probability `rate`, else 1. After training ``A``.

    Parameters
    ----------
    rate : float, default=0.5
        The share of the units that a step leaves out, at least 0 and below 1.

    References
    ----------
    Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov: Dropout: a simple way to prevent neural networks from
    overfitting. Journal of Machine Learning Research 15, 2014.
    """

    rate: float = 0.5

    def __post_init__(self) -> None:
        fraction(self.rate, "the rate of a Dropout")

    def __call__(self, A: Node, number: str | None = None) -> Node:
        """Return the node of what is left of a node; with a number, it is called dropout1, and its factor mask1."""
        mask = Random(self.draw, like=A, value=1.0, name=_name("mask", number))
        node: Node = ElementwiseProductGate()(A, mask, name=_name("dropout", number))
        return node

    def draw(self, rng: np.random.Generator, out: Array) -> None:
        """Fill an array with masks."""
        rng.random(dtype=out.dtype, out=out)
        np.greater_equal(out, self.rate, out=out)
        np.multiply(out, 1 / (1 - self.rate), out=out)


@dataclass(frozen=True)
class BatchNorm:
    """``gamma (A - mean) / sqrt(variance + epsilon) + beta``, by the batch in training, then by running averages.

    gamma and beta are learned, one of each for every column; a penalty on all weights leaves them alone. The averages
    are those of `Running`, of the unbiased variance.

    Parameters
    ----------
    momentum : float, default=0.1
        How much of the averages a step replaces.
    epsilon : float, default=1e-5
        Keeps a column that is constant finite.

    References
    ----------
    Ioffe, Szegedy: Batch normalization: accelerating deep network training by reducing internal covariate shift. ICML
    2015.
    """

    momentum: float = 0.1
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        fraction(self.momentum, "the momentum of a BatchNorm", one=True)
        positive(self.epsilon, "the epsilon of a BatchNorm")

    def __call__(self, A: Node, width: int, dtype: Any = np.float64, number: str | None = None) -> Node:
        """Return the node of a node of so many columns, normalised; numbered parts are called gamma1, mean1, ..."""
        batch_mean = MeanGate(axis=0)(A, name=_name("batch_mean", number))
        batch_variance = VarianceGate(axis=0)(A, name=_name("batch_variance", number))
        mean = Running(batch_mean, np.zeros(width, dtype), self.momentum, name=_name("mean", number))
        variance = Running(
            batch_variance, np.ones(width, dtype), self.momentum, unbiased=True, name=_name("variance", number)
        )
        gamma, beta = _scale_and_shift(width, dtype, number)
        node: Node = StandardizeGate(self.epsilon)(A, mean, variance, gamma, beta, name=_name("batch_norm", number))
        return node


@dataclass(frozen=True)
class LayerNorm:
    """``gamma (A - mean) / sqrt(variance + epsilon) + beta``, mean and variance over the units of each example.

    gamma and beta are learned, one of each for every column; a penalty on all weights leaves them alone.

    Parameters
    ----------
    epsilon : float, default=1e-5
        Keeps an example whose units are all equal finite.

    References
    ----------
    Ba, Kiros, Hinton: Layer normalization. arXiv:1607.06450, 2016.
    """

    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        positive(self.epsilon, "the epsilon of a LayerNorm")

    def __call__(self, A: Node, width: int, dtype: Any = np.float64, number: str | None = None) -> Node:
        """Return the node of a node of so many columns, normalised; numbered parts are called gamma1 and beta1."""
        gamma, beta = _scale_and_shift(width, dtype, number)
        node: Node = LayerNormGate(self.epsilon)(A, gamma, beta, name=_name("layer_norm", number))
        return node


def _scale_and_shift(width: int, dtype: Any, number: str | None) -> tuple[Parameter, Parameter]:
    return (
        Parameter(np.ones(width, dtype), _name("gamma", number)),
        Parameter(np.zeros(width, dtype), _name("beta", number)),
    )


def _name(word: str, number: str | None) -> str | None:
    return None if number is None else f"{word}{number}"


Layer: TypeAlias = int | Dense | Dropout | BatchNorm | LayerNorm | Gate


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
    """Return the scores node of a chain of layers: X, Z1 = X W1 + b1, A1 = layer(Z1), ...

    What follows a dense layer has its number: dropout1, batch_norm1, A1; a second one of a kind is A1_2.
    """
    instance(use_bias, bool, "use_bias")
    for given in (layer, last_layer):
        check_layer(given)
    sequence = isinstance(architecture, Sequence | np.ndarray) and not isinstance(architecture, str | bytes)
    items = list(architecture) if sequence and np.shape(architecture) != () else []
    if len(items) < 2:
        raise GraphError(f"an architecture is a list of two or more widths such as [2, 3, 2], got {architecture!r}")
    fan_in = whole_number(items[0], "the input width", 1)
    layers = [_specification(item, layer) for item in items[1:]]
    dense = [i for i, item in enumerate(layers) if isinstance(item, Dense)]
    if not dense:
        raise GraphError(f"an architecture needs a width or a Dense after the input width, got {architecture!r}")
    if not isinstance(items[1 + dense[-1]], Dense):
        layers[dense[-1]] = Dense(items[1 + dense[-1]], last_layer)
    A: Node = Input("X")
    taken: Counter[str] = Counter()
    i = 0
    for item in layers:
        if isinstance(item, Dense):
            i += 1
            A = _dense(item, A, i, (fan_in, use_bias, initializer, dtype, rng))
            fan_in = item.width
            taken[f"A{i}"] += item.layer is not None
            continue
        kind = "A" if isinstance(item, Gate) else "dropout" if isinstance(item, Dropout) else "norm"
        taken[f"{kind}{i}"] += 1
        number = f"{i}" if taken[f"{kind}{i}"] == 1 else f"{i}_{taken[f'{kind}{i}']}"
        if isinstance(item, Gate):
            A = item(A, name=f"A{number}")
        else:
            A = item(A, number=number) if isinstance(item, Dropout) else item(A, fan_in, dtype, number)
    return A


def _specification(item: Any, layer: Gate) -> Any:
    """Return what stands in an architecture, a width as a Dense; raise ValueError if it is nothing that may."""
    if isinstance(item, Dense | Dropout | BatchNorm | LayerNorm):
        return item
    if isinstance(item, Gate):
        check_layer(item)
        return item
    for kind in (Dense, Dropout, BatchNorm, LayerNorm, Gate):
        if isinstance(item, type) and issubclass(item, kind):
            width = "width" if kind is Dense else ""
            raise GraphError(f"an architecture has instances, got {item!r}; write {item.__name__}({width})")
    return Dense(item, layer)


def _dense(dense: Dense, A: Node, i: int, settings: tuple[int, bool, Initializer, np.dtype[Any], Generator]) -> Node:
    fan_in, use_bias, initializer, dtype, rng = settings
    W, b = _initial(dense.initializer or initializer, rng, fan_in, dense.width, dtype)
    has_bias = use_bias if dense.use_bias is None else dense.use_bias
    Z: Node = MultiplyGate()(Parameter(W, f"W{i}"), A, name=f"{A.name}W{i}" if has_bias else f"Z{i}")
    if has_bias:
        Z = AddGate()(Z, Parameter(b, f"b{i}"), name=f"Z{i}")
    return Z if dense.layer is None else cast("Node", dense.layer(Z, name=f"A{i}"))


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
