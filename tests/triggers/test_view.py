"""The pages as the app serves them: self-contained, without data, with a strict CSP."""

from __future__ import annotations

import re
import subprocess
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import pytest
import requests

from local.node import find_node
from local.stack import Stack
from triggers.http import view

PAGES = ["fleet/fleet.html", "list/fleets.html", "submit/submit.html"]
FILES = sorted(path for path in view.SOURCES.rglob("*") if path.is_file())
MODULES = [path for path in FILES if path.suffix == ".js"]
SINKS = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|srcdoc|createContextualFragment"
    r"|\beval\b|new Function|setTimeout\(\s*[\"'`]|\bstyle=|\bon\w+=\"|javascript:"
)
every_page = pytest.mark.parametrize("name", PAGES)


@every_page
def test_a_page_refers_to_no_other_file(name: str):
    assert (
        re.findall(
            r"<script[^>]* src|<link rel=\"stylesheet|@import|url\(|https?://(?!www\.w3\.org)",
            view.page(name).html,
        )
        == []
    )


@every_page
def test_the_content_security_policy_allows_only_the_pages_own_code(name: str):
    shown = view.page(name)
    policy = dict(
        part.split(" ", 1) for part in shown.headers["Content-Security-Policy"].split("; ")
    )
    for directive, tag in (("script-src", "script"), ("style-src", "style")):
        texts = re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>", shown.html, re.DOTALL)
        hashes = [
            f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in texts
        ]
        assert policy[directive] == " ".join(hashes)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_script_parses_html_or_code(path: Path):
    assert SINKS.findall(path.read_text()) == []


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_every_imported_module_exists(module: Path):
    wanted = re.findall(
        r'^import \{([^}]*)\} from "(\.[\w./-]+\.js)";$', module.read_text(), re.MULTILINE
    )
    assert len(wanted) == len(re.findall(r"^import", module.read_text(), re.MULTILINE))
    for names, other in wanted:
        source = (module.parent / other).read_text()
        exported = re.findall(
            r"^export (?:async )?(?:function|class|const) (\w+)", source, re.MULTILINE
        )
        assert {name.strip() for name in names.split(",")} <= set(exported)


@pytest.mark.parametrize("entry", ["fleet/fleet.js", "list/fleets.js", "submit/submit.js"])
def test_the_scripts_are_javascript(entry: str, tmp_path: Path):
    script = tmp_path / "script.mjs"
    script.write_text(view.bundle(view.SOURCES / entry))
    done = subprocess.run(
        [find_node()[0], "--check", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_circular_imports_are_rejected(
    tmp_path: Path,
):
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / f"{name}.js").write_text(
            f'import {{ x }} from "./{other}.js";\nexport const x = 1;\n'
        )
    with pytest.raises(ValueError, match=r"a\.js imports itself"):
        view.bundle(tmp_path / "a.js")


def test_the_folder_is_deployed():
    assert "view" not in (view.SOURCES.parent / ".funcignore").read_text().split()


@pytest.mark.parametrize(
    ("path", "title"),
    [
        ("", "Fleets"),
        ("view", "Fleets"),
        ("view/fleet-1", "Fleet"),
        ("view/submit", "Fleet"),  # a fleet's name
        ("submit", "Submit a fleet"),
    ],
)
def test_the_pages_require_no_key(stack: Stack, path: str, title: str):
    answer = requests.get(f"{stack.url}/api/{path}", timeout=30)
    assert (answer.status_code, re.findall("<title>(.*)</title>", answer.text)) == (200, [title])


@pytest.mark.parametrize("path", ["/api", "/api/", "/API?code=not-passed-on"])
def test_the_base_url_leads_to_the_list(stack: Stack, path: str):
    answer = requests.get(f"{stack.url}{path}", timeout=30, allow_redirects=False)
    base = path.partition("?")[0].rstrip("/")
    assert (answer.status_code, answer.headers["Location"]) == (302, f"{base}/view")


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Content-Type", "text/html; charset=utf-8"),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Cache-Control", "no-store"),
    ],
)
def test_headers(stack: Stack, header: str, value: str):
    assert requests.get(f"{stack.url}/api/view", timeout=30).headers[header] == value
