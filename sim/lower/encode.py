"""The command stream under construction: one method per command, operands packed for the hardware.

Field positions: GemminiISA.scala and LocalAddr.scala (gemmini_machine.md 2.2). Each command carries the
pace of the CPU in its gap: with a price list that of its kind of stream (`sim.lower.pace`), without one
``hw.cpu.command_cycles`` for every command, and at least ``hw.cpu.loop_cycles`` before the first command of a hardware
loop (the CPU computes a tile's addresses and bounds there).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.hardware import Hardware
from sim.isa.commands import COMMAND, ConfigKind, Funct, Program, command, local_operand, program
from sim.isa.fields import LOCAL_BITS
from sim.isa.layouts import (
    EX_FIRST,
    EX_SECOND,
    LD_FIRST,
    LOOP_BLOCKS,
    LOOP_FIRST,
    LOOP_SECOND,
    NORM_FIRST,
    NORM_SECOND,
    ST_FIRST,
    ST_SECOND,
    pack,
)
from sim.lower.pace import HAND, Pace

WEIGHT_STATIONARY = 1
LOAD_FUNCTS = (Funct.MVIN, Funct.MVIN2, Funct.MVIN3)
"""The mvin command of load state 0, 1, 2."""


def float_bits(value: float) -> int:
    """Return the bits of ``value`` as an IEEE single, the form of scales in commands."""
    bits: int = struct.unpack("<I", struct.pack("<f", value))[0]
    return bits


Number = int | npt.NDArray[np.int64]


@dataclass(frozen=True)
class MatmulLoop:
    """One hardware matmul loop: (I, J, K) blocks, pads, DRAM addresses and strides of A, B, D, C.

    Several loops one after the other where blocks, pads, addresses, halves or ``accumulate`` are arrays. A zero address
    switches the operand's traffic off; ``a_half``, ``b_half``: 1 or 2 pin A or B to a half of the scratchpad (0: the
    loop's own slot decides); ``residual``: B is added onto A.
    """

    blocks: tuple[Number, Number, Number]
    pads: tuple[Number, Number, Number]
    addresses: tuple[Number, Number, Number, Number]
    strides: tuple[int, int, int, int]
    transpose_a: bool = False
    transpose_b: bool = False
    full_c: bool = False
    low_d: bool = False
    accumulate: Number = False
    activation: int = 0
    a_half: Number = 0
    b_half: Number = 0
    residual: bool = False

    def commands(self) -> tuple[tuple[Funct, Any, Any], ...]:
        """Return function and both operands of each of its commands; operands are arrays for several loops."""
        (a, b, d, c), (stride_a, stride_b, stride_d, stride_c) = self.addresses, self.strides
        pads, blocks = (pack(LOOP_BLOCKS, **dict(zip("ijk", of, strict=True))) for of in (self.pads, self.blocks))
        first, second = (
            pack(layout, **{name: getattr(self, name) for name in layout._fields})
            for layout in (LOOP_FIRST, LOOP_SECOND)
        )
        return (
            (Funct.LOOP_WS_CONFIG_BOUNDS, pads, blocks),
            (Funct.LOOP_WS_CONFIG_ADDRS_AB, a, b),
            (Funct.LOOP_WS_CONFIG_ADDRS_DC, d, c),
            (Funct.LOOP_WS_CONFIG_STRIDES_AB, stride_a, stride_b),
            (Funct.LOOP_WS_CONFIG_STRIDES_DC, stride_d, stride_c),
            (Funct.LOOP_WS, first, second),
        )


class Stream:
    """Commands in program order; `program` packs them. ``folded``, ``inlined``: as in `sim.lower.pace.variant`."""

    def __init__(self, hw: Hardware, *, folded: bool = False, inlined: bool = False):
        self.dim = hw.dim
        self.mvin_scaled = hw.dma.mvin_scale_units != "none"
        self.gap = hw.cpu.command_cycles
        self.loop_gap = max(hw.cpu.command_cycles, hw.cpu.loop_cycles)
        self.pace = Pace(hw, folded=folded, inlined=inlined)
        self._gaps, self._place = self.pace.gaps(HAND), 0
        self.commands: list[tuple[int, int, int, int]] = []
        self._packed: list[Program] = []

    def mark(self, kind: str, place: int = 0) -> None:
        """Set the kind of stream of the next commands, beginning with its command number ``place``."""
        if self.pace.priced:
            self._gaps, self._place = self.pace.gaps(kind), place

    def emit(self, funct: Funct, rs1: int = 0, rs2: int = 0) -> None:
        """Append one single command."""
        self.commands.append(command(funct, rs1, rs2, self._priced() if self.pace.priced else self.gap))

    def _priced(self) -> int:
        place, self._place = min(self._place, len(self._gaps) - 1), self._place + 1
        return self._gaps[place]

    def gap_of(self, kind: str, place: int = 0) -> int:
        """Return the CPU's cycles before command number ``place`` of a kind of stream, by the price list."""
        gaps = self.pace.gaps(kind)
        return gaps[min(place, len(gaps) - 1)]

    def emit_packed(self, commands: Program) -> None:
        """Append commands given as an array, gaps included."""
        if self.commands:
            self._packed.append(program(self.commands))
            self.commands = []
        self._packed.append(commands)

    def emit_loop(self, commands: Sequence[tuple[Funct, int, int]]) -> None:
        """Append the commands of one hardware loop."""
        for position, (funct, rs1, rs2) in enumerate(commands):
            gap = self._priced() if self.pace.priced else self.gap if position else self.loop_gap
            self.commands.append(command(funct, rs1, rs2, gap))

    def fence(self) -> None:
        """Wait until the accelerator is idle."""
        self.commands.append(command(Funct.FENCE))

    def program(self) -> Program:
        """Return the finished stream; it ends with a fence."""
        return np.concatenate([*self._packed, program(self.commands)])

    def config_ex(
        self,
        *,
        activation: int = 0,
        transpose_a: bool = False,
        transpose_b: bool = False,
        dataflow: int = WEIGHT_STATIONARY,
        scale_bits: int = 0x3F800000,
        a_stride: int = 1,
        c_stride: int = 1,
    ) -> None:
        """Configure the execute controller; strides in local rows, ``scale_bits`` an IEEE single (1.0)."""
        first = pack(
            EX_FIRST, kind=ConfigKind.EX, weight_stationary=dataflow, activation=activation, transpose_a=transpose_a,
            transpose_b=transpose_b, a_stride=a_stride, scale=scale_bits,
        )  # fmt: skip
        self.emit(Funct.CONFIG, first, pack(EX_SECOND, c_stride=c_stride))

    def config_ld(
        self, stride_bytes: int, state: int = 0, *, scale: float = 1.0, shrink: bool = False, block_rows: int = 0
    ) -> None:
        """Configure load state 0..2; ``shrink``: data for the accumulator arrive in input type.

        ``block_rows``: local rows from one block of a load to the next, 0 = DIM.
        """
        scale_bits = float_bits(scale) if self.mvin_scaled else 0
        first = pack(
            LD_FIRST, kind=ConfigKind.LD, shrinks=shrink, state=state, pixels=1, block_stride=block_rows or self.dim,
            scale=scale_bits,
        )  # fmt: skip
        self.emit(Funct.CONFIG, first, stride_bytes)

    def config_st(self, stride_bytes: int, *, activation: int = 0, scale: float = 1.0) -> None:
        """Configure the store controller without pooling; ``activation`` is the two-bit code."""
        rs2 = pack(ST_SECOND, scale=float_bits(scale), stride_bytes=stride_bytes & LOCAL_BITS)
        self.emit(Funct.CONFIG, pack(ST_FIRST, kind=ConfigKind.ST, activation=activation), rs2)

    def config_norm(
        self,
        stat: int = 0,
        *,
        constant: int = 0,
        second_constant: bool = False,
        only_stat: bool = False,
        softmax: bool = False,
        qb: int = 0,
        qc: int = 0,
    ) -> None:
        """Select the statistics register and, unless ``only_stat``, the normaliser's polynomial."""
        first = pack(
            NORM_FIRST,
            kind=ConfigKind.NORM,
            statistics=stat,
            activation_high=softmax,
            statistics_only=only_stat,
            second_constant=second_constant,
            constant=constant & LOCAL_BITS,
        )
        self.emit(Funct.CONFIG, first, pack(NORM_SECOND, qb=qb & LOCAL_BITS, qc=qc & LOCAL_BITS))

    def mvin(self, dram: int, local: int, cols: int, rows: int, state: int = 0) -> None:
        """Load rows x cols elements from DRAM ``dram`` (0: write zeros) to local address ``local``."""
        self.emit(LOAD_FUNCTS[state], dram, local_operand(local, cols, rows))

    def mvout(self, dram: int, local: int, cols: int, rows: int) -> None:
        """Store rows x cols elements from local address ``local`` to DRAM ``dram``."""
        self.emit(Funct.MVOUT, dram, local_operand(local, cols, rows))

    def preload(self, local: int, c: int, shape: tuple[int, int], c_shape: tuple[int, int]) -> None:
        """Preload B (WS) or D (OS) of ``shape`` (cols, rows) and name the result ``c`` of ``c_shape``."""
        self.emit(Funct.PRELOAD, local_operand(local, *shape), local_operand(c, *c_shape))

    def compute(self, a: int, bd: int, a_shape: tuple[int, int], bd_shape: tuple[int, int], *, preloaded: bool) -> None:
        """Run A through the array; ``preloaded``: switch to the weights of the last preload first."""
        funct = Funct.COMPUTE_PRELOADED if preloaded else Funct.COMPUTE_ACCUMULATED
        self.emit(funct, local_operand(a, *a_shape), local_operand(bd, *bd_shape))

    def loop_ws(self, loop: MatmulLoop) -> None:
        """One hardware matmul loop."""
        self.emit_loop(loop.commands())

    def loops_ws(self, loops: MatmulLoop, kinds: Sequence[str], which: npt.NDArray[np.int64]) -> None:
        """Several hardware matmul loops; loop n is a stream of the kind ``kinds[which[n]]``, as for `mark`."""
        commands = loops.commands()
        out = np.zeros((len(which), len(commands)), COMMAND)
        if self.pace.priced:
            out["gap"] = np.array([[self.gap_of(kind, place) for place in range(len(commands))] for kind in kinds])[
                which
            ]
        else:
            out["gap"], out["gap"][:, 0] = self.gap, self.loop_gap
        for place, (funct, rs1, rs2) in enumerate(commands):
            out["funct"][:, place], out["rs1"][:, place], out["rs2"][:, place] = funct, rs1, rs2
        self.emit_packed(out.ravel())


def with_gap(commands: Program, gap_cycles: int) -> Program:
    """Return a copy whose commands (not fences) are issued ``gap_cycles`` or more after the previous one."""
    slowed = np.array(commands, dtype=COMMAND)
    hand = slowed["funct"] != Funct.FENCE
    slowed["gap"][hand] = np.maximum(slowed["gap"][hand], gap_cycles)
    return slowed
