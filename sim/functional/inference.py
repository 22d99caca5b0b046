"""Integer transformer inference with its timing: a trained encoder, quantised, on a machine, in one go.

The plan decides which engine runs an operator. The array's operators run command by command on the machine's
memories (`sim.functional.machine`) in the order the timing core found; the host's run in float32 between the
conversions that the plan prices. The yardstick is the same graph in float32 throughout.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sim import host as host_prices
from sim import timing
from sim.errors import CaratError
from sim.functional import host
from sim.functional.counts import NAMES
from sim.functional.machine import Machine
from sim.functional.masks import MeasuredMasks
from sim.functional.quantize import largest_energies, largest_magnitudes, quantized, scales
from sim.graph import Graph, Op, View
from sim.lower import lower
from sim.lower.work import BlockSparseMatmul, Matmul, Norm, ResidualAdd, Work
from sim.pipeline import RESTART_CYCLES
from sim.placement import BASE_ADDRESS, place
from sim.plan import Step, plan

if TYPE_CHECKING:
    from sim.hardware import Hardware

Array = npt.NDArray[Any]
Progress = Callable[[int, int, str], None]

ERF_A = -0.2888
"""Leading coefficient of I-BERT's error function (papers.md 6)."""


class WrongSchedule(CaratError):
    """The timing core let a command run on data that another one had in motion: its numbers mean nothing."""


@dataclass(frozen=True)
class OpReport:
    """One operator: cycles, and how it did. ``error``: rms of (machine - float) / rms of float at its output.

    ``zero_activations``, ``zero_weights``: shares of zeros in A and B of a matmul as stored; ``nonzero_blocks``: share
    of array-sized blocks of B that hold anything; all None where there is no matmul, ``error`` where nothing is left.
    """

    name: str
    kind: str
    engine: str
    cycles: int
    error: float | None = None
    zero_activations: float | None = None
    zero_weights: float | None = None
    nonzero_blocks: float | None = None


@dataclass(frozen=True)
class Inference:
    """The outcome: ``output`` and ``reference`` [tokens, hidden] (float32), per-operator reports, totals.

    ``logits``, ``reference_logits``: what the head gives, [tokens or 1, labels] (a pooler: [1, hidden]), or None.
    ``others``: the same of each further sequence, a pair (machine, float) of what the graph ends with.
    ``counters``: traffic counted by the executor. ``masks``: per weight matrix the array-sized blocks that are not
    all zero, bool[k_blocks, n_blocks]. ``overflows``: int32 wraps inside the machine's polynomials.
    """

    output: Array
    reference: Array
    ops: tuple[OpReport, ...]
    cycles: int
    counters: dict[str, int]
    overflows: int
    masks: dict[str, Array]
    logits: Array | None = None
    reference_logits: Array | None = None
    others: tuple[tuple[Array, Array], ...] = ()

    @property
    def error(self) -> float:
        """rms of (output - reference) / rms of reference."""
        return relative_error(self.output, self.reference)

    @property
    def cosine(self) -> float:
        """Mean cosine between output and reference, token by token."""
        a, b = self.output.astype(np.float64), self.reference.astype(np.float64)
        lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        return float(np.mean((a * b).sum(axis=1) / np.maximum(lengths, np.finfo(np.float64).tiny)))


def relative_error(found: Array, expected: Array) -> float:
    """Return rms(found - expected) / rms(expected)."""
    off = np.sqrt(np.mean((found.astype(np.float64) - expected) ** 2))
    return float(off / max(np.sqrt(np.mean(expected.astype(np.float64) ** 2)), np.finfo(np.float64).tiny))


