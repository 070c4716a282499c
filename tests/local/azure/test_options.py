"""The command line, and the state kept between starts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from local.azure.options import Options, parse
from local.azure.simulator import AzureSimulator


def _ready(options: Options) -> dict[str, Any]:
    async def start() -> dict[str, Any]:
        async with AzureSimulator(options) as simulator:
            return simulator.ready()

    return asyncio.run(start())


def test_vm_options_can_be_repeated(tmp_path: Path) -> None:
    argv = ["--state", str(tmp_path), "--machine-env", "A=1", "--machine-env", "B=x=y"]

    assert parse(argv).machine_env == {"A": "1", "B": "x=y"}


@pytest.mark.parametrize(
    "invalid", [["--time-scale", "0"], ["--machine-env", "A"], ["--machines", "x"]]
)
def test_invalid_options_are_rejected(tmp_path: Path, invalid: list[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--state", str(tmp_path), *invalid])


def test_state_directory_keeps_the_identity(tmp_path: Path) -> None:
    options = Options(state=tmp_path, machines="none")

    first, second = _ready(options), _ready(options)

    assert first["client_secret"] == second["client_secret"]
    assert (tmp_path / "identity.json").stat().st_mode & 0o077 == 0


def test_ids_are_derived_from_the_seed(tmp_path: Path) -> None:
    first = _ready(Options(state=tmp_path / "a", machines="none", seed=1))
    second = _ready(Options(state=tmp_path / "b", machines="none", seed=1))

    assert first["subscription_id"] == second["subscription_id"]
    assert first["client_secret"] != second["client_secret"]
