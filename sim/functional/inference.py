"""Integer transformer inference with timing: a trained model, quantised, on a machine.

The plan decides which engine runs an operator. The array's operators run command by command on the machine's
memories (`sim.functional.machine`) in the order of the timing core; the host's run in float32 between the conversions
that the plan prices. The reference is the same graph in float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sim.base.errors import InputError
from sim.functional import host
from sim.functional.quantization.centring import centred
from sim.functional.quantization.recipe import PLAIN, Recipe
from sim.functional.quantization.scales import scales
from sim.functional.quantization.statistics import Statistics
from sim.functional.quantization.structure import only_ones, structural, weight
from sim.functional.quantization.target import Scales, Target
from sim.functional.running import Run
from sim.graph import Graph
from sim.hardware.precision import INTEGERS
from sim.plan.planner import Step, plan
from sim.plan.word_sizes import WordSizes
from sim.run.progress import Progress, silent
from sim.sparsity.masks.measured import MeasuredMasks
from sim.sparsity.precision import Precision
from sim.sparsity.rules import Rules

if TYPE_CHECKING:
    from sim.hardware import Hardware

Array = npt.NDArray[Any]

SPLIT = "gemmini_decomposable"
"""The preset that multiplies every integer type."""


@dataclass(frozen=True)
class OpReport:
    """One operator: cycles, and accuracy. ``error``: rms of (machine - float) / rms of float at its output.

    ``zero_activations``, ``zero_weights``: shares of zeros in A and B of a matmul as stored; ``nonzero_blocks``: share
    of array-sized blocks of B that are not zero; all None if it is no matmul, ``error`` None if it has no output.
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
    """Result: ``output`` and ``reference`` [tokens, hidden] (float32), per-operator reports, totals.

    ``logits``, ``reference_logits``: outputs of the head, [tokens or 1, labels] (a pooler: [1, hidden]), or None.
    ``others``: the same of each further sequence, a pair (machine, float) of the graph's outputs.
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


@dataclass(frozen=True)
class Numerics:
    """Conversion of a model's values to integers. ``recipe``: options of the quantisation.

    ``seen``: statistics of calibration sequences; None = of the sequence itself. ``words``: word sizes of matmuls
    (`sim.sparsity.precision`), integers without outliers; products with `structural` matrices stay in the array's type.
    ``commands``: execute every command at its time; False: the same values by whole products, where that is possible.
    """

    recipe: Recipe = PLAIN
    seen: Statistics | None = None
    words: Sequence[Precision] = ()
    commands: bool = True


@dataclass(frozen=True)
class Model:
    """A graph and the data for its values. ``given``: ids and float32 weights by tensor name.

    ``epsilon``: of LayerNorm. ``encoded``: the encoder's output tensor, if a head follows.
    """

    graph: Graph
    given: dict[str, Array]
    epsilon: float
    head_dim: int
    encoded: str | None = None


def infer(
    model: Model,
    hw: Hardware,
    *,
    tokens: int | None = None,
    numerics: Numerics | None = None,
    others: Sequence[tuple[dict[str, Array], int]] = (),
    progress: Progress = silent,
) -> Inference:
    """Run ``model`` on ``hw``.

    ``tokens``: number of rows that are no padding (None: all); only these are returned and compared. ``others``:
    sequences to run afterwards with the same scales, and their lengths; cycles and reports are those of the first.
    Raises InputError for operators that the machine cannot run, WrongSchedule if the timing core broke a dependence.
    """
    graph = model.graph
    run, steps, reference, diagonals = start(model, hw, numerics or Numerics())
    if others or not run.commands:
        run.timings = {}
    reports, masks = _run_steps(run, steps, reference, diagonals, progress)
    counters, overflows = dict(run.counters), run.overflows
    last = graph.ops[-1].output.tensor
    body = model.encoded or last
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
        expected = run.again(steps, sequence)
        results.append((run.real(last)[:length].copy(), expected[last][:length]))
    progress(len(steps), len(steps), "")
    return replace(found, others=tuple(results))


def start(
    model: Model, hw: Hardware, numerics: Numerics
) -> tuple[Run, tuple[Step, ...], dict[str, Array], dict[str, Array]]:
    """Return a run with stored weights, its steps, all values in float, and the structural weights."""
    steps, rules, diagonals = planned(model, hw, numerics)
    reference = host.forward(model.graph, model.given, model.epsilon, model.head_dim)
    words = WordSizes(model.graph, hw, rules)
    numbers = _scales(model, hw, words, steps, diagonals, numerics, reference)
    return stored(model, hw, numerics, numbers, rules), steps, reference, diagonals


def planned(model: Model, hw: Hardware, numerics: Numerics) -> tuple[tuple[Step, ...], Rules | None, dict[str, Array]]:
    """Return the steps of a model, the rules that they follow, and the weights that are `structure`."""
    diagonals = structural(model.graph, model.given)
    rules = _rules(model.graph, hw, diagonals, numerics.words)
    return plan(model.graph, hw, sparsity=rules), rules, diagonals


def stored(model: Model, hw: Hardware, numerics: Numerics, numbers: Scales, rules: Rules | None) -> Run:
    """Return a run whose weights are stored with scales that are known."""
    run = Run(model.graph, hw, model.given, model.epsilon, model.head_dim, WordSizes(model.graph, hw, rules))
    run.commands, run.numbers = numerics.commands, numbers
    run.dynamic = numerics.recipe.scales == "dynamic"
    run.load_weights()
    return run


def encode(
    model: Model, hw: Hardware, numerics: Numerics, sequences: Sequence[dict[str, Array]]
) -> list[tuple[Array, Array]]:
    """Return the encoder's output of each sequence of the model's length, by the machine and in float."""
    run, steps, reference, _ = start(model, hw, numerics)
    run.timings = {}
    body = model.encoded or model.graph.ops[-1].output.tensor
    found = []
    for sequence in sequences:
        reference = run.again(steps, sequence)
        found.append((run.real(body).copy(), reference[body]))
    return found


def _scales(
    model: Model,
    hw: Hardware,
    words: WordSizes,
    steps: Sequence[Step],
    diagonals: Mapping[str, Array],
    numerics: Numerics,
    reference: Mapping[str, Array],
) -> Scales:
    """Return the scales of a model's tensors."""
    seen = numerics.seen
    if seen is None:
        seen = Statistics()
        seen.add(model.graph, reference)
    seen.derive(model.graph)
    target = Target(
        model.graph,
        hw,
        model.head_dim,
        on_array=_on_array(model.graph, steps),
        bits=words.bits,
        identities={name for name, values in diagonals.items() if _is_identity(values)},
        fixed=diagonals.keys(),
    )
    return scales(target, model.given, seen, numerics.recipe)


