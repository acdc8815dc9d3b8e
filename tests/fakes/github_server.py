"""GitHub's REST API for one repository, `acme/support`, as far as a ticket desk asks it; a process of its own.

Time stands still unless the test moves it, apart from a second that passes before a list is asked for. Writes less than
a second apart meet the secondary rate limit. Only the standard library, so that it starts at once.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from email.utils import formatdate
from time import monotonic
from typing import cast
from urllib.parse import quote, urlencode

from network import Answer, Json, Request, Service, serve

BEGINNING = 1_790_000_000.0
REPOSITORY = "/repos/acme/support"
TOKEN = "ours"
LOGIN, APP_LOGIN = "gatebook-desk", "gatebook[bot]"
ASSIGNABLE = {"kim", "ada"}
SHA256_OF_PKCS1 = bytes.fromhex("3031300d060960864801650304020105000420")


@dataclass
class GitHub(Service):
    """The repository."""

    now: float = BEGINNING
    issues: dict[int, Json] = field(default_factory=dict[int, Json])
    said: dict[int, list[Json]] = field(default_factory=dict[int, list[Json]])
    names: dict[str, int] = field(default_factory=dict[str, int])
    seen: list[Json] = field(default_factory=list[Json])
    hourly: int = 5_000
    remaining: int = 5_000
    reset_at: float = BEGINNING + 3_600
    last_write: float = float("-inf")
    tokens: dict[str, str] = field(default_factory=lambda: {TOKEN: LOGIN})
    key: tuple[int, int] = (0, 0)
    permissions: dict[str, str] = field(default_factory=lambda: {"metadata": "read", "issues": "write"})
    most_offset: int = 1_000
    ignores: tuple[str, ...] = ()
    incomplete: bool = False
    ticks: bool = False
    ticked_at: float = 0.0

    def reset(self) -> None:
        # The app's key stays: a module's tests make it once.
        fresh, kept = GitHub(), {"key", *(one.name for one in fields(Service))}
        for name in {one.name for one in fields(GitHub)} - kept:
            setattr(self, name, getattr(fresh, name))

    def state(self) -> Json:
        return {
            "issues": {str(number): issue for number, issue in self.issues.items()},
            "comments": {str(number): said for number, said in self.said.items()},
            "names": self.names,
            "seen": self.seen,
            "remaining": self.remaining,
            "now": self.now,
        }

    def told(self, what: str, body: Json) -> Json:
        _TOLD[what](self, body)
        return self.state()

    def put(self, row: Json) -> None:
        created = _utc(str(row.get("created_at", self.time())))
        requester = cast("Mapping[str, str]", row.get("requester", {"name": "robin"}))
        state, reason = {
            "new": ("open", None),
            "open": ("open", "reopened"),
            "solved": ("closed", "completed"),
            "closed": ("closed", "not_planned"),
        }[str(row.get("status", "new"))]
        fields: Json = {"title": row["subject"], "body": row["body"], "labels": row.get("tags", [])}
        issue = self.open({**fields, "state": state, "state_reason": reason}, _login(requester["name"]), created)
        number = self.names[str(row["id"])] = cast("int", issue["number"])
        for one in cast("list[Json]", row.get("comments", [])):
            if one.get("public", True):
                author = cast("Mapping[str, str]", one.get("author", {}))
                association = "NONE" if author.get("role", "customer") == "customer" else "MEMBER"
                at = _utc(str(one["created_at"]))
                self.add(number, str(one["body"]), _login(author.get("name", "robin")), association, at=at)
        issue["updated_at"] = created

    def routed(self, request: Request) -> Answer:
        if self.ticks:
            # For real processes, which wait in the time of this machine.
            moment = monotonic()
            self.now += moment - (self.ticked_at or moment)
            self.ticked_at = moment
        login = self.asking(request)
        limited = self.limited(request)
        if limited:
            return limited
        found = _matching(request.line)
        if found is None:
            return self.answered(404, {"message": "Not Found"})
        operation, name, number = found
        if login is None and operation not in (_app, _installation):
            return self.answered(401, {"message": "Bad credentials"})
        if number and number not in self.issues:
            return self.answered(404, {"message": "Not Found"})
        status, body, links = operation(self, Asked(request, login or "", number, name))
        return self.answered(status, body, links, request.headers.get("if-none-match", ""))

    def asking(self, request: Request) -> str | None:
        """Return as whom somebody asks; None where we do not know the token."""
        assert request.headers.get("x-github-api-version") == "2026-03-10"
        assert request.headers.get("user-agent")
        self.seen.append({"line": request.line, "authorization": request.headers.get("authorization", "")})
        return self.tokens.get(request.headers.get("authorization", "").removeprefix("Bearer "))

    def limited(self, request: Request) -> Answer | None:
        """Return the refusal of a request beyond a limit."""
        if self.now >= self.reset_at:
            self.remaining, self.reset_at = self.hourly, self.now + 3_600
        if self.remaining <= 0:
            return self.answered(403, {"message": "API rate limit exceeded"})
        if not request.line.startswith("GET") and not request.line.startswith("POST /app/"):
            since = self.now - self.last_write
            self.last_write = self.now
            if since < 1:
                return self.answered(403, {"message": "secondary"}, {"retry-after": "60"})
        return None

    def answered(self, status: int, body: object, headers: Mapping[str, str] | None = None, known: str = "") -> Answer:
        """Answer with the headers of every answer; what is known already costs nothing."""
        tag = f'W/"{hashlib.sha256(json.dumps([body, headers]).encode()).hexdigest()}"'
        unchanged = status == 200 and known == tag
        self.remaining -= not unchanged
        every = {
            "date": formatdate(self.now, usegmt=True),
            "x-ratelimit-remaining": str(max(self.remaining, 0)),
            "x-ratelimit-reset": str(int(self.reset_at)),
            "etag": tag,
        }
        return Answer(304 if unchanged else status, None if unchanged else body, {**every, **(headers or {})})

    def open(self, fields: Json, login: str, created: str) -> Json:
        """Add an issue or a pull request."""
        number = max(self.issues, default=0) + 1
        bare: Json = {"body": None, "state": "open", "state_reason": None, "assignees": [], "comments": 0, "type": None}
        labels = [{"name": name} for name in cast("list[str]", fields.get("labels", []))]
        stamps: Json = {"created_at": created, "updated_at": created, "user": {"login": login}, "labels": labels}
        self.issues[number] = {"number": number, **bare, "author_association": "NONE", **fields, **stamps}
        self.said[number] = []
        return self.issues[number]

    def add(self, number: int, text: str, login: str, association: str, *, at: str = "") -> Json:
        """Add a comment."""
        comment_id = 9_000 + sum(len(said) for said in self.said.values())
        at = at or self.time()
        stamps: Json = {"created_at": at, "updated_at": at}
        said: Json = {"id": comment_id, "body": text, "user": {"login": login}, "author_association": association}
        self.said[number].append({**said, **stamps})
        issue = self.issues[number]
        issue["comments"], issue["updated_at"] = len(self.said[number]), at
        return self.said[number][-1]

    def time(self) -> str:
        """The service's time."""
        return _utc(datetime.fromtimestamp(self.now, UTC).isoformat())

    def signed(self, token: str) -> bool:
        """Whether an app's JSON Web Token has its signature (RS256) and has not ended."""
        parts = token.split(".")
        if len(parts) != 3 or not self.key[0]:
            return False
        modulus, exponent = self.key
        size = (modulus.bit_length() + 7) // 8
        given = pow(int.from_bytes(_decoded(parts[2]), "big"), exponent, modulus).to_bytes(size, "big")
        digest = SHA256_OF_PKCS1 + hashlib.sha256(".".join(parts[:2]).encode()).digest()
        claims = json.loads(_decoded(parts[1]))
        whole = b"\x00\x01" + b"\xff" * (size - len(digest) - 3) + b"\x00" + digest
        return given == whole and claims["iss"] == "12" and claims["iat"] <= self.now < claims["exp"] <= self.now + 600


