"""Calls to tools that are not ours, as Claude Code's permission prompt asks about them."""

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from pydantic import JsonValue

from gatebook.approvals.audit import Audit
from gatebook.approvals.models import Reviewer
from gatebook.foreign import MOST_PENDING
from gatebook.runtime import Runtime
from gatebook.switches import PAUSE, Switches
from suite import REPLY, Agent, Json, Suite, text_of, ticket, under_way

pytestmark = pytest.mark.anyio
BASH: Json = {"command": "make release", "description": "Release"}
OURS = "mcp__tickets__send_reply"
HOUR_S = 3_600


@pytest.fixture(autouse=True)
def _without_waiting(suite: Suite) -> None:
    """The prompt answers at once, unless a test says how long it waits."""
    suite.overrides["claude_prompt_wait_s"] = 0
    suite.runtime = suite.another_process()


async def answer(agent: Agent, arguments: Mapping[str, JsonValue]) -> Json:
    """The prompt's answer, which has the one form that Claude Code reads."""
    result = await agent.client.call_tool("permission_prompt", dict(arguments))
    assert not result.is_error
    assert result.structured_content is None
    assert len(result.content) == 1
    said = cast("Json", json.loads(text_of(result)))
    if said["behavior"] == "allow":
        assert said == {"behavior": "allow"}
    else:
        assert set(said) == {"behavior", "message"}
        assert said["behavior"] == "deny"
        assert said["message"]
    return said


async def prompt(agent: Agent, tool: str = "Bash", tool_input: Json = BASH, *, use: str = "toolu_1") -> Json:
    return await answer(agent, {"tool_name": tool, "input": tool_input, "tool_use_id": use})


async def behavior(
    suite: Suite, tool: str = "Bash", tool_input: Json = BASH, *, use: str = "toolu_1", runtime: Runtime | None = None
) -> JsonValue:
    async with suite.agent("approvals", runtime=runtime) as agent:
        return (await prompt(agent, tool, tool_input, use=use))["behavior"]


def policy(suite: Suite, *lines: str) -> None:
    suite.home.mkdir(exist_ok=True)
    (suite.home / "policy.toml").write_text("\n".join(["version = 1", *lines]), encoding="utf-8")


def the_request(suite: Suite) -> str:
    [request] = suite.requests()
    return request.approval_id


async def test_the_prompt_is_listed_without_an_output_schema_and_answers_in_both_eras(suite: Suite, mode: str) -> None:
    async with suite.agent("approvals", mode=mode) as agent:
        [listed] = [tool for tool in (await agent.client.list_tools()).tools if tool.name == "permission_prompt"]
        assert listed.output_schema is None
        assert set(cast("Json", listed.input_schema["properties"])) == {"tool_name", "input", "tool_use_id"}
        assert (await prompt(agent))["behavior"] == "deny"


async def test_a_policy_first_seen_by_a_foreign_call_stands_in_the_audit_log(suite: Suite) -> None:
    policy(suite, 'never = ["foreign.Bash"]')
    for _ in range(2):
        assert await behavior(suite) == "deny"
    with suite.runtime.database.transaction() as tx:
        assert [event.event for event in Audit(tx).events()] == ["policy.changed"]


async def test_an_unknown_call_is_denied_and_waits_for_a_person(suite: Suite) -> None:
    async with suite.agent("approvals") as agent:
        said = await prompt(agent)
    [request] = suite.requests()
    assert request.approval_id in str(said["message"])
    assert "pending" in str(said["message"])
    assert (request.kind, request.tool, request.content) == ("foreign", "Bash", {"input": BASH})


async def test_the_same_call_is_one_request_whoever_repeats_it(suite: Suite) -> None:
    for use in ("toolu_1", "toolu_1", "toolu_2"):
        await behavior(suite, use=use)
    assert len(suite.requests()) == 1


@pytest.mark.any_database
async def test_a_yes_lets_one_call_pass_however_often_that_call_asks(suite: Suite) -> None:
    await behavior(suite)
    suite.approve(the_request(suite))
    answers = [await behavior(suite, use=use) for use in ("toolu_2", "toolu_2", "toolu_3")]
    assert answers == ["allow", "allow", "deny"]
    assert len(suite.requests()) == 1


