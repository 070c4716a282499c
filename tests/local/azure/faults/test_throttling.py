"""Throttling: which requests each bucket counts, and the responses to throttled clients."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import requests
from azure.core.exceptions import HttpResponseError

from local.azure.faults.rate_limits import Rate
from local.azure.faults.throttling import Bucket
from tests.local.azure.driver import GROUP, NETWORK_API, Driver, code, unique, until
from tests.local.azure.faults.conftest import Cloud
from tests.local.azure.faults.vms import body, boot, put

REST = "x-ms-ratelimit-remaining-subscription"
RESOURCE = "x-ms-ratelimit-remaining-resource"
NO_REFILL = 1e-9
"""A refill rate that is zero for the duration of a test."""


def scarce(*names: str, bucket: int = 2) -> dict[str, object]:
    """A plan with these buckets, which are small and not refilled."""
    return {"throttling": {name: {"bucket": bucket, "per_minute": NO_REFILL} for name in names}}


def repeat(send: Callable[[], requests.Response], times: int) -> list[requests.Response]:
    return [send() for _ in range(times)]


# Resource Manager


@pytest.fixture(scope="module")
def writes(cloud: Cloud) -> tuple[Driver, list[requests.Response]]:
    """A simulator that allows two writes, and the responses to three."""
    azure = cloud(scarce("writes"))
    return azure, repeat(lambda: put_group(azure), 3)


def put_group(azure: Driver) -> requests.Response:
    return azure.send("PUT", f"{azure.group}-2", {"location": "eastus"}, api="2025-04-01")


def test_excess_writes_are_throttled(writes: tuple[Driver, list[requests.Response]]) -> None:
    _, answers = writes

    assert [answer.status_code for answer in answers] == [201, 200, 429]
    assert code(answers[2]) == "SubscriptionRequestsThrottled"
    assert answers[2].headers["x-ms-failure-cause"] == "gateway"


def test_the_headers_show_the_remaining_tokens(
    writes: tuple[Driver, list[requests.Response]],
) -> None:
    _, answers = writes

    assert [answer.headers[f"{REST}-writes"] for answer in answers] == ["1", "0", "0"]
    assert [answer.headers[f"{REST}-global-writes"] for answer in answers] == ["29", "28", "28"]


def test_the_message_contains_the_retry_after(
    writes: tuple[Driver, list[requests.Response]],
) -> None:
    _, answers = writes
    wait = answers[2].headers["Retry-After"]

    assert int(wait) > 1000
    assert f"'{wait}' seconds" in answers[2].text


def test_a_throttled_request_is_not_applied(writes: tuple[Driver, list[requests.Response]]) -> None:
    azure, _ = writes
    path = azure.net("networkInterfaces", "throttled")

    throttled = azure.send("PUT", path, azure.nic_body("/no/subnet"), api=NETWORK_API)

    assert throttled.status_code == 429
    assert azure.send("GET", path, api=NETWORK_API).status_code == 404


def test_the_sdk_raises_the_error(writes: tuple[Driver, list[requests.Response]]) -> None:
    azure, _ = writes

    with pytest.raises(HttpResponseError) as rejected:
        azure.compute().virtual_machines.begin_create_or_update(GROUP, "vm", {"location": "eastus"})

    error = rejected.value
    assert (error.status_code, error.error.code) == (429, "SubscriptionRequestsThrottled")
    assert "Retry-After" in error.response.headers


def test_unauthenticated_requests_use_no_tokens(cloud: Cloud) -> None:
    azure = cloud(scarce("reads", bucket=1))
    for _ in range(3):
        azure.bare("GET", azure.group, params={"api-version": "2025-04-01"})

    assert azure.send("GET", azure.group).status_code == 200


def test_a_request_after_the_retry_after_succeeds(cloud: Cloud) -> None:
    azure = cloud({"throttling": {"reads": {"bucket": 1, "per_minute": 1}}})
    while (answer := azure.send("GET", azure.group)).status_code == 200:
        pass

    time.sleep(int(answer.headers["Retry-After"]))

    assert azure.send("GET", azure.group).status_code == 200


OWN_WRITE = """#!/bin/bash
set -eu
imds="$AZURE_POD_IDENTITY_AUTHORITY_HOST/metadata"
query="api-version=2018-02-01&resource=https://management.azure.com"
token=$(curl -sf -H Metadata:true "$imds/identity/oauth2/token?$query" |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["access_token"])')
me=$(curl -sf -H Metadata:true "$imds/instance/compute/resourceId?api-version=2021-02-01&format=text")
curl -s -o /dev/null -w 'status %{http_code}\\n' -X PUT -d '{}' -H "Authorization: Bearer $token" \
  -H 'Content-Type: application/json' \
  "$AZURE_RESOURCE_MANAGER_ENDPOINT$me?api-version=2024-11-01"
