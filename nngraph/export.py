"""Models as Python that needs NumPy only: the training step printed, and files that predict and go on training."""

from __future__ import annotations

import ast
import io
import re
import textwrap
import tokenize
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from gates.arrays import Array
from gates.contract import GateError
from gates.losses import OutputGate
from nngraph.capture.follower import Recording
from nngraph.capture.graphs import Scale, record_function, record_step
from nngraph.graph import Graph
from nngraph.nodes import Node, Parameter, Running
from nngraph.program import functions
from nngraph.program.printing import special
from nngraph.program.printing.literals import array_literal
from nngraph.program.printing.names import Names

# Recorded twice, on two of these numbers of rows: where the two texts differ by them, any number will do.
ROWS = (23, 29, 31, 37, 41, 43, 47, 53, 59, 61)

# And on so many it is tried.
MANY = 1009

# What an exported file defines, and what the names in it may not be.
TAKEN = (
    "step", "forward", "predict", "predict_proba", "train", "PARAMETERS", "Path", "losses", "loss", "values",
    "num_passes", "epsilon", "reg_lambda", "file", "allow_pickle", "AVERAGES", "CONSTANTS", "_",
)  # fmt: skip

# Weights of more numbers than these are written beside the file.
INSIDE = 2000

Feeds: TypeAlias = Callable[[int], Mapping[Node, Array]]


def safe_names(graph: Graph) -> dict[str, str]:
    """Return for the name of each source of a graph the identifier that an exported file has for it."""
    names = Names([*TAKEN, *vars(functions), *special.STAND_INS, "y"])
    sources = (name for node, name in zip(graph.nodes, graph.names, strict=True) if node.gate is None)
    return {name: "y" if name == "y" else names.new(name) for name in sources}


def names_of(graph: Graph, nodes: Iterable[Node], names: Mapping[str, str]) -> list[str]:
    """Return what an exported file calls some sources of a graph."""
    return [names[graph.names[graph.position(node)]] for node in nodes]


def next_value(parameter: Parameter, value: Any, gradient: Any, epsilon: Any, reg_lambda: Any) -> Any:
    """``p - epsilon (dp + reg_lambda p)``, without the penalty for a parameter of fewer than two axes."""
    if parameter.value.ndim < 2:
        return value - epsilon * gradient
    return value - epsilon * (gradient + reg_lambda * value)


def next_average(running: Running, value: Any, statistic: Any, rows: int) -> Any:
    """Return ``a + momentum (s - a)``; s is the statistic, an unbiased one times ``rows / (rows - 1)``."""
    if running.unbiased:
        statistic = statistic * (rows / (rows - 1))
    return value + running.momentum * (statistic - value)


def step_source(graph: Graph, scale: Scale, feeds: Feeds, data: str) -> str:
    """Return a module with the function ``step``: forward, backward and update, for any number of rows.

    What is drawn at random is an argument, as the data are, and so are the running averages, which it returns, too.

    Parameters
    ----------
    graph : Graph
        Its one output is the loss.
    scale : (callable, nodes)
        What the loss is multiplied by, see `record_gradient`.
    feeds : callable
        Returns data of so many rows, and what is drawn for them.
    data : str
        The name of the input that has the rows.

    Raises
    ------
    ValueError
        If a gate cannot be followed, or what it does depends on the number of rows otherwise than by that number.
    """
    rates = {"epsilon": 0.01, "reg_lambda": 0.01}
    names = safe_names(graph)
    drawn, averages = (names_of(graph, nodes, names) for nodes in (graph.randoms, graph.running))
    after = "parameter and average" if averages else "parameter"
    doc = f"Take one step of gradient descent: return the loss before it, and every {after} after it."
    more = [f"Drawn anew for every step: {', '.join(drawn)}."] if drawn else []
    more += [f"Running averages: {', '.join(averages)}."] if averages else []
    doc += f"\n\n{' '.join(more)}" if more else ""

    def record(n: int) -> Recording:
        return record_step(graph, feeds(n), scale, next_value, partial(next_average, rows=n), rates)

    text = _for_any_rows(record, "step", doc, names, data, len(rates))
    _check(text, "step", record, graph, feeds, rates)
    return text


