"""Files of models: what is loaded is what was saved, to the byte, and goes on training so; what cannot be, is told."""

from __future__ import annotations

import copy
import json
import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open

import gates
import nngraph
from gates import (
    ELU,
    GELU,
    AbsoluteError,
    ConcatenateGate,
    ElementwiseGate,
    ExpGate,
    Gate,
    GatherGate,
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
    OutputGate,
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
    SumGate,
    Tanh,
    TransposeGate,
    VarianceGate,
)
from nngraph import (
    BatchNorm,
    Constant,
    Dense,
    Dropout,
    Input,
    LayerNorm,
    Model,
    Parameter,
    Random,
    Running,
    StorageError,
    load,
)
from nngraph.storage import writing
from nngraph.storage.decoding import Decoder
from nngraph.storage.encoding import Encoder
from nngraph.storage.file import text_of
from nngraph.storage.kinds import OURS

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 4))
Y = (X[:, 0] > 0).astype(int)


def everything(model):
    """Return all that a model is, as bytes."""
    parts = {name: (v.dtype, v.shape, v.tobytes()) for name, v in model.parameters.items()}
    parts |= {f"running {i}": (n.value.dtype, n.value.tobytes()) for i, n in enumerate(model.graph.running)}
    nodes = [
        (name, repr(node.gate), type(node)) for name, node in zip(model.graph.names, model.graph.nodes, strict=True)
    ]
    random = model._random
    state = random.get_state(legacy=False) if isinstance(random, np.random.RandomState) else random.bit_generator.state
    return parts, nodes, repr(model.output), model.dtype, model.engine, model._width, model.loss_history, repr(state)


def listed(folder):
    """Return the names in a folder, hidden ones too."""
    return sorted(path.name for path in Path(folder).iterdir())


def round_trip(model, path, gates=(), X=X, y=Y, **options):
    """Save and load a model, and hold both to each other: what they are, predict, and become."""
    model.save(path)
    before = everything(model)
    loaded = load(path, gates=gates)
    assert everything(loaded) == before == everything(model)
    assert type(loaded) is Model
    with np.errstate(all="ignore"):
        assert loaded.predict(X).tobytes() == model.predict(X).tobytes()
        for one in (model, loaded):
            one.fit(X, y, **{"epochs": 2, "batch_size": 5, "progress": False, **options})
    assert everything(loaded) == everything(model)
    again = path.with_name("again")
    loaded.save(again)
    model.save(path)
    assert again.read_bytes() == path.read_bytes()
    return loaded


class Scaled(ElementwiseGate):
    """A user's gate, with settings of all kinds, and an `__init__` that is not to be called again."""

    made = 0

    def __init__(self, factor):
        type(self).made += 1
        self.factor = factor
        self.settings = (1, -0.0, None, [True, "a\ud800\0b", {1: 2.5, "x": (slice(0, None, 2), ...)}], 10**40, 5e-324)
        self.odd = (float("nan"), float("-inf"), np.float32(0.1), np.bool_(1), np.int8(-3), np.complex128(1 - 2j))
        self.arrays = {"f": np.asfortranarray([[1.0, 2.0], [3.0, 4.0]]), "i": np.arange(3, dtype=np.uint8)}
        self.types = [np.dtype("float32"), np.float32, int, np.bool]
        self.inner = LeakyReLU(0.25)

    def forward(self, X):
        return self.inner.forward(X * self.factor)

    def derivative(self, X):
        return self.inner.derivative(X * self.factor) * self.factor


class Quantile(OutputGate):
    """A user's output, without super().__init__."""

    def __init__(self, q):
        self.q = q

    def losses(self, scores, targets):
        return np.maximum(self.q * (targets - scores), (self.q - 1) * (targets - scores))

    def slopes(self, scores, targets):
        return np.where(targets > scores, -self.q, 1 - self.q)


def noise(rng, out):
    rng.standard_normal(out=out)


# --- Round trips -----------------------------------------------------------------------------------------------------


