"""The demos of the basics: each runs as a program in an empty folder, and what it prints is right."""

import re

import numpy as np
import pytest
from matplotlib import pyplot as plt

from tests.test_demos import number, run


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """On a machine with other work, the threads of a small matrix product mostly wait for one another."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")


def columns(pattern, text):
    """Return the numbers in the groups of every match of a row, by the match of the first group, its name."""
    return {name.strip(): [float(part) for part in row] for name, *row in re.findall(pattern, text, flags=re.MULTILINE)}


def check_figure(path):
    """Of a size to be read, and not blank."""
    picture = plt.imread(path)
    assert 900 <= picture.shape[1] <= 1200
    assert len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 100
    assert path.stat().st_size < 150_000


@pytest.mark.parametrize("layer", ["relu", "tanh"])
def test_initializers(layer, tmp_path):
    """The regression learns from weights that fit; in the deep net each initialiser has the factor that theory says."""
    printed = run("initializers.py", "--layer", layer, cwd=tmp_path)
    first, second = printed.split("\n2. ")
    training = columns(r"^(\S.*?) {2,}(\S+) {2,}(\S+)$", first.split("steps\n")[1])
    assert training.keys() == {"N(0, 1)", "0.01 N(0, 1)", "Glorot", "LeCun", "He"}
    assert all(end < 0.5 * start for start, end in (training[name] for name in ("Glorot", "LeCun", "He")))
    assert training["0.01 N(0, 1)"][1] == pytest.approx(training["0.01 N(0, 1)"][0], rel=0.01)  # hardly moves
    assert training["0.01 N(0, 1)"][1] < training["0.01 N(0, 1)"][0]
    assert training["N(0, 1)"][1] > training["N(0, 1)"][0]

    row = r"^(\S.*?) {2,}(\S+) +(\S+) +(\S+) +(\S+) +(\S+) +(\S+)  (?:explode|vanish|keep)"
    spread = columns(row, second)
    per_layer = {name: (numbers[2], numbers[5]) for name, numbers in spread.items()}
    for numbers in spread.values():
        for start, end, factor in (numbers[:3], numbers[3:]):
            assert (end / start) ** (1 / 9) == pytest.approx(factor, rel=0.02)
    # Widths of 100: ReLU leaves half of the variance, sqrt(100 / 2) times the spread of the weights.
    expected = {"N(0, 1)": 7.07, "0.01 N(0, 1)": 0.0707, "Glorot": 0.707, "LeCun": 0.707, "He": 1.0}
    if layer == "relu":
        for name, factor in expected.items():
            assert per_layer[name] == pytest.approx((factor, factor), rel=0.1)
    else:
        assert per_layer["N(0, 1)"][0] == pytest.approx(1, abs=0.01)  # saturated
        assert per_layer["N(0, 1)"][1] > 2
    verdicts = dict(re.findall(r"^(\S.*?) {2,}.*  (explode|vanish|keep)", second, flags=re.MULTILINE))
    fitting = "vanish" if layer == "relu" else "keep"
    assert verdicts == {
        "N(0, 1)": "explode", "0.01 N(0, 1)": "vanish", "Glorot": fitting, "LeCun": fitting, "He": "keep",
    }  # fmt: skip
    check_figure(tmp_path / "initializers.png")


def test_hidden_layer(tmp_path):
    """No hidden layer does no better than the best line; more units do; without biases neither line nor curve."""
    printed = run("hidden_layer.py", cwd=tmp_path)
    table = columns(r"^(\S.*?) {2,}(\d+) +([\d.]+)$", printed)
    losses = {name: loss for name, (_, loss) in table.items()}
    x = np.linspace(-2, 2, 50)
    y = np.cos(2 * x) + 0.3 * x
    assert losses["no hidden layer"] == pytest.approx(np.mean((y - np.polyval(np.polyfit(x, y, 1), x)) ** 2), abs=1e-4)
    assert losses["4 tanh"] < 0.02
    assert losses["50 tanh"] < 0.5 * losses["4 tanh"]
    for name in ("50 sigmoid", "50 ReLU", "10 ReLU, 10 tanh"):
        assert losses[name] < 0.03
    # What is even in the curve is out of reach of a net that is odd.
    assert losses["50 tanh, no bias"] >= np.mean(np.cos(2 * x) ** 2) - 1e-4
    assert 0.1 < losses["50 ReLU, no bias"] < losses["no hidden layer"]
    assert table["50 tanh"][0] == 151
    assert table["50 tanh, no bias"][0] == 100
    check_figure(tmp_path / "hidden_layer.png")


def test_xor(tmp_path):
    """The net is within 0.05 of every target; the perceptron is not within 0.4 of any."""
    printed = run("xor.py", "--output", "other.png", cwd=tmp_path)
    rows = re.findall(r"^(\d) (\d) +(\d) +([\d.]+) +([\d.]+)$", printed, flags=re.MULTILINE)
    assert [(int(a), int(b), int(target)) for a, b, target, *_ in rows] == [(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0)]
    distances = [abs(float(hidden) - float(target)) for *_, target, _, hidden in rows]
    assert max(distances) < 0.05
    assert number(r"farthest from its target: ([\d.]+)", printed) == pytest.approx(max(distances), abs=1e-4)
    assert min(abs(float(alone) - float(target)) for *_, target, alone, _ in rows) > 0.4
    check_figure(tmp_path / "other.png")


def test_seven_segments(tmp_path):
    """Nine nets read all ten digits, each with a small loss."""
    printed = run("seven_segments.py", cwd=tmp_path)
    rows = re.findall(r"^([\d +]+?) {2,}(\w+) +([\d.]+) +(\d+) of 10 +([\d.]+)$", printed, flags=re.MULTILINE)
    nets = {(width, layer) for width, layer, *_ in rows}
    assert nets == {(width, layer) for width in ("20", "100", "10 + 10") for layer in ("sigmoid", "ReLU", "tanh")}
    assert len(rows) == 9
    for _, _, loss, right, certain in rows:
        assert float(loss) < 0.002
        assert right == "10"
        assert float(certain) > 0.85
    check_figure(tmp_path / "seven_segments.png")


def test_or_gate(tmp_path):
    """The right gradient learns OR; the squared signal fails its proof and makes the output for 0 0 rise for ever."""
    printed = run("or_gate.py", cwd=tmp_path)
    assert "SquaredError(reduction='mean') is proven" in printed
    assert "SquaredSignal(reduction='mean') is wrong: 1 of " in printed
    assert "gradient is right: backward's gradient of input scores (1 of 2) is wrong" in printed
    rows = re.findall(r"^(\d) (\d) +(\d) +([\d.]+) +([\d.]+)$", printed, flags=re.MULTILINE)
    targets, right, wrong = np.array(rows, float).T[2:]
    np.testing.assert_allclose(right, targets, atol=0.05)
    assert targets.tolist() == [0, 1, 1, 1]
    assert wrong.min() > 0.95
    passes, well, badly = map(int, re.findall(r"of (\d+): (\d+) and (\d+)\.", printed)[0])
    assert badly == passes == 1999
    assert well < 100
    check_figure(tmp_path / "or_gate.png")


def test_validation(tmp_path):
    """The weights of the best epoch are kept, those with the least validation loss, and read fresh digits well."""
    printed = run("validation.py", cwd=tmp_path)
    rows = re.findall(r"^ +(\d+)((?: +[\d.]+){5})(  best)?$", printed, flags=re.MULTILINE)
    table = {int(epoch): [float(part) for part in row.split()] for epoch, row, _ in rows}
    (best,) = (int(epoch) for epoch, _, marked in rows if marked)
    assert number(r"test accuracy: +([\d.]+)", printed) >= 0.95
    assert f"with the weights of epoch {best}" in printed
    assert table[best][3] == min(row[3] for row in table.values())
    assert table[best][2] > 0.98
    assert table[best][4] > 0.95
    assert max(table) == best + 20
    assert "has not been better than" in printed
    # The rate falls by a fiftieth in every epoch; an epoch's is that of its last step.
    assert table[6][0] / table[1][0] == pytest.approx(0.98**5, abs=0.01)
    check_figure(tmp_path / "validation.png")


def test_scaling(tmp_path):
    """As it is it diverges, and the message names the node and says what helps; standardised it arrives."""
    printed = run("scaling.py", cwd=tmp_path)
    message = " ".join(printed.split("\n2. ")[0].split())
    assert "DivergenceError: training diverged in pass" in message
    assert "node 'loss' (SquaredError) became inf" in message
    assert "scale the data: columns of mean 0 and variance 1" in message
    table = dict(
        re.findall(r"^(as it is, epsilon \S+|standardised|least squares)\b.* (\S+)$", printed, flags=re.MULTILINE)
    )
    losses = {name: float(loss) for name, loss in table.items()}
    assert losses["as it is, epsilon 0.001"] > 1e100
    assert losses["as it is, epsilon 2e-06"] > 1.5 * losses["least squares"]
    assert losses["standardised"] == pytest.approx(losses["least squares"], rel=1e-3)
    check_figure(tmp_path / "scaling.png")
