"""Files as such: written whole or not at all, whatever fails; and read with care, whatever is in them."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import nngraph
from gates import Huber
from nngraph import Dense, Dropout, Input, Model, Parameter, Random, StorageError
from nngraph.callbacks import Checkpoint
from nngraph.storage import writing
from nngraph.storage.file import DTYPES, HEADER_LIMIT
from nngraph.storage.reading import read_file
from nngraph.storage.writing import write_file
from tests import damage
from tests.test_storage import Holder, everything, listed, noise

ROOT = Path(__file__).parents[1]
# 10,000 damaged files and 1,000 kills were tried by hand.
DAMAGED = int(os.environ.get("NNGRAPH_DAMAGED_FILES", "400"))
KILLS = int(os.environ.get("NNGRAPH_KILLS", "20"))


def model(seed=0):
    return Model([4, 3, 2], random_state=seed)


def run(module, *arguments):
    """Run a module of the tests in a process of its own; give back what it printed."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - our own code
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# --- Whatever happens ------------------------------------------------------------------------------------------------


def test_damaged_and_forged_files(tmp_path):
    """None loads wrongly, crashes, or takes more than its share of memory and time; a refusal changes nothing."""
    printed = run("tests.damage", DAMAGED, 0, tmp_path)
    counts = [int(line.split()[-1]) for line in printed.splitlines()]
    assert sum(counts) == DAMAGED
    # All kinds were there, and most were refused.
    assert {line.split(":")[0] for line in printed.splitlines()} == {
        kind.__name__ for kind in (*damage.ACCIDENTS, *damage.LIES)
    }
    assert sum(n for line, n in zip(printed.splitlines(), counts, strict=True) if "refused" in line) > 0.8 * DAMAGED


def test_kills(tmp_path):
    """A training that is killed while it writes loses nothing, and goes on to the byte."""
    assert run("tests.kills", KILLS, 0, tmp_path).endswith("nothing is lost\n")


# --- Writing ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def old(tmp_path):
    """Return the file of a model in a folder of its own."""
    model().save(tmp_path / "model")
    return tmp_path / "model"


FAILURES = [
    ("open", errno.EACCES, "take a folder that you may write to"),
    ("open", errno.EROFS, "take a folder that you may write to"),
    ("open", errno.EMFILE, "Too many open files"),
    ("write", errno.ENOSPC, "free some space, or take another folder"),
    ("write", errno.EDQUOT, "free some space"),
    ("write", errno.EIO, "Input/output error"),
    ("fsync", errno.EIO, "Input/output error"),
    ("fsync", errno.ENOSPC, "free some space"),
    ("fstat", errno.EIO, "Input/output error"),
    ("replace", errno.EACCES, "take a folder"),
    ("replace", errno.EXDEV, "Invalid cross-device link"),
]


@pytest.mark.parametrize(("call", "number", "advice"), FAILURES)
@pytest.mark.parametrize("after", [0, 1])
def test_what_the_system_refuses(call, number, advice, after, old, monkeypatch):
    """An error of the kernel is kept, says what is left and what to do; the old file is there, nothing beside it."""
    before, calls, real = old.read_bytes(), [], getattr(os, call)

    def fail(*arguments):
        calls.append(call)
        # A disk may be full after some bytes.
        if call == "write" and after and len(calls) == 1:
            return real(arguments[0], arguments[1][:100])
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match=re.escape(advice)) as caught:
        model(1).save(old)
    monkeypatch.undo()
    assert caught.value.errno == number
    assert f"{old} could not be written ({os.strerror(number)}); what was there before is untouched" in str(
        caught.value
    )
    assert old.read_bytes() == before
    assert listed(old.parent) == ["model"]


