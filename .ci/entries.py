"""Calls of all compiled entries: what a wheel compiles and tries, and what `make test` compiles before the tests.

`python .ci/entries.py timing executor` compiles both parts side by side, into the user's cache of compiled code; what
is there already is loaded.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import sim
import workloads
from sim import functional, hardware
from sim.core import compiling
from sim.core.units.reservation import TIMELINE
from sim.functional import products
from sim.plan.planner import plan
from sim.trace.profile import profile

LINES = (None, "block16:0.5", "2:4", "unstructured:0.3/pack", "unstructured:0.3/bitmap", "activations=2:4")
SIZES: dict[str, Any] = {"hidden": 64, "heads": 2, "ffn": 64}


def timing() -> sim.Result:
    """Time on one core, behind an L2 and on several cores, with a timeline; lower products with zeros; multiply whole
    products; return one of the results.
    """
    compiling.prepare(os.cpu_count() or 1)
    for line in LINES:
        result = sim.simulate("encoder-layer", "gemmini_sparse", seq=32, sparsity=line, cache=False, **SIZES)
    profile(result)
    for preset, changes in (("gemmini_l2", {}), ("gemmini_ibert", {"cores.count": 2, "cores.shared": "memory"})):
        sim.simulate("encoder-layer", preset, overrides=changes, seq=32, cache=False, **SIZES)
    hw = hardware.load("gemmini_ibert")
    machine = functional.Machine(hw, 1 << 24)
    for step in plan(workloads.build("encoder-layer", seq=16, **SIZES), hw):
        for work in step.works:
            if products.able(work, hw):
                products.compute(work, machine)
    return result


def executor() -> None:
    """Execute no command at all, for which the executor's loop over commands is compiled."""
    functional.Machine(hardware.load("gemmini_ibert"), 1 << 16).run(np.zeros(0, TIMELINE))


PARTS: dict[str, Callable[[], object]] = {"timing": timing, "executor": executor}


def main() -> None:
    """Call the entries of the named parts, each part in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="+", choices=PARTS)
    first, *others = parser.parse_args().parts
    beside = [subprocess.Popen([sys.executable, __file__, one]) for one in others]
    PARTS[first]()
    codes = [one.wait() for one in beside]
    if any(codes):
        raise SystemExit("a part could not be compiled")


if __name__ == "__main__":
    main()
