"""Callbacks of `fit`: what they are told and when, how they end a training, and what is left however it ends."""

from __future__ import annotations

import csv
import itertools
import json
import math
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from gates import SquaredError
from nngraph import BatchNorm, Dense, DivergenceError, Dropout, Model
from nngraph.callbacks import Callback, CSVLog, EarlyStopping, ProgressBar, Target, TimeLimit
from nngraph.optimizers import Adam, GradientDescent, ScipyMinimize
from nngraph.schedules import Plateau, WarmUp
from nngraph.training import EVENTS

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)
ENGINES = pytest.mark.parametrize("engine", ["numpy", "graph"])


def net(**settings):
    """Return a net with dropout and batch norm."""
    return Model([3, 4, BatchNorm(), Dropout(0.2), 2], random_state=0, **settings)


def weights(model):
    """Return the bytes of all parameters and running averages."""
    parts = {name: value.tobytes() for name, value in model.parameters.items()}
    return parts | {str(node.name): node.value.tobytes() for node in model.graph.running}


def after(epochs, engine="numpy", **settings):
    """Return the weights of a training of so many epochs."""
    model = net(engine=engine)
    model.fit(X, Y, **{"epochs": epochs, "batch_size": 16, **settings})
    return weights(model)


class Log(Callback):
    """Writes down every event; raises an error in one of them, at an epoch and a batch."""

    def __init__(self, event="", epoch=0, batch=0, error=None):
        self.at, self.error, self.events = (event, epoch, batch), error, []

    def _note(self, event, training):
        self.events.append((event, training.epoch, training.batch))
        if (event, training.epoch, training.batch) == self.at and self.error is not None:
            raise self.error

    def fit_begin(self, training):
        self._note("fit_begin", training)

    def epoch_begin(self, training):
        self._note("epoch_begin", training)

    def batch_begin(self, training):
        self._note("batch_begin", training)

    def batch_end(self, training):
        self._note("batch_end", training)

    def epoch_end(self, training):
        self._note("epoch_end", training)

    def fit_end(self, training):
        self._note("fit_end", training)


class Series(Callback):
    """A metric that has given values, one after the other."""

    def __init__(self, *values):
        self.values = itertools.chain(values, itertools.repeat(values[-1]))

    def __call__(self, y, predictions):
        return next(self.values)


def series(*values):
    """Return a metric called score that has these values."""
    found = Series(*values)

    def score(y, predictions):
        return found(y, predictions)

    return score


# --- Events ----------------------------------------------------------------------------------------------------------


@ENGINES
@pytest.mark.parametrize("size", [40, 16])
def test_the_order_of_events(engine, size):
    """Every event comes in its place, with the numbers of epoch and batch."""
    log, batches = Log(), math.ceil(40 / size)
    net(engine=engine).fit(X, Y, epochs=3, batch_size=size, callbacks=[log])
    expected = [("fit_begin", 0, 0)]
    for epoch in range(3):
        expected.append(("epoch_begin", epoch, 0))
        for batch in range(batches):
            expected += [("batch_begin", epoch, batch), ("batch_end", epoch, batch)]
        expected.append(("epoch_end", epoch, batches))
    assert log.events == [*expected, ("fit_end", 2, batches)]


def test_events_of_a_method_of_scipy():
    """An iteration is an epoch of one batch."""
    log = Log()
    Model([3, 2], random_state=0).fit(X, Y, epochs=2, optimizer=ScipyMinimize(), callbacks=[log])
    kinds = ["epoch_begin", "batch_begin", "batch_end", "epoch_end"]
    assert [event for event, _, _ in log.events] == ["fit_begin", *kinds, *kinds, "fit_end"]
    assert [epoch for _, epoch, _ in log.events] == [0] * 5 + [1] * 4 + [log.events[-1][1]]


