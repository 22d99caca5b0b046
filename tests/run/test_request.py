"""A request is spelled once: the same simulation from Python, the command line and a sweep."""

from __future__ import annotations

import dataclasses
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import sim
from sim.base.errors import InputError
from sim.cli import app, options
from sim.graph import Op, Tensor, View
from sim.run.request import KINDS, Request, Resolver, resolve

TINY = {"seq": 16, "hidden": 32, "heads": 2, "ffn": 32}


def test_keywords_that_are_no_field_are_sizes() -> None:
    requested = Request.of("encoder-layer", "gemmini_ibert", {"seed": 3, "overrides": {"clock_mhz": 500}, **TINY})
    assert (requested.seed, requested.overrides, dict(requested.sizes)) == (3, (("clock_mhz", 500),), TINY)
    assert requested == Request("encoder-layer", "gemmini_ibert", {"clock_mhz": 500}, TINY, seed=3)  # type: ignore[arg-type]
    assert hash(requested) == hash(pickle.loads(pickle.dumps(requested)))


def test_command_line_and_python_ask_for_the_same() -> None:
    given = {"workload": "encoder-layer", "set_": ["clock_mhz=500"], "seq": 16, "size": ["hidden=32"]}
    typed = options.request_of(given)
    spoken = Request.of("encoder-layer", "gemmini_ibert", {"overrides": {"clock_mhz": 500}, "seq": 16, "hidden": 32})
    assert typed == spoken


def test_words_are_sizes_too() -> None:
    (wide,) = {tensor.dtype for tensor in _graph(dtype="bf16").tensors.values() if tensor.kind == "input"}
    assert wide == "bf16"
    assert options.sizes({}, ["dtype=bf16", "layers=2"]) == {"dtype": "bf16", "layers": 2}


def _graph(**sizes: int | str) -> sim.Graph:
    return resolve(Request.of("encoder-layer", "gemmini_bf16_8x8", {**TINY, **sizes})).graph


def test_every_option_of_a_request_is_on_every_command_that_takes_one() -> None:
    """But for those that a command declares itself or leaves out with a reason."""
    callbacks = [command.callback for command in app.app.registered_commands if command.callback is not None]
    found = {callback.__name__: set(inspect.signature(callback).parameters) for callback in callbacks}
    assert all(set(options.OPTIONS) <= found[name] for name in ("run", "trace", "whatif"))
    machine_and_sizes = {"set_", "cpu", "seq", "batch", "size"}
    takers = {name for name, names in found.items() if machine_and_sizes <= names}
    assert takers == {"run", "sweep", "explore", "show", "map_workload", "trace", "whatif"}


def test_equal_parts_of_requests_are_made_once() -> None:
    resolver = Resolver()
    first, second = (resolver.case(Request.of("encoder-layer", "gemmini_ibert", {"seed": s, **TINY})) for s in (0, 1))
    assert first.given is second.given and first.hw is second.hw


def test_case_travels_to_a_worker_whole() -> None:
    case = resolve(
        Request.of("encoder-layer", "gemmini_ibert", {"sparsity": "block16:0.5", "prune": "heads=1", **TINY})
    )
    there = pickle.loads(pickle.dumps(case))
    assert (there.graph, there.hw, there.request) == (case.graph, case.hw, case.request)
    assert [step.macs_done for step in there.steps()] == [step.macs_done for step in case.steps()]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"workloads": "encoder-layer", "sizes": {"seq": [16, 2.5]}},
            "must be whole numbers or words",
        ),
        ({"workloads": "encoder-layer", "sparsty": "2:4"}, "did you mean 'sparsity'"),
    ],
)
def test_what_a_sweep_cannot_name_is_refused_with_what_to_write(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        sim.sweep("gemmini_ibert", **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"overrides": [1]}, "overrides: .* mapping"),
        ({"sparsity": 5}, "sparsity: '5' must be text, Rules or a ZeroRule"),
        ({"prune": 5}, "prune: '5' must be text"),
        ({"seed": "a"}, "seed: 'a' must be a whole number"),
        ({"seed": -1}, "seed: -1 must be a whole number"),
        ({"clock": "sundial"}, "clock: 'sundial' is none of periodic"),
        ({"mapping": 5}, "mapping: '5' must be a mapping of mappings"),
        ({"mapping": {"*": 5}}, r"mapping: '\*': '5' must be a mapping"),
        ({"sparsty": "2:4"}, "no argument 'sparsty' .did you mean 'sparsity'"),
        ({"dtype": [1]}, "sizes: dtype = .* must be one number or one word"),
        ({"threads": "a"}, "threads: 'a'; the rule"),
        ({"memo": 3}, "memo: '3' must be a Memo"),
        ({"progress": 5}, "progress: '5' must be a function of"),
        ({"graph": None}, "graph: 'None' must be a workload name"),
        ({"machine": None}, "machine: 'None' must be a machine name"),
    ],
)
def test_arguments_of_a_wrong_kind_are_refused_with_what_to_write(arguments: dict[str, Any], message: str) -> None:
    given = {"graph": "encoder-layer", "machine": "gemmini_ibert", **TINY, **arguments}
    with pytest.raises(InputError, match=message):
        sim.simulate(given.pop("graph"), given.pop("machine"), **given)


