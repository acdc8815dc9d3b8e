"""What a row of an import file holds, and how JSONL and CSV are read: a line at a time, a bad row with its number."""

import csv
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, TextIO

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from gatebook.errors import ConfigurationError
from gatebook.intents import Value
from gatebook_servers.tickets.desk import Role, Status

MAX_LINE_CHARS = 1_000_000
_YEARS = range(1971, 9_999)
_NEEDED_COLUMNS = {"id", "created_at"}


def _listed(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _usable(moment: datetime) -> datetime:
    # Beyond these years a time has no form in every zone, and one row would break every list it is in.
    if moment.year not in _YEARS:
        raise ValueError("the year is out of range")
    return moment


Moment = Annotated[datetime, AfterValidator(_usable)]


class _Row(BaseModel):
    # Exports carry fields that we do not keep.
    model_config = ConfigDict(frozen=True, extra="ignore")

    @field_validator("*")
    @classmethod
    def _storable(cls, value: object) -> object:
        if isinstance(value, str) and "\0" in value:
            raise ValueError("there is U+0000 in it")
        return value


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
    created_at: Moment


class ImportedTicket(_Row):
    """One row of the file. `tags` may be a list or a comma-separated text; `requester_name` and `_email` serve CSV."""

    id: str = Field(min_length=1, max_length=60, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    subject: str = Field(default="", max_length=2_000)
    body: str = Field(default="", max_length=400_000)
    created_at: Moment
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


def read_rows(path: Path) -> Iterator[ImportedTicket | BadRow]:
    """Yield each row of a `.csv`, or of anything else as JSONL. Memory does not grow with the file.

    Raises:
        ConfigurationError: If the file cannot be opened, or a CSV's first line names no usable columns.
    """
    is_csv = path.suffix.lower() == ".csv"
    try:
        # Bytes that are no UTF-8 become surrogates, which no field accepts: one bad row instead of an end.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="" if is_csv else None) as file:
            yield from _csv(_Lines(file)) if is_csv else _jsonl(_Lines(file))
    except OSError as error:
        raise ConfigurationError(
            "the file cannot be read.", next_step="Give a JSONL or CSV file that exists."
        ) from error


class _Lines:
    """The lines of a file, none longer than the limit."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.number = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._file.readline(MAX_LINE_CHARS + 1)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) > MAX_LINE_CHARS and not line.endswith("\n"):
            while (rest := self._file.readline(MAX_LINE_CHARS)) and not rest.endswith("\n"):
                pass
            # The csv module's own error, so that a reader above drops the record it was in and can go on.
            raise csv.Error
        return line


def _jsonl(lines: _Lines) -> Iterator[ImportedTicket | BadRow]:
    while True:
        try:
            line = next(lines)
        except StopIteration:
            return
        except csv.Error:
            yield _too_long(lines)
        else:
            if line.strip():
                yield _parsed(lines.number, line)


def _csv(lines: _Lines) -> Iterator[ImportedTicket | BadRow]:
    csv.field_size_limit(MAX_LINE_CHARS)
    reader = csv.reader(lines, strict=True)
    columns = _columns(reader)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield BadRow(line=lines.number, problem=f"not CSV, or longer than {MAX_LINE_CHARS} characters")
        else:
            if cells:
                record = {column: cell for column, cell in zip(columns, cells, strict=False) if column and cell}
                yield _validated(lines.number, record)


def _columns(reader: Iterator[list[str]]) -> list[str]:
    try:
        columns = next(reader)
    except (StopIteration, csv.Error):
        columns = []
    missing = _NEEDED_COLUMNS.difference(columns)
    if missing:
        raise ConfigurationError(
            f"the first line names no column {' and no '.join(sorted(missing))}.",
            next_step="Begin a CSV file with the names of its columns, separated by commas.",
        )
    return columns


def _parsed(number: int, line: str) -> ImportedTicket | BadRow:
    try:
        record: object = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    return _validated(number, record)


def _validated(number: int, record: object) -> ImportedTicket | BadRow:
    try:
        return ImportedTicket.model_validate(record)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        return BadRow(line=number, problem=f"{where}: {fault['msg']}" if where else "not a JSON object")


def _too_long(lines: _Lines) -> BadRow:
    return BadRow(line=lines.number, problem=f"longer than {MAX_LINE_CHARS} characters")
