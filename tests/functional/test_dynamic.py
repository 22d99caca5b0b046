"""Dynamic scales: what they hold that static ones do not, and their price."""

from __future__ import annotations

import numpy as np
import pytest
from functional.test_decoders import IDS, gpt2
from functional.test_inference import write_model
from functional.test_vision import FFN, HIDDEN, LABELS, LAYERS, PICTURE, infer, vit

from sim import hardware
from sim.base.errors import InputError
from sim.cost import host

DYNAMIC = ("--quantize", "scales=dynamic")
HW = hardware.load("gemmini_ibert")


def far(tmp_path):
    """An image with ten times the range of those that set the static scales."""
    folder, _ = vit(tmp_path / "model")
    np.save(tmp_path / "far.npy", 10 * PICTURE)
    return folder, "--image", tmp_path / "far.npy"


def test_values_beyond_what_calibration_saw_do_not_saturate(tmp_path):
    line = (*far(tmp_path), "--hw", "gemmini_ibert")
    static, dynamic = (infer(*line, *more)["totals"] for more in ((), DYNAMIC))
    assert dynamic["cosine"] > 0.99 > static["cosine"]


def test_the_price_is_a_search_of_what_the_host_writes_and_biases_written_anew(tmp_path):
    line = (*far(tmp_path), "--hw", "gemmini_ibert")
    static, dynamic = (infer(*line, *more)["totals"] for more in ((), DYNAMIC))
    tokens, patch = 10, 3 * 8 * 8
    searched = [(tokens, patch), *[(tokens, HIDDEN), (tokens, HIDDEN), (tokens, FFN)] * LAYERS, (tokens, HIDDEN)]
    # biases of Q, K and V, of FF1, and of the classifier; FF2 adds the stream, which the host writes in any case
    biases = [tokens * HIDDEN, *[HIDDEN, HIDDEN, HIDDEN, FFN] * LAYERS, LABELS]
    price = sum(host.cycles("relu", rows * columns, HW, row=columns) for rows, columns in searched)
    price += sum(host.cycles("quantize", elements, HW) for elements in biases)
    assert dynamic["cycles"] - static["cycles"] == price
    assert dynamic["dram_read_bytes"] == static["dram_read_bytes"]


def test_commands_one_by_one_give_the_same_values(tmp_path):
    line = (*far(tmp_path), *DYNAMIC)
    whole, commands = (infer(*line, *more) for more in ((), ("--commands",)))
    assert commands["head"]["logits"] == whole["head"]["logits"]


def test_a_decoder_takes_them_too(tmp_path):
    folder, _ = gpt2(tmp_path / "model")
    found = infer(folder, "--tokens", ",".join(map(str, IDS)), "--generate", "3", *DYNAMIC)
    assert found["totals"]["cosine"] > 0.99
    assert len(found["generated"]["tokens"]) == 3


def test_where_no_host_writes_operands_they_are_refused(tmp_path):
    folder = write_model(tmp_path / "model")
    with pytest.raises(InputError, match=r"scales=dynamic: .*nearest: scales=static, or without --integer"):
        infer(folder, "--tokens", "1,2,3", "--integer", "--hw", "gemmini_ibert", *DYNAMIC)
