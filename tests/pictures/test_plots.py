"""Each picture draws the figures of the run on the given axes, in colours that the colour-blind tell apart."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from helpers.mapspace_sample import SAMPLE
from matplotlib.figure import Figure

import sim
from reports import (
    activity,
    density,
    energy,
    gantt,
    kinds,
    layers,
    machine,
    parallel,
    pareto,
    roofline,
    style,
    tornado,
    traffic,
    utilization,
)
from sim import hardware
from sim.analysis import saved
from sim.base.errors import InputError
from sim.base.palette import CAUSE_COLORS
from sim.cli import main
from sim.run.columns import CAUSES
from sim.trace import chrome

Runs = dict[str, saved.SavedRun]


def drawn_lengths(axes: object) -> dict[float, float]:
    """Return place -> right end of the bars there."""
    ends: dict[float, float] = {}
    for bar in axes.patches:  # type: ignore[attr-defined]
        place = round(bar.get_y() + bar.get_height() / 2, 3)
        ends[place] = max(ends.get(place, 0.0), bar.get_x() + bar.get_width())
    return ends


def test_traffic_bars_are_as_long_as_the_counters(runs: Runs) -> None:
    axes = Figure().subplots()
    assert traffic.traffic(axes, runs, "dram") is axes
    totals = [run.totals["dram_read_bytes"] + run.totals["dram_write_bytes"] for run in runs.values()]
    assert list(drawn_lengths(axes).values()) == pytest.approx(totals)


def test_energy_bars_are_as_long_as_the_energy(runs: Runs) -> None:
    axes = Figure().subplots()
    assert energy.energy(axes, runs) is axes
    joules = [run.totals["energy_pj"] * 1e-12 for run in runs.values()]
    assert list(drawn_lengths(axes).values()) == pytest.approx(joules)


def test_layers_are_as_long_as_their_cycles(runs: Runs) -> None:
    axes = Figure().subplots()
    assert layers.layers(axes, runs["fast"].ops) is axes
    assert sum(drawn_lengths(axes).values()) == runs["fast"].totals["cycles"]


def test_no_operator_lies_above_its_roofs(runs: Runs) -> None:
    """The law of the roofline, which the simulated machine has to keep."""
    for run in runs.values():
        table, roofs = roofline.points(run), run.record["roofs"]
        assert (table["rate"] <= roofs["macs_per_cycle"]).all()
        assert (table["rate"] <= table["dram_intensity"] * roofs["dram_read_bytes_per_cycle"] * (1 + 1e-9)).all()
        assert (table["rate"] <= table["spad_intensity"] * roofs["spad_bytes_per_cycle"] * (1 + 1e-9)).all()


def test_a_roof_that_several_runs_have_is_drawn_once_and_dark(runs: Runs) -> None:
    """Drawn for each run, the last one's colour hides the others: as if they had no roof."""
    lines = roofline.roofline(Figure().subplots(), runs).get_lines()
    keys = ("dram_read_bytes_per_cycle", "spad_bytes_per_cycle")
    roofs = [
        (key, run.record["roofs"]["macs_per_cycle"], run.record["roofs"][key]) for run in runs.values() for key in keys
    ]
    assert len(lines) == len(set(roofs))
    shared = sum(roofs.count(roof) > 1 for roof in set(roofs))
    assert sum(line.get_color() == style.DARK_TEXT for line in lines) == shared


def test_roofline_axes_are_logarithmic_and_say_so(runs: Runs) -> None:
    axes = roofline.roofline(Figure().subplots(), runs)
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert "(log)" in axes.get_xlabel() and "(log)" in axes.get_ylabel()


def test_utilization_never_exceeds_one(runs: Runs) -> None:
    axes = utilization.utilization(Figure().subplots(), {name: run.ops for name, run in runs.items()})
    assert all(0 <= end <= 1 for end in drawn_lengths(axes).values())


def test_an_operator_that_a_run_does_not_have_is_not_said_to_be_on_the_host(runs: Runs) -> None:
    tables = {"host": runs["host"].ops, "without": runs["fast"].ops.query("not op.str.endswith('FF1')")}
    axes = Figure().subplots()
    utilization.utilization(axes, tables)
    said = [text.get_text() for text in axes.texts]
    assert said.count("not in this run") == 1
    assert "not on the array" in said, "LayerNorm of the machine without units for it"


