"""How long a training step takes: nngraph, the same by hand, and others; then how time and memory grow.

python benchmarks/training.py                     # everything, some ten minutes
python benchmarks/training.py --only S1,S11       # two workloads; "growth" is a name too
python benchmarks/training.py --quick             # a look, with much noise

All start from the same weights, see the same batches and compute the loss at every step; who ends at another loss than
the code by hand is void. Each repetition gives everyone a turn, so that a slow minute of the machine is everyone's; the
ratios are medians over the repetitions, each within its own. Those whose threads can be set run on 1 and on 2, and the
better counts.
"""

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import growth
import numpy as np
import peers
from by_hand import by_hand
from threadpoolctl import ThreadpoolController, threadpool_info
from workloads import WORKLOADS, Run, Workload

from nngraph.optimizers import GradientDescent
from nngraph.penalties import L2

# Steps after which the losses must agree, and how closely. Training amplifies rounding errors: by then the losses of
# the widest net in float32 are 2e-4 apart; those of the published network, in float64, are 3 % apart after 2,000 steps.
CHECKED_STEPS = 50
CLOSE = {"float32": 1e-3, "float64": 1e-6}


def descent(workload: Workload, dtype: str) -> Run:
    """Return training with our engine; batches are loaded at each step, a single one once."""
    Xs, ys = workload.data(dtype)
    engine = workload.model(dtype).descent(
        GradientDescent(workload.epsilon), penalty=L2(workload.reg_lambda), summed=True
    )
    engine.load(Xs[0], ys[0])

    def run(steps: int) -> float:
        for step in range(steps):
            if workload.batches > 1:
                engine.load(Xs[step % workload.batches], ys[step % workload.batches])
            loss = engine.compute()
            engine.update()
        return loss

    return run


def model_train(workload: Workload, dtype: str) -> Run:
    """Return `Model.train` as a whole: it also checks the data, keeps the history and can be interrupted."""
    (X,), (y,) = workload.data(dtype)
    model = workload.model(dtype)

    def run(steps: int) -> float:
        model.train(X, y, num_passes=steps, epsilon=workload.epsilon, reg_lambda=workload.reg_lambda)
        return model.loss_history[-2]

    return run


@dataclass
class Competitor:
    """Who trains: a function that builds a `Run` at the initial weights, and on how many threads it is tried."""

    name: str
    build: Callable[[Workload, str], Run]
    threads: tuple[int, ...] = (1, 2)
    only: tuple[str, ...] = tuple(WORKLOADS)
    same_net: bool = True


@dataclass
class Entry:
    """A competitor on a number of threads, and its microseconds per step in each repetition."""

    competitor: Competitor
    threads: int
    steps: int
    loss: float
    times: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return float(np.median(self.times))


COMPETITORS = [
    Competitor("nngraph", descent),
    Competitor("nngraph, Model.train", model_train, only=("S1",)),
    Competitor("by hand", by_hand),
    Competitor("published code", peers.published, only=("S1",)),
    Competitor("torch", peers.pytorch),
    Competitor("jax, a pass", peers.jax_a_pass, threads=(0,)),
    Competitor("jax, one loop", peers.jax_loop, threads=(0,)),
    Competitor("sklearn", peers.sklearn, only=("S1",), same_net=False),
    Competitor("mygrad", peers.mygrad, only=("S1",)),
    Competitor("autograd", peers.autograd, only=("S1",)),
]


@cache
def controller(_modules: int) -> ThreadpoolController:
    """Return what sets NumPy's threads; finding the libraries takes long, so it is kept until others are imported."""
    return ThreadpoolController()


@contextmanager
def thread_count(count: int) -> Iterator[None]:
    """Let BLAS and torch use `count` threads; 0 leaves them as they are."""
    torch = sys.modules.get("torch")
    with controller(len(sys.modules)).limit(limits=count or None, user_api="blas"):
        if torch and count:
            torch.set_num_threads(count)
        yield


def seconds(run: Run, steps: int) -> float:
    """Return how long so many steps take."""
    start = time.perf_counter()
    run(steps)
    return time.perf_counter() - start


def enter(name: str, dtype: str, turn: float) -> list[Entry]:
    """Train everyone for a few steps, and find out how many make a turn; tell who is missing."""
    workload, entries = WORKLOADS[name], []
    for competitor in tuple(COMPETITORS):
        for threads in competitor.threads if name in competitor.only else ():
            try:
                loss = competitor.build(workload, dtype)(CHECKED_STEPS)
            except ImportError as error:
                print(f"{competitor.name} is left out: {error}")
                COMPETITORS.remove(competitor)
                break
            run, steps = competitor.build(workload, dtype), 1
            with thread_count(threads):
                while (taken := seconds(run, steps)) < turn / 5:
                    steps *= 2
            entries.append(Entry(competitor, threads, max(1, round(steps * turn / taken)), loss))
    return entries


