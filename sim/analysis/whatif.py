"""Sensitivity of one run to each number of a machine: every number halved and doubled, one run each.

Keys that are only legal together change together (`JOINED`). A step that gives no legal machine, or the same machine,
is a row with its reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sim.base import workers
from sim.base.errors import CaratError, InputError, did_you_mean
from sim.base.toml import flat
from sim.run.pipeline import run
from sim.run.progress import Progress, shown
from sim.timing.memo import Memo

if TYPE_CHECKING:
    import pandas as pd

    from sim.hardware import Hardware
    from sim.run.request import Case
    from sim.run.result import Result

PORT = "memory port"

JOINED: dict[str, tuple[str, ...]] = {
    "array size": ("array.mesh_rows", "array.mesh_columns"),
    PORT: ("dma.bus_bytes", "memory.read_bytes_per_cycle", "memory.write_bytes_per_cycle"),
    "scratchpad pipeline": ("scratchpad.read_delay_cycles", "scratchpad.read_pipeline_cycles"),
    "CPU": ("cpu.command_cycles", "cpu.loop_cycles"),
}
"""Knobs made of several keys, which change by one factor."""

LEFT_OUT = (
    "clock_mhz",  # time, not cycles; rates given in bytes per cycle would not follow
    "array.tile_rows",  # another array of the same size
    "array.tile_columns",
    "accumulator.sub_banks",
    "memory.l2_bytes",
)
TABLES_LEFT_OUT = ("host.cycles_per_element.", "host.operators.", "cpu.prices.")

METRICS = ("cycles", "energy_pj", "area_mm2")
STEPS: dict[str, float] = {"less": 0.5, "more": 2.0}


@dataclass(frozen=True)
class Trial:
    """One knob in one direction: the keys to set, and the first key's value before and after."""

    knob: str
    direction: str
    before: float
    after: float
    overrides: tuple[tuple[str, float], ...]


def knobs(hw: Hardware) -> dict[str, tuple[str, ...]]:
    """Return knob -> dotted keys, for every number of ``hw`` that can be changed."""
    values = flat(hw.model_dump(mode="json"))
    joined = {key for keys in JOINED.values() for key in keys}
    single = {
        key: (key,)
        for key, value in values.items()
        if isinstance(value, int | float)
        and not isinstance(value, bool)
        and value > 0
        and key not in joined
        and key not in LEFT_OUT
        and not key.startswith(TABLES_LEFT_OUT)
        and (hw.vector.lanes > 0 or not key.startswith("vector."))
    }
    return {**JOINED, **single}


def trials(hw: Hardware, chosen: Sequence[str] = ()) -> list[Trial]:
    """Return the steps to try, all knobs or the ``chosen`` ones. Raises InputError for an unknown knob."""
    known, values = knobs(hw), flat(hw.model_dump(mode="json"))
    steps: dict[str, list[Trial]] = {knob: [] for knob in known}
    for knob in known:
        keys = known[knob]
        for direction, factor in STEPS.items():
            after = {key: _scaled(values[key], factor) for key in keys}
            if knob == PORT:
                after = wider_port(hw, factor)
            if after[keys[0]] != values[keys[0]]:
                changed = {key: value for key, value in after.items() if value != values[key]}
                steps[knob].append(Trial(knob, direction, values[keys[0]], after[keys[0]], tuple(changed.items())))
    movable = [knob for knob in known if steps[knob]]
    problems = [f"--knob {name}: {_why_not(name, known, movable)}" for name in chosen if name not in movable]
    if problems:
        raise InputError(problems)
    return [step for knob in chosen or movable for step in steps[knob]]


def _why_not(name: str, known: Mapping[str, Sequence[str]], movable: Sequence[str]) -> str:
    joined = next((knob for knob, keys in JOINED.items() if name in keys), "")
    if joined in movable:
        return f"changes together with {', '.join(key for key in known[joined] if key != name)}: --knob '{joined}'"
    return f"unknown, or it cannot be halved and doubled{did_you_mean(name, movable)}"


def wider_port(hw: Hardware, factor: float) -> dict[str, float]:
    """Return the keys of the memory port, ``factor`` times as wide.

    A memory faster than the bus does not limit the port: its rate is unchanged, unless the new bus is faster.
    """
    bus, new_bus = hw.dma.bus_bytes, _scaled(hw.dma.bus_bytes, factor)
    rates = {key: getattr(hw.memory, key.removeprefix("memory.")) for key in JOINED[PORT][1:]}
    return {"dma.bus_bytes": new_bus} | {
        key: rate * factor if rate <= bus else max(rate, new_bus) for key, rate in rates.items()
    }


def _scaled(value: float, factor: float) -> float:
    return max(1, int(value * factor)) if isinstance(value, int) else value * factor


def whatif(
    result: Result, chosen: Sequence[str] = (), *, jobs: int = 1, progress: Progress | bool | None = None
) -> pd.DataFrame:
    """Return one row per knob and direction, the largest effect on cycles first.

    Columns: knob, direction (less, more), from, to, for each of cycles, energy_pj and area_mm2 the value and its
    ``_change`` as a share of the base's, ``cycles_per_unit`` (d cycles / d knob over the step), ``error``.
    ``progress``: called before each trial; None shows it on stderr after two seconds, False shows nothing.
    """
    import pandas as pd  # takes half a second: not for the command line's --help

    with shown("whatif", progress) as reported:
        rows = list(_rows(result, trials(result.hardware, chosen), jobs, reported))
    frame = pd.DataFrame(rows).drop(columns="error")
    frame["error"] = pd.Series([row["error"] for row in rows], dtype=object)  # None stays None
    reach = frame["cycles_change"].astype(float).abs().groupby(frame["knob"]).transform("max").fillna(-1.0)
    order = reach.sort_values(ascending=False, kind="stable").index
    return frame.loc[order].reset_index(drop=True)


def _rows(result: Result, steps: Sequence[Trial], jobs: int, progress: Progress) -> Iterator[dict[str, Any]]:
    base = result.totals
    for number, (step, (totals, error)) in enumerate(zip(steps, _outcomes(result.case, steps, jobs), strict=True)):
        progress(number, len(steps), f"{step.knob} = {step.after:g}")
        row: dict[str, Any] = {"knob": step.knob, "direction": step.direction, "from": step.before, "to": step.after}
        for metric in METRICS:
            row[metric] = totals.get(metric)
            row[f"{metric}_change"] = totals[metric] / base[metric] - 1 if metric in totals else None
        gained = totals["cycles"] - base["cycles"] if totals else None
        row["cycles_per_unit"] = gained / (step.after - step.before) if gained is not None else None
        yield {**row, "error": error}
    progress(len(steps), len(steps), "")


def rerun(case: Case, overrides: Mapping[str, Any], memo: Memo | None = None) -> Result:
    """Plan and run the same case on its machine with ``overrides``. Raises InputError or Hang."""
    return run(case.on(overrides), memo if memo is not None else Memo())


Outcome = tuple[dict[str, Any], str | None]


def _outcome(case: Case, step: Trial) -> Outcome:
    try:
        return rerun(case, dict(step.overrides)).totals, None
    except CaratError as error:
        return {}, f"{type(error).__name__}: {str(error).splitlines()[0]}"


def _outcomes(case: Case, steps: Sequence[Trial], jobs: int) -> Iterator[Outcome]:
    with workers.pool(jobs, workers.follow_parent) if jobs > 1 else nullcontext() as pool:
        if pool is None:
            yield from (_outcome(case, step) for step in steps)
        else:
            yield from pool.map(_outcome, [case] * len(steps), steps)