@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace", "fstat"])
def test_ctrl_c_while_writing(call, old, monkeypatch):
    """An interrupt leaves the old file, and nothing beside it."""
    before = old.read_bytes()
    monkeypatch.setattr(os, call, lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        model(1).save(old)
    monkeypatch.undo()
    assert old.read_bytes() == before
    assert listed(old.parent) == ["model"]


def test_a_limit_of_the_system(old):
    """A real limit on the size of files, reached in the midst of writing."""
    code = (
        "import errno, resource, signal, sys, numpy as np; from nngraph import Model\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "try:\n    Model([40, 30, 2]).save(sys.argv[1])\n"
        "except OSError as error:\n    print(error.errno == errno.EFBIG, error)\n"
    )
    before = old.read_bytes()
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code, old], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("True")
    assert "what was there before is untouched; take a file system or a limit for larger files" in done.stdout
    assert old.read_bytes() == before
    assert listed(old.parent) == ["model"]


def test_places_where_no_file_can_be(old):
    """A folder, a missing one, a file in the place of one, a pipe, a device, a circle of links."""
    folder = old.parent
    (folder / "sub").mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "circle").symlink_to(folder / "circle")
    places = [
        ("sub", IsADirectoryError, "a folder is there, give the path of a file"),
        (".", IsADirectoryError, "a folder is there"),
        ("no/model", FileNotFoundError, "make the folder first"),
        ("model/model", NotADirectoryError, "a part of the path is a file, take another path"),
        ("pipe", OSError, "a device or a pipe is there"),
        ("/dev/null", OSError, "a device or a pipe is there"),
        ("circle", OSError, "could not be written"),
        ("x" * 300, OSError, "could not be written"),
    ]
    before = listed(folder)
    for place, error, advice in places:
        with pytest.raises(error, match=advice):
            model().save(folder / place)
    assert listed(folder) == before
    assert listed(folder / "sub") == []


def test_a_checkpoint_that_cannot_be_written_ends_the_training(old, monkeypatch):
    """The error says so, and the checkpoint before is whole."""
    net, real, count = model(), os.replace, []

    def fail(*arguments):
        count.append(1)
        if len(count) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(*arguments)

    monkeypatch.setattr(os, "replace", fail)
    X = np.random.default_rng(0).normal(size=(9, 4))
    with pytest.raises(OSError, match="No space left on device"):
        net.fit(X, [0, 1, 1] * 3, epochs=5, callbacks=[Checkpoint(old)], progress=False)
    monkeypatch.undo()
    other = model()
    other.fit(X, [0, 1, 1] * 3, epochs=2, progress=False)
    # As after any error in a callback, the model has the weights of that epoch's beginning.
    assert everything(nngraph.load(old)) == everything(other)
    assert net.W[0].tobytes() == other.W[0].tobytes()
    assert listed(old.parent) == ["model"]


def test_where_folders_are_not_written_to_the_disk(old, monkeypatch):
    """Some file systems know no fsync of a folder; another error is told."""
    real = os.fsync
    for number in (errno.EINVAL, errno.EIO):
        calls = []

        def fail(file, number=number, calls=calls):
            calls.append(file)
            if len(calls) == 2:
                raise OSError(number, os.strerror(number))
            real(file)

        monkeypatch.setattr(os, "fsync", fail)
        if number == errno.EINVAL:
            model(1).save(old)
        else:
            with pytest.raises(OSError, match="whether it would survive a power cut is unknown"):
                model(2).save(old)
        assert len(calls) == 2
        monkeypatch.setattr(os, "fsync", real)
    assert everything(nngraph.load(old)) == everything(model(2))


def test_what_killed_processes_left_is_swept_away(old):
    """Half-written files of this name that nobody holds; those of others, and those that are being written, stay."""
    left = old.with_name(".model.0123456789abcdef.partial")
    held = old.with_name(".model.aaaaaaaaaaaaaaaa.partial")
    others = [
        old.with_name(name) for name in (".other.0123456789abcdef.partial", ".model.partial", ".model.0123.partial")
    ]
    for path in (left, held, *others):
        path.write_text("half")
    with held.open() as file:
        writing._lock(file.fileno(), wait=True)
        model().save(old)
        assert not left.exists()
        assert held.exists()
    model().save(old)
    assert not held.exists()
    assert all(other.exists() for other in others)
    for name in ("at 3.x", "at 12.x", "by 3.x"):
        old.with_name(f".{name}.0123456789abcdef.partial").write_text("half")
    writing.sweep(old.with_name("at {epoch}.x"))
    assert [name for name in listed(old.parent) if name.endswith(".x.0123456789abcdef.partial")] == [
        ".by 3.x.0123456789abcdef.partial"
    ]


