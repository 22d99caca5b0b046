"""The normaliser in the store path: two statistics, sum and max lanes, one divider, square root and reciprocal each.

Source: Normalizer.scala, Arithmetic.scala; divider latencies from DivSqrtRecFN_small at two bits a cycle. Without
normalisation units the same place is a two-entry queue.

Division latency depends on the data in one way: a zero sum is answered in the next cycle. Rows never written since
reset hold zeros, every other row is taken to hold data.
"""

import numpy as np

from sim.core.jit import njit
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

DTYPE = np.dtype(
    [
        ("n", "i8"),  # pass-through queue
        ("pop_t", "i8"),
        ("state", "i8", (2,)),
        ("cmd", "i8", (2,)),
        ("has_data", "i8", (2,)),  # the row at the lanes is not all zeros
        ("has_sum", "i8", (2,)),  # the running sum is not zero
        ("has_max", "i8", (2,)),  # a maximum has been found: before that the exponential of a row is zero
        ("done_t", "i8", (2,)),  # result of the unit this statistic waits for
        ("ends_t", "i8", (2,)),  # cycle in which the statistic finishes its work
        ("can", "i8", (2,)),  # the statistic can take a row this cycle
        ("drain", "i8"),  # 1: all inputs wait for lanes to drain
        ("sum_t", "i8"),  # last cycle in which the sum lanes are busy
        ("max_t", "i8"),
        ("div_t", "i8"),  # cycle from which the unit takes the next operand
        ("exp_t", "i8"),
        ("root_t", "i8"),
        ("inv_t", "i8"),
    ]
)


@njit
def offers(now, m):
    """A row is ready for the scale unit."""
    z = m.norm
    if not m.p.has_norm:
        return z.n > 0
    return z.state[0] == OUTPUT or z.state[1] == OUTPUT


@njit
def take(now, m):
    """The scale unit takes the row (lower statistic first)."""
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
    c = z.cmd[i]
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
    """Will the normaliser take a row for this statistic this cycle? Asked before `step` settled the states."""
    z = m.norm
    if not m.p.has_norm:
        return z.n + (1 if z.pop_t == now else 0) < 2
    return z.can[stat] == 1 and z.drain == 0


@njit
def enter(now, m, stat, cmd, has_data):
    """A row enters; what it becomes holds from the next cycle."""
    z = m.norm
    if not m.p.has_norm:
        z.n += 1
        return
    z.cmd[stat] = cmd
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
    acted = False
    wake = NEVER
    summing = -1
    maxing = -1
    for i in range(2):
        z.can[i] = 1 if z.state[i] == IDLE else 0
    for i in range(1, -1, -1):
        if z.state[i] == GET_SUM:
            summing = i
        elif z.state[i] == GET_MAX:
            maxing = i
    max_busy = z.max_t >= now or maxing >= 0
    sum_starts = summing >= 0 and not max_busy
    sum_busy = z.sum_t >= now or sum_starts
    for i in range(2):
        s = z.state[i]
        c = z.cmd[i]
        if s == GET_MAX:
            if i == maxing:
                z.max_t = now + LANES
                z.has_max[i] = 1
                z.state[i] = IDLE
                z.can[i] = 1
                acted = True
        elif s == GET_SUM:
            if i == summing:
                if sum_starts:
                    z.sum_t = now + LANES
                    acted = True
                    if z.has_max[i] if c >= SUM_EXP else z.has_data[i]:
                        z.has_sum[i] = 1
                    if c == MEAN:
                        z.state[i] = GET_MEAN
                    elif c == INV_STDDEV:
                        z.state[i] = GET_VARIANCE
                    elif c == INV_SUM_EXP:
                        z.state[i] = GET_INV_SUM
                    else:
                        z.state[i] = IDLE
                        z.can[i] = 1
                elif z.max_t + 1 < wake:
                    wake = z.max_t + 1
        elif s == GET_MEAN or s == GET_VARIANCE:
            if not sum_busy and z.div_t <= now:
                z.div_t = now + (DIVIDE if z.has_sum[i] else 1)
                z.done_t[i] = z.div_t
                z.has_sum[i] = 0
                z.state[i] = WAIT_MEAN if s == GET_MEAN else WAIT_VARIANCE
                acted = True
            else:
                at = z.sum_t + 1 if z.sum_t >= z.div_t else z.div_t
                if at <= now:
                    at = now + 1
                if at < wake:
                    wake = at
        elif s == GET_INV_SUM:
            if not sum_busy and z.exp_t <= now:
                z.exp_t = now + (RECIPROCAL if z.has_sum[i] else 1)
                z.done_t[i] = z.exp_t
                z.state[i] = WAIT_INV_SUM
                acted = True
            else:
                at = z.sum_t + 1 if z.sum_t >= z.exp_t else z.exp_t
                if at <= now:
                    at = now + 1
                if at < wake:
                    wake = at
        elif s == GET_STDDEV:
            if z.root_t <= now:
                z.root_t = now + ROOT + 1
                z.done_t[i] = now + ROOT
                z.state[i] = WAIT_STDDEV
                acted = True
            elif z.root_t < wake:
                wake = z.root_t
        elif s == GET_INVERSE:
            if z.inv_t <= now:
                z.inv_t = now + RECIPROCAL
                z.done_t[i] = now + RECIPROCAL
                z.state[i] = WAIT_INVERSE
                acted = True
            elif z.inv_t < wake:
                wake = z.inv_t
        elif s == GET_SCALED:
            z.done_t[i] = now + MULTIPLY
            z.state[i] = WAIT_SCALED
            acted = True
        elif s == OUTPUT or s == IDLE:
            if z.ends_t[i] == now:
                z.can[i] = 1  # the scale unit took the row in this cycle
        elif z.done_t[i] <= now:
            acted = True
            if s == WAIT_MEAN or s == WAIT_SCALED:
                z.state[i] = IDLE
                z.can[i] = 1
            elif s == WAIT_VARIANCE:
                z.state[i] = GET_STDDEV
            elif s == WAIT_STDDEV:
                z.state[i] = GET_INVERSE
            else:
                z.state[i] = GET_SCALED
        elif z.done_t[i] < wake:
            wake = z.done_t[i]
    if acted:
        return now + 1
    return wake
