"""How long a step of `Model.fit` takes with each optimiser, penalty and schedule, and the same step by hand.

python benchmarks/learning.py                     # everything, a minute or two
python benchmarks/learning.py --only S11          # one task
python benchmarks/learning.py --quick             # a look, with much noise

Both train from the same weights on the same batches, with the same dropout, and report the loss and the time of every
epoch; a row whose losses differ is void. A time is that from the end of the first epoch to the end of the last one, so
that what is done once does not count, over the steps in between. Each repetition gives both a turn; the ratio is the
median over the repetitions, each within its own.
"""

import argparse
import math
import time
from collections.abc import Callable

import numpy as np
from by_hand_learning import Epochs, by_hand
from recipes import TASKS, Recipe, Task
from training import CLOSE, print_machine, thread_count

from nngraph.schedules import Cosine

GOAL = 1.15
SEED = 1


def fit(task: Task, recipe: Recipe, epochs: int, seed: int) -> Epochs:
    """Train for so many epochs with `Model.fit`."""
    X, y = task.data
    history = task.model(recipe).fit(
        X,
        y,
        epochs=epochs,
        batch_size=task.batch_size,
        optimizer=recipe.optimizer,
        schedule=Cosine() if recipe.cosine else None,
        penalty=recipe.penalty,
        clip_norm=recipe.clip_norm,
        random_state=np.random.default_rng(seed),
    )
    losses = history["objective" if recipe.penalty else "loss"]
    return list(zip(losses.tolist(), history["seconds"].tolist(), strict=True))


Trainer = Callable[[Task, Recipe, int, int], Epochs]


def microseconds(train: Trainer, task: Task, recipe: Recipe, epochs: int) -> float:
    """Return the time of a step in so many epochs, after one more."""
    history = train(task, recipe, epochs + 1, SEED)
    return (history[-1][1] - history[0][1]) / (epochs * task.steps) * 1e6


def measure(task: Task, recipe: Recipe, repeats: int, turn: float) -> str:
    """Print a row, and return the verdict."""
    ours, theirs = (train(task, recipe, task.checked, SEED)[-1][0] for train in (fit, by_hand))
    epochs = 1
    while (taken := microseconds(by_hand, task, recipe, epochs) * epochs * task.steps / 1e6) < turn / 5:
        epochs *= 2
    epochs = max(1, math.ceil(epochs * turn / taken))
    times = np.empty((repeats, 2))
    for i in range(repeats):
        # Who begins is as often second.
        for j in (i % 2, 1 - i % 2):
            times[i, j] = microseconds((fit, by_hand)[j], task, recipe, epochs)
    ratios = times[:, 0] / times[:, 1]
    ratio = float(np.median(ratios))
    verdict = "reached" if ratio <= GOAL else "missed"
    if not math.isclose(ours, theirs, rel_tol=CLOSE[task.dtype]):
        verdict = "VOID"
    columns = "".join(f"{np.median(column):10.1f}" for column in times.T)
    spread = f"{ratio:8.2f} ({ratios.min():.2f} to {ratios.max():.2f})"
    remark = f"{ours:.9g}" if verdict != "VOID" else f"{ours:.9g}, but by hand {theirs:.9g}"
    print(f"{recipe.title:<28}{columns}   {spread:<26}{verdict:<10}{remark}", flush=True)
    return verdict


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, help="turns that both get (default 7)")
    parser.add_argument("--only", default=",".join(TASKS), help="tasks, by name (default %(default)s)")
    parser.add_argument("--rows", default="", help="only rows whose title has this in it")
    parser.add_argument("--quick", action="store_true", help="two short turns")
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := set(names) - set(TASKS):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    repeats, turn = (2, 0.03) if options.quick else (options.repeats, 0.08)
    print_machine()
    begin, verdicts = time.perf_counter(), []
    for name in names:
        task = TASKS[name]
        rows = f"{task.batch_size} of {task.rows} rows"
        print(f"\n{name}: {task.workload.title}, {rows}, {task.dtype}; microseconds per step")
        print(f"{'':<28}{'fit':>10}{'by hand':>10}   {'ratio':>8} (min to max)      {'':<10}loss at the end of", end="")
        print(f" epoch {task.checked}")
        with thread_count(0):
            verdicts += [
                measure(task, recipe, repeats, turn) for recipe in task.recipes if options.rows in recipe.title
            ]
    reached = verdicts.count("reached")
    print(f"\nAt most {GOAL} times the time by hand: {reached} of {len(verdicts)}; ", end="")
    print(f"{verdicts.count('VOID')} void; {time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
