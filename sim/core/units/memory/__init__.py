"""The protocol of the memory models behind the port, and the choice among them.

The port (port.py), or an L2 in front of the memory, calls the functions of this file. They count requests and answers
and call the model that `PARAMS.memory_model` names. A model is one file or folder here with

* ``DTYPE``, its record in `machine.MACHINE`, and ``reset(m)``;
* ``TIMING_BITS``: low bits of a DRAM address on which its times depend; 0: none, `ALL_BITS`: the whole address.
  (The alignment of requests and the page belong to port and TLB.) `machine.timing_bits` reads it, for the periodic
  clock, which refuses more bits than its relative addresses keep, and for the cache of work items, which compares these
  bits;
* ``takes_read(now, m, address)``, ``takes_write(now, m, address)``: True if it accepts such a beat in this cycle;
* ``read(now, m, transaction, beats, address)``: accepts a read of `beats` beats;
* ``write(now, m, transaction, last, size, address)``: accepts a beat of a Put of `size` bytes, the last one or not;
* ``busy(m)``: True while `offer` has work;
* ``offer(now, m)``: puts its next answer on the wires (a DRAM after `catch_up` to this cycle): `m.mem.offered` = READ
or ACKNOWLEDGE, unless one waits there. Returns the wake: the next cycle in which a call could
  change anything;
* ``beat(now, m)``: the offered beat of a read is taken; returns transaction << 1 | last beat;
* ``acknowledge(m)``: the offered acknowledge is taken; returns the transaction (a DRAM leaves both to fixed.py; a
  tile's buffer gives either with `beat`);
* ``rebase(m, start)``: makes its times relative to cycle ``start``, the first of the next program (a tile's: tile.py);
* ``canonise(m, now)``: normal form (normal.py), if TIMING_BITS are few enough for the periodic clock.

`offer` comes before the requests of a cycle, so nothing is answered in the cycle of its request. A cycle brings at most
one read or one beat of a Put. Beats of two reads are not mixed; reads may be answered out of order, Puts may not.
"""

from sim.core.events import Event
from sim.core.jit import njit
from sim.core.params import DRAM, NEVER, SHARED
from sim.core.units.memory import dram, fixed, tile, wires
from sim.core.units.memory.wires import ACKNOWLEDGE, NOTHING, READ

__all__ = ["ACKNOWLEDGE", "DTYPE", "NOTHING", "READ"]

E_RR = int(Event.DRAM_READ_REQUESTS)
E_RB = int(Event.DRAM_READ_BYTES)
E_WR = int(Event.DRAM_WRITE_REQUESTS)
E_WB = int(Event.DRAM_WRITE_BYTES)
E_WU = int(Event.DRAM_WRITE_BYTES_UNMASKED)
E_MAXR = int(Event.MAX_OUTSTANDING_READS)
E_MAXW = int(Event.MAX_OUTSTANDING_WRITES)
E_RBEATS = int(Event.BUS_READ_BEATS)
E_WBEATS = int(Event.BUS_WRITE_BEATS)

DTYPE = wires.DTYPE
TIMING_BITS = (fixed.TIMING_BITS, dram.TIMING_BITS, tile.TIMING_BITS)
"""TIMING_BITS by `PARAMS.memory_model`."""


@njit
def busy(m):
    """True while an answer is due, or the memory has internal work."""
    if m.p.memory_model == SHARED:
        return tile.busy(m)
    return dram.busy(m) if m.p.memory_model == DRAM else fixed.busy(m)


@njit
def takes_read(now, m, address):
    """True if the memory accepts a read in this cycle."""
    if m.p.memory_model == SHARED:
        return tile.takes_read(now, m, address)
    return dram.takes_read(now, m, address) if m.p.memory_model == DRAM else fixed.takes_read(now, m, address)


@njit
def takes_write(now, m, address):
    """True if the memory accepts a beat of a Put in this cycle."""
    if m.p.memory_model == SHARED:
        return tile.takes_write(now, m, address)
    return dram.takes_write(now, m, address) if m.p.memory_model == DRAM else fixed.takes_write(now, m, address)


