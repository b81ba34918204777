"""What a check works with and what it ends in: a proof, an outcome, an exception told with its line."""

from __future__ import annotations

import operator
import traceback
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gates.checking.evidence import Diagnosis
from gates.checking.report import Result
from gates.checking.trial import GateTrial
from gates.contract import Gate, GateError


class Failure(Exception):  # noqa: N818 - the outcome of a check, which turns it into a result
    """A check found a breach; carries the diagnoses."""

    def __init__(self, message: str, diagnoses: Iterable[Diagnosis | None] = ()) -> None:
        super().__init__(message)
        self.diagnoses = tuple(d for d in diagnoses if d is not None)


class Unmeasured(Failure):
    """Nothing could be compared: that proves nothing, and blames nobody."""


class NotApplicable(Exception):  # noqa: N818 - it is no error
    """A check has nothing to say of this gate; the message says why."""


@dataclass(frozen=True)
class Proof:
    """A gate at its examples, and a seed."""

    gate: Gate
    trials: Sequence[GateTrial]
    seed: int

    def rng(self) -> np.random.Generator:
        """Return a generator; every check draws the same, whichever ran before."""
        return np.random.default_rng(self.seed)

    @cached_property
    def runnable(self) -> list[GateTrial]:
        """The trials whose backward runs and returns gradients that fit."""
        return [trial for trial in self.trials if breach(trial, self.rng()) is None]


@dataclass(frozen=True)
class Check:
    """One named check of a gate."""

    name: str
    function: Callable[[Proof], str]

    def run(self, proof: Proof) -> Result:
        """Return the outcome; an exception from the gate is a failure, told with its line."""
        try:
            # What overflows or is empty on purpose here would warn; what is wrong with it is said by the checks.
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                return Result(self.name, "passed", self.function(proof))
        except Failure as failure:
            return Result(self.name, "failed", str(failure), failure.diagnoses)
        except NotApplicable as reason:
            return Result(self.name, "skipped", str(reason))
        except Exception as error:
            if not isinstance(error, GateError) and not _frames_of_gate(error):
                raise
            return Result(self.name, "failed", told(error))


def gate_title(gate: Gate) -> str:
    """Write a gate with its settings, ``Swish`` or ``LeakyReLU(slope=0.3)``, in one line that is not too long."""
    with np.printoptions(threshold=6, edgeitems=1):
        title = " ".join(repr(gate).split()).removesuffix("()")
    return title if len(title) <= 80 else f"{title[:76]}...)"


def seeded(random_state: Any) -> int:
    """Return a seed; raise ValueError unless it is an integer that is not negative."""
    try:
        seed = operator.index(random_state)
    except TypeError:
        seed = -1
    if seed < 0:
        raise ValueError(f"random_state must be an integer >= 0, got {random_state!r}")
    return seed


def told(error: BaseException) -> str:
    """Write an exception with the line of the gate that raised it."""
    text = str(error) if isinstance(error, GateError) else f"{type(error).__name__}: {error}"
    cause = error.__cause__ if isinstance(error, GateError) and error.__cause__ is not None else error
    frames = _frames_of_gate(cause)
    if not frames:
        return text
    frame = frames[-1]
    code = f": {frame.line}" if frame.line else ""
    return f"{text}\nat line {frame.lineno} of {Path(frame.filename).name}, in {frame.name}{code}"


def _frames_of_gate(error: BaseException) -> list[traceback.FrameSummary]:
    """Return the lines of a traceback in the file of the gate, empty if none of it was the gate's."""
    here = Path(__file__).parent
    ours = (here, here.parent / "contract.py", Path(np.__file__).parent)
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [f for f in frames if not any(Path(f.filename).is_relative_to(place) for place in ours)]
    return [f for f in theirs if f.filename == theirs[0].filename]


def breach(trial: GateTrial, rng: np.random.Generator) -> str | None:
    """Return what is wrong with the count, shapes and dtypes of a trial's gradients."""
    try:
        trial.backward(trial.inputs, rng.standard_normal(trial.forward(trial.inputs).shape))
    except Exception as error:  # noqa: BLE001 - the gate's own code may raise anything; the report carries it
        return told(error)
    return None


def need(trials: list[GateTrial]) -> list[GateTrial]:
    """Return the trials, of which there must be one."""
    if not trials:
        raise NotApplicable("needs a backward whose gradients fit their inputs")
    return trials


def applicable(trials: list[Any], reason: str) -> list[Any]:
    """Return the trials; without any the check does not apply, for this reason."""
    if not trials:
        raise NotApplicable(reason)
    return trials


def counted(n: int, what: str) -> str:
    """Write ``1 row`` or ``3 rows``."""
    return f"{n} {what}{'' if n == 1 else 's'}"
