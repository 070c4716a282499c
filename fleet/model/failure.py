"""Failure records: how they are built, and the app's own codes for VMs that Azure had accepted.

Azure's codes are rows of `fleet.azure.error_table`; what an action leads to is `failure_policy`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from fleet.model.records import Action, Failure

MESSAGE_LIMIT, UNRECOGNISED_LIMIT = 400, 900
"""Characters kept of a message: a durable history holds one per attempt. Azure's words for an error that
the table does not know are all that there is to go by; with the code, they fit a VM's record.
"""

HOUR = 3600.0
ELLIPSIS = "..."


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of failure. An empty condition matches everything."""

    action: Action
    advice: str
    codes: frozenset[str] = frozenset()
    statuses: frozenset[int] = frozenset()
    text: re.Pattern[str] | None = None
    label: str = ""
    """The app's own code, where Azure uses one code for several errors."""
    scope: str = ""
    cool_down: float = 0.0
    passing: bool = False

    @property
    def is_specific(self) -> bool:
        """Whether it has a condition."""
        return bool(self.codes or self.statuses or self.text)

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


CLIENT_REFUSED = "ClientPrincipalRefused"
"""The code of a client principal that Azure does not know."""
NO_REASON = "Azure accepted the VM, then failed to start it without giving a reason."

SPOT_EVICTED = row(
    "move",
    "SpotEvicted",
    scope="location zone vm_size priority",
    cool_down=HOUR,
    passing=True,
    advice="Azure evicted the Spot VM. To rule this out, list a fallback with priority Regular.",
)
VM_LOST = row(
    "move",
    "VmLost",
    advice="Check the resource group's activity log. The VM's trial was requeued.",
)
NOT_PROVISIONED = row(
    "replace",
    "InternalExecutionError VMExtensionProvisioningError VMAgentStatusCommunicationError "
    "ProvisioningFailed BootTimedOut",
    advice="Azure could not start the VM; a replacement was requested.",
)


def vm_failure(code: str, message: str) -> Failure:
    """A failure, with one of the codes above, of a VM that Azure had accepted."""
    return look_up((SPOT_EVICTED, VM_LOST, NOT_PROVISIONED), code, message)


def look_up(
    rows: Iterable[Row],
    code: str,
    message: str,
    *,
    status: int = 0,
    retry_after: float | None = None,
) -> Failure:
    """The failure described by the first matching row. Raises StopIteration if no row matches."""
    message = join([message])
    found = next(row for row in rows if row.matches(code, status, message))
    if found.label:
        message = f"{code}: {message}"
    limit = MESSAGE_LIMIT if found.is_specific else UNRECOGNISED_LIMIT
    return {
        **failure(found.label or code, message, found.action, found.advice, retry_after, limit),
        "scope": found.scope,
        "cool_down": found.cool_down,
        "passing": found.passing,
    }


def shorten(text: str, limit: int) -> str:
    """The text in at most `limit` characters. An ellipsis marks what is cut off."""
    return text if len(text) <= limit else text[: limit - len(ELLIPSIS)] + ELLIPSIS


def join(parts: Iterable[str]) -> str:
    """The parts in one line, in order, without those that another part contains."""
    lines = list(dict.fromkeys(" ".join(part.split()) for part in parts))
    return " ".join(
        line
        for at, line in enumerate(lines)
        if not any(line in other for place, other in enumerate(lines) if place != at)
    )


class DescribedError(Exception):
    """An error of the app that defines its own failure record. Its text contains no secret."""

    code: ClassVar[str]
    action: ClassVar[Action]
    advice: ClassVar[str]

    @property
    def failure(self) -> Failure:
        return failure(self.code, str(self), self.action, self.advice)


def failure(
    code: str,
    message: str,
    action: Action,
    advice: str,
    retry_after: float | None = None,
    limit: int = MESSAGE_LIMIT,
) -> Failure:
    """A failure record; its message is shortened to `limit` characters."""
    return {
        "code": code,
        "message": shorten(message, limit),
        "action": action,
        "advice": advice,
        "retry_after": retry_after,
        "scope": "",
        "cool_down": 0.0,
        "passing": False,
    }
