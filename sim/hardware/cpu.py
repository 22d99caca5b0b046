"""The CPU that issues commands, as a machine describes it, and the vocabulary of its price list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, TypeVar

from pydantic import Field, field_validator

from sim.base.errors import did_you_mean
from sim.base.table import Table
from sim.hardware.schema import Cycles, PositiveCycles

T = TypeVar("T")

GapCycles = Annotated[tuple[PositiveCycles, ...], Field(strict=False, min_length=1)]
Lines = Annotated[int, Field(ge=0)]

HAND = "hand"
"""Kind of commands without a kind of their own: a loop around one command."""

KINDS: Mapping[str, str] = {
    HAND: "a loop around one command, and streams of programs that are not the library's",
    "matmul_config": "configuration before a product's tiles",
    "matmul_softmax": "constants of the softmax, computed from its scale",
    "matmul_igelu": "constants of the GELU",
    "matmul_loop_first": "the first tile's hardware loop: quotients and remainders of all sizes first",
    "matmul_loop_k": "hardware loop of the next tile along K",
    "matmul_loop_j": "hardware loop of the next tile along J",
    "matmul_loop_i": "hardware loop of the next tile along I",
    "os_config_d": "output stationary, load configuration of the bias",
    "os_config_b": "load configuration of B",
    "os_config_a": "load configuration of A",
    "os_load_first": "first load of an operand's block",
    "os_load_row": "first load of a further row of blocks",
    "os_load": "next load of the same row of blocks",
    "os_preload_first": "first preload of a tile",
    "os_preload_i": "preload of a new row of results",
    "os_preload_j": "preload of a new column of results",
    "os_preload": "preload of the next step along K",
    "os_preload_last": "preload of the last step along K, which names the result",
    "os_compute_first": "compute of the first step along K",
    "os_compute": "compute of a further step along K",
    "os_store_first": "first store of a tile",
    "os_store_row": "first store of a further row",
    "os_store": "next store of the same row",
    "norm_config": "configuration before a normalisation",
    "norm_softmax": "constants of a softmax on its own",
    "norm_load_first": "first load of the first block of rows",
    "norm_load_block": "first load of a further block of rows",
    "norm_load": "next load of the same block of rows",
    "layernorm_block": "choice of the statistics register after the loads of a block",
    "layernorm_pair": "the same for the next two rows",
    "layernorm_pass": "the same for the next pass over two rows",
    "layernorm_second": "the same for the second row of a pass",
    "layernorm_store_first": "first store of a row in a pass",
    "layernorm_store": "next store of a row in a pass",
    "layernorm_store_last": "last store of a row in a pass",
    "softmax_block": "as layernorm_block",
    "softmax_pair": "as layernorm_pair",
    "softmax_pass": "as layernorm_pass",
    "softmax_second": "as layernorm_second",
    "softmax_store_first": "as layernorm_store_first",
    "softmax_store": "as layernorm_store",
    "softmax_store_last": "as layernorm_store_last",
    "resadd_config": "configuration before a residual addition",
    "resadd_loop_first": "hardware loop of its first tile",
    "resadd_loop": "hardware loop of a further tile",
    "conv_config": "configuration before a convolution",
    "conv_loop_first": "hardware loop of its first tile",
    "conv_loop": "hardware loop of the next tile, an inner size continues",
    "conv_loop_outer": "hardware loop of the next tile, an inner size restarts",
}
"""Kind of stream -> its commands and the CPU's work before them."""

VARIANTS: Mapping[str, str] = {
    "runtime": "sizes in variables",
    "constant": "sizes known to the compiler, tile search in the program",
    "folded": "sizes known to the compiler, tile search done at compile time",
    "shared": "one copy of the function, called from several places of a program",
}
"""Compilation variants of a library call; "runtime" also prices kinds that another variant lacks."""

FUNCTIONS = ("matmul", "norm", "resadd", "conv")
CALL_PRICES = (*FUNCTIONS, *(f"{name}_pass" for name in FUNCTIONS), "conv_shrink", "conv_try", "matmul_loops")
"""Cycles of a call, of a pass of its tile search, and additional cycles of several hardware loops.

A convolution's search: ``conv_shrink`` a pass that shrinks a size, ``conv_pass`` one that tries to grow each size,
``conv_try`` a larger tile tried.
"""

