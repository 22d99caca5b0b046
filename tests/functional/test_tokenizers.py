"""Byte-pair tokenizers: ids as Hugging Face's tokenizers library gives them (tests/oracle/tokenizers)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sim.base.errors import InputError
from workloads.checkpoint import tokenizer

ORACLE = Path(__file__).parents[1] / "oracle" / "tokenizers"
EXPECTED = json.loads((ORACLE / "expected.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", EXPECTED["ids"])
def test_ids_are_those_of_the_library(tmp_path, name):
    shutil.copy(ORACLE / f"{name}.json", tmp_path / "tokenizer.json")
    found = tokenizer.load(tmp_path)
    for line, ids in zip(EXPECTED["lines"], EXPECTED["ids"][name], strict=True):
        assert found.encode(line) == ids, line


def test_vocab_and_merges_are_the_same_tokenizer(tmp_path):
    content = json.loads((ORACLE / "gpt2.json").read_text(encoding="utf-8"))["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(content["vocab"]))
    merges = [" ".join(pair) for pair in content["merges"]]
    (tmp_path / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    found = tokenizer.load(tmp_path)
    for line, ids in zip(EXPECTED["lines"], EXPECTED["ids"]["gpt2"], strict=True):
        assert found.encode(line) == ids, line


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model": {"type": "Unigram", "vocab": []}}, "a tokenizer of type 'Unigram' is not supported"),
        ({"normalizer": {"type": "Precompiled"}}, "the normalizer 'Precompiled' is not supported"),
        ({"pre_tokenizer": {"type": "Magic"}}, "the pre-tokenizer 'Magic' is not supported"),
        ({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated"}}, "is not supported"),
        ({"model": {"type": "BPE", "vocab": {"a": "b"}, "merges": []}}, "a whole number for each token"),
        ({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a"]}}, "each merge must be two tokens"),
    ],
)
def test_what_is_not_run_is_refused_with_token_ids_as_the_way_out(tmp_path, change, says):
    content = json.loads((ORACLE / "gpt2.json").read_text(encoding="utf-8"))
    (tmp_path / "tokenizer.json").write_text(json.dumps({**content, **change}))
    with pytest.raises(InputError, match=says) as error:
        tokenizer.load(tmp_path)
    assert "--tokens" in str(error.value)


def test_a_folder_without_a_tokenizer_says_what_would_be_read(tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(b"")
    with pytest.raises(InputError, match=r"vocab.json with merges.txt in the folder; tokenizer.model .* is not read"):
        tokenizer.load(tmp_path)
