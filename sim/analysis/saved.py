"""A saved run: the folder that `carat run -o DIR` and `Result.save` write, and the one reader of it.

=============  ==================================================================================
ops.csv        the operator table
totals.json    the whole run
hardware.json  the machine; also a machine file: `carat run --hw DIR/hardware.json`
graph.json     the workload, pruned, without what --sparsity edits; also a workload: `carat run DIR/graph.json`
kept.npz       indices of the parts that pruning kept, if scores or weights chose them
run.json       everything else, written last: without it a folder is not a whole run
=============  ==================================================================================
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.analysis.rows import MAX_NUMBER, read_rows
from sim.base.errors import InputError, demand, some
from sim.base.files import write_whole
from sim.base.reading import read_json
from sim.base.text import displayed
from sim.base.toml import flat
from sim.base.version import code_version
from sim.run import columns

if TYPE_CHECKING:
    import pandas as pd

    from sim.analysis.scheduled import Saving
    from sim.hardware import Hardware
    from sim.run.request import Request
    from sim.run.result import Result

FORMAT = 2
"""Incremented when readers of one format would misread the other. 2: totals with sizes, word_sizes, energy_table."""

BASE = "gemmini_default"
"""The preset with which the settings of a machine are compared: the base of every preset."""

NOT_SETTINGS = ("name", "description", "waived_rules")


@dataclass(frozen=True)
class SavedRun:
    """One saved run. ``name``: of the folder. ``record``: run.json, see `record_of`. ``result``: of a run of this
    process, which needs no folder."""

    folder: Path
    name: str
    totals: Mapping[str, Any]
    hardware: Mapping[str, Any]
    record: Mapping[str, Any]
    result: Result | None = None

    @cached_property
    def ops(self) -> pd.DataFrame:
        """The operator table (`columns.table("ops")`), causes and energies included."""
        if self.result is not None:
            return self.result.ops
        path = self.folder / "ops.csv"
        frame = read_rows(path, [columns.COLUMNS[name] for name in columns.table("ops")], self._again())
        if len(frame) != self.record["operators"] or int(frame["cycles"].sum()) != self.totals["cycles"]:
            raise InputError(f"{path}: does not belong to the totals beside it; {self._again()}")
        return frame

    def _again(self) -> str:
        return f"it was written by Carat {self.record['version']}, this is {code_version()}: save the run again"


def save(
    result: Result,
    folder: str | Path,
    *,
    command: str | None = None,
    sentence: str | None = None,
    savings: Sequence[Saving] | None = None,
) -> None:
    """Save a run in ``folder`` (created when missing), each file whole or not at all, run.json last.

    ``command``: the command line that ran it; ``sentence``: its bottleneck, ``savings``: cycles saved by its schedules,
    if known. The indices that pruning kept
    (`sim.sparsity.edits.saliency`) go to kept.npz. Simulates every distinct program once more, for traffic by operand
    and activity over time. Raises InputError when the folder cannot be written.
    """
    from sim.run.result import Result  # numpy: reading a saved run needs none
    from sim.sparsity.edits.saliency import lines, write_selection  # numpy, as above

    demand("result", result, (Result,), "a Result, as sim.simulate returns it")
    demand("folder", folder, (str, Path), 'the path of a folder, e.g. "runs/base"')
    folder = Path(folder)
    record = record_of(result, folder, command, sentence, savings)  # first, so that an error leaves no folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("run.json", "kept.npz"):
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror}") from error
    result.to_csv(folder / "ops.csv")
    kept = result.case.kept
    if kept:
        write_selection(kept, folder / "kept.npz")
    contents = {
        "totals.json": result.totals,
        "hardware.json": result.hardware.model_dump(mode="json"),
        "graph.json": result.case.given.to_dict(),
        "run.json": {**record, **({"stay": lines(kept)} if kept else {})},
    }
    for name, content in contents.items():
        write_whole(folder / name, json.dumps(content, indent=1) + "\n")


def record_of(
    result: Result,
    folder: Path,
    command: str | None = None,
    sentence: str | None = None,
    savings: Sequence[Saving] | None = None,
) -> dict[str, Any]:
    """Return the content of run.json.

    Version, command, bottleneck, savings of schedules, differences of the machine from `BASE`, energy band and area by
    component, counters, and the profile (`sim.trace.profile`).
    """
    from sim.analysis.explain import explain  # numpy
    from sim.cost.area import area_um2  # pydantic
    from sim.trace.profile import profile  # numpy

    return {
        "format": FORMAT,
        "version": code_version(),
        "operators": len(result.rows),
        "reproduce": command or _command(result.request, folder),
        "sentence": sentence or explain(result, measure=False),
        "schedule": [one.to_dict() for one in (_savings(result) if savings is None else savings)],
        "sizes": result.totals["sizes"],
        "word_sizes": result.totals["word_sizes"],
        "energy_table": {"name": result.totals["energy_table"], "node_nm": result.totals["node_nm"]},
        "seed": result.request.seed,
        "sparsity": str(result.request.sparsity) if result.request.sparsity is not None else None,
        "base": BASE,
        "changes": changes(result.hardware),
        "roofs": roofs(result.hardware) | {"macs_per_cycle": max(row["peak_macs_per_cycle"] for row in result.rows)},
        "energy_pj": energy_band(result),
        "area_um2": area_um2(result.hardware),
        "counters": result.counters,
        "profile": profile(result).to_dict(),
    }


def of(result: Result, name: str = "run") -> SavedRun:
    """Return a result as a saved run without a folder, for the pictures of notebooks and scripts."""
    hardware = result.hardware.model_dump(mode="json")
    return SavedRun(Path(name), name, result.totals, hardware, record_of(result, Path(name)), result)


def _savings(result: Result) -> Sequence[Saving]:
    """Return the savings of a run's schedules over the library's order, which is simulated here."""
    from sim.analysis.scheduled import savings  # numpy
    from sim.run.pipeline import run  # numpy
    from sim.timing.disk import default_timings  # numpy
    from sim.timing.memo import Memo  # numpy

    if not result.case.schedule:
        return ()
    return savings(run(result.case.scheduled(None), Memo(default_timings())), result)


def _command(request: Request, folder: Path) -> str:
    """Return a command line that repeats the run from the files in the folder."""
    from sim.plan import schedules  # numpy

    words = ["carat", "run", str(folder / "graph.json"), "--hw", str(folder / "hardware.json")]
    words += ["--seed", str(request.seed)] if request.seed else []
    words += ["--clock", request.clock] if request.clock != "periodic" else []
    words += ["--dataflow", request.dataflow] if request.dataflow else []
    words += ["--sparsity", str(request.sparsity)] if isinstance(request.sparsity, str) else []
    for pattern, schedule in schedules.read(request.schedule).items():
        words += ["--schedule", schedule if pattern == "*" else f"{pattern}={schedule}"]
    for pattern, fields in (request.mapping or {}).items():
        words += ["--tile", f"{pattern}={','.join(map(str, fields['tile']))}"] if "tile" in fields else []
    return shlex.join(words)


def changes(hw: Hardware) -> list[tuple[str, Any, Any]]:
    """Return (dotted key, value in `BASE`, value here) of every setting that differs."""
    from sim import hardware  # pydantic

    return settings_that_differ(hardware.load(BASE).model_dump(mode="json"), hw.model_dump(mode="json"))


def settings_that_differ(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return (dotted key, value of the first machine, of the second) of every setting in which two machines differ."""
    one, two = flat(first), flat(second)
    keys = [key for key in dict.fromkeys([*one, *two]) if key not in NOT_SETTINGS]
    return [(key, one.get(key), two.get(key)) for key in keys if one.get(key) != two.get(key)]


