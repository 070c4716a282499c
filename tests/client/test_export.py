"""Results as files, with their provenance, from a real database."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas
import pytest
from powerlift.bench import Benchmark
from powerlift_fleet import ConfigurationError, Run
from powerlift_fleet.benchmark.export import format_of, read_database, write_file
from powerlift_fleet.benchmark.provenance import fleet_in, read_provenance
from powerlift_fleet.benchmark.redaction import redacted

PROVENANCE = {"format": 1, "fleet": "fleet-8", "fleets": [{"id": "fleet-8", "request": {"a": 1}}]}
SECRET = "postgresql://me:hid/d@en@db/powerlift"


MEMORY = 2**33 + 1
MADE_UP = "Ab1" * 12
PEM = "-----BEGIN RSA PRIVATE KEY-----"


@pytest.fixture(scope="module")
def exported(benchmark_database: Any) -> pandas.DataFrame:
    """An experiment of which two fleets ran a trial each, one without a measure, and one has not run."""
    number = benchmark_database.experiment("", trials=3)
    first, second, _ = [one["id"] for one in benchmark_database.trials(number)]
    for trial, fleet in ((first, 8), (second, 9)):
        runner = fleet * 10_000 + 1
        benchmark_database.sql(
            "INSERT INTO powerlift_fleet_runner (experiment_id, runner_id, vm_name, cpu_model, kernel,"
            " cpus, memory_bytes, trial_order, trial_seed)"
            " VALUES (%s, %s, %s, 'EPYC 7763', '6.8', 2, %s, 'paired', 41)",
            *(number, runner, f"powerlift-vm-{fleet}-0001", MEMORY if fleet == 8 else -1),
        )
        benchmark_database.sql(
            "INSERT INTO powerlift_fleet_trial (trial_id, experiment_id, runner_id, wall_seconds,"
            " max_rss_bytes, measured_at) VALUES (%s, %s, %s, 2.5, 1000, now())",
            *(trial, number, runner),
        )
        benchmark_database.sql(
            "UPDATE trial SET start_time = now(), end_time = now(), errmsg = %s WHERE id = %s",
            *(SECRET if fleet == 9 else None, trial),
        )
    for name, kind, value in (
        ("score", 0, "0.1"),
        ("loss", 0, "inf"),
        ("note", 1, SECRET),
    ):
        benchmark_database.sql(
            "INSERT INTO measure_outcome (trial_id, name, seq_num, type, val)"
            " VALUES (%s, %s, 0, %s, %s)",
            *(first, name, kind, value),
        )
    return read_database(benchmark_database.store.uri, number)[1]


def test_rows_are_measures_and_trials_without_any(exported: pandas.DataFrame):
    """A failed trial that were missing would make its method look better."""
    rows = exported[["status", "name", "fleet", "vm_name", "trial_order", "trial_seed"]]
    found = [tuple(None if pandas.isna(one) else one for one in row) for row in rows.to_numpy()]
    vm = ("fleet-8", "powerlift-vm-8-0001", "paired", 41)
    other = ("fleet-9", "powerlift-vm-9-0001", "paired", 41)
    assert sorted(found, key=str) == sorted(
        [*(("COMPLETE", name, *vm) for name in ("score", "loss", "note")),
         ("ERROR", None, *other), ("READY", None, None, None, None, None)],
        key=str,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["r.csv", "r.json", "r.parquet"])
def test_a_file_has_rows_and_provenance_and_no_secret(
    exported: pandas.DataFrame, tmp_path: Path, name: str
):
    file = tmp_path / name
    write_file(file, format_of(None, file), exported, PROVENANCE)
    rows = read_rows(file)
    scores = [float(one["num_val"]) for one in rows if one["name"] == "score"]
    losses = [float(one["num_val"]) for one in rows if one["name"] == "loss"]
    assert (len(rows), scores, losses) == (5, [0.1], [float("inf")])
    assert read_provenance(file) == PROVENANCE
    written = b"".join(one.read_bytes() for one in tmp_path.iterdir())
    assert (b"en@db" in written, b"hid/d" in written) == (False, False)


@pytest.mark.parametrize("name", ["r.csv", "r.json", "r.parquet"])
def test_whole_numbers_stay_whole_beside_missing_ones(
    exported: pandas.DataFrame, tmp_path: Path, name: str
):
    """Of trials without measures, or that have not run. A VM may report what it has not."""
    file = tmp_path / name
    write_file(file, format_of(None, file), exported, PROVENANCE)
    columns = ("seq_num", "cpus", "trial_seed", "max_rss_bytes", "memory_bytes")
    rows = [[str(row[one]) for one in columns] for row in read_rows(file)]
    missing = "" if name == "r.csv" else "None"
    assert sorted(rows) == sorted(
        [*[["0", "2", "41", "1000", str(MEMORY)]] * 3,
         [missing, "2", "41", "1000", missing], [missing] * 5]
    )  # fmt: skip


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r"])
def test_no_text_of_a_csv_file_is_a_formula(tmp_path: Path, begin: str):
    """Spreadsheets run those of anybody. Numbers stay numbers, and the other formats the text."""
    text = f'{begin}HYPERLINK("http://evil")'
    frame = pandas.DataFrame(
        {"name": [text, "ok"], "meta": [None, text], "num_val": [-0.5, float("-inf")], "n": [-1, 2]}
    )
    for name in ("r.csv", "r.json"):
        write_file(tmp_path / name, format_of(None, tmp_path / name), frame, PROVENANCE)
    with (tmp_path / "r.csv").open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    quoted = f"'{text}"
    assert rows == [[quoted, "", "-0.5", "-1"], ["ok", quoted, "-inf", "2"]]
    assert read_rows(tmp_path / "r.json")[0]["name"] == text


def test_a_run_exports_its_results_with_the_provenance_of_its_fleets(
    exported: pandas.DataFrame, benchmark_database: Any, tmp_path: Path
):
    number = int(benchmark_database.sql("SELECT max(id) FROM experiment")[0][0])
    [(name,)] = benchmark_database.sql("SELECT name FROM experiment WHERE id = %s", number)
    asked: list[Any] = []
    executor: Any = SimpleNamespace(
        provenance=lambda fleets, name: asked.extend([*fleets, name]) or PROVENANCE
    )
    store = benchmark_database.store
    Run(number, executor, Benchmark(store, name), store).export(tmp_path / "r.json")
    assert asked == ["fleet-8", "fleet-9", name]
    assert (len(read_rows(tmp_path / "r.json")), read_provenance(tmp_path / "r.json")) == (
        len(exported),
        PROVENANCE,
    )


@pytest.mark.parametrize(
    "time", ["infinity", "-infinity", "0001-01-01 BC", "294276-12-31", "9999-1-1"]
)
@pytest.mark.parametrize("name", ["r.csv", "r.json", "r.parquet"])
def test_what_one_vm_writes_hides_no_results(
    benchmark_database: Any, tmp_path: Path, name: str, time: str
):
    """A trial's role can write its times and measures."""
    number = benchmark_database.experiment("", trials=2)
    first, second = [one["id"] for one in benchmark_database.trials(number)]
    benchmark_database.sql(
        "UPDATE trial SET create_time = %s, start_time = %s, end_time = %s WHERE id = %s",
        *(time, time, time, first),
    )
    for trial, value in ((first, "much"), (second, "0.1")):
        benchmark_database.sql(
            "INSERT INTO measure_outcome (trial_id, name, seq_num, type, val)"
            " VALUES (%s, 'score', 0, 0, %s)",
            *(trial, value),
        )
    frame = read_database(benchmark_database.store.uri, number)[1]
    write_file(tmp_path / name, format_of(None, tmp_path / name), frame, PROVENANCE)
    assert len(read_rows(tmp_path / name)) == 2
    by_trial = frame.set_index("trial_id")
    times = by_trial.loc[first, ["create_time", "start_time", "end_time"]]
    assert (times.isna().all(), by_trial.loc[first, "status"]) == (True, "COMPLETE")
    assert (pandas.isna(by_trial.loc[first, "num_val"]), by_trial.loc[second, "num_val"]) == (
        True,
        0.1,
    )
    assert pandas.notna(by_trial.loc[second, "create_time"])


