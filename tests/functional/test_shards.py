"""Checkpoints in several files, and in 16-bit floats."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from functional.test_inference import model_tensors, write_model

from sim.base.errors import InputError
from workloads import checkpoint

ROUNDING = {"F16": 2**-11, "BF16": 2**-8}
"""Largest relative change of a normal number."""


def sixteen_bits(values, kind):
    """Return bytes of values, half to even."""
    if kind == "F16":
        return values.astype(np.float16).tobytes()
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16).tobytes()


def write(path, tensors, kind):
    head, content = {"__metadata__": {"format": "pt"}}, b""
    for name, values in tensors.items():
        stored = sixteen_bits(values, kind)
        place = [len(content), len(content) + len(stored)]
        head[name] = {"dtype": kind, "shape": list(values.shape), "data_offsets": place}
        content += stored
    text = json.dumps(head).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content)


def sharded(folder, kind):
    """Write the model of `model_tensors` in three files; return the folder and the same in one file of float32."""
    whole = write_model(folder / "whole", tensors=model_tensors("bert"))
    parts = write_model(folder / "parts", tensors=model_tensors("bert"))
    (parts / "model.safetensors").unlink()
    tensors, places = model_tensors("bert"), {}
    for number in range(3):
        name = f"model-{number + 1:05d}-of-00003.safetensors"
        some = dict(list(tensors.items())[number::3])
        write(parts / name, some, kind)
        places |= dict.fromkeys(some, name)
    index = {"metadata": {"total_size": 0}, "weight_map": places}
    (parts / "model.safetensors.index.json").write_text(json.dumps(index))
    return parts, whole


@pytest.mark.parametrize("kind", ROUNDING)
def test_three_files_of_16_bit_floats_are_the_model_within_their_rounding(tmp_path, kind):
    parts, whole = (checkpoint.load(folder) for folder in sharded(tmp_path, kind))
    assert parts.weights.keys() == whole.weights.keys()
    for name, values in whole.weights.items():
        least = 2.0**-24  # below it float16 has steps of its own
        np.testing.assert_allclose(parts.weights[name], values, rtol=ROUNDING[kind], atol=least, err_msg=name)


def test_a_file_that_is_not_there_is_named(tmp_path):
    parts, _ = sharded(tmp_path, "BF16")
    (parts / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(InputError, match=r"model-00002-of-00003\.safetensors"):
        checkpoint.load(parts)
