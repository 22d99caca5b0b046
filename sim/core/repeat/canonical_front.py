"""Canonical form of the front end, the loop unrollers and the reservation station."""

import numpy as np

from sim.core.jit import njit
from sim.core.normal import LONG_AGO, due, recent, straighten
from sim.core.units.loop_conv.control import STAGES
from sim.core.units.reservation import EX, LD, SLOTS, ST


@njit
def _queue(q, now):
    for i in range(q.n, 2):
        q.funct[i] = 0
        q.rs1[i] = 0
        q.rs2[i] = 0
        q.src[i] = 0
    q.pop_t = recent(q.pop_t, now, 2)


@njit
def _front_end(m, now):
    """What was copied from the program is copied again; the place in it and the times told are the caller's."""
    fe = m.fe
    _queue(fe.raw, now)
    _queue(fe.conv, now)
    _queue(fe.mat, now)
    _queue(fe.unrolled, now)
    fe.offer_t = due(fe.offer_t, now)
    fe.stalled = 0
    fe.idle_t = 0
    fe.sections = 0
    fe.fetch = 0
    fe.left = 0
    fe.funct = 0
    fe.rs1 = 0
    fe.rs2 = 0
    fe.gap = 0
    fe.next_funct = 0
    fe.next_gap = 0
    fe.stop_t = 0


@njit
def _unrollers(m, now):
    """The commands of this cycle and the decisions that led to them are taken anew."""
    m.lm.funct = 0
    m.lm.rs1 = 0
    m.lm.rs2 = 0
    s = m.lc
    s.funct = 0
    s.rs1 = 0
    s.rs2 = 0
    s.job[:] = 0
    s.done[:] = 0
    s.blocked[:] = 0
    s.loads_emitted = 0
    s.computes_emitted = 0
    for n in range(5):
        straighten(s.p_funct[n], s.p_head[n], s.p_n[n], STAGES)
        straighten(s.p_rs1[n], s.p_head[n], s.p_n[n], STAGES)
        straighten(s.p_rs2[n], s.p_head[n], s.p_n[n], STAGES)
        straighten(s.p_t[n], s.p_head[n], s.p_n[n], STAGES)
        for i in range(s.p_n[n]):
            s.p_t[n, i] = due(s.p_t[n, i], now)
        s.p_head[n] = 0


@njit
def _station(m, now):
    """Operands of an issued command have been handed on; its ranges stay for later commands to compare with."""
    r = m.rs
    for c in range(3):
        straighten(r.waiting[c], r.wait_head[c], r.wait_n[c], SLOTS)
        r.wait_head[c] = 0
        r.freed_t[c] = recent(r.freed_t[c], now, 0)
        if r.freed_t[c] == LONG_AGO:
            r.freed_n[c] = 0
        waits = 0
        for k in range(r.wait_n[c]):
            waits |= 1 << r.waiting[c, k]
        for s in range(SLOTS):
            if not (waits >> s) & 1:
                r.funct[c, s] = 0
                r.rs1[c, s] = 0
                r.rs2[c, s] = 0
                r.deps[c, s, :] = 0
            if not (r.live[c] >> s) & 1:
                r.src[c, s] = 0
                r.row[c, s] = 0
                r.a_dst[c, s] = 0
                r.first[c, :, s] = 0
                r.behind[c, :, s] = 0
            else:
                r.row[c, s] -= r.rows
    r.rows = 0
    r.told[:, :] = 0
    r.told_t = LONG_AGO
    r.log_n = 0
    r.log_what[:] = 0
    r.log_class[:] = 0
    r.log_slot[:] = 0
    r.log_row[:] = 0
    r.news_t = recent(r.news_t, now, 0)
    r.progress_t -= now


@njit
def rest(m, now):
    """Front end to reservation station, clock set back."""
    _front_end(m, now)
    _unrollers(m, now)
    _station(m, now)


@njit
def _permute(a, to, live):
    """Entries of live slots to their new slots; the others are 0 already."""
    b = a.copy()
    a[:] = 0
    for s in range(SLOTS):
        if (live >> s) & 1:
            a[to[s]] = b[s]


@njit
def _renamed(mask, to):
    new = 0
    for s in range(SLOTS):
        if (mask >> s) & 1:
            new |= 1 << to[s]
    return new


@njit
def rename_slots(m):
    """Slots in order of allocation. A slot is a label: issue goes by age, dependences by mask."""
    r = m.rs
    to = np.zeros((3, SLOTS), np.int64)
    for c in range(3):
        for s in range(SLOTS):
            if (r.live[c] >> s) & 1:
                older = 0
                for o in range(SLOTS):
                    if (r.live[c] >> o) & 1 and r.row[c, o] < r.row[c, s]:
                        older += 1
                to[c, s] = older
    for c in range(3):
        live = r.live[c]
        for s in range(SLOTS):
            if (live >> s) & 1:
                for d in range(3):
                    r.deps[c, s, d] = _renamed(r.deps[c, s, d], to[d])
        _permute(r.funct[c], to[c], live)
        _permute(r.rs1[c], to[c], live)
        _permute(r.rs2[c], to[c], live)
        _permute(r.src[c], to[c], live)
        _permute(r.row[c], to[c], live)
        _permute(r.a_dst[c], to[c], live)
        for k in range(3):
            _permute(r.deps[c, :, k], to[c], live)
        for k in range(2):
            _permute(r.first[c, k], to[c], live)
            _permute(r.behind[c, k], to[c], live)
        for k in range(r.wait_n[c]):
            r.waiting[c, k] = to[c, r.waiting[c, k]]
        r.live[c] = (1 << r.n[c]) - 1
    _rename_users(m, to)


@njit
def _worn(to, slot):
    """The new name of a slot; -1 (no slot) keeps its own."""
    return to[slot] if slot >= 0 else slot


@njit
def _rename_users(m, to):
    for i in range(m.ld.q_n):
        m.ld.q_slot[i] = to[LD, m.ld.q_slot[i]]
    for i in range(m.st.q_n):
        m.st.q_slot[i] = to[ST, m.st.q_slot[i]]
    for k in range(SLOTS):
        if m.ld.c_valid[k]:
            m.ld.c_slot[k] = to[LD, m.ld.c_slot[k]]
        if m.st.c_valid[k]:
            m.st.c_slot[k] = to[ST, m.st.c_slot[k]]
    x = m.ex
    for i in range(x.u_n):
        x.u_slot[i] = _worn(to[EX], x.u_slot[i])
    for i in range(x.q_n):
        x.q_slot[i] = _worn(to[EX], x.q_slot[i])
    for i in range(x.e_n):
        x.e_slot[i] = _worn(to[EX], x.e_slot[i])
    x.c_slot = _worn(to[EX], x.c_slot)
    x.pend0 = _worn(to[EX], x.pend0)
    x.pend1 = _worn(to[EX], x.pend1)
    for i in range(m.mesh.t_n):
        m.mesh.t_slot[i] = _worn(to[EX], m.mesh.t_slot[i])
    m.rs.ex_done = _worn(to[EX], m.rs.ex_done)
