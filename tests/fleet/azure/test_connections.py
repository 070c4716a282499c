"""How many Azure clients a process keeps, and when it closes the others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from cryptography.fernet import Fernet

from fleet.azure.credentials import MAX_CONNECTIONS
from local.stack import REPOSITORY, Stack

ACCOUNT = ("subscription_id", "resource_group", "tenant_id", "client_id", "client_secret")


@pytest.fixture(scope="module")
def seen(stack: Stack) -> dict[str, Any]:
    settings = {"FLEET_SEALING_KEY": Fernet.generate_key().decode(), "POWERLIFT_DB_URI": "unused"}
    account = json.dumps({name: stack.arm[name] for name in ACCOUNT})
    output = subprocess.run(
        [sys.executable, "-m", "tests.fleet.azure.many_accounts", account],
        env={**os.environ, **stack.arm["env"], **settings},
        cwd=REPOSITORY,
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    return dict(json.loads(output))


def test_clients_beyond_the_limit_are_closed(seen: dict[str, Any]):
    assert seen["full"] >= MAX_CONNECTIONS
    assert seen["after"] <= seen["full"]
    assert seen["unclosed"] == []


def test_a_client_in_use_is_not_closed_when_it_is_evicted(stack: Stack, seen: dict[str, Any]):
    assert seen["evicted"]
    assert seen["answers"] == [stack.arm["resource_group"]] * 2
