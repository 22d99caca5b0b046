"""The pages in a real browser: no network, sorting, filters, readable narrow, dark and on paper."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import sim
from reports import page
from reports.page.tables import change
from sim.analysis import saved
from sim.base.errors import InputError
from sim.cli import main

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
REQUIRED = os.environ.get("CARAT_BROWSER") == "required"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

in_browser = pytest.mark.skipif(
    CHROMIUM is None and not REQUIRED, reason="no chromium, chromium-browser or google-chrome on the PATH"
)

SMALLEST_LETTER_PX = 7.0
"""Height of a line of the smallest text in a figure at 400 pixels; 7 pixels are what a label on a map has."""


@pytest.fixture(scope="module")
def pages(folders: list[Path], fast: sim.Result, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One run, three runs side by side, and a sweep with a tornado, as files."""
    from sim.analysis.whatif import whatif

    place = tmp_path_factory.mktemp("pages")
    grid = {"scratchpad.capacity": ["128KiB", "256KiB"], "array.mesh_rows+array.mesh_columns": [8, 16, 1024]}
    sizes = {"seq": 32, "hidden": 64, "heads": 2, "ffn": 64}
    table = sim.sweep("gemmini_ibert", grid=grid, workloads="encoder-layer", sizes=sizes)
    table.to_csv(place / "sweep.csv", index=False)
    whatif(fast, ["array size", "memory.latency_cycles"]).to_csv(place / "whatif.csv", index=False)
    texts = {
        "one": page.of(folders[:1]),
        "three": page.of(folders),
        "sweep": page.of([place / "sweep.csv"], place / "whatif.csv"),
    }
    for name, text in texts.items():
        (place / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: place / f"{name}.html" for name in texts}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    assert CHROMIUM is not None, "CARAT_BROWSER=required, and there is no Chromium"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


def show(browser: Any, path: Path, width: int = 1280, scheme: str = "light") -> tuple[Any, list[str], list[str]]:
    """Return the open page, what it wrote to the console, and what it requested."""
    tab = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme).new_page()
    said: list[str] = []
    requested: list[str] = []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: requested.append(request.url))
    tab.goto(path.as_uri())
    return tab, said, requested


NAMES = ("one", "three", "sweep")


@in_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("name", NAMES)
def test_a_page_can_be_read(browser: Any, pages: dict[str, Path], name: str, width: int, scheme: str) -> None:
    """No error, no request beyond the file, nothing cut off, letters large enough, ink against paper."""
    tab, said, requested = show(browser, pages[name], width, scheme)
    assert said == []
    assert [url for url in requested if not url.startswith(("file:", "data:"))] == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= width, "the page itself does not scroll sideways"
    small = tab.evaluate(
        "[...document.querySelectorAll('figure svg text')].map(t => t.getBoundingClientRect())"
        ".filter(b => b.height > 0 && b.width > b.height).map(b => b.height)"
    )
    assert small and min(small) >= SMALLEST_LETTER_PX
    cut = tab.evaluate(
        "[...document.querySelectorAll('figure svg text')].filter(t => { const b = t.getBoundingClientRect(), "
        "s = t.closest('svg').getBoundingClientRect(); return b.left < s.left - 2 || b.right > s.right + 2; })"
        ".map(t => t.textContent)"
    )
    assert cut == []
    colors = tab.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.documentElement).backgroundColor]"
    )
    light = [sum(int(part) for part in color.strip("rgb()").split(",")) for color in colors]
    assert (light[0] < 200 and light[1] > 600) if scheme == "light" else (light[0] > 600 and light[1] < 200)
    tab.context.close()


@in_browser
def test_operators_sort_both_ways_and_filter(browser: Any, pages: dict[str, Path], fast: sim.Result) -> None:
    tab, said, _ = show(browser, pages["one"])
    column = "[...document.querySelectorAll('#ops tbody tr')].filter(r => !r.hidden).map(r => r.cells[0].textContent)"
    tab.click("#ops th button:text-is('cycles')")
    by_cycles = fast.ops.sort_values("cycles", ascending=False, kind="stable")["op"].tolist()
    assert tab.evaluate(column) == by_cycles
    tab.click("#ops th button:text-is('cycles')")
    assert tab.evaluate(column)[-1] == by_cycles[0]
    tab.click("#ops th button:text-is('operator')")
    assert tab.evaluate(column) == sorted(fast.ops["op"], key=str.lower)
    tab.fill("[data-for=ops] input", "ff")
    assert sorted(tab.evaluate(column)) == ["L0.FF1", "L0.FF2"]
    assert tab.inner_text("[data-for=ops] output") == f"2 of {len(fast.ops)}"
    tab.fill("[data-for=ops] input", "")
    tab.select_option("[data-for=ops] select[name=kind]", "layernorm")
    assert tab.evaluate(column) == ["L0.layernorm1", "L0.layernorm2"]
    assert said == []
    tab.context.close()