def test_a_file_that_is_swept_away_before_it_is_locked(old, monkeypatch):
    """Then another one is begun."""
    real, count = writing._lock, []

    def slow(file, *, wait):
        count.append(file)
        if len(count) == 1:
            (partial,) = [path for path in old.parent.iterdir() if path.suffix == ".partial"]
            partial.unlink()
        return real(file, wait=wait)

    monkeypatch.setattr(writing, "_lock", slow)
    model(1).save(old)
    assert everything(nngraph.load(old)) == everything(model(1))
    assert listed(old.parent) == ["model"]


def test_without_locks(old, monkeypatch):
    """Where there are none, files are written all the same, and nothing is swept away."""
    left = old.with_name(".model.0123456789abcdef.partial")
    left.write_text("half")
    monkeypatch.setattr(writing, "_fcntl", None)
    model(1).save(old)
    assert everything(nngraph.load(old)) == everything(model(1))
    assert left.exists()


def test_two_that_write_to_one_path(old):
    """Each has a file of its own beside; the one that comes last is left, whole."""
    code = (
        "import sys; from nngraph import Model\n"
        "m = Model([40, 30, 2], random_state=int(sys.argv[2]))\n"
        "for _ in range(100):\n    m.save(sys.argv[1])\n"
    )
    ones = [
        subprocess.Popen([sys.executable, "-c", code, old, str(i)])  # noqa: S603 - our own code
        for i in range(2)
    ]
    assert [one.wait() for one in ones] == [0, 0]
    expected = [Model([40, 30, 2], random_state=i).W[0].tobytes() for i in range(2)]
    assert nngraph.load(old).W[0].tobytes() in expected
    assert listed(old.parent) == ["model"]


# --- Reading ---------------------------------------------------------------------------------------------------------


def refused(path, message, **options):
    """See that a file is refused, with its path."""
    with pytest.raises(StorageError, match=message) as caught:
        nngraph.load(path, **options)
    assert str(caught.value).startswith(f"{path}: ")
    return caught.value


def test_what_is_no_file_of_ours(tmp_path):
    """Nothing, little, text, another safetensors file, a pipe, a device, a folder, none."""
    path = tmp_path / "file"
    for data in (b"", b"1234567", b"hello, hello", b"\0" * 8, b"\0" * 100, b"PK\3\4" + b"x" * 100):
        path.write_bytes(data)
        refused(
            path, "is no file of nngraph, or a damaged one: its first 8 bytes, the length of its header, do not fit"
        )
    path.write_bytes(damage.joined({"W": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}}, bytes(8)))
    refused(path, 'its header has no "format": "nngraph"; Model.save and Checkpoint write such files')
    path.write_bytes(damage.joined({"__metadata__": {"format": "pt"}}, b""))
    refused(path, 'its header has no "format": "nngraph"')
    path.unlink()
    os.mkfifo(path)
    refused(path, "is no regular file, but a pipe or a device")
    refused(Path("/dev/zero"), "is no regular file")
    with pytest.raises(IsADirectoryError):
        nngraph.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        nngraph.load(tmp_path / "nothing")


def edited(path, edit, *, seal=True):
    """Edit the header of a file, and give it a digest that is right."""
    header, rest = damage.split(path.read_bytes())
    edit(header)
    path.write_bytes((damage.sealed if seal else damage.joined)(header, rest))


def test_another_version(old):
    """It says which, and what to do."""
    edited(old, lambda header: header["__metadata__"].update(version="2"))
    refused(
        old, "has version '2' of the format, and this nngraph reads '1'; take the nngraph that wrote it, or a newer one"
    )


