"""Gates: operations on arrays, each with its forward and its backward, in plain NumPy."""

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
from gates.checking import Report, check_gate, parametrize_with_gate_checks
from gates.contract import ElementwiseGate, Gate, GateError
from gates.layers import ELU, GELU, LeakyReLU, ReLU, Sigmoid, SiLU, SoftmaxLayer, Softplus, Tanh
from gates.losses import OutputGate
from gates.outputs import AbsoluteError, Hinge, Huber, Logistic, Softmax, SquaredError
from gates.shaping import (
    ConcatenateGate,
    GatherGate,
    MeanGate,
    ReshapeGate,
    SliceGate,
    SumGate,
    TransposeGate,
)

__all__ = [
    "ELU",
    "GELU",
    "AbsoluteError",
    "AddGate",
    "ConcatenateGate",
    "DivideGate",
    "ElementwiseGate",
    "ElementwiseProductGate",
    "ExpGate",
    "Gate",
    "GateError",
    "GatherGate",
    "Hinge",
    "Huber",
    "LeakyReLU",
    "LogGate",
    "Logistic",
    "MaximumGate",
    "MeanGate",
    "MinimumGate",
    "MultiplyGate",
    "NegateGate",
    "OutputGate",
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
    "SubtractGate",
    "SumGate",
    "Tanh",
    "TransposeGate",
    "check_gate",
    "parametrize_with_gate_checks",
]
