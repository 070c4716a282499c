"""Which VMs Azure takes back, and when."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

from local.azure.faults.plan import Eviction


@dataclass(frozen=True)
class Notice:
    """A VM's end: it is announced `after` simulated seconds of running, and comes `notice` later."""

    after: float
    notice: float


def draw(evictions: tuple[Eviction, ...], seed: int, name: str, *, spot: bool) -> Notice | None:
    """The first eviction that a VM of this name will meet. Depends on nothing else."""
    met = _drawn(evictions, seed, name, spot=spot)
    return min(met, key=lambda notice: notice.after, default=None)


def _drawn(
    evictions: tuple[Eviction, ...], seed: int, name: str, *, spot: bool
) -> Iterator[Notice]:
    for index, eviction in enumerate(evictions):
        rng = random.Random(f"{seed}/eviction/{index}/{name.lower()}")  # noqa: S311
        meant = spot or eviction.priority == "any"
        if not meant or not re.search(eviction.match, name, re.IGNORECASE):
            continue
        if rng.random() < eviction.share:
            low, high = eviction.within or (eviction.after or 0, eviction.after or 0)
            yield Notice(rng.uniform(low, high), eviction.notice)
