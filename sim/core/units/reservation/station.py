"""Reservation station: three tables (ld, ex, st), in-order issue within a class, range-overlap dependences between.

Source: ReservationStation.scala. Per cycle: one command enters, up to one per class issues, one completes
(ex before ld before st). A command whose dependence is cleared in cycle t can issue in t + 1.
"""

from sim.core.events import Event
from sim.core.jit import njit
from sim.core.params import NEVER
from sim.core.units import controller, load
from sim.core.units.cmdqueue import pop
from sim.core.units.reservation.dependences import EX, LD, ST, class_of, depend, operands, remember
from sim.core.units.reservation.state import ALLOCATED, COMPLETED, ISSUED, SLOTS, note
from sim.isa import codes

E_LD = int(Event.COMMANDS_LD)
E_ST = int(Event.COMMANDS_ST)
E_EX = int(Event.COMMANDS_EX)


@njit
def busy(m):
    """True if not empty, except for one preload without its compute."""
    r = m.station
    n = r.n[0] + r.n[1] + r.n[2]
    return n > 0 and not (n == 1 and r.solitary == 1)


@njit
def has_news(now, m):
    """True if a controller has completed a command or freed a place that the station has not processed yet."""
    return (
        m.station.news_t >= now
        or m.station.ex_done >= 0
        or m.execute.unroller_pop_t >= now - 1
        or load.completed(now, m) >= 0
    )


@njit
def may_act(now, m):
    """True if this station or an unroller could act in the next cycle without reports of other units."""
    r = m.station
    q = m.front.unrolled
    if m.p.l2_sets > 0 or m.store.tracked_ready > 0 or load.completed(now + 1, m) >= 0:
        return True  # behind an L2 the station is stepped in every visited cycle
    if m.execute.unroller_n > 0 and m.execute.queue_n < m.p.exq:
        return True
    if q.n > 0 and (not head_blocked(m) or q.funct[0] == codes.FLUSH or q.funct[0] > codes.LOOP_CONV_WS_6):
        return True
    if m.front.waits and not busy(m):
        return True  # the front end may find the accelerator idle
    for c in range(3):
        if r.wait_n[c] > 0 and _controller_room(now + 1, m, c):
            s = r.waiting[c, r.wait_head[c]]
            if r.deps[c, s, 0] | r.deps[c, s, 1] | r.deps[c, s, 2] == 0:
                return True
    loops = m.loop_matmul.configured[0] + m.loop_matmul.configured[1]
    if m.front.matmul.n > 0 and loops < (
        2 if codes.LOOP_WS <= m.front.matmul.funct[0] <= codes.LOOP_WS_STRIDES_DC else 1
    ):
        return True
    if loops == 0:
        return False
    if m.loop_matmul.still == 0:
        return True
    return q.n < 2 and m.loop_matmul.quiet == 0


@njit
def handed_over(m):
    """Return a number that changes when the load or store controller gets a command or completes one."""
    return (m.load.queue_n + m.store.queue_n) * SLOTS * SLOTS + m.load.tracked_n + m.store.tracked_n


@njit
def head_blocked(m):
    """True if the table of the next command's class is full."""
    q = m.front.unrolled
    c = class_of(q.funct[0], q.rs1[0])
    return q.n > 0 and m.station.n[c] >= _limit(m.p, c)


@njit
def _clear(r, c, slot):
    """Clear the dependences on (class c, slot)."""
    keep = ~(1 << slot)
    for d in range(3):
        for k in range(r.wait_n[d]):
            s = r.waiting[d, (r.wait_head[d] + k) % SLOTS]
            r.deps[d, s, c] &= keep


@njit
def _free(now, m, c, slot):
    r = m.station
    if r.freed_t[c] != now:
        r.freed_t[c] = now
        r.freed_n[c] = 0
    r.freed_n[c] += 1
    r.n[c] -= 1
    r.live[c] &= ~(1 << slot)
    if r.source[c, slot] > 0:
        if r.completions_t != now:
            r.completions_t = now
            r.completions[:, :] = 0
        r.completions[r.source[c, slot], c] += 1