def weight(*shape, name="W"):
    return Parameter(np.random.default_rng(1).normal(size=shape) * 0.3, name)


def head(node, width=4):
    """Return two scores for some columns."""
    return MultiplyGate()(weight(width, 2, name="last"), node)


# A graph for every gate that can stand in a model: from the features, four columns, to two scores.
GRAPHS = {
    "MultiplyGate": head,
    "AddGate": lambda x: head(x + weight(4)),
    "SubtractGate": lambda x: head(x - weight(4)),
    "ElementwiseProductGate": lambda x: head(x * weight(4)),
    "DivideGate": lambda x: head(x / (weight(4) * weight(4, name="V") + 1.0)),
    "PowerGate": lambda x: head(PowerGate()(ExpGate()(x * 0.1), weight(4))),
    "ExpGate": lambda x: head(ExpGate()(x * 0.1)),
    "LogGate": lambda x: head(LogGate()(ExpGate()(x) + 1)),
    "NegateGate": lambda x: head(-x),
    "MaximumGate": lambda x: head(MaximumGate()(x, weight(4))),
    "MinimumGate": lambda x: head(MinimumGate()(x, weight(4))),
    "SumGate": lambda x: head(x * SumGate(axis=(1,), keepdims=True)(x)),
    "MeanGate": lambda x: head(x - MeanGate(axis=-1, keepdims=True)(x)),
    "VarianceGate": lambda x: head(x * VarianceGate(1, keepdims=True)(x)),
    "ReshapeGate": lambda x: ReshapeGate((-1, 2))(ReshapeGate([-1, 4])(x) @ weight(4, 2)),
    "TransposeGate": lambda x: TransposeGate([1, 0])(TransposeGate()(head(x))),
    "ConcatenateGate": lambda x: head(ConcatenateGate(axis=1)(x, x * 2), 8),
    "SliceGate": lambda x: head(SliceGate(np.s_[..., np.int64(1):])(x), 3),
    "GatherGate": lambda x: head(x + GatherGate()(weight(3, 4), Constant(np.array(1)))),
    "Sigmoid": lambda x: head(Sigmoid()(x)),
    "Tanh": lambda x: head(Tanh()(x)),
    "ReLU": lambda x: head(ReLU()(x)),
    "LeakyReLU": lambda x: head(LeakyReLU(0.3)(x)),
    "ELU": lambda x: head(ELU(0.7)(x)),
    "GELU": lambda x: head(GELU()(x)),
    "SiLU": lambda x: head(SiLU()(x)),
    "Softplus": lambda x: head(Softplus()(x)),
    "SoftmaxLayer": lambda x: head(SoftmaxLayer(axis=1)(x)),
    "StandardizeGate": lambda x: head(
        StandardizeGate(1e-3)(x, MeanGate(0)(x), VarianceGate(0)(x), weight(4, name="gamma"), weight(4, name="beta"))
    ),
    "LayerNormGate": lambda x: head(LayerNormGate(1e-3)(x, weight(4, name="gamma"), weight(4, name="beta"))),
}  # fmt: skip


def test_every_gate_has_a_graph():
    """The table has all public gates; outputs are in the next one."""
    assert {name for name, kind in OURS.items() if not issubclass(kind, OutputGate)} == GRAPHS.keys()
    public = {
        name for name in gates.__all__ if isinstance(kind := getattr(gates, name), type) and issubclass(kind, Gate)
    }
    assert public - OURS.keys() == {"ClassOutput", "Gate", "ElementwiseGate", "OutputGate"}


@pytest.mark.parametrize("name", GRAPHS)
def test_every_gate(name, tmp_path):
    """A net with the gate in it comes back."""
    scores = GRAPHS[name](Input("features"))
    assert name in {type(node.gate).__name__ for node in nngraph.Graph(scores).nodes}
    round_trip(Model(scores, random_state=3), tmp_path / "model")


