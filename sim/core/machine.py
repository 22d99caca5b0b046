"""The whole machine as one record: the fixed numbers and one sub-record per unit, all 64-bit integers."""

import numpy as np

from sim.core.address import ALL_BITS
from sim.core.events import Cause, Event
from sim.core.leap import burst, guards
from sim.core.params import PARAMS
from sim.core.units import (
    accumulator,
    crossbar,
    execute,
    frontend,
    l2,
    load,
    loop_conv,
    loop_matmul,
    memory,
    mesh,
    mvin,
    mvout,
    normalizer,
    port,
    reader,
    reservation,
    store,
    tlb,
    writer,
)
from sim.core.units.memory import dram, fixed, tile

UNITS = {
    "front": frontend,
    "loop_conv": loop_conv,
    "loop_matmul": loop_matmul,
    "station": reservation,
    "load": load,
    "reader": reader,
    "mvin": mvin,
    "acc": accumulator,
    "execute": execute,
    "mesh": mesh,
    "store": store,
    "mvout": mvout,
    "norm": normalizer,
    "writer": writer,
    "tlb": tlb,
    "port": port,
    "mem": memory,
}
"""Name of each unit's record -> unit. A new unit needs an entry here and a line in the phases of engine.py."""

NOT_REPEATED = {"l2": l2, "dram": dram, "tile": tile, "crossbar": crossbar}
"""Units that the periodic clock refuses: its images do not contain their records."""

MACHINE = np.dtype(
    [
        ("p", PARAMS),  # fixed numbers of the machine
        ("full", "i8"),  # 1: the reference clock; no unit skips a cycle without effect
        *((name, unit.DTYPE) for name, unit in UNITS.items()),
        ("fixed", fixed.DTYPE),  # the memory of fixed latency and bandwidth
        ("ports", mvout.PORTS),  # which SRAM banks are read or written in this cycle
        ("burst", burst.DTYPE),  # bursts that the leaping clock computes at once
        ("guard", guards.DTYPE),  # next cycle in which each group of units is stepped
        ("count", "i8", (len(Event),)),  # counters by event (events.py)
        ("cause", "i8", (len(Cause),)),  # cycles by cause
        *((name, unit.DTYPE) for name, unit in NOT_REPEATED.items()),
    ]
)

IMAGED_WORDS = MACHINE.fields[next(iter(NOT_REPEATED))][1] // 8
"""Number of words of the record in an image of the periodic clock: all before the first unit that it refuses."""

MEMORY_SIDE = ("port", "mem", "fixed", "l2", "dram", "tile", "crossbar")
"""Records that persist from one program to the next on a machine whose memory has state."""


def timing_bits(p) -> int:
    """Number of low bits of a DRAM address on which time depends, apart from its page: those of port and memory.

    ``p``: PARAMS as a record or as the dictionary that `build` takes.
    """
    if p["l2_sets"]:
        return l2.TIMING_BITS
    if p["page_mode"]:
        return ALL_BITS
    return max(memory.TIMING_BITS[p["memory_model"]], int(p["max_bytes"]).bit_length() - 1)


def _passed_on(machine: np.ndarray) -> tuple[str, ...]:
    """Return the records that persist, with those of pages if there are any."""
    return (*MEMORY_SIDE, "tlb") if machine[0].p.page_mode else MEMORY_SIDE


def memory_side(machine: np.ndarray) -> bytes:
    """Return the state of a stopped machine's memory side for the next program."""
    plain = machine.view(np.ndarray)  # a record array makes each of its fields one, too: 70 us
    return b"".join(plain[name].tobytes() for name in _passed_on(machine))


def resume_memory(machine: np.ndarray, kept: bytes) -> None:
    """Restore the state that `memory_side` returned after an earlier program into a machine after reset."""
    at = 0
    plain = machine.view(np.ndarray)
    for name in _passed_on(machine):
        field = plain[name]
        field.view(np.uint8)[:] = np.frombuffer(kept, np.uint8, field.nbytes, at)
        at += field.nbytes


def build(parameters: dict[str, int], phase: int = 0, written_rows: tuple[int, ...] = ()) -> np.ndarray:
    """Return a freshly reset machine as an array of one MACHINE record.

    ``parameters`` gives every field of PARAMS; ``phase`` is the next loop slot (0 after reset);
    ``written_rows`` are accumulator rows that hold data of earlier programs.
    """
    array = np.zeros(1, MACHINE).view(np.recarray)
    m = array[0]
    for name in PARAMS.names:
        m.p[name] = parameters[name]
    for unit in (*UNITS.values(), *NOT_REPEATED.values(), burst):
        reset = getattr(unit, "reset", None)
        if reset is loop_matmul.reset:
            reset(m, phase)
        elif reset is accumulator.reset:
            reset(m, written_rows)
        elif reset is not None:  # None: all zeros
            reset(m)
    return array
