"""What every database must do for the notes: versions, compare-and-set, history, search."""

import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from typing import ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from contracts.databases import Place, another
from gatebook.clock import ManualClock
from gatebook.database.port import Database, Transaction
from gatebook.errors import ConflictError, ForbiddenError, InvalidArgumentsError, NotFoundError, TooLargeError
from gatebook_servers.memory.keys import MAX_VALUE_BYTES, PEOPLE_ONLY
from gatebook_servers.memory.models import Operation
from gatebook_servers.memory.search import search
from gatebook_servers.memory.snippets import SNIPPET_CHARS, snippet
from gatebook_servers.memory.store import Notes

AGENT = "agent:night"
PERSON = "person:mira"
PROCESSES = 4
WRITES = 200

T = TypeVar("T")
Work = Callable[[Transaction], T]


@pytest.fixture
def transaction(database: Database) -> Generator[Transaction]:
    with database.transaction() as transaction:
        yield transaction


@pytest.fixture
def notes(transaction: Transaction) -> Notes:
    return Notes(transaction)


def write(transaction: Transaction, key: str, value: str = "", *, tags: tuple[str, ...] = ()) -> None:
    Notes(transaction).put(key, value, tags=tags, actor=AGENT)


def found(transaction: Transaction, query: str, *, prefix: str = "", limit: int = 20) -> list[str]:
    return [hit.key for hit in search(transaction, query, prefix=prefix, limit=limit)]


# Writing and reading


