"""Signed checkpoints of the audit log."""

from gatebook.approvals.audit import Audit
from gatebook.approvals.merkle import Tree
from gatebook.approvals.signing import Checkpoint, append
from gatebook.database.port import Transaction
from gatebook.jobs.housekeeping import INSTALLATION
from gatebook.outbox import ANYWHERE, FOREVER, Job, Outbox
from gatebook.runtime import Runtime

CHECKPOINT_EVERY = 100
"""Events behind the last checkpoint that make the next one due."""
CHECKPOINT_EVERY_S = 300.0
"""Longest time between an event and a checkpoint, while a process runs."""
_PAGE = 1_000


def schedule(tx: Transaction) -> None:
    """Enqueue the job, and let it be due where many events wait for it."""
    Outbox(tx).add("audit_checkpoint", INSTALLATION, use_by=FOREVER, place=ANYWHERE)
    row = tx.one(
        """SELECT COALESCE((SELECT MAX(seq) FROM audit_events), 0)
             - COALESCE((SELECT MAX(size) FROM audit_checkpoints), 0) AS n"""
    )
    if row and int(row["n"] or 0) >= CHECKPOINT_EVERY:
        Outbox(tx).hasten("audit_checkpoint", INSTALLATION)


async def write_checkpoint(runtime: Runtime, _job: Job) -> None:
    """Sign the log when its time came."""
    await sign(runtime)


async def sign(runtime: Runtime) -> None:
    """Sign the log as it is, unless nothing was appended since the last time."""
    known = await runtime.transact(_last_tree)
    tree = Tree(known.size, known.peaks)
    while leaves := await runtime.transact(lambda tx: Audit(tx).events(after=tree.size, limit=_PAGE)):
        for event in leaves:
            tree.add(bytes.fromhex(event.hash))
    if tree.size == known.size:
        return
    note = runtime.audit_key.note(Checkpoint(size=tree.size, root=tree.root()))
    await runtime.blocking(lambda: append(runtime.settings.checkpoint_path, note))
    await runtime.transact(lambda tx: _keep(tx, tree))


def write_again(tx: Transaction, job: Job) -> None:
    """Arrange for the next checkpoint."""
    Outbox(tx).rearrange(job, after_s=CHECKPOINT_EVERY_S)


def _last_tree(tx: Transaction) -> Tree:
    row = tx.one("SELECT size, peaks FROM audit_checkpoints ORDER BY size DESC LIMIT 1")
    if row is None:
        return Tree()
    return Tree(int(row["size"] or 0), [bytes.fromhex(peak) for peak in str(row["peaks"]).split()])


def _keep(tx: Transaction, tree: Tree) -> None:
    tx.execute(
        """INSERT INTO audit_checkpoints (size, peaks, written_at) VALUES (:size, :peaks, :now)
           ON CONFLICT (size) DO NOTHING""",
        size=tree.size,
        peaks=" ".join(peak.hex() for peak in tree.peaks),
        now=tx.now,
    )
