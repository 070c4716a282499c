"""The host's log: one line per record, to standard output."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

from local.functions.invoke import running_function

# Verbose at INFO, or log URLs that contain keys.
_QUIET = ("azure", "aiohttp", "asyncio", "urllib3")


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Time, level, category, message; then an indented traceback."""
        function = running_function.get()
        category = record.name
        if function and not category.startswith("local.functions"):
            category = f"Function.{function}.User"
        stamp = (
            datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        )
        message = record.getMessage().replace("\n", "\n    ")
        line = f"{stamp} {record.levelname:<7} {category}: {message}"
        if record.exc_info:
            trace = self.formatException(record.exc_info)
            line += "\n    " + trace.replace("\n", "\n    ")
        return line


def configure() -> None:
    """Log to standard output at INFO."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Formatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
