"""The pages for people: every link between them leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
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
    plain = [re.sub(r"[^\w\- ]", "", title.lower()).strip() for title in titles]
    return {title.replace(" ", "-") for title in plain}


def broken(page: Path) -> list[str]:
    """The links of a page to files or headings that are not there."""
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
def test_every_link_leads_somewhere(page: Path):
    assert broken(page) == []


def test_every_page_can_be_found_from_the_readme():
    linked = set(LINK.findall((REPOSITORY / "README.md").read_text()))
    pages = {f"docs/{page.name}" for page in REPOSITORY.glob("docs/*.md")}
    assert pages - {link.partition("#")[0] for link in linked} == set()


def test_constants_on_the_page_about_releases_exist():
    named = re.findall(r"`([A-Z][A-Z_]+)`", (REPOSITORY / "docs/releasing.md").read_text())
    code = "\n".join(path.read_text() for path in REPOSITORY.glob("orchestrators/*.py"))
    assigned = re.findall(r"^([A-Z][A-Z_]+)(?:: \w+)? = ", code, flags=re.MULTILINE)
    assert set(named) - set(assigned) == set()


def test_tests_on_the_page_about_security_exist():
    named = re.findall(r"(tests/[\w/]+\.py)::(\w+)", (REPOSITORY / "docs/security.md").read_text())
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not re.search(rf"^ *(?:async )?def {name}\(|^class {name}\b", (REPOSITORY / path).read_text(), re.M)
    ]
    assert (len(named) >= 11, missing) == (True, [])
