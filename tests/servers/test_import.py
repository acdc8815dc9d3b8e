"""Importing tickets from JSONL and CSV: streaming, honest about every bad row, the same file twice changes nothing."""

import csv
import json
import os
import random
import tracemalloc
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from gatebook.errors import ConfigurationError
from gatebook_servers.cli import main
from gatebook_servers.tickets.importing import ImportReport, import_tickets
from gatebook_servers.tickets.rows import MAX_LINE_CHARS, read_rows
from suite import Json, Suite, ticket

SECRET = "Zanzibar"
COLUMNS = ["id", "subject", "body", "created_at", "requester_name", "requester_email", "tags", "status", "surprise"]


def run(suite: Suite, file: Path, *, strict: bool = False) -> ImportReport:
    return import_tickets(suite.runtime.database, file, zone=suite.runtime.settings.zone, strict=strict)


def stored(suite: Suite) -> dict[str, Mapping[str, object]]:
    with suite.runtime.database.transaction() as tx:
        return {str(row["ticket_id"]): row for row in tx.all("SELECT * FROM desk_tickets ORDER BY created_at")}


def jsonl(path: Path, *rows: Mapping[str, JsonValue] | str) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def message(comment_id: str, body: str = "Any news?", **fields: JsonValue) -> Json:
    return {"id": comment_id, "body": body, "created_at": "2026-11-21T21:00:00Z", **fields}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "inbox.jsonl"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "Inbox.CSV"


def test_jsonl_brings_every_field(suite: Suite, file: Path) -> None:
    body = "Line 1\nLine 2 \u2028 Ünïcode 🙂"
    comments: list[JsonValue] = [
        message("c1", "Hello?"),
        message("c2", "To do", public=False, author={"role": "agent"}),
    ]
    row = ticket(body=body, tags=["a", "b c"], status="pending", channel="web", comments=comments, unknown={"x": 1})
    assert run(suite, jsonl(file, row, "", "   ")) == ImportReport(
        read=1, added=1, changed=0, unchanged=0, naive_times=0, bad=()
    )
    one = stored(suite)["AB-1"]
    assert (one["subject"], one["body"], one["status"], one["channel"]) == (row["subject"], body, "pending", "web")
    assert (one["requester_name"], one["requester_email"]) == ("Robin Reyes", "robin@customer.example")
    assert json.loads(str(one["tags"])) == ["a", "b c"]
    assert one["created_at"] == datetime(2026, 11, 21, 20, tzinfo=UTC).timestamp()
    said = [(one["comment_id"], one["public"], one["author_role"]) for one in suite.comments("AB-1")]
    assert said == [("c1", 1, "customer"), ("c2", 0, "agent")]


