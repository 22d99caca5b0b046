"""``carat analyze``: operations, bytes and parameters of a workload, without a machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from sim.cli import common, options

if TYPE_CHECKING:
    from sim.run.request import Request

NO_MACHINE = ("hw", "set_", "cpu", "sparsity", "prune", "saliency", "weights", "seed", "clock", "dataflow", "tile")
HEADINGS = ("", "operators", "GMACs", "GFLOPs", "MB", "FLOPs/byte")


@options.asks(without=NO_MACHINE)
def analyze(request: Request, as_json: options.AsJson = False) -> None:
    """Print FLOPs, ideal bytes, intensity, parameters and KV bytes of a workload, by operator kind and layer."""
    from sim.run.request import Resolver  # numpy: not for --help
    from workloads.profile import analyze as analysed  # numpy

    graph = Resolver().graph(request)
    found = analysed(graph)
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    rows = [_cells(kind, load) for kind, load in found["by_kind"].items()]
    common.print_table(f"{graph.name} by operator kind", HEADINGS, [*rows, _cells("total", found["total"])])
    common.print_table("by layer", HEADINGS, [_cells(layer, load) for layer, load in found["by_layer"].items()])
    typer.echo(
        f"{found['parameters']:,} weights in the graph ({found['weight_bytes'] / 1e6:,.3f} MB), "
        f"{found['kv_bytes'] / 1e6:,.3f} MB of KV cache"
    )


def _cells(name: str, load: dict[str, Any]) -> tuple[str, ...]:
    intensity = "-" if load["intensity"] is None else f"{load['intensity']:,.1f}"
    return (
        name,
        f"{load['ops']:,}",
        f"{load['macs'] / 1e9:,.3f}",
        f"{load['flops'] / 1e9:,.3f}",
        f"{load['bytes'] / 1e6:,.3f}",
        intensity,
    )
