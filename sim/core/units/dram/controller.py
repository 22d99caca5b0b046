"""Interface of a channel: offering transactions and stepping clocks, by the rules that its record names."""

from sim.core.jit import njit
from sim.core.units.dram import bank_queues, oldest_first, two_step
from sim.core.units.dram.state import BANK_QUEUES, TWO_STEP, locate


@njit
def accept(t, d, identity, address, write):
    """Offer the transaction at an address inside the channel, in cycle t before its step; False: refused."""
    bank, row = locate(d, address)
    if d.rules == BANK_QUEUES:
        return bank_queues.accept(t, d, identity, address, bank, row, write)
    return oldest_first.accept(t, d, identity, address, bank, row, write)


@njit
def step(t, d):
    """One clock, after the offers of the cycle. Returns the cycle in which the channel can act next."""
    if d.next_t <= t:
        if d.rules == BANK_QUEUES:
            bank_queues.step(t, d)
        elif d.rules == TWO_STEP:
            two_step.step(t, d)
        else:
            oldest_first.step(t, d)
    return d.next_t


@njit
def busy(d):
    """True while a transaction waits for a command."""
    if d.rules == BANK_QUEUES:
        return d.noted_n > 0 or d.writes.n > 0 or bank_queues.waiting(d)
    return d.reads.n + d.writes.n + d.active.n + d.split_n > 0


def describe(d, now):
    """Describe the channel's state, for the report of a hang."""
    waiting = int(d.reads.n + d.writes.n + d.active.n + d.split_n + d.bank_queue_n.sum())
    open_rows = int((d.row[: d.ranks << (d.group_bits + d.bank_bits)] >= 0).sum())
    state = f"{waiting} transactions wait, {open_rows} rows open, {int(d.due_n)} refreshes wait"
    return f"{state}; clock {now}, acts next in {int(d.next_t)}"
