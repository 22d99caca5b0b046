"""Decoders and RoBERTa from a folder: the graph against an independent forward pass, integers against float."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from functional.test_inference import SIZES, model_tensors, write_model, write_safetensors
from typer.testing import CliRunner

from sim import hardware
from sim.base.errors import InputError
from sim.base.safetensors import read
from sim.cli.app import app
from sim.cli.infer import prepare
from sim.functional import host, tokens
from sim.functional.inference import start
from sim.functional.quantization.recipe import Recipe
from sim.functional.verdict import perplexity
from workloads import checkpoint
from workloads.checkpoint.graph import Engines, encoded, graph_and_weights

HIDDEN, HEADS, KV, FFN, WORDS, LAYERS = 48, 6, 2, 96, 70, 2
SIZE = HIDDEN // HEADS
IDS = [int(n) for n in np.random.default_rng(5).integers(0, WORDS, 14)]


def matrix(rng, *shape):
    return (rng.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)


def gpt2(folder):
    """Random weights as GPT-2 stores them: [in, out], Q, K and V side by side; one feature is 30 times the others."""
    rng = np.random.default_rng(0)
    tensors = {
        "transformer.wte.weight": matrix(rng, WORDS, HIDDEN) * 4,
        "transformer.wpe.weight": matrix(rng, 32, HIDDEN),
    }
    for layer in range(LAYERS):
        at = f"transformer.h.{layer}."
        sizes = {"attn.c_attn": (HIDDEN, 3 * HIDDEN), "attn.c_proj": (HIDDEN, HIDDEN)}
        sizes |= {"mlp.c_fc": (HIDDEN, FFN), "mlp.c_proj": (FFN, HIDDEN)}
        for name, shape in sizes.items():
            tensors[f"{at}{name}.weight"] = matrix(rng, *shape)
            tensors[f"{at}{name}.bias"] = 0.1 * matrix(rng, shape[1])
        for name in ("ln_1", "ln_2"):
            tensors[f"{at}{name}.weight"] = (1 + 0.1 * rng.standard_normal(HIDDEN)).astype(np.float32)
            tensors[f"{at}{name}.bias"] = 0.1 * matrix(rng, HIDDEN)
        tensors[f"{at}mlp.c_proj.weight"][:, 5] *= 30
    tensors["transformer.ln_f.weight"] = np.ones(HIDDEN, np.float32)
    tensors["transformer.ln_f.bias"] = np.zeros(HIDDEN, np.float32)
    config = {"model_type": "gpt2", "n_layer": LAYERS, "n_embd": HIDDEN, "n_head": HEADS, "vocab_size": WORDS}
    return save(folder, tensors, {**config, "n_positions": 32, "n_inner": FFN, "layer_norm_epsilon": 1e-5})


def llama(folder):
    """Random weights as LLaMA stores them: [out, in], three queries to a key."""
    rng = np.random.default_rng(1)
    tensors = {
        "model.embed_tokens.weight": matrix(rng, WORDS, HIDDEN) * 4,
        "lm_head.weight": matrix(rng, WORDS, HIDDEN),
    }
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        sizes = {"self_attn.q_proj": (HIDDEN, HIDDEN), "self_attn.o_proj": (HIDDEN, HIDDEN)}
        sizes |= dict.fromkeys(("self_attn.k_proj", "self_attn.v_proj"), (KV * SIZE, HIDDEN))
        sizes |= {"mlp.gate_proj": (FFN, HIDDEN), "mlp.up_proj": (FFN, HIDDEN), "mlp.down_proj": (HIDDEN, FFN)}
        for name, shape in sizes.items():
            tensors[f"{at}{name}.weight"] = np.ascontiguousarray(matrix(rng, *shape[::-1]).T)
        for name in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{at}{name}.weight"] = (1 + 0.1 * rng.standard_normal(HIDDEN)).astype(np.float32)
        tensors[f"{at}mlp.down_proj.weight"][7] *= 30
    tensors["model.norm.weight"] = np.ones(HIDDEN, np.float32)
    config = {"model_type": "llama", "num_hidden_layers": LAYERS, "hidden_size": HIDDEN, "num_attention_heads": HEADS}
    config |= {"num_key_value_heads": KV, "intermediate_size": FFN, "vocab_size": WORDS, "rope_theta": 5000.0}
    return save(folder, tensors, {**config, "max_position_embeddings": 32, "rms_norm_eps": 1e-6})


def gpt_neo(folder):
    """GPT-2's model as GPT-Neo stores it: [out, in], Q, K and V apart and without a bias, scores not divided."""
    folder, _ = gpt2(folder)
    config, tensors = json.loads((folder / "config.json").read_text()), read(folder / "model.safetensors")
    found, same = {}, {}
    for name, values in tensors.items():
        if ".c_attn." in name:
            for letter, part in zip("qkv", np.split(values, 3, axis=-1), strict=True):
                if name.endswith("weight"):
                    unscaled = part.T / np.sqrt(SIZE) if letter == "q" else part.T
                    found[name.replace("attn.c_attn", f"attn.attention.{letter}_proj")] = unscaled
            same[name] = values if name.endswith("weight") else np.zeros_like(values)
            continue
        renamed = name.replace("attn.c_proj", "attn.attention.out_proj")
        found[renamed] = values.T if ".c_" in name and values.ndim == 2 else values
        same[name] = values
    sizes = {"num_layers": LAYERS, "hidden_size": HIDDEN, "num_heads": HEADS, "vocab_size": WORDS}
    sizes |= {"intermediate_size": FFN, "max_position_embeddings": 32, "window_size": 20}
    kind = {"model_type": "gpt_neo", "attention_types": [[["global", "local"], 1]]}
    save(folder, found, {**kind, **sizes, "layer_norm_epsilon": config["layer_norm_epsilon"]})
    return folder, {name: values.astype(np.float64) for name, values in same.items()}


