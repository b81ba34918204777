"""nngraph: write a gate by hand in plain NumPy; prove it, see it, and train with it."""

from nngraph.architecture import Dense
from nngraph.checking import check_graph, check_model
from nngraph.graph import Graph, Values
from nngraph.model import Model
from nngraph.nodes import Constant, GraphError, Input, Node, Parameter
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
    "check_graph",
    "check_model",
]