@in_browser
def test_runs_side_by_side_show_what_differs(browser: Any, pages: dict[str, Path]) -> None:
    tab, _, _ = show(browser, pages["three"])
    assert "slow against fast" in tab.inner_text("body")
    changed = tab.evaluate("[...document.querySelectorAll('tr.changed')].map(r => r.cells[0].textContent)")
    assert "memory.latency_cycles" in changed and "array.mesh_rows" not in changed
    tab.context.close()


@in_browser
@pytest.mark.parametrize("name", NAMES)
def test_a_page_prints(browser: Any, pages: dict[str, Path], name: str) -> None:
    """On paper: dark ink whatever the screen, no controls, everything unfolded, figures not torn apart."""
    tab, _, _ = show(browser, pages[name], scheme="dark")
    paper = tab.pdf(format="A4")
    assert paper.startswith(b"%PDF") and paper.count(b"/Type /Page\n") >= 2
    tab.emulate_media(media="print")
    assert tab.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert not tab.is_visible(".controls")
    tab.context.close()


def test_a_page_holds_everything_itself(pages: dict[str, Path]) -> None:
    """No reference leaves the file: no src, no link, no import, no url() but to its own parts."""
    for path in pages.values():
        text = path.read_text(encoding="utf-8")
        for word in ("src=", '<link rel="stylesheet', "@import", "fetch(", "url(http"):
            assert word not in text, word


def test_a_page_says_what_the_issue_asks_for(pages: dict[str, Path], runs: dict[str, saved.SavedRun]) -> None:
    text = pages["one"].read_text(encoding="utf-8")
    for part in (
        "Summary", "By cause", "By kind of operator", "By layer", "Utilization by operator", "Roofline",
        "DRAM traffic by operand", "Traffic by level", "Energy by component", "Area by component",
        "Occupancy of the memories", "Operators", "The full configuration", "Reproduce", "carat run fast",
        f"{runs['fast'].totals['cycles']:,}",
    ):  # fmt: skip
        assert part in text, part


def test_names_are_escaped_and_other_code_is_pointed_out(folders: list[Path], tmp_path: Path) -> None:
    shutil.copytree(folders[0], tmp_path / "<b>&run")
    record = tmp_path / "<b>&run" / "run.json"
    record.write_text(record.read_text().replace(f'"version": "{saved.code_version()}"', '"version": "0.0.1+abc"'))
    text = page.of([tmp_path / "<b>&run", folders[1]])
    assert "<b>&run" not in text and "&lt;b&gt;&amp;run" in text
    assert "simulated by different code" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "no such folder"),
        (["{run}", "-o", "page.txt"], "a page is written as FILE.html"),
        (["{run}", "-o", "{tmp}/none/page.html"], "there is no folder"),
        (["{tmp}/a.csv", "{run}"], "one sweep"),
        (["{tmp}/a.csv"], "no such file"),
    ],
)
def test_bad_requests_are_refused(
    folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["report", *(word.format(run=folders[0], tmp=tmp_path) for word in words)])
    assert ended.value.code == 2 and message in capsys.readouterr().err


def test_a_sweep_without_area_is_refused_in_words(tmp_path: Path) -> None:
    old = pd.DataFrame({"hardware": ["a"], "workload": ["w"], "cycles": [1], "energy_pj": [2.0]})
    old.to_csv(tmp_path / "old.csv", index=False)
    with pytest.raises(InputError, match="columns missing in the sweep: area_mm2"):
        page.of([tmp_path / "old.csv"])


def test_a_page_says_what_schedules_saved_by_cause_and_what_was_declined(tmp_path):
    # Law: what is saved of all causes is what is saved in cycles, and the page shows each number of the saved run.
    sizes = {"seq": 32, "hidden": 64, "heads": 2, "ffn": 64}
    run = sim.simulate("encoder-layer", "gemmini_ibert", schedule="streaming+overlap", **sizes)
    run.save(tmp_path / "run")
    (loaded,) = saved.load_all([tmp_path / "run"])
    assert "--schedule streaming+overlap" in loaded.record["reproduce"]
    groups = loaded.record["schedule"]
    assert {"streaming", "overlap"} <= {one["schedules"] for one in groups}
    for one in groups:
        assert sum(one["saved_by_cause"].values()) == one["cycles_before"] - one["cycles_after"]
    text = page.of([tmp_path / "run"])
    assert 'id="schedules"' in text
    for one in groups:
        assert f"{one['cycles_after']:,}" in text
    assert "a single program, and the operators before and after it depend on it" in text


@pytest.mark.parametrize(("times", "shown"), [(2.5, "2.5x"), (142.4, "142x"), (999.7, "1,000x"), (2020.0, "2,020x")])
def test_a_multiple_is_written_without_an_exponent(times: float, shown: str) -> None:
    assert change(times, 1.0).html == shown