def prediction_source(graph: Graph, output: OutputGate, feeds: Feeds, data: str, names: Mapping[str, str]) -> str:
    """Return a module with the function ``forward``: the predictions, and the probabilities if the output has them.

    `names` are those of `safe_names` for the graph of the loss.
    """
    scores = graph.evaluate(feeds(2))[graph.outputs[0]]
    results = ["predictions"]
    function: Callable[..., Any] = output.predict
    try:
        output.predict_proba(scores)
    except GateError:
        pass
    else:
        results.append("probabilities")
        function = lambda s: (output.predict(s), output.predict_proba(s))  # noqa: E731 - one line says it
    doc = f"Return the {' and the '.join(results)}."

    def record(n: int) -> Recording:
        return record_function(graph, feeds(n), function, results, f"the predictions of {type(output).__name__}")

    text = _for_any_rows(record, "forward", doc, names, data)
    _check(text, "forward", record, graph, feeds, {})
    return text


def _check(
    text: str, name: str, record: Callable[[int], Recording], graph: Graph, feeds: Feeds, rates: Mapping[str, float]
) -> None:
    """Raise ValueError unless the text gives what the gates give for many more rows, where one may branch otherwise."""
    module: dict[str, Any] = {}
    exec(text, module)  # noqa: S102 - our own text
    values = dict(zip(graph.names, graph.sources(feeds(MANY), {}), strict=True))
    with np.errstate(all="ignore"):
        program = record(MANY).program
        sources = program.inputs[: len(program.inputs) - len(rates)]
        data = [values[str(variable.name)] for variable in sources]
        numbers = [
            np.asarray(rate, v.dtype) for rate, v in zip(rates.values(), program.inputs[len(data) :], strict=True)
        ]
        expected, found = program.evaluate(*data, *numbers), module[name](*data, *rates.values())
    for one, other in zip(expected, found if isinstance(found, tuple) else (found,), strict=True):
        allowed = 1e-3 if np.asarray(one).dtype == np.float32 else 1e-6
        largest = float(np.max(np.abs(one), initial=0.0, where=np.isfinite(one)))
        alike = np.shape(one) == np.shape(other)
        if not (alike and np.allclose(one, other, allowed, allowed * largest, equal_nan=True)):
            raise ValueError(
                f"what a gate does depends on the number of rows, so no text of {name} fits them all: for {MANY:,} "
                "rows it is another than for a few"
            )


def _for_any_rows(
    record: Callable[[int], Recording], name: str, doc: str, names: Mapping[str, str], data: str, rates: int = 0
) -> str:
    """Print a recording, whose last inputs are rates, with ``len(X)`` where the number of rows stands."""
    with np.errstate(all="ignore"):
        lengths = {n for v in record(2).program.inputs for n in v.shape or ()}
    rows = tuple(n for n in ROWS if n not in lengths)[:2] or ROWS[:2]
    texts = []
    for n in rows:
        with np.errstate(all="ignore"):
            program = record(n).program
        # The rates come last, and have names of their own.
        for variable in program.inputs[: len(program.inputs) - rates]:
            variable.name = names[str(variable.name)]
        texts.append(program.source(name, doc))
    one, two = (list(tokenize.generate_tokens(io.StringIO(text).readline)) for text in texts)
    pairs = zip(one, two, strict=False)
    places = [(a, _merged(a.string, b.string, rows, names[data])) for a, b in pairs if a.string != b.string]
    if len(one) != len(two) or any(merged is None for _, merged in places):
        differ = next((b.line.strip() for a, b in zip(one, two, strict=False) if a.string != b.string), "")
        raise ValueError(
            f"what a gate does depends on the number of rows otherwise than by that number, so no text of {name} fits "
            f"them all; for {rows[1]} rows, for instance, it has the line {differ!r}"
        )
    lines = texts[0].splitlines(keepends=True)
    for token, merged in reversed(places):
        (row, start), (last, end) = token.start, token.end
        lines[row - 1 : last] = [f"{lines[row - 1][:start]}{merged}{lines[last - 1][end:]}"]
    return "".join(lines)


