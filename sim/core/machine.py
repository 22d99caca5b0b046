"""The whole machine as one record: the fixed numbers and one sub-record per unit, all 64-bit integers."""

import numpy as np

from sim.core.address import ALL_BITS
from sim.core.events import Cause, Event
from sim.core.leap import burst, guards
from sim.core.params import NEVER, PARAMS
from sim.core.units import (
    accumulator,
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
    walks,
    writer,
)
from sim.core.units.memory import dram, fixed

MACHINE = np.dtype(
    [
        ("p", PARAMS),
        ("full", "i8"),  # 1: the reference clock; no unit leaves out what it takes for a cycle without effect
        ("fe", frontend.DTYPE),
        ("lc", loop_conv.DTYPE),
        ("lm", loop_matmul.DTYPE),
        ("rs", reservation.DTYPE),
        ("ld", load.DTYPE),
        ("rd", reader.DTYPE),
        ("mv", mvin.DTYPE),
        ("burst", burst.DTYPE),
        ("guard", guards.DTYPE),
        ("acc", accumulator.DTYPE),
        ("ex", execute.DTYPE),
        ("mesh", mesh.DTYPE),
        ("st", store.DTYPE),
        ("out", mvout.DTYPE),
        ("ports", mvout.PORTS),
        ("norm", normalizer.DTYPE),
        ("wr", writer.DTYPE),
        ("tlb", tlb.DTYPE),
        ("port", port.DTYPE),
        ("mem", memory.DTYPE),
        ("fixed", fixed.DTYPE),
        ("count", "i8", (len(Event),)),
        ("cause", "i8", (len(Cause),)),
        # not in the images of the periodic clock, which refuses machines with these units
        ("l2", l2.DTYPE),
        ("dram", dram.DTYPE),
    ]
)

IMAGED_WORDS = MACHINE.fields["l2"][1] // 8
"""Words of the record that an image of the periodic clock covers: all before the first unit that it refuses."""

MEMORY_SIDE = ("port", "mem", "fixed", "l2", "dram")
"""Records that pass from one program to the next on a machine whose memory remembers anything."""


def timing_bits(p) -> int:
    """Low bits of a DRAM address on which time depends beside the identity of its page: the port's and the memory's.

    ``p``: PARAMS as a record or as the dictionary that `build` takes.
    """
    if p["l2_sets"]:
        return l2.TIMING_BITS
    if p["page_mode"]:
        return ALL_BITS
    return max(memory.TIMING_BITS[p["memory_model"]], int(p["max_bytes"]).bit_length() - 1)


def _passed_on(machine: np.ndarray) -> tuple[str, ...]:
    """Pages too, where there are any."""
    return (*MEMORY_SIDE, "tlb") if machine[0].p.page_mode else MEMORY_SIDE


def memory_side(machine: np.ndarray) -> bytes:
    """Return what the memory's side of a stopped machine hands to the next program."""
    return b"".join(np.asarray(machine)[name].tobytes() for name in _passed_on(machine))


def resume_memory(machine: np.ndarray, kept: bytes) -> None:
    """Put into a machine after reset what `memory_side` of an earlier program returned."""
    at = 0
    for name in _passed_on(machine):
        field = np.asarray(machine)[name]
        field.view(np.uint8)[:] = np.frombuffer(kept, np.uint8, field.nbytes, at)
        at += field.nbytes


def build(parameters: dict[str, int], phase: int = 0, written_rows: tuple[int, ...] = ()) -> np.ndarray:
    """Return a freshly reset machine as an array of one MACHINE record.

    ``parameters`` gives every field of PARAMS; ``phase`` is the loop slot that comes next (0 after reset);
    ``written_rows`` are accumulator rows that hold data of earlier programs.
    """
    array = np.zeros(1, MACHINE).view(np.recarray)
    m = array[0]
    for name in PARAMS.names:
        m.p[name] = parameters[name]
    long_ago = -(1 << 40)
    m.fe.origin = -1
    m.fe.stop = NEVER
    m.fe.stop_ex = NEVER
    m.lm.head = phase
    m.lm.first[:] = 0
    m.rs.told_t = long_ago
    m.rs.news_t = long_ago
    m.rs.freed_t[:] = long_ago
    m.rs.ex_done = -1
    m.rs.pixels[:] = 1
    m.ex.pend0 = -1
    m.ex.pend1 = -1
    m.ex.ws = 1 if parameters["dataflow"] == 1 else 0
    m.mesh.ws = m.ex.ws
    port.reset(m)
    m.tlb.page[:] = -1
    shared = m.tlb.shared
    shared.mode = parameters["page_mode"]
    if shared.mode:
        shared.entries = parameters["tlb_entries"]
        shared.walk_cycles = parameters["walk_cycles"]
        shared.line_cycles = parameters["walk_line_cycles"]
        walks.reset(shared)
    m.tlb.ask_t[:] = long_ago
    m.rd.free_n = parameters["n_xacts"]
    m.rd.free[: parameters["n_xacts"]] = np.arange(parameters["n_xacts"])[::-1]
    m.acc.w_t[:] = long_ago
    m.acc.shown_t[:] = long_ago
    m.acc.mesh_t[:] = long_ago
    m.acc.last_t = long_ago
    m.acc.read_t[:] = NEVER
    m.acc.rmw_t[:] = long_ago
    m.acc.wen_t[:] = long_ago
    m.acc.same_t[:] = long_ago
    m.ports.sp_write_t[:] = long_ago
    m.ports.sp_read_t[:] = long_ago
    m.out.b_t[:] = NEVER
    m.out.b_pop_t[:] = long_ago
    for field in ("busy_t", "pd1", "rd1", "rd2", "mg1", "mg2", "free_t", "row_t", "last_t"):
        m.burst[field] = long_ago
    m.burst.due_t = NEVER
    m.norm.sum_t = long_ago
    m.norm.max_t = long_ago
    m.norm.ends_t[:] = long_ago
    for row in written_rows:
        m.acc.written[row >> 5] |= np.uint32(1 << (row & 31))
    for queue in ("raw", "conv", "mat", "unrolled"):
        m.fe[queue].pop_t = long_ago
    for unit in (m.ld, m.st, m.ex):
        unit.q_pop_t = long_ago
    m.ex.u_pop_t = long_ago
    m.mv.s.q_pop_t = long_ago
    m.mv.w.q_pop_t = long_ago
    m.mv.s.s_free_t[:] = long_ago
    m.mesh.t_pop_t = long_ago
    m.mesh.c_pop_t = long_ago
    for field in ("d_pop_t", "n_pop_t", "s_pop_t"):
        m.out[field] = long_ago
    m.norm.pop_t = long_ago
    m.rd.freed_t = long_ago
    m.wr.freed_t = long_ago
    l2.reset(m)
    dram.reset(m)
    return array
