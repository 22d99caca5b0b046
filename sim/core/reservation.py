"""Reservation station: three tables (ld, ex, st), in-order issue within a class, range-overlap dependences between.

Source: ReservationStation.scala. Per cycle: one command enters, up to one per class issues, one completes
(ex before ld before st). A dependence cleared in cycle t lets the dependant issue in t + 1.
"""

import numpy as np
from numba import njit

from sim.core import load
from sim.core.cmdqueue import pop
from sim.core.events import Event
from sim.core.params import NEVER, RING, is_acc, is_garbage

E_LD = int(Event.COMMANDS_LD)
E_ST = int(Event.COMMANDS_ST)
E_EX = int(Event.COMMANDS_EX)

LD = 0
EX = 1
ST = 2
SLOTS = 64  # entries per class; dependences are one 64-bit mask per class

DTYPE = np.dtype(
    [
        ("n", "i8", (3,)),  # valid entries per class
        ("freed_t", "i8", (3,)),
        ("freed_n", "i8", (3,)),
        ("live", "i8", (3,)),  # mask of valid slots
        ("wait_n", "i8", (3,)),  # not yet issued, in order
        ("wait_head", "i8", (3,)),
        ("waiting", "i8", (3, SLOTS)),
        ("funct", "i8", (3, SLOTS)),
        ("rs1", "i8", (3, SLOTS)),
        ("rs2", "i8", (3, SLOTS)),
        ("src", "i8", (3, SLOTS)),
        ("row", "i8", (3, SLOTS)),  # row of the timeline
        ("deps", "i8", (3, SLOTS, 3)),
        # operand ranges: [.., 0] = opa (a destination when a_dst), [.., 1] = opb
        ("used", "i8", (3, SLOTS, 2)),
        ("acc", "i8", (3, SLOTS, 2)),
        ("start", "i8", (3, SLOTS, 2)),
        ("end", "i8", (3, SLOTS, 2)),
        ("wraps", "i8", (3, SLOTS, 2)),
        ("a_dst", "i8", (3, SLOTS)),
        ("solitary", "i8"),  # the newest execute command is a preload without its compute
        # configuration tracked at allocation
        ("a_stride", "i8"),
        ("c_stride", "i8"),
        ("a_transpose", "i8"),
        ("block_stride", "i8", (4,)),
        ("pixels", "i8", (4,)),
        ("pooling", "i8"),
        # completions told to the unrollers this cycle: [source 1 matmul, 2 conv][class]
        ("told", "i8", (3, 3)),
        ("told_t", "i8"),
        ("ex_done", "i8"),  # ex slot that completes this cycle, -1 none
        ("rows", "i8"),  # timeline rows written
        ("progress_t", "i8"),  # last cycle in which a command moved
    ]
)

TIMELINE = np.dtype(
    [
        ("queue", "i8"),
        ("funct", "i8"),
        ("rs1", "i8"),
        ("rs2", "i8"),
        ("t_alloc", "i8"),
        ("t_issue", "i8"),
        ("t_complete", "i8"),
    ]
)


@njit
def busy(m):
    """Not empty, except for one preload that has no compute yet."""
    r = m.rs
    n = r.n[0] + r.n[1] + r.n[2]
    return n > 0 and not (n == 1 and r.solitary == 1)


@njit
def head_blocked(m):
    """The next command to enter finds the table of its class full."""
    q = m.fe.unrolled
    c = _class_of(q.funct[0], q.rs1[0])
    limit = m.p.rs_ld if c == LD else (m.p.rs_ex if c == EX else m.p.rs_st)
    return q.n > 0 and m.rs.n[c] >= limit


@njit
def _range(m, c, s, which, address, rows):
    """Note an operand: `rows` local rows from `address`."""
    r = m.rs
    p = m.p
    acc = is_acc(address)
    limit = p.acc_rows if acc else p.sp_rows
    first = address & (limit - 1)
    end = (address & p.addr_mask) + rows
    r.used[c, s, which] = 0 if is_garbage(p, address) else 1
    r.acc[c, s, which] = acc
    r.start[c, s, which] = first
    r.end[c, s, which] = end & (limit - 1)
    r.wraps[c, s, which] = 1 if end & limit else 0


