"""Attention whose mask depends on the data: numbers of the packed plan, laws, the cost of prediction, bad input."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sim
from sim.base.errors import InputError
from sim.hardware import load
from sim.plan.planner import plan
from sim.sparsity.edits import attention, dynamic
from sim.sparsity.edits.dynamic import Dynamic
from sim.sparsity.grid import lines
from sim.sparsity.masks import packing
from sim.sparsity.rules import Rules
from sim.sparsity.spec import parse
from workloads import encoder_layer

HEADS, SEQ, SIZE = 2, 48, 32
GRAPH = encoder_layer(seq=SEQ, hidden=64, heads=HEADS, ffn=64)
SPARSE = load("gemmini_sparse")
TOP = Dynamic("topk", share=0.2)

PATTERNS = st.one_of(
    st.builds(Dynamic, st.just("topk"), k=st.integers(1, SEQ - 1), seed=st.integers(0, 3)),
    st.builds(Dynamic, st.just("threshold"), density=st.floats(1 / SEQ, 0.95), seed=st.integers(0, 3)),
)
REACH = st.sampled_from(["pe", "line"])


def run(pattern: Dynamic | None, hw: object = SPARSE, **more: object) -> sim.Result:
    return sim.simulate(GRAPH, hw, sparsity=None if pattern is None else Rules((), pattern), **more)


def rows(result: sim.Result) -> dict[str, dict[str, object]]:
    return {row["op"].removeprefix("L0."): row for row in result.rows}


@pytest.fixture(scope="module")
def dense() -> sim.Result:
    return sim.simulate(GRAPH, SPARSE, sparsity="dense")


@settings(max_examples=40, deadline=None)
@given(pattern=PATTERNS, dim=st.sampled_from([2, 4, 8]), resident=st.sampled_from([2, 3, 4]), reach=REACH)
def test_sub_rows_compute_the_masked_attention(pattern: Dynamic, dim: int, resident: int, reach: str) -> None:
    # Oracle: softmax with every score hidden that the mask does not keep. Here only chosen scores exist at all: packed
    # as the array takes them, normalised over a query's sub-rows, each share meeting the value that its index names.
    rng = np.random.default_rng(pattern.seed)
    q, k, v = rng.normal(size=(3, SEQ, 8))
    mask = pattern.masks("scores", 1, SEQ, SEQ)[0]
    hidden = np.where(mask, q @ k.T, -np.inf)
    shares = np.exp(hidden - hidden.max(axis=1, keepdims=True))
    wanted = shares / shares.sum(axis=1, keepdims=True) @ v
    counts = packing.sub_rows(mask, dim, resident, reach)
    window, found = resident * dim, np.zeros_like(wanted)
    for query in range(SEQ):
        index = [
            np.where(sub_row < 0, -1, sub_row + start)
            for number, start in enumerate(range(0, SEQ, window))
            for sub_row in _checked(mask[query, start : start + window], counts[query, number], dim, resident, reach)
        ]
        keys = np.concatenate(index)
        scores = np.where(keys < 0, -np.inf, k[keys] @ q[query])
        packed = np.exp(scores - scores.max())
        found[query] = (packed / packed.sum())[keys >= 0] @ v[keys[keys >= 0]]
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def _checked(kept: np.ndarray, count: int, dim: int, resident: int, reach: str) -> list[np.ndarray]:
    """Sub-rows of one window, as many as counted, whose places reach no further than the hardware's wires."""
    found = packing.sub_row_columns(kept, dim, resident, reach)
    assert len(found) == count
    assert sorted(np.concatenate([*found, []])[np.concatenate([*found, []]) >= 0]) == np.flatnonzero(kept).tolist()
    if reach == "pe":
        assert all((one[one >= 0] % dim == np.flatnonzero(one >= 0)).all() for one in found)
    return found