async def test_a_yes_is_for_nobody_else_and_for_no_other_input_or_tool(suite: Suite) -> None:
    await behavior(suite)
    suite.approve(the_request(suite))
    other = suite.another_process(principal="agent:other")
    tenant = suite.another_process(tenant="other")
    assert await behavior(suite, runtime=other) == "deny"
    assert await behavior(suite, runtime=tenant) == "deny"
    assert await behavior(suite, tool_input={**BASH, "command": "make release "}) == "deny"
    assert await behavior(suite, tool_input={**BASH, "timeout": 1}) == "deny"
    assert await behavior(suite, "mcp__shell__Bash") == "deny"
    assert await behavior(suite) == "allow"


async def test_the_id_of_a_call_that_passed_lets_no_other_call_pass(suite: Suite) -> None:
    await behavior(suite)
    suite.approve(the_request(suite))
    assert await behavior(suite) == "allow"
    assert await behavior(suite, tool_input={"command": "rm -rf build"}) == "deny"
    other = suite.another_process(principal="agent:other")
    assert await behavior(suite, runtime=other) == "deny"


async def test_a_no_reaches_the_agent_with_its_reason_and_stands_for_every_repetition(suite: Suite) -> None:
    await behavior(suite)
    suite.deny(the_request(suite), reason="not on a Friday")
    async with suite.agent("approvals") as agent:
        for use in ("toolu_1", "toolu_2"):
            assert "not on a Friday" in str((await prompt(agent, use=use))["message"])
    assert suite.requests() == []


async def test_a_no_stands_as_long_as_a_yes_would(suite: Suite) -> None:
    await behavior(suite)
    suite.deny(the_request(suite))
    suite.clock.advance(suite.runtime.settings.use_within_s + 1)
    assert await behavior(suite) == "deny"
    assert len(suite.requests()) == 1


@pytest.mark.parametrize("decided", ["approved", "not at all"])
async def test_what_nobody_decided_or_used_in_time_lets_nothing_pass(suite: Suite, decided: str) -> None:
    await behavior(suite)
    before = the_request(suite)
    if decided == "approved":
        suite.approve(before)
    suite.clock.advance(73 * HOUR_S)
    assert await behavior(suite) == "deny"
    assert the_request(suite) != before


async def test_a_call_that_passed_is_not_let_through_again_when_its_yes_is_over(suite: Suite) -> None:
    await behavior(suite)
    suite.approve(the_request(suite))
    assert await behavior(suite) == "allow"
    suite.clock.advance(73 * HOUR_S)
    assert await behavior(suite) == "deny"


async def test_tools_of_ours_pass_at_once_because_their_guard_asks(suite: Suite) -> None:
    assert await behavior(suite, OURS, {"draft_id": "dft_1", "visibility": "public"}) == "allow"
    assert await behavior(suite, "mcp__gatebook__send_reply", {}) == "allow"
    assert suite.requests("all") == []


@pytest.mark.parametrize(
    "tool",
    [
        "mcp__elsewhere__send_reply",
        "mcp__tickets__send_everything",
        "mcp__memory__send_reply",
        "send_reply",
        "tickets__send_reply",
        "mcp__tickets",
        "mcp____send_reply",
        "mcp__tickets__send_reply__x",
        "MCP__tickets__send_reply",
    ],
)
async def test_a_tool_that_only_looks_like_ours_does_not_pass(suite: Suite, tool: str) -> None:
    assert await behavior(suite, tool, {}) == "deny"


async def test_policy_lets_pass_what_it_names_and_never_what_it_forbids(suite: Suite) -> None:
    policy(suite, 'always_allow = ["foreign.Read"]', 'never = ["foreign.mcp__forge__delete_*"]')
    assert await behavior(suite, "Read", {"file_path": "notes.txt"}) == "allow"
    assert await behavior(suite, "mcp__forge__delete_project", {}) == "deny"
    assert suite.requests("all") == []
    assert await behavior(suite, "Write", {"file_path": "notes.txt"}) == "deny"
    assert len(suite.requests()) == 1


