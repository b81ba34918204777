"""Trainings that are resumed: to the byte as if they had never stopped, however they stopped; or refused."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
import warnings

import numpy as np
import pytest

import nngraph
from gates import ReLU, SquaredError
from nngraph import BatchNorm, DivergenceError, Dropout, Model, StorageError
from nngraph.callbacks import Callback, Checkpoint, CSVLog, EarlyStopping, ProgressBar, Target, TimeLimit
from nngraph.optimizers import (
    Adagrad,
    Adam,
    AdamW,
    GradientDescent,
    Momentum,
    Nesterov,
    Optimizer,
    RMSprop,
    ScipyMinimize,
)
from nngraph.penalties import L1, L2, ElasticNet
from nngraph.schedules import Constant as Steady
from nngraph.schedules import Cosine, ExponentialDecay, InverseTime, Plateau, StepDecay, WarmUp
from nngraph.storage.encoding import Encoder
from nngraph.storage.generators import state_of
from nngraph.storage.reading import read_file
from nngraph.storage.writing import write_file
from tests.test_storage import everything, listed

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)
EPOCHS = 6


class Stopped(Exception):  # noqa: N818 - no error of a program: somebody pulls the plug
    pass


class Stop(Callback):
    """Raises an error at an event of an epoch."""

    def __init__(self, event="", epoch=-1, error=Stopped, batch=0):
        self.at, self._error = (event, epoch, batch), error

    def _look(self, event, training):
        if (event, training.epoch, 0 if event.startswith("epoch") else training.batch) == self.at:
            raise self._error

    def epoch_begin(self, training):
        self._look("epoch_begin", training)

    def batch_begin(self, training):
        self._look("batch_begin", training)

    def batch_end(self, training):
        self._look("batch_end", training)

    def epoch_end(self, training):
        self._look("epoch_end", training)


def plain(**options):
    return Model([3, 4, 2], random_state=0, **options)


def rich(**options):
    return Model([3, 4, BatchNorm(), Dropout(0.2), 3, 2], random_state=0, **options)


def whole(model, history):
    """Return all that is left of a training, but for the time that it took."""
    rows = [{name: value for name, value in row.items() if name != "seconds"} for row in history.rows()]
    return everything(model), repr(rows), history.stopped


def fitted(make, options, **more):
    """Return a model, its history, and the callbacks, after a fit."""
    model, arguments = make(), {name: call() for name, call in options.items()}
    callbacks = [*arguments.pop("callbacks", []), *more.pop("callbacks", [])]
    settings = {"epochs": EPOCHS, "batch_size": 16, "progress": False, **arguments, "callbacks": callbacks, **more}
    # That some small trainings make the model worse is told at the end of both.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Training made the model worse|Training was interrupted")
        return model, model.fit(X, Y, **settings), callbacks


def told(callbacks):
    """Return what callbacks have to tell."""
    return [(type(one).__name__, one.best, one.best_epoch) for one in callbacks if isinstance(one, EarlyStopping)]


def check_resumes(path, make, options, stop=None, **more):
    """Stop a training, resume it with a new model, and compare it with one that was never stopped."""
    model, history, callbacks = fitted(make, options, **more)
    with contextlib.suppress(Stopped, KeyboardInterrupt):
        fitted(make, options, callbacks=[stop or Stop("batch_end", 3), Checkpoint(path)], **more)
    again, later, others = fitted(make, options, resume=path, **more)
    assert whole(again, later) == whole(model, history)
    assert told(others) == told(callbacks)
    assert (np.diff(later["seconds"]) >= 0).all()
    # And the generator that a training was given, or drew from, goes on alike.
    for one in (model, again):
        one.fit(X, Y, epochs=1, progress=False)
    assert everything(again) == everything(model)


OPTIMIZERS = [
    lambda: GradientDescent(0.1),
    lambda: Momentum(0.05),
    lambda: Nesterov(0.05),
    lambda: Adagrad(0.1, rate_decay=0.1),
    lambda: RMSprop(0.01),
    lambda: Adam(0.02),
    lambda: AdamW(0.02),
]
SCHEDULES = [
    lambda: None,
    Steady,
    lambda: StepDecay(0.5, every=2),
    lambda: ExponentialDecay(0.9),
    lambda: InverseTime(0.3),
    Cosine,
    lambda: WarmUp(3, Cosine()),
    lambda: Plateau(0.5, patience=0, threshold=0.05, cooldown=1),
    lambda: WarmUp(1.5, Plateau(0.5, patience=0, threshold=0.1)),
    lambda: lambda epoch, epochs: 1 - epoch / (2 * epochs),
]


@pytest.mark.parametrize("size", [40, 16, 1])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda make: type(make()).__name__)
def test_optimisers(optimizer, size, tmp_path):
    """Each optimiser, in full batches, in some with a rest, and one example at a time."""
    check_resumes(tmp_path / "checkpoint", plain, {"optimizer": optimizer}, batch_size=size)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda make: type(make()).__name__)
def test_schedules(schedule, tmp_path):
    """Each schedule, and a function."""
    check_resumes(tmp_path / "checkpoint", plain, {"schedule": schedule})
    check_resumes(tmp_path / "checkpoint", plain, {"schedule": schedule}, batch_size=40, validation=0.25)


class SignDescent(Optimizer):
    """A user's optimiser with two arrays to remember and a number that changes."""

    def start(self, theta):
        return np.zeros_like(theta), np.ones_like(theta)

    def numbers(self, rate, step):
        return rate / step, 0.5

    def update(self, theta, gradient, rate, keep, mean, sign):
        mean = keep * mean + gradient
        return theta - rate * np.sign(mean) * sign, mean, np.maximum(0.9 * sign, 0.5)


