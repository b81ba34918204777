"""The gates as data: each row has a gate, its inputs, an independent reference of its forward, and extreme inputs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import scipy
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import hinge_loss, mean_absolute_error, mean_poisson_deviance, mean_squared_error

from gates import (
    ELU,
    GELU,
    AbsoluteError,
    AddGate,
    ConcatenateGate,
    DivideGate,
    ElementwiseProductGate,
    ExpGate,
    Gate,
    GatherGate,
    HalfSquaredError,
    Hinge,
    Huber,
    LayerNormGate,
    LeakyReLU,
    LogGate,
    Logistic,
    MaximumGate,
    MeanGate,
    MinimumGate,
    MultiplyGate,
    NegateGate,
    Poisson,
    PowerGate,
    ReLU,
    ReshapeGate,
    Sigmoid,
    SiLU,
    SliceGate,
    Softmax,
    SoftmaxLayer,
    Softplus,
    SquaredError,
    StandardizeGate,
    SubtractGate,
    SumGate,
    Tanh,
    TransposeGate,
    VarianceGate,
)

Array = NDArray[Any]
Draw = Callable[[Generator], Array]
Reference = Callable[..., Any]

BIG = 1000.0


@dataclass(frozen=True, kw_only=True)
class Row:
    """One gate with its settings, and everything that the tests need to know of it."""

    id: str
    gate: Gate
    # One function rng -> array per input. Floating values are float64, and away from kinks.
    draws: Sequence[Draw]
    # The same forward by other means.
    reference: Reference
    # Inputs of +-1000, at which output and gradients must be finite and right.
    extreme: tuple[Array, ...]
    # The inputs whose first axis counts the rows of the data; none where the gate has no such notion.
    batch: tuple[int, ...] = ()

    def name(self) -> str:
        """Return what a test of this row is called: the class, so that ``-k Tanh`` finds it, and the id."""
        return f"{type(self.gate).__name__}-{self.id}"

    def inputs(self, rng: Generator) -> tuple[Array, ...]:
        """Draw inputs."""
        return tuple(np.asarray(draw(rng)) for draw in self.draws)


# --- Draws ------------------------------------------------------------------------------------------------------------


def anything(*shape: int) -> Draw:
    """Draw values of either sign, at least 0.2 away from zero, where the layers have their kinks."""
    return lambda rng: rng.choice([-1.0, 1.0], shape) * rng.uniform(0.2, 2.5, shape)


def positive(*shape: int) -> Draw:
    """Draw values in 0.3..2.5."""
    return lambda rng: rng.uniform(0.3, 2.5, shape)


def ladder(*shape: int, offset: float = 0.0) -> Draw:
    """Draw values within 0.1 above ``integer + offset``: ladders with different offsets never meet."""
    return lambda rng: rng.integers(-3, 4, shape) + offset + rng.uniform(0, 0.1, shape)


def rungs(n: int, k: int) -> Draw:
    """Draw rows of k scores that are 1.2 or more apart: the largest is clear, and no margin of 1 or 0.5 is just met."""

    def draw(rng: Generator) -> Array:
        order = np.array([rng.permutation(k) for _ in range(n)])
        return 1.3 * (order - k // 2) + rng.uniform(-0.05, 0.05, (n, k))

    return draw


def below(count: int, *shape: int) -> Draw:
    """Draw integers in 0..count-1: labels, row numbers."""
    return lambda rng: rng.integers(0, count, shape)


def probabilities(n: int, k: int) -> Draw:
    """Draw rows of k probabilities."""
    return lambda rng: rng.dirichlet(np.ones(k), n)


def unit(*shape: int) -> Draw:
    """Draw probabilities that do not have to sum to one, some of them exactly 0 or 1."""
    return lambda rng: np.clip(rng.uniform(-0.3, 1.3, shape), 0, 1)


def zero_or_one(*shape: int) -> Draw:
    """Draw floating targets 0.0 and 1.0."""
    return lambda rng: rng.integers(0, 2, shape).astype(float)


def as_arrays(*values: ArrayLike) -> tuple[Array, ...]:
    """Write a tuple of arrays."""
    return tuple(np.asarray(value) for value in values)


# --- References -------------------------------------------------------------------------------------------------------


def loop(function: Callable[..., float]) -> Reference:
    """Apply a function of Python floats element by element, broadcasting."""
    return np.vectorize(lambda *x: function(*map(float, x)), otypes=[float])


def exact(function: Callable[..., Fraction]) -> Reference:
    """Apply a function of exact fractions element by element, broadcasting."""
    return loop(lambda *x: float(function(*map(Fraction, x))))


def softplus(x: float) -> float:
    """Compute log(1 + exp(x)) without overflow, in Python floats."""
    return x + math.log1p(math.exp(-x)) if x > 0 else math.log1p(math.exp(x))


def over(
    axis: int | tuple[int, ...] | None, statistic: Callable[[list[float]], float], *, keepdims: bool = False
) -> Reference:
    """Apply a function of a list of Python floats along axes, one output element at a time."""

    def reference(X: Array) -> Array:
        axes = range(X.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
        gone = {a % X.ndim for a in axes}
        shape = [1 if a in gone else n for a, n in enumerate(X.shape)]
        Z = np.empty(shape)
        for at in np.ndindex(*shape):
            terms = X[tuple(slice(None) if a in gone else i for a, i in enumerate(at))].ravel().tolist()
            Z[at] = statistic(terms)
        return Z if keepdims else Z.reshape([n for a, n in enumerate(X.shape) if a not in gone])

    return reference


def layer_norm(epsilon: float) -> Reference:
    """Standardize one row after the other by its statistics, which the module `statistics` computes from fractions."""

    def reference(X: Array, gamma: Array, beta: Array) -> Array:
        Z = np.empty(X.shape)
        for at in np.ndindex(X.shape[:-1]):
            row = X[at].tolist()
            mean, deviation = statistics.mean(row), math.sqrt(statistics.pvariance(row) + epsilon)
            Z[at] = [b + g * (x - mean) / deviation for x, g, b in zip(row, gamma.tolist(), beta.tolist(), strict=True)]
        return Z

    return reference


Loss = Callable[[list[float], Any], float]


def loss_by_rows(row_loss: Loss, *, class_weight: dict[int, float] | None = None, reduction: str = "mean") -> Reference:
    """Sum or average the losses of the rows, one row at a time, each with its weight."""

    def reference(scores: Array, targets: Array, sample_weight: Array | None = None) -> float:
        losses, weights = [], []
        for i, (s, t) in enumerate(zip(scores.tolist(), targets.tolist(), strict=True)):
            weight = 1.0 if sample_weight is None else float(sample_weight[i])
            if class_weight and isinstance(t, list):
                weight *= math.fsum(p * class_weight.get(j, 1.0) for j, p in enumerate(t))
            elif class_weight:
                weight *= class_weight.get(t, 1.0)
            losses.append(weight * row_loss(s, t))
            weights.append(weight)
        return math.fsum(losses) / (math.fsum(weights) if reduction == "mean" else 1)

    return reference


def loss_by_elements(
    loss: Callable[[float, float], float],
    *,
    class_weight: Sequence[float] | None = None,
    reduction: str = "mean",
) -> Reference:
    """Sum or average the losses of single elements, each with the weight of its row and of its class."""

    def reference(scores: Array, targets: Array, sample_weight: Array | None = None) -> float:
        losses, weights = [], []
        targets = targets.reshape(scores.shape)
        for at in np.ndindex(scores.shape):
            s, t = float(scores[at]), float(targets[at])
            weight = 1.0 if sample_weight is None else float(sample_weight[at[0]])
            if class_weight:
                weight *= (1 - t) * class_weight[0] + t * class_weight[1]
            losses.append(weight * loss(s, t))
            weights.append(weight)
        return math.fsum(losses) / (math.fsum(weights) if reduction == "mean" else 1)

    return reference


def cross_entropy(s: list[float], t: Any) -> float:
    """Compute -sum(p log softmax(s)); t is a label or the list p."""
    total = float(scipy.special.logsumexp(s))
    return math.fsum(p * (total - x) for p, x in zip(t, s, strict=True)) if isinstance(t, list) else total - s[t]


def sequence_cross_entropy(scores: Array, targets: Array) -> float:
    """Average the cross-entropy over two leading axes."""
    return loss_by_rows(cross_entropy)(scores.reshape(-1, scores.shape[-1]), targets.reshape(-1))


def logistic(s: float, t: float) -> float:
    """Compute -t log(p) - (1 - t) log(1 - p), p = sigmoid(s)."""
    return t * softplus(-s) + (1 - t) * softplus(s)


def margin_loss(s: list[float], y: int, margin: float = 1.0) -> float:
    """Compute the Crammer-Singer hinge loss, or for one column the binary one."""
    if len(s) == 1:
        return max(0.0, margin - (s[0] if y == 1 else -s[0]))
    return max(0.0, *(margin + x - s[y] for j, x in enumerate(s) if j != y))


def huber(s: float, t: float, delta: float = 1.0) -> float:
    """Compute Huber's loss by SciPy."""
    return float(scipy.special.huber(delta, s - t))


