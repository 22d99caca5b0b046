"""Reservation station: three tables (ld, ex, st), in-order issue within a class, range-overlap dependences between.

Source: ReservationStation.scala. Per cycle: one command enters, up to one per class issues, one completes
(ex before ld before st). A dependence cleared in cycle t lets the dependant issue in t + 1.
"""

from sim.core.events import Event
from sim.core.jit import njit
from sim.core.params import NEVER, RING
from sim.core.units import load
from sim.core.units.cmdqueue import pop
from sim.core.units.reservation.dependences import EX, LD, ST, class_of, depend, operands, remember
from sim.core.units.reservation.state import ALLOCATED, COMPLETED, ISSUED, SLOTS, note
from sim.isa import codes

E_LD = int(Event.COMMANDS_LD)
E_ST = int(Event.COMMANDS_ST)
E_EX = int(Event.COMMANDS_EX)


@njit
def busy(m):
    """Not empty, except for one preload that has no compute yet."""
    r = m.rs
    n = r.n[0] + r.n[1] + r.n[2]
    return n > 0 and not (n == 1 and r.solitary == 1)


@njit
def has_news(now, m):
    """Has a controller completed something or freed a place that the station has not seen yet?"""
    return m.rs.news_t >= now or m.rs.ex_done >= 0 or m.ex.u_pop_t >= now - 1 or load.completed(now, m) >= 0


@njit
def may_act(now, m):
    """Could this station, or the unrollers beside it, act in the next cycle without news from elsewhere?"""
    r = m.rs
    q = m.fe.unrolled
    if m.p.l2_sets > 0 or m.st.c_ready > 0 or load.completed(now + 1, m) >= 0:
        return True  # an L2 is asked as often as anything happens
    if m.ex.u_n > 0 and m.ex.q_n < m.p.exq:
        return True
    if q.n > 0 and (not head_blocked(m) or q.funct[0] == codes.FLUSH or q.funct[0] > codes.LOOP_CONV_WS_6):
        return True
    if m.fe.waits and not busy(m):
        return True  # the front end may see that all is done
    for c in range(3):
        if r.wait_n[c] > 0 and _controller_room(now + 1, m, c):
            s = r.waiting[c, r.wait_head[c]]
            if r.deps[c, s, 0] | r.deps[c, s, 1] | r.deps[c, s, 2] == 0:
                return True
    loops = m.lm.configured[0] + m.lm.configured[1]
    if m.fe.mat.n > 0 and loops < (2 if codes.LOOP_WS <= m.fe.mat.funct[0] <= codes.LOOP_WS_STRIDES_DC else 1):
        return True
    if loops == 0:
        return False
    if m.lm.still == 0:
        return True
    return q.n < 2 and m.lm.quiet == 0


@njit
def handed_over(m):
    """A number that changes when the load or store controller is handed a command or relieved of one."""
    return (m.ld.q_n + m.st.q_n) * SLOTS * SLOTS + m.ld.c_n + m.st.c_n


@njit
def head_blocked(m):
    """The next command to enter finds the table of its class full."""
    q = m.fe.unrolled
    c = class_of(q.funct[0], q.rs1[0])
    limit = m.p.rs_ld if c == LD else (m.p.rs_ex if c == EX else m.p.rs_st)
    return q.n > 0 and m.rs.n[c] >= limit


@njit
def _clear(r, c, slot):
    """A dependence on (class c, slot) is gone."""
    keep = ~(1 << slot)
    for d in range(3):
        for k in range(r.wait_n[d]):
            s = r.waiting[d, (r.wait_head[d] + k) % SLOTS]
            r.deps[d, s, c] &= keep


@njit
def _free(now, m, c, slot):
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
def _complete(now, m, c, slot):
    r = m.rs
    _clear(r, c, slot)
    note(r, c, slot, COMPLETED)
    _free(now, m, c, slot)


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
def _issue(now, m, c):
    """Issue the oldest waiting command of a class, for which its controller has room, when its dependences are gone."""
    r = m.rs
    s = r.waiting[c, r.wait_head[c]]
    if r.deps[c, s, 0] | r.deps[c, s, 1] | r.deps[c, s, 2]:
        return False
    r.wait_head[c] = (r.wait_head[c] + 1) % SLOTS
    r.wait_n[c] -= 1
    note(r, c, s, ISSUED)
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
    if r.funct[c, s] == codes.CONFIG and c != EX:
        _clear(r, c, s)
        _free(now, m, c, s)
    return True


@njit
def step(now, m):
    """One cycle: issue, complete, allocate. Returns the wake."""
    r = m.rs
    p = m.p
    acted = False
    for c in range(3):
        if r.wait_n[c] > 0 and _controller_room(now, m, c) and _issue(now, m, c):
            acted = True
    if r.ex_done >= 0:
        _complete(now, m, EX, r.ex_done)
        r.ex_done = -1
        acted = True
    else:
        k = load.completed(now, m)
        if k >= 0:
            m.ld.c_valid[k] = 0
            m.ld.c_n -= 1
            m.ld.c_ready -= 1
            _complete(now, m, LD, m.ld.c_slot[k])
            acted = True
        elif m.st.c_ready > 0 or m.full:
            s = m.st
            for i in range(p.n_cmds):
                if s.c_valid[i] and s.c_left[i] == 0 and s.c_done_t[i] <= now:
                    s.c_valid[i] = 0
                    s.c_n -= 1
                    s.c_ready -= 1
                    _complete(now, m, ST, s.c_slot[i])
                    acted = True
                    break
    q = m.fe.unrolled
    if q.n > 0:
        funct = q.funct[0]
        if funct == codes.FLUSH or funct > codes.LOOP_CONV_WS_6:
            pop(q, now)
            acted = True
        else:
            rs1 = q.rs1[0]
            rs2 = q.rs2[0]
            c = class_of(funct, rs1)
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
                operands(m, c, slot, funct, rs1, rs2)
                depend(now, m, c, slot)
                remember(m, funct, rs1, rs2, c)
                r.waiting[c, (r.wait_head[c] + r.wait_n[c]) % SLOTS] = slot
                r.wait_n[c] += 1
                note(r, c, slot, ALLOCATED)
                r.rows += 1
                m.count[E_LD if c == LD else (E_EX if c == EX else E_ST)] += 1
                pop(q, now)
                acted = True
    if acted:
        r.progress_t = now
        return now + 1
    return NEVER
