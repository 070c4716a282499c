"""Azure's Retail Prices API: list prices of VMs and managed disks, without authentication.

Field names, filters and paging are as documented
(learn.microsoft.com/rest/api/cost-management/retail-prices/azure-retail-prices). The real API has not
been tried.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from azure.core import AsyncPipelineClient
from azure.core.exceptions import HttpResponseError, ServiceResponseError
from azure.core.rest import HttpRequest

from fleet.azure.transport import AzureTransport

MAX_PAGES = 10
"""Of 100 items. The filters leave a dozen."""
HOURS_PER_MONTH = 730.0
"""As in Azure's own price calculator: disks have a price per month."""
OS_DISKS = {
    "Standard": ("Standard HDD Managed Disks", "S4"),
    "StandardSSD": ("Standard SSD Managed Disks", "E4"),
    "Premium": ("Premium SSD Managed Disks", "P4"),
}
"""Product and tier of a disk of up to 32 GiB, as of Canonical's images, by the type's first part."""


class PriceApi:
    """A client of the API at a URL. Use it as a context manager."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: AsyncPipelineClient[Any, Any] = AsyncPipelineClient(
            url, policies=[], transport=AzureTransport()
        )

    async def __aenter__(self) -> PriceApi:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._client.__aexit__(*error)

    async def vm(self, location: str, size: str) -> dict[str, float]:
        """US dollars per hour of a Linux VM by priority, `Regular` or `Spot`, as far as they are listed.

        Raises AzureError.
        """
        items = [
            item
            async for item in self._items("Virtual Machines", location, armSkuName=size)
            if item.get("unitOfMeasure") == "1 Hour"
            and not any(word in _text(item, "productName") for word in _OTHER_PRODUCTS)
            and not _text(item, "skuName").endswith(" Low Priority")
        ]
        prices = {
            "Regular": _highest(items, lambda item: not _text(item, "skuName").endswith(" Spot")),
            "Spot": _highest(items, lambda item: _text(item, "skuName").endswith(" Spot")),
        }
        return {priority: price for priority, price in prices.items() if price is not None}

    async def os_disk(self, location: str, disk_type: str) -> float | None:
        """US dollars per hour of an OS disk; None if not listed. Raises AzureError."""
        kind, _, redundancy = disk_type.partition("_")
        product, tier = OS_DISKS[kind]
        sku = f"{tier} {redundancy}"
        items = [
            item
            async for item in self._items("Storage", location, productName=product, skuName=sku)
        ]
        # Not the meters of mounts, operations and bursts.
        per_month = _highest(
            items,
            lambda item: (
                item.get("unitOfMeasure") == "1/Month" and item.get("meterName") == f"{sku} Disk"
            ),
        )
        return per_month and per_month / HOURS_PER_MONTH

    async def _items(
        self, service: str, location: str, **equal: str
    ) -> AsyncIterator[dict[str, Any]]:
        wanted = {
            "serviceName": service,
            "armRegionName": location,
            "priceType": "Consumption",
            **equal,
        }
        terms = (f"{name} eq {_quoted(value)}" for name, value in wanted.items())
        query = {"currencyCode": "USD", "$filter": " and ".join(terms)}
        url: str | None = f"{self._url}?{urlencode(query, quote_via=quote)}"
        for _ in range(MAX_PAGES):
            page = await self._page(url or "")
            for item in page["Items"]:
                if isinstance(item, dict) and item.get("currencyCode") == "USD":
                    yield item
            url = page.get("NextPageLink")
            if not url:
                return
            if _address(str(url)) != _address(self._url):
                raise ServiceResponseError("The next page of prices has an unexpected address.")
        raise ServiceResponseError(f"The list of prices has more than {MAX_PAGES} pages.")

    async def _page(self, url: str) -> dict[str, Any]:
        response = await self._client.send_request(HttpRequest("GET", url))
        if response.status_code != 200:
            raise HttpResponseError(response=response)
        page = response.json()
        if not isinstance(page, dict) or not isinstance(page.get("Items"), list):
            raise ServiceResponseError("The list of prices has no items.")
        return page


_OTHER_PRODUCTS = ("Windows", "CloudServices", "Cloud Services")


def _address(url: str) -> tuple[str, str | None, int, str]:
    """Without the query. Links name the default port."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or 443, parts.path


def _quoted(value: str) -> str:
    """A literal of OData."""
    return "'" + value.replace("'", "''") + "'"


def _text(item: dict[str, Any], name: str) -> str:
    return str(item.get(name) or "")


def _highest(items: list[dict[str, Any]], wanted: Callable[[Any], bool]) -> float | None:
    """The highest price above zero: a meter that is listed twice must not make a fleet look cheaper."""
    prices = (item.get("retailPrice") for item in items if wanted(item))
    return max(
        (float(one) for one in prices if isinstance(one, int | float) and 0 < one < math.inf),
        default=None,
    )