def gemma(folder):
    """LLaMA's model as Gemma stores it: gains less 1, embeddings before they are multiplied, the head tied to them."""
    folder, _ = llama(folder)
    config, tensors = json.loads((folder / "config.json").read_text()), read(folder / "model.safetensors")
    table = tensors["lm_head.weight"]
    same = {**tensors, "model.embed_tokens.weight": table * np.sqrt(HIDDEN)}
    found = {name: values - 1 if "norm" in name else values for name, values in tensors.items()}
    del found["lm_head.weight"]
    more = {"model_type": "gemma", "head_dim": SIZE, "hidden_activation": "silu"}
    save(folder, {**found, "model.embed_tokens.weight": table}, {**config, **more})
    return folder, {name: values.astype(np.float64) for name, values in same.items()}


def qwen3(folder):
    """LLaMA's model with an RMSNorm of each head's Q and K."""
    folder, _ = llama(folder)
    config, tensors = json.loads((folder / "config.json").read_text()), read(folder / "model.safetensors")
    rng = np.random.default_rng(3)
    for layer in range(LAYERS):
        for letter in "qk":
            gain = 1 + 0.3 * rng.standard_normal(SIZE)
            tensors[f"model.layers.{layer}.self_attn.{letter}_norm.weight"] = gain.astype(np.float32)
    return save(folder, tensors, {**config, "model_type": "qwen3", "head_dim": SIZE})


def save(folder, tensors, config):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    write_safetensors(folder / "model.safetensors", tensors)
    return folder, {name: values.astype(np.float64) for name, values in tensors.items()}


def attend(q, k, v):
    """Causal attention [heads, tokens, size], written as the textbook has it."""
    scores = q @ k.transpose(0, 2, 1) / np.sqrt(SIZE)
    scores[:, np.triu(np.ones(scores.shape[1:], bool), 1)] = -np.inf
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    context = shares / shares.sum(-1, keepdims=True) @ v
    return context.transpose(1, 0, 2).reshape(len(IDS), -1)


def heads(x):
    return x.reshape(len(IDS), -1, SIZE).transpose(1, 0, 2)


