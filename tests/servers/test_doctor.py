"""`gatebook doctor` at the desk, and how a desk is connected (`commands/connecting.py`, `tickets/checking.py`)."""

import json
import subprocess
import sys
from collections.abc import Generator
from datetime import date
from email.utils import formatdate
from pathlib import Path
from typing import cast

import pytest

from fakes.oauth import CLIENT, FIRST_REFRESH, MEND, SECRET, OAuthService, running_oauth
from fakes.remote_desk import RemoteService, running_service
from gatebook.grants import GrantType
from gatebook.settings import Settings
from gatebook.tokens import RenewingCredentials
from gatebook_servers.tickets.checking import clock, ending, rate, renewing, scopes
from gatebook_servers.tickets.connections import ZENDESK_SCOPES, jira_grant, zendesk_grant
from programs.processes import COMMAND, environment, gatebook
from suite import Json, Suite

WITH_REMOTE = (sys.executable, str(Path(__file__).parents[1] / "fakes" / "gatebook_with_remote_desk.py"))
NOW = 1_795_329_000.0


@pytest.fixture(scope="module")
def services() -> Generator[tuple[RemoteService, OAuthService]]:
    with running_service() as remote, running_oauth() as oauth:
        yield remote, oauth


@pytest.fixture
def remote(services: tuple[RemoteService, OAuthService]) -> RemoteService:
    services[0].reset()
    return services[0]


@pytest.fixture
def oauth(services: tuple[RemoteService, OAuthService]) -> OAuthService:
    services[1].reset()
    return services[1]


def diagnosed(home: Path, remote: RemoteService, *, code: int = 0, **more: str) -> dict[str, Json]:
    settings = {"GATEBOOK_DESK": "remote", "GATEBOOK_TEST_DESK_URL": remote.url, **more}
    said = gatebook(home, "doctor", "--json", code=code, command=WITH_REMOTE, **settings)
    findings = cast("list[Json]", json.loads(said))
    return {str(finding["check"]): finding for finding in findings}


@pytest.mark.parametrize("mode", ["live", "dry-run"])
def test_doctor_says_that_the_desk_answers_and_how_its_clock_goes(
    tmp_path: Path, remote: RemoteService, mode: str
) -> None:
    found = diagnosed(tmp_path / "home", remote, GATEBOOK_MODE=mode)
    assert found["desk"] == {"check": "desk", "level": "ok", "detail": "remote answers", "ok": True}
    assert found["clock"]["level"] == "ok"
    assert remote.requests("GET") == 1
    assert remote.requests("P") == 0, "it changes nothing"


def test_doctor_warns_when_little_of_a_rate_limit_is_left(tmp_path: Path, remote: RemoteService) -> None:
    headers: Json = {"x-most": "700", "x-left": "7"}
    remote.faults({"kind": "status", "status": 200, "on": "GET .*", "headers": headers})
    found = diagnosed(tmp_path / "home", remote)
    assert (found["rate limit"]["level"], found["rate limit"]["detail"]) == ("warning", "7 of 700 left")


@pytest.mark.parametrize(
    ("lease_s", "settle_s", "level", "names"),
    [
        ("60", "30", "ok", []),
        ("16", "8", "ok", []),
        ("15", "8", "warning", ["GATEBOOK_LEASE_S"]),
        ("16", "7", "warning", ["GATEBOOK_SETTLE_S"]),
        ("1", "0", "warning", ["GATEBOOK_LEASE_S", "GATEBOOK_SETTLE_S"]),
    ],
)
def test_doctor_warns_when_a_request_may_land_later_than_it_is_waited_for(
    tmp_path: Path, remote: RemoteService, lease_s: str, settle_s: str, level: str, names: list[str]
) -> None:
    home = tmp_path / "home"
    found = diagnosed(home, remote, GATEBOOK_LEASE_S=lease_s, GATEBOOK_SETTLE_S=settle_s)["late requests"]
    detail = str(found["detail"])
    assert found["level"] == level
    assert [name for name in ("GATEBOOK_LEASE_S", "GATEBOOK_SETTLE_S") if name in detail] == names
    assert ("desk without a fence" in detail) is bool(names)


