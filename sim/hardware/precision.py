"""Arrays that multiply words narrower or wider than their input type: the machine for one pair of types.

A mode is a machine of its own: `machine` derives it; lowering and timing core treat it like any other.

============= ====================================================================================================
fixed         a narrow operand is widened at the load; the rate stays. With ``scratchpad.narrow_words`` rows hold
              words as wide as the wider operand: more rows of fewer bytes.
decomposable  a W x W multiplier splits into W/w along N (weights) and W/a along K (activations); the edge wires stay.
              The square array of that many parts a side takes parts^2 / (W/a * W/w) cycles a row: 1 if both are narrow,
              2 if one is half as wide. An operand of 2 W takes two passes. As Bit Fusion (Sharma et al., ISCA 2018).
bit_serial    activation bits are processed one after the other: a row takes ceil(a / serial_activation_bits) cycles,
times ceil(w / serial_weight_bits) if weights are serial, too (Stripes, MICRO 2016; Loom, DAC 2018); one
              wider than the input type takes two passes.
============= ====================================================================================================

Sums narrower than ``array.acc_type`` (``array.accumulates``): adders whose carries can be cut, as in sub-word SIMD
units, and more addressable rows. A row of sums takes fewer bits, so the accumulator holds more rows, and a row that is
read, added to or moved costs its bits; the array gives the same number of sums per cycle.

A row of a split array has ``parts`` times the sums; the accumulator takes in ``array.sums_per_cycle``, and if that is
one per column of PEs, a row takes at least ``parts`` cycles in, and out. Weights enter at the rate of rows.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil

from sim.base.errors import InputError
from sim.hardware.machine import Hardware, Words, serial_cycles
from sim.hardware.schema import ELEMENT_BITS, ELEMENT_BYTES

WIDENS = {
    "int4": ("int2",),
    "int8": ("int2", "int4"),
    "int16": ("int2", "int4", "int8"),
    "fp16": ("int2", "int4", "int8"),
    "bf16": ("int2", "int4", "int8"),
    "fp32": ("int2", "int4", "int8", "int16", "fp16", "bf16"),
}
"""Input type of an array -> types whose values it represents exactly (bf16 has 8 significant bits, as int8)."""

INTEGERS = ("int2", "int4", "int8", "int16")

INTEGERS_OF_SUMS = ("int8", "int16", "int32")


def acceptable(hw: Hardware) -> tuple[str, ...]:
    """Return the legal types of ``array.accepts`` on a machine."""
    own = hw.array.input_type
    if hw.array.pe == "fixed":
        return (own, *WIDENS.get(own, ()))
    return INTEGERS if own in INTEGERS else (own,)


def accepted(hw: Hardware) -> tuple[str, ...]:
    """Return the types that the array multiplies, its input type first."""
    return tuple(dict.fromkeys((hw.array.input_type, *hw.array.accepts)))


def summable(hw: Hardware) -> tuple[str, ...]:
    """Return the legal types of ``array.accumulates``.

    Integers narrower than the sums, at least as wide as the inputs.
    """
    if hw.array.acc_type not in INTEGERS_OF_SUMS:
        return ()
    return tuple(one for one in INTEGERS_OF_SUMS if hw.input_bytes <= ELEMENT_BYTES[one] < hw.acc_bytes)


def uncut(hw: Hardware) -> list[tuple[str, str, str]]:
    """Return illegal entries of ``array.accumulates``: type, requirement, nearest legal value."""
    able = summable(hw)
    among = ", ".join(able) or "nothing narrower"
    demand = f"adders of {hw.array.acc_type} behind {hw.array.input_type} PEs are cut into {among}"
    return [(name, demand, able[-1] if able else "[]") for name in hw.array.accumulates if name not in able]


def refusals(hw: Hardware, a_type: str, b_type: str, sum_type: str = "") -> list[str]:
    """Return why an array cannot multiply activations and weights of two types, or add them up in a third.

    Each reason has the option that would allow it. The names of the types have been checked before.
    """
    found = []
    if sum_type not in ("", hw.array.acc_type, *hw.array.accumulates):
        able = summable(hw)
        names = ", ".join(f'"{one}"' for one in (*hw.array.accumulates, sum_type))
        option = f"--set 'array.accumulates=[{names}]'" if sum_type in able else f'--set array.acc_type="{sum_type}"'
        found.append(
            f"sums in {sum_type}: {hw.name} adds up {', '.join((hw.array.acc_type, *hw.array.accumulates))} ({option})"
        )
    both = (("operands", a_type),) if a_type == b_type else (("activations", a_type), ("weights", b_type))
    for operand, name in both:
        if name in accepted(hw):
            continue
        able = acceptable(hw)
        if name in able:
            types = ", ".join(f'"{one}"' for one in (*hw.array.accepts, name))
            option = f"--set 'array.accepts=[{types}]'"
        elif name in INTEGERS and hw.array.input_type in INTEGERS:
            option = 'array.pe = "decomposable" or "bit_serial" takes wider integers; --hw gemmini_decomposable'
        else:
            option = f"nearest: {min(able, key=lambda one: _distance(one, name))}"
        found.append(
            f"{operand} in {name}: {hw.name} ({hw.array.pe} {hw.array.input_type} PEs) multiplies "
            f"{', '.join(accepted(hw))} ({option})"
        )
    return found


def _distance(one: str, other: str) -> tuple[int, bool]:
    kinds = one.startswith("int") != other.startswith("int")
    return abs(ELEMENT_BITS[one] - ELEMENT_BITS[other]), kinds


@lru_cache(maxsize=512)
def machine(hw: Hardware, a_type: str, b_type: str, stored: tuple[int, int, int], sum_type: str = "") -> Hardware:
    """Return the machine for an operator: its types of factors and sums, and the bits of A, B and C in memory.

    Returns ``hw`` itself if all types are its own ("": its own type of sums). Raises InputError for types that the
    array does not take, and if a split array leaves the memories too few rows.
    """
    own, kind, sums = 8 * hw.input_bytes, hw.array.input_type, sum_type or hw.array.acc_type
    if (a_type, b_type, sums) == (kind, kind, hw.array.acc_type) and set(stored) == {own}:
        return hw
    if problems := refusals(hw, a_type, b_type, sum_type):
        raise InputError(problems)
    a, b = ELEMENT_BITS[a_type], ELEMENT_BITS[b_type]
    parts, row_cycles = _mode(hw, a, b)
    narrow = hw.array.pe != "fixed" or hw.scratchpad.narrow_words
    word = max(a, b) if narrow else max(own, a, b)
    moded = hw.with_words(Words(*stored, word, parts, row_cycles, a_type, b_type, sums))
    if problems := _misfits(moded, f"{a_type} x {b_type}"):
        raise InputError(problems)
    return moded


def _mode(hw: Hardware, a: int, b: int) -> tuple[int, int]:
    """Return (parts per side, cycles per row) of an array for activations and weights of given bits."""
    own = 8 * hw.input_bytes
    if hw.array.pe == "bit_serial":
        return 1, max(serial_cycles(hw.array, a, b), ceil(max(a, b) / own))
    if hw.array.pe == "fixed":
        return 1, 1
    parts = max(1, own // a, own // b)
    row_cycles = parts**2 * a * b // own**2
    sums = hw.array.sums_per_cycle or hw.side
    return parts, max(row_cycles, ceil(hw.side * parts / sums))  # as `Hardware.sum_cycles`, of the split array


def most_parts(hw: Hardware) -> tuple[int, int]:
    """Return (parts along N, bits of weights) of a PE in the mode in which it holds most.

    (1, its own) if it cannot split.

    A PE that splits p-fold a side holds p x p weights of the narrower type.
    """
    own = 8 * hw.input_bytes
    bits = [ELEMENT_BITS[name] for name in accepted(hw)] if hw.array.pe == "decomposable" else [own]
    modes = [(_mode(hw, a, w)[0], w) for a in bits for w in bits]
    return max(parts for parts, _ in modes), max(parts**2 * w for parts, w in modes)


def _misfits(hw: Hardware, what: str) -> list[str]:
    found = []
    for key, rows in (("scratchpad", hw.sp_bank_rows), ("accumulator", hw.acc_bank_rows)):
        if rows < hw.dim:
            memory = getattr(hw, key)
            need = memory.capacity_bytes * ceil(hw.dim / max(rows, 1)) if rows else memory.capacity_bytes * hw.dim
            found.append(
                f"{what}: the array splits into {hw.dim} x {hw.dim}, a bank of the {key} holds {rows} rows of "
                f"{hw.dim}, fewer than a block (nearest: --set {key}.capacity={need}B)"
            )
    if hw.sp_rows // hw.dim - 2 < hw.acc_rows // hw.dim and not found:
        found.append(
            f"{what}: the scratchpad holds {hw.sp_rows // hw.dim} blocks, fewer than the accumulator's "
            f"{hw.acc_rows // hw.dim} and two (nearest: --set scratchpad.capacity={2 * hw.scratchpad.capacity_bytes}B)"
        )
    if (hw.dim * min(hw.bits(name) for name in Words._fields[:4])) % 8:
        found.append(f"{what}: a row of {hw.dim} such elements is no whole number of bytes")
    return found
