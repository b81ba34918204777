"""Why data are scaled: the same regression on [x, x^2] diverges as it is and converges once it is standardised.

The column x^2 goes up to 100. In its direction the loss is a steep valley, and a step that suits the other directions
jumps across it, higher each time. A step small enough for the steep direction hardly moves in the flat ones. With every
column at mean 0 and variance 1 the directions are much alike, and one step length suits all.

python demos/scaling.py
"""

import argparse
import textwrap
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import StandardScaler

from gates import SquaredError
from nngraph import DivergenceError, Model
from nngraph.plotting import COLORS, plot_loss

PASSES, EPSILON, TINY = 2000, 1e-3, 2e-6


def main() -> None:
    parser = argparse.ArgumentParser(description="Linear regression on [x, x^2], unscaled and standardised.")
    parser.add_argument("--output", type=Path, default=Path("scaling.png"), help="the figure's file")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(0, 10, 100))
    X, y = np.column_stack([x, x**2]), 20 + 8 * x - 1.5 * x**2 + rng.normal(0, 5, x.size)

    print(f"1. As it is, with epsilon {EPSILON:g}:\n")
    raw = Model([2, 1], output=SquaredError(), random_state=0)
    try:
        raw.train(X, y, num_passes=PASSES, epsilon=EPSILON, reg_lambda=0)
    except DivergenceError as error:
        print(textwrap.fill(f"DivergenceError: {error}", 100))

    print(f"\n2. As it is, with epsilon {TINY:g}; and standardised, with epsilon {EPSILON:g}:\n")
    slow = Model([2, 1], output=SquaredError(), random_state=0)
    slow.train(X, y, num_passes=PASSES, epsilon=TINY, reg_lambda=0)

    features, target = StandardScaler().fit(X), StandardScaler().fit(y[:, None])
    scaled = Model([2, 1], output=SquaredError(), random_state=0)
    X_scaled, y_scaled = features.transform(X), target.transform(y[:, None])
    scaled.train(X_scaled, y_scaled, num_passes=PASSES, epsilon=EPSILON, reg_lambda=0)
    # Predictions come standardised too: back to the units of y.
    predicted = target.inverse_transform(scaled.predict(X_scaled)[:, None])[:, 0]

    # The best there is, by formula: the net has nothing to add to it, it only has to get there.
    exact = LinearRegression().fit(X, y).predict(X)
    unit = float(target.scale_[0]) ** 2  # from a loss on standardised targets to one in the units of y
    curves = {
        f"as it is, epsilon {EPSILON:g}": raw.loss_history,
        f"as it is, epsilon {TINY:g}": slow.loss_history,
        f"standardised, epsilon {EPSILON:g}": [unit * loss for loss in scaled.loss_history],
    }
    print("training                    passes  mean squared error")
    for name, losses in curves.items():
        print(f"{name:<27} {len(losses) - 1:6d}  {losses[-1]:18.4g}")
    print(f"{'least squares, exact':<27} {'':6}  {np.mean((exact - y) ** 2):18.4g}")

    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4.2), layout="constrained")
    for (name, losses), color in zip(curves.items(), (COLORS[6], COLORS[1], COLORS[0]), strict=True):
        # What diverges leaves the picture after two passes.
        plot_loss(losses[:4] if losses[-1] > losses[0] else losses, ax=left, log=True, label=name).line_.set(
            color=color
        )
    left.set(title="loss while they learned", ylabel="mean squared error", ylim=(10, 1e10))
    left.text(1.4, 3e8, f"{raw.loss_history[-1]:.0e} in pass {len(raw.loss_history) - 1}", color=COLORS[6])
    left.legend(loc="upper right", bbox_to_anchor=(1, 0.8))
    right.plot(x, y, "o", color="white", markeredgecolor="grey", markersize=4, label="data")
    right.plot(x, slow.predict(X), color=COLORS[1], label=f"as it is, epsilon {TINY:g}")
    right.plot(x, predicted, color=COLORS[0], label="standardised")
    right.set(title="what was learned", xlabel="x", ylabel="y")
    right.grid(visible=True, alpha=0.3)
    right.legend()
    figure.savefig(options.output, dpi=100)
    print(f"\nfigure: {options.output}")


if __name__ == "__main__":
    main()
