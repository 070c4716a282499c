"""What the deployment says: the app's settings, read from the environment."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

PUBLIC_CLOUD = "https://management.azure.com"


@dataclass(frozen=True, slots=True)
class Settings:
    """The app's settings. Names are the environment's; azure-identity reads the AZURE_* ones too.

    Secrets are kept out of `repr`, so that no traceback or log shows them.
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
    """Azure's refill of a principal's bucket of writes (10): how fast a fleet may create."""
    retention_days: float
    """How long an ended fleet's histories, VM records and logs are kept."""
    prices: Mapping[str, float]
    """US dollars an hour by VM size, in lower case: see `fleet.api.progress.price_of`."""
    owner: str
    """Which deployment made a resource: one app's sweep leaves alone what another looks after.

    FLEET_OWNER; else the site's name in Azure, or a digest of the sealing key, with the slot and
    the task hub: no two deployments share it by accident.
    """

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read the settings. Raises SettingsError naming every setting that cannot be used."""
        faults: list[str] = []

        def positive(name: str, default: float, unit: str) -> float:
            text = environment.get(name) or str(default)
            try:
                value = float(text)
            except ValueError:
                value = 0.0
            if not value > 0:
                faults.append(f"{name} is {text!r}; it must be a number of {unit} above 0.")
            return value

        endpoint = environment.get("AZURE_RESOURCE_MANAGER_ENDPOINT") or PUBLIC_CLOUD
        if not endpoint.startswith("https://"):
            faults.append("AZURE_RESOURCE_MANAGER_ENDPOINT must start with https://.")
        keys = tuple(
            filter(None, environment.get("FLEET_SEALING_KEY", "").replace(" ", "").split(","))
        )
        if not keys:
            faults.append(
                "FLEET_SEALING_KEY is not set. Make one: python -c 'from cryptography.fernet "
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
            boot_poll_seconds=positive("FLEET_BOOT_POLL_SECONDS", 5, "seconds"),
            run_poll_seconds=positive("FLEET_RUN_POLL_SECONDS", 30, "seconds"),
            writes_per_second=positive("FLEET_WRITES_PER_SECOND", 10, "seconds"),
            retention_days=positive("FLEET_RETENTION_DAYS", 30, "days"),
            prices=_prices(environment.get("FLEET_PRICES") or "{}", faults),
            owner=_owner(environment, keys),
        )
        if faults:
            raise SettingsError(faults)
        return settings


def _prices(text: str, faults: list[str]) -> dict[str, float]:
    try:
        named = dict(json.loads(text))
        prices = {str(size).lower(): float(price) for size, price in named.items()}
    except (TypeError, ValueError):
        prices = {"": -1.0}
    if not all(0 <= price < math.inf for price in prices.values()):
        faults.append(
            "FLEET_PRICES must be a JSON object of US dollars an hour by VM size: "
            '{"Standard_D2s_v5": 0.096, "Standard_D2s_v5 Spot": 0.019}.'
        )
    return prices


def _owner(environment: Mapping[str, str], keys: tuple[str, ...]) -> str:
    # The oldest key: it is the last to change when keys are rotated.
    digest = "key-" + hashlib.sha256("".join(keys[-1:]).encode()).hexdigest()[:12]
    site = environment.get("WEBSITE_SITE_NAME") or digest
    slot, hub = environment.get("WEBSITE_SLOT_NAME"), environment.get("TASKHUB_NAME")
    return environment.get("FLEET_OWNER") or "/".join(filter(None, (site, slot, hub)))


class SettingsError(ValueError):
    """Settings that cannot be used; the message lists every one of them."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__(" ".join(faults))
        self.faults = faults
