"""What all figures share: fixed colours, the style sheet, reading a CSV at the door, saving a picture."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import SupportsFloat

import matplotlib.style
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from sim.base.errors import CaratError, InputError, did_you_mean
from sim.base.palette import CAUSE_COLORS as CAUSE_COLORS
from sim.graph.kinds import KINDS
from sim.run.columns import COLUMNS

FUSED_COLORS: dict[str, str] = {"matmul+softmax": "#56B4E9", "matmul+gelu": "#009E73", "ifft+gelu": "#44AA99"}
"""Colours of operators with what the array applies to their results."""

ENERGY_COLORS: dict[str, str] = {
    "mac": "#0072B2",
    "register": "#56B4E9",
    "scratchpad": "#E69F00",
    "accumulator": "#F0E442",
    "special_function": "#CC79A7",
    "dram": "#D55E00",
    "l2": "#009E73",
    "host": "#6B3A1B",
    "leakage": "#C4C4C4",
}
"""One colour per component of energy in every figure."""

AREA_COLORS: dict[str, str] = {
    "array": ENERGY_COLORS["mac"],
    "scratchpad": ENERGY_COLORS["scratchpad"],
    "accumulator": ENERGY_COLORS["accumulator"],
    "special_function": ENERGY_COLORS["special_function"],
    "dma_control": "#56B4E9",
    "l2": ENERGY_COLORS["l2"],
    "host": ENERGY_COLORS["host"],
    "sparsity_units": ENERGY_COLORS["dram"],
}
"""One colour per component of area; what energy has too keeps its colour."""

OPERAND_COLORS: dict[str, str] = {
    "A": "#0072B2",
    "B (weights)": "#E69F00",
    "C (results)": "#009E73",
    "D (bias)": "#56B4E9",
    "X": "#CC79A7",
    "block index": "#D55E00",
    "request padding": "#C4C4C4",
    "read": "#9A9A9A",
    "written": "#5E5E5E",
}
"""One colour per operand of the traffic, and per direction where operands are not told apart."""

PALETTE: tuple[str, ...] = tuple(CAUSE_COLORS.values())
RUN_COLORS: tuple[str, ...] = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
"""Colours of runs beside each other."""
MARKERS = "osD^vP*Xph"

GIVEN = ("hardware", "workload", "sparsity", "prune", "seed")
"""Columns of a sweep that the user chose though `sim.run.columns` defines them."""

FORMATS = (".png", ".svg", ".pdf")
"""What `save` writes."""
DARK_TEXT, LIGHT_TEXT = "#222222", "#ffffff"
DARK_ON_COLOR = "#1a1a1a"
"""Dark letters on a coloured ground, which stays as it is when a page turns dark."""
EDGE = "#fefefe"
"""Between the parts of a bar: white on paper; a page puts its own background there."""


def kind_color(kind: str) -> str:
    """Return the fixed colour of an operator kind; kinds without one get a palette colour by their name."""
    own = {known.name: known.color for known in KINDS.values() if known.color}
    return named_color(kind, own | FUSED_COLORS)


def named_color(name: str, colors: Mapping[str, str]) -> str:
    """Return the fixed colour of a name, or one of the palette that depends on the name alone."""
    return colors.get(name, PALETTE[sum(name.encode()) % len(PALETTE)])


def text_color(background: str) -> str:
    """Return black or white, whichever reads better on ``background`` ("#rrggbb")."""
    red, green, blue = (int(background[at : at + 2], 16) for at in (1, 3, 5))
    return DARK_ON_COLOR if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else LIGHT_TEXT


def read(path: Path, columns: Iterable[str]) -> pd.DataFrame:
    """Read a CSV file that must have the named columns; InputError says which are missing."""
    try:
        frame = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a CSV table: {error}") from error
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        hints = "".join(did_you_mean(name, map(str, frame.columns)) for name in missing[:1])
        raise InputError(f"{path}: columns missing: {', '.join(missing)}{hints}")
    if frame.empty:
        raise InputError(f"{path}: no rows in it, nothing to draw")
    return frame


def varied(sweep: pd.DataFrame) -> list[str]:
    """Return the columns that a sweep set and varied: those that are no result of the simulation."""
    names = [str(name) for name in sweep.columns if name in GIVEN or name not in COLUMNS]
    return [name for name in names if len(set(sweep[name].astype(str))) > 1]


def stack(axes: Axes, parts: Mapping[str, Sequence[float]], names: Sequence[str], colors: Mapping[str, str]) -> Axes:
    """Draw horizontal stacked bars, one per name from top to bottom, with a legend; parts without length are left out.

    ``parts``: part -> one length per name.
    """
    places = range(len(names))
    left = [0.0] * len(names)
    for part, lengths in parts.items():
        if not any(lengths):
            continue
        color = named_color(part, colors)
        axes.barh(places, lengths, 0.66, left, color=color, edgecolor=EDGE, lw=0.5, label=part.replace("_", " "))
        left = [before + length for before, length in zip(left, lengths, strict=True)]
    axes.set_yticks(list(places), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, (max(left) or 1) * 1.03)
    axes.grid(axis="y", visible=False)
    above(axes)
    return axes


def log_ticks(axis: Axis) -> None:
    """Label 1, 2 and 5 of every decade of a logarithmic axis with metric prefixes."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(EngFormatter())
    axis.set_minor_formatter(NullFormatter())