@ENGINES
def test_what_callbacks_see(engine):
    """The model has the present weights in `epoch_end`; rate, loss and history are those of the step and the epoch."""
    seen = []

    class Look(Callback):
        def fit_begin(self, training):
            seen.append((training.epochs, training.batches, training.columns, weights(training.model)))

        def batch_end(self, training):
            assert math.isfinite(training.loss)
            assert training.rate == 0.01

        def epoch_end(self, training):
            assert training.history.epochs == training.epoch + 1
            seen.append(weights(training.model))

        def fit_end(self, training):
            seen.append(weights(training.model))

    before = weights(net())
    net(engine=engine).fit(X, Y, epochs=3, batch_size=16, optimizer=Adam(0.01), callbacks=[Look()])
    assert seen[0] == (3, 3, ("loss", "rate", "seconds"), before)
    assert seen[1:] == [after(k, engine, optimizer=Adam(0.01)) for k in (1, 2, 3, 3)]


def test_callbacks_do_not_disturb():
    """With all callbacks that only watch, the training is the same to the byte."""
    callbacks = [
        Log(),
        ProgressBar(plain=False),
        TimeLimit(1000),
        EarlyStopping(100, monitor="loss", restore_best=False),
    ]
    assert after(3, callbacks=callbacks) == after(3)


# --- Errors ----------------------------------------------------------------------------------------------------------

# What is left after an error in epoch 2: the weights of its beginning.
PLACES = [
    ("fit_begin", 0, 0, 0),
    ("epoch_begin", 0, 0, 0),
    ("batch_begin", 0, 0, 0),
    ("batch_end", 0, 1, 0),
    ("epoch_end", 0, 3, 0),
    ("epoch_begin", 2, 0, 2),
    ("batch_begin", 2, 0, 2),
    ("batch_end", 2, 0, 2),
    ("batch_begin", 2, 2, 2),
    ("batch_end", 2, 2, 2),
    ("epoch_end", 2, 3, 2),
    ("fit_end", 3, 3, 4),
]


@ENGINES
@pytest.mark.parametrize("place", PLACES, ids=str)
def test_an_error_in_a_callback(place, engine):
    """The weights of the epoch's beginning are left, all hear of the end, and the model trains on."""
    *at, kept = place
    first, broken, last = Log(), Log(*at, error=RuntimeError("broken")), Log()
    model = net(engine=engine)
    with pytest.raises(RuntimeError, match="broken"):
        model.fit(X, Y, epochs=4, batch_size=16, callbacks=[first, broken, last])
    assert weights(model) == after(kept, engine)
    assert first.events[-1][0] == broken.events[-1][0] == "fit_end"
    # Who was not yet told of the beginning is not told of the end.
    assert [event for event, _, _ in last.events[-1:]] == ([] if at[0] == "fit_begin" else ["fit_end"])
    assert sum(event == "fit_end" for event, _, _ in first.events) == 1
    model.fit(X, Y, epochs=1)


@pytest.mark.parametrize("event", EVENTS)
def test_an_error_in_a_training_of_scipy(event):
    """The weights of the last iteration are left, and an error finds its way through SciPy."""
    model, log = Model([3, 2], random_state=0), Log()

    class Breaks(Callback):
        pass

    def breaks(_, training):
        if training.epoch == (0 if event == "fit_begin" else 2) or event == "fit_end":
            raise RuntimeError("broken")

    setattr(Breaks, event, breaks)
    with pytest.raises(RuntimeError, match="broken"):
        model.fit(X, Y, epochs=4, optimizer=ScipyMinimize(), callbacks=[log, Breaks()])
    assert log.events[-1][0] == "fit_end"
    other = Model([3, 2], random_state=0)
    # After the step of the third iteration that is the last one whose loss is known.
    epochs = {"fit_begin": 0, "epoch_begin": 2, "batch_begin": 2, "batch_end": 3, "epoch_end": 3, "fit_end": 4}[event]
    other.fit(X, Y, epochs=epochs, optimizer=ScipyMinimize())
    assert weights(model) == weights(other)


def test_fit_end_after_a_divergence():
    """A divergence is told to all, and what is restored is the best."""
    log, stopping = Log(), EarlyStopping(10_000, monitor="loss")
    model = Model([3, 1], output=SquaredError(), random_state=0)
    settings = {"batch_size": 16, "optimizer": GradientDescent(5.0), "shuffle": False}
    with pytest.raises(DivergenceError):
        model.fit(X, 100 * X[:, 0], epochs=1000, callbacks=[log, stopping], **settings)
    assert log.events[-1][0] == "fit_end"
    assert stopping.best_epoch == 0
    other = Model([3, 1], output=SquaredError(), random_state=0)
    other.fit(X, 100 * X[:, 0], epochs=1, **settings)
    assert weights(model) == weights(other)


