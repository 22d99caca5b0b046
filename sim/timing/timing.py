"""The timing of a program, and the machine state after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from sim.timing.contents import L2Contents

Clock = Literal["periodic", "leap", "reference"]


@dataclass(frozen=True)
class Timing:
    """Timing of one program. ``cycles``: first accepted command to the last idle cycle (busy low, nothing left).

    ``sections``: cycles of each fence-delimited part. ``counters``: names of `sim.core.events.Event`. ``causes``:
    cycles by cause, summing to ``cycles``. ``timeline``: structured array (queue 0 ld / 1 ex / 2 st, funct, rs1, rs2,
    t_alloc, t_issue, t_complete; -1 = completes on issue) or None. ``phase``: next loop slot. ``l2``: contents of the
    L2 after the program, if requested. ``seen``: with the timeline, and a clock other than periodic, the counters at
    the completion of each command: structured array (t_complete; seen, the counters of
    `sim.core.units.reservation.SEEN`; why, cycles by cause before). ``clock``: the clock that ran; ``refusal``: why it
    was not the periodic one, if that was requested.
    """

    cycles: int
    sections: tuple[int, ...]
    counters: dict[str, int]
    causes: dict[str, int]
    timeline: npt.NDArray[np.void] | None
    phase: int
    visited_cycles: int
    l2: L2Contents | None = None
    seen: npt.NDArray[np.void] | None = None
    clock: Clock = "leap"
    refusal: str = ""
