"""Models as Python files: the text computes what the model computes, alone, for any number of rows."""

from __future__ import annotations

import ast
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import gates
from gates import ElementwiseGate, Gate, GatherGate, Hinge, Huber, Logistic, OutputGate, Softmax, SquaredError, SumGate
from nngraph import BatchNorm, Constant, Dense, Dropout, Input, LayerNorm, Model, Parameter, Random, Running
from nngraph.engines.layout import empty
from nngraph.optimizers import GradientDescent
from nngraph.penalties import L2
from tests.test_captured_model import Center, Vectorized

LAYERS = [
    gates.ELU(1.5), gates.GELU(), gates.LeakyReLU(0.2), gates.ReLU(), gates.SiLU(), gates.Sigmoid(),
    gates.SoftmaxLayer(), gates.Softplus(), gates.Tanh(), Center(),
]  # fmt: skip
# Output, number of scores.
OUTPUTS = [
    (Softmax(), 3), (Softmax(class_weight=[1.0, 23.0, 29.0]), 3), (Softmax(reduction="sum"), 2), (Logistic(), 1),
    (Logistic(class_weight=[1.0, 2.0]), 1), (Logistic(), 2), (Hinge(), 3), (Hinge(), 1), (SquaredError(), 1),
    (SquaredError(), 3), (SquaredError(reduction="sum"), 2), (gates.AbsoluteError(), 1), (Huber(), 2),
    (gates.HalfSquaredError(reduction="batchmean"), 2), (Logistic(reduction="batchmean"), 3),
]  # fmt: skip


def data(model, n, seed=0):
    """Return features and targets for a model, in the dtypes that it computes in."""
    rng = np.random.default_rng(seed)
    width, k = len(model.W[0]), model.W[-1].shape[1]
    X, output = rng.normal(size=(n, width)).astype(model.dtype), model.output
    if isinstance(output, Softmax | Hinge):
        return X, rng.integers(0, max(k, 2), n)
    shape = (n,) if k == 1 else (n, k)
    y = rng.integers(0, 2, shape) if isinstance(output, Logistic) else rng.normal(size=shape)
    return X, y.astype(model.dtype)


def run(text, path="exported.py"):
    """Return the names of a module's text, run in a namespace of its own."""
    namespace = {"__file__": str(path), "__name__": "exported"}
    exec(compile(text, str(path), "exec"), namespace)  # noqa: S102 - our own text
    return namespace


def exported(model, path, *examples):
    """Export a model and run the file."""
    model.export_numpy(path, *examples)
    return run(path.read_text(encoding="utf-8"), path)


def next_state(model, X, y, epsilon=0.01, reg_lambda=0.02):
    """Return the loss, and every parameter after one step, node by node."""
    loss = model.gradients(X, y) and model.graph.evaluate({model.graph.inputs[0].name: X, "y": y})["loss"]
    gradient = model.objective(X, y, reg_lambda)[1]
    return [loss, *(p - p.dtype.type(epsilon) * gradient[name] for name, p in model.parameters.items())]


def close(found, expected, ulp=64):
    """Assert that arrays agree up to some ulp of the largest number, or of one: sums go through such magnitudes.

    An element is a sum over as many as 200 rows; two orders of addition differ by a few roundings of partial sums, and
    the stand-ins for SciPy by a few ulp.
    """
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    allowed = ulp * np.finfo(expected.dtype).eps * max(1.0, np.abs(expected).max())
    assert_allclose(found, expected, rtol=0, atol=allowed)


CASES = [
    (layer, *OUTPUTS[(i + 3 * j) % len(OUTPUTS)], dtype, bool((i + j) % 3))
    for i, layer in enumerate(LAYERS)
    for j, dtype in enumerate([np.float64, np.float32, np.float64, np.float32])
] + [(LAYERS[-2], output, k, dtype, True) for output, k in OUTPUTS for dtype in (np.float64, np.float32)]


