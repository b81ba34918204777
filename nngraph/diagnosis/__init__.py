"""What is wrong with a net: measured, named, and with advice."""

from nngraph.diagnosis.evidence import Layer
from nngraph.diagnosis.finding import Finding
from nngraph.diagnosis.report import Diagnosis, diagnose

__all__ = ["Diagnosis", "Finding", "Layer", "diagnose"]
