"""Every DRAM address in the machine's record: made independent of its place in the program, and back.

The record must be in canonical form: queues begin at their first place, idle units hold no address.
"""

from sim.core.address import absolute, holds, relative
from sim.core.jit import njit


@njit
def _turned(address, program, turn):
    if address == 0:
        return address
    if turn.away:
        return relative(address, program, turn.origin, turn.onward, turn.align)
    return absolute(address, program, turn.origin)


@njit
def _queue(q, program, turn):
    for i in range(q.n):
        operands = holds(q.funct[i])
        if operands:
            q.rs1[i] = _turned(q.rs1[i], program, turn)
        if operands > 1:
            q.rs2[i] = _turned(q.rs2[i], program, turn)


@njit
def _front(m, program, turn):
    _queue(m.fe.raw, program, turn)
    _queue(m.fe.conv, program, turn)
    _queue(m.fe.mat, program, turn)
    _queue(m.fe.unrolled, program, turn)
    for slot in range(2):
        for n in range(4):
            m.lm.dram[slot, n] = _turned(m.lm.dram[slot, n], program, turn)
        for n in range(5):
            m.lc.dram[slot, n] = _turned(m.lc.dram[slot, n], program, turn)
    for n in range(5):
        for i in range(m.lc.p_n[n]):
            if holds(m.lc.p_funct[n, i]):
                m.lc.p_rs1[n, i] = _turned(m.lc.p_rs1[n, i], program, turn)
    r = m.rs
    for c in range(3):
        for k in range(r.wait_n[c]):
            s = r.waiting[c, k]
            if holds(r.funct[c, s]):
                r.rs1[c, s] = _turned(r.rs1[c, s], program, turn)


@njit
def _controllers(m, program, turn):
    for i in range(m.ld.q_n):
        if m.ld.q_funct[i] != 0:
            m.ld.q_rs1[i] = _turned(m.ld.q_rs1[i], program, turn)
    for i in range(m.st.q_n):
        if m.st.q_funct[i] != 0:
            m.st.q_rs1[i] = _turned(m.st.q_rs1[i], program, turn)
    r = m.rd
    for i in range(r.q_n):
        r.q_vaddr[i] = _turned(r.q_vaddr[i], program, turn)
    r.vaddr = _turned(r.vaddr, program, turn)
    r.t_vaddr = _turned(r.t_vaddr, program, turn)
    r.a_vaddr = _turned(r.a_vaddr, program, turn)


@njit
def _stores(m, program, turn):
    o = m.out
    for row in range(o.i_n + o.s_n + o.n_n + o.d_n):
        o.vaddr[row] = _turned(o.vaddr[row], program, turn)
    w = m.wr
    w.vaddr = _turned(w.vaddr, program, turn)
    w.pk_vaddr = _turned(w.pk_vaddr, program, turn)
    w.q_vaddr = _turned(w.q_vaddr, program, turn)
    w.t_vaddr = _turned(w.t_vaddr, program, turn)
    w.p_vaddr = _turned(w.p_vaddr, program, turn)


@njit
def turn_all(m, program, turn):
    """Turn every address of the machine.

    `turn.away`: to relative addresses, their marks then counted `turn.onward` commands behind `turn.origin`; else back.
    """
    _front(m, program, turn)
    _controllers(m, program, turn)
    _stores(m, program, turn)
