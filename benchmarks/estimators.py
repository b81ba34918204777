"""`GateClassifier` beside scikit-learn's `MLPClassifier`: time to fit, accuracy, time to predict.

python benchmarks/estimators.py                   # everything, a minute or two
python benchmarks/estimators.py --quick           # a look, with much noise

Digits, of which a stratified fifth is for testing; one net, solver, batch size and number of epochs, from the same
initial weights in the same order of examples: a row whose losses differ is void. Each repetition gives both a turn; the
ratio is the median over the repetitions, each within its own. With the threads of NumPy's BLAS that the environment
says; run it with OPENBLAS_NUM_THREADS=1 and =2 and take each library at its best.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from statistics import mean, median
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from training import print_machine

from nngraph import GateClassifier

GOAL = 1.8
PAIR: tuple[type, type] = (MLPClassifier, GateClassifier)


def seconds(action: Callable[[], Any]) -> float:
    """Return how long it takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def compare(name: str, turns: list[tuple[float, float]], unit: float, note: str = "") -> None:
    """Print a row: both times, the ratio and its spread."""
    theirs, ours = (median(turn[i] for turn in turns) * unit for i in (0, 1))
    ratios = sorted(turn[0] / turn[1] for turn in turns)
    print(f"{name:<34} {theirs:10.1f} {ours:10.1f} {median(ratios):7.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})  {note}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions and epochs")
    options = parser.parse_args()
    repeats, epochs, many = (3, 20, 100_000) if options.quick else (7, 200, 1_000_000)
    warnings.simplefilter("ignore", ConvergenceWarning)
    print_machine()
    X, y = load_digits(return_X_y=True)
    X /= 16
    print(f"\n{'':<34} {'sklearn':>10} {'nngraph':>10} {'ratio':>7}")

    scores: list[tuple[float, float]] = []
    for solver in ("adam", "sgd"):
        turns = []
        for seed in range(5):
            X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=seed, stratify=y)
            # Neither stops before the last epoch.
            settings = {"solver": solver, "max_iter": epochs, "n_iter_no_change": np.inf, "random_state": seed}
            fitted = [kind(**settings).fit(X_train, y_train) for kind in PAIR]
            if abs(fitted[0].loss_ - fitted[1].loss_) > 1e-8:
                print(f"void: the losses are {fitted[0].loss_} and {fitted[1].loss_}")
            if solver == "adam":
                scores.append(tuple(net.score(X_test, y_test) for net in fitted))
            turns += [
                tuple(seconds(lambda: kind(**settings).fit(X_train, y_train)) for kind in PAIR)  # noqa: B023 - at once
                for _ in range(repeats if seed == 0 else 1)
            ]
        compare(f"fit, {solver}, {epochs} epochs, ms", turns, 1e3, f"goal {GOAL}")
    accuracies = [mean(score[i] for score in scores) for i in (0, 1)]
    print(f"{'mean test accuracy of five seeds':<34} {accuracies[0]:10.4f} {accuracies[1]:10.4f}")

    rng = np.random.default_rng(0)
    for rows in (1, 100, many):
        Z = rng.uniform(size=(rows, 64))
        for net in fitted:
            net.predict(Z)
        count = max(1, 200 // rows)
        turns = [
            tuple(seconds(lambda: [net.predict(Z) for _ in range(count)]) / count for net in fitted)  # noqa: B023 - at once
            for _ in range(repeats)
        ]
        compare(f"predict {rows:,} rows, us", turns, 1e6, "goal 1")
    parts = [(X[i : i + 32], y[i : i + 32]) for i in range(0, 1600, 32)]
    turns = []
    for _ in range(repeats):
        nets = [kind(random_state=0).partial_fit(X, y, classes=np.arange(10)) for kind in PAIR]
        turns.append(tuple(seconds(lambda: [net.partial_fit(*part) for part in parts]) / len(parts) for net in nets))  # noqa: B023 - at once
    compare("partial_fit of 32 rows, us", turns, 1e6)


if __name__ == "__main__":
    main()
