"""The real Claude Code asks Gatebook before it calls a tool that is not Gatebook's.

Whether a call ran is told by a file that it makes, or by the count of the server that was called.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydantic import JsonValue, TypeAdapter

from clients.claude_code import ABSENT, ClaudeCode, Report, find_cli
from clients.scripted_messages_api import Call, Say, ScriptedMessagesApi, Step, serving
from programs.processes import COMMAND, environment, gatebook, gatebook_json

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PROBE = Path(__file__).with_name("probe_tools_server.py")
OBJECT: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])
OBJECTS: TypeAdapter[list[dict[str, JsonValue]]] = TypeAdapter(list[dict[str, JsonValue]])
PROMPT = "--permission-prompt-tool=mcp__approvals__permission_prompt"
TOUCH = Call("Bash", {"command": "touch ran", "description": "Make a file"})
COUNTED = Call("mcp__probe__send_reply", {"ref": "local:AB-1"})
EDITED = "local:AB-2"
DONE = Say("Done.")


@dataclass
class Desk:
    """Claude Code beside an installation of Gatebook that it has to ask."""

    claude: ClaudeCode
    home: Path
    settings: dict[str, str] = field(default_factory=dict[str, str])
    """Environment of Gatebook's processes."""

    @property
    def ran(self) -> bool:
        return (self.claude.directory("work") / "ran").exists()

    @property
    def count(self) -> int:
        """How often the probe was called."""
        return len(self.calls)

    @property
    def calls(self) -> list[str]:
        """With what the probe was called."""
        log = self.home.parent / "calls"
        return log.read_text(encoding="utf-8").splitlines() if log.exists() else []

    def asking(self, kind: str, *, transport: str = "stdio", **changed: JsonValue) -> Path:
        """The settings that `gatebook config` prints, in a file."""
        port = self.settings.get("GATEBOOK_PORT", "8420")
        options = ("--permission-prompt", kind, "--transport", transport)
        printed = gatebook(self.home, "config", "claude-code", *options, GATEBOOK_PORT=port)
        file = self.home.parent / "settings.json"
        file.write_text(json.dumps({**OBJECT.validate_json(printed), **changed}), encoding="utf-8")
        return file

    def servers(self) -> dict[str, JsonValue]:
        printed = OBJECT.validate_json(gatebook(self.home, "config", "claude-code"))
        entries = OBJECT.validate_python(printed["mcpServers"])
        approvals = OBJECT.validate_python(entries["approvals"])
        env = {**OBJECT.validate_python(approvals["env"]), **self.settings}
        probe: JsonValue = {
            "type": "stdio",
            "command": sys.executable,
            "args": [str(PROBE)],
            "env": {"PROBE_CALLS": str(self.home.parent / "calls")},
        }
        return {"approvals": {**approvals, "env": env}, "probe": probe}

    def work(
        self,
        script: Sequence[Step],
        *flags: str,
        servers: Mapping[str, JsonValue] | None = None,
        prompt: str = "Go.",
        env: Mapping[str, str] | None = None,
    ) -> tuple[Report, ScriptedMessagesApi]:
        with serving(script) as api:
            report = self.claude.run(
                prompt,
                api_url=api.url,
                config={"mcpServers": dict(self.servers() if servers is None else servers)},
                flags=("--tools=Bash", "--permission-mode=default", *flags),
                env=env,
            )
        assert api.unplayable == []
        return report, api

    def pending(self) -> list[dict[str, JsonValue]]:
        return OBJECTS.validate_python(gatebook_json(self.home, "approvals", "list"))

    def approve(self) -> None:
        [request] = self.pending()
        fingerprint = str(request["fingerprint"])[:6]
        gatebook(self.home, "approvals", "approve", str(request["approval_id"]), "--fingerprint", fingerprint)

    def edit(self, name: str, text: str) -> None:
        [request] = self.pending()
        file = self.home.parent / "text"
        file.write_text(text, encoding="utf-8")
        gatebook(self.home, "approvals", "edit", str(request["approval_id"]), "--field", name, "--file", str(file))

    def edit_and_approve(self) -> None:
        self.edit("ref", EDITED)
        self.approve()

    def deny(self, reason: str) -> None:
        [request] = self.pending()
        gatebook(self.home, "approvals", "deny", str(request["approval_id"]), "--reason", reason)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    cli = find_cli()
    if cli is None:
        pytest.skip(ABSENT)
    place = tmp_path / "cc"
    place.mkdir()
    return Desk(ClaudeCode(cli, place), tmp_path / "home")


@pytest.fixture
def hasty(desk: Desk) -> Desk:
    """A prompt that does not wait for people."""
    desk.settings["GATEBOOK_CLAUDE_PROMPT_WAIT_S"] = "0"
    return desk


def refusals(api: ScriptedMessagesApi) -> list[str]:
    return [result.text for result in api.results() if result.is_error]


