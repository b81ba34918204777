"""What a rule finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from nngraph.diagnosis.evidence import Evidence

# So many layers are named.
SHOWN = 3


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a net or its data.

    Attributes
    ----------
    kind : str
        The name of the sickness, such as "dead ReLUs".
    where : str
        The node or the parameter; X or y for the data.
    numbers : str
        What was measured.
    advice : str
        One sentence: what to do.
    """

    kind: str
    where: str
    numbers: str
    advice: str

    def __str__(self) -> str:
        return f"{self.kind} in {self.where}: {self.numbers}. {self.advice}."


Rule: TypeAlias = Callable[[Evidence], Iterator[Finding]]


def of_layers(kind: str, found: Mapping[str, str], advice: str) -> Finding:
    """Return one finding for several layers, with the numbers of the first."""
    first, *more = found
    where = (
        ", ".join(found) if len(found) <= SHOWN else f"{', '.join(list(found)[:SHOWN])} and {len(found) - SHOWN} more"
    )
    return Finding(kind, where, f"in {first} {found[first]}" if more else found[first], advice)
