"""The table of trials on the page of a fleet: its rows, filter and pages."""

from __future__ import annotations

from tests.view.conftest import Visit
from tests.view.stage import Stage


def cells(shown: Visit) -> list[str]:
    row = shown.page.locator("#trial-rows tr").first
    return [text.strip() for text in row.locator("th, td").all_inner_texts()]


def open_list(shown: Visit) -> None:
    shown.page.click("#trial-list > summary")
    shown.wait("#trial-table:visible")


def test_trials_are_loaded_when_they_are_opened_and_page_by_page(stage: Stage, shown: Visit):
    before = [one for one in stage.requests if "/trials" in one]
    open_list(shown)
    first = cells(shown)
    shown.page.click("#trials-after")
    shown.wait("#trial-list-note:has-text('Page 2')")
    second = cells(shown)[0]
    assert shown.page.evaluate("document.activeElement.id") == "trial-table"
    shown.page.click("#trials-before")
    shown.wait("#trial-list-note:has-text('Page 1')")
    assert (before, cells(shown)) == ([], first)
    name = stage.fleets["fleet-7"].name
    vm, time = "0\nIntel Xeon Platinum 8370C", "1.25 s\nCPU 2.34 s, 394 MiB, 0.31 s stolen"
    assert first == ["<b>tree</b> 1", name, vm, time, "accuracy 0.8735", "complete"]
    assert (second, shown.page.is_visible("#trials-before")) == ("<b>tree</b> 51", False)


def test_trials_on_several_processors_are_marked(shown: Visit):
    said = shown.text("#processors")
    assert "AMD EPYC 7763 (1 VM, 9 trials). Do not compare their times." in said


def test_failed_trials_have_their_error_and_folded_traceback(stage: Stage, shown: Visit):
    open_list(shown)
    shown.page.click("#trial-filters button:text-is('Failed')")
    shown.wait("#trial-rows tr:first-child[data-state=failed]")
    states = shown.page.locator("#trial-rows tr").evaluate_all(
        "all => all.map(one => one.dataset.state)"
    )
    assert set(states) == {"failed"}
    assert cells(shown)[5].endswith("ValueError: <i>no</i>")
    trace = shown.page.locator("#trial-rows pre").first
    folded = trace.is_visible()
    shown.page.locator("#trial-rows summary").first.click()
    assert (folded, trace.is_visible()) == (False, True)


def test_trials_that_cannot_be_loaded_are_reported(stage: Stage, shown: Visit):
    stage.broken = {"/trials"}
    shown.page.click("#trial-list > summary")
    shown.wait("#trial-list-note:has-text('The trials could not be loaded.')")
    stage.broken = set()
    shown.page.click("#trial-filters button:text-is('Ready')")
    shown.wait("#trial-rows tr[data-state=ready] >> nth=0")
