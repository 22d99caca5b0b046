"""`carat infer --compare`: a series of quantisations, each with its accuracy, cycles and bytes of DRAM."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sim.base.errors import InputError
from sim.cli import common
from sim.cli.infer import prepare
from sim.cli.infer.given import InferOptions
from sim.cli.infer.request import sentence_ids, sequence
from sim.functional.inference import infer as run_inference
from sim.functional.quantization.recipe import COMPARED, Recipe
from sim.functional.tokens import Sequence as Tokens
from sim.functional.tokens import padded_length
from workloads.checkpoint.graph import Engines

if TYPE_CHECKING:
    from sim.functional.quantization.statistics import Statistics
    from sim.hardware import Hardware
    from sim.sparsity.precision import Precision
    from workloads.checkpoint import Checkpoint

SENTENCES = ("smallest_cosine", "mean_cosine", "spearman")
COLUMNS = ("recipe", "cycles", "dram_bytes", "relative_rms_error", "cosine", *SENTENCES)
"""Columns of compare.csv: results of one sequence, then of the sentences (empty without --sentences)."""

HEADINGS = ("quantisation", "cycles", "MiB of DRAM", "rms error", "cosine", "least", "mean", "Spearman")


def compare(
    request: InferOptions, model: Checkpoint, machine: Hardware, engines: Engines, words: Sequence[Precision]
) -> None:
    """Run every recipe of `COMPARED`; print the table, and write it with a picture to the output folder if given."""
    ids = sequence(request, model)
    length = padded_length(len(ids), request.pad_to, model.positions)
    case = prepare.PreparedModel(model, machine, engines, length, length > len(ids), request.commands)
    calibration = prepare.calibration(request.calibrate, model, request.model_dir, length, request.seed)
    sentences = sentence_ids(request.sentences, model, request.model_dir)
    rows: list[dict[str, Any]] = []
    seen: dict[Recipe, Statistics] = {}
    tried: dict[Recipe, str] = {}
    with common.progress_bar(f"{model.name} on {machine.name}") as progress:
        for number, (name, recipe) in enumerate(COMPARED.items()):
            progress(number, len(COMPARED), name)
            used = prepare.possible(recipe, case)
            if used in tried:  # combinations that the machine does not support reduce to ones that were run already
                continue
            tried[used] = name
            key = replace(Recipe(), residual=used.residual)
            if key not in seen:
                seen[key] = prepare.statistics(case, replace(used, clip="mse"), calibration.sequences)
            rows.append(_row(case, name, used, (ids, sentences), seen[key], words))
        progress(len(COMPARED), len(COMPARED), "")
    if request.output is not None:
        _keep(request.output, rows, {"model": model.name, "hardware": machine.name, "tokens": len(ids)})
    if request.as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    _print(rows, f"{model.name}, {len(ids)} tokens, on {machine.name}; scales from {calibration.source}")
    if request.output is not None:
        typer.echo(
            f"\nKept in {request.output}: compare.csv, compare.json; picture: carat plot quantization {request.output}"
        )


def _row(
    case: prepare.PreparedModel,
    name: str,
    recipe: Recipe,
    sequences: tuple[Tokens, list[list[int]]],
    seen: Statistics,
    words: Sequence[Precision],
) -> dict[str, Any]:
    ids, sentences = sequences
    ready, numerics = prepare.prepared(case, ids, recipe, seen, words)
    result = run_inference(ready, case.hw, tokens=len(ids), numerics=numerics)
    row: dict[str, Any] = {
        "recipe": name,
        "cycles": result.cycles,
        "dram_bytes": result.counters["DRAM_READ_BYTES"] + result.counters["DRAM_WRITE_BYTES"],
        "relative_rms_error": result.error,
        "cosine": result.cosine,
        "smallest_cosine": None,
        "mean_cosine": None,
        "spearman": None,
        "options": asdict(recipe),
    }
    if sentences:
        found = prepare.similarity(case, recipe, sentences, seen, lambda done, total, label: None)
        row |= {key: found.report()[key] for key in SENTENCES}
    return row


def _keep(folder: Path, rows: list[dict[str, Any]], about: dict[str, Any]) -> None:
    """Write compare.csv and compare.json. Raises InputError if the folder cannot be written."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    try:
        for name, content in (
            ("compare.csv", text.getvalue()),
            ("compare.json", json.dumps({**about, "rows": rows}, indent=1) + "\n"),
        ):
            partial = folder / f".{name}.partial"
            partial.write_text(content, encoding="utf-8")
            partial.replace(folder / name)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror}") from error


def _print(rows: list[dict[str, Any]], title: str) -> None:
    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.4f}"

    cells = [
        (
            row["recipe"],
            f"{row['cycles']:,}",
            f"{row['dram_bytes'] / 2**20:.2f}",
            f"{row['relative_rms_error']:.1%}",
            *(number(row[name]) for name in ("cosine", "smallest_cosine", "mean_cosine", "spearman")),
        )
        for row in rows
    ]
    common.print_table(title, HEADINGS, cells, 1)
