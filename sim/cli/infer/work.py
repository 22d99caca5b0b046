"""The work of `carat infer`: read the model, choose scales, run, report."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from sim.base.errors import InputError
from sim.cli import common
from sim.cli.infer import fisher, prepare, report
from sim.cli.infer.compare import compare
from sim.cli.infer.given import InferOptions
from sim.cli.infer.request import (
    check_centred,
    check_engines,
    check_generated,
    check_given,
    check_scales,
    labelled,
    sentence_ids,
    sequence,
    words,
)
from sim.functional.generation import Generated
from sim.functional.inference import Inference
from sim.functional.inference import infer as run_inference
from sim.functional.quantization import recipe as recipes
from sim.functional.similarity import Similarity
from sim.functional.tokens import Sequence, padded_length, sequence_inputs
from sim.hardware import load as load_machine
from workloads import checkpoint
from workloads.checkpoint.graph import Engines

if TYPE_CHECKING:
    from sim.functional.quantization.recipe import Recipe
    from sim.functional.quantization.statistics import Statistics


def run(request: InferOptions) -> None:
    """Run the request, and print or write its report. Raises InputError before anything is written."""
    sizes = words(request.sparsity)
    recipe = recipes.parse(request.quantize or ())
    common.output_folder(request.output)
    machine = load_machine(request.hw, request.settings)
    model = checkpoint.load(request.model_dir)
    engines = Engines(*request.engines(model.decoder is not None))
    check_given(request, model)
    check_engines(engines, machine)
    if request.compare and request.generate is not None:
        raise InputError("--generate: --compare runs one sequence with each quantisation (nearest: without --generate)")
    if request.fisher is not None:
        fisher.check(request.fisher, model)
    alone = prepare.PreparedModel(model, machine, engines, 1, False)
    check_scales(request, recipe, alone)
    check_centred(request, recipe, alone)
    if request.compare:
        compare(request, model, machine, engines, sizes)
        return
    others = labelled(request, model)
    ids = sequence(request, model, others[0][0] if others else None)
    check_generated(request.generate, len(ids), model)
    lengths = [len(ids), *(len(sequence) for sequence, _ in others)]
    length = padded_length(max(lengths), request.pad_to, model.positions)
    case = prepare.PreparedModel(model, machine, engines, length, length > min(lengths), request.commands)
    calibration = prepare.calibration(request.calibrate, model, request.model_dir, length, request.seed)
    with common.progress_bar(f"scales from {calibration.source}") as progress:  # the executor may be compiled, too
        seen = prepare.statistics(case, recipe, calibration.sequences, progress)
        ready, numerics = prepare.prepared(case, ids, recipe, seen, sizes)
    with common.progress_bar(f"{model.name} on {machine.name}") as progress:
        result = run_inference(
            ready,
            machine,
            tokens=len(ids),
            numerics=numerics,
            others=[(sequence_inputs(model, sequence, length), len(sequence)) for sequence, _ in others],
            progress=progress,
        )
    more = {
        "similarity": similarities(request, case, recipe, seen),
        "generated": generated(request, case, recipe, seen, ids),
    }
    kept = None
    if request.fisher is not None:
        with common.progress_bar(f"Fisher information of {model.name}") as progress:
            kept = fisher.write(request.fisher, model, calibration.sequences, request.seed, progress)
    _report(request, case, calibration, result, (ids, others), more)
    if kept is not None and not request.as_json:
        typer.echo(kept)


def generated(
    request: InferOptions, case: prepare.PreparedModel, recipe: Recipe, seen: Statistics, ids: Sequence
) -> Generated | None:
    """Return the tokens of --generate; None without that option."""
    if request.generate is None or not isinstance(ids, list):
        return None
    with common.progress_bar(f"{request.generate} tokens of {case.checkpoint.name}") as progress:
        return prepare.generated(case, recipe, ids, request.generate, seen, progress)


def similarities(
    request: InferOptions, case: prepare.PreparedModel, recipe: Recipe, seen: Statistics
) -> Similarity | None:
    """Return the similarity of the vectors of --sentences to float; None without that option."""
    sentences = sentence_ids(request.sentences, case.checkpoint, request.model_dir)
    if not sentences:
        return None
    with common.progress_bar(f"{len(sentences)} sentences") as progress:
        return prepare.similarity(case, recipe, sentences, seen, progress)


def _report(
    request: InferOptions,
    case: prepare.PreparedModel,
    calibration: prepare.Calibration,
    result: Inference,
    sequences: tuple[Sequence, list[tuple[Sequence, str | None]]],
    more: dict[str, Similarity | Generated | None],
) -> None:
    """Print the report of a run, and write it to the output folder if given."""
    model, machine, (ids, others) = case.checkpoint, case.hw, sequences
    totals = report.summary(result, model.name, machine.name, len(ids), case.length)
    totals["calibration"] = calibration.source
    head = report.head_report(result, model, ids)
    evaluation = report.evaluation_report(result, model, others)
    whole: dict[str, Any] = {
        "totals": totals,
        "head": head,
        "evaluation": evaluation,
        **{name: None if found is None else found.report() for name, found in more.items()},
        "sparsity": report.densities(result, machine.dim),
        "ops": report.rows(result),
    }
    if request.output is not None:
        report.keep(result, whole, request.output)
    if request.as_json:
        typer.echo(json.dumps(whole, indent=1))
        return
    report.print_operators(result, totals)
    report.print_head(head, model)
    for line in (evaluation and evaluation["told"], *more.values()):
        if line is not None:
            typer.echo(line)
    if request.output is not None:
        logits = "" if result.logits is None else "logits.npy, "
        kept = f"output.npy, {logits}infer.json, masks.npz (non-zero blocks per weight matrix)"
        typer.echo(f"\nKept in {request.output}: {kept}")
