"""Other inputs made from an example: beside it, a part of it, fewer rows of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gates.arrays import Array
from gates.checking.gradient import FEW, compare
from gates.checking.trial import Trial


def accepted(trial: Trial, inputs: Sequence[Array], origin: str) -> Trial | None:
    """Return the trial at other inputs if the forward takes them and its result is finite."""
    try:
        Z = trial.forward(inputs)
    except Exception:  # noqa: BLE001 - the forward may refuse in any way
        return None
    return trial.at(inputs, origin) if np.isfinite(Z).all() else None


def beside(trial: Trial, rng: np.random.Generator) -> Trial | None:
    """Return the trial at inputs a little off, None where the forward refuses them: ties and zeros are gone there."""
    moved = list(trial.inputs)
    for k in trial.varies:
        x = moved[k]
        moved[k] = x + 0.05 * np.maximum(np.abs(x), 0.1) * rng.uniform(-1, 1, x.shape)
    return accepted(trial, moved, f"beside {trial.origin}")


def elsewhere(trial: Trial, rng: np.random.Generator) -> Trial | None:
    """Return the trial at the same values in another order, and a little off: what held by chance does not hold there.

    Beside the inputs, if the forward refuses them in another order.
    """
    # Rolled: every element has moved.
    moved = [
        np.roll(x.ravel(), max(x.size // 2, 1)).reshape(x.shape) if k in trial.varies else x
        for k, x in enumerate(trial.inputs)
    ]
    mixed = accepted(trial, moved, "elsewhere")
    return (mixed and beside(mixed, rng)) or beside(trial, rng)


def with_rows(trial: Trial, count: int) -> Trial | None:
    """Return the trial with `count` rows: cut along the first axis of Z, in all inputs that are as long.

    None where rows are no matter of the gate's: where a square input would be cut, or Z does not follow.
    """
    Z = trial.forward(trial.inputs)
    lengths = [Z.shape[0]] if Z.ndim else [trial.inputs[k].shape[0] for k in trial.varies if trial.inputs[k].ndim]
    if not lengths or lengths[0] <= count:
        return None
    rows = [k for k, x in enumerate(trial.inputs) if x.ndim and x.shape[0] == lengths[0]]
    if not rows or any(trial.inputs[k].ndim > 1 and trial.inputs[k].shape[1] == lengths[0] for k in rows):
        return None
    inputs = [x[:count] if k in rows else x for k, x in enumerate(trial.inputs)]
    short = accepted(trial, inputs, f"cut to {count} row" if count == 1 else f"cut to {count} rows")
    return short if short and (not Z.ndim or short.forward(inputs).size == count * (Z.size // len(Z))) else None


def cut(trial: Trial, keep: dict[int, Array]) -> Trial | None:
    """Keep some places of every axis of the lengths named, in all inputs alike."""
    parts = []
    for x in trial.inputs:
        part = x
        for axis, n in enumerate(x.shape):
            if n in keep:
                part = np.take(part, keep[n], axis=axis)
        parts.append(part)
    return accepted(trial, parts, "a part")


def smaller_part(trial: Trial, k: int, at: tuple[int, ...], rng: np.random.Generator) -> Trial | None:
    """Cut a few rows and columns out of large inputs, with an element whose gradient is wrong among them."""
    shape = trial.inputs[k].shape
    # Neighbours and the ends, so that a mask shows.
    near = {n: {0, n - 1} for x in trial.inputs for n in x.shape}
    for i, n in zip(at, shape, strict=True):
        near[n] |= {max(i - 1, 0), i, min(i + 1, n - 1)}
    keep = {n: np.array(sorted(places)) for n, places in near.items() if n > 4}
    for kept in (keep, {shape[0]: keep.get(shape[0], np.arange(shape[0]))}):
        part = cut(trial, kept)
        if part and part.inputs[k].size <= FEW and not _right(part, k, rng):
            return part
    return None


def _right(trial: Trial, k: int, rng: np.random.Generator) -> bool:
    """Whether one gradient is right; where backward does not run, nothing wrong is to be seen."""
    try:
        return compare(trial, k, rng).right
    except Exception:  # noqa: BLE001 - a part need not suit a backward
        return True


def is_square(trial: Trial) -> bool:
    """Whether all inputs of two axes or more are as long along each of them, and there is one."""
    matrices = [x.shape for x in trial.inputs if x.ndim >= 2]
    return bool(matrices) and all(len(set(shape)) == 1 for shape in matrices)


def square_variants(trial: Trial, rng: np.random.Generator) -> list[Trial]:
    """Return the trial with all axes as long as the longest, by repeating places, and as the shortest."""
    lengths = [n for x in trial.inputs for n in x.shape]
    if not any(x.ndim >= 2 for x in trial.inputs) or min(lengths) < 2:
        return []
    sides = (min(max(lengths), 9), min(*lengths, 9))
    square = (cut(trial, {n: np.arange(side) % n for n in set(lengths)}) for side in sides)
    # What was repeated is made different.
    return [near for part in square if part and (near := beside(part, rng)) and is_square(near)]
