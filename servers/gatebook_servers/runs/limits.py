"""Asking a person to raise a run's limits."""

from collections.abc import Mapping

from pydantic import JsonValue

from gatebook.approvals.models import Approval
from gatebook.approvals.requests import Approvals
from gatebook.approvals.verdicts import Outcome, Verdict
from gatebook.database.port import Transaction
from gatebook.errors import InvalidArgumentsError, RunNotActiveError
from gatebook.injection import Caller
from gatebook.intents import Intent, effect_key, fingerprint
from gatebook.ledger.budgets import require_within
from gatebook.ledger.models import LimitName, Run
from gatebook.ledger.runs import Runs
from gatebook.settings import Settings

SERVER = "runs"
TOOL = "request_limit"
OPERATION = "raise_limit"


def ask_for_more(
    tx: Transaction, settings: Settings, caller: Caller, *, handle: str, wanted: Mapping[LimitName, float], reason: str
) -> Approval:
    """Return the pending request to raise limits of a run, made if need be.

    A newer request for the same limit takes the place of an older one, so that a person is asked one thing.

    Raises:
        NotFoundError, InvalidArgumentsError, RunLeaseLostError: As `Runs.driven`.
        RunNotActiveError: If the run is finished.
        InvalidArgumentsError: If nothing would be raised, or more than the operator lets any run have.
        ApprovalDeniedError: If a person said no to exactly this.
    """
    run = Runs(tx).driven(handle)
    if not run.unfinished:
        raise RunNotActiveError(f"the run is {run.status}.", next_step="Start a run with another key.")
    intent = Intent(
        target=f"run:{run.run_id}", operation=OPERATION, subject="limits", content=_changes(settings, run, wanted)
    )
    key = effect_key(intent, tenant=settings.tenant, mode=settings.mode)
    approvals = Approvals(tx)
    print_ = fingerprint(
        intent,
        tenant=settings.tenant,
        principal=caller.principal,
        mode=settings.mode,
        server=SERVER,
        tool=TOOL,
        tool_sha256="",
    )
    history = approvals.history(tenant=settings.tenant, effect_key=key, fingerprint=print_)
    history.require_undenied(
        intent.content_sha256, next_step="Do not ask again for the same; finish the run with status paused."
    )
    known = history.exact
    if known is not None and known.state == "pending":
        return known
    for other in history.undecided_or_unused:
        if other.content.keys() & intent.content.keys():
            approvals.void(other, reason="superseded")
    return approvals.ask(
        tenant=settings.tenant,
        principal=caller.principal,
        run_id=run.run_id,
        kind="limit",
        server=SERVER,
        tool=TOOL,
        tool_sha256="",
        arguments={"run_id": run.run_id, **wanted},
        effect_key=key,
        target=intent.target,
        operation=OPERATION,
        content=intent.content,
        fingerprint=print_,
        mode=settings.mode,
        verdict=Verdict(outcome=Outcome.REVIEW, rules=("limit",)),
        reason=reason,
        decide_within_s=settings.decide_within_s,
    )


def _changes(settings: Settings, run: Run, wanted: Mapping[LimitName, float]) -> dict[str, JsonValue]:
    """Return what a person is asked: each limit as it is and as it is to become."""
    if not wanted:
        raise InvalidArgumentsError("no limit is named.", next_step="Pass steps, tokens or usd.")
    require_within(settings, wanted)
    changes: dict[str, JsonValue] = {}
    for name, value in wanted.items():
        limit = run.limits[name]
        if limit is None or value <= limit:
            known = "the run has no limit of its own" if limit is None else f"the run's limit is {limit} already"
            raise InvalidArgumentsError(
                f"{name}: {known}.", next_step="Ask for more than the run has, or leave it out."
            )
        changes[name] = {"from": limit, "to": value}
    return changes
