"""``carat infer``: a trained encoder from a folder, in integers, on a machine; numbers, error and cycles in one go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sim.cli import common, options

if TYPE_CHECKING:
    from sim.functional.inference import Inference
    from sim.hardware import Hardware
    from sim.sparsity.precision import Precision
    from workloads.checkpoint import Checkpoint
    from workloads.checkpoint_graph import Engines

HEADINGS = ("operator", "kind", "engine", "cycles", "error", "zeros A", "zeros W", "blocks W")
DEFAULT_TOKENS = "random:128"

Gelu = Literal["host", "array", "fused"]
Engine = Literal["host", "array"]


def infer(
    model_dir: Annotated[
        Path, typer.Argument(help="Folder with config.json and model.safetensors (BERT, DistilBERT).")
    ],
    tokens: Annotated[
        str | None,
        typer.Option(
            "--tokens", metavar="IDS", help=f"Ids 101,2023,...; a file of them; or random:N (default {DEFAULT_TOKENS})."
        ),
    ] = None,
    text: Annotated[
        str | None, typer.Option("--text", help="Words instead of ids; needs vocab.txt in the folder.")
    ] = None,
    hw: options.Machine = options.DEFAULT_HARDWARE,
    set_: options.Settings = None,
    cpu: options.Cpu = None,
    calibrate: Annotated[
        Path | None,
        typer.Option("--calibrate", help="File of further token sequences, one per line, that set the scales."),
    ] = None,
    evaluate: Annotated[
        Path | None,
        typer.Option(
            "--evaluate",
            help="File of sequences, one per line, each with its label behind a tab if known: how often the head "
            "decides as in float, and as labelled.",
        ),
    ] = None,
    pad_to: Annotated[
        int | None, typer.Option("--pad-to", min=1, metavar="N", help="Fill up to N tokens behind an attention mask.")
    ] = None,
    gelu: Annotated[
        Gelu,
        typer.Option(
            "--gelu", help="host: in float; array: the integer unit, in a pass of its own; fused: behind the matmul."
        ),
    ] = "host",
    layernorm: Annotated[
        Engine, typer.Option("--layernorm", help="host: in float; array: the normaliser, gain and shift as a product.")
    ] = "host",
    embeddings: Annotated[
        Engine, typer.Option("--embeddings", help="host: summed in float; array: summed in int8.")
    ] = "host",
    integer: Annotated[
        bool,
        typer.Option("--integer", help="Everything on the array that it can do: array for all three of the above."),
    ] = False,
    sparsity: Annotated[
        str | None,
        typer.Option(
            "--sparsity",
            metavar="W4A8|SPEC.toml",
            help="Word sizes of matmuls: w4a8, w4a8@*.FF?, or [[precision]] tables, on an array that takes them.",
        ),
    ] = None,
    seed: options.Seed = 0,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Keep output.npy, infer.json and masks.npz here."),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Run a trained encoder with integer arithmetic on a machine; report cycles and the difference from float."""
    from sim.functional.inference import infer as run_inference
    from sim.functional.jit import is_compiled
    from sim.functional.tokens import calibration_inputs, inputs, padded_length, sequence_inputs
    from sim.hardware import load as load_machine
    from workloads import checkpoint, checkpoint_graph

    words = _words(sparsity)
    common.output_folder(output)
    machine = load_machine(hw, options.settings(set_, cpu))
    engines = checkpoint_graph.Engines(*("array",) * 3 if integer else (gelu, layernorm, embeddings))
    _check_engines(engines, machine)
    model = checkpoint.load(model_dir)
    others = _labelled(evaluate, model)
    default = ",".join(map(str, others[0][0])) if others else DEFAULT_TOKENS
    ids = _ids(model, model_dir, tokens or (default if text is None else None), text, seed)
    lengths = [len(ids), *(len(sequence) for sequence, _ in others)]
    length = padded_length(max(lengths), pad_to, model.positions)
    further = calibration_inputs(calibrate, model, length)
    padded = length > min(lengths)
    wide = padded and _wide_scores(machine)
    graph = checkpoint_graph.graph(
        model, length, engines, padded=padded, wide_scores=wide, full_sums=machine.accumulator.read_full_width
    )
    if not is_compiled():
        typer.echo("carat: compiling the executor (once after each installation or change) ...", err=True)
    with common.progress_bar(f"{model.name} on {machine.name}") as progress:
        result = run_inference(
            graph,
            machine,
            {**inputs(model, ids, length), **checkpoint_graph.constants(model, graph)},
            epsilon=model.epsilon,
            head_dim=model.head_dim,
            tokens=len(ids),
            encoded=checkpoint_graph.encoded(model),
            calibration=further,
            others=[(sequence_inputs(model, sequence, length), len(sequence)) for sequence, _ in others],
            words=words,
            progress=progress,
        )
    totals = summary(result, model.name, machine.name, len(ids), length)
    head = head_report(result, model)
    evaluation = evaluation_report(result, model, others)
    report = {
        "totals": totals,
        "head": head,
        "evaluation": evaluation,
        "sparsity": densities(result, machine.dim),
        "ops": _rows(result),
    }
    if output is not None:
        keep(result, report, output)
    if as_json:
        typer.echo(json.dumps(report, indent=1))
        return
    _print(result, totals)
    _print_head(head, model)
    if evaluation is not None:
        typer.echo(evaluation["told"])
    if output is not None:
        logits = "" if result.logits is None else "logits.npy, "
        typer.echo(f"\nKept in {output}: output.npy, {logits}infer.json, masks.npz (non-zero blocks per weight matrix)")


