"""A cache in words of its own: fewer bytes read and written, one product's own types untouched."""

from __future__ import annotations

from pathlib import Path

import pytest

import sim
from sim.base.errors import InputError
from sim.sparsity.precision import Precision
from sim.sparsity.rules import Rules

INT4 = Rules((), precisions=(Precision(cache="int4"),))
STEP = {"phase": "decode", "layers": 1, "head": False, "progress": False}


def test_a_cache_of_half_the_bits_is_read_in_half_the_bytes() -> None:
    """Keys and values of all cached tokens, once each; what else the step moves is as it was."""
    kept = 256
    full, half = (
        sim.simulate("gpt2", "gemmini_widening", kv=kept - 1, sparsity=rules, **STEP) for rules in (None, INT4)
    )
    saved = full.totals["dram_read_bytes"] - half.totals["dram_read_bytes"]
    assert saved == pytest.approx(2 * kept * 768 / 2, rel=0.02)
    written = full.totals["dram_write_bytes"] - half.totals["dram_write_bytes"]
    assert 0 < written <= 2 * 768 / 2  # in whole beats


def test_a_cache_rule_of_a_file_is_read(tmp_path: Path) -> None:
    spec = tmp_path / "kv.toml"
    spec.write_text('[[precision]]\ncache = "int4"\n')
    found = [
        sim.simulate("gpt2", "gemmini_widening", kv=30, sparsity=rules, **STEP).cycles for rules in (str(spec), INT4)
    ]
    assert found[0] == found[1]


def test_a_cache_rule_without_a_cache_is_refused() -> None:
    with pytest.raises(InputError, match="no matching product of bert-tiny reads a state"):
        sim.simulate("bert-tiny", "gemmini_widening", seq=8, sparsity=INT4, progress=False)
