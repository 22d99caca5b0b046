"""The periodic clock: a stretch that starts from a known state, on the same commands, is not simulated again.

The program is cut into stretches. At the end of each the machine is brought into canonical form (canonical.py) and its
addresses are made relative to the place in the program (places.py); a state met before proves that the machine will do
what it did then, as long as the commands are the same but for their operands' addresses and the TLB answers the same
(memo.py). A period is the case in which the steps come back to their beginning. Exact, whatever the program: what does
not fit is simulated by the leaping clock.
"""

import threading
from collections.abc import Callable

import numpy as np

from sim.core import engine
from sim.core.address import ALL_BITS, LOW, MASK
from sim.core.jit import entry, njit, passed
from sim.core.machine import IMAGED_WORDS, MACHINE, timing_bits
from sim.core.params import NEVER
from sim.core.repeat import inner, memo
from sim.core.repeat.canonical import canonise
from sim.core.repeat.memo import RUN, STATE, STEP
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
LOG = 1 << 16
"""Uses of the TLB that one stretch may make; a longer one is not remembered."""
IMAGE_WORDS = 1 << 21
USES = 1 << 21
"""Bounds of the memory: 16 MiB of images, 64 MiB of uses."""
PATIENCE = 2048
"""Stretches without a repetition after which the next ones are made twice as long."""


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
def save_state(machine, words, blank, program, tlbs, run_, step, pool, at):
    """Save the state of a stopped machine: its normal form to the pool, its TLB to `tlbs`, its counters to the step.

    Returns the pairs of the image and their digest.
    """
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
def restore_state(machine, words, blank, program, tlbs, run_, pool, at, n):
    """Restore the machine at the run's place, from an image of the pool (n > 0) or as `save_state` left it."""
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


class Memory:
    """States and steps of one run, in arrays that grow; forgets everything when it is full.

    The arrays stay for the thread's next run: to take them anew from the system costs more than a short program.
    """

    def __init__(self) -> None:
        """Make an empty memory."""
        self.blank = np.zeros(IMAGED_WORDS, np.int64)
        self.pair = np.zeros(2, MACHINE).view(np.recarray)
        self.pool = np.zeros(1 << 17, np.int64)
        self.uses = np.zeros(4 * LOG, tlb.USE).view(np.recarray)
        self.states = np.zeros(256, STATE).view(np.recarray)
        self.steps = np.zeros(256, STEP).view(np.recarray)
        self.marks = np.zeros(64, np.int64)
        self.forget()

    def forget(self) -> None:
        """Forget every state and step."""
        self.words = self.used = self.known = self.made = self.marked = 0
        self.by_digest: dict[int, list[int]] = {}

    @property
    def full(self) -> bool:
        """True when no more may be remembered."""
        return self.words > IMAGE_WORDS or self.used > USES

    def grow(self, image_words: int) -> None:
        """Make room for one more of everything."""
        self.pool = _roomy(self.pool, self.words + 2 * image_words)
        self.uses = _roomy(self.uses, self.used + LOG)
        self.states = _roomy(self.states, self.known + 1)
        self.steps = _roomy(self.steps, self.made + 1)

    def state(self, n: int, digest: int, oldest: int, unread: int) -> int:
        """Return the state whose image of n pairs was just written behind the pool's end, adding it when it is new."""
        known = np.asarray(self.states)  # a record's attribute costs a microsecond or more, a column's item a tenth
        for number in self.by_digest.get(digest, ()):
            if known["n"][number] == n and memo.same(self.pool, int(known["at"][number]), self.words, n):
                return number
        self.states[self.known] = (digest, self.words, n, -1, oldest, unread)
        self.by_digest.setdefault(digest, []).append(self.known)
        self.words += 2 * n
        self.known += 1
        return self.known - 1

    def has_steps(self, state: int) -> bool:
        """True when something was done from a state before."""
        return bool(np.asarray(self.states)["first"][state] >= 0)

    def remember(self, before: int, to: int, ends: np.ndarray, logged: int) -> None:
        """Keep the step just made (its lengths and counters are in place) as one of the state it was made from."""
        states, steps, made = np.asarray(self.states), np.asarray(self.steps), self.made
        steps["after"][made] = states["first"][before]
        steps["to"][made] = to
        steps["uses_at"][made] = self.used
        steps["uses_n"][made] = logged
        steps["section_at"][made] = self.mark(ends) if len(ends) else 0
        steps["local"][made] = 0
        states["first"][before] = made
        self.made += 1
        self.used += logged

    def mark(self, ends: np.ndarray) -> int:
        """Keep the ends of a step's sections; returns where."""
        at = self.marked
        self.marks = _roomy(self.marks, at + len(ends))
        self.marks[at : at + len(ends)] = ends
        self.marked += len(ends)
        return at


_OF_THREAD = threading.local()


def _memory() -> Memory:
    """Return the thread's memory, emptied."""
    memory: Memory | None = getattr(_OF_THREAD, "memory", None)
    if memory is None:
        memory = _OF_THREAD.memory = Memory()
    memory.forget()
    return memory


