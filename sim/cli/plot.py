"""``carat plot``: one picture as PNG, SVG or PDF."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def plot(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="What to draw; `carat plot list` names them.")],
    sources: Annotated[
        list[Path] | None,
        typer.Argument(metavar="SOURCE...", help="Run folders, a sweep, a whatif table or a trace, as the kind needs."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help=".png, .svg or .pdf; default KIND.png.")
    ] = None,
) -> None:
    """Draw one picture from kept runs, a sweep, a whatif table or a trace."""
    from reports import kinds

    if kind == "list":
        width = max(map(len, kinds.KINDS))
        for name, known in kinds.KINDS.items():
            typer.echo(f"{name:<{width}}  {known.about}, from {kinds.SOURCES[known.source][0]}")
        return
    path = output or Path(f"{kind}.png")
    kinds.plot(kind, sources or [], path)
    typer.echo(f"drawn: {path}")
