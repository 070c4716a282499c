"""Routes that cannot overlap: the Functions host tries them in the order of the functions' names.

It uses the first match, and does not prefer literal segments to parameters.
"""

from __future__ import annotations

import re
from itertools import combinations

from tests.registered import http_functions

ROUTES = [(methods, path.lower().split("/")) for methods, path, _ in http_functions().values()]


def overlap(one: list[str], other: list[str]) -> bool:
    """Whether a path can match both routes."""
    pairs = zip(one, other, strict=False)
    return len(one) == len(other) and all(a == b or "{" in a + b for a, b in pairs)


def test_every_segment_is_a_literal_or_a_plain_parameter():
    """`overlap` does not support optional segments, catch-alls or constraints."""
    segments = {segment for _, route in ROUTES for segment in route}
    assert [one for one in segments if not re.fullmatch(r"[a-z.]*|\{[a-z]+\}", one)] == []


def test_no_path_matches_two_routes_of_one_method():
    assert [
        (one, other)
        for (methods, one), (others, other) in combinations(ROUTES, 2)
        if methods & others and overlap(one, other)
    ] == []
