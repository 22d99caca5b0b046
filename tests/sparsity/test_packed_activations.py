"""N:M activations: results of packed rows and their index, laws, refusals."""

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
from sim.lower.sparse.sampled_plan import SampledShape, choose_cut
from sim.plan.planner import plan
from sim.sparsity.masks import patterns
from sim.sparsity.masks.zeros import ZeroRule
from sim.sparsity.rules import Rules
from sim.sparsity.spec import parse
from workloads import encoder_layer

M, HIDDEN, FFN = 40, 96, 200
GRAPH = encoder_layer(seq=M, hidden=HIDDEN, heads=2, ffn=FFN)
SPARSE = load("gemmini_sparse")


def rule(group: tuple[int, int], scheme: str = "select", names: str = "*.FF?") -> Rules:
    keep, of = group
    return Rules(
        (ZeroRule(0, keep / of, pattern="nm", group=group, scheme=scheme, operand="activations", names=names),)
    )


def run(rules: Rules | None, hw: object = SPARSE, **more: object) -> dict[str, dict[str, object]]:
    return {row["op"]: row for row in sim.simulate(GRAPH, hw, sparsity=rules, **more).rows}


@pytest.fixture(scope="module")
def dense() -> dict[str, dict[str, object]]:
    return run("dense")


GROUPS = st.sampled_from([(1, 2), (2, 4), (1, 4), (4, 8), (2, 8)])


