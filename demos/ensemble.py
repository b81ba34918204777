"""Seven small nets on two moons, and their average.

What to learn here: nets that differ in nothing but their initial weights (and in the order of their batches) agree
where the data are clear, and each errs in a way of its own elsewhere, here after ten points with a wrong label. The
mean of their probabilities (a soft vote) keeps what they have in common: it is better than its members are on average,
and needs no luck with a seed.

python demos/ensemble.py
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.lines import Line2D
from sklearn.datasets import make_moons

from gates import ReLU
from nngraph import Ensemble, Model
from nngraph.initializers import he_normal
from nngraph.optimizers import Adam
from nngraph.plotting import plot_decision_boundary

MEMBERS = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("ensemble.png"), help="the figure's file")
    parser.add_argument("--jobs", type=int, default=1, help="how many nets to train at a time (default 1)")
    options = parser.parse_args()
    X, y = make_moons(100, noise=0.2, random_state=0)
    wrong = np.random.default_rng(0).choice(100, 10, replace=False)
    y[wrong] = 1 - y[wrong]
    X_test, y_test = make_moons(5000, noise=0.2, random_state=1)  # all with the right label

    models = [Model([2, 30, 30, 2], layer=ReLU(), initializer=he_normal, random_state=seed) for seed in range(MEMBERS)]
    ensemble = Ensemble(models)
    ensemble.fit(X, y, n_jobs=options.jobs, epochs=200, optimizer=Adam(0.01), progress=False)

    print("net             test accuracy  test loss")
    accuracies, losses = [], []
    for seed, model in enumerate(models):
        accuracies.append(np.mean(model.predict(X_test) == y_test))
        losses.append(model.calculate_loss(X_test, y_test))
        print(f"seed {seed}          {accuracies[-1]:13.4f}  {losses[-1]:9.4f}")
    # What the average finds likely for the right class: its loss, as Softmax measures that of a single net.
    right = ensemble.predict_proba(X_test)[np.arange(len(y_test)), y_test]
    print(f"mean of these   {np.mean(accuracies):13.4f}  {np.mean(losses):9.4f}")
    print(f"their average   {np.mean(ensemble.predict(X_test) == y_test):13.4f}  {-np.log(right).mean():9.4f}")

    figure, ax = plt.subplots(figsize=(9, 5), layout="constrained")
    display = plot_decision_boundary(ensemble, X, y, ax=ax)
    points = np.column_stack([display.xx0.ravel(), display.xx1.ravel()])
    for model in models:
        probability = model.predict_proba(points)[:, 1].reshape(display.xx0.shape)
        ax.contour(display.xx0, display.xx1, probability, levels=[0.5], colors="black", linewidths=0.6)
    ax.contour(display.xx0, display.xx1, display.response, levels=[0.5], colors="black", linewidths=3)
    handles, labels = ax.get_legend_handles_labels()
    lines = [Line2D([], [], color="black", linewidth=width) for width in (0.6, 3)]
    ax.legend([*handles, *lines], [*labels, "each net", "their average"], loc="upper left")
    ax.set_title(f"where {MEMBERS} nets and their average change their minds")
    figure.savefig(options.output, dpi=100)
    print(f"figure: {options.output}")


if __name__ == "__main__":
    main()
