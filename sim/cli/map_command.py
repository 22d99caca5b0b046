"""``carat map``: find the mapping of each operator of a workload."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sim.base.workers import cores
from sim.cli import common
from sim.cli.sweep import INTERRUPTED

if TYPE_CHECKING:
    from sim.graph import Graph
    from sim.hardware import Hardware
    from sim.mapping.maps import Maps
    from sim.mapping.spaces import Reach
    from sim.run.result import Result

HEADINGS = ("operators", "shape", "library", "found", "proof", "cycles", "found", "gain")
SUFFIXES = (".toml", ".h", ".json")


def map_workload(
    workload: common.Workload = "bert-base",
    hw: common.Machine = common.DEFAULT_HARDWARE,
    set_: common.Settings = None,
    cpu: common.Cpu = None,
    seq: common.Seq = None,
    batch: common.Batch = None,
    size: common.Sizes = None,
    objective: common.Objective = "cycles",
    reach: common.Reach = "call",
    effort: Annotated[
        int | None,
        typer.Option("--effort", min=1, metavar="CYCLES", help="Simulated cycles per operator at most."),
    ] = None,
    jobs: common.Jobs = None,
    store: common.Store = None,
    given: Annotated[
        Path | None,
        typer.Option("--from", metavar="maps.toml", help="Convert these maps instead of searching."),
    ] = None,
    output: Annotated[
        list[Path] | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write maps: .toml, .h (C header) or .json; repeatable."),
    ] = None,
    as_json: common.AsJson = False,
) -> None:
    """Find tiles for each operator, at least as good as the C library's, by simulating candidates."""
    from sim.run.pipeline import load_machine, resolve_graph

    _check_outputs(output or [])
    machine = load_machine(hw, common.settings(set_, cpu))
    graph = resolve_graph(workload, common.sizes(seq, batch, size))
    if given is not None:
        from sim.mapping.mapfile import read
        from sim.mapping.maps import check

        maps = read(given)
        check(maps, graph, machine, str(given))
    else:
        maps = _search(graph, machine, objective, reach, effort, jobs or cores(), store)
    _write(maps, output or [])
    if as_json:
        from sim.mapping.export import to_plain

        typer.echo(json.dumps(to_plain(maps), indent=1))
        return
    _print(maps, graph, machine)


