"""Plotting: what is computed is what is drawn, for every kind of predictor; nothing is shown."""

import itertools
import math

import numpy as np
import pytest
from matplotlib import colors
from matplotlib import pyplot as plt
from matplotlib.collections import PathCollection
from sklearn.datasets import make_blobs, make_moons
from sklearn.inspection import DecisionBoundaryDisplay
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from gates import Hinge, Logistic
from nngraph import Model
from nngraph.penalties import L2
from nngraph.plotting import COLORS, MARKERS, LossDisplay, plot_decision_boundary, plot_history, plot_loss

MOONS = make_moons(60, noise=0.2, random_state=0)
BLOBS = make_blobs(60, centers=3, random_state=0)


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    """No plot calls `show`; figures are closed after each test."""
    monkeypatch.setattr(plt, "show", lambda *_, **__: pytest.fail("show was called"))
    yield
    plt.close("all")


def trained(X, y, classes, **settings):
    """Return a small model of two features."""
    model = Model([2, 4, classes], random_state=0, **settings)
    model.train(X, y, num_passes=200, epsilon=0.005)
    return model


def grid(display):
    """Return the points in which a display predicted."""
    return np.column_stack([display.xx0.ravel(), display.xx1.ravel()])


def scatters(display):
    """Return the drawn sets of examples."""
    return [c for c in display.ax_.collections if isinstance(c, PathCollection)]


@pytest.mark.parametrize(
    "predictor",
    [
        trained(*MOONS, 2),
        trained(*MOONS, 1, output=Logistic()),
        LogisticRegression().fit(*MOONS),
    ],
    ids=["Model", "Model with Logistic", "LogisticRegression"],
)
def test_two_classes_are_shaded_by_probability(predictor):
    """The response is the probability of class 1, and the line is where it is 0.5."""
    X, y = MOONS
    display = plot_decision_boundary(predictor, X, y, grid_resolution=60)
    assert isinstance(display, DecisionBoundaryDisplay)
    np.testing.assert_allclose(display.response.ravel(), predictor.predict_proba(grid(display))[:, 1])
    (line,) = [c for c in display.ax_.collections if list(getattr(c, "levels", [])) == [0.5]]
    on_the_line = np.concatenate([path.vertices for path in line.get_paths()])
    np.testing.assert_allclose(predictor.predict_proba(on_the_line)[:, 1], 0.5, atol=0.05)
    assert display.figure_.axes[1].get_ylabel() == "probability of class 1"


@pytest.mark.parametrize(
    ("predictor", "data"),
    [
        (trained(*BLOBS, 3), BLOBS),
        (trained(*BLOBS, 3, output=Hinge()), BLOBS),
        (trained(*MOONS, 2, output=Hinge()), MOONS),
        (LinearSVC().fit(*MOONS), MOONS),
        (LogisticRegression().fit(*BLOBS), BLOBS),
        (lambda points: (points[:, 0] > 0.5).astype(int), MOONS),
        (lambda points: np.zeros(len(points), int), MOONS),
        (lambda points: np.digitize(points[:, 0], [-1, 0, 1]), BLOBS),
    ],
    ids=[
        "three",
        "three, Hinge",
        "two, Hinge",
        "LinearSVC",
        "three, sklearn",
        "function",
        "constant",
        "four from three",
    ],
)
def test_regions_are_the_predicted_classes(predictor, data):
    """Without two-class probabilities the response is the index of the predicted class."""
    X, y = data
    display = plot_decision_boundary(predictor, X, y, grid_resolution=50)
    predict = getattr(predictor, "predict", predictor)
    np.testing.assert_array_equal(display.response.ravel(), predict(grid(display)))
    assert len(scatters(display)) == len(np.unique(y))
    display.figure_.canvas.draw()


def test_labels_may_be_words():
    """Labels are shown as they are, and regions match points."""
    X, y = MOONS
    words = np.array(["cat", "dog"])[y]
    display = plot_decision_boundary(LogisticRegression().fit(X, words), X, words)
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == ["class cat", "class dog"]
    assert display.figure_.axes[1].get_ylabel() == "probability of class dog"


def test_classes_that_the_examples_lack():
    """Of two classes the second is shaded, though nothing has it here; a third class makes regions."""
    X, y = MOONS
    zero = Model([2, 2], initializer=lambda _, n, k: (np.zeros((n, k)), np.array([5.0, 0.0])))
    display = plot_decision_boundary(zero, X, np.zeros(len(X), int))
    assert display.figure_.axes[1].get_ylabel() == "probability of class 1"
    display = plot_decision_boundary(trained(X, y, 2), X, np.append(y[1:], 2))
    assert len(display.figure_.axes) == 1
    assert set(np.unique(display.response)) == {0, 1}


