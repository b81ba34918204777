"""Wrong gates, made mechanically: each has one slip of the pen in one method of its backward.

A method is read as a syntax tree. `changes` knows what can go wrong at a node; every change of every node gives one
mutant, which is the text of the method with that change. `planted` is a copy of a gate that runs a mutant's text in
place of the method's own: a subclass, so that the gate's class stays as it is.

Only methods that the forward does not use are changed (`backward_path`). What both ways share, such as
`OutputGate.weights`, `Hinge._direction` or the function `softmax`, defines the forward; a change there makes another
gate, whose backward may well be right.
"""

from __future__ import annotations

import ast
import copy
import inspect
import textwrap
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from gates import Gate

# Where a gate writes its chain rule: `backward`, or what the backward of its base calls.
METHODS = ("backward", "derivative", "slopes")

OPERATORS: dict[type[ast.operator], list[type[ast.operator]]] = {
    ast.Add: [ast.Sub, ast.Mult],
    ast.Sub: [ast.Add],
    ast.Mult: [ast.Div, ast.Add],
    ast.Div: [ast.Mult],
    ast.Pow: [ast.Mult],
    ast.MatMult: [ast.Mult],
    ast.BitAnd: [ast.BitOr],
    ast.BitOr: [ast.BitAnd],
}
ORDERED = (ast.Sub, ast.Div, ast.Pow, ast.MatMult)
COMPARISONS: list[tuple[type[ast.cmpop], ...]] = [
    (ast.Gt, ast.GtE, ast.Lt, ast.LtE),
    (ast.Eq, ast.NotEq),
    (ast.Is, ast.IsNot),
]


@dataclass(frozen=True)
class Mutant:
    """One method with one change."""

    kind: str
    # The node as it was and as it is.
    before: str
    after: str
    # The statement that holds it, and the whole method, after the change.
    statement: str
    source: str


def backward_path(gate: type[Gate]) -> list[tuple[type[Gate], str]]:
    """List the methods of a class's backward, each with the class that defines it: its own, and those of its bases."""
    return [
        (owner, name)
        for owner in inspect.getmro(gate)
        for name in METHODS
        if name in vars(owner) and not getattr(vars(owner)[name], "__isabstractmethod__", False)
    ]


def mutants(method: Callable[..., Any]) -> list[Mutant]:
    """List every method that differs from this one by one change; no two have the same text."""
    function = ast.parse(textwrap.dedent(inspect.getsource(method))).body[0]
    assert isinstance(function, ast.FunctionDef)
    found: dict[str, Mutant] = {}
    original = ast.unparse(function)
    for node, statement in nodes(function):
        for kind, new in changes(node, known_at(node, function)):
            source = ast.unparse(replaced(function, node, new))
            if source != original and source not in found:
                line = ast.unparse(replaced(statement, node, new))
                found[source] = Mutant(kind, ast.unparse(node), ast.unparse(new), line, source)
    return list(found.values())


def planted(gate: Gate, owner: type[Gate], source: str) -> Gate:
    """Copy a gate, with its settings, such that the text of a method stands where `owner` has that method.

    The text is compiled among the names of the owner's module, and inside a function whose argument is `__class__`:
    there `super()` looks for its class.
    """
    name = source.removeprefix("def ").partition("(")[0]
    scope: dict[str, Any] = {}
    text = f"def maker(__class__):\n{textwrap.indent(source, '    ')}\n    return {name}\n"
    with warnings.catch_warnings(action="ignore", category=SyntaxWarning):  # `0 is None` is silly, and meant
        exec(text, vars(owner)[name].__globals__, scope)  # noqa: S102 -- our own source, changed in one place
    body = {name: scope["maker"](owner), "__module__": owner.__module__}
    kind: type[Gate] = type(owner.__name__, (owner,), body)
    if owner is not type(gate):
        # In the order of this class's bases the changed one comes just before `owner`.
        kind = type(type(gate).__name__, (type(gate), kind), {"__module__": type(gate).__module__})
    mutant = copy.copy(gate)
    mutant.__class__ = kind
    return mutant


# --- Trees ------------------------------------------------------------------------------------------------------------


def nodes(function: ast.FunctionDef) -> Iterator[tuple[ast.AST, ast.stmt]]:
    """Yield what can be changed in the body of a function, each node with the innermost statement that holds it."""

    def below(node: ast.AST, statement: ast.stmt) -> Iterator[tuple[ast.AST, ast.stmt]]:
        statement = node if isinstance(node, ast.stmt) else statement
        yield node, statement
        for child in ast.iter_child_nodes(node):
            if child is getattr(node, "annotation", None):
                continue
            # The name of a method is no value of its own: `self.forward` in `self.forward(X)`.
            called = isinstance(node, ast.Call) and child is node.func and isinstance(child, ast.Attribute)
            yield from below(child.value if called else child, statement)

    for statement in function.body[ast.get_docstring(function) is not None :]:
        yield from below(statement, statement)


def replaced(tree: Any, old: ast.AST, new: ast.AST) -> Any:
    """Copy a tree with one node replaced."""
    if tree is old:
        return new
    if isinstance(tree, list):
        return [replaced(part, old, new) for part in tree]
    if isinstance(tree, ast.AST):
        parts = {name: replaced(value, old, new) for name, value in ast.iter_fields(tree)}
        return ast.copy_location(type(tree)(**parts), tree)
    return tree


