"""The command ``nngraph check``: what it finds, what it says, and the exit codes."""

from __future__ import annotations

import importlib
import re
import string
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gates
from nngraph.cli import main, split_target

SWISH = """
import numpy as np
from gates import ElementwiseGate, Gate, LeakyReLU, Tanh

class Swish(Gate):
    def forward(self, X):
        return X / (1 + np.exp(-X))

    def backward(self, X, dZ):
        s = 1 / (1 + np.exp(-X))
        return (s + X * s * (1 - s)) * dZ
"""
WRONG = """
class Half(Swish):
    def backward(self, X, dZ):
        return super().backward(X, dZ) / 2
"""
SETTINGS = """
class Scaled(Gate):
    def __init__(self, scale):
        self.scale = scale

    def forward(self, X):
        return self.scale * X

    def backward(self, X, dZ):
        return self.scale * dZ
"""
DEFAULTS = SETTINGS.replace("scale):", "scale=3.0):")
REFUSES = """
class Refuses(Gate):
    def forward(self, X):
        raise ValueError("no such shape")

    def backward(self, X, dZ):
        return dZ
"""
NINE = """
class Nine(Gate):
    def forward(self, X):
        return X.reshape(9, 9) * 1

    def backward(self, X, dZ):
        return dZ.reshape(X.shape)
"""
EXAMPLES = """
    def examples(self, rng):
        return [(rng.standard_normal(81),)]
"""
# A name that fits no column, of which every part can be told from the others.
LONG = "_".join(f"part{i}" for i in range(20)) + "_END"
WRONG_NINE = WRONG.replace("Swish", "Nine")
ABSTRACT = """
class Base(Gate):
    def forward(self, X):
        return self.times() * X

    def backward(self, X, dZ):
        return self.times() * dZ

    @abstractmethod
    def times(self):
        ...

class Twice(Base):
    def times(self):
        return 2
"""
TWINS = """
def make(factor):
    class Made(Tanh):
        def derivative(self, X):
            return factor * super().derivative(X)

    return Made

First, Second = make(2.0), make(1.0)
"""
RAISING = """
class Raising(Swish):
    def backward(self, X, dZ):
        return {}["missing"]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty working folder and 80 columns; what the command imports and puts on the path is taken back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    path, modules = list(sys.path), dict(sys.modules)
    yield tmp_path
    sys.path[:] = path
    for name in [name for name in sys.modules if name not in modules]:
        del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture
def check(capsys):
    """Return a function that runs ``nngraph check`` and returns its exit code, output and errors."""

    def run(*arguments):
        code = main(["check", *arguments])
        return code, *capsys.readouterr()

    return run


def write(path, text):
    """Write a file, its folders too, and return its path as text."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text) if isinstance(text, bytes) else path.write_text(text)
    return str(path)


def rows(table):
    """Return the rows of a printed table: the gate, and what is beside it, each on one line.

    The header says where the columns of gates and findings begin, the first verdict where that of verdicts does.
    """
    header, rule, *body = (line for line in table.splitlines() if line.strip())
    assert header.split() == ["gate", "found"]
    assert set(rule.strip()) == {"─"}
    start, end = header.index("gate"), header.index("found")
    begins = re.compile(r"  (proven|WRONG|not proven) +$")
    middle = min(match.start(1) for line in body if (match := begins.search(line[:end])))
    found, gate = {}, None
    for line in body[:-1]:
        assert not line[:start].strip()
        cells = [line[start:middle].strip(), line[middle:end].strip(), line[end:].strip()]
        if cells[1]:
            gate = cells[0]
            assert gate not in found, "one row per gate"
            found[gate] = cells[1:]
            continue
        # What goes on from the line before: a long name, or more of what was found.
        if cells[0]:
            found[gate + cells[0]] = found.pop(gate)
            gate += cells[0]
        found[gate][1] = f"{found[gate][1]} {cells[2]}".strip()
    return {gate: tuple(rest) for gate, rest in found.items()}


