"""Explain a run in one sentence that names the bottleneck and the gain of removing it.

The bottleneck is the cause with the most cycles. Each remedy below is a change of a few machine parameters;
it is tried by running the same plan again, so its effect is measured. Where no remedy exists the sentence gives a
bound: the time without the cycles of this cause.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from sim.analysis.whatif import rerun, wider_port
from sim.base.errors import Hang, InputError, demand
from sim.base.toml import flat
from sim.run.columns import CAUSES
from sim.run.cores import refuse
from sim.run.progress import Progress, shown
from sim.run.result import Result
from sim.run.session import Session

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from sim.hardware import Hardware


class Remedy(NamedTuple):
    """A change of the machine: its name, and its overrides on a given machine."""

    name: str
    overrides: Callable[[Hardware], dict[str, Any]]


def _array_operators(hw: Hardware) -> dict[str, Any]:
    taken: dict[str, Any] = {} if hw.host == "none" or not hw.host.takes else {"host.takes": []}
    return {"features.normalizations": True, "features.nonlinear_activations": True, **taken}


def _vector_unit(hw: Hardware) -> dict[str, Any]:
    """A vector unit with as many lanes as the array has columns, if the array has its normalisation units already."""
    units = hw.features.normalizations and hw.features.nonlinear_activations
    return {"vector.lanes": hw.vector.lanes or hw.dim} if units else {}


def _twice(name: str, *keys: str) -> Remedy:
    def overrides(hw: Hardware) -> dict[str, Any]:
        values = {}
        for key in keys:
            table, field = key.split(".")
            values[key] = 2 * getattr(getattr(hw, table), field)
        return values

    return Remedy(name, overrides)


MEMORY = (
    Remedy("a memory port twice as wide", lambda hw: wider_port(hw, 2)),
    Remedy("half the memory latency", lambda hw: {"memory.latency_cycles": hw.memory.latency_cycles // 2}),
    _twice("twice the memory requests in flight", "dma.max_in_flight_requests"),
)
STATIONS = tuple(f"reservation_station.{queue}" for queue in ("ld", "st", "ex"))
DEEPER = (_twice("a reservation station twice as deep", *STATIONS),)

REMEDIES: dict[str, tuple[Remedy, ...]] = {
    "compute": (_twice("an array of twice the rows and columns", "array.mesh_rows", "array.mesh_columns"),),
    "bank_conflict": (
        _twice("twice the scratchpad banks", "scratchpad.banks"),
        _twice("twice the accumulator banks", "accumulator.banks"),
    ),
    "load_wait": MEMORY,
    "store_wait": MEMORY,
    "dependency": DEEPER,
    "queue_full": DEEPER,
    "issue": (
        Remedy(
            "a CPU that issues a command every cycle",
            lambda _: {"cpu.command_cycles": 1, "cpu.loop_cycles": 1},
        ),
    ),
    "cpu_issue": (Remedy("commands issued by hardware, one a cycle", lambda _: {"cpu.prices": "none"}),),
    "call": (
        Remedy("sizes known to the compiler", lambda _: {"cpu.sizes": "constant"}),
        Remedy("library code that stays in the cache", lambda _: {"cpu.code": "warm"}),
    ),
    "vector": (
        _twice("a vector unit of twice the lanes", "vector.lanes"),
        Remedy("a port of the vector unit twice as wide", lambda hw: {"vector.port_bytes": 2 * hw.dma.bus_bytes}),
    ),
    "host": (
        Remedy("normalisation and activation units on the array", _array_operators),
        Remedy("a vector unit beside the array", _vector_unit),
    ),
}


def bottleneck(result: Result) -> tuple[str, float]:
    """Return the cause with the most cycles and its share of all cycles."""
    cause = max(result.causes, key=lambda name: result.causes[name])
    return cause, result.causes[cause] / result.cycles


def explain(result: Result, *, measure: bool = True, progress: Progress | bool | None = None) -> str:
    """Return the sentence. ``measure``: try the remedies, one run each; else no gain is stated.

    Raises InputError if ``result`` is no Result.
    """
    demand("result", result, Result, "a Result, as sim.simulate returns it")
    cause, share = bottleneck(result)
    worst = max(result.rows, key=lambda row: row[f"{cause}_cycles"])
    found = f"{cause} takes {share:.1%} of {result.cycles:,} cycles ({CAUSES[cause]}), most in {worst['op']}"
    remedies = REMEDIES.get(cause, ()) if measure else ()
    tried = []
    with shown("explain", progress) as reported:
        for number, remedy in enumerate(remedies):
            reported(number, len(remedies), remedy.name)
            tried.append((speedup(result, remedy), remedy))
    measured = [(gain, remedy) for gain, remedy in tried if gain is not None]
    if not measure and cause in REMEDIES:
        return f"{found}; --explain measures the gain of a remedy by running it again."
    if not measured:
        bound = f"at most {1 / (1 - share):.2f}x" if share < 1 else "the whole run"
        return f"{found}; without it the run would gain {bound} (a bound: nothing else taking its place)."
    gain, remedy = max(measured, key=lambda pair: pair[0])
    if gain <= 1:
        return f"{found}; {remedy.name} does not help ({gain:.2f}x, measured by running it again)."
    now = flat(result.hardware.model_dump(mode="json"))
    changed = [(key, value) for key, value in remedy.overrides(result.hardware).items() if now.get(key) != value]
    changes = ", ".join(f"{key} = {value}" for key, value in changed)
    return f"{found}; {remedy.name} gives {gain:.2f}x (measured by running it again with {changes})."


def speedup(result: Result, remedy: Remedy) -> float | None:
    """Return old / new cycles with the remedy; None where it changes nothing or gives no legal machine."""
    changes = remedy.overrides(result.hardware)
    try:
        if result.hardware.with_(changes) == result.hardware:
            return None
        return result.cycles / rerun(result.case, changes).cycles
    except (InputError, Hang):
        return None


def timeline(result: Result, op: str, invocation: int) -> npt.NDArray[np.void]:
    """Run one invocation of ``op`` again from its start state and return its command timeline."""
    demand("result", result, Result, "a Result, as sim.simulate returns it")
    demand("invocation", invocation, int, "a whole number, 0 for the first")
    refuse(result.hardware, f"timeline of {op}")
    step = result.step(op)
    if not 0 <= invocation < len(step.works):
        where = "it runs on the host" if not step.works else f"legal: 0 to {len(step.works) - 1}"
        raise InputError(f"timeline of {op}: no invocation {invocation}; {where}")
    session = Session(result.hardware, result.request.clock, start=result.starts[op])
    session.begin(op, step.machine)
    for item in step.equivalent[:invocation]:
        session.advance(item)
    recorded = session.advance(step.works[invocation], timeline=True).timeline
    assert recorded is not None
    return recorded
