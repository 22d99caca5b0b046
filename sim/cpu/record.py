"""Record the RoCC command stream of a Gemmini C program by compiling and running it natively.

The program is unmodified: a header of ours (sim/cpu/native) replaces the RoCC macros, and in the preprocessed text
fences, reads of the cycle counter and exits become calls. Any C compiler with -E, -include and -I works. No accelerator
writes results, so checks of results fail: an exit with an error in the program's own files is counted and skipped, as
it would not be reached on a chip; one in a header (the library refuses its arguments) ends the recording.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sim.base.errors import InputError
from sim.base.reading import read_text

NATIVE = Path(__file__).resolve().parent / "native"
"""Our header and the stand-in for rocc-software."""

TIMEOUT_S = 600
"""Seconds after which a program is stopped: most of gemmini-rocc-tests take seconds natively."""

_ASM = r"(?:__asm__|__asm|asm)\s*(?:(?:__volatile__|__volatile|volatile)\s*)?"
FENCE = re.compile(_ASM + r"\(\s*\"\s*fence[^\"]*\"[^;]*?\)\s*;")
_COUNTER = r"rd(?:cycle|time|instret)h?\s+%0"
CYCLES = re.compile(_ASM + r"\(\s*\"\s*" + _COUNTER + r"\s*;?\s*\"\s*:\s*\"=r\"\s*\(([^()]+)\)\s*[^;]*\)\s*;")
OTHER = re.compile(_ASM + r"\(\s*\"([^\"]*)\"")
EXIT = re.compile(r"\bexit\s*\(")
MARKER = re.compile(r"#(?:line)? \d+ \"(.*)\"([ \d]*)")
"""Line marker of preprocessed text; the flag 3 marks a system header."""

REFUSED = 86
"""Exit code of a program whose library refused a call (carat_rocc.h)."""
FAILED_CHECK = "carat_rocc.h: a check failed"
"""Message of carat_rocc.h on stderr when the program's own code exits with an error."""
SHOWN_CHARACTERS = 300
"""Characters of the program's last output that an error repeats."""


@dataclass(frozen=True)
class Build:
    """Compilation of a program: include folders, macros (NAME or NAME=VALUE), compiler, its flags."""

    include: tuple[Path, ...] = ()
    define: tuple[str, ...] = ()
    compiler: str = "cc"
    flags: tuple[str, ...] = ("-O1",)


class Ended(NamedTuple):
    """End of a program: its exit code, and the number of its failed checks of results that were skipped."""

    code: int
    failed_checks: int = 0


def record(sources: Sequence[Path], output: Path, build: Build, case: str, arguments: Sequence[str] = ()) -> Ended:
    """Compile ``sources``, run them and write their commands to ``output`` (whole or not at all).

    Raises InputError: a missing file or compiler, an error of the compiler, an assembly instruction that is
    neither fence nor counter, a program that fails or issues no command, a call that the library refuses.
    """
    missing = [f"{path}: no such file" for path in (*sources, *build.include) if not path.exists()]
    if missing or not sources:
        raise InputError(missing or ["record: name at least one C file"])
    for path in sources:
        read_text(path, what="C file")  # a device or a FIFO would keep the compiler reading
    with tempfile.TemporaryDirectory(prefix="carat-record-") as folder:
        texts = [_preprocessed(path, Path(folder) / f"{number}.c", build) for number, path in enumerate(sources)]
        binary = Path(folder) / "program"
        # fixed addresses, so that two recordings of one program are equal
        _run([build.compiler, "-std=gnu11", "-w", "-no-pie", *build.flags, "-o", str(binary), *map(str, texts), "-lm"])
        stream = Path(folder) / "stream.csv"
        ended = _execute(binary, stream, case, arguments)
        if not stream.exists() or stream.read_bytes().count(b"\n") < 3:
            raise InputError(f"{sources[0]}: the program ended without issuing a command")
        partial = output.with_name(f".{output.name}.partial")
        try:
            partial.write_bytes(stream.read_bytes())
            partial.replace(output)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise InputError(f"{output}: cannot be written: {error.strerror}") from error
    return ended


def native(text: str, where: Path) -> str:
    """Return preprocessed C with fences, counters and exits as calls. Raises InputError for any other assembly."""
    text = "".join(_with_exits(text, where))
    text = FENCE.sub("carat_fence();", text)
    text = CYCLES.sub(lambda found: f"({found[1]}) = carat_mark();", text)
    strange = sorted({found for found in OTHER.findall(text) if found.strip()})
    if strange:
        rule = "is neither a fence nor a reading of a counter; leave it out with -D"
        raise InputError([f"{where}: assembly {one!r} {rule}" for one in strange])
    return text


def _with_exits(text: str, own: Path) -> Iterator[str]:
    """Yield the lines, with different names for exits of the program's ``own`` file and of headers."""
    name = ""
    for line in text.splitlines(keepends=True):
        if marker := MARKER.match(line):
            file = Path(marker[1])
            ours_or_system = "3" in marker[2].split() or file.is_relative_to(NATIVE)
            name = "" if ours_or_system else "carat_check_exit(" if file == own else "carat_library_exit("
        yield EXIT.sub(name, line) if name else line


def _preprocessed(source: Path, target: Path, build: Build) -> Path:
    folders = [NATIVE, *build.include, source.parent]
    command = [build.compiler, "-std=gnu11", "-E", "-include", str(NATIVE / "carat_rocc.h")]
    command += [f"-I{folder}" for folder in folders] + [f"-D{macro}" for macro in build.define]
    # system headers keep their own assembly (byte swaps): only the program's text is converted, they are included again
    text = _run([*command, str(source)])
    target.write_text(native(text, source), encoding="utf-8")
    return target


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except FileNotFoundError as error:
        raise InputError(f"record: no C compiler {command[0]!r}; name one with --cc") from error
    except subprocess.TimeoutExpired as error:
        raise InputError(f"record: {command[0]} has not ended after {TIMEOUT_S} s") from error
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "error" in line][:5] or done.stderr.splitlines()[:5]
        raise InputError([f"{command[0]}: {line}" for line in said] or [f"{command[0]}: failed with {done.returncode}"])
    return done.stdout


def _execute(binary: Path, stream: Path, case: str, arguments: Sequence[str]) -> Ended:
    environment = {**os.environ, "CARAT_RECORD": str(stream), "CARAT_CASE": case}
    said, complained = stream.with_name("stdout"), stream.with_name("stderr")
    with said.open("wb") as out, complained.open("wb") as err:
        try:
            command = [str(binary), *arguments]
            done = subprocess.run(command, env=environment, stdout=out, stderr=err, timeout=TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise InputError(f"record: the program has not ended after {TIMEOUT_S} s") from error
    last = _last_line(said)
    if done.returncode == REFUSED:
        issued = stream.read_bytes().count(b"\n") - 2 if stream.exists() else 0
        where = f"record: the library refuses a call after line {issued} of the stream and ends the program"
        raise InputError(f"{where}; it says: {last}")
    if done.returncode < 0:
        raise InputError(f"record: the program was ended by signal {-done.returncode}; its last output: {last}")
    return Ended(done.returncode, complained.read_bytes().count(FAILED_CHECK.encode()))


def _last_line(output: Path) -> str:
    with output.open("rb") as file:
        file.seek(max(0, output.stat().st_size - 4096))
        lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1][:SHOWN_CHARACTERS] if lines else "nothing"