# --- What is found ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "verdicts"),
    [
        pytest.param(SWISH, {"Swish": "proven"}, id="class"),
        pytest.param(SWISH + WRONG, {"Swish": "proven", "Half": "WRONG"}, id="wrong class"),
        pytest.param(SWISH + DEFAULTS, {"Swish": "proven", "Scaled": "proven"}, id="settings with defaults"),
        pytest.param(SWISH + SETTINGS, {"Swish": "proven", "Scaled": "not proven"}, id="settings without"),
        pytest.param(
            SWISH + SETTINGS + "twice, thrice = Scaled(2), Scaled(scale=3)",
            {"twice": "proven", "thrice": "proven", "Swish": "proven"},
            id="instances in place of their class",
        ),
        pytest.param(
            SWISH + "steep = LeakyReLU(0.3)",
            {"steep": "proven", "Swish": "proven"},
            id="instance of an imported class",
        ),
        pytest.param(SWISH + WRONG + "half = Half()", {"half": "WRONG", "Swish": "proven"}, id="wrong instance"),
        pytest.param("from abc import abstractmethod\n" + SWISH + ABSTRACT, {"Swish": "proven", "Twice": "proven"}),
        pytest.param(SWISH + "Other = Swish", {"Swish": "proven"}, id="two names of one class"),
        pytest.param(SWISH + REFUSES, {"Swish": "proven", "Refuses": "not proven"}, id="no example"),
        pytest.param(SWISH + NINE, {"Swish": "proven", "Nine": "not proven"}, id="odd shape"),
        pytest.param(SWISH + NINE + EXAMPLES, {"Swish": "proven", "Nine": "proven"}, id="odd shape with examples"),
        pytest.param(SWISH + RAISING, {"Swish": "proven", "Raising": "WRONG"}, id="backward raises"),
    ],
)
def test_verdicts(check, source, verdicts):
    """Every gate of the file has one row, and no imported one; the exit code is 0 when all are proven, else 1."""
    code, out, err = check(write("mine.py", source))
    found = {gate: verdict for gate, (verdict, _) in rows(out).items()}
    assert found == verdicts
    assert list(found) == list(verdicts)
    proven = sum(verdict == "proven" for verdict in verdicts.values())
    assert out.splitlines()[-1] == f"{proven} of {len(verdicts)} gates proven"
    assert code == (0 if proven == len(verdicts) else 1)
    assert err == ""


def test_two_classes_of_one_name(check):
    """Two classes that a function made have one name, and each is proven: the wrong one is not lost."""
    code, out, _ = check(write("mine.py", SWISH + TWINS))
    assert code == 1
    assert {gate: verdict for gate, (verdict, _) in rows(out).items()} == {
        "Swish": "proven",
        "First": "WRONG",
        "Second": "proven",
    }
    assert out.splitlines()[-1] == "2 of 3 gates proven"


@pytest.mark.parametrize(
    ("source", "gate", "said"),
    [
        (SWISH, "Swish", ["14 checks passed"]),
        (SWISH + NINE + EXAMPLES, "Nine", ["12 checks passed"]),
        (
            SWISH + WRONG,
            "Half",
            ["gradient is right:", "15 of 15 elements", "expected", "=> constant factor: the gradient of X is 1/2"],
        ),
        (SWISH + RAISING, "Raising", ["KeyError: 'missing'", "mine.py, in backward"]),
        (SWISH + NINE + EXAMPLES + WRONG_NINE, "Half", ["example: X (81,) (from examples(rng))"]),
        (SWISH + SETTINGS, "Scaled", ["missing 1 required positional argument: 'scale'", "gate = Scaled(...)"]),
        (SWISH + REFUSES, "Refuses", ["none fits", "ValueError: no such shape", "examples(self, rng)"]),
    ],
    ids=["found by trying", "examples", "wrong", "raises", "wrong at its examples", "settings", "no example"],
)
def test_what_is_found(check, source, gate, said):
    """A row says what was proven and where, or what is wrong and why, or what to write."""
    _, out, _ = check(write("mine.py", source))
    for text in said:
        assert text in rows(out)[gate][1]


@pytest.mark.parametrize(
    ("name", "verdict"),
    [("Swish", "proven"), ("Half", "WRONG"), ("Scaled", "not proven"), ("twice", "proven"), ("Tanh", "proven")],
)
def test_one_gate(check, name, verdict):
    """``FILE:Name`` proves that gate alone: a class, an instance, an imported one too."""
    path = write("mine.py", SWISH + WRONG + SETTINGS + "twice = Scaled(2)")
    code, out, err = check(f"{path}:{name}")
    assert [(gate, found) for gate, (found, _) in rows(out).items()] == [(name, verdict)]
    assert (code, err) == (int(verdict != "proven"), "")
    assert out.splitlines()[-1] == f"{int(verdict == 'proven')} of 1 gates proven"


