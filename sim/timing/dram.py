"""The records of a machine's DRAM for the timing core: its channels, and the queue before them."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sim.core.units.dram import state
from sim.core.units.memory import dram as memory
from sim.hardware.dram.legality import field_bits
from sim.hardware.dram.mapping import pieces
from sim.hardware.dram.numbers import channel_numbers

if TYPE_CHECKING:
    from sim.hardware import Hardware


def channels(hw: Hardware, contents: bytes = b"") -> npt.NDArray[Any]:
    """Return the channel records (`sim.core.units.dram.state`), after reset or with ``contents``; none: no DRAM."""
    if contents:
        return np.frombuffer(contents, state.DTYPE).copy()
    return _after_reset(hw).copy()


@lru_cache(maxsize=8)
def _after_reset(hw: Hardware) -> npt.NDArray[Any]:
    if hw.memory.dram == "none":
        return np.zeros(0, state.DTYPE)
    return np.asarray(state.build(channel_numbers(hw.memory.dram), hw.memory.dram.channels))


def place(machine: npt.NDArray[Any], hw: Hardware) -> None:
    """Set the fixed numbers of the queue before a machine's channels, if it has channels."""
    if hw.memory.dram != "none":
        memory.place(machine[0], _numbers(hw))


@lru_cache(maxsize=8)
def _numbers(hw: Hardware) -> dict[str, Any]:
    dram = hw.memory.dram
    assert dram != "none"
    clocks = Fraction(10**6) / (dram.tCK_ps * Fraction(hw.clock_mhz).limit_denominator(1000))
    runs: list[tuple[int, int]] = []
    for piece in pieces(dram.address_map, field_bits(dram))[0]:
        is_channel = int(piece.field == "channel")
        if runs and runs[-1][0] == is_channel:
            runs[-1] = (is_channel, runs[-1][1] + piece.bits)
        else:
            runs.append((is_channel, piece.bits))
    return {
        "clk_num": clocks.numerator,
        "clk_den": clocks.denominator,
        "line_bits": dram.line_bytes.bit_length() - 1,
        "read_depth": dram.controller.read_queue,
        "pieces": runs,
    }
