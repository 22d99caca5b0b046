"""Compilation of this room, as the timing core compiles its units (`sim.core.jit`)."""

from __future__ import annotations

from pathlib import Path

from sim.core.jit import Room

ROOM = Path(__file__).parent
CONSTANTS = (
    ROOM / "unit.py",
    *(ROOM.parent / "isa").glob("*.py"),
    ROOM.parent / "sparsity" / "masks" / "formats.py",
)
COMPILED = Room("functional", (*(ROOM / "kernels").glob("*.py"), *CONSTANTS), arrays=False)
entry, njit = COMPILED.entry, COMPILED.njit
