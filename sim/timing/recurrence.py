"""Whether stretches of a program's commands come again: only then does the periodic clock find anything to repeat.

Its bookkeeping takes about as long as half of the simulation (docs/CLOCKS.md). Under a mask drawn block by block no two
stretches are alike; a look at the commands costs a fiftieth of simulating them. A hardware loop repeats inside itself,
whatever its commands say.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sim.isa.commands import Funct, Program

STRETCH = 32
"""Commands that are compared, a power of two: the shortest stretches of the periodic clock are hardly longer."""

WORTH_SHARE = 1 / 3
"""Of the commands, those in stretches that came before: with a third of them the bookkeeping costs what it saves
(measured on products under ten patterns, in one to sixteen tiles of rows)."""

LOOPS = (Funct.LOOP_WS, Funct.LOOP_CONV_WS)
MOVES = (Funct.MVIN, Funct.MVIN2, Funct.MVIN3, Funct.MVOUT)
"""Commands whose first operand is an address in DRAM, which may be another each time."""
RESULTS = (Funct.MVOUT, Funct.COMPUTE_PRELOADED, Funct.COMPUTE_ACCUMULATED)
ON_RESULTS = (*RESULTS, Funct.PRELOAD)
"""Before a stretch that begins with loads, and what such a stretch does not begin with."""

MULTIPLIERS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)
"""Odd numbers without a pattern, one a column of the commands; which ones is of no importance."""

Words = npt.NDArray[np.uint64]


def refusal(program: Program) -> str:
    """Return why the periodic clock would only lose time over this program, "" where it may gain some."""
    if np.isin(program["funct"], LOOPS).any():
        return ""
    words = _stretches(_words(program), STRETCH)
    starts = _starts(program["funct"])
    starts = starts[starts < len(words)]
    _, first = np.unique(words[starts], return_index=True)
    lengths = np.diff(starts, append=len(words))
    if lengths.sum() - lengths[first].sum() >= WORTH_SHARE * max(1, lengths.sum()):
        return ""
    return "hardly any stretch of the program's commands comes again"


def _starts(funct: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the places where loads follow results: there the periodic clock may stop."""
    return np.flatnonzero(np.isin(funct[:-1], RESULTS) & ~np.isin(funct[1:], ON_RESULTS)) + 1


def _words(program: Program) -> Words:
    """Return a number for each command without addresses in DRAM: equal for equal ones, hardly ever for others."""
    first = np.where(np.isin(program["funct"], MOVES), 0, program["rs1"])
    columns = (np.asarray(column).astype(np.uint64) for column in (program["funct"], first, program["rs2"]))
    words: Words = np.zeros(len(program), np.uint64)
    for column, multiplier in zip(columns, MULTIPLIERS, strict=True):
        words ^= column * np.uint64(multiplier)
    return words ^ words >> np.uint64(32)


def _stretches(words: Words, length: int) -> Words:
    """Return a number for the ``length`` commands from each place on: sums of halves, the first of them multiplied."""
    multiplier, done = MULTIPLIERS[0], 1
    while done < min(length, len(words)):
        words = words[:-done] * np.uint64(multiplier) + words[done:]
        multiplier, done = multiplier * multiplier % (1 << 64), 2 * done
    return words if done == length else words[:0]