OUTPUTS = [
    (Softmax(), Y),
    (Softmax(class_weight=[1.0, np.float32(0.3)], reduction="sum"), Y),
    (Softmax(class_weight={1: 3, 0: 0.1}), Y),
    (Logistic(class_weight=np.array([0.1, 2.0])), np.column_stack([Y, 1 - Y])),
    (Hinge(0.7, class_weight=(1, 2)), Y),
    (SquaredError(reduction="sum"), X[:, :2]),
    (AbsoluteError(), X[:, :2]),
    (Huber(0.3), X[:, :2]),
    (gates.HalfSquaredError(reduction="batchmean"), X[:, :2]),
    (gates.Poisson(), np.abs(X[:, :2])),
    (Quantile(0.9), X[:, :2]),
]


@pytest.mark.parametrize(("output", "y"), OUTPUTS, ids=repr)
def test_every_output(output, y, tmp_path):
    """A net with the output comes back, also one of a user's class."""
    model = Model([4, 3, 2], output=output, random_state=0)
    loaded = round_trip(model, tmp_path / "model", gates=[Quantile], y=y)
    assert repr(vars(loaded.output)) == repr(vars(output))


def test_every_output_is_in_the_table():
    """No public output is left out."""
    public = {kind for kind in OURS.values() if issubclass(kind, OutputGate)}
    assert public | {Quantile} == {type(output) for output, _ in OUTPUTS}


def shared():
    """Return a net whose two layers have one weight, which ends in a column."""
    W = weight(4, 4)
    return Tanh()(Tanh()(Input("x") @ W) @ W) @ weight(4, 2, name="out")


def noisy():
    """Return a net with noise that comes before the node whose shape it has."""
    z = Tanh()(Input("x") @ weight(4, 2))
    drawn = Random(noise, like=z, value=0.5, name="noise")
    return (
        z * (drawn * 0.1 + 1.0)
        + Constant([[1, 2]], "whole") * Constant(True)
        + Running(MeanGate(0)(z), [0.0, 0.0], np.float64(0.25), name="average")
    )