@contextmanager
def a_person(desk: Desk, decide: str) -> Generator[None]:
    """Somebody who decides the first request as soon as it is there."""

    def watch() -> None:
        while not over.is_set():
            if (desk.home / "gatebook.db").exists() and desk.pending():
                getattr(desk, decide)(*(["not today"] if decide == "deny" else []))
                return
            over.wait(0.2)

    over = threading.Event()
    person = threading.Thread(target=watch)
    person.start()
    try:
        yield
    finally:
        over.set()
        person.join()


def test_what_policy_allows_runs_and_what_it_never_allows_does_not(hasty: Desk) -> None:
    hasty.home.mkdir()
    policy = 'version = 1\nalways_allow = ["foreign.Bash"]\nnever = ["foreign.mcp__probe__send_reply"]\n'
    (hasty.home / "policy.toml").write_text(policy, encoding="utf-8")
    _, api = hasty.work([TOUCH, COUNTED, DONE], PROMPT, f"--settings={hasty.asking('wait')}")
    assert hasty.ran
    assert hasty.count == 0
    [refusal] = refusals(api)
    assert "policy_blocked" in refusal


def test_a_call_that_waits_for_nobody_is_pending_and_the_same_call_runs_once_after_a_yes(hasty: Desk) -> None:
    settings = f"--settings={hasty.asking('wait')}"
    report, api = hasty.work([COUNTED, DONE], PROMPT, settings)
    assert hasty.count == 0
    [request] = hasty.pending()
    assert str(request["approval_id"]) in refusals(api)[0]
    assert [denial.tool_name for denial in report.outcome.permission_denials] == ["mcp__probe__send_reply"]
    hasty.approve()
    hasty.work([COUNTED, COUNTED, DONE], PROMPT, settings)
    assert hasty.count == 1
    assert len(hasty.pending()) == 1


def test_a_call_blocks_until_a_person_says_yes_and_then_runs(desk: Desk) -> None:
    with a_person(desk, "approve"):
        _, api = desk.work([TOUCH, DONE], PROMPT, f"--settings={desk.asking('wait')}")
    assert desk.ran
    assert refusals(api) == []


def test_a_call_blocks_until_a_person_says_no_and_the_model_reads_why(desk: Desk) -> None:
    with a_person(desk, "deny"):
        _, api = desk.work([TOUCH, DONE], PROMPT, f"--settings={desk.asking('wait')}")
    assert not desk.ran
    assert "not today" in refusals(api)[0]


@pytest.fixture
def editable(desk: Desk) -> Desk:
    """A policy by which a person may change what the probe is called with."""
    desk.home.mkdir()
    rule = '[[rule]]\nid = "probe"\ntools = ["foreign.mcp__probe__*"]\nthen = { outcome = "review", edit = ["ref"] }\n'
    (desk.home / "policy.toml").write_text(f"version = 1\n{rule}", encoding="utf-8")
    return desk


def test_a_call_blocks_until_a_person_changed_it_and_runs_with_what_they_wrote(editable: Desk) -> None:
    with a_person(editable, "edit_and_approve"):
        editable.work([COUNTED, DONE], PROMPT, f"--settings={editable.asking('wait')}")
    assert editable.calls == [EDITED]


def test_a_call_that_was_changed_meanwhile_runs_once_with_what_a_person_wrote(editable: Desk) -> None:
    editable.settings["GATEBOOK_CLAUDE_PROMPT_WAIT_S"] = "0"
    settings = f"--settings={editable.asking('wait')}"
    editable.work([COUNTED, DONE], PROMPT, settings)
    editable.edit_and_approve()
    editable.work([COUNTED, COUNTED, DONE], PROMPT, settings)
    assert editable.calls == [EDITED]
    assert [request["content"] for request in editable.pending()] == [{"input": {"ref": "local:AB-1"}}]


def test_a_deferred_call_runs_with_what_a_person_wrote_when_it_is_resumed(editable: Desk) -> None:
    editable.settings["GATEBOOK_CLAUDE_PROMPT_WAIT_S"] = "0"
    flags = (PROMPT, f"--settings={editable.asking('defer')}")
    report, _ = editable.work([COUNTED, DONE], *flags)
    assert report.outcome.stop_reason == "tool_deferred"
    editable.edit_and_approve()
    resume = f"--resume={report.outcome.session_id}"
    ended, _ = editable.work([COUNTED, DONE], *flags, resume, prompt="")
    assert (ended.outcome.result, editable.calls) == ("Done.", [EDITED])


def test_an_allow_rule_does_not_get_past_the_prompt(hasty: Desk) -> None:
    hasty.work([TOUCH, DONE], PROMPT, f"--settings={hasty.asking('wait')}", "--allowedTools=Bash")
    assert not hasty.ran


