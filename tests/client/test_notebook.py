"""What a notebook shows of fleets, their VMs and lists; and data frames."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import pytest
from powerlift_fleet import ConfigurationError, FleetClient, Run
from powerlift_fleet.api.rows import MOST_SHOWN, Rows

from tests.client.both import Script, entry, fleet_status, ok, status
from tests.client.cli.served import machines
from tests.client.executors import scripted

HOSTILE = "<script>alert('x')</script>&<b onclick=y>"
COUNTS = {"total": 8, "ready": 3, "running": 2, "complete": 2, "error": 1}


class Shown(HTMLParser):
    """The elements and the text of some HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: dict[str, str | None] = {}
        self.rows: list[list[str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= dict(attributes)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows:
            self.rows[-1][-1] += data


def shown(thing: Any) -> Shown:
    return Shown(thing._repr_html_())


def client(*answers: Any) -> FleetClient:
    return scripted(Script(*answers))._api


def test_a_status_shows_its_bars_failures_and_where_errors_are() -> None:
    reason = {"code": "TooFew", "message": "None started", "action": "", "advice": "Try later."}
    failure = {**reason, "code": "SkuNotAvailable", "count": 3, "message": "Sold out."}
    table = shown(fleet_status("failed", reason=reason, failures=[failure], trials=COUNTS))
    assert table.rows[:5] == [
        ["fleet-7", "failed"],
        ["VMs", "", "2/2, 2 running"],
        ["trials", "", "3/8, 2 complete, 1 failed, 2 running, 3 ready"],
        ["reason", "TooFew", "None started. Try later."],
        ["failures", "3 x SkuNotAvailable", "Sold out. Try later."],
    ]
    assert table.rows[5][2].startswith("1 of 8 trials failed: run.status()")


def test_an_executor_shows_its_fleets_as_last_seen_without_a_call() -> None:
    app = Script(ok(**status(number=3, name="nightly")))
    executor = scripted(app)
    executor.attach("fleet-7")
    executor._fleets.append("fleet-8")
    table = shown(executor)
    assert table.rows == [
        ["fleet", "phase", "VMs", "trials"],
        ["fleet-3 (nightly)", "run", "2/2, 2 running", "3/8, 2 complete, 1 failed, 2 running, 3 ready"],
        ["fleet-8", "submitted"],
    ]  # fmt: skip
    assert (table.attributes["href"], len(app.requests)) == ("https://fleet.example", 1)


RANDOM = "fleet-1234567890123456"


@pytest.mark.parametrize(
    ("name", "expected"), [("nightly", "fleet-3 (nightly)"), (None, "fleet-3")]
)
def test_a_new_fleet_is_shown_by_its_short_id_and_name(name: str | None, expected: str) -> None:
    taken = ok(id=RANDOM, number=3, batch_id=1234567890123456, links=status()["links"])
    executor = scripted(Script(taken), name=name)
    executor.submit(1)
    assert shown(executor).rows[1] == [expected, "submitted"]
    assert (repr(executor).endswith(f"fleets: {expected}>"), executor.fleets) == (True, [RANDOM])


def test_a_retried_fleet_is_shown_by_its_short_id() -> None:
    taken = ok(id=RANDOM, number=4, batch_id=1234567890123456, links=status()["links"], trials=1)
    executor = scripted(Script(ok(**status(number=3)), taken))
    executor.attach("fleet-7")
    assert executor.retry() == RANDOM
    assert shown(executor).rows[1] == ["fleet-4", "submitted"]


def test_a_run_shows_its_experiment_and_fleets() -> None:
    executor, benchmark = scripted(Script(ok())), SimpleNamespace(name="forests")
    run = Run(12, executor, benchmark, None)  # type: ignore[arg-type]
    assert shown(run).rows == [["forests", "experiment 12"], ["No fleet has been submitted yet."]]


def test_a_list_of_fleets_shows_the_most_important_columns() -> None:
    done = entry(3, phase="done", outcome="succeeded", trials=COUNTS, cost=1.5)
    table = shown(client(ok(fleets=[done], next=None)).fleets())
    assert dict(zip(*table.rows, strict=True)) == {
        "fleet": "fleet-3", "name": "", "experiment": "12", "phase": "succeeded", "VMs": "",
        "trials": "3/8", "failed": "1", "cost": "1.5", "created": "2026-01-01 00:00",
    }  # fmt: skip


def test_a_list_of_vms_shows_why_they_failed() -> None:
    table = shown(client(ok(**machines())).machines("fleet-7"))
    assert [row[-1] for row in table.rows] == [
        "outcome", "", "SpotEvicted: Azure took it.", "all trials done",
        "SpotEvicted: Azure took it.",
    ]  # fmt: skip
    assert table.rows[1][:3] == ["0", "running", "eastus/1 Standard_D2s_v5 Spot"]


def test_a_long_list_is_cut() -> None:
    listed = client(ok(fleets=[entry(number) for number in range(MOST_SHOWN + 5)], next=None))
    html = listed.fleets()._repr_html_()
    assert (html.count("<tr>"), "5 more rows: to_frame() has all." in html) == (
        MOST_SHOWN + 1,
        True,
    )


@pytest.mark.parametrize(
    "thing",
    [
        fleet_status(name=HOSTILE, number=3, phase=HOSTILE),
        client(ok(fleets=[entry(3, name=HOSTILE, phase=HOSTILE)], next=None)).fleets(),
        client(ok(**machines(HOSTILE))).machines("fleet-7"),
    ],
    ids=["status", "fleets", "machines"],
)
def test_text_from_outside_is_escaped_and_no_theme_is_assumed(thing: Any) -> None:
    table = shown(thing)
    assert table.tags <= {"table", "tr", "th", "td", "b", "progress"}
    assert set(table.attributes) <= {"value", "max"}
    assert any("<script>" in cell for row in table.rows for cell in row)


def test_a_link_leads_to_a_web_page_or_nowhere() -> None:
    links = {**status()["links"], "view": "javascript:alert(1)"}
    executor = scripted(Script(ok(**status(links=links))))
    executor.attach("fleet-7")
    assert "a" not in shown(executor).tags


def test_a_data_frame_has_a_row_for_each_vm_and_a_column_for_each_member() -> None:
    frame = client(ok(**machines())).machines("fleet-7").to_frame()
    assert list(frame["placement.vm_size"]) == ["Standard_D2s_v5"] * 4
    assert list(frame["failure.code"].fillna("")) == ["", "SpotEvicted", "", "SpotEvicted"]
    assert (str(frame["running_at"].dt.tz), {"raw", "failure"} & set(frame)) == ("UTC", set())


def test_a_mapping_has_a_column_for_each_key() -> None:
    frame = Rows([fleet_status(missing={"SpotEvicted": 2}), fleet_status()]).to_frame()
    assert list(frame["missing.SpotEvicted"].fillna(0)) == [2, 0]


def test_an_executor_has_the_vms_of_its_latest_fleet() -> None:
    app = Script(ok(**machines()))
    executor = scripted(app)
    with pytest.raises(ConfigurationError, match="No fleet has been submitted yet"):
        executor.machines()
    executor._fleets += ["fleet-6", "fleet-7"]
    assert len(executor.machines()) == 4
    assert [request.url.path for request in app.requests] == ["/api/fleets/fleet-7/machines"]


def test_an_empty_list_is_an_empty_frame() -> None:
    listed = client(ok(fleets=[], next=None)).fleets()
    assert (len(listed.to_frame()), shown(listed).rows) == (0, [["None."]])


def test_a_data_frame_without_pandas_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = client(ok(fleets=[entry(3)], next=None)).fleets()
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigurationError, match="pip install pandas"):
        listed.to_frame()
