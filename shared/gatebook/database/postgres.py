"""PostgreSQL 15 or newer, where one machine is not enough; chosen by GATEBOOK_DATABASE_URL.

Every transaction begins by locking the one row of `suite_lock`, so that transactions are serial, just as BEGIN
IMMEDIATE makes them on SQLite: the stores read first and write then. They are READ COMMITTED, because only then does a
statement behind the lock see what the lock's last holder wrote.
"""

import re
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Protocol, cast

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow, dict_row
from psycopg.types.numeric import IntLoader
from pydantic import SecretStr

from gatebook.clock import Clock, SystemClock
from gatebook.database.migrations import LOCK_TABLE, newest, other_schema, upgrade
from gatebook.database.port import Row, Transaction, Value, require_storable
from gatebook.errors import ConfigurationError, StorageFullError, StoreBusyError, TooLargeError

OLDEST = 15
"""The oldest major version that is supported."""

BUSY_MS = 10_000
"""Longest wait for another transaction, and for one statement, within one call's deadline."""

IDLE_MS = 30_000
"""How long a process that stands still amid a transaction, or whose machine is gone, keeps the lock from the others."""

DIALECT = "postgres"
_DEFAULTS = {
    "application_name": "gatebook",
    "client_encoding": "UTF8",
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "target_session_attrs": "read-write",
    "tcp_user_timeout": "20000",
}
_SESSION = """
SELECT set_config('lock_timeout', :busy, false), set_config('statement_timeout', :busy, false),
  set_config('idle_in_transaction_session_timeout', :idle, false)
"""
# A subquery, for the time to be read when the lock is held and not when the waiting for it begins.
_BEGIN = b"BEGIN ISOLATION LEVEL READ COMMITTED;"
_RELAXED = b"SET LOCAL synchronous_commit = off;"
_LOCK = b"""
SELECT schema_version, CAST(extract(epoch FROM clock_timestamp()) AS double precision) AS now
FROM (SELECT schema_version FROM suite_lock FOR UPDATE) AS held
"""
_TOKEN = re.compile(r"'[^']*'|\"[^\"]*\"|--[^\n]*|::|:(?P<name>[A-Za-z_]\w*)|%")

_Connection = psycopg.Connection[DictRow]


class PostgresDatabase:
    """One connection, opened at first use and again when it is gone, used by one thread at a time.

    Args:
        url: `postgresql://user:password@host/database`, or any other form that libpq reads. No error repeats it.
        clock: Where the transactions' time comes from. None, or the machine's clock: the database's own, because the
            machines that share a database have clocks that differ.

    Raises:
        ConfigurationError: If libpq cannot read the address.
    """

    def __init__(self, url: SecretStr, clock: Clock | None = None) -> None:
        self._clock = None if isinstance(clock, SystemClock) else clock
        self._lock = Lock()
        self._connection: _Connection | None = None
        self._schema = newest(DIALECT)
        try:
            given = conninfo_to_dict(url.get_secret_value())
            missing = {name: value for name, value in _DEFAULTS.items() if name not in given}
            self._address = SecretStr(make_conninfo(url.get_secret_value(), **missing))
        except psycopg.ProgrammingError:
            # The cause quotes the address.
            raise ConfigurationError(
                "GATEBOOK_DATABASE_URL is not an address that PostgreSQL's clients read.",
                next_step="Write postgresql://user:password@host/database, the password percent-encoded.",
            ) from None

    def describe(self) -> str:
        with self.transaction() as transaction:
            transaction.one("SELECT 1 AS one")
            assert self._connection is not None
            info = self._connection.info
            server = info.parameter_status("server_version")
        return f"PostgreSQL {server}, database {info.dbname} at {info.host}, schema {self._schema}"

    def risks(self) -> list[str]:
        with self.transaction() as transaction:
            settings = transaction.all(
                """SELECT name FROM pg_settings WHERE setting = 'off'
                   AND name IN ('fsync', 'full_page_writes', 'synchronous_commit') ORDER BY name"""
            )
        return [f"the server has {row['name']} off: a power cut loses what was acknowledged" for row in settings]

    def back_up(self, file: Path) -> None:
        raise ConfigurationError("PostgreSQL has a tool of its own for that.", next_step=f"pg_dump -Fc -f {file.name}")

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Generator[Transaction]:
        with self._lock, _translated():
            transaction = _PostgresTransaction(self._connected, self._clock, schema=self._schema, durable=durable)
            try:
                yield transaction
                transaction.commit()
            except BaseException:
                transaction.roll_back()
                raise

    def _connected(self, *, anew: bool = False) -> _Connection:
        """Return the connection, opened when there is none, or `anew`."""
        if anew or self._connection is None or self._connection.closed:
            self._connection = self._opened()
        return self._connection

    def _opened(self) -> _Connection:
        try:
            connection = _Connection.connect(self._address.get_secret_value(), autocommit=True, row_factory=dict_row)
        except psycopg.OperationalError:
            # The cause may quote parts of the address.
            raise StoreBusyError(
                "the database cannot be reached, or does not let us in.",
                next_step="Repeat the same call; when it lasts, look into the database's log.",
                retry_after_s=5.0,
            ) from None
        try:
            _require_supported(connection)
            # The only numbers of this type are sums of whole ones.
            connection.adapters.register_loader("numeric", IntLoader)
            connection.execute(translated(_SESSION), {"busy": str(BUSY_MS), "idle": str(IDLE_MS)})
            self._migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _migrate(self, connection: _Connection) -> None:
        try:
            _require_lock_table(connection)
            transaction = _PostgresTransaction(_Only(connection), None, schema=None, durable=True)
            try:
                present = transaction.present_schema
                if present != self._schema:
                    connection.execute(b"SET LOCAL statement_timeout = 0")
                    upgrade(transaction, present=present)
                transaction.commit()
            except BaseException:
                transaction.roll_back()
                raise
        except (errors.InsufficientPrivilege, errors.InvalidSchemaName) as error:
            raise ConfigurationError(
                "the database's user may not create what the suite needs.",
                next_step="Let GATEBOOK_DATABASE_URL name a user that may create tables and functions in its schema.",
            ) from error