OPTIONS = {
    "dropout and batch norm": (rich, {}),
    "float32": (lambda: rich(dtype=np.float32), {}),
    "node by node": (lambda: rich(engine="graph"), {"batch_size": lambda: 12}),
    "a fraction held out": (rich, {"validation": lambda: 0.3, "metrics": lambda: ["accuracy"]}),
    "validation": (rich, {"validation": lambda: (X[:9], Y[:9]), "metrics": lambda: ["accuracy"]}),
    "penalties": (plain, {"penalty": lambda: {"W1": L1(0.01), "b1": L2(0.1), "W2": ElasticNet(0.1, 0.01)}}),
    "clipping": (plain, {"penalty": lambda: L2(0.1), "clip_norm": lambda: 0.05}),
    "weights": (rich, {"sample_weight": lambda: np.arange(40.0), "class_weight": lambda: {0: 2.0}}),
    "in order": (rich, {"shuffle": lambda: False}),
    "full batches with dropout": (rich, {"batch_size": lambda: 40, "validation": lambda: 0.2}),
    "an optimiser of the user's": (plain, {"optimizer": lambda: SignDescent(0.05)}),
    "random_state int": (rich, {"random_state": lambda: 3, "validation": lambda: 0.2}),
    "random_state Generator": (rich, {"random_state": lambda: np.random.Generator(np.random.Philox(3))}),
    "random_state RandomState": (rich, {"random_state": lambda: np.random.RandomState(3), "validation": lambda: 0.2}),
    "a model with a Generator": (
        lambda: Model([3, 4, Dropout(0.2), 2], random_state=np.random.Generator(np.random.SFC64(1))), {}
    ),
    "a model with a RandomState": (lambda: Model([3, Dropout(0.2), 2], random_state=np.random.RandomState(1)), {}),
    "a RandomState of which nothing is drawn": (
        lambda: Model([3, Dropout(0.2), 2], random_state=np.random.RandomState(1)), {"random_state": lambda: 3}
    ),
    "early stopping": (
        rich, {"callbacks": lambda: [EarlyStopping(2)], "validation": lambda: 0.3, "optimizer": lambda: Adam(0.3)}
    ),
    "early stopping that goes on": (
        rich,
        {"callbacks": lambda: [EarlyStopping(20, min_delta=0.05)], "validation": lambda: 0.3,
         "optimizer": lambda: Adam(0.1)},
    ),
    "early stopping without weights": (
        plain, {"callbacks": lambda: [EarlyStopping(1, monitor="loss", min_delta=0.1, restore_best=False)]}
    ),
    "a target": (plain, {"callbacks": lambda: [Target(0.6), TimeLimit(1000)], "optimizer": lambda: Adam(0.05)}),
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIONS)
def test_options(name, tmp_path):
    """Each thing that fit may be told, and kinds of models."""
    make, options = OPTIONS[name]
    check_resumes(tmp_path / "checkpoint", make, options)


