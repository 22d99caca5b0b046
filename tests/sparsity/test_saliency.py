"""Choice of the parts that pruning keeps: scores by formula, a table like the option, errors reported."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sim
from sim.base.errors import InputError
from sim.sparsity.edits import saliency
from sim.sparsity.edits.pruning import Pruning, parse, weighted
from sim.sparsity.rules import Rules
from sim.sparsity.spec_file import read
from workloads import build, encoder_layer

GRAPH = encoder_layer(seq=16, hidden=32, heads=2, ffn=64, layers=2)
READ = ("matmul_Q", "matmul_K", "matmul_V", "FF1")
WRITTEN = ("W_out", "FF2")


def matrices(graph: sim.Graph = GRAPH, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {op.inputs[1].tensor: rng.normal(size=(op.mnk[2], op.mnk[1])) for op in weighted(graph)}


def test_a_hidden_feature_scores_every_weight_that_reads_or_writes_it() -> None:
    # Oracle: the sum written out by names; rows of what reads, columns of what writes, and of the embedding tables.
    graph = build("bert-tiny", seq=16, embeddings=True, pooler=True)
    weights = matrices(graph)
    rng = np.random.default_rng(1)
    tables = {name: rng.normal(size=graph.tensors[name].shape) for name in graph.tensors if name.endswith("_table")}
    found = saliency.magnitudes(graph, weights | tables, Pruning(hidden=96))["hidden"]
    expected = sum((table**2).sum(axis=0) for table in tables.values()) + (weights["pooler.weight"] ** 2).sum(axis=1)
    for layer in range(2):
        expected = expected + sum((weights[f"L{layer}.{op}.weight"] ** 2).sum(axis=1) for op in READ)
        expected = expected + sum((weights[f"L{layer}.{op}.weight"] ** 2).sum(axis=0) for op in WRITTEN)
    assert len(tables) == 3
    np.testing.assert_allclose(found, expected)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99), kept=st.integers(1, 31))
def test_hidden_features_by_another_name_are_kept_alike(seed: int, kept: int) -> None:
    # Law: renumbering the features of all weights renumbers those that stay.
    weights, order = matrices(seed=seed), np.random.default_rng(seed).permutation(32)
    turned = {
        name: values[order] if name.split(".")[1] in READ else values[:, order] for name, values in weights.items()
    }
    pruning = Pruning(hidden=kept)
    plain, other = (
        saliency.select(GRAPH, pruning, saliency.magnitudes(GRAPH, each, pruning))["hidden"]
        for each in (weights, turned)
    )
    assert sorted(order[other]) == plain.tolist()


def spec(folder: Path, text: str) -> str:
    np.savez(folder / "scores.npz", **{f"L{i}.heads": np.array([1.0, 2.0 - 2 * i]) for i in range(2)})
    np.savez(folder / "weights.npz", allow_pickle=False, **matrices())
    (folder / "spec.toml").write_text(text)
    return str(folder / "spec.toml")


@pytest.mark.parametrize(
    ("table", "line", "scores", "weights"),
    [
        ("heads = 1\nffn = 48\nlayers = 1", "heads=1,ffn=48,layers=1", None, None),
        ("heads = 1\nscores = 'scores.npz'", "heads=1", "scores.npz", None),
        ("hidden = 24\nhead_dim = 8\nweights = 'weights.npz'", "hidden=24,head_dim=8", None, "weights.npz"),
        ("'L*.FF1.columns' = 20\nweights = 'weights.npz'", "L*.FF1.columns=20", None, "weights.npz"),
        ("L0.FF2.rows = 20\nL1.FF1.columns = 24", "L0.FF2.rows=20,L1.FF1.columns=24", None, None),
        ("layers = 1\n[[prune]]\nffn = 20\nweights = 'weights.npz'", "layers=1,ffn=20", None, "weights.npz"),
    ],
)
def test_a_table_does_what_the_option_does(
    tmp_path: Path, table: str, line: str, scores: str | None, weights: str | None
) -> None:
    requested = spec(tmp_path, f"[[prune]]\n{table}\n")
    option = parse(line, *(tmp_path / file if file else None for file in (scores, weights)))
    by_table = sim.simulate(GRAPH, "gemmini_ibert", sparsity=requested)
    by_option = sim.simulate(GRAPH, "gemmini_ibert", prune=option)
    assert by_table.rows == by_option.rows and by_table.graph == by_option.graph != GRAPH
    stay = {name: numbers.tolist() for name, numbers in by_option.case.kept.items() if name != "layers"}
    found = by_table.to_dict().get("kept", {})
    assert stay == {name: found[name] for name in stay} and bool(found) == bool(scores or weights)


def test_sweeps_take_pruning_from_both_places(tmp_path: Path) -> None:
    # Oracle: single runs. A table and the option add up; a part that both cut is refused, as a row with its error.
    requested = spec(
        tmp_path, "[[prune]]\nheads = 1\nscores = 'scores.npz'\n[[weights]]\npattern = 'block16'\ndensity = 0.5\n"
    )
    table = sim.sweep(
        ["gemmini_ibert"],
        workloads="encoder-layer",
        sizes={"seq": 16, "hidden": 32, "heads": 2, "ffn": 64, "layers": 2},
        sparsity=["block16:0.5", requested],
        prune=[None, "ffn=32", "heads=1"],
        jobs=1,
        cache=False,
    )
    lines = [(None, None), (None, "ffn=32"), (None, "heads=1"), ("heads=1", None), ("heads=1", "ffn=32")]
    for (first, second), cycles in zip(lines, table["cycles"], strict=False):
        prune = ",".join(part for part in (first, second) if part) or None
        run = sim.simulate(GRAPH, "gemmini_ibert", sparsity="block16:0.5", prune=prune)
        assert run.cycles == cycles
    assert "heads is given twice" in table["error"].iloc[-1]


def test_a_folder_kept_again_has_no_numbers_of_the_run_before(tmp_path: Path) -> None:
    scores = {f"L{i}.heads": np.array([1.0, 2.0]) for i in range(2)}
    for pruning in (Pruning(heads=1, scores=scores), Pruning(heads=1)):
        sim.simulate(GRAPH, "gemmini_ibert", prune=pruning).save(tmp_path)
        assert (tmp_path / "kept.npz").exists() == (pruning.scores is not None)


BAD = {
    "heds = 1": "prune 1: unknown part 'heds' (did you mean 'heads'?)",
    "L0.FF1.column = 1": "unknown part 'L0.FF1.column' (did you mean 'L0.FF1.columns'?)",
    "heads = 'two'": "heads is 'two', must be a whole number >= 1",
    "ffn = 0": "ffn is 0, must be a whole number >= 1 (nearest: 1)",
    "layers = true": "layers is True, must be a whole number >= 1",
    "scores = 'scores.npz'": "is empty: give",
    "heads = 1\nscores = 3": "scores is 3, must be text in quotes",
    "heads = 1\nscores = 'none.npz'": "none.npz: cannot be read: No such file",
    "heads = 1\nweights = 'spec.toml'": "spec.toml: cannot be read as arrays",
    "heads = 1\nscores = 'scores.npz'\nweights = 'weights.npz'": "give either a file of scores",
    "heads = 1\n[[prune]]\nheads = 1": "heads is given twice; --prune and all [[prune]] tables count together",
}


@pytest.mark.parametrize("text", BAD)
def test_a_wrong_table_is_reported(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError) as caught:
        read(Path(spec(tmp_path, f"[[prune]]\n{text}\n")))
    assert BAD[text] in str(caught.value)


def test_all_problems_of_tables_come_at_once(tmp_path: Path) -> None:
    text = "[[prune]]\nheds = 1\nffn = 0\nscores = 'none.npz'\n[[prune]]\nlayers = 'x'\n[[weights]]\npattern = '3:2'\n"
    with pytest.raises(InputError) as caught:
        read(Path(spec(tmp_path, text)))
    assert len(caught.value.problems) == 5
    (tmp_path / "spec.toml").write_text("[prune]\nheads = 1\n")
    with pytest.raises(InputError, match=r"prune must be a list of tables, \[\[prune\]\]"):
        read(tmp_path / "spec.toml")


@pytest.mark.parametrize(
    ("pruning", "message"),
    [
        (Pruning(hidden=9, weights={}), "'L0.matmul_Q.weight', 'L0.matmul_K.weight' and 10 more missing"),
        (
            Pruning(hidden=9, weights=dict.fromkeys(matrices(), np.ones((3, 3)))),
            "L0.matmul_Q.weight, L0.matmul_K.weight and 6 more: shape (3, 3), encoder-layer takes (32, 32)",
        ),
        (Pruning(ffn=9, weights=matrices() | {"L1.FF1.weight": np.full((32, 64), np.nan)}), "no finite numbers"),
        (Pruning(hidden=9, scores={"hiden": np.ones(32)}), "no scores 'hidden' (did you mean 'hiden'?)"),
        (Pruning(hidden=9, scores={"hidden": np.ones(31)}), "'hidden' must be 32 finite numbers, has shape (31,)"),
        (
            Pruning(hidden=33, scores={"hidden": np.ones(32)}),
            "hidden=33, but encoder-layer has 32 (nearest: hidden=32)",
        ),
        (
            Pruning(heads=1, scores={"L0.heads": np.array(["a", "b"])}),
            "must be 2 finite numbers, has shape (2,), type <U1",
        ),
    ],
)
def test_scores_that_do_not_fit_are_reported(pruning: Pruning, message: str) -> None:
    with pytest.raises(InputError) as caught:
        sim.simulate(GRAPH, "gemmini_ibert", prune=pruning)
    assert message in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", b"no array"])
def test_a_damaged_file_is_reported(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "scores.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"scores.npz: cannot be read as arrays"):
        parse("heads=1", tmp_path / "scores.npz")


def test_rules_that_only_prune_leave_the_weights_dense(tmp_path: Path) -> None:
    rules = read(Path(spec(tmp_path, "[[prune]]\nffn = 32\n")))
    assert isinstance(rules, Rules) and str(rules) == "prune ffn=32"
    assert set(sim.simulate(GRAPH, "gemmini_ibert", sparsity=rules).ops["density"].dropna()) == {1.0}


@pytest.mark.parametrize("line", ["attention=topk:0.25/pack", "pruned"])
def test_a_kept_run_says_how_to_do_it_again(tmp_path: Path, line: str) -> None:
    # What --sparsity edits in the graph must not be edited twice, what it prunes by weights not be looked for again.
    requested = spec(tmp_path, "[[prune]]\nhidden = 24\nweights = 'weights.npz'\n") if line == "pruned" else line
    first = sim.simulate(GRAPH, "gemmini_sparse", sparsity=requested)
    first.save(tmp_path / "run")
    command = json.loads((tmp_path / "run" / "run.json").read_text())["reproduce"].split()
    assert command[:2] == ["carat", "run"] and command[-2:] == ["--sparsity", requested]
    again = sim.simulate(command[2], command[4], sparsity=requested)
    assert again.rows == first.rows
