"""The settings of a deployment's policy: what requests may ask for. `fleet.api.policy` applies them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from string import ascii_lowercase, ascii_uppercase

from fleet.model.database_uri import normal_host, server_of

DATA_SERVICES = (
    "Microsoft.Storage/storageAccounts",
    "Microsoft.DBforPostgreSQL/flexibleServers",
    "Microsoft.DBforMySQL/flexibleServers",
    "Microsoft.DocumentDB/databaseAccounts",
    "Microsoft.Cache/redis",
    "Microsoft.EventHub/namespaces",
    "Microsoft.ServiceBus/namespaces",
)
"""Resource types that hold data, and neither run code nor act with an identity: the others are too many
to list."""

_ID = (
    r"/subscriptions/[^/\s]+(/[^/\s]+)*",
    "ARM IDs (/subscriptions/…) in which * stands for any part",
)
_SYNTAX = {
    "FLEET_ALLOWED_SCOPES": _ID,
    "FLEET_ALLOWED_PRINCIPALS": (r"[-0-9a-f*?]+", "object IDs"),
    "FLEET_ALLOWED_DATABASES": (
        r"(\[[0-9a-f:.]+\]|[^\s/@:\[\]]+)(:([0-9]+|\*))?",
        "hosts (db.example.org, *.example.org:6432, [::1]:*)",
    ),
    "FLEET_ALLOWED_WEBHOOKS": (
        r"[^\s/@:\[\]]+(:([0-9]+|\*))?",
        "hosts (hooks.example.org, *.example.org:8443)",
    ),
    "FLEET_ALLOWED_GROUPS": _ID,
    "FLEET_ALLOWED_SUBNETS": _ID,
    "FLEET_ALLOWED_IMAGES": (
        r"[^\s/[\]]+(/[^\s/[\]]+){0,3}|/(subscriptions|sharedGalleries|communityGalleries)(/[^/\s]+)+",
        "images (canonical, canonical/ubuntu-24_04-lts/server, /subscriptions/…/galleries/NAME, "
        "/sharedGalleries/NAME, /communityGalleries/NAME)",
    ),
    "FLEET_ALLOWED_SIZES": (r"[^\s/[\]]+", "VM sizes (Standard_D*_v5)"),
    "FLEET_ALLOWED_REGIONS": (r"[^\s/[\]]+", "regions (eastus*)"),
}
"""The form of one pattern, as a regular expression and in words. `*` is valid everywhere."""

_STORAGE_ACCOUNT = re.compile(
    r"AccountName=([a-z0-9]{3,24})\b|https://([a-z0-9]{3,24})\.(?:z[0-9]+\.)?(?:blob|queue|table|file|dfs)\.",
    re.IGNORECASE,
)
_DATABASE_SERVER = re.compile(r"([-a-z0-9]+)\.(?:[-a-z0-9]+\.)*(?:postgres|postgresql)\.")
_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)
"""Only ASCII: Python and Azure may disagree about other characters (the Kelvin sign becomes a k)."""
_ANYWHERE = "/subscriptions/*/resourcegroups/*/providers"


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """What requests may ask for. Patterns are in lower case; see `matches`."""

    allowed: Mapping[str, tuple[str, ...]]
    """Patterns by the name of their setting. Empty: nothing is allowed."""
    protected: tuple[str, ...]
    """ARM IDs at which no VM gets a role."""
    max_vms: int
    """Maximum number of VMs that all fleets have at the same time."""
    max_lifetime_days: float
    max_cost: float | None
    """In US dollars per fleet; None: no limit."""
    budget: float | None
    """In US dollars per calendar month (UTC), of all fleets together; None: no limit."""

    @classmethod
    def read(cls, environment: Mapping[str, str], faults: list[str]) -> PolicySettings:
        """Read the settings. Adds a sentence to `faults` for each invalid one."""
        faults += _unknown(environment)
        defaults = _defaults(environment)
        return cls(
            allowed={
                name: _patterns(name, syntax, environment.get(name) or defaults[name], faults)
                for name, syntax in _SYNTAX.items()
            },
            protected=_protected(environment, faults),
            max_vms=math.ceil(positive_number("FLEET_MAX_VMS", environment, faults) or 1000),
            max_lifetime_days=positive_number("FLEET_MAX_LIFETIME_DAYS", environment, faults)
            or 7.0,
            max_cost=positive_number("FLEET_MAX_COST", environment, faults),
            budget=positive_number("FLEET_BUDGET", environment, faults),
        )

    def allows(self, setting: str, value: str) -> bool:
        """Whether a value matches one of the setting's patterns."""
        return any(
            matches(one, value) and not _is_extension(one, value) for one in self.allowed[setting]
        )

    def size_limits(self) -> list[str]:
        """The settings that limit the size of a VM, directly or by its price."""
        sizes = [] if "*" in self.allowed["FLEET_ALLOWED_SIZES"] else ["FLEET_ALLOWED_SIZES"]
        return [*sizes, *self.cost_limits()]

    def cost_limits(self) -> list[str]:
        """The settings that limit cost."""
        limits = {"FLEET_MAX_COST": self.max_cost, "FLEET_BUDGET": self.budget}
        return [name for name, limit in limits.items() if limit is not None]

    def protects(self, scope: str) -> bool:
        """Whether a scope is a protected resource, a part of one, or contains one."""
        return any(matches(one, scope) or _contains(scope, one) for one in self.protected)


