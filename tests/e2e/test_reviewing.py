"""Beyond yes and no, at the command line: a person's own words, and new requests as they come."""

import json
import subprocess
from pathlib import Path
from time import time

import anyio

from gatebook.clock import ManualClock
from programs.processes import COMMAND, environment, gatebook, rows
from suite import Json, Suite, ticket

CHANGED = "Open the menu of the board, then choose Rename."


async def asked(home: Path) -> str:
    """Have an agent ask for a reply; the request."""
    suite = Suite(home, clock=ManualClock(time()))
    suite.tickets([ticket()])
    async with suite.agent("tickets") as agent:
        draft = await agent.ok("draft_reply", ref="local:AB-1", body="Look into the manual.")
        send: Json = {"draft_id": draft["draft_id"], "visibility": "public"}
        approval_id = str((await agent.call("send_reply", send)).error["approval_id"])
    suite.close()
    return approval_id


def test_what_a_person_wrote_at_the_command_line_is_sent_once_they_approve_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    approval_id = anyio.run(asked, home)
    text = tmp_path / "reply.txt"
    text.write_text(f"{CHANGED}\n", encoding="utf-8")
    printed = gatebook(home, "approvals", "edit", approval_id, "--file", str(text))
    assert "-Look into the manual." in printed
    assert f"+{CHANGED}" in printed
    [edited] = json.loads(gatebook(home, "approvals", "list", "--json"))
    gatebook(home, "approvals", "approve", edited["approval_id"], "--fingerprint", edited["fingerprint"][:6])
    assert rows(home, "SELECT body FROM desk_comments") == [(CHANGED,)]


def test_watching_prints_each_request_as_it_comes(tmp_path: Path) -> None:
    home = tmp_path / "home"
    approval_id = anyio.run(asked, home)
    with subprocess.Popen(
        [*COMMAND, "approvals", "watch", "--json"], env=environment(home), stdout=subprocess.PIPE, encoding="utf-8"
    ) as watching:
        assert watching.stdout is not None
        first = json.loads(watching.stdout.readline())
        watching.terminate()
    assert (first["approval_id"], first["facts"]["ref"]) == (approval_id, "local:AB-1")
