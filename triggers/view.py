"""The web pages: one fleet, and the list of fleets. They contain no data and are anonymous.

A page's script calls the API with the user's key. The sources in `view/` are HTML with linked style
sheets and one ES module. Each page is bundled once into a single response.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

import azure.durable_functions as df
import azure.functions as func

from fleet.api.routes import HTML
from triggers.problems import HEADERS, with_problems

bp = df.Blueprint()

SOURCES = Path(__file__).resolve().parent.parent / "view"

_STYLE = re.compile(r'<link rel="stylesheet" href="([\w.-]+)">')
_SCRIPT = re.compile(r'<script type="module" src="([\w.-]+)"></script>')
_IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./([\w-]+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.MULTILINE)


@dataclass(frozen=True)
class Page:
    """Self-contained HTML, and headers that block all other content."""

    html: str
    headers: Mapping[str, str]


@bp.function_name("view_fleets")
@bp.route(route="view", methods=["GET", "HEAD"], auth_level=func.AuthLevel.ANONYMOUS)
@with_problems
async def view_fleets(req: func.HttpRequest) -> func.HttpResponse:
    return _answer(page("fleets.html"))


@bp.function_name("view_fleet")
@bp.route(route="view/{id}", methods=["GET", "HEAD"], auth_level=func.AuthLevel.ANONYMOUS)
@with_problems
async def view_fleet(req: func.HttpRequest) -> func.HttpResponse:
    """The page of a fleet. Static: its script reads the fleet's ID from the URL."""
    return _answer(page("fleet.html"))


@cache
def page(name: str) -> Page:
    """Bundle a page of `view/`. Raises FileNotFoundError for a missing linked file."""
    html = (SOURCES / name).read_text(encoding="utf-8")
    styles: list[str] = []
    scripts: list[str] = []

    def style(link: re.Match[str]) -> str:
        styles.append((SOURCES / link[1]).read_text(encoding="utf-8"))
        return f"<style>{styles[-1]}</style>"

    def script(link: re.Match[str]) -> str:
        scripts.append(bundle(link[1].removesuffix(".js")))
        return f'<script type="module">{scripts[-1]}</script>'

    html = _SCRIPT.sub(script, _STYLE.sub(style, html))
    return Page(html, _headers(styles, scripts))


def bundle(entry: str) -> str:
    """Bundle an ES module and its imports into one script with a scope per module.

    Supports only `import {…} from "./x.js"`, and `export` before a function, class or const. Raises
    ValueError for circular imports.
    """
    done: dict[str, str] = {}

    def add(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise ValueError(f"{name}.js imports itself through {', '.join(above)}")
        if name in done:
            return
        source = (SOURCES / f"{name}.js").read_text(encoding="utf-8")
        for _, other in _IMPORT.findall(source):
            add(other, (*above, name))
        exports = ", ".join(_EXPORT.findall(source))
        body = _EXPORT.sub("", _IMPORT.sub(r"const \1 = $\2;", source))
        done[name] = f"const ${name} = (() => {{\n{body}return {{ {exports} }};\n}})();\n"

    add(entry, ())
    return "".join(done.values())


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
