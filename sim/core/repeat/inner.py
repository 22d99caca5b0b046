"""Periods inside one matmul loop: while only the array and the loop's own loads work, steps of k are alike.

From one k to the next the rows of A and B advance by a fixed distance, locally and in DRAM; the rows of C stay. Two
stops at which the machine is equal except for that shift, with only commands of this loop in flight, prove that the
stretch between them repeats, until another unit could begin to work (the last k has its own sizes, and stores follow
it), rows of A or B are in another bank, or the TLB answers differently. All fields that are not shifted must be equal:
a field that is forgotten only hides a period.
"""

from sim.core.address import BITS, LOW
from sim.core.fields import is_acc
from sim.core.jit import entry, njit
from sim.core.repeat import memo
from sim.core.units import tlb
from sim.core.units.execute.state import COMPUTE
from sim.core.units.loop_matmul.emit import a_start, b_end
from sim.core.units.loop_matmul.state import EX, LDA, LDB, LDD
from sim.core.units.reservation import EX as EXECUTE
from sim.core.units.reservation import LD, SLOTS, ST
from sim.core.units.reservation.dependences import MEMORY, WRAPPED
from sim.isa import codes

IN_FLIGHT = 64
"""Upper bound of the commands in reservation station and execute queue between the unroller and the array."""


@njit
def _works_alone(m):
    """True if only the execute path is active before the loop's last k."""
    s = m.loop_matmul
    if s.state[EX] == 0 or s.state[LDA] or s.state[LDB] or s.state[LDD] or m.station.n[LD] or m.station.n[ST]:
        return False
    q = s.slot[EX]
    return s.transpose_a[q] == 0 and s.transpose_b[q] == 0


@njit
def _loads_along(m):
    """True if the computing loop loads its own A and B, and nothing else is active."""
    s = m.loop_matmul
    if s.state[EX] == 0 or s.state[LDA] == 0 or s.state[LDB] == 0 or s.state[LDD] or m.station.n[ST]:
        return False
    q = s.slot[EX]
    return s.slot[LDA] == q and s.slot[LDB] == q and s.transpose_a[q] == 0 and s.transpose_b[q] == 0 and s.adds[EX] == 0


