"""The command line, and what is kept between two starts."""

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


def test_machine_options_can_be_repeated(tmp_path: Path) -> None:
    argv = ["--state", str(tmp_path), "--machine-env", "A=1", "--machine-env", "B=x=y"]

    assert parse(argv).machine_env == {"A": "1", "B": "x=y"}


@pytest.mark.parametrize(
    "wrong", [["--time-scale", "0"], ["--machine-env", "A"], ["--machines", "x"]]
)
def test_wrong_options_end_the_program(tmp_path: Path, wrong: list[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--state", str(tmp_path), *wrong])


def test_state_directory_keeps_the_identity(tmp_path: Path) -> None:
    options = Options(state=tmp_path, machines="none")

    first, second = _ready(options), _ready(options)

    assert first["client_secret"] == second["client_secret"]
    assert (tmp_path / "identity.json").stat().st_mode & 0o077 == 0


def test_ids_follow_from_the_seed(tmp_path: Path) -> None:
    first = _ready(Options(state=tmp_path / "a", machines="none", seed=1))
    second = _ready(Options(state=tmp_path / "b", machines="none", seed=1))

    assert first["subscription_id"] == second["subscription_id"]
    assert first["client_secret"] != second["client_secret"]
