"""Policy: what is allowed, what a person is asked about, what is never done; a broken policy allows nothing."""

import os
from pathlib import Path

import pytest

from gatebook.approvals.policy import Case, Outcome, Policy
from gatebook.approvals.rulebook import Rulebook
from gatebook.errors import ConfigurationError
from gatebook.intents import Facts, Passage
from gatebook.reach import Reach
from suite import Agent, Json, Suite, ticket

pytestmark = pytest.mark.anyio

UPDATE: Json = {"ref": "local:AB-1", "version": "1"}
REVIEWED: list[tuple[str, Json]] = [
    ("update_ticket", {**UPDATE, "status": "solved"}),
    ("update_ticket", {**UPDATE, "assignee": "kim"}),
    ("escalate_ticket", {"ref": "local:AB-1", "reason": "a person must look"}),
    ("create_ticket", {"project": "AB", "title": "Boards lose their names"}),
]


def write(suite: Suite, *lines: str) -> None:
    (suite.home / "policy.toml").write_text("\n".join(["version = 1", *lines]), encoding="utf-8")


async def drafted(agent: Agent, body: str = "Open the board menu.") -> Json:
    draft = await agent.ok("draft_reply", ref="local:AB-1", body=body)
    return {"draft_id": draft["draft_id"], "visibility": "public"}


async def approved(suite: Suite) -> Json:
    suite.tickets([ticket()])
    async with suite.agent("tickets") as agent:
        send = await drafted(agent)
        assert (await agent.call("send_reply", send)).code == "approval_required"
    suite.approve(suite.requests()[0].approval_id)
    return send


async def test_the_shipped_policy_asks_about_what_people_notice(suite: Suite, mode: str) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets", mode=mode) as agent:
        send = await drafted(agent)
        for tool, arguments in [*REVIEWED, ("send_reply", send), ("send_reply", {**send, "visibility": "internal"})]:
            assert (await agent.call(tool, arguments)).code == "approval_required", tool
        quiet = await agent.ok("update_ticket", UPDATE, add_tags=["rename"], priority="High")
        assert quiet["outcome"] == "executed"
    assert suite.comments("AB-1") == []
    assert suite.count("desk_tickets") == 1


@pytest.mark.parametrize("tool", ["tickets.send_reply", "tickets.*", "*"])
async def test_what_is_never_done_is_not_done(suite: Suite, tool: str) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets", "approvals") as agent:
        send = await drafted(agent)
        write(suite, f'never = ["{tool}"]', 'always_allow = ["tickets.send_reply"]')
        blocked = await agent.call("send_reply", send)
        assert (blocked.code, blocked.error["rules"]) == ("policy_blocked", "never")
        asked = await agent.call("request_approval", tool="send_reply", arguments=send)
        assert asked.code == "policy_blocked"
    assert suite.requests("all") == []


async def test_never_also_holds_for_reads_and_stages(suite: Suite) -> None:
    suite.tickets([ticket()])
    write(suite, 'never = ["tickets.search_*", "memory.memory_list", "runs.start_run"]')
    async with suite.agent("tickets", "memory", "runs") as agent:
        assert (await agent.call("search_tickets", text="board")).code == "policy_blocked"
        assert (await agent.call("memory_list")).code == "policy_blocked"
        assert (await agent.call("start_run", key="night")).code == "policy_blocked"
        await agent.ok("list_tickets")
    assert suite.count("runs") == 0


async def test_the_stricter_of_then_and_now_counts_for_what_was_approved(suite: Suite) -> None:
    send = await approved(suite)
    write(suite, 'never = ["tickets.send_reply"]')
    async with suite.agent("tickets") as agent:
        assert (await agent.call("send_reply", send)).code == "policy_blocked"
    await suite.execute()
    assert suite.comments("AB-1") == []
    assert [(one.state, one.state_reason) for one in suite.requests("all")] == [("lapsed", "policy_blocked")]


async def test_a_request_that_waits_is_not_overtaken_by_a_milder_policy(suite: Suite) -> None:
    suite.tickets([ticket()])
    async with suite.agent("tickets") as agent:
        send = await drafted(agent)
        await agent.call("send_reply", send)
        write(suite, 'always_allow = ["tickets.send_reply"]')
        assert (await agent.call("send_reply", send)).code == "approval_required"
        suite.deny(suite.requests()[0].approval_id)
        assert (await agent.call("send_reply", send)).code == "approval_denied"
    assert suite.comments("AB-1") == []