def poisson(s: float, t: float) -> float:
    """Compute half the deviance of a count t from the mean exp(s): t log(t / mean) - (t - mean)."""
    return (t * (math.log(t) - s) if t else 0.0) - (t - math.exp(s))


# --- Rows -------------------------------------------------------------------------------------------------------------

_PAIR = as_arrays([[BIG, -BIG, 3.0], [-2.0, 1.0, -BIG]], [[-BIG, BIG, BIG], [BIG, -2.0, 0.5]])
_LINE = as_arrays([[-BIG, BIG], [-1.0, 40.0], [BIG, -40.0]])
_SCORES = np.array([[BIG, -BIG, 0.0], [-BIG, BIG, 3.0], [BIG, 0.0, -1.0], [1.0, -BIG, BIG]])
_LABELS = np.array([0, 2, 1, 2])
_ROWS_OF_P = np.array([[1.0, 0.0, 0.0], [0.25, 0.25, 0.5], [0.0, 1.0, 0.0], [0.5, 0.5, 0.0]])
_COLUMN = np.array([[BIG], [-BIG], [BIG], [-BIG], [0.5]])
_TWO = np.array([[BIG, -BIG], [-BIG, 0.5], [BIG, 2.0]])
_TWO_TARGETS = np.array([[1.0, 1.0], [0.0, 0.25], [0.0, 1.0]])
_WEIGHTS = np.array([2.0, 0.5, 0.0, 1.0])
_PAIR_OF_WEIGHTS = np.array([0.5, 2.0, 1.0])

