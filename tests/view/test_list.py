"""The page with all fleets."""

from __future__ import annotations

import pytest

from tests.view.conftest import Open, Visit
from tests.view.scenes import HOSTILE, Hostile, Scene
from tests.view.stage import KEY, Stage

PAGE = 50


def ended(count: int) -> list[Scene]:
    """Fleets that have ended, the newest first."""
    return [
        Scene(f"fleet-{900 - n}", phase="done", vms=1, trials=2, elapsed=9000 + 60 * n)
        for n in range(count)
    ]


def opened(stage: Stage, visit: Open, path: str = "view") -> Visit:
    page = visit(f"{stage.url}/api/{path}", KEY, clock=True)
    page.wait("#rows tr")
    return page


def links(page: Visit) -> list[str]:
    return page.page.locator("#rows a").all_inner_texts()


def lists(stage: Stage) -> list[str]:
    """The requested pages of the list."""
    return [one for one in stage.requests if one.startswith("GET /api/fleets?")]


def test_fleets_are_listed_in_the_order_of_the_api(stage: Stage, visit: Open):
    stage.show(Scene("fleet-9", elapsed=40), Scene("fleet-8", phase="done"), Hostile())
    page = visit(f"{stage.url}/api/view", KEY)
    page.wait("#rows tr")
    assert page.page.locator("#rows a").all_inner_texts() == ["fleet-9", "fleet-8", "fleet-7"]
    assert HOSTILE["markup"] in page.text("#rows")
    assert page.page.locator("main script, main img").count() == 0
    assert (page.text("#sentence"), page.console) == ("1 of 3 fleets is running.", [])


def test_the_list_shows_failed_trials(stage: Stage, visit: Open):
    scene = Scene(vms=12, trials=900, elapsed=1500)
    stage.show(scene)
    page = visit(f"{stage.url}/api/view", KEY)
    page.wait("#rows tr")
    errors = scene.trials()["error"]
    assert errors > 0
    assert page.text("#rows .trials .number").endswith(f", {errors} failed")


def test_a_row_shows_number_name_experiment_submitter_and_cost(stage: Stage, visit: Open):
    scene = Scene("fleet-9007", phase="done", own_name="nightly")
    stage.show(scene)
    row = opened(stage, visit).page.locator("#rows tr").inner_text()
    cost = scene.entry()["cost"]
    for words in ("fleet-7", "nightly", "tabular-small", "Experiment 12", "by key-0123456789ab"):
        assert words in row
    assert f"${cost:.4f}" in row


def test_a_fleet_before_its_first_report_has_no_counts(stage: Stage, visit: Open):
    stage.show(Scene(elapsed=1))
    page = opened(stage, visit)
    cells = [page.text(f"#rows .{name}").strip() for name in ("trials", "vms", "cost")]
    assert (cells, page.text("#rows .experiment").splitlines()[0]) == (
        ["\u2013", "\u2013", ""],
        "Experiment 12",
    )
    assert page.console == []


def test_a_purged_fleet_has_no_link(stage: Stage, visit: Open):
    scene = Scene(phase="done")
    entry = {**scene.entry(), "purged_at": scene.at(0)}
    scene.entry = lambda: entry  # type: ignore[method-assign]
    stage.show(scene)
    page = opened(stage, visit)
    assert page.page.locator("#rows a[href]").count() == 0
    assert "history deleted" in page.text("#rows .began")


def test_older_fleets_are_loaded_on_request_and_not_polled(stage: Stage, visit: Open):
    scenes = ended(2 * PAGE + 7)
    stage.show(*scenes)
    page = opened(stage, visit)
    assert page.text("#sentence") == "0 of the 50 newest fleets are running."
    for count in (2 * PAGE, len(scenes)):
        page.page.click("#more")
        page.until("document.querySelectorAll('#rows tr').length === value", count)
    assert not page.page.is_visible("#more")
    before = len(lists(stage))
    page.poll()
    page.poll_and_render()
    assert set(lists(stage)[before:]) == {f"GET /api/fleets?limit={PAGE}"}
    assert links(page) == [scene.id for scene in scenes]


def test_a_new_fleet_is_listed_first_and_the_others_are_kept(stage: Stage, visit: Open):
    scenes = ended(PAGE + 20)
    stage.show(*scenes)
    page = opened(stage, visit)
    stage.fleets = {"fleet-901": Scene("fleet-901", vms=1), **stage.fleets}
    page.poll()
    page.wait("#rows a:text-is('fleet-901')")
    assert links(page) == ["fleet-901", *(scene.id for scene in scenes[:PAGE])]
    page.page.click("#more")
    page.until("document.querySelectorAll('#rows tr').length === value", PAGE + 21)
    assert links(page) == ["fleet-901", *(scene.id for scene in scenes)]


def test_a_page_that_missed_many_fleets_reloads_the_list(stage: Stage, visit: Open):
    scenes = ended(PAGE + 60)
    stage.show(*scenes[PAGE:])
    page = opened(stage, visit)
    stage.fleets = {scene.id: scene for scene in scenes}
    page.poll()
    page.wait(f"#rows a:text-is('{scenes[0].id}')")
    assert links(page) == [scene.id for scene in scenes[:PAGE]]
    assert page.page.is_visible("#more")


@pytest.mark.parametrize(
    ("name", "shown", "sentence"),
    [
        ("Active", ["fleet-8"], "1 fleet is running."),
        ("Ended", ["fleet-7"], "1 fleet has ended."),
    ],
)
def test_the_filter_survives_a_reload(
    stage: Stage, visit: Open, name: str, shown: list[str], sentence: str
):
    stage.show(Scene("fleet-8", vms=1), Scene("fleet-7", vms=1, phase="done"))
    page = opened(stage, visit)
    page.page.click(f"#filters button:text-is('{name}')")
    page.until("document.querySelectorAll('#rows tr').length === 1")
    assert (links(page), page.text("#sentence")) == (shown, sentence)
    page.page.reload()
    page.wait("#rows tr")
    assert (links(page), page.text("#filters [aria-pressed=true]")) == (shown, name)


def test_a_fleet_that_no_longer_matches_the_filter_leaves_the_list(stage: Stage, visit: Open):
    stage.show(Scene("fleet-8", vms=1), Scene("fleet-7", vms=1))
    page = opened(stage, visit, "view?status=active")
    stage.fleets["fleet-8"].phase = "done"
    page.poll()
    page.until("document.querySelectorAll('#rows tr').length === 1")
    assert links(page) == ["fleet-7"]


def test_an_outage_while_older_fleets_are_loaded_is_shown(stage: Stage, visit: Open):
    stage.show(*ended(PAGE + 1))
    page = opened(stage, visit)
    stage.away = "drop"
    page.page.click("#more")
    page.wait("#away:has-text('The app is unavailable.')")
    stage.away = ""
    page.page.click("#more")
    page.until("document.querySelectorAll('#rows tr').length === value", PAGE + 1)
