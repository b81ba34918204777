"""Outputs: losses of scores against targets, each with its true gradient and its prediction."""

from __future__ import annotations

import numpy as np
import scipy

from gates.arrays import Array, first
from gates.contract import GateError, setting
from gates.layers import log_softmax, softmax
from gates.losses import ClassOutput, ClassWeight, OutputGate, Reduction, class_labels, drop_column


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
        _check_columns(scores)
        if targets.shape == scores.shape:
            wrong = ~((targets >= 0).all(axis=-1) & np.isclose(targets.sum(axis=-1), 1, rtol=0, atol=1e-6))
            if wrong.any():
                at, position = first(wrong)
                raise GateError(
                    "targets of the scores' shape must be probabilities, rows that are >= 0 and sum to 1, "
                    f"got {targets[at].tolist()} at position {position}"
                )
            return targets.astype(scores.dtype, copy=False)
        return class_labels(scores, targets)

    def examples(self, rng: np.random.Generator) -> list[tuple[Array, ...]]:
        """Return scores with labels, and with probabilities."""
        examples = super().examples(rng)
        scores = examples[0][0]
        return [*examples, (scores, softmax(rng.standard_normal(scores.shape)))]

    def losses(self, scores: Array, targets: Array) -> Array:
        if targets.dtype.kind == "f":
            return -np.sum(targets * log_softmax(scores), axis=-1)
        shifted = scores - scores.max(axis=-1, keepdims=True)
        right = np.take_along_axis(shifted, targets[..., None], axis=-1)
        return (np.log(np.exp(shifted).sum(axis=-1, keepdims=True)) - right)[..., 0]

    def slopes(self, scores: Array, targets: Array) -> Array:
        if targets.dtype.kind == "f":
            return softmax(scores) - targets
        return softmax(scores) - (targets[..., None] == np.arange(scores.shape[-1]))

    def predict(self, scores: Array) -> Array:
        return _check_columns(scores).argmax(axis=-1)

    def predict_proba(self, scores: Array) -> Array:
        return softmax(_check_columns(scores))


class Logistic(ClassOutput):
    """``l = log(1 + exp(s)) - t s``, the cross-entropy of sigmoid(s); ``dl/ds = sigmoid(s) - t``.

    Each element of the scores is a decision of its own: one column for two classes, k columns for k labels that may
    hold together. Targets t are 0 or 1, or probabilities, in the scores' shape; (n,) goes with one column too.

    Parameters
    ----------
    class_weight : sequence of two floats, or dict, default=None
        The weights of 0 and of 1; a probability lies between them.
    reduction : {"mean", "batchmean", "sum"}, default="mean"
        Whether the losses are averaged (by their weights), over rows and columns or over rows only, or summed.
    """

    def prepare(self, scores: Array, targets: Array) -> Array:
        prepared = super().prepare(scores, targets)
        wrong = ~((prepared >= 0) & (prepared <= 1))
        if wrong.any():
            at, position = first(wrong)
            raise GateError(
                f"targets must be 0, 1, or a probability between, got {prepared[at]} at position {position}"
            )
        return prepared

    def examples(self, rng: np.random.Generator) -> list[tuple[Array, ...]]:
        """Return scores with targets of 0, 1 and between; columns, a single column, and weights."""
        scores, targets = rng.standard_normal((5, 3)), np.clip(rng.uniform(-0.5, 1.5, (5, 3)), 0, 1)
        return [(scores, targets), (scores[:, :1], targets[:, 0]), (scores, targets, rng.uniform(0.5, 2.0, 5))]

    def losses(self, scores: Array, targets: Array) -> Array:
        # Before the logarithm is added, a large score and its target cancel exactly: a small loss keeps its digits.
        return np.maximum(scores, 0) - targets * scores + np.log1p(np.exp(-np.abs(scores)))

    def slopes(self, scores: Array, targets: Array) -> Array:
        return scipy.special.expit(scores) - targets

    def predict(self, scores: Array) -> Array:
        return drop_column((scores > 0).astype(np.intp))

    def predict_proba(self, scores: Array) -> Array:
        """Return the probability of each label (n, k); for one column, of both classes (n, 2)."""
        if scores.ndim > 1 and scores.shape[1:] != (1,):
            return scipy.special.expit(scores)
        column = scores.reshape(-1, 1)
        return scipy.special.expit(np.concatenate([-column, column], axis=1))


class SquaredError(OutputGate):
    """``l = (s - t)^2``; ``dl/ds = 2 (s - t)``.

    Parameters
    ----------
    reduction : {"mean", "batchmean", "sum"}, default="mean"
        Whether the losses are averaged (by their weights), over rows and columns as in PyTorch and Keras or over rows
        only, or summed.
    """

    def losses(self, scores: Array, targets: Array) -> Array:
        return (scores - targets) ** 2

    def slopes(self, scores: Array, targets: Array) -> Array:
        return 2 * (scores - targets)


