"""The rule of `nngraph/engines/layout.py`: when columns beat rows, for arrays of n examples and k features.

Each figure is the time in row order divided by that in column order, for what a layer and its output do: add a bias,
tanh, subtract the largest of a row, exp, sum of a row, divide, sum of a column.
"""

import argparse
import time
from typing import Any

import numpy as np


def layer(Z: Any, b: Any, row: Any, column: Any) -> None:
    """Do what is timed, in place."""
    np.add(Z, b, Z)
    np.tanh(Z, Z)
    np.maximum.reduce(Z, 1, None, row, True)
    np.subtract(Z, row, Z)
    np.exp(Z, Z)
    np.add.reduce(Z, 1, None, row, True)
    np.divide(Z, row, Z)
    np.add.reduce(Z, 0, None, column)


def seconds(n: int, k: int, order: Any, dtype: str) -> float:
    """Return the shortest time of several."""
    Z = np.asarray(np.random.default_rng(0).random((n, k)), dtype, order=order)
    b, row, column = np.zeros(k, dtype), np.empty((n, 1), dtype), np.empty(k, dtype)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        repeats = max(1, 2_000_000 // (n * k))
        for _ in range(repeats):
            layer(Z, b, row, column)
        times.append((time.perf_counter() - start) / repeats)
    return min(times)


def main() -> None:
    """Print a table for each dtype."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    widths = (2, 4, 8, 16, 32, 64, 128, 256)
    for dtype in ("float64", "float32"):
        print(f"\n{dtype}: rows / columns\n{'n':>8}" + "".join(f"{f'k = {k}':>9}" for k in widths))
        for n in (10, 100, 1_000, 10_000):
            ratios = [seconds(n, k, "C", dtype) / seconds(n, k, "F", dtype) for k in widths]
            print(f"{n:>8}" + "".join(f"{ratio:9.2f}" for ratio in ratios), flush=True)


if __name__ == "__main__":
    main()