def _roomy(array: np.ndarray, least: int) -> np.ndarray:
    if least <= len(array):
        return array
    larger = np.zeros(max(least, 2 * len(array)), array.dtype)
    larger[: len(array)] = array
    return larger.view(np.recarray) if array.dtype.names else larger


def run(
    machine: np.ndarray, program: np.ndarray, sections: np.ndarray, times: np.ndarray, lines: np.ndarray,
    between: Callable[[], None] | None = None,
) -> tuple[int, np.record]:  # fmt: skip
    """Run a program to its last idle cycle; returns the engine's status and the result as a RUN record.

    Arguments as in `engine.drive`.
    """
    m = machine[0]
    words = np.asarray(machine).view(np.int64)[:IMAGED_WORDS]
    channels = passed(np.zeros(0, CHANNEL).view(np.recarray))
    memory = _memory()
    blank = memory.blank
    blank[:] = words  # an image tells what differs from the machine after reset
    runs = np.zeros(1, RUN).view(np.recarray)
    tlbs = np.zeros(2, tlb.DTYPE).view(np.recarray)
    r = runs[0]
    r.align = 1 << timing_bits(m.p)
    r.own = own_addresses(program)
    r.state = -1
    r.elements = -(-int(m.p.dim) // int(m.p.mvin_units)) if m.p.mvin_units > 0 else 1
    ends = np.zeros_like(sections)
    m.front.origin = 0
    visited = tried = tried_cycles = in_vain = 0
    least = 1
    fine = EXECUTE_ROWS // int(m.p.dim)
    coarse = max(fine, loop_commands(program) // LOOP_PARTS)
    loops = not len(times) and bool(np.isin(program.funct, LOOPS_ONLY).all())
    r.inner_k = -1
    # columns of one item each: see Memory.state
    record, told = np.asarray(machine), np.asarray(runs)
    machine, program, timeline, tlbs, going = (passed(a) for a in (machine, program, times, tlbs, runs))
    pair = passed(memory.pair)
    pair_words = pair.view(np.int64).reshape(2, -1)
    front, visits, logged_n = record["front"], record["count"][:, engine.E_VISITED], record["tlb"]["logged"]
    places, times_past, sections_past, state_of = (told[name] for name in ("place", "t", "sections", "state"))
    while True:
        stop = next_stop(program, int(places[0]), least)
        front["stop"] = stop if stop >= 0 else NEVER
        front["stop_ex"] = (inner.spacing(machine, fine) if loops else 0) or coarse
        memory.grow(len(words))
        log = passed(memory.uses)[memory.used : memory.used + LOG]
        status = engine.drive(machine, program, ends, timeline, lines, channels, log, True, between=between)
        visited += int(visits[0])
        done = int(front["sections"][0])
        if done:
            past = int(sections_past[0])
            sections[past : past + done] = ends[:done] + times_past[0]
        step = memory.steps[memory.made]
        if status != engine.STOPPED:
            step.sections = done
            step.idle_t = m.front.idle_t
            step.count[:] = m.count
            step.cause[:] = m.cause
            step.cycles = step.length = 0
            step.rows = m.station.rows
            memo.repeat(r, step)
            r.count[engine.E_VISITED] = visited
            times.rs1 = plain(times.funct, times.rs1)
            return status, r
        made, logged, before = memory.made, int(logged_n[0]), int(state_of[0])
        n, digest = save_state(machine, words, blank, program, tlbs, going, step, memory.pool, memory.words)
        state = memory.state(n, digest, int(told["oldest"][0]), int(told["unread"][0]))
        state_of[0] = state
        if before >= 0 and logged < LOG:
            memory.remember(before, state, ends[:done], logged)
        steps = 0
        if memory.has_steps(state):
            known = (passed(a) for a in (memory.states, memory.steps, memory.uses, memory.marks))
            steps = memo.follow(going, *known, tlbs, program, sections, timeline)
        if loops and steps:
            r.inner_k = -1
        elif loops and before >= 0 and logged < LOG:
            memory.grow(len(words))
            step, uses = memory.steps[made], passed(memory.uses)
            often = inner.skip(machine, words, pair, pair_words, going, step, uses, memory.used, tlbs, program)
            if often:
                memory.grow(len(words))
                inner.repeated(step, going, memory.steps[memory.made], often)
                n, digest = memo.compress(words, blank, memory.pool, memory.words)
                state_of[0] = memory.state(n, digest, int(told["oldest"][0]), int(told["unread"][0]))
                memory.remember(state, int(state_of[0]), ends[:0], often * logged)
                memory.steps["local"][memory.made - 1] = 1
        tried += 1
        tried_cycles += int(memory.steps["cycles"][made])
        in_vain = 0 if steps else in_vain + 1
        if (tried >= 8 and tried_cycles < tried * WORTH_CYCLES) or in_vain > PATIENCE:
            least = min(2 * max(least, int(memory.steps["length"][made])), MOST_COMMANDS)
            coarse *= 2
            tried = tried_cycles = in_vain = 0
        _, at, pairs, _, _, _ = memory.states.item(int(state_of[0]))
        restore_state(machine, words, blank, program, tlbs, going, memory.pool, at, pairs if steps else 0)
        if memory.full:
            memory.forget()
            state_of[0] = -1
