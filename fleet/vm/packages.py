"""What an experiment's `pip_install` consists of, and the lock of packages that a VM makes of it.

The startup script embeds this file and runs it with the system's Python (3.8 on Ubuntu 20.04 or newer):
standard library only, no imports from the app. It works in the current directory.

    packages.py split TOOLS [WHEEL...]   read the file `pip_install.words`; write `tools` and
                                         `requirements.in`, and as words that end with NUL `options`
                                         and `resolver_options`
    packages.py complete                 read a lock from stdin; print it with the hashes of `tools`
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

SETUPTOOLS = "setuptools<82"
TEXT: Any = {"encoding": "utf-8", "errors": "surrogateescape"}
IN_FILE = {
    "-r": "-r", "--requirement": "-r", "--requirements": "-r",
    "-e": "-e", "--editable": "-e",
}  # fmt: skip
"""Options that name requirements, and how a file of requirements spells them."""
WITH_VALUE = frozenset(
    "-C -P -b -c -f -i --allow-insecure-host --build-constraint --build-constraints --cache-dir --color"  # noqa: SIM905
    " --config-file --config-setting --config-settings --config-settings-package --constraint"
    " --constraints --default-index --directory --exclude-newer --exclude-newer-package --excludes"
    " --extra --extra-index-url --find-links --fork-strategy --group --index --index-strategy"
    " --index-url --keyring-provider --link-mode --no-binary --no-build-isolation-package"
    " --no-sources-package --only-binary --overrides --prerelease --python-platform --python-version"
    " --refresh-package --reinstall-package --resolution --torch-backend --trusted-host"
    " --upgrade-package".split()
)
"""Options whose value may be the next word. Any other that has one is unknown to the resolver, which
refuses it before it reads the requirements."""
INSTALL_ONLY = {
    "--break-system-packages", "--compile", "--compile-bytecode", "--exact", "--force-reinstall",
    "--no-compile", "--no-compile-bytecode", "--reinstall", "--strict",
}  # fmt: skip
"""Options that do not change which versions are installed. The resolver does not know them."""


def split(words: Iterable[str]) -> tuple[list[str], list[str]]:
    """The words of `pip install WORD...` as lines of a requirements file, and as options."""
    requirements, options = [], []
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            requirements.append(" ".join(word.split()))
        elif name in IN_FILE:
            requirements.append(f"{IN_FILE[name]} {value if equals else next(rest, '')}")
        else:
            options.append(word)
            if word in WITH_VALUE:
                options += islice(rest, 1)
    return requirements, options


def unnamed(pins: str, words: Iterable[str]) -> Iterator[str]:
    """Our tools: pinned, unless the experiment names them in any form (version, URL, wheel)."""
    named = [normalised(word) for word in words]
    for pin in pins.splitlines():
        name = re.split(r"[\[=]", pin)[0]
        is_named = any(re.search(f"(?<![a-z0-9]){name}(?![a-z0-9])", word) for word in named)
        if name != "uv":
            yield pin.partition("==")[0] if is_named else pin


def complete(lock: str, pins: str) -> str:
    """A lock in which our tools have the hashes that we know, whatever an index says."""
    known = {version_of(pin): pin.split(" --hash=")[1:] for pin in pins.splitlines()}
    lines = []
    for entry in re.findall(r"^(?!#)\S(?:.*\\\n)*.*", lock, re.MULTILINE):
        requirement, *hashes = re.split(r"(?:\s|\\\n)+--hash=", entry)
        hashes = known.get(version_of(entry)) or hashes
        lines.append(" \\\n    --hash=".join([requirement, *hashes]))
    return "".join(f"{line}\n" for line in lines)


def version_of(requirement: str) -> str:
    """`name==version` of a pinned requirement, without extras; else empty."""
    found = re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?(==[^\s;\\]+)", requirement)
    return normalised(found.group(1)) + found.group(2) if found else ""


def normalised(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


def write_parts(pins: str, *wheels: str) -> None:
    """The command `split`."""
    with open("pip_install.words", **TEXT) as source:
        words = source.read().split("\0")[:-1]
    tools = list(unnamed(pins, [*wheels, *words]))
    requirements, options = split(words)
    write("tools", tools, "\n")
    write("requirements.in", [*tools, SETUPTOOLS, *wheels, *requirements], "\n")
    write("options", options, "\0")
    write("resolver_options", [one for one in options if one not in INSTALL_ONLY], "\0")


def write(file: str, items: Iterable[str], end: str) -> None:
    with open(file, "w", **TEXT) as target:
        target.write("".join(f"{one}{end}" for one in items))


def main(command: str, *arguments: str) -> None:
    if command == "split":
        write_parts(*arguments)
    else:
        with open("tools", **TEXT) as tools:
            sys.stdout.write(complete(sys.stdin.read(), tools.read()))


if __name__ == "__main__":
    main(*sys.argv[1:])
