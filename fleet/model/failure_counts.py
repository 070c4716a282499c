"""The failures of a fleet, counted by code."""

from __future__ import annotations

from dataclasses import dataclass, field

from typing_extensions import TypedDict

from fleet.model.failure import shorten
from fleet.model.records import Failure

SHOWN_CHARACTERS = 240
"""Maximum characters of a message: the custom status contains several, and is limited to 16 KB."""


class FailureCount(TypedDict):
    """The failures with one code. All but the count are of the latest."""

    count: int
    message: str
    action: str
    """What the fleet did about it."""
    advice: str


@dataclass
class FailureCounts:
    by_code: dict[str, FailureCount] = field(default_factory=dict)

    def add(self, failure: Failure, action: str) -> None:
        """Count a failure. `action` completes the sentence "The fleet …"."""
        code = failure["code"]
        self.by_code[code] = {
            "count": self.count(code) + 1,
            "message": shorten(failure["message"], SHOWN_CHARACTERS),
            "action": action,
            "advice": failure["advice"],
        }

    def count(self, code: str) -> int:
        return self.by_code[code]["count"] if code in self.by_code else 0

    def most_frequent(self) -> list[tuple[str, FailureCount]]:
        return sorted(self.by_code.items(), key=lambda item: -item[1]["count"])