def test_what_is_no_result_is_not_explained() -> None:
    not_a_result: Any = 3
    with pytest.raises(InputError, match="result: '3' must be a Result"):
        sim.explain(not_a_result)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workloads": 5}, "workloads: '5' must be a workload name, a graph file or a Graph"),
        ({"workloads": "bert-tiny", "grid": [1]}, "grid: .* must be a mapping"),
        ({"workloads": "bert-tiny", "sizes": [1]}, "sizes: .* must be a mapping"),
        ({"workloads": "bert-tiny", "jobs": "x"}, "jobs: 'x' worker processes"),
        ({"workloads": "bert-tiny", "seed": "x"}, "seed: 'x'"),
        ({"workloads": "bert-tiny", "store": 3}, "store: '3' must be the path"),
        ({"workloads": "bert-tiny", "sparsity": 3}, "sparsity: '3' must be text"),
    ],
)
def test_sweeps_refuse_arguments_of_a_wrong_kind(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        sim.sweep("gemmini_ibert", **arguments)


def test_objects_of_a_wrong_kind_are_refused_with_what_to_write() -> None:
    result = sim.simulate("encoder-layer", "gemmini_ibert", **TINY)
    calls: tuple[tuple[Callable[[], object], str], ...] = (
        (lambda: result.save(3), "folder: '3' must be the path"),  # type: ignore[arg-type]
        (lambda: sim.load(3), "folder: '3' must be the path"),  # type: ignore[arg-type]
        (lambda: result.timeline(3), "op: '3' must be an operator's name"),  # type: ignore[arg-type]
        (lambda: sim.Graph.from_ops("x", [1], []), r"tensors\[0\]: '1' must be a Tensor"),  # type: ignore[list-item]
    )
    for call, message in calls:
        with pytest.raises(InputError, match=message):
            call()


def test_a_product_whose_program_fills_the_memory_is_meant_or_refused() -> None:
    side = 32_768  # 3.5e13 multiply-accumulates: a hundred million commands
    kinds = {"x": "input", "w": "weight", "y": "activation"}
    tensors = [Tensor(name, (side, side), "int8", kind) for name, kind in kinds.items()]  # type: ignore[arg-type]
    x, w, y = map(View.whole, tensors)
    graph = sim.Graph.from_ops("cube", tensors, [Op("product", "matmul", (x, w), y)])
    with pytest.raises(InputError, match=r"product has 35,184,372,088,832 multiply-accumulates .* --allow-large"):
        resolve(Request.of(graph, "gemmini_ibert", {}))
    assert resolve(Request.of(graph, "gemmini_ibert", {"allow_large": True})).graph is graph


def test_every_field_of_a_request_is_checked_or_checked_where_it_is_used() -> None:
    """A field without a kind is one whose own door refuses what it does not know."""
    names = {field.name for field in dataclasses.fields(Request)}
    assert names - set(KINDS) == {"clock", "dataflow"}
