"""Models as Python that needs NumPy only: the training step printed, and files that predict and go on training."""

from __future__ import annotations

import ast
import io
import re
import textwrap
import tokenize
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from gates.arrays import Array
from gates.contract import GateError
from gates.losses import OutputGate
from nngraph.capture.graphs import Recording, Scale, record_function, record_step
from nngraph.graph import Graph
from nngraph.nodes import Node
from nngraph.program.printing.literals import array_literal
from nngraph.steps import next_value

# Recorded twice, on these numbers of rows: where the two texts differ by them, any number will do.
ROWS = (23, 29)

# Weights of more numbers than these are written beside the file.
INSIDE = 2000

Feeds: TypeAlias = Callable[[int], Mapping[Node, Array]]


def step_source(graph: Graph, scale: Scale, feeds: Feeds, data: str) -> str:
    """Return a module with the function ``step``: forward, backward and update, for any number of rows.

    Parameters
    ----------
    graph : Graph
        Its one output is the loss.
    scale : (callable, nodes)
        What the loss is multiplied by, see `record_gradient`.
    feeds : callable
        Returns data of so many rows.
    data : str
        The name of the input that has the rows.

    Raises
    ------
    ValueError
        If a gate cannot be followed, or what it does depends on the number of rows otherwise than by that number.
    """
    rates = {"epsilon": 0.01, "reg_lambda": 0.01}
    doc = "Take one step of gradient descent: return the loss before it, and every parameter after it."
    return _for_any_rows(lambda n: record_step(graph, feeds(n), scale, next_value, rates), "step", doc, data)


def prediction_source(graph: Graph, output: OutputGate, feeds: Feeds, data: str) -> str:
    """Return a module with the function ``forward``: the predictions, and the probabilities if the output has them."""
    scores = graph.evaluate(feeds(2))[graph.outputs[0]]
    names = ["predictions"]
    function: Callable[..., Any] = output.predict
    try:
        output.predict_proba(scores)
    except GateError:
        pass
    else:
        names.append("probabilities")
        function = lambda s: (output.predict(s), output.predict_proba(s))  # noqa: E731 - one line says it
    doc = f"Return the {' and the '.join(names)}."
    return _for_any_rows(lambda n: record_function(graph, feeds(n), function, names), "forward", doc, data)


def _for_any_rows(record: Callable[[int], Recording], name: str, doc: str, data: str) -> str:
    """Print a recording with ``len(X)`` where the number of rows stands."""
    texts = [record(n).program.source(name, doc) for n in ROWS]
    one, two = (list(tokenize.generate_tokens(io.StringIO(text).readline)) for text in texts)
    places = [(a, _merged(a.string, b.string, data)) for a, b in zip(one, two, strict=False) if a.string != b.string]
    if len(one) != len(two) or any(merged is None for _, merged in places):
        raise ValueError(f"{name} is another program for {ROWS[0]} rows than for {ROWS[1]}, so no text fits them all")
    lines = texts[0].splitlines(keepends=True)
    for token, merged in reversed(places):
        (row, start), (last, end) = token.start, token.end
        lines[row - 1 : last] = [f"{lines[row - 1][:start]}{merged}{lines[last - 1][end:]}"]
    return "".join(lines)


def _merged(one: str, two: str, data: str) -> str | None:
    """Return what stands for two tokens that differ only by the number of rows, None if there is nothing."""
    if one.startswith('"""'):
        general = [re.sub(rf"\({n}\b", "(n", text) for text, n in zip((one, two), ROWS, strict=True)]
        return general[0] if general[0] == general[1] else None
    try:
        numbers = float(one), float(two)
    except ValueError:
        return None
    if numbers == ROWS:
        return f"len({data})"
    return f"(1 / len({data}))" if numbers == (1 / ROWS[0], 1 / ROWS[1]) else None


