"""Shared by all figures: fixed colours, the style sheet, stacked bars, reading a CSV file, saving a picture."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import matplotlib.style
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.fit import above, fitting
from sim.base.errors import CaratError, InputError, did_you_mean
from sim.base.palette import CAUSE_COLORS as CAUSE_COLORS
from sim.base.reading import read_text
from sim.graph.kinds import KINDS

FUSED_COLORS: dict[str, str] = {"matmul+softmax": "#56B4E9", "matmul+gelu": "#009E73", "ifft+gelu": "#332288"}
"""Colours of operators with an activation fused into them."""

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
"""One colour per component of area; a component of both area and energy has one colour."""

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
"""One colour per operand of the traffic, and per direction where the operand of a byte is not known."""

PALETTE: tuple[str, ...] = tuple(CAUSE_COLORS.values())
RUN_COLORS: tuple[str, ...] = ("#0072B2", "#D55E00", "#009E73", "#8100F2", "#000026", "#732E00")
"""One colour per run of a comparison."""
LINE_COLORS = (*RUN_COLORS, "#AE61F2", "#1F4C3D", "#BF8A4D", "#1600A6")
"""One colour per line of a figure with many. A line has no outline: each is dark enough for white paper, and any two
are apart for the colour-blind (found by search over hues: the next colour is the one farthest from all before)."""
MARKERS = "osD^vP*Xph"

FORMATS = (".png", ".svg", ".pdf")
"""Formats that `save` writes."""
DARK_TEXT, LIGHT_TEXT = "#222222", "#ffffff"
DARK_ON_COLOR = "#1a1a1a"
"""Dark letters on a coloured ground, the same on a light and on a dark page."""
EDGE = "#6e6e6e"
"""Around the parts of a bar: colours that the colour-blind tell apart include some too light for white paper, so the
outline shows where a part ends; a dark page puts its own background there."""
GROUND = "#fefefe"
"""Behind letters that stand on lines: white on paper; a page puts its own background there."""
LIGHT_PAPER = "#ffffff"
DARK_PAPER = "#15171b"
"""Background of a page in dark mode (page.css)."""
MARK_CONTRAST = 3.0
"""Least contrast of a mark, or of its outline, with the background of a page (WCAG 2.1, 1.4.11)."""


def kind_color(kind: str) -> str:
    """Return the fixed colour of an operator kind; kinds without one get a palette colour by their name."""
    return named_color(kind, kind_colors())


def kind_colors() -> dict[str, str]:
    """Return the colours of all kinds that have a fixed one."""
    return {known.name: known.color for known in KINDS.values() if known.color} | FUSED_COLORS


def distinct(names: Iterable[str], colors: Mapping[str, str]) -> dict[str, str]:
    """Return name -> colour for the names of one picture: no two share one, as long as the palettes last.

    A name without a fixed colour has that of `named_color`, else the next that no other name of the picture has.
    """
    names = list(names)
    chosen = {name: colors[name] for name in names if name in colors}
    for name in names:
        if name not in chosen:
            own = named_color(name, {})
            free = (one for one in (own, *PALETTE, *LINE_COLORS) if one not in chosen.values())
            chosen[name] = next(free, own)
    return chosen


def named_color(name: str, colors: Mapping[str, str]) -> str:
    """Return the fixed colour of a name, else a palette colour that depends on the name alone."""
    return colors.get(name, PALETTE[sum(name.encode()) % len(PALETTE)])


def text_color(background: str) -> str:
    """Return black or white, whichever has the higher contrast on ``background`` ("#rrggbb")."""
    return max((LIGHT_TEXT, DARK_ON_COLOR), key=lambda ink: contrast(ink, background))


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours ("#rrggbb"), from 1 to 21 (WCAG 2.1: ratio of relative luminances)."""

    def luminance(color: str) -> float:
        parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def dark_page_colors() -> dict[str, str]:
    """Return colour of a mark -> its colour on a dark page, for those too dark there: mixed with white."""
    fixed = (kind_colors(), ENERGY_COLORS, AREA_COLORS, OPERAND_COLORS, CAUSE_COLORS)
    colors = dict.fromkeys([*(color for group in fixed for color in group.values()), *LINE_COLORS])
    lightened = {}
    for color in colors:
        shown, white = color, 0
        while contrast(shown, DARK_PAPER) < MARK_CONTRAST:
            white += 1
            parts = [int(color[at : at + 2], 16) for at in (1, 3, 5)]
            shown = "#" + "".join(f"{part + (255 - part) * white // 100:02x}" for part in parts)
        if shown != color:
            lightened[color] = shown
    return lightened


def read(path: Path, columns: Iterable[str]) -> pd.DataFrame:
    """Read a CSV file that must have the named columns; InputError says which are missing."""
    text = read_text(path, what="CSV table")
    try:
        frame = pd.read_csv(StringIO(text))
    except ValueError as error:
        raise InputError(f"{path}: cannot be read as a CSV table: {error}") from error
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        hints = "".join(did_you_mean(name, map(str, frame.columns)) for name in missing[:1])
        raise InputError(f"{path}: columns missing: {', '.join(missing)}{hints}")
    if frame.empty:
        raise InputError(f"{path}: no rows in it, nothing to draw")
    return frame


def stack(axes: Axes, parts: Mapping[str, Sequence[float]], names: Sequence[str], colors: Mapping[str, str]) -> Axes:
    """Draw horizontal stacked bars, one per name from top to bottom, with a legend; parts without length are left out.

    ``parts``: part -> one length per name.
    """
    places = range(len(names))
    left = [0.0] * len(names)
    parts = {part: lengths for part, lengths in parts.items() if any(lengths)}
    colors = distinct(parts, colors)
    for part, lengths in parts.items():
        color = colors[part]
        axes.barh(places, lengths, 0.66, left, color=color, edgecolor=EDGE, lw=0.5, label=part.replace("_", " "))
        left = [before + length for before, length in zip(left, lengths, strict=True)]
    axes.set_yticks(list(places), fitting(axes, names))
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, (max(left) or 1) * 1.03)
    axes.grid(axis="y", visible=False)
    above(axes, 6)
    return axes


@contextmanager
def sheet() -> Iterator[None]:
    """Draw inside this context to get the house style, whatever a matplotlibrc in the current folder says."""
    with matplotlib.style.context(Path(__file__).with_name("carat.mplstyle"), after_reset=True):
        yield


def check_ending(path: Path) -> None:
    """Raise InputError unless the ending of ``path`` is that of a picture (`FORMATS`)."""
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
