"""The summary of a model: counted by hand, read at 80 columns, in a terminal and in a notebook."""

from __future__ import annotations

import io
import pickle
import time
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console

from gates import (
    AbsoluteError,
    Gate,
    GateError,
    GatherGate,
    Hinge,
    Huber,
    Logistic,
    MeanGate,
    MultiplyGate,
    ReLU,
    ReshapeGate,
    Sigmoid,
    Softmax,
    SquaredError,
    Tanh,
    TransposeGate,
)
from nngraph import BatchNorm, Constant, Dense, Dropout, Input, LayerNorm, Model, Parameter, Random, Running
from nngraph.capture.costs import line
from nngraph.summary import _broken, _length

rng = np.random.default_rng(0)


def weight(*shape, name):
    return Parameter(rng.standard_normal(shape), name)


def rows(summary):
    return {row.name: row for row in summary.rows}


def test_a_known_net_by_hand():
    """784-30-10: a product of (n, k) and (k, m) is 2 k m for each example, a bias and an activation m."""
    summary = Model([784, 30, 10], layer=Sigmoid(), random_state=0).summary()
    assert [(row.name, row.gates, row.shape) for row in summary.rows] == [
        ("X", (), ("n", 784)),
        ("Z1", ("Multiply", "Add"), ("n", 30)),
        ("A1", ("Sigmoid",), ("n", 30)),
        ("Z2", ("Multiply", "Add"), ("n", 10)),
        ("loss", ("Softmax",), ()),
    ]
    assert [row.parameters for row in summary.rows if row.parameters] == [
        {"W1": (784, 30), "b1": (30,)},
        {"W2": (30, 10), "b2": (10,)},
    ]
    assert [row.count for row in summary.rows] == [0, 784 * 30 + 30, 0, 30 * 10 + 10, 0]
    assert [row.flops for row in summary.rows[:-1]] == [0, 2 * 784 * 30 + 30, 30, 2 * 30 * 10 + 10]
    assert [row.bytes for row in summary.rows] == [784 * 8, 30 * 8, 30 * 8, 10 * 8, 0]
    assert summary.parameters == 23_860
    assert summary.parameter_bytes == 23_860 * 8
    assert summary.flops == 47_070 + 30 + 610
    assert summary.unknown == ()


def test_the_text():
    """It is read at 80 columns."""
    summary = Model([784, 30, 10], layer=Sigmoid(), random_state=0).summary()
    text = str(summary)
    assert repr(summary) == text
    assert text.startswith(
        "Model with 23,860 parameters, 190.9 kB in float64\n"
        "\n"
        "node  gate           output    parameters               count   FLOPs  bytes\n"
        "X                    (n, 784)                                          6,272\n"
        "Z1    Multiply, Add  (n, 30)   W1 (784, 30), b1 (30,)  23,550  47,070    240\n"
        "A1    Sigmoid        (n, 30)                                       30    240\n"
        "Z2    Multiply, Add  (n, 10)   W2 (30, 10), b2 (10,)      310     610     80\n"
    )
    assert "\nFLOPs per example: 47,710 for the scores, " in text


def test_a_training_step_by_hand():
    """Without a bias or an activation: the product of the scores, and one as large for the gradient of W."""
    summary = Model([100, Dense(1)], use_bias=False, output=SquaredError(), random_state=0).summary()
    loss = rows(summary)["loss"].flops
    assert summary.flops == 200
    assert summary.training_flops == pytest.approx(200 + 200 + loss, abs=4)


@pytest.mark.parametrize("output", [Softmax(), Logistic(), SquaredError(), AbsoluteError(), Huber(), Hinge()])
def test_a_training_step_is_what_its_program_costs(output):
    """The recorded program of a training step grows by that much with each example."""
    model = Model([3, 5, 1 if isinstance(output, Logistic) else 2], output=output, random_state=0)
    examples = model._examples(None, None)
    costs = [model.program(*(examples(n)[node] for node in (model._X, model._y))).report().flops for n in (10, 11)]
    summary = model.summary()
    assert summary.training_flops == costs[1] - costs[0]
    assert summary.unknown == ()
    assert all(row.flops is not None for row in summary.rows)


