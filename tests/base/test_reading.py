"""Files of others: bounded before they are read, regular files only, one clear error each, and nothing executed."""

from __future__ import annotations

import ast
import gzip
import io
import json
import os
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers.sources import FILES, ROOT, nodes_of

from sim.base import reading
from sim.base.errors import InputError
from sim.cli import main

MIB = reading.MIB


def message(call, *arguments) -> str:
    with pytest.raises(InputError) as refused:
        call(*arguments)
    return str(refused.value)


def peak_bytes(call, *arguments) -> int:
    tracemalloc.start()
    message(call, *arguments)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_a_device_a_fifo_a_folder_and_a_loop_of_links_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("fifo", "zero", "loop", ".", "none"):
        for read in (reading.read_text, reading.read_json, reading.read_toml, reading.read_arrays):
            assert str(tmp_path) in message(read, tmp_path / name)


def test_a_bomb_of_gzip_is_refused_before_it_fills_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(reading.LIMIT_VARIABLE, "1")
    (tmp_path / "bomb.csv.gz").write_bytes(gzip.compress(b"a,b\n" * (16 * MIB)))
    assert "CARAT_MAX_FILE_MIB" in message(reading.read_text, tmp_path / "bomb.csv.gz")
    assert peak_bytes(reading.read_text, tmp_path / "bomb.csv.gz") < 4 * MIB
    two = gzip.compress(b"one\n") + gzip.compress(b"two\n")
    (tmp_path / "members.gz").write_bytes(two)
    assert reading.read_text(tmp_path / "members.gz") == "one\ntwo\n"
    (tmp_path / "cut.gz").write_bytes(two[:-6])
    assert "ends early" in message(reading.read_text, tmp_path / "cut.gz")


def test_a_text_beyond_the_limit_is_refused_by_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "sparse.json").open("wb") as file:
        file.truncate(reading.TEXT_BYTES + 1)
    assert peak_bytes(reading.read_json, tmp_path / "sparse.json") < MIB
    monkeypatch.setenv(reading.LIMIT_VARIABLE, "0")
    assert "at least 1" in message(reading.read_json, tmp_path / "sparse.json")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 200_000, "nested too deeply"),
        ("9" * 5000, "too many digits"),
        ('{"a": 1, "a": 2}', "more than once in one object: 'a'"),
        ("{", "line 1, column 2"),
        ("x" * 100_000, "not JSON"),
    ],
)
def test_json_that_cannot_be_read(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "x.json").write_text(text)
    refused = message(reading.read_json, tmp_path / "x.json")
    assert said in refused
    assert len(refused) < len(str(tmp_path)) + 300


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = " + "[" * 100_000, "nested too deeply"),
        ("a = " + "9" * 5000, "too many digits"),
        ("a = 1\nb = ,", "line 2"),
    ],
)
def test_toml_that_cannot_be_read(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "x.toml").write_text(text)
    assert said in message(reading.read_toml, tmp_path / "x.toml")


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert reading.read_json(tmp_path / "x") == {"a": 1}
    (tmp_path / "x").write_bytes(b"\xef\xbb\xbfa = 1")
    assert reading.read_toml(tmp_path / "x") == {"a": 1}


def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6).reshape(2, 3), "b": np.zeros((0, 4), np.float32)}
    np.savez_compressed(tmp_path / "x.npz", **arrays)
    np.save(tmp_path / "x.npy", arrays["a"])
    found = reading.read_arrays(tmp_path / "x.npz")
    assert all((found[name] == array).all() and found[name].dtype == array.dtype for name, array in arrays.items())
    assert (reading.read_arrays(tmp_path / "x.npy")[""] == arrays["a"]).all()


def npy(header: str) -> bytes:
    """A .npy stream with a header of one's own and 8 bytes of data."""
    text = header.encode().ljust(118, b" ") + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(8)


@pytest.mark.parametrize(
    "content",
    [
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000), }"),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }"),
        npy("__import__('os').abort()"),
        b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + bytes(100),
        b"PK\x03\x04 not a zip",
        b"nothing",
        b"",
    ],
)
def test_arrays_that_cannot_be_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", content)
    for name in ("x.npy", "x.npz"):
        assert peak_bytes(reading.read_arrays, tmp_path / name) < MIB


def test_a_bomb_of_arrays_is_refused_by_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(reading.LIMIT_VARIABLE, "1")
    np.savez_compressed(tmp_path / "x.npz", a=np.zeros(4 * MIB, np.int8))
    assert peak_bytes(reading.read_arrays, tmp_path / "x.npz") < MIB