@njit
def read(now, m, transaction, beats, address):
    """Give the memory a read of some beats."""
    if m.p.memory_model == DRAM:
        dram.read(now, m, transaction, beats, address)
    elif m.p.memory_model == SHARED:
        tile.read(now, m, transaction, beats, address)
    else:
        fixed.read(now, m, transaction, beats, address)
    m.count[E_RR] += 1
    m.count[E_RB] += beats * m.p.beat_bytes
    m.mem.reads_out += 1
    if m.mem.reads_out > m.count[E_MAXR]:
        m.count[E_MAXR] = m.mem.reads_out


@njit
def takes_ahead(m, size):
    """True if a read of ``size`` bytes is taken in the cycle of its arrival, given no other request in flight."""
    if m.p.memory_model == SHARED:
        return False
    return m.p.memory_model != DRAM or dram.takes_ahead(m, size)


@njit
def read_ahead(at, m, transaction, beats, address):
    """Give the memory a read that arrives in cycle ``at``, after all others; the caller counts it as in flight."""
    if m.p.memory_model == DRAM:
        dram.read_ahead(at, m, transaction, beats, address)
    else:
        fixed.read(at, m, transaction, beats, address)
    m.count[E_RR] += 1
    m.count[E_RB] += beats * m.p.beat_bytes


@njit
def next_answer(now, m):
    """A cycle before which the reads taken ahead have no answer; NEVER where they have none of their own."""
    if m.p.memory_model == DRAM:
        return max(now + 1, m.dram.soon_t) if m.dram.ahead_n > 0 else NEVER
    return fixed.last_ready(now, m)


@njit
def write(now, m, transaction, last, size, useful, address):
    """Give the memory a beat of a Put of `size` bytes, `useful` of which are enabled by its mask."""
    if m.p.memory_model == DRAM:
        dram.write(now, m, transaction, last, size, address)
    elif m.p.memory_model == SHARED:
        tile.write(now, m, last, size, useful, address)
    else:
        fixed.write(now, m, transaction, last, size, address)
    m.count[E_WBEATS] += 1
    if last:
        m.count[E_WR] += 1
        m.count[E_WB] += size
        m.count[E_WU] += useful
        m.mem.writes_out += 1
        if m.mem.writes_out > m.count[E_MAXW]:
            m.count[E_MAXW] = m.mem.writes_out


@njit
def offer(now, m, channels):
    """Put the memory's next answer on its wires, where it stays until it is taken. Returns the wake.

    ``channels``: those of a DRAM (units/dram), none with another memory.
    """
    catch_up(now, m, channels)
    return offer_known(now, m)


@njit
def offer_known(now, m):
    """Like `offer`, for a memory after `catch_up` to this cycle."""
    if m.p.memory_model == DRAM:
        return dram.offer(now, m)
    if m.mem.offered != NOTHING:
        return NEVER
    return tile.offer(now, m) if m.p.memory_model == SHARED else fixed.offer(now, m)


@njit
def catch_up(now, m, channels):
    """Advance the memory to a cycle without putting an answer on the wires.

    Bursts read the known answers (leap/burst).
    """
    if m.p.memory_model == DRAM:
        dram.catch_up(now, m, channels)


@njit
def answer(now, m):
    """Take the memory's answer off its wires; returns transaction << 1 | last beat."""
    acknowledges = m.mem.offered == ACKNOWLEDGE
    m.mem.offered = NOTHING
    shared = m.p.memory_model == SHARED
    if acknowledges:
        m.mem.writes_out -= 1
        return tile.beat(now, m) if shared else fixed.acknowledge(m) << 1 | 1
    beat = tile.beat(now, m) if shared else fixed.beat(now, m)
    m.count[E_RBEATS] += 1
    m.mem.reads_out -= beat & 1
    return beat


@njit
def rebase(m, start):
    """Make all times of the memory relative to cycle ``start``."""
    if m.p.memory_model == DRAM:
        dram.rebase(m, start)
    else:
        fixed.rebase(m, start)


@njit
def settle(now, m, channels):
    """Count the work of the memory up to cycle `now`, the end of the program."""
    if m.p.memory_model == DRAM:
        dram.settle(now, m, channels)


@njit
def canonise(m, now):
    """Normal form, clock set back to 0."""
    fixed.canonise(m, now)
