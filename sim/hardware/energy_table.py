"""Energy per action: figures with low, nominal and high values and sources, read from hwconfigs/energy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, ValidationError, model_validator

from sim.base.errors import InputError, did_you_mean
from sim.base.reading import read_toml
from sim.base.table import Table
from sim.hardware.explain import schema_problems
from sim.hardware.files import config_files, dram_table
from sim.hardware.schema import Capacity

Level = Literal["low", "nominal", "high"]
Energy = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Figure(Table):
    """One published or derived value; ``low`` and ``high`` equal the nominal value if sources agree."""

    nominal: Energy
    low: Energy | None = None
    high: Energy | None = None
    source: Annotated[str, Field(min_length=1)]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.at("low") <= self.nominal <= self.at("high"):
            raise ValueError(f"low {self.low}, nominal {self.nominal}, high {self.high}: must not fall")
        return self

    def at(self, level: Level) -> float:
        """Return the value at a level."""
        value = {"low": self.low, "nominal": self.nominal, "high": self.high}[level]
        return self.nominal if value is None else value


class Point(Figure):
    """Energy of a 64-bit access to an SRAM of one capacity, in pJ."""

    capacity_bytes: Capacity


class Interpolated(Table):
    """SRAM energy between sourced capacities: log(pJ) is linear in log(capacity), also beyond the ends."""

    points: Annotated[tuple[Point, ...], Field(min_length=2, strict=False)]

    @model_validator(mode="after")
    def _rising(self) -> Self:
        for level in LEVELS:
            if any(
                one.capacity_bytes >= two.capacity_bytes or one.at(level) > two.at(level)
                for one, two in pairwise(self.points)
            ):
                raise ValueError("points must rise in capacity, and energy must not fall with it")
        return self

    def pj_per_bit(self, capacity_bytes: int, dim: int, level: Level) -> float:
        """Return pJ per bit read or written in a memory of this capacity."""
        del dim  # a row is priced by its bits
        inner = [point.capacity_bytes for point in self.points[1:-1]]
        below = sum(capacity_bytes >= bound for bound in inner)
        one, two = self.points[below], self.points[below + 1]
        slope = math.log(two.at(level) / one.at(level)) / math.log(two.capacity_bytes / one.capacity_bytes)
        return float(one.at(level) * (capacity_bytes / one.capacity_bytes) ** slope / 64)


class Linear(Table):
    """SRAM energy of one access, linear in the capacity: base + per_kib * KiB, in pJ."""

    access_bits: Annotated[int, Field(gt=0)]
    base: Energy
    per_kib: Energy
    per_kib_over_dim: bool = False
    source: Annotated[str, Field(min_length=1)]

    def pj_per_bit(self, capacity_bytes: int, dim: int, level: Level) -> float:
        """Return pJ per bit read or written in a memory of this capacity; the source gives one value for all levels."""
        del level
        share = dim if self.per_kib_over_dim else 1
        return (self.base + self.per_kib * capacity_bytes / 1024 / share) / self.access_bits


def _branch(rule: object) -> str:
    return "Interpolated" if isinstance(rule, Interpolated | dict) and "points" in dict(rule) else "Linear"


SramRule = Annotated[
    Annotated[Interpolated, Tag("Interpolated")] | Annotated[Linear, Tag("Linear")], Discriminator(_branch)
]


class Leakage(Table):
    """Static power in mW: of one PE by input type, and of one KiB of SRAM."""

    pe: dict[str, Figure]
    sram: Figure


class EnergyTable(Table):
    """All figures of one technology; pJ per action with units as in the file, leakage in mW."""

    name: str
    node_nm: Annotated[int, Field(gt=0)]
    mac: dict[str, Figure]
    add: dict[str, Figure]
    scale: Figure
    normalize: Figure
    register_bit: Annotated[Figure, Field(alias="register")]
    sram: dict[str, SramRule]
    host: Figure
    leakage: Leakage
    dram: dict[str, Figure]

    def figure(self, group: str, figures: Mapping[str, Figure], key: str) -> Figure:
        """Return one figure of a group. Raises InputError naming a missing figure: there is no silent zero."""
        if key not in figures:
            raise InputError(f"energy table {self.name}: no figure {group}.{key}{did_you_mean(key, figures)}")
        return figures[key]

    def sram_pj_per_bit(self, role: str, capacity_bytes: int, dim: int, level: Level) -> float:
        """Return pJ per bit of an access to the scratchpad, accumulator or L2 (``role``) of a capacity."""
        rule = self.sram.get(role) or self.sram.get("any")
        if rule is None:
            raise InputError(f"energy table {self.name}: no figure sram.{role}{did_you_mean(role, self.sram)}")
        return rule.pj_per_bit(capacity_bytes, dim, level)


LEVELS: tuple[Level, ...] = ("low", "nominal", "high")


@lru_cache(maxsize=32)
def load_energy_table(name: str) -> EnergyTable:
    """Return the energy table of a name (hwconfigs/energy) or of a TOML file, the DRAM figures included.

    Raises InputError: unknown name, bad TOML, unknown keys, a figure without source, low above high.
    """
    tables = _resolve(name, ())
    tables["name"] = Path(name).stem
    dram = dram_table()
    tables["dram"] = _lay_over(dram, tables.get("dram", {}))
    try:
        return EnergyTable.model_validate(tables)
    except ValidationError as error:
        raise InputError(schema_problems(error, EnergyTable, f"energy table {name}")[0]) from error


def _resolve(name: str, chain: tuple[str, ...]) -> dict[str, Any]:
    if name in chain:
        raise InputError(f"energy table: cyclic inheritance: {' -> '.join((*chain, name))}")
    files = config_files("energy")
    file = Path(name) if name.endswith(".toml") else files.get(name)
    if file is None:
        raise InputError(f"unknown energy table {name!r}{did_you_mean(name, files)}")
    own = read_toml(file, name)
    base = own.pop("base", None)
    if base is None:
        return own
    beside = (file.parent / str(base)).resolve()
    parent = str(beside) if str(base).endswith(".toml") and beside.is_file() else str(base)
    return _lay_over(_resolve(parent, (*chain, name)), own)


def _lay_over(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with ``changes`` over it; a figure is replaced as a whole, source included."""
    laid = dict(base)
    for key, value in changes.items():
        group = isinstance(value, dict) and all(isinstance(one, dict) for one in value.values())
        below = laid.get(key)
        laid[key] = _lay_over(below, value) if group and isinstance(below, dict) else value
    return laid
