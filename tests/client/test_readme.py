"""The README lists the package's errors, methods and arguments."""

from __future__ import annotations

import inspect
import re

import powerlift_fleet as fleets
import pytest
from powerlift_fleet import AsyncFleetClient, AzureVMFleet, FleetClient

from local.stack import REPOSITORY

README = (REPOSITORY / "client" / "README.md").read_text()
CODE = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def methods(kind: type) -> dict[str, list[str]]:
    """Public methods, with the names of their parameters."""
    functions = inspect.getmembers(kind, inspect.isfunction)
    return {
        name: list(inspect.signature(function).parameters)
        for name, function in functions
        if not name.startswith("_")
    }


def test_the_readme_lists_every_error() -> None:
    errors = [name for name in fleets.__all__ if name.startswith("Fleet") or "Error" in name]
    assert [name for name in errors if f"`{name}`" not in README and name != "FleetEnded"] == [
        "FleetClient"
    ]


def test_the_readme_lists_every_method_of_the_client() -> None:
    assert [name for name in methods(FleetClient) if f"`{name}(" not in README] == ["close"]


def test_both_clients_have_the_same_methods() -> None:
    assert methods(AsyncFleetClient) == methods(FleetClient)


def test_the_readme_lists_every_argument_that_powerlift_lacks() -> None:
    parameters = inspect.signature(AzureVMFleet).parameters.values()
    ours = [one.name for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY]
    assert [name for name in ours if f"`{name}`" not in README] == ["client"]


@pytest.mark.parametrize("code", CODE)
def test_the_readmes_code_compiles_and_its_imports_exist(code: str) -> None:
    compile(code, "README.md", "exec")
    exec("\n".join(re.findall(r"^from powerlift.*", code, re.MULTILINE)), {})
