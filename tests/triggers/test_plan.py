"""POST /api/plan, on a stack with faults in known regions."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from local.stack import Stack
from tests.harness import Api, all_resource_ids, experiment, sql, wire
from tests.local.azure.driver import NETWORK_API, ROLE_API, Driver, until

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "s3cr3t-value"
SIZE = "Standard_D2s_v5"
FOCAL = {"image_offer": "0001-com-ubuntu-server-focal", "image_sku": "20_04-lts-gen2"}
STORAGE = "Microsoft.Storage/storageAccounts"
ROLE_ASSIGNMENTS = 300
"""The limit of the subscription."""
SERVER_ERROR = {"code": "InternalServerError", "message": "Try again.", "status": 500}
FAULT_PLAN = {
    "quotas": {
        "westus2": {"standardDSv5Family": 14},
        "westus3": {"cores": 2},
        "uksouth": {"lowPriorityCores": 14},
    },
    "restrictions": [
        {"location": "northeurope", "size": SIZE},
        {"location": "westeurope", "size": SIZE, "zones": ["1"]},
    ],
    "faults": [
        {"on": "group.get", "nth": [1, 2], "error": SERVER_ERROR},
        {"on": "usages", "match": "/southcentralus/", "error": SERVER_ERROR},
        {"on": "vnet.get", "match": "powerlift-vnet-southcentralus", "error": SERVER_ERROR},
        {"on": "read", "match": f"{STORAGE}/dark/.*/permissions", "error": SERVER_ERROR},
        {"on": "prices", "match": "/eastus2/", "error": SERVER_ERROR},
        {"on": "prices", "match": "/centralus/", "slow": 2000},
    ],
}


@dataclass(frozen=True)
class Planner:
    """A stack with an experiment of twenty trials."""

    stack: Stack
    azure: Driver
    experiment: int

    def post(self, document: Any) -> requests.Response:
        headers = {"x-functions-key": self.stack.key}
        url = f"{self.stack.url}/api/plan"
        return requests.post(url, data=json.dumps(document), headers=headers, timeout=60)

    def plan(self, **changes: Any) -> dict[str, Any]:
        """The plan of a fleet of ten VMs of two vCPUs each."""
        usual = {"experiment_id": self.experiment, "n_instances": 10, "vm_size": SIZE}
        answer = self.post({**usual, **changes})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def statuses(self, name: str, **changes: Any) -> list[str]:
        checks = self.plan(**changes)["checks"]
        return [check["status"] for check in checks if check["name"] == name]

    def faults(self, **changes: Any) -> set[str]:
        checks = self.plan(**changes)["checks"]
        return {check["name"] for check in checks if check["status"] == "fault"}


def planner_of(stack: Stack) -> Planner:
    return Planner(stack, Driver(stack.arm, stack.state_dir / "azure"), experiment(stack, 20))


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planner]:
    state = tmp_path_factory.mktemp("faulty")
    settings = {"FLEET_ALLOWED_GROUPS": "*", "FLEET_ALLOWED_DATABASES": "127.0.0.1:*"}
    settings |= {"FLEET_MAX_VMS": "5000", "FLEET_ALLOWED_IMAGES": "*"}
    with Stack(
        state,
        time_scale=0.01,
        machines="none",
        faults=FAULT_PLAN,
        app_settings=settings,
        role_assignment_limit=ROLE_ASSIGNMENTS,
    ) as stack:
        yield planner_of(stack)


@pytest.fixture(scope="module")
def first_plan(faulty: Planner) -> dict[str, Any]:
    """The first plan, for which reading the resource group fails."""
    return faulty.plan()


@pytest.fixture(scope="module")
def first_fleet(faulty: Planner, first_plan: dict[str, Any]) -> dict[str, Any]:
    """A completed fleet that cannot start; its plan's first read of the resource group fails."""
    api = Api(faulty.stack)
    wrong = {"experiment_id": 999, "location": "westus3", "vm_size": SIZE}
    fleet = api.wait(api.start(n_instances=10, min_instances=5, **wrong))
    return dict(fleet)


@pytest.fixture
def planner(faulty: Planner, first_fleet: dict[str, Any]) -> Planner:
    return faulty


