"""Names that cannot be printed as they are do not pass a door; what a saved file holds instead is shown escaped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import sim
import workloads
from sim import hardware
from sim.base.errors import InputError
from sim.cli import main
from workloads.graph_file import from_dict

BAD = ["\x1b[31mred", "a\nb", "a\x00b", "\u202eleft", "\ud800", "", "x" * 256]


def small(**names: str) -> dict[str, object]:
    shapes = {"x": ([4, 8], "input"), "w": ([8, 4], "weight"), "y": ([4, 4], "activation")}
    tensors = [
        {"name": names.get(name, name), "shape": shape, "dtype": "int8", "kind": kind}
        for name, (shape, kind) in shapes.items()
    ]
    op = {"name": names.get("op", "op"), "kind": "matmul", "inputs": [names.get("x", "x"), "w"], "output": "y"}
    return {"name": names.get("graph", "graph"), "tensors": tensors, "ops": [op]}


@pytest.mark.parametrize("what", ["graph", "op", "x"])
@pytest.mark.parametrize("name", BAD)
def test_names_of_a_graph(what: str, name: str) -> None:
    assert from_dict(small()).name == "graph"
    with pytest.raises(InputError, match="its name must") as refused:
        from_dict(small(**{what: name}))
    assert all(line.isprintable() for line in refused.value.problems)


@pytest.mark.parametrize("key", ["name", "description"])
def test_texts_of_a_machine(key: str) -> None:
    with pytest.raises(InputError, match="must consist of printable characters"):
        hardware.load("gemmini_default", {key: "a\x1b[2Jb"})


def test_a_saved_run_altered_inside_is_shown_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two"):
        latency = {"memory.latency_cycles": 40 if name == "one" else 80}
        sim.simulate(workloads.build("encoder-layer", seq=16, hidden=32, heads=2, ffn=64), "gemmini_4x4",
                     overrides=latency, cache=False).save(tmp_path / name)  # fmt: skip
    ops, record = tmp_path / "two" / "ops.csv", tmp_path / "two" / "run.json"
    ops.write_text(ops.read_text().replace("L0.FF1", "L0.\x1b[31mFF1"))
    record.write_text(json.dumps({**json.loads(record.read_text()), "sentence": "a\x1b[2Jb"}))
    with pytest.raises(SystemExit):
        main(["diff", str(tmp_path / "one"), str(tmp_path / "two")])
    with pytest.raises(SystemExit):
        main(["report", str(tmp_path / "two"), "-o", str(tmp_path / "page.html")])
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err + (tmp_path / "page.html").read_text()