def _words(text: str | None) -> tuple[Precision, ...]:
    """Return the word sizes of --sparsity. Raises InputError for all else that it may say."""
    from sim.base.errors import InputError
    from sim.sparsity.rules import Rules
    from sim.sparsity.spec import parse

    if text is None:
        return ()
    found = parse(text)
    if found != Rules(precisions=found.precisions) or not found.precisions:
        raise InputError(
            f"--sparsity {text}: carat infer runs word sizes; zeros of real weights are measured, and carat run skips "
            "them (nearest: w4a8, or a SPEC.toml of [[precision]] tables)"
        )
    return found.precisions


def _check_engines(engines: Engines, machine: Hardware) -> None:
    """Refuse units that the machine does not have."""
    from sim.base.errors import InputError

    missing = sorted(engines.needs() - set(machine.array_operators))
    if missing:
        raise InputError(
            [
                f"--{what} array: {machine.name} has no unit for it (features.normalizations on an integer array, and "
                "not in host.takes); nearest: host, or a machine such as gemmini_ibert"
                for what in missing
            ]
        )


def _wide_scores(machine: Hardware) -> bool:
    """Whether scores with a mask have to leave the array as sums: elements have no room for it, unless floats have."""
    from sim.base.errors import InputError

    if "softmax" in machine.array_operators or machine.array.input_type == machine.array.acc_type:
        return False
    if not machine.accumulator.read_full_width:
        raise InputError(
            f"--pad-to: {machine.name} runs softmax on the host, its accumulator is not read at full width, and "
            f"{machine.array.input_type} has no room for an attention mask; nearest: sequences of one length without "
            "padding, or --set accumulator.read_full_width=true"
        )
    return True


def _ids(model: Checkpoint, folder: Path, tokens: str | None, text: str | None, seed: int) -> list[int]:
    """The token ids that --tokens or --text gives."""
    from sim.base.errors import InputError
    from sim.functional.tokens import read_tokens

    if text is None:
        return read_tokens(tokens or DEFAULT_TOKENS, model.vocabulary, model.positions, seed)
    if tokens is not None:
        raise InputError("--tokens and --text exclude each other; give one")
    from workloads import wordpiece

    found = wordpiece.load(folder).encode(text)
    return read_tokens(",".join(map(str, found)), model.vocabulary, model.positions)


