"""Secrets in texts of an export, by their form. Data that only looks like a secret is replaced too.

Lengths are limited, so that a text of near matches takes linear time.
"""

from __future__ import annotations

import re

HIDDEN = "***"

_NAME = r"[\w-]{0,40}(?:secret|passw(?:or)?d|pwd|token|credential|api_?key|access_?key|account_?key|sig)"
_SECRETS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # The user and password of a URL. A password may contain @ and /; git@ is no secret.
        r"(://)(?!git@)(?:[^\s/\"'@:]{1,256}@|[^\s/\"'@:]{0,256}:(?!\d{1,5}/)[^\s\"']{0,1024}@)",
        # Of a SAS, a connection string, or an option of libpq.
        rf"(\b{_NAME}\s*=\s*)(?:'[^']*'|\"[^\"]*\"|[^\s&;,\"']+)",
        # A member of JSON, or of Python's repr.
        rf"([\"']{_NAME}[\"']\s*:\s*)(?:\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')",
        r"(\bBearer\s+)[\w.~+/=-]{16,}",
        r"(#key=|[?&]code=)[^\s&\"']+",
        r"()\bgAAAAA[\w-]{60,}={0,2}",  # Fernet, with which the app seals secrets
    )
)


def redacted(text: str) -> str:
    """The text with *** in place of credentials in URLs, SAS signatures, keys, tokens and passwords."""
    for pattern in _SECRETS:
        text = pattern.sub(_replacement, text)
    return text


def _replacement(match: re.Match[str]) -> str:
    quoted = match[0].removeprefix(match[1])[:1]
    if match[1] == "://":
        return f"{match[1]}{HIDDEN}@"
    return match[1] + (f"{quoted}{HIDDEN}{quoted}" if quoted in ("'", '"') else HIDDEN)
