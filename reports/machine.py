"""A machine description as a diagram: its units with their sizes, and the paths between them with their rates."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from reports import style
from reports.fit import shorten
from reports.knobs import number
from sim import hardware
from sim.hardware import Hardware

CORNER = 0.06
HEAD_POINTS, TEXT_POINTS = 8.5, 7.0


class Unit(NamedTuple):
    """A box of the diagram: centre, width and height in units of the drawing (12 wide), colour, name, lines of text."""

    x: float
    y: float
    width: float
    height: float
    color: str
    name: str
    lines: list[str]


Flow = tuple[str, str, str]
"""From, to (keys of the units), and the text of the arrow."""


def read(path: Path) -> Hardware:
    """Return the machine of a name, a TOML file or a saved run's folder. Raises InputError."""
    return hardware.load(path / "hardware.json" if path.is_dir() else str(path))


def machine(axes: Axes, hw: Hardware) -> Axes:
    """Draw the units of ``hw`` on ``axes`` and return them; sizes, latencies in cycles, rates in bytes per cycle."""
    units = _units(hw)
    for unit in units.values():
        box = FancyBboxPatch(
            (unit.x - unit.width / 2, unit.y - unit.height / 2),
            unit.width,
            unit.height,
            boxstyle=f"round,pad=0,rounding_size={CORNER}",
            facecolor=unit.color,
            edgecolor=style.DARK_TEXT,
            lw=0.8,
        )
        axes.add_patch(box)
        ink = style.text_color(unit.color)
        top = unit.y + unit.height / 2 - 0.12
        axes.text(unit.x, top, unit.name, ha="center", va="top", fontsize=HEAD_POINTS, weight="bold", color=ink)
        text = "\n".join(unit.lines)
        axes.text(unit.x, top - 0.36, text, ha="center", va="top", fontsize=TEXT_POINTS, color=ink, linespacing=1.25)
    for start, end, label in _paths(hw):
        _arrow(axes, units[start], units[end], label)
    axes.set_xlim(-0.1, 12.1)
    axes.set_ylim(min(unit.y - unit.height / 2 for unit in units.values()) - 0.1, 7.0)
    cores = f", one of {hw.cores.count} cores (shared: {hw.cores.shared})" if hw.cores.count > 1 else ""
    axes.set_title(f"{hw.name}: {hw.clock_mhz:g} MHz, energy table {hw.energy_table}{cores}")
    axes.axis("off")
    return axes


def _units(hw: Hardware) -> dict[str, Unit]:
    array, spad, acc, dma = hw.array, hw.scratchpad, hw.accumulator, hw.dma
    host = hw.host if isinstance(hw.host, str) else hw.host.name
    tile = f"tiles of {array.tile_rows}x{array.tile_columns} PEs" if array.tile_rows * array.tile_columns > 1 else ""
    plain = style.OPERAND_COLORS["request padding"]
    behind_l2 = bool(hw.memory.l2_bytes)
    units = {
        "cpu": Unit(1.3, 6.2, 2.5, 1.3, plain, "CPU", [
            *([f"priced as {hw.cpu.prices.name}"] if hw.cpu.prices != "none" else [
                f"{hw.cpu.command_cycles} cycles per command", f"{hw.cpu.loop_cycles} cycles per loop"]),
            f"host: {host}"]),
        "rs": Unit(7.55, 6.2, 8.9, 1.3, plain, "command queues, reservation station", [
            f"queues: load {hw.queues.ld}, execute {hw.queues.ex}, store {hw.queues.st}",
            f"entries: load {hw.reservation_station.ld}, execute {hw.reservation_station.ex}, "
            f"store {hw.reservation_station.st}"]),
        "memory": Unit(1.3, 1.2 if behind_l2 else 2.6, 2.5, 1.7, style.ENERGY_COLORS["dram"], "memory", [
            f"latency {hw.memory.latency_cycles} cycles", f"read {hw.memory.read_bytes_per_cycle:g} B/cycle",
            f"write {hw.memory.write_bytes_per_cycle:g} B/cycle",
            hw.memory.technology if hw.memory.dram == "none" else hw.memory.dram.name]),
        "dma": Unit(4.4, 2.6, 2.3, 4.5, style.ENERGY_COLORS["register"], "DMA", [
            f"bus {dma.bus_bytes} B/cycle", f"requests of up to {dma.max_request_bytes} B",
            f"{dma.max_in_flight_requests} requests in flight"]),
        "spad": Unit(7.4, 3.9, 2.3, 1.9, style.ENERGY_COLORS["scratchpad"], "scratchpad", [
            f"{number(spad.capacity_bytes)}B, {spad.banks} banks", f"{hw.sp_rows:,} rows of {hw.sp_row_bytes} B",
            "single-ported" if spad.single_ported else "dual-ported"]),
        "array": Unit(10.65, 3.9, 2.6, 1.9, style.ENERGY_COLORS["mac"], "array", [
            f"{array.mesh_rows * array.tile_rows}x{array.mesh_columns * array.tile_columns} PEs",
            *([tile] if tile else []), f"dataflow {array.dataflow.replace('BOTH', 'WS and OS')}",
            f"{array.input_type}, sums {array.acc_type}", f"{hw.peak_macs_per_cycle:g} MACs/cycle"]),
        "acc": Unit(10.65, 1.3, 2.6, 1.9, style.ENERGY_COLORS["accumulator"], "accumulator", [
            f"{number(acc.capacity_bytes)}B, {acc.banks} banks", f"{hw.acc_rows:,} rows",
            f"scale latency {acc.scale_latency_cycles} cycles"]),
        "out": Unit(7.4, 1.3, 2.3, 1.9, style.ENERGY_COLORS["special_function"], "move-out", _move_out(hw)),
    }  # fmt: skip
    if behind_l2:
        size = f"{number(hw.memory.l2_bytes)}B"
        units["l2"] = Unit(1.3, 3.9, 2.5, 1.7, style.ENERGY_COLORS["l2"], "L2", [size])
    if hw.vector.lanes:
        units["vector"] = Unit(1.3, -0.65, 2.5, 1.1, style.CAUSE_COLORS["vector"], "vector unit", [
            f"{hw.vector.lanes} lanes", f"port {hw.vector.port_bytes or dma.bus_bytes} B/cycle"])  # fmt: skip
    if sparsity := _sparsity(hw):
        text = [", ".join(sparsity[:3]), *([", ".join(sparsity[3:])] if sparsity[3:] else [])]
        units["sparse"] = Unit(7.55, -0.65, 8.9, 1.1, style.FUSED_COLORS["ifft+gelu"], "sparsity units", text)
    return units


