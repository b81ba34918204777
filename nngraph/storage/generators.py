"""The states of NumPy's generators, as settings; only these classes are made of a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from nngraph.storage.file import StorageError

KINDS: Mapping[str, Callable[[int], Any]] = {
    kind.__name__: kind
    for kind in (
        np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64
    )
}  # fmt: skip
# Where NumPy reads from an array at a position that it does not check: beyond these it is foreign memory.
POSITIONS = {"pos": 624, "buffer_pos": 4}


def state_of(random: Any) -> dict[str, Any]:
    """Return the state of a Generator or RandomState; raise StorageError if it is not based on one of NumPy's."""
    legacy = isinstance(random, np.random.RandomState)
    state = dict(random.get_state(legacy=False) if legacy else random.bit_generator.state)
    name = state["bit_generator"]
    if name not in KINDS:
        raise StorageError(f"a generator based on {name!r} cannot be stored, only on one of {', '.join(KINDS)}")
    return {"legacy": legacy, **state}


def generator_of(state: Any) -> Any:
    """Make the generator that has a state; raise StorageError if there is none."""
    try:
        legacy, name = state["legacy"], state["bit_generator"]
        rest = {key: part for key, part in state.items() if key != "legacy"}
        for part in (rest, rest["state"]):
            for key, most in POSITIONS.items():
                if not 0 <= part.get(key, 0) <= most:
                    raise ValueError(f"{key} must be between 0 and {most}")
        bits = KINDS[name](0)
        made: Any = np.random.RandomState(bits) if legacy else np.random.Generator(bits)
        if legacy:
            made.set_state(rest)
        else:
            bits.state = rest
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError) as error:
        raise StorageError(
            f"this is no state of a generator of NumPy's ({error!s:.100}): {str(state)[:200]}"
        ) from error
    if str(state_of(made)) != str(state):
        raise StorageError(f"NumPy makes another state of this state of a generator: {str(state)[:200]}")
    return made
