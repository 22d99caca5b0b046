"""The shared TLB behind the filter registers, and its page-table walks (Sv39, identity map).

Source: rocket-chip's TLB as FrontendTLB.scala builds it (nSets 1, 4 sectors an entry) and PTW.scala; measured cycle by
cycle on the SoC (docs/MEMORY.md). An entry holds the tag of an aligned group of four 4-KiB pages and a valid bit for
each: `tlb_size` = 4 is one entry. There are separate entries for 2-MiB pages.

The first lookup that misses, in cycle t, starts the one walk: request t + 1, a cycle for each level found in the
walker's cache, the leaf from the CPU's data cache, answer t + 8; lookups hit from t + 9, when the next walk can start.
Until then the old entries still hit, and all other misses must retry.
"""

import numpy as np

from sim.core.jit import njit

BARE, SMALL, LARGE = range(3)
"""No translation; pages of 4 KiB; pages of 2 MiB."""

SECTORS = 4  # pages of an entry's group
SUPERPAGE_BITS = 9  # log2 pages of 4 KiB in one of 2 MiB
PTE_LINE_BITS = 3  # log2 page-table entries in a line of the data cache
ENTRIES = 16  # most entries of either kind
LINES = 64  # lines of page-table entries that are tracked: 2 MiB of 4-KiB pages

DTYPE = np.dtype(
    [
        # fixed
        ("mode", "i8"),  # BARE, SMALL or LARGE
        ("entries", "i8"),  # a power of two, of the kind that the mode uses
        ("walk_cycles", "i8"),  # cycles from the missing look-up to the first that hits
        ("line_cycles", "i8"),  # additional cycles for the first entry of a line of page-table entries
        # entries
        ("tag", "i8", (ENTRIES,)),  # number of the group of four pages, or of the 2-MiB page; -1: none yet
        ("valid", "i8", (ENTRIES,)),  # bit of each page of the group that it translates
        ("older", "i8"),  # pseudo-LRU tree: bit of a node: its upper half was used longer ago
        # the walk under way
        ("walking", "i8"),  # 1: one is
        ("page", "i8"),  # its 4-KiB page
        ("done_t", "i8"),  # first cycle in which lookups of the page hit
        ("line", "i8", (LINES,)),  # lines of page-table entries that the data cache holds, by their low bits; -1 none
        # counters, since the program began
        ("walks", "i8"),  # walks begun
        ("line_walks", "i8"),  # of these, with the entry's line fetched from beyond the data cache
    ]
)


def reset(v):
    """Bring the record, whose fixed numbers are set, to its state after reset: empty."""
    v.tag[:] = -1
    v.line[:] = -1


@njit
def _tag(v, page):
    return page // SECTORS if v.mode == SMALL else page >> SUPERPAGE_BITS


@njit
def _sector(v, page):
    return 1 << (page % SECTORS) if v.mode == SMALL else 1


@njit
def _touch(v, entry):
    """Pseudo-LRU update: at each node on the path to an entry the other half is now the older one."""
    node = 1
    half = v.entries >> 1
    while half > 0:
        upper = (entry & half) != 0
        if upper:
            v.older &= ~(1 << node)
        else:
            v.older |= 1 << node
        node = 2 * node + (1 if upper else 0)
        half >>= 1


@njit
def _victim(v):
    """Return the first empty entry, else the pseudo-LRU one."""
    for i in range(v.entries):
        if v.valid[i] == 0:
            return i
    node = 1
    entry = 0
    half = v.entries >> 1
    while half > 0:
        upper = v.older >> node & 1
        if upper:
            entry |= half
        node = 2 * node + upper
        half >>= 1
    return entry


@njit
def _fill(v):
    """End a walk: its page joins its group's entry, or takes an entry."""
    tag = _tag(v, v.page)
    sector = _sector(v, v.page)
    v.walking = 0
    for i in range(v.entries):
        if v.tag[i] == tag and v.valid[i]:
            v.valid[i] |= sector
            _touch(v, i)
            return
    i = _victim(v)
    v.tag[i] = tag
    v.valid[i] = sector
    _touch(v, i)


@njit
def finish(now, v):
    """Fill the entry of a walk whose answer arrived by cycle `now`."""
    if v.walking and now >= v.done_t:
        _fill(v)


@njit
def translates(now, v, page):
    """True if a look-up of a 4-KiB page number hits in this cycle."""
    if v.mode == BARE:
        return True
    finish(now, v)
    tag = _tag(v, page)
    sector = _sector(v, page)
    for i in range(v.entries):
        if v.tag[i] == tag and v.valid[i] & sector:
            return True
    return False


@njit
def look_up(now, v, page):
    """Look up the page of the client served in this cycle; a miss starts the walk. Returns whether it hit."""
    if v.mode == BARE:
        return True
    finish(now, v)
    tag = _tag(v, page)
    sector = _sector(v, page)
    for i in range(v.entries):
        if v.tag[i] == tag and v.valid[i] & sector:
            _touch(v, i)
            return True
    if not v.walking:
        v.walking = 1
        v.page = page
        v.done_t = now + v.walk_cycles
        v.walks += 1
        line = (page if v.mode == SMALL else page >> SUPERPAGE_BITS) >> PTE_LINE_BITS
        if v.line_cycles and v.line[line % LINES] != line:
            v.line[line % LINES] = line
            v.done_t += v.line_cycles
            v.line_walks += 1
    return False