def test_each_bar_of_utilization_states_the_share_of_its_own_run(runs: Runs) -> None:
    """Two runs of unlike shares: each share behind a bar is that of the bar's run, not of the first."""
    chosen = {name: runs[name].ops for name in ("fast", "host")}
    axes = utilization.utilization(Figure().subplots(), chosen)
    names = [label.get_text() for label in axes.get_yticklabels()]
    said = [text.get_text() for text in axes.texts]
    for number, ops in enumerate(chosen.values()):
        for name, share in zip(names, said[number * len(names) :], strict=False):
            cycles = ops.loc[(ops["op"] == f"L0.{name}") & (ops["engine"] == "array"), "cycles"].sum()
            assert share == (f"{cycles / ops['cycles'].sum():.1%}" if cycles else "not on the array")


@pytest.mark.parametrize("what", ["occupancy", "throughput"])
def test_shares_over_time_stay_between_nothing_and_all(runs: Runs, what: str) -> None:
    axes = activity.activity(Figure().subplots(), runs["fast"], what)  # type: ignore[arg-type]
    for patch in axes.patches:
        values = patch.get_data().values  # type: ignore[attr-defined]
        assert values.min() >= 0 and values.max() <= 1


def test_front_of_three_holds_the_points_that_no_other_dominates() -> None:
    """Against the definition, on random points with ties."""
    draw = np.random.default_rng(5)
    points = draw.integers(0, 8, (200, 3)).astype(float)
    chosen = pareto.front(*points.T).tolist()

    def beaten(point: npt.NDArray[np.float64]) -> bool:
        return bool(((points <= point).all(axis=1) & (points < point).any(axis=1)).any())

    assert {tuple(points[i]) for i in chosen} == {tuple(point) for point in points if not beaten(point)}
    assert len({tuple(points[i]) for i in chosen}) == len(chosen), "equal points once"


