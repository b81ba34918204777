"""The course of a training: all that it needs to go on to the byte, written down, and brought back."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gates.arrays import Array
from nngraph.flat import Flat
from nngraph.meter import Meter
from nngraph.nodes import Parameter, Running
from nngraph.storage.decoding import Decoder, losses_of
from nngraph.storage.encoding import Encoder
from nngraph.storage.file import StorageError, path_of, text_of
from nngraph.storage.generators import generator_of, state_of
from nngraph.storage.reading import read_file
from nngraph.storage.writing import check_place, write_file
from nngraph.training import Training


class Resumed:
    """A checkpoint that was read, and is of a model built like this one.

    Parameters
    ----------
    path : str or path
    model : Model
        It is not changed.
    epochs : int
        How many are asked for.

    Attributes
    ----------
    state : dict
        What `Course` has written of the training.
    first : int
        How many epochs are done.
    begin, now, random : numpy.random.Generator
        In the state with which the training began, in that of the checkpoint, and the model's own there (which may be a
        RandomState).
    values : list of arrays
        The parameters and running averages, in the order of the nodes.
    losses : list of float
        The model's loss_history.

    Raises
    ------
    StorageError
        If it is no checkpoint, or one of another model, or has more epochs.
    OSError
        If it cannot be read.
    """

    def __init__(self, path: Any, model: Any, epochs: int) -> None:
        self.path = path_of(path, "resume")
        try:
            content = read_file(self.path)
        except FileNotFoundError as error:
            advice = "to begin, or to go on if there is one: resume=path if Path(path).exists() else None"
            raise FileNotFoundError(error.errno, f"there is no checkpoint {self.path}; {advice}") from error
        if "training" not in content.texts:
            raise StorageError(f"{self.path}: is a model, not a checkpoint: there is no training to go on with")
        self._decoder = Decoder(content.arrays, {}, self.path)
        # Everything that is read of the file is read under its guard.
        self.guard = self._decoder.guard
        self._model = self._decoder.fields(
            content.record("model"), "gates", "nodes", "output", "random", "loss_history"
        )
        record = self._decoder.fields(content.record("training"))
        if "not resumable" in record:
            raise StorageError(
                f"{self.path}: is of a training by {record['not resumable']!s:.200}, whose state is SciPy's; load "
                "the model, and fit anew"
            )
        self.guard(lambda: self._compare(model, content.arrays))
        decode = self._decoder.value
        self.state = {name: decode(part) for name, part in record.items()}
        self.first = self.guard(lambda: _count(self.state["epochs"]))
        if self.first > epochs:
            raise StorageError(
                f"{self.path}: {self.first} epochs are done, and epochs={epochs} are asked for; ask for "
                f"{self.first} or more, or load the model from it"
            )
        self.begin, self.now = self._generator("begin"), self._generator("now")
        self.random = self.guard(lambda: generator_of(decode(self._model["random"])))
        self.values = [self._decoder.array(node["value"]) for node in self._nodes(self._model)]
        self.losses = self.guard(lambda: losses_of(self._decoder, self._model["loss_history"]))

    def other(self, why: str) -> StorageError:
        """Return the error for a checkpoint of another training."""
        return StorageError(
            f"{self.path}: is of another training: {why}; resume with the model and the arguments with which it began"
        )

    def _generator(self, name: str) -> np.random.Generator:
        found = self.guard(lambda: generator_of(self.state[name]))
        if not isinstance(found, np.random.Generator):
            raise self.other(f"its {name} is no Generator")
        return found

    def _nodes(self, record: Mapping[str, Any]) -> list[Any]:
        return [node for node in record["nodes"] if node.get("kind") in ("Parameter", "Running")]

    def _compare(self, model: Any, arrays: Mapping[str, Array]) -> None:
        """Raise StorageError unless the model is built as that of the file."""
        encoder = Encoder()
        mine = json.loads(text_of(model.encoded(encoder)))

        def shown(record: Mapping[str, Any], values: Mapping[str, Array]) -> list[str]:
            found = []
            for node in self._nodes(record):
                ((order, name),) = node["value"].items()
                shape = values[name].shape[:: -1 if order == "columns" else 1]
                found.append(f"{name} {shape} {values[name].dtype}")
            return found

        here, there = shown(mine, encoder.arrays), shown(self._model, arrays)
        if here != there:
            raise self.other(f"the model has {', '.join(here):.400}, and the checkpoint {', '.join(there):.400}")
        for part in ("output", "gates", "nodes"):
            if mine[part] != self._model[part]:
                pairs = zip(mine[part], self._model[part], strict=False) if part != "output" else ()
                one, another = next((p for p in pairs if p[0] != p[1]), (mine[part], self._model[part]))
                raise self.other(
                    f"the model's {part} have {text_of(one):.300}, and the checkpoint's {text_of(another):.300}"
                )


class Course:
    """What a training is made of, for writing it down and for going on.

    Parameters
    ----------
    training : Training
    flat : Flat
    rng, begin : numpy.random.Generator
        Where it draws from, and one in the state of the beginning.
    meter : Meter
    listeners : sequence
        The callbacks, and a schedule that wants to know.
    settings : mapping from name to value
        What must be the same when it is resumed; they count by what they print.
    """

    def __init__(
        self,
        training: Training,
        flat: Flat,
        rng: np.random.Generator,
        begin: np.random.Generator,
        meter: Meter,
        listeners: Sequence[Any],
        settings: Mapping[str, Any],
    ) -> None:
        self._training, self._flat, self._rng, self._begin = training, flat, rng, begin
        self._meter, self._listeners = meter, listeners
        # Where an object lies in memory is no setting.
        self._settings = {name: re.sub(r" at 0x[0-9a-f]+", "", repr(value)) for name, value in settings.items()}

    # --- Written down ------------------------------------------------------------------------------------------------

    def check(self, path: Path) -> None:
        """Raise StorageError or OSError if a checkpoint could not be written, as far as that is known beforehand."""
        self._texts(Encoder(), 0)
        check_place(path)

    def write(self, path: Path) -> None:
        """Write the model and the training, at the end of an epoch."""
        # What a callback has done to the model's arrays, the training does not see.
        self._flat.write()
        encoder = Encoder()
        write_file(path, self._texts(encoder, self._training.epoch + 1), encoder.arrays)

    def _texts(self, encoder: Encoder, epochs: int) -> dict[str, str]:
        model = text_of(self._training.model.encoded(encoder))
        update = self._training.update
        if update is None:
            return {"model": model, "training": text_of({"not resumable": self._settings["optimizer"]})}
        training, encoder.prefix = self._training, "training"
        rows = [[row[name] for name in training.columns] for row in training.history.rows()]
        state = {
            "epochs": epochs,
            "reason": training.reason,
            "epoch": training.epoch,
            "batch": training.batch,
            "loss": training.loss,
            "rate": training.rate,
            "history": np.array(rows, np.float64).reshape(-1, len(training.columns)),
            "kept": training.kept,
            "steps": update.step,
            "optimizer": update.state,
            "begin": state_of(self._begin),
            "now": state_of(self._rng),
            "listeners": [(type(listener).__name__, remembered) for listener, remembered in self._states()],
            "settings": self._settings,
        }
        record = {name: encoder.value(part, f"the training's {name}") for name, part in state.items()}
        return {"model": model, "training": text_of(record)}

    def _states(self) -> list[tuple[Any, Any]]:
        """Return those listeners that remember something, each with its state."""
        asked = [(listener, getattr(listener, "state", None)) for listener in self._listeners]
        states = [(listener, ask(self._training)) for listener, ask in asked if ask is not None]
        return [(listener, state) for listener, state in states if state is not None]

    # --- Brought back ------------------------------------------------------------------------------------------------

    def resume(self, resumed: Resumed) -> None:
        """Have the training go on from a checkpoint; raise StorageError if it is one of another training."""
        there = resumed.guard(lambda: dict(resumed.state["settings"]))
        for name, value in self._settings.items():
            if there.get(name) != value:
                raise resumed.other(f"{name} is {value}, and was {there.get(name)!s:.300}")
        kinds = [type(random.bit_generator).__name__ for random in (self._rng, resumed.now)]
        if kinds[0] != kinds[1]:
            raise resumed.other(f"random_state is a {kinds[0]}, and was a {kinds[1]}")
        self._training.first = resumed.first
        self._training.resume = lambda: resumed.guard(lambda: self._restore(resumed))

    def _restore(self, resumed: Resumed) -> None:
        """Bring everything back, when the listeners have heard of the beginning; what can fail comes first."""
        training, flat, state, update = self._training, self._flat, resumed.state, self._training.update
        listeners, saved = [listener for listener, _ in self._states()], state["listeners"]
        names = [type(listener).__name__ for listener in listeners]
        if names != [name for name, _ in saved]:
            was = ", ".join(name for name, _ in saved) or "none"
            raise resumed.other(
                f"callbacks and schedule that remember are {', '.join(names) or 'none'}, and were {was:.300}"
            )
        assert update is not None  # noqa: S101 - a training by SciPy is not resumed
        epoch, theta, averages, loss = state["kept"]
        for mine, others in ((update.state, state["optimizer"]), ((flat.theta, flat.averages), (theta, averages))):
            if [(a.shape, a.dtype) for a in mine] != [(a.shape, a.dtype) for a in others]:
                raise ValueError("the arrays of the training have other shapes than its parameters")
        rows = state["history"]
        if rows.shape != (resumed.first, len(training.columns)):
            raise ValueError("the history has not a row for each epoch")
        numbers = {name: _count(state[name]) for name in ("epoch", "batch", "steps")}

        nodes = [node for node in training.model.graph.nodes if isinstance(node, Parameter | Running)]
        for node, value in zip(nodes, resumed.values, strict=True):
            node.value[...] = value
        flat.read()
        for place, part in zip(update.state, state["optimizer"], strict=True):
            place[...] = part
        update.step = numbers["steps"]
        for row in rows.tolist():
            training.history.append(dict(zip(training.columns, row, strict=True)))
        if resumed.first and "seconds" in training.columns:
            self._meter.resume(training.history.last("seconds"))
        training.epoch, training.batch = numbers["epoch"], numbers["batch"]
        training.loss, training.rate = float(state["loss"]), float(state["rate"])
        for listener, (_, remembered) in zip(listeners, saved, strict=True):
            listener.restore(training, remembered)
        if state["reason"]:
            # A callback has ended it.
            training.stop(state["reason"])
            training.first = training.epochs
        training.kept = _count(epoch), theta, averages, None if loss is None else float(loss)
        training.model.loss_history[:] = resumed.losses
        training.model.draw_on(resumed.random)
        self._rng.bit_generator.state = resumed.now.bit_generator.state


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < math.inf:
        raise ValueError(f"expected a count, got {value!r}")
    return value
