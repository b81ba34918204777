"""Files that were damaged or made up, and what becomes of them: ``python -m tests.damage COUNT SEED FOLDER``.

It runs within bounds of memory and time, prints how many files did what, and fails if one loads wrongly.
"""

from __future__ import annotations

import collections
import json
import random
import resource
import struct
import sys
import warnings
from pathlib import Path

import numpy as np

import nngraph
from gates import LeakyReLU, Softmax
from nngraph import BatchNorm, Dense, Dropout, Model, StorageError
from nngraph.callbacks import Checkpoint, EarlyStopping
from nngraph.storage.file import digest

MEMORY, SECONDS_EACH = 3 * 2**30, 0.5
X, Y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2


def net():
    """Return a net with something of everything."""
    layers = [3, Dense(4, LeakyReLU(0.3)), BatchNorm(), Dropout(0.2), 2]
    return Model(layers, output=Softmax(class_weight={0: 1.0, 1: 2.0}), random_state=0)


def stopping():
    return EarlyStopping(5, monitor="loss")


def originals(folder):
    """Write a model and a checkpoint."""
    net().save(folder / "model")
    net().fit(X, Y, epochs=2, callbacks=[stopping(), Checkpoint(folder / "checkpoint")], progress=False)
    return [folder / "model", folder / "checkpoint"]


