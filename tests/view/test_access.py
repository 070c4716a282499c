"""axe on every state, in light and dark, narrow and wide."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.view.conftest import Open, Visit
from tests.view.scenes import Hostile, Scene
from tests.view.stage import KEY, Stage

PHONE, WIDE = (360, 740), (1440, 900)


@pytest.mark.parametrize(
    ("scheme", "size"),
    [
        ("light", PHONE),
        ("dark", WIDE),
        pytest.param("light", WIDE, marks=pytest.mark.long),
        pytest.param("dark", PHONE, marks=pytest.mark.long),
    ],
    ids=str,
)
def test_a_fleet_its_details_and_its_confirmation_have_no_violation(
    stage: Stage, visit: Open, scheme: str, size: tuple[int, int]
):
    stage.show(Scene(vms=14, trials=900))
    stage.logs[0] = "a line\n" * 50
    page = opened(stage, visit, "view/fleet-7", scheme, size)
    page.page.click("#trial-list > summary")
    page.wait("#trial-table:visible")
    page.page.locator("#trial-rows summary").first.click()
    page.page.click("#vm-0")
    page.page.click("#log-get")
    page.wait("#log:visible")
    stage.away = "fail"
    page.poll()
    page.wait("#away:visible")
    faults = found(page)
    page.page.click("#cancel")
    assert faults + found(page) == []


IN_EACH_SCHEME = pytest.mark.parametrize(
    ("scheme", "size"),
    [pytest.param("light", PHONE, marks=pytest.mark.long), ("dark", WIDE)],
    ids=str,
)


@IN_EACH_SCHEME
def test_the_list_and_the_key_form_have_no_violation(
    stage: Stage, visit: Open, scheme: str, size: tuple[int, int]
):
    scenes = [
        Scene(f"fleet-{n}", phase=phase)
        for n, phase in enumerate(("done", "cancelled", "teardown"))
    ]
    worst = Scene("fleet-8", phase="done")
    worst.ends = [(at, False) for at, _ in worst.ends]
    stage.show(Scene("fleet-9"), worst, Hostile(), *scenes)
    page = opened(stage, visit, "view", scheme, size)
    faults = found(page)
    stage.key = "another"
    page.poll()
    page.wait("#key-fault:visible")
    assert faults + found(page) == []


@IN_EACH_SCHEME
def test_the_form_its_errors_and_the_plan_have_no_violation(
    stage: Stage, visit: Open, scheme: str, size: tuple[int, int]
):
    statuses = ("ok", "warning", "fault", "unknown")
    row = {"name": "role_assignments", "detail": "Some text", "advice": "Do that"}
    stage.plan = {**stage.plan, "checks": [{**row, "status": status} for status in statuses]}
    page = opened(stage, visit, "submit", scheme, size)
    page.page.click("#plan")
    page.wait("#result:visible")
    faults = found(page)
    stage.errors = [
        {"pointer": f"/{name}", "detail": "Expected something else." * 4}
        for name in ("experiment_id", "priority", "tags")
    ]
    page.page.click("#plan")
    page.wait("#more-fault:visible")
    assert faults + found(page) == []
    assert page.page.evaluate("document.documentElement.scrollWidth") <= size[0]


@pytest.mark.parametrize(
    "phase",
    [
        "failed",
        pytest.param("done", marks=pytest.mark.long),
        pytest.param("plan", marks=pytest.mark.long),
    ],
)
def test_every_phase_has_no_violation(stage: Stage, visit: Open, phase: str):
    stage.show(Scene(phase=phase, elapsed=1 if phase == "plan" else 1500))
    assert found(opened(stage, visit, "view/fleet-7", "light", WIDE)) == []


def opened(stage: Stage, visit: Open, path: str, scheme: str, size: tuple[int, int]) -> Visit:
    # axe makes code and HTML from strings, which our policy refuses to everybody.
    page = visit(
        f"{stage.url}/api/{path}",
        KEY,
        size=size,
        color_scheme=scheme,
        bypass_csp=True,
        reduced_motion="reduce",
        clock=True,
    )
    page.wait("#content:not([aria-busy])")
    return page


def found(page: Visit) -> list[str]:
    """What axe has against the page, with the places."""
    violations = Axe().run(page.page).response["violations"]
    return [
        f"{one['id']}: {node['target']} {node['failureSummary']}"
        for one in violations
        for node in one["nodes"]
    ]
