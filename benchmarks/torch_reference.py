"""Write `tests/torch_reference.json`: weights and learning rates as PyTorch computes them, to compare ours with.

All optimisers start at the same 12 numbers and follow the same gradient, which is made of `+ - * /` only, so that NumPy
and PyTorch compute it alike to the last bit; `tests/test_optimizers.py` writes it again. It is the gradient of no
function: the parameters pull at one another, and far from 0 it grows like a cube.

Batch norm and layer norm stand in a net of two layers, which takes three steps on three batches;
`tests/test_dropout_norm.py` takes them again.
"""

import argparse
import datetime
import json
import math
import shlex
import sys
from pathlib import Path
from typing import Any

import torch

STEPS = (1, 10, 100)
EPOCHS = 60
# The factor of the learning rate after each step, in the runs that are scheduled.
DECAY = 0.98

# Our class and its settings; PyTorch's and its settings.
OPTIMIZERS: list[tuple[str, dict[str, float], str, dict[str, Any]]] = [
    ("GradientDescent", {}, "SGD", {"lr": 0.01}),
    ("GradientDescent", {"rate": 0.15}, "SGD", {"lr": 0.15}),
    ("Momentum", {}, "SGD", {"lr": 0.01, "momentum": 0.9}),
    ("Momentum", {"rate": 0.05, "momentum": 0.6}, "SGD", {"lr": 0.05, "momentum": 0.6}),
    ("Nesterov", {}, "SGD", {"lr": 0.01, "momentum": 0.9, "nesterov": True}),
    ("Nesterov", {"rate": 0.05, "momentum": 0.6}, "SGD", {"lr": 0.05, "momentum": 0.6, "nesterov": True}),
    ("Adagrad", {}, "Adagrad", {}),
    (
        "Adagrad",
        {"rate": 0.2, "rate_decay": 0.03, "initial": 0.4, "epsilon": 0.01},
        "Adagrad",
        {"lr": 0.2, "lr_decay": 0.03, "initial_accumulator_value": 0.4, "eps": 0.01},
    ),
    ("RMSprop", {}, "RMSprop", {}),
    ("RMSprop", {"rate": 0.03, "alpha": 0.8, "epsilon": 0.01}, "RMSprop", {"lr": 0.03, "alpha": 0.8, "eps": 0.01}),
    ("Adam", {}, "Adam", {}),
    (
        "Adam",
        {"rate": 0.05, "beta1": 0.8, "beta2": 0.95, "epsilon": 0.01},
        "Adam",
        {"lr": 0.05, "betas": (0.8, 0.95), "eps": 0.01},
    ),
    ("AdamW", {}, "AdamW", {}),
    (
        "AdamW",
        {"rate": 0.05, "beta1": 0.8, "beta2": 0.95, "epsilon": 0.01, "weight_decay": 0.3},
        "AdamW",
        {"lr": 0.05, "betas": (0.8, 0.95), "eps": 0.01, "weight_decay": 0.3},
    ),
]

# Our class and its settings; PyTorch's and its settings; how many epochs are asked for.
SCHEDULES: list[tuple[str, dict[str, float], str, dict[str, Any], int]] = [
    ("StepDecay", {}, "StepLR", {"gamma": 0.1, "step_size": 30}, EPOCHS),
    ("StepDecay", {"factor": 0.7, "every": 7}, "StepLR", {"gamma": 0.7, "step_size": 7}, EPOCHS),
    ("ExponentialDecay", {}, "ExponentialLR", {"gamma": 0.95}, EPOCHS),
    ("ExponentialDecay", {"factor": 0.8}, "ExponentialLR", {"gamma": 0.8}, EPOCHS),
    ("Cosine", {}, "CosineAnnealingLR", {"T_max": EPOCHS}, EPOCHS),
    ("Cosine", {"end": 0.2}, "CosineAnnealingLR", {"T_max": EPOCHS, "eta_min": 0.2}, EPOCHS),
    ("Cosine", {"end": 0.2}, "CosineAnnealingLR", {"T_max": 1, "eta_min": 0.2}, 1),
    ("WarmUp", {}, "LinearLR", {"start_factor": 0.1, "total_iters": 5}, EPOCHS),
    ("WarmUp", {"over": 20, "start": 0.4}, "LinearLR", {"start_factor": 0.4, "total_iters": 20}, EPOCHS),
    ("Plateau", {}, "ReduceLROnPlateau", {}, EPOCHS),
    ("Plateau", {"factor": 0.5, "patience": 2}, "ReduceLROnPlateau", {"factor": 0.5, "patience": 2}, EPOCHS),
    (
        "Plateau",
        {"factor": 0.3, "patience": 1, "threshold": 0.05, "cooldown": 4, "minimum": 0.02},
        "ReduceLROnPlateau",
        {"factor": 0.3, "patience": 1, "threshold": 0.05, "cooldown": 4, "min_lr": 0.02},
        EPOCHS,
    ),
    ("Plateau", {"factor": 0.0, "patience": 0}, "ReduceLROnPlateau", {"factor": 0.0, "patience": 0}, EPOCHS),
]

# Our class and its settings; PyTorch's and its settings.
NORMS: list[tuple[str, dict[str, float], str, dict[str, Any]]] = [
    ("BatchNorm", {}, "BatchNorm1d", {}),
    ("BatchNorm", {"momentum": 0.3, "epsilon": 0.01}, "BatchNorm1d", {"momentum": 0.3, "eps": 0.01}),
    ("LayerNorm", {}, "LayerNorm", {}),
    ("LayerNorm", {"epsilon": 0.01}, "LayerNorm", {"eps": 0.01}),
]
# What our parameters are called, in the order of PyTorch's: its weights are ours turned.
PARAMETERS = ("W1", "b1", "gamma1", "beta1", "W2", "b2")
RATE = 0.2


