"""Settings as JSON and arrays, to the bit."""

from __future__ import annotations

import math
from types import EllipsisType, FunctionType
from typing import Any

import numpy as np

from gates.arrays import Array
from gates.contract import Gate
from nngraph.storage.file import DTYPES, StorageError
from nngraph.storage.kinds import OURS, SCALARS, TYPES

# How deep settings may stand in settings.
DEPTH = 20
INT_BITS = 4096


class Encoder:
    """Turns settings into what JSON can say, and collects the arrays among them.

    Attributes
    ----------
    arrays : dict from name to array
        They are not copied.
    prefix : str
        What those are called that have no name of their own, with a number.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, Array] = {}
        self.prefix = "array"
        self._named: dict[str, Any] = {}

    def value(self, value: Any, where: str, depth: int = 0) -> Any:  # noqa: PLR0911, PLR0912 - a line for each kind
        """Return a value as JSON; raise StorageError, which says where it is, if it is of no kind that can be stored.

        Lists, strings, truth values, None, integers and finite floats are what they are in JSON; anything else is an
        object with one entry, which is called after its kind.
        """
        if depth > DEPTH:
            raise StorageError(f"{where}: is nested more than {DEPTH} deep; take arrays, or something flatter")
        kind = type(value)
        if value is None or kind in (bool, str):
            return value
        if kind is int and value.bit_length() <= INT_BITS:
            return value
        if kind is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if kind is list:
            return [self.value(part, where, depth + 1) for part in value]
        if kind is tuple:
            return {"tuple": self.value(list(value), where, depth)}
        if kind is dict:
            return {"dict": [self.value([key, part], where, depth + 1) for key, part in value.items()]}
        if kind is slice:
            return {"slice": self.value([value.start, value.stop, value.step], where, depth)}
        if kind is EllipsisType:
            return {"ellipsis": None}
        if isinstance(value, np.generic) and value.dtype.name in SCALARS:
            return {"scalar": [value.dtype.name, value.astype(value.dtype.newbyteorder("<")).tobytes().hex()]}
        if kind is np.ndarray:
            return self.array(value, where)
        if isinstance(value, np.dtype) and value.name in DTYPES and value.isnative:
            return {"dtype": value.name}
        for name, one in TYPES.items():
            if value is one:
                return {"type": name}
        if isinstance(value, Gate):
            return {"gate": self.gate(value, where, depth + 1)}
        # Python writes no integers of any length.
        shown = f"an integer of {value.bit_length()} bits" if kind is int else f"{value!r:.200}"
        raise StorageError(
            f"{where}: {shown} cannot be stored; settings may be numbers, strings, None, tuples, lists, dicts, "
            "slices, arrays, dtypes and gates: make what is computed from them in forward and backward"
        )

    def array(self, array: Array, where: str, name: str = "") -> dict[str, str]:
        """Return how JSON refers to an array, by a name if it can be had: arrays lie in the file beside the JSON."""
        if array.dtype.name not in DTYPES or not array.dtype.isnative:
            raise StorageError(
                f"{where}: an array of dtype {array.dtype} cannot be stored; convert it to one of {', '.join(DTYPES)}"
            )
        if not name or name in ("__metadata__", *self.arrays) or not _is_text(name):
            name = f"{self.prefix} {len(self.arrays)}"
            while name in self.arrays:
                name += "'"
        columns = array.flags.f_contiguous and not array.flags.c_contiguous
        self.arrays[name] = array.T if columns else array
        return {"columns" if columns else "array": name}

    def gate(self, gate: Gate, where: str, depth: int = 0) -> dict[str, Any]:
        """Return a gate: the name of its class, whether that is one of ours, and its attributes."""
        kind = type(gate)
        where = f"{where}, {kind.__name__}"
        slots = [name for base in kind.__mro__ for name in vars(base).get("__slots__", ())]
        if slots:
            raise StorageError(f"{where}: has __slots__ ({slots[0]!r}), and settings are attributes in its __dict__")
        record = {
            "class": kind.__name__,
            "ours": OURS.get(kind.__name__) is kind,
            "settings": {
                name: self.value(part, f"{where}, attribute {name!r}", depth) for name, part in vars(gate).items()
            },
        }
        if not record["ours"]:
            self.named(kind.__name__, kind, where)
        elif not _comes_back(gate):
            raise StorageError(
                f"{where}: {gate!r} is not what its constructor would make of its attributes, so that no file can have "
                "it; make it by its constructor, or write a class of your own"
            )
        return record

    def named(self, name: str, thing: Any, where: str) -> str:
        """Return the name by which a class or a function is found again; raise StorageError if two share it."""
        if self._named.setdefault(name, thing) is not thing:
            raise StorageError(f"{where}: two classes or functions are called {name!r}; rename one of them")
        return name

    def function(self, function: Any, where: str) -> str:
        """Return the name of a function."""
        if not isinstance(function, FunctionType) or function.__name__ == "<lambda>":
            raise StorageError(
                f"{where}: {function!r} has no name by which it could be found again; write it with `def`, and give it "
                "to load in gates=[...]"
            )
        return self.named(function.__name__, function, where)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _comes_back(gate: Gate) -> bool:
    """Whether the constructor makes this gate of its attributes."""

    def prints(one: Gate) -> tuple[Any, ...]:
        encoder = Encoder()
        settings = encoder.value(dict(vars(one)), "")
        arrays = [(a.dtype, a.shape, a.tobytes()) for a in encoder.arrays.values()]
        # As text: 1, 1.0 and True are equal, but not the same.
        return repr(settings), arrays

    try:
        made = type(gate)(**vars(gate))
    except (TypeError, ValueError):
        return False
    return prints(made) == prints(gate)
