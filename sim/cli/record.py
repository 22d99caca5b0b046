"""``carat record``: the command stream of a Gemmini C program, by running it natively."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def record(
    sources: Annotated[list[Path], typer.Argument(help="C files of the program; its main runs.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.csv", help="Write the stream here.")],
    include: Annotated[
        list[Path] | None,
        typer.Option("-I", metavar="DIR", help="Folder of its headers; repeatable."),
    ] = None,
    define: Annotated[
        list[str] | None, typer.Option("-D", metavar="NAME[=VALUE]", help="Macro, e.g. BAREMETAL; repeatable.")
    ] = None,
    compiler: Annotated[str, typer.Option("--cc", help="C compiler of this machine.")] = "cc",
    case: Annotated[str | None, typer.Option(help="Name of the case in the file. Default: the first file's.")] = None,
) -> None:
    """Compile an unmodified Gemmini C program natively, run it and write its commands, fences included.

    `carat replay FILE.csv --calls` then gives cycles of each library call with any machine and any --cpu. No
    accelerator writes results here: a program that checks them finds them wrong and may stop at that point.
    """
    from sim.cpu.record import Build, record

    build = Build(tuple(include or ()), tuple(define or ()), compiler)
    code = record(sources, output, build, case or sources[0].stem)
    if code:
        note = "if it stopped at a check of its results, the commands behind it are missing (leave it out with -D)"
        typer.echo(f"carat: the program ended with exit code {code}; {note}", err=True)
