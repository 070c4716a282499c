"""Which VMs are evicted, and when."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

from local.azure.faults.plan import Eviction


@dataclass(frozen=True)
class Notice:
    """A VM's eviction: announced after `after` simulated seconds of running, applied `notice` later."""

    after: float
    notice: float


def draw(evictions: tuple[Eviction, ...], seed: int, name: str, *, spot: bool) -> Notice | None:
    """The earliest eviction of the VM `name`, or None. A pure function of its arguments."""
    drawn = _draw_all(evictions, seed, name, spot=spot)
    return min(drawn, key=lambda notice: notice.after, default=None)


def _draw_all(
    evictions: tuple[Eviction, ...], seed: int, name: str, *, spot: bool
) -> Iterator[Notice]:
    for index, eviction in enumerate(evictions):
        rng = random.Random(f"{seed}/eviction/{index}/{name.lower()}")  # noqa: S311 (a seed)
        eligible = spot or eviction.priority == "any"
        if not eligible or not re.search(eviction.match, name, re.IGNORECASE):
            continue
        if rng.random() < eviction.share:
            low, high = eviction.within or (eviction.after or 0, eviction.after or 0)
            yield Notice(rng.uniform(low, high), eviction.notice)
