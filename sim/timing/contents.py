"""State of a memory between programs: lines of an L2, rows of a DRAM, transfers in flight."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sim.core import machine
from sim.core.units import tlb
from sim.core.units.l2.state import LINE_BITS
from sim.timing import dram
from sim.timing.parameters import parameters

if TYPE_CHECKING:
    from sim.hardware import Hardware


@dataclass(frozen=True)
class L2Contents:
    """State of an L2 before a program: its tags and, after another program, the state of everything behind the DMA.

    Bytes of int64 ``lines`` (sim/core/units/l2/state.py), of the records that `machine.memory_side` names, of a DRAM's
    channels, and with several cores of their TLBs where there are pages; transfers in flight continue.
    """

    lines: bytes
    memory_side: bytes = b""
    channels: bytes = b""
    tlbs: bytes = b""

    @classmethod
    def empty(cls, hw: Hardware) -> L2Contents:
        """Return the contents after reset; no lines on a machine without an L2."""
        return cls(bytes(8 * hw.memory.l2_bytes >> LINE_BITS))


def place(state: np.ndarray, hw: Hardware, l2: L2Contents | None) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
    """Return an L2's tags and a DRAM's channels before a program, and restore the memory's side."""
    contents = l2 or L2Contents.empty(hw)
    dram.place(state, hw)
    if contents.memory_side:
        machine.resume_memory(state, contents.memory_side)
    return np.frombuffer(contents.lines, np.int64).copy(), dram.channels(hw, contents.channels)


def with_empty_tlb(hw: Hardware, l2: L2Contents) -> L2Contents:
    """Return the contents with a TLB after reset, as gemmini_flush leaves it between two programs."""
    if not l2.memory_side:
        return l2
    state = machine.build(parameters(hw))
    machine.resume_memory(state, l2.memory_side)
    state["tlb"] = np.zeros(1, tlb.DTYPE)
    tlb.reset(state[0])  # type: ignore[no-untyped-call]
    return replace(l2, memory_side=machine.memory_side(state))
