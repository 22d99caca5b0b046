"""Address translation: a filter register for each client, and the shared TLB that serves one of them per cycle.

Source: FrontendTLB.scala. Each client stores its last page; a request to another page is sent to the shared TLB in the
next cycle. If reader and writer both send one, the round-robin loser gets a miss and must retry. A client without a
request to the shared TLB hits if the address that it *presented* in the previous cycle was in its stored page, even if
that was the address of a later request: a stalled writer beat can be sent back for that reason. In bare mode the shared
TLB itself never misses; with pages it does, and walks (walks.py). Client 0 is the writer, client 1 the reader.
"""

import numpy as np

from sim.core.address import real
from sim.core.events import Event
from sim.core.jit import njit
from sim.core.normal import LONG_AGO
from sim.core.units import walks

PAGE_BITS = 12
E_WALKS = int(Event.TLB_WALKS)
E_LINES = int(Event.TLB_LINE_WALKS)
WRITER = 0
READER = 1

# actions of a client for the log of the periodic clock: address presented, page requested, answer received (hit or
# miss)
PRESENTED, ASKED, HIT, MISSED = range(4)

USE = np.dtype(
    [
        ("t", "i8"),  # cycle
        ("what", "i8"),  # PRESENTED, ASKED, HIT or MISSED
        ("client", "i8"),  # WRITER or READER
        ("address", "i8"),  # DRAM address; of an answer 0
    ]
)
"""Record of one use of the TLB by a client, as the periodic clock repeats it."""

DTYPE = np.dtype(
    [
        ("page", "i8", (2,)),  # stored page, -1 none
        # what the clients ask of the shared TLB; two places each, because the ask of the next cycle is noted while
        # this cycle's is still to be settled (odd and even cycles)
        ("ask_t", "i8", (2, 2)),  # cycle of the request
        ("ask_page", "i8", (2, 2)),  # page requested
        ("hit", "i8", (2,)),  # 1: the address presented in the previous cycle lay in the remembered page
        ("granted", "i8"),  # last client served
        ("shared", walks.DTYPE),  # the shared TLB and its walks
        # actions of the clients in this cycle
        ("logging", "i8"),  # 1: uses are logged
        ("log_n", "i8"),  # uses of this cycle
        ("logged", "i8"),  # uses in the log when the engine stopped
        ("log_t", "i8", (8,)),  # cycle
        ("log_what", "i8", (8,)),  # PRESENTED, ASKED, HIT or MISSED
        ("log_client", "i8", (8,)),  # WRITER or READER
        ("log_address", "i8", (8,)),  # DRAM address
    ]
)


@njit
def _note(now, t, what, client, address):
    i = t.log_n
    t.log_t[i] = now
    t.log_what[i] = what
    t.log_client[i] = client
    t.log_address[i] = address
    t.log_n = i + 1


@njit
def record(t, uses, n):
    """Append the recorded uses to a log with n entries; return the new number (the length of the log: it is full)."""
    for i in range(t.log_n):
        if n < uses.shape[0]:
            use = uses[n]
            use.t = t.log_t[i]
            use.what = t.log_what[i]
            use.client = t.log_client[i]
            use.address = t.log_address[i]
            n += 1
    t.log_n = 0
    return n


@njit
def present(now, t, client, address):
    """Record the address on the client's request wires in this cycle (valid or not)."""
    if t.logging:
        _note(now, t, PRESENTED, client, address)
    t.hit[client] = 1 if real(address) >> PAGE_BITS == t.page[client] else 0


@njit
def request(now, t, client, address):
    """Record a valid request; the answer is valid in the next cycle."""
    if t.logging:
        _note(now, t, ASKED, client, address)
    page = real(address) >> PAGE_BITS
    if page != t.page[client]:
        t.ask_t[client, (now + 1) & 1] = now + 1
        t.ask_page[client, (now + 1) & 1] = page


@njit
def pass_alone(now, t, client, address):
    """Record a request due in the next cycle that hits, as the other client is quiet until its answer."""
    if t.logging:
        _note(now + 1, t, PRESENTED, client, address)
        _note(now + 1, t, ASKED, client, address)
        _note(now + 2, t, HIT, client, 0)
    page = real(address) >> PAGE_BITS
    if page != t.page[client]:
        t.page[client] = page
        t.granted = client


@njit
def _winner(now, t):
    """Return the client served in this cycle: round robin of two, input 1 first if the last grant went to 0.

    -1 none.
    """
    a = t.ask_t[0, now & 1] == now
    b = t.ask_t[1, now & 1] == now
    if a and b:
        return 1 if t.granted == 0 else 0
    if a:
        return 0
    if b:
        return 1
    return -1


@njit
def missed(now, t, client):
    """True if the answer in this cycle is a miss."""
    if t.ask_t[client, now & 1] == now:
        answer = _winner(now, t) != client or not walks.translates(now, t.shared, t.ask_page[client, now & 1])
    else:
        answer = t.hit[client] == 0
    if t.logging:
        _note(now, t, MISSED if answer else HIT, client, 0)
    return answer


@njit
def settle(now, t):
    """End the cycle: the served client stores its page, if the shared TLB has it."""
    winner = _winner(now, t)
    if winner >= 0:
        t.granted = winner
        page = t.ask_page[winner, now & 1]
        if walks.look_up(now, t.shared, page):
            t.page[winner] = page


@njit
def count(m):
    """Count the walks of a program after its end."""
    m.count[E_WALKS] += m.tlb.shared.walks
    m.count[E_LINES] += m.tlb.shared.line_walks
    m.tlb.shared.walks = 0
    m.tlb.shared.line_walks = 0


@njit
def rebase(t, start):
    """Make all times relative to cycle ``start``."""
    t.ask_t[:, :] = LONG_AGO  # no client sends a request between two programs
    t.shared.done_t -= start


def reset(m):
    """State after reset: no page is stored."""
    m.tlb.page[:] = -1
    m.tlb.ask_t[:] = LONG_AGO
    shared = m.tlb.shared
    shared.mode = m.p.page_mode
    if shared.mode:
        shared.entries = m.p.tlb_entries
        shared.walk_cycles = m.p.walk_cycles
        shared.line_cycles = m.p.walk_line_cycles
        walks.reset(shared)
