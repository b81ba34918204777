"""One file: texts and arrays in the safetensors format, written whole or not at all, read within bounds.

The format is described in docs/file-format.md.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gates.arrays import Array

# There are locks of this kind on Unix only.
_fcntl: Any = importlib.import_module("fcntl") if os.name == "posix" else None

FORMAT, VERSION = "nngraph", "1"

# A header has some 150 bytes per node; it is parsed into memory, so that a file must not have any length of it.
HEADER_LIMIT = 32 * 2**20
# How deep brackets may stand in brackets, in the header and in the texts.
DEPTH_LIMIT = 100
# Of how many characters brackets are counted at once.
BLOCK = 2**20

DTYPES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
    "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "BOOL", "complex64": "C64",
}  # fmt: skip

# Whole strings, to their ends or the text's; what stands in them opens nothing.
_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)

ADVICE = {
    errno.ENOSPC: "free some space, or take another folder",
    errno.EDQUOT: "free some space, or take another folder",
    errno.EFBIG: "take a file system or a limit for larger files",
    errno.ENOENT: "make the folder first",
    errno.ENOTDIR: "a part of the path is a file, take another path",
    errno.EISDIR: "a folder is there, give the path of a file",
    errno.EINVAL: "a device or a pipe is there, give the path of a file",
    errno.EACCES: "take a folder that you may write to",
    errno.EPERM: "take a folder that you may write to",
    errno.EROFS: "take a folder that you may write to",
}


class StorageError(ValueError):
    """A file is not what it should be, or something cannot be written into one; nothing was changed."""


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


def text_of(record: Any) -> str:
    """Return a record as a JSON text."""
    return json.dumps(record, separators=(",", ":"), allow_nan=False)


def path_of(path: Any, what: str) -> Path:
    """Return a path; raise ValueError if it is none."""
    try:
        return Path(path)
    except TypeError:
        raise ValueError(f"{what} must be a path, a str or a pathlib.Path, got {path!r}") from None


# --- Writing ---------------------------------------------------------------------------------------------------------


def write_file(path: Path, texts: Mapping[str, str], arrays: Mapping[str, Array]) -> None:
    """Write a file beside the place, then put it there: at any moment the old file is there or the new one, whole.

    Raises
    ------
    StorageError
        If the header would be too long to be read again.
    OSError
        If it cannot be written: what was there before is still there.
    """
    data = {name: _bytes(array) for name, array in arrays.items()}
    header = _header(texts, arrays, data)
    target = check_place(path)
    with _told(path):
        _put(target, [len(header).to_bytes(8, "little"), header, *(data[name] for name in _order(arrays))])
    _settle(target.parent)


def check_place(path: Path) -> Path:
    """Return where a file is put; raise OSError if none can be there: a folder, a device or a pipe is not replaced."""
    with _told(path):
        # A link stays, and what it leads to is replaced.
        target = Path(os.path.realpath(path))
        try:
            mode = target.stat().st_mode
        except FileNotFoundError:
            # Raises if there is no such folder either.
            target.parent.stat()
        else:
            if not stat.S_ISREG(mode):
                number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
                raise OSError(number, os.strerror(number))
    return target


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say of an OSError what failed, what is left, and what to do."""
    try:
        yield
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        advice = ADVICE.get(error.errno or 0)
        what = f"{path} could not be written ({why}); what was there before is untouched"
        raise OSError(error.errno, f"{what}{f'; {advice}' if advice else ''}") from error


def _bytes(array: Array) -> Array:
    """Return the bytes of an array, the first index slowest, each number with its smallest byte first."""
    array = np.ascontiguousarray(array)
    return array.astype(array.dtype.newbyteorder("<"), copy=False).reshape(-1).view(np.uint8)


def _order(arrays: Mapping[str, Array]) -> list[str]:
    """Return the names in the order of the file: the largest items first, so that each array is aligned."""
    return sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))