@pytest.mark.parametrize(("layer", "output", "k", "dtype", "use_bias"), CASES, ids=str)
def test_step_and_file(layer, output, k, dtype, use_bias, tmp_path):
    """Step, predictions, probabilities and further training are the model's, for one row and for many."""
    model = Model([3, 5, k], layer=layer, output=output, dtype=dtype, use_bias=use_bias, random_state=0)
    step, file = run(model.source())["step"], exported(model, tmp_path / "net.py")
    for n in (1, 7, 200):
        X, y = data(model, n)
        found = step(X=X, y=y, epsilon=dtype(0.01), reg_lambda=dtype(0.02), **model.parameters)
        for one, other in zip(found, next_state(model, X, y), strict=True):
            close(one, other, 64 * (1 + (n * k) ** 0.5))
        assert_array_equal(file["predict"](X), model.predict(X)) if k > 1 and isinstance(output, Softmax) else close(
            file["predict"](X).astype(dtype), model.predict(X).astype(dtype)
        )
        assert file["predict"](X.tolist()).dtype == model.predict(X).dtype
        if "predict_proba" in file:
            close(file["predict_proba"](X), model.predict_proba(X))
    assert ("predict_proba" in file) == isinstance(output, Softmax | Logistic)
    losses = file["train"](X.tolist(), y.tolist(), num_passes=5, epsilon=1e-4)
    model.train(X, y, num_passes=5, epsilon=1e-4)
    close(np.array(losses, dtype), np.array(model.loss_history[:-1], dtype), 512)
    for one, other in zip(file["PARAMETERS"].values(), model.parameters.values(), strict=True):
        close(one, other, 2048)


@pytest.mark.parametrize("width", [23, 29, 31, 46])
def test_widths_like_numbers_of_rows(width):
    """Widths that are the numbers of rows on which it is recorded are not taken for them."""
    model = Model([width, width, 1], output=Huber(), random_state=0)
    step = run(model.source())["step"]
    for n in (1, 23, 29, 31, 40):
        X, y = data(model, n)
        for one, other in zip(
            step(X=X, y=y, epsilon=0.01, reg_lambda=0.02, **model.parameters), next_state(model, X, y), strict=True
        ):
            close(one, other, 512)


@pytest.mark.parametrize("output", [Logistic(), SquaredError(), Hinge()], ids=repr)
@pytest.mark.parametrize("dtype", ["i1", "i8", "u4", "?"])
@pytest.mark.parametrize("column", [False, True])
def test_targets_of_other_dtypes(output, dtype, column, tmp_path):
    """Labels and targets of any dtype, as a row or a column if the output takes both, train as in the model."""
    model = Model([2, 1], output=output, dtype=np.float32, random_state=0)
    X, y = np.random.default_rng(0).normal(size=(9, 2)), (np.arange(9) % 2).astype(dtype)
    if column and not isinstance(output, Hinge):
        y = y[:, None]
    file = exported(model, tmp_path / "net.py")
    file["train"](X, y, num_passes=3)
    model.train(X, y, num_passes=3)
    for one, other in zip(file["PARAMETERS"].values(), model.parameters.values(), strict=True):
        close(one, other)


BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("nngraph", "gates", "scipy", "sklearn", "matplotlib"):
            raise ImportError(name)

sys.meta_path.insert(0, Blocked())
sys.path.insert(0, sys.argv[1])
import net
import numpy as np

