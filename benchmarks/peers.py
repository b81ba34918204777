"""The same training by others: published code, PyTorch, JAX, scikit-learn, MyGrad and Autograd, each as it is fastest.

All descend the sum of the losses from the same weights on the same batches, and compute the loss at every step. Nobody
but nngraph and the code by hand has to hand it over as a number each time: the others do so once, at the end.
"""

import math
import warnings
from functools import cache
from typing import Any

import numpy as np
from workloads import Run, Workload


class MultiplyGate:
    """``Z = X W``."""

    def forward(self, W, X):
        return np.dot(X, W)

    def backward(self, W, X, dZ):
        return np.dot(X.T, dZ), np.dot(dZ, W.T)


class AddGate:
    """``Z = X + b``."""

    def forward(self, X, b):
        return X + b

    def backward(self, X, b, dZ):
        return np.dot(np.ones((1, len(dZ))), dZ), dZ * np.ones_like(X)


class Tanh:
    """``Z = tanh(X)``."""

    def forward(self, X):
        return np.tanh(X)

    def backward(self, X, dZ):
        return (1 - np.square(self.forward(X))) * dZ


class Softmax:
    """``P = softmax(S)``; the slope of the cross-entropy is ``P - onehot(y)``."""

    def predict(self, S):
        E = np.exp(S)
        return E / np.sum(E, axis=1, keepdims=True)

    def loss(self, S, y):
        return -np.log(self.predict(S)[range(len(S)), y]).sum() / len(S)

    def slope(self, S, y):
        P = self.predict(S)
        P[range(len(S)), y] -= 1
        return P


def published(workload: Workload, dtype: str) -> Run:
    """Return training by gates in the manner of the published network: new arrays each time, no loss but the last."""
    (X,), (y,) = workload.data(dtype)
    W, b = (list(arrays) for arrays in zip(*workload.weights(dtype), strict=True))
    multiply, add, layer, output = MultiplyGate(), AddGate(), Tanh(), Softmax()

    def run(steps: int) -> float:
        for step in range(steps):
            A, passed = X, []
            for i in range(len(W)):
                product = multiply.forward(W[i], A)
                Z = add.forward(product, b[i])
                passed.append((product, Z, A))
                A = layer.forward(Z)
            if step == steps - 1:
                loss = output.loss(A, y)
            dA = output.slope(A, y)
            for i in reversed(range(len(W))):
                product, Z, below = passed[i]
                db, dproduct = add.backward(product, b[i], layer.backward(Z, dA))
                dW, dA = multiply.backward(W[i], below, dproduct)
                dW += workload.reg_lambda * W[i]
                b[i] = b[i] - workload.epsilon * db
                W[i] = W[i] - workload.epsilon * dW
        return loss

    return run


def pytorch(workload: Workload, dtype: str) -> Run:
    """Return eager training with torch; its SGD class takes longer than these two calls, fused or not."""
    import torch

    act = {"Tanh": torch.tanh, "ReLU": torch.relu, "Sigmoid": torch.sigmoid, None: lambda Z: Z}
    Xs, ys = ([torch.from_numpy(array) for array in arrays] for arrays in workload.data(dtype))
    layers = [
        tuple(p if p is None else torch.tensor(p, requires_grad=True) for p in layer)
        for layer in workload.weights(dtype)
    ]
    parameters, weights = [p for layer in layers for p in layer if p is not None], [W for W, _ in layers]
    cross_entropy, squares = torch.nn.functional.cross_entropy, torch.nn.functional.mse_loss
    sum_of_losses = cross_entropy if workload.loss == "Softmax" else squares

    def run(steps: int) -> float:
        for step in range(steps):
            A = Xs[step % workload.batches]
            for (W, b), name in zip(layers, workload.activations, strict=True):
                A = act[name](A @ W if b is None else torch.addmm(b, A, W))
            loss = sum_of_losses(A, ys[step % workload.batches], reduction="sum")
            gradients = torch.autograd.grad(loss, parameters)
            with torch.no_grad():
                if workload.reg_lambda:
                    torch._foreach_mul_(weights, 1 - workload.epsilon * workload.reg_lambda)
                torch._foreach_add_(parameters, gradients, alpha=-workload.epsilon)
        return loss.item() / workload.divisor

    return run


