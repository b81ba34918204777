"""scikit-learn estimators over `Model`: what its users know, and open."""

from nngraph.estimators.classifier import GateClassifier
from nngraph.estimators.regressor import GateRegressor

__all__ = ["GateClassifier", "GateRegressor"]