def start() -> torch.Tensor:
    """Return the 12 numbers from -1.375 to 1.375 that a training starts from, in no order."""
    return (7 * torch.arange(12, dtype=torch.float64) % 12 - 5.5) / 4


def slope(theta: torch.Tensor) -> torch.Tensor:
    """Return the gradient at theta."""
    weights = (1 + torch.arange(12, dtype=torch.float64)) / 4
    return weights * theta / (1 + theta * theta) + theta * theta * theta / 10 - torch.roll(theta, 1) / 20


def weights(kind: str, settings: dict[str, Any], decay: float) -> dict[int, list[float]]:
    """Return theta after some of the steps."""
    theta, kept = start().requires_grad_(), {}
    optimizer = getattr(torch.optim, kind)([theta], **settings)
    for step in range(1, max(STEPS) + 1):
        theta.grad = slope(theta.detach())
        optimizer.step()
        for group in optimizer.param_groups:
            group["lr"] *= decay
        if step in STEPS:
            kept[step] = theta.tolist()
    return kept


def losses() -> list[float]:
    """Return a made-up series of losses: it falls by less and less, then no more, with bumps, and once it is nan."""
    series = [1 / (1 + min(epoch, 25)) + (epoch * epoch % 7) / 40 for epoch in range(EPOCHS)]
    series[12] = math.nan
    return series


def factors(kind: str, settings: dict[str, Any], epochs: int) -> list[float]:
    """Return the rate in epoch 0, 1, ..., from 1."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = getattr(torch.optim.lr_scheduler, kind)(optimizer, **settings)
    kept = [1.0 * optimizer.param_groups[0]["lr"]]
    for loss in losses()[:epochs]:
        optimizer.step()
        scheduler.step(*[loss] * (kind == "ReduceLROnPlateau"))
        kept.append(float(optimizer.param_groups[0]["lr"]))
    return kept


def as_ours(parts: list[torch.Tensor]) -> dict[str, Any]:
    """Return PyTorch's parameters, or their gradients, by our names and in our shapes."""
    return {name: (part.T if part.ndim == 2 else part).tolist() for name, part in zip(PARAMETERS, parts, strict=True)}


def normalised(ours: str, settings: dict[str, float], kind: str, theirs: dict[str, Any]) -> dict[str, Any]:
    """Return three steps of gradient descent on three batches of 5, 5 and 2 rows, and what is left."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    norm = getattr(torch.nn, kind)(4, **theirs)
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), norm, torch.nn.Linear(4, 2))
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.5, 1.0, 1.5, -1.0]))
        norm.bias.copy_(torch.tensor([0.0, 0.25, -0.5, 1.0]))
    began = as_ours([p.detach() for p in net.parameters()])
    X = [torch.randn(rows, 3) for rows in (5, 5, 2)]
    Y = [torch.randn(rows, 2) for rows in (5, 5, 2)]
    optimizer, steps = torch.optim.SGD(net.parameters(), lr=RATE), []
    for rows, targets in zip(X, Y, strict=True):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(net(rows), targets)
        loss.backward()
        gradients = as_ours([torch.zeros_like(p) if p.grad is None else p.grad for p in net.parameters()])
        steps.append({"loss": loss.item(), "gradients": gradients})
        optimizer.step()
    net.eval()
    averaged = (
        {"mean1": norm.running_mean.tolist(), "variance1": norm.running_var.tolist()} if ours == "BatchNorm" else {}
    )
    return {
        "layer": ours,
        "settings": settings,
        "torch": called(kind, theirs, "torch.nn"),
        "rate": RATE,
        "start": began,
        "X": [rows.tolist() for rows in X],
        "Y": [targets.tolist() for targets in Y],
        "steps": steps,
        "averages": averaged,
        "predictions": net(X[0]).tolist(),
    }


def called(kind: str, settings: dict[str, Any], module: str = "torch.optim") -> str:
    """Return how PyTorch's class is called."""
    return f"{module}.{kind}({', '.join(f'{name}={value!r}' for name, value in settings.items())})"


def table(rows: list[dict[str, Any]]) -> str:
    """Return a list in JSON, one row in a line; floats are written in full."""
    return "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]"


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    target = Path(__file__).parents[1] / "tests" / "torch_reference.json"
    parser.add_argument("--output", type=Path, default=target)
    arguments = parser.parse_args()
    origin = {
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "command": shlex.join(["python", "benchmarks/torch_reference.py"]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    optimizers = [
        {
            "optimizer": ours,
            "settings": settings,
            "torch": called(kind, theirs),
            "decay": decay,
            "weights": weights(kind, theirs, decay),
        }
        for ours, settings, kind, theirs in OPTIMIZERS
        for decay in (1.0, DECAY)
    ]
    schedules = [
        {
            "schedule": ours,
            "settings": settings,
            "torch": called(f"lr_scheduler.{kind}", theirs),
            "epochs": epochs,
            "factors": factors(kind, theirs, epochs),
        }
        for ours, settings, kind, theirs, epochs in SCHEDULES
    ]
    parts = {
        "origin": json.dumps(origin),
        "start": json.dumps(start().tolist()),
        "slope": json.dumps(slope(start()).tolist()),
        "optimizers": table(optimizers),
        "losses": json.dumps([None if math.isnan(loss) else loss for loss in losses()]),
        "schedules": table(schedules),
        "norms": table([normalised(*row) for row in NORMS]),
    }
    text = ",\n".join(f'"{name}": {part}' for name, part in parts.items())
    arguments.output.write_text(f"{{\n{text}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
