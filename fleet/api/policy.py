"""What a deployment allows: a function key may start fleets, and must not take the deployment over.

The same for HTTP, the queue and the plan. `fleet.policy_settings` reads the settings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from fleet.api.progress import price_of
from fleet.api.request import Fault, FleetRequest
from fleet.api.responses.app import PolicySetting
from fleet.model import names
from fleet.model.database_uri import server_of
from fleet.model.records import Placement
from fleet.policy_settings import are_equal
from fleet.settings import Settings

HOUR, DAY = 3600.0, 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, with the settings that complete it."""

    request: FleetRequest
    settings: Settings

    @property
    def acts_as_caller(self) -> bool:
        """Whether the fleet uses an identity of the caller: then Azure decides what it may do."""
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
"""JSON pointers, and what the request has there."""


def _scopes(asked: Asked) -> Values:
    for index, scope in enumerate(asked.request.resource_uris):
        yield f"/resource_uris/{index}", scope


def _principals(asked: Asked) -> Values:
    if asked.request.client_principal_id:
        yield "/client_principal_id", asked.request.client_principal_id
    elif asked.request.azure_json.client_id:  # gets the role by default
        yield "/azure_json/client_id", asked.request.azure_json.client_id


def _groups(asked: Asked) -> Values:
    account, settings = asked.request.azure_json, asked.settings
    others = [
        name
        for name in ("subscription_id", "resource_group")
        if (value := getattr(account, name)) and not are_equal(value, getattr(settings, name) or "")
    ]
    if asked.group:
        yield "/".join(["/azure_json", *others[:1]]), asked.group


def _subnets(asked: Asked) -> Values:
    if asked.request.subnet_id:
        yield "/subnet_id", asked.request.subnet_id


def _databases(asked: Asked) -> Values:
    if asked.request.uri:
        # Empty where libpq might connect to another host than the one that this check would see.
        yield "/uri", server_of(asked.request.uri.get_secret_value()) or ""


def _images(asked: Asked) -> Values:
    one = asked.request
    parts = (one.image_publisher, one.image_offer, one.image_sku, one.image_version)
    yield "/image_publisher", "/".join(parts)


def _sizes(asked: Asked) -> Values:
    for pointer, named, placement in asked.placements:
        if "vm_size" in named:
            yield f"{pointer}/vm_size", placement["vm_size"]


def _regions(asked: Asked) -> Values:
    for pointer, named, placement in asked.placements:
        if "location" in named:
            # Empty where it is the resource group's, which only Azure knows.
            yield f"{pointer}/location", placement["location"]


@dataclass(frozen=True, slots=True)
class Rule:
    """What a setting with patterns limits."""

    setting: str
    values: Callable[[Asked], Values]
    detail: str
    is_free_for_caller: bool = False
    """Whether it does not apply to fleets that use an identity of the caller."""
    is_public: bool = False
    """Whether a refusal lists what is allowed: it says nothing about networks or identities."""


RULES = (
    Rule(
        "FLEET_ALLOWED_SCOPES",
        _scopes,
        "VMs may not get the Contributor role at this scope. Name a single resource that holds data.",
    ),
    Rule(
        "FLEET_ALLOWED_PRINCIPALS",
        _principals,
        "This principal may not get a role at the VMs. Leave it out, or send a client_secret, with "
        "which the role is assigned.",
        is_free_for_caller=True,
    ),
    Rule(
        "FLEET_ALLOWED_GROUPS",
        _groups,
        "The app's own identity does not create VMs in this subscription and resource group. Leave "
        "them out, or send a client_secret.",
        is_free_for_caller=True,
    ),
    Rule(
        "FLEET_ALLOWED_SUBNETS",
        _subnets,
        "VMs may not use this subnet. Leave it out, or choose another one.",
        is_free_for_caller=True,
    ),
    Rule(
        "FLEET_ALLOWED_DATABASES",
        _databases,
        "Fleets may not use this database server. Use the deployment's.",
    ),
    Rule("FLEET_ALLOWED_IMAGES", _images, "VMs may not use this image.", is_public=True),
    Rule("FLEET_ALLOWED_SIZES", _sizes, "VMs may not have this size.", is_public=True),
    Rule(
        "FLEET_ALLOWED_REGIONS",
        _regions,
        "VMs may not be in this region, or in one that is left out.",
        is_public=True,
    ),
)
"""By setting; `fleet.policy_settings` has their defaults."""


