"""Reading a model from a file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nngraph.model import Model
from nngraph.storage.decoding import Decoder, known
from nngraph.storage.file import path_of
from nngraph.storage.reading import read_file


def load(path: Any, gates: Iterable[Any] = ()) -> Model:
    """Return the model that `Model.save` or a `Checkpoint` has written.

    No code of the file's runs, and nothing is imported by its word: gates are nngraph's, or given here.

    Parameters
    ----------
    path : str or path
        The file.
    gates : sequence, default=()
        The classes (or instances) of gates of your own that the model has, and the functions that its `Random` nodes
        draw with; they are found by their names. Their settings are those of the file; no `__init__` of theirs is
        called.

    Returns
    -------
    model : Model
        Equal to the saved one to the byte, and it goes on training so.

    Raises
    ------
    StorageError
        If it is no such file, has another version, is damaged, or has a gate or a function that is not given.
    OSError
        If it cannot be read.
    ValueError
        If `gates` has something else than gates and functions, or two of one name.
    """
    named, file = known(gates), path_of(path, "path")
    content = read_file(file)
    decoder = Decoder(content.arrays, named, file)
    return decoder.guard(lambda: Model.decoded(decoder, content.record("model")))
