"""Tests of gates in pytest: one named test per gate and check."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from unittest import SkipTest

import numpy as np

from gates.checking.checks import CHECKS
from gates.checking.examples import find_trials
from gates.checking.outcome import Check, Proof, gate_title
from gates.contract import Gate, GateError, be_gate


class GateCheck:
    """One check, to be called with a gate in a test: it passes, fails or skips that test."""

    def __init__(self, check: Check, titles: Mapping[int, str] | None = None) -> None:
        self._check = check
        # As they were made: a gate that keeps what it saw shows it afterwards.
        self._titles = titles or {}
        self.name = check.name

    def __call__(self, gate: Gate, random_state: int = 0) -> None:
        """Run the check on the gate's own examples, or on such as are found.

        Raises
        ------
        GateError
            If the gate fails; says what was found, and the diagnosis.
        unittest.SkipTest
            If the check does not apply to the gate.
        """
        title = self._titles.get(id(gate)) or gate_title(gate)
        __tracebackhide__ = True
        proof = Proof(gate, find_trials(gate, (), np.random.default_rng(random_state)), random_state)
        first = CHECKS[0].run(proof)
        if first.status == "failed" and self.name != first.name:
            raise SkipTest("needs a forward that runs")
        result = self._check.run(proof)
        if result.status == "skipped":
            raise SkipTest(result.message)
        if result.status == "failed":
            raise GateError("\n".join([f"{title}: {self.name}", *result.lines()]))

    def __repr__(self) -> str:
        return self.name


def parametrize_with_gate_checks(gates: Iterable[Gate]) -> Callable[[Any], Any]:
    """Make one test per gate and check: a decorator for a test of two arguments, in the manner of scikit-learn's.

    A failure reads ``test_gates[Swish-upstream is used]``. A check that does not apply to a gate is skipped, with its
    reason. Needs pytest.

    Parameters
    ----------
    gates : iterable of Gate
        The gates to prove, each with its settings; where shapes are not found by trying, with a method
        ``examples(self, rng)``.

    Returns
    -------
    decorator : callable
        ``pytest.mark.parametrize`` over the arguments ``gate`` and ``check``.

    Raises
    ------
    TypeError
        If one of them is not a Gate.

    Examples
    --------
    >>> from gates import Tanh, parametrize_with_gate_checks
    >>> @parametrize_with_gate_checks([Tanh()])
    ... def test_gates(gate, check):
    ...     check(gate)
    """
    import pytest  # noqa: PLC0415 - an extra: only who tests needs it

    if isinstance(gates, Gate | type):
        raise TypeError(f"parametrize_with_gate_checks takes a list of gates, [MyGate()], got {gates!r}")
    listed = list(gates)
    for gate in listed:
        be_gate(gate, "parametrize_with_gate_checks")
    titles = {id(gate): gate_title(gate) for gate in listed}
    return pytest.mark.parametrize(
        ("gate", "check"),
        [pytest.param(g, GateCheck(c, titles), id=f"{titles[id(g)]}-{c.name}") for g in listed for c in CHECKS],
    )
