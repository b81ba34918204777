"""XOR: no straight line parts its two classes, so a perceptron cannot learn it; a hidden layer of 20 ReLU units can.

The net is 2 -> 20 (ReLU) -> 1 (sigmoid), its loss the mean squared error, and each of its 10,000 steps of rate 0.5
takes all four examples.

python demos/xor.py
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.colors import LinearSegmentedColormap

from gates import ReLU, Sigmoid, SquaredError
from nngraph import Dense, Model
from nngraph.optimizers import GradientDescent
from nngraph.plotting import COLORS, plot_loss

X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
y = np.array([0.0, 1.0, 1.0, 0.0])


def main() -> None:
    parser = argparse.ArgumentParser(description="Learn XOR with one hidden layer.")
    parser.add_argument("--output", type=Path, default=Path("xor.png"), help="the figure's file")
    options = parser.parse_args()

    # The sigmoid is a layer here, so that the loss is measured on numbers between 0 and 1.
    perceptron = Model([2, Dense(1, Sigmoid())], output=SquaredError(), random_state=0)
    net = Model([2, Dense(20, ReLU()), Dense(1, Sigmoid())], output=SquaredError(), random_state=0)
    histories = [
        model.fit(X, y, epochs=10000, batch_size=len(X), optimizer=GradientDescent(0.5)) for model in (perceptron, net)
    ]

    print("inputs  target  perceptron  20 hidden units")
    for x, target, alone, hidden in zip(X, y, perceptron.predict(X), net.predict(X), strict=True):
        print(f"{x[0]:.0f} {x[1]:.0f}     {target:6.0f}  {alone:10.4f}  {hidden:15.4f}")
    print(f"loss            {perceptron.calculate_loss(X, y):10.6f}  {net.calculate_loss(X, y):15.6f}")
    print(f"\nfarthest from its target: {np.abs(net.predict(X) - y).max():.4f}")

    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4.2), layout="constrained", width_ratios=[1.25, 1])
    side = np.linspace(-0.4, 1.4, 201)
    grid = np.stack(np.meshgrid(side, side), axis=-1)
    surface = net.predict(grid.reshape(-1, 2)).reshape(grid.shape[:2])
    shades = LinearSegmentedColormap.from_list("output", [COLORS[0], "white", COLORS[1]])
    drawn = left.contourf(side, side, surface, levels=np.linspace(0, 1, 21), cmap=shades)
    left.contour(side, side, surface, levels=[0.5], colors="black")
    figure.colorbar(drawn, ax=left, label="output of the net", ticks=[0, 0.25, 0.5, 0.75, 1])
    for target, marker, color in ((0, "o", COLORS[0]), (1, "s", COLORS[1])):
        points = X[y == target]
        left.plot(*points.T, marker, color=color, markeredgecolor="black", markersize=10)
        for (x, z), output in zip(points, net.predict(points), strict=True):
            note = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 2}
            left.text(
                x, z - 0.1, f"target {target}, output {output:.3f}", ha="center", va="center", fontsize=8, bbox=note
            )
    left.set(title="output over the square; black: 0.5", xlabel="first input", ylabel="second input", aspect="equal")
    left.set(xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    for history, label, color in zip(histories, ("perceptron", "20 hidden units"), (COLORS[6], COLORS[0]), strict=True):
        plot_loss(history["loss"], ax=right, log=True, label=label).line_.set(color=color)
    right.set(title="loss while they learned", ylabel="mean squared error")
    right.legend()
    figure.savefig(options.output, dpi=100)
    print(f"figure: {options.output}")


if __name__ == "__main__":
    main()
