"""Mistakes of adding up: uses of an element that are lost, sums over other axes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from gates.arrays import Array
from gates.checking.evidence import Diagnosis, Evidence, close


def one_use_each(T: Array) -> bool:
    """Whether every element of Z depends on one element of X at most."""
    return bool(((T != 0).sum(axis=1) <= 1).all())


def uses_lost(e: Evidence) -> Diagnosis | None:
    """Recognise that an element of X which Z uses several times gets its gradient from one use only."""
    T, B = e.true, e.returned
    several = (T != 0).sum(axis=0) > 1
    if not several.any() or close(T, B):
        return None
    for which, rows in (("first", T.shape[0] - 1 - _last(T[::-1] != 0)), ("last", _last(T != 0))):
        kept = np.zeros(T.shape, bool)
        kept[rows, np.arange(T.shape[1])] = True
        if not close(B, np.where(kept, T, 0.0)):
            continue
        if e.x.ndim < e.Z.ndim or (e.x.ndim == e.Z.ndim and e.x.shape != e.Z.shape and 1 in e.x.shape):
            count = int((T != 0).sum(axis=0).max())
            return Diagnosis(
                "broadcast sum",
                f"{e.name} {e.x.shape} is repeated {count} times in Z {e.Z.shape}, and only the {which} "
                "repetition is counted: return the whole dZ, which is added up for you, or sum over the repetitions",
            )
        return Diagnosis(
            "one use of several",
            f"where Z uses an element of {e.name} several times, only the {which} use is counted: "
            "`=` where `+=` is meant (np.add.at adds at repeated indices)",
        )
    return None


def factor_lost(e: Evidence) -> Diagnosis | None:
    """Recognise a product of X with itself that is differentiated by one factor only."""
    T, B = e.tensor(e.true), e.tensor(e.returned)
    for a, b in itertools.combinations(range(e.Z.ndim), 2):
        if T.shape[a] == T.shape[b] and close(B + np.swapaxes(B, a, b), T):
            return Diagnosis(
                "one use of several",
                f"{e.name} stands in Z twice, and the gradient of one place only is returned: add both",
            )
    return None


def _last(mask: Array) -> Any:
    """Return the row of the last true entry of every column."""
    return mask.shape[0] - 1 - np.argmax(mask[::-1], axis=0)


def broadcast_axis(e: Evidence) -> Diagnosis | None:
    """Recognise a broadcast input whose contributions are added up along an axis that is not the broadcast one."""
    T = e.true
    if not one_use_each(T) or e.x.size == e.Z.size:
        return None
    G = e.rng.standard_normal(e.Z.shape)
    contributions = (G.reshape(-1) * T.sum(axis=1)).reshape(e.Z.shape)
    g = e.trial.gradient(e.k, G)
    return explain_sum(e.name, e.x.shape, contributions, g, (G.reshape(1, -1) @ T).reshape(e.x.shape))


def explain_sum(name: str, shape: tuple[int, ...], contributions: Array, got: Array, right: Array) -> Diagnosis | None:
    """Say over which axes the contributions to a broadcast input were added up, if `got` is any such sum."""
    axes = range(contributions.ndim)
    right_axes: tuple[int, ...] | None = None
    got_axes: tuple[int, ...] | None = None
    for chosen in itertools.chain.from_iterable(itertools.combinations(axes, n) for n in range(contributions.ndim + 1)):
        total = contributions.sum(axis=chosen)
        if right_axes is None and total.size == right.size and close(total.ravel(), right.ravel()):
            right_axes = chosen
        if got_axes is None and total.size == got.size and close(total.ravel(), got.ravel()):
            got_axes = chosen
    if right_axes is None or got_axes is None or right_axes == got_axes:
        return None
    wants = f"must be summed over {axes_text(right_axes)}" if right_axes else "must not be summed"
    was = f"is summed over {axes_text(got_axes)} of dZ" if got_axes else "is not summed at all"
    return Diagnosis("broadcast sum", f"the gradient of {name} {shape} {was}, and {wants}")


def axes_text(axes: Sequence[int]) -> str:
    """Write ``axis 0`` or ``axes 0, 2``."""
    return f"axis {axes[0]}" if len(axes) == 1 else f"axes {', '.join(map(str, axes))}"
