"""Memory of the periodic clock: states of the machine, and steps from state to state.

A *state* is a canonical machine with relative addresses and without its TLB. A *step* is the effect of a stretch of the
program from a state: the next state, cycles, counters, and every use of the TLB with its answer. A step may be repeated
wherever its state occurs again before a stretch of the same commands, if the TLB gives the same answers to the accesses
at the new addresses: then all units behave identically.
"""

import numpy as np

from sim.core.address import absolute, holds, moves, relative
from sim.core.events import Cause, Event
from sim.core.jit import entry, njit
from sim.core.normal import LONG_AGO
from sim.core.units import tlb
from sim.isa import codes

E_MAXR = int(Event.MAX_OUTSTANDING_READS)
E_MAXW = int(Event.MAX_OUTSTANDING_WRITES)
EVENTS = len(Event)
CAUSES = len(Cause)
DIGEST = (1 << 56) - 1

STATE = np.dtype(
    [
        ("digest", "i8"),  # of the image
        ("at", "i8"),  # where the image lies in the pool: pairs of index and value
        ("n", "i8"),  # pairs of the image
        ("first", "i8"),  # its first step, -1 none
        ("oldest", "i8"),  # oldest timeline row still open
        ("unread", "i8"),  # commands before its place that wait as they came (negative)
        ("beside", "i8"),  # the next state of the same bucket, -1 none
    ]
)

STEP = np.dtype(
    [
        ("after", "i8"),  # the next step of the same state, -1 none
        ("to", "i8"),  # state it leads to
        ("place", "i8"),  # where it was first made: the stretch of the program, and its lengths
        ("length", "i8"),  # commands
        ("cycles", "i8"),  # cycles
        ("t", "i8"),  # cycle of its begin
        ("row", "i8"),  # timeline row of its begin
        ("rows", "i8"),  # timeline rows begun
        ("uses_at", "i8"),  # its uses of the TLB: index of the first
        ("uses_n", "i8"),  # its uses of the TLB
        ("local", "i8"),  # 1: the addresses of its uses are independent of their place
        ("section_at", "i8"),  # ends of its sections: index of the first
        ("sections", "i8"),  # its sections
        ("idle_t", "i8"),  # cycle of the last of them
        # the scaler's few multipliers: used or not, the element that had one last, before and after; slots that left
        ("granted", "i8"),  # 1: a multiplier was used
        ("grant_before", "i8"),  # element that had it last before
        ("grant", "i8"),  # and behind
        ("turned", "i8"),  # slots that left
        ("count", "i8", (len(Event),)),  # counters
        ("cause", "i8", (len(Cause),)),  # cycles by cause
    ]
)

RUN = np.dtype(
    [
        ("place", "i8"),  # next command
        ("t", "i8"),  # cycles so far
        ("row", "i8"),  # timeline rows so far
        ("state", "i8"),  # its number, -1 none
        ("grant", "i8"),  # element that last had the scaler's multiplier, with slots rotated to the beginning
        ("elements", "i8"),  # elements of a row that share a multiplier
        ("sections", "i8"),  # sections so far
        ("idle_t", "i8"),  # cycle of the last of them
        # how addresses are being converted (see places)
        ("away", "i8"),  # 1: to relative, 0: back
        ("origin", "i8"),  # place from which marks count
        ("onward", "i8"),  # commands behind it
        ("align", "i8"),  # 1 << timing bits
        ("own", "i8"),  # 1: every loop brings its own addresses
        ("unread", "i8"),  # commands before the place that wait as they came (negative)
        # periods inside a loop (see inner): k of the last stop, which of the pair it is, what is moved by how much
        ("inner_k", "i8"),  # k of the last stop, -1 none
        ("side", "i8"),  # which of the pair it is in
        ("a_from", "i8"),  # rows of A: first
        ("a_to", "i8"),  # behind the last
        ("a_by", "i8"),  # moved by
        ("b_from", "i8"),  # rows of B: first
        ("b_to", "i8"),  # behind the last
        ("b_by", "i8"),  # moved by
        ("k_by", "i8"),  # steps of k
        ("a_bytes", "i8"),  # of addresses in DRAM
        ("b_bytes", "i8"),  # of B
        # length of stretches (see stretch)
        ("least", "i8"),  # least number of commands of a stretch
        ("fine", "i8"),  # execute commands of a stretch inside a loop, if periods are searched
        ("coarse", "i8"),  # and elsewhere
        ("loops", "i8"),  # 1: only matmul loops use local memory, and no timeline is recorded
        ("worth", "i8"),  # least desired cycles of a stretch
        ("visited", "i8"),  # visited cycles
        ("tried", "i8"),  # stretches since the length was judged
        ("tried_cycles", "i8"),  # their cycles
        ("in_vain", "i8"),  # stretches in a row without a repetition
        # amounts stored
        ("words", "i8"),  # words of images
        ("used", "i8"),  # uses of the TLB
        ("known", "i8"),  # states
        ("made", "i8"),  # steps
        ("marked", "i8"),  # ends of sections
        ("oldest", "i8"),  # oldest timeline row still open when the machine was last stopped, counted back
        ("count", "i8", (len(Event),)),  # counters
        ("cause", "i8", (len(Cause),)),  # cycles by cause
    ]
)
"""Progress of a run."""