def _search(
    graph: Graph,
    machine: Hardware,
    objective: Literal["cycles", "energy", "edp"],
    reach: Reach,
    effort: int | None,
    jobs: int,
    store: Path | None,
) -> Maps:
    from sim.mapping.journal import Journal
    from sim.mapping.maps import find
    from sim.mapping.searching import EFFORT_CYCLES

    try:
        with common.progress_bar("mapping") as progress, Journal(store) as journal:
            return find(
                graph,
                machine,
                objective=objective,
                reach=reach,
                effort_cycles=effort or EFFORT_CYCLES,
                jobs=jobs,
                journal=journal,
                progress=progress,
            )
    except KeyboardInterrupt:
        kept = f"what was simulated is kept in {store}; the same command goes on from there" if store else ""
        typer.echo(f"carat: interrupted; {kept or 'use --store to keep what was simulated'}", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _check_outputs(outputs: list[Path]) -> None:
    from sim.base.errors import InputError

    wrong = [path for path in outputs if path.suffix not in SUFFIXES]
    if wrong:
        kinds = ".toml (maps), .h (C header) or .json"
        raise InputError([f"-o {path}: the name must end in {kinds}" for path in wrong])
    for path in outputs:
        common.output_folder(path.parent)


def _write(maps: Maps, outputs: list[Path]) -> None:
    from sim.base.files import write_whole
    from sim.mapping.export import to_header, to_json
    from sim.mapping.mapfile import to_toml

    writers = {".toml": to_toml, ".h": to_header, ".json": to_json}
    for path in outputs:
        write_whole(path, writers[path.suffix](maps))


def _print(maps: Maps, graph: Graph, machine: Hardware) -> None:
    from sim.mapping.maps import operators
    from sim.mapping.opmapping import library

    items = {name: item for name, (_, item) in operators(graph, machine).items()}
    rows = []
    for entry in maps.entries:
        first, more = entry.operators[0], len(entry.operators) - 1
        gain = f"{entry.library_cycles / entry.cycles:.3f}x" if entry.cycles else "-"
        rows.append(
            (
                first + (f" and {more} equal" if more else ""),
                entry.shape,
                str(library(items[first], machine)),
                str(entry.mapping),
                _proof(entry.exhaustive, entry.gap),
                f"{entry.library_cycles:,}",
                f"{entry.cycles:,}",
                gain,
            )
        )
    common.print_table(f"{maps.workload} on {maps.hardware}: {maps.objective}", HEADINGS, rows, 5)


def _proof(exhaustive: bool, gap: float) -> str:
    """What the search proves: nothing is better, or nothing by more than a share, or (too large to list) nothing."""
    if exhaustive:
        return "best"
    return f"within {gap:.1%}" if gap >= 0 else "-"


def chosen(
    mapping: str,
    graph: Graph,
    machine: Hardware,
    sparsity: str | None,
    dataflow: str | None,
    objective: Literal["cycles", "energy", "edp"],
    reach: Reach,
    store: Path | None,
    progress: common.Progress,
) -> dict[str, dict[str, Any]]:
    """Return the tiles that ``--mapping`` asks for by operator; none for "library".

    Raises InputError for maps that do not belong to this run.
    """
    from sim.base.errors import InputError

    asked = {"--objective": objective if objective != "cycles" else None, "--reach": reach if reach != "call" else None}
    vain = [f"{name} {value}" for name, value in asked.items() if value]
    if vain and mapping != "best":
        raise InputError(f"{' and '.join(vain)}: only a search heeds it; use --mapping best, not --mapping {mapping}")
    if mapping == "library":
        return {}
    others = {"--sparsity": sparsity, "--dataflow": dataflow}
    clash = [f"{name} {value}" for name, value in others.items() if value]
    if clash:
        raise InputError(
            f"--mapping {mapping}: maps are of dense operators in the array's own dataflow; leave out "
            f"{' and '.join(clash)}, or use --mapping library"
        )
    if mapping == "best":
        from sim.mapping.journal import Journal
        from sim.mapping.maps import find

        with Journal(store) as journal:
            maps = find(
                graph,
                machine,
                objective=objective,
                reach=reach,
                jobs=cores(),
                journal=journal,
                progress=progress,
            )
        return maps.fields()
    if not mapping.endswith(".toml"):
        raise InputError(f"--mapping {mapping}: must be library, best or a file of `carat map` (.toml)")
    from sim.mapping.mapfile import read
    from sim.mapping.maps import check

    maps = read(mapping)
    check(maps, graph, machine, mapping)
    return maps.fields()


def changes(before: Result, after: Result) -> list[dict[str, Any]]:
    """Return, per group of equal operators, cycles before and after and what each cause gave up."""
    from sim.mapping.maps import compare

    return [
        {
            "operators": list(change.operators),
            "cycles_before": change.before_cycles,
            "cycles_after": change.after_cycles,
            "saved_by_cause": dict(change.saved),
        }
        for change in compare(before, after)
    ]


def print_changes(found: list[dict[str, Any]], mapping: str) -> None:
    """Print one line per group of equal operators: cycles before and after, and which cause shrank."""
    rows = []
    for change in found:
        names, before, after = change["operators"], change["cycles_before"], change["cycles_after"]
        more = f" and {len(names) - 1} equal" if len(names) > 1 else ""
        saved = [(cause, n) for cause, n in change["saved_by_cause"].items() if n > 0]
        shrank = f"{saved[0][0]} -{saved[0][1]:,}" if saved else "-"
        rows.append((names[0] + more, shrank, f"{before:,}", f"{after:,}", f"{before / after:.3f}x"))
    headings = ("operators", "shrank most (cycles each)", "library", "mapped", "gain")
    common.print_table(f"Cycles before and after --mapping {mapping}", headings, rows, 2)
