"""The demos: each runs headless as a program, prints its result, and draws its figure."""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot as plt
from sklearn.datasets import load_iris

DEMOS = Path(__file__).parents[1] / "demos"
DIAGNOSED = Path(__file__).parent / "diagnosed.py"


# What `Model.diagnose` says of the nets that a demo trains, before and after: nothing, unless one is sick on purpose.
SICK = {
    "or_gate.py": (2, {"wrong gradient"}),
    "scaling.py": (4, {"unscaled features", "unscaled targets", "steps too large"}),
    "initializers.py": (2, {"worse than guessing", "steps too large", "dead ReLUs"}),
    "conjugate_gradients.py": (1, {"saturated units", "worse than guessing"}),
    # As published: weights ~ N(0, 1) for 784 pixels, which the better net does not have.
    "handwritten_digits.py --mnist": (3, {"saturated units"}),
}


def run(demo, *arguments, cwd, code=0):
    """Run a demo with warnings as errors and no screen, its nets diagnosed; give back what it printed."""
    environment = {**os.environ, "MPLBACKEND": "Agg"}
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "found.json"
        command = [sys.executable, "-W", "error", str(DIAGNOSED), str(found), str(DEMOS / demo), *arguments]
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - our own
        diagnoses = json.loads(found.read_text(encoding="utf-8"))
    assert done.returncode == code, done.stdout + done.stderr
    if code == 0 and demo != "sick_nets.py":
        sick = [(kinds, text) for _, kinds, text in diagnoses if kinds]
        told = len(sick), {kind for kinds, _ in sick for kind in kinds}
        expected = SICK.get(" ".join([demo, *arguments]), SICK.get(demo, (0, set())))
        assert told == expected, "\n\n".join(text for _, text in sick)
    return done.stdout if code == 0 else done.stderr


def number(pattern, text):
    """Return the number that stands in the only match of a pattern."""
    (found,) = re.findall(pattern, text)
    return float(found)


def test_every_demo_has_a_test():
    """A demo that nobody runs rots."""
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_demos*.py"))
    assert [demo.name for demo in DEMOS.glob("*.py") if f'"{demo.name}"' not in tests] == []


def test_moons(tmp_path):
    """The defaults learn the moons, print everything promised, and draw a figure that is not blank."""
    printed = run("moons.py", cwd=tmp_path)
    assert number(r"train accuracy: ([\d.]+)", printed) >= 0.97
    assert number(r"test accuracy: +([\d.]+)", printed) >= 0.95
    assert number(r"loss: +([\d.]+) after", printed) < 0.1
    assert number(r"seconds: +([\d.]+)", printed) > 0
    assert "200 points" in printed
    assert "2 -> 8 -> 2, tanh" in printed
    picture = plt.imread(tmp_path / "moons.png")
    assert picture.shape[1] > 1000
    assert len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 100


def test_moons_as_published(tmp_path):
    """The published network reaches its published figures, and prints the loss 20 times on the way."""
    printed = run("moons.py", "--as-published", cwd=tmp_path)
    assert "loss:           0.159993 after 20000 passes" in printed
    assert "train accuracy: 0.985" in printed
    assert re.findall(r"iteration (\d+)", printed) == [str(1000 * i) for i in range(20)]
    assert (tmp_path / "moons_published.png").exists()


def test_print_the_backprop(tmp_path):
    """The printed step, run alone, gets nngraph's weights; the exported file predicts what the model predicts."""
    printed = run("print_the_backprop.py", cwd=tmp_path)
    assert "    dW2 = A1.T @ dZ2\n" in printed
    differences = [float(found) for found in re.findall(r"difference from nngraph's (\S+)", printed)]
    assert len(differences) == 4
    assert max(differences) < 1e-12
    assert "predictions that agree: 100%" in printed
    assert number(r"(\d+) operations, ", printed) > 30
    assert (tmp_path / "moons_net.py").exists()


def test_moons_takes_every_option(tmp_path):
    """Each option reaches the program; --show ends by itself where there is no screen."""
    options = ["--points", "60", "--noise", "0.1", "--seed", "3", "--hidden", "5", "4", "--layer", "ReLU"]
    options += ["--passes", "300", "--rate", "0.005", "--penalty", "0", "--output", "other.png"]
    printed = run("moons.py", *options, cwd=tmp_path)
    assert "60 points on two moons, noise 0.1, seed 3" in printed
    assert "2 -> 5 -> 4 -> 2, relu" in printed
    assert "after 300 passes" in printed
    assert (tmp_path / "other.png").exists()
    assert "usage" in run("moons.py", "--help", cwd=tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--hidden", "0"], "width must be an integer >= 1, got 0"),
        (["--rate", "-1"], "epsilon must be finite and not negative, got -1.0"),
        (["--passes", "-5"], "num_passes must be an integer >= 0, got -5"),
        (["--penalty", "nan"], "reg_lambda must be finite and not negative, got nan"),
        (["--noise", "-1"], "noise"),
        (["--seed", "-1"], "Seed must be between 0 and"),
        (["--output", "nowhere/moons.png"], "--output must be a file in a folder that is there"),
        (["--output", "moons.xyz"], "ending in one of"),
        (["--output", "."], "ending in one of"),
        (["--rate", "1e9", "--layer", "relu"], "training diverged in pass"),
    ],
)
def test_moons_refuses_bad_options(options, message, tmp_path):
    """A bad option ends in a message and exit code 2, not in a traceback."""
    complaint = run("moons.py", *options, cwd=tmp_path, code=2)
    assert message in complaint
    assert "Traceback" not in complaint


