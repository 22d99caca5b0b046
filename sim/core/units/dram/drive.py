"""Drive a single channel with a stream of requests, as in tests/oracle/dram.

In each cycle at most one transaction is offered, in order; a refused one is offered again in the next cycle.
"""

import numpy as np

from sim.core.jit import entry, njit
from sim.core.params import NEVER
from sim.core.units.dram import controller


@njit
def _unfinished(t, places, held, left, answers):
    """Keep the indices of requests that are not finished by clock t; return their number."""
    kept = 0
    for k in range(held):
        if left[places[k]] > 0 or answers[places[k], 1] >= t:
            places[kept] = places[k]
            kept += 1
    return kept


@njit
def _complete(d, left, answers):
    """Record the transactions that the channel has completed; return requests finished and the largest completion."""
    finished = 0
    last = np.int64(0)
    for k in range(d.done_n):
        r = d.done_id[k]
        answers[r, 1] = max(answers[r, 1], d.done_t[k])
        answers[r, 2] = max(answers[r, 2], d.done_column_t[k])
        left[r] -= 1
        if left[r] == 0:
            finished += 1
            last = max(last, answers[r, 1])
    d.done_n = 0
    return finished, last


@entry
def replay(channels, requests, outstanding, answers, leap):
    """Run requests through the first channel; return the largest completion and the cycles of refused offers.

    ``requests``: rows of arrival (ascending), address, write, bytes. ``outstanding``: most accepted and unfinished
    requests, 0 no bound. ``answers``: filled with rows of accepted, completion, cycle of the last burst's command (-1:
    none). ``leap`` false: the channel is stepped in every cycle. Returns -1, -1 if the channel hangs.
    """
    d = channels[0]
    n = requests.shape[0]
    line = np.int64(1) << d.line_bits
    left = np.zeros(n, np.int64)  # transactions of a request that are not complete
    places = np.zeros(max(outstanding, 1), np.int64)  # accepted requests that may be unfinished
    held = 0
    i = 0
    part = np.int64(0)  # transactions of request i that are accepted
    finished = 0
    refused = np.int64(0)
    last = np.int64(0)
    t = np.int64(0)
    for k in range(n):
        answers[k, :] = -1
        left[k] = ((requests[k, 1] + requests[k, 3] - 1) >> d.line_bits) - (requests[k, 1] >> d.line_bits) + 1
    while finished < n:
        due = i < n and requests[i, 0] <= t
        full = False
        if due and part == 0 and outstanding > 0:
            held = _unfinished(t, places, held, left, answers)
            full = held == outstanding
        if due and not full:
            at = (requests[i, 1] >> d.line_bits) + part
            if controller.accept(t, d, i, at * line, requests[i, 2]):
                if part == 0:
                    answers[i, 0] = t
                    if outstanding > 0:
                        places[held] = i
                        held += 1
                part += 1
                if at == (requests[i, 1] + requests[i, 3] - 1) >> d.line_bits:
                    i += 1
                    part = np.int64(0)
            else:
                refused += 1
        if not leap:
            d.next_t = t
        wake = controller.step(t, d)
        done, done_t = _complete(d, left, answers)
        finished += done
        last = max(last, done_t)
        if full:
            for k in range(held):
                if left[places[k]] == 0:
                    wake = min(wake, answers[places[k], 1] + 1)
        elif i < n:
            wake = min(wake, requests[i, 0])
        if wake >= NEVER and finished < n:
            return np.int64(-1), np.int64(-1)
        t = max(t + 1, wake) if leap else t + 1
    return last, refused
