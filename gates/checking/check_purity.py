"""Checks of purity: nothing is written, nothing kept, nothing random."""

from __future__ import annotations

import contextlib
import copy
import random
from typing import Any

import numpy as np

from gates.arrays import Array, first
from gates.checking.evidence import Diagnosis
from gates.checking.outcome import Failure, Proof, breach
from gates.checking.trial import Trial
from gates.checking.variants import accepted, beside
from gates.contract import Gate, run_backward

SEED = 20261122


def inputs_unchanged(proof: Proof) -> str:
    """Compare all arguments before and after."""
    for trial in proof.trials:
        dZ = proof.rng().standard_normal(trial.forward(trial.inputs).shape)
        for method, names, given in (
            (proof.gate.forward, trial.names, trial.inputs),
            (proof.gate.backward, [*trial.names, "dZ"], [*trial.inputs, dZ]),
        ):
            mine = [np.array(x) for x in given]
            # That it raises is told by another check.
            with contextlib.suppress(Exception):
                method(*mine)
            for name, before, after in zip(names, given, mine, strict=True):
                if not np.array_equal(before, after, equal_nan=before.dtype.kind == "f"):
                    at, position = first(before != after)
                    element = f"{name}[{position}]" if at else name
                    text = (
                        f"{method.__name__} writes into {name}: {element} was {before[at]:.4g} and is {after[at]:.4g}"
                    )
                    raise Failure(
                        f"{text}\nexample: {trial}",
                        [Diagnosis("input overwritten", f"{text}; work on a copy, {name}.copy()")],
                    )
    return "neither forward nor backward writes into what it is given"


def same_answer_twice(proof: Proof) -> str:
    """Call twice with the same arguments."""
    for trial in proof.trials:
        G = proof.rng().standard_normal(trial.forward(trial.inputs).shape)
        if not _same(trial.forward(trial.inputs), trial.forward(trial.inputs)):
            raise Failure(f"forward gives another result the second time\nexample: {trial}")
        if breach(trial, proof.rng()) is None:
            for name, one, two in zip(
                trial.names, trial.backward(trial.inputs, G), trial.backward(trial.inputs, G), strict=True
            ):
                if not _same(one, two):
                    raise Failure(f"backward gives another gradient of {name} the second time\nexample: {trial}")
    return "forward and backward, to the bit"


def _same(a: Array | None, b: Array | None) -> bool:
    return a is b if a is None or b is None else np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def nothing_is_kept(proof: Proof) -> str:
    """Run forward at other inputs between forward and backward, and compare the attributes before and after."""
    gate = proof.gate
    for trial in proof.trials:
        rng = proof.rng()
        other = _other_inputs(trial, rng)
        if other is None or breach(trial, proof.rng()):
            continue
        G = rng.standard_normal(trial.forward(trial.inputs).shape)
        right = trial.backward(trial.inputs, G)
        trial.forward(trial.inputs)
        before = {name: _copy(value) for name, value in _attributes(gate).items()}
        other.forward(other.inputs)
        changed = _changed(before, _attributes(gate))
        # As when a gate stands in two layers: its forward has run elsewhere since.
        late = run_backward(gate, [np.array(x) for x in trial.inputs], np.array(G))
        kept = f"forward writes self.{changed}" if changed else "something is kept between the calls"
        for name, one, two in zip(trial.names, right, late, strict=True):
            if not _same(one, two):
                there = other.backward(other.inputs, G)[trial.names.index(name)]
                proves = ": it is the gradient at those inputs" if _same(two, there) else ""
                raise Failure(
                    f"the gradient of {name} is another after forward ran at other inputs\nexample: {trial}",
                    [
                        Diagnosis(
                            "stale value",
                            f"{kept}, and backward uses what the last forward left{proves}; "
                            "backward gets the inputs again: compute it from them",
                        )
                    ],
                )
        changed = changed or _changed(before, _attributes(gate))
        if changed:
            raise Failure(f"a call changes self.{changed}; a gate's attributes are settings, written in __init__ only")
    return "no attribute is written, and backward does not depend on the last forward"


def _other_inputs(trial: Trial, rng: np.random.Generator) -> Trial | None:
    """Return the trial at inputs of another sign and size, or beside them where the forward refuses these."""
    turned = [np.where(x == 0, 0.5, -0.8 * x) if k in trial.varies else x for k, x in enumerate(trial.inputs)]
    return accepted(trial, turned, "elsewhere") or beside(trial, rng)


def _attributes(gate: Gate) -> dict[str, Any]:
    slots = {
        name: getattr(gate, name)
        for kind in type(gate).__mro__
        for name in getattr(kind, "__slots__", ())
        if hasattr(gate, name)
    }
    own = {name: value for name, value in vars(type(gate)).items() if not callable(value) and not name.startswith("__")}
    plain = {n: v for n, v in own.items() if isinstance(v, np.ndarray | int | float | str | list | dict | tuple | set)}
    return {**plain, **slots, **vars(gate)}


def _copy(value: Any) -> Any:
    """Copy a setting; what cannot be copied, such as a module or a lock, stays itself."""
    try:
        return copy.deepcopy(value)
    except Exception:  # noqa: BLE001 - any class may refuse in its own way
        return value


def _changed(before: dict[str, Any], after: dict[str, Any]) -> str | None:
    """Return the name of an attribute that is new or has another value."""
    return next((n for n, value in after.items() if n not in before or not _equal(before[n], value)), None)


def _equal(a: Any, b: Any) -> bool:
    """Whether two settings are the same; where their class cannot tell, as far as their own attributes are."""
    if a is b or type(a) is not type(b):
        return a is b
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b, equal_nan=a.dtype.kind in "fcmM")
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(_equal, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    try:
        plain = type(a).__eq__ is object.__eq__  # type: ignore[comparison-overlap] # a class need not define its own
        return _equal(getattr(a, "__dict__", None), getattr(b, "__dict__", None)) if plain else bool(a == b)
    except Exception:  # noqa: BLE001 - any class may refuse in its own way, and then nothing is known to have changed
        return True


def no_global_randomness(proof: Proof) -> str:
    """Compare the states of the global generators before and after."""
    kept, kept_python = np.random.get_state(), random.getstate()  # noqa: NPY002 - the state that must not be used
    try:
        # A state of its own: a gate that seeds before it draws would leave its usual one as it was.
        np.random.seed(SEED)  # noqa: NPY002 - see above
        random.seed(SEED)
        before, python = np.random.get_state(), random.getstate()  # noqa: NPY002 - see above
        for trial in proof.trials:
            breach(trial, proof.rng())
        after = np.random.get_state()  # noqa: NPY002 - see above
        if not all(map(np.array_equal, before, after)) or random.getstate() != python:
            raise Failure("draws from the global generator of np.random or random; let randomness come in as an input")
    finally:
        np.random.set_state(kept)  # noqa: NPY002 - left as it was found
        random.setstate(kept_python)
    return "np.random and random are not touched"
