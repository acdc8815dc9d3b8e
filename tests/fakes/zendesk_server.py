"""Zendesk Support as far as Gatebook asks it; a process of its own (`network.py`).

It keeps what the real one keeps: stamps of whole seconds, `safe_update`, idempotency keys for two hours, metadata in
audits, an index that lags, lists by cursor, cursors that expire. What only a test may do goes over /control/. Only the
standard library, so that it starts at once.
"""

import base64
import copy
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from typing import cast

from network import Answer, Json, Request, Service, serve

BEGINNING = 1_790_000_000
"""The service's time at its start, seconds since the epoch; every change takes a second."""
KEY_S = 7_200
"""How long an idempotency key lives, seconds."""
LIMIT = 700
TOKEN = "Basic " + base64.b64encode(b"night@desk.example/token:not-a-secret").decode()
US, KIM, ROBIN = 1, 2, 3
_PRIORITIES = {"Low": "low", "Medium": "normal", "High": "high", "Critical": "urgent"}
_STATES = ("new", "open", "pending", "hold", "solved", "closed")
_KEYS = {
    "subject",
    "comment",
    "priority",
    "type",
    "status",
    "tags",
    "external_id",
    "metadata",
    "assignee_id",
    "assignee_email",
    "safe_update",
    "updated_stamp",
}