@pytest.mark.parametrize("place", ["a weight", "a text", "the digest"])
def test_a_flipped_bit(place, old):
    """It is found, wherever it makes a difference."""
    data = old.read_bytes()
    at = {
        "a weight": len(data) - 1,
        "a text": data.index(b"MultiplyGate"),
        "the digest": data.index(b'"digest":"') + 12,
    }
    flipped = bytearray(data)
    flipped[at[place]] ^= 1
    old.write_bytes(flipped)
    refused(old, "is damaged: what is in it is not what was written, as its digest says; take another copy of it")


def test_every_bit_of_a_small_file(tmp_path):
    """Whichever bit is flipped, the file is refused, or it is the same model: there are spaces at the header's end."""
    path = tmp_path / "model"
    X = Input("X")
    small = Model(X @ Parameter(np.ones((1, 2), np.float32), "W"), random_state=0)
    small.save(path)
    data, expected, same = path.read_bytes(), everything(small), 0
    # Every byte, and of each one bit: all eight take a minute.
    rng = random.Random(0)  # noqa: S311 - no secret
    for at in range(len(data)):
        flipped = bytearray(data)
        flipped[at] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        try:
            loaded = nngraph.load(path)
        except StorageError:
            continue
        assert everything(loaded) == expected
        same += 1
    assert same < 16


def settings_of(header, kind):
    """Return the description of a model, and the settings of a gate of a kind in it."""
    record = json.loads(header["__metadata__"]["model"])
    gates = [*record["gates"], record["output"]]
    return record, next(gate["settings"] for gate in gates if gate["class"] == kind)


HOSTILE = [
    (
        "Softmax",
        {"class_weight": {"dict": [[0, {"float": "nan"}]]}},
        "Softmax: class_weight must be finite and not negative",
    ),
    ("Softmax", {"reduction": "max"}, "reduction must be 'mean', 'batchmean' or 'sum', got 'max'"),
    ("Softmax", {"more": 1}, "no Softmax has the settings"),
    ("Tanh", {"slope": 1}, "no Tanh has the settings"),
]


@pytest.mark.parametrize(("kind", "change", "message"), HOSTILE)
def test_settings_that_no_gate_has(kind, change, message, old):
    """The constructors of our gates look at what a file says."""

    def edit(header):
        record, settings = settings_of(header, kind)
        settings.update(change)
        header["__metadata__"]["model"] = json.dumps(record)

    edited(old, edit)
    refused(old, message)


@pytest.mark.parametrize("setting", [{"float": "nan"}, {"float": "inf"}, 0, -1, "1", None, [1]])
def test_a_setting_that_is_no_such_number(setting, tmp_path):
    """The same for a number."""
    path = tmp_path / "model"
    Model([4, 2], output=Huber(2.0)).save(path)

    def edit(header):
        record, settings = settings_of(header, "Huber")
        settings["delta"] = setting
        header["__metadata__"]["model"] = json.dumps(record)

    edited(path, edit)
    refused(path, "Huber: delta must be finite and positive")


POSITIONS = [
    (np.random.MT19937, "pos", 625), (np.random.MT19937, "pos", 10**6), (np.random.MT19937, "pos", -1),
    (np.random.Philox, "buffer_pos", 5), (np.random.Philox, "buffer_pos", -(10**6)),
    (np.random.SFC64, "has_uint32", "x"), (np.random.PCG64, "state", -1), (np.random.PCG64, "inc", 2**200),
    (np.random.SFC64, "uinteger", 2**40),
    (np.random.MT19937, "key", [1, 2, 3]), (np.random.PCG64, "bit_generator", "os"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "name", "value"), POSITIONS)
