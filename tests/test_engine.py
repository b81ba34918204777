"""The passes over programs, liveness, the pool, lowering, and the functions that the engine writes."""

# ruff: noqa: ARG005 -- functions of one table take the same arguments

from __future__ import annotations

import copy
import gc
import itertools
import operator
import re
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from gates import ReLU, Softmax, Tanh
from nngraph import Graph, Input, Model, Parameter
from nngraph.capture.graphs import record_gradient
from nngraph.engines.compiled import Compiled
from nngraph.engines.layout import MOST_COLUMNS, empty, fits, order
from nngraph.engines.lowering import RULES, lower
from nngraph.engines.pool import Pool
from nngraph.initializers import published
from nngraph.program.functions import astype, masked
from nngraph.program.passes import drop, fold, optimize, share, simplify, split
from nngraph.program.program import GuardError, Kind, Operation, Program, Variable, last_reads, leaves, mapped

Array = NDArray[Any]

# --- Programs written by hand -----------------------------------------------------------------------------------------


class Draft:
    """Writes a program operation by operation, with shapes and dtypes from what NumPy gives for ones."""

    def __init__(self, **inputs: Array) -> None:
        self.values: dict[Variable, Any] = {}
        self.inputs = {name: Variable(value.shape, value.dtype, name) for name, value in inputs.items()}
        self.values.update({v: inputs[name] for name, v in self.inputs.items()})
        self.constants: dict[Variable, Array] = {}
        self.operations: list[Operation] = []

    def __getitem__(self, name: str) -> Variable:
        return self.inputs[name]

    def constant(self, value: Array) -> Variable:
        """Add a constant."""
        variable = Variable(value.shape, value.dtype)
        self.constants[variable] = self.values[variable] = value
        return variable

    def do(self, function: Any, *arguments: Any, kind: Kind = "compute", **keywords: Any) -> Variable:
        """Add an operation."""
        output = Variable(None, None)
        operation = Operation(function, arguments, output, keywords, kind)
        value = self.values[output] = operation.run(self.values)
        if isinstance(value, np.ndarray | np.generic):
            output.shape, output.dtype = value.shape, value.dtype
        self.operations.append(operation)
        return output

    def program(self, *outputs: Variable, guards: Sequence[tuple[Variable, Any]] = ()) -> Program:
        """Return what was written."""
        inputs = tuple(self.inputs.values())
        return Program(inputs, tuple(self.operations), outputs, self.constants, tuple(guards))


def functions(program: Program) -> list[Any]:
    """Return the functions of a program's operations."""
    return [operation.function for operation in program.operations]


A, B = np.arange(6.0).reshape(2, 3) - 2.5, np.arange(6.0).reshape(2, 3) ** 2 - 3


def run(program: Program, values: Sequence[Array], varying: bool = True, **options: Any) -> list[Array]:
    """Compile, load, step twice, and return copies of the outputs."""
    engine = Compiled(program, program.inputs if varying else (), **options)
    for v, value in zip(program.inputs, values, strict=True):
        engine.inputs[str(v.name)][...] = value
    engine.load()
    engine.step()
    engine.step()
    return [np.array(x) for x in engine.outputs]


# --- Programs ---------------------------------------------------------------------------------------------------------


def test_trees_of_variables() -> None:
    """Variables are found, and replaced, in tuples, lists, dicts and slices."""
    x, y, z = (Variable((), np.dtype(float), name) for name in "xyz")
    tree = (x, [1, {"a": y}], slice(None, z, 2), "x", None)
    assert list(leaves(tree)) == [x, y, z]
    assert mapped(tree, lambda v: v.name) == ("x", [1, {"a": "y"}], slice(None, "z", 2), "x", None)
    assert repr(x) == "<x () float64>"


def test_an_update_leaves_its_argument() -> None:
    """An operation that writes into its first argument writes into a copy."""
    draft = Draft(x=A)
    y = draft.do(operator.setitem, draft["x"], (0, 0), 9.0, kind="update")
    before = A.copy()
    (found,) = draft.program(y).evaluate(A)
    assert found[0, 0] == 9
    np.testing.assert_array_equal(A, before)


@pytest.mark.parametrize(("x", "holds"), [(1.0, True), (2.0, False)])
def test_guards(x: float, holds: bool) -> None:
    """A guard holds for the answer that it was recorded with, whatever passes were done."""
    draft = Draft(x=np.array(1.0))
    question = draft.do(np.less, draft["x"], 1.5)
    program = draft.program(draft.do(np.exp, draft["x"]), guards=[(question, True)])
    for changed in (program, optimize(program), share(program), drop(program)):
        if holds:
            assert changed.evaluate(np.array(x)) == [np.exp(x)]
        else:
            with pytest.raises(GuardError, match="a value that was True and is False now"):
                changed.evaluate(np.array(x))