class Refused(Exception):  # noqa: N818 - an answer, not an error
    """What is answered instead."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.answer = Answer(status, {"error": error, "description": "Something a customer wrote"})


@dataclass
class Zendesk(Service):
    """An account."""

    tickets: dict[int, Json] = field(default_factory=dict[int, Json])
    versions: dict[int, list[Json]] = field(default_factory=dict[int, list[Json]])
    comments: dict[int, list[Json]] = field(default_factory=dict[int, list[Json]])
    audits: dict[int, list[Json]] = field(default_factory=dict[int, list[Json]])
    users: dict[int, Json] = field(default_factory=dict[int, Json])
    keys: dict[str, tuple[int, Json, Json]] = field(default_factory=dict[str, tuple[int, Json, Json]])
    seen: list[Json] = field(default_factory=list[Json])
    now: int = BEGINNING
    ids: int = 10_000
    options: Json = field(default_factory=dict[str, object])

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.tickets, self.versions, self.comments, self.audits = {}, {}, {}, {}
        self.keys, self.seen, self.now, self.ids = {}, [], BEGINNING, 10_000
        # `ahead`: how much later it is than the last change. `lag`: how far the index is behind.
        # `epoch`: cursors of another are expired. `repeats`: what lists repeat at their seams. `hidden`: what every
        # message's visibility becomes. `still`: changes take no second. `interrupts`: the customer writes before the
        # next change. `headers`: of every answer.
        self.options = {"accepts": [TOKEN], "ahead": 3_600, "lag": 0, "epoch": 0, "repeats": 0, "headers": {}}
        self.users = {}
        for user_id, name, role in (
            (US, "Gatebook", "admin"),
            (KIM, "Kim", "agent"),
            (ROBIN, "Robin Reyes", "end-user"),
        ):
            self.add_user(user_id, name, f"{name.split(maxsplit=1)[0].lower()}@desk.example", role)

    def state(self) -> Json:
        return {"tickets": self.tickets, "comments": self.comments, "audits": self.audits, "seen": self.seen}

    def told(self, what: str, body: Json) -> Json:
        if what == "options":
            self.options |= body
        elif what == "pass":
            self.now += cast("int", body["seconds"])
        else:
            _DEEDS[what](self, cast("int", body["ticket"]), body)
        return {}

    def writes(self, number: int, body: Json) -> None:
        author = cast("int", body.get("author") or self.tickets[number]["requester_id"])
        self.say(number, str(body["text"]), author, public=bool(body.get("public", True)))

    def by_the_system(self, number: int, _: Json) -> None:
        """Change what moves a ticket in the export and is no news to an agent."""
        self.tick()
        self.tickets[number]["generated_timestamp"] = self.now

    def noise(self, number: int, body: Json) -> None:
        """Change it many times."""
        for _ in range(cast("int", body["times"])):
            self.audit(number, US, [], {})

    def attach(self, number: int, body: Json) -> None:
        self.comments[number][-1]["attachments"] = body["attachments"]

    def delete(self, number: int, _: Json) -> None:
        self.tick()
        self.changed(number, {"status": "deleted"})

    def field(self, number: int, body: Json) -> None:
        """Change fields without a trace, as if they had been so."""
        self.tickets[number].update(cast("Json", body["fields"]))

    def put(self, row: Json) -> None:
        """Put a ticket there as its customer wrote it; its id is a number here."""
        number, created = cast("int", row["id"]), _utc(row.get("created_at", self.time()))
        asks = cast("Json", row.get("requester") or {"name": "Robin Reyes", "email": "robin@desk.example"})
        requester = self.user_of(str(asks["name"]), str(asks["email"]), "end-user")
        self.tickets[number] = _ticket(
            number,
            {
                "subject": row.get("subject", ""),
                "description": row.get("body", ""),
                "status": row.get("status", "new"),
                "priority": _PRIORITIES.get(str(row.get("priority"))),
                "requester_id": requester,
                "tags": row.get("tags", []),
                "via": {"channel": row.get("channel", "web")},
            },
            created,
        )
        self.comments[number], self.audits[number], self.versions[number] = [], [], []
        self.keep(number)
        self.add_comment(number, str(row.get("body", "")), requester, at=created)
        for said in cast("list[Json]", row.get("comments", [])):
            author = cast("Json", said.get("author") or {"role": "customer"})
            role = "end-user" if author.get("role", "customer") == "customer" else "agent"
            name = str(author.get("name", asks["name"]))
            author_id = self.user_of(name, f"{name.lower()}-{role}@desk.example", role)
            public = bool(said.get("public", True))
            self.add_comment(number, str(said["body"]), author_id, at=_utc(said["created_at"]), public=public)

    def routed(self, request: Request) -> Answer:
        self.seen.append(
            {"line": request.line, "query": request.query, "body": request.body, "headers": request.headers}
        )
        try:
            answer = self.answered(request)
        except Refused as refused:
            answer = refused.answer
        standing = {"date": formatdate(self.now + cast("int", self.options["ahead"]), usegmt=True)}
        limits = {"x-rate-limit": str(LIMIT), "ratelimit-limit": str(LIMIT), "ratelimit-remaining": "699"}
        more = cast("dict[str, str]", self.options["headers"])
        return Answer(answer.status, answer.body, {**standing, **limits, **answer.headers, **more})

    def answered(self, request: Request) -> Answer:
        if request.headers.get("authorization") not in cast("list[str]", self.options["accepts"]):
            raise Refused(401, "Couldn't authenticate you")
        for pattern, operation in _ROUTES:
            found = re.fullmatch(pattern, request.line)
            if found:
                number = int(found[1]) if found.groups() else 0
                if number and (number not in self.tickets or self.tickets[number]["status"] == "deleted"):
                    raise Refused(404, "RecordNotFound")
                return operation(self, number, request)
        raise Refused(404, "InvalidEndpoint")

    # Reading

    def show(self, number: int, request: Request) -> Answer:
        return Answer(200, {"ticket": self.tickets[number], **self.aside([self.tickets[number]], request)})

    def show_many(self, _: int, request: Request) -> Answer:
        wanted = [int(number) for number in request.query["ids"].split(",")]
        assert len(wanted) <= 100
        found = [self.tickets[number] for number in wanted if number in self.tickets]
        return Answer(200, {"tickets": found, **self.aside(found, request)})

    def listed(self, _: int, request: Request) -> Answer:
        found = [ticket for ticket in self.tickets.values() if ticket["status"] != "deleted"]
        if "external_id" in request.query:
            found = [ticket for ticket in found if ticket["external_id"] == request.query["external_id"]]
            return Answer(200, {"tickets": found})
        column = request.query.get("sort", "id")
        found.sort(key=lambda ticket: (str(ticket[column.lstrip("-")]), cast("int", ticket["id"])))
        page, meta = _page(found[::-1] if column.startswith("-") else found, request.query)
        return Answer(200, {"tickets": page, "meta": meta, **self.aside(page, request)})

    def said(self, number: int, request: Request) -> Answer:
        found = sorted(self.comments[number], key=lambda said: (str(said["created_at"]), cast("int", said["id"])))
        page, meta = _page(found[::-1] if request.query.get("sort") == "-created_at" else found, request.query)
        authors = {cast("int", said["author_id"]) for said in page}
        users = [self.users[author] for author in sorted(authors & self.users.keys())]
        return Answer(200, {"comments": page, "meta": meta, "users": users})

    def audited(self, number: int, request: Request) -> Answer:
        found = self.audits[number]
        page, meta = _page(found[::-1] if request.query.get("sort") == "-created_at" else found, request.query)
        return Answer(200, {"audits": page, "meta": meta})

    def search(self, _: int, request: Request) -> Answer:
        terms = re.findall(r'"[^"]*"|\S+', request.query["query"])
        if "type:user" in terms:
            names = [term.strip('"').casefold() for term in terms if term.startswith('"')]
            return Answer(200, {"results": [u for u in self.users.values() if str(u["name"]).casefold() in names]})
        assert "type:ticket" in terms
        found = [ticket for ticket in self.indexed() if all(self.matches(ticket, term) for term in terms)]
        column = request.query.get("sort_by", "created_at")
        # The order of equals is nobody's promise.
        found.sort(key=lambda ticket: (str(ticket[column]), -cast("int", ticket["id"])))
        size, page = int(request.query.get("per_page", "100")), int(request.query.get("page", "1"))
        if page * size > 1_000:
            raise Refused(422, "Insufficient Resource Error")
        repeats = cast("int", self.options["repeats"]) if page > 1 else 0
        start = (page - 1) * size
        shown = found[start - repeats : start + size]
        following = f"{self.url}/api/v2/search?page={page + 1}" if len(found) > start + size else None
        results = [{**ticket, "result_type": "ticket"} for ticket in shown]
        return Answer(200, {"results": results, "next_page": following, "count": len(found)})

    def indexed(self) -> list[Json]:
        """The tickets as the index has them, which is behind."""
        until = _utc(
            datetime.fromtimestamp(
                self.now + cast("int", self.options["ahead"]) - cast("int", self.options["lag"]), UTC
            )
        )
        found: list[Json] = []
        for versions in self.versions.values():
            known = [version for version in versions if str(version["updated_at"]) <= until]
            found += [version for version in known[-1:] if version["status"] != "deleted"]
        return found

    def matches(self, ticket: Json, term: str) -> bool:
        """Whether a ticket fits a term of the search language."""
        bound = re.fullmatch(r"(created|updated)(>=|<)(.+)", term)
        if bound:
            value = str(ticket[f"{bound[1]}_at"])
            return value >= bound[3] if bound[2] == ">=" else value < bound[3]
        if term.startswith("status:"):
            return ticket["status"] == term.removeprefix("status:")
        if term == "type:ticket":
            return True
        # Words as the index cuts them, in any field.
        cut = [word for word in re.split(r"[\W_]+", term.casefold()) if word]
        texts = [ticket["subject"], ticket["description"], *cast("list[str]", ticket["tags"])]
        texts += [said["body"] for said in self.comments[cast("int", ticket["id"])]]
        words = [word for text in texts for word in re.split(r"[\W_]+", str(text).casefold())]
        return all(word in words for word in cut)

    def export(self, _: int, request: Request) -> Answer:
        until = self.now + cast("int", self.options["ahead"]) - 60
        if "cursor" in request.query:
            epoch, at, last = base64.b64decode(request.query["cursor"]).decode().split("|")
            if int(epoch) != self.options["epoch"]:
                raise Refused(400, "InvalidCursor")
            after = (int(at), int(last))
        else:
            after = (int(request.query["start_time"]) - 1, 10**9)
            if after[0] >= until:
                raise Refused(422, "InvalidStartTime")
        keyed = {
            (cast("int", one["generated_timestamp"]), cast("int", one["id"])): one for one in self.tickets.values()
        }
        behind = sorted(key for key in keyed if key > after and key[0] <= until)
        size = int(request.query.get("per_page", "1000"))
        keys = behind[:size]
        again = sorted(key for key in keyed if key <= after)[-cast("int", self.options["repeats"]) :]
        shown = [
            keyed[key] for key in ([*again, *keys] if self.options["repeats"] and "cursor" in request.query else keys)
        ]
        at, last = keys[-1] if keys else after
        cursor = base64.b64encode(f"{self.options['epoch']}|{at}|{last}".encode()).decode()
        body = {"tickets": shown, "after_cursor": cursor, "end_of_stream": len(behind) <= size}
        return Answer(200, {**body, **self.aside(shown, request)})

    def aside(self, tickets: list[Json], request: Request) -> Json:
        """The people of tickets, where they are asked for."""
        if request.query.get("include") != "users":
            return {}
        found = {ticket[column] for ticket in tickets for column in ("requester_id", "assignee_id")}
        return {"users": [self.users[cast("int", one)] for one in found if one in self.users]}

    # Writing

    def create(self, _: int, request: Request) -> Answer:
        key, given = request.headers.get("idempotency-key", ""), cast("Json", request.body["ticket"])
        if key in self.keys and self.time_now() - self.keys[key][0] < KEY_S:
            _, before, answer = self.keys[key]
            if before != request.body:
                raise Refused(400, "IdempotentRequestError")
            return Answer(201, answer, {"x-idempotency-lookup": "hit"})
        said = cast("Json", given["comment"])
        if not said.get("body"):
            raise Refused(422, "RecordInvalid")
        self.tick()
        number = max([35_000, *self.tickets]) + 1
        bare = {"status": "new", "description": said["body"], "requester_id": US, "via": {"channel": "api"}}
        chosen = {name: given[name] for name in ("subject", "priority", "tags", "external_id") if name in given}
        self.tickets[number] = _ticket(number, {**bare, **chosen}, self.time())
        self.comments[number], self.audits[number], self.versions[number] = [], [], []
        self.keep(number)
        event = self.add_comment(number, str(said["body"]), US, at=self.time(), public=bool(said.get("public", True)))
        audit = self.audit(number, US, [event], cast("Json", given.get("metadata", {})))
        answer: Json = copy.deepcopy({"ticket": self.tickets[number], "audit": audit})
        if key:
            self.keys[key] = (self.time_now(), copy.deepcopy(request.body), answer)
        return Answer(201, answer, {"x-idempotency-lookup": "miss", **_warned(given)})

    def update(self, number: int, request: Request) -> Answer:
        ticket, given = self.tickets[number], cast("Json", request.body["ticket"])
        if self.options.pop("interrupts", None):
            # Between the reading and the writing of somebody else.
            self.say(number, "Wait!", cast("int", ticket["requester_id"]), public=True)
        if ticket["status"] == "closed":
            raise Refused(422, "RecordInvalid")
        if given.get("safe_update") and given["updated_stamp"] != ticket["updated_at"]:
            raise Refused(409, "UpdateConflict")
        fields = {name: given[name] for name in ("status", "priority", "tags", "assignee_id") if name in given}
        if "assignee_email" in given:
            fields["assignee_id"] = self.user_of("", str(given["assignee_email"]), "agent")
        if fields.get("status") == "solved" and not fields.get("assignee_id", ticket["assignee_id"]):
            raise Refused(422, "RecordInvalid")
        if fields.get("status", "new") not in _STATES:
            raise Refused(422, "RecordInvalid")
        self.tick()
        events: list[Json] = [{"id": self.next_id(), "type": "Change", "field_name": name} for name in fields]
        if "comment" in given:
            said = cast("Json", given["comment"])
            public = bool(self.options.get("hidden", said.get("public", True)))
            events.insert(0, self.add_comment(number, str(said["body"]), US, at=self.time(), public=public))
        audit = self.audit(number, US, events, cast("Json", given.get("metadata", {})))
        self.changed(number, fields)
        return Answer(200, {"ticket": ticket, "audit": audit}, _warned(given))

    def say(self, number: int, text: str, author: int, *, public: bool) -> None:
        """Let somebody write."""
        self.tick()
        event = self.add_comment(number, text, author, at=self.time(), public=public)
        self.audit(number, author, [event], {})
        self.changed(number, {})

    def changed(self, number: int, fields: Json) -> None:
        """Change a ticket, now."""
        self.tickets[number].update(fields)
        self.tickets[number].update({"updated_at": self.time(), "generated_timestamp": self.now})
        self.keep(number)

    def keep(self, number: int) -> None:
        """Keep a ticket's present version for the index."""
        self.versions[number].append(copy.deepcopy(self.tickets[number]))

    def audit(self, number: int, author: int, events: list[Json], custom: Json) -> Json:
        """Record a change."""
        made: Json = {
            "id": self.next_id(),
            "ticket_id": number,
            "created_at": self.time(),
            "author_id": author,
            "metadata": {"system": {"client": "somebody's"}, "custom": custom},
            "events": events,
        }
        self.audits[number].append(made)
        return made

    def add_comment(self, number: int, body: str, author: int, *, at: str, public: bool = True) -> Json:
        """Add a message and return its event."""
        comment_id = self.next_id()
        said: Json = {"id": comment_id, "type": "Comment", "author_id": author, "body": body, "public": public}
        self.comments[number].append({**said, "created_at": at, "attachments": [], "html_body": f"<p>{body}</p>"})
        return said

    def user_of(self, name: str, email: str, role: str) -> int:
        """Return the user with an address, new if need be."""
        known = [user_id for user_id, user in self.users.items() if user["email"] == email]
        return known[0] if known else self.add_user(self.next_id(), name, email, role)

    def add_user(self, user_id: int, name: str, email: str, role: str) -> int:
        """Add a user."""
        self.users[user_id] = {"id": user_id, "name": name, "email": email, "role": role}
        return user_id

    def next_id(self) -> int:
        self.ids += 1
        return self.ids

    def tick(self) -> None:
        """Let the second of a change pass, unless changes are to share one."""
        self.now += 0 if self.options.get("still") else 1

    def time_now(self) -> int:
        return self.now + cast("int", self.options["ahead"])

    def time(self) -> str:
        return _utc(datetime.fromtimestamp(self.now, UTC))


