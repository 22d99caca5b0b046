"""Two loop slots and their release, common to both unrollers. Sources: LoopMatmul.scala, LoopConv.scala.

Two slots hold a loop each; a slot is released when all five machines have emitted their part of it. Operands are in the
half of the scratchpad that the program chose (1, 2), else (0) in that of the slot: A at the beginning of its half, B at
the end of its half. Emitted commands that have not completed are counted by class, so that an unroller never has more
of them than the reservation station has entries.
"""

from sim.core.jit import njit

MACHINES = 5


@njit
def a_start(p, chosen, slot):
    """Return the first scratchpad row of A."""
    return (chosen - 1 if chosen else slot) * (p.sp_rows // 2)


@njit
def b_end(p, chosen, slot):
    """Return the scratchpad row after the last one of B."""
    return (chosen if chosen else slot + 1) * (p.sp_rows // 2)


@njit
def free_slot(s):
    """Return the slot for the next configuration: the head's, or the other one while the head's holds a loop."""
    return 1 - s.head if s.configured[s.head] else s.head


@njit
def next_job(s, head, which):
    """Return the slot whose job a machine takes next: the head's, or the other one's after the head's was taken.

    -1 none.
    """
    q = 1 - head if s.started[head, which] else head
    return q if s.configured[q] and s.started[q, which] == 0 else -1


@njit
def release(s, head):
    """Free the slot of the older loop; the other loop is the older one now."""
    s.configured[head] = 0
    s.running[head] = 0
    s.started[head, :] = 0
    s.completed[head, :] = 0
    s.head = 1 - head


@njit
def count_completions(m, s, source):
    """Subtract the commands of an unroller (1 matmul, 2 convolution) that completed in this cycle."""
    s.loads_used -= m.station.completions[source, 0]
    s.executes_used -= m.station.completions[source, 1]
    s.stores_used -= m.station.completions[source, 2]
