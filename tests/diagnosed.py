"""Run a demo, and diagnose each of its nets when its training begins and when it has ended.

python tests/diagnosed.py found.json demos/xor.py --output xor.png
"""

import inspect
import json
import runpy
import sys
from pathlib import Path

from nngraph import DivergenceError, Model
from nngraph.optimizers import Adam, GradientDescent, Optimizer

FOUND = []


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
            optimizer = GradientDescent(given.arguments["epsilon"] * self.objective_on(X, y).scale)
        elif not isinstance(optimizer, Optimizer):
            optimizer = Adam()
        stages = {"start": self.diagnose(X, y, optimizer=optimizer)}
        try:
            return method(self, *arguments, **options)
        except DivergenceError:
            stages["diverged"] = stages["start"]
            raise
        finally:
            stages.setdefault("end", self.diagnose(X, y, optimizer=optimizer))
            for stage, diagnosis in stages.items():
                FOUND.append([stage, list(diagnosis.kinds), str(diagnosis)])

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