_NAMES = (
    *_SYNTAX, "FLEET_PROTECTED_RESOURCES", "FLEET_MAX_VMS", "FLEET_MAX_LIFETIME_DAYS", "FLEET_MAX_COST",
    "FLEET_BUDGET",
)  # fmt: skip


def _unknown(environment: Mapping[str, str]) -> list[str]:
    """A sentence for each misspelled setting of the policy, which would silently have no effect."""
    ours = {name for name in environment if re.match("FLEET_(ALLOWED|PROTECTED|MAX|BUDGET)", name)}
    return [
        f"{name} is not a setting. Did you mean {get_close_matches(name, _NAMES, 1, 0)[0]}?"
        for name in sorted(ours - set(_NAMES))
    ]


def are_equal(one: str, other: str) -> bool:
    """Whether two names are the same for Azure."""
    return one.translate(_LOWER) == other.translate(_LOWER)


def matches(pattern: str, value: str) -> bool:
    """Whether a pattern matches a value, in any case, or the first segments of its path.

    An ARM ID therefore includes everything in it, and a publisher all of its images. `*` alone
    matches everything; within a segment it does not match `/`.
    """
    wanted, given = pattern.split("/"), value.translate(_LOWER).split("/")
    is_path = pattern.startswith("/") == value.startswith("/")  # `*/*` is no gallery
    fits = is_path and len(wanted) <= len(given) and all(map(fnmatchcase, given, wanted))
    return pattern == "*" or fits


def _is_extension(pattern: str, value: str) -> bool:
    """Whether an ID names a resource of another type below the resource that a pattern allows."""
    parts = [one.lower().split("/").count("providers") for one in (pattern, value)]
    return pattern != "*" and parts[1] > max(1, parts[0])


def _contains(scope: str, protected: str) -> bool:
    """Whether a scope contains a protected ID, as far as that is known: part of an ID may be `*`."""
    given = scope.translate(_LOWER).split("/")
    return given == protected.split("/")[: len(given)]


def _defaults(environment: Mapping[str, str]) -> dict[str, str]:
    subscription = environment.get("AZURE_SUBSCRIPTION_ID")
    group = environment.get("AZURE_RESOURCE_GROUP")
    own = f"/subscriptions/{subscription}/resourceGroups/{group}"
    server = server_of(environment.get("POWERLIFT_DB_URI", ""))
    if server and server.count(":") > 1:
        address, _, port = server.rpartition(":")
        server = f"[{address}]:{port}"
    return {
        "FLEET_ALLOWED_SCOPES": ",".join(f"{_ANYWHERE}/{kind}/*" for kind in DATA_SERVICES),
        "FLEET_ALLOWED_PRINCIPALS": "none",
        "FLEET_ALLOWED_DATABASES": server or "none",
        # The app may reach what the users may not.
        "FLEET_ALLOWED_WEBHOOKS": "none",
        "FLEET_ALLOWED_GROUPS": own if subscription and group else "none",
        # Where the app creates its own subnets. A subnet elsewhere may reach what VMs must not.
        "FLEET_ALLOWED_SUBNETS": own if subscription and group else "none",
        "FLEET_ALLOWED_IMAGES": "canonical",
        "FLEET_ALLOWED_SIZES": "*",
        "FLEET_ALLOWED_REGIONS": "*",
    }


