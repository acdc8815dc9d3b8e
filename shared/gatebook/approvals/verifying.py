"""Whether the audit log is what it was: its chain by itself, and the whole of it by signed checkpoints."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gatebook.approvals.audit import COLUMNS, NOTHING, RESTORED, leaf_hash
from gatebook.approvals.merkle import Tree
from gatebook.approvals.signing import Checkpoint
from gatebook.database.port import Database, Row
from gatebook.intents import Value

_PAGE = 2_000


class Restore(Value):
    """What the log tells of a database that was put back from a copy.

    The log went on from `events` events; the last checkpoint before that told of `signed`. What is missing between the
    two was left behind by whoever put it back, and is no part of what is verified.
    """

    seq: int
    at: float
    person: str
    events: int
    signed: int


class Verdict(Value):
    """What a verification found. `bad_seq` is the first event that is not what it was, None when all are."""

    events: int
    checkpoints: int
    bad_seq: int | None = None
    fault: str = ""
    restores: tuple[Restore, ...] = ()


@dataclass
class _Fault(Exception):  # noqa: N818 - how a walk ends, no error
    seq: int
    text: str


def verify(database: Database, checkpoints: Sequence[Checkpoint] = ()) -> Verdict:
    """Walk the whole log.

    Without checkpoints a log that was cut at its end, or rewritten as a whole, looks honest.

    Args:
        database: Where the log is; it is read in pages and others go on working.
        checkpoints: What was signed, in any order; their signatures are the caller's to check.

    Raises:
        GatebookError: If the database cannot be read.
    """
    tree, restores = Tree(), list[Restore]()
    waiting = sorted(checkpoints, key=lambda checkpoint: checkpoint.size, reverse=True)
    fault = None
    try:
        for row in _honest(database, tree, waiting):
            if row["event"] == RESTORED:
                restores.append(_restore(row))
    except _Fault as found:
        fault = found
    return Verdict(
        events=tree.size,
        checkpoints=len(checkpoints),
        bad_seq=fault.seq if fault else None,
        fault=fault.text if fault else "",
        restores=tuple(restores),
    )


def _honest(database: Database, tree: Tree, waiting: list[Checkpoint]) -> Iterator[Row]:
    """Let the tree grow by every event that is what it was, as long as it fits the checkpoints, the least one last."""
    previous, proven = NOTHING, 0
    for row in _rows(database):
        leaf = leaf_hash(row)
        if fault := _fault(row, seq=tree.size + 1, previous=previous, leaf=leaf):
            raise _Fault(tree.size + 1, fault)
        previous = str(row["hash"])
        tree.add(leaf)
        while waiting and waiting[-1].size == tree.size:
            if waiting.pop().root != tree.root():
                raise _Fault(proven + 1, f"events {proven + 1} to {tree.size} are not those of the checkpoint")
            proven = tree.size
        yield row
    if waiting:
        raise _Fault(tree.size + 1, f"the log was cut: a checkpoint tells of {waiting[0].size} events")


def _fault(row: Row, *, seq: int, previous: str, leaf: bytes) -> str:
    if row["seq"] != seq:
        return "the event is missing"
    if row["prev_hash"] != previous:
        return "the event does not follow the one before it"
    if row["hash"] != leaf.hex():
        return "the event was changed"
    return ""


def _restore(row: Row) -> Restore:
    try:
        body = json.loads(str(row["body"]))
        told = {"seq": row["seq"], "at": row["at"], "person": row["actor"]}
        return Restore.model_validate({**told, "events": body["events"], "signed": body["signed"]})
    except (ValueError, KeyError, TypeError):
        raise _Fault(int(row["seq"] or 0), "the event is none that Gatebook writes") from None


def _rows(database: Database) -> Iterator[Row]:
    """Read all events, each page in a transaction of its own."""
    after: int | None = None
    while rows := _page(database, after, _PAGE):
        yield from rows
        last = rows[-1]["seq"]
        assert isinstance(last, int)
        after = last


def _page(database: Database, after: int | None, limit: int) -> list[Row]:
    condition = "seq > :after" if after is not None else ":after = 0"
    try:
        with database.transaction(durable=False) as tx:
            return tx.all(
                f"SELECT {COLUMNS} FROM audit_events WHERE {condition} ORDER BY seq LIMIT :limit",  # noqa: S608 - ours
                after=after or 0,
                limit=limit,
            )
    except UnicodeDecodeError:
        # A text that is none any more; what stands before it is read event by event.
        if limit == 1:
            raise _Fault((after or 0) + 1, "the event was changed") from None
        return _page(database, after, 1)
