"""The pages with every kind of response, and without one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.view.conftest import Open, Visit, opened, visits
from tests.view.scenes import HOSTILE, Hostile, Refused, Scene
from tests.view.stage import KEY, Stage

SECTIONS = [
    "Trials",
    "Failures",
    "VMs over time",
    "Cost",
    "Plan warnings",
]


@pytest.fixture(scope="module")
def first(browser: Browser) -> Iterator[tuple[Stage, Visit]]:
    """A page that nobody touches, and what served it."""
    with Stage() as stage, visits(browser) as visit:
        stage.show(Scene(vms=12, trials=900))
        yield stage, opened(stage, visit)


def test_the_page_has_every_section(first: tuple[Stage, Visit]):
    _, shown = first
    assert shown.page.locator(".card:visible h2").all_inner_texts() == SECTIONS


def test_trial_errors_are_sorted_by_frequency(first: tuple[Stage, Visit]):
    _, shown = first
    lines = shown.page.locator("#trial-errors li").all_inner_texts()
    assert [line.partition(" ")[2] for line in lines] == [
        "ValueError: Input X of tabular-small contains NaN.",
        "MemoryError",
    ]


def test_the_console_is_empty_and_no_other_host_is_requested(first: tuple[Stage, Visit]):
    stage, shown = first
    elsewhere = [requested for requested in shown.requested if f" {stage.url}/" not in requested]
    assert (shown.console, elsewhere) == ([], [])


def test_the_key_is_removed_from_the_url(first: tuple[Stage, Visit]):
    _, shown = first
    assert shown.page.evaluate("location.href").endswith("/api/view/fleet-7")


def test_the_key_is_in_no_requested_url(first: tuple[Stage, Visit]):
    stage, _ = first
    assert [requested for requested in stage.requests if "key" in requested] == []


def test_a_key_in_the_code_parameter_is_used_and_removed(stage: Stage, visit: Open):
    stage.show(Scene())
    page = visit(f"{stage.url}/api/view/fleet-7?code={KEY}")
    page.wait("#body:visible")
    assert page.page.evaluate("location.search") == ""


def test_the_key_survives_a_reload(shown: Visit):
    shown.page.reload()
    shown.wait("#body:visible")


def test_another_tab_of_the_same_browser_gets_the_key(stage: Stage, shown: Visit):
    other = shown.page.context.new_page()
    other.goto(f"{stage.url}/api/view/fleet-7")
    other.wait_for_selector("#body:visible")


def test_without_a_key_the_key_form_is_shown(stage: Stage, visit: Open):
    stage.show(Scene())
    page = visit(f"{stage.url}/api/view/fleet-7")
    page.wait("#key:visible")
    page.page.keyboard.type(KEY)
    page.page.keyboard.press("Enter")
    page.wait("#body:visible")


def test_a_key_in_the_url_of_an_open_page_is_used(stage: Stage, visit: Open):
    stage.show(Scene())
    page = visit(f"{stage.url}/api/view/fleet-7")
    page.wait("#key:visible")
    page.page.evaluate("key => { location.hash = `key=${key}`; }", KEY)
    page.wait("#body:visible")
    assert page.page.evaluate("location.hash") == ""


def test_a_rejected_key_shows_the_form_again(stage: Stage, visit: Open):
    stage.show(Scene())
    page = visit(f"{stage.url}/api/view/fleet-7", "wrong")
    page.wait("#key-fault:visible")
    page.page.fill("#key-field", KEY)
    page.page.click("#key button")
    page.wait("#body:visible")


def test_an_unknown_fleet_is_reported(stage: Stage, visit: Open):
    page = visit(f"{stage.url}/api/view/fleet-9", KEY)
    page.wait("#away:has-text('There is no fleet fleet-9.')")
    found = [page.text(part).strip() for part in ("#away-words", "#pulse", "#content")]
    assert found == ["There is no fleet fleet-9.", "Not found", "fleet-9"]


def test_an_ended_fleet_shows_its_trials_at_its_end(stage: Stage, visit: Open):
    """Not those that were reset since then, by a retry."""
    scene = Scene(failing=0, phase="done", trials=40)
    status, retried = scene.status(), scene.progress()
    trials = {"total": 40, "ready": 0, "running": 0, "complete": 39, "error": 1}
    retried["trials"] = {**trials, "ready": 1, "error": 0}
    scene.status = lambda: {**status, "trials": trials}  # type: ignore[method-assign]
    scene.progress = lambda: retried  # type: ignore[method-assign]
    stage.show(scene)
    page = opened(stage, visit)
    assert "All 40 trials are done, 1 of them failed." in page.text("#sentence")
    assert "1 failed" in page.text("#trials-legend")


@pytest.mark.parametrize("reference", ["latest", "nightly", "fleet-7"])
def test_a_page_keeps_the_fleet_to_which_its_url_resolved_first(
    stage: Stage, visit: Open, reference: str
):
    stage.show(Scene("fleet-9007", own_name="nightly", vms=2))
    page = visit(f"{stage.url}/api/view/{reference}", KEY, clock=True)
    page.wait("#body:visible")
    assert (page.text("#name"), page.text("#own-name")) == ("fleet-7", "nightly")
    assert page.page.title().endswith("· fleet-7 (nightly)")
    stage.fleets = {"fleet-9008": Scene("fleet-9008", own_name="nightly"), **stage.fleets}
    page.poll_and_render()
    assert page.text("#name") == "fleet-7"
    page.page.click("#cancel")
    assert page.text("#cancel-title") == "Cancel fleet-7 (nightly)?"
    page.page.click("#cancel-yes")
    page.wait("#phase :text-is('Deleting VMs')")
    assert (stage.cancelled, page.console) == (["fleet-9007"], [])


def test_number_and_name_are_kept_while_the_database_is_unavailable(stage: Stage, visit: Open):
    scene = Scene("fleet-9007", own_name="nightly", vms=2)
    stage.show(scene)
    page = visit(f"{stage.url}/api/view/latest", KEY, clock=True)
    page.wait("#body:visible")
    scene.number = scene.own_name = None
    page.poll_and_render()
    assert (page.text("#name"), page.text("#own-name")) == ("fleet-7", "nightly")


@pytest.mark.parametrize(
    ("code", "words"),
    [(409, "'nig' is ambiguous: nightly, nigh."), (410, "fleet-3 ended and was purged.")],
)
def test_a_fleet_that_cannot_be_shown_is_not_polled(
    stage: Stage, visit: Open, code: int, words: str
):
    stage.refused["nig"] = (code, words)
    page = visit(f"{stage.url}/api/view/nig", KEY, clock=True)
    page.wait("#away:visible")
    before = len(stage.requests)
    page.poll()
    flush(page)
    assert (page.text("#away-words"), page.text("#pulse")) == (words, "Not available")
    assert len(stage.requests) == before + 1


def test_an_unknown_fleet_is_not_asked_for_for_ever(stage: Stage, visit: Open):
    """But for a while: a queue message may be read soon."""
    page = visit(f"{stage.url}/api/view/fleet-404", KEY, clock=True)
    for _ in range(10):
        page.wait("#away:visible")
        page.poll()
        flush(page)
    asked = [one for one in stage.requests if one == "GET /api/fleets/fleet-404"]
    assert (len(asked), page.text("#pulse")) == (6, "Not found")


@pytest.mark.parametrize("how", ["drop", "fail"])
def test_an_outage_is_shown_and_recovered_from(stage: Stage, shown: Visit, how: str):
    stage.away = how
    shown.poll()
    shown.wait("#away:has-text('The app is unavailable.')")
    assert shown.page.is_visible("#trials-done")
    stage.away = ""
    shown.page.click("#again")
    shown.until("document.getElementById('away').hidden")


def test_updates_keep_focus_and_scroll_position(stage: Stage, shown: Visit):
    page = shown.page
    page.focus("#vms")
    page.keyboard.press("End")
    before = page.evaluate("[document.getElementById('vms').scrollTop, scrollY]")
    done = shown.text("#trials-done")
    stage.show(stage.fleets["fleet-7"].advance(60))
    shown.poll()
    shown.until("document.getElementById('trials-done').textContent !== value", done)
    after = page.evaluate("[document.getElementById('vms').scrollTop, scrollY]")
    assert (page.evaluate("document.activeElement.id"), after) == ("vms", before)


def test_unchanged_nodes_are_not_touched(stage: Stage, shown: Visit):
    now = stage.fleets["fleet-7"].answers()
    stage.fleets["fleet-7"].answers = lambda: now  # type: ignore[method-assign]
    changes = "new MutationObserver(some => changes += some.length).observe"
    all_resource_ids = "{subtree: true, childList: true, attributes: true, characterData: true}"
    shown.page.evaluate(
        f"changes = 0; {changes}(document.getElementById('content'), {all_resource_ids})"
    )
    shown.poll_and_render()
    # The running time and the growing bars do change.
    assert shown.page.evaluate("changes") < 60


def test_only_a_new_phase_is_announced(stage: Stage, shown: Visit):
    assert shown.page.inner_text("#announcer") == ""
    stage.fleets["fleet-7"].phase = "teardown"
    shown.poll()
    shown.until("document.getElementById('announcer').textContent === 'fleet-7: Deleting VMs'")


def test_an_ended_fleet_is_not_polled(stage: Stage, visit: Open):
    stage.show(Scene(phase="done"))
    page = opened(stage, visit)
    page.wait("#pulse[data-state=ended]")
    before = len(stage.requests)
    page.poll()
    flush(page)
    assert len(stage.requests) == before + 1


def test_a_hidden_page_polls_rarely_and_a_visible_one_at_once(stage: Stage, shown: Visit):
    hide = "Object.defineProperty(document, 'hidden', {{get: () => {}, configurable: true}})"
    shown.page.evaluate(hide.format("true"))
    shown.poll_and_render()
    before = len(stage.requests)
    shown.poll()
    flush(shown)
    assert len(stage.requests) == before + 1
    seen = "document.dispatchEvent(new Event('visibilitychange'))"
    with shown.page.expect_response("**/progress"):
        shown.page.evaluate(f"{hide.format('false')}; {seen}")


def flush(page: Visit) -> None:
    """One request of ours: what the page had begun before it has been sent by then."""
    page.page.evaluate("fetch('/sources/common/describe.js').then(answer => answer.text())")


def test_a_database_outage_keeps_the_last_numbers(stage: Stage, shown: Visit):
    done, scene = shown.text("#trials-done"), stage.fleets["fleet-7"]
    deleted = {"trials": None, "problem": "The database does not answer."}
    empty = {"start": scene.at(0), "step": 0, "complete": [], "error": []}
    changed = {**scene.progress(), **deleted, "series": empty}
    scene.progress = lambda: changed  # type: ignore[method-assign]
    shown.poll()
    shown.wait("#trials-problem:has-text('The database does not answer.')")
    assert (shown.text("#trials-done"), shown.page.is_visible("#chart")) == (done, True)


def test_all_numbers_of_trials_are_from_one_answer(stage: Stage, visit: Open):
    """The status is older than the progress: each fleet writes it once a tick."""
    scene = Scene(elapsed=600)
    status = {**scene.status(), "trials": {**scene.trials(), "complete": 1, "error": 0}}
    scene.status = lambda: status  # type: ignore[method-assign]
    stage.show(scene)
    page = opened(stage, visit)
    page.wait("#trials-done")
    assert f"{page.text('#trials-done')} of 240 trials are done" in page.text("#sentence")


def test_an_ended_fleet_shows_the_duration_of_the_list(stage: Stage, visit: Open):
    scene = Scene(phase="done", elapsed=1500)
    status = {**scene.status(), "ended_at": scene.at(1200)}
    scene.status = lambda: status  # type: ignore[method-assign]
    stage.show(scene)
    page = opened(stage, visit)
    assert "after 20 min." in page.text("#sentence")
    page.page.click("#all-fleets")
    page.wait("#rows .began:has-text('took 20 min')")


def test_every_control_can_be_reached_by_tab(shown: Visit):
    reached = []
    for _ in range(20):
        shown.page.keyboard.press("Tab")
        reached.append(
            shown.page.evaluate("document.activeElement.id || document.activeElement.className")
        )
    assert {"skip", "all-fleets", "theme", "cancel", "vms"} <= set(reached)


def test_a_failed_cancellation_can_be_retried(stage: Stage, shown: Visit):
    shown.page.click("#cancel")
    stage.away = "fail"
    shown.page.click("#cancel-yes")
    shown.wait("#cancel-fault:visible")
    stage.away = ""
    shown.page.click("#cancel-yes")
    shown.wait("#phase :text-is('Deleting VMs')")
    assert stage.cancelled == ["fleet-7"]


def test_a_read_only_key_gets_an_error_on_cancel_and_is_kept(stage: Stage, shown: Visit):
    stage.read_only = True
    shown.page.click("#cancel")
    shown.page.click("#cancel-yes")
    shown.wait(
        "#cancel-fault:text-is('Your key does not permit cancelling fleets. Nothing was changed.')"
    )
    assert (stage.cancelled, shown.page.is_visible("#key")) == ([], False)


def test_remaining_resources_of_an_ended_fleet_can_be_deleted(stage: Stage, visit: Open):
    scene = Scene(phase="done")
    status = scene.status()
    kept = {**status["machines"], "running": 2, "deleted": 4}
    scene.status = lambda: {**status, "machines": kept, "phase": scene.phase}  # type: ignore[method-assign]
    stage.show(scene)
    page = opened(stage, visit)
    page.wait("#pulse[data-state=ended]")
    assert "2 VMs still exist and cost money." in page.text("#sentence")
    page.page.click("#cancel:text-is('Delete remaining resources')")
    assert page.text("#cancel-what").startswith("2 VMs with their disks")
    page.page.click("#cancel-yes")
    page.wait("#phase :text-is('Deleting VMs')")
    assert stage.cancelled == ["fleet-7"]


def test_duplicate_placements_are_summed_and_a_smaller_size_is_named(stage: Stage, visit: Open):
    scene = Scene(failing=0, phase="done")
    changed = scene.progress()
    (first, *_) = changed["vm_hours"]["by_placement"]
    halves = [{**first, "vm_hours": 1.5}, {**first, "vm_hours": 2.25}]
    hours = {"so_far": 3.75, "by_placement": halves}
    cost = {**changed["cost"], "so_far": 0.0789}  # not exactly price times hours, which are rounded
    size = {"message": "Half the memory would have done."}
    scene.progress = lambda: {**changed, "vm_hours": hours, "cost": cost, "right_sizing": size}  # type: ignore[method-assign]
    stage.show(scene)
    page = opened(stage, visit)
    assert page.text("#right-size") == size["message"]
    cells = page.page.locator("#placements tr:first-child td").all_inner_texts()
    assert cells == ["3", "3.75", "$0.0211", "$0.0789"]
    assert page.page.locator("#money dt").all_inner_texts()[:2] == ["VM-hours", "cost"]
    assert page.page.locator("#money dd").all_inner_texts()[:2] == ["3.75", "$0.0789"]


def test_the_card_says_what_spot_saves_and_what_the_fleet_may_cost(first: tuple[Stage, Visit]):
    _, shown = first
    terms = shown.page.locator("#money dt").all_inner_texts()
    values = dict(zip(terms, shown.page.locator("#money dd").all_inner_texts(), strict=True))
    assert values["saved by Spot"].startswith("$")
    assert values["at most"] == "$250.00"


def test_the_theme_is_persisted(shown: Visit):
    shown.page.click("#theme")
    shown.page.click("#theme")
    shown.page.reload()
    dark = "getComputedStyle(document.documentElement).colorScheme"
    assert shown.page.evaluate(dark) == "dark"


@pytest.mark.parametrize("width", [390, 1440])
def test_hostile_text_is_escaped_and_does_not_break_the_layout(
    stage: Stage, visit: Open, width: int
):
    stage.show(Hostile())
    page = opened(stage, visit, size=(width, 900))
    page.page.click("#vm-1")
    assert HOSTILE["markup"] in page.text("#warnings")
    assert page.page.locator("main script, main img").count() == 0
    assert page.page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.page.evaluate("document.documentElement.scrollHeight") < 12_000
    assert page.console == []


def test_a_fleet_without_vms_has_no_cost(stage: Stage, visit: Open):
    stage.show(Scene(phase="failed", vms=0, elapsed=1))
    page = visit(f"{stage.url}/api/view/fleet-7", KEY)
    page.wait("#content:not([aria-busy])")
    assert (page.page.is_visible("#money-card"), page.text("#vms-none")) == (
        False,
        "No VM was created.",
    )


def test_a_fleet_that_failed_shows_where_and_says_why_once(stage: Stage, visit: Open):
    stage.show(Refused())
    page = opened(stage, visit)
    page.wait("#pulse[data-state=ended]")
    steps = page.page.eval_on_selector_all("#steps li", "all => all.map(one => one.dataset.state)")
    assert steps == ["done", "done", "bad", "todo", "todo", "todo"]
    assert page.text("#sentence").endswith("3 VMs failed or were refused; none was replaced.")
    assert page.text("#content").count("sufficient capacity") == 1