async def test_a_rule_of_policy_looks_at_every_text_of_the_input(suite: Suite) -> None:
    policy(
        suite,
        'always_allow = ["foreign.*"]',
        "[[rule]]",
        'id = "no-force"',
        'tools = ["foreign.*"]',
        'when.keywords.any = ["force push"]',
        'then.outcome = "deny"',
    )
    assert await behavior(suite) == "allow"
    assert await behavior(suite, tool_input={"edits": [{"new": "now\nforce push it"}]}) == "deny"


async def test_a_rule_for_quiet_calls_lets_no_foreign_tool_pass(suite: Suite) -> None:
    policy(suite, "[[rule]]", 'id = "quiet"', 'tools = ["*"]', "when.notifies = false", 'then.outcome = "allow"')
    assert await behavior(suite) == "deny"


async def test_a_policy_that_became_stricter_takes_a_yes_back(suite: Suite) -> None:
    await behavior(suite)
    suite.approve(the_request(suite))
    policy(suite, 'never = ["foreign.Bash"]')
    assert await behavior(suite) == "deny"


async def test_a_policy_that_wants_more_persons_now_asks_anew(suite: Suite) -> None:
    await behavior(suite)
    suite.approve(the_request(suite))
    two = ["[[rule]]", 'id = "two"', 'tools = ["foreign.Bash"]', 'then.outcome = "review"', "then.quorum = 2"]
    policy(suite, *two)
    assert await behavior(suite) == "deny"
    request = the_request(suite)
    assert suite.approve(request).state == "pending"
    assert await behavior(suite) == "deny"
    suite.approve(request, reviewer=Reviewer(person="person:grace"))
    assert await behavior(suite) == "allow"


async def test_a_flood_of_calls_puts_a_bounded_number_before_people(suite: Suite) -> None:
    async with suite.agent("approvals") as agent:
        for number in range(MOST_PENDING + 5):
            await prompt(agent, tool_input={"command": f"make {number}"})
        assert "ceiling_reached" in str((await prompt(agent, tool_input={"command": "make more"}))["message"])
    assert len(suite.requests()) == MOST_PENDING


async def test_nothing_passes_while_all_is_paused_or_in_a_dry_run(suite: Suite) -> None:
    policy(suite, 'always_allow = ["foreign.Read"]')
    await behavior(suite)
    suite.approve(the_request(suite))
    dry = suite.another_process(mode="dry-run")
    with suite.runtime.database.transaction() as tx:
        Switches(tx).set(PAUSE, reason="", person="person:ada")
    for tool, tool_input in (("Read", {}), ("Bash", BASH)):
        assert await behavior(suite, tool, tool_input) == "deny"
    with suite.runtime.database.transaction() as tx:
        Switches(tx).clear(PAUSE)
    for tool, tool_input in (("Read", {}), ("Bash", BASH)):
        assert await behavior(suite, tool, tool_input, runtime=dry) == "deny"
    assert await behavior(suite) == "allow"


async def waited(suite: Suite, happens: Callable[[], object]) -> JsonValue:
    """Ask with a prompt that waits; what happens once it waits; what it answers then."""
    asking = anyio.Event()

    async def told(progress: float, total: float | None, message: str | None) -> None:
        del progress, total, message
        asking.set()

    async def ask() -> JsonValue:
        async with suite.agent("approvals", runtime=suite.another_process(claude_prompt_wait_s=60)) as agent:
            arguments = {"tool_name": "Bash", "input": BASH, "tool_use_id": "toolu_1"}
            result = await agent.client.call_tool("permission_prompt", arguments, progress_callback=told)
            return cast("Json", json.loads(text_of(result)))["behavior"]

    with anyio.fail_after(10):
        async with under_way(ask) as answered:
            await asking.wait()
            happens()
    return answered[0]


async def test_the_prompt_waits_and_answers_as_soon_as_a_person_said_yes(suite: Suite) -> None:
    assert await waited(suite, lambda: suite.approve(the_request(suite))) == "allow"


async def test_the_prompt_waits_and_answers_as_soon_as_a_person_said_no(suite: Suite) -> None:
    assert await waited(suite, lambda: suite.deny(the_request(suite))) == "deny"


async def test_a_wait_that_nobody_ends_is_a_denial_and_a_late_yes_counts_for_the_next_call(suite: Suite) -> None:
    waiting = suite.another_process(claude_prompt_wait_s=0.05)
    assert await behavior(suite, runtime=waiting) == "deny"
    suite.approve(the_request(suite))
    assert await behavior(suite, use="toolu_2", runtime=waiting) == "allow"