MODELS = {
    "widths": lambda: Model([4, 3, 2], random_state=0),
    "float32": lambda: Model([4, 8, 2], random_state=0, dtype=np.float32, layer=GELU()),
    "no bias": lambda: Model([4, 3, 2], use_bias=False, last_layer=Tanh(), random_state=0),
    "layers": lambda: Model(
        [4, Dense(5, ReLU()), BatchNorm(0.3), Dropout(0.4), LayerNorm(), Tanh(), Dropout(0.1), 2], random_state=0
    ),
    "batch norm in float32": lambda: Model([4, Dense(5), BatchNorm(), 2], dtype="float32", random_state=0),
    "node by node": lambda: Model([4, Dropout(np.float32(0.5)), 3, 2], engine="graph", random_state=0),
    "shared": lambda: Model(shared(), random_state=0),
    "noisy": lambda: Model(noisy(), random_state=0),
    "a number beside float32": lambda: Model(
        Input("x") @ Parameter(np.ones((4, 2), np.float32)) * 2 + 1, random_state=0
    ),
    "columns first": lambda: Model(Input("x") @ Parameter(np.asfortranarray(X[:4, :2])), random_state=0),
    "odd names": lambda: Model(
        Input("../X") @ Parameter(X[:4, :2], "__metadata__") + Parameter([0.0, 0.0], "\ud800\0/../\u00e9"),
        random_state=0,
    ),
    "array 0": lambda: Model(
        Input("x") @ Parameter(X[:4, :2], "array 2")
        + Parameter([0.0, 0.0], "__metadata__")
        + Parameter(1.0, "loss_history")
    ),
    "a user's gates": lambda: Model([4, Dense(3, Scaled(0.5)), Scaled(np.float64(2)), 2], random_state=0),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_kind_of_model(name, tmp_path):
    """Models of all kinds come back."""
    model = MODELS[name]()
    made = Scaled.made
    loaded = round_trip(model, str(tmp_path / "model") and tmp_path / "model", gates=[noise, Scaled])
    assert Scaled.made == made
    flags = [
        [n.value.flags.f_contiguous for n in one.graph.nodes if isinstance(n, Parameter)] for one in (model, loaded)
    ]
    assert flags[0] == flags[1]


def test_an_embedding(tmp_path):
    """A net whose input are row numbers comes back, and refuses other numbers as before."""
    rows = RNG.integers(0, 5, (12, 1))
    embedded = GatherGate()(weight(5, 3), Input("rows", int))
    model = Model(ReshapeGate((-1, 3))(embedded) @ weight(3, 2, name="V"), random_state=0)
    loaded = round_trip(model, tmp_path / "model", X=rows)
    with pytest.raises(ValueError, match="X must be integers"):
        loaded.predict(rows + 0.5)


def test_the_settings_of_a_gate(tmp_path):
    """All kinds of settings come back to the bit, with their types."""
    gate = Scaled(np.float64(0.1))
    Model([4, Dense(3, gate), 2]).save(tmp_path / "model")
    found = load(tmp_path / "model", gates=[gate]).graph
    (loaded,) = [node.gate for node in found.nodes if isinstance(node.gate, Scaled)]
    # Pickle of the same values in the same structure; it knows of signs of zero, payloads, orders of arrays.
    assert pickle.dumps(copy.deepcopy(vars(loaded))) == pickle.dumps(copy.deepcopy(vars(gate)))
    assert loaded.arrays["f"].flags.f_contiguous
    assert loaded.arrays["i"].flags.writeable


def test_one_gate_of_many_nodes_stays_one(tmp_path):
    """Nodes that share a gate share one again."""
    Model([4, 3, 3, 3, 2], layer=LeakyReLU(0.2)).save(tmp_path / "model")
    nodes = load(tmp_path / "model").graph.nodes
    assert len({id(node.gate) for node in nodes if isinstance(node.gate, LeakyReLU)}) == 1


def test_a_deep_net(tmp_path):
    """A thousand layers need no recursion; a file may be of any depth."""
    model = Model([2, *[2] * 1000, 2], random_state=0)
    model.save(tmp_path / "model")
    assert everything(load(tmp_path / "model")) == everything(model)


GENERATORS = [
    lambda: 7,
    lambda: None,
    lambda: np.random.RandomState(3),
    lambda: np.random.RandomState(np.random.Philox(3)),
    *(lambda kind=kind: np.random.Generator(kind(5)) for kind in (
        np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64
    )),
]  # fmt: skip


@pytest.mark.parametrize("make", GENERATORS)
def test_the_generator(make, tmp_path):
    """The state of the generator comes back, whichever it is, fresh and after odd numbers of draws."""
    random = make()
    if hasattr(random, "standard_normal"):
        random.standard_normal(dtype=np.float32) if isinstance(
            random, np.random.Generator
        ) else random.standard_normal()
        random.integers(3, dtype=np.uint8) if isinstance(random, np.random.Generator) else random.randint(3)
    model = Model([4, Dropout(0.2), 3, 2], random_state=random)
    round_trip(model, tmp_path / "first")
    round_trip(model, tmp_path / "second")


def test_what_train_remembers(tmp_path):
    """The losses of `train` come back, and it goes on from them."""
    model = Model([4, 3, 2], random_state=0)
    model.train(X, Y, num_passes=3)
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    for one in (model, loaded):
        one.train(X, Y, num_passes=2)
    assert loaded.loss_history == model.loss_history
    assert len(loaded.loss_history) == 6


def test_weights_that_are_not_finite(tmp_path):
    """A file is no judge: nan and infinity come back, in parameters and in running averages."""
    model = Model([4, Dense(3), BatchNorm(), 2], random_state=0)
    model.W[0][0, 0], model.b[0][1] = np.nan, -np.inf
    model.graph.running[0].value[0] = np.inf
    model.save(tmp_path / "model")
    assert everything(load(tmp_path / "model")) == everything(model)


LAYERS = st.one_of(
    st.integers(1, 4),
    st.builds(Dense, st.integers(1, 4), st.sampled_from([None, ReLU(), ELU(0.3), SoftmaxLayer(), Scaled(0.3)])),
    st.builds(Dropout, st.floats(0, 0.9)),
    st.builds(BatchNorm, st.floats(0, 1), st.floats(1e-6, 1)),
    st.builds(LayerNorm, st.floats(1e-6, 1)),
    st.sampled_from([Tanh(), LeakyReLU(0.1), Softplus()]),
)


# Of random nets some get worse in two epochs.
@pytest.mark.filterwarnings("ignore:Training made the model worse")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    layers=st.lists(LAYERS, max_size=6),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 2**32 - 1),
    use_bias=st.booleans(),
)
def test_random_architectures(tmp_path, layers, dtype, seed, use_bias):
    """Whatever stands in an architecture comes back, and trains on to the same bytes."""
    model = Model([4, *layers, Dense(2)], dtype=dtype, random_state=seed, use_bias=use_bias, engine="graph")
    round_trip(model, tmp_path / "model", gates=[Scaled])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    | st.sampled_from([..., np.float64, int, Tanh()])
    | st.floats(width=32).map(np.float32) | st.lists(st.floats()).map(np.array),
    lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple)
    | st.dictionaries(st.text() | st.integers() | st.tuples(st.integers(), st.text()), inner, max_size=3)
    | st.builds(slice, inner, inner, inner),
    max_leaves=12,
)  # fmt: skip


