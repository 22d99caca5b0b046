"""Published studies run again: every value that differs has a reason, the page is what the command prints."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from sim.base.errors import InputError
from sim.studies import STUDIES, Exhibit, exhibit, text

ROOT = Path(__file__).parents[2]
ALL = [(study, one) for study in STUDIES for one in exhibit.read(study)]
QUICK = ("counts", "figures.area", "figures.same_tiles", "mapspace", "units.area")
"""Exhibits that are counted, not simulated, and one that is: at most two seconds each."""

quick = [(study, one) for study, one in ALL if one.by.startswith(QUICK)]
simulated = [(study, one) for study, one in ALL if one.by]


def section(page: str, study: str, name: str) -> str:
    """Return the part of the page on one exhibit."""
    of_study = page.split(f"## {text.HEADINGS[study]}\n")[1].split("\n## ")[0]
    return of_study.split(f"### {name}: ")[1].split("\n### ")[0].strip()


def name_of(value: object) -> str:
    """Return what a test's parameter is called."""
    return value.name if isinstance(value, Exhibit) else str(value)


@pytest.mark.parametrize(("study", "one"), ALL, ids=name_of)
def test_an_exhibit_is_whole(study: str, one: Exhibit) -> None:
    """Rows have names of their own, printed values can be judged, a reason belongs to a row, the function is there."""
    names = [name for name, _ in one.rows]
    assert len(set(names)) == len(names) and one.source and one.title
    assert set(one.reasons) <= {*names, "*"} and set(one.fitted) <= set(one.columns)
    if one.agreement != "none":
        assert all(exhibit.number(printed) is not None for _, printed in one.rows)
    if one.by:
        module, _, function = one.by.rpartition(".")
        assert callable(getattr(import_module(f"sim.studies.{study}.{module}"), function)) and one.machine
    else:
        assert one.reasons and not one.columns  # what is not simulated says why


@pytest.mark.parametrize(("study", "one"), quick, ids=name_of)
def test_the_page_is_what_the_command_prints(study: str, one: Exhibit) -> None:
    findings = exhibit.run(study, one)
    check(study, one, findings)


@pytest.mark.long
@pytest.mark.parametrize(("study", "one"), simulated, ids=name_of)
def test_all_of_the_page_is_what_the_command_prints(study: str, one: Exhibit) -> None:
    check(study, one, exhibit.run(study, one))


def check(study: str, one: Exhibit, findings: tuple[exhibit.Finding, ...]) -> None:
    """Assert that each value that differs or is missing has a reason, each reason a row, and the page all of them."""
    for finding in findings:
        if False in finding.agrees or None in finding.simulated:
            assert finding.reason, finding.row
    assert {f.reason for f in findings if f.reason} == set(one.reasons.values())
    page = (ROOT / "docs" / "REPRODUCTION.md").read_text(encoding="utf-8")
    printed = section(text.markdown(study, [(one, findings)]), study, one.name)
    assert printed == section(page, study, one.name)


def test_a_figure_within_a_range_is_found() -> None:
    assert [one.name for one in exhibit.chosen("kim2023", figures=["19"])] == ["Figures 18 to 20"]
    assert [one.name for one in exhibit.chosen("kim2023", figures=["14"], tables=["3"])] == [
        "Table 3",
        "Figure 14, baseline",
        "Figure 14, I-BERT units",
    ]


def test_what_a_study_does_not_have_is_refused() -> None:
    with pytest.raises(InputError, match="kim2023 has no Figure 99; there are: Table 3"):
        exhibit.chosen("kim2023", figures=["99"])
    with pytest.raises(InputError, match="did you mean 'kim2023'"):
        exhibit.read("kim2003")


def test_agreement_is_to_the_last_printed_digit() -> None:
    """Rounded or cut off: the paper does both."""
    one = Exhibit("Table 0", "", "", agreement="printed")
    assert one.agrees("7.25", 7.2459) and one.agrees("7.25", 7.2599)
    assert not one.agrees("7.25", 7.2601) and not one.agrees("7.25", 7.2449)
