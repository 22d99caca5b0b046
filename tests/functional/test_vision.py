"""Vision transformers from a folder: the graph against an independent forward pass, images, integers against float."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from functional.test_decoders import matrix, save
from typer.testing import CliRunner

from sim.base.errors import InputError
from sim.cli.app import app
from sim.functional import host, images, tokens
from workloads import checkpoint
from workloads.checkpoint.graph import graph_and_weights

HIDDEN, HEADS, FFN, LAYERS, PIXELS, PATCH, LABELS = 48, 3, 96, 2, 24, 8, 5
SIZE = HIDDEN // HEADS
RNG = np.random.default_rng(3)
PICTURE = RNG.uniform(-1, 1, (3, PIXELS, PIXELS)).astype(np.float32)
NAMES = {
    "vit": ("layernorm_before", "layernorm_after", "intermediate.dense", "output.dense"),
    "dinov2": ("norm1", "norm2", "mlp.fc1", "mlp.fc2"),
}
NAMES["deit"] = NAMES["vit"]


def vit(folder, kind="vit", arch="ForImageClassification"):
    """Random weights as ViT stores them; one feature is 20 times the others."""
    rng, prefix = np.random.default_rng(0), {"vit": "vit.", "deit": "deit.", "dinov2": "dinov2."}[kind]
    first = 2 if kind == "deit" else 1
    count = first + (PIXELS // PATCH) ** 2
    tensors = {
        f"{prefix}embeddings.cls_token": matrix(rng, 1, 1, HIDDEN),
        f"{prefix}embeddings.position_embeddings": matrix(rng, 1, count, HIDDEN),
        f"{prefix}embeddings.patch_embeddings.projection.weight": matrix(rng, HIDDEN, 3, PATCH, PATCH) / 2,
        f"{prefix}embeddings.patch_embeddings.projection.bias": matrix(rng, HIDDEN) / 4,
        f"{prefix}layernorm.weight": np.ones(HIDDEN, np.float32),
        f"{prefix}layernorm.bias": 0.1 * matrix(rng, HIDDEN),
    }
    if kind == "deit":
        tensors[f"{prefix}embeddings.distillation_token"] = matrix(rng, 1, 1, HIDDEN)
    before, behind, fc1, fc2 = NAMES[kind]
    for layer in range(LAYERS):
        at = f"{prefix}encoder.layer.{layer}."
        shapes = dict.fromkeys((f"attention.attention.{n}" for n in ("query", "key", "value")), (HIDDEN, HIDDEN))
        shapes |= {"attention.output.dense": (HIDDEN, HIDDEN), fc1: (FFN, HIDDEN), fc2: (HIDDEN, FFN)}
        for name, shape in shapes.items():
            tensors[f"{at}{name}.weight"] = np.ascontiguousarray(matrix(rng, *shape[::-1]).T)
            tensors[f"{at}{name}.bias"] = 0.1 * matrix(rng, shape[0])
        for name in (before, behind):
            tensors[f"{at}{name}.weight"] = (1 + 0.1 * rng.standard_normal(HIDDEN)).astype(np.float32)
            tensors[f"{at}{name}.bias"] = 0.1 * matrix(rng, HIDDEN)
        tensors[f"{at}{fc2}.weight"][7] *= 20
        if kind == "dinov2":
            for number in (1, 2):
                scale = rng.uniform(0.2, 1.0, HIDDEN).astype(np.float32)
                tensors[f"{at}layer_scale{number}.lambda1"] = scale
    head = {"vit": "ViT", "deit": "DeiT", "dinov2": "Dinov2"}[kind] + arch
    if kind != "dinov2":
        name = "classifier" if arch != "Model" else f"{prefix}pooler.dense"
        rows = LABELS if arch != "Model" else HIDDEN
        tensors[f"{name}.weight"] = np.ascontiguousarray(matrix(rng, HIDDEN, rows).T)
        tensors[f"{name}.bias"] = 0.1 * matrix(rng, rows)
    config = {"model_type": kind, "num_hidden_layers": LAYERS, "hidden_size": HIDDEN, "num_attention_heads": HEADS}
    config |= {"image_size": PIXELS, "patch_size": PATCH, "layer_norm_eps": 1e-12, "architectures": [head]}
    config |= {"mlp_ratio": FFN // HIDDEN} if kind == "dinov2" else {"intermediate_size": FFN}
    if arch != "Model" and kind != "dinov2":
        config["id2label"] = {str(n): f"thing {n}" for n in range(LABELS)}
    return save(folder, tensors, config)


def forward(w, kind):
    """The published model, written from its definition: the patch embedding as the convolution that it is."""
    w = {name.removeprefix(f"{kind}."): values for name, values in w.items()}
    kernel = w["embeddings.patch_embeddings.projection.weight"]
    rows = [
        np.tensordot(kernel, PICTURE[:, y : y + PATCH, x : x + PATCH].astype(np.float64), 3)
        for y in range(0, PIXELS, PATCH)
        for x in range(0, PIXELS, PATCH)
    ] + w["embeddings.patch_embeddings.projection.bias"]
    first = [w[f"embeddings.{n}_token"][0] for n in ("cls", "distillation") if f"embeddings.{n}_token" in w]
    x = np.concatenate([*first, rows]) + w["embeddings.position_embeddings"][0]
    before, behind, fc1, fc2 = NAMES[kind]

    def norm(x, name):
        off = x - x.mean(-1, keepdims=True)
        return off / np.sqrt(x.var(-1, keepdims=True) + 1e-12) * w[f"{name}.weight"] + w[f"{name}.bias"]

    def dense(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def heads(x):
        return x.reshape(len(x), HEADS, SIZE).transpose(1, 0, 2)

    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}."
        y = norm(x, at + before)
        q, k, v = (heads(dense(y, f"{at}attention.attention.{n}")) for n in ("query", "key", "value"))
        scores = np.exp(q @ k.transpose(0, 2, 1) / np.sqrt(SIZE))
        context = (scores / scores.sum(-1, keepdims=True) @ v).transpose(1, 0, 2).reshape(len(x), -1)
        x = x + dense(context, f"{at}attention.output.dense") * w.get(f"{at}layer_scale1.lambda1", 1)
        y = dense(norm(x, at + behind), at + fc1)
        y = y / 2 * (1 + np.vectorize(math_erf)(y / np.sqrt(2)))
        x = x + dense(y, at + fc2) * w.get(f"{at}layer_scale2.lambda1", 1)
    return norm(x, "layernorm"), w


def math_erf(x):
    from math import erf

    return erf(x)


@pytest.mark.parametrize("kind", ["vit", "deit", "dinov2"])
def test_a_vision_transformer_in_float_is_the_textbook_s(tmp_path, kind):
    folder, weights = vit(tmp_path / "model", kind)
    np.save(tmp_path / "picture.npy", PICTURE)
    model = checkpoint.load(folder)
    image = images.read(tmp_path / "picture.npy", model, folder)
    layers, more = graph_and_weights(model, len(image))
    given = {**tokens.inputs(model, image), **more}
    values = host.forward(layers, given, model.epsilon, model.head_dim)
    last, w = forward(weights, kind)
    np.testing.assert_allclose(values[f"L{LAYERS - 1}.output"], last, rtol=1e-3, atol=1e-3)
    if kind != "dinov2":
        logits = last[:1] @ w["classifier.weight"].T + w["classifier.bias"]
        np.testing.assert_allclose(values["logits"], logits, rtol=1e-3, atol=1e-3)
    assert not model.unused


def infer(folder, *more):
    done = CliRunner().invoke(app, ["infer", str(folder), "--json", *map(str, more)])
    if isinstance(done.exception, InputError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.parametrize("arch", ["Model", "ForImageClassification"])
@pytest.mark.parametrize("more", [(), ("--integer",), ("--quantize", "centred=on")])
def test_the_report_of_a_vision_transformer_is_near_to_float(tmp_path, arch, more):
    folder, _ = vit(tmp_path / "model", arch=arch)
    np.save(tmp_path / "picture.npy", PICTURE)
    found = infer(folder, "--image", tmp_path / "picture.npy", *more)
    assert found["totals"]["cosine"] > 0.99
    assert found["totals"]["tokens"] == 10
    assert found["totals"]["calibration"] == "16 images of random waves"
    engines = {op["name"]: op["engine"] for op in found["ops"]}
    assert engines["patch_embedding"] == "array"
    if arch != "Model":
        assert found["head"]["float_decisions"][0].startswith("thing ")


@pytest.mark.parametrize("centred", ["off", "on"])
def test_commands_one_by_one_give_the_same_values(tmp_path, centred):
    folder, _ = vit(tmp_path / "model")
    whole, commands = (infer(folder, "--quantize", f"centred={centred}", *more) for more in ((), ("--commands",)))
    assert commands["head"]["logits"] == whole["head"]["logits"]
    assert commands["totals"]["cycles"] == whole["totals"]["cycles"]


def test_pixels_are_normalised_as_the_folder_says(tmp_path):
    folder, _ = vit(tmp_path / "model")
    model = checkpoint.load(folder)
    pixels = RNG.integers(0, 256, (PIXELS, PIXELS, 3), dtype=np.uint8)
    np.save(tmp_path / "pixels.npy", pixels)
    np.save(tmp_path / "floats.npy", ((pixels / 255 - 0.5) / 0.5).transpose(2, 0, 1).astype(np.float32))
    by_default, by_hand = (images.read(tmp_path / name, model, folder).rows for name in ("pixels.npy", "floats.npy"))
    np.testing.assert_allclose(by_default, by_hand, atol=1e-6)
    said = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4], "rescale_factor": 1 / 255}
    (folder / images.PREPROCESSOR).write_text(json.dumps(said))
    np.save(
        tmp_path / "floats.npy",
        ((pixels / 255 - said["image_mean"]) / said["image_std"]).transpose(2, 0, 1).astype(np.float32),
    )
    as_said, by_hand = (images.read(tmp_path / name, model, folder).rows for name in ("pixels.npy", "floats.npy"))
    np.testing.assert_allclose(as_said, by_hand, atol=1e-5)


def test_images_of_a_list_are_decided_and_set_the_scales(tmp_path):
    folder, _ = vit(tmp_path / "model")
    for number in range(3):
        np.save(tmp_path / f"{number}.npy", RNG.uniform(-1, 1, PICTURE.shape).astype(np.float32))
    (tmp_path / "list.txt").write_text("0.npy\tthing 1\n1.npy\t2\n\n2.npy\tthing 0\n")
    found = infer(folder, "--evaluate", tmp_path / "list.txt", "--calibrate", tmp_path / "list.txt")
    assert found["evaluation"]["sequences"] == found["evaluation"]["decisions"] == 3
    assert found["totals"]["calibration"].startswith("3 images of ")
    assert found["evaluation"]["accuracy"] is not None


@pytest.mark.parametrize("name", ["../secret.npy", "/etc/passwd", "link.npy", "a" * 2000])
def test_an_image_of_a_list_lies_below_the_list(tmp_path, name):
    """A list of others is data: it opens no file outside its folder."""
    folder, _ = vit(tmp_path / "model")
    np.save(tmp_path / "secret.npy", PICTURE)
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "link.npy").symlink_to(tmp_path / "secret.npy")
    (lists / "list.txt").write_text(f"{name}\n")
    with pytest.raises(InputError, match=r"list.txt: line 1: image .* (must be a relative name|is a link out) of "):
        images.listed(lists / "list.txt", checkpoint.load(folder), folder)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"image_size": 25}, "25 x 25 pixels do not split into patches of 8 x 8"),
        ({"patch_size": "8"}, "patch_size is '8', must be a whole number >= 1"),
        ({"num_channels": 0}, "num_channels is 0"),
        ({"hidden_act": "quick"}, "activation 'quick' is none of"),
        ({"image_size": 32}, "position_embeddings' has shape (1, 10, 48); config.json requires (1, 17, 48)"),
    ],
)
def test_images_that_do_not_fit_the_config_are_refused(tmp_path, values, words):
    folder, _ = vit(tmp_path / "model")
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    with pytest.raises(InputError, match=re.escape(words)):
        checkpoint.load(folder)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (PICTURE[:, :16], "has shape (3, 16, 24); model reads (3, 24, 24), channels first"),
        (PICTURE.astype(np.int32), "holds int32; images are uint8 pixels, or floats that are normalised"),
        (np.full_like(PICTURE, np.nan), "no finite numbers"),
    ],
)
def test_arrays_that_are_no_image_of_the_model_are_refused(tmp_path, array, words):
    folder, _ = vit(tmp_path / "model")
    np.save(tmp_path / "picture.npy", array)
    with pytest.raises(InputError, match=re.escape(words)):
        infer(folder, "--image", tmp_path / "picture.npy")


def test_words_for_images_are_refused(tmp_path):
    folder, _ = vit(tmp_path / "model")
    with pytest.raises(InputError, match="--tokens: model reads images"):
        infer(folder, "--tokens", "1,2")
    with pytest.raises(InputError, match="predicts no next token"):
        infer(folder, "--generate", "2")