_ROUTES: tuple[tuple[str, Callable[[Zendesk, int, Request], Answer]], ...] = (
    (r"GET /api/v2/tickets", Zendesk.listed),
    (r"GET /api/v2/tickets/show_many", Zendesk.show_many),
    (r"GET /api/v2/search", Zendesk.search),
    (r"GET /api/v2/incremental/tickets/cursor", Zendesk.export),
    (r"GET /api/v2/tickets/(\d+)", Zendesk.show),
    (r"GET /api/v2/tickets/(\d+)/comments", Zendesk.said),
    (r"GET /api/v2/tickets/(\d+)/audits", Zendesk.audited),
    (r"POST /api/v2/tickets", Zendesk.create),
    (r"PUT /api/v2/tickets/(\d+)", Zendesk.update),
)

_DEEDS: Mapping[str, Callable[[Zendesk, int, Json], None]] = {
    "writes": Zendesk.writes,
    "system": Zendesk.by_the_system,
    "noise": Zendesk.noise,
    "attach": Zendesk.attach,
    "delete": Zendesk.delete,
    "field": Zendesk.field,
}


def _ticket(number: int, fields: Mapping[str, object], created: str) -> Json:
    return {
        "id": number,
        "external_id": None,
        "type": None,
        "priority": None,
        "assignee_id": None,
        "tags": [],
        **fields,
        "created_at": created,
        "updated_at": created,
        "generated_timestamp": int(datetime.fromisoformat(created).timestamp()),
    }


def _page(found: list[Json], query: Mapping[str, str]) -> tuple[list[Json], Json]:
    size = int(query.get("page[size]", "100"))
    assert size <= 100
    start = int(query.get("page[after]", "0"))
    more = len(found) > start + size
    return found[start : start + size], {"has_more": more, "after_cursor": str(start + size) if more else None}


def _warned(given: Json) -> dict[str, str]:
    unknown = [f"ticket.{name}" for name in given if name not in _KEYS]
    return {"x-zendesk-api-warn": f"{{:unpermitted_keys=>{json.dumps(unknown)}}}"} if unknown else {}


def _utc(text: object) -> str:
    """Whole seconds, as everywhere in the API."""
    moment = text if isinstance(text, datetime) else datetime.fromisoformat(str(text))
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


if __name__ == "__main__":
    serve(Zendesk())
