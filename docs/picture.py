"""Takes the README's pictures of a fleet's page, docs/view-light.png and view-dark.png:  make picture

The fleet is real: it runs on the local stack, whose Azure has too little room in one zone and evicts
Spot VMs. It takes some minutes of a machine with two cores, which should be idle.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import FloatRect, sync_playwright

from local.chromium import ARGUMENTS, find_chromium
from local.demo import experiment, fleets
from local.demo.processes import kill_leftover_processes
from local.stack import CACHE, Stack

FOLDER = Path(__file__).resolve().parent
WIDTH, MARGIN = 1080, 16
BOTTOM = "document.querySelector('.card:has(#timeline)').getBoundingClientRect().bottom"
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
TRIALS, SHOWN = 160, 0.6
"""The picture is taken when this share of the trials has ended."""
TIMEOUT = 600.0  # seconds
REQUEST = {
    "n_instances": 8,
    "name": "nightly",
    "vm_size": "Standard_D2s_v5",
    "zones": ["1", "2"],
    "priority": "Spot",
    "fallbacks": [{"priority": "Regular"}],
    "timeout": 300,
    "max_lifetime": 7200,
    "max_cost": 25,
    "batch_id": 7,
}
FAULTS = {
    "capacity": [{"location": "*", "zone": "2", "size": "Standard_D2s_v5", "vms": 3}],
    "evictions": [{"share": 0.2, "within": [600, 1200], "notice": 30}],
}


def main() -> int:
    try:
        with (
            tempfile.TemporaryDirectory(prefix="picture-") as state,
            Stack(Path(state), faults=FAULTS, seed=5) as stack,
        ):
            store = experiment.open_store(stack.db_uri)
            number = experiment.create(store, TRIALS, name="linear models and forests")
            fleet_id = fleets.post(stack.url, stack.key, {**REQUEST, "experiment_id": number})
            wait_for_trials(stack, fleet_id)
            take(stack, fleet_id)
    finally:
        kill_leftover_processes()
    return 0


def wait_for_trials(stack: Stack, fleet_id: str) -> None:
    """Wait until SHOWN of the trials have ended."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        status: Any = fleets.status(stack.url, stack.key, fleet_id)
        trials = status["trials"] or {"total": 0, "complete": 0, "error": 0}
        ended = trials["complete"] + trials["error"]
        print(f"{status['phase']}: {ended} of {trials['total']} trials", flush=True)
        if status["phase"] in ("done", "failed", "cancelled"):
            raise SystemExit(f"The fleet has ended: {status['reason']}")
        if trials["total"] and ended >= SHOWN * trials["total"]:
            return
        time.sleep(2)
    raise SystemExit(f"No picture after {TIMEOUT:.0f} s.")


def take(stack: Stack, fleet_id: str) -> None:
    chromium = find_chromium(CACHE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium.path, args=ARGUMENTS, env={**chromium.env}
        )
        for scheme in SCHEMES:
            context = browser.new_context(
                viewport={"width": WIDTH, "height": 2000},
                color_scheme=scheme,
                reduced_motion="reduce",
                locale="en-GB",
            )
            page = context.new_page()
            page.goto(f"{stack.url}/api/view/{fleet_id}#key={stack.key}")
            page.wait_for_selector("#chart svg")
            height = page.evaluate(BOTTOM) + MARGIN
            clip: FloatRect = {"x": 0, "y": 0, "width": WIDTH, "height": height}
            page.screenshot(path=FOLDER / f"view-{scheme}.png", clip=clip)
            context.close()
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