@pytest.fixture(scope="module")
def rejected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planner]:
    """A stack on which the app's first token is rejected once."""
    fault = {"on": "group.get", "error": "InvalidAuthenticationToken", "times": 1}
    state = tmp_path_factory.mktemp("rejected")
    settings = {"FLEET_BUDGET": "1000"}
    with Stack(
        state, time_scale=0.01, machines="none", faults={"faults": [fault]}, app_settings=settings
    ) as stack:
        yield planner_of(stack)


@pytest.fixture(scope="module")
def tokens(rejected: Planner) -> list[int]:
    """The number of tokens that the app has requested after each of three plans."""
    fields = []
    for _ in range(3):
        rejected.plan(n_instances=1)
        calls = wire(rejected.stack)
        fields.append(sum(call["path"].endswith("/oauth2/v2.0/token") for call in calls))
    return fields


@pytest.fixture(scope="module")
def limited(rejected: Planner, tokens: list[int]) -> Planner:
    """A stack whose app is Contributor of the resource group, and nothing else."""
    azure, me = rejected.azure, rejected.stack.arm["client_object_id"]
    roles = f"{azure.subscription}/providers/Microsoft.Authorization/roleAssignments"
    (owner,) = azure.send("GET", roles, api=ROLE_API).json()["value"]
    assert azure.put_role(azure.group, me).status_code == 201
    path = f"{azure.group}/providers/Microsoft.Authorization/permissions"
    until(lambda: len(azure.send("GET", path, api=ROLE_API).json()["value"]) == 2)
    assert azure.send("DELETE", owner["id"], api=ROLE_API).status_code == 200
    return rejected


def test_a_plan_describes_the_fleet(planner: Planner):
    plan = planner.plan(zones=["1", "2"], fallbacks=[{"location": "westus"}])
    del plan["checks"], plan["request"], plan["cost"]
    assert plan == {
        "ok": True,
        "n_instances": 10,
        "location": "eastus",
        "placements": [f"eastus/1 {SIZE}", f"eastus/2 {SIZE}", f"westus {SIZE}"],
        "trials": {"total": 20, "ready": 20, "running": 0, "complete": 0, "error": 0},
    }


def test_the_documented_example_succeeds(planner: Planner):
    blocks = (ROOT / "docs" / "request.md").read_text().split("```")
    command = next(block for block in blocks if "/api/plan" in block)
    command = command.replace('"experiment_id": 1', f'"experiment_id": {planner.experiment}')
    given = {**os.environ, "FLEET_URL": planner.stack.url, "FLEET_KEY": planner.stack.key}
    shell = ["bash", "-c", command]
    done = subprocess.run(shell, env=given, capture_output=True, timeout=60, check=True)
    assert json.loads(done.stdout)["ok"]


def test_every_check_is_reported(planner: Planner):
    checks = planner.plan()["checks"]
    assert {(check["name"], check["status"]) for check in checks} == {
        ("processors", "warning"),  # the size may have one of several
    } | {
        (name, "ok")
        for name in (
            "policy",
            "requirements_lock",
            "measures",
            "resource_group",
            "trials",
            "other_fleets",
            "timeout",
            "powerlift",
            "trial_order",
            "python",
            "custom_data",
            "runner_ids",
            "batch_id",
            "schema",
            "permissions",
            "role_assignments",
            "vm_role",
            "client_principal",
            "image",
            "sizes",
            "burstable",
            "gpu",
            "quota",
            "subnet",
            "addresses",
            "cost",
        )
    }


def test_a_plan_says_what_the_fleet_costs(planner: Planner):
    """Ten VMs at 9.6 cents, each with a disk of 1.536 dollars a month."""
    cost = planner.plan(timeout=600, max_lifetime=7200, fallbacks=[{"location": "westus"}])["cost"]
    per_hour = 10 * (0.096 + 1.536 / 730)
    assert cost == {
        "currency": "USD",
        "per_hour": pytest.approx(per_hour),
        "expected": pytest.approx(per_hour * 1500 / 3600),
        "expected_seconds": 1500.0,
        "basis": "2 trials per VM, 600 s each: their whole timeout",
        "at_most": pytest.approx(2 * 1.25 * per_hour),
    }


