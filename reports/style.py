"""What all figures share: fixed colours, the style sheet, reading a CSV at the door, saving a picture."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib.style
import pandas as pd
from matplotlib.figure import Figure

from sim.columns import COLUMNS
from sim.errors import CaratError, InputError, did_you_mean

CAUSE_COLORS: dict[str, str] = {
    "compute": "#0072B2",
    "bank_conflict": "#D55E00",
    "load_wait": "#E69F00",
    "store_wait": "#F0E442",
    "normalize": "#CC79A7",
    "dependency": "#56B4E9",
    "queue_full": "#009E73",
    "fill_drain": "#A6A6A6",
    "issue": "#4D4D4D",
    "host": "#7A4B2A",
}
"""One colour per cause in every figure: Okabe and Ito's colour-blind safe palette, two greys, a brown."""

KIND_COLORS: dict[str, str] = {
    "matmul": "#0072B2",
    "matmul+softmax": "#56B4E9",
    "matmul+gelu": "#009E73",
    "layernorm": "#CC79A7",
    "residual_add": "#F0E442",
    "softmax": "#D55E00",
    "gelu": "#E69F00",
    "conv": "#4D4D4D",
    "embedding": "#A6A6A6",
    "quantize": "#7A4B2A",
    "dequantize": "#C49A6C",
}
"""One colour per operator kind in every figure."""

PALETTE: tuple[str, ...] = tuple(CAUSE_COLORS.values())
MARKERS = "osD^vP*Xph"

GIVEN = ("hardware", "workload", "sparsity", "prune", "seed")
"""Columns of a sweep that the user chose though `sim.columns` defines them."""

FORMATS = (".png", ".svg", ".pdf")
DARK_TEXT, LIGHT_TEXT = "#222222", "#ffffff"


def kind_color(kind: str) -> str:
    """Return the fixed colour of an operator kind; kinds without one get a palette colour by their name."""
    return KIND_COLORS.get(kind, PALETTE[sum(kind.encode()) % len(PALETTE)])


def text_color(background: str) -> str:
    """Return black or white, whichever reads better on ``background`` ("#rrggbb")."""
    red, green, blue = (int(background[at : at + 2], 16) for at in (1, 3, 5))
    return DARK_TEXT if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else LIGHT_TEXT


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


@contextmanager
def sheet() -> Iterator[None]:
    """Draw inside this context to get the house style."""
    with matplotlib.style.context(Path(__file__).with_name("carat.mplstyle")):
        yield


def save(figure: Figure, path: Path) -> None:
    """Write a picture as PNG, SVG or PDF by the ending of ``path``."""
    if path.suffix not in FORMATS:
        raise InputError(f"{path}: pictures are written as {', '.join(FORMATS)}")
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
