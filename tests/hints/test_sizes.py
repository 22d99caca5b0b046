"""Sizes of workloads: what a refusal names as legal, applied, is accepted; and every refusal comes in bounded time."""

from __future__ import annotations

import inspect
import re
from random import Random
from typing import Any

import pytest

import workloads
from sim.base.errors import InputError
from sim.run.request import Request, resolve

BUILDERS = {**workloads.WORKLOADS, **workloads.NETWORKS}
WRONG = (0, -3, 1, 2, 3, 7, 33, 100, 1000, 10**6, 10**9, 10**17, 1.5, 1e308)
"""Values of a size, of which each network refuses some."""

NAMED = re.compile(r"(?P<size>\w+) ?= ?(?P<value>[\d,]+\d|\d)\b")
BARE = re.compile(r"\(?nearest(?: legal)?: (?P<value>-?[\d.,]+)\)?")
WORD = re.compile(r"(?:no size|unknown \w+|is) '(?P<old>[^']*)'.*did you mean '(?P<new>[^']+)'")


def changes(problem: str, sizes: dict[str, Any]) -> dict[str, Any]:
    """Return what a refusal says to change: a size -> its legal value."""
    _, requested, hint = problem.partition("nearest")
    if requested and (match := BARE.match(requested + hint)):
        said = [size for size in sizes if re.search(rf"\b{size}\b", problem)]
        return {said[0]: int(match["value"].replace(",", ""))} if said else {}
    return {match["size"]: int(match["value"].replace(",", "")) for match in NAMED.finditer(hint)}


def accepted(name: str, sizes: dict[str, Any]) -> tuple[int, str]:
    """Follow a hint, which the door accepts at once; return how many were, and one that named nothing."""
    for followed in range(2):
        try:
            resolve(Request.of(name, "gemmini_ibert", sizes))
        except InputError as refused:
            changed: dict[str, Any] = {}
            for problem in refused.problems:
                changed |= changes(problem, sizes)
            if not changed:
                return followed, "\n".join(refused.problems)
            assert len(str(refused)) < 1000
            assert any(sizes.get(size) != value for size, value in changed.items()), (name, sizes, refused.problems)
            sizes = sizes | changed
        else:
            return followed, ""
    raise AssertionError((name, sizes))


QUICK = ("encoder-layer", "mistral-7b", "deit-tiny", "resnet50", "linformer", "mobilenet-v2")
SLOW = (
    *("bert-tiny", "gpt2", "mixtral-8x7b", "t5-small", "whisper-tiny", "mobilevit-s", "mobilebert", "performer"),
    *("bigbird-base", "longformer-base", "reformer-enwik8", "albert-base", "swin-tiny"),
)
"""Networks of each family of builders, in CI and in `make test-long`."""


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.long) for name in SLOW)])
def test_every_size_that_a_refusal_names_is_accepted(name: str) -> None:
    random = Random(name)
    known = inspect.signature(BUILDERS[name], eval_str=True).parameters.values()
    numbers = [size.name for size in known if size.annotation in (int, int | None)]
    followed = 0
    for size in numbers:
        value = random.choice(WRONG)
        other = {random.choice(numbers): random.choice(WRONG)} if random.random() < 0.2 else {}
        count, unsaid = accepted(name, {**other, size: value})
        assert not unsaid, (name, size, value, unsaid)
        followed += count


def test_words_that_are_meant_are_taken() -> None:
    """A name of a size or a word that a refusal offers is one that the network takes."""
    tried = 0
    for name in BUILDERS:
        for size in inspect.signature(BUILDERS[name]).parameters:
            for wrong in (size[:-1], size + "s", size.upper(), size[0] + size):
                try:
                    workloads.build(name, **{wrong: 1})
                except InputError as refused:
                    if match := WORD.search(str(refused)):
                        assert match["new"] in inspect.signature(BUILDERS[name]).parameters
                        tried += 1
    assert tried > 500
