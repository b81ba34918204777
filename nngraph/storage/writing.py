"""Writing a file whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import importlib
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gates.arrays import Array
from nngraph.storage.file import DTYPES, FORMAT, HEADER_LIMIT, VERSION, StorageError, digest, raw

# There are locks of this kind on Unix only.
_fcntl: Any = importlib.import_module("fcntl") if os.name == "posix" else None

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


def write_file(path: Path, texts: Mapping[str, str], arrays: Mapping[str, Array]) -> None:
    """Write a file beside the place, then put it there: at any moment the old file is there or the new one, whole.

    Raises
    ------
    StorageError
        If the header would be too long to be read again.
    OSError
        If it cannot be written: what was there before is still there.
    """
    data = {name: raw(array) for name, array in arrays.items()}
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
