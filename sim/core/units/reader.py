"""DMA reader: rows of the load controller become memory requests.

Source: StreamReader in DMA.scala, XactTracker.scala. Stages: issue queue, request splitter (one Get per cycle while a
transaction id is free), TLB stage, translate stage, A channel. A refused request goes back into the TLB stage.
"""

import numpy as np

from sim.core.jit import njit
from sim.core.normal import LONG_AGO, recent, straighten
from sim.core.params import NEVER, XACTS
from sim.core.units import port, tlb, writer
from sim.core.units.memory import E_RB, E_RR, fixed
from sim.core.units.port import put_in, room

QUEUE = 16
REQUESTS = 8  # most on the way to the memory alone: one a cycle

DTYPE = np.dtype(
    [
        # issue queue (read_delay + 1 entries, refilled in the cycle it is emptied)
        ("q_n", "i8"),
        ("q_head", "i8"),
        ("q_vaddr", "i8", (QUEUE,)),
        ("q0", "i8", (QUEUE,)),
        ("q1", "i8", (QUEUE,)),
        ("q_len", "i8", (QUEUE,)),  # bytes of the row
        ("q_row", "i8", (QUEUE,)),  # bytes of a local row
        ("q_stride", "i8", (QUEUE,)),
        # the row being split
        ("busy", "i8"),
        ("vaddr", "i8"),
        ("r0", "i8"),
        ("r1", "i8"),
        ("left", "i8"),
        ("asked", "i8"),
        ("row", "i8"),
        ("stride", "i8"),
        # TLB stage and translate stage: xact | beats << 16, address
        ("t_valid", "i8"),
        ("t_arg", "i8"),
        ("t_vaddr", "i8"),
        ("a_valid", "i8"),
        ("a_arg", "i8"),
        ("a_vaddr", "i8"),
        # transactions
        ("used", "i8"),
        ("freed_t", "i8"),
        ("free_n", "i8"),
        ("free", "i8", (XACTS,)),
        ("x0", "i8", (XACTS,)),
        ("x1", "i8", (XACTS,)),
        ("x_addr", "i8", (XACTS,)),
        ("x_total", "i8", (XACTS,)),
        ("x_shift", "i8", (XACTS,)),
        ("x_bytes", "i8", (XACTS,)),
        ("x_off", "i8", (XACTS,)),
        ("x_row", "i8", (XACTS,)),
        ("x_stride", "i8", (XACTS,)),
    ]
)


@njit
def free_xact(now, m, xact):
    """The last beat of a transaction was taken; its id can be given away from the next cycle."""
    r = m.rd
    r.free[r.free_n] = xact
    r.free_n += 1
    r.used -= 1
    r.freed_t = now


@njit
def can_accept(m):
    """Room in the issue queue; asked after the reader has taken this cycle's row."""
    return m.rd.q_n < m.p.read_delay + 1


@njit
def accept(m, vaddr, w0, w1, length_bytes, row_bytes, stride):
    """One row request of the load controller."""
    r = m.rd
    i = (r.q_head + r.q_n) % QUEUE
    r.q_vaddr[i] = vaddr
    r.q0[i] = w0
    r.q1[i] = w1
    r.q_len[i] = length_bytes
    r.q_row[i] = row_bytes
    r.q_stride[i] = stride
    r.q_n += 1


@njit
def _alone(m):
    """Nobody is on the way to the memory, nor will the writer be in the next cycles: a request meets no one there."""
    b = m.port
    o = m.out
    if m.rd.t_valid + m.rd.a_valid + b.reader_out.n + b.to_memory.n + b.writer_out.n > 0 or not writer.at_rest(m):
        return False
    return o.d_n + o.n_n + o.s_n + o.i_n + o.b_any + o.p_n == 0


@njit
def _send(now, m, xact, beats):
    """A request that meets no one: TLB stage, translate stage, two buffers; the memory takes it four cycles on."""
    f = m.burst
    tlb.pass_alone(now, m.tlb, tlb.READER, m.rd.vaddr)
    m.port.prefer = port.WRITER
    fixed.read(now + 4, m, xact, beats, 0)
    f.a_t[(f.a_head + f.a_n) % REQUESTS] = now + 4
    f.a_n += 1
    f.due_t = min(f.due_t, now + 5)
    m.count[E_RR] += 1
    m.count[E_RB] += beats * m.p.beat_bytes
    m.rs.progress_t = now + 4


