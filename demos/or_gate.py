"""A single perceptron learns OR; and what happens if the error that drives it is squared.

The error is the target minus the output. Its square is the loss, and tempts: small is good, so why not learn from it?
Because a square has lost its sign. It is never negative, so it pushes the outputs one way only, whether they are too
low or too high. The gradient of the square is -2 times the error, which has a sign. `check_gate` sees the difference.

python demos/or_gate.py
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from gates import OutputGate, Sigmoid, SquaredError, check_gate
from nngraph import Dense, Model
from nngraph.callbacks import Callback, Training
from nngraph.optimizers import GradientDescent
from nngraph.plotting import COLORS

X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
y = np.array([0.0, 1.0, 1.0, 1.0])
PASSES, RATE = 2000, 2.0


class SquaredSignal(OutputGate):
    """``loss = (targets - scores)^2``, with a mistake: its square in the place of its derivative."""

    def losses(self, scores, targets):
        return (targets - scores) ** 2

    def slopes(self, scores, targets):
        # The minus of -2 (targets - scores) is there; the sign of the error itself is not.
        return -((targets - scores) ** 2)


class Outputs(Callback):
    """Keeps the outputs after every pass."""

    def __init__(self) -> None:
        self.rows: list[np.ndarray] = []

    def epoch_end(self, training: Training) -> None:
        self.rows.append(training.model.predict(X))


def main() -> None:
    parser = argparse.ArgumentParser(description="Learn OR, with the right gradient and with a squared error signal.")
    parser.add_argument("--output", type=Path, default=Path("or_gate.png"), help="the figure's file")
    options = parser.parse_args()

    print("1. The proofs:\n")
    for gate in (SquaredError(), SquaredSignal()):
        report = check_gate(gate)
        print(report.summary())
        for result in report.results:
            if result.status == "failed":
                print(f"   {result.name}: {result.lines()[0]}")

    print(f"\n2. A perceptron, 2 -> 1, sigmoid, after {PASSES:,} passes with each:\n")
    outputs = {}
    for name, gate in (("right gradient", SquaredError()), ("squared signal", SquaredSignal())):
        kept = Outputs()
        model = Model([2, Dense(1, Sigmoid())], output=gate, random_state=0)
        model.fit(X, y, epochs=PASSES, batch_size=4, optimizer=GradientDescent(RATE), callbacks=[kept])
        outputs[name] = np.array(kept.rows)
    print("inputs  target  right gradient  squared signal")
    for x, target, right, wrong in zip(X, y, *(rows[-1] for rows in outputs.values()), strict=True):
        print(f"{x[0]:.0f} {x[1]:.0f}     {target:6.0f}  {right:14.3f}  {wrong:14.3f}")
    rises = [(np.diff(rows[:, 0]) > 0).sum() for rows in outputs.values()]
    print(f"\nPasses in which the output for 0 0 rose, of {PASSES - 1}: {rises[0]} and {rises[1]}.")

    figure, axes = plt.subplots(1, 2, figsize=(9.5, 4), layout="constrained", sharey=True)
    styles = [(COLORS[6], "-"), (COLORS[0], "-"), (COLORS[2], "--"), (COLORS[7], "-")]
    for ax, (name, rows) in zip(axes, outputs.items(), strict=True):
        for x, curve, (color, line) in zip(X, rows.T, styles, strict=True):
            ax.plot(np.arange(1, PASSES + 1), curve, color=color, linestyle=line, label=f"{x[0]:.0f} {x[1]:.0f}")
        ax.set(title=name, xlabel="pass", xscale="log", ylim=(-0.03, 1.03))
        ax.grid(visible=True, alpha=0.3)
    axes[0].set(ylabel="output")
    axes[1].legend(title="inputs", loc="lower right")
    axes[1].annotate("0 0 should be 0", (1000, outputs["squared signal"][-1, 0]), (150, 0.65),
                     arrowprops={"arrowstyle": "->"})  # fmt: skip
    figure.savefig(options.output, dpi=100)
    print(f"figure: {options.output}")


if __name__ == "__main__":
    main()