def test_states_of_generators_that_there_are_not(kind, name, value, tmp_path):
    """NumPy would read foreign memory at some of them."""
    path = tmp_path / "model"
    Model([4, 2], random_state=np.random.Generator(kind(0))).save(path)

    def change(pairs):
        for pair in pairs:
            if pair[0] == name and not isinstance(pair[1], dict):
                pair[1] = value
            elif isinstance(pair[1], dict) and "dict" in pair[1]:
                change(pair[1]["dict"])
            elif pair[0] == name:
                pair[1] = value

    def edit(header):
        record = json.loads(header["__metadata__"]["model"])
        change(record["random"]["dict"])
        header["__metadata__"]["model"] = json.dumps(record)

    edited(path, edit)
    refused(path, "state of a generator")


def test_a_graph_that_is_none(old):
    """A circle, a missing node, two of one name, no input, two kinds of numbers, and so on."""
    data = old.read_bytes()

    def change(edit, message):
        def in_header(header):
            record = json.loads(header["__metadata__"]["model"])
            edit(record)
            header["__metadata__"]["model"] = json.dumps(record)

        old.write_bytes(data)
        edited(old, in_header)
        refused(old, message)

    change(lambda r: r["nodes"][2].update(inputs=[2, 1]), "there is no number 2 of 2")
    change(lambda r: r["nodes"][2].update(inputs=[-1, 1]), "there is no number -1")
    change(lambda r: r["nodes"][2].update(inputs=[True, 1]), "there is no number True")
    change(lambda r: r["nodes"][2].update(inputs=[0]), "MultiplyGate takes 2 inputs")
    change(lambda r: r["nodes"][2].update(gate=99), "there is no number 99")
    change(lambda r: r["nodes"][0].update(name="X"), "two nodes are called 'X'")
    change(lambda r: r["nodes"][0].update(name=3), "a node's name must be a string")
    change(
        lambda r: r["nodes"][1].update(kind="Constant", value={"array": "loss_history"}, is_number=False), "one Input"
    )
    change(lambda r: r["nodes"][1].update(kind="Model"), "there is no kind of node 'Model'")
    change(lambda r: r["nodes"][1].update(integers=1), "integers must be true or false")
    change(lambda r: r["nodes"][0].update(value={"array": "W9"}), "there is no array 'W9'")
    change(lambda r: r["nodes"][0].update(value=1.0), "expected a record")
    change(lambda r: r["nodes"][0].update(value={"array": "b1"}), "the array 'b1' stands in two places")
    change(lambda r: r.update(nodes=[]), "expected lists of gates and nodes")
    change(lambda r: r.update(output=r["gates"][0]), "the output must be an instance of OutputGate")
    change(lambda r: r.update(engine="cuda"), "engine must be 'numpy' or 'graph', got 'cuda'")
    change(lambda r: r.update(width=0), "the width must be a positive integer or null")
    change(lambda r: r.update(loss_history=[1.0]), "expected a record")
    change(lambda r: r.pop("random"), "expected a record with output, engine, width, loss_history, random")
    change(lambda r: r["output"].update({"class": "Gate"}), "'Gate' is no gate of nngraph; was it saved by a newer one")


@pytest.mark.parametrize("losses", [np.zeros((2, 2)), np.zeros(2, np.float32), np.array(1.0)])
def test_a_loss_history_that_is_none(losses, old):
    """It is a vector of float64."""
    content = read_file(old)
    write_file(old, {"model": content.texts["model"]}, {**content.arrays, "loss_history": losses})
    refused(old, "the loss history must be a vector of float64")


def test_draws_that_a_file_makes_up(tmp_path):
    """A rate that is none, and a gate in the place of a function."""
    path, X = tmp_path / "model", Input("x")
    Model([4, Dropout(0.3), 2]).save(path)
    data = path.read_bytes()
    for rate in ({"float": "nan"}, 1.0, -0.1, "0.5", None):
        path.write_bytes(data)
        edited(path, lambda h, rate=rate: h["__metadata__"].update(
            model=h["__metadata__"]["model"].replace('"dropout":0.3', f'"dropout":{json.dumps(rate)}')))  # fmt: skip
        refused(path, "the rate of a Dropout must be")
    Model((X + Random(noise, like=X)) @ Parameter(np.ones((4, 2)))).save(path)

    class Drawn(Holder):
        pass

    Drawn.__name__ = "noise"
    refused(path, "'noise' is to be a function, and in gates=.* it is a class", gates=[Drawn])
    Model([4, Dense(3, Drawn(1)), 2]).save(path)
    refused(path, "'noise' is no gate of nngraph", gates=[noise])


