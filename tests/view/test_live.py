"""The pages against the real app."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fleet.model.names import runner_id
from local.stack import Stack
from tests.harness import Api, existing_resources, experiment, lose_vm, sql
from tests.view.conftest import Open, Visit

BATCH, CANCELLED = 9401, 9402
TRIALS = 12


@pytest.fixture
def watched(stack: Stack, api: Api, visit: Open) -> Iterator[tuple[Visit, int]]:
    """A page on a fleet of six from its beginning, and the number of its experiment."""
    number = experiment(stack, trials=TRIALS)
    fleet = api.start(experiment_id=number, n_instances=6, batch_id=BATCH)
    page = visit(f"{stack.url}/api/view/{fleet}", stack.key)
    page.page.evaluate("window.sameDocument = true")
    yield page, number
    api.end(fleet)


def test_a_page_shows_a_fleet_with_a_replacement_until_its_end(
    stack: Stack, watched: tuple[Visit, int]
):
    visit, number = watched
    visit.wait("#counts [data-kind=running] dd:text-is('6')")
    take_trials(stack, number)
    lose_vm(stack, BATCH, 2)
    visit.wait("#failures :text('VmLost')")
    visit.wait("#vm-6[data-stage=running]")
    assert (
        visit.page.get_attribute("#vm-6", "aria-label") == "VM 6, running, setting up, replaces 2"
    )
    assert visit.text("#vm-2 .mark") == "VmLost → 6"
    end_trials(stack, number)
    visit.wait(f"#trials-done:text-is('{TRIALS}')")
    for ordinal in (0, 1, 3, 4, 5, 6):  # as those that delete themselves
        lose_vm(stack, BATCH, ordinal)
    visit.wait("#phase :text-is('Done')")
    visit.wait("#pulse[data-state=ended]")
    assert visit.text("#sentence").startswith(f"All {TRIALS} trials are done.")
    ended = {kind: visit.text(f"#counts [data-kind={kind}] dd") for kind in ("deleted", "failed")}
    assert ended == {"deleted": "6", "failed": "1"}
    assert "1 VM failed; it was replaced." in visit.text("#sentence")
    assert visit.page.evaluate("window.sameDocument") is True
    assert visit.console == []
    assert [
        requested for requested in visit.requested if f" {stack.url}/api/" not in requested
    ] == []


@pytest.mark.long
def test_cancellation_is_confirmed_and_tears_the_fleet_down(stack: Stack, api: Api, visit: Open):
    fleet = api.start(experiment_id=experiment(stack), n_instances=2, batch_id=CANCELLED)
    page = visit(f"{stack.url}/api/view/{fleet}", stack.key)
    page.wait("#counts [data-kind=running] dd:text-is('2')")
    page.page.click("#cancel")
    assert "2 VMs with their disks, network interfaces and role assignments" in page.text(
        "#cancel-what"
    )
    page.page.click("#cancel-no")
    assert not page.page.is_visible("#cancel-dialog")
    assert [requested for requested in page.requested if requested.startswith("DELETE")] == []
    page.page.click("#cancel")
    page.page.click("#cancel-yes")
    page.wait("#phase :text-is('Cancelled')")
    assert not page.page.is_visible("#cancel")
    assert existing_resources(stack, CANCELLED) == []


def test_the_form_explains_errors_plans_and_submits(stack: Stack, api: Api, visit: Open):
    page = visit(f"{stack.url}/api/submit", stack.key)
    for name, text in (("n_instances", "0"), ("timeout", "soon"), ("more", '{"zones": ["9"]}')):
        page.page.fill(f"#{name}", text)
    page.page.click("#plan")
    page.wait("#timeout[aria-invalid]")
    names = ("experiment_id", "n_instances", "timeout", "more")
    faults = {name: page.text(f"#{name}-fault") for name in names}
    assert faults["experiment_id"] == "This field is required."
    assert faults["more"].startswith("zones/0: ")
    assert "" not in faults.values()
    texts = {"experiment_id": str(experiment(stack)), "n_instances": "2", "timeout": "5m"}
    for name, text in {**texts, "vm_size": "Standard_D2s_v5", "more": ""}.items():
        page.page.fill(f"#{name}", text)
    page.page.click("#plan")
    page.wait("#send:enabled")
    assert page.page.locator("#costs dd").all_inner_texts()[0].startswith("$0.19")
    page.page.click("#send")
    page.wait("#counts [data-kind=running] dd:text-is('2')")
    fleet = page.page.url.rpartition("/")[2]
    assert page.text("#name") == fleet
    api.end(api.get(fleet).json()["id"])
    assert [said for said in page.console if "400 (Bad Request)" not in said] == []


@pytest.mark.long  # tests/triggers/test_view.py checks that the app serves the list
def test_the_list_links_to_a_fleet(stack: Stack, api: Api, visit: Open):
    number = experiment(stack)
    api.end(api.start(experiment_id=number, n_instances=1, batch_id=9403))
    page = visit(f"{stack.url}/api/view", stack.key)
    page.page.click("a:text-is('fleet-9403')")
    page.wait("#phase :text-is('Cancelled')")
    assert (page.text("#name"), page.console) == ("fleet-9403", [])


def take_trials(stack: Stack, number: int) -> None:
    """VM 2 takes a trial, as its script would."""
    sql(
        stack,
        "UPDATE trial SET runner_id = %s, start_time = now() WHERE id ="
        " (SELECT min(id) FROM trial WHERE experiment_id = %s)",
        runner_id(BATCH, 2),
        number,
    )


def end_trials(stack: Stack, number: int) -> None:
    sql(
        stack,
        "UPDATE trial SET start_time = now(), end_time = now() WHERE experiment_id = %s",
        number,
    )
