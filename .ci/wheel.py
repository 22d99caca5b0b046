"""A wheel with compiled code: `make wheel`, or `python .ci/wheel.py --output dist`.

The code is compiled for any CPU of this architecture, as shared objects (`sim.core.linked`), so that a run compiles
nothing and imports no numba. The wheel is for Linux on this architecture, whatever the version of
CPython; with changed sources Carat compiles as from a checkout, and says so. At the end the wheel runs unpacked, with
an empty cache, and must have compiled nothing.
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

COMPILE = """
from sim.core import compiling
import entries
compiling.compile_all(compiling.wanted())
entries.timing()
entries.executor()
"""

RUN = """
import sys
import entries
entries.executor()
print(entries.sim.__file__, entries.timing().cycles, "numba" in sys.modules)
"""


def python(code: str, where: Path, cache: Path, **settings: str) -> str:
    """Run code with the packages that lie in a folder; return what it prints."""
    path = os.pathsep.join([str(where), str(Path(__file__).parent)])  # behind it entries.py
    environment = {**os.environ, "PYTHONPATH": path, "CARAT_CACHE_DIR": str(cache), **settings}
    command = [sys.executable, "-P", "-c", code]
    return subprocess.run(command, env=environment, cwd=cache, check=True, stdout=subprocess.PIPE, text=True).stdout


def compiled(tree: Path, cache: Path) -> None:
    """Compile for any CPU, and lay the objects where `sim.core.linked.SHIPPED` looks."""
    python(COMPILE, tree, cache, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="")
    for made in (cache / "carat").glob("*/*/*.so"):
        place = tree / "sim" / "compiled" / made.relative_to(cache / "carat")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(made, place)


def built(tree: Path, output: Path) -> Path:
    """Build the wheel of a tree; return it."""
    options = f"--python-tag=py3 --plat-name=linux_{platform.machine()}"
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(output), str(tree)]
    subprocess.run([*command, f"--config-settings=--build-option={options}"], check=True)
    return max(output.glob("carat_sim-*-py3-none-linux_*.whl"), key=lambda wheel: wheel.stat().st_mtime)


def tried(wheel: Path, scratch: Path) -> None:
    """Run from the unpacked wheel alone. Raises SystemExit when anything was compiled, or numba imported."""
    there, cache = scratch / "unpacked", scratch / "empty"
    cache.mkdir()
    zipfile.ZipFile(wheel).extractall(there)
    shown = python(RUN, there, cache)
    anew = sorted(str(path.relative_to(cache)) for path in cache.rglob("*") if path.suffix in (".nbc", ".nbi", ".so"))
    if anew or str(there) not in shown or "False" not in shown:
        raise SystemExit(f"{wheel}: compiled anew: {', '.join(anew) or shown}")


def main() -> None:
    """Build the wheel and try it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "dist")
    requested = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="carat-wheel-") as folder:
        scratch = Path(folder)
        tree, cache = scratch / "tree", scratch / "cache"
        tree.mkdir()
        cache.mkdir()
        for name in TAKEN:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, tree / name)
        compiled(tree, cache)
        wheel = built(tree, requested.output)
        tried(wheel, scratch)
    print(f"{wheel}: {wheel.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
