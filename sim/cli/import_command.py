"""``carat import``: any workload as a graph file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sim.base.errors import InputError
from sim.base.files import write_whole
from sim.cli import options
from sim.cli.analyze import NO_MACHINE

if TYPE_CHECKING:
    from sim.run.request import Request


@options.asks(without=NO_MACHINE)
def import_workload(
    request: Request,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.json", help="Write the graph here.")],
) -> None:
    """Write a workload (a name with its sizes, a config.json, a graph file) as a graph file that `carat run` reads."""
    from sim.run.request import Resolver  # numpy
    from workloads.graph_file import FORMAT  # numpy

    if output.suffix != ".json":
        raise InputError(f"-o {output}: the name must end in .json, by which `carat run` recognises a graph file")
    graph = Resolver().graph(request)
    write_whole(output, json.dumps({"format": FORMAT, **graph.to_dict()}, indent=1) + "\n")
    typer.echo(
        f"{graph.name}: {len(graph.ops):,} operators, {graph.macs:,} MACs, {graph.parameters:,} weights: {output}"
    )
