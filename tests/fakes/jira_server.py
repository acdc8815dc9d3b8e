"""Jira Cloud with Jira Service Management, as far as the desk asks for it; a process of its own (`network.py`).

It keeps issues with documents, comments with properties, transitions and tokens, and knows what makes Jira hard: its
search has an index that may lag, its queries whole minutes in the zone of whoever asks, its page tokens expire, and
nothing is fenced. Only the standard library, so that it starts at once.
"""

import json
import re
import sys
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast
from zoneinfo import ZoneInfo

from network import Answer, Json, Request, Service, serve

BEGINNING = 1_790_000_000.0
"""The service's time at its start, seconds since the epoch; every change takes a second."""
ZONE = ZoneInfo("Pacific/Auckland")
"""Where whoever asks lives, so that a query in UTC would miss."""
BASIC = f"Basic {b64encode(b'bot@acme.example:token').decode()}"
SELF: Json = {"accountId": "self", "displayName": "Gatebook", "accountType": "app", "timeZone": ZONE.key}
STATUSES: dict[str, tuple[str, str, str]] = {
    "new": ("1", "Open", "new"),
    "open": ("3", "In Progress", "indeterminate"),
    "pending": ("4", "Waiting for customer", "indeterminate"),
    "hold": ("5", "On hold", "indeterminate"),
    "solved": ("6", "Resolved", "done"),
    "closed": ("7", "Closed", "done"),
}
PRIORITIES = {"Critical": "Highest", "High": "High", "Medium": "Medium", "Low": "Low"}
_MOST = 100