@pytest.mark.parametrize(
    "changes", [{"vm_size": "Standard_B2as_v2"}, {"location": "eastus2"}, {"location": "centralus"}]
)
def test_an_unknown_price_is_reported_and_hinders_only_a_limited_fleet(
    planner: Planner, changes: dict[str, Any]
):
    """Not listed; the price list fails; it does not answer within the five seconds that it gets."""
    free, limited = planner.plan(**changes), planner.plan(**changes, max_cost=5)
    statuses = [check["status"] for check in free["checks"] if check["name"] == "cost"]
    assert (free["ok"], free["cost"], statuses) == (True, None, ["unknown"])
    assert (limited["ok"], limited["cost"]) == (False, None)


def test_prices_are_asked_for_once(planner: Planner):
    def asked() -> int:
        return sum(call["path"] == "/api/retail/prices" for call in wire(planner.stack))

    planner.plan(vm_size="Standard_D4s_v5")
    before = asked()
    planner.plan(vm_size="standard_d4s_v5", priority="Spot")
    planner.plan(location="eastus2")  # also if the list failed
    planner.plan(location="eastus2")
    assert asked() <= before + 2
    assert before > 0


@pytest.mark.long
@pytest.mark.long
def test_a_plan_says_whether_the_fleet_fits_into_the_budget(rejected: Planner, tokens: list[int]):
    """A thousand dollars; a week of ten VMs costs 165."""
    found = []
    for changes in (
        {},
        {"vm_size": "Standard_D96s_v5"},
        {"vm_size": "Standard_D96s_v5", "max_cost": 9},
    ):
        plan = rejected.plan(**changes)
        [check] = [one for one in plan["checks"] if one["name"] == "budget"]
        found.append((check["status"], plan["ok"]))
    api = Api(rejected.stack)
    large = {"experiment_id": rejected.experiment, "n_instances": 10, "vm_size": "Standard_D96s_v5"}
    fleet = api.wait(api.start(**large))
    assert (fleet["phase"], fleet["reason"]["code"]) == ("failed", "BudgetExceeded")
    assert found == [("ok", True), ("fault", False), ("ok", True)]


def test_the_default_size_is_only_a_warning(planner: Planner):
    plan = planner.plan(vm_size="Standard_B16s_v2")
    warnings = [check["name"] for check in plan["checks"] if check["status"] == "warning"]
    assert (plan["ok"], warnings) == (True, ["burstable", "processors"])


def test_a_plan_only_reads(planner: Planner):
    begin = len(wire(planner.stack))
    planner.plan()
    calls = wire(planner.stack)[begin:]
    assert {c["method"] for c in calls if not c["path"].endswith("/oauth2/v2.0/token")} == {"GET"}


def test_a_plan_starts_nothing(planner: Planner):
    before = set(all_resource_ids(planner.stack))
    planner.plan(batch_id=77)
    made = set(all_resource_ids(planner.stack)) - before
    assert (made, Api(planner.stack).get("fleet-77").status_code) == (set(), 404)


def test_a_plan_uses_the_requests_own_account_and_returns_no_secret(planner: Planner):
    account = {"tenant_id": "t", "client_id": "c", "client_secret": PASSWORD}
    uri = f"postgresql://user:{PASSWORD}@127.0.0.1:1/nowhere"
    answer = planner.post({"experiment_id": 1, "n_instances": 1, "azure_json": account, "uri": uri})
    logs = "".join(log.read_text() for log in planner.stack.logs.iterdir())
    logs += json.dumps(wire(planner.stack))
    faults = [c["name"] for c in answer.json()["checks"] if c["status"] == "fault"]
    assert (faults, PASSWORD in answer.text, PASSWORD in logs) == (
        ["resource_group", "trials"],
        False,
        False,
    )


def test_an_invalid_request_is_rejected_with_every_pointer(planner: Planner):
    answer = planner.post({"n_instances": 0, "bogus": 1})
    pointers = {fault["pointer"] for fault in answer.json()["errors"]}
    assert (answer.status_code, pointers) == (400, {"/experiment_id", "/n_instances", "/bogus"})


