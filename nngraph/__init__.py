"""nngraph: write a gate by hand in plain NumPy; prove it, see it, and train with it."""

import importlib
from typing import TYPE_CHECKING, Any

from nngraph.architecture import BatchNorm, Dense, Dropout, LayerNorm
from nngraph.ensemble import Ensemble
from nngraph.graph import Graph, Values
from nngraph.history import History
from nngraph.model import Model
from nngraph.nodes import Constant, GraphError, Input, Node, Parameter, Random, Running
from nngraph.objective import DivergenceError
from nngraph.storage.file import StorageError
from nngraph.storage.loading import load
from nngraph.tracing import NonFiniteError

if TYPE_CHECKING:
    from nngraph.checking import check_graph, check_model
    from nngraph.estimators import GateClassifier, GateRegressor

__version__ = "0.1.0"

__all__ = [
    "BatchNorm",
    "Constant",
    "Dense",
    "DivergenceError",
    "Dropout",
    "Ensemble",
    "GateClassifier",
    "GateRegressor",
    "Graph",
    "GraphError",
    "History",
    "Input",
    "LayerNorm",
    "Model",
    "Node",
    "NonFiniteError",
    "Parameter",
    "Random",
    "Running",
    "StorageError",
    "Values",
    "check_graph",
    "check_model",
    "load",
]


def __getattr__(name: str) -> Any:
    """Load the proofs and the estimators when they are first asked for: they, and scikit-learn, take long."""
    if name in ("check_graph", "check_model"):
        return getattr(importlib.import_module("nngraph.checking"), name)
    if name in ("GateClassifier", "GateRegressor"):
        return getattr(importlib.import_module("nngraph.estimators"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
