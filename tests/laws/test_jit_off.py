"""The compiled core and the same source run as plain Python give the same result.

Compiled code reads a record's fields; plain Python finds an ndarray attribute of that name first. So no field may be
named like one, and a program is run both ways.
"""

from __future__ import annotations

import json
import os
import pkgutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

import sim.core

ROOT = Path(__file__).parents[2]
SCRIPT = """
import json, sys
from sim.hardware import load
from sim.lower import Conv, Matmul, Norm, Operand, ResidualAdd, lower
from sim.timing.timer import run
X, W, D, C = (Operand(0x2001_0000 + 0x10_0000 * place, 32) for place in range(4))
WORKS = {
    "matmul": Matmul(20, 18, 17, X, W, C, d=D, bias="row"),
    "output_stationary": Matmul(16, 16, 16, X, W, C, dataflow="OS"),
    "resadd": ResidualAdd(16, 32, X, W, C),
    "norm": Norm(2, 32, "softmax", X, C),
    "conv": Conv(1, 3, 3, 3, 4, 3, Operand(X.address, 3), W, C, D, 1, 1),
}

def message(preset, name):
    hw = load(preset)
    t = run(lower(WORKS[name], hw), hw, clock="leap", timeline=True)
    return [t.cycles, t.sections, t.counters, t.causes, t.timeline.tolist(), t.phase, t.visited_cycles]

print(json.dumps([message(*case) for case in json.loads(sys.argv[1])]))
"""
CASES = [
    ("gemmini_default", "matmul"),
    ("gemmini_default", "output_stationary"),
    ("gemmini_default", "resadd"),
    ("gemmini_default", "conv"),
    ("gemmini_ibert", "norm"),
    ("gemmini_chip", "matmul"),
]


def messages(*, jit: bool) -> list[Any]:
    """Time every case, one after the other in a process of its own."""
    kept = {name: value for name, value in os.environ.items() if name != "NUMBA_DISABLE_JIT"}
    environment = {**kept, **({} if jit else {"NUMBA_DISABLE_JIT": "1"}), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(CASES)], capture_output=True, text=True, env=environment, check=True
    )
    told: list[Any] = json.loads(done.stdout)
    return told


def test_plain_python_tells_what_compiled_code_tells() -> None:
    for case, compiled, plain in zip(CASES, messages(jit=True), messages(jit=False), strict=True):
        assert compiled == plain, case


def records(dtype: np.dtype[Any]) -> set[str]:
    """All field names of a record dtype, nested ones too."""
    names = set(dtype.names or ())
    for name in dtype.names or ():
        names |= records(dtype[name].base)
    return names


def test_no_field_is_named_like_an_attribute_of_a_record() -> None:
    """`m.size` would be 1 in plain Python, and the field in compiled code, without any error."""
    taken = set(dir(np.record)) | set(dir(np.recarray))
    checked = 0
    for module in pkgutil.walk_packages(sim.core.__path__, "sim.core."):
        for name, value in vars(import_module(module.name)).items():
            if isinstance(value, np.dtype) and value.names:
                checked += 1
                assert records(value) & taken == set(), (module.name, name)
    assert checked > 15
