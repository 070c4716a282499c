"""The valid part of an invalid request: what the deployment does not allow there is reported too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fleet.api.request import Fault, FleetRequest, InvalidRequest, parse

_REQUIRED = {"experiment_id": 0, "n_instances": 1}
_COST = ("n_instances",)
_DEPENDENTS = {
    "azure_json": ("client_principal_id", "subnet_id"),
    **dict.fromkeys(("vm_size", "priority", "fallbacks", "location", "max_lifetime"), _COST),
}
"""Fields whose faults depend on another field."""
_ROUNDS = 3
"""A rule about several fields is checked only once each is valid, so that its faults come later."""


class ValidPart:
    """A request without its invalid fields; of an array, only the invalid items are left out."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = dict(document)
        self._absent: set[str] = set()
        self._changed: set[str] = set()
        self._positions: dict[str, list[int]] = {}
        """The positions, in the request, of the items that an array still has."""

    @classmethod
    def of(cls, document: Any, faults: Sequence[Fault]) -> tuple[ValidPart, FleetRequest] | None:
        """The part and the request that it is; None if there is none. `faults` are those of `parse`."""
        if not isinstance(document, Mapping):
            return None
        part = cls(document)
        for _ in range(_ROUNDS):
            part._leave_out(fault["pointer"] for fault in faults)
            try:
                return part, parse({**_REQUIRED, **part._document})
            except InvalidRequest as invalid:
                faults = invalid.faults
        return None

    def faults(self, found: Iterable[Fault]) -> list[Fault]:
        """Those of `found` in the part that hold for the request, with the pointers of the request."""
        dependent = {other for name in self._changed for other in _DEPENDENTS.get(name, ())}
        unknown = self._absent | dependent
        return [
            Fault(self._pointer(fault["pointer"]), fault["detail"])
            for fault in found
            if _parts(fault["pointer"])[0] not in unknown
        ]

    def _leave_out(self, pointers: Iterable[str]) -> None:
        invalid_items: dict[str, set[int]] = {}
        for pointer in pointers:
            name, *rest = _parts(pointer)
            self._changed.add(name)
            if rest and isinstance(self._document.get(name), list):
                invalid_items.setdefault(name, set()).add(int(rest[0]))
            else:
                self._absent.add(name)
                self._document.pop(name, None)
        for name, invalid in invalid_items.items():
            items = self._document.get(name, [])
            kept = [index for index in range(len(items)) if index not in invalid]
            before = self._positions.get(name, range(len(items)))
            self._positions[name] = [before[index] for index in kept]
            if name in self._document:
                self._document[name] = [items[index] for index in kept]

    def _pointer(self, pointer: str) -> str:
        name, *rest = _parts(pointer)
        if rest and name in self._positions:
            rest[0] = str(self._positions[name][int(rest[0])])
        return "/".join(["", name, *rest])


def _parts(pointer: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]] or [""]
