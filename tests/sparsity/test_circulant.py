"""Block-circulant products by transforms: the decomposition gives numpy's product, work and bytes follow formulas, the
unit is a machine's to have.
"""

from __future__ import annotations

from math import log2
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sim
from sim.base.errors import InputError
from sim.graph import Graph, Op, Tensor, View
from sim.hardware import load
from sim.side_units.transforms import BUTTERFLY_MACS, butterflies
from sim.sparsity.edits.compress import Compression
from sim.sparsity.rules import Rules
from sim.sparsity.spec import parse
from workloads import encoder_layer

UNIT = {"sparsity.fft_butterflies_per_cycle": 16, "sparsity.fft_block": 64}
HW = load("gemmini_ibert", UNIT)
GRAPH = encoder_layer(seq=32, hidden=64, heads=2, ffn=128)


def by_transform(block: int, names: str = "*") -> Rules:
    return Rules((), compressions=(Compression("circulant", names, block=block, via="fft"),))


def product(m: int, n: int, k: int) -> Graph:
    shapes = {"a": ((m, k), "input"), "b": ((k, n), "weight"), "d": ((1, n), "weight"), "c": ((m, n), "activation")}
    types = {"d": "int32", "c": "int32"}
    tensors = {name: Tensor(name, shape, types.get(name, "int8"), kind) for name, (shape, kind) in shapes.items()}
    a, b, d, c = (View.whole(tensors[name]) for name in shapes)
    return Graph("product", tensors, (Op("x", "matmul", (a, b, d), c, {"repeating_bias": True}),))


def panels(spectrum: np.ndarray) -> np.ndarray:
    """Real and imaginary parts of [rows, blocks, frequencies] as the panels of one flat tensor."""
    real, last, between = spectrum[..., 0].real, spectrum[..., -1].real, np.moveaxis(spectrum[..., 1:-1], -1, 0)
    parts = np.concatenate([between.real, between.imag], axis=-1)
    return np.concatenate([real.ravel(), last.ravel(), parts.ravel()])


def window(flat: np.ndarray, view: View) -> np.ndarray:
    index = view.offset + np.add.outer(
        np.add.outer(np.arange(view.batch) * view.batch_stride, np.arange(view.rows) * view.row_stride),
        np.arange(view.cols),
    )
    return flat[index] if flat.ndim == 1 else index


