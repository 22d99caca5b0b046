"""A queue for each bank, served in turn: rules of DRAMsim3's controller (docs/MEMORY.md).

Writes are complete when accepted; writes and reads move, one a clock, into a queue of their bank, which limits the
controller's look-ahead. Reads of one address that wait at the same time share a burst.
"""

from sim.core.jit import njit
from sim.core.params import NEVER
from sim.core.units.dram.state import (
    ACT,
    CLOSED,
    PRE,
    RD,
    REF,
    WR,
    append,
    banks_of_rank,
    drop,
    finish,
    holds,
    issue,
    next_refresh,
    ready_at,
    ready_rank,
    refresh_served,
)

ROW_BURSTS = 4
"""Bursts from an open row after which a request for another row may close it although others wait for it."""
MANY_WRITES = 8
"""More waiting writes than these are served when all queues of banks are empty."""


@njit
def _waits(d, bank, line, write):
    """True if a transaction of the address is in its bank's queue."""
    for k in range(d.bank_queue_n[bank]):
        if d.bank_address[bank, k] == line and d.bank_write[bank, k] == write:
            return True
    return False


@njit
def accept(t, d, identity, address, bank, row, write):
    """Offer a transaction in cycle t; returns False when it is refused."""
    line = address >> d.line_bits
    if write:
        if d.writes.n >= d.write_depth:
            return False
    elif d.reads.n >= d.read_depth or d.noted_n == d.noted_id.shape[0]:
        return False
    known = holds(d.writes, line) or _waits(d, bank, line, 1)
    if write:
        finish(d, identity, t + 1, -1)
        if known:
            d.coalesced += 1
        else:
            append(d.writes, identity, t, line, bank, row, 1, 0)
    elif known:
        d.forwarded += 1
        finish(d, identity, t + 1, -1)
    else:
        if d.merge_reads and _noted(d, line):
            d.forwarded += 1
        else:
            append(d.reads, identity, t, line, bank, row, 0, 0)
        d.noted_address[d.noted_n] = line
        d.noted_id[d.noted_n] = identity
        d.noted_n += 1
    d.next_t = min(d.next_t, t)
    return True


@njit
def _noted(d, line):
    """True if a read of the address waits."""
    for i in range(d.noted_n):
        if d.noted_address[i] == line:
            return True
    return False


@njit
def _read_done(d, bank, k, c):
    """Record the burst of a read: all reads that share it are complete with its data."""
    line = d.bank_address[bank, k]
    kept = 0
    for i in range(d.noted_n):
        shares = d.noted_address[i] == line and (d.merge_reads or d.noted_id[i] == d.bank_id[bank, k])
        if shares:
            finish(d, d.noted_id[i], c + d.read_latency, c)
        else:
            d.noted_address[kept] = d.noted_address[i]
            d.noted_id[kept] = d.noted_id[i]
            kept += 1
    d.noted_n = kept


@njit
def _leave(d, bank, k):
    """Remove entry k from the queue of its bank."""
    for j in range(k, d.bank_queue_n[bank] - 1):
        d.bank_address[bank, j] = d.bank_address[bank, j + 1]
        d.bank_row[bank, j] = d.bank_row[bank, j + 1]
        d.bank_write[bank, j] = d.bank_write[bank, j + 1]
        d.bank_id[bank, j] = d.bank_id[bank, j + 1]
    d.bank_queue_n[bank] -= 1


@njit
def _may_close(d, bank, k):
    """True if the queue's first entry may close the row.

    No other entry waits for it, or enough bursts were taken from it.
    """
    if k > 0:
        return False
    for j in range(d.bank_queue_n[bank]):
        if d.bank_row[bank, j] == d.row[bank]:
            return d.bursts[bank] >= ROW_BURSTS
    return True


@njit
def _reads_before(d, bank, k):
    """True if an older read of entry k's address is in the queue."""
    for j in range(k):
        if d.bank_address[bank, j] == d.bank_address[bank, k] and not d.bank_write[bank, j]:
            return True
    return False


