"""Where a reader of Jira's search is, and the times in its queries: nothing is lost, and nothing comes twice."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatebook.errors import InvalidArgumentsError
from gatebook_servers.tickets.desks.jira.jql import from_moment, holding, until_moment
from gatebook_servers.tickets.desks.jira.positions import CAPACITY, OVERLAP_MS, Key, Position, key_of

BEGIN = 1_790_000_000_000

KEYS = st.lists(
    st.builds(key_of, st.integers(BEGIN, BEGIN + OVERLAP_MS), st.integers(10_000, 10_040)), unique=True, max_size=80
)


def read(known: list[Key], text: str, limit: int) -> tuple[list[Key], str]:
    """One page, as the reader takes it."""
    place = Position.parsed(text, "u")
    handed = sorted(key for key in known if place.is_new(key))[:limit]
    return handed, str(place.after(handed))


def drained(known: list[Key], text: str, limit: int) -> tuple[list[Key], str]:
    """Pages until one is empty."""
    handed: list[Key] = []
    while True:
        page, text = read(known, text, limit)
        assert len(text) <= 200
        if not page:
            return handed, text
        handed += page


@given(KEYS, st.integers(1, 50))
def test_whatever_the_page_everything_comes_in_order_and_once(known: list[Key], limit: int) -> None:
    assert drained(known, "", limit)[0] == sorted(known)


@settings(max_examples=300)
@given(KEYS, st.data())
def test_what_turns_up_late_comes_once(known: list[Key], data: st.DataObject) -> None:
    """As many as are remembered may be handed out meanwhile."""
    known = sorted(known)[:CAPACITY]
    late = data.draw(st.sets(st.sampled_from(known)) if known else st.just(set[Key]()))
    limit = data.draw(st.integers(1, 50))
    early, text = drained([key for key in known if key not in late], "", limit)
    rest, text = drained(known, text, limit)
    assert sorted(early + rest) == known
    assert read(known, text, limit) == ([], text)


@given(KEYS, st.integers(1, 50), st.sets(st.integers(0, 79)))
def test_what_is_late_by_more_than_is_remembered_never_makes_another_come_twice(
    known: list[Key], limit: int, late: set[int]
) -> None:
    hidden = {key for number, key in enumerate(known) if number in late}
    early, text = drained([key for key in known if key not in hidden], "", limit)
    rest, _ = drained(known, text, limit)
    assert len(set(early + rest)) == len(early + rest)
    assert {key for key in known if key not in hidden} <= set(early + rest)


@given(KEYS.filter(bool), st.integers(1, 9))
def test_who_looks_further_in_vain_goes_on_behind(known: list[Key], beyond: int) -> None:
    place = Position("u").after([], passed=max(known))
    assert not any(Position.parsed(str(place), "u").is_new(key) and key > max(known) for key in known)
    assert Position.parsed(str(place), "u").is_new((max(known)[0] + beyond, 0))


@pytest.mark.parametrize("text", ["x", "c1.1-1.1-", "u1.1-1.1-x", "u1.1", f"u1.1-1.1-{'A' * 7 * (CAPACITY + 1)}"])
def test_what_is_no_position_of_this_order_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentsError):
        Position.parsed(text, "u")


ZONES = st.sampled_from(
    [ZoneInfo(name) for name in ("UTC", "Pacific/Auckland", "America/St_Johns", "Europe/Vienna", "Australia/Lord_Howe")]
)
MOMENTS = st.datetimes(datetime(2024, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC)).map(  # noqa: DTZ001 - naive bounds
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
)
TURNS = st.sampled_from(
    [datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC)]  # Vienna, the hour twice
)


def meant(clause: str, zone: ZoneInfo) -> list[datetime]:
    """Both moments that a time in a query may mean."""
    spelled = re.search(r'"(.*)"', clause)
    assert spelled is not None
    local = datetime.strptime(spelled[1], "%Y-%m-%d %H:%M").replace(tzinfo=zone)
    return [local.replace(fold=fold).astimezone(UTC) for fold in (0, 1)]


@given(MOMENTS | TURNS, ZONES)
def test_a_query_asks_for_all_that_is_wanted_whatever_the_clocks_do(moment: datetime, zone: ZoneInfo) -> None:
    begins, ends = meant(from_moment("updated", moment, zone), zone), meant(until_moment("created", moment, zone), zone)
    assert max(begins) <= moment
    assert min(ends) >= moment
    assert moment - min(begins) < timedelta(hours=3)
    assert max(ends) - moment < timedelta(hours=3)


@given(st.text(max_size=40))
def test_of_a_searched_text_only_letters_and_digits_get_into_a_query(text: str) -> None:
    for clause in holding(text.split()):
        words = re.fullmatch(r'\(summary ~ "\\"(.*)\\"" OR description ~ "\\"(.*)\\""\)', clause)
        assert words is not None
        assert words[1] == words[2]
        assert words[1].isalnum()


def test_words_that_the_index_drops_are_not_asked_for() -> None:
    assert holding(["the", "THE", "a", "it's", "export"]) == [
        '(summary ~ "\\"export\\"" OR description ~ "\\"export\\"")'
    ]