@settings(max_examples=25, deadline=None)
@given(m=st.integers(1, 5), blocks=st.tuples(st.integers(1, 5), st.integers(1, 5)), block=st.sampled_from([4, 8, 16]))
def test_the_operators_of_the_edit_give_the_product(m: int, blocks: tuple[int, int], block: int) -> None:
    # Oracle: numpy's product with the circulants written out.
    k, n = (block * count for count in blocks)
    rng = np.random.default_rng(m * k + n)
    a, bias, first = rng.normal(size=(m, k)), rng.normal(size=n), rng.normal(size=(*blocks, block))
    b = np.block([[np.stack([np.roll(row, shift) for shift in range(block)]) for row in line] for line in first])
    graph = by_transform(block).edit(product(m, n, k))
    assert [op.name for op in graph.ops] == ["x.fft", "x.real", "x.complex", "x.ifft"]
    spectra = np.fft.rfft(a.reshape(m, -1, block))
    held = {"x.spectra": panels(spectra), "d.spectra": panels(np.fft.rfft(bias.reshape(1, -1, block)))}
    weights = np.fft.rfft(first)
    between = np.moveaxis(weights[..., 1:-1], -1, 0)
    wide = np.block([[between.real, between.imag], [-between.imag, between.real]])
    held["b.spectra"] = np.concatenate([weights[..., 0].real.ravel(), weights[..., -1].real.ravel(), wide.ravel()])
    for name, tensor in graph.tensors.items():
        assert name in ("a", "c", "x.sums") or tensor.elements == held[name].size
    sums = np.full(m * n, np.nan)
    for op in graph.ops[1:3]:
        left, right, added = (window(held[view.tensor], view) for view in op.inputs)
        sums[window(np.empty((0, 0)), op.output)] = left @ right + added
    joined = np.empty((m, n // block, block // 2 + 1), complex)
    joined[..., 0], joined[..., -1] = sums[: 2 * m * n // block].reshape(2, m, -1)
    rest = sums[2 * m * n // block :].reshape(block // 2 - 1, m, 2, -1)
    joined[..., 1:-1] = np.moveaxis(rest[:, :, 0] + 1j * rest[:, :, 1], 0, -1)
    np.testing.assert_allclose(np.fft.irfft(joined, n=block).reshape(m, n), a @ b + bias, atol=1e-9)


@pytest.mark.parametrize("block", [4, 8, 16])
def test_work_and_bytes_by_formula(block: int) -> None:
    ops = sim.simulate(GRAPH, HW, sparsity=by_transform(block, "*.FF1")).ops.set_index("op")
    m, n, k = 32, 128, 64
    assert ops.loc["L0.FF1.real", "macs"] == m * 2 * (n // block) * (k // block)
    assert ops.loc["L0.FF1.complex", "macs"] == m * (block // 2 - 1) * 4 * (n // block) * (k // block)
    into, out = ops.loc["L0.FF1.fft"], ops.loc["L0.FF1.ifft"]
    assert (into["dram_read_bytes"], into["dram_write_bytes"]) == (m * k, m * k)
    assert (out["dram_read_bytes"], out["dram_write_bytes"]) == (4 * m * n, m * n)  # sums at full width come back
    assert out["op_kind"] == "ifft+gelu"
    flies = butterflies(m * k, block)
    assert flies == m * k // 4 * log2(block)
    assert into["cycles"] == max(flies / 16, m * k / 16) + HW.memory.latency_cycles
    mac_pj = sim.simulate(GRAPH, HW).totals["energy_mac_pj"] / GRAPH.macs
    assert into["energy_mac_pj"] == pytest.approx(flies * BUTTERFLY_MACS * mac_pj)


def test_a_slow_unit_bounds_and_a_fast_one_waits_for_memory() -> None:
    cycles = {
        rate: sim.simulate(GRAPH, HW.with_({"sparsity.fft_butterflies_per_cycle": rate}), sparsity=by_transform(16))
        .ops.set_index("op")
        .loc["L0.FF1.fft", "cycles"]
        for rate in (1, 2, 1024, 2048)
    }
    latency = HW.memory.latency_cycles
    assert cycles[1] - latency == 2 * (cycles[2] - latency) == butterflies(32 * 64, 16)
    assert cycles[1024] == cycles[2048] == 32 * 64 // 16 + latency


def test_one_transform_serves_all_products_of_one_input() -> None:
    names = [op.name for op in by_transform(16).edit(GRAPH).ops if op.kind == "fft"]
    assert names == ["L0.matmul_Q.fft", "L0.W_out.fft", "L0.FF1.fft", "L0.FF2.fft"]


def test_causes_sum_and_utilization_is_a_share() -> None:
    result = sim.simulate(GRAPH, HW, sparsity=by_transform(16))
    for row in result.rows:
        assert sum(row[f"{cause}_cycles"] for cause in sim.run.columns.CAUSES) == row["cycles"]
        assert 0 <= row["utilization"] <= 1


@pytest.mark.parametrize(
    ("hw", "block", "message"),
    [
        ("gemmini_ibert", 16, "fft_butterflies_per_cycle=64 --set sparsity.fft_block=16, or via"),
        (HW.with_({"sparsity.fft_block": 8}), 16, "has one of blocks up to 8"),
        (HW, 2, "must be a power of two of at least 4 to be transformed (nearest: 4)"),
        (HW, 12, "block 12 must divide both"),
    ],
)
def test_what_cannot_be_transformed_says_why(hw: object, block: int, message: str) -> None:
    with pytest.raises(InputError) as refused:
        sim.simulate(GRAPH, hw, sparsity=by_transform(block))
    assert message in str(refused.value) and "no price" not in str(refused.value)


@pytest.mark.parametrize(
    "table", ['kind = "circulant"\nblock = 16\nvia = "dct"', 'kind = "narrow"\nbits = 4\nvia = "fft"']
)
def test_a_way_that_is_none_is_reported(tmp_path: Path, table: str) -> None:
    (tmp_path / "spec.toml").write_text(f"[[compress]]\n{table}\n")
    with pytest.raises(InputError, match=r"direct or fft|direct, fft"):
        parse(str(tmp_path / "spec.toml"))
