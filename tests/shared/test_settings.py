"""Settings: where they come from, which wins, and how a wrong one is named without its value."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from gatebook.errors import ConfigurationError
from gatebook.reach import Reach
from gatebook.settings import Settings, load_settings

CANARY = "kingfisher"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GATEBOOK_HOME", str(tmp_path))
    return tmp_path


def test_nothing_needs_to_be_set(home: Path) -> None:
    settings = load_settings()
    assert settings.home == home
    assert settings.database_path == home / "gatebook.db"
    assert (settings.mode, settings.desk, settings.principal, settings.ceiling) == (
        "live",
        "local",
        "agent:local",
        None,
    )
    assert settings.zone.key == "UTC"


def test_the_environment_wins_over_the_file_and_an_argument_over_both(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "gatebook.toml").write_text(
        'tz = "Europe/Vienna"\nmax_runs_per_day = 3\nceiling = "stage"\n[sensitive_terms]\npress = ["press office"]\n'
    )
    assert load_settings().max_runs_per_day == 3
    monkeypatch.setenv("GATEBOOK_MAX_RUNS_PER_DAY", "7")
    settings = load_settings()
    assert (settings.max_runs_per_day, settings.tz, settings.ceiling) == (7, "Europe/Vienna", Reach.STAGE)
    assert settings.sensitive_terms == {"press": ["press office"]}
    assert Settings(max_runs_per_day=9).max_runs_per_day == 9


def test_a_structured_setting_can_come_from_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del home
    monkeypatch.setenv("GATEBOOK_SENSITIVE_TERMS", '{"press": ["press office"]}')
    assert load_settings().sensitive_terms == {"press": ["press office"]}


@pytest.mark.parametrize("ceiling", ["read", "STAGE", "write", "send"])
def test_a_ceiling_is_named_by_its_word(home: Path, monkeypatch: pytest.MonkeyPatch, ceiling: str) -> None:
    del home
    monkeypatch.setenv("GATEBOOK_CEILING", ceiling)
    assert load_settings().ceiling is Reach[ceiling.upper()]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TZ", f"Europe/{CANARY}"),
        ("TZ", f"../{CANARY}"),
        ("MODE", CANARY),
        ("MODE", "Live"),
        ("CEILING", CANARY),
        ("PRINCIPAL", f"person:{CANARY}"),
        ("MAX_STEPS_PER_RUN", CANARY),
        ("MAX_CALLS_PER_DAY", "0"),
        ("MAX_USD_PER_DAY", "-1"),
        ("LEASE_S", "0"),
        ("SETTLE_S", "-1"),
        ("CALL_S", "nan"),
        ("LEASE_S", "inf"),
        ("REQUIRE_RUN", CANARY),
        ("PORT", "70000"),
        ("LOG_LEVEL", CANARY),
        ("SENSITIVE_TERMS", f'{{"{CANARY}": "x"}}'),
        ("SENSITIVE_TERMS", f'{{"{CANARY}": ["--"]}}'),
        ("SENSITIVE_TERMS", f"[{CANARY}"),
        ("JIRA_STATUSES", f"[{CANARY}"),
        ("JIRA_STATUSES", f'{{"{CANARY}": "{CANARY}"}}'),
        ("JIRA_PRIORITIES", f"{{{CANARY}"),
    ],
)
def test_a_wrong_value_names_the_setting_and_never_the_value(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    del home
    monkeypatch.setenv(f"GATEBOOK_{name}", value)
    with pytest.raises(ConfigurationError, match=f"GATEBOOK_{name}") as caught:
        load_settings()
    text = f"{caught.value} {caught.value.next_step}"
    assert CANARY not in text
    assert caught.value.__cause__ is None or CANARY not in str(caught.value.__cause__)


def test_one_wrong_setting_blames_no_other(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del home
    monkeypatch.setenv("GATEBOOK_SENSITIVE_TERMS", "{}")
    monkeypatch.setenv("GATEBOOK_JIRA_STATUSES", "{x")
    with pytest.raises(ConfigurationError, match="GATEBOOK_JIRA_STATUSES") as caught:
        load_settings()
    assert "GATEBOOK_SENSITIVE_TERMS" not in str(caught.value)


@pytest.mark.parametrize("ceiling", ["foo", "2", ""])
def test_a_wrong_ceiling_is_told_the_words(home: Path, monkeypatch: pytest.MonkeyPatch, ceiling: str) -> None:
    del home
    monkeypatch.setenv("GATEBOOK_CEILING", ceiling)
    with pytest.raises(ConfigurationError, match=r"GATEBOOK_CEILING.*read, stage, write or send"):
        load_settings()


def test_a_structured_setting_can_come_from_the_file(home: Path) -> None:
    (home / "gatebook.toml").write_text('[jira_statuses]\n"In review" = "pending"\n', encoding="utf-8")
    assert load_settings().jira_statuses == {"In review": "pending"}


@pytest.mark.parametrize("slip", ['mdoe = "dry-run"', 'GATEBOOK_MODE = "dry-run"', '[settings]\nmode = "dry-run"'])
def test_a_name_in_the_file_that_is_no_setting_is_refused(home: Path, slip: str) -> None:
    (home / "gatebook.toml").write_text(f"{slip}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"gatebook\.toml names what is no setting: (mdoe|GATEBOOK|settings)"):
        load_settings()


def test_a_name_in_the_file_may_be_in_capitals(home: Path) -> None:
    (home / "gatebook.toml").write_text('MODE = "dry-run"\n', encoding="utf-8")
    assert load_settings().mode == "dry-run"


def test_every_wrong_value_is_named_at_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "gatebook.toml").write_text('mode = "maybe"\n')
    monkeypatch.setenv("GATEBOOK_PORT", "-1")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert "GATEBOOK_MODE" in str(caught.value)
    assert "GATEBOOK_PORT" in str(caught.value)


@pytest.mark.parametrize("source", [f"tz = {CANARY}".encode(), b"\xff\xfe", b"tz = 'a'\ntz = 'b'"])
def test_a_file_that_is_no_toml_is_named_and_not_quoted(home: Path, source: bytes) -> None:
    (home / "gatebook.toml").write_bytes(source)
    with pytest.raises(ConfigurationError, match=r"gatebook\.toml") as caught:
        load_settings()
    assert CANARY not in str(caught.value)


def test_settings_do_not_change(home: Path) -> None:
    settings = Settings(home=home)
    with pytest.raises(ValidationError):
        settings.mode = "dry-run"  # pyright: ignore[reportAttributeAccessIssue] - that it cannot be set is the point
