"""Layers and losses by the names that scikit-learn gives them, and the architecture that an estimator asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from types import MappingProxyType
from typing import Any

import numpy as np

from gates.contract import Gate
from gates.layers import ELU, GELU, LeakyReLU, ReLU, Sigmoid, SiLU, SoftmaxLayer, Softplus, Tanh
from gates.losses import OutputGate
from gates.outputs import AbsoluteError, HalfSquaredError, Hinge, Huber, Logistic, Poisson, Softmax
from nngraph.architecture import BatchNorm, Dense, Dropout, Layer
from nngraph.validation import fraction

ACTIVATIONS: Mapping[str, Gate | None] = MappingProxyType(
    {
        "identity": None,
        "logistic": Sigmoid(),
        "tanh": Tanh(),
        "relu": ReLU(),
        "elu": ELU(),
        "gelu": GELU(),
        "leaky_relu": LeakyReLU(),
        "silu": SiLU(),
        "softmax": SoftmaxLayer(),
        "softplus": Softplus(),
    }
)

# Several columns of scores are as many targets of one row: their losses are added up, and the rows averaged.
REGRESSION_LOSSES: Mapping[str, OutputGate] = MappingProxyType(
    {
        "squared_error": HalfSquaredError(reduction="batchmean"),
        "poisson": Poisson(reduction="batchmean"),
        "absolute_error": AbsoluteError(reduction="batchmean"),
        "huber": Huber(reduction="batchmean"),
    }
)

# "log_loss" is one of three, see `classification_loss`.
CLASSIFICATION_LOSSES: Mapping[str, OutputGate] = MappingProxyType(
    {
        "hinge": Hinge(),
        "squared_error": HalfSquaredError(reduction="batchmean"),
    }
)


def classification_loss(loss: str | OutputGate, classes: int, *, multilabel: bool) -> OutputGate:
    """Return the output for a loss of a classifier; raise ValueError if it does not go with these targets."""
    if isinstance(loss, str) and loss == "log_loss":
        if multilabel:
            return Logistic(reduction="batchmean")
        return Logistic() if classes == 2 else Softmax()
    output = CLASSIFICATION_LOSSES[loss] if isinstance(loss, str) else loss
    if multilabel and not isinstance(output, Logistic):
        raise ValueError(f"loss={loss!r} does not go with several labels at once; take 'log_loss' or a Logistic")
    if isinstance(output, Logistic) and not multilabel and classes > 2:
        raise ValueError(
            f"loss={loss!r} is for two classes, or several labels at once, but y has {classes} classes; take "
            "'log_loss', which is a Softmax then"
        )
    return output


def architecture(hidden: Any, activation: Any, dropout: Any, batch_norm: bool, columns: tuple[int, int]) -> list[Layer]:
    """Return what `Model` takes.

    Parameters
    ----------
    hidden : int or sequence
        Widths, and whatever else may stand in an architecture.
    activation : str, Gate, or sequence of these
        Of all hidden layers that are given by a width, or one for each.
    dropout : float or sequence of floats
        Likewise: what follows each of these layers.
    batch_norm : bool
        Whether each is normalised before its activation.
    columns : (int, int)
        How many features there are, and how many scores.

    Raises
    ------
    ValueError
        If the numbers of these things differ, or one is of no use.
    """
    items = list(hidden) if isinstance(hidden, Sequence | np.ndarray) else [hidden]
    for item in items:
        if isinstance(item, bool | list | tuple | np.ndarray):
            raise ValueError(f"hidden_layer_sizes must be a width, or one list of widths and layers, got {hidden!r}")
    widths = [item for item in items if isinstance(item, Integral)]
    if any(width <= 0 for width in widths):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {items}.")
    layers = _each(activation, len(widths), "activation")
    rates = [fraction(rate, "dropout") for rate in _each(dropout, len(widths), "dropout")]
    found: list[Layer] = [columns[0]]
    given = iter(zip(map(_layer, layers), rates, strict=True))
    for item in items:
        if not isinstance(item, Integral):
            found.append(item)
            continue
        layer, rate = next(given)
        between = [BatchNorm()] if batch_norm else []
        found += [Dense(int(item)), *between, *([] if layer is None else [layer]), *([Dropout(rate)] if rate else [])]
    return [*found, Dense(columns[1])]


def _each(value: Any, count: int, name: str) -> list[Any]:
    """Return one value for each hidden layer."""
    if isinstance(value, str | Gate) or value is None or np.ndim(value) == 0:
        return [value] * count
    values = list(value)
    if len(values) != count:
        raise ValueError(
            f"{name} must be one for all hidden layers or one for each of the {count} that are given by a width, "
            f"got {len(values)}: {value!r}"
        )
    return values


def _layer(value: Any) -> Gate | None:
    if isinstance(value, Gate) or value is None:
        return value
    if not isinstance(value, str) or value not in ACTIVATIONS:
        advice = f"; write {value.__name__}()" if isinstance(value, type) and issubclass(value, Gate) else ""
        names = ", ".join(map(repr, ACTIVATIONS))
        raise ValueError(f"activation must be one of {names}, or a gate of one input; got {value!r}{advice}")
    return ACTIVATIONS[value]