@settings(max_examples=30, deadline=None)
@given(group=GROUPS, k=st.integers(1, 40), dim=st.sampled_from([4, 8]), seed=st.integers(0, 5))
def test_packed_rows_meet_the_weights_that_their_index_names(
    group: tuple[int, int], k: int, dim: int, seed: int
) -> None:
    # Oracle: the product of the masked matrix. Here only kept values exist; each stands in the row of PEs of its
    # group, and its index of log2 M bits picks one of the M/N weights per PE that the group's N rows hold together.
    keep, of = group
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(5, k)), rng.normal(size=(k, 3))
    mask = patterns.random_groups(str(seed), (k, 5), keep, of).T
    resident = of // keep
    found = np.zeros((5, 3))
    for row, window in itertools.product(range(5), range(-(-k // (resident * dim)))):
        sums = np.zeros(3)
        for group_number in range(dim // keep):
            start = window * resident * dim + group_number * of
            kept = np.flatnonzero(mask[row, start : start + of])
            assert len(kept) <= keep and all(0 <= index < of for index in kept)
            sums += sum((a[row, start + index] * b[start + index] for index in kept), np.zeros(3))
        found[row] += sums
    np.testing.assert_allclose(found, np.where(mask, a, 0) @ b, atol=1e-12)


def test_keeping_all_of_m_is_dense_cycle_for_cycle(dense: dict[str, dict[str, object]]) -> None:
    for name, row in run(rule((4, 4))).items():
        assert {**row, "scheme": dense[name]["scheme"]} == dense[name]


@pytest.mark.parametrize("group", [(1, 2), (2, 4), (1, 4)])
def test_work_is_conserved_and_metadata_by_formula(group: tuple[int, int], dense: dict[str, dict[str, object]]) -> None:
    keep, of = group
    for name, row in run(rule(group)).items():
        assert 0 <= row["utilization"] <= 1
        assert row["macs"] + row["macs_skipped"] == dense[name]["macs"]
        if name in ("L0.FF1", "L0.FF2"):
            n, k = row["n"], row["k"]
            assert row["macs"] == M * n * k * keep // of <= row["mac_slots"] and row["scheme"] == "select"
            bits = (of - 1).bit_length()
            assert row["metadata_bytes"] == M * -(-(k // of * keep * bits) // 8)
            assert row["mac_slots"] < dense[name]["mac_slots"]


def test_nested_patterns_are_monotone_in_macs_and_bytes(dense: dict[str, dict[str, object]]) -> None:
    # 1:4 keeps a part of what 2:4 keeps (masks of one seed nest). Bytes: the scheme's of what it loads for one read.
    found = []
    for group in ((1, 4), (2, 4)):
        (step,) = [s for s in plan(GRAPH, SPARSE, sparsity=rule(group)) if s.name == "L0.FF2"]
        work = step.works[0]
        found.append((step.macs_done, M * (work.row_elements + work.index_row_bytes)))
    assert found[0][0] < found[1][0] < dense["L0.FF2"]["macs"]
    assert found[0][1] < found[1][1] < M * FFN


def test_the_rate_is_m_over_n_where_the_array_is_the_bound() -> None:
    # Bound: the rows streamed are N/M of the dense ones, and nothing makes them faster than that.
    graph = encoder_layer(seq=128, hidden=256, heads=4, ffn=512)
    whole, half = (
        sim.simulate(graph, SPARSE, sparsity=rules).ops.set_index("op").loc["L0.FF2", "cycles"]
        for rules in (None, rule((2, 4)))
    )
    assert 1.5 < whole / half <= 2


@pytest.mark.parametrize("group", [(2, 4), (1, 4)])
def test_all_clocks_agree(group: tuple[int, int]) -> None:
    runs = [run(rule(group), clock=clock, cache=False) for clock in ("reference", "leap", "periodic")]
    for name, row in runs[0].items():
        for other in runs[1:]:
            for key in set(row) - {"visited_cycles", "counters"}:
                assert other[name][key] == row[key]


def test_large_products_are_cut_to_fit_both_memories() -> None:
    graph = encoder_layer(seq=128, hidden=768, heads=12, ffn=3072)
    for step in plan(graph, SPARSE, sparsity=rule((2, 4))):
        if step.name in ("L0.FF1", "L0.FF2"):
            work = step.works[0]
            shape, cut = SampledShape(work, SPARSE), choose_cut(work, SPARSE)
            seen = {(i, j, k) for s in cut.steps for i in s.blocks for j in s.features for k in s.windows}
            assert len(seen) == shape.rows * shape.features * shape.windows
            assert sum(len(s.blocks) * len(s.features) * len(s.windows) for s in cut.steps) == len(seen)
            for s in cut.steps:
                assert sum(shape.places(b, s.features) for b in s.blocks) <= SPARSE.acc_rows // 2
                a = range(first := cut.a_parts[s.a_part][0], first + shape.a_rows(s.blocks, s.windows))
                rows = len(s.windows) * work.resident * len(s.features) * SPARSE.dim
                b = range(first := cut.b_parts[s.b_part][0], first + rows)
                assert max(a.stop, b.stop) <= SPARSE.sp_rows and (a.stop <= b.start or b.stop <= a.start)


def test_from_a_specification_and_by_default(tmp_path: Path) -> None:
    for scheme in ("", 'scheme = "select"'):
        (tmp_path / "spec.toml").write_text(f'[[activations]]\npattern = "2:4"\noperators = "*.FF2"\n{scheme}')
        assert run(parse(str(tmp_path / "spec.toml")))["L0.FF2"]["scheme"] == "select"


def test_by_default_what_cannot_lie_packed_is_gated(dense: dict[str, dict[str, object]]) -> None:
    # Scores leave through the softmax by whole rows; requested by name, packing them is refused.
    found = run(parse("activations=2:4"))
    assert found["L0.scores"]["scheme"] == "gate" and found["L0.scores"]["cycles"] == dense["L0.scores"]["cycles"]
    assert found["L0.FF1"]["scheme"] == found["L0.context"]["scheme"] == "select"
    with pytest.raises(InputError, match=r"L0.scores cannot run .* needs whole rows of C"):
        run(parse("activations=2:4/select"))
    with pytest.raises(InputError, match=r"sparsity.gating.*packing is refused: "):
        run(parse("activations=2:4"), SPARSE.with_({"sparsity.gating": "none"}))


@pytest.mark.parametrize(
    ("rules", "overrides", "message"),
    [
        (rule((2, 4)), {"sparsity.resident_weights": 1}, "sparsity.resident_weights=2 --set sparsity.resident_reach"),
        (rule((2, 4)), {"sparsity.resident_reach": "pe", "sparsity.resident_weights": 2}, "select among 4 weights"),
        (rule((2, 4), ""), {"sparsity.resident_weights": 1, "sparsity.gating": "none",
                            "sparsity.pack_and_split": False}, "sparsity.resident_weights=2"),
        (rule((3, 6)), {}, "(nearest: 2:6)"),
        (rule((2, 4), "bitmap"), {}, "either multiplied with gating (gate) or stored packed as N:M (select)"),
    ],
)  # fmt: skip
def test_refusals_name_the_option(rules: Rules, overrides: dict[str, object], message: str) -> None:
    changed = {"sparsity.pack_and_split": False, **overrides} if "sparsity.resident_weights" in overrides else overrides
    with pytest.raises(InputError) as refused:
        run(rules, SPARSE.with_(changed))
    assert message in str(refused.value)


def test_only_one_operand_is_packed() -> None:
    both = Rules((*rule((2, 4)).zeros, *parse("2:4@*.FF1").zeros))
    with pytest.raises(InputError, match="one operand of a product is packed, not both"):
        run(both)
