"""The permissions API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.local.azure.driver import GROUP, ROLE_API, Driver, code, serve, until


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """A simulator with an application that is only Contributor of its resource group."""
    service, driver = serve(tmp_path_factory.mktemp("limited"), "--machines", "none")
    me = driver.ready["client_object_id"]
    (owner,) = assignments(driver)
    assert driver.put_role(driver.group, me).status_code == 201
    until(lambda: len(permissions(driver, driver.group)) == 2)
    assert driver.send("DELETE", owner["id"], api=ROLE_API).status_code == 200
    yield driver
    service.stop()


def permissions(azure: Driver, scope: str) -> list[dict[str, Any]]:
    path = f"{scope}/providers/Microsoft.Authorization/permissions"
    return list(azure.send("GET", path, api=ROLE_API).json()["value"])


def assignments(azure: Driver) -> list[dict[str, Any]]:
    path = f"{azure.subscription}/providers/Microsoft.Authorization/roleAssignments"
    return list(azure.send("GET", path, api=ROLE_API).json()["value"])


def test_the_owner_may_do_everything(azure: Driver) -> None:
    assert permissions(azure, azure.group) == [
        {"actions": ["*"], "notActions": [], "dataActions": [], "notDataActions": []}
    ]


def test_the_sdk_lists_the_permissions_of_a_group(limited: Driver) -> None:
    found = list(limited.authorization().permissions.list_for_resource_group(GROUP))

    assert [one.not_actions for one in found] == [
        [
            "Microsoft.Authorization/*/Delete",
            "Microsoft.Authorization/*/Write",
            "Microsoft.Authorization/elevateAccess/Action",
        ]
    ]


def test_a_role_applies_below_its_scope(limited: Driver) -> None:
    assert len(permissions(limited, limited.make_nic())) == 1


def test_a_role_applies_to_a_resource_of_another_provider(limited: Driver) -> None:
    storage = f"{limited.group}/providers/Microsoft.Storage/storageAccounts/one"

    assert len(permissions(limited, storage)) == 1


def test_a_role_does_not_apply_above_its_scope(limited: Driver) -> None:
    path = f"{limited.subscription}/providers/Microsoft.Authorization/permissions"

    answer = limited.send("GET", path, api=ROLE_API)

    assert (answer.status_code, code(answer)) == (403, "AuthorizationFailed")


def test_other_actions_are_rejected(limited: Driver) -> None:
    answer = limited.put_role(limited.group, limited.ready["client_object_id"])

    assert (answer.status_code, code(answer)) == (403, "AuthorizationFailed")