def read_rows(file: Path) -> list[dict[str, Any]]:
    if file.suffix == ".csv":
        return list(csv.DictReader(file.open()))
    if file.suffix == ".json":
        return list(json.loads(file.read_text())["results"])
    return list(pandas.read_parquet(file, engine="fastparquet").to_dict("records"))


@pytest.mark.parametrize(
    ("format_", "name"), [("xml", None), (None, "r.txt"), ("parquet", None), ("csv", "r.json")]
)
def test_a_format_that_cannot_be_written_is_refused(format_: str | None, name: str | None):
    with pytest.raises(ConfigurationError):
        format_of(format_, Path(name) if name else None)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"uri={SECRET}", "uri=postgresql://***@db/powerlift"),
        ("https://token@github.com/a", "https://***@github.com/a"),
        ("git+ssh://git@github.com/a@v1", "git+ssh://git@github.com/a@v1"),
        ("https://host:8080/a@v1", "https://host:8080/a@v1"),
        ("https://a.blob.core.windows.net/c?sv=1&sig=abc%3D&se=2",
         "https://a.blob.core.windows.net/c?sv=1&sig=***&se=2"),
        ("AccountName=a;AccountKey=abc==;X=1", "AccountName=a;AccountKey=***;X=1"),
        ("host=a password='x y' user=b", "host=a password='***' user=b"),
        ('{"client_secret": "a\\"b", "n_token": 3}', '{"client_secret": "***", "n_token": 3}'),
        ("Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.abc", "Authorization: Bearer ***"),
        ("https://app/api/view/fleet-7#key=abc==", "https://app/api/view/fleet-7#key=***"),
        ("sealed gAAAAA" + "x" * 100 + "==", "sealed ***"),
        ('{"max_depth": 3, "tokens": "a"}', '{"max_depth": 3, "tokens": "a"}'),
        (f"a gh{'p'}_{MADE_UP} b", "a *** b"),
        (f"github_{'pat'}_11AA_{MADE_UP}", "***"),
        (f"h{'f'}_{MADE_UP}", "***"),
        (f"s{'k'}-proj-{MADE_UP}", "***"),
        (f"a eyJ{MADE_UP}.{MADE_UP}.{MADE_UP}, b", "a ***, b"),
        (f"AKI{'A'}0123456789ABCDEF.", "***."),
        (f"{PEM}\nProc-Type: 4\n\n{MADE_UP}\n-----END RSA PRIVATE KEY-----\nb", f"{PEM}***\nb"),
        (f"{PEM}\n{MADE_UP}", f"{PEM}***"),
        ("run --password hunter2 --verbose", "run --password *** --verbose"),
        ("['run', '--db-password', 'hunter2', '-v']", "['run', '--db-password', '***', '-v']"),
        ("--no-token --verbose", "--no-token --verbose"),
        ("PGPASSWORD: hunter2\nPGUSER: me", "PGPASSWORD: ***\nPGUSER: me"),
        ("Authorization: Basic bWU6aHVudGVyMg==", "Authorization: Basic ***"),
        ('{"Authorization": "Basic bWU6aHVudGVyMg=="}', '{"Authorization": "Basic ***"}'),
        ("x-functions-key: abc==", "x-functions-key: ***"),
        ('{"db":{"pass":"hunter2","port":1}}', '{"db":{"pass":"***","port":1}}'),
        (r'{"a": "{\"password\": \"hun\\\"ter2\", \"n\": 1}"}',
         r'{"a": "{\"password\": \"***\", \"n\": 1}"}'),
        ('{"password": "hunt', '{"password": "***"'),
        ("first pass: 0.9, sig: 0.05, basic internationalization", "first pass: 0.9, sig: 0.05, basic "
         "internationalization"),
    ],
)  # fmt: skip
def test_secrets_are_replaced_by_their_form(text: str, shown: str):
    assert redacted(text) == shown


