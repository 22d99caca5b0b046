"""Energy tables: every figure traceable, anchors as printed, and faulty tables refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.base.errors import InputError
from sim.hardware.energy_table import LEVELS, EnergyTable, Figure, Linear, load_energy_table
from sim.hardware.files import config_files

TABLES = sorted(config_files("energy"))


def figures(table: EnergyTable) -> list[Figure]:
    points = [point for rule in table.sram.values() if not isinstance(rule, Linear) for point in rule.points]
    groups = (table.mac, table.add, table.dram, table.leakage.pe)
    single = [table.scale, table.normalize, table.register_bit, table.host, table.leakage.sram]
    return [*points, *single, *(figure for group in groups for figure in group.values())]


@pytest.mark.parametrize("name", TABLES)
def test_each_figure_has_a_source_and_an_order(name: str) -> None:
    table = load_energy_table(name)
    assert len(figures(table)) > 15
    for figure in figures(table):
        assert len(figure.source) > 8
        assert figure.at("low") <= figure.nominal <= figure.at("high")
    assert all(len(rule.source) > 8 for rule in table.sram.values() if isinstance(rule, Linear))


@pytest.mark.parametrize(
    ("name", "role", "capacity_kib", "pj_per_64_bit"),
    [
        ("45nm", "scratchpad", 8, 10.0),  # 5 pJ per 32 bit in Kim et al. Fig. 15
        ("45nm", "accumulator", 32, 20.0),
        ("45nm", "l2", 1024, 100.0),
        ("7nm", "scratchpad", 8, 7.5),  # Jouppi et al. TPUv4i Table 2
        ("7nm", "scratchpad", 32, 8.5),
        ("7nm", "scratchpad", 1024, 14.0),
        ("dosa_40nm", "scratchpad", 256, 8 * 6.923),  # DOSA: 0.49 + 0.02513 KB (docs/reference/papers.md 5)
        ("dosa_40nm", "scratchpad", 64, 8 * 2.098),
        ("dosa_40nm", "accumulator", 64, 2 * 2.342),
        ("dosa_40nm", "accumulator", 256, 2 * 3.548),
    ],
)
def test_sram_passes_through_the_printed_points(name: str, role: str, capacity_kib: int, pj_per_64_bit: float) -> None:
    table = load_energy_table(name)
    per_bit = table.sram_pj_per_bit(role, capacity_kib * 1024, 16, "nominal")
    assert 64 * per_bit == pytest.approx(pj_per_64_bit, rel=2e-4)


@pytest.mark.parametrize("level", LEVELS)
def test_sram_energy_rises_beyond_the_last_points_too(level: str) -> None:
    for name in TABLES:
        table = load_energy_table(name)
        prices = [table.sram_pj_per_bit("scratchpad", 1 << bits, 16, level) for bits in range(10, 28)]  # type: ignore[arg-type]
        assert prices == sorted(prices) and prices[0] > 0


def test_derived_figures_follow_from_those_they_name() -> None:
    """The host, normaliser and leakage figures are sums of others in the same table; hold them to it."""
    for name, fp32_add, int32 in (("45nm", 0.9, (3.1, 0.1)), ("7nm", 0.38, (1.48, 0.03))):
        table = load_energy_table(name)
        fetch = 64 * table.sram_pj_per_bit("l1", 32 * 1024, 16, "nominal")
        host = fetch * 4 / 3 + 3 * 64 * table.register_bit.nominal + fp32_add
        assert table.host.nominal == pytest.approx(host, rel=0.01)
        assert table.normalize.nominal == pytest.approx(sum(int32))
        assert table.normalize.at("high") == pytest.approx(3 * sum(int32))
    old, new = load_energy_table("45nm"), load_energy_table("7nm")
    for kind in ("int8", "fp16", "fp32"):
        assert new.leakage.pe[kind].nominal == pytest.approx(old.leakage.pe[kind].nominal * 0.059, rel=0.01)
    assert new.register_bit.nominal == pytest.approx(old.register_bit.nominal / 2.6, rel=0.01)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[mac.int8]\nnominal = 1.0\n", "missing: mac.int8.source"),
        ('[mac.int8]\nnominal = 1.0\nsource = ""\n', "mac.int8.source = '': must not be empty"),
        ('[mac.int8]\nnominal = -1.0\nsource = "x"\n', "mac.int8.nominal = -1.0: must be at least 0"),
        ('[mac.int8]\nnominal = 1.0\nlow = 2.0\nsource = "x"\n', "must not fall"),
        ("[sram.scratchpad]\npoints = []\n", "sram.scratchpad.points"),
        ("[macs]\nx = 1\n", "macs: unknown key (did you mean 'mac'?)"),
        ("[mac\n", "line 2"),
    ],
)
def test_a_faulty_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(f'base = "45nm"\n{text}')
    with pytest.raises(InputError) as refused:
        load_energy_table(str(file))
    assert message in str(refused.value)


def test_energy_that_falls_with_capacity_is_refused(tmp_path: Path) -> None:
    point = '[[sram.any.points]]\ncapacity = "{}KiB"\nnominal = {}\nsource = "test"\n'
    file = tmp_path / "falling.toml"
    file.write_text('base = "45nm"\n' + point.format(8, 2.0) + point.format(16, 1.0))
    with pytest.raises(InputError, match="must rise in capacity"):
        load_energy_table(str(file))


def test_a_table_inherits_from_a_file_beside_it_and_replaces_figures_whole(tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text('base = "45nm"\n[mac.int8]\nnominal = 0.1\nsource = "mine"\n')
    (tmp_path / "two.toml").write_text('base = "one.toml"\nnode_nm = 44\n')
    table = load_energy_table(str(tmp_path / "two.toml"))
    assert (table.node_nm, table.mac["int8"].source, table.mac["int8"].at("high")) == (44, "mine", 0.1)
    assert table.mac["fp32"] == load_energy_table("45nm").mac["fp32"]


def test_unknown_and_cyclic_tables_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean '45nm'"):
        load_energy_table("45mn")
    file = tmp_path / "loop.toml"
    file.write_text(f'base = "{file}"\n')
    with pytest.raises(InputError, match="cyclic"):
        load_energy_table(str(file))
