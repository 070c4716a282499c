"""A request's JSON, read strictly: what two readers could take for different things is refused."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, NoReturn

from fleet.api.request import Fault, RequestRefused

LIMIT = 1_000_000
"""Bytes of a body; the largest request that can be a fleet has a tenth of it."""


class TooLarge(RequestRefused):
    """A body above LIMIT."""

    def __init__(self) -> None:
        super().__init__([Fault("", f"The body is larger than {LIMIT} bytes.")])


def read(body: bytes) -> Any:
    """A body as JSON: UTF-8, with a byte order mark or without. Raises RequestRefused, TooLarge.

    Python's own reader also takes NaN, half a surrogate pair, and a name that an object has twice.
    """
    if len(body) > LIMIT:
        raise TooLarge
    try:
        text = body.decode("utf-8-sig")
        document = json.loads(
            text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_number
        )
        json.dumps(document, ensure_ascii=False).encode()
    except RequestRefused:
        raise
    except UnicodeEncodeError:
        raise _refused("The body has half a surrogate pair, which is no character.") from None
    except UnicodeDecodeError:
        raise _refused("The body is not in UTF-8.") from None
    except RecursionError:
        raise _refused("The body is nested too deeply.") from None
    except ValueError as error:
        # Its own words may repeat a part of the body.
        where = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise _refused(f"The body is no JSON{where}.") from None
    return document


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        counts = Counter(name for name, _ in members)
        twice = [name[:100] for name, count in counts.items() if count > 1][:10]
        raise _refused(f"An object has a name more than once: {', '.join(twice)}.")
    return found


def _number(text: str) -> int | float:
    """2.0 is an integer to JSON Schema, and to what writes numbers in one way only."""
    number = float(text)
    return int(number) if abs(number) < 2**53 and number.is_integer() else number


def _constant(text: str) -> NoReturn:
    raise _refused(f"{text} is no number in JSON.")


def _refused(detail: str) -> RequestRefused:
    return RequestRefused([Fault("", detail)])
