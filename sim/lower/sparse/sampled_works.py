"""From chosen scores, or N:M activations, to work items of an array whose PEs hold several weights each."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log2
from typing import TYPE_CHECKING

import numpy as np

from sim.base.errors import InputError
from sim.hardware import Hardware
from sim.lower.sparse import sampled
from sim.lower.sparse.applied import ALL_UNITS, Applied, Place
from sim.lower.sparse.blocks import BITS_PER_BYTE
from sim.lower.sparse.sampled_plan import choose_cut
from sim.lower.tiling import blocks_of
from sim.lower.work import Matmul, Operand, SampledMatmul
from sim.sparsity.masks import packing

if TYPE_CHECKING:
    from sim.graph import Op
    from sim.sparsity.edits.dynamic import Chosen
    from sim.sparsity.masks.zeros import ZeroRule


def attention(chosen: Chosen, op: Op, works: Sequence[Matmul], kept: Sequence[Operand], hw: Hardware) -> Applied:
    """Return a product whose result or operand is chosen scores. ``kept``: address of each head's bits.

    Raises InputError naming the options that a machine lacks, or the parts that do not fit.
    """
    support = hw.sparsity
    if hw.words is not None and hw.dim != hw.side:
        raise InputError(
            f"chosen scores in {hw.words.a_type} x {hw.words.b_type}: a PE that splits would select among the "
            f"weights of "
            f"each of its {hw.words.parts**2} parts, and {hw.name} has no wires for that (nearest: name others in "
            '[[precision]], array.pe = "fixed" or "bit_serial", or scheme = "skip")'
        )
    if not support.pack_and_split:
        raise InputError(
            f"chosen scores need a unit that packs them and PEs that select among several weights, which {hw.name} "
            "lacks (--set sparsity.pack_and_split=true --set sparsity.resident_weights=4 --set "
            f'sparsity.resident_reach="line", or --hw {ALL_UNITS}; scheme = "skip" needs neither)'
        )
    resident, reach = support.resident_weights, support.resident_reach
    queries, keys = chosen.masks.shape[1:]
    index_row = blocks_of(keys, BITS_PER_BYTE)
    items = []
    for work, bits, mask in zip(works, kept, chosen.masks, strict=True):
        counts = tuple(map(tuple, packing.sub_rows(mask, hw.dim, resident, reach).tolist()))
        items.append(
            SampledMatmul(work, chosen.picks, counts, resident, keys, bits.address, index_row, resident * hw.dim)
        )
    for item in items:
        sampled.check(item, hw)
        choose_cut(item, hw)
    done = int(chosen.masks.sum()) * (op.mnk[2] if chosen.picks == "outputs" else op.mnk[1])
    stored = (
        len(items) * queries * index_row if chosen.picks == "outputs" else 0
    )  # the bits of all heads are stored once
    return Applied(tuple(items), done, done, "sampled", stored)


def wanted(rule: ZeroRule, hw: Hardware) -> bool:
    """Whether a rule for activations requests packing: by name, or as N:M on a machine that supports it."""
    if rule.scheme:
        return rule.scheme == "select"
    return rule.pattern == "nm" and lacks(rule, hw) is None


def lacks(rule: ZeroRule, hw: Hardware) -> str | None:
    """Return the units that a machine lacks for N:M activations, with the options that would allow them."""
    keep, of = rule.group
    support = hw.sparsity
    needed = ceil(of / keep)
    if support.resident_weights >= (needed if support.resident_reach == "line" or keep == 1 else of):
        return None
    line = "" if keep == 1 else ' --set sparsity.resident_reach="line"'
    return (
        f"{rule} needs PEs that select among {of} weights: sparsity.resident_weights = "
        f"{support.resident_weights}, resident_reach = {support.resident_reach!r} on {hw.name} (nearest: --set "
        f"sparsity.resident_weights={needed}{line}, or --hw {ALL_UNITS})"
    )


def activations(rule: ZeroRule, op: Op, works: Sequence[Matmul], hw: Hardware, place: Place) -> Applied:
    """Return a product whose A is stored with N of each M values along K, and an index for each.

    Raises InputError for units that the machine lacks, and for groups that do not fill a row of PEs evenly.
    """
    if reason := lacks(rule, hw):
        raise InputError(reason)
    keep, of = rule.group
    m, n, k = op.mnk
    mask = rule.element_mask(op)
    if keep == of or bool(mask.all()):
        return Applied(tuple(works), op.batch * m * n * k, op.batch * m * n * k, "dense")
    if hw.dim % keep or of % keep:
        even = max(d for d in range(1, keep + 1) if hw.dim % d == 0 and of % d == 0)
        raise InputError(
            f"{rule}: {keep} values of each {of} must fill {hw.dim} rows of PEs and {of}/{keep} whole "
            f"blocks of weights (nearest: {even}:{of})"
        )
    resident = of // keep
    windows = blocks_of(k, resident * hw.dim)
    stored = blocks_of(k, of) * keep
    index_row = blocks_of(stored * ceil(log2(of)), BITS_PER_BYTE)
    address = place(m * index_row * op.batch)
    counts = ((1,) * windows,) * m
    items = tuple(
        SampledMatmul(
            work, "inputs", counts, resident, stored, address + number * m * index_row, index_row,
            hw.dim * ceil(log2(of)),
        )
        for number, work in enumerate(works)
    )  # fmt: skip
    for item in items[:1]:
        sampled.check(item, hw)
        choose_cut(item, hw)
    done = op.batch * int(np.count_nonzero(mask)) * n
    return Applied(items, done, done, "select", op.batch * m * index_row)
