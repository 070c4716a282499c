"""Example requests and responses. Tests send each request to a running app and compare each response
example with its type and with that app's response.
"""

from __future__ import annotations

from typing import Any

REQUESTS: dict[str, dict[str, Any]] = {
    "small": {
        "summary": "Minimal: everything else comes from the deployment's settings",
        "value": {"experiment_id": 1, "n_instances": 2},
    },
    "limits": {
        "summary": "With an idempotency key and time limits",
        "value": {
            "experiment_id": 1,
            "n_instances": 2,
            "batch_id": 7,
            "vm_size": "Standard_D2s_v5",
            "timeout": 300,
            "max_lifetime": 86400,
            "min_instances": 1,
            "tags": {"project": "benchmarks"},
        },
    },
    "spot": {
        "summary": "Spot VMs in three zones, with fallbacks for insufficient capacity",
        "value": {
            "experiment_id": 1,
            "n_instances": 50,
            "vm_size": "Standard_D2s_v5",
            "priority": "Spot",
            "max_price": 0.05,
            "zones": ["1", "2", "3"],
            "fallbacks": [{"location": "westus2"}, {"priority": "Regular"}],
        },
    },
    "elsewhere": {
        "summary": "With its own subscription, identity, and database server that the deployment allows",
        "value": {
            "experiment_id": 1,
            "n_instances": 2,
            "uri": "postgresql://powerlift:a-password@db.example.org/powerlift",
            "azure_json": {
                "tenant_id": "11111111-1111-1111-1111-111111111111",
                "client_id": "22222222-2222-2222-2222-222222222222",
                "client_secret": "a-secret",
                "subscription_id": "33333333-3333-3333-3333-333333333333",
                "resource_group": "benchmarks",
            },
            "location": "eastus",
        },
    },
    "subnet": {
        "summary": "In an existing subnet with outbound access that the deployment allows",
        "value": {
            "experiment_id": 1,
            "n_instances": 2,
            "outbound": "existing",
            "subnet_id": "/subscriptions/33333333-3333-3333-3333-333333333333/resourceGroups/network"
            "/providers/Microsoft.Network/virtualNetworks/hub/subnets/vms",
        },
    },
}
"""Bodies of POST /fleets and POST /plan, as OpenAPI example objects."""

_FLEET_URL = "https://fleet.example.org/api/fleets/fleet-7"
_LINKS = {
    "self": _FLEET_URL,
    "machines": f"{_FLEET_URL}/machines",
    "progress": f"{_FLEET_URL}/progress",
    "view": "https://fleet.example.org/api/view/fleet-7",
    "cancel": _FLEET_URL,
}
_PLACEMENT = {
    "location": "eastus",
    "zone": None,
    "vm_size": "Standard_D2s_v5",
    "priority": "Regular",
}
_TRIALS = {"total": 24, "ready": 18, "running": 2, "complete": 4, "error": 0}
_FLEET: dict[str, Any] = {
    "id": "fleet-7",
    "batch_id": 7,
    "experiment_id": 1,
    "phase": "run",
    "machines": {
        "wanted": 2,
        "pending": 0,
        "accepted": 2,
        "role_assigned": 2,
        "creating": 0,
        "running": 2,
        "failed": 0,
        "deleted": 0,
        "refused": 0,
    },
    "missing": {},
    "placements": [{"placement": "eastus Standard_D2s_v5", "accepted": 2, "failed": {}}],
    "trials": _TRIALS,
    "failures": [],
    "warnings": [],
    "reason": None,
    "ended_in": None,
    "outcome": None,
    "created_at": "2026-03-01T12:00:00.000Z",
    "updated_at": "2026-03-01T12:04:30.000000Z",
    "ended_at": None,
    "stale_seconds": None,
    "version": "1.0",
    "provisioned_at": "2026-03-01T12:01:10.000000Z",
    "deadline": "2026-03-02T12:00:00Z",
    "summary": None,
    "number": 7,
    "name": "nightly",
    "portal": "https://portal.azure.com/#@/resource/subscriptions/33333333-3333-3333-3333-333333333333"
    "/resourceGroups/benchmarks",
    "links": _LINKS,
}

