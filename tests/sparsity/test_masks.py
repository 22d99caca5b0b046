"""Block masks: the share is exact, masks nest, only name, seed and grid decide them, errors are reported."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.base.errors import InputError
from sim.graph import Op
from sim.sparsity.masks.zeros import ZeroRule
from sim.sparsity.spec import parse
from workloads import bert_tiny, encoder_layer


def rule(line: str, seed: int = 0) -> ZeroRule:
    return parse(line, seed=seed).zeros[0]


GRAPH = encoder_layer(seq=32, hidden=128, heads=2, ffn=512, layers=2)
FF1 = GRAPH.op("L0.FF1")
densities = st.floats(0, 1)
grids = st.tuples(st.integers(1, 20), st.integers(1, 20))


@settings(deadline=None)
@given(densities, grids, st.integers(0, 2**40))
def test_the_number_of_blocks_is_exact(density: float, grid: tuple[int, int], seed: int) -> None:
    mask = ZeroRule(16, density, seed).mask_for(FF1, *grid)
    assert mask.shape == grid and mask.dtype == np.bool_
    assert mask.sum() == max(round(density * grid[0] * grid[1]), density > 0)


@settings(deadline=None)
@given(densities, densities, grids, st.integers(0, 99))
def test_masks_of_one_seed_nest(a: float, b: float, grid: tuple[int, int], seed: int) -> None:
    low, high = (ZeroRule(16, d, seed).mask_for(FF1, *grid) for d in sorted((a, b)))
    assert np.all(low <= high)


def test_density_one_is_the_full_mask_and_zero_the_empty_one() -> None:
    assert ZeroRule(16, 1.0).mask_for(FF1, 8, 32).all()
    assert not ZeroRule(16, 0.0).mask_for(FF1, 8, 32).any()
    assert parse("dense").zeros == ()


def test_operators_and_seeds_differ() -> None:
    masks = [ZeroRule(16, 0.5, seed).mask_for(op, 8, 32) for op in (FF1, GRAPH.op("L1.FF1")) for seed in (0, 1)]
    for i, one in enumerate(masks):
        for other in masks[:i]:
            assert 0.3 < np.mean(one == other) < 0.7  # independent halves agree on one half of the blocks


def test_blocks_are_spread_evenly() -> None:
    # Bound: with 64 rows of 64 blocks at density 1/2 a row holds 32 +- 4; six sigma is 24.
    rows = ZeroRule(16, 0.5, 3).mask_for(FF1, 64, 64).sum(axis=1)
    columns = ZeroRule(16, 0.5, 3).mask_for(FF1, 64, 64).sum(axis=0)
    assert max(abs(rows - 32).max(), abs(columns - 32).max()) < 24
    assert 2 < rows.std() < 6


def test_a_mask_is_the_same_in_another_process() -> None:
    # Determinism: Python's own string hashes differ from process to process, stored sweeps must not.
    code = (
        "from sim.sparsity.masks.zeros import ZeroRule; from workloads import encoder_layer as e; "
        "g = e(seq=32, hidden=128, heads=2, ffn=512, layers=2); "
        "print(ZeroRule(16, 0.5, 7).mask_for(g.op('L0.FF1'), 8, 32).tobytes().hex())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "123"}
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert other.stdout.strip() == ZeroRule(16, 0.5, 7).mask_for(FF1, 8, 32).tobytes().hex()


def test_splitmix64_is_the_published_generator() -> None:
    # Oracle: SplitMix64 in plain integers, straight from its definition.
    state = int.from_bytes(hashlib.sha256(b"5/L0.FF1").digest()[:8], "little")
    draws, bits = [], 2**64 - 1
    for _ in range(12):
        state = (state + 0x9E3779B97F4A7C15) & bits
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & bits
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & bits
        draws.append(z ^ (z >> 31))
    smallest = sorted(range(12), key=lambda index: draws[index])[:3]
    mask = ZeroRule(16, 0.25, 5).mask_for(FF1, 3, 4).ravel()
    assert np.flatnonzero(mask).tolist() == sorted(smallest)


def test_it_applies_to_weights_only() -> None:
    names = {op.name.split(".")[1] for op in GRAPH.ops if rule("block16:0.5").applies_to(op, GRAPH)}
    assert names == {"matmul_Q", "matmul_K", "matmul_V", "W_out", "FF1", "FF2"}
    chosen = {op.name for op in GRAPH.ops if rule("block16:0.5@*FF?").applies_to(op, GRAPH)}
    assert chosen == {"L0.FF1", "L0.FF2", "L1.FF1", "L1.FF2"}


def test_a_large_block_is_zero_as_a_whole() -> None:
    sparsity = rule("block32:0.5", seed=1)
    mask = sparsity.array_mask(FF1, 16)
    assert mask.shape == (8, 32)
    assert np.array_equal(mask, np.kron(sparsity.mask_for(FF1, 4, 16), np.ones((2, 2), bool)))


def test_edge_blocks_are_in_the_mask() -> None:
    odd = encoder_layer(seq=32, hidden=120, heads=2, ffn=500).op("L0.FF1")  # K, N no multiples of 16 or 32
    assert rule("block16:1").array_mask(odd, 16).shape == (8, 32)
    assert rule("block32:1").array_mask(odd, 16).shape == (8, 32)


@pytest.mark.parametrize(
    "text",
    [
        "block16:0.5",
        "block32:0.123456789@*FF*",
        "block8:1.0",
        "dense",
        "2:4",
        "1:4/gate@*FF*",
        "unstructured:0.3/rle",
        "activations=2:4/select@*.FF?",
        "activations=unstructured:0.3/gate",
    ],
)
def test_the_line_round_trips(text: str) -> None:
    assert str(parse(text)) == text and parse(str(parse(text))) == parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("blok16:0.5", "unknown pattern 'blok16' (did you mean 'block16'?)"),
        ("spec.toml@*FF*", "the file names the operators of each rule, leave out '@*FF*'"),
        ("masks.npz/select", "scheme select needs an N:M pattern such as 2:4, not a file of masks"),
        ("2:4:0.5", "2:4 has a density of its own, leave out '0.5'"),
        ("5:4", "keeps 5 of 4: N:M needs 1 <= N <= M (nearest: 4:4)"),
        ("0:4", "keeps 0 of 4: N:M needs 1 <= N <= M (nearest: 1:4)"),
        ("unstructured:1.5", "density 1.5 is the share of non-zero weights, 0 to 1 (nearest: 1)"),
        ("unstructured", "density '' must be a number, as in unstructured:0.3"),
        ("unstructured:0.3/bitmapp", "unknown scheme 'bitmapp' (did you mean 'bitmap'?)"),
        ("block16:0.5/select", "scheme select needs an N:M pattern"),
        ("nowhere.npz", "cannot be read: No such file"),
        ("", "unknown pattern ''"),
        ("activation=2:4", "unknown operand 'activation' (did you mean 'activations'?)"),
        ("activations=w4a8", "activations= takes a pattern or a file of masks"),
        ("activations=5:4", "keeps 5 of 4"),
        ("attention=topkk:3", "unknown pattern 'topkk' (did you mean 'topk'?)"),
        ("longformer", "nearest: attention=longformer:WINDOW,GLOBALS"),
        ("attention=topk", "pattern topk needs one of k, share, mask"),
        ("attention=topk:1.5", "share is 1.5, must be a number above 0 and at most 1 (nearest: 1)"),
        ("attention=longformer:32", "pattern longformer needs globals"),
        ("attention=window:3,4", "window takes window, not '3,4'"),
        ("attention=window:x", "window 'x' must be a number"),
        ("attention=topk:0.2/pak", "scheme 'pak' is none of tiles, pack, skip (did you mean 'pack'?)"),
        ("attention=mask", "a real mask is given as mask = FILE"),
        ("block16", "density '' must be a number"),
        ("block16:half", "density 'half' must be a number"),
        ("block16:nan", "density 'nan' must be a number"),
        ("block16:1.01", "density 1.01 is the share of non-zero blocks, 0 to 1 (nearest: 1)"),
        ("block16:-0.1", "density -0.1 is the share of non-zero blocks, 0 to 1 (nearest: 0)"),
        ("block0:0.5", "block size '0' must be a whole number from 1"),
        ("block:0.5", "block size '' must be a whole number from 1"),
        ("block16:0.5@", "no name after '@'"),
    ],
)
def test_a_wrong_line_is_reported(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(text)
    assert message in str(caught.value)


def test_all_problems_of_a_line_come_at_once() -> None:
    with pytest.raises(InputError) as caught:
        parse("block0:2@", seed=-1)
    assert len(caught.value.problems) == 4


def test_a_name_of_no_operator_is_reported() -> None:
    with pytest.raises(InputError, match="no matmul with weights of bert-tiny is named '\\*FFF\\*'"):
        parse("block24:0.5@*FFF*").check(bert_tiny(), 16)
    parse("block16:0.5").check(bert_tiny(), 16)
    parse("dense").check(bert_tiny(), 16)


@pytest.mark.parametrize("block", [3, 8, 24, 40])
def test_blocks_of_any_size_keep_every_array_block_that_they_touch(block: int) -> None:
    # Law: an array block is left out only if every weight in it is zero.
    sparsity = rule(f"block{block}:0.2", seed=5)
    elements, blocks = sparsity.element_mask(FF1), sparsity.array_mask(FF1, 16)
    for i, j in np.ndindex(blocks.shape):
        assert blocks[i, j] == elements[16 * i : 16 * i + 16, 16 * j : 16 * j + 16].any()


def test_a_mask_needs_only_the_name() -> None:
    renamed = Op("other", "matmul", FF1.inputs, FF1.output, FF1.attrs)
    same = Op("L0.FF1", "matmul", FF1.inputs, FF1.output, FF1.attrs, layer=9)
    sparsity = ZeroRule(16, 0.5)
    assert np.array_equal(sparsity.mask_for(same, 8, 32), sparsity.mask_for(FF1, 8, 32))
    assert not np.array_equal(sparsity.mask_for(renamed, 8, 32), sparsity.mask_for(FF1, 8, 32))
