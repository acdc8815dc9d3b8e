"""Effects on the outside: identity, claim, completion.

An effect is claimed before it is performed and recorded after it. A crash in between leaves the claim; whoever takes
it over looks the marker up outside before acting again. Recording only afterwards, as most engines do, repeats the
effect of every crash that falls between the two.
"""

from typing import Literal

from gatebook.database.port import Row, Transaction
from gatebook.errors import NotFoundError
from gatebook.intents import Intent, Value, effect_key, marker_of
from gatebook.switches import RESTORED

EffectState = Literal["claimed", "done", "in_doubt", "not_applied"]


class Effect(Value):
    """A claimed effect, as the function that performs it receives it.

    `marker` must travel with the effect where the outside can carry it. `takeover` tells that somebody may have
    performed it already, so that it is looked up outside first.
    """

    key: str
    marker: str
    fence: int
    owner: str
    content_sha256: str
    approval_id: str = ""
    takeover: bool = False


class EffectRow(Value):
    """What the database knows of an effect."""

    effect_key: str
    target: str
    operation: str
    server: str
    tool: str
    principal: str
    run_id: str
    mode: str
    content_sha256: str
    marker: str
    arguments: str
    state: EffectState
    owner: str
    lease_until: float
    fence: int
    approval_id: str
    result: str
    outcome: str
    finished_at: float | None


_COLUMNS = ", ".join(EffectRow.model_fields)