@dataclass(frozen=True)
class Asked:
    """One request: as whom, about which issue, or which other name."""

    request: Request
    login: str
    number: int
    name: str


_Answered = tuple[int, object, Mapping[str, str]]


def _list(hub: GitHub, asked: Asked) -> _Answered:
    hub.now += 1
    query = asked.request.query
    column = "updated_at" if query.get("sort") == "updated" else "created_at"
    found = [
        issue
        for issue in hub.issues.values()
        if query["state"] in ("all", issue["state"])
        and str(issue["updated_at"]) >= query.get("since", "")
        and query.get("creator", _author(issue)) == _author(issue)
    ]
    # Nothing is promised of the order within a second.
    found.sort(key=lambda issue: (str(issue[column]), -cast("int", issue["number"])))
    return _paged(hub, asked, found[::-1] if query.get("direction") == "desc" else found)


def _search(hub: GitHub, asked: Asked) -> _Answered:
    hub.now += 1
    q = asked.request.query["q"]
    terms = [_words(term) for term in re.findall(r'"([^"]*)"', q)]
    rest = re.sub(r'"[^"]*"', "", q).split()
    assert {"in:title,body", "repo:acme/support", "is:issue"} <= set(rest), rest
    assert all(":" in qualifier for qualifier in rest), rest
    since = next((one.removeprefix("updated:>=") for one in rest if one.startswith("updated:>=")), "")
    found = [
        issue
        for issue in hub.issues.values()
        if "pull_request" not in issue
        and str(issue["updated_at"]) >= since
        and all(f" {term} " in f" {_words(str(issue['title']))} {_words(str(issue['body']))} " for term in terms)
    ]
    found.sort(key=lambda issue: (str(issue["updated_at"]), -cast("int", issue["number"])))
    status, items, links = _paged(hub, asked, found)
    body: Json = {"total_count": len(found), "incomplete_results": hub.incomplete, "items": items}
    return status, body, links


