"""Peers on this machine, in the same minute: `python tests/bench/peers.py --scalesim PYTHON --zigzag PYTHON`.

Each PYTHON is the interpreter of an environment in which that peer is installed; nothing is installed here
(`pip install scalesim 'numpy<2.3'`; `pip install zigzag-dse six`). The work is one product C[128,768] =
A[128,768] x B[768,768]; what is compared is CPU time, user and system, of the simulation without imports. Each
peer has its own machine (SCALE-Sim: a 16x16 weight-stationary array, no traces; ZigZag: the TPU-like machine it
ships), so that its cycles are shown and not compared.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

M, N, K = 128, 768, 768
ROUNDS = 3

SCALESIM_CONFIG = """
[general]
run_name = product
[architecture_presets]
ArrayHeight = 16
ArrayWidth = 16
IfmapSramSzkB = 128
FilterSramSzkB = 128
OfmapSramSzkB = 64
IfmapOffset = 0
FilterOffset = 10000000
OfmapOffset = 20000000
Dataflow = ws
Bandwidth = 16
ReadRequestBuffer = 128
WriteRequestBuffer = 128
[layout]
IfmapCustomLayout = False
FilterCustomLayout = False
IfmapSRAMBankBandwidth = 16
IfmapSRAMBankNum = 4
IfmapSRAMBankPort = 2
FilterSRAMBankBandwidth = 16
FilterSRAMBankNum = 4
FilterSRAMBankPort = 2
[sparsity]
SparsitySupport = false
SparseRep = ellpack_block
OptimizedMapping = false
BlockSize = 8
RandomNumberGeneratorSeed = 40
[run_presets]
InterfaceBandwidth = CALC
UseRamulatorTrace = False
"""

SCALESIM = f"""
import contextlib, io, json, time
from pathlib import Path
from scalesim.scale_sim import scalesim

Path("machine.cfg").write_text({SCALESIM_CONFIG!r})
Path("product.csv").write_text("Layer, M, N, K,\\nproduct, {M}, {N}, {K},\\n")
Path("layout.csv").write_text("Layer" + ", a" * 20 + ",\\nproduct" + ", 1" * 20 + ",\\n")
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    run = scalesim(save_disk_space=True, verbose=False, config="machine.cfg", topology="product.csv",
                   layout="layout.csv", input_type_gemm=True)
    start = time.process_time()
    run.run_scale(top_path="out")
    spent = time.process_time() - start
layer = run.runner.single_layer_sim_object_list[0]
print(json.dumps({{"cpu_s": spent, "cycles": int(layer.get_compute_report_items()[0])}}))
"""

ZIGZAG = f"""
import contextlib, io, json, logging, time
from pathlib import Path
import yaml, zigzag
from zigzag.api import get_hardware_performance_zigzag

inputs = Path(zigzag.__file__).parent / "inputs"
product = {{
    "id": 0, "name": "product", "operator_type": "Gemm", "equation": "O[b][k]+=W[k][c]*I[b][c]",
    "loop_dims": ["B", "K", "C"], "loop_sizes": [{M}, {N}, {K}],
    "operand_precision": {{"W": 8, "I": 8, "O": 16, "O_final": 8}}, "operand_source": {{"I": 0, "W": 0}},
}}
Path("product.yaml").write_text(yaml.safe_dump([product]))
logging.disable(logging.CRITICAL)
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    start = time.process_time()
    answer = get_hardware_performance_zigzag(
        "product.yaml", str(inputs / "hardware/tpu_like.yaml"), str(inputs / "mapping/tpu_like.yaml"),
        dump_folder="out", pickle_filename="out/cmes.pickle")
print(json.dumps({{"cpu_s": time.process_time() - start, "cycles": int(answer[1])}}))
"""

PEERS = {"scalesim": SCALESIM, "zigzag": ZIGZAG}


def ask(interpreter: str, script: str) -> dict[str, Any]:
    """Run a peer's script in its own interpreter and a folder of its own; its last line is the answer."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [interpreter, "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
    if done.returncode:
        sys.exit(f"{interpreter}: {done.stderr.strip().splitlines()[-1:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def ours() -> dict[str, Any]:
    """The same product here: lowered and timed, nothing known before, the best of a few rounds."""
    from sim import hardware
    from sim.lower import build, lower
    from sim.timing import timer

    hw = hardware.load("gemmini_default")
    timer.run(lower(build.matmul(16, 16, 16), hw), hw)  # loads the compiled core
    best, cycles = float("inf"), 0
    for _ in range(ROUNDS):
        start = time.process_time()
        cycles = timer.run(lower(build.matmul(M, N, K), hw), hw).cycles
        best = min(best, time.process_time() - start)
    return {"cpu_s": best, "cycles": cycles}


def main() -> None:
    """Print one JSON line for Carat and one for each peer requested."""
    sys.path.insert(0, str(Path(__file__).parents[2]))
    parser = argparse.ArgumentParser(description=__doc__)
    for peer in PEERS:
        parser.add_argument(f"--{peer}", metavar="PYTHON", help=f"interpreter that has {peer}")
    chosen = vars(parser.parse_args())
    own = ours()
    print(json.dumps({"simulator": "carat", **own}))
    for peer, script in PEERS.items():
        if chosen[peer]:
            theirs = ask(chosen[peer], script)
            print(json.dumps({"simulator": peer, **theirs, "times_slower_than_carat": theirs["cpu_s"] / own["cpu_s"]}))


if __name__ == "__main__":
    main()