@given(VALUES)
def test_any_settings(value):
    """A value and what comes back print alike, types and signs of zeros included, through JSON."""
    encoder = Encoder()
    text = text_of(encoder.value(value, "here"))
    back = Decoder(encoder.arrays, {}, Path("there")).value(json.loads(text))
    assert type(back) is type(value)
    assert repr(back) == repr(value)


# --- What a file is --------------------------------------------------------------------------------------------------


def test_one_model_gives_one_file(tmp_path):
    """The bytes depend on the model alone: not on the process, nor on what was saved before."""
    code = (
        "import sys, nngraph; from nngraph import Model, Dense, BatchNorm\n"
        "Model([3, Dense(4), BatchNorm(), 2], random_state=0).save(sys.argv[1])"
    )
    for i in range(2):
        environment = {**os.environ, "PYTHONHASHSEED": str(i)}
        subprocess.run([sys.executable, "-c", code, tmp_path / str(i)], check=True, env=environment)  # noqa: S603 - our own code
    assert (tmp_path / "0").read_bytes() == (tmp_path / "1").read_bytes()


def test_the_library_reads_it(tmp_path):
    """It is a safetensors file: the library has the parameters by their names, and the texts."""
    model = Model([4, Dense(3), BatchNorm(), 2], random_state=0, dtype=np.float32)
    model.save(tmp_path / "model.safetensors")
    with safe_open(tmp_path / "model.safetensors", framework="np") as file:
        assert {"W1", "b1", "gamma1", "mean1", "loss_history"} <= set(file.keys())
        assert file.get_tensor("W1").tobytes() == model.W[0].tobytes()
        texts = file.metadata()
    assert (texts["format"], texts["version"]) == ("nngraph", "1")
    assert texts.keys() == {"format", "version", "model", "digest"}
    assert [node["name"] for node in json.loads(texts["model"])["nodes"]][:3] == ["W1", "X", "XW1"]


