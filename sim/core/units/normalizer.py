"""The normaliser in the store path: two statistics, sum and max lanes, one divider, square root and reciprocal each.

Source: Normalizer.scala, Arithmetic.scala; divider latencies from DivSqrtRecFN_small at two bits a cycle. Without
normalisation units the same place is a two-entry queue.

Division latency depends on data in one way: a zero sum is answered in the next cycle. Rows never written since reset
hold zeros; every other row is assumed to hold data.
"""

import numpy as np

from sim.core.jit import njit
from sim.core.normal import LONG_AGO, due, recent
from sim.core.params import NEVER

IDLE = 0
OUTPUT = 1
GET_SUM = 2
GET_MEAN = 3
WAIT_MEAN = 4
GET_VARIANCE = 5
WAIT_VARIANCE = 6
GET_STDDEV = 7
WAIT_STDDEV = 8
GET_INVERSE = 9
WAIT_INVERSE = 10
GET_SCALED = 11
WAIT_SCALED = 12
GET_MAX = 13
GET_INV_SUM = 14
WAIT_INV_SUM = 15

# norm commands (NormCmd.scala)
SUM = 1
MEAN = 2
VARIANCE = 3
INV_STDDEV = 4
MAX = 5
SUM_EXP = 6
INV_SUM_EXP = 7

LANES = 4  # latency of the sum and max lanes
DIVIDE = 18  # 32-bit significand, two bits a cycle
RECIPROCAL = 14  # 24-bit significand
ROOT = 17  # 16 steps and the result register
MULTIPLY = 2

UNIT_NAMES = ("divider", "reciprocal of sum", "square root", "reciprocal of root", "multiplier")
DIVIDER, RECIPROCAL_OF_SUM, SQUARE_ROOT, RECIPROCAL_OF_ROOT, MULTIPLIER = range(len(UNIT_NAMES))
NO_UNIT = -1

STEPS = {
    # state: unit used, cycles to its result, further cycles for which the unit is busy, state meanwhile, next state
    GET_MEAN: (DIVIDER, DIVIDE, 0, WAIT_MEAN, IDLE),
    GET_VARIANCE: (DIVIDER, DIVIDE, 0, WAIT_VARIANCE, GET_STDDEV),
    GET_STDDEV: (SQUARE_ROOT, ROOT, 1, WAIT_STDDEV, GET_INVERSE),
    GET_INVERSE: (RECIPROCAL_OF_ROOT, RECIPROCAL, 0, WAIT_INVERSE, GET_SCALED),
    GET_INV_SUM: (RECIPROCAL_OF_SUM, RECIPROCAL, 0, WAIT_INV_SUM, GET_SCALED),
    GET_SCALED: (MULTIPLIER, MULTIPLY, -MULTIPLY, WAIT_SCALED, IDLE),  # never busy: one per statistic
}
STATES = range(WAIT_INV_SUM + 1)
UNIT = tuple(STEPS[s][0] if s in STEPS else NO_UNIT for s in STATES)
CYCLES = tuple(STEPS[s][1] if s in STEPS else 0 for s in STATES)
HELD = tuple(STEPS[s][2] if s in STEPS else 0 for s in STATES)
WAITING = tuple(STEPS[s][3] if s in STEPS else s for s in STATES)
AFTER_WAIT = tuple(next((step[4] for step in STEPS.values() if step[3] == s), s) for s in STATES)
"""The table by state; a state that waits for no unit is its own successor."""
AFTER_SUM = tuple(
    {MEAN: GET_MEAN, INV_STDDEV: GET_VARIANCE, INV_SUM_EXP: GET_INV_SUM}.get(cmd, IDLE) for cmd in range(8)
)
"""State after the sum, by command."""

DTYPE = np.dtype(
    [
        ("n", "i8"),  # pass-through queue
        ("pop_t", "i8"),  # cycle in which the last row left it
        ("state", "i8", (2,)),  # of each statistic
        ("command", "i8", (2,)),  # command of its row (NormCmd.scala)
        ("has_data", "i8", (2,)),  # the row at the lanes is not all zeros
        ("has_sum", "i8", (2,)),  # the running sum is not zero
        ("has_max", "i8", (2,)),  # a maximum has been found: before that the exponential of a row is zero
        ("done_t", "i8", (2,)),  # result of the unit this statistic waits for
        ("ends_t", "i8", (2,)),  # cycle in which the statistic finishes its work
        ("takes", "i8", (2,)),  # the statistic can take a row this cycle
        ("drain", "i8"),  # 1: all inputs wait for lanes to drain
        ("sum_t", "i8"),  # last cycle in which the sum lanes are busy
        ("max_t", "i8"),  # the same of the max lanes
        ("unit_t", "i8", (len(UNIT_NAMES),)),  # cycle from which a unit takes the next operand
    ]
)


@njit
def offers(now, m):
    """True if a row is ready for the scale unit."""
    z = m.norm
    if not m.p.has_norm:
        return z.n > 0
    return z.state[0] == OUTPUT or z.state[1] == OUTPUT


@njit
def take(now, m):
    """Let the scale unit take the row (lower statistic first)."""
    z = m.norm
    if not m.p.has_norm:
        z.n -= 1
        z.pop_t = now
        return
    i = 0 if z.state[0] == OUTPUT else 1
    z.state[i] = IDLE
    z.has_sum[i] = 0
    z.ends_t[i] = now