@pytest.mark.parametrize("line_end", ["\r\n", "\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_csv_brings_quoted_lines_tags_and_people(suite: Suite, table: Path, mark: str, line_end: str) -> None:
    with table.open("w", encoding="utf-8", newline="") as out:
        out.write(mark)
        writer = csv.writer(out, lineterminator=line_end)
        writer.writerow(COLUMNS)
        body = 'Line 1\nLine "2", with a comma\r\nÜnïcode 🙂'
        at = "2026-11-21T20:00:00+01:00"
        writer.writerow(["AB-1", "Hello, you", body, at, "Robin", "robin@customer.example", "a, b c,,", "open", "x"])
        writer.writerow([])
        writer.writerow(["AB-2", "", "", "2026-11-21T20:00:00Z"])
    report = run(suite, table)
    assert (report.added, report.bad) == (2, ())
    one, other = stored(suite).values()
    assert (one["subject"], one["body"], one["status"]) == ("Hello, you", body, "open")
    assert (one["requester_name"], one["requester_email"]) == ("Robin", "robin@customer.example")
    assert json.loads(str(one["tags"])) == ["a", "b c"]
    assert one["created_at"] == datetime(2026, 11, 21, 19, tzinfo=UTC).timestamp()
    assert (other["status"], other["tags"], other["subject"]) == ("new", "[]", "")


def test_jsonl_may_begin_with_a_byte_order_mark(suite: Suite, file: Path) -> None:
    file.write_text(json.dumps(ticket()), encoding="utf-8-sig")
    assert run(suite, file).added == 1


BAD: dict[str, tuple[str, str]] = {
    "no JSON": (f"{SECRET} {{", "not a JSON object"),
    "cut off": (f'{{"id": "{SECRET}", "body": "', "not a JSON object"),
    "a list": (f'["{SECRET}"]', "not a JSON object"),
    "null": ("null", "not a JSON object"),
    "deep": ("[" * 100_000, "not a JSON object"),
    "a giant number": ('{"id": "AB-9", "created_at": ' + "9" * 5_000 + "}", "not a JSON object"),
    "no id": (json.dumps({"body": SECRET, "created_at": "2026-11-21T20:00:00Z"}), "id: "),
    "an id of another kind": (json.dumps(ticket(f"{SECRET} 1/2")), "id: "),
    "an empty id": (json.dumps(ticket("")), "id: "),
    "a time that is none": (json.dumps(ticket(created_at=SECRET)), "created_at: "),
    "a time before time": (json.dumps(ticket(created_at="0001-01-01T00:00:00+14:00")), "created_at: "),
    "a time behind time": (json.dumps(ticket(created_at="9999-12-31T23:59:59-14:00")), "created_at: "),
    "an unknown status": (json.dumps(ticket(status=SECRET)), "status: "),
    "a body of another kind": (json.dumps(ticket(body=[SECRET])), "body: "),
    "half a character": ('{"id": "AB-9", "created_at": "2026-11-21T20:00:00Z", "body": "\\ud800"}', "body: "),
    "a bad message": (json.dumps(ticket(comments=[{"id": "c1", "body": SECRET}])), "comments.0.created_at: "),
    "a body too long": (json.dumps(ticket(body="x" * 400_001)), "body: "),
    "a line too long": (json.dumps(ticket(body="x" * MAX_LINE_CHARS)), "longer than"),
}


@pytest.mark.parametrize(("line", "problem"), BAD.values(), ids=BAD)
def test_a_bad_row_is_told_with_its_line_and_skipped(suite: Suite, file: Path, line: str, problem: str) -> None:
    report = run(suite, jsonl(file, ticket("AB-1"), line, ticket("AB-2")))
    assert (report.read, report.added, list(stored(suite))) == (3, 2, ["AB-1", "AB-2"])
    (bad,) = report.bad
    assert bad.line == 2
    assert bad.problem.startswith(problem)
    assert SECRET not in bad.problem
    assert len(bad.problem) < 300


def test_strict_imports_nothing_when_a_row_is_bad(suite: Suite, file: Path) -> None:
    report = run(suite, jsonl(file, *(ticket(f"AB-{number}") for number in range(500)), "{"), strict=True)
    assert (report.read, report.added, [bad.line for bad in report.bad]) == (0, 0, [501])
    assert stored(suite) == {}
    assert run(suite, jsonl(file, ticket()), strict=True).added == 1


def test_bytes_that_are_no_utf8_spoil_their_own_row_only(suite: Suite, file: Path) -> None:
    good = json.dumps(ticket("AB-1")).encode()
    latin = json.dumps(ticket("AB-2", body="gr\u00fcn"), ensure_ascii=False).encode("latin-1")
    file.write_bytes(b"\n".join([good, latin, b"\x00\xff\xfe", good.replace(b"AB-1", b"AB-3")]))
    report = run(suite, file)
    assert [bad.line for bad in report.bad] == [2, 3]
    assert list(stored(suite)) == ["AB-1", "AB-3"]


def test_csv_rows_behind_a_broken_one_survive(suite: Suite, table: Path) -> None:
    row = "AB-{},s,b,2026-11-21T20:00:00Z,,,,open\n"
    huge = "AB-4,s,{},2026-11-21T20:00:00Z,,,,open\n".format("x" * (MAX_LINE_CHARS + 10))
    unquoted = f'AB-2,s,"{SECRET}" and,2026-11-21T20:00:00Z,,,,open\n'
    unknown = f"AB-6,s,b,2026-11-21T20:00:00Z,,,,{SECRET}\n"
    lines = [",".join(COLUMNS[:8]) + "\n", row.format(1), unquoted, row.format(3), huge, row.format(5), unknown]
    table.write_text("".join(lines), encoding="utf-8")
    report = run(suite, table)
    assert list(stored(suite)) == ["AB-1", "AB-3", "AB-5"]
    assert [bad.line for bad in report.bad] == [3, 5, 7]
    assert SECRET not in report.model_dump_json()


def test_an_unclosed_quote_never_swallows_rows_in_silence(suite: Suite, table: Path) -> None:
    rows = [f'AB-{number},"subject","body",2026-11-21T20:00:00Z\n' for number in range(6)]
    rows[2] = 'AB-2,"subject","never closed,2026-11-21T20:00:00Z\n'
    table.write_text("id,subject,body,created_at\n" + "".join(rows), encoding="utf-8")
    report = run(suite, table)
    assert report.bad
    assert set(stored(suite)) >= {"AB-0", "AB-1", "AB-4", "AB-5"}
    assert "AB-2" not in stored(suite)


def written(content: bytes) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        path.write_bytes(content)
        return path

    return write


UNUSABLE: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "missing": ("x.jsonl", lambda path: path),
    "a directory": ("x.jsonl", lambda path: path.parent),
    "empty": ("x.jsonl", written(b"")),
    "blank": ("x.jsonl", written(b"\n \n\n")),
    "empty table": ("x.csv", written(b"")),
    "a table of columns only": ("x.csv", written(b"id,created_at\n")),
    "a table with other columns": ("x.csv", written(b"number;date;text\n1;2;" + SECRET.encode())),
    "a table in UTF-16": ("x.csv", written("id,created_at\nAB-1,2026-11-21T20:00:00Z\n".encode("utf-16"))),
    "a table of noise": ("x.csv", written(random.Random(4).randbytes(50_000))),
    "a table that is one line": ("x.csv", written(b"x" * (MAX_LINE_CHARS * 3))),
}


@pytest.mark.parametrize(("name", "make"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_file_that_is_of_no_use_is_refused(
    suite: Suite, tmp_path: Path, name: str, make: Callable[[Path], Path]
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        run(suite, make(tmp_path / name))
    assert SECRET not in str(refused.value)
    assert stored(suite) == {}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=400) | st.text(max_size=200).map(str.encode), ending=st.sampled_from(["jsonl", "csv"])
)
def test_no_bytes_at_all_end_in_a_traceback(tmp_path: Path, content: bytes, ending: str) -> None:
    path = tmp_path / f"noise.{ending}"
    path.write_bytes((b"id,created_at,body\n" if ending == "csv" else b"") + content)
    for row in read_rows(path):
        assert row.model_dump()


def test_the_same_file_twice_changes_nothing(suite: Suite, file: Path) -> None:
    jsonl(file, *(ticket(f"AB-{number}", comments=[message("c1")]) for number in range(450)))
    assert run(suite, file).added == 450
    before = stored(suite)
    suite.clock.advance(60)
    again = run(suite, file)
    assert (again.added, again.changed, again.unchanged) == (0, 0, 450)
    assert stored(suite) == before
    assert suite.count("desk_comments") == 450


def test_a_changed_row_updates_and_leaves_the_desks_own_fields(suite: Suite, file: Path) -> None:
    run(suite, jsonl(file, ticket("AB-1", tags=["a"]), ticket("AB-2")))
    with suite.runtime.database.transaction() as tx:
        tx.execute("UPDATE desk_tickets SET status = 'pending', priority = 'High' WHERE ticket_id = 'AB-1'")
    before = stored(suite)
    suite.clock.advance(60)
    report = run(suite, jsonl(file, ticket("AB-1", tags=["a"], subject="Corrected", body="More of it"), ticket("AB-2")))
    after = stored(suite)
    assert (report.added, report.changed, report.unchanged) == (0, 1, 1)
    assert after["AB-2"] == before["AB-2"]
    changed = {name for name, value in after["AB-1"].items() if value != before["AB-1"][name]}
    assert changed == {"subject", "body", "version", "updated_at", "source_sha256"}
    assert after["AB-1"]["updated_at"] == suite.clock.now()


@pytest.mark.anyio
async def test_messages_that_came_later_are_added_beside_our_own(suite: Suite, file: Path) -> None:
    run(suite, jsonl(file, ticket(comments=[message("g1", "Hello?")])))
    async with suite.agent("tickets") as agent:
        draft = await agent.ok("draft_reply", ref="local:AB-1", body="Hi!")
        refused = await agent.call("send_reply", draft_id=draft["draft_id"], visibility="public")
        suite.approve(str(refused.error["approval_id"]))
        await suite.execute()
    later = message("g2", "Thanks!", created_at="2026-11-22T09:00:00Z")
    report = run(suite, jsonl(file, ticket(comments=[message("g1", "Hello?"), later])))
    assert report.changed == 1
    assert sorted(str(one["body"]) for one in suite.comments("AB-1")) == ["Hello?", "Hi!", "Thanks!"]


def test_a_row_that_comes_twice_in_a_file_is_one_ticket(suite: Suite, file: Path) -> None:
    report = run(suite, jsonl(file, ticket(), ticket(), ticket(subject="Corrected")))
    assert (report.added, report.unchanged, report.changed) == (1, 1, 1)
    assert stored(suite)["AB-1"]["subject"] == "Corrected"


def test_times_without_a_zone_are_read_in_the_configured_one_and_counted(tmp_path: Path, file: Path) -> None:
    suite = Suite(tmp_path / "home", overrides={"tz": "Europe/Berlin"})
    winter, summer = ticket("AB-1", created_at="2026-11-21T20:00:00"), ticket("AB-2", created_at="2026-07-21 20:00")
    report = run(suite, jsonl(file, winter, summer, ticket("AB-3")))
    assert (report.naive_times, report.added) == (2, 3)
    times = {name: datetime.fromtimestamp(cast("float", row["created_at"]), UTC) for name, row in stored(suite).items()}
    assert times["AB-1"] == datetime(2026, 11, 21, 19, tzinfo=UTC)
    assert times["AB-2"] == datetime(2026, 7, 21, 18, tzinfo=UTC)
    assert {name: row["naive_time"] for name, row in stored(suite).items()} == {"AB-1": 1, "AB-2": 1, "AB-3": 0}
    suite.runtime.close()


def test_long_texts_are_imported_whole(suite: Suite, file: Path) -> None:
    body = "grüße 🙂 " * 40_000
    run(suite, jsonl(file, ticket(body=body)))
    assert stored(suite)["AB-1"]["body"] == body


def test_twenty_thousand_rows_are_imported_and_the_second_time_recognised(suite: Suite, file: Path) -> None:
    jsonl(file, *(ticket(f"AB-{number}") for number in range(20_000)))
    assert run(suite, file).added == 20_000
    assert run(suite, file).unchanged == 20_000


def peak_of(work: Callable[[], object]) -> int:
    """The most memory that Python held while working, bytes."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_file(suite: Suite, file: Path, table: Path) -> None:
    jsonl(file, *(ticket(f"AB-{number}", body="x" * 6_000) for number in range(3_000)))
    rows = (f"CD-{number},2026-11-21T20:00:00Z,{'x' * 6_000}\n" for number in range(3_000))
    table.write_text("id,created_at,body\n" + "".join(rows), encoding="utf-8")
    for path in (file, table):
        size = path.stat().st_size
        assert size > 18_000_000
        assert peak_of(lambda path=path: run(suite, path)) < 4_000_000


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_memory_does_not_grow_with_a_line(suite: Suite, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"line.{ending}"
    path.write_bytes(b"id,created_at,body\n" + b'"' + b"x" * 40_000_000)

    def work() -> None:
        assert len(run(suite, path).bad) >= 1

    assert peak_of(work) < 12_000_000


@pytest.mark.slow
def test_the_memory_of_twenty_thousand_rows_is_that_of_a_thousand(suite: Suite, tmp_path: Path) -> None:
    peaks: list[int] = []
    for count in (1_000, 20_000):
        path = jsonl(tmp_path / f"{count}.jsonl", *(ticket(f"A{count}-{number}") for number in range(count)))
        peaks.append(peak_of(lambda path=path: run(suite, path)))
    assert peaks[1] < 1.5 * peaks[0]


def test_the_command_reports_in_words_and_in_json(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GATEBOOK_HOME", str(tmp_path / "home"))
    jsonl(file, ticket("AB-1"), ticket("AB-2", created_at="2026-11-21T20:00:00", body=SECRET), f"{SECRET} {{")
    command = ["tickets", "import", str(file)]
    assert main([*command, "--strict"]) == 1
    strict = capsys.readouterr()
    assert main(command) == 1
    words = capsys.readouterr()
    assert main([*command, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert "0 added" in strict.out
    assert "2 added" in words.out
    assert "1 times without a zone read as UTC" in words.out
    assert "line 3: not a JSON object" in words.err
    assert (report["unchanged"], report["bad"]) == (2, [{"line": 3, "problem": "not a JSON object"}])
    assert SECRET not in f"{strict}{words}{report}"


def test_the_command_refuses_a_missing_file_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GATEBOOK_HOME", str(tmp_path / "home"))
    assert main(["tickets", "import", str(tmp_path / "none.jsonl")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("configuration: ")


def shared_data() -> Path:
    return Path(os.environ.get("GATEBOOK_SHARED_DATA") or Path(__file__).parents[2].parent / "shared" / "data")


@pytest.mark.anyio
@pytest.mark.skipif(
    not (shared_data() / "inbox-real.jsonl").exists(), reason="the real inbox is not part of the project"
)
async def test_a_real_inbox_is_imported_whole_and_its_night_handed_out(suite: Suite) -> None:
    report = run(suite, shared_data() / "inbox-real.jsonl")
    assert (report.added, report.bad) == (340, ())
    window: Json = {"since": "2026-11-21T16:00:00Z", "until": "2026-11-22T06:00:00Z"}
    refs: list[str] = []
    cursor, complete = "", False
    async with suite.agent("tickets") as agent:
        while not complete:
            page = await agent.ok("pull_tickets", window, subscription="night", limit=50, cursor=cursor)
            refs += [str(one["ref"]) for one in cast("list[Json]", page["tickets"])]
            cursor, complete = str(page["next_cursor"] or ""), bool(page["complete"])
    assert len(refs) == len(set(refs)) == 64
    held = {request.target for request in suite.requests() if request.kind == "hold"}
    mails = {ref for ref in refs if ref.startswith("local:CUS-00")}
    assert len(mails) >= 8
    assert mails <= held
