"""Edits of the graph compute what the masked network computes: attention patterns, low rank, saliency, cascades."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sim
from sim.base.errors import InputError
from sim.graph import Graph, View
from sim.sparsity.edits import attention, cascade, compress, dynamic, saliency
from sim.sparsity.edits.prune import prune
from sim.sparsity.edits.pruning import Pruning
from sim.sparsity.edits.pruning import parse as parse_pruning
from sim.sparsity.spec import parse
from sim.sparsity.spec_file import read
from workloads import build, encoder_layer

SIZES = {"seq": 32, "hidden": 32, "heads": 2, "ffn": 64}
GRAPH = encoder_layer(**SIZES)


def places(view: View) -> np.ndarray:
    """Flat element numbers of a window, [batch, rows, cols]."""
    b, r, c = np.ogrid[: view.batch, : view.rows, : view.cols]
    return view.offset + b * view.batch_stride + r * view.row_stride + c


def evaluate(
    graph: Graph, given: dict[str, np.ndarray], hide: np.ndarray | None = None, there: Any = slice(None)
) -> dict[str, np.ndarray]:
    """Run a graph in double precision, operator by operator.

    ``hide``: scores of (query, key) that don't count; ``there``: features LayerNorm sees, the others become 0.
    """
    values = {name: np.zeros(tensor.elements) for name, tensor in graph.tensors.items()}
    for name, array in given.items():
        if name in values:
            values[name][:] = np.ravel(array)
    for op in graph.ops:
        if op.kind in ("predict", "mask"):
            continue  # which scores they choose is given here
        inputs = [values[view.tensor][places(view)] for view in op.inputs]
        if op.kind == "matmul":
            a, b = inputs[0], inputs[1]
            a = a.swapaxes(1, 2) if op.attrs["transpose_a"] else a
            b = b.swapaxes(1, 2) if op.attrs["transpose_b"] else b
            result = a @ b + (inputs[2] if len(inputs) > 2 else 0)
        elif op.kind == "softmax":
            scores = inputs[0] if hide is None else np.where(hide, -np.inf, inputs[0])
            result = np.exp(scores - scores.max(axis=-1, keepdims=True))
            result = result / result.sum(axis=-1, keepdims=True)
        elif op.kind == "layernorm":
            x, result = inputs[0][..., there], np.zeros_like(inputs[0])
            result[..., there] = (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-9)
        elif op.kind == "residual_add":
            result = inputs[0] + inputs[1]
        elif op.kind == "gelu":
            result = inputs[0] / (1 + np.exp(-1.702 * inputs[0]))
        else:
            assert op.kind == "copy"
            result = inputs[0]
        values[op.output.tensor][places(op.output)] = result
    return {name: values[name].reshape(tensor.shape) for name, tensor in graph.tensors.items()}


def given_values(graph: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=t.shape) * 0.3 for name, t in graph.tensors.items() if t.kind != "activation"}


PATTERN = st.sampled_from(
    [
        attention.Pattern("causal", tile=8),
        attention.Pattern("window", window=5, tile=8),
        attention.Pattern("local", window=8, tile=8),
        attention.Pattern("strided", window=2, stride=16, tile=4),
        attention.Pattern("longformer", window=3, globals=2, tile=8),
        attention.Pattern("bigbird", window=1, globals=1, random=1, tile=4, seed=3),
        attention.Pattern("window", window=9, causal=True, tile=4),
    ]
)


@settings(max_examples=20, deadline=None)
@given(pattern=PATTERN, seed=st.integers(0, 5))
def test_tiles_compute_the_masked_attention(pattern: attention.Pattern, seed: int) -> None:
    # Oracle: the whole graph with every score hidden whose block no query of the tile sees.
    edited, given = attention.edit(GRAPH, pattern), given_values(GRAPH, seed)
    seen = np.kron(sim_blocks(pattern), np.ones((pattern.tile, pattern.tile))) > 0
    whole = evaluate(GRAPH, given, ~seen)["L0.output"]
    np.testing.assert_allclose(evaluate(edited, given)["L0.output"], whole, atol=1e-9)
    assert edited.macs < GRAPH.macs
    assert (seen | ~pattern.mask(32, 32)).all(), "a token that is seen lies in a block that is computed"


@settings(max_examples=10, deadline=None)
@given(share=st.sampled_from([0.04, 0.1, 0.3]), seed=st.integers(0, 5))
def test_tiles_that_no_query_wants_are_left_out(share: float, seed: int) -> None:
    # Oracle: the whole graph with every score hidden whose block of 2 x 2 no query of any head wants.
    pattern = dynamic.Dynamic("topk", share=share, scheme="skip", tile=2, seed=seed)
    edited, given = dynamic.edit(GRAPH, pattern), given_values(GRAPH, seed)
    blocks = pattern.masks("L0.scores", 2, 32, 32).any(axis=0).reshape(16, 2, 16, 2).any(axis=(1, 3))
    whole = evaluate(GRAPH, given, ~np.kron(blocks, np.ones((2, 2), bool)))["L0.output"]
    np.testing.assert_allclose(evaluate(edited, given)["L0.output"], whole, atol=1e-9)
    assert edited.macs == GRAPH.macs - 2 * 2 * 16 * int((~blocks).sum()) * 4
    assert [op.kind for op in edited.ops[3:5]] == ["predict", "mask"]


def sim_blocks(pattern: attention.Pattern) -> np.ndarray:
    blocks = np.zeros((32 // pattern.tile,) * 2, bool)
    for i, (_, runs) in enumerate(pattern.runs(32, 32)):
        for run in runs:
            blocks[i, run.start // pattern.tile : run.stop // pattern.tile] = True
    return blocks


def test_a_pattern_that_sees_everything_changes_nothing() -> None:
    assert attention.edit(GRAPH, attention.Pattern("window", window=32, tile=8)) == GRAPH


def test_causal_masks_skip_upper_blocks() -> None:
    # Closed form: of t x t tiles t (t + 1) / 2 are left, in both products.
    edited = attention.edit(GRAPH, attention.Pattern("causal", tile=8))
    left = sum(op.macs for op in edited.ops if "scores" in op.name or "context" in op.name)
    assert left == 2 * 2 * 32 * 32 * 16 * (4 * 5 // 2) // 16


def test_a_query_that_sees_nothing_is_refused(tmp_path: Path) -> None:
    mask = np.tri(32, dtype=bool)
    mask[7] = False
    np.save(tmp_path / "mask.npy", mask)
    (tmp_path / "spec.toml").write_text('[attention]\npattern = "mask"\nmask = "mask.npy"\ntile = 8\n')
    with pytest.raises(InputError, match=r"query 7 .*sees no key; a softmax needs one value in every row"):
        sim.simulate(GRAPH, "gemmini_ibert", sparsity=str(tmp_path / "spec.toml"))
    np.save(tmp_path / "mask.npy", mask[:16, :16])
    with pytest.raises(InputError, match=r"its shape is \(16, 16\), L0.scores has \(32, 32\) scores"):
        sim.simulate(GRAPH, "gemmini_ibert", sparsity=str(tmp_path / "spec.toml"))


def test_copies_move_their_rows_once() -> None:
    pattern = attention.Pattern("longformer", window=3, globals=2, tile=16)
    edited = attention.edit(encoder_layer(seq=64, hidden=32, heads=2, ffn=64), pattern)
    result = sim.simulate(edited, "gemmini_ibert")
    copies = result.ops[result.ops["op_kind"] == "copy"]
    assert len(copies) and (copies["dram_read_bytes"] == copies["m"] * copies["n"]).all()
    assert (copies["dram_write_bytes"] == copies["m"] * copies["n"]).all()


def test_full_rank_is_exact_and_low_rank_is_the_product_of_its_factors() -> None:
    made = compress.Compression("low_rank", "*.FF1", rank=8)
    edited, given = compress.edit(GRAPH, made), given_values(GRAPH)
    u, v = given_values(edited)["L0.FF1.weight.U"], given_values(edited)["L0.FF1.weight.V"]
    factors = {**given, "L0.FF1.weight.U": u, "L0.FF1.weight.V": v}
    expected = evaluate(GRAPH, {**given, "L0.FF1.weight": u @ v})["L0.output"]
    np.testing.assert_allclose(evaluate(edited, factors)["L0.output"], expected, atol=1e-9)
    assert edited.macs == GRAPH.macs - 32 * 32 * 64 + 32 * 8 * (32 + 64)


@pytest.mark.parametrize("what", [{"heads": 1}, {"ffn": 20}, {"head_dim": 5}, {"heads": 1, "ffn": 20, "head_dim": 9}])
def test_pruning_computes_the_network_with_the_rest_at_zero(what: dict[str, int]) -> None:
    # Oracle: the whole graph with the pruned rows and columns of the weights at zero, biases included.
    given, pruning = given_values(GRAPH), Pruning(**what)
    given |= {name: np.zeros_like(v) for name, v in given.items() if name.endswith(".bias")}
    weights = {name: v for name, v in given.items() if name.endswith(".weight")}
    chosen = saliency.select(GRAPH, pruning, saliency.magnitudes(GRAPH, weights, pruning))
    small = saliency.cut(GRAPH, weights, chosen)
    pruned = prune(GRAPH, pruning)
    assert all(pruned.tensors[name].shape == values.shape for name, values in small.items())
    zeroed = dict(given)
    dim = chosen.get("L0.head_dim", np.arange(16))
    stay = np.arange(32).reshape(2, 16)[chosen.get("L0.heads", np.arange(2))][:, dim].ravel()
    neurons = chosen.get("L0.ffn", np.arange(64))
    for name, axis, keep, size in (
        ("L0.matmul_Q", 1, stay, 32), ("L0.matmul_K", 1, stay, 32), ("L0.matmul_V", 1, stay, 32),
        ("L0.W_out", 0, stay, 32), ("L0.FF1", 1, neurons, 64), ("L0.FF2", 0, neurons, 64),
    ):  # fmt: skip
        mask = np.isin(np.arange(size), keep)
        zeroed[f"{name}.weight"] = given[f"{name}.weight"] * (mask if axis else mask[:, None])
    rest = {name: v for name, v in given.items() if name in pruned.tensors and v.shape == pruned.tensors[name].shape}
    found = evaluate(pruned, {**rest, **small})["L0.output"]
    np.testing.assert_allclose(found, evaluate(GRAPH, zeroed)["L0.output"], atol=1e-9)


def test_pruning_hidden_features_computes_the_network_without_them() -> None:
    # Oracle: the whole graph, nothing of whose weights and input has those features, and LayerNorm over the others.
    given, pruning = given_values(GRAPH), Pruning(hidden=20, ffn=40)
    given |= {name: np.zeros_like(v) for name, v in given.items() if name.endswith(".bias")}
    weights = {name: v for name, v in given.items() if name.endswith(".weight")}
    chosen = saliency.select(GRAPH, pruning, saliency.magnitudes(GRAPH, weights, pruning))
    small, pruned, stay = saliency.cut(GRAPH, weights, chosen), prune(GRAPH, pruning), chosen["hidden"]
    assert all(pruned.tensors[name].shape == values.shape for name, values in small.items())
    zeroed = dict(given)
    gone = np.setdiff1d(np.arange(32), stay)
    for name, values in given.items():
        zeroed[name] = values.copy()
        if name.endswith(("_Q.weight", "_K.weight", "_V.weight", "FF1.weight")):
            zeroed[name][gone] = 0
        elif values.shape[-1] == 32:  # written: W_out, FF2; the input; gains and shifts
            zeroed[name][..., gone] = 0
    off = np.setdiff1d(np.arange(64), chosen["L0.ffn"])
    zeroed["L0.FF2.weight"][off] = 0
    rest = {
        name: given[name][..., stay] if tensor.kind == "input" else np.zeros(tensor.shape)
        for name, tensor in pruned.tensors.items()
        if name in given and name not in small
    }
    found = evaluate(pruned, {**rest, **small})["L0.output"]
    np.testing.assert_allclose(found, evaluate(GRAPH, zeroed, there=stay)["L0.output"][:, stay], atol=1e-9)


@pytest.mark.parametrize("side", ["L0.FF1.columns", "L0.FF2.rows"])
def test_pruning_a_named_weight_computes_the_network_with_the_rest_at_zero(side: str) -> None:
    given, pruning = given_values(GRAPH), parse_pruning(f"{side}=20")
    given |= {name: np.zeros_like(v) for name, v in given.items() if name.endswith(".bias")}
    weights = {name: v for name, v in given.items() if name.endswith(".weight")}
    chosen = saliency.select(GRAPH, pruning, saliency.magnitudes(GRAPH, weights, pruning))
    small, pruned = saliency.cut(GRAPH, weights, chosen), prune(GRAPH, pruning)
    zeroed = dict(given)
    gone = np.setdiff1d(np.arange(64), chosen[side])
    for name, axis in (("L0.FF1.weight", 1), ("L0.FF2.weight", 0)):
        zeroed[name] = given[name].copy()
        zeroed[name].swapaxes(0, axis)[gone] = 0
    rest = {name: v for name, v in given.items() if name in pruned.tensors and v.shape == pruned.tensors[name].shape}
    found = evaluate(pruned, {**rest, **small})["L0.output"]
    np.testing.assert_allclose(found, evaluate(GRAPH, zeroed)["L0.output"], atol=1e-9)
    # Bound: of squares summed over both weights none that goes is larger than one that stays.
    squares = (weights["L0.FF1.weight"] ** 2).sum(axis=0) + (weights["L0.FF2.weight"] ** 2).sum(axis=1)
    assert squares[gone].max() <= squares[chosen[side]].min()


def test_pruned_and_narrow_weights_together(tmp_path: Path) -> None:
    # Closed form: 64 of 128 neurons, then 4 bits each: the weights of FF1 are a quarter of the dense ones' bytes.
    (tmp_path / "spec.toml").write_text("[[compress]]\noperators = '*.FF1'\nkind = 'narrow'\nbits = 4")
    graph = encoder_layer(seq=32, hidden=64, heads=2, ffn=128)
    small, both = (
        sim.simulate(graph, "gemmini_sparse", prune="L0.FF1.columns=64", sparsity=spec).ops.set_index("op")
        for spec in (None, str(tmp_path / "spec.toml"))
    )
    assert both.loc["L0.FF1", "macs"] == 32 * 64 * 64 and both.loc["L0.FF1", "scheme"] == "narrow"
    assert both.loc["L0.FF1", "dram_read_bytes"] == small.loc["L0.FF1", "dram_read_bytes"] - 64 * 64 // 2


def test_the_most_salient_stay() -> None:
    graph = encoder_layer(**SIZES, layers=3)
    scores = {f"L{i}.heads": np.array([1.0, 2.0]) for i in range(3)} | {"layers": np.array([3.0, 1.0, 2.0])}
    chosen = saliency.select(graph, Pruning(heads=1, layers=2), scores)
    assert chosen["L1.heads"].tolist() == [1] and chosen["layers"].tolist() == [0, 2]
    with pytest.raises(InputError, match=r"no scores 'L0.ffn'"):
        saliency.select(graph, Pruning(ffn=3), scores)
    with pytest.raises(InputError, match="must be 2 finite numbers"):
        saliency.select(graph, Pruning(heads=1), {**scores, "L0.heads": np.ones(3)})


def test_cascades_shrink_layer_by_layer() -> None:
    graph = encoder_layer(**SIZES, layers=3)
    edited = cascade.edit(graph, cascade.Cascade(tokens=0.5, heads=0.5))
    rows = [edited.op(f"L{i}.scores").output for i in range(3)]
    assert [view.rows for view in rows] == [32, 24, 16] and [view.batch for view in rows] == [2, 2, 1]
    assert cascade.edit(graph, cascade.Cascade()).ops == graph.ops
    result = sim.simulate(edited, "gemmini_sparse")
    ranked = result.ops[result.ops["op_kind"] == "top_k"]
    assert (ranked["cycles"] > 0).all() and (ranked["energy_pj"] > 0).all()
    with pytest.raises(InputError, match=r"top_k needs a ranking unit .*sparsity.top_k_per_cycle"):
        sim.simulate(edited, "gemmini_ibert")
    with pytest.raises(InputError, match="must be a stack of equal encoder layers"):
        cascade.edit(build("bert-tiny", seq=16, pooler=True), cascade.Cascade(tokens=0.5))
    with pytest.raises(
        InputError, match=r"ranked in layer 2 are dropped in the layer behind it.* has 3 \(nearest: first = 1\)"
    ):
        cascade.edit(graph, cascade.Cascade(tokens=0.5, first=2))


@pytest.mark.parametrize(
    ("kind", "share"),
    [
        ({"kind": "codebook", "entries": 16}, 0.5),
        ({"kind": "narrow", "bits": 2}, 0.25),
        ({"kind": "circulant", "block": 8}, 0.125),
    ],
)
def test_compressed_weights_move_fewer_bytes_and_nothing_else(
    kind: dict[str, Any], share: float, tmp_path: Path
) -> None:
    lines = [f"{key} = {value!r}".replace("'", '"') for key, value in kind.items()]
    (tmp_path / "spec.toml").write_text("[[compress]]\noperators = '*.FF1'\n" + "\n".join(lines))
    graph = encoder_layer(seq=32, hidden=64, heads=2, ffn=128)
    dense, small = (
        sim.simulate(graph, "gemmini_sparse", sparsity=text).ops.set_index("op").loc["L0.FF1"]
        for text in (None, str(tmp_path / "spec.toml"))
    )
    assert small["macs"] == dense["macs"] and small["dram_write_bytes"] == dense["dram_write_bytes"]
    saved = dense["dram_read_bytes"] - small["dram_read_bytes"]
    assert 0.85 * (1 - share) * 64 * 128 < saved <= (1 - share) * 64 * 128 + 128 * 4 * 2
    with pytest.raises(InputError, match=rf"{kind['kind']} weights need a decoder .*sparsity\.decoder"):
        sim.simulate(graph, "gemmini_ibert", sparsity=str(tmp_path / "spec.toml"))


BAD = {
    "[[weights]]\npattern = '3:2'": "keeps 3 of 2",
    "[[weights]]\npattern = 'block16'\ndensity = 1.2": "nearest: 1",
    "[[weights]]\npatern = '2:4'": "did you mean 'pattern'",
    "[[weights]]\nmask = 'none.npz'": "none.npz: cannot be read: No such file",
    "[[activations]]\npattern = 'unstructured'\ndensity = 0.5\nscheme = 'gat'": "did you mean 'gate'",
    "[attention]\npattern = 'longformr'": "did you mean 'longformer'",
    "[attention]\npattern = 'window'": "pattern window needs window",
    "[attention]\npattern = 'window'\nwindow = -1": "must be a whole number >= 0",
    "[cascade]\ntokens = 0": "tokens is 0, must be a number above 0 and at most 1",
    "[[compress]]\nkind = 'codebook'\nentries = 1": "entries is 1, must be a whole number >= 2",
    "[[compress]]\nkind = 'narrow'\nbits = 7": "bits '7' is none of 2, 4",
    "[[compress]]\nkind = 'lowrank'\nrank = 3": "did you mean 'low_rank'",
    "[wights]\na = 1": "did you mean 'weights'",
    "": "holds no rule",
    "a = [": "not valid TOML",
    "attention = 3": "attention must be one table, [attention]",
    "[[attention]]\npattern = 'topk'": "attention must be one table, [attention]",
    "[attention]\npattern = ['a']": "pattern \"['a']\"",
    "cascade = 1": "cascade must be one table, [cascade]",
    "[weights]\npattern = '2:4'": "weights must be a list of tables, [[weights]]",
    "compress = 'narrow'": "compress must be a list of tables, [[compress]]",
    "precision = [1]": "precision must be a list of tables, [[precision]]",
    "[[weights]]\npattern = 'activations=2:4'": "give the pattern only; operand, scheme and operators are separate "
    "keys",
    "[[weights]]\npattern = 'other.toml'": "is a file: use the key mask for masks, and write further rules into "
    "this file",
    "[[weights]]\npattern = 'w4a8'": "use a table [[precision]] for word sizes",
    "[[weights]]\nmask = 'm.npz'\ndensity = 0.5": "a mask fixes the density; leave out density",
    "[[weights]]\nmask = 'm.npz'\nscheme = 'select'": "select needs an N:M pattern such as 2:4, not a file of masks",
    "[attention]\nwindow = 3": "no pattern (known: bigbird",
    "[cascade]\nfirst = 1": "is empty: give tokens or heads",
    "[[compress]]\nkind = 'narrow'\nbits = 4\nentries = 3": "narrow takes bits, not entries",
    "seed = -1\n[attention]\npattern = 'causal'": "seed is -1, must be a whole number >= 0",
    "[[weights]]\npattern = 'block16'": "block16 needs density (share of non-zero values), e.g. density = 0.5",
    "[[weights]]\npattern = 'block16'\ndensity = 'half'": "density is 'half', must be a number",
    "[[compress]]\nentries = 16": "no kind (known: circulant, codebook",
}


@pytest.mark.parametrize("text", BAD)
def test_bad_specifications_are_reported(text: str, tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text(text)
    with pytest.raises(InputError) as caught:
        parse(str(tmp_path / "spec.toml"))
    assert BAD[text] in str(caught.value)


def test_all_problems_of_a_file_come_at_once(tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text("\n".join(list(BAD)[:3]) + "\n[cascade]\ntokens = 2")
    with pytest.raises(InputError) as caught:
        read(tmp_path / "spec.toml")
    assert len(caught.value.problems) >= 4


def test_a_block_that_does_not_divide_and_a_rank_too_high_are_reported() -> None:
    assert "must divide both (nearest: 32)" in compress.Compression("circulant", block=33).problems(GRAPH)[0]
    found = compress.Compression("low_rank", rank=40).problems(GRAPH)
    assert found[0] == "low_rank: L0.matmul_Q, L0.matmul_K and 2 more: 32x32: rank 40 is at most 32 (nearest: 32)"
    assert len(found) == 3, "of equal shapes one problem"


def test_real_masks_by_weight_or_operator(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).random((32, 64)) < 0.3
    np.savez(tmp_path / "masks.npz", **{"L0.FF1.weight": mask})
    for line in (f"{tmp_path}/masks.npz", f"{tmp_path}/masks.npz/pack", f"{tmp_path}/masks.npz/gate@*.FF1"):
        result = sim.simulate(GRAPH, "gemmini_sparse", sparsity=line).ops.set_index("op")
        assert result.loc["L0.FF1", "macs"] == 32 * int(mask.sum())
    zeros = tmp_path / "zeros.npz"
    np.savez(zeros, **{"L0.FF1": np.eye(32)})
    gated = sim.simulate(GRAPH, "gemmini_sparse", sparsity=f"activations={zeros}").ops.set_index("op")
    assert gated.loc["L0.FF1", "scheme"] == "gate" and gated.loc["L0.FF1", "macs"] == 32 * 64
    np.savez(tmp_path / "wrong.npz", **{"L0.FF1": mask[:, :50]})
    with pytest.raises(InputError, match=r"wrong.npz: L0.FF1 has \(32, 64\) weights, .* its mask has shape \(32, 50\)"):
        sim.simulate(GRAPH, "gemmini_sparse", sparsity=f"{tmp_path}/wrong.npz")
    np.savez(tmp_path / "nan.npz", **{"L0.FF1": np.full((32, 64), np.nan)})
    with pytest.raises(InputError, match=r"nan.npz: 'L0.FF1' holds NaN or infinity"):
        sim.simulate(GRAPH, "gemmini_sparse", sparsity=f"{tmp_path}/nan.npz")


def test_activation_zeros_are_gated(tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text("[[activations]]\npattern = 'unstructured'\ndensity = 0.25\noperators='*.FF2'")
    rules = parse(str(tmp_path / "spec.toml"))
    dense, gated = (sim.simulate(GRAPH, "gemmini_sparse", sparsity=s).ops.set_index("op") for s in ("dense", rules))
    assert (dense["cycles"] == gated["cycles"]).all()
    assert gated.loc["L0.FF2", "macs"] == dense.loc["L0.FF2", "macs"] // 4
    with pytest.raises(InputError, match=r'sparsity\.gating="both"'):
        sim.simulate(GRAPH, "gemmini_ibert", overrides={"sparsity.gating": "weights"}, sparsity=rules)