@njit
def _overlap(r, c, s, i, d, e, j):
    """Do operand i of (class c, slot s) and operand j of (d, e) overlap?"""
    if r.used[c, s, i] == 0 or r.used[d, e, j] == 0 or r.acc[c, s, i] != r.acc[d, e, j]:
        return False
    a = r.start[c, s, i]
    b = r.start[d, e, j]
    if b <= a:
        return a < r.end[d, e, j] or r.wraps[d, e, j] == 1
    return b < r.end[c, s, i] or r.wraps[c, s, i] == 1


@njit
def _class_of(funct, rs1):
    if funct == 1 or funct == 2 or funct == 14:
        return LD
    if funct == 3:
        return ST
    if funct == 0:
        kind = rs1 & 3
        if kind == 1:
            return LD
        if kind == 0:
            return EX
        return ST
    return EX


@njit
def _clear(r, c, slot):
    """A dependence on (class c, slot) is gone."""
    keep = ~(1 << slot)
    for d in range(3):
        for k in range(r.wait_n[d]):
            s = r.waiting[d, (r.wait_head[d] + k) % SLOTS]
            r.deps[d, s, c] &= keep


@njit
def _free(now, m, c, slot, times):
    r = m.rs
    if r.freed_t[c] != now:
        r.freed_t[c] = now
        r.freed_n[c] = 0
    r.freed_n[c] += 1
    r.n[c] -= 1
    r.live[c] &= ~(1 << slot)
    if r.src[c, slot] > 0:
        if r.told_t != now:
            r.told_t = now
            r.told[:, :] = 0
        r.told[r.src[c, slot], c] += 1


@njit
def _complete(now, m, c, slot, times):
    r = m.rs
    _clear(r, c, slot)
    if times.shape[0] > r.row[c, slot]:
        times[r.row[c, slot]].t_complete = now
    _free(now, m, c, slot, times)


@njit
def _controller_room(now, m, c):
    """Did the class's controller queue have room at the start of this cycle?"""
    if c == LD:
        n = m.ld.q_n + (1 if m.ld.q_pop_t == now else 0)
        return n < m.p.ldq
    if c == ST:
        n = m.st.q_n + (1 if m.st.q_pop_t == now else 0)
        return n < m.p.stq
    n = m.ex.u_n + (1 if m.ex.u_pop_t == now else 0)
    return n < 2


@njit
def _issue(now, m, c, times):
    """Issue the oldest waiting command of a class when its dependences are gone. True when it went."""
    r = m.rs
    if r.wait_n[c] == 0:
        return False
    s = r.waiting[c, r.wait_head[c]]
    if r.deps[c, s, 0] | r.deps[c, s, 1] | r.deps[c, s, 2]:
        return False
    if not _controller_room(now, m, c):
        return False
    r.wait_head[c] = (r.wait_head[c] + 1) % SLOTS
    r.wait_n[c] -= 1
    if times.shape[0] > r.row[c, s]:
        times[r.row[c, s]].t_issue = now
    if c == LD:
        q = m.ld
        i = (q.q_head + q.q_n) % RING
        q.q_funct[i] = r.funct[c, s]
        q.q_rs1[i] = r.rs1[c, s]
        q.q_rs2[i] = r.rs2[c, s]
        q.q_slot[i] = s
        q.q_n += 1
    elif c == ST:
        w = m.st
        i = (w.q_head + w.q_n) % RING
        w.q_funct[i] = r.funct[c, s]
        w.q_rs1[i] = r.rs1[c, s]
        w.q_rs2[i] = r.rs2[c, s]
        w.q_slot[i] = s
        w.q_n += 1
    else:
        x = m.ex
        i = x.u_n
        x.u_funct[i] = r.funct[c, s]
        x.u_rs1[i] = r.rs1[c, s]
        x.u_rs2[i] = r.rs2[c, s]
        x.u_slot[i] = s
        x.u_n += 1
    if r.funct[c, s] == 0 and c != EX:
        _clear(r, c, s)
        _free(now, m, c, s, times)
    return True


