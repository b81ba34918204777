"""Names for what is printed: unique identifiers that clash with nothing."""

from __future__ import annotations

import builtins
import keyword
import unicodedata
from collections.abc import Iterable

import numpy as np

from nngraph.program.program import Operation

# What the value of an operation is called where nobody gave it a name; else it is called after its function.
WORDS = {
    "add": "total", "subtract": "difference", "multiply": "product", "divide": "quotient", "matmul": "product",
    "negative": "negated", "reduce": "reduced", "sum": "total", "max": "largest", "min": "smallest", "amax": "largest",
    "amin": "smallest", "maximum": "larger", "minimum": "smaller", "absolute": "size", "getitem": "part",
    "setitem": "filled", "at": "summed", "masked": "filled", "where": "chosen", "take_along_axis": "taken",
    "transpose": "transposed", "swapaxes": "transposed", "reshape": "reshaped", "expand_dims": "expanded",
    "broadcast_to": "repeated", "astype": "converted", "concatenate": "joined", "copy": "copied", "clip": "clipped",
    "put_along_axis": "filled", "copyto": "filled", "expit": "sigmoid", "einsum": "product", "ndtr": "probability",
    "sub": "difference", "mul": "product", "truediv": "quotient",
}  # fmt: skip


class Names:
    """Hands out identifiers, each once.

    Parameters
    ----------
    taken : iterable of str
        Names that are not to be given.
    """

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = {"np", "math", "scipy", *keyword.kwlist, *dir(builtins), *taken}

    def new(self, wanted: str) -> str:
        """Return `wanted`, made an identifier, or if that is taken with a number."""
        # Python takes an identifier for its NFKC form.
        plain = unicodedata.normalize("NFKC", wanted)
        base = "".join(c if f"_{c}".isidentifier() else "_" for c in plain)
        base = base if base.isidentifier() else f"v{base}"
        if base in dir(builtins) or keyword.iskeyword(base):
            base = f"{base}_"
        name, number = base, 1
        while name in self._taken:
            number += 1
            name = f"{base}_{number}" if not base.endswith("_") else f"{base}{number}"
        self._taken.add(name)
        return name


def word(operation: Operation) -> str:
    """Return what to call the nameless output of an operation."""
    function = operation.function
    if operation.output.dtype == bool:
        return "mask"
    name = getattr(function, "__name__", "value")
    if name == "reduce":
        ufunc = getattr(function, "__self__", np.add).__name__
        name = {"add": "sum", "maximum": "max", "minimum": "min"}.get(ufunc, name)
    return WORDS.get(name, name)
