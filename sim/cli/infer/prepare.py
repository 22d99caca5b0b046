"""Prepare `carat infer`: from a folder and options to a graph, its numbers and the sequences to run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.base.errors import InputError
from sim.functional import images, tokens
from sim.functional.generation import Generated, Phases, generate
from sim.functional.inference import Model, Numerics, encode
from sim.functional.quantization import layout, outliers
from sim.functional.quantization.kept import name_of
from sim.functional.quantization.recipe import ON_ARRAY, PLAIN, Recipe
from sim.functional.quantization.statistics import Statistics, Together, measure
from sim.functional.similarity import Similarity
from sim.functional.similarity import similarity as compared
from sim.graph import Graph
from sim.run.progress import silent
from workloads.checkpoint import graph as checkpoint_graph
from workloads.checkpoint import tokenizer
from workloads.checkpoint.graph import Engines, Form

if TYPE_CHECKING:
    from sim.cli.common import Progress
    from sim.hardware import Hardware
    from sim.sparsity.precision import Precision
    from workloads.checkpoint import Checkpoint

Ids = list[int]
Tokens = tokens.Sequence

BUILT_IN = "builtin"
"""Value of --calibrate that names the sentences below instead of a file."""

CORPUS = "corpus.txt"
"""Sentences that set the scales where no file is given (sim/functional/quantization)."""

RANDOM_IMAGES = 16
"""Images of random waves that set the scales of a vision transformer: 3,152 tokens of ViT-base."""

RANDOM_SEQUENCES, RANDOM_LENGTH = 64, 64
"""Number of random sequences that set the scales of a model without a vocabulary, and their least length in tokens."""


@dataclass(frozen=True)
class Calibration:
    """Sequences of token ids that set the scales. ``source``: their origin, for messages."""

    sequences: tuple[Tokens, ...]
    source: str


@dataclass(frozen=True)
class PreparedModel:
    """A model on a machine. ``engines``: operators that the array computes. ``length``: tokens of a sequence with its
    padding.

    ``commands``: execute command by command (`sim.functional.inference.Numerics`).
    """

    checkpoint: Checkpoint
    hw: Hardware
    engines: Engines
    length: int
    padded: bool
    commands: bool = False


def calibration(path: Path | None, model: Checkpoint, folder: Path, length: int, seed: int) -> Calibration:
    """Return the sequences of a file, or the built-in sentences where the folder has a vocabulary, or random ones."""
    if model.vision is not None:
        return _images(path, model, folder, seed)
    if path is not None and str(path) != BUILT_IN:
        found = tokens.read_sequences(path, model)
        return Calibration(tuple(found), f"{len(found)} sequences of {path}")
    if path is not None and not tokenizer.present(folder):
        raise InputError(
            f"--calibrate {BUILT_IN}: {folder} has no vocab.txt or other tokenizer (nearest: a file of token ids)"
        )
    reason = "no tokenizer"
    if tokenizer.present(folder):
        try:
            found = _sentences(model, folder)
        except InputError:
            if path is not None:
                raise
            found, reason = [], "its tokenizer is not run here"
        if found:
            return Calibration(tuple(found), f"{len(found)} built-in sentences")
    length = min(max(length, RANDOM_LENGTH), model.positions)
    random = tokens.random_sequences(model, RANDOM_SEQUENCES, length, seed + 1)
    return Calibration(tuple(random), f"{RANDOM_SEQUENCES} sequences of random tokens ({reason})")


def _images(path: Path | None, model: Checkpoint, folder: Path, seed: int) -> Calibration:
    """Return the images of a file, or random waves."""
    if path is None:
        made = images.made(images.of(model), RANDOM_IMAGES, seed + 1)
        return Calibration(tuple(made), f"{RANDOM_IMAGES} images of random waves")
    if str(path) == BUILT_IN:
        raise InputError(f"--calibrate {BUILT_IN}: no images are built in (nearest: a file that names .npy files)")
    found = [image for image, _ in images.listed(path, model, folder)]
    return Calibration(tuple(found), f"{len(found)} images of {path}")


def _sentences(model: Checkpoint, folder: Path) -> list[Ids]:
    """Return the built-in sentences as tokens of a folder's vocabulary, without those that have unknown tokens."""
    vocabulary = tokenizer.load(folder)
    text = resources.files("sim.functional.quantization").joinpath(CORPUS).read_text(encoding="utf-8")
    found = [vocabulary.encode(line)[: model.positions] for line in text.splitlines() if line.strip()]
    return [ids for ids in found if ids and max(ids) < model.vocabulary]


