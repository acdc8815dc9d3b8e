"""The composition root: settings to ports. Everything a server, the command or a worker stands on."""

import os
import secrets
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TypeVar, cast

from gatebook.approvals.audit import Audit
from gatebook.approvals.policy import Policy
from gatebook.approvals.rulebook import Rulebook
from gatebook.approvals.signing import AuditKey
from gatebook.clock import Clock, SystemClock
from gatebook.database.changes import Changes
from gatebook.database.port import Database, Transaction
from gatebook.database.sqlite import SqliteDatabase
from gatebook.database.thread import DatabaseThread
from gatebook.errors import ConfigurationError, GatebookError
from gatebook.reach import Reach
from gatebook.sensitive import SensitiveTerms
from gatebook.settings import Settings
from gatebook.vault import Vault

T = TypeVar("T")
P = TypeVar("P")


@dataclass
class Runtime:
    """The open ports of one process. They open with the process, not with a connection.

    Args:
        settings: The operator's decisions.
        database: The one database, open and migrated.
        ports: Ports of the rooms by the function that opens them; a test may put its own there.
    """

    settings: Settings
    database: Database
    clock: Clock = field(default_factory=SystemClock)
    owner: str = field(default_factory=lambda: f"{os.getpid()}-{secrets.token_hex(4)}")
    ports: dict[object, object] = field(default_factory=dict[object, object])
    _policy_told: str = field(default="", repr=False)
    _calls: int = field(default=0, repr=False)
    _thread: DatabaseThread = field(default_factory=DatabaseThread, repr=False)

    def __post_init__(self) -> None:
        self.terms = SensitiveTerms(self.settings.sensitive_terms)
        self._rulebook = Rulebook(self.settings.policy_file or self.settings.home / "policy.toml")
        self.vault = Vault(self.settings.record_key_file or self.settings.home / "recordings.key")
        self.changes = Changes(self.database)
        self.audit_key = AuditKey(self.settings.home / "audit.key")

    async def transact(
        self, work: Callable[[Transaction], T], *, keep_on_refusal: bool = False, durable: bool = True
    ) -> T:
        """Run `work` in one transaction; a cancellation does not tear it apart.

        It runs on the database's thread, for others to go on meanwhile, unless one call is all that is under way:
        crossing over and back takes as long as a commit.

        Args:
            work: What to do; it must not wait for anything but the database.
            keep_on_refusal: Commit also when `work` raises a `GatebookError`: a refusal that created a request, or
                that counts, must leave its trace.
            durable: See `Database.transaction`.
        """

        def done(transaction: Transaction) -> T | GatebookError:
            try:
                return work(transaction)
            except GatebookError as refusal:
                if not keep_on_refusal:
                    raise
                return refusal

        def inside() -> T | GatebookError:
            with self.database.transaction(durable=durable) as transaction:
                return done(transaction)

        result: T | GatebookError | None = None
        with self._alone(durable=durable) as transaction:
            if transaction is not None:
                result = done(transaction)
        if transaction is None:
            result = await self._thread.run(inside)
        if isinstance(result, GatebookError):
            raise result
        return cast("T", result)

    def _alone(self, *, durable: bool) -> AbstractContextManager[Transaction | None]:
        """Begin a transaction of the only call under way, where it waits for nobody; the background may cross over."""
        return self.database.at_once(writes=True, durable=durable) if self._calls == 1 else nullcontext()

    @contextmanager
    def call_under_way(self) -> Generator[None]:
        """Count a call while it is under way."""
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1

    async def look(self, work: Callable[[Transaction], T]) -> T:
        """Run `work`, which only reads: at once where that waits for nobody, or else in a transaction.

        Crossing over to the database's thread and back takes longer than most reads.
        """
        with self.database.at_once() as transaction:
            if transaction is not None:
                return work(transaction)
        return await self.transact(work, durable=False)

    async def blocking(self, work: Callable[[], T]) -> T:
        """Run work that would block the event loop on the database's thread."""
        return await self._thread.run(work)

    def port(self, opener: "Callable[[Runtime], P]") -> P:
        """Return the port that `opener` opens, opened once per process."""
        if opener not in self.ports:
            self.ports[opener] = opener(self)
        return cast("P", self.ports[opener])

    def policy(self, reach: Reach = Reach.SEND) -> Policy:
        """Return the policy for calls of this reach; a change of the file counts from the next call on.

        Raises:
            ConfigurationError: If the file does not fit; nothing is written or sent then.
        """
        return self._rulebook.in_force(reach)

    def tell_policy(self, tx: Transaction) -> None:
        """Put a policy that was not seen before into the audit log, in the transaction that relies on it."""
        seen = self.policy().sha256
        # Told only once it is found there: the transaction that put it there may have rolled back.
        if seen != self._policy_told and Audit(tx).saw_policy(seen):
            self._policy_told = seen

    def close(self) -> None:
        """Release the database."""
        self.database.close()


def _open_database(settings: Settings, clock: Clock) -> Database:
    if settings.database_url is None:
        return SqliteDatabase(settings.database_path, clock)
    try:
        from gatebook.database.postgres import PostgresDatabase  # noqa: PLC0415 - an extra that most do not install
    except ImportError as error:
        raise ConfigurationError(
            "GATEBOOK_DATABASE_URL is set, but the client for PostgreSQL is not installed.",
            next_step="Install the extra: gatebook[postgres].",
        ) from error
    return PostgresDatabase(settings.database_url, clock)


def open_runtime(settings: Settings, *, clock: Clock | None = None) -> Runtime:
    """Open the ports that the settings name.

    Raises:
        ConfigurationError: If the database cannot be opened, is newer than this program, or needs the missing extra.
    """
    chosen = clock or SystemClock()
    return Runtime(settings=settings, database=_open_database(settings, chosen), clock=chosen)