@njit
def _complete(now, m, c, slot):
    r = m.station
    _clear(r, c, slot)
    note(r, c, slot, COMPLETED)
    _free(now, m, c, slot)


@njit
def _controller_room(now, m, c):
    """True if the class's controller queue had room at the start of this cycle."""
    if c == LD:
        return controller.had_room(now, m.load, m.p.ldq)
    if c == ST:
        return controller.had_room(now, m.store, m.p.stq)
    n = m.execute.unroller_n + (1 if m.execute.unroller_pop_t == now else 0)
    return n < 2


@njit
def _issue(now, m, c):
    """Issue the oldest waiting command of a class if its dependences are cleared; its controller has room."""
    r = m.station
    s = r.waiting[c, r.wait_head[c]]
    if r.deps[c, s, 0] | r.deps[c, s, 1] | r.deps[c, s, 2]:
        return False
    r.wait_head[c] = (r.wait_head[c] + 1) % SLOTS
    r.wait_n[c] -= 1
    note(r, c, s, ISSUED)
    if c == LD:
        controller.push(m.load, r.funct[c, s], r.rs1[c, s], r.rs2[c, s], s)
    elif c == ST:
        controller.push(m.store, r.funct[c, s], r.rs1[c, s], r.rs2[c, s], s)
    else:
        x = m.execute
        i = x.unroller_n
        x.unroller_funct[i] = r.funct[c, s]
        x.unroller_rs1[i] = r.rs1[c, s]
        x.unroller_rs2[i] = r.rs2[c, s]
        x.unroller_slot[i] = s
        x.unroller_n += 1
    if r.funct[c, s] == codes.CONFIG and c != EX:
        _clear(r, c, s)
        _free(now, m, c, s)
    return True


@njit
def _complete_one(now, m):
    """Complete one command per cycle: execute before load before store. True if there was one."""
    r = m.station
    if r.ex_done >= 0:
        _complete(now, m, EX, r.ex_done)
        r.ex_done = -1
        return True
    k = load.completed(now, m)
    if k >= 0:
        m.load.tracked[k] = 0
        m.load.tracked_n -= 1
        m.load.tracked_ready -= 1
        _complete(now, m, LD, m.load.tracked_slot[k])
        return True
    if m.store.tracked_ready > 0 or m.full:
        s = m.store
        for i in range(m.p.n_cmds):
            if s.tracked[i] and s.tracked_left[i] == 0 and s.tracked_done_t[i] <= now:
                s.tracked[i] = 0
                s.tracked_n -= 1
                s.tracked_ready -= 1
                _complete(now, m, ST, s.tracked_slot[i])
                return True
    return False


@njit
def _limit(p, c):
    """Return the number of entries of a class's table."""
    return p.rs_ld if c == LD else (p.rs_ex if c == EX else p.rs_st)


@njit
def _allocate(now, m):
    """Let the command at the head of the front end's queue enter, if its table had a free place. True if it did."""
    r = m.station
    q = m.front.unrolled
    funct = q.funct[0]
    if funct == codes.FLUSH or funct > codes.LOOP_CONV_WS_6:
        pop(q, now)
        return True
    rs1 = q.rs1[0]
    rs2 = q.rs2[0]
    c = class_of(funct, rs1)
    if r.n[c] + (r.freed_n[c] if r.freed_t[c] == now else 0) >= _limit(m.p, c):
        return False
    slot = 0
    while (r.live[c] >> slot) & 1:
        slot += 1
    r.live[c] |= 1 << slot
    r.n[c] += 1
    r.funct[c, slot] = funct
    r.rs1[c, slot] = rs1
    r.rs2[c, slot] = rs2
    r.source[c, slot] = q.source[0]
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
    return True


@njit
def step(now, m):
    """One cycle: issue, complete, allocate. Returns the wake."""
    r = m.station
    acted = False
    for c in range(3):
        if r.wait_n[c] > 0 and _controller_room(now, m, c) and _issue(now, m, c):
            acted = True
    if _complete_one(now, m):
        acted = True
    if m.front.unrolled.n > 0 and _allocate(now, m):
        acted = True
    if acted:
        r.progress_t = now
        return now + 1
    return NEVER
