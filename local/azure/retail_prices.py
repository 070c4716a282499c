"""Azure's Retail Prices API (prices.azure.com), which needs no token.

Envelope, fields, filters and paging are as documented by Microsoft; they have not been compared with the
real API. The prices are invented, of the right order of magnitude.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from local.azure.arm.calls import Call, Reply, Request
from local.azure.arm.errors import ArmError
from local.azure.arm.resources import Target
from local.azure.cloud import Checkpoint, Interceptor
from local.azure.compute.sizes import SIZES, ZONES, Size
from local.azure.identity.directory import Principal

PATH = "/api/retail/prices"
UNLISTED = "standardBasv2Family"
"""A family whose prices are missing, as those of some sizes and regions are."""
_LARGEST_PAGE = 100
_PER_VCPU, _PER_GPU, _WINDOWS, _SPOT = 0.048, 0.6, 0.046, 0.2
_REGIONS = {"eastus": 1.0, "eastus2": 1.0, "westus2": 1.0, "westus3": 1.0}
_ELSEWHERE = 1.25
_DISKS = {
    "Standard HDD Managed Disks": {"S4": 1.536, "S10": 5.888},
    "Standard SSD Managed Disks": {"E4": 2.4, "E10": 9.6},
    "Premium SSD Managed Disks": {"P4": 5.28, "P10": 19.71},
}
"""US dollars per month, by product and tier."""
_ZONE_REDUNDANT = 1.5
_TERM = re.compile(r"\s*(\w+) eq '((?:[^']|'')*)'\s*(?:and\b|$)")
_NOBODY = Principal("", "", "Anonymous")


class RetailPrices:
    """Serves PATH."""

    def __init__(self, page_size: int, intercept: Interceptor) -> None:
        self._page_size, self._intercept = min(page_size, _LARGEST_PAGE), intercept

    async def handle(self, request: Request) -> Reply | None:
        """The reply, or None for another path."""
        if request.path.rstrip("/") != PATH:
            return None
        wanted = _terms(request.query.get("$filter", ""))
        skip = request.query.get("$skip", "0")
        if request.method != "GET" or wanted is None or not skip.isdecimal():
            return _error(400, "BadRequest", "Invalid OData parameters supplied")
        place = "/".join(wanted.get(one, "") for one in ("armRegionName", "armSkuName", "skuName"))
        target = Target(f"{PATH}/{place}", "/", "prices", (), True, subscription=None, group=None)
        try:
            await self._intercept(Checkpoint("accepted", Call(request, target, _NOBODY)))
        except ArmError as error:
            return _error(error.status, error.code, error.message, error.headers)
        return Reply(200, self._page(request, wanted, int(skip)))

    def _page(self, request: Request, wanted: Mapping[str, str], skip: int) -> dict[str, Any]:
        found = [item for item in _all_items() if _matches(item, wanted)]
        shown, end = found[skip : skip + self._page_size], skip + self._page_size
        query = {**request.query, "$skip": str(end)}
        following = "&".join(f"{name}={quote(value)}" for name, value in query.items())
        return {
            "BillingCurrency": "USD",
            "CustomerEntityId": "Default",
            "CustomerEntityType": "Retail",
            "Items": shown,
            "NextPageLink": f"{request.base}{PATH}?{following}" if end < len(found) else None,
            "Count": len(shown),
        }


def _terms(text: str) -> dict[str, str] | None:
    """The members and values of a filter of equalities; None if it is another one."""
    found = list(_TERM.finditer(text))
    if "".join(term[0] for term in found) != text or text.endswith("and"):
        return None
    return {term[1]: term[2].replace("''", "'") for term in found}


def _matches(item: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    """Values are case-sensitive."""
    return all(
        item.get({"priceType": "type"}.get(name, name)) == value for name, value in wanted.items()
    )


@functools.cache
def _all_items() -> list[dict[str, Any]]:
    return list(_items())


def _items() -> Iterator[dict[str, Any]]:
    for region in ZONES:
        factor = _REGIONS.get(region, _ELSEWHERE)
        for size in SIZES.values():
            if size.family != UNLISTED:
                yield from _of_size(size, region, factor)
        yield from _of_disks(region, factor)


def _of_size(size: Size, region: str, factor: float) -> Iterator[dict[str, Any]]:
    """What a client must tell apart: Windows, Low Priority, and prices of other types."""
    sku = size.name.removeprefix("Standard_").replace("_", " ")
    product = f"Virtual Machines {size.family.removesuffix('Family')} Series"
    linux = (size.vcpus * _PER_VCPU + size.gpus * _PER_GPU) * factor
    windows = linux + size.vcpus * _WINDOWS
    common = {
        "serviceName": "Virtual Machines", "serviceFamily": "Compute", "armSkuName": size.name,
        "unitOfMeasure": "1 Hour",
    }  # fmt: skip
    for name, price in ((product, linux), (f"{product} Windows", windows)):
        for suffix, share in (("", 1.0), (" Spot", _SPOT), (" Low Priority", _SPOT)):
            names = {
                "productName": name,
                "skuName": f"{sku}{suffix}",
                "meterName": f"{sku}{suffix}",
            }
            yield _item(region, price * share, **common, **names)
    names = {"productName": product, "skuName": sku, "meterName": sku}
    yield _item(region, linux * 5000, type="Reservation", **common, **names)
    yield _item(region, linux * 0.5, type="DevTestConsumption", **common, **names)


def _of_disks(region: str, factor: float) -> Iterator[dict[str, Any]]:
    """Beside the disk itself, a tier has meters for mounts and for operations."""
    common = {"serviceName": "Storage", "serviceFamily": "Storage", "armSkuName": ""}
    for product, tiers in _DISKS.items():
        for tier, price in tiers.items():
            for redundancy in ("LRS",) if tier.startswith("S") else ("LRS", "ZRS"):
                month = price * factor * (1.0 if redundancy == "LRS" else _ZONE_REDUNDANT)
                sku = f"{tier} {redundancy}"
                for meter, unit, amount in (
                    (f"{sku} Disk", "1/Month", month),
                    (f"{sku} Disk Mount", "1/Month", month / 20),
                    (f"{sku} Disk Operations", "10K", 0.0005),
                ):
                    names = {"productName": product, "skuName": sku, "meterName": meter}
                    yield _item(region, amount, unitOfMeasure=unit, **common, **names)


def _item(region: str, price: float, **more: str) -> dict[str, Any]:
    return {
        "currencyCode": "USD",
        "tierMinimumUnits": 0.0,
        "retailPrice": round(price, 6),
        "unitPrice": round(price, 6),
        "armRegionName": region,
        "location": region,
        "effectiveStartDate": "2024-01-01T00:00:00Z",
        "isPrimaryMeterRegion": True,
        "type": "Consumption",
        **more,
    }


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Reply:
    return Reply(status, {"Error": {"Code": code, "Message": message}}, headers or {})
