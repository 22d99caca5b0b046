"""Disassembly of a program: one line per command (`carat show --commands`).

Field positions are those of GemminiISA.scala and LocalAddr.scala (gemmini_machine.md 2).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from sim.isa import fields
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
from sim.isa.layouts import (
    CONV,
    EX_FIRST,
    EX_SECOND,
    LD_FIRST,
    LOOP_BLOCKS,
    LOOP_FIRST,
    LOOP_SECOND,
    NORM_FIRST,
    NORM_SECOND,
    ST_FIRST,
    ST_SECOND,
    get,
)

ACTIVATIONS = ("none", "relu", "layernorm", "igelu", "softmax")
NORM_COMMANDS = ("", "sum", "mean", "variance", "inv_stddev", "max", "sum_exp", "inv_sum_exp")
LOOP_FLAGS = {"accumulate": "accumulate", "full_c": "full C", "low_d": "low D"}
LOOP_MODES = {"transpose_a": "transpose A", "transpose_b": "transpose B", "residual": "residual add"}
"""Names of the switches of a matmul loop."""
ROW_MASK = (1 << 26) - 1
"""Mask of the row number in a local address: the bits below the normalisation command (bits 28:26)."""


def _float(value: int) -> str:
    number: float = struct.unpack("<f", struct.pack("<I", value))[0]
    return f"{number:.6g}"


def _dram(address: int, when_zero: str = "none") -> str:
    return f"dram {address:#x}" if address else when_zero


def local_address(address: int) -> str:
    """Return a local address as text: memory, row, and the flags of the access."""
    if address == GARBAGE_ADDRESS:
        return "nowhere"
    if not address & ACCUMULATOR_BIT:
        return f"spad[{address & ROW_MASK}]"
    words = [f"acc[{address & ROW_MASK}]"]
    if address & ACCUMULATE_BIT:
        words.append("accumulate")
    if address & FULL_WIDTH_BIT:
        words.append("full-width")
    if norm := NORM_COMMANDS[fields.normaliser_pass(address)]:
        words.append(norm)
    return " ".join(words)


def _operand(value: int) -> str:
    """Return a local operand as text: [63:48] rows, [47:32] columns, [31:0] address."""
    address = local_address(fields.local_address(value))
    return f"{address} {fields.operand_rows(value)}x{fields.operand_cols(value)}"


def _activation(code: int) -> str:
    return ACTIVATIONS[code] if code < len(ACTIVATIONS) else f"activation {code}"


def _config(rs1: int, rs2: int) -> str:
    kind = fields.config_kind(rs1)
    if kind == ConfigKind.EX:
        flow = "WS" if get(rs1, EX_FIRST.weight_stationary) else "OS"
        words = [flow, _activation(get(rs1, EX_FIRST.activation))]
        words += ["transpose A"] if get(rs1, EX_FIRST.transpose_a) else []
        words += ["transpose B"] if get(rs1, EX_FIRST.transpose_b) else []
        words += [f"A stride {get(rs1, EX_FIRST.a_stride)} rows", f"C stride {get(rs2, EX_SECOND.c_stride)} rows"]
        return "config_ex " + ", ".join([*words, f"scale {_float(get(rs1, EX_FIRST.scale))}"])
    if kind == ConfigKind.LD:
        words = [
            f"state {get(rs1, LD_FIRST.state)}",
            f"stride {rs2} B",
            f"block stride {get(rs1, LD_FIRST.block_stride)} rows",
        ]
        words += ["narrow into accumulator"] if get(rs1, LD_FIRST.shrinks) else []
        words += [f"pixel repeats {pixels}"] if (pixels := get(rs1, LD_FIRST.pixels)) > 1 else []
        return "config_ld " + ", ".join([*words, f"scale {_float(get(rs1, LD_FIRST.scale))}"])
    if kind == ConfigKind.ST:
        words = [f"stride {get(rs2, ST_SECOND.stride_bytes)} B", _activation(get(rs1, ST_FIRST.activation))]
        if pool_stride := get(rs1, ST_FIRST.pool_stride):
            words.append(f"pool {get(rs1, ST_FIRST.pool_size)}/{pool_stride}")
        return "config_st " + ", ".join([*words, f"scale {_float(get(rs2, ST_SECOND.scale))}"])
    words = [f"statistics {get(rs1, NORM_FIRST.statistics)}"]
    if not get(rs1, NORM_FIRST.statistics_only):
        name = "qln2_inv" if get(rs1, NORM_FIRST.second_constant) else "qln2"
        words.append(f"{name} {get(rs1, NORM_FIRST.constant)}")
        words += [f"{name} {get(rs2, at):#x}" for name, at in NORM_SECOND._asdict().items()]
    return "config_norm " + ", ".join(words)


def _mvin(name: str) -> Callable[[int, int], str]:
    return lambda rs1, rs2: f"{name} {_operand(rs2)} <- {_dram(rs1, 'zeros')}"


def _expanding(funct: int, rs1: int, rs2: int) -> str:
    """Return a load on a machine with a decoder as text: bits [62:56] are the bytes of DRAM per local row."""
    text = WORDS[funct](rs1, get(rs2, (0, STORED_SHIFT)))
    row_bytes = fields.stored_bytes(rs2)
    return f"{text}, expanded from {row_bytes} B a row" if row_bytes else text


def _mvout(rs1: int, rs2: int) -> str:
    return f"mvout {_operand(rs2)} -> {_dram(rs1)}"


def _preload(rs1: int, rs2: int) -> str:
    return f"preload {_operand(rs1)} -> {_operand(rs2)}"


def _compute(name: str) -> Callable[[int, int], str]:
    return lambda rs1, rs2: f"{name} {_operand(rs1)}, {_operand(rs2)}"


def _bounds(rs1: int, rs2: int) -> str:
    blocks, pads = ([str(get(word, at)) for at in LOOP_BLOCKS] for word in (rs2, rs1))
    return f"loop_ws bounds IxJxK {'x'.join(blocks)} blocks, pads {','.join(pads)}"


def _loop_ws(rs1: int, rs2: int) -> str:
    words = [_activation(get(rs1, LOOP_FIRST.activation))]
    words += [what for name, what in LOOP_FLAGS.items() if get(rs1, getattr(LOOP_FIRST, name))]
    words += [what for name, what in LOOP_MODES.items() if get(rs2, getattr(LOOP_SECOND, name))]
    halves = {"A": get(rs1, LOOP_FIRST.a_half), "B": get(rs1, LOOP_FIRST.b_half)}
    words += [f"{name} in half {half}" for name, half in halves.items() if half]
    return "loop_ws run " + ", ".join(words)


def _pair(title: str, first: str, second: str, unit: str = "") -> Callable[[int, int], str]:
    if unit:
        return lambda rs1, rs2: f"{title} {first} {rs1} {unit}, {second} {rs2} {unit}"
    return lambda rs1, rs2: f"{title} {first} {_dram(rs1)}, {second} {_dram(rs2)}"


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
    """Return one command as text; operands unsigned. ``decoder``: whether the machine's load path has one."""
    if decoder and funct in (Funct.MVIN, Funct.MVIN2, Funct.MVIN3):
        return _expanding(funct, rs1, rs2)
    if funct in CONV:
        name = "loop_conv run" if funct == Funct.LOOP_CONV_WS else "loop_conv"
        both = zip((rs1, rs2), CONV[Funct(funct)], strict=True)
        values = (f"{name} {get(word, at)}" for word, layout in both for name, at in layout._asdict().items())
        return f"{name} " + ", ".join(values)
    known = WORDS.get(funct)
    return known(rs1, rs2) if known else f"funct {funct} {rs1:#x} {rs2:#x}"


def lines(program: Program, decoder: bool = False) -> Iterator[str]:
    """Yield one line per command: number, text, and its gap if more than 1 cycle."""
    for number, (funct, rs1, rs2, gap) in enumerate(program.tolist()):
        text = words(funct, rs1 & 0xFFFF_FFFF_FFFF_FFFF, rs2 & 0xFFFF_FFFF_FFFF_FFFF, decoder)
        pace = f"  (after {gap} cycles)" if gap > 1 else ""
        yield f"{number:6d}  {text}{pace}"


def disassemble(program: Program, decoder: bool = False) -> str:
    """Return the whole program as text, one line per command. ``decoder``: as in `words`."""
    return "\n".join(lines(program, decoder))