# --- Passes -----------------------------------------------------------------------------------------------------------


def test_drop() -> None:
    """What no output and no guard needs goes, and constants with it."""
    draft = Draft(x=A)
    c = draft.constant(B)
    draft.do(np.add, draft["x"], c)
    kept = draft.do(np.exp, draft["x"])
    question = draft.do(np.any, draft["x"])
    program = drop(draft.program(kept, guards=[(question, True)]))
    assert functions(program) == [np.exp, np.any]
    assert program.constants == {}
    assert program.passes == (("drop what is not needed", 2),)


def test_share() -> None:
    """The same function of the same things is computed once, through several steps."""
    draft = Draft(x=A)
    x = draft["x"]
    one, two = (draft.do(np.exp, draft.do(np.add, x, 1)) for _ in range(2))
    program = share(draft.program(one, two, draft.do(np.multiply, one, two)))
    assert functions(program) == [np.add, np.exp, np.multiply]
    assert program.outputs[0] is program.outputs[1]
    np.testing.assert_array_equal(program.evaluate(A)[2], np.exp(A + 1) ** 2)


# Operations that look alike and are not.
DIFFERENT: list[tuple[Any, tuple[Any, ...], tuple[Any, ...]]] = [
    (np.multiply, (1,), (1.0,)),
    (np.multiply, (True,), (1,)),
    (np.copysign, (0.0,), (-0.0,)),
    (operator.getitem, ((0,),), ([0],)),
    (operator.getitem, (slice(0, 1),), (slice(0, 2),)),
    (operator.getitem, (None,), (Ellipsis,)),
    (astype, (np.dtype(np.float32),), (np.dtype(np.float64),)),
    (np.reshape, ((3, 2), "C"), ((3, 2), "F")),
    (np.sum, (0,), (1,)),
]


@pytest.mark.parametrize(("function", "one", "two"), DIFFERENT)
def test_share_tells_apart(function: Any, one: tuple[Any, ...], two: tuple[Any, ...]) -> None:
    """1 is not 1.0, a tuple no list, 0.0 not -0.0: operations with them stay apart; the same are shared."""
    draft = Draft(x=A)
    outputs = [draft.do(function, draft["x"], *arguments) for arguments in (one, two, one)]
    program = share(draft.program(*outputs))
    assert len(program.operations) == 2
    for found, expected in zip(program.evaluate(A), draft.program(*outputs).evaluate(A), strict=True):
        assert found.tobytes() == expected.tobytes()


def test_calls_are_never_shared() -> None:
    """A function that nothing is known of is called as often as it stands there."""
    draft = Draft(x=A)
    outputs = [draft.do(np.copy, draft["x"], kind="call") for _ in range(2)]
    assert len(share(draft.program(*outputs)).operations) == 2
    assert len(fold(draft.program(*outputs)).operations) == 2


def test_fold() -> None:
    """What depends on no input is computed once; what depends on one is not."""
    draft = Draft(x=A)
    c = draft.do(np.add, draft.constant(B), draft.do(np.full, (2, 3), 2.0))
    program = fold(draft.program(c, draft.do(np.add, draft["x"], c)))
    assert functions(program) == [np.add]
    np.testing.assert_array_equal(program.constants[program.outputs[0]], B + 2)
    np.testing.assert_array_equal(program.evaluate(A)[1], A + (B + 2))


# What changes nothing, and what looks so and changes something.
NOTHING: list[tuple[Any, tuple[Any, ...]]] = [
    (np.copy, ()), (np.positive, ()), (astype, (np.dtype(float),)), (np.reshape, ((2, 3),)), (np.multiply, (1,)),
    (np.multiply, (1.0,)), (np.true_divide, (1,)), (np.broadcast_to, ((2, 3),)), (np.squeeze, ()),
]  # fmt: skip
SOMETHING: list[tuple[Any, tuple[Any, ...]]] = [
    (astype, (np.dtype(np.float32),)), (np.reshape, ((3, 2),)), (np.multiply, (1.5,)), (np.ravel, ()),
    (np.floor_divide, (1,)), (np.power, (1,)), (np.add, (0,)), (np.transpose, ()), (np.multiply, (1j,)),
]  # fmt: skip


@pytest.mark.parametrize(("function", "arguments"), NOTHING)
def test_simplify(function: Any, arguments: tuple[Any, ...]) -> None:
    """Copies, conversions to the same, reshaping to the same, and times one go."""
    draft = Draft(x=A)
    program = simplify(draft.program(draft.do(np.exp, draft.do(function, draft["x"], *arguments))))
    assert functions(program) == [np.exp]
    np.testing.assert_array_equal(program.evaluate(A)[0], np.exp(A))


@pytest.mark.parametrize(("function", "arguments"), SOMETHING)
def test_simplify_leaves_what_changes_something(function: Any, arguments: tuple[Any, ...]) -> None:
    """What has another shape, dtype or value stays."""
    draft = Draft(x=A)
    assert functions(simplify(draft.program(draft.do(function, draft["x"], *arguments)))) == [function]


