"""``carat list``: workloads, machines, and the values of options."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

import typer

from sim.base.reading import read_toml
from sim.cli import common, options


def listing(as_json: options.AsJson = False) -> None:
    """List workloads, machines, energy tables and sparsity patterns."""
    from sim import hardware  # pydantic and numpy: not for --help
    from sim.hardware.files import config_files  # pydantic
    from sim.plan.schedules import WHAT as schedules  # numpy
    from sim.sparsity.edits.compress import WHAT  # numpy
    from sim.sparsity.edits.pruning import WHAT as PRUNED  # numpy
    from sim.sparsity.masks.zeros import SCHEMES  # numpy
    from sim.sparsity.precision import TYPES  # numpy
    from sim.sparsity.spec import PATTERNS  # numpy
    from workloads import NETWORKS, WORKLOADS  # numpy

    machines, published = (
        {name: hardware.load(name).description for name in names()} for names in (hardware.presets, hardware.published)
    )
    workloads = {name: _about(name, builder) for name, builder in WORKLOADS.items()}
    sizes = {name: _sizes(name, builder) for name, builder in WORKLOADS.items()}
    networks = {name: _about(name, builder) for name, builder in NETWORKS.items()}
    tables = sorted(config_files("energy"))
    cpus = {"none": "a command every cycle: the accelerator alone"}
    cpus |= {name: str(read_toml(file, name)["description"]) for name, file in config_files("cpu").items()}
    patterns, schemes = dict(PATTERNS), dict(SCHEMES)
    if as_json:
        content = {
            "workloads": workloads,
            "workload_sizes": sizes,
            "networks": networks,
            "network_sizes": {name: _sizes(name, builder) for name, builder in NETWORKS.items()},
            "machines": machines,
            "published_machines": published,
            "cpus": cpus,
            "energy_tables": tables,
            "schedules": schedules,
            "sparsity": patterns,
            "schemes": schemes,
            "pruning": PRUNED,
            "compression": WHAT,
            "word_types": TYPES,
        }
        typer.echo(json.dumps(content, indent=1))
        return
    for heading, found, builders in (
        ("Workloads", workloads, WORKLOADS),
        ("Networks (--phase, --seq, --kv), docs/WORKLOADS.md", networks, NETWORKS),
    ):
        rows = [
            (name, what, " ".join(f"{size}={value}" for size, value in _sizes(name, builders[name]).items()))
            for name, what in found.items()
        ]
        common.print_table(heading, ("name", "meaning", "--size, with defaults"), rows, 3)
    common.print_table("Machines (--hw)", ("name", "meaning"), machines.items(), 2)
    common.print_table("Published machines (--hw), docs/SPARSITY.md", ("name", "meaning"), published.items(), 2)
    common.print_table("CPUs (--cpu), docs/CPU.md", ("name", "meaning"), cpus.items(), 2)
    common.print_table("Schedules (--schedule), docs/SCHEDULES.md", ("name", "meaning"), schedules.items(), 2)
    common.print_table("Sparsity (--sparsity)", ("pattern", "meaning"), patterns.items(), 2)
    common.print_table("Schemes (--sparsity PATTERN:DENSITY/SCHEME)", ("scheme", "meaning"), schemes.items(), 2)
    common.print_table("Pruning (--prune, [[prune]] of a SPEC.toml)", ("part", "what is kept"), PRUNED.items(), 2)
    common.print_table("Compression ([[compress]] of a SPEC.toml)", ("kind", "meaning"), WHAT.items(), 2)
    typer.echo(f"Word sizes ([[precision]] of a SPEC.toml): {', '.join(TYPES)}")
    typer.echo(f"Energy tables (--set energy_table=NAME): {', '.join(tables)}")


def _about(name: str, builder: Callable[..., object]) -> str:
    """Return layers and widths of a published model, else the first line of its builder's docstring."""
    from workloads import MODELS  # numpy: not for --help
    from workloads.networks.decoders import DECODERS  # numpy: not for --help
    from workloads.networks.models import ENCODERS  # numpy: not for --help

    model: Any = MODELS.get(name) or ENCODERS.get(name) or DECODERS.get(name)
    if model is not None:
        return f"{model.layers} layers, hidden {model.hidden}, {model.heads} heads, ffn {model.ffn}"
    return (builder.__doc__ or "").strip().split("\n")[0].split(" Raises ")[0].removeprefix("Return ").replace("``", "")


def _sizes(name: str, builder: Callable[..., object]) -> dict[str, object]:
    """Return the sizes that a builder takes, each with its default; a published model has its own layers."""
    from workloads import MODELS  # numpy: not for --help

    defaults = {part.name: part.default for part in inspect.signature(builder).parameters.values()}
    if name in MODELS:
        defaults["layers"] = MODELS[name].layers
    found = {size: int(value) if isinstance(value, bool) else value for size, value in defaults.items()}
    return {size: value for size, value in found.items() if value not in (None, "")}
