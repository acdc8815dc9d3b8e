"""A service behind HTTP with the faults of a network; a process of its own, steered by the test that started it.

It says "listening URL" on stdout and ends when its stdin closes. `down` on stdin closes the port while the state stays,
`up` opens it again; each is answered with a line. Only the standard library, so that it starts at once.
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
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Literal, cast
from urllib.parse import parse_qs, urlsplit

Json = dict[str, object]
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
    headers: dict[str, str] = field(default_factory=dict[str, str])
    seconds: float = 0.0
    times: int | None = 1
    rate: float = 1.0


@dataclass(frozen=True, eq=False)
class Request:
    """What was asked: `METHOD /path`, query, body, and the headers by name in small letters."""

    line: str
    query: Mapping[str, str]
    body: Json
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """What is answered."""

    status: int
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass
class Service:
    """The state of a service, and what goes wrong with it. One request at a time."""

    requests: list[str] = field(default_factory=list[str])
    faults: list[Fault] = field(default_factory=list[Fault])
    flying: list[Request] = field(default_factory=list[Request])
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    lock: Lock = field(default_factory=Lock)
    url: str = ""

    def routed(self, request: Request) -> Answer:
        """Answer one request, as the service would."""
        raise NotImplementedError

    def reset(self) -> None:
        """Forget everything of this service's own."""
        raise NotImplementedError

    def put(self, row: Json) -> None:
        """Put a ticket there as its customer wrote it, in the form of an import file's row."""
        raise NotImplementedError

    def state(self) -> Json:
        """Return what the test may see."""
        raise NotImplementedError

    def told(self, what: str, body: Json) -> Json:
        """Do what only the test may ask for, beyond what every service does."""
        raise NotImplementedError(what, body)

    def fault(self, request: str) -> Fault | None:
        """Draw what goes wrong with this request."""
        with self.lock:
            self.requests.append(request)
            for fault in self.faults:
                if fault.times != 0 and re.fullmatch(fault.on, request) and self.chance.random() < fault.rate:
                    fault.times = None if fault.times is None else fault.times - 1
                    return fault
        return None

    def answer(self, request: Request) -> Answer:
        """Answer one request."""
        with self.lock:
            return self.routed(request)

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

    def control(self, what: str, body: Json) -> Json:
        """What only the test may do."""
        if what == "land":
            return {"landed": self.land()}
        with self.lock:
            if what == "reset":
                self.requests, self.faults, self.flying = [], [], []
                self.chance = random.Random(0)
                self.reset()
            elif what == "tickets":
                for row in cast("list[Json]", body["tickets"]):
                    self.put(row)
            elif what == "faults":
                self.chance = random.Random(cast("int", body["seed"]))
                self.faults = [_fault(one) for one in cast("list[Json]", body["faults"])]
            elif what == "state":
                return {**self.state(), "requests": self.requests}
            else:
                return self.told(what, body)
            return {}


class _Handler(BaseHTTPRequestHandler):
    service: Service

    def handle_request(self) -> None:
        url = urlsplit(self.path)
        length = int(self.headers.get("content-length", "0"))
        data = self.rfile.read(length)
        if len(data) < length:
            self.close_connection = True
            return  # Whoever sent it gave up amid it, so there is no request.
        body: Json = json.loads(data or b"{}")
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(f"{self.command} {url.path}", query, body, headers)
        if url.path.startswith("/control/"):
            self.send(Answer(200, self.service.control(url.path.removeprefix("/control/"), body)))
            return
        fault = self.service.fault(request.line)
        if fault is None:
            self.send(self.service.answer(request))
        elif fault.kind in ("late", "held"):
            self.delay(fault, request)
        elif fault.when == "before" and fault.kind != "slow":
            self.fail(fault, Answer(200, {}))
        else:
            self.fail(fault, self.service.answer(request))

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = handle_request  # noqa: N815 - the names that http.server calls

    def delay(self, fault: Fault, request: Request) -> None:
        self.service.delay(request)
        if fault.kind == "late":
            time.sleep(fault.seconds)
        self.reset()
        if fault.kind == "late":
            time.sleep(fault.seconds)
            self.service.land(request)

    def fail(self, fault: Fault, answer: Answer) -> None:
        if fault.kind == "status":
            retry_after = {"retry-after": fault.retry_after} if fault.retry_after else {}
            self.send(Answer(fault.status, {"error": "not now"}, {**fault.headers, **retry_after}))
        elif fault.kind == "half":
            self.send(answer, cut=True)
        elif fault.kind == "garbled":
            self.send(Answer(answer.status, answer.body, {"content-encoding": "gzip"}))
        elif fault.kind == "trickle":
            self.send(answer, pause_s=fault.seconds)
        elif fault.kind == "slow":
            time.sleep(fault.seconds)
            self.send(answer)
        elif fault.kind == "kill":
            os.kill(int(self.headers[PID_HEADER]), signal.SIGKILL)
        elif fault.kind == "reset":
            self.reset()

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def send(self, answer: Answer, *, cut: bool = False, pause_s: float = 0.0) -> None:
        data = b"" if answer.body is None else json.dumps(answer.body).encode()
        self.send_response_only(answer.status)
        standing = {"content-type": "application/json", "date": self.date_time_string()}
        for name, value in {**standing, **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
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


def _fault(given: Json) -> Fault:
    fault = Fault()
    for name, value in given.items():
        setattr(fault, name, value)
    return fault


def _opened(service: Service, port: int) -> _Server:
    handler = type("Handler", (_Handler,), {"service": service})
    server = _Server(("127.0.0.1", port), handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return server


def serve(service: Service) -> None:
    """Serve until stdin closes."""
    server = _opened(service, 0)
    port = server.server_address[1]
    service.url = f"http://127.0.0.1:{port}"
    print(f"listening {service.url}", flush=True)  # noqa: T201
    for line in sys.stdin:
        if line.strip() == "down":
            server.shutdown()
            server.server_close()
        else:
            server = _opened(service, port)
        print(line.strip(), flush=True)  # noqa: T201
