"""Nobody but a person at one of the console's own pages decides anything."""

import json
import socket
from collections.abc import Mapping
from typing import cast

import httpx
import pytest

from consoles import PASSWORD, RunningConsole, Visitor, links_of
from gatebook.approvals.models import Approval
from gatebook_servers.console.sessions import IDLE_S, LONGEST_S, MOST_BY_NAME, WINDOW_S
from suite import Json, ticket

pytestmark = pytest.mark.anyio


async def asked(console: RunningConsole, ticket_id: str = "AB-1", body: str = "Choose Rename.") -> Approval:
    """Have an agent ask for a reply."""
    suite = console.suite
    suite.tickets([ticket(ticket_id)])
    async with suite.agent("tickets") as agent:
        draft = await agent.ok("draft_reply", ref=f"local:{ticket_id}", body=body)
        send: Json = {"draft_id": draft["draft_id"], "visibility": "public"}
        assert (await agent.call("send_reply", send)).code == "approval_required"
    return suite.requests()[-1]


def decision(visitor: Visitor, request: Approval) -> tuple[str, dict[str, str]]:
    form = visitor.form(f"/requests/{request.approval_id}", "/approve")
    return form.action, form.fields


async def test_a_page_says_yes_to_exactly_what_it_showed(console: RunningConsole) -> None:
    request = await asked(console)
    with console.visitor("ada", "admin") as ada:
        answer = ada.submit(f"/requests/{request.approval_id}", "/approve")
        assert (answer.status_code, answer.headers["location"]) == (303, "/?done=approved")
    [after] = console.suite.requests("all")
    assert after.state in ("approved", "claimed", "used")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "https://elsewhere.example"},
        {"origin": "null"},
        {"origin": "null", "sec-fetch-site": "cross-site"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "OWN", "sec-fetch-site": "cross-site"},
        {"origin": "OWN", "sec-fetch-site": "same-site"},
        {"sec-fetch-site": "same-origin"},
    ],
)
async def test_a_form_from_elsewhere_decides_nothing(console: RunningConsole, headers: Mapping[str, str]) -> None:
    request = await asked(console)
    with console.visitor("ada", "admin") as ada:
        path, fields = decision(ada, request)
        sent = {name: console.url if value == "OWN" else value for name, value in headers.items()}
        assert ada.post(path, fields, headers=sent).status_code == 403
    assert [request.state for request in console.suite.requests("all")] == ["pending"]


@pytest.mark.parametrize(
    "name", ["elsewhere.example", "127.0.0.1.elsewhere.example", "localhost.elsewhere.example:80", ""]
)
async def test_a_foreign_host_name_reaches_no_page(console: RunningConsole, name: str) -> None:
    with console.visitor("ada", "admin") as ada:
        for path in ("/", "/sign-in", "/static/console.css", "/events", "/first-run"):
            assert ada.get(path, host=name).status_code in (400, 421)


async def test_a_form_without_the_visitors_own_token_decides_nothing(console: RunningConsole) -> None:
    request = await asked(console)
    with console.visitor("ada", "admin") as ada, console.visitor("grace", "admin") as grace:
        path, fields = decision(ada, request)
        _, others = decision(grace, request)
        for token in ("", "0" * 64, others["form_token"], "é"):
            assert ada.post(path, {**fields, "form_token": token}).status_code == 403
        del fields["form_token"]
        assert ada.post(path, fields).status_code == 403
    assert [request.state for request in console.suite.requests("all")] == ["pending"]


async def test_a_forged_ended_or_expired_session_decides_nothing(console: RunningConsole) -> None:
    request = await asked(console)
    clock = console.suite.clock
    with console.visitor("ada", "admin") as ada:
        path, fields = decision(ada, request)
        cookie = ada.client.cookies["gatebook"]
        for forged in ("", "x" * 43, cookie[:-1], f"{cookie}x"):
            with httpx.Client(base_url=console.url, cookies={"gatebook": forged}) as client:
                assert Visitor(client).post(path, fields).status_code == 401
        clock.advance(IDLE_S + 1)
        assert ada.post(path, fields).status_code == 401
        assert ada.sign_in().status_code == 303
        path, fields = decision(ada, request)
        ada.submit("/", "/sign-out")
        with httpx.Client(base_url=console.url, cookies={"gatebook": cookie}) as client:
            assert Visitor(client).post(path, fields).status_code == 401
    assert [request.state for request in console.suite.requests("all")] == ["pending"]