def test_custom_gate(tmp_path):
    """A planted mistake gets its diagnosis; mended, the gate is proven and learns the moons; so is the model proven."""
    printed = run("custom_gate.py", cwd=tmp_path)
    before, after, model = re.split(r"^\d\. .*$", printed, flags=re.MULTILINE)[1:]
    words = " ".join(re.sub(r"[^\w\s.:=>()-]", " ", before).split())
    assert "FirstTry is wrong: 1 of 13 checks failed" in before
    assert "chain rule stops early" in words
    assert "the factor -2 X" in words
    assert "Bump is proven: 14 checks passed" in after
    assert "WRONG" not in after
    assert "Model of 4 parameters is proven: 5 checks passed" in model
    assert number(r"train accuracy: ([\d.]+)", printed) >= 0.95
    assert number(r"test accuracy: +([\d.]+)", printed) >= 0.93
    assert (tmp_path / "custom_gate.png").exists()


def test_circuit(tmp_path):
    """The table has each node's value and gradient; they agree with the formulas done by hand."""
    printed = run("circuit.py", cwd=tmp_path)
    rows = dict(re.findall(r"^(\w) +\w+ +(-?[\d.]+ +-?[\d.]+)$", printed, flags=re.MULTILINE))
    table = {name: [float(part) for part in row.split()] for name, row in rows.items()}
    x, y, z = 0.5, -2.0, 1.5
    s = x * y + z
    f = 1 / (1 + np.exp(-s))
    ds = f * (1 - f)
    by_hand = {"x": (x, ds * y), "y": (y, ds * x), "z": (z, ds), "p": (x * y, ds), "s": (s, ds), "f": (f, 1)}
    assert table.keys() == by_hand.keys()
    for name, pair in by_hand.items():
        np.testing.assert_allclose(table[name], pair, atol=5.1e-5)
    changes = re.findall(r"changes by ([+-][\d.]+), foretold ([+-][\d.]+)", printed)
    assert len(changes) == 3
    for change, foretold in changes:
        assert float(change) == pytest.approx(float(foretold), rel=0.01)


@pytest.mark.parametrize(
    ("options", "least"),
    [
        ([], 0.88),
        (["--hidden", "16", "16", "--layers", "tanh", "relu", "--dropout", "0.2"], 0.88),
        (["--hidden", "--no-softmax", "--loss", "squared", "--rate", "0.1"], 0.8),
        (["--loss", "squared", "--l1", "0.001", "--l2", "0.01", "--no-bias", "--layers", "sigmoid"], 0.8),
    ],
)
def test_configurable(options, least, tmp_path):
    """Whatever the net is put together of, it learns; the table shows what it is put together of."""
    printed = run("configurable.py", *options, "--output", "net.png", cwd=tmp_path)
    assert number(r"test accuracy: ([\d.]+)", printed) >= least
    assert ("dropout2" in printed) == ("--dropout" in options)
    assert ("b1 (" in printed) == ("--no-bias" not in options)
    assert ("W3" in printed) == ("relu" in options)
    assert ("SoftmaxLayer" in printed) == (options[:1] == ["--loss"])
    assert (tmp_path / "net.png").stat().st_size > 10_000


def test_configurable_on_a_file(tmp_path):
    """Data come from a file, their labels are names."""
    X, y = load_iris(return_X_y=True)
    rows = [
        f"{','.join(map(str, row))},{('setosa', 'versicolor', 'virginica')[k]}" for row, k in zip(X, y, strict=True)
    ]
    (tmp_path / "iris.csv").write_text("\n".join(["a,b,c,d,species", *rows]), encoding="utf-8")
    printed = run("configurable.py", "--data", "iris.csv", "--batch", "10", cwd=tmp_path)
    assert number(r"test accuracy: ([\d.]+)", printed) >= 0.9
    assert "of 3 classes" in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--no-softmax"], "cross-entropy needs probabilities"),
        (["--layers", "tanh", "relu"], "one for each of the 1 hidden layers"),
        (["--dropout", "1"], "the rate of a Dropout must be at least 0 and below 1, got 1.0"),
        (["--l1", "-1"], "ElasticNet: l1 must be finite and not negative, got -1.0"),
        (["--batch", "4000"], "batch_size must be at most the number of examples"),
        (["--rate", "1e6", "--layers", "relu"], "training diverged in epoch"),
    ],
)
def test_configurable_refuses_bad_options(options, message, tmp_path):
    """A bad option ends in a message and exit code 2, not in a traceback."""
    complaint = run("configurable.py", *options, cwd=tmp_path, code=2)
    assert message in complaint
    assert "Traceback" not in complaint


def test_the_page_shows_every_demo():
    """demos/README.md has every demo once, with the picture that `make figures` makes; no link leads nowhere."""
    page = (DEMOS / "README.md").read_text(encoding="utf-8")
    makefile = (DEMOS.parent / "Makefile").read_text(encoding="utf-8").replace("\\\n", "")
    figures = re.search(r"^FIGURES := (.*)$", makefile, flags=re.MULTILINE).group(1).split()
    assert sorted(re.findall(r"\[`(\w+)\.py`\]\(\1\.py\)", page)) == sorted(path.stem for path in DEMOS.glob("*.py"))
    shown = re.findall(r'<img src="\.\./docs/figures/(\w+)\.png"', page)
    assert sorted(shown) == sorted([*figures, "handwritten_mnist"])
    for name in figures:
        assert (DEMOS.parent / "docs" / "figures" / f"{name}.png").stat().st_size > 10_000
        assert (DEMOS / f"{name}.py").exists()
