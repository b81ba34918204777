"""Print the backpropagation of a net as plain NumPy, run it alone, and get the weights that nngraph gets."""

import argparse
from pathlib import Path

import numpy as np
from sklearn.datasets import make_moons

from nngraph import Model

PASSES, RATE, PENALTY = 2000, 0.002, 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("moons_net.py"), help="the exported file")
    options = parser.parse_args()
    X, y = make_moons(200, noise=0.2, random_state=0)
    model = Model([2, 3, 2], random_state=0)

    print("1. One training step, as nngraph recorded it from the gates:\n")
    source = model.source()
    print(source)

    print(f"2. {PASSES} such steps, with this text and NumPy alone:\n")
    module = {}
    exec(source, module)  # noqa: S102 - the text above
    weights = {name: value.copy() for name, value in model.parameters.items()}
    for _ in range(PASSES):
        loss, *values = module["step"](X=X, y=y, epsilon=RATE, reg_lambda=PENALTY, **weights)
        weights = dict(zip(weights, values, strict=True))
    model.train(X, y, PASSES, RATE, PENALTY)
    for name, value in model.parameters.items():
        print(f"{name}: largest difference from nngraph's {np.abs(weights[name] - value).max():.0e}")
    print(f"loss before the last step: {loss:.6f}, nngraph's {model.loss_history[-2]:.6f}")

    model.export_numpy(options.output)
    print(f"\n3. The trained net as a file that predicts and goes on training, without nngraph: {options.output}\n")
    net = {}
    exec(options.output.read_text(), net)  # noqa: S102 - the file just written
    print(f"predictions that agree: {np.mean(net['predict'](X) == model.predict(X)):.0%}")

    print("\n4. What the step costs, and what the passes made of it:\n")
    print(model.program(X, y).report())


if __name__ == "__main__":
    main()
