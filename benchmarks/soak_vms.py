"""Plays the VMs of a soak: they report, claim trials, measure them once, and delete themselves."""

from __future__ import annotations

import random
import re
import time
from contextlib import closing
from typing import Any

import psycopg2
import requests

from fleet.model import names
from local.stack import Stack
from tests.local.azure.driver import Driver

TRIAL_SECONDS = (0.2, 3.0)
_NAME = re.compile(r"powerlift-vm-(\d+)-(\d{4})")
_REPORT = """
    INSERT INTO powerlift_fleet_runner (experiment_id, runner_id, vm_name, kernel)
    VALUES (%(experiment)s, %(runner)s, %(vm)s, 'played')
    ON CONFLICT (experiment_id, runner_id) DO UPDATE SET seen_at = now()
"""
_CLAIM = """
    UPDATE trial SET runner_id = %(runner)s, start_time = now()
    WHERE id = (SELECT id FROM trial WHERE experiment_id = %(experiment)s AND runner_id = -1
                ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING id
"""
_NOTE = """
    INSERT INTO powerlift_fleet_trial (trial_id, experiment_id, runner_id)
    VALUES (%(trial)s, %(experiment)s, %(runner)s)
    ON CONFLICT (trial_id) DO UPDATE SET runner_id = EXCLUDED.runner_id
"""
_COMPLETE = """
    WITH ended AS (
        UPDATE trial SET end_time = now(), runner_id = -2
        WHERE id = %(trial)s AND runner_id = %(runner)s AND end_time IS NULL RETURNING id)
    INSERT INTO measure_outcome (trial_id, name, type, seq_num, val)
    SELECT id, 'score', 0, 0, '1' FROM ended RETURNING trial_id
"""
_END = """
    UPDATE powerlift_fleet_runner SET ended_at = now(), exit_code = 0
    WHERE experiment_id = %(experiment)s AND runner_id = %(runner)s
"""


class Vms:
    """All VMs that run in the simulated Azure."""

    def __init__(self, stack: Stack, random_: random.Random) -> None:
        self.experiments: dict[int, int] = {}
        """By batch."""
        self.completed = 0
        self._stack, self._random = stack, random_
        self._driver = Driver(stack.arm, stack.state_dir / "azure")
        self._trials: dict[str, tuple[int, float]] = {}
        """By VM: the trial that it runs, and the monotonic time of its end."""

    def play(self) -> None:
        """One step of each VM. Those that are gone leave their trials behind."""
        running = self._running()
        if running is None:
            return
        self._trials = {vm: one for vm, one in self._trials.items() if vm in running}
        with closing(psycopg2.connect(self._stack.db_uri)) as database:
            database.autocommit = True
            for vm in running:
                self._step(database.cursor(), vm)

    def _step(self, cursor: Any, vm: str) -> None:
        batch, ordinal = map(int, _NAME.fullmatch(vm).groups())  # type: ignore[union-attr]
        mine = {
            "experiment": self.experiments[batch],
            "runner": names.runner_id(batch, ordinal),
            "vm": vm,
        }
        trial, end = self._trials.get(vm, (None, 0.0))
        if trial is None:
            cursor.execute(_REPORT, mine)
        elif time.monotonic() < end:
            return
        else:
            cursor.execute(_COMPLETE, {**mine, "trial": trial})
            self.completed += len(cursor.fetchall())
            del self._trials[vm]
        cursor.execute(_CLAIM, mine)
        claimed = cursor.fetchone()
        if claimed:
            cursor.execute(_NOTE, {**mine, "trial": claimed[0]})
            self._trials[vm] = claimed[0], time.monotonic() + self._random.uniform(*TRIAL_SECONDS)
        else:
            cursor.execute(_END, mine)
            self._delete(vm)

    def _delete(self, vm: str) -> None:
        try:
            self._driver.send("DELETE", self._driver.vm_path(vm))
        except requests.ConnectionError:  # a lost response: the next step deletes it again
            return

    def _running(self) -> list[str] | None:
        """The names of the VMs that run; None if the list fails."""
        page = f"{self._driver.subscription}/providers/Microsoft.Compute/virtualMachines"
        found: list[dict[str, Any]] = []
        while page:
            answer = self._driver.send("GET", page)
            if answer.status_code != 200:
                return None
            found += answer.json()["value"]
            page = answer.json().get("nextLink", "")
        return [
            vm["name"]
            for vm in found
            if vm["properties"]["provisioningState"] == "Succeeded" and _NAME.fullmatch(vm["name"])
        ]
