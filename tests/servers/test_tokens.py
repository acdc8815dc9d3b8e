"""Credentials that renew: one refresh for everybody, and what becomes of one that fails (`gatebook/tokens.py`)."""

import json
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import cast

import anyio
import pytest

from contracts.databases import Place
from fakes.oauth import FIRST_REFRESH, MEND, OAuthService, running_oauth
from gatebook import tokens
from gatebook.errors import (
    ConfigurationError,
    GatebookError,
    RateLimitedError,
    UnauthenticatedError,
    UpstreamUnavailableError,
)
from gatebook.grants import GrantType
from gatebook.http import HttpClient
from gatebook.retry import Operation, without_waiting
from gatebook.token_store import TokenStore
from gatebook.tokens import LEASE_S, REFUSED_S, YOUNG_S, RenewingCredentials
from programs.processes import environment
from suite import Json, Suite, under_way

pytestmark = pytest.mark.anyio
LIFE_S = 1_800.0
PROGRAM = Path(__file__).parents[1] / "programs" / "token_caller.py"


@pytest.fixture(scope="module")
def service() -> Generator[OAuthService]:
    with running_oauth() as running:
        yield running


@pytest.fixture
def oauth(service: OAuthService) -> Generator[OAuthService]:
    service.reset()
    with without_waiting():
        yield service


def credentials(suite: Suite, oauth: OAuthService, kind: GrantType = GrantType.REFRESH_TOKEN) -> RenewingCredentials:
    return RenewingCredentials(suite.runtime, oauth.grant(kind))


async def connected(suite: Suite, oauth: OAuthService) -> RenewingCredentials:
    made = credentials(suite, oauth)
    await made.connect(FIRST_REFRESH)
    return made


async def due(suite: Suite, oauth: OAuthService) -> RenewingCredentials:
    """Credentials whose token is still good, and is to be renewed."""
    made = await connected(suite, oauth)
    suite.clock.advance(LIFE_S - 100)
    return made


async def call(oauth: OAuthService, of: RenewingCredentials) -> str:
    client = HttpClient(oauth.url, credentials=of)
    answer = cast("Json", await client.request("GET", "/me", operation=Operation.READ))
    await client.aclose()
    return str(answer["as"])


@pytest.mark.any_database
async def test_a_client_gets_a_token_by_itself_and_asks_no_more_while_it_is_good(
    suite: Suite, oauth: OAuthService
) -> None:
    made = credentials(suite, oauth, GrantType.CLIENT_CREDENTIALS)
    assert [await call(oauth, made) for _ in range(5)] == ["canary-access-1"] * 5
    assert await call(oauth, credentials(suite, oauth, GrantType.CLIENT_CREDENTIALS)) == "canary-access-1"
    assert oauth.asked() == 1


@pytest.mark.any_database
async def test_a_refresh_token_is_used_once_and_the_one_in_its_place_is_kept(suite: Suite, oauth: OAuthService) -> None:
    made = await connected(suite, oauth)
    for generation in range(1, 5):
        assert await call(oauth, made) == f"canary-access-{generation}"
        suite.clock.advance(LIFE_S)
    assert oauth.uses() == {f"canary-refresh-{number}": 1 for number in range(4)}


@pytest.mark.any_database
async def test_a_token_is_renewed_before_it_ends(suite: Suite, oauth: OAuthService) -> None:
    made = await connected(suite, oauth)
    suite.clock.advance(LIFE_S - 301)
    assert await call(oauth, made) == "canary-access-1"
    suite.clock.advance(2)
    assert await call(oauth, made) == "canary-access-2"
    assert oauth.requests("GET") == 2, "nothing was refused"


@pytest.mark.any_database
async def test_many_calls_of_many_replicas_refresh_once(suite: Suite, oauth: OAuthService) -> None:
    first = await due(suite, oauth)
    others = [RenewingCredentials(suite.another_process(), oauth.grant()) for _ in range(3)]
    answers: list[str] = []

    async def one(made: RenewingCredentials) -> None:
        answers.append(await call(oauth, made))

    async with anyio.create_task_group() as tasks:
        for made in [first, *others] * 15:
            tasks.start_soon(one, made)
    # Who waited for long enough went on with the old token, which is still good.
    assert {"canary-access-2"} <= set(answers) <= {"canary-access-1", "canary-access-2"}
    assert oauth.uses() == {FIRST_REFRESH: 1, "canary-refresh-1": 1}