@entry
def compress(words, blank, pool, at):
    """Write the words that differ from a blank machine's into the pool as pairs; return their number and a digest."""
    n = 0
    digest = 0
    for i in range(words.shape[0]):
        if words[i] != blank[i]:
            pool[at + 2 * n] = i
            pool[at + 2 * n + 1] = words[i]
            n += 1
            digest = (digest * 33 ^ words[i] ^ words[i] >> 40 ^ i) & DIGEST
    return n, digest


@entry
def same(pool, at, other, n):
    """Whether two images of n pairs are equal."""
    for i in range(2 * n):
        if pool[at + i] != pool[other + i]:
            return False
    return True


@entry
def expand(words, blank, pool, at, n):
    """Write an image back into the machine's words."""
    for i in range(words.shape[0]):
        words[i] = blank[i]
    for i in range(n):
        words[pool[at + 2 * i]] = pool[at + 2 * i + 1]


@njit
def _same_operand(a, b, is_address, align):
    if not is_address:
        return a == b
    return (a == 0) == (b == 0) and (a ^ b) & (align - 1) == 0


@njit
def alike(program, a, b, length, first, last, align):
    """Whether two stretches of the program are equal except for the addresses of their operands.

    The operands are those of the commands from a + first to before a + last: the stretch reads no others. Commands
    beginning at `last` still wait at its end, and are taken from the program again (places.py).
    """
    if a == b:
        return True
    if a + length >= program.shape[0] or b + length >= program.shape[0] or min(a, b) + last < 0:
        return False
    for i in range(min(0, last), length):
        if program[a + i].funct != program[b + i].funct or program[a + i].gap != program[b + i].gap:
            return False
    for i in range(first, last):
        x = program[a + i]
        y = program[b + i]
        operands = holds(x.funct)
        if not _same_operand(x.rs1, y.rs1, operands > 0, align):
            return False
        if not _same_operand(x.rs2, y.rs2, operands > 1, align):
            return False
    x = program[a + length]
    y = program[b + length]
    return x.gap == y.gap and (x.funct == codes.FENCE) == (y.funct == codes.FENCE)


@njit
def localise(uses, step, program, align):
    """Make the addresses of a step's logged uses independent of their place: most steps are never compared again."""
    if step.local == 0:
        for i in range(step.uses_at, step.uses_at + step.uses_n):
            uses[i].address = relative(uses[i].address, program, step.place, 0, align)
        step.local = 1


@njit
def answers(uses, at, n, cycles, t, program, origin):
    """Repeat logged accesses to a TLB at another place of the program; False at the first different answer."""
    now = 0
    for i in range(at, at + n):
        use = uses[i]
        if use.t != now:
            tlb.settle(now, t)
            if use.t != now + 1:
                tlb.settle(now + 1, t)
            now = use.t
        if use.what == tlb.PRESENTED:
            tlb.present(now, t, use.client, absolute(use.address, program, origin))
        elif use.what == tlb.ASKED:
            tlb.request(now, t, use.client, absolute(use.address, program, origin))
        elif tlb.missed(now, t, use.client) != (use.what == tlb.MISSED):
            return False
    tlb.settle(now, t)
    if now + 1 < cycles:
        tlb.settle(now + 1, t)
    rebase(t, cycles)
    return True


@njit
def rebase(t, now):
    """Set the clock of a TLB back by `now`: only requests of that cycle are still open."""
    for client in range(2):
        asks = t.ask_t[client, now & 1] == now
        page = t.ask_page[client, now & 1] if asks else 0
        t.ask_t[client, :] = LONG_AGO
        t.ask_page[client, :] = 0
        t.ask_t[client, 0] = 0 if asks else LONG_AGO
        t.ask_page[client, 0] = page


