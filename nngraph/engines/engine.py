"""Running graphs captured: programs by the shapes of the data, a bounded number of them, each proven before its use."""

from __future__ import annotations

import sys
import threading
import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gates.arrays import Array
from nngraph.capture.follower import ImpureError, Recording
from nngraph.capture.graphs import Scale, record_forward, record_gradient
from nngraph.engines.comparison import Comparison
from nngraph.engines.compiled import Compiled
from nngraph.engines.layout import fits
from nngraph.engines.rows import independent
from nngraph.engines.settings import state
from nngraph.graph import Graph
from nngraph.nodes import Constant, Input, Node, Parameter, Random, Running
from nngraph.program.program import GuardError

# How many programs one engine keeps, and how many bytes of buffers.
MOST_PROGRAMS = 32
MOST_BYTES = 2**28

# Data of more bytes than this are read where they lie, if they stay the same for a whole training.
LARGE = 2**20


class Engine:
    """One graph, run captured: its forward, or its loss and the gradients of its parameters.

    Parameters
    ----------
    graph : Graph
    theta, gradient : mappings from parameter to array, optional
        Where the parameters lie, by default where they are; and where their gradients are to be written, without which
        there is the forward only, as after training.
    statistics : mapping from running node to array, optional
        Where their statistics are to be written, with the gradients.
    scale : (callable, nodes), optional
        What the loss is multiplied by, see `record_gradient`.
    told : set of str, optional
        What was warned of, and is not again: shared by engines that have the same gates.
    """

    def __init__(
        self,
        graph: Graph,
        theta: Mapping[Parameter, Array] | None = None,
        gradient: Mapping[Parameter, Array] | None = None,
        statistics: Mapping[Running, Array] | None = None,
        scale: Scale | None = None,
        told: set[str] | None = None,
    ) -> None:
        self.graph, self.scale = graph, scale
        self._theta = theta or {p: p.value for p in graph.parameters}
        self._gradient, self._statistics = gradient, statistics or {}
        self._gates = list({id(node.gate): node.gate for node in graph.nodes if node.gate is not None}.values())
        self._constants = [node for node in graph.nodes if isinstance(node, Constant)]
        self.lock = threading.RLock()
        self._programs: OrderedDict[Any, Compiled] = OrderedDict()
        # The gates' settings for which there is no program, and those for which it is known whether blocks will do.
        self._refused: Any = None
        self._told = set() if told is None else told
        self._rows_of: Any = None
        self._in_blocks: bool | None = None

    def load(self, feeds: Mapping[Node, Array], *, stays: bool = False) -> Compiled | None:
        """Return the program for these data, with the data in it; None if the graph must be run node by node.

        Parameters
        ----------
        feeds : mapping from input to array
        stays : bool, default=False
            Whether the data stay as they are for as long as the program is used: large ones are then read in place.

        Warns
        -----
        UserWarning
            If a gate is not pure, or a program does not give what the graph gives.
        """
        settings = self.settings()
        if settings == self._refused:
            return None
        in_place = {n: a for n, a in feeds.items() if stays and a.nbytes > LARGE and fits(a)}
        key = None if in_place else (settings, *((n.name, a.shape, a.dtype) for n, a in feeds.items()))
        compiled = self._programs.get(key)
        if compiled is not None:
            self._programs.move_to_end(key)
            try:
                return self._fill(compiled, feeds)
            except GuardError:
                # A gate takes another branch on these data.
                del self._programs[key]
        reason: str | None
        try:
            comparison = Comparison(self.graph, feeds, self._theta, self.scale, gradient=self._gradient is not None)
            recording = self._record(feeds)
            reason = comparison.of_recording(recording)
            if reason is None:
                # Only now, so that its buffers are not there beside all the values that the graph keeps.
                compiled = self._fill(self._compile(recording, in_place, stays=stays), feeds)
                reason = comparison.of_compiled(recording, compiled)
        except ImpureError as error:
            reason = str(error)
        if reason is not None:
            self._refused = settings
            if reason not in self._told:
                self._told.add(reason)
                text = f"{reason}. The model runs node by node, which is slower"
                warnings.warn(text, stacklevel=_frames_of_ours())
            return None
        assert compiled is not None  # noqa: S101 - there is a reason otherwise
        if key is not None and compiled.buffer_bytes <= MOST_BYTES:
            self._programs[key] = compiled
            while len(self._programs) > MOST_PROGRAMS or self._bytes() > MOST_BYTES:
                self._programs.popitem(last=False)
        return compiled

    def run(self, feeds: Mapping[Node, Array]) -> Array | None:
        """Return a copy of the graph's one output; None if the graph must be run node by node."""
        with self.lock:
            compiled = self.load(feeds)
            if compiled is None:
                return None
            compiled.step()
            return np.array(compiled.outputs[0])

    def run_rows(self, data: Node, rows: Array) -> Array | None:
        """Return the graph's one output for rows of data, in blocks if the rows do not depend on each other.

        There are programs for blocks of 1, 2, 4, ... rows; a shorter block is filled up with its last row.
        """
        size = min(1 << (len(rows) - 1).bit_length(), block_rows(rows))
        with self.lock:
            settings = self.settings()
            if self._rows_of != settings or self._in_blocks is None:
                self._rows_of, self._in_blocks = settings, independent(self.graph, data, rows)
            if self._in_blocks:
                try:
                    compiled = self.load({data: _filled(rows[:size], size)})
                    if compiled is None:
                        return None
                    if compiled.guards_by_rows or len(rows) == size:
                        return self._blocks(compiled, str(data.name), rows, size)
                except GuardError:
                    # A gate takes another branch on some of the blocks.
                    pass
                # It asks something of all rows together.
                self._in_blocks = False
            return self.run({data: rows})

    @staticmethod
    def _blocks(compiled: Compiled, name: str, rows: Array, size: int) -> Array:
        compiled.step()
        first = compiled.outputs[0]
        result = np.empty((len(rows), *first.shape[1:]), first.dtype)
        result[:size] = first[: len(rows)]
        for start in range(size, len(rows), size):
            block = rows[start : start + size]
            compiled.inputs[name][...] = _filled(block, size)
            compiled.load()
            compiled.step()
            result[start : start + size] = compiled.outputs[0][: len(block)]
        return result

    def settings(self) -> Any:
        """Return what a program depends on beside the data: it holds for what is equal to this."""
        # Of constants, numbers are part of a program, and arrays are copied into it.
        return (
            *[state(gate) for gate in self._gates],
            *[state(n.value) if n.is_number else (n.value.shape, n.value.dtype) for n in self._constants],
        )

    def _bytes(self) -> int:
        return sum(compiled.buffer_bytes for compiled in self._programs.values())

    def _record(self, feeds: Mapping[Node, Array]) -> Recording:
        with np.errstate(all="ignore"):
            if self._gradient is None:
                return record_forward(self.graph, feeds)
            return record_gradient(self.graph, feeds, self.scale)

    def _compile(self, recording: Recording, in_place: Mapping[Node, Array], *, stays: bool) -> Compiled:
        program = recording.program
        nodes = {variable: self.graph.nodes[self.graph.position(str(variable.name))] for variable in program.inputs}
        given = {v: in_place[node] for v, node in nodes.items() if node in in_place}
        varying = [v for v, node in nodes.items() if isinstance(node, Parameter | Random)]
        given |= {v: self._theta[node] for v, node in nodes.items() if isinstance(node, Parameter)}
        into: Sequence[Array | None] = ()
        if self._gradient is not None:
            loss = np.empty((), self.graph.parameters[0].value.dtype)
            into = [loss, *(self._gradient[p] for p in self.graph.parameters)]
            into += [self._statistics.get(node) for node in self.graph.running]
        # Of data that stay no rows are taken.
        rows = [] if stays else [v for v, node in nodes.items() if isinstance(node, Input)]
        return Compiled(program, varying, given, into, rows)

    def _fill(self, compiled: Compiled, feeds: Mapping[Node, Array]) -> Compiled:
        """Write the data into a program's inputs, and compute what depends on them alone."""
        for node, name in zip(self.graph.nodes, self.graph.names, strict=True):
            place = compiled.inputs.get(name)
            if place is None or isinstance(node, Parameter):
                continue
            value = node.value if isinstance(node, Constant | Running) else feeds[node]
            if place is not value:
                np.copyto(place, value)
        compiled.load()
        return compiled


def _frames_of_ours() -> int:
    """Return the stack level, for who asks, at which the caller of this library stands."""
    frame, level = sys._getframe(1), 1  # noqa: SLF001 - Python's own way to look at its stack
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] == __name__.split(".")[0]:
        frame, level = frame.f_back, level + 1
    return level


def block_rows(rows: Array) -> int:
    """Return how many rows of data one block has: about a megabyte."""
    return max(256, min(8192, 2**17 // max(int(rows[0].size), 1)))


def _filled(block: Array, size: int) -> Array:
    """Return a block of `size` rows: a shorter one is filled up with its last row."""
    if len(block) == size:
        return block
    return np.concatenate([block, np.repeat(block[-1:], size - len(block), axis=0)])
