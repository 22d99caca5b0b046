"""What the array applies while it moves a product's result out: softmax or GELU, or the pooling behind a convolution.

The fusion is that of transformer.c: softmax into the matmul that makes its scores, GELU into the first feed-forward
matmul.
"""

from __future__ import annotations

from sim.base.errors import InputError
from sim.graph import Op
from sim.graph.kinds.sliding import OPTIONAL
from sim.lower.tiling import Room, blocks_of
from sim.plan.context import Planning

FUSABLE = {"softmax": ("matmul",), "gelu": ("matmul", "ifft"), "maxpool": ("conv", "depthwise_conv")}
"""Operator kinds that the array applies on move-out, and the kinds that they are applied behind."""


def pooling(op: Op, at: Planning) -> Op | None:
    """Return the max-pooling that the array does while it moves the convolution's result out, or None."""
    consumers = at.graph.consumers(op.output.tensor)
    fits = at.hw.features.max_pool and len(consumers) == 1 and op.kind in FUSABLE.get(consumers[0].kind, ())
    if not fits or consumers[0].inputs != (op.output,):
        return None
    square = all(consumers[0].attrs[name] is None for name in OPTIONAL)
    return consumers[0] if square and op.attrs["stride_rows"] in (None, op.attrs["stride"]) else None


def fused(op: Op, at: Planning) -> Op | None:
    """Return the operator that the array applies while it moves the product's result out, or None."""
    consumers = at.graph.consumers(op.output.tensor)
    if len(consumers) != 1 or op.attrs.get("activation", "none") != "none":
        return None
    (reader,) = consumers
    if op.kind not in FUSABLE.get(reader.kind, ()) or reader.kind not in at.hw.array_operators:
        return None
    if reader.record.whole_rows and at.sparsity is not None and at.graph.multiplies_weights(op):
        return None  # a router: whole rows of scores fit no product with zeros
    alone = len(at.graph.producers(op.output.tensor)) == 1 and reader.inputs == (op.output,)
    types = at.role(op.output) == "element" == at.role(reader.output)
    if not (alone and types and reader.output.shape == op.output.shape):
        return None
    # Of chosen scores only the sub-rows must fit, which is seen when they are planned.
    return reader if not reader.record.whole_rows or whole_row_fits(op, at) or at.chosen(op) is not None else None


def whole_row_fits(op: Op, at: Planning) -> bool:
    """Return whether a row of blocks of the result fits into half of the accumulator, and its B into the scratchpad.

    tiled_matmul_auto normalises whole rows: tile I = 1, J = all, K = 1.
    """
    try:
        hw = at.words.machine(op, op.output)
    except InputError:  # refused when the product is planned
        hw = at.hw
    return Room(hw, double_buffered=True).holds(1, blocks_of(op.output.cols, hw.dim), 1)
