"""A thousand VMs on one page. The times are printed; benchmarks/view.py measures them."""

from __future__ import annotations

import pytest

from tests.view.conftest import Open, Visit
from tests.view.scenes import Scene
from tests.view.stage import KEY, Stage

VMS = 1000
MOST_NODES = 1500
"""Elements in the document, however many VMs. A fleet of twelve has some 700."""
MOST_ROWS = 60


@pytest.fixture
def large(stage: Stage, visit: Open) -> Visit:
    stage.show(Scene(vms=VMS, trials=60_000, failing=0.06))
    page = visit(f"{stage.url}/api/view/fleet-7", KEY)
    page.wait("#vm-0")
    return page


@pytest.mark.long
def test_only_visible_rows_are_in_the_document_at_any_scroll_position(large: Visit):
    most = large.page.evaluate(
        """async () => {
          const box = document.getElementById('vms');
          const most = {rows: 0, nodes: 0, steps: 0};
          for (let at = 0; at < box.scrollHeight; at += 2500, most.steps += 1) {
            box.scrollTop = at;
            await new Promise(requestAnimationFrame);
            await new Promise(requestAnimationFrame);
            most.rows = Math.max(most.rows, document.querySelectorAll('.vm').length);
            most.nodes = Math.max(most.nodes, document.getElementsByTagName('*').length);
          }
          return most;
        }"""
    )
    assert (most["steps"] > 8, 15 < most["rows"] < MOST_ROWS) == (True, True), most
    assert most["nodes"] < MOST_NODES


def test_the_last_vm_is_reached_with_one_key(large: Visit):
    large.page.focus("#vms")
    large.page.keyboard.press("End")
    last = large.page.locator("#vm-999")
    assert last.get_attribute("aria-posinset") == last.get_attribute("aria-setsize")


def test_an_update_of_every_bar_creates_no_element(
    stage: Stage, large: Visit, capsys: pytest.CaptureFixture[str]
):
    observe = "new MutationObserver(some => some.forEach(one => made += one.addedNodes.length))"
    children = "{subtree: true, childList: true}"
    large.page.evaluate(f"made = 0; {observe}.observe(document.getElementById('vms'), {children})")
    stage.show(stage.fleets["fleet-7"].advance(10))
    large.until("performance.getEntriesByName('view:render').length >= 3")
    took = large.page.evaluate(
        "performance.getEntriesByName('view:render').map(one => Math.round(one.duration))"
    )
    with capsys.disabled():
        print(f"\n{VMS} VMs: rendered in {took[0]} ms, then {took[1:]} ms a look")
    assert large.page.evaluate("made") < 2 * MOST_ROWS  # the texts of tallies
