"""Claude Code's PreToolUse hook: over HTTP and as a command. Whatever goes wrong, a call does not go ahead."""

import json
import subprocess
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import anyio
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatebook.toolset import build_server
from gatebook.transports.http import MAX_BODY_BYTES, HttpOptions, build_app
from gatebook_servers.catalogue import SERVERS, catalogue
from gatebook_servers.commands.hooks import claude_code_hook
from programs.processes import COMMAND, environment, gatebook, gatebook_json
from suite import Json, Suite, text_of

pytestmark = pytest.mark.anyio
TOKEN = "an-invented-token"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
ASKED: Json = {
    "session_id": "a-session",
    "cwd": "/home/robin",
    "permission_mode": "default",
    "hook_event_name": "PreToolUse",
    "tool_name": "Bash",
    "tool_input": {"command": "make release"},
    "tool_use_id": "toolu_1",
}
MALFORMED = [
    b"",
    b"null",
    b"[]",
    b"nonsense",
    b"\xff\xfe",
    json.dumps(ASKED).encode()[:-1],
    json.dumps({**ASKED, "hook_event_name": "PostToolUse"}).encode(),
    json.dumps({**ASKED, "tool_use_id": ""}).encode(),
    json.dumps({**ASKED, "tool_input": "make release"}).encode(),
    json.dumps({**ASKED, "tool_name": "Bash\u202e"}).encode(),
    json.dumps({name: value for name, value in ASKED.items() if name != "tool_input"}).encode(),
    json.dumps({**ASKED, "tool_input": {"text": "x" * MAX_BODY_BYTES}}).encode(),
    b'{"permissionDecision":"allow"}',
]


@asynccontextmanager
async def caller(suite: Suite, **headers: str) -> AsyncGenerator[httpx.AsyncClient]:
    servers = {"approvals": build_server([SERVERS["approvals"]], suite.runtime, catalogue=catalogue())}
    options = HttpOptions(token=TOKEN, principal=suite.runtime.settings.principal)
    app = build_app(servers, options, hooks={"claude-code": claude_code_hook(suite.runtime)})
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8420", headers=headers) as client:
        yield client


async def decision(suite: Suite, body: bytes | None = None, **changed: str) -> tuple[str, str]:
    async with caller(suite, **BEARER) as client:
        content = json.dumps({**ASKED, **changed}).encode() if body is None else body
        response = await client.post("/hooks/claude-code", content=content)
    assert response.status_code == 200
    return decided(response.text)


def decided(text: str) -> tuple[str, str]:
    """The decision and its reason, in the one form that Claude Code reads."""
    said = cast("dict[str, dict[str, str]]", json.loads(text))
    assert set(said) == {"hookSpecificOutput"}
    output = said["hookSpecificOutput"]
    assert set(output) == {"hookEventName", "permissionDecision", "permissionDecisionReason"}
    assert output["hookEventName"] == "PreToolUse"
    return output["permissionDecision"], output["permissionDecisionReason"]


async def test_a_call_is_deferred_until_a_person_said_yes_and_then_allowed_to_that_call_alone(suite: Suite) -> None:
    what, why = await decision(suite)
    [request] = suite.requests()
    assert what == "defer"
    assert request.approval_id in why
    assert (await decision(suite))[0] == "defer"
    suite.approve(request.approval_id)
    assert [(await decision(suite))[0] for _ in range(2)] == ["allow", "allow"]
    assert (await decision(suite, tool_use_id="toolu_2"))[0] == "defer"


async def test_a_no_is_a_denial_with_its_reason(suite: Suite) -> None:
    await decision(suite)
    suite.deny(suite.requests()[0].approval_id, reason="not on a Friday")
    what, why = await decision(suite)
    assert what == "deny"
    assert "not on a Friday" in why


async def test_tools_of_ours_are_allowed_because_their_guard_asks(suite: Suite) -> None:
    assert (await decision(suite, tool_name="mcp__tickets__send_reply"))[0] == "allow"
    assert (await decision(suite, tool_name="mcp__elsewhere__send_reply"))[0] == "defer"


async def test_the_prompt_gives_the_same_answer_to_the_call_that_the_hook_let_through(suite: Suite) -> None:
    await decision(suite)
    suite.approve(suite.requests()[0].approval_id)
    assert (await decision(suite))[0] == "allow"
    suite.overrides["claude_prompt_wait_s"] = 0
    async with suite.agent("approvals", runtime=suite.another_process()) as agent:
        for use, behavior in (("toolu_1", "allow"), ("toolu_2", "deny")):
            asked = {"tool_name": "Bash", "input": ASKED["tool_input"], "tool_use_id": use}
            result = await agent.client.call_tool("permission_prompt", asked)
            assert json.loads(text_of(result))["behavior"] == behavior