def roofs(hw: Hardware) -> dict[str, float]:
    """Return the roofs of a machine: MACs per cycle, and bytes per cycle of DRAM and of all scratchpad banks."""
    row = hw.sp_row_bytes
    reads = min(hw.dma.bus_bytes, hw.memory.read_bytes_per_cycle)
    writes = min(hw.dma.bus_bytes, hw.memory.write_bytes_per_cycle)
    ports = 1 if hw.scratchpad.single_ported else 2
    return {
        "macs_per_cycle": hw.peak_macs_per_cycle,
        "dram_read_bytes_per_cycle": float(reads),
        "dram_write_bytes_per_cycle": float(writes),
        "spad_bytes_per_cycle": float(hw.scratchpad.banks * ports * row),
        "spad_rows": float(hw.sp_rows),
        "acc_rows": float(hw.acc_rows),
        "bus_bytes": float(hw.dma.bus_bytes),
    }


def energy_band(result: Result) -> dict[str, dict[str, float]]:
    """Return component -> {low, nominal, high} in pJ: all figures at their lowest, stated and highest value."""
    from sim.cost import energy  # pydantic

    band: dict[str, dict[str, float]] = {part: {} for part in columns.ENERGY}
    for level in ("low", "nominal", "high"):
        for step, row in zip(result.steps, result.rows, strict=True):
            hw = step.machine or result.hardware
            host = row["host_cycles"]
            parts = energy.price(
                row["counters"], step.macs_switched, row["cycles"], hw, host, level, row["cpu_cycles"] - host
            )
            for part, picojoules in parts.items():
                band[part][level] = band[part].get(level, 0.0) + picojoules
    return band


