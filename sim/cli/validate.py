"""`carat validate`, `carat replay` and `carat compare`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sim.base.errors import InputError, did_you_mean
from sim.base.files import write_whole
from sim.base.workers import cores
from sim.cli import call_listing, common, options
from sim.validate import csvfile, peers

if TYPE_CHECKING:
    from sim.validate.report import Report
    from sim.validate.runner import Progress, RowResult
    from sim.validate.tables import MeasuredRow

Measurements = Annotated[
    list[Path] | None,
    typer.Option(help="Measured table (CSV, may be gzipped); repeatable. Default: the tables that ship."),
]
Programs = Annotated[
    list[Path] | None,
    typer.Option(help="Folder (or file) of recorded programs; repeatable. Default: programs/ beside each table."),
]


@dataclass(frozen=True)
class MeasuredTables:
    """Measured tables, and how their rows are simulated."""

    measurements: Measurements = None
    programs: Programs = None
    jobs: options.Jobs = None
    clock: options.Clock = "periodic"

    @property
    def files(self) -> list[Path]:
        """The tables given, else those that ship with Carat."""
        from sim.validate import sources  # numpy: not for --help

        return list(self.measurements or sources.default_tables())


@dataclass(frozen=True)
class RowSelection:
    """Selection of rows: of these kinds and machines (empty: all), with an id that matches this pattern."""

    kind: Annotated[list[str] | None, typer.Option(help="Only rows of this kind; repeatable.")] = None
    cfg: Annotated[list[str] | None, typer.Option(help="Only rows of this machine; repeatable.")] = None
    case: Annotated[str | None, typer.Option(help="Only rows whose id matches, e.g. 'mvin_*'.")] = None

    def takes(self, row: MeasuredRow) -> bool:
        """Return whether a row is selected."""
        fits = (not self.kind or row.kind in self.kind) and (not self.cfg or row.cfg in self.cfg)
        return fits and (not self.case or fnmatchcase(row.id, self.case))

    @property
    def narrows(self) -> bool:
        """True when some rows may be left out."""
        return bool(self.kind or self.cfg or self.case)

    def nothing(self, rows: Sequence[MeasuredRow]) -> list[str]:
        """Return why no row is selected: a name or a combination that no row has."""
        known = {"--kind": {row.kind for row in rows}, "--cfg": {row.cfg for row in rows}}
        requested = {"--kind": self.kind or (), "--cfg": self.cfg or ()}
        unknown = [
            f"{option} {name}: no row of the tables has it{did_you_mean(name, known[option])}"
            for option, names in requested.items()
            for name in names
            if name not in known[option]
        ]
        return unknown or [f"--case {self.case}: none of the {len(rows):,} rows matches it and the other options"]


@options.records
def validate(
    measured: MeasuredTables,
    chosen: RowSelection,
    as_json: options.AsJson = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print docs/VALIDATION.md.")] = False,
    way: Annotated[
        Literal["auto", "recorded", "lowered"],
        typer.Option(help="auto: lower work items, replay sequences; recorded, lowered: only such rows."),
    ] = "auto",
    timelines: Annotated[bool, typer.Option(help="Also compare timeline files command by command.")] = True,
    rows: Annotated[bool, typer.Option(help="Print every row, not only the groups.")] = True,
) -> None:
    """Simulate measured rows and print the error of cycles, bytes and requests per row and per group."""
    if as_json and markdown:
        raise InputError("--json and --markdown exclude each other: choose one")
    report = _validated(measured, chosen, way, timelines)
    if as_json:
        json.dump(report.as_dict(), sys.stdout, indent=1)
        sys.stdout.write("\n")
    elif markdown:
        from sim.validate.markdown import document  # numpy: not for --help

        sys.stdout.write(document(report))
    else:
        from sim.validate.text import text  # numpy

        sys.stdout.write(text(report, with_rows=rows))


@dataclass(frozen=True)
class Replayed:
    """Part of a file that is replayed, and the distance of its commands."""

    case: Annotated[str | None, typer.Option(help="Only this case of the file.")] = None
    timeline: Annotated[Path | None, typer.Option(help="Write the times of the commands to this CSV file.")] = None
    gap: Annotated[int, typer.Option(min=1, help="Least number of cycles between two commands.")] = 1
    phase: Annotated[int, typer.Option(min=0, max=1, help="Slot of the first hardware loop.")] = 0
    calls: Annotated[
        bool, typer.Option("--calls", help="List library calls: function, cycles and CPU time of each.")
    ] = False
    trace: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="Write a Chrome trace of the calls here; implies --calls.")
    ] = None


@options.records
def replay(
    file: Annotated[
        Path, typer.Argument(help="Recorded stream (case, seq, funct, rs1, rs2), command trace or log of Spike.")
    ],
    replayed: Replayed,
    hw: options.Machine = "gemmini_default",
    settings: options.Settings = None,
    cpu: options.Cpu = None,
    as_json: options.AsJson = False,
    clock: options.Clock = "periodic",
) -> None:
    """Run a recorded command stream on any machine with any --cpu.

    Streams come from `carat record`, from a command trace of a whole machine, or from Spike (--log-commits).
    """
    from sim.hardware import load  # pydantic
    from sim.validate import call_table  # numpy
    from sim.validate import replay as replaying  # numpy

    machine = load(hw, options.settings(settings, cpu))
    trace = replayed.trace
    if trace is not None:
        _refuse_unwritable("--trace", trace)
    if replayed.calls or trace is not None or call_table.known(file):
        call_listing.show(file, replayed.case, machine, clock, as_json, trace)
        return
    recordings, timeline = replaying.choose(file, replayed.case), replayed.timeline
    for recording in recordings:
        call_table.check_dim(recording, machine)
    if timeline is not None and len(recordings) > 1:
        names = ", ".join(recording.case for recording in recordings[:5])
        raise InputError(f"--timeline takes one case, {file} holds {len(recordings)} ({names}, ...): use --case")
    if timeline is not None:
        _refuse_unwritable("--timeline", timeline)
    entries = []
    for recording in recordings:
        outcome = replaying.run(recording, machine, clock=clock, gap_cycles=replayed.gap, phase=replayed.phase)
        if timeline is not None and outcome.cycles is not None:
            write_whole(timeline, replaying.timeline_csv(recording.case, outcome))
        entries.append(replaying.as_dict(recording, outcome))
        if not as_json:
            typer.echo(replaying.line(recording, outcome))
    if as_json:
        typer.echo(json.dumps({"hardware": machine.name, "cases": entries}, indent=1))
    if all(entry["cycles"] is None for entry in entries):
        first = str(entries[0]["reason"]).partition("\n")[0]
        raise InputError(f"{file}: none of {len(entries)} programs ends on {machine.name}; the first: {first}")


@options.records
def compare(
    peer: Annotated[str, typer.Option(help="Published cycle rule: onnxim-rule or scalesim-rule.")],
    measured: MeasuredTables,
    as_json: options.AsJson = False,
) -> None:
    """Print the errors of a published cycle rule and of Carat on the measured matmul rows."""
    from sim.validate import comparison  # numpy: not for --help

    rule = peers.rule(peer)
    report = _validated(measured, RowSelection(["matmul"]), "auto", with_timelines=False)
    table = comparison.against(rule, report.results)
    typer.echo(json.dumps(comparison.as_dict(table), indent=1) if as_json else comparison.text(table))


def _validated(measured: MeasuredTables, chosen: RowSelection, way: str, with_timelines: bool) -> Report:
    from sim.validate import runner, sources, timelines  # numpy
    from sim.validate.report import Report  # numpy

    files, programs, clock = measured.files, tuple(measured.programs or ()), measured.clock
    with _progress("rows") as progress:
        results: list[RowResult] = runner.validate(
            files,
            programs,
            way=way,
            jobs=measured.jobs or cores(),
            clock=clock,
            select=chosen.takes,
            progress=progress,
        )
    if not results:
        raise InputError(chosen.nothing(runner.read_rows(files)))
    compared = []
    times = any(sources.is_timeline(csvfile.read(path)) for path in files)
    if times and with_timelines and not chosen.narrows:
        with _progress("timelines") as progress:
            compared = timelines.compare(files, programs, way=way, clock=clock, progress=progress)
    return Report(results, compared)


@contextmanager
def _progress(what: str) -> Iterator[Progress]:
    """Show a progress bar; nothing is written to a pipe."""
    with common.progress_bar(what) as update:
        yield lambda done, total: update(done, total, "")


def _refuse_unwritable(option: str, path: Path) -> None:
    folder = path.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK) or path.is_dir():
        raise InputError(f"{option} {path}: cannot be written: {folder} must be a folder you may write to")
