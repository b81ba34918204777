"""Tables as text, with rich, and as HTML: what a model says of itself is shown in all three."""

from __future__ import annotations

import html
import importlib
import io
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

WIDTH = 80


def as_text(shown: Any) -> str:
    """Return what rich prints of something, in 80 columns, without colours."""
    # Loaded when somebody looks, here and below, so that the package loads fast.
    console = importlib.import_module("rich.console").Console(
        file=io.StringIO(), width=WIDTH, color_system=None, force_terminal=False, force_jupyter=False
    )
    console.print(shown)
    return "\n".join(line.rstrip() for line in console.file.getvalue().rstrip().splitlines())


def rich_table(heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: Collection[str]) -> Table:
    """Return a table for rich, with the columns that have numbers to the right."""
    tables, texts = (importlib.import_module(f"rich.{name}") for name in ("table", "text"))
    table: Table = tables.Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for head in heads:
        number = head in numbers
        table.add_column(head, justify="right" if number else "left", no_wrap=number, overflow="fold")
    for row in rows:
        table.add_row(*map(texts.Text, row))
    return table


def html_table(heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: Collection[str]) -> str:
    """Return a table for a notebook."""

    def cell(tag: str, head: str, text: str) -> str:
        align = "right" if head in numbers else "left"
        return f'<{tag} style="text-align: {align}; padding-right: 1em">{html.escape(text)}</{tag}>'

    def line(tag: str, texts: Sequence[str]) -> str:
        return f"<tr>{''.join(cell(tag, head, text) for head, text in zip(heads, texts, strict=True))}</tr>"

    body = "".join(line("td", row) for row in rows)
    return f"<table><thead>{line('th', heads)}</thead><tbody>{body}</tbody></table>"
