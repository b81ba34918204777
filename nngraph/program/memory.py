"""How much memory a program needs if it is used again as soon as what lay in it is no longer read."""

from __future__ import annotations

import math

from nngraph.program.program import Operation, Program, Variable, last_reads


def planned_bytes(program: Program) -> int:
    """Return the bytes of all buffers, constants included; inputs, and what has no shape beforehand, are not.

    An elementwise operation, or an update, writes over an operand of its size that is read for the last time.
    """
    last = last_reads(program.operations, program.results)
    free: list[int] = []
    held: dict[Variable, int] = {}
    total = sum(array.nbytes for array in program.constants.values())
    for i, operation in enumerate(program.operations):
        output = operation.output
        if operation.kind in ("compute", "update") and output.shape is not None:
            size = math.prod(output.shape) * output.dtype.itemsize
            over = _over(operation, held, last, i, size)
            fitting = [block for block in free if block >= size]
            if over is not None:
                held[output] = held.pop(over)
            elif fitting:
                free.remove(min(fitting))
                held[output] = min(fitting)
            else:
                total += size
                held[output] = size
        read = dict.fromkeys((*operation.variables, output))
        free += [held.pop(v) for v in read if last[v] == i and v in held]
    return total


def _over(
    operation: Operation, held: dict[Variable, int], last: dict[Variable, int], i: int, size: int
) -> Variable | None:
    """Return an operand whose memory the result may take."""
    elementwise = getattr(operation.function, "signature", "") is None
    operands = operation.variables if elementwise else operation.variables[:1] if operation.kind == "update" else ()
    return next((v for v in operands if v in held and last[v] == i and held[v] == size), None)
