"""What the benchmarks share: their command lines, stacks and tables."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.table import Table

from local.stack import Stack

_NEVER = "0 0 0 1 1 *"


def make_parser(description: str | None) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


@contextmanager
def new_stack(settings: Mapping[str, str] | None = None, **options: Any) -> Iterator[Stack]:
    """A stack with nothing inside the VMs. Unless `settings` say otherwise, neither sweep nor purge
    runs, so that their requests are not counted.
    """
    timers = {"FLEET_SWEEP_SCHEDULE": _NEVER, "FLEET_PURGE_SCHEDULE": _NEVER}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)  # of root, PostgreSQL runs as another user
        settings = {**timers, **(settings or {})}
        with Stack(Path(folder), machines="none", app_settings=settings, **options) as stack:
            yield stack


def make_table(title: str, first: str, *numbers: str) -> Table:
    """A table whose columns after the first are right-aligned."""
    table = Table(first, title=title)
    for heading in numbers:
        table.add_column(heading, justify="right")
    return table