# Two shapes that broadcast, and which of the two inputs carries the rows of the data.
_SHAPES: dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = {
    "same": ((4, 3), (4, 3), (0, 1)),
    "row": ((4, 3), (3,), (0,)),
    "column": ((4, 3), (4, 1), (0, 1)),
    "scalar": ((), (4, 3), (1,)),
    "outer": ((4, 1), (1, 3), (0,)),
    "stack": ((2, 1, 3), (4, 3), (0,)),
}


def _binary(
    name: str,
    gate: Gate,
    first: Callable[..., Draw],
    second: Callable[..., Draw],
    reference: Reference,
    extreme: tuple[Array, ...] = _PAIR,
) -> list[Row]:
    """Write the rows of an elementwise gate of two inputs, one for each way to broadcast."""
    return [
        Row(
            id=f"{name}-{how}",
            gate=gate,
            draws=[first(*left), second(*right)],
            reference=reference,
            extreme=extreme,
            batch=batch,
        )
        for how, (left, right, batch) in _SHAPES.items()
    ]


def _unary(
    name: str,
    gate: Gate,
    reference: Reference,
    extreme: tuple[Array, ...] = _LINE,
    draw: Callable[..., Draw] = anything,
) -> list[Row]:
    """Write the rows of an elementwise gate of one input: a matrix, and a scalar."""
    row = partial(Row, gate=gate, reference=reference, extreme=extreme)
    return [row(id=name, draws=[draw(4, 3)], batch=(0,)), row(id=f"{name}-scalar", draws=[draw()])]


def _product(name: str, subscripts: str, W: tuple[int, ...], X: tuple[int, ...], batch: tuple[int, ...] = ()) -> Row:
    """Write a row of the matrix product: subscripts are those of X, W -> Z for einsum."""
    signs = [np.resize([BIG, -BIG, 1.0], shape) for shape in (W, X)]
    return Row(
        id=f"multiply-{name}",
        gate=MultiplyGate(),
        draws=[anything(*W), anything(*X)],
        reference=lambda W, X: np.einsum(subscripts, X, W),
        extreme=as_arrays(*signs),
        batch=batch,
    )


def _reduction(
    name: str, axis: int | tuple[int, ...] | None, *, keepdims: bool = False, batch: bool = False
) -> list[Row]:
    """Write a row of SumGate, one of MeanGate, and one of VarianceGate."""
    return [
        Row(
            id=f"{kind}-{name}",
            gate=gate(axis, keepdims),
            draws=[anything(4, 3, 2)],
            reference=over(axis, statistic, keepdims=keepdims),
            extreme=as_arrays(np.resize([BIG, -BIG, 0.125, BIG, -3.0], (2, 3, 2))),
            batch=(0,) if batch else (),
        )
        for kind, gate, statistic in (
            ("sum", SumGate, math.fsum),
            ("mean", MeanGate, statistics.mean),
            ("variance", VarianceGate, statistics.pvariance),
        )
    ]


