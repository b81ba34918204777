"""A model as a table: its layers, their outputs and parameters, what they compute, and the memory of that."""

from __future__ import annotations

import html
import importlib
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gates.arithmetic import AddGate
from nngraph.capture.costs import Cost, Costs, costs, line
from nngraph.capture.follower import Recording
from nngraph.capture.graphs import Scale, record_forward, record_gradient
from nngraph.graph import Graph
from nngraph.nodes import Constant, Node, Parameter, Random, Running
from nngraph.program.report import human_bytes, many
from nngraph.tables import WIDTH, as_text, html_table, rich_table

if TYPE_CHECKING:
    from rich.console import Group

HEADS = ("node", "gate", "output", "parameters", "count", "FLOPs", "bytes")
NUMBERS = ("count", "FLOPs", "bytes")
NOTE = "n: the number of examples. FLOPs (estimates) and bytes: for one example."
SHOWN = 8  # reasons
GATE = 12  # letters of a gate's name on one line, where there is little room

# What depends on the number of examples is seen at these two, and held against a third.
SIZES = (4, 6)

# Lengths such as 8, "n" or "2n"; "?" where one follows no such rule.
Shape: TypeAlias = tuple[int | str, ...]


@dataclass(frozen=True)
class Row:
    """The input, a layer, or the loss of a model.

    Attributes
    ----------
    name : str
        The node whose value it gives.
    gates : tuple of str
        What computes it; none for the input.
    shape : tuple
        Of its value, with "n" for the number of examples.
    bytes : int or None
        Of its value, for one example; None where they do not grow in proportion to the examples.
    parameters : dict from name to shape
        What is trained in it.
    shared : tuple of str
        Those of the parameters that a row above has already.
    count : int
        The number of parameters, without those that are shared.
    fixed : dict from name to shape
        Other arrays that it uses, which are not trained.
    averaged : dict from name to shape
        Its running averages, see `Running`.
    drawn : dict from name to shape
        What training draws for it, see `Random`.
    flops : int or None
        For one example, forward; None where it is not known.
    flops_once : int
        What is computed besides, however many examples there are.
    unknown : str
        Why the FLOPs are not known, if they are not.
    """

    name: str
    gates: tuple[str, ...]
    shape: Shape
    bytes: int | None
    parameters: Mapping[str, Shape] = field(default_factory=dict)
    shared: tuple[str, ...] = ()
    count: int = 0
    fixed: Mapping[str, Shape] = field(default_factory=dict)
    averaged: Mapping[str, Shape] = field(default_factory=dict)
    drawn: Mapping[str, Shape] = field(default_factory=dict)
    flops: int | None = 0
    flops_once: int = 0
    unknown: str = ""

    def used(self) -> list[str]:
        """Return the arrays that it uses, as text: ``W1 (2, 8)``."""
        trained = [f"{name} {'again' if name in self.shared else _text(s)}" for name, s in self.parameters.items()]
        others = {"fixed": self.fixed, "averaged": self.averaged, "drawn": self.drawn}
        return trained + [f"{name} {_text(s)} {how}" for how, shapes in others.items() for name, s in shapes.items()]

    def cells(self, *, narrow: bool = False) -> tuple[str, ...]:
        """Return it as text; a narrow one has one gate or array to a line, and long names of gates on several."""
        if not self.gates:
            work = ""
        elif self.flops is None:
            work = "unknown"
        else:
            work = f"{self.flops:,}" if self.flops or not self.flops_once else f"{self.flops_once:,} once"
        size = "?" if self.bytes is None else f"{self.bytes:,}"
        count = f"{self.count:,}" if self.parameters else ""
        gates, used = ", ".join(self.gates), ", ".join(self.used())
        if narrow:
            # One array to a line, rather than a line that ends within a shape.
            gates, used = ",\n".join(map(_broken, self.gates)), "\n".join(self.used())
        return self.name, gates, _text(self.shape), used, count, work, size