@pytest.mark.any_database
async def test_many_calls_that_are_refused_refresh_once(suite: Suite, oauth: OAuthService) -> None:
    made = await connected(suite, oauth)
    other = RenewingCredentials(suite.another_process(), oauth.grant())
    await call(oauth, other)
    suite.clock.advance(YOUNG_S + 1)
    oauth.expire()
    answers: list[str] = []

    async def one(chosen: RenewingCredentials) -> None:
        answers.append(await call(oauth, chosen))

    async with anyio.create_task_group() as tasks:
        for chosen in [made, other] * 15:
            tasks.start_soon(one, chosen)
    assert set(answers) == {"canary-access-2"}
    assert oauth.granted() == 2


async def test_a_new_token_that_is_refused_at_once_is_not_renewed_again(suite: Suite, oauth: OAuthService) -> None:
    made = await connected(suite, oauth)
    oauth.expire()
    for _ in range(5):
        with pytest.raises(UnauthenticatedError):
            await call(oauth, made)
    assert oauth.granted() == 1


@pytest.mark.any_database
async def test_what_is_stored_is_sealed(suite: Suite, oauth: OAuthService) -> None:
    await connected(suite, oauth)
    with suite.runtime.database.transaction() as tx:
        [row] = tx.all("SELECT * FROM desk_tokens")
    assert "canary" not in repr(dict(row))
    if not suite.runtime.settings.database_url:
        suite.close()
        files = [file for file in suite.home.iterdir() if file.is_file()]
        assert files
        assert not [file.name for file in files if b"canary" in file.read_bytes()]


@pytest.mark.any_database
async def test_while_a_lost_renewal_may_be_late_the_old_token_is_used_and_nothing_is_sent_twice(
    suite: Suite, oauth: OAuthService
) -> None:
    made = await due(suite, oauth)
    oauth.faults({"kind": "reset", "on": "POST /oauth.*", "when": "before"})
    assert await call(oauth, made) == "canary-access-1"
    with anyio.fail_after(10):
        assert await call(oauth, made) == "canary-access-1"
    assert oauth.asked() == 2
    suite.clock.advance(LEASE_S + 1)
    assert await call(oauth, made) == "canary-access-2"
    assert oauth.uses()["canary-refresh-1"] == 1


async def test_a_reply_that_was_lost_is_asked_for_once_more_where_the_server_lets_a_refresh_token_be_repeated(
    suite: Suite, oauth: OAuthService
) -> None:
    made = await due(suite, oauth)
    oauth.configure(leeway=True)
    oauth.faults({"kind": "reset", "on": "POST /oauth.*", "when": "after"})
    with pytest.raises(UpstreamUnavailableError), anyio.fail_after(2):
        await call(oauth, made)
    suite.clock.advance(LEASE_S + 1)
    assert await call(oauth, made) == "canary-access-3"


async def test_a_reply_that_was_lost_costs_the_authorisation_where_it_does_not(
    suite: Suite, oauth: OAuthService
) -> None:
    made = await due(suite, oauth)
    oauth.faults({"kind": "reset", "on": "POST /oauth.*", "when": "after"})
    with pytest.raises(UpstreamUnavailableError), anyio.fail_after(2):
        await call(oauth, made)
    suite.clock.advance(LEASE_S + 1)
    with pytest.raises(UnauthenticatedError, match="authorisation ended") as refusal:
        await call(oauth, made)
    assert MEND in refusal.value.next_step
    await made.connect(str(oauth.state()["refresh"]))
    assert await call(oauth, made) == "canary-access-3"


@pytest.mark.any_database
@pytest.mark.parametrize("kind", list(GrantType))
async def test_a_refusal_says_what_to_do_and_is_remembered(suite: Suite, oauth: OAuthService, kind: GrantType) -> None:
    made = credentials(suite, oauth, kind)
    oauth.configure(revoked=True)
    other = RenewingCredentials(suite.another_process(), oauth.grant(kind))
    if kind is GrantType.REFRESH_TOKEN:
        with pytest.raises(UnauthenticatedError):
            await made.connect(FIRST_REFRESH)
    for chosen in [made, other] * 10:
        with pytest.raises(UnauthenticatedError) as refusal:
            await call(oauth, chosen)
        assert refusal.value.next_step == f"Tell the operator: {MEND}"
        assert "canary" not in refusal.value.as_text()
    assert oauth.asked() == 1
    suite.clock.advance(REFUSED_S + 1)
    oauth.configure(revoked=False)
    assert await call(oauth, other) == await call(oauth, made) == "canary-access-1"


