"""Read input files: regular files of bounded size, as text, JSON, expanded gzip or arrays.

Every function raises InputError that names the file, the fault and the rule. Sizes are checked before reading: a
device, a FIFO or a file that expands beyond its limit is refused. `LIMIT_VARIABLE` raises the limits.
"""

from __future__ import annotations

import json
import os
import stat
import tomllib
import zlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.base.errors import InputError
from sim.base.numbers import exact

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MIB = 1 << 20
TEXT_BYTES = 256 * MIB
"""Largest text in bytes, stored or expanded: the largest measured table has 12 MiB, a graph of 16,000 operators 10."""
ARRAY_BYTES = 4096 * MIB
"""Largest sum of the arrays of one file in bytes: the masks of a model of 4 G weights, a byte each."""
HEADER_BYTES = 10_000
"""Longest header of a .npy array in bytes: numpy's own limit."""
LIMIT_VARIABLE = "CARAT_MAX_FILE_MIB"
"""Environment variable: largest file in MiB, in place of both limits."""
LONGEST_NAME = 1_000
"""Longest name of another file that a file may contain, in characters."""
MESSAGE_CHARACTERS = 200
"""Characters of another parser's message that are shown: some messages repeat the whole input."""


def regular(path: Path, what: str = "file") -> int:
    """Return the size of ``path`` in bytes; links are followed. Only regular files are files."""
    try:
        status = path.stat()
    except (OSError, ValueError, RuntimeError) as error:  # a name with NUL; a loop of links
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
        raise InputError(f"{path}: is {kind}; {'an' if what[0] in 'AEIOUaeiou' else 'a'} {what} is needed")
    return status.st_size


def limit_bytes(default: int) -> int:
    """Return the limit in force. Raises InputError when `LIMIT_VARIABLE` is no whole number of MiB above 0."""
    given = os.environ.get(LIMIT_VARIABLE)
    if given is None:
        return default
    if not given.isascii() or not given.isdecimal() or len(given) > 9 or int(given) < 1:
        raise InputError(f"{LIMIT_VARIABLE}={given[:40]!r}: a whole number of MiB is needed, at least 1")
    return int(given) * MIB


def too_large(path: Path, size: int | str, most: int) -> InputError:
    """Return the refusal of a file beyond a limit."""
    size = f"{size:,} bytes" if isinstance(size, int) else size
    return InputError(f"{path}: {size}, at most {most:,} bytes are read; {LIMIT_VARIABLE} sets another limit, in MiB")


def read_bytes(path: Path, most: int = TEXT_BYTES, what: str = "file") -> bytes:
    """Return the content of a regular file of at most ``most`` bytes."""
    size, most = regular(path, what), limit_bytes(most)
    if size > most:
        raise too_large(path, size, most)
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > most:  # the file grew, or is one of those whose size is reported as 0
        raise too_large(path, "it grows beyond", most)
    return content


def read_text(path: Path, most: int = TEXT_BYTES, what: str = "text file") -> str:
    """Return a UTF-8 text; a byte order mark is dropped; gzip is expanded, up to ``most`` bytes."""
    raw = read_bytes(path, most, what)
    if raw[:2] == b"\x1f\x8b":
        raw = _expanded(path, raw, limit_bytes(most))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start}: not UTF-8 text; a {what} is needed") from error


def _expanded(path: Path, raw: bytes, most: int) -> bytes:
    """Return the contents of all gzip members, concatenated."""
    parts: list[bytes] = []
    room = most
    try:
        while raw:
            stream = zlib.decompressobj(wbits=31)
            parts.append(stream.decompress(raw, room + 1))
            room -= len(parts[-1])
            if room < 0:
                raise too_large(path, "it expands to more", most)
            if not stream.eof:
                raise InputError(f"{path}: broken gzip file: it ends early")
            raw = stream.unused_data.lstrip(b"\0")  # padding is legal
    except zlib.error as error:
        raise InputError(f"{path}: broken gzip file: {error}") from error
    return b"".join(parts)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise _Duplicate(f"keys named more than once in one object: {', '.join(map(repr, twice[:6]))}")
    return found


class _Duplicate(ValueError):
    """A JSON object with one key twice: Python's reader would silently take the last."""


def parse_json(text: str, where: str) -> Any:
    """Return a JSON text as plain data. ``where``: its name in errors."""
    try:
        return json.loads(text, object_pairs_hook=_no_duplicates, parse_float=exact)
    except json.JSONDecodeError as error:
        message = f"{where}: line {error.lineno}, column {error.colno}: not JSON: {error.msg}"
        raise InputError(message[: len(where) + MESSAGE_CHARACTERS]) from None
    except (_Duplicate, InputError) as error:
        raise InputError(f"{where}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON that can be read: {_why(error)}") from None


