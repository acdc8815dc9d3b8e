"""A ticket service as another company would run it, with the faults of a network; a process of its own.

It says "listening URL" on stdout and ends when its stdin closes. `down` on stdin closes the port while the state stays,
`up` opens it again; each is answered with a line. It knows no fence: the same request twice is applied twice. With
`--fenced` a marker is applied once and every repetition gets the first result.
Only the standard library, so that it starts at once.
"""

import json
import os
import random
import re
import signal
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Literal, cast
from urllib.parse import parse_qs, urlsplit

Json = dict[str, object]
Answered = tuple[int, object]
BEGINNING = 1_790_000_000.0
"""The service's time at its start, seconds since the epoch; every change takes a second."""
PID_HEADER = "x-test-pid"
"""Names the process that a fault of the kind `kill` ends."""


@dataclass
class Fault:
    """What goes wrong with a request whose `METHOD /path` matches `on`.

    `times` is how often at most (None: always), `rate` how likely. `when` says whether the request was applied.
    `kill` ends the client's process and then the connection. `late` resets the connection after `seconds` and applies
    the request after twice that; `held` resets it at once and applies the request when the test lets it land.
    """

    kind: Literal["lost", "status", "reset", "half", "garbled", "slow", "trickle", "kill", "late", "held"] = "lost"
    on: str = r"(POST|PATCH) .*"
    when: Literal["before", "after"] = "after"
    status: int = 503
    retry_after: str = ""
    seconds: float = 0.0
    times: int | None = 1
    rate: float = 1.0


@dataclass(frozen=True, eq=False)
class Request:
    """What was asked: `METHOD /path`, query and body."""

    line: str
    query: Mapping[str, str]
    body: Json