X = np.linspace(-1, 1, 12).reshape(4, 3)
print(net.predict(X).tolist())
net.train(X, np.array([0, 1, 1, 0]), num_passes=3, epsilon=1e-3)
print(net.predict_proba(X).tolist())
"""


@pytest.mark.parametrize("layer", [gates.Tanh(), gates.GELU(), gates.Sigmoid()], ids=repr)
@pytest.mark.parametrize("width", [4, 600])
def test_alone(layer, width, tmp_path):
    """In a fresh process that can import NumPy only a file predicts and trains on; many weights lie beside it."""
    model = Model([3, width, 2], layer=layer, random_state=0)
    model.export_numpy(str(tmp_path / "net.py"))
    assert (tmp_path / "net.npz").exists() == (width > 400)
    arguments = [sys.executable, "-I", "-W", "error", "-c", BLOCKED, str(tmp_path)]
    printed = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.splitlines()  # noqa: S603
    X = np.linspace(-1, 1, 12).reshape(4, 3)
    assert ast.literal_eval(printed[0]) == model.predict(X).tolist()
    model.train(X, np.array([0, 1, 1, 0]), num_passes=3, epsilon=1e-3)
    assert_allclose(ast.literal_eval(printed[1]), model.predict_proba(X), rtol=1e-11)


# --- What training draws and averages ---------------------------------------------------------------------------------


def normalised(*layers, epochs=2, **settings):
    """Return a net with batch normalisation and more layers, trained a little so that its averages are its own."""
    model = Model([3, Dense(4), BatchNorm(), gates.Tanh(), *layers, 2], random_state=0, **settings)
    rng = np.random.default_rng(3)
    model.fit(rng.normal(1, 2, (20, 3)), np.arange(20) % 2, epochs=epochs, batch_size=10)
    return model


def averages(model):
    """Return the running averages by name."""
    return {model.graph.names[model.graph.position(node)]: node.value for node in model.graph.running}


def drawn(model, X, y, rng):
    """Draw what a step of training draws, as it does."""
    values = model.graph.evaluate({model.graph.inputs[0].name: X, "y": y}, training=True)
    found = {}
    for node in model.graph.randoms:
        array = empty(values[node.like].shape, values[node.like].dtype)
        node.draw(rng, array)
        found[model.graph.names[model.graph.position(node)]] = array
    return found


DRAWING = [
    (BatchNorm(),), (Dropout(0.5),), (Dropout(0.2), Dense(5), LayerNorm(), Dropout(0.9), BatchNorm(momentum=0.5)),
    (Dense(23), BatchNorm(epsilon=0.1), gates.ReLU(), Dropout(0.25)),
]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("layers", DRAWING, ids=str)
def test_steps_with_masks_and_averages(layers, dtype):
    """Given the masks that training draws, steps on batches of several sizes go where training goes; averages, too."""
    model = normalised(*layers, dtype=dtype)
    step, state = run(model.source())["step"], {**model.parameters, **averages(model)}
    state = {name: array.copy() for name, array in state.items()}
    descent = model.descent(GradientDescent(0.01), penalty=L2(0.02), summed=True, random_state=np.random.default_rng(5))
    rng = np.random.default_rng(5)
    for i, n in enumerate((7, 2, 30, 200, 7)):
        X, y = data(model, n, seed=i)
        loss, *values = step(X=X, y=y, epsilon=0.01, reg_lambda=0.02, **drawn(model, X, y, rng), **state)
        state = dict(zip(state, values, strict=True))
        descent.load(X, y)
        close(dtype(loss), dtype(descent.compute()), 4096)
        descent.update()
    descent.finish()
    for name, array in {**model.parameters, **averages(model)}.items():
        close(state[name], array, 8192)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_noise_and_averages_by_hand(dtype, tmp_path):
    """A graph of one's own: noise of the features' shape and of the scores', and an average that keeps its axis."""

    def noise(rng, out):
        out[...] = rng.normal(size=out.shape)

    rng = np.random.default_rng(0)
    W, V = Parameter(rng.normal(size=(2, 3)).astype(dtype), "W"), Parameter(rng.normal(size=(3, 2)).astype(dtype), "V")
    inputs = Input("X")
    hidden = (inputs + Random(noise, like=inputs, name="jitter")) @ W
    mean = gates.MeanGate(axis=0, keepdims=True)(hidden, name="batch")
    plain = (hidden - Running(mean, np.ones((1, 3)), 0.25, name="average")) @ V
    # Without a name, and a row for every score.
    turned = gates.TransposeGate()(plain)
    model = Model(gates.TransposeGate()(turned * Random(noise, like=turned, value=1.0)), output=SquaredError())
    targets = rng.normal(size=(7, 2)).astype(dtype)
    text = model.source(X, targets)
    assert "Drawn anew for every step: jitter, Random. Running averages: average." in text
    assert "jitter (n, 2)" in text
    assert "Random (2, n)" in text
    features = X.astype(dtype)
    fed = drawn(model, features, targets, rng)
    assert [array.shape for array in fed.values()] == [(7, 2), (2, 7)]
    values = model.graph.evaluate({"X": features, "y": targets, **fed}, training=True)
    gradients = model.graph.backward(dtype(14), values=values)
    found = run(text)["step"](
        X=features, y=targets, W=W.value, V=V.value, average=np.ones((1, 3), dtype), epsilon=0.1, reg_lambda=0.0, **fed
    )
    step = dtype(0.1)
    expected = [values["loss"], *(p.value - step * gradients[p] for p in (W, V)), 0.75 + 0.25 * values["batch"]]
    for one, other in zip(found, expected, strict=True):
        close(one, other, 512)
    # Without noise, and by the average, the file predicts.
    file = exported(model, tmp_path / "net.py", X, targets)
    assert file["AVERAGES"]["average"].dtype == dtype
    close(file["predict"](X), model.predict(features))
    assert "train" not in file


