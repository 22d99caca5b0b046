"""The periodic clock: a stretch that starts from a known state, on the same commands, is not simulated again.

The program is cut into stretches. At the end of each the machine is brought into canonical form (canonical.py) and its
addresses are made relative to the place in the program (places.py); a known state proves that the machine repeats its
earlier behaviour, as long as the commands are equal except for their operands' addresses and the TLB answers the same
(memo.py). A period is the case in which the steps form a ring. Exact for any program: other stretches are simulated by
the leaping clock.
"""

from collections.abc import Callable

import numpy as np

from sim.core import engine
from sim.core.address import ALL_BITS, LOW, MASK
from sim.core.jit import passed
from sim.core.machine import IMAGED_WORDS, timing_bits
from sim.core.params import NEVER
from sim.core.repeat import stretch
from sim.core.repeat.known import known_of_thread
from sim.core.repeat.memo import RUN, STEP
from sim.core.repeat.stretch import next_stop
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
"""Commands of a program in which only matmul loops use local memory."""
ADDRESSES = (codes.LOOP_WS_ADDRESSES_AB, codes.LOOP_WS_ADDRESSES_DC)
"""Commands that give a matmul loop its four DRAM addresses."""

WORTH_CYCLES = 2000
"""Least desired cycles of a stretch: the bookkeeping at its end costs as much as about 200 cycles."""
MIN_COMMANDS = 24
"""Least number of commands of a program; in shorter ones little can repeat."""
MIN_UNROLLED = 128
"""Commands of a first stretch of a program without loops: a command seldom takes fewer than eight cycles, and twice as
many commands would hide what repeats in programs of a thousand."""
MIN_PARTS = 8
"""In a short program with a loop of more stretches than this, they can repeat."""
EXECUTE_ROWS = 4096
"""Rows of execute commands after which a stretch ends inside a loop; half of them, the computes, take a cycle each."""
LOOP_PARTS = 16
"""Largest number of stretches of one matmul loop.

Large tiles are few, and shorter stretches cost more than they gain.
"""


def plain(funct: np.ndarray, rs1: np.ndarray) -> np.ndarray:
    """Return the operands of timeline rows without the marks of their addresses."""
    return np.where(np.isin(funct, (codes.MVIN2, codes.MVIN, codes.MVOUT, codes.MVIN3)), rs1 & MASK, rs1)


def refusal(machine: np.ndarray, program: np.ndarray) -> str:
    """Return why the periodic clock cannot run this program on this machine, "" if it can.

    It cannot if time depends on more bits of a DRAM address than a relative address keeps; it does not if nothing can
    repeat, or if an address or stride does not fit below its mark.
    """
    funct = program["funct"]
    p = np.asarray(machine)["p"][0]
    if (bits := timing_bits(p)) > LOW:
        whole = "the whole address" if bits >= ALL_BITS else f"{bits} bits of the address"
        return f"the time of a memory access depends on {whole}, and repetition compares {LOW} bits"
    short = len(program) <= MIN_COMMANDS or next_stop(passed(program), 0, MIN_COMMANDS) < 0
    if short and loop_commands(program) * p["dim"] <= MIN_PARTS * EXECUTE_ROWS:
        return "the program is too short to repeat anything"
    both = np.isin(funct, (*ADDRESSES, codes.LOOP_CONV_WS_5, codes.LOOP_CONV_WS_6))
    rs1, rs2 = program["rs1"], program["rs2"]
    addresses = np.concatenate([rs1[both | np.isin(funct, (1, 2, 3, 14))], rs2[both]])
    if not ((addresses >= 0) & (addresses < 1 << 40)).all():
        return "a DRAM address is 2^40 or more"
    kind = fields.config_kind(rs1)
    loads = rs2[(funct == codes.CONFIG) & (kind == codes.CONFIG_LD)]
    stores = rs2[(funct == codes.CONFIG) & (kind == codes.CONFIG_ST)] & 0xFFFFFFFF
    if not (((loads >= 0) & (loads < 1 << 24)).all() and (stores < 1 << 24).all()):
        return "the stride of a load or store is 2^24 bytes or more"
    return ""


