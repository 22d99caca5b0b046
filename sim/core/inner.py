"""Periods inside one matmul loop: while only the array works, a step of k is like the one before it.

From one k to the next the loop names rows of A and B a fixed distance further, and the same rows of C. Two stops at
which the machine is the same but for that, with nothing but execute commands on the way, prove that the stretch
between them comes again, until another unit could begin to work (the last k has its own sizes, and stores follow it) or
rows of A or B lie in another bank. Everything that the shift does not reach has to be equal as it is: what is forgotten
here hides a period, no more.
"""

from sim.core import memo
from sim.core.execute_state import COMPUTE
from sim.core.jit import entry, njit
from sim.core.loop_emit import EX, LDA, LDB, LDD, a_start, b_end
from sim.core.params import is_acc
from sim.core.reservation import EX as EXECUTE
from sim.core.reservation import LD, SLOTS, ST

IN_FLIGHT = 64
"""More commands than reservation station and execute queue hold between the unroller and the array."""


@njit
def _works_alone(m):
    """Nothing but the execute path has anything to do before the loop's last k."""
    s = m.lm
    if s.state[EX] == 0 or s.state[LDA] or s.state[LDB] or s.state[LDD] or m.rs.n[LD] or m.rs.n[ST]:
        return False
    q = s.slot[EX]
    return s.a_t[q] == 0 and s.b_t[q] == 0


@entry
def spacing(machine, least):
    """Execute commands of so many whole steps of k that they are `least`; 0 where no period is looked for."""
    m = machine[0]
    if not _works_alone(m):
        return 0
    one = 2 * m.lm.bound[m.lm.slot[EX], 0] * m.lm.bound[m.lm.slot[EX], 1]
    return (least + one - 1) // one * one


@njit
def _moved(p, word, turn):
    """A command's operand with its rows of A or B moved."""
    if is_acc(word):
        return word
    row = word & p.addr_mask
    if turn.a_from <= row < turn.a_to:
        return word + turn.a_by
    if turn.b_from <= row < turn.b_to:
        return word + turn.b_by
    return word


@njit
def _named(funct):
    """Does the command name rows of A or B? (preload, compute)"""
    return 4 <= funct <= 6


@njit
def _move(m, turn):
    """Move every row of A and B that the execute path names."""
    p = m.p
    q = m.fe.unrolled
    for i in range(q.n):
        if _named(q.funct[i]):
            q.rs1[i] = _moved(p, q.rs1[i], turn)
    r = m.rs
    c = EXECUTE
    for k in range(r.wait_n[c]):
        s = r.waiting[c, k]
        if _named(r.funct[c, s]):
            r.rs1[c, s] = _moved(p, r.rs1[c, s], turn)
    for s in range(SLOTS):
        for i in range(2):
            if (r.live[c] >> s) & 1 and r.used[c, s, i] and not r.acc[c, s, i]:
                by = _moved(p, r.start[c, s, i], turn) - r.start[c, s, i]
                r.start[c, s, i] += by
                r.end[c, s, i] += by
    x = m.ex
    for i in range(x.u_n):
        if _named(x.u_funct[i]):
            x.u_rs1[i] = _moved(p, x.u_rs1[i], turn)
    for i in range(x.q_n):
        if _named(x.q_funct[i]):
            x.q_rs1[i] = _moved(p, x.q_rs1[i], turn)
    if x.state == COMPUTE:
        x.a_addr = _moved(p, x.a_addr, turn)
        x.b_addr = _moved(p, x.b_addr, turn)
        x.d_addr = _moved(p, x.d_addr, turn)
    m.lm.k[EX] += turn.k_by


@njit
def _towards(m, turn, steps):
    """Set up a move by `steps` of k."""
    s = m.lm
    q = s.slot[EX]
    dim = m.p.dim
    turn.a_from = a_start(m, q)
    turn.a_to = turn.a_from + s.bound[q, 0] * s.bound[q, 2] * dim
    turn.b_to = b_end(m, q)
    turn.b_from = turn.b_to - s.bound[q, 1] * s.bound[q, 2] * dim
    turn.a_by = steps * dim
    turn.b_by = steps * s.bound[q, 1] * dim
    turn.k_by = steps


@njit
def _least(a, b):
    return a if a < b else b


@njit
def _last(m, first):
    """Last k, of the loop at most, up to which A's and B's rows stay in the banks that those of k = `first` lie in."""
    s = m.lm
    p = m.p
    q = s.slot[EX]
    bank = 1 << p.sp_row_bits
    last = s.bound[q, 2] - 1
    for i in range(s.bound[q, 0]):
        row = a_start(m, q) + i * s.bound[q, 2] * p.dim
        ends = ((row + first * p.dim) // bank + 1) * bank
        last = _least(last, (ends - row) // p.dim - 1)
    of_k = s.bound[q, 1] * p.dim
    row = b_end(m, q) - s.bound[q, 2] * of_k
    ends = ((row + first * of_k) // bank + 1) * bank
    return _least(last, (ends - row) // of_k - 1)


@entry
def skip(machine, words, pair, pair_words, run_, step):
    """Repeat the stretch just made as often as it is proven to come again; returns how often.

    The machine stands in canonical form at the stretch's end and goes on from where the last repetition ends. ``pair``:
    the machines of the last two stops, moved back to k = 0; ``step``: the stretch.
    """
    m = machine[0]
    run = run_[0]
    if not _works_alone(m):
        run.inner_k = -1
        return 0
    s = m.lm
    q = s.slot[EX]
    k = s.k[EX]
    before = run.inner_k
    run.side = 1 - run.side
    pair[run.side] = machine[0]
    _towards(m, run, -k)
    _move(pair[run.side], run)
    run.inner_k = k
    of_k = 2 * s.bound[q, 0] * s.bound[q, 1]
    oldest = before - 1 - IN_FLIGHT // of_k
    if before < 0 or oldest < 1 or k <= before or step.length or step.sections:
        return 0
    for i in range(words.shape[0]):
        if pair_words[0, i] != pair_words[1, i]:
            return 0
    # all that is repeated is emitted before the last k, and its rows lie in the banks of the first stretch's
    often = (_least(_last(m, oldest) - 1, s.bound[q, 2] - 2) - k) // (k - before)
    if often <= 0:
        return 0
    _towards(m, run, often * (k - before))
    _move(m, run)
    run.inner_k = s.k[EX]
    return often


@entry
def repeated(step, run_, again, often):
    """Write into `again` the step that does `step` so often, from the run's present place on; carry the run over it."""
    run = run_[0]
    again.place = run.place
    again.length = 0
    again.cycles = often * step.cycles
    again.t = run.t
    again.row = run.row
    again.rows = often * step.rows
    again.sections = 0
    again.idle_t = 0
    again.granted = 0
    again.grant_before = run.grant
    again.turned = 0
    again.grant = run.grant
    for i in range(memo.EVENTS):
        again.count[i] = often * step.count[i]
    again.count[memo.E_MAXR] = step.count[memo.E_MAXR]
    again.count[memo.E_MAXW] = step.count[memo.E_MAXW]
    for i in range(memo.CAUSES):
        again.cause[i] = often * step.cause[i]
    memo.repeat(run, again)