BOMBS = {
    "brackets": lambda n: b"[" * n,
    "pairs of brackets": lambda n: b"[" + b"[]," * (n // 3) + b"[]]",
    "objects": lambda n: b'{"a":' * (n // 5),
    "quotes": lambda n: b'"' * n,
    "escapes": lambda n: b'"' + b'\\"' * (n // 2),
    "backslashes": lambda n: b'"' + b"\\" * n,
    "digits": lambda n: b"9" * n,
    "numbers": lambda n: b"[" + b"1," * (n // 2) + b"1]",
    "numbers of 4,000 digits": lambda n: b"[" + (b"9" * 4000 + b",") * (n // 4001) + b"1]",
    "exponents": lambda n: b"[" + b"1e999," * (n // 6) + b"1]",
    "names": lambda n: b"{" + b",".join(b'"%d":{}' % i for i in range(n // 12)) + b"}",
    "one name": lambda n: b"{" + b",".join([b'"a":1'] * (n // 6)) + b"}",
    "spaces": lambda n: b" " * n,
    "zeros": bytes,
}


def main_of_bombs(folder):
    """Load headers as long as they may be, within bounds of memory and time."""
    resource = __import__("resource")
    resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
    for name, make in BOMBS.items():
        for where in ("header", "text"):
            text = make(HEADER_LIMIT // 8 if where == "header" else HEADER_LIMIT // 20)
            path = folder / "bomb"
            if where == "text":
                metadata = {"format": "nngraph", "version": "1", "model": text.decode()}
                path.write_bytes(damage.sealed({"__metadata__": metadata}, b""))
            else:
                path.write_bytes(damage.joined(text, b""))
            tracemalloc.start()
            try:
                nngraph.load(path)
            except StorageError:
                print(name, where, tracemalloc.get_traced_memory()[1] / path.stat().st_size)
            tracemalloc.stop()


def test_headers_as_long_as_they_may_be(tmp_path):
    """They are refused in memory and time that go with their length."""
    printed = run("tests.test_storage_files", tmp_path).splitlines()
    assert len(printed) == 2 * len(BOMBS)
    for line in printed:
        # An empty object has 64 bytes in Python, and some 200 with its name.
        assert float(line.split()[-1]) < 60, line


def test_a_header_that_is_too_long(tmp_path):
    """It is not even read."""
    path = tmp_path / "model"
    with path.open("wb") as file:
        file.write((HEADER_LIMIT + 1).to_bytes(8, "little"))
        file.truncate(HEADER_LIMIT * 2)
    tracemalloc.start()
    refused(path, f"its header has {HEADER_LIMIT + 1} bytes, more than {HEADER_LIMIT}")
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_texts_and_arrays_alone(tmp_path):
    """What is written is read: all dtypes, shapes without and with zeros, and any text."""
    rng = np.random.default_rng(0)
    arrays = {
        f"{name} {shape}": (rng.random(shape) * 100).astype(name)
        for name in DTYPES
        for shape in ((), (0,), (3, 0, 2), (5,), (2, 3), (1, 1, 1, 7))
    }
    arrays |= {"strided": np.arange(12.0)[::2], "columns": np.arange(6.0).reshape(2, 3).T}
    texts = {"model": '\0\\"{}[]\u00e9\U0001f600', "": ""}
    write_file(tmp_path / "file", texts, arrays)
    content = read_file(tmp_path / "file")
    assert {name: content.texts[name] for name in texts} == texts
    for name, array in arrays.items():
        assert content.arrays[name].dtype == array.dtype
        assert content.arrays[name].shape == array.shape
        assert content.arrays[name].tobytes() == array.tobytes()


if __name__ == "__main__":
    main_of_bombs(Path(sys.argv[1]))
