"""What a deployment allows: a function key may start fleets, and must not take the deployment over.

The same for HTTP, the queue and the plan. `fleet.policy_settings` reads the settings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from fleet.api.request import Fault, FleetRequest
from fleet.api.responses.app import PolicySetting
from fleet.model import names
from fleet.model.costs import configured_price
from fleet.model.database_uri import server_of
from fleet.model.images import Image, name_of, version_of, with_version
from fleet.model.records import Placement
from fleet.model.webhooks import host_of
from fleet.policy_settings import are_equal
from fleet.settings import Settings

HOUR, DAY = 3600.0, 24 * 3600.0


@dataclass(frozen=True, slots=True)
class EffectiveRequest:
    """A request together with the settings that provide its defaults."""

    request: FleetRequest
    settings: Settings

    @property
    def uses_own_identity(self) -> bool:
        """Whether the request has its own identity; Azure then decides what the fleet may do."""
        return self.request.azure_json.client_secret is not None

    @property
    def group(self) -> str:
        """The ARM ID of the VMs' resource group; empty if neither request nor settings have it."""
        account, settings = self.request.azure_json, self.settings
        subscription = account.subscription_id or settings.subscription_id
        group = account.resource_group or settings.resource_group
        return names.resource_group_id(subscription, group) if subscription and group else ""

    @property
    def placements(self) -> list[tuple[str, Mapping[str, Any], Placement]]:
        """For the request and each fallback: pointer, the members that it names, and the placement."""
        request = self.request
        home: Placement = {
            "location": request.location or "",
            "zone": None,
            "vm_size": request.vm_size,
            "priority": request.priority,
        }
        named = [one.model_dump(exclude_none=True) for one in request.fallbacks]
        others = [
            (f"/fallbacks/{index}", one, cast(Placement, {**home, **one}))
            for index, one in enumerate(named)
        ]
        return [("", home, home), *others]


Values = Iterator[tuple[str, str]]
"""Pairs of a JSON pointer and the request's value there."""


def _scopes(effective: EffectiveRequest) -> Values:
    for index, scope in enumerate(effective.request.resource_uris):
        yield f"/resource_uris/{index}", scope


def _principals(effective: EffectiveRequest) -> Values:
    if effective.request.client_principal_id:
        yield "/client_principal_id", effective.request.client_principal_id
    elif effective.request.azure_json.client_id:  # gets the role by default
        yield "/azure_json/client_id", effective.request.azure_json.client_id


def _groups(effective: EffectiveRequest) -> Values:
    account, settings = effective.request.azure_json, effective.settings
    others = [
        name
        for name in ("subscription_id", "resource_group")
        if (value := getattr(account, name)) and not are_equal(value, getattr(settings, name) or "")
    ]
    if effective.group:
        yield "/".join(["/azure_json", *others[:1]]), effective.group


def _subnets(effective: EffectiveRequest) -> Values:
    if effective.request.subnet_id:
        yield "/subnet_id", effective.request.subnet_id


def _databases(effective: EffectiveRequest) -> Values:
    if effective.request.uri:
        # Empty if libpq might connect to another host than the one that this check sees.
        yield "/uri", server_of(effective.request.uri.get_secret_value()) or ""


def _webhooks(effective: EffectiveRequest) -> Values:
    if effective.request.notify_url:
        yield "/notify_url", host_of(effective.request.notify_url.get_secret_value()) or ""


def _images(effective: EffectiveRequest) -> Values:
    one = effective.request
    if one.image_id is not None:
        image: Image = {"id": one.image_id}
        yield "/image_id", name_of(with_version(image, version_of(image)))
        return
    parts = (one.image_publisher, one.image_offer, one.image_sku, one.image_version)
    yield "/image_publisher", "/".join(parts)


def _sizes(effective: EffectiveRequest) -> Values:
    for pointer, named, placement in effective.placements:
        if "vm_size" in named:
            yield f"{pointer}/vm_size", placement["vm_size"]


def _regions(effective: EffectiveRequest) -> Values:
    for pointer, named, placement in effective.placements:
        if "location" in named:
            # Empty if it is the resource group's, which only Azure can tell.
            yield f"{pointer}/location", placement["location"]


@dataclass(frozen=True, slots=True)
class Rule:
    """What a setting with patterns limits."""

    setting: str
    values: Callable[[EffectiveRequest], Values]
    detail: str
    is_skipped_with_own_identity: bool = False
    """Whether it does not apply to requests with their own identity."""
    is_public: bool = False
    """Whether a fault lists the allowed values. Names of networks and identities are not disclosed."""


RULES = (
    Rule(
        "FLEET_ALLOWED_SCOPES",
        _scopes,
        "VMs may not get the Contributor role at this scope. Name a single resource that holds data.",
    ),
    Rule(
        "FLEET_ALLOWED_PRINCIPALS",
        _principals,
        "This principal may not get a role at the VMs. Omit it, or send a client_secret, with "
        "which the role is assigned.",
        is_skipped_with_own_identity=True,
    ),
    Rule(
        "FLEET_ALLOWED_GROUPS",
        _groups,
        "The app's own identity does not create VMs in this subscription and resource group. Omit "
        "them, or send a client_secret.",
        is_skipped_with_own_identity=True,
    ),
    Rule(
        "FLEET_ALLOWED_SUBNETS",
        _subnets,
        "VMs may not use this subnet. Omit it, or choose another one.",
        is_skipped_with_own_identity=True,
    ),
    Rule(
        "FLEET_ALLOWED_DATABASES",
        _databases,
        "Fleets may not use this database server. Use the deployment's.",
    ),
    Rule(
        "FLEET_ALLOWED_WEBHOOKS",
        _webhooks,
        "Fleets may not notify this host.",
    ),
    Rule("FLEET_ALLOWED_IMAGES", _images, "VMs may not use this image.", is_public=True),
    Rule("FLEET_ALLOWED_SIZES", _sizes, "VMs may not have this size.", is_public=True),
    Rule(
        "FLEET_ALLOWED_REGIONS",
        _regions,
        "VMs may not be in this region, or in an unspecified one.",
        is_public=True,
    ),
)
"""By setting; `fleet.policy_settings` has their defaults."""


