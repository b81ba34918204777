"""Inputs to prove a gate at: those that it offers itself, or shapes that are found to fit."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from gates.arrays import Array, as_array, describe
from gates.checking.outcome import breach
from gates.checking.trial import GateTrial, differentiable
from gates.checking.variants import is_square
from gates.contract import Gate, GateError, check_count, count_range, input_names

# What is tried, in this order: the first that the forward takes with a finite result is used.
VALUES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Array]] = {
    "of either sign": lambda rng, shape: rng.standard_normal(shape),
    "positive": lambda rng, shape: rng.uniform(0.3, 2.5, shape),
    "between 0 and 1": lambda rng, shape: rng.uniform(0.1, 0.9, shape),
    "between -1 and 1": lambda rng, shape: rng.uniform(-0.9, 0.9, shape),
    "above 1": lambda rng, shape: rng.uniform(1.1, 3.0, shape),
}
Shape = tuple[int, ...]
# Lengths that differ tell the axes apart; square ones forgive what others do not.
ONE: list[tuple[Shape, ...]] = [((5, 3),), ((3, 3),), ((4,),), ((),), ((3, 4, 5),), ((4, 3),), ((3, 3, 3),)]
TWO: list[tuple[Shape, ...]] = [
    ((5, 3), (5, 3)),
    ((3, 4), (5, 3)),
    ((5, 3), (3, 4)),
    ((3, 3), (3, 3)),
    ((5, 3), (3,)),
    ((3,), (5, 3)),
    ((5, 3), (5, 1)),
    ((5, 1), (1, 3)),
    ((), (5, 3)),
    ((5, 3), ()),
    ((5, 3), (5,)),
    ((4,), (4,)),
    ((4,), (3,)),
    ((3, 5, 4), (3, 5, 4)),
    ((3, 4, 5), (3, 6, 4)),
]
THREE: list[tuple[Shape, ...]] = [
    ((5, 3), (5, 3), (5, 3)),
    ((5, 3), (3, 4), (4,)),
    ((5, 3), (3, 4), (5, 4)),
    ((3, 4), (5, 3), (4,)),
    ((3, 3), (3, 3), (3,)),
    ((5, 3), (3,), (3,)),
    ((5, 3), (5, 1), (3,)),
    ((4,), (4,), (4,)),
]
ENOUGH = 7
# What no other shape would mend.
MISTAKES = (NameError, AttributeError, ImportError, NotImplementedError, RecursionError, ZeroDivisionError)


def _given(gate: Gate, inputs: Sequence[Any], origin: str) -> GateTrial:
    """Make the trial of inputs that the user gave, or that the gate offers; complex ones are refused."""
    check_count(gate, len(inputs))
    names = input_names(gate, len(inputs))
    arrays = [as_array(x, f"input {name}", GateError) for x, name in zip(inputs, names, strict=True)]
    if not any(array.size for array in arrays):
        raise GateError(
            f"{type(gate).__name__}: {describe(names, arrays)} hold no element, so there is nothing to prove"
        )
    for name, array in zip(names, arrays, strict=True):
        wrong = ~np.isfinite(array)
        if wrong.any():
            raise GateError(f"input {name} must be finite, got {array[wrong].flat[0]}")
    return differentiable(gate, arrays, origin)


def find_trials(gate: Gate, inputs: Sequence[Any], rng: np.random.Generator) -> list[GateTrial]:
    """Return the examples to prove a gate at: the inputs given, else its own `examples`, else what is found to fit.

    Raises
    ------
    GateError
        If the inputs cannot be used, or none can be found.
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # What is tried may be outside of the forward's domain.
        warnings.simplefilter("ignore")
        if inputs:
            return [_given(gate, inputs, "given")]
        offer = getattr(gate, "examples", None)
        if offer is not None:
            return [_given(gate, example, "from examples(rng)") for example in _offered(gate, offer, rng)]
        return _found(gate, rng)


