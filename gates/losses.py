"""What all outputs share: targets, weights, the mean or the sum, and the chain rule around them."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from gates.arrays import Array, first
from gates.contract import Gate, GateError
from gates.shaping import check_labels

Reduction = Literal["mean", "batchmean", "sum"]
ClassWeight = Mapping[int, float] | Sequence[float] | None


class OutputGate(Gate):
    """``loss = sum(w l(scores, targets)) / m``, m the sum of the weights for a mean, 1 for a sum.

    A "batchmean" sums over the columns of a row and averages over the rows: m is the sum of the rows' weights.

    A subclass writes `losses`, its derivative `slopes`, and `predict`; weights, the reduction and the checks of the
    targets are done here. `forward` and `backward` take an optional third input, sample_weight: one weight per row.
    Targets and weights are constants: they get no gradient, even where they depend on a parameter.

    Parameters
    ----------
    reduction : {"mean", "batchmean", "sum"}, default="mean"
        Whether the losses are averaged (by their weights), over rows and columns or over rows only, or summed.

    Examples
    --------
    >>> class Quantile(OutputGate):
    ...     def __init__(self, q):
    ...         self.q = q
    ...     def losses(self, scores, targets):
    ...         return np.maximum(self.q * (targets - scores), (self.q - 1) * (targets - scores))
    ...     def slopes(self, scores, targets):
    ...         return np.where(targets > scores, -self.q, 1 - self.q)
    ...     def predict(self, scores):
    ...         return scores
    >>> print(Quantile(0.9)(np.array([1.0, 2.0]), np.array([3.0, 2.5])))
    1.125
    """

    constants = ("targets", "sample_weight")
    # On the class too, so that a subclass with settings of its own may leave out super().__init__().
    reduction: Reduction = "mean"
    # Whether `losses` gives one loss per row of scores, or one per element.
    per_row: ClassVar[bool] = False

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        if reduction not in get_args(Reduction):
            kinds = "'mean', 'batchmean' or 'sum'"
            raise GateError(f"{type(self).__name__}: reduction must be {kinds}, got {reduction!r}")
        self.reduction = reduction

    def examples(self, rng: np.random.Generator) -> list[tuple[Array, ...]]:
        """Return inputs to prove the output at: columns, a single column, and weights."""
        scores, targets = rng.standard_normal((2, 5, 3))
        return [(scores, targets), (scores[:, :1], targets[:, 0]), (scores, targets, rng.uniform(0.5, 2.0, 5))]

    @abstractmethod
    def losses(self, scores: Array, targets: Array) -> Array:
        """Return l, unweighted: per element of scores, or per row when `per_row` is set."""

    @abstractmethod
    def slopes(self, scores: Array, targets: Array) -> Array:
        """Return dl/dscores, in the shape of scores."""

    def predict(self, scores: Array) -> Array:
        """Return what the scores predict: here the scores themselves, one column as (n,)."""
        return drop_column(scores)

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
            wrong = ~(np.isfinite(sample_weight) & (sample_weight >= 0))
            if wrong.any():
                at, position = first(wrong)
                raise GateError(
                    f"sample_weight must be finite, none negative, got {sample_weight[at]} at position {position}"
                )
            weights = weights * sample_weight.reshape(-1, *[1] * (len(shape) - 1)).astype(scores.dtype)
        return weights

    def divisor(self, scores: Array, targets: Array, sample_weight: Array | None = None) -> Any:
        """Return m: the sum of the losses is the loss times m."""
        scores = _floating(scores)
        return self._divisor(self.weights(scores, self.prepare(scores, targets), sample_weight))

    def _divisor(self, weights: Array) -> Any:
        if self.reduction == "sum":
            return 1.0
        total = weights.sum()
        if not total > 0:
            what = "the weights of all rows add up to zero" if weights.size else "there are no rows"
            raise GateError(f"{what}, so there is nothing to average")
        columns = math.prod(weights.shape[1:]) if self.reduction == "batchmean" else 1
        return total if columns == 1 else total / columns

    def forward(self, scores: Array, targets: Array, sample_weight: Array | None = None) -> Any:
        scores = _floating(scores)
        targets = self.prepare(scores, targets)
        weights = self.weights(scores, targets, sample_weight)
        losses = self.losses(scores, targets)
        if np.shape(losses) != weights.shape:
            per = "row" if self.per_row else "element of scores"
            raise GateError(
                f"losses must return one loss per {per}, shape {weights.shape}, got {np.shape(losses)}; the mean and "
                "the weights are done for you, and per_row = True is for one loss per row"
            )
        return (weights * losses).sum() / self._divisor(weights)

    def backward(self, scores: Array, targets: Array, *sample_weight_and_dloss: Array) -> tuple[Array | None, ...]:
        *sample_weight, dloss = sample_weight_and_dloss
        scores = _floating(scores)
        targets = self.prepare(scores, targets)
        weights = self.weights(scores, targets, *sample_weight)
        dlosses = weights * (dloss / self._divisor(weights))
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

    class_weight: ClassWeight = None

    def __init__(self, *, class_weight: ClassWeight = None, reduction: Reduction = "mean") -> None:
        super().__init__(reduction=reduction)
        if class_weight is not None:
            kind = f"{type(self).__name__}: class_weight must be"
            if isinstance(class_weight, str) or not isinstance(class_weight, Mapping | Sequence | np.ndarray):
                raise GateError(f"{kind} a dict from label to weight or a sequence of weights, got {class_weight!r}")
            # A copy: a change of the user's list must not change the loss.
            class_weight = dict(class_weight) if isinstance(class_weight, Mapping) else list(class_weight)
            weights = class_weight.values() if isinstance(class_weight, dict) else class_weight
            if not all(isinstance(weight, int | float | np.number) and 0 <= weight < np.inf for weight in weights):
                raise GateError(f"{kind} finite and not negative, got {class_weight!r}")
        self.class_weight = class_weight

    def examples(self, rng: np.random.Generator) -> list[tuple[Array, ...]]:
        """Return scores with integer labels, and once with weights; as many classes as there are class weights."""
        weighted = [] if self.class_weight is None else self.class_weight
        count = max(2, *weighted) + 1 if isinstance(weighted, Mapping) else len(weighted) or 3
        scores, labels = rng.standard_normal((6, count)), rng.integers(0, count, 6)
        return [(scores, labels), (scores, labels, rng.uniform(0.5, 2.0, 6))]

    def class_weights(self, scores: Array, targets: Array) -> Array | None:
        if self.class_weight is None:
            return None
        count = max(scores.shape[-1], 2) if self.per_row else 2
        if isinstance(self.class_weight, Mapping):
            table = [self.class_weight.get(label, 1.0) for label in range(count)]
            fits = self.class_weight.keys() <= set(range(count))
        else:
            table = list(self.class_weight)
            fits = len(table) == count
        if not fits:
            raise GateError(f"class_weight must have a weight for each of the {count} classes, got {self.class_weight}")
        by_class = np.array(table, scores.dtype)
        if targets.dtype.kind in "iu":
            return np.matmul(targets[..., None] == np.arange(count), by_class)
        # Probabilities: each class counts as far as it is probable.
        return np.matmul(targets, by_class) if self.per_row else by_class[0] + (by_class[1] - by_class[0]) * targets


def class_labels(scores: Array, targets: Array) -> Array:
    """Return integer labels, one per row of scores; one column of scores stands for two classes."""
    if targets.shape != scores.shape[:-1]:
        advice = "; flatten the column with .ravel()" if targets.shape == (*scores.shape[:-1], 1) else ""
        raise GateError(
            f"labels must have shape {scores.shape[:-1]}, one per row of scores, got {targets.shape}{advice}"
        )
    labels = targets.astype(np.intp) if targets.dtype.kind in "bu" else targets
    check_labels(labels, max(scores.shape[-1], 2))
    return labels


def _floating(scores: Array) -> Array:
    """Return whole-number scores as float64: targets and weights take the scores' dtype."""
    return scores if scores.dtype.kind == "f" else scores.astype(np.float64)


def drop_column(values: Array) -> Array:
    """Return a single column (n, 1) as (n,), so that it compares with targets (n,); other shapes as they are."""
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