def test_the_text_of_masks_and_averages():
    """It says what is drawn and what is averaged, and how for any number of rows."""
    text = Model([2, Dense(4), BatchNorm(), gates.Tanh(), Dropout(0.5), 2]).source()
    assert (
        "every parameter and average after it.\n\n    Drawn anew for every step: mask1. Running averages: mean1,"
        in text
    )
    assert "mask1 (n, 4)," in text
    assert "    dropout1 = A1 * mask1\n" in text
    assert "    next_mean1 = mean1 + 0.1 * (batch_mean1 - mean1)\n" in text
    unbiased = "batch_variance1 * (len(X) / (len(X) - 1))"
    assert f"    next_variance1 = variance1 + 0.1 * ({unbiased} - variance1)\n" in text
    assert "next_b2, next_mean1, next_variance1\n" in text
    for plain in (Model([2, 4, 2]).source(), Model([2, Dense(4), LayerNorm(), 2]).source()):
        assert "average" not in plain
        assert "Drawn" not in plain


def test_one_row_has_no_spread():
    """As in the model, a step on one row alone is an error where its spread is averaged."""
    model = normalised()
    step = run(model.source())["step"]
    with pytest.raises(ZeroDivisionError):
        step(X=np.ones((1, 3)), y=np.array([0]), epsilon=0.1, reg_lambda=0, **model.parameters, **averages(model))


