"""What follows when a database was put back from a copy: effects are looked up, and the audit log tells of it."""

from pathlib import Path

from gatebook.approvals.audit import Audit
from gatebook.approvals.signing import set_aside
from gatebook.database.port import Transaction
from gatebook.jobs.auditing import sign
from gatebook.runtime import Runtime
from gatebook.switches import RESTORED, Switches


async def restored(runtime: Runtime, *, person: str) -> Path | None:
    """Have every effect looked up before it is performed, and let the audit log go on from where the copy ends.

    The log tells of it first: what is set aside afterwards is never missing without a word. Set aside are checkpoints
    of what the copy does not have; those of what it has stay, and a copy that was tampered with does not fit them.

    Args:
        runtime: The process's ports, on the database that was put back.
        person: Who put it back.

    Returns:
        Where the old checkpoints are kept; None where all of them fit in the copy.

    Raises:
        ConfigurationError: If the checkpoints cannot be read, set aside or written. It can be run again.
    """
    file, key = runtime.settings.checkpoint_path, runtime.audit_key
    signed = key.public.read_file(file).checkpoints
    last = max(signed, key=lambda checkpoint: checkpoint.size, default=None)

    def tell(tx: Transaction) -> int:
        events = Audit(tx).restored(
            person=person, signed=last.size if last else 0, root=last.root.hex() if last else ""
        )
        Switches(tx).set(RESTORED, reason="put back from a copy", person=person)
        return events

    events = await runtime.transact(tell)
    aside = None
    if last is not None and last.size > events:
        aside = set_aside(file, "".join(key.note(one) for one in signed if one.size <= events))
    await sign(runtime)
    return aside
