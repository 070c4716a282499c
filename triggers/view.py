"""The pages a person watches: one fleet, and the list. They hold no data, and so need no key.

A page's script asks the API, with the key that its user gives it. Sources are in `view/`: HTML that
links its style sheets and one ES module. Each page is put together once, as one answer without any
other request.
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

bp = df.Blueprint()

SOURCES = Path(__file__).resolve().parent.parent / "view"

_STYLE = re.compile(r'<link rel="stylesheet" href="([\w.-]+)">')
_SCRIPT = re.compile(r'<script type="module" src="([\w.-]+)"></script>')
_IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./([\w-]+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.MULTILINE)


@dataclass(frozen=True)
class Page:
    """One answer: HTML without links, and the headers that let nothing else run in it."""

    html: str
    headers: Mapping[str, str]


@bp.function_name("view_fleets")
@bp.route(route="view", methods=["GET", "HEAD"], auth_level=func.AuthLevel.ANONYMOUS)
def view_fleets(req: func.HttpRequest) -> func.HttpResponse:
    """The list of all fleets, as a page."""
    return _answer(page("fleets.html"))


@bp.function_name("view_fleet")
@bp.route(route="view/{id}", methods=["GET", "HEAD"], auth_level=func.AuthLevel.ANONYMOUS)
def view_fleet(req: func.HttpRequest) -> func.HttpResponse:
    """One fleet, as a page. The same for every fleet: its script reads the id in its address."""
    return _answer(page("fleet.html"))


@cache
def page(name: str) -> Page:
    """A page of `view/`, put together. Raises FileNotFoundError for what it links and is not there."""
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
    """An ES module and what it imports as one script; each module keeps a scope of its own.

    Ours alone are understood: `import {…} from "./x.js"`, and `export` before a function, class or
    const. Raises ValueError for modules that import each other.
    """
    done: dict[str, str] = {}

    def add(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise ValueError(f"{name}.js imports itself, by way of {', '.join(above)}")
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
        # No text becomes HTML or code, whatever a later change of the scripts may try.
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    return {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        # A cache would keep the address, and with it the key of `?code=`.
        "Cache-Control": "no-store",
    }


def _hashes(texts: list[str]) -> str:
    digests = (b64encode(sha256(text.encode()).digest()).decode() for text in texts)
    return " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"


def _answer(shown: Page) -> func.HttpResponse:
    return func.HttpResponse(shown.html, headers=dict(shown.headers))