@dataclass
class Jira(Service):
    """The site."""

    issues: dict[str, Json] = field(default_factory=dict[str, Json])
    index: dict[str, Json] = field(default_factory=dict[str, Json])
    log: list[Json] = field(default_factory=list[Json])
    stale: int = 0
    cap: int = _MOST
    lagging: bool = False
    tokens: dict[str, tuple[str, list[str], int]] = field(default_factory=dict[str, tuple[str, list[str], int]])
    bearers: set[str] = field(default_factory=set[str])
    made_public: bool | None = None
    queries: list[Json] = field(default_factory=list[Json])
    said: int = 0
    now: float = BEGINNING

    def reset(self) -> None:
        self.issues, self.index, self.tokens, self.queries, self.log = {}, {}, {}, [], []
        self.stale, self.cap = 0, _MOST
        self.lagging, self.made_public, self.said, self.now = False, None, 0, BEGINNING
        self.bearers = set()

    def state(self) -> Json:
        return {"issues": self.issues, "queries": self.queries, "log": self.log}

    def told(self, what: str, body: Json) -> Json:
        if what == "says":
            issue = self.issues[self.id_of(str(body["key"]))]
            author = cast("Json", body["author"])
            self.say(issue, document(str(body["text"])), author, public=bool(body["public"]), raw=str(body["text"]))
        elif what == "remove":
            self.issues.pop(self.id_of(str(body["key"])))
        elif what == "fields":
            cast("Json", self.issues[self.id_of(str(body["key"]))]["fields"]).update(cast("Json", body["fields"]))
        elif what == "move":
            self.issues[self.id_of(str(body["key"]))].update(key=body["to"], was=body["key"])
        elif what == "index":
            number = self.id_of(str(body["key"]))
            self.index[number] = cast("Json", json.loads(json.dumps(self.issues[number])))
        else:
            self.switched(what, body)
        self.keep_up(force=what == "lag")
        return {}

    def switched(self, what: str, body: Json) -> None:
        """Be another way from now on."""
        if what == "lag":
            self.lagging = bool(body["on"])
        elif what == "bearers":
            self.bearers = set(cast("list[str]", body["valid"]))
        elif what == "tokens":
            self.stale, self.cap = int(cast("int", body["times"])), int(cast("int", body["cap"]))
        elif what == "visibility":
            self.made_public = cast("bool | None", body["public"])
        else:
            raise NotImplementedError(what)

    def routed(self, request: Request) -> Answer:
        self.log.append({"line": request.line, "query": dict(request.query), "body": request.body})
        authorization = request.headers.get("authorization", "")
        if authorization != BASIC and authorization.removeprefix("Bearer ") not in self.bearers:
            return Answer(401, {"errorMessages": ["who?"]})
        line = re.sub(r" /ex/jira/[a-z0-9-]+", " ", request.line)
        for pattern, operation in _ROUTES:
            found = re.fullmatch(pattern, line)
            if found:
                answer = operation(self, found.groups(), request)
                if not line.startswith("GET") and not line.endswith("/search/jql"):
                    self.keep_up()
                return answer
        return Answer(404, {"errorMessages": ["no such path"]})

    def myself(self, _: tuple[str, ...], __: Request) -> Answer:
        """Who asks."""
        return Answer(200, SELF)

    def search(self, _: tuple[str, ...], request: Request) -> Answer:
        """Issues of the index, but those to be reconciled as they are."""
        body = request.body
        self.queries.append(body)
        jql, size = str(body["jql"]), min(int(cast("int", body.get("maxResults", 50))), self.cap)
        asked = [str(number) for number in cast("list[int]", body.get("reconcileIssues", []))]
        if len(asked) > 50 or any(number not in self.issues for number in asked):
            return _fault(400)
        known = {**self.index, **{number: self.issues[number] for number in asked}}
        token = body.get("nextPageToken")
        if token is None:
            try:
                names, start = [str(issue["id"]) for issue in matching(jql, list(known.values()))], 0
            except ValueError:
                return _fault(400)
        elif self.stale or token not in self.tokens or self.tokens[str(token)][0] != jql:
            self.stale = max(self.stale - 1, 0)
            return _fault(400)
        else:
            names, start = self.tokens[str(token)][1:]
        page = [known[name] for name in names[start : start + size] if name in known]
        answer: Json = {"issues": [shown(issue, body) for issue in page]}
        if start + size < len(names):
            answer["nextPageToken"] = token = f"t{len(self.tokens) + 1}"
            self.tokens[token] = (jql, names, start + size)
        return Answer(200, answer)

    def get(self, groups: tuple[str, ...], request: Request) -> Answer:
        """One issue."""
        issue = self.issues.get(self.id_of(groups[0]))
        if issue is None:
            return _fault(404)
        wanted = {name: request.query[name].split(",") for name in ("fields", "properties") if name in request.query}
        return Answer(200, shown(issue, {"fields": ["*all"], **wanted}))

    def create(self, _: tuple[str, ...], request: Request) -> Answer:
        """A new issue."""
        fields = dict(cast("Json", request.body["fields"]))
        project = str(cast("Json", fields.pop("project"))["key"])
        if "canary" in str(fields["summary"]):
            return _fault(400, summary=f"not {fields['summary']}")
        number = 1 + max((int(str(one["key"]).rpartition("-")[2]) for one in self.of_project(project)), default=0)
        issue = self.made(f"{project}-{number}", {**fields, "reporter": SELF, "creator": SELF})
        self.set_properties(issue, request.body)
        return Answer(
            201, {"id": issue["id"], "key": issue["key"], "self": f"{self.url}/rest/api/3/issue/{issue['id']}"}
        )

    def update(self, groups: tuple[str, ...], request: Request) -> Answer:
        """Change fields."""
        issue = self.issues.get(self.id_of(groups[0]))
        if issue is None:
            return _fault(404)
        fields = cast("Json", issue["fields"])
        given = cast("Json", request.body.get("fields", {}))
        changes = cast("list[Json]", cast("Json", request.body.get("update", {})).get("labels", []))
        if any(" " in str(label) for change in changes for label in change.values()):
            return _fault(400, labels="a label has no spaces")
        labels = set(cast("list[str]", fields["labels"]))
        for change in changes:
            labels |= {str(change["add"])} if "add" in change else set()
            labels -= {str(change["remove"])} if "remove" in change else set()
        fields.update(_filled(given))
        fields["labels"] = sorted(labels)
        self.set_properties(issue, request.body)
        self.touch(issue)
        return Answer(204)

    def property(self, groups: tuple[str, ...], request: Request) -> Answer:
        """A property of an issue: read it or set it."""
        issue = self.issues.get(self.id_of(groups[0]))
        if issue is None:
            return _fault(404)
        properties = cast("Json", issue["properties"])
        if request.line.startswith("PUT"):
            properties[groups[1]] = request.body
            return Answer(201)
        return (
            Answer(200, {"key": groups[1], "value": properties[groups[1]]}) if groups[1] in properties else _fault(404)
        )

    def transitions(self, groups: tuple[str, ...], _: Request) -> Answer:
        """Where the issue may go."""
        issue = self.issues[self.id_of(groups[0])]
        at = cast("Json", cast("Json", issue["fields"])["status"])["id"]
        ways = [{"id": f"1{status[0]}", "name": "go", "to": _status(name)} for name, status in STATUSES.items()]
        return Answer(200, {"transitions": [way for way in ways if cast("Json", way["to"])["id"] != at]})

    def go(self, groups: tuple[str, ...], request: Request) -> Answer:
        """Go to another status."""
        issue = self.issues[self.id_of(groups[0])]
        way = str(cast("Json", request.body["transition"])["id"])
        name = next((name for name, status in STATUSES.items() if f"1{status[0]}" == way), "")
        if not name:
            return _fault(400)
        cast("Json", issue["fields"])["status"] = _status(name)
        self.touch(issue)
        return Answer(204)

    def comments(self, groups: tuple[str, ...], request: Request) -> Answer:
        """An issue's comments."""
        issue = self.issues.get(self.id_of(groups[0]))
        if issue is None:
            return _fault(404)
        said = list(cast("list[Json]", issue["comments"]))
        if request.query.get("orderBy") == "-created":
            said.reverse()
        start, size = int(request.query.get("startAt", "0")), int(request.query.get("maxResults", "50"))
        page = [dict(one) for one in said[start : start + size]]
        if request.query.get("expand") != "properties":
            page = [{name: value for name, value in one.items() if name != "properties"} for one in page]
        return Answer(200, {"startAt": start, "maxResults": size, "total": len(said), "comments": page})

    def comment(self, groups: tuple[str, ...], request: Request) -> Answer:
        """Add a comment; it is public, whatever is asked."""
        issue = self.issues.get(self.id_of(groups[0]))
        if issue is None:
            return _fault(404)
        public, properties = self.made_public in (None, True), request.body.get("properties", [])
        return Answer(201, self.say(issue, request.body["body"], SELF, public=public, properties=properties))

    def note(self, groups: tuple[str, ...], request: Request) -> Answer:
        """Add a comment to a request of a service desk."""
        issue = self.issues.get(self.id_of(groups[0]))
        if issue is None or _kind(issue) != "service_desk":
            return _fault(404)
        public = bool(request.body["public"]) if self.made_public is None else self.made_public
        text = str(request.body["body"])
        return Answer(201, _note(self.say(issue, document(text), SELF, public=public, raw=text)))

    def read_note(self, groups: tuple[str, ...], _: Request) -> Answer:
        """A comment of a request."""
        issue = self.issues[self.id_of(groups[0])]
        said = next((one for one in cast("list[Json]", issue["comments"]) if one["id"] == groups[1]), None)
        return _fault(404) if said is None else Answer(200, _note(said))

    def put(self, row: Json) -> None:
        """Put a ticket there as its customer wrote it."""
        who = cast("Json", row.get("requester", {}))
        name = str(who.get("name", ""))
        reporter: Json = {"accountId": f"u-{name}", "displayName": name, "accountType": "customer"}
        fields: Json = {
            "summary": row.get("subject", ""),
            "description": document(str(row.get("body", ""))),
            "status": _status(str(row.get("status", "new"))),
            "labels": row.get("tags", []),
            "reporter": {**reporter, "emailAddress": who.get("email", "")},
            "creator": reporter,
        }
        issue = self.made(str(row["id"]), fields, at=_seconds(row["created_at"]) if "created_at" in row else None)
        for one in cast("list[Json]", row.get("comments", [])):
            author = cast("Json", one.get("author", {"name": "", "role": "customer"}))
            at, public = _seconds(one["created_at"]), bool(one.get("public", True))
            said = self.say(issue, document(str(one["body"])), _author(author), public=public, at=at)
            said["id"] = one["id"]
        if not self.lagging:
            self.index[str(issue["id"])] = cast("Json", json.loads(json.dumps(issue)))

    def made(self, key: str, fields: Json, *, at: float | None = None) -> Json:
        """Let an issue be there."""
        project, _, number = key.rpartition("-")
        projects = sorted({str(issue["key"]).rpartition("-")[0] for issue in self.issues.values()} - {project})
        self.now += at is None
        moment = self.now if at is None else at
        bare: Json = {"description": None, "priority": None, "assignee": None, "labels": [], "attachment": []}
        issue: Json = {
            "id": str(100_000 * (len(projects) + 1) + int(number)),
            "key": key,
            "fields": {
                **bare,
                "status": _status("new"),
                "issuetype": {"name": "Task"},
                **_filled(fields),
                "project": {"key": project, "projectTypeKey": "software" if project == "OPS" else "service_desk"},
                "created": moment,
                "updated": moment,
            },
            "properties": {},
            "comments": [],
        }
        self.issues[str(issue["id"])] = issue
        return issue

    def say(
        self,
        issue: Json,
        body: object,
        author: Json,
        *,
        public: bool,
        properties: object = (),
        raw: str = "",
        at: float | None = None,
    ) -> Json:
        """Add a message to an issue."""
        self.said += 1
        if at is None:
            self.touch(issue)
        moment = self.now if at is None else at
        said: Json = {"id": str(20_000 + self.said), "author": author, "body": body, "jsdPublic": public, "raw": raw}
        said |= {
            "created": _spelled(moment),
            "updated": _spelled(moment),
            "properties": list(cast("list[Json]", properties)),
        }
        cast("list[Json]", issue["comments"]).append(said)
        return said

    def touch(self, issue: Json) -> None:
        """A change takes a second, and the issue says when it was."""
        self.now += 1
        cast("Json", issue["fields"])["updated"] = self.now

    def set_properties(self, issue: Json, body: Json) -> None:
        """Set the properties that a request brings."""
        given = cast("list[Json]", body.get("properties", []))
        cast("Json", issue["properties"]).update({str(one["key"]): one["value"] for one in given})

    def of_project(self, project: str) -> list[Json]:
        """The issues of a project."""
        return [issue for issue in self.issues.values() if str(issue["key"]).rpartition("-")[0] == project]

    def id_of(self, name: str) -> str:
        """An issue is named by its id or key, and keys in any case."""
        names = ((number, (one["key"], one.get("was"))) for number, one in self.issues.items())
        return next((number for number, known in names if name.upper() in known), name)

    def keep_up(self, *, force: bool = False) -> None:
        """Let the index know what there is, unless it lags."""
        if force or not self.lagging:
            self.index = {number: cast("Json", json.loads(json.dumps(one))) for number, one in self.issues.items()}


