"""The app's settings, read from environment variables."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import certifi

from fleet.model import names
from fleet.model.webhooks import secret_key
from fleet.policy_settings import PolicySettings, positive_number

PUBLIC_CLOUD = "https://management.azure.com"
RETAIL_PRICES = "https://prices.azure.com/api/retail/prices"
_MAX_TAG_VALUE = 256
_ROLE_DEFINITION = re.compile(
    r"(?:(?:/.+)?/providers/Microsoft\.Authorization/roleDefinitions/)?"
    r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})",
    re.IGNORECASE,
)

_IDENTITY_ID = re.compile(
    r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.ManagedIdentity"
    r"/userAssignedIdentities/[A-Za-z0-9][A-Za-z0-9_-]{2,127}",
    re.IGNORECASE,
)


def _schedule() -> re.Pattern[str]:
    """NCRONTAB, with or without the field of seconds; a time span; or the name of another setting."""
    sixty, names_of_days = "[0-5]?[0-9]", "(sun|mon|tue|wed|thu|fri|sat)[a-z]*"
    names_of_months = "(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
    values = (
        sixty, sixty, "[01]?[0-9]|2[0-3]", "0?[1-9]|[12][0-9]|3[01]",
        f"0?[1-9]|1[0-2]|{names_of_months}", f"[0-7]|{names_of_days}",
    )  # fmt: skip
    parts = [rf"(\*|({one})(-({one}))?)(/0*[1-9][0-9]*)?" for one in values]
    second, *others = (f"{part}(,{part})*" for part in parts)
    cron = rf"({second}\s+)?" + r"\s+".join(others)
    span = rf"([0-9]+\.)?([01]?[0-9]|2[0-3]):{sixty}(:{sixty})?"
    return re.compile(rf"{cron}|{span}|%[^%]+%", re.IGNORECASE)


_SCHEDULE = _schedule()
_SCHEDULES = ("FLEET_SWEEP_SCHEDULE", "FLEET_PURGE_SCHEDULE", "FLEET_WEBHOOK_SCHEDULE")


def _once(read: Callable[[Any, Mapping[str, str]], Settings]) -> Callable[..., Settings]:
    """Parses an environment only if it differs from the last: every activity reads the settings, and the
    patterns of the policy take half a millisecond.
    """
    last = functools.lru_cache(maxsize=1)(lambda cls, items: read(cls, dict(items)))

    @functools.wraps(read)
    def of(cls: Any, environment: Mapping[str, str] = os.environ) -> Settings:
        return last(cls, tuple(environment.items()))

    return of


@dataclass(frozen=True, slots=True)
class Settings:
    """The app's settings. azure-identity also reads the AZURE_* variables.

    `repr` omits secrets, which keeps them out of tracebacks and logs.
    """

    subscription_id: str | None
    resource_group: str | None
    authority: str | None
    resource_manager_endpoint: str
    database_uri: str = field(repr=False)
    sealing_keys: tuple[str, ...] = field(repr=False)
    boot_poll_seconds: float
    run_poll_seconds: float
    writes_per_second: float
    """Rate limit for creating resources. Azure refills a principal's write bucket at 10/s."""
    retention_days: float
    """How long the histories, VM records and logs of an ended fleet are kept."""
    prices: Mapping[str, float]
    """US dollars per hour by lower-case key: see `fleet.model.costs.configured_price`."""
    price_api: str | None
    """URL of Azure's Retail Prices API; None: no prices but those in FLEET_PRICES."""
    policy: PolicySettings
    webhook_keys: tuple[bytes, ...] = field(repr=False)
    """They sign notifications; a receiver accepts a signature by any."""
    vm_identity: str | None
    """ARM ID of the identity with which VMs log in to databases whose URI has no password."""
    vm_db_user: str
    """Its PostgreSQL role; by default the identity's name."""
    vm_role: str
    """GUID of the role that each VM gets at itself."""
    owner: str
    """Identifies the deployment that owns a resource, so that sweeps ignore each other's resources.

    FLEET_OWNER, site (outside Azure a digest of the sealing key), slot and task hub: two task hubs never
    share it, because each would treat the other's fleets as lost.
    """

    @classmethod
    @_once
    def read(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read the settings. Raises SettingsError with every missing or invalid setting."""
        faults = _unresolved(environment, ("FLEET_", "POWERLIFT_", "AZURE_"))

        def positive(name: str, default: float) -> float:
            return positive_number(name, environment, faults) or default

        endpoint = environment.get("AZURE_RESOURCE_MANAGER_ENDPOINT") or PUBLIC_CLOUD
        if not endpoint.startswith("https://"):
            faults.append("AZURE_RESOURCE_MANAGER_ENDPOINT must start with https://.")
        keys = tuple(
            filter(None, environment.get("FLEET_SEALING_KEY", "").replace(" ", "").split(","))
        )
        if not keys:
            faults.append(
                "FLEET_SEALING_KEY is not set. Generate a key: python -c 'from cryptography.fernet "
                "import Fernet; print(Fernet.generate_key().decode())'"
            )
        database_uri = environment.get("POWERLIFT_DB_URI", "")
        if not database_uri:
            faults.append("POWERLIFT_DB_URI is not set: postgresql://user:password@host/database.")
        vm_identity = environment.get("FLEET_VM_IDENTITY") or None
        if vm_identity and not _IDENTITY_ID.fullmatch(vm_identity):
            faults.append(
                "FLEET_VM_IDENTITY must be the ARM ID of a user-assigned identity: /subscriptions/.../"
                "resourceGroups/.../providers/Microsoft.ManagedIdentity/userAssignedIdentities/...."
            )
        settings = cls(
            subscription_id=environment.get("AZURE_SUBSCRIPTION_ID") or None,
            resource_group=environment.get("AZURE_RESOURCE_GROUP") or None,
            authority=environment.get("AZURE_AUTHORITY_HOST") or None,
            resource_manager_endpoint=endpoint.rstrip("/"),
            database_uri=database_uri,
            sealing_keys=keys,
            boot_poll_seconds=positive("FLEET_BOOT_POLL_SECONDS", 5),
            run_poll_seconds=positive("FLEET_RUN_POLL_SECONDS", 30),
            writes_per_second=positive("FLEET_WRITES_PER_SECOND", 10),
            retention_days=positive("FLEET_RETENTION_DAYS", 30),
            prices=_prices(environment.get("FLEET_PRICES") or "{}", faults),
            price_api=_price_api(environment.get("FLEET_PRICE_API") or RETAIL_PRICES, faults),
            policy=PolicySettings.read(environment, faults),
            webhook_keys=_webhook_keys(environment.get("FLEET_WEBHOOK_SECRET") or "", faults),
            vm_identity=vm_identity,
            vm_db_user=environment.get("FLEET_VM_DB_USER") or (vm_identity or "").split("/")[-1],
            vm_role=_vm_role(environment.get("FLEET_VM_ROLE") or names.CONTRIBUTOR, faults),
            owner=_owner(environment, keys, faults),
        )
        if faults:
            raise SettingsError(faults)
        return settings


def schedule_faults(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Not in `Settings.read`: the host reads schedules, and a wrong one stops only its own timer."""
    return [
        f"{name} must be an NCRONTAB expression, such as 0 */5 * * * * (every five minutes), or a time "
        "span."
        for name in _SCHEDULES
        if (text := environment.get(name)) and not _SCHEDULE.fullmatch(text.strip())
    ]


def _webhook_keys(text: str, faults: list[str]) -> tuple[bytes, ...]:
    secrets = [one.strip() for one in text.split(",") if one.strip()]
    keys = tuple(key for key in map(secret_key, secrets) if key)
    if len(keys) < len(secrets):
        faults.append(
            "FLEET_WEBHOOK_SECRET must be whsec_ and 24 to 64 bytes in base64. Generate one: python -c "
            '\'import base64, secrets; print("whsec_" + base64.b64encode(secrets.token_bytes(32))'
            ".decode())'"
        )
    return keys


def database_root_cert(environment: Mapping[str, str] = os.environ) -> str:
    """The file of the root certificates that database servers are verified with.

    FLEET_DB_ROOT_CERT, else the system's, which psycopg2's own OpenSSL does not find, else Mozilla's. No
    fault of the settings if it is missing: without databases, VMs are still deleted.
    """
    system = ssl.get_default_verify_paths().cafile
    return environment.get("FLEET_DB_ROOT_CERT") or system or certifi.where()


def own_root_certificates(environment: Mapping[str, str] = os.environ) -> str:
    """The content of the file in FLEET_DB_ROOT_CERT; empty without the setting. Raises SettingsError."""
    path = environment.get("FLEET_DB_ROOT_CERT")
    try:
        return Path(path).read_text(encoding="ascii") if path else ""
    except (OSError, ValueError):
        raise SettingsError(["FLEET_DB_ROOT_CERT must be the path of a PEM file."]) from None


def _prices(text: str, faults: list[str]) -> dict[str, float]:
    try:
        named = dict(json.loads(text))
        prices = {str(size).lower(): float(price) for size, price in named.items()}
    except (TypeError, ValueError):
        prices = {"": -1.0}
    if not all(0 <= price < math.inf for price in prices.values()):
        faults.append(
            "FLEET_PRICES must be a JSON object of US dollars per hour by VM size: "
            '{"Standard_D2s_v5": 0.096, "Standard_D2s_v5 Spot": 0.019}.'
        )
    return prices


def _price_api(text: str, faults: list[str]) -> str | None:
    if text.strip().lower() == "none":
        return None
    if not text.startswith("https://"):
        faults.append("FLEET_PRICE_API must be none, or start with https://.")
    return text.strip()


def _vm_role(text: str, faults: list[str]) -> str:
    match = _ROLE_DEFINITION.fullmatch(text)
    if match is None:
        faults.append(
            "FLEET_VM_ROLE must be the GUID or the full ARM ID of a role definition, not its name. "
            "az role definition list --name NAME --query [].name shows the GUID."
        )
        return ""
    return match[1].lower()


def _owner(environment: Mapping[str, str], keys: tuple[str, ...], faults: list[str]) -> str:
    # The last key, because rotation changes it last.
    digest = "key-" + hashlib.sha256("".join(keys[-1:]).encode()).hexdigest()[:12]
    site = environment.get("WEBSITE_SITE_NAME") or digest
    others = map(environment.get, ("WEBSITE_SLOT_NAME", "TASKHUB_NAME"))
    owner = "/".join(filter(None, (environment.get("FLEET_OWNER"), site, *others)))
    if len(owner) > _MAX_TAG_VALUE:
        faults.append(
            f"FLEET_OWNER is too long: with site, slot and task hub it has {len(owner)} characters, and "
            f"Azure limits a tag to {_MAX_TAG_VALUE}."
        )
    return owner


def unresolved_references(environment: Mapping[str, str] = os.environ) -> list[str]:
    """A sentence for each setting, of the app or of the host, that Azure has left unresolved."""
    return _unresolved(environment, ("",))


def _unresolved(environment: Mapping[str, str], prefixes: tuple[str, ...]) -> list[str]:
    return [
        f"{name} is a Key Vault or App Configuration reference that Azure has not resolved. Check the "
        "reference, and that the app's identity may read what it names."
        for name, value in sorted(environment.items())
        if name.startswith(prefixes) and value.lstrip().startswith(_REFERENCES)
    ]


_REFERENCES = ("@Microsoft.KeyVault(", "@Microsoft.AppConfiguration(")
"""Azure leaves these in place of a value that it cannot read."""


class SettingsError(ValueError):
    """Missing or invalid settings. The message names all of them, and no value: it may be a secret."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__(" ".join(faults))
        self.faults = faults