@njit
def step(now, m):
    """One cycle of the reader. Returns the wake."""
    return _cycle(now, m) if m.rd.busy + m.rd.q_n + m.rd.t_valid + m.rd.a_valid + m.full > 0 else NEVER


@njit
def _cycle(now, m):
    r = m.rd
    p = m.p
    acted = False
    retry = False
    if r.a_valid:
        acted = True
        r.a_valid = 0
        if room(m.port.reader_out, now) and not tlb.missed(now, m.tlb, tlb.READER):
            put_in(m.port.reader_out, port.READER, r.a_arg, 1, r.a_vaddr)
        else:
            retry = True
    retry_arg = r.a_arg
    retry_vaddr = r.a_vaddr
    if r.t_valid:
        acted = True
        r.a_valid = 1
        r.a_arg = r.t_arg
        r.a_vaddr = r.t_vaddr
        r.t_valid = 0
        tlb.present(now, m.tlb, tlb.READER, r.t_vaddr)
        tlb.request(now, m.tlb, tlb.READER, r.t_vaddr)
    ready = r.busy == 0
    if retry:
        r.t_valid = 1
        r.t_arg = retry_arg
        r.t_vaddr = retry_vaddr
    elif r.busy:
        used = r.used
        if r.freed_t == now:
            used += 1
        if used < p.n_xacts:
            acted = True
            size = p.beat_bytes
            best = 0
            best_bytes = -1
            while size <= p.max_bytes:
                got = size - (r.vaddr & (size - 1))
                if got > r.left:
                    got = r.left
                if got > best_bytes:
                    best_bytes = got
                    best = size
                size *= 2
            r.free_n -= 1
            xact = r.free[r.free_n]
            r.used += 1
            r.x0[xact] = r.r0
            r.x1[xact] = (r.r1 & 0xFFFFFFFFFF) | best_bytes << 40
            r.x_total[xact] = best
            r.x_shift[xact] = r.vaddr & (best - 1)
            r.x_bytes[xact] = best_bytes
            r.x_off[xact] = r.asked % r.row
            r.x_row[xact] = r.row
            r.x_stride[xact] = r.stride
            r.x_addr[xact] = (r.r0 & 0xFFFFFFFF) + r.stride * (r.asked // r.row)
            if m.burst.on and _alone(m):
                _send(now, m, xact, best // p.beat_bytes)
            else:
                r.t_valid = 1
                r.t_arg = xact | (best // p.beat_bytes) << 16
                r.t_vaddr = r.vaddr
            r.vaddr += best_bytes
            r.asked += best_bytes
            r.left -= best_bytes
            if r.left <= 0:
                r.busy = 0
                ready = True
    if ready and r.q_n > 0:
        acted = True
        h = r.q_head
        r.busy = 1
        r.vaddr = r.q_vaddr[h]
        r.r0 = r.q0[h]
        r.r1 = r.q1[h]
        r.left = r.q_len[h]
        r.row = r.q_row[h]
        r.stride = r.q_stride[h]
        r.asked = 0
        r.q_head = (h + 1) % QUEUE
        r.q_n -= 1
    waits = r.a_valid + r.t_valid + m.port.reader_out.n + p.l2_sets == 0 and (
        r.used >= p.n_xacts if r.busy else r.q_n == 0
    )
    return now + 1 if acted and not waits else NEVER  # else until there is a row, or a free id


@njit
def canonise(m, now):
    """Normal form, clock set back to 0."""
    r = m.rd
    h = r.q_head
    for ring in (r.q_vaddr, r.q0, r.q1, r.q_len, r.q_row, r.q_stride):
        straighten(ring, h, r.q_n, QUEUE)
    r.q_head = 0
    if not r.busy:
        r.vaddr = 0
        r.r0 = 0
        r.r1 = 0
        r.left = 0
        r.asked = 0
        r.row = 0
        r.stride = 0
    if not r.t_valid:
        r.t_arg = 0
        r.t_vaddr = 0
    if not r.a_valid:
        r.a_arg = 0
        r.a_vaddr = 0
    r.freed_t = recent(r.freed_t, now, 0)


@njit
def busy(m):
    """A transaction is in flight."""
    return m.rd.used > 0


def reset(m):
    """State after reset: all transaction ids are free."""
    ids = m.p.n_xacts
    m.rd.free_n = ids
    m.rd.free[:ids] = np.arange(ids)[::-1]
    m.rd.freed_t = LONG_AGO


def describe(m):
    """What a stopped reader waits for, in words."""
    return f"DMA reader: {m.rd.used} requests in flight, {m.rd.q_n} rows queued"
