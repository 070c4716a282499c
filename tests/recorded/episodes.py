"""What was recorded from the real Durable extension: episodes of orchestrators, and a client's calls.

DurableTask extension 3.19.0 with its Azure Storage provider (on Azurite), Python worker 4.34, SDK 1.7,
against the ARM simulator. `episodes`: a fleet of four VMs that loses one and is cancelled.
`episodes-faults`: one that meets a size that is refused, roles refused at first and a lost answer,
and one whose experiment does not exist.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
FILES = ("episodes.jsonl.gz", "episodes-faults.jsonl.gz")


@dataclass(frozen=True)
class Episode:
    """One run of an orchestrator: the JSON text that the SDK got, and the one that it returned."""

    file: str
    number: int
    function: str
    input: str
    output: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.number} ({self.function} of {self.context['instanceId']})"

    @cached_property
    def context(self) -> dict[str, Any]:
        """`input`, parsed."""
        return dict(json.loads(self.input))


def episodes(*files: str) -> Iterator[Episode]:
    """The episodes in `files`, all by default, in the order in which they happened."""
    for file in files or FILES:
        with gzip.open(FOLDER / file, "rt") as lines:
            for number, line in enumerate(lines, 1):
                yield Episode(file, number, **json.loads(line))


def calls() -> list[dict[str, Any]]:
    """What a client asked, and was answered, in order: `note`, `method`, `path`, `body`, `status`,
    `headers`, `answer`."""
    return [json.loads(line) for line in (FOLDER / "client.jsonl").read_text().splitlines()]
