"""The VMs on the page of a fleet: their details, logs and links, and the keyboard."""

from __future__ import annotations

from tests.view.conftest import Open, Visit, opened
from tests.view.scenes import PORTAL, Scene
from tests.view.stage import Stage


def test_activating_a_bar_shows_details_and_log(stage: Stage, shown: Visit):
    stage.logs[0] = "# ended\n<b>boot</b>"
    shown.page.click("#vm-0")
    assert "ZonalAllocationFailed" in shown.text("#detail-why")
    shown.page.click("#log-get")
    shown.wait("#log:visible")
    assert shown.text("#log") == "# ended\n<b>boot</b>"


def test_the_details_show_what_the_vm_reports(shown: Visit):
    shown.page.click(f"#vm-{ALIVE}")
    record = shown.text("#detail-record")
    assert "Hardware\nIntel Xeon Platinum 8370C, 2 CPUs, 7.76 GiB" in record
    assert "Packages\nlock 4b9f2c4b9f2c" in record


def test_a_missing_log_is_reported(shown: Visit):
    shown.page.click("#vm-0")
    shown.page.click("#log-get")
    shown.wait("#log-note:has-text('Its console has said nothing.')")


ALIVE = 2
"""A VM of `shown` that runs trials."""


def reads(stage: Stage) -> list[str]:
    """The queries with which the log of that VM was read."""
    path = f"GET /api/fleets/fleet-7/machines/{ALIVE}/log"
    return [one.removeprefix(path) for one in stage.requests if one.startswith(path)]


def open_log(page: Visit) -> None:
    page.page.click(f"#vm-{ALIVE}")
    page.page.click("#log-get")
    page.wait("#log:visible")


def test_the_log_follows_a_vm_until_its_end(stage: Stage, shown: Visit):
    stage.logs[ALIVE] = "first\r\nsec"
    open_log(shown)
    assert shown.text("#log") == "first\r\nsec"
    stage.logs[ALIVE] = "first\r\nsecond\r\nthi"
    shown.poll()
    shown.wait("#log:has-text('second')")
    assert shown.text("#log") == "first\r\nsecond\r\n"
    assert shown.page.evaluate("document.activeElement.id") == "console-title"
    stage.logs[ALIVE] = "ended"
    stage.fleets["fleet-7"].machines[ALIVE]["state"] = "deleted"
    shown.poll_and_render()
    shown.wait("#log:text-is('ended')")
    before = reads(stage)
    shown.poll_and_render()
    assert (reads(stage), shown.page.is_visible("#log-follow")) == (before, False)
    assert before[:2] == ["", "?after=console-7"]
    assert before[-1] == ""  # the whole anew: its first line says why the VM ended


def test_a_stored_log_replaces_that_of_the_console(stage: Stage, shown: Visit):
    """Their positions are not comparable."""
    stage.logs[ALIVE] = "from the console\n"
    open_log(shown)
    stage.logs[ALIVE] = "stored"
    stage.stored.add(ALIVE)
    shown.poll()
    shown.wait("#log:text-is('stored')")
    stage.logs[ALIVE] = "stored, more"
    shown.poll()
    shown.wait("#log:text-is('stored, more')")
    assert reads(stage) == ["", "?after=console-17", "?after=stored-6"]


def test_no_more_of_a_log_is_shown_than_the_api_gives_at_once(stage: Stage, shown: Visit):
    stage.logs[ALIVE] = "é" * 16_000 + "\n"
    open_log(shown)
    stage.logs[ALIVE] += "x" * 10_000 + "\n"
    shown.poll()
    shown.wait("#log:has-text('x')")
    text = shown.page.text_content("#log")
    assert text == "é" * 11_383 + "\n" + "x" * 10_000 + "\n"  # 32 KB without half a character


def test_a_log_that_is_not_followed_or_hidden_is_not_read(stage: Stage, shown: Visit):
    stage.logs[ALIVE] = "a line"
    open_log(shown)
    shown.page.click("#log-follow[aria-pressed=true]")
    before = reads(stage)
    shown.poll_and_render()
    assert reads(stage) == before
    hide = "Object.defineProperty(document, 'hidden', {get: () => true, configurable: true})"
    shown.page.evaluate(f"{hide}; document.dispatchEvent(new Event('visibilitychange'))")
    shown.page.click("#log-follow[aria-pressed=false]")
    shown.poll_and_render()
    assert reads(stage) == before
    shown.page.focus("#log")
    shown.page.keyboard.press("Escape")
    assert not shown.page.is_visible("#console")


def test_the_fleet_and_each_of_its_vms_link_to_the_portal(stage: Stage, shown: Visit):
    assert shown.page.get_attribute("#portal", "href") == PORTAL
    shown.page.click(f"#vm-{ALIVE}")
    vm = f"{PORTAL}/providers/Microsoft.Compute/virtualMachines/powerlift-vm-7-000{ALIVE}"
    assert shown.page.get_attribute("#detail-portal", "href") == vm
    shown.page.click("#vm-0")  # it was deleted
    assert not shown.page.is_visible("#detail-portal")


def test_without_a_portal_there_is_no_link(stage: Stage, visit: Open):
    scene = Scene()
    status = {**scene.status(), "portal": None}
    scene.status = lambda: status  # type: ignore[method-assign]
    stage.show(scene)
    page = opened(stage, visit)
    page.page.click("#vm-1")
    assert page.page.locator("main a:visible").count() == 0


def test_the_timeline_is_usable_by_keyboard(shown: Visit):
    page = shown.page
    page.focus("#vms")
    active = "document.getElementById('vms').getAttribute('aria-activedescendant')"
    seen = []
    for key in ["ArrowRight", "ArrowLeft", "ArrowDown", "End", "Home", "7"]:
        page.keyboard.press(key)
        seen.append(page.evaluate(active))
    page.keyboard.press("Enter")
    opened_, focus = shown.text("#detail-title"), page.evaluate("document.activeElement.id")
    page.keyboard.press("Escape")
    assert seen == ["vm-12", "vm-0", "vm-12", "vm-11", "vm-0", "vm-7"]
    assert (opened_, focus) == ("VM 7", "detail-title")
    assert (page.is_visible("#detail"), page.evaluate("document.activeElement.id")) == (
        False,
        "vms",
    )


def test_a_filter_shows_the_vms_that_failed(shown: Visit):
    shown.page.click("#filters button:has-text('Failed')")
    stages = shown.page.locator(".vm").evaluate_all("rows => rows.map(row => row.dataset.stage)")
    assert stages == ["failed"] * 4


def test_a_failure_to_load_the_vms_does_not_affect_the_rest(stage: Stage, visit: Open):
    stage.show(Scene())
    stage.broken = {"/machines"}
    page = opened(stage, visit)
    assert page.text("#vms-problem").startswith("The VMs could not be loaded.")
    assert page.text("#trials-done") == "240"
