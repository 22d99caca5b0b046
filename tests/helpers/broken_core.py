"""Run as a script with NUMBA_DISABLE_JIT=1: the timing core with one rule of its reservation station left out.

Writes the timelines of small programs to the .npz named on the command line, as "program/waiting class/for class".
"""

from __future__ import annotations

import sys

import numpy as np

from sim import hardware
from sim.core.units.reservation import station
from sim.isa.commands import ACCUMULATOR_BIT, GARBAGE_ADDRESS
from sim.lower import build, lower
from sim.lower.encode import Stream
from sim.timing import timer

MACHINE = {
    "scratchpad.capacity": "2KiB",
    "accumulator.capacity": "1KiB",
    "memory.latency_cycles": 2,
    "memory.write_bytes_per_cycle": 1.0,
}
HARDWARE = hardware.load("gemmini_4x4", MACHINE)

A, B, C = 0x2001_0000, 0x2001_1000, 0x2001_2000


def overwritten():
    """A result is stored behind three slow stores, then computed anew in the same rows from other operands."""
    stream = Stream(HARDWARE)
    stream.config_ex()
    stream.config_st(4, scale=0.01)
    for place, source in enumerate((A, A + 64, B)):
        stream.config_ld(4)
        stream.mvin(source, 4 * place, 4, 4)
    for first, stores in ((0, (C + 64, C + 128, C + 192, C)), (4, (C + 256,))):
        stream.preload(8, ACCUMULATOR_BIT, (4, 4), (4, 4))
        stream.compute(first, GARBAGE_ADDRESS, (4, 4), (4, 4), preloaded=True)
        for sink in stores:
            stream.mvout(sink, ACCUMULATOR_BIT, 4, 4)
    stream.fence()
    return stream.program()


WORKS = {
    "bias": build.matmul(4, 16, 8, bias="full", scale=0.01, tile=(1, 1, 1)),
    "add": build.resadd(4, 16),
}
PROGRAMS = {**{name: lower(work, HARDWARE) for name, work in WORKS.items()}, "overwritten": overwritten()}
CLASSES = ("ld", "ex", "st")
RULES = [(c, d) for c in range(3) for d in range(3) if c != d]


def without(rule):
    """The rule book of the reservation station with ``rule`` = (waiting class, class waited for) left out."""
    whole = station.depend

    def depend(now, m, c, s):
        whole(now, m, c, s)
        if c == rule[0]:
            m.station.deps[c, s, rule[1]] = 0

    return depend


def main(path):
    """Time every program with the whole rule book and with each rule missing."""
    whole, timelines = station.depend, {}
    for name, program in PROGRAMS.items():
        timelines[name] = timer.run(program, HARDWARE, clock="leap", timeline=True).timeline
        for rule in RULES:
            station.depend = without(rule)
            waiting, other = (CLASSES[c] for c in rule)
            timelines[f"{name}/{waiting}/{other}"] = timer.run(program, HARDWARE, clock="leap", timeline=True).timeline
            station.depend = whole
    np.savez(path, **timelines)


if __name__ == "__main__":
    main(sys.argv[1])
