"""What `fit` is given beside the examples: what each weighs, and what is held out to judge by."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from gates.arrays import Array, as_array, first
from nngraph.graph import Graph
from nngraph.optimizers import Optimizer, ScipyMinimize
from nngraph.training import EVENTS, Callback
from nngraph.validation import finite, instance, not_negative

Metric: TypeAlias = Callable[[Any, Any], Any]


def sample_weights(given: Any, rows: int, dtype: np.dtype[Any]) -> Array:
    """Return one weight per row; raise ValueError unless they are finite, not negative, and not all zero."""
    weights = as_array(given, "sample_weight", ValueError)
    if weights.shape != (rows,):
        raise ValueError(
            f"sample_weight must have one weight for each of the {rows} rows of X, got shape {weights.shape}"
        )
    with np.errstate(over="ignore"):
        weights = finite(weights.astype(dtype), "sample_weight")
    if (weights < 0).any():
        _, position = first(weights < 0)
        raise ValueError(f"sample_weight must not be negative, got {weights[weights < 0][0]} at [{position}]")
    if not weights.any():
        raise ValueError("sample_weight must not be zero everywhere: then there is nothing to learn")
    return weights


def class_weights(given: Any, y: Array, dtype: np.dtype[Any]) -> Array:
    """Return the weight of every row's class.

    Parameters
    ----------
    given : "balanced", or mapping from label to weight
        "balanced" is ``rows / (classes * rows of the class)``, as in scikit-learn; labels that a mapping leaves out
        weigh 1.
    y : array of shape (rows,)
        Integer labels.
    """
    if y.ndim != 1 or y.dtype.kind not in "iub":
        raise ValueError(
            f"class_weight goes with integer labels of shape (examples,), got targets of shape {y.shape}, {y.dtype}; "
            "use sample_weight"
        )
    labels, which, counts = np.unique(y, return_inverse=True, return_counts=True)
    if isinstance(given, str) and given == "balanced":
        return (len(y) / (len(labels) * counts))[which].astype(dtype)
    if not isinstance(given, Mapping):
        raise ValueError(f"class_weight must be 'balanced' or a dict from label to weight, got {given!r}")
    unknown = [label for label in given if label not in labels]
    if unknown:
        raise ValueError(f"class_weight: no example has the label {unknown[0]!r}; there are {labels.tolist()}")
    table = [not_negative(given.get(label, 1.0), f"class_weight[{label}]") for label in labels.tolist()]
    if not any(table):
        raise ValueError("class_weight must not be zero for all classes: then there is nothing to learn")
    with np.errstate(over="ignore"):
        return finite(np.array(table, dtype), "class_weight")[which]


def held_out(share: Any, y: Array, labels: bool, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return the numbers of the rows to train on, and of those held out; of labels each class gives its share.

    Of several columns of labels there may be too many combinations for that: then it is left to chance.
    """
    if not 0 < share < 1:
        advice = f"; write {share / 100:g} for {share:g} percent" if 1 < share < 100 else ""
        raise ValueError(f"validation, as the fraction to hold out, must be above 0 and below 1, got {share!r}{advice}")
    # Loaded when it is needed: it takes longer than all of nngraph.
    split = importlib.import_module("sklearn.model_selection").train_test_split
    # Of a copy: a training that is refused later has drawn nothing.
    seed = int(copy.deepcopy(rng).integers(2**31))
    try:
        alike = y if labels and y.ndim == 1 else None
        kept, out = split(np.arange(len(y)), test_size=share, stratify=alike, random_state=seed)
    except ValueError as error:
        raise ValueError(f"validation={share:g} cannot be held out: {error}") from error
    return np.sort(kept), np.sort(out)


def validation_arrays(validation: Any) -> tuple[Any, Any, Any]:
    """Return X, y and weights (or None) of validation data as they were given."""
    if not isinstance(validation, Sequence) or isinstance(validation, str) or len(validation) not in (2, 3):
        raise ValueError(
            "validation must be (X_val, y_val), (X_val, y_val, weights), or a fraction to hold out such as 0.2, "
            f"got {type(validation).__name__}"
        )
    X, y, *weights = validation
    return X, y, weights[0] if weights else None


def check_flags(shuffle: Any, progress: Any) -> None:
    """Raise ValueError unless both are True or False; shuffle may be a function, too."""
    instance(progress, bool, "progress")
    if not callable(shuffle) or isinstance(shuffle, type):
        instance(shuffle, bool, "shuffle")


