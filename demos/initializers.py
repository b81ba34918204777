"""Initial weights decide whether a deep net can learn: they must keep the spread of what passes through the layers.

A layer of n inputs multiplies the spread of its values by about sqrt(n) times the spread of its weights, and so does
backpropagation on the way down. Over ten layers, too large a factor explodes and too small a one vanishes.

python demos/initializers.py                # ReLU
python demos/initializers.py --layer tanh   # tanh hides an explosion of the values, but not of the gradients
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from gates import ReLU, SquaredError, Tanh
from nngraph import Model
from nngraph.initializers import Generator, Initializer, glorot_normal, he_normal, lecun_normal
from nngraph.plotting import COLORS, MARKERS

LAYERS = {"relu": ReLU(), "tanh": Tanh()}
LINES = (COLORS[6], COLORS[7], COLORS[2], COLORS[5], COLORS[0])
DEEP = 10


def normal(spread: float) -> Initializer:
    """Return an initializer for weights of one spread, whatever the width of the layer."""

    def draw(rng: Generator, fan_in: int, fan_out: int) -> tuple[np.ndarray, np.ndarray]:
        return spread * rng.standard_normal((fan_in, fan_out)), np.zeros(fan_out)

    return draw


INITIALIZERS = {
    "N(0, 1)": normal(1.0),
    "0.01 N(0, 1)": normal(0.01),
    "Glorot": glorot_normal,
    "LeCun": lecun_normal,
    "He": he_normal,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare initial weights by the spread of values and gradients.")
    parser.add_argument("--layer", choices=LAYERS, default="relu", help="the deep net's activation (default relu)")
    parser.add_argument("--output", type=Path, default=Path("initializers.png"), help="the figure's file")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    output = SquaredError(reduction="sum")

    print("1. Three layers, 1000 -> 100 -> 100 -> 10, ReLU: 1,000 steps of rate 1e-6 on 128 random examples\n")
    print("weights       sum of squares at first  after 1,000 steps")
    X, y = rng.standard_normal((128, 1000)), rng.standard_normal((128, 10))
    for name, initializer in INITIALIZERS.items():
        widths = [1000, 100, 100, 10]
        model = Model(widths, layer=ReLU(), output=output, initializer=initializer, dtype=np.float32, random_state=0)
        with warnings.catch_warnings():
            # A training that makes it worse warns of it; here that is a row of the table.
            warnings.filterwarnings("ignore", message="Training made the model worse")
            model.train(X, y, num_passes=1000, epsilon=1e-6, reg_lambda=0)
        print(f"{name:<12}  {model.loss_history[0]:23.4g}  {model.loss_history[-1]:17.4g}")

    print("\nFrom N(0, 1) the first steps are so long that they switch off the second layer, every unit, for good.")
    print(f"\n2. {DEEP} layers of 100 {options.layer} units: the spread in the first and in the last\n")
    print("              values up                   gradients down")
    print("weights         first    last  per layer     last   first  per layer")
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4.4), layout="constrained", sharex=True)
    X, y, layers = rng.standard_normal((128, 100)), rng.standard_normal((128, 10)), range(1, DEEP + 1)
    for k, (name, initializer) in enumerate(INITIALIZERS.items()):
        widths = [100] * (DEEP + 1) + [10]
        model = Model(widths, layer=LAYERS[options.layer], output=output, initializer=initializer, random_state=0)
        values, gradients = model.activations(X), model.gradients(X, y)
        up = [values[f"A{i}"].std() for i in layers]
        down = [gradients[f"Z{i}"].std() for i in layers]
        growth, back = ((spread[-1] / spread[0]) ** (1 / (DEEP - 1)) for spread in (up, down[::-1]))
        verdict = "explode" if back > 1.2 else "vanish" if back < 0.8 else "keep their spread"
        print(f"{name:<12}  {up[0]:7.1e} {up[-1]:7.1e}  {growth:9.3f}", end="")
        print(f"  {down[-1]:7.1e} {down[0]:7.1e}  {back:9.3f}  {verdict}")
        for ax, spread in ((left, up), (right, down)):
            # With layers of one width, Glorot's and LeCun's weights are the same: let both be seen.
            style = {"linestyle": "--", "markersize": 3} if name == "LeCun" else {"markersize": 7}
            ax.plot(layers, spread, marker=MARKERS[k], color=LINES[k], label=name, **style)
    left.set(title="values on the way up", ylabel="standard deviation in the layer")
    right.set(title="gradients on the way down")
    for ax in (left, right):
        ax.set(yscale="log", xlabel="layer", xticks=layers)
        ax.grid(visible=True, alpha=0.3)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=len(INITIALIZERS))
    figure.suptitle(f"{DEEP} layers of 100 units, {options.layer}, before any training")
    figure.savefig(options.output, dpi=100)
    if options.layer == "relu":
        print("\nReLU drops half of what it gets, a factor of sqrt(1/2) = 0.707 per layer: He makes up for it.")
    print(f"\nfigure: {options.output}")


if __name__ == "__main__":
    main()