@pytest.mark.parametrize("target", ["mine", "mine:Swish", "pack.mine", "pack.mine:Swish", "pack", "pack:Swish"])
def test_modules(check, target):
    """A module of the working folder is found by its name, in a package too; a package has what its modules define."""
    write("mine.py", SWISH)
    write("pack/mine.py", SWISH)
    write("pack/__init__.py", "from gates import Tanh\nfrom pack.mine import Swish")
    code, out, err = check(target)
    assert (code, list(rows(out)), err) == (0, ["Swish"], "")


def test_package_itself(check):
    """Of the project's own gates only the two that cannot do without settings are not proven."""
    code, out, err = check("gates")
    found = rows(out)
    needing = {"ReshapeGate": "'shape'", "SliceGate": "'index'"}
    abstract = {"Gate", "ElementwiseGate", "OutputGate", "ClassOutput"}
    classes = {name for name in gates.__all__ if isinstance(getattr(gates, name), type)} - {"GateError", "Report"}
    assert set(found) == classes - abstract
    assert {gate for gate, (verdict, _) in found.items() if verdict != "proven"} == set(needing)
    for gate, setting in needing.items():
        assert found[gate][0] == "not proven"
        assert setting in found[gate][1]
        assert f"gate = {gate}(...)" in found[gate][1]
    assert out.splitlines()[-1] == f"{len(found) - 2} of {len(found)} gates proven"
    assert (code, err) == (1, "")


def test_sibling(check, folder):
    """A file may import what lies beside it, wherever the command is run."""
    write("there/factor.py", "TWO = 2.0")
    path = write("there/mine.py", "from factor import TWO\n" + SWISH + "times = LeakyReLU(TWO)")
    for target in (path, str(folder / path)):
        code, out, _ = check(target)
        assert (code, list(rows(out))) == (0, ["times", "Swish"])


def test_seed(check):
    """The same seed says the same, to the byte, and another seed proves at other numbers."""
    path = write("mine.py", SWISH + WRONG)
    _, first, _ = check(path)
    _, again, _ = check(path, "--seed", "0")
    code, other, _ = check("--seed", "1", path)
    assert first == again
    assert first != other
    assert code == 1