def check_optimizer(optimizer: Any) -> None:
    """Raise ValueError unless it is one, with a rate; a class or a name is often given instead."""
    if not isinstance(optimizer, Optimizer | ScipyMinimize):
        advice = f"; write {optimizer.__name__}()" if isinstance(optimizer, type) else ""
        raise ValueError(
            "optimizer must be an Optimizer such as Adam(0.001), or ScipyMinimize('L-BFGS-B'), "
            f"got {optimizer!r}{advice}"
        )
    if isinstance(optimizer, Optimizer):
        name = type(optimizer).__name__
        if not hasattr(optimizer, "rate"):
            raise ValueError(f"{name} has no rate: call super().__init__(rate) in its __init__")
        not_negative(optimizer.rate, f"{name}: rate")


def check_alone(optimizer: ScipyMinimize, given: Mapping[str, Any], graph: Graph) -> None:
    """Raise ValueError if something is given that goes with steps of our own only."""
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"{name} does not go with {optimizer!r}: it takes all examples at once, and its own steps")
    if graph.randoms:
        raise ValueError(f"dropout does not go with {optimizer!r}, which needs the same loss for the same weights")


def check_schedule(schedule: Any) -> None:
    """Raise ValueError unless it is None or a function."""
    if isinstance(schedule, type) or not (schedule is None or callable(schedule)):
        advice = f"; write {schedule.__name__}()" if isinstance(schedule, type) else ""
        raise ValueError(f"schedule must be a function (epoch, epochs) -> factor or None, got {schedule!r}{advice}")


def check_callbacks(callbacks: Any) -> list[Any]:
    """Return a list of callbacks; raise ValueError if one is none, or is given twice."""
    if not isinstance(callbacks, Sequence):
        raise ValueError(f"callbacks must be a list of them, got {callbacks!r}")
    for callback in callbacks:
        instance(callback, Callback, "a callback")
        for name in dir(callback):
            event = name.endswith(("_begin", "_end", "_begins", "_ends")) or name.startswith("on_")
            if event and name[0] != "_" and name not in EVENTS:
                kind = type(callback).__name__
                raise ValueError(f"{kind}.{name} would never be called: the events are {', '.join(EVENTS)}")
    if len({id(callback) for callback in callbacks}) < len(callbacks):
        raise ValueError(f"a callback is given twice: {callbacks!r}")
    return list(callbacks)


def check_metrics(metrics: Any) -> dict[str, Metric]:
    """Return functions of targets and predictions by name."""
    if isinstance(metrics, str) or not isinstance(metrics, Sequence):
        raise ValueError(f"metrics must be a list such as ['accuracy'], got {metrics!r}")
    found: dict[str, Metric] = {}
    for metric in metrics:
        if callable(metric) and not isinstance(metric, type):
            name, function = getattr(metric, "__name__", type(metric).__name__), metric
        elif metric == "accuracy":
            name, function = "accuracy", accuracy
        else:
            raise ValueError(f"a metric must be 'accuracy' or a function of targets and predictions, got {metric!r}")
        if name in found or name in ("epoch", "loss", "objective", "rate", "seconds"):
            raise ValueError(f"two columns of the history would be called {name!r}; give the metric another __name__")
        if name.startswith("validation_"):
            raise ValueError(f"a metric's name must not begin with 'validation_', as those of others do, got {name!r}")
        found[name] = function
    return found


def accuracy(y: Array, predictions: Array) -> float:
    """Return the share of the examples whose prediction is the target, in all columns if there are several."""
    right = predictions.reshape(y.shape) == y
    return float(right.reshape(len(y), -1).all(axis=1).mean())


def check_accuracy(y: Array, predictions: Array) -> None:
    """Raise ValueError if what is predicted for some rows is nothing that their targets could be compared with."""
    if predictions.dtype.kind == "f":
        raise ValueError(
            "the accuracy compares labels, and this output predicts numbers; give a function of targets and "
            "predictions in metrics=..., such as scikit-learn's r2_score"
        )
    if predictions.size != y[: len(predictions)].size:
        raise ValueError(
            f"the accuracy compares targets of shape {y.shape[1:]} in each row with predictions of shape "
            f"{predictions.shape[1:]}; give a function of targets and predictions in metrics=..."
        )


def check_labels_seen(y: Array, y_validation: Array) -> None:
    """Raise ValueError if a label of the validation data is none of the training data."""
    unseen = np.setdiff1d(y_validation, y)
    if len(unseen):
        raise ValueError(
            f"validation: the label {unseen[0]} is in the validation data only, and cannot be learned; the training "
            f"data have {np.unique(y).tolist()}"
        )
