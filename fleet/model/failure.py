"""A failure: what went wrong, why, and what a user can do, as a record that a history can hold.

Azure's own codes are rows of `fleet.azure.error_table`. The codes here are those that the app itself
decides on, about a VM that Azure had accepted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from fleet.model.records import Action, Failure

MESSAGE_LIMIT = 400
"""Characters of a message that are kept: a durable history holds one per attempt."""

HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of failure. An empty condition matches everything."""

    action: Action
    advice: str
    codes: frozenset[str] = frozenset()
    statuses: frozenset[int] = frozenset()
    text: re.Pattern[str] | None = None
    label: str = ""
    """Our own code, where Azure has one code for several things."""
    scope: str = ""
    cool_down: float = 0.0
    passing: bool = False

    def matches(self, code: str, status: int, message: str) -> bool:
        return (
            (not self.codes or code in self.codes)
            and (not self.statuses or status in self.statuses)
            and (self.text is None or bool(self.text.search(message)))
        )


def row(action: Action, codes: str = "", *, status: str = "", text: str = "", **more: Any) -> Row:
    """A row from space-separated codes and statuses."""
    return Row(
        action,
        more.pop("advice", ""),
        frozenset(codes.split()),
        frozenset(map(int, status.split())),
        re.compile(text, re.IGNORECASE) if text else None,
        **more,
    )


NO_REASON = "Azure accepted the VM and then could not start it."

SPOT_EVICTED = row(
    "move",
    "SpotEvicted",
    scope="location zone vm_size priority",
    cool_down=HOUR,
    passing=True,
    advice="Azure took the Spot VM back. List a fallback with priority Regular to be sure.",
)
VM_LOST = row(
    "move",
    "VmLost",
    advice="Look at the resource group's activity log; the VM's trial went back to the queue.",
)
NOT_PROVISIONED = row(
    "replace",
    "InternalExecutionError VMExtensionProvisioningError VMAgentStatusCommunicationError "
    "ProvisioningFailed BootTimedOut",
    advice="Azure could not bring the VM up; we ask for another.",
)


def vm_failure(code: str, message: str) -> Failure:
    """The failure of a VM that Azure had accepted, by a code that the app decided on."""
    return look_up((SPOT_EVICTED, VM_LOST, NOT_PROVISIONED), code, message)


def look_up(
    rows: Iterable[Row],
    code: str,
    message: str,
    *,
    status: int = 0,
    retry_after: float | None = None,
) -> Failure:
    """The failure that the first matching row describes. Raises StopIteration where none matches."""
    message = " ".join(message.split())
    found = next(row for row in rows if row.matches(code, status, message))
    if found.label:
        message = f"{code}: {message}"
    return {
        **failure(found.label or code, message, found.action, found.advice, retry_after),
        "scope": found.scope,
        "cool_down": found.cool_down,
        "passing": found.passing,
    }


class DescribedError(Exception):
    """An error of ours that says what follows from it. Its text holds no secret."""

    code: ClassVar[str]
    action: ClassVar[Action]
    advice: ClassVar[str]

    @property
    def failure(self) -> Failure:
        return failure(self.code, str(self), self.action, self.advice)


def failure(
    code: str, message: str, action: Action, advice: str, retry_after: float | None = None
) -> Failure:
    """A failure record, with its message cut to MESSAGE_LIMIT characters."""
    return {
        "code": code,
        "message": message[:MESSAGE_LIMIT],
        "action": action,
        "advice": advice,
        "retry_after": retry_after,
        "scope": "",
        "cool_down": 0.0,
        "passing": False,
    }
