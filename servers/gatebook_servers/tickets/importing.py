"""Import tickets into the embedded desk from JSONL or CSV, streaming. The same file twice changes nothing."""

import json
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from gatebook.database.port import Database, Transaction
from gatebook.errors import ConfigurationError
from gatebook.intents import Value, text_digest
from gatebook_servers.tickets.rows import BadRow, ImportedComment, ImportedTicket, read_rows

BATCH = 200


class ImportReport(Value):
    """What an import did."""

    read: int
    added: int
    changed: int
    unchanged: int
    naive_times: int
    bad: tuple[BadRow, ...]


def import_tickets(database: Database, path: Path, *, zone: ZoneInfo, strict: bool = False) -> ImportReport:
    """Read `path` (`.csv`, anything else is JSONL) into the embedded desk.

    A row that changed updates texts and requester and adds its new messages. Status and tags stay as they are here:
    once a ticket is in the desk, its fields are the desk's.

    Args:
        database: The one database.
        path: The file.
        zone: The zone of times that name none.
        strict: Import nothing when any row is bad.

    Raises:
        ConfigurationError: If the file cannot be read or holds no rows.
    """
    if strict:
        bad = tuple(row for row in read_rows(path) if isinstance(row, BadRow))
        if bad:
            return ImportReport(read=0, added=0, changed=0, unchanged=0, naive_times=0, bad=bad)
    counts = {"added": 0, "changed": 0, "unchanged": 0}
    read = naive = 0
    skipped: list[BadRow] = []
    batch: list[ImportedTicket] = []
    for row in read_rows(path):
        read += 1
        if isinstance(row, BadRow):
            skipped.append(row)
            continue
        naive += row.created_at.tzinfo is None
        batch.append(row)
        if len(batch) == BATCH:
            _store(database, batch, zone, counts)
            batch = []
    if not read:
        raise ConfigurationError("the file holds no rows.", next_step="Check how it was exported.")
    _store(database, batch, zone, counts)
    return ImportReport(read=read, naive_times=naive, bad=tuple(skipped), **counts)


def _store(database: Database, batch: list[ImportedTicket], zone: ZoneInfo, counts: dict[str, int]) -> None:
    if not batch:
        return
    with database.transaction() as tx:
        for row in batch:
            counts[_upsert(tx, row, zone)] += 1


def _upsert(tx: Transaction, row: ImportedTicket, zone: ZoneInfo) -> str:
    source = text_digest(json.dumps(row.model_dump(mode="json"), sort_keys=True))
    known = tx.one("SELECT source_sha256 FROM desk_tickets WHERE ticket_id = :id", id=row.id)
    if known is not None and known["source_sha256"] == source:
        return "unchanged"
    tx.execute(
        """INSERT INTO desk_tickets (ticket_id, project, subject, body, status, priority, kind, requester_name,
             requester_email, channel, assignee, tags, created_at, updated_at, naive_time, version, source_sha256,
             marker)
           VALUES (:id, :project, :subject, :body, :status, '', '', :name, :email, :channel, '', :tags, :created,
             :created, :naive, 1, :source, '')
           ON CONFLICT (ticket_id) DO UPDATE SET subject = excluded.subject, body = excluded.body,
             requester_name = excluded.requester_name, requester_email = excluded.requester_email,
             channel = excluded.channel, updated_at = :now, version = desk_tickets.version + 1,
             source_sha256 = excluded.source_sha256""",
        id=row.id,
        project=row.id.partition("-")[0],
        subject=row.subject,
        body=row.body,
        status=row.status,
        name=row.requester.name or row.requester_name,
        email=row.requester.email or row.requester_email,
        channel=row.channel,
        tags=json.dumps(row.tags),
        created=_seconds(row.created_at, zone),
        naive=int(row.created_at.tzinfo is None),
        source=source,
        now=tx.now,
    )
    for comment in row.comments:
        _add_comment(tx, row.id, comment, zone)
    return "added" if known is None else "changed"


def _add_comment(tx: Transaction, ticket_id: str, comment: ImportedComment, zone: ZoneInfo) -> None:
    tx.execute(
        """INSERT INTO desk_comments (ticket_id, comment_id, author_name, author_role, public, body, created_at, marker)
           VALUES (:ticket, :id, :name, :role, :public, :body, :created, '')
           ON CONFLICT (ticket_id, comment_id) DO NOTHING""",
        ticket=ticket_id,
        id=comment.id,
        name=comment.author.name,
        role=comment.author.role,
        public=int(comment.public),
        body=comment.body,
        created=_seconds(comment.created_at, zone),
    )


def _seconds(value: datetime, zone: ZoneInfo) -> float:
    return (value if value.tzinfo else value.replace(tzinfo=zone)).timestamp()
