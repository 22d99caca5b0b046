"""What each unit of a stuck machine waits for, in words. Cold code: never compiled, only reads the record."""

from __future__ import annotations

import numpy as np

from sim.core.units.reservation import EX, LD, ST
from sim.isa.commands import Funct

CLASS = {LD: "ld", EX: "ex", ST: "st"}
EX_STATE = {0: "waiting for commands", 1: "firing rows", 2: "asking for a flush", 3: "flushing"}
LD_STATE = {0: "waiting for a command", 1: "waiting for the DMA", 2: "sending rows"}


def _head(m: np.record, c: int) -> str:
    r = m.rs
    if r.n[c] == 0:
        return "empty"
    if r.wait_n[c] == 0:
        return f"{r.n[c]} issued, none waiting"
    slot = r.waiting[c, r.wait_head[c] % r.waiting.shape[1]]
    waits = [f"{bin(int(r.deps[c, slot, d])).count('1')} {CLASS[d]}" for d in CLASS if r.deps[c, slot, d] != 0]
    name = Funct(int(r.funct[c, slot])).name.lower()
    return f"{r.n[c]} entries, next to issue: {name}, waits for {' and '.join(waits) or 'its controller'}"


def describe(machine: np.ndarray, program_length: int) -> str:
    """Return one line per unit of a machine (array of one MACHINE record) that has stopped making progress."""
    m = machine[0]
    lines = [
        f"front end: {m.fe.pc} of {program_length} commands accepted, "
        f"{'waiting at a fence' if m.fe.waits else 'next command pending'}; queued "
        f"{m.fe.raw.n + m.fe.conv.n + m.fe.mat.n + m.fe.unrolled.n}",
        f"matmul loop: slots configured {m.lm.configured[0]}{m.lm.configured[1]}, "
        f"emitted and not completed ld {m.lm.ld_used} ex {m.lm.ex_used} st {m.lm.st_used}",
        f"reservation station ld: {_head(m, LD)}",
        f"reservation station ex: {_head(m, EX)}",
        f"reservation station st: {_head(m, ST)}",
        f"load controller: {LD_STATE[int(m.ld.state)]}, {m.ld.q_n} commands queued, {m.ld.c_n} in flight",
        f"DMA reader: {m.rd.used} requests in flight, {m.rd.q_n} rows queued",
        f"execute: {EX_STATE[int(m.ex.state)]}, {m.ex.q_n} commands queued, {m.ex.e_n} rows on their way to the mesh",
        f"mesh: {m.mesh.r_n} rows inside, {m.mesh.t_n} results outstanding",
        f"store controller: {LD_STATE[int(m.st.state)]}, {m.st.q_n} commands queued, {m.st.c_n} in flight",
        f"store path: dispatch {m.out.d_n}, norm {m.out.n_n}, scale {m.out.s_n}, issue {m.out.i_n} rows",
        f"DMA writer: {m.wr.used} writes unacknowledged, {'sending' if m.wr.state else 'idle'}",
    ]
    if m.ex.illegal:
        lines.append("execute: config_ex asks for two operands from the one transposer; the array flushes for ever")
    if m.p.n_xacts == 1 and m.wr.state:
        lines.append(
            "dma.max_in_flight_requests = 1: the DMA writer needs a free id for every beat and its Put holds the only one "
            "(DMA.scala: a Put of several beats never ends, in the RTL as here); nearest value that ends: 2"
        )
    if m.out.i_n > 0 and m.out.p_n == 0 and m.out.b_any == 0:
        lines.append(
            "store path: the row at the head of the issue queue has lost its data (scratchpad pipe shorter than the "
            "queues beside it: this machine cannot mvout from the scratchpad)"
        )
    return "\n".join(lines)
