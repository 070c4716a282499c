"""The documentation: links, reachability, and names in its text."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
THIS_FILE = "tests/test_docs.py"
PAGES = [
    *REPOSITORY.glob("*.md"),
    *REPOSITORY.glob("docs/*.md"),
    *REPOSITORY.glob("local/**/*.md"),
    *REPOSITORY.glob("client/*.md"),
]
LINK = re.compile(r"!?\[[^]]*\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """The fragments of a page's headings, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", title.strip().lower()) for title in titles]
    return {title.replace(" ", "-") for title in plain}


def broken(page: Path) -> list[str]:
    """The links of a page to missing files or headings."""
    found = []
    for link in LINK.findall(re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)):
        path, _, fragment = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        target = (page.parent / path) if path else page
        if not target.exists() or (fragment and fragment not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_link_has_a_target(page: Path):
    assert broken(page) == []


def test_every_page_is_reachable_from_the_readme():
    linked = set(LINK.findall((REPOSITORY / "README.md").read_text()))
    pages = {f"docs/{page.name}" for page in REPOSITORY.glob("docs/*.md")}
    assert pages - {link.partition("#")[0] for link in linked} == set()


def test_the_architecture_names_every_table_of_the_app():
    created = re.compile(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+)")
    files = REPOSITORY.glob("fleet/store/migrations/*/*.sql")
    tables = {name for file in files for name in created.findall(file.read_text())}
    text = (REPOSITORY / "docs/architecture.md").read_text()
    assert {name for name in tables if f"`{name}`" not in text} == set()


TEXTS = (".cfg", ".in", ".ipynb", ".js", ".html", ".md", ".py", ".sh", ".toml", ".txt", ".yml")
INSTALL = re.compile(r"\b(?:pip3?|pipx|uv(?: pip| tool)?) +(?:install|add|run|inject)\b[^`\n]*")
NAME = re.compile(r"""(?<![\w./-])powerlift[-_.]fleet(?:\[[^]]*\])?+(?!\w|-\w|_\w| *@ *\S+://)""")


def installs(text: str) -> list[str]:
    """The commands in a text that install the client from a package index by name."""
    commands = (command[0] for command in INSTALL.finditer(text))
    return [command for command in commands if NAME.search(command.partition(" #")[0])]


def test_no_document_installs_an_unpublished_package():
    """An attacker who registers the name on an index would get its users' keys and URIs."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    texts = [name for name in listed if name.endswith(TEXTS) and "recorded" not in name]
    found = {name: installs((REPOSITORY / name).read_text()) for name in texts if name != THIS_FILE}
    assert {name: commands for name, commands in found.items() if commands} == {}


@pytest.mark.parametrize(
    "command",
    [
        "pip install powerlift-fleet",
        "pip install powerlift powerlift-fleet scikit-learn",
        "pip install 'powerlift-fleet[queue]'",
        "pip install -U powerlift_fleet==0.1.0",
        "uv tool install powerlift-fleet",
        "pipx install powerlift-fleet",
        '"%pip install powerlift-fleet\\n"',
    ],
)
def test_an_installation_by_name_is_detected(command: str):
    assert installs(command) != []


@pytest.mark.parametrize(
    "command",
    [
        "pip install 'powerlift-fleet @ git+https://github.com/OWNER/REPOSITORY@TAG#subdirectory=client'",
        "pip install 'powerlift-fleet[queue] @ git+https://github.com/O/R@v0.1.0#subdirectory=client'",
        "pip install ./client[queue] powerlift",
        "pip install ./powerlift_fleet-0.1.0-py3-none-any.whl",
        "pip install azure-storage-queue",
    ],
)
def test_an_installation_by_path_or_url_is_accepted(command: str):
    assert installs(command) == []


def test_constants_on_the_page_about_releases_exist():
    named = re.findall(r"`([A-Z][A-Z_]+)`", (REPOSITORY / "docs/releasing.md").read_text())
    code = "\n".join(path.read_text() for path in REPOSITORY.glob("orchestrators/*.py"))
    lines = re.findall(r"^([A-Z][A-Z_]+(?:, [A-Z_]+)*)(?:: \w+)? = ", code, flags=re.MULTILINE)
    assigned = {name for line in lines for name in line.split(", ")}
    assert set(named) - assigned == set()


def test_tests_on_the_page_about_security_exist():
    named = re.findall(r"(tests/[\w/]+\.py)::(\w+)", (REPOSITORY / "docs/security.md").read_text())
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not re.search(rf"^(?:def|class) {name}\b", (REPOSITORY / path).read_text(), re.MULTILINE)
    ]
    assert (len(named) >= 11, missing) == (True, [])