def test_a_mistyped_location_is_recognised(planner: Planner):
    checks = {check["name"]: check["detail"] for check in planner.plan(location="eatus")["checks"]}
    assert "(did you mean eastus or eastus2?)" in checks["sizes"]


def test_the_name_of_a_running_fleet_is_a_fault(planner: Planner, first_fleet: dict[str, Any]):
    def statuses(**changes: Any) -> list[str]:
        checks = planner.plan(**changes)["checks"]
        return [check["status"] for check in checks if check["name"] == "name"]

    batch = first_fleet["batch_id"]
    claim = "UPDATE powerlift_fleet SET name = %s, ended_at = %s WHERE batch_id = %s"
    sql(planner.stack, claim, "nightly", None, batch)
    try:
        found = [statuses(), statuses(name="hourly"), statuses(name="nightly")]
        own = statuses(name="nightly", batch_id=batch)
    finally:
        sql(planner.stack, claim, None, "2026-01-01", batch)
    assert (found, own) == ([[], ["ok"], ["fault"]], ["ok"])


def test_another_fleet_of_the_experiment_is_a_warning(
    planner: Planner, first_fleet: dict[str, Any]
):
    def found(**changes: Any) -> tuple[str, str]:
        [check] = [
            one for one in planner.plan(**changes)["checks"] if one["name"] == "other_fleets"
        ]
        return check["status"], check["detail"]

    batch, number, asked = first_fleet["batch_id"], first_fleet["number"], planner.experiment
    row = "UPDATE powerlift_fleet SET experiment_id = %s, phase = %s, ended_at = %s WHERE batch_id = %s"
    sql(planner.stack, row, asked, "run", None, batch)
    try:
        by_another, by_itself = found(), found(batch_id=batch)
    finally:
        sql(planner.stack, row, 999, "failed", "2026-01-01", batch)
    assert by_another == ("warning", f"fleet-{number} already runs experiment {asked}")
    assert by_itself == found() == ("ok", f"No other fleet runs experiment {asked}")


def test_a_plan_requires_a_key(planner: Planner):
    assert requests.post(f"{planner.stack.url}/api/plan", timeout=30).status_code == 401


def test_transient_errors_are_unknown_and_not_cached(first_plan: dict[str, Any]):
    statuses = {check["name"]: check["status"] for check in first_plan["checks"]}
    assert (first_plan["ok"], statuses["resource_group"], statuses["quota"]) == (
        False,
        "unknown",
        "unknown",
    )


def test_a_fleet_that_cannot_start_fails_with_all_reasons(first_fleet: dict[str, Any]):
    """And with no other reason: the failed read of the resource group is retried."""
    codes = {failure["code"] for failure in first_fleet["failures"]}
    assert (first_fleet["phase"], codes) == ("failed", {"ExperimentNotFound", "QuotaTooSmall"})


def test_a_reason_has_its_documented_members_only(first_fleet: dict[str, Any]):
    members = {"code", "message", "action", "advice"}
    assert (set(first_fleet["reason"]), set(first_fleet["summary"]["reason"])) == (members, members)


