"""A trace as bars of characters, one line per unit: for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim.base.errors import InputError
from sim.trace.events import MACHINE

DEFAULT_CYCLES = 4_000
"""Default window in cycles: the start of the first program, in which single commands are visible."""

SYMBOLS = {"mvin": "a", "mvin2": "b", "mvin3": "d", "preload": "p", "compute": "#", "mvout": "o"}
KEY = "a b d: mvin, mvin2, mvin3, p: preload, #: compute, o: mvout; of overlapping ones the one that takes most"


FIELDS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "X": {"pid": int, "tid": int, "ts": (int, float), "dur": (int, float), "name": str},
    "s": {"id": (int, str), "tid": int, "ts": (int, float)},
    "f": {"id": (int, str), "tid": int, "ts": (int, float)},
    "M": {"pid": int, "name": str, "args": dict},
}
"""Fields that slices (X), ends of arrows (s, f) and names (M) must have, with their types.

Other events are not drawn.
"""


def check(events: Any) -> None:
    """Raise InputError for the first event of a trace that lacks a field, a track's name or an arrow's start."""
    if not isinstance(events, list):
        raise InputError("traceEvents must be a list")
    tracks = set()
    for place, event in enumerate(events):
        if not isinstance(event, dict) or not isinstance(event.get("ph"), str):
            raise InputError(f"traceEvents[{place}] must be an object with a phase `ph`")
        for name, kind in FIELDS.get(event["ph"], {}).items():
            if not isinstance(event.get(name), kind):
                raise InputError(f"traceEvents[{place}]: {name} is missing or of a wrong type")
        if event["ph"] == "M" and event["name"] == "thread_name":
            if not isinstance(event.get("tid"), int) or not isinstance(event["args"].get("name"), str):
                raise InputError(f"traceEvents[{place}]: the name of a track needs `tid` and args.name")
            tracks.add((event["pid"], event["tid"]))
    starts = {event["id"] for event in events if event["ph"] == "s"}
    for place, event in enumerate(events):
        if event["ph"] == "f" and event["id"] not in starts:
            raise InputError(f"traceEvents[{place}]: an arrow has an end without a start")
        if event["ph"] == "X" and event["pid"] == MACHINE and (event["pid"], event["tid"]) not in tracks:
            raise InputError(f"traceEvents[{place}]: track {event['tid']} has no name")


def units(traced: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return track -> its slices, the lanes of a track together."""
    events = traced["traceEvents"]
    named = {
        (event["pid"], event["tid"]): event["args"]["name"]
        for event in events
        if event["ph"] == "M" and event["name"] == "thread_name"
    }
    lines: dict[str, list[dict[str, Any]]] = {}
    slices = [event for event in events if event["ph"] == "X" and event["pid"] == MACHINE]
    for event in sorted(slices, key=lambda one: (one["tid"], one["ts"])):
        track = named[event["pid"], event["tid"]].split(" (")[0]
        lines.setdefault(track, []).append(event)
    return lines


def window_of(traced: Mapping[str, Any], window: tuple[int, int] | None) -> tuple[int, int]:
    """Return the cycles to show: ``window``, else the first `DEFAULT_CYCLES` with a command. Raises InputError."""
    starts = [e["ts"] for e in traced["traceEvents"] if e["ph"] == "X" and e["pid"] == MACHINE]
    if not starts:
        raise InputError("no command in this trace: no program ran on the array there")
    return window if window is not None else (min(starts), min(starts) + DEFAULT_CYCLES)


def text(traced: Mapping[str, Any], window: tuple[int, int] | None = None, width: int = 100) -> str:
    """Return one line of ``width`` characters per unit; a blank is a stretch in which the unit is idle."""
    low, high = window_of(traced, window)
    span = high - low
    lines = []
    for name, slices in units(traced).items():
        busy: list[dict[str, float]] = [{} for _ in range(width)]
        for event in slices:
            begin, end = max(event["ts"], low), min(event["ts"] + max(event["dur"], 1), high)
            first, last = (begin - low) * width / span, (end - low) * width / span
            for column in range(int(first), min(width, int(last) + 1) if end > begin else 0):
                part = min(last, column + 1) - max(first, column)
                symbol = SYMBOLS.get(event["name"], "=")
                busy[column][symbol] = busy[column].get(symbol, 0.0) + part
        bar = "".join(max(cell, key=lambda one: cell[one]) if cell else " " for cell in busy)
        if bar.strip():
            lines.append(f"{name:>20} |{bar}|")
    ruler = f"{low:,}".ljust(width - len(f"{high:,}")) + f"{high:,}"
    each = f"one character = {span / width:,.4g} cycles"
    return "\n".join([f"{'cycle':>20}  {ruler}", *lines, "", f"{each}; {KEY}"])