def _patterns(name: str, syntax: tuple[str, str], text: str, faults: list[str]) -> tuple[str, ...]:
    """The patterns in a setting, in lower case."""
    form, words = syntax
    listed = [item.strip().translate(_LOWER) for item in text.split(",") if item.strip()]
    if listed == ["none"]:
        return ()
    if not all(item == "*" or re.fullmatch(form, item, re.IGNORECASE) for item in listed):
        faults.append(f"{name} must be *, none, or {words}, separated by commas.")
        return ()
    if name == "FLEET_ALLOWED_DATABASES":
        listed = [item if item == "*" else _with_port(item) for item in listed]
    return tuple(listed)


def _with_port(host: str) -> str:
    """A host pattern as `server_of` writes it: with a port, and IPv6 without brackets."""
    has_port = re.search(r"(?<=[^:]):([0-9]+|\*)$", host) and (
        not host.startswith("[") or "]:" in host
    )
    name, _, port = (host if has_port else f"{host}:5432").rpartition(":")
    return f"{normal_host(name.strip('[]'))}:{port.lstrip('0') or port}"


def _protected(environment: Mapping[str, str], faults: list[str]) -> tuple[str, ...]:
    """The app's own resources as far as its settings name them, the VMs, and those in the setting."""
    name = "FLEET_PROTECTED_RESOURCES"
    text = environment.get(name) or ""
    if text.strip().lower() == "none":
        return ()
    return (*_patterns(name, _ID, text, faults), *sorted(_own_resources(environment)))


def _own_resources(environment: Mapping[str, str]) -> set[str]:
    subscription = environment.get("AZURE_SUBSCRIPTION_ID") or "*"
    group = environment.get("AZURE_RESOURCE_GROUP") or "*"
    found = {f"/subscriptions/{subscription}/resourcegroups/{group}/providers/microsoft.compute"}
    if site := environment.get("WEBSITE_SITE_NAME"):
        owner = (environment.get("WEBSITE_OWNER_NAME") or "").partition("+")[0] or "*"
        home = environment.get("WEBSITE_RESOURCE_GROUP") or "*"
        kind = f"providers/microsoft.web/sites/{site}"
        found |= {f"{_ANYWHERE}/microsoft.web/sites/{site}"}
        found |= {f"/subscriptions/{owner}/resourcegroups/{home}/{kind}"}
    # Every account that a setting names: of the task hub, of a queue, of the deployed code.
    accounts = {
        account
        for value in environment.values()
        for groups in _STORAGE_ACCOUNT.findall(value)
        for account in groups
    }
    accounts |= {v for name, v in environment.items() if name.lower().endswith("__accountname")}
    found |= {f"{_ANYWHERE}/microsoft.storage/storageaccounts/{one}" for one in accounts if one}
    databases = [server_of(environment.get("POWERLIFT_DB_URI", "")) or ""]
    databases += environment.get("FLEET_ALLOWED_DATABASES", "").lower().split(",")
    servers = [_DATABASE_SERVER.match(one.strip()) for one in databases]
    found |= {f"{_ANYWHERE}/microsoft.dbforpostgresql/*/{one[1]}" for one in servers if one}
    return {one.translate(_LOWER) for one in found}


def positive_number(name: str, environment: Mapping[str, str], faults: list[str]) -> float | None:
    """A setting's number; None if it is not set, or invalid, which adds a sentence to `faults`."""
    text = environment.get(name)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        faults.append(f"{name} must be a number above 0.")
        return None
    return value