@dataclass
class Service:
    """The tickets. One request at a time."""

    fenced: bool = False
    tickets: dict[str, Json] = field(default_factory=dict[str, Json])
    comments: dict[str, list[Json]] = field(default_factory=dict[str, list[Json]])
    operations: list[Json] = field(default_factory=list[Json])
    requests: list[str] = field(default_factory=list[str])
    faults: list[Fault] = field(default_factory=list[Fault])
    flying: list[Request] = field(default_factory=list[Request])
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    now: float = BEGINNING
    lock: Lock = field(default_factory=Lock)

    def fault(self, request: str) -> Fault | None:
        """Draw what goes wrong with this request."""
        with self.lock:
            self.requests.append(request)
            for fault in self.faults:
                if fault.times != 0 and re.fullmatch(fault.on, request) and self.chance.random() < fault.rate:
                    fault.times = None if fault.times is None else fault.times - 1
                    return fault
        return None

    def answer(self, request: Request) -> Answered:
        """Answer one request."""
        with self.lock:
            return self.first_answer(request.body.get("marker")) or self.routed(request)

    def first_answer(self, marker: object) -> Answered | None:
        """What a fenced service answered when this marker was applied."""
        first = self.done_with(marker) if self.fenced and marker else None
        return (200, first) if first else None

    def routed(self, request: Request) -> Answered:
        """Let the operation of this address answer."""
        for pattern, operation in _ROUTES:
            found = re.fullmatch(pattern, request.line)
            if found:
                return operation(self, found[1] if found.groups() else "", request.query, request.body)
        return 404, {}

    def delay(self, request: Request) -> None:
        """Keep a request that its sender has given up."""
        with self.lock:
            self.flying.append(request)

    def land(self, *requests: Request) -> int:
        """Apply delayed requests, all without `requests`, and return how many they were; a reset forgets them."""
        with self.lock:
            landing = [request for request in self.flying if not requests or request in requests]
            self.flying = [request for request in self.flying if request not in landing]
        for request in landing:
            self.answer(request)
        return len(landing)

    def page(self, _: str, query: Mapping[str, str], __: Json) -> Answered:
        """Tickets created in [since, until), or without until changed since, behind a position."""
        column = "created_at" if "until" in query else "updated_at"
        since, until = query.get("since", ""), query.get("until", "9")
        wanted = query.get("status", "")
        found = [
            ticket
            for ticket in self.tickets.values()
            if since <= str(ticket[column]) < until and wanted in ("", ticket["status"])
        ]
        return _page(found, column, query)

    def search(self, _: str, query: Mapping[str, str], __: Json) -> Answered:
        """Tickets that hold every word."""
        words = query["text"].casefold().split()
        texts = {name: f"{ticket['subject']}\n{ticket['body']}".casefold() for name, ticket in self.tickets.items()}
        found = [self.tickets[name] for name, text in texts.items() if words and all(word in text for word in words)]
        return _page(found, "updated_at", query)

    def get(self, name: str, _: Mapping[str, str], __: Json) -> Answered:
        """One ticket."""
        return (200, self.tickets[name]) if name in self.tickets else (404, {})

    def messages(self, name: str, _: Mapping[str, str], __: Json) -> Answered:
        """A ticket's messages."""
        return (200, {"comments": self.comments[name]}) if name in self.tickets else (404, {})

    def create(self, _: str, __: Mapping[str, str], body: Json) -> Answered:
        """A new ticket."""
        name = f"{body['project']}-{len(self.tickets) + 1}"
        self.put({"id": name, "subject": body["title"], "body": body["description"], "priority": body["priority"]})
        return self.record(name, body, operation_id=name)

    def update(self, name: str, _: Mapping[str, str], body: Json) -> Answered:
        """Change fields of a ticket that still has the version."""
        ticket = self.tickets.get(name)
        if ticket is None:
            return 404, {}
        if ticket["version"] != body["version"]:
            return 409, {}
        ticket.update({key: body[key] for key in ("status", "priority", "assignee") if body.get(key) is not None})
        kept = [tag for tag in cast("list[str]", ticket["tags"]) if tag not in cast("list[str]", body["remove_tags"])]
        ticket["tags"] = [*kept, *(tag for tag in cast("list[str]", body["add_tags"]) if tag not in kept)]
        return self.record(name, body, operation_id=f"change-{len(self.operations) + 1}")

    def comment(self, name: str, _: Mapping[str, str], body: Json) -> Answered:
        """Add a message, provided that the customer's newest one is the one that is named."""
        if name not in self.tickets:
            return 404, {}
        theirs = [str(said["id"]) for said in self.comments[name] if _role(said) == "customer" and said["public"]]
        if body["head"] is not None and body["head"] != (theirs or [""])[-1]:
            return 409, {}
        comment_id = f"m{len(self.comments[name]) + 1}"
        said = {"id": comment_id, "public": body["public"], "body": body["body"], "author": body["author"]}
        answered = self.record(name, body, operation_id=comment_id)
        self.comments[name].append({**said, "created_at": self.time(), "marker": body["marker"]})
        return answered

    def operation(self, marker: str, _: Mapping[str, str], __: Json) -> Answered:
        """What was applied with a marker."""
        return 200, {"operation": self.done_with(marker)}

    def done_with(self, marker: object) -> Json | None:
        """The first operation with a marker."""
        return next((done for done in self.operations if done["marker"] == marker), None)

    def record(self, name: str, body: Json, *, operation_id: str) -> Answered:
        """Record a change of a ticket."""
        self.now += 1
        ticket = self.tickets[name]
        ticket["version"], ticket["updated_at"] = f"v{len(self.operations) + 2}", self.time()
        done: Json = {"ticket": name, "id": operation_id, "version": ticket["version"], "at": self.time()}
        self.operations.append({**done, "marker": body["marker"]})
        return 200, done

    def put(self, row: Json) -> None:
        """Put a ticket there as its customer wrote it."""
        name, created = str(row["id"]), _utc(str(row.get("created_at", self.time())))
        bare: Json = {"subject": "", "body": "", "status": "new", "priority": None, "kind": "", "channel": "web"}
        self.tickets[name] = {
            **bare,
            "requester": {"name": "", "email": ""},
            "assignee": "",
            "tags": [],
            "version": "v1",
            **{key: value for key, value in row.items() if key != "comments"},
            "created_at": created,
            "updated_at": created,
        }
        said = cast("list[Json]", row.get("comments", []))
        self.comments[name] = [
            {"author": {"role": "customer"}, "public": True, "marker": "", **one, "created_at": _utc(one["created_at"])}
            for one in said
        ]

    def time(self) -> str:
        """The service's time."""
        return _utc(datetime.fromtimestamp(self.now, UTC).isoformat())

    def control(self, request: str, body: Json) -> Answered:
        """What only the test may do."""
        if request == "POST /control/land":
            return 200, {"landed": self.land()}
        with self.lock:
            if request == "POST /control/reset":
                fresh = Service()
                for name in ("tickets", "comments", "operations", "requests", "faults", "flying", "chance", "now"):
                    setattr(self, name, getattr(fresh, name))
            elif request == "POST /control/tickets":
                for row in cast("list[Json]", body["tickets"]):
                    self.put(row)
            elif request == "POST /control/faults":
                self.chance = random.Random(cast("int", body["seed"]))
                self.faults = [_fault(one) for one in cast("list[Json]", body["faults"])]
            applied = Counter(str(done["marker"]) for done in self.operations if done["marker"])
            state = {"comments": self.comments, "tickets": self.tickets, "requests": self.requests}
            return 200, {**state, "applied": applied}