def test_simplify_times_ones_of_other_shapes() -> None:
    """An array of ones goes only where it does not broadcast or widen; an integer divided by one is a real number."""
    draft = Draft(x=A, k=np.arange(3), r=np.arange(3.0))
    ones, wide = draft.constant(np.ones((2, 3))), draft.constant(np.ones((4, 1, 1)))
    gone = draft.do(np.multiply, ones, draft["x"])
    stays = [draft.do(np.multiply, draft["r"], ones), draft.do(np.multiply, draft["x"], wide)]
    stays.append(draft.do(np.true_divide, draft["k"], 1))
    program = simplify(draft.program(gone, *stays))
    assert len(program.operations) == 3
    assert program.outputs[0] is draft["x"]


def test_split() -> None:
    """What depends on the data alone comes first; what the rest reads of it is passed on; calls come late."""
    draft = Draft(x=A, w=B)
    early = draft.do(np.exp, draft["x"])
    call = draft.do(np.copy, draft["x"], kind="call")
    late = draft.do(np.multiply, early, draft["w"])
    alone = draft.do(np.tanh, draft["x"])
    program = draft.program(late, alone, call)
    first, second = split(program, [draft["w"]])
    assert functions(first) == [np.exp, np.tanh]
    assert functions(second) == [np.copy, np.multiply]
    assert first.outputs == (early, alone)
    assert second.inputs == (draft["x"], draft["w"], early, alone)
    passed = first.evaluate(A, B)
    for found, expected in zip(second.evaluate(A, B, *passed), program.evaluate(A, B), strict=True):
        np.testing.assert_array_equal(found, expected)


def unknown(x: Array) -> Array:
    """Return a view of the argument, as a call may."""
    return x[::-1]


# Each adds an operation that reads the i-th variable, and the last one.
FUNCTIONS: list[Callable[[Draft, list[Variable], int], Variable]] = [
    lambda d, v, i: d.do(np.add, v[i % len(v)], v[-1]),
    lambda d, v, i: d.do(np.multiply, v[i % len(v)], 1 if i % 2 else 0.5),
    lambda d, v, i: d.do(np.tanh, v[i % len(v)]),
    lambda d, v, i: d.do(np.copy, v[i % len(v)]),
    lambda d, v, i: d.do(operator.getitem, v[i % len(v)], slice(None, None, -1), kind="view"),
    lambda d, v, i: d.do(operator.setitem, v[i % len(v)], i % 5, 7.5, kind="update"),
    lambda d, v, i: d.do(operator.setitem, v[i % len(v)], slice(None), v[-1], kind="update"),
    lambda d, v, i: d.do(masked, v[i % len(v)], d.do(np.greater, v[-1], 0.1), np.negative, v[-1], kind="update"),
    lambda d, v, i: d.do(np.full, (5,), 1.0 + i),
    lambda d, v, i: d.do(unknown, v[i % len(v)], kind="call"),
]


@given(
    steps=st.lists(st.tuples(st.integers(0, len(FUNCTIONS) - 1), st.integers(0, 9)), max_size=20),
    outputs=st.lists(st.integers(0, 30), min_size=1, max_size=3),
    varying=st.sampled_from([(), ("x",), ("x", "y")]),
    placed=st.booleans(),
)
@settings(deadline=None, max_examples=150)
def test_any_program(steps: list[tuple[int, int]], outputs: list[int], varying: tuple[str, ...], placed: bool) -> None:
    """Any line of operations, views, updates and calls: each pass keeps it to the bit, and so does the engine."""
    rng = np.random.default_rng(len(steps))
    draft = Draft(x=rng.standard_normal(5), y=rng.standard_normal(5))
    variables = [draft["x"], draft["y"]]
    for which, i in steps:
        variables.append(FUNCTIONS[which](draft, variables, i))
    program = draft.program(*(variables[i % len(variables)] for i in outputs))
    values = [rng.standard_normal(5), rng.standard_normal(5)]
    kept = [x.copy() for x in values]
    expected = [np.array(x) for x in program.evaluate(*values)]
    for step in (drop, share, fold, simplify, optimize, lambda p: lower(p, set())):
        for found, right in zip(step(program).evaluate(*values), expected, strict=True):
            np.testing.assert_array_equal(found, right)
    places = [np.full(5, np.nan) if placed else None for _ in program.outputs]
    engine = Compiled(program, [draft[name] for name in varying], into=places)
    for _ in range(2):
        for name, value in zip("xy", values, strict=True):
            engine.inputs[name][...] = value
        engine.load()
        for _ in range(2):
            engine.step()
            for found, place, right in zip(engine.outputs, places, expected, strict=True):
                np.testing.assert_array_equal(found, right)
                if place is not None:
                    np.testing.assert_array_equal(place, right)
        for name, value in zip("xy", values, strict=True):
            np.testing.assert_array_equal(engine.inputs[name], value)
    np.testing.assert_array_equal(values, kept)


