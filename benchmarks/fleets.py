"""What many past fleets cost: latency of the list, rate of the purge, size of the tables.

    python -m benchmarks.fleets [--fleets 10000] [--purged 200]

`list` are pages of 50 fleets over HTTP, the first one and one in the middle; `get` is the lookup of a
fleet by its number. The purge deletes real instances from the task hub.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import quantiles
from typing import Any

import psycopg2
import requests
from rich.console import Console

from benchmarks.common import make_parser, make_table, new_stack
from local.demo import fleets
from local.stack import Stack

REQUESTS = 100
FIRST_BATCH = 10**12
_FLEETS = """
    INSERT INTO powerlift_fleet (owner, deadline, batch_id, number, submitted_by, fingerprint,
        experiment_id, experiment_name,
        n_instances, account, submitted_at, started_at, ended_at, purged_at, phase, machines, trials,
        cost)
    SELECT (SELECT owner FROM powerlift_fleet LIMIT 1), now(), {first} + n, {first} + n,
        'key-0123456789ab', md5(n::text),
        n % 100, 'experiment ' || n % 100,
        100, 'account', now() - n * interval '1 hour', now() - n * interval '1 hour',
        now() - n * interval '1 hour', now(), 'done', '{counts}', '{trials}', 1.5
    FROM generate_series(1, {fleets}) AS n
"""
_COUNTS = '{"wanted":100,"accepted":100,"role_assigned":100,"running":0,"failed":0,"deleted":100}'
_TRIALS = '{"total":1000,"ready":0,"running":0,"complete":1000,"error":0}'
_ENDED = """
    UPDATE powerlift_fleet SET deadline = now(), ended_at = now() - interval '40 days'
    WHERE batch_id < {first}
"""
_LEFT = "SELECT count(*) FROM powerlift_fleet WHERE batch_id < {first} AND purged_at IS NULL"
_SIZES = r"""
    SELECT relname, pg_total_relation_size(oid) FROM pg_class
    WHERE relkind = 'r' AND relname LIKE 'powerlift\_fleet%' ORDER BY 1
"""


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--fleets", type=int, default=10_000, help="past fleets in the list")
    parser.add_argument("--purged", type=int, default=200, help="fleets to purge")
    options = parser.parse_args()
    with new_stack({"FLEET_PURGE_SCHEDULE": "*/2 * * * * *"}, time_scale=0.01) as stack:
        measure(stack, options.fleets, options.purged)


def measure(stack: Stack, past: int, purged: int) -> None:
    submit_all(stack, purged)
    values = {"first": FIRST_BATCH, "fleets": past, "counts": _COUNTS, "trials": _TRIALS}
    run(stack, _FLEETS, values)
    latencies = make_table(f"{past:,} past fleets", "request", "median", "p95")
    middle = page(stack)
    for _ in range(20):
        middle = page(stack, cursor=middle["next"])
    calls: list[tuple[str, Callable[[int], object]]] = [
        ("list, first page", lambda n: page(stack, submitted_by="key-0123456789ab", experiment=n)),
        ("list, in the middle", lambda n: page(stack, cursor=middle["next"], limit=50 + n)),
        ("get, by number", lambda n: get(stack, f"/fleet-{FIRST_BATCH + n + 1}")),
    ]
    for name, call in calls:
        median, p95 = timed(call)
        latencies.add_row(name, f"{median:.0f} ms", f"{p95:.0f} ms")
    Console().print(latencies)
    sizes = make_table("Sizes", "table", "size")
    for name, size in run(stack, _SIZES, {}):
        sizes.add_row(name, f"{size / 1e6:.1f} MB")
    Console().print(sizes)
    took = purge(stack, values)
    print(f"Purged {purged} fleets in {took:.0f} s: {purged / took:.0f}/s")


def submit_all(stack: Stack, count: int) -> None:
    """Fleets that fail in their plan, since their experiment does not exist."""

    def submit(batch: int) -> None:
        request = {"experiment_id": 10**6, "n_instances": 1, "batch_id": batch}
        fleets.post(stack.url, stack.key, request)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(submit, range(1, count + 1)))
    ended = "SELECT count(*) FROM powerlift_fleet WHERE ended_at IS NOT NULL"
    while run(stack, ended, {})[0][0] < count:
        time.sleep(0.2)


def purge(stack: Stack, values: dict[str, Any]) -> float:
    """Seconds until all that ended long ago is purged."""
    run(stack, _ENDED, values)
    began = time.monotonic()
    while run(stack, _LEFT, values)[0][0]:
        time.sleep(0.1)
    return time.monotonic() - began


def timed(call: Callable[[int], object]) -> tuple[float, float]:
    """Median and 95th percentile, in milliseconds. Each call differs: equal ones are cached."""
    took = []
    for number in range(REQUESTS):
        began = time.perf_counter()
        call(number)
        took.append(1000 * (time.perf_counter() - began))
    percentiles = quantiles(took, n=20)
    return percentiles[9], percentiles[18]


def page(stack: Stack, **query: Any) -> dict[str, Any]:
    answer = get(stack, "", **query)
    answer.raise_for_status()
    return dict(answer.json())


def get(stack: Stack, path: str, **query: Any) -> requests.Response:
    url, headers = f"{stack.url}/api/fleets{path}", {"x-functions-key": stack.key}
    return requests.get(url, params=query, headers=headers, timeout=60)


def run(stack: Stack, statement: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    with psycopg2.connect(stack.db_uri) as database, database.cursor() as cursor:
        cursor.execute(statement.format(**values))
        return cursor.fetchall() if cursor.description else []


if __name__ == "__main__":
    main()
