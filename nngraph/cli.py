"""The command `nngraph`: prove the gates of a file or module from the shell."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import inspect
import sys
import sysconfig
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gates import Gate, GateError, check_gate
from gates.checking.report import told

PROVEN, WRONG, NOT_LOADED = 0, 1, 2


class LoadError(Exception):
    """A file or module cannot be loaded, or holds no gate; the message says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0 when every gate is proven, 1 when one is not, 2 when nothing could be loaded."""
    parser = argparse.ArgumentParser(prog="nngraph", description="Write gates by hand, and prove them.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    about = "Prove every gate of a file or module: its instances, and its classes that need no settings."
    check = commands.add_parser("check", help="prove the gates of a file or module", description=about)
    check.add_argument(
        "target",
        metavar="FILE_OR_MODULE[:GATE]",
        help="such as swish.py, swish.py:Swish or mypackage.gates; the file is run, as by import",
    )
    check.add_argument("--seed", type=int, default=0, help="seed of all that is drawn (default 0)")
    options = parser.parse_args(arguments)
    if options.seed < 0:
        check.error(f"argument --seed: must not be negative, got {options.seed}")
    where, name = split_target(options.target)
    # A file may import what lies beside it, and a module what lies in this folder; afterwards all is as before.
    path = list(sys.path)
    try:
        return report(find_gates(load(where), name), options.seed, Console())
    except LoadError as error:
        print(f"nngraph: {error}", file=sys.stderr)
        return NOT_LOADED
    finally:
        sys.path[:] = path


def split_target(target: str) -> tuple[str, str | None]:
    """Split ``swish.py:Swish`` into the file and the gate; the colon after a drive's letter is part of the file."""
    where, colon, name = target.rpartition(":")
    return (where, name) if colon and where and name.isidentifier() else (target, None)


def load(where: str) -> ModuleType:
    """Import a file or a module, as Python would with its folder on the path; raise LoadError with the reason."""
    path = Path(where)
    try:
        if path.suffix == ".py" or path.is_file():
            return _load_file(path)
        if not all(part.isidentifier() for part in where.split(".")):
            raise LoadError(f"{where!r} is neither a file nor the name of a module")
        sys.path.insert(0, str(Path.cwd()))
        return importlib.import_module(where)
    except LoadError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name == where:
            raise LoadError(f"{where} is neither a file nor a module that can be found") from error
        raise LoadError(f"{where} cannot be loaded: {type(error).__name__}: {error}{_line(error)}") from error


def _line(error: BaseException) -> str:
    """Say in which line of the user's an exception was raised, not of a library's or of the import's own."""
    if isinstance(error, SyntaxError):
        return f" (line {error.lineno} of {error.filename})" if error.lineno else ""
    frames = traceback.extract_tb(error.__traceback__)
    libraries = tuple({sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")})
    theirs = [f for f in frames if f.name == "<module>" and not f.filename.startswith(("<", *libraries))]
    return f" (line {theirs[-1].lineno} of {theirs[-1].filename})" if theirs else ""


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise LoadError(f"{path} is not a file")
    # A name of its own: a file may be called like a module that is loaded, and must not take its place.
    name = path.stem if path.stem not in sys.modules else f"{path.stem} ({path})"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise LoadError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        sys.modules.pop(name, None)
    return module


def find_gates(module: ModuleType, name: str | None) -> dict[str, Gate | BaseException]:
    """Return the gates of a module by what they are called there; an exception where a class makes no instance.

    Instances come as they are; a class that the module defines and that has no instance there is made without settings.
    """
    if name is not None:
        if not hasattr(module, name):
            known = ", ".join(n for n, value in vars(module).items() if _is_gate(value)) or "none"
            raise LoadError(f"{module.__name__} has no {name!r}; its gates: {known}")
        found = getattr(module, name)
        if isinstance(found, Gate):
            return {name: found}
        if not (isinstance(found, type) and issubclass(found, Gate)):
            raise LoadError(f"{name} of {module.__name__} is not a Gate, but {type(found).__name__}")
        if inspect.isabstract(found):
            missing = ", ".join(sorted(found.__abstractmethods__))
            raise LoadError(f"{name} of {module.__name__} cannot be proven: it has no {missing}")
        return {name: _instance(found)}
    members = vars(module)
    gates: dict[str, Gate | BaseException] = {n: g for n, g in members.items() if isinstance(g, Gate)}
    with_instance = {type(gate) for gate in gates.values()}
    seen: set[type] = set()
    for n, kind in members.items():
        if isinstance(kind, type) and issubclass(kind, Gate) and kind not in seen | with_instance:
            seen.add(kind)
            own = kind.__module__ == module.__name__ or kind.__module__.startswith(f"{module.__name__}.")
            heirs = [k for k in members.values() if isinstance(k, type) and issubclass(k, kind) and k is not kind]
            if own and inspect.isabstract(kind) and not heirs:
                # No base of others: a method is missing, or misspelt.
                gates[n] = GateError(f"it has no {', '.join(sorted(kind.__abstractmethods__))}")
            elif own and not inspect.isabstract(kind):
                gates[n] = _instance(kind)
    if not gates:
        raise LoadError(f"{module.__name__} defines no Gate")
    return gates


def _is_gate(value: object) -> bool:
    return isinstance(value, Gate) or (
        isinstance(value, type) and issubclass(value, Gate) and not inspect.isabstract(value)
    )


def _instance(kind: type[Gate]) -> Gate | BaseException:
    try:
        return kind()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - its own code may raise anything; the table has it
        return error


def report(gates: dict[str, Gate | BaseException], seed: int, console: Console) -> int:
    """Prove the gates and print a table; return the exit code."""
    table = Table(box=box.SIMPLE_HEAD)
    for header in ("gate", "", "found"):
        # Long words go on in the next line; nothing is cut off.
        table.add_column(header, overflow="fold")
    verdicts = {"proven": "green", "WRONG": "bold red", "not proven": "bold yellow"}
    proven = 0
    for name, gate in gates.items():
        verdict, lines = _verdict(name, gate, seed)
        proven += verdict == "proven"
        table.add_row(Text(name), Text(verdict, verdicts[verdict]), told(lines))
    console.print(table)
    console.print(f"{proven} of {len(gates)} gates proven", highlight=False)
    return PROVEN if proven == len(gates) else WRONG


def _verdict(name: str, gate: Gate | BaseException, seed: int) -> tuple[str, list[str]]:
    if isinstance(gate, GateError):
        return "not proven", [str(gate)]
    if isinstance(gate, BaseException):
        settings = f"name one with its settings in the file: gate = {name}(...)"
        return "not proven", [f"{type(gate).__name__}: {gate}", settings]
    try:
        found = check_gate(gate, random_state=seed)
    except GateError as error:
        return "not proven", [str(error)]
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the file's own code; the other gates are proven still
        return "not proven", [f"{type(error).__name__}: {error}{_line(error)}"]
    failed = [result for result in found.results if result.status == "failed"]
    if failed:
        return "WRONG", [line for result in failed for line in (f"{result.name}:", *result.lines())]
    return "proven", [f"{sum(result.status == 'passed' for result in found.results)} checks passed"]