# --- Memory -----------------------------------------------------------------------------------------------------------


def test_last_reads() -> None:
    """Memory lasts until its last reader, or that of a view of it; results last to the end."""
    draft = Draft(x=A)
    x = draft["x"]
    a = draft.do(np.exp, x)  # 0: read by 1, and through its view by 3
    view = draft.do(np.transpose, a, kind="view")  # 1
    b = draft.do(np.tanh, x)  # 2: read by 4
    c = draft.do(np.sum, view)  # 3: an output
    d = draft.do(np.add, b, 1)  # 4: read by nobody
    last = last_reads(draft.operations, [c])
    assert {v: last[v] for v in (x, a, view, b, c, d)} == {x: 2, a: 3, view: 3, b: 4, c: 5, d: 4}


def test_last_reads_of_results_that_are_views() -> None:
    """What a result is a view of lasts as long, through views of views and calls."""
    draft = Draft(x=A)
    a = draft.do(np.exp, draft["x"])
    b = draft.do(np.transpose, a, kind="view")
    c = draft.do(np.transpose, b, kind="call")
    last = last_reads(draft.operations, [c])
    assert {v: last[v] for v in (draft["x"], a, b, c)} == {draft["x"]: 0, a: 3, b: 3, c: 3}


def test_pool() -> None:
    """A block that was given back is given out again: the smallest that fits; memory grows only where none does."""
    pool = Pool()
    small, a = pool.acquire((2, 3), np.dtype(np.float64))
    large, b = pool.acquire((10, 3), np.dtype(np.float64))
    assert pool.bytes == 48 + 240
    assert not np.shares_memory(small, large)
    pool.release(b)
    pool.release(a)
    again, c = pool.acquire((12,), np.dtype(np.float32))
    assert c == a
    assert np.shares_memory(again, small)
    other, d = pool.acquire((7,), np.dtype(np.float64))
    assert d == b
    assert not np.shares_memory(other, again)
    assert pool.bytes == 48 + 240
    pool.acquire((1,), np.dtype(bool))
    assert pool.bytes == 48 + 240 + 1
    empty_array, _ = pool.acquire((0, 3), np.dtype(np.float64))
    assert empty_array.shape == (0, 3)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((200, 3), "F"), ((12, 3), "F"), ((11, 3), "C"), ((200, 1), "C"), ((3, 200), "C"), ((200,), "C"), ((), "C"),
        ((1000, MOST_COLUMNS), "F"), ((1000, MOST_COLUMNS + 1), "C"), ((200, 3, 2), "C"), ((0, 3), "C"),
        ((200, 0), "C"),
    ],
)  # fmt: skip
def test_layout(shape: tuple[int, ...], expected: str) -> None:
    """Tall thin matrices lie in columns, all else in rows."""
    assert order(shape) == expected
    assert empty(shape, np.dtype(np.float32)).flags[f"{expected}_CONTIGUOUS"]
    assert fits(empty(shape, np.dtype(np.float32)))
    assert fits(np.empty((200, 3))) is False


# --- Lowering ---------------------------------------------------------------------------------------------------------

MATRICES = {
    "short": (4, 3),
    "tall": (40, 3),
    "two columns": (40, 2),
    "one column": (40, 1),
    "wide": (3, 40),
    "one row": (1, 4),
}
REDUCTIONS = [np.sum, np.prod, np.max, np.min, np.mean, np.all, np.any]
AXES: list[Any] = [None, 0, 1, -1, (0, 1), (1,), ()]


def close(found: Array, expected: Array) -> None:
    """Compare up to some units in the last place of the largest element; of other kinds exactly."""
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    if expected.dtype.kind == "f":
        largest = float(np.abs(expected[np.isfinite(expected)]).max(initial=1))
        atol = 16 * float(np.finfo(expected.dtype).eps) * largest
        np.testing.assert_allclose(found, expected, rtol=0, atol=atol)
    else:
        np.testing.assert_array_equal(found, expected)


def check(function: Any, x: Array, *arguments: Any, rule: bool = True, **keywords: Any) -> None:
    """Compile a function of one array, behind something that varies and alone, and compare with NumPy."""
    draft = Draft(x=x)
    programs = [draft.program(draft.do(function, draft["x"], *arguments, **keywords))]
    if x.dtype.kind == "f":
        draft = Draft(x=x)
        programs.append(draft.program(draft.do(function, draft.do(np.negative, draft["x"]), *arguments, **keywords)))
    for program, value in zip(programs, (x, -x if x.dtype.kind == "f" else x), strict=False):
        lowered = lower(program, set(program.inputs))
        assert (function not in functions(lowered)) == rule
        expected = np.asarray(function(value, *arguments, **keywords))
        close(np.asarray(lowered.evaluate(x)[0]), expected)
        for varying in (True, False):
            (found,) = run(program, [x], varying)
            close(found, expected)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", MATRICES)