def _offered(gate: Gate, offer: Any, rng: np.random.Generator) -> list[tuple[Any, ...]]:
    what = f"{type(gate).__name__}: examples(self, rng) must return one or more tuples of inputs, as [(X, W), (X2, W2)]"
    if not callable(offer):
        raise GateError(f"{what}; it is no method but {type(offer).__name__}")
    try:
        offer = offer(rng)
    except Exception as error:
        raise GateError(f"{what}; it raised {type(error).__name__}: {error}") from error
    if not isinstance(offer, Iterable) or isinstance(offer, np.ndarray | str):
        raise GateError(f"{what}, got {type(offer).__name__}")
    examples = list(offer)
    for example in examples:
        if not isinstance(example, tuple | list):
            raise GateError(f"{what}, got {type(example).__name__} among them")
    if not examples:
        raise GateError(f"{what}, got none")
    return [tuple(example) for example in examples]


def _found(gate: Gate, rng: np.random.Generator) -> list[GateTrial]:
    """Try shapes, and values of several kinds, until enough are found that the forward takes."""
    least, most = count_range(gate)
    refusals: list[tuple[GateTrial, Exception | None]] = []
    # A gate of any number of inputs joins them, so two are the fewest that show something.
    for count in range(2 if most == np.inf and least < 2 else least, int(min(most, 3)) + 1):
        shapes = {1: ONE, 2: TWO, 3: THREE}[count]
        best: list[GateTrial] = []
        for kinds in itertools.chain(((kind,) * count for kind in VALUES), _mixed(count)):
            if best and len(set(kinds)) > 1:
                break
            found = []
            for chosen in shapes:
                drawn = [VALUES[kind](rng, shape) for kind, shape in zip(kinds, chosen, strict=True)]
                values = ", ".join(kinds) if len(set(kinds)) > 1 else kinds[0]
                trial = GateTrial(gate, drawn, f"found by trying, values {values}")
                try:
                    Z = trial.forward(trial.inputs)
                except Exception as error:  # noqa: BLE001 - what the forward refuses does not fit; told if nothing does
                    refusals.append((trial, error))
                    continue
                if Z.dtype.kind not in "biuf" or np.isfinite(Z).all():
                    found.append(trial)
                else:
                    refusals.append((trial, None))
            # Values that fit few shapes fit them by luck.
            best = found if len(found) > 1.5 * len(best) else best
        if best:
            return _fitting(best, rng)[:ENOUGH]
    return _nothing_fits(gate, least, refusals)


def _fitting(found: list[GateTrial], rng: np.random.Generator) -> list[GateTrial]:
    """Leave out examples that backward does not take, if it takes matrices: the shapes are ours, not the author's.

    Of one kind, with the same axes to repeat, all must be taken: so a backward for square inputs only is found out.
    """
    taken = [trial for trial in found if breach(trial, rng) is None]
    matrices = [t for t in taken if any(x.ndim >= 2 for x in t.inputs) and not is_square(t)]
    open_to = {_kind(trial) for trial in matrices}
    kept = [trial for trial in found if trial in taken or _kind(trial) in open_to] if open_to else found
    left_out = [describe(trial.names, trial.inputs) for trial in found if trial not in kept]
    for trial in kept if left_out else []:
        trial.origin += f"; not at {left_out[0]}, where forward runs and backward fails"
    return kept


def _kind(trial: GateTrial) -> tuple[tuple[bool, ...], ...]:
    return tuple(tuple(n == 1 for n in x.shape) for x in trial.inputs)


def _mixed(count: int) -> Iterable[tuple[str, ...]]:
    """Give the combinations of kinds of values that differ: a base that is positive, an exponent of either sign."""
    return (kinds for kinds in itertools.product(VALUES, repeat=count) if len(set(kinds)) > 1)


def _nothing_fits(gate: Gate, least: int, refusals: list[tuple[GateTrial, Exception | None]]) -> list[GateTrial]:
    """Raise, unless what was raised is a mistake in the forward whatever the shapes: then give that example."""
    for trial, error in refusals:
        if isinstance(error, MISTAKES):
            return [trial]
    name = type(gate).__name__
    advice = "give inputs, or write a method examples(self, rng) that returns a list of tuples of inputs"
    if not refusals:
        raise GateError(f"{name}: examples of {least} inputs are not found by trying shapes; {advice}")
    trial, error = refusals[0]
    said = f"{type(error).__name__}: {error}" if error else "the result is not finite"
    raise GateError(
        f"{name}: of {len(refusals)} examples tried none fits (for {describe(trial.names, trial.inputs)}: {said}); "
        f"{advice}"
    )
