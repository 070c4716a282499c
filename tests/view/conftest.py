"""A real browser whose pages record their console messages and requests."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from local.chromium import ARGUMENTS, find_chromium
from local.stack import CACHE
from tests.view.scenes import Scene
from tests.view.stage import KEY, Stage

TIMEOUT = 60_000
"""Milliseconds that a test waits for anything on a page."""


@dataclass
class Visit:
    """A page; `console`: its messages, `requested`: its requests as method and URL."""

    page: Page
    console: list[str] = field(default_factory=list)
    requested: list[str] = field(default_factory=list)

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)

    def wait(self, selector: str) -> None:
        self.page.wait_for_selector(selector)

    def poll(self) -> None:
        """Let the time come at which the page asks the app again."""
        self.page.clock.fast_forward(15_000)

    def poll_and_render(self) -> None:
        """The same, and wait until the page has rendered the response."""
        before = self.text("#foot")  # the time of the answer
        self.poll()
        self.until("document.getElementById('foot').textContent !== value", before)

    def until(self, expression: str, value: Any = None) -> None:
        """Wait until JavaScript is true; it may use `value`."""
        self.page.wait_for_function(f"value => {expression}", arg=value, polling=50)


Open = Callable[..., Visit]
Call = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """For one module at a time: while Playwright's loop runs in a thread, asyncio.run does not."""
    sys.audit("subprocess.Popen", "playwright")  # Playwright would catch what --fast raises
    chromium = find_chromium(CACHE)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=chromium.path, args=ARGUMENTS, env={**chromium.env}
        )
        yield running
        running.close()


@contextmanager
def visits(browser: Browser) -> Iterator[Open]:
    """`visit(url, key=None, **context)`: open a page in a session of its own.

    With a `clock` the test says when time passes, by `look_again`.
    """
    contexts = []

    def visit(
        url: str,
        key: str | None = None,
        size: tuple[int, int] = (1280, 900),
        clock: bool = False,
        **how: Any,
    ) -> Visit:
        viewport = {"width": size[0], "height": size[1]}
        context = browser.new_context(viewport=viewport, locale="en-GB", **how)
        contexts.append(context)
        context.set_default_timeout(TIMEOUT)
        seen = Visit(context.new_page())
        seen.page.on(
            "console", lambda message: seen.console.append(f"{message.type}: {message.text}")
        )
        seen.page.on("pageerror", lambda error: seen.console.append(f"thrown: {error}"))
        context.on(
            "request", lambda request: seen.requested.append(f"{request.method} {request.url}")
        )
        if clock:
            seen.page.clock.install()
        seen.page.goto(url + (f"#key={quote(key, safe='')}" if key else ""))
        return seen

    yield visit
    for context in contexts:
        context.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Open]:
    with visits(browser) as visit:
        yield visit


@pytest.fixture
def stage() -> Iterator[Stage]:
    with Stage() as running:
        yield running


@pytest.fixture(scope="module")
def call(browser: Browser) -> Iterator[Call]:
    """`call(module, function, *arguments)`: what a function of one of the page's modules answers."""
    with Stage() as stage, visits(browser) as visit:
        page = visit(f"{stage.url}/sources/common/describe.js").page

        def ask(module: str, function: str, *arguments: Any) -> Any:
            return page.evaluate(
                "([module, name, args]) =>"
                " import(`/sources/${module}.js`).then(m => m[name](...args))",
                [module, function, arguments],
            )

        yield ask


@pytest.fixture
def shown(stage: Stage, visit: Open) -> Visit:
    """The page of a fleet of twelve that has met failures."""
    stage.show(Scene(vms=12, trials=900))
    return opened(stage, visit)


def opened(stage: Stage, visit: Open, **how: object) -> Visit:
    page = visit(f"{stage.url}/api/view/fleet-7", KEY, clock=True, **how)
    page.wait("#body:visible")
    return page
