"""The embedded database: one SQLite file, shared by every process of the machine.

apsw brings a SQLite that has the fix for the WAL-reset corruption (SQLite 3.51.3, 2026-03-13), which the interpreters'
own `sqlite3` mostly lack. Every transaction begins IMMEDIATE: a deferred one that later writes fails at once with
SQLITE_BUSY whatever the timeout. `synchronous=FULL`: an acknowledged commit survives a power cut.
"""

import math
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import apsw

from gatebook.clock import Clock, Evenness, SystemClock
from gatebook.database.filesystem import kind_of, risk_of
from gatebook.database.migrations import LOCK_TABLE, newest, other_schema, upgrade
from gatebook.database.port import Row, Transaction, Value, Watch, require_storable
from gatebook.database.sqlite_watch import SqliteWatch
from gatebook.errors import ConfigurationError, StorageFullError, StoreBusyError

BUSY_MS = 10_000
"""Longest wait for another process's transaction, within one call's deadline."""

DIALECT = "sqlite"
_PRAGMAS = ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "temp_store = MEMORY", "mmap_size = 0")


class SqliteDatabase:
    """A connection to the file, used by one thread at a time.

    Args:
        path: The file; its directory is made with mode 0700, the file with 0600.
        clock: Where the transactions' time comes from.

    Raises:
        ConfigurationError: If the file belongs to a newer program or cannot be opened.
    """

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._evenness = Evenness()
        self._lock = Lock()
        self._path = path
        self._schema = newest(DIALECT)
        self._durable = True
        self._boot_began = 0.0
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._connection = apsw.Connection(str(path))
        except (OSError, apsw.Error) as error:
            raise ConfigurationError(
                "the database cannot be opened.", next_step="Check that GATEBOOK_HOME is a writable directory."
            ) from error
        self._connection.set_busy_timeout(BUSY_MS)
        # Or else a statement is prepared anew for every value of a parameter that could choose a partial index.
        self._connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        with _translated():
            for pragma in _PRAGMAS:
                _run(self._connection, f"PRAGMA {pragma}")
            self._migrate()
            self._boot_began = self._beginning_of_boot()

    def describe(self) -> str:
        return f"SQLite {apsw.sqlite_lib_version()}, {self._path}, schema {self._schema}"

    def back_up(self, file: Path) -> None:
        try:
            # SQLite fills an empty file; made here, it is nobody else's to read.
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except OSError as error:
            raise ConfigurationError(
                "the copy cannot be written, or is there already.", next_step="Name a new file."
            ) from error
        with self._lock, _translated():
            _run(self._connection, "VACUUM INTO :file", {"file": str(file)})
        with file.open("rb+") as copy:
            os.fsync(copy.fileno())

    async def call(self, function: str, /, **parameters: Value) -> None:
        del function, parameters

    async def watch(self) -> Watch:
        with _translated():
            return SqliteWatch(self._path)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def risks(self) -> list[str]:
        risk = risk_of(kind_of(self._path.parent))
        return [risk] if risk else []

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Generator[Transaction]:
        with self._begun(durable=durable) as transaction:
            self._require_schema(transaction)
            yield transaction

    @contextmanager
    def at_once(self, *, writes: bool = False, durable: bool = True) -> Generator[Transaction | None]:
        # Whoever writes in this process holds the lock until its commit is on the disk.
        if not self._lock.acquire(blocking=False):
            yield None
            return
        try:
            with _translated():
                transaction = self._begins(writes=writes, durable=durable)
                if transaction is None:
                    yield None
                    return
                with self._ended(kept=writes):
                    yield transaction
        finally:
            self._lock.release()

    def _begins(self, *, writes: bool, durable: bool) -> "_SqliteTransaction | None":
        """Begin a transaction; None if another process is in the way right now."""
        if writes:
            self._last(durable=durable)
        self._connection.set_busy_timeout(0)
        try:
            _run(self._connection, "BEGIN IMMEDIATE" if writes else "BEGIN")
            transaction = self._transaction()
            # The first look takes the snapshot.
            self._require_schema(transaction)
        except BaseException as error:
            if self._connection.in_transaction:
                _run(self._connection, "ROLLBACK")
            if isinstance(error, apsw.BusyError):
                return None
            raise
        finally:
            self._connection.set_busy_timeout(BUSY_MS)
        return transaction

    @contextmanager
    def _begun(self, *, durable: bool = True) -> Generator["_SqliteTransaction"]:
        with self._lock, _translated():
            self._last(durable=durable)
            _run(self._connection, "BEGIN IMMEDIATE")
            with self._ended(kept=True):
                yield self._transaction()

    @contextmanager
    def _ended(self, *, kept: bool) -> Generator[None]:
        """End the transaction behind the block; what a block did that raised, or only read, is not kept."""
        try:
            yield
            _run(self._connection, "COMMIT" if kept else "ROLLBACK")
        except BaseException:
            if self._connection.in_transaction:
                _run(self._connection, "ROLLBACK")
            raise

    def _last(self, *, durable: bool) -> None:
        """Choose whether commits wait for the disk."""
        if durable is not self._durable:
            _run(self._connection, f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._durable = durable

    def _transaction(self) -> "_SqliteTransaction":
        steady = self._clock.steady()
        even_s = math.inf if steady.boot else self._evenness.seconds(steady.seconds)
        return _SqliteTransaction(self._connection, self._clock.now(), self._boot_began + steady.seconds, even_s)

    def _require_schema(self, transaction: "_SqliteTransaction") -> None:
        present = transaction.schema()
        if present != self._schema:
            raise other_schema(present, known=self._schema)

    def _migrate(self) -> None:
        # Most starts find the schema in place and need no write lock.
        if self._has_lock_table() and _SqliteTransaction(self._connection, 0, 0).schema() == self._schema:
            return
        with self._begun() as transaction:
            if not self._has_lock_table():
                for statement in LOCK_TABLE:
                    transaction.execute(statement)
            upgrade(transaction, present=transaction.schema())

    def _beginning_of_boot(self) -> float:
        """Return when this boot began, the same for all its processes, wherever the clock was set since."""
        steady = self._clock.steady()
        if not steady.boot:
            return 0.0
        began = self._known_beginning(steady.boot)
        if began is not None:
            return began
        with self._begun() as transaction:
            transaction.execute("DELETE FROM boots WHERE boot <> :boot", boot=steady.boot)
            transaction.execute(
                "INSERT INTO boots (boot, began_at) VALUES (:boot, :began) ON CONFLICT (boot) DO NOTHING",
                boot=steady.boot,
                began=self._clock.now() - steady.seconds,
            )
        return self._known_beginning(steady.boot) or 0.0

    def _known_beginning(self, boot: str) -> float | None:
        row = _run(self._connection, "SELECT began_at FROM boots WHERE boot = :boot", {"boot": boot}).fetchone()
        return float(row[0]) if row else None

    def _has_lock_table(self) -> bool:
        found = _run(self._connection, "SELECT 1 FROM sqlite_master WHERE name = 'suite_lock'")
        return found.fetchone() is not None


class _SqliteTransaction:
    dialect = DIALECT

    def __init__(self, connection: apsw.Connection, now: float, steady: float, even_s: float = math.inf) -> None:
        self._connection = connection
        self._now = now
        self._steady = steady
        self._even_s = even_s

    @property
    def now(self) -> float:
        return self._now

    @property
    def steady(self) -> float:
        return self._steady

    @property
    def even_s(self) -> float:
        return self._even_s

    def schema(self) -> int:
        row = _run(self._connection, "SELECT schema_version FROM suite_lock").fetchone()
        return int(row[0]) if row else 0

    def execute(self, sql: str, /, **parameters: Value) -> int:
        _run(self._connection, sql, parameters)
        return self._connection.changes()

    def defer(self, sql: str, /, **parameters: Value) -> None:
        _run(self._connection, sql, parameters)

    def conclude(self, sql: str, /, *behind: str, **parameters: Value) -> Row | None:
        parameters["now"] = self._now
        row = self.one(sql, **parameters)
        for statement in behind:
            self.defer(statement, **parameters)
        return row

    def all(self, sql: str, /, **parameters: Value) -> list[Row]:
        cursor = _run(self._connection, sql, parameters)
        cursor.row_trace = _as_mapping
        return list(cursor)

    def one(self, sql: str, /, **parameters: Value) -> Row | None:
        rows = self.all(sql, **parameters)
        return rows[0] if rows else None


def _as_mapping(cursor: apsw.Cursor, values: tuple[Value, ...]) -> Row:
    return {column[0]: value for column, value in zip(cursor.get_description(), values, strict=True)}


def _run(connection: apsw.Connection, sql: str, parameters: Mapping[str, Value] | None = None) -> apsw.Cursor:
    if parameters:
        require_storable(parameters)
    # apsw's stubs leave the type of a bindable buffer open.
    return connection.execute(sql, parameters)  # pyright: ignore[reportUnknownMemberType]


@contextmanager
def _translated() -> Generator[None]:
    """Turn SQLite's errors that an operator or a caller can act on into ours."""
    try:
        yield
    except apsw.BusyError as error:
        raise StoreBusyError("the database is busy.", next_step="Repeat the same call.", retry_after_s=1.0) from error
    except apsw.FullError as error:
        raise StorageFullError(
            "there is no room left on the disk; nothing was written.", next_step="Free space, then repeat the call."
        ) from error
    except apsw.IOError as error:
        # A quota, a limit on the size of a file, or no room for the file that the processes share.
        raise StorageFullError(
            "the disk does not take the write; nothing was written.",
            next_step="Look at the disk, then repeat the call.",
        ) from error