@njit
def _serve(d, bank, c):
    """Issue the first entry of a bank's queue whose command is allowed in clock c.

    Returns whether there is one, else when.
    """
    soon = NEVER
    for k in range(d.bank_queue_n[bank]):
        row = d.bank_row[bank, k]
        write = d.bank_write[bank, k]
        if d.row[bank] == CLOSED:
            command = ACT
        elif d.row[bank] == row:
            command = WR if write else RD
            if write and _reads_before(d, bank, k):
                continue
        else:
            command = PRE
            if not _may_close(d, bank, k):
                continue
        at = ready_at(d, command, bank)
        if at > c:
            soon = min(soon, at)
            continue
        issue(d, command, bank, row, c)
        if command == ACT or command == PRE:
            d.bursts[bank] = 0
        else:
            d.bursts[bank] += 1
            if not write:
                _read_done(d, bank, k, c)
            _leave(d, bank, k)
        return True, soon
    return False, soon


@njit
def _refresh(d, c):
    """Close the open banks one by one, then refresh the rank. Returns whether a command was given, and else when."""
    rank = d.due[0]
    first = rank << (d.group_bits + d.bank_bits)
    if d.open_n[rank] == 0:
        at = ready_rank(d, REF, rank)
        if at > c:
            return False, at
        issue(d, REF, first, CLOSED, c)
        refresh_served(d)
        return True, at
    soon = NEVER
    for bank in range(first, first + banks_of_rank(d)):
        if d.row[bank] != CLOSED:
            at = ready_at(d, PRE, bank)
            if at <= c:
                issue(d, PRE, bank, CLOSED, c)
                return True, at
            soon = min(soon, at)
    return False, soon


@njit
def _empty(d):
    """True if all queues of banks are empty."""
    for bank in range(d.ranks * banks_of_rank(d)):
        if d.bank_queue_n[bank]:
            return False
    return True


@njit
def _move_first(d, q):
    """Move the oldest entry whose bank has room. Returns 1, 0 when none can, -1 when a write waits for a read."""
    for i in range(q.n):
        place = q.at[i]
        bank = q.bank[place]
        n = d.bank_queue_n[bank]
        if n >= d.bank_depth:
            continue
        if q.write[place] and _noted(d, q.address[place]):
            d.held_back = 1 if holds(d.reads, q.address[place]) else 0
            return -1
        d.bank_address[bank, n] = q.address[place]
        d.bank_row[bank, n] = q.row[place]
        d.bank_write[bank, n] = q.write[place]
        d.bank_id[bank, n] = q.id[place]
        d.bank_queue_n[bank] = n + 1
        drop(q, i)
        return 1
    return 0


@njit
def _move(d):
    """Move one transaction into its bank's queue. Returns whether one moved, or could in the next clock."""
    if d.held_back:  # the read goes first: DRAMsim3 itself would hang in this state
        d.held_back = 0
    elif d.draining == 0 and (d.writes.n >= d.write_depth or (d.writes.n > MANY_WRITES and _empty(d))):
        d.draining = d.writes.n
    if d.draining == 0:
        return _move_first(d, d.reads) > 0
    moved = _move_first(d, d.writes)
    if moved < 0:
        d.draining = 0
        return True
    d.draining -= moved
    return moved > 0


@njit
def step(t, d):
    """One clock. Sets the cycle in which the channel can act next."""
    if d.refresh_interval > 0 and t > 0 and t % d.refresh_interval == 0:
        d.refreshed_t = t
        for rank in range(d.ranks):
            d.due[d.due_n] = rank
            d.due_n += 1
    acted = False
    soon = NEVER
    if d.due_n > 0:
        acted, soon = _refresh(d, t)
    else:
        n = d.ranks * banks_of_rank(d)
        for i in range(1, n + 1):
            bank = (d.turn + i) % n
            if d.bank_queue_n[bank]:
                acted, at = _serve(d, bank, t)
                if acted:
                    d.turn = bank
                    break
                soon = min(soon, at)
    moved = _move(d)
    d.next_t = t + 1 if acted or moved else max(t + 1, min(soon, next_refresh(d)))


@njit
def waiting(d):
    """True while a queue of a bank holds a transaction."""
    return not _empty(d)
