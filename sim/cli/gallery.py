"""``carat gallery``: many networks on two machines as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def gallery(
    output: Annotated[Path, typer.Option("--output", "-o", help="Markdown file to write.")],
) -> None:
    """Run twenty networks on two machines; write cycles, energy and utilization of each as one Markdown page."""
    from sim.sweeps.gallery import page, rows  # numpy: not for --help

    text = page(rows(progress=lambda what: typer.echo(what, err=True)))
    output.write_text(text, encoding="utf-8")
    typer.echo(f"{output}: {text.count(chr(10))} lines")
