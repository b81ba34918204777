"""Reading a file within bounds, whatever is in it."""

from __future__ import annotations

import importlib
import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gates.arrays import Array
from nngraph.storage.file import FORMAT, HEADER_LIMIT, VERSION, StorageError, digest, raw

# How deep brackets may stand in brackets, in the header and in the texts.
DEPTH_LIMIT = 100
# Of how many characters brackets are counted at once.
BLOCK = 2**20

# Whole strings, to their ends or the text's; what stands in them opens nothing.
_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)


@dataclass(frozen=True)
class Content:
    """What is in a file: texts by name, and arrays by name, which are read-only."""

    path: Path
    texts: Mapping[str, str]
    arrays: Mapping[str, Array]

    def record(self, name: str) -> Any:
        """Return a text as the JSON that it is."""
        if name not in self.texts:
            raise _foreign(self.path, f"it has no {name!r}")
        return parse(self.texts[name].encode("utf-8", "surrogatepass"), self.path, f"its {name!r}")


def read_file(path: Path) -> Content:
    """Read a file; memory and time are bounded by its size.

    Raises
    ------
    StorageError
        If it is no file of ours, of another version, or damaged.
    OSError
        If it cannot be read.
    """
    if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
        raise StorageError(f"{path}: is no regular file, but a pipe or a device")
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or not 2 <= length <= size - 8:
            raise _foreign(path, f"its first 8 bytes, the length of its header, do not fit its size of {size} bytes")
        if length > HEADER_LIMIT:
            raise _foreign(path, f"its header has {length} bytes, more than {HEADER_LIMIT}")
        header = file.read(length)
        entries = parse(header, path, "its header")
        texts = _texts(entries, path)
        file.seek(0)
        data = file.read(size)
    tensors = _tensors(data, path)
    found = {name: (entries.get(name), raw(array)) for name, array in tensors.items()}
    if len(found) != len(entries) - 1 or not all(isinstance(entry, dict) for entry, _ in found.values()):
        raise _foreign(path, "its header is read in two ways")
    if texts.get("digest") != digest(texts, {name: (entry or {}, part) for name, (entry, part) in found.items()}):
        raise StorageError(
            f"{path}: is damaged: what is in it is not what was written, as its digest says; take another copy of it"
        )
    return Content(path, texts, tensors)


def _foreign(path: Path, why: str) -> StorageError:
    return StorageError(
        f"{path}: is no file of nngraph, or a damaged one: {why}; Model.save and Checkpoint write such files"
    )


def parse(text: bytes, path: Path, what: str) -> Any:
    """Return what a JSON text says; raise StorageError if it is none, is too deep, or says a thing twice."""
    brackets, depth = np.frombuffer(_STRINGS.sub(b"", text), np.uint8), 0
    for start in range(0, len(brackets), BLOCK):
        part = brackets[start : start + BLOCK]
        steps = np.isin(part, (ord("["), ord("{"))).astype(np.int64) - np.isin(part, (ord("]"), ord("}")))
        depths = depth + np.cumsum(steps)
        if depths.max() > DEPTH_LIMIT:
            raise _foreign(path, f"{what} has more than {DEPTH_LIMIT} brackets in each other")
        depth = depths[-1]
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise _foreign(path, f"{what} is not JSON ({error!s:.300})") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in an object")
    return found


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _texts(entries: Any, path: Path) -> dict[str, str]:
    """Return the texts of a header, if it is one of ours and of this version."""
    texts = entries.get("__metadata__") if isinstance(entries, dict) else None
    if not isinstance(texts, dict) or texts.get("format") != FORMAT:
        raise _foreign(path, 'its header has no "format": "nngraph"')
    if texts.get("version") != VERSION:
        raise StorageError(
            f"{path}: has version {texts.get('version')!r:.40} of the format, and this nngraph reads {VERSION!r}; "
            "take the nngraph that wrote it, or a newer one"
        )
    if not all(isinstance(text, str) for text in texts.values()):
        raise _foreign(path, "its metadata are not all strings")
    return texts


def _tensors(data: bytes, path: Path) -> Mapping[str, Array]:
    """Return the arrays, as the library reads them: it checks that they lie side by side and fill the file."""
    # Loaded when it is needed: who saves nothing need not wait for it.
    library, arrays = importlib.import_module("safetensors"), importlib.import_module("safetensors.numpy")
    try:
        found: Mapping[str, Array] = arrays.load(data)
    except (library.SafetensorError, ValueError, KeyError) as error:
        raise _foreign(path, f"its arrays are not as its header says ({error!s:.300})") from error
    return found