@njit
def _draining(z, i):
    c = z.command[i]
    s = z.state[i]
    if c == MEAN:
        return s == GET_SUM or s == GET_MEAN
    if c == INV_STDDEV:
        return s == GET_SUM or s == GET_VARIANCE
    if c == MAX:
        return s == GET_MAX
    return c == INV_SUM_EXP and s == GET_SUM


@njit
def accepts(now, m, stat):
    """True if the normaliser accepts a row for this statistic now; called before `step` updates the states."""
    z = m.norm
    if not m.p.has_norm:
        return z.n + (1 if z.pop_t == now else 0) < 2
    return z.takes[stat] == 1 and z.drain == 0


@njit
def enter(now, m, stat, cmd, has_data):
    """Let a row enter; its state is valid from the next cycle."""
    z = m.norm
    if not m.p.has_norm:
        z.n += 1
        return
    z.command[stat] = cmd
    z.has_data[stat] = has_data
    if cmd == 0:
        z.state[stat] = OUTPUT
    elif cmd == MAX:
        z.state[stat] = GET_MAX
    else:
        z.state[stat] = GET_SUM


@njit
def step(now, m):
    """One cycle of the statistics; afterwards `accepts` is valid for this cycle. Returns the wake."""
    z = m.norm
    if not m.p.has_norm:
        return NEVER
    z.drain = 1 if _draining(z, 0) or _draining(z, 1) else 0
    # the lower statistic has priority at the lanes
    summing = 0 if z.state[0] == GET_SUM else (1 if z.state[1] == GET_SUM else -1)
    maxing = 0 if z.state[0] == GET_MAX else (1 if z.state[1] == GET_MAX else -1)
    sum_starts = summing >= 0 and z.max_t < now and maxing < 0
    sum_busy = z.sum_t >= now or sum_starts
    acted = False
    wake = NEVER
    for i in range(2):
        s = z.state[i]
        z.takes[i] = 1 if s == IDLE or (s == OUTPUT and z.ends_t[i] == now) else 0
        if s == GET_MAX:
            if i == maxing:
                z.max_t = now + LANES
                z.has_max[i] = 1
                _end(z, i, IDLE)
                acted = True
        elif s == GET_SUM:
            if i == summing and sum_starts:
                z.sum_t = now + LANES
                if z.has_max[i] if z.command[i] >= SUM_EXP else z.has_data[i]:
                    z.has_sum[i] = 1
                _end(z, i, AFTER_SUM[z.command[i]])
                acted = True
            elif i == summing:
                wake = min(wake, z.max_t + 1)
        elif UNIT[s] != NO_UNIT:
            again = _ask(now, z, i, sum_busy)
            acted = acted or again == now
            wake = wake if again == now else min(wake, again)
        elif AFTER_WAIT[s] != s:
            if z.done_t[i] <= now:
                _end(z, i, AFTER_WAIT[s])
                acted = True
            else:
                wake = min(wake, z.done_t[i])
    return now + 1 if acted else wake


@njit
def _end(z, i, state):
    """Move a statistic to a state; if idle, it can take a row in this cycle."""
    z.state[i] = state
    if state == IDLE:
        z.takes[i] = 1


@njit
def _ask(now, z, i, sum_busy):
    """Request a result of the unit of a statistic's state. Returns now if accepted, else when to try again."""
    s = z.state[i]
    unit = UNIT[s]
    of_sum = unit == DIVIDER or unit == RECIPROCAL_OF_SUM
    at = z.unit_t[unit]
    if (of_sum and sum_busy) or at > now:
        return max(max(at, z.sum_t + 1) if of_sum else at, now + 1)
    cycles = 1 if of_sum and z.has_sum[i] == 0 else CYCLES[s]
    z.done_t[i] = now + cycles
    z.unit_t[unit] = now + cycles + HELD[s]
    if unit == DIVIDER:
        z.has_sum[i] = 0
    z.state[i] = WAITING[s]
    return now


@njit
def canonise(m, now):
    """Normal form, clock set back to 0."""
    z = m.norm
    z.pop_t = recent(z.pop_t, now, 0)
    z.drain = 0
    for i in range(2):
        z.takes[i] = 0
        s = z.state[i]
        waits = s == WAIT_MEAN or s == WAIT_VARIANCE or s == WAIT_STDDEV
        waits = waits or s == WAIT_INVERSE or s == WAIT_SCALED or s == WAIT_INV_SUM
        z.done_t[i] = due(z.done_t[i], now) if waits else 0
        z.ends_t[i] = LONG_AGO
    z.sum_t = recent(z.sum_t, now, 0)
    z.max_t = recent(z.max_t, now, 0)
    for unit in range(len(UNIT_NAMES)):
        z.unit_t[unit] = due(z.unit_t[unit], now)


def reset(m):
    """State after reset."""
    m.norm.sum_t = LONG_AGO
    m.norm.max_t = LONG_AGO
    m.norm.ends_t[:] = LONG_AGO
    m.norm.pop_t = LONG_AGO


@njit
def busy(m):
    """True if a statistic is processing a row."""
    return m.norm.state[0] > OUTPUT or m.norm.state[1] > OUTPUT