def test_all_faults_are_reported_together(planner: Planner):
    assert planner.faults(
        experiment_id=999,
        location="westus3",
        zones=["1"],
        fallbacks=[{"location": "northeurope"}],
        azure_json={"resource_group": "absent"},
        n_instances=5000,
        min_instances=5000,
    ) == {"resource_group", "trials", "quota", "role_assignments"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"location": "westus2"}, "warning"),
        ({"location": "westus2", "min_instances": 8}, "fault"),
        ({"location": "westus3"}, "warning"),
        ({"location": "westus3", "fallbacks": [{"location": "eastus"}]}, "ok"),
        ({"location": "uksouth"}, "ok"),
        ({"location": "uksouth", "priority": "Spot"}, "warning"),
        ({"location": "southcentralus"}, "unknown"),
    ],
)
def test_quotas(planner: Planner, changes: dict[str, Any], expected: str):
    assert planner.statuses("quota", **changes) == [expected]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"location": "northeurope"}, "fault"),
        ({"location": "northeurope", "fallbacks": [{"location": "eastus"}]}, "warning"),
        ({"location": "westeurope", "zones": ["1"]}, "fault"),
        ({"location": "westeurope", "zones": ["1", "2"]}, "warning"),
        ({"location": "westeurope"}, "ok"),
        ({"location": "westus", "zones": ["1"]}, "fault"),
        ({"location": "atlantis"}, "fault"),
        ({"vm_size": "Standard_Nope"}, "fault"),
        ({"vm_size": "Standard_B2ms", "priority": "Spot"}, "fault"),
        ({"ephemeral_os_disk": True}, "fault"),
        ({"ephemeral_os_disk": True, "vm_size": "Standard_D2ds_v5"}, "ok"),
        ({"disk_type": "Premium_LRS"}, "ok"),
        ({"disk_type": "Premium_LRS", "vm_size": "Standard_D2_v5"}, "fault"),
        ({"vm_size": "Standard_D2ps_v5"}, "fault"),
        ({"vm_size": "Standard_D2ps_v5", "image_sku": "server-arm64"}, "ok"),
        ({"image_sku": "server-arm64"}, "fault"),
        ({"vm_size": "Standard_D2s_v6"}, "ok"),
        ({"vm_size": "Standard_D2s_v6", "image_sku": "server-gen1"}, "fault"),
        ({"vm_size": "Standard_D2s_v6", **FOCAL}, "fault"),
        ({**FOCAL}, "ok"),
    ],
)
def test_sizes(planner: Planner, changes: dict[str, Any], expected: str):
    assert planner.statuses("sizes", **changes) == [expected]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"image_version": "24.04.202610010"}, "ok"),
        ({"image_version": "24.04.1"}, "fault"),
        ({"image_sku": "serve"}, "fault"),
        (
            {"image_publisher": "microsoft-dsvm", "image_offer": "ubuntu-hpc", "image_sku": "2204"},
            "ok",
        ),
        (
            {
                "image_publisher": "nvidia",
                "image_offer": "ngc_azure_17_11",
                "image_sku": "ngc-base-version-23_10_1_gen2",
            },
            "fault",
        ),
    ],
)
def test_images(planner: Planner, changes: dict[str, Any], expected: str):
    assert planner.statuses("image", **changes) == [expected]


@pytest.fixture(scope="module")
def gallery(faulty: Planner) -> str:
    """The ID of an image. A newer version is in one region, the newest is excluded there."""
    image = faulty.azure.make_image("1.0.0", regions=("eastus", "West US"), gallery="benchmarks")
    faulty.azure.put_version(f"{image}/versions/1.1.0", "eastus")
    excluded = {"name": "eastus", "regionalReplicaCount": 1, "excludeFromLatest": True}
    faulty.azure.put_version(f"{image}/versions/1.2.0", targetRegions=[excluded])
    return image


@pytest.mark.parametrize(
    ("version", "elsewhere", "expected"),
    [
        ("/versions/1.1.0", False, ("ok", "exists", "")),
        ("/versions/1.0.0", True, ("ok", "exists", "")),
        ("/versions/1.1.0", True,
         ("warning", "1.1.0 of image", "-i NAME -e 1.1.0 --target-regions eastus westus.")),
        ("/versions/2.0.0", False, ("fault", "does not exist", "az sig image-version list")),
        ("", False, ("ok", "/versions/1.1.0 exists", "")),
        ("", True, ("warning", "boots version 1.0.0", "Replicate it")),
    ],
)  # fmt: skip
def test_an_image_of_a_gallery(
    planner: Planner, gallery: str, version: str, elsewhere: bool, expected: tuple[str, str, str]
):
    fallbacks = [{"location": "westus"}] if elsewhere else []
    checks = planner.plan(image_id=f"{gallery}{version}", fallbacks=fallbacks)["checks"]
    [check] = [one for one in checks if one["name"] == "image"]
    status, detail, advice = expected
    advice = advice.replace("NAME", gallery.rpartition("/")[2])
    found = (check["status"], detail in check["detail"], advice in check["advice"])
    assert found == (status, True, True), check


def test_an_image_must_boot_on_the_size(planner: Planner, gallery: str):
    asked = {"image_id": f"{gallery}/versions/1.0.0", "vm_size": "Standard_D2ps_v5"}
    assert planner.faults(**asked) == {"sizes"}


