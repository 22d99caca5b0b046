"""Read the command streams, one per core, from Spike's log of retired instructions (``spike --log-commits``).

A line (riscv-isa-sim, riscv/execute.cc, commit_log_print_insn) is ``core   0: 3 0x<pc> (0x<instruction>)``, then each
written register with its value. The operands of a RoCC command are registers, whose values are those last written in
earlier lines. Lines printed by Gemmini's extension, and the disassembly of ``-l``, are skipped.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from sim.base.errors import InputError
from sim.base.reading import read_text
from sim.validate import csvfile
from sim.validate.recordings import Lines, Recording, program_of

COMMIT = re.compile(r"core\s*(\d+): \d 0x[0-9a-f]+ \(0x([0-9a-f]+)\)(.*)")
WRITTEN = re.compile(r" x ?(\d+) +0x([0-9a-f]+)")
"""A register and its value; older versions of Spike pad the number on the left."""
ANY_LINE = re.compile(r"core\s*\d+: ")

OPCODE_BITS, FUNCT3_SHIFT = 0x7F, 12
CUSTOM_3, FENCE = 0x7B, 0x0F
"""Opcodes: Gemmini's commands (XCUSTOM_ACC 3 of gemmini_params.h); fence and fence.i."""
ANSWERS = 4
"""The bit xd of funct3: a command that writes a register (reads a counter), which is not timed."""
READS_RS1, READS_RS2 = 2, 1


def is_log(path: Path) -> bool:
    """Return whether a file is a log of Spike: its first lines name a core, or are printed by Gemmini's extension."""
    return any(ANY_LINE.match(line) or line.startswith("GEMMINI: ") for line in _text(path)[:4096].splitlines()[:20])


def recordings_of(path: Path) -> list[Recording]:
    """Return the stream of each core that issued commands, as cases ``core0``, ``core1``, ...

    Raises InputError: no register values in the log, an operand without an earlier value, a truncated line, an unknown
    command.
    """
    text = _text(path)
    if text and not text.endswith("\n"):
        raise InputError(f"{path}: line {text.count(chr(10)) + 1}: the line is truncated; the log ends early")
    commands: dict[str, Lines] = defaultdict(list)
    registers: dict[str, dict[int, str]] = defaultdict(lambda: {0: "0x0"})
    problems: list[str] = []
    committed = 0
    for number, line in enumerate(text.splitlines(), 1):
        found = COMMIT.match(line)
        if found is None:
            continue
        committed += 1
        core, instruction = found[1], int(found[2], 16)
        known = registers[core]
        for cells in _command(instruction, known, f"{path}: line {number}", problems):
            commands[core].append((number, cells))
        known.update((int(register), f"0x{value}") for register, value in WRITTEN.findall(found[3]))
    csvfile.refuse(problems)
    if not committed:
        raise InputError(f"{path}: the log has no register values: run spike with --log-commits, not with -l alone")
    found_any = {core: lines for core, lines in commands.items() if any(cells[0] != "fence" for _, cells in lines)}
    if not found_any:
        raise InputError(f"{path}: no Gemmini command (custom-3) in {committed:,} instructions")
    name = path.name.split(".")[0]
    streams = [
        Recording(name, f"core{core}", None, program_of(path, lines, 1, problems)) for core, lines in found_any.items()
    ]
    csvfile.refuse(problems)
    return streams


def _command(instruction: int, known: dict[int, str], where: str, problems: list[str]) -> Iterator[tuple[str, ...]]:
    """Yield funct, rs1, rs2 of a command or a fence; nothing for any other instruction."""
    opcode, funct3 = instruction & OPCODE_BITS, instruction >> FUNCT3_SHIFT & 7
    if opcode == FENCE and funct3 == 0:
        yield "fence", "", ""
    if opcode != CUSTOM_3 or funct3 & ANSWERS:
        return
    operands = []
    for reads, register in ((READS_RS1, instruction >> 15 & 31), (READS_RS2, instruction >> 20 & 31)):
        if funct3 & reads and register not in known:
            problems.append(f"{where}: no value of x{register} in the log before it: the log begins too late")
        operands.append(known.get(register, "0x0") if funct3 & reads else "0x0")
    yield str(instruction >> 25), *operands


@lru_cache(maxsize=1)  # read first for its kind, then for its commands
def _text(path: Path) -> str:
    return read_text(path, what="log of Spike")