def measure(name: str, dtype: str, repeats: int, turn: float) -> dict[str, Entry]:
    """Give everyone its turns, print the table of a workload, and return who is valid, each at its better threads."""
    entries = enter(name, dtype, turn)
    for _ in range(repeats):
        for entry in entries:
            run = entry.competitor.build(WORKLOADS[name], dtype)
            with thread_count(entry.threads):
                run(max(2, entry.steps // 20))
                entry.times.append(seconds(run, entry.steps) / entry.steps * 1e6)
    best: dict[str, Entry] = {}
    for entry in sorted(entries, key=lambda entry: entry.median, reverse=True):
        best[entry.competitor.name] = entry
    print(f"\n{name}: {WORKLOADS[name].title}, {dtype}; microseconds per step, median (min to max)")
    print(f"{'':<22}{'':>28} {'threads':>8} {'/ nngraph':>10} {'/ by hand':>10}   loss after {CHECKED_STEPS} steps")
    expected = best["by hand"].loss
    for competitor in [c for c in COMPETITORS if c.name in best]:
        entry = best[competitor.name]
        ratios = [
            f"{ratio(entry, best[other]):10.2f}" if other in best else f"{'':10}" for other in ("nngraph", "by hand")
        ]
        remark = f"{entry.loss:.9g}" if competitor.same_net else "another net: one logistic score, no tanh on it"
        if competitor.same_net and not np.isclose(entry.loss, expected, rtol=CLOSE[dtype], atol=0):
            remark += f"  VOID: not {expected:.9g}"
            del best[competitor.name]
        spread = f"{entry.median:10.1f} ({min(entry.times):.1f} to {max(entry.times):.1f})"
        print(
            f"{competitor.name:<22}{spread:<28} {entry.threads or 'its own':>8} {' '.join(ratios)}   {remark}",
            flush=True,
        )
    return best


def ratio(entry: Entry, other: Entry) -> float:
    """Return the median over the repetitions of how many times the other's time an entry takes."""
    return float(np.median(np.divide(entry.times, other.times)))


def print_goals(results: dict[tuple[str, str], dict[str, Entry]]) -> None:
    """Print for every goal what nngraph reaches, and what the code by hand would."""
    print(f"\nGoals: the other's time over ours\n{'':<54}{'goal':>8}{'nngraph':>10}{'':>10}{'by hand':>10}")
    for (name, dtype), best in results.items():
        workload = WORKLOADS[name]
        for other, goals in workload.goals.items():
            goal, reached = goals[workload.dtypes.index(dtype)], {}
            for who in ("nngraph", "by hand"):
                if who in best and other in best:
                    reached[who] = ratio(best[other], best[who])
            ours = reached.get("nngraph")
            verdict = "no run" if ours is None else "reached" if ours >= goal else "missed"
            columns = [f"{reached[who]:10.2f}" if who in reached else f"{'':10}" for who in ("nngraph", "by hand")]
            print(f"{name:<16}{dtype:<10}{other:<28}{goal:8.2f}{columns[0]}{verdict:>10}{columns[1]}")


def print_machine() -> None:
    """Print the versions, and what NumPy's products run on."""
    found = []
    for package in ("numpy", "scipy", "scikit-learn", "torch", "jax", "mygrad", "autograd"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"no {package}")
    print(f"Python {platform.python_version()}, {', '.join(found)}; {os.cpu_count()} processors")
    if hasattr(os, "getloadavg"):
        print(f"{os.getloadavg()[0]:.1f} processors busy in the last minute: what others do slows two threads most")
    for library in threadpool_info():
        if library["user_api"] == "blas":
            details = [library["internal_api"], library["version"], library.get("architecture"), library["num_threads"]]
            print("BLAS: {} {}, kernels for {}, {} threads".format(*details))
    for forced in (variable for variable in os.environ if variable.startswith("OPENBLAS_")):
        print(f"{forced} is set, which may slow NumPy down and nobody else: unset it, or nothing here is fair")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="turns that everyone gets (default 5)")
    parser.add_argument("--only", default=",".join([*WORKLOADS, "growth"]), help="parts, by name (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="two short turns, and nothing large")
    options = parser.parse_args()
    parts = options.only.split(",")
    if unknown := set(parts) - {*WORKLOADS, "growth"}:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    repeats, turn = (2, 0.05) if options.quick else (options.repeats, 0.3)
    print_machine()
    names = [name for name in WORKLOADS if name in parts]
    results = {(name, dtype): measure(name, dtype, repeats, turn) for name in names for dtype in WORKLOADS[name].dtypes}
    if results:
        print_goals(results)
    if "growth" in parts:
        growth.print_all(options.quick)


if __name__ == "__main__":
    main()
