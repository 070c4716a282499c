"""Measures the performance of a fleet's page in the browser, by number of VMs.

    python -m benchmarks.view [--updates 5]

A headless Chromium shows the sample fleets of tests/view/scenes.py. `first` is the time from the first
response to the complete page, `update` the median for later responses, both in the page's own code;
`work` is the browser's total time per update, including layout and parsing; `scroll` is the median of
40 rendered steps through the timeline. The document stays small, since it contains only visible rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from urllib.parse import quote

from playwright.sync_api import Browser, CDPSession, sync_playwright
from rich.console import Console

from benchmarks.common import make_parser, make_table
from local.chromium import ARGUMENTS, find_chromium
from local.stack import CACHE
from tests.view.scenes import Scene
from tests.view.stage import KEY, Stage

SIZES = (10, 100, 1000, 5000)
_TOOK = "performance.getEntriesByName('view:render').map(one => one.duration)"
_SCROLL = """async () => {
  const box = document.getElementById('vms');
  const took = [];
  for (let step = 0; step < 40; step += 1) {
    box.scrollTop = (box.scrollHeight * step) / 40;
    await new Promise(requestAnimationFrame);
    const begun = performance.now();
    await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
    took.push(performance.now() - begun);
  }
  return took.sort((a, b) => a - b)[20];
}"""


@dataclass(frozen=True)
class Cost:
    """Milliseconds, and the number of elements in the document."""

    first: float
    update: float
    work: float
    scroll: float
    nodes: int


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--updates", type=int, default=5, help="responses after the first")
    updates = parser.parse_args().updates
    chromium = find_chromium(CACHE)
    names = ("first", "update", "work", "scroll", "elements")
    table = make_table("Performance of the page", "VMs", *names)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium.path, args=ARGUMENTS, env={**chromium.env}
        )
        for vms in SIZES:
            cost = measure(browser, vms, updates)
            times = (cost.first, cost.update, cost.work, cost.scroll)
            table.add_row(f"{vms:,}", *(f"{time:.0f} ms" for time in times), f"{cost.nodes:,}")
        browser.close()
    Console().print(table)


def measure(browser: Browser, vms: int, updates: int) -> Cost:
    """Open the page of a fleet with this many VMs, and wait for this many updates."""
    scene = Scene(vms=vms, trials=20 * vms, failing=0.06)
    with Stage() as stage:
        stage.show(scene)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(f"{stage.url}/api/view/fleet-7#key={quote(KEY, safe='')}")
        page.wait_for_selector("#vm-0")
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable")
        before, answered = _task_seconds(session), len(page.evaluate(_TOOK))
        for number in range(updates):
            stage.show(scene.advance(10 * number + 10))
            wanted = answered + number + 1
            page.wait_for_function(
                f"() => {_TOOK}.length >= {wanted}", polling=100, timeout=120_000
            )
        took = page.evaluate(_TOOK)
        work = (_task_seconds(session) - before) / (len(took) - answered)
        scroll = page.evaluate(_SCROLL)
        nodes = page.evaluate("document.getElementsByTagName('*').length")
        page.close()
    return Cost(took[0], median(took[1:]), 1000 * work, scroll, nodes)


def _task_seconds(session: CDPSession) -> float:
    """The total task time of the page's thread, in seconds."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return float(next(one["value"] for one in metrics if one["name"] == "TaskDuration"))


if __name__ == "__main__":
    main()
