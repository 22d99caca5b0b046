"""Which mappings are refused, in words: the rule, the numbers and the nearest legal mapping."""

from __future__ import annotations

from sim.base.errors import InputError
from sim.hardware import Hardware
from sim.lower import matmul
from sim.lower.conv_tiling import conv_tile
from sim.lower.norm import norm_tile_rows
from sim.lower.resadd import chosen_tile
from sim.lower.tiling import matmul_blocks, matmul_tile, tile_counts
from sim.lower.work import Conv, Matmul, Norm, ResidualAdd
from sim.mapping.opmapping import OpMapping, Tiled


def problems(work: Tiled, mapping: OpMapping, hw: Hardware) -> list[str]:
    """Return every rule that ``mapping`` breaks on ``work`` and ``hw``; empty when lowering takes it."""
    try:
        mapped = mapping.apply(work)
    except InputError as error:
        return list(error.problems)
    found: list[str] = []
    try:
        if isinstance(mapped, Matmul):
            matmul.check(mapped, hw)
    except InputError as error:
        found += error.problems
    try:
        if isinstance(mapped, Matmul):
            tile = matmul_tile(mapped, hw)
            if not found:
                matmul.check_tiles(mapped, tile_counts(matmul_blocks(mapped, hw.dim), tile))
        if isinstance(mapped, Conv):
            conv_tile(mapped, hw)
        if isinstance(mapped, ResidualAdd):
            chosen_tile(mapped, hw)
        if isinstance(mapped, Norm):
            norm_tile_rows(mapped, hw)
    except InputError as error:
        found += error.problems
    return found
