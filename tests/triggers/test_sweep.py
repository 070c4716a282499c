"""The sweep, on the host's timer: it deletes what outlives its fleet or its deadline."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from fleet.model import names
from local.stack import Stack
from tests.harness import Api, all_resource_ids, eventually, experiment, sql
from tests.local.azure.driver import (
    CONTRIBUTOR,
    GROUP,
    NETWORK_API,
    ROLE_API,
    SELF_DELETION,
    Driver,
    serve,
)
from tests.triggers.swept_resources import (
    FUTURE,
    OWNER,
    PAST,
    ROLE,
    SOMEBODY,
    Cloud,
    Hub,
    make_nic,
    make_role,
    restrict_to_group,
    sweep_once,
    tags,
)

pytestmark = pytest.mark.slow


ACCOUNT = ("tenant_id", "client_id", "client_secret", "subscription_id", "resource_group")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that sweeps every second; a simulated minute takes 1.2 s."""
    settings = {
        "FLEET_OWNER": OWNER,
        "FLEET_SWEEP_SCHEDULE": "* * * * * *",
        "FLEET_VM_ROLE": ROLE,
        "FLEET_ALLOWED_SCOPES": "*",
        "FLEET_ALLOWED_PRINCIPALS": SOMEBODY,
    }
    state = tmp_path_factory.mktemp("swept")
    with Stack(state, time_scale=0.02, machines="none", app_settings=settings) as stack:
        yield stack


@pytest.fixture
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """Azure without a host that sweeps."""
    service, driver = serve(tmp_path_factory.mktemp("alone"), "--machines", "none")
    yield driver
    service.stop()


@pytest.fixture(scope="module")
def cloud(swept: Stack) -> Cloud:
    driver = Driver(swept.arm, swept.state_dir / "azure")
    driver.put_role_definition(ROLE, *SELF_DELETION)
    return Cloud(swept, driver)


@pytest.fixture(scope="module")
def hub(swept: Stack) -> Hub:
    return Hub(swept)


def fleet(cloud: Cloud, batch: int, **document: Any) -> str:
    """A fleet of two VMs with roles at themselves and at another resource, once everything exists."""
    network = cloud.driver.subnet().partition("/subnets/")[0]
    usual = {
        "experiment_id": experiment(cloud.stack),
        "n_instances": 2,
        "batch_id": batch,
        "resource_uris": [network],
        "client_principal_id": SOMEBODY,
        "client_principal_type": "User",
    }
    api = Api(cloud.stack)
    fleet_id = api.start(**{**usual, **document})
    api.wait(fleet_id, "provisioned", "run")
    assert len(cloud.resources(batch)) == 12  # two VMs, NICs, disks; three role assignments each
    return fleet_id


def test_each_vm_gets_the_deployments_role_only_at_itself(cloud: Cloud):
    fleet_id = fleet(cloud, 4018, n_instances=2)
    listed = cloud.driver.authorization().role_assignments.list_for_subscription()
    found = {
        (
            one.scope.rpartition("/")[2],
            one.principal_type,
            one.role_definition_id.rpartition("/")[2],
        )
        for one in listed
        if ": batch 4018 " in (one.description or "")
    }
    Api(cloud.stack).end(fleet_id)
    vms = [names.vm(4018, ordinal) for ordinal in range(2)]
    assert found == {
        ("shared", "ServicePrincipal", CONTRIBUTOR),
        *((vm, "ServicePrincipal", ROLE) for vm in vms),
        *((vm, "User", CONTRIBUTOR) for vm in vms),
    }
    assert cloud.resources(4018) == []


@pytest.mark.parametrize(
    ("batch", "end"),
    [(4001, Hub.purge), pytest.param(4002, None, marks=pytest.mark.long)],
    ids=["purged", "terminated"],
)
def test_resources_of_a_lost_fleet_are_deleted(cloud: Cloud, hub: Hub, batch: int, end: Any):
    fleet_id = fleet(cloud, batch)
    if end:
        hub.purge(fleet_id)
    else:
        hub.tell(fleet_id, "terminate")
    cloud.wait_until_deleted(batch)
    if not end:
        cost = "SELECT cost FROM powerlift_fleet WHERE batch_id = %s AND machines->>'running' = '0'"
        [(spent,)] = eventually(lambda: sql(cloud.stack, cost, batch) or None)
        assert spent > 0, "the fleet no longer counts with what it has reserved"