# --- What cannot be loaded -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "target", "said"),
    [
        ({}, "gone.py", ["gone.py is not a file"]),
        ({}, "gone.py:Swish", ["gone.py is not a file"]),
        ({"folder.py/x": ""}, "folder.py", ["folder.py is not a file"]),
        ({"note.txt": "hello"}, "note.txt", ["note.txt is not a Python file"]),
        ({"mine.py": "x = 1\ny = (\n"}, "mine.py", ["SyntaxError", "'(' was never closed", "line 2", "mine.py"]),
        ({"mine.py": "if 1:\nx = 1\n"}, "mine.py", ["IndentationError", "line 2"]),
        ({"mine.py": b"\xff\xfe = 1\n"}, "mine.py", ["SyntaxError", "utf-8"]),
        ({"mine.py": "import gone"}, "mine.py", ["mine.py cannot be loaded", "No module named 'gone'"]),
        ({"mine.py": "from gates import Gone"}, "mine.py", ["ImportError", "cannot import name 'Gone'", "line 1"]),
        ({"mine.py": "x = 1\n\n1 / 0\n"}, "mine.py", ["ZeroDivisionError: division by zero", "line 3", "mine.py"]),
        ({"mine.py": "def f():\n    1 / 0\n\nf()\n"}, "mine.py", ["ZeroDivisionError", "line 4", "mine.py"]),
        ({"mine.py": "import sys\nsys.exit(3)"}, "mine.py", ["SystemExit: 3", "line 2"]),
        ({"mine.py": "import sys\nsys.exit()"}, "mine.py", ["SystemExit", "line 2"]),
        ({"mine.py": "import side", "side.py": "x = ("}, "mine.py", ["SyntaxError", "side.py"]),
        ({}, "gone", ["gone is neither a file nor a module"]),
        ({}, "gone:Swish", ["gone is neither a file nor a module"]),
        ({}, "gates.gone", ["gates.gone is neither a file nor a module"]),
        ({}, "gone.deeper", ["gone.deeper", "No module named 'gone'"]),
        (
            {"mine.py": "import gone"},
            "mine",
            ["mine cannot be loaded: ModuleNotFoundError: No module named 'gone' (line 1"],
        ),
        ({"mine.py": "1 / 0"}, "mine", ["mine cannot be loaded: ZeroDivisionError", "line 1"]),
        ({"mine.py": SWISH}, "mine.py:Gone", ["mine has no 'Gone'; its gates: ", " LeakyReLU, Tanh, Swish\n"]),
        ({"mine.py": SWISH + SETTINGS}, "mine.py:Gone", [" LeakyReLU, Tanh, Swish, Scaled\n"]),
        ({"mine.py": "x = 1"}, "mine.py:Gone", ["mine has no 'Gone'; its gates: none\n"]),
        ({"mine.py": SWISH}, "mine.py:np", ["np of mine is not a Gate, but module"]),
        ({"mine.py": "x = 1"}, "mine.py:x", ["x of mine is not a Gate, but int"]),
        ({"mine.py": "class A: ..."}, "mine.py:A", ["A of mine is not a Gate"]),
        ({"mine.py": SWISH}, "mine.py:ElementwiseGate", ["cannot be proven", "derivative, forward"]),
        ({}, "gates:Gate", ["Gate of gates cannot be proven: it has no backward, forward"]),
        ({"mine.py": ""}, "mine.py", ["mine defines no Gate"]),
        ({"mine.py": "from gates import Tanh"}, "mine.py", ["mine defines no Gate"]),
        ({"pack/__init__.py": ""}, "pack", ["pack defines no Gate"]),
        ({}, "C:\\x.py", ["C:\\x.py is not a file"]),
        ({}, "C:\\x.py:Swish", ["C:\\x.py is not a file"]),
        ({}, "./gone", ["'./gone' is neither a file nor the name of a module"]),
        ({"pack/__init__.py": SWISH}, "pack/", ["'pack/' is neither a file nor the name of a module"]),
        ({}, ".", ["'.' is neither a file nor the name of a module"]),
        ({}, "", ["'' is neither a file nor the name of a module"]),
        ({}, "mine.py:", ["'mine.py:' is neither a file nor the name of a module"]),
    ],
)
def test_not_loaded(check, files, target, said):
    """What cannot be loaded, or holds no such gate, is code 2: one line on stderr says why, and no traceback."""
    for name, text in files.items():
        write(name, text)
    code, out, err = check(target)
    assert (code, out) == (2, "")
    assert err.startswith("nngraph: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    for text in said:
        assert text in err


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        pytest.param(
            SWISH + RAISING.replace("backward(self, X, dZ)", "forward(self, X)") + "Raising()([1.0])",
            "mine.py",
            "KeyError: 'missing'",
            id="an exception with a note",
        ),
        pytest.param("import json\n\njson.loads('x')", "mine.py", "(line 3 of ", id="raised within a library"),
        pytest.param("raise TypeError(1)", "mine.py", "loaded: TypeError: 1 (line 1 of ", id="line of the file"),
        pytest.param(b"x = 1\0\n", "mine.py", "null bytes", id="null byte"),
        pytest.param("import gone", "mine.py", "ModuleNotFoundError: No module named 'gone' (line 1 of ", id="import"),
        pytest.param("import gone", "mine", "ModuleNotFoundError: No module named 'gone' (line 1 of ", id="module"),
    ],
)
def test_not_loaded_reason(check, source, target, said):
    """The line says what happened, and where in the user's own file."""
    write("mine.py", source)
    code, _, err = check(target)
    assert code == 2
    assert said in err
    assert "None" not in err


def test_line_of_the_user(check):
    """Where a library refuses to be imported, the line is the user's own that imports it."""
    other = "unix" if sys.platform == "win32" else "windows"
    path = write("mine.py", f"import sys\n\nimport asyncio.{other}_events\n")
    code, _, err = check(path)
    assert code == 2
    assert "mine.py cannot be loaded: ImportError: " in err
    assert "(line 3 of " in err


