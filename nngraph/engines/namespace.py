"""Names for what lines of Python use: arrays, functions and values."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from gates.arrays import Array
from nngraph.program.program import Variable, leaves


class Namespace:
    """What the lines of a compiled program find under which name.

    Parameters
    ----------
    arrays : mapping from variable to array
        Where variables lie; one that is not there is a name that a line assigns to.

    Attributes
    ----------
    namespace : dict from name to value
    """

    def __init__(self, arrays: Mapping[Variable, Array]) -> None:
        self.arrays = dict(arrays)
        self.namespace: dict[str, Any] = {}
        self._names: dict[Any, str] = {}
        # What the functions themselves are called is taken.
        self._taken = {"load", "step"}
        self._counts: dict[str, int] = {}
        self._kept: list[Any] = []

    def text(self, value: Any) -> str:
        """Return the text of an argument."""
        if isinstance(value, Variable):
            return self.name(value)
        if value is None or isinstance(value, bool | int | str):
            return repr(value)
        if any(True for _ in leaves(value)):
            if isinstance(value, slice):
                return f"slice({', '.join(self.text(part) for part in (value.start, value.stop, value.step))})"
            inner = ", ".join(self.text(part) for part in value)
            return f"[{inner}]" if isinstance(value, list) else f"({inner},)"
        return self.bind(value, "value")

    def name(self, variable: Variable) -> str:
        """Return the name of a variable; a static one is bound to its array."""
        if variable not in self._names:
            self._names[variable] = self._unique(variable.name or "t")
        name = self._names[variable]
        if variable in self.arrays:
            self.namespace[name] = self.arrays[variable]
        return name

    def bind(self, value: Any, called: str = "") -> str:
        """Return a name for a value that lines use."""
        owner = getattr(value, "__self__", None)
        if not called:
            called = getattr(value, "__name__", type(value).__name__)
            called = f"{owner.__name__}_{called}" if isinstance(owner, np.ufunc) else called
        # Bound methods of one function are equal, but never the same.
        key = (owner, value.__name__) if isinstance(owner, np.ufunc) else id(value)
        if key not in self._names:
            self._names[key] = self._unique(called)
            self.namespace[self._names[key]] = value
            self._kept.append(value)
        return self._names[key]

    def _unique(self, name: str) -> str:
        plain = re.sub(r"\W", "_", name, flags=re.ASCII)
        plain = f"_{plain}" if not plain.isidentifier() or keyword.iskeyword(plain) else plain
        found = plain
        while found in self._taken or hasattr(builtins, found):
            self._counts[plain] = self._counts.get(plain, 1) + 1
            found = f"{plain}_{self._counts[plain]}"
        self._taken.add(found)
        return found

    @property
    def assigned(self) -> list[str]:
        """The names that lines assign to."""
        return sorted(name for v, name in self._names.items() if isinstance(v, Variable) and v not in self.arrays)
