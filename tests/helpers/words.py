"""What the laws of word sizes share: pairs of integer types that an array takes, and the line that asks for one."""

from __future__ import annotations

from collections.abc import Mapping

from sim.hardware import Hardware, precision
from sim.hardware.schema import ELEMENT_BITS

INTEGERS = ("int2", "int4", "int8", "int16")


def modes(machines: Mapping[str, Hardware]) -> list[tuple[str, str, str]]:
    """Return (name of the machine, type of A, type of B) of all that each machine takes."""
    return [
        (name, a, w)
        for name, hw in machines.items()
        for a in INTEGERS
        for w in INTEGERS
        if {a, w} <= set(precision.accepted(hw))
    ]


def line(a: str, w: str) -> str:
    """Return "w4a8" for int8 activations and int4 weights."""
    return f"w{ELEMENT_BITS[w]}a{ELEMENT_BITS[a]}"
