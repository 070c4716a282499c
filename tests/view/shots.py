"""Takes screenshots of the pages:  python -m tests.view.shots DIRECTORY [NAME …]"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, sync_playwright

from local.chromium import ARGUMENTS, find_chromium
from local.stack import CACHE
from tests.view.scenes import Hostile, Refused, Scene
from tests.view.stage import KEY, Stage

SIZES = {"narrow": (360, 740), "wide": (1440, 900)}


def starting(page: Page, stage: Stage) -> None:
    stage.show(Scene(elapsed=46, vms=24, failing=0.1))


def running(page: Page, stage: Stage) -> None:
    stage.show(Scene(vms=12, trials=900, elapsed=1500, own_name="nightly-tabular"))


def thousand(page: Page, stage: Stage) -> None:
    stage.show(Scene(vms=1000, trials=60_000, elapsed=1500, failing=0.06))


def done(page: Page, stage: Stage) -> None:
    stage.show(Scene(phase="done", vms=6, elapsed=2400))


def cancelled(page: Page, stage: Stage) -> None:
    stage.show(Scene(phase="cancelled", elapsed=700))


def failed(page: Page, stage: Stage) -> None:
    stage.show(Hostile())


def all_failed(page: Page, stage: Stage) -> None:
    scene = Scene(phase="done", vms=3, elapsed=2400, trials=40, failing=0)
    scene.ends = [(at, False) for at, _ in scene.ends]
    stage.show(scene)


def not_created(page: Page, stage: Stage) -> None:
    stage.show(Refused())


def detail(page: Page, stage: Stage) -> None:
    stage.show(Scene(vms=12, trials=900))
    stage.logs = dict.fromkeys(range(50), "# VM\n" + "Cloud-init v. 24.1 running\n" * 30)


def open_detail(page: Page) -> None:
    page.locator("[data-stage=failed]").first.click()
    page.click("#log-get")
    page.wait_for_selector("#log:visible")


def open_trials(page: Page) -> None:
    page.click("#trial-list > summary")
    page.wait_for_selector("#trial-table:visible")


def asking(page: Page) -> None:
    page.click("#cancel")


def plan(page: Page) -> None:
    for name, text in (("experiment_id", "12"), ("n_instances", "10"), ("timeout", "30m")):
        page.fill(f"#{name}", text)
    page.click("#plan")
    page.wait_for_selector("#result:visible")


def invalid(page: Page) -> None:
    page.click("#plan")
    page.wait_for_selector("#form-fault:visible")


def planned(page: Page, stage: Stage) -> None:
    stage.plan = {**stage.plan, "checks": CHECKS}


def refused(page: Page, stage: Stage) -> None:
    stage.errors = [
        {"pointer": "/experiment_id", "detail": "This field is required."},
        {"pointer": "/timeout", "detail": "Expected a number above 0."},
        {"pointer": "/zones/0", "detail": "Input should be '1', '2' or '3'."},
    ]


def older(page: Page) -> None:
    page.locator("#more").scroll_into_view_if_needed()


def deleted(page: Page, stage: Stage) -> None:
    stage.show(Scene())


CHECKS = [
    {"name": "resource_group", "status": "ok", "detail": "powerlift exists in eastus", "advice": ""},
    {
        "name": "quota", "status": "warning",
        "detail": "7 of 10 VMs fit: standardDSv5Family in eastus has 14 of 100 left; a"
        " Standard_D2s_v5 requires 2",
        "advice": "Request a quota increase (Azure portal: Quotas), use fewer or smaller VMs.",
    },
    {"name": "role_assignments", "status": "unknown", "detail": "Azure denied access", "advice": ""},
    {"name": "trials", "status": "ok", "detail": "24 of 24 trials are unfinished", "advice": ""},
]  # fmt: skip
Shot = tuple[Callable[[Page, Stage], None], Callable[[Page], None] | None]
SHOTS: dict[str, Shot] = {
    "starting": (starting, None),
    "running": (running, None),
    "thousand": (thousand, None),
    "done": (done, None),
    "cancelled": (cancelled, None),
    "all-failed": (all_failed, None),
    "refused": (not_created, None),
    "hostile": (failed, None),
    "detail": (detail, open_detail),
    "trials": (running, open_trials),
    "asking": (running, asking),
    "plan": (planned, plan),
    "invalid": (refused, invalid),
}


def main(directory: Path, names: list[str]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    chromium = find_chromium(CACHE)
    with Stage() as stage, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium.path, args=ARGUMENTS, env={**chromium.env}
        )
        schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
        for scheme in schemes:
            for size in SIZES:
                for name in names or [*SHOTS, "list", "older", "key", "away"]:
                    path = directory / f"{name}-{size}-{scheme}.png"
                    take(browser, stage, name, size, scheme, path)
        browser.close()


def take(
    browser: Browser,
    stage: Stage,
    name: str,
    size: str,
    scheme: Literal["light", "dark"],
    path: Path,
) -> None:
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, locale="en-GB"
    )
    page = context.new_page()
    page.on("console", lambda message: print(name, message.text))
    page.on("pageerror", lambda error: print(name, error))
    stage.away = ""
    stage.fleets.clear()
    stage.errors = []
    before, after = SHOTS.get(name, (deleted, older if name == "older" else None))
    before(page, stage)
    if name in ("list", "older"):
        stage.show(
            Scene("fleet-10", elapsed=1, vms=4), Scene("fleet-9", elapsed=40, vms=50),
            Scene("fleet-8", vms=200, trials=9000, own_name="nightly-tabular-2026-11-28"),
            Scene("fleet-6", phase="done", elapsed=4000, own_name="nightly"),
            Scene("fleet-5", phase="cancelled", elapsed=300), Hostile(),
            *(Scene(f"fleet-{n}", phase="done", elapsed=9000 + n) for n in range(900, 850, -1)),
        )  # fmt: skip
    paths = dict.fromkeys(("list", "older"), "view") | dict.fromkeys(("plan", "invalid"), "submit")
    path_of = paths.get(name, "view/fleet-7")
    fragment = "" if name == "key" else f"#key={KEY.replace('+', '%2B')}"
    page.goto(f"{stage.url}/api/{path_of}{fragment}")
    page.wait_for_selector("#key:visible" if name == "key" else "#content:not([aria-busy])")
    if name == "away":
        stage.away = "drop"
        page.wait_for_selector("#away:visible")
    if after:
        after(page)
    page.wait_for_timeout(500)
    page.screenshot(path=path, full_page=name not in ("list", "older"))
    context.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
