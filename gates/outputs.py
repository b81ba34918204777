"""Outputs: losses of scores against targets, each with its true gradient and its prediction."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import scipy

from gates.contract import Array, Gate, GateError
from gates.layers import log_softmax, softmax
from gates.shaping import check_labels

Reduction = Literal["mean", "sum"]
ClassWeight = Mapping[int, float] | Sequence[float] | None


class OutputGate(Gate):
    """``loss = sum(w l(scores, targets)) / m``, m the sum of the weights for a mean, 1 for a sum.

    A subclass writes `losses`, its derivative `slopes`, and `predict`; weights, the reduction and the checks of the
    targets are done here. `forward` and `backward` take an optional third input, sample_weight: one weight per row.

    Parameters
    ----------
    reduction : {"mean", "sum"}, default="mean"
        Whether the losses are averaged (by their weights) or summed.
    """

    # Whether `losses` gives one loss per row of scores, or one per element.
    per_row: ClassVar[bool] = False

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        if reduction not in ("mean", "sum"):
            raise GateError(f"{type(self).__name__}: reduction must be 'mean' or 'sum', got {reduction!r}")
        self.reduction = reduction

    @abstractmethod
    def losses(self, scores: Array, targets: Array) -> Array:
        """Return l, unweighted: per element of scores, or per row when `per_row` is set."""

    @abstractmethod
    def slopes(self, scores: Array, targets: Array) -> Array:
        """Return dl/dscores, in the shape of scores."""

    @abstractmethod
    def predict(self, scores: Array) -> Array:
        """Return what the scores predict: labels, or values."""

    def predict_proba(self, scores: Array) -> Array:
        """Return one column of probabilities per class, for the outputs that model them."""
        raise GateError(f"{type(self).__name__} gives no probabilities; Softmax and Logistic do")

    def prepare(self, scores: Array, targets: Array) -> Array:
        """Return the targets as `losses` expects them, in the shape and dtype of the scores; raise GateError if bad."""
        column = scores.ndim == 2 and scores.shape[1] == 1 and targets.shape == scores.shape[:1]
        if targets.shape != scores.shape and not column:
            raise GateError(f"targets must have the shape of the scores, {scores.shape}, got {targets.shape}")
        return targets.reshape(scores.shape).astype(scores.dtype, copy=False)

    def class_weights(self, scores: Array, targets: Array) -> Array | None:
        """Return the weight that its class gives each loss, None when classes weigh the same."""
        return None

    def weights(self, scores: Array, targets: Array, sample_weight: Array | None = None) -> Array:
        """Return w, one weight per loss; `targets` as `prepare` returned them."""
        shape = scores.shape[:-1] if self.per_row else scores.shape
        weights = np.ones(shape, scores.dtype)
        by_class = self.class_weights(scores, targets)
        if by_class is not None:
            weights = weights * by_class
        if sample_weight is not None:
            if sample_weight.shape != shape[:1]:
                raise GateError(f"sample_weight must be one weight per row, {shape[:1]}, got {sample_weight.shape}")
            if not (np.isfinite(sample_weight).all() and (sample_weight >= 0).all()):
                raise GateError("sample_weight must hold finite weights, none negative")
            weights = weights * sample_weight.reshape(-1, *[1] * (len(shape) - 1)).astype(scores.dtype)
        return weights

    def divisor(self, scores: Array, targets: Array, sample_weight: Array | None = None) -> Any:
        """Return the total weight of the losses: their mean is their sum over it."""
        return _total(self.weights(scores, self.prepare(scores, targets), sample_weight))

    def forward(self, scores: Array, targets: Array, sample_weight: Array | None = None) -> Any:
        targets = self.prepare(scores, targets)
        weights = self.weights(scores, targets, sample_weight)
        loss = (weights * self.losses(scores, targets)).sum()
        return loss / _total(weights) if self.reduction == "mean" else loss

    def backward(self, scores: Array, targets: Array, *sample_weight_and_dloss: Array) -> tuple[Array | None, ...]:
        *sample_weight, dloss = sample_weight_and_dloss
        targets = self.prepare(scores, targets)
        weights = self.weights(scores, targets, *sample_weight)
        dlosses = weights * (dloss / _total(weights) if self.reduction == "mean" else dloss)
        slopes = self.slopes(scores, targets)
        return slopes * (dlosses[..., None] if self.per_row else dlosses), None, *(None for _ in sample_weight)


class ClassOutput(OutputGate):
    """``w = class_weight[label]``: what the outputs that predict a class share.

    Parameters
    ----------
    class_weight : sequence of floats, or dict from label to float, default=None
        The weight of each class in the loss; labels that a dict leaves out weigh 1.
    reduction : {"mean", "sum"}, default="mean"
        Whether the losses are averaged (by their weights) or summed.
    """

    def __init__(self, *, class_weight: ClassWeight = None, reduction: Reduction = "mean") -> None:
        super().__init__(reduction=reduction)
        given = class_weight.values() if isinstance(class_weight, Mapping) else class_weight
        if given is not None and not all(np.isfinite(w) and w >= 0 for w in given):
            raise GateError(f"{type(self).__name__}: class_weight must be finite and not negative, got {class_weight}")
        self.class_weight = class_weight

    def class_weights(self, scores: Array, targets: Array) -> Array | None:
        if self.class_weight is None:
            return None
        count = max(scores.shape[-1], 2) if self.per_row else 2
        if isinstance(self.class_weight, Mapping):
            unknown = set(self.class_weight) - set(range(count))
            table = [self.class_weight.get(label, 1.0) for label in range(count)]
        else:
            unknown, table = set(range(count, len(self.class_weight))), list(self.class_weight)
        if unknown or len(table) != count:
            raise GateError(f"class_weight must have a weight for each of the {count} classes, got {self.class_weight}")
        by_class = np.array(table, scores.dtype)
        if targets.dtype.kind in "iu":
            return by_class[targets]
        # Probabilities: each class counts as far as it is probable.
        return targets @ by_class if self.per_row else by_class[0] + (by_class[1] - by_class[0]) * targets


class Softmax(ClassOutput):
    """``l = log(sum(exp(s))) - s[y]``, the cross-entropy of softmax(s); ``dl/ds = softmax(s) - onehot(y)``.

    Scores s have shape (..., k), k >= 2: any real numbers, not probabilities. Targets are integer labels (...), or a
    row of class probabilities p (..., k) for ``l = -sum(p log(softmax(s)))``.

    Parameters
    ----------
    class_weight : sequence of floats, or dict from label to float, default=None
        The weight of each class; a row of probabilities has the mean weight of its classes.
    reduction : {"mean", "sum"}, default="mean"
        Whether the losses are averaged (by their weights) or summed.

    References
    ----------
    Bishop: Pattern recognition and machine learning. Springer, 2006, section 4.3.4.
    """

    per_row = True

    def prepare(self, scores: Array, targets: Array) -> Array:
        if scores.ndim < 2 or scores.shape[-1] < 2:
            raise GateError(f"scores must have a column for each of two or more classes, got shape {scores.shape}")
        if targets.shape == scores.shape:
            if not ((targets >= 0).all() and np.allclose(targets.sum(axis=-1), 1, atol=1e-6)):
                raise GateError("targets of the scores' shape must be probabilities: rows that are >= 0 and sum to 1")
            return targets.astype(scores.dtype, copy=False)
        return _class_labels(scores, targets)

    def losses(self, scores: Array, targets: Array) -> Array:
        logs = log_softmax(scores)
        if targets.dtype.kind == "f":
            return -np.sum(targets * logs, axis=-1)
        return -np.take_along_axis(logs, targets[..., None], axis=-1)[..., 0]

    def slopes(self, scores: Array, targets: Array) -> Array:
        if targets.dtype.kind == "f":
            return softmax(scores) - targets
        return softmax(scores) - (targets[..., None] == np.arange(scores.shape[-1]))

    def predict(self, scores: Array) -> Array:
        return scores.argmax(axis=-1)

    def predict_proba(self, scores: Array) -> Array:
        return softmax(scores)


class Logistic(ClassOutput):
    """``l = log(1 + exp(s)) - t s``, the cross-entropy of sigmoid(s); ``dl/ds = sigmoid(s) - t``.

    Each element of the scores is a decision of its own: one column for two classes, k columns for k labels that may
    hold together. Targets t are 0 or 1, or probabilities, in the scores' shape; (n,) goes with one column too.

    Parameters
    ----------
    class_weight : sequence of two floats, or dict, default=None
        The weights of 0 and of 1; a probability lies between them.
    reduction : {"mean", "sum"}, default="mean"
        Whether the losses are averaged (by their weights) or summed, over rows and columns.
    """

    def prepare(self, scores: Array, targets: Array) -> Array:
        prepared = super().prepare(scores, targets)
        wrong = ~((prepared >= 0) & (prepared <= 1))
        if wrong.any():
            raise GateError(f"targets must be 0, 1, or a probability between, got {prepared[wrong][0]}")
        return prepared

    def losses(self, scores: Array, targets: Array) -> Array:
        return np.logaddexp(scores, 0) - targets * scores

    def slopes(self, scores: Array, targets: Array) -> Array:
        return scipy.special.expit(scores) - targets

    def predict(self, scores: Array) -> Array:
        return _drop_column((scores > 0).astype(np.intp))

    def predict_proba(self, scores: Array) -> Array:
        """Return the probability of each label (n, k); for one column, of both classes (n, 2)."""
        if scores.ndim == 2 and scores.shape[1] > 1:
            return scipy.special.expit(scores)
        column = scores.reshape(-1, 1)
        return scipy.special.expit(np.concatenate([-column, column], axis=1))


class SquaredError(OutputGate):
    """``l = (s - t)^2``; ``dl/ds = 2 (s - t)``.

    The mean is over rows and columns, as in PyTorch and Keras; ``reduction="sum"`` is the sum of squares.
    """

    def losses(self, scores: Array, targets: Array) -> Array:
        return (scores - targets) ** 2

    def slopes(self, scores: Array, targets: Array) -> Array:
        return 2 * (scores - targets)

    def predict(self, scores: Array) -> Array:
        return _drop_column(scores)


class AbsoluteError(OutputGate):
    """``l = |s - t|``; ``dl/ds = sign(s - t)``, 0 where they are equal."""

    def losses(self, scores: Array, targets: Array) -> Array:
        return np.abs(scores - targets)

    def slopes(self, scores: Array, targets: Array) -> Array:
        return np.sign(scores - targets)

    def predict(self, scores: Array) -> Array:
        return _drop_column(scores)


class Huber(OutputGate):
    """``l = r^2 / 2`` where ``|r| <= delta``, else ``delta (|r| - delta / 2)``, r = s - t; ``dl/ds = clip(r)``.

    Parameters
    ----------
    delta : float, default=1.0
        Where the square turns into a straight line; also the largest slope.
    reduction : {"mean", "sum"}, default="mean"
        Whether the losses are averaged (by their weights) or summed, over rows and columns.

    References
    ----------
    Huber: Robust estimation of a location parameter. Annals of Mathematical Statistics 35, 1964.
    """

    def __init__(self, delta: float = 1.0, *, reduction: Reduction = "mean") -> None:
        super().__init__(reduction=reduction)
        if not 0 < delta < np.inf:
            raise GateError(f"Huber: delta must be positive and finite, got {delta}")
        self.delta = delta

    def losses(self, scores: Array, targets: Array) -> Array:
        distance = np.abs(scores - targets)
        square = np.minimum(distance, self.delta)
        return square * (distance - square / 2)

    def slopes(self, scores: Array, targets: Array) -> Array:
        return np.clip(scores - targets, -self.delta, self.delta)

    def predict(self, scores: Array) -> Array:
        return _drop_column(scores)


class Hinge(ClassOutput):
    """``l = max(0, margin + max_{j != y} s[j] - s[y])``; the slope is 1 at that j, -1 at y, where l > 0.

    Scores have shape (n, k) with labels 0..k-1, or one column (n, 1) with labels 0 and 1 for the binary form
    ``l = max(0, margin - t s)``, t = 2 y - 1.

    Parameters
    ----------
    margin : float, default=1.0
        By how much the score of the right class must lead.
    class_weight : sequence of floats, or dict from label to float, default=None
        The weight of each class.
    reduction : {"mean", "sum"}, default="mean"
        Whether the losses are averaged (by their weights) or summed.

    References
    ----------
    Crammer, Singer: On the algorithmic implementation of multiclass kernel-based vector machines. JMLR 2, 2001.
    """

    per_row = True

    def __init__(self, margin: float = 1.0, *, class_weight: ClassWeight = None, reduction: Reduction = "mean") -> None:
        super().__init__(class_weight=class_weight, reduction=reduction)
        if not 0 <= margin < np.inf:
            raise GateError(f"Hinge: margin must be finite and not negative, got {margin}")
        self.margin = margin

    def prepare(self, scores: Array, targets: Array) -> Array:
        if scores.ndim < 2 or scores.shape[-1] < 1:
            raise GateError(f"scores must have shape (n, 1) or (n, classes), got {scores.shape}")
        return _class_labels(scores, targets)

    def losses(self, scores: Array, targets: Array) -> Array:
        direction = self._direction(scores, targets)
        return np.maximum(self.margin + (direction * scores).sum(axis=-1), 0)

    def slopes(self, scores: Array, targets: Array) -> Array:
        return self._direction(scores, targets) * (self.losses(scores, targets) > 0)[..., None]

    def _direction(self, scores: Array, targets: Array) -> Array:
        """Return the slope of every row whose loss is above zero."""
        if scores.shape[-1] == 1:
            return (1 - 2 * targets[..., None]).astype(scores.dtype)
        classes = np.arange(scores.shape[-1])
        right = targets[..., None] == classes
        rival = np.where(right, -np.inf, scores).argmax(axis=-1)[..., None] == classes
        return rival.astype(scores.dtype) - right.astype(scores.dtype)

    def predict(self, scores: Array) -> Array:
        return (scores[..., 0] > 0).astype(np.intp) if scores.shape[-1] == 1 else scores.argmax(axis=-1)


def _total(weights: Array) -> Any:
    total = weights.sum()
    if not total > 0:
        raise GateError("the weights of all rows add up to zero, so there is nothing to average")
    return total


def _class_labels(scores: Array, targets: Array) -> Array:
    """Return integer labels, one per row of scores; one column of scores stands for two classes."""
    if targets.shape != scores.shape[:-1]:
        advice = "; flatten the column with .ravel()" if targets.shape == (*scores.shape[:-1], 1) else ""
        raise GateError(
            f"labels must have shape {scores.shape[:-1]}, one per row of scores, got {targets.shape}{advice}"
        )
    if targets.dtype.kind == "b":
        targets = targets.astype(np.intp)
    check_labels(targets, max(scores.shape[-1], 2))
    return targets


def _drop_column(values: Array) -> Array:
    """Return a single column (n, 1) as (n,), so that it compares with targets (n,); other shapes as they are."""
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
