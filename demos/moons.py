"""Train a small net on two moons and draw what it learned.

python demos/moons.py                  # our defaults: tanh hidden units, softmax on the scores
python demos/moons.py --as-published   # the published network, to its published figures
python demos/moons.py --help           # everything that can be changed
"""

import argparse
import time
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.backend_bases import FigureCanvasBase
from sklearn.datasets import make_moons

import gates
from nngraph import DivergenceError, Model
from nngraph.initializers import glorot_uniform, published
from nngraph.plotting import plot_decision_boundary, plot_loss

LAYERS = {
    layer.lower(): getattr(gates, layer)()
    for layer in ("Tanh", "Sigmoid", "ReLU", "LeakyReLU", "ELU", "GELU", "SiLU", "Softplus")
}


def parse_arguments() -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    parser = argparse.ArgumentParser(description="Train a small net on two moons and draw what it learned.")
    parser.add_argument("--points", type=int, default=200, help="training examples, and test examples (default 200)")
    parser.add_argument("--noise", type=float, default=0.2, help="standard deviation of the noise (default 0.2)")
    parser.add_argument("--seed", type=int, default=0, help="seed of data and weights (default 0)")
    parser.add_argument(
        "--hidden", type=int, nargs="*", default=[8], help="hidden widths (default 8); none: a linear net"
    )
    parser.add_argument(
        "--layer", type=str.lower, choices=LAYERS, default="tanh", help="hidden activation (default tanh)"
    )
    parser.add_argument("--passes", type=int, default=5000, help="passes over the data (default 5000)")
    parser.add_argument("--rate", type=float, default=0.002, help="learning rate epsilon (default 0.002)")
    parser.add_argument("--penalty", type=float, default=0.1, help="reg_lambda on the weights (default 0.1)")
    parser.add_argument("--output", type=Path, help="the figure's file (default moons.png or moons_published.png)")
    parser.add_argument("--show", action="store_true", help="show the figure in a window too")
    parser.add_argument(
        "--as-published", action="store_true",
        help="the published network: 3 hidden units, tanh on the scores too, 20,000 passes; overrides data and net",
    )  # fmt: skip
    return parser, parser.parse_args()


def main() -> None:
    parser, options = parse_arguments()
    last_layer, initializer = None, glorot_uniform
    if options.as_published:
        options.points, options.noise, options.seed, options.hidden = 200, 0.2, 0, [3]
        options.layer, options.passes, options.rate, options.penalty = "tanh", 20000, 0.01, 0.01
        last_layer, initializer = LAYERS["tanh"], published
    output = options.output or Path("moons_published.png" if options.as_published else "moons.png")
    formats = FigureCanvasBase.get_supported_filetypes()
    if output.suffix[1:].lower() not in formats or not output.parent.is_dir():
        parser.error(f"--output must be a file in a folder that is there, ending in one of {', '.join(formats)}")

    try:
        rng = np.random.RandomState(options.seed)
        X, y = make_moons(options.points, noise=options.noise, random_state=rng)
        model = Model(
            [2, *options.hidden, 2],
            layer=LAYERS[options.layer],
            last_layer=last_layer,
            initializer=initializer,
            random_state=rng,
        )
        X_test, y_test = make_moons(options.points, noise=options.noise, random_state=rng)
        start = time.perf_counter()
        model.train(X, y, options.passes, options.rate, options.penalty, print_loss=True)
        seconds = time.perf_counter() - start
    except (ValueError, DivergenceError) as error:
        parser.error(str(error))

    print(f"data:           {len(X)} points on two moons, noise {options.noise:g}, seed {options.seed}")
    print(f"architecture:   {' -> '.join(map(str, [2, *options.hidden, 2]))}, {options.layer}")
    print(f"loss:           {model.calculate_loss(X, y):.6f} after {len(model.loss_history) - 1} passes")
    print(f"train accuracy: {np.mean(model.predict(X) == y):.3f}")
    print(f"test accuracy:  {np.mean(model.predict(X_test) == y_test):.3f} on {len(X_test)} fresh points")
    print(f"seconds:        {seconds:.2f}")

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained", width_ratios=[1.35, 1])
    plot_decision_boundary(model, X, y, X_test=X_test, y_test=y_test, ax=left)
    left.set_title("what the net predicts")
    plot_loss(model, ax=right)
    right.set_title("loss while it learned")
    figure.savefig(output, dpi=120)
    print(f"figure:         {output}")
    if options.show:
        plt.show()


if __name__ == "__main__":
    main()
