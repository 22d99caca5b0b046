"""A program in words: one line per command, for people (`carat show --commands`) and for reviews.

Field positions are those of GemminiISA.scala and LocalAddr.scala (gemmini_machine.md 2).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from sim.isa.commands import (
    ACCUMULATE_BIT,
    ACCUMULATOR_BIT,
    FULL_WIDTH_BIT,
    GARBAGE_ADDRESS,
    STORED_SHIFT,
    ConfigKind,
    Funct,
    Program,
)
from sim.isa.fields import stored_bytes

ACTIVATIONS = ("none", "relu", "layernorm", "igelu", "softmax")
NORM_COMMANDS = ("", "sum", "mean", "variance", "inv_stddev", "max", "sum_exp", "inv_sum_exp")
ROW_MASK = (1 << 26) - 1
"""Local addresses carry the row number below the normalisation command (bits 28:26)."""


def _bits(value: int, high: int, low: int) -> int:
    return value >> low & (1 << (high - low + 1)) - 1


def _float(value: int) -> str:
    number: float = struct.unpack("<f", struct.pack("<I", value))[0]
    return f"{number:.6g}"


def _dram(address: int, when_zero: str = "none") -> str:
    return f"dram {address:#x}" if address else when_zero


def local_address(address: int) -> str:
    """Return a local address in words: memory, row, and the flags that change what an access does."""
    if address == GARBAGE_ADDRESS:
        return "nowhere"
    if not address & ACCUMULATOR_BIT:
        return f"spad[{address & ROW_MASK}]"
    words = [f"acc[{address & ROW_MASK}]"]
    if address & ACCUMULATE_BIT:
        words.append("accumulate")
    if address & FULL_WIDTH_BIT:
        words.append("full-width")
    if norm := NORM_COMMANDS[_bits(address, 28, 26)]:
        words.append(norm)
    return " ".join(words)


def _operand(value: int) -> str:
    """A local operand: [63:48] rows, [47:32] columns, [31:0] address."""
    rows, cols = _bits(value, 63, 48), _bits(value, 47, 32)
    return f"{local_address(_bits(value, 31, 0))} {rows}x{cols}"


def _activation(code: int) -> str:
    return ACTIVATIONS[code] if code < len(ACTIVATIONS) else f"activation {code}"


def _config(rs1: int, rs2: int) -> str:
    kind = _bits(rs1, 1, 0)
    if kind == ConfigKind.EX:
        flow = "WS" if _bits(rs1, 2, 2) else "OS"
        transposes = [name for bit, name in ((8, "transpose A"), (9, "transpose B")) if rs1 >> bit & 1]
        words = [flow, _activation(_bits(rs1, 4, 3)), *transposes]
        words += [f"A stride {_bits(rs1, 31, 16)} rows", f"C stride {_bits(rs2, 63, 48)} rows"]
        return "config_ex " + ", ".join([*words, f"scale {_float(_bits(rs1, 63, 32))}"])
    if kind == ConfigKind.LD:
        words = [f"state {_bits(rs1, 4, 3)}", f"stride {rs2} B", f"block stride {_bits(rs1, 31, 16)} rows"]
        words += ["narrow into accumulator"] if rs1 >> 2 & 1 else []
        words += [f"pixel repeats {_bits(rs1, 15, 8)}"] if _bits(rs1, 15, 8) > 1 else []
        return "config_ld " + ", ".join([*words, f"scale {_float(_bits(rs1, 63, 32))}"])
    if kind == ConfigKind.ST:
        words = [f"stride {_bits(rs2, 31, 0)} B", _activation(_bits(rs1, 3, 2))]
        if pool_stride := _bits(rs1, 5, 4):
            words.append(f"pool {_bits(rs1, 7, 6)}/{pool_stride}")
        return "config_st " + ", ".join([*words, f"scale {_float(_bits(rs2, 63, 32))}"])
    words = [f"statistics {_bits(rs1, 15, 8)}"]
    if not rs1 >> 17 & 1:
        name = "qln2_inv" if rs1 >> 18 & 1 else "qln2"
        words += [f"{name} {_bits(rs1, 63, 32)}", f"qb {_bits(rs2, 31, 0):#x}", f"qc {_bits(rs2, 63, 32):#x}"]
    return "config_norm " + ", ".join(words)


def _mvin(name: str) -> Callable[[int, int], str]:
    return lambda rs1, rs2: f"{name} {_operand(rs2)} <- {_dram(rs1, 'zeros')}"


def _expanding(funct: int, rs1: int, rs2: int) -> str:
    """A load on a machine with a decoder: bits [62:56] are bytes of DRAM that make a local row."""
    text = WORDS[funct](rs1, _bits(rs2, STORED_SHIFT - 1, 0))
    row_bytes = stored_bytes(rs2)
    return f"{text}, expanded from {row_bytes} B a row" if row_bytes else text


def _mvout(rs1: int, rs2: int) -> str:
    return f"mvout {_operand(rs2)} -> {_dram(rs1)}"


def _preload(rs1: int, rs2: int) -> str:
    return f"preload {_operand(rs1)} -> {_operand(rs2)}"


def _compute(name: str) -> Callable[[int, int], str]:
    return lambda rs1, rs2: f"{name} {_operand(rs1)}, {_operand(rs2)}"


def _bounds(rs1: int, rs2: int) -> str:
    blocks = "x".join(str(_bits(rs2, low + 15, low)) for low in (0, 16, 32))
    pads = ",".join(str(_bits(rs1, low + 15, low)) for low in (0, 16, 32))
    return f"loop_ws bounds IxJxK {blocks} blocks, pads {pads}"


def _loop_ws(rs1: int, rs2: int) -> str:
    flags: list[tuple[int, int, str]] = [(rs1, 0, "accumulate"), (rs1, 1, "full C"), (rs1, 2, "low D")]
    flags += [(rs2, 0, "transpose A"), (rs2, 1, "transpose B"), (rs2, 2, "residual add")]
    words = [_activation(_bits(rs1, 10, 8)), *(name for value, bit, name in flags if value >> bit & 1)]
    halves = [f"{name} in half {half}" for name, low in (("A", 18), ("B", 16)) if (half := rs1 >> low & 3)]
    return "loop_ws run " + ", ".join([*words, *halves])


def _pair(title: str, first: str, second: str, unit: str = "") -> Callable[[int, int], str]:
    if unit:
        return lambda rs1, rs2: f"{title} {first} {rs1} {unit}, {second} {rs2} {unit}"
    return lambda rs1, rs2: f"{title} {first} {_dram(rs1)}, {second} {_dram(rs2)}"


Layout = tuple[tuple[str, int, int, int], ...]
"""Fields of a command: (name, operand 1 or 2, high bit, low bit)."""

CONV_FIELDS: dict[Funct, Layout] = {
    Funct.LOOP_CONV_WS_CONFIG_1: (
        ("out_channels", 1, 63, 48), ("in_channels", 1, 47, 32), ("in_rows", 1, 31, 16), ("batch", 1, 15, 0),
        ("padding", 2, 63, 56), ("stride", 2, 55, 48), ("out_cols", 2, 47, 32), ("pooled_rows", 2, 31, 16),
        ("out_rows", 2, 15, 0),
    ),
    Funct.LOOP_CONV_WS_CONFIG_2: (
        ("kernel", 1, 63, 48), ("pooled_cols", 1, 47, 32), ("pool_size", 1, 31, 16),
        ("pool_stride", 1, 15, 8), ("pool_padding", 1, 7, 0), ("batches", 2, 63, 48),
        ("porows", 2, 47, 32), ("pocols", 2, 31, 16), ("pochs", 2, 15, 0),
    ),
    Funct.LOOP_CONV_WS_CONFIG_3: (
        ("krows", 1, 63, 48), ("kcols", 1, 47, 32), ("kchs", 1, 31, 16), ("lpad", 1, 15, 0),
        ("rpad", 2, 63, 48), ("upad", 2, 47, 32), ("dpad", 2, 31, 24), ("plpad", 2, 23, 16),
        ("in_cols", 2, 15, 0),
    ),
    Funct.LOOP_CONV_WS_CONFIG_4: (
        ("orows", 1, 63, 48), ("prpad", 1, 47, 32), ("pupad", 1, 31, 21), ("pdpad", 1, 20, 10),
        ("kernel_dilation", 1, 9, 0), ("in_stride", 2, 63, 48), ("weight_stride", 2, 47, 32),
        ("out_stride", 2, 31, 16), ("ocols", 2, 15, 0),
    ),
    Funct.LOOP_CONV_WS: (
        ("input_half", 1, 19, 18), ("weight_half", 1, 17, 16), ("pixels_per_row", 1, 15, 8),
        ("trans_input_3120", 1, 5, 5), ("trans_weight_0132", 1, 4, 4), ("trans_weight_1203", 1, 3, 3),
        ("trans_output_1203", 1, 2, 2), ("wrot180", 1, 1, 1), ("no_bias", 1, 0, 0), ("activation", 2, 4, 3),
        ("input_dilated", 2, 2, 2), ("downsample", 2, 1, 1), ("no_pool", 2, 0, 0),
    ),
}  # fmt: skip


WORDS: dict[int, Callable[[int, int], str]] = {
    Funct.CONFIG: _config,
    Funct.MVIN: _mvin("mvin"),
    Funct.MVIN2: _mvin("mvin2"),
    Funct.MVIN3: _mvin("mvin3"),
    Funct.MVOUT: _mvout,
    Funct.PRELOAD: _preload,
    Funct.COMPUTE_PRELOADED: _compute("compute_preloaded"),
    Funct.COMPUTE_ACCUMULATED: _compute("compute_accumulated"),
    Funct.FLUSH: lambda rs1, rs2: "flush",
    Funct.LOOP_WS_CONFIG_BOUNDS: _bounds,
    Funct.LOOP_WS_CONFIG_ADDRS_AB: _pair("loop_ws", "A", "B"),
    Funct.LOOP_WS_CONFIG_ADDRS_DC: _pair("loop_ws", "D", "C"),
    Funct.LOOP_WS_CONFIG_STRIDES_AB: _pair("loop_ws strides", "A", "B", "elements"),
    Funct.LOOP_WS_CONFIG_STRIDES_DC: _pair("loop_ws strides", "D", "C", "elements"),
    Funct.LOOP_WS: _loop_ws,
    Funct.LOOP_CONV_WS_CONFIG_5: _pair("loop_conv", "weights", "output"),
    Funct.LOOP_CONV_WS_CONFIG_6: _pair("loop_conv", "bias", "input"),
    Funct.FENCE: lambda rs1, rs2: "fence",
}


def words(funct: int, rs1: int, rs2: int, decoder: bool = False) -> str:
    """Return one command in words; operands unsigned. ``decoder``: of a machine whose load path has one."""
    if decoder and funct in (Funct.MVIN, Funct.MVIN2, Funct.MVIN3):
        return _expanding(funct, rs1, rs2)
    if funct in CONV_FIELDS:
        name = "loop_conv run" if funct == Funct.LOOP_CONV_WS else "loop_conv"
        values = (
            (field, _bits(rs1 if which == 1 else rs2, high, low))
            for field, which, high, low in CONV_FIELDS[Funct(funct)]
        )
        return f"{name} " + ", ".join(f"{field} {value}" for field, value in values)
    known = WORDS.get(funct)
    return known(rs1, rs2) if known else f"funct {funct} {rs1:#x} {rs2:#x}"


def lines(program: Program, decoder: bool = False) -> Iterator[str]:
    """Yield one line per command: number, words, and its pace where the CPU is slower than 1."""
    for number, (funct, rs1, rs2, gap) in enumerate(program.tolist()):
        text = words(funct, rs1 & 0xFFFF_FFFF_FFFF_FFFF, rs2 & 0xFFFF_FFFF_FFFF_FFFF, decoder)
        pace = f"  (after {gap} cycles)" if gap > 1 else ""
        yield f"{number:6d}  {text}{pace}"


def disassemble(program: Program, decoder: bool = False) -> str:
    """Return the whole program in words, one line per command. ``decoder``: as in `words`."""
    return "\n".join(lines(program, decoder))
