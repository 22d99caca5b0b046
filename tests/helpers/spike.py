"""Logs as Spike writes them with --log-commits, of a program of commands."""

from __future__ import annotations

from collections.abc import Iterator

from sim.isa.commands import Funct, Program

WORD = (1 << 64) - 1
SETS_A0, SETS_A1, COMMAND, FENCE, COUNTER = (
    0x00000513,
    0x00000593,
    0x7B | 3 << 12 | 10 << 15 | 11 << 20,
    0x0FF0000F,
    126,
)
"""Instructions: writes of a0 and a1, a command of custom-3 with both as operands, a fence; funct of a counter."""


def log(program: Program, padded: str = "x%-2d") -> Iterator[str]:
    """Yield the lines of a log in which a program's commands are issued one by one, as execute.cc prints them."""
    pc = 0x8000_0000

    def line(instruction: int, rest: str = "") -> str:
        nonlocal pc
        pc += 4
        return f"core   0: 3 0x{pc:016x} (0x{instruction:08x}){rest}\n"

    for command in program:
        if command["funct"] == Funct.FENCE:
            yield line(FENCE)
            continue
        yield "core   0: 0x0000000080000000 (0x00000513) li      a0, 0\n"  # what -l prints beside
        for register, instruction, name in ((10, SETS_A0, "rs1"), (11, SETS_A1, "rs2")):
            yield line(instruction, f" {padded % register} 0x{int(command[name]) & WORD:016x} mem 0x0000000080001000")
        yield line(COMMAND | int(command["funct"]) << 25)
        yield "GEMMINI: config_ex - set dataflow mode from 0 to 1\n"
    yield line(COMMAND | COUNTER << 25 | 4 << 12 | 10 << 7, " x10 0x0000000000000007")
