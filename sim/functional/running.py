"""State of an inference: the machine's DRAM, the scales, the float tensors of the host, operator by operator.

Tensors have the widths of `sim.plan.word_sizes`. An operator that multiplies fewer bits than its operand has in memory
scales it down at the load, by powers of two; the scale of its sums grows by the same factor.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sim.base.errors import CaratError
from sim.cost import host as host_prices
from sim.functional import dynamic, host, products
from sim.functional.kernels.counts import NAMES
from sim.functional.machine import Machine
from sim.functional.quantization.outliers import split
from sim.functional.quantization.scales import quantized
from sim.functional.quantization.structure import placed
from sim.functional.quantization.target import Scales
from sim.functional.scaled_items import with_scales
from sim.graph import Graph, Op, View
from sim.hardware.schema import ELEMENT_BITS
from sim.lower.work import Operand, Work
from sim.plan.placement import BASE_ADDRESS, place
from sim.plan.step import VectorStep
from sim.plan.word_sizes import WordSizes
from sim.run.cores import refuse
from sim.run.session import Session
from sim.timing.disk import default_timings
from sim.timing.memo import Memo
from sim.timing.timing import Timing

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.plan.planner import Step

Array = npt.NDArray[Any]


class WrongSchedule(CaratError):
    """The timing core let a command run on data that another one had in motion: the results are invalid."""


class Run:
    """The state of an inference, and the effect of each operator on it."""

    def __init__(
        self, graph: Graph, hw: Hardware, given: dict[str, Array], epsilon: float, head_dim: int, words: WordSizes
    ):
        refuse(hw, "the executor")
        self.graph, self.hw, self.words = graph, hw, words
        self.given, self.epsilon, self.head_dim = given, epsilon, head_dim
        self.ops = {op.name: op for op in graph.ops}
        self.addresses, end = place(graph, hw, words.bits)
        self.machine = Machine(hw, end - BASE_ADDRESS, BASE_ADDRESS, layernorm="hardware")
        self.numbers = Scales()
        self.host_values = dict(given)
        self.session = Session(hw, memo=Memo(default_timings()))
        self.overflows = 0
        self.counters: dict[str, int] = {}
        self.timings: dict[Hashable, Timing] | None = None
        self.machines: dict[Hardware, Machine] = {hw: self.machine}
        self.weights: dict[Operand, Array] = {}
        self.dynamic = False
        """Whether the host chooses the scale of what it writes by what it writes (`sim.functional.dynamic`)."""
        self.commands = True
        """Whether values are computed by the executor, command by command, or by `products` if possible."""

    # Tensors

    def product_scale(self, op: Op) -> float:
        """Scale of the sums of a matmul; that of scores includes 1/sqrt(head_dim)."""
        a, b = (self.numbers.scale[view.tensor] * 2**cut for view, cut in zip(op.inputs[:2], self.cut(op), strict=True))
        return float(a * b / math.sqrt(self.head_dim) if op.attrs["transpose_b"] else a * b)

    def cut(self, op: Op) -> tuple[int, int]:
        """Return the bits by which A and B of a matmul are scaled down at their loads."""
        types = self.words.types.get(op.name)
        if types is None:
            return 0, 0
        a, b = (max(0, self.words.of(v.tensor) - ELEMENT_BITS[t]) for v, t in zip(op.inputs[:2], types, strict=True))
        return a, b

    def kind(self, name: str) -> str:
        """Return the type of a tensor's elements in DRAM."""
        if self.wide(name):
            return self.hw.array.acc_type
        bits = self.words.bits.get(name)
        return self.hw.array.input_type if bits is None else f"int{bits}"

    def scale_of(self, name: str) -> float:
        """Scale of any tensor: sums have that of their matmul."""
        if name in self.numbers.scale:
            return self.numbers.scale[name]
        return self.product_scale(self.graph.producers(name)[0])

    def store(self, name: str, values: Array, scale: Array | float, wide: bool) -> None:
        """Quantise a whole tensor into the machine's DRAM. ``scale``: one, or one for each column."""
        kind = self.hw.array.acc_type if wide else self.kind(name)
        flat = quantized(values, scale, kind).reshape(1, -1)
        self.machine.write(self.addresses[name], flat, kind=kind)

    def store_split(self, op: Op, values: Array) -> None:
        """Quantise the output of a quantize operator, float values without its copies, into the machine's DRAM."""
        name, copies = op.output.tensor, op.attrs["copies"]
        top = (1 << ELEMENT_BITS[self.kind(name)] - 1) - 1
        scale = self.numbers.scale[name] * np.broadcast_to(self.numbers.factors(name), op.output.cols)
        whole = split(values, copies, scale[: values.shape[-1]], top)
        self.machine.write(self.addresses[name], whole.reshape(1, -1), kind=self.kind(name))

    def store_columns(self, view: View, values: Array) -> None:
        """Quantise the part of a tensor that a view sees into the machine's DRAM."""
        width, kind = self.graph.tensors[view.tensor].shape[-1], self.kind(view.tensor)
        scale = self.numbers.scale[view.tensor] * np.broadcast_to(self.numbers.factors(view.tensor), (width,))
        stored = quantized(values.reshape(view.shape), scale[placed(view.offset, view.cols, width)], kind)
        for number, matrix in enumerate(stored):
            offset = view.offset + number * view.batch_stride
            address = self.addresses[view.tensor] + offset * ELEMENT_BITS[kind] // 8
            self.machine.write(address, matrix, view.row_stride, kind=kind)

    def step_of(self, view: View) -> float:
        """Return the real value of one unit of a view whose columns share it."""
        width = self.graph.tensors[view.tensor].shape[-1]
        factors = np.broadcast_to(self.numbers.factors(view.tensor), (width,))
        return self.numbers.scale[view.tensor] * float(factors[view.offset % width])

    def wide(self, name: str) -> bool:
        """Return whether a tensor is stored in accumulator type (as in `sim.plan`)."""
        return self.graph.tensors[name].dtype not in ("int8", self.hw.array.input_type)

    def stored(self, name: str) -> Array:
        """Return a tensor as stored in DRAM, in its shape."""
        tensor = self.graph.tensors[name]
        flat = self.machine.read(self.addresses[name], (1, tensor.elements), kind=self.kind(name))
        return flat.reshape(tensor.shape)

    def on_host(self, name: str) -> bool:
        """Return whether a tensor never leaves the host.

        Ids, weights that the host reads, fp32 of an integer machine.
        """
        tensor = self.graph.tensors[name]
        integer = self.hw.array.input_type.startswith("int")
        return tensor.kind not in ("activation", "state") or (tensor.dtype == "fp32" and integer)

    def real(self, name: str) -> Array:
        """Return a tensor in float32, from the array's memory or the host's."""
        if self.on_host(name):
            return self.host_values[name]
        scale = np.float32(self.scale_of(name)) * self.numbers.factors(name)
        return np.asarray(self.stored(name).astype(np.float32) * scale, np.float32)

    def store_bias(self, op: Op) -> None:
        """Quantise the bias of a matmul at the scale of its sums."""
        name = op.inputs[2].tensor
        factors = self.numbers.factors(op.inputs[1].tensor)
        values = self.given[name] + self.numbers.bias.get(name, np.float32(0))
        self.store(name, values, self.product_scale(op) * factors, True)

    def load_weights(self) -> None:
        """Quantise the matmuls' weights (but for the mask, which `array_step` stores), biases at the sums' scale."""
        for op in self.graph.ops:
            if not op.is_matmul:
                continue
            for index, view in enumerate(op.inputs[1:], 1):
                name = view.tensor
                if self.graph.tensors[name].kind != "weight":
                    continue
                values = self.given[name]
                if index == 2:
                    self.store_bias(op)
                    continue
                if name in self.numbers.whole:
                    flat = self.numbers.whole[name].reshape(1, -1)
                    self.machine.write(self.addresses[name], flat, kind=self.kind(name))
                    continue
                if name in self.numbers.rows:
                    values = values * self.numbers.rows[name][:, None]
                self.store(name, values, self.numbers.scale[name] * self.numbers.factors(name), False)

    # Operators

    def host_step(self, op: Op) -> None:
        """Run one operator in float32."""
        inputs = [host.window(np.ascontiguousarray(self.real(view.tensor)), view) for view in op.inputs]
        result = host.apply(op, inputs, self.given, self.epsilon, self.head_dim)
        name = op.output.tensor
        if result.size < self.graph.tensors[name].elements:
            self.store_columns(op.output, result)
            return
        result = result.reshape(self.graph.tensors[name].shape)
        if self.on_host(name):
            self.host_values[name] = result
        elif op.attrs.get("copies"):
            self.store_split(op, inputs[0])
        else:
            self.store(name, result, self.scale_of(name) * self.numbers.factors(name), self.wide(name))

    def array_step(self, step: Step, *, timed: bool = True) -> int:
        """Run one operator on the array; return its cycles.

        ``timed`` False: only the values are needed, and operators computed without commands are not timed.
        """
        hw = step.machine or self.hw
        if hw not in self.machines:
            self.machines[hw] = self.machine.for_operator(hw)
        cycles = self.session.begin(step.name, hw)
        op = self.ops[step.name]
        for view in op.inputs[:2]:
            if self.graph.tensors[view.tensor].kind == "input":  # constants of this sequence, such as shares in a mean
                self.store(view.tensor, self.given[view.tensor], self.numbers.scale[view.tensor], False)
        for view in op.inputs[2:]:
            if self.graph.tensors[view.tensor].kind == "input":  # an attention mask: in units of this layer's scores
                scale = self.product_scale(op) * math.sqrt(self.head_dim)
                self.store(view.tensor, self.given[view.tensor], scale, True)
        for item in step.works:
            work = with_scales(item, op, step, self)
            restart = self.session.restart_cycles + self.session.call(work)
            if self.commands or not products.able(work, hw):
                times = self.timed(work, timeline=True)
                self.execute(step, times, hw)
            else:
                keeps = self.graph.multiplies_weights(op)
                self.overflows += products.compute(work, self.machines[hw], self.weights if keeps else None)
                if not timed:
                    continue
                times = self.timed(work, timeline=False)
            cycles += times.cycles + restart
            for name in NAMES:
                self.counters[name] = self.counters.get(name, 0) + times.counters[name]
        return cycles

    def execute(self, step: Step, times: Timing, hw: Hardware) -> None:
        """Execute the commands of a timeline. Raises WrongSchedule for a clash, or traffic that differs."""
        done = self.machines[hw].run(times)
        if done.clashes:
            raise WrongSchedule(
                f"{step.name}: {done.clashes} commands saw data in motion, the first is number {done.clashed[0]} "
                "of its timeline; this is a fault of Carat's timing core"
            )
        differing = [name for name, count in done.counters.items() if count != times.counters[name]]
        if differing:
            raise WrongSchedule(f"{step.name}: the executor and Carat's timing core differ in {differing}")
        self.overflows += done.overflows

    def timed(self, work: Work, *, timeline: bool) -> Timing:
        """Time a work item and advance past it; known timings are reused on machines without an L2."""
        if not timeline:
            return self.session.advance(work)
        key = self.session.key(work)
        if self.timings is not None and key is not None and key in self.timings:
            known = self.timings[key]
            self.session.follow(known)
            return known
        times = self.session.advance(work, timeline=True)
        if self.timings is not None and key is not None:
            self.timings[key] = times
        return times

    def again(self, steps: Sequence[Step], sequence: dict[str, Array]) -> dict[str, Array]:
        """Run another sequence with the same scales; return all its values in float."""
        self.take(sequence)
        for step in steps:
            self.run_step(step, timed=False)
        return host.forward(self.graph, self.given, self.epsilon, self.head_dim)

    def take(self, sequence: dict[str, Array]) -> None:
        """Take the inputs of another sequence."""
        self.given = {**self.given, **sequence}
        self.host_values = dict(self.given)

    def run_step(self, step: Step, *, timed: bool = True) -> int:
        """Run a step wherever the plan has put it; return its cycles (``timed`` False: of no meaning).

        A conversion that is no operator of the graph happens where its operator reads and writes: only cycles count.
        """
        if step.engine == "host":
            assert step.host_kind is not None
            cycles = host_prices.cycles(step.host_kind, step.host_elements, self.hw, row=step.n, macs=step.macs)
            if step.name in self.ops:
                op = self.ops[step.name]
                if self.dynamic and dynamic.chooses(self.graph, op):
                    cycles += dynamic.rescale(self, op)
                self.host_step(op)
            return cycles
        if isinstance(step, VectorStep):
            assert step.vector_work is not None
            for name in step.ops:
                self.host_step(self.ops[name])
            return step.vector_work.cycles
        return self.array_step(step, timed=timed)

    def follow(self, graph: Graph) -> None:
        """Go on with another graph, whose tensors lie where those of this one do: what they hold stays."""
        addresses, _ = place(graph, self.hw, self.words.bits)
        assert addresses == self.addresses
        self.graph, self.ops = graph, {op.name: op for op in graph.ops}

    def output_of(self, step: Step) -> View:
        """Return the output of a step: of a fused pair, the second one's output."""
        op = self.ops[step.name]
        if "+" in step.kind and step.engine != "vector":
            (reader,) = self.graph.consumers(op.output.tensor)
            return reader.output
        return op.output