def test_objects_are_words():
    """Labels in an array of objects, as pandas gives them, are words."""
    X, y = MOONS
    words = np.array(["cat", "dog"])[y].astype(object)
    display = plot_decision_boundary(LogisticRegression().fit(X, words), X, words)
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == ["class cat", "class dog"]


def test_test_points_are_hollow():
    """Training points are filled, test points are white inside; the grid covers both."""
    X, y = MOONS
    X_test, y_test = X + 3, y
    display = plot_decision_boundary(trained(X, y, 2), X, y, X_test=X_test, y_test=y_test)
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert labels == ["class 0, train", "class 1, train", "class 0, test", "class 1, test"]
    faces = [colors.to_hex(scatter.get_facecolor()[0]) for scatter in scatters(display)]
    edges = [colors.to_hex(scatter.get_edgecolor()[0]) for scatter in scatters(display)]
    assert faces == [COLORS[0].lower(), COLORS[1].lower(), "#ffffff", "#ffffff"]
    assert edges[2:] == [COLORS[0].lower(), COLORS[1].lower()]
    assert display.xx0.max() > X_test[:, 0].max()
    assert display.xx0.min() < X[:, 0].min()


def test_classes_differ_for_every_kind_of_colour_vision():
    """Any two of the first six classes differ in lightness or hue after simulated loss of one kind of cone."""
    # Viénot, Brettel, Mollon: Digital video colourmaps for checking the legibility of displays by dichromats, 1999.
    to_cones = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]])
    protan = np.array([[0, 2.02344, -2.52581], [0, 1, 0], [0, 0, 1]])
    deutan = np.array([[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]])
    rgb = np.array([colors.to_rgb(color) for color in COLORS[:6]]) ** 2.2
    for loss in (np.eye(3), protan, deutan):
        seen = rgb @ to_cones.T @ loss.T @ np.linalg.inv(to_cones).T
        for one, other in itertools.combinations(np.clip(seen, 0, 1) ** (1 / 2.2), 2):
            assert np.linalg.norm(one - other) > 0.25
    # Colours and markers repeat after different counts, so that no two of 72 classes look the same.
    assert math.lcm(len(set(MARKERS)), len(set(COLORS))) == len(MARKERS) * len(COLORS)


def test_given_axes_are_used():
    """A given ax is drawn on, and no other figure is opened."""
    X, y = MOONS
    _, (left, right) = plt.subplots(1, 2)
    assert plot_decision_boundary(trained(X, y, 2), X, y, ax=left).ax_ is left
    assert plot_loss([3.0, 2.0, 1.0], ax=right).ax_ is right
    assert len(plt.get_fignums()) == 1


def test_points_without_extent():
    """One example, or all on a line, still have a grid around them."""
    display = plot_decision_boundary(lambda points: (points[:, 0] > 0).astype(int), [[0.0, 1.0]], [1])
    assert np.ptp(display.xx0) > 0
    assert np.ptp(display.xx1) > 0


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ((len, np.ones((3, 3)), [0, 1, 0]), {}, r"over two features; X has shape \(3, 3\)"),
        ((len, np.ones((3, 2)), [0, 1]), {}, r"y must have one label for each of the 3 examples, got \(2,\)"),
        ((len, np.full((3, 2), np.nan), [0, 1, 0]), {}, "X must be finite"),
        ((len, np.ones((3, 2)), [0, 1, 0]), {"X_test": np.ones((3, 2))}, "X_test and y_test go together"),
        ((len, np.ones((3, 2)), [0, 1, 0]), {"y_test": [0, 1]}, "X_test and y_test go together"),
        ((len, np.ones((3, 2)), [0, 1, 0]), {}, r"one label per point, \(90000,\), got \(\)"),
        ((lambda p: p[:, 0], np.ones((3, 2)), [0, 1, 0]), {}, "whole numbers or words, got .*; is this a regression"),
        ((lambda p: p[:, 0] > 1, np.eye(2), [0.0, np.nan]), {}, "whole numbers or words, got nan"),
        ((lambda p: p[:, 0] > 1, np.eye(2), ["a", "b"]), {}, "all numbers or all words"),
        ((len, np.ones((3, 2)), [0, 1, 0]), {"grid_resolution": 1}, "grid_resolution must be an integer >= 2, got 1"),
        ((Model, np.ones((3, 2)), [0, 1, 0]), {}, "must be a Model, a fitted classifier or a function"),
        (("net", np.ones((3, 2)), [0, 1, 0]), {}, "must be a Model, a fitted classifier or a function, got 'net'"),
    ],
)
def test_boundary_refuses_bad_input(arguments, settings, message):
    """Bad data is a ValueError that says what was expected, and opens no figure."""
    with pytest.raises(ValueError, match=message):
        plot_decision_boundary(*arguments, **settings)
    assert plt.get_fignums() == []


