"""How a model goes into a file, and how it comes out of one."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from gates.losses import OutputGate
from nngraph.graph import Graph
from nngraph.storage.decoding import Decoder, losses_of
from nngraph.storage.encoding import Encoder
from nngraph.storage.file import path_of, text_of
from nngraph.storage.generators import generator_of, state_of
from nngraph.storage.graphs import decode_graph, encode_graph
from nngraph.storage.writing import sweep, write_file
from nngraph.trained import TrainedModel


class StoredModel(TrainedModel):
    """What `Model` has for files; see there for the attributes."""

    output: OutputGate
    _scorer: Graph
    _width: int | None

    def save(self, path: Any) -> None:
        """Write the model into a file, from which `nngraph.load` makes it again, to the byte.

        The file has the architecture, the parameters, the running averages, the settings of all gates, `loss_history`,
        and the state of the model's generator, so that the loaded model goes on training as this one would. It is in
        the safetensors format, see docs/file-format.md.

        Parameters
        ----------
        path : str or path
            The file; one that is there is replaced: at any moment there is the old one or the new one, whole.

        Raises
        ------
        StorageError
            If something cannot be stored, such as a gate with a function among its attributes; nothing is written.
        OSError
            If the file cannot be written; what was there before is untouched.
        """
        target, encoder = path_of(path, "path"), Encoder()
        write_file(target, {"model": text_of(self.encoded(encoder))}, encoder.arrays)
        sweep(target)

    def encoded(self, encoder: Encoder) -> dict[str, Any]:
        """Return what the model is, as JSON can say it; the arrays are left with the encoder."""
        return {
            **encode_graph(encoder, self._scorer),
            "output": encoder.gate(self.output, "the output"),
            "engine": self.engine,
            "width": self._width,
            "loss_history": encoder.array(np.array(self.loss_history, np.float64), "loss_history", "loss_history"),
            "random": encoder.value(state_of(self._random), "the model's generator"),
        }

    @classmethod
    def decoded(cls, decoder: Decoder, record: Any) -> Self:
        """Make a model of what `encoded` returned."""
        record = decoder.fields(record, "output", "engine", "width", "loss_history", "random")
        # A Model's constructor knows nodes; the types of it are those of the subclass.
        make: Any = cls
        model: Self = make(
            decode_graph(decoder, record),
            output=decoder.gate(record["output"]),
            engine=record["engine"],
            random_state=generator_of(decoder.value(record["random"])),
        )
        width = record["width"]
        if not (width is None or (type(width) is int and width > 0)):
            raise decoder.bad(f"the width must be a positive integer or null, got {str(width)[:100]}")
        model._width, model.loss_history = width, losses_of(decoder, record["loss_history"])
        return model
