"""Element types of operands in DRAM, and their conversion by a load: the numbers of `sim.hardware.precision`.

A machine for one pair of types (`Hardware.words`) gives the *bits* of an element in memory; its type follows from the
array's. Loads into the scratchpad narrow to the type that is multiplied: half to even, saturated. Loads for the
accumulator do not, nor do copies, which pass through it. Elements of fewer than 8 bits are packed lowest
bits first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sim.base.errors import InputError, did_you_mean
from sim.functional.kernels.records import OPERAND
from sim.functional.kernels.words import INTEGER, SINGLE, SMALL
from sim.hardware.precision import INTEGERS, acceptable
from sim.hardware.schema import ELEMENT_BITS

if TYPE_CHECKING:
    from sim.hardware import Hardware

Array = npt.NDArray[Any]

SMALL_FLOATS = {"fp16": (5, 10), "bf16": (8, 7)}
"""Exponent and fraction bits."""

OPERANDS = ("a", "b", "word", "c")
"""Operands of the load states 0, 1 and 2, and of stores: rows of ``State.operands``."""


def types_of(hw: Hardware, stored: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the element type in memory of each operand of a machine: "a", "b", "word" (other loads) and "c".

    ``stored``: types by operand if the bits alone are ambiguous. Raises InputError if they are and none is given, and
    for types of other bits.
    """
    given = dict(stored or {})
    problems: list[str] = []
    found: dict[str, str] = {}
    for name in sorted(given.keys() - OPERANDS):
        problems.append(f"operand {name!r}{did_you_mean(name, OPERANDS)}: one of {', '.join(OPERANDS)}")
    for operand in OPERANDS:
        bits = hw.bits(operand)
        able = [name for name in _candidates(hw, operand) if ELEMENT_BITS[name] == bits]
        if operand in given:
            able = [name for name in able if name == given[operand]]
        elif able and able[0] in _multiplied(hw, operand):
            able = able[:1]
        if len(able) == 1:
            found[operand] = able[0]
        elif operand in given:
            problems.append(f"{operand} as {given[operand]}: the program moves elements of {bits} bits of it")
        else:
            says = f'stored={{"{operand}": "{able[0]}"}}'
            problems.append(f"{operand} in {bits} bits may be {', '.join(able)}: choose one, e.g. {says}")
    if problems:
        raise InputError([f"{hw.name}: {problem}" for problem in problems])
    return found


def _multiplied(hw: Hardware, operand: str) -> tuple[str, ...]:
    """Return the possible types of an operand in the array, most likely first.

    "c" and other loads: that of the array.
    """
    own = hw.array.input_type
    if hw.words is None:
        return (own,)
    return {"a": (hw.words.a_type,), "b": (hw.words.b_type,), "c": (own,)}.get(
        operand, (own, hw.words.a_type, hw.words.b_type)
    )


def _candidates(hw: Hardware, operand: str) -> tuple[str, ...]:
    """Return the possible types of an operand in memory; an array of integers stores and copies all of them."""
    own = hw.array.input_type
    return tuple(dict.fromkeys((*_multiplied(hw, operand), own, *(INTEGERS if own in INTEGERS else acceptable(hw)))))


def table(hw: Hardware, types: Mapping[str, str]) -> npt.NDArray[np.void]:
    """Return OPERAND[4] for the compiled executor, one record for each of OPERANDS."""
    return np.array([record(hw, operand, types[operand]) for operand in OPERANDS], OPERAND)


def record(hw: Hardware, operand: str, kind: str) -> tuple[Any, ...]:
    """Return the fields of one operand's record: its type in memory, then the type multiplied."""
    own = hw.array.input_type
    inside = own if operand in ("word", "c") else _multiplied(hw, operand)[0]
    # an integer array takes these values unchanged: no narrowing
    narrows = operand in ("a", "b") and inside != kind and ELEMENT_BITS[inside] <= ELEMENT_BITS[kind]
    return int(kind == own), ELEMENT_BITS[kind], element(kind), int(narrows), element(inside)


def element(kind: str) -> tuple[int, int, int, int, int]:
    """Return the fields of the record ELEMENT of a type."""
    if kind.startswith("int"):
        top = 1 << (ELEMENT_BITS[kind] - 1)
        return INTEGER, 0, 0, -top, top - 1
    exponent, fraction = SMALL_FLOATS.get(kind, (8, 23))
    return SMALL if kind in SMALL_FLOATS else SINGLE, exponent, fraction, 0, 0


def encode(values: Array, kind: str) -> Array:
    """Return values as elements of a type: bits of 16-bit floats, else the numbers (int2 and int4 as int8)."""
    if kind == "bf16":
        bits = values.astype(np.float32).view(np.uint32)
        return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    if kind == "fp16":
        return values.astype(np.float16).view(np.uint16)
    return values.astype({"fp32": "float32", "int2": "int8", "int4": "int8"}.get(kind, kind))


def decode(stored: Array, kind: str) -> Array:
    """Return the values of elements as `encode` gives them: integers, or float32."""
    return decode_table(kind)[stored] if kind in SMALL_FLOATS else stored


def decode_table(kind: str) -> Array:
    """Return float32[65536]: the value of each 16-bit pattern of fp16 or bf16."""
    patterns = np.arange(1 << 16, dtype=np.uint32)
    if kind == "bf16":
        return (patterns << 16).view(np.float32)
    with np.errstate(invalid="ignore"):
        return patterns.astype(np.uint16).view(np.float16).astype(np.float32)


def pack(elements: Array, bits: int) -> npt.NDArray[np.uint8]:
    """Return adjacent elements of fewer than 8 bits as single bits, lowest first."""
    wide = elements.astype(np.int64)[..., None] >> np.arange(bits)
    return (wide & 1).astype(np.uint8)


def unpack(single: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return the signed elements of single bits [..., bits]."""
    bits = single.shape[-1]
    values = (single.astype(np.int64) << np.arange(bits)).sum(axis=-1)
    return np.asarray(np.where(values >> (bits - 1), values - (1 << bits), values))