@njit
def _depend(now, m, c, s):
    """Record the dependences of the new entry (class c, slot s)."""
    r = m.rs
    deps0 = 0
    deps1 = 0
    deps2 = 0
    if r.funct[c, s] != 0:
        if c == LD:
            for e in range(m.p.rs_ex):
                if (r.live[EX] >> e) & 1 and (_overlap(r, c, s, 0, EX, e, 0) or _overlap(r, c, s, 0, EX, e, 1)):
                    deps1 |= 1 << e
            for e in range(m.p.rs_st):
                if (r.live[ST] >> e) & 1 and _overlap(r, c, s, 0, ST, e, 0):
                    deps2 |= 1 << e
        elif c == EX:
            for e in range(m.p.rs_ld):
                if (r.live[LD] >> e) & 1 and (_overlap(r, c, s, 0, LD, e, 0) or _overlap(r, c, s, 1, LD, e, 0)):
                    deps0 |= 1 << e
            if r.a_dst[c, s]:
                for e in range(m.p.rs_st):
                    if (r.live[ST] >> e) & 1 and _overlap(r, c, s, 0, ST, e, 0):
                        deps2 |= 1 << e
        else:
            for e in range(m.p.rs_ld):
                if (r.live[LD] >> e) & 1 and _overlap(r, c, s, 0, LD, e, 0):
                    deps0 |= 1 << e
            for e in range(m.p.rs_ex):
                if (r.live[EX] >> e) & 1 and r.a_dst[EX, e] and _overlap(r, c, s, 0, EX, e, 0):
                    deps1 |= 1 << e
    if c == ST and m.p.serialise_stores:
        deps2 |= r.live[ST] & ~(1 << s)
    r.deps[c, s, 0] = deps0
    r.deps[c, s, 1] = deps1
    r.deps[c, s, 2] = deps2


@njit
def _operands(m, c, s, funct, rs1, rs2):
    """Fill the operand ranges of a new entry."""
    r = m.rs
    p = m.p
    r.used[c, s, 0] = 0
    r.used[c, s, 1] = 0
    r.a_dst[c, s] = 0
    if funct == 0:
        return
    if funct == 6:
        r.a_dst[c, s] = 1
        _range(m, c, s, 0, rs2 & 0xFFFFFFFF, ((rs2 >> 48) & 0xFFFF) * r.c_stride)
        _range(m, c, s, 1, rs1 & 0xFFFFFFFF, (rs1 >> 48) & 0xFFFF)
    elif funct == 4 or funct == 5:
        rows = (rs1 >> 48) & 0xFFFF
        if r.a_transpose:
            rows = (rs1 >> 32) & 0xFFFF
        _range(m, c, s, 0, rs1 & 0xFFFFFFFF, rows * r.a_stride)
        _range(m, c, s, 1, rs2 & 0xFFFFFFFF, (rs2 >> 48) & 0xFFFF)
    elif funct == 3:
        address = rs2 & 0xFFFFFFFF
        if r.pooling:
            bank = ((address & p.addr_mask) >> p.acc_row_bits) & (p.acc_banks - 1)
            after = (bank + 1) << p.acc_row_bits
            _range(m, c, s, 0, address, 0)
            r.end[c, s, 0] = after & (p.acc_rows - 1)
            r.wraps[c, s, 0] = 1 if after & (p.acc_rows - 1) == 0 else 0
        else:
            blocks = (((rs2 >> 32) & p.cols_mask) + p.dim - 1) // p.dim
            _range(m, c, s, 0, address, (blocks - 1) * p.dim + ((rs2 >> 48) & p.rows_mask))
    else:
        i = 1 if funct == 1 else (2 if funct == 14 else 0)
        address = rs2 & 0xFFFFFFFF
        blocks = (((rs2 >> 32) & p.cols_mask) + p.dim - 1) // p.dim
        if p.first_layer and not is_acc(address):
            row = address & (p.sp_rows - 1)
            floor = p.sp_rows // 2 if row > p.sp_rows // 2 else 0
            back = r.pixels[i] - 1
            to = floor if row < floor + back else row - back
            address = (address & ~p.addr_mask) | to
        r.a_dst[c, s] = 1
        _range(m, c, s, 0, address, (blocks - 1) * r.block_stride[i] + ((rs2 >> 48) & p.rows_mask))


