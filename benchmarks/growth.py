"""How time and memory grow: with examples, with depth, with gates; what a step allocates, what an import costs."""

import gc
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
from by_hand import by_hand
from sklearn.datasets import make_moons
from workloads import WORKLOADS

from gates import Softmax, Tanh
from nngraph import Graph, Input, Model, Parameter
from nngraph.optimizers import GradientDescent
from nngraph.penalties import L2


def print_all(quick: bool) -> None:
    """Print every table; smaller ones if it must be quick."""
    start()
    # What others imported is no garbage of ours to look through.
    gc.freeze()
    gates([1_000, 10_000] if quick else [1_000, 10_000, 100_000])
    examples([200, 2_000, 20_000] if quick else [200, 2_000, 20_000, 200_000, 2_000_000])
    depth([10, 100] if quick else [10, 100, 1_000])
    allocations()
    peak(20_000 if quick else 200_000)


def engine_on(model: Model, X: Any, y: Any, epsilon: float = 1e-9, reg_lambda: float = 0.0) -> Any:
    """Return our engine with data in it; a tiny rate, as nothing need be learned here."""
    engine = model.descent(GradientDescent(epsilon), penalty=L2(reg_lambda), summed=True)
    engine.load(X, y)
    return engine


def planned_bytes(engine: Any) -> int:
    """Return the bytes of the buffers that an engine planned for its data."""
    return int(engine.buffer_bytes)


def microseconds(step: Callable[[], object], budget: float = 0.3) -> float:
    """Return the median time of a step, of three at least."""
    step()
    times: list[float] = []
    while len(times) < 3 or sum(times) < budget:
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1e6


def print_growth(title: str, unit: str, sizes: list[int], columns: dict[str, list[float]]) -> None:
    """Print times by size, and p of ``time ~ size^p`` between each size and the one before: 1 is linear."""
    print(f"\n{title}\n{unit:>12}" + "".join(f"{name + ', us':>22}{'per ' + unit:>16}{'p':>7}" for name in columns))
    for i, size in enumerate(sizes):
        line = f"{size:12,}"
        for times in columns.values():
            p = np.log(times[i] / times[i - 1]) / np.log(size / sizes[i - 1]) if i else np.nan
            line += f"{times[i]:22,.1f}{times[i] / size:16.4f}{p:7.2f}"
        print(line.replace("nan", "   "), flush=True)


def pass_of(engine: Any) -> Callable[[], None]:
    """Return one pass: the loss, the gradient, and the step."""

    def one_pass() -> None:
        engine.compute()
        engine.update()

    return one_pass


def examples(sizes: list[int]) -> None:
    """Time a pass of the moons network against the number of moons."""
    times = []
    for size in sizes:
        X, y = make_moons(size, noise=0.2, random_state=0)
        times.append(microseconds(pass_of(engine_on(WORKLOADS["S1"].model("float64"), X, y))))
    print_growth("Time of a pass against examples: 2-3-2 tanh, softmax, float64", "example", sizes, {"a pass": times})


def depth(sizes: list[int]) -> None:
    """Time building and a pass against the number of layers."""
    X, y = np.random.default_rng(0).standard_normal((200, 8)), np.arange(200) % 8
    built, passed = [], []
    for size in sizes:
        begin = time.perf_counter()
        engine = engine_on(Model([8] * (size + 1), layer=Tanh(), output=Softmax(), random_state=0), X, y)
        engine.compute()
        built.append((time.perf_counter() - begin) * 1e6)
        passed.append(microseconds(pass_of(engine)))
    title = "Time against depth: layers of 8 tanh units, 200 examples, float64"
    print_growth(title, "layer", sizes, {"build and first": built, "a pass": passed})


