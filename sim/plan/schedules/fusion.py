"""Fusion: softmax or GELU, or the pooling after a convolution, applied by the array as it moves a result out.

The fusion is that of transformer.c: softmax into the matmul that computes its scores, GELU into the first feed-forward
matmul.
"""

from __future__ import annotations

from sim.base.errors import InputError
from sim.graph import Op
from sim.graph.kinds.sliding import OPTIONAL
from sim.lower.rows import widest
from sim.lower.tiling import TileMemory, blocks_of
from sim.plan.context import Planning

FUSABLE = {"softmax": ("matmul",), "gelu": ("matmul", "ifft"), "maxpool": ("conv", "depthwise_conv")}
"""Operator kinds that the array applies on move-out -> kinds into which they are fused."""

NO_COMMAND = {"rmsnorm": "the normaliser subtracts the mean of each row (NormCmd.scala), which RMSNorm does not"}
"""Operator kinds of normalised rows that the normaliser has no command for, and the reason."""

OF_SUMS = ("layernorm",)
"""Operator kinds that the library runs as passes over sums in memory."""

NORMALISED = ("softmax", *OF_SUMS, *NO_COMMAND)
"""Operator kinds that a schedule fuses, or runs as a separate pass."""


def pooling(op: Op, at: Planning) -> Op | None:
    """Return the max-pooling that the array applies while it moves the convolution's result out, or None."""
    consumers = at.graph.consumers(op.output.tensor)
    fits = at.hw.features.max_pool and len(consumers) == 1 and op.kind in FUSABLE.get(consumers[0].kind, ())
    if not fits or consumers[0].inputs != (op.output,):
        return None
    square = all(consumers[0].attrs[name] is None for name in OPTIONAL)
    return consumers[0] if square and op.attrs["stride_rows"] in (None, op.attrs["stride"]) else None


def fused(op: Op, at: Planning) -> Op | None:
    """Return the operator that the array applies while it moves the product's result out, or None.

    If a schedule requests more fusion than the library's, the reasons why it is impossible go to ``at.declined``.
    """
    schedule = at.schedule(op)
    found = _library(op, at)
    if "unfused" in schedule:
        return None if apart(op, at) is not None else found
    if found is not None or "fused" not in schedule:
        return found
    reader = _normalised(op, at)
    if reader is None:
        return None
    reason = _why_not(op, reader, at)
    if reason:
        at.decline(op, "fused", reason)
        at.decline(reader, "fused", reason)
        return None
    return reader


def apart(op: Op, at: Planning) -> Op | None:
    """Return the softmax of a product that the schedule "unfused" runs as a separate pass over the sums, or None."""
    found = _pair(op, at) if "unfused" in at.schedule(op) else None
    if found is None or not found.record.whole_rows:
        return None
    if at.chosen(op) is not None:
        at.decline(op, "unfused", "only chosen scores are computed, and stored packed")
        return None
    return found


def note_apart(op: Op, at: Planning) -> None:
    """Record why a normalisation that is a separate step is not fused although the schedule requests it."""
    if op.kind in NORMALISED and "fused" in at.schedule(op):
        makers = at.graph.producers(op.inputs[0].tensor)
        made = f"{makers[0].name}, a {makers[0].kind}, computes its rows" if makers else "its rows come from memory"
        at.decline(op, "fused", f"{made}; only rows of a product are in the accumulator")


def _library(op: Op, at: Planning) -> Op | None:
    """Return the operator that the library applies on move-out, or None."""
    reader = _pair(op, at)
    # Of chosen scores only the sub-rows must fit, which is checked when they are planned.
    fits = reader is None or not reader.record.whole_rows or whole_row_fits(op, at) or at.chosen(op) is not None
    return reader if fits else None


def _pair(op: Op, at: Planning) -> Op | None:
    """Return the operator that the array could apply on move-out if its rows fit, or None."""
    consumers = at.graph.consumers(op.output.tensor)
    if len(consumers) != 1 or op.attrs.get("activation", "none") != "none":
        return None
    (reader,) = consumers
    if op.kind not in FUSABLE.get(reader.kind, ()) or reader.kind not in at.hw.array_operators:
        return None
    if reader.record.whole_rows and at.sparsity is not None and at.graph.multiplies_weights(op):
        return None  # a router: whole rows of scores fit no product with zeros
    types = at.role(op.output) == "element" == at.role(reader.output)
    return reader if _alone(op, reader, at) and types else None


def _alone(op: Op, reader: Op, at: Planning) -> bool:
    """Return whether ``reader`` reads the whole result of ``op``, and no other operator does."""
    alone = len(at.graph.producers(op.output.tensor)) == 1 and reader.inputs[:1] == (op.output,)
    return alone and reader.output.shape == op.output.shape


def _normalised(op: Op, at: Planning) -> Op | None:
    """Return the softmax, LayerNorm or RMSNorm that reads a product, or None."""
    readers = [reader for reader in at.graph.consumers(op.output.tensor) if reader.kind in NORMALISED]
    return readers[0] if readers else None


def _why_not(op: Op, reader: Op, at: Planning) -> str:
    """Return why a product's rows cannot be normalised in the accumulator; "" if they can."""
    kind, hw = reader.kind, at.hw
    if kind in NO_COMMAND:
        return NO_COMMAND[kind]
    if kind not in hw.array_operators:
        return f"{kind} runs on the host of {hw.name}"
    if len(at.graph.consumers(op.output.tensor)) > 1:
        return f"operators other than {reader.name} read {op.output.tensor}, which must then be in memory"
    if op.attrs.get("activation", "none") != "none":
        return f"its result goes through {op.attrs['activation']} first, and only one of both is applied to a row"
    if not _alone(op, reader, at):
        return f"{reader.name} reads another window than the product writes"
    if kind in OF_SUMS and at.role(op.output) != "accumulator":
        return f"its result is rounded to {at.dtype(op.output)} before {reader.name} reads it; sums would not be"
    if at.role(reader.output) != "element":
        return f"the normaliser gives {hw.array.input_type}, not {at.dtype(reader.output)}"
    if at.sparsity is not None and at.graph.multiplies_weights(op):
        return "rows of a product under rules of sparsity are not whole in the accumulator"
    if hw.array.dataflow == "OS":
        return "normalised rows need dataflow WS, the array has only OS"
    return _too_wide(op, at)


def _too_wide(op: Op, at: Planning) -> str:
    """Return why rows do not fit even the whole accumulator; "" if they do."""
    if whole_row_fits(op, at) or op.output.cols <= widest(at.hw):
        return ""
    need = op.output.cols * at.hw.dim * at.hw.acc_bytes
    return (
        f"{at.hw.dim} rows of {op.output.cols:,} columns take {need:,} bytes of accumulator, which has "
        f"{at.hw.acc_rows * at.hw.dim * at.hw.acc_bytes:,} (nearest: accumulator.capacity_bytes = "
        f"{1 << (need - 1).bit_length()})"
    )


def whole_row_fits(op: Op, at: Planning) -> bool:
    """Return whether a row of blocks of the result fits into half of the accumulator, and its B into the scratchpad.

    tiled_matmul_auto normalises whole rows: tile I = 1, J = all, K = 1.
    """
    try:
        hw = at.words.machine(op, op.output)
    except InputError:  # the product is refused when it is planned
        hw = at.hw
    return TileMemory(hw, double_buffered=True).holds(1, blocks_of(op.output.cols, hw.dim), 1)
