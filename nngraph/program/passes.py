"""Passes: small pure functions from program to program. Each leaves what is computed as it is, to the bit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from gates.arrays import Array
from nngraph.program.functions import astype
from nngraph.program.program import Operation, Program, Variable, leaves


def optimize(program: Program) -> Program:
    """Apply all passes."""
    for step in (share, fold, shrink, simplify, share, drop):
        program = step(program)
    return program


def drop(program: Program) -> Program:
    """Drop operations whose results nobody reads, such as the gradient of the data."""
    needed, kept = set(program.results), []
    for operation in reversed(program.operations):
        if operation.output in needed:
            kept.append(operation)
            needed.update(operation.variables)
    constants = {v: value for v, value in program.constants.items() if v in needed}
    return program.after("drop what is not needed", kept[::-1], constants=constants)


def share(program: Program) -> Program:
    """Compute common subexpressions once: a backward that recomputes its forward costs nothing."""
    names: dict[Variable, Variable] = {}
    known: dict[Any, Variable] = {}
    for variable, array in program.constants.items():
        alike = array.shape, array.strides, array.dtype, array.tobytes()
        names[variable] = known.setdefault(alike, variable)
    kept = []
    for given in program.operations:
        operation = given.substitute(names)
        if operation.kind == "call":
            kept.append(operation)
            continue
        first = known.setdefault(_key(operation), operation.output)
        if first is operation.output:
            kept.append(operation)
        else:
            first.name = first.name or operation.output.name
            names[operation.output] = first
    return _renamed(program, "share common subexpressions", kept, names)


def _key(operation: Operation) -> Any:
    """Return what two operations have in common if they compute the same."""
    return operation.function, operation.kind, _hashable((operation.arguments, operation.keywords))


def _hashable(tree: Any) -> Any:
    if isinstance(tree, tuple | list):
        return type(tree).__name__, *(_hashable(branch) for branch in tree)
    if isinstance(tree, Mapping):
        return "dict", *((key, _hashable(tree[key])) for key in sorted(tree))
    if isinstance(tree, slice):
        return "slice", _hashable((tree.start, tree.stop, tree.step))
    # 1, 1.0 and True are equal, and so are 0.0 and -0.0; what is computed with them is not.
    return tree if isinstance(tree, Variable) else (type(tree).__name__, repr(tree))


def fold(program: Program) -> Program:
    """Compute once and for all what depends on no input."""
    constants = dict(program.constants)
    kept = []
    for operation in program.operations:
        if operation.kind == "call" or any(variable not in constants for variable in operation.variables):
            kept.append(operation)
        else:
            constants[operation.output] = np.asarray(operation.run(constants))
    return program.after("fold constants", kept, constants=constants)


def shrink(program: Program) -> Program:
    """Let constants whose elements are all the same number be that number, where another operand has the shape."""
    constants, numbers, kept = dict(program.constants), dict[Variable, Variable](), []
    for given in program.operations:
        shapes = [v.shape for v in given.variables if v not in program.constants]
        elementwise = isinstance(given.function, np.ufunc) and not given.function.signature
        if not elementwise or given.output.shape is None or given.output.shape not in shapes:
            kept.append(given)
            continue
        for v in given.variables:
            if v not in numbers and v.shape and _is_one_number(constants.get(v)):
                numbers[v] = Variable((), v.dtype)
                constants[numbers[v]] = np.array(constants[v].flat[0])
        kept.append(given.substitute(numbers))
    return program.after("constants of one number", kept, constants=constants)


def _is_one_number(constant: Array | None) -> bool:
    # Zeros may have two signs.
    return constant is not None and constant.size > 0 and bool((constant == (constant.flat[0] or np.nan)).all())


def simplify(program: Program) -> Program:
    """Take away what changes nothing: copies, conversions to the same dtype, reshaping to the same shape, times one."""
    names: dict[Variable, Variable] = {}
    kept = []
    for given in program.operations:
        operation = given.substitute(names)
        same = _same_as(operation, program.constants)
        if same is None:
            kept.append(operation)
        else:
            names[operation.output] = same
            same.name = same.name or operation.output.name
    return _renamed(program, "take away what changes nothing", kept, names)


def _same_as(operation: Operation, constants: Mapping[Variable, Array]) -> Variable | None:
    """Return the variable whose value the operation repeats, None if it computes something."""
    output, arguments, function = operation.output, operation.arguments, operation.function
    alike = [
        v for v in leaves(arguments) if v.shape is not None and v.shape == output.shape and v.dtype == output.dtype
    ]
    if not alike:
        return None
    if function in UNCHANGED:
        return alike[0] if arguments[0] is alike[0] else None
    if function is np.multiply:
        x, y = arguments
        for one, other in ((x, y), (y, x)):
            if other in alike and _is_one(one, constants):
                return alike[alike.index(other)]
    if function is np.true_divide and arguments[0] in alike and _is_one(arguments[1], constants):
        return alike[alike.index(arguments[0])]
    return None


def _is_one(value: Any, constants: Mapping[Variable, Array]) -> bool:
    if isinstance(value, Variable):
        return value in constants and bool((constants[value] == 1).all())
    return isinstance(value, int | float) and value == 1


# What returns its first argument if the result has the argument's shape and dtype.
UNCHANGED: tuple[Callable[..., Any], ...] = (
    np.copy,
    astype,
    np.reshape,
    np.ravel,
    np.positive,
    np.broadcast_to,
    np.expand_dims,
    np.squeeze,
)


def _renamed(program: Program, name: str, operations: list[Operation], names: Mapping[Variable, Variable]) -> Program:
    """Return the program with other operations and with variables that are called otherwise now."""
    constants = {v: array for v, array in program.constants.items() if names.get(v, v) is v}
    outputs = tuple(names.get(v, v) for v in program.outputs)
    guards = tuple({names.get(v, v): (names.get(v, v), expected) for v, expected in program.guards}.values())
    return program.after(name, operations, outputs=outputs, guards=guards, constants=constants)


def split(program: Program, varying: Iterable[Variable]) -> tuple[Program, Program]:
    """Split into what depends on the data alone, to be done once, and what depends on the inputs `varying`, too.

    What the second reads of the first, the first has as outputs and the second as inputs.
    """
    reached = set(varying)
    first: list[Operation] = []
    second: list[Operation] = []
    for operation in program.operations:
        late = operation.kind == "call" or any(v in reached for v in operation.variables)
        (second if late else first).append(operation)
        if late:
            reached.add(operation.output)
    early = {operation.output for operation in first}
    read = dict.fromkeys(v for operation in second for v in operation.variables)
    passed = tuple(v for v in dict.fromkeys([*read, *program.outputs]) if v in early)
    before = program.after("what depends on the data alone", first, outputs=passed)
    inputs = (*program.inputs, *passed)
    after = program.after("what is left for every step", second, inputs=inputs, guards=())
    return before, after