def test_known_gates_can_be_proven(check):
    """Each name that is offered in place of an unknown one can be asked for."""
    path = write("mine.py", SWISH)
    _, _, err = check(f"{path}:Gone")
    offered = err.strip().partition("its gates: ")[2].split(", ")
    assert "Swish" in offered
    assert {name: check(f"{path}:{name}")[0] for name in offered} == dict.fromkeys(offered, 0)


def test_file_that_takes_itself_out(check):
    """A file may take its own name out of sys.modules; its gates are proven all the same."""
    code, out, err = check(write("mine.py", f"{SWISH}\nimport sys\ndel sys.modules[__name__]\n"))
    assert (code, list(rows(out)), err) == (0, ["Swish"], "")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        pytest.param("    def examples(self, rng):\n        raise KeyError(1)\n", "KeyError: 1", id="examples raise"),
        pytest.param("    def __repr__(self):\n        raise KeyError(1)\n\na = Swish()", "KeyError: 1", id="repr"),
        pytest.param("    def __init__(self):\n        raise SystemExit(0)\n", "SystemExit: 0", id="init exits"),
    ],
)
def test_user_code_raises(check, source, said):
    """Whatever a gate's own code raises, the other gates are proven and the exit code is 1."""
    code, out, err = check(write("mine.py", f"{SWISH}{source}\nclass Other(Tanh): ...\n"))
    assert (code, err) == (1, "")
    (found,) = (rest for gate, rest in rows(out).items() if gate != "Other")
    assert found[0] == "not proven"
    assert said in found[1]
    assert rows(out)["Other"] == ("proven", "14 checks passed")
    assert out.splitlines()[-1] == "1 of 2 gates proven"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "required: COMMAND"),
        (["prove"], "invalid choice: 'prove'"),
        (["check"], "required: FILE_OR_MODULE[:GATE]"),
        (["check", "a.py", "b.py"], "unrecognized arguments: b.py"),
        (["check", "a.py", "--seed", "many"], "invalid int value: 'many'"),
        (["check", "a.py", "--speed", "1"], "unrecognized arguments"),
        (["check", "mine.py", "--seed", "-1"], "argument --seed: must not be negative, got -1"),
    ],
)
def test_bad_arguments(capsys, arguments, said):
    """Arguments that do not fit are code 2, with the usage."""
    write("mine.py", SWISH)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert err.startswith("usage: nngraph")
    assert said in err


@pytest.mark.parametrize("arguments", [["--help"], ["check", "--help"]])
def test_help(capsys, arguments):
    """The help says what can be given, and is code 0."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capsys.readouterr()
    assert (ended.value.code, err) == (0, "")
    assert "check" in out


# --- How targets are read --------------------------------------------------------------------------------------------

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]*", fullmatch=True)
PATHS = st.text(string.ascii_letters + string.digits + "/\\. -", min_size=2)


@given(where=PATHS, name=NAMES, drive=st.sampled_from(["", *(f"{letter}:\\" for letter in "CDxz")]))
def test_split_target(where, name, drive):
    """What follows the last colon is the gate, and a drive's colon is part of the file, with a gate or without."""
    path = f"{drive}{where}.py"
    assert split_target(path) == (path, None)
    assert split_target(f"{path}:{name}") == (path, name)


@pytest.mark.parametrize(
    "target", ["C:\\x", "C:/x.py", "x:", "a b.py:2", "a.py:not-a-name", "a.py:", ":Swish", "", "a:b.py"]
)
def test_not_split(target):
    """What is no name is no gate's, and without a file or module there is nothing to split."""
    assert split_target(target) == (target, None)


def test_short_module(check):
    """A module may have a name of one letter: a drive is one only where a path follows."""
    write("m.py", SWISH + WRONG)
    assert split_target("m:Swish") == ("m", "Swish")
    code, out, err = check("m:Swish")
    assert (code, list(rows(out)), err) == (0, ["Swish"], "")


