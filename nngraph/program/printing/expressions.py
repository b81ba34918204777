"""Operations as Python expressions, with operators, methods and brackets where these compute the same, to the bit."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from nngraph.program.functions import astype
from nngraph.program.printing.literals import call, literal, parsed, path
from nngraph.program.program import Operation, Variable

# How a variable is written.
Read: TypeAlias = Callable[[Variable], ast.expr]

BINARY: dict[Any, type[ast.operator]] = {
    np.add: ast.Add, np.subtract: ast.Sub, np.multiply: ast.Mult, np.divide: ast.Div, np.floor_divide: ast.FloorDiv,
    np.remainder: ast.Mod, np.matmul: ast.MatMult, np.bitwise_and: ast.BitAnd, np.bitwise_or: ast.BitOr,
    np.bitwise_xor: ast.BitXor, operator.add: ast.Add, operator.sub: ast.Sub, operator.mul: ast.Mult,
    operator.truediv: ast.Div, operator.floordiv: ast.FloorDiv, operator.mod: ast.Mod, operator.matmul: ast.MatMult,
    operator.and_: ast.BitAnd, operator.or_: ast.BitOr, operator.xor: ast.BitXor, operator.pow: ast.Pow,
    np.power: ast.Pow,
}  # fmt: skip
COMPARE: dict[Any, type[ast.cmpop]] = {
    np.less: ast.Lt, np.less_equal: ast.LtE, np.greater: ast.Gt, np.greater_equal: ast.GtE, np.equal: ast.Eq,
    np.not_equal: ast.NotEq, operator.lt: ast.Lt, operator.le: ast.LtE, operator.gt: ast.Gt, operator.ge: ast.GtE,
    operator.eq: ast.Eq, operator.ne: ast.NotEq,
}  # fmt: skip
UNARY: dict[Any, type[ast.unaryop]] = {
    np.negative: ast.USub, np.invert: ast.Invert, operator.neg: ast.USub, operator.invert: ast.Invert,
}  # fmt: skip
# Functions that arrays have as methods; the first argument after the array is an axis for those that reduce.
REDUCE = (
    np.sum, np.prod, np.mean, np.std, np.var, np.max, np.min, np.any, np.all, np.argmax, np.argmin, np.cumsum,
    np.cumprod,
)  # fmt: skip
METHODS = (*REDUCE, np.ravel, np.squeeze, np.swapaxes, np.repeat, astype)
REDUCTIONS = {np.add.reduce: "sum", np.multiply.reduce: "prod", np.maximum.reduce: "max", np.minimum.reduce: "min"}
# What these keywords are without being given.
DEFAULTS: dict[str, Any] = {"axis": None, "dtype": None, "out": None, "keepdims": False}


def expression(operation: Operation, read: Read) -> ast.expr:
    """Return an operation that is no update as an expression of its variables."""
    for write in (_operator, _index, _view, _reduction, _method):
        written = write(operation, read)
        if written is not None:
            return written
    keywords = {key: node(value, read) for key, value in operation.keywords.items()}
    return call(parsed(path(operation.function)), [node(value, read) for value in operation.arguments], keywords)


def node(tree: Any, read: Read) -> ast.expr:  # noqa: PLR0911 - a table of types
    """Return an argument as an expression: a variable, a plain value, or a tuple, list, dict or slice of these."""
    if isinstance(tree, Variable):
        return read(tree)
    if isinstance(tree, tuple) and any(isinstance(branch, slice) for branch in tree):
        return subscript(parsed("np.s_"), tree, read)
    if isinstance(tree, tuple):
        return ast.Tuple([node(branch, read) for branch in tree])
    if isinstance(tree, list):
        return ast.List([node(branch, read) for branch in tree])
    if isinstance(tree, Mapping):
        return ast.Dict([literal(key) for key in tree], [node(value, read) for value in tree.values()])
    if isinstance(tree, slice):
        return ast.Subscript(parsed("np.s_"), _bracket(tree, read))
    return literal(tree)


def subscript(array: ast.expr, index: Any, read: Read) -> ast.Subscript:
    """``array[index]``."""
    parts = index if isinstance(index, tuple) else (index,)
    written = [_bracket(part, read) for part in parts]
    alone = len(parts) == 1 and not isinstance(parts[0], tuple)
    return ast.Subscript(array, written[0] if alone else ast.Tuple(written))


def _bracket(part: Any, read: Read) -> ast.expr:
    if not isinstance(part, slice):
        return node(part, read)
    ends = (part.start, part.stop, part.step)
    return ast.Slice(*(None if end is None else node(end, read) for end in ends))


def _operator(operation: Operation, read: Read) -> ast.expr | None:  # noqa: PLR0911 - a table of kinds
    """``x + y``, ``x < y``, ``-x``."""
    function, arguments = operation.function, operation.arguments
    if operation.keywords:
        return None
    if isinstance(function, np.ufunc) and not _is_array_arithmetic(arguments):
        return None
    if function is np.square and operation.output.shape != () and _kind(operation.output) == "f":
        return ast.BinOp(node(arguments[0], read), ast.Pow(), ast.Constant(2))
    if function in UNARY:
        return ast.UnaryOp(UNARY[function](), node(arguments[0], read))
    if len(arguments) != 2 or (function is np.power and not _is_plain_power(operation)):
        return None
    left, right = (node(argument, read) for argument in arguments)
    if function in BINARY:
        return ast.BinOp(left, BINARY[function](), right)
    return ast.Compare(left, [COMPARE[function]()], [right]) if function in COMPARE else None


def _is_array_arithmetic(arguments: tuple[Any, ...]) -> bool:
    """Whether an operator on these is NumPy's: numbers and arrays, not numbers alone."""
    plain = all(_is_array(x) if isinstance(x, Variable) else isinstance(x, int | float | np.generic) for x in arguments)
    return plain and any(isinstance(x, Variable) for x in arguments)


