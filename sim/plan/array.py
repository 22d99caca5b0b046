"""Operators on the array: the work items of each operator kind that it runs, or the reason why it cannot.

Types: int8 in a graph is the machine's element type and int32 its accumulator type, so that the integer encoder graphs
also run on a floating-point array (which then needs no quantisation).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from typing import Any

from sim.base.errors import InputError
from sim.graph import Op, View
from sim.graph.kinds.sliding import padding_of, stride_of, window_results
from sim.hardware import Hardware
from sim.lower import check
from sim.lower.polynomials import GELU_BERT_SCALE, SOFTMAX_BERT_SCALE
from sim.lower.sparse import sampled_works
from sim.lower.sparse import works as sparse_works
from sim.lower.split import cut
from sim.lower.tiling import TileMemory, blocks_of
from sim.lower.work import DEFAULT_SCALE, Conv, Matmul, Norm, Operand, ResidualAdd, RowsMatmul, Work
from sim.plan import by_hand
from sim.plan.context import Planning
from sim.plan.step import ArrayStep, Fallback, Step
from sim.plan.word_sizes import runs_of

ON_MOVE_OUT = {"softmax": "softmax", "gelu": "igelu", "layernorm": "layernorm"}
"""The library's names of the activations that the array applies to a result."""

BERT_SCALES = {"softmax": SOFTMAX_BERT_SCALE, "igelu": GELU_BERT_SCALE}

MAX_ELEMENTS_PER_CALL = 1 << 24
"""Elements of one call that passes over rows (4,096 rows of 4,096).

Rows that the accumulator cannot hold take a command for every five elements: one program for all heads of 4,096 tokens
would have 13 million commands, at 32,768 tokens a billion.
"""

SCALES = {"layernorm": Norm.scale}
"""Scales of normalised rows that a product stores: those of a separate pass, not the default of products."""


def matmul(op: Op, at: Planning, fused: Op | None) -> list[Step]:
    """Return a product with the operator fused into it."""
    output = fused.output if fused else op.output
    activation = ON_MOVE_OUT[fused.kind] if fused else op.attrs["activation"]
    _refuse_types(op, at, output, activation)
    machine = at.machine(op, output)
    if op.name in at.words.sums and activation in ("softmax", "igelu"):
        at.refuse(
            op,
            f"sums in {at.words.sums[op.name]} with {activation}: the I-BERT units take {at.hw.array.acc_type} "
            "only (nearest: leave sums out of its [[precision]])",
        )
    dataflow = _dataflow(op, at, activation, machine)
    if at.is_refused(op):
        return []
    works = _matmul_works(op, at, output, activation, dataflow)
    m, n, k = op.mnk
    kind = f"{op.kind}+{fused.kind}" if fused else op.kind
    useful = op.macs - op.batch * m * n * at.words.taken.get(op.name, 0)
    macs, covers = (useful, useful, op.macs), (fused.name,) if fused else ()
    step = ArrayStep(op.name, kind, op.layer, m, n, k, op.batch, works, *macs, machine=machine, covers=covers)
    if fused is not None and "fused" in at.schedule(op):
        step = _in_rows(step, at, activation)
    return [_sparse(op, at, step)]


def _in_rows(step: ArrayStep, at: Planning, activation: str) -> ArrayStep:
    """Return a fused product under its schedule: by hardware loops, in strips of DIM rows, or the faster of both.

    Rows wider than half of the accumulator are in strips; softmax that fits is the library's.
    """
    hw = step.machine or at.hw
    wide = not TileMemory(hw, double_buffered=True).holds(1, blocks_of(step.n, hw.dim), 1)
    if activation not in ("softmax", "layernorm") or (activation == "softmax" and not wide):
        return step
    works = _strips([work.product for work in step.works], at, hw)
    strips, loops = replace(step, works=works, schedule="fused, in strips"), replace(step, schedule="fused")
    try:
        check(works[0], hw)
    except InputError:
        return strips if wide else loops
    return strips if wide else replace(loops, others=(strips,))