NEAR_MATCHES = (
    "://a:", "a-", "_-", '"token": "', "password ", "password: ", "--password ", "--a", "-eyJ", " ",
    "eyJaaaaaa.", "Authorization: ", "-----BEGIN PRIVATE KEY-----", r'pass\":\"', r"pass\':\"", "ghp_a",
    "sk-", "AKIA", "password=\\", "\\",
)  # fmt: skip


@pytest.mark.parametrize("text", NEAR_MATCHES)
def test_a_text_of_near_matches_takes_linear_time(text: str):
    for before in ("", "password", 'password\\"', "Authorization:"):
        short, long = (process_seconds(before + text * size) for size in (1_000, 10_000))
        assert long < 30 * short + 0.1


def process_seconds(text: str) -> float:
    began = time.process_time()
    redacted(text)
    return time.process_time() - began


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("r.json", "[]", "no provenance"),
        ("r.json", '{"provenance": {"format": 2, "fleets": [{}]}}', "no provenance"),
        ("r.json", "{", "Cannot read"),
        ("r.csv", "a", r"r\.provenance\.json"),
    ],
)
def test_a_file_without_provenance_is_refused(tmp_path: Path, name: str, content: str, said: str):
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigurationError, match=said):
        read_provenance(tmp_path / name)


def test_a_fleet_of_a_file_is_the_exported_or_the_named_one():
    other = {"id": "fleet-9", "problem": "purged"}
    document = {**PROVENANCE, "fleets": [*PROVENANCE["fleets"], other]}
    assert fleet_in(document, None)["request"] == {"a": 1}
    for fleet, said in (("fleet-9", "purged"), ("fleet-1", "fleet-8, fleet-9")):
        with pytest.raises(ConfigurationError, match=said):
            fleet_in(document, fleet)


def test_a_database_that_cannot_be_read_is_reported_without_its_password():
    with pytest.raises(ConfigurationError) as caught:
        read_database("postgresql+psycopg://me:hidden@127.0.0.1:1/powerlift", 1)
    assert "hidden" not in str(caught.value)


def test_a_database_of_another_benchmark_is_reported(benchmark_database: Any):
    with pytest.raises(ConfigurationError, match="not the fleet's"):
        read_database(benchmark_database.store.uri, 2**31 - 1)
