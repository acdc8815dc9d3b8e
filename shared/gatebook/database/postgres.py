"""PostgreSQL 15 or newer, where one machine is not enough; chosen by GATEBOOK_DATABASE_URL.

Every transaction begins by locking the one row of `suite_lock`, so that transactions are serial, just as BEGIN
IMMEDIATE makes them on SQLite: the stores read first and write then. They are READ COMMITTED, because only then does a
statement behind the lock see what the lock's last holder wrote.
"""

from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row
from psycopg.types.numeric import IntLoader
from pydantic import SecretStr

from gatebook.clock import Clock, Evenness, SystemClock
from gatebook.database.migrations import LOCK_TABLE, newest, upgrade
from gatebook.database.port import Transaction, Value, Watch, require_storable
from gatebook.database.postgres_calls import PostgresCalls
from gatebook.database.postgres_transaction import DIALECT, Connection, Only, PostgresTransaction, ended, translated
from gatebook.database.postgres_watch import PostgresWatch
from gatebook.errors import ConfigurationError, StorageFullError, StoreBusyError, TooLargeError

OLDEST = 15
"""The oldest major version that is supported."""

BUSY_MS = 10_000
"""Longest wait for another transaction, and for one statement, within one call's deadline."""

IDLE_MS = 30_000
"""How long a process that stands still amid a transaction, or whose machine is gone, keeps the lock from the others."""

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
        self._connection: Connection | None = None
        self._schema = newest(DIALECT)
        self._evenness = Evenness()
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
        self._calls = PostgresCalls(self._address)

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

    async def call(self, function: str, /, **parameters: Value) -> int | None:
        require_storable(parameters)
        # Whether the schema is ours the first transaction finds out.
        if self._connection is None:
            return None
        given = self._clock.now() if self._clock else None
        return await self._calls.call(function, {"known_schema": self._schema, "given_now": given, **parameters})

    async def watch(self) -> Watch:
        return await PostgresWatch.opened(self._address.get_secret_value())

    def close(self) -> None:
        self._calls.close()
        with self._lock:
            if self._connection is not None:
                self._connection.close()

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Generator[Transaction]:
        with self._lock, _translated():
            transaction = PostgresTransaction(
                self._connected, self._clock, evenness=self._evenness, schema=self._schema, durable=durable
            )
            with ended(transaction):
                yield transaction

    @contextmanager
    def at_once(self, *, writes: bool = False, durable: bool = True) -> Generator[Transaction | None]:
        del writes, durable
        yield None

    def _connected(self, *, anew: bool = False) -> Connection:
        """Return the connection, opened when there is none, or `anew`."""
        if anew or self._connection is None or self._connection.closed:
            self._connection = self._opened()
        return self._connection

    def _opened(self) -> Connection:
        try:
            connection = Connection.connect(self._address.get_secret_value(), autocommit=True, row_factory=dict_row)
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

    def _migrate(self, connection: Connection) -> None:
        try:
            _require_lock_table(connection)
            transaction = PostgresTransaction(
                Only(connection), None, evenness=self._evenness, schema=None, durable=True
            )
            with ended(transaction):
                present = transaction.present_schema
                if present != self._schema:
                    connection.execute(b"SET LOCAL statement_timeout = 0")
                    upgrade(transaction, present=present)
        except (errors.InsufficientPrivilege, errors.InvalidSchemaName) as error:
            raise ConfigurationError(
                "the database's user may not create what the suite needs.",
                next_step="Let GATEBOOK_DATABASE_URL name a user that may create tables and functions in its schema.",
            ) from error


def _require_supported(connection: Connection) -> None:
    version, encoding = connection.info.server_version, connection.info.parameter_status("server_encoding")
    if version < OLDEST * 10_000 or encoding != "UTF8":
        raise ConfigurationError(
            f"the database is PostgreSQL {version // 10_000} with encoding {encoding}.",
            next_step=f"Use PostgreSQL {OLDEST} or newer, and a database with encoding UTF8.",
        )


def _require_lock_table(connection: Connection) -> None:
    found = connection.execute(b"SELECT to_regclass('suite_lock') IS NOT NULL AS there").fetchone()
    if found and found["there"]:
        return
    # Another process that starts at the same moment may be faster, by more or less; then the table is there as well.
    raced = (errors.UniqueViolation, errors.DuplicateTable, errors.DuplicateObject)
    with suppress(*raced), connection.transaction():
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
