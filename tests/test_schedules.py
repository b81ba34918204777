"""Schedules: equal to PyTorch's at whole epochs, right between them, and at the ends."""

from __future__ import annotations

import inspect
import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import nngraph.schedules
from nngraph.schedules import Constant, Cosine, ExponentialDecay, InverseTime, Plateau, StepDecay, WarmUp

TORCH = json.loads((Path(__file__).parent / "torch_reference.json").read_text(encoding="utf-8"))
LOSSES = [math.nan if loss is None else loss for loss in TORCH["losses"]]
KINDS = [Constant, StepDecay, ExponentialDecay, InverseTime, Cosine, WarmUp, Plateau]
MADE = [
    *(kind() for kind in KINDS),
    StepDecay(0.5, 3),
    StepDecay(1.0, 1),
    StepDecay(0.0, 2),
    ExponentialDecay(0.7),
    ExponentialDecay(0.0),
    InverseTime(0.0),
    InverseTime(0.1),
    Cosine(0.2),
    WarmUp(0),
    WarmUp(3, Cosine(0.1), start=0.0),
    WarmUp(0.5, StepDecay(0.5, 3)),
    WarmUp(2, WarmUp(2, Plateau(patience=2)), start=1),
    Plateau(0.5, patience=1, threshold=0, cooldown=2, minimum=0.2, monitor="loss"),
]
every_schedule = pytest.mark.parametrize("schedule", MADE, ids=repr)


class History(dict):
    """Values by name, of which the last may be asked for."""

    def last(self, name):
        return self[name][-1]


class Training:
    """A training that is nothing but its history."""

    def __init__(self, **series):
        self.history = History({name: [] for name in series})
        self.series = series

    def run(self, schedule, epochs):
        """Return the factor in epoch 0, 1, ..., with the methods called as in a training."""
        if hasattr(schedule, "fit_begin"):
            schedule.fit_begin(self)
        factors = [schedule(0.0, epochs)]
        for epoch in range(epochs):
            for name, values in self.series.items():
                self.history[name].append(values[epoch])
            if hasattr(schedule, "epoch_end"):
                schedule.epoch_end(self)
            factors.append(schedule(float(epoch + 1), epochs))
        return factors


# --- Values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row", TORCH["schedules"], ids=[f"{row['torch']}-{row['epochs']}" for row in TORCH["schedules"]]
)
def test_equal_to_torch(row):
    """The factor in every epoch is the learning rate of PyTorch's scheduler, which began at 1."""
    schedule = getattr(nngraph.schedules, row["schedule"])(**row["settings"])
    factors = Training(loss=LOSSES).run(schedule, row["epochs"])
    assert_allclose(factors, row["factors"], rtol=1e-12, atol=1e-15)


def test_the_table_shows_something():
    """Each of PyTorch's rates changes, each Plateau in other epochs."""
    rows = [row["factors"] for row in TORCH["schedules"]]
    assert all(len(set(factors)) > 1 for factors in rows)
    found = {row["schedule"] for row in TORCH["schedules"]}
    assert found == {"StepDecay", "ExponentialDecay", "Cosine", "WarmUp", "Plateau"}
    plateaus = [tuple(np.diff(row["factors"]) < 0) for row in TORCH["schedules"] if row["schedule"] == "Plateau"]
    assert len(set(plateaus)) == len(plateaus)


