"""The same two tools behind the guard, with the ledger on disk. The write needs no person: its policy allows it."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from gatebook.database.port import Transaction
from gatebook.database.sqlite import SqliteDatabase
from gatebook.effects import Effect
from gatebook.intents import Facts, Intent
from gatebook.runtime import Runtime
from gatebook.settings import Settings
from gatebook.toolset import Toolset, build_server
from gatebook.transports.stdio import run_stdio
from gatebook_servers.runs.tools import tools as runs
from items import Commits, Item

tools = Toolset("items", instructions="Items.")


class CountingDatabase(SqliteDatabase):
    """The database, counting the transactions that changed something."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.durable = self.relaxed = 0

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Generator[Transaction]:
        """Begin a transaction."""
        with self._counted(durable=durable), super().transaction(durable=durable) as transaction:
            yield transaction

    @contextmanager
    def at_once(self, *, writes: bool = False, durable: bool = True) -> Generator[Transaction | None]:
        """Begin a transaction that waits for nobody."""
        with self._counted(durable=durable), super().at_once(writes=writes, durable=durable) as transaction:
            yield transaction

    @contextmanager
    def _counted(self, *, durable: bool) -> Generator[None]:
        before = self._connection.total_changes()
        yield
        wrote = self._connection.total_changes() > before
        self.durable += wrote and durable
        self.relaxed += wrote and not durable


@tools.reads
async def read_item(item: str) -> Item:
    """Read an item."""
    return Item(item=item, outcome="read")


@tools.reads
async def commits(runtime: Runtime) -> Commits:
    """Count commits."""
    assert isinstance(runtime.database, CountingDatabase)
    return Commits(durable=runtime.database.durable, relaxed=runtime.database.relaxed)


async def the_write(item: str, text: str) -> Intent:
    """Resolve a write."""
    return Intent(target="items:all", operation="write", subject=item, content={"item": item, "text": text})


async def the_facts(item: str, text: str) -> Facts:
    """Say what policy must see."""
    del text
    return Facts(target=f"items:{item}")


async def found(item: str, text: str) -> Item | None:
    """Look a write up."""
    del item, text
    return None


@tools.writes(effect=the_write, facts=the_facts, reconcile=found)
async def write_item(effect: Effect, item: str, text: str) -> Item:
    """Write an item."""
    del effect
    return Item(item=item, outcome=f"{len(text)} written")


if __name__ == "__main__":
    settings = Settings()
    runtime = Runtime(settings=settings, database=CountingDatabase(settings.database_path))
    catalogue = {**tools.specs, **runs.specs}
    sys.exit(run_stdio(build_server([tools, runs], runtime, catalogue=catalogue), on_stop=runtime.close))
