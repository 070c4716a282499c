"""The web pages: one fleet, the list of fleets, and the form that submits one. They contain no data and
are anonymous.

A page's script calls the API with the user's key. The sources in `view/` are HTML with linked style
sheets, shared fragments and one ES module. Each page is bundled once into a single response.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import azure.durable_functions as df
import azure.functions as func

from fleet.api.routes import HTML
from triggers.http.problems import HEADERS, READ, with_problems

bp = df.Blueprint()

SOURCES = Path(__file__).resolve().parents[2] / "view"

_FRAGMENT = re.compile(r"<!-- include ([\w./-]+) -->")
_STYLE = re.compile(r'<link rel="stylesheet" href="([\w./-]+)">')
_SCRIPT = re.compile(r'<script type="module" src="([\w./-]+)"></script>')
_IMPORT = re.compile(r'^import (\{[^}]*\}) from "(\.[\w./-]+)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.MULTILINE)


@dataclass(frozen=True)
class Page:
    """Self-contained HTML, and headers that block all other content."""

    html: str
    headers: Mapping[str, str]


@bp.route(route="{root:maxlength(0)?}", methods=READ, auth_level=func.AuthLevel.ANONYMOUS)
@with_problems
async def redirect_to_fleets(req: func.HttpRequest) -> func.HttpResponse:
    """The API's base URL leads to the list. The host matches an empty route only by an optional
    parameter that must be empty; `/`, outside its prefix, is the host's own page.
    """
    url = f"{urlsplit(req.url).path.rstrip('/')}/view"
    return func.HttpResponse(status_code=302, headers={"Location": url, **HEADERS})


@bp.route(route="view", methods=READ, auth_level=func.AuthLevel.ANONYMOUS)
@with_problems
async def view_fleets(req: func.HttpRequest) -> func.HttpResponse:
    return _answer(page("list/fleets.html"))


@bp.route(route="view/{id}", methods=READ, auth_level=func.AuthLevel.ANONYMOUS)
@with_problems
async def view_fleet(req: func.HttpRequest) -> func.HttpResponse:
    """The page of a fleet. Static: its script reads the fleet's ID from the URL."""
    return _answer(page("fleet/fleet.html"))


@bp.route(route="submit", methods=READ, auth_level=func.AuthLevel.ANONYMOUS)
@with_problems
async def view_submit(req: func.HttpRequest) -> func.HttpResponse:
    """The form that plans and submits a fleet. Outside `view/`, where `submit` may be a fleet's name."""
    return _answer(page("submit/submit.html"))


@cache
def page(name: str) -> Page:
    """Bundle a page of `view/`. Raises FileNotFoundError for a missing linked file."""
    source = SOURCES / name
    styles: list[str] = []
    scripts: list[str] = []

    def style(link: re.Match[str]) -> str:
        styles.append((source.parent / link[1]).read_text(encoding="utf-8"))
        return f"<style>{styles[-1]}</style>"

    def script(link: re.Match[str]) -> str:
        scripts.append(bundle(source.parent / link[1]))
        return f'<script type="module">{scripts[-1]}</script>'

    def fragment(link: re.Match[str]) -> str:
        return (source.parent / link[1]).read_text(encoding="utf-8")

    html = _FRAGMENT.sub(fragment, source.read_text(encoding="utf-8"))
    html = _SCRIPT.sub(script, _STYLE.sub(style, html))
    return Page(html, _headers(styles, scripts))


def bundle(entry: Path) -> str:
    """Bundle an ES module and its imports into one script with a scope per module.

    Supports only `import {…} from` a relative path, and `export` before a function, class or const.
    Raises ValueError for circular imports.
    """
    scopes: dict[Path, str] = {}
    bundled: list[str] = []

    def add(path: Path, importers: tuple[Path, ...]) -> str:
        """Bundle a module after its imports. Returns the name of its scope."""
        if path in importers:
            chain = ", ".join(importer.name for importer in importers)
            raise ValueError(f"{path.name} imports itself through {chain}")
        if path not in scopes:
            source = path.read_text(encoding="utf-8")

            def bind(found: re.Match[str]) -> str:
                scope = add((path.parent / found[2]).resolve(), (*importers, path))
                return f"const {found[1]} = {scope};"

            body = _EXPORT.sub("", _IMPORT.sub(bind, source))
            exports = ", ".join(_EXPORT.findall(source))
            scopes[path] = f"$_{len(scopes)}"
            bundled.append(
                f"const {scopes[path]} = (() => {{\n{body}return {{ {exports} }};\n}})();\n"
            )
        return scopes[path]

    add(entry.resolve(), ())
    return "".join(bundled)


def _headers(styles: list[str], scripts: list[str]) -> dict[str, str]:
    policy = {
        "default-src": "'none'",
        "script-src": _hashes(scripts),
        "style-src": _hashes(styles),
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        # Prevents scripts from turning text into HTML or code.
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    return {
        "Content-Type": HTML,
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "Referrer-Policy": "no-referrer",
        **HEADERS,
    }


def _hashes(texts: list[str]) -> str:
    digests = (b64encode(sha256(text.encode()).digest()).decode() for text in texts)
    return " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"


def _answer(shown: Page) -> func.HttpResponse:
    return func.HttpResponse(shown.html, headers=dict(shown.headers))
