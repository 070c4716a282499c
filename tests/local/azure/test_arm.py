"""ARM itself: routes, API versions, error envelopes, lists, subscriptions and SKUs."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from azure.core.exceptions import ResourceNotFoundError

from local.azure.arm.resources import page
from tests.local.azure.driver import GROUP, Driver, code, unique


def test_resource_group_exists_at_the_start(azure: Driver) -> None:
    path = azure.group.replace("resourceGroups", "resourcegroups")

    assert azure.send("GET", path, api="2025-04-01").json()["location"] == "eastus"


def test_paths_ignore_letter_case(azure: Driver) -> None:
    assert azure.send("GET", azure.group.upper()).status_code == 200


def test_api_version_is_required(azure: Driver) -> None:
    answer = azure.send("GET", azure.group, api=None)

    assert (answer.status_code, code(answer)) == (400, "MissingApiVersionParameter")


def test_any_api_version_is_accepted(azure: Driver) -> None:
    assert azure.send("GET", azure.group, api="2019-01-01-preview").status_code == 200


@pytest.mark.parametrize(
    ("path", "status", "expected"),
    [
        ("/subscriptions/other/resourceGroups/x", 403, "AuthorizationFailed"),
        ("{sub}/resourceGroups/absent", 404, "ResourceGroupNotFound"),
        ("{sub}/resourceGroups/absent/providers/Microsoft.Compute/disks", 404, "ResourceGroupNotFound"),
        ("{group}/providers/Microsoft.Storage/storageAccounts/x", 404, "InvalidResourceType"),
        ("{group}/providers/Microsoft.Compute/virtualMachines/x", 404, "ResourceNotFound"),
        ("{group}/providers/Microsoft.Network/virtualNetworks/v/subnets/s", 404, "ResourceNotFound"),
    ],
)  # fmt: skip
def test_not_found(azure: Driver, path: str, status: int, expected: str) -> None:
    answer = azure.send("GET", path.format(sub=azure.subscription, group=azure.group))

    assert (answer.status_code, code(answer)) == (status, expected)


def test_missing_subnet_gets_the_providers_404(azure: Driver) -> None:
    path = azure.subnet().rpartition("/")[0]

    assert code(azure.send("GET", f"{path}/absent")) == "NotFound"


def test_missing_vm_gets_arms_404(azure: Driver) -> None:
    with pytest.raises(
        ResourceNotFoundError, match="under resource group 'powerlift' was not found"
    ):
        azure.compute().virtual_machines.get(GROUP, "absent")


def test_unsupported_method(azure: Driver) -> None:
    assert azure.send("POST", azure.vm_path("x")).status_code == 405


def test_body_that_is_not_json(azure: Driver) -> None:
    answer = azure.send("PUT", azure.vm_path("x"), headers={"Content-Type": "application/json"})

    assert code(answer) == "InvalidRequestContent"


def test_responses_have_request_ids_and_remaining_tokens(azure: Driver) -> None:
    headers = azure.send("GET", azure.group).headers

    assert headers["x-ms-request-id"]
    assert headers["x-ms-ratelimit-remaining-subscription-reads"] == "249"


def test_errors_name_the_failed_component(azure: Driver) -> None:
    headers = azure.send("GET", azure.vm_path("absent")).headers

    assert headers["x-ms-failure-cause"] == "gateway"


def test_lists_come_in_pages(azure: Driver) -> None:
    names = {azure.make_nic(unique("page")).rpartition("/")[2] for _ in range(4)}

    first = azure.send("GET", azure.net("networkInterfaces")).json()
    listed = {nic.name for nic in azure.network().network_interfaces.list(GROUP)}

    assert len(first["value"]) == 3
    assert "$skiptoken=" in first["nextLink"]
    assert names <= listed


def test_a_page_costs_its_own_items_only() -> None:
    rendered: list[str] = []

    def render(name: str) -> dict[str, str]:
        rendered.append(name)
        return {"name": name}

    items = [(key, key) for key in "abcdef"]
    first = page(items, render, 2, "https://arm/list", {})
    token = parse_qs(urlsplit(first["nextLink"]).query)["$skiptoken"][0]
    second = page(items, render, 2, "https://arm/list", {"$skiptoken": token})

    assert [item["name"] for item in second["value"]] == ["c", "d"]
    assert rendered == ["a", "b", "c", "d"]


def test_invalid_skiptoken(azure: Driver) -> None:
    answer = azure.send("GET", azure.net("networkInterfaces"), query={"$skiptoken": "%%%"})

    assert code(answer) == "InvalidParameter"


def test_subscription_list_covers_all_groups(azure: Driver) -> None:
    nic = azure.make_nic()

    listed = {nic.id for nic in azure.network().network_interfaces.list_all()}

    assert nic in listed


def test_resource_groups_can_be_created(azure: Driver) -> None:
    path = f"{azure.subscription}/resourcegroups/second"

    created = azure.send("PUT", path, {"location": "West US 2"})

    assert created.json()["location"] == "westus2"


def test_skus_have_vcpus_and_zones(azure: Driver) -> None:
    skus = azure.compute().resource_skus.list(filter="location eq 'eastus'")

    sku = next(sku for sku in skus if sku.name == "Standard_B16s_v2")
    assert {c.name: c.value for c in sku.capabilities}["vCPUs"] == "16"
    assert sku.location_info[0].zones == ["1", "2", "3"]


def test_usage_counts_cores(azure: Driver) -> None:
    def used() -> int:
        usages = azure.compute().usage.list("eastus")
        return next(int(u.current_value) for u in usages if u.name.value == "standardDSv5Family")

    before = used()
    azure.make_vm()

    assert used() == before + 2


def test_tags_have_limits(azure: Driver) -> None:
    body = {**azure.nic_body(azure.subnet()), "tags": {f"t{n}": "" for n in range(51)}}

    assert code(azure.send("PUT", azure.net("networkInterfaces", "t"), body)) == "InvalidTags"


def test_tags_come_back_in_lists(azure: Driver) -> None:
    body = {**azure.nic_body(azure.subnet()), "tags": {"powerlift-batch": "7"}}
    name = unique("tagged")
    azure.send("PUT", azure.net("networkInterfaces", name), body)

    listed = {nic.name: nic.tags for nic in azure.network().network_interfaces.list(GROUP)}

    assert listed[name] == {"powerlift-batch": "7"}
