"""Laws of every scheme: density 1 is dense, skipped + executed = dense, nested masks are monotone, gating costs no
time, metadata by formula, utilization at most 1, and a machine without the unit refuses by the option's name.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import sim
from sim.base.errors import InputError
from sim.hardware import load
from sim.isa.disassembly import disassemble
from sim.lower import build, lower
from sim.plan.planner import plan
from sim.sparsity.grid import lines
from sim.sparsity.masks.zeros import SCHEMES
from sim.sparsity.spec import parse
from workloads import encoder_layer

SIZES = {"seq": 32, "hidden": 64, "heads": 2, "ffn": 128}
SPARSE = load("gemmini_sparse")
GRAPH = encoder_layer(**SIZES)
WEIGHTED = ("L0.matmul_Q", "L0.W_out", "L0.FF1", "L0.FF2")
ANY_SCHEME = [scheme for scheme in SCHEMES if scheme != "select"]


def run(sparsity: str | None, hw: object = SPARSE, **more: object) -> sim.Result:
    return sim.simulate(GRAPH, hw, sparsity=sparsity, **more)


@pytest.fixture(scope="module")
def dense() -> sim.Result:
    return run("dense")


@pytest.mark.parametrize("line", ["4:4", "block8:1", *(f"unstructured:1/{scheme}" for scheme in ANY_SCHEME)])
def test_full_density_is_dense_cycle_for_cycle_and_byte_for_byte(dense: sim.Result, line: str) -> None:
    columns = [name for name in dense.ops.columns if name != "scheme"]
    assert run(line).ops[columns].equals(dense.ops[columns])


@pytest.mark.parametrize("line", ["2:4", "1:4", "4:8", "3:5", *(f"unstructured:0.2/{scheme}" for scheme in ANY_SCHEME)])
def test_work_is_conserved_and_utilization_a_share(dense: sim.Result, line: str) -> None:
    sparse = run(line)
    for row, whole in zip(sparse.rows, dense.rows, strict=True):
        assert row["macs"] + row["macs_skipped"] == whole["macs"]
        assert row["macs"] <= row["mac_slots"] or not row["macs"]
        assert 0 <= row["utilization"] <= 1 and (row["util_mapping"] or 0) <= 1
        assert row["effective_macs_per_cycle"] == pytest.approx(whole["macs"] / row["cycles"])
    steps = plan(GRAPH, SPARSE, sparsity=parse(line))
    for step in steps:
        if step.name in WEIGHTED:
            op = GRAPH.op(step.name)
            assert step.macs_done == op.mnk[0] * int(parse(line).zeros[-1].element_mask(op).sum())
            assert step.macs_done <= step.macs_switched <= step.macs


@pytest.mark.parametrize("scheme", ANY_SCHEME)
def test_nested_masks_are_monotone_in_macs_and_stored_bytes(scheme: str) -> None:
    # Law: what a sparser mask of one seed stores, index included, is never more. Stored bytes are those of the items.
    found = []
    for density in (0.05, 0.2, 0.4, 0.7, 0.95, 1.0):
        steps = [
            s for s in plan(GRAPH, SPARSE, sparsity=parse(f"unstructured:{density}/{scheme}")) if s.name in WEIGHTED
        ]
        stored = []
        for step in steps:
            (work,) = step.works
            k, n = step.k, step.n
            rows = getattr(work, "rows", None)
            blocks = getattr(work, "mask", None)
            if getattr(work, "stored_bits", None) is not None:
                stored.append(sum(map(sum, work.stored_bits)) / 8)
            elif rows is not None:
                stored.append(sum(map(sum, rows)) * 16 + step.metadata_bytes)
            elif blocks is not None and not all(map(all, blocks)):
                stored.append(sum(map(sum, blocks)) * 256 + step.metadata_bytes)
            else:
                stored.append(k * n)
        found.append((sum(step.macs_done for step in steps), sum(stored)))
    for sparser, denser in itertools.pairwise(found):
        assert sparser[0] < denser[0]
        # an index of blocks (1/2048 of the matrix) may be kept for a mask in which every block is touched
        assert sparser[1] <= denser[1] + (64 if scheme in ("skip", "scheduler") else 0)


def test_gating_never_changes_cycles_or_bytes(dense: sim.Result) -> None:
    gated = run("unstructured:0.3/gate")
    for name in ("cycles", "dram_read_bytes", "dram_write_bytes", "spad_read_bytes"):
        assert (gated.ops[name] == dense.ops[name]).all()
    weighted = gated.ops["op"].isin(WEIGHTED)
    ratio = gated.ops.loc[weighted, "energy_mac_pj"] / dense.ops.loc[weighted, "energy_mac_pj"]
    np.testing.assert_allclose(ratio, 0.3, atol=1e-3)


def test_zeros_switch_multipliers_without_gating() -> None:
    plain = SPARSE.with_({"sparsity.gating": "none"})
    stored = run("unstructured:0.3/bitmap", plain)
    gated = run("unstructured:0.3/bitmap")
    assert stored.cycles == gated.cycles
    assert stored.totals["energy_mac_pj"] > 1.5 * gated.totals["energy_mac_pj"]


@pytest.mark.parametrize(("n", "m", "bits"), [(2, 4, 2), (1, 4, 2), (4, 8, 3), (1, 2, 1)])
def test_metadata_of_n_of_m_is_bits_per_kept_value(n: int, m: int, bits: int) -> None:
    for step in plan(GRAPH, SPARSE, sparsity=parse(f"{n}:{m}")):
        if step.name in WEIGHTED:
            assert step.metadata_bytes == step.k * n // m * step.n * bits // 8


def test_n_of_m_halves_compute_only_with_the_wider_feed() -> None:
    # Law: 2:4 halves the rows fed where two scratchpad rows come in at once, and none where one does.
    fed = [
        run(line, SPARSE.with_({"sparsity.fetch_rows": fetch})).ops.set_index("op").loc["L0.FF1", "mac_slots"]
        for line, fetch in ((None, 1), ("2:4", 1), ("2:4", 2))
    ]
    macs = 32 * 64 * 128  # what goes beyond them fills the array before the first product
    assert macs <= min(fed[:2]) <= max(fed[:2]) < 1.2 * macs and macs / 2 <= fed[2] < 1.2 * macs / 2


def test_the_wider_feed_costs_scratchpad_energy() -> None:
    # 2:4 reads every activation row as often as dense does, in half the cycles, and the index on top.
    rows = [run(line).ops.set_index("op").loc["L0.FF1", "spad_read_bytes"] for line in (None, "2:4")]
    activations, weights = 32 * 64 * 128 // 16, 64 * 128
    assert rows[0] == activations + weights
    assert rows[1] == activations + weights // 2 + weights // 8


@pytest.mark.parametrize("line", ["2:4", "unstructured:0.2/pack", "unstructured:0.2/rle", "block8:0.2/scheduler"])
def test_all_clocks_agree(line: str) -> None:
    runs = [run(line, clock=clock, cache=False) for clock in ("reference", "leap", "periodic")]
    columns = [name for name in runs[0].ops.columns if name != "visited_cycles"]
    assert runs[1].ops[columns].equals(runs[0].ops[columns])
    assert runs[2].ops[columns].equals(runs[0].ops[columns])


def test_packing_loses_to_the_imbalance_of_the_mask() -> None:
    # Bound: the fullest of 16 columns decides, so packing lies between the ideal and dense.
    rows = {line: run(line).ops.set_index("op").loc["L0.FF1"] for line in (None, "unstructured:0.1/pack")}
    packed, whole = rows["unstructured:0.1/pack"], rows[None]
    assert 0.1 * whole["mac_slots"] < packed["mac_slots"] < whole["mac_slots"]


def test_expanding_at_load_saves_bytes_and_bounds_by_the_decoder() -> None:
    narrow = SPARSE.with_({"memory.read_bytes_per_cycle": 2.0})
    slow = SPARSE.with_({"memory.read_bytes_per_cycle": 2.0, "sparsity.decoder_elements_per_cycle": 1})
    dense, stored, bound = (
        run(None, narrow),
        run("unstructured:0.1/bitmap", narrow),
        run("unstructured:0.1/bitmap", slow),
    )
    assert stored.totals["dram_read_bytes"] < dense.totals["dram_read_bytes"]
    assert stored.cycles < dense.cycles < bound.cycles
    ff1 = bound.ops.set_index("op").loc["L0.FF1", "cycles"]
    assert ff1 >= 64 * 128, "a decoder of one element a cycle takes a cycle for each weight"


def test_a_scheduler_takes_the_place_of_a_slow_cpu() -> None:
    slow = SPARSE.with_({"cpu.command_cycles": 20, "cpu.loop_cycles": 20})
    assert run("block16:0.5/scheduler", slow).cycles < run("block16:0.5", slow).cycles


@pytest.mark.parametrize(
    ("line", "option"),
    [
        ("2:4", "sparsity.select_inputs=4 --set sparsity.fetch_rows=2"),
        ("1:32", "sparsity.select_inputs=32 --set sparsity.fetch_rows=4"),
        ("unstructured:0.3", "sparsity.select_inputs"),
        ("unstructured:0.3/pack", "sparsity.select_inputs=16"),
        ("unstructured:0.3/csr", 'sparsity.decoder=["csr"]'),
        ("unstructured:0.3/compress", "sparsity.decoder"),
        ("2:4/gate", 'sparsity.gating="weights"'),
        ("block16:0.5/scheduler", "sparsity.block_scheduler=true"),
    ],
)
def test_a_machine_without_the_unit_names_the_option(line: str, option: str) -> None:
    with pytest.raises(InputError) as refused:
        run(line, "gemmini_ibert")
    assert option in str(refused.value) and "gemmini_sparse" in str(refused.value)


def test_a_density_sweep_is_every_pattern_at_every_density_and_dense() -> None:
    assert lines("block16,2:4,unstructured/pack", "0.1:0.5:0.2") == [
        "dense", "block16:0.1", "block16:0.3", "block16:0.5", "2:4",
        "unstructured:0.1/pack", "unstructured:0.3/pack", "unstructured:0.5/pack",
    ]  # fmt: skip
    assert lines("1:4", None) == ["dense", "1:4"]


@pytest.mark.parametrize(
    ("pattern", "density", "message"),
    [
        (None, "0.5", "needs --pattern too"),
        ("block16", None, "block16 needs --density too"),
        ("block16", "0.1:0.5", "must be FIRST:LAST:STEP"),
        ("block16", "0.5:0.1:0.1", "must rise from FIRST to LAST"),
        ("block16", "0.1:1:0.00001", "at most 1000 steps"),
        ("blok16", "0.5", "did you mean 'block16'?"),
        ("block16", "0.5,1.5", "nearest: 1"),
        ("block16", "half", "must be FIRST:LAST:STEP or a list"),
    ],
)
def test_a_wrong_density_sweep_is_reported(pattern: str | None, density: str | None, message: str) -> None:
    with pytest.raises(InputError) as refused:
        lines(pattern, density)
    assert message in str(refused.value)


def test_an_expanding_load_says_so_in_the_listing() -> None:
    (step,) = [s for s in plan(GRAPH, SPARSE, sparsity=parse("unstructured:0.2/rle@*FF1")) if s.name == "L0.FF1"]
    assert ", expanded from " in disassemble(lower(step.works[0], SPARSE), decoder=True)
    assert "expanded" not in disassemble(lower(build.matmul(32, 32, 32), SPARSE))
