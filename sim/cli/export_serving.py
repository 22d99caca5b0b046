"""``carat export-serving``: a decoder's latencies as tables for a serving simulator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sim.cli import options

if TYPE_CHECKING:
    from sim.run.request import Request

WITHOUT = ("seq", "batch", "phase", "kv", "dim", "unknown", "size", "tile", "prune", "saliency", "weights")


@options.asks(without=WITHOUT)
def export_serving(
    request: Request,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder in which HARDWARE/MODEL/VARIANT is written.")],
    max_tokens: Annotated[int, typer.Option("--max-tokens", help="Largest number of tokens of a batch.")] = 512,
    max_seqs: Annotated[int, typer.Option("--max-seqs", help="Largest number of sequences of a batch.")] = 16,
    max_kv: Annotated[int, typer.Option("--max-kv", help="Largest number of cached tokens of a sequence.")] = 2048,
    model: Annotated[
        str, typer.Option("--model", help="Name of the model in LLMServingSim; default: the workload's name.")
    ] = "",
    variant: Annotated[
        str, typer.Option("--variant", help="Name of the number type; default: the array's input type.")
    ] = "",
) -> None:
    """Write a decoder's latencies per operator in the format of LLMServingSim 2.0, a serving simulator."""
    from sim.run.serving import Bounds, bundle  # numpy: not for --help

    made = bundle(request, Bounds(max_tokens, max_seqs, max_kv), model=model, variant=variant)
    where = made.write(output)
    rows = ", ".join(f"{name} {len(table):,} rows" for name, table in made.tables.items())
    typer.echo(f"{where}: {rows}")