@dataclass(frozen=True, repr=False)
class Summary:
    """A model as a table. It prints as text; rich and notebooks show it their way.

    Attributes
    ----------
    rows : tuple of Row
        The input, every gate to the scores, and the loss. Gates have a row each, but where a parameter is added to what
        a gate makes with a parameter, as in ``X W + b``, the two are one layer; and so is a gate that reads a `Running`
        with what computes the statistic.
    dtype : str
        What the parameters are.
    parameters, parameter_bytes : int
        Their number and memory, each counted once.
    flops : int or None
        For the scores of one example, as far as they are known; None where nothing could be recorded.
    training_flops : int or None
        The same for a training step: forward, loss and backward.
    batch_size : int
    buffer_bytes, training_buffer_bytes : int or None
        The memory that the scores of a batch and a training step on it need beside the data and the parameters, as
        planned for the recorded program; node by node it is more.
    unknown : tuple of str
        Which FLOPs are not known, and why.

    Notes
    -----
    FLOPs are estimates by the rules of `nngraph.program.flops.flops`, of what is left when common parts are computed
    once.
    """

    rows: tuple[Row, ...]
    dtype: str
    parameters: int
    parameter_bytes: int
    flops: int | None
    training_flops: int | None
    batch_size: int
    buffer_bytes: int | None
    training_buffer_bytes: int | None
    unknown: tuple[str, ...] = ()

    def title(self) -> str:
        """Return the first line: ``Model with 42 parameters, 336 bytes in float64``."""
        return f"Model with {many(self.parameters, 'parameter')}, {human_bytes(self.parameter_bytes)} in {self.dtype}"

    def totals(self) -> list[str]:
        """Return the lines below the table."""
        part = any(row.flops is None for row in self.rows[:-1]), bool(self.unknown)
        scores, step = map(_number, (self.flops, self.training_flops), part)
        one, other = map(_bytes, (self.buffer_bytes, self.training_buffer_bytes), part)
        lines = [
            f"FLOPs per example: {scores} for the scores, {step} for a training step",
            f"buffers for {many(self.batch_size, 'example')}: {one} for the scores, {other} for a training step",
            NOTE,
        ]
        if self.unknown:
            more = [f"... ({len(self.unknown):,} in all)"] * (len(self.unknown) > SHOWN)
            lines += ["FLOPs unknown:", *(f"- {reason}" for reason in self.unknown[:SHOWN]), *more]
        return lines

    def __str__(self) -> str:
        return as_text(self)

    def __repr__(self) -> str:
        return str(self)

    def __rich__(self) -> Group:
        # Loaded when somebody looks, so that the package loads fast.
        consoles, texts = (importlib.import_module(f"rich.{name}") for name in ("console", "text"))
        cells = [row.cells() for row in self.rows]
        widths = [max(map(len, column)) for column in zip(HEADS, *cells, strict=True)]
        if sum(widths) + 2 * (len(HEADS) - 1) > WIDTH:
            cells = [row.cells(narrow=True) for row in self.rows]
        group: Group = consoles.Group(
            texts.Text(f"{self.title()}\n", "bold"),
            rich_table(HEADS, cells, NUMBERS),
            texts.Text("\n".join(["", *self.totals()])),
        )
        return group

    def _repr_html_(self) -> str:
        foot = "<br>".join(map(html.escape, self.totals()))
        table = html_table(HEADS, [row.cells() for row in self.rows], NUMBERS)
        return f"<p><b>{html.escape(self.title())}</b></p>{table}<p>{foot}</p>"