def _header(texts: Mapping[str, str], arrays: Mapping[str, Array], data: Mapping[str, Array]) -> bytes:
    # Not by the library, which writes the texts in another order each time: so one model gives one file.
    metadata = {"format": FORMAT, "version": VERSION, **texts}
    tensors: dict[str, Any] = {}
    end = 0
    for name in _order(arrays):
        start, end = end, end + data[name].size
        array = arrays[name]
        tensors[name] = {
            "dtype": DTYPES[array.dtype.name], "shape": list(array.shape), "data_offsets": [start, end],
        }  # fmt: skip
    metadata["digest"] = digest(metadata, {name: (tensors[name], data[name]) for name in tensors})
    header = json.dumps({"__metadata__": metadata, **tensors}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    if len(header) > HEADER_LIMIT:
        raise StorageError(
            f"the description of the model has {len(header)} bytes, more than the {HEADER_LIMIT} that a file may have; "
            "large arrays among the settings of gates are stored as such, long lists of numbers are not: use arrays"
        )
    return header


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


def _put(target: Path, parts: list[Any]) -> None:
    """Write parts into a new file beside the target, to the disk, and rename it; if that fails, nothing is left."""
    beside = target.with_name(f"{_prefix(target.name)}.{secrets.token_hex(8)}.partial")
    try:
        with _made(beside) as file:
            with contextlib.suppress(FileNotFoundError):
                # Who may read the old file may read the new one.
                os.chmod(beside, stat.S_IMODE(target.stat().st_mode))  # noqa: PTH101 - one family of calls, open to fsync
            for part in parts:
                rest = memoryview(part)
                while rest.nbytes:
                    rest = rest[os.write(file, rest) :]
            os.fsync(file)
            if _fcntl is not None:
                # As long as it is locked.
                os.replace(beside, target)  # noqa: PTH105 - the same
        if _fcntl is None:
            # Windows renames no open file.
            os.replace(beside, target)  # noqa: PTH105 - the same
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)  # noqa: PTH108 - the same
        raise


@contextlib.contextmanager
def _made(path: Path) -> Iterator[int]:
    """Open a new file, with a lock for as long as it is open."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    # Swept away before it was locked, it is made anew.
    while True:
        file = os.open(path, flags, 0o666)
        try:
            _lock(file, wait=True)
            if os.fstat(file).st_nlink:
                yield file
                return
        finally:
            os.close(file)


def _prefix(name: str) -> str:
    # Not all of a long name: there is a limit to the length.
    return f".{name[:40]}"


def _lock(file: int, *, wait: bool) -> bool:
    """Lock an open file until it is closed, by whatever end of the process; return whether that was possible."""
    if _fcntl is None:
        return False
    try:
        _fcntl.flock(file, _fcntl.LOCK_EX | (0 if wait else _fcntl.LOCK_NB))
    except OSError:
        # Somebody else has it, or the file system knows no locks: then nothing is swept away.
        return False
    return True


def sweep(target: Path) -> None:
    """Delete what killed processes left beside a target, half written; "{epoch}" in its name is any number.

    A process that writes holds a lock, and loses it only with its end: so what can be locked is nobody's.
    """
    target = Path(os.path.realpath(target))
    prefix = re.escape(_prefix(target.name.split("{epoch}")[0]))
    pattern = re.compile(prefix + r".*\.[0-9a-f]{16}\.partial")
    # That something is left over is no reason to fail.
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(target.parent)):
            if pattern.fullmatch(entry.name):
                with contextlib.suppress(OSError), _opened(entry.path) as file:
                    if _lock(file, wait=False):
                        os.unlink(entry.path)  # noqa: PTH108 - one family of calls


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[int]:
    file = os.open(path, os.O_RDONLY)
    try:
        yield file
    finally:
        os.close(file)


def _settle(folder: Path) -> None:
    """Have the new name in a folder written to the disk, where there is such a thing."""
    if os.name != "posix":
        return
    try:
        with _opened(folder) as file:
            os.fsync(file)
    except OSError as error:
        # Some network file systems have none for folders.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            what = f"the file is in {folder}, but whether it would survive a power cut is unknown"
            raise OSError(error.errno, f"{what} ({os.strerror(error.errno or 0)})") from error


# --- Reading ---------------------------------------------------------------------------------------------------------


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
    found = {name: (entries.get(name), _bytes(array)) for name, array in tensors.items()}
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