@pytest.mark.parametrize(
    ("schedule", "epoch", "epochs", "expected"),
    [
        (Constant(), 7.5, 10, 1.0),
        (StepDecay(0.1, 10), 9.999, 30, 1.0),
        (StepDecay(0.1, 10), 20.5, 30, 0.01),
        (ExponentialDecay(0.25), 1.5, 30, 0.125),
        (InverseTime(2), 4.5, 30, 0.1),
        (Cosine(), 7.5, 10, (1 - math.sqrt(0.5)) / 2),
        (Cosine(0.2), 2.5, 10, 0.6 + 0.4 * math.sqrt(0.5)),
        (Cosine(), 0.5, 1, 0.5),
        (Cosine(), 0.0, 1, 1.0),
        (Cosine(0.1), 0.0, 0, 0.1),
        (Cosine(0.1), 12.0, 10, 0.1),
        (WarmUp(), 0.0, 50, 0.1),
        (WarmUp(), 2.5, 50, 0.55),
        (WarmUp(), 5.0, 50, 1.0),
        (WarmUp(2, start=0), 0.0, 50, 0.0),
        (WarmUp(2, start=0), 0.5, 50, 0.25),
        (WarmUp(0.5), 0.25, 50, 0.55),
        (WarmUp(0), 0.0, 50, 1.0),
        (WarmUp(0, Cosine()), 5.0, 10, 0.5),
        (WarmUp(4, StepDecay(0.5, 3)), 6.9, 10, 1.0),
        (WarmUp(4, StepDecay(0.5, 3)), 7.0, 10, 0.5),
        (WarmUp(2, Cosine(0.2)), 6.0, 10, 0.6),
        (WarmUp(5, Cosine(0.2)), 2.0, 2, 0.1 + 0.9 * 2 / 5),
        (WarmUp(5, Cosine(0.2)), 5.0, 2, 0.2),
        (WarmUp(2, lambda epoch, epochs: epoch / epochs), 4.0, 10, 0.25),
        (WarmUp(2, WarmUp(2, ExponentialDecay(0.5))), 5.0, 10, 0.5),
    ],
)
def test_values(schedule, epoch, epochs, expected):
    """Values that one can compute by hand."""
    assert_allclose(schedule(epoch, epochs), expected, rtol=1e-14)


@every_schedule
@given(data=st.data())
def test_factors(schedule, data):
    """A factor is a Python float from 0 to 1, at any part of any number of epochs, also beyond them."""
    epochs = data.draw(st.integers(0, 10**6))
    epoch = data.draw(st.one_of(st.floats(0, 10**6), st.floats(0, max(epochs, 1)), st.integers(0, 10**6)))
    factor = schedule(epoch, epochs)
    assert type(factor) is float
    assert 0 <= factor <= 1 + 1e-15


@every_schedule
@given(data=st.data())
def test_what_falls_falls(schedule, data):
    """The rate rises while it warms up, and only then."""
    epochs = data.draw(st.integers(1, 100))
    early, late = sorted(data.draw(st.tuples(st.floats(0, 100), st.floats(0, 100))))
    over = schedule.over if isinstance(schedule, WarmUp) else 0
    over += schedule.then.over if over and isinstance(schedule.then, WarmUp) else 0
    if early >= over:
        assert schedule(late, epochs) <= schedule(early, epochs) + 1e-15
    if isinstance(schedule, WarmUp) and late < schedule.over:
        assert schedule(early, epochs) <= schedule(late, epochs) + 1e-15


@given(over=st.floats(1e-3, 100), start=st.floats(0, 1))
def test_warm_up_meets_what_follows(over, start):
    """There is no jump at the end of a warm-up."""
    schedule = WarmUp(over, Cosine(), start)
    assert_allclose(schedule(math.nextafter(over, 0), 200), schedule(over, 200), rtol=1e-12)


# --- Plateau ----------------------------------------------------------------------------------------------------------


def test_plateau_reads_the_validation_loss():
    """By default it watches the validation loss if there is one, else the loss; or what it is told to watch."""
    falling, rising = [1.0, 0.5, 0.2, 0.1], [1.0, 1.1, 1.2, 1.3]
    reduced, kept = [1.0, 1.0, 0.5, 0.25, 0.125], [1.0] * 5
    default = Plateau(0.5, patience=0)
    assert Training(loss=falling, validation_loss=rising).run(default, 4) == reduced
    assert Training(loss=rising, validation_loss=falling).run(default, 4) == kept
    assert Training(loss=rising).run(default, 4) == reduced
    told = Plateau(0.5, patience=0, monitor="loss")
    assert Training(loss=falling, validation_loss=rising).run(told, 4) == kept
    assert Training(other=rising, loss=falling).run(Plateau(0.5, 0, monitor="other"), 4) == reduced


