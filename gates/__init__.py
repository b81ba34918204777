"""Gates: operations on arrays, each with its forward and its backward, in plain NumPy."""

import importlib
from typing import TYPE_CHECKING, Any

from gates.arithmetic import (
    AddGate,
    DivideGate,
    ElementwiseProductGate,
    ExpGate,
    LogGate,
    MaximumGate,
    MinimumGate,
    MultiplyGate,
    NegateGate,
    PowerGate,
    SubtractGate,
)
from gates.contract import ElementwiseGate, Gate, GateError
from gates.layers import ELU, GELU, LeakyReLU, ReLU, Sigmoid, SiLU, SoftmaxLayer, Softplus, Tanh
from gates.losses import ClassOutput, OutputGate
from gates.normalization import LayerNormGate, StandardizeGate
from gates.outputs import AbsoluteError, HalfSquaredError, Hinge, Huber, Logistic, Poisson, Softmax, SquaredError
from gates.shaping import (
    ConcatenateGate,
    GatherGate,
    MeanGate,
    ReshapeGate,
    SliceGate,
    SumGate,
    TransposeGate,
    VarianceGate,
)

if TYPE_CHECKING:
    from gates.checking import Report, check_gate, parametrize_with_gate_checks

__all__ = [
    "ELU",
    "GELU",
    "AbsoluteError",
    "AddGate",
    "ClassOutput",
    "ConcatenateGate",
    "DivideGate",
    "ElementwiseGate",
    "ElementwiseProductGate",
    "ExpGate",
    "Gate",
    "GateError",
    "GatherGate",
    "HalfSquaredError",
    "Hinge",
    "Huber",
    "LayerNormGate",
    "LeakyReLU",
    "LogGate",
    "Logistic",
    "MaximumGate",
    "MeanGate",
    "MinimumGate",
    "MultiplyGate",
    "NegateGate",
    "OutputGate",
    "Poisson",
    "PowerGate",
    "ReLU",
    "Report",
    "ReshapeGate",
    "SiLU",
    "Sigmoid",
    "SliceGate",
    "Softmax",
    "SoftmaxLayer",
    "Softplus",
    "SquaredError",
    "StandardizeGate",
    "SubtractGate",
    "SumGate",
    "Tanh",
    "TransposeGate",
    "VarianceGate",
    "check_gate",
    "parametrize_with_gate_checks",
]


def __getattr__(name: str) -> Any:
    """Load the proofs when they are first asked for: they take as long as all the rest."""
    if name in ("Report", "check_gate", "parametrize_with_gate_checks"):
        return getattr(importlib.import_module("gates.checking"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
