"""A ticket service as another company would run it; a process of its own (`network.py`).

It knows no fence: the same request twice is applied twice. With `--fenced` a marker is applied once and every
repetition gets the first result. Only the standard library, so that it starts at once.
"""

import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

from network import Answer, Json, Request, Service, serve

Answered = tuple[int, object]
BEGINNING = 1_790_000_000.0
"""The service's time at its start, seconds since the epoch; every change takes a second."""


@dataclass
class Tickets(Service):
    """The tickets."""

    fenced: bool = False
    tickets: dict[str, Json] = field(default_factory=dict[str, Json])
    comments: dict[str, list[Json]] = field(default_factory=dict[str, list[Json]])
    operations: list[Json] = field(default_factory=list[Json])
    swallowed: int = 0
    now: float = BEGINNING

    def routed(self, request: Request) -> Answer:
        first = self.done_with(request.body.get("marker")) if self.fenced and request.body.get("marker") else None
        if first:
            self.swallowed += 1
            return Answer(200, first)
        for pattern, operation in _ROUTES:
            found = re.fullmatch(pattern, request.line)
            if found:
                return Answer(*operation(self, found[1] if found.groups() else "", request.query, request.body))
        return Answer(404, {})

    def reset(self) -> None:
        self.tickets, self.comments, self.operations, self.swallowed, self.now = {}, {}, [], 0, BEGINNING

    def state(self) -> Json:
        applied = Counter(str(done["marker"]) for done in self.operations if done["marker"])
        return {
            "comments": self.comments,
            "tickets": self.tickets,
            "applied": applied,
            "swallowed": self.swallowed,
        }

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


_Route = Callable[[Tickets, str, Mapping[str, str], Json], Answered]
_ROUTES: tuple[tuple[str, _Route], ...] = (
    (r"GET /tickets", Tickets.page),
    (r"GET /search", Tickets.search),
    (r"GET /tickets/([^/]+)", Tickets.get),
    (r"GET /tickets/([^/]+)/comments", Tickets.messages),
    (r"POST /tickets", Tickets.create),
    (r"PATCH /tickets/([^/]+)", Tickets.update),
    (r"POST /tickets/([^/]+)/comments", Tickets.comment),
    (r"GET /operations/([^/]+)", Tickets.operation),
)


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


def _role(comment: Json) -> object:
    return cast("Json", comment["author"]).get("role")


def _utc(text: object) -> str:
    """One form for every time, so that texts sort as times do."""
    return datetime.fromisoformat(str(text)).astimezone(UTC).isoformat(timespec="microseconds")


if __name__ == "__main__":
    serve(Tickets(fenced="--fenced" in sys.argv[1:]))
