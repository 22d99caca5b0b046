"""States and steps stored in one run of the periodic clock, in arrays that grow."""

import threading

import numpy as np

from sim.core.jit import passed
from sim.core.machine import IMAGED_WORDS, MACHINE
from sim.core.repeat.memo import STATE, STEP
from sim.core.repeat.stretch import LOG
from sim.core.units import tlb

BUCKETS = 1 << 10
"""Number of buckets of states, by digest."""


class Known:
    """Arrays of one run, reused by the thread's next run: allocating them costs more than a short program.

    The numbers of valid entries are in the run's record (memo.RUN); entries beyond them are not read.
    """

    def __init__(self) -> None:
        """Allocate the arrays."""
        self.blank = np.zeros(IMAGED_WORDS, np.int64)
        self.pair = np.zeros(2, MACHINE).view(np.recarray)
        self.pool = np.zeros(1 << 17, np.int64)
        self.log = np.zeros(LOG, tlb.USE).view(np.recarray)
        self.uses = np.zeros(4 * LOG, tlb.USE).view(np.recarray)
        self.states = np.zeros(256, STATE).view(np.recarray)
        self.steps = np.zeros(256, STEP).view(np.recarray)
        self.marks = np.zeros(64, np.int64)
        self.buckets = np.zeros(BUCKETS, np.int64)

    def grow(self, runs: np.ndarray, image_words: int, sections: int) -> None:
        """Make room for what `stretch.go_on` may add at its next two calls."""
        r = runs[0]
        self.pool = _roomy(self.pool, int(r.words) + 4 * image_words)
        self.uses = _roomy(self.uses, int(r.used) + 2 * LOG)
        self.states = _roomy(self.states, int(r.known) + 2)
        self.steps = _roomy(self.steps, int(r.made) + 3)
        self.marks = _roomy(self.marks, int(r.marked) + sections)

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Return the arrays as `stretch.go_on` takes them."""
        known = (passed(self.states), passed(self.steps), passed(self.uses), self.marks, self.pool, self.buckets)
        pair = passed(self.pair)
        return (*known, pair, pair.view(np.int64).reshape(2, -1))


_OF_THREAD = threading.local()


def known_of_thread(words: np.ndarray) -> Known:
    """Return the thread's memory; ``words``: the machine after reset, relative to which images are stored."""
    known: Known | None = getattr(_OF_THREAD, "known", None)
    if known is None:
        known = _OF_THREAD.known = Known()
    known.blank[:] = words
    return known


def _roomy(array: np.ndarray, least: int) -> np.ndarray:
    if least <= len(array):
        return array
    larger = np.zeros(max(least, 2 * len(array)), array.dtype)
    larger[: len(array)] = array
    return larger.view(np.recarray) if array.dtype.names else larger
