"""Import tickets into the embedded desk from JSONL or CSV, streaming. The same file twice changes nothing."""

import csv
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from gatebook.database.port import Database, Transaction
from gatebook.errors import ConfigurationError
from gatebook.intents import Value, digest
from gatebook_servers.tickets.desk import Role, Status

MAX_LINE_CHARS = 1_000_000
BATCH = 200


def _listed(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class _Row(BaseModel):
    # Exports carry fields that we do not keep.
    model_config = ConfigDict(frozen=True, extra="ignore")


class ImportedPerson(_Row):
    """Who wrote."""

    name: str = Field(default="", max_length=200)
    email: str = Field(default="", max_length=320)
    role: Role = "customer"


class ImportedComment(_Row):
    """A message of an imported ticket."""

    id: str = Field(min_length=1, max_length=60)
    author: ImportedPerson = ImportedPerson()
    public: bool = True
    body: str = Field(max_length=400_000)
    created_at: datetime


class ImportedTicket(_Row):
    """One row of the file. `tags` may be a list or a comma-separated text; `requester_name` and `_email` serve CSV."""

    id: str = Field(min_length=1, max_length=60, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    subject: str = Field(default="", max_length=2_000)
    body: str = Field(default="", max_length=400_000)
    created_at: datetime
    status: Status = "new"
    channel: str = Field(default="", max_length=60)
    requester: ImportedPerson = ImportedPerson()
    requester_name: str = Field(default="", max_length=200)
    requester_email: str = Field(default="", max_length=320)
    tags: Annotated[list[str], BeforeValidator(_listed)] = []
    comments: list[ImportedComment] = []


class BadRow(Value):
    """A row that was skipped, and why. Never its content."""

    line: int
    problem: str


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

    Args:
        database: The one database.
        path: The file.
        zone: The zone of times that name none.
        strict: Import nothing when any row is bad.

    Raises:
        ConfigurationError: If the file cannot be read as text.
    """
    if strict:
        bad = tuple(row for _, row in _rows(path) if isinstance(row, BadRow))
        if bad:
            return ImportReport(read=0, added=0, changed=0, unchanged=0, naive_times=0, bad=bad)
    counts = {"added": 0, "changed": 0, "unchanged": 0}
    read = naive = 0
    skipped: list[BadRow] = []
    batch: list[ImportedTicket] = []
    for _, row in _rows(path):
        read += 1
        if isinstance(row, BadRow):
            skipped.append(row)
            continue
        naive += row.created_at.tzinfo is None
        batch.append(row)
        if len(batch) == BATCH:
            _store(database, batch, zone, counts)
            batch = []
    _store(database, batch, zone, counts)
    return ImportReport(read=read, naive_times=naive, bad=tuple(skipped), **counts)


def _rows(path: Path) -> Iterator[tuple[int, ImportedTicket | BadRow]]:
    try:
        with path.open(encoding="utf-8-sig", newline="" if path.suffix.lower() == ".csv" else None) as file:
            if path.suffix.lower() == ".csv":
                csv.field_size_limit(MAX_LINE_CHARS)
                reader = csv.DictReader(file)
                for record in reader:
                    yield reader.line_num, _validated(reader.line_num, {k: v for k, v in record.items() if k and v})
                return
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, _parsed(number, line)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(
            "the file cannot be read as UTF-8 text.", next_step="Give a JSONL or CSV file that exists."
        ) from error


def _parsed(number: int, line: str) -> ImportedTicket | BadRow:
    if len(line) > MAX_LINE_CHARS:
        return BadRow(line=number, problem=f"longer than {MAX_LINE_CHARS} characters")
    try:
        return _validated(number, json.loads(line))
    except (ValueError, RecursionError):
        return BadRow(line=number, problem="not a JSON object")


def _validated(number: int, record: object) -> ImportedTicket | BadRow:
    try:
        return ImportedTicket.model_validate(record)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in fault["loc"]) or "row"
        return BadRow(line=number, problem=f"{where}: {fault['msg']}")


def _store(database: Database, batch: list[ImportedTicket], zone: ZoneInfo, counts: dict[str, int]) -> None:
    if not batch:
        return
    with database.transaction() as tx:
        for row in batch:
            counts[_upsert(tx, row, zone)] += 1


def _upsert(tx: Transaction, row: ImportedTicket, zone: ZoneInfo) -> str:
    source = digest(row.model_dump(mode="json"))
    known = tx.one("SELECT source_sha256 FROM desk_tickets WHERE ticket_id = :id", id=row.id)
    if known is not None and known["source_sha256"] == source:
        return "unchanged"
    tx.execute(
        """INSERT INTO desk_tickets (ticket_id, project, subject, body, status, priority, kind, requester_name,
             requester_email, channel, assignee, tags, created_at, updated_at, naive_time, version, source_sha256, marker)
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
        tx.execute(
            """INSERT INTO desk_comments (ticket_id, comment_id, author_name, author_role, public, body, created_at,
                 marker)
               VALUES (:ticket, :id, :name, :role, :public, :body, :created, '')
               ON CONFLICT (ticket_id, comment_id) DO NOTHING""",
            ticket=row.id,
            id=comment.id,
            name=comment.author.name,
            role=comment.author.role,
            public=int(comment.public),
            body=comment.body,
            created=_seconds(comment.created_at, zone),
        )
    return "added" if known is None else "changed"


def _seconds(value: datetime, zone: ZoneInfo) -> float:
    return (value if value.tzinfo else value.replace(tzinfo=zone)).timestamp()
