"""The mean error of the integer GELU is taken out of the bias behind it."""

from __future__ import annotations

import numpy as np
import pytest
from functional.test_inference import model_tensors, write_model

from sim import hardware
from sim.cli.infer import prepare
from sim.functional import tokens
from sim.functional.inference import start
from sim.functional.quantization.recipe import parse
from workloads import checkpoint
from workloads.checkpoint.graph import Engines


@pytest.fixture
def folder(tmp_path):
    """Random weights whose neurons are mostly closed, as trained ones are: there the polynomial is off most."""
    tensors = model_tensors("bert")
    for layer in (0, 1):
        tensors[f"bert.encoder.layer.{layer}.intermediate.dense.bias"] -= 1
    return write_model(tmp_path / "model", tensors=tensors)


def mean_error(folder, setting):
    """Return by column the mean over tokens of (machine - float) behind the first FF2, and the errors' deviation."""
    model, length = checkpoint.load(folder), 32
    case = prepare.PreparedModel(
        model, hardware.load("gemmini_ibert"), Engines("array", "array", "array"), length, False
    )
    recipe = parse([f"bias_correction={setting}"])
    sequences = tokens.random_sequences(model, 24, length, seed=1)
    seen = prepare.statistics(case, recipe, sequences)
    ready, numerics = prepare.prepared(case, sequences[0], recipe, seen)
    run, steps, _, _ = start(ready, case.hw, numerics)
    run.timings = {}
    errors = []
    for ids in sequences:
        expected = run.again(steps, tokens.sequence_inputs(model, ids, length))
        errors.append((run.real("L0.parts2") - expected["L0.parts2"])[:, : model.hidden])
    return np.concatenate(errors).mean(axis=0)


def test_the_mean_error_behind_the_integer_gelu_is_gone(folder):
    before, after = (np.sqrt((mean_error(folder, setting) ** 2).mean()) for setting in ("off", "on"))
    assert after < 0.5 * before