@pytest.mark.parametrize("approved", ["approve", "deny"])
@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_a_deferred_call_survives_the_session_and_is_decided_when_it_is_resumed(
    hasty: Desk, approved: str, transport: str
) -> None:
    with reached(hasty, transport) as env:
        flags = (PROMPT, f"--settings={hasty.asking('defer', transport=transport)}")
        report, api = hasty.work([TOUCH, DONE], *flags, env=env)
        assert (report.outcome.stop_reason, len(api.requests)) == ("tool_deferred", 1)
        assert not hasty.ran
        resume = f"--resume={report.outcome.session_id}"
        still, api = hasty.work([TOUCH, DONE], *flags, resume, prompt="", env=env)
        assert (still.outcome.stop_reason, len(api.requests)) == ("tool_deferred", 0)
        if approved == "approve":
            hasty.approve()
        else:
            hasty.deny("not today")
        ended, api = hasty.work([TOUCH, DONE], *flags, resume, prompt="", env=env)
        assert ended.outcome.result == "Done."
        assert hasty.ran is (approved == "approve")
        assert refusals(api) == [] if hasty.ran else "not today" in refusals(api)[0]


@contextmanager
def reached(desk: Desk, transport: str) -> Generator[dict[str, str]]:
    """The hook as the settings reach it: a command, or an address that is served."""
    if transport == "stdio":
        yield {}
        return
    command = [*COMMAND, "serve", "approvals", "--transport", "http", "--port", "0"]
    env = environment(desk.home, **desk.settings)
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stderr is not None
        try:
            announced = next((line for line in process.stderr if line.startswith("approvals: http://")), "")
            assert announced, "the server did not start"
            threading.Thread(target=process.stderr.read).start()  # a full pipe would stop it
            desk.settings["GATEBOOK_PORT"] = announced.split("/")[2].rpartition(":")[2]
            yield {"GATEBOOK_TOKEN": (desk.home / "token").read_text(encoding="utf-8").strip()}
        finally:
            process.terminate()


def test_nothing_runs_while_the_hook_cannot_be_reached(hasty: Desk) -> None:
    with reached(hasty, "http"):
        pass
    settings = f"--settings={hasty.asking('defer', transport='http', permissions={})}"
    _, api = hasty.work([TOUCH, COUNTED, DONE], settings, "--allowedTools=Bash,mcp__probe__*")
    assert not hasty.ran
    assert hasty.count == 0
    assert all("blocking" in refusal for refusal in refusals(api))


@pytest.mark.parametrize("trouble", ["token", "settings"])
def test_nothing_runs_when_the_hook_is_refused_or_broken(hasty: Desk, trouble: str) -> None:
    probe = {"probe": hasty.servers()["probe"]}
    with reached(hasty, "http" if trouble == "token" else "stdio") as env:
        transport = "http" if trouble == "token" else "stdio"
        settings = f"--settings={hasty.asking('defer', transport=transport, permissions={})}"
        hasty.home.mkdir(exist_ok=True)
        if trouble == "settings":
            (hasty.home / "gatebook.toml").write_text("nonsense", encoding="utf-8")
        wrong = dict.fromkeys(env, "another")
        allowed = "--allowedTools=Bash,mcp__probe__*"
        _, api = hasty.work([TOUCH, COUNTED, DONE], settings, allowed, servers=probe, env=wrong)
    assert not hasty.ran
    assert hasty.count == 0
    assert len(refusals(api)) == 2


def test_nothing_runs_while_the_broker_cannot_be_reached(hasty: Desk) -> None:
    settings = f"--settings={hasty.asking('wait')}"
    broken: JsonValue = {"type": "stdio", "command": "/nonexistent/server", "args": []}
    servers = {**hasty.servers(), "approvals": broken}
    with pytest.raises(AssertionError, match="permission_prompt"):
        hasty.work([TOUCH, COUNTED, DONE], PROMPT, settings, servers=servers)
    assert not hasty.ran
    assert hasty.count == 0


def test_nothing_runs_when_the_database_is_gone(hasty: Desk) -> None:
    settings = f"--settings={hasty.asking('wait')}"
    hasty.home.mkdir()
    (hasty.home / "gatebook.db").write_bytes(b"no database" * 1_000)
    with pytest.raises(AssertionError, match="permission_prompt"):
        hasty.work([TOUCH, COUNTED, DONE], PROMPT, settings)
    assert not hasty.ran
    assert hasty.count == 0


@pytest.mark.parametrize("said", ["nonsense", '{"behavior":"allow"', '{"behavior":"perhaps"}', "[]", '{"allow":true}'])
def test_no_answer_that_does_not_fit_lets_a_call_run(hasty: Desk, said: str) -> None:
    prompting: JsonValue = {
        "type": "stdio",
        "command": sys.executable,
        "args": [str(PROBE)],
        "env": {**os.environ, "PROBE_PROMPT": said},
    }
    servers: dict[str, JsonValue] = {"approvals": prompting}
    hasty.work([TOUCH, DONE], PROMPT, f"--settings={hasty.asking('wait')}", servers=servers)
    assert not hasty.ran