@pytest.mark.parametrize(("status", "says"), [(401, "refused the credentials"), (404, "does not know")])
def test_doctor_fails_when_the_desk_does_not_let_us_in(
    tmp_path: Path, remote: RemoteService, status: int, says: str
) -> None:
    remote.faults({"kind": "status", "status": status, "on": "GET .*", "times": None})
    found = diagnosed(tmp_path / "home", remote, code=1)
    assert found["desk"]["level"] == "wrong"
    assert says in str(found["desk"]["detail"])


def test_doctor_fails_when_the_desk_does_not_answer_in_time(tmp_path: Path, remote: RemoteService) -> None:
    remote.faults({"kind": "slow", "on": "GET .*", "seconds": 11.0, "times": None})
    assert diagnosed(tmp_path / "home", remote, code=1)["desk"]["level"] == "wrong"


def test_doctor_fails_when_the_desk_is_not_configured(tmp_path: Path) -> None:
    said = gatebook(tmp_path / "home", "doctor", code=1, GATEBOOK_DESK="nowhere")
    assert "names no desk" in said.replace("\n", " ")


@pytest.mark.parametrize(
    ("ahead", "level"), [(0.0, "ok"), (59.0, "ok"), (-90.0, "warning"), (90.0, "warning"), (400.0, "wrong")]
)
def test_a_clock_that_differs_is_told(ahead: float, level: str) -> None:
    [finding] = clock({"date": formatdate(NOW, usegmt=True)}, now=NOW + ahead)
    assert finding.level == level


def test_what_an_answer_does_not_say_is_no_finding() -> None:
    assert clock({"date": "canary"}, now=NOW) == clock({}, now=NOW) == []
    assert rate({"a": "canary", "b": "7"}, limit="a", left="b") == []


@pytest.mark.parametrize(
    ("held", "found"),
    [
        ("read tickets:write", "ok all that is needed"),
        ("write read", "ok all that is needed"),
        ("tickets:read tickets:write", "warning missing, unless others do the same: read"),
        ("read", "warning missing, unless others do the same: tickets:write"),
        ("", ""),
    ],
)
def test_missing_scopes_are_named_where_it_is_known_which_there_are(held: str, found: str) -> None:
    findings = scopes(held.split(), ZENDESK_SCOPES.split())
    assert " ".join(f"{finding.level} {finding.detail}" for finding in findings) == found


@pytest.mark.anyio
async def test_what_a_token_is_for_is_held_against_what_the_desk_needs(suite: Suite, oauth: OAuthService) -> None:
    for needed, levels in (("read write", ["ok", "ok"]), ("read offline", ["ok", "warning"]), ("", ["ok"])):
        credentials = RenewingCredentials(suite.runtime, oauth.grant(GrantType.CLIENT_CREDENTIALS, needed=needed))
        found = await renewing(credentials, now=NOW, steady=suite.clock.steady().seconds)
        assert [finding.level for finding in found] == levels


def test_what_ends_is_told_half_a_year_before() -> None:
    last = date(2027, 4, 30)
    levels = [ending("API tokens", last, today=day).level for day in (date(2026, 9, 1), date(2026, 11, 28), last)]
    assert levels == ["ok", "warning", "warning"]
    ended = ending("API tokens", last, today=date(2027, 5, 1))
    assert (ended.ok, ended.detail) == (False, "API tokens ended on 30 April 2027")


@pytest.mark.anyio
async def test_credentials_that_were_mended_are_found_well(suite: Suite, oauth: OAuthService) -> None:
    credentials = RenewingCredentials(suite.runtime, oauth.grant(GrantType.CLIENT_CREDENTIALS))
    oauth.configure(revoked=True)
    [finding] = await renewing(credentials, now=NOW, steady=suite.clock.steady().seconds)
    assert (finding.level, MEND in finding.detail) == ("wrong", True)
    oauth.configure(revoked=False)
    assert (await renewing(credentials, now=NOW, steady=suite.clock.steady().seconds))[0].level == "ok"
    suite.clock.advance(1_700)
    oauth.configure(revoked=True)
    assert (await renewing(credentials, now=NOW, steady=suite.clock.steady().seconds))[0].level == "warning"


