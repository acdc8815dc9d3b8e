"""What the console does with people stands in the audit log, and never what they typed."""

import os
import subprocess
import sys

import pytest

from consoles import PASSWORD, RunningConsole
from gatebook.approvals.audit import Audit
from gatebook.approvals.verifying import verify
from gatebook_servers.console.sessions import IDLE_S, MOST_BY_NAME, WINDOW_S

Told = list[tuple[str, str, str]]


def told(console: RunningConsole) -> Told:
    with console.suite.runtime.database.transaction() as tx:
        return [(event.event, event.subject, event.actor) for event in Audit(tx).events()]


def test_the_log_tells_who_came_went_and_was_let_in(console: RunningConsole) -> None:
    with console.visitor() as visitor:
        visitor.submit(console.first_run, "/first-run", name="ada", password=PASSWORD, again=PASSWORD)
        visitor.submit("/", "/sign-out")
        assert visitor.sign_in("ada").status_code == 303
    console.suite.clock.advance(IDLE_S)
    console.add("lin", "reviewer")
    with console.visitor() as visitor:
        assert visitor.sign_in("lin").status_code == 303
    assert told(console) == [
        ("person.added", "person:ada", "person:ada"),
        ("first_run.used", "person:ada", "person:ada"),
        ("session.begun", "person:ada", "person:ada"),
        ("session.ended", "person:ada", "person:ada"),
        ("session.begun", "person:ada", "person:ada"),
        ("person.added", "person:lin", "gatebook"),
        ("session.ended", "person:ada", "gatebook"),
        ("session.begun", "person:lin", "person:lin"),
    ]


def test_refused_sign_ins_are_told_once_a_window_and_cannot_flood_the_log(console: RunningConsole) -> None:
    console.add("ada", "admin")
    with console.visitor() as visitor:
        for _ in range(MOST_BY_NAME):
            assert visitor.sign_in("ada", "CANARY guessed").status_code == 403
        assert visitor.sign_in("ada").status_code == 429
        assert visitor.sign_in("ada").status_code == 429
        for name in ("canary", "my own password"):
            assert visitor.sign_in(name, "CANARY guessed").status_code == 403
        console.suite.clock.advance(WINDOW_S)
        assert visitor.sign_in("ada", "CANARY guessed").status_code == 403
    assert told(console)[1:] == [
        ("sign_in.refused", "person:ada", "gatebook"),
        ("sign_in.locked", "person:ada", "gatebook"),
        ("sign_in.refused", "nobody", "gatebook"),
        ("sign_in.refused", "person:ada", "gatebook"),
    ]


def test_no_password_token_or_typed_name_is_in_the_log(console: RunningConsole) -> None:
    link = console.first_run
    with console.visitor() as visitor:
        visitor.submit(link, "/first-run", name="ada", password=PASSWORD, again=PASSWORD)
        secrets = {PASSWORD, link.partition("=")[2], *visitor.client.cookies.values()}
        visitor.submit("/", "/sign-out")
        visitor.sign_in("canary typed as a name", "CANARY typed as a password")
    with console.suite.runtime.database.transaction() as tx:
        written = "".join(event.model_dump_json() for event in Audit(tx).events())
        hashes = [str(row["password"]) for row in tx.all("SELECT password FROM people")]
    assert "canary" not in written.lower()
    assert not [secret for secret in (*secrets, *hashes) if secret in written]
    assert verify(console.suite.runtime.database).bad_seq is None


@pytest.mark.slow
def test_what_the_command_does_with_people_names_who_did_it(console: RunningConsole) -> None:
    def people(*arguments: str, stdin: str = "") -> None:
        environment = {**os.environ, "GATEBOOK_HOME": str(console.suite.home), "LOGNAME": "grace"}
        command = [sys.executable, "-m", "gatebook_servers", "console", "people", *arguments]
        subprocess.run(command, env=environment, input=stdin, encoding="utf-8", check=True, timeout=60)

    with console.visitor("ada", "admin"):
        people("add", "lin", stdin=f"{PASSWORD}\n")
        people("password", "ada", stdin="another invented one\n")
        people("disable", "lin")
    assert told(console)[2:] == [
        ("person.added", "person:lin", "person:grace"),
        ("person.password_set", "person:ada", "person:grace"),
        ("person.disabled", "person:lin", "person:grace"),
    ]
    with console.suite.runtime.database.transaction() as tx:
        bodies = [event.body for event in Audit(tx).events(after=2)]
    assert bodies == ['{"roles":["reviewer"]}', '{"sessions_ended":1}', '{"sessions_ended":0}']
