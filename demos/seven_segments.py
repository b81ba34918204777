"""Read the digits of a seven-segment display, with nets of different widths, depths and activations.

Seven inputs say which segments are lit; ten outputs, sigmoids, say how much each digit is seen. The digit that is read
is the largest output. Ten examples are all there are, so this is about fitting, not about new data.

python demos/seven_segments.py
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from gates import ReLU, Sigmoid, SquaredError, Tanh
from nngraph import Model
from nngraph.optimizers import GradientDescent
from nngraph.plotting import COLORS, plot_loss

# The segments a to g: clockwise from the top, then the bar in the middle; where each is drawn, as x and y.
SEGMENTS = {
    "a": ([0, 1], [2, 2]),
    "b": ([1, 1], [2, 1]),
    "c": ([1, 1], [1, 0]),
    "d": ([1, 0], [0, 0]),
    "e": ([0, 0], [0, 1]),
    "f": ([0, 0], [1, 2]),
    "g": ([0, 1], [1, 1]),
}
LIT = ["abcdef", "bc", "abdeg", "abcdg", "bcfg", "acdfg", "acdefg", "abc", "abcdefg", "abcdfg"]
X = np.array([[float(segment in lit) for segment in SEGMENTS] for lit in LIT])
Y = np.eye(10)
NAMES = {Sigmoid: "sigmoid", ReLU: "ReLU", Tanh: "tanh"}
PASSES, RATE = 5000, 5.0  # the loss is a mean over a hundred numbers, so its gradient is small and the rate is large


def draw_digits(ax: Axes) -> None:
    for digit, row in enumerate(X):
        for (x, y), lit in zip(SEGMENTS.values(), row, strict=True):
            color = COLORS[6] if lit else "#e6e6e6"
            ax.plot(np.add(x, 1.9 * digit), y, color=color, linewidth=5, solid_capstyle="round", zorder=2 + lit)
        ax.text(1.9 * digit + 0.5, -0.75, str(digit), ha="center", va="center")
    ax.set(title="the ten patterns, and what they are", aspect="equal", ylim=(-1.2, 2.3))
    ax.axis("off")


def main() -> None:
    parser = argparse.ArgumentParser(description="Read seven-segment digits with nets of several shapes.")
    parser.add_argument("--output", type=Path, default=Path("seven_segments.png"), help="the figure's file")
    options = parser.parse_args()

    figure, axes = plt.subplot_mosaic("aa;bc", figsize=(9.5, 6), layout="constrained", height_ratios=[1, 2.4])
    digits, left, right = axes.values()
    draw_digits(digits)

    print("hidden    layer     final loss  digits read rightly  least certain")
    for hidden, line in (([20], ":"), ([100], "-"), ([10, 10], "--")):
        for layer, color in ((Sigmoid(), COLORS[0]), (ReLU(), COLORS[6]), (Tanh(), COLORS[2])):
            model = Model([7, *hidden, 10], layer=layer, last_layer=Sigmoid(), output=SquaredError(), random_state=0)
            history = model.fit(X, Y, epochs=PASSES, batch_size=len(X), optimizer=GradientDescent(RATE))
            outputs = model.predict(X)
            right_ones = int((outputs.argmax(axis=1) == np.arange(10)).sum())
            width, name = " + ".join(map(str, hidden)), NAMES[type(layer)]
            print(f"{width:<8}  {name:<8}  {model.calculate_loss(X, Y):10.6f}", end="")
            print(f"  {right_ones:13d} of 10  {outputs.diagonal().min():13.3f}")
            curve = plot_loss(history["loss"], ax=right, log=True, label=f"{width} {name}").line_
            curve.set(color=color, linestyle=line)
    right.set(title="loss while they learned", ylabel="mean squared error")
    right.legend(ncols=1, fontsize="small")

    image = left.imshow(outputs, cmap="cividis", vmin=0, vmax=1)
    figure.colorbar(image, ax=left, label="output")
    left.set(
        title="outputs of the last net", xlabel="output", ylabel="pattern shown", xticks=range(10), yticks=range(10)
    )
    figure.savefig(options.output, dpi=100)
    print(f"\nfigure: {options.output}")


if __name__ == "__main__":
    main()