def desk(home: Path, oauth: OAuthService, *arguments: str, code: int = 0, given: str = "", **more: str) -> str:
    """Run `gatebook desk` with an account whose authorisation server is the fake one; all that it printed."""
    settings = {
        "GATEBOOK_ZENDESK_URL": oauth.url,
        "GATEBOOK_ZENDESK_OAUTH_CLIENT_ID": CLIENT,
        "GATEBOOK_ZENDESK_OAUTH_CLIENT_SECRET": SECRET,
        "GATEBOOK_ZENDESK_OAUTH_GRANT": "refresh_token",
        **more,
    }
    done = subprocess.run(
        [*COMMAND, "desk", *arguments],
        env=environment(home, **settings),
        input=given,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert "canary" not in done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_desk_is_connected_by_a_refresh_token_from_a_pipe_or_a_file(tmp_path: Path, oauth: OAuthService) -> None:
    home, file = tmp_path / "home", tmp_path / "token"
    assert "is connected" in desk(home, oauth, "connect", "zendesk", given=f"{FIRST_REFRESH}\n")
    file.write_text(str(oauth.state()["refresh"]), encoding="utf-8")
    assert "is connected" in desk(home, oauth, "connect", "zendesk", "--file", str(file))
    assert oauth.uses() == {FIRST_REFRESH: 1, "canary-refresh-1": 1}
    assert "is disconnected" in desk(home, oauth, "disconnect", "zendesk")
    assert "was not connected" in desk(home, oauth, "disconnect", "zendesk")


def test_a_desk_is_not_connected_by_what_is_no_refresh_token(tmp_path: Path, oauth: OAuthService) -> None:
    home = tmp_path / "home"
    assert "this is no refresh token" in desk(home, oauth, "connect", "zendesk", code=1, given="canary one\ncanary two")
    assert "authorisation ended" in desk(home, oauth, "connect", "zendesk", code=1, given="canary-refresh-9").replace(
        "\n", " "
    )
    assert "missing: GATEBOOK_JIRA_URL" in desk(home, oauth, "connect", "jira", code=1, given=FIRST_REFRESH)
    own = desk(
        home,
        oauth,
        "connect",
        "zendesk",
        code=1,
        given=FIRST_REFRESH,
        GATEBOOK_ZENDESK_OAUTH_GRANT="client_credentials",
    )
    assert "nothing to connect" in own
    assert oauth.uses() == {"canary-refresh-9": 1}


def test_a_token_is_never_an_argument(tmp_path: Path, oauth: OAuthService) -> None:
    done = subprocess.run(
        [*COMMAND, "desk", "connect", "zendesk", FIRST_REFRESH],
        env=environment(tmp_path / "home"),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2
    assert oauth.asked() == 0


def test_the_vendors_are_asked_as_their_pages_say() -> None:
    settings = Settings.model_validate(
        {
            "zendesk_url": "https://acme.zendesk.com",
            "zendesk_oauth_client_id": "one",
            "zendesk_oauth_client_secret": "two",
            "jira_url": "https://acme.atlassian.net",
            "jira_oauth_client_id": "three",
            "jira_oauth_client_secret": "four",
        }
    )
    zendesk, jira = zendesk_grant(settings), jira_grant(settings)
    assert (zendesk.account, zendesk.token_url) == ("zendesk/acme", "https://acme.zendesk.com/oauth/tokens")
    assert zendesk.body("") == {
        "grant_type": "client_credentials",
        "client_id": "one",
        "client_secret": "two",
        "scope": "read write",
        "expires_in": 3_600,
    }
    assert (jira.account, jira.token_url) == ("jira/acme", "https://auth.atlassian.com/oauth/token")
    assert jira.body("five") == {
        "grant_type": "refresh_token",
        "client_id": "three",
        "client_secret": "four",
        "refresh_token": "five",
    }
