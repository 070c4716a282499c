"""The client and the real app: that each means what the other does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import powerlift_fleet as fleets
import pytest
from powerlift_fleet import AsyncFleetClient, FleetClient, run_azure_process, submit_by_queue

from local.stack import Stack
from tests.harness import eventually, experiment

GONE = 2**52
"""A batch that nobody has asked for."""


@pytest.fixture(scope="module")
def client(stack: Stack) -> Iterator[FleetClient]:
    with FleetClient(stack.url, stack.key) as client:
        yield client


def end(client: FleetClient, fleet: str) -> None:
    client.cancel(fleet)
    with pytest.raises(fleets.FleetCancelled):
        client.wait(fleet, timeout=60, interval=0.2)


def test_a_fleet_is_submitted_and_known(client: FleetClient, stack: Stack) -> None:
    taken = client.submit({"experiment_id": experiment(stack), "n_instances": 1})
    shown = client.status(taken.id)
    end(client, taken.id)
    assert (shown.batch_id, taken.created) == (taken.batch_id, True)


def test_a_repeat_is_the_same_fleet(client: FleetClient, stack: Stack) -> None:
    request = {"experiment_id": experiment(stack), "n_instances": 1, "batch_id": 5002}
    made = [client.submit(request).created for _ in range(2)]
    end(client, "fleet-5002")
    assert made == [True, False]


def test_another_request_of_the_same_batch_is_refused(client: FleetClient, stack: Stack) -> None:
    request = {"experiment_id": experiment(stack), "n_instances": 1, "batch_id": 5003}
    client.submit(request)
    with pytest.raises(fleets.BatchTaken, match="5003"):
        client.submit({**request, "n_instances": 2})
    end(client, "5003")


def test_every_fault_of_a_request_has_its_pointer(client: FleetClient) -> None:
    with pytest.raises(fleets.RequestRefused) as caught:
        client.submit({"n_instances": 0, "bogus": 1})
    pointers = {fault["pointer"] for fault in caught.value.faults}
    assert pointers == {"/experiment_id", "/n_instances", "/bogus"}


def test_a_wrong_key_is_told_of(stack: Stack) -> None:
    with FleetClient(stack.url, "wrong") as client, pytest.raises(fleets.Unauthorized):
        client.fleets()


def test_an_unknown_fleet_is_told_of(client: FleetClient) -> None:
    for ask in (client.status, client.machines, client.cancel):
        with pytest.raises(fleets.NotFound, match=f"fleet-{GONE}"):
            ask(GONE)


def test_a_log_that_is_not_there_is_told_of(client: FleetClient, stack: Stack) -> None:
    fleet = client.submit({"experiment_id": experiment(stack), "n_instances": 1}).id
    with pytest.raises(fleets.NotFound):
        client.log(fleet, 999)
    end(client, fleet)


def test_fleets_are_listed(client: FleetClient, stack: Stack) -> None:
    fleet = client.submit({"experiment_id": experiment(stack), "n_instances": 1}).id
    listed = [one.id for one in client.fleets()]
    end(client, fleet)
    assert fleet in listed


def test_progress_has_the_trials_their_course_and_the_vms_hours(
    client: FleetClient, stack: Stack
) -> None:
    fleet = client.submit({"experiment_id": experiment(stack, 3), "n_instances": 1}).id
    eventually(lambda: client.status(fleet).machines.running or None)
    shown = client.progress(fleet)
    end(client, fleet)
    assert shown.trials is not None
    assert (shown.id, shown.trials.total, shown.problem) == (fleet, 3, None)
    assert shown.vm_hours.so_far > 0


def test_a_vm_is_told_of_as_it_is(client: FleetClient, stack: Stack) -> None:
    fleet = client.submit({"experiment_id": experiment(stack), "n_instances": 1}).id
    live = eventually(
        lambda: [one for one in client.machines(fleet) if one.state == "running"] or None
    )
    end(client, fleet)
    assert (live[0].ordinal, live[0].running_at is not None) == (0, True)


def test_the_links_of_a_fleet_are_where_the_client_asks(client: FleetClient, stack: Stack) -> None:
    fleet = client.submit({"experiment_id": experiment(stack), "n_instances": 1}).id
    links = client.status(fleet).links
    end(client, fleet)
    assert links.self == f"{client.url}/fleets/{fleet}"
    assert links.view == client.view_url(fleet).partition("#")[0]


def test_a_plan_says_what_a_fleet_would_meet(client: FleetClient, stack: Stack) -> None:
    plan = client.plan({"experiment_id": experiment(stack), "n_instances": 1})
    assert plan.ok is True


def test_a_fleet_that_cannot_work_raises_with_the_reason(client: FleetClient) -> None:
    fleet = client.submit({"experiment_id": 10**6, "n_instances": 1}).id
    with pytest.raises(fleets.FleetFailed, match=f"{fleet} failed: ") as caught:
        client.wait(fleet, timeout=60, interval=0.2)
    assert str(caught.value).count("\n") >= 1


def test_the_awaiting_client_sees_the_same(stack: Stack) -> None:
    async def live() -> list[str]:
        async with AsyncFleetClient(stack.url, stack.key) as awaiting:
            request = {"experiment_id": experiment(stack), "n_instances": 1}
            fleet = (await awaiting.submit(request)).id
            await awaiting.cancel(fleet)
            return [one.phase async for one in awaiting.watch(fleet, interval=0.2)]

    assert asyncio.run(live())[-1] == "cancelled"


def test_a_fleet_asked_for_by_queue_is_known_before_the_app_has_read_of_it(
    client: FleetClient, stack: Stack
) -> None:
    request = {"experiment_id": experiment(stack), "n_instances": 1}
    taken = submit_by_queue(stack.queue_connection_string, request)
    first = next(iter(client.watch(taken.id, appears_within=60)))
    end(client, taken.id)
    assert first.batch_id == taken.batch_id


@pytest.mark.parametrize(
    ("connection", "queue", "kind"),
    [
        ("s3cr3t", "q", fleets.ConfigurationError),
        ("AccountName=x;AccountKey=s3cr3t", "q", fleets.Unauthorized),
        (None, "no-such-queue", fleets.NotFound),
    ],
)
def test_a_queue_that_is_none_is_told_of(
    stack: Stack, connection: str | None, queue: str, kind: type[Exception]
) -> None:
    with pytest.raises(kind) as caught:
        submit_by_queue(connection or stack.queue_connection_string, {}, queue)
    assert "s3cr3t" not in str(caught.value)


def test_a_queue_that_is_not_there_is_told_with_what_to_do(stack: Stack) -> None:
    with pytest.raises(fleets.NotFound) as caught:
        submit_by_queue(stack.queue_connection_string, {}, "no-such-queue")
    assert str(caught.value) == (
        "Queue not found (404). The storage account has no queue 'no-such-queue'. Pass the app's queue "
        "(its setting FLEET_QUEUE), or create it: az storage queue create."
    )


def test_the_seeds_function_returns_when_all_vms_are_there(
    client: FleetClient, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEET_URL", stack.url)
    monkeypatch.setenv("FLEET_KEY", stack.key)
    monkeypatch.setattr("powerlift_fleet.compat.POLL_SECONDS", 0.2)
    run_azure_process(*process_arguments(experiment(stack), stack.db_uri, batch_id=5004))
    shown = client.status(5004)
    end(client, "5004")
    assert (shown.phase in ("provisioned", "run"), shown.machines.role_assigned) == (
        True,
        2,
    )


def test_the_seeds_function_raises_what_kept_the_fleet_from_being_there(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEET_URL", stack.url)
    monkeypatch.setenv("FLEET_KEY", stack.key)
    monkeypatch.setattr("powerlift_fleet.compat.POLL_SECONDS", 0.2)
    with pytest.raises(fleets.FleetFailed):
        run_azure_process(*process_arguments(10**6, stack.db_uri, batch_id=2**63 - 1))


def test_a_credential_is_refused_with_advice(stack: Stack) -> None:
    arguments = process_arguments(1, stack.db_uri, 1)
    with pytest.raises(fleets.ConfigurationError, match="client_secret"):
        run_azure_process(*arguments[:6], object(), *arguments[7:])


def process_arguments(number: int, uri: str, batch_id: int) -> tuple[object, ...]:
    """In the seed's order."""
    account = {"tenant_id": None, "client_id": None, "client_secret": None}
    image = ("canonical", "ubuntu-24_04-lts", "server", "latest")
    where = (account, None, None, "Standard_D2s_v5")
    return (number, 2, uri, [], None, *where, *image, "Standard_LRS", 20, True, batch_id)


def test_a_watch_goes_on_through_a_host_that_is_killed(client: FleetClient, stack: Stack) -> None:
    fleet = client.submit({"experiment_id": experiment(stack), "n_instances": 1}).id
    shown: list[fleets.FleetStatus] = []
    watch = threading.Thread(target=lambda: shown.extend(client.watch(fleet, interval=0.1)))
    watch.start()
    eventually(lambda: client.status(fleet).machines.running or None)
    stack.kill_host()
    stack.start_host()
    client.cancel(fleet)
    watch.join(60)
    assert shown[-1].phase == "cancelled", shown[-1]
