"""What happened in a run after its checkpoint: its steps with their results, and what people still have to decide."""

import json
from collections.abc import Sequence

from pydantic import JsonValue

from gatebook.approvals.models import OPEN_STATES, Approval
from gatebook.approvals.requests import Approvals
from gatebook.database.port import Transaction
from gatebook.effects import Effects
from gatebook.errors import ConfigurationError
from gatebook.ledger.models import Run, Step
from gatebook.ledger.recordings import Recordings
from gatebook.ledger.runs import Runs
from gatebook.vault import Vault
from gatebook_servers.runs.models import OpenApproval, StepPage, StepSeen

RESULT_CHARS = 24_000
"""Characters of results, as JSON, that one page of steps has."""
STEPS_RESUMED = 200
"""Most steps that a resumed run is told of at once; `get_run` has the rest."""
STEPS_READ = 50
"""Most steps of a page of `get_run`, which stays within the length of an ordinary result."""
APPROVALS_SHOWN = 100
LONGEST_CHARS = 512 * 1024
"""Room for a checkpoint of 256 KiB, the steps after it, the open approvals and a summary."""


def list_steps(tx: Transaction, vault: Vault, run: Run, *, after: int, most: int, unfinished: bool = False) -> StepPage:
    """Return the steps behind a number, in order, with their results as far as these fit.

    With `unfinished`, also those before it that had not ended when it was reached: calls made beside each other.
    """
    found = Runs(tx).steps(run.run_id, after=after, limit=most + 1, unfinished=unfinished)
    shown = found[:most]
    results = _results(tx, vault, run.run_id, shown)
    seen: list[StepSeen] = []
    left = RESULT_CHARS
    for step in shown:
        result = results.get(step.number)
        size = len(json.dumps(result, ensure_ascii=False, separators=(",", ":"))) if result is not None else 0
        fits = size <= left
        left -= size if fits else 0
        seen.append(
            StepSeen(
                number=step.number,
                tool=step.tool,
                status=step.status,
                error=step.error or None,
                result=result if fits else None,
                cut=not fits,
            )
        )
    return StepPage(steps=seen, next_step=shown[-1].number if len(found) > most else None)


def open_approvals(tx: Transaction, run: Run) -> tuple[list[OpenApproval], int]:
    """Return what people have not decided or what was approved and not done yet, and how many more there are."""
    approvals = Approvals(tx)
    found = [
        request
        for state in OPEN_STATES
        for request in approvals.select(tenant=run.tenant, run_id=run.run_id, state=state, limit=1_000)
        if not _released(request)
    ]
    shown = [
        OpenApproval(approval_id=request.approval_id, tool=request.tool, target=request.target, state=request.state)
        for request in found[:APPROVALS_SHOWN]
    ]
    return shown, len(found) - len(shown)


def _results(tx: Transaction, vault: Vault, run_id: str, steps: Sequence[Step]) -> dict[int, JsonValue]:
    """Return what the steps answered; what became of an effect counts more than what its call was answered at first."""
    try:
        results = Recordings(tx, vault).results(run_id, steps=[step.number for step in steps])
    except ConfigurationError:
        # A lost key takes the recordings along, not the run.
        results = {}
    effects = Effects(tx)
    for step in steps:
        effect = effects.find(step.effect_key) if step.effect_key else None
        if effect is not None and effect.state == "done":
            results[step.number] = json.loads(effect.result)
    return results


def _released(request: Approval) -> bool:
    return request.kind == "hold" and request.state == "approved"
