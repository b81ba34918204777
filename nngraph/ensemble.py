"""Several models as one: their predictions averaged."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from gates.arrays import Array
from gates.contract import GateError
from nngraph.history import History
from nngraph.model import Model
from nngraph.validation import drawing


class Ensemble:
    """The mean of what models predict: of their probabilities (a soft vote) if they give them, else of their values.

    Parameters
    ----------
    models : sequence of Model
        With outputs of one kind; with weights of their own, ``Model(..., random_state=k)`` for different k.

    Attributes
    ----------
    models : list of Model

    Raises
    ------
    ValueError
        If they are no models, one stands there twice, or their outputs differ.

    References
    ----------
    Hansen, Salamon: Neural network ensembles. IEEE Transactions on Pattern Analysis and Machine Intelligence 12, 1990.

    Examples
    --------
    >>> from nngraph import Ensemble, Model
    >>> from nngraph.optimizers import Adam
    >>> X, y = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 1, 1, 1]
    >>> ensemble = Ensemble([Model([2, 4, 2], random_state=k) for k in range(3)])
    >>> histories = ensemble.fit(X, y, epochs=100, optimizer=Adam(0.1), n_jobs=2)
    >>> ensemble.predict(X)
    array([0, 1, 1, 1])
    """

    def __init__(self, models: Sequence[Model]) -> None:
        if not isinstance(models, Sequence) or not models:
            raise ValueError(f"an Ensemble needs a list of one or more models, got {models!r}")
        for model in models:
            if not isinstance(model, Model):
                raise ValueError(f"an Ensemble is made of models, got {model!r}")
        if len({id(model) for model in models}) < len(models):
            raise ValueError("a model stands in the Ensemble twice; make as many as there are to be")
        kinds = {type(model.output) for model in models}
        if len(kinds) > 1:
            names = ", ".join(sorted(kind.__name__ for kind in kinds))
            raise ValueError(f"the models of an Ensemble must have outputs of one kind, got {names}")
        self.models = list(models)

    def __repr__(self) -> str:
        return f"<Ensemble of {len(self.models)} models, the first {self.models[0]!r}>"

    def fit(
        self, X: Any, y: Any, *, n_jobs: int | None = None, random_state: Any = None, **options: Any
    ) -> list[History]:
        """Train every model on the same examples, several at a time in processes of their own.

        Callbacks are copied into the processes: read the histories, not the callbacks.

        Parameters
        ----------
        X, y
            As in `Model.fit`.
        n_jobs : int, optional
            How many at a time, -1 for as many as there are processors; by default one after the other, here. See
            joblib's documentation.
        random_state : int, RandomState, Generator or None, default=None
            Where each model's own generator is drawn from; None for the one that it has.
        **options
            As in `Model.fit`, the same for all.

        Returns
        -------
        histories : list of History
            One for each model.

        Raises
        ------
        Exception
            What `Model.fit` raises; the models are then as they were, or trained.
        """
        rngs: list[Any] = [None] * len(self.models)
        if random_state is not None:
            rngs = list(drawing(random_state).spawn(len(self.models)))
        alone = n_jobs in (None, 1)
        options = {"progress": alone, **options}
        if alone:
            pairs = zip(self.models, rngs, strict=True)
            return [model.fit(X, y, random_state=rng, **options) for model, rng in pairs]
        # Loaded when it is needed, as it takes long.
        joblib = importlib.import_module("joblib")
        tasks = [
            joblib.delayed(_fitted)(model, X, y, {**options, "random_state": rng})
            for model, rng in zip(self.models, rngs, strict=True)
        ]
        found = joblib.Parallel(n_jobs=n_jobs)(tasks)
        for model, (trained, _) in zip(self.models, found, strict=True):
            model.adopt(trained)
        return [history for _, history in found]

    def predict_proba(self, X: Any) -> Array:
        """Return the mean of the models' probabilities; parameters, result and errors are `Model.predict_proba`'s."""
        return _mean([model.predict_proba(X) for model in self.models])

    def predict(self, X: Any) -> Array:
        """Predict what the mean of the probabilities says; without probabilities, the mean of the values.

        Parameters and result are `Model.predict`'s.
        """
        predictions = [model.predict(X) for model in self.models]
        try:
            probabilities = self.predict_proba(X)
        except GateError:
            if predictions[0].dtype.kind != "f":
                raise
            return _mean(predictions)
        if predictions[0].shape == probabilities.shape:
            # Every column is a decision of its own.
            return (probabilities > 0.5).astype(predictions[0].dtype)
        labels: Array = probabilities.argmax(axis=-1)
        return labels


def _fitted(model: Model, X: Any, y: Any, options: dict[str, Any]) -> tuple[Model, History]:
    """Train a model in a process of its own, and send it back."""
    history = model.fit(X, y, **options)
    return model, history


def _mean(arrays: Sequence[Array]) -> Array:
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1:
        raise ValueError(f"the models of an Ensemble must predict arrays of one shape, got {sorted(shapes)}")
    mean: Array = np.mean(arrays, axis=0)
    return mean
