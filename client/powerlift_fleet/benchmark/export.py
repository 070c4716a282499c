"""Results as a file: a row for each measure, with what ran the trial, and the provenance of all."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from powerlift_fleet.api.errors import ConfigurationError
from powerlift_fleet.api.rows import optional, pandas
from powerlift_fleet.benchmark.provenance import KEY, side_file
from powerlift_fleet.benchmark.redaction import redacted
from powerlift_fleet.benchmark.results import results_of, status_of, texts

if TYPE_CHECKING:
    from pandas import DataFrame

FORMATS = ("csv", "json", "parquet")
_MEASURE = ["name", "seq_num", "type", "num_val", "str_val", "json_val"]
_TEXTS = ["meta", "name", "str_val", "json_val"]
"""Columns that may contain anything that the author wrote."""
_WHOLE = ("seq_num", "max_rss_bytes", "cpus", "memory_bytes", "trial_seed")
"""Columns of whole numbers that may be missing; a column of floats would show 2 as 2.0."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def export_frame(session: Any, experiment: int) -> DataFrame:
    """One row for each measure of an experiment, and one for each trial without a measure.

    Columns as in `trial_status` without `errmsg`, which quotes anything, and the measure as in
    `trial_results`. Secrets in texts are replaced.
    """
    trials = status_of(session, experiment).drop(columns="errmsg")
    measures = results_of(session, experiment)[["trial_id", *_MEASURE]]
    frame: DataFrame = trials.merge(measures, on="trial_id", how="left")
    for column in _WHOLE:
        frame[column] = frame[column].astype("Int64")
    for column in _TEXTS:
        values = texts(frame, column)
        frame[column] = values.map({text: redacted(text) for text in values.unique() if text})
        frame[column] = texts(frame, column)
    return frame


def read_database(uri: str, experiment: int) -> tuple[str, DataFrame]:
    """The name of an experiment and its `export_frame`. Raises ConfigurationError."""
    pandas()
    try:
        from sqlalchemy import create_engine, text
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError as error:
        raise ConfigurationError(
            f"Results are read from the benchmark's database with Powerlift's packages: {error}. "
            "pip install powerlift 'setuptools<82' 'psycopg[binary]'"
        ) from None
    try:
        engine = create_engine(uri)
        with engine.connect() as connection:
            name = connection.execute(
                text("SELECT name FROM experiment WHERE id = :id"), {"id": experiment}
            ).scalar()
            frame = None if name is None else export_frame(connection, experiment)
    except (SQLAlchemyError, ImportError) as error:  # ImportError: the driver
        reason = redacted(str(getattr(error, "orig", None) or error)).strip().splitlines()
        raise ConfigurationError(
            f"POWERLIFT_DB_URI cannot be read: {reason[0] if reason else type(error).__name__}. "
            "Check the URI and the database's firewall."
        ) from None
    if name is None or frame is None:
        raise ConfigurationError(
            f"The database in POWERLIFT_DB_URI has no experiment {experiment}: it is not the fleet's "
            "database."
        )
    return str(name), frame


def format_of(format_: str | None, path: Path | None) -> str:
    """The format, by default that of the file's name. Raises ConfigurationError."""
    named = path.suffix.lstrip(".").lower() if path else "csv"
    found = format_ or named
    if found not in FORMATS:
        raise ConfigurationError(
            f"The format is csv, json or parquet, and not {found!r}. Name the file accordingly, or pass "
            "the format."
        )
    if found == "parquet" and path is None:
        raise ConfigurationError("Parquet is binary: name a file.")
    if path and found != named:
        raise ConfigurationError(
            f"The name of a {found} file ends with .{found}, so that its provenance is found."
        )
    return found


def write_file(path: Path, format_: str, frame: DataFrame, provenance: Mapping[str, Any]) -> None:
    """Write the results; of CSV, the provenance goes to `side_file`. Raises ConfigurationError."""
    try:
        if format_ == "parquet":
            _write_parquet(path, frame, provenance)
            return
        with path.open("w", encoding="utf-8", newline="") as file:
            write_text(file, format_, frame, provenance)
        if format_ == "csv":
            side_file(path).write_text(json.dumps(provenance, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"Cannot write {path}: {error.strerror}.") from None


def write_text(
    file: IO[str], format_: str, frame: DataFrame, provenance: Mapping[str, Any]
) -> None:
    """Write CSV, without the provenance, or JSON."""
    if format_ == "csv":
        _harmless(frame).to_csv(file, index=False, lineterminator="\n")
        return
    file.write(f'{{"provenance": {json.dumps(provenance)},\n"results": [')
    names = list(frame.columns)
    columns = [[_plain(value) for value in texts(frame, name)] for name in names]
    for number, row in enumerate(zip(*columns, strict=True)):
        values = json.dumps(dict(zip(names, row, strict=True)))
        file.write(f"\n{values}" if number == 0 else f",\n{values}")
    file.write("\n]}\n")


def _harmless(frame: DataFrame) -> DataFrame:
    """Without texts that a spreadsheet would run as formulas: VMs write some of them."""
    whole = frame.copy()
    for column in whole.columns:
        if any(isinstance(value, str) for value in whole[column]):
            whole[column] = texts(whole, column).map(_quoted)
    return whole


def _quoted(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _plain(value: Any) -> Any:
    """A value of JSON: a text for an infinity or a time."""
    if hasattr(value, "isoformat"):
        return value.isoformat()
    value = value.item() if hasattr(value, "item") else value
    return str(value) if isinstance(value, float) and math.isinf(value) else value


def _write_parquet(path: Path, frame: DataFrame, provenance: Mapping[str, Any]) -> None:
    fastparquet = optional("fastparquet", "Parquet")
    whole = frame.copy()
    for column in whole.columns:  # fastparquet cannot infer the type of a column of None
        if whole[column].dtype == object and whole[column].isna().all():
            whole[column] = whole[column].astype(float)
    fastparquet.write(os.fspath(path), whole, custom_metadata={KEY: json.dumps(provenance)})
