"""The audit log: what happened to requests, grants, switches, people and policy, as a chain of hashes.

An event is appended in the transaction of the change that it tells of: both are there, or neither. Its hash covers all
of it and the hash of the event before. It holds ids and hashes and never a text that somebody outside wrote.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from gatebook.approvals.models import Approval, ApprovalState, Reviewer
from gatebook.database.port import Row, Transaction
from gatebook.intents import Value, canonical, text_digest

SYSTEM = "gatebook"
"""The actor where nobody acts but the program: clocks, grants, and what makes a request void."""
POLICY = "policy"
"""The subject of the events about the policy's file."""
LOG = "audit"
"""The subject of the events about the log itself."""
NOTHING = "0" * 64
"""What the first event names as the hash before it."""
RESTORED = "log.restored"
"""The event of a database that was put back from a copy."""
COLUMNS = "seq, prev_hash, hash, actor, event, subject, at, body"

_LEAF = b"\0"
_EVENTS: dict[ApprovalState, str] = {
    "approved": "request.approved",
    "denied": "request.denied",
    "cancelled": "request.cancelled",
    "expired": "request.expired",
    "lapsed": "request.lapsed",
    "claimed": "grant.claimed",
    "used": "grant.used",
    "in_doubt": "grant.in_doubt",
    "pending": "request.reopened",
}
_CODE = re.compile(r"[a-z_]{1,40}")


class Event(Value):
    """One event as it stands in the log."""

    seq: int
    prev_hash: str
    hash: str
    actor: str
    event: str
    subject: str
    at: float
    body: str
    """RFC 8785 JSON."""


