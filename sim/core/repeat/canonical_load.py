"""Canonical form of the load path: controller, DMA reader, bus and memory, the way of loaded rows."""

import numpy as np

from sim.core.jit import njit
from sim.core.leap import burst
from sim.core.normal import LONG_AGO, due, recent, straighten
from sim.core.params import BANKS, RING, XACTS
from sim.core.units import load, memory, port, reader
from sim.isa import codes


@njit
def controller(s, now):
    """Command queue and tracker, alike in load and store controller."""
    h = s.q_head
    straighten(s.q_funct, h, s.q_n, RING)
    straighten(s.q_rs1, h, s.q_n, RING)
    straighten(s.q_rs2, h, s.q_n, RING)
    straighten(s.q_slot, h, s.q_n, RING)
    s.q_head = 0
    for i in range(s.q_n):
        if s.q_funct[i] == codes.CONFIG:
            s.q_slot[i] = 0  # a configuration left the reservation station when it was issued
    s.q_pop_t = recent(s.q_pop_t, now, 0)
    if s.state == 0:
        s.cmd = 0
    for k in range(load.SLOTS):
        if s.c_valid[k]:
            s.c_done_t[k] = due(s.c_done_t[k], now)
        else:
            s.c_left[k] = 0
            s.c_slot[k] = 0
            s.c_done_t[k] = 0


@njit
def _reader(r, now):
    h = r.q_head
    for ring in (r.q_vaddr, r.q0, r.q1, r.q_len, r.q_row, r.q_stride):
        straighten(ring, h, r.q_n, reader.QUEUE)
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
def _scaler(s, now):
    """The slots of few multipliers turn to their beginning; which element had the multiplier last is told apart."""
    for i in range(s.q_n, 2):
        s.q0[i] = 0
        s.q1[i] = 0
    s.q_pop_t = recent(s.q_pop_t, now, 0)
    if not s.valid:
        s.r0 = 0
        s.r1 = 0
    for ring in (s.p0, s.p1, s.p_t):
        straighten(ring, s.p_head, s.p_n, RING)
    s.p_head = 0
    for i in range(s.p_n):
        s.p_t[i] = due(s.p_t[i], now)
    _turn_slots(s, s.head)
    for i in range(3):
        s.s_free_t[i] = recent(s.s_free_t[i], now, 0)
        if s.s_valid[i]:
            s.s_done_t[i] = due(s.s_done_t[i], now)
        else:
            s.s_done_t[i] = 0
            s.s0[i] = 0
            s.s1[i] = 0
            s.s_left[i] = 0


@njit
def _turn_slots(s, by):
    for slots in (s.s_valid, s.s_free_t, s.s0, s.s1, s.s_left, s.s_done_t):
        old = slots.copy()
        for i in range(3):
            slots[i] = old[(i + by) % 3]
    s.tail = (s.tail - by) % 3
    s.head = 0


@njit
def _rows(v, now):
    if not v.g_valid:
        v.g_read = 0
        v.g_sent = 0
        v.g_total = 0
        v.g_shift = 0
        v.g_bytes = 0
        v.g_off = 0
        v.g_row = 0
        v.g_addr = 0
        v.g_stride = 0
        v.g0 = 0
        v.g1 = 0
    v.d_t = due(v.d_t, now)
    _scaler(v.s, now)
    _scaler(v.w, now)
    if not v.r_valid:
        v.r0 = 0
        v.r1 = 0
    if not v.y_valid:
        v.y0 = 0
        v.y1 = 0
    if not v.z_valid:
        v.z_addr = 0
        v.z_cols = 0
        v.z_stride = 0
        v.z_col = 0
        v.z_cmd = 0
        v.z_bytes = 0
        v.z_pix = 0


