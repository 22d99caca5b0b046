"""Graph x machine -> steps: which operators fuse, which engine runs each, and the work items the array is given.

The fusion is that of transformer.c: softmax into the matmul that makes its scores, GELU into the first feed-forward
matmul, LayerNorm as a pass of its own over int32 results, residual add on the array. What the array cannot do goes to
the host CPU; on an integer machine its operands are dequantised before and its result quantised behind, as steps of
their own (Kim et al. 2302.14017, 3.4.2). An operator nobody can run or price is an InputError.

Types: int8 in a graph is the machine's element type and int32 its accumulator type, so that the integer encoder graphs
also run on a floating-point array (which then needs no quantisation).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import ceil
from typing import TYPE_CHECKING, Any

from sim.base.errors import InputError, by_reason
from sim.graph import Graph, Op, View
from sim.lower.encoder import GELU_BERT_SCALE, SOFTMAX_BERT_SCALE
from sim.lower.work import DEFAULT_SCALE, Conv, Matmul, Norm, Operand, ResidualAdd
from sim.plan import by_hand
from sim.plan.checks import misfits, refuse_request, unpriced
from sim.plan.placement import Role, place, role, whole_pages
from sim.plan.step import Step as Step
from sim.plan.word_sizes import WordSizes, runs_of
from sim.side_units import ranking
from sim.side_units.transforms import transform
from sim.timing.items import alike

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.sparsity.edits.dynamic import Chosen
    from sim.sparsity.rules import Rules

BERT_SCALES = {"softmax": SOFTMAX_BERT_SCALE, "igelu": GELU_BERT_SCALE}
"""Scales of the I-BERT polynomials; a graph gives none, and they move values, not cycles."""


@dataclass
class _Planner:
    graph: Graph
    hw: Hardware
    dataflow: str
    sparsity: Rules | None
    mapping: by_hand.Choices
    addresses: dict[str, int]
    free_address: int
    words: WordSizes
    refused: list[tuple[str, str]] = field(default_factory=list)
    index_addresses: list[int] = field(default_factory=list)

    # Types and places

    def role(self, view: View) -> Role:
        dtype = self.graph.tensors[view.tensor].dtype
        return role(dtype, self.hw)

    def operand(self, view: View, batch: int) -> Operand:
        start = view.offset + (batch * view.batch_stride if view.batch > 1 else 0)
        at = self.addresses[view.tensor] + start * self.words.of(view.tensor) // 8
        return Operand(at, view.row_stride)

    def machine(self, op: Op, output: View) -> Hardware | None:
        """Return the machine at the word sizes of an operator, None where it is the machine as it is."""
        try:
            found = self.words.machine(op, output)
        except InputError as error:
            for problem in error.problems:
                self.refuse(op, problem)
            return None
        return None if found.words is None else found

    def place_index(self, size_bytes: int) -> int:
        address = self.free_address
        self.free_address += whole_pages(size_bytes)
        self.index_addresses.append(address)
        return address

    def refuse(self, op: Op, reason: str) -> None:
        self.refused.append((op.name, reason))

    # The array

    def matmul(self, op: Op, fused: Op | None) -> list[Step]:
        output = fused.output if fused else op.output
        activation = {"softmax": "softmax", "gelu": "igelu"}[fused.kind] if fused else op.attrs["activation"]
        if activation == "relu" and not self.hw.features.nonlinear_activations:
            self.refuse(op, "relu needs features.nonlinear_activations = true")
        wrong = [self.graph.tensors[view.tensor] for view in op.inputs[:2] if self.role(view) != "element"]
        for tensor in wrong:
            rule = f"the array multiplies {self.hw.array.input_type} (written int8 in integer graphs)"
            self.refuse(op, f"operand {tensor.name} is {tensor.dtype}; {rule}")
        if len(op.inputs) > 2 and self.role(op.inputs[2]) != "accumulator" and not self._float():
            dtype = self.graph.tensors[op.inputs[2].tensor].dtype
            self.refuse(op, f"the bias is {dtype}; it must be {self.hw.array.acc_type} (int32 in integer graphs)")
        if self.role(output) == "other":
            dtype = self.graph.tensors[output.tensor].dtype
            self.refuse(op, f"the result is {dtype}, not {self.hw.array.input_type} or {self.hw.array.acc_type}")
        machine = self.machine(op, output)
        if op.name in self.words.sums and activation in ("softmax", "igelu"):
            self.refuse(
                op,
                f"sums in {self.words.sums[op.name]} with {activation}: the I-BERT units take {self.hw.array.acc_type} "
                "only (nearest: leave sums out of its [[precision]])",
            )
        dataflow = self.matmul_dataflow(op, activation, machine)
        if any(name == op.name for name, _ in self.refused):
            return []
        works = tuple(self.matmul_work(op, output, activation, dataflow, b) for b in range(op.batch))
        m, n, k = op.mnk
        kind = f"matmul+{fused.kind}" if fused else "matmul"
        useful = op.macs - op.batch * m * n * self.words.taken.get(op.name, 0)
        sizes = (m, n, k, op.batch, useful, useful, op.macs)
        return [self.sparse(op, Step(op.name, kind, op.layer, "array", *sizes, works=works, machine=machine))]

    def matmul_dataflow(self, op: Op, activation: str, machine: Hardware | None) -> str:
        """Return OS when asked for, but WS for transposed operands, normalised rows (library: no OS), other words."""
        only_ws = op.attrs["transpose_a"] or op.attrs["transpose_b"] or activation in ("softmax", "layernorm")
        only_ws = only_ws or machine is not None
        dataflow = "WS" if only_ws else self.dataflow
        if self.hw.array.dataflow not in (dataflow, "BOTH"):
            self.refuse(op, f"it needs dataflow {dataflow}, the array has only {self.hw.array.dataflow}")
        return dataflow

    def matmul_work(self, op: Op, output: View, activation: Any, dataflow: Any, batch: int) -> Matmul:
        m, n, k = op.mnk
        bias = op.inputs[2] if len(op.inputs) > 2 else None
        work = Matmul(
            m=m,
            n=n,
            k=k,
            a=self.operand(op.inputs[0], batch),
            b=self.operand(op.inputs[1], batch),
            c=self.operand(output, batch),
            d=None if bias is None else self.operand(bias, batch),
            bias="none" if bias is None else "row" if op.attrs["repeating_bias"] else "full",
            transpose_a=op.attrs["transpose_a"],
            transpose_b=op.attrs["transpose_b"],
            activation=activation,
            full_c=self.role(output) == "accumulator",
            dataflow=dataflow,
            bert_scale=BERT_SCALES.get(activation, DEFAULT_SCALE),
        )
        return by_hand.mapped(work, op.name, self.mapping)

    def chosen(self, op: Op) -> Chosen | None:
        """Return which scores the operator computes or reads, None where it does all."""
        return None if self.sparsity is None else self.sparsity.chosen(op, self.graph)

    def sparse(self, op: Op, dense: Step) -> Step:
        """Return the step of an operator with what the machine makes of its zeros; a full mask stays dense."""
        if self.sparsity is None:
            return dense
        from sim.lower.sparse import sampled_works
        from sim.lower.sparse import works as sparse_works

        works, hw = [work for work in dense.works if isinstance(work, Matmul)], dense.machine or self.hw
        try:
            chosen = self.chosen(op)
            if chosen is None:
                found = sparse_works.treated(self.sparsity, op, works, self.graph, hw, self.place_index)
            else:
                bits = View.whole(self.graph.tensors[chosen.kept])
                kept = [self.operand(bits, b) for b in range(op.batch)]
                found = sampled_works.attention(chosen, op, works, kept, hw)
        except InputError as error:
            for problem in error.problems:
                self.refuse(op, problem)
            return dense
        return replace(dense, **vars(found)) if found is not None else dense

    def norm(self, op: Op) -> list[Step] | None:
        """LayerNorm or softmax as a pass over accumulator-type rows, or None when the array cannot."""
        x, y, dim = op.inputs[0], op.output, self.hw.dim
        whole_row = ceil(x.cols / dim) * dim <= self.hw.acc_rows
        types = self.role(x) == "accumulator" and self.role(y) == "element"
        dense = x.row_stride == x.cols and y.row_stride == y.cols
        if not (op.kind in self.hw.array_operators and whole_row and types and dense):
            return None
        works = tuple(
            Norm(x.rows, x.cols, op.kind, self.operand(x, b), self.operand(y, b))  # type: ignore[arg-type]
            for b in range(op.batch)
        )
        works = tuple(by_hand.mapped(work, op.name, self.mapping) for work in works)
        sizes, machine = (x.rows, x.cols, 0, op.batch), self.machine(op, op.output)
        return [Step(op.name, op.kind, op.layer, "array", *sizes, works=works, machine=machine)]

    def residual_add(self, op: Op) -> list[Step] | None:
        views = (*op.inputs, op.output)
        one_stride = len({view.row_stride for view in views}) == 1
        if (
            "residual_add" not in self.hw.array_operators
            or not one_stride
            or any(self.role(view) != "element" for view in views)
        ):
            return None
        rows, cols, relu = op.output.rows, op.output.cols, op.attrs.get("activation") == "relu"
        works = []
        for b in range(op.batch):
            x, *y, z = (self.operand(view, b) for view in views)
            item = ResidualAdd(rows, cols, x, y[0] if y else None, z, relu)
            works.append(by_hand.mapped(item, op.name, self.mapping))
        sizes, machine = (rows, cols, 0, op.batch), self.machine(op, op.output)
        return [Step(op.name, op.kind, op.layer, "array", *sizes, works=tuple(works), machine=machine)]

    def gather(self, op: Op) -> list[Step] | None:
        """Copies of columns through the accumulator, one for each run of adjacent ones."""
        if "residual_add" not in self.hw.array_operators or op.batch > 1:
            return None
        works, rows, place = [], op.output.rows, 0
        for run in runs_of(op.attrs["columns"]):
            taken = replace(op.inputs[0], offset=op.inputs[0].offset + run[0])
            put = replace(op.output, offset=op.output.offset + place)
            works.append(ResidualAdd(rows, len(run), self.operand(taken, 0), None, self.operand(put, 0)))
            place += len(run)
        sizes, machine = (rows, op.output.cols, 0, 1), self.machine(op, op.output)
        return [Step(op.name, op.kind, op.layer, "array", *sizes, works=tuple(works), machine=machine)]

    def unit(self, op: Op, fused: Op | None = None) -> list[Step]:
        """An operator of a unit beside the array; there is no price for it on the host."""
        kind = f"{op.kind}+{fused.kind}" if fused else op.kind
        try:
            units = {"top_k": ranking.top_k, "mask": ranking.mask, "predict": ranking.predict}
            work = units.get(op.kind, transform)(op, self.hw, self.words.of)
        except InputError as error:
            self.refuse(op, error.problems[0])
            return []
        sizes = (op.output.rows, op.output.cols, 0, op.batch)
        return [Step(op.name, kind, op.layer, "unit", *sizes, macs_switched=work.multiplications, beside=work)]

    def predict(self, op: Op) -> list[Step]:
        """Scores at low precision: by the array, at its own width, where there is no predictor."""
        if self.hw.sparsity.predictor_macs_per_cycle:
            return self.unit(op)
        product = replace(op, kind="matmul", attrs={"transpose_b": True})
        return [replace(step, kind="predict") for step in self.matmul(product, None)]

    def conv(self, op: Op, pool: Op | None) -> list[Step]:
        """Return the convolution with the pooling behind it; what the machine lacks is told when it is lowered."""
        wrong = {self.graph.tensors[v.tensor].dtype for v in (*op.inputs[:2], op.output) if self.role(v) != "element"}
        for dtype in sorted(wrong):
            self.refuse(op, f"the array convolves {self.hw.array.input_type} (int8 in integer graphs), not {dtype}")
        output = (pool or op).output
        machine = self.machine(op, output)
        if any(name == op.name for name, _ in self.refused):
            return []
        image, weights, *bias = op.inputs
        attrs = op.attrs
        work = Conv(
            batch=image.rows // (attrs["in_rows"] * attrs["in_cols"]),
            in_rows=attrs["in_rows"],
            in_cols=attrs["in_cols"],
            in_channels=image.cols,
            out_channels=op.output.cols,
            kernel=attrs["kernel"],
            x=self.operand(image, 0),
            weights=self.operand(weights, 0),
            c=self.operand(output, 0),
            bias=self.operand(bias[0], 0) if bias else None,
            stride=attrs["stride"],
            padding=attrs["padding"],
            activation=attrs["activation"],
            pool_size=pool.attrs["kernel"] if pool else 0,
            pool_stride=pool.attrs["stride"] if pool else 0,
            pool_padding=pool.attrs["padding"] if pool else 0,
        )
        work = by_hand.mapped(work, op.name, self.mapping)
        kind = "conv+maxpool" if pool else "conv"
        sizes = (*op.mnk, 1, op.macs, op.macs, op.macs)
        return [Step(op.name, kind, op.layer, "array", *sizes, works=(work,), machine=machine)]

    # The host

    def host(self, op: Op) -> list[Step]:
        """Return the operator on the host, between the conversions an integer machine needs."""
        converts = not self._float() and op.kind not in ("embedding", "quantize", "dequantize", "maxpool")
        on_integers = self.hw.host != "none" and (not self.hw.host.converts or op.kind == "matmul")
        converts = converts and not on_integers
        steps = []
        for index, view in enumerate(op.inputs):
            if converts and self.graph.tensors[view.tensor].kind != "weight" and self.role(view) != "other":
                suffix = f".dequantize{index}" if index else ".dequantize"
                steps.append(self.host_step(op, op.name + suffix, "dequantize", view))
        steps.append(self.host_step(op, op.name, op.kind, op.output))
        if converts and self.role(op.output) != "other":
            steps.append(self.host_step(op, op.name + ".quantize", "quantize", op.output))
        if on_integers and self.hw.host != "none" and op.kind in self.hw.host.requantizes:
            steps.append(self.host_step(op, op.name + ".requantize", "requantize", op.output))
        return steps

    def host_step(self, op: Op, name: str, kind: str, view: View) -> Step:
        if kind == "matmul":  # the library's CPU path (tiled_matmul_auto with CPU)
            sizes = (*op.mnk, op.batch, op.macs, op.macs, op.macs)
            return Step(name, kind, op.layer, "host", *sizes, host_kind=kind, host_elements=view.elements)
        shape = (view.rows, view.cols, 0, view.batch)
        return Step(name, kind, op.layer, "host", *shape, host_kind=kind, host_elements=view.elements)

    def _float(self) -> bool:
        return not str(self.hw.array.input_type).startswith(("int", "uint"))

    # Everything

    def pool(self, op: Op) -> Op | None:
        """Return the max-pooling that the array does while it moves the convolution's result out, or None."""
        consumers = self.graph.consumers(op.output.tensor)
        fits = self.hw.features.max_pool and len(consumers) == 1 and consumers[0].kind == "maxpool"
        return consumers[0] if fits and consumers[0].inputs == (op.output,) else None

    def fusion(self, op: Op) -> Op | None:
        """Return the operator that the array applies while it moves the matmul's result out, or None."""
        consumers = self.graph.consumers(op.output.tensor)
        if op.kind not in ("matmul", "ifft") or len(consumers) != 1 or op.attrs["activation"] != "none":
            return None
        (reader,) = consumers
        alone = len(self.graph.producers(op.output.tensor)) == 1 and reader.inputs == (op.output,)
        types = self.role(op.output) == "element" == self.role(reader.output)
        able = reader.kind in self.hw.array_operators
        if not (able and alone and types and reader.output.shape == op.output.shape):
            return None
        # tiled_matmul_auto normalises whole rows: one row of blocks must fit into half of the accumulator. Of chosen
        # scores only the sub-rows must, which is seen when they are planned.
        row_fits = ceil(op.output.cols / self.hw.dim) * self.hw.dim <= self.hw.acc_rows // 2
        whole_row = row_fits or self.chosen(op) is not None
        softmax = reader.kind == "softmax" and whole_row and op.kind == "matmul"
        return reader if reader.kind == "gelu" or softmax else None

    def steps(self) -> list[Step]:
        array: dict[str, Callable[[Op], list[Step] | None]] = {
            "layernorm": self.norm,
            "softmax": self.norm,
            "residual_add": self.residual_add,
            "copy": self.residual_add,
            "gather": self.gather,
            "fft": self.unit,
            "top_k": self.unit,
            "mask": self.unit,
            "predict": self.predict,
        }
        steps: list[Step] = []
        fused_names: set[str] = set()
        for op in self.graph.ops:
            if op.name in fused_names:
                continue
            if self.hw.host != "none" and op.kind == "matmul" and "matmul" in self.hw.host.takes:
                steps += self.host(op)
            elif op.kind in ("matmul", "conv"):
                fused = self.fusion(op) if op.kind == "matmul" else self.pool(op)
                fused_names |= {fused.name} if fused else set()
                steps += self.matmul(op, fused) if op.kind == "matmul" else self.conv(op, fused)
            elif op.kind == "ifft":
                fused = self.fusion(op)
                fused_names |= {fused.name} if fused else set()
                steps += self.unit(op, fused)
            else:
                planned = array[op.kind](op) if op.kind in array else None
                steps += self.host(op) if planned is None else planned
        return steps