@entry
def spacing(machine, least):
    """Return the number of execute commands of whole steps of k, `least` or a few more; 0 if no period is searched."""
    m = machine[0]
    s = m.loop_matmul
    one = 2 * s.bound[s.slot[EX], 0] * s.bound[s.slot[EX], 1]
    length = m.p.block_len  # steps of k that one load of A covers
    if _loads_along(m):
        if s.k[EX] < length or s.k[LDA] - s.k[EX] > 2 * length:
            return 0  # loads that run ahead have no fixed distance
        one *= length
        loads = s.bound[s.slot[EX], 0] + length * ((s.bound[s.slot[EX], 1] + length - 1) // length)
        if loads % 2:
            one *= 2  # two commands alternate in the load controller: an even number preserves their positions
    elif not _works_alone(m):
        return 0
    return (least + one - 1) // one * one


@njit
def _moved(p, word, turn):
    """Return a command's operand with its rows of A or B moved."""
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
    """Whether the command names rows of A or B (preload, compute)."""
    return codes.COMPUTE_PRELOADED <= funct <= codes.PRELOAD


@njit
def _loads(funct):
    """Whether the command loads A or B (mvin, mvin2)."""
    return funct == codes.MVIN2 or funct == codes.MVIN


@njit
def _far(word, turn):
    """Return a DRAM address, relative to its command (places.py), moved with A (first operand) or B."""
    if word >> (BITS + 1) <= 0:
        return word
    return word + ((turn.b_bytes if (word >> BITS) & 1 else turn.a_bytes) << LOW)


@njit
def _move(m, turn):
    """Move every row of A and B that is named on the path to the array, and on the path from DRAM."""
    p = m.p
    q = m.front.unrolled
    for i in range(q.n):
        if _named(q.funct[i]):
            q.rs1[i] = _moved(p, q.rs1[i], turn)
        elif _loads(q.funct[i]):
            q.rs1[i] = _far(q.rs1[i], turn)
            q.rs2[i] = _moved(p, q.rs2[i], turn)
    r = m.station
    for k in range(r.wait_n[EXECUTE]):
        s = r.waiting[EXECUTE, k]
        if _named(r.funct[EXECUTE, s]):
            r.rs1[EXECUTE, s] = _moved(p, r.rs1[EXECUTE, s], turn)
    for k in range(r.wait_n[LD]):
        s = r.waiting[LD, k]
        if _loads(r.funct[LD, s]):
            r.rs1[LD, s] = _far(r.rs1[LD, s], turn)
            r.rs2[LD, s] = _moved(p, r.rs2[LD, s], turn)
    _move_ranges(p, r, LD, turn)
    _move_ranges(p, r, EXECUTE, turn)
    _move_loads(m, turn)
    x = m.execute
    for i in range(x.unroller_n):
        if _named(x.unroller_funct[i]):
            x.unroller_rs1[i] = _moved(p, x.unroller_rs1[i], turn)
    for i in range(x.queue_n):
        if _named(x.queue_funct[i]):
            x.queue_rs1[i] = _moved(p, x.queue_rs1[i], turn)
    if x.state == COMPUTE:
        x.a_addr = _moved(p, x.a_addr, turn)
        x.b_addr = _moved(p, x.b_addr, turn)
        x.d_addr = _moved(p, x.d_addr, turn)
    m.loop_matmul.k[EX] += turn.k_by
    if _loads_along(m):
        m.loop_matmul.k[LDA] += turn.k_by
        m.loop_matmul.k[LDB] += turn.k_by


@njit
def _move_ranges(p, r, c, turn):
    """Move the operand ranges of the live commands of a class."""
    for s in range(SLOTS):
        for i in range(2):
            first = r.first[c, i, s]
            if (r.live[c] >> s) & 1 and first >> MEMORY == 0:
                by = _moved(p, first, turn) - first
                r.first[c, i, s] += by
                if r.behind[c, i, s] != WRAPPED:
                    r.behind[c, i, s] += by


@njit
def _move_loads(m, turn):
    """Move commands in the load controller, rows and requests in the reader, and rows on the way to the scratchpad."""
    p = m.p
    c = m.load
    for i in range(c.queue_n):
        if _loads(c.queue_funct[i]):
            c.queue_rs1[i] = _far(c.queue_rs1[i], turn)
            c.queue_rs2[i] = _moved(p, c.queue_rs2[i], turn)
    r = m.reader
    for i in range(r.queue_n):
        r.queue_address[i] = _far(r.queue_address[i], turn)
        r.queue_target[i] = _moved(p, r.queue_target[i], turn)
    if r.busy:
        r.address = _far(r.address, turn)
        r.block_target = _moved(p, r.block_target, turn)
    if r.tlb_valid:
        r.tlb_address = _far(r.tlb_address, turn)
    if r.translated_valid:
        r.translated_address = _far(r.translated_address, turn)
    for i in range(r.used):
        by = _moved(p, r.id_target[i], turn) - r.id_target[i]
        r.id_target[i] += by
        r.id_address[i] += by
    v = m.mvin
    if v.merge_valid:
        by = _moved(p, v.merge_target, turn) - v.merge_target
        v.merge_target += by
        v.merge_address += by
    s = v.narrow
    for i in range(s.queue_n):
        s.queue_target[i] = _moved(p, s.queue_target[i], turn)
    if s.valid:
        s.input_target = _moved(p, s.input_target, turn)
    for i in range(s.pipe_n):
        s.pipe_target[i] = _moved(p, s.pipe_target[i], turn)
    for i in range(3):
        if s.slot_valid[i]:
            s.slot_target[i] = _moved(p, s.slot_target[i], turn)
    if v.repeat_valid:
        v.repeat_target = _moved(p, v.repeat_target, turn)


@njit
def _towards(m, turn, steps):
    """Prepare a move by `steps` of k."""
    s = m.loop_matmul
    q = s.slot[EX]
    dim = m.p.dim
    turn.a_from = a_start(m, q)
    turn.a_to = turn.a_from + s.bound[q, 0] * s.bound[q, 2] * dim
    turn.b_to = b_end(m, q)
    turn.b_from = turn.b_to - s.bound[q, 1] * s.bound[q, 2] * dim
    turn.a_by = steps * dim
    turn.b_by = steps * s.bound[q, 1] * dim
    turn.a_bytes = steps * dim * m.p.a_bits >> 3
    turn.b_bytes = steps * dim * s.dram_stride[q, 1] * m.p.b_bits >> 3
    turn.k_by = steps


@njit
def _least(a, b):
    return a if a < b else b


@njit
def _last(m, first):
    """Return the last k, at most the loop's, up to which A's and B's rows stay in the banks of those of k = `first`."""
    s = m.loop_matmul
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


@njit
def _answered(run, step, uses, used, often, tlbs, program, by):
    """Return how many of `often` repetitions get the step's answers from the TLB.

    Their uses are logged beginning at `used`.

    ``by``: steps of k per repetition; the move is prepared for one repetition.
    """
    if step.uses_n == 0:
        return often
    memo.localise(uses, step, program, run.align)
    for i in range(step.uses_at, step.uses_at + step.uses_n):
        if uses[i].client == tlb.WRITER:
            return 0
    run.a_bytes *= by
    run.b_bytes *= by
    at = used
    was = step.uses_at
    often = min(often, (uses.shape[0] - used) // step.uses_n)
    for n in range(often):
        for i in range(step.uses_n):
            use = uses[at + i]
            use.t = uses[step.uses_at + i].t
            use.what = uses[was + i].what
            use.client = uses[was + i].client
            use.address = uses[was + i].address
            if use.what < tlb.HIT:
                use.address = _far(use.address, run)
        memo.keep(tlbs[1], tlbs[0])
        if not memo.answers(uses, at, step.uses_n, step.cycles, tlbs[1], program, run.place):
            return n
        memo.keep(tlbs[0], tlbs[1])
        for i in range(at, at + step.uses_n):
            uses[i].t += n * step.cycles
        was = at
        at += step.uses_n
    return often


@entry
def skip(held, pairs, step, uses, used):
    """Repeat the last stretch as often as its repetition is proven; return the number of repetitions.

    The machine is in canonical form at the stretch's end and continues from the end of the last repetition. ``held``:
    as for `stretch.save_state`. ``pairs``: the machines of the last two stops, moved back to k = 0, and their words;
    ``step``: the stretch. Uses of the TLB are logged beginning at ``used``, and the TLB is advanced.
    """
    machine, words, _, program, tlbs, run_ = held
    pair, pair_words = pairs
    m = machine[0]
    run = run_[0]
    along = _loads_along(m)
    if not along and (step.uses_n or not _works_alone(m)):
        run.inner_k = -1
        return 0
    s = m.loop_matmul
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
    if step.granted and step.grant != step.grant_before:
        return 0
    for i in range(words.shape[0]):
        if pair_words[0, i] != pair_words[1, i]:
            return 0
    # repeated commands are emitted before the last k, and their rows are in the banks of the first stretch
    by = k - before
    often = (_least(_last(m, oldest) - 1, s.bound[q, 2] - 2) - k) // by
    if along:
        loaded = max(s.k[LDA], s.k[LDB]) + m.p.block_len  # the last block of a load is its last k or an earlier one
        often = _least(often, (_least(_last(m, oldest), s.bound[q, 2] - 1) - loaded) // by)
    _towards(m, run, 1)
    if along and ((run.a_bytes * by) % run.align or (run.b_bytes * by) % run.align):
        return 0
    often = _answered(run, step, uses, used, often, tlbs, program, by) if often > 0 else 0
    if often <= 0:
        return 0
    _towards(m, run, often * by)
    _move(m, run)
    run.inner_k = s.k[EX]
    return often


@entry
def repeated(step, run_, again, often):
    """Write into `again` the step that repeats `step` several times from the run's current place.

    Advance the run past it.
    """
    run = run_[0]
    again.place = run.place
    again.length = 0
    again.cycles = often * step.cycles
    again.t = run.t
    again.row = run.row
    again.rows = often * step.rows
    again.sections = 0
    again.idle_t = 0
    again.local = 1
    again.granted = step.granted
    again.grant_before = run.grant
    again.turned = often * step.turned
    again.grant = step.grant
    for i in range(memo.EVENTS):
        again.count[i] = often * step.count[i]
    again.count[memo.E_MAXR] = step.count[memo.E_MAXR]
    again.count[memo.E_MAXW] = step.count[memo.E_MAXW]
    for i in range(memo.CAUSES):
        again.cause[i] = often * step.cause[i]
    memo.repeat(run, again)