def matching(jql: str, issues: list[Json]) -> list[Json]:
    """Evaluate a query: exactly the clauses that the desk writes, everything else is an error."""
    where, _, order = jql.partition(" ORDER BY ")
    for clause in where.split(" AND "):
        issues = [issue for issue in issues if _holds(clause, issue)]
    ordered = {"created ASC, key ASC": "created", "updated ASC, key ASC": "updated", "created DESC": "created"}
    if order not in ordered:
        raise ValueError(order)
    column = ordered[order]
    found = sorted(
        issues, key=lambda one: (cast("float", cast("Json", one["fields"])[column]), _natural(str(one["key"])))
    )
    return found[::-1] if order.endswith("DESC") else found


def _holds(clause: str, issue: Json) -> bool:
    fields = cast("Json", issue["fields"])
    if found := re.fullmatch(r'(created|updated) (>=|<) "(\d{4}-\d\d-\d\d \d\d:\d\d)"', clause):
        at = datetime.strptime(found[3], "%Y-%m-%d %H:%M").replace(tzinfo=ZONE).timestamp()
        is_behind = cast("float", fields[found[1]]) >= at
        return is_behind if found[2] == ">=" else not is_behind
    if found := re.fullmatch(r'project in \(("[A-Z0-9_]+"(?:, "[A-Z0-9_]+")*)\)', clause):
        return cast("Json", fields["project"])["key"] in re.findall(r'"([A-Z0-9_]+)"', found[1])
    if found := re.fullmatch(r'\(summary ~ "\\"(\w+)\\"" OR description ~ "\\"(\w+)\\""\)', clause):
        held = f"{fields['summary']} {json.dumps(fields['description'], ensure_ascii=False)}"
        return found[1].casefold() in re.findall(r"[^\W_]+", held.casefold())
    if clause == "creator = currentUser()":
        return cast("Json", fields["creator"])["accountId"] == "self"
    raise ValueError(clause)