_ARITHMETIC = [
    _product("matrices", "nd,dk->nk", (3, 2), (4, 3), (1,)),
    _product("vector-X", "d,dk->k", (3, 2), (3,)),
    _product("vector-W", "nd,d->n", (3,), (4, 3), (1,)),
    _product("two-vectors", "d,d->", (3,), (3,)),
    _product("stack-X", "snd,dk->snk", (3, 2), (4, 5, 3), (1,)),
    _product("stack-W", "nd,sdk->snk", (4, 3, 2), (5, 3)),
    _product("two-stacks", "snd,sdk->snk", (4, 3, 2), (4, 5, 3), (0, 1)),
    _product("stack-of-one", "snd,tdk->snk", (1, 3, 2), (4, 5, 3), (1,)),
    _product("stacks-outer", "rsnd,rsdk->rsnk", (1, 2, 3, 2), (2, 1, 4, 3)),
    _product("stack-X-vector-W", "snd,d->sn", (3,), (2, 4, 3), (1,)),
    _product("vector-X-stack-W", "d,sdk->sk", (2, 3, 4), (3,), (0,)),
    _product("one-by-one", "nd,dk->nk", (1, 1), (4, 1), (1,)),
    *_binary("add", AddGate(), anything, anything, loop(lambda x, y: math.fsum([x, y]))),
    *_binary("subtract", SubtractGate(), anything, anything, exact(lambda x, y: x - y)),
    *_binary("product", ElementwiseProductGate(), anything, anything, exact(lambda x, y: x * y)),
    *_binary("divide", DivideGate(), anything, anything, exact(lambda x, y: x / y)),
    *_binary(
        "power",
        PowerGate(),
        positive,
        anything,
        lambda X, P: np.exp(scipy.special.xlogy(P, X)),
        as_arrays([[BIG, BIG, 0.001], [0.001, 1.0, 2.0]], [[2.0, -3.0, 3.0], [-2.0, BIG, -BIG]]),
    ),
    *_binary("maximum", MaximumGate(), ladder, partial(ladder, offset=0.5), loop(max)),
    *_binary("minimum", MinimumGate(), ladder, partial(ladder, offset=0.5), loop(min)),
    *_unary("exp", ExpGate(), loop(math.exp), as_arrays([[-BIG, 20.0, -BIG, 3.0]])),
    *_unary("log", LogGate(), loop(math.log), as_arrays([[BIG, 0.001, 1.0, 1e6]]), positive),
    *_unary("negate", NegateGate(), lambda X: 0.0 - X),
]

_LAYERS = [
    *_unary("sigmoid", Sigmoid(), loop(lambda x: 0.5 * (1 + math.tanh(x / 2)))),
    *_unary("tanh", Tanh(), loop(math.tanh)),
    *_unary("relu", ReLU(), loop(lambda x: max(x, 0.0))),
    *_unary("leaky-relu", LeakyReLU(), loop(lambda x: max(x, 0.01 * x))),
    *_unary("leaky-relu-steep", LeakyReLU(slope=0.3), loop(lambda x: max(x, 0.3 * x))),
    *_unary("elu", ELU(), loop(lambda x: x if x > 0 else math.expm1(x))),
    *_unary("elu-half", ELU(alpha=0.5), loop(lambda x: x if x > 0 else 0.5 * math.expm1(x))),
    *_unary("gelu", GELU(), loop(lambda x: x * math.erfc(-x / math.sqrt(2)) / 2)),
    *_unary("silu", SiLU(), loop(lambda x: x / (1 + math.exp(-x)) if x > 0 else x * math.exp(x) / (1 + math.exp(x)))),
    *_unary("softplus", Softplus(), loop(softplus)),
    Row(
        id="softmax-layer",
        gate=SoftmaxLayer(),
        draws=[anything(4, 3)],
        reference=partial(scipy.special.softmax, axis=-1),
        extreme=(_SCORES,),
        batch=(0,),
    ),
    Row(
        id="softmax-layer-axis-0",
        gate=SoftmaxLayer(axis=0),
        draws=[anything(4, 3)],
        reference=partial(scipy.special.softmax, axis=0),
        extreme=(_SCORES,),
    ),
    Row(
        id="softmax-layer-axis-1-of-3",
        gate=SoftmaxLayer(axis=1),
        draws=[anything(4, 3, 2)],
        reference=partial(scipy.special.softmax, axis=1),
        extreme=(_SCORES[:, :, None],),
        batch=(0,),
    ),
]

_STACK = np.resize([BIG, -BIG, 0.5], (2, 3, 4))