PLACES = [(event, epoch) for event in ("epoch_begin", "batch_begin", "batch_end", "epoch_end") for epoch in range(1, 6)]


@pytest.mark.parametrize("error", [Stopped, KeyboardInterrupt])
@pytest.mark.parametrize("place", PLACES, ids=str)
def test_wherever_it_stops(place, error, tmp_path):
    """By an error or by Ctrl-C, at any event of any epoch."""
    options = {"callbacks": lambda: [EarlyStopping(3)], "validation": lambda: 0.3, "schedule": lambda: Plateau(0.5, 0)}
    check_resumes(tmp_path / "checkpoint", rich, options, Stop(*place, error=error))


def test_several_stops_and_checkpoints_not_of_every_epoch(tmp_path):
    """A training may be resumed again and again, from files that are some epochs old, each with its number."""
    model, history, _ = fitted(rich, {})
    path = tmp_path / "at {epoch}"
    with pytest.raises(Stopped):
        fitted(rich, {}, callbacks=[Checkpoint(path, every=2), Stop("batch_end", 3)])
    assert listed(tmp_path) == ["at 2"]
    with pytest.raises(Stopped):
        fitted(rich, {}, callbacks=[Stop("batch_end", 5), Checkpoint(path, every=3)], resume=tmp_path / "at 2")
    assert listed(tmp_path) == ["at 2", "at 3"]
    again, later, _ = fitted(rich, {}, callbacks=[Checkpoint(str(path), every=4)], resume=str(tmp_path / "at 3"))
    assert whole(again, later) == whole(model, history)
    # After the last epoch there is always one.
    assert listed(tmp_path) == ["at 2", "at 3", "at 4", "at 6"]


def test_a_finished_training(tmp_path):
    """With as many epochs there is nothing to do; with more it goes on."""
    path = tmp_path / "checkpoint"
    model, history, _ = fitted(rich, {}, callbacks=[Checkpoint(path)])
    again, same, _ = fitted(rich, {}, resume=path)
    assert whole(again, same) == whole(model, history)
    assert same["seconds"].tolist() == history["seconds"].tolist()
    longer, much, _ = fitted(rich, {}, resume=path, epochs=9)
    alone, all_of_it, _ = fitted(rich, {}, epochs=9)
    assert whole(longer, much) == whole(alone, all_of_it)


def test_a_training_that_a_callback_has_ended(tmp_path):
    """It is over: the best weights come back, with the reason, and no callback hears of an epoch."""
    path = tmp_path / "checkpoint"
    heard = []

    class Hear(Callback):
        def epoch_begin(self, training):
            heard.append(training.epoch)

    stopping = {"callbacks": lambda: [EarlyStopping(1, monitor="loss", min_delta=0.2), Hear()]}
    model, history, callbacks = fitted(plain, stopping, callbacks=[Checkpoint(path, every=100)])
    assert history.epochs < EPOCHS
    assert "has not been better" in history.stopped
    heard.clear()
    again, later, others = fitted(plain, stopping, resume=path, epochs=50)
    assert whole(again, later) == whole(model, history)
    assert told(others) == told(callbacks)
    assert heard == []


def test_the_model_of_a_checkpoint(tmp_path):
    """A checkpoint is a file of a model, too; and its model goes on like any other."""
    path = tmp_path / "checkpoint"
    model, history, _ = fitted(rich, {}, epochs=3, callbacks=[Checkpoint(path)])
    loaded = nngraph.load(path)
    assert everything(loaded) == everything(model)
    on = loaded.fit(X, Y, epochs=EPOCHS, batch_size=16, resume=path, progress=False)
    whole_model, all_of_it, _ = fitted(rich, {})
    assert whole(loaded, on) == whole(whole_model, all_of_it)
    assert history.epochs == 3


