"""What a file is: texts and arrays in the safetensors format, with a digest; see docs/file-format.md."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gates.arrays import Array

FORMAT, VERSION = "nngraph", "1"

# A header has some 150 bytes per node; it is parsed into memory, so that a file must not have any length of it.
HEADER_LIMIT = 32 * 2**20

DTYPES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
    "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "BOOL", "complex64": "C64",
}  # fmt: skip


class StorageError(ValueError):
    """A file is not what it should be, or something cannot be written into one; nothing was changed."""


def text_of(record: Any) -> str:
    """Return a record as a JSON text."""
    return json.dumps(record, separators=(",", ":"), allow_nan=False)


def path_of(path: Any, what: str) -> Path:
    """Return a path; raise ValueError if it is none."""
    try:
        return Path(path)
    except TypeError:
        raise ValueError(f"{what} must be a path, a str or a pathlib.Path, got {path!r}") from None


def raw(array: Array) -> Array:
    """Return the bytes of an array, the first index slowest, each number with its smallest byte first."""
    array = np.ascontiguousarray(array)
    return array.astype(array.dtype.newbyteorder("<"), copy=False).reshape(-1).view(np.uint8)


def digest(texts: Mapping[str, str], tensors: Mapping[str, tuple[Mapping[str, Any], Any]]) -> str:
    """Return BLAKE2b-256 of all texts but "digest", and of every tensor: name, dtype, shape and bytes, as hex."""
    found = hashlib.blake2b(digest_size=32)
    for name in sorted(texts):
        if name != "digest":
            found.update(json.dumps([name, texts[name]]).encode() + b"\n")
    for name in sorted(tensors):
        entry, data = tensors[name]
        found.update(json.dumps([name, entry["dtype"], entry["shape"]]).encode() + b"\n")
        found.update(data)
    return found.hexdigest()
