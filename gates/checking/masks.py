"""Gradients that are wrong in a part only: which part, and how."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gates.checking.evidence import Diagnosis, Evidence, close, number


def wrong_in_part(e: Evidence) -> Diagnosis | None:
    """Recognise a gradient that is right but for a mask."""
    wrong = e.jacobians[e.k].wrong.any(axis=0)
    count, size = int(wrong.sum()), wrong.size
    # What is right must not be right for want of any slope.
    right = ~wrong & (e.true != 0).any(axis=0)
    if not 0 < count < size or not right.any():
        return None
    mask = wrong.reshape(e.x.shape)
    where = next(
        (
            (text, numbers)
            for text, numbers, fits in _masks(e)
            if (fits[mask]).all() and not fits[right.reshape(mask.shape)].any()
        ),
        None,
    )
    if where is None:
        return None
    sub = e.true[:, wrong], e.returned[:, wrong]
    norm = float(np.sum(sub[0] ** 2))
    factor = float(np.sum(sub[0] * sub[1])) / norm if norm else 0.0
    inside = ""
    if not sub[1].any():
        inside = ", where it is zero"
    elif not sub[0].any():
        inside = ", where it should be zero"
    elif factor and close(sub[1] / factor, sub[0]):
        inside = (
            ", where the sign is flipped"
            if abs(factor + 1) < 1e-5
            else f", where it is {number(factor)} times the right one"
        )
    text, numbers = where
    return Diagnosis(
        "wrong in part",
        f"the gradient of {e.name} is wrong {text} only{inside}",
        f"{numbers}; here in {count} of {size} elements",
    )


def _masks(e: Evidence) -> Iterator[tuple[str, str, Any]]:
    x, name = e.x, e.name
    yield f"where {name} < 0", "", x < 0
    yield f"where {name} > 0", "", x > 0
    index = np.indices(x.shape)
    for axis, words in enumerate(_axis_words(x.ndim)):
        at = index[axis]
        yield f"in the first {words}", "", at == 0
        yield f"in the last {words}", "", at == x.shape[axis] - 1
        if x.shape[axis] > 2:
            yield f"in every {words} but the first", "", at > 0
            yield f"in every {words} but the last", "", at < x.shape[axis] - 1
    if x.ndim >= 2:
        i, j = index[-2], index[-1]
        yield "on the diagonal", "", i == j
        yield "off the diagonal", "", i != j
        yield "above the diagonal", "", i < j
        yield "below the diagonal", "", i > j
    wrong = e.jacobians[e.k].wrong.any(axis=0).reshape(x.shape)
    if wrong.sum() == 1:
        at = ", ".join(str(int(i)) for i in np.argwhere(wrong)[0])
        yield f"at {name}[{at}]", "", wrong
    else:
        for what, value in ((name, x), (f"|{name}|", np.abs(x)), ("Z", e.Z), ("|Z|", np.abs(e.Z))):
            # One element on a side is above or below by chance.
            if value.shape == x.shape and min(wrong.sum(), (~wrong).sum()) >= 2:
                inside, outside = value[wrong], value[~wrong]
                if inside.min() > outside.max():
                    yield f"where {what} is large", f", above about {(inside.min() + outside.max()) / 2:.2g}", wrong
                elif inside.max() < outside.min():
                    yield f"where {what} is small", f", below about {(inside.max() + outside.min()) / 2:.2g}", wrong


def _axis_words(ndim: int) -> list[str]:
    return {1: ["element"], 2: ["row", "column"]}.get(ndim, [f"place along axis {axis}" for axis in range(ndim)])
