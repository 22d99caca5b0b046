"""Labels of equal standing: reservation station slots, transaction ids and row numbers, renamed in order of their age.

Which free label a thing is given depends on the past; what the machine does from now on does not depend on the label.
Each label is used by several units, so the renaming is here and not in one of them.
"""

import numpy as np

from sim.core.jit import njit
from sim.core.params import XACTS
from sim.core.units import port
from sim.core.units.mvout import ROWS
from sim.core.units.reservation import EX, LD, SLOTS, ST


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


@njit
def rename_transactions(m):
    """Transaction ids in order of their end; False when some id in use is nowhere to be found."""
    r = m.rd
    to = np.full(XACTS, -1, np.int64)
    n = _transactions(m, to)
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


@njit
def _transactions(m, to):
    """Number the transactions in flight in the order in which they will end; returns how many there are."""
    b = m.port
    mem = m.fixed
    r = m.rd
    n = 0
    for i in range(m.burst.x_n):
        n = _number(to, m.burst.x_id[i], n)
        m.burst.x_id[i] = to[m.burst.x_id[i]]
    for i in range(b.reader_in.n):
        n = _number(to, b.reader_in.arg[i], n)
        b.reader_in.arg[i] = to[b.reader_in.arg[i]]
    for i in range(b.from_memory.n):
        if b.from_memory.client[i] == port.READER:
            n = _number(to, b.from_memory.arg[i], n)
            b.from_memory.arg[i] = to[b.from_memory.arg[i]]
    for i in range(mem.read_n):
        n = _number(to, mem.read_id[i], n)
        mem.read_id[i] = to[mem.read_id[i]]
    for i in range(b.to_memory.n):
        if b.to_memory.client[i] == port.READER:
            n = _number(to, b.to_memory.arg[i] & 0xFFFF, n)
            b.to_memory.arg[i] = (b.to_memory.arg[i] & ~0xFFFF) | to[b.to_memory.arg[i] & 0xFFFF]
    for i in range(b.reader_out.n):
        n = _number(to, b.reader_out.arg[i] & 0xFFFF, n)
        b.reader_out.arg[i] = (b.reader_out.arg[i] & ~0xFFFF) | to[b.reader_out.arg[i] & 0xFFFF]
    if r.a_valid:
        n = _number(to, r.a_arg & 0xFFFF, n)
        r.a_arg = (r.a_arg & ~0xFFFF) | to[r.a_arg & 0xFFFF]
    if r.t_valid:
        n = _number(to, r.t_arg & 0xFFFF, n)
        r.t_arg = (r.t_arg & ~0xFFFF) | to[r.t_arg & 0xFFFF]
    return n


@njit
def _number(to, xact, n):
    """Give a transaction the next number when it has none yet; returns how many have one."""
    if to[xact] < 0:
        to[xact] = n
        return n + 1
    return n


@njit
def rename_rows(m):
    """Numbers of the rows on their way, in order of their age: a label too."""
    o = m.out
    to = np.full(ROWS, -1, np.int64)
    n = _rows(o.i, o.i_n, to, 0)
    n = _rows(o.s, o.s_n, to, n)
    n = _rows(o.n, o.n_n, to, n)
    n = _rows(o.d, o.d_n, to, n)
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


@njit
def _rows(queue, count, to, n):
    for k in range(count):
        to[queue[k]] = n
        queue[k] = n
        n += 1
    return n
