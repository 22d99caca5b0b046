"""Heads of checkpoints: the textbook's logits in float, the same decisions in integers, a trained model's accuracy."""

from __future__ import annotations

import json

import numpy as np
import pytest
from functional.test_inference import SIZES, model_tensors, run, write_model
from helpers import trained
from typer.testing import CliRunner

from sim import hardware
from sim.base.errors import InputError
from sim.cli.app import app
from sim.functional.verdict import evaluate, judge, named
from workloads import checkpoint
from workloads.checkpoint.head import TASKS

HIDDEN = SIZES["hidden"]
IBERT = hardware.load("gemmini_ibert")


def with_head(kind, arch, labels=3, seed=7):
    """Random weights with those of a head."""
    rng, tensors = np.random.default_rng(seed), model_tensors(kind)

    def dense(name, rows):
        tensors[f"{name}.weight"] = (rng.standard_normal((rows, HIDDEN)) / np.sqrt(HIDDEN)).astype(np.float32)
        tensors[f"{name}.bias"] = rng.standard_normal(rows).astype(np.float32)

    if kind == "bert" and arch in ("BertModel", "BertForSequenceClassification"):
        dense("bert.pooler.dense", HIDDEN)
    if arch == "DistilBertForSequenceClassification":
        dense("pre_classifier", HIDDEN)
    if arch.endswith("Classification"):
        dense("classifier", labels)
    if arch.endswith("Answering"):
        dense("qa_outputs", 2)
    return tensors


def by_hand(tensors, kind, arch, last):
    """A head on the encoder's output, written from its definition."""

    def dense(name, x):
        return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]

    if arch == "BertModel":
        return np.tanh(dense("bert.pooler.dense", last[:1]))
    if arch == "BertForSequenceClassification":
        return dense("classifier", np.tanh(dense("bert.pooler.dense", last[:1])))
    if arch == "DistilBertForSequenceClassification":
        return dense("classifier", np.maximum(dense("pre_classifier", last[:1]), 0))
    return dense("qa_outputs" if arch.endswith("Answering") else "classifier", last)


ARCHITECTURES = [
    ("bert", "BertModel"),
    ("bert", "BertForSequenceClassification"),
    ("bert", "BertForTokenClassification"),
    ("bert", "BertForQuestionAnswering"),
    ("distilbert", "DistilBertForSequenceClassification"),
    ("distilbert", "DistilBertForTokenClassification"),
    ("distilbert", "DistilBertForQuestionAnswering"),
]


@pytest.mark.parametrize(("kind", "arch"), ARCHITECTURES)
@pytest.mark.parametrize("name", ["gemmini_default", "gemmini_ibert", "gemmini_fp32_4x4"])
def test_heads_are_those_of_the_published_models(tmp_path, kind, arch, name):
    tensors = with_head(kind, arch)
    folder = write_model(tmp_path / "model", kind, tensors, architectures=[arch])
    result = run(folder, hardware.load(name), count=12)
    expected = by_hand(tensors, kind, arch, result.reference)
    np.testing.assert_allclose(result.reference_logits, expected, rtol=1e-4, atol=1e-4)
    # one or two layers more on an encoder that is a few per cent off (test_inference.py)
    off = np.abs(result.logits - expected).max() / np.abs(expected).max()
    assert off < (1e-4 if name == "gemmini_fp32_4x4" else 0.25)
    # without its name the tensors tell the same head
    named = checkpoint.load(folder).head
    assert checkpoint.load(write_model(folder, kind, tensors)).head == named


def test_other_heads_are_left_out_and_named(tmp_path):
    tensors = model_tensors("bert") | {"cls.predictions.bias": np.zeros(SIZES["vocabulary"], np.float32)}
    folder = write_model(tmp_path / "model", tensors=tensors, architectures=["BertForMaskedLM"])
    model = checkpoint.load(folder)
    assert (model.head, model.unused) == (None, ("cls.predictions.bias",))
    done = CliRunner().invoke(app, ["infer", str(folder), "--tokens", "1,2"])
    assert "Not run: 1 tensors of the file (cls.predictions.bias)" in done.output


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, c: t.pop("classifier.bias"), r"'classifier\.bias' is missing"),
        (lambda t, c: t.pop("bert.pooler.dense.weight"), r"'pooler\.dense\.weight' is missing"),
        (lambda t, c: t.update({"classifier.weight": np.zeros((3, 5), np.float32)}), r"shape \(3, 5\)"),
        (lambda t, c: c.update(id2label={"0": "no", "1": "yes"}), "id2label names 2 labels.* 3 rows"),
        (lambda t, c: c.update(problem_type="ranking"), "'ranking' is none of"),
    ],
)
def test_broken_heads_are_refused(tmp_path, change, message):
    tensors, config = with_head("bert", "BertForSequenceClassification"), {}
    change(tensors, config)
    with pytest.raises(InputError, match=message):
        checkpoint.load(
            write_model(tmp_path / "m", tensors=tensors, architectures=["BertForSequenceClassification"], **config)
        )


