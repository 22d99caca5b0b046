"""The record of a DRAM channel, its address map, and the distances that the standard demands between two commands.

All times are clocks of the memory (CK). A bank, a bank group and a rank are numbered through the channel: bank =
(rank * groups + group) * banks + bank in the group. Ramulator's HBM2 calls its pseudo channels what is a rank here.
"""

import numpy as np

from sim.core.jit import njit
from sim.core.params import NEVER

COMMANDS = ACT, PRE, PREA, RD, WR, REF = range(6)
"""Activate a row; precharge a bank, or all banks of a rank; read, write a burst; refresh all banks of a rank."""
LEVELS = CHANNEL, RANK, GROUP, BANK = range(4)
"""Scopes of a distance: both commands are for the same channel, rank, bank group, bank."""
FIELDS = COLUMN_FIELD, RANK_FIELD, GROUP_FIELD, BANK_FIELD, ROW_FIELD, CHANNEL_FIELD = range(6)
"""Parts of an address."""

OLDEST_FIRST, TWO_SLOTS, TWO_STEP, BANK_QUEUES = range(4)
"""Rules of a controller: one command a clock; one for rows and one for columns; LPDDR5's; queues of the banks."""

CLOSED = -1
ACTIVATING = -2  # between the two steps of an activation
LONG_AGO = -(1 << 40)

RANKS = 8  # most ranks (pseudo channels) of a channel
GROUPS = 32  # most bank groups of a channel
BANKS = 64  # most banks of a channel: a set of them is one 64-bit word
DEPTH = 64  # most entries of a queue; requests behind their activation are at most one a bank
PIECES = 16  # most pieces of an address map
REFRESHES = 16  # most refreshes that wait
NOTED = 1024  # most reads that wait in a controller that merges them
BANK_DEPTH = 16  # most entries of a bank's queue
FAW = 4  # activations that the four-activation window counts

HIT, MISS, CONFLICT = range(3)

QUEUE = np.dtype(
    [
        ("n", "i8"),  # entries
        ("at", "i8", (DEPTH,)),  # places of the entries in order of age, then the free places
        ("id", "i8", (DEPTH,)),  # by place: what the caller calls the transaction
        ("age", "i8", (DEPTH,)),  # clock in which it was taken
        ("address", "i8", (DEPTH,)),  # its address inside the channel, in bursts
        ("bank", "i8", (DEPTH,)),  # its bank, numbered through the channel
        ("row", "i8", (DEPTH,)),  # its row in the bank
        ("write", "i8", (DEPTH,)),  # 1: a write
        ("judged", "i8", (DEPTH,)),  # 1: counted as hit, miss or conflict
    ]
)
"""Transactions in order of arrival."""

