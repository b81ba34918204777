"""Prove a gate: its gradient against measured slopes, its contract, and, where it is wrong, what kind of wrong."""

from __future__ import annotations

from typing import Any

import numpy as np

from gates.checking.checks import prove
from gates.checking.examples import find_trials
from gates.checking.outcome import Proof, seeded
from gates.checking.parametrize import parametrize_with_gate_checks
from gates.checking.report import Report
from gates.contract import Gate, be_gate

__all__ = ["Report", "check_gate", "parametrize_with_gate_checks"]


def check_gate(gate: Gate, *inputs: Any, random_state: int = 0) -> Report:
    """Prove that ``backward`` is the derivative of ``forward``, ``dXi = (dZ/dXi)^T dZ``, and that the contract is kept.

    The slopes are measured on the forward: central differences with a step that is controlled for every element, and a
    complex step where the forward takes complex numbers. They are compared with what backward gives for random upstream
    gradients, first along random directions, which is cheap at any size, and only where a direction disagrees element
    by element. How far they may differ follows from the rounding and the curvature that are measured, so nothing has to
    be set. A wrong gradient is then compared with what the usual mistakes would give.

    Parameters
    ----------
    gate : Gate
        The gate to prove.
    *inputs : array-like
        Where to prove it. Copies in float64 are used; labels and rows (integers without a gradient) and the gate's
        `constants` are held fixed. Without inputs, the gate's own ``examples(rng)``, a list of tuples of inputs, or
        shapes that are found by trying, for one to three inputs.
    random_state : int, default=0
        Seed of all that is drawn.

    Returns
    -------
    report : Report
        True if everything passed, so that a test can say ``assert check_gate(MyGate())``. Printed, it has one line per
        check, the place and the numbers of a failure, and the diagnosis.

    Raises
    ------
    GateError
        If the inputs cannot be used (complex, not finite, of the wrong number, none with a gradient), or no example is
        found. What is wrong with the gate is in the report, its exceptions included.
    TypeError
        If `gate` is not a Gate.
    ValueError
        If `random_state` is no integer >= 0.

    References
    ----------
    Griewank, Walther: Evaluating derivatives. SIAM, 2008, section 3 (the identity ``<g, v> = <G, dZ/dv>``).

    Examples
    --------
    >>> from gates import Tanh, check_gate
    >>> report = check_gate(Tanh(), [[0.5, -1.0, 1.0], [2.0, 0.0, 3.0]])
    >>> print(report.summary())
    Tanh is proven: 14 checks passed
    >>> class Halved(Tanh):
    ...     def derivative(self, X):
    ...         return super().derivative(X) / 2
    >>> report = check_gate(Halved())
    >>> print(report.summary(), report.failed, report.diagnoses[0].kind, sep=" | ")
    Halved is wrong: 1 of 13 checks failed | ('gradient is right',) | constant factor
    """
    be_gate(gate, "check_gate")
    seed = seeded(random_state)
    return prove(Proof(gate, find_trials(gate, inputs, np.random.default_rng(seed)), seed))