@settings(max_examples=30, deadline=None)
@given(pattern=PATTERNS, dim=st.sampled_from([4, 16]), resident=st.sampled_from([2, 4]))
def test_imbalance_lies_between_full_sub_rows_and_dense(pattern: Dynamic, dim: int, resident: int) -> None:
    # Bounds: never fewer sub-rows than the kept scores fill, never more than blocks of keys; wider reach never costs.
    mask = pattern.masks("scores", 1, SEQ, SEQ)[0]
    own, line = (packing.sub_rows(mask, dim, resident, reach) for reach in ("pe", "line"))
    assert (line <= own).all() and (own <= resident).all()
    assert line.sum() * dim >= mask.sum()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 9), k=st.integers(1, SEQ), density=st.floats(1 / SEQ, 1))
def test_drawn_masks_are_exact_nested_and_leave_no_query_empty(seed: int, k: int, density: float) -> None:
    top = Dynamic("topk", k=k, seed=seed).masks("L0.scores", HEADS, SEQ, SEQ)
    assert (top.sum(axis=-1) == k).all() and top.shape == (HEADS, SEQ, SEQ)
    assert not (top & ~Dynamic("topk", k=min(SEQ, k + 3), seed=seed).masks("L0.scores", HEADS, SEQ, SEQ)).any()
    share = Dynamic("threshold", density=density, seed=seed).masks("L0.scores", HEADS, SEQ, SEQ)
    assert (share.sum(axis=(1, 2)) == round(density * SEQ * SEQ)).all() and share.any(axis=-1).all()
    wider = Dynamic("threshold", density=min(1.0, density + 0.1), seed=seed).masks("L0.scores", HEADS, SEQ, SEQ)
    assert not (share & ~wider).any()


@pytest.mark.parametrize(
    "pattern", [Dynamic("topk", k=SEQ), Dynamic("topk", share=1.0), Dynamic("threshold", density=1.0)]
)
@pytest.mark.parametrize("scheme", ["pack", "skip"])
def test_keeping_everything_is_dense_cycle_for_cycle(dense: sim.Result, pattern: Dynamic, scheme: str) -> None:
    whole = Dynamic(pattern.pattern, pattern.k, pattern.share, pattern.density, scheme)
    assert run(whole).ops.equals(dense.ops)