def possible(recipe: Recipe, case: PreparedModel) -> Recipe:
    """Return the recipe without the parts that the machine does not support.

    Floating-point machines quantise nothing. An int32 residual needs an accumulator that is read at full width, and
    GELU, LayerNorm and the embeddings all on the host, or all on the array; dynamic scales need the host, and leave no
    fixed scale to which that of a mean could be related.
    """
    if recipe.scales == "dynamic":
        recipe = replace(recipe, centred="off")
    if not case.hw.array.input_type.startswith("int"):
        return PLAIN
    chosen = case.engines
    mixed = {chosen.gelu, chosen.layernorm} not in ({"host"}, {"array"}) or (
        chosen.layernorm == "array" and chosen.embeddings == "host"
    )
    if mixed or not case.hw.accumulator.read_full_width:
        return replace(recipe, residual="int8", scales="static")
    # with all on the array, columns have steps of their own already; no host is there to divide them
    return (
        replace(recipe, smooth=0.0, scales="static")
        if chosen.layernorm == "array" and recipe.residual == "int32"
        else recipe
    )


def _form(case: PreparedModel, recipe: Recipe) -> Form:
    on_host = "softmax" not in case.hw.array_operators and case.hw.array.input_type != case.hw.array.acc_type
    decodes = case.checkpoint.decoder is not None  # or has a decoder's layers
    if decodes and not (case.hw.array.input_type.startswith("int") and case.hw.accumulator.read_full_width):
        raise InputError(
            f"{case.checkpoint.name}: a decoder or vision transformer needs an array of integers whose sums are read "
            f"at full width, not {case.hw.name} (nearest: --hw gemmini_ibert)"
        )
    wide = on_host and (case.padded or case.checkpoint.decodes or recipe.residual == "int32")
    if wide and case.padded and not case.hw.accumulator.read_full_width:
        raise InputError(
            f"--pad-to: {case.hw.name} runs softmax on the host, its accumulator is not read at full width, and "
            f"{case.hw.array.input_type} cannot represent an attention mask; nearest: sequences of one length without "
            "padding, or --set accumulator.read_full_width=true"
        )
    takes_norm = case.hw.array.input_type.startswith("int") and "layernorm" in case.hw.array_operators
    centred = recipe.residual == "int32" and not case.checkpoint.decodes and recipe.centres(case.length)
    full = case.hw.accumulator.read_full_width
    return Form(case.padded, wide, full, recipe.residual, float_norm=takes_norm, centred=centred)


ROWS_TOGETHER = 256
"""Tokens of calibration sequences of one length computed in one batch: 0.3 GB of tensors for BERT-base."""