@given(value=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_comes_back_exactly_as_it_was_put(notes: Notes, value: str) -> None:
    notes.put("a/b", value, tags=(), actor=AGENT)
    assert notes.get("a/b").value == value


@pytest.mark.parametrize("value", ["", "null", '{"a":1}', "true", "0012", " \n", "\ufeffx\r\n", "👩‍👩‍👧 e\u0301"])
def test_text_that_looks_like_something_else_stays_text(notes: Notes, value: str) -> None:
    notes.put("a", value, tags=(), actor=AGENT)
    assert notes.get("a").value == value


def test_every_change_is_the_next_version(notes: Notes) -> None:
    first = notes.put("a", "1", tags=(), actor=AGENT)
    second = notes.put("a", "2", tags=(), actor=AGENT)
    assert [(first.version, first.changed), (second.version, second.changed)] == [(1, True), (2, True)]


def test_the_same_value_and_tags_again_are_the_same_version(notes: Notes) -> None:
    notes.put("a", "1", tags=("x", "y"), actor=AGENT)
    again = notes.put("a", "1", tags=("y", "x", "y"), actor="agent:other")
    assert (again.version, again.changed) == (1, False)
    assert len(notes.history("a", limit=9)) == 1


def test_other_tags_alone_are_a_new_version(notes: Notes) -> None:
    notes.put("a", "1", tags=("x",), actor=AGENT)
    assert notes.put("a", "1", tags=(), actor=AGENT).version == 2
    assert notes.get("a").tags == ()


def test_tags_are_kept_in_nfc_and_in_order(notes: Notes) -> None:
    notes.put("a", "", tags=("zoo", " cafe\u0301 "), actor=AGENT)
    assert notes.get("a").tags == ("café", "zoo")


def test_a_note_that_is_not_there_is_not_found(notes: Notes) -> None:
    with pytest.raises(NotFoundError):
        notes.get("a")
    with pytest.raises(NotFoundError):
        notes.history("a", limit=1)
    with pytest.raises(NotFoundError):
        notes.delete("a", actor=AGENT)


# Compare-and-set


def test_a_write_that_builds_on_an_old_version_is_a_conflict_that_names_the_current_one(notes: Notes) -> None:
    notes.put("a", "1", tags=(), actor=AGENT)
    notes.put("a", "2", tags=(), actor=AGENT)
    with pytest.raises(ConflictError) as refused:
        notes.put("a", "3", tags=(), actor=AGENT, expected_version=1)
    assert refused.value.details == {"current_version": 2}
    assert notes.get("a").value == "2"


def test_expected_version_zero_means_that_the_note_must_not_exist(notes: Notes) -> None:
    assert notes.put("a", "1", tags=(), actor=AGENT, expected_version=0).version == 1
    with pytest.raises(ConflictError):
        notes.put("a", "1", tags=(), actor=AGENT, expected_version=0)
    notes.delete("a", actor=AGENT, expected_version=1)
    assert notes.put("a", "1", tags=(), actor=AGENT, expected_version=0).version == 3


def test_a_write_that_builds_on_a_note_that_is_not_there_is_a_conflict(notes: Notes) -> None:
    with pytest.raises(ConflictError) as refused:
        notes.put("a", "1", tags=(), actor=AGENT, expected_version=1)
    assert refused.value.details == {"current_version": 0}


def test_delete_and_restore_compare_versions_too(notes: Notes) -> None:
    notes.put("a", "1", tags=(), actor=AGENT)
    with pytest.raises(ConflictError):
        notes.delete("a", actor=AGENT, expected_version=2)
    with pytest.raises(ConflictError):
        notes.restore("a", from_version=1, actor=AGENT, expected_version=2)


# History


def test_history_names_operation_actor_run_and_time_newest_first(notes: Notes) -> None:
    notes.put("a", "one", tags=(), actor=AGENT, run_id="run_1")
    notes.put("a", "three", tags=(), actor=PERSON)
    notes.restore("a", from_version=1, actor=AGENT)
    notes.delete("a", actor=AGENT, run_id="run_2")
    changes = notes.history("a", limit=9)
    assert [(change.version, change.operation, change.chars, change.actor, change.run_id) for change in changes] == [
        (4, "delete", 0, AGENT, "run_2"),
        (3, "restore", 3, AGENT, ""),
        (2, "put", 5, PERSON, ""),
        (1, "put", 3, AGENT, "run_1"),
    ]
    assert changes[0].created_at.timestamp() == ManualClock().now()
    assert len(notes.history("a", limit=2)) == 2


def test_an_older_version_can_be_read(notes: Notes) -> None:
    notes.put("a", "one", tags=(), actor=AGENT)
    notes.put("a", "two", tags=(), actor=AGENT)
    assert notes.version("a", 1).value == "one"
    with pytest.raises(NotFoundError):
        notes.version("a", 3)


def test_a_deleted_note_keeps_its_history_and_its_numbers_go_on(notes: Notes) -> None:
    notes.put("a", "one", tags=(), actor=AGENT)
    assert notes.delete("a", actor=AGENT).version == 2
    with pytest.raises(NotFoundError):
        notes.get("a")
    assert notes.version("a", 1).value == "one"
    assert notes.put("a", "one", tags=(), actor=AGENT).version == 3


def test_restoring_writes_the_old_text_as_a_new_version(notes: Notes) -> None:
    notes.put("a", "one", tags=("x",), actor=AGENT)
    notes.put("a", "two", tags=("y",), actor=AGENT)
    assert notes.restore("a", from_version=1, actor=AGENT).version == 3
    assert (notes.get("a").value, notes.get("a").tags) == ("one", ("y",))
    assert notes.restore("a", from_version=1, actor=AGENT).changed is False


def test_restoring_brings_a_deleted_note_back_with_its_tags(notes: Notes) -> None:
    notes.put("a", "one", tags=("x",), actor=AGENT)
    notes.delete("a", actor=AGENT)
    notes.restore("a", from_version=1, actor=AGENT)
    assert (notes.get("a").value, notes.get("a").tags) == ("one", ("x",))


def test_a_deletion_cannot_be_restored(notes: Notes) -> None:
    notes.put("a", "one", tags=(), actor=AGENT)
    notes.delete("a", actor=AGENT)
    with pytest.raises(NotFoundError):
        notes.restore("a", from_version=2, actor=AGENT)


# Keys, values, tags


@pytest.mark.parametrize("key", ["a", "0", "tickets/2026-11-22", "a/B.c_d-E/.x", "a" * 200])
def test_plain_paths_are_keys(notes: Notes, key: str) -> None:
    notes.put(key, "x", tags=(), actor=AGENT)
    assert notes.get(key).key == key


@pytest.mark.parametrize(
    "key",
    ["", "/a", "a/", "a//b", "A/b", "-a", "a b", "a\n", "a\0", "a/../b", "a..b", "a/./b", "é", "a/e\u0301", "a~",
     "a\\b", "memory://a", "a" * 201, "\ud800"],
)  # fmt: skip
def test_anything_else_is_not_a_key(notes: Notes, key: str) -> None:
    with pytest.raises(InvalidArgumentsError):
        notes.put(key, "x", tags=(), actor=AGENT)
    with pytest.raises(InvalidArgumentsError):
        notes.get(key)


def test_a_key_is_a_note_or_a_folder(notes: Notes) -> None:
    notes.put("a/b", "x", tags=(), actor=AGENT)
    for key in ("a", "a/b/c", "a/b/c/d"):
        with pytest.raises(InvalidArgumentsError, match="a note or a folder"):
            notes.put(key, "x", tags=(), actor=AGENT)
    notes.put("a/bc", "x", tags=(), actor=AGENT)
    notes.put("a-b", "x", tags=(), actor=AGENT)


def test_a_deleted_note_stands_in_nobodys_way_and_comes_back_only_where_there_is_room(notes: Notes) -> None:
    notes.put("a", "x", tags=(), actor=AGENT)
    notes.delete("a", actor=AGENT)
    notes.put("a/b", "x", tags=(), actor=AGENT)
    with pytest.raises(InvalidArgumentsError, match="a note or a folder"):
        notes.restore("a", from_version=1, actor=AGENT)


@pytest.mark.parametrize("key", [*(f"{folder}x" for folder in PEOPLE_ONLY), *(folder[:-1] for folder in PEOPLE_ONLY)])
def test_only_people_write_what_steers_agents(notes: Notes, key: str) -> None:
    with pytest.raises(ForbiddenError):
        notes.put(key, "x", tags=(), actor=AGENT)
    notes.put(key, "x", tags=(), actor=PERSON)
    with pytest.raises(ForbiddenError):
        notes.delete(key, actor=AGENT)
    with pytest.raises(ForbiddenError):
        notes.restore(key, from_version=1, actor=AGENT)
    assert notes.get(key).value == "x"


def test_a_key_that_only_resembles_a_peoples_folder_is_free(notes: Notes) -> None:
    assert notes.put("policy-notes/x", "x", tags=(), actor=AGENT).changed


@pytest.mark.parametrize("unit", ["x", "é", "👍"])
def test_a_value_has_at_most_100_kib(notes: Notes, unit: str) -> None:
    most = unit * (MAX_VALUE_BYTES // len(unit.encode()))
    notes.put("a", most, tags=(), actor=AGENT)
    with pytest.raises(TooLargeError):
        notes.put("a", most + unit, tags=(), actor=AGENT)
    assert notes.get("a").value == most


@pytest.mark.parametrize("value", ["a\0b", "\ud83d"])
def test_characters_that_a_database_cannot_hold_are_refused(notes: Notes, value: str) -> None:
    with pytest.raises(InvalidArgumentsError):
        notes.put("a", value, tags=(), actor=AGENT)


@pytest.mark.parametrize("tags", [("",), (" ",), ("x" * 51,), ("a\nb",), ("\ud800",), tuple(map(str, range(21)))])
def test_tags_are_few_and_printable(notes: Notes, tags: tuple[str, ...]) -> None:
    with pytest.raises(InvalidArgumentsError):
        notes.put("a", "", tags=tags, actor=AGENT)


# Listing


def test_a_listing_is_in_order_of_keys_below_the_prefix_and_goes_on_behind_a_key(notes: Notes) -> None:
    for key in ("b", "a/2", "a/10", "a/1", "a-", "ab/1", "a/gone"):
        notes.put(key, "text", tags=("t",), actor=AGENT)
    notes.delete("a/gone", actor=AGENT)
    assert [entry.key for entry in notes.select(limit=9)] == ["a-", "a/1", "a/10", "a/2", "ab/1", "b"]
    assert [entry.key for entry in notes.select(prefix="a/", limit=2)] == ["a/1", "a/10"]
    assert [entry.key for entry in notes.select(prefix="a/", after="a/10", limit=2)] == ["a/2"]
    entry = notes.select(prefix="b", limit=1)[0]
    assert (entry.version, entry.tags, entry.chars) == (1, ("t",), 4)


# Search


def test_search_knows_word_forms_case_and_accents(transaction: Transaction) -> None:
    write(transaction, "a", "The customers were CANCELLING their Café subscriptions")
    for query in ("customer", "cancelled", "cafe", "CAFÉ", "Subscription"):
        assert found(transaction, query) == ["a"]


def test_any_word_may_match_and_more_matches_are_better(transaction: Transaction) -> None:
    write(transaction, "one", "the invoice was late")
    write(transaction, "two", "the invoice lacks a number")
    write(transaction, "none", "nothing of interest")
    assert found(transaction, "where is the number of the invoice?") == ["two", "one"]


def test_a_word_in_the_key_beats_one_in_the_tags_and_that_one_in_the_text(transaction: Transaction) -> None:
    write(transaction, "n/1", "refund policy words here")
    write(transaction, "n/2", "other policy words here", tags=("refund",))
    write(transaction, "n/refund", "other policy words here")
    assert found(transaction, "refund") == ["n/refund", "n/2", "n/1"]


def test_equal_hits_come_in_order_of_their_keys(transaction: Transaction) -> None:
    for key in ("n/b", "n/c", "n/a"):
        write(transaction, key, "same words")
    assert found(transaction, "words") == ["n/a", "n/b", "n/c"]
    assert found(transaction, "words", limit=2) == ["n/a", "n/b"]


def test_search_sees_changes_and_deletions_at_once(transaction: Transaction) -> None:
    write(transaction, "a", "keep old")
    write(transaction, "a", "keep new")
    assert (found(transaction, "keep"), found(transaction, "old"), found(transaction, "new")) == (["a"], [], ["a"])
    Notes(transaction).delete("a", actor=AGENT)
    assert found(transaction, "keep new") == []
    Notes(transaction).restore("a", from_version=1, actor=AGENT)
    assert (found(transaction, "old"), found(transaction, "new")) == (["a"], [])


def test_a_prefix_narrows_the_search(transaction: Transaction) -> None:
    for key in ("a/1", "ab", "b/1"):
        write(transaction, key, "word")
    assert found(transaction, "word", prefix="a/") == ["a/1"]
    assert sorted(found(transaction, "word", prefix="a")) == ["a/1", "ab"]


@pytest.mark.parametrize(
    "query",
    ["", " ", "the of and", '"', '""', "*", "AND", "NOT", "OR", "NEAR", "NEAR(", "(", ")", ":", "^", "-", "+", "💥",
     "\0", "\ud800", "{key value} :", ";--", "%_"],
)  # fmt: skip
def test_a_query_without_words_of_a_note_finds_nothing(transaction: Transaction, query: str) -> None:
    write(transaction, "a", "some text")
    assert found(transaction, query) == []


@pytest.mark.parametrize(
    "query",
    ['"text', 'te"xt text', "text*", "text AND", "NOT text", "text NEAR/2 (", "NEAR(text, 5", "value:text", "-text",
     "^text", "key:text OR", "(text", "text + text", "{value}: text", "text)", "the text"],
)  # fmt: skip
def test_search_syntax_in_a_query_is_only_text(transaction: Transaction, query: str) -> None:
    write(transaction, "a", "some text")
    assert found(transaction, query) == ["a"]


@pytest.mark.parametrize(
    ("text", "query"), [("счёт за ноябрь", "Счёт"), ("τιμολόγιο", "ΤΙΜΟΛΌΓΙΟ"), ("चालान देर", "चालान")]
)
def test_words_of_other_scripts_are_found(transaction: Transaction, text: str, query: str) -> None:
    write(transaction, "a", text)
    assert found(transaction, query) == ["a"]


@given(query=st.text(max_size=60))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_query_breaks_the_search(transaction: Transaction, query: str) -> None:
    write(transaction, "a", "some text")
    assert found(transaction, query) in ([], ["a"])


def test_a_snippet_is_one_short_line_around_the_match(transaction: Transaction) -> None:
    write(transaction, "a", "filler\n" * 500 + "the needle\x07\tis here " + "more " * 500)
    shown = search(transaction, "needle", limit=1)[0].snippet
    assert "the needle is here more" in shown
    assert len(shown) <= SNIPPET_CHARS
    assert shown.isprintable()


def test_a_snippet_of_one_endless_word_is_cut(transaction: Transaction) -> None:
    write(transaction, "needle", "x" * 5_000)
    assert len(search(transaction, "needle", limit=1)[0].snippet) == SNIPPET_CHARS


def test_a_snippet_is_taken_from_where_most_words_stand_together() -> None:
    value = "an invoice " + "filler " * 100 + "the invoices lack their numbers " + "filler " * 100
    assert "invoices lack their numbers" in snippet(value, ["invoice", "number"])


def test_a_snippet_finds_accents_and_capitals_at_their_place() -> None:
    assert "ÉTUDE İ" in snippet("ß" * 400 + " " + "ﬁ" * 400 + " ÉTUDE İ", ["etude"])


def test_a_short_text_is_its_own_snippet() -> None:
    assert snippet("two\nlines", ["lines"]) == "two lines"


@given(
    value=st.text(max_size=900), words=st.lists(st.text(st.characters(categories=["L", "N"]), min_size=1), min_size=1)
)
@settings(deadline=None)
def test_a_snippet_is_always_one_short_printable_line(value: str, words: list[str]) -> None:
    shown = snippet(value, words)
    assert shown.isprintable()
    assert len(shown) <= SNIPPET_CHARS


# A random history against a dictionary

KEYS = ("a", "b/c", "b/d", "e/f/g")
WORDS = ("anchor", "bottle", "candle", "dagger")
Step = tuple[Operation, str, tuple[str, ...]]


class NotesMachine(RuleBasedStateMachine):
    """Puts, restores and deletes at random; the model is each key's list of versions."""

    place: ClassVar[Place]

    def __init__(self) -> None:
        super().__init__()
        self.opened = ExitStack()
        fresh = self.opened.enter_context(another(self.place))
        self.database = self.opened.enter_context(closing(fresh.open(ManualClock())))
        self.versions: dict[str, list[Step]] = {}

    def teardown(self) -> None:
        self.opened.close()

    def live(self, key: str) -> Step | None:
        steps = self.versions.get(key)
        return steps[-1] if steps and steps[-1][0] != "delete" else None

    def run(self, work: Work[T]) -> T:
        with self.database.transaction() as transaction:
            return work(transaction)

    def expect(self, key: str, step: Step, *, version: int, changed: bool) -> None:
        steps = self.versions.setdefault(key, [])
        live = self.live(key)
        same = live is not None and step[0] != "delete" and live[1:] == step[1:]
        if not same:
            steps.append(step)
        assert (version, changed) == (len(steps), not same)

    @rule(key=st.sampled_from(KEYS), words=st.lists(st.sampled_from(WORDS), max_size=2),
          tags=st.lists(st.sampled_from(WORDS), max_size=2), compared=st.booleans())  # fmt: skip
    def put(self, key: str, words: list[str], tags: list[str], *, compared: bool) -> None:
        value = " ".join(words)
        current = len(self.versions[key]) if self.live(key) else 0
        written = self.run(
            lambda tx: Notes(tx).put(key, value, tags=tags, actor=AGENT, expected_version=current if compared else None)
        )
        self.expect(key, ("put", value, tuple(sorted(set(tags)))), version=written.version, changed=written.changed)

    @rule(key=st.sampled_from(KEYS), wrong=st.integers(min_value=0, max_value=9))
    def put_on_another_version(self, key: str, wrong: int) -> None:
        current = len(self.versions[key]) if self.live(key) else 0
        if wrong == current:
            return
        with pytest.raises(ConflictError) as refused:
            self.run(lambda tx: Notes(tx).put(key, "never", tags=(), actor=AGENT, expected_version=wrong))
        assert refused.value.details == {"current_version": current}

    @precondition(lambda self: self.versions)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.versions)))
        steps = self.versions[key]
        version = data.draw(st.integers(min_value=1, max_value=len(steps)))
        operation, value, _ = steps[version - 1]
        if operation == "delete":
            with pytest.raises(NotFoundError):
                self.run(lambda tx: Notes(tx).restore(key, from_version=version, actor=AGENT))
            return
        written = self.run(lambda tx: Notes(tx).restore(key, from_version=version, actor=AGENT))
        self.expect(key, ("restore", value, steps[-1][2]), version=written.version, changed=written.changed)

    @rule(key=st.sampled_from(KEYS))
    def delete(self, key: str) -> None:
        live = self.live(key)
        if live is None:
            with pytest.raises(NotFoundError):
                self.run(lambda tx: Notes(tx).delete(key, actor=AGENT))
            return
        written = self.run(lambda tx: Notes(tx).delete(key, actor=AGENT))
        self.expect(key, ("delete", "", live[2]), version=written.version, changed=written.changed)

    @invariant()
    def notes_and_history_are_as_in_the_model(self) -> None:
        expected = {key: live[1:] for key in self.versions if (live := self.live(key))}
        with self.database.transaction() as transaction:
            notes = Notes(transaction)
            listed = {entry.key: (notes.get(entry.key).value, entry.tags) for entry in notes.select(limit=9)}
            history = {
                key: [change.operation for change in reversed(notes.history(key, limit=99))] for key in self.versions
            }
        assert listed == expected
        assert history == {key: [step[0] for step in steps] for key, steps in self.versions.items()}

    @invariant()
    def search_finds_exactly_the_notes_that_hold_a_word(self) -> None:
        for word in WORDS:
            holding = {key for key in self.versions if (live := self.live(key)) and word in f"{live[1]} {live[2]}"}
            assert set(self.run(lambda tx, word=word: found(tx, word))) == holding


