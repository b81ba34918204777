"""The body of a printed program: which values get a line and a name, and which are written where they are used."""

from __future__ import annotations

import ast
import operator
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nngraph.program.functions import masked
from nngraph.program.printing.expressions import expression, node, subscript
from nngraph.program.printing.legible import same
from nngraph.program.printing.literals import call, parsed, path
from nngraph.program.printing.memory import Memory
from nngraph.program.printing.names import Names, word
from nngraph.program.program import Operation, Program, Variable

WIDTH = 100
# Views that are written again wherever they are read; they cost nothing.
GLANCES = (np.transpose, np.swapaxes, np.expand_dims, np.reshape, operator.getitem)
# Python changes these in place as NumPy computes them.
IN_PLACE = (
    np.add, np.subtract, np.multiply, np.divide, operator.add, operator.sub, operator.mul, operator.truediv,
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """A statement of the body, and the variable that it makes or changes."""

    text: str
    variable: Variable


@dataclass(frozen=True)
class Inlined:
    """An expression that waits to be written where it is used, and the variables whose names are in it."""

    expression: ast.expr
    reads: frozenset[Variable]

    @property
    def length(self) -> int:
        return len(ast.unparse(self.expression))


class Writer:
    """Writes a program's operations, one after another, as lines.

    Parameters
    ----------
    program : Program
    names : Names
    written : mapping from variable to expression
        The inputs and constants.
    """

    def __init__(self, program: Program, names: Names, written: Mapping[Variable, ast.expr]) -> None:
        self.program, self.names = program, names
        self.lines: list[Line] = []
        self.memory = Memory(program)
        self._written = dict(written)
        self._waiting: dict[Variable, Inlined] = {}
        self._made = {operation.output: operation for operation in program.operations}
        self._uses = Counter(v for operation in program.operations for v in operation.variables)
        self._uses.update(program.outputs)
        self._left = Counter(self._uses)
        self._reader = {v: operation for operation in program.operations for v in operation.variables}
        # Graph names first, so that no nameless value takes one.
        self._identifiers = {
            holder: names.new(name)
            for holder, name in self.memory.titles.items()
            if name and holder not in written and not self._is_product_of_sum(holder)
        }

    def write(self) -> list[str]:
        """Write all lines; return the outputs' expressions."""
        several = len(self.program.outputs) > 1
        for operation in self.program.operations:
            if operation.kind == "update":
                self._update(operation)
            else:
                self._wait(operation)
                if self._has_line(operation) or (several and operation.output in self.program.outputs):
                    self._line(operation.output)
        return [text(self._read(v)) for v in self.program.outputs]

    def _read(self, variable: Variable) -> ast.expr:
        if variable in self._waiting:
            return self._waiting[variable].expression
        if variable in self._written:
            return self._written[variable]
        return ast.Name(self._name(variable))

    def _name(self, variable: Variable) -> str:
        holder = self.memory.holders[variable]
        if holder not in self._identifiers:
            self._identifiers[holder] = self.names.new(self.memory.titles[holder] or word(self._made[holder]))
        return self._identifiers[holder]

    def _has_line(self, operation: Operation) -> bool:
        """Whether an output is not written where it is used."""
        output = operation.output
        if self.memory.titles[self.memory.holders[output]] is not None:
            return not self._is_product_of_sum(output)
        glance = operation.kind == "view" and operation.function in GLANCES
        # What is read at a glance must be a name or an input.
        source = [v for v in operation.variables if v in self._made]
        at_a_glance = glance and self._waiting[output].reads >= set(source)
        return self._uses[output] != 1 and not at_a_glance

    def _is_product_of_sum(self, variable: Variable) -> bool:
        """Whether this is the ``X @ W`` of ``X @ W + b``, named by the graph: XW or, after its gate, Multiply."""
        made = self._made.get(variable)
        if made is None or made.function not in (np.matmul, operator.matmul) or self._uses[variable] != 1:
            return False
        joined, name = "".join(v.name or "" for v in made.variables), variable.name or ""
        named = name == joined or re.fullmatch(r"Multiply(_\d+)?", name) is not None
        reader = self._reader.get(variable)
        return named and reader is not None and reader.function in (np.add, operator.add)

    def _wait(self, operation: Operation) -> None:
        """Let an operation's expression wait to be used; operands that make it too long get a line."""
        output = operation.output
        title = self.memory.titles[self.memory.holders[output]]
        room = WIDTH - (27 if title is None else 7 + len(title))
        while len(ast.unparse(expression(operation, self._read))) > room and self._split(operation):
            pass
        written = Inlined(expression(operation, self._read), self._reads(operation))
        self._consume(operation)
        self._waiting[output] = written

    def _split(self, operation: Operation) -> bool:
        """Give the longest operand a line, if that makes the expression shorter."""
        lengths = {v: self._waiting[v].length for v in operation.variables if v in self._waiting}
        longest = max(lengths, key=lengths.__getitem__, default=None)
        if longest is None or lengths[longest] < 16:
            return False
        self._line(longest)
        return True

    def _reads(self, operation: Operation) -> frozenset[Variable]:
        parts = (self._waiting[v].reads if v in self._waiting else {v} for v in operation.variables)
        return frozenset(v for part in parts for v in part)

    def _consume(self, operation: Operation) -> None:
        """Forget expressions that are written now for the last time."""
        for variable in operation.variables:
            self._left[variable] -= 1
            if not self._left[variable]:
                self._waiting.pop(variable, None)

    def _line(self, variable: Variable) -> None:
        """Write ``name = expression``."""
        written = self._waiting.pop(variable)
        self.lines.append(Line(f"{self._name(variable)} = {text(written.expression)}", variable))

    def _update(self, operation: Operation) -> None:
        """Write a statement that changes its target, after a copy if the old value is still wanted."""
        output, target = operation.output, operation.arguments[0]
        changed: ast.expr = ast.Name("changed")
        while len(ast.unparse(_statement(operation, changed, self._read))) > WIDTH and self._split(operation):
            pass
        if self.memory.holders[output] is output:
            self.lines.append(Line(f"{self._name(output)} = {text(self._copy(target))}", output))
        elif target in self._waiting:
            self._line(target)
        # Others that wait, and read what is changed now, must be written before.
        for variable, waiting in list(self._waiting.items()):
            if variable not in operation.variables and any(self.memory.shared(v, output) for v in waiting.reads):
                self._line(variable)
        changed = ast.Name(self._name(output))
        statement = self._in_place(operation, changed) or _statement(operation, changed, self._read)
        self.lines.append(Line(text(statement), output))
        self._consume(operation)

    def _copy(self, target: Any) -> ast.expr:
        """Return what an update writes into, made anew."""
        written = node(target, self._read)
        # A number does not change in place, and a method's .copy() changes how an array lies in memory.
        if isinstance(target, Variable) and target.shape != ():
            fresh = target in self.program.constants and isinstance(written, ast.Call)
            return written if fresh else call(parsed("np.copy"), [written])
        return call(parsed("np.array"), [written])

    def _in_place(self, operation: Operation, changed: ast.expr) -> ast.stmt | None:
        """``x[i] += y``, for ``x[i] = x[i] + y``."""
        target, *rest = operation.arguments
        value = self._made.get(rest[1]) if operation.function is operator.setitem else None
        if value is None or value.output not in self._waiting or value.function not in IN_PLACE:
            return None
        written, old = self._waiting[value.output].expression, self._made.get(value.arguments[0])
        if not isinstance(written, ast.BinOp) or not isinstance(written.left, ast.Subscript) or old is None:
            return None
        # In place, the sum must have the shape and the dtype of what is added to.
        fits = value.output.shape == old.output.shape and value.output.dtype == target.dtype
        if not fits or not same(old.arguments, (target, rest[0])):
            return None
        return ast.AugAssign(ast.Subscript(changed, written.left.slice), written.op, written.right)


def _statement(operation: Operation, changed: ast.expr, read: Any) -> ast.stmt:
    """Return an update as a statement that changes its target."""
    function, rest = operation.function, operation.arguments[1:]
    if function is operator.setitem:
        return ast.Assign([subscript(changed, rest[0], read)], node(rest[1], read), lineno=0)
    keywords = {key: node(value, read) for key, value in operation.keywords.items()}
    if function is masked:
        where, ufunc, *inputs = rest
        keywords = {"out": changed, "where": node(where, read)}
        if ufunc is np.positive:
            written = call(parsed("np.copyto"), [changed, node(inputs[0], read)], {"where": keywords["where"]})
        else:
            written = call(parsed(path(ufunc)), [node(x, read) for x in inputs], keywords)
    else:
        written = call(parsed(path(function)), [changed, *(node(x, read) for x in rest)], keywords)
    return ast.Expr(written)


# ``-x ** y ** z``, where x, y and z are names or numbers.
POWER = re.compile(r"(?<![\w.)\]])(-?)([A-Za-z_][\w.]*|\d[\w.]*)((?: \*\* -?[\w.]+)+)(?![\w.(\[]| \*\*)")


def text(tree: ast.AST) -> str:
    """Return Python text as a formatter leaves it: double quotes, ``x**2`` and ``-(x**2)``."""

    def power(found: re.Match[str]) -> str:
        minus, base, exponents = found.groups()
        tight = base + exponents.replace(" ", "")
        return f"-({tight})" if minus else tight

    return POWER.sub(power, re.sub(r"'([^'\"\\]*)'", r'"\1"', ast.unparse(tree)))
