"""What `Model.diagnose` found: as text, with rich, and in a notebook."""

from __future__ import annotations

import html
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gates.arrays import Array
from nngraph.diagnosis.evidence import Evidence, Layer
from nngraph.diagnosis.finding import Finding
from nngraph.diagnosis.rules import findings
from nngraph.graph import Graph
from nngraph.nodes import Node
from nngraph.optimizers import Optimizer
from nngraph.program.report import many
from nngraph.tables import as_text, html_table, rich_table

if TYPE_CHECKING:
    from rich.console import Group

HEADS = ("layer", "gates", "mean", "std", "zeros", "saturated", "gradient", "step")
NUMBERS = HEADS[2:]


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """What is wrong with a model on some data, and the numbers of its layers. It prints as text; notebooks show it.

    It is neither true nor false: ask for `healthy`, or for the `findings`.

    Attributes
    ----------
    findings : tuple of Finding
        Each with its ``kind``, ``where``, ``numbers`` and ``advice``; what is wrong with the data comes first.
    layers : tuple of Layer
        Every layer's values, gradient, and step.
    loss : float
        On the examples that were looked at.
    examples, rows : int
        How many were given; and how many of them, evenly spaced, the net was looked at with. The data are looked at
        all.
    optimizer : str
        Whose first step it is, and at which rate.
    """

    findings: tuple[Finding, ...]
    layers: tuple[Layer, ...]
    loss: float
    examples: int
    rows: int
    optimizer: str

    @property
    def healthy(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def kinds(self) -> tuple[str, ...]:
        """The names of what was found, each once."""
        return tuple(dict.fromkeys(finding.kind for finding in self.findings))

    def __bool__(self) -> bool:
        raise ValueError("a Diagnosis is neither true nor false: ask for diagnosis.healthy or diagnosis.findings")

    def title(self) -> str:
        """Return the first line: ``Healthy: nothing found on 200 examples``."""
        looked = many(self.examples, "example")
        if self.rows < self.examples:
            looked += f", {self.rows:,} of them in the net"
        found = "Healthy: nothing found" if self.healthy else f"Sick: {', '.join(self.kinds)}; found"
        return f"{found} on {looked}"

    def note(self) -> str:
        """Return the line below the table."""
        return (
            f"loss {self.loss:.4g}. zeros, saturated: shares of the values. gradient: root mean square. "
            f"step: that of {self.optimizer}, by the length of the weights."
        )

    def cells(self) -> list[tuple[str, ...]]:
        """Return the table as text."""
        return [
            (
                layer.name,
                ", ".join(layer.gates),
                _number(layer.mean),
                _number(layer.std),
                _share(layer.zeros),
                _share(layer.saturated),
                _number(layer.gradient),
                _number(layer.step),
            )
            for layer in self.layers
        ]

    def __str__(self) -> str:
        return as_text(self)

    def __repr__(self) -> str:
        return str(self)

    def __rich__(self) -> Group:
        # Loaded when somebody looks.
        consoles, paddings, texts = (importlib.import_module(f"rich.{name}") for name in ("console", "padding", "text"))
        parts = [texts.Text(self.title(), "green" if self.healthy else "bold red")]
        for finding in self.findings:
            parts.append(texts.Text.assemble("\n", (finding.kind, "bold"), f" in {finding.where}: {finding.numbers}."))
            parts.append(paddings.Padding(texts.Text(f"=> {finding.advice}.", "bold"), (0, 0, 0, 2)))
        parts += [texts.Text(), rich_table(HEADS, self.cells(), NUMBERS), texts.Text(f"\n{self.note()}", "dim")]
        group: Group = consoles.Group(*parts)
        return group

    def _repr_html_(self) -> str:
        color = "#1a7f37" if self.healthy else "#cf222e"
        found = "".join(
            f"<li><b>{html.escape(finding.kind)}</b> in {html.escape(finding.where)}: {html.escape(finding.numbers)}."
            f"<br><b>=&gt; {html.escape(finding.advice)}.</b></li>"
            for finding in self.findings
        )
        listed = f'<ul style="text-align: left">{found}</ul>' if found else ""
        table = html_table(HEADS, self.cells(), NUMBERS)
        title = f'<p><b style="color: {color}">{html.escape(self.title())}</b></p>'
        return f"{title}{listed}{table}<p>{html.escape(self.note())}</p>"


def _number(number: float | None) -> str:
    return "" if number is None else f"{number:.2g}"


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"


def diagnose(scorer: Graph, graph: Graph, feeds: Mapping[Node, Array], optimizer: Optimizer) -> Diagnosis:
    """Diagnose a model on data that were looked at; nothing of it is changed.

    Parameters
    ----------
    scorer, graph : Graph
        Of the scores, and of their loss.
    feeds : mapping
        The features and the targets.
    optimizer : Optimizer
    """
    with np.errstate(all="ignore"):
        evidence = Evidence(scorer, graph, feeds, optimizer)
        found = findings(evidence)
        step = f"{type(optimizer).__name__} at rate {optimizer.rate:g}"
        return Diagnosis(found, evidence.table, evidence.loss, len(evidence.X), evidence.rows, step)