async def test_a_session_in_use_ends_after_twelve_hours_all_the_same(console: RunningConsole) -> None:
    with console.visitor("ada", "admin") as ada:
        for _ in range(int(LONGEST_S / (IDLE_S / 2)) - 1):
            console.suite.clock.advance(IDLE_S / 2)
            assert ada.get("/").status_code == 200
        console.suite.clock.advance(IDLE_S / 2 + 1)
        assert ada.get("/").headers["location"].startswith("/sign-in")


async def test_a_page_that_asks_by_itself_keeps_no_session_alive(console: RunningConsole) -> None:
    with console.visitor("ada", "admin") as ada:
        console.suite.clock.advance(IDLE_S - 1)
        with ada.client.stream("GET", "/events?by=itself") as stream:
            assert next(stream.iter_lines()) == "retry: 3000"
        console.suite.clock.advance(2)
        assert ada.get("/").status_code == 303


async def test_signing_in_changes_the_cookie_and_what_is_kept_of_it_is_a_hash(console: RunningConsole) -> None:
    with console.visitor() as visitor:
        visitor.get("/sign-in")
        console.add("ada", "reviewer")
        visitor.get("/sign-in")
        before = visitor.client.cookies["gatebook"]
        answer = visitor.sign_in()
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        after = visitor.client.cookies["gatebook"]
        assert after != before
    with console.suite.runtime.database.transaction() as tx:
        kept = json.dumps([dict(row) for row in tx.all("SELECT * FROM sessions")])
        people = json.dumps([dict(row) for row in tx.all("SELECT * FROM people")])
    assert after not in kept
    assert PASSWORD not in people
    assert "$argon2id$" in people


async def test_a_failed_sign_in_says_the_same_whoever_exists(console: RunningConsole) -> None:
    console.add("ada", "admin")
    with console.visitor() as visitor:
        known, unknown = visitor.sign_in("ada", "wrong password"), visitor.sign_in("nobody", "wrong password")
    assert known.status_code == unknown.status_code == 403
    without = [answer.text.replace(visitor.client.cookies["gatebook"], "") for answer in (known, unknown)]
    assert without[0] == without[1]


async def test_failed_sign_ins_are_limited_and_the_limit_passes(console: RunningConsole) -> None:
    console.add("ada", "admin")
    with console.visitor() as visitor:
        for _ in range(MOST_BY_NAME):
            assert visitor.sign_in("ada", "wrong password").status_code == 403
        assert visitor.sign_in("ada").status_code == 429
        console.add("grace", "admin")
        assert visitor.sign_in("grace").status_code == 303
    with console.visitor() as visitor:
        console.suite.clock.advance(WINDOW_S + 1)
        assert visitor.sign_in("ada").status_code == 303


async def test_a_get_never_decides_whatever_link_is_followed(console: RunningConsole) -> None:
    request = await asked(console)
    await asked(console, "AB-2", "Press the button.")
    with console.visitor("ada", "admin") as ada:
        found, seen = ["/", f"/requests/{request.approval_id}?whole=1"], set[str]()
        while found:
            path = found.pop()
            if path in seen or not path.startswith("/"):
                continue
            seen.add(path)
            for method in ("GET", "HEAD"):
                answer = ada.client.request(method, path)
                assert answer.status_code < 500, path
            found += links_of(ada.get(path).text)
        actions = ("approve", "deny", "settle")
        for path in [f"/requests/{request.approval_id}/{action}" for action in actions] + ["/sign-out", "/resume"]:
            assert ada.get(path).status_code == 404
    assert len(seen) > 5
    assert [request.state for request in console.suite.requests("all")] == ["pending", "pending"]


async def test_who_has_no_role_looks_on_and_who_lacks_the_role_does_not_decide(console: RunningConsole) -> None:
    request = await asked(console)
    with console.visitor("eve") as eve, console.visitor("ada", "admin") as ada:
        assert "You may look on" in eve.get(f"/requests/{request.approval_id}").text
        path, fields = decision(ada, request)
        own = eve.form("/", "/sign-out").fields["form_token"]
        assert eve.post(path, {**fields, "form_token": own}).status_code == 403
        pause = eve.form("/pause", "/pause")
        assert eve.post("/pause", pause.fields).status_code == 403
    assert [request.state for request in console.suite.requests("all")] == ["pending"]