def above(axes: Axes, columns: int = 4) -> None:
    """Put the legend over the axes, where it covers no data at any size."""
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=columns, columnspacing=1.0, handlelength=1.2)


def require(table: pd.DataFrame, columns: Iterable[str]) -> None:
    """Raise InputError for columns that a table lacks, with the nearest name."""
    missing = [name for name in columns if name not in table.columns]
    if missing:
        hint = did_you_mean(missing[0], map(str, table.columns))
        raise InputError(f"columns missing in the sweep: {', '.join(missing)}{hint}")


def finished(sweep: pd.DataFrame, results: Iterable[str]) -> pd.DataFrame:
    """Return the points of a sweep that have all ``results``; InputError when a column or every point is missing."""
    require(sweep, results := list(results))
    done = sweep.loc[sweep[results].notna().all(axis=1)].reset_index(drop=True)
    if done.empty:
        raise InputError("no finished point in the sweep, nothing to draw")
    return done


def short(knob: str, knobs: Sequence[str]) -> str:
    """Return the last part of a dotted key if no other varied key ends like it."""
    last = knob.rsplit(".", 1)[-1]
    return last if sum(other.rsplit(".", 1)[-1] == last for other in knobs) == 1 else knob


def number(value: object) -> str:
    """Return a number short: whole Ki and Mi as such, else three digits with a prefix (1.23M); text as it is."""
    if isinstance(value, str) or not isinstance(value, SupportsFloat):
        return str(value)
    amount = float(value)
    for size, prefix in ((1 << 20, "Mi"), (1 << 10, "Ki")):
        if amount and amount % size == 0:
            return f"{amount / size:g}{prefix}"
    return f"{amount:.4g}" if abs(amount) < 10_000 else EngFormatter(places=2, sep="")(amount)


def quantity(column: str, value: float) -> str:
    """Return a column's value short and with its unit: energies in joules, not in millions of picojoules."""
    unit = COLUMNS[column].unit if column in COLUMNS else ""
    if unit == "pJ":
        return EngFormatter(unit="J", places=2)(value * 1e-12)
    return f"{value:.3g} {unit}" if unit == "mm2" else number(value)


@contextmanager
def sheet() -> Iterator[None]:
    """Draw inside this context to get the house style."""
    with matplotlib.style.context(Path(__file__).with_name("carat.mplstyle")):
        yield


def check_ending(path: Path) -> None:
    """Raise InputError unless ``path`` ends like a picture."""
    if path.suffix not in FORMATS:
        raise InputError(f"{path}: pictures are written as {', '.join(FORMATS)}")


def save(figure: Figure, path: Path) -> None:
    """Write a picture as PNG, SVG or PDF by the ending of ``path``."""
    check_ending(path)
    stamp = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix)
    try:
        figure.savefig(path, metadata=stamp)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from error


def run(main: Callable[[Sequence[str]], None]) -> None:
    """Run a report's ``main`` as a program: bad input ends with a message and exit code 2."""
    try:
        main(sys.argv[1:])
    except CaratError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
