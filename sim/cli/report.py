"""``carat report``: one self-contained HTML page of saved runs, or of a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sim.base.files import write_whole


def report(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="DIR...|SWEEP", help="Folders of `carat run -o`, or one sweep's table or store."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.html", help="HTML file to write.")] = Path(
        "report.html"
    ),
    whatif: Annotated[
        Path | None,
        typer.Option("--whatif", metavar="FILE.csv", help="Add a tornado plot of this table of `carat whatif -o`."),
    ] = None,
) -> None:
    """Write one HTML page that opens from disk: runs side by side with their differences, or a sweep."""
    from reports import page  # matplotlib: not for --help

    write_whole(page.checked(output), page.of(sources, whatif))
    typer.echo(f"{output}: open it in a browser")
