"""Holds: a text with a sensitive term waits for a person before anything is drafted, changed or sent.

A hold is bound to the texts themselves. Releasing it releases exactly these; a new message, or a draft that brings the
matter up, is held anew.
"""

from pydantic import JsonValue

from gatebook.approvals.models import Approval
from gatebook.approvals.requests import Approvals
from gatebook.approvals.verdicts import Outcome, Verdict
from gatebook.database.port import Transaction
from gatebook.errors import ApprovalDeniedError, HeldError
from gatebook.intents import Briefing, Facts, Intent, Passage, Value, effect_key, fingerprint, text_digest
from gatebook.sensitive import SensitiveTerms

SHOWN_CHARS = 8_000
"""How much of a held text a person is shown; its hash covers all of it."""


class HoldRequest(Value):
    """Who ran into a hold of which target, for the request that a person sees."""

    target: str
    tenant: str
    principal: str
    run_id: str
    mode: str
    server: str
    tool: str
    decide_within_s: float
    most_pending: int
    facts: Briefing = Briefing()


def sensitive_passages(terms: SensitiveTerms, facts: Facts) -> dict[str, tuple[Passage, tuple[str, ...]]]:
    """Return the passages with a sensitive term by their hash, each with the categories found."""
    found: dict[str, tuple[Passage, tuple[str, ...]]] = {}
    for passage in facts.passages:
        categories = tuple(sorted({hit.category for hit in terms.find(passage.text)}))
        if categories:
            found[text_digest(passage.text)] = (passage, categories)
    return found


def hold(
    transaction: Transaction, request: HoldRequest, found: dict[str, tuple[Passage, tuple[str, ...]]]
) -> Approval | None:
    """Return the hold that waits (or was denied) for these passages, made if need be; None when all are released.

    Raises:
        HeldError: If as many holds of this principal wait as may: then it is held without a request.
    """
    approvals = Approvals(transaction)
    known = approvals.holds_of(tenant=request.tenant, target=request.target)
    released = {sha for hold_ in known if hold_.state == "approved" for sha in _hashes(hold_)}
    waiting = {sha: entry for sha, entry in found.items() if sha not in released}
    if not waiting:
        return None
    for state in ("denied", "pending"):
        for candidate in known:
            if candidate.state == state and waiting.keys() & _hashes(candidate):
                return (
                    candidate
                    if state == "denied" or waiting.keys() <= _hashes(candidate)
                    else _ask(approvals, request, waiting)
                )
    return _ask(approvals, request, waiting)


def require_release(
    transaction: Transaction, request: HoldRequest, found: dict[str, tuple[Passage, tuple[str, ...]]]
) -> None:
    """Refuse to go on while a hold waits.

    Raises:
        HeldError: If a person has not decided yet.
        ApprovalDeniedError: If a person decided that this stays held.
    """
    waiting = hold(transaction, request, found)
    if waiting is None:
        return
    raise refusal(waiting)


def refusal(waiting: Approval) -> HeldError | ApprovalDeniedError:
    """Return the refusal that a waiting or denied hold means."""
    categories = ", ".join(waiting.rules)
    if waiting.state == "denied":
        return ApprovalDeniedError(
            "a person decided that this ticket is not for you.",
            next_step="Leave it alone; do not rephrase.",
            details={"approval_id": waiting.approval_id, "reason": waiting.state_reason},
        )
    return HeldError(
        f"a sensitive matter ({categories}) waits for a person.",
        next_step="Go on with other tickets; a later run takes it up once it is released.",
        details={"approval_id": waiting.approval_id, "terms": categories},
    )


def _ask(approvals: Approvals, request: HoldRequest, waiting: dict[str, tuple[Passage, tuple[str, ...]]]) -> Approval:
    passages: list[JsonValue] = [
        {"where": passage.where, "sha256": sha, "chars": len(passage.text), "text": passage.text[:SHOWN_CHARS]}
        for sha, (passage, _) in sorted(waiting.items())
    ]
    intent = Intent(
        target=request.target,
        operation="hold",
        subject=text_digest("".join(sorted(waiting))),
        content={"passages": passages},
    )
    print_ = fingerprint(
        intent,
        tenant=request.tenant,
        principal=request.principal,
        mode=request.mode,
        server=request.server,
        tool="hold",
        tool_sha256="",
    )
    key = effect_key(intent, tenant=request.tenant, mode="live")
    open_request = approvals.history(tenant=request.tenant, effect_key=key, fingerprint=print_).exact
    if open_request and open_request.state == "pending":
        return open_request
    if approvals.pending_of(tenant=request.tenant, principal=request.principal, kind="hold") >= request.most_pending:
        raise HeldError(
            "a sensitive matter waits for a person, behind many others; nobody was asked about it yet.",
            next_step="Go on with other tickets; a later call asks once people decided some.",
            details={"limit": request.most_pending},
        )
    return approvals.ask(
        tenant=request.tenant,
        principal=request.principal,
        run_id=request.run_id,
        kind="hold",
        server=request.server,
        tool=request.tool,
        tool_sha256="",
        arguments={},
        effect_key=key,
        target=request.target,
        operation="hold",
        content=intent.content,
        fingerprint=print_,
        mode=request.mode,
        verdict=Verdict(
            outcome=Outcome.REVIEW,
            rules=tuple(sorted({category for _, categories in waiting.values() for category in categories})),
        ),
        reason="",
        decide_within_s=request.decide_within_s,
        facts=request.facts,
    )


def _hashes(held: Approval) -> set[str]:
    passages = held.content.get("passages")
    entries = passages if isinstance(passages, list) else []
    return {str(entry["sha256"]) for entry in entries if isinstance(entry, dict)}
