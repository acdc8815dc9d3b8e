"""One transaction on PostgreSQL: what goes to the server, and in how many trips."""

import math
import re
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, cast

import psycopg
from psycopg import errors
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow

from gatebook.clock import Clock, Evenness
from gatebook.database.migrations import other_schema
from gatebook.database.port import Row, Value, require_storable

DIALECT = "postgres"
_BEGIN = b"BEGIN ISOLATION LEVEL READ COMMITTED;"
_RELAXED = b"SET LOCAL synchronous_commit = off;"
# A subquery, for the time to be read when the lock is held and not when the waiting for it begins.
_LOCK = b"""
SELECT schema_version, CAST(extract(epoch FROM clock_timestamp()) AS double precision) AS now
FROM (SELECT schema_version FROM suite_lock FOR UPDATE) AS held
"""
_TOKEN = re.compile(r"'[^']*'|\"[^\"]*\"|--[^\n]*|::|:(?P<name>[A-Za-z_]\w*)|%")

Connection = psycopg.Connection[DictRow]


class Connected(Protocol):
    """Returns the connection, opened when there is none, or `anew`."""

    def __call__(self, *, anew: bool = False) -> Connection: ...


@dataclass(frozen=True)
class Only:
    """The one connection there is while it is being opened."""

    connection: Connection

    def __call__(self, *, anew: bool = False) -> Connection:
        del anew
        return self.connection


@dataclass(frozen=True)
class _Begun:
    """What the beginning of a transaction said."""

    connection: Connection
    schema: int
    now: float
    even_s: float


class PostgresTransaction:
    """One transaction. It begins on the server with its first statement, in one trip, and not before."""

    dialect = DIALECT

    def __init__(
        self, connected: Connected, clock: Clock | None, *, evenness: Evenness, schema: int | None, durable: bool
    ) -> None:
        self._connected = connected
        self._evenness = evenness
        # The server's clock is all that the machines have in common; another one is a test's.
        self._given = (clock.now(), clock.steady().seconds) if clock else None
        self._schema = schema
        self._durable = durable
        self._begun: _Begun | None = None
        self._deferred: list[bytes] = []
        self._concluded = False

    @property
    def now(self) -> float:
        return self._given[0] if self._given else self._beginning().now

    @property
    def steady(self) -> float:
        return self._given[1] if self._given else self._beginning().now

    @property
    def even_s(self) -> float:
        return math.inf if self._given else self._beginning().even_s

    @property
    def present_schema(self) -> int:
        """The schema's version, as it is while the lock is held."""
        return self._beginning().schema

    def execute(self, sql: str, /, **parameters: Value) -> int:
        return self._run(sql, parameters).rowcount

    def defer(self, sql: str, /, **parameters: Value) -> None:
        self._deferred.append(self._bound(sql, parameters))

    def conclude(self, sql: str, /, *behind: str, **parameters: Value) -> Row | None:
        self._beginning()
        parameters["now"] = self.now
        before = len(self._deferred)
        last = [self._bound(statement, parameters) for statement in (sql, *behind)]
        cursor = self._sent(b";".join([*last, b"COMMIT"]))
        self._concluded = True
        for _ in range(before):
            cursor.nextset()
        row = cursor.fetchone()
        _require_committed(_last(cursor))
        return row

    def all(self, sql: str, /, **parameters: Value) -> list[Row]:
        return cast("list[Row]", self._run(sql, parameters).fetchall())

    def one(self, sql: str, /, **parameters: Value) -> Row | None:
        return self._run(sql, parameters).fetchone()

    def commit(self) -> None:
        """Run what was deferred, and commit."""
        if self._concluded:
            return
        if self._begun is None:
            if not self._deferred:
                return
            # Apart from the commit: only what surely was not committed may be sent again on another connection.
            deferred, self._deferred = self._deferred, []
            self._beginning()
            self._deferred = deferred
        _require_committed(self._send(b"COMMIT"))

    def roll_back(self) -> None:
        """Undo everything."""
        if self._begun is not None:
            _roll_back(self._begun.connection)

    def _run(self, sql: str, parameters: dict[str, Value]) -> psycopg.Cursor[DictRow]:
        assert not self._concluded, "nothing may follow the last statement"
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
        """Send what was deferred and a statement; return the cursor at the statement's result."""
        return _last(self._sent(statement))

    def _sent(self, statement: bytes) -> psycopg.Cursor[DictRow]:
        """Send what was deferred and a statement in one trip, behind the beginning where there was none yet.

        Returns:
            The cursor at the first result that is not the beginning's.
        """
        statements = b";".join([*self._deferred, statement])
        self._deferred.clear()
        if self._begun is not None:
            return self._begun.connection.execute(statements)
        opening = _BEGIN + (b"" if self._durable else _RELAXED) + _LOCK
        connection, cursor = self._first(opening + b";" + statements)
        row = _first_rows(cursor).fetchone()
        assert row is not None
        now = float(row["now"])
        self._begun = _Begun(connection, int(row["schema_version"]), now, self._evenness.seconds(now))
        self._require_schema()
        cursor.nextset()
        return cursor

    def _first(self, statement: bytes) -> tuple[Connection, psycopg.Cursor[DictRow]]:
        """Send the first statement of all; its connection and its cursor."""
        connection = self._connected()
        try:
            return connection, self._tried(connection, statement)
        except psycopg.OperationalError:
            if not connection.closed:
                raise
        # Nothing of the transaction has happened yet: it may as well begin on another connection.
        connection = self._connected(anew=True)
        return connection, self._tried(connection, statement)

    def _tried(self, connection: Connection, statement: bytes) -> psycopg.Cursor[DictRow]:
        try:
            return connection.execute(statement)
        except psycopg.OperationalError:
            _roll_back(connection)
            raise
        except BaseException:
            _roll_back(connection)
            self._explain(connection)
            raise

    def _explain(self, connection: Connection) -> None:
        """Say that the schema is another one, where that may be why the first statement failed."""
        row = connection.execute(b"SELECT schema_version FROM suite_lock").fetchone() if not connection.closed else None
        if row is not None and self._schema is not None and int(row["schema_version"]) != self._schema:
            raise other_schema(int(row["schema_version"]), known=self._schema)

    def _require_schema(self) -> None:
        assert self._begun is not None
        if self._schema is not None and self._begun.schema != self._schema:
            raise other_schema(self._begun.schema, known=self._schema)


@contextmanager
def ended(transaction: PostgresTransaction) -> Generator[None]:
    """Commit behind the block, or roll back when it raises."""
    try:
        yield
        transaction.commit()
    except BaseException:
        transaction.roll_back()
        raise


def _require_committed(cursor: psycopg.Cursor[DictRow]) -> None:
    # Behind a failed statement the server answers a COMMIT with a rollback and no error.
    if cursor.statusmessage != "COMMIT":
        raise errors.InFailedSqlTransaction("a statement failed and the block went on")


def _first_rows(cursor: psycopg.Cursor[DictRow]) -> psycopg.Cursor[DictRow]:
    """Return the cursor at the first of its results, from where it stands, that may have rows."""
    while not cursor.description:
        cursor.nextset()
    return cursor


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


def _roll_back(connection: Connection) -> None:
    with suppress(psycopg.Error):
        if connection.info.transaction_status != TransactionStatus.IDLE:
            connection.execute(b"ROLLBACK")
    if connection.info.transaction_status != TransactionStatus.IDLE:
        connection.close()
