"""What is known of requests and decisions. Nothing here changes an approval's state, except that time does."""

from collections.abc import Sequence

from gatebook.approvals.audit import Audit
from gatebook.approvals.history import History
from gatebook.approvals.models import OPEN_STATES, Approval, ApprovalKind, ApprovalState, Card, Decision
from gatebook.database.port import Transaction, Value
from gatebook.errors import NotFoundError
from gatebook.intents import Value as Record

_COLUMNS = ", ".join(Approval.model_fields)
_MOST_IN_BATCHES = 1_000
EXPIRED = "nobody decided in time"
LAPSED = "not used in time"


class Waiting(Record):
    """How many requests wait for a decision."""

    of_principal: int
    of_tool: int


class Records:
    """The approval tables as they are read, inside one transaction. Clocks that ran out are applied before."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def get(self, approval_id: str) -> Approval:
        """Return one request.

        Raises:
            NotFoundError: If there is none with this id.
        """
        [request] = self.several([approval_id])
        return request

    def several(self, approval_ids: Sequence[str]) -> list[Approval]:
        """Return these requests, in this order.

        Raises:
            NotFoundError: If there is none with one of the ids.
        """
        self.apply_clocks()
        among, ids = _among(approval_ids)
        found = self._select(among, **ids)
        by_id = {request.approval_id: request for request in found}
        if len(by_id) < len(set(approval_ids)):
            raise NotFoundError("no approval has this id.", next_step="Call list_approvals for valid ids.")
        return [by_id[approval_id] for approval_id in approval_ids]

    def all_pending(self, approval_ids: Sequence[str]) -> bool:
        """Whether all these requests still wait for a decision. The clocks are not applied: nothing is written."""
        among, ids = _among(approval_ids)
        return self._pending(among, **ids) == len(ids)

    def history(self, *, tenant: str, effect_key: str, fingerprint: str) -> History:
        """Return what was asked before about an effect, or for exactly one call."""
        history = self.recorded(tenant=tenant, effect_key=effect_key, fingerprint=fingerprint)
        if any(self._is_over(request) for request in history.requests):
            self.apply_clocks()
            history = self.recorded(tenant=tenant, effect_key=effect_key, fingerprint=fingerprint)
        return history

    def recorded(self, *, tenant: str, effect_key: str, fingerprint: str = "") -> History:
        """Return the history as it is written down. The clocks are not applied: nothing is written."""
        found = self._select(
            "tenant = :tenant AND (fingerprint = :fingerprint OR effect_key = :key)",
            tenant=tenant,
            fingerprint=fingerprint,
            key=effect_key,
        )
        return History(effect_key, fingerprint, tuple(found))

    def used_for(self, *, tenant: str, effect_key: str, fingerprint: str, reason: str) -> Approval | None:
        """Return the request with this fingerprint that was used for this reason, while it might still be used."""
        rows = self._select(
            """tenant = :tenant AND effect_key = :key AND fingerprint = :fingerprint
               AND state = 'used' AND state_reason = :reason AND use_by > :now""",
            tenant=tenant,
            key=effect_key,
            fingerprint=fingerprint,
            reason=reason,
            now=self._tx.now,
        )
        return rows[0] if rows else None

    def holds_of(self, *, tenant: str, target: str) -> list[Approval]:
        """Return every hold of a target, open or decided."""
        self.apply_clocks()
        return self._select("tenant = :tenant AND target = :target AND kind = 'hold'", tenant=tenant, target=target)

    def select(
        self,
        *,
        tenant: str,
        principal: str = "",
        run_id: str = "",
        state: ApprovalState | None = None,
        changed_since: float = 0,
        after: str = "",
        limit: int = 50,
    ) -> list[Approval]:
        """Return requests, newest last, at most `limit`, behind the cursor `after` (`created_at|approval_id`)."""
        self.apply_clocks()
        at, _, last = after.partition("|")
        return self._select(
            """tenant = :tenant AND (:principal = '' OR principal = :principal)
               AND (:run_id = '' OR run_id = :run_id) AND (:state = '' OR state = :state)
               AND changed_at >= :changed_since
               AND (created_at > :at OR (created_at = :at AND approval_id > :last))
               ORDER BY created_at, approval_id LIMIT :limit""",
            tenant=tenant,
            principal=principal,
            run_id=run_id,
            state=state or "",
            changed_since=changed_since,
            at=float(at or 0),
            last=last,
            limit=limit,
        )

    def counts(self, *, tenant: str, run_id: str) -> dict[str, int]:
        """Return how many of a run's requests are in each state; holds are counted as `held` and `released`."""
        self.apply_clocks()
        rows = self._tx.all(
            """SELECT kind, state, COUNT(*) AS n FROM approvals WHERE tenant = :tenant AND run_id = :run_id
               GROUP BY kind, state""",
            tenant=tenant,
            run_id=run_id,
        )
        names = {("hold", "pending"): "held", ("hold", "approved"): "released", ("hold", "denied"): "kept"}
        counts: dict[str, int] = {}
        for row in rows:
            name = names.get((str(row["kind"]), str(row["state"])), str(row["state"]))
            name = f"limit {name}" if row["kind"] == "limit" else name
            counts[name] = counts.get(name, 0) + int(row["n"] or 0)
        return counts

    def needing_attention(self, *, tenant: str) -> list[Approval]:
        """Return what a person decided or was asked and that did not come to its end."""
        self.apply_clocks()
        return self._select(
            """tenant = :tenant AND state IN ('expired', 'lapsed', 'in_doubt') AND state_reason <> 'superseded'
               AND NOT (kind = 'limit' AND state = 'lapsed')
               ORDER BY changed_at""",
            tenant=tenant,
        )

    def edited(self, history: History) -> Approval | None:
        """Return what a person's change of requests for an effect led to at last. The clocks are not applied."""
        found = [new for old in history.changed for new in self._select("edited_from = :id", id=old.approval_id)]
        return self.at_last(_latest(found)) if found else None

    def edits_of(self, *, tenant: str, fingerprint: str) -> list[Approval]:
        """Return what people's changes of requests with this fingerprint led to at last."""
        edited = self._select(
            "tenant = :tenant AND fingerprint = :fingerprint AND state = 'cancelled' AND state_reason = 'edited'",
            tenant=tenant,
            fingerprint=fingerprint,
        )
        if edited:
            self.apply_clocks()
        return [self.at_last(request) for request in edited]

    def at_last(self, request: Approval) -> Approval:
        """Return what a person's changes made of a request; the request itself where nobody changed it."""
        while changed := self._select("edited_from = :id", id=request.approval_id):
            request = _latest(changed)
        return request

    def waiting(self, *, tenant: str, principal: str, server: str, tool: str) -> Waiting:
        """Return how many effects of a principal, and of a tool, wait for a decision."""
        row = self._tx.one(
            """SELECT SUM(CASE WHEN principal = :principal THEN 1 ELSE 0 END) AS of_principal,
                 SUM(CASE WHEN server = :server AND tool = :tool THEN 1 ELSE 0 END) AS of_tool
               FROM approvals WHERE tenant = :tenant AND kind = 'effect' AND state = 'pending' AND decide_by > :now""",
            tenant=tenant,
            principal=principal,
            server=server,
            tool=tool,
            now=self._tx.now,
        )
        assert row is not None
        return Waiting(of_principal=int(row["of_principal"] or 0), of_tool=int(row["of_tool"] or 0))

    def pending_of(self, *, tenant: str, principal: str, kind: ApprovalKind | None = None) -> int:
        """Return how many requests of a principal, of one kind or of any, wait for a decision."""
        return self._pending(
            "tenant = :tenant AND principal = :principal AND (:kind = '' OR kind = :kind)",
            tenant=tenant,
            principal=principal,
            kind=kind or "",
        )

    def batches(self, *, tenant: str) -> list[list[Approval]]:
        """Return the pending requests that may be decided on one card, two or more of the same tool and rules."""
        cards: dict[Card, list[Approval]] = {}
        for request in self.select(tenant=tenant, state="pending", limit=_MOST_IN_BATCHES):
            if request.batchable:
                cards.setdefault(request.card, []).append(request)
        return [requests for requests in cards.values() if len(requests) > 1]

    def decisions(self, approval_id: str) -> list[Decision]:
        """Return who decided a request."""
        rows = self._tx.all("SELECT * FROM decisions WHERE approval_id = :id ORDER BY decided_at", id=approval_id)
        return [Decision.model_validate(dict(row)) for row in rows]

    def apply_clocks(self) -> None:
        """Let requests expire that nobody decided in time, and approvals lapse that nobody used in time."""
        changed = self._tx.all(
            """UPDATE approvals SET changed_at = :now,
                 state_reason = CASE state WHEN 'pending' THEN :expired ELSE :lapsed END,
                 state = CASE state WHEN 'pending' THEN 'expired' ELSE 'lapsed' END
               WHERE (state = 'pending' AND decide_by <= :now) OR (state = 'approved' AND use_by <= :now)
               RETURNING approval_id, state""",
            expired=EXPIRED,
            lapsed=LAPSED,
            now=self._tx.now,
        )
        Audit(self._tx).ran_out(changed)

    def _is_over(self, request: Approval) -> bool:
        """Whether the time of a request, or of a yes, has run out and nobody wrote that down yet."""
        ends = {"pending": request.decide_by, "approved": request.use_by}.get(request.state)
        return ends is not None and ends <= self._tx.now

    def _pending(self, where: str, **parameters: Value) -> int:
        row = self._tx.one(
            f"SELECT COUNT(*) AS n FROM approvals WHERE state = 'pending' AND decide_by > :now AND {where}",  # noqa: S608 - constants
            now=self._tx.now,
            **parameters,
        )
        return int(row["n"] or 0) if row else 0

    def _select(self, where: str, **parameters: Value) -> list[Approval]:
        rows = self._tx.all(f"SELECT {_COLUMNS} FROM approvals WHERE {where}", **parameters)  # noqa: S608 - constants
        return [Approval.model_validate(dict(row)) for row in rows]


def _latest(requests: Sequence[Approval]) -> Approval:
    return max(requests, key=lambda one: (one.state in OPEN_STATES, one.created_at, one.revision))


def _among(approval_ids: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Return the condition that a request is one of these, and its parameters: each id once."""
    ids = {f"id_{number}": approval_id for number, approval_id in enumerate(dict.fromkeys(approval_ids))}
    return f"approval_id IN ({', '.join(f':{name}' for name in ids)})", ids