def plan(
    graph: Graph,
    hw: Hardware,
    *,
    dataflow: str | None = None,
    sparsity: Rules | None = None,
    mapping: by_hand.Choices | None = None,
) -> tuple[Step, ...]:
    """Return the steps of ``graph`` on ``hw`` in order.

    ``dataflow``: "WS" or "OS" for the matmuls that can choose; None = what the array is built for (WS when both).
    ``mapping``: operator name or pattern -> fields of `sim.lower.work.Matmul` by hand ({"tile": (5, 5, 48)}). Raises
    InputError naming each operator the machine (array and host) has no way to run, or no price for.
    """
    if sparsity is None and not mapping and hw.words is None:
        steps = _dense(graph, hw.unpaced, dataflow)
        if all(step.engine != "unit" for step in steps):  # units beside the array wait for the memory
            return steps
    return _planned(graph, hw, dataflow, sparsity, mapping)


@lru_cache(maxsize=8)  # a sweep over memory speeds plans each array once
def _dense(graph: Graph, hw: Hardware, dataflow: str | None) -> tuple[Step, ...]:
    return _planned(graph, hw, dataflow, None, None)


def _planned(
    graph: Graph,
    hw: Hardware,
    dataflow: str | None,
    sparsity: Rules | None,
    mapping: by_hand.Choices | None,
) -> tuple[Step, ...]:
    chosen = dataflow or ("OS" if hw.array.dataflow == "OS" else "WS")
    refuse_request(graph, chosen, mapping or {})
    if sparsity is not None:
        sparsity.check(graph, hw.dim)
    words = WordSizes(graph, hw, sparsity)
    addresses, free = place(graph, hw, words.bits)
    planner = _Planner(graph, hw, chosen, sparsity, mapping or {}, addresses, free, words)
    steps = planner.steps()
    refused = [*planner.refused, *unpriced(steps, hw), *misfits(steps, hw, mapping or {})]
    if refused:
        cannot = f"cannot run on {hw.name}"
        raise InputError([f"operator{'s' * (',' in n)} {n} {cannot}: {reason}" for n, reason in by_reason(refused)])
    bases = sorted((*addresses.values(), *planner.index_addresses))
    return tuple(replace(s, alike=tuple(alike(work, bases, s.machine or hw) for work in s.works)) for s in steps)
