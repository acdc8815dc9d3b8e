"""The conditions of a rule, and that what cannot be told makes nothing milder."""

import timeit
from collections.abc import Callable
from datetime import UTC, datetime
from typing import get_args

import pytest
from pydantic import JsonValue

from gatebook.approvals.cases import Counted
from gatebook.approvals.policy import Case, Outcome, Policy
from gatebook.approvals.rules import Category
from gatebook.errors import ConfigurationError
from gatebook.intents import Facts, Passage
from gatebook.reach import Reach
from gatebook_servers.classifier import models

NAME = "a.send"


def policy(when: str, outcome: str = "deny") -> Policy:
    """A policy of one rule, which applies under one condition."""
    return Policy(
        f'version = 1\nalways_allow = ["a.*"]\n[[rule]]\nid = "it"\ntools = ["a.*"]\n{when}\nthen.outcome = "{outcome}"'
    )


def applies(when: str, facts: Facts | None = None, **more: object) -> bool:
    return "it" in policy(when).judge(Case(NAME, Reach.SEND, facts or Facts(), **more)).rules  # pyright: ignore[reportArgumentType]


def counted(earlier: int) -> Callable[[tuple[str, ...], float, Counted], int]:
    return lambda _tools, _within, _by: earlier


def timed(facts: Facts) -> float:
    """How long it takes, at best of three."""
    judged = policy('when.amount.over = { USD = "100.00" }')
    case = Case(NAME, Reach.SEND, facts)
    return min(timeit.repeat(lambda: judged.judge(case), number=1, repeat=3))


def said(*texts: str, where: str = "body") -> Facts:
    return Facts(passages=tuple(Passage(where=where, text=text) for text in texts))


@pytest.mark.parametrize(
    ("text", "above"),
    [
        ("we owe you $100.01", True),
        ("we owe you $100.00", False),
        ("we owe you 100.00 dollars", False),
        ("USD 1,250.50", True),
        ("1.250,50 USD", True),
        ("1 250 usd", True),
        ("$5k", True),
        ("US$ 99.99", False),
        ("\uff04\uff11\uff12\uff10", True),
        ("$1\u200b5\u200b0", True),
        ("1 5 0 dollars", True),
        ("&#36;150", True),
        ("\u0661\u0665\u0660 USD", True),
        ("\u20ac1", True),  # no limit in euros: it cannot be told
        ("1 francs", True),
        ("1 $500", True),
        ("500 $1", True),
        ("1 2 3 4 5 6 7 8 9 " * 9 + "$", True),
        pytest.param("$" + "9" * 1_100_000, True, id="a million digits"),
        ("$" + "0" * 60 + "7.50", False),
        ("$99.99 and then $0.01", False),
        ("order 150 of 2026", False),
        ("nothing about money", False),
        ("", False),
    ],
)
def test_an_amount_in_a_text_is_found_however_it_is_written(text: str, above: bool) -> None:  # noqa: FBT001 - a table
    assert applies('when.amount.over = { USD = "100.00" }', said(text)) is above


def test_a_long_text_of_digits_is_looked_through_in_linear_time() -> None:
    short, long = (timed(said("1 2 3 4 5 6 7 " * times)) for times in (2_000, 16_000))
    assert long < 40 * short


@pytest.mark.parametrize(
    ("content", "above"),
    [
        ({"amount": "100.01", "currency": "USD"}, True),
        ({"amount": "100.00", "currency": "usd"}, False),
        ({"amount": 0.1, "currency": "USD"}, False),
        ({"amount": "50", "currency": "XTS"}, True),
        ({"amount": "50"}, True),
        ({"amount": "lots", "currency": "USD"}, True),
        ({"amount": "NaN", "currency": "USD"}, True),
        ({"currency": "USD"}, True),
    ],
)
def test_an_amount_that_is_an_argument_is_compared_exactly_and_an_unknown_one_matches(
    content: dict[str, JsonValue],
    above: bool,  # noqa: FBT001 - a table
) -> None:
    when = 'when.amount = { path = "args.amount", currency = "args.currency", over = { USD = "100.00" } }'
    assert applies(when, content=content) is above


def test_keywords_are_looked_for_where_the_rule_says() -> None:
    inside = 'when.keywords = { any = ["press"], in = ["subject", "comment", "args.note"] }'
    assert applies(inside, said("the press", where="comment 17"))
    assert not applies(inside, said("the press", where="body"))
    assert applies(inside, content={"note": {"deep": ["the press"]}})
    assert not applies(inside, content={"notes": "the press"})
    assert applies('when.keywords = { any = ["press"], in = ["args.*"] }', content={"notes": "the press"})
    assert applies('when.keywords.any = ["press"]', content={"notes": "the press"})


@pytest.mark.parametrize(
    "text",
    [
        "The pr\u200bess.",
        "The pr\u0435ss.",
        "The P R E S S.",
        "The p-r-e-s-s!",
        "The \u0440r\u0435\u0455s.",
        "The \uff50\uff52\uff45\uff53\uff53.",
        "The pre&#115;s.",
        "The pr<b>e</b>ss.",
        "The press.",
        "The pr\u00e9ss.",
        "The preeess.",
        "The pr\u202ees\u202cs.",
    ],
)
def test_a_disguised_keyword_is_found(text: str) -> None:
    assert applies('when.keywords.any = ["press"]', said(text))