class _Connected(Protocol):
    def __call__(self, *, anew: bool = False) -> _Connection: ...


@dataclass(frozen=True)
class _Only:
    """The one connection there is while it is being opened."""

    connection: _Connection

    def __call__(self, *, anew: bool = False) -> _Connection:
        del anew
        return self.connection


@dataclass(frozen=True)
class _Begun:
    """What the beginning of a transaction said."""

    connection: _Connection
    schema: int
    now: float


class _PostgresTransaction:
    """One transaction. It begins on the server with its first statement, in one trip, and not before."""

    dialect = DIALECT

    def __init__(self, connected: _Connected, clock: Clock | None, *, schema: int | None, durable: bool) -> None:
        self._connected = connected
        # The server's clock is all that the machines have in common; another one is a test's.
        self._given = (clock.now(), clock.steady().seconds) if clock else None
        self._schema = schema
        self._opening = _BEGIN + (b"" if durable else _RELAXED) + _LOCK
        self._begun: _Begun | None = None
        self._deferred: list[bytes] = []

    @property
    def now(self) -> float:
        return self._given[0] if self._given else self._beginning().now

    @property
    def steady(self) -> float:
        return self._given[1] if self._given else self._beginning().now

    @property
    def present_schema(self) -> int:
        """The schema's version, as it is while the lock is held."""
        return self._beginning().schema

    def execute(self, sql: str, /, **parameters: Value) -> int:
        return self._run(sql, parameters).rowcount

    def defer(self, sql: str, /, **parameters: Value) -> None:
        self._deferred.append(self._bound(sql, parameters))

    def all(self, sql: str, /, **parameters: Value) -> list[Row]:
        return cast("list[Row]", self._run(sql, parameters).fetchall())

    def one(self, sql: str, /, **parameters: Value) -> Row | None:
        return self._run(sql, parameters).fetchone()

    def commit(self) -> None:
        """Run what was deferred, and commit."""
        if self._begun is None:
            if not self._deferred:
                return
            # Apart from the commit: only what surely was not committed may be sent again on another connection.
            deferred, self._deferred = self._deferred, []
            self._beginning()
            self._deferred = deferred
        cursor = self._send(b"COMMIT")
        # Behind a failed statement the server answers a COMMIT with a rollback and no error.
        if cursor.statusmessage != "COMMIT":
            raise errors.InFailedSqlTransaction("a statement failed and the block went on")

    def roll_back(self) -> None:
        """Undo everything."""
        if self._begun is not None:
            _roll_back(self._begun.connection)

    def _run(self, sql: str, parameters: dict[str, Value]) -> psycopg.Cursor[DictRow]:
        if self._begun is None or self._deferred:
            return self._send(self._bound(sql, parameters))
        require_storable(parameters)
        return self._begun.connection.execute(translated(sql), parameters)

    def _bound(self, sql: str, parameters: dict[str, Value]) -> bytes:
        """Return a statement with its values in it, as libpq writes them: only so can several go together."""
        require_storable(parameters)
        connection = self._begun.connection if self._begun else self._connected()
        return psycopg.ClientCursor(connection).mogrify(translated(sql), parameters).encode()

    def _beginning(self) -> _Begun:
        if self._begun is None:
            self._send(b"SELECT")
        assert self._begun is not None
        return self._begun

    def _send(self, statement: bytes) -> psycopg.Cursor[DictRow]:
        """Send what was deferred and a statement in one trip, behind the beginning where there was none yet."""
        statements = b";".join([*self._deferred, statement])
        self._deferred.clear()
        if self._begun is not None:
            return _last(self._begun.connection.execute(statements))
        connection, cursor = self._opened_with(statements)
        while not cursor.description:
            cursor.nextset()
        row = cursor.fetchone()
        assert row is not None
        self._begun = _Begun(connection, int(row["schema_version"]), float(row["now"]))
        self._require_schema()
        return _last(cursor)

    def _opened_with(self, statements: bytes) -> tuple[_Connection, psycopg.Cursor[DictRow]]:
        connection = self._connected()
        try:
            return connection, connection.execute(self._opening + b";" + statements)
        except psycopg.OperationalError:
            if not connection.closed:
                _roll_back(connection)
                raise
        except BaseException:
            _roll_back(connection)
            self._explain(connection)
            raise
        # Nothing of the transaction has happened yet: it may as well begin on another connection.
        connection = self._connected(anew=True)
        try:
            return connection, connection.execute(self._opening + b";" + statements)
        except BaseException:
            _roll_back(connection)
            raise

    def _explain(self, connection: _Connection) -> None:
        """Say that the schema is another one, where that may be why the first statement failed."""
        row = connection.execute(b"SELECT schema_version FROM suite_lock").fetchone() if not connection.closed else None
        if row is not None and self._schema is not None and int(row["schema_version"]) != self._schema:
            raise other_schema(int(row["schema_version"]), known=self._schema)

    def _require_schema(self) -> None:
        assert self._begun is not None
        if self._schema is not None and self._begun.schema != self._schema:
            raise other_schema(self._begun.schema, known=self._schema)