def test_resources_of_a_hanging_fleet_are_deleted_after_its_deadline(cloud: Cloud, hub: Hub):
    fleet_id = fleet(cloud, 4003, max_lifetime=20)
    hub.tell(fleet_id, "suspend")
    cloud.wait_until_deleted(4003)
    assert hub.status(fleet_id) == "Suspended"


def test_resources_of_a_running_fleet_are_left_alone(cloud: Cloud):
    fleet_id = fleet(cloud, 4004)
    prepared = make_nic(cloud.driver, names.nic(4004, 9), tags(4004, FUTURE, cloud.owner()))
    before = cloud.resources(4004)
    cloud.swept()
    assert prepared.lower() in before
    assert cloud.resources(4004) == before
    Api(cloud.stack).end(fleet_id)


@pytest.mark.long
def test_another_deployments_vm_is_left_alone_until_its_deadline(cloud: Cloud):
    cloud.vm(4005, tags(4005, FUTURE))
    cloud.swept()
    before = cloud.resources(4005)
    cloud.retag(4005, **{names.DEADLINE_TAG: PAST})
    cloud.wait_until_deleted(4005)
    assert len(before) == 3  # VM, NIC and disk


@pytest.mark.long
def test_two_task_hubs_with_one_fleet_owner_leave_each_others_vms_alone(cloud: Cloud):
    cloud.vm(4017, tags(4017, FUTURE, cloud.owner("AnotherHub")))
    before = cloud.resources(4017)
    cloud.swept()
    resources = cloud.resources(4017)
    cloud.retag(4017, **{names.OWNER_TAG: cloud.owner()})
    cloud.wait_until_deleted(4017)
    assert (len(before), resources) == (3, before)


@pytest.mark.long
def test_a_kept_vm_is_left_alone_until_its_deadline(cloud: Cloud):
    number = experiment(cloud.stack)
    fleet_id = fleet(cloud, 4006, experiment_id=number, delete_on_complete=False)
    sql(
        cloud.stack,
        "UPDATE trial SET start_time = now(), end_time = now() WHERE experiment_id = %s",
        number,
    )
    assert Api(cloud.stack).wait(fleet_id)["phase"] == "done"
    before = cloud.resources(4006)
    cloud.swept()
    kept = cloud.resources(4006)
    for ordinal in range(2):
        cloud.retag(4006, ordinal, **{names.DEADLINE_TAG: PAST})
    cloud.wait_until_deleted(4006)
    assert len(before) == 12
    assert kept == before


@pytest.mark.parametrize(
    ("batch", "forged"), [(4015, {}), (4016, names.tags(4016, 1, FUTURE, "nobody", {}))]
)
def test_vm_that_changes_its_tags_is_still_swept(cloud: Cloud, batch: int, forged: dict[str, str]):
    vm = cloud.vm(batch, tags(batch, FUTURE))
    cloud.driver.compute().virtual_machines.begin_update(
        GROUP, vm.rpartition("/")[2], {"tags": forged}
    ).result()
    cloud.retag(batch, **{names.DEADLINE_TAG: PAST})
    cloud.wait_until_deleted(batch)


def test_resources_of_others_are_left_alone(cloud: Cloud):
    nic = cloud.driver.make_nic("database-nic")
    vm = cloud.driver.make_running("database")["id"]
    copied = make_nic(cloud.driver, "copied-tags", tags(4007, PAST, cloud.owner()))
    named = cloud.driver.make_running(names.vm(4007, 0))["id"]
    role = make_role(cloud.driver, nic, "of the database")
    cloud.swept()
    assert [cloud.exists(one) for one in (nic, vm, copied, named, role)] == [True] * 5


