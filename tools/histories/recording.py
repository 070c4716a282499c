"""Hosts the app, and records what the Durable extension sends the SDK and what the SDK returns.

The host's folder is a temporary one: its `function_app.py` calls `load_app` in place of the app's.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import azure.durable_functions as df

FILE_SETTING = "RECORDED_EPISODES"
_FUNCTION_APP = """\
from tools.histories.recording import load_app

app = load_app({!r})
"""


def make_host_root(folder: Path, app: Path) -> Path:
    """Create a folder that hosts the app in `app`, with recording. Returns it."""
    folder.mkdir()
    (folder / "function_app.py").write_text(_FUNCTION_APP.format(str(app / "function_app.py")))
    shutil.copy(app / "host.json", folder)
    return folder


def load_app(file: str) -> Any:
    """Import the app's function_app.py. Its orchestrators append to the file in FILE_SETTING."""
    record_to(Path(os.environ[FILE_SETTING]))
    spec = importlib.util.spec_from_file_location("recorded_app", file)
    assert spec is not None, file
    assert spec.loader is not None, file
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.app


def record_to(file: Path) -> None:
    """Orchestrators defined from now on append the last episode of each execution to `file`.

    It contains all of the execution's events and actions. A line is a JSON object: `function`, and the
    JSON texts `input` and `output`.
    """
    create: Callable[[Any], Callable[[Any], str]] = df.Orchestrator.create
    lock = threading.Lock()

    def recorded(orchestrator: Any) -> Callable[[Any], str]:
        handle = create(orchestrator)

        @functools.wraps(handle)
        def call(context: Any) -> str:
            output = handle(context)
            if json.loads(output)["isDone"]:
                body = getattr(context, "body", context)
                line = {"function": orchestrator.__name__, "input": body, "output": output}
                with lock, file.open("a") as lines:
                    lines.write(json.dumps(line) + "\n")
            return output

        return call

    df.Orchestrator.create = recorded