@pytest.mark.parametrize("function", REDUCTIONS, ids=operator.attrgetter("__name__"))
def test_reductions(function: Any, shape: str, dtype: Any) -> None:
    """Each reduction over each axis, with and without keepdims, is NumPy's, for matrices of every layout."""
    x = np.random.default_rng(0).uniform(0.5, 1.5, MATRICES[shape]).astype(dtype)
    for axis, keepdims in itertools.product(AXES, (False, True)):
        check(function, x, axis=axis, keepdims=keepdims)


@pytest.mark.parametrize("function", REDUCTIONS, ids=operator.attrgetter("__name__"))
@pytest.mark.parametrize("dtype", [bool, np.int8, np.int64])
def test_reductions_of_other_kinds(function: Any, dtype: Any) -> None:
    """Truths and whole numbers reduce to what NumPy makes of them."""
    x = (np.arange(12).reshape(4, 3) % 5).astype(dtype)
    for axis in (None, 0, 1):
        check(function, x, axis=axis, rule=function is not np.mean)


@pytest.mark.parametrize("function", [np.sum, np.max, np.mean], ids=operator.attrgetter("__name__"))
def test_reductions_of_other_shapes(function: Any) -> None:
    """Rows, stacks, and axes of any number."""
    rng = np.random.default_rng(0)
    check(function, rng.standard_normal(7))
    for axis in (0, 1, -1, (0, 2), (1, 2), None):
        check(function, rng.standard_normal((4, 3, 2)), axis=axis)
        check(function, rng.standard_normal((40, 3, 2)), axis=axis, keepdims=True)


def test_long_sums() -> None:
    """Long sums are added up in pairs, as NumPy's are: the error does not grow with the length."""
    x = np.full((100_000, 2), 0.1, np.float32)
    for axis in (0, None):
        draft = Draft(x=x)
        (found,) = run(draft.program(draft.do(np.sum, draft["x"], axis=axis)), [x])
        np.testing.assert_allclose(found, np.sum(x.astype(float), axis=axis), rtol=1e-5)


def test_empty_reductions() -> None:
    """The sum of nothing is zero."""
    for shape, axis in (((0, 3), 0), ((3, 0), 1), ((0,), None)):
        check(np.sum, np.empty(shape), axis=axis)
        check(np.prod, np.empty(shape), axis=axis)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -0.0])
def test_reductions_of_what_is_not_finite(value: float) -> None:
    """What is not a finite number comes through as in NumPy."""
    for shape in ((5, 3), (40, 3)):
        x = np.ones(shape)
        x[1, 1] = value
        for function in (np.sum, np.max, np.min, np.mean):
            check(function, x, axis=0)
            check(function, x, axis=1)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", MATRICES)
def test_accumulations(shape: str, dtype: Any) -> None:
    """cumsum and cumprod along each axis; over all elements they are left as they are."""
    x = np.random.default_rng(0).uniform(0.5, 1.5, MATRICES[shape]).astype(dtype)
    for function, axis in itertools.product((np.cumsum, np.cumprod), (0, 1, -1)):
        check(function, x, axis=axis)
        check(function, x, rule=False)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_clip(dtype: Any) -> None:
    """Clipped between numbers and arrays; with one bound it is left as it is."""
    x = (np.arange(12).reshape(4, 3) - 5).astype(dtype)
    check(np.clip, x, -2, 3)
    check(np.clip, x, a_min=-2, a_max=3)
    check(np.clip, x, None, 3, rule=False)
    draft = Draft(x=x, low=x - 1, high=np.abs(x))
    program = draft.program(draft.do(np.clip, draft["x"], draft["low"], draft["high"]))
    close(run(program, [x, x - 1, np.abs(x)])[0], np.clip(x, x - 1, np.abs(x)))


