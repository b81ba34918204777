"""Conjugate gradients on digits of 20 x 20 pixels: the same training from two starts.

What to learn here: all weights, rolled into one vector, are a point, and any method of scipy.optimize can go downhill
from there. But the start matters. A net 400-25-10 of sigmoids was published with initial weights ``rand * (2 e - e)``;
that is ``rand * e``, never negative, where ``rand * 2 e - e`` was meant, which is as often negative as positive. Sums
of 400 pixels with positive weights push every hidden sigmoid to its flat end, where the gradient nearly vanishes, and
the loss sits at 3.25: that of answering every image with how frequent each digit is. SciPy's line search gets off that
plateau, but late; a training that is stopped before seems to have stalled for good.

python demos/conjugate_gradients.py
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from numpy.typing import NDArray
from scipy.ndimage import zoom
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from gates import Logistic, Sigmoid
from nngraph import Model
from nngraph.initializers import Generator
from nngraph.optimizers import ScipyMinimize
from nngraph.penalties import L2
from nngraph.plotting import COLORS

ITERATIONS = 60


def as_published(rng: Generator, fan_in: int, fan_out: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw weights and biases from 0 to e."""
    e = np.sqrt(6 / (fan_in + fan_out))
    return rng.uniform(0, 1, (fan_in, fan_out)) * (2 * e - e), rng.uniform(0, 1, fan_out) * (2 * e - e)


def symmetric(rng: Generator, fan_in: int, fan_out: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw weights and biases from -e to e."""
    e = np.sqrt(6 / (fan_in + fan_out))
    return rng.uniform(0, 1, (fan_in, fan_out)) * 2 * e - e, rng.uniform(0, 1, fan_out) * 2 * e - e


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("conjugate_gradients.png"), help="the figure's file")
    options = parser.parse_args()
    X, y = load_digits(return_X_y=True)
    X = zoom(X.reshape(-1, 8, 8) / 16, (1, 2.5, 2.5), order=1).reshape(-1, 400)  # 8 x 8 pixels enlarged to 20 x 20
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.2, stratify=y, random_state=0)

    figure, ax = plt.subplots(figsize=(9, 4.5), layout="constrained")
    print("               hidden units at the start  loss after iteration                       test")
    print("start          mean   slope a (1 - a)          1      5     10     20     40     60  accuracy")
    for color, line, initializer in ((COLORS[6], "-", as_published), (COLORS[0], "--", symmetric)):
        name = initializer.__name__.replace("_", " ")
        # One sigmoid and one cross-entropy for each of the ten outputs; Logistic is both in one.
        model = Model([400, 25, 10], layer=Sigmoid(), output=Logistic(), initializer=initializer, random_state=0)
        A = model.activations(X)["A1"]
        history = model.fit(
            X, np.eye(10)[y], epochs=ITERATIONS, optimizer=ScipyMinimize("CG"), penalty=L2(1e-4), progress=False
        )
        losses = 10 * history["loss"]  # Logistic takes the mean over the outputs, the published loss their sum
        accuracy = np.mean(model.predict_proba(X_test).argmax(axis=1) == y_test)
        shown = "".join(f"{losses[i - 1]:7.3f}" for i in (1, 5, 10, 20, 40, 60))
        print(f"{name:<13}  {A.mean():.3f}  {np.mean(A * (1 - A)):15.4f}     {shown}  {accuracy:8.3f}")
        ax.plot(np.arange(1, history.epochs + 1), losses, line, color=color, linewidth=1.8, label=f"start {name}")

    share = np.bincount(y) / len(y)
    plateau = -np.sum(share * np.log(share) + (1 - share) * np.log(1 - share))
    ax.axhline(plateau, color="black", linestyle=":", label=f"every digit at its frequency: {plateau:.2f}")
    ax.set(title="400-25-10 by conjugate gradients", xlabel="iteration", ylabel="cross-entropy of ten outputs")
    ax.set(xlim=(0, ITERATIONS), ylim=0)
    ax.grid(visible=True, alpha=0.3)
    ax.legend()
    figure.savefig(options.output, dpi=100)
    print(f"figure: {options.output}")


if __name__ == "__main__":
    main()