@pytest.mark.parametrize("permission", ["Groups", "Community"])
def test_a_shared_image_is_read_in_each_region(planner: Planner, permission: str):
    image_id = planner.azure.share_image("1.0.0", permission=permission)
    regions = [{"location": "westus"}]
    found = [planner.statuses("image", image_id=image_id, fallbacks=one) for one in ([], regions)]
    assert found == [["ok"], ["warning"]]


def test_all_vms_boot_the_version_that_the_plan_found(planner: Planner, gallery: str):
    api = Api(planner.stack)
    number = experiment(planner.stack, 2)
    asked = {"experiment_id": number, "n_instances": 2, "vm_size": SIZE, "image_id": gallery}
    begin = len(wire(planner.stack))
    fleet = api.start(**asked)
    api.wait(fleet, "provisioned", "run")
    api.end(fleet)
    puts = [
        one["body"]["properties"] for one in wire(planner.stack)[begin:] if one["method"] == "PUT"
    ]
    booted = [one["storageProfile"]["imageReference"] for one in puts if "storageProfile" in one]
    assert booted == [{"id": f"{gallery}/versions/1.1.0"}] * 2


RECIPES = [
    json.loads(block)
    for block in re.findall(
        r"```json\n(.*?)```", (ROOT / "docs" / "recipes.md").read_text(), re.DOTALL
    )
]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: str(recipe["vm_size"]))
def test_a_recipe_has_a_plan_without_warnings(planner: Planner, recipe: dict[str, Any]):
    plan = planner.plan(**{**recipe, "experiment_id": planner.experiment})
    assert [one for one in plan["checks"] if one["status"] != "ok"] == []


def test_a_gpu_without_a_driver_is_a_warning(planner: Planner):
    assert planner.statuses("gpu", vm_size=RECIPES[0]["vm_size"]) == ["warning"]


def test_what_the_experiments_vms_run_is_read(planner: Planner):
    number = experiment(planner.stack)
    sql(
        planner.stack,
        "UPDATE experiment SET script = 'locals()[''wired_function'']', "
        "pip_install = 'powerlift==0.1.11' WHERE id = %s",
        number,
    )
    asked = {"experiment_id": number, "n_instances": 1, "powerlift_version": "0.1.12"}
    checks = planner.plan(**asked, image_offer="ubuntu-26_04-lts", timeout=10**6)["checks"]
    warnings = {one["name"] for one in checks if one["status"] == "warning"}
    assert warnings == {"python", "powerlift", "timeout", "processors"}


def test_a_plan_shows_what_was_understood(planner: Planner):
    plan = planner.plan(location="East US", max_undead=0, fallbacks=[{"location": "West US"}])
    assert (plan["request"]["location"], plan["request"]["max_undead"], plan["placements"]) == (
        "eastus",
        1,
        [f"eastus {SIZE}", f"westus {SIZE}"],
    )


@pytest.mark.parametrize(
    ("name", "prefix", "properties", "check", "expected"),
    [
        ("wide", "10.1.0.0/24", {}, "subnet", "ok"),
        ("closed", "10.2.0.0/24", {"defaultOutboundAccess": False}, "subnet", "warning"),
        (
            "routed",
            "10.3.0.0/24",
            {"defaultOutboundAccess": False, "routeTable": {"id": "/routes"}},
            "subnet",
            "unknown",
        ),
        ("wide", "10.1.0.0/24", {}, "addresses", "ok"),
        ("narrow", "10.4.0.0/29", {}, "addresses", "warning"),
    ],
)
def test_a_subnet_of_the_user(
    planner: Planner,
    name: str,
    prefix: str,
    properties: dict[str, Any],
    check: str,
    expected: str,
):
    subnet = planner.azure.net("virtualNetworks", name) + "/subnets/s"
    if planner.azure.send("GET", subnet, api=NETWORK_API).status_code == 404:
        planner.azure.make_network(name, prefix, **properties)
    assert planner.statuses(check, subnet_id=subnet, outbound="existing") == [expected]