_SHAPING = [
    *_reduction("all", None),
    *_reduction("all-keepdims", None, keepdims=True),
    *_reduction("axis-0", 0),
    *_reduction("axis-last", -1, batch=True),
    *_reduction("axis-1-keepdims", 1, keepdims=True, batch=True),
    *_reduction("axes", (1, 2), batch=True),
    *_reduction("axes-from-the-end", (-1, 0)),
    *_reduction("axes-keepdims", (0, -1), keepdims=True),
    *_reduction("no-axes", (), batch=True),
    Row(
        id="reshape",
        gate=ReshapeGate((3, 8)),
        draws=[anything(2, 3, 4)],
        reference=lambda X: [X.ravel().tolist()[8 * i : 8 * i + 8] for i in range(3)],
        extreme=(_STACK,),
    ),
    Row(
        id="reshape-flat",
        gate=ReshapeGate(-1),
        draws=[anything(2, 3, 4)],
        reference=lambda X: list(X.flat),
        extreme=(_STACK,),
        batch=(0,),
    ),
    Row(
        id="reshape-inferred",
        gate=ReshapeGate((-1, 12)),
        draws=[anything(2, 3, 4)],
        reference=lambda X: np.stack([x.flatten() for x in X]),
        extreme=(_STACK,),
    ),
    Row(
        id="transpose",
        gate=TransposeGate(),
        draws=[anything(4, 3)],
        reference=lambda X: np.array(list(zip(*X.tolist(), strict=True))).reshape(X.shape[::-1]),
        extreme=_LINE,
        batch=(0,),
    ),
    Row(
        id="transpose-axes",
        gate=TransposeGate((2, 0, 1)),
        draws=[anything(2, 3, 4)],
        reference=lambda X: np.einsum("ijk->kij", X),
        extreme=(_STACK,),
        batch=(0,),
    ),
    Row(
        id="transpose-axes-from-the-end",
        gate=TransposeGate([-1, -3, -2]),
        draws=[anything(2, 3, 4)],
        reference=lambda X: np.einsum("ijk->kij", X),
        extreme=(_STACK,),
        batch=(0,),
    ),
    Row(
        id="concatenate-rows",
        gate=ConcatenateGate(),
        draws=[anything(2, 3), anything(1, 3), anything(4, 3)],
        reference=lambda *X: [row for x in X for row in x.tolist()],
        extreme=as_arrays(_SCORES, -_SCORES),
    ),
    Row(
        id="concatenate-columns",
        gate=ConcatenateGate(axis=-1),
        draws=[anything(4, 2), anything(4, 3)],
        reference=lambda X, Y: np.hstack([X, Y]),
        extreme=as_arrays(_SCORES, -_SCORES),
        batch=(0, 1),
    ),
    Row(
        id="concatenate-one",
        gate=ConcatenateGate(axis=1),
        draws=[anything(4, 2)],
        reference=lambda X: X.tolist() or np.empty((0, 2)),
        extreme=(_SCORES,),
        batch=(0,),
    ),
    Row(
        id="slice-columns",
        gate=SliceGate(np.s_[:, 1:3]),
        draws=[anything(4, 3)],
        reference=lambda X: np.take(X, [1, 2], axis=1),
        extreme=(_SCORES,),
        batch=(0,),
    ),
    Row(
        id="slice-one-row",
        gate=SliceGate(-1),
        draws=[anything(4, 3)],
        reference=lambda X: np.take(X, len(X) - 1, axis=0),
        extreme=(_SCORES,),
    ),
    Row(
        id="slice-backwards",
        gate=SliceGate(np.s_[..., ::-2]),
        draws=[anything(2, 3, 4)],
        reference=lambda X: np.take(X, [3, 1], axis=-1),
        extreme=(_STACK,),
        batch=(0,),
    ),
    Row(
        id="slice-new-axis",
        gate=SliceGate((slice(None), None, np.int64(0))),
        draws=[anything(4, 3)],
        reference=lambda X: np.take(X, [0], axis=1),
        extreme=(_SCORES,),
        batch=(0,),
    ),
    Row(
        id="slice-to-scalar",
        gate=SliceGate((1, 2)),
        draws=[anything(4, 3)],
        reference=lambda X: X.item(5),
        extreme=(_SCORES,),
    ),
    Row(
        id="gather",
        gate=GatherGate(),
        draws=[anything(3, 2), below(3, 5)],
        reference=lambda X, rows: np.take(X, rows, axis=0),
        extreme=(_SCORES, np.array([3, 0, 0])),
        batch=(1,),
    ),
    Row(
        id="gather-sequences",
        gate=GatherGate(),
        draws=[anything(3, 2), below(3, 4, 5)],
        reference=lambda X, rows: np.einsum("ijm,md->ijd", rows[:, :, None] == np.arange(len(X)), X),
        extreme=(_SCORES, np.array([[3, 0], [0, 0]], np.uint8)),
        batch=(1,),
    ),
    Row(
        id="gather-scalars",
        gate=GatherGate(),
        draws=[anything(3), below(3)],
        reference=lambda X, rows: X.tolist()[int(rows)],
        extreme=as_arrays([BIG, -BIG], 1),
    ),
]


def _standardize(
    name: str,
    X: tuple[int, ...],
    moments: tuple[int, ...],
    affine: tuple[int, ...],
    *,
    epsilon: float = 1e-5,
    batch: tuple[int, ...] = (),
) -> Row:
    """Write a row of StandardizeGate: mean and variance of one shape, gamma and beta of another."""
    return Row(
        id=f"standardize-{name}",
        gate=StandardizeGate(epsilon),
        draws=[anything(*X), anything(*moments), positive(*moments), anything(*affine), anything(*affine)],
        reference=loop(lambda x, mean, variance, gamma, beta: beta + gamma * (x - mean) / (variance + epsilon) ** 0.5),
        extreme=as_arrays(
            np.resize([BIG, -BIG, 0.5], X),
            np.resize([-BIG, BIG], moments),
            np.resize([BIG, 1e6, 0.25], moments),
            np.resize([BIG, -BIG], affine),
            np.resize([-BIG, 1.0], affine),
        ),
        batch=batch,
    )


