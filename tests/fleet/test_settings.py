"""The deployment's settings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import requests

from fleet.settings import Settings, SettingsError, database_root_cert, schedule_faults
from local.stack import Stack
from tests.harness import Api

REQUIRED = {"FLEET_SEALING_KEY": "k", "POWERLIFT_DB_URI": "postgresql://me@host/powerlift"}


def test_prices_are_found_ignoring_case():
    settings = Settings.read({**REQUIRED, "FLEET_PRICES": '{"Standard_D2s_v5 Spot": 0.019}'})
    assert settings.prices == {"standard_d2s_v5 spot": 0.019}


def test_prices_are_optional():
    assert Settings.read(REQUIRED).prices == {}


@pytest.mark.parametrize(
    ("environment", "limits"),
    [
        ({}, []),
        ({"FLEET_ALLOWED_SIZES": "Standard_D*_v5, *"}, []),
        (
            {"FLEET_ALLOWED_SIZES": "Standard_D*_v5", "FLEET_MAX_COST": "9"},
            ["FLEET_ALLOWED_SIZES", "FLEET_MAX_COST"],
        ),
    ],
)
def test_settings_that_limit_vm_sizes_are_listed(environment: dict[str, str], limits: list[str]):
    assert Settings.read({**REQUIRED, **environment}).policy.size_limits() == limits


@pytest.mark.parametrize(
    "text", ["0.1", "[1]", "{", '{"a": "much"}', '{"a": -1}', '{"a": Infinity}', '{"a": null}']
)
def test_invalid_prices_are_reported(text: str):
    with pytest.raises(SettingsError, match="FLEET_PRICES"):
        Settings.read({**REQUIRED, "FLEET_PRICES": text})


@pytest.mark.parametrize("text", ["vms", "/subscriptions/s/resourceGroups/g", "/x'; id #"])
def test_an_invalid_identity_of_vms_is_reported(text: str):
    with pytest.raises(SettingsError, match="FLEET_VM_IDENTITY must be the ARM ID"):
        Settings.read({**REQUIRED, "FLEET_VM_IDENTITY": text})


def test_root_certificates_are_found_without_a_setting():
    assert "BEGIN CERTIFICATE" in Path(database_root_cert({})).read_text()


def test_all_faults_are_reported_together():
    wrong = {"FLEET_PRICES": "?", "FLEET_BOOT_POLL_SECONDS": "0"}
    with pytest.raises(SettingsError) as raised:
        Settings.read(wrong)
    assert len(raised.value.faults) == 4


@pytest.mark.parametrize("name", ["FLEET_RUN_POLL_SECONDS", "FLEET_PRICES", "FLEET_SEALING_KEY",
    "AZURE_RESOURCE_MANAGER_ENDPOINT", "POWERLIFT_DB_URI", "AZURE_CLIENT_SECRET"])  # fmt: skip
def test_the_setting_of_an_invalid_value_is_named_and_the_value_hidden(name: str):
    reference = "@Microsoft.KeyVault(SecretUri=https://hidden.vault.azure.net/secrets/s3cr3t)"
    with pytest.raises(SettingsError, match=name) as raised:
        Settings.read({**REQUIRED, name: reference})
    assert "s3cr3t" not in str(raised.value)


@pytest.mark.parametrize("value", ["0", "-1", "s3cr3t", "nan", "inf"])
def test_the_setting_of_an_invalid_interval_is_named_and_the_value_hidden(value: str):
    with pytest.raises(SettingsError, match="FLEET_RUN_POLL_SECONDS must be a number") as raised:
        Settings.read({**REQUIRED, "FLEET_RUN_POLL_SECONDS": value})
    assert repr(value) not in str(raised.value)


SCHEDULES = ("FLEET_SWEEP_SCHEDULE", "FLEET_PURGE_SCHEDULE", "FLEET_WEBHOOK_SCHEDULE")


@pytest.mark.parametrize("text", [
    "0 */5 * * * *", "*/20 * * * * *", "30 * * * *", "0 0 0 1 1 *", "0 0 0 31 December 0,sunday",
    " 0  0,30 9-17/2 1-7 jan-Jun Mon-FRI ", "00:05:00", "23:30",
    "1.00:00:00", "%SCHEDULE%",
])  # fmt: skip
def test_a_valid_schedule_is_accepted(text: str):
    assert schedule_faults(dict.fromkeys(SCHEDULES, text)) == []


@pytest.mark.parametrize("text", [
    "s3cr3t", "* * * *", "* * * * * * *", "60 * * * * *", "* * 24 * * *", "* * * 0 * *", "* * * * 13 *",
    "* * * * * 8", "* * * * * moon", "*/0 * * * * *", "* * * * *,", "1- * * * * *", "*** * * * *",
    "24:00:00", "5m",
])  # fmt: skip
def test_the_setting_of_an_invalid_schedule_is_named_and_the_value_hidden(text: str):
    faults = schedule_faults(dict.fromkeys(SCHEDULES, text))
    begin = [fault.partition(" must be an NCRONTAB")[0] for fault in faults]
    assert (begin, "s3cr3t" in str(faults)) == ([*SCHEDULES], False)


def test_an_invalid_schedule_stops_only_its_timer():
    Settings.read({**REQUIRED, **dict.fromkeys(SCHEDULES, "5m")})


@pytest.mark.parametrize("name", REQUIRED)
def test_a_required_setting_that_is_empty_is_named(name: str):
    with pytest.raises(SettingsError, match=f"{name} is not set"):
        Settings.read({**REQUIRED, name: ""})


@pytest.mark.parametrize(
    "name", ["TASKHUB_NAME", "WEBSITE_SLOT_NAME", "WEBSITE_SITE_NAME", "FLEET_SEALING_KEY"]
)
def test_two_deployments_with_one_fleet_owner_have_different_owners(name: str):
    one, other = (
        Settings.read({**REQUIRED, "FLEET_OWNER": "team", name: value}).owner for value in "ab"
    )
    assert one != other
    assert one.startswith("team/")


def test_settings_are_parsed_once_per_environment():
    environment = dict(REQUIRED)
    first, second = Settings.read(environment), Settings.read(environment)
    environment["FLEET_OWNER"] = "another"
    assert (second is first, Settings.read(environment).owner == first.owner) == (True, False)


def test_the_owner_is_unchanged_while_the_sealing_key_rotates():
    owners = [Settings.read({**REQUIRED, "FLEET_SEALING_KEY": key}).owner for key in ("k", "l,k")]
    assert owners[0] == owners[1]


PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
ROLE = "0d4ad3f5-52f9-4a9b-8d6b-1f7f5a0b9e21"
ROLE_TYPE = "/providers/Microsoft.Authorization/roleDefinitions"


@pytest.mark.parametrize("prefix", ["", f"{ROLE_TYPE}/", f"/subscriptions/s{ROLE_TYPE}/"])
def test_the_vms_role_is_a_guid_or_a_full_id(prefix: str):
    settings = Settings.read({**REQUIRED, "FLEET_VM_ROLE": prefix + ROLE.upper()})
    assert settings.vm_role == ROLE


def test_by_default_a_vm_is_contributor_at_itself():
    assert Settings.read(REQUIRED).vm_role == "b24988ac-6180-42a0-ab88-20f7382dd24c"


@pytest.mark.parametrize("text", ["Contributor", f"x/{ROLE}", f"{ROLE} ", f"{ROLE_TYPE}/{ROLE}/x"])
def test_an_invalid_role_of_the_vms_is_reported(text: str):
    with pytest.raises(SettingsError, match="FLEET_VM_ROLE must be the GUID"):
        Settings.read({**REQUIRED, "FLEET_VM_ROLE": text})


SHORT_ENOUGH = ("FLEET_OWNER", "FLEET_VM_DB_USER")
"""Settings that may have any text."""


@pytest.mark.parametrize("name", sorted(
    set(re.findall(r"FLEET_[A-Z_]+", PAGE.read_text())) - {*SHORT_ENOUGH}
))  # fmt: skip
def test_no_error_quotes_the_value_of_a_setting(name: str):
    """It may be a secret that was pasted into the wrong field."""
    environment = {**REQUIRED, name: "hunter2 /?"}
    try:
        Settings.read(environment)
        reason = ""
    except SettingsError as error:
        reason = str(error)
    assert "hunter2" not in reason


def test_an_owner_too_long_for_a_tag_is_reported():
    with pytest.raises(SettingsError, match="FLEET_OWNER is too long"):
        Settings.read({**REQUIRED, "FLEET_OWNER": "x" * 257})


@pytest.mark.long
def test_an_app_without_its_database_rejects_requests(tmp_path: Path):
    settings = {"POWERLIFT_DB_URI": ""}
    with Stack(tmp_path, machines="none", app_settings=settings) as stack:
        submitted = Api(stack).post({"experiment_id": 1, "n_instances": 1, "uri": stack.db_uri})
        health = requests.get(f"{stack.url}/api/health", timeout=30)
    assert (submitted.status_code, "POWERLIFT_DB_URI" in submitted.json()["detail"]) == (503, True)
    # The route is anonymous, so it has no details.
    assert (health.status_code, health.json(), "Retry-After" in health.headers) == (
        503,
        {"status": "unavailable"},
        True,
    )
