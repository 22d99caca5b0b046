"""States and steps that one run of the periodic clock knows, in arrays that grow."""

import threading

import numpy as np

from sim.core.machine import IMAGED_WORDS, MACHINE
from sim.core.repeat import memo
from sim.core.repeat.memo import STATE, STEP
from sim.core.units import tlb

LOG = 1 << 16
"""Uses of the TLB that one stretch may make; a longer one is not remembered."""
IMAGE_WORDS = 1 << 21
USES = 1 << 21
"""Bounds of the memory: 16 MiB of images, 64 MiB of uses."""


class Known:
    """States and steps of one run, in arrays that grow; forgets everything when it is full.

    The arrays stay for the thread's next run: to take them anew from the system costs more than a short program.
    """

    def __init__(self) -> None:
        """Make an empty memory."""
        self.blank = np.zeros(IMAGED_WORDS, np.int64)
        self.pair = np.zeros(2, MACHINE).view(np.recarray)
        self.pool = np.zeros(1 << 17, np.int64)
        self.uses = np.zeros(4 * LOG, tlb.USE).view(np.recarray)
        self.states = np.zeros(256, STATE).view(np.recarray)
        self.steps = np.zeros(256, STEP).view(np.recarray)
        self.marks = np.zeros(64, np.int64)
        self.forget()

    def forget(self) -> None:
        """Forget every state and step."""
        self.words = self.used = self.known = self.made = self.marked = 0
        self.by_digest: dict[int, list[int]] = {}

    @property
    def full(self) -> bool:
        """True when no more may be remembered."""
        return self.words > IMAGE_WORDS or self.used > USES

    def grow(self, image_words: int) -> None:
        """Make room for one more of everything."""
        self.pool = _roomy(self.pool, self.words + 2 * image_words)
        self.uses = _roomy(self.uses, self.used + LOG)
        self.states = _roomy(self.states, self.known + 1)
        self.steps = _roomy(self.steps, self.made + 1)

    def state(self, n: int, digest: int, oldest: int, unread: int) -> int:
        """Return the state whose image of n pairs was just written behind the pool's end, adding it when it is new."""
        known = np.asarray(self.states)  # a record's attribute costs a microsecond or more, a column's item a tenth
        for number in self.by_digest.get(digest, ()):
            if known["n"][number] == n and memo.same(self.pool, int(known["at"][number]), self.words, n):
                return number
        self.states[self.known] = (digest, self.words, n, -1, oldest, unread)
        self.by_digest.setdefault(digest, []).append(self.known)
        self.words += 2 * n
        self.known += 1
        return self.known - 1

    def has_steps(self, state: int) -> bool:
        """True when something was done from a state before."""
        return bool(np.asarray(self.states)["first"][state] >= 0)

    def remember(self, before: int, to: int, ends: np.ndarray, logged: int) -> None:
        """Keep the step just made (its lengths and counters are in place) as one of the state it was made from."""
        states, steps, made = np.asarray(self.states), np.asarray(self.steps), self.made
        steps["after"][made] = states["first"][before]
        steps["to"][made] = to
        steps["uses_at"][made] = self.used
        steps["uses_n"][made] = logged
        steps["section_at"][made] = self.mark(ends) if len(ends) else 0
        steps["local"][made] = 0
        states["first"][before] = made
        self.made += 1
        self.used += logged

    def mark(self, ends: np.ndarray) -> int:
        """Keep the ends of a step's sections; returns where."""
        at = self.marked
        self.marks = _roomy(self.marks, at + len(ends))
        self.marks[at : at + len(ends)] = ends
        self.marked += len(ends)
        return at


_OF_THREAD = threading.local()


def known_of_thread() -> Known:
    """Return the thread's memory, emptied."""
    known: Known | None = getattr(_OF_THREAD, "known", None)
    if known is None:
        known = _OF_THREAD.known = Known()
    known.forget()
    return known


def _roomy(array: np.ndarray, least: int) -> np.ndarray:
    if least <= len(array):
        return array
    larger = np.zeros(max(least, 2 * len(array)), array.dtype)
    larger[: len(array)] = array
    return larger.view(np.recarray) if array.dtype.names else larger