_Route = Callable[[Service, str, Mapping[str, str], Json], Answered]
_ROUTES: tuple[tuple[str, _Route], ...] = (
    (r"GET /tickets", Service.page),
    (r"GET /search", Service.search),
    (r"GET /tickets/([^/]+)", Service.get),
    (r"GET /tickets/([^/]+)/comments", Service.messages),
    (r"POST /tickets", Service.create),
    (r"PATCH /tickets/([^/]+)", Service.update),
    (r"POST /tickets/([^/]+)/comments", Service.comment),
    (r"GET /operations/([^/]+)", Service.operation),
)


class _Handler(BaseHTTPRequestHandler):
    service: Service

    def handle_request(self) -> None:
        url = urlsplit(self.path)
        body: Json = json.loads(self.rfile.read(int(self.headers.get("content-length", "0"))) or b"{}")
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        request = Request(f"{self.command} {url.path}", query, body)
        if url.path.startswith("/control/"):
            self.send(*self.service.control(request.line, body))
            return
        fault = self.service.fault(request.line)
        if fault is None:
            self.send(*self.service.answer(request))
        elif fault.kind in ("late", "held"):
            self.delay(fault, request)
        elif fault.when == "before" and fault.kind != "slow":
            self.fail(fault, 200, {})
        else:
            self.fail(fault, *self.service.answer(request))

    do_GET = do_POST = do_PATCH = handle_request  # noqa: N815 - the names that http.server calls

    def delay(self, fault: Fault, request: Request) -> None:
        self.service.delay(request)
        if fault.kind == "late":
            time.sleep(fault.seconds)
        self.reset()
        if fault.kind == "late":
            time.sleep(fault.seconds)
            self.service.land(request)

    def fail(self, fault: Fault, status: int, answer: object) -> None:
        if fault.kind == "status":
            self.send(fault.status, {"error": "not now"}, retry_after=fault.retry_after)
        elif fault.kind == "half":
            self.send(status, answer, cut=True)
        elif fault.kind == "garbled":
            self.send(status, answer, encoding="gzip")
        elif fault.kind == "trickle":
            self.send(status, answer, pause_s=fault.seconds)
        elif fault.kind == "slow":
            time.sleep(fault.seconds)
            self.send(status, answer)
        elif fault.kind == "kill":
            os.kill(int(self.headers[PID_HEADER]), signal.SIGKILL)
        elif fault.kind == "reset":
            self.reset()

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def send(
        self,
        status: int,
        answer: object,
        *,
        retry_after: str = "",
        encoding: str = "identity",
        cut: bool = False,
        pause_s: float = 0.0,
    ) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-encoding", encoding)
        self.send_header("content-length", str(len(data)))
        if retry_after:
            self.send_header("retry-after", retry_after)
        self.end_headers()
        sent = data[: len(data) // 2] if cut else data
        chunk = 1 if pause_s else len(sent)
        for start in range(0, len(sent), chunk):
            time.sleep(pause_s)
            self.wfile.write(sent[start : start + chunk])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        del format, args


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is nothing to tell."""


def _page(found: list[Json], column: str, query: Mapping[str, str]) -> Answered:
    at, _, last = query.get("after", "").partition("|")
    if "after" in query and not last:
        return 400, {}
    limit = int(query["limit"])
    keys = {str(ticket["id"]): (str(ticket[column]), str(ticket["id"])) for ticket in found}
    behind = sorted(key for key in keys.values() if key > (at, last))
    by_name = {str(ticket["id"]): ticket for ticket in found}
    shown = [by_name[name] for _, name in behind[:limit]]
    position = "|".join(behind[:limit][-1]) if shown else query.get("after", "")
    return 200, {"tickets": shown, "position": position, "more": len(behind) > limit}


def _fault(given: Json) -> Fault:
    fault = Fault()
    for name, value in given.items():
        setattr(fault, name, value)
    return fault


def _role(comment: Json) -> object:
    return cast("Json", comment["author"]).get("role")


def _utc(text: object) -> str:
    """One form for every time, so that texts sort as times do."""
    return datetime.fromisoformat(str(text)).astimezone(UTC).isoformat(timespec="microseconds")


def _opened(service: Service, port: int) -> _Server:
    handler = type("Handler", (_Handler,), {"service": service})
    server = _Server(("127.0.0.1", port), handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return server


def main() -> None:
    """Serve until stdin closes."""
    service = Service(fenced="--fenced" in sys.argv[1:])
    server = _opened(service, 0)
    port = server.server_address[1]
    print(f"listening http://127.0.0.1:{port}", flush=True)  # noqa: T201
    for line in sys.stdin:
        if line.strip() == "down":
            server.shutdown()
            server.server_close()
        else:
            server = _opened(service, port)
        print(line.strip(), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