def test_a_model_that_was_trained_before(tmp_path):
    """What the model was when its second training began comes from the file: a new model will do."""
    path = tmp_path / "checkpoint"

    def twice(model, **options):
        model.train(X, Y, num_passes=2, epsilon=0.001)
        model.fit(X, Y, epochs=2, progress=False)
        return model.fit(X, Y, epochs=EPOCHS, batch_size=16, progress=False, random_state=5, **options)

    model = rich()
    history = twice(model)
    with pytest.raises(Stopped):
        twice(rich(), callbacks=[Checkpoint(path), Stop("batch_end", 4)])
    again = rich()
    later = again.fit(X, Y, epochs=EPOCHS, batch_size=16, progress=False, random_state=5, resume=path)
    assert whole(again, later) == whole(model, history)
    assert len(again.loss_history) == 3


def test_a_divergence_after_resuming(tmp_path):
    """It is told, and leaves the same weights, as in a training that was not stopped."""
    path = tmp_path / "checkpoint"

    def diverge(**options):
        model = Model([3, 1], output=SquaredError(), random_state=0)
        with pytest.raises(DivergenceError) as caught:
            model.fit(X, 100 * X[:, 0], epochs=1000, optimizer=GradientDescent(3.0), progress=False, **options)
        return str(caught.value), everything(model)

    for size in (40, 16):
        files = tmp_path / str(size)
        files.mkdir()
        expected = diverge(batch_size=size, callbacks=[Checkpoint(files / "{epoch}")])
        last = max(map(int, listed(files)))
        for epoch in (last, last - 1, 1):
            assert diverge(batch_size=size, resume=files / str(epoch)) == expected
    assert not path.exists()


def test_a_training_that_makes_it_worse(tmp_path):
    """The warning knows the first loss, also after resuming."""
    model, path = Model([3, 2], random_state=0), tmp_path / "checkpoint"
    model.fit(X, Y, epochs=100, optimizer=Adam(0.1), progress=False)
    model.save(tmp_path / "good")
    options = {"optimizer": GradientDescent(500.0), "progress": False, "epochs": 4, "shuffle": False}
    with pytest.warns(UserWarning, match="Training made the model worse") as first:
        nngraph.load(tmp_path / "good").fit(X, Y, callbacks=[Checkpoint(path)], **options)
    with pytest.warns(UserWarning, match="Training made the model worse") as second:
        nngraph.load(tmp_path / "good").fit(X, Y, resume=path, **options)
    assert str(first[0].message) == str(second[0].message)


# --- Callbacks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize("lost", [False, True])
def test_a_csv_log(append, lost, tmp_path):
    """It goes on, without lines that came after the checkpoint; one that is lost is written anew."""
    logs = [tmp_path / "a.csv", tmp_path / "b.csv"]
    if append:
        for log in logs:
            plain().fit(X, Y, epochs=2, validation=0.2, callbacks=[CSVLog(log, append=True)], progress=False)
    path, options = tmp_path / "checkpoint", {"validation": lambda: 0.2}
    fitted(plain, options, callbacks=[CSVLog(logs[0], append=append)])
    stop = [Stop("batch_end", 5), CSVLog(logs[1], append=append), Checkpoint(path, every=2)]
    with pytest.raises(Stopped):
        fitted(plain, options, callbacks=stop)
    with logs[1].open("a") as file:
        file.write("5,0.1,0.")
    if lost and append:
        logs[1].write_text("")
        with pytest.raises(StorageError, match=r"has [0-9]+ bytes, fewer than the"):
            fitted(plain, options, callbacks=[CSVLog(logs[1], append=True)], resume=path)
        return
    if lost:
        logs[1].unlink()
    fitted(plain, options, callbacks=[CSVLog(logs[1], append=append)], resume=path)

    def lines(log):
        table = [line.split(",") for line in log.read_text().splitlines()]
        at = table[0].index("seconds")
        return [line[:at] + line[at + 1 :] for line in table]

    assert lines(logs[0]) == lines(logs[1])
    assert len(lines(logs[1])) == 1 + 2 * append + EPOCHS


def test_a_log_of_another_training_is_not_touched(tmp_path):
    """A refusal comes before anything is written."""
    path, log = tmp_path / "checkpoint", tmp_path / "log.csv"
    fitted(plain, {}, callbacks=[Checkpoint(path), CSVLog(log)], epochs=2)
    before = log.read_text()
    with pytest.raises(
        StorageError, match="callbacks and schedule that remember are CSVLog, TimeLimit, and were CSVLog"
    ):
        fitted(plain, {}, callbacks=[CSVLog(log), TimeLimit(3)], resume=path)
    assert log.read_text() == before