def read_json(path: Path, where: str | None = None) -> Any:
    """Return the content of a JSON file as plain data."""
    return parse_json(read_text(path, what="JSON file"), where or str(path))


def read_toml(path: Path, where: str | None = None) -> dict[str, Any]:
    """Return the tables of a TOML file; errors name file, line and column. ``where``: its name in errors."""
    where = where or str(path)
    try:
        text = read_text(path, what="TOML file")
        return tomllib.loads(text, parse_float=partial(_exact, where))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where}: not valid TOML: {str(error)[:MESSAGE_CHARACTERS]}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not TOML that can be read: {_why(error)}") from None


def _exact(where: str, text: str) -> float:
    try:
        return exact(text)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _why(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else "a number has too many digits"


def unreadable() -> tuple[type[Exception], ...]:
    """Return the exceptions that reading a damaged archive, or an array in it, raises.

    RuntimeError: zipfile's, of an encrypted member; its kinds are an unknown compression and too deep a nest.
    SyntaxError: numpy's, of the header of an array.
    """
    from zipfile import BadZipFile

    return OSError, ValueError, EOFError, BadZipFile, zlib.error, RuntimeError, SyntaxError


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a .npz file by name, or the array of a .npy file under ""; objects are refused.

    Shapes and sizes are checked before anything is expanded.
    """
    from zipfile import ZipFile

    most = limit_bytes(ARRAY_BYTES)
    size = regular(path, "file of arrays (.npz, .npy)")
    try:
        with path.open("rb") as file:
            if file.read(2) != b"PK":
                file.seek(0)
                return {"": _array(path, file, size, most)}
            with ZipFile(file) as members:
                infos = members.infolist()
                if (total := sum(info.file_size for info in infos)) > most:
                    raise too_large(path, f"it expands to {total:,} bytes", most)
                found = {}
                for info in infos:
                    with members.open(info) as member:
                        found[info.filename.removesuffix(".npy")] = _array(path, member, info.file_size, most)
                return found
    except unreadable() as error:
        reason = str(getattr(error, "strerror", None) or error)[:MESSAGE_CHARACTERS]
        raise InputError(f"{path}: cannot be read as arrays (.npz, .npy): {reason}") from error


def _array(path: Path, file: Any, size: int, most: int) -> np.ndarray[Any, Any]:
    """Read one .npy stream of ``size`` bytes. Raises ValueError if it is not one."""
    from numpy.lib import format as npy

    version = npy.read_magic(file)
    width = 2 if version == (1, 0) else 4
    if int.from_bytes(file.read(width), "little") > HEADER_BYTES:
        raise ValueError(f"its header is longer than {HEADER_BYTES:,} bytes")
    file.seek(0)
    npy.read_magic(file)
    header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = header(file)
    needed = dtype.itemsize
    for length in shape:
        needed *= length
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are not read")
    if needed > min(size, most):
        raise ValueError(f"its header names {needed:,} bytes, the file holds {size:,}")
    file.seek(0)
    return npy.read_array(file, allow_pickle=False)


def inside(folder: Path, name: object, where: str) -> Path:
    """Return the file ``name`` (a plain name) of ``folder``. Raises InputError naming ``where``, the place of the name.

    Links are followed: snapshots of model hubs are folders of links. `regular` refuses links to devices.
    """
    plain = isinstance(name, str) and Path(name).name == name and not {"\\", "\0"} & set(name)
    if not isinstance(name, str) or not plain or name in ("", ".", ".."):
        raise InputError(f"{where}: {str(name)[:80]!r} must be the plain name of a file in {folder}")
    return folder / name


def below(folder: Path, name: str, where: str, what: str) -> Path:
    """Return the file ``name`` (relative) of ``folder`` or a folder in it. Raises InputError naming ``where``.

    ``what``: the kind of file, for the message. Links that lead out of the folder are refused.
    """
    plain = name and len(name) <= LONGEST_NAME and "\0" not in name and "\\" not in name
    if not plain or Path(name).is_absolute() or ".." in Path(name).parts:
        raise InputError(f"{where}: {what} {name[:80]!r} must be a relative name of a file in {folder}")
    path = folder / name
    real, home = os.path.realpath(path), os.path.realpath(folder)
    if os.path.commonpath([real, home]) != home:
        raise InputError(f"{where}: {what} {name[:80]!r} is a link out of {folder}")
    return path
