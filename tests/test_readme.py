"""The pages: every code block of README and docs runs and prints what stands below it, every command works."""

import codeop
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import gates
from nngraph.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {page.name: page for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))}
# Language, the name of a file where the block is one, and text.
BLOCKS = {
    name: re.findall(r"```(\w+)(?: (\S+))?\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for name, page in PAGES.items()
}
COMMANDS = [line for language, _, text in BLOCKS["README.md"] if language == "sh" for line in text.splitlines()]
every_page = pytest.mark.parametrize("page", PAGES)


def run(command, cwd=ROOT):
    """Run a command as a reader would, not as part of a `make` that runs already; give back what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - our own commands
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@every_page
def test_every_block_is_of_a_kind_that_is_run(page):
    """A block in another language would go untested."""
    assert {language for language, _, _ in BLOCKS[page]} <= {"python", "sh", "text"}


@every_page
def test_blocks_can_be_pasted(page):
    """Line by line into Python's prompt, where an empty line, and nothing else, ends a loop or a class."""
    for language, file, text in BLOCKS[page]:
        if language == "python" and not file:
            typed = []
            for line in (*text.splitlines(), ""):
                typed.append(line)
                if codeop.compile_command("\n".join(typed), page) is not None:
                    typed = []
            assert typed == []


@every_page
def test_blocks_print_what_the_text_blocks_say(page, tmp_path, monkeypatch, capsys):
    """The blocks run one after another, as a reader would type them, and save their figures and files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    namespace = {"__name__": "page"}
    printed = None
    for language, file, text in BLOCKS[page]:
        if language == "python" and file:
            Path(file).write_text(text, encoding="utf-8")
        elif language == "python":
            exec(compile(text, page, "exec"), namespace)  # noqa: S102 - the page's own code
            printed = capsys.readouterr().out
        elif language == "sh" and text.startswith("nngraph "):
            main(shlex.split(text)[1:])
            printed = capsys.readouterr().out
        elif language == "text":
            lines = [line.rstrip() for line in printed.strip("\n").splitlines()]
            assert "\n".join(lines).strip() == text.strip()
    if page == "README.md":
        assert (tmp_path / "boundary.png").stat().st_size > 10_000
        assert namespace["curve"].calculate_loss(namespace["t"], abs(namespace["t"])) < 0.01


@pytest.mark.parametrize("command", COMMANDS)
def test_commands(command, tmp_path):
    """Each command of the README does what the README says."""
    words = shlex.split(command)
    if words == ["make", "demo"]:
        # In the environment that runs the tests, so that nothing is installed here; CI made it by the same Makefile.
        figure = tmp_path / "moons.png"
        prefix = sys.prefix
        printed = run(["make", "demo", f"VENV={prefix}", "-o", f"{prefix}/installed", f"FIGURE={figure}"])
        assert "test accuracy:" in printed
        assert figure.stat().st_size > 50_000
    elif words == [".", ".venv/bin/activate"]:
        # Where `make` puts the environment.
        assert "-m venv .venv\n" in run(["make", "--dry-run", "--always-make", "demo"])
    elif words == ["make", "test"]:
        # This is `make test`; what is left to see is that it checks all that the README lists.
        steps = run(["make", "--dry-run", "--always-make", "test"])
        assert re.findall(
            r"bin/(ruff check|ruff format --check|mypy|coverage run -m pytest|coverage report)", steps
        ) == [
            "ruff check",
            "ruff format --check",
            "mypy",
            "coverage run -m pytest",
            "coverage report",
        ]
        assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    else:
        # The demos have tests of their own, in test_demos.py; here they only have to be there and run.
        assert words[0] == "python"
        run([sys.executable, str(ROOT / words[1]), *words[2:]], cwd=tmp_path)


def test_the_table_names_every_public_gate():
    """What the README lists is what there is."""
    abstract = {"Gate", "ElementwiseGate", "OutputGate", "GateError", "check_gate"}
    missing = [name for name in gates.__all__ if name not in abstract and f"`{name}`" not in README]
    assert missing == []


def test_the_lesson_names_every_check_and_every_mistake():
    """Every check and every kind of diagnosis has its row in the lesson; nothing is there that is not in the code."""
    lesson = PAGES["write-a-gate.md"].read_text(encoding="utf-8")
    rows = {line.split("|")[1].strip() for line in lesson.splitlines() if line.startswith("| ")}
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "gates" / "checking").glob("*.py"))
    kinds = set(re.findall(r'Diagnosis\(\s*"([^"]+)"', source)) | {"chain rule stops early"}
    checks = {check.name for check in gates.checking.checks.CHECKS}
    assert rows - {"check", "diagnosis", "---"} == kinds | checks


def test_the_page_on_sickness_names_every_finding():
    """Every kind of finding has its row in the table; nothing is there that is not in the code."""
    page = PAGES["diagnose.md"].read_text(encoding="utf-8")
    rows = {line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| ")}
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "nngraph" / "diagnosis").glob("of_*.py"))
    kinds = set(re.findall(r'(?:Finding|of_layers)\(\s*"([^"]+)"', source))
    both = {f"probabilities given to {name}" for name in ("Softmax", "Logistic")}
    assert rows - {"finding"} == kinds | both


@every_page
def test_links_and_pictures_exist(page):
    """No link leads nowhere."""
    for target in re.findall(r"\]\(([^)#]+)\)", PAGES[page].read_text(encoding="utf-8")):
        assert (PAGES[page].parent / target).exists(), target