def _strips(works: list[Matmul], at: Planning, hw: Hardware) -> tuple[RowsMatmul, ...]:
    """Return products in strips.

    A transposed B is first stored in the order of multiplication, at one address for all repetitions.
    """
    first = works[0]
    if not first.transpose_b or hw.bits("b") != hw.bits("c"):
        return tuple(map(RowsMatmul, works))
    identity = Operand(at.place_index(first.k * hw.packed_bytes(first.k, "a")), first.k)
    turned = Operand(at.place_index(first.k * hw.packed_bytes(first.n, "c")), first.n)
    return tuple(RowsMatmul(work, identity, turned) for work in works)


def _refuse_types(op: Op, at: Planning, output: View, activation: str) -> None:
    hw = at.hw
    if activation == "relu" and not hw.features.nonlinear_activations:
        at.refuse(op, "relu needs features.nonlinear_activations = true")
    for view in op.inputs[:2]:
        if at.role(view) != "element":
            rule = f"the array multiplies {hw.array.input_type} (written int8 in integer graphs)"
            at.refuse(op, f"operand {view.tensor} is {at.dtype(view)}; {rule}")
    if len(op.inputs) > 2 and at.role(op.inputs[2]) != "accumulator" and not at.floats:
        bias = at.dtype(op.inputs[2])
        at.refuse(op, f"the bias is {bias}; it must be {hw.array.acc_type} (int32 in integer graphs)")
    if at.role(output) == "other":
        at.refuse(op, f"the result is {at.dtype(output)}, not {hw.array.input_type} or {hw.array.acc_type}")


def _dataflow(op: Op, at: Planning, activation: str, machine: Hardware | None) -> str:
    """Return the requested dataflow, but WS for transposed operands, normalised rows (library.

    No OS) and other word sizes.
    """
    only_ws = op.attrs["transpose_a"] or op.attrs["transpose_b"] or activation in ("softmax", "layernorm")
    dataflow = "WS" if only_ws or machine is not None else at.dataflow
    if at.hw.array.dataflow not in (dataflow, "BOTH"):
        at.refuse(op, f"it needs dataflow {dataflow}, the array has only {at.hw.array.dataflow}")
    return dataflow


def _matmul_works(op: Op, at: Planning, output: View, activation: Any, dataflow: Any) -> tuple[Matmul, ...]:
    """Return a work item for each repetition of a product; they differ in the addresses of the operands only."""
    m, n, k = op.mnk
    bias = op.inputs[2] if len(op.inputs) > 2 else None
    fields: dict[str, Any] = {
        "bias": "none" if bias is None else "row" if op.attrs["repeating_bias"] else "full",
        "transpose_a": op.attrs["transpose_a"],
        "transpose_b": op.attrs["transpose_b"],
        "activation": activation,
        "full_c": at.role(output) == "accumulator",
        "dataflow": dataflow,
        "bert_scale": BERT_SCALES.get(activation, DEFAULT_SCALE),
        "scale": SCALES.get(activation, DEFAULT_SCALE),
    }
    a, b, c, *d = (at.operands(view, op.batch) for view in (*op.inputs[:2], output, *op.inputs[2:]))
    biases = d[0] if d else [None] * op.batch
    items = (Matmul(m, n, k, *places, **fields) for places in zip(a, b, c, biases, strict=True))
    return tuple(by_hand.mapped(item, op.name, at.mapping) for item in items)


