"""From a rule and a mask to work items: a scheme applied to the zeros of one operator, or the reason why it is refused.

The units that a scheme needs are keys of the machine's TOML under ``[sparsity]``; a machine without them is refused
with the option that adds them. A matrix that a scheme would make larger is stored and run as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sim.base.errors import InputError
from sim.hardware import Hardware
from sim.lower.sparse import blocksparse, sampled_works
from sim.lower.sparse.applied import ALL_UNITS, Applied, Place
from sim.lower.sparse.blocks import BITS_PER_BYTE
from sim.lower.tiling import blocks_of
from sim.lower.work import BlockSparseMatmul, Matmul, PackedMatmul, Work
from sim.sparsity.masks import formats, packing, patterns
from sim.sparsity.masks.patterns import Mask

if TYPE_CHECKING:
    from sim.graph import Graph, Op
    from sim.sparsity.edits.compress import Compression
    from sim.sparsity.masks.zeros import ZeroRule
    from sim.sparsity.rules import Rules


@dataclass(frozen=True)
class Stored:
    """Work items, ``weights`` that are not zero, ``switched`` ones that multipliers compute, bytes of index.

    Without gating a zero that is computed switches its multiplier like any other weight.
    """

    works: tuple[Work, ...]
    weights: int
    switched: int
    scheme: str
    metadata_bytes: int = 0


def apply_rules(
    sparsity: Rules, op: Op, works: Sequence[Matmul], graph: Graph, hw: Hardware, place: Place
) -> Applied | None:
    """Return the operator under the rules for its weights and activations, None if there are none.

    Raises InputError for schemes that the machine has no unit for.
    """
    weights = sparsity.rule_for(op, graph, "weights")
    activations = sparsity.rule_for(op, graph, "activations")
    compression = sparsity.compression_for(op, graph)
    if weights is None and activations is None and compression is None:
        return None
    unpacked = ""
    if activations is not None and sampled_works.wanted(activations, hw):
        if weights is not None or compression is not None:
            other = weights or compression
            raise InputError(f"{activations} and {other}: one operand of a product is packed, not both")
        try:
            return sampled_works.activations(activations, op, works, hw, place)
        except InputError as error:
            if activations.scheme:
                raise
            unpacked = f"; packing is refused: {error.problems[0]}"
    m, n, k = op.mnk
    found = Stored(tuple(works), k * n, k * n, "dense")
    if compression is not None:
        if weights is not None:
            raise InputError(f"{weights} and {compression.kind}: the weights of one operator are stored in one way")
        found = _compressed(compression, op, works, hw, place)
    elif weights is not None:
        found = apply_scheme(weights, op, works, hw, place)
    result = Applied(
        found.works, op.batch * m * found.weights, op.batch * m * found.switched, found.scheme, found.metadata_bytes
    )
    return result if activations is None else _gated(activations, weights, op, result, hw, unpacked)


def _gated(rule: ZeroRule, weights: ZeroRule | None, op: Op, step: Applied, hw: Hardware, unpacked: str) -> Applied:
    """Return the operator with multipliers gated by zeros among its activations, which does not affect time.

    ``unpacked``: why they are not packed instead, if that is the default.
    """
    if rule.scheme not in ("", "gate"):
        raise InputError(
            f"{rule}: activations are either multiplied with gating (gate) or stored packed as N:M (select)"
        )
    if not gates(hw, "activations"):
        option = "both" if gates(hw, "weights") else "activations"
        lacks = sampled_works.lacks(rule, hw) if rule.pattern == "nm" else None
        packed = f"; or {lacks}" if lacks else unpacked
        raise InputError(
            f"{rule} needs multipliers gated by zeros among activations, which {hw.name} does not have "
            f'(--set sparsity.gating="{option}", or --hw {ALL_UNITS}){packed}'
        )
    mask = rule.element_mask(op)
    used = np.full(op.mnk[2], op.mnk[1]) if weights is None else weights.element_mask(op).sum(axis=1)
    done = op.batch * int(mask.sum(axis=0) @ used)
    switched = done if gates(hw, "weights") else op.batch * int(np.count_nonzero(mask)) * op.mnk[1]
    scheme = "gate" if step.scheme == "dense" else step.scheme
    return Applied(step.works, done, min(switched, step.macs_switched), scheme, step.metadata_bytes)


def apply_scheme(rule: ZeroRule, op: Op, works: Sequence[Matmul], hw: Hardware, place: Place) -> Stored:
    """Return the work items of ``op`` under a rule for its weights. Raises InputError with every reason against it."""
    scheme = choose(rule, hw)
    mask = rule.element_mask(op)
    if bool(mask.all()):
        return Stored(tuple(works), mask.size, mask.size, "dense")
    if scheme in ("skip", "scheduler"):
        return _skipped(mask, works, hw, place, scheme)
    if scheme in ("select", "pack"):
        return _packed(rule, mask, works, hw, place, scheme)
    if scheme == "gate":
        return Stored(tuple(works), int(np.count_nonzero(mask)), int(np.count_nonzero(mask)), scheme)
    return _stored(mask, works, hw, place, scheme)


def choose(rule: ZeroRule, hw: Hardware) -> str:
    """Return the scheme of a rule on a machine. Raises InputError naming the option that is missing."""
    support = hw.sparsity
    decoders = [form for form in formats.SPARSE_FORMATS if form in support.decoder]
    if rule.scheme:
        if reason := _lacks(rule, rule.scheme, hw):
            raise InputError(reason)
        return rule.scheme
    if rule.pattern in ("block", "measured"):
        return "skip"
    if rule.pattern == "nm":
        if reason := _lacks(rule, "select", hw):
            raise InputError(reason)
        return "select"
    able = {"pack": support.select_inputs >= 2, "compress": bool(decoders), "gate": gates(hw, "weights")}
    for scheme, there in able.items():
        if there:
            return scheme
    raise InputError(
        f"{rule} needs a unit for single zeros, which {hw.name} does not have: operand selection "
        "(sparsity.select_inputs, sparsity.fetch_rows), a decoder (sparsity.decoder) or sparsity.gating; "
        f"--hw {ALL_UNITS} has them all, and unstructured:D/skip needs none"
    )


def gates(hw: Hardware, operand: str) -> bool:
    """Return whether zeros of an operand gate multipliers."""
    return hw.sparsity.gating in (operand, "both")


def _lacks(rule: ZeroRule, scheme: str, hw: Hardware) -> str | None:
    """Return the units that a machine lacks for a scheme, with the option that would allow it."""
    support = hw.sparsity
    has_all = f"or --hw {ALL_UNITS}"
    if scheme == "select":
        of = rule.group[1]
        if support.select_inputs < of:
            fetch = 1
            while fetch * hw.dim < of or (fetch < of / rule.group[0] and fetch < hw.loop_max_block_len):
                fetch *= 2
            if fetch > hw.loop_max_block_len:
                most = hw.loop_max_block_len * hw.dim
                return f"{rule}: a group of {of} activations is more than one load of {hw.name} holds (at most {most})"
            return (
                f"{rule} needs PEs that select among {of} activations: sparsity.select_inputs = "
                f"{support.select_inputs} "
                f"on {hw.name} (nearest: --set sparsity.select_inputs={of} --set sparsity.fetch_rows={fetch}, "
                f"{has_all})"
            )
        return None
    needs = {
        "pack": (support.select_inputs >= 2, "operand selection", "sparsity.select_inputs=16"),
        "gate": (gates(hw, "weights"), "multipliers gated by zeros", 'sparsity.gating="weights"'),
        "scheduler": (support.block_scheduler, "a block scheduler", "sparsity.block_scheduler=true"),
        "compress": (bool(support.decoder), "a decoder in the load path", 'sparsity.decoder=["bitmap"]'),
    }
    for form in formats.SPARSE_FORMATS:
        needs[form] = (form in support.decoder, f"a {form} decoder in the load path", f'sparsity.decoder=["{form}"]')
    there, unit, option = needs.get(scheme, (True, "", ""))
    return None if there else f"{rule}/{scheme} needs {unit}, which {hw.name} does not have (--set {option}, {has_all})"


def _checked(work: BlockSparseMatmul | PackedMatmul, hw: Hardware) -> None:
    blocksparse.check(work, hw)


def _skipped(mask: Mask, works: Sequence[Matmul], hw: Hardware, place: Place, scheme: str) -> Stored:
    blocks, weights = patterns.touched(mask, hw.dim), int(np.count_nonzero(mask))
    if bool(blocks.all()):  # no block to skip: hardware loops run it
        return Stored(tuple(works), weights, weights if gates(hw, "weights") else mask.size, "dense")
    rows = tuple(map(tuple, blocks.tolist()))
    index_bytes = blocksparse.index_bytes(rows)
    computed = patterns.weights_in(blocks, hw.dim, (mask.shape[0], mask.shape[1]))
    address = place(index_bytes)
    sparse = [BlockSparseMatmul(work, rows, address, weights, scheme == "scheduler") for work in works]
    _checked(sparse[0], hw)
    switched = weights if gates(hw, "weights") else computed
    return Stored(tuple(sparse), weights, switched, scheme, index_bytes)


def by_blocks(works: Sequence[Matmul], hw: Hardware, place: Place) -> tuple[Work, ...]:
    """Return dense products in the order of block-sparse ones, without an index; empty if that is refused."""
    shape = (blocks_of(works[0].k, hw.dim), blocks_of(works[0].n, hw.dim))
    full = ((True,) * shape[1],) * shape[0]
    items = tuple(BlockSparseMatmul(work, full, place(1), indexed=False) for work in works)
    try:
        _checked(items[0], hw)
    except InputError:
        return ()
    return items


def _packed(rule: ZeroRule, mask: Mask, works: Sequence[Matmul], hw: Hardware, place: Place, scheme: str) -> Stored:
    window = rule.group[1] if scheme == "select" else hw.sparsity.select_inputs
    if scheme == "select" and not patterns.n_of_m(mask, *rule.group):
        raise InputError(f"{rule}: the mask has groups of {rule.group[1]} with more than {rule.group[0]} weights")
    keep = rule.group[0] if scheme == "select" else None
    found = packing.best(mask, hw.dim, hw.sparsity.fetch_rows, window, keep)
    value_bits = hw.bits("b")
    weights = int(np.count_nonzero(mask))
    dense_rows = mask.shape[0] * blocks_of(mask.shape[1], hw.dim)
    index_bits = int(found.rows.sum()) * found.row_index_bits
    loaded = found.padded_rows(hw.dim, hw.loop_max_block_len) * hw.dim * value_bits + index_bits
    if loaded >= dense_rows * hw.dim * value_bits:
        return Stored(tuple(works), weights, weights if gates(hw, "weights") else mask.size, "dense")
    packed_rows = int(found.rows.sum())
    index_bytes = blocks_of(packed_rows * found.row_index_bits, BITS_PER_BYTE)
    # Each part of the matrix begins its index on a fresh scratchpad row: at most one row of slack per group and column.
    address = place(index_bytes + found.rows.size * hw.sp_row_bytes)
    rows = tuple(map(tuple, found.rows.tolist()))
    packed = [
        PackedMatmul(work, rows, found.depth, found.fetch_rows, found.row_index_bits, address, weights)
        for work in works
    ]
    _checked(packed[0], hw)
    switched = weights if gates(hw, "weights") else min(mask.size, packed_rows * hw.dim)
    return Stored(tuple(packed), weights, switched, scheme, index_bytes)


def _stored(mask: Mask, works: Sequence[Matmul], hw: Hardware, place: Place, scheme: str) -> Stored:
    value_bits = hw.bits("b")
    able = [form for form in formats.SPARSE_FORMATS if form in hw.sparsity.decoder]
    forms = able if scheme == "compress" else [scheme]
    sizes = {form: formats.block_bits(mask, hw.dim, value_bits, form) for form in forms}
    form = min(sizes, key=lambda name: int(sizes[name].sum()))
    weights = int(np.count_nonzero(mask))
    switched = weights if gates(hw, "weights") else mask.size
    if int(sizes[form].sum()) >= mask.size * value_bits:
        return Stored(tuple(works), weights, switched, "dense")
    stored = expanded(works, sizes[form], weights, hw, place)
    metadata = blocks_of(int(sizes[form].sum()) - weights * value_bits, BITS_PER_BYTE)
    return Stored(stored, weights, switched, form, metadata)


def _compressed(compression: Compression, op: Op, works: Sequence[Matmul], hw: Hardware, place: Place) -> Stored:
    compression = compression.fitted(op, hw.sparsity.decoder, hw.dim, hw.bits("b"))
    if compression.kind not in hw.sparsity.decoder:
        raise InputError(
            f"{compression.kind} weights need a decoder in the load path, which {hw.name} does not have "
            f'(--set sparsity.decoder=["{compression.kind}"] --set sparsity.decoder_elements_per_cycle={hw.dim}, '
            f"or --hw {ALL_UNITS})"
        )
    value_bits = hw.bits("b")
    bits = compression.block_bits(op, hw.dim, value_bits)
    weights = op.mnk[1] * op.mnk[2]
    if int(bits.sum()) >= weights * value_bits:
        return Stored(tuple(works), weights, weights, "dense")
    stored = expanded(works, bits, weights, hw, place, compression.block if compression.kind == "circulant" else 0)
    return Stored(stored, weights, weights, compression.kind, compression.table_bytes(value_bits))


def expanded(
    works: Sequence[Matmul], bits: formats.Bits, weights: int, hw: Hardware, place: Place, circulant: int = 0
) -> tuple[PackedMatmul, ...]:
    """Return work items whose B is expanded by the load path from ``bits`` per block of the array.

    ``circulant``: size of the stored circulants, 0 = none.
    """
    depth = hw.dim
    k = works[0].k
    rows = tuple((min(depth, k - row * depth),) * bits.shape[1] for row in range(bits.shape[0]))
    # Padding: every block to whole bytes per row, every load to whole beats; it may begin inside a circulant.
    lead = hw.packed_bytes(hw.dim, "b") if circulant else 0
    slack = bits.size * (hw.dim + hw.dma.bus_bytes + lead)
    address = place(blocks_of(int(bits.sum()), BITS_PER_BYTE) + slack)
    by_block = tuple(map(tuple, bits.tolist()))
    items = tuple(PackedMatmul(work, rows, depth, 1, 0, address, weights, by_block, circulant) for work in works)
    _checked(items[0], hw)
    return items
