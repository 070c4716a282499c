"""Conditions of role assignments."""

from __future__ import annotations

import pytest

from local.azure.arm.errors import ArmError
from local.azure.identity.conditions import Condition

WRITE, DELETE = (f"Microsoft.Authorization/roleAssignments/{verb}" for verb in ("write", "delete"))
A, B = "b24988ac-6180-42a0-ab88-20f7382dd24c", "acdd72a7-3385-48ef-bd42-f606fba81ae7"


def term(source: str, attribute: str, operator: str, *values: str) -> str:
    name = f"Microsoft.Authorization/roleAssignments:{attribute}"
    return f"@{source}[{name}] ForAnyOfAnyValues:{operator} {{{', '.join(values)}}}"


ROLE = term("Request", "RoleDefinitionId", "GuidEquals", A)
TYPE = term("Request", "PrincipalType", "StringEqualsIgnoreCase", "'ServicePrincipal'", "'Group'")
DELETED = term("Resource", "RoleDefinitionId", "GuidEquals", A)
LIMITED = f"""
(
 (!(ActionMatches{{'{WRITE}'}}))
 OR
 ({ROLE} AND {TYPE})
)
AND ((!(ActionMatches{{'{DELETE}'}})) OR ({DELETED}))
"""


@pytest.mark.parametrize(
    ("action", "sources", "allowed"),
    [
        (WRITE, {"Request": {"RoleDefinitionId": A, "PrincipalType": "ServicePrincipal"}}, True),
        (WRITE, {"Request": {"RoleDefinitionId": A.upper(), "PrincipalType": "group"}}, True),
        (WRITE, {"Request": {"RoleDefinitionId": B, "PrincipalType": "ServicePrincipal"}}, False),
        (WRITE, {"Request": {"RoleDefinitionId": A, "PrincipalType": "User"}}, False),
        (WRITE, {"Resource": {"RoleDefinitionId": A, "PrincipalType": "Group"}}, False),
        (DELETE, {"Resource": {"RoleDefinitionId": A}}, True),
        (DELETE, {"Resource": {"RoleDefinitionId": B}}, False),
        (DELETE, {}, False),
        ("Microsoft.Authorization/roleAssignments/read", {}, True),
    ],
)
def test_a_condition_is_evaluated(action: str, sources: dict[str, dict[str, str]], allowed: bool):
    assert Condition(LIMITED).allows(action, sources) is allowed


def test_and_binds_tighter_than_or():
    request = {"Request": {"RoleDefinitionId": A, "PrincipalType": "User"}}
    assert Condition(f"{ROLE} OR {ROLE} AND {TYPE}").allows(WRITE, request)
    assert not Condition(f"({ROLE} || {ROLE}) && {TYPE}").allows(WRITE, request)


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "(",
        f"({ROLE}",
        f"{ROLE} {ROLE}",
        f"{ROLE} AND",
        ROLE.replace("GuidEquals", "NoSuchOperator"),
        ROLE.replace("RoleDefinitionId", "NoSuchAttribute"),
    ],
)
def test_an_invalid_condition_is_refused(text: str):
    with pytest.raises(ArmError, match="InvalidCondition"):
        Condition(text)
