"""Words of --sparsity, --prune, --set and --size that are misspelt or out of range: hints, applied, are accepted."""

from __future__ import annotations

import re
from random import Random

import pytest

from sim.base.errors import InputError
from sim.run.request import Request, resolve

TINY = {"seq": 32, "hidden": 64, "heads": 2, "ffn": 128}

VALID: dict[str, tuple[str, ...]] = {
    "sparsity": (
        *("block16:0.5", "block4:0.25/skip", "2:4", "1:4/pack", "unstructured:0.3", "unstructured:0.5/gate", "w4a8"),
        *("attention=window:16", "attention=local:8", "attention=causal", "attention=topk:4", "attention=strided:8"),
        *("*.FF1=block8:0.5", "activations=unstructured:0.5", "attention=threshold:0.5"),
    ),
    "prune": ("heads=1", "layers=1", "*.FF1.columns=64", "heads=1,layers=1", "L0.FF2.rows=64"),
}
MEANT = re.compile(r"[^']*'(?P<old>[^']*)'(?:[^']|'(?!\?))*\(did you mean '(?P<new>[^']+)'\?\)")
NEAREST = re.compile(r"\(nearest: (?P<new>[^)]*?)(?:, or [^)]*)?\)")


def mutated(text: str, random: Random) -> str:
    """Another spelling: a letter left out, doubled or changed places, or another number."""
    place = random.randrange(len(text))
    numbers = list(re.finditer(r"\d+(\.\d+)?", text))
    kind = random.randrange(5)
    if kind >= 3 and numbers:
        match = random.choice(numbers)
        number = random.choice(("0", "-1", "7", "1000", "99999999", "1.5", "3"))
        return text[: match.start()] + number + text[match.end() :]
    return {
        0: text[:place] + text[place + 1 :],
        1: text[:place] + text[place] + text[place:],
    }.get(kind, text[:place] + text[place : place + 2][::-1] + text[place + 2 :])


def applied(text: str, problem: str) -> str | None:
    """Return ``text`` as the hint of a refusal changes it; None where the refusal has no hint."""
    said = problem.partition(": ")[2] if problem.startswith(("sparsity '", "prune '", "precision '")) else problem
    if match := MEANT.match(said):
        return text.replace(match["old"], match["new"], 1) if match["old"] in text else None
    if not (match := NEAREST.search(said)):
        return None
    new = match["new"]
    if re.match(r"(block|attention=|\w+=|[\w.*]+=|\d+:\d+$)", new) and not re.fullmatch(r"[\d.]+", new):
        name = new.partition("=")[0]
        if new.startswith("block"):
            return re.sub(r"block[^:/]*", new, text, count=1)
        if re.fullmatch(r"\d+:\d+", new):
            return re.sub(r"[+-]?\d+:\d+", new, text, count=1)
        if f"{name}=" in text:
            return re.sub(rf"{re.escape(name)}=[^,]*", new, text, count=1)
        return new
    if not re.fullmatch(r"[\d.]+", new):
        return None
    for old in re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?", said.partition("(nearest")[0]):
        if re.search(rf"(?<![\w.]){re.escape(old)}(?![\w.])", text):
            return re.sub(rf"(?<![\w.]){re.escape(old)}(?![\w.])", new, text, count=1)
    return None


@pytest.mark.parametrize("option", VALID)
def test_hints_of_specifications_are_accepted(option: str) -> None:
    random = Random(option)
    followed = ended = 0
    for _ in range(200):
        text = wrong = mutated(random.choice(VALID[option]), random)
        for _ in range(5):
            try:
                resolve(Request("encoder-layer", "gemmini_sparse", sizes=TINY, **{option: text})).graph  # noqa: B018
            except InputError as refused:
                changed = next((one for one in (applied(text, p) for p in refused.problems) if one is not None), None)
                if changed is None:
                    break
                assert changed != text, (wrong, text, refused.problems)
                followed += 1
                text = changed
            else:
                ended += text != wrong
                break
        else:
            raise AssertionError((wrong, text))
    assert followed >= ended > 20, (followed, ended)