def test_a_time_limit(tmp_path, monkeypatch):
    """The time before counts."""
    now = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(now)))
    path = tmp_path / "checkpoint"
    with pytest.raises(Stopped):
        fitted(plain, {}, callbacks=[TimeLimit(50), Stop("epoch_begin", 3), Checkpoint(path)])
    for _ in range(1000):
        next(now)
    left = 50 - (next(now) - 1000)
    _, history, _ = fitted(plain, {}, callbacks=[TimeLimit(50)], resume=path, epochs=1000)
    assert 3 < history.epochs <= 3 + left
    assert "time limit" in history.stopped


def test_a_bar(tmp_path, capsys):
    """Printed lines go on with the epoch's number."""
    path = tmp_path / "checkpoint"
    fitted(plain, {}, epochs=3, callbacks=[Checkpoint(path)])
    fitted(plain, {}, epochs=5, callbacks=[ProgressBar(interval=0)], resume=path)
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == ["epoch 4/5", "epoch 5/5"]


class Norms(Callback):
    """A user's callback that remembers what it saw."""

    def fit_begin(self, training):
        self.norms, self.first = [], training.first

    def epoch_end(self, training):
        self.norms.append(np.float32(np.linalg.norm(training.model.W[0])))

    def state(self, training):
        return {"norms": self.norms, "array": np.array(self.norms)}

    def restore(self, training, state):
        assert state["array"].tolist() == state["norms"]
        self.norms = state["norms"]


def test_a_callback_and_a_schedule_of_the_users(tmp_path):
    """What they give in `state` comes back in `restore`."""

    class Falling:
        def __call__(self, epoch, epochs):
            return self.factor

        def fit_begin(self, training):
            self.factor = 1.0

        def epoch_end(self, training):
            self.factor *= 0.9

        def state(self, training):
            return self.factor

        def restore(self, training, state):
            self.factor = state

    path, norms = tmp_path / "checkpoint", [Norms(), Norms()]
    model, history, _ = fitted(plain, {}, callbacks=[norms[0]], schedule=Falling())
    with pytest.raises(Stopped):
        fitted(plain, {}, callbacks=[Checkpoint(path), Norms(), Stop("batch_end", 3)], schedule=Falling())
    again, later, _ = fitted(plain, {}, callbacks=[norms[1]], schedule=Falling(), resume=path)
    assert whole(again, later) == whole(model, history)
    assert norms[0].norms == norms[1].norms
    assert (norms[0].first, norms[1].first) == (0, 3)


def test_a_state_that_cannot_be_stored(tmp_path):
    """It is told before the training begins."""

    class Odd(Norms):
        def state(self, training):
            return {1, 2}

    with pytest.raises(StorageError, match=r"the training's listeners: \{1, 2\} cannot be stored"):
        fitted(plain, {}, callbacks=[Odd(), Checkpoint(tmp_path / "checkpoint")])
    assert listed(tmp_path) == []


# --- Refusals --------------------------------------------------------------------------------------------------------


