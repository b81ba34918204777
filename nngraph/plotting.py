"""Pictures of models: decision boundaries, losses, histories. They compute, then draw, then return."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, ListedColormap, to_rgb
from matplotlib.figure import Figure, SubFigure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from sklearn.inspection import DecisionBoundaryDisplay

from gates.arrays import Array
from gates.contract import GateError
from nngraph.history import History
from nngraph.validation import features, whole_number

# The palette of Okabe and Ito (Color universal design, 2008), the first six in the order in which any two stay furthest
# apart for every kind of colour vision; each class has a marker too.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#F0E442", "#56B4E9", "#000000", "#D55E00", "#CC79A7")
MARKERS = "os^DvP*X<"


def plot_decision_boundary(
    predictor: Any,
    X: Any,
    y: Any,
    *,
    X_test: Any = None,
    y_test: Any = None,
    grid_resolution: int = 300,
    ax: Axes | None = None,
) -> DecisionBoundaryDisplay:
    """Draw the regions that a classifier of two features predicts, and the examples.

    With two classes and probabilities the shading is the probability of the second class, and the line is where it is
    0.5; otherwise each region has the colour of its class. Examples are filled, those of a test set are hollow.

    Parameters
    ----------
    predictor : Model, fitted scikit-learn classifier, or function
        What predicts; a function takes points of shape (n, 2) and returns n labels.
    X, y : array-like of shape (examples, 2) and (examples,)
        The examples and their labels.
    X_test, y_test : array-like, optional
        More examples, drawn hollow.
    grid_resolution : int, default=300
        In how many points to predict, along each axis.
    ax : matplotlib axes, optional
        Where to draw; by default in a new figure.

    Returns
    -------
    display : sklearn.inspection.DecisionBoundaryDisplay
        With the computed grid and response, and ``display.ax_`` and ``display.figure_``.

    Raises
    ------
    ValueError
        If X does not have two columns, or the labels are no labels, not one per example, or of two kinds.
    """
    grid_resolution = whole_number(grid_resolution, "grid_resolution", 2)
    examples = [(*_examples(X, y, "X", "y"), "train" if X_test is not None else "")]
    if X_test is not None or y_test is not None:
        examples.append((*_examples(X_test, y_test, "X_test", "y_test"), "test"))
    xx0, xx1 = _grid(np.concatenate([points for points, _, _ in examples]), grid_resolution)
    grid = np.column_stack([xx0.ravel(), xx1.ravel()])
    known, predicted, probability = _predictions(predictor, grid)
    classes = _classes(known, predicted, *(labels for _, labels, _ in examples))
    if len(classes) > 2:
        probability = None
    response = np.searchsorted(classes, predicted) if probability is None else probability

    if ax is None:
        _, ax = plt.subplots(layout="constrained")
    # Light tints, not transparency: where transparent bands meet, they draw lines.
    tints = [_tint(color) for color in _class_colors(len(classes))]
    shading = LinearSegmentedColormap.from_list("classes", [_tint(COLORS[0]), (1.0, 1.0, 1.0), _tint(COLORS[1])])
    display = DecisionBoundaryDisplay(
        xx0=xx0,
        xx1=xx1,
        n_classes=max(len(classes), 2),
        response=np.reshape(response, xx0.shape),
        multiclass_colors=tints,
        xlabel="feature 1",
        ylabel="feature 2",
    )
    if probability is not None:
        display.plot(ax=ax, levels=np.linspace(0, 1, 21), cmap=shading)
        bar = display.figure_.colorbar(display.surface_, ax=display.ax_, ticks=[0, 0.25, 0.5, 0.75, 1])
        bar.set_label(f"probability of class {classes[-1]}")
        display.ax_.contour(xx0, xx1, display.response, levels=[0.5], colors="black", linewidths=1.5)
    else:
        flat = {"cmap": ListedColormap(tints)} if len(classes) <= 2 else {}
        display.plot(ax=ax, levels=np.arange(max(len(classes), 2) + 1) - 0.5, **flat)
        for k in range(len(classes) if len(classes) > 2 else 1):
            if 0 < (display.response == k).mean() < 1:
                display.ax_.contour(xx0, xx1, display.response == k, levels=[0.5], colors="black", linewidths=0.8)
    for points, labels, part in examples:
        _draw_examples(display.ax_, points, labels, classes, part)
    _draw_legend(display.ax_)
    return display


def _class_colors(count: int) -> list[str]:
    return [COLORS[k % len(COLORS)] for k in range(count)]


def _tint(color: str) -> tuple[float, float, float]:
    red, green, blue = (0.5 * part + 0.5 for part in to_rgb(color))
    return red, green, blue


def _examples(X: Any, y: Any, X_name: str, y_name: str) -> tuple[Array, Array]:
    if X is None or y is None:
        raise ValueError(f"{X_name} and {y_name} go together; got only one of them")
    points, labels = features(X, np.dtype(np.float64)), _labels(y)
    if points.shape[1:] != (2,):
        raise ValueError(f"a decision boundary is drawn over two features; {X_name} has shape {points.shape}")
    if labels.shape != points.shape[:1]:
        raise ValueError(f"{y_name} must have one label for each of the {len(points)} examples, got {labels.shape}")
    return points, labels


def _grid(points: Array, resolution: int) -> tuple[Array, Array]:
    """Return a grid that leaves a margin around the points."""
    low, high = points.min(axis=0), points.max(axis=0)
    margin = np.where(high > low, 0.1 * (high - low), 0.5)
    axes = np.linspace(low - margin, high + margin, resolution).T
    xx0, xx1 = np.meshgrid(*axes)
    return xx0, xx1


def _predictions(predictor: Any, grid: Array) -> tuple[Array, Array, Array | None]:
    """Return the labels that are known, those predicted and, of two classes, the probability of the second."""
    predict: Callable[[Array], Any] = predictor.predict if hasattr(predictor, "predict") else predictor
    if not callable(predict) or isinstance(predictor, type):
        raise ValueError(f"the predictor must be a Model, a fitted classifier or a function, got {predictor!r}")
    predicted = _labels(predict(grid))
    if predicted.shape != (len(grid),):
        raise ValueError(f"the predictor must return one label per point, {(len(grid),)}, got {predicted.shape}")
    try:
        probabilities = predictor.predict_proba(grid) if hasattr(predictor, "predict_proba") else None
    except GateError:  # a Model whose output gives none, such as Hinge
        probabilities = None
    if probabilities is None or probabilities.shape[1:] != (2,):
        return predicted[:0], predicted, None
    return _labels(getattr(predictor, "classes_", [0, 1])), predicted, probabilities[:, 1]


def _labels(labels: Any) -> Array:
    array = np.asarray(labels)
    return array.astype(str) if array.dtype.kind == "O" else array


def _classes(*labels: Array) -> Array:
    """Return every label once, sorted; raise ValueError if they are no labels, or of two kinds."""
    kinds = {"words" if array.dtype.kind in "US" else "numbers" for array in labels if array.size}
    if len(kinds) > 1:
        raise ValueError("the labels must be all numbers or all words, in y as the predictor gives them; got both")
    classes = np.unique(np.concatenate(labels))
    if classes.dtype.kind == "f" and (classes != np.round(classes)).any():
        value = classes[classes != np.round(classes)][0]
        raise ValueError(f"labels must be whole numbers or words, got {value}; is this a regression?")
    return classes


def _draw_examples(ax: Axes, points: Array, labels: Array, classes: Array, part: str) -> None:
    for k, (label, color) in enumerate(zip(classes, _class_colors(len(classes)), strict=True)):
        mine = points[labels == label]
        if not len(mine):
            continue
        ax.scatter(
            mine[:, 0],
            mine[:, 1],
            s=20 if part == "test" else 28,
            marker=MARKERS[k % len(MARKERS)],
            facecolors="white" if part == "test" else color,
            edgecolors=color if part == "test" else "black",
            linewidths=1.3 if part == "test" else 0.6,
            label=f"class {label}" + (f", {part}" if part else ""),
            # A dark rim around the hollow ones: yellow on yellow would be lost.
            path_effects=[withStroke(linewidth=2.2, foreground="black")] if part == "test" else None,
        )


def _draw_legend(ax: Axes) -> None:
    """Put a long legend beside the picture where the layout makes room for it, so that it hides nothing."""
    long = len(ax.get_legend_handles_labels()[0]) > 4
    if long and ax.figure.get_layout_engine() is not None:
        ax.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize="small")
    else:
        ax.legend(loc="best", fontsize="small")


class LossDisplay:
    """A loss curve: computed when it is made, drawn by `plot`.

    Parameters
    ----------
    losses : array of shape (passes + 1,)
        ``losses[k]`` is the loss after k passes.
    """

    def __init__(self, losses: Array) -> None:
        self.losses = losses

    def plot(self, *, ax: Axes | None = None, log: bool = False, label: str | None = None) -> LossDisplay:
        """Draw the curve; see `plot_loss`.

        Attributes `ax_`, `figure_` and `line_` hold what was drawn.
        """
        if ax is None:
            _, ax = plt.subplots()
        self.ax_: Axes = ax
        self.figure_: Figure | SubFigure = ax.figure
        # Pass 0 has no place on a logarithmic axis.
        passes = np.arange(1 if log else 0, len(self.losses))
        marker = "o" if len(passes) == 1 else None
        (self.line_,) = ax.plot(
            passes, self.losses[passes], color=None if label else COLORS[0], label=label, marker=marker
        )
        ax.set(xlabel="pass", ylabel="loss")
        if log:
            ax.set(xscale="log", yscale="log")
        else:
            ax.set_ylim(bottom=min(0, ax.dataLim.y0))
            ax.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
        ax.grid(visible=True, alpha=0.3)
        if label:
            ax.legend()
        return self


def plot_loss(history: Any, *, ax: Axes | None = None, log: bool = False, label: str | None = None) -> LossDisplay:
    """Draw the loss after each pass.

    Parameters
    ----------
    history : sequence of float, or Model
        ``history[k]`` is the loss after k passes; of a Model its ``loss_history``.
    ax : matplotlib axes, optional
        Where to draw; by default in a new figure.
    log : bool, default=False
        Whether both axes are logarithmic; the loss before the first pass then has no place.
    label : str, optional
        The curve's name in a legend, to compare several on the same axes.

    Returns
    -------
    display : LossDisplay
        With ``display.ax_``, ``display.figure_`` and ``display.line_``.

    Raises
    ------
    ValueError
        If the history is empty or no sequence of numbers.
    """
    losses: Sequence[float] | Array = getattr(history, "loss_history", history)
    values = np.asarray(losses)
    if values.ndim == 1 and values.size == 0:
        raise ValueError("there is no loss to draw yet: train the model first")
    if values.ndim != 1 or values.dtype.kind not in "iuf":
        raise ValueError(f"the history must hold one loss per pass, got {history!r:.80}")
    return LossDisplay(values.astype(np.float64)).plot(ax=ax, log=log, label=label)


class HistoryDisplay:
    """The curves of a training: computed when it is made, drawn by `plot`.

    Parameters
    ----------
    history : History
        Of one epoch or more.
    """

    def __init__(self, history: History) -> None:
        metrics = [name for name in history if name not in ("loss", "objective", "rate", "seconds")]
        metrics = [name for name in metrics if not name.startswith("validation_")]
        # Each panel has the columns of one kind: the losses first, then a metric each.
        losses = [name for name in ("loss", "objective", "validation_loss") if name in history]
        panels = {"loss": losses, **{m: [n for n in (m, f"validation_{m}") if n in history] for m in metrics}}
        self.panels = {title: {name: history[name] for name in names} for title, names in panels.items()}

    def plot(self, *, axes: Sequence[Axes] | None = None, log: bool = False) -> HistoryDisplay:
        """Draw the panels side by side; see `plot_history`. Attributes `axes_` and `figure_` hold what was drawn."""
        if axes is None:
            count = len(self.panels)
            _, drawn = plt.subplots(1, count, figsize=(1.6 + 4.2 * count, 3.8), layout="constrained", squeeze=False)
            axes = list(drawn[0])
        if len(axes) != len(self.panels):
            raise ValueError(f"there are {len(self.panels)} panels ({', '.join(self.panels)}), got {len(axes)} axes")
        self.axes_ = list(axes)
        self.figure_: Figure | SubFigure = self.axes_[0].figure
        for ax, (title, curves) in zip(self.axes_, self.panels.items(), strict=True):
            for name, values in curves.items():
                epochs = np.arange(1, len(values) + 1)
                color = COLORS[name.startswith("validation_")]
                line = ":" if name == "objective" else "-"
                # A single point is no line.
                marker = "o" if len(values) == 1 else None
                ax.plot(epochs, values, label=_words(name), marker=marker, color=color, linestyle=line)
            ax.set(xlabel="epoch", ylabel=title.replace("_", " "))
            if log and title == "loss":
                ax.set_yscale("log")
            ax.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
            ax.grid(visible=True, alpha=0.3)
            if len(curves) > 1:
                ax.legend()
        return self


def _words(name: str) -> str:
    what = "loss and penalty" if name == "objective" else name.removeprefix("validation_").replace("_", " ")
    return f"validation {what}" if name.startswith("validation_") else f"training {what}"


def plot_history(history: History, *, axes: Sequence[Axes] | None = None, log: bool = False) -> HistoryDisplay:
    """Draw what a training measured: its losses, and beside them every metric, training and validation together.

    Parameters
    ----------
    history : History
        As `Model.fit` returned it.
    axes : sequence of matplotlib axes, optional
        Where to draw, one for the losses and one for each metric; by default in a new figure.
    log : bool, default=False
        Whether the axis of the losses is logarithmic.

    Returns
    -------
    display : HistoryDisplay
        With ``display.axes_`` and ``display.figure_``.

    Raises
    ------
    ValueError
        If it is no History, no epoch has ended, or the axes are too many or too few.
    """
    if not isinstance(history, History):
        raise ValueError(f"plot_history draws what fit returns, a History, got {history!r:.80}")
    if not history.epochs:
        raise ValueError("there is nothing to draw: no epoch has ended")
    return HistoryDisplay(history).plot(axes=axes, log=log)