def _sparse(op: Op, at: Planning, dense: ArrayStep) -> Step:
    """Return the step of an operator whose zeros the machine uses, with its dense programs as alternatives.

    Sparse and dense are compared in the same order of work: under rules for zeros, and under "dense", a product takes
    the shorter of the library's program and the program that skips blocks, here with no block to skip.
    """
    if at.sparsity is None:
        return dense

    works, hw = [work.product for work in dense.works if work.product is not None], dense.machine or at.hw
    try:
        chosen = at.chosen(op)
        if chosen is None:
            found = sparse_works.apply_rules(at.sparsity, op, works, at.graph, hw, at.place_index)
        else:
            bits = View.whole(at.graph.tensors[chosen.kept])
            kept = [at.operand(bits, b) for b in range(op.batch)]
            found = sampled_works.attention(chosen, op, works, kept, hw)
    except InputError as error:
        for problem in error.problems:
            at.refuse(op, problem)
        return dense
    sparse = replace(dense, **vars(found)) if found is not None else dense
    return replace(sparse, others=_others(op, at, dense, sparse))


def _others(op: Op, at: Planning, dense: ArrayStep, sparse: ArrayStep) -> tuple[ArrayStep, ...]:
    """Return the programs of a whole product with weights that the run may use instead of ``sparse``.

    None for a mapping by hand, for weights that are stored smaller, and for packed activations.
    """
    rules, as_dense = at.sparsity, sparse.works == dense.works
    if rules is None or not rules.compares or not at.graph.multiplies_weights(op):
        return ()
    stored = any(work.is_stored_smaller for work in sparse.works)
    packed = not as_dense and rules.rule_for(op, at.graph, "activations") is not None
    if stored or packed or any(by_hand.names(pattern, op.name) for pattern in at.mapping):
        return ()
    hw, whole = dense.machine or at.hw, sparse
    if not as_dense:
        switched = sparse.macs_done if sparse_works.gates(hw, "weights") else dense.macs_switched
        whole = replace(dense, macs_done=sparse.macs_done, macs_switched=switched, scheme="dense")
    products = [work.product for work in dense.works if work.product is not None]
    works = sparse_works.by_blocks(products, hw, at.place_index)
    found = [replace(whole, works=works)] if works else []
    return (whole, *found) if whole is not sparse else tuple(found)


def conv(op: Op, at: Planning, pool: Op | None) -> list[Step]:
    """Return the convolution with the pooling after it; units that the machine lacks are reported by the check.

    Each group is a program. In a depth-wise convolution a hardware loop computes one channel (tiled_conv_dw).
    """
    wrong = {at.dtype(v) for v in (*op.inputs[:2], op.output) if at.role(v) != "element"}
    for dtype in sorted(wrong):
        at.refuse(op, f"the array convolves {at.hw.array.input_type} (int8 in integer graphs), not {dtype}")
    output = (pool or op).output
    machine = at.machine(op, output)
    if at.is_refused(op):
        return []
    groups = op.attrs.get("groups", 1)
    items = [_conv_work(op, at, output, pool, group, groups) for group in range(groups)]
    if op.attrs["stride_rows"] not in (None, op.attrs["stride"]):
        items = [row for item in items for row in _row_by_row(item, op, output, at)]
    works = tuple(by_hand.mapped(item, op.name, at.mapping) for item in items)
    kind = f"{op.kind}+maxpool" if pool else op.kind
    macs, covers = (op.macs,) * 3, (pool.name,) if pool else ()
    return [ArrayStep(op.name, kind, op.layer, *op.mnk, 1, works, *macs, machine=machine, covers=covers)]


def _row_by_row(item: Conv, op: Op, output: View, at: Planning) -> Iterator[Conv]:
    """Yield a program for each row of results: the hardware loop has one stride, which here is that along columns.

    ``item``: the whole convolution, whose number of rows is not that of its results.
    """
    (above, _), (stride, _) = padding_of(op.attrs), stride_of(op.attrs)
    high = 1 + item.kernel_dilation * (item.rows_of_kernel - 1)
    rows, cols = window_results(op.attrs)
    for image, row in product(range(item.batch), range(rows)):
        first = row * stride - above
        seen = range(max(0, first), min(item.in_rows, first + high))
        pixel = (image * item.in_rows + seen.start) * item.in_cols
        yield replace(
            item,
            batch=1,
            in_rows=len(seen),
            padding_rows=seen.start - first,
            padding_rows_end=first + high - seen.stop,
            x=_moved(item.x, pixel, at.words.of(op.inputs[0].tensor)),
            c=_moved(item.c, (image * rows + row) * cols, at.words.of(output.tensor)),
        )


