"""Eight nets that do not learn, what is wrong with each, and the same nets mended by the advice that they were given.

All read handwritten digits, and each is looked at before it trains, by `model.diagnose`: most sicknesses of a net can
be seen in its values, its gradients and its first steps, before an hour is lost. Then the sick net is trained, and
beside it the one that follows the advice, from the same seed for as many epochs. A healthy net is told nothing.

python demos/sick_nets.py
"""

import argparse
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from gates import Gate, ReLU, Sigmoid, SoftmaxLayer, Tanh
from nngraph import Dense, DivergenceError, Model
from nngraph.initializers import Generator, Initializer, glorot_uniform, he_normal
from nngraph.optimizers import GradientDescent
from nngraph.plotting import COLORS

EPOCHS = 10
Drawn = tuple[NDArray[np.float64], NDArray[np.float64]]


def drawn(spread: float, bias: float = 0.0) -> Initializer:
    """Return weights of one spread, whatever the width of the layer, and biases that are all the same."""

    def draw(rng: Generator, fan_in: int, fan_out: int) -> Drawn:
        return spread * rng.standard_normal((fan_in, fan_out)), np.full(fan_out, bias)

    return draw


def equal(_: Generator, fan_in: int, fan_out: int) -> Drawn:
    """Return weights that are all the same."""
    return np.full((fan_in, fan_out), 0.1), np.zeros(fan_out)


@dataclass
class Net:
    """A net of so many hidden layers of 32 units, and how it is trained."""

    layers: int
    layer: Gate
    initializer: Initializer
    last: Gate | None = None
    rate: float = 0.1
    scaled: bool = True

    def model(self) -> Model:
        hidden = [Dense(32, self.layer)] * self.layers
        return Model([64, *hidden, Dense(10, self.last)], initializer=self.initializer, random_state=0)


# What each suffers from, the sick net, and the one mended by the advice.
NETS = {
    "dead ReLUs": (Net(1, ReLU(), drawn(0.1, bias=-5)), Net(1, ReLU(), he_normal)),
    "saturated units": (Net(2, Tanh(), drawn(2.0)), Net(2, Tanh(), glorot_uniform)),
    "vanishing gradients": (Net(6, Sigmoid(), glorot_uniform), Net(6, ReLU(), he_normal)),
    "exploding gradients": (Net(6, ReLU(), drawn(1.0)), Net(6, ReLU(), he_normal)),
    "symmetric weights": (Net(1, Tanh(), equal), Net(1, Tanh(), glorot_uniform)),
    "steps too large": (Net(1, ReLU(), he_normal, rate=30.0), Net(1, ReLU(), he_normal)),
    "probabilities given to Softmax": (
        Net(1, Tanh(), glorot_uniform, last=SoftmaxLayer()), Net(1, Tanh(), glorot_uniform)
    ),
    "unscaled features": (Net(1, Tanh(), glorot_uniform, scaled=False), Net(1, Tanh(), glorot_uniform)),
}  # fmt: skip


def show(text: str, indent: str = "   ") -> None:
    print(textwrap.fill(text, 80, initial_indent=indent, subsequent_indent="   "))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("sick_nets.png"), help="the figure's file")
    options = parser.parse_args()
    digits, y = load_digits(return_X_y=True)
    digits *= np.logspace(0, 3, 64)  # as if each pixel came in a unit of its own
    raw, raw_test, y, y_test = train_test_split(digits, y, test_size=0.3, stratify=y, random_state=0)
    scaler = StandardScaler().fit(raw)
    scaled, scaled_test = scaler.transform(raw), scaler.transform(raw_test)

    accuracies: dict[str, list[float]] = {}
    for number, (name, both) in enumerate(NETS.items(), start=1):
        accuracies[name] = []
        for net in both:
            model, optimizer = net.model(), GradientDescent(net.rate)
            X, X_test = (scaled, scaled_test) if net.scaled else (raw, raw_test)
            diagnosis = model.diagnose(X, y, optimizer=optimizer)
            found = ", ".join(diagnosis.kinds) or "nothing"
            if net is both[0]:
                show(f"{number}. {name}: found {found}", indent="")
                (finding,) = (finding for finding in diagnosis.findings if finding.kind == name)
                show(f"{finding.where}: {finding.numbers}.")
                show(f"=> {finding.advice}.")
            try:
                model.fit(X, y, epochs=EPOCHS, optimizer=optimizer, progress=False)
            except DivergenceError as error:
                show(f"It diverged: {error.cause}.")
            accuracies[name].append(float(np.mean(model.predict(X_test) == y_test)))
        show("mended: found {}; accuracy {:.3f} -> {:.3f}".format(found, *accuracies[name]))
        print()

    print("net                             accuracy sick  mended")
    for name, (sick, mended) in accuracies.items():
        print(f"{name:<30}  {sick:13.3f}  {mended:6.3f}")

    figure, ax = plt.subplots(figsize=(9.5, 4.6), layout="constrained")
    places = np.arange(len(NETS))[::-1]
    sick, mended = np.transpose(list(accuracies.values()))
    ax.hlines(places, sick, mended, color="lightgrey", linewidth=3, zorder=1)
    ax.plot(sick, places, "s", color=COLORS[6], markersize=9, label="sick")
    ax.plot(mended, places, "o", color=COLORS[0], markersize=9, label="mended by the advice")
    ax.axvline(0.1, color="black", linestyle=":", label="guessing")
    ax.set(
        title=f"eight nets on handwritten digits, {EPOCHS} epochs each", xlabel="accuracy on digits not learned from"
    )
    ax.set(yticks=places, yticklabels=NETS, xlim=(0, 1.02))
    ax.grid(visible=True, axis="x", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3)
    figure.savefig(options.output, dpi=100)
    print(f"\nfigure: {options.output}")


if __name__ == "__main__":
    main()
