"""The sources of the app's URL and key."""

from __future__ import annotations

from pathlib import Path

import pytest
from powerlift_fleet.api.errors import ConfigurationError
from powerlift_fleet.api.settings.sources import Options, Settings, read

from tests.client.cli.conftest import private

CONFIG = """
url = "https://top.example"
key = "top-key"

[profiles.test]
url = "https://test.example"
key_file = "{key_file}"

[profiles.func]
url = "http://127.0.0.1:7071"
key = ""
"""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """An environment with a private configuration file."""
    key_file = private(tmp_path / "key", "test-key\n")
    text = CONFIG.format(key_file=key_file)
    private(tmp_path / "powerlift-fleet" / "config.toml", text)
    return {"XDG_CONFIG_HOME": str(tmp_path)}


def where(settings: Settings) -> tuple[str, str]:
    return settings.url, settings.key


def test_the_file_is_the_default(env: dict[str, str]):
    assert where(read(Options(), env)) == ("https://top.example", "top-key")


def test_the_environment_overrides_the_file(env: dict[str, str]):
    env |= {"FLEET_URL": "https://env.example", "FLEET_KEY": "env-key"}
    assert where(read(Options(), env)) == ("https://env.example", "env-key")


def test_an_explicit_profile_overrides_the_environment(env: dict[str, str]):
    env |= {"FLEET_URL": "https://env.example", "FLEET_KEY": "env-key"}
    assert where(read(Options(profile="test"), env)) == ("https://test.example", "test-key")


def test_the_environment_can_select_a_profile(env: dict[str, str]):
    env["FLEET_PROFILE"] = "test"
    assert where(read(Options(), env)) == ("https://test.example", "test-key")


def test_options_override_everything(env: dict[str, str], tmp_path: Path):
    own = private(tmp_path / "own", "own-key")
    options = Options("https://option.example", str(own), "test")
    assert where(read(options, env)) == ("https://option.example", "own-key")


def test_a_key_in_the_file_is_not_sent_to_another_url(env: dict[str, str]):
    with pytest.raises(ConfigurationError, match="No function key"):
        read(Options(url="https://elsewhere.example"), env)


def test_a_profile_may_have_an_empty_key(env: dict[str, str]):
    assert read(Options(profile="func"), env).key == ""


def test_a_world_readable_file_causes_a_warning(env: dict[str, str], tmp_path: Path):
    quiet = read(Options(), env).warnings
    config = tmp_path / "powerlift-fleet" / "config.toml"
    config.chmod(0o644)
    [warning] = read(Options(), env).warnings
    assert (quiet, f"chmod 600 {config}" in warning) == ((), True)


def test_a_world_readable_key_file_causes_a_warning(env: dict[str, str], tmp_path: Path):
    (tmp_path / "key").chmod(0o640)
    [warning] = read(Options(profile="test"), env).warnings
    assert f"chmod 600 {tmp_path / 'key'}" in warning


def test_plain_http_causes_a_warning(env: dict[str, str]):
    env |= {"FLEET_URL": "http://env.example", "FLEET_KEY": "env-key"}
    assert "plain http" in read(Options(), env).warnings[0]


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        ("url = ", "is not TOML"),
        ("urls = 'x'", "unknown setting urls. Settings: key, key_file, url"),
        ("url = 7", "strings in quotes"),
        ("profiles = 7", "must be a table"),
    ],
)
def test_an_invalid_file_is_rejected(tmp_path: Path, text: str, reported: str):
    private(tmp_path / "powerlift-fleet" / "config.toml", text)
    with pytest.raises(ConfigurationError, match=reported):
        read(Options(), {"XDG_CONFIG_HOME": str(tmp_path)})


def test_an_unknown_profile_is_reported_with_the_known_ones(env: dict[str, str]):
    with pytest.raises(ConfigurationError, match=r"No profile 'tset' in .*\. Profiles: func, test"):
        read(Options(profile="tset"), env)


def test_a_missing_setting_is_reported_with_every_source(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"--url.*FLEET_URL.*config\.toml"):
        read(Options(), {"XDG_CONFIG_HOME": str(tmp_path)})


def test_repr_hides_the_key(env: dict[str, str]):
    assert "top-key" not in repr(read(Options(), env))