def test_a_saved_model_is_not_looked_at_by_its_name(tmp_path, monkeypatch):
    """A path may be a str or a Path, relative, with any suffix; a link stays a link; permissions stay."""
    monkeypatch.chdir(tmp_path)
    model = Model([4, 3, 2], random_state=0)
    model.save("odd name.\u00e9 {x}")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder" / "real")
    model.save("link")
    (tmp_path / "link").chmod(0o640)
    model.save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert stat.S_IMODE((tmp_path / "folder" / "real").stat().st_mode) == 0o640
    long = "x" * 255
    model.save(long)
    for path in ("odd name.\u00e9 {x}", "folder/real", long):
        assert everything(load(path)) == everything(model)
    assert listed(".") == sorted(["odd name.\u00e9 {x}", "folder", "link", long])
    assert listed("folder") == ["real"]
    with pytest.raises(ValueError, match=r"path must be a path, a str or a pathlib\.Path, got 3"):
        model.save(3)
    with pytest.raises(ValueError, match="path must be a path"):
        load(None)


# --- What cannot be saved --------------------------------------------------------------------------------------------


class Holder(ElementwiseGate):
    """A gate with an attribute of any kind."""

    def __init__(self, thing):
        self.thing = thing

    def forward(self, X):
        return X

    def derivative(self, X):
        return np.ones_like(X)


class Slotted(Holder):
    __slots__ = ("more",)


nested = []
nested.append(nested)
HOPELESS = [
    (lambda: Holder(np.tanh), "node 'A1', Holder, attribute 'thing': <ufunc 'tanh'> cannot be stored; settings may be"),
    (lambda: Holder([1, {2: lambda x: x}]), "attribute 'thing': <function .*> cannot be stored"),
    (lambda: Holder(object()), "attribute 'thing': <object object .*> cannot be stored"),
    (lambda: Holder({1, 2}), r"\{1, 2\} cannot be stored"),
    (lambda: Holder(Holder(3j)), "A1', Holder, attribute 'thing', Holder, attribute 'thing': 3j cannot be stored"),
    (lambda: Holder(nested), "is nested more than 20 deep"),
    (lambda: Holder(10**5000), "cannot be stored"),
    (lambda: Holder(np.array(["a"])), "an array of dtype <U1 cannot be stored; convert it to one of float64"),
    (lambda: Holder(np.zeros(2, ">f8")), "an array of dtype >f8 cannot be stored"),
    (lambda: Holder(np.longdouble(1)), "cannot be stored"),
    (lambda: Holder(np.dtype([("a", int)])), "cannot be stored"),
    (lambda: Holder(Path("x")), "cannot be stored"),
    (lambda: Slotted(1), "Slotted: has __slots__ .'more'., and settings are attributes in its __dict__"),
    (lambda: Holder(type("Holder", (Holder,), {})(1)), "two classes or functions are called 'Holder'; rename one"),
]


@pytest.mark.parametrize(("make", "message"), HOPELESS)
def test_what_cannot_be_stored(make, message, tmp_path):
    """An error names node, gate and attribute, and nothing is written."""
    (tmp_path / "model").write_text("as before")
    with pytest.raises(StorageError, match=message):
        Model([4, Dense(3, make()), 2]).save(tmp_path / "model")
    assert (tmp_path / "model").read_text() == "as before"
    assert listed(tmp_path) == ["model"]


def test_gates_of_ours_that_no_constructor_makes(tmp_path):
    """What was done to a gate afterwards would not come back."""
    for name, value in (("slope", float("nan")), ("more", 1), ("slope", 1)):
        gate = LeakyReLU(0.2)
        setattr(gate, name, value)
        with pytest.raises(StorageError, match="is not what its constructor would make of its attributes"):
            Model([4, Dense(3, gate), 2]).save(tmp_path / "model")
    assert listed(tmp_path) == []


class Drawer:
    def __call__(self, rng, out):
        rng.random(out=out)

    def draw(self, rng, out):
        rng.random(out=out)


@pytest.mark.parametrize(
    "draw", [lambda rng, out: rng.random(out=out), Drawer(), Drawer().draw, np.random.Generator.bytes]
)
def test_draws_that_have_no_name(draw, tmp_path):
    """What a file can only name must have a name."""
    X = Input("x")
    model = Model((X + Random(draw, like=X, name="noise")) @ weight(4, 2))
    with pytest.raises(
        StorageError, match=r"node 'noise': .* has no name by which it could be found again; write it with"
    ):
        model.save(tmp_path / "model")