@pytest.mark.parametrize("n", [4, 40])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_dot(n: int, dtype: Any) -> None:
    """Products of matrices in all layouts and orders of the factors."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((n, 3)).astype(dtype), rng.standard_normal((3, 2)).astype(dtype)
    draft = Draft(x=x, y=y)
    xt, yt = (draft.do(np.transpose, draft[name], kind="view") for name in "xy")
    z = draft.do(np.dot, draft["x"], draft["y"])
    outputs = [
        z,
        draft.do(np.matmul, yt, xt),
        draft.do(np.dot, xt, z),
        draft.do(np.matmul, z, yt),
        draft.do(np.matmul, xt, draft["x"]),
    ]
    program = draft.program(*outputs)
    assert np.dot not in functions(lower(program, set()))
    for found, expected in zip(run(program, [x, y]), program.evaluate(x, y), strict=True):
        atol = 16 * float(np.finfo(dtype).eps) * float(np.abs(expected).max())
        np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("shape", [(5, 3), (40, 3), (4, 3, 2), (7,)])
def test_take_along_axis(shape: tuple[int, ...]) -> None:
    """Picked along every axis, from the start and from the end; what is out of range is told when it is loaded."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape)
    for axis in range(-len(shape), len(shape)):
        length = shape[axis]
        picked = list(shape)
        picked[axis] = 2
        indices = rng.integers(-length, length, picked)
        draft = Draft(x=x, i=indices)
        output = draft.do(np.take_along_axis, draft.do(np.negative, draft["x"]), draft["i"], axis=axis)
        program = draft.program(output)
        assert np.take_along_axis not in functions(lower(program, {draft["x"]}))
        engine = Compiled(program, [draft["x"]])
        engine.inputs["x"][...], engine.inputs["i"][...] = x, indices
        engine.load()
        engine.step()
        np.testing.assert_array_equal(engine.outputs[0], np.take_along_axis(-x, indices, axis=axis))
        for bad in (length, -length - 1):
            engine.inputs["i"][...] = bad
            with pytest.raises(GuardError):
                engine.load()