@settings(max_examples=12, deadline=None)
@given(pattern=PATTERNS, reach=REACH, resident=st.sampled_from([2, 4]))
def test_work_is_conserved_and_metadata_by_formula(pattern: Dynamic, reach: str, resident: int) -> None:
    hw = SPARSE.with_({"sparsity.resident_reach": reach, "sparsity.resident_weights": resident})
    for name, row in rows(run(pattern, hw)).items():
        assert 0 <= row["utilization"] <= 1
        if name in ("scores", "context"):
            kept = int(pattern.masks("L0.scores", HEADS, SEQ, SEQ).sum())
            assert row["macs"] == kept * SIZE and row["macs"] + row["macs_skipped"] == HEADS * SEQ * SEQ * SIZE
            assert row["macs"] <= row["mac_slots"]
            assert row["metadata_bytes"] == (HEADS * SEQ * SEQ // 8 if name == "scores" else 0)
            assert row["scheme"] == "sampled"


@pytest.mark.parametrize("word", ["topk", "threshold"])
def test_nested_masks_are_monotone_in_macs_and_bytes(word: str) -> None:
    # Law: what a sparser mask of one seed computes and moves is never more.
    found = []
    for share in (0.05, 0.1, 0.2, 0.4, 0.7, 0.9):
        by_name = rows(run(Dynamic(word, share=share if word == "topk" else 0.0, density=share)))
        parts = [by_name["scores"], by_name["context"]]
        found.append([sum(r[c] for r in parts) for c in ("macs", "dram_read_bytes", "dram_write_bytes", "mac_slots")])
    for sparser, denser in itertools.pairwise(found):
        assert all(a <= b for a, b in zip(sparser, denser, strict=True)) and sparser[0] < denser[0]


@pytest.mark.parametrize("pattern", [TOP, Dynamic("threshold", density=0.3)])
def test_all_clocks_agree(pattern: Dynamic) -> None:
    runs = [run(pattern, clock=clock, cache=False) for clock in ("reference", "leap", "periodic")]
    columns = [name for name in runs[0].ops.columns if name != "visited_cycles"]
    assert runs[1].ops[columns].equals(runs[0].ops[columns])
    assert runs[2].ops[columns].equals(runs[0].ops[columns])


def test_packed_shares_are_written_and_read_once(dense: sim.Result) -> None:
    # Closed form: a query of 10 kept keys in one window of 64 is one sub-row of 16 in and out.
    by_name = rows(run(Dynamic("topk", k=10)))
    operands = HEADS * SEQ * SIZE
    index = HEADS * SEQ * SEQ // 8
    assert by_name["scores"]["dram_read_bytes"] == 2 * operands + index
    assert by_name["scores"]["dram_write_bytes"] == HEADS * SEQ * 16
    assert by_name["context"]["dram_read_bytes"] == operands + HEADS * SEQ * 16 + index
    assert by_name["context"]["dram_write_bytes"] == rows(dense)["context"]["dram_write_bytes"]


def test_the_prediction_is_paid_by_the_array_or_by_its_own(dense: sim.Result) -> None:
    scores = HEADS * SEQ * SEQ
    plain, own = run(TOP), run(TOP, SPARSE.with_({"sparsity.predictor_macs_per_cycle": 256}))
    predicted = rows(plain)["scores.predict"]
    assert predicted["macs"] == scores * SIZE and predicted["engine"] == "array"
    assert predicted["dram_write_bytes"] >= scores == rows(plain)["scores.mask"]["dram_read_bytes"]
    assert rows(plain)["scores.mask"]["cycles"] == -(-int(np.ceil(scores * 3.39)) // 16)
    beside = rows(own)["scores.predict"]
    assert beside["engine"] == "unit" and beside["macs"] == 0 and beside["dram_read_bytes"] == 2 * HEADS * SEQ * SIZE
    (step,) = [s for s in plan(Rules((), TOP).edit(GRAPH), own.hardware) if s.name == "L0.scores.predict"]
    assert step.side_work.cycles == scores * SIZE // 256 and step.macs_switched == scores * SIZE // 4
    assert rows(own)["scores.mask"]["dram_read_bytes"] == 0 and own.cycles < plain.cycles


def test_masks_of_later_heads_are_made_while_the_array_works() -> None:
    # Law of a pipeline: it takes as long as its slower side and the first head of the other, and causes sum to cycles.
    slow = SPARSE.with_({"sparsity.predictor_macs_per_cycle": 16})
    fast = SPARSE.with_({"sparsity.predictor_macs_per_cycle": 10**6, "sparsity.top_k_per_cycle": 10**6})
    array = sum(rows(run(TOP, fast))[name]["cycles"] for name in ("scores", "context"))
    predictor = HEADS * SEQ * SEQ * SIZE // 16
    for hw, longest in ((slow, max(array, predictor)), (fast, array)):
        result = run(TOP, hw)
        parts = [rows(result)[name]["cycles"] for name in ("scores.predict", "scores.mask", "scores", "context")]
        first_head = parts[0] + parts[1]
        assert longest <= sum(parts) <= longest + first_head
        assert sum(result.causes.values()) == result.cycles


def test_the_array_predicts_at_the_width_that_a_rule_gives(tmp_path: Path) -> None:
    hw = load("gemmini_decomposable", {"sparsity.top_k_per_cycle": 16, "sparsity.pack_and_split": True,
                                       "sparsity.resident_weights": 4})  # fmt: skip
    lines = ["[attention]", "pattern = 'topk'", "share = 0.2", "[[precision]]", "operators = '*.predict'"]
    (tmp_path / "spec.toml").write_text("\n".join([*lines, "weights = 'int4'", "activations = 'int4'"]))
    wide, narrow = (rows(sim.simulate(GRAPH, hw, sparsity=s)) for s in (Rules((), TOP), str(tmp_path / "spec.toml")))
    assert narrow["scores.predict"]["cycles"] < wide["scores.predict"]["cycles"]
    assert narrow["scores"]["macs"] == wide["scores"]["macs"]


@settings(max_examples=8, deadline=None)
@given(window=st.integers(0, 20), count=st.integers(0, 4))
def test_a_fixed_pattern_is_packed_without_a_prediction(window: int, count: int) -> None:
    fixed = attention.Pattern("longformer", window=window, globals=count, scheme="pack")
    by_name = rows(run(dynamic.packed(fixed)))
    assert "scores.predict" not in by_name and "scores.mask" not in by_name
    assert by_name["scores"]["macs"] == HEADS * SIZE * int(fixed.mask(SEQ, SEQ).sum())
    assert by_name["context"]["macs"] == by_name["scores"]["macs"]


def test_windows_that_no_query_of_a_tile_wants_are_left_out() -> None:
    # 256 tokens that see their own block of 16: of 4 windows each row of blocks meets one.
    graph = encoder_layer(seq=256, hidden=64, heads=HEADS, ffn=64)
    fixed = attention.Pattern("local", window=16, scheme="pack")
    by_name = rows(sim.simulate(graph, SPARSE, sparsity=Rules((), dynamic.packed(fixed))))
    assert by_name["scores"]["macs"] == HEADS * SIZE * 256 * 16
    assert by_name["scores"]["dram_write_bytes"] == HEADS * 256 * 16


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 1000), share=st.sampled_from([0.01, 0.05, 0.3]), capacity=st.sampled_from(["16KiB", "1MiB"]))
def test_any_mask_gives_a_program_that_ends(seed: int, share: float, capacity: str) -> None:
    # Windows come and go from tile to tile, in memories that hold few of them: all scores are computed all the same.
    rng = np.random.default_rng(seed)
    mask = rng.random((1, 200, 200)) < share * rng.random((1, 200, 1)) ** 3
    mask[0, :, rng.integers(200)] = True
    mask[0, rng.integers(200)] = True
    graph = encoder_layer(seq=200, hidden=64, heads=1, ffn=32)
    hw = SPARSE.with_({"scratchpad.capacity": capacity, "accumulator.capacity": "32KiB"})
    by_name = rows(sim.simulate(graph, hw, sparsity=Rules((), Dynamic("topk", given={"*": mask}))))
    assert by_name["scores"]["macs"] == by_name["context"]["macs"] == int(mask.sum()) * 64


