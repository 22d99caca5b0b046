"""The unit that transforms blocks of a row and back: cycles, bytes and energy of FFT and IFFT of real numbers.

A transform of b real numbers takes b/4 * log2(b) radix-2 butterflies, half of those of b complex ones (Sorensen et al.,
Real-valued fast Fourier transform algorithms, IEEE TASSP 1987). ``sparsity.fft_butterflies_per_cycle`` of them run at
once. Reading, transforming and writing overlap, as in a pipelined streaming core (Xilinx PG109); the array waits.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import TYPE_CHECKING

from sim.base.errors import InputError
from sim.side_units.work import SideWork

if TYPE_CHECKING:
    from sim.graph import Op
    from sim.hardware import Hardware

BUTTERFLY_MACS = 5
"""Multiply-accumulates that cost the energy of a butterfly: a complex product and two complex sums are four of them and
two additions more, counted as a fifth."""


def butterflies(numbers: int, block: int) -> int:
    """Return the butterflies of all transforms of ``block`` in ``numbers`` real numbers."""
    return numbers // 4 * (block.bit_length() - 1)


def inverse_transform(op: Op, hw: Hardware, bits: Callable[[str], int]) -> SideWork:
    """Return the unit's work for an inverse transform, whose result is scaled at the store; as `transform`."""
    return transform(op, hw, bits, scaled=op.output.elements)


def transform(op: Op, hw: Hardware, bits: Callable[[str], int], *, scaled: int = 0) -> SideWork:
    """Return the unit's work for a transform. ``bits``: tensor -> bits of an element; ``scaled``: results scaled.

    Raises InputError without the unit, or with one too small.
    """
    support, block = hw.sparsity, op.attrs["block"]
    if not support.fft_butterflies_per_cycle or block > support.fft_block:
        have = f"one of blocks up to {support.fft_block}" if support.fft_butterflies_per_cycle else "none"
        rate = support.fft_butterflies_per_cycle or 64
        raise InputError(
            f"{op.kind} of blocks of {block} needs a transform unit, {hw.name} has {have} "
            f'(--set sparsity.fft_butterflies_per_cycle={rate} --set sparsity.fft_block={block}, or via = "direct")'
        )
    numbers = op.output.elements
    work = butterflies(numbers, block)
    read, write = (ceil(numbers * bits(view.tensor) / 8) for view in (op.inputs[0], op.output))
    busy = max(ceil(work / support.fft_butterflies_per_cycle), ceil(scaled / hw.dim))  # a scale unit per column
    loads = ceil(read / min(hw.dma.bus_bytes, hw.memory.read_bytes_per_cycle))
    stores = ceil(write / min(hw.dma.bus_bytes, hw.memory.write_bytes_per_cycle))
    store_wait = max(0, stores - busy) if stores > loads else 0
    load_wait = max(0, loads - busy) if loads >= stores else 0
    latency = hw.memory_latency_cycles
    return SideWork(
        busy + load_wait + store_wait + latency,
        multiplications=work * BUTTERFLY_MACS,
        read_bytes=read,
        write_bytes=write,
        scaled=scaled,
        load_wait_cycles=load_wait + latency,
        store_wait_cycles=store_wait,
    )