def _is_array(value: Any) -> bool:
    return isinstance(value, Variable) and value.dtype is not None


def _kind(variable: Variable) -> str:
    return "" if variable.dtype is None else variable.dtype.kind


def _is_plain_power(operation: Operation) -> bool:
    """Whether ``x ** y`` is np.power: numbers have a power of their own, and arrays other functions for some y."""
    _, y = operation.arguments
    if operation.output.shape == () or _kind(operation.output) != "f":
        return False
    return y.shape != () if isinstance(y, Variable) else type(y) in (int, float) and y not in (-1, 0, 0.5, 1, 2)


def _index(operation: Operation, read: Read) -> ast.expr | None:
    """``x[:, 0]``."""
    if operation.function is not operator.getitem:
        return None
    array, index = operation.arguments
    return subscript(read(array), index, read)


def _view(operation: Operation, read: Read) -> ast.expr | None:  # noqa: PLR0911 - a table of functions
    """``x.T``, ``x[..., None]``, ``x.reshape(2, -1)``."""
    function, arguments, keywords = operation.function, operation.arguments, operation.keywords
    if not arguments or not _is_array(arguments[0]):
        return None
    x, rest, shape = read(arguments[0]), arguments[1:], arguments[0].shape
    if function is np.transpose:
        axes = rest[0] if rest else keywords.get("axes")
        if axes is None or (shape is not None and tuple(axes) == tuple(range(len(shape)))[::-1]):
            return ast.Attribute(x, "T")
        return call(ast.Attribute(x, "transpose"), [literal(axis) for axis in axes])
    if (
        function is np.swapaxes
        and shape is not None
        and len(shape) == 2
        and not keywords
        and rest[0] % 2 != rest[1] % 2
    ):
        return ast.Attribute(x, "T")
    if function is np.expand_dims and shape is not None:
        axis = rest[0] if rest else keywords["axis"]
        index = _new_axes(axis if isinstance(axis, tuple) else (axis,), len(shape))
        return subscript(x, index, read) if index else x
    if function is np.reshape and len(rest) == 1 and keywords.keys() <= {"order"}:
        lengths = rest[0] if isinstance(rest[0], tuple) and rest[0] else (rest[0],)
        return call(ast.Attribute(x, "reshape"), [node(n, read) for n in lengths], _nodes(keywords, read))
    return None


def _new_axes(axes: tuple[int, ...], ndim: int) -> tuple[Any, ...]:
    """Return the index that np.expand_dims stands for."""
    if axes == (-1,) and ndim > 1:
        return ..., None
    new = {axis % (ndim + len(axes)) for axis in axes}
    return tuple(None if axis in new else slice(None) for axis in range(max(new, default=-1) + 1))


def _reduction(operation: Operation, read: Read) -> ast.expr | None:
    """``x.sum(axis=0)``, from np.add.reduce, whose axis is 0 unless it is given."""
    function, arguments = operation.function, operation.arguments
    if not isinstance(getattr(function, "__self__", None), np.ufunc) or function not in REDUCTIONS:
        return None
    if not arguments or not _is_array(arguments[0]):
        return None
    names = ("axis", "dtype", "out", "keepdims", "initial", "where")
    given = {"axis": 0, **dict(zip(names, arguments[1:], strict=False)), **operation.keywords}
    return call(ast.Attribute(read(arguments[0]), REDUCTIONS[function]), [], _keywords(given, read))


def _method(operation: Operation, read: Read) -> ast.expr | None:
    """``x.mean(axis=0)``, ``x.astype(np.float32)``."""
    function, arguments, keywords = operation.function, operation.arguments, dict(operation.keywords)
    if function not in METHODS or not arguments or not _is_array(arguments[0]):
        return None
    array, *rest = arguments
    if function in REDUCE and len(rest) == 1:
        keywords = {"axis": rest.pop(), **keywords}
    method = ast.Attribute(read(array), function.__name__)
    return call(method, [node(value, read) for value in rest], _keywords(keywords, read))


def _keywords(given: Mapping[str, Any], read: Read) -> dict[str, ast.expr]:
    """Return what is not given by default; an axis in a tuple of its own as the axis."""
    kept = {key: value for key, value in given.items() if not _is_default(key, value)}
    axis = kept.get("axis")
    if isinstance(axis, tuple) and len(axis) == 1:
        kept["axis"] = axis[0]
    return _nodes(kept, read)


def _is_default(key: str, value: Any) -> bool:
    return value is getattr(np, "_NoValue", ...) or (key in DEFAULTS and value is DEFAULTS[key])


def _nodes(given: Mapping[str, Any], read: Read) -> dict[str, ast.expr]:
    return {key: node(value, read) for key, value in given.items()}
