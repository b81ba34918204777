"""Whether a backward is right: compared with measured slopes along random directions, then element by element."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from gates.arrays import Array, first
from gates.checking.slopes import EPSILON, STEPS, TINY, Slope, measure, nearby_noise, rounding_noise, scales
from gates.checking.trial import Trial

# How many times its own error a measurement may be missed by.
SAFETY = 8.0
# Inputs up to this size are measured element by element when a direction fails; of larger ones a part is.
FEW = 120
# A slope of less than this part of Z per unit is no longer in the digits of Z.
FLAT = 1e-11


@dataclass
class Comparison:
    """What the directional proof of one input found.

    Attributes
    ----------
    directions, complex_steps, outputs : int
        How many directions were tried, how many of them by complex steps, and how many elements Z has.
    unmeasured : int
        How many elements of Z no direction could measure.
    left_out : int
        How many elements of the input have no finite slope.
    kinks : array of bool
        The elements of Z that have a kink here.
    difference : float
        The largest relative difference between backward and measurement.
    failed : list of arrays
        The directions that disagree.
    outside : list of str
        What backward gives at kinks where it is not between the one-sided slopes.
    """

    outputs: int
    directions: int = 0
    complex_steps: int = 0
    unmeasured: int = 0
    left_out: int = 0
    kinks: Array = field(default_factory=lambda: np.zeros((), bool))
    difference: float = 0.0
    failed: list[Array] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    @property
    def right(self) -> bool:
        """Whether every direction agrees."""
        return not (self.failed or self.outside)


def compare(trial: Trial, k: int, rng: np.random.Generator) -> Comparison:
    """Compare ``<g, v>`` with ``<G, dZ/dv>`` for random directions v of input k and random upstream gradients G.

    ``g`` is what backward gives for G, so both are the slope of ``sum(G Z)`` along v. Elements of x of very different
    size are moved separately, and elements of Z whose slopes are known to very different precision are compared
    separately: neither a large value nor a large slope hides a small one.

    Parameters
    ----------
    trial : Trial
        What is proven, and where.
    k : int
        The input whose gradient is compared.
    rng : Generator
        Draws directions and upstream gradients.
    """
    x, function = trial.inputs[k], trial.function(k)
    Z = trial.forward(trial.inputs)
    noise = rounding_noise(function, x, Z, rng)
    found = Comparison(outputs=Z.size, kinks=np.zeros(Z.shape, bool))
    measured = np.zeros(Z.shape, bool)
    moved = _differentiable(trial, k, noise, rng)
    found.left_out = int((~moved).sum())
    for scale in scales(x):
        # The last scale is the shortest; a kink that is none there is not at x but beside it.
        kinks: list[tuple[Array, Slope]] = []
        for group in _magnitudes(scale, moved):
            v = np.where(group, scale * rng.choice([-1.0, 1.0], x.shape) * rng.uniform(0.5, 1.5, x.shape), 0.0)
            slope = measure(function, x, v, Z, noise)
            found.directions += 1
            found.complex_steps += slope.is_complex
            for outputs in _magnitudes(slope.error, slope.measured):
                if _compare(trial, k, v, outputs, slope, Z, found, rng):
                    measured |= outputs
            kinks.append((v, slope))
        noise = np.maximum(noise, nearby_noise(function, x, slope)) if kinks else noise
    for v, slope in kinks:
        found.kinks = found.kinks | slope.kink
        for outputs in _single(slope.kink):
            _compare_kink(trial, k, v, outputs, slope, found, rng)
    found.unmeasured = int((~(measured | found.kinks)).sum())
    return found


def _differentiable(trial: Trial, k: int, noise: Array, rng: np.random.Generator) -> Array:
    """Return which elements of an input can be moved: not those whose gradient is infinite as their slope is.

    At an edge of the domain, as of a root at 0, there is nothing to compare.
    """
    x, function = trial.inputs[k], trial.function(k)
    Z = trial.forward(trial.inputs)
    moved = np.ones(x.shape, bool)
    infinite = ~np.isfinite(trial.gradient(k, rng.standard_normal(Z.shape)))
    for at in [tuple(index) for index in np.argwhere(infinite)][:FEW]:
        v = np.zeros(x.shape)
        v[at] = 1.0
        slope = measure(function, x, v, Z, noise)
        # An infinite slope is measured as a larger one at every shorter step.
        size = np.abs(slope.value).max(initial=0.0, where=slope.measured)
        sharp = slope.error <= 0.1 * size + 1e-6 * np.abs(Z).max(initial=0.0)
        moved[at] = ((slope.measured & sharp) | slope.kink).all()
    return moved


def _magnitudes(values: Array, among: Array) -> Iterator[Array]:
    """Split the elements `among` those given into groups in which `values` differ by a thousand at most."""
    if not among.any():
        return
    logarithms = np.log10(values + TINY, where=among, out=np.full(values.shape, np.nan))
    group = np.floor((logarithms[among].max() - logarithms) / 3)
    kinds = np.unique(group[among])
    yield from (group == kind for kind in kinds) if len(kinds) > 1 else [among]


def _single(mask: Array) -> Iterator[Array]:
    """Give the first few true elements of a mask one by one, and then the rest together."""
    rest = np.array(mask)
    for at in map(tuple, np.argwhere(mask)[:8]):
        one = np.zeros(mask.shape, bool)
        one[at] = True
        rest[at] = False
        yield one
    if rest.any():
        yield rest


def _compare(
    trial: Trial, k: int, v: Array, outputs: Array, slope: Slope, Z: Array, found: Comparison, rng: np.random.Generator
) -> bool:
    """Compare some elements of Z along one direction; return whether it is measured sharply enough to say anything."""
    G = np.where(outputs, rng.choice([-1.0, 1.0], outputs.shape) * rng.uniform(0.5, 1.5, outputs.shape), 0.0)
    g, uncertain = gradient_with_error(trial, k, G, rng)
    expected = float(np.sum(G * slope.value, where=outputs))
    got = float(np.sum(g * v, where=v != 0))
    allowed = SAFETY * float(np.sum(np.abs(G) * slope.error, where=outputs)) + _product_error(g, uncertain, v)
    difference = abs(got - expected)
    # Written so that nan is wrong. What costs more to know is asked for only if it matters.
    if not difference <= allowed and not difference <= allowed + _cancelled(trial, k, v, G, slope, rng):
        found.failed.append(v)
    size = float(np.sum(np.abs(G * slope.value), where=outputs)) + TINY
    if allowed < 1e-3 * size:
        found.difference = max(found.difference, difference / size)
    # Where Z is flat to its last digits, as where it is saturated, there is nothing more to see.
    flat = FLAT * float(np.sum(np.abs(G * Z), where=outputs)) + TINY
    if allowed <= max(0.5 * size, flat) or got == 0.0 == expected:
        return True
    return max(allowed, abs(got)) <= FLAT * float(np.sum(background(trial, k, G, rng) * np.abs(v)))


def _compare_kink(
    trial: Trial,
    k: int,
    v: Array,
    outputs: Array,
    slope: Slope,
    found: Comparison,
    rng: np.random.Generator,
) -> None:
    """Ask for a value between the one-sided slopes."""
    G = np.where(outputs, rng.standard_normal(outputs.shape), 0.0)
    g, _ = gradient_with_error(trial, k, G, rng)
    ends = [G * side for side in (slope.lower, slope.upper)]
    low, high = (float(np.sum(f(*ends), where=outputs)) for f in (np.minimum, np.maximum))
    size = np.sum(np.abs(ends[0]) + np.abs(ends[1]), where=outputs)
    allowed = 1e-4 * size + SAFETY * np.sum(np.abs(G) * slope.noise, where=outputs) / STEPS[-1]
    got = float(np.sum(g * v, where=v != 0))
    if not low - allowed <= got <= high + allowed:
        nearby = [float(np.sum(G * s, where=outputs)) for s in _slopes_nearby(trial, k, v, rng)]
        low, high = min(low, *nearby), max(high, *nearby)
    if not low - allowed <= got <= high + allowed:
        at, position = first(outputs)
        found.outside.append(
            f"Z[{position}] has a kink here, and along a direction one-sided slopes of {slope.lower[at]:.7g} and "
            f"{slope.upper[at]:.7g}; backward gives {got / G[at]:.7g}, which is not between them"
            if outputs.sum() == 1
            else f"at {outputs.sum()} kinks together backward gives {got:.7g}, not between {low:.7g} and {high:.7g}"
        )


def _slopes_nearby(trial: Trial, k: int, v: Array, rng: np.random.Generator) -> Iterator[Array]:
    """Give the slopes at points around a kink, of which its gradient may be a limit (Clarke's): so for three ties."""
    x, function = trial.inputs[k], trial.function(k)
    for _ in range(16):
        near, step = x + 1e-4 * np.maximum(np.abs(x), 1.0) * rng.standard_normal(x.shape), 1e-9
        yield (function(near + step * v) - function(near - step * v)) / (2 * step)


def _cancelled(trial: Trial, k: int, v: Array, G: Array, slope: Slope, rng: np.random.Generator) -> float:
    """Return what terms that cancel in backward may leave: where a function is flat, and where it is saturated.

    Their size is seen in what backward gives elsewhere; where nothing is seen, it is taken for that of dZ.
    """
    allowed = 8 * EPSILON * float(np.sum(background(trial, k, G, rng) * np.abs(v)))
    flat = slope.measured & (slope.value == 0)
    if flat.any():
        g = np.abs(trial.gradient(k, rng.standard_normal(G.shape)))
        seen = g[g > 64 * EPSILON]
        typical = float(np.median(seen)) if seen.size else 1.0
        allowed += 64 * EPSILON * typical * float(np.sum(np.abs(G), where=flat)) * float(np.abs(v).max())
    return allowed


def background(trial: Trial, k: int, G: Array, rng: np.random.Generator) -> Array:
    """Return how large the gradient is at inputs of the size of x, and of about 1, where nothing is saturated.

    ``softmax(X) - Y`` is rounded to the last digit of 1, however small it is.
    """
    x = trial.inputs[k]
    largest = np.zeros(x.shape)
    for end in (x, np.clip(x, -2, 2), np.copysign(2.0, x)):
        sizes = []
        for _ in range(3):
            try:
                g = trial.gradient(k, G, end * rng.uniform(0, 1, x.shape))
            except Exception:  # noqa: BLE001, S112 - it need not be defined there
                continue
            sizes.append(np.where(np.isfinite(g), np.abs(g), 0.0))
        largest = np.maximum(largest, np.median(sizes, axis=0)) if sizes else largest
    return largest


def gradient_with_error(trial: Trial, k: int, G: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return what backward gives, and by how much its own rounding makes it uncertain."""
    x = trial.inputs[k]
    g = trial.gradient(k, G)
    uncertain = EPSILON * np.abs(g)
    for _ in range(2):
        x_moved, G_moved = (a * (1 + EPSILON * rng.choice([-1.0, 1.0], a.shape)) for a in (x, G))
        try:
            moved = trial.gradient(k, G_moved, x_moved)
        except Exception:  # noqa: BLE001, S112 - beyond the edge of the domain
            continue
        uncertain = np.maximum(uncertain, np.abs(moved - g))
    return g, uncertain


def _product_error(g: Array, uncertain: Array, v: Array) -> float:
    return float(np.sum((4 * uncertain + 4 * EPSILON * np.abs(g)) * np.abs(v), where=v != 0)) + TINY


def find_element(trial: Trial, k: int, v: Array, rng: np.random.Generator) -> tuple[int, ...] | None:
    """Find one element whose gradient is wrong by halving the direction that failed; None where halving loses it."""
    x, function = trial.inputs[k], trial.function(k)
    Z = trial.forward(trial.inputs)
    noise = rounding_noise(function, x, Z, rng)
    candidates = np.flatnonzero(v)
    while len(candidates) > 1:
        for half in np.array_split(candidates, 2):
            part: Array = np.zeros(v.size)
            part[half] = v.ravel()[half]
            part = part.reshape(v.shape)
            slope = measure(function, x, part, Z, noise)
            found = Comparison(outputs=Z.size)
            for outputs in _magnitudes(slope.error, slope.measured):
                _compare(trial, k, part, outputs, slope, Z, found, rng)
            if found.failed:
                candidates = half
                break
        else:
            return None
    return tuple(int(i) for i in np.unravel_index(candidates[0], v.shape))