def _labelled(path: Path | None, model: Checkpoint) -> list[tuple[list[int], str | None]]:
    """The sequences and labels of --evaluate."""
    from sim.base.errors import InputError
    from sim.functional.tokens import read_labelled
    from sim.functional.verdict import named

    if path is None:
        return []
    head = model.head
    if head is None or not head.labels or head.problem == "regression":
        raise InputError(
            f"--evaluate: {model.name} has no head that decides anything (a classifier or an answer's span)"
        )
    found = read_labelled(path, model.vocabulary, model.positions)
    if head.kind != "sequence" or head.problem != "single_label_classification":
        return [(ids, None) for ids, _ in found]
    labels = named([label for _, label in found], head.labels)
    return [(ids, label) for (ids, _), label in zip(found, labels, strict=True)]


def evaluation_report(
    result: Inference, model: Checkpoint, others: list[tuple[list[int], str | None]]
) -> dict[str, Any] | None:
    """Return how the sequences of --evaluate were decided; None without."""
    from dataclasses import asdict

    from sim.functional.verdict import evaluate, judge

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
        "relative_rms_error": result.error,
        "cosine": result.cosine,
        "polynomial_overflows": result.overflows,
        **{name.lower(): count for name, count in result.counters.items()},
    }


def head_report(result: Inference, model: Checkpoint) -> dict[str, Any] | None:
    """Return what the head decides in integers and in float, its logits and their error; None without a head."""
    from sim.functional.inference import relative_error
    from sim.functional.verdict import judge

    if model.head is None or result.logits is None or result.reference_logits is None:
        return None
    head = model.head
    verdict = judge(result.logits, result.reference_logits, head.kind, head.labels, head.problem)
    return {
        "kind": head.kind,
        "problem": head.problem if head.labels else None,
        "labels": list(head.labels),
        "decisions": list(verdict.decisions),
        "float_decisions": list(verdict.float_decisions),
        "same_decisions": verdict.same,
        "relative_rms_error": relative_error(result.logits, result.reference_logits),
        "largest_difference": float(abs(result.logits - result.reference_logits).max()),
        "logits": result.logits.tolist(),
        "float_logits": result.reference_logits.tolist(),
        "told": str(verdict),
    }


def densities(result: Inference, block: int) -> dict[str, str]:
    """Return, per weight matrix, its measured density as `carat run --sparsity` reads it."""
    return {name: f"block{block}:{result.masks[name].mean():.6g}@{name}" for name in sorted(result.masks)}


def keep(result: Inference, report: dict[str, Any], folder: Path) -> None:
    """Write output, logits, masks and report: all whole beside their places, then moved there. Raises InputError."""
    import os
    import shutil

    import numpy as np

    from sim.base.errors import InputError

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
        for name in ("output.npy", *logits, "masks.npz", "infer.json"):  # where the report is, the others are too
            (partial / name).replace(folder / name)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _rows(result: Inference) -> list[dict[str, Any]]:
    from dataclasses import asdict

    return [asdict(op) for op in result.ops]


def _print(result: Inference, totals: dict[str, Any]) -> None:
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
    if result.overflows:
        typer.echo(f"{result.overflows:,} int32 overflows inside the integer polynomials: the numbers are unreliable")


def _print_head(head: dict[str, Any] | None, model: Checkpoint) -> None:
    if head is not None:
        off = f"logits off by {head['largest_difference']:.3g} at most, rms error {head['relative_rms_error']:.2%}"
        if head["kind"] == "pooler":
            typer.echo(f"pooler: rms error {head['relative_rms_error']:.2%}")
        elif head["problem"] == "regression":
            typer.echo(f"{head['kind']}: {head['logits'][0][0]:.4g} (float: {head['float_logits'][0][0]:.4g}); {off}")
        else:
            typer.echo(f"{head['kind']}: {head['told']}; {off}")
    if model.unused:
        more = ", ..." if len(model.unused) > 3 else ""
        typer.echo(f"Not run: {len(model.unused)} tensors of the file ({', '.join(model.unused[:3])}{more})")
