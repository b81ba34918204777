"""Write a gate that nngraph does not have, prove it, and train moons with it."""

import argparse
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import make_moons

from gates import Gate, check_gate
from nngraph import Model
from nngraph.plotting import plot_decision_boundary


class Bump(Gate):
    """``Z = exp(-X^2)``, a bump around zero; ``dX = -2 X exp(-X^2) dZ``."""

    def forward(self, X):
        return np.exp(-X * X)

    def backward(self, X, dZ):
        return -2 * X * self.forward(X) * dZ


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("custom_gate.png"), help="the figure's file")
    options = parser.parse_args()

    rng = np.random.default_rng(0)
    check_gate(Bump(), rng.standard_normal((5, 4)))
    print("Bump is proven: its backward agrees with central differences of its forward.")

    X, y = make_moons(200, noise=0.2, random_state=0)
    X_test, y_test = make_moons(200, noise=0.2, random_state=1)
    model = Model([2, 6, 2], layer=Bump(), random_state=0)
    model.train(X, y, num_passes=5000)
    print(f"loss:           {model.calculate_loss(X, y):.6f}")
    print(f"train accuracy: {np.mean(model.predict(X) == y):.3f}")
    print(f"test accuracy:  {np.mean(model.predict(X_test) == y_test):.3f}")

    figure, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
    plot_decision_boundary(model, X, y, X_test=X_test, y_test=y_test, ax=ax)
    ax.set_title("moons, with six bumps")
    figure.savefig(options.output, dpi=120)
    print(f"figure:         {options.output}")


if __name__ == "__main__":
    main()