_LISTED: dict[str, Any] = {
    "id": "fleet-7",
    "number": 7,
    "name": "nightly",
    "batch_id": 7,
    "experiment_id": 1,
    "experiment_name": "classifiers",
    "submitted_by": "key-1a2b3c4d5e6f",
    "phase": "run",
    "outcome": None,
    "machines": _FLEET["machines"],
    "trials": _TRIALS,
    "cost": None,
    "created_at": "2026-03-01T12:00:00.000Z",
    "updated_at": "2026-03-01T12:04:30.000Z",
    "ended_at": None,
    "purged_at": None,
    "links": _LINKS,
}

_UNDERSTOOD: dict[str, Any] = {
    "min_instances": 1,
    "max_undead": 20,
    "location": None,
    "vm_size": "Standard_D2s_v5",
    "image": "canonical:ubuntu-24_04-lts:server:latest",
    "disk_type": "Standard_LRS",
    "resource_uris": [],
    "timeout": 300.0,
    "max_lifetime": 86400.0,
    "max_cost": None,
    "delete_on_complete": True,
    "trial_order": "fifo",
    "trial_seed": None,
    "cpu_models": [],
}

_LOCK: dict[str, Any] = {
    "architecture": "x64",
    "digest": "9c1185a5c5e9fc54612808977ee8f548b2258d31f4d3a6d1b0c3f8a0f2b5d7e1",
    "requirements": "# Python 3.12.3, x86_64\nstopit==1.1.2 \\\n    --hash=sha256:"
    "f7f39c583fd92027bd9d06127b259aee7a5b7945c1f1fa56263811e1e766996d\n",
    "python": "3.12.3",
    "ordinal": 0,
    "resolved_at": "2026-03-01T12:02:41.000Z",
}

