"""The periodic clock: a stretch that starts from a known state, on the same commands, is not simulated again.

The program is cut into stretches. At the end of each the machine is brought into canonical form (canonical.py) and its
addresses are made relative to the place in the program (places.py); a state met before proves that the machine will do
what it did then, as long as the commands are the same but for their operands' addresses and the TLB answers the same
(memo.py). A period is the case in which the steps come back to their beginning. Exact, whatever the program: what does
not fit is simulated by the leaping clock.
"""

from collections.abc import Callable

import numpy as np

from sim.core import engine
from sim.core.address import ALL_BITS, LOW, MASK
from sim.core.jit import entry, njit, passed
from sim.core.machine import IMAGED_WORDS, timing_bits
from sim.core.params import NEVER
from sim.core.repeat import inner, memo
from sim.core.repeat.canonical import canonise
from sim.core.repeat.known import LOG, known_of_thread
from sim.core.repeat.memo import RUN
from sim.core.repeat.places import turn_all
from sim.core.units import tlb
from sim.core.units.dram.state import DTYPE as CHANNEL
from sim.isa import codes, fields

LOOPS_ONLY = (
    codes.CONFIG,
    codes.FLUSH,
    codes.LOOP_WS,
    codes.LOOP_WS_BOUNDS,
    codes.LOOP_WS_ADDRESSES_AB,
    codes.LOOP_WS_ADDRESSES_DC,
    codes.LOOP_WS_STRIDES_AB,
    codes.LOOP_WS_STRIDES_DC,
    codes.FENCE,
)
"""Commands of a program that leaves local memory to its matmul loops."""
ADDRESSES = (codes.LOOP_WS_ADDRESSES_AB, codes.LOOP_WS_ADDRESSES_DC)
"""Commands that give a matmul loop its four DRAM addresses."""

WORTH_CYCLES = 2000
"""A stretch ought to last longer than the bookkeeping at its end, which costs as much as about 200 cycles."""
FEWEST_COMMANDS = 24
"""In shorter programs little can repeat."""
FEWEST_PARTS = 8
"""In a short program with a loop of more stretches, these can."""
EXECUTE_ROWS = 4096
"""Rows of execute commands after which a stretch ends inside a loop; half of them, the computes, take a cycle each."""
LOOP_PARTS = 16
"""Most stretches of one matmul loop: large tiles are few, and finer cuts through them cost more than they find."""
MOST_COMMANDS = 1 << 14
"""Longest stretch aimed at; marks of addresses reach 65,536 commands back."""
PATIENCE = 2048
"""Stretches without a repetition after which the next ones are made twice as long."""

E_VISITED = engine.E_VISITED


@njit
def _ends(program, i):
    """A good place to stop before command i: behind a loop or a fence, or where loads follow results."""
    before = program[i - 1].funct
    if program[i].funct == codes.FENCE:
        return False
    if before == codes.LOOP_WS or before == codes.LOOP_CONV_WS or before == codes.FENCE:
        return True
    results = codes.MVOUT <= before <= codes.COMPUTE_ACCUMULATED
    return results and not codes.MVOUT <= program[i].funct <= codes.PRELOAD


@entry
def next_stop(program, place, least):
    """First good place to stop at least `least` commands on; -1 when only the end of the program is left."""
    for i in range(place + least, program.shape[0]):
        if _ends(program, i):
            return i
    return -1


@entry
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


@entry
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


def plain(funct: np.ndarray, rs1: np.ndarray) -> np.ndarray:
    """Operands of timeline rows without the marks of their addresses."""
    return np.where(np.isin(funct, (codes.MVIN2, codes.MVIN, codes.MVOUT, codes.MVIN3)), rs1 & MASK, rs1)


