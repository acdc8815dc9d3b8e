"""One call before the operator's policy, whoever's tool it is for."""

from collections.abc import Mapping

from pydantic import JsonValue

from gatebook.approvals.cases import Case, Earlier
from gatebook.approvals.verdicts import Verdict
from gatebook.clock import moment
from gatebook.database.port import Transaction
from gatebook.intents import Facts
from gatebook.reach import Reach
from gatebook.runtime import Runtime
from gatebook.telemetry import count_shadow


def judged(
    tx: Transaction,
    runtime: Runtime,
    *,
    name: str,
    reach: Reach,
    facts: Facts,
    content: Mapping[str, JsonValue],
    principal: str,
    effect_key: str,
) -> Verdict:
    """Return what policy says of a call.

    A policy that was not seen before is told to the audit log, where something may be written or sent by it.

    Args:
        tx: The transaction that relies on it.
        runtime: The process's ports.
        name: The tool, `server.tool`.
        reach: How far it reaches.
        facts: What the server fetched.
        content: What will leave, or be stored.
        principal: Who calls.
        effect_key: The effect of this call, which is no earlier one; empty for none.

    Raises:
        ConfigurationError: If the policy's file does not fit.
    """
    settings = runtime.settings
    case = Case(
        name=name,
        reach=reach,
        facts=facts,
        content=content,
        principal=principal,
        mode=settings.mode,
        at=moment(tx.now).astimezone(settings.zone),
        earlier=Earlier(tx, name, principal, settings.tenant, settings.mode, effect_key),
    )
    verdict = runtime.policy(reach).judge(case)
    if reach >= Reach.WRITE:
        runtime.tell_policy(tx)
    for rule in verdict.shadow:
        count_shadow(rule, tool=name, outcome=verdict.outcome.name.lower())
    return verdict