async def test_what_is_always_allowed_happens_at_once(suite: Suite, mode: str) -> None:
    suite.tickets([ticket()])
    write(suite, 'always_allow = ["tickets.send_reply"]')
    async with suite.agent("tickets", mode=mode) as agent:
        send = await drafted(agent)
        assert (await agent.ok("send_reply", send))["outcome"] == "executed"
        assert (await agent.ok("send_reply", send))["outcome"] == "replayed"
    assert len(suite.comments("AB-1")) == 1
    assert suite.requests("all") == []


async def test_a_rule_with_keywords_looks_at_what_the_server_fetched(suite: Suite) -> None:
    suite.tickets([ticket(), ticket("AB-2", body="We are from the press.")])
    write(
        suite,
        'always_allow = ["tickets.update_ticket"]',
        '[[rule]]\nid = "press"\ntools = ["tickets.*"]\nwhen.keywords.any = ["press"]\nthen.outcome = "deny"',
    )
    async with suite.agent("tickets") as agent:
        await agent.ok("update_ticket", UPDATE, add_tags=["seen"])
        blocked = await agent.call("update_ticket", {**UPDATE, "ref": "local:AB-2"}, add_tags=["seen"])
        assert (blocked.code, blocked.error["rules"]) == ("policy_blocked", "press")
        for body in ("Talk to the pr\u0435ss.", "Talk to the P R E S S office."):
            assert (await agent.call("draft_reply", ref="local:AB-1", body=body)).code == "policy_blocked", body
        await agent.ok("draft_reply", ref="local:AB-1", body="Pressing it is enough.")


@pytest.mark.parametrize("source", [b"version = ", b"version = 2", b"\xff\xfe", b'version = 1\nnevr = ["*"]'])
async def test_a_broken_policy_allows_nothing_and_loses_nothing(suite: Suite, source: bytes) -> None:
    send = await approved(suite)
    (suite.home / "policy.toml").write_bytes(source)
    async with suite.agent("tickets") as agent:
        for tool, arguments in [*REVIEWED, ("send_reply", send), ("update_ticket", UPDATE)]:
            refused = await agent.call(tool, arguments)
            assert refused.code == "configuration", tool
            assert "policy" in refused.text
        await agent.ok("list_tickets")
        await agent.ok("draft_reply", ref="local:AB-1", body="Open the board menu.")
    await suite.execute()
    assert suite.comments("AB-1") == []
    assert suite.count("effects") == 0
    (suite.home / "policy.toml").unlink()
    suite.clock.advance(60)
    await suite.execute()
    assert len(suite.comments("AB-1")) == 1


async def test_a_policy_that_cannot_be_read_allows_nothing(suite: Suite) -> None:
    suite.tickets([ticket()])
    (suite.home / "policy.toml").mkdir()
    async with suite.agent("tickets") as agent:
        assert (await agent.call("update_ticket", UPDATE, add_tags=["seen"])).code == "configuration"


async def test_a_changed_policy_counts_from_the_next_call_on(suite: Suite) -> None:
    suite.tickets([ticket()])
    codes: list[str] = []
    async with suite.agent("tickets") as agent:
        for outcome in ("allow", "deny", "review"):
            write(suite, f'default = "{outcome}"')
            arguments: Json = {**UPDATE, "version": "1" if outcome == "allow" else "2", "add_tags": [outcome]}
            codes.append((await agent.call("update_ticket", arguments)).code)
    assert codes == ["", "policy_blocked", "approval_required"]


RULE = '[[rule]]\nid = "a"\ntools = ["*"]\nthen.outcome = "deny"\n'


