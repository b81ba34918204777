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
    """Features, what is to be learned of each, what each weighs (None if all alike), and which row of X it is."""

    X: Array
    labels: Array
    weights: Array | None
    rows: Array


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
        where = _place(X, "X") or _place(y, "y")
        raise (ValueError(f"{error}\n{where}") if where else error) from None
    _check_kinds(y)
    if y_checked.ndim == 1 or not hasattr(y_checked, "toarray"):
        return X_checked, y_checked
    return X_checked, y_checked.toarray()


def _place(values: Any, what: str) -> str:
    """Return where the first value stands that is not finite, empty if all are, or it cannot be told.

    If all are, then where the first negative weight is.
    """
    if np.iscomplexobj(values):
        return ""
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        return ""
    wrong = ~np.isfinite(array)
    if what == "sample_weight" and not wrong.any():
        wrong = array < 0
    if array.ndim not in (1, 2) or not wrong.any():
        return ""
    (row, *columns), _ = first(wrong)
    names = getattr(values, "columns", None)
    where = "".join(f", column {column if names is None else repr(list(names)[column])}" for column in columns)
    return f"The first such value of {what} is {array[row, *columns]}, in row {row}{where}; there are {wrong.sum()}."


def _check_kinds(y: Any) -> None:
    """Raise ValueError if there are strings and numbers in y, of which NumPy would make strings, or None."""
    values = y if isinstance(y, list | tuple) else np.asarray(y)
    if isinstance(values, np.ndarray):
        values = list(values) if values.dtype.kind == "O" and values.ndim else []
    kinds = {type(value) for value in values}
    if type(None) in kinds:
        raise ValueError(f"y has None in row {[value is None for value in values].index(True)}, which is no target")
    strings = {kind for kind in kinds if issubclass(kind, str)}
    if strings and kinds > strings:
        names = " and ".join(sorted(kind.__name__ for kind in kinds))
        raise ValueError(f"y mixes {names}; make all of them strings, or all of them numbers")


def weighted(sample_weight: Any, X: Array) -> Array | None:
    """Return the weight of every example, in the dtype of X; None if all weigh the same."""
    if sample_weight is None:
        return None
    with np.errstate(over="ignore", under="ignore"):
        try:
            weights: Array = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
        except ValueError as error:
            where = _place(sample_weight, "sample_weight")
            raise (ValueError(f"{error}\n{where}") if where else error) from None
        return _addable(weights)


def class_weighted(examples: Examples, class_weight: Any, names: Array) -> Examples:
    """Return examples whose weights are multiplied by those of their classes.

    `names` are those of the classes, by number; of several labels the weights of all that an example has multiply.
    """
    y, given = examples.labels, class_weight
    if isinstance(given, dict) and y.ndim == 1:
        known = names.tolist()
        unknown = [name for name in given if name not in known]
        if unknown:
            raise ValueError(f"class_weight={class_weight!r}: there is no class {unknown[0]!r}; there are {known}")
        # Only of those that occur: scikit-learn wants no others.
        there = set(np.unique(y).tolist())
        given = {number: given[name] for number, name in enumerate(known) if name in given and number in there}
    try:
        by_class = compute_sample_weight(given or None, y)
    except (TypeError, ValueError) as error:
        raise ValueError(f"class_weight={class_weight!r}: {error}") from error
    if not (np.isfinite(by_class) & (by_class >= 0)).all():
        raise ValueError(f"class_weight must give every class a finite weight, not below 0, got {class_weight!r}")
    with np.errstate(over="ignore", under="ignore"):
        by_class = by_class.astype(examples.X.dtype)
        weights = by_class if examples.weights is None else examples.weights * by_class
        return counting(examples._replace(weights=_addable(weights)))


def _addable(weights: Array) -> Array:
    if not np.isfinite(weights.sum()):
        raise ValueError(
            f"the weights of all examples add up to more than {weights.dtype} can hold; divide them by the same number"
        )
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
    X, labels, weights, rows = examples
    return Examples(X[which], labels[which], None if weights is None else weights[which], rows[which])


def held_out(examples: Examples, share: float, rng: Generator, *, classes: int) -> tuple[Examples, Examples]:
    """Return what is trained on, and a share that is held out, as scikit-learn's perceptrons divide them.

    Of two classes each gives its share; more are left to chance, but none is held out as a whole. `classes` is 0 where
    the labels are no classes.
    """
    labels, rows = examples.labels, np.arange(len(examples.labels))
    alike = classes == 2 and np.bincount(labels, minlength=2).min() > 1
    try:
        kept, out = train_test_split(rows, test_size=share, random_state=rng, stratify=labels if alike else None)
    except ValueError as error:
        raise ValueError(f"validation_fraction={share}: {error}") from error
    if classes and not alike:
        seen = np.isin(labels[out], labels[kept])
        kept, out = np.concatenate([kept, out[~seen]]), out[seen]
    if len(out) < 2:
        raise ValueError("The validation set is too small. Increase 'validation_fraction' or the size of your dataset.")
    return taken(examples, kept), taken(examples, out)