def _merged(one: str, two: str, rows: Sequence[int], data: str) -> str | None:
    """Return what stands for two tokens that differ only by the number of rows, None if there is nothing."""
    if one.startswith('"""'):
        general = [re.sub(rf"(?<![\w.]){n}\b", "n", text) for text, n in zip((one, two), rows, strict=True)]
        return general[0] if general[0] == general[1] else None
    try:
        numbers = float(one), float(two)
    except ValueError:
        return None
    for times in (round(numbers[0] / rows[0]), round(1 / numbers[0] / rows[0]) if numbers[0] else 0):
        factor = "" if times == 1 else f"{times} * "
        if numbers == (times * rows[0], times * rows[1]):
            return f"({factor}len({data}))" if factor else f"len({data})"
        if times and numbers == (1 / (times * rows[0]), 1 / (times * rows[1])):
            return f"(1 / ({factor}len({data})))" if factor else f"(1 / len({data}))"
    if numbers == (rows[0] / (rows[0] - 1), rows[1] / (rows[1] - 1)):
        return f"(len({data}) / (len({data}) - 1))"
    return None


def write_module(
    path: Path,
    title: str,
    step: str,
    forward: str,
    tables: Mapping[str, Mapping[str, Array]],
    names: Mapping[str, str],
    data: tuple[str, np.dtype[Any]],
    targets: np.dtype[Any],
    drawn: Sequence[str] = (),
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
    tables : mapping from name to mapping from name to array
        The arrays that a step takes: PARAMETERS and AVERAGES, in the order in which it returns them, and CONSTANTS.
    names : mapping from name to identifier
        As `safe_names` returned them.
    data : (name, dtype)
        Of the input that has the rows.
    targets : dtype
        Of the targets.
    drawn : sequence of str
        What a step needs drawn. Then the file has no ``train``: how to draw it is not written.
    """
    sources = [data[0], *(name for arrays in tables.values() for name in arrays)]
    renamed = [f"{name!r} is {names[name]} here" for name in sources if names[name] != name]
    dicts = {
        table: {names[name]: value for name, value in arrays.items()} for table, arrays in tables.items() if arrays
    }
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
    stored = {name: value for arrays in dicts.values() for name, value in arrays.items()}
    beside = path.with_suffix(".npz") if sum(value.size for value in stored.values()) > INSIDE else None
    if beside:
        imports["from pathlib import Path"] = None
        lines = (f"    {name} = {{name: stored[name] for name in {_names(arrays)}}}" for name, arrays in dicts.items())
        written = ["\n".join(['with np.load(Path(__file__).with_suffix(".npz")) as stored:', *lines])]
    else:
        entries = {name: [_entry(key, value) for key, value in arrays.items()] for name, arrays in dicts.items()}
        written = ["\n".join([f"{name} = {{", *lines, "}"]) for name, lines in entries.items()]
    above = [part for part in parts.values() if not part.startswith("def ")]
    functions = [part for part in parts.values() if part.startswith("def ")]
    faces = _faces((names[data[0]], data[1]), targets, list(dicts), "probabilities" in forward, trains=not drawn)
    needs = " and ".join(["NumPy", *(line.split()[1] for line in imports if "scipy" in line)])
    about = [f"{title} Written by nngraph; it needs {needs} only.", _usage(list(dicts), drawn)]
    about += [f"Of the names in the model {', '.join(renamed)}."] if renamed else []
    # The first line has the quotes before it, too.
    wrapped = "\n\n".join(textwrap.fill(part, 117) for part in about).replace("\\", "\\\\").replace('"""', "'''")
    end = "\n" if len(about) > 1 else ""
    head = f'"""{wrapped}{end}"""'
    standard = sorted(line for line in imports if "math" in line or "pathlib" in line)
    others = sorted(line for line in imports if line not in standard)
    text = "\n\n".join([head, *(["\n".join(standard)] if standard else []), "\n".join(others), *above, *written])
    text = "\n\n\n".join([text.rstrip(), *functions, *faces]) + "\n"
    compile(text, str(path), "exec")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder")
    # Beside, then renamed: what was there before stays whole if something fails.
    files = {path.with_name(f".{path.name}.part"): path}
    try:
        next(iter(files)).write_text(text, encoding="utf-8")
        if beside:
            files[beside.with_name(f".{beside.name}.part.npz")] = beside
            np.savez(list(files)[1], allow_pickle=False, **stored)
        for part, whole in reversed(files.items()):
            part.replace(whole)
    finally:
        for part in files:
            part.unlink(missing_ok=True)


def _usage(tables: Sequence[str], drawn: Sequence[str]) -> str:
    """Return what a file has, for its docstring."""
    weights = "PARAMETERS are the weights" + ", AVERAGES the running averages" * ("AVERAGES" in tables)
    if not drawn:
        training = "`train` goes on training on rows and their targets. Neither are checked."
        return f"{weights}; `predict` takes rows, and {training}"
    return (
        f"{weights}; `predict` takes rows, which are not checked. There is no `train`: what `step` takes is drawn anew "
        f"for every step ({', '.join(drawn)}), and how is not written here."
    )


def _names(names: Iterable[str]) -> str:
    """Return a list as text, on a line if it fits."""
    quoted = [f'"{name}"' for name in names]
    line = f"[{', '.join(quoted)}]"
    return line if len(line) < 60 else "\n".join(["[", *(f"        {name}," for name in quoted), "    ]"])


def _entry(name: str, value: Array) -> str:
    """Return a line of the dict of weights, or a line for every row of a matrix."""
    if value.ndim < 2:
        lines = textwrap.wrap(f'"{name}": {ast.unparse(array_literal(value, INSIDE))},', 112)
        return textwrap.indent("\n    ".join(lines), "    ")
    # NumPy writes a number with as many digits as its dtype has.
    rows = (", ".join(map(_number, row)) for row in value.reshape(-1, value.shape[-1]))
    wrapped = "\n".join("\n".join(textwrap.wrap(f"[{row}],", 104, subsequent_indent=" ")) for row in rows)
    shape = f".reshape{value.shape}" if value.ndim > 2 else ""
    dtype = "" if value.dtype == np.float64 else f",\n        np.{value.dtype},"
    body = textwrap.indent(wrapped, " " * 12)
    return f'    "{name}": np.array(\n        [\n{body}\n        ]{dtype}\n    ){shape},'


def _number(value: Any) -> str:
    return str(value) if np.isfinite(value) else f"{'-' * bool(value < 0)}np.{abs(value)!s}"


def _faces(
    data: tuple[str, np.dtype[Any]], targets: np.dtype[Any], tables: Sequence[str], probabilities: bool, *, trains: bool
) -> Sequence[str]:
    """Return the functions that people call."""
    X, dtype = data[0], f"np.{data[1].name}"
    more = ", ".join(f"**{table}" for table in tables)
    called = f"forward({X}=np.asarray({X}, {dtype}), {more})"
    faces = [
        f'def predict({X}):\n    """Return a prediction for every row."""\n'
        + (f"    return {called}[0]" if probabilities else f"    return {called}")
    ]
    if probabilities:
        faces.append(
            f'def predict_proba({X}):\n    """Return the probabilities for every row."""\n    return {called}[1]'
        )
    if not trains:
        return faces
    averages = "        AVERAGES.update(zip(AVERAGES, values[len(PARAMETERS) :]))\n" * ("AVERAGES" in tables)
    faces.append(
        f"def train({X}, y, num_passes=1000, epsilon=0.01, reg_lambda=0.01):\n"
        '    """Go on training, all rows in every pass; return the losses before each."""\n'
        f"    {X}, y = np.asarray({X}, {dtype}), np.asarray(y, np.{targets.name})\n"
        "    losses = []\n"
        "    for _ in range(num_passes):\n"
        f"        loss, *values = step({X}={X}, y=y, epsilon=epsilon, reg_lambda=reg_lambda, {more})\n"
        "        PARAMETERS.update(zip(PARAMETERS, values))\n"
        f"{averages}"
        "        losses.append(float(loss))\n"
        "    return losses"
    )
    return faces
