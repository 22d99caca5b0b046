"""Operand ranges of reservation station entries and the dependences between them.

Source: ReservationStation.scala. A load waits for executes and stores whose operands it would overwrite; an execute for
loads of its operands and, when its result overlaps, for stores; a store for loads and preloads of what it reads.
"""

from sim.core.fields import (
    config_kind,
    get,
    is_acc,
    local_address,
    operand_cols,
    operand_rows,
)
from sim.core.jit import njit
from sim.core.params import NEVER, is_garbage
from sim.core.units.reservation.state import EX, LD, ST
from sim.isa import codes
from sim.isa.layouts import EX_FIRST, EX_SECOND, LD_FIRST, ST_FIRST

# an operand's rows as two numbers: bit 40 set for the accumulator; a range that wraps to row 0 ends after all rows
MEMORY = 40
WRAPPED = 1 << 39


@njit
def _range(m, c, s, which, address, rows):
    """Record an operand: `rows` local rows from `address`."""
    r = m.station
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
    """Return the mask of the first n slots of class d whose operand j overlaps with operand i of (class c, slot s)."""
    a = r.first[c, i, s]
    behind = r.behind[c, i, s]
    mask = 0
    for e in range(n):
        b = r.first[d, j, e]
        mask |= int((b <= a) & (a < r.behind[d, j, e]) | (b > a) & (b < behind)) << e
    return mask


@njit
def class_of(funct, rs1):
    """Return the table of a command."""
    if funct == codes.MVIN2 or funct == codes.MVIN or funct == codes.MVIN3:
        return LD
    if funct == codes.MVOUT:
        return ST
    if funct == codes.CONFIG:
        kind = config_kind(rs1)
        if kind == codes.CONFIG_LD:
            return LD
        if kind == codes.CONFIG_EX:
            return EX
        return ST
    return EX


@njit
def depend(now, m, c, s):
    """Record the dependences of the new entry (class c, slot s)."""
    r = m.station
    deps0 = 0
    deps1 = 0
    deps2 = 0
    p = m.p
    if r.funct[c, s] != codes.CONFIG:
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
    r = m.station
    p = m.p
    _unused(r, c, s, 0)
    _unused(r, c, s, 1)
    r.a_dst[c, s] = 0
    if funct == codes.CONFIG:
        return
    if funct == codes.PRELOAD:
        r.a_dst[c, s] = 1
        _range(m, c, s, 0, local_address(rs2), operand_rows(rs2) * r.c_stride)
        _range(m, c, s, 1, local_address(rs1), operand_rows(rs1))
    elif funct == codes.COMPUTE_PRELOADED or funct == codes.COMPUTE_ACCUMULATED:
        rows = operand_cols(rs1) if r.a_transpose else operand_rows(rs1)
        _range(m, c, s, 0, local_address(rs1), rows * r.a_stride)
        _range(m, c, s, 1, local_address(rs2), operand_rows(rs2))
    elif funct == codes.MVOUT:
        address = local_address(rs2)
        if r.pooling:
            bank = ((address & p.addr_mask) >> p.acc_row_bits) & (p.acc_banks - 1)
            after = (bank + 1) << p.acc_row_bits
            _range(m, c, s, 0, address, 0)
            r.behind[c, 0, s] = is_acc(address) << MEMORY | (after & (p.acc_rows - 1) or WRAPPED)
        else:
            blocks = ((operand_cols(rs2) & p.cols_mask) + p.dim - 1) // p.dim
            _range(m, c, s, 0, address, (blocks - 1) * p.dim + (operand_rows(rs2) & p.rows_mask))
    else:
        i = 1 if funct == codes.MVIN2 else (2 if funct == codes.MVIN3 else 0)
        address = local_address(rs2)
        blocks = ((operand_cols(rs2) & p.cols_mask) + p.dim - 1) // p.dim
        if p.first_layer and not is_acc(address):
            row = address & (p.sp_rows - 1)
            floor = p.sp_rows // 2 if row > p.sp_rows // 2 else 0
            back = r.pixels[i] - 1
            to = floor if row < floor + back else row - back
            address = (address & ~p.addr_mask) | to
        r.a_dst[c, s] = 1
        _range(m, c, s, 0, address, (blocks - 1) * r.block_stride[i] + (operand_rows(rs2) & p.rows_mask))


@njit
def remember(m, funct, rs1, rs2, c):
    """Track the configuration that later ranges depend on, in program order."""
    r = m.station
    if funct == codes.CONFIG:
        if c == EX:
            r.a_stride = get(rs1, EX_FIRST.a_stride)
            r.c_stride = get(rs2, EX_SECOND.c_stride)
            if not get(rs1, EX_FIRST.strides_only):
                r.a_transpose = get(rs1, EX_FIRST.transpose_a)
        elif c == LD:
            i = get(rs1, LD_FIRST.state)
            r.block_stride[i] = get(rs1, LD_FIRST.block_stride)
            r.pixels[i] = max(1, get(rs1, LD_FIRST.pixels))
        elif config_kind(rs1) == codes.CONFIG_ST:
            r.pooling = 1 if get(rs1, ST_FIRST.pool_stride) else 0
    elif funct == codes.PRELOAD:
        r.solitary = 1
    elif funct == codes.COMPUTE_PRELOADED or funct == codes.COMPUTE_ACCUMULATED:
        r.solitary = 0
