"""Side units: ranking, prediction of scores, choice among them. Cycles, bytes and energy.

None of them is in Gemmini's RTL; each is a rate that the machine declares under ``[sparsity]``. A side unit works
before the array does. With a predictor array of its own, masks of later heads are made while the main array computes
earlier heads (`sim.run.pipeline`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING

from sim.base.errors import InputError
from sim.side_units.port import port_bytes
from sim.side_units.work import SideWork

if TYPE_CHECKING:
    from sim.graph import Op, View
    from sim.hardware import Hardware

Bits = Callable[[str], int]
"""Function: tensor -> bits of an element in memory."""

RANKING_LOOKS = 3.39
"""Reads of each score ranked: comparisons of a quick-select for the median, 3.39 n (Knuth, vol. 3, 5.2.2)."""

THRESHOLD_LOOKS = 2
"""Reads of each score of a thresholded softmax: one for the sum of exponentials, one for the comparison."""


def top_k(op: Op, hw: Hardware, bits: Bits) -> SideWork:
    """Return the ranking of one row of scores that are not loaded for it. Raises InputError without the unit."""
    del bits  # nothing is read from memory
    looks = ceil(op.batch * op.inputs[0].cols * RANKING_LOOKS)
    return SideWork(ceil(looks / _ranking_rate(op, hw)), looks)


def mask(op: Op, hw: Hardware, bits: Bits) -> SideWork:
    """Return the choice among predicted scores, a bit each. Raises InputError without the unit.

    Scores predicted by the array are read from memory; a predictor passes its own on directly.
    """
    looks = op.inputs[0].elements * (RANKING_LOOKS if op.attrs["rule"] == "top_k" else THRESHOLD_LOOKS)
    read = 0 if hw.sparsity.predictor_macs_per_cycle else _bytes(op.inputs[0], bits)
    heads = op.batch if hw.sparsity.predictor_macs_per_cycle else 1
    work = SideWork(ceil(looks / _ranking_rate(op, hw)), ceil(looks), 0, read, op.output.elements, heads=heads)
    return _paced(work, hw)


def predict(op: Op, hw: Hardware, bits: Bits) -> SideWork:
    """Return the product of queries and keys in the predictor's array, with ``predictor_bits`` per operand.

    A multiplier's energy is assumed proportional to the product of its operands' widths.
    """
    macs = op.output.elements * op.inputs[0].cols
    width = 8 * hw.input_bytes
    energy = ceil(macs * hw.sparsity.predictor_bits**2 / width**2)
    read = sum(_bytes(view, bits) for view in op.inputs)
    work = SideWork(ceil(macs / hw.sparsity.predictor_macs_per_cycle), 0, energy, read, 0, heads=op.batch)
    return _paced(work, hw)


def _paced(work: SideWork, hw: Hardware) -> SideWork:
    """Return the work with the larger of its own cycles and the memory's."""
    read, write = port_bytes(hw, "read"), port_bytes(hw, "write")
    return replace(work, cycles=max(work.cycles, ceil(work.read_bytes / read), ceil(work.write_bytes / write)))


def _bytes(view: View, bits: Bits) -> int:
    return ceil(view.elements * bits(view.tensor) / 8)


def _ranking_rate(op: Op, hw: Hardware) -> int:
    if not hw.sparsity.top_k_per_cycle:
        raise InputError(
            f"{op.kind} needs a ranking unit (--set sparsity.top_k_per_cycle=16, or --hw gemmini_sparse); the host "
            "has no price for it"
        )
    return hw.sparsity.top_k_per_cycle