def _is_identity(values: Array) -> bool:
    return values.shape[0] == values.shape[1] and only_ones(values.diagonal()) and bool(values.diagonal().all())


def _on_array(graph: Graph, steps: Sequence[Step]) -> set[str]:
    """Return the operators that the array runs, those that are fused into another included."""
    own = {step.name for step in steps}
    return {step.name for step in steps if step.engine == "array"} | {op.name for op in graph.ops if op.name not in own}


def _run_steps(
    run: Run,
    steps: Sequence[Step],
    reference: Mapping[str, Array],
    diagonals: Mapping[str, Array],
    progress: Progress,
) -> tuple[list[OpReport], dict[str, Array]]:
    """Run all steps; return their reports and the block masks of the weights."""
    reports: list[OpReport] = []
    masks: dict[str, Array] = {}
    means = {name for one in centred(run.graph) for name in one.sums}  # of weights that V's product has already
    for number, step in enumerate(steps):
        progress(number, len(steps), step.name)
        cycles = run.run_step(step)
        if step.name not in run.ops:
            reports.append(OpReport(step.name, step.kind, step.engine, cycles))
            continue
        output = run.output_of(step)
        error = relative_error(
            host.window(run.real(output.tensor), output), host.window(reference[output.tensor], output)
        )
        apart = weight(run.ops[step.name]) in diagonals or step.name in means
        shares = {} if apart else _shares(run, step, masks)
        reports.append(OpReport(step.name, step.kind, step.engine, cycles, error, **shares))
    return reports, masks


def _rules(graph: Graph, hw: Hardware, diagonals: Mapping[str, Array], words: Sequence[Precision]) -> Rules | None:
    """Return the blocks that products with structural weights need, and the word sizes of all others."""
    problems = [
        f"{rule}: inference quantises operands only, to integers, without outliers (nearest: w4a8)"
        for rule in words
        if rule.splits or rule.sums or not {rule.weights or "int8", rule.activations or "int8"} <= set(INTEGERS)
    ]
    if words and not hw.array.input_type.startswith("int"):
        problems.append(f"{hw.name}: word sizes of inference are those of an array of integers (nearest: --hw {SPLIT})")
    if problems or (problems := [problem for rule in words for problem in rule.problems(graph)]):
        raise InputError(problems)
    sized = tuple(
        replace(rule, operators=op.name)
        for rule in words
        for op in graph.ops
        if rule.applies_to(op) and weight(op) not in diagonals
    )
    masks = _block_diagonal(graph, hw, diagonals)
    return Rules((masks,) if masks else (), precisions=sized) if sized or masks else None


def _block_diagonal(graph: Graph, hw: Hardware, diagonals: Mapping[str, Array]) -> MeasuredMasks | None:
    """Return the blocks that products with structural weights need; None without such products."""
    masks = {op.name: block_mask(diagonals[str(weight(op))], hw.dim) for op in graph.ops if weight(op) in diagonals}
    return MeasuredMasks(hw.dim, 1.0, masks=masks) if masks else None


def _shares(run: Run, step: Step, masks: dict[str, Array]) -> dict[str, float]:
    """Return zero fractions of a matmul's operands as the array read them; record the block mask of a weight matrix."""
    op = run.ops[step.name]
    if not op.is_matmul:
        return {}
    a, b = (run.stored(view.tensor) for view in op.inputs[:2])
    shares = {"zero_activations": float(np.mean(a == 0)), "zero_weights": float(np.mean(b == 0))}
    if run.graph.multiplies_weights(op):
        mask = block_mask(b, run.hw.dim)
        masks[op.name] = mask
        shares["nonzero_blocks"] = float(mask.mean())
    return shares


def block_mask(weights: Array, block: int) -> Array:
    """Return bool[ceil(K/block), ceil(N/block)]: True if a block of weights [K, N] is not all zero."""
    k, n = weights.shape
    padded = np.pad(weights != 0, ((0, -k % block), (0, -n % block)))
    return np.asarray(padded.reshape(padded.shape[0] // block, block, -1, block).any(axis=(1, 3)))