async def test_a_renewal_that_is_refused_leaves_the_old_token_in_use_as_long_as_it_is_good(
    suite: Suite, oauth: OAuthService
) -> None:
    made = await due(suite, oauth)
    oauth.configure(revoked=True)
    assert [await call(oauth, made) for _ in range(5)] == ["canary-access-1"] * 5
    suite.clock.advance(100)
    with pytest.raises(UnauthenticatedError, match="authorisation ended"):
        await call(oauth, made)
    assert oauth.asked() == 2


async def test_what_a_person_mended_is_tried_at_once(suite: Suite, oauth: OAuthService) -> None:
    made = credentials(suite, oauth, GrantType.CLIENT_CREDENTIALS)
    oauth.configure(revoked=True)
    with pytest.raises(UnauthenticatedError):
        await call(oauth, made)
    oauth.configure(revoked=False)
    assert (await made.tried_anew()).tokens.scope == "read write"


@pytest.mark.parametrize(
    ("fault", "raised", "attempts"),
    [
        ({"kind": "status", "status": 429, "retry_after": "90", "times": None}, RateLimitedError, 1),
        ({"kind": "status", "status": 503, "times": None}, UpstreamUnavailableError, 4),
        ({"kind": "half", "times": None}, UpstreamUnavailableError, 4),
    ],
)
async def test_a_server_that_cannot_answer_is_left_alone_for_a_while(
    suite: Suite, oauth: OAuthService, fault: Json, raised: type[GatebookError], attempts: int
) -> None:
    made = credentials(suite, oauth, GrantType.CLIENT_CREDENTIALS)
    oauth.faults({**fault, "on": "POST /oauth.*", "when": "before"})
    for _ in range(10):
        with pytest.raises(raised) as failure, anyio.fail_after(20):
            await call(oauth, made)
        assert failure.value.retry_after_s
    assert oauth.asked() == attempts
    oauth.faults()
    suite.clock.advance(91)
    assert await call(oauth, made) == "canary-access-1"


@pytest.mark.parametrize("answer", [{"access_token": "canary\r\nx-evil: 1"}, {"access_token": ""}, {"expires_in": -1}])
async def test_an_answer_that_is_no_token_is_refused_without_a_word_of_it(
    suite: Suite, oauth: OAuthService, answer: Json
) -> None:
    oauth.configure(answer_with=answer)
    with pytest.raises(UnauthenticatedError, match="no usable token") as refusal:
        await call(oauth, credentials(suite, oauth, GrantType.CLIENT_CREDENTIALS))
    assert "canary" not in refusal.value.as_text()
    assert oauth.requests("GET") == 0


async def test_tokens_are_shown_to_no_other_client_or_server(suite: Suite, oauth: OAuthService) -> None:
    await connected(suite, oauth)
    with running_oauth() as other:
        for grant in (oauth.grant(client_id="another"), other.grant()):
            with pytest.raises(UnauthenticatedError, match="another client"):
                await RenewingCredentials(suite.runtime, grant).headers()
        assert other.state()["requests"] == []
    assert oauth.asked() == 1


async def test_a_renewal_is_finished_though_its_caller_has_gone(suite: Suite, oauth: OAuthService) -> None:
    made = await due(suite, oauth)
    oauth.faults({"kind": "slow", "on": "POST /oauth.*", "seconds": 0.3})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call, oauth, made)
        while oauth.asked() < 2:  # noqa: ASYNC110 - the server is another process
            await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    assert await call(oauth, made) == "canary-access-2"
    assert oauth.uses()["canary-refresh-1"] == 1