async def test_a_request_that_expires_while_it_is_waited_for_is_a_denial(suite: Suite) -> None:
    assert await waited(suite, lambda: suite.clock.advance(73 * HOUR_S)) == "deny"
    assert suite.requests() == []


async def test_a_yes_to_a_foreign_call_is_no_grant_for_an_effect_of_ours(suite: Suite) -> None:
    suite.tickets([ticket()])
    async with suite.agent() as agent:
        draft = await agent.ok("draft_reply", ref="local:AB-1", body=REPLY)
        send: Json = {"draft_id": draft["draft_id"], "visibility": "public"}
        for tool in ("send_reply", "tickets.send_reply", "mcp__other__send_reply"):
            await prompt(agent, tool, send)
        for request in suite.requests():
            suite.approve(request.approval_id)
        assert (await prompt(agent, OURS, send))["behavior"] == "allow"
        assert (await agent.call("send_reply", send)).code == "approval_required"
        assert await suite.execute() is None
    assert suite.comments("AB-1") == []


async def test_a_grant_for_an_effect_of_ours_lets_no_foreign_call_pass(suite: Suite) -> None:
    suite.tickets([ticket()])
    async with suite.agent() as agent:
        draft = await agent.ok("draft_reply", ref="local:AB-1", body=REPLY)
        send: Json = {"draft_id": draft["draft_id"], "visibility": "public"}
        await agent.call("send_reply", send)
        suite.approve(the_request(suite))
        assert (await prompt(agent, "send_reply", send))["behavior"] == "deny"
        assert (await prompt(agent, "mcp__other__send_reply", send))["behavior"] == "deny"


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"tool_name": "Bash"},
        {"tool_name": "Bash", "input": {}, "tool_use_id": ""},
        {"tool_name": "", "input": {}, "tool_use_id": "toolu_1"},
        {"tool_name": "Bash\nRead", "input": {}, "tool_use_id": "toolu_1"},
        {"tool_name": "Bash", "input": "rm", "tool_use_id": "toolu_1"},
        {"tool_name": "Bash", "input": [], "tool_use_id": "toolu_1"},
        {"tool_name": "Bash", "input": {}, "tool_use_id": "toolu_1", "behavior": "allow"},
        {"tool_name": "Bash", "input": {}, "tool_use_id": "toolu_1", "run_id": "run_x"},
    ],
)
async def test_what_does_not_fit_is_denied_in_the_same_form(suite: Suite, arguments: Json) -> None:
    policy(suite, 'always_allow = ["foreign.*"]')
    async with suite.agent("approvals") as agent:
        fitting = await prompt(agent)
        assert fitting["behavior"] == "allow"
        assert (await answer(agent, arguments))["behavior"] == "deny"


@pytest.mark.parametrize("tool_input", [{"n": 2**60}, {"text": "x" * 300_000}, {"text": "\ud800"}])
async def test_what_cannot_be_bound_exactly_is_not_put_before_a_person(suite: Suite, tool_input: Json) -> None:
    assert await behavior(suite, tool_input=tool_input) == "deny"
    assert suite.requests("all") == []


async def test_a_broken_policy_is_a_denial(suite: Suite) -> None:
    policy(suite, "nonsense")
    assert await behavior(suite) == "deny"


async def test_a_defect_is_a_denial_that_tells_nothing_of_it(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_self: Runtime) -> None:
        raise RuntimeError("a secret in a traceback")

    monkeypatch.setattr(Runtime, "policy", broken)
    async with suite.agent("approvals") as agent:
        said = await prompt(agent)
    assert said["behavior"] == "deny"
    assert "secret" not in str(said["message"])


async def test_a_prompt_beyond_the_calls_of_the_day_is_a_denial(suite: Suite) -> None:
    policy(suite, 'always_allow = ["foreign.Read"]')
    few = suite.another_process(max_calls_per_day=1)
    assert await behavior(suite, "Read", {}, runtime=few) == "allow"
    assert await behavior(suite, "Read", {}, runtime=few) == "deny"


