"""A Program as Python: the NumPy that one would have written by hand."""

from __future__ import annotations

import ast
import keyword
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np

from gates.arrays import Array
from nngraph.program import functions
from nngraph.program.functions import astype, masked
from nngraph.program.printing import special
from nngraph.program.printing.legible import legible
from nngraph.program.printing.literals import TooLongError, array_literal, path
from nngraph.program.printing.names import Names
from nngraph.program.printing.statements import Line, Writer, text
from nngraph.program.program import Operation, Program, Variable

# Constants of more numbers than these are written above the function, or not at all.
INLINE, PRINTED = 16, 1000
LINE = 120


def source(
    program: Program, name: str = "step", doc: str = "", *, constants: Literal["text", "arguments"] = "text"
) -> str:
    """Print a program as a Python module with one function, which needs NumPy only.

    Parameters
    ----------
    program : Program
    name : str, default="step"
        What the function is called.
    doc : str, default=""
        Of its docstring the first line, and paragraphs after that; an empty line is between two.
    constants : {"text", "arguments"}, default="text"
        Whether arrays of more than 16 numbers that are part of the program are written above the function, or asked for
        as keyword arguments.

    Returns
    -------
    text : str
        Of a module. Its function takes the inputs by name and returns the output, or a tuple of them: to the bit, what
        `Program.evaluate` returns, but for what SciPy computes, which has stand-ins that differ by a few ulp. The data
        are not checked: guards are left out.

    Raises
    ------
    ValueError
        If a gate is called as it is, for its Python code was not followed; if a constant has more than 1,000 numbers
        and is to be written; if a function is neither NumPy's nor SciPy's; if `name` is no name, or one that is needed.
    """
    guarded = bool(program.guards)
    program = legible(program)
    if any(operation.kind == "call" for operation in program.operations):
        gates = "; ".join(map(str, program.opaque)) or "a gate"
        raise ValueError(f"gates that are called as they are cannot be printed, their code was not followed: {gates}")
    helpers, imports = _needed(program.operations)
    if not name.isidentifier() or keyword.iskeyword(name) or name in {"np", "math", "scipy", *helpers}:
        raise ValueError(f"a printed function cannot be called {name!r}")
    names = Names([name, *helpers])
    inputs: dict[Variable, ast.expr] = {v: ast.Name(names.new(v.name or "x")) for v in program.inputs}
    short = {v: array for v, value in program.constants.items() if (array := _short(value)) is not None}
    long: dict[Variable, ast.expr] = {
        v: ast.Name(names.new(v.name or "constant")) for v in program.constants if v not in short
    }
    writer = Writer(program, names, {**inputs, **short, **long})
    outputs = writer.write()
    asked, above = (long, {}) if constants == "arguments" else ({}, long)
    arguments = [text(x) for x in inputs.values()]
    optional = [text(x) for x in asked.values()]
    about = [_listed(f"{text(x)} {v.shape}{_dtype(v)}" for v, x in [*inputs.items(), *asked.items()])]
    if guarded:
        about.append("The data are not checked: what gates asked of them is taken as answered as it was then.")
    head = [
        f'"""{_title(name, imports)}"""\n',
        *imports,
        *(["", *(_array(text(x), program.constants[v]) for v, x in above.items())] if above else []),
        *(f"\n\n{helper}" for helper in helpers.values()),
        "\n",
        _wrapped(f"def {name}(", [*arguments, *(["*"] if asked else []), *optional], "):"),
        _docstring([*(doc or _formula(name, [*arguments, *optional], outputs)).split("\n\n"), *about]),
    ]
    body = [*_marked(writer, program), _return(outputs)]
    if program.quiet:
        body = ['with np.errstate(all="ignore"):', *_indented(body)]
    return "\n".join([*head, *_indented(body), ""])


def _indented(lines: Iterable[str]) -> list[str]:
    return [textwrap.indent(line, "    ") for line in lines]


def _needed(operations: Sequence[Operation]) -> tuple[dict[str, str], list[str]]:
    """Return the helper functions that operations need, name to text, and the lines that import."""
    paths = {path(function) for operation in operations for function in _functions(operation)}
    ours = {**vars(functions), **special.STAND_INS}
    helpers = {name: text(special.tree(ours[name])) for name in sorted(paths) if "." not in name}
    modules = {found.rsplit(".", 1)[0] for found in paths if found.startswith("scipy.")}
    if any("math." in helper for helper in helpers.values()):
        modules.add("math")
    standard = [f"import {module}" for module in ("math",) if module in modules]
    rest = [f"import {module}" for module in sorted(modules - {"math"})]
    return helpers, [*standard, *([""] if standard else []), "import numpy as np", *rest]


