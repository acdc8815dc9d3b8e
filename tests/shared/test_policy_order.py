"""The strictest wins, whatever the order: properties over generated policies and calls."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from gatebook.approvals.policy import Case, Policy, Verdict
from gatebook.approvals.verdicts import RISKS
from gatebook.intents import Facts, Passage
from gatebook.reach import Reach

TOOLS = st.sampled_from(["a.one", "a.two", "b.one"])
GLOBS = st.lists(st.sampled_from(["a.*", "a.one", "b.*", "*", "*.two"]), min_size=1, max_size=2, unique=True)
WORDS = ["press", "contract", "$250", "5 francs", "pre-approved", "skip the approval", "hello"]
STRICT = [
    'when.keywords.any = ["press", "pre-approved"]',
    'when.keywords = { any = ["contract"], in = ["draft", "args.*"], match = "inside" }',
    'when.amount.over = { USD = "100" }',
    'when.category = ["Bug"]',
    'when.rate = { more_than = 3, per = "1h" }',
]
PLAIN = [
    "",
    "when.notifies = true",
    'when.mode = "live"',
    'when.principal = ["agent:x*"]',
    'when.recipient.domain = ["x.example"]',
    "when.recipient.first_contact = true",
    'when.time.outside = "09:00-17:00"',
]
ROLES = st.lists(st.sampled_from(["lead", "legal", "finance"]), max_size=2, unique=True)
DEMANDS = st.fixed_dictionaries(
    {"outcome": st.just("review")},
    optional={
        "risk": st.sampled_from(RISKS),
        "quorum": st.integers(1, 4),
        "roles": ROLES,
        "four_eyes": st.booleans(),
        "decide_within": st.sampled_from(["30m", "12h", "3d"]),
        "use_within": st.sampled_from(["30m", "12h", "3d"]),
        "edit": st.lists(st.sampled_from(["body", "title"]), max_size=2, unique=True),
        "batch": st.booleans(),
    },
)


@st.composite
def rules(draw: st.DrawFn, *, strict: bool = False) -> str:
    """A rule without its id; `strict` ones ask or deny."""
    then: Mapping[str, object] = draw(DEMANDS if strict or draw(st.booleans()) else st.just({"outcome": "allow"}))
    if then["outcome"] == "review" and draw(st.integers(0, 4)) == 0:
        then = {"outcome": "deny"}
    when = draw(st.sampled_from(PLAIN if then["outcome"] == "allow" else [*PLAIN, *STRICT]))
    wanted = ", ".join(f"{key} = {json.dumps(value)}" for key, value in then.items())
    return f"tools = {json.dumps(draw(GLOBS))}\n{when}\nthen = {{ {wanted} }}\n"


def policy(numbered: list[tuple[int, str]], lists: str = "") -> Policy:
    return Policy(f"version = 1\n{lists}\n" + "".join(f'[[rule]]\nid = "r{n}"\n{rule}' for n, rule in numbered))


LISTS = st.sampled_from(
    ["", 'default = "deny"', 'default = "allow"', 'always_allow = ["a.*"]', 'always_review = ["*"]', 'never = ["b.*"]']
)
TEXTS = st.lists(st.sampled_from(WORDS), max_size=3).map(" ".join)


@st.composite
def cases(draw: st.DrawFn, *, outside: bool = False) -> Case:
    earlier = draw(st.none() | st.integers(0, 6))
    at = draw(st.none() | st.integers(0, 23))
    return Case(
        name=draw(TOOLS),
        reach=draw(st.sampled_from([Reach.WRITE, Reach.SEND] if outside else list(Reach))),
        facts=Facts(
            passages=(Passage(where=draw(st.sampled_from(["body", "draft"])), text=draw(TEXTS)),),
            recipients=tuple(draw(st.lists(st.sampled_from(["k@x.example", "k@y.example", ""]), max_size=2))),
            notifies=draw(st.booleans()),
            category=draw(st.sampled_from(["", "Bug", "Spam"])),
            first_contact=draw(st.none() | st.booleans()),
        ),
        content={"body": draw(TEXTS)},
        principal=draw(st.sampled_from(["agent:x1", "agent:y"])),
        mode=draw(st.sampled_from(["live", "dry-run"])),
        at=None if at is None else datetime(2026, 11, 24, at, tzinfo=UTC),
        earlier=None if earlier is None else lambda _tools, _within, _by: earlier,
    )


def is_as_strict(one: Verdict, than: Verdict) -> bool:
    """Whether a verdict is at least as strict in everything that has an order.

    A low risk is an operator's word for what is asked about anyway, so it is no milder than the usual one.
    """
    if one.outcome != than.outcome:
        return one.outcome > than.outcome
    times = [(one.decide_within_s, than.decide_within_s), (one.use_within_s, than.use_within_s)]
    return (
        max(RISKS.index(one.risk), 1) >= RISKS.index(than.risk)
        and one.quorum >= than.quorum
        and one.four_eyes >= than.four_eyes
        and one.batch <= than.batch
        and bool(one.roles) >= bool(than.roles)
        and all((mine or float("inf")) <= (theirs or float("inf")) for mine, theirs in times)
    )


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_the_order_of_the_rules_does_not_matter(data: st.DataObject) -> None:
    numbered = list(enumerate(data.draw(st.lists(rules(), max_size=5))))
    shuffled = data.draw(st.permutations(numbered))
    lists, case = data.draw(LISTS), data.draw(cases())
    assert policy(numbered, lists).judge(case) == policy(list(shuffled), lists).judge(case)


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_a_further_rule_that_asks_or_denies_makes_nothing_milder(data: st.DataObject) -> None:
    numbered = list(enumerate(data.draw(st.lists(rules(), max_size=4))))
    lists, case = data.draw(LISTS), data.draw(cases())
    more = [*numbered, (99, data.draw(rules(strict=True)))]
    before, after = policy(numbered, lists).judge(case), policy(more, lists).judge(case)
    assert is_as_strict(after, before)


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_no_text_makes_a_verdict_milder(data: st.DataObject) -> None:
    numbered = list(enumerate(data.draw(st.lists(rules(), max_size=5))))
    judged, case = policy(numbered, data.draw(LISTS)), data.draw(cases())
    said = Passage(where=data.draw(st.sampled_from(["body", "comment 1"])), text=data.draw(TEXTS))
    facts = case.facts.model_copy(update={"passages": (*case.facts.passages, said)})
    louder = Case(case.name, case.reach, facts, case.content, case.principal, case.mode, case.at, case.earlier)
    assert is_as_strict(judged.judge(louder), judged.judge(case))


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_what_is_unknown_makes_no_verdict_milder(data: st.DataObject) -> None:
    numbered = list(enumerate(data.draw(st.lists(rules(), max_size=5))))
    judged, case = policy(numbered, data.draw(LISTS)), data.draw(cases(outside=True))
    facts = case.facts.model_copy(update={"category": "", "first_contact": None})
    unknown = Case(case.name, case.reach, facts, case.content, case.principal, case.mode, None, None)
    assert is_as_strict(judged.judge(unknown), judged.judge(case))


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_rules_on_trial_change_nothing_and_are_told(data: st.DataObject) -> None:
    numbered = list(enumerate(data.draw(st.lists(rules(), max_size=3))))
    lists, case, tried = data.draw(LISTS), data.draw(cases()), data.draw(rules())
    before = policy(numbered, lists).judge(case)
    after = policy([*numbered, (99, f"shadow = true\n{tried}")], lists).judge(case)
    assert after.model_copy(update={"shadow": ()}) == before
    alone = policy([(99, tried)], "").judge(case)
    assert ("r99" in after.shadow) or ("r99" not in alone.rules)