def faults(request: FleetRequest, settings: Settings) -> list[Fault]:
    """Everything in a request that the deployment does not allow. Details repeat no value of either."""
    asked = Asked(request, settings)
    return [
        *_unmatched(asked),
        *_protected(asked),
        *_lent_database(asked),
        *_limits(asked),
        *_cost(asked),
    ]


def summary(settings: Settings) -> list[PolicySetting]:
    """The policy in force, with defaults."""
    policy = settings.policy
    listed = {**policy.allowed, "FLEET_PROTECTED_RESOURCES": policy.protected}
    shown = {name: ", ".join(patterns) or "none" for name, patterns in listed.items()}
    shown["FLEET_MAX_VMS"] = str(policy.max_vms)
    shown["FLEET_MAX_LIFETIME_DAYS"] = f"{policy.max_lifetime_days:g}"
    shown["FLEET_MAX_COST"] = "no limit" if policy.max_cost is None else f"{policy.max_cost:g}"
    return [{"setting": name, "value": value} for name, value in shown.items()]


def _unmatched(asked: Asked) -> Iterator[Fault]:
    for rule in RULES:
        if rule.is_free_for_caller and asked.acts_as_caller:
            continue
        for pointer, value in rule.values(asked):
            policy = asked.settings.policy
            if not policy.allows(rule.setting, value):
                allowed = ", ".join(policy.allowed[rule.setting]) or "none"
                listed = f" Allowed: {allowed}." if rule.is_public else ""
                yield _fault(pointer, f"{rule.detail}{listed}", rule.setting)


def _protected(asked: Asked) -> Iterator[Fault]:
    for pointer, scope in _scopes(asked):
        if asked.settings.policy.protects(scope):
            detail = (
                "This scope is a resource of the app, or contains one. No VM gets a role there."
            )
            yield _fault(pointer, detail, "FLEET_PROTECTED_RESOURCES")


def _lent_database(asked: Asked) -> Iterator[Fault]:
    """The deployment's password goes only to VMs in its own groups: others can read custom data."""
    is_allowed = asked.settings.policy.allows("FLEET_ALLOWED_GROUPS", asked.group)
    if asked.request.uri is None and asked.acts_as_caller and not is_allowed:
        detail = (
            "Required for VMs in another subscription or resource group: they do not get the "
            "password of the deployment's database."
        )
        yield _fault("/uri", detail, "FLEET_ALLOWED_GROUPS")


def _limits(asked: Asked) -> Iterator[Fault]:
    policy, request = asked.settings.policy, asked.request
    if request.n_instances > policy.max_vms:
        detail = f"All fleets together may use at most {policy.max_vms:,} VMs. Request fewer."
        yield _fault("/n_instances", detail, "FLEET_MAX_VMS")
    if request.max_lifetime > policy.max_lifetime_days * DAY:
        detail = f"max_lifetime may be at most {policy.max_lifetime_days:g} days."
        yield _fault("/max_lifetime", detail, "FLEET_MAX_LIFETIME_DAYS")


def _cost(asked: Asked) -> Iterator[Fault]:
    limit, request = asked.settings.policy.max_cost, asked.request
    if limit is None:
        return
    highest = 0.0
    for pointer, named, placement in asked.placements:
        price = _dearest(placement, asked.settings.prices)
        if price is None:
            spot = " as a Spot VM" if placement["priority"] == "Spot" else ""
            detail = (
                f"The cost of a fleet is limited (FLEET_MAX_COST), and this size has no price{spot}. "
                "Choose another one."
            )
            at = "vm_size" if "vm_size" in named else min(named)
            yield _fault(f"{pointer}/{at}", detail, "FLEET_PRICES")
        highest = max(highest, price or 0.0)
    cost = request.n_instances * request.max_lifetime / HOUR * highest
    if cost > limit:
        detail = (
            f"By its deadline, the fleet may cost {cost:,.2f} US dollars; {limit:,.2f} are allowed. "
            "Use fewer or cheaper VMs, or a shorter max_lifetime."
        )
        yield _fault("/n_instances", detail, "FLEET_MAX_COST")


def _dearest(placement: Placement, prices: Mapping[str, float]) -> float | None:
    """The price in a placement; the highest in any region if its region is the resource group's."""
    if placement["location"]:
        return price_of(placement, prices)
    regions = {key.rpartition("/")[0] for key in prices}
    found = [price_of({**placement, "location": region}, prices) for region in regions]
    return max((price for price in found if price is not None), default=None)


def _fault(pointer: str, detail: str, setting: str) -> Fault:
    return Fault(pointer, f"{detail} The administrator decides with the setting {setting}.")