def faults(request: FleetRequest, settings: Settings) -> list[Fault]:
    """Everything in a request that the deployment does not allow. Details contain no value of either."""
    effective = EffectiveRequest(request, settings)
    return [
        *_unmatched(effective),
        *_protected(effective),
        *_deployment_database(effective),
        *_limits(effective),
        *_cost(effective),
    ]


def summary(settings: Settings) -> list[PolicySetting]:
    """The effective policy, including defaults."""
    policy = settings.policy
    listed = {**policy.allowed, "FLEET_PROTECTED_RESOURCES": policy.protected}
    shown = {name: ", ".join(patterns) or "none" for name, patterns in listed.items()}
    shown["FLEET_MAX_VMS"] = str(policy.max_vms)
    shown["FLEET_MAX_LIFETIME_DAYS"] = f"{policy.max_lifetime_days:g}"
    for name, limit in (("FLEET_MAX_COST", policy.max_cost), ("FLEET_BUDGET", policy.budget)):
        shown[name] = "no limit" if limit is None else f"{limit:g}"
    return [{"setting": name, "value": value} for name, value in shown.items()]


def _unmatched(effective: EffectiveRequest) -> Iterator[Fault]:
    for rule in RULES:
        if rule.is_skipped_with_own_identity and effective.uses_own_identity:
            continue
        for pointer, value in rule.values(effective):
            policy = effective.settings.policy
            if not policy.allows(rule.setting, value):
                allowed = ", ".join(policy.allowed[rule.setting]) or "none"
                listed = f" Allowed: {allowed}." if rule.is_public else ""
                yield _fault(pointer, f"{rule.detail}{listed}", rule.setting)


def _protected(effective: EffectiveRequest) -> Iterator[Fault]:
    for pointer, scope in _scopes(effective):
        if effective.settings.policy.protects(scope):
            detail = (
                "This scope is a resource of the app, or contains one. No VM gets a role there."
            )
            yield _fault(pointer, detail, "FLEET_PROTECTED_RESOURCES")


def _deployment_database(effective: EffectiveRequest) -> Iterator[Fault]:
    """The deployment's password goes only to VMs in its own groups: others can read custom data."""
    is_allowed = effective.settings.policy.allows("FLEET_ALLOWED_GROUPS", effective.group)
    if effective.request.uri is None and effective.uses_own_identity and not is_allowed:
        detail = (
            "Required for VMs in another subscription or resource group: they do not get the "
            "password of the deployment's database."
        )
        yield _fault("/uri", detail, "FLEET_ALLOWED_GROUPS")


def _limits(effective: EffectiveRequest) -> Iterator[Fault]:
    policy, request = effective.settings.policy, effective.request
    if request.n_instances > policy.max_vms:
        detail = f"All fleets together may use at most {policy.max_vms:,} VMs. Request fewer."
        yield _fault("/n_instances", detail, "FLEET_MAX_VMS")
    if request.max_lifetime > policy.max_lifetime_days * DAY:
        detail = f"max_lifetime may be at most {policy.max_lifetime_days:g} days."
        yield _fault("/max_lifetime", detail, "FLEET_MAX_LIFETIME_DAYS")


def _cost(effective: EffectiveRequest) -> Iterator[Fault]:
    """By FLEET_PRICES alone. The plan knows all prices, and requires one for each placement."""
    limit, request = effective.settings.policy.max_cost, effective.request
    if limit is None:
        return
    prices = [_highest_price(one, effective.settings.prices) for _, _, one in effective.placements]
    highest = max((price for price in prices if price is not None), default=0.0)
    cost = request.n_instances * request.max_lifetime / HOUR * highest
    if request.max_cost is not None:
        cost = min(cost, request.max_cost)
    if cost > limit:
        detail = (
            f"By its deadline, the fleet may cost {cost:,.2f} US dollars; {limit:,.2f} are allowed. "
            "Use fewer or cheaper VMs, a shorter max_lifetime, or a max_cost within the limit."
        )
        yield _fault("/n_instances", detail, "FLEET_MAX_COST")


def _highest_price(placement: Placement, table: Mapping[str, float]) -> float | None:
    """The price in a placement; the highest in any region if its region is the resource group's."""
    regions = [placement["location"]]
    if not placement["location"]:
        regions += [key.rpartition("/")[0] for key in table]
    found = [configured_price({**placement, "location": region}, table) for region in regions]
    return max((price["per_hour"] for price in found if price is not None), default=None)


def _fault(pointer: str, detail: str, setting: str) -> Fault:
    return Fault(pointer, f"{detail} The administrator decides with the setting {setting}.")
