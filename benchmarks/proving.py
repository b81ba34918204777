"""How long proofs take: one gate on many elements, all public gates, a wrong gate with its diagnosis."""

import argparse
import inspect
import platform
import time

import numpy as np

import gates
from gates import Gate, MultiplyGate, ReshapeGate, SliceGate, Softmax, SumGate, Tanh, check_gate


class WrongTanh(Tanh):
    """``dX = (1 - X^2) dZ``, of the input where the output is meant."""

    def derivative(self, X):
        return 1 - X * X


def public_gates() -> list[Gate]:
    """Make one of every public gate."""
    settings = {ReshapeGate: ((-1,),), SliceGate: (0,)}
    kinds = [kind for kind in vars(gates).values() if inspect.isclass(kind) and issubclass(kind, Gate)]
    return [kind(*settings.get(kind, ())) for kind in kinds if not inspect.isabstract(kind)]


def main() -> None:
    """Time each job and print a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="how often each is timed (default 5)")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    every = public_gates()
    work = {
        "Tanh, 10,000 elements": lambda: check_gate(Tanh(), rng.standard_normal((100, 100))),
        "Tanh, 1,000,000 elements": lambda: check_gate(Tanh(), rng.standard_normal((1000, 1000))),
        "SumGate, 1,000,000 terms": lambda: check_gate(SumGate(), rng.standard_normal(1_000_000)),
        "MultiplyGate, (100, 100) and (200, 100)": lambda: check_gate(
            MultiplyGate(), rng.standard_normal((100, 100)), rng.standard_normal((200, 100))
        ),
        "Softmax, (1000, 10)": lambda: check_gate(
            Softmax(), rng.standard_normal((1000, 10)), rng.integers(0, 10, 1000)
        ),
        "Tanh, examples found": lambda: check_gate(Tanh()),
        f"all {len(every)} public gates, examples found": lambda: [check_gate(gate) for gate in every],
        "wrong tanh, 10,000 elements, diagnosed": lambda: check_gate(WrongTanh(), rng.standard_normal((100, 100))),
    }
    print(
        f"Python {platform.python_version()}, NumPy {np.__version__}; seconds, median of {options.repeats} (min to max)"
    )
    for name, job in work.items():
        job()
        times = []
        for _ in range(options.repeats):
            start = time.perf_counter()
            job()
            times.append(time.perf_counter() - start)
        print(f"{name:<42} {np.median(times):7.3f}  ({min(times):.3f} to {max(times):.3f})")


if __name__ == "__main__":
    main()
