"""What a hidden layer is for: a curve that a linear net cannot follow, learned with no, 4 and 50 hidden units.

Then what else makes a net: the activation of each layer, and the bias. Without biases a net of tanh units can only
learn curves that are odd, f(-x) = -f(x), because every part of it is odd; and this curve is not.

python demos/hidden_layer.py
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from gates import Gate, ReLU, Sigmoid, SquaredError, Tanh
from nngraph import Dense, Model
from nngraph.optimizers import GradientDescent
from nngraph.plotting import COLORS, plot_loss

PASSES, RATE = 20000, 0.05

# Each row: what it is called, the hidden layers as (width, activation), and whether there are biases.
NETS: list[tuple[str, list[tuple[int, Gate]], bool]] = [
    ("no hidden layer", [], True),
    ("4 tanh", [(4, Tanh())], True),
    ("50 tanh", [(50, Tanh())], True),
    ("50 sigmoid", [(50, Sigmoid())], True),
    ("50 ReLU", [(50, ReLU())], True),
    ("10 ReLU, 10 tanh", [(10, ReLU()), (10, Tanh())], True),
    ("50 tanh, no bias", [(50, Tanh())], False),
    ("50 ReLU, no bias", [(50, ReLU())], False),
]
DRAWN = {"no hidden layer": COLORS[6], "4 tanh": COLORS[2], "50 tanh": COLORS[0], "50 tanh, no bias": COLORS[7]}


def main() -> None:
    parser = argparse.ArgumentParser(description="Learn a curve with no, 4 and 50 hidden units.")
    parser.add_argument("--output", type=Path, default=Path("hidden_layer.png"), help="the figure's file")
    options = parser.parse_args()
    x = np.linspace(-2, 2, 50)[:, None]
    y = np.cos(2 * x) + 0.3 * x

    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4.4), layout="constrained")
    left.plot(x, y, "o", color="white", markeredgecolor="black", markersize=5, label="targets")
    print(f"y = cos(2x) + 0.3x at {len(x)} points; {PASSES:,} passes of rate {RATE}\n")
    print("hidden layer      parameters  mean squared error")
    for name, hidden, use_bias in NETS:
        layers = [Dense(width, layer) for width, layer in hidden]
        # The last layer has no activation: what is to be learned may be any number.
        model = Model([1, *layers, Dense(1)], output=SquaredError(), use_bias=use_bias, random_state=0)
        history = model.fit(x, y, epochs=PASSES, batch_size=len(x), optimizer=GradientDescent(RATE))
        count = sum(value.size for value in model.parameters.values())
        print(f"{name:<16}  {count:10d}  {model.calculate_loss(x, y):18.4f}")
        if name in DRAWN:
            line = {"color": DRAWN[name], "linestyle": "-" if use_bias else "--"}
            left.plot(x, model.predict(x), label=name, **line)
            # Each epoch is one pass, and its loss the one before its step: just what plot_loss wants.
            plot_loss(history["loss"], ax=right, log=True, label=name).line_.set(**line)

    left.set(title="what was learned", xlabel="x", ylabel="y", ylim=(-1.6, 2.6))
    left.legend(ncols=2, fontsize="small", loc="upper center")
    right.set(title="loss while it learned (both axes logarithmic)", ylabel="mean squared error")
    right.get_legend().remove()
    left.grid(visible=True, alpha=0.3)
    figure.savefig(options.output, dpi=100)
    print(f"\nfigure: {options.output}")


if __name__ == "__main__":
    main()
