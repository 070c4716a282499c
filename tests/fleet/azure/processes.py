"""Runs a module of this folder as the app's worker would: in a process of its own, with its settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from cryptography.fernet import Fernet

from local.stack import REPOSITORY, Stack

ACCOUNT = ("subscription_id", "resource_group", "tenant_id", "client_id", "client_secret")


def output_of(module: str, stack: Stack) -> dict[str, Any]:
    """The JSON that a module prints; its argument is the stack's Azure account."""
    settings = {"FLEET_SEALING_KEY": Fernet.generate_key().decode(), "POWERLIFT_DB_URI": "unused"}
    account = json.dumps({name: stack.arm[name] for name in ACCOUNT})
    output = subprocess.run(
        [sys.executable, "-m", f"tests.fleet.azure.{module}", account],
        env={**os.environ, **stack.arm["env"], **settings},
        cwd=REPOSITORY,
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    return dict(json.loads(output))