def test_loss_curve():
    """The curve has the losses over the passes, of a list or of a model, linear or logarithmic."""
    model = trained(*MOONS, 2)
    display = plot_loss(model)
    assert isinstance(display, LossDisplay)
    np.testing.assert_array_equal(display.line_.get_xydata(), list(enumerate(model.loss_history)))
    assert display.ax_.get_ylim()[0] == 0
    display = plot_loss([4.0, 2.0, 1.0], log=True, label="slow")
    np.testing.assert_array_equal(display.line_.get_xydata(), [(1, 2.0), (2, 1.0)])
    assert (display.ax_.get_xscale(), display.ax_.get_yscale()) == ("log", "log")
    plot_loss([4.0, 1.0, 0.5], ax=display.ax_, log=True, label="fast")
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == ["slow", "fast"]
    first, second = display.ax_.lines
    assert first.get_color() != second.get_color()


@pytest.mark.parametrize("history", [[[1.0, 2.0]], ["a"], None, 3.0])
def test_loss_refuses_bad_input(history):
    """No history, no curve."""
    with pytest.raises(ValueError, match="one loss per pass"):
        plot_loss(history)


@pytest.mark.parametrize("history", [[], Model([2, 2], random_state=0)])
def test_loss_of_an_untrained_model(history):
    """A model without a history is told to be trained first."""
    with pytest.raises(ValueError, match="no loss to draw yet: train the model first"):
        plot_loss(history)


def test_a_long_legend_stands_beside():
    """Six entries stand outside the axes where the layout makes room, and inside where it does not."""
    X, y = BLOBS
    for layout, outside in (("constrained", True), (None, False)):
        _, ax = plt.subplots(layout=layout)
        plot_decision_boundary(trained(X, y, 3), X, y, X_test=X, y_test=y, ax=ax)
        ax.figure.canvas.draw()
        assert (ax.get_legend().get_window_extent().x0 >= ax.get_window_extent().x1) == outside
        assert ax.get_legend().get_window_extent().x1 <= ax.figure.bbox.x1


def test_one_loss_is_a_point():
    """A history of one loss is seen as a marker."""
    assert plot_loss([1.0]).line_.get_marker() == "o"
    assert plot_loss([1.0, 0.5]).line_.get_marker() == "None"


# --- History ---------------------------------------------------------------------------------------------------------


def history_of(**options):
    """Return the history of a short training."""
    X, y = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]] * 5), np.array([0, 1, 1, 1] * 5)
    return Model([2, 3, 2], random_state=0).fit(X, y, epochs=options.pop("epochs", 4), **options)


def test_history_panels():
    """Losses in one panel, each metric in another, what is measured on validation data beside what it belongs to."""
    history = history_of(validation=0.2, metrics=["accuracy"], penalty=L2(0.1))
    display = history.plot()
    loss, accuracy = display.axes_
    assert [line.get_label() for line in loss.get_lines()] == [
        "training loss",
        "training loss and penalty",
        "validation loss",
    ]
    assert [line.get_label() for line in accuracy.get_lines()] == ["training accuracy", "validation accuracy"]
    for line, name in zip(loss.get_lines(), ["loss", "objective", "validation_loss"], strict=True):
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4])
        np.testing.assert_array_equal(line.get_ydata(), history[name])
    assert {line.get_color() for line in accuracy.get_lines()} == {COLORS[0], COLORS[1]}
    assert (loss.get_xlabel(), loss.get_ylabel(), accuracy.get_ylabel()) == ("epoch", "loss", "accuracy")
    assert display.figure_ is loss.figure


def test_history_in_given_axes():
    """Axes may be given; the losses' may be logarithmic; one epoch is a point, one curve needs no legend."""
    _, ax = plt.subplots()
    display = plot_history(history_of(epochs=1), axes=[ax], log=True)
    assert display.axes_ == [ax]
    assert ax.get_yscale() == "log"
    assert ax.get_lines()[0].get_marker() == "o"
    assert ax.get_legend() is None
    with pytest.raises(ValueError, match="there are 1 panels \\(loss\\), got 2 axes"):
        plot_history(history_of(), axes=[ax, ax])


@pytest.mark.parametrize(("history", "message"), [([1.0], "a History, got"), (history_of(epochs=0), "no epoch")])
def test_bad_history(history, message):
    """What is no history, or an empty one, is refused."""
    with pytest.raises(ValueError, match=message):
        plot_history(history)
