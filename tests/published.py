"""The published moons network S1, written again in plain NumPy: nothing here comes from gates or nngraph.

Its training amplifies rounding errors: with ``exp(s)`` for ``exp(s - max(s))`` in the softmax, which is the same but
for the last bit, the loss after 2,001 passes is 0.1947 in place of 0.1975, and after 20,000 it is 0.15999271 in place
of 0.15999273. Two versions agree closely only if they round alike, so this one shifts the scores too.
"""

from itertools import pairwise

import numpy as np
from sklearn.datasets import make_moons


def published_data():
    """Return the published moons and the generator that drew them, which goes on to draw the weights."""
    rng = np.random.RandomState(0)
    X, y = make_moons(200, noise=0.20, random_state=rng)
    return X, y, rng


def published_network(X, y, rng, widths=(2, 3, 2), passes=20_000, epsilon=0.01, reg_lambda=0.01):
    """Return the mean data loss after passes 1, 1001, ... and the last, by pass, and the layers ``[W, b]``."""
    layers = []
    for m, n in pairwise(widths):
        W = rng.normal(size=(m, n)) / np.sqrt(m)
        layers.append([W, rng.normal(size=n)])
    wanted, losses = np.eye(widths[-1])[y], {}
    for done in range(passes + 1):
        A = [X]
        for W, b in layers:
            A.append(np.tanh(A[-1].dot(W) + b))
        E = np.exp(A[-1] - A[-1].max(axis=1, keepdims=True))
        P = E / E.sum(axis=1, keepdims=True)
        if done % 1000 == 1 or done == passes:
            losses[done] = -np.log((P * wanted).sum(axis=1)).mean()
        if done < passes:
            dA = P - wanted
            for i in reversed(range(len(layers))):
                W, b = layers[i]
                dZ = dA * (1 - A[i + 1] ** 2)
                dA = dZ.dot(W.T)
                layers[i] = [W - epsilon * (A[i].T.dot(dZ) + reg_lambda * W), b - epsilon * dZ.sum(axis=0)]
    return losses, layers