@pytest.mark.parametrize(
    ("source", "where"),
    [
        ("", "version"),
        ("version = 1\nallways_allow = []", "allways_allow"),
        ('version = 1\ndefault = "maybe"', "default"),
        ('version = 1\nnever = "tickets.send_reply"', "never"),
        (f"version = 1\n{RULE}when.keyword = []", "keyword"),
        (f"version = 1\n{RULE}when.keywords.any = []", "any"),
        (f'version = 1\n{RULE}when.keywords.any = ["--"]', "keyword"),
        (f"version = 1\n{RULE}{RULE}", "same id"),
        ("version = 1\nversion = 1", "TOML"),
        ("version = 1\nrule = [7]", "rule"),
        ("version = 1\nnever = }\n", "TOML.*line 2"),
        ("version = 1\nalways_alow = []", "line 2 at always_alow: no such key; write always_allow"),
        ('version = 1\nnever = ["send_reply"]', "line 2 at never.0: write the tool with its server"),
        (f'version = 1\n{RULE}when.mode = "test"', 'line 6, rule "a" at when.mode: .*live'),
        (f'version = 1\n{RULE}then.risk = "high"', 'rule "a" at then: write outcome = "review"'),
        (f'version = 1\n{RULE}when.rate = {{ more_than = 1, per = "an hour" }}', "write a number and s, m, h or d"),
        (f'version = 1\n{RULE}when.time = {{ within = "9-17" }}', 'write the hours as "09:00-17:30"'),
        (f'version = 1\n{RULE}when.time = {{ weekdays = ["mon"] }}', "write either within or outside"),
        (f"version = 1\n{RULE}when.amount.over = {{ USD = 0.1 }}", "write the amount as a text"),
        (f'version = 1\n{RULE}when.amount.over = {{ dollars = "1" }}', "when.amount.over"),
        (f'version = 1\n{RULE}when.recipient.domain = ["a@b.example"]', "write the domain alone"),
        (f'version = 1\n{RULE}when.keywords = {{ any = ["x"], in = ["ticket.body"] }}', "write one of subject, body"),
        (f'version = 1\n{RULE}when.principal = ["night"]', 'write the principal as "agent:NAME"'),
        (f'version = 1\n{RULE}when.category = ["Bugs"]', "Bug"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused_and_says_where(source: str, where: str) -> None:
    with pytest.raises(ConfigurationError, match=where):
        Policy(source)


def test_the_strictest_outcome_wins_and_names_its_rules() -> None:
    policy = Policy(
        'version = 1\nalways_allow = ["a.*"]\nalways_review = ["a.b*"]\nnever = ["a.bc"]\n'
        '[[rule]]\nid = "loud"\ntools = ["a.*"]\nwhen.notifies = true\nthen.outcome = "review"\n'
    )

    def judged(name: str, *, notifies: bool = False, reach: Reach = Reach.SEND) -> tuple[Outcome, tuple[str, ...]]:
        verdict = policy.judge(Case(name, reach, Facts(notifies=notifies)))
        return verdict.outcome, verdict.rules

    assert judged("a.x") == (Outcome.ALLOW, ("always_allow",))
    assert judged("a.x", notifies=True) == (Outcome.REVIEW, ("loud",))
    assert judged("a.b", notifies=True) == (Outcome.REVIEW, ("always_review", "loud"))
    assert judged("a.bc", notifies=True) == (Outcome.DENY, ("never",))
    assert judged("z.unknown")[0] is Outcome.REVIEW
    assert judged("z.unknown", reach=Reach.WRITE)[0] is Outcome.REVIEW
    assert judged("z.unknown", reach=Reach.STAGE)[0] is Outcome.ALLOW


def test_a_mild_default_never_covers_what_notifies_or_cannot_be_undone() -> None:
    policy = Policy('version = 1\ndefault = "allow"')
    loud, quiet = Facts(notifies=True), Facts(notifies=False)
    assert policy.judge(Case("a.b", Reach.WRITE, quiet)).outcome is Outcome.ALLOW
    assert policy.judge(Case("a.b", Reach.WRITE, loud)).outcome is Outcome.REVIEW
    assert policy.judge(Case("a.b", Reach.SEND, quiet)).outcome is Outcome.REVIEW


def test_a_rule_named_like_a_built_in_category_matches_its_own_words_only() -> None:
    policy = Policy(
        'version = 1\n[[rule]]\nid = "legal"\ntools = ["*"]\nwhen.keywords.any = ["contract"]\nthen.outcome = "deny"'
    )

    def judged(text: str) -> Outcome:
        facts = Facts(passages=(Passage(where="body", text=text),))
        return policy.judge(Case("a.b", Reach.SEND, facts)).outcome

    assert judged("the contract") is Outcome.DENY
    assert judged("my lawyer takes legal action") is Outcome.REVIEW


def test_the_file_is_read_again_only_when_it_changed(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    rulebook = Rulebook(path)
    shipped = rulebook.in_force()
    assert rulebook.in_force() is shipped
    path.write_text("version = 1", encoding="utf-8")
    own = rulebook.in_force()
    assert own.source == "version = 1"
    found = path.stat()
    path.write_text("version = 2", encoding="utf-8")
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert rulebook.in_force() is own
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns + 1))
    with pytest.raises(ConfigurationError, match="version"):
        rulebook.in_force()
    assert rulebook.in_force(Reach.STAGE).source == shipped.source
    path.unlink()
    assert rulebook.in_force().source == shipped.source
