"""The command line as a user meets it: answers, refusals, files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sim.base.errors import InputError
from sim.cli import main
from sim.cli.options import sizes
from sim.hardware import load
from sim.hardware.keys import keys
from sim.run import columns

SMALL = ["--seq", "16", "--size", "hidden=32", "--size", "heads=2", "--size", "ffn=32"]
RUN = ["run", "encoder-layer", *SMALL]


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    captured = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, captured.out, captured.err


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    code, out, err = call(capsys, *arguments)
    assert code == 0, err
    return out


def test_help_loads_nothing_heavy() -> None:
    """Half a second is all there is: none of the slow libraries may be imported."""
    heavy = "{'numpy', 'numba', 'pandas', 'pydantic', 'matplotlib', 'sqlite3'}"
    script = (
        "import sys\nfrom sim.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', *({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED"
    for command in ("run", "sweep", "show", "list", "validate", "columns", "replay", "compare"):
        assert f" {command} " in done.stdout


def test_a_run_whose_timings_are_on_disk_imports_no_numba() -> None:
    """The second of two equal runs reads every timing: nothing compiled is called."""
    script = (
        f"import sys\nfrom sim.cli import main\ntry:\n    main({list(RUN)!r})\nexcept SystemExit:\n    pass\n"
        "print('LOADED', *({'numba', 'pandas'} & set(sys.modules)))"
    )
    kept = {**os.environ, "CARAT_CACHE_MIB": "256"}
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=kept)
    assert done.stdout.splitlines()[-1] == "LOADED"


def test_run_prints_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads(answer(capsys, *RUN, "--json"))
    assert set(data) == {"totals", "ops", "hardware"}
    wanted = {"cycles", "macs", "utilization", "dram_read_bytes", "dram_write_bytes", "energy_pj"}
    assert wanted <= set(data["totals"]) and data["totals"]["cycles"] > 0
    assert data["hardware"]["name"] == "gemmini_ibert"
    assert [set(op) for op in data["ops"]] == [set(columns.table("ops"))] * len(data["ops"])


def test_run_prints_kinds_causes_and_the_bottleneck(capsys: pytest.CaptureFixture[str]) -> None:
    out = answer(capsys, *RUN)
    assert "matmul+softmax" in out and "total" in out and "cycles by cause:" in out and "most in L0." in out
    assert "seq=16,batch=1" in out and "int8, sums int32" in out and "energy by table 45nm, 45 nm" in out
    assert " 0.0%" not in next(line for line in out.splitlines() if line.startswith("cycles by cause"))
    assert "\x1b" not in out, "no colours into a pipe"


def test_settings_change_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    near, far = (
        json.loads(answer(capsys, *RUN, "--json", "--set", f"memory.latency_cycles={latency}")) for latency in (10, 400)
    )
    assert far["hardware"]["memory"]["latency_cycles"] == 400
    assert far["totals"]["cycles"] > near["totals"]["cycles"]


def test_run_keeps_its_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "one"
    out = answer(capsys, *RUN, "-o", str(folder))
    assert sorted(path.name for path in folder.iterdir()) == [
        "graph.json",
        "hardware.json",
        "ops.csv",
        "run.json",
        "totals.json",
    ]
    assert (folder / "ops.csv").read_text().splitlines()[0] == ",".join(columns.table("ops"))
    assert json.loads((folder / "hardware.json").read_text())["name"] == "gemmini_ibert"
    assert f"carat report {folder}" in out.replace("\n", " ")


def test_run_says_what_pruning_kept(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    # Oracle: the larger scores. The same by magnitude, where head 1's weights are the larger ones.
    np.savez(tmp_path / "scores.npz", **{"L0.heads": [1.0, 2.0]})
    shapes = {"matmul_Q": (32, 32), "matmul_K": (32, 32), "matmul_V": (32, 32), "W_out": (32, 32)}
    shapes |= {"FF1": (32, 32), "FF2": (32, 32)}
    large = np.where(np.arange(32) < 16, 1.0, 2.0)
    weights = {f"L0.{name}.weight": np.ones(shape) * large for name, shape in shapes.items()}
    np.savez(tmp_path / "weights.npz", allow_pickle=False, **weights)
    for option, file in (("--saliency", "scores.npz"), ("--weights", "weights.npz")):
        requested = [*RUN, "--prune", "heads=1", option, str(tmp_path / file)]
        assert json.loads(answer(capsys, *requested, "--json"))["kept"] == {"L0.heads": [1]}
    out = answer(capsys, *requested, "-o", str(tmp_path / "run"))
    assert "L0.heads: 1 kept: 1" in out
    assert np.load(tmp_path / "run" / "kept.npz")["L0.heads"].tolist() == [1]
    assert json.loads((tmp_path / "run" / "run.json").read_text())["stay"] == ["L0.heads: 1 kept: 1"]
    page = tmp_path / "page.html"
    answer(capsys, "report", str(tmp_path / "run"), "-o", str(page))
    assert "L0.heads: 1 kept: 1" in page.read_text()


REFUSALS = [
    ([*RUN, "--saliency", "scores.npz"], "give --prune too"),
    ([*RUN, "--prune", "heads=1", "--saliency", "a.npz", "--weights", "b.npz"], "give either"),
    ([*RUN, "--prune", "heads=1", "--weights", "no/such.npz"], "no/such.npz: cannot be read"),
    (["run", "bert-tinny"], "did you mean 'bert-tiny'"),
    ([*RUN, "--hw", "gemmini_defalt"], "did you mean 'gemmini_default'"),
    ([*RUN, "--set", "scratchpad.capacitie=3"], "unknown key"),
    ([*RUN, "--set", "scratchpad.capacity=3parsec"], "parsec"),
    ([*RUN, "--set", "memory.latency_cycles=-1"], "latency_cycles"),
    ([*RUN, "--set", "nonsense"], "nonsense"),
    ([*RUN, "--size", "layers=two"], "layers is 'two'"),
    ([*RUN, "--size", "layer=2"], "did you mean 'layers'"),
    ([*RUN, "--tile", "L0.FF1=1,2"], "--tile L0.FF1=1,2"),
    ([*RUN, "--tile", "L0.FF1=9,9,9"], "nearest legal tile"),
    ([*RUN, "--sparsity", "blok16:0.5"], "did you mean 'block16'"),
    ([*RUN, "--sparsity", "block16:1.5"], "nearest: 1"),
    ([*RUN, "--prune", "heads=3"], "heads"),
    (
        [*RUN, "--set", "host=none", "--set", "features.normalizations=false"],
        "operators L0.softmax.dequantize",
    ),
    ([*RUN, "--hw", "no/such/file.toml"], "file.toml"),
    ([*RUN, "--hw", "sangre"], "did you mean 'sanger'"),
    ([*RUN, "--hw", "published/sanger.toml"], "the shipped machine is named sanger"),
    (["show", "encoder-layer", *SMALL, "--op", "L0.FF3"], "did you mean 'L0.FF"),
    (["show", "encoder-layer", *SMALL, "--op", "L0.softmax"], "fused into the matmul before it"),
    (
        ["show", "encoder-layer", *SMALL, "--op", "L0.scores", "--commands", "--invocation", "7"],
        "legal: 0 to 1",
    ),
    (["sweep", "encoder-layer", "--grid", "nonsense"], "--grid nonsense"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSALS, ids=[message for _, message in REFUSALS])
def test_refusal_says_why_and_ends_with_two(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    code, out, err = call(capsys, *arguments)
    assert code == 2 and message in err and not out and "Traceback" not in err


def test_corrupt_machine_file_is_refused_by_name(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("base = 'gemmini_default'\nclock_mhz = = 3\n")
    code, out, err = call(capsys, *RUN, "--hw", str(tmp_path / "broken.toml"))
    assert code == 2 and "broken.toml" in err and "line 2" in err and not out


def test_unwritable_folder_is_refused_before_anything_runs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr("sim.run.pipeline.run", lambda *_, **__: pytest.fail("simulated first"))
    code, out, err = call(capsys, *RUN, "-o", str(tmp_path / "file" / "runs"))
    assert code == 2 and "output folder" in err and "cannot be written" in err and not out
    assert (tmp_path / "file").read_text() == "in the way"


def test_refused_run_leaves_nothing_half_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, _ = call(capsys, *RUN, "--sparsity", "block16:2", "-o", str(tmp_path / "out"))
    assert code == 2 and not list((tmp_path / "out").iterdir())


def test_show_prints_graph_plan_and_commands(capsys: pytest.CaptureFixture[str]) -> None:
    graph = answer(capsys, "show", "encoder-layer", *SMALL)
    assert "operators" in graph and "matmul+softmax" in graph and "loop_ws" not in graph
    commands = answer(capsys, "show", "encoder-layer", *SMALL, "--op", "L0.FF1", "--commands")
    assert "loop_ws" in commands and "fence" in commands and "L0.FF2" not in commands


def test_show_names_what_the_host_runs(capsys: pytest.CaptureFixture[str]) -> None:
    out = answer(capsys, "show", "encoder-layer", *SMALL, "--hw", "kim2023_baseline", "--op", "L0.gelu", "--commands")
    assert "L0.gelu.dequantize" in out and "no commands, the host runs it" in out


def test_list_names_every_workload_and_machine(capsys: pytest.CaptureFixture[str]) -> None:
    from sim import hardware
    from workloads import WORKLOADS

    data = json.loads(answer(capsys, "list", "--json"))
    assert set(data["workloads"]) == set(WORKLOADS) and set(data["machines"]) == set(hardware.presets())
    assert "45nm" in data["energy_tables"]
    text = answer(capsys, "list")
    assert set(data["published_machines"]) == set(hardware.published())
    assert all(name in text for name in (*WORKLOADS, *hardware.presets(), *hardware.published()))


def test_columns_prints_every_definition(capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads(answer(capsys, "columns", "--json"))
    assert [column["name"] for column in data] == list(columns.COLUMNS)
    text = answer(capsys, "columns", "--table", "kinds")
    assert "visited_share" in text and "edp_js" not in text


def test_sweep_writes_rows_for_a_pipe_and_resumes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    store = ["--store", str(tmp_path / "store.sqlite")]
    command = ["sweep", "encoder-layer", *SMALL, "--grid", "scratchpad.capacity=64KiB,100KiB", *store]
    first = answer(capsys, *command)
    assert len(first.splitlines()) == 3 and "nearest" in first
    assert answer(capsys, *command) == first
    rows = json.loads(answer(capsys, *command, "--json"))
    assert [row["error"] is None for row in rows] == [True, False]


def test_sweep_table_names_failures_below(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    grid = ["--grid", "scratchpad.capacity=64KiB,100KiB", "-o", str(tmp_path / "sweep.csv")]
    out = answer(capsys, "sweep", "encoder-layer", *SMALL, *grid)
    assert "2 points, 1 failed" in out and "point 1: InputError" in out
    assert (tmp_path / "sweep.csv").read_text().startswith("hardware,workload,")


def test_energies_of_two_tables_are_named_beside_each_other(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for tables, said in (("45nm,7nm", True), ("45nm", False)):
        grid = ["--grid", f"energy_table={tables}", "-o", str(tmp_path / "sweep.csv")]
        out = answer(capsys, "sweep", "encoder-layer", *SMALL, *grid)
        assert ("by energy table" in out) is said
        assert ("7nm, 7 nm" in out) is said


def test_a_table_keeps_every_word_of_its_last_column(capsys: pytest.CaptureFixture[str]) -> None:
    """rich cut it by the room that the first column had been promised."""
    out = answer(capsys, "show", "--hw", "gemmini_default")
    last = " ".join(line[out.splitlines()[2].index("meaning") :].strip() for line in out.splitlines()[4:])
    for key in keys(load("gemmini_default")):
        assert key.meaning in last, key.name


def test_version_is_that_of_the_sources(capsys: pytest.CaptureFixture[str]) -> None:
    from sim.base.version import code_version

    assert answer(capsys, "--version") == f"carat {code_version()}\n"


def test_module_and_command_are_the_same() -> None:
    done = subprocess.run([sys.executable, "-m", "sim", "columns", "--json"], capture_output=True, text=True)
    assert done.returncode == 0 and json.loads(done.stdout)[0]["name"] == "hardware"


def test_sizes_may_be_long_lists_and_no_long_numbers() -> None:
    """Tokens of each of 128 experts, cached tokens of many sequences; a number fits 64 bits."""
    routing = "+".join(["1"] * 8 + ["0"] * 120)
    assert sizes({}, [f"routing={routing}", "layers=2"]) == {"routing": routing, "layers": 2}
    for value in ("9" * 19, "1+" * 10_000):
        with pytest.raises(InputError, match="characters; the rule is at most"):
            sizes({}, [f"seq={value}"])