class _Run:
    """One inference on its way: the machine, the scales, the float tensors of the host, the tally."""

    def __init__(self, graph: Graph, hw: Hardware, given: dict[str, Array], epsilon: float, head_dim: int):
        self.graph, self.hw = graph, hw
        self.given, self.epsilon, self.head_dim = given, epsilon, head_dim
        self.ops = {op.name: op for op in graph.ops}
        self.addresses, end = place(graph, hw)
        self.machine = Machine(hw, end - BASE_ADDRESS, BASE_ADDRESS, layernorm="hardware")
        self.scale: dict[str, float] = {}
        self.host_values = dict(given)
        self.phase, self.started = 0, False
        self.l2 = timing.L2Contents.empty(hw) if hw.memory.l2_bytes else None
        self.overflows = 0
        self.counters: dict[str, int] = {}
        self.timings: dict[tuple[Work, int], timing.Timing] | None = None

    # Tensors

    def product_scale(self, op: Op) -> float:
        """Scale of the sums of a matmul; the scores carry 1/sqrt(head_dim)."""
        a, b = (self.scale[view.tensor] for view in op.inputs[:2])
        return a * b / math.sqrt(self.head_dim) if op.attrs["transpose_b"] else a * b

    def scale_of(self, name: str) -> float:
        """Scale of any tensor: sums take that of the matmul that makes them."""
        if name in self.scale:
            return self.scale[name]
        return self.product_scale(self.graph.producers(name)[0])

    def store(self, name: str, values: Array, scale: float, wide: bool) -> None:
        """Quantise a whole tensor into the machine's DRAM."""
        dtype = self.hw.array.acc_type if wide else self.hw.array.input_type
        flat = quantized(values, scale, dtype).reshape(1, -1)
        self.machine.write(self.addresses[name], flat, wide=wide)

    def wide(self, name: str) -> bool:
        """Return whether a tensor is stored in accumulator type (as `sim.plan` reads its dtype)."""
        return self.graph.tensors[name].dtype not in ("int8", self.hw.array.input_type)

    def stored(self, name: str) -> Array:
        """Return a tensor as it lies in DRAM, in its shape."""
        tensor = self.graph.tensors[name]
        flat = self.machine.read(self.addresses[name], (1, tensor.elements), wide=self.wide(name))
        return flat.reshape(tensor.shape)

    def on_host(self, name: str) -> bool:
        """Return whether a tensor never leaves the host: ids, weights the host reads, fp32 of an integer machine."""
        tensor = self.graph.tensors[name]
        integer = self.hw.array.input_type.startswith("int")
        return tensor.kind != "activation" or (tensor.dtype == "fp32" and integer)

    def real(self, name: str) -> Array:
        """Return a tensor in float32, whoever holds it."""
        if self.on_host(name):
            return self.host_values[name]
        return np.asarray(self.stored(name).astype(np.float32) * np.float32(self.scale_of(name)))

    def load_weights(self) -> None:
        """Quantise the matmuls' weights (but for the mask, which `array_step` stores), biases at the sums' scale."""
        for op in self.graph.ops:
            if op.kind != "matmul":
                continue
            for index, view in enumerate(op.inputs[1:], 1):
                if self.graph.tensors[view.tensor].kind == "weight":
                    scale = self.product_scale(op) if index == 2 else self.scale[view.tensor]
                    self.store(view.tensor, self.given[view.tensor], scale, index == 2)

    # Operators

    def host_step(self, op: Op) -> None:
        """Run one operator in float32."""
        inputs = [host.window(np.ascontiguousarray(self.real(view.tensor)), view) for view in op.inputs]
        result = host.apply(op, inputs, self.given, self.epsilon, self.head_dim)
        name = op.output.tensor
        result = result.reshape(self.graph.tensors[name].shape)
        if self.on_host(name):
            self.host_values[name] = result
        else:
            self.store(name, result, self.scale_of(name), self.wide(name))

    def array_step(self, step: Step) -> int:
        """Run one operator on the array; return its cycles."""
        cycles = 0
        op = self.ops[step.name]
        for view in op.inputs[2:]:
            if self.graph.tensors[view.tensor].kind == "input":  # an attention mask: in units of this layer's scores
                scale = self.product_scale(op) * math.sqrt(self.head_dim)
                self.store(view.tensor, self.given[view.tensor], scale, True)
        for work in step.works:
            times = self.timed(self.with_scales(work, op, step))
            self.phase, self.l2 = times.phase, times.l2
            done = self.machine.run(times)
            if done.clashes:
                raise WrongSchedule(
                    f"{step.name}: {done.clashes} commands saw data in motion, the first is number {done.clashed[0]} "
                    "of its timeline; this is a fault of Carat's timing core"
                )
            differing = [name for name, count in done.counters.items() if count != times.counters[name]]
            if differing:
                raise WrongSchedule(f"{step.name}: the executor and Carat's timing core differ in {differing}")
            self.overflows += done.overflows
            for name in NAMES:
                self.counters[name] = self.counters.get(name, 0) + times.counters[name]
            cycles += times.cycles + (RESTART_CYCLES if self.started else 0)
            self.started = True
        return cycles

    def timed(self, work: Work) -> timing.Timing:
        """Time a work item; where sequences follow each other, what ran before from the same loop slot is known."""
        key = (work, self.phase)
        if self.timings is not None and key in self.timings:
            return self.timings[key]
        times = timing.run(lower(work, self.hw), self.hw, timeline=True, phase=self.phase, l2=self.l2)
        if self.timings is not None:
            self.timings[key] = times
        return times

    def again(self, steps: Sequence[Step], sequence: dict[str, Array], tokens: int) -> tuple[Array, Array]:
        """Run another sequence with the same scales; return what the graph ends with, by the machine and in float."""
        self.given = {**self.given, **sequence}
        self.host_values = dict(self.given)
        for step in steps:
            if step.engine == "array":
                self.array_step(step)
            elif step.name in self.ops:
                self.host_step(self.ops[step.name])
        last = self.graph.ops[-1].output.tensor
        reference = host.forward(self.graph, self.given, self.epsilon, self.head_dim)
        return self.real(last)[:tokens].copy(), reference[last][:tokens]

    def with_scales(self, work: Work, op: Op, step: Step) -> Work:
        """Return the work item with the scales of its tensors."""
        if isinstance(work, ResidualAdd):
            a, b = (self.scale[view.tensor] for view in op.inputs)
            out = self.scale[op.output.tensor]
            return replace(work, a_scale=_single(a / out), b_scale=_single(b / out))
        if isinstance(work, BlockSparseMatmul):
            inside = self.with_scales(work.matmul, op, step)
            assert isinstance(inside, Matmul)
            return replace(work, matmul=inside)
        if isinstance(work, Norm):
            if work.kind == "softmax":
                return replace(work, bert_scale=self.scale_of(op.inputs[0].tensor))
            return replace(work, scale=1 / self.scale[op.output.tensor])
        assert isinstance(work, Matmul)
        sums = self.product_scale(op)
        if work.activation == "softmax":
            return replace(work, bert_scale=sums)
        output = self.output_of(step)
        if work.activation == "igelu":
            # GELU's result is q * (erf + 1) with the scale of q times that of erf, a * scale**2 / 2, halved
            return replace(work, bert_scale=sums, scale=sums * ERF_A * sums**2 / 4 / self.scale[output.tensor])
        scale = 1.0 if work.full_c else _single(sums / self.scale[output.tensor])
        if self.hw.accumulator.scale_units == "none":  # what cannot be scaled on its way out is scaled coming in
            return replace(work, scale=1.0, a_scale=scale)
        return replace(work, scale=scale)

    def output_of(self, step: Step) -> View:
        """Return what a step writes: of a fused pair, the second one's output."""
        op = self.ops[step.name]
        if "+" in step.kind:
            (reader,) = self.graph.consumers(op.output.tensor)
            return reader.output
        return op.output