@njit
def keep(a, b):
    """Copy TLB b to a, except for logs."""
    for client in range(2):
        a.page[client] = b.page[client]
        a.hit[client] = b.hit[client]
        for k in range(2):
            a.ask_t[client, k] = b.ask_t[client, k]
            a.ask_page[client, k] = b.ask_page[client, k]
    a.granted = b.granted


@njit
def clear(t):
    """Take the TLB out of an image: its answers are checked again at each repetition."""
    t.page[:] = 0
    t.hit[:] = 0
    t.ask_t[:, :] = 0
    t.ask_page[:, :] = 0
    t.granted = 0
    t.logging = 0
    t.logged = 0
    t.log_n = 0
    t.log_t[:] = 0
    t.log_what[:] = 0
    t.log_client[:] = 0
    t.log_address[:] = 0


@njit
def _shown(times, step, run, oldest, program):
    """Write the timeline entries of a repeated step: those of its first occurrence, moved."""
    onward = run.t - step.t
    down = run.row - step.row
    for row in range(step.row + oldest, step.row + step.rows):
        if row + down >= times.shape[0] or row < 0:
            continue
        was = times[row]
        becomes = times[row + down]
        if row >= step.row:
            becomes.queue = was.queue
            becomes.funct = was.funct
            becomes.rs1 = was.rs1
            becomes.rs2 = was.rs2
            if moves(was.funct):
                word = relative(was.rs1, program, step.place, 0, run.align)
                becomes.rs1 = absolute(word, program, run.place)
            becomes.t_alloc = was.t_alloc + onward
            becomes.t_issue = -1
            becomes.t_complete = -1
        if step.t <= was.t_issue < step.t + step.cycles:
            becomes.t_issue = was.t_issue + onward
        if step.t <= was.t_complete < step.t + step.cycles:
            becomes.t_complete = was.t_complete + onward


@njit
def take_grant(m, run, step):
    """Record the scaler's grants of a step, and remove them from the machine: most loads use no multiplier."""
    s = m.mvin.narrow
    step.granted = s.granted
    step.grant_before = run.grant
    step.turned = s.head
    step.grant = (s.grant - s.head * run.elements) % (3 * run.elements)
    s.granted = 0
    s.grant = 0


@entry
def repeat(run, step):
    """Advance the run past a step: counters (the two high-water marks are no sums), time and place."""
    reads = max(run.count[E_MAXR], step.count[E_MAXR])
    writes = max(run.count[E_MAXW], step.count[E_MAXW])
    for i in range(EVENTS):
        run.count[i] += step.count[i]
    run.count[E_MAXR] = reads
    run.count[E_MAXW] = writes
    for i in range(CAUSES):
        run.cause[i] += step.cause[i]
    if step.granted:
        run.grant = step.grant
    else:
        run.grant = (run.grant - step.turned * run.elements) % (3 * run.elements)
    run.sections += step.sections
    if step.sections:
        run.idle_t = run.t + step.idle_t
    run.t += step.cycles
    run.row += step.rows
    run.place += step.length


@entry
def follow(run_, kept, tlbs, program, sections, times):
    """Repeat steps while the current state has one that fits; return their number.

    ``kept``: all states, steps, uses of the TLB, and ends of the steps' sections. ``tlbs``: the current TLB, and space
    for a trial.
    """
    states, steps, uses, marks = kept
    run = run_[0]
    n = 0
    while True:
        s = states[run.state].first
        while s >= 0:
            step = steps[s]
            fits = step.granted == 0 or step.grant_before == run.grant
            first = states[run.state].unread
            last = step.length + states[step.to].unread
            if fits and alike(program, step.place, run.place, step.length, first, last, run.align):
                keep(tlbs[1], tlbs[0])
                localise(uses, step, program, run.align)
                if answers(uses, step.uses_at, step.uses_n, step.cycles, tlbs[1], program, run.place):
                    break
            s = step.after
        if s < 0:
            return n
        keep(tlbs[0], tlbs[1])
        step = steps[s]
        for i in range(step.sections):
            sections[run.sections + i] = run.t + marks[step.section_at + i]
        if times.shape[0] > 0:
            _shown(times, step, run, states[run.state].oldest, program)
        repeat(run, step)
        run.state = step.to
        n += 1