def refused(path, message, make=rich, error=StorageError, **options):
    """See that a training is not resumed, and that the model is left as it was."""
    model = make()
    model.b[0][...] = 7.0
    before = everything(model)
    with pytest.raises(error, match=message):
        model.fit(X, Y, **{"epochs": EPOCHS, "batch_size": 16, "progress": False, "resume": path, **options})
    assert everything(model) == before
    return model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Return the file of a training of three epochs."""
    path = tmp_path_factory.mktemp("resume") / "checkpoint"
    fitted(rich, {"callbacks": lambda: [EarlyStopping(5, monitor="loss")]}, epochs=3, callbacks=[Checkpoint(path)])
    return path


REFUSED = [
    ({"optimizer": Adam(0.002)}, r"optimizer is Adam\(rate=0.002.*, and was Adam\(rate=0.001"),
    ({"optimizer": AdamW()}, r"optimizer is AdamW\(.*, and was Adam\("),
    ({"batch_size": 15}, "batch_size is 15, and was 16"),
    ({"penalty": L2(0.1)}, r"penalty is \{'W1': L2\(0.1\), .*\}, and was \{\}"),
    ({"clip_norm": 1.0}, "clip_norm is 1.0, and was None"),
    ({"validation": 0.2}, "rows is 32, and was 40"),
    ({"validation": (X, Y)}, "held out is 40, and was 0"),
    ({"shuffle": False}, "shuffle is False, and was True"),
    ({"metrics": ["accuracy"]}, "columns is .*'accuracy'.*, and was"),
    ({"random_state": np.random.Generator(np.random.Philox(0))}, "random_state is a Philox, and was a PCG64"),
    ({}, "callbacks and schedule that remember are none, and were EarlyStopping"),
    ({"schedule": Plateau()}, "that remember are Plateau, and were EarlyStopping"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED, ids=str)
def test_other_arguments(checkpoint, options, message):
    """What would be another training is refused."""
    refused(checkpoint, f"is of another training: .*{message}.*; resume with the model and the arguments", **options)


def test_fewer_epochs_than_are_done(checkpoint):
    """It is the same training, which cannot go back; the error says what to do."""
    refused(checkpoint, "3 epochs are done, and epochs=2 are asked for; ask for 3 or more", epochs=2)


MODELS = [
    (
        lambda: Model([3, 5, BatchNorm(), Dropout(0.2), 3, 2]),
        r"the model has W1 \(3, 5\) float64, .*checkpoint W1 \(3, 4\)",
    ),
    (lambda: rich(dtype=np.float32), r"the model has W1 \(3, 4\) float32.*the checkpoint W1 \(3, 4\) float64"),
    (plain, "the model has W1"),
    (lambda: rich(layer=ReLU()), 'the model\'s gates have .*"ReLU".*, and the checkpoint\'s .*"Tanh"'),
    (lambda: Model([3, 4, BatchNorm(), Dropout(0.3), 3, 2]), 'nodes have .*"dropout":0.3.*checkpoint.*"dropout":0.2'),
    (lambda: rich(output=SquaredError()), "the model's output have .*SquaredError.*Softmax"),
]


@pytest.mark.parametrize(("make", "message"), MODELS)
def test_other_models(checkpoint, make, message):
    """A model that is built otherwise is refused."""
    refused(checkpoint, message, make)


def test_files_that_are_no_checkpoints(tmp_path):
    """A model, another file, none, a folder, and what is no path."""
    rich().save(tmp_path / "model")
    refused(tmp_path / "model", "is a model, not a checkpoint: there is no training to go on with")
    (tmp_path / "text").write_text("hello, hello")
    refused(tmp_path / "text", "is no file of nngraph, or a damaged one")
    refused(tmp_path / "nothing", "there is no checkpoint .*resume=path if", error=FileNotFoundError)
    refused(tmp_path, "directory", error=IsADirectoryError)
    refused(3, "resume must be a path", error=ValueError)


def test_methods_of_scipy(checkpoint, tmp_path):
    """Their state is SciPy's: the file is a model, and no more."""
    path, model = tmp_path / "scipy", Model([3, 4, 2], random_state=0)
    model.fit(X, Y, epochs=3, optimizer=ScipyMinimize("BFGS"), callbacks=[Checkpoint(path)], progress=False)
    assert everything(nngraph.load(path)) == everything(model)
    refused(path, r"is of a training by ScipyMinimize\('BFGS'\), whose state is SciPy's; load the model", plain)
    refused(
        checkpoint, "resume does not go with ScipyMinimize", lambda: Model([3, 4, BatchNorm(), Dropout(0.2), 3, 2]),
        ValueError, optimizer=ScipyMinimize(), batch_size=None,
    )  # fmt: skip


