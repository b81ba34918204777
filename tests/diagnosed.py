"""Run a demo, and diagnose each of its nets when its training begins and when it has ended.

python tests/diagnosed.py found.json demos/xor.py --output xor.png
"""

import inspect
import json
import runpy
import sys
from pathlib import Path

from nngraph import Model
from nngraph.optimizers import Adam, GradientDescent, Optimizer

FOUND = []


def told(diagnosis):
    """Return what was found, and the whole text."""
    return list(diagnosis.kinds), str(diagnosis)


def watch(name):
    """Let a method of Model diagnose the model before and after it trains."""
    method = getattr(Model, name)
    signature = inspect.signature(method)

    def watched(self, *arguments, **options):
        given = signature.bind(self, *arguments, **options)
        given.apply_defaults()
        X, y = given.arguments["X"], given.arguments["y"]
        optimizer = given.arguments.get("optimizer")
        if name == "train":
            # It follows the sum of the losses.
            optimizer = GradientDescent(max(given.arguments["epsilon"], 0) * self.objective_on(X, y).scale)
        elif not isinstance(optimizer, Optimizer):
            optimizer = Adam()
        FOUND.append(["start", *told(self.diagnose(X, y, optimizer=optimizer))])
        try:
            return method(self, *arguments, **options)
        finally:
            FOUND.append(["end", *told(self.diagnose(X, y, optimizer=optimizer))])

    setattr(Model, name, watched)


if __name__ == "__main__":
    file, demo, *arguments = sys.argv[1:]
    watch("train")
    watch("fit")
    sys.argv, sys.path[0] = [demo, *arguments], str(Path(demo).parent)
    try:
        runpy.run_path(demo, run_name="__main__")
    finally:
        Path(file).write_text(json.dumps(FOUND), encoding="utf-8")