def _moved(place: Operand, pixels: int, bits: int) -> Operand:
    """Return an operand that begins some pixels later."""
    return replace(place, address=place.address + pixels * place.row_stride * bits // 8)


def _conv_work(op: Op, at: Planning, output: View, pool: Op | None, group: int, groups: int) -> Conv:
    image, weights, *bias = op.inputs
    attrs = op.attrs
    ins, outs = image.cols // groups, op.output.cols // groups
    return Conv(
        batch=image.rows // (attrs["in_rows"] * attrs["in_cols"]),
        in_rows=attrs["in_rows"],
        in_cols=attrs["in_cols"],
        in_channels=ins,
        out_channels=outs,
        kernel=attrs["kernel"],
        x=_channels(image, group * ins, at),
        weights=_channels(weights, group * outs, at),
        c=_channels(output, group * outs, at),
        bias=_channels(bias[0], group * outs, at) if bias else None,
        stride=attrs["stride"],
        padding=attrs["padding"],
        kernel_dilation=attrs["dilation"],
        activation=attrs["activation"],
        pool_size=pool.attrs["kernel"] if pool else 0,
        pool_stride=pool.attrs["stride"] if pool else 0,
        pool_padding=pool.attrs["padding"] if pool else 0,
        kernel_rows=attrs["kernel_rows"],
        padding_rows=attrs["padding_rows"],
        padding_end=attrs["padding_end"],
        padding_rows_end=attrs["padding_rows_end"],
        depthwise=op.record.multiplies == "channel windows",
    )


def _channels(view: View, first: int, at: Planning) -> Operand:
    """Return the columns of a view from ``first`` on as an operand."""
    return at.operand(replace(view, offset=view.offset + first), 0)


# Operators that run on the host if the array cannot run them


def norm(op: Op, at: Planning) -> list[Step] | Fallback:
    """LayerNorm or softmax as passes over rows in the accumulator."""
    x, y = op.inputs[0], op.output
    if op.kind not in at.hw.array_operators:
        return no_unit(op, at)
    if at.role(x) == "other" or at.role(y) != "element":
        return Fallback(
            f"the normaliser takes {at.hw.array.acc_type} or {at.hw.array.input_type} and gives "
            f"{at.hw.array.input_type}, not {at.dtype(x)} to {at.dtype(y)}"
        )
    low = at.role(x) == "element"
    if all(view.batch_stride == view.rows * view.row_stride for view in (x, y)):  # one pass over all repetitions
        x, y = (replace(view, batch=1, rows=view.batch * view.rows) for view in (x, y))
    works: list[Work] = []
    for b in range(x.batch):
        item = Norm(x.rows, x.cols, op.kind, at.operand(x, b), at.operand(y, b), low_x=low)  # type: ignore[arg-type]
        works += [by_hand.mapped(part, op.name, at.mapping) for part in in_calls(item, at.hw)]
    return _rows(op, at, works)


def in_calls(item: Norm, hw: Hardware) -> list[Norm]:
    """Return a pass over rows as calls of the library, each over at most `MAX_ELEMENTS_PER_CALL` elements."""
    return cut(item, -(-item.rows * item.cols // MAX_ELEMENTS_PER_CALL), hw, rows=True)


def residual_add(op: Op, at: Planning) -> list[Step] | Fallback:
    """A sum of two operands, or a copy of one, through the accumulator."""
    if "residual_add" not in at.hw.array_operators:
        return no_unit(op, at)
    views = (*op.inputs, op.output)
    if wrong := [at.dtype(view) for view in views if at.role(view) != "element"]:
        return Fallback(f"the array adds and copies {at.hw.array.input_type} (int8 in integer graphs), not {wrong[0]}")
    if any(view.cols != op.output.cols for view in op.inputs):
        return Fallback("the array adds whole rows, not one number to each row")
    rows, cols, relu = op.output.rows, op.output.cols, op.attrs.get("activation") == "relu"
    works: list[Work] = []
    for b in range(op.batch):
        x, *y, z = (at.operand(view, b) for view in views)
        item = ResidualAdd(rows, cols, x, y[0] if y else None, z, relu)
        works.append(by_hand.mapped(item, op.name, at.mapping))
    return _rows(op, at, works)


def gather(op: Op, at: Planning) -> list[Step] | Fallback:
    """Copies of columns through the accumulator, one for each run of adjacent ones."""
    if "residual_add" not in at.hw.array_operators:
        return no_unit(op, at)
    works: list[Work] = []
    for b in range(op.batch):
        place = 0
        for run in runs_of(op.attrs["columns"]):
            taken = replace(op.inputs[0], offset=op.inputs[0].offset + run[0])
            put = replace(op.output, offset=op.output.offset + place)
            works.append(ResidualAdd(op.output.rows, len(run), at.operand(taken, b), None, at.operand(put, b)))
            place += len(run)
    return _rows(op, at, works)


def _rows(op: Op, at: Planning, works: list[Work]) -> list[Step] | Fallback:
    """Return a pass over rows as a step, or the reason why the machine cannot run it."""
    machine = at.machine(op, op.output)
    try:
        check(works[0], machine or at.hw)
    except InputError as error:
        if any(by_hand.names(pattern, op.name) for pattern in at.mapping):
            for problem in error.problems:
                at.refuse(op, problem)
            return []
        return Fallback("; ".join(error.problems))
    sizes = (op.output.rows, op.output.cols, 0, op.batch)
    return [ArrayStep(op.name, op.kind, op.layer, *sizes, works=tuple(works), machine=machine)]


def only_fused(op: Op, at: Planning) -> Fallback:
    """Return why a GELU that is not fused into a matmul runs on the host: the array applies it only on move-out."""
    if op.kind not in at.hw.array_operators:
        return no_unit(op, at)
    return Fallback(f"the array applies {op.kind} only to the result of one matmul that no other operator reads")


def maxpool(op: Op, at: Planning) -> Fallback:
    """Return why a pooling that is not fused into a convolution runs on the host."""
    if not at.hw.features.max_pool:
        return Fallback(f"{at.hw.name} has no max-pooling unit", "features.max_pool = true")
    return Fallback("the array pools only the result of one convolution that no other operator reads")


UNITS = {"normalizations": "normalisation units", "nonlinear_activations": "activation units"}
"""Features that normalised and activated results need, with their names in messages."""


def no_unit(op: Op, at: Planning) -> Fallback:
    """Return why this array lacks a unit for an operator that other arrays run."""
    if at.hw.host != "none" and op.kind in at.hw.host.takes:
        return Fallback(f"host.takes names {op.kind}", f"host.takes without {op.kind!r}")
    lacking = {key: unit for key, unit in UNITS.items() if not getattr(at.hw.features, key)}
    keys = ", ".join(f"features.{key} = true" for key in lacking)
    return Fallback(f"{at.hw.name} has no {' and no '.join(lacking.values())}", keys)


PASSES: dict[str, Callable[[Op, Planning], list[Step] | Fallback]] = {
    "layernorm": norm,
    "softmax": norm,
    "residual_add": residual_add,
    "copy": residual_add,
    "gather": gather,
    "gelu": only_fused,
    "maxpool": maxpool,
}
"""Planners of operators that run on the host if the array cannot run them: return work items, or the reason."""
