"""First-ready, first come first served: of all waiting transactions whose next command is allowed, the oldest.

Rules of Ramulator 2.1's generic controller (one command a clock: DDR3, DDR4) and of its HBM controller (one column
command and one row command a clock), as docs/MEMORY.md states them. Order within a clock: refresh requests; requests
behind their activation; refreshes; reads or writes. While a refresh waits, no read or write starts.
A transaction accepted in cycle t can cause a command in clock t + 1; `step` of cycle t is that clock.
"""

from sim.core.jit import njit
from sim.core.params import NEVER
from sim.core.units.dram.state import (
    ACT,
    ACTIVATING,
    CLOSED,
    CONFLICT,
    HIT,
    MISS,
    PRE,
    PREA,
    RD,
    REF,
    TWO_SLOTS,
    WR,
    append,
    banks_of_rank,
    drop,
    finish,
    issue,
    next_refresh,
    ready_at,
    ready_rank,
    refresh_requests,
    refresh_served,
)

COLUMNS = 1
ROWS = 2
BOTH = COLUMNS | ROWS
"""Commands of a slot of the command bus."""


@njit
def accept(t, d, identity, address, bank, row, write):
    """Offer a transaction in cycle t; returns False when it is refused."""
    line = address >> d.line_bits
    for i in range(d.writes.n):
        if d.writes.address[d.writes.at[i]] == line:
            if write:
                d.coalesced += 1
                finish(d, identity, t, -1)
            else:
                d.forwarded += 1
                d.handed_t = max(d.handed_t, t + 1)
                finish(d, identity, d.handed_t, -1)
            return True
    if write:
        if d.writes.n >= d.write_depth:
            return False
        append(d.writes, identity, t, line, bank, row, 1, 0)
        if d.posted_writes:
            finish(d, identity, t + 1, -1)
    else:
        if d.reads.n >= d.read_depth:
            return False
        append(d.reads, identity, t, line, bank, row, 0, 0)
    if d.next_t > t:
        d.next_t = min(d.next_t, _joined(t, d, bank, row, write))
    return True


@njit
def _mode_turns(d):
    """True if the controller would switch between reads and writes now."""
    if d.write_mode:
        return d.writes.n <= d.drain_until and d.reads.n > 0
    return d.writes.n >= d.drain_from or d.reads.n == 0


@njit
def _joined(t, d, bank, row, write):
    """Return a cycle before which a transaction that joined its queue in cycle t does not affect the channel."""
    if _mode_turns(d):
        return t
    if (write != 0) != (d.write_mode != 0):
        return NEVER
    found = d.row[bank]
    if found == row:
        command = WR if write else RD
    elif found == CLOSED:
        command = ACT
    elif found == ACTIVATING or d.active_n[bank]:
        return NEVER
    else:
        command = PRE
    return max(t, ready_at(d, command, bank) - 1)


@njit
def choose(d, q, c, kinds, guarded):
    """Return the oldest entry whose next command is allowed in clock c, -1 none; the command.

    When the first other one is allowed.

    ``guarded``: banks with a request behind its activation are not precharged. A command of a kind to a bank is allowed
    for all entries or for none, so each bank is checked once per kind.
    """
    soon = NEVER
    hits = 0  # banks as bit sets: with a row hit so far, and checked for each command
    reads = 0
    writes = 0
    rows = 0
    for i in range(q.n):
        place = q.at[i]
        bank = q.bank[place]
        bit = 1 << bank
        row = d.row[bank]
        if row == q.row[place]:
            hits |= bit
            if not kinds & COLUMNS or (writes if q.write[place] else reads) & bit:
                continue
            if q.write[place]:
                writes |= bit
                command = WR
            else:
                reads |= bit
                command = RD
        else:
            if not kinds & ROWS or rows & bit or row == ACTIVATING:
                continue
            if row == CLOSED:
                if d.split_n:
                    continue
                command = ACT
            else:
                if (guarded and d.active_n[bank]) or (d.keep_hits and hits & bit):
                    continue
                command = PRE
            rows |= bit
        at = ready_at(d, command, bank)
        if at <= c:
            return i, command, at
        soon = min(soon, at)
    return -1, -1, soon


@njit
def judge(d, q, i, command):
    """Count a transaction as hit, miss or conflict by the first command given for it."""
    place = q.at[i]
    if not q.judged[place]:
        q.judged[place] = 1
        d.outcome[CONFLICT if command == PRE else MISS if command == ACT else HIT] += 1


@njit
def column_done(d, q, i, c):
    """Record the burst of entry i: the transaction leaves its queue."""
    place = q.at[i]
    if not q.write[place]:
        d.handed_t = max(d.handed_t, c + d.read_latency)
        finish(d, q.id[place], d.handed_t, c)
    elif not d.posted_writes:
        finish(d, q.id[place], c, c)
    drop(q, i)


@njit
def _carry_out(d, q, i, command, c, behind):
    """Give entry i of a queue its command. ``behind``: the queue is that of requests behind their activation."""
    judge(d, q, i, command)
    place = q.at[i]
    bank = q.bank[place]
    row = q.row[place]
    issue(d, command, bank, row, c)
    if command == ACT:
        append(d.active, q.id[place], q.age[place], q.address[place], bank, row, q.write[place], 1)
        d.active_n[bank] += 1
        drop(q, i)
    elif command != PRE:
        if behind:
            d.active_n[bank] -= 1
        column_done(d, q, i, c)


