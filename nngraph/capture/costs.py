"""What each gate of a graph costs for one example: recordings of a few sizes, compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from gates.contract import run_forward
from nngraph.capture.follower import Recording, Step
from nngraph.program.flops import flops
from nngraph.program.memory import planned_bytes
from nngraph.program.passes import optimize
from nngraph.program.program import Operation, Program

# A number, or why there is none.
Count: TypeAlias = int | str


@dataclass(frozen=True)
class Cost:
    """``FLOPs = once + n each`` for n examples.

    Attributes
    ----------
    title : str
        What is run: ``Tanh at node 'A1', forward``.
    each, once : int
    unknown : str
        Why they are not known, if they are not.
    """

    title: str
    each: int = 0
    once: int = 0
    unknown: str = ""

    def __str__(self) -> str:
        return f"{self.title}: {self.unknown or f'{self.each:,} FLOPs'}"


@dataclass(frozen=True)
class Costs:
    """What a program costs.

    Attributes
    ----------
    steps : tuple of Cost
        One for each run of a gate, in their order, and one for what lies between them: sums of gradients.
    buffer_bytes : int
        The planned memory, for the last of the sizes.
    """

    steps: tuple[Cost, ...]
    buffer_bytes: int

    @property
    def each(self) -> int:
        """The FLOPs for one example, as far as they are known."""
        return sum(step.each for step in self.steps)

    @property
    def unknown(self) -> list[str]:
        """Of which steps the FLOPs are not known, and why."""
        return [str(step) for step in self.steps if step.unknown]


def line(sizes: Sequence[int], counts: Sequence[int]) -> tuple[int, int] | None:
    """Return whole numbers ``each, once`` with ``count = once + size each`` for all sizes, None if there are none."""
    each, rest = divmod(counts[1] - counts[0], sizes[1] - sizes[0])
    once = counts[0] - sizes[0] * each
    fits = not rest and all(count == once + size * each for size, count in zip(sizes, counts, strict=True))
    return (each, once) if fits else None


def costs(recordings: Sequence[Recording], sizes: Sequence[int]) -> Costs:
    """Return what a program costs for any number of examples.

    Parameters
    ----------
    recordings : sequence of Recording
        Of one graph, on data of different sizes.
    sizes : sequence of int
        The numbers of examples; the first two differ.

    Returns
    -------
    costs : Costs
        After all passes: a backward that recomputes its forward costs nothing. What a gate asks for is counted where it
        is computed first.
    """
    programs = [optimize(recording.program) for recording in recordings]
    counted = [_counts(*pair) for pair in zip(recordings, programs, strict=True)]
    titles = [*map(_title, recordings[0].steps), "beside the gates"]
    steps = (_cost(title, sizes, counts) for title, *counts in zip(titles, *counted, strict=True))
    return Costs(tuple(steps), planned_bytes(programs[-1]))


def _title(step: Step) -> str:
    return f"{step.call.label[0]}, {'forward' if step.call.run is run_forward else 'backward'}"


def _cost(title: str, sizes: Sequence[int], counts: Sequence[Count]) -> Cost:
    numbers = [count for count in counts if isinstance(count, int)]
    if len(numbers) < len(counts):
        return Cost(title, unknown=next(count for count in counts if isinstance(count, str)))
    found = line(sizes, numbers)
    if found is None:
        return Cost(title, unknown="they do not grow in proportion to the examples")
    return Cost(title, *found)


def _counts(recording: Recording, program: Program) -> list[Count]:
    """Return the FLOPs of each step, and of what lies between the steps."""
    recorded, steps = recording.program.operations, recording.steps
    owners = {recorded[i].output: k for k, step in enumerate(steps) for i in step.operations}
    counts = [0] * (len(steps) + 1)
    unknown: dict[int, str] = {}
    reasons = {opaque.gate: opaque.reason for opaque in program.opaque}
    for operation in program.operations:
        k = owners.get(operation.output, len(steps))
        count = flops(operation)
        if count is None:
            called = reasons.get(_title(steps[k]), "") if k < len(steps) and operation.kind == "call" else ""
            unknown.setdefault(k, called or _why(operation))
        else:
            counts[k] += count
    return [unknown.get(k, count) for k, count in enumerate(counts)]


def _why(operation: Operation) -> str:
    """Return why there is no count."""
    if any(v.shape is None for v in (*operation.variables, operation.output)):
        return "its lengths depend on the data"
    return f"there is no rule for {getattr(operation.function, '__name__', type(operation.function).__name__)}"
