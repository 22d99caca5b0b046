"""DRAM addresses with a mark: the command of the program that gave them, and the distance from its operand.

The periodic clock compares a state of the machine with one at another place of the program. For this the front end
marks each address with the command that gave it (in high bits, which adding offsets does not change), and marks,
distances and the low bits on which time depends are compared. Their number comes from the memory model and the port
(`machine.timing_bits`): the alignment within a request with a memory of fixed latency, all bits with an L2. Pages are
compared separately, by repeating the TLB look-ups. The other clocks do not mark addresses. `real` returns an address
without its mark.
"""

from sim.core.jit import njit
from sim.isa import codes

BITS = 44
"""Bits of the address itself; above them one bit for the operand (rs1, rs2) and the mark."""
MASK = (1 << BITS) - 1
ALL_BITS = BITS
"""TIMING_BITS of a memory whose time depends on the whole address."""
BIAS = 1 << 16
"""Mark of the command at the origin of marks; earlier commands have smaller marks, 0 means not marked."""
LOW = 8
"""Number of low bits of the true address that a relative one keeps; a machine that needs more cannot be repeated."""
REACH = 1 << 35
"""Farthest distance in bytes between an address and its command's operand that a relative address can hold."""


@njit
def real(address):
    """The address without its mark."""
    return address & MASK


@njit
def moves(funct):
    """Whether rs1 of the command holds a DRAM address (mvin, mvin2, mvin3, mvout)."""
    return funct == codes.MVIN2 or funct == codes.MVIN or funct == codes.MVOUT or funct == codes.MVIN3


@njit
def holds(funct):
    """Return which operands of a command are DRAM addresses: 0 none, 1 rs1, 2 both."""
    if moves(funct):
        return 1
    loops = funct == codes.LOOP_WS_ADDRESSES_AB or funct == codes.LOOP_WS_ADDRESSES_DC
    return 2 if loops or funct == codes.LOOP_CONV_WS_5 or funct == codes.LOOP_CONV_WS_6 else 0


@njit
def marked(address, operand, distance):
    """An address of a program marked with its operand (0 rs1, 1 rs2) and its command's distance from the origin."""
    return address | operand << BITS | (distance + BIAS) << (BITS + 1) if address else 0


@njit
def relative(address, program, origin, onward, align):
    """Make a marked address independent of its place: mark relative to `origin + onward`, distance, alignment.

    `align`: 1 << the low bits on which time depends, at most 1 << LOW. An address out of reach becomes a plain one.
    """
    mark = address >> (BITS + 1)
    if mark <= 0:
        return address
    operand = (address >> BITS) & 1
    at = origin + mark - BIAS
    given = program[at].rs2 if operand else program[at].rs1
    distance = real(address) - given
    mark -= onward
    if distance < -REACH or distance >= REACH or mark <= 0:
        return real(address)
    return mark << (BITS + 1) | operand << BITS | ((distance << LOW) & MASK) | (address & (align - 1))


@njit
def absolute(word, program, origin):
    """The inverse of `relative`, its marks counted from `origin`."""
    mark = word >> (BITS + 1)
    if mark <= 0:
        return word
    operand = (word >> BITS) & 1
    at = origin + mark - BIAS
    given = program[at].rs2 if operand else program[at].rs1
    distance = (word & MASK) >> LOW
    if distance >= REACH:
        distance -= 2 * REACH
    return mark << (BITS + 1) | operand << BITS | (given + distance)