def _layer_norm(name: str, X: tuple[int, ...], extreme: Array, *, epsilon: float = 1e-5) -> Row:
    """Write a row of LayerNormGate."""
    signs = [np.resize(values, X[-1:]) for values in ([BIG, -1.0, 0.5], [-BIG, 1.0])]
    return Row(
        id=f"layer-norm-{name}",
        gate=LayerNormGate(epsilon),
        draws=[anything(*X), anything(*X[-1:]), anything(*X[-1:])],
        reference=layer_norm(epsilon),
        extreme=(extreme, *signs),
        batch=(0,) if len(X) > 1 else (),
    )


_NORMALIZATION = [
    _standardize("columns", (4, 3), (3,), (3,), batch=(0,)),
    _standardize("columns-keepdims", (4, 3), (1, 3), (3,), batch=(0,)),
    _standardize("columns-epsilon", (4, 3), (3,), (1, 3), epsilon=0.5, batch=(0,)),
    _standardize("rows", (4, 3), (4, 1), (3,), batch=(0, 1, 2)),
    _standardize("numbers", (4, 3), (), (), batch=(0,)),
    _standardize("channels", (2, 3, 4), (1, 3, 1), (3, 1), batch=(0,)),
    _standardize("elements", (4, 3), (4, 3), (3,), batch=(0, 1, 2)),
    _standardize("a-row-repeated", (3,), (4, 1), (3,), batch=(1, 2)),
    _layer_norm("rows", (4, 3), _SCORES),
    _layer_norm("epsilon", (4, 3), _SCORES, epsilon=0.5),
    _layer_norm("stack", (2, 3, 4), _STACK),
    _layer_norm("one-row", (5,), _COLUMN.ravel()),
]

_BY_LABEL = {0: 2.0, 1: 0.5, 2: 1.5}

