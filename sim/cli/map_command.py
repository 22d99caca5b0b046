"""``carat map``: find the mapping of each operator of a workload."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim.base.errors import InputError
from sim.base.files import write_whole
from sim.base.workers import cores
from sim.cli import INTERRUPTED, common, map_sample, options

if TYPE_CHECKING:
    from sim.mapping.maps import Maps
    from sim.run.request import Case, Request
    from sim.run.result import Result

HEADINGS = ("operators", "shape", "library", "found", "proof", "cycles", "found", "gain")
SUFFIXES = (".toml", ".h", ".json")


@dataclass(frozen=True)
class TileOptions:
    """Options of a search for tiles."""

    objective: options.Objective = "cycles"
    reach: options.Reach = "call"
    store: options.Store = None


@dataclass(frozen=True)
class Tiling(TileOptions):
    """Tiles of a run: the library's, searched for (best), or those of a file."""

    mapping: Annotated[
        str,
        typer.Option(
            "--mapping",
            metavar="library|best|FILE.toml",
            help="Tiles: the C library's, searched for (--store keeps the search), or those of `carat map`; shows "
            "before and after.",
        ),
    ] = "library"


@options.asks("bert-base", without=("sparsity", "prune", "saliency", "weights", "seed", "clock", "dataflow", "tile"))
def map_workload(
    request: Request,
    search: TileOptions,
    effort: Annotated[
        int | None,
        typer.Option("--effort", min=1, metavar="CYCLES", help="Simulated cycles per operator at most."),
    ] = None,
    jobs: options.Jobs = None,
    *,
    sampling: map_sample.SamplingOptions,
    given: Annotated[
        Path | None,
        typer.Option("--from", metavar="maps.toml", help="Convert these maps instead of searching."),
    ] = None,
    output: Annotated[
        list[Path] | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write maps: .toml, .h (C header) or .json; repeatable."),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Find tiles for each operator, at least as good as the C library's, by simulating candidates.

    With --sample, draw mappings at random instead: any order, cut and part of the array.
    """
    from sim.mapping.export import to_plain  # SQLite
    from sim.run.request import resolve  # numpy

    if sampling.sample is not None:
        map_sample.run(resolve(request), sampling, jobs or cores(), output or [], as_json)
        return
    sampling.refuse_alone()
    _check_outputs(output or [])
    case = resolve(request)
    maps = _read(str(given), case) if given is not None else _search(case, search, effort, jobs or cores())
    _write(maps, output or [])
    if as_json:
        typer.echo(json.dumps(to_plain(maps), indent=1))
        return
    _print(maps, case)


def _read(path: str, case: Case) -> Maps:
    from sim.mapping.mapfile import read  # SQLite
    from sim.mapping.maps import check  # SQLite

    maps = read(path)
    check(maps, case.graph, case.hw, path, case.schedule)
    return maps


def _search(case: Case, search: TileOptions, effort: int | None, jobs: int) -> Maps:
    """Search with a progress bar; Ctrl-C ends it with a message on what is stored."""
    try:
        with common.progress_bar("mapping") as progress:
            return _found(case, search, progress, effort, jobs)
    except KeyboardInterrupt:
        kept = f"results so far are kept in {search.store}; the same command continues from there"
        advice = kept if search.store else "use --store to keep results"
        typer.echo(f"carat: interrupted; {advice}", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _found(case: Case, search: TileOptions, progress: common.Progress, effort: int | None, jobs: int) -> Maps:
    from sim.mapping.journal import Journal  # SQLite
    from sim.mapping.maps import Searched, find  # SQLite
    from sim.mapping.searching import EFFORT_CYCLES  # SQLite

    with Journal(search.store) as journal:
        return find(
            Searched(case.graph, case.hw, case.schedule),
            objective=search.objective,
            reach=search.reach,
            effort_cycles=effort or EFFORT_CYCLES,
            jobs=jobs,
            journal=journal,
            progress=progress,
        )


def _check_outputs(outputs: list[Path]) -> None:
    wrong = [path for path in outputs if path.suffix not in SUFFIXES]
    if wrong:
        kinds = ".toml (maps), .h (C header) or .json"
        raise InputError([f"-o {path}: the name must end in {kinds}" for path in wrong])
    for path in outputs:
        common.output_folder(path.parent)


def _write(maps: Maps, outputs: list[Path]) -> None:
    from sim.mapping.export import to_header, to_json  # SQLite
    from sim.mapping.mapfile import to_toml  # SQLite

    writers = {".toml": to_toml, ".h": to_header, ".json": to_json}
    for path in outputs:
        write_whole(path, writers[path.suffix](maps))


def _print(maps: Maps, case: Case) -> None:
    from sim.mapping.kinds import library  # SQLite
    from sim.mapping.maps import operators  # SQLite

    machine = case.hw
    items = {name: item for name, (_, item) in operators(case.graph, machine, schedule=case.schedule).items()}
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
    """The proof of a search: no mapping is better, or none by more than a share, or (space too large to list) none."""
    if exhaustive:
        return "best"
    return f"within {gap:.1%}" if gap >= 0 else "-"


def chosen(tiling: Tiling, case: Case, progress: common.Progress) -> dict[str, dict[str, Any]]:
    """Return the requested tiles by operator; none for "library".

    Raises InputError for maps that do not belong to this run, and for options of a search without a search.
    """
    given = {
        "--objective": tiling.objective if tiling.objective != "cycles" else None,
        "--reach": tiling.reach if tiling.reach != "call" else None,
        "--store": tiling.store,
    }
    vain = [f"{name} {value}" for name, value in given.items() if value]
    if vain and tiling.mapping != "best":
        raise InputError(
            f"{' and '.join(vain)}: only a search uses it; use --mapping best, not --mapping {tiling.mapping}"
        )
    if tiling.mapping == "library":
        return {}
    rules, dataflow = case.rules, case.request.dataflow
    zeros = None if rules is None or rules.only_prunes else case.request.sparsity
    clash = [f"{name} {value}" for name, value in {"--sparsity": zeros, "--dataflow": dataflow}.items() if value]
    if clash:
        raise InputError(
            f"--mapping {tiling.mapping}: maps are of dense operators in the array's own dataflow; leave out "
            f"{' and '.join(clash)}, or use --mapping library"
        )
    if tiling.mapping == "best":
        return _found(case, tiling, progress, None, cores()).fields()
    if not tiling.mapping.endswith(".toml"):
        raise InputError(f"--mapping {tiling.mapping}: must be library, best or a file of `carat map` (.toml)")
    return _read(tiling.mapping, case).fields()


def changes(before: Result, after: Result) -> list[dict[str, Any]]:
    """Return, per group of equal operators, cycles before and after and the cycles saved by cause."""
    from sim.mapping.maps import compare  # SQLite

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
