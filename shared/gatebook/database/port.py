"""What a store may ask of a database, whatever database it is.

SQL is written once with `:name` parameters. Times are seconds since the epoch, flags are 0 or 1, documents are JSON
text, and no logic depends on a sequence, so that the same statements run on SQLite and on Postgres.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from gatebook.errors import InvalidArgumentsError

Value = str | int | float | bytes | None
Row = Mapping[str, Value]


class Transaction(Protocol):
    """One short transaction. It commits when its block ends and rolls back when the block raises.

    Transactions are serial: what one has read cannot change before it ends.
    """

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgres`; for the few clauses that differ."""
        ...

    @property
    def now(self) -> float:
        """The time of this transaction, seconds since the epoch; the same for all its statements."""
        ...

    @property
    def steady(self) -> float:
        """The time for leases: like `now`, but it does not jump when a machine's clock is set."""
        ...

    @property
    def even_s(self) -> float:
        """For how many seconds `steady` was surely not set ahead; infinite unless it is a clock that people set."""
        ...

    def execute(self, sql: str, /, **parameters: Value) -> int:
        """Run a statement and return how many rows it changed."""
        ...

    def defer(self, sql: str, /, **parameters: Value) -> None:
        """Run a statement at the latest when the transaction ends; what is wrong with it comes out then.

        For writes whose count nobody needs: a database across a network takes them together with the commit.
        """
        ...

    def conclude(self, sql: str, /, *behind: str, **parameters: Value) -> Row | None:
        """Run one last statement and those behind it, and commit; return the first row of the first one.

        Args:
            sql: The statement; `:now` in it is the time of the transaction.
            behind: Further statements with the same parameters.
            parameters: The values.
        """
        ...

    def all(self, sql: str, /, **parameters: Value) -> list[Row]:
        """Run a query and return its rows."""
        ...

    def one(self, sql: str, /, **parameters: Value) -> Row | None:
        """Run a query and return its first row, if any."""
        ...


class Watch(Protocol):
    """Notices that something about requests or decisions may have changed, whoever changed it."""

    async def changed(self) -> None:
        """Return once something may have changed since this was opened, or since the last return."""
        ...

    async def close(self) -> None:
        """End it."""
        ...


class Database(Protocol):
    """The one database, migrated before its first transaction begins."""

    def describe(self) -> str:
        """Return what it is and where, for people; never a password.

        Raises:
            GatebookError: As `transaction`.
        """
        ...

    def risks(self) -> list[str]:
        """Return what keeps acknowledged commits from lasting, for people; empty when nothing does.

        Raises:
            GatebookError: As `transaction`.
        """
        ...

    def transaction(self, *, durable: bool = True) -> AbstractContextManager[Transaction]:
        """Begin a transaction that may write.

        Args:
            durable: Whether its end waits for the disk. Otherwise a power cut may undo it, though never without what
                was committed behind it; the death of this process does not. For counts and records of calls that
                changed nothing outside.

        Raises:
            StoreBusyError: If the database stays locked for longer than a call may wait.
            StorageFullError: If there is no room; nothing was written.
            ConfigurationError: If the database belongs to a newer program.
            InvalidArgumentsError: If a text has U+0000 or half of a surrogate pair; nothing was written.
        """
        ...

    def at_once(self, *, writes: bool = False, durable: bool = True) -> AbstractContextManager[Transaction | None]:
        """Begin a transaction if that waits for nobody, neither another process or thread nor a network.

        Args:
            writes: Whether it may write. One that only reads sees one state of the database and keeps nobody from
                writing; what it writes all the same is not kept.
            durable: As in `transaction`; its end then waits for the disk.

        Returns:
            The transaction; None where it would have to wait.

        Raises:
            GatebookError: As `transaction`.
        """
        ...

    async def call(self, function: str, /, **parameters: Value) -> int | None:
        """Call a function of the database's own that is a transaction by itself, where it has functions.

        For what is done so often that beginning a transaction counts. The same has to be written as a transaction too.

        Args:
            function: Called with `known_schema`, `given_now` and the parameters, it locks, looks at the schema, and
                does all in one.
            parameters: The values; a text may come as its bytes.

        Returns:
            The whole number that it returned. None when it returned null, was not called, or failed: a transaction has
            to do it then, to which it must be harmless if it was done all the same.

        Raises:
            InvalidArgumentsError: As `transaction`.
        """
        ...

    async def watch(self) -> Watch:
        """Begin to watch, without taking part in anything; a database that cannot be watched never tells."""
        ...

    def back_up(self, file: Path) -> None:
        """Write a copy as of now into a new file, while others go on working.

        Raises:
            ConfigurationError: If the database has tools of its own for that, or the file cannot be written.
            StorageFullError: If there is no room for it.
        """
        ...

    def close(self) -> None:
        """Release the database; further use is an error."""
        ...


def require_storable(parameters: Mapping[str, Value]) -> None:
    """Refuse texts that not every database can hold.

    Raises:
        InvalidArgumentsError: If a text has U+0000 or half of a surrogate pair.
    """
    for value in parameters.values():
        if isinstance(value, str) and ("\0" in value or not _is_unicode(value)):
            raise InvalidArgumentsError(
                "a text has U+0000 or half of a surrogate pair.", next_step="Leave such characters out."
            )


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