def _single(scale: float) -> float:
    """A scale of exactly 1 where it is meant to be 1: the mvin scaler passes such rows at full speed."""
    return 1.0 if abs(scale - 1.0) < 1e-6 else scale


def infer(
    graph: Graph,
    hw: Hardware,
    given: dict[str, Array],
    *,
    epsilon: float,
    head_dim: int,
    tokens: int | None = None,
    encoded: str | None = None,
    calibration: Sequence[dict[str, Array]] = (),
    others: Sequence[tuple[dict[str, Array], int]] = (),
    progress: Progress = lambda done, total, label: None,
) -> Inference:
    """Run ``graph`` on ``hw``. ``given``: ids and float32 weights by tensor name.

    ``tokens``: how many of the rows are no padding (None: all); only they are returned and compared. ``encoded``: the
    tensor the encoder ends with, where a head stands on it.
    ``calibration``: further sets of ids (same graph) whose magnitudes count, besides those of ``given``. ``others``:
    sequences to run afterwards with the same scales, and their lengths; cycles and reports are those of ``given``.
    Raises InputError for what the machine cannot run, WrongSchedule when the timing core broke a dependence.
    """
    diagonals = diagonal_weights(graph, given)
    steps = plan(graph, hw, sparsity=_block_diagonal(graph, hw, diagonals))
    reference = host.forward(graph, given, epsilon, head_dim)
    runs = [reference, *(host.forward(graph, {**given, **ids}, epsilon, head_dim) for ids in calibration)]
    run = _Run(graph, hw, given, epsilon, head_dim)
    identities = {name for name, values in diagonals.items() if (values == 1).all()}
    run.scale = scales(graph, hw, largest_magnitudes(runs), head_dim, largest_energies(graph, runs), identities)
    run.load_weights()
    if others and run.l2 is None:  # what an L2 holds makes every run its own
        run.timings = {}
    reports: list[OpReport] = []
    masks: dict[str, Array] = {}
    for number, step in enumerate(steps):
        progress(number, len(steps), step.name)
        if step.engine == "host":
            assert step.host_kind is not None
            cycles = host_prices.cycles(step.host_kind, step.host_elements, hw)
            if step.name not in run.ops:  # a conversion: it happens where the operator reads and writes
                reports.append(OpReport(step.name, step.kind, "host", cycles))
                continue
            run.host_step(run.ops[step.name])
        else:
            cycles = run.array_step(step)
        output = run.output_of(step).tensor
        error = relative_error(run.real(output), reference[output])
        shares = {} if _weight(run.ops[step.name]) in diagonals else _shares(run, step, masks)
        reports.append(OpReport(step.name, step.kind, step.engine, cycles, error, **shares))
    counters, overflows = dict(run.counters), run.overflows
    last = graph.ops[-1].output.tensor
    body = encoded or last
    found = Inference(
        output=run.real(body)[:tokens],
        reference=reference[body][:tokens],
        logits=run.real(last)[:tokens] if body != last else None,
        reference_logits=reference[last][:tokens] if body != last else None,
        ops=tuple(reports),
        cycles=sum(report.cycles for report in reports),
        counters=counters,
        overflows=overflows,
        masks=masks,
    )
    results = []
    for number, (sequence, length) in enumerate(others):
        progress(number, len(others), f"sequence {number + 2}")
        results.append(run.again(steps, sequence, length))
    progress(len(steps), len(steps), "")
    return replace(found, others=tuple(results))


