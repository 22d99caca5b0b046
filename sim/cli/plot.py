"""``carat plot``: one picture as PNG, SVG or PDF."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from sim.cli import common, options


@dataclass(frozen=True)
class Details:
    """Options of some kinds of picture."""

    shares: Annotated[bool, typer.Option("--shares", help="breakdown, causes, kinds: bars of one height.")] = False
    x: Annotated[str | None, typer.Option("--x", help="pareto: column, smaller is better; sensitivity: setting.")] = (
        None
    )
    y: Annotated[str | None, typer.Option("--y", help="pareto, sensitivity: column of results.")] = None
    color: Annotated[str | None, typer.Option("--color", help="pareto: column shown as colour.")] = None
    metric: Annotated[str | None, typer.Option("--metric", help="tornado: cycles, energy_pj or area_mm2.")] = None
    level: Annotated[Literal["dram", "all"] | None, typer.Option("--level", help="traffic: which levels.")] = None
    window: options.Window = None

    def given(self) -> dict[str, Any]:
        """Return the options that were given. Raises InputError."""
        named = vars(self) | {"shares": self.shares or None, "window": common.window(self.window)}
        return {name: value for name, value in named.items() if value is not None}


@options.records
def plot(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="What to draw; `carat plot list` names them.")],
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="SOURCE...",
            help="Run folders, a sweep, a whatif table, a trace or a machine, depending on the kind.",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help=".png, .svg or .pdf; default KIND.png.")
    ] = None,
    *,
    details: Details,
) -> None:
    """Draw one picture from saved runs, a sweep, a whatif table, a trace or a machine."""
    from reports import kinds  # matplotlib: not for --help

    if kind == "list":
        width = max(map(len, kinds.KINDS))
        for name, known in kinds.KINDS.items():
            typer.echo(f"{name:<{width}}  {known.about}, from {kinds.SOURCES[known.source][0]}")
        return
    path = output or Path(f"{kind}.png")
    kinds.plot(kind, sources or [], path, **details.given())
    typer.echo(f"drawn: {path}")
