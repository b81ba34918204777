"""Programs as they come from a recording: they can say what they cost, and print themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nngraph.program.passes import optimize
from nngraph.program.printing.source import source
from nngraph.program.program import Program
from nngraph.program.report import ProgramReport, report


@dataclass(frozen=True)
class RecordedProgram(Program):
    """A `Program`; see there."""

    def source(self, name: str = "step", doc: str = "", *, constants: Literal["text", "arguments"] = "text") -> str:
        """Print it as a Python module with one function, after all passes; see `nngraph.program.printing.source`."""
        return source(optimize(self), name, doc, constants=constants)

    def report(self, buffer_bytes: int | None = None) -> ProgramReport:
        """Report what it costs, and what the passes do to it; see `nngraph.program.report`."""
        return report(self if len(self.passes) > 1 else optimize(self), buffer_bytes)
