"""Settings as JSON and arrays, and back, to the bit: what is made from a file is made of these kinds only."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import EllipsisType, FunctionType
from typing import Any, TypeVar

import numpy as np

import gates
from gates.arrays import Array
from gates.contract import Gate
from nngraph.storage.file import DTYPES, StorageError

T = TypeVar("T")

# How deep settings may stand in settings.
DEPTH = 20
INT_BITS = 4096

OURS: Mapping[str, type[Gate]] = {
    name: kind
    for name, kind in vars(gates).items()
    if isinstance(kind, type) and issubclass(kind, Gate) and not inspect.isabstract(kind)
}
# Types that may be settings, and the dtypes of numbers; a complex128 has no place in a file as an array.
TYPES: Mapping[str, type] = {kind.__name__: kind for kind in (bool, int, float)} | {
    f"numpy.{name}": getattr(np, name) for name in DTYPES
}
SCALARS = frozenset([*DTYPES, "complex128"])


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


def known(given: Any) -> Mapping[str, Any]:
    """Return the user's classes and functions by name; raise ValueError if something is neither, or two share a name.

    Parameters
    ----------
    given : sequence
        Classes of gates, gates (for their classes), and functions.
    """
    what = "gates must be a list of gates or their classes, and functions that draw"
    if isinstance(given, str | Mapping | type) or not hasattr(given, "__iter__"):
        raise ValueError(f"{what}, got {given!r}")
    found: dict[str, Any] = {}
    for one in given:
        thing = type(one) if isinstance(one, Gate) else one
        if not (isinstance(thing, FunctionType) or (isinstance(thing, type) and issubclass(thing, Gate))):
            raise ValueError(f"{what}, got {one!r}")
        if found.setdefault(thing.__name__, thing) is not thing:
            raise ValueError(f"gates has two that are called {thing.__name__!r}; give the one that was saved")
    return found


class Decoder:
    """Makes settings of JSON and arrays: of the kinds that `Encoder` knows, and nothing else.

    Parameters
    ----------
    arrays : mapping from name to array
    named : mapping from name to class or function
        Those of the user.
    path : path
        For messages.
    """

    def __init__(self, arrays: Mapping[str, Array], named: Mapping[str, Any], path: Path) -> None:
        self._arrays, self._named, self.path = arrays, named, path
        self._used: set[str] = set()
        self._kinds: dict[str, Callable[[Any], Any]] = {
            "float": lambda given: {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[given],
            "tuple": lambda given: tuple(self._list(given)),
            "dict": self._dict,
            "slice": lambda given: slice(*self._list(given, 3)),
            "ellipsis": lambda _: ...,
            "scalar": self._scalar,
            "dtype": lambda given: np.dtype(TYPES[f"numpy.{given}"]),
            "type": lambda given: TYPES[given],
            "gate": self.gate,
        }

    def bad(self, why: str) -> StorageError:
        """Return the error for what no Encoder writes."""
        return StorageError(f"{self.path}: does not describe what it should: {why}")

    def guard(self, make: Callable[[], T]) -> T:
        """Make something of a file; raise StorageError, with its path, if the file does not describe such a thing."""
        try:
            return make()
        except StorageError as error:
            # Those of the parts do not know which file it is.
            raise error if str(error).startswith(str(self.path)) else self.bad(f"{error!s:.500}") from error
        except (AttributeError, LookupError, TypeError, ValueError, OverflowError) as error:
            raise self.bad(f"{type(error).__name__}: {error!s:.500}") from error

    def value(self, record: Any) -> Any:
        """Return what `Encoder.value` was given."""
        if isinstance(record, list):
            return [self.value(part) for part in record]
        if not isinstance(record, dict):
            if isinstance(record, float) and not math.isfinite(record):
                raise self.bad("a number is too large")
            return record
        if record.keys() & {"array", "columns"}:
            return self.array(record)
        if len(record) != 1 or next(iter(record)) not in self._kinds:
            raise self.bad(f"no value has the kind {', '.join(map(repr, record))[:100] or 'nothing'}")
        kind, given = next(iter(record.items()))
        try:
            return self._kinds[kind](given)
        except StorageError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise self.bad(f"{str(given)[:100]!r} is no {kind} ({error!s:.300})") from error

    def array(self, record: Any) -> Array:
        """Return a copy of the array that a record refers to."""
        entry = self.fields(record)
        kind, name = next(iter(entry.items())) if len(entry) == 1 else ("", None)
        if kind not in ("array", "columns") or not isinstance(name, str) or name not in self._arrays:
            raise self.bad(f"there is no array {str(name)[:100]!r}")
        # Else a small file could ask for any number of copies of a large array.
        if name in self._used:
            raise self.bad(f"the array {name!r:.100} stands in two places")
        self._used.add(name)
        copied = np.array(self._arrays[name], order="C")
        copied = copied.astype(copied.dtype.newbyteorder("="), copy=False)
        return copied.T if kind == "columns" else copied

    def fields(self, record: Any, *names: str) -> dict[str, Any]:
        """Return a record as a dict that has these entries."""
        if not isinstance(record, dict) or not all(name in record for name in names):
            raise self.bad(f"expected a record with {', '.join(names)}, got {str(record)[:100]}")
        return record

    def gate(self, record: Any) -> Gate:
        """Make a gate: one of ours by its constructor, which checks its settings; a user's without, as a copy is made.

        So no code runs that the file could choose, and no `__init__` of the user's.
        """
        record = self.fields(record, "class", "ours", "settings")
        name, settings = record["class"], self.fields(record["settings"])
        kind: Any = OURS.get(name) if record["ours"] is True else self.named(name, "the gate")
        if not (isinstance(kind, type) and issubclass(kind, Gate)):
            raise self.bad(f"{str(name)[:100]!r} is no gate of nngraph; was it saved by a newer one?")
        values = {attribute: self.value(part) for attribute, part in settings.items()}
        try:
            if record["ours"] is True:
                gate: Gate = kind(**values)
            else:
                gate = object.__new__(kind)
                vars(gate).update(values)
        except (TypeError, ValueError, OverflowError) as error:
            raise self.bad(f"no {name!s:.100} has the settings {str(values)[:100]} ({error!s:.300})") from error
        return gate

    def named(self, name: Any, what: str) -> Any:
        """Return a class or a function of the user's."""
        if not isinstance(name, str) or name not in self._named:
            there = f", and gates=[...] has {', '.join(self._named)}" if self._named else ""
            raise StorageError(
                f"{self.path}: has {what} {str(name)[:100]!r}, which is none of nngraph's{there}; give it: "
                f"nngraph.load(path, gates=[{str(name)[:100]}])"
            )
        return self._named[name]

    def function(self, name: Any) -> Any:
        """Return a function of the user's."""
        found = self.named(name, "the function")
        if not isinstance(found, FunctionType):
            raise self.bad(f"{name!r} is to be a function, and in gates=[...] it is a class")
        return found

    def _list(self, given: Any, length: int | None = None) -> list[Any]:
        if not isinstance(given, list) or (length is not None and len(given) != length):
            raise TypeError("expected a list")
        return [self.value(part) for part in given]

    def _dict(self, given: Any) -> dict[Any, Any]:
        pairs = self._list(given)
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a key stands twice")
        return found

    def _scalar(self, given: Any) -> np.generic:
        name, digits = given
        if name not in SCALARS:
            raise KeyError(name)
        dtype = np.dtype(name).newbyteorder("<")
        # Exactly one: frombuffer takes several, too.
        (found,) = np.frombuffer(bytes.fromhex(digits), dtype).astype(dtype.newbyteorder("="))
        scalar: np.generic = found
        return scalar


def losses_of(decoder: Decoder, record: Any) -> list[float]:
    """Return a model's loss_history."""
    losses = decoder.array(record)
    if losses.ndim != 1 or losses.dtype != np.float64:
        raise decoder.bad("the loss history must be a vector of float64")
    found: list[float] = losses.tolist()
    return found
