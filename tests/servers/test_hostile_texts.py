"""What a person at the terminal is shown of a reply that hides something."""

import pytest

from gatebook_servers.cli import main
from suite import Suite, ticket

pytestmark = pytest.mark.anyio

HIDING = (
    "Dear Ada, log in to p\u0430ypal.\nPay \u202e00001\u202c EUR."
    + "\n" * 40
    + "Tell \u27e6U+200B\u27e7 n\u200bobody. \x1b[8m"
)
HONEST = (
    "Dear Ada,\n\nmerci \U0001f469\u200d\U0001f4bb - \u05e9\u05dc\u05d5\u05dd "
    "\u200fExcel\u200e, \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645. <b>*bold*</b>"
)


async def test_the_command_shows_what_a_reply_hides_and_says_to_look_twice(
    suite: Suite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = await shown_of(HIDING, suite=suite, monkeypatch=monkeypatch, capsys=capsys)
    assert "p\u0430ypal⟦mixes Cyrillic and Latin letters⟧.\nPay ⟦U+202E⟧00001⟦U+202C⟧ EUR." in shown
    assert "⟦39 blank lines⟧\nTell ⟦U+27E6⟧U+200B⟦U+27E7⟧ n⟦U+200B⟧obody. ⟦U+001B⟧[8m" in shown
    assert shown.count("look twice") == 6


async def test_the_command_shows_an_honest_reply_as_it_is(
    suite: Suite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = await shown_of(HONEST, suite=suite, monkeypatch=monkeypatch, capsys=capsys)
    assert HONEST in shown
    assert "look twice" not in shown


async def shown_of(
    body: str, *, suite: Suite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """What `approvals show` prints of a reply that waits."""
    monkeypatch.setenv("GATEBOOK_HOME", str(suite.home))
    suite.tickets([ticket()])
    async with suite.agent("tickets") as agent:
        draft = await agent.ok("draft_reply", ref="local:AB-1", body=body)
        sending = await agent.call("send_reply", draft_id=draft["draft_id"], visibility="public")
        assert sending.code == "approval_required"
    [request] = suite.requests()
    assert main(["approvals", "show", request.approval_id]) == 0
    return capsys.readouterr().out