def test_memory_of_a_batch():
    """The buffers are those that the program of so many examples says that it needs."""
    model = Model([3, 5, 2], random_state=0)
    X, y = rng.standard_normal((100, 3)), rng.integers(0, 2, 100)
    summary = model.summary(X, y, batch_size=100)
    assert summary.training_buffer_bytes == pytest.approx(model.program(X, y).report().buffer_bytes, rel=0.01)
    assert summary.buffer_bytes == 100 * (5 + 2) * 8
    assert model.summary(X, y).buffer_bytes == 32 * (5 + 2) * 8
    assert "buffers for 1 example: 56 bytes for the scores" in str(model.summary(batch_size=1))
    for wrong in (0, 1.5, "many"):
        with pytest.raises(ValueError, match="batch_size"):
            model.summary(batch_size=wrong)


def test_float32():
    model = Model([3, 5, 2], dtype=np.float32, random_state=0)
    wide, summary = Model([3, 5, 2], random_state=0).summary(), model.summary()
    assert summary.dtype == "float32"
    assert summary.parameter_bytes == 4 * summary.parameters
    assert [row.bytes for row in summary.rows] == [3 * 4, 5 * 4, 5 * 4, 2 * 4, 0]
    assert (summary.flops, summary.training_flops) == (wide.flops, wide.training_flops)


def test_deep():
    """A thousand layers take seconds, not minutes, and no recursion."""
    start = time.perf_counter()
    summary = Model([4, *[4] * 1000, 2], layer=ReLU(), random_state=0).summary()
    assert len(summary.rows) == 1 + 2 * 1000 + 1 + 1
    assert summary.parameters == 1000 * 20 + 10
    assert summary.flops == 1000 * (2 * 16 + 4 + 4) + 2 * 8 + 2
    assert "\nZ1000  Multiply, Add  (n, 4)  W1000 (4, 4), b1000 (4,)     20     36     32\n" in str(summary)
    assert time.perf_counter() - start < 60


def test_a_graph_by_hand():
    """It needs examples; nodes without names are called as the graph calls them."""
    inputs = Input("inputs")
    hidden = Tanh()(inputs @ weight(1, 6, name="W1") + weight(6, name="b1"))
    model = Model(hidden @ weight(6, 1, name="W2") + inputs * Parameter(1.0, "shortcut"), output=SquaredError())
    with pytest.raises(ValueError, match="built by hand are not known: give some examples X"):
        model.summary()
    summary = model.summary(np.ones((3, 1)))
    assert [(row.name, row.gates, tuple(row.parameters)) for row in summary.rows] == [
        ("inputs", (), ()),
        ("Add", ("Multiply", "Add"), ("W1", "b1")),
        ("Tanh", ("Tanh",), ()),
        ("Multiply_2", ("Multiply",), ("W2",)),
        ("ElementwiseProduct", ("ElementwiseProduct",), ("shortcut",)),
        ("Add_2", ("Add",), ()),
        ("loss", ("SquaredError",), ()),
    ]
    assert [row.flops for row in summary.rows[:-1]] == [0, 18, 6, 12, 1, 1]
    assert "shortcut ()" in str(summary)


def test_what_is_one_layer():
    """``X W + b`` is, unless the product is read elsewhere, too, or no parameter is in it; a second bias joins."""
    X = Input("X")
    product = X @ weight(2, 2, name="W")
    once = Tanh()(product + weight(2, name="b"), name="h") + weight(2, name="c")
    twice = product + weight(2, name="d") + weight(2, name="e")
    summary = Model(once + twice + product).summary(np.ones((3, 2)))
    assert [row.gates for row in summary.rows][1:-1] == [
        ("Multiply",), ("Add",), ("Tanh",), ("Add",), ("Add", "Add"), ("Add",), ("Add",),
    ]  # fmt: skip


