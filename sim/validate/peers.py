"""Published cycle rules of other simulators for one matmul (array alone, ideal memory), for comparison only.

C[M, N] = A[M, K] x B[K, N] on an array of ``rows`` x ``columns`` PEs; all results in cycles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sim.base.errors import InputError, did_you_mean

CycleRule = Callable[[int, int, int, int, int, str], int | None]
"""(M, N, K, rows, columns, dataflow "WS" | "OS") -> cycles, None if the rule does not cover the dataflow."""


@dataclass(frozen=True)
class PeerRule:
    """A rule: name on the command line, formula as text, and source."""

    name: str
    formula: str
    source: str
    cycles: CycleRule


def onnxim_cycles(m: int, n: int, k: int, rows: int, columns: int, dataflow: str) -> int | None:
    """Weight-stationary fill and drain.

    A weight tile is loaded in ``rows`` cycles, then M rows are streamed through the array.

    A tile of l rows takes (l - 1) + columns + rows cycles, but the next may start when the array's top row is
    free, and its weights are loaded meanwhile: tiles start max(M, rows) cycles apart. WS only.
    """
    if dataflow != "WS":
        return None
    tiles = _ceil(k, rows) * _ceil(n, columns)
    return rows + (tiles - 1) * max(m, rows) + (m - 1) + columns + rows


def scalesim_cycles(m: int, n: int, k: int, rows: int, columns: int, dataflow: str) -> int | None:
    """Sequential folds, each 2 * rows + columns + T - 2 cycles.

    WS: K on the rows, N on the columns, T = M. OS: M on the rows, N on the columns, T = K.
    """
    if dataflow == "WS":
        return (2 * rows + columns + m - 2) * _ceil(k, rows) * _ceil(n, columns)
    return (2 * rows + columns + k - 2) * _ceil(m, rows) * _ceil(n, columns)


RULES = (
    PeerRule(
        "onnxim-rule",
        "h + (tiles - 1) max(M, h) + (M - 1) + w + h, tiles = ceil(K/h) ceil(N/w)",
        "ONNXim, IEEE CAL 2024, arXiv 2406.08051: timing of a weight-stationary tile",
        onnxim_cycles,
    ),
    PeerRule(
        "scalesim-rule",
        "(2 R + C + T - 2) ceil(S_R/R) ceil(S_C/C)",
        "SCALE-Sim, ISPASS 2020: analytical runtime of folds",
        scalesim_cycles,
    ),
)


def rule(name: str) -> PeerRule:
    """Return the rule of that name; InputError with the nearest known name otherwise."""
    for known in RULES:
        if known.name == name:
            return known
    raise InputError(f"--peer {name!r} is unknown{did_you_mean(name, [known.name for known in RULES])}")


def _ceil(amount: int, unit: int) -> int:
    return -(-amount // unit)
