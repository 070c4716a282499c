"""What the deployment says."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

from fleet.settings import Settings, SettingsError, database_root_cert
from local.stack import Stack
from tests.harness import Api

REQUIRED = {"FLEET_SEALING_KEY": "k", "POWERLIFT_DB_URI": "postgresql://me@host/powerlift"}


def test_prices_are_found_whatever_the_case():
    settings = Settings.read({**REQUIRED, "FLEET_PRICES": '{"Standard_D2s_v5 Spot": 0.019}'})
    assert settings.prices == {"standard_d2s_v5 spot": 0.019}


def test_without_prices_there_are_none():
    assert Settings.read(REQUIRED).prices == {}


@pytest.mark.parametrize(
    "text", ["0.1", "[1]", "{", '{"a": "much"}', '{"a": -1}', '{"a": Infinity}', '{"a": null}']
)
def test_invalid_prices_are_reported(text: str):
    with pytest.raises(SettingsError, match="FLEET_PRICES"):
        Settings.read({**REQUIRED, "FLEET_PRICES": text})


def test_root_certificates_are_found_without_a_setting():
    assert "BEGIN CERTIFICATE" in Path(database_root_cert({})).read_text()


def test_all_faults_are_reported_together():
    wrong = {"FLEET_PRICES": "?", "FLEET_BOOT_POLL_SECONDS": "0"}
    with pytest.raises(SettingsError) as raised:
        Settings.read(wrong)
    assert len(raised.value.faults) == 4


@pytest.mark.parametrize("name", REQUIRED)
def test_a_required_setting_that_is_empty_is_named(name: str):
    with pytest.raises(SettingsError, match=f"{name} is not set"):
        Settings.read({**REQUIRED, name: ""})


def test_an_app_without_its_database_takes_no_request(tmp_path: Path):
    settings = {"POWERLIFT_DB_URI": ""}
    with Stack(tmp_path, machines="none", app_settings=settings) as stack:
        submitted = Api(stack).post({"experiment_id": 1, "n_instances": 1, "uri": stack.db_uri})
        answers = [requests.get(f"{stack.url}/api/health", timeout=30), submitted]
    reported = [(one.status_code, "POWERLIFT_DB_URI" in one.json()["detail"]) for one in answers]
    assert reported == [(503, True)] * 2