DTYPE = np.dtype(
    [
        # fixed: organisation and map
        ("rules", "i8"),  # OLDEST_FIRST, TWO_SLOTS, TWO_STEP or BANK_QUEUES
        ("ranks", "i8"),  # ranks of the channel
        ("group_bits", "i8"),  # log2 bank groups of a rank
        ("bank_bits", "i8"),  # log2 banks of a group
        ("line_bits", "i8"),  # log2 bytes of a transaction: a burst
        ("pieces", "i8"),  # address map: runs of bits, lowest first
        ("piece_field", "i8", (PIECES,)),  # which of FIELDS it is part of
        ("piece_bits", "i8", (PIECES,)),  # its bits
        ("piece_at", "i8", (PIECES,)),  # where the piece goes inside its field
        # fixed: distances in clocks, previous command -> next command, 0 none
        ("distance", "i8", (len(LEVELS), len(COMMANDS), len(COMMANDS))),  # by scope, previous and next command
        ("sibling", "i8", (len(COMMANDS), len(COMMANDS))),  # to another rank of the channel
        ("faw", "i8"),  # from the fourth activation before
        ("read_latency", "i8"),  # RD to the last beat of its data
        ("refresh_interval", "i8"),  # clocks between two refresh requests (nREFI), 0: no refresh
        ("split_limit", "i8"),  # most clocks between the two steps of an activation (nAAD)
        ("read_sync", "i8"),  # clocks for which a RD keeps the data clock running (nCL + nBL + nWCKPST), likewise a WR
        ("write_sync", "i8"),  # .. so long (nCWL + nBL + nWCKPST)
        # fixed: the controller
        ("read_depth", "i8"),  # most waiting reads
        ("write_depth", "i8"),  # most waiting writes
        ("bank_depth", "i8"),  # entries of a bank's queue (bank queues)
        ("drain_from", "i8"),  # waiting writes at which serving writes begins
        ("drain_until", "i8"),  # remaining writes at which it ends if reads wait
        ("keep_hits", "i8"),  # 1: no precharge of a row for which an older request waits
        ("closed_page", "i8"),  # 1: a row without a waiting request is precharged in a free clock
        ("merge_reads", "i8"),  # 1: reads of one address share a burst (bank queues)
        ("posted_writes", "i8"),  # 1: a write is complete when it is accepted
        # banks
        ("row", "i8", (BANKS,)),  # its open row, CLOSED or ACTIVATING
        ("active_n", "i8", (BANKS,)),  # requests of the bank behind their activation
        ("ok_channel", "i8", (len(COMMANDS),)),  # first clock in which the scope allows the command
        ("ok_rank", "i8", (RANKS, len(COMMANDS))),  # the same by rank
        ("ok_group", "i8", (GROUPS, len(COMMANDS))),  # by bank group
        ("ok_bank", "i8", (BANKS, len(COMMANDS))),  # by bank
        ("act_t", "i8", (RANKS, FAW)),  # last four activations, oldest at act_at
        ("act_at", "i8", (RANKS,)),  # place of the oldest of them
        ("open_n", "i8", (RANKS,)),  # open banks of a rank
        ("open_t", "i8", (RANKS,)),  # clock since which one is open
        ("active_clocks", "i8"),  # clocks in which a rank had an open row, over all ranks
        # requests
        ("reads", QUEUE),  # that wait
        ("writes", QUEUE),  # that wait
        ("active", QUEUE),  # behind their activation
        ("write_mode", "i8"),  # 1: writes are served, 0: reads
        ("refreshed_t", "i8"),  # clock of the last refresh request
        ("due_n", "i8"),  # refreshes that wait, in order
        ("due", "i8", (REFRESHES,)),  # their ranks
        ("handed_t", "i8"),  # clock in which the last read is handed back; they return in order
        ("next_t", "i8"),  # cycle in which the controller can act next
        # two-step activation
        ("split_n", "i8"),  # 1: an activation waits for its second step, as entry 0 of `split`
        ("split", QUEUE),  # see `split_n`
        ("split_t", "i8"),  # clock of its deadline
        ("sync_t", "i8"),  # clock until which the data clock runs
        ("synced", "i8"),  # 1: the data clock was started for a request
        ("synced_from", "i8"),  # the queue it is in: 0 active, 1 reads, 2 writes
        ("synced_at", "i8"),  # its identity
        # bank queues
        ("turn", "i8"),  # bank served last
        ("draining", "i8"),  # writes that still move to the queues of banks before reads do
        ("held_back", "i8"),  # 1: the oldest write waits for a read that is not in a bank's queue yet
        ("bank_queue_n", "i8", (BANKS,)),  # entries of a bank's queue, oldest first
        ("bank_address", "i8", (BANKS, BANK_DEPTH)),  # their addresses, in bursts
        ("bank_row", "i8", (BANKS, BANK_DEPTH)),  # rows
        ("bank_write", "i8", (BANKS, BANK_DEPTH)),  # 1: a write
        ("bank_id", "i8", (BANKS, BANK_DEPTH)),  # identities
        ("bursts", "i8", (BANKS,)),  # bursts taken from the open row
        ("noted_n", "i8"),  # reads that are taken and have no data yet
        ("noted_address", "i8", (NOTED,)),  # their addresses, in bursts
        ("noted_id", "i8", (NOTED,)),  # identities
        # what is finished: taken by the caller after each step
        ("done_n", "i8"),  # transactions
        ("done_id", "i8", (NOTED,)),  # identities
        ("done_t", "i8", (NOTED,)),  # clock of completion, which may lie ahead
        ("done_column_t", "i8", (NOTED,)),  # clock of the burst's command, -1 none
        # counters
        ("issued", "i8", (len(COMMANDS),)),  # by command: how often it was given
        ("closed_by_all", "i8"),  # banks that PREA has closed
        ("syncs", "i8"),  # commands that start the data clock
        ("outcome", "i8", (3,)),  # hits, misses, conflicts
        ("forwarded", "i8"),  # reads answered by a waiting write, or by another read's burst
        ("coalesced", "i8"),  # writes that vanish in a waiting one
        ("last_t", "i8"),  # clock of the last command
        ("counted_t", "i8"),  # clock up to which the counters have been taken
    ]
)