_OUTPUTS = [
    Row(
        id="softmax-labels",
        gate=Softmax(),
        draws=[anything(4, 3), below(3, 4)],
        reference=loss_by_rows(cross_entropy),
        extreme=(_SCORES, _LABELS),
        batch=(0, 1),
    ),
    Row(
        id="softmax-probabilities",
        gate=Softmax(),
        draws=[anything(4, 3), probabilities(4, 3)],
        reference=loss_by_rows(cross_entropy),
        extreme=(_SCORES, _ROWS_OF_P),
        batch=(0, 1),
    ),
    Row(
        id="softmax-sequences",
        gate=Softmax(),
        draws=[anything(2, 4, 3), below(3, 2, 4)],
        reference=sequence_cross_entropy,
        extreme=(_SCORES.reshape(2, 2, 3), _LABELS.reshape(2, 2)),
        batch=(0, 1),
    ),
    Row(
        id="softmax-sample-weights",
        gate=Softmax(),
        draws=[anything(4, 3), below(3, 4), positive(4)],
        reference=loss_by_rows(cross_entropy),
        extreme=(_SCORES, _LABELS, _WEIGHTS),
        batch=(0, 1, 2),
    ),
    Row(
        id="softmax-class-weight-sequence",
        gate=Softmax(class_weight=[2.0, 0.5, 1.5]),
        draws=[anything(4, 3), below(3, 4)],
        reference=loss_by_rows(cross_entropy, class_weight=_BY_LABEL),
        extreme=(_SCORES, _LABELS),
        batch=(0, 1),
    ),
    Row(
        id="softmax-class-weight-dict-and-sample-weights",
        gate=Softmax(class_weight={2: 3.0}),
        draws=[anything(4, 3), below(3, 4), positive(4)],
        reference=loss_by_rows(cross_entropy, class_weight={2: 3.0}),
        extreme=(_SCORES, _LABELS, _WEIGHTS),
        batch=(0, 1, 2),
    ),
    Row(
        id="softmax-class-weight-of-probabilities",
        gate=Softmax(class_weight=np.array([2.0, 0.5, 1.5])),
        draws=[anything(4, 3), probabilities(4, 3)],
        reference=loss_by_rows(cross_entropy, class_weight=_BY_LABEL),
        extreme=(_SCORES, _ROWS_OF_P),
        batch=(0, 1),
    ),
    Row(
        id="softmax-sum",
        gate=Softmax(reduction="sum", class_weight=[2.0, 0.5, 1.5]),
        draws=[anything(4, 3), below(3, 4), positive(4)],
        reference=loss_by_rows(cross_entropy, class_weight=_BY_LABEL, reduction="sum"),
        extreme=(_SCORES, _LABELS, _WEIGHTS),
        batch=(0, 1, 2),
    ),
    Row(
        id="logistic-column",
        gate=Logistic(),
        draws=[anything(5, 1), zero_or_one(5, 1)],
        reference=loss_by_elements(logistic),
        extreme=(_COLUMN, np.array([[1.0], [1.0], [0.0], [0.25], [1.0]])),
        batch=(0, 1),
    ),
    Row(
        id="logistic-column-flat-labels",
        gate=Logistic(),
        draws=[anything(5, 1), below(2, 5)],
        reference=loss_by_elements(logistic),
        extreme=(_COLUMN, np.array([1, 1, 0, 0, 1])),
        batch=(0, 1),
    ),
    Row(
        id="logistic-flat-scores",
        gate=Logistic(),
        draws=[anything(5), below(2, 5)],
        reference=loss_by_elements(logistic),
        extreme=(_COLUMN.ravel(), np.array([1, 1, 0, 0, 1])),
        batch=(0, 1),
    ),
    Row(
        id="logistic-multi-label",
        gate=Logistic(),
        draws=[anything(3, 2), unit(3, 2)],
        reference=loss_by_elements(logistic),
        extreme=(_TWO, _TWO_TARGETS),
        batch=(0, 1),
    ),
    Row(
        id="logistic-batchmean",
        gate=Logistic(reduction="batchmean"),
        draws=[anything(3, 2), unit(3, 2), positive(3)],
        reference=lambda s, t, w: 2 * loss_by_elements(logistic)(s, t, w),
        extreme=(_TWO, _TWO_TARGETS, _PAIR_OF_WEIGHTS),
        batch=(0, 1, 2),
    ),
    Row(
        id="logistic-weights",
        gate=Logistic(class_weight=[0.5, 2.0]),
        draws=[anything(3, 2), unit(3, 2), positive(3)],
        reference=loss_by_elements(logistic, class_weight=[0.5, 2.0]),
        extreme=(_TWO, _TWO_TARGETS, _PAIR_OF_WEIGHTS),
        batch=(0, 1, 2),
    ),
    Row(
        id="logistic-sum",
        gate=Logistic(class_weight={1: 3.0}, reduction="sum"),
        draws=[anything(5, 1), below(2, 5)],
        reference=loss_by_elements(logistic, class_weight=[1.0, 3.0], reduction="sum"),
        extreme=(_COLUMN, np.array([1, 1, 0, 0, 1])),
        batch=(0, 1),
    ),
    Row(
        id="squared-error",
        gate=SquaredError(),
        draws=[anything(3, 2), anything(3, 2)],
        reference=lambda scores, targets: mean_squared_error(targets, scores),
        extreme=(_TWO, _TWO_TARGETS),
        batch=(0, 1),
    ),
    Row(
        id="squared-error-column-weights",
        gate=SquaredError(),
        draws=[anything(4, 1), anything(4), positive(4)],
        reference=lambda scores, targets, w: mean_squared_error(targets, scores.ravel(), sample_weight=w),
        extreme=(_COLUMN[:4], np.array([1.0, BIG, -BIG, 3.0]), _WEIGHTS),
        batch=(0, 1, 2),
    ),
    Row(
        id="squared-error-sum",
        gate=SquaredError(reduction="sum"),
        draws=[anything(4), anything(4)],
        reference=lambda scores, targets: np.linalg.norm(scores - targets) ** 2,
        extreme=as_arrays([BIG, -BIG], [-BIG, -1.0]),
        batch=(0, 1),
    ),
    Row(
        id="squared-error-batchmean",
        gate=SquaredError(reduction="batchmean"),
        draws=[anything(4, 3), anything(4, 3), positive(4)],
        reference=lambda s, t, w: 3 * mean_squared_error(t, s, sample_weight=w),
        extreme=(_SCORES, _SCORES[::-1].copy(), _WEIGHTS),
        batch=(0, 1, 2),
    ),
    Row(
        id="half-squared-error",
        gate=HalfSquaredError(),
        draws=[anything(3, 2), anything(3, 2)],
        reference=lambda scores, targets: mean_squared_error(targets, scores) / 2,
        extreme=(_TWO, _TWO_TARGETS),
        batch=(0, 1),
    ),
    Row(
        id="half-squared-error-column-weights",
        gate=HalfSquaredError(),
        draws=[anything(4, 1), anything(4), positive(4)],
        reference=lambda scores, targets, w: mean_squared_error(targets, scores.ravel(), sample_weight=w) / 2,
        extreme=(_COLUMN[:4], np.array([1.0, BIG, -BIG, 3.0]), _WEIGHTS),
        batch=(0, 1, 2),
    ),
    Row(
        id="half-squared-error-sum",
        gate=HalfSquaredError(reduction="sum"),
        draws=[anything(4), anything(4)],
        reference=lambda scores, targets: np.linalg.norm(scores - targets) ** 2 / 2,
        extreme=as_arrays([BIG, -BIG], [-BIG, -1.0]),
        batch=(0, 1),
    ),
    Row(
        id="poisson",
        gate=Poisson(),
        draws=[anything(3, 2), positive(3, 2)],
        reference=lambda scores, targets: mean_poisson_deviance(targets.ravel(), np.exp(scores).ravel()) / 2,
        extreme=(np.array([[80.0, -80.0], [-80.0, 0.5], [3.0, 2.0]]), _TWO_TARGETS),
        batch=(0, 1),
    ),
    Row(
        id="poisson-column-weights",
        gate=Poisson(),
        draws=[anything(4, 1), below(3, 4), positive(4)],
        reference=loss_by_elements(poisson),
        extreme=(np.array([[80.0], [-BIG], [0.0], [1.0]]), np.array([1.0, BIG, 0.0, 3.0]), _WEIGHTS),
        batch=(0, 1, 2),
    ),
    Row(
        id="poisson-sum",
        gate=Poisson(reduction="sum"),
        draws=[anything(4), positive(4)],
        reference=loss_by_elements(poisson, reduction="sum"),
        extreme=as_arrays([80.0, -BIG], [BIG, 1.0]),
        batch=(0, 1),
    ),
    Row(
        id="absolute-error",
        gate=AbsoluteError(),
        draws=[ladder(3, 2), ladder(3, 2, offset=0.5)],
        reference=lambda scores, targets: mean_absolute_error(targets, scores),
        extreme=(_TWO, _TWO_TARGETS),
        batch=(0, 1),
    ),
    Row(
        id="absolute-error-weights",
        gate=AbsoluteError(),
        draws=[ladder(4, 1), ladder(4, offset=0.5), positive(4)],
        reference=lambda scores, targets, w: mean_absolute_error(targets, scores.ravel(), sample_weight=w),
        extreme=(_COLUMN[:4], np.array([1.0, BIG, -BIG, 3.0]), _WEIGHTS),
        batch=(0, 1, 2),
    ),
    Row(
        id="absolute-error-sum",
        gate=AbsoluteError(reduction="sum"),
        draws=[ladder(4), ladder(4, offset=0.5)],
        reference=lambda scores, targets: np.linalg.norm(scores - targets, 1),
        extreme=as_arrays([BIG, -BIG], [-BIG, -1.0]),
        batch=(0, 1),
    ),
    Row(
        id="huber",
        gate=Huber(),
        draws=[ladder(4, 2), ladder(4, 2, offset=0.4)],
        reference=loss_by_elements(huber),
        extreme=(_TWO, _TWO_TARGETS),
        batch=(0, 1),
    ),
    Row(
        id="huber-delta-weights",
        gate=Huber(2.0),
        draws=[ladder(4, 1), ladder(4, offset=0.4), positive(4)],
        reference=loss_by_elements(partial(huber, delta=2.0)),
        extreme=(_COLUMN[:4], np.array([1.0, BIG, -BIG, 3.0]), _WEIGHTS),
        batch=(0, 1, 2),
    ),
    Row(
        id="huber-sum",
        gate=Huber(0.5, reduction="sum"),
        draws=[ladder(4), ladder(4, offset=0.3)],
        reference=loss_by_elements(partial(huber, delta=0.5), reduction="sum"),
        extreme=as_arrays([BIG, -BIG], [-BIG, -1.0]),
        batch=(0, 1),
    ),
    Row(
        id="hinge-many",
        gate=Hinge(),
        draws=[rungs(5, 3), below(3, 5)],
        reference=lambda scores, y: hinge_loss(y, scores, labels=[0, 1, 2]),
        extreme=(_SCORES, _LABELS),
        batch=(0, 1),
    ),
    Row(
        id="hinge-two-columns",
        gate=Hinge(),
        draws=[rungs(5, 2), below(2, 5)],
        reference=loss_by_rows(margin_loss),
        extreme=(_TWO, np.array([1, 0, 0])),
        batch=(0, 1),
    ),
    Row(
        id="hinge-one-column",
        gate=Hinge(),
        draws=[lambda rng: 1.2 * rng.integers(-2, 3, (5, 1)) + rng.uniform(0.1, 0.2, (5, 1)), below(2, 5)],
        reference=lambda scores, y: hinge_loss(y, scores.ravel(), labels=[0, 1]),
        extreme=(_COLUMN, np.array([1, 1, 0, 0, 1])),
        batch=(0, 1),
    ),
    Row(
        id="hinge-margin-weights",
        gate=Hinge(0.5, class_weight=[2.0, 0.5, 1.5]),
        draws=[rungs(4, 3), below(3, 4), positive(4)],
        reference=loss_by_rows(partial(margin_loss, margin=0.5), class_weight=_BY_LABEL),
        extreme=(_SCORES, _LABELS, _WEIGHTS),
        batch=(0, 1, 2),
    ),
    Row(
        id="hinge-sum",
        gate=Hinge(class_weight={1: 3.0}, reduction="sum"),
        draws=[rungs(5, 3), below(3, 5)],
        reference=loss_by_rows(margin_loss, class_weight={1: 3.0}, reduction="sum"),
        extreme=(_SCORES, _LABELS),
        batch=(0, 1),
    ),
]

ROWS: list[Row] = [*_ARITHMETIC, *_LAYERS, *_SHAPING, *_NORMALIZATION, *_OUTPUTS]