async def test_a_run_that_the_operator_set_records_no_answer_of_the_prompt(suite: Suite) -> None:
    async with suite.agent() as agent:
        run = str((await agent.ok("start_run", key="night"))["run_id"])
    fixed = suite.another_process(run_id=run)
    assert await behavior(suite, runtime=fixed) == "deny"
    assert suite.count("recordings") == 1


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)
TOOL_NAMES = st.text(max_size=20) | st.sampled_from(["Bash", "Write", "mcp__forge__open_issue", "mcp__tickets__x"])


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(
    arguments=st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "tool_name": TOOL_NAMES | JSON_VALUES,
                "input": st.dictionaries(st.text(max_size=10), JSON_VALUES, max_size=3) | JSON_VALUES,
                "tool_use_id": st.text(max_size=10) | JSON_VALUES,
                "behavior": st.just("allow"),
            },
        ),
        max_size=5,
    )
)
def test_no_input_is_allowed_that_neither_a_person_nor_policy_allowed(arguments: list[Json]) -> None:
    async def fuzz(suite: Suite) -> None:
        async with suite.agent("approvals") as agent:
            for one in arguments:
                try:
                    json.dumps(one, allow_nan=False).encode()
                except ValueError:
                    continue
                assert (await answer(agent, one))["behavior"] == "deny"

    with tempfile.TemporaryDirectory() as place:
        made = Suite(Path(place), overrides={"claude_prompt_wait_s": 0})
        try:
            anyio.run(fuzz, made)
        finally:
            made.close()


INPUTS: tuple[Json, ...] = (BASH, {"command": "make test"})
USES = ("toolu_1", "toolu_2", "toolu_3")
AGENTS = ("agent:local", "agent:other")
Key = tuple[str, int]


class ForeignCalls(RuleBasedStateMachine):
    """Agents ask, people decide, time passes. A yes is used at most once, by one call, of one agent, with one input."""

    def __init__(self) -> None:
        super().__init__()
        self.place = tempfile.TemporaryDirectory()
        self.suite = Suite(Path(self.place.name), overrides={"claude_prompt_wait_s": 0})
        self.processes = {name: self.suite.another_process(principal=name) for name in AGENTS}
        self.yes: dict[Key, float] = {}
        self.passed: dict[tuple[Key, str], float] = {}
        self.given = self.allowed = 0

    def teardown(self) -> None:
        self.suite.close()
        self.place.cleanup()

    @rule(agent=st.sampled_from(AGENTS), number=st.integers(0, 1), use=st.sampled_from(USES))
    def ask(self, agent: str, number: int, use: str) -> None:
        key, now = (agent, number), self.suite.clock.now()
        said = anyio.run(self._ask, agent, number, use)
        if now >= self.passed.get((key, use), now) and now < (until := self.yes.pop(key, now)):
            self.passed[key, use] = until
            self.allowed += 1
        assert said == ("allow" if now < self.passed.get((key, use), now) else "deny")

    async def _ask(self, agent: str, number: int, use: str) -> JsonValue:
        return await behavior(self.suite, tool_input=INPUTS[number], use=use, runtime=self.processes[agent])

    @precondition(lambda self: self.suite.requests())
    @rule(pick=st.integers(0, 10), approve=st.booleans())
    def decide(self, pick: int, approve: bool) -> None:  # noqa: FBT001 - hypothesis passes by name
        requests = self.suite.requests()
        request = requests[pick % len(requests)]
        key = (request.principal, INPUTS.index(cast("Json", request.content["input"])))
        if approve:
            decided = self.suite.approve(request.approval_id)
            assert decided.use_by is not None
            self.yes[key] = decided.use_by
            self.given += 1
        else:
            self.suite.deny(request.approval_id)

    @rule(hours=st.sampled_from([1, 40, 80]))
    def wait(self, hours: int) -> None:
        self.suite.clock.advance(hours * HOUR_S)

    @invariant()
    def no_yes_is_used_twice(self) -> None:
        assert self.allowed <= self.given
        assert self.allowed == sum(request.state == "used" for request in self.suite.requests("all"))


def test_a_yes_is_used_at_most_once_in_whatever_order_things_happen() -> None:
    run_state_machine_as_test(
        ForeignCalls,
        settings=settings(
            max_examples=10,
            database=None,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