def test_shared_parameters_and_fixed_arrays():
    """A parameter that is used twice counts once; a constant array has its place, a number has none."""
    W, h = weight(3, 3, name="W"), Input("X")
    for _ in range(3):
        h = Tanh()(h @ W) * 2.0
    model = Model(h @ Constant(np.ones((3, 2)), "C"))
    summary = model.summary(np.ones((4, 3)))
    assert summary.parameters == 9 == sum(row.count for row in summary.rows)
    assert [row.used() for row in summary.rows if row.parameters] == [["W (3, 3)"], ["W again"], ["W again"]]
    assert [row.fixed for row in summary.rows if row.fixed] == [{"C": (3, 2)}]
    assert "C (3, 2) fixed" in str(summary)


def test_what_does_not_depend_on_the_examples():
    """Weights that are computed once for all examples."""
    summary = Model(Input("X") @ Tanh()(weight(5, 2, name="V"), name="W")).summary(np.ones((4, 5)))
    row = rows(summary)["W"]
    assert (row.shape, row.flops, row.flops_once, row.bytes) == ((5, 2), 0, 10, 0)
    assert " 10 once " in str(summary)


def test_rows_of_other_lengths():
    """Lengths that grow with the examples otherwise, and work that grows with their square."""
    X = Input("X")
    folded = ReshapeGate((-1, 3))(ReshapeGate((-1, 1))(X, name="long"), name="back")
    gram = MultiplyGate()(TransposeGate()(folded), folded, name="gram")
    model = Model(gram @ folded @ weight(3, 2, name="W"))
    summary = model.summary(np.ones((5, 3)))
    found = rows(summary)
    assert found["long"].shape == ("3n", 1)
    assert (found["gram"].shape, found["gram"].bytes, found["gram"].flops) == (("n", "n"), None, None)
    assert found["gram"].unknown == "they do not grow in proportion to the examples"
    assert f"MultiplyGate at node 'gram', forward: {found['gram'].unknown}" in summary.unknown
    assert "at least" in str(summary)


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [((8, 8, 8), 8), ((4, 6, 32), "n"), ((8, 12, 64), "2n"), ((3, 5, 31), "n - 1"), ((5, 7, 33), "n + 1"),
     ((2, 3, 16), "?"), ((16, 36, 1024), "?")],
)  # fmt: skip
def test_lengths(lengths, expected):
    assert _length((4, 6, 32), lengths) == expected


def test_a_line_through_two_sizes():
    """A batch may be as large as one of the sizes that are tried."""
    assert line((4, 6, 4), (9, 13, 9)) == (2, 1)
    assert Model([2, 2], random_state=0).summary(batch_size=6).flops == 10


# --- What training draws and averages ---------------------------------------------------------------------------------

LAYERS = [Dense(4), BatchNorm(), Tanh(), Dropout(0.5), Dense(4), LayerNorm(), Tanh(), 2]


def test_the_text_with_all_layers():
    """At 80 columns no word is cut; what is averaged and what is drawn is told from what is fixed."""
    assert str(Model([2, *LAYERS], random_state=0).summary()).startswith(
        "Model with 58 parameters, 464 bytes in float64\n"
        "\n"
        "node         gate         output  parameters               count  FLOPs  bytes\n"
        "X                         (n, 2)                                            16\n"
        "Z1           Multiply,    (n, 4)  W1 (2, 4)                   12     20     32\n"
        "             Add                  b1 (4,)\n"
        "batch_norm1  Mean,        (n, 4)  gamma1 (4,)                  8     12     32\n"
        "             Variance,            beta1 (4,)\n"
        "             Standardize          mean1 (4,) averaged\n"
        "                                  variance1 (4,) averaged\n"
        "A1           Tanh         (n, 4)                                      4     32\n"
        "dropout1     Elementwise  (n, 4)  mask1 (n, 4) drawn                  0     32\n"
        "             Product\n"
        "Z2           Multiply,    (n, 4)  W2 (4, 4)                   20     36     32\n"
        "             Add                  b2 (4,)\n"
        "layer_norm2  LayerNorm    (n, 4)  gamma2 (4,)                  8     30     32\n"
    )


