"""Files of others: bounded before they are read, regular files only, one clear error each, and nothing executed."""

from __future__ import annotations

import gzip
import io
import os
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from sim.base import reading
from sim.base.errors import InputError

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