def _move_out(hw: Hardware) -> list[str]:
    features = hw.features
    on = {"normaliser": features.normalizations, "activations": features.nonlinear_activations,
          "max-pooling": features.max_pool}  # fmt: skip
    return ["scaling", *(name for name, there in on.items() if there)]


def _sparsity(hw: Hardware) -> list[str]:
    """Return the settings of the units for sparse operands that differ from none."""
    default = type(hw.sparsity)()
    values = hw.sparsity.model_dump().items()
    changed = [
        shorten(f"{key} {'+'.join(value) if isinstance(value, tuple) else 'yes' if value is True else value}", 42)
        for key, value in values
        if value != getattr(default, key)
    ]
    return changed[:5] + ([f"and {len(changed) - 5} more"] if len(changed) > 5 else [])


def _paths(hw: Hardware) -> list[Flow]:
    behind = [("memory", "l2", ""), ("l2", "dma", "")] if hw.memory.l2_bytes else [("memory", "dma", "")]
    return [
        ("cpu", "rs", ""),
        ("rs", "dma", "load, store"),
        ("rs", "array", "execute"),
        *behind,
        ("dma", "spad", "load"),
        ("spad", "array", f"{hw.dim}/cycle"),
        ("array", "acc", f"{hw.dim} sums/cycle"),
        ("acc", "out", ""),
        ("out", "dma", "store"),
    ]


def _arrow(axes: Axes, start: Unit, end: Unit, label: str) -> None:
    """Draw an arrow between two boxes beside or above each other; between memory, L2 and DMA it has two heads."""
    across = abs(end.x - start.x) >= (start.width + end.width) / 2
    at: tuple[float, float]
    if across:
        side, y = (1 if end.x > start.x else -1), start.y if start.height <= end.height else end.y
        tail, head = (start.x + side * start.width / 2, y), (end.x - side * end.width / 2, y)
        at, sides = ((tail[0] + head[0]) / 2, y + 0.1), {"ha": "center", "va": "bottom"}
    else:
        side, x = (1 if end.y > start.y else -1), start.x if start.width <= end.width else end.x
        tail, head = (x, start.y + side * start.height / 2), (x, end.y - side * end.height / 2)
        at, sides = (x + 0.12, (tail[1] + head[1]) / 2), {"ha": "left", "va": "center"}
    both = {"memory", "L2"} & {start.name}
    look = {"arrowstyle": "<|-|>" if both else "-|>", "color": style.DARK_TEXT, "lw": 1.2, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", head, tail, arrowprops=look)
    if label:
        axes.text(*at, label, fontsize=TEXT_POINTS, **sides)  # type: ignore[arg-type]