def _paged(hub: GitHub, asked: Asked, found: list[Json]) -> _Answered:
    query = dict(asked.request.query)
    size, page = int(query.get("per_page", "30")), int(query.pop("page", "1"))
    if (page - 1) * size > hub.most_offset or "after" in query:
        return 422, {"message": "Pagination with the page parameter is not supported for large datasets"}, {}
    last = max(-(-len(found) // size), 1)
    to = (
        {"prev": page - 1, "next": page + 1, "last": last}
        if page < last
        else {"prev": page - 1}
        if page == last
        else {}
    )
    path = asked.request.line.split(" ")[1]
    links = [
        f'<{hub.url}{path}?{urlencode({**query, "page": number}, quote_via=quote)}>; rel="{relation}"'
        for relation, number in to.items()
        if number
    ]
    return 200, found[(page - 1) * size : page * size], {"link": ", ".join(links)} if links else {}


def _get(hub: GitHub, asked: Asked) -> _Answered:
    return 200, hub.issues[asked.number], {}


def _create(hub: GitHub, asked: Asked) -> _Answered:
    fields = {name: value for name, value in asked.request.body.items() if name not in hub.ignores}
    return 201, hub.open(fields, asked.login, hub.time()), {}


def _change(hub: GitHub, asked: Asked) -> _Answered:
    issue, fields = hub.issues[asked.number], asked.request.body
    assert set(fields) <= {"labels", "assignees", "state", "state_reason"}
    made: Json = {name: value for name, value in fields.items() if name not in hub.ignores}
    if "labels" in made:
        made["labels"] = [{"name": name} for name in cast("list[str]", made["labels"])]
    if "assignees" in made:
        logins = cast("list[str]", made["assignees"])
        made["assignees"] = [{"login": login} for login in logins if login.lower() in ASSIGNABLE]
    issue.update(made)
    issue["updated_at"] = hub.time()
    return 200, issue, {}


def _comments(hub: GitHub, asked: Asked) -> _Answered:
    since = asked.request.query.get("since", "")
    return _paged(hub, asked, [said for said in hub.said[asked.number] if str(said["updated_at"]) >= since])


def _comment(hub: GitHub, asked: Asked) -> _Answered:
    return 201, hub.add(asked.number, str(asked.request.body["body"]), asked.login, "NONE"), {}


def _user(_: GitHub, asked: Asked) -> _Answered:
    return (403, {}, {}) if asked.login.endswith("[bot]") else (200, {"login": asked.login}, {})


def _assignee(_: GitHub, asked: Asked) -> _Answered:
    return (204, None, {}) if asked.name.lower() in ASSIGNABLE else (404, {}, {})


def _app(hub: GitHub, asked: Asked) -> _Answered:
    token = asked.request.headers.get("authorization", "").removeprefix("Bearer ")
    return (200, {"slug": "gatebook"}, {}) if hub.signed(token) else (401, {}, {})


def _installation(hub: GitHub, asked: Asked) -> _Answered:
    if not hub.signed(asked.request.headers.get("authorization", "").removeprefix("Bearer ")):
        return 401, {}, {}
    if asked.name != "34":
        return 404, {}, {}
    token = f"installed-{len(hub.tokens)}"
    hub.tokens[token] = APP_LOGIN
    until = datetime.fromtimestamp(hub.now + 3_600, UTC).isoformat()
    return 201, {"token": token, "expires_at": _utc(until), "permissions": hub.permissions}, {}


def _set(hub: GitHub, body: Json) -> None:
    for name, value in body.items():
        setattr(hub, name, tuple(cast("list[object]", value)) if name in ("key", "ignores") else value)


def _advance(hub: GitHub, body: Json) -> None:
    hub.now += cast("float", body["seconds"])


def _say(hub: GitHub, body: Json) -> None:
    hub.add(cast("int", body["number"]), str(body["text"]), str(body["login"]), str(body["association"]))


def _edit(hub: GitHub, body: Json) -> None:
    issue = hub.issues[cast("int", body["number"])]
    issue.update({"updated_at": hub.time(), **cast("Json", body["fields"])})


def _remove(hub: GitHub, body: Json) -> None:
    for number in cast("list[int]", body["numbers"]):
        del hub.issues[number]


def _pull_requests(hub: GitHub, body: Json) -> None:
    for _ in range(cast("int", body["count"])):
        hub.open({"title": "A change", "pull_request": {"url": "x"}}, "sam", str(body["created_at"]))


_TOLD: dict[str, Callable[[GitHub, Json], None]] = {
    "set": _set,
    "advance": _advance,
    "say": _say,
    "change": _edit,
    "remove": _remove,
    "pull_requests": _pull_requests,
}
_ROUTES: tuple[tuple[str, Callable[[GitHub, Asked], _Answered]], ...] = (
    (r"GET REPO/issues", _list),
    (r"POST REPO/issues", _create),
    (r"GET REPO/issues/(?P<number>\d+)", _get),
    (r"PATCH REPO/issues/(?P<number>\d+)", _change),
    (r"GET REPO/issues/(?P<number>\d+)/comments", _comments),
    (r"POST REPO/issues/(?P<number>\d+)/comments", _comment),
    (r"GET REPO/assignees/(?P<name>[^/]+)", _assignee),
    (r"GET /search/issues", _search),
    (r"GET /user", _user),
    (r"GET /app", _app),
    (r"POST /app/installations/(?P<name>\d+)/access_tokens", _installation),
)


def _matching(line: str) -> tuple[Callable[[GitHub, Asked], _Answered], str, int] | None:
    for pattern, operation in _ROUTES:
        found = re.fullmatch(pattern.replace("REPO", REPOSITORY), line)
        if found:
            given = found.groupdict()
            return operation, given.get("name", ""), int(given.get("number", "0"))
    return None


def _author(issue: Json) -> str:
    return str(cast("Json", issue["user"])["login"])


def _login(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name)


def _words(text: str) -> str:
    """Words as a search engine sees them: signs part them, apart from the low line."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _utc(text: str) -> str:
    """One form for every time, in whole seconds, so that texts sort as times do."""
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


if __name__ == "__main__":
    serve(GitHub())