def _functions(operation: Operation) -> Iterator[Any]:
    """Yield the functions that an operation names when it is printed."""
    if operation.function in (astype, masked):
        yield from (value for value in operation.arguments if isinstance(value, np.ufunc))
    elif getattr(operation.function, "__module__", None) != "_operator":
        yield operation.function


def _short(array: Array) -> ast.expr | None:
    """Return a constant as an expression to be written where it is used, None if it is long."""
    try:
        return array_literal(array, INLINE)
    except TooLongError:
        return None


def _array(name: str, array: Array) -> str:
    """Return a constant as an assignment, wrapped."""
    try:
        written = text(array_literal(array, PRINTED))
    except TooLongError as error:
        advice = 'source(..., constants="arguments") makes it an argument of the function'
        raise ValueError(f"{name} {array.shape} is part of the program, and {error}; {advice}") from None
    lines = textwrap.wrap(f"{name} = {written}", LINE - 13, subsequent_indent="    ", break_on_hyphens=False)
    return "\n".join(lines) + ("  # fmt: skip" if len(lines) > 1 else "")


def _title(name: str, imports: Sequence[str]) -> str:
    others = [line.removeprefix("import ") for line in imports if "scipy" in line]
    return f"{name}, written by nngraph; it needs {' and '.join(['NumPy', *others])}{'' if others else ' only'}."


def _formula(name: str, arguments: Sequence[str], outputs: Sequence[str]) -> str:
    """``loss, dW = step(X, W)``; ``step(X, W) = X @ W`` for an expression alone."""
    called = f"{name}({_shortened(arguments)})"
    named = [output if output.isidentifier() else "..." for output in outputs]
    return f"``{called} = {outputs[0]}``." if named == ["..."] else f"``{_shortened(named)} = {called}``."


def _shortened(names: Sequence[str]) -> str:
    return ", ".join(names if len(names) <= 10 else [*names[:4], "...", *names[-2:]])


def _listed(parts: Iterable[str]) -> str:
    listed = ", ".join(parts)
    return f"{listed}." if listed else ""


def _dtype(variable: Variable) -> str:
    return "" if variable.dtype in (None, np.float64) else f" {variable.dtype}"


def _docstring(paragraphs: Sequence[str]) -> str:
    """Return a docstring, wrapped and indented."""
    first, *rest = (paragraph.replace("\\", "\\\\").replace('"""', "'''") for paragraph in paragraphs if paragraph)
    if not rest:
        return f'    """{first}"""'
    wrapped = "\n\n".join(textwrap.fill(p, LINE, initial_indent="    ", subsequent_indent="    ") for p in rest)
    return f'    """{first}\n\n{wrapped}\n    """'


def _marked(writer: Writer, program: Program) -> Iterator[str]:
    """Yield the lines, with a comment where the backward starts: after the last value before the first gradient."""
    titles = writer.memory.titles
    names = {name for name in titles.values() if name}

    def title(line: Line) -> str:
        return titles[writer.memory.holders[line.variable]] or ""

    start = next((i for i, x in enumerate(writer.lines) if title(x)[:1] == "d" and title(x)[1:] in names), 0)
    while start and not title(writer.lines[start - 1]) and writer.lines[start - 1].variable not in program.outputs:
        start -= 1
    for i, line in enumerate(writer.lines):
        if i == start and start:
            yield from ("", "# backward")
        yield line.text


def _return(outputs: Sequence[str]) -> str:
    line = f"return {', '.join(outputs) or '()'}"
    return line if len(line) + 8 <= LINE else _wrapped("return (", outputs, ")")


def _wrapped(before: str, parts: Sequence[str], after: str) -> str:
    """Return what stands in brackets on one line, or if it is too long on one line of its own, or on many."""
    inside = ", ".join(parts)
    if before.startswith("def"):
        if len(before + inside + after) <= LINE:
            return f"{before}{inside}{after}"
        if len(inside) + 4 <= LINE:
            return f"{before}\n    {inside}\n{after}"
    lines = "".join(f"    {part},\n" for part in parts)
    return f"{before}\n{lines}{after}"
