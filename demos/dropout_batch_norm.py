"""A net that overfits, the same with dropout, and with batch normalisation.

What to learn here: 10,000 weights and 100 examples, ten of them with the wrong label, end in a net that learns the
mistakes by heart: the validation loss turns upwards while the training loss falls. Dropout leaves out half of
the hidden units in every step; batch normalisation shifts and scales them by the batch they happen to be in. Both make
it hard to rely on a single example. Their training loss lies above the validation loss: it has the wrong labels in it,
and is measured while units are missing. Once trained there is nothing random any more: the same question
has one answer.

python demos/dropout_batch_norm.py
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import make_moons

from gates import ReLU
from nngraph import BatchNorm, Dense, Dropout, Model
from nngraph.optimizers import Adam
from nngraph.plotting import COLORS, plot_decision_boundary

# Batch normalisation stands before the activation, so the layers are spelled out.
NETS: dict[str, list[Any]] = {
    "plain": [2, 100, 100, 2],
    "dropout": [2, 100, Dropout(0.5), 100, Dropout(0.5), 2],
    "batch norm": [2, Dense(100), BatchNorm(), ReLU(), Dense(100), BatchNorm(), ReLU(), 2],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("dropout_batch_norm.png"), help="the figure's file")
    options = parser.parse_args()
    X, y = make_moons(100, noise=0.2, random_state=0)
    wrong = np.random.default_rng(0).choice(100, 10, replace=False)
    y[wrong] = 1 - y[wrong]
    fresh = make_moons(1000, noise=0.2, random_state=1)  # all with the right label

    figure, axes = plt.subplots(2, 3, figsize=(10, 6.4), layout="constrained", sharex="row", sharey="row")
    print("                  loss                accuracy        lowest validation")
    print("net         train  validation     train  validation     loss  in epoch  same twice")
    for (top, bottom), (name, layers) in zip(axes.T, NETS.items(), strict=True):
        model = Model(layers, layer=ReLU(), random_state=0)
        history = model.fit(
            X, y, epochs=300, batch_size=20, optimizer=Adam(0.005), validation=fresh, metrics=["accuracy"],
            progress=False,
        )  # fmt: skip
        # As predictions are made: without dropout, with the running averages instead of a batch's own.
        loss, validation = model.calculate_loss(X, y), history["validation_loss"]
        same = np.array_equal(model.predict_proba(fresh[0]), model.predict_proba(fresh[0]))
        print(
            f"{name:<10}  {loss:5.3f}  {validation[-1]:10.3f}  {history.last('accuracy'):8.3f}  "
            f"{history.last('validation_accuracy'):10.3f}  {validation.min():7.3f}  {validation.argmin() + 1:8}  "
            f"{'yes' if same else 'NO':>10}"
        )
        epochs = np.arange(1, history.epochs + 1)
        top.plot(epochs, history["loss"], "--", color=COLORS[0], label="training")
        top.plot(epochs, validation, color=COLORS[6], label="validation")
        top.set(title=name, xlabel="epoch", ylabel="loss", ylim=(0, 0.8))
        top.grid(visible=True, alpha=0.3)
        # The regions alone: given the model, and not only its predictions, it would shade by the probability.
        plot_decision_boundary(model.predict, X, y, ax=bottom)
        bottom.set_title(f"{history.last('validation_accuracy'):.1%} of fresh points right")
        bottom.get_legend().remove()
    for ax in axes[:, 1:].ravel():
        ax.set_ylabel("")
    axes[0, 0].legend()
    figure.savefig(options.output, dpi=100)
    print(f"figure: {options.output}")


if __name__ == "__main__":
    main()