@pytest.mark.parametrize(
    "changes", [{"subnet": "virtualNetworks/absent/subnets/s"}, {"location": "westus"}]
)
def test_an_unusable_subnet(planner: Planner, changes: dict[str, str]):
    planner.azure.subnet()
    there = f"{planner.azure.net(changes.pop('subnet', 'virtualNetworks/shared/subnets/s'))}"
    assert planner.faults(subnet_id=there, outbound="existing", **changes) == {"subnet"}


def test_an_existing_network_of_the_app_is_checked(planner: Planner):
    path = planner.azure.net("virtualNetworks", "powerlift-vnet-centralus")
    subnet = {"addressPrefix": "10.0.0.0/29", "defaultOutboundAccess": False}
    space = {"addressSpace": {"addressPrefixes": ["10.0.0.0/16"]}}
    subnets = {"subnets": [{"name": "powerlift-subnet-centralus", "properties": subnet}]}
    body = {"location": "centralus", "properties": {**space, **subnets}}
    planner.azure.send("PUT", path, body, api=NETWORK_API)
    planner.azure.settled(path, NETWORK_API)
    assert planner.faults(location="centralus", min_instances=4) == {"subnet", "addresses"}


def test_an_unreadable_network_is_unknown(planner: Planner):
    assert planner.statuses("subnet", location="southcentralus") == ["unknown"]


@pytest.mark.parametrize(
    ("vms", "resources", "least", "expected"),
    [(200, 0, 1, "ok"), (200, 20, 1, "warning"), (200, 20, 200, "fault")],
)
def test_role_assignments(planner: Planner, vms: int, resources: int, least: int, expected: str):
    """A VM requires one at itself and one for each resource."""
    fields = {
        "n_instances": vms,
        "min_instances": least,
        **assignments_for(planner, vms, resources),
    }
    assert planner.statuses("role_assignments", **fields) == [expected]


def test_role_assignments_that_exist_count_against_azures_limit(planner: Planner):
    usage = planner.azure.assignment_usage()
    free = usage.role_assignments_remaining_count
    assert 0 < free < ROLE_ASSIGNMENTS
    fields = assignments_for(planner, free + 1, resources=0)
    (check,) = [
        one
        for one in planner.plan(n_instances=free + 1, **fields)["checks"]
        if one["name"] == "role_assignments"
    ]
    has = f"has {usage.role_assignments_current_count} of {ROLE_ASSIGNMENTS} role assignments"
    assert (check["status"], has in check["detail"]) == ("warning", True), check
    assert planner.statuses("role_assignments", n_instances=free, **fields) == ["ok"]


def assignments_for(planner: Planner, trials: int, resources: int) -> dict[str, Any]:
    """The fields of a request with so many trials, and one role assignment per resource and VM."""
    group = planner.azure.group
    return {
        "experiment_id": experiment(planner.stack, trials),
        "resource_uris": [f"{group}/providers/{STORAGE}/s{n}" for n in range(resources)],
    }


def test_unreadable_permissions_are_unknown(planner: Planner):
    dark = f"{planner.azure.group}/providers/{STORAGE}/dark"
    assert planner.statuses("permissions", resource_uris=[dark]) == ["unknown"]


@pytest.mark.long
@pytest.mark.long
def test_a_plan_requests_a_new_token_after_a_rejected_one(tokens: list[int]):
    """No activity runs that would detect the rejection."""
    assert tokens == [1, 2, 2]


@pytest.mark.long
def test_a_missing_permission_to_assign_roles_is_reported_with_its_scope(limited: Planner):
    storage = f"{limited.azure.group}/providers/{STORAGE}/one"
    checks = limited.plan(resource_uris=[storage])["checks"]
    assert [check["detail"] for check in checks if check["status"] == "fault"] == [
        f"Missing permissions at {scope}: Microsoft.Authorization/roleAssignments/{{write,delete}}"
        for scope in (limited.azure.group, storage)
    ]


@pytest.mark.long
def test_checks_without_read_permission_are_unknown(limited: Planner):
    checks = limited.plan()["checks"]
    assert {check["name"] for check in checks if check["status"] == "unknown"} == {
        "role_assignments",
        "image",
        "sizes",
        "quota",
    }
