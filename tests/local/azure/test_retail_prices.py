"""The simulator's price list, as raw JSON and through the app's client. Its pages have three items."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.local.azure.driver import ROOT, Driver, serve

PATH = "/api/retail/prices"
SIZE = "Standard_D2s_v5"
VMS = {"serviceName": "Virtual Machines", "armRegionName": "eastus", "armSkuName": SIZE}
BROKEN = {"faults": [{"on": "prices", "match": "/westus3/", "error": "InternalServerError"}]}
QUESTIONS = {
    "regular and spot": ["vm", "eastus", SIZE],
    "another region": ["vm", "westeurope", SIZE],
    "gpu": ["vm", "eastus", "Standard_NC4as_T4_v3"],
    "unlisted": ["vm", "eastus", "Standard_B2as_v2"],
    "wrong case": ["vm", "eastus", SIZE.lower()],
    "quote": ["vm", "eastus", "it's' or 'x' eq 'x"],
    "hdd": ["os_disk", "eastus", "Standard_LRS"],
    "ssd": ["os_disk", "eastus", "StandardSSD_ZRS"],
    "premium": ["os_disk", "westeurope", "Premium_LRS"],
    "unlisted disk": ["os_disk", "nowhere", "Premium_LRS"],
    "failure": ["vm", "westus3", SIZE],
}


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    state = tmp_path_factory.mktemp("prices")
    (state / "faults.json").write_text(json.dumps(BROKEN))
    options = ("--machines", "none", "--page-size", "3", "--faults", str(state / "faults.json"))
    service, driver = serve(state, *options)
    yield driver
    service.stop()


@pytest.fixture(scope="module")
def answers(prices: Driver) -> dict[str, Any]:
    """What the app's client reads."""
    output = subprocess.run(
        [sys.executable, "-m", "tests.fleet.azure.price_client", json.dumps([*QUESTIONS.values()])],
        env={**os.environ, **prices.ready["env"]},
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    return dict(zip(QUESTIONS, json.loads(output), strict=True))


def items(prices: Driver, **equal: str) -> tuple[list[Any], int]:
    """The items of all pages, without a token, and the number of pages."""
    terms = " and ".join(f"{name} eq '{value}'" for name, value in equal.items())
    url: str | None = PATH
    found: list[Any] = []
    count, query = 0, {"$filter": terms}
    while url:
        page = prices.bare("GET", url.removeprefix(prices.base), params=query).json()
        assert (page["BillingCurrency"], page["Count"]) == ("USD", len(page["Items"]))
        found += page["Items"]
        url, query, count = page["NextPageLink"], {}, count + 1
    return found, count


def test_pages_are_linked(prices: Driver):
    found, pages = items(prices, **VMS)
    assert (len(found), pages) == (8, 3)


def test_the_list_has_what_clients_must_tell_apart(prices: Driver):
    found, _ = items(prices, **VMS)
    assert {(one["type"], one["productName"].endswith(" Windows")) for one in found} == {
        ("Consumption", False),
        ("Consumption", True),
        ("Reservation", False),
        ("DevTestConsumption", False),
    }
    assert {one["skuName"] for one in found} == {"D2s v5", "D2s v5 Spot", "D2s v5 Low Priority"}


@pytest.mark.parametrize(
    "text",
    ["armSkuName gt 'x'", "armSkuName eq x", "armSkuName eq 'x' or armSkuName eq 'y'", "x and"],
)
def test_another_filter_is_refused(prices: Driver, text: str):
    answer = prices.bare("GET", PATH, params={"$filter": text})
    assert (answer.status_code, answer.json()["Error"]["Code"]) == (400, "BadRequest")


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("regular and spot", {"Regular": 0.096, "Spot": 0.0192}),
        ("another region", {"Regular": 0.12, "Spot": 0.024}),
        ("gpu", {"Regular": 0.792, "Spot": 0.1584}),
        ("unlisted", {}),
        ("wrong case", {}),
        ("quote", {}),
        ("unlisted disk", None),
        ("failure", "HttpResponseError"),
    ],
)
def test_the_apps_client_reads_linux_prices_per_hour(
    answers: dict[str, Any], question: str, answer: Any
):
    assert answers[question] == answer


@pytest.mark.parametrize(
    ("question", "per_month"), [("hdd", 1.536), ("ssd", 3.6), ("premium", 6.6)]
)
def test_the_apps_client_reads_disks_without_their_other_meters(
    answers: dict[str, Any], question: str, per_month: float
):
    assert answers[question] * 730 == pytest.approx(per_month)