# --- The table -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_table_fits(check, monkeypatch, columns):
    """No line is longer than the terminal is wide, and no word is cut off."""
    monkeypatch.setenv("COLUMNS", str(columns))
    path = write("mine.py", SWISH + WRONG + SETTINGS + REFUSES + RAISING + "leaky = LeakyReLU(0.25)")
    _, out, _ = check(path)
    assert max(map(len, out.splitlines())) <= columns
    assert "…" not in out
    assert not set("│|┃") & set(out), "no vertical bars"
    found = rows(out)
    assert list(found) == ["leaky", "Swish", "Half", "Scaled", "Refuses", "Raising"]
    assert found["leaky"] == found["Swish"] == ("proven", "14 checks passed")
    assert found["Half"][1].endswith("(X^2 -> 2 X) or from 2 X inside")
    assert found["Refuses"][1].endswith("that returns a list of tuples of inputs")
    assert found["Raising"][0] == "WRONG"


@pytest.mark.parametrize("columns", [60, 80])
def test_long_words(check, monkeypatch, columns):
    """A word longer than its column, a name or in a message, is folded, not cut off."""
    monkeypatch.setenv("COLUMNS", str(columns))
    name = f"Half{LONG}"
    _, out, _ = check(write("mine.py", SWISH + WRONG.replace("Half", name) + RAISING.replace("missing", LONG)))
    assert max(map(len, out.splitlines())) <= columns
    found = rows(out)
    assert list(found) == ["Swish", name, "Raising"]
    assert f"KeyError:'{LONG}'" in found["Raising"][1].replace(" ", "")
    assert found[name][1].replace(" ", "").endswith("or from 2 X inside".replace(" ", ""))


def test_brackets_are_text(check):
    """What looks like markup in a message is shown as it is."""
    _, out, _ = check(write("mine.py", SWISH + RAISING.replace("missing", "[bold]key[/bold]")))
    assert "KeyError: '[bold]key[/bold]'" in rows(out)["Raising"][1]


# --- The process -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["mine.py", "wrong.py", "gone.py"])
def test_two_commands(file, folder):
    """``nngraph`` and ``python -m nngraph`` say the same and end with the same code."""
    write("mine.py", SWISH)
    write("wrong.py", SWISH + WRONG)
    script = Path(sys.executable).parent / "nngraph"
    ended = [
        subprocess.run([*command, "check", file], cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
        for command in ([sys.executable, "-m", "nngraph"], [script])
    ]
    assert ended[0].returncode == {"mine.py": 0, "wrong.py": 1, "gone.py": 2}[file]
    for one, other in [ended]:
        assert (one.returncode, one.stdout, one.stderr) == (other.returncode, other.stdout, other.stderr)
        assert "Traceback" not in one.stderr


def test_same_name_in_two_folders(check):
    """Two files of one name in two folders are two modules: each call proves its own."""
    write("one/mine.py", SWISH)
    write("two/mine.py", SWISH + WRONG)
    for path, code in [("one/mine.py", 0), ("two/mine.py", 1), ("one/mine.py", 0)]:
        assert check(path)[0] == code


@pytest.mark.parametrize("name", ["gates", "inspect", "numpy", "__main__"])
def test_name_of_another_module(check, name):
    """A file that is called as a module that is loaded already does not take its place."""
    known = sys.modules[name]
    try:
        code, out, err = check(write(f"there/{name}.py", SWISH))
        kept = sys.modules[name]
    finally:
        sys.modules[name] = known
    assert kept is known
    assert (code, list(rows(out)), err) == (0, ["Swish"], "")


@pytest.mark.parametrize("target", ["mine.py", "mine", "gone", "broken.py"])
def test_path_is_left(check, target):
    """After the command sys.path is as it was, and the file's own module is not among the loaded ones."""
    write("mine.py", SWISH)
    write("broken.py", "1 / 0")
    before = list(sys.path)
    check(target)
    assert sys.path == before
    assert {"mine", "broken", "mine.py", "broken.py"} & set(sys.modules) == {"mine"} & {target}


def test_missing_method(check):
    """A class without a method, or with a misspelt one, is no base of others: it is not passed over."""
    text = SWISH.replace("class Swish", "class Typo").replace("def forward", "def foward")
    code, out, err = check(write("mine.py", SWISH + text[text.index("class Typo") :]))
    assert (code, err) == (1, "")
    assert "it has no forward" in out
    assert "1 of 2 gates proven" in out