ALONE = (
    BLOCKED[: BLOCKED.index("net.train")]
    + """
y = np.array([0, 1, 1, 0])
if hasattr(net, "train"):
    net.train(X, y, num_passes=3, epsilon=1e-3)
else:
    for i in range(3):
        mask = np.where(np.arange(16).reshape(4, 4) % (2 + i) > 0, 2.0, 0.0)
        loss, *values = net.step(X=X, y=y, mask1=mask, epsilon=1e-3, reg_lambda=0.01, **net.PARAMETERS, **net.AVERAGES)
        net.PARAMETERS.update(zip(net.PARAMETERS, values))
        net.AVERAGES.update(zip(net.AVERAGES, values[len(net.PARAMETERS):]))
print(net.predict_proba(X).tolist())
print({name: array.tolist() for name, array in net.AVERAGES.items()})
"""
)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("dropout", [False, True])
def test_alone_with_averages(dropout, wide, tmp_path):
    """In a process with NumPy only a file predicts by its averages, and moves them; it draws no masks of its own."""
    layers = [Dropout(0.5)] * dropout + [Dense(600, gates.Tanh())] * wide
    model = normalised(*layers)
    model.export_numpy(tmp_path / "net.py")
    file = run((tmp_path / "net.py").read_text(encoding="utf-8"), tmp_path / "net.py")
    about = " ".join(file["__doc__"].split())
    assert ("train" not in file) == ("There is no `train`: what `step` takes is drawn anew" in about) == dropout
    assert "PARAMETERS are the weights, AVERAGES the running averages; `predict` takes rows" in about
    assert (tmp_path / "net.npz").exists() == wide
    arguments = [sys.executable, "-I", "-W", "error", "-c", ALONE, str(tmp_path)]
    printed = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.splitlines()  # noqa: S603
    X, y = np.linspace(-1, 1, 12).reshape(4, 3), np.array([0, 1, 1, 0])
    assert ast.literal_eval(printed[0]) == model.predict(X).tolist()
    descent = model.descent(GradientDescent(1e-3), penalty=L2(0.01), summed=True)
    for i in range(3):
        for node in model.graph.randoms:
            node.draw = lambda _, out, i=i: np.copyto(
                out, np.where(np.arange(16).reshape(4, 4) % (2 + i) > 0, 2.0, 0.0)
            )
        descent.load(X, y)
        descent.compute()
        descent.update()
    descent.finish()
    assert_allclose(ast.literal_eval(printed[1]), model.predict_proba(X), rtol=1e-9)
    for name, found in ast.literal_eval(printed[2]).items():
        assert_allclose(found, averages(model)[name], rtol=1e-9)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_file_trains_with_averages(dtype, tmp_path):
    """What is only averaged, and not drawn, is trained in the file as in the model."""
    model = normalised(Dense(5), LayerNorm(), BatchNorm(), dtype=dtype)
    file = exported(model, tmp_path / "net.py")
    assert list(file["AVERAGES"]) == ["mean1", "variance1", "mean2_2", "variance2_2"]
    X, y = data(model, 12)
    losses = file["train"](X.tolist(), y.tolist(), num_passes=5, epsilon=1e-3)
    model.train(X, y, num_passes=5, epsilon=1e-3)
    close(np.array(losses, dtype), np.array(model.loss_history[-6:-1], dtype), 2048)
    for name, array in {**model.parameters, **averages(model)}.items():
        close({**file["PARAMETERS"], **file["AVERAGES"]}[name], array, 4096)
    assert_array_equal(file["predict"](X), model.predict(X))
    close(file["predict_proba"](X), model.predict_proba(X), 512)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_program_is_what_training_runs(dtype):
    """Masks are among its inputs, and what it returns is the loss, the gradients, and the statistics of the batch."""
    model = normalised(Dropout(0.5), dtype=dtype)
    X, y = data(model, 9)
    program = model.program(X, y)
    names = [variable.name for variable in program.inputs]
    assert "mask1" in names
    assert not {"mean1", "variance1"} & set(names)
    fed = drawn(model, X, y, np.random.default_rng(1))
    values = model.graph.evaluate({"X": X, "y": y, **fed}, training=True)
    gradients = model.graph.backward(dtype(9), values=values)
    expected = [values["loss"], *(gradients[p] for p in model.graph.parameters), values["mean1"], values["variance1"]]
    for one, other in zip(program.evaluate(*(values[name] for name in names)), expected, strict=True):
        close(one, other, 256)


@pytest.mark.parametrize(
    "names", [("AVERAGES", "CONSTANTS", "mask"), ("losses", "train", "next_W"), ("a b", "é", "step")]
)
def test_names_of_what_is_drawn_and_averaged(names, tmp_path):
    """They may be called what the file needs itself, or be no identifiers."""
    average, constant, mask = names
    inputs = Input("X")
    scaled = (
        inputs
        * Constant(np.array([2.0, 3.0]), constant)
        * Random(lambda rng, out: rng.random(out=out), inputs, 1.0, mask)
    )
    centred = scaled - Running(gates.MeanGate(axis=0)(scaled), np.array([0.5, 0.25]), name=average)
    model = Model(centred @ Parameter(np.ones((2, 1)), "W"), output=SquaredError())
    file = exported(model, tmp_path / "net.py", X, Y)
    assert_allclose(file["predict"](X), model.predict(X), rtol=1e-13)
    about = " ".join(file["__doc__"].split())
    for name, written in ((average, *file["AVERAGES"]), (constant, *file["CONSTANTS"])):
        assert name == written or f"{name!r} is {written} here" in about
    assert f"drawn anew for every step ({mask})" in about or f"({mask}_2)" in about


