"""Between two stretches of the periodic clock (periodic.py): the last stretch is stored, known ones are repeated.

Compiled as a whole, as a stretch is simulated in a few hundred microseconds and Python would take tens of them here.
"""

from sim.core import engine
from sim.core.jit import entry, njit
from sim.core.params import NEVER
from sim.core.repeat import inner, memo
from sim.core.repeat.canonical import canonise
from sim.core.repeat.places import turn_all
from sim.isa import codes

UNBEGUN = -2
"""State of a run before its first stretch."""
LOG = 1 << 16
"""Largest number of TLB uses of a stretch; a stretch with more is not stored."""
IMAGE_WORDS = 1 << 21
USES = 1 << 21
"""Bounds of the memory: 16 MiB of images, 64 MiB of uses. Beyond them everything is dropped."""
MAX_COMMANDS = 1 << 14
"""Longest stretch in commands; marks of addresses reach 65,536 commands back."""
PATIENCE = 2048
"""Number of stretches without a repetition after which their length is doubled."""


E_VISITED = engine.E_VISITED


@njit
def _ends(program, i):
    """Whether to stop before command i: after a loop or a fence, or if loads follow results."""
    before = program[i - 1].funct
    if program[i].funct == codes.FENCE:
        return False
    if before == codes.LOOP_WS or before == codes.LOOP_CONV_WS or before == codes.FENCE:
        return True
    results = codes.MVOUT <= before <= codes.COMPUTE_ACCUMULATED
    return results and not codes.MVOUT <= program[i].funct <= codes.PRELOAD


@entry
def next_stop(program, place, least):
    """Return the first stop at least `least` commands later; -1 if only the end of the program is left."""
    for i in range(place + least, program.shape[0]):
        if _ends(program, i):
            return i
    return -1


@njit
def save_state(held, step, pool, at):
    """Save the state of a stopped machine: its normal form to the pool, its TLB to `tlbs`, its counters to the step.

    ``held``: the machine, its words, those of a blank one, the program, TLBs and the run. Returns the number of pairs
    of the image and their digest.
    """
    machine, words, blank, program, tlbs, run_ = held
    m = machine[0]
    run = run_[0]
    now = m.front.stop_t
    step.place = run.place
    step.length = m.front.place - run.place
    step.cycles = now
    step.t = run.t
    step.row = run.row
    step.rows = m.station.rows
    step.sections = m.front.sections
    step.idle_t = m.front.idle_t
    step.count[:] = m.count
    step.cause[:] = m.cause
    memo.take_grant(m, run, step)
    memo.repeat(run, step)
    memo.keep(tlbs[0], m.tlb)
    memo.rebase(tlbs[0], now)
    run.away = 1
    run.onward = m.front.place - run.origin
    canonise(m, now)
    turn_all(m, program, run)
    m.front.place = 0
    m.front.stop = 0
    m.front.stop_ex = 0
    m.front.limit_t = 0
    m.front.origin = 0
    memo.clear(m.tlb)
    m.station.origin_row = 0
    m.station.origin_t = 0
    m.station.logging = 0
    run.oldest = 0
    for c in range(3):
        if m.station.n[c] > 0:
            run.oldest = min(run.oldest, m.station.row[c, 0])
    return memo.compress(words, blank, pool, at)


@njit
def restore_state(held, pool, at, n):
    """Restore the machine at the run's place, from an image of the pool (n > 0) or as `save_state` left it."""
    machine, words, blank, program, tlbs, run_ = held
    m = machine[0]
    run = run_[0]
    if n > 0:
        memo.expand(words, blank, pool, at, n)
    run.away = 0
    run.origin = run.place
    turn_all(m, program, run)
    m.front.place = run.place
    m.front.origin = run.place
    m.station.origin_row = run.row
    m.station.origin_t = run.t
    memo.keep(m.tlb, tlbs[0])
    m.mvin.narrow.grant = run.grant


@njit
def _present(run, known, n, digest):
    """Make the state whose image of n pairs was just written after the pool's end the run's current one.

    It is added if it is new; returns its number.
    """
    states, pool, buckets = known[0], known[4], known[5]
    bucket = digest & (buckets.shape[0] - 1)
    state = buckets[bucket]
    while state >= 0:
        s = states[state]
        if s.digest == digest and s.n == n and memo.same(pool, s.at, run.words, n):
            break
        state = s.beside
    if state < 0:
        state = run.known
        s = states[state]
        s.digest = digest
        s.at = run.words
        s.n = n
        s.first = -1
        s.oldest = run.oldest
        s.unread = run.unread
        s.beside = buckets[bucket]
        buckets[bucket] = state
        run.words += 2 * n
        run.known += 1
    run.state = state
    return state


