"""What a proof found: to read as text, as a table in a terminal, and in a notebook."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from gates.checking.evidence import Diagnosis
from gates.contract import GateError

Status = Literal["passed", "failed", "skipped"]
COLORS = {"passed": "green", "failed": "bold red", "skipped": "dim"}
WORDS = {"passed": "ok", "failed": "WRONG", "skipped": "-"}
NOTHING_FITS = "no known mistake explains these numbers"


@dataclass(frozen=True)
class Result:
    """The outcome of one check.

    Attributes
    ----------
    name : str
        The check, such as "gradient is right".
    status : {"passed", "failed", "skipped"}
    message : str
        What was found: numbers for a pass, where and what for a failure, why for a check that does not apply.
    diagnoses : tuple of Diagnosis
        The mistakes that explain a failure, the most specific first.
    """

    name: str
    status: Status
    message: str
    diagnoses: tuple[Diagnosis, ...] = ()

    def lines(self) -> list[str]:
        """Return the message, and a line for each diagnosis."""
        return [*self.message.splitlines(), *(f"=> {diagnosis}" for diagnosis in self.diagnoses)]


def told(lines: Sequence[str], style: str = "") -> Text:
    """Return lines for a table; a diagnosis stands out."""
    return Text("\n").join(Text(line, "bold" if line.startswith("=>") else style) for line in lines)


@dataclass(frozen=True, repr=False)
class Report:
    """The proof of one gate, graph or model. It is true if everything passed: ``assert check_gate(gate)``.

    Attributes
    ----------
    title : str
        What was proven.
    examples : tuple of str
        At which inputs, and where these came from.
    results : tuple of Result
        One per check, in order.
    """

    title: str
    examples: tuple[str, ...]
    results: tuple[Result, ...]

    @property
    def passed(self) -> bool:
        return not self.failed

    @property
    def failed(self) -> tuple[str, ...]:
        """The names of the checks that failed."""
        return tuple(result.name for result in self.results if result.status == "failed")

    @property
    def diagnoses(self) -> tuple[Diagnosis, ...]:
        """All mistakes that were recognised, once each, the most specific first."""
        return tuple(dict.fromkeys(d for result in self.results for d in result.diagnoses))

    def raise_if_failed(self) -> None:
        """Raise GateError with the whole report unless everything passed."""
        if not self.passed:
            raise GateError(str(self))

    def __bool__(self) -> bool:
        return self.passed

    def summary(self) -> str:
        """Return the first line: ``Swish is proven: ...`` or ``Swish is wrong: ...``."""
        ran = [result for result in self.results if result.status != "skipped"]
        if self.passed:
            return f"{self.title} is proven: {len(ran)} checks passed"
        return f"{self.title} is wrong: {len(self.failed)} of {len(ran)} checks failed"

    def __str__(self) -> str:
        width = max(len(result.name) for result in self.results)
        lines = [self.summary(), *(f"  example: {example}" for example in self.examples)]
        for result in self.results:
            first, *rest = result.lines()
            lines.append(f"  {WORDS[result.status]:<5}  {result.name:<{width}}  {first}".rstrip())
            lines.extend(f"{'':{width + 11}}{line}" for line in rest)
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)

    def __rich__(self) -> Group:
        table = Table("check", "", "found", box=box.SIMPLE_HEAD)
        for result in self.results:
            color = COLORS[result.status]
            table.add_row(
                Text(result.name, "bold" if result.status == "failed" else ""),
                Text(WORDS[result.status], color),
                told(result.lines(), "" if result.status == "failed" else "dim"),
            )
        examples = Text("".join(f"\n  example: {example}" for example in self.examples), "dim")
        return Group(Text.assemble((self.summary(), "green" if self.passed else "bold red"), examples), table)

    def _repr_html_(self) -> str:
        def cell(lines: Sequence[str], style: str) -> str:
            written = (html.escape(line) for line in lines)
            inner = "<br>".join(f"<b>{line}</b>" if line.startswith("=&gt;") else line for line in written)
            return f'<td style="text-align: left; vertical-align: top; padding-right: 1em; {style}">{inner}</td>'

        styles = {"passed": "color: #1a7f37", "failed": "color: #cf222e; font-weight: bold", "skipped": "opacity: 0.6"}
        rows = "".join(
            f"<tr>{cell([result.name], '')}{cell([WORDS[result.status]], styles[result.status])}"
            f"{cell(result.lines(), 'opacity: 0.6' if result.status == 'skipped' else '')}</tr>"
            for result in self.results
        )
        head = "".join(f'<th style="text-align: left">{name}</th>' for name in ("check", "", "found"))
        color = styles["passed" if self.passed else "failed"]
        examples = "".join(f"<br>example: {html.escape(example)}" for example in self.examples)
        return (
            f'<p><span style="{color}">{html.escape(self.summary())}</span>{examples}</p>'
            f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        )
