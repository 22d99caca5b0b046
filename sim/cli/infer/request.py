"""The sequences and word sizes that the options of `carat infer` name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sim.base.errors import InputError
from sim.base.reading import read_text
from sim.cli.infer.given import DEFAULT_TOKENS
from sim.functional.tokens import read_labelled, read_tokens
from sim.functional.verdict import named
from sim.sparsity.rules import Rules
from sim.sparsity.spec import parse
from workloads.checkpoint import tokenizer

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.sparsity.precision import Precision
    from workloads.checkpoint import Checkpoint
    from workloads.checkpoint.graph import Engines


def words(text: str | None) -> tuple[Precision, ...]:
    """Return the word sizes of --sparsity. Raises InputError for all else that it may say."""

    if text is None:
        return ()
    found = parse(text)
    if found != Rules(precisions=found.precisions) or not found.precisions:
        raise InputError(
            f"--sparsity {text}: carat infer runs word sizes; zeros of real weights are measured, and carat run skips "
            "them (nearest: w4a8, or a SPEC.toml of [[precision]] tables)"
        )
    return found.precisions


def check_engines(engines: Engines, machine: Hardware) -> None:
    """Refuse units that the machine does not have."""

    missing = sorted(engines.needs() - set(machine.array_operators))
    if missing:
        raise InputError(
            [
                f"--{what} array: {machine.name} has no unit for it (features.normalizations on an integer array, and "
                "not in host.takes); nearest: host, or a machine such as gemmini_ibert"
                for what in missing
            ]
        )


def token_ids(model: Checkpoint, folder: Path, tokens: str | None, text: str | None, seed: int) -> list[int]:
    """The token ids that --tokens or --text gives."""

    if text is None:
        return read_tokens(tokens or DEFAULT_TOKENS, model.vocabulary, model.positions, seed)
    if tokens is not None:
        raise InputError("--tokens and --text exclude each other; give one")

    found = tokenizer.load(folder).encode(text)
    return read_tokens(",".join(map(str, found)), model.vocabulary, model.positions)


def labelled(path: Path | None, model: Checkpoint) -> list[tuple[list[int], str | None]]:
    """The sequences and labels of --evaluate."""

    if path is None:
        return []
    head = model.head
    if head is None or not head.labels or head.problem == "regression":
        raise InputError(
            f"--evaluate: {model.name} has no head that decides anything (a classifier or an answer's span)"
        )
    found = read_labelled(path, model.vocabulary, model.positions)
    if head.kind != "sequence" or head.problem != "single_label_classification":
        return [(ids, None) for ids, _ in found]
    labels = named([label for _, label in found], head.labels)
    return [(ids, label) for (ids, _), label in zip(found, labels, strict=True)]


def sentence_ids(path: Path | None, model: Checkpoint, folder: Path) -> list[list[int]]:
    """Return the token ids of the sentences of a file, one per line. Raises InputError for what is no text."""
    if path is None:
        return []
    lines = read_text(path, what="file of sentences").splitlines()
    vocabulary = tokenizer.load(folder)
    found = [(number, vocabulary.encode(line)) for number, line in enumerate(lines, 1) if line.strip()]
    problems = [
        f"--sentences {path}, line {number}: {len(ids)} tokens; the model has positions for 1 to {model.positions}"
        for number, ids in found
        if len(ids) > model.positions
    ]
    if len(found) < 2:
        problems.append(f"--sentences {path}: {len(found)} sentences; similarities need 2 or more")
    if problems:
        raise InputError(problems)
    return [ids for _, ids in found]


def check_generated(count: int | None, prompt: int, model: Checkpoint) -> None:
    """Refuse --generate for an encoder, and for more tokens than the model has positions."""
    if count is None:
        return
    if model.decoder is None:
        raise InputError(
            f"--generate: {model.name} is an encoder, which predicts no next token (nearest: GPT-2, LLaMA)"
        )
    most = model.positions - prompt
    if count > most:
        nearest = f"nearest: --generate {most}" if most > 0 else f"nearest: a prompt of {model.positions - 1} tokens"
        raise InputError(f"--generate {count}: {prompt} tokens of prompt and {model.positions} positions; {nearest}")
