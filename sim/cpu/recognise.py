"""Library calls in a recorded command stream: the function of each, and the CPU's pace through it.

A stream has only commands. The piece of library code that issued each follows from the order of their codes (as in
`sim.lower`), and with it the gap in the price list; sizes of a product follow from the bounds and addresses of its
hardware loops.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from sim.cpu.calls import CallCost, cost
from sim.isa.commands import ConfigKind, Funct, Program
from sim.isa.fields import loop_dimension, normaliser_pass
from sim.isa.layouts import LOOP_FIRST, NORM_FIRST, get
from sim.lower import build
from sim.lower.pace import HAND, Pace, prices_of, variant
from sim.lower.tiling import folded
from sim.lower.work import ACTIVATIONS, DEFAULT_SCALE, Conv, Matmul, Operand

if TYPE_CHECKING:
    from sim.hardware import Hardware

LOADS = (Funct.MVIN, Funct.MVIN2, Funct.MVIN3)
COMPUTES = (Funct.COMPUTE_PRELOADED, Funct.COMPUTE_ACCUMULATED)
LOOP_HEADS = (Funct.LOOP_WS_CONFIG_BOUNDS, Funct.LOOP_CONV_WS_CONFIG_1)
"""First commands of hardware loops, at which the list of gaps begins anew."""
CONV_CONFIGS = (
    Funct.LOOP_CONV_WS_CONFIG_1,
    Funct.LOOP_CONV_WS_CONFIG_2,
    Funct.LOOP_CONV_WS_CONFIG_3,
    Funct.LOOP_CONV_WS_CONFIG_4,
)
"""Commands with a convolution's sizes."""
FIRST_PASS = (1, 2, 5)
"""Normalisation commands of the first pass over a row (NormCmd.scala: sum, mean, maximum)."""
SOFTMAX_COMMANDS = (5, 6, 7)
MAX_NAMED = 3
"""Number of calls without a fence between them that a name lists."""
DATAFLOW_BIT = 2
"""Bit of rs1 of a config_ex: 1 = weight stationary (gemmini.h)."""


@dataclass(frozen=True)
class Recognised:
    """A call between two fences.

    ``function``: matmul, os, resadd, norm, conv, or hand for streams that are not the library's.

    ``parts``: several calls of the library without a fence between them; ``function`` then joins theirs.
    """

    function: str
    commands: Program
    work: Matmul | Conv | None = None
    parts: tuple[Recognised, ...] = ()

    @property
    def macs(self) -> int:
        """Multiply-accumulates, as far as sizes are known."""
        return sum(part.macs for part in self.parts) + (self.work.macs if self.work is not None else 0)

    @property
    def name(self) -> str:
        """Function and, if known, sizes, for messages."""
        if self.parts:
            return ", ".join(part.name for part in self.parts[:MAX_NAMED]) + ", ..." * (len(self.parts) > MAX_NAMED)
        if self.work is None:
            return self.function
        return self.work.title


def calls_of(program: Program, dim: int) -> list[Recognised]:
    """Split a stream at its fences and recognise each piece; fences in a row are one."""
    found, start = [], 0
    for end in [*np.flatnonzero(program["funct"] == Funct.FENCE).tolist(), len(program)]:
        piece = program[start:end]
        start = end + 1
        if len(piece):
            parts = tuple(_one(part, dim) for part in split(piece))
            functions = sorted({part.function for part in parts})
            whole = (
                len(parts) == 1 or HAND in functions
            )  # a stream that is not the library's may have configurations between its stores
            found.append(_one(piece, dim) if whole else Recognised("+".join(functions), piece, None, parts))
    return found


def split(commands: Program) -> list[Program]:
    """Split commands without fences into calls: each begins with a configuration after stores or loops."""
    ends = (Funct.LOOP_WS, Funct.LOOP_CONV_WS, Funct.MVOUT)
    begins = (commands["funct"][1:] == Funct.CONFIG) & np.isin(commands["rs1"][1:] & 3, (ConfigKind.EX, ConfigKind.ST))
    return np.split(commands, np.flatnonzero(begins & np.isin(commands["funct"][:-1], ends)) + 1)


def _one(commands: Program, dim: int) -> Recognised:
    function = _function(commands)
    work = _product(commands, dim) if function == "matmul" else _convolution(commands) if function == "conv" else None
    return Recognised(function, commands, work)


def _function(commands: Program) -> str:
    codes = set(commands["funct"].tolist())
    if Funct.LOOP_CONV_WS in codes:
        return "conv"
    if Funct.LOOP_WS in codes:
        loops = commands[commands["funct"] == Funct.LOOP_WS]
        return "resadd" if (loops["rs2"] & 4).all() else "matmul"
    if Funct.PRELOAD in codes and codes & set(LOADS) and _is_output_stationary(commands):
        return "os"
    stored = commands[commands["funct"] == Funct.MVOUT]
    if codes & set(LOADS) and len(stored) and normaliser_pass(stored["rs2"]).any():
        return "norm"
    return HAND