@cache
def _jax_functions(workload: Workload) -> tuple[Any, Any]:
    """Return one step, and a loop of steps, both compiled; once, as compiling takes longer than a repetition."""
    import jax

    # Without it there is no float64; float32 stays what it is.
    jax.config.update("jax_enable_x64", True)
    act = {"Tanh": jax.numpy.tanh, "ReLU": jax.nn.relu, "Sigmoid": jax.nn.sigmoid, None: lambda Z: Z}

    def sum_of_losses(layers, X, y):
        A = X
        for (W, b), name in zip(layers, workload.activations, strict=True):
            A = act[name](A @ W if b is None else A @ W + b)
        if workload.loss == "Softmax":
            return -(jax.nn.log_softmax(A) * jax.nn.one_hot(y, A.shape[1], dtype=A.dtype)).sum()
        return ((A - y) ** 2).sum()

    def step(layers, X, y):
        loss, gradients = jax.value_and_grad(sum_of_losses)(layers, X, y)
        decay = 1 - workload.epsilon * workload.reg_lambda
        stepped = jax.tree.map(
            lambda p, dp: (p * decay if p.ndim == 2 else p) - workload.epsilon * dp, layers, gradients
        )
        return stepped, loss / workload.divisor

    def loop(layers, X, y, steps):
        def body(i, state):
            batch = i % workload.batches if workload.batches > 1 else 0
            return step(state[0], X[batch], y[batch])

        return jax.lax.fori_loop(0, steps, body, (layers, jax.numpy.zeros((), X.dtype)))

    return jax.jit(step, donate_argnums=0), jax.jit(loop)


def jax_a_pass(workload: Workload, dtype: str) -> Run:
    """Return training with a call of JAX per step, on threads of its own choice."""
    step, _ = _jax_functions(workload)
    import jax

    layers = jax.tree.map(jax.numpy.asarray, workload.weights(dtype))
    Xs, ys = ([jax.numpy.asarray(array) for array in arrays] for arrays in workload.data(dtype))

    def run(steps: int) -> float:
        nonlocal layers
        for i in range(steps):
            layers, loss = step(layers, Xs[i % workload.batches], ys[i % workload.batches])
        return float(loss)

    return run


def jax_loop(workload: Workload, dtype: str) -> Run:
    """Return training with all steps in one call of JAX."""
    _, loop = _jax_functions(workload)
    import jax

    layers = jax.tree.map(jax.numpy.asarray, workload.weights(dtype))
    X, y = (jax.numpy.stack(arrays) for arrays in workload.data(dtype))

    def run(steps: int) -> float:
        nonlocal layers
        layers, loss = loop(layers, X, y, steps)
        return float(loss)

    return run


def sklearn(workload: Workload, dtype: str) -> Run:
    """Return `MLPClassifier.fit`. Its net has one logistic score for two classes and no tanh on it: no loss agrees."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    (X,), (y,) = workload.data(dtype)

    def run(steps: int) -> float:
        # Its gradient is the mean's, and so is its penalty.
        settings = {"alpha": workload.reg_lambda, "learning_rate_init": workload.epsilon * len(X), "max_iter": steps}
        plain = {"solver": "sgd", "momentum": 0, "batch_size": len(X), "shuffle": False, "tol": 0, "random_state": 0}
        net = MLPClassifier(workload.widths[1:-1], activation="tanh", n_iter_no_change=steps + 1, **settings, **plain)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            net.fit(X, y)
        return math.nan

    return run


def mygrad(workload: Workload, dtype: str) -> Run:
    """Return training with MyGrad."""
    import mygrad as mg
    from mygrad.nnet.losses import softmax_crossentropy

    (X,), (y,) = workload.data(dtype)
    layers = [(mg.tensor(W), mg.tensor(b)) for W, b in workload.weights(dtype)]

    def run(steps: int) -> float:
        for _ in range(steps):
            A = X
            for W, b in layers:
                A = mg.tanh(mg.matmul(A, W) + b)
            loss = softmax_crossentropy(A, y)
            (loss * len(X)).backward()
            for W, b in layers:
                W.data -= workload.epsilon * (W.grad + workload.reg_lambda * W.data)
                b.data -= workload.epsilon * b.grad
        return float(loss)

    return run


def autograd(workload: Workload, dtype: str) -> Run:
    """Return training with Autograd."""
    import autograd.numpy as anp
    from autograd import value_and_grad
    from autograd.scipy.special import logsumexp

    (X,), (y,) = workload.data(dtype)
    parameters = [p for layer in workload.weights(dtype) for p in layer]
    wanted = np.eye(workload.widths[-1])[y]

    def sum_of_losses(parameters):
        A = X
        for W, b in zip(parameters[::2], parameters[1::2], strict=True):
            A = anp.tanh(anp.dot(A, W) + b)
        return anp.sum(logsumexp(A, axis=1)) - anp.sum(A * wanted)

    differentiate = value_and_grad(sum_of_losses)

    def run(steps: int) -> float:
        for _ in range(steps):
            loss, gradients = differentiate(parameters)
            for p, dp in zip(parameters, gradients, strict=True):
                p[...] -= workload.epsilon * (dp + workload.reg_lambda * p if p.ndim == 2 else dp)
        return float(loss) / len(X)

    return run
