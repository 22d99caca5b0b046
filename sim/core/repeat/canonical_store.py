"""Canonical form of the store path: controller, rows on their way, normaliser, DMA writer."""

import numpy as np

from sim.core.fields import is_acc
from sim.core.jit import njit
from sim.core.normal import LONG_AGO, due, recent, straighten
from sim.core.params import BANKS, is_garbage, sp_bank
from sim.core.repeat.canonical_load import controller
from sim.core.units import normalizer
from sim.core.units.loop_matmul.emit import SIGN
from sim.core.units.mvout import QUEUE, ROWS
from sim.core.units.writer import BEATS, IDLE


@njit
def _left_behind(p, address):
    """The bits left behind in the issue queue are looked at: which memory, and which bank of the scratchpad."""
    if is_garbage(p, address):
        return address
    if is_acc(address):
        return SIGN
    return sp_bank(p, address) << p.sp_row_bits


@njit
def _path(m, now):
    o = m.out
    places = m.p.read_delay + 1
    for i in range(o.d_n, 2):
        o.d[i] = 0
    o.d_pop_t = recent(o.d_pop_t, now, 0)
    o.pace_t = due(o.pace_t, now)
    straighten(o.n, o.n_head, o.n_n, QUEUE)
    o.n_head = 0
    o.n_pop_t = recent(o.n_pop_t, now, 0)
    straighten(o.s, o.s_head, o.s_n, QUEUE)
    o.s_head = 0
    o.s_pop_t = recent(o.s_pop_t, now, 0)
    straighten(o.i, o.i_head, o.i_n, places)
    straighten(o.i_addr, o.i_head, places, places)
    for k in range(o.i_n, places):
        o.i_addr[k] = _left_behind(m.p, o.i_addr[k])
    o.i_head = 0
    straighten(o.p_t, o.p_head, o.p_n, QUEUE)
    o.p_head = 0
    for i in range(o.p_n):
        o.p_t[i] = due(o.p_t[i], now)
    for b in range(BANKS):
        straighten(o.b_pipe_t[b], o.b_head[b], o.b_n[b], QUEUE)
        o.b_head[b] = 0
        for i in range(o.b_n[b]):
            o.b_pipe_t[b, i] = due(o.b_pipe_t[b, i], now)
        o.b_t[b] = due(o.b_t[b], now)
        o.b_pop_t[b] = recent(o.b_pop_t[b], now, 0)


@njit
def _normalizer(z, now):
    z.pop_t = recent(z.pop_t, now, 0)
    z.drain = 0
    for i in range(2):
        z.can[i] = 0
        s = z.state[i]
        waits = s == normalizer.WAIT_MEAN or s == normalizer.WAIT_VARIANCE or s == normalizer.WAIT_STDDEV
        waits = waits or s == normalizer.WAIT_INVERSE or s == normalizer.WAIT_SCALED or s == normalizer.WAIT_INV_SUM
        z.done_t[i] = due(z.done_t[i], now) if waits else 0
        z.ends_t[i] = LONG_AGO
    z.sum_t = recent(z.sum_t, now, 0)
    z.max_t = recent(z.max_t, now, 0)
    z.div_t = due(z.div_t, now)
    z.exp_t = due(z.exp_t, now)
    z.root_t = due(z.root_t, now)
    z.inv_t = due(z.inv_t, now)


@njit
def _writer(w, now):
    if w.state == IDLE:
        w.vaddr = 0
        w.length = 0
        w.sent = 0
    if w.state != BEATS:
        w.pk_vaddr = 0
        w.pk_bytes = 0
        w.pk_useful = 0
        w.pk_from = 0
        w.beats_left = 0
    if not w.q_valid:
        w.q_beat = 0
        if not w.t_valid:
            w.q_vaddr = 0  # else still on the wires that the TLB answers
    if not w.t_valid:
        w.t_beat = 0
        w.t_vaddr = 0
    if not w.p_valid:
        w.p_beat = 0
        w.p_vaddr = 0
    w.freed_t = recent(w.freed_t, now, 0)
    w.ready = 0


@njit
def rest(m, now):
    """Store controller to DMA writer, clock set back."""
    controller(m.st, now)
    _path(m, now)
    _normalizer(m.norm, now)
    _writer(m.wr, now)


@njit
def _numbered(queue, count, to, n):
    for k in range(count):
        to[queue[k]] = n
        queue[k] = n
        n += 1
    return n


@njit
def rename_rows(m):
    """Numbers of the rows on their way, in order of their age: a label too."""
    o = m.out
    to = np.full(ROWS, -1, np.int64)
    n = _numbered(o.i, o.i_n, to, 0)
    n = _numbered(o.s, o.s_n, to, n)
    n = _numbered(o.n, o.n_n, to, n)
    n = _numbered(o.d, o.d_n, to, n)
    for table in (o.vaddr, o.addr, o.length, o.block, o.norm, o.stat, o.store, o.cmd):
        old = table.copy()
        table[:] = 0
        for row in range(ROWS):
            if to[row] >= 0:
                table[to[row]] = old[row]
    for k in range(n - o.d_n):
        o.cmd[k] = 0  # only asked for at dispatch
    for row in range(ROWS):
        o.there[row] = 1 if row < n else 0
    o.next = n % ROWS