def _is_output_stationary(commands: Program) -> bool:
    """Whether a piece with single loads and computes is the library's output-stationary product.

    It sets that dataflow first.
    """
    chosen = commands[(commands["funct"] == Funct.CONFIG) & (commands["rs1"] & 3 == ConfigKind.EX)]
    return bool(len(chosen)) and not (chosen["rs1"] >> DATAFLOW_BIT & 1).any()


def _product(commands: Program, dim: int) -> Matmul | None:
    """Return the product of a call's hardware loops; None if they are no whole product in the library's order."""
    at = {
        code: commands[commands["funct"] == code] for code in range(Funct.LOOP_WS, Funct.LOOP_WS_CONFIG_STRIDES_DC + 1)
    }
    bounds, pads = (at[Funct.LOOP_WS_CONFIG_BOUNDS][name] for name in ("rs2", "rs1"))
    stored = at[Funct.LOOP_WS_CONFIG_ADDRS_DC]["rs2"]
    last = np.flatnonzero(stored != 0)
    if len({len(part) for part in at.values()}) != 1 or not len(last):
        return None
    deep = int(last[0]) + 1
    flags, modes = int(at[Funct.LOOP_WS]["rs1"][0]), int(at[Funct.LOOP_WS]["rs2"][0])
    full_c = bool(flags >> 1 & 1)
    row_bytes = int(at[Funct.LOOP_WS_CONFIG_STRIDES_DC]["rs2"][0]) * (4 if full_c else 1)
    results = stored[last] - stored[last[0]]
    wide = int((results < max(1, row_bytes)).sum()) if len(results) > 1 else 1
    tall = len(bounds) // (deep * wide)
    if tall * deep * wide != len(bounds):
        return None

    def size(field: int, count: int) -> int:
        first, end = loop_dimension(int(bounds[0]), field), loop_dimension(int(bounds[-1]), field)
        return int(((count - 1) * first + end) * dim - loop_dimension(int(pads[-1]), field))

    code = get(flags, LOOP_FIRST.activation)
    activation = ACTIVATIONS[code] if code < len(ACTIVATIONS) else "none"
    m, n, k = size(0, tall), size(1, wide), size(2, deep)
    if min(m, n, k) < 1:
        return None
    sides = bool(modes & 1), bool(modes & 2)
    return build.matmul(
        m,
        n,
        k,
        transpose_a=sides[0],
        transpose_b=sides[1],
        full_c=full_c,
        activation=activation,
        bert_scale=DEFAULT_SCALE,
    )


def _convolution(commands: Program) -> Conv | None:
    """Return the convolution of a call's first hardware loop, which has the sizes of the whole one (`sim.lower.conv`).

    None if its output has other sizes (variants for training).
    """
    first, second, third, fourth = (commands[commands["funct"] == code][0] for code in CONV_CONFIGS)
    last = commands[commands["funct"] == Funct.LOOP_CONV_WS][0]
    mode = int(last["rs2"])

    def field(word: int, at: int, bits: int = 16) -> int:
        return int(word) >> at & (1 << bits) - 1

    nowhere = Operand(0, 0)
    work = Conv(
        field(first["rs1"], 0), field(first["rs1"], 16), field(third["rs2"], 0), field(first["rs1"], 32),
        field(first["rs1"], 48), field(second["rs1"], 48), nowhere, nowhere, nowhere,
        stride=field(first["rs2"], 48, 8), padding=field(first["rs2"], 56, 8), input_dilation=1 + field(mode, 2, 1),
        kernel_dilation=field(fourth["rs1"], 0, 10), pool_size=field(second["rs1"], 16),
        pool_stride=0 if mode & 1 else field(second["rs1"], 8, 8), pool_padding=field(second["rs1"], 0, 8),
        depthwise=bool(field(last["rs1"], 6, 1)),
    )  # fmt: skip
    made = field(first["rs2"], 0), field(first["rs2"], 32)
    return work if work.stride and work.kernel and (work.out_rows, work.out_cols) == made else None


def priced(call: Recognised, hw: Hardware, ran: frozenset[str]) -> tuple[Program, CallCost]:
    """Return a call's commands with their gaps, and the CPU's cycles around it; ``ran``: code that has run before.

    For calls without a fence between them, the cycles around later ones are put before their first commands.
    """
    outside = around((call.parts or (call,))[0], hw, ran)
    paths, streams = outside.paths, []
    for number, part in enumerate(call.parts or (call,)):
        commands = paced(part, hw)
        if number and hw.cpu.prices != "none":
            between = around(part, hw, ran | paths)
            commands["gap"][0] += between.cycles
            paths |= between.paths
        streams.append(commands)
    return np.concatenate(streams), replace(outside, paths=paths)