@pytest.mark.parametrize("widths", [(784, 512, 10), (2, 16, 2), (300, 100, 10)])
def test_no_word_is_cut(widths):
    """Shapes of wide nets may take a line of their own, but are not broken."""
    first, width, last = widths
    layers = [Dense(width, initializer=zeros), BatchNorm(), Dropout(0.5), Tanh(), Dense(last, initializer=zeros)]
    text = str(Model([first, *layers], dtype=np.float32).summary(batch_size=2))
    assert max(map(len, text.splitlines())) <= 80
    for word in ("batch_norm1", "Standardize", "Elementwise", f"({width},)", f"(n, {width})", f"({first}, {width})",
                 "averaged", "mask1", "drawn"):  # fmt: skip
        assert word in text


def zeros(_, fan_in, fan_out):
    return np.zeros((fan_in, fan_out), np.float32), np.zeros(fan_out)


def test_rows_of_what_is_drawn_and_averaged():
    """A batch normalisation is one layer; what is computed in training only costs nothing in a prediction."""
    found = rows(Model([2, *LAYERS], random_state=0).summary())
    assert list(found) == ["X", "Z1", "batch_norm1", "A1", "dropout1", "Z2", "layer_norm2", "A2", "Z3", "loss"]
    norm, dropout = found["batch_norm1"], found["dropout1"]
    assert norm.gates == ("Mean", "Variance", "Standardize")
    assert (norm.averaged, norm.fixed, norm.drawn) == ({"mean1": (4,), "variance1": (4,)}, {}, {})
    # Less the mean, times a factor, plus beta.
    assert (norm.count, norm.flops) == (8, 3 * 4)
    assert (dropout.drawn, dropout.averaged, dropout.flops) == ({"mask1": ("n", 4)}, {}, 0)


@pytest.mark.parametrize("layers", [[Dropout(0.5)], [BatchNorm()], [BatchNorm(), Tanh(), Dropout(0.2), LayerNorm()]])
def test_a_training_step_with_masks_and_statistics(layers):
    """Its FLOPs and its memory are those of the program of training, with masks as inputs."""
    model = Model([3, Dense(5), *layers, 2], random_state=0)
    X, y = rng.standard_normal((11, 3)), np.arange(11) % 2
    costs = [model.program(X[:n], y[:n]).report() for n in (10, 11)]
    summary = model.summary(X, y, batch_size=11)
    assert summary.training_flops == costs[1].flops - costs[0].flops
    assert summary.training_buffer_bytes == costs[1].buffer_bytes
    assert summary.unknown == ()
    assert "unknown" not in str(summary)


def test_masks_are_counted():
    """A factor for every unit, forward and backward; in float32 the masks are float32, too."""
    plain, dropping = (Model([3, Dense(5), *more, 2], random_state=0).summary() for more in ([], [Dropout(0.5)]))
    assert dropping.training_flops - plain.training_flops == 2 * 5
    assert dropping.flops == plain.flops
    narrow = Model([3, Dense(5), Dropout(0.5), 2], dtype=np.float32, random_state=0).summary()
    assert narrow.training_flops == dropping.training_flops
    assert narrow.training_buffer_bytes <= dropping.training_buffer_bytes / 2 + 64


