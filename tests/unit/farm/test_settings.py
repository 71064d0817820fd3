"""What is set, and what nobody reads."""

import pytest

from farm import catalog, settings
from farm.domain import RequestError


@pytest.fixture(autouse=True)
def nothing_said_yet(monkeypatch):
    monkeypatch.setattr(settings, "_warned", set())


def test_a_setting_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("FARM_MESSAGE_GRACE_SECONDS", "7")
    assert settings.load().message_grace_seconds == 7.0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("FARM_DOORBELL_GRACE_SECONDS", "FARM_DOORBELL_GRACE_SECONDS (now FARM_MESSAGE_GRACE_SECONDS)"),
        ("FARM_HEARTBEET_SECONDS", "FARM_HEARTBEET_SECONDS (did you mean FARM_HEARTBEAT_SECONDS?)"),
        ("FARM_ZZZ", "FARM_ZZZ"),
    ],
)
def test_a_variable_that_nothing_reads_is_said_once_and_is_no_error(farm, monkeypatch, name, said):
    monkeypatch.setenv(name, "7")
    done = farm("db", "upgrade", "--json")
    assert done.code == 0
    assert done.err == f"farm: not read, since there is no such setting: {said}\n"
    assert farm("db", "upgrade", "--json").err == ""


def test_what_is_read_elsewhere_is_not_warned_of(farm, monkeypatch):
    for name in ("FARM_DEBUG", "FARM_COMMIT", "FARM_LOCK_TOKENS", "FARM_NVML_LIBRARY"):
        monkeypatch.setenv(name, "")
    assert farm("db", "upgrade").err == ""


def test_a_command_that_loads_no_settings_says_nothing(farm, monkeypatch):
    monkeypatch.setenv("FARM_ZZZ", "1")
    assert farm("--version").err == ""


def test_an_old_name_in_farm_toml_is_refused_with_the_new_one(home):
    home.mkdir()
    (home / "farm.toml").write_text("doorbell_grace_seconds = 3\n")
    with pytest.raises(RequestError, match="message_grace_seconds"):
        settings.load()


def test_a_tilde_is_the_users_home_for_every_path(monkeypatch, tmp_path):
    """Environment files of systemd know no ~."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("FARM_HOME", "~/farm")
    monkeypatch.setenv("FARM_DATABASE_URL_FILE", "~/url")
    (tmp_path / "url").write_text("sqlite:///x.db")
    loaded = settings.load()
    assert loaded.home == tmp_path / "farm" == catalog.home()
    assert loaded.database() == "sqlite:///x.db"


@pytest.mark.parametrize("name", ["FARM_HOME", "FARM_BROKER_CA"])
def test_the_home_of_a_user_that_is_not_there_is_refused(farm, monkeypatch, name):
    monkeypatch.setenv(name, "~no such user/farm")
    refused = farm("db", "upgrade")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert refused.err.startswith(f"farm: {name}: ~no such user/farm: a path without ~")


@pytest.mark.parametrize(("name", "command"), [("farm.toml", "workers list"), ("catalog/gpus/mine.toml", "gpus")])
def test_a_file_that_is_nested_too_deep_is_refused_in_one_line(farm, home, name, command):
    (home / name).parent.mkdir(parents=True, exist_ok=True)
    (home / name).write_text("a = " + "[" * 5000)
    refused = farm(*command.split())
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "readable TOML" in refused.err
