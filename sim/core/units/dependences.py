"""Operand ranges of reservation station entries and the dependences between them.

Source: ReservationStation.scala. A load waits for executes and stores whose operands it would overwrite; an execute for
loads of its operands and, when its result overlaps, for stores; a store for loads and preloads of what it reads.
"""

from sim.core.jit import njit
from sim.core.params import NEVER, is_acc, is_garbage

LD = 0
EX = 1
ST = 2

# an operand's rows as two numbers: bit 40 set for the accumulator; a range that goes on at row 0 ends behind all rows
MEMORY = 40
WRAPPED = 1 << 39


@njit
def _range(m, c, s, which, address, rows):
    """Note an operand: `rows` local rows from `address`."""
    r = m.rs
    p = m.p
    acc = is_acc(address)
    limit = p.acc_rows if acc else p.sp_rows
    end = (address & p.addr_mask) + rows
    if is_garbage(p, address):
        _unused(r, c, s, which)
    else:
        r.first[c, which, s] = acc << MEMORY | address & (limit - 1)
        r.behind[c, which, s] = acc << MEMORY | (WRAPPED if end & limit else end & (limit - 1))


@njit
def _unused(r, c, s, which):
    r.first[c, which, s] = NEVER
    r.behind[c, which, s] = -1


@njit
def _overlapped(r, c, s, i, d, j, n):
    """Mask of the first n slots of class d whose operand j overlaps with operand i of (class c, slot s)."""
    a = r.first[c, i, s]
    behind = r.behind[c, i, s]
    mask = 0
    for e in range(n):
        b = r.first[d, j, e]
        mask |= int((b <= a) & (a < r.behind[d, j, e]) | (b > a) & (b < behind)) << e
    return mask


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
    p = m.p
    if r.funct[c, s] != 0:
        if c == LD:
            deps1 = _overlapped(r, c, s, 0, EX, 0, p.rs_ex) | _overlapped(r, c, s, 0, EX, 1, p.rs_ex)
            if r.live[ST]:
                deps2 = _overlapped(r, c, s, 0, ST, 0, p.rs_st)
        elif c == EX:
            if r.live[LD]:
                deps0 = _overlapped(r, c, s, 0, LD, 0, p.rs_ld) | _overlapped(r, c, s, 1, LD, 0, p.rs_ld)
            if r.a_dst[c, s] and r.live[ST]:
                deps2 = _overlapped(r, c, s, 0, ST, 0, p.rs_st)
        else:
            deps0 = _overlapped(r, c, s, 0, LD, 0, p.rs_ld)
            deps1 = _overlapped(r, c, s, 0, EX, 0, p.rs_ex)
            for e in range(p.rs_ex):
                if r.a_dst[EX, e] == 0:
                    deps1 &= ~(1 << e)
    deps0 &= r.live[LD]
    deps1 &= r.live[EX]
    deps2 &= r.live[ST]
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
    _unused(r, c, s, 0)
    _unused(r, c, s, 1)
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
            r.behind[c, 0, s] = is_acc(address) << MEMORY | (after & (p.acc_rows - 1) or WRAPPED)
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
