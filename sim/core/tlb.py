"""Address translation in bare mode: it never misses by itself, but the shared TLB serves one client per cycle.

Source: FrontendTLB.scala. Each client remembers its last page; a request to another page asks the shared TLB in the
next cycle. When reader and writer both ask, the round-robin loser is told "miss" and must retry. A client that does
not ask is answered by whether the address it *presented* in the previous cycle lay in its remembered page, even if
that was the address of a later request: a stalled writer beat can be sent back for that reason.
Client 0 is the writer, client 1 the reader.
"""

import numpy as np
from numba import njit

PAGE_BITS = 12
WRITER = 0
READER = 1

DTYPE = np.dtype(
    [
        ("page", "i8", (2,)),  # remembered page, -1 none
        # cycle in which the client asks the shared TLB; two places, because the ask of the next cycle is noted
        # while this cycle's is still to be settled (odd and even cycles)
        ("ask_t", "i8", (2, 2)),
        ("ask_page", "i8", (2, 2)),
        ("hit", "i8", (2,)),  # did the address presented in the previous cycle hit?
        ("granted", "i8"),  # last client served
    ]
)


@njit
def present(m, client, address):
    """The address on the client's request wires this cycle (valid or not)."""
    m.tlb.hit[client] = 1 if (address >> PAGE_BITS) == m.tlb.page[client] else 0


@njit
def request(now, m, client, address):
    """A valid request; the answer holds in the next cycle."""
    t = m.tlb
    page = address >> PAGE_BITS
    if page != t.page[client]:
        t.ask_t[client, (now + 1) & 1] = now + 1
        t.ask_page[client, (now + 1) & 1] = page


@njit
def _winner(now, t):
    """The client served this cycle: round robin of two, input 1 first when the last grant went to 0; -1 none."""
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
def missed(now, m, client):
    """True when the answer this cycle is a miss."""
    t = m.tlb
    if t.ask_t[client, now & 1] == now:
        return _winner(now, t) != client
    return t.hit[client] == 0


@njit
def settle(now, m):
    """End of the cycle: the served client remembers its page."""
    t = m.tlb
    who = _winner(now, t)
    if who >= 0:
        t.granted = who
        t.page[who] = t.ask_page[who, now & 1]