def _broken(name: str) -> str:
    """Return the name of a gate on several lines, if it is long, each of words that are short together."""
    lines = [""]
    for word in re.split(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", name):
        if lines[-1] and len(lines[-1] + word) > GATE:
            lines.append("")
        lines[-1] += word
    return "\n".join(lines)


def _number(number: int | None, part: bool) -> str:
    return "unknown" if number is None else f"{'at least ' * part}{number:,}"


def _bytes(number: int | None, part: bool) -> str:
    return "unknown" if number is None else f"{'at least ' * part}{human_bytes(number)}"


def summarize(
    scorer: Graph, graph: Graph, scale: Scale, examples: Callable[[int], Mapping[Node, Any]], batch_size: int
) -> Summary:
    """Summarize a model; it keeps nothing of that, and nothing of it is changed.

    Parameters
    ----------
    scorer : Graph
        Of the scores.
    graph : Graph
        Of the loss of these scores.
    scale : (callable, nodes)
        What the loss is multiplied by, see `record_gradient`.
    examples : callable
        Returns data of so many rows for the graph.
    batch_size : int
        For how many the memory is stated.

    Raises
    ------
    GateError
        If a gate cannot take the data.
    """
    sizes = (*SIZES, batch_size)
    feeds = [examples(n) for n in sizes]
    data = [{node: array for node, array in feed.items() if node in scorer.inputs} for feed in feeds]
    values = _measured(graph, sizes, feeds)
    work = _costs(lambda i: record_forward(scorer, data[i]), sizes)
    step = _costs(lambda i: record_gradient(graph, feeds[i], scale), sizes)
    # The loss is counted as a part of the training step; the layers, as for a prediction.
    of_nodes = {**_by_node(graph, step), **_by_node(scorer, work)}
    known = [x for x in (work, step) if isinstance(x, Costs)]
    reasons = [x for x in (work, step) if isinstance(x, str)]
    arrays = [p.value for p in graph.parameters]
    return Summary(
        rows=tuple(_rows(scorer, graph, values, of_nodes)),
        dtype=str(arrays[0].dtype),
        parameters=sum(value.size for value in arrays),
        parameter_bytes=sum(value.nbytes for value in arrays),
        flops=work.each if isinstance(work, Costs) else None,
        training_flops=step.each if isinstance(step, Costs) else None,
        batch_size=batch_size,
        buffer_bytes=work.buffer_bytes if isinstance(work, Costs) else None,
        training_buffer_bytes=step.buffer_bytes if isinstance(step, Costs) else None,
        unknown=tuple(dict.fromkeys([*reasons, *(reason for x in known for reason in x.unknown)])),
    )


def _costs(record: Callable[[int], Recording], sizes: Sequence[int]) -> Costs | str:
    """Return what a program costs, or why there is none: a gate is not pure, or has no backward yet."""
    try:
        return costs([record(i) for i in range(len(sizes))], sizes)
    except Exception as error:  # noqa: BLE001 - a gate may raise anything, and the rest of the table still holds
        return ", ".join([str(error) or type(error).__name__, *getattr(error, "__notes__", [])])


def _by_node(graph: Graph, found: Costs | str) -> dict[Node, Cost]:
    """Return what the forward of each node costs: these are a program's first steps."""
    nodes = [node for node in graph.nodes if node.gate is not None]
    if isinstance(found, str):
        return {node: Cost("", unknown=found) for node in nodes}
    return dict(zip(nodes, found.steps, strict=False))


@dataclass(frozen=True)
class _Value:
    """What the value of a node is like, for any number of examples."""

    shape: Shape
    bytes: int | None


def _measured(graph: Graph, sizes: Sequence[int], feeds: Sequence[Mapping[Node, Any]]) -> dict[Node, _Value]:
    """Return what all values are like."""
    found: list[list[tuple[tuple[int, ...], int]]] = []
    for feed in feeds:
        arrays = graph.evaluate(feed).arrays(graph)
        found.append([(np.shape(array), array.nbytes) for array in arrays])
    values = {}
    for node, *measured in zip(graph.nodes, *found, strict=True):
        shapes, counts = [shape for shape, _ in measured], [count for _, count in measured]
        alike = len({len(shape) for shape in shapes}) == 1
        shape = tuple(_length(sizes, lengths) for lengths in zip(*shapes, strict=True)) if alike else ("?",)
        bytes_ = line(sizes, counts)
        values[node] = _Value(shape, bytes_[0] if bytes_ else None)
    return values


def _length(sizes: Sequence[int], lengths: Sequence[int]) -> int | str:
    """Return one length of a shape: ``8``, ``n``, ``2n``, ``n - 1``."""
    found = line(sizes, lengths)
    if found is None:
        return "?"
    each, once = found
    if not each:
        return once
    times = "n" if each == 1 else f"{each}n"
    return times if not once else f"{times} {'-' if once < 0 else '+'} {abs(once)}"


def _text(shape: Shape) -> str:
    return f"({', '.join(map(str, shape))}{',' * (len(shape) == 1)})"


def _rows(scorer: Graph, graph: Graph, values: Mapping[Node, _Value], found: Mapping[Node, Cost]) -> Iterator[Row]:
    """Yield the rows: the input, every layer to the scores, and the loss."""
    names = dict(zip(graph.nodes, graph.names, strict=True))
    for node in scorer.inputs:
        yield Row(names[node], (), values[node].shape, values[node].bytes)
    met: set[Node] = set()
    for layer in layers(graph):
        *_, last = layer
        sources = dict.fromkeys(x for node in layer for x in node.inputs if x.gate is None)
        trained = [x for x in sources if isinstance(x, Parameter)]
        fixed, averaged, drawn = ({names[x]: values[x].shape for x in some} for some in _others(sources, values))
        work = [found[node] for node in layer]
        unknown = next((cost.unknown for cost in work if cost.unknown), "")
        yield Row(
            names[last],
            tuple(type(node.gate).__name__.removesuffix("Gate") or "Gate" for node in layer),
            values[last].shape,
            values[last].bytes,
            {names[x]: values[x].shape for x in trained},
            tuple(names[x] for x in trained if x in met),
            sum(x.value.size for x in trained if x not in met),
            fixed,
            averaged,
            drawn,
            None if unknown else sum(cost.each for cost in work),
            sum(cost.once for cost in work),
            unknown,
        )
        met.update(trained)


def _others(sources: Collection[Node], values: Mapping[Node, _Value]) -> list[list[Node]]:
    """Return which of some nodes are fixed, averaged, and drawn; a number is seen in no table."""
    shown = [x for x in sources if values[x].shape or not isinstance(x, Constant)]
    return [[x for x in shown if isinstance(x, kind)] for kind in (Constant, Running, Random)]


def layers(graph: Graph) -> list[list[Node]]:
    """Return the nodes that have gates; ``X W`` and ``X W + b`` together, if nothing else reads the product.

    So are a statistic and what reads its average.
    """
    readers = Counter(x for node in graph.nodes for x in node.inputs)
    found: dict[Node, list[Node]] = {}
    for node in graph.nodes:
        if node.gate is None:
            continue
        layer = [node]
        if isinstance(node.gate, AddGate) and any(isinstance(x, Parameter) for x in node.inputs):
            for x in node.inputs:
                if readers[x] == 1 and x in found and any(isinstance(y, Parameter) for y in x.inputs):
                    layer = [*found.pop(x), node]
        statistics = [y for x in node.inputs if isinstance(x, Running) and readers[x] == 1 for y in x.inputs]
        layer = [*(y for x in statistics if readers[x] == 1 for y in found.pop(x, [])), *layer]
        found[node] = layer
    return list(found.values())
