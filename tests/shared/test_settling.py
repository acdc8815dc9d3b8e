"""Effects in doubt that nobody had to approve: a person settles them by their marker."""

import anyio
import pytest

from fakes.troubled_desk import Trouble, TroubledDesk
from gatebook.approvals.audit import Audit
from gatebook.approvals.models import Reviewer
from gatebook.approvals.verifying import verify
from gatebook.errors import ConflictError, ForbiddenError, GatebookError, NotFoundError, OutcomeUnknownError
from gatebook.retry import AmbiguousError
from gatebook.settling import settle_unasked
from gatebook_servers.cli import main
from gatebook_servers.tickets.ports import open_desk
from suite import ADA, REPLY, Json, Suite, approved_reply, the_effect, ticket


async def unasked_doubt(suite: Suite) -> Json:
    """Send what policy allows by itself to a desk that cannot tell whether it arrived; the call."""
    suite.home.mkdir(exist_ok=True)
    (suite.home / "policy.toml").write_text('version = 1\nalways_allow = ["tickets.send_reply"]\n', encoding="utf-8")
    suite.tickets([ticket()])
    unknown = OutcomeUnknownError("the desk cannot tell.", next_step="Look.")
    suite.runtime.ports[open_desk] = TroubledDesk(suite.runtime, Trouble(before=[AmbiguousError()], looking=[unknown]))
    async with suite.agent("tickets") as agent:
        draft = await agent.ok("draft_reply", ref="local:AB-1", body=REPLY)
        send: Json = {"draft_id": draft["draft_id"], "visibility": "public"}
        assert (await agent.call("send_reply", send)).code == "outcome_unknown"
    assert (the_effect(suite).state, the_effect(suite).approval_id) == ("in_doubt", "")
    return send


def settled(suite: Suite, *, happened: bool, reviewer: Reviewer = ADA, marker: str = "") -> str:
    with suite.runtime.database.transaction() as tx:
        return settle_unasked(
            tx,
            suite.runtime.settings,
            marker or the_effect(suite).marker,
            reviewer=reviewer,
            channel="test",
            happened=happened,
            note="CANARY looked",
        ).state


@pytest.mark.any_database
@pytest.mark.anyio
@pytest.mark.parametrize(("happened", "code", "sent"), [(True, "idempotency_conflict", []), (False, "", [REPLY])])
async def test_only_what_a_person_says_did_not_happen_is_done_again(
    suite: Suite, code: str, sent: list[str], *, happened: bool
) -> None:
    send = await unasked_doubt(suite)
    marker = the_effect(suite).marker
    assert settled(suite, happened=happened, marker=marker) == ("done" if happened else "not_applied")
    async with suite.agent("tickets") as agent:
        assert (await agent.call("send_reply", send)).code == code
    assert [comment["body"] for comment in suite.comments("AB-1")] == sent
    with suite.runtime.database.transaction() as tx:
        [told] = [event for event in Audit(tx).events() if event.event == "effect.settled"]
    assert (told.actor, told.subject) == ("person:ada", marker)
    assert f'"happened":{str(happened).lower()}' in told.body
    assert "CANARY" not in told.body
    assert verify(suite.runtime.database).bad_seq is None


@pytest.mark.any_database
@pytest.mark.anyio
async def test_who_decides_nothing_and_what_is_not_in_doubt_settles_nothing(suite: Suite) -> None:
    await unasked_doubt(suite)
    marker = the_effect(suite).marker
    refused: list[tuple[type[GatebookError], Reviewer, str]] = [
        (ForbiddenError, Reviewer(person="person:eve"), marker),
        (NotFoundError, ADA, "gb-nothing"),
    ]
    for error, reviewer, of in refused:
        with pytest.raises(error):
            settled(suite, happened=True, reviewer=reviewer, marker=of)
    assert the_effect(suite).state == "in_doubt"
    settled(suite, happened=True, marker=marker)
    with pytest.raises(ConflictError, match="done"):
        settled(suite, happened=False, marker=marker)
    with suite.runtime.database.transaction() as tx:
        assert [event.event for event in Audit(tx).events()].count("effect.settled") == 1


@pytest.mark.any_database
@pytest.mark.anyio
async def test_what_a_person_approved_is_settled_by_its_request_only(suite: Suite) -> None:
    await approved_reply(suite)
    await suite.execute()
    marker = the_effect(suite).marker
    with pytest.raises(ConflictError, match="approved"):
        settled(suite, happened=False, marker=marker)
    assert the_effect(suite).state == "done"


def test_the_command_lists_and_settles_it_by_its_marker(
    suite: Suite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GATEBOOK_HOME", str(suite.home))
    anyio.run(unasked_doubt, suite)
    marker = the_effect(suite).marker
    assert main(["attention"]) == 1
    assert marker in capsys.readouterr().out
    assert main(["approvals", "settle", marker, "--happened", "--note", "it stands in the ticket"]) == 0
    assert "settled: done" in capsys.readouterr().out
    assert main(["attention"]) == 0
    assert the_effect(suite).state == "done"
