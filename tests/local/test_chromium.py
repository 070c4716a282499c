from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from local.chromium import find_chromium
from local.process import ServiceError


def test_a_browser_on_path_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = tmp_path / "chromium"
    browser.write_text("#!/bin/sh\n")
    browser.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert find_chromium(tmp_path / "cache").path == browser


def test_without_a_browser_the_error_names_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(ServiceError, match="install Chromium or Google Chrome"):
        find_chromium(tmp_path)