def diagonal_weights(graph: Graph, given: Mapping[str, Array]) -> dict[str, Array]:
    """Return the diagonal of every square weight matrix of ``graph`` that is zero beside it."""
    found = {}
    for name in {_weight(op) for op in graph.ops} - {None}:
        tensor = graph.tensors[str(name)]
        if tensor.kind == "weight" and tensor.shape[0] == tensor.shape[-1]:
            values = given[tensor.name]
            if np.count_nonzero(values) == np.count_nonzero(values.diagonal()):
                found[tensor.name] = values.diagonal()
    return found


def _weight(op: Op) -> str | None:
    """Return the name of B of a matmul."""
    return op.inputs[1].tensor if op.kind == "matmul" else None


def _block_diagonal(graph: Graph, hw: Hardware, diagonals: Mapping[str, Array]) -> MeasuredMasks | None:
    """Return the blocks that products with diagonal weights need; None where there is none."""
    masks = {
        op.name: np.eye(math.ceil(graph.tensors[str(_weight(op))].shape[0] / hw.dim), dtype=np.bool_)
        for op in graph.ops
        if _weight(op) in diagonals
    }
    return MeasuredMasks(hw.dim, 1.0, masks=masks) if masks else None


def _shares(run: _Run, step: Step, masks: dict[str, Array]) -> dict[str, float]:
    """Zero fractions of a matmul's operands as the array read them; notes the block mask of a weight matrix."""
    op = run.ops[step.name]
    if op.kind != "matmul":
        return {}
    a, b = (run.stored(view.tensor) for view in op.inputs[:2])
    shares = {"zero_activations": float(np.mean(a == 0)), "zero_weights": float(np.mean(b == 0))}
    if run.graph.tensors[op.inputs[1].tensor].kind == "weight":
        mask = block_mask(b, run.hw.dim)
        masks[op.name] = mask
        shares["nonzero_blocks"] = float(mask.mean())
    return shares


def block_mask(weights: Array, block: int) -> Array:
    """Return bool[ceil(K/block), ceil(N/block)]: True where a block of weights [K, N] holds anything but zeros."""
    k, n = weights.shape
    padded = np.pad(weights != 0, ((0, -k % block), (0, -n % block)))
    return np.asarray(padded.reshape(padded.shape[0] // block, block, -1, block).any(axis=(1, 3)))
