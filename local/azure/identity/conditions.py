"""Conditions of role assignments: the part of Azure's language that limits assigning roles.

The grammar and the attributes are those of learn.microsoft.com, "Azure role assignment condition format"
and "Authorization actions and attributes". An unknown attribute or operator is refused, never ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from local.azure.arm.errors import ArmError
from local.azure.arm.resources import Json

Source = Mapping[str, str]
"""RoleDefinitionId (a GUID), PrincipalId and PrincipalType of a role assignment."""
Sources = Mapping[str, Source]
"""`Request` for what is written, `Resource` for what is deleted; an absent one makes its terms false."""
_Test = Callable[[str, Sources], bool]

_TOKEN = re.compile(
    r"\s*(?:(?P<word>AND|OR)\b|(?P<mark>&&|\|\||[!()])|(?P<action>ActionMatches\s*\{[^}]*\})"
    r"|(?P<term>@\w+\[[^\]]+\]\s+[\w:]+\s*\{[^}]*\}))"
)
_TERM = re.compile(
    r"@(Request|Resource)\[Microsoft\.Authorization/roleAssignments:"
    r"(RoleDefinitionId|PrincipalId|PrincipalType)\]\s+ForAnyOfAnyValues:"
    r"(?:GuidEquals|StringEqualsIgnoreCase)\s*\{([^}]*)\}"
)


def source_of(properties: Json) -> Source:
    """The attributes of a role assignment's properties."""
    return {
        "RoleDefinitionId": str(properties["roleDefinitionId"]).rpartition("/")[2],
        "PrincipalId": str(properties["principalId"]),
        "PrincipalType": str(properties.get("principalType") or ""),
    }


class Condition:
    """A parsed condition. Raises ArmError 400 for text that Azure would not accept."""

    def __init__(self, text: str) -> None:
        self._text, self._tokens = text, list(self._split(text))
        self._test = self._any()
        if self._tokens:
            raise self._invalid(self._tokens[0])

    def allows(self, action: str, sources: Sources) -> bool:
        """Whether the condition is true for an action."""
        return self._test(action, sources)

    def _any(self) -> _Test:
        tests = [self._all()]
        while self._take("OR", "||"):
            tests.append(self._all())
        return lambda action, sources: any(test(action, sources) for test in tests)

    def _all(self) -> _Test:
        tests = [self._one()]
        while self._take("AND", "&&"):
            tests.append(self._one())
        return lambda action, sources: all(test(action, sources) for test in tests)

    def _one(self) -> _Test:
        if self._take("!"):
            inner = self._one()
            return lambda action, sources: not inner(action, sources)
        if self._take("("):
            inner = self._any()
            if not self._take(")"):
                raise self._invalid("a missing parenthesis")
            return inner
        if not self._tokens:
            raise self._invalid("its end")
        return self._leaf(self._tokens.pop(0))

    def _leaf(self, token: str) -> _Test:
        if token.startswith("ActionMatches"):
            (pattern,) = _values(token)
            return lambda action, sources: action.lower() == pattern.lower()
        match = _TERM.fullmatch(token)
        if match is None:
            raise self._invalid(token)
        source, attribute, _ = match.groups()
        wanted = {value.lower() for value in _values(token)}
        return lambda action, sources: sources.get(source, {}).get(attribute, "").lower() in wanted

    def _take(self, *tokens: str) -> bool:
        found = bool(self._tokens) and self._tokens[0] in tokens
        if found:
            del self._tokens[0]
        return found

    def _split(self, text: str) -> Iterator[str]:
        at, end = 0, len(text.rstrip())
        while at < end:
            match = _TOKEN.match(text, at)
            if match is None:
                raise self._invalid(text[at : at + 40])
            yield next(part for part in match.groups() if part is not None)
            at = match.end()

    def _invalid(self, near: str) -> ArmError:
        # Code and message are a guess.
        return ArmError(400, "InvalidCondition", f"The condition is not valid near {near!r}.")


def parse_condition(properties: Json) -> Condition | None:
    """The condition of a role assignment's properties; None without one. Raises ArmError 400."""
    text = properties.get("condition")
    if not text:
        return None
    if properties.get("conditionVersion") != "2.0":
        raise ArmError(400, "InvalidConditionVersion", "The condition version must be 2.0.")
    return Condition(str(text))


def _values(token: str) -> list[Any]:
    inner = token[token.index("{") + 1 : token.rindex("}")]
    return [one.strip().strip("'") for one in inner.split(",")]
