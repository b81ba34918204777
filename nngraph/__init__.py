"""nngraph: write a gate by hand in plain NumPy; prove it, see it, and train with it."""

from nngraph.graph import Constant, Graph, GraphError, Input, Node, Parameter, Values
from nngraph.model import Dense, Model
from nngraph.training import DivergenceError

__version__ = "0.1.0"

__all__ = [
    "Constant",
    "Dense",
    "DivergenceError",
    "Graph",
    "GraphError",
    "Input",
    "Model",
    "Node",
    "Parameter",
    "Values",
]
