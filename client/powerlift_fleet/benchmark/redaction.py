"""Secrets in texts of an export, by known forms. Data that only looks like a secret is replaced too.

Each pattern begins where few texts do, or has a limit: a text of near matches takes linear time.
"""

from __future__ import annotations

import re

HIDDEN = "***"

_KEY = r"(?:api|access|account|private|functions)[_-]?key"
_WORD = rf"(?:secret|passw(?:or)?d|passphrase|pwd|token|credential|{_KEY})"
"""The end of a name."""
_NAME = rf"(?:{_WORD}|pass|sig)"
"""These too, where no prose looks like it."""
_QUOTED = r"\"(?:[^\"\\]|\\.)*\"?|'(?:[^'\\]|\\.)*'?"
"""Without its end, too: a text may be cut off."""
_ESCAPED = (
    r"(?P<escape>\\{1,7})(?P<quote>[\"'])"
    r"(?:(?!(?<!\\)(?P=escape)(?P=quote))[\s\S])*(?:(?P=escape)(?P=quote))?"
)
"""A text of JSON within JSON."""
_SECRETS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----)(?:[^-]|-(?!----))*(?:-----END [A-Z ]{0,40}-----)?",
        # The user and password of a URL. A password may contain @ and /; git@ is no secret.
        r"(://)(?!git@)(?:[^\s/\"'@:]{1,256}@|[^\s/\"'@:]{0,256}:(?!\d{1,5}/)[^\s\"']{0,1024}@)",
        # Of a SAS, a connection string, or an option of libpq.
        rf"({_NAME}\s*=\s*)(?:{_ESCAPED}|{_QUOTED}|[^\s&;,\"']+)",
        # A member of JSON, or of Python's repr.
        rf"({_NAME}\\{{0,7}}[\"']\s*:\s*)(?:{_ESCAPED}|{_QUOTED})",
        # Of a command, also as a list.
        rf"((?<![\w-])--[\w-]{{0,40}}{_WORD}(?:[ \t]+|[\"']\s*,\s*))(?:{_QUOTED}|[^\s\"',-][^\s\"',]*)",
        # Of YAML, or a header.
        rf"({_WORD}\s*:[ \t]*)(?:{_QUOTED}|[^\s\"',;]+)",
        r"(\bAuthorization\\?[\"']?\s*:[ \t]{0,9}\\?[\"']?(?:(?:Basic|Bearer)\s{1,9})?)[^\s\"',\\]+",
        r"(\bBearer\s+)[\w.~+/=-]{16,}",
        r"(#key=|[?&]code=)[^\s&\"']+",
        r"()\bgAAAAA[\w-]{60,}={0,2}",  # Fernet, with which the app seals secrets
        # GitHub's, Hugging Face's and OpenAI's.
        r"()(?<![a-z0-9])(?:gh[oprsu]_[a-z0-9]{20,}|github_pat_\w{20,}|hf_[a-z0-9]{20,}|sk-[\w-]{20,})",
        r"()(?<![\w-])eyJ[\w-]{5,}\.[\w-]{5,}(?:\.[\w-]*)?",  # a JWT
        r"()(?<![a-z0-9])A(?:KIA|SIA)[A-Z0-9]{16}(?![a-z0-9])",  # AWS
    )
)


def redacted(text: str) -> str:
    """The text with *** in place of credentials in URLs, SAS signatures, keys, tokens and passwords."""
    for pattern in _SECRETS:
        text = pattern.sub(_replacement, text)
    return text


def _replacement(match: re.Match[str]) -> str:
    if match[1] == "://":
        return f"{match[1]}{HIDDEN}@"
    opened = re.match(r"\\*[\"']", match[0].removeprefix(match[1]))
    quote = opened[0] if opened else ""
    return f"{match[1]}{quote}{HIDDEN}{quote}"