def test_any_history_is_that_of_a_dictionary_of_versions(place: Place) -> None:
    class Here(NotesMachine):
        pass

    Here.place = place
    run_state_machine_as_test(Here, settings=settings(max_examples=20, stateful_step_count=20, deadline=None))


# Several processes

WRITER = """
import sys
from pathlib import Path
from gatebook.errors import ConflictError
from gatebook.runtime import open_runtime
from gatebook.settings import Settings
from gatebook_servers.memory.store import Notes

home, url, name, writes = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
actor = f"agent:{name}"
database = open_runtime(Settings(home=home, database_url=url)).database
for number in range(writes // 2):
    with database.transaction() as transaction:
        Notes(transaction).put(f"own/{name}/{number}", f"{name} {number}", tags=(), actor=actor, expected_version=0)
    while True:
        with database.transaction() as transaction:
            before = Notes(transaction).get("counter")
        try:
            with database.transaction() as transaction:
                Notes(transaction).put("counter", str(int(before.value) + 1), tags=(), actor=actor,
                                       expected_version=before.version)
            break
        except ConflictError:
            pass
"""


def test_four_processes_writing_at_once_lose_nothing(place: Place) -> None:
    with closing(place.open()) as database, database.transaction() as transaction:
        write(transaction, "counter", "0")
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(place.home), place.url, f"w{number}", str(WRITES)])
        for number in range(PROCESSES)
    ]
    try:
        assert [writer.wait(timeout=100) for writer in writers] == [0] * PROCESSES
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    half = WRITES // 2
    with closing(place.open()) as database, database.transaction() as transaction:
        notes = Notes(transaction)
        counter = notes.get("counter")
        own = {entry.key for entry in notes.select(prefix="own/", limit=PROCESSES * half + 1)}
        assert (counter.value, counter.version) == (str(PROCESSES * half), PROCESSES * half + 1)
        assert own == {f"own/w{process}/{number}" for process in range(PROCESSES) for number in range(half)}
        assert len(notes.history("counter", limit=5_000)) == counter.version
        assert search(transaction, f"w3 {half - 1}", limit=1)[0].key == f"own/w3/{half - 1}"
