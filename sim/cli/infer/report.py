"""The report of `carat infer`: totals, the head's decisions, densities; printed, or written to a folder."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from sim.base.errors import InputError
from sim.cli import common
from sim.functional.inference import relative_error
from sim.functional.verdict import evaluate, judge, perplexity

if TYPE_CHECKING:
    from sim.functional.inference import Inference
    from sim.functional.tokens import Sequence as Tokens
    from workloads.checkpoint import Checkpoint

HEADINGS = ("operator", "kind", "engine", "cycles", "error", "zeros A", "zeros W", "blocks W")


def evaluation_report(
    result: Inference, model: Checkpoint, others: list[tuple[Tokens, str | None]]
) -> dict[str, Any] | None:
    """Return the decisions on the sequences of --evaluate; None without that option."""

    head = model.head
    if not others or head is None:
        return None
    verdicts = [judge(found, wanted, head.kind, head.labels, head.problem) for found, wanted in result.others]
    found = evaluate(verdicts, [label for _, label in others])
    decisions = [list(verdict.decisions) for verdict in verdicts]
    return {**asdict(found), "decided": decisions, "told": str(found)}


def summary(result: Inference, model: str, machine: str, tokens: int, length: int) -> dict[str, Any]:
    """Return the totals: names, cycles by engine, error against float, traffic."""
    array = sum(op.cycles for op in result.ops if op.engine == "array")
    return {
        "model": model,
        "hardware": machine,
        "tokens": tokens,
        "padded_tokens": length,
        "cycles": result.cycles,
        "array_cycles": array,
        "host_cycles": result.cycles - array,
        "on_host": on_host(result),
        "relative_rms_error": result.error,
        "cosine": result.cosine,
        "polynomial_overflows": result.overflows,
        **{name.lower(): count for name, count in result.counters.items()},
    }


def on_host(result: Inference) -> dict[str, dict[str, int]]:
    """Return count and cycles of the host's operators by kind, conversions included."""
    found: dict[str, dict[str, int]] = {}
    for op in result.ops:
        if op.engine == "host":
            entry = found.setdefault(op.kind, {"operators": 0, "cycles": 0})
            entry["operators"] += 1
            entry["cycles"] += op.cycles
    return found


def head_report(result: Inference, model: Checkpoint, ids: Tokens) -> dict[str, Any] | None:
    """Return the head's decisions in integers and in float, its logits and their error; None without a head."""

    if model.head is None or result.logits is None or result.reference_logits is None:
        return None
    head = model.head
    verdict = judge(result.logits, result.reference_logits, head.kind, head.labels, head.problem)
    off = {
        "kind": head.kind,
        "relative_rms_error": relative_error(result.logits, result.reference_logits),
        "largest_difference": float(abs(result.logits - result.reference_logits).max()),
        "decisions": list(verdict.decisions),
        "float_decisions": list(verdict.float_decisions),
        "same_decisions": verdict.same,
        "told": str(verdict),
    }
    if head.kind == "language" and isinstance(ids, list):  # logits of every word after every token: in logits.npy
        found, wanted = (perplexity(logits, ids) for logits in (result.logits, result.reference_logits))
        return {**off, "perplexity": found, "float_perplexity": wanted}
    return {
        **off,
        "problem": head.problem if head.labels else None,
        "labels": list(head.labels),
        "logits": result.logits.tolist(),
        "float_logits": result.reference_logits.tolist(),
    }


def densities(result: Inference, block: int) -> dict[str, str]:
    """Return the measured density of each weight matrix in the grammar of `carat run --sparsity`."""
    return {name: f"block{block}:{result.masks[name].mean():.6g}@{name}" for name in sorted(result.masks)}


def keep(result: Inference, report: dict[str, Any], folder: Path) -> None:
    """Write output, logits, masks and report: all to temporary files first, then renamed. Raises InputError."""

    partial = folder / f".partial-{os.getpid()}"
    try:
        partial.mkdir()
        np.save(partial / "output.npy", result.output)
        arrays: dict[str, Any] = dict(result.masks)
        np.savez_compressed(partial / "masks.npz", **arrays)
        (partial / "infer.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        logits = () if result.logits is None else ("logits.npy",)
        if result.logits is not None:
            np.save(partial / "logits.npy", result.logits)
        for name in (
            "output.npy",
            *logits,
            "masks.npz",
            "infer.json",
        ):  # moved last: if the report exists, so do the other files
            (partial / name).replace(folder / name)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def rows(result: Inference) -> list[dict[str, Any]]:
    """Return the operators' reports as plain data."""
    return [asdict(op) for op in result.ops]


def print_operators(result: Inference, totals: dict[str, Any]) -> None:
    """Print the table of operators and the totals."""

    def share(value: float | None) -> str:
        return "-" if value is None else f"{value:.1%}"

    rows = [
        (op.name, op.kind, op.engine, f"{op.cycles:,}", share(op.error), share(op.zero_activations),
         share(op.zero_weights), share(op.nonzero_blocks))
        for op in result.ops
    ]  # fmt: skip
    length = totals["padded_tokens"]
    padding = f" (filled up to {length})" if length > totals["tokens"] else ""
    title = f"{totals['model']}, {totals['tokens']} tokens{padding}, on {totals['hardware']}"
    common.print_table(title, HEADINGS, rows, 3)
    typer.echo(
        f"{totals['cycles']:,} cycles ({totals['array_cycles']:,} array, {totals['host_cycles']:,} host); "
        f"against float: rms error {result.error:.2%}, cosine {result.cosine:.5f}"
    )
    if totals["on_host"]:
        kinds = (f"{n['operators']} {kind} ({n['cycles']:,} cycles)" for kind, n in totals["on_host"].items())
        typer.echo(f"On the host, in float: {', '.join(kinds)}")
    if result.overflows:
        typer.echo(f"{result.overflows:,} int32 overflows inside the integer polynomials: the numbers are unreliable")


def print_head(head: dict[str, Any] | None, model: Checkpoint) -> None:
    """Print the head's decisions, and the tensors of the file that are not used."""
    if head is not None:
        off = f"logits off by {head['largest_difference']:.3g} at most, rms error {head['relative_rms_error']:.2%}"
        if head["kind"] == "pooler":
            typer.echo(f"pooler: rms error {head['relative_rms_error']:.2%}")
        elif head["kind"] == "language":
            typer.echo(f"next tokens: {head['told']}; {off}")
            if head["perplexity"] is not None:
                typer.echo(f"perplexity {head['perplexity']:.4g} (float: {head['float_perplexity']:.4g})")
        elif head["problem"] == "regression":
            typer.echo(f"{head['kind']}: {head['logits'][0][0]:.4g} (float: {head['float_logits'][0][0]:.4g}); {off}")
        else:
            typer.echo(f"{head['kind']}: {head['told']}; {off}")
    if model.unused:
        more = ", ..." if len(model.unused) > 3 else ""
        typer.echo(f"Not run: {len(model.unused)} tensors of the file ({', '.join(model.unused[:3])}{more})")
