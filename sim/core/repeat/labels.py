"""Interchangeable labels: reservation station slots, transaction ids and row numbers, renamed in order of their age.

The choice among free labels depends on the past; the future behaviour does not depend on it.
Each label is used by several units, so the renaming is here and not in one of them.
"""

import numpy as np

from sim.core.jit import njit
from sim.core.params import XACTS
from sim.core.units.mvout import ROWS
from sim.core.units.reservation import EX, LD, SLOTS, ST
from sim.core.units.tilelink import READER


@njit
def rename_slots(m):
    """Rename slots in order of allocation. A slot is a label: commands issue by age, dependences are masks."""
    r = m.station
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
        _permute(r.source[c], to[c], live)
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
    """Move entries of live slots to their new slots; the others are 0 already."""
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
    """Return the new name of a slot; -1 (no slot) is unchanged."""
    return to[slot] if slot >= 0 else slot


@njit
def _rename_users(m, to):
    for i in range(m.load.queue_n):
        m.load.queue_slot[i] = to[LD, m.load.queue_slot[i]]
    for i in range(m.store.queue_n):
        m.store.queue_slot[i] = to[ST, m.store.queue_slot[i]]
    for k in range(SLOTS):
        if m.load.tracked[k]:
            m.load.tracked_slot[k] = to[LD, m.load.tracked_slot[k]]
        if m.store.tracked[k]:
            m.store.tracked_slot[k] = to[ST, m.store.tracked_slot[k]]
    x = m.execute
    for i in range(x.unroller_n):
        x.unroller_slot[i] = _worn(to[EX], x.unroller_slot[i])
    for i in range(x.queue_n):
        x.queue_slot[i] = _worn(to[EX], x.queue_slot[i])
    for i in range(x.entry_n):
        x.entry_slot[i] = _worn(to[EX], x.entry_slot[i])
    x.c_slot = _worn(to[EX], x.c_slot)
    x.pending_first = _worn(to[EX], x.pending_first)
    x.pending_second = _worn(to[EX], x.pending_second)
    for i in range(m.mesh.tags_n):
        m.mesh.tags_slot[i] = _worn(to[EX], m.mesh.tags_slot[i])
    m.station.ex_done = _worn(to[EX], m.station.ex_done)


@njit
def rename_transactions(m):
    """Rename transaction ids in order of their end; False if an id in use is not found anywhere."""
    r = m.reader
    to = np.full(XACTS, -1, np.int64)
    n = _transactions(m, to)
    for table in (
        r.id_target,
        r.id_shape,
        r.id_address,
        r.id_total_bytes,
        r.id_shift,
        r.id_useful_bytes,
        r.id_offset,
        r.id_row_bytes,
        r.id_block_stride,
    ):
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
    """Number the transactions in flight in the order in which they will end; return their count."""
    b = m.port
    mem = m.fixed
    r = m.reader
    n = 0
    for i in range(m.burst.ends_n):
        n = _number(to, m.burst.ends_id[i], n)
        m.burst.ends_id[i] = to[m.burst.ends_id[i]]
    for i in range(b.reader_in.n):
        n = _number(to, b.reader_in.arg[i], n)
        b.reader_in.arg[i] = to[b.reader_in.arg[i]]
    for i in range(b.from_memory.n):
        if b.from_memory.client[i] == READER:
            n = _number(to, b.from_memory.arg[i], n)
            b.from_memory.arg[i] = to[b.from_memory.arg[i]]
    for i in range(mem.read_n):
        n = _number(to, mem.read_id[i], n)
        mem.read_id[i] = to[mem.read_id[i]]
    for i in range(b.to_memory.n):
        if b.to_memory.client[i] == READER:
            n = _number(to, b.to_memory.arg[i] & 0xFFFF, n)
            b.to_memory.arg[i] = (b.to_memory.arg[i] & ~0xFFFF) | to[b.to_memory.arg[i] & 0xFFFF]
    for i in range(b.reader_out.n):
        n = _number(to, b.reader_out.arg[i] & 0xFFFF, n)
        b.reader_out.arg[i] = (b.reader_out.arg[i] & ~0xFFFF) | to[b.reader_out.arg[i] & 0xFFFF]
    if r.translated_valid:
        n = _number(to, r.translated_arg & 0xFFFF, n)
        r.translated_arg = (r.translated_arg & ~0xFFFF) | to[r.translated_arg & 0xFFFF]
    if r.tlb_valid:
        n = _number(to, r.tlb_arg & 0xFFFF, n)
        r.tlb_arg = (r.tlb_arg & ~0xFFFF) | to[r.tlb_arg & 0xFFFF]
    return n


@njit
def _number(to, xact, n):
    """Give a transaction the next number if it has none yet; return how many have one."""
    if to[xact] < 0:
        to[xact] = n
        return n + 1
    return n


@njit
def rename_rows(m):
    """Rename the numbers of rows in flight, which are labels too, in order of their age."""
    o = m.mvout
    to = np.full(ROWS, -1, np.int64)
    n = _rows(o.issue_queue, o.issue_n, to, 0)
    n = _rows(o.scale_queue, o.scale_n, to, n)
    n = _rows(o.norm_queue, o.norm_n, to, n)
    n = _rows(o.dispatch_queue, o.dispatch_n, to, n)
    for table in (o.address, o.local, o.length, o.block, o.norm, o.stat, o.store, o.command):
        old = table.copy()
        table[:] = 0
        for row in range(ROWS):
            if to[row] >= 0:
                table[to[row]] = old[row]
    for k in range(n - o.dispatch_n):
        o.command[k] = 0  # only read at dispatch
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