def forward_gpt2(w):
    def norm(x, name):
        off = x - x.mean(-1, keepdims=True)
        return off / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]

    x = w["transformer.wte.weight"][IDS] + w["transformer.wpe.weight"][: len(IDS)]
    for layer in range(LAYERS):
        at = f"transformer.h.{layer}."

        def dense(y, name, at=at):
            return y @ w[f"{at}{name}.weight"] + w[f"{at}{name}.bias"]

        q, k, v = map(heads, np.split(dense(norm(x, at + "ln_1"), "attn.c_attn"), 3, axis=1))
        x = x + dense(attend(q, k, v), "attn.c_proj")
        y = dense(norm(x, at + "ln_2"), "mlp.c_fc")
        x = x + dense(y / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (y + 0.044715 * y**3))), "mlp.c_proj")
    return norm(x, "transformer.ln_f") @ w["transformer.wte.weight"].T


def forward_llama(w):
    def norm(x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6) * w[f"{name}.weight"]

    angles = np.arange(len(IDS))[:, None] * 5000.0 ** (-np.arange(0, SIZE, 2) / SIZE)

    def turn(x):
        first, second = np.split(x, 2, axis=-1)
        turned = (first + 1j * second) * np.exp(1j * angles)
        return np.concatenate([turned.real, turned.imag], axis=-1)

    x = w["model.embed_tokens.weight"][IDS]
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        y = norm(x, at + "input_layernorm")
        q, k, v = (heads(y @ w[f"{at}self_attn.{n}_proj.weight"].T) for n in "qkv")
        if f"{at}self_attn.q_norm.weight" in w:
            q, k = norm(q, f"{at}self_attn.q_norm"), norm(k, f"{at}self_attn.k_norm")
        k, v = (np.repeat(part, HEADS // KV, axis=0) for part in (turn(k), v))
        x = x + attend(turn(q), k, v) @ w[f"{at}self_attn.o_proj.weight"].T
        y = norm(x, at + "post_attention_layernorm")
        gate, up = (y @ w[f"{at}mlp.{n}_proj.weight"].T for n in ("gate", "up"))
        x = x + (gate / (1 + np.exp(-gate)) * up) @ w[f"{at}mlp.down_proj.weight"].T
    return norm(x, "model.norm") @ w["lm_head.weight"].T


@pytest.mark.parametrize(
    ("write", "forward"),
    [
        (gpt2, forward_gpt2),
        (gpt_neo, forward_gpt2),
        (llama, forward_llama),
        (gemma, forward_llama),
        (qwen3, forward_llama),
    ],
)
def test_a_decoder_in_float_is_the_textbook_s(tmp_path, write, forward):
    folder, weights = write(tmp_path / "model")
    model = checkpoint.load(folder)
    layers, more = graph_and_weights(model, len(IDS))
    given = {**tokens.inputs(model, IDS), **more}
    values = host.forward(layers, given, model.epsilon, model.head_dim)
    np.testing.assert_allclose(values["logits"], forward(weights), rtol=1e-3, atol=1e-3)
    assert not model.unused


def test_a_local_window_limits_the_tokens(tmp_path):
    folder, _ = gpt_neo(tmp_path / "model")
    assert checkpoint.load(folder).positions == 20


@pytest.mark.parametrize("write", [gpt2, llama, qwen3])
def test_the_report_of_a_decoder_in_integers_is_near_to_float(tmp_path, write):
    folder, _ = write(tmp_path / "model")
    line = ["infer", str(folder), "--tokens", ",".join(map(str, IDS)), "--json"]
    done = CliRunner().invoke(app, line)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["totals"]["cosine"] > 0.99
    # how often decisions agree is bounded in test_decisions.py
    both = zip(found["head"]["decisions"], found["head"]["float_decisions"], strict=True)
    assert found["head"]["same_decisions"] == sum(one == two for one, two in both)
    assert found["head"]["perplexity"] == pytest.approx(found["head"]["float_perplexity"], rel=0.05)


def test_the_vector_unit_computes_what_the_host_does(tmp_path):
    """Activation and gate are one step of the unit: the same operators on the same values, in fewer cycles."""
    folder, _ = llama(tmp_path / "model")
    line = ["infer", str(folder), "--tokens", ",".join(map(str, IDS)), "--json"]
    on_host, on_unit = (
        json.loads(CliRunner().invoke(app, [*line, *more]).stdout) for more in ([], ["--set", "vector.lanes=16"])
    )
    assert on_unit["totals"]["cosine"] == on_host["totals"]["cosine"]
    assert on_unit["totals"]["cycles"] < on_host["totals"]["cycles"]
    assert {op["engine"] for op in on_unit["ops"]} >= {"array", "vector"}


def test_all_words_alike_are_as_perplexing_as_their_number():
    assert perplexity(np.zeros((4, 9)), [1, 2, 3, 4]) == pytest.approx(9)
    assert perplexity(np.zeros((1, 9)), [1]) is None


@pytest.mark.parametrize(
    ("write", "kinds"),
    [
        (gpt2, {"layernorm": 5, "gelu_tanh": 2}),
        (llama, {"rmsnorm": 5, "silu": 2, "rope": 4, "multiply": 2}),
    ],
)
def test_what_stays_on_the_host_of_a_decoder_is_named_and_priced(tmp_path, write, kinds):
    folder, _ = write(tmp_path / "model")
    done = CliRunner().invoke(app, ["infer", str(folder), "--tokens", "1,2", "--integer", "--json"])
    assert done.exit_code == 0, done.output
    totals = json.loads(done.stdout)["totals"]
    on_host = totals["on_host"]
    assert {kind: on_host[kind]["operators"] for kind in kinds} == kinds
    assert all(entry["cycles"] > 0 for entry in on_host.values())
    assert sum(entry["cycles"] for entry in on_host.values()) == totals["host_cycles"]
    assert not on_host.keys() & {"matmul", "softmax"}


def test_a_decoder_s_norms_are_refused_on_the_array(tmp_path):
    folder, _ = gpt2(tmp_path / "model")
    done = CliRunner().invoke(app, ["infer", str(folder), "--tokens", "1,2", "--layernorm", "array"])
    assert isinstance(done.exception, InputError)
    assert "norms and activations of decoders run on the host" in str(done.exception)


def chosen(folder, prompt, count):
    line = ["infer", str(folder), "--tokens", ",".join(map(str, prompt)), "--generate", str(count), "--json"]
    done = CliRunner().invoke(app, line)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)["generated"]


@pytest.mark.parametrize(("write", "forward"), [(gpt2, forward_gpt2), (llama, forward_llama)])
def test_a_decoder_chooses_tokens_one_after_the_other(tmp_path, monkeypatch, write, forward):
    """What float chooses behind the same tokens is what the textbook's forward pass says of them."""
    folder, weights = write(tmp_path / "model")
    found = chosen(folder, IDS[:6], 5)
    ids = IDS[:6]
    for token, wanted in zip(found["tokens"], found["float_choices"], strict=True):
        monkeypatch.setitem(forward.__globals__, "IDS", ids)
        assert int(forward(weights)[-1].argmax()) == wanted
        ids = [*ids, token]
    assert found["same"] == sum(one == two for one, two in zip(found["tokens"], found["float_choices"], strict=True))
    # another length of the padded graph sees the same tokens: nothing behind a token changes it
    assert chosen(folder, IDS[:6], 2)["tokens"] == found["tokens"][:2]


@pytest.mark.parametrize("write", [gpt2, llama])
@pytest.mark.parametrize("hw", ["gemmini_ibert", "gemmini_default"])
def test_a_token_behind_the_cache_is_what_all_tokens_at_once_give(tmp_path, write, hw):
    """Bit for bit, with softmax on the array and on the host: a cache keeps what would be computed again."""
    model, machine = checkpoint.load(write(tmp_path / "model")[0]), hardware.load(hw)
    case = prepare.PreparedModel(model, machine, Engines(), 1, False)
    seen = prepare.statistics(case, Recipe(), tokens.random_sequences(model, 8, 24, seed=1))
    found = prepare.generated(case, Recipe(), IDS[:5], 7, seen, lambda *of: None)
    ids = [*IDS[:5], *found.tokens[:-1]]
    ready, numerics = prepare.prepared(replace(case, length=len(ids)), ids, Recipe(), seen)
    run, steps, *_ = start(ready, machine, numerics)
    run.again(steps, {})
    np.testing.assert_array_equal(found.logits, run.real("logits")[4:])


@pytest.mark.parametrize("write", [gpt2, llama])
def test_a_further_token_costs_less_than_its_sequence_computed_again(tmp_path, write):
    """One row instead of all: only attention grows with what came before."""
    found = chosen(write(tmp_path / "model")[0], IDS[:9], 5)
    assert len(found["token_cycles"]) == 4
    assert all(0 < cycles < found["prompt_cycles"] for cycles in found["token_cycles"])
    assert chosen(tmp_path / "model", IDS[:9], 1)["token_cycles"] == []


def test_more_tokens_than_positions_and_encoders_that_are_to_choose_are_refused(tmp_path):
    folder, _ = gpt2(tmp_path / "model")
    line = ["infer", str(folder), "--tokens", ",".join(map(str, IDS)), "--generate"]
    done = CliRunner().invoke(app, [*line, "19"])
    assert isinstance(done.exception, InputError)
    assert "nearest: --generate 18" in str(done.exception)
    done = CliRunner().invoke(app, [*line, "2", "--compare"])
    assert isinstance(done.exception, InputError)
    assert "without --generate" in str(done.exception)
    encoder = write_model(tmp_path / "encoder")
    done = CliRunner().invoke(app, ["infer", str(encoder), "--tokens", "1,2", "--generate", "2"])
    assert isinstance(done.exception, InputError)
    assert "is an encoder" in str(done.exception)


def changed(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    return folder


@pytest.mark.parametrize(
    ("write", "values", "words"),
    [
        (gpt2, {"n_inner": "wide"}, "n_inner is 'wide', must be a whole number"),
        (gpt2, {"n_inner": 0}, "n_inner is 0, must be a whole number"),
        (gpt2, {"scale_attn_weights": False}, "scale_attn_weights is False, only True is run"),
        (gpt2, {"add_cross_attention": True}, "add_cross_attention is True, only False is run"),
        (llama, {"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5, only 1 is run"),
        (llama, {"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor is 0.5, only 1 is run"),
        (llama, {"model_type": "mistral", "sliding_window": "4k"}, "sliding_window is '4k'"),
    ],
)
def test_what_a_decoder_is_asked_for_and_not_run_is_refused(tmp_path, write, values, words):
    folder = changed(write(tmp_path / "model")[0], **values)
    with pytest.raises(InputError, match=re.escape(words)):
        checkpoint.load(folder)


def test_a_sliding_window_bounds_the_length(tmp_path):
    """A sequence no longer than the window is seen whole; longer ones are refused instead of computed as if it were."""
    folder = changed(llama(tmp_path / "model")[0], model_type="mistral", sliding_window=10)
    assert checkpoint.load(folder).positions == 10
    assert checkpoint.load(changed(folder, use_sliding_window=False)).positions == 32
    assert checkpoint.load(changed(folder, model_type="qwen2", use_sliding_window=True)).positions == 10


def test_a_pickle_is_refused_with_the_way_out(tmp_path):
    folder, _ = gpt2(tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    done = CliRunner().invoke(app, ["infer", str(folder)])
    assert isinstance(done.exception, InputError)
    assert "convert it to model.safetensors" in str(done.exception)


def test_roberta_is_bert_with_positions_that_begin_behind_the_padding_s(tmp_path):
    bert = model_tensors("bert")
    roberta = {name.replace("bert.", "roberta.", 1): values for name, values in bert.items()}
    name = "roberta.embeddings.position_embeddings.weight"
    roberta[name] = np.concatenate([np.full((2, roberta[name].shape[1]), 9, np.float32), roberta[name]])
    positions = SIZES["positions"] + 2
    write_model(tmp_path / "bert", tensors=bert)
    write_model(tmp_path / "roberta", "roberta", roberta, max_position_embeddings=positions, pad_token_id=1)
    found = []
    for kind in ("bert", "roberta"):
        model = checkpoint.load(tmp_path / kind)
        layers, more = graph_and_weights(model, 9)
        given = {**tokens.inputs(model, IDS[:9]), **more}
        found.append(host.forward(layers, given, model.epsilon, model.head_dim)[encoded(model)])
    assert model.positions == SIZES["positions"]
    np.testing.assert_array_equal(*found)
