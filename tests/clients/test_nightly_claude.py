"""`gatebook nightly --agent claude`: the real Claude Code drives the night through the `night_shift` prompt."""

import json
import subprocess
from pathlib import Path
from typing import cast

import pytest
from pydantic import JsonValue

from clients.claude_code import ABSENT, find_cli
from clients.scripted_messages_api import Call, Say, Seen, serving
from programs.processes import COMMAND, complained, environment, gatebook
from suite import ticket

SINCE, UNTIL = "2026-11-21T18:00:00+00:00", "2026-11-22T06:00:00+00:00"
KEY = f"nightly/local/{SINCE}/{UNTIL}"
NIGHT = ("nightly", "--since", SINCE, "--until", UNTIL, "--agent", "claude", "--json")


def run_id(seen: Seen) -> JsonValue:
    return seen["start_run"].data["run_id"]


SCRIPT = [
    Call("mcp__runs__start_run", {"key": KEY}),
    Call(
        "mcp__tickets__pull_tickets",
        lambda seen: {"subscription": KEY, "since": SINCE, "until": UNTIL, "run_id": run_id(seen)},
    ),
    Call(
        "mcp__classifier__classify_tickets",
        lambda seen: {
            "items": [
                {"ref": str(found["ref"]), "subject": str(found["subject"]), "text": str(found["preview"])}
                for found in cast("list[dict[str, JsonValue]]", seen["pull_tickets"].data["tickets"])
            ],
            "run_id": run_id(seen),
        },
    ),
    Call(
        "mcp__tickets__draft_reply",
        lambda seen: {"ref": "local:AB-1", "body": "Open the board's menu.", "run_id": run_id(seen)},
    ),
    Call(
        "mcp__tickets__send_reply",
        lambda seen: {
            "draft_id": seen["draft_reply"].data["draft_id"],
            "visibility": "public",
            "run_id": run_id(seen),
        },
    ),
    Call("mcp__runs__finish_run", lambda seen: {"run_id": run_id(seen), "status": "completed"}),
    Say("Done."),
]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_claude_code_works_the_night_with_our_tools_only_and_the_ledger_reports_it(tmp_path: Path) -> None:
    cli = find_cli()
    if cli is None:
        pytest.skip(ABSENT)
    home = tmp_path / "home"
    inbox = tmp_path / "inbox.jsonl"
    inbox.write_text(json.dumps(ticket("AB-1")) + "\n" + json.dumps(ticket("AB-2")) + "\n", encoding="utf-8")
    gatebook(home, "tickets", "import", str(inbox))
    with serving(SCRIPT) as api:
        own = {"HOME": str(tmp_path), "ANTHROPIC_BASE_URL": api.url, "ANTHROPIC_API_KEY": "invented"}
        done = subprocess.run(
            [*COMMAND, *NIGHT],
            env={**environment(home, GATEBOOK_CLAUDE=str(cli)), **own, "IS_SANDBOX": "1"},
            capture_output=True,
            encoding="utf-8",
            timeout=240,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["status"], report["tickets"], report["drafts"]) == ("completed", 2, 1)
    assert (report["key"], report["failed"], report["remaining"]) == (KEY, None, None), "what it left nobody counted"
    assert report["approvals"]["pending"] == 1
    assert report["tokens"] is not None
    offered = set(api.requests[0].offered)
    assert offered
    assert all(name.startswith("mcp__") for name in offered)
    assert KEY in api.requests[0].user_text


@pytest.mark.parametrize("flags", [["--again"], ["--checkpoint-every", "5"], ["--max-tokens", "1000"]])
def test_what_claude_code_does_not_heed_is_refused(tmp_path: Path, flags: list[str]) -> None:
    assert f"does not heed {flags[0]}." in complained(tmp_path / "home", *NIGHT, *flags)


def test_without_claude_code_the_message_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, *NIGHT],
        env=environment(tmp_path / "home", GATEBOOK_CLAUDE=str(tmp_path / "absent")),
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "Claude Code is not installed" in done.stderr
    assert done.stdout == ""
