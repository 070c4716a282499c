"""Database URIs and servers that people report trouble with: source, input, answer."""

from __future__ import annotations

import contextlib
import random
import re
import time
from collections.abc import Iterator, Mapping

import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg2.extensions import parse_dsn
from sqlalchemy.engine import make_url

from fleet.api.request import InvalidRequest, parse
from fleet.model.database_uri import ADDRESS, OPTIONS, PATTERN, InvalidDatabaseUri, libpq_options

REFUSED = [
    # source, URI, the sentence that helps
    ("docker-mailman#769", "postgresql://ada:100%@db.example.org/bench", "Percent-encode % as %25"),
    ("docker-mailman#769", "postgresql://ada:p%ss@db.example.org/bench", "Percent-encode % as %25"),
    ("pgsync#86", "postgresql://ada:p@ss@db.example.org/bench", "@ as %40"),
    ("pgsync#86", "postgresql://ada@corp:pass@db.example.org/bench", "@ as %40"),
    ("pgsync#86", "postgresql://ada:12#34@db.example.org/bench", "# as %23"),
    ("pgsync#86", "postgresql://ada:12?34@db.example.org/bench", "? as %3F"),
    ("pgsync#86", "postgresql://ada:12/34@db.example.org/bench", "/ as %2F"),
    ("pgsync#86", "postgresql://ada:[12]@db.example.org/bench", "[ as %5B"),
    ("pgsync#86", "postgresql://ada:1 2@db.example.org/bench", "a space as %20"),
    ("SQLAlchemy 2.0", "postgresql://ada:p@db.example.org/my%20bench", "or rename the database"),
    ("databases#365", "postgresql://ada:p@db.example.org/b?ssl=true", "option ssl. The app verifies"),
    ("psycopg2#803", "postgresql://ada:p@db.example.org/b?sslrootcert=/ca.pem", "FLEET_DB_ROOT_CERT"),
    ("psycopg2#803", "postgresql://ada:p@db.example.org/b?sslmode=prefer", "Omit sslmode"),
    ("Prisma docs", "postgresql://ada:p@db.example.org/b?pgbouncer=true", "requires no option"),
]  # fmt: skip


@pytest.mark.parametrize(
    "uri", ["postgresql://h/" + "%41" * 20_000 + "@", "postgresql://h:" + "0" * 5000]
)
def test_a_long_uri_is_refused_without_delay(uri: str):
    """It took 38 s, while the app's other requests waited."""
    began = time.process_time()
    with pytest.raises(InvalidRequest) as raised:
        parse({"experiment_id": 1, "n_instances": 1, "uri": uri})
    with pytest.raises(InvalidDatabaseUri):
        libpq_options(uri)
    assert [fault["pointer"] for fault in raised.value.faults] == ["/uri"]
    assert time.process_time() - began < 5


@pytest.mark.parametrize(("source", "uri", "advice"), REFUSED)
def test_a_uri_that_programs_read_differently_is_refused(source: str, uri: str, advice: str):
    with pytest.raises(InvalidRequest) as raised:
        parse({"experiment_id": 1, "n_instances": 1, "uri": uri})
    [fault] = raised.value.faults
    assert (fault["pointer"], advice in fault["detail"]) == ("/uri", True), fault


PIECES = r"""
    a ab 1 : @ / ? # & = + % %4 %40 %2F %3A %23 %25 %20 %00 %ff %C3%A9 \u00e9 [ ] , ; ' \ " $ ~ * host=x
""".split()  # noqa: SIM905 (readable)
SCHEMES = ["postgresql", "postgres", "postgresql+psycopg2", "Postgresql", "postgresql+x.y"]
HOSTS = [
    "db.example.org",
    "DB",
    "h.",
    "10.0.0.1",
    "[fd00::1]",
    "[::1",
    "[1.2.3.4]",
    "a,b",
    "h%41",
    "",
]
PORTS = ["", "", ":5432", ":", ":05432", ":0", ":65536", ":x"]
NAMES = [*OPTIONS, "host", "ssl", "%73slmode"]


def uris(count: int) -> Iterator[str]:
    """URIs of pieces that parsers disagree about."""
    some = random.Random(0)

    def text() -> str:
        return "".join(some.choices(PIECES, k=some.choice((0, 0, 1, 1, 2, 3))))

    def option() -> str:
        return f"{some.choice(NAMES)}={text() or 'a'}"

    for _ in range(count):
        yield "".join(
            [
                some.choice(SCHEMES[: some.choice((3, 5))]),
                "://",
                some.choice(["", f"{text()}@", f"{text()}:{text()}@"]),
                some.choice(HOSTS[: some.choice((5, 10))]),
                some.choice(PORTS[: some.choice((3, 8))]),
                some.choice(["", f"/{text()}"]),
                some.choice(["", "", f"?{option()}", f"?{option()}&{option()}"]),
            ]
        )


def test_every_reader_agrees_about_a_uri_that_is_accepted():
    accepted = 0
    for uri in uris(8_000):
        with contextlib.suppress(InvalidDatabaseUri):
            agree(uri, libpq_options(uri))
            accepted += 1
    assert accepted > 1000  # of both kinds


def agree(uri: str, ours: Mapping[str, str]) -> None:
    url, libpq_uri = make_url(uri), re.sub(r"^(\w+)\+\w+", r"\1", uri)
    sqlalchemy = {
        **url.query, "host": url.host, "port": url.port, "user": url.username,
        "password": url.password, "dbname": url.database,
    }  # fmt: skip
    readers = [parse_dsn(libpq_uri), conninfo_to_dict(libpq_uri), sqlalchemy]
    for name in (*ADDRESS, *(OPTIONS.keys() - {"sslmode"})):
        found = [str(reader.get(name) or "") for reader in readers]
        if name == "port":
            found = [port.lstrip("0") for port in found]
        assert found == [ours.get(name, "")] * 3, (uri, name)
    assert re.search(PATTERN, uri), uri
