"""The sequences and word sizes that the options of `carat infer` name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sim.base.errors import InputError
from sim.base.reading import read_text
from sim.cli.infer import prepare
from sim.cli.infer.given import DEFAULT_TOKENS, InferOptions
from sim.functional import images
from sim.functional.tokens import Sequence, read_labelled, read_tokens
from sim.functional.verdict import named
from sim.sparsity.rules import Rules
from sim.sparsity.spec import parse
from workloads.checkpoint import tokenizer

if TYPE_CHECKING:
    from sim.functional.quantization.recipe import Recipe
    from sim.hardware import Hardware
    from sim.sparsity.precision import Precision
    from workloads.checkpoint import Checkpoint
    from workloads.checkpoint.graph import Engines


def words(text: str | None) -> tuple[Precision, ...]:
    """Return the word sizes of --sparsity. Raises InputError for any other sparsity."""

    if text is None:
        return ()
    found = parse(text)
    if found != Rules(precisions=found.precisions) or not found.precisions:
        raise InputError(
            f"--sparsity {text}: carat infer takes word sizes only; it measures zeros of real weights, and carat "
            f"run skips "
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


def check_given(request: InferOptions, model: Checkpoint) -> None:
    """Refuse words for a vision transformer, and an image for any other model."""
    if model.vision is None:
        if request.image is not None:
            images.of(model)
        return
    words: dict[str, object] = {"--tokens": request.tokens, "--text": request.text, "--sentences": request.sentences}
    words |= {"--pad-to": request.pad_to}
    if problems := [
        f"{name}: {model.name} reads images (nearest: --image)" for name in words if words[name] is not None
    ]:
        raise InputError(problems)


def check_scales(request: InferOptions, recipe: Recipe, case: prepare.PreparedModel) -> None:
    """Refuse dynamic scales where no host writes what they are of."""
    if recipe.scales == "dynamic" and prepare.possible(recipe, case).scales != "dynamic":
        raise InputError(
            f"--quantize scales=dynamic: the host finds them in what it writes as float, and here it writes none on "
            f"{case.hw.name} (nearest: scales=static, or without {'--integer' if request.integer else '--layernorm'})"
        )


def check_centred(request: InferOptions, recipe: Recipe, case: prepare.PreparedModel) -> None:
    """Refuse centred values where they are set by hand and cannot be computed."""
    if recipe.centred != "on":
        return
    used = prepare.possible(recipe, case)
    reasons = {
        f"{case.checkpoint.name} is a decoder, where a mean would hold later tokens": case.checkpoint.decodes,
        "the residual stream is int8 here (nearest: residual=int32, all of --gelu, --layernorm and --embeddings on one "
        f"engine, and a machine such as gemmini_ibert, not {case.hw.name})": used.residual == "int8",
        "scales=dynamic leaves no fixed scale for the sums of a mean (nearest: scales=static)": used.centred == "off",
        "loads that cut bits change the scale of sums (nearest: without --sparsity)": request.sparsity is not None,
    }
    if problems := [f"--quantize centred=on: {reason}" for reason, holds in reasons.items() if holds]:
        raise InputError(problems)


def sequence(request: InferOptions, model: Checkpoint, first: Sequence | None = None) -> Sequence:
    """Return the tokens or the image of a request; without any ``first``, or random ones."""
    if model.vision is not None:
        if request.image is not None:
            return images.read(request.image, model, request.model_dir)
        return images.made(model.vision, 1, request.seed)[0] if first is None else first
    if first is not None and request.text is None and request.tokens is None:
        return first
    return token_ids(model, request.model_dir, request.tokens, request.text, request.seed)


def labelled(request: InferOptions, model: Checkpoint) -> list[tuple[Sequence, str | None]]:
    """The sequences and labels of --evaluate."""

    path = request.evaluate
    if path is None:
        return []
    head = model.head
    if head is None or not head.labels or head.problem == "regression":
        raise InputError(f"--evaluate: {model.name} has no head with decisions (a classifier or an answer's span)")
    found: list[tuple[Sequence, str | None]]
    if model.vision is not None:
        found = [*images.listed(path, model, request.model_dir)]
    else:
        found = [*read_labelled(path, model.vocabulary, model.positions)]
    if head.kind != "sequence" or head.problem != "single_label_classification":
        return [(ids, None) for ids, _ in found]
    labels = named([label for _, label in found], head.labels)
    return [(ids, label) for (ids, _), label in zip(found, labels, strict=True)]


def sentence_ids(path: Path | None, model: Checkpoint, folder: Path) -> list[list[int]]:
    """Return the token ids of the sentences of a file, one per line. Raises InputError for a file that is no text."""
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
    if not model.decodes:
        raise InputError(
            f"--generate: {model.name} is an encoder, which predicts no next token (nearest: GPT-2, LLaMA)"
        )
    most = model.positions - prompt
    if count > most:
        nearest = f"nearest: --generate {most}" if most > 0 else f"nearest: a prompt of {model.positions - 1} tokens"
        raise InputError(f"--generate {count}: {prompt} tokens of prompt and {model.positions} positions; {nearest}")