class HalfSquaredError(OutputGate):
    """``l = (s - t)^2 / 2``; ``dl/ds = s - t``.

    Parameters
    ----------
    reduction : {"mean", "batchmean", "sum"}, default="mean"
        Whether the losses are averaged (by their weights), over rows and columns or over rows only, or summed.
    """

    def losses(self, scores: Array, targets: Array) -> Array:
        return (scores - targets) ** 2 / 2

    def slopes(self, scores: Array, targets: Array) -> Array:
        return scores - targets


class AbsoluteError(OutputGate):
    """``l = |s - t|``; ``dl/ds = sign(s - t)``, 0 where they are equal.

    Parameters
    ----------
    reduction : {"mean", "batchmean", "sum"}, default="mean"
        Whether the losses are averaged (by their weights), over rows and columns or over rows only, or summed.
    """

    def losses(self, scores: Array, targets: Array) -> Array:
        return np.abs(scores - targets)

    def slopes(self, scores: Array, targets: Array) -> Array:
        return np.sign(scores - targets)


class Huber(OutputGate):
    """``l = r^2 / 2`` where ``|r| <= delta``, else ``delta (|r| - delta / 2)``, r = s - t; ``dl/ds = clip(r)``.

    Parameters
    ----------
    delta : float, default=1.0
        Where the square turns into a straight line; also the largest slope.
    reduction : {"mean", "batchmean", "sum"}, default="mean"
        Whether the losses are averaged (by their weights), over rows and columns or over rows only, or summed.

    References
    ----------
    Huber: Robust estimation of a location parameter. Annals of Mathematical Statistics 35, 1964.
    """

    def __init__(self, delta: float = 1.0, *, reduction: Reduction = "mean") -> None:
        super().__init__(reduction=reduction)
        self.delta = setting(delta, "Huber: delta", "positive")

    def losses(self, scores: Array, targets: Array) -> Array:
        distance = np.abs(scores - targets)
        square = np.minimum(distance, self.delta)
        return square * (distance - square / 2)

    def slopes(self, scores: Array, targets: Array) -> Array:
        return np.clip(scores - targets, -self.delta, self.delta)


class Poisson(OutputGate):
    """``l = exp(s) - t s + t log(t) - t``, half the Poisson deviance of the mean exp(s); ``dl/ds = exp(s) - t``.

    For counts and other targets that are never negative; what is predicted is ``exp(s)``.

    Parameters
    ----------
    reduction : {"mean", "batchmean", "sum"}, default="mean"
        Whether the losses are averaged (by their weights), over rows and columns or over rows only, or summed.

    References
    ----------
    McCullagh, Nelder: Generalized linear models. Chapman and Hall, 1989, section 6.2.
    """

    def prepare(self, scores: Array, targets: Array) -> Array:
        prepared = super().prepare(scores, targets)
        wrong = ~(prepared >= 0)
        if wrong.any():
            at, position = first(wrong)
            raise GateError(f"targets must not be negative, as counts are, got {prepared[at]} at position {position}")
        return prepared

    def examples(self, rng: np.random.Generator) -> list[tuple[Array, ...]]:
        """Return scores with targets that are not negative; columns, a single column, and weights."""
        scores, targets = rng.standard_normal((5, 3)), rng.uniform(0.5, 3.0, (5, 3))
        return [(scores, targets), (scores[:, :1], targets[:, 0]), (scores, targets, rng.uniform(0.5, 2.0, 5))]

    def losses(self, scores: Array, targets: Array) -> Array:
        return np.exp(scores) - targets * scores + scipy.special.xlogy(targets, targets) - targets

    def slopes(self, scores: Array, targets: Array) -> Array:
        return np.exp(scores) - targets

    def predict(self, scores: Array) -> Array:
        return drop_column(np.exp(scores))


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
        self.margin = setting(margin, "Hinge: margin", "not negative")

    def prepare(self, scores: Array, targets: Array) -> Array:
        if scores.ndim < 2 or scores.shape[-1] < 1:
            raise GateError(f"scores must have shape (n, 1) or (n, classes), got {scores.shape}")
        return class_labels(scores, targets)

    def examples(self, rng: np.random.Generator) -> list[tuple[Array, ...]]:
        """Return scores with labels, in a column per class and, without class weights, in one for two classes."""
        examples = super().examples(rng)
        column = [(rng.standard_normal((6, 1)), rng.integers(0, 2, 6))]
        return examples if self.class_weight is not None else [*examples, *column]

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


def _check_columns(scores: Array) -> Array:
    if scores.ndim < 2 or scores.shape[-1] < 2:
        raise GateError(
            f"scores must have a column for each of two or more classes, got shape {scores.shape}; "
            "for two classes in one column there is Logistic"
        )
    return scores
