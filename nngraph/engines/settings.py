"""What a program depends on of a gate: its settings, as something to compare and to keep."""

from __future__ import annotations

import functools
from types import MemberDescriptorType, ModuleType
from typing import Any

import numpy as np

from gates.contract import Gate

PLAIN = frozenset([type(None), bool, int, float, str, bytes])

# How many objects, each an attribute of the one before, are looked into.
DEPTH = 2


class Itself:
    """A value that is equal to itself alone; it is kept, so that no other takes its identity."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Itself) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def state(value: Any, within: tuple[Any, ...] = (), depth: int = DEPTH) -> Any:  # noqa: PLR0911 - a line for each kind
    """Return a value's state: equal, and of one hash, for as long as nothing in it is changed.

    Plain values count by value, gates by their class and attributes, all other objects by identity and attributes. What
    a function reads from elsewhere is not seen.
    """
    kind: Any = type(value)
    if kind in PLAIN:
        return kind, value
    is_gate, elsewhere = _known(kind)
    if is_gate and not elsewhere:
        attributes = value.__dict__
        if PLAIN.issuperset(map(type, attributes.values())):
            return kind, *attributes.items(), *map(type, attributes.values())
    if isinstance(value, np.ndarray | np.generic):
        return kind, value.shape, value.dtype.str, value.tobytes()
    if any(value is outer for outer in within):
        return Itself(value)
    is_object = not is_gate and not isinstance(value, tuple | list | dict | set | frozenset)
    inside = functools.partial(state, within=(*within, value), depth=depth - is_object)
    if isinstance(value, tuple | list):
        return kind, tuple([inside(part) for part in value])
    if isinstance(value, dict):
        return kind, tuple([(inside(key), inside(part)) for key, part in value.items()])
    if isinstance(value, set | frozenset):
        return kind, frozenset([inside(part) for part in value])
    if not depth or isinstance(value, ModuleType):
        return Itself(value)
    attributes = getattr(value, "__dict__", None)
    parts = [(name, inside(part)) for name, part in attributes.items()] if type(attributes) is dict else []
    parts += [(name, inside(getattr(value, name, None))) for name in elsewhere]
    return Itself(value) if is_object else kind, tuple(parts)


@functools.lru_cache(maxsize=256)
def _known(kind: type) -> tuple[bool, tuple[str, ...]]:
    """Return whether a class is a gate's, and the names of attributes that are not in an instance's dict.

    They are slots, and settings in the body of a class.
    """
    names = [name for base in kind.__mro__ for name, value in vars(base).items() if _is_setting(base, name, value)]
    return issubclass(kind, Gate), tuple(names)


def _is_setting(kind: type, name: str, value: Any) -> bool:
    if isinstance(value, MemberDescriptorType):
        return "__slots__" in vars(kind)
    # The classes of `gates` do not change.
    ours = kind.__module__.split(".")[0] == "gates"
    plain = not callable(value) and not hasattr(value, "__get__")
    return issubclass(kind, Gate) and not ours and plain and name[:2] != "__" and name != "_abc_impl"