PATHS = (
    *FUNCTIONS, "site", "softmax", "igelu", "full_c", "os", "layernorm", "norm_softmax", "resadd_padded", "conv_search",
    "conv_pool",
)  # fmt: skip
"""Pieces of code that a first call may miss ("site": the calling code).

With the suffix ``_runtime``, ``_constant``, .. or ``_shared`` the figure of that compilation variant.
"""


def _unknown(given: Iterable[str], known: Iterable[str], what: str) -> list[str]:
    names = list(known)
    return [f"{what} {name!r} is unknown{did_you_mean(name, names)}" for name in given if name not in names]


def _ways(table: Mapping[str, Mapping[str, T]], known: Iterable[str], needed: Iterable[str], what: str) -> None:
    """Raise ValueError for unknown names, and if the variant "runtime" lacks a price."""
    found = _unknown(table, VARIANTS, "way of compilation")
    for way in table.values():
        found += _unknown(way, known, what)
    missing = [name for name in needed if name not in table.get("runtime", {})]
    if missing:
        found.append(f"runtime: no price for {', '.join(missing)}; every {what} needs one")
    if found:
        raise ValueError("; ".join(found))


class CpuPrices(Table):
    """Prices of the CPU that issues commands, from a file of hwconfigs/cpu; docs/CPU.md derives the figures.

    ``streams``: by compilation variant, then by kind of command stream (`KINDS`), the cycles before each
    command of that kind; the last figure repeats. ``calls``: by compilation variant, cycles of a library call before
    its first command and after its last idle cycle, and of each pass of its tile search (`sim.cpu.calls`).
    ``cold_lines``: cache lines of code that the first call of a kind misses. ``path_cycles``: cycles that the tile and
    the buses add to the memory's latency without an L2. ``line_cycles``, ``l2_line_cycles``: cycles of a missed line of
    code beyond the memory's latency, without and with an L2. ``folds``: whether the compiler runs the tile search of
    constant sizes itself if possible.
    """

    name: str
    description: str
    path_cycles: Cycles
    line_cycles: Cycles
    l2_line_cycles: Cycles
    streams: dict[str, dict[str, GapCycles]]
    calls: dict[str, dict[str, Cycles]]
    cold_lines: dict[str, Lines]
    folds: bool = True

    @field_validator("streams")
    @classmethod
    def _known_streams(cls, streams: dict[str, dict[str, GapCycles]]) -> dict[str, dict[str, GapCycles]]:
        _ways(streams, KINDS, KINDS, "kind of stream")
        return streams

    @field_validator("calls")
    @classmethod
    def _known_calls(cls, calls: dict[str, dict[str, Cycles]]) -> dict[str, dict[str, Cycles]]:
        _ways(calls, CALL_PRICES, CALL_PRICES[:-1], "price of a call")
        return calls

    @field_validator("cold_lines")
    @classmethod
    def _known_paths(cls, lines: dict[str, Lines]) -> dict[str, Lines]:
        known = [*PATHS, *(f"{path}_{way}" for path in PATHS for way in VARIANTS)]
        found = _unknown(lines, known, "piece of code")
        if found:
            raise ValueError("; ".join(found))
        return lines


class Cpu(Table):
    """The rate at which commands arrive, and the cycles around a library call.

    ``command_cycles``: least cycles between a command and the one before it; ``loop_cycles``: the same for
    the first command of a hardware loop, whose operands the CPU computes. ``prices``: a file of hwconfigs/cpu, or
    "none": a CPU that issues a command every ``command_cycles`` without time between calls. ``sizes``: compilation of
    the program: sizes in variables ("runtime"), known to the compiler ("constant"), or one copy of the library's
    functions called from several places ("shared", as in a whole network). ``code`` "cold": the first call of each kind
    misses its code in the instruction cache.
    """

    command_cycles: PositiveCycles
    loop_cycles: PositiveCycles
    prices: CpuPrices | Literal["none"] = "none"
    sizes: Literal["runtime", "constant", "shared"] = "shared"
    code: Literal["cold", "warm"] = "cold"