def load(folder: str | Path) -> SavedRun:
    """Return the run saved in ``folder``.

    Raises InputError: no such folder, no run in it, half-written, of another format, or damaged.
    """
    demand("folder", folder, (str, Path), 'the path of a folder, e.g. "runs/base"')
    folder = Path(folder)
    if not folder.is_dir():
        what = "is a file, not the folder of a run" if folder.exists() else "no such folder"
        raise InputError(f"{folder}: {what}; save a run with: carat run WORKLOAD -o {folder}")
    path = folder / "run.json"
    if not path.is_file():
        found = [name for name in ("ops.csv", "totals.json", "hardware.json") if (folder / name).is_file()]
        if not found:
            raise InputError(f"{folder}: no run is saved in it; save one with: carat run WORKLOAD -o {folder}")
        why = "the run was interrupted while it was being written, or is of Carat 0.1.0 or older"
        raise InputError(f"{folder}: holds {', '.join(found)} but no run.json: {why}. Save it again")
    record, totals, hardware = (_json(folder / name) for name in ("run.json", "totals.json", "hardware.json"))
    if record.get("format") != FORMAT:
        raise InputError(
            f"{path}: format {record.get('format')!r}, written by Carat {record.get('version', 'unknown')}; this is "
            f"{code_version()}, which reads format {FORMAT}. Save the run again"
        )
    missing = [key for key in ("version", "operators", "reproduce", "profile", "energy_pj") if key not in record]
    missing += [f"totals.json: {key}" for key in columns.table("totals") if key not in totals]
    if missing:
        raise InputError(f"{path}: incomplete, without {', '.join(missing)}. Save the run again")
    if wrong := [problem for column in columns.COLUMNS.values() for problem in _wrong(column, totals.get(column.name))]:
        raise InputError(
            [f"{folder / 'totals.json'}: damaged: {problem}. Save the run again" for problem in some(wrong)]
        )
    return SavedRun(folder, folder.resolve().name, totals, hardware, record)


def _wrong(column: columns.Column, value: object) -> Iterator[str]:
    """Yield what is wrong with a total: a number is finite, a text is text; null where the column's definition says."""
    if "totals" not in column.tables:
        return
    if value is None and "null" in column.definition:
        return
    if column.unit:
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < MAX_NUMBER:
            yield f"{column.name} is {str(value)[:40]!r}, must be a number"
    elif not isinstance(value, str):
        yield f"{column.name} is {str(value)[:40]!r}, must be a text"


def load_all(folders: list[Path]) -> list[SavedRun]:
    """Return several saved runs, named after their folders, with as many parent folders as make the names distinct.

    Raises InputError with all problems at once, among them a folder that is given twice.
    """
    runs: list[SavedRun] = []
    problems: list[str] = []
    for folder in folders:
        try:
            runs.append(load(folder))
        except InputError as error:
            problems += error.problems
    paths = [folder.resolve() for folder in folders]
    problems += [f"{path}: given more than once" for path in dict.fromkeys(paths) if paths.count(path) > 1]
    if problems:
        raise InputError(problems)
    return [replace(run, name=_name(run.folder.resolve(), paths)) for run in runs]


def _name(path: Path, others: Sequence[Path]) -> str:
    """Return the last parts of ``path``, as few as no other of ``others`` ends with."""
    for length in range(1, len(path.parts)):
        if sum(other.parts[-length:] == path.parts[-length:] for other in others) == 1:
            return "/".join(path.parts[-length:])
    return str(path)


def _json(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path, f"{path}: damaged")
    except InputError as error:
        raise InputError([f"{problem}. Save the run again" for problem in error.problems]) from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: damaged: a JSON object is expected. Save the run again")
    try:
        return {name: displayed(value) for name, value in content.items()}
    except RecursionError:
        raise InputError(f"{path}: damaged: it is nested too deeply. Save the run again") from None
