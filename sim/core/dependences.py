"""Operand ranges of reservation station entries and the dependences between them.

Source: ReservationStation.scala. A load waits for executes and stores whose operands it would overwrite; an execute for
loads of its operands and, when its result overlaps, for stores; a store for loads and preloads of what it reads.
"""

from sim.core.jit import njit
from sim.core.params import is_acc, is_garbage

LD = 0
EX = 1
ST = 2


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
def class_of(funct, rs1):
    """Which of the three tables a command belongs to."""
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
def depend(now, m, c, s):
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
            for e in range(m.p.rs_st if r.live[ST] else 0):
                if (r.live[ST] >> e) & 1 and _overlap(r, c, s, 0, ST, e, 0):
                    deps2 |= 1 << e
        elif c == EX:
            for e in range(m.p.rs_ld if r.live[LD] else 0):
                if (r.live[LD] >> e) & 1 and (_overlap(r, c, s, 0, LD, e, 0) or _overlap(r, c, s, 1, LD, e, 0)):
                    deps0 |= 1 << e
            if r.a_dst[c, s] and r.live[ST]:
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
def operands(m, c, s, funct, rs1, rs2):
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
def remember(m, funct, rs1, rs2, c):
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