def split(data):
    """Return the header of a file, parsed, and what follows it."""
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header, rest):
    """Return a file of a header, as JSON or as bytes, and what follows it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + rest


def sealed(header, rest):
    """Return a file with a digest that is right, as somebody would who means harm."""
    try:
        tensors = {
            name: (entry, rest[slice(*entry["data_offsets"])])
            for name, entry in header.items()
            if name != "__metadata__"
        }
        header["__metadata__"]["digest"] = digest(header["__metadata__"], tensors)
    except (KeyError, TypeError, AttributeError, ValueError):
        pass
    return joined(header, rest)


# --- Accidents: bytes ------------------------------------------------------------------------------------------------


def truncated(data, rng):
    return data[: rng.randrange(len(data))]


def flipped(data, rng):
    found = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 8, 100])):
        found[rng.randrange(len(found))] ^= 1 << rng.randrange(8)
    return bytes(found)


def flipped_in_the_header(data, rng):
    found = bytearray(data)
    found[rng.randrange(8 + struct.unpack("<Q", data[:8])[0])] ^= 1 << rng.randrange(8)
    return bytes(found)


def inserted(data, rng):
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.randbytes(rng.choice([1, 8, 1000])) + data[at:]


def cut_out(data, rng):
    at = rng.randrange(len(data))
    return data[:at] + data[at + rng.choice([1, 8, 512]) :]


def zeroed(data, rng):
    at = rng.randrange(len(data))
    length = min(rng.choice([8, 512, 4096]), len(data) - at)
    return data[:at] + bytes(length) + data[at + length :]


def swapped(data, rng):
    a, b = sorted(rng.randrange(len(data) - 64) for _ in range(2))
    return data[:a] + data[b : b + 64] + data[a + 64 : b] + data[a : a + 64] + data[b + 64 :] if b > a + 64 else data


def length_lies(data, rng):
    lies = [
        0,
        1,
        2,
        7,
        len(data),
        len(data) - 8,
        len(data) - 7,
        2**31,
        2**32,
        2**63 - 1,
        2**63,
        2**64 - 1,
        rng.randrange(2**64),
    ]
    return struct.pack("<Q", rng.choice(lies)) + data[8:]


def header_not_text(data, rng):
    header, rest = split(data)
    text = bytearray(json.dumps(header).encode())
    at = rng.randrange(len(text))
    text[at : at + rng.randrange(2)] = rng.choice([b"\xff", b"\xc3\x28", b"\x00", b"\xed\xa0\x80", b"\xf8\x88"])
    return joined(bytes(text), rest)


# --- Lies: headers that are edited, with and without a digest that is right -------------------------------------------


def tensor_lies(data, rng):
    """Shapes, offsets and dtypes that are not so: too large, negative, overlapping, of other types."""
    header, rest = split(data)
    names = [name for name in header if name != "__metadata__"]
    entry = header[rng.choice(names)]
    numbers = [-1, 0, 1, 2**31, 2**62, 2**63, 2**64, 10**30, 1.5, "1", None, [], True, rng.randrange(1000)]
    what = rng.randrange(6)
    if what == 0:
        entry["shape"] = [rng.choice(numbers) for _ in range(rng.randrange(4))]
    elif what == 1:
        entry["shape"] = [rng.choice([0, 1])] * rng.choice([10, 33, 65, 1000])
    elif what == 2:
        entry["data_offsets"] = [rng.choice(numbers) for _ in range(rng.choice([0, 1, 2, 2, 2, 3]))]
    elif what == 3:
        entry["data_offsets"] = header[rng.choice(names)]["data_offsets"]
    elif what == 4:
        entry["dtype"] = rng.choice(
            ["F64", "F32", "BF16", "F8_E4M3", "I64", "BOOL", "C64", "O", "|O", "<f8", "", 3, None]
        )
    else:
        del entry[rng.choice(list(entry))]
    return rng.choice([joined, sealed])(header, rest)


def names_lie(data, rng):
    """Names as paths, as keys of the format, doubled, missing."""
    header, rest = split(data)
    old = rng.choice(list(header))
    new = rng.choice(["../../etc/passwd", "/tmp/x", "", "__metadata__", "\0", "con", "__class__", "W1", "x" * 10_000])  # noqa: S108 - a name
    text = json.dumps({**header}).encode()
    if rng.random() < 0.3:
        # The same name twice, with other contents.
        return joined(
            b'{"' + old.encode() + b'":' + json.dumps(rng.choice(list(header.values()))).encode() + b"," + text[1:],
            rest,
        )
    header[new] = header.pop(old)
    return rng.choice([joined, sealed])(header, rest)


def metadata_lie(data, rng):
    """Another format, version or digest; texts that are none."""
    header, rest = split(data)
    texts = header["__metadata__"]
    name = rng.choice([*texts, "more"])
    texts[name] = rng.choice(
        ["", "2", "1.0", "nngraph", "pt", "0" * 64, "[" * 100_000, "{}", "[]", "null", "NaN", 3, None, {}, []]
    )
    if rng.random() < 0.2:
        header["__metadata__"] = rng.choice([None, [], "x", {}, 3])
    return rng.choice([joined, sealed])(header, rest)


def deep(data, rng):
    """Brackets in brackets."""
    header, rest = split(data)
    depth = rng.choice([50, 99, 101, 127, 129, 1000, 100_000])
    opening, closing = rng.choice([("[", "]"), ('{"a":', "}"), ('{"tuple":[', "]}"), ('{"gate":{"settings":', "}}")])
    text = opening * depth + ("1" + closing * depth if rng.random() < 0.5 else "")
    if rng.random() < 0.3:
        return joined(text.encode(), rest)
    header["__metadata__"][rng.choice(["model", "training"])] = text
    return sealed(header, rest)


VALUES = [
    None, True, False, -1, 0, 1, 2**31, 2**63, 10**400, 1e308, -0.0, "", "x", "__import__", "os.system", "../x", [], {},
    [[]], {"array": "W1"}, {"columns": "W1"}, {"array": "../W1"}, {"array": []}, {"float": "nan"}, {"float": "x"},
    {"tuple": 3},
    {"dict": [[1]]}, {"dict": [[[], 1]]}, {"dict": [[1, 1], [1, 2]]}, {"slice": []}, {"scalar": ["float64", "00"]},
    {"scalar": ["object", "0000000000000000"]}, {"scalar": ["float64", "000000000000f87f"]}, {"dtype": "object"},
    {"type": "eval"},
    {"gate": {"class": "Tanh", "ours": True, "settings": {}}},
    {"gate": {"class": "eval", "ours": True, "settings": {}}},
    {"class": "SliceGate", "ours": True, "settings": {"index": {"ellipsis": None}}},
    {"class": "Gate", "ours": True, "settings": {}}, {"class": "Model", "ours": False, "settings": {}},
    {"class": "Huber", "ours": True, "settings": {"delta": {"float": "nan"}, "reduction": "mean"}},
    {"class": "Softmax", "ours": True, "settings": {"class_weight": [{"float": "nan"}, 1.0], "reduction": "mean"}},
    {"a": 1, "b": 2}, {"exec": "print(1)"}, "\ud800", [1] * 1000,
]  # fmt: skip


def places(thing, found=None):
    """Return every place in a JSON value: its container and key."""
    found = [] if found is None else found
    for key in thing if isinstance(thing, dict) else range(len(thing)) if isinstance(thing, list) else ():
        found.append((thing, key))
        places(thing[key], found)
    return found


def forged(data, rng):
    """Other things in the description of the model or the training, with a digest that is right."""
    header, rest = split(data)
    texts = header["__metadata__"]
    name = rng.choice([name for name in ("model", "training") if name in texts])
    record = json.loads(texts[name])
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        spots = places(record)
        if not spots:
            break
        thing, key = rng.choice(spots)
        what = rng.random()
        if what < 0.15:
            del thing[key]
        elif what < 0.3:
            other, where = rng.choice(spots)
            if where in other if isinstance(other, dict) else where < len(other):
                thing[key] = json.loads(json.dumps(other[where]))
        elif what < 0.45 and isinstance(thing[key], int | float):
            thing[key] += rng.choice([-1, 1, 0.5, 1000, -(10**6)])
        else:
            thing[key] = json.loads(json.dumps(rng.choice(VALUES)))
    texts[name] = json.dumps(record)
    return sealed(header, rest)


ACCIDENTS = [
    truncated, flipped, flipped, flipped_in_the_header, flipped_in_the_header, inserted, cut_out, zeroed, swapped,
    length_lies, header_not_text,
]  # fmt: skip
LIES = [tensor_lies, names_lie, metadata_lie, deep, forged, forged, forged]


def contents(model):
    """Return all that a model is."""
    state = model._random.bit_generator.state if hasattr(model._random, "bit_generator") else model._random.get_state()
    values = {name: value.tobytes() for name, value in model.parameters.items()}
    gates = [repr(node.gate) for node in model.graph.nodes]
    averages = [node.value.tobytes() for node in model.graph.running]
    return repr((values, gates, model.graph.names, averages, repr(model.output), model.engine, model._width, state))


def outcome(path, expected, honest):
    """Load a file, and resume from it; say what came of it, and raise what must not come."""
    found = ""
    try:
        loaded = nngraph.load(path)
    except StorageError as error:
        found, message = "refused", str(error)
    if found == "refused":
        assert message.startswith(str(path)), message
        assert len(message) < 2000, message
    else:
        if honest:
            assert contents(loaded) == expected, "it loads, and is not what was saved"
        # What was made up may be another model, but it is a whole one.
        loaded.save(path.with_name("again"))
        found = "the same" if contents(loaded) == expected else "another model"
    model = net()
    before = contents(model)
    try:
        model.fit(X, Y, epochs=3, callbacks=[stopping()], resume=path, progress=False)
    except StorageError:
        assert contents(model) == before, "it was refused, and has changed the model"
    except (nngraph.DivergenceError, MemoryError):
        assert not honest
    else:
        found += ", resumed"
        if honest:
            assert contents(model) == RESUMED[0], "it was resumed, and is not what it would have been"
    return found


RESUMED: list[str] = []


def main(count, seed, folder):
    """Damage and load so many files."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    seconds = 30 + int(SECONDS_EACH * count)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    warnings.simplefilter("ignore")
    files = [path.read_bytes() for path in originals(folder)]
    expected = [contents(nngraph.load(folder / name)) for name in ("model", "checkpoint")]
    model = net()
    model.fit(X, Y, epochs=3, callbacks=[stopping()], resume=folder / "checkpoint", progress=False)
    RESUMED.append(contents(model))
    path, counts = folder / "damaged", collections.Counter()
    for i in range(count):
        rng = random.Random(f"{seed} {i}")  # noqa: S311 - no secret
        which, kinds = rng.randrange(2), rng.choice([ACCIDENTS, LIES])
        kind = rng.choice(kinds)
        data = kind(files[which], rng)
        path.write_bytes(data)
        # An edited header, sealed anew, is another file, and may be read as such.
        honest = kinds is ACCIDENTS
        try:
            counts[f"{kind.__name__}: {outcome(path, expected[which], honest)}"] += 1
        except BaseException:
            print(f"file {i} of seed {seed}, {kind.__name__}", file=sys.stderr)
            raise
    for line in sorted(counts.items()):
        print(*line)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
