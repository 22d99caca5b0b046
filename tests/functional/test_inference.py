"""A trained encoder from a folder: close to float where the machine's arithmetic allows it, wrong input refused."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from sim import hardware, simulate
from sim.base.errors import InputError
from sim.cli.app import app
from sim.functional import masks, tokens
from sim.functional.inference import Model, Numerics, block_mask, infer
from sim.functional.quantization import floors
from sim.graph.kinds.elementwise import gelu
from sim.graph.kinds.rows import layernorm, softmax
from sim.sparsity import spec as sparsity
from sim.sparsity.spec import parse
from workloads import checkpoint
from workloads.checkpoint import graph as checkpoint_graph
from workloads.checkpoint.model import wanted_tensors

SIZES = {"layers": 2, "hidden": 64, "heads": 2, "ffn": 128, "vocabulary": 100, "positions": 40}


def write_safetensors(path, tensors):
    header, at = {}, 0
    for name, values in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [at, at + values.size * 4]}
        at += values.size * 4
    text = json.dumps(header).encode()
    body = b"".join(np.ascontiguousarray(values, "<f4").tobytes() for values in tensors.values())
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


def model_tensors(kind, seed=0):
    """Random weights under the names of the published models."""
    rng = np.random.default_rng(seed)
    wanted = wanted_tensors(kind, {**SIZES, "token_types": 2 if kind == "bert" else 0})
    tensors = {}
    for name, (source, shape, _) in wanted.items():
        gain = ("norm" in name and name.endswith("weight")) * 1.0
        spread = 1 / np.sqrt(shape[-1]) if len(shape) == 2 else 0.1
        tensors[f"{kind}.{source}"] = (gain + spread * rng.standard_normal(shape)).astype(np.float32)
    return tensors


def write_model(folder, kind="bert", tensors=None, **config):
    folder.mkdir(exist_ok=True)
    sizes = {key: SIZES[name] for name, key in checkpoint.CONFIG_KEYS[kind].items() if name in SIZES}
    content = {"model_type": kind, "type_vocab_size": 2, **sizes, **config}
    (folder / "config.json").write_text(json.dumps(content))
    write_safetensors(folder / "model.safetensors", model_tensors(kind) if tensors is None else tensors)
    return folder


def run(folder, hw, count=24, length=None, wide_scores=False, full_sums=True, words=(), **engines):
    model = checkpoint.load(folder)
    given = tokens.inputs(model, tokens.read_tokens(f"random:{count}", model.vocabulary, model.positions), length)
    chosen = checkpoint_graph.Engines(**engines)
    takes_norm = "layernorm" in hw.array_operators  # as `sim.cli.infer.prepare`
    form = checkpoint_graph.Form(bool(length), wide_scores, full_sums, float_norm=takes_norm)
    graph, weights = checkpoint_graph.graph_and_weights(model, length or count, chosen, form)
    given |= weights
    ready = Model(graph, given, model.epsilon, model.head_dim, checkpoint_graph.encoded(model))
    return infer(ready, hw, tokens=count, numerics=Numerics(words=words))


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
@pytest.mark.parametrize("name", ["gemmini_default", "gemmini_ibert"])
def test_integer_inference_follows_float(tmp_path, kind, name):
    # a tensor of normal values spread over 127 steps of its largest (about 4 sigma) has 1 % of rounding noise; some
    # twenty roundings in a row, in quadrature, stay below 8 %
    result = run(write_model(tmp_path / "model", kind), hardware.load(name))
    assert 0 < result.error < 0.08
    assert result.cosine > 0.995
    assert result.overflows == 0
    assert result.cycles == sum(op.cycles for op in result.ops)


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("gemmini_fp32_4x4", 1e-5),
        ("gemmini_chip_fp32", 1e-5),
        ("gemmini_fp16_4x4", 2e-3),
        ("gemmini_bf16_4x4_ws", 2e-2),
    ],
)
def test_a_floating_point_machine_is_float(tmp_path, name, most):
    # float32 throughout: only the order of sums differs from numpy's; with 11 and 8 significant bits a rounding is off
    # by 2**-12 and 2**-9 of a value in the mean, of which some tens add up in quadrature
    hw = hardware.load(name)
    full = hw.accumulator.read_full_width  # the chip's accumulator gives no full rows, and scales nothing
    result = run(write_model(tmp_path / "model"), hw, count=9, full_sums=full)
    assert most / 100 < result.error < most


def test_the_integer_gelu_costs_resolution_but_never_overflows(tmp_path):
    folder, hw = write_model(tmp_path / "model"), hardware.load("gemmini_ibert")
    fused, apart, exact = (run(folder, hw, gelu=who) for who in ("fused", "array", "host"))
    assert {op.kind for op in fused.ops} >= {"matmul+gelu", "matmul+softmax"}
    assert fused.overflows == apart.overflows == 0
    # behind the matmul the weights give way to int32; in a pass of its own nothing does: one more rounding to int8
    assert exact.error < fused.error < 0.5
    assert apart.error < 1.3 * exact.error
    assert fused.cycles < apart.cycles < exact.cycles


def test_the_whole_encoder_runs_on_the_array(tmp_path):
    folder, hw = write_model(tmp_path / "model"), hardware.load("gemmini_ibert")
    exact = run(folder, hw)
    whole = run(folder, hw, gelu="array", layernorm="array", embeddings="array")
    assert {op.kind for op in whole.ops if op.engine == "host"} == {"embedding"}
    assert (whole.overflows, whole.error < 1.5 * exact.error) == (0, True)
    assert whole.cycles < exact.cycles / 5
    # what only widens or scales is no weight of the model
    assert sorted(whole.masks) == sorted(exact.masks)
    by_name = {op.name: op for op in whole.ops}
    assert by_name["L0.layernorm1"].engine == "array"
    assert by_name["L0.layernorm1.gain"].nonzero_blocks is None


@pytest.mark.parametrize("name", ["gemmini_ibert", "gemmini_default", "gemmini_fp32_4x4"])
def test_padding_changes_nothing_but_cycles(tmp_path, name):
    folder, hw = write_model(tmp_path / "model"), hardware.load(name)
    wide = "softmax" not in hw.array_operators
    plain, padded = run(folder, hw, 9, wide_scores=wide), run(folder, hw, 9, 24, wide_scores=wide)
    assert padded.output.shape == plain.output.shape == (9, 64)
    # float: exp(-10000) is 0; what padding does to integers is to widen scales
    np.testing.assert_allclose(padded.reference, plain.reference, rtol=1e-4, atol=1e-5)
    assert padded.error < max(1.5 * plain.error, 1e-5)
    assert padded.overflows == 0
    assert padded.cycles > plain.cycles


@pytest.mark.parametrize("name", ["gemmini_ibert", "gemmini_l2"])
def test_products_take_the_cycles_that_the_simulator_tells(tmp_path, name):
    # one timing core, the same streams: only residual adds differ, whose scales are real ones here
    folder, hw = write_model(tmp_path / "model"), hardware.load(name)
    model = checkpoint.load(folder)
    results = simulate(checkpoint_graph.graph(model, 24), hw, cache=False).rows
    first = next(number for number, row in enumerate(results) if row["op"] == "L0.residual_add1")
    found = run(folder, hw).ops
    assert found[first].name == "L0.residual_add1"
    assert [op.cycles for op in found[:first]] == [row["cycles"] for row in results[:first]]


def test_scale_floors_are_the_edge_of_int32():
    assert 128 * floors.EXP0 / floors.softmax(128) ** 2 < 2**31 < 128 * floors.EXP0 / (0.9 * floors.softmax(128)) ** 2
    assert floors.gelu(8.0) == pytest.approx(2 * floors.gelu(1.0))
    assert 2 * 1000.0 / floors.variance(1000.0) ** 2 < 2**31 < 2 * 1000.0 / (0.9 * floors.variance(1000.0)) ** 2


def test_host_operators_are_the_textbook_ones():
    x = np.linspace(-4, 4, 41, dtype=np.float32)
    from math import erf, sqrt

    np.testing.assert_allclose(gelu(x), [v / 2 * (1 + erf(v / sqrt(2))) for v in x], atol=1e-6)
    np.testing.assert_allclose(softmax(x[None]).sum(), 1, rtol=1e-6)
    normed = layernorm(x[None], np.ones(41), np.zeros(41), 0.0)
    assert abs(normed.mean()) < 1e-6
    assert normed.std() == pytest.approx(1, rel=1e-5)


def test_measured_masks_feed_the_simulator(tmp_path):
    tensors = model_tensors("bert")
    pruned = "bert.encoder.layer.0.intermediate.dense.weight"
    tensors[pruned][:64] = 0  # half of the FFN's neurons
    result = run(write_model(tmp_path / "model", tensors=tensors), hardware.load("gemmini_ibert"))
    assert result.masks["L0.FF1"].mean() == 0.5
    np.savez(tmp_path / "masks.npz", **result.masks)
    measured = masks.load(tmp_path / "masks.npz", 16)
    sizes = {"seq": 24, "hidden": 64, "heads": 2, "ffn": 128, "layers": 2}
    dense = simulate("encoder-layer", "gemmini_ibert", **sizes)
    sparse = simulate("encoder-layer", "gemmini_ibert", sparsity=measured, **sizes)
    assert dense.totals["macs"] - sparse.totals["macs"] == 24 * 64 * 64
    with pytest.raises(InputError, match="its mask"):
        simulate("encoder-layer", "gemmini_ibert", sparsity=measured, **{**sizes, "ffn": 256})


def test_a_block_with_anything_in_it_is_kept():
    weights = np.zeros((33, 20), np.int8)
    weights[32, 19] = 1
    np.testing.assert_array_equal(block_mask(weights, 16), [[0, 0], [0, 0], [0, 1]])


def test_the_command_reports_everything(tmp_path):
    folder, out = write_model(tmp_path / "model"), tmp_path / "out"
    line = ["infer", str(folder), "--tokens", "1,2,3,99", "--json", "-o", str(out)]
    done = CliRunner().invoke(app, line)
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    totals = report["totals"]
    assert totals["tokens"] == 4
    assert totals["cycles"] == totals["array_cycles"] + totals["host_cycles"]
    assert np.load(out / "output.npy").shape == (4, 64)
    assert json.loads((out / "infer.json").read_text()) == report
    assert sorted(path.name for path in out.iterdir()) == ["infer.json", "masks.npz", "output.npy"]
    for name, line in report["sparsity"].items():  # as `carat run --sparsity` reads them
        (read,) = sparsity.parse(line).zeros
        assert (read.block, read.names) == (16, name)
        assert read.density == pytest.approx(np.load(out / "masks.npz")[name].mean(), rel=1e-5)
    sequences = tmp_path / "ids.txt"
    sequences.write_text("1 2 3\n5,6,7,8\n")
    plain = CliRunner().invoke(app, ["infer", str(folder), "--tokens", str(sequences), "--calibrate", str(sequences)])
    assert plain.exit_code == 0, plain.output
    assert "against float" in plain.output


BROKEN = {
    "missing": (lambda t: t.pop("bert.encoder.layer.1.output.dense.weight"), "is missing"),
    "shape": (lambda t: t.update({"bert.embeddings.LayerNorm.bias": np.zeros(63, np.float32)}), r"shape \(63,\)"),
    "nan": (lambda t: t["bert.encoder.layer.0.output.dense.bias"].fill(np.nan), "64 values that are not finite"),
    "huge": (lambda t: t["bert.encoder.layer.1.intermediate.dense.bias"].fill(1e37), "at most 1.1e.12"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_weights_are_named(tmp_path, what):
    tensors = model_tensors("bert")
    breaks, message = BROKEN[what]
    breaks(tensors)
    with pytest.raises(InputError, match=message):
        checkpoint.load(write_model(tmp_path / "model", tensors=tensors))


def test_all_problems_come_at_once(tmp_path):
    tensors = model_tensors("bert")
    for breaks, _ in BROKEN.values():
        breaks(tensors)
    with pytest.raises(InputError) as refused:
        checkpoint.load(write_model(tmp_path / "model", tensors=tensors))
    assert len(refused.value.problems) == 4


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "brt"}, "did you mean 'bert'"),
        ({"hidden_act": "relu"}, "is not GELU"),
        ({"num_attention_heads": 7}, "do not split into 7 heads"),
        ({"num_hidden_layers": 0}, "whole number >= 1"),
        ({"position_embedding_type": "relative_key"}, "only 'absolute'"),
        ({"layer_norm_eps": "small"}, "layer_norm_eps is 'small'"),
    ],
)
def test_unknown_architectures_are_refused(tmp_path, config, message):
    with pytest.raises(InputError, match=message):
        checkpoint.load(write_model(tmp_path / "model", **config))


def test_damaged_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        checkpoint.load(tmp_path / "nowhere")
    folder = write_model(tmp_path / "model")
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    for content, message in (
        (whole[:-4], "data_offsets"),
        (b"\xff" * 32, "no safetensors"),
        (whole[:4], "no safetensors"),
        ((2).to_bytes(8, "little") + b"[]", "no JSON object"),
    ):
        weights.write_bytes(content)
        with pytest.raises(InputError, match=message):
            checkpoint.load(folder)
    (folder / "model.safetensors.index.json").write_text('{"weight_map": []}')
    with pytest.raises(InputError, match="name the file of each tensor"):
        checkpoint.load(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        checkpoint.load(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,x", "'x'"),
        ("5,100", "beyond the vocabulary of 100"),
        ("random:41", "1 to 40"),
        ("1," * 41, "41 ids"),
        ("9" * 5001, "beyond the vocabulary"),
        ("random:" + "9" * 5001, "1 to 40"),
    ],
)
def test_bad_tokens_are_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        tokens.read_tokens(text, 100, 40)
    line = ["infer", str(write_model(tmp_path / "model")), "--tokens", text]
    assert isinstance(CliRunner().invoke(app, line).exception, InputError)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pad-to", "3", "--tokens", "1,2,3,4"], "nearest: 4"),
        (["--pad-to", "41", "--tokens", "1,2"], "nearest: 40"),
        (["--integer", "--hw", "gemmini_default"], "no unit for it"),
        (["--layernorm", "array", "--hw", "gemmini_fp32_4x4"], "nearest: host"),
        (["--pad-to", "9", "--tokens", "1,2", "--hw", "gemmini_lean"], "int8 cannot represent an attention mask"),
        (["--text", "hello"], "text needs vocab.txt"),
        (["--text", "hello", "--tokens", "1"], "exclude each other"),
    ],
)
def test_impossible_requests_are_refused(tmp_path, options, message):
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["infer", str(write_model(tmp_path / "model")), "-o", str(out), *options])
    assert isinstance(done.exception, InputError)
    assert re.search(message, str(done.exception))
    assert not list(out.iterdir())


def test_a_full_disk_keeps_what_was_there(tmp_path, monkeypatch):
    folder, out = write_model(tmp_path / "model"), tmp_path / "out"
    line = ["infer", str(folder), "--tokens", "1,2", "-o", str(out)]
    assert CliRunner().invoke(app, line).exit_code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    line[3] = "5,6"
    assert "No space left" in str(CliRunner().invoke(app, line).exception)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_word_sizes_of_the_array_s_own_type_change_nothing(tmp_path):
    # Law: w8a8 on an array of int8 is what it would run anyway, numbers and cycles.
    folder, hw = write_model(tmp_path / "model"), hardware.load("gemmini_decomposable")
    plain, same = run(folder, hw), run(folder, hw, words=parse("w8a8").precisions)
    np.testing.assert_array_equal(same.output, plain.output)
    assert [op.cycles for op in same.ops] == [op.cycles for op in plain.ops]


@pytest.mark.parametrize("name", ["gemmini_decomposable", "gemmini_bitserial", "gemmini_widening"])
def test_fewer_bits_cost_accuracy_in_their_order(tmp_path, name):
    # Bound: a step of 4 bits is 16 of 8 bits, so a product of int4 weights is off by about 16 times the rounding noise.
    folder, hw = write_model(tmp_path / "model"), hardware.load(name)
    engines = {"gelu": "array", "layernorm": "array", "embeddings": "array"}
    lines = ((), parse("w4a8").precisions, parse("w4a4").precisions)
    whole, weights, both = (run(folder, hw, words=words, **engines) for words in lines)
    assert whole.error < 0.1 and 2 * whole.error < weights.error < 16 * whole.error < 1.5
    assert weights.error < both.error < 1.5
    products = ("L0.FF1", "L0.FF2", "L0.W_out")
    cycles = [sum(op.cycles for op in one.ops if op.name in products) for one in (whole, weights, both)]
    if name == "gemmini_decomposable":  # PEs that split: 2 and 4 times the rate, less what fills and drains them
        assert cycles[0] > cycles[1] > cycles[2]
    assert {op.name for op in whole.ops} == {op.name for op in both.ops}


def test_narrow_products_take_the_cycles_that_the_simulator_tells(tmp_path):
    folder, hw = write_model(tmp_path / "model"), hardware.load("gemmini_decomposable")
    results = simulate(
        checkpoint_graph.graph(checkpoint.load(folder), 24), hw, cache=False, sparsity=parse("w4a8")
    ).rows
    first = next(number for number, row in enumerate(results) if row["op"] == "L0.residual_add1")
    found = run(folder, hw, words=parse("w4a8").precisions).ops
    assert [op.cycles for op in found[:first]] == [row["cycles"] for row in results[:first]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sparsity", "2:4"], "carat infer takes word sizes only.*nearest: w4a8"),
        (["--sparsity", "w4a8"], "gemmini_ibert .fixed int8 PEs. multiplies int8"),
        (["--sparsity", "w4a8", "--hw", "gemmini_fp32_4x4"], "array of integers .nearest: --hw gemmini_decomposable"),
        (["--sparsity", "w4a8@*.FF9", "--hw", "gemmini_decomposable"], "no matmul of .* is named '..FF9'"),
        (["--sparsity", "w3a8"], "int3 is none of int2, int4"),
    ],
)
def test_word_sizes_that_cannot_be_are_refused(tmp_path, options, message):
    line = ["infer", str(write_model(tmp_path / "model")), "--tokens", "1,2,3"]
    done = CliRunner().invoke(app, [*line, *options])
    assert isinstance(done.exception, InputError), done.output
    assert re.search(message, str(done.exception))
