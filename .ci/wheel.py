"""A wheel with compiled code: `make wheel`, or `python .ci/wheel.py --output dist`.

The code is compiled for any CPU of this architecture, so that a user compiles nothing (`sim.core.kept`). The wheel is
for this version of CPython, this architecture and this release of numba; anywhere else, and with changed sources, Carat
compiles as from a checkout, and says so. At the end the wheel runs unpacked, with an empty cache, and must have
compiled nothing.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
TAKEN = ("carat", "hwconfigs", "reports", "sim", "workloads", "LICENSE", "README.md", "pyproject.toml", "setup.cfg")
"""What a wheel is made of."""

SMALL = '"encoder-layer", "gemmini_sparse", seq=32, hidden=64, heads=2, ffn=64'
COMPILE = f"""
import sim
from sim.core import compiling
from sim.trace.profile import profile
compiling.compile_all(compiling.wanted())
for line in (None, "block16:0.5", "2:4", "unstructured:0.3/pack", "unstructured:0.3/bitmap", "activations=2:4"):
    result = sim.simulate({SMALL}, sparsity=line, cache=False)
profile(result)
"""
"""What is compiled: the core, the lowering of products with zeros, timelines. The executor of `carat infer` is not."""

RUN = f"""
import sim
from sim.trace.profile import profile
result = sim.simulate({SMALL}, sparsity="block16:0.5", cache=False)
profile(result)
print(sim.__file__, result.cycles)
"""


def python(code: str, where: Path, cache: Path, **settings: str) -> str:
    """Run code with the packages that lie in a folder; return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(where), "CARAT_CACHE_DIR": str(cache), **settings}
    command = [sys.executable, "-P", "-c", code]
    return subprocess.run(command, env=environment, cwd=cache, check=True, stdout=subprocess.PIPE, text=True).stdout


def compiled(tree: Path, cache: Path) -> None:
    """Compile for any CPU, and lay the files where `sim.core.kept.SHIPPED` looks."""
    python(COMPILE, tree, cache, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="")
    for index in (cache / "carat").glob("*/*/*.nbi"):
        part = index.parent.parent.name
        shutil.copytree(cache / "carat" / part, tree / "sim" / "compiled" / part, dirs_exist_ok=True)


def built(tree: Path, output: Path) -> Path:
    """Build the wheel of a tree; return it."""
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    options = f"--python-tag={tag} --plat-name=linux_{platform.machine()}"
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(output), str(tree)]
    subprocess.run([*command, f"--config-settings=--build-option={options}"], check=True)
    return max(output.glob(f"carat_sim-*-{tag}-*.whl"), key=lambda wheel: wheel.stat().st_mtime)


def tried(wheel: Path, scratch: Path) -> None:
    """Run from the unpacked wheel alone. Raises SystemExit when anything was compiled."""
    there, cache = scratch / "unpacked", scratch / "empty"
    cache.mkdir()
    zipfile.ZipFile(wheel).extractall(there)
    shown = python(RUN, there, cache)
    anew = sorted(str(path.relative_to(cache)) for path in cache.rglob("*.nb[ci]"))
    if anew or str(there) not in shown:
        raise SystemExit(f"{wheel}: compiled anew: {', '.join(anew) or shown}")


def main() -> None:
    """Build the wheel and try it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "dist")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="carat-wheel-") as folder:
        scratch = Path(folder)
        tree, cache = scratch / "tree", scratch / "cache"
        tree.mkdir()
        cache.mkdir()
        for name in TAKEN:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, tree / name)
        compiled(tree, cache)
        wheel = built(tree, asked.output)
        tried(wheel, scratch)
    print(f"{wheel}: {wheel.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
