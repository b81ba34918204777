"""What is wrong with a net: measured, named, and with advice."""

from nngraph.diagnosis.evidence import Layer
from nngraph.diagnosis.report import Diagnosis, diagnose
from nngraph.diagnosis.rules import Finding

__all__ = ["Diagnosis", "Finding", "Layer", "diagnose"]