def sweep_frame() -> pd.DataFrame:
    rows = [
        {"hardware": "a", "workload": "w", "seed": 0, "memory.latency_cycles": latency,
         "cycles": cycles, "energy_pj": pj, "area_mm2": area, "error": None}
        for latency, cycles, pj, area in ((40, 100.0, 5e6, 1.0), (80, 120.0, 4e6, 1.1), (160, 200.0, 6e6, 1.2))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_parallel_coordinates_draw_every_point_once() -> None:
    axes = parallel.parallel(Figure().subplots(), sweep_frame())
    lines = [line for line in axes.lines if len(line.get_xdata()) > 2]
    assert len(lines) == 3
    assert sum(line.get_color() != "#888888" for line in lines) == 2, "the third point is beaten by the first"


def test_a_machine_shows_its_vector_unit_cores_channel_and_cpu() -> None:
    given = {"vector.lanes": 16, "memory.dram": "ddr4_2400", "cpu.prices": "rocket"}
    axes = Figure().subplots()
    machine.machine(axes, hardware.load("gemmini_2core", given))
    said = " ".join([axes.get_title(), *(text.get_text() for text in axes.texts)])
    for part in ("vector unit", "16 lanes", "2 cores", "ddr4_2400", "priced as rocket"):
        assert part in said, said


def test_tornado_puts_the_largest_effect_on_top() -> None:
    effects = pd.DataFrame(
        [
            {"knob": "small", "direction": "more", "from": 1, "to": 2, "cycles_change": 0.02},
            {"knob": "large", "direction": "less", "from": 8, "to": 4, "cycles_change": -0.3},
            {"knob": "none", "direction": "more", "from": 1, "to": 2, "cycles_change": 0.0},
        ]
    )
    axes = tornado.tornado(Figure().subplots(), effects)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["large", "small"]
    assert "1 knobs not shown" in axes.get_xlabel()


def test_gantt_draws_units_and_arrows(fast: sim.Result) -> None:
    traced = chrome.trace(fast, chrome.Bounds("L0.FF1"))
    axes = gantt.gantt(Figure().subplots(), traced)
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[:3] == ["load", "execute", "store"] and "scratchpad bank 0" in names
    assert any(type(patch).__name__ == "FancyArrowPatch" for patch in axes.patches)
    with pytest.raises(InputError, match="no command between"):
        gantt.gantt(Figure().subplots(), traced, (10**8, 10**8 + 1))


@pytest.mark.parametrize("name", kinds.KINDS)
def test_every_kind_is_drawn_by_the_command(
    name: str, folders: list[Path], fast: sim.Result, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = kinds.KINDS[name].source
    frame = sweep_frame().assign(sparsity=["dense", "block16:0.5", "block16:0.25"])
    frame = frame.assign(**{"memory.latency_cycles": 40})
    frame = frame.assign(**{column: 0.5 for column in density.PAGE_COLUMNS if column not in frame})
    if name == "sensitivity":
        frame = frame.assign(**{"memory.latency_cycles": [10, 40, 80], "sparsity": "dense"})
    if name == "scaling":
        frame = frame.assign(**{"cores.count": [1, 2, 4], "sparsity": "dense"})
    frame.to_csv(tmp_path / "sweep.csv", index=False)
    effects = [{"knob": "k", "direction": "more", "from": 1, "to": 2, "cycles": 5, "cycles_change": 0.1}]
    pd.DataFrame(effects).to_csv(tmp_path / "whatif.csv", index=False)
    (tmp_path / "trace.json").write_text(chrome.to_json(chrome.trace(fast, chrome.Bounds("L0.FF1"))))
    rows = [{"recipe": name, "cycles": 10 + n, "cosine": 0.5 + n / 10} for n, name in enumerate(("plain", "default"))]
    pd.DataFrame(rows).to_csv(tmp_path / "compare.csv", index=False)
    (tmp_path / "sample.json").write_text(json.dumps([SAMPLE]))
    files = {
        "sample": [tmp_path / "sample.json"],
        "compare": [tmp_path],
        "runs": folders,
        "run": folders[:1],
        "sweep": [tmp_path / "sweep.csv"],
        "whatif": [tmp_path / "whatif.csv"],
        "trace": [tmp_path / "trace.json"],
        "machine": [Path("gemmini_l2")],
    }
    picture = tmp_path / f"{name}.svg"
    with pytest.raises(SystemExit) as ended:
        main(["plot", name, *map(str, files[source]), "-o", str(picture)])
    assert ended.value.code == 0, capsys.readouterr().err
    assert picture.read_text().count("<path") > 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rofline", "x"], "did you mean 'roofline'"),
        (["roofline"], "draws folders of `carat run -o`, not 0 sources"),
        (["roofline", "{run}", "-o", "{tmp}/a.bmp"], "pictures are written as .png, .svg, .pdf"),
        (["gantt", "{run}/totals.json"], "no trace of Carat"),
        (["gantt", "{run}/totals.json", "--window", "9:3"], "must be FROM:TO"),
        (["layers", "{run}", "--shares"], "has no --shares; it takes none"),
        (["pareto", "{run}/hardware.json"], "a list of points is expected"),
    ],
)
def test_bad_plots_are_refused(
    folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    out = [] if "-o" in words else ["-o", str(tmp_path / "a.png")]
    with pytest.raises(SystemExit) as ended:
        main(["plot", *(word.format(run=folders[0], tmp=tmp_path) for word in words), *out])
    err = capsys.readouterr().err
    assert ended.value.code == 2 and message in err, err


# Machado, Oliveira, Fernandes (2009), severity 1: linear RGB as people with each kind of colour blindness see it.
BLINDNESS = {
    "none": np.eye(3),
    "protanopia": np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),
    "deuteranopia": np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]),
    "tritanopia": np.array([[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]]),
}
APART = 15.0
"""CIE Lab distance; 2.3 is a just noticeable difference side by side, these differ across a figure."""


def lab(color: str, seen: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    part = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.clip(seen @ np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4), 0, 1)
    to_xyz = np.array([[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]])
    xyz = to_xyz @ linear / np.array([0.9505, 1.0, 1.0888])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("blindness", BLINDNESS)
def test_lines_are_seen_and_distinguished_on_white_paper(blindness: str) -> None:
    """Lines and markers have no outline as bars have; on a dark page they are lightened (`test_fit`)."""
    assert all(style.contrast(color, style.LIGHT_PAPER) >= style.MARK_CONTRAST for color in style.LINE_COLORS)
    seen = {color: lab(color, BLINDNESS[blindness]) for color in style.LINE_COLORS}
    for one, two in itertools.combinations(seen, 2):
        assert np.linalg.norm(seen[one] - seen[two]) >= APART, (one, two)


@pytest.mark.parametrize("blindness", BLINDNESS)
def test_causes_are_told_apart_by_the_colour_blind(blindness: str) -> None:
    assert list(CAUSE_COLORS) == list(CAUSES)
    seen = {cause: lab(color, BLINDNESS[blindness]) for cause, color in CAUSE_COLORS.items()}
    for one, two in itertools.combinations(seen, 2):
        assert np.linalg.norm(seen[one] - seen[two]) >= APART, (one, two)
