"""Puts a copy of the embedded database back in its place."""

import errno
import os
import shutil
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import apsw

from gatebook.database.migrations import newest, other_schema
from gatebook.database.sqlite import DIALECT
from gatebook.errors import ConfigurationError, StorageFullError

_LOGS = ("-wal", "-shm", "-journal")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def put_back(copy: Path, path: Path) -> Path | None:
    """Put a copy that `back_up` wrote in the place of a database; where the one that was there went.

    The copy is whole and on the disk before it takes the place, and there is no moment without a database in it.

    Raises:
        ConfigurationError: If the copy is not there, is damaged or no database of this suite, if another process uses
            the database, or the copy cannot be put there. What was there stays as it was.
        StorageFullError: If there is no room for the copy beside what is there, which stays as it was.
    """
    with _placing():
        _require_sound(copy)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = _written_beside(path, copy)
        try:
            with _kept_aside(path) as aside:
                fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)
    return aside


@contextmanager
def _placing() -> Generator[None]:
    """Turn what a file system refuses into ours."""
    try:
        yield
    except (OSError, apsw.FullError, apsw.IOError) as error:
        if not isinstance(error, OSError) or error.errno in _NO_ROOM:
            raise StorageFullError(
                "there is no room for the copy; the database is as it was.",
                next_step="Free space, then repeat the command.",
            ) from error
        raise ConfigurationError(
            "the copy cannot be put in place; the database is as it was.",
            next_step="Check that the copy is readable and GATEBOOK_HOME a writable directory.",
        ) from error


def _written_beside(path: Path, copy: Path) -> Path:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    fresh = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file, copy.open("rb") as source:
            shutil.copyfileobj(source, file)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        fresh.unlink()
        raise
    return fresh


@contextmanager
def _kept_aside(path: Path) -> Generator[Path | None]:
    """Keep what is there under a second name, unless the block fails; None where nothing is there.

    A log that a damaged or deleted database left goes with it: SQLite would read it into the copy.
    """
    aside = path.with_name(f"{path.name}.before-{time.strftime('%Y%m%dT%H%M%S')}")
    there = path.exists()
    if there:
        _require_unused(path)
        aside.hardlink_to(path)
    logs = [(path.with_name(path.name + end), aside.with_name(aside.name + end)) for end in _LOGS]
    logs = [(log, kept) for log, kept in logs if log.exists()]
    for log, kept in logs:
        log.rename(kept)
    try:
        yield aside if there else None
    except OSError:
        for log, kept in logs:
            kept.rename(log)
        if there:
            aside.unlink()
        raise


def _require_sound(copy: Path) -> None:
    if not copy.is_file():
        raise ConfigurationError(
            "the copy is not there, or is no file.", next_step="Name a file that `gatebook backup` wrote."
        )
    try:
        connection = apsw.Connection(str(copy), flags=apsw.SQLITE_OPEN_READONLY)
        sound = _value(connection, "PRAGMA integrity_check") == "ok"
        schema = int(_value(connection, "SELECT schema_version FROM suite_lock") or 0)
        connection.close()
    except apsw.CantOpenError as error:
        raise ConfigurationError("the copy cannot be opened.", next_step="Make it readable for you.") from error
    except apsw.Error:
        sound, schema = False, 0
    if not sound:
        raise ConfigurationError("the copy is damaged, or is no copy of this suite.", next_step="Take another one.")
    if schema > newest(DIALECT):
        raise other_schema(schema, known=newest(DIALECT))


def _require_unused(path: Path) -> None:
    """Leave WAL, which works only where nobody else has the file open, and puts everything into the one file."""
    connection = apsw.Connection(str(path))
    try:
        alone = _value(connection, "PRAGMA journal_mode = DELETE") == "delete"
    except (apsw.NotADBError, apsw.CorruptError):
        return  # What is damaged nobody works with; it is why a copy is put back.
    except apsw.BusyError:
        alone = False
    finally:
        connection.close()
    if not alone:
        raise ConfigurationError(
            "another process uses the database.", next_step="End every server, console and worker first."
        )


def _value(connection: apsw.Connection, sql: str) -> int | str | None:
    # apsw's stubs leave the type of a bindable buffer open.
    row = connection.execute(sql).fetchone()  # pyright: ignore[reportUnknownMemberType]
    return cast("int | str", row[0]) if row else None