def test_averages_that_others_read():
    """A statistic that something else reads, too, and an average that two gates read, are no part of a layer."""
    hidden = Input("X") @ weight(2, 3, name="W")
    mean = MeanGate(axis=0)(hidden, name="batch_mean")
    kept = Running(mean, np.zeros(3), name="mean")
    noisy = hidden + Random(lambda rng, out: rng.random(out=out), hidden, name="noise")
    once, twice, again = noisy - kept, noisy * kept, hidden + mean
    summary = Model((once + twice + again) @ weight(3, 2, name="V")).summary(np.ones((3, 2)))
    found = rows(summary)
    assert found["batch_mean"].gates == ("Mean",)
    assert [row.averaged for row in summary.rows if row.averaged] == [{"mean": (3,)}] * 2
    assert [row.drawn for row in summary.rows if row.drawn] == [{"noise": ("n", 3)}]


@pytest.mark.parametrize(
    ("name", "lines"),
    [("Standardize", "Standardize"), ("ElementwiseProduct", "Elementwise\nProduct"), ("LayerNorm", "LayerNorm"),
     ("CategoricalCrossEntropy", "Categorical\nCrossEntropy"), ("ELU", "ELU"), ("Gate", "Gate"), ("a" * 30, "a" * 30),
     ("Conv2DTransposed", "Conv2D\nTransposed"), ("", "")],
)  # fmt: skip
def test_long_names_of_gates(name, lines):
    assert _broken(name) == lines


class Opaque(Gate):
    """``Z = X max(X)``, with a number that no program can have."""

    def forward(self, X):
        return X * float(X.max())

    def backward(self, X, dZ):
        return dZ * float(X.max())


class Inverted(Gate):
    """``Z = X (2 I)^-1``: there is no rule for the FLOPs of an inverse."""

    def forward(self, X):
        return X @ np.linalg.inv(np.outer(X[0], X[0]) + 2 * np.eye(X.shape[1]))

    def backward(self, X, dZ):
        return dZ


class Selected(Gate):
    """``Z = X + sum of X > 0``: how much is added depends on the data."""

    def forward(self, X):
        return X + np.sum(X[X > 0])

    def backward(self, X, dZ):
        return dZ


class Keeps(Gate):
    """``Z = X``, with something kept: not pure."""

    def forward(self, X):
        self.kept = X
        return X + 0.0

    def backward(self, X, dZ):
        return dZ


class Unfinished(Gate):
    """``Z = 2 X``, without a backward yet."""

    def forward(self, X):
        return 2 * X

    def backward(self, X, dZ):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("gate", "reason"),
    [
        (Opaque(), "Opaque at node 'A1', forward: float(x) makes a plain number"),
        (Inverted(), "Inverted at node 'A1', forward: there is no rule for inv"),
        (Selected(), "Selected at node 'A1', forward: its lengths depend on the data"),
    ],
)
def test_gates_that_cannot_be_counted(gate, reason):
    """Only their rows are unknown; the sums are what there is at least."""
    summary = Model([5, 7, 3], layer=gate, random_state=0).summary()
    assert [row.name for row in summary.rows if row.flops is None] == ["A1"]
    assert summary.unknown[0].startswith(reason)
    assert summary.flops == 77 + 45
    text = str(summary)
    assert "FLOPs per example: at least 122 for the scores, at least " in text
    assert f"FLOPs unknown:\n- {reason}" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_gate_that_is_not_pure():
    """No program holds, so nothing is counted; shapes and parameters stand."""
    summary = Model([5, 7, 3], layer=Keeps(), random_state=0).summary()
    assert summary.unknown == ("Keeps at node 'A1' is not pure: it changes self.kept",)
    assert (summary.flops, summary.training_flops, summary.buffer_bytes) == (None, None, None)
    assert rows(summary)["A1"].shape == ("n", 7)
    assert "FLOPs per example: unknown for the scores, unknown for a training step" in str(summary)


