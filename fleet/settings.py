"""The app's settings, read from environment variables."""

from __future__ import annotations

import hashlib
import json
import math
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

import certifi

PUBLIC_CLOUD = "https://management.azure.com"


@dataclass(frozen=True, slots=True)
class Settings:
    """The app's settings. azure-identity also reads the AZURE_* variables.

    `repr` omits secrets, which keeps them out of tracebacks and logs.
    """

    subscription_id: str | None
    resource_group: str | None
    tenant_id: str | None
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
    """US dollars per hour by lower-case key: see `fleet.api.progress.price_of`."""
    owner: str
    """Identifies the deployment that owns a resource, so that sweeps ignore each other's resources.

    FLEET_OWNER; by default the Azure site name, else a digest of the sealing key, plus slot and task
    hub, which makes it unique.
    """

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read the settings. Raises SettingsError with every missing or invalid setting."""
        faults: list[str] = []

        def positive(name: str, default: float) -> float:
            text = environment.get(name) or str(default)
            try:
                value = float(text)
            except ValueError:
                value = 0.0
            if not value > 0:
                faults.append(f"{name} must be a number above 0, not {text!r}.")
            return value

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
        settings = cls(
            subscription_id=environment.get("AZURE_SUBSCRIPTION_ID") or None,
            resource_group=environment.get("AZURE_RESOURCE_GROUP") or None,
            tenant_id=environment.get("AZURE_TENANT_ID") or None,
            authority=environment.get("AZURE_AUTHORITY_HOST") or None,
            resource_manager_endpoint=endpoint.rstrip("/"),
            database_uri=database_uri,
            sealing_keys=keys,
            boot_poll_seconds=positive("FLEET_BOOT_POLL_SECONDS", 5),
            run_poll_seconds=positive("FLEET_RUN_POLL_SECONDS", 30),
            writes_per_second=positive("FLEET_WRITES_PER_SECOND", 10),
            retention_days=positive("FLEET_RETENTION_DAYS", 30),
            prices=_prices(environment.get("FLEET_PRICES") or "{}", faults),
            owner=_owner(environment, keys),
        )
        if faults:
            raise SettingsError(faults)
        return settings


def database_root_cert(environment: Mapping[str, str] = os.environ) -> str:
    """The file of the root certificates that database servers are verified with.

    FLEET_DB_ROOT_CERT, else the system's, which psycopg2's own OpenSSL does not find, else Mozilla's. No
    fault of the settings if it is missing: without databases, VMs are still deleted.
    """
    system = ssl.get_default_verify_paths().cafile
    return environment.get("FLEET_DB_ROOT_CERT") or system or certifi.where()


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


def _owner(environment: Mapping[str, str], keys: tuple[str, ...]) -> str:
    # The last key, because rotation changes it last.
    digest = "key-" + hashlib.sha256("".join(keys[-1:]).encode()).hexdigest()[:12]
    site = environment.get("WEBSITE_SITE_NAME") or digest
    slot, hub = environment.get("WEBSITE_SLOT_NAME"), environment.get("TASKHUB_NAME")
    return environment.get("FLEET_OWNER") or "/".join(filter(None, (site, slot, hub)))


class SettingsError(ValueError):
    """Missing or invalid settings; the message lists all of them."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__(" ".join(faults))
        self.faults = faults