# --- Graphs built by hand, and names ---------------------------------------------------------------------------------


def by_hand(first="A", second="B", features="X", columns=1):
    """Return a net built by hand, with names of one's own."""
    rng = np.random.default_rng(0)
    A, B = Parameter(rng.normal(size=(2, 3)), first), Parameter(rng.normal(size=(3, columns)), second)
    return Model(gates.Tanh()(Input(features) @ A) @ B, output=SquaredError())


X, Y = np.random.default_rng(1).normal(size=(7, 2)), np.random.default_rng(2).normal(size=7)

NAMES = [
    ("lambda", "np", "X"), ("epsilon", "step", "X"), ("reg_lambda", "forward", "X"), ("W 1", "W-1", "X"),
    ("é", "日本", "X"), ("losses", "num_passes", "X"), ("values", "PARAMETERS", "X"), ("predict", "train", "X"),
    ("y2", "class", "X"), ("dW1", "next_W", "X"), ("None", "print", "X"), ("__file__", "zip", "X"),
    ("Path", "float", "X"), ('a"b', "c\\d", "X"), ("a\nb", "\U0001d465", "X"), ("math", "scipy", "X"),
    ("self", "len", "X"), ("\ufb01", "fi", "X"), ("W", "dW", "X"), ("expit", "ndtr", "X"), ("STORED", "name", "X"),
    *(("A", "B", name) for name in (
        "features", "lambda", "np", "epsilon", "step", "forward", "x 1", "len", "losses", "num_passes", "PARAMETERS",
        "float", "zip", "_", "W", "CONSTANTS", "array",
    )),
]  # fmt: skip


@pytest.mark.parametrize("names", NAMES, ids=ascii)
def test_names(names, tmp_path):
    """Names that are no identifiers, or that the file needs itself, are written otherwise; the file says how."""
    model = by_hand(*names)
    file = exported(model, tmp_path / "net.py", X, Y)
    assert_allclose(file["predict"](X), model.predict(X), rtol=1e-13)
    losses = file["train"](X, Y, num_passes=3)
    model.train(X, Y, num_passes=3)
    assert_allclose(losses, model.loss_history[:3], rtol=1e-13)
    assert_allclose(next(iter(file["PARAMETERS"].values())), model.W[0], rtol=1e-13)
    for name, written in zip(names[:2], file["PARAMETERS"], strict=True):
        assert name == written or f"{name!r} is {written}" in file["__doc__"].replace("\n", " ")


@pytest.mark.parametrize("names", [("file", "allow_pickle"), ("a/b", ".."), ("STORED", "name")], ids=str)
def test_names_beside(names, tmp_path):
    """Weights beside the file may be called what `np.savez` calls its own arguments."""
    A, B = Parameter(np.ones((2, 2000)), names[0]), Parameter(np.ones((2000, 1)), names[1])
    model = Model(Input("X") @ A @ B, output=SquaredError())
    assert_allclose(exported(model, tmp_path / "net.py", X, Y)["predict"](X), model.predict(X), rtol=1e-13)


def test_needs_examples(tmp_path):
    """Of a graph built by hand the shapes are not known, and one of X and y is not enough."""
    for arguments, message in [((), "give some examples"), ((X,), "both X and y"), ((None, Y), "both X and y")]:
        with pytest.raises(ValueError, match=message):
            by_hand().source(*arguments)
        with pytest.raises(ValueError, match=message):
            by_hand().export_numpy(tmp_path / "net.py", *arguments)
    assert list(tmp_path.iterdir()) == []