def test_a_gate_without_a_backward():
    """The scores are counted, the training step is not."""
    summary = Model([5, 7, 3], layer=Unfinished(), random_state=0).summary()
    assert "FLOPs per example: 129 for the scores, unknown for a training step" in str(summary)
    assert summary.unknown == ("NotImplementedError, in the backward of Unfinished at node 'A1'",)


def test_many_reasons():
    """Of many reasons the first are shown."""
    text = str(Model([3, *[3] * 10, 2], layer=Opaque(), random_state=0).summary())
    assert text.endswith("\n... (20 in all)")
    assert text.count("\n- Opaque") == 8


def test_an_embedding():
    """Row numbers are data, too."""
    table = GatherGate()(weight(10, 4, name="table"), Input("X", int), name="rows")
    model = Model(ReshapeGate((-1, 8))(table) @ weight(8, 3, name="W"))
    found = rows(model.summary(np.array([[1, 2], [3, 4]])))
    assert found["rows"].shape == ("n", 2, 4)
    assert found["rows"].parameters == {"table": (10, 4)}


def test_nothing_is_kept_or_changed():
    """Neither of the model nor of the data; NumPy's generator is not drawn from."""
    model = Model([3, 5, 2], random_state=0)
    before, state = pickle.dumps(model), np.random.get_state()[1].tobytes()  # noqa: NPY002 - the global one
    X = np.ones((4, 3))
    model.summary()
    model.summary(X)
    assert pickle.dumps(model) == before
    assert model._engines == {}
    assert model.graph._values is model._scorer._values is None
    assert np.random.get_state()[1].tobytes() == state  # noqa: NPY002 - the global one
    assert (X == 1).all()
    assert X.flags.writeable


def test_bad_data_and_weights():
    """Data that do not fit are an error; weights that are not finite are not."""
    model = Model([3, 5, 2], random_state=0)
    with pytest.raises(ValueError, match=r"X must have shape \(examples, 3\)"):
        model.summary(np.ones((4, 2)))
    with pytest.raises(ValueError, match="give both X and y, or neither"):
        model.summary(y=np.zeros(4, int))
    with pytest.raises(GateError, match="loss"):
        model.summary(np.ones((4, 3)), np.full(4, 7))
    model.W[0][...] = np.inf
    assert model.summary().flops == Model([3, 5, 2]).summary().flops


LONG = "a long name, longer than its column, with_a_part_that_nowhere_has_a_space_and_is_not_to_be_cut_off_anywhere"


def with_names(*names):
    first, second = names
    model = Model(Tanh()(Input("X") @ weight(300, 400, name=first), name=second) @ weight(400, 2, name="W"))
    return model.summary(np.ones((2, 300)))


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("names", [("<b>", "[bold]"), (LONG, LONG.upper())])
def test_nothing_is_cut(names, width):
    """In a terminal and as text all that is said can be read, and no line is too long."""
    summary = with_names(*names)
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(summary)
    for text, most in ((str(summary), 80), (console.file.getvalue(), width)):
        assert max(len(line.rstrip()) for line in text.splitlines()) <= most
        assert "…" not in text
        # The columns of a row that takes several lines are read one by one.
        letters = "".join(text.split())
        assert all(word in letters for word in ("(300,400)", "120,000", "240,000", "3,200"))
        if names[0] is not LONG:
            assert all(name in text for name in names)


class Tags(HTMLParser):
    """Tells whether every tag is closed, and what stands in the cells."""

    def __init__(self):
        super().__init__()
        self.open, self.cells = [], []

    def handle_starttag(self, tag, attrs):
        if tag != "br":
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1] += data


def test_html():
    """It is well formed, has what the text has, and names are no tags."""
    summary = with_names("<b>", "a & b </td>")
    page = summary._repr_html_()
    parser = Tags()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    assert len(parser.cells) == 7 * (1 + len(summary.rows))
    assert "<b> (300, 400)" in parser.cells
    assert "a & b </td>" in parser.cells
    assert "120,000" in parser.cells
    assert page.count("<b>") == 1