_SYSTEM = {
    "image": "canonical:ubuntu-24_04-lts:server",
    "image_version": "24.04.202602200",
    "kernel": "6.14.0-1017-azure",
    "architecture": "x86_64",
    "cpu_model": "Intel(R) Xeon(R) Platinum 8370C CPU @ 2.80GHz",
    "cpus": 2,
    "memory_bytes": 8_331_235_328,
    "python": "3.12.3",
    "lock_digest": _LOCK["digest"],
}
_PLACE = {"vm_size": "Standard_D2s_v5", "location": "eastus", "zone": "1", "priority": "Spot"}
_USAGE = {
    "wall_seconds": 12.9, "user_seconds": 12.1, "system_seconds": 0.4, "steal_seconds": 0.0,
    "max_rss_bytes": 412_876_800,
}  # fmt: skip
RESPONSES: dict[str, Any] = {
    "SubmitResponse": {
        "id": "fleet-7",
        "number": 7,
        "batch_id": 7,
        "request": _UNDERSTOOD,
        "links": _LINKS,
        "trials": None,
    },
    "FleetsRequest": {
        "id": "fleet-7",
        "number": 7,
        "name": "nightly",
        "request": {
            "experiment_id": 1,
            "n_instances": 2,
            "vm_size": "Standard_D2s_v5",
            "timeout": 300.0,
            "max_lifetime": 86400.0,
            "min_instances": 1,
            "tags": {"project": "benchmarks"},
        },
        "secrets": [],
        "app_version": "0.1.0",
    },
    "TrialPage": {
        "id": "fleet-7",
        "experiment_id": 1,
        "trials": [
            {
                "id": 12,
                "task": "adult",
                "origin": "openml",
                "method": "tree",
                "meta": "{}",
                "replicate": 0,
                "state": "complete",
                "machine": 0,
                "started_at": "2026-03-01T12:02:31.000Z",
                "ended_at": "2026-03-01T12:02:44.000Z",
                "seconds": 13.0,
                "usage": _USAGE,
                "vm": {
                    "fleet": "fleet-7",
                    "name": "powerlift-vm-7-0000",
                    **_PLACE,
                    "system": _SYSTEM,
                },
                "measures": {"accuracy": 0.87},
                "error": None,
                "traceback": None,
            }
        ],
        "next": None,
    },
    "Fleets": {"fleets": [_LISTED], "next": None},
    "CancelResponse": {"id": "fleet-7", "links": _LINKS},
    "Fleet": _FLEET,
    "Machines": {
        "id": "fleet-7",
        "machines": [
            {
                "ordinal": 0,
                "name": "powerlift-vm-7-0000",
                "runner_id": 70000,
                "placement": _PLACEMENT,
                "state": "running",
                "attempt": 1,
                "replaces": None,
                "created_at": "2026-03-01T12:00:12.000Z",
                "role_assigned_at": "2026-03-01T12:00:20.000Z",
                "running_at": "2026-03-01T12:01:05.000Z",
                "working_at": "2026-03-01T12:02:30.000Z",
                "first_trial_at": "2026-03-01T12:03:10.000Z",
                "ended_at": None,
                "deleted_at": None,
                "failure": None,
                "outcome": None,
                "trials": {"running": 1, "complete": 2, "error": 0},
                "system": _SYSTEM,
            }
        ],
    },
    "PackageLocks": {"id": "fleet-7", "locks": [_LOCK], "problem": None},
    "Progress": {
        "id": "fleet-7",
        "as_of": "2026-03-01T12:04:31.000Z",
        "experiment": {"id": 1, "name": "glassbox"},
        "trials": _TRIALS,
        "before": {"complete": 0, "error": 0},
        "errors": [],
        "series": {
            "start": "2026-03-01T12:00:00.000Z",
            "step": 60.0,
            "complete": [0, 0, 1, 4],
            "error": [0, 0, 0, 0],
        },
        "cpu_models": [{"model": "AMD EPYC 7763 64-Core Processor", "machines": 2, "trials": 4}],
        "trials_per_hour": 120.0,
        "expected_end": "2026-03-01T12:14:31.000Z",
        "vm_hours": {
            "so_far": 0.1431,
            "by_placement": [
                {"placement": _PLACEMENT, "vm_hours": 0.1431, "price_per_hour": 0.096}
            ],
        },
        "cost": {
            "currency": "USD",
            "so_far": 0.0137,
            "per_hour": 0.192,
            "expected": 0.0457,
            "per_trial": 0.003434,
            "saved_by_spot": None,
            "max_cost": None,
        },
        "right_sizing": None,
        "problem": None,
    },
    "Plan": {
        "request": _UNDERSTOOD,
        "ok": True,
        "n_instances": 2,
        "location": "eastus",
        "placements": ["eastus Standard_D2s_v5"],
        "trials": {"total": 24, "ready": 24, "running": 0, "complete": 0, "error": 0},
        "cost": {
            "currency": "USD",
            "per_hour": 0.196208,
            "expected": 0.024199,
            "expected_seconds": 444.0,
            "basis": "12 trials per VM, 12 s each: the mean of the finished ones",
            "at_most": 4.708997,
        },
        "checks": [
            {
                "name": "resource_group",
                "status": "ok",
                "detail": "Resource group benchmarks exists in eastus.",
                "advice": "",
            }
        ],
    },
    "Health": {"status": "ok"},
    "HealthDetails": {
        "status": "unavailable",
        "checks": [
            {"name": "settings", "status": "ok", "detail": "The settings are valid."},
            {
                "name": "database",
                "status": "timeout",
                "detail": "No response within 10 s. Check POWERLIFT_DB_URI, and the server and its "
                "firewall.",
            },
        ],
        "policy": [
            {"setting": "FLEET_ALLOWED_IMAGES", "value": "canonical"},
            {"setting": "FLEET_MAX_VMS", "value": "1000"},
        ],
    },
    "Problem": {
        "type": "about:blank",
        "title": "Invalid fleet request",
        "status": 400,
        "detail": "/n_instances: This field is required.",
        "errors": [{"pointer": "/n_instances", "detail": "This field is required."}],
    },
    "text/plain; charset=utf-8": "# powerlift-vm-7-0000 is still running; current console log (last "
    "32 KB)\n...\n",
}
"""By response type."""
