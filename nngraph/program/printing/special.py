"""What SciPy's special functions compute, in NumPy alone: for programs that are printed as source, to a few ulp."""

from __future__ import annotations

import ast
import inspect
import math
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np


def expit(x: Any) -> Any:
    """``1 / (1 + exp(-x))``; no exponential overflows."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def log_expit(x: Any) -> Any:
    """``log(expit(x))``."""
    return np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))


def logit(p: Any) -> Any:
    """``log(p / (1 - p))``; near 1/2 as a difference that keeps its digits."""
    with np.errstate(divide="ignore", invalid="ignore"):
        middle = np.abs(p - 0.5) < 0.2
        return np.where(middle, np.log1p(2 * p - 1) - np.log1p(1 - 2 * p), np.log(p / (1 - p)))


def erf(x: Any) -> Any:
    """``2 / sqrt(pi)`` times the integral of ``exp(-t^2)`` from 0 to x."""
    return np.asarray(np.frompyfunc(math.erf, 1, 1)(x), float).astype(np.result_type(x, np.float32))


def erfc(x: Any) -> Any:
    """``1 - erf(x)``."""
    return np.asarray(np.frompyfunc(math.erfc, 1, 1)(x), float).astype(np.result_type(x, np.float32))


def ndtr(x: Any) -> Any:
    """``(1 + erf(x / sqrt(2))) / 2``, the normal distribution function."""
    tail = np.frompyfunc(lambda t: math.erfc(-t * math.sqrt(0.5)) / 2, 1, 1)(x)
    return np.asarray(tail, float).astype(np.result_type(x, np.float32))


def log_ndtr(x: Any) -> Any:
    """``log(ndtr(x))``; far below zero by its asymptotic series."""

    def log_tail(t: float) -> float:
        if t > 0:
            return math.log1p(-math.erfc(t * math.sqrt(0.5)) / 2)
        if t > -20:
            return math.log(math.erfc(-t * math.sqrt(0.5)) / 2)
        term = series = 1.0
        for k in range(1, 9):
            term *= -(2 * k - 1) / t / t
            series += term
        return -t * t / 2 - math.log(-t) - math.log(2 * math.pi) / 2 + math.log(series)

    return np.asarray(np.frompyfunc(log_tail, 1, 1)(x), float).astype(np.result_type(x, np.float32))


def xlogy(x: Any, y: Any) -> Any:
    """``x log(y)``, 0 where x = 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((x == 0) & ~np.isnan(y), 0, x * np.log(y))


def xlog1py(x: Any, y: Any) -> Any:
    """``x log(1 + y)``, 0 where x = 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((x == 0) & ~np.isnan(y), 0, x * np.log1p(y))


def entr(x: Any) -> Any:
    """``-x log(x)``, 0 where x = 0, minus infinity below."""
    return np.where(x < 0, -np.inf, 0 - x * np.log(np.where(x > 0, x, 1)))


STAND_INS: dict[str, Callable[..., Any]] = {
    f.__name__: f for f in (expit, log_expit, logit, erf, erfc, ndtr, log_ndtr, xlogy, xlog1py, entr)
}


def tree(function: Callable[..., Any]) -> ast.Module:
    """Return a function's syntax tree without its types."""
    found = ast.parse(textwrap.dedent(inspect.getsource(function)))
    for part in ast.walk(found):
        if isinstance(part, ast.FunctionDef):
            part.returns = None
            for argument in part.args.args:
                argument.annotation = None
    return found
