"""Throttling: the token buckets of Resource Manager, Compute and Network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from local.azure.arm.calls import Call
from local.azure.arm.errors import ArmError
from local.azure.arm.resources import Store
from local.azure.clock import Clock
from local.azure.faults.azure_errors import AZURE_ERRORS
from local.azure.faults.rate_limits import GLOBAL_FACTOR, Rate
from local.azure.faults.template_values import resource_body, template_values

_VM = "microsoft.compute/virtualmachines"
_REMAINING = "x-ms-ratelimit-remaining-subscription"
_OPERATION = "microsoft.compute/locations/operations"

_POLICIES = {
    "put_vm": "PutVM",
    "update_vm": "UpdateVM",
    "delete_vm": "DeleteVM",
    "low_cost_get": "LowCostGet",
    "high_cost_get": "HighCostGet",
    "get_operation": "GetOperation",
}
"""Bucket -> the name of Compute's throttling policy."""

_COMPUTE = {
    ("PUT", _VM, False): "put_vm",
    ("PATCH", _VM, False): "update_vm",
    ("DELETE", _VM, False): "delete_vm",
    ("GET", _VM, False): "low_cost_get",
    ("GET", f"{_VM}/instanceview", True): "low_cost_get",
    ("GET", _VM, True): "high_cost_get",
    ("GET", _OPERATION, False): "get_operation",
}
"""(method, type, whether a collection) -> bucket."""


class Bucket:
    """A token bucket; full at first."""

    def __init__(self, rate: Rate, now: float) -> None:
        self.rate, self._tokens, self._filled = rate, float(rate.bucket), now

    def fill(self, now: float) -> None:
        """Add the tokens of the periods that have ended since the last call."""
        periods = int((now - self._filled) // self.rate.period)
        self._filled += periods * self.rate.period
        self._tokens = min(self.rate.bucket, self._tokens + periods * self.rate.refill)

    @property
    def remaining(self) -> int:
        """The number of requests that it still allows."""
        return int(self._tokens)

    def take(self) -> None:
        self._tokens -= 1

    def wait(self, now: float) -> float:
        """Seconds until the next token."""
        periods = -(-(1 - self._tokens) // self.rate.refill)
        return max(0.0, self._filled + periods * self.rate.period - now)


@dataclass(frozen=True)
class _BucketGroup:
    """The buckets of one provider that a request must all pass."""

    provider: str
    name: str
    buckets: tuple[tuple[str, Bucket], ...]
    """(response header, bucket); the header is empty where a bucket has none."""


class Throttle:
    """All buckets, created on first use."""

    def __init__(self, rates: Mapping[str, Rate], clock: Clock, store: Store, tenant: str) -> None:
        self._rates, self._clock, self._store, self._tenant = rates, clock, store, tenant
        self._buckets: dict[tuple[str, str], Bucket] = {}

    def take(self, call: Call) -> None:
        """Take a token from every bucket that applies to the request.

        Writes the remaining tokens into the response headers. Raises ArmError 429; a provider
        does not see a request that the previous one has throttled.
        """
        for group in self._groups(call):
            empty = next((b for _, b in group.buckets if b.remaining < 1), None)
            if empty is None:
                for _, bucket in group.buckets:
                    bucket.take()
            call.request.effects.headers.update(_headers(group))
            if empty is not None:
                raise self._throttled(group, empty, call)

    def _groups(self, call: Call) -> Iterator[_BucketGroup]:
        method, target = call.request.method, call.target
        kind = {"PUT": "writes", "PATCH": "writes", "DELETE": "deletes"}.get(method, "reads")
        own = (f"{_REMAINING}-{kind}", kind, call.principal.object_id)
        yield from self._group(
            "Microsoft.Resources", kind, own, (f"{_REMAINING}-global-{kind}", f"all {kind}", "")
        )
        location = self._location(call)
        compute = _COMPUTE.get((method, target.kind, target.collection))
        if compute == "put_vm" and self._store.find(target.path) is not None:
            compute = "update_vm"
        if compute:
            keys = ("", compute, location), ("", f"{compute}_each", target.key)
            yield from self._group("Microsoft.Compute", compute, *keys)
        if target.kind.startswith("microsoft.network/"):
            name = "network_reads" if kind == "reads" else "network_writes"
            yield from self._group("Microsoft.Network", name, ("", name, location))

    def _group(
        self, provider: str, name: str, *keys: tuple[str, str, str]
    ) -> Iterator[_BucketGroup]:
        """Yield the group if any of its buckets has a limit. Each key is (header, bucket, owner)."""
        found = ((header, self._bucket(bucket, owner)) for header, bucket, owner in keys)
        buckets = tuple((header, bucket) for header, bucket in found if bucket is not None)
        if buckets:
            yield _BucketGroup(provider, name, buckets)

    def _bucket(self, name: str, owner: str) -> Bucket | None:
        now = self._clock.now()
        rate = self._rate(name)
        if rate is None:
            return None
        bucket = self._buckets.setdefault((name, owner), Bucket(rate, now))
        bucket.fill(now)
        return bucket

    def _rate(self, name: str) -> Rate | None:
        if not name.startswith("all "):
            return self._rates.get(name)
        one = self._rates.get(name.removeprefix("all "))
        return one and replace(
            one, bucket=one.bucket * GLOBAL_FACTOR, refill=one.refill * GLOBAL_FACTOR
        )

    def _location(self, call: Call) -> str:
        if call.target.kind.endswith(("/operations", "/operationresults")):
            return call.target.names[0].lower()
        parent = self._store.find(call.target.parent)
        own = resource_body(call, self._store).get("location")
        return str(own or (parent.location if parent else ""))

    def _throttled(self, group: _BucketGroup, empty: Bucket, call: Call) -> ArmError:
        names = {
            "Microsoft.Resources": "SubscriptionRequestsThrottled",
            "Microsoft.Compute": "CrpThrottled",
            "Microsoft.Network": "ResourceRequestsThrottled",
        }
        minutes, seconds = divmod(int(empty.rate.period), 60)
        values = {
            **template_values(call, self._store, self._tenant),
            "policy": _POLICIES.get(group.name, ""),
            "limit": str(empty.rate.bucket),
            "usage": str(empty.rate.bucket + 1),
            "interval": f"00:{minutes:02}:{seconds:02}",
        }
        hint = self._clock.retry_after(empty.wait(self._clock.now()))
        return AZURE_ERRORS[names[group.provider]].render(values, hint)


def _headers(group: _BucketGroup) -> dict[str, str]:
    if group.provider == "Microsoft.Compute":
        remaining = min(bucket.remaining for _, bucket in group.buckets)
        policy = _POLICIES[group.name]
        return {"x-ms-ratelimit-remaining-resource": f"Microsoft.Compute/{policy};{remaining}"}
    return {header: str(bucket.remaining) for header, bucket in group.buckets if header}