def own_addresses(program: np.ndarray) -> bool:
    """Whether every matmul loop is preceded by both commands with its addresses, after the previous loop."""
    loops = np.flatnonzero(program["funct"] == codes.LOOP_WS)
    given = [np.diff(np.cumsum(program["funct"] == funct)[loops], prepend=0) for funct in ADDRESSES]
    return bool((np.minimum(*given) > 0).all())


def loop_commands(program: np.ndarray) -> int:
    """Return the execute commands of the program's largest matmul loop: preload and compute of I x J x K blocks."""
    bounds = program["rs2"][program["funct"] == codes.LOOP_WS_BOUNDS]
    if not len(bounds):
        return 0
    blocks = np.prod([fields.loop_dimension(bounds, n) for n in range(3)], axis=0)
    return 2 * int(blocks.max(initial=0))


def run(
    machine: np.ndarray, program: np.ndarray, sections: np.ndarray, times: np.ndarray, lines: np.ndarray,
    between: Callable[[], None] | None = None, limit_cycles: int = NEVER,
) -> tuple[int, np.record]:  # fmt: skip
    """Run a program to its last idle cycle; return the engine's status and the result as a RUN record.

    Arguments as in `engine.drive`; a program that is not idle by ``limit_cycles`` is stopped soon after (OVERRUN).
    """
    words = np.asarray(machine).view(np.int64)[:IMAGED_WORDS]
    known = known_of_thread(words)
    runs = _begun(machine, program, timed=len(times) > 0)
    tlbs = np.zeros(2, tlb.DTYPE).view(np.recarray)
    ends = np.zeros_like(sections)  # of the sections in one stretch
    hot = [passed(one) for one in (machine, program, times, tlbs, runs, known.log)]
    machine_, program_, times_, tlbs_, runs_, log = hot
    held = (machine_, words, known.blank, program_, tlbs_, runs_)
    channels = passed(np.zeros(0, CHANNEL).view(np.recarray))
    simulate = engine.run.bound(machine_, program_, ends, times_, lines, channels, log, True)
    limit, gone = np.asarray(machine)["front"]["limit_t"], np.asarray(runs)["t"]
    status, go_on = engine.STOPPED, None
    while status == engine.STOPPED:
        if go_on is None or go_on():
            known.grow(runs, len(words), len(ends))
            bound = stretch.go_on.bound(held, known.arrays(), (sections, times_), (log, ends))
            if go_on is None:
                bound()
            go_on = bound
        left_cycles = limit_cycles - int(gone[0])
        if left_cycles < 0:
            status = engine.OVERRUN
            break
        limit[0] = left_cycles if limit_cycles < NEVER else NEVER
        while (status := int(simulate())) == engine.PAUSED:
            if between is not None:
                between()
    m, r, last = machine[0], runs[0], np.zeros(1, STEP).view(np.recarray)
    done = int(m.front.sections)
    sections[int(r.sections) : int(r.sections) + done] = ends[:done] + r.t
    stretch.end(machine_, runs_, passed(last))
    times.rs1 = plain(times.funct, times.rs1)
    return status, r


def _begun(machine: np.ndarray, program: np.ndarray, timed: bool) -> np.ndarray:
    """Return the record of a run whose machine is in its reset state."""
    m = machine[0]
    runs = np.zeros(1, RUN).view(np.recarray)
    r = runs[0]
    r.align = 1 << timing_bits(m.p)
    r.own = own_addresses(program)
    r.state = stretch.UNBEGUN
    r.elements = -(-int(m.p.dim) // int(m.p.mvin_units)) if m.p.mvin_units > 0 else 1
    r.inner_k = -1
    r.least = 1
    r.worth = WORTH_CYCLES
    r.fine = EXECUTE_ROWS // int(m.p.dim)
    r.coarse = max(int(r.fine), loop_commands(program) // LOOP_PARTS)
    funct = program["funct"]
    r.loops = not timed and bool(np.isin(funct, LOOPS_ONLY).all())
    if not np.isin(funct, (codes.LOOP_WS, codes.LOOP_CONV_WS)).any():
        r.least = MIN_UNROLLED
    m.front.origin = 0
    return runs