def known_at(node: ast.AST, function: ast.FunctionDef) -> list[str]:
    """List the arrays that have a name where a node stands: the method's inputs, and what was assigned before."""
    inputs = [*function.args.args[1:], *filter(None, [function.args.vararg])]
    names = [argument.arg for argument in inputs]
    for statement in ast.walk(function):
        if isinstance(statement, ast.Assign) and (statement.end_lineno or 0) < getattr(node, "lineno", 0):
            names += names_in(statement.targets, ast.Store)
    return list(dict.fromkeys(names))


def names_in(trees: list[Any], context: type[ast.expr_context]) -> list[str]:
    """List the names that are read or written in these trees."""
    found = [node for tree in trees for node in ast.walk(tree)]
    return [node.id for node in found if isinstance(node, ast.Name) and isinstance(node.ctx, context)]


# --- Changes ----------------------------------------------------------------------------------------------------------


def changes(node: ast.AST, known: list[str]) -> Iterator[tuple[str, ast.AST]]:
    """Yield what may stand in place of a node, each with the kind of the change; `known` are the names at hand."""
    yield from changed_formula(node)
    yield from changed_value(node, known)
    yield from changed_flow(node, known)


def changed_formula(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Change an operator, a comparison or a constant, or leave out a term."""
    match node:
        case ast.BinOp(left, op, right):
            yield from (("operator", ast.BinOp(left, other(), right)) for other in OPERATORS.get(type(op), []))
            yield from (("term dropped", kept) for kept in (left, right))
            if isinstance(op, ORDERED):
                yield "swap", ast.BinOp(right, op, left)
        case ast.BoolOp(op, terms):
            yield "operator", ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), terms)
            yield from (("term dropped", kept) for kept in terms)
        case ast.UnaryOp(ast.USub() | ast.Not() | ast.Invert(), operand):
            yield "sign or not dropped", operand
        case ast.Compare(left, [op], [right]):
            others = [other for group in COMPARISONS if type(op) in group for other in group if other is not type(op)]
            yield from (("comparison", ast.Compare(left, [other()], [right])) for other in others)
        case ast.Constant(bool() as value):
            yield "constant", ast.Constant(not value)
        case ast.Constant(int() | float() as value):
            others = (value + 1, value - 1) if isinstance(value, int) else (2 * value, 0.0)
            yield from (("constant", ast.Constant(other)) for other in others)


def changed_value(node: ast.AST, known: list[str]) -> Iterator[tuple[str, ast.AST]]:
    """Take another array, setting or axis, swap two neighbours, or leave out a call, an index or an argument."""
    match node:
        case ast.Name(name, ast.Load()) if name in known:
            yield from (("name", ast.Name(other, ast.Load())) for other in known if other != name)
        case ast.Attribute(ast.Name("self"), _, ast.Load()):
            yield from (("setting", ast.Constant(value)) for value in (0, 1, None))
        case ast.keyword("axis"):
            yield from (("axis", ast.keyword("axis", ast.Constant(value))) for value in (0, 1, None))
        case ast.Attribute(value, "T") | ast.Subscript(value, _, ast.Load()):
            yield "call or index dropped", value
        case ast.Tuple(parts, ast.Load()):
            yield from (("swap", ast.Tuple(other, ast.Load())) for other in swaps(parts))
        case ast.Call(function, arguments, keywords):
            yield from (("swap", ast.Call(function, other, keywords)) for other in swaps(arguments))
            for gone in keywords:
                yield "argument dropped", ast.Call(function, arguments, [k for k in keywords if k is not gone])
            # Of X.f(...) stays X, and of f(X, ...) too.
            if isinstance(function, ast.Attribute) and set(known) & set(names_in([function], ast.Load)):
                yield "call or index dropped", function.value
            elif arguments and not isinstance(arguments[0], ast.Starred):
                yield "call or index dropped", arguments[0]


def changed_flow(node: ast.AST, known: list[str]) -> Iterator[tuple[str, ast.AST]]:
    """Decide a condition once and for all, return something else, or leave out a statement."""
    match node:
        case ast.IfExp(_, body, other):
            yield from (("condition", ast.IfExp(ast.Constant(value), body, other)) for value in (0, 1))
        case ast.If(_, body, other):
            yield from (("condition", ast.If(ast.Constant(value), body, other)) for value in (0, 1))
        case ast.comprehension(target, values, [_], is_async):
            yield "condition", ast.comprehension(target, values, [], is_async)
        case ast.Return(value) if value:
            yield from (("return", ast.Return(other)) for other in other_results(value))
        # Without the first assignment to a name there would be no such name.
        case ast.Expr() | ast.Assign() if set(names_in([node], ast.Store)) <= set(known):
            yield "statement dropped", ast.Pass()


def swaps(parts: list[ast.expr]) -> list[list[ast.expr]]:
    """List the orders in which two neighbours have changed places."""
    return [[*parts[:i], parts[i + 1], parts[i], *parts[i + 2 :]] for i in range(len(parts) - 1)]


def other_results(result: ast.expr) -> Iterator[ast.expr]:
    """Yield a returned expression negated, zero, and None; of a tuple, one element at a time."""
    if isinstance(result, ast.Tuple):
        for part in result.elts:
            if not isinstance(part, ast.Constant | ast.Starred):
                yield from (replaced(result, part, other) for other in other_results(part))
    else:
        yield from (ast.UnaryOp(ast.USub(), result), ast.BinOp(ast.Constant(0), ast.Mult(), result), ast.Constant(None))