def reset(channel):
    """Bring a channel, whose fixed numbers are set, to its state after reset."""
    channel.row[:] = CLOSED
    for name in ("reads", "writes", "active", "split"):
        channel[name].at[:] = np.arange(DEPTH)
    for name in ("ok_channel", "ok_rank", "ok_group", "ok_bank", "act_t"):
        channel[name][...] = LONG_AGO
    channel.synced = 0
    channel.next_t = 0
    channel.last_t = -1
    channel.turn = (channel.ranks << (channel.group_bits + channel.bank_bits)) - 1


@njit
def banks_of_rank(d):
    """Banks of a rank."""
    return 1 << (d.group_bits + d.bank_bits)


@njit
def locate(d, address):
    """Bank and row of an address inside the channel."""
    rest = address >> d.line_bits
    bank = 0
    group = 0
    rank = 0
    row = 0
    for i in range(d.pieces):
        bits = d.piece_bits[i]
        value = (rest & ((1 << bits) - 1)) << d.piece_at[i]
        rest >>= bits
        field = d.piece_field[i]
        if field == BANK_FIELD:
            bank |= value
        elif field == GROUP_FIELD:
            group |= value
        elif field == RANK_FIELD:
            rank |= value
        elif field == ROW_FIELD:
            row |= value
    return ((rank << d.group_bits | group) << d.bank_bits) | bank, row


@njit
def ready_at(d, command, bank):
    """First clock in which the distances allow a command to a bank."""
    group = bank >> d.bank_bits
    rank = group >> d.group_bits
    at = max(d.ok_channel[command], d.ok_rank[rank, command])
    return max(at, max(d.ok_group[group, command], d.ok_bank[bank, command]))


@njit
def ready_rank(d, command, rank):
    """The same for a command to a whole rank."""
    return max(d.ok_channel[command], d.ok_rank[rank, command])


@njit
def _close(d, rank, n, c):
    """Count `n` open banks of a rank as closed in clock c."""
    if n > 0:
        d.open_n[rank] -= n
        if d.open_n[rank] == 0:
            d.active_clocks += c - d.open_t[rank]


@njit
def issue(d, command, bank, row, c):
    """Give a command to a bank (a command to a rank: to its first bank) in clock c, and start its distances."""
    group = bank >> d.bank_bits
    rank = group >> d.group_bits
    whole = command == PREA or command == REF
    for following in range(6):
        far = d.distance[CHANNEL, command, following]
        if far > 0:
            d.ok_channel[following] = max(d.ok_channel[following], c + far)
        far = d.distance[RANK, command, following]
        if far > 0:
            d.ok_rank[rank, following] = max(d.ok_rank[rank, following], c + far)
        far = d.sibling[command, following]
        if far > 0:
            for other in range(d.ranks):
                if other != rank:
                    d.ok_rank[other, following] = max(d.ok_rank[other, following], c + far)
        if not whole:
            far = d.distance[GROUP, command, following]
            if far > 0:
                d.ok_group[group, following] = max(d.ok_group[group, following], c + far)
            far = d.distance[BANK, command, following]
            if far > 0:
                d.ok_bank[bank, following] = max(d.ok_bank[bank, following], c + far)
    if command == ACT:
        at = d.act_at[rank]
        d.act_t[rank, at] = c
        at = (at + 1) % FAW
        d.act_at[rank] = at
        d.ok_rank[rank, ACT] = max(d.ok_rank[rank, ACT], d.act_t[rank, at] + d.faw)
        d.row[bank] = row
        if d.open_n[rank] == 0:
            d.open_t[rank] = c
        d.open_n[rank] += 1
    elif command == PRE:
        d.row[bank] = CLOSED
        _close(d, rank, 1, c)
    elif command == PREA:
        for b in range(bank, bank + banks_of_rank(d)):
            d.row[b] = CLOSED
        d.closed_by_all += d.open_n[rank]
        _close(d, rank, d.open_n[rank], c)
    d.issued[command] += 1
    d.last_t = c