def statistics(
    case: PreparedModel, recipe: Recipe, sequences: Sequence[Tokens], progress: Progress = silent
) -> Statistics:
    """Return the statistics of sequences, each at its own length, in float32."""
    form = replace(_form(case, possible(recipe, case)), padded=False, centred=False)
    model, rows = case.checkpoint, recipe.clip != "max"
    total = sum(map(len, sequences))

    def lots() -> Iterator[Together]:
        done = 0
        for length in sorted({len(ids) for ids in sequences}):
            graph, weights = checkpoint_graph.graph_and_weights(model, length, case.engines, form)
            same = [ids for ids in sequences if len(ids) == length]
            most = max(1, ROWS_TOGETHER // length)
            for few in (same[first : first + most] for first in range(0, len(same), most)):
                progress(done, total, "calibration")
                inputs = [tokens.sequence_inputs(model, ids, length) for ids in few]
                together = {name: np.stack([one[name] for one in inputs]) for name in inputs[0]}
                given = {**tokens.inputs(model, few[0]), **weights}
                yield Together(graph, {name: v for name, v in given.items() if name not in together}, together)
                done += length * len(few)
        progress(total, total, "")

    key = name_of(model.digest, case.engines, form, sequences, rows)
    return measure(lots, total, model.epsilon, model.head_dim, rows=rows, key=key)


def prepared(
    case: PreparedModel, ids: Tokens, recipe: Recipe, seen: Statistics, words: Sequence[Precision] = ()
) -> tuple[Model, Numerics]:
    """Return the model on ``ids`` and its quantisation, with scales from `statistics`."""
    recipe, model = possible(recipe, case), case.checkpoint
    if words:  # loads that cut bits change the scales of sums, which those of a mean must equal
        recipe = replace(recipe, centred="off")
    form, seen = _formed(case, recipe, seen)
    graph, weights = checkpoint_graph.graph_and_weights(model, case.length, case.engines, form)
    given = {**tokens.inputs(model, ids, case.length), **weights}
    encoded = checkpoint_graph.encoded(model)
    return Model(graph, given, model.epsilon, model.head_dim, encoded), Numerics(recipe, seen, words, case.commands)


def _formed(case: PreparedModel, recipe: Recipe, seen: Statistics) -> tuple[Form, Statistics]:
    """Return the form of a model with the columns that are split, and the statistics of what these make of tensors."""
    model, form = case.checkpoint, _form(case, recipe)
    if form.residual == "int32" and case.engines.layernorm == "array":
        extra, plain_form = recipe.extra(case.hw.dim, ON_ARRAY), form

        def chosen() -> layout.Layout:
            graph, weights = checkpoint_graph.graph_and_weights(model, case.length, case.engines, plain_form)
            return layout.choose(graph, {**model.weights, **weights}, seen, case.hw.dim, extra)

        found = layout.recalled(chosen, seen.key, case.hw.dim, extra)
        form, seen = replace(form, copies=found.copies, groups=found.groups), seen.arranged(found.sources)
    elif extra := recipe.extra(case.hw.dim):
        plain = checkpoint_graph.graph(model, case.length, case.engines, form)
        form = replace(form, copies=_copies(plain, seen, extra))
    return form, seen


def _copies(graph: Graph, seen: Statistics, extra: int) -> dict[str, tuple[int, ...]]:
    """Return by tensor the columns that are split."""
    return {
        op.inputs[0].tensor: outliers.choose(seen.largest[op.inputs[0].tensor], extra)
        for op in graph.ops
        if "copies" in op.attrs and graph.tensors[op.output.tensor].dtype == "int8"
    }


def similarity(
    case: PreparedModel, recipe: Recipe, sentences: Sequence[Ids], seen: Statistics, progress: Progress
) -> Similarity:
    """Run sentences, each at its own length, with the same scales; compare their outputs with float."""
    found: list[Any] = [None] * len(sentences)
    lengths = sorted({len(ids) for ids in sentences})
    done = 0
    for length in lengths:
        same = [number for number, ids in enumerate(sentences) if len(ids) == length]
        sized = replace(case, length=length, padded=False)
        model, numerics = prepared(sized, sentences[same[0]], recipe, seen)
        inputs = [tokens.sequence_inputs(case.checkpoint, sentences[number], length) for number in same]
        for number, pair in zip(same, encode(model, case.hw, numerics, inputs), strict=True):
            found[number] = pair
        done += len(same)
        progress(done, len(sentences), f"{length} tokens")
    return compared([pair[0] for pair in found], [pair[1] for pair in found])


def generated(
    case: PreparedModel, recipe: Recipe, prompt: Ids, count: int, seen: Statistics, progress: Progress
) -> Generated:
    """Let a decoder choose ``count`` tokens after ``prompt``, with scales from `statistics`."""
    length, model = len(prompt) + count - 1, case.checkpoint
    sized = replace(case, length=length, padded=False)
    whole, numerics = prepared(sized, [*prompt, *[tokens.PAD] * (count - 1)], recipe, seen)
    form, _ = _formed(sized, numerics.recipe, seen)

    def phase(ids: Ids, past: int) -> Model:
        behind = replace(form, cache=length, past=past)
        graph, weights = checkpoint_graph.graph_and_weights(model, len(ids), case.engines, behind)
        given = {**tokens.inputs(model, ids), **weights}
        return replace(whole, graph=graph, given=given)

    def inputs(ids: Sequence[int], first: int) -> dict[str, Any]:
        return tokens.sequence_inputs(model, list(ids), len(ids), first)

    phases = Phases(whole, phase(prompt, 0), lambda past: phase([tokens.PAD], past), inputs)
    return generate(phases, case.hw, numerics, prompt, count, progress)
