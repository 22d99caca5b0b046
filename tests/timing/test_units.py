"""The rooms of the core: what a unit owns, what its fields are called, and that no list forgets one."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import numpy as np
import pytest

from sim.core import engine, machine
from sim.core.repeat import canonical
from sim.core.units.memory import TIMING_BITS, dram, fixed, tile

CORE = Path(machine.__file__).parent
ACRONYMS = {
    "n", "rs1", "rs2", "gap", "arg", "row", "job", "raw", "hit", "tag", "i", "j", "k",  # the field's own or plain words
    "p", "acc", "tlb", "mem", "l2", "dim", "ldq", "stq", "exq", "ids", "now",
}  # fmt: skip
"""Names of three letters or fewer: plain words, and the spelling of Gemmini's own parameters."""

STEPPED_BY_OTHERS = {"acc", "tlb", "mem", "norm", "writer"}
"""Units without a phase of their own: the port, the DMA, the store path and the mesh call them."""
NO_NORMAL_FORM = {"tlb"}
"""The TLB is no part of a state: its answers are checked again at each repetition (memo.py)."""


def fields(dtype: np.dtype, path: str = "m") -> list[str]:
    """Paths of all fields of a record, nested ones too."""
    found = []
    for name in dtype.base.names or ():
        found += [f"{path}.{name}", *fields(dtype.base[name], f"{path}.{name}")]
    return found


def test_field_names_can_be_read_aloud() -> None:
    short = {path for path in fields(machine.MACHINE) if len(path.rsplit(".", 1)[1]) <= 3}
    assert {path.rsplit(".", 1)[1] for path in short} <= ACRONYMS


@pytest.mark.parametrize("name", machine.UNITS)
def test_a_unit_owns_its_record_reset_step_and_normal_form(name: str) -> None:
    unit = machine.UNITS[name]
    assert machine.MACHINE[name] == unit.DTYPE
    if name not in NO_NORMAL_FORM:
        assert f"{unit.__name__.rsplit('.', 1)[1]}.canonise(m, now)" in inspect.getsource(canonical)
    if name not in STEPPED_BY_OTHERS:
        assert f"{unit.__name__.rsplit('.', 1)[1]}.step" in inspect.getsource(engine)  # its phase


def test_the_phases_of_the_loop_are_those_of_its_docstring() -> None:
    """Every number of the docstring stands beside a line of the loop, in order."""
    text = inspect.getsource(engine)
    numbered = [int(line.split()[0]) for line in (engine.__doc__ or "").splitlines() if line[:2].strip().isdigit()]
    assert numbered == list(range(1, 16))
    order = ["fell_idle(now", "_results(now", "mvin.step_write", "mvin.step_merge", "port.step_delivery",
             "step_requests",
             "mvout.step(now", "_execute(now, m)", "mvout.step_dispatch", "store.step", "reader.step", "load.step",
             "reservation.step", "loop_matmul.step", "frontend.step"]  # fmt: skip
    body = text[text.index("@entry\ndef run") :]
    for number, call in enumerate(order, start=1):
        line = next(line for line in body.splitlines() if call in line)
        assert f"# {number}" in line or str(number) in line.split("#")[-1] or number == 1, (number, line)


def test_every_field_of_a_unit_is_explained() -> None:
    """A comment stands on the field's line, or on a line above for the group that it opens."""
    bare = []
    for path in sorted((CORE / "units").rglob("*.py")):
        if "dram" in path.parts or path.name == "dram.py":
            continue
        explained = False
        for line in path.read_text().splitlines():
            stripped = line.strip()
            if stripped.startswith("# "):
                explained = True
            elif stripped.startswith('("') and '"i8"' in stripped:
                if "  # " not in line and not explained:
                    bare.append(f"{path.name}: {stripped}")
                continue
            else:
                explained = False
    assert bare == []


def test_a_memory_model_has_the_whole_protocol() -> None:
    protocol = ("DTYPE", "TIMING_BITS", "busy", "takes_read", "takes_write", "read", "write", "offer", "rebase")
    for model in (fixed, dram, tile):
        assert all(hasattr(model, name) for name in protocol), model.__name__
    assert all(hasattr(fixed, name) for name in ("beat", "acknowledge"))  # a DRAM answers through its queues
    assert TIMING_BITS == (fixed.TIMING_BITS, dram.TIMING_BITS, tile.TIMING_BITS)


def test_no_file_of_the_core_is_long() -> None:
    assert {str(path): len(path.read_text().splitlines()) for path in CORE.rglob("*.py")
            if len(path.read_text().splitlines()) > 400} == {}  # fmt: skip


def test_functions_outside_the_units_fit_on_a_screen() -> None:
    """Sixty lines; the units may need more where the RTL's own process is one."""
    long = {}
    for path in CORE.rglob("*.py"):
        if "units" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= 60:
                long[f"{path.name}:{node.name}"] = node.end_lineno - node.lineno + 1
    assert long == {}
