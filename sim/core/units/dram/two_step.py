"""LPDDR5: an activation takes two commands, and a data clock that stops must be started before a burst.

Rules of Ramulator 2.1's LPDDR5 controller (docs/MEMORY.md). ACT of `state` is the first command, from which all
distances count; the second follows within nAAD clocks, in a free clock or at its deadline. CAS starts the data clock
(WCK) in the clock before a burst when it has stopped.
"""

from sim.core.jit import njit
from sim.core.params import NEVER
from sim.core.units.dram.oldest_first import (
    BOTH,
    choose,
    close_idle,
    column_done,
    judge,
    refresh,
    refresh_command,
    update_mode,
)
from sim.core.units.dram.state import (
    ACT,
    ACTIVATING,
    RD,
    WR,
    append,
    drop,
    issue,
    next_refresh,
    ready_at,
    refresh_requests,
)

FROM_ACTIVE, FROM_READS, FROM_WRITES = range(3)


@njit
def _second_step(d, c):
    """Complete the current activation: its row is open."""
    s = d.split
    place = s.at[0]
    bank = s.bank[place]
    d.row[bank] = s.row[place]
    append(d.active, s.id[place], s.age[place], s.address[place], bank, s.row[place], s.write[place], 1)
    d.active_n[bank] += 1
    s.n = 0
    d.split_n = 0
    d.last_t = c


@njit
def _burst(d, q, i, command, c, source):
    """Issue a burst whose data clock runs."""
    judge(d, q, i, command)
    bank = q.bank[q.at[i]]
    issue(d, command, bank, q.row[q.at[i]], c)
    d.sync_t = max(d.sync_t, c + (d.write_sync if command == WR else d.read_sync))
    if source == FROM_ACTIVE:
        d.active_n[bank] -= 1
    column_done(d, q, i, c)


@njit
def _carry_out(d, q, i, command, c, source):
    """Issue the command of entry i, or the one required before it."""
    if command == RD or command == WR:
        if c >= d.sync_t:
            if d.split_n and d.split_t <= c + 1:
                _second_step(d, c)
                return
            d.synced = 1
            d.synced_from = source
            d.synced_at = q.id[q.at[i]]
            d.syncs += 1
            d.last_t = c
            return
        _burst(d, q, i, command, c, source)
        return
    judge(d, q, i, command)
    place = q.at[i]
    bank = q.bank[place]
    issue(d, command, bank, q.row[place], c)
    if command == ACT:
        d.row[bank] = ACTIVATING
        append(d.split, q.id[place], q.age[place], q.address[place], bank, q.row[place], q.write[place], 1)
        d.split_n = 1
        d.split_t = c + d.split_limit
        drop(q, i)


@njit
def _synced_burst(d, q, c):
    """Issue the burst for which the data clock was started. Returns whether it was issued, and else when it can be."""
    for i in range(q.n):
        place = q.at[i]
        if q.id[place] == d.synced_at:
            command = WR if q.write[place] else RD
            at = ready_at(d, command, q.bank[place])
            if at > c:
                return False, at
            d.synced = 0
            _burst(d, q, i, command, c, d.synced_from)
            return True, at
    return False, NEVER


@njit
def _clock(d, c):
    """Issue at most one command. Returns whether one was issued, and else when one could be."""
    if d.synced:
        if d.synced_from == FROM_ACTIVE:
            return _synced_burst(d, d.active, c)
        if d.synced_from == FROM_READS:
            return _synced_burst(d, d.reads, c)
        return _synced_burst(d, d.writes, c)
    if d.split_n and d.split_t <= c:
        _second_step(d, c)
        return True, NEVER
    i, command, soon = choose(d, d.active, c, BOTH, False)
    if i >= 0:
        _carry_out(d, d.active, i, command, c, FROM_ACTIVE)
        return True, soon
    if d.due_n > 0:
        command, at = refresh_command(d, c)
        soon = min(soon, at)
        if command >= 0:
            refresh(d, command, c)
            return True, soon
    else:
        update_mode(d)
        if d.write_mode:
            i, command, at = choose(d, d.writes, c, BOTH, True)
            if i >= 0:
                _carry_out(d, d.writes, i, command, c, FROM_WRITES)
        else:
            i, command, at = choose(d, d.reads, c, BOTH, True)
            if i >= 0:
                _carry_out(d, d.reads, i, command, c, FROM_READS)
        if i >= 0:
            return True, at
        soon = min(soon, at)
    if d.split_n:
        _second_step(d, c)
        return True, soon
    if d.closed_page and d.due_n == 0:
        acted, at = close_idle(d, c)
        return acted, min(soon, at)
    return False, soon


@njit
def step(t, d):
    """One clock. Sets the cycle in which the channel can act next."""
    c = t + 1
    refresh_requests(d, c)
    acted, soon = _clock(d, c)
    d.next_t = t + 1 if acted else max(t + 1, min(soon, next_refresh(d)) - 1)