class Audit:
    """The log, inside one transaction. Transactions are serial: no two events follow the same one."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def record(self, event: str, *, actor: str, subject: str, body: Mapping[str, JsonValue]) -> None:
        """Append an event.

        Args:
            event: What happened, such as `request.made`.
            actor: Who did it: `person:...`, `agent:...` or `SYSTEM`.
            subject: The id of what it happened to.
            body: Ids, hashes and our own words; never a text from outside.

        Raises:
            InvalidArgumentsError: If the body has no canonical JSON form.
        """
        events, head = self._head()
        row: dict[str, str | int | float] = {
            "seq": events + 1,
            "prev_hash": head,
            "actor": actor,
            "event": event,
            "subject": subject,
            "at": round(self._tx.now, 6),
            "body": canonical(dict(body)).decode(),
        }
        self._tx.defer(
            """INSERT INTO audit_events (seq, prev_hash, hash, actor, event, subject, at, body)
               VALUES (:seq, :prev_hash, :hash, :actor, :event, :subject, :at, :body)""",
            hash=leaf_hash(row).hex(),
            **row,
        )

    def made(self, request: Approval) -> None:
        """Tell of a new request, or of one that a person's edit made."""
        body: dict[str, JsonValue] = {
            name: getattr(request, name)
            for name in ("kind", "server", "tool", "tool_sha256", "effect_key", "content_sha256", "fingerprint", "mode")
        }
        body |= {"tenant": request.tenant, "run_id": request.run_id, "risk": request.risk, "quorum": request.quorum}
        if request.edited_from:
            body |= {"edited_from": request.edited_from, "revision": request.revision}
        self.record(
            "request.edited" if request.edited_from else "request.made",
            actor=request.edited_by or request.principal,
            subject=request.approval_id,
            body=body,
        )

    def voted(self, request: Approval, reviewer: Reviewer, *, verdict: str, channel: str, reason: str) -> None:
        """Tell of a person's yes or no."""
        self.record(
            f"vote.{verdict}",
            actor=reviewer.person,
            subject=request.approval_id,
            body={
                "channel": channel,
                "fingerprint": request.fingerprint,
                "revision": request.revision,
                "roles": list(reviewer.roles),
                **_words(reason),
            },
        )

    def moved(self, approval_id: str, state: ApprovalState, *, reason: str = "", actor: str = SYSTEM) -> None:
        """Tell of a request's new state."""
        # A denial's reason is a person's, whatever it looks like; a code is the program's own word.
        ours = state != "denied" and _CODE.fullmatch(reason)
        self.record(_EVENTS[state], actor=actor, subject=approval_id, body={"why": reason} if ours else _words(reason))

    def ran_out(self, changed: Sequence[Row]) -> None:
        """Tell of requests that nobody decided, and of approvals that nobody used, in time."""
        for row in sorted(changed, key=lambda row: (str(row["state"]), str(row["approval_id"]))):
            self.moved(str(row["approval_id"]), "expired" if row["state"] == "expired" else "lapsed", reason="clock")

    def settled(self, approval_id: str, state: ApprovalState, *, reason: str = "") -> None:
        """Tell of the end of a claimed grant."""
        if state == "approved":
            self.record("grant.returned", actor=SYSTEM, subject=approval_id, body=_words(reason))
        else:
            self.moved(approval_id, state, reason=reason)

    def settled_unasked(self, marker: str, reviewer: Reviewer, *, channel: str, happened: bool, note: str) -> None:
        """Tell what a person found out about an effect that nobody had to approve."""
        body: dict[str, JsonValue] = {"channel": channel, "happened": happened, "roles": list(reviewer.roles)}
        self.record("effect.settled", actor=reviewer.person, subject=marker, body=body | _words(note))

    def switched(self, name: str, *, on: bool, person: str, reason: str = "") -> None:
        """Tell of a switch that a person turned."""
        self.record(f"switch.{'on' if on else 'off'}", actor=person, subject=name, body=_words(reason))

    def restored(self, *, person: str, signed: int, root: str) -> int:
        """Tell that the database was put back from a copy.

        Args:
            person: Who put it back.
            signed: Of how many events the last checkpoint told, 0 where there was none.
            root: The root of the tree over them.

        Returns:
            How many events the log had before this one.
        """
        events, head = self._head()
        body: dict[str, JsonValue] = {"events": events, "head": head, "signed": signed, "signed_root": root}
        self.record(RESTORED, actor=person, subject=LOG, body=body)
        return events

    def _head(self) -> tuple[int, str]:
        """Return how many events there are, and the hash of the last one."""
        last = self._tx.one("SELECT seq, hash FROM audit_events ORDER BY seq DESC LIMIT 1")
        return (int(last["seq"] or 0), str(last["hash"])) if last else (0, NOTHING)

    def saw_policy(self, sha256: str) -> bool:
        """Tell of a policy that is not the last one that was seen.

        Returns:
            Whether it was the last one; nothing is recorded then.
        """
        row = self._tx.one(
            "SELECT body FROM audit_events WHERE subject = :policy ORDER BY seq DESC LIMIT 1", policy=POLICY
        )
        last = str(json.loads(str(row["body"]))["to"]) if row else ""
        if last == sha256:
            return True
        self.record("policy.changed", actor=SYSTEM, subject=POLICY, body={"from": last, "to": sha256})
        return False

    def events(self, *, after: int = 0, limit: int = 1_000, since: float = 0.0) -> list[Event]:
        """Return events in their order, those behind a number and at or after a time."""
        rows = self._tx.all(
            f"""SELECT {COLUMNS} FROM audit_events WHERE seq > :after AND at >= :since
                ORDER BY seq LIMIT :limit""",  # noqa: S608 - constant
            after=after,
            since=since,
            limit=limit,
        )
        return [Event.model_validate(dict(row)) for row in rows]


def leaf_hash(row: Row) -> bytes:
    """Return the hash of an event: SHA-256 of 0x00 and its RFC 8785 form, which is a leaf's in RFC 6962."""
    return hashlib.sha256(_LEAF + entry(row)).digest()


def entry(row: Row) -> bytes:
    """Return the RFC 8785 form of an event.

    The body is put in as it was stored, for every bit of it to count. That is also much faster than to write it anew.
    """
    text = (
        f'{{"actor":{_quoted(row["actor"])},"at":{_number(row["at"])},"body":{row["body"]},'
        f'"event":{_quoted(row["event"])},"prev_hash":{_quoted(row["prev_hash"])},"seq":{row["seq"]},'
        f'"subject":{_quoted(row["subject"])}}}'
    )
    return text.encode("utf-8", "surrogatepass")


_quoted = json.JSONEncoder(ensure_ascii=False).encode
"""Strings as RFC 8785 writes them."""


def _number(value: object) -> str:
    """Return a time as RFC 8785 writes it; between 10^-6 and 10^16 Python differs in whole numbers only."""
    return repr(value).removesuffix(".0")


def _words(text: str) -> dict[str, JsonValue]:
    """Return what stands for somebody's words."""
    return {"reason_sha256": text_digest(text)} if text else {}