def test_masks_times_numbers() -> None:
    """Masks that meet numbers are converted, those of the data once: NumPy needs no buffers for it in a step."""
    draft = Draft(x=A, w=B)
    mask, data = draft.do(np.greater, draft["w"], 0), draft.do(np.less, draft["x"], 0)
    program = draft.program(draft.do(np.multiply, mask, draft["w"]), draft.do(np.multiply, data, draft["w"]))
    first, second = split(lower(program, {draft["w"]}), {draft["w"]})
    for part, converted in ((first, data), (second, mask)):
        assert [o.variables for o in part.operations if o.function is astype] == [(converted,)]
    for found, expected in zip(run(program, [A, B]), program.evaluate(A, B), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_every_rule_is_tried() -> None:
    """A rule without a test fails here."""
    tried = {*REDUCTIONS, np.amax, np.amin, np.cumsum, np.cumprod, np.clip, np.dot, np.take_along_axis}
    assert RULES.keys() == tried


# --- The engine -------------------------------------------------------------------------------------------------------


def net(widths: Sequence[int], n: int, layer: Any, dtype: Any = np.float64) -> tuple[Graph, dict[str, Array]]:
    """Return a net of some widths with a softmax, and data for it."""
    rng = np.random.default_rng(0)
    H: Any = Input("X")
    for i, (a, b) in enumerate(itertools.pairwise(widths), start=1):
        W = Parameter(rng.standard_normal((a, b)).astype(dtype) / a**0.5, f"W{i}")
        H = H @ W + Parameter(np.zeros(b, dtype), f"b{i}")
        H = layer(H) if i < len(widths) - 1 else H
    feeds = {"X": rng.standard_normal((n, widths[0])).astype(dtype), "y": rng.integers(0, widths[-1], n)}
    return Graph(Softmax(reduction="sum")(H, Input("y"))), feeds


def engine_of(graph: Graph, feeds: dict[str, Array]) -> Compiled:
    """Record, compile into one flat vector of gradients, and load."""
    program = record_gradient(graph, feeds).program
    sizes = [p.value.size for p in graph.parameters]
    flat = np.zeros(sum(sizes), graph.parameters[0].value.dtype)
    parts = np.split(flat, np.cumsum(sizes)[:-1])
    places = [part.reshape(p.value.shape) for part, p in zip(parts, graph.parameters, strict=True)]
    varying = [v for v in program.inputs if v.name not in feeds]
    engine = Compiled(program, varying, into=[None, *places])
    named = dict(zip(graph.names, graph.sources(feeds, {}), strict=True))
    for v in program.inputs:
        engine.inputs[str(v.name)][...] = named[str(v.name)]
    engine.load()
    return engine


# The published net on moons, and a deeper one with ReLU; how many arrays of the widest layer they may take.
NETS: dict[str, tuple[Sequence[int], int, Any, Any]] = {
    "moons": ((2, 3, 2), 200, Tanh(), np.float64),
    "ReLU": ((20, 64, 32, 10), 256, ReLU(), np.float32),
}


@pytest.mark.parametrize("name", NETS)
def test_no_allocation_in_a_step(name: str) -> None:
    """A step leaves no memory behind, and has none of its own but what NumPy takes to broadcast a bias."""
    widths, n, _, dtype = NETS[name]
    engine = engine_of(*net(*NETS[name]))
    wide = empty((n, max(widths[1:])), np.dtype(dtype))
    wide[...] = 0
    bias = np.ones(wide.shape[1], dtype)
    taken = most_memory(lambda: np.add(wide, bias, wide))[1]
    left, most = most_memory(engine.step)
    assert left < 200
    # The smallest array of a layer is larger than this.
    assert most < taken + 1000


def most_memory(function: Callable[[], Any]) -> tuple[int, int]:
    """Return how many bytes 20 calls leave behind, and how many they take at most at a time."""
    for _ in range(3):
        function()
    gc.collect()
    tracemalloc.start()
    try:
        function()
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for _ in range(20):
            function()
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return after - before, peak - before


@pytest.mark.parametrize("name", NETS)
def test_buffers_are_used_again(name: str) -> None:
    """All buffers together take less than the values of the nodes and their gradients would."""
    graph, feeds = net(*NETS[name])
    engine = engine_of(graph, feeds)
    values = graph.forward(feeds)
    gradients = graph.backward(values=values)
    everything = sum(x.nbytes for x in (*values.values(), *gradients.values()) if x is not None)
    inputs = sum(x.nbytes for x in engine.inputs.values())
    assert engine.buffer_bytes - inputs < everything - inputs


def test_a_long_chain_takes_two_buffers() -> None:
    """Elementwise operations write over what is not needed any more."""
    draft = Draft(x=np.ones((50, 40)))
    v = draft["x"]
    for _ in range(30):
        v = draft.do(np.tanh, draft.do(np.add, v, 1.0))
    engine = Compiled(draft.program(v), [draft["x"]])
    assert engine.buffer_bytes == 2 * 50 * 40 * 8
    assert engine.source.count("tanh(") == 30
    (found,) = run(draft.program(v), [A := np.random.default_rng(0).standard_normal((50, 40))])
    for _ in range(30):
        A = np.tanh(A + 1.0)
    np.testing.assert_array_equal(found, A)


def test_what_is_needed_later_is_not_written_over() -> None:
    """An operand that is read again, or is an output, or has a view that is read, keeps its place."""
    x = np.random.default_rng(0).standard_normal((4, 3))
    draft = Draft(x=x)
    a = draft.do(np.exp, draft["x"])
    b = draft.do(np.negative, a)
    flipped = draft.do(operator.getitem, a, (slice(None), slice(None, None, -1)), kind="view")
    c = draft.do(np.add, a, flipped)
    d = draft.do(np.multiply, c, c)
    e = draft.do(np.add, d, b)
    for outputs in itertools.permutations([a, b, c, d, e, flipped], 2):
        program = draft.program(*outputs)
        for found, expected in zip(run(program, [x]), program.evaluate(x), strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("shape", [(4, 3), (40, 3), (7,), ()])
def test_places(shape: tuple[int, ...]) -> None:
    """Outputs go to their places: one result to two, an input, a constant, a view, and what data alone decide."""
    rng = np.random.default_rng(0)
    x, w = np.asarray(rng.standard_normal(shape)), np.asarray(rng.standard_normal(shape))
    draft = Draft(x=x, w=w)
    a = draft.do(np.multiply, draft["x"], draft["w"])
    early = draft.do(np.exp, draft["x"])
    flat = draft.do(np.reshape, a, (-1,), kind="view")
    outputs = [a, a, draft["w"], draft.constant(np.asarray(x + 1)), flat, early, draft.do(np.exp, a), draft["x"]]
    program = draft.program(*outputs)
    expected = program.evaluate(x, w)
    memory = np.full(sum(np.size(e) for e in expected), np.nan)
    ends = np.cumsum([np.size(e) for e in expected]).tolist()
    places = [memory[end - np.size(e) : end].reshape(np.shape(e)) for e, end in zip(expected, ends, strict=True)]
    engine = Compiled(program, [draft["w"]], into=places)
    engine.inputs["x"][...], engine.inputs["w"][...] = x, w
    engine.load()
    for _ in range(3):
        engine.step()
        for found, place, right in zip(engine.outputs, places, expected, strict=True):
            np.testing.assert_array_equal(found, right)
            np.testing.assert_array_equal(place, right)
        memory *= 2  # whoever owns the places may use them; results must not depend on it


@pytest.mark.parametrize("cut", [np.s_[::2, ::2], np.s_[:, :3], np.s_[::-1, :3]], ids=str)
def test_places_that_are_not_contiguous(cut: Any) -> None:
    """A place may be a part of a larger array; the rest of it stays."""
    x = np.random.default_rng(0).standard_normal((40, 3))
    draft = Draft(x=x)
    a = draft.do(np.exp, draft["x"])
    outputs = [
        a,
        draft.do(np.sum, a, axis=1),
        draft.do(np.sum, a, axis=0),
        draft.do(np.matmul, a, draft.constant(np.eye(3))),
    ]
    larger = [np.full((80, 6), 7.0), np.full((80, 1), 7.0), np.full((6, 1), 7.0), np.full((80, 6), 7.0)]
    shapes = [(40, 3), (40,), (3,), (40, 3)]
    places = [
        (big[cut][:40, :3] if len(s) == 2 else big[::2, 0][: s[0]]) for big, s in zip(larger, shapes, strict=True)
    ]
    program = draft.program(*outputs)
    run(program, [x], into=places)
    for place, right, big in zip(places, program.evaluate(x), larger, strict=True):
        close(np.array(place), right)
        assert (big == 7).sum() == big.size - place.size


def test_given_arrays_are_not_written_into() -> None:
    """What is bound is read where it lies, in whatever order, read-only too."""
    x = np.random.default_rng(0).standard_normal((40, 3))
    x.flags.writeable = False
    draft = Draft(x=x, w=x)
    a = draft.do(np.add, draft["x"], draft["w"])
    b = draft.do(operator.setitem, draft["x"], 0, 5.0, kind="update")
    c = draft.do(np.add, draft.do(np.exp, a), b)
    program = draft.program(a, b, c, draft["x"])
    engine = Compiled(program, [draft["w"]], given={draft["x"]: x})
    assert engine.inputs["x"] is x
    engine.inputs["w"][...] = x
    kept = x.tobytes()
    engine.load()
    engine.step()
    for found, expected in zip(engine.outputs, program.evaluate(x, x), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert x.tobytes() == kept


@pytest.mark.parametrize("function", [np.reshape, np.ravel])
@pytest.mark.parametrize("by", ["C", "F"])
def test_reshaping_of_columns(function: Any, by: str) -> None:
    """A matrix that lies in columns is reshaped by rows, unless it is asked by columns."""
    for shape in ((40, 3), (4, 3)):
        x = np.random.default_rng(0).standard_normal(shape)
        draft = Draft(x=x)
        a = draft.do(np.negative, draft["x"])
        arguments = () if function is np.ravel else ((3, -1),)
        outputs = [
            draft.do(function, a, *arguments, by, kind="view"),
            draft.do(function, a, *arguments, order=by, kind="view"),
        ]
        outputs.append(draft.do(np.exp, outputs[1]))
        program = draft.program(*outputs)
        for found, expected in zip(run(program, [x]), program.evaluate(x), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_the_source_is_python_with_names() -> None:
    """The source is two functions in the graph's names."""
    engine = engine_of(*net(*NETS["moons"]))
    compile(engine.source, "test", "exec")
    assert engine.source.startswith("def load():\n")
    assert "\ndef step():\n" in engine.source
    for name in ("Tanh", "dTanh", "dAdd"):
        assert re.search(rf"\b{name}\b", engine.source)


def test_loading_again_after_steps() -> None:
    """New data may be loaded at any time; memory that steps use is not that of what was loaded."""
    graph, feeds = net((2, 3, 2), 40, Tanh())
    engine = engine_of(graph, feeds)
    rng = np.random.default_rng(1)
    for _ in range(3):
        feeds = {"X": rng.standard_normal((40, 2)), "y": rng.integers(0, 2, 40)}
        engine.inputs["X"][...], engine.inputs["y"][...] = feeds["X"], feeds["y"]
        engine.load()
        values = graph.forward(feeds)
        gradients = graph.backward(values=values)
        for _ in range(2):
            engine.step()
            np.testing.assert_allclose(engine.outputs[0], values[graph.outputs[0]], rtol=1e-13)
            for found, parameter in zip(engine.outputs[1:], graph.parameters, strict=True):
                np.testing.assert_allclose(found, gradients[parameter], rtol=1e-11, atol=1e-12)


# --- A column of ones -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    ("widths", "products"),
    [([2, 3, 2], 5), ([2, 8, 8, 2], 8), ([3, 40, 2], 5), ([40, 3, 2], 5)],
    ids=str,
)
def test_biases_are_joined_to_the_products(widths: list[int], products: int, dtype: Any) -> None:
    """Tall thin layers have one product for ``X W + b`` and one for both gradients; others stay; values as before."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((200, widths[0])).astype(dtype), rng.integers(0, widths[-1], 200)
    model = Model(widths, dtype=dtype, random_state=0, initializer=published)
    by_node = copy.deepcopy(model)
    by_node.engine = "graph"
    for each in (model, by_node):
        each.train(X, y, num_passes=3, epsilon=0.001)
    for name, value in model.parameters.items():
        assert_allclose(value, by_node.parameters[name], rtol=1e-4 if dtype == np.float32 else 1e-11)
    assert_allclose(model.loss_history, by_node.loss_history, rtol=1e-5 if dtype == np.float32 else 1e-13)
    (compiled,) = model._learner(summed=True)._programs.values()
    step = compiled.source.split("def step")[1]
    tall = sum(width <= MOST_COLUMNS for width in widths[:-1])
    # A sum for a bias that is not joined, besides that of the losses.
    assert step.count("add(") <= len(widths) - 1 - tall + 1
    assert step.count("dot") == products + (len(widths) - 1 - tall) + 1