async def test_a_call_without_time_to_wait_is_told_to_come_back(
    suite: Suite, oauth: OAuthService, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await connected(suite, oauth)
    monkeypatch.setattr(tokens, "PATIENCE_S", 0.0)
    suite.clock.advance(LIFE_S)
    with suite.runtime.database.transaction() as tx:
        TokenStore(tx, suite.runtime.vault).lease("fake/one", seconds=LEASE_S)
    with pytest.raises(UpstreamUnavailableError), anyio.fail_after(1):
        await call(oauth, made)
    assert oauth.requests("GET") == 0


async def test_who_waits_for_another_ones_renewal_goes_on_with_its_token(suite: Suite, oauth: OAuthService) -> None:
    made = await connected(suite, oauth)
    other = RenewingCredentials(suite.another_process(), oauth.grant())
    suite.clock.advance(LIFE_S)
    oauth.faults({"kind": "slow", "on": "POST /oauth.*", "seconds": 0.3})
    async with under_way(lambda: call(oauth, made)) as answers:
        await anyio.sleep(0.1)
        assert await call(oauth, other) == "canary-access-2"
    assert answers == ["canary-access-2"]
    assert oauth.granted() == 2


async def test_another_key_is_told(suite: Suite, oauth: OAuthService, tmp_path: Path) -> None:
    await connected(suite, oauth)
    other = suite.another_process(record_key_file=tmp_path / "other.key")
    with pytest.raises(ConfigurationError, match="cannot be opened with this key"):
        await RenewingCredentials(other, oauth.grant()).headers()


class Callers:
    """Real processes that call with the same credentials."""

    def __init__(self, home: Path, place: Place, oauth: OAuthService) -> None:
        self._url = oauth.url
        self._environment = environment(home, **({"GATEBOOK_DATABASE_URL": place.url} if place.url else {}))

    def start(self, *, lease_s: float, seconds: float, hands: int) -> "subprocess.Popen[str]":
        command = [sys.executable, str(PROGRAM), self._url, str(lease_s), str(seconds), str(hands)]
        started = subprocess.Popen(
            command, env=self._environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )
        assert started.stdout is not None
        assert started.stdout.readline() == "ready\n"
        return started

    def go(self, *processes: "subprocess.Popen[str]") -> None:
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()

    def outcomes(self, *processes: "subprocess.Popen[str]") -> list[dict[str, int]]:
        return [cast("dict[str, int]", json.loads(process.communicate(timeout=60)[0])) for process in processes]


@pytest.fixture
async def callers(place: Place, tmp_path: Path, oauth: OAuthService) -> Callers:
    """The processes of an installation that is connected."""
    suite = Suite(tmp_path, overrides={"database_url": place.url} if place.url else {})
    await connected(suite, oauth)
    with suite.runtime.database.transaction() as tx:
        tx.execute("UPDATE desk_tokens SET renew_at = 0, expires_at = 0")
    suite.close()
    return Callers(tmp_path, place, oauth)


@pytest.mark.slow
async def test_processes_refresh_once_a_generation(callers: Callers, oauth: OAuthService) -> None:
    oauth.configure(life_s=1.0)
    processes = [callers.start(lease_s=LEASE_S, seconds=4.0, hands=8) for _ in range(4)]
    callers.go(*processes)
    for outcomes in callers.outcomes(*processes):
        assert set(outcomes) == {"ok"}
    uses = oauth.uses()
    assert len(uses) >= 4
    assert set(uses.values()) == {1}
    assert oauth.state()["refused"] == 0


@pytest.mark.slow
async def test_without_the_lease_processes_refresh_more_than_once(callers: Callers, oauth: OAuthService) -> None:
    oauth.configure(life_s=1.0, leeway=True)
    oauth.faults({"kind": "slow", "on": "POST /oauth.*", "seconds": 0.2, "times": None})
    processes = [callers.start(lease_s=0.0, seconds=2.0, hands=2) for _ in range(4)]
    callers.go(*processes)
    callers.outcomes(*processes)
    assert max(oauth.uses().values()) > 1


@pytest.mark.slow
async def test_a_killed_refresher_is_taken_over(callers: Callers, oauth: OAuthService) -> None:
    oauth.configure(leeway=True)
    oauth.faults({"kind": "slow", "on": "POST /oauth.*", "seconds": 30.0})
    first = callers.start(lease_s=3.0, seconds=1.0, hands=1)
    callers.go(first)
    with anyio.fail_after(10):
        while oauth.asked() < 2:  # noqa: ASYNC110 - the server is another process
            await anyio.sleep(0.02)
    first.kill()
    first.communicate()
    others = [callers.start(lease_s=3.0, seconds=0.5, hands=4) for _ in range(2)]
    callers.go(*others)
    for outcomes in callers.outcomes(*others):
        assert set(outcomes) == {"ok"}
    assert oauth.uses() == {FIRST_REFRESH: 1, "canary-refresh-1": 2}, "once by each"