@njit
def _remember(m, funct, rs1, rs2, c):
    """Configuration that later ranges depend on, tracked in program order."""
    r = m.rs
    if funct == 0:
        if c == EX:
            r.a_stride = (rs1 >> 16) & 0xFFFF
            r.c_stride = (rs2 >> 48) & 0xFFFF
            if (rs1 >> 7) & 1 == 0:
                r.a_transpose = (rs1 >> 8) & 1
        elif c == LD:
            i = (rs1 >> 3) & 3
            r.block_stride[i] = (rs1 >> 16) & 0xFFFF
            pixels = (rs1 >> 8) & 0xFF
            r.pixels[i] = pixels if pixels > 0 else 1
        elif rs1 & 3 == 2:
            r.pooling = 1 if (rs1 >> 4) & 3 else 0
    elif funct == 6:
        r.solitary = 1
    elif funct == 4 or funct == 5:
        r.solitary = 0


@njit
def step(now, m, count, times):
    """One cycle: issue, complete, allocate. Returns the wake."""
    r = m.rs
    p = m.p
    acted = False
    for c in range(3):
        if _issue(now, m, c, times):
            acted = True
    if r.ex_done >= 0:
        _complete(now, m, EX, r.ex_done, times)
        r.ex_done = -1
        acted = True
    else:
        k = load.completed(now, m)
        if k >= 0:
            m.ld.c_valid[k] = 0
            m.ld.c_n -= 1
            _complete(now, m, LD, m.ld.c_slot[k], times)
            acted = True
        else:
            s = m.st
            for i in range(p.n_cmds):
                if s.c_valid[i] and s.c_left[i] == 0 and s.c_done_t[i] <= now:
                    s.c_valid[i] = 0
                    s.c_n -= 1
                    _complete(now, m, ST, s.c_slot[i], times)
                    acted = True
                    break
    q = m.fe.unrolled
    if q.n > 0:
        funct = q.funct[0]
        if funct == 7 or funct > 21:
            pop(q, now)
            acted = True
        else:
            rs1 = q.rs1[0]
            rs2 = q.rs2[0]
            c = _class_of(funct, rs1)
            limit = p.rs_ld if c == LD else (p.rs_ex if c == EX else p.rs_st)
            n = r.n[c]
            if r.freed_t[c] == now:
                n += r.freed_n[c]
            if n < limit:
                slot = 0
                while (r.live[c] >> slot) & 1:
                    slot += 1
                r.live[c] |= 1 << slot
                r.n[c] += 1
                r.funct[c, slot] = funct
                r.rs1[c, slot] = rs1
                r.rs2[c, slot] = rs2
                r.src[c, slot] = q.src[0]
                r.row[c, slot] = r.rows
                _operands(m, c, slot, funct, rs1, rs2)
                _depend(now, m, c, slot)
                _remember(m, funct, rs1, rs2, c)
                r.waiting[c, (r.wait_head[c] + r.wait_n[c]) % SLOTS] = slot
                r.wait_n[c] += 1
                if times.shape[0] > r.rows:
                    t = times[r.rows]
                    t.queue = c
                    t.funct = funct
                    t.rs1 = rs1
                    t.rs2 = rs2
                    t.t_alloc = now
                    t.t_issue = -1
                    t.t_complete = -1
                r.rows += 1
                count[E_LD if c == LD else (E_EX if c == EX else E_ST)] += 1
                pop(q, now)
                acted = True
    if acted:
        r.progress_t = now
        return now + 1
    return NEVER
