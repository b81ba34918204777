"""Settings from JSON and arrays: what is made of a file is made here, and of these kinds only."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar

import numpy as np

from gates.arrays import Array
from gates.contract import Gate
from nngraph.storage.file import StorageError
from nngraph.storage.kinds import OURS, SCALARS, TYPES

T = TypeVar("T")


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
