"""What may be wrong with the features and the targets."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gates.losses import ClassOutput
from gates.normalization import LayerNormGate, StandardizeGate
from gates.outputs import AbsoluteError, HalfSquaredError, Huber, Softmax, SquaredError
from gates.shaping import MeanGate, VarianceGate
from nngraph.diagnosis.evidence import Evidence
from nngraph.diagnosis.finding import Finding
from nngraph.diagnosis.motion import rms, sizes

# Nine of ten: who always answers this class is right so often.
DOMINANT = 0.9
# Standardised columns have size 1, pixels from 0 to 1 about a half; a gradient is as uneven as the sizes squared.
LARGE_COLUMN = 10.0
# Where all columns are as small as that, so are all gradients of the first weights.
SMALL_COLUMN = 0.01
# Below so many examples nothing is said of what they have in common.
FEW = 16


def unscaled_features(e: Evidence) -> Iterator[Finding]:
    """Find columns of X that are far larger than standardised ones; unless they are normalised by what reads them."""
    readers = [node.gate for node in e.graph.nodes if e.input in node.inputs]
    if e.X.dtype.kind != "f" or all(
        isinstance(gate, StandardizeGate | LayerNormGate | MeanGate | VarianceGate) for gate in readers
    ):
        return
    size = sizes(e.X)
    advice = "Scale every column to mean 0 and variance 1, as scikit-learn's StandardScaler does"
    j = int(size.argmax())
    if size[j] > LARGE_COLUMN:
        others = f", the median column {np.median(size):.2g}" if len(size) > 2 else ""
        many = int((size > LARGE_COLUMN).sum())
        numbers = f"{many} of {len(size)} columns are larger than {LARGE_COLUMN:g}; column {j} has size {size[j]:.2g}"
        yield Finding("unscaled features", "X", numbers + others, advice)
    elif 0 < size[j] < SMALL_COLUMN:
        yield Finding("unscaled features", "X", f"the largest column, {j}, has size {size[j]:.2g}", advice)


def constant_features(e: Evidence) -> Iterator[Finding]:
    """Find that most columns of X are the same for all examples."""
    if len(e.X) < FEW:
        return
    columns = e.X.reshape(len(e.X), -1)
    same = int((columns.max(axis=0) == columns.min(axis=0)).sum())
    if same > columns.shape[1] / 2:
        numbers = f"{same} of {columns.shape[1]} columns are the same for all {len(e.X)} examples"
        yield Finding("constant features", "X", numbers, "Drop them, or look for what went wrong when X was made")


def unscaled_targets(e: Evidence) -> Iterator[Finding]:
    """Find numbers to be predicted that are far larger than what a net gives at first."""
    if (
        isinstance(e.output, SquaredError | HalfSquaredError | AbsoluteError | Huber)
        and (size := rms(e.y)) > LARGE_COLUMN
    ):
        numbers = f"the targets have size {size:.2g}, with mean {e.y.mean():.2g} and spread {e.y.std():.2g}"
        advice = "Scale the targets to mean 0 and variance 1, and the predictions back"
        yield Finding("unscaled targets", "y", numbers, advice)


def dominant_class(e: Evidence) -> Iterator[Finding]:
    """Find that one label is so frequent that to answer it always is nearly right; unless the classes have weights."""
    labels = e.labels
    if labels is None or len(labels) < FEW or (isinstance(e.output, ClassOutput) and e.output.class_weight is not None):
        return
    found, counts = np.unique(labels, return_counts=True)
    share = counts.max() / len(labels)
    if share >= DOMINANT:
        numbers = f"{share:.1%} of the {len(labels)} labels are {found[counts.argmax()]}"
        advice = (
            "Give the output class weights, or train with class_weight='balanced', and look at each class's accuracy"
        )
        if len(found) == 1:
            advice = "Give examples of the other classes, too"
        yield Finding("dominant class", "y", numbers, advice)


def missing_classes(e: Evidence) -> Iterator[Finding]:
    """Find scores for classes of which there is no example."""
    labels = e.labels
    if labels is None or not isinstance(e.output, Softmax):
        return
    classes = e.scores.shape[-1]
    missing = sorted(set(range(classes)) - set(np.unique(labels).tolist()))
    # With fewer than ten to a class, one may be missing by chance.
    if missing and len(labels) >= 10 * classes:
        numbers = f"of {classes} classes {len(missing)} have no example, the first is {missing[0]}"
        advice = (
            "Number the labels from 0 without gaps, y = np.unique(y, return_inverse=True)[1], with a score for each"
        )
        yield Finding("classes without examples", "y", numbers, advice)