async def test_every_answer_has_the_headers_that_keep_a_page_to_itself(console: RunningConsole) -> None:
    with console.visitor("ada", "admin") as ada:
        answers = [ada.get(path) for path in ("/", "/sign-in", "/nothing", "/static/console.js", "/healthz")]
        answers += [ada.get("/", host="elsewhere.example"), ada.post("/pause", {}, headers={})]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none';")
        assert "unsafe" not in policy
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"


async def test_a_form_that_is_too_large_or_none_is_refused(console: RunningConsole) -> None:
    with console.visitor("ada", "admin") as ada:
        assert ada.post("/pause", {"reason": "x" * 3_000_000}).status_code == 413
        assert ada.post("/pause", {f"field{number}": "" for number in range(300)}).status_code == 422
        answer = ada.client.post("/pause", json={"reason": "x"}, headers=dict(ada.origin))
        assert answer.status_code == 422


async def test_without_the_whole_text_shown_a_yes_is_refused(console: RunningConsole) -> None:
    request = await asked(console, body="\n".join(f"Line {number}." for number in range(95)))
    page = f"/requests/{request.approval_id}"
    with console.visitor("ada", "admin") as ada, console.visitor("grace", "admin") as grace:
        form = ada.form(page, "/approve")
        assert "seen" not in form.fields
        assert "Line 94." not in ada.get(page).text
        whole = ada.form(f"{page}?whole=1", "/approve")
        assert ada.post(form.action, form.fields).status_code == 403
        others = grace.form(f"{page}?whole=1", "/approve").fields["seen"]
        assert ada.post(form.action, {**form.fields, "seen": others}).status_code == 403
        assert ada.post(whole.action, whole.fields).status_code == 303


async def test_the_first_persons_link_works_once_and_for_one_person(console: RunningConsole) -> None:
    file = console.suite.home / "console-first-run"
    with console.visitor() as visitor:
        assert visitor.get("/").headers["location"].startswith("/sign-in")
        assert visitor.get("/sign-in").headers["location"] == "/first-run"
        assert not file.exists()
        form = visitor.form("/first-run", "/first-run")
        chosen = {"name": "ada", "password": PASSWORD, "again": PASSWORD}
        assert visitor.post("/first-run", {**form.fields, **chosen, "token": "guessed"}).status_code == 403
        link = console.first_run
        assert file.stat().st_mode & 0o777 == 0o600
        assert visitor.get(link).status_code == visitor.get(link).status_code == 200
        assert visitor.submit(link, "/first-run", name="ada", password="short", again="short").status_code == 422
        answer = visitor.submit(link, "/first-run", **chosen)
        assert answer.headers["location"] == "/"
        assert "ada" in visitor.get("/").text
        assert not file.exists()
    with console.visitor() as another:
        assert another.get(link).headers["location"] == "/sign-in"
        token = another.form("/sign-in", "/sign-in").fields["form_token"]
        sent = {**chosen, "name": "eve", "token": link.partition("=")[2], "form_token": token}
        assert another.post("/first-run", sent).status_code in (403, 409)
        assert another.sign_in("eve").status_code == 403


async def test_disabling_somebody_and_a_new_password_end_their_sessions(console: RunningConsole) -> None:
    from gatebook_servers.console.people import People, hashed  # noqa: PLC0415

    with console.visitor("ada", "admin") as ada:
        with console.suite.runtime.database.transaction() as tx:
            People(tx).set_password("ada", password_hash=hashed("another invented password"))
        assert ada.get("/").status_code == 303
        assert ada.sign_in().status_code == 403
        assert ada.sign_in(password="another invented password").status_code == 303
        with console.suite.runtime.database.transaction() as tx:
            People(tx).disable("ada")
        assert ada.get("/").status_code == 303
        assert ada.sign_in(password="another invented password").status_code == 403


async def test_a_link_from_elsewhere_goes_on_to_the_page_with_the_cookie(console: RunningConsole) -> None:
    with console.visitor() as visitor:
        navigation = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
        answer = visitor.client.get("/requests/apr_x", headers=navigation)
        assert answer.status_code == 200
        assert 'http-equiv="refresh"' in answer.text


def test_a_slow_or_broken_request_is_no_traceback(console: RunningConsole) -> None:
    host, port = cast("tuple[str, int]", (httpx.URL(console.url).host, httpx.URL(console.url).port))
    with socket.create_connection((host, port)) as connection:
        connection.sendall(b"POST /sign-in HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\n\r\n")
        assert b" 422 " in connection.recv(4096)