def _last(cursor: psycopg.Cursor[DictRow]) -> psycopg.Cursor[DictRow]:
    """Return the cursor at the last of its results."""
    while cursor.nextset():
        pass
    return cursor


@lru_cache(maxsize=1_024)
def translated(sql: str) -> bytes:
    """Return a statement with `:name` written as psycopg wants it; casts, quoted text and remarks stay as they are."""
    return _TOKEN.sub(_as_psycopg, sql).encode()


def _as_psycopg(token: re.Match[str]) -> str:
    name = token["name"]
    return f"%({name})s" if name else token[0].replace("%", "%%")


def _roll_back(connection: _Connection) -> None:
    with suppress(psycopg.Error):
        if connection.info.transaction_status != TransactionStatus.IDLE:
            connection.execute(b"ROLLBACK")
    if connection.info.transaction_status != TransactionStatus.IDLE:
        connection.close()


def _require_supported(connection: _Connection) -> None:
    version, encoding = connection.info.server_version, connection.info.parameter_status("server_encoding")
    if version < OLDEST * 10_000 or encoding != "UTF8":
        raise ConfigurationError(
            f"the database is PostgreSQL {version // 10_000} with encoding {encoding}.",
            next_step=f"Use PostgreSQL {OLDEST} or newer, and a database with encoding UTF8.",
        )


def _require_lock_table(connection: _Connection) -> None:
    found = connection.execute(b"SELECT to_regclass('suite_lock') IS NOT NULL AS there").fetchone()
    if found and found["there"]:
        return
    # Another process that starts at the same moment may be faster; then the table is there as well.
    with suppress(errors.UniqueViolation, errors.DuplicateTable), connection.transaction():
        for statement in LOCK_TABLE:
            connection.execute(statement.encode())


@contextmanager
def _translated() -> Generator[None]:
    """Turn PostgreSQL's errors that an operator or a caller can act on into ours."""
    try:
        yield
    except errors.DiskFull as error:
        raise StorageFullError(
            "there is no room left on the database's disk; nothing was written.",
            next_step="Free space, then repeat the call.",
        ) from error
    except errors.ProgramLimitExceeded as error:
        raise TooLargeError("a text is larger than the database can index.", next_step="Shorten it.") from error
    except (psycopg.OperationalError, errors.ReadOnlySqlTransaction, errors.IdleInTransactionSessionTimeout) as error:
        raise StoreBusyError(
            "the database is busy, or its connection was lost.", next_step="Repeat the same call.", retry_after_s=1.0
        ) from error