def test_real_masks_by_head_and_by_layer(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).random((HEADS, SEQ, SEQ)) < 0.2
    mask |= np.eye(SEQ, dtype=bool)
    np.save(tmp_path / "mask.npy", mask)
    np.savez(tmp_path / "mask.npz", **{"L0.scores": mask})
    for name in ("mask.npy", "mask.npz"):
        (tmp_path / "spec.toml").write_text(f'[attention]\npattern = "topk"\nmask = "{name}"\n')
        found = sim.simulate(GRAPH, SPARSE, sparsity=str(tmp_path / "spec.toml"))
        assert rows(found)["scores"]["macs"] == int(mask.sum()) * SIZE
    np.save(tmp_path / "mask.npy", mask[0])
    (tmp_path / "spec.toml").write_text(
        '[attention]\npattern = "threshold"\nmask = "mask.npy"\nscheme = "skip"\ntile=8'
    )
    skipped = sim.simulate(GRAPH, "gemmini_ibert", sparsity=str(tmp_path / "spec.toml"),
                           overrides={"sparsity.top_k_per_cycle": 16})  # fmt: skip
    assert "L0.scores.predict" in set(skipped.ops["op"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("pattern = 'topk'", "needs one of k, share, mask"),
        ("pattern = 'topk'\nk = 3\nshare = 0.1", "needs one of k, share, mask"),
        ("pattern = 'topk'\nk = 0", "k is 0, must be a whole number >= 1"),
        ("pattern = 'topk'\nshare = 1.5", "share is 1.5, must be a number above 0 and at most 1 (nearest: 1)"),
        ("pattern = 'threshold'\ndensity = 0", "density is 0, must be a number above 0"),
        ("pattern = 'threshold'\ndensty = 0.1", "did you mean 'density'"),
        ("pattern = 'topk'\nk = 3\nscheme = 'pakc'", "did you mean 'pack'"),
        ("pattern = 'topkk'\nk = 3", "did you mean 'topk'"),
        ("pattern = 'window'\nwindow = 3\nscheme = 'packed'", "did you mean 'pack'"),
        ("pattern = 'mask'\nmask = 'wrong.npy'\nscheme = 'pack'", "its shape is (5, 5), L0.scores has (48, 48) scores"),
        ("pattern = 'topk'\nk = 49", "k is 49, there are 48 keys (nearest: 48)"),
        ("pattern = 'threshold'\ndensity = 0.01", "leaves queries without a key; a softmax needs one value"),
        ("pattern = 'topk'\nmask = 'none.npy'", "cannot be read"),
        ("pattern = 'topk'\nmask = 'wrong.npy'", "its mask has shape (5, 5), must be (2, 48, 48)"),
        ("pattern = 'topk'\nmask = 'other.npz'", "the file has no mask of that name (did you mean 'L0.score'?)"),
        ("pattern = 'topk'\nmask = 'empty.npy'", "query 7 of head 1 (and 0 more) sees no key"),
    ],
)
def test_bad_input_is_reported(given: str, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "wrong.npy", np.ones((5, 5)))
    np.savez(tmp_path / "other.npz", **{"L0.score": np.ones((SEQ, SEQ))})
    empty = np.ones((HEADS, SEQ, SEQ))
    empty[1, 7] = 0
    np.save(tmp_path / "empty.npy", empty)
    (tmp_path / "spec.toml").write_text(f"[attention]\n{given}\n")
    with pytest.raises(InputError) as refused:
        parse(str(tmp_path / "spec.toml")).edit(GRAPH)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"sparsity.pack_and_split": False}, "sparsity.pack_and_split=true --set sparsity.resident_weights=4"),
        ({"sparsity.top_k_per_cycle": 0}, "mask needs a ranking unit (--set sparsity.top_k_per_cycle=16"),
        (
            {"scratchpad.capacity": "2KiB", "accumulator.capacity": "4KiB"},
            "use a larger scratchpad.capacity",
        ),
        ({"scratchpad.capacity": "64KiB", "accumulator.capacity": "2KiB"}, "use a larger accumulator.capacity"),
    ],
)
def test_a_machine_without_the_unit_or_the_room_names_the_option(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as refused:
        run(Dynamic("topk", share=0.5), SPARSE.with_(overrides))
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("line", "table"),
    [
        ("topk:0.2/pack", "pattern = 'topk'\nshare = 0.2\nscheme = 'pack'"),
        ("topk:8", "pattern = 'topk'\nk = 8"),
        ("threshold:0.3", "pattern = 'threshold'\ndensity = 0.3"),
        ("longformer:4,2/pack", "pattern = 'longformer'\nwindow = 4\nglobals = 2\nscheme = 'pack'"),
        ("causal", "pattern = 'causal'"),
    ],
)
def test_a_line_is_the_table_in_short(tmp_path: Path, line: str, table: str) -> None:
    (tmp_path / "spec.toml").write_text(f"[attention]\n{table}\n")
    assert parse(f"attention={line}", seed=3) == parse(str(tmp_path / "spec.toml"), seed=3)


def test_a_sweep_takes_shares_whole_or_not() -> None:
    assert lines("attention=topk/pack", "0.5,1") == ["dense", "attention=topk:0.5/pack", "attention=topk:1.0/pack"]
    assert lines("activations=2:4,2:4", None) == ["dense", "activations=2:4", "2:4"]