"""


def test_every_principal_has_its_own_bucket(cloud: Cloud) -> None:
    no_proxy = ("--machine-env", "no_proxy=127.0.0.1")
    azure = cloud(scarce("writes", bucket=3), "--machines", "process", *no_proxy)
    vm = azure.make_vm(script=OWN_WRITE)["name"]  # after a network and an interface
    throttled = put_group(azure)

    console = azure.state / "vms" / vm / "console.log"
    until(lambda: console.exists() and "status" in console.read_text())

    # 403, not 429: the VM's identity has no role, but is not throttled.
    assert (throttled.status_code, console.read_text()) == (429, "status 403\n")


# Compute


def test_vm_puts_are_limited_per_region(cloud: Cloud) -> None:
    azure = cloud(scarce("put_vm"))

    answers = repeat(lambda: put(azure), 3)

    assert [answer.status_code for answer in answers] == [201, 201, 429]
    remaining = [answer.headers[RESOURCE] for answer in answers]
    assert remaining == [f"Microsoft.Compute/PutVM;{left}" for left in (1, 0, 0)]


def test_vm_puts_are_limited_per_vm(cloud: Cloud) -> None:
    azure = cloud(scarce("put_vm_each"))

    same = repeat(lambda: azure.send("PUT", azure.vm_path("same"), {}), 3)
    other = azure.send("PUT", azure.vm_path("other"), {})

    assert [answer.status_code for answer in same] == [400, 400, 429]
    assert other.status_code == 400


def test_a_repeated_put_counts_as_an_update(cloud: Cloud) -> None:
    azure = cloud(scarce("update_vm_each", bucket=1))
    name, vm = unique("vm"), body(azure)

    answers = repeat(lambda: azure.send("PUT", azure.vm_path(name), vm), 3)

    assert [answer.status_code for answer in answers] == [201, 200, 429]
    assert answers[2].json()["details"][0]["target"] == "UpdateVM"


def test_vm_gets_are_limited_per_vm(cloud: Cloud) -> None:
    azure = cloud({"throttling": {"low_cost_get_each": {"bucket": 36, "per_minute": NO_REFILL}}})

    answers = repeat(lambda: azure.send("GET", azure.vm_path("vm")), 37)

    assert [answer.status_code for answer in answers] == [404] * 36 + [429]


@pytest.fixture(scope="module")
def listed(cloud: Cloud) -> HttpResponseError:
    """The error of the SDK when listing VMs is throttled."""
    azure = cloud(scarce("high_cost_get", bucket=1))
    list(azure.compute().virtual_machines.list(GROUP))
    with pytest.raises(HttpResponseError) as rejected:
        list(azure.compute().virtual_machines.list(GROUP))
    return rejected.value


def test_lists_are_limited(listed: HttpResponseError) -> None:
    assert (listed.status_code, listed.error.code) == (429, "OperationNotAllowed")
    assert listed.response.headers[RESOURCE] == "Microsoft.Compute/HighCostGet;0"


def test_compute_names_the_operation_group(listed: HttpResponseError) -> None:
    (detail,) = listed.error.details

    assert (detail.code, detail.target) == ("TooManyRequests", "HighCostGet")
    assert '"allowedRequestCount":1,' in detail.message


def test_status_polls_are_limited(cloud: Cloud) -> None:
    azure = cloud(scarce("get_operation_each", bucket=1))
    url = put(azure).headers["Azure-AsyncOperation"]

    assert [a.status_code for a in repeat(lambda: azure.send("GET", url), 2)] == [200, 429]


def test_deletions_are_limited(cloud: Cloud) -> None:
    azure = cloud(scarce("delete_vm_each", bucket=1))
    vm = boot(azure)

    answers = repeat(lambda: azure.send("DELETE", vm["id"]), 2)

    assert [answer.status_code for answer in answers] == [202, 429]


# Network


def test_network_has_its_own_limits(cloud: Cloud) -> None:
    azure = cloud(scarce("network_writes", bucket=1))
    path = azure.net("networkInterfaces", "nic")

    answers = repeat(lambda: azure.send("PUT", path, azure.nic_body("/no/s"), api=NETWORK_API), 2)

    assert [answer.status_code for answer in answers] == [400, 429]
    assert "for Microsoft.Network exceeded the limit of '1'" in answers[1].text


def test_throttling_is_off_by_default(cloud: Cloud) -> None:
    azure = cloud({"throttling": False})

    remaining = {azure.send("GET", azure.group).headers[f"{REST}-reads"] for _ in range(2)}

    assert remaining == {"249"}


# Bucket


def test_a_bucket_is_refilled_at_the_end_of_each_period() -> None:
    bucket = Bucket(Rate(bucket=3, refill=2, period=60), now=0.0)
    for _ in range(3):
        bucket.take()

    remaining = []
    for now in (59.9, 60.0, 119.9, 120.0, 1000.0):
        bucket.fill(now)
        remaining.append(bucket.remaining)

    assert remaining == [0, 2, 2, 3, 3]


def test_a_bucket_computes_the_wait_for_a_token() -> None:
    bucket = Bucket(Rate(bucket=1, refill=0.25, period=1), now=10.0)
    bucket.take()

    assert bucket.wait(now=10.5) == 3.5