def test_plateau_begins_again():
    """A second training begins at 1 and knows nothing of the first, even if it ended badly."""
    schedule, alike = Plateau(0.5, patience=1, cooldown=3), [1.0, *[2.0] * 9]
    first = Training(loss=alike).run(schedule, 10)
    assert first[-1] < 1
    assert Training(loss=alike).run(schedule, 10) == first
    schedule.fit_begin(Training(loss=[]))
    assert schedule(0.0, 10) == 1.0


def test_plateau_of_nan():
    """A loss that is nan has not fallen, and does not become the lowest; an infinite one may be the first."""
    nan = math.nan
    assert Training(loss=[nan, nan, nan]).run(Plateau(0.5, 1), 3) == [1.0, 1.0, 0.5, 0.5]
    assert Training(loss=[1.0, nan, 0.5, nan, nan]).run(Plateau(0.5, 1), 5) == [1.0, 1.0, 1.0, 1.0, 1.0, 0.5]
    assert Training(loss=[math.inf, 1.0, 0.5]).run(Plateau(0.5, 0), 3) == [1.0, 0.5, 0.5, 0.5]


def test_plateau_without_its_loss():
    with pytest.raises(ValueError, match=r"^Plateau: monitor must be one of loss, accuracy, got 'validation_loss'$"):
        Training(loss=[1.0], accuracy=[0.5]).run(Plateau(monitor="validation_loss"), 1)


def test_plateau_stops_at_its_minimum():
    assert Training(loss=[1.0] * 6).run(Plateau(0.5, 0, minimum=0.3), 6) == [1.0, 1.0, 0.5, 0.3, 0.3, 0.3, 0.3]


def test_warm_up_tells_what_follows():
    """A plateau after a warm-up sees every epoch; a schedule without such methods is left alone."""
    found = Training(loss=[1.0] * 6).run(WarmUp(2, Plateau(0.5, 3)), 6)
    assert_allclose(found, [0.1, 0.55, 1.0, 1.0, 1.0, 0.5, 0.5])
    again = Training(loss=[1.0] * 6).run(WarmUp(2, WarmUp(0, Plateau(0.5, 3))), 6)
    assert again == found
    assert Training(loss=[1.0] * 2).run(WarmUp(1, start=0), 2) == [0.0, 1.0, 1.0]
    assert Training(loss=[1.0] * 2).run(WarmUp(1, Constant(), start=0), 2) == [0.0, 1.0, 1.0]


# --- Settings ---------------------------------------------------------------------------------------------------------

NO_NUMBERS = ["0.1", None, True, np.True_, [0.1], 1j]
NOT_FINITE = [-0.1, math.nan, math.inf, 10**400]


