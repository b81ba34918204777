"""What shares memory in a program whose updates write into their targets themselves."""

from __future__ import annotations

from collections.abc import Mapping

from nngraph.program.program import Operation, Program, Variable, leaves


class Memory:
    """Which variables of a program may be views of one array, and which updates may write into their target itself.

    Attributes
    ----------
    holders : dict from variable to variable
        The first version of the array that a variable is a version of: they go by one name.
    titles : dict from variable to str or None
        What the graph calls a holder.
    """

    def __init__(self, program: Program) -> None:
        self.holders: dict[Variable, Variable] = {}
        self.titles: dict[Variable, str | None] = {}
        self._roots: dict[Variable, frozenset[Variable]] = {}
        self._views: dict[Variable, list[Variable]] = {}
        last = {v: i for i, operation in enumerate(program.operations) for v in operation.variables}
        last.update(dict.fromkeys(program.outputs, len(program.operations)))
        fresh: set[Variable] = set()
        for variable in (*program.inputs, *program.constants):
            self._add(variable, variable, frozenset([variable]))
        for i, operation in enumerate(program.operations):
            output = operation.output
            if operation.kind == "view" or output.dtype is None:
                read = leaves(operation.arguments[:1] if operation.kind == "view" else operation.variables)
                self._add(output, output, frozenset(root for v in read for root in self._roots[v]))
                continue
            fresh.add(output)
            target = operation.arguments[0] if operation.kind == "update" else None
            if target in fresh and target.shape != () and self._is_free(operation, last, i):
                self._add(output, self.holders[target], self._roots[target])
            else:
                self._add(output, output, frozenset([output]))

    def shared(self, one: Variable, other: Variable) -> bool:
        """Whether two variables may be views of one array."""
        return not self._roots[one].isdisjoint(self._roots[other])

    def _add(self, variable: Variable, holder: Variable, roots: frozenset[Variable]) -> None:
        self.holders[variable], self._roots[variable] = holder, roots
        self.titles[holder] = self.titles.get(holder) or variable.name
        for root in roots:
            self._views.setdefault(root, []).append(variable)

    def _is_free(self, operation: Operation, last: Mapping[Variable, int], i: int) -> bool:
        """Whether nobody reads an update's target, or a view of it, afterwards or in another argument."""
        target, *rest = operation.arguments
        title, name = self.titles[self.holders[target]], operation.output.name
        if title and name and title != name:
            return False
        views = [v for root in self._roots[target] for v in self._views[root]]
        return all(last.get(v, -1) <= i for v in views) and not set(views) & set(leaves((rest, operation.keywords)))
