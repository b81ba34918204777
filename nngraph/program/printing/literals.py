"""Values as Python expressions: numbers, dtypes, functions and small arrays, exact to the bit."""

from __future__ import annotations

import ast
import math
import sys
from typing import Any

import numpy as np

from gates.arrays import Array
from nngraph.program import functions
from nngraph.program.printing import special

# NumPy has these under the same name.
BOTH = ("log1p", "expm1", "exp2", "cbrt")


class TooLongError(ValueError):
    """An array has more numbers than are to be printed."""


def parsed(text: str) -> ast.expr:
    """Return an expression from its text."""
    return ast.parse(text, mode="eval").body


def call(function: ast.expr, arguments: list[ast.expr], keywords: dict[str, ast.expr] | None = None) -> ast.Call:
    """``function(*arguments, **keywords)``."""
    return ast.Call(function, arguments, [ast.keyword(key, value) for key, value in (keywords or {}).items()])


def literal(value: Any) -> ast.expr:
    """Return a plain value, an array, a dtype or a function as an expression; raise ValueError for anything else."""
    if isinstance(value, np.ndarray):
        return array_literal(value, value.size)
    if isinstance(value, np.generic):
        return call(dtype(value.dtype), [literal(value.item() if value.dtype.kind in "biu" else shortest(value))])
    if value is None or value is ... or isinstance(value, bool | str):
        return ast.Constant(value)
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        return dtype(np.dtype(value))
    if callable(value):
        return parsed(value.__name__ if value in (bool, int, float) else path(value))
    raise ValueError(f"{value!r} cannot be printed as source")


def _number(value: float) -> ast.expr:
    if not math.isfinite(value):
        return parsed("np.nan" if math.isnan(value) else "np.inf" if value > 0 else "-np.inf")
    # With the sign as an operator, -1 gets brackets where they are needed.
    negative = math.copysign(1, value) < 0
    return ast.UnaryOp(ast.USub(), ast.Constant(-value)) if negative else ast.Constant(value)


def shortest(value: Any) -> float:
    """Return the float with the fewest digits that rounds to a value of a narrower dtype."""
    if value.dtype.kind != "f" or value.dtype.itemsize > 8:
        raise ValueError(f"a number of dtype {value.dtype} cannot be printed as source")
    short = float(str(value))
    return short if value.dtype.type(short) == value else float(value)


def dtype(value: np.dtype[Any]) -> ast.expr:
    """``np.float64``."""
    if value.isnative and value.kind in "biufc":
        return parsed(f"np.{value.name}")
    return parsed(f"np.dtype({value.str!r})")


def path(function: Any) -> str:
    """``np.add.reduce``: where a function is found; raise ValueError if it is neither NumPy's nor SciPy's."""
    name, owner = getattr(function, "__name__", ""), getattr(function, "__self__", None)
    if isinstance(owner, np.ufunc):
        return f"{path(owner)}.{name}"
    if function is np.absolute:
        return "np.abs"
    if getattr(functions, name, None) is function:
        return str(name)
    # A ufunc does not say where it is from.
    ufunc = isinstance(function, np.ufunc)
    for module in ("numpy", "scipy.special") if ufunc else (str(getattr(function, "__module__", "")),):
        if module.split(".")[0] in ("numpy", "scipy") and getattr(sys.modules.get(module), name, None) is function:
            if module == "scipy.special" and (name in BOTH or name in special.STAND_INS):
                return f"np.{name}" if name in BOTH else name
            return f"{module}.{name}".replace("numpy.", "np.", 1)
    raise ValueError(f"{name or function!r} cannot be printed as source: it is neither NumPy's nor SciPy's")


def array_literal(array: Array, limit: int) -> ast.expr:
    """Return an array as an expression that makes it anew; raise ValueError if it takes more than `limit` numbers."""
    if array.dtype.kind not in "biuf":
        raise ValueError(f"an array of dtype {array.dtype} cannot be printed as source")
    if not array.ndim:
        return literal(array[()])
    order = {} if array.flags.c_contiguous or not array.flags.f_contiguous else {"order": ast.Constant("F")}
    first = array.flat[0] if array.size else array.dtype.type(0)
    if array.size != 1 and is_uniform(array):
        make = {0: "zeros", 1: "ones"}.get(first, "full") if math.copysign(1, first) > 0 else "full"
        fill = [] if make != "full" else [literal(first.item() if first.dtype.kind != "f" else shortest(first))]
        usual = np.float64 if make != "full" else np.asarray(first.item()).dtype
        return call(
            parsed(f"np.{make}"),
            [parsed(repr(array.shape if array.ndim > 1 else array.size)), *fill],
            {**_unless(array.dtype, usual), **order},
        )
    if array.size > 1 and array.dtype.kind in "iu" and (np.diff(array.ravel()) == 1).all() and not order:
        start, stop = int(first), int(first) + array.size
        ends = [literal(end) for end in ([start, stop] if start else [stop])]
        line = call(parsed("np.arange"), ends, _unless(array.dtype, np.int64))
        shape = [literal(n) for n in array.shape]
        return line if array.ndim == 1 else call(ast.Attribute(line, "reshape"), shape)
    if array.size > limit:
        raise TooLongError(f"its {array.size} numbers are too many to print")
    return call(parsed("np.array"), [_nested(array)], {**_unless(array.dtype, np.asarray(first.item()).dtype), **order})


def _unless(value: np.dtype[Any], usual: Any) -> dict[str, ast.expr]:
    return {} if value == usual else {"dtype": dtype(value)}


def _nested(array: Any) -> ast.expr:
    if array.ndim:
        return ast.List([_nested(row) for row in array])
    return literal(shortest(array[()]) if array.dtype.kind == "f" else array.item())


def is_uniform(array: Array) -> bool:
    """Whether all elements are the same, to the bit."""
    data = np.ascontiguousarray(array)
    return data.tobytes() == data.ravel()[:1].tobytes() * data.size
