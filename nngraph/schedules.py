"""Schedules: how the learning rate changes while a model trains.

A schedule is any callable ``(epoch, epochs) -> f``; the optimiser's rate is multiplied by the factor f. `epoch` is how
many epochs are done, with the part of the running one: 0.0 at the first step, 2.5 in the middle of the third epoch.
`epochs` is how many were asked for. Below, e is `epoch` and E is `epochs`.

A schedule may have methods ``fit_begin(training)`` and ``epoch_end(training)``, which are called then, and, if it
remembers something, ``state(training)`` and ``restore(training, state)``, as callbacks have; see `Plateau`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from nngraph.validation import fraction, not_negative, whole_number

Schedule: TypeAlias = Callable[[float, float], float]


def _keep(schedule: Any, **values: Any) -> None:
    """Write checked values into a frozen dataclass."""
    for name, value in values.items():
        object.__setattr__(schedule, name, value)


@dataclass(frozen=True)
class Constant:
    """``f = 1``: the rate stays as it is.

    Examples
    --------
    >>> Constant()(3.5, 10)
    1.0
    """

    def __call__(self, epoch: float, epochs: float) -> float:
        return 1.0


@dataclass(frozen=True)
class StepDecay:
    """``f = factor^floor(e / every)``: the rate falls in steps. As torch.optim.lr_scheduler.StepLR.

    Parameters
    ----------
    factor : float, default=0.1
        What a step leaves of the rate, from 0 to 1.
    every : int, default=30
        After how many epochs there is a step.

    Raises
    ------
    ValueError
        If a setting is not of this kind; as in all schedules.

    Examples
    --------
    >>> [StepDecay(0.5, every=10)(epoch, 30) for epoch in (0, 9.9, 10, 25)]
    [1.0, 1.0, 0.5, 0.25]
    """

    factor: float = 0.1
    every: int = 30

    def __post_init__(self) -> None:
        every = whole_number(self.every, "StepDecay: every", at_least=1)
        _keep(self, factor=fraction(self.factor, "StepDecay: factor", one=True), every=every)

    def __call__(self, epoch: float, epochs: float) -> float:
        return float(self.factor ** (epoch // self.every))


@dataclass(frozen=True)
class ExponentialDecay:
    """``f = factor^e``: the rate falls by the same part in every epoch.

    As torch.optim.lr_scheduler.ExponentialLR at whole epochs; within an epoch it falls too.

    Parameters
    ----------
    factor : float, default=0.95
        What an epoch leaves of the rate, from 0 to 1.

    Examples
    --------
    >>> [ExponentialDecay(0.25)(epoch, 2) for epoch in (0, 0.5, 1)]
    [1.0, 0.5, 0.25]
    """

    factor: float = 0.95

    def __post_init__(self) -> None:
        _keep(self, factor=fraction(self.factor, "ExponentialDecay: factor", one=True))

    def __call__(self, epoch: float, epochs: float) -> float:
        return float(self.factor**epoch)


@dataclass(frozen=True)
class InverseTime:
    """``f = 1 / (1 + decay e)``.

    Rates that fall like 1 / e are those for which Robbins and Monro prove that stochastic gradient descent arrives.

    Parameters
    ----------
    decay : float, default=1.0
        After ``1 / decay`` epochs the rate is halved.

    References
    ----------
    Robbins, Monro: A stochastic approximation method. Annals of Mathematical Statistics 22, 1951.

    Examples
    --------
    >>> [InverseTime()(epoch, 4) for epoch in (0, 1, 3)]
    [1.0, 0.5, 0.25]
    """

    decay: float = 1.0

    def __post_init__(self) -> None:
        _keep(self, decay=not_negative(self.decay, "InverseTime: decay"))

    def __call__(self, epoch: float, epochs: float) -> float:
        return 1 / (1 + self.decay * epoch)


@dataclass(frozen=True)
class Cosine:
    """``f = end + (1 - end) (1 + cos(pi e / E)) / 2``: from 1 to `end` along half a cosine.

    After E epochs it stays at `end`; so it does from the start if E is 0. As torch.optim.lr_scheduler.CosineAnnealingLR
    with T_max = E, which goes up again after E epochs.

    Parameters
    ----------
    end : float, default=0.0
        Where it ends; not negative.

    References
    ----------
    Loshchilov, Hutter: SGDR: stochastic gradient descent with warm restarts. ICLR 2017.

    Examples
    --------
    >>> [round(Cosine(end=0.1)(epoch, 10), 3) for epoch in (0, 5, 10, 11)]
    [1.0, 0.55, 0.1, 0.1]
    """

    end: float = 0.0

    def __post_init__(self) -> None:
        _keep(self, end=not_negative(self.end, "Cosine: end"))

    def __call__(self, epoch: float, epochs: float) -> float:
        if epoch >= epochs:
            return self.end
        return self.end + (1 - self.end) * (1 + math.cos(math.pi * epoch / epochs)) / 2


@dataclass(frozen=True)
class WarmUp:
    """``f = start + (1 - start) e / over`` while e < over, then ``then(e - over, E - over)``, or 1.

    The first step is not lost: it is taken at `start`, in a training on full batches in the epochs 0, 1, 2, ... too.
    PyTorch's LinearLR does the same (its start_factor is 1/3 unless set, and must not be 0). In the schedules of
    transformers, and in Keras unless set otherwise, the rate of the first step is 0, and nothing is learned in it:
    ``start=0`` does so here.

    Parameters
    ----------
    over : float, default=5
        For how many epochs the rate rises; 0 for none.
    then : schedule, optional
        What follows, as if the training began there: ``WarmUp(5, Cosine())``. If it has methods `fit_begin` and
        `epoch_end`, they are called during the warm-up too.
    start : float, default=0.1
        Where it starts, from 0 to 1.

    References
    ----------
    Goyal et al.: Accurate, large minibatch SGD: training ImageNet in 1 hour. arXiv:1706.02677, 2017.

    Examples
    --------
    >>> [round(WarmUp(4, Cosine())(epoch, 14), 3) for epoch in (0, 2, 4, 9, 14)]
    [0.1, 0.55, 1.0, 0.5, 0.0]
    """

    over: float = 5
    then: Schedule | None = None
    start: float = 0.1

    def __post_init__(self) -> None:
        if self.then is not None and (isinstance(self.then, type) or not callable(self.then)):
            advice = f"; write {self.then.__name__}()" if isinstance(self.then, type) else ""
            raise ValueError(
                f"WarmUp: then must be a schedule, a function of epoch and epochs, or None, got {self.then!r}{advice}"
            )
        over = not_negative(self.over, "WarmUp: over")
        _keep(self, over=over, start=fraction(self.start, "WarmUp: start", one=True))

    def __call__(self, epoch: float, epochs: float) -> float:
        if epoch < self.over:
            return self.start + (1 - self.start) * epoch / self.over
        return 1.0 if self.then is None else self.then(epoch - self.over, epochs - self.over)

    def fit_begin(self, training: Any) -> None:
        """Tell the schedule that follows, if it wants to know."""
        tell = getattr(self.then, "fit_begin", None)
        if tell is not None:
            tell(training)

    def epoch_end(self, training: Any) -> None:
        """Tell the schedule that follows, if it wants to know."""
        tell = getattr(self.then, "epoch_end", None)
        if tell is not None:
            tell(training)

    def state(self, training: Any) -> Any:
        """Return what the schedule that follows remembers, None for nothing."""
        ask = getattr(self.then, "state", None)
        return None if ask is None else ask(training)

    def restore(self, training: Any, state: Any) -> None:
        """Give the schedule that follows what it remembered."""
        getattr(self.then, "restore")(training, state)  # noqa: B009 - any callable may be a schedule; this one has it


@dataclass(eq=False)
class Plateau:
    """``f = max(factor f, minimum)`` whenever a loss has not fallen for more than `patience` epochs.

    A loss has fallen if it is below ``(1 - threshold)`` times the lowest so far; nan has not. It must not be negative.
    As torch.optim.lr_scheduler.ReduceLROnPlateau in its modes "min" and "rel". What was seen is kept here, so two
    trainings at the same time need one each; every training begins at 1.

    Parameters
    ----------
    factor : float, default=0.1
        What is left of the rate, at least 0 and below 1.
    patience : int, default=10
        How many epochs in a row may pass without the loss falling; the next one lowers the rate.
    threshold : float, default=1e-4
        By which part the loss must fall to count, at least 0 and below 1.
    cooldown : int, default=0
        For how many epochs after the rate was lowered no epoch counts as one without the loss falling.
    minimum : float, default=0.0
        The smallest factor, from 0 to 1.
    monitor : str, optional
        Which loss of the history is watched; by default "validation_loss" if there is one, else "loss".

    Examples
    --------
    >>> schedule = Plateau(0.5, patience=1)
    >>> schedule(0, 10)
    1.0
    """

    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    cooldown: int = 0
    minimum: float = 0.0
    monitor: str | None = None
    _present: float = field(default=1.0, init=False, repr=False)
    _best: float = field(default=math.inf, init=False, repr=False)
    # Epochs in a row without the loss falling, and how many are still not counted.
    _bad: int = field(default=0, init=False, repr=False)
    _resting: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        self.factor = fraction(self.factor, "Plateau: factor")
        self.patience = whole_number(self.patience, "Plateau: patience", at_least=0)
        self.threshold = fraction(self.threshold, "Plateau: threshold")
        self.cooldown = whole_number(self.cooldown, "Plateau: cooldown", at_least=0)
        self.minimum = fraction(self.minimum, "Plateau: minimum", one=True)
        if self.monitor is not None and not isinstance(self.monitor, str):
            raise ValueError(
                f"Plateau: monitor must be None or the name of a loss in the history, got {self.monitor!r}"
            )

    def __call__(self, epoch: float, epochs: float) -> float:
        return self._present

    def fit_begin(self, training: Any) -> None:
        """Forget what was seen: the factor is 1 again."""
        self._present, self._best, self._bad, self._resting = 1.0, math.inf, 0, 0

    def state(self, training: Any) -> Any:
        """Return what was seen."""
        return self._present, self._best, self._bad, self._resting

    def restore(self, training: Any, state: Any) -> None:
        """Take what was seen."""
        present, best, bad, resting = state
        self._present, self._best = not_negative(present, "the factor"), float(best)
        self._bad, self._resting = whole_number(bad, "bad", 0), whole_number(resting, "resting", 0)

    def epoch_end(self, training: Any) -> None:
        """Look at the loss of the epoch that ends: ``training.history.last(monitor)``.

        Raises
        ------
        ValueError
            If the history has nothing of that name.
        """
        history = training.history
        monitor = self.monitor
        if monitor is None:
            monitor = "validation_loss" if "validation_loss" in history else "loss"
        if monitor not in history:
            raise ValueError(f"Plateau: monitor must be one of {', '.join(history)}, got {monitor!r}")
        loss = history.last(monitor)
        fell = loss < self._best * (1 - self.threshold)
        if fell:
            self._best = loss
        self._bad = 0 if fell or self._resting else self._bad + 1
        self._resting = max(self._resting - 1, 0)
        if self._bad > self.patience:
            self._present = max(self.factor * self._present, self.minimum)
            self._bad, self._resting = 0, self.cooldown