def gates(sizes: list[int]) -> None:
    """Time a graph of scalars ``z <- z w + x``, in which a gate is an operator."""
    columns: dict[str, list[float]] = {"sort": [], "forward": [], "backward": []}
    for size in sizes:
        x, w = Input("x"), Parameter(0.5, "w")
        z = x
        for _ in range(size // 2):
            z = z * w + x
        graph = Graph(z)
        columns["sort"].append(microseconds(lambda z=z: Graph(z)))
        columns["forward"].append(microseconds(lambda graph=graph: graph.forward(x=1.0)))
        columns["backward"].append(microseconds(graph.backward))
    print_growth("Time of a graph of scalars, each node by itself", "gate", sizes, columns)


def allocations() -> None:
    """Count the bytes that a step needs beyond what was there before it: of nngraph, and of the code by hand.

    For the time of a call that broadcasts or converts NumPy takes a buffer of at most 8,192 numbers, as for the bias of
    a wide layer, whoever calls; that is no array. More than this and 2 kB misses the goal.
    """
    print("\nBytes allocated within a step, most of 100 steps after the tenth (goal: no array)")
    print(f"{'':<16}{'load':>12}{'compute':>12}{'update':>12}{'':>12}{'by hand':>12}")
    for name, workload in WORKLOADS.items():
        dtype = workload.dtypes[0]
        (X, *_), (y, *_) = workload.data(dtype)
        engine = engine_on(workload.model(dtype), X, y, workload.epsilon, workload.reg_lambda)
        run = by_hand(workload, dtype)
        jobs = [lambda: engine.load(X, y), engine.compute, engine.update, lambda: run(1)]  # noqa: B023 - called at once
        *ours, hand = allocated(jobs)
        buffer = 8192 * np.dtype(dtype).itemsize
        verdict = "reached" if max(ours[1:]) < 2000 + buffer * (max(ours[1:]) > 2000) else "missed"
        print(f"{name:<16}{''.join(f'{most:12,.0f}' for most in ours)}{verdict:>12}{hand:12,.0f}", flush=True)


def allocated(jobs: list[Callable[[], object]], steps: int = 100) -> list[float]:
    """Return the most bytes that each job held beyond what was there before it, after the first ten times."""
    peaks = np.zeros((steps + 10, len(jobs)))
    tracemalloc.start()
    for step in range(len(peaks)):
        for i, job in enumerate(jobs):
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            job()
            peaks[step, i] = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    return [float(most) for most in peaks[10:].max(axis=0)]


def peak(rows: int) -> None:
    """Compare the most memory that training holds with data + parameters + planned buffers.

    In steps it is the goal. To record the first data, and to compare, takes what the graph takes node by node.
    """
    print("\nPeak memory with data and parameters, MB (goal: at most 1.2 times what is planned)")
    print(f"{'':<28}{'data':>12}{'parameters':>12}{'buffers':>12}{'first load':>12}{'steps':>12}{'ratio':>8}")
    for name, many in (("S1", rows), ("784-512-512-10", WORKLOADS["784-512-512-10"].rows)):
        workload = WORKLOADS[name]
        dtype = workload.dtypes[0]
        rng = np.random.default_rng(0)
        X, y = rng.random((many, workload.widths[0])).astype(dtype), rng.integers(0, workload.widths[-1], many)
        model, data, parameters = workload.model(dtype), X.nbytes + y.nbytes, workload.flat(dtype).nbytes
        tracemalloc.start()
        engine = engine_on(model, X, y)
        first = tracemalloc.get_traced_memory()[1] + data + parameters
        tracemalloc.reset_peak()
        for _ in range(10):
            engine.compute()
            engine.update()
        most = tracemalloc.get_traced_memory()[1] + data + parameters
        tracemalloc.stop()
        planned = [data, parameters, planned_bytes(engine)]
        share = most / sum(planned)
        columns = "".join(f"{size / 1e6:12.2f}" for size in [*planned, first, most])
        line = f"{f'{name}, {many:,} rows':<28}{columns}{share:8.2f}"
        print(f"{line}   {'reached' if share <= 1.2 else 'missed'}", flush=True)


def start(processes: int = 10) -> None:
    """Time ``import nngraph`` where NumPy is there already, in fresh processes."""
    code = "import time, numpy; t = time.perf_counter(); import nngraph; print(time.perf_counter() - t)"
    times = []
    for _ in range(processes):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)  # noqa: S603 - our own code
        times.append(float(done.stdout))
    median = statistics.median(times)
    verdict = "reached" if median <= 0.1 else "missed"
    spread = f"({min(times):.3f} to {max(times):.3f})"
    print(f"\nimport nngraph, over import numpy: {median:.3f} s {spread}, goal 0.1: {verdict}", flush=True)