@ENGINES
@pytest.mark.parametrize(
    "place", [(event, epoch, batch) for event, epoch, batch, _ in PLACES if event != "fit_end"], ids=str
)
def test_ctrl_c(place, engine):
    """It keeps the last step's weights and says so; before the first loss it is Ctrl-C itself."""
    event, epoch, batch = place
    log, broken = Log(), Log(*place, error=KeyboardInterrupt())
    model = net(engine=engine)
    if epoch == 0 and (event, batch) in (("fit_begin", 0), ("epoch_begin", 0), ("batch_begin", 0)):
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, Y, epochs=4, batch_size=16, callbacks=[log, broken])
        assert weights(model) == after(0, engine)
    else:
        done = epoch + (event == "epoch_end")
        with pytest.warns(UserWarning, match=f"interrupted after {done} of 4 epochs") as caught:
            history = model.fit(X, Y, epochs=4, batch_size=16, callbacks=[log, broken])
        assert caught[0].filename == __file__
        assert (history.stopped, history.epochs) == ("interrupted", done)

        class Stop(Callback):
            """Ends another training after as many steps."""

            def batch_end(self, training):
                steps = 3 * training.epoch + training.batch + 1
                if steps == 3 * epoch + batch + (event == "batch_end"):
                    training.stop("enough")

        other = net(engine=engine)
        other.fit(X, Y, epochs=4, batch_size=16, callbacks=[Stop()])
        assert weights(model) == weights(other)
    assert log.events[-1][0] == "fit_end"


def test_ctrl_c_with_full_batches():
    """The last weights whose loss is known are kept; a callback may bring back the best instead."""
    model, other = net(), net()
    with pytest.warns(UserWarning, match="interrupted after 2 of 9 epochs"):
        model.fit(X, Y, epochs=9, batch_size=40, callbacks=[Log("batch_end", 2, 0, KeyboardInterrupt())])
    other.fit(X, Y, epochs=2, batch_size=40)
    assert weights(model) == weights(other)

    stopping = EarlyStopping(9, monitor="score", mode="max")
    with pytest.warns(UserWarning, match="interrupted"):
        other.fit(
            X, Y, epochs=9, batch_size=16, random_state=1, metrics=[series(0.1, 0.8, 0.3)],
            callbacks=[stopping, Log("batch_end", 3, 1, KeyboardInterrupt())],
        )  # fmt: skip
    model.fit(X, Y, epochs=2, batch_size=16, random_state=1)
    assert stopping.best_epoch == 1
    assert weights(model) == weights(other)


SIGINT = """
    import json, os, signal, warnings
    import numpy as np
    from nngraph import Dropout, Model
    from nngraph.callbacks import Callback
    from nngraph.optimizers import ScipyMinimize

    class Send(Callback):
        def batch_end(self, training):
            if training.epoch == 5:
                os.kill(os.getpid(), signal.SIGINT)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 2))
    y = (X[:, 0] > 0).astype(int)
    found = []
    for settings in ({"batch_size": 8}, {"batch_size": 50}, {"optimizer": ScipyMinimize("BFGS")}):
        model = Model([2, 5, 2], random_state=0)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            history = model.fit(X, y, epochs=10**6, callbacks=[Send()], **settings)
        finite = bool(np.isfinite(model.calculate_loss(X, y)))
        again = model.fit(X, y, epochs=2).epochs
        found.append([str(w.message) for w in caught] + [history.epochs, history.stopped, finite, again])
    print(json.dumps(found))
"""