class Effects:
    """The effects table, inside one transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def find(self, key: str) -> EffectRow | None:
        """Return the effect with this identity, if it was ever claimed."""
        row = self._tx.one(f"SELECT {_COLUMNS} FROM effects WHERE effect_key = :key", key=key)  # noqa: S608 - constant
        return _effect(row) if row else None

    def claim(
        self,
        intent: Intent,
        *,
        tenant: str,
        mode: str,
        server: str,
        tool: str,
        principal: str,
        run_id: str,
        arguments: str,
        owner: str,
        lease_s: float,
        approval_id: str,
    ) -> Effect:
        """Insert the effect with its owner and lease, or take over one that surely was not applied.

        Nothing may follow in the transaction. An effect that is claimed in a database that was put back from a copy is
        looked up outside first: it may have been performed since, and the record of it lost.

        Args:
            intent: What is meant to happen.
            tenant: Whose it is.
            mode: `live` or `dry-run`.
            server: The tool's room.
            tool: The tool that performs it.
            principal: Who asked.
            run_id: In which run, without its epoch.
            arguments: The validated arguments as JSON, with which the effect can be looked up later.
            owner: This process.
            lease_s: Seconds that it belongs to this process.
            approval_id: The grant that was taken for it.
        """
        key = effect_key(intent, tenant=tenant, mode=mode)
        claimed = self._tx.conclude(
            """INSERT INTO effects (effect_key, tenant, target, operation, subject, server, tool, principal, run_id,
                 mode, content, content_sha256, marker, arguments, state, owner, lease_until, fence, approval_id,
                 result, outcome, claimed_at, finished_at)
               VALUES (:key, :tenant, :target, :operation, :subject, :server, :tool, :principal, :run_id,
                 :mode, :content, :sha, :marker, :arguments, 'claimed', :owner, :lease, 1, :approval,
                 '', '', :now, NULL)
               ON CONFLICT (effect_key) DO UPDATE SET server = excluded.server, tool = excluded.tool,
                 principal = excluded.principal, run_id = excluded.run_id, content = excluded.content,
                 content_sha256 = excluded.content_sha256, arguments = excluded.arguments, state = 'claimed',
                 owner = excluded.owner, lease_until = excluded.lease_until, fence = effects.fence + 1,
                 approval_id = excluded.approval_id, result = '', outcome = '', claimed_at = excluded.claimed_at,
                 finished_at = NULL
               WHERE effects.state = 'not_applied'
               RETURNING fence, (SELECT COUNT(*) FROM switches WHERE name = :restored) AS restored""",
            key=key,
            tenant=tenant,
            target=intent.target,
            operation=intent.operation,
            subject=intent.subject,
            server=server,
            tool=tool,
            principal=principal,
            run_id=run_id,
            mode=mode,
            content=intent.canonical_content.decode(),
            sha=intent.content_sha256,
            marker=marker_of(key),
            arguments=arguments,
            owner=owner,
            lease=self._tx.steady + lease_s,
            approval=approval_id,
            restored=RESTORED,
        )
        assert claimed is not None, "whoever claims has looked for the effect in this transaction"
        return Effect(
            key=key,
            marker=marker_of(key),
            fence=int(claimed["fence"] or 1),
            owner=owner,
            content_sha256=intent.content_sha256,
            approval_id=approval_id,
            takeover=bool(claimed["restored"]),
        )

    def take_over(self, row: EffectRow, *, owner: str, lease_s: float) -> Effect | None:
        """Become the owner of an effect whose lease ended; None when another process was faster."""
        taken = self._tx.execute(
            """UPDATE effects SET owner = :owner, lease_until = :lease, fence = fence + 1
               WHERE effect_key = :key AND state = 'claimed' AND fence = :fence AND lease_until <= :now""",
            owner=owner,
            lease=self._tx.steady + lease_s,
            key=row.effect_key,
            fence=row.fence,
            now=self._tx.steady,
        )
        if not taken:
            return None
        return Effect(
            key=row.effect_key,
            marker=row.marker,
            fence=row.fence + 1,
            owner=owner,
            content_sha256=row.content_sha256,
            approval_id=row.approval_id,
            takeover=True,
        )

    def finish(self, effect: Effect, *, state: EffectState, result: str, outcome: str) -> bool:
        """Record how the effect ended; False when it has another owner by now, whose record then stands."""
        return bool(
            self._tx.execute(
                """UPDATE effects SET state = :state, result = :result, outcome = :outcome, finished_at = :now
                   WHERE effect_key = :key AND owner = :owner AND fence = :fence AND state = 'claimed'""",
                state=state,
                result=result,
                outcome=outcome,
                now=self._tx.now,
                key=effect.key,
                owner=effect.owner,
                fence=effect.fence,
            )
        )

    def settle(self, key: str, *, approval_id: str, happened: bool) -> bool:
        """Record what a person found out about an effect in doubt; False when it is not in doubt under this grant."""
        return bool(
            self._tx.execute(
                """UPDATE effects SET state = :state, outcome = 'settled', finished_at = :now
                   WHERE effect_key = :key AND approval_id = :approval AND state = 'in_doubt'""",
                state="done" if happened else "not_applied",
                now=self._tx.now,
                key=key,
                approval=approval_id,
            )
        )

    def of_marker(self, marker: str, *, tenant: str) -> EffectRow:
        """Return the effect with this marker.

        Raises:
            NotFoundError: If there is none.
        """
        row = self._tx.one(
            f"SELECT {_COLUMNS} FROM effects WHERE marker = :marker AND tenant = :tenant",  # noqa: S608 - constant
            marker=marker,
            tenant=tenant,
        )
        if row is None:
            raise NotFoundError("no effect has this marker.", next_step="Run `gatebook attention` for valid ones.")
        return _effect(row)

    def approved_of(self, run_id: str) -> list[EffectRow]:
        """Return what was executed for a run because a person approved it."""
        rows = self._tx.all(
            f"SELECT {_COLUMNS} FROM effects WHERE run_id = :run AND approval_id <> ''"  # noqa: S608 - constant columns
            " AND state = 'done' ORDER BY finished_at",
            run=run_id,
        )
        return [_effect(row) for row in rows]

    def unsettled(self, *, tenant: str) -> list[EffectRow]:
        """Return the effects whose outcome a person has to settle, and the claims whose owner is gone."""
        rows = self._tx.all(
            f"""SELECT {_COLUMNS} FROM effects WHERE tenant = :tenant
                  AND (state = 'in_doubt' OR (state = 'claimed' AND lease_until <= :now))
                ORDER BY claimed_at""",  # noqa: S608 - constant columns
            tenant=tenant,
            now=self._tx.steady,
        )
        return [_effect(row) for row in rows]


def _effect(row: Row) -> EffectRow:
    return EffectRow.model_validate(dict(row))