@pytest.mark.parametrize("body", MALFORMED, ids=range(len(MALFORMED)))
async def test_what_is_no_input_of_the_hook_is_denied(suite: Suite, body: bytes) -> None:
    (suite.home / "policy.toml").write_text('version = 1\nalways_allow = ["foreign.*"]\n', encoding="utf-8")
    assert (await decision(suite))[0] == "allow"
    assert (await decision(suite, body))[0] == "deny"


async def test_a_defect_is_a_denial_that_tells_nothing_of_it(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object) -> None:
        raise RuntimeError("a secret in a traceback")

    monkeypatch.setattr(type(suite.runtime), "policy", broken)
    what, why = await decision(suite)
    assert what == "deny"
    assert "secret" not in why


async def test_calls_of_the_hook_count_as_calls_of_the_day(suite: Suite) -> None:
    suite.overrides["max_calls_per_day"] = 1
    suite.runtime = suite.another_process()
    assert (await decision(suite))[0] == "defer"
    assert (await decision(suite))[0] == "deny"


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 401), ({"Authorization": "Bearer another"}, 401), ({**BEARER, "Origin": "http://evil.example"}, 403)],
)
async def test_who_has_no_token_or_comes_from_a_web_page_is_refused_and_nothing_is_asked(
    suite: Suite, headers: dict[str, str], status: int
) -> None:
    async with caller(suite, **headers) as client:
        response = await client.post("/hooks/claude-code", json=ASKED)
    assert response.status_code == status
    assert suite.requests("all") == []


async def test_a_get_asks_nothing(suite: Suite) -> None:
    async with caller(suite, **BEARER) as client:
        assert (await client.get("/hooks/claude-code")).status_code == 405


@settings(max_examples=40, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(bodies=st.lists(st.binary(max_size=60) | st.sampled_from(MALFORMED[:-2]), max_size=4))
def test_no_body_is_allowed_that_neither_a_person_nor_policy_allowed(bodies: list[bytes]) -> None:
    async def fuzz(suite: Suite) -> None:
        for body in bodies:
            assert (await decision(suite, body))[0] == "deny"

    with tempfile.TemporaryDirectory() as place:
        made = Suite(Path(place))
        try:
            anyio.run(fuzz, made)
        finally:
            made.close()


def hook(home: Path, body: bytes, **environ: str) -> tuple[str, str]:
    command = [*COMMAND, "approvals", "hook"]
    done = subprocess.run(
        command, input=body, env=environment(home, **environ), capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0
    return decided(done.stdout.decode())


def test_the_command_answers_the_hook_and_people_decide_at_the_command_line(tmp_path: Path) -> None:
    body = json.dumps(ASKED).encode()
    assert hook(tmp_path, body)[0] == "defer"
    [request] = cast("list[Json]", gatebook_json(tmp_path, "approvals", "list"))
    approval_id, fingerprint = str(request["approval_id"]), str(request["fingerprint"])[:6]
    shown = gatebook(tmp_path, "approvals", "show", approval_id)
    assert "Bash, a tool that is not Gatebook's" in shown
    assert "make release" in shown
    gatebook(tmp_path, "approvals", "approve", approval_id, "--fingerprint", fingerprint)
    assert hook(tmp_path, body)[0] == "allow"
    assert cast("Json", gatebook_json(tmp_path, "approvals", "show", approval_id))["state"] == "used"


@pytest.mark.parametrize(
    ("body", "environ"),
    [(b"nonsense", {}), (json.dumps(ASKED).encode(), {"GATEBOOK_MODE": "perhaps"})],
    ids=["input", "settings"],
)
def test_the_command_denies_what_it_cannot_judge(tmp_path: Path, body: bytes, environ: dict[str, str]) -> None:
    assert hook(tmp_path, body, **environ)[0] == "deny"


def test_the_printed_settings_ask_about_every_call_and_block_when_the_hook_fails(tmp_path: Path) -> None:
    def printed(*options: str) -> dict[str, Json]:
        return json.loads(gatebook(tmp_path, "config", "claude-code", "--permission-prompt", *options))

    waiting = printed()
    assert waiting == {"permissions": {"ask": ["*"], "disableBypassPermissionsMode": "disable"}}
    for transport in ("stdio", "http"):
        deferring = printed("defer", "--transport", transport)
        assert deferring["permissions"] == waiting["permissions"]
        [entry] = cast("list[Json]", deferring["hooks"]["PreToolUse"])
        [asked] = cast("list[Json]", entry["hooks"])
        assert (entry["matcher"], asked["onFailure"]) == ("*", "block")
        assert "a-token" not in json.dumps(asked)
