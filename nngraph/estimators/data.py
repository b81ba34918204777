"""The data that estimators take: looked at by scikit-learn's own checks, weighed, and divided."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils.class_weight import compute_sample_weight

# Private, but what scikit-learn's own estimators check their data with: so ours say the same.
from sklearn.utils.validation import _check_sample_weight, validate_data

from gates.arrays import Array, first
from nngraph.initializers import Generator


class Examples(NamedTuple):
    """Features, what is to be learned of each, and what each weighs, None if all weigh the same."""

    X: Array
    labels: Array
    weights: Array | None


def checked(estimator: Any, X: Any, y: Any = "no_validation", *, reset: bool = False) -> Any:
    """Return X, or, if y is given, X and y, as arrays; X is float64 or float32.

    Raises
    ------
    ValueError
        If scikit-learn's checks say so; of what is not finite with the place of the first such value.
    """
    settings: dict[str, Any] = {"dtype": (np.float64, np.float32), "reset": reset}
    try:
        if isinstance(y, str) and y == "no_validation":
            return validate_data(estimator, X, **settings)
        X_checked, y_checked = validate_data(estimator, X, y, multi_output=True, **settings)
    except ValueError as error:
        where = _place(X)
        raise (ValueError(f"{error}\n{where}") if where else error) from None
    if y_checked.ndim == 1 or not hasattr(y_checked, "toarray"):
        return X_checked, y_checked
    return X_checked, y_checked.toarray()


def _place(X: Any) -> str:
    """Return where the first value of X stands that is not finite, empty if all are, or it cannot be told."""
    try:
        array = np.asarray(X, np.float64)
    except (TypeError, ValueError):
        return ""
    wrong = ~np.isfinite(array)
    if array.ndim != 2 or not wrong.any():
        return ""
    (row, column), _ = first(wrong)
    names = getattr(X, "columns", None)
    name = column if names is None else repr(list(names)[column])
    return f"The first such value is {array[row, column]}, in row {row}, column {name}; there are {wrong.sum()}."


def weighted(sample_weight: Any, X: Array, y: Array, class_weight: Any) -> Array | None:
    """Return the weight of every example, in the dtype of X; None if all weigh the same."""
    weights = None
    if sample_weight is not None:
        weights = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
    if class_weight is not None:
        by_class = compute_sample_weight(class_weight, y).astype(X.dtype)
        weights = by_class if weights is None else weights * by_class
    return weights


def counting(examples: Examples) -> Examples:
    """Return the examples that weigh something: a weight of 0 is an example less."""
    if examples.weights is None or (examples.weights > 0).all():
        return examples
    counts = examples.weights > 0
    if not counts.any():
        raise ValueError("the weights of all examples are zero: then there is nothing to learn")
    return taken(examples, counts)


def taken(examples: Examples, which: Array) -> Examples:
    """Return some of the examples."""
    X, labels, weights = examples
    return Examples(X[which], labels[which], None if weights is None else weights[which])


def held_out(examples: Examples, share: float, rng: Generator, *, classes: int) -> tuple[Examples, Examples]:
    """Return what is trained on, and a share that is held out, as scikit-learn's perceptrons divide them.

    Of two classes each gives its share; more are left to chance, but none is held out as a whole. `classes` is 0 where
    the labels are no classes.
    """
    labels, rows = examples.labels, np.arange(len(examples.labels))
    alike = classes == 2 and np.bincount(labels, minlength=2).min() > 1
    kept, out = train_test_split(rows, test_size=share, random_state=rng, stratify=labels if alike else None)
    if classes and not alike:
        seen = np.isin(labels[out], labels[kept])
        kept, out = np.concatenate([kept, out[~seen]]), out[seen]
    if len(out) < 2:
        raise ValueError("The validation set is too small. Increase 'validation_fraction' or the size of your dataset.")
    return taken(examples, kept), taken(examples, out)
