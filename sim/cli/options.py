"""The options of a request, each declared once, and the decorators that add them to a command.

A command that takes a `Request` writes ``@asks()`` above it and a parameter ``request``: it then has every option of
`OPTIONS`, in this order, before its own. A new option is one entry of `OPTIONS`; if its name is a field of `Request`,
nothing else is needed. Options of a command that belong together are fields of a frozen dataclass: a parameter of that
type adds one option per field to the command (`asks`, or `records` for a command without a request).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

from sim.base.errors import InputError, given_twice

if TYPE_CHECKING:
    from sim.run.request import Request
    from sim.sparsity.edits.pruning import Pruning

DEFAULT_HARDWARE = "gemmini_ibert"
"""The default machine with the units that keep every encoder operator on the array."""

Workload = Annotated[
    str, typer.Argument(help="Workload name (see `carat list`), a graph file (.json), an ONNX file (.onnx).")
]
Machine = Annotated[str, typer.Option("--hw", help="Machine: a name (see `carat list`) or a TOML file.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the machine, e.g. scratchpad.capacity=512KiB."),
]
Cpu = Annotated[
    str | None,
    typer.Option(
        "--cpu",
        metavar="none|rocket|...",
        help="What the CPU costs in front of the accelerator: a file of hwconfigs/cpu (see `carat list`); none: a "
        "command every cycle, the accelerator alone. Short for --set cpu.prices=NAME.",
    ),
]
Seq = Annotated[int | None, typer.Option("--seq", min=1, help="Sequence length in tokens.")]
Batch = Annotated[int | None, typer.Option("--batch", min=1, help="Sequences at a time.")]
Phase = Annotated[
    str | None,
    typer.Option("--phase", metavar="encode|prefill|decode|generate", help="Of a decoder's work; generate: carat run."),
]
Kv = Annotated[int | None, typer.Option("--kv", min=0, help="Tokens whose keys are cached before a decode step.")]
Tokens = Annotated[int | None, typer.Option("--tokens", min=1, help="Tokens to generate, with --phase generate.")]
Sizes = Annotated[
    list[str] | None,
    typer.Option("--size", metavar="NAME=VALUE", help="Another size of the workload, e.g. layers=2."),
]
Dim = Annotated[
    str | None,
    typer.Option("--dim", metavar="NAME=N,...", help="Numbers of an ONNX file's dimensions, e.g. batch=1,seq=128."),
]
Unknown = Annotated[
    Literal["refuse", "host"] | None,
    typer.Option("--unknown", help="Operators of an ONNX file that are not known: an error, or priced on the host."),
]
SparsityText = Annotated[
    str | None,
    typer.Option(
        "--sparsity",
        metavar="PATTERN|FILE",
        help="block16:0.5, 2:4, unstructured:0.3, masks.npz, SPEC.toml; see `carat list`.",
    ),
]
Prune = Annotated[
    str | None,
    typer.Option(
        "--prune", metavar="NAME=KEEP,...", help="Structured pruning, e.g. heads=8,layers=6 or *.FF1.columns=1536."
    ),
]
Saliency = Annotated[
    Path | None,
    typer.Option("--saliency", metavar="SCORES.npz", help="Scores that say which of --prune stay: L0.heads, ..."),
]
Weights = Annotated[
    Path | None,
    typer.Option("--weights", metavar="DIR|FILE", help="Weights whose magnitudes choose the parts that --prune keeps."),
]
Tile = Annotated[
    list[str] | None,
    typer.Option(
        "--tile",
        metavar="OP=I,J,K[,KEY=WORD...]",
        help="Mapping of matching matmuls by hand: tile in blocks of the array; loop_order=jik, resident=a, "
        "halves=apart, dataflow=OS.",
    ),
]
Schedule = Annotated[
    list[str] | None,
    typer.Option(
        "--schedule",
        metavar="NAME|OP=NAME",
        help="In what order, and with what left on chip, operators run: library, or others that `carat list` names, "
        "joined by +; of matching operators alone with OP=; repeatable.",
    ),
]
AllowLarge = Annotated[
    bool, typer.Option("--allow-large", help="Sizes beyond the limits are meant: they take hours and memory.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the random masks.")]
Clock = Annotated[
    Literal["periodic", "leap", "reference"],
    typer.Option(
        "--clock",
        help="How simulated time passes: periodic, leap (repeats nothing from memory) or reference (each cycle, slow); "
        "one result. The frequency is --set clock_mhz=N.",
    ),
]
Dataflow = Annotated[str | None, typer.Option("--dataflow", metavar="WS|OS", help="Dataflow of the matmuls.")]
Objective = Annotated[
    Literal["cycles", "energy", "edp"], typer.Option("--objective", help="What a search for tiles minimises.")
]
Reach = Annotated[
    Literal["call", "hardware"],
    typer.Option(
        "--reach",
        help="Of a search for tiles. call: arguments of the C library's explicit-tile call. hardware: also loop "
        "orders, operands that stay, scratchpad halves, which only loop commands of one's own can say.",
    ),
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Neither look timings up on disk nor keep them there.")]
Jobs = Annotated[int | None, typer.Option("--jobs", min=1, help="Worker processes. Default: one per core.")]
Grid = Annotated[
    list[str] | None,
    typer.Option(
        "--grid",
        metavar="KEY=V1,V2,...",
        help="Values of a machine key, or FIRST:LAST:STEP; KEY+KEY changes both; repeatable.",
    ),
]
Store = Annotated[
    Path | None, typer.Option("--store", help="SQLite file that keeps simulated results, to resume from.")
]
Table = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write the table here: .csv or .parquet.")
]
Window = Annotated[str | None, typer.Option("--window", metavar="FROM:TO", help="Only these cycles of the run.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


REQUIRED = inspect.Parameter.empty

OPTIONS: dict[str, tuple[Any, Any]] = {
    "workload": (Workload, REQUIRED),
    "hw": (Machine, DEFAULT_HARDWARE),
    "set_": (Settings, None),
    "cpu": (Cpu, None),
    "seq": (Seq, None),
    "batch": (Batch, None),
    "phase": (Phase, None),
    "kv": (Kv, None),
    "dim": (Dim, None),
    "unknown": (Unknown, None),
    "size": (Sizes, None),
    "sparsity": (SparsityText, None),
    "prune": (Prune, None),
    "saliency": (Saliency, None),
    "weights": (Weights, None),
    "seed": (Seed, 0),
    "clock": (Clock, "periodic"),
    "dataflow": (Dataflow, None),
    "tile": (Tile, None),
    "schedule": (Schedule, None),
    "allow_large": (AllowLarge, False),
}
"""Parameter of a command -> (type with its option, default), in the order of `--help`."""

Command = Callable[..., None]


def asks(workload: str | None = None, *, without: Sequence[str] = ()) -> Callable[[Command], Command]:
    """Give a command the options of a request in place of its parameter ``request``, and those of its records.

    ``workload``: its default, None = must be given. ``without``: options that the command has not, or declares itself.
    """
    shared = {name: option for name, option in OPTIONS.items() if name not in without}
    if workload is not None:
        shared["workload"] = (Workload, workload)
    return lambda command: _asking(command, shared)


def records(command: Command) -> Command:
    """Give a command an option per field of each parameter that is a record (a dataclass of options)."""
    return _asking(command, {})


def _asking(command: Command, shared: Mapping[str, tuple[Any, Any]]) -> Command:
    """Return the command as typer reads it: one parameter an option."""
    hints = get_type_hints(command, localns={"Request": object} if shared else None, include_extras=True)
    own = dict(inspect.signature(command).parameters)
    if shared:
        del own["request"]
    requested: dict[str, Any] = {name: hints[name] for name in own if is_dataclass(hints[name])}
    declared = dict(shared)
    for name, part in own.items():
        declared |= _fields(requested[name]) if name in requested else {name: (hints[name], part.default)}
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter(name, keyword, default=default, annotation=kind) for name, (kind, default) in declared.items()
    ]

    def asking(**given: Any) -> None:
        if shared:
            given["request"] = request_of({name: given.pop(name) for name in shared})
        for name, record in requested.items():
            given[name] = record(**{field.name: given.pop(field.name) for field in fields(record)})
        command(**given)

    asking.__name__, asking.__doc__ = command.__name__, command.__doc__
    asking.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    asking.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return asking


def _fields(record: Any) -> dict[str, tuple[Any, Any]]:
    """Return type and default of each field of a record."""
    hints = get_type_hints(record, include_extras=True)
    return {
        field.name: (hints[field.name], REQUIRED if field.default is MISSING else field.default)
        for field in fields(record)
    }


def request_of(requested: dict[str, Any]) -> Request:
    """Return the request of the options given, by parameter. Raises InputError for what cannot be read."""
    from sim.run.request import Request  # with it numpy and pydantic: not for --help

    named = {field.name for field in fields(Request)}
    return Request(
        requested.get("workload", ""),
        requested.get("hw", DEFAULT_HARDWARE),
        overrides=settings(requested.get("set_"), requested.get("cpu")),  # type: ignore[arg-type]
        sizes=sizes({name: requested.get(name) for name in NAMED_SIZES}, requested.get("size")),  # type: ignore[arg-type]
        prune=_pruning(requested.get("prune"), requested.get("saliency"), requested.get("weights")),
        mapping=by_hand(requested.get("tile")) or None,
        schedule=schedules(requested.get("schedule")) or None,
        **{name: value for name, value in requested.items() if name in named - {"prune", "schedule"}},
    )


def settings(given: Sequence[str] | None, cpu: str | None = None) -> dict[str, object]:
    """Return ``--set key=value`` and ``--cpu`` as overrides. Raises InputError for what has no ``=``."""
    from sim.hardware import parse_settings  # pydantic: not for --help

    changed = parse_settings(given or ())
    if cpu is not None and "cpu.prices" in changed:
        raise InputError("--cpu is short for --set cpu.prices: give one of them")
    return ({} if cpu is None else {"cpu.prices": cpu}) | changed


NAMED_SIZES = ("seq", "batch", "phase", "kv", "dim", "unknown")
"""Sizes of a workload that have an option of their own."""


def sizes(named: Mapping[str, int | str | None], given: Sequence[str] | None) -> dict[str, int | str]:
    """Return the workload's size arguments. Raises InputError for a size without a name or a value."""
    chosen: dict[str, int | str] = {name: value for name, value in named.items() if value is not None}
    names = [text.partition("=")[0].strip() for text in given or ()]
    problems = given_twice(f"--size {name}" for name in names)
    problems += [f"--{name} and --size {name} are the same size; give one of them" for name in chosen if name in names]
    for text in given or ():
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            problems.append(f"--size {text}: must be NAME=VALUE, e.g. layers=2 or dtype=bf16")
            continue
        digits = value.removeprefix("-")
        whole = digits.isascii() and digits.isdigit()
        if len(value) > (most := MAX_DIGITS if whole else MAX_CHARACTERS):
            problems.append(f"--size {name}: {len(value):,} characters; the rule is at most {most:,}")
        else:
            chosen[name] = int(value) if whole else value
    if problems:
        raise InputError(problems)
    return chosen