def test_a_role_assignment_is_traced_to_its_vm_by_its_description_only(cloud: Cloud):
    vm = f"{cloud.driver.group}/providers/Microsoft.Compute/virtualMachines"
    nic = cloud.driver.make_nic("roles-are-here")
    about = f"batch 4008 until {FUTURE}, VM {vm}/{names.vm(4008, 0)}"
    ours = make_role(cloud.driver, nic, f"Powerlift Fleet {cloud.owner()}: {about}")
    theirs = make_role(cloud.driver, nic, f"Powerlift Fleet another: {about}", user=1)
    eventually(lambda: None if cloud.exists(ours) else True)
    cloud.swept()
    assert cloud.exists(theirs)


def test_a_reserved_nic_is_deleted_once_azure_releases_it(cloud: Cloud):
    cloud.vm(4009, tags(4009, FUTURE), nic_stays=True)
    nic = names.nic(4009, 0)
    cloud.retag(4009, **{names.DEADLINE_TAG: PAST})
    cloud.wait_until_deleted(4009)
    deletions = [
        call["status"]
        for call in cloud.stack.wire()
        if call["method"] == "DELETE" and call["path"].endswith(f"/{nic}")
    ]
    assert (deletions[0], deletions[-1]) == (400, 202)


@pytest.mark.long
def test_without_the_task_hub_the_sweep_uses_deadlines(alone: Driver):
    late, early = (
        make_nic(alone, names.nic(batch, 0), tags(batch, deadline))
        for batch, deadline in ((4010, PAST), (4011, FUTURE))
    )
    sweep_once(alone)
    alone.wait_until_deleted(late, NETWORK_API)
    assert alone.send("GET", early, api=NETWORK_API).status_code == 200


@pytest.mark.long
def test_role_assignments_are_listed_with_permissions_in_the_resource_group_only(
    alone: Driver,
):
    vm = f"{alone.group}/providers/Microsoft.Compute/virtualMachines/{names.vm(4012, 0)}"
    description = f"Powerlift Fleet another: batch 4012 until {PAST}, VM {vm}"
    role = make_role(alone, alone.make_nic(), description)
    restrict_to_group(alone)
    sweep_once(alone)
    assert alone.send("GET", role, api=ROLE_API).status_code == 404


@pytest.mark.long
def test_each_fleets_account_is_swept_despite_failures_of_others(
    tmp_path_factory: pytest.TempPathFactory,
):
    settings = {"AZURE_SUBSCRIPTION_ID": "", "AZURE_RESOURCE_GROUP": ""}
    settings["FLEET_SWEEP_SCHEDULE"] = "* * * * * *"
    state = tmp_path_factory.mktemp("accounts")
    with Stack(state, time_scale=0.02, machines="none", app_settings=settings) as stack:
        document = {"experiment_id": experiment(stack), "n_instances": 1, "uri": stack.db_uri}
        api = Api(stack)
        account = {name: stack.arm[name] for name in ACCOUNT}
        wrong = {**account, "client_secret": "wrong-secret"}
        api.wait(api.start(batch_id=1, azure_json=wrong, **document), "failed")
        api.wait(api.start(batch_id=2, azure_json=account, **document), "run")
        make_nic(Driver(stack.arm, state), names.nic(4014, 0), tags(4014, PAST))
        eventually(
            lambda: None if any("-4014-" in one for one in all_resource_ids(stack)) else True
        )
        log = (stack.logs / "host.log").read_text()
    assert "The sweep cannot read" in log
    assert "wrong-secret" not in log


def test_deletions_are_logged_in_one_line(cloud: Cloud):
    make_nic(cloud.driver, names.nic(4013, 0), tags(4013, PAST))
    cloud.wait_until_deleted(4013)
    log = (cloud.stack.logs / "host.log").read_text()
    line = r"INFO .*: The sweep deleted nic: 1 in /subscriptions/[-\w]+/resourceGroups/\w+ "
    assert re.search(line + r"\[event=sweep.deleted activity=sweep\]\n", log)