def test_whole_numbers(tmp_path):
    """A graph of tokens predicts and trains as the model does."""
    table, W = (
        Parameter(np.random.default_rng(0).normal(size=shape), name) for shape, name in (((5, 4), "E"), ((4, 3), "W"))
    )
    model = Model(SumGate(axis=1)(GatherGate()(table, Input("tokens", dtype=int))) @ W)
    tokens, labels = np.arange(18).reshape(9, 2) % 5, np.arange(9) % 3
    file = exported(model, tmp_path / "net.py", tokens, labels)
    assert_allclose(file["predict_proba"](tokens), model.predict_proba(tokens), rtol=1e-13)
    file["train"](tokens, labels, num_passes=4)
    model.train(tokens, labels, num_passes=4)
    assert_allclose(file["PARAMETERS"]["E"], model.parameters["E"], rtol=1e-12)


@pytest.mark.parametrize(
    "value", [np.array([2.0, 3.0]), np.eye(2), np.array(2.0), np.ones((2, 1500))], ids=lambda value: str(value.shape)
)
def test_constants(value, tmp_path):
    """Arrays that are part of the graph are part of the file, or lie beside it, and are not trained."""
    W, constant = Parameter(np.ones((2, value.shape[-1] if value.ndim > 1 else 2)), "W"), Constant(value, "c")
    scores = (Input("X") @ constant if value.ndim > 1 else Input("X") * constant) @ Parameter(
        np.ones((value.shape[-1] if value.ndim else 2, 2)), "V"
    )
    del W
    model = Model(scores, output=SquaredError())
    targets = np.ones((7, 2))
    file = exported(model, tmp_path / "net.py", X, targets)
    file["train"](X, targets, num_passes=2, epsilon=1e-5)
    model.train(X, targets, num_passes=2, epsilon=1e-5)
    assert_allclose(file["predict"](X), model.predict(X), rtol=1e-11)
    assert_array_equal(file["CONSTANTS"]["c"], value)


def test_parameter_without_axes(tmp_path):
    """A parameter that is one number, without axes and without a penalty."""
    model = Model(Input("X") * Parameter(2.0, "a"), output=SquaredError())
    file = exported(model, tmp_path / "net.py", X[:, :1], Y)
    file["train"](X[:, :1], Y, num_passes=3)
    model.train(X[:, :1], Y, num_passes=3)
    assert_allclose(file["PARAMETERS"]["a"], model.parameters["a"], rtol=1e-13)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -0.0, 5e-324, 1e-45, 3.4e38])
def test_weights_to_the_bit(value, dtype, tmp_path):
    """Weights are read back to the bit, whatever they are."""
    model = Model([2, 3, 2], dtype=dtype, random_state=0)
    for array in model.parameters.values():
        array.flat[0] = value
    model.b[1][...] = value
    file = exported(model, tmp_path / "net.py")
    for one, other in zip(file["PARAMETERS"].values(), model.parameters.values(), strict=True):
        assert one.tobytes() == other.tobytes()
        assert one.dtype == other.dtype


# --- What cannot be exported -----------------------------------------------------------------------------------------


class ListOutput(SquaredError):  # noqa: N818 - no exception
    """Predicts a list."""

    def predict(self, scores):
        return scores.tolist()


class FloatOutput(SquaredError):  # noqa: N818 - no exception
    """Predicts Python numbers."""

    def predict(self, scores):
        return np.array([float(score) for score in scores.ravel()])


class Odd(Gate):
    """Depends on the number of rows otherwise than by it."""

    def forward(self, X):
        return X / (2 * len(X) + 1)

    def backward(self, X, dZ):
        return dZ / (2 * len(X) + 1)


