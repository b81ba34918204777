"""What may be wrong with a net."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gates.contract import Gate
from gates.layers import ReLU, Sigmoid, SoftmaxLayer, Softplus, Tanh
from gates.outputs import AbsoluteError, HalfSquaredError, Huber, Logistic, Softmax, SquaredError
from nngraph.diagnosis.evidence import Evidence
from nngraph.diagnosis.finding import Finding, of_layers
from nngraph.diagnosis.motion import rms
from nngraph.diagnosis.of_data import unscaled_features, unscaled_targets

# Below so many examples a unit that none of them switches on is no surprise, by chance each does in half of all cases;
# nor is it known whether the net has learned.
FEW = 16
# Half of the units that never answer is half of the layer; a third is common in nets that do well, and so are a few.
DEAD, DEAD_UNITS = 0.5, 4
# With weights as Glorot and Bengio (2010) draw them about 3 % of all tanh values are as flat as that.
SATURATED = 0.5
# Over all layers. With weights that fit the spread of the gradients stays within a factor of ten (Glorot and Bengio
# 2010, He et al. 2015); a factor of 0.5 per layer, over ten layers, is this one.
SPREAD = 1e3
# Digits after which columns count as equal: a product rounds each of its columns in its own way.
ALIKE = 1e-5
# A step is usually about a thousandth of the weights; this is a hundred times that,
LARGE_STEP = 0.1
# and this a hundredth: it takes 100,000 steps of it to change the weights by their own size.
SMALL_STEP = 1e-5
# By so much of itself the loss must be able to fall before small steps are a fault: at a minimum they are as it should.
SLOPE = 0.1
# By how much so many steps may make the loss worse.
WORSE, STEPS = 1.1, 10
# By what part of itself a slope may differ from the one that is measured; that is certain to a hundredth.
WRONG = 0.1
# Between what a layer's values lie,
REACH: dict[type[Gate], tuple[float, float]] = {
    ReLU: (0, np.inf), Softplus: (0, np.inf), Sigmoid: (0, 1), SoftmaxLayer: (0, 1), Tanh: (-1, 1)
}  # fmt: skip
# by what part of their size targets may be outside all the same, and how many may be further out.
NEAR, OUTSIDE = 0.01, 0.1
# The loss of a net that is as sure as it is wrong, by that of guessing; of squares, it is so many times as far off.
SURE = 10.0


def not_finite(e: Evidence) -> Iterator[Finding]:
    """Find nan or an infinity on the way to the loss."""
    if e.trace is not None:
        advice = "Begin anew with a smaller rate and scaled data, or mend the gate that is named"
        yield Finding("values not finite", e.trace.node, str(e.trace), advice)


def probabilities(e: Evidence) -> Iterator[Finding]:
    """Find scores that are probabilities already, before an output that makes them of scores."""
    node, scores = e.scorer.outputs[0], e.scores
    sigmoids = isinstance(node.gate, Sigmoid)
    if isinstance(e.output, Softmax):
        found = sigmoids or bool((scores >= 0).all() and np.allclose(scores.sum(axis=-1), 1, rtol=0, atol=1e-5))
        what = "are sigmoids" if sigmoids else "are positive and sum to 1 in every row"
        least = np.log(1 + (scores.shape[-1] - 1) / np.e)
        numbers = f"the scores {what}: the loss cannot fall below {least:.2g}"
    else:
        found = sigmoids and isinstance(e.output, Logistic)
        numbers = (
            f"the scores are sigmoids: the loss cannot fall below {np.log1p(np.exp(-1)):.2g} where the target is 1"
        )
    if found:
        name = type(e.output).__name__
        advice = f"Leave out the last layer ({type(node.gate).__name__}): {name} makes the probabilities itself"
        yield Finding(f"probabilities given to {name}", e.name(node), numbers, advice)


def targets_out_of_reach(e: Evidence) -> Iterator[Finding]:
    """Find a last layer that cannot give what is to be predicted."""
    node = e.scorer.outputs[0]
    low, high = next((reach for kind, reach in REACH.items() if isinstance(node.gate, kind)), (-np.inf, np.inf))
    if isinstance(e.output, SquaredError | HalfSquaredError | AbsoluteError | Huber):
        slack = NEAR * rms(e.y)
        share = float(((e.y < low - slack) | (e.y > high + slack)).mean())
        ends = [f"below {low:g}"] + ([f"above {high:g}"] if high < np.inf else [])
        found = share > OUTSIDE
        numbers = f"{share:.0%} of the targets are {' or '.join(ends)}, which the layer cannot give"
    else:
        # A sigmoid is said as such.
        found = isinstance(e.output, Logistic) and low >= 0 and not isinstance(node.gate, Sigmoid)
        numbers = "the scores are never below 0: class 0 is never predicted"
    if found:
        advice = f"Leave out the last layer ({type(node.gate).__name__}): {type(e.output).__name__} takes any numbers"
        yield Finding("targets out of reach", e.name(node), numbers, advice)


def symmetric_weights(e: Evidence) -> Iterator[Finding]:
    """Find units of a hidden layer with the same values and the same gradients: they stay the same for ever."""
    found = {}
    for node, weights in e.weighted:
        gradient = e.gradients[node]
        if node is e.scorer.outputs[0] or gradient is None or e.rows < 2:
            continue
        Z, dZ = e.columns(node), gradient.reshape(-1, gradient.shape[-1])
        # A layer that is dead has no gradient, whatever its units are.
        if Z.any() and not dZ.any():
            continue
        units = Z.shape[1]
        different = np.unique(np.concatenate([_steps(Z), _steps(dZ)]), axis=1).shape[1]
        if units > 1 and different <= units / 2:
            found[e.name(weights[0])] = (
                f"all {units} units have the same values and the same gradients"
                if different == 1
                else f"only {different} of {units} units are different, the others have the same values and gradients"
            )
    if found:
        advice = "Draw these weights at random, as nngraph.initializers do, instead of making them all equal"
        yield of_layers("symmetric weights", found, advice)


def _steps(array: np.ndarray) -> np.ndarray:
    """Return numbers rounded to a part of the largest."""
    largest = float(np.abs(array).max())
    return np.round(array / (ALIKE * largest)) if largest else np.zeros_like(array)


def dead_relus(e: Evidence) -> Iterator[Finding]:
    """Find ReLU units that are zero for all examples: they get no gradient, so they stay so."""
    found = {}
    for node, dead in e.dead.items():
        units = e.columns(node).shape[1]
        if dead >= DEAD * units and (
            (dead >= DEAD_UNITS and e.rows >= FEW and not e.fitted) or (dead == units and e.rows >= 4)
        ):
            found[e.name(node)] = f"{dead} of {units} units are 0 for all {e.rows} examples"
    if found:
        advice = (
            "Begin anew with he_normal and a smaller rate, with biases that are not far below 0, "
            "or take LeakyReLU, which never dies"
        )
        yield of_layers("dead ReLUs", found, advice)


def saturated_units(e: Evidence) -> Iterator[Finding]:
    """Find tanh or sigmoid values at the flat ends, in a net that has learned nothing yet."""
    found = {}
    for node in e.scorer.nodes:
        share = e.saturated(node)
        if share is not None and share > SATURATED and e.rows >= FEW and not e.fitted:
            size = rms(e.values[node.inputs[0]])
            found[e.name(node)] = (
                f"{share:.0%} of the values are where the slope is nearly 0, of inputs of size {size:.2g}"
            )
    if found:
        advice = "Begin anew with weights of glorot_uniform, biases of 0 and scaled features: then inputs have size 1"
        yield of_layers("saturated units", found, advice)


def _depth(e: Evidence) -> tuple[float, str] | None:
    """Return by what the gradient in the first layer is larger than in the last, and how to say so."""
    nodes = [(node, size) for node, _ in e.weighted if (size := e.rms(node)) is not None]
    # Two layers have no depth.
    if e.fitted or len(nodes) < 3 or not nodes[-1][1]:
        return None
    (first, at_first), *_, (last, at_last) = nodes
    per_layer = (at_first / at_last) ** (1 / (len(nodes) - 1))
    numbers = (
        f"the gradient has size {at_last:.2g} in {e.name(last)} and {at_first:.2g} in {e.name(first)}, "
        f"a factor of {per_layer:.2g} per layer"
    )
    return at_first / at_last, numbers


def vanishing_gradients(e: Evidence) -> Iterator[Finding]:
    """Find that the first layers get hardly any gradient; where a layer is dead or symmetric, that is said instead."""
    found = _depth(e)
    dead = any(count == e.columns(node).shape[1] for node, count in e.dead.items())
    if found is None or found[0] > 1 / SPREAD or dead or any(symmetric_weights(e)):
        return
    advice = "Begin anew with ReLU layers and he_normal, which keep the spread, or put BatchNorm() between the layers"
    yield Finding("vanishing gradients", e.name(e.weighted[0][0]), found[1], advice)


def exploding_gradients(e: Evidence) -> Iterator[Finding]:
    """Find that the first layers get far more gradient than the last."""
    found = _depth(e)
    if found is None or found[0] < SPREAD:
        return
    advice = "Begin anew with smaller weights: he_normal for ReLU, glorot_uniform for tanh"
    yield Finding("exploding gradients", e.name(e.weighted[0][0]), found[1], advice)


def worse_than_guessing(e: Evidence) -> Iterator[Finding]:
    """Find a loss far above that of the same answer for everyone; data that are unscaled are said instead."""
    if e.rows < FEW or any(unscaled_features(e)) or any(unscaled_targets(e)):
        return
    squares = isinstance(e.output, SquaredError | HalfSquaredError)
    if e.baseline and e.loss > e.baseline * (SURE**2 if squares else SURE):
        numbers = f"the loss is {e.loss:.2g}, and {e.baseline:.2g} for the best answer that is the same for all"
        advice = "Begin anew with smaller weights, such as he_normal or glorot_uniform draw, or a smaller rate"
        yield Finding("worse than guessing", "loss", numbers, advice)


def steps_too_large(e: Evidence) -> Iterator[Finding]:
    """Find a step as long as the weights, or nearly, that makes the loss worse."""
    if not e.ratios or e.fitted:
        return
    worst = max(e.ratios, key=lambda p: e.ratios[p])
    # A first step may overshoot: not before the tenth is it said.
    if e.ratios[worst] > LARGE_STEP and not (losses := e.descend(STEPS))[-1] <= WORSE * e.loss:
        numbers = f"a step is {e.ratios[worst]:.2g} times as long as the weights; {len(losses)} of them take the loss"
        advice = f"Take a smaller rate than {e.optimizer.rate:g}: about a thousandth of the weights is a usual step"
        yield Finding("steps too large", e.name(worst), f"{numbers} from {e.loss:.2g} to {losses[-1]:.2g}", advice)


def steps_too_small(e: Evidence) -> Iterator[Finding]:
    """Find steps that hardly move the weights, while there is a slope to go down."""
    if not e.ratios or not e.optimizer.rate:
        return
    largest = max(e.ratios, key=lambda p: e.ratios[p])
    if e.ratios[largest] < SMALL_STEP and e.elasticity > SLOPE and not e.fitted:
        numbers = f"a step is {e.ratios[largest]:.1g} times as long as the weights, and no other is larger"
        advice = f"Take a larger rate than {e.optimizer.rate:g}: about a thousandth of the weights is a usual step"
        yield Finding("steps too small", e.name(largest), numbers, advice)


def wrong_gradient(e: Evidence) -> Iterator[Finding]:
    """Find that backpropagation gives another slope than the loss itself, whichever way one looks."""
    wrong = {
        parameter: pairs[0]
        for parameter, pairs in e.slopes.items()
        if len(pairs) > 1 and all(abs(m - f) > WRONG * max(abs(m), abs(f)) for m, f in pairs)
    }
    if wrong:
        # The last is nearest to the gate that is wrong: what comes after it is right.
        parameter, (measured, foretold) = list(wrong.items())[-1]
        numbers = f"along a random direction the loss has slope {measured:.3g}, by backpropagation {foretold:.3g}"
        advice = "Prove the gates: nngraph.check_model(model, X, y) says which backward is wrong, and how"
        yield Finding("wrong gradient", e.name(parameter), numbers, advice)