@pytest.mark.parametrize(
    ("kind", "name", "wrong", "message"),
    [
        (kind, name, wrong, message)
        for kind, name, rows in [
            (StepDecay, "factor", ["number", "finite", "most"]),
            (StepDecay, "every", ["integer", "size"]),
            (ExponentialDecay, "factor", ["number", "finite", "most"]),
            (InverseTime, "decay", ["number", "finite"]),
            (Cosine, "end", ["number", "finite"]),
            (WarmUp, "over", ["number", "finite"]),
            (WarmUp, "start", ["number", "finite", "most"]),
            (WarmUp, "then", ["schedule", "class"]),
            (Plateau, "factor", ["number", "finite", "below"]),
            (Plateau, "threshold", ["number", "finite", "below"]),
            (Plateau, "patience", ["integer"]),
            (Plateau, "cooldown", ["integer"]),
            (Plateau, "minimum", ["number", "finite", "most"]),
            (Plateau, "monitor", ["name"]),
        ]
        for wrong, message in (
            {
                "number": (NO_NUMBERS, "must be a number, got "),
                "finite": (NOT_FINITE, "must be finite and not negative, got "),
                "most": ([1.1, 2], "must be at least 0 and at most 1, got "),
                "below": ([1, 1.0, 2], "must be at least 0 and below 1, got "),
                "integer": ([1.0, 1.5, "3", None, True, -1], "must be an integer"),
                "size": ([0], "must be an integer >= 1, got 0"),
                "schedule": ([3, 0.5, "cosine"], "must be a schedule, a function of epoch and epochs, or None, got "),
                "class": ([Cosine], "must be a schedule.*Cosine'>; write Cosine()"),
                "name": ([3, ["loss"], True], "must be None or the name of a loss in the history, got "),
            }[row]
            for row in rows
        )
    ],
)
def test_bad_settings(kind, name, wrong, message):
    """A setting that makes no sense is refused where it is set, by name, with what was given."""
    for value in wrong:
        with pytest.raises(ValueError, match=f"^{kind.__name__}: {name} {message}") as caught:
            kind(**{name: value})
        assert repr(value) in str(caught.value)


def test_every_setting_is_tried():
    """A new setting needs its row above."""
    rows = test_bad_settings.pytestmark[0].args[1]
    every = {(kind, name) for kind in KINDS for name in inspect.signature(kind).parameters}
    assert {(kind, name) for kind, name, _, _ in rows} == every


@every_schedule
def test_repr(schedule):
    """A schedule is written as it is made, and gives the same then."""
    again = eval(repr(schedule), vars(nngraph.schedules))  # noqa: S307 -- our own text
    assert repr(again) == repr(schedule)
    assert [again(epoch / 3, 20) for epoch in range(60)] == [schedule(epoch / 3, 20) for epoch in range(60)]


def test_settings_become_plain_numbers():
    """NumPy's numbers are taken, and kept as Python's, so that a factor never widens float32."""
    schedule = StepDecay(np.float32(0.5), np.int64(3))
    assert repr(schedule) == "StepDecay(factor=0.5, every=3)"
    assert type(WarmUp(np.int64(2), start=np.float32(0.5))(1, 5)) is float


@pytest.mark.parametrize("kind", KINDS)
def test_fixed(kind):
    """Settings do not change; but for a plateau, equal settings make equal schedules."""
    schedule = kind()
    if kind is Plateau:
        assert schedule != Plateau()
    else:
        assert schedule == kind()
        assert len({schedule, kind()}) == 1
        with pytest.raises(AttributeError):
            schedule.factor = 2.0


@pytest.mark.parametrize("kind", KINDS)
def test_documented(kind):
    """The docstring begins with the formula and names every setting and its default."""
    doc = inspect.getdoc(kind)
    assert doc.startswith("``f = ")
    for name, parameter in inspect.signature(kind).parameters.items():
        written = (
            "optional" if parameter.default is None else f"default={parameter.default!r}".replace("0.0001", "1e-4")
        )
        assert any(line.startswith(f"{name} : ") and line.endswith(written) for line in doc.splitlines()), name


def test_every_schedule_is_in_the_tables():
    public = {
        value
        for value in vars(nngraph.schedules).values()
        if isinstance(value, type) and value.__module__ == "nngraph.schedules"
    }
    assert public == set(KINDS)


def test_any_function_is_a_schedule():
    """Nothing but a call is asked for; the history may be any mapping with `last`."""
    assert WarmUp(0, lambda epoch, _epochs: 1 / (1 + epoch))(1, 2) == 0.5
    history = History(loss=[1.0, 2.0])
    schedule = WarmUp(0, Plateau(0.5, 0))
    for _ in range(2):
        schedule.epoch_end(SimpleNamespace(history=history))
    assert schedule(2, 2) == 0.5
