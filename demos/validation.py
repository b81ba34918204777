"""When to stop: a classifier of digits, watched on data that it does not learn from, its best weights kept.

What is learned by heart lowers the loss on the training data only. So a part of the data is held back to measure on
after every epoch: the validation data choose the epoch. As they have chosen, they flatter; a third part, the test data,
is looked at once, at the end.

python demos/validation.py
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from gates import ReLU
from nngraph import Model
from nngraph.callbacks import EarlyStopping
from nngraph.initializers import he_normal
from nngraph.optimizers import GradientDescent
from nngraph.penalties import L2
from nngraph.schedules import ExponentialDecay


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a classifier of digits with validation and early stopping.")
    parser.add_argument("--output", type=Path, default=Path("validation.png"), help="the figure's file")
    options = parser.parse_args()
    X, y = load_digits(return_X_y=True)
    X = X / 16  # ink from 0 to 1
    X_rest, X_test, y_rest, y_test = train_test_split(X, y, test_size=500, stratify=y, random_state=0)
    X_train, X_held, y_train, y_held = train_test_split(X_rest, y_rest, test_size=300, stratify=y_rest, random_state=0)

    model = Model([64, 32, 10], layer=ReLU(), initializer=he_normal, random_state=0)
    best = EarlyStopping(patience=20)
    history = model.fit(
        X_train,
        y_train,
        epochs=200,
        batch_size=32,
        optimizer=GradientDescent(0.2),
        schedule=ExponentialDecay(0.98),  # long steps at first, then ever finer ones
        penalty=L2(0.001),
        validation=(X_held, y_held),
        metrics=["accuracy"],
        callbacks=[best],
    )
    kept = best.best_epoch or 0  # counted from 0, as the rows of the history are

    print(f"{len(X_train)} digits to learn from, {len(X_held)} for validation, {len(X_test)} for the test\n")
    print("epoch    rate  training loss  accuracy  validation loss  accuracy")
    for epoch in sorted({0, 1, 5, kept, history.epochs - 1}):
        columns = (
            history[name][epoch] for name in ("rate", "loss", "accuracy", "validation_loss", "validation_accuracy")
        )
        rate, loss, accuracy, held_loss, held_accuracy = columns
        row = f"{epoch + 1:5d}  {rate:6.3f}  {loss:13.4f}  {accuracy:8.3f}  {held_loss:15.4f}  {held_accuracy:8.3f}"
        print(f"{row}{'  best' if epoch == kept else ''}")
    print(f"\nstopped:          {history.stopped}")
    print(f"test accuracy:    {np.mean(model.predict(X_test) == y_test):.3f} with the weights of epoch {kept + 1}")

    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4), layout="constrained")
    history.plot(axes=(left, right), log=True)
    for ax, measured in ((left, "validation_loss"), (right, "validation_accuracy")):
        value = history[measured][kept]
        ax.axvline(kept + 1, color="grey", linestyle=":")
        ax.plot(kept + 1, value, "o", color="white", markeredgecolor="black", label=f"kept: {value:.3f}")
        ax.legend()
    left.set(title="loss")
    right.set(title="accuracy", ylim=(0.88, 1.005))
    figure.savefig(options.output, dpi=100)
    print(f"figure:           {options.output}")


if __name__ == "__main__":
    main()
