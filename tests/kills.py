"""A training that is killed again and again while it writes checkpoints: ``python -m tests.kills COUNT SEED FOLDER``.

Each time another process takes it up from the file, and is killed at a random moment. After every kill the file must be
whole, and have the very state that a training has which nobody disturbs.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time
import warnings
from pathlib import Path

import numpy as np

import nngraph
from nngraph import Dense, Dropout, Model
from nngraph.callbacks import Callback, Checkpoint, EarlyStopping
from nngraph.storage.reading import read_file

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 8))
Y = (X[:, 0] * X[:, 1] > 0).astype(int)
FOREVER = 10**6


def state(path):
    """Return how many epochs a checkpoint has, and all that it says, but for the time that was taken."""
    content = read_file(path)
    record = content.record("training")
    (history,) = record["history"].values()
    columns = record["settings"]["dict"][-1][1]
    assert "seconds" in columns
    rows = np.delete(content.arrays[history], 2, axis=1)
    arrays = [(name, array.tobytes()) for name, array in sorted(content.arrays.items()) if name != history]
    return record["epochs"], hash((content.texts["model"], repr(record), rows.tobytes(), repr(arrays)))


def train(path, epochs, ready=None):
    """Train, or go on with a training, writing a checkpoint after every epoch."""

    class Tell(Callback):
        """Says when the first epoch is done and written."""

        def epoch_begin(self, training):
            if ready is not None and training.epoch == training.first + 1:
                os.write(ready, b"!")

    model = Model([8, Dense(32), Dropout(0.1), 2], random_state=0)
    callbacks = [EarlyStopping(FOREVER, monitor="loss"), Checkpoint(path), Tell()]
    history = model.fit(
        X, Y, epochs=epochs, batch_size=16, callbacks=callbacks, progress=False, resume=path if path.exists() else None
    )
    return model, history


def killed(path, wait):
    """Train in another process until it is killed, some seconds after its first epoch."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            train(path, FOREVER, write)
        os._exit(1)
    os.close(write)
    assert os.read(read, 1) == b"!", "the training ended before its first epoch did"
    os.close(read)
    time.sleep(wait)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the training ended by itself"


class Seen(Callback):
    """Compares what is written with what was found after the kills."""

    def __init__(self, path, found):
        self.path, self.found, self.compared = path, found, 0

    def epoch_begin(self, training):
        if training.epoch in self.found:
            epochs, now = state(self.path)
            assert epochs == training.epoch
            assert now == self.found[epochs], f"after {epochs} epochs it was in another state"
            self.compared += 1


def main(count, seed, folder):
    """Kill a training so many times."""
    warnings.simplefilter("ignore")
    rng, path, found, halves = random.Random(seed), folder / "checkpoint", {}, 0  # noqa: S311 - no secret
    last = 0
    for _ in range(count):
        killed(path, rng.uniform(0, 0.02))
        halves += any(name.name.endswith(".partial") for name in folder.iterdir())
        epochs, now = state(path)
        nngraph.load(path)
        assert epochs > last, "an epoch that was written is lost"
        found[epochs], last = now, epochs
    # One that nobody disturbs, which goes through all the same states.
    alone = folder / "alone"
    whole = Model([8, Dense(32), Dropout(0.1), 2], random_state=0)
    seen = Seen(alone, found)
    callbacks = [EarlyStopping(FOREVER, monitor="loss"), Checkpoint(alone), seen]
    whole.fit(X, Y, epochs=last + 2, batch_size=16, callbacks=callbacks, progress=False)
    model, history = train(path, last + 2)
    assert seen.compared == len(found)
    assert history.epochs == last + 2
    assert all(model.parameters[name].tobytes() == value.tobytes() for name, value in whole.parameters.items())
    assert state(path) == state(alone)
    assert sorted(name.name for name in folder.iterdir()) == ["alone", "checkpoint"], "something is left over"
    print(f"{count} kills in {last} epochs, {halves} of them with a file half written; nothing is lost")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
