"""What a program costs, and what was done to it: to read as text."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from nngraph.program.flops import flops
from nngraph.program.memory import planned_bytes
from nngraph.program.program import Opaque, Operation, Program

WIDTH = 80
SHOWN = 8  # inputs by name
ESTIMATE = (
    "FLOPs are estimates: a multiplication and an addition count one each, and so does tanh or exp of one number; a "
    "reduction one for each element that it reads; views, copies, indices and sorting nothing."
)


@dataclass(frozen=True)
class Cost:
    """What the operations with one function cost together.

    Attributes
    ----------
    name : str
        The function.
    times : int
        How many operations there are.
    flops : int or None
        None where it is not known what one of them costs.
    """

    name: str
    times: int
    flops: int | None


@dataclass(frozen=True, repr=False)
class ProgramReport:
    """What a program costs, and what was done to it.

    Attributes
    ----------
    inputs : tuple of str
        What it is for: names and shapes.
    passes : tuple of (name, operations before or None, operations after)
    costs : tuple of Cost
        By function, the most expensive first.
    buffer_bytes : int
        The memory of its buffers.
    guards : int
        How often a gate asked the data for something while the program was recorded.
    opaque : tuple of Opaque
        The gates that are called as they are, and why.
    """

    inputs: tuple[str, ...]
    passes: tuple[tuple[str, int | None, int], ...]
    costs: tuple[Cost, ...]
    buffer_bytes: int
    guards: int
    opaque: tuple[Opaque, ...]

    @property
    def operations(self) -> int:
        """The number of operations."""
        return sum(cost.times for cost in self.costs)

    @property
    def flops(self) -> int:
        """The FLOPs of one run, as far as they are known."""
        return sum(cost.flops or 0 for cost in self.costs)

    def summary(self) -> str:
        """Return the first line: ``47 operations, 28,415 FLOPs per run, 13.4 kB of buffers, 1 guard``."""
        unknown = any(cost.flops is None for cost in self.costs)
        parts = [many(self.operations, "operation"), f"{'at least ' * unknown}{self.flops:,} FLOPs per run"]
        parts.append(f"{human_bytes(self.buffer_bytes)} of buffers")
        return ", ".join(
            [*parts, many(self.guards, "guard"), *[many(len(self.opaque), "opaque call")] * bool(self.opaque)]
        )

    def purpose(self) -> str:
        """Return what it is for: ``for X (200, 2), W1 (2, 3), ...``."""
        more = [f"... ({many(len(self.inputs), 'input')})"] * (len(self.inputs) > SHOWN)
        return f"for {', '.join([*self.inputs[:SHOWN], *more]) or 'no inputs'}"

    def pass_rows(self) -> list[tuple[str, ...]]:
        """Return what each pass did, as text: its name, the number of operations before and after it."""
        return [(name, "" if before is None else f"{before:,}", f"{after:,}") for name, before, after in self.passes]

    def cost_rows(self) -> list[tuple[str, ...]]:
        """Return what each function costs, as text: its name, how often, FLOPs, percent; those that are free in one."""
        rows: list[tuple[str, ...]] = []
        for cost in self.costs:
            if cost.flops is None:
                rows.append((cost.name, f"{cost.times:,}", "?", ""))
            elif cost.flops:
                rows.append((cost.name, f"{cost.times:,}", f"{cost.flops:,}", f"{cost.flops / self.flops:.1%}"))
        free = sum(cost.times for cost in self.costs if cost.flops == 0)
        if free:
            rows.append(("views, copies, indices", f"{free:,}", "0", ""))
        return [*rows, ("in all", f"{self.operations:,}", f"{self.flops:,}", "")]

    def __str__(self) -> str:
        lines = [self.summary(), *_wrapped(self.purpose())]
        lines += ["", *_columns(("pass", "before", "after"), self.pass_rows())]
        lines += ["", *_columns(("operation", "times", "FLOPs", "share"), self.cost_rows())]
        lines += ["", *_wrapped(ESTIMATE)]
        if self.opaque:
            lines += ["", "  called as they are:"]
            lines += [line for gate in self.opaque for line in _wrapped(f"- {gate}", "    ", "      ")]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)


def report(program: Program, buffer_bytes: int | None = None) -> ProgramReport:
    """Report what a program costs, and what was done to it.

    Parameters
    ----------
    program : Program
    buffer_bytes : int, optional
        The memory of the buffers that it is bound to; by default what `planned_bytes` says that it needs.

    Returns
    -------
    report : ProgramReport
        Its FLOPs are estimates; the rules are those of `nngraph.program.flops.flops`.
    """
    before = [None, *(count for _, count in program.passes)]
    passes = [(name, count, after) for (name, after), count in zip(program.passes, before, strict=False)]
    inputs = tuple(f"{variable.name} {variable.shape}" for variable in program.inputs)
    if buffer_bytes is None:
        buffer_bytes = planned_bytes(program)
    return ProgramReport(
        inputs, tuple(passes), tuple(_costs(program)), buffer_bytes, len(program.guards), program.opaque
    )


def _costs(program: Program) -> list[Cost]:
    """Return the costs by function; first those that are not known, then the most expensive."""
    groups: dict[str, list[int | None]] = {}
    for operation in program.operations:
        groups.setdefault(_name(operation), []).append(flops(operation))
    costs = [
        Cost(name, len(counts), None if None in counts else sum(count or 0 for count in counts))
        for name, counts in groups.items()
    ]
    return sorted(costs, key=lambda cost: -np.inf if cost.flops is None else -cost.flops)


def _name(operation: Operation) -> str:
    """Return what a report calls an operation: ``matmul``, ``add.reduce``, ``norm``."""
    if operation.kind == "call":
        return "opaque gates"
    function: Callable[..., Any] = operation.function
    owner = getattr(function, "__self__", None)
    before = f"{owner.__name__}." if isinstance(owner, np.ufunc) else ""
    return f"{before}{function.__name__}"


def many(count: int, what: str) -> str:
    """Return ``1 guard`` or ``2 guards``."""
    return f"{count:,} {what}{'s' * (count != 1)}"


def human_bytes(count: int) -> str:
    """Return ``640 bytes``, ``13.4 kB``, ``2.1 MB``: units of 1000."""
    if count < 1000:
        return many(count, "byte")
    power = 1 if count < 999_950 else 2 if count < 999_950_000 else 3
    return f"{count / 1000**power:,.1f} {'kMG'[power - 1]}B"


def _wrapped(text: str, first: str = "  ", rest: str = "  ") -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=rest)


def _columns(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    """Yield a table as lines: the first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    for first, *others in (head, *rows):
        right = (f"  {text:>{width}}" for text, width in zip(others, widths[1:], strict=True))
        yield f"  {first:<{widths[0]}}{''.join(right)}".rstrip()
