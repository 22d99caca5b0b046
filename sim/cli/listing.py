"""``carat list``: what there is to simulate, and on what."""

from __future__ import annotations

import json

import typer

from sim.cli import common, options


def listing(as_json: options.AsJson = False) -> None:
    """List workloads, machines, energy tables and sparsity patterns."""
    from sim import hardware
    from sim.base.reading import read_toml
    from sim.hardware.files import config_files
    from sim.sparsity.edits.compress import WHAT
    from sim.sparsity.edits.pruning import WHAT as PRUNED
    from sim.sparsity.masks.zeros import SCHEMES
    from sim.sparsity.precision import TYPES
    from sim.sparsity.spec import PATTERNS
    from workloads import WORKLOADS

    machines, published = (
        {name: hardware.load(name).description for name in names()} for names in (hardware.presets, hardware.published)
    )
    workloads = {name: (builder.__doc__ or "").strip().split("\n")[0] for name, builder in WORKLOADS.items()}
    tables = sorted(config_files("energy"))
    cpus = {"none": "a command every cycle: the accelerator alone"}
    cpus |= {name: str(read_toml(file, name)["description"]) for name, file in config_files("cpu").items()}
    patterns, schemes = dict(PATTERNS), dict(SCHEMES)
    if as_json:
        content = {
            "workloads": workloads,
            "machines": machines,
            "published_machines": published,
            "cpus": cpus,
            "energy_tables": tables,
            "sparsity": patterns,
            "schemes": schemes,
            "pruning": PRUNED,
            "compression": WHAT,
            "word_types": TYPES,
        }
        typer.echo(json.dumps(content, indent=1))
        return
    common.print_table("Workloads", ("name", "what"), workloads.items(), 2)
    common.print_table("Machines (--hw)", ("name", "what"), machines.items(), 2)
    common.print_table("Published machines (--hw), docs/SPARSITY.md", ("name", "what"), published.items(), 2)
    common.print_table("CPUs (--cpu), docs/CPU.md", ("name", "what"), cpus.items(), 2)
    common.print_table("Sparsity (--sparsity)", ("pattern", "what"), patterns.items(), 2)
    common.print_table("Schemes (--sparsity PATTERN:DENSITY/SCHEME)", ("scheme", "what"), schemes.items(), 2)
    common.print_table("Pruning (--prune, [[prune]] of a SPEC.toml)", ("part", "what is kept"), PRUNED.items(), 2)
    common.print_table("Compression ([[compress]] of a SPEC.toml)", ("kind", "what"), WHAT.items(), 2)
    typer.echo(f"Word sizes ([[precision]] of a SPEC.toml): {', '.join(TYPES)}")
    typer.echo(f"Energy tables (--set energy_table=NAME): {', '.join(tables)}")
