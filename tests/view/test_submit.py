"""The form that plans and submits a fleet."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleet.api.openapi.examples import RESPONSES
from tests.view.conftest import Call, Open, Visit
from tests.view.stage import KEY, Stage

SECRET = "pa55-of-the-database"
SECRETS = json.dumps({"uri": f"postgresql://me:{SECRET}@db/bench", "zones": ["1"]})
STORED = "JSON.stringify([{...sessionStorage}, {...localStorage}, location.href, history.state])"


def opened(stage: Stage, visit: Open, key: str | None = KEY, **how: Any) -> Visit:
    page = visit(f"{stage.url}/api/submit", key, **how)
    page.wait("#form:visible")
    return page


def fill(page: Visit, **texts: str) -> None:
    for name, text in {"experiment_id": "12", "n_instances": "4", **texts}.items():
        page.page.fill(f"#{name}", text)


def plan(page: Visit, **texts: str) -> None:
    fill(page, **texts)
    page.page.click("#plan")
    page.wait("#send:enabled")


@pytest.fixture
def form(stage: Stage, visit: Open) -> Visit:
    return opened(stage, visit)


@pytest.mark.parametrize(
    ("texts", "more", "body"),
    [
        ({"experiment_id": "12"}, "", {"experiment_id": 12, "batch_id": 7}),
        ({"timeout": "90s"}, "", {"timeout": 90, "batch_id": 7}),
        ({"max_lifetime": "7d"}, "", {"max_lifetime": 604800, "batch_id": 7}),
        ({"timeout": "300", "max_cost": "2.5"}, "", {"timeout": 300, "max_cost": 2.5, "batch_id": 7}),
        ({"timeout": "soon"}, "", {"timeout": "soon", "batch_id": 7}),
        ({"n_instances": "1e3"}, "", {"n_instances": "1e3", "batch_id": 7}),
        ({"name": "7", "vm_size": "D2"}, "{ }", {"name": "7", "vm_size": "D2", "batch_id": 7}),
        ({}, '{"zones": ["1"]}', {"zones": ["1"], "batch_id": 7}),
        ({}, '{"batch_id": 18446744073709551615}', {"batch_id": 18446744073709551615}),
    ],
)  # fmt: skip
def test_the_request_that_the_form_makes(
    call: Call, texts: dict[str, str], more: str, body: dict[str, Any]
):
    assert json.loads(call("submit/request", "requestOf", texts, more, 7)["body"]) == body


def test_the_app_sees_a_field_that_is_given_twice(call: Call):
    made = call("submit/request", "requestOf", {"vm_size": "a"}, '{"vm_size": "b"}', 7)["body"]
    assert made.count('"vm_size"') == 2


@pytest.mark.parametrize("text", ["[1]", "null", "{", '{"uri": "' + SECRET])
def test_what_is_no_object_is_an_error_beside_its_box(stage: Stage, form: Visit, text: str):
    fill(form, more=text)
    form.page.click("#plan")
    form.wait("#more-fault:has-text('Expected a JSON object')")
    assert form.page.evaluate("document.activeElement.id") == "more"
    assert (SECRET in form.text("body"), stage.submitted) == (False, {})


def test_the_plan_shows_its_rows_and_the_price(stage: Stage, form: Visit):
    checks = RESPONSES["Plan"]["checks"]
    warning = {
        "name": "quota",
        "status": "warning",
        "detail": "7 of 10 fit",
        "advice": "Ask for more.",
    }
    stage.plan = {**RESPONSES["Plan"], "checks": [*checks, warning]}
    assert form.page.is_disabled("#send") or not form.page.is_visible("#send")
    plan(form)
    rows = form.page.locator("#checks li").all_inner_texts()
    assert all(words in rows[0] for words in ("quota", "7 of 10 fit", "Ask for more."))
    assert "exists in eastus" in rows[1]
    terms = form.page.locator("#costs dt").all_inner_texts()
    values = form.page.locator("#costs dd").all_inner_texts()
    assert dict(zip(terms, values, strict=True)) == {
        "per hour": "$0.196", "expected in 7 min 24 s": "$0.0242", "at most": "$4.71",
    }  # fmt: skip
    assert (form.text("#verdict-words"), form.console) == ("Can run, with 1 warning", [])


def test_another_plan_shows_its_own_price(stage: Stage, form: Visit):
    plan(form)
    cost = {**RESPONSES["Plan"]["cost"], "per_hour": 3.0, "expected": 2.0, "at_most": 9.0}
    stage.plan = {**RESPONSES["Plan"], "cost": cost}
    plan(form, n_instances="8")
    values = form.page.locator("#costs dd").all_inner_texts()
    assert values == ["$3.00", "$2.00", "$9.00"]


def test_a_plan_with_a_fault_cannot_be_submitted(stage: Stage, form: Visit):
    fault = {"name": "trials", "status": "fault", "detail": "No trial is left", "advice": ""}
    stage.plan = {**RESPONSES["Plan"], "ok": False, "cost": None, "checks": [fault]}
    fill(form)
    form.page.click("#plan")
    form.wait("#result:visible")
    assert form.text("#verdict-words") == "This fleet cannot run"
    assert form.page.is_disabled("#send")
    assert not form.page.is_visible("#costs")


def test_an_edit_requires_another_plan(form: Visit):
    plan(form)
    form.page.fill("#n_instances", "400")
    assert form.page.is_disabled("#send")
    assert form.text("#send-note") == "The request has changed. Plan it again."


def test_an_error_is_beside_its_field(stage: Stage, form: Visit):
    stage.errors = [
        {"pointer": "/n_instances", "detail": "Too many."},
        {"pointer": "/zones/0", "detail": "No such zone."},
        {"pointer": "", "detail": "An object has duplicate names: name."},
    ]
    fill(form)
    form.page.click("#plan")
    form.wait("#n_instances[aria-invalid]")
    found = [form.text(f"#{one}-fault") for one in ("n_instances", "more", "form", "experiment_id")]
    assert found == [
        "Too many.",
        "zones/0: No such zone.",
        "An object has duplicate names: name. 2 fields need a correction.",
        "",
    ]
    assert form.page.evaluate("document.activeElement.id") == "n_instances"
    stage.errors = []
    plan(form)
    assert form.page.locator("[aria-invalid]").count() == 0


def test_a_text_that_is_no_duration_is_refused_in_the_words_of_the_form(stage: Stage, form: Visit):
    app = "Expected a number of seconds above 0, or null for no limit."
    stage.errors = [{"pointer": f"/{name}", "detail": app} for name in ("timeout", "max_lifetime")]
    fill(form, timeout="5x", max_lifetime="0")
    form.page.click("#plan")
    form.wait("#timeout[aria-invalid]")
    use = "Use seconds (300), or a number with a unit: 90s, 30m, 12h, 7d or 2w."
    assert form.text("#timeout-fault") == f"'5x' is not a duration. {use}"
    assert form.text("#max_lifetime-fault") == f"'0' is not a duration. {use}"
    stage.errors = [{"pointer": "/max_lifetime", "detail": "The deployment allows 7 days."}]
    fill(form, max_lifetime="8d")
    form.page.click("#plan")
    form.wait("#max_lifetime-fault:text-is('The deployment allows 7 days.')")


def test_the_form_works_by_keyboard(stage: Stage, form: Visit):
    keyboard = form.page.keyboard
    form.page.focus("#experiment_id")
    for text in ("12", "4", "nightly"):
        keyboard.type(text)
        keyboard.press("Tab")
    keyboard.press("Enter")
    form.wait("#send:enabled")
    keyboard.press("Tab")
    assert form.page.evaluate("document.activeElement.id") == "send"
    keyboard.press("Enter")
    form.page.wait_for_url("**/api/view/fleet-*")
    [sent] = map(json.loads, stage.submitted.values())
    assert (sent["experiment_id"], sent["n_instances"], sent["name"]) == (12, 4, "nightly")


def test_a_double_click_makes_one_fleet_and_leads_to_its_page(stage: Stage, form: Visit):
    plan(form)
    form.page.evaluate("for (let i = 0; i < 3; i += 1) document.getElementById('send').click()")
    form.page.wait_for_url("**/api/view/fleet-*")
    form.wait("#body:visible")
    assert stage.requests.count("POST /api/fleets") == 1
    [sent] = map(json.loads, stage.submitted.values())
    assert (sent["experiment_id"], sent["n_instances"], sent["priority"]) == (12, 4, "Regular")
    assert form.page.evaluate(STORED).count("batch") == 0


def test_a_reload_after_a_lost_response_leads_to_the_fleet(stage: Stage, form: Visit):
    plan(form)
    stage.lost = True
    form.page.click("#send")
    form.wait("#form-fault:has-text('Submitting again is safe')")
    form.page.reload()
    form.page.wait_for_url("**/api/view/fleet-*")
    assert len(stage.submitted) == 1


def test_the_same_request_is_the_same_fleet_after_a_lost_response(stage: Stage, form: Visit):
    plan(form)
    stage.lost = True
    form.page.click("#send")
    form.wait("#form-fault:has-text('Submitting again is safe')")
    stage.lost = False
    form.page.click("#send")
    form.page.wait_for_url("**/api/view/fleet-*")
    assert len(stage.submitted) == 1


def test_another_request_after_a_lost_response_shows_the_fleet_of_the_first(
    stage: Stage, form: Visit
):
    plan(form)
    stage.lost = True
    form.page.click("#send")
    form.wait("#form-fault:has-text('Submitting again is safe')")
    stage.lost = False
    plan(form, n_instances="5")
    form.page.click("#send")
    form.wait("#earlier-link:has-text('Show fleet-')")
    [scene] = stage.fleets.values()
    assert form.page.get_attribute("#earlier-link", "href") == f"/api/view/fleet-{scene.number}"
    plan(form)
    form.page.click("#send")
    form.page.wait_for_url("**/api/view/fleet-*")
    assert len(stage.submitted) == 2


def test_no_secret_is_kept_or_in_a_url(stage: Stage, form: Visit):
    plan(form, more=SECRETS)
    stage.lost = True
    form.page.click("#send")
    form.wait("#form-fault:visible")
    assert SECRET in "".join(stage.submitted.values())
    assert SECRET not in form.page.evaluate(STORED)
    assert SECRET not in "".join([*stage.requests, *form.requested, *form.console])
    form.page.goto("about:blank")
    stage.fleets.clear()
    form.page.go_back()
    form.wait("#form:visible")
    assert form.page.input_value("#more") == ""


def test_a_readers_key_can_be_replaced(stage: Stage, form: Visit):
    stage.read_only = True
    fill(form)
    form.page.click("#plan")
    form.wait("#form-fault:has-text('does not permit planning fleets')")
    stage.read_only = False
    form.page.click("#other-key")
    form.page.fill("#key-field", KEY)
    form.page.click("#key button")
    form.page.click("#plan")
    form.wait("#send:enabled")


def test_the_list_leads_to_the_form(stage: Stage, visit: Open):
    page = visit(f"{stage.url}/api/view", KEY)
    page.page.click("#submit")
    page.wait("#form:visible")
    plan(page)  # with the key of the list
