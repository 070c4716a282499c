"""Strict JSON parsing: rejects input that two parsers could interpret differently."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, NoReturn

from fleet.api.request import Fault, InvalidRequest

LIMIT = 1_000_000
"""Bytes of a body: ten times the largest valid request."""

MEMBERS = 1000
"""Members of all objects in a body: several times those of the largest valid request. Each one may be a
fault, and each fault costs time."""


class BodyTooLarge(InvalidRequest):
    """The body exceeds LIMIT."""

    def __init__(self) -> None:
        super().__init__([Fault("", f"The body is larger than {LIMIT} bytes.")])


def read(body: bytes) -> Any:
    """Parse a UTF-8 body, with or without a byte order mark. Raises InvalidRequest, BodyTooLarge.

    Python's json module also accepts NaN, lone surrogates and duplicate names.
    """
    if len(body) > LIMIT:
        raise BodyTooLarge
    try:
        text = body.decode("utf-8-sig")
        document = json.loads(
            text,
            object_pairs_hook=_Objects(),
            parse_constant=_reject_constant,
            parse_float=_number,
        )
        json.dumps(document, ensure_ascii=False).encode()
    except InvalidRequest:
        raise
    except UnicodeEncodeError:
        raise _invalid("The body contains a lone surrogate.") from None
    except UnicodeDecodeError:
        raise _invalid("The body is not valid UTF-8.") from None
    except RecursionError:
        raise _invalid("The body is nested too deeply.") from None
    except ValueError as error:
        # The parser's own message may quote the body.
        where = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise _invalid(f"The body is not valid JSON{where}.") from None
    return document


class _Objects:
    """Builds the objects of one body, and counts their members."""

    def __init__(self) -> None:
        self.members = 0

    def __call__(self, members: list[tuple[str, Any]]) -> dict[str, Any]:
        self.members += len(members)
        if self.members > MEMBERS:
            raise _invalid(f"The body has more than {MEMBERS:,} fields.")
        found = dict(members)
        if len(found) < len(members):
            counts = Counter(name for name, _ in members)
            duplicates = [name[:100] for name, count in counts.items() if count > 1][:10]
            raise _invalid(f"An object has duplicate names: {', '.join(duplicates)}.")
        return found


def _number(text: str) -> int | float:
    """2.0 becomes an integer: JSON Schema does not distinguish the two."""
    number = float(text)
    return int(number) if abs(number) < 2**53 and number.is_integer() else number


def _reject_constant(text: str) -> NoReturn:
    raise _invalid(f"{text} is not a valid JSON number. Use null where there is no limit.")


def _invalid(detail: str) -> InvalidRequest:
    return InvalidRequest([Fault("", detail)])