def test_a_generator_that_is_none_of_numpys(tmp_path):
    """It is named."""

    class Odd(np.random.PCG64):
        pass

    model = Model([4, 2], random_state=np.random.Generator(Odd(0)))
    with pytest.raises(StorageError, match="a generator based on 'Odd' cannot be stored"):
        model.save(tmp_path / "model")


def test_a_description_without_end(tmp_path, monkeypatch):
    """What could not be read again is not written."""
    monkeypatch.setattr(writing, "HEADER_LIMIT", 2000)
    with pytest.raises(StorageError, match=r"the description of the model has [0-9]+ bytes, more than the 2000"):
        Model([4, 3, 3, 3, 3, 3, 2]).save(tmp_path / "model")
    assert listed(tmp_path) == []


# --- Gates by name ---------------------------------------------------------------------------------------------------


def test_gates_that_are_not_given(tmp_path):
    """A gate, an output, and a function that are the user's must be given."""
    for model, name in (
        (Model([4, Dense(3, Holder(1)), 2]), "the gate 'Holder'"),
        (Model([4, 2], output=Quantile(0.3)), "the gate 'Quantile'"),
        (Model(noisy()), "the function 'noise'"),
    ):
        model.save(tmp_path / "model")
        with pytest.raises(StorageError, match=f"{name}, which is none of nngraph's; give it: nngraph.load"):
            load(tmp_path / "model")
        with pytest.raises(StorageError, match=f"{name}.*gates=.* has Scaled; give it"):
            load(tmp_path / "model", gates=[Scaled])


def test_a_users_gate_that_is_called_as_ours(tmp_path):
    """It is taken where it was saved, and only there."""

    class Tanh(Holder):
        def forward(self, X):
            return 3 * X

    assert OURS["Tanh"] is gates.Tanh
    Model([4, Dense(3, Tanh(1)), 2], random_state=0).save(tmp_path / "theirs")
    Model([4, Dense(3, gates.Tanh()), 2], random_state=0).save(tmp_path / "ours")

    def kind(name, given):
        graph = load(tmp_path / name, gates=given).graph
        return type(graph.nodes[graph.position("A1")].gate)

    with pytest.raises(StorageError, match="has the gate 'Tanh', which is none of nngraph's"):
        load(tmp_path / "theirs")
    assert kind("theirs", [Tanh]) is Tanh
    assert kind("ours", [Tanh]) is gates.Tanh
    with pytest.raises(ValueError, match="gates has two that are called 'Tanh'"):
        load(tmp_path / "ours", gates=[Tanh, gates.Tanh])
    assert kind("theirs", [Tanh, Tanh(3)]) is Tanh


@pytest.mark.parametrize("given", [Tanh, "Tanh", {"Tanh": Tanh}, [3], ["Tanh"], [int], [np.tanh], 5])
def test_gates_must_be_gates(given, tmp_path):
    """What cannot be meant is refused, before the file is looked at."""
    with pytest.raises(ValueError, match="gates must be a list of gates or their classes, and functions that draw"):
        load(tmp_path / "nothing", gates=given)


def test_nothing_is_imported_by_the_files_word(tmp_path):
    """Loading runs nothing of the user's: no `__init__`, `__setattr__`, `__setstate__`; and no module comes in."""

    class Loud(Holder):
        def __init__(self, thing):
            vars(self).update(thing=thing)

        def __setattr__(self, name, value):
            raise AssertionError(name)

        def __setstate__(self, state):
            raise AssertionError(state)

    Model([4, Dense(3, Loud(1)), 2]).save(tmp_path / "model")
    load(tmp_path / "model", gates=[Loud])
    before = set(sys.modules)
    load(tmp_path / "model", gates=[Loud])
    assert set(sys.modules) == before