def test_a_callback_that_cannot_take_its_state(tmp_path):
    """What an earlier callback has taken does not come through: the model is as before."""
    path, log = tmp_path / "checkpoint", tmp_path / "log.csv"

    class Broken(Norms):
        def restore(self, training, state):
            raise KeyError("norm")

    class Worse(Norms):
        def restore(self, training, state):
            raise Stopped

    for kind, error in ((Broken, StorageError), (Worse, Stopped)):
        callbacks = [EarlyStopping(2, monitor="loss"), kind(), CSVLog(log)]
        fitted(rich, {}, callbacks=[*callbacks, Checkpoint(path)], epochs=3)
        refused(path, "norm" if error is StorageError else None, callbacks=callbacks, error=error)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kept", None), ("kept", {"tuple": [0, [], [], 1]}), ("history", {"array": "W1"}), ("epochs", -1),
        ("epochs", "3"),
        ("steps", 1.5), ("optimizer", {"tuple": []}), ("now", 3), ("begin", {"dict": []}), ("listeners", [1]),
        ("listeners", [{"tuple": ["EarlyStopping", {"dict": []}]}]), ("settings", []), ("batch", None), ("loss", "x"),
        ("listeners", [{"tuple": ["EarlyStopping", {"dict": [["best_epoch", 1], ["best", 1], ["weights", [1, 2]]]}]}]),
    ],
    ids=str,
)  # fmt: skip
def test_a_training_that_makes_no_sense(checkpoint, name, value, tmp_path):
    """A file that is whole, but was made up, is refused, and changes nothing."""
    content = read_file(checkpoint)
    record = content.record("training")
    record[name] = value
    write_file(tmp_path / "forged", {"model": content.texts["model"], "training": json.dumps(record)}, content.arrays)
    refused(tmp_path / "forged", "forged: ", callbacks=[EarlyStopping(5, monitor="loss")])


@pytest.mark.parametrize("name", ["begin", "now"])
def test_a_generator_of_the_old_kind(checkpoint, name, tmp_path):
    """A training draws from a Generator, never from a RandomState."""
    content, encoder = read_file(checkpoint), Encoder()
    record = content.record("training")
    encoder.prefix = "another"
    record[name] = encoder.value(state_of(np.random.RandomState(0)), "here")
    texts = {"model": content.texts["model"], "training": json.dumps(record)}
    write_file(tmp_path / "forged", texts, {**content.arrays, **encoder.arrays})
    refused(tmp_path / "forged", f"its {name} is no Generator", callbacks=[EarlyStopping(5, monitor="loss")])


@pytest.mark.parametrize(
    "name", ["kept", "history", "epochs", "steps", "now", "begin", "listeners", "settings", "reason"]
)
def test_a_training_that_lacks_something(checkpoint, name, tmp_path):
    """The same for what is missing."""
    content = read_file(checkpoint)
    record = content.record("training")
    del record[name]
    write_file(tmp_path / "forged", {"model": content.texts["model"], "training": json.dumps(record)}, content.arrays)
    refused(tmp_path / "forged", "forged: ", callbacks=[EarlyStopping(5, monitor="loss")])


@pytest.mark.parametrize(
    ("path", "every", "message"), [(3, 1, "Checkpoint: path must be a path"), ("x", 0, "every must be")]
)
def test_bad_settings(path, every, message):
    """They are refused at once."""
    with pytest.raises(ValueError, match=message):
        Checkpoint(path, every)


class Elsewhere(Callback):
    """Changes the folder in the middle of a training, as a library of the user's may."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.monkeypatch = folder, monkeypatch

    def epoch_end(self, training):
        self.monkeypatch.chdir(self.folder)


@pytest.mark.parametrize(("path", "names"), [("a", ["a"]), ("{epoch}", ["1", "2", "3"])])
def test_a_relative_path_stays_where_it_was(path, names, tmp_path, monkeypatch):
    """Wherever the process goes in the course of a training, its checkpoints are where it began."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    checkpoint, model = Checkpoint(path), plain()
    for folder in (here, there):
        monkeypatch.chdir(folder)
        model.fit(X, Y, epochs=3, callbacks=[checkpoint, Elsewhere(tmp_path, monkeypatch)], progress=False)
        assert sorted(file.name for file in folder.iterdir()) == names
        assert nngraph.load(folder / names[-1]).W[0].tobytes() == model.W[0].tobytes()
    assert listed(tmp_path) == ["here", "there"]


def test_a_place_where_no_checkpoint_can_be(tmp_path):
    """It is told before the training begins."""
    model = plain()
    before = everything(model)
    for path, error in ((tmp_path / "no" / "file", FileNotFoundError), (tmp_path, IsADirectoryError)):
        with pytest.raises(error, match="could not be written"):
            model.fit(X, Y, epochs=2, callbacks=[Checkpoint(path)], progress=False)
    assert everything(model) == before
