"""Compilation of this room, each function by itself (`sim.core.jit`)."""

from __future__ import annotations

from pathlib import Path

from sim.core.jit import Room

ROOM = Path(__file__).parent
ISA = ROOM.parents[2] / "isa"
COMPILED = Room("lower", (*ROOM.glob("*.py"), *ISA.glob("*.py")), arrays=True)
entry, njit = COMPILED.entry, COMPILED.njit