def paced(call: Recognised, hw: Hardware) -> Program:
    """Return the call's commands with the gaps of the machine's price list; unchanged without one."""
    if hw.cpu.prices == "none":
        return call.commands
    inlined = call.function in ("resadd", "norm", "conv")
    product = call.work.product if call.work is not None else None
    is_folded = inlined or (product is not None and folded(product, hw))
    pace = Pace(hw, folded=is_folded, inlined=inlined)
    commands = call.commands.copy()
    place, before = 0, ""
    for number, kind in enumerate(_kinds(call)):
        is_head = commands["funct"][number] in LOOP_HEADS
        place = place + 1 if kind == before and not is_head else 0
        gaps = pace.gaps(kind)
        commands["gap"][number] = gaps[min(place, len(gaps) - 1)]
        before = kind
    return commands


def around(call: Recognised, hw: Hardware, ran: frozenset[str]) -> CallCost:
    """Return the CPU's cycles around a recognised call; its tile search is counted if its sizes are known."""
    if hw.cpu.prices == "none" or call.function == HAND:
        return CallCost()
    if call.work is not None:
        return cost(call.work, hw, ran)
    function = "matmul" if call.function == "os" else call.function
    table = prices_of(hw.cpu.prices.calls, variant(hw, folded=True, inlined=function != "matmul"))
    return CallCost(table[function], 0, frozenset({function}))


def _kinds(call: Recognised) -> Iterator[str]:
    """Yield the kind of stream of each command of a call."""
    if call.function in ("matmul", "resadd", "conv"):
        yield from _loop_kinds(call)
    elif call.function == "norm":
        yield from _norm_kinds(call.commands)
    elif call.function == "os":
        yield from _os_kinds(call.commands)
    else:
        yield from [HAND] * len(call.commands)


def _loop_kinds(call: Recognised) -> Iterator[str]:
    loops, kind, previous_a, stored = 0, "", None, 1
    for at, command in enumerate(call.commands):
        code = command["funct"]
        if code in LOOP_HEADS:
            loops += 1
            address = call.commands[at + 1]["rs1"] if at + 1 < len(call.commands) else 0
            kind = f"{call.function}_loop"
            if loops == 1:
                kind += "_first"
            elif call.function == "matmul":
                moved = "k" if stored == 0 else "j" if address in (0, previous_a) else "i"
                kind += f"_{moved}"
            previous_a = address if stored or loops == 1 else previous_a
        if code == Funct.LOOP_WS_CONFIG_ADDRS_DC:
            stored = command["rs2"]
        if loops:
            yield kind
        elif code == Funct.CONFIG and command["rs1"] & 3 == ConfigKind.NORM:
            yield "matmul_softmax" if get(command["rs1"], NORM_FIRST.activation_high) else "matmul_igelu"
        else:
            yield f"{call.function}_config"


def _norm_kinds(commands: Program) -> Iterator[str]:
    codes = normaliser_pass(commands["rs2"])
    is_softmax = bool(np.isin(codes[commands["funct"] == Funct.MVOUT], SOFTMAX_COMMANDS).any())
    which = "softmax" if is_softmax else "layernorm"
    loaded, before = False, ""
    for at, command in enumerate(commands):
        code, following = command["funct"], commands[at + 1] if at + 1 < len(commands) else None
        if code in LOADS:
            kind = "norm_load" if before.startswith("norm_load") else "norm_load_block" if loaded else "norm_load_first"
            loaded = True
        elif code == Funct.MVOUT:
            ends = following is None or following["funct"] != Funct.MVOUT
            starts = "store" not in before
            kind = f"{which}_store" + ("_first" if starts else "_last" if ends else "")
        elif code == Funct.CONFIG and command["rs1"] & 3 == ConfigKind.NORM and loaded:
            first_pass = following is not None and int(codes[at + 1]) in FIRST_PASS
            second = bool(get(command["rs1"], NORM_FIRST.statistics) & 1)
            kind = f"{which}_" + (
                "block" if before.startswith("norm_load") else "second" if second else "pair" if first_pass else "pass"
            )
        else:
            kind = "norm_softmax" if command["rs1"] & 3 == ConfigKind.NORM else "norm_config"
        before = kind
        yield kind


def _os_kinds(commands: Program) -> Iterator[str]:
    configs, before = 0, ""
    for command in commands:
        code = command["funct"]
        if code in LOADS:
            kind = "os_load" if before.startswith("os_load") else "os_load_first"
        elif code == Funct.PRELOAD:
            kind = "os_preload_first" if not before.startswith("os_compute") else "os_preload"
        elif code in COMPUTES:
            kind = "os_compute_first" if code == Funct.COMPUTE_PRELOADED else "os_compute"
        elif code == Funct.MVOUT:
            kind = "os_store" if before.startswith("os_store") else "os_store_first"
        else:
            configs += 1
            kind = "matmul_config" if configs <= 5 else "os_config_b" if configs % 2 == 0 else "os_config_a"
        before = kind
        yield kind