MAX_DIGITS = 18
"""Digits of a size: a number of more fits no integer of 64 bits."""
MAX_CHARACTERS = 1 << 14
"""Characters of one that is no number: cached tokens of 2,000 sequences, joined by +."""


def _pruning(prune: str | None, saliency: Path | None, weights: Path | None) -> Pruning | str | None:
    """Return the pruning of --prune, with the file that chooses the parts that stay. Raises InputError."""
    if saliency is None and weights is None:
        return prune
    if prune is None:
        given = "--saliency" if weights is None else "--weights"
        raise InputError(f"{given} chooses the parts that --prune keeps; give --prune too, e.g. --prune heads=8")
    from sim.sparsity.edits.pruning import parse  # numpy: not for --help

    return parse(prune, saliency, weights)


def schedules(given: Sequence[str] | None) -> dict[str, str]:
    """Return ``--schedule`` options as a mapping: operator pattern -> schedules; one without a name is for all."""
    split = [text.rpartition("=") for text in given or ()]
    named = (f"--schedule {name.strip()}=" if equals else "--schedule" for name, equals, _ in split)
    if problems := given_twice(named, "join schedules by +, those of different points of a sweep by commas"):
        raise InputError(problems)
    return {name.strip() if equals else "*": schedule.strip() for name, equals, schedule in split}


def by_hand(tiles: Sequence[str] | None) -> dict[str, dict[str, Any]]:
    """Return ``--tile`` options as a mapping: operator pattern -> fields of a work item. Raises InputError."""
    mapping: dict[str, dict[str, Any]] = {}
    problems = given_twice(f"--tile {text.partition('=')[0]}" for text in tiles or ())
    for text in tiles or ():
        name, _, rest = text.partition("=")
        numbers, words = rest.split(",")[:3], rest.split(",")[3:]
        whole = len(numbers) == 3 and all(number.strip().isdecimal() for number in numbers)
        if name and whole and all("=" in word for word in words):
            choices = {key.strip(): word.strip() for key, _, word in (word.partition("=") for word in words)}
            mapping[name] = {"tile": tuple(int(number) for number in numbers), **choices}
        else:
            problems.append(
                f"--tile {text}: must be OP=I,J,K with three whole numbers of blocks, e.g. L0.FF1=5,5,48, and behind "
                "them words like resident=a"
            )
    if problems:
        raise InputError(problems)
    return mapping