def test_sigint():
    """A real SIGINT in mid-training, in a process of its own: a warning, finite weights, and a model that goes on."""
    command = [sys.executable, "-c", textwrap.dedent(SIGINT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603 - our own script
    assert done.returncode == 0, done.stderr
    for message, epochs, *rest in json.loads(done.stdout):
        assert message.startswith(f"Training was interrupted after {epochs} of 1000000 epochs; the model keeps")
        assert epochs in (5, 6)
        assert rest == ["interrupted", True, 2]


# --- EarlyStopping ---------------------------------------------------------------------------------------------------

NAN = math.nan
# The metric's values, the settings, in which epoch it is best, and how many epochs there are (of 12).
STOPPINGS = [
    ((5, 4, 3, 4, 5, 6, 7), {"patience": 2, "mode": "min"}, 2, 5),
    ((5, 4, 3, 4, 5, 2, 7), {"patience": 3, "mode": "min"}, 5, 9),
    ((5, 4, 3, 3, 3, 3, 3), {"patience": 2, "mode": "min"}, 2, 5),
    ((1, 2, 3, 2), {"patience": 1, "mode": "max"}, 2, 4),
    ((1, 2, 3, 2), {"patience": 1}, 2, 4),
    ((1, 2, 3, 2), {"patience": 2, "mode": "min"}, 0, 3),
    ((10, 9.5, 9, 8.4, 8), {"patience": 3, "mode": "min", "min_delta": 1}, 3, 7),
    ((10, 9, 8, 7), {"patience": 1, "mode": "min", "min_delta": 1}, 0, 2),
    ((0.0, 0.5, 1.1, 1.2), {"patience": 2, "mode": "max", "min_delta": 1}, 2, 5),
    ((NAN, 2, 1, 3, 3), {"patience": 2, "mode": "min"}, 2, 5),
    ((NAN, NAN, NAN), {"patience": 2, "mode": "min"}, 0, 3),
    ((2, NAN, NAN, NAN), {"patience": 2, "mode": "max"}, 0, 3),
    ((1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12), {"patience": 1, "mode": "max"}, 11, 12),
]


@pytest.mark.parametrize(("values", "settings", "best", "epochs"), STOPPINGS, ids=str)
@pytest.mark.parametrize("restore", [True, False])
def test_early_stopping(values, settings, best, epochs, restore):
    """It stops after so many epochs without a better value, and brings back weights and averages of the best."""
    model = net()
    stopping = EarlyStopping(monitor="score", restore_best=restore, **settings)
    fitting = {"batch_size": 16, "metrics": [series(*values)], "callbacks": [stopping]}
    history = model.fit(X, Y, epochs=12, **fitting)
    assert (stopping.best_epoch, history.epochs) == (best, epochs)
    np.testing.assert_equal(stopping.best, float(values[best]))
    assert weights(model) == after(best + 1 if restore else epochs)
    assert history.stopped.startswith("score has not been better than") == (epochs < 12)
    # It forgets.
    again = net().fit(X, Y, epochs=12, **fitting | {"metrics": [series(*values)]})
    assert again.epochs == epochs


@ENGINES
def test_early_stopping_by_the_validation_loss(engine):
    """By default it is the validation loss, whose best value the model has at the end."""
    rng = np.random.default_rng(3)
    noisy = rng.integers(0, 2, 40)
    model, stopping = net(engine=engine), EarlyStopping(3)
    held = X[30:], Y[30:]
    history = model.fit(
        X[:30], noisy[:30], epochs=200, batch_size=8, optimizer=Adam(0.05), validation=held, callbacks=[stopping]
    )
    column = history["validation_loss"]
    assert history.epochs < 200
    assert stopping.best_epoch == column.argmin() == history.epochs - 4
    assert model.calculate_loss(*held) == pytest.approx(column.min(), rel=1e-12)


def test_early_stopping_with_scipy():
    """The best iteration is brought back."""
    model, stopping = Model([3, 2], random_state=0), EarlyStopping(1, monitor="score", mode="max")
    model.fit(X, Y, epochs=50, optimizer=ScipyMinimize(), metrics=[series(1, 3, 2)], callbacks=[stopping])
    other = Model([3, 2], random_state=0)
    other.fit(X, Y, epochs=2, optimizer=ScipyMinimize())
    assert weights(model) == weights(other)


# --- TimeLimit, Target -----------------------------------------------------------------------------------------------


class Slow(Callback):
    """Takes its time."""

    def batch_begin(self, training):
        time.sleep(0.02)


def test_time_limit():
    """It ends within an epoch, after a step, and the epoch has its row, of the batches that there were."""
    model, log = net(), Log()
    history = model.fit(X, Y, epochs=100, batch_size=2, callbacks=[Slow(), log, TimeLimit(0.1)])
    assert history.epochs == 1
    assert 2 <= sum(event == "batch_end" for event, _, _ in log.events) <= 6
    assert history.stopped == "the time limit of 0.1 seconds is over"
    assert math.isfinite(history["loss"][0])
    assert log.events[-2][0] == "epoch_end"


def test_time_limit_of_nothing():
    """No time is one step: of a batch, or of SciPy."""
    log = Log()
    net().fit(X, Y, epochs=5, batch_size=16, callbacks=[log, TimeLimit(0)])
    assert sum(event == "batch_end" for event, _, _ in log.events) == 1
    history = Model([3, 2]).fit(X, Y, epochs=5, optimizer=ScipyMinimize(), callbacks=[TimeLimit(0)])
    assert history.epochs == 1
    assert history.stopped.startswith("the time limit")


@pytest.mark.parametrize(
    ("target", "epochs"),
    [
        (Target(0.5, "score"), 3),
        (Target(0.5, "score", mode="min"), 1),
        (Target(0.1, "score"), 1),
        (Target(0.9, "score"), 8),
        (Target(1e9), 1),
        (Target(-1.0), 8),
    ],
)
def test_target(target, epochs):
    """It stops in the epoch whose value is good enough; by default the loss."""
    history = net().fit(X, Y, epochs=8, metrics=[series(0.1, 0.4, 0.5, 0.8)], callbacks=[target])
    assert history.epochs == epochs
    assert history.stopped == (
        "all epochs are done" if epochs == 8 else f"{target.monitor} has reached {target.value:g}"
    )


def test_the_first_reason_counts():
    """Of two that want an end the first is named."""
    assert net().fit(X, Y, epochs=9, callbacks=[TimeLimit(0), Target(1e9)]).stopped.startswith("the time limit")


# --- CSVLog, ProgressBar ---------------------------------------------------------------------------------------------


def read(path):
    """Return the columns of a file."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def test_csv_log(tmp_path):
    """Read back it is the history, to the last bit; a second training replaces it, or is appended."""
    path = tmp_path / "log.csv"
    settings = {"validation": 0.25, "metrics": ["accuracy"], "penalty": None}
    for log, epochs in ((CSVLog(path), 3), (CSVLog(str(path)), 4)):
        history = net().fit(X, Y, epochs=epochs, callbacks=[log], **settings)
        found = read(path)
        assert list(found) == ["epoch", *history]
        assert found.pop("epoch").tolist() == list(range(epochs))
        for name, column in found.items():
            assert column.tobytes() == history[name].tobytes()
    more = net().fit(X, Y, epochs=2, callbacks=[CSVLog(path, append=True)], **settings)
    assert read(path)["epoch"].tolist() == [0, 1, 2, 3, 0, 1]
    assert read(path)["loss"][4:].tobytes() == more["loss"].tobytes()
    with pytest.raises(FileNotFoundError):
        net().fit(X, Y, callbacks=[CSVLog(tmp_path / "nowhere" / "log.csv")])


def test_csv_log_of_a_training_that_breaks(tmp_path):
    """What was measured before an error is in the file, which is closed; without an epoch there is a header."""
    path = tmp_path / "log.csv"
    with pytest.raises(RuntimeError, match="broken"):
        net().fit(X, Y, epochs=9, callbacks=[CSVLog(path), Log("batch_end", 2, 0, RuntimeError("broken"))])
    assert read(path)["epoch"].tolist() == [0, 1]
    net().fit(X, Y, epochs=0, callbacks=[CSVLog(path)])
    assert path.read_text() == "epoch,loss,rate,seconds\n"
    net().fit(X, Y, epochs=1, callbacks=[CSVLog(path, append=True)])
    assert len(path.read_text().splitlines()) == 2


def test_progress_in_plain_lines(capsys):
    """Where there is no terminal a line per epoch, or the last one alone; without the callback nothing."""
    settings = {"metrics": [series(0.25)]}
    net().fit(X, Y, epochs=3, callbacks=[ProgressBar(interval=0)], **settings)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert all("loss 0." in line and "score 0.25" in line for line in lines)
    net().fit(X, Y, epochs=3, callbacks=[ProgressBar(interval=1000)], **settings)
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == ["epoch 1/3", "epoch 3/3"]
    # It ends where another stops it.
    net().fit(X, Y, epochs=30, callbacks=[Target(1e9), ProgressBar(interval=1000)])
    assert capsys.readouterr().out.startswith("epoch 1/30")
    for callbacks in ([], [ProgressBar(plain=False)]):
        net().fit(X, Y, epochs=2, callbacks=callbacks)
        assert capsys.readouterr() == ("", "")


# --- Schedules that listen -------------------------------------------------------------------------------------------


def test_plateau():
    """It sees the losses of the epochs, and lowers the rate of the next; a second training begins anew."""
    schedule = Plateau(0.5, patience=0, monitor="score")
    for _ in range(2):
        history = net().fit(X, Y, epochs=6, optimizer=Adam(0.01), schedule=schedule, metrics=[series(3, 2, 2, 1, 1, 1)])
        np.testing.assert_allclose(history["rate"], 0.01 * np.array([1, 1, 1, 0.5, 0.5, 0.25]))
    history = net().fit(
        X, Y, epochs=6, optimizer=Adam(0.01), schedule=WarmUp(2, schedule, start=0.5), batch_size=40,
        metrics=[series(3, 2, 2, 1, 1, 1)],
    )  # fmt: skip
    np.testing.assert_allclose(history["rate"], 0.01 * np.array([0.5, 0.75, 1, 0.5, 0.5, 0.25]))
    with pytest.raises(ValueError, match="Plateau: monitor must be one of"):
        net().fit(X, Y, epochs=2, schedule=Plateau(monitor="f1"))


def test_a_schedule_that_hears_of_the_beginning_only():
    """Either method of a schedule is called, without the other."""
    heard = []

    class Own:
        def __call__(self, epoch, epochs):
            return 1.0

        def fit_begin(self, training):
            heard.append(training.epochs)

    net().fit(X, Y, epochs=2, schedule=Own())
    assert heard == [2]


@pytest.mark.parametrize(
    ("monitor", "best"), [("max_error", min), ("accuracy", max), ("loss", min), ("zero_one_loss", min)]
)
def test_what_is_better_is_known_by_its_name(monitor, best):
    """Less of a loss and of an error, more of everything else."""

    def measured(*_):
        return float(np.random.default_rng(len(values)).random())

    values = []
    measured.__name__ = monitor
    stopping = EarlyStopping(patience=50, monitor=monitor)
    metrics = [measured] if monitor.startswith(("max", "zero")) else ["accuracy"]
    history = Model([2, 3, 2], random_state=0).fit(
        [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 1, 1, 1], epochs=5, metrics=metrics, callbacks=[stopping]
    )
    assert stopping.best == best(history[monitor])


@pytest.mark.parametrize("event", ["fit_begin", "epoch_begin"])
@pytest.mark.parametrize("size", [1, 4])
def test_stop_before_a_step(event, size):
    """Who stops when something begins, stops it before a step is taken."""

    class Stop(Callback):
        pass

    setattr(Stop, event, lambda _self, training: training.stop("enough") if training.epoch == len(steps) // 4 else None)
    steps, model = [], Model([2, 3, 2], random_state=0)
    before = [array.tobytes() for array in model.parameters.values()]
    history = model.fit(
        [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 1, 1, 1], epochs=5, batch_size=size, callbacks=[Stop()]
    )
    assert (history.epochs, history.stopped) == (0, "enough")
    assert [array.tobytes() for array in model.parameters.values()] == before


@pytest.mark.parametrize("rows", [2, 3, 33, 65, 97, 32 * 31 + 1])
def test_default_batches_leave_nobody_alone(rows):
    """By default no batch of a batch normalisation has a single row."""

    class Rows(Callback):
        def epoch_end(self, training):
            self.batches = training.batches

    rng, counted = np.random.default_rng(0), Rows()
    X = rng.normal(size=(rows, 2))
    Model([2, Dense(3), BatchNorm(), 2], random_state=0).fit(
        X, (X[:, 0] > 0).astype(int), epochs=1, callbacks=[counted]
    )
    assert counted.batches <= rows / 2
