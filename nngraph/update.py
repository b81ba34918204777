"""What becomes of a gradient: penalties, clipping, and the rule of an optimiser, recorded and run in place."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gates.arrays import Array
from nngraph.capture.follower import put_back
from nngraph.capture.graphs import record_update
from nngraph.engines.compiled import Compiled
from nngraph.flat import Flat, split
from nngraph.nodes import Parameter
from nngraph.optimizers import Optimizer
from nngraph.penalties import ElasticNet

# Up to so many parameters a step is a matter of calls, not of numbers.
SMALL = 4096


class Update:
    """One step: the gradient in ``flat.gradient`` with the penalties' added, clipped, and given to the optimiser.

    Parameters
    ----------
    flat : Flat
        Its theta is changed, its gradient used up.
    optimizer : Optimizer
    penalties : mapping from parameter to ElasticNet
    clip_norm : float or None
        What the norm of the gradient, the penalties' included, is cut down to.

    Attributes
    ----------
    state : tuple of arrays
        The optimiser's state.
    step : int
        How many steps were taken.
    """

    def __init__(
        self,
        flat: Flat,
        optimizer: Optimizer,
        penalties: Mapping[Parameter, ElasticNet],
        clip_norm: float | None = None,
    ) -> None:
        self._gradient, self._clip_norm = flat.gradient, clip_norm
        self._optimizer, self.step = optimizer, 0
        start = optimizer.start(flat.theta.copy())
        if not isinstance(start, tuple):
            what = f"{type(optimizer).__name__}.start must return a tuple of arrays like theta"
            raise ValueError(f"{what}, got {type(start).__name__}; one array is (array,)")
        self.state = tuple(np.array(part) for part in start)
        self._pulls = _pulls(flat, penalties)
        self._rate = math.nan
        # As arrays of the parameters' dtype: a Python float is converted anew in every call.
        first = optimizer.numbers(optimizer.rate, 1)
        self._numbers = tuple(np.asarray(number, flat.theta.dtype) for number in first)
        # A rule whose numbers are the rate alone needs new ones with a new rate only.
        self._steady = type(optimizer).numbers is Optimizer.numbers
        self._run = _in_place(optimizer, flat, self._numbers, self.state)

    def __call__(self, rate: float, weight: float = 1.0) -> None:
        """Take one step, in place, on a batch that weighs so much; the gradient is used up."""
        gradient = self._gradient
        for W, strength, pull, sign, shared, to in self._pulls:
            if sign:
                np.sign(W, pull)
                np.multiply(pull, strength, pull)
            else:
                np.multiply(W, strength, pull)
            if shared:
                np.divide(pull, weight, pull)
            np.add(to, pull, to)
        if self._clip_norm is not None:
            length = _norm(gradient)
            if length > self._clip_norm:
                np.multiply(gradient, self._clip_norm / length, gradient)
        self.step += 1
        if not self._steady:
            for place, number in zip(self._numbers, self._optimizer.numbers(rate, self.step), strict=True):
                place[()] = number
        elif rate != self._rate:
            self._numbers[0][()] = self._rate = rate
        self._run()


def _norm(vector: Array) -> float:
    """Return the norm, where the squares overflow, too."""
    square = vector.dot(vector)
    if square < math.inf:
        return math.sqrt(square)
    largest = float(np.abs(vector).max())
    scaled = vector / largest
    return largest * math.sqrt(scaled.dot(scaled))


def _pulls(
    flat: Flat, penalties: Mapping[Parameter, ElasticNet]
) -> list[tuple[Array, Array, Array, bool, bool, Array]]:
    """Return what penalties add: of which weights, how strong, where it is computed, sign?, shared?, to what gradient.

    On all weights at once, where the others get zero; on each alone, where they are large.
    """
    found = []
    for name, shared in itertools.product(("l1", "l2"), (False, True)):
        penalties_alike = {p: penalty for p, penalty in penalties.items() if penalty.shared == shared}
        strengths = {p: getattr(penalty, name) for p, penalty in penalties_alike.items() if getattr(penalty, name)}
        if strengths and flat.theta.size <= SMALL:
            vector = np.zeros_like(flat.theta)
            for parameter, part in split(vector, flat.parameters).items():
                part[...] = strengths.get(parameter, 0.0)
            found.append((flat.theta, vector, np.empty_like(vector), name == "l1", shared, flat.gradient))
        else:
            for p, strength in strengths.items():
                W = flat.values[p]
                number = np.asarray(strength, W.dtype)
                found.append((W, number, np.empty_like(W), name == "l1", shared, flat.gradients[p]))
    return found


def _in_place(
    optimizer: Optimizer, flat: Flat, numbers: tuple[Array, ...], state: tuple[Array, ...]
) -> Callable[[], None]:
    """Return the rule as a function that writes over theta and the state.

    It is recorded, compiled and tried; if it cannot be followed, or comes out otherwise, it is called as it is.
    """
    given, targets = (flat.theta, flat.gradient, *numbers, *state), (flat.theta, *state)

    def as_it_is() -> None:
        for target, value in zip(targets, results(optimizer, given, len(targets)), strict=True):
            np.copyto(target, value)

    shown = [array.view() for array in given]
    for array in shown:
        array.flags.writeable = False
    # A rule that raises, writes into what it gets, or gives something else, does so here.
    with np.errstate(all="ignore"), _pure(optimizer):
        results(optimizer, shown, len(targets))
    names = [f"given {i}" for i in range(len(given))]
    try:
        recording = record_update(
            lambda *arrays: results(optimizer, arrays, len(targets)),
            dict(zip(names, given, strict=True)),
            [f"next {i}" for i in range(len(targets))],
            f"the update of {type(optimizer).__name__}",
        )
    except ValueError:
        return as_it_is
    inputs = recording.program.inputs
    # The gradient is used up.
    compiled = Compiled(recording.program, inputs, dict(zip(inputs, given, strict=True)), targets, spare=inputs[1:2])
    kept = [array.copy() for array in given]
    rng = np.random.default_rng(0)
    for array in given:
        array[...] = rng.uniform(0.1, 1.0, array.shape)
    with np.errstate(all="ignore"):
        expected = [np.array(value) for value in results(optimizer, given, len(targets))]
        compiled.step()
    close = all(
        np.allclose(target, value, rtol=1e3 * np.finfo(value.dtype).eps, atol=0, equal_nan=True)
        for target, value in zip(targets, expected, strict=True)
    )
    for array, value in zip(given, kept, strict=True):
        array[...] = value
    return compiled.step if close else as_it_is


@contextlib.contextmanager
def _pure(optimizer: Optimizer) -> Iterator[None]:
    """Raise ValueError, with what to do, if a rule writes into its arguments or changes its attributes."""
    name = type(optimizer).__name__
    try:
        with put_back(optimizer) as changed:
            yield
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        raise ValueError(f"{name}.update writes into an argument ({error}); return new arrays instead") from error
    if changed:
        raise ValueError(
            f"{name}.update changes {changed[0]}, but settings stay as they are: what is remembered of each "
            "element goes into start(theta) and into what update returns, what is counted into numbers(rate, step)"
        )


def results(optimizer: Optimizer, given: Sequence[Any], count: int) -> tuple[Any, ...]:
    """Return what an optimiser's rule gives: the next theta and the next state; raise ValueError if it is not that."""
    found = optimizer.update(*given)
    found = found if isinstance(found, tuple) else (found,)
    shapes = [np.shape(part) for part in found]
    if shapes != [np.shape(given[0])] * count:
        expected = "the next theta" if count == 1 else f"the next theta and {count - 1} arrays of state"
        raise ValueError(
            f"{type(optimizer).__name__}.update must return {expected}, each of theta's shape {np.shape(given[0])}, "
            f"got {', '.join(map(str, shapes))}"
        )
    return found
