"""Run as a script with NUMBA_DISABLE_JIT=1: the core in front of a toy memory with one open row, by all clocks.

Writes, as JSON, cycles, the clock that ran and the refusal for the clock requested; and the cycles of the fixed memory.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from sim import hardware
from sim.core.address import ALL_BITS, real
from sim.core.units import memory
from sim.core.units.memory import fixed
from sim.lower import build, lower
from sim.timing import parameters, timer

ROW_BYTES = 1 << 10
PENALTY_CYCLES = 30
HARDWARE = hardware.load("gemmini_4x4", {"memory.latency_cycles": 8})
WORK = build.matmul(8, 8, 16, tile=(1, 2, 2))


class OpenRow:
    """One bank: a read of another row than the last one takes longer."""

    def __init__(self) -> None:
        self.row = -1
        self.read = fixed.read

    def __call__(self, now, m, transaction, beats, address):
        row = real(address) // ROW_BYTES
        self.read(now if row == self.row else now + PENALTY_CYCLES, m, transaction, beats, address)
        self.row = row


def main(path: str) -> None:
    program = lower(WORK, HARDWARE)
    cycles_of = {"fixed": timer.run(program, HARDWARE).cycles}
    parameters.FIXED = len(memory.TIMING_BITS)  # the model's number: it is not the one of fixed latency
    memory.TIMING_BITS = (*memory.TIMING_BITS, ALL_BITS)
    parameters._parameters.cache_clear()
    plain = fixed.read
    for clock in ("reference", "leap", "periodic"):
        fixed.read = plain
        fixed.read = OpenRow()
        timed = timer.run(program, HARDWARE, clock=clock)
        cycles_of[clock] = (timed.cycles, timed.clock, timed.refusal, timed.counters["BUS_READ_BEATS"])
    Path(path).write_text(json.dumps(cycles_of))


if __name__ == "__main__":
    main(sys.argv[1])
