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
        typer.Option("-I", metavar="DIR", help="Folder with its headers; repeatable."),
    ] = None,
    define: Annotated[
        list[str] | None, typer.Option("-D", metavar="NAME[=VALUE]", help="Macro, e.g. BAREMETAL; repeatable.")
    ] = None,
    compiler: Annotated[str, typer.Option("--cc", help="C compiler.")] = "cc",
    arguments: Annotated[
        list[str] | None, typer.Option("--argument", metavar="WORD", help="Argument of the compiler; repeatable.")
    ] = None,
    case: Annotated[str | None, typer.Option(help="Name of the case in the file. Default: the first file's.")] = None,
) -> None:
    """Compile an unmodified Gemmini C program natively, run it and write its commands, fences included.

    `carat replay FILE.csv --calls` then gives cycles of each library call with any machine and any --cpu. No
    accelerator writes results here: an exit after a failed check of results is ignored, and the program continues.
    """
    from sim.cpu.record import Build, record  # numpy

    build = Build(tuple(include or ()), tuple(define or ()), compiler)
    ended = record(sources, output, build, case or sources[0].stem, arguments or ())
    if ended.failed_checks:
        note = "no accelerator wrote the results, and the recording continued after it"
        typer.echo(f"carat: {ended.failed_checks} exits at a failed check of the program: {note}", err=True)
    if ended.code:
        note = "if it stopped at a check of its results, later commands are missing (leave the check out with -D)"
        typer.echo(f"carat: the program ended with exit code {ended.code}; {note}", err=True)
