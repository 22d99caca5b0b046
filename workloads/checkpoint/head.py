"""The head of a trained encoder: pooler and classifiers, as in Hugging Face's models.

=================== ================================ ==================================
kind                BERT, RoBERTa                    DistilBERT
=================== ================================ ==================================
pooler              first token, dense, tanh         -
sequence            the pooler, then a dense layer   first token, dense, ReLU, dense
tokens, span        a dense layer over all tokens    the same
=================== ================================ ==================================

ViT and DeiT: the pooler, or a dense layer on the first token. DINOv2 runs without a head: its classifier reads the mean
of the patches too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sim.base.errors import InputError

Kind = Literal["pooler", "sequence", "tokens", "span", "language"]
Problem = Literal["single_label_classification", "multi_label_classification", "regression"]
PROBLEMS: tuple[Problem, ...] = ("single_label_classification", "multi_label_classification", "regression")

PREFIXES = {
    "bert": "Bert",
    "distilbert": "DistilBert",
    "roberta": "Roberta",
    "vit": "ViT",
    "deit": "DeiT",
    "dinov2": "Dinov2",
}
TASKS: dict[str, Kind] = {
    "Model": "pooler",
    "ForSequenceClassification": "sequence",
    "ForTokenClassification": "tokens",
    "ForQuestionAnswering": "span",
    "ForImageClassification": "sequence",
}
"""Name of an architecture without its prefix -> kind of head; other heads are left out."""

POOLER = "pooler"
"""Our name of BERT's dense layer on the first token."""

MODULES = {
    "bert": {"pooler": (POOLER,), "sequence": (POOLER, "classifier")},
    "distilbert": {"pooler": (), "sequence": ("pre_classifier", "classifier")},
}
MODULES["roberta"] = MODULES["bert"]
MODULES["vit"] = MODULES["deit"] = {"pooler": (POOLER,), "sequence": ("classifier",)}
MODULES["dinov2"] = {}
"""Dense layers of a head in their order, by our name; those of tokens and span are `LAST` alone."""

SOURCES = {POOLER: "pooler.dense"}
"""Our name -> module in the file, where they differ."""

LAST = {"sequence": "classifier", "tokens": "classifier", "span": "qa_outputs"}
SPAN_LABELS = ("start", "end")


@dataclass(frozen=True)
class Head:
    """``labels``: one name per logit, () for a pooler. ``layers``: names of its dense layers in order."""

    kind: Kind
    layers: tuple[str, ...]
    labels: tuple[str, ...] = ()
    problem: Problem = "single_label_classification"


def find(config: Mapping[str, Any], model: str, shapes: Mapping[str, tuple[int, ...]], where: object) -> Head | None:
    """Return the head of a model of type ``model`` ("bert"), or None if it has no known head.

    ``config``: of config.json. ``shapes``: by tensor name without prefix. Decided by the architecture's name, or by the
    tensors if it has none. Raises InputError for labels that do not fit the tensors.
    """
    kind = _kind(config, model, shapes)
    if kind is None:
        return None
    layers = MODULES[model].get(kind, (LAST.get(kind, ""),))
    if not layers:
        return None
    if kind == "pooler":
        return Head(kind, layers)
    rows = shapes.get(f"{LAST[kind]}.weight", (2 if kind == "span" else 0,))[0]
    labels, problems = _labels(config, rows, kind, where)
    problem = config.get("problem_type") or (PROBLEMS[2] if rows == 1 else PROBLEMS[0])
    if problem not in PROBLEMS:
        problems.append(f"{where}: config.json: problem_type {problem!r} is none of {', '.join(PROBLEMS)}")
    if problems:
        raise InputError(problems)
    return Head(kind, layers, labels, problem)


def wanted(head: Head | None, hidden: int) -> dict[str, tuple[str, tuple[int, ...], bool]]:
    """Return our name -> (name in the file, shape there, transposed) of a head's tensors."""
    found: dict[str, tuple[str, tuple[int, ...], bool]] = {}
    for number, name in enumerate(head.layers if head else ()):
        assert head is not None
        last = head.kind != "pooler" and number == len(head.layers) - 1
        rows = len(head.labels) if last else hidden
        source = SOURCES.get(name, name)
        found[f"{name}.weight"] = (f"{source}.weight", (rows, hidden), True)
        found[f"{name}.bias"] = (f"{source}.bias", (rows,), False)
    return found


def _kind(config: Mapping[str, Any], model: str, names: Collection[str]) -> Kind | None:
    architectures = config.get("architectures")
    if isinstance(architectures, list) and architectures:
        kind = TASKS.get(str(architectures[0]).removeprefix(PREFIXES[model]))
        kind = kind if MODULES[model] else None
        return None if kind == "pooler" and f"{SOURCES[POOLER]}.weight" not in names else kind
    if not MODULES[model]:
        return None
    if f"{LAST['span']}.weight" in names:
        return "span"
    if "classifier.weight" in names:
        below = {SOURCES.get(name, name) for name in MODULES[model]["sequence"][:-1]}
        return "sequence" if all(f"{module}.weight" in names for module in below) else "tokens"
    return "pooler" if f"{SOURCES[POOLER]}.weight" in names else None


def _labels(config: Mapping[str, Any], rows: int, kind: Kind, where: object) -> tuple[tuple[str, ...], list[str]]:
    if kind == "span":
        rule = f"{where}: tensor 'qa_outputs.weight' has {rows} rows; start and end of an answer are 2"
        return SPAN_LABELS, [] if rows == len(SPAN_LABELS) else [rule]
    named = config.get("id2label")
    if not isinstance(named, Mapping):
        return tuple(f"LABEL_{n}" for n in range(max(1, rows))), []
    labels = tuple(str(named.get(str(n), f"LABEL_{n}")) for n in range(max(1, len(named))))
    if rows and len(labels) != rows:
        return labels, [f"{where}: config.json: id2label names {len(labels)} labels, classifier.weight has {rows} rows"]
    return labels, []