@njit
def _bursts(f, now):
    straighten(f.p_t, f.p_head, f.p_n, burst.BEATS_OUT)
    straighten(f.a_t, f.a_head, f.a_n, burst.REQUESTS)
    straighten(f.x_t, f.x_head, f.x_n, RING)
    straighten(f.x_id, f.x_head, f.x_n, RING)
    for ring in (f.w_t, f.w_rows, f.w_bank, f.w_last):
        straighten(ring, f.w_head, f.w_n, RING)
    f.p_head = 0
    f.a_head = 0
    f.x_head = 0
    f.w_head = 0
    for i in range(f.a_n):
        f.a_t[i] -= now
    for i in range(f.p_n):
        f.p_t[i] -= now << 6
    for i in range(f.x_n):
        f.x_t[i] -= now
    for i in range(f.w_n):
        f.w_t[i] -= now
    f.due_t = due(f.due_t, now)
    for bank in range(BANKS):
        f.bank_t[bank] = recent(f.bank_t[bank], now, 0)
    f.busy_t = recent(f.busy_t, now, 0)
    f.pd1 = recent(f.pd1, now, 0)
    f.rd1 = recent(f.rd1, now, 0)
    f.rd2 = recent(f.rd2, now, 0)
    f.mg1 = recent(f.mg1, now, 0)
    f.mg2 = recent(f.mg2, now, 0)
    f.free_t = recent(f.free_t, now, 0)
    f.row_t = LONG_AGO
    f.last_t = LONG_AGO


@njit
def rest(m, now):
    """Load controller to write ports, clock set back."""
    controller(m.ld, now)
    _reader(m.rd, now)
    port.canonise(m, now)
    memory.canonise(m, now)
    _rows(m.mv, now)
    _bursts(m.burst, now)


@njit
def _name(to, xact, n):
    """Give a transaction the next number when it has none yet; returns how many have one."""
    if to[xact] < 0:
        to[xact] = n
        return n + 1
    return n


@njit
def _numbered(m, to):
    """Number the transactions in flight in the order in which they will end; returns how many there are."""
    b = m.port
    mem = m.fixed
    r = m.rd
    n = 0
    for i in range(m.burst.x_n):
        n = _name(to, m.burst.x_id[i], n)
        m.burst.x_id[i] = to[m.burst.x_id[i]]
    for i in range(b.reader_in.n):
        n = _name(to, b.reader_in.arg[i], n)
        b.reader_in.arg[i] = to[b.reader_in.arg[i]]
    for i in range(b.from_memory.n):
        if b.from_memory.client[i] == port.READER:
            n = _name(to, b.from_memory.arg[i], n)
            b.from_memory.arg[i] = to[b.from_memory.arg[i]]
    for i in range(mem.read_n):
        n = _name(to, mem.read_id[i], n)
        mem.read_id[i] = to[mem.read_id[i]]
    for i in range(b.to_memory.n):
        if b.to_memory.client[i] == port.READER:
            n = _name(to, b.to_memory.arg[i] & 0xFFFF, n)
            b.to_memory.arg[i] = (b.to_memory.arg[i] & ~0xFFFF) | to[b.to_memory.arg[i] & 0xFFFF]
    for i in range(b.reader_out.n):
        n = _name(to, b.reader_out.arg[i] & 0xFFFF, n)
        b.reader_out.arg[i] = (b.reader_out.arg[i] & ~0xFFFF) | to[b.reader_out.arg[i] & 0xFFFF]
    if r.a_valid:
        n = _name(to, r.a_arg & 0xFFFF, n)
        r.a_arg = (r.a_arg & ~0xFFFF) | to[r.a_arg & 0xFFFF]
    if r.t_valid:
        n = _name(to, r.t_arg & 0xFFFF, n)
        r.t_arg = (r.t_arg & ~0xFFFF) | to[r.t_arg & 0xFFFF]
    return n


@njit
def rename_transactions(m):
    """Transaction ids in order of their end; False when some id in use is nowhere to be found."""
    r = m.rd
    to = np.full(XACTS, -1, np.int64)
    n = _numbered(m, to)
    for table in (r.x0, r.x1, r.x_addr, r.x_total, r.x_shift, r.x_bytes, r.x_off, r.x_row, r.x_stride):
        old = table.copy()
        table[:] = 0
        for xact in range(XACTS):
            if to[xact] >= 0:
                table[to[xact]] = old[xact]
    r.free[:] = 0
    for i in range(r.free_n):
        r.free[i] = m.p.n_xacts - 1 - i
    return n == r.used
