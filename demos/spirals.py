"""Three spirals, three classes: what hidden layers are for.

What to learn here: no straight line parts the spirals, so a net without hidden units is little better than guessing;
one hidden layer bends the borders, and a second one winds them around. Softmax needs no change for three classes, only
three scores.

python demos/spirals.py
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from numpy.typing import NDArray

from gates import ReLU
from nngraph import Model
from nngraph.initializers import he_normal
from nngraph.optimizers import Adam
from nngraph.plotting import plot_decision_boundary
from nngraph.schedules import Cosine

NETS = {"no hidden layer": [2, 3], "one of 16": [2, 16, 3], "two of 16": [2, 16, 16, 3]}


def make_spirals(points: int, noise: float, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return so many points on each of three arms, a whole turn long, and the number of each point's arm."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(3), points)
    radius = np.tile(np.linspace(0.05, 1, points), 3)
    angle = 2 * np.pi * (y / 3 + radius) + rng.normal(0, noise, len(y))
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle)]), y


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("spirals.png"), help="the figure's file")
    options = parser.parse_args()
    X, y = make_spirals(100, noise=0.2, seed=0)
    X_test, y_test = make_spirals(100, noise=0.2, seed=1)

    figure, axes = plt.subplots(1, 3, figsize=(11, 4.1), layout="constrained", sharex=True, sharey=True)
    print("hidden layers    parameters    loss  train accuracy  test accuracy")
    for ax, (name, widths) in zip(axes, NETS.items(), strict=True):
        model = Model(widths, layer=ReLU(), initializer=he_normal, random_state=0)
        model.fit(X, y, epochs=200, optimizer=Adam(0.01), schedule=Cosine(), progress=False)
        train, test = np.mean(model.predict(X) == y), np.mean(model.predict(X_test) == y_test)
        parameters = sum(array.size for array in model.parameters.values())
        print(f"{name:<15}  {parameters:10}  {model.calculate_loss(X, y):6.4f}  {train:14.3f}  {test:13.3f}")
        plot_decision_boundary(model, X, y, ax=ax)
        ax.set(title=f"{name}: {test:.1%} right", aspect="equal")
        ax.label_outer()
        if ax is not axes[0]:
            ax.get_legend().remove()
    figure.savefig(options.output, dpi=100)
    print(f"figure: {options.output}")


if __name__ == "__main__":
    main()