@pytest.mark.parametrize("name", ["/dev/zero", "../../etc/passwd", "a/b", "..", "", "a\0b", "a\\b", 7, None])
def test_a_name_in_a_file_stays_in_its_folder(tmp_path: Path, name: object) -> None:
    assert "index.json" in message(reading.inside, tmp_path, name, "index.json")


def test_a_plain_name_is_taken(tmp_path: Path) -> None:
    assert reading.inside(tmp_path, "model-1.safetensors", "index.json") == tmp_path / "model-1.safetensors"


def test_pickles_are_data_that_is_refused(tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (ran.touch, ())

    stream = io.BytesIO()
    np.save(stream, np.array([Evil()], dtype=object), allow_pickle=True)
    (tmp_path / "x.npy").write_bytes(stream.getvalue())
    assert "objects" in message(reading.read_arrays, tmp_path / "x.npy")
    assert not ran.exists()


def test_the_limits_hold_what_ships() -> None:
    largest = max(path.stat().st_size for path in (Path(__file__).parents[1] / "oracle").rglob("*.*"))
    assert 10 * largest < reading.TEXT_BYTES


OWN = {
    "sim/base/reading.py": "the door",
    "sim/base/workers.py": "files of the system: limits of a container",
    "sim/base/version.py": "our own sources",
    "sim/core/__init__.py": "our own sources",
    "sim/core/jit.py": "our own sources",
    "sim/core/kept.py": "our own compiled code, in a folder that is ours alone",
    "sim/core/compiling.py": "a lock of our own",
    "sim/core/linked.py": "our own compiled code",
    "sim/core/linking.py": "our own compiled code",
    "sim/timing/disk.py": "our own cache, and our own sources",
    "sim/functional/quantization/kept.py": "our own cache, and our own sources",
    "sim/studies/exhibit.py": "a file that ships",
    "sim/cli/infer/prepare.py": "a file that ships",
    "reports/page/render.py": "files that ship",
    "sim/cpu/record.py": "what the recorded program wrote into a folder of ours",
    "sim/run/serving.py": "it writes",
    "sim/cli/__init__.py": "the null device",
    "workloads/onnx/reading.py": "weights beside a model, behind `regular` and `beside`",
}
"""Files that read without the door, and what they read."""


def test_files_of_others_are_read_through_the_door_alone() -> None:
    """A device, a FIFO or a bomb is refused by whatever command is given it, since one function opens files."""
    ours = [path for path in FILES if path.relative_to(ROOT).parts[0] in ("sim", "workloads", "reports")]
    reads = (path for path in ours if any(isinstance(node, ast.Call) and _reads(node) for node in nodes_of(path)))
    found = {str(path.relative_to(ROOT)) for path in reads}
    assert found - set(OWN) == set()
    assert set(OWN) - found == set(), "an exception that is none any more"


def _reads(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    of = call.func.value.id if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name) else ""
    if name in ("read_csv", "read_parquet", "read_json") and of == "pd":
        return not (call.args and isinstance(call.args[0], ast.Call))  # of text that the door has read
    if name in ("read_text", "read_bytes"):
        return isinstance(call.func, ast.Attribute)
    if name == "open":
        return of not in ("place", "webbrowser", "members", "archive")
    return (of, name) in (("np", "load"), ("json", "load"), ("tomllib", "load"), ("np", "fromfile"), ("np", "memmap"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
@pytest.mark.parametrize(
    "words",
    [
        ["infer", "FOLDER", "--tokens", "1,2"],
        ["infer", "FOLDER", "--sentences", "FILE.txt"],
        ["plot", "gantt", "FILE.json", "-o", "x.png"],
        ["plot", "tornado", "FILE.csv", "-o", "x.png"],
        ["record", "FILE.c", "-o", "x.csv"],
        ["report", "FOLDER", "-o", "x.html"],
        ["run", "FILE.csv"],
        ["run", "FILE.json"],
        ["replay", "FILE.csv"],
        ["validate", "--measurements", "FILE.csv"],
    ],
    ids=" ".join,
)
def test_a_fifo_is_refused_by_every_command_that_reads(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FOLDER").mkdir()
    for name in ("FILE.txt", "FILE.json", "FILE.csv", "FILE.c", "FOLDER/config.json", "FOLDER/run.json"):
        os.mkfifo(name)
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert capsys.readouterr().err


def test_a_file_of_weights_outside_the_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    config = {"model_type": "bert", "vocab_size": 100, "max_position_embeddings": 64, "type_vocab_size": 2, **sizes}
    (tmp_path / "config.json").write_text(json.dumps(config))
    for name in ("../weights.safetensors", "/dev/zero", "..", "", "a/b"):
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"word": name}}))
        with pytest.raises(SystemExit):
            main(["infer", str(tmp_path), "--tokens", "1,2"])
        assert "must be the plain name of a file" in capsys.readouterr().err
