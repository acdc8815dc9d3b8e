"""The log changed by hand, and calls that a person allowed and that must happen."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

from adversary import wishes
from adversary.cases import Attempt, Threat
from adversary.world import World
from gatebook.approvals.audit import NOTHING, leaf_hash
from gatebook.approvals.merkle import Tree
from gatebook.approvals.signing import Checkpoint
from gatebook.approvals.verifying import verify
from gatebook.database.sqlite import SqliteDatabase

Tamper = Callable[[World, sqlite3.Connection, int], None]
"""Changes the log of some events by hand; it may only do what changes something."""


def flip(world: World, log: sqlite3.Connection, size: int) -> None:
    column = world.chance.choice(["prev_hash", "hash", "actor", "event", "subject", "body"])
    seq = world.chance.randint(1, size)
    log.execute(f"UPDATE audit_events SET {column} = {column} || 'x' WHERE seq = ?", (seq,))  # noqa: S608 - ours


def cut(world: World, log: sqlite3.Connection, size: int) -> None:
    log.execute("DELETE FROM audit_events WHERE seq = ?", (world.chance.randint(1, size),))


def cut_the_end(world: World, log: sqlite3.Connection, size: int) -> None:
    log.execute("DELETE FROM audit_events WHERE seq > ?", (world.chance.randint(0, size - 1),))


def reorder(world: World, log: sqlite3.Connection, size: int) -> None:
    one = world.chance.randint(1, size - 1)
    log.execute("UPDATE audit_events SET seq = -1 WHERE seq = ?", (one,))
    log.execute("UPDATE audit_events SET seq = ? WHERE seq = ?", (one, one + 1))
    log.execute("UPDATE audit_events SET seq = ? WHERE seq = -1", (one + 1,))


def rewrite(world: World, log: sqlite3.Connection, size: int) -> None:
    """Change an event, and every hash behind it so that the chain fits."""
    first = world.chance.randint(1, size)
    log.row_factory = sqlite3.Row
    previous = NOTHING
    for row in log.execute("SELECT * FROM audit_events ORDER BY seq").fetchall():
        changed = {**dict(row), "prev_hash": previous}
        if row["seq"] >= first:
            changed["actor"] = f"{row['actor']}x" if row["seq"] == first else row["actor"]
            changed["hash"] = leaf_hash(changed).hex()
            log.execute(
                "UPDATE audit_events SET prev_hash = :prev_hash, hash = :hash, actor = :actor WHERE seq = :seq", changed
            )
        previous = str(changed["hash"])


def _logged(world: World) -> tuple[Path, Checkpoint]:
    """Return a copy of the world's log as it was once, and its checkpoint."""
    if "log" not in world.rooms:
        home = TemporaryDirectory(dir=world.suite.home)
        world.stack.callback(home.cleanup)
        copy = Path(home.name) / "log.db"
        with closing(sqlite3.connect(copy)) as target:
            world.tables.backup(target)
            tree = Tree()
            for (leaf,) in target.execute("SELECT hash FROM audit_events ORDER BY seq"):
                tree.add(bytes.fromhex(leaf))
            for name in ("no_update", "no_delete", "at_the_end"):
                target.execute(f"DROP TRIGGER audit_events_{name}")
        world.rooms["log"] = copy, Checkpoint(size=tree.size, root=tree.root())
    return cast("tuple[Path, Checkpoint]", world.rooms["log"])


def _tampered(tamper: Tamper) -> Attempt:
    async def attempt(world: World, tool: str) -> None:
        if "log" not in world.rooms:
            for one in wishes.WRITING:
                await allowed_and_called(world, one)
                await allowed_and_left(world, one)
        del tool
        honest, checkpoint = _logged(world)
        copy = honest.with_name("tampered.db")
        shutil.copy(honest, copy)
        with closing(sqlite3.connect(copy, isolation_level=None)) as log:
            tamper(world, log, checkpoint.size)
        with closing(SqliteDatabase(copy, world.suite.clock)) as database:
            if verify(database, [checkpoint]).bad_seq is None:
                world.ledger.accuse("bound", "a change of the log was not found")

    return attempt


async def allowed_and_called(world: World, tool: str) -> None:
    """A person said yes and the agent calls again: done, once, at once."""
    seat = await world.seat()
    wish = await world.wish(seat, tool)
    approval_id = await world.ask(seat, wish)
    world.approve(approval_id)
    answer = await world.call(seat, tool, wish.arguments)
    while answer.code == "in_progress":
        # A worker of the same process may be faster.
        answer = await world.call(seat, tool, wish.arguments)
    if answer.code or not world.ledger.of(approval_id).used:
        world.ledger.accuse("bound", f"what a person allowed was not done: {answer.code}")


async def allowed_and_left(world: World, tool: str) -> None:
    """A person said yes and the agent went home: a worker does it, once."""
    seat = await world.seat()
    wish = await world.wish(seat, tool)
    approval_id = await world.ask(seat, wish)
    world.approve(approval_id)
    await world.outbox()
    answer = await world.call(seat, tool, wish.arguments)
    if answer.code or not world.ledger.of(approval_id).used:
        world.ledger.accuse("bound", f"what a person allowed was not done: {answer.code}")


LOG_EDITED = Threat(
    "log-edited",
    "Log edited or cut",
    {name.__name__.replace("_", " "): _tampered(name) for name in (flip, cut, cut_the_end, reorder, rewrite)},
)
LEGITIMATE = Threat(
    "legitimate", "What a person allowed", {"called": allowed_and_called, "left to a worker": allowed_and_left}
)
