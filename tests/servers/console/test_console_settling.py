"""Doubts that no request stands for, as the attention page shows and settles them."""

import pytest

from consoles import RunningConsole
from gatebook.effects import Effects
from gatebook.intents import Intent
from suite import the_effect

pytestmark = pytest.mark.anyio


def in_doubt(console: RunningConsole) -> None:
    intent = Intent(target="local:AB-1", operation="reply", subject="x", content={"body": "Hello."})
    with console.suite.runtime.database.transaction() as tx:
        effect = Effects(tx).claim(
            intent,
            tenant="default",
            mode="live",
            server="tickets",
            tool="send_reply",
            principal="agent:local",
            run_id="",
            arguments="{}",
            owner="gone",
            lease_s=60,
            approval_id="",
        )
        Effects(tx).finish(effect, state="in_doubt", result="", outcome="unknown")


async def test_a_doubt_without_a_request_is_settled_on_the_attention_page(console: RunningConsole) -> None:
    in_doubt(console)
    with console.visitor("eve") as eve, console.visitor("ada", "reviewer") as ada:
        marker = the_effect(console.suite).marker
        assert marker in eve.get("/attention").text
        assert "/settle" not in eve.get("/attention").text, "who looks on is offered no form"
        form = ada.form("/attention", "/settle")
        stolen = {**form.fields, "happened": "yes", "note": "I say so."}
        assert eve.post(form.action, stolen).status_code == 403
        assert ada.submit("/attention", "/settle", note="I looked").status_code == 422
        assert the_effect(console.suite).state == "in_doubt"
        assert ada.submit("/attention", "/settle", happened="no", note="It is not there.").status_code == 303
        assert "All is well" in ada.get("/attention").text
        assert ada.post(form.action, {**stolen, "happened": "yes"}).status_code == 409
    assert the_effect(console.suite).state == "not_applied"
