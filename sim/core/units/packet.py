"""Size of a request, chosen alike by the DMA's reader and writer. Source: DMA.scala."""

from sim.core.jit import njit


@njit
def best_size(p, address, left):
    """Return the aligned request with most useful bytes: (its bytes, useful bytes); the smallest among equals.

    ``address``: DRAM address of the first byte wanted; ``left``: bytes wanted from there on.
    """
    size = p.beat_bytes
    best = 0
    best_useful = -1
    while size <= p.max_bytes:
        useful = min(size - (address & (size - 1)), left)
        if useful > best_useful:
            best_useful = useful
            best = size
        size *= 2
    return best, best_useful