def shown(issue: Json, asked: Mapping[str, object]) -> Json:
    """Return an issue with the fields and properties that are asked for, which by default is none."""
    wanted, properties = cast("list[str]", asked.get("fields", [])), cast("list[str]", asked.get("properties", []))
    fields = dict(cast("Json", issue["fields"]))
    for name in ("created", "updated"):
        fields[name] = _spelled(cast("float", fields[name]))
    kept = {name: value for name, value in fields.items() if name in wanted or "*all" in wanted}
    has = {name: value for name, value in cast("Json", issue["properties"]).items() if name in properties}
    return {"id": issue["id"], "key": issue["key"], "fields": kept, **({"properties": has} if properties else {})}


def document(text: str) -> Json:
    """Return a text as Jira keeps it."""
    paragraphs: list[Json] = []
    for part in text.split("\n\n"):
        content: list[Json] = []
        for line in part.split("\n"):
            content.append({"type": "hardBreak"})
            if line:
                content.append({"type": "text", "text": line})
        paragraphs.append({"type": "paragraph", "content": content[1:]})
    return {"type": "doc", "version": 1, "content": paragraphs}


def _note(said: Json) -> Json:
    at = datetime.strptime(str(said["created"]), "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
    created: Json = {"iso8601": said["created"], "epochMillis": round(at * 1000)}
    return {
        "id": said["id"],
        "body": said["raw"],
        "public": said["jsdPublic"],
        "author": said["author"],
        "created": created,
    }


def _filled(fields: Json) -> Json:
    """Return fields with what Jira adds to them."""
    filled = dict(fields)
    assignee = cast("Json | None", fields.get("assignee"))
    if assignee is not None:
        filled["assignee"] = {**assignee, "displayName": assignee["accountId"], "accountType": "atlassian"}
    return filled


def _status(name: str) -> Json:
    number, called, category = STATUSES[name]
    return {"id": number, "name": called, "statusCategory": {"key": category}}


def _author(given: Json) -> Json:
    kind = {"customer": "customer", "agent": "atlassian", "bot": "app"}[str(given.get("role", "customer"))]
    return {"accountId": f"{kind}-{given['name']}", "displayName": given["name"], "accountType": kind}


def _kind(issue: Json) -> object:
    return cast("Json", cast("Json", issue["fields"])["project"])["projectTypeKey"]


def _fault(status: int, **fields: str) -> Answer:
    return Answer(status, {"errorMessages": [], "errors": fields})


def _seconds(text: object) -> float:
    return datetime.fromisoformat(str(text)).timestamp()


def _spelled(seconds: float) -> str:
    local = datetime.fromtimestamp(seconds, ZONE)
    return f"{local:%Y-%m-%dT%H:%M:%S}.{local.microsecond // 1000:03}{local:%z}"


def _natural(key: str) -> tuple[str, int]:
    project, _, number = key.rpartition("-")
    return project, int(number)


_Route = Callable[[Jira, tuple[str, ...], Request], Answer]
_API, _DESK = "/rest/api/3", "/rest/servicedeskapi"
_ROUTES: tuple[tuple[str, _Route], ...] = (
    (rf"GET {_API}/myself", Jira.myself),
    (rf"POST {_API}/search/jql", Jira.search),
    (rf"POST {_API}/issue", Jira.create),
    (rf"GET {_API}/issue/([^/]+)", Jira.get),
    (rf"PUT {_API}/issue/([^/]+)", Jira.update),
    (rf"(?:GET|PUT) {_API}/issue/([^/]+)/properties/([^/]+)", Jira.property),
    (rf"GET {_API}/issue/([^/]+)/transitions", Jira.transitions),
    (rf"POST {_API}/issue/([^/]+)/transitions", Jira.go),
    (rf"GET {_API}/issue/([^/]+)/comment", Jira.comments),
    (rf"POST {_API}/issue/([^/]+)/comment", Jira.comment),
    (rf"POST {_DESK}/request/([^/]+)/comment", Jira.note),
    (rf"GET {_DESK}/request/([^/]+)/comment/([^/]+)", Jira.read_note),
)


if __name__ == "__main__":
    assert len(sys.argv) == 1
    serve(Jira())
