"""A lock of packages: exact versions and their hashes, as `uv pip compile` writes them."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator

LONGEST_LOCK = 400_000
"""Characters. 300 packages with 20 files each have half as many."""
MAX_FAULTS = 20

TOOLS = ("powerlift", "psycopg", "psycopg2-binary", "setuptools")
"""What every VM needs, whatever an experiment installs: `fleet/vm/requirements.in`."""

_NAME = r"[A-Za-z0-9](?:[-_.A-Za-z0-9]*[A-Za-z0-9])?"
_MARKER = r"(?: ?; ?[A-Za-z0-9_ .'\"()<>=!]+)?"
_PINNED = rf"{_NAME}(?:\[[-_.,A-Za-z0-9]+\])?==[A-Za-z0-9][-+!._A-Za-z0-9]*{_MARKER}"
# No credentials: a lock is shown to everyone who may read the fleet.
_HOST, _PATH = r"[a-z]+://(?:git@)?[-.:A-Za-z0-9]*/", r"[-._~/%+=A-Za-z0-9]+"
_URL = rf"{_NAME} @ (?:git\+{_HOST}{_PATH}@[0-9a-f]{{40}}|{_HOST}{_PATH})(?:#[-=&:._/A-Za-z0-9]+)?"
_WHEEL = r"wheels/[-+._A-Za-z0-9]+\.whl"
_REQUIREMENT = rf"(?:{_PINNED}|{_URL}|{_WHEEL})"
_HASH = r"--hash=sha256:[0-9a-f]{64}"
_ENTRY = re.compile(rf"({_REQUIREMENT})((?: {_HASH})*)", re.ASCII)
PATTERN = rf"^(?:(?:{_REQUIREMENT}(?:(?: \\\n   )? {_HASH})*(?: # [ -~]*)?|# [ -~]*|)\n)*$"
"""Of a whole lock, for JSON Schema."""

_EXPECTED = (
    "expected NAME==VERSION, NAME @ URL (of Git, with a commit) or wheels/FILE.whl, without "
    "credentials, then --hash=sha256:…. Options stay in pip_install."
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_ARM = re.compile(r"_[A-Z]+\d+(-\d+)?[a-z]*p", re.IGNORECASE)
ARCHITECTURES = ("x64", "Arm64")


def faults(lock: str) -> Iterator[str]:
    """What is invalid in a lock; quotes nothing of it."""
    found = [number for number, line in _lines(lock) if not _ENTRY.fullmatch(line)]
    yield from (f"Line {number}: {_EXPECTED}" for number in found[:MAX_FAULTS])
    if len(found) > MAX_FAULTS:
        yield f"And {len(found) - MAX_FAULTS} more lines."


def missing_tools(lock: str) -> list[str]:
    """Those of TOOLS that a valid lock lacks."""
    names = {_name(line) for _, line in _lines(lock)}
    return [tool for tool in TOOLS if tool not in names]


def digest(lock: str) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(lock.encode()).hexdigest()


def without_credentials(lock: str) -> str:
    """The lock with `***` in place of credentials in URLs, which `pip_install` may contain: of the user,
    or in the query.
    """
    users = re.sub(r"://(?!git@)[^\s?#]*@(?![0-9a-f]{40}(?:[\s#]|$))", "://***@", lock)
    return re.sub(r"(://[^\s?#]*)\?[^\s#]*", r"\1?***", users)


def architecture_of(vm_size: str) -> str:
    """`Arm64` or `x64`, by the name of a VM size: Azure marks Arm with a p (`Standard_D4ps_v5`)."""
    return "Arm64" if _ARM.search(vm_size) else "x64"


def lock_key(sealed: str, architecture: str) -> str:
    """The key of a fleet's lock in the benchmark's database.

    Derived from the fleet's encrypted secrets, which no VM gets: code on the VMs of other fleets, which
    may insert locks too, cannot know it in advance. One for each architecture, since a trial of one
    architecture may run before the packages of the other are resolved.
    """
    return hmac.new(sealed.encode(), f"lock {architecture}".encode(), hashlib.sha256).hexdigest()


def _lines(lock: str) -> Iterator[tuple[int, str]]:
    """The lines without comments, continued ones joined, and their numbers.

    A line with a control character, such as a carriage return, is unchanged, and therefore a fault.
    """
    number = 1
    for line in re.findall(r"(?:[^\n]*\\\n)*[^\n]*\n?", lock):
        text = line.replace("\\\n", " ")
        if not _CONTROL.search(text):
            text = " ".join(re.sub(r"(^|\s)#.*", "", text).split())
        if text:
            yield number, text
        number += line.count("\n")


def _name(line: str) -> str:
    """The normalised name in a line."""
    name = line.removeprefix("wheels/")
    name = name.partition("-")[0] if name != line else re.split(r"[\[=@ ]", line)[0]
    return re.sub("[-_.]+", "-", name).lower()
