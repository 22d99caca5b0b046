"""Compression of real weights: errors by formula and bound, sizes too small refused with one that is enough."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sim
from sim.base.errors import InputError
from sim.sparsity.edits import fitting
from sim.sparsity.spec import parse
from workloads import encoder_layer

GRAPH = encoder_layer(seq=32, hidden=64, heads=2, ffn=128)
RNG = np.random.default_rng(3)
NOISE = RNG.normal(size=(64, 128))


def run(folder: Path, table: str, **arrays: np.ndarray) -> sim.Result:
    np.savez(folder / "weights.npz", **{name.replace("_", ".", 1): array for name, array in arrays.items()})
    text = f'[[compress]]\noperators = "*.FF1"\nweights = "weights.npz"\n{table}\n'
    (folder / "spec.toml").write_text(text)
    return sim.simulate(GRAPH, "gemmini_sparse", sparsity=str(folder / "spec.toml"))


def test_what_is_left_out_of_a_low_rank_is_its_error() -> None:
    u, _ = np.linalg.qr(RNG.normal(size=(64, 64)))
    v, _ = np.linalg.qr(RNG.normal(size=(128, 64)))
    values = np.array([4.0, 3.0, *[0.0] * 62])
    weights = (u * values) @ v.T
    assert fitting.error(weights, "low_rank", 1) == pytest.approx(3 / 5)
    assert fitting.least(weights, "low_rank", 0.61) == 1 and fitting.least(weights, "low_rank", 0.59) == 2


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99), kind=st.sampled_from(["codebook", "narrow", "circulant", "low_rank"]))
def test_more_stored_is_never_a_larger_error(seed: int, kind: str) -> None:
    # Law (of noise, for circulants: one of 16 is none of 4); and the least size that keeps an error keeps it.
    weights = np.random.default_rng(seed).normal(size=(32, 16))
    sizes = {"codebook": (2, 8, 256), "narrow": (2, 4), "circulant": (16, 4, 2), "low_rank": (1, 5, 15)}[kind]
    errors = [fitting.error(weights, kind, size) for size in sizes]
    assert errors == sorted(errors, reverse=True) and 0 <= errors[-1] < errors[0] <= 1
    enough = fitting.least(weights, kind, errors[1])
    assert enough is not None and fitting.error(weights, kind, enough) <= errors[1] * (1 + 1e-9)


def test_a_circulant_is_its_own_nearest_circulant() -> None:
    first = RNG.normal(size=8)
    block = np.stack([np.roll(first, shift) for shift in range(8)])
    assert fitting.error(np.block([[block, 2 * block]]), "circulant", 8) < 1e-12
    assert fitting.least(np.block([[block, 2 * block]]), "circulant", 1e-9) == 8


def test_a_codebook_holds_as_many_values_as_it_has_entries() -> None:
    weights = RNG.choice([-2.0, 0.5, 7.0, 9.0], (64, 128))
    assert fitting.error(weights, "codebook", 4) == 0 < fitting.error(weights, "codebook", 2)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('kind = "codebook"\nentries = 16', "L0.FF1: 16 entries cannot hold 8192 values (nearest: 8192, or an error"),
        ('kind = "codebook"\nentries = 4\nerror = 0.1', "entries 4 leaves an error of 0.34"),  # Max 1960: 0.343
        ('kind = "codebook"\nentries = 4\nerror = 0.1', "more than 0.1 (nearest: entries = 16)"),
        ('kind = "low_rank"\nrank = 4\nerror = 0.5', "rank 4 leaves an error of 0.9"),
        ('kind = "narrow"\nbits = 2\nerror = 0.2', "(nearest: bits = 4)"),
        ('kind = "circulant"\nblock = 16\nerror = 0.1', "no block is enough; nearest: error = 0.9"),
        ('kind = "smallest"\nerror = 0.0001', "keeps L0.FF1 within an error of 0.0001"),
        ('kind = "smallest"', "smallest needs error"),
        ('kind = "narrow"\nbits = 4\nerror = 2', "error is 2, must be a number >= 0 and below 1 (nearest: 0.99)"),
    ],
)
def test_a_size_too_small_for_the_weights_is_reported(tmp_path: Path, table: str, message: str) -> None:
    with pytest.raises(InputError) as refused:
        run(tmp_path, table, L0_FF1=NOISE)
    assert message in str(refused.value)


def test_weights_that_do_not_belong_are_reported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"L0.FF1 is 64x128, its weights in the file are of shape \(128, 64\)"):
        run(tmp_path, 'kind = "narrow"\nbits = 4\nerror = 0.5', L0_FF1=NOISE.T)
    with pytest.raises(InputError, match=r"the file of weights has none of L0.FF1"):
        run(tmp_path, 'kind = "narrow"\nbits = 4\nerror = 0.5', L0_FF7=NOISE)
    (tmp_path / "spec.toml").write_text('[[compress]]\nkind = "narrow"\nbits = 4\nerror = 0.5\n')
    with pytest.raises(InputError, match="needs the real weights"):
        parse(str(tmp_path / "spec.toml"))


@pytest.mark.parametrize(
    ("weights", "scheme"),
    [
        (NOISE, "narrow"),  # 4 bits keep 12 %, as a codebook of 16 entries would, which has a table besides
        (RNG.choice([-1.0, 5.0], (64, 128)), "codebook"),  # one bit a weight
        (np.tile(np.stack([np.roll(NOISE[0, :16], shift) for shift in range(16)]), (4, 8)), "circulant"),
    ],
)
def test_the_smallest_format_that_keeps_the_error_is_picked_per_matrix(
    tmp_path: Path, weights: np.ndarray, scheme: str
) -> None:
    row = run(tmp_path, 'kind = "smallest"\nerror = 0.13', L0_FF1=weights).ops.set_index("op").loc["L0.FF1"]
    assert row["scheme"] == scheme