def refusal(machine: np.ndarray, program: np.ndarray) -> str:
    """Return why the periodic clock cannot run this program on this machine, "" when it can.

    It cannot where time depends on more bits of a DRAM address than a relative address keeps; it does not where nothing
    can repeat, or where an address or stride does not fit under its mark.
    """
    funct = program.funct
    p = machine[0].p
    if (bits := timing_bits(p)) > LOW:
        whole = "the whole address" if bits >= ALL_BITS else f"{bits} bits of the address"
        return f"the time of a memory access depends on {whole}, and repetition compares {LOW} bits"
    large = loop_commands(program) * p.dim > FEWEST_PARTS * EXECUTE_ROWS
    if next_stop(program, 0, FEWEST_COMMANDS) < 0 and not large:
        return "the program is too short to repeat anything"
    both = np.isin(funct, (*ADDRESSES, codes.LOOP_CONV_WS_5, codes.LOOP_CONV_WS_6))
    addresses = np.concatenate([program.rs1[both | np.isin(funct, (1, 2, 3, 14))], program.rs2[both]])
    if not ((addresses >= 0) & (addresses < 1 << 40)).all():
        return "a DRAM address is 2^40 or more"
    kind = fields.config_kind(program.rs1)
    loads = program.rs2[(funct == codes.CONFIG) & (kind == codes.CONFIG_LD)]
    stores = program.rs2[(funct == codes.CONFIG) & (kind == codes.CONFIG_ST)] & 0xFFFFFFFF
    if not (((loads >= 0) & (loads < 1 << 24)).all() and (stores < 1 << 24).all()):
        return "the stride of a load or store is 2^24 bytes or more"
    return ""


def own_addresses(program: np.ndarray) -> bool:
    """Is every matmul loop preceded by both commands that give its addresses, behind the loop before?"""
    loops = np.flatnonzero(program.funct == codes.LOOP_WS)
    given = [np.diff(np.cumsum(program.funct == funct)[loops], prepend=0) for funct in ADDRESSES]
    return bool((np.minimum(*given) > 0).all())


def loop_commands(program: np.ndarray) -> int:
    """Execute commands of the program's largest matmul loop: preload and compute of I x J x K blocks."""
    bounds = program.rs2[program.funct == codes.LOOP_WS_BOUNDS]
    blocks = np.prod([fields.loop_dimension(bounds, n) for n in range(3)], axis=0)
    return 2 * int(blocks.max(initial=0))


