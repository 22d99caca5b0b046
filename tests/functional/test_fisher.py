"""Gradients and Fisher information of checkpoints: against differences of the loss, and as pruning reads them."""

from __future__ import annotations

import numpy as np
import pytest
from functional.test_decoders import IDS, gpt2, llama
from functional.test_heads import with_head
from functional.test_inference import write_model
from functional.test_vision import infer, vit
from typer.testing import CliRunner

from sim.base.errors import InputError
from sim.base.reading import read_arrays
from sim.cli.app import app
from sim.functional import host, images, tokens
from sim.functional.fisher import drawn, fisher
from sim.functional.gradients import backward
from workloads import checkpoint
from workloads.checkpoint.graph import Form, encoded, graph_and_weights
from workloads.checkpoint.head import Head

RNG = np.random.default_rng(8)
STEP = 1e-4


def bert(folder):
    tensors = with_head("bert", "BertForSequenceClassification")
    return (write_model(folder, "bert", tensors, architectures=["BertForSequenceClassification"]),)


def case(folder):
    model = checkpoint.load(folder)
    sequence = IDS if model.vision is None else images.made(model.vision, 1, 4)[0]
    if model.vision is None:
        sequence = [token % model.vocabulary for token in IDS]
    graph, more = graph_and_weights(model, len(sequence), form=Form(residual="int32"))
    return model, graph, {**tokens.inputs(model, sequence), **more}


@pytest.mark.parametrize("write", [bert, gpt2, vit])
def test_gradients_are_what_a_change_of_the_weights_does(tmp_path, write):
    """In double precision, along one random direction of each matrix: all its elements count."""
    model, graph, given = case(write(tmp_path / "model")[0])
    given = {name: values.astype(np.float64) if values.dtype.kind == "f" else values for name, values in given.items()}
    of_model = model.epsilon, model.head_dim
    values = host.forward(graph, given, *of_model)
    last = graph.ops[-1].output.tensor
    factors = RNG.standard_normal(values[last].shape)
    matrices = [name for name, t in graph.tensors.items() if t.kind == "weight" and len(t.shape) == 2]
    found = backward(graph, values, {last: factors}, matrices, of_model)
    assert set(found) == set(matrices)
    for name in matrices:
        way = RNG.standard_normal(given[name].shape) * np.abs(given[name]).mean()
        loss = [
            (host.forward(graph, {**given, name: given[name] + sign * 0.01 * way}, *of_model)[last] * factors).sum()
            for sign in (1, -1)
        ]
        wanted = (loss[0] - loss[1]) / 0.02
        scale = np.sqrt((found[name] ** 2).sum() * (way**2).mean())  # what a random direction gives
        assert abs((found[name] * way).sum() - wanted) < 0.02 * scale + 1e-3 * abs(wanted), name


def test_drawn_answers_have_the_model_s_shares_and_a_mean_gradient_of_zero():
    """The mean of the score of a likelihood is zero under the model itself."""
    logits = np.array([[0.5, -1.0, 2.0, 0.0]])
    for kind, problem in (("sequence", "single_label_classification"), ("sequence", "multi_label_classification")):
        head = Head(kind, ("classifier",), ("a", "b", "c", "d"), problem)
        draws = np.array([drawn(logits, head, RNG)[0] for _ in range(4000)])
        assert np.abs(draws.mean(axis=0)).max() < 4 * draws.std(axis=0).max() / np.sqrt(4000)
    head = Head("span", ("qa_outputs",), ("start", "end"))
    one = drawn(RNG.standard_normal((6, 2)), head, RNG)
    np.testing.assert_allclose(one.sum(axis=0), 0, atol=1e-12)  # one token is drawn, all shares sum to 1


def test_the_information_of_a_classifier_s_last_layer_is_the_textbook_s(tmp_path):
    """Softmax regression: the diagonal is E[x^2] p (1 - p), here of one sequence, over many draws."""
    model, graph, given = case(bert(tmp_path / "model")[0])
    draws = 3000
    of_model = model.epsilon, model.head_dim
    values = host.forward(graph, given, *of_model)
    x, logits = values["pooled"][0].astype(np.float64), values["logits"][0].astype(np.float64)
    shares = np.exp(logits - logits.max())
    shares /= shares.sum()
    rng = np.random.default_rng(0)
    slopes = np.array([drawn(logits[None], model.head, rng)[0] for _ in range(draws)])
    np.testing.assert_allclose((slopes**2).mean(axis=0), shares * (1 - shares), rtol=0.15, atol=0.01)
    found = fisher([(graph, given)], model.head, encoded(model), of_model)["classifier.weight"]
    first = drawn(logits[None], model.head, np.random.default_rng(0))[0]
    np.testing.assert_allclose(found, np.outer(x**2, first**2), rtol=1e-3, atol=1e-9)


def test_the_file_has_what_pruning_reads(tmp_path):
    folder, *_ = bert(tmp_path / "model")
    (tmp_path / "ids.txt").write_text("1,2,3,4\n5,6,7\n")
    line = ("--tokens", "1,2,3", "--calibrate", tmp_path / "ids.txt", "--fisher", tmp_path / "fisher.npz")
    infer(folder, *line)
    arrays = read_arrays(tmp_path / "fisher.npz")
    assert (arrays["L0.FF1.weight.fisher"] >= 0).all() and arrays["L0.FF1.weight.fisher"].any()
    assert arrays["word_table.fisher"].shape == arrays["word_table"].shape
    rows = np.flatnonzero(arrays["word_table.fisher"].any(axis=1))
    assert set(rows) <= {1, 2, 3, 4, 5, 6, 7}  # a token that was not seen has no gradient


def test_what_has_no_gradient_here_and_names_that_are_no_npz_are_refused(tmp_path):
    folder, _ = llama(tmp_path / "model")
    with pytest.raises(InputError, match="gradients of multiply, rmsnorm, rope are not computed here"):
        infer(folder, "--tokens", "1,2", "--fisher", tmp_path / "f.npz")
    folder, _ = gpt2(tmp_path / "other")
    done = CliRunner().invoke(app, ["infer", str(folder), "--tokens", "1,2", "--fisher", str(tmp_path / "f.txt")])
    assert isinstance(done.exception, InputError) and "ends in .npz" in str(done.exception)
