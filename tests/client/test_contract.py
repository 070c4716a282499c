"""The client against the real app."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import powerlift_fleet as fleets
import pytest
from powerlift_fleet import AsyncFleetClient, FleetClient, run_azure_process, submit_by_queue

from local.stack import Stack
from tests.harness import eventually, experiment

UNUSED = 2**52
"""An unused batch ID."""


@pytest.fixture(scope="module")
def client(stack: Stack) -> Iterator[FleetClient]:
    with FleetClient(stack.url, stack.key) as client:
        yield client


@pytest.fixture(scope="module")
def running(client: FleetClient, stack: Stack) -> Iterator[str]:
    """A fleet with one running VM and three trials."""
    fleet = client.submit({"experiment_id": experiment(stack, 3), "n_instances": 1}).id
    eventually(lambda: client.status(fleet).machines.running or None)
    yield fleet
    end(client, fleet)


def end(client: FleetClient, fleet: str) -> None:
    client.cancel(fleet)
    with pytest.raises(fleets.FleetCancelled):
        client.wait(fleet, timeout=60, interval=0.5)


def test_a_submitted_fleet_has_a_status(client: FleetClient, stack: Stack) -> None:
    taken = client.submit({"experiment_id": experiment(stack), "n_instances": 1})
    shown = client.status(taken.id)
    end(client, taken.id)
    assert (shown.batch_id, taken.created) == (taken.batch_id, True)


def test_a_repeated_request_is_the_same_fleet(client: FleetClient, stack: Stack) -> None:
    request = {"experiment_id": experiment(stack), "n_instances": 1, "batch_id": 5002}
    made = [client.submit(request).created for _ in range(2)]
    end(client, "fleet-5002")
    assert made == [True, False]


def test_a_different_request_with_the_same_batch_is_rejected(
    client: FleetClient, stack: Stack
) -> None:
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


def test_a_wrong_key_is_unauthorized(stack: Stack) -> None:
    with FleetClient(stack.url, "wrong") as client, pytest.raises(fleets.Unauthorized):
        client.fleets()


def test_an_unknown_fleet_is_not_found(client: FleetClient) -> None:
    for ask in (client.status, client.machines, client.cancel):
        with pytest.raises(fleets.NotFound, match=f"fleet-{UNUSED}"):
            ask(UNUSED)


def test_a_missing_log_is_not_found(client: FleetClient, running: str) -> None:
    with pytest.raises(fleets.NotFound):
        client.log(running, 999)


def test_fleets_are_listed(client: FleetClient, running: str) -> None:
    assert running in [one.id for one in client.fleets()]


def test_a_named_fleet_is_found_by_every_reference(client: FleetClient, stack: Stack) -> None:
    number, batch = experiment(stack), 4_611_000_000_017
    request = {"experiment_id": number, "n_instances": 1, "batch_id": batch, "name": "zebra-run"}
    taken = client.submit(request)
    references = ("zebra-run", "zebra", "latest", taken.number, f"fleet-{taken.number}", batch)
    found = [
        client.status(one) for one in (*references, f"fleet-{batch}", "4611000000", "fleet-4611")
    ]
    assert {(one.id, one.label) for one in found} == {
        (f"fleet-{batch}", f"fleet-{taken.number} (zebra-run)")
    }
    assert client.submit({**request, "batch_id": str(batch)}).created is False
    with pytest.raises(fleets.BatchTaken, match="zebra-run"):
        client.submit({**request, "batch_id": batch + 1})
    with pytest.raises(fleets.ConfigurationError):
        client.status("zebra/run")
    end(client, "zebra-run")


def test_an_ambiguous_prefix_names_the_matches(client: FleetClient, stack: Stack) -> None:
    request = {"experiment_id": experiment(stack), "n_instances": 1}
    for name in ("twin-a", "twin-b"):
        client.submit({**request, "name": name})
    for call in (client.status, client.machines):
        with pytest.raises(fleets.FleetAmbiguous, match=r"twin-[ab], twin-[ab]"):
            call("twin")
    with pytest.raises(fleets.NotFound, match="complete name"):
        client.cancel("twin")
    for name in ("twin-a", "twin-b"):
        end(client, name)


def test_the_list_is_filtered_and_paged(
    client: FleetClient, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = experiment(stack)
    request = {"experiment_id": number, "n_instances": 1}
    taken = [client.submit(request).id for _ in range(3)]
    monkeypatch.setattr("powerlift_fleet.api.flows.PAGE_SIZE", 1)
    newest = client.fleets(experiment=number, since=timedelta(hours=1), status="active")
    oldest = client.fleets(experiment=str(number), sort="oldest", limit=2)
    for fleet in taken:
        end(client, fleet)
    ended = client.fleets(
        experiment=number, status="cancelled", submitted_by=newest[0].submitted_by
    )
    assert [one.id for one in newest] == taken[::-1]
    assert [one.id for one in oldest] == taken[:2]
    assert {one.id for one in ended} == set(taken)
    assert client.fleets(experiment=number, since=datetime.now(UTC) + timedelta(hours=1)) == ()


def test_progress_has_trials_and_vm_hours(client: FleetClient, running: str) -> None:
    shown = client.progress(running)
    assert shown.trials is not None
    assert (shown.id, shown.trials.total, shown.problem) == (running, 3, None)
    assert shown.vm_hours.so_far > 0


def test_a_running_vm_is_listed(client: FleetClient, running: str) -> None:
    live = eventually(
        lambda: [one for one in client.machines(running) if one.state == "running"] or None
    )
    assert (live[0].ordinal, live[0].running_at is not None) == (0, True)


def test_links_in_responses_are_the_clients_urls(client: FleetClient, running: str) -> None:
    links = client.status(running).links
    assert links.self == f"{client.url}/fleets/{running}"
    assert links.view == client.view_url(running).partition("#")[0]


def test_a_valid_request_has_a_plan_without_faults(client: FleetClient, stack: Stack) -> None:
    plan = client.plan({"experiment_id": experiment(stack), "n_instances": 1})
    assert plan.ok is True


def test_a_failed_fleet_raises_with_the_reason(client: FleetClient) -> None:
    taken = client.submit({"experiment_id": 10**6, "n_instances": 1})
    with pytest.raises(fleets.FleetFailed, match=f"{taken.handle} failed: ") as caught:
        client.wait(taken.id, timeout=60, interval=0.5)
    assert str(caught.value).count("\n") >= 1


def test_the_asyncio_client_watches_a_fleet(stack: Stack) -> None:
    async def live() -> list[str]:
        async with AsyncFleetClient(stack.url, stack.key) as awaiting:
            request = {"experiment_id": experiment(stack), "n_instances": 1}
            fleet = (await awaiting.submit(request)).id
            await awaiting.cancel(fleet)
            return [one.phase async for one in awaiting.watch(fleet, interval=0.5)]

    assert asyncio.run(live())[-1] == "cancelled"


def test_a_fleet_submitted_by_queue_can_be_watched_at_once(
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
def test_an_invalid_queue_raises_without_secrets(
    stack: Stack, connection: str | None, queue: str, kind: type[Exception]
) -> None:
    with pytest.raises(kind) as caught:
        submit_by_queue(connection or stack.queue_connection_string, {}, queue)
    assert "s3cr3t" not in str(caught.value)


def test_a_missing_queue_is_reported_with_advice(stack: Stack) -> None:
    with pytest.raises(fleets.NotFound) as caught:
        submit_by_queue(stack.queue_connection_string, {}, "no-such-queue")
    assert str(caught.value) == (
        "Queue not found (404). The storage account has no queue 'no-such-queue'. Pass the app's queue "
        "(its setting FLEET_QUEUE), or create it: az storage queue create."
    )


def test_run_azure_process_returns_when_all_vms_are_running(
    client: FleetClient, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEET_URL", stack.url)
    monkeypatch.setenv("FLEET_KEY", stack.key)
    monkeypatch.setattr("powerlift_fleet.compat.POLL_SECONDS", 0.5)
    run_azure_process(*process_arguments(experiment(stack), stack.db_uri, batch_id=5004))
    shown = client.status(5004)
    end(client, "5004")
    assert (shown.phase in ("provisioned", "run"), shown.machines.role_assigned) == (
        True,
        2,
    )


def test_run_azure_process_raises_the_failure(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEET_URL", stack.url)
    monkeypatch.setenv("FLEET_KEY", stack.key)
    monkeypatch.setattr("powerlift_fleet.compat.POLL_SECONDS", 0.5)
    with pytest.raises(fleets.FleetFailed):
        run_azure_process(*process_arguments(10**6, stack.db_uri, batch_id=2**63 - 1))


def test_a_credential_is_rejected_with_advice(stack: Stack) -> None:
    arguments = process_arguments(1, stack.db_uri, 1)
    with pytest.raises(fleets.ConfigurationError, match="client_secret"):
        run_azure_process(*arguments[:6], object(), *arguments[7:])


def process_arguments(number: int, uri: str, batch_id: int) -> tuple[object, ...]:
    """The arguments of `run_azure_process`, in order."""
    account = {"tenant_id": None, "client_id": None, "client_secret": None}
    image = ("canonical", "ubuntu-24_04-lts", "server", "latest")
    where = (account, None, None, "Standard_D2s_v5")
    return (number, 2, uri, [], None, *where, *image, "Standard_LRS", 20, True, batch_id)


@pytest.mark.long
def test_a_watch_survives_a_crash_of_the_host(client: FleetClient, stack: Stack) -> None:
    fleet = client.submit({"experiment_id": experiment(stack), "n_instances": 1}).id
    shown: list[fleets.FleetStatus] = []
    watch = threading.Thread(target=lambda: shown.extend(client.watch(fleet, interval=0.3)))
    watch.start()
    eventually(lambda: client.status(fleet).machines.running or None)
    stack.kill_host()
    stack.start_host()
    client.cancel(fleet)
    watch.join(60)
    assert shown[-1].phase == "cancelled", shown[-1]