@njit
def refresh_command(d, c):
    """Return the command that the first waiting refresh needs, -1 if it may not be issued in clock c.

    And when it may.
    """
    rank = d.due[0]
    command = PREA if d.open_n[rank] > 0 else REF
    first = rank << (d.group_bits + d.bank_bits)
    for bank in range(first, first + banks_of_rank(d)):
        if (command == PREA and d.active_n[bank] > 0) or d.row[bank] == ACTIVATING:
            return -1, NEVER
    at = ready_rank(d, command, rank)
    return (command, at) if at <= c else (-1, at)


@njit
def refresh(d, command, c):
    """Issue the command of the first waiting refresh."""
    issue(d, command, d.due[0] << (d.group_bits + d.bank_bits), CLOSED, c)
    if command == REF:
        refresh_served(d)


@njit
def update_mode(d):
    """Reads or writes: writes from a watermark on or when no read waits, reads when few writes are left."""
    if _mode_turns(d):
        d.write_mode = 1 - d.write_mode


@njit
def _start(d, c, kinds):
    """Issue a command of a waiting read or write. Returns whether one was issued, and else when one could be."""
    update_mode(d)
    if d.write_mode:
        i, command, soon = choose(d, d.writes, c, kinds, True)
        if i >= 0:
            _carry_out(d, d.writes, i, command, c, False)
    else:
        i, command, soon = choose(d, d.reads, c, kinds, True)
        if i >= 0:
            _carry_out(d, d.reads, i, command, c, False)
    return i >= 0, soon


@njit
def _wanted(d, q):
    """Return the banks whose open row a transaction of the queue waits for, as a bit set."""
    banks = 0
    for i in range(q.n):
        place = q.at[i]
        if d.row[q.bank[place]] == q.row[place]:
            banks |= 1 << q.bank[place]
    return banks


@njit
def close_idle(d, c):
    """Closed page: precharge a bank whose row no request waits for. Returns whether one was, else when one could be."""
    soon = NEVER
    wanted = _wanted(d, d.reads) | _wanted(d, d.writes) | _wanted(d, d.active)
    for bank in range(d.ranks * banks_of_rank(d)):
        if d.row[bank] >= 0 and not wanted >> bank & 1:
            at = ready_at(d, PRE, bank)
            if at <= c:
                issue(d, PRE, bank, CLOSED, c)
                return True, at
            soon = min(soon, at)
    return False, soon


@njit
def _column_slot(d, c):
    """Use the bus of column commands. Returns whether a command was issued, and else when one could be."""
    i, command, soon = choose(d, d.active, c, COLUMNS, False)
    if i >= 0:
        _carry_out(d, d.active, i, command, c, True)
        return True, soon
    if d.due_n > 0:
        return False, soon
    acted, at = _start(d, c, COLUMNS)
    return acted, min(soon, at)


@njit
def _row_slot(d, c):
    """Use the bus of row commands. Returns whether a command was issued, and else when one could be."""
    if d.due_n > 0:
        command, at = refresh_command(d, c)
        if command >= 0:
            refresh(d, command, c)
        return command >= 0, at
    acted, soon = _start(d, c, ROWS)
    if not acted and d.closed_page:
        acted, at = close_idle(d, c)
        soon = min(soon, at)
    return acted, soon


@njit
def _one_slot(d, c):
    """Use the single command bus. Returns whether a command was issued, and else when one could be."""
    i, command, soon = choose(d, d.active, c, BOTH, False)
    if i >= 0:
        _carry_out(d, d.active, i, command, c, True)
        return True, soon
    if d.due_n > 0:
        command, at = refresh_command(d, c)
        if command >= 0:
            refresh(d, command, c)
        return command >= 0, min(soon, at)
    acted, at = _start(d, c, BOTH)
    soon = min(soon, at)
    if not acted and d.closed_page:
        acted, at = close_idle(d, c)
        soon = min(soon, at)
    return acted, soon


@njit
def _quiet_until(d, c):
    """First clock from `c` on in which the one command bus may be used, if no transaction joins; c: not known."""
    if d.due_n > 0 or d.closed_page or _mode_turns(d):
        return c
    i, _, soon = choose(d, d.active, c, BOTH, False)
    if i >= 0:
        return c
    if d.write_mode:
        i, _, at = choose(d, d.writes, c, BOTH, True)
    else:
        i, _, at = choose(d, d.reads, c, BOTH, True)
    return c if i >= 0 else min(soon, at)


@njit
def step(t, d):
    """One clock. Sets the cycle in which the channel can act next."""
    c = t + 1
    refresh_requests(d, c)
    if d.rules == TWO_SLOTS:
        acted, soon = _column_slot(d, c)
        acted_too, at = _row_slot(d, c)
        acted = acted or acted_too
        soon = min(soon, at)
    else:
        acted, soon = _one_slot(d, c)
        if acted:
            acted = False
            soon = _quiet_until(d, c + 1)
    d.next_t = t + 1 if acted else max(t + 1, min(soon, next_refresh(d)) - 1)