@njit
def finish(d, identity, t, column_t):
    """Report a transaction as complete in clock t."""
    d.done_id[d.done_n] = identity
    d.done_t[d.done_n] = t
    d.done_column_t[d.done_n] = column_t
    d.done_n += 1


@njit
def append(q, identity, age, address, bank, row, write, judged):
    """Put a transaction into a queue at the place of its age."""
    i = q.n
    place = q.at[i]
    while i > 0 and q.age[q.at[i - 1]] > age:
        q.at[i] = q.at[i - 1]
        i -= 1
    q.at[i] = place
    q.id[place] = identity
    q.age[place] = age
    q.address[place] = address
    q.bank[place] = bank
    q.row[place] = row
    q.write[place] = write
    q.judged[place] = judged
    q.n += 1


@njit
def drop(q, i):
    """Remove the i-th transaction by age from a queue."""
    place = q.at[i]
    for k in range(i, q.n - 1):
        q.at[k] = q.at[k + 1]
    q.n -= 1
    q.at[q.n] = place


@njit
def holds(q, address):
    """True if a transaction of the address waits in the queue."""
    for i in range(q.n):
        if q.address[q.at[i]] == address:
            return True
    return False


@njit
def refresh_requests(d, c):
    """In the clock of a refresh, add one request per rank to the waiting ones."""
    if d.refresh_interval > 0 and c == d.refreshed_t + d.refresh_interval:
        d.refreshed_t = c
        for rank in range(d.ranks):
            d.due[d.due_n] = rank
            d.due_n += 1


@njit
def refresh_served(d):
    """The first of the waiting refreshes has been issued."""
    for i in range(d.due_n - 1):
        d.due[i] = d.due[i + 1]
    d.due_n -= 1


@njit
def next_refresh(d):
    """Clock of the next refresh request."""
    return d.refreshed_t + d.refresh_interval if d.refresh_interval > 0 else NEVER


RULES = {"oldest_first": OLDEST_FIRST, "two_slots": TWO_SLOTS, "two_step": TWO_STEP, "bank_queues": BANK_QUEUES}
COMMAND = {"ACT": ACT, "PRE": PRE, "PREA": PREA, "RD": RD, "WR": WR, "REF": REF}
LEVEL = {"channel": CHANNEL, "rank": RANK, "group": GROUP, "bank": BANK}
FIELD = {
    "column": COLUMN_FIELD,
    "rank": RANK_FIELD,
    "bank_group": GROUP_FIELD,
    "bank": BANK_FIELD,
    "row": ROW_FIELD,
    "channel": CHANNEL_FIELD,
}


def build(numbers: dict, channels: int = 1) -> np.ndarray:
    """Return freshly reset channels as an array of records.

    ``numbers``: every fixed field by its name; ``pieces``: (field, bits, place in it) from the lowest bit up;
    ``distances`` and ``siblings``: (scope, previous, next command, clocks); scopes, commands, fields, rules by name.
    """
    array = np.zeros(channels, DTYPE).view(np.recarray)
    for d in array:
        for name, value in numbers.items():
            if name not in ("rules", "pieces", "distances", "siblings"):
                d[name] = value
        d.rules = RULES[numbers["rules"]]
        d.pieces = len(numbers["pieces"])
        for i, (field, bits, at) in enumerate(numbers["pieces"]):
            d.piece_field[i] = FIELD[field]
            d.piece_bits[i] = bits
            d.piece_at[i] = at
        for scope, previous, following, clocks in numbers["distances"]:
            d.distance[LEVEL[scope], COMMAND[previous], COMMAND[following]] = clocks
        for _, previous, following, clocks in numbers["siblings"]:
            d.sibling[COMMAND[previous], COMMAND[following]] = clocks
        reset(d)
    return array