@njit
def _remember(run, known, before, to, logged):
    """Store the last step (its lengths and counters are set) with its start state."""
    states, steps = known[0], known[1]
    step = steps[run.made]
    step.after = states[before].first
    step.to = to
    step.uses_at = run.used
    step.uses_n = logged
    step.section_at = run.marked
    states[before].first = run.made
    run.made += 1
    run.used += logged


@njit
def _skip_inside(held, known, made, state, logged):
    """Repeat the stretch inside its loop as often as its repetition is proven (inner.py)."""
    words, blank, run_ = held[1], held[2], held[5]
    steps, uses, pool = known[1], known[2], known[4]
    run = run_[0]
    often = inner.skip(held, (known[6], known[7]), steps[made], uses, run.used)
    if often:
        again = run.made
        inner.repeated(steps[made], run_, steps[again], often)
        n, digest = memo.compress(words, blank, pool, run.words)
        _remember(run, known, state, _present(run, known, n, digest), often * logged)
        steps[again].local = 1


@njit
def _judge(run, step, repeated):
    """Double the length of stretches if they are too short, or too many in a row were not repeated."""
    run.tried += 1
    run.tried_cycles += step.cycles
    run.in_vain = 0 if repeated else run.in_vain + 1
    short = run.tried >= 8 and run.tried_cycles < run.tried * run.worth
    if short or run.in_vain > PATIENCE:
        run.least = min(2 * max(run.least, step.length), MAX_COMMANDS)
        run.coarse *= 2
        run.tried = 0
        run.tried_cycles = 0
        run.in_vain = 0


@njit
def _forget(run, buckets):
    """Drop every state and step."""
    run.words = 0
    run.used = 0
    run.known = 0
    run.made = 0
    run.marked = 0
    run.state = -1
    buckets[:] = -1


@njit
def _made(held, known, shown, log, ends):
    """Account for the last stretch, and advance the run to the beginning of the next one."""
    machine, program, tlbs, run_ = held[0], held[3], held[4], held[5]
    states, steps, uses, marks, pool, buckets = known[0], known[1], known[2], known[3], known[4], known[5]
    sections, times = shown
    m = machine[0]
    run = run_[0]
    made = run.made
    logged = m.tlb.logged
    before = run.state
    done = m.front.sections
    run.visited += m.count[E_VISITED]
    for i in range(done):
        sections[run.sections + i] = run.t + ends[i]
    n, digest = save_state(held, steps[made], pool, run.words)
    state = _present(run, known, n, digest)
    stored = before >= 0 and logged < LOG
    if stored:
        steps[made].local = 0
        for i in range(logged):
            uses[run.used + i] = log[i]
        _remember(run, known, before, state, logged)
        for i in range(done):
            marks[run.marked + i] = ends[i]
        run.marked += done
    repeated = 0
    if states[state].first >= 0:
        repeated = memo.follow(run_, (states, steps, uses, marks), tlbs, program, sections, times)
    if run.loops and repeated:
        run.inner_k = -1
    elif run.loops and stored:
        _skip_inside(held, known, made, state, logged)
    _judge(run, steps[made], repeated)
    here = states[run.state]
    restore_state(held, pool, here.at, here.n if repeated else 0)
    if run.words > IMAGE_WORDS or run.used > USES:
        _forget(run, buckets)


@entry
def go_on(held, known, shown, logs):
    """Account for the last stretch, repeat known steps after it, prepare the next one.

    ``held``: the machine, its words, those of a blank one, the program, TLBs and the run. ``known``: `Known.arrays`.
    ``shown``: ends of sections and timeline of the whole run; ``logs``: uses of the TLB and ends of sections of the
    stretch. Returns 1 if the arrays must grow before the next call, else 0.
    """
    run = held[5][0]
    log, ends = logs
    if run.state == UNBEGUN:
        run.state = -1
        known[5][:] = -1
    else:
        _made(held, known, shown, log, ends)
    m = held[0][0]
    stop = next_stop(held[3], run.place, run.least)
    m.front.stop = stop if stop >= 0 else NEVER
    m.front.stop_ex = inner.spacing(held[0], run.fine) if run.loops else 0
    if m.front.stop_ex == 0:
        m.front.stop_ex = run.coarse
    room = known[0].shape[0] >= run.known + 2 and known[1].shape[0] >= run.made + 3
    room = room and known[2].shape[0] >= run.used + 2 * LOG and known[3].shape[0] >= run.marked + ends.shape[0]
    return 0 if room and known[4].shape[0] >= run.words + 4 * held[1].shape[0] else 1


@entry
def end(machine, run_, steps):
    """Add the last stretch, which ends with the program, to the run; ``steps``: space for it."""
    m = machine[0]
    run = run_[0]
    step = steps[0]
    step.sections = m.front.sections
    step.idle_t = m.front.idle_t
    step.count[:] = m.count
    step.cause[:] = m.cause
    step.rows = m.station.rows
    run.visited += m.count[E_VISITED]
    memo.repeat(run, step)
    run.count[E_VISITED] = run.visited
