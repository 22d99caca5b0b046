"""What calibration found is kept on disk: the same numbers come back, damage is noticed, losing it costs time alone."""

from __future__ import annotations

import numpy as np
import pytest
from functional.test_inference import write_model

from sim import core, hardware
from sim.base.errors import InputError
from sim.cli.infer import prepare
from sim.functional import host, tokens
from sim.functional.inference import start
from sim.functional.quantization import kept
from sim.functional.quantization.recipe import parse
from workloads import checkpoint
from workloads.checkpoint.graph import Engines

LENGTH = 12


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CARAT_CACHE_MIB", "64")  # tests/conftest.py switches it off
    monkeypatch.setattr(core, "COMPILE_CACHE", tmp_path / "cache" / "compiled")
    kept.forget()
    yield tmp_path / "cache" / "calibrations"
    kept.forget()


@pytest.fixture
def model(tmp_path):
    return checkpoint.load(write_model(tmp_path / "model"))


def integers(model, settings=(), sequences=None):
    """Return all integers and scales of a model with everything on the array."""
    case = prepare.PreparedModel(
        model, hardware.load("gemmini_ibert"), Engines("array", "array", "array"), LENGTH, False
    )
    recipe = parse(settings)
    sequences = sequences or tokens.random_sequences(model, 9, LENGTH, seed=1)
    ready, numerics = prepare.prepared(case, sequences[0], recipe, prepare.statistics(case, recipe, sequences))
    run, *_ = start(ready, case.hw, numerics)
    return run.numbers


def same(one, two):
    assert one.scale == two.scale
    for what in ("columns", "rows", "whole", "bias"):
        first, second = getattr(one, what), getattr(two, what)
        assert first.keys() == second.keys()
        for name in first:
            np.testing.assert_array_equal(first[name], second[name], err_msg=name)


@pytest.fixture
def passes(monkeypatch):
    """Count the forward passes of calibration."""
    found = []
    real = host.forward_together
    monkeypatch.setattr(host, "forward_together", lambda *given: found.append(1) or real(*given))
    return found


def test_a_second_run_computes_no_calibration_and_has_the_same_integers(folder, model, passes):
    first = integers(model)
    assert passes and first.whole and first.bias
    kept.forget()
    passes.clear()
    same(first, integers(model))
    assert not passes


def test_damaged_and_lost_entries_are_made_anew(folder, model):
    first = integers(model)
    entries = sorted(folder.iterdir())
    for number, entry in enumerate(entries):
        content = entry.read_bytes()
        harm = (content[:-1], content[:7], b"", content[:40] + bytes([content[40] ^ 1]) + content[41:])[number % 4]
        entry.write_bytes(harm)
    entries[0].unlink()
    kept.forget()
    same(first, integers(model))
    kept.forget()
    same(first, integers(model))


def test_other_weights_sequences_and_options_have_entries_of_their_own(folder, model, passes):
    integers(model)
    for other in (
        {"settings": ["clip=percentile"]},
        {"sequences": tokens.random_sequences(model, 9, LENGTH, seed=2)},
    ):
        passes.clear()
        integers(model, **other)
        assert passes
    model.weights["L0.FF1.weight"][3, 4] += 1
    del model.__dict__["digest"]
    passes.clear()
    integers(model)
    assert passes


@pytest.mark.parametrize("limit", ["0", "1"])
def test_the_folder_stays_below_its_limit(folder, model, monkeypatch, limit):
    monkeypatch.setenv("CARAT_CACHE_MIB", limit)
    big = np.zeros(300_000, np.uint8)
    for number in range(5):
        found = kept.recalled(kept.name_of(number), lambda: {"x": big}, on_disk=True)
        np.testing.assert_array_equal(found["x"], big)
    assert sum(entry.stat().st_size for entry in folder.glob("*")) <= int(limit) << 20
    assert len(list(folder.glob("*"))) == 3 * int(limit)


def test_a_limit_that_is_no_number_is_refused(folder, model, monkeypatch):
    monkeypatch.setenv("CARAT_CACHE_MIB", "much")
    with pytest.raises(InputError, match="whole number of MiB"):
        integers(model)


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(folder, model):
    folder.parent.mkdir()
    folder.write_text("a file in its place")
    first = integers(model)
    kept.forget()
    same(first, integers(model))
