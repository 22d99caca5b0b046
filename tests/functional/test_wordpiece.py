"""Text becomes the ids that BERT's own tokenizer gives: pieces by longest match, punctuation apart, accents gone."""

from __future__ import annotations

import json

import pytest
from functional.test_inference import write_model
from typer.testing import CliRunner

from sim.base.errors import InputError
from sim.cli.app import app
from workloads.checkpoint import wordpiece

PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "want",
    "##want",
    "##ed",
    "wa",
    "un",
    "runn",
    "##ing",
    ",",
    "##aff",
    "##able",
    "cafe",
    "世",
]
# the first and the third are the examples of BERT's own tests of its tokenizer
CASES = {
    "UNwanted,running": ["un", "##want", "##ed", ",", "runn", "##ing"],
    "unaffable": ["un", "##aff", "##able"],
    " unwantedX \t running": ["[UNK]", "runn", "##ing"],
    "Café,café": ["cafe", ",", "cafe"],
    "世世": ["世", "世"],
    "wanted\u200b\x00": ["want", "##ed"],
    "": [],
    "x" * 101: ["[UNK]"],
}


def vocabulary(folder, pieces=PIECES, **settings):
    folder.mkdir(exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    if settings:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return wordpiece.load(folder)


@pytest.mark.parametrize("text", CASES)
def test_words_are_cut_into_the_longest_pieces(tmp_path, text):
    found = vocabulary(tmp_path).encode(text)
    assert [PIECES[n] for n in found] == ["[CLS]", *CASES[text], "[SEP]"]


def test_case_and_accents_stay_where_the_model_knows_them(tmp_path):
    kept = vocabulary(tmp_path, [*PIECES, "Café"], do_lower_case=False)
    assert kept.encode("Café")[1] == len(PIECES)
    assert kept.encode("CAFE")[1] == PIECES.index("[UNK]")


def test_a_file_that_is_no_vocabulary_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"lacks \[CLS\]"):
        vocabulary(tmp_path, [piece for piece in PIECES if piece != "[CLS]"])
    (tmp_path / "tokenizer_config.json").write_text("[]")
    with pytest.raises(InputError, match="must be a JSON object"):
        vocabulary(tmp_path)
    (tmp_path / "vocab.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InputError, match="not UTF-8 text"):
        wordpiece.load(tmp_path)


def test_text_runs(tmp_path):
    folder = write_model(tmp_path / "model")
    vocabulary(folder)
    done = CliRunner().invoke(app, ["infer", str(folder), "--text", "unaffable, wanted", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["totals"]["tokens"] == len(
        ["[CLS]", "un", "aff", "able", ",", "want", "ed", "[SEP]"]
    )