class _Run:
    """One run of the periodic clock: simulates a stretch, stores it, repeats what is known, and so on."""

    def __init__(self, machine, program, sections, times, lines, between):
        """Take the arrays of `engine.drive`; the machine stands at its reset."""
        m = machine[0]
        self.m, self.sections, self.times, self.between = m, sections, times, between
        self.words = np.asarray(machine).view(np.int64)[:IMAGED_WORDS]
        self.known = known_of_thread()
        self.known.blank[:] = self.words  # an image tells what differs from the machine after reset
        runs = np.zeros(1, RUN).view(np.recarray)
        self.r = r = runs[0]
        r.align = 1 << timing_bits(m.p)
        r.own = own_addresses(program)
        r.state = -1
        r.elements = -(-int(m.p.dim) // int(m.p.mvin_units)) if m.p.mvin_units > 0 else 1
        r.inner_k = -1
        m.front.origin = 0
        self.ends = np.zeros_like(sections)  # of the sections in one stretch
        self.visited = self.tried = self.tried_cycles = self.in_vain = 0
        self.least = 1  # commands of a stretch, at least
        self.fine = EXECUTE_ROWS // int(m.p.dim)  # execute commands of a stretch inside a loop
        self.coarse = max(self.fine, loop_commands(program) // LOOP_PARTS)
        self.loops = not len(times) and bool(np.isin(program.funct, LOOPS_ONLY).all())
        # columns of one item each: see Known.state
        record, self.told = np.asarray(machine), np.asarray(runs)
        self.front, self.visits, self.logged = record["front"], record["count"][:, E_VISITED], record["tlb"]["logged"]
        tlbs = np.zeros(2, tlb.DTYPE).view(np.recarray)
        self.machine, self.program, self.timeline, self.tlbs, self.going, self.lines = (
            passed(a) for a in (machine, program, times, tlbs, runs, lines)
        )
        self.channels = passed(np.zeros(0, CHANNEL).view(np.recarray))
        self.pair = passed(self.known.pair)

    def simulate(self) -> int:
        """Run the machine through the next stretch; returns the engine's status."""
        known = self.known
        stop = next_stop(self.program, int(self.told["place"][0]), self.least)
        self.front["stop"] = stop if stop >= 0 else NEVER
        self.front["stop_ex"] = (inner.spacing(self.machine, self.fine) if self.loops else 0) or self.coarse
        known.grow(len(self.words))
        log = passed(known.uses)[known.used : known.used + LOG]
        arrays = (self.machine, self.program, self.ends, self.timeline, self.lines, self.channels, log)
        status = engine.drive(*arrays, True, between=self.between)
        self.visited += int(self.visits[0])
        done = int(self.front["sections"][0])
        if done:
            past = int(self.told["sections"][0])
            self.sections[past : past + done] = self.ends[:done] + self.told["t"][0]
        return status

    def finish(self) -> np.record:
        """Add the last stretch, which ends with the program; returns the run."""
        m, step = self.m, self.known.steps[self.known.made]
        step.sections = int(self.front["sections"][0])
        step.idle_t = m.front.idle_t
        step.count[:] = m.count
        step.cause[:] = m.cause
        step.cycles = step.length = 0
        step.rows = m.station.rows
        memo.repeat(self.r, step)
        self.r.count[E_VISITED] = self.visited
        self.times.rs1 = plain(self.times.funct, self.times.rs1)
        return self.r

    def go_on(self) -> None:
        """Store the stretch just simulated, repeat the steps that are known from its end on, restore the machine."""
        known, words, told = self.known, self.words, self.told
        made, logged, before = known.made, int(self.logged[0]), int(told["state"][0])
        done = int(self.front["sections"][0])
        held = (self.machine, words, known.blank, self.program, self.tlbs, self.going)
        n, digest = save_state(held, known.steps[made], known.pool, known.words)
        state = self._present(n, digest)
        stored = before >= 0 and logged < LOG
        if stored:
            known.remember(before, state, self.ends[:done], logged)
        steps = 0
        if known.has_steps(state):
            kept = (passed(known.states), passed(known.steps), passed(known.uses), known.marks)
            steps = memo.follow(self.going, kept, self.tlbs, self.program, self.sections, self.timeline)
        if self.loops and steps:
            self.r.inner_k = -1
        elif self.loops and stored:
            self._skip_inside(held, made, state, logged)
        self._judge(made, steps)
        _, at, pairs, _, _, _ = known.states.item(int(told["state"][0]))
        restore_state(held, known.pool, at, pairs if steps else 0)
        if known.full:
            known.forget()
            told["state"][0] = -1

    def _present(self, n: int, digest: int) -> int:
        """Make the state whose image was just written the run's present one; returns its number."""
        told = self.told
        told["state"][0] = state = self.known.state(n, digest, int(told["oldest"][0]), int(told["unread"][0]))
        return state

    def _skip_inside(self, held: tuple[np.ndarray, ...], made: int, state: int, logged: int) -> None:
        """Repeat the stretch inside its loop as often as it is proven to come again (inner.py)."""
        known = self.known
        known.grow(len(self.words))
        step, pair = known.steps[made], (self.pair, self.pair.view(np.int64).reshape(2, -1))
        often = inner.skip(held, pair, step, passed(known.uses), known.used)
        if often:
            known.grow(len(self.words))
            inner.repeated(step, self.going, known.steps[known.made], often)
            n, digest = memo.compress(self.words, known.blank, known.pool, known.words)
            known.remember(state, self._present(n, digest), self.ends[:0], often * logged)
            known.steps["local"][known.made - 1] = 1

    def _judge(self, made: int, steps: int) -> None:
        """Make stretches twice as long where they are too short, or where too many in a row found no repetition."""
        known = self.known
        self.tried += 1
        self.tried_cycles += int(known.steps["cycles"][made])
        self.in_vain = 0 if steps else self.in_vain + 1
        short = self.tried >= 8 and self.tried_cycles < self.tried * WORTH_CYCLES
        if short or self.in_vain > PATIENCE:
            self.least = min(2 * max(self.least, int(known.steps["length"][made])), MOST_COMMANDS)
            self.coarse *= 2
            self.tried = self.tried_cycles = self.in_vain = 0


def run(
    machine: np.ndarray, program: np.ndarray, sections: np.ndarray, times: np.ndarray, lines: np.ndarray,
    between: Callable[[], None] | None = None,
) -> tuple[int, np.record]:  # fmt: skip
    """Run a program to its last idle cycle; returns the engine's status and the result as a RUN record.

    Arguments as in `engine.drive`.
    """
    going = _Run(machine, program, sections, times, lines, between)
    while (status := going.simulate()) == engine.STOPPED:
        going.go_on()
    return status, going.finish()
