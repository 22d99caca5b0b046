"""Kinds of mappings, one record each. A new work item with tiles is added here and in the tables of `opmapping`."""

from __future__ import annotations

from sim.hardware import Hardware
from sim.lower.work import Conv, Matmul, Norm, ResidualAdd
from sim.mapping.bounds import Bound
from sim.mapping.kinds.conv import Convolutions
from sim.mapping.kinds.kind import MappedKind
from sim.mapping.kinds.matmul import Products
from sim.mapping.kinds.rows import Normalisations, Sums
from sim.mapping.opmapping import OpMapping, Tiled

KINDS: dict[type, MappedKind] = {
    Matmul: Products(),
    Conv: Convolutions(),
    ResidualAdd: Sums(),
    Norm: Normalisations(),
}


def kind_of(work: Tiled) -> MappedKind:
    """Return the record of a work item's kind."""
    return KINDS[type(work)]


def library(work: Tiled, hw: Hardware) -> OpMapping:
    """Return the mapping of Gemmini's C library for ``work``. Raises InputError if no tile fits."""
    return kind_of(work).library(work, hw)


def bound(work: Tiled, mapping: OpMapping, hw: Hardware) -> Bound:
    """Return the bound of ``work`` under a legal ``mapping``."""
    return kind_of(work).demand(work, mapping, hw).bound(hw)
