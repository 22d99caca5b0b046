"""``carat infer``: a trained encoder from a folder, in integers, on a machine; numbers, error and cycles in one go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sim.cli import common

if TYPE_CHECKING:
    from sim.functional.inference import Inference

HEADINGS = ("operator", "kind", "engine", "cycles", "error", "zeros A", "zeros W", "blocks W")

Gelu = Literal["host", "array"]


def infer(
    model_dir: Annotated[
        Path, typer.Argument(help="Folder with config.json and model.safetensors (BERT, DistilBERT).")
    ],
    tokens: Annotated[
        str,
        typer.Option("--tokens", metavar="IDS", help="Token ids 101,2023,...; a file of them; or random:N."),
    ] = "random:128",
    hw: common.Machine = common.DEFAULT_HARDWARE,
    set_: common.Settings = None,
    calibrate: Annotated[
        Path | None,
        typer.Option("--calibrate", help="File of further token sequences, one per line, that set the scales."),
    ] = None,
    gelu: Annotated[
        Gelu, typer.Option("--gelu", help="Who runs GELU: host (float), or the array's integer unit.")
    ] = "host",
    seed: common.Seed = 0,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Keep output.npy, infer.json and masks.npz here."),
    ] = None,
    as_json: common.AsJson = False,
) -> None:
    """Run a trained encoder with integer arithmetic on a machine; report cycles and the difference from float."""
    from sim.functional.inference import infer as run_inference
    from sim.functional.jit import is_compiled
    from sim.functional.tokens import calibration_inputs, inputs, read_tokens
    from sim.hardware import load as load_machine
    from workloads import checkpoint, checkpoint_graph

    common.output_folder(output)
    machine = load_machine(hw, common.settings(set_))
    model = checkpoint.load(model_dir)
    ids = read_tokens(tokens, model.vocabulary, model.positions, seed)
    further = calibration_inputs(calibrate, model, len(ids))
    graph = checkpoint_graph.graph(model, len(ids), wide_gelu=gelu == "host")
    if not is_compiled():
        typer.echo("carat: compiling the executor (once after each installation or change) ...", err=True)
    with common.progress_bar(f"{model.name} on {machine.name}") as progress:
        result = run_inference(
            graph,
            machine,
            inputs(model, ids),
            epsilon=model.epsilon,
            head_dim=model.head_dim,
            calibration=further,
            progress=progress,
        )
    totals = summary(result, model.name, machine.name, len(ids))
    if output is not None:
        keep(result, totals, output)
    if as_json:
        typer.echo(json.dumps({"totals": totals, "ops": _rows(result)}, indent=1))
        return
    _print(result, totals)
    if output is not None:
        typer.echo(f"\nKept in {output}: output.npy, infer.json, masks.npz (non-zero blocks per weight matrix)")


def summary(result: Inference, model: str, machine: str, tokens: int) -> dict[str, Any]:
    """Return the totals: names, cycles by engine, error against float, traffic."""
    array = sum(op.cycles for op in result.ops if op.engine == "array")
    return {
        "model": model,
        "hardware": machine,
        "tokens": tokens,
        "cycles": result.cycles,
        "array_cycles": array,
        "host_cycles": result.cycles - array,
        "relative_rms_error": result.error,
        "cosine": result.cosine,
        "polynomial_overflows": result.overflows,
        **{name.lower(): count for name, count in result.counters.items()},
    }


def keep(result: Inference, totals: dict[str, Any], folder: Path) -> None:
    """Write the output, the report and the masks, each whole or not at all. Raises InputError."""
    import io

    import numpy as np

    from sim.errors import InputError
    from sim.result import write_whole

    write_whole(folder / "infer.json", json.dumps({"totals": totals, "ops": _rows(result)}, indent=1) + "\n")
    output, masks = io.BytesIO(), io.BytesIO()
    np.save(output, result.output)
    arrays: dict[str, Any] = dict(result.masks)
    np.savez_compressed(masks, **arrays)
    for name, content in (("output.npy", output), ("masks.npz", masks)):
        partial = folder / f"{name}.partial"
        try:
            partial.write_bytes(content.getvalue())
            partial.replace(folder / name)
        except OSError as error:
            raise InputError(f"{folder / name}: cannot be written: {error.strerror}") from error


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
    common.print_table(f"{totals['model']}, {totals['tokens']} tokens, on {totals['hardware']}", HEADINGS, rows, 3)
    typer.echo(
        f"{totals['cycles']:,} cycles ({totals['array_cycles']:,} array, {totals['host_cycles']:,} host); "
        f"against float: rms error {result.error:.2%}, cosine {result.cosine:.5f}"
    )
    if result.overflows:
        typer.echo(f"{result.overflows:,} int32 overflows inside the integer polynomials: the numbers are unreliable")
