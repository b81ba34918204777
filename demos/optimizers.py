"""Mini-batches, annealing and optimisers compared on two moons.

What to learn here: many small steps on noisy gradients get further in an epoch than one exact step; a large rate that
falls (annealing) is both fast and precise; and the optimisers differ less than their rates do. Each line of the table
is the mean of five trainings from different initial weights, so that no optimiser wins by luck.

python demos/optimizers.py
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import make_moons

from gates import ReLU
from nngraph import Model
from nngraph.optimizers import Adagrad, Adam, AdamW, GradientDescent, Momentum, Nesterov, RMSprop
from nngraph.plotting import COLORS
from nngraph.schedules import Cosine, ExponentialDecay, InverseTime, StepDecay

EPOCHS, SEEDS, ENOUGH = 60, 5, 0.15
STYLES = ("-", "--", "-.", ":")

GROUPS: dict[str, dict[str, dict[str, Any]]] = {
    # The same rate for all. An epoch is one look at all 400 examples: one step, or 4, or 20.
    "batch size": {
        f"{size} examples a step": {"batch_size": size, "optimizer": GradientDescent(0.5)} for size in (400, 100, 20)
    },
    # A rate so large that the steps jump over the minimum as long as it stays.
    "annealing": {
        name: {"optimizer": GradientDescent(2.0), "schedule": schedule}
        for name, schedule in {
            "rate stays 2": None,
            "step decay": StepDecay(0.3, every=15),
            "exponential decay": ExponentialDecay(0.93),
            "inverse time": InverseTime(0.2),
            "cosine": Cosine(),
        }.items()
    },
    # Each with a rate that suits it: a rate means something else to each of them.
    "optimiser": {
        f"{type(optimizer).__name__} {optimizer.rate:g}": {"optimizer": optimizer}
        for optimizer in (
            GradientDescent(0.5), Momentum(0.05), Nesterov(0.05), Adagrad(0.3), RMSprop(0.01), Adam(0.02), AdamW(0.02),
        )
    },
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("optimizers.png"), help="the figure's file")
    options = parser.parse_args()
    X, y = make_moons(400, noise=0.2, random_state=0)
    X_test, y_test = make_moons(1000, noise=0.2, random_state=1)

    figure, axes = plt.subplots(1, 3, figsize=(11, 4.6), layout="constrained", sharey=True)
    for ax, (group, settings) in zip(axes, GROUPS.items(), strict=True):
        print(f"{group:<22}  loss at the end  epochs until {ENOUGH}  test accuracy")
        for k, (name, setting) in enumerate(settings.items()):
            losses, accuracies = np.zeros(EPOCHS), []
            for seed in range(SEEDS):
                model = Model([2, 16, 2], layer=ReLU(), random_state=seed)
                history = model.fit(X, y, epochs=EPOCHS, progress=False, **{"batch_size": 20, **setting})
                losses += history["loss"] / SEEDS
                accuracies.append(np.mean(model.predict(X_test) == y_test))
            epochs = 1 + np.argmax(losses < ENOUGH) if losses.min() < ENOUGH else "never"
            print(f"  {name:<20}  {losses[-1]:15.4f}  {epochs:>17}  {np.mean(accuracies):13.3f}")
            # The yellow of the palette is too pale for a line.
            color = [color for color in COLORS if color != "#F0E442"][k]
            ax.plot(np.arange(1, EPOCHS + 1), losses, STYLES[k % len(STYLES)], color=color, linewidth=1.8, label=name)
        ax.set(title=group, xlabel="epoch", yscale="log")
        ax.grid(visible=True, alpha=0.3)
        ax.legend(fontsize="small", title="gradient descent" if group == "annealing" else None)
        print()
    axes[0].set(ylabel="loss, mean of five trainings", ylim=(0.08, 0.8))
    axes[0].set_yticks([0.1, 0.2, 0.4, 0.8], ["0.1", "0.2", "0.4", "0.8"])
    axes[0].set_yticks([], minor=True)
    figure.savefig(options.output, dpi=100)
    print(f"figure: {options.output}")


if __name__ == "__main__":
    main()
