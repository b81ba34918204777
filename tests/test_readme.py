"""The README: every code block runs and prints what stands below it, every command works."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import gates

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = [line for language, text in BLOCKS if language == "sh" for line in text.splitlines()]


def run(command, cwd=ROOT):
    """Run a command as a reader would, not as part of a `make` that runs already; give back what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - our own commands
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_block_is_of_a_kind_that_is_run():
    """A block in another language would go untested."""
    assert {language for language, _ in BLOCKS} == {"python", "sh", "text"}


def test_python_blocks_print_what_the_text_blocks_say(tmp_path, monkeypatch, capsys):
    """The blocks run one after another, as a reader would type them, and save their figure."""
    monkeypatch.chdir(tmp_path)
    namespace = {}
    for (language, text), (following, expected) in zip(BLOCKS, [*BLOCKS[1:], ("", "")], strict=True):
        if language == "python":
            exec(compile(text, "README.md", "exec"), namespace)  # noqa: S102 - the README's own code
            printed = capsys.readouterr().out
            if following == "text":
                assert printed == expected
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


def test_links_and_pictures_exist():
    """No link leads nowhere."""
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
