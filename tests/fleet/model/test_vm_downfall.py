"""What shows that a trial took its VM down."""

from __future__ import annotations

import pytest

from fleet.model.vm_downfall import sign_of_trial

GIB = 2**30
OOM = "[12345.678901] Out of memory: Killed process 4711 (python) total-vm:9kB, anon-rss:8kB\n"
PANIC = "[    1.5] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000009\n"
ENDED = "trial 12 failed after 3.0 s: The trial's process was killed by SIGKILL.\n"
BY_CLOUD_INIT = f"[  301.2] cloud-init[1042]: {ENDED}"


@pytest.mark.parametrize(
    ("console", "figures", "sign"),
    [
        (OOM, (None, None), "it ran out of memory (console: Out of memory: Killed process 4711 (pyth"),
        (PANIC, (GIB, GIB), "its kernel stopped (console: Kernel panic - not syncing: Attempted to"),
        (f"{ENDED}{OOM}", (None, None), "it ran out of memory"),
        (f"<0>{PANIC}", (None, None), "its kernel stopped"),
        ("", (GIB // 4, 16 * GIB), "at its last heartbeat, 0.2 GiB of 16.0 GiB of memory were"),
        (None, (0, 16 * GIB), "at its last heartbeat"),
        # The trial before was killed; the VM went on.
        (f"{OOM}{ENDED}", (8 * GIB, 16 * GIB), None),
        (f"{OOM}{BY_CLOUD_INIT}", (None, None), None),
        (f"{OOM}powerlift 2026-11-28 20:00:00: the script exited with code 137\n", (None, None), None),
        # A trial may print anything, but not in the kernel's name.
        ("Out of memory: Killed process 1 (x)\nKernel panic - not syncing\n", (None, None), None),
        ("[  12.3] INFO: task python:12 blocked for more than 120 seconds.\n", (None, None), None),
        ("", (GIB, 16 * GIB), None),
        ("", (0, 0), None),
        (None, (None, 16 * GIB), None),
    ],
)  # fmt: skip
def test_the_sign_of_a_trial(
    console: str | None, figures: tuple[int | None, int | None], sign: str | None
):
    found = sign_of_trial(console, *figures)
    assert found is None if sign is None else str(found).startswith(sign)