def test_letters_inside_longer_words_are_found_when_the_rule_says_so() -> None:
    assert not applies('when.keywords.any = ["refundier"]', said("unrefundierbar"))
    inside = 'when.keywords = { any = ["refundier"], match = "inside" }'
    assert applies(inside, said("unr\u0435fundi\u200berbar"))
    assert not applies(inside, said("unreformierbar"))


def test_a_category_that_is_unknown_makes_nothing_milder() -> None:
    assert applies('when.category = ["Spam"]', Facts(category="Spam"))
    assert not applies('when.category = ["Spam"]', Facts(category="Bug"))
    assert applies('when.category = ["Spam"]', Facts(category=""))
    assert set(get_args(Category)) == set(get_args(models.Category))


@pytest.mark.parametrize(
    ("recipients", "strict", "mild"),
    [
        (("a@x.example",), True, True),
        (("a@X.Example.",), True, True),
        (("a@x.example", "b@x.example"), True, True),
        (("a@x.example", "b@other.example"), True, False),
        (("b@other.example",), False, False),
        (("a@sub.x.example",), False, False),
        (("a@x.example@other.example",), False, False),
        (("no address",), True, False),
        ((), False, False),
    ],
)
def test_a_domain_is_that_of_every_recipient(recipients: tuple[str, ...], strict: bool, mild: bool) -> None:  # noqa: FBT001 - a table
    when = 'when.recipient.domain = ["x.example"]'
    assert applies(when, Facts(recipients=recipients)) is strict
    allowing = Policy(f'version = 1\n[[rule]]\nid = "it"\ntools = ["*"]\n{when}\nthen.outcome = "allow"')
    verdict = allowing.judge(Case(NAME, Reach.SEND, Facts(recipients=recipients)))
    assert (verdict.outcome is Outcome.ALLOW) is mild


@pytest.mark.parametrize(("known", "strict", "mild"), [(True, True, True), (False, False, False), (None, True, False)])
def test_a_first_contact_that_is_unknown_makes_nothing_milder(known: bool | None, strict: bool, mild: bool) -> None:  # noqa: FBT001 - a table
    facts = Facts(recipients=("a@x.example",), first_contact=known)
    assert applies("when.recipient.first_contact = true", facts) is strict
    allowing = policy("when.recipient.first_contact = true", "allow")
    source = allowing.source.replace('always_allow = ["a.*"]', "")
    assert (Policy(source).judge(Case(NAME, Reach.SEND, facts)).outcome is Outcome.ALLOW) is mild


WORK = 'when.time = { outside = "09:00-17:00", weekdays = ["mon", "tue", "wed", "thu", "fri"] }'
NIGHT = 'when.time = { within = "22:00-06:00", weekdays = ["fri"] }'


@pytest.mark.parametrize(
    ("when", "at", "expected"),
    [
        (WORK, "2026-11-24T09:00", False),
        (WORK, "2026-11-24T16:59", False),
        (WORK, "2026-11-24T17:00", True),
        (WORK, "2026-11-22T10:00", True),
        (NIGHT, "2026-11-27T23:00", True),
        (NIGHT, "2026-11-28T05:59", True),
        (NIGHT, "2026-11-28T06:00", False),
        (NIGHT, "2026-11-27T05:00", False),
        (NIGHT, "2026-11-28T23:00", False),
    ],
)
def test_hours_belong_to_the_day_on_which_they_begin(when: str, at: str, expected: bool) -> None:  # noqa: FBT001 - a table
    assert applies(when, at=datetime.fromisoformat(at).replace(tzinfo=UTC)) is expected


def test_a_time_or_a_count_that_is_unknown_makes_nothing_milder() -> None:
    assert applies(WORK, at=None)
    assert applies('when.rate = { more_than = 5, per = "1h" }', earlier=None)
    assert applies('when.rate = { more_than = 5, per = "1h" }', earlier=counted(5))
    assert not applies('when.rate = { more_than = 5, per = "1h" }', earlier=counted(4))


def test_principals_and_modes_are_compared() -> None:
    assert applies('when.principal = ["agent:night-*"]', principal="agent:night-7")
    assert not applies('when.principal = ["agent:night-*"]', principal="agent:day")
    assert applies('when.mode = "live"')
    assert not applies('when.mode = "dry-run"')


def test_all_conditions_of_a_rule_must_hold() -> None:
    when = 'when = { notifies = true, mode = "live", category = ["Bug"] }'
    assert applies(when, Facts(notifies=True, category="Bug"))
    assert not applies(when, Facts(notifies=False, category="Bug"))
    assert not applies(when, Facts(notifies=True, category="Spam"))


def test_what_cannot_be_told_stops_no_read() -> None:
    judged = policy('when.category = ["Spam"]').judge(Case("a.list", Reach.READ, Facts()))
    assert judged.outcome is Outcome.ALLOW


@pytest.mark.parametrize(
    "when",
    [
        'when.keywords.any = ["x"]',
        'when.amount.over = { USD = "1" }',
        'when.category = ["Spam"]',
        'when.rate = { more_than = 1, per = "1h" }',
    ],
)
def test_no_rule_may_allow_because_of_what_others_write(when: str) -> None:
    with pytest.raises(ConfigurationError, match="no rule allows because of"):
        policy(when, "allow")
