"""One net, every option: a perceptron that is put together on the command line, on data of your own.

python demos/configurable.py                                                  # two moons, our defaults
python demos/configurable.py --hidden 16 16 --layers tanh relu --dropout 0.2  # an activation per layer
python demos/configurable.py --hidden --no-softmax --loss squared             # no hidden layer, bare scores
python demos/configurable.py --data flowers.csv                               # numbers, the label in the last column

What is to be seen: each option is one argument of `Model` or of `fit`.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.datasets import make_moons
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import gates
from nngraph import Dense, DivergenceError, Dropout, Model
from nngraph.callbacks import EarlyStopping
from nngraph.optimizers import GradientDescent
from nngraph.penalties import ElasticNet

LAYERS = {"sigmoid": gates.Sigmoid(), "tanh": gates.Tanh(), "relu": gates.ReLU(), "none": None}


class Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Shows the lesson as it is written, and what every option is by default."""


def parse_arguments() -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Help)
    net, trainer = parser.add_argument_group("the net"), parser.add_argument_group("the trainer")
    net.add_argument("--hidden", type=int, nargs="*", default=[16], help="widths of the hidden layers")
    net.add_argument("--layers", nargs="*", choices=LAYERS, default=["tanh"], help="an activation for each, or for all")
    net.add_argument("--bias", action=argparse.BooleanOptionalAction, default=True, help="whether layers have a bias")
    net.add_argument("--dropout", type=float, default=0.0, help="the share of hidden units that a step leaves out")
    net.add_argument("--softmax", action=argparse.BooleanOptionalAction, default=True, help="on the scores, or nothing")
    trainer.add_argument(
        "--loss", choices=["cross-entropy", "squared"], default="cross-entropy", help="what is descended"
    )
    trainer.add_argument("--l1", type=float, default=0.0, help="strength of the sum of the weights' magnitudes")
    trainer.add_argument("--l2", type=float, default=0.0, help="strength of half the sum of their squares")
    trainer.add_argument("--rate", type=float, default=0.5, help="learning rate of gradient descent")
    trainer.add_argument("--batch", type=int, default=20, help="examples in a step")
    trainer.add_argument("--epochs", type=int, default=200, help="times through the data")
    trainer.add_argument("--seed", type=int, default=0, help="of the data, the weights and the order")
    parser.add_argument("--data", type=Path, help="a CSV file with a header, the label in the last column")
    parser.add_argument("--output", type=Path, default=Path("configurable.png"), help="the figure's file")
    return parser, parser.parse_args()


def main() -> None:
    parser, options = parse_arguments()
    if options.loss == "cross-entropy" and not options.softmax:
        parser.error("cross-entropy needs probabilities: leave out --no-softmax, or take --loss squared")
    if len(options.layers) not in (1, len(options.hidden)):
        parser.error(f"--layers needs one activation, or one for each of the {len(options.hidden)} hidden layers")
    if options.data and not options.data.is_file():
        parser.error(f"there is no file {options.data}")
    if options.data:
        table = np.genfromtxt(options.data, delimiter=",", skip_header=1, dtype=str)
        X, y = table[:, :-1].astype(float), table[:, -1]
    else:
        X, y = make_moons(400, noise=0.25, random_state=options.seed)
    names, labels = np.unique(y, return_inverse=True)
    # A third is neither trained on nor used to stop; the scaler knows nothing of it.
    X, X_test, labels, labels_test = train_test_split(X, labels, test_size=1 / 3, random_state=0, stratify=labels)
    scaler = StandardScaler().fit(X)
    X, X_test = scaler.transform(X), scaler.transform(X_test)

    chosen = options.layers * len(options.hidden) if len(options.layers) == 1 else options.layers
    squared = options.loss == "squared"
    last = Dense(len(names), gates.SoftmaxLayer() if squared and options.softmax else None)
    targets = np.eye(len(names))[labels] if squared else labels
    try:
        hidden = [Dense(width, LAYERS[name]) for width, name in zip(options.hidden, chosen, strict=True)]
        dropout = [Dropout(options.dropout)] if options.dropout else []
        between = [part for dense in hidden for part in (dense, *dropout)]
        model = Model(
            [X.shape[1], *between, last],
            output=gates.SquaredError() if squared else gates.Softmax(),
            use_bias=options.bias,
            random_state=options.seed,
        )
        history = model.fit(
            X,
            targets,
            epochs=options.epochs,
            batch_size=options.batch,
            optimizer=GradientDescent(options.rate),
            penalty=ElasticNet(options.l1, options.l2),
            validation=0.2,
            callbacks=[EarlyStopping(patience=50)],
        )
    except (ValueError, DivergenceError) as error:
        parser.error(str(error))

    # Whichever the loss, the class is the largest score.
    found = model.predict(X_test).argmax(axis=1) if squared else model.predict(X_test)
    print(model.summary())
    print(f"\nstopped:       {history.stopped}, after {history.epochs} epochs")
    print(f"test accuracy: {np.mean(found == labels_test):.3f} on {len(X_test)} examples of {len(names)} classes")
    history.plot().figure_.savefig(options.output, dpi=110)
    print(f"figure:        {options.output}")


if __name__ == "__main__":
    main()
