"""Where results come from: the fleets that ran an experiment, their requests and packages.

Written into an export, and read by `clone --from`. Contains no secret: the app returns none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from powerlift_fleet._version import __version__
from powerlift_fleet.api.errors import ConfigurationError, FleetError
from powerlift_fleet.api.rows import optional
from powerlift_fleet.benchmark.notices import installed_powerlift
from powerlift_fleet.benchmark.redaction import redacted

if TYPE_CHECKING:
    from powerlift_fleet.api.client import FleetClient

FORMAT = 1
KEY = "powerlift_fleet"
"""Of the provenance in the metadata of a Parquet file."""
_DEEPEST = 30
"""Levels of a document; more would exceed Python's limit wherever it is used."""
_LOCK = ("architecture", "digest", "python", "requirements")


def provenance(
    client: FleetClient, fleet: str, others: Iterable[str] = (), experiment: str | None = None
) -> dict[str, Any]:
    """The provenance of the results of a fleet, by its full ID, and of `others` on its experiment.

    `fleets` has the request without secrets, and the locks of packages, of each; `problem` says what the
    app could not return.
    """
    ids = dict.fromkeys([fleet, *others])
    entries = [_entry(client, one) for one in ids]
    versions = [entry.pop("app_version", None) for entry in entries]
    powerlift = installed_powerlift()
    number = entries[0].get("request", {}).get("experiment_id")
    return {
        "format": FORMAT,
        "fleet": fleet,
        "experiment": {"id": number, "name": experiment},
        "versions": {
            "powerlift_fleet": __version__,
            "app_at_export": versions[0],
            "powerlift": powerlift and powerlift.version,
        },
        "fleets": entries,
    }


def _entry(client: FleetClient, fleet: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"id": fleet}
    try:
        found = client.request_of(fleet)
        entry |= {"request": clean(found.request), "secrets": list(found.secrets)}
        entry["app_version"] = found.app_version
        entry["locks"] = [
            {name: getattr(lock, name) for name in _LOCK} for lock in client.locks(fleet)
        ]
    except FleetError as error:
        entry["problem"] = redacted(str(error))
    return entry


def clean(value: Any) -> Any:
    """A JSON value whose texts are redacted."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        return {name: clean(one) for name, one in value.items()}
    return [clean(one) for one in value] if isinstance(value, list) else value


def side_file(path: Path) -> Path:
    """Where the provenance of a CSV file is: `results.provenance.json`."""
    return path.with_suffix(".provenance.json")


def read_provenance(path: Path) -> dict[str, Any]:
    """The provenance of an export, by the end of its name. Raises ConfigurationError."""
    try:
        document = _read(path)
        _require_json(document)
    except (OSError, ValueError, RecursionError) as error:
        where, reason = path, str(error)
        if isinstance(error, OSError):
            where, reason = error.filename or path, error.strerror or reason
        raise ConfigurationError(f"Cannot read {where}: {reason}.") from None
    found = document.get("provenance", document) if isinstance(document, dict) else None
    if not isinstance(found, dict) or found.get("format") != FORMAT or not _fleets(found):
        raise ConfigurationError(
            f"{path} has no provenance of this version's format: it is not a file of "
            "powerlift-fleet results, or of another version."
        )
    return found


def _require_json(document: Any) -> None:
    """Raises ValueError for what Python reads, and cannot send to an app."""
    if _is_deeper(document, _DEEPEST):
        raise ValueError("its JSON is nested too deeply")
    json.dumps(document, ensure_ascii=False, allow_nan=False).encode()


def _is_deeper(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels == 0 or any(_is_deeper(one, levels - 1) for one in inner)


def _fleets(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    fleets = document.get("fleets")
    whole = isinstance(fleets, list) and all(isinstance(one, dict) for one in fleets)
    return list(fleets) if whole and isinstance(fleets, list) else []


def fleet_in(document: Mapping[str, Any], fleet: str | None) -> Mapping[str, Any]:
    """The entry of a fleet by its full ID; None: of the fleet that was exported.

    Raises ConfigurationError.
    """
    wanted = fleet or document.get("fleet")
    entry = next((one for one in _fleets(document) if one.get("id") == wanted), None)
    if entry is None:
        ids = ", ".join(str(one.get("id")) for one in _fleets(document))
        raise ConfigurationError(f"The file has no fleet {wanted}. It has {ids}.")
    if not isinstance(entry.get("request"), dict):
        raise ConfigurationError(
            f"The file lacks the request of {wanted}: {entry.get('problem', 'unknown reason')}"
        )
    secrets = entry.get("secrets", [])
    if not isinstance(wanted, str) or not isinstance(secrets, list):
        raise ConfigurationError(
            f"The file's entry of {wanted} is not one of an export: its id must be a text, and its "
            "secrets a list. Export the results again."
        )
    return entry


def _read(path: Path) -> Any:
    kind = path.suffix.lower()
    if kind == ".parquet":
        return json.loads(_parquet_metadata(path))
    file = side_file(path) if kind == ".csv" else path
    return json.loads(file.read_text(encoding="utf-8"))


def _parquet_metadata(path: Path) -> str:
    fastparquet = optional("fastparquet", "Parquet")
    try:
        metadata: Mapping[str, str] = fastparquet.ParquetFile(str(path)).key_value_metadata
    except Exception as error:  # its parser may raise anything
        raise ValueError(f"it is not a Parquet file ({type(error).__name__})") from None
    return metadata.get(KEY, "null")