# id: model, what the message must hold.
REFUSED = {
    "opaque gate": (lambda: Model([2, Dense(3, Vectorized()), 2]), ["Vectorized at node 'A1'", "forward"]),
    "list": (lambda: Model([2, 1], output=ListOutput()), ["predictions of ListOutput", "tolist"]),
    "floats": (lambda: Model([2, 1], output=FloatOutput()), ["predictions of FloatOutput", "float(x)"]),
    "rows": (lambda: Model([2, Dense(3, Odd()), 2]), ["step", "rows"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case, tmp_path):
    """What cannot be written is a ValueError that says why, and leaves no file."""
    make, parts = REFUSED[case]
    model = make()
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its parts are looked for below
        model.export_numpy(tmp_path / "net.py")
    assert type(caught.value) is ValueError
    assert all(part in str(caught.value) for part in parts), str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["net", "net.txt", "net.PY", ".py", "net.py.txt"])
def test_path(name, tmp_path):
    """A path that does not end in .py is refused."""
    with pytest.raises(ValueError, match=r"must end in \.py"):
        Model([2, 2]).export_numpy(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


class Quantile(OutputGate):
    """A loss of one's own, with a setting."""

    def __init__(self, q):
        self.q = q

    def losses(self, scores, targets):
        return np.maximum(self.q * (targets - scores), (self.q - 1) * (targets - scores))

    def slopes(self, scores, targets):
        return np.where(targets > scores, -self.q, 1 - self.q)

    def predict(self, scores):
        return scores


class Bent(ElementwiseGate):
    """A layer of one's own, with an array."""

    def __init__(self):
        self.bend = np.linspace(0.5, 1, 40)

    def forward(self, X):
        return np.sin(X * self.bend[: X.shape[1]])

    def derivative(self, X):
        return np.cos(X * self.bend[: X.shape[1]]) * self.bend[: X.shape[1]]


def test_gates_of_ones_own(tmp_path):
    """Layers and losses of one's own, their settings included, are part of the file."""
    model = Model([2, Dense(3, Bent()), Dense(30, Bent()), 1], output=Quantile(0.3), random_state=0)
    file = exported(model, tmp_path / "net.py")
    assert_allclose(file["predict"](X), model.predict(X), rtol=1e-13)
    file["train"](X, Y, num_passes=3)
    model.train(X, Y, num_passes=3)
    assert_allclose(file["predict"](X), model.predict(X), rtol=1e-12)


# --- The text --------------------------------------------------------------------------------------------------------


def test_text_is_formatted(tmp_path):
    """The files pass ruff's checks, and come as its formatter writes them."""
    for i, (output, k) in enumerate(OUTPUTS):
        for j, dtype in enumerate((np.float64, np.float32)):
            model = Model([2, 4, 3, k], layer=LAYERS[i % len(LAYERS)], output=output, dtype=dtype, random_state=0)
            model.export_numpy(tmp_path / f"net_{i}_{j}.py")
    Model([200, 20, 2]).export_numpy(tmp_path / "large.py")
    for i, layers in enumerate(DRAWING[:2]):
        normalised(*layers, epochs=0).export_numpy(tmp_path / f"drawing_{i}.py")
    normalised(Dense(600), Dropout(0.5)).export_numpy(tmp_path / "large_averages.py")
    for arguments in (["check", "--select", "E,F,W"], ["format", "--check", "--diff"]):
        command = ["ruff", *arguments, "--isolated", "--line-length", "120", str(tmp_path)]
        done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)  # noqa: S603
        assert done.returncode == 0, done.stdout


class Crowd(Gate):
    """``Z = X`` for few rows, ``Z = 2 X`` for more than a hundred."""

    def forward(self, X):
        return X * (2.0 if len(X) > 100 else 1.0)

    def backward(self, X, dZ):
        return dZ * (2.0 if len(X) > 100 else 1.0)


def test_a_branch_on_the_number_of_rows(tmp_path):
    """What is another program for many rows than for few is not printed, and no file is written."""
    model = Model([2, 3, 2], layer=Crowd(), random_state=0)
    with pytest.raises(ValueError, match="so no text of step fits them all: for 1,009 rows"):
        model.source()
    with pytest.raises(ValueError, match="so no text of step fits"):
        model.export_numpy(tmp_path / "net.py")
    assert list(tmp_path.iterdir()) == []