def test_what_logits_decide():
    ours, theirs = np.array([[0.1, 2.0, -1.0], [3.0, 0.0, -2.0]]), np.array([[0.2, 1.0, -1.0], [0.0, 3.0, -2.0]])
    labels = ("a", "b", "c")
    each = judge(ours, theirs, "tokens", labels, "single_label_classification")
    assert (each.decisions, each.float_decisions, each.same) == (("b", "a"), ("b", "b"), 1)
    assert judge(ours[:, :2], theirs[:, :2], "span", ("start", "end"), "").decisions == ("start 1", "end 0")
    many = judge(ours[:1], theirs[:1], "sequence", labels, "multi_label_classification")
    assert many.decisions == ("a", "b", "not c") and many.same == 3
    assert str(judge(ours, theirs, "sequence", ("x",), "regression")) == "nothing to decide"
    reported = evaluate([each, each], ["b", "b"])
    assert (reported.decisions, reported.same, reported.accuracy) == (4, 2, 0.0)
    assert named(["b", "2", None], labels) == ["b", "c", None]
    with pytest.raises(InputError, match=r"label 'd' is none of a, b, c"):
        named(["d"], labels)


def test_every_task_has_a_test():
    of_images = {"ForImageClassification"}  # test_vision.py
    assert {arch.split("Bert", 1)[1] for _, arch in ARCHITECTURES} | of_images == set(TASKS)


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """A trained model on disk, sequences it has not seen with their labels, others to calibrate with."""
    folder = tmp_path_factory.mktemp("trained")
    weights = trained.train_apart(folder / "weights.npz")
    config = {"num_hidden_layers": trained.LAYERS, "hidden_size": trained.HIDDEN, "intermediate_size": trained.FFN}
    config |= {"num_attention_heads": trained.HEADS, "vocab_size": trained.VOCABULARY}
    write_model(folder / "model", tensors=trained.tensors(weights), max_position_embeddings=trained.LENGTH,
                architectures=["BertForSequenceClassification"], **config)  # fmt: skip
    rng = np.random.default_rng(5)
    lines = {}
    for name, count in (("unseen", 100), ("calibration", 20)):
        ids, labels = trained.draw(rng, count)
        lines[name] = ids, labels
        rows = [",".join(map(str, row)) for row in ids]
        reported = [f"{row}\t{label}" for row, label in zip(rows, labels, strict=True)] if name == "unseen" else rows
        (folder / f"{name}.txt").write_text("\n".join(reported) + "\n")
    return folder, weights, *lines["unseen"]


def ask(folder, *options):
    line = ["infer", str(folder / "model"), "--evaluate", str(folder / "unseen.txt"), "--json"]
    done = CliRunner().invoke(app, [*line, "--calibrate", str(folder / "calibration.txt"), *options])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_the_float_reference_is_the_model_that_was_trained(task):
    folder, weights, ids, labels = task
    _, logits, _ = trained.step(weights, ids, labels)
    report = ask(folder, "--hw", "gemmini_default")
    np.testing.assert_allclose(report["head"]["float_logits"], logits[:1], rtol=1e-3, atol=1e-3)
    assert report["evaluation"]["float_accuracy"] == np.mean(logits.argmax(axis=1) == labels) > 0.95


@pytest.mark.parametrize("options", [[], ["--integer"], ["--gelu", "array"]])
def test_integers_keep_a_trained_model_s_accuracy(task, options):
    # what a user wants to know: int8 inference with 1 % of noise per tensor decides like the model in float
    folder, *_ = task
    found = ask(folder, "--hw", "gemmini_ibert", *options)["evaluation"]
    assert found["same"] >= 97
    assert found["accuracy"] >= found["float_accuracy"] - 0.03


def test_sequences_of_several_lengths_share_one_graph(task):
    folder, _, ids, _ = task
    path = folder / "short.txt"
    path.write_text("\n".join(",".join(map(str, row[:n])) for row, n in zip(ids[:3], (16, 9, 12), strict=True)))
    line = ["infer", str(folder / "model"), "--evaluate", str(path), "--hw", "gemmini_ibert", "--json"]
    found = json.loads(CliRunner().invoke(app, line).stdout)
    assert (found["totals"]["tokens"], found["totals"]["padded_tokens"]) == (16, 16)
    assert found["evaluation"]["sequences"] == 3
    assert found["evaluation"]["accuracy"] is None
    assert found["evaluation"]["same"] == 3


def test_evaluation_needs_something_to_decide(tmp_path):
    ids = tmp_path / "ids.txt"
    ids.write_text("1,2\tspam\n")
    plain = write_model(tmp_path / "plain")
    done = CliRunner().invoke(app, ["infer", str(plain), "--evaluate", str(ids)])
    assert "no head with decisions" in str(done.exception)
    arch = "BertForSequenceClassification"
    judged = write_model(tmp_path / "judged", tensors=with_head("bert", arch), architectures=[arch])
    done = CliRunner().invoke(app, ["infer", str(judged), "--evaluate", str(ids)])
    assert "label 'spam' is none of LABEL_0, LABEL_1, LABEL_2" in str(done.exception)
