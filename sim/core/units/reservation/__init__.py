"""Reservation station: see station.py (one cycle), dependences.py (dependences between entries), state.py."""

from sim.core.units.reservation.state import (
    DTYPE,
    EX,
    LD,
    SEEN,
    SLOTS,
    ST,
    TIMELINE,
    canonise,
    describe,
    record,
    reset,
)
from sim.core.units.reservation.station import busy, handed_over, has_news, head_blocked, may_act, step

__all__ = [
    "DTYPE",
    "EX",
    "LD",
    "SEEN",
    "SLOTS",
    "ST",
    "TIMELINE",
    "busy",
    "canonise",
    "describe",
    "handed_over",
    "has_news",
    "head_blocked",
    "may_act",
    "record",
    "reset",
    "step",
]