def write_module(
    path: Path, title: str, step: str, forward: str, parameters: Mapping[str, Array], data: tuple[str, np.dtype[Any]]
) -> None:
    """Write a file that predicts and goes on training, with its weights inside, or beside it if they are many.

    Parameters
    ----------
    path : Path
        Ends in ``.py``.
    title : str
        What the file is, for its docstring.
    step, forward : str
        What `step_source` and `prediction_source` returned.
    parameters : mapping from name to array
        The weights, in the order in which a step returns them.
    data : (name, dtype)
        Of the input that has the rows.
    """
    imports: dict[str, None] = {}
    parts: dict[str, str] = {}
    for text in (forward, step):
        for node in ast.parse(text).body:
            segment = ast.get_source_segment(text, node) or ""
            if isinstance(node, ast.Import):
                imports[segment] = None
            elif isinstance(node, ast.FunctionDef | ast.Assign):
                name = node.name if isinstance(node, ast.FunctionDef) else ast.unparse(node.targets[0])
                if parts.setdefault(name, segment) != segment:
                    raise ValueError(f"the file would need two different {name}")
    beside = path.with_suffix(".npz") if sum(value.size for value in parameters.values()) > INSIDE else None
    if beside:
        imports["from pathlib import Path"] = None
        stored = '{name: array for name, array in np.load(Path(__file__).with_suffix(".npz")).items()}'
    else:
        stored = "\n".join(["{", *(_entry(name, value) for name, value in parameters.items()), "}"])
    constants = [part for part in parts.values() if not part.startswith("def ")]
    functions = [part for part in parts.values() if part.startswith("def ")]
    faces = _faces(data, "probabilities" in forward)
    needs = " and ".join(["NumPy", *(line.split()[1] for line in imports if "scipy" in line)])
    head = f'"""{title} Written by nngraph; it needs {needs} only.\n\n{USAGE}"""'
    standard = sorted(line for line in imports if "math" in line or "pathlib" in line)
    others = sorted(line for line in imports if line not in standard)
    text = "\n\n".join(
        [head, *(["\n".join(standard)] if standard else []), "\n".join(others), *constants, f"PARAMETERS = {stored}\n"]
    )
    text = "\n\n\n".join([text.rstrip(), *functions, *faces]) + "\n"
    compile(text, str(path), "exec")
    if beside:
        np.savez(beside, allow_pickle=False, **parameters)
    path.write_text(text, encoding="utf-8")


USAGE = """\
PARAMETERS are the weights; `predict` takes rows, and `train` goes on training on rows and their targets.
"""


def _entry(name: str, value: Array) -> str:
    """Return a line of the dict of weights, or a line for every row of a matrix."""
    if value.ndim < 2 or not np.isfinite(value).all():
        lines = textwrap.wrap(f'"{name}": {ast.unparse(array_literal(value, INSIDE))},', 112)
        return textwrap.indent("\n    ".join(lines), "    ")
    # NumPy writes a number with as many digits as its dtype has.
    rows = (", ".join(map(str, row)) for row in value.reshape(-1, value.shape[-1]))
    wrapped = ("\n".join(textwrap.wrap(f"[{row}],", 108, subsequent_indent=" ")) for row in rows)
    shape = f".reshape{value.shape}" if value.ndim > 2 else ""
    dtype = "" if value.dtype == np.float64 else f", np.{value.dtype}"
    body = textwrap.indent("\n".join(wrapped), "        ")
    return f'    "{name}": np.array([\n{body}\n    ]{dtype}){shape},'


def _faces(data: tuple[str, np.dtype[Any]], probabilities: bool) -> Sequence[str]:
    """Return the functions that people call."""
    X, dtype = data[0], f"np.{data[1].name}"
    called = f"forward({X}=np.asarray({X}, {dtype}), **PARAMETERS)"
    faces = [
        f'def predict({X}):\n    """Return a prediction for every row."""\n'
        + (f"    return {called}[0]" if probabilities else f"    return {called}")
    ]
    if probabilities:
        faces.append(
            f'def predict_proba({X}):\n    """Return the probabilities for every row."""\n    return {called}[1]'
        )
    faces.append(
        f"def train({X}, y, num_passes=1000, epsilon=0.01, reg_lambda=0.01):\n"
        '    """Go on training, all rows in every pass; return the losses before each."""\n'
        f"    {X}, y = np.asarray({X}, {dtype}), np.asarray(y)\n"
        "    losses = []\n"
        "    for _ in range(num_passes):\n"
        f"        loss, *values = step({X}={X}, y=y, epsilon=epsilon, reg_lambda=reg_lambda, **PARAMETERS)\n"
        "        PARAMETERS.update(zip(PARAMETERS, values))\n"
        "        losses.append(float(loss))\n"
        "    return losses"
    )
    return faces
