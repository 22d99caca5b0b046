"""Convert every DRAM address in the machine's record to a form independent of its place in the program, and back.

The record must be in canonical form: queues begin at index 0, idle units hold no address.
"""

from sim.core.address import absolute, holds, marked, relative
from sim.core.jit import njit
from sim.core.units.loop_matmul.state import EX, LDA, LDB, LDD, ST
from sim.isa import codes


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
def _unread(q, first, program, turn):
    """Handle commands that wait unchanged, beginning with program[first]: only their positions belong to the state."""
    for i in range(q.n):
        if turn.away:
            q.rs1[i] = 0
            q.rs2[i] = 0
        else:
            c = program[first + i]
            operands = holds(c.funct)
            q.rs1[i] = marked(c.rs1, 0, first + i - turn.origin) if operands > 0 else c.rs1
            q.rs2[i] = marked(c.rs2, 1, first + i - turn.origin) if operands > 1 else c.rs2


@njit
def _piece(q, end, program):
    """Whether the commands of a queue are consecutive commands of the program before `end`.

    The convolution unroller adds its own commands to the last queue, and removes those addressed to it.
    """
    for i in range(q.n):
        if q.source[i] != 0 or codes.LOOP_CONV_WS <= program[end - 1 - i].funct <= codes.LOOP_CONV_WS_6:
            return False
    return q.n > 0


@njit
def _waiting(fe, program, turn):
    """Return the queues before the unrollers, newest first."""
    place = turn.origin + turn.onward if turn.away else turn.origin
    first = place - fe.raw.n
    _unread(fe.raw, first, program, turn)
    first -= fe.conv.n
    _unread(fe.conv, first, program, turn)
    if turn.away:
        fe.as_came = 1 if _piece(fe.matmul, first, program) else 0
    if fe.as_came:
        first -= fe.matmul.n
        _unread(fe.matmul, first, program, turn)
    else:
        _queue(fe.matmul, program, turn)
    turn.unread = first - place


@njit
def _done(s, slot, which):
    """True if a machine of the matmul unroller has emitted all commands of this slot's loop."""
    return s.started[slot, which] == 1 and (s.state[which] == 0 or s.slot[which] != slot)


@njit
def _forget_done(s):
    """Clear addresses of a loop for which no more commands will be emitted; the next loop sets its own."""
    for slot in range(2):
        for which in (LDA, LDB, LDD):
            if _done(s, slot, which):
                s.dram[slot, which] = 0
        if _done(s, slot, ST) and s.started[slot, EX] == 1 and s.started[slot, LDD] == 1:
            s.dram[slot, 3] = 0


@njit
def _front(m, program, turn):
    _waiting(m.front, program, turn)
    _queue(m.front.unrolled, program, turn)
    if turn.away and turn.own:
        _forget_done(m.loop_matmul)
    for slot in range(2):
        for n in range(4):
            m.loop_matmul.dram[slot, n] = _turned(m.loop_matmul.dram[slot, n], program, turn)
        for n in range(5):
            m.loop_conv.dram[slot, n] = _turned(m.loop_conv.dram[slot, n], program, turn)
    for n in range(5):
        for i in range(m.loop_conv.pipe_n[n]):
            if holds(m.loop_conv.pipe_funct[n, i]):
                m.loop_conv.pipe_rs1[n, i] = _turned(m.loop_conv.pipe_rs1[n, i], program, turn)
    r = m.station
    for c in range(3):
        for k in range(r.wait_n[c]):
            s = r.waiting[c, k]
            if holds(r.funct[c, s]):
                r.rs1[c, s] = _turned(r.rs1[c, s], program, turn)


@njit
def _controllers(m, program, turn):
    for i in range(m.load.queue_n):
        if m.load.queue_funct[i] != codes.CONFIG:
            m.load.queue_rs1[i] = _turned(m.load.queue_rs1[i], program, turn)
    for i in range(m.store.queue_n):
        if m.store.queue_funct[i] != codes.CONFIG:
            m.store.queue_rs1[i] = _turned(m.store.queue_rs1[i], program, turn)
    r = m.reader
    for i in range(r.queue_n):
        r.queue_address[i] = _turned(r.queue_address[i], program, turn)
    r.address = _turned(r.address, program, turn)
    r.tlb_address = _turned(r.tlb_address, program, turn)
    r.translated_address = _turned(r.translated_address, program, turn)


@njit
def _stores(m, program, turn):
    o = m.mvout
    for row in range(o.issue_n + o.scale_n + o.norm_n + o.dispatch_n):
        o.address[row] = _turned(o.address[row], program, turn)
    w = m.writer
    w.address = _turned(w.address, program, turn)
    w.packet_address = _turned(w.packet_address, program, turn)
    w.tlb_address = _turned(w.tlb_address, program, turn)
    w.translated_address = _turned(w.translated_address, program, turn)
    w.parked_address = _turned(w.parked_address, program, turn)


@njit
def turn_all(m, program, turn):
    """Convert every address of the machine.

    `turn.away`: to relative addresses, their marks then counted `turn.onward` commands behind `turn.origin`; else back.
    `turn.unread`: commands before that place that wait as they came, negative.
    `turn.own`: every matmul loop of the program comes with addresses of its own.
    """
    _front(m, program, turn)
    _controllers(m, program, turn)
    _stores(m, program, turn)
