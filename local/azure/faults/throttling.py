"""Too many requests: token buckets of Resource Manager, Compute and Network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from local.azure.arm.calls import Call
from local.azure.arm.errors import ArmError
from local.azure.arm.resources import Store
from local.azure.clock import Clock
from local.azure.faults.azure_errors import CATALOGUE
from local.azure.faults.rate_limits import GLOBAL_FACTOR, Rate
from local.azure.faults.template_values import body_of, values

_VM = "microsoft.compute/virtualmachines"
_OPERATION = "microsoft.compute/locations/operations"

_POLICIES = {
    "put_vm": "PutVM",
    "update_vm": "UpdateVM",
    "delete_vm": "DeleteVM",
    "low_cost_get": "LowCostGet",
    "high_cost_get": "HighCostGet",
    "get_operation": "GetOperation",
}
"""Our bucket -> Compute's name of it."""

_COMPUTE = {
    ("PUT", _VM, False): "put_vm",
    ("DELETE", _VM, False): "delete_vm",
    ("GET", _VM, False): "low_cost_get",
    ("GET", f"{_VM}/instanceview", True): "low_cost_get",
    ("GET", _VM, True): "high_cost_get",
    ("GET", _OPERATION, False): "get_operation",
}
"""(method, type, whether a collection) -> bucket."""


class Bucket:
    """Tokens: `rate.bucket` at first, and never more."""

    def __init__(self, rate: Rate, now: float) -> None:
        self.rate, self._tokens, self._filled = rate, float(rate.bucket), now

    def fill(self, now: float) -> None:
        """Put in what has come since the last time; whole periods alone count."""
        periods = int((now - self._filled) // self.rate.period)
        self._filled += periods * self.rate.period
        self._tokens = min(self.rate.bucket, self._tokens + periods * self.rate.refill)

    @property
    def rest(self) -> int:
        """How many requests it still allows."""
        return int(self._tokens)

    def take(self) -> None:
        """Use one token up."""
        self._tokens -= 1

    def wait(self, now: float) -> float:
        """Seconds until it allows a request again."""
        periods = -(-(1 - self._tokens) // self.rate.refill)
        return max(0.0, self._filled + periods * self.rate.period - now)


@dataclass(frozen=True)
class _Level:
    """Buckets that a request must all pass; the same provider keeps them."""

    provider: str
    name: str
    buckets: tuple[tuple[str, Bucket], ...]
    """With the response header of each; empty where it has none of its own."""


class Throttle:
    """All buckets, made when they are first needed."""

    def __init__(self, rates: Mapping[str, Rate], clock: Clock, store: Store, tenant: str) -> None:
        self._rates, self._clock, self._store, self._tenant = rates, clock, store, tenant
        self._buckets: dict[tuple[str, str], Bucket] = {}

    def take(self, call: Call) -> None:
        """Take a token from every bucket that the request falls under.

        Writes what is left into the answer's headers. Raises ArmError 429; a request that one
        provider refuses is not seen by the next.
        """
        for level in self._levels(call):
            empty = next((b for _, b in level.buckets if b.rest < 1), None)
            if empty is None:
                for _, bucket in level.buckets:
                    bucket.take()
            call.request.marks.headers.update(_headers(level))
            if empty is not None:
                raise self._refusal(level, empty, call)

    def _levels(self, call: Call) -> Iterator[_Level]:
        method, target = call.request.method, call.target
        kind = {"PUT": "writes", "DELETE": "deletes"}.get(method, "reads")
        yield from self._arm(kind, call.principal.object_id)
        where = self._location(call)
        compute = _COMPUTE.get((method, target.kind, target.collection))
        if compute == "put_vm" and self._store.find(target.path) is not None:
            compute = "update_vm"
        if compute:
            yield from self._compute(compute, where, target.key)
        if target.kind.startswith("microsoft.network/"):
            name = "network_reads" if kind == "reads" else "network_writes"
            yield from self._level("Microsoft.Network", name, ("", name, where))

    def _arm(self, kind: str, principal: str) -> Iterator[_Level]:
        rest = "x-ms-ratelimit-remaining-subscription"
        own, everyones = (
            (f"{rest}-{kind}", kind, principal),
            (f"{rest}-global-{kind}", f"all {kind}", ""),
        )
        return self._level("Microsoft.Resources", kind, own, everyones)

    def _compute(self, name: str, where: str, key: str) -> Iterator[_Level]:
        return self._level("Microsoft.Compute", name, ("", name, where), ("", f"{name}_each", key))

    def _level(self, provider: str, name: str, *keys: tuple[str, str, str]) -> Iterator[_Level]:
        """The level, if any of its buckets, each (header, name, owner), is in the plan."""
        found = ((header, self._bucket(bucket, owner)) for header, bucket, owner in keys)
        buckets = tuple((header, bucket) for header, bucket in found if bucket is not None)
        if buckets:
            yield _Level(provider, name, buckets)

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
        more = GLOBAL_FACTOR
        return one and replace(one, bucket=one.bucket * more, refill=one.refill * more)

    def _location(self, call: Call) -> str:
        if call.target.kind.endswith(("/operations", "/operationresults")):
            return call.target.names[0].lower()
        parent = self._store.find(call.target.parent)
        own = body_of(call, self._store).get("location")
        return str(own or (parent.location if parent else ""))

    def _refusal(self, level: _Level, empty: Bucket, call: Call) -> ArmError:
        names = {
            "Microsoft.Resources": "SubscriptionRequestsThrottled",
            "Microsoft.Compute": "CrpThrottled",
            "Microsoft.Network": "ResourceRequestsThrottled",
        }
        minutes, seconds = divmod(int(empty.rate.period), 60)
        told = {
            **values(call, self._store, self._tenant),
            "policy": _POLICIES.get(level.name, ""),
            "limit": str(empty.rate.bucket),
            "usage": str(empty.rate.bucket + 1),
            "interval": f"00:{minutes:02}:{seconds:02}",
        }
        hint = self._clock.retry_after(empty.wait(self._clock.now()))
        return CATALOGUE[names[level.provider]].error(told, hint)


def _headers(level: _Level) -> dict[str, str]:
    if level.provider == "Microsoft.Compute":
        rest = min(bucket.rest for _, bucket in level.buckets)
        policy = _POLICIES[level.name]
        return {"x-ms-ratelimit-remaining-resource": f"Microsoft.Compute/{policy};{rest}"}
    return {header: str(bucket.rest) for header, bucket in level.buckets if header}
