"""Next tokens by a decoder in integers against float, over hundreds of tokens, bounded by laws of chance.

Errors of quantisation that are mere noise change a decision as often as independent noise of the same size does, and a
mean log-probability by what the noise adds to the sum of exponentials. No single token decides.
"""

from __future__ import annotations

import numpy as np
import pytest
from functional.test_decoders import gpt2, llama

from sim import hardware
from sim.cli.infer import prepare
from sim.functional import tokens
from sim.functional.inference import start
from sim.functional.quantization.recipe import PLAIN, Recipe
from workloads import checkpoint
from workloads.checkpoint.graph import Engines

LENGTH, SEQUENCES, DRAWS = 32, 24, 40
DEVIATIONS = 4
"""Standard deviations above its mean: a normal variable exceeds this bound once in 30,000 cases."""


def logits(model, recipe, sequences):
    """Return logits [sequences * tokens, words] in integers and in float; scales are those of other sequences."""
    case = prepare.PreparedModel(model, hardware.load("gemmini_ibert"), Engines(), LENGTH, False)
    seen = prepare.statistics(case, recipe, tokens.random_sequences(model, 32, LENGTH, seed=1))
    ready, numerics = prepare.prepared(case, sequences[0], recipe, seen)
    run, steps, *_ = start(ready, case.hw, numerics)
    run.timings = {}
    pairs = []
    for ids in sequences:
        wanted = run.again(steps, tokens.sequence_inputs(model, ids, LENGTH))
        pairs.append((run.real("logits").copy(), wanted["logits"]))
    found, wanted = zip(*pairs, strict=True)
    return np.concatenate(found), np.concatenate(wanted)


def surprise(values, words):
    """Return -log p(word) of each row."""
    largest = values.max(axis=1, keepdims=True)
    return np.log(np.exp(values - largest).sum(axis=1)) + largest[:, 0] - values[np.arange(len(words)), words]


@pytest.mark.parametrize("write", [gpt2, llama])
def test_decisions_differ_from_float_no_more_than_noise_of_that_size_makes_them(tmp_path, write):
    model = checkpoint.load(write(tmp_path / "model")[0])
    sequences = tokens.random_sequences(model, SEQUENCES, LENGTH, seed=7)
    found, wanted = logits(model, Recipe(), sequences)
    size = float(np.sqrt(((found - wanted) ** 2).mean()))
    rng, decided = np.random.default_rng(0), wanted.argmax(axis=1)
    by_noise = np.mean(
        [((wanted + size * rng.standard_normal(wanted.shape)).argmax(axis=1) != decided).sum() for _ in range(DRAWS)]
    )
    assert (found.argmax(axis=1) != decided).sum() <= by_noise + DEVIATIONS * np.sqrt(by_noise)
    # the mean of log(sum of exponentials) rises by half the variance of the noise at most
    words = np.array(sequences)[:, 1:].reshape(-1)
    rows = np.arange(len(wanted)).reshape(SEQUENCES, LENGTH)[:, :-1].reshape(-1)
    off = surprise(found[rows], words) - surprise(wanted[rows], words)
    assert abs(off.mean()) <= size**2 / 2 + DEVIATIONS * off.std() / np.sqrt(len(off))
    # a residual stream in int32, channels and split outliers: two thirds of the noise of one scale per tensor, or less
    plain, _ = logits(model, PLAIN, sequences)
    assert size < np.sqrt(((plain - wanted) ** 2).mean()) * 2 / 3
