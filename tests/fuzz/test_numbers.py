"""A number of a model's config.json that is far beyond its weights is refused before anything is counted up to it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fuzz import corpus

from sim.base.errors import InputError
from workloads import checkpoint


@pytest.mark.parametrize("key", ["num_hidden_layers", "hidden_size", "intermediate_size", "vocab_size"])
def test_sizes_beyond_the_tensors_of_a_checkpoint(key: str, tmp_path: Path) -> None:
    corpus.checkpoint(tmp_path / "model")
    place = tmp_path / "model" / "config.json"
    config = json.loads(place.read_text())
    place.write_text(json.dumps({**config, key: 2**31}))  # as layers: 10 GB of tensors' names, and more
    with pytest.raises(InputError, match=f"{key} is 2147483648, but the file of weights has"):
        checkpoint.load(tmp_path / "model")
