"""The embedded desk: tickets in Gatebook's own database, behind the same port as the real ones.

Fenced: an operation and its marker are applied in one transaction, so a marker is applied at most once.
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import cast

from gatebook.clock import moment
from gatebook.database.port import Row, Transaction
from gatebook.runtime import Runtime
from gatebook_servers.tickets.desk import (
    Applied,
    Capabilities,
    Comment,
    NewTicket,
    Patch,
    Person,
    Role,
    Slice,
    Ticket,
    Visibility,
    Window,
    newest_from_customer,
)
from gatebook_servers.tickets.refusals import changed_since_read, customer_wrote_again, foreign_cursor, unknown_ref

PREFIX = "local:"
MAX_COMMENTS = 1_000
_SECONDS = re.compile(r"\d{1,12}(\.\d{1,9})?")


class LocalDesk:
    """Tickets in the database of `runtime`."""

    account = "local"
    capabilities = Capabilities(internal_notes=True, fenced=True)

    def __init__(self, runtime: Runtime) -> None:
        self._transact = runtime.transact

    async def page(self, window: Window, *, position: str, limit: int) -> Slice:
        # A closed window is on the creation time and frozen; an open one follows changes.
        column = "created_at" if window.until else "updated_at"
        at, last = _position(position)
        since = window.since.timestamp() if window.since else 0.0
        until = window.until.timestamp() if window.until else float("inf")
        rows = await self._transact(
            lambda tx: tx.all(
                f"""SELECT * FROM desk_tickets
                    WHERE {column} >= :since AND {column} < :until AND (:status = '' OR status = :status)
                      AND ({column} > :at OR ({column} = :at AND ticket_id > :last))
                    ORDER BY {column}, ticket_id LIMIT :limit""",  # noqa: S608 - one of two constants
                since=since,
                until=until,
                status=window.status or "",
                at=at,
                last=last,
                limit=limit + 1,
            )
        )
        return _slice(rows, limit, column, position)

    async def search(self, text: str, *, position: str, limit: int) -> Slice:
        words = text.split()
        if not words:
            return Slice(tickets=(), position=position, complete=True)
        at, last = _position(position)
        where = " AND ".join(
            f"(LOWER(subject) LIKE LOWER(:w{n}) ESCAPE '!' OR LOWER(body) LIKE LOWER(:w{n}) ESCAPE '!')"
            for n in range(len(words))
        )
        rows = await self._transact(
            lambda tx: tx.all(
                f"""SELECT * FROM desk_tickets
                    WHERE {where} AND (updated_at > :at OR (updated_at = :at AND ticket_id > :last))
                    ORDER BY updated_at, ticket_id LIMIT :limit""",  # noqa: S608 - the words are parameters
                at=at,
                last=last,
                limit=limit + 1,
                **{f"w{n}": f"%{_literal(word)}%" for n, word in enumerate(words)},
            )
        )
        return _slice(rows, limit, "updated_at", position)

    async def get(self, ref: str) -> Ticket:
        return await self._transact(lambda tx: _ticket(_row(tx, ref)))

    async def comments(self, ref: str) -> Sequence[Comment]:
        return await self._transact(lambda tx: _comments(tx, _row(tx, ref)))

    async def create(self, new: NewTicket, *, marker: str) -> Applied:
        def insert(tx: Transaction) -> Applied:
            row = tx.one(
                """SELECT COALESCE(MAX(CAST(number AS BIGINT)), 0) + 1 AS n
                   FROM (SELECT SUBSTR(ticket_id, LENGTH(project) + 2) AS number
                         FROM desk_tickets WHERE project = :project) AS numbered
                   WHERE LTRIM(number, '0123456789') = '' AND LENGTH(number) BETWEEN 1 AND 15""",
                project=new.project,
            )
            ticket_id = f"{new.project}-{row['n'] if row else 1}"
            tx.execute(
                """INSERT INTO desk_tickets (ticket_id, project, subject, body, status, priority, kind,
                     requester_name, requester_email, channel, assignee, tags, created_at, updated_at, naive_time,
                     version, source_sha256, marker)
                   VALUES (:id, :project, :subject, :body, 'new', :priority, '', '', '', 'gatebook', '', '[]', :now,
                     :now, 0, 1, '', :marker)""",
                id=ticket_id,
                project=new.project,
                subject=new.title,
                body=new.description,
                priority=new.priority,
                now=tx.now,
                marker=marker,
            )
            return _applied(tx, ticket_id, operation_id=ticket_id, version=1)

        return await self._once(marker, insert)

    async def update(self, ref: str, patch: Patch, *, base_version: str, marker: str) -> Applied:
        def change(tx: Transaction) -> Applied:
            row = _row(tx, ref)
            if str(row["version"]) != base_version:
                raise changed_since_read(str(row["version"]))
            tags = [tag for tag in json.loads(str(row["tags"])) if tag not in patch.remove_tags]
            tags += [tag for tag in patch.add_tags if tag not in tags]
            tx.execute(
                """UPDATE desk_tickets SET status = :status, priority = :priority, assignee = :assignee, tags = :tags,
                     updated_at = :now, version = version + 1 WHERE ticket_id = :id""",
                status=patch.status or row["status"],
                priority=patch.priority or row["priority"],
                assignee=row["assignee"] if patch.assignee is None else patch.assignee,
                tags=json.dumps(tags),
                now=tx.now,
                id=row["ticket_id"],
            )
            return _applied(tx, str(row["ticket_id"]), operation_id=marker, version=_version(row) + 1)

        return await self._once(marker, change)

    async def comment(self, ref: str, body: str, *, visibility: Visibility, head: str | None, marker: str) -> Applied:
        def add(tx: Transaction) -> Applied:
            row = _row(tx, ref)
            if head is not None and newest_from_customer(_comments(tx, row)) != head:
                raise customer_wrote_again()
            tx.execute(
                """INSERT INTO desk_comments (ticket_id, comment_id, author_name, author_role, public, body,
                     created_at, marker)
                   VALUES (:ticket, :id, 'Gatebook', 'bot', :public, :body, :now, :marker)""",
                ticket=row["ticket_id"],
                # Nothing imported later can have this id and be taken for the same message.
                id=marker,
                public=int(visibility == "public"),
                body=body,
                now=tx.now,
                marker=marker,
            )
            tx.execute(
                "UPDATE desk_tickets SET updated_at = :now, version = version + 1 WHERE ticket_id = :id",
                now=tx.now,
                id=row["ticket_id"],
            )
            return _applied(tx, str(row["ticket_id"]), operation_id=marker, version=_version(row) + 1)

        return await self._once(marker, add)

    async def find_operation(self, ref: str, marker: str) -> Applied | None:
        del ref
        return await self._transact(lambda tx: _found(tx, marker))

    async def _once(self, marker: str, apply: Callable[[Transaction], Applied]) -> Applied:
        """Apply an operation together with its marker; a marker that is there already was applied before."""

        def inside(tx: Transaction) -> Applied:
            known = _found(tx, marker)
            if known is not None:
                return known
            applied = apply(tx)
            tx.execute(
                """INSERT INTO desk_operations (marker, ticket_id, result, applied_at)
                   VALUES (:marker, :ticket, :result, :now)""",
                marker=marker,
                ticket=applied.ref.removeprefix(PREFIX),
                result=applied.model_dump_json(),
                now=tx.now,
            )
            return applied

        return await self._transact(inside)


def _found(tx: Transaction, marker: str) -> Applied | None:
    row = tx.one("SELECT result FROM desk_operations WHERE marker = :marker", marker=marker)
    return Applied.model_validate_json(str(row["result"])) if row else None


def _applied(tx: Transaction, ticket_id: str, *, operation_id: str, version: int) -> Applied:
    return Applied(ref=PREFIX + ticket_id, operation_id=operation_id, version=str(version), at=moment(tx.now))


def _row(tx: Transaction, ref: str) -> Row:
    # Exactly one ref for a ticket: it is part of every effect's identity.
    ticket_id = ref.removeprefix(PREFIX) if ref.startswith(PREFIX) else ""
    row = tx.one("SELECT * FROM desk_tickets WHERE ticket_id = :id", id=ticket_id)
    if row is None:
        raise unknown_ref()
    return row


def _version(row: Row) -> int:
    return int(row["version"] or 0)


def _ticket(row: Row) -> Ticket:
    return Ticket.model_validate(
        {
            "ref": f"{PREFIX}{row['ticket_id']}",
            "subject": row["subject"],
            "body": row["body"],
            "status": row["status"],
            "priority": row["priority"] or None,
            "kind": row["kind"],
            "requester": Person(name=str(row["requester_name"]), email=str(row["requester_email"]), role="customer"),
            "channel": row["channel"],
            "assignee": row["assignee"],
            "tags": tuple(json.loads(str(row["tags"]))),
            "created_at": moment(_seconds(row["created_at"])),
            "updated_at": moment(_seconds(row["updated_at"])),
            "naive_time": bool(row["naive_time"]),
            "version": str(row["version"]),
        }
    )


def _comments(tx: Transaction, ticket: Row) -> list[Comment]:
    rows = tx.all(
        """SELECT * FROM desk_comments WHERE ticket_id = :id
           ORDER BY created_at DESC, comment_id DESC LIMIT :most""",
        id=ticket["ticket_id"],
        most=MAX_COMMENTS,
    )
    return [
        Comment(
            comment_id=str(row["comment_id"]),
            author=Person(name=str(row["author_name"]), role=cast("Role", row["author_role"])),
            visibility="public" if row["public"] else "internal",
            body=str(row["body"]),
            created_at=moment(_seconds(row["created_at"])),
            ours=row["author_role"] != "customer",
        )
        for row in reversed(rows)
    ]


def _slice(rows: list[Row], limit: int, column: str, position: str) -> Slice:
    shown = rows[:limit]
    last = shown[-1] if shown else None
    return Slice(
        tickets=tuple(_ticket(row) for row in shown),
        position=f"{_seconds(last[column])!r}|{last['ticket_id']}" if last else position,
        complete=len(rows) <= limit,
    )


def _position(position: str) -> tuple[float, str]:
    at, _, last = position.partition("|")
    if not position:
        return float("-inf"), ""
    if not _SECONDS.fullmatch(at) or not last:
        raise foreign_cursor()
    return float(at), last


def _seconds(value: object) -> float:
    assert isinstance(value, (int, float))
    return float(value)


def _literal(word: str) -> str:
    return word.replace("!", "!!").replace("%", "!%").replace("_", "!_")
