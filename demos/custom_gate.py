"""Write a gate that nngraph does not have, get it wrong, read what is wrong, mend it, prove it, train moons with it."""

import argparse
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from rich.console import Console
from sklearn.datasets import make_moons

from gates import Gate, check_gate
from nngraph import Model, check_model
from nngraph.plotting import plot_decision_boundary


class FirstTry(Gate):
    """``Z = exp(-X^2)``, a bump around zero. Its backward has a mistake."""

    def forward(self, X):
        return np.exp(-X * X)

    def backward(self, X, dZ):
        return self.forward(X) * dZ


class Bump(FirstTry):
    """``Z = exp(-X^2)``; ``dX = -2 X exp(-X^2) dZ``: the chain rule goes on to the derivative of -X^2."""

    def backward(self, X, dZ):
        return -2 * X * self.forward(X) * dZ


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("custom_gate.png"), help="the figure's file")
    options = parser.parse_args()
    console = Console(highlight=False)

    console.print("1. As it was first written:\n")
    wrong = check_gate(FirstTry())
    console.print(wrong)

    console.print("\n2. Mended as the diagnosis says:\n")
    proof = check_gate(Bump())
    console.print(proof)
    proof.raise_if_failed()

    console.print("\n3. Trained with:\n")
    X, y = make_moons(200, noise=0.2, random_state=0)
    X_test, y_test = make_moons(200, noise=0.2, random_state=1)
    model = Model([2, 6, 2], layer=Bump(), random_state=0)
    model.train(X, y, num_passes=5000)
    print(f"loss:           {model.calculate_loss(X, y):.6f}")
    print(f"train accuracy: {np.mean(model.predict(X) == y):.3f}")
    print(f"test accuracy:  {np.mean(model.predict(X_test) == y_test):.3f}")
    print(f"whole model:    {check_model(model, X, y).summary()}")

    figure, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
    plot_decision_boundary(model, X, y, X_test=X_test, y_test=y_test, ax=ax)
    ax.set_title("moons, with six bumps")
    figure.savefig(options.output, dpi=120)
    print(f"figure:         {options.output}")


if __name__ == "__main__":
    main()
