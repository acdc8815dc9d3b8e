"""What the console's lists show of requests. Nothing here changes anything."""

import json
from collections.abc import Sequence
from typing import Annotated, cast

from pydantic import BeforeValidator

from gatebook.approvals.models import Approval, ApprovalKind, ApprovalState
from gatebook.approvals.policy import Risk
from gatebook.approvals.records import Records
from gatebook.database.port import Row, Transaction
from gatebook.errors import NotFoundError
from gatebook.intents import Value

PAGE = 500
"""Requests on one page of the inbox."""
HISTORY_PAGE = 50
_PREVIEW_CHARS = 240
_COLUMNS = ", ".join(Approval.model_fields)
_TEXTS = ("body", "note", "description", "title")
"""Fields of a content that say most of it, the best first."""


def _decoded(value: object) -> object:
    return json.loads(value) if isinstance(value, str) else value


class Card(Value):
    """A request in a list: as much of it as a line shows."""

    approval_id: str
    kind: ApprovalKind
    tool: str
    target: str
    mode: str
    state: ApprovalState
    state_reason: str
    risk: Risk
    server: str
    rules: Annotated[tuple[str, ...], BeforeValidator(_decoded)]
    batch: bool
    quorum: int
    votes: int
    revision: int
    edited_by: str
    created_at: float
    decide_by: float
    changed_at: float
    subject: str = ""
    preview: str = ""

    @property
    def batchable(self) -> bool:
        """Whether it may be decided together with others; the broker has the last word."""
        return self.kind == "effect" and self.batch and self.risk != "critical"


_CARD = ", ".join(name for name in Card.model_fields if name not in ("subject", "preview", "votes"))


class Cards:
    """The approval tables as lists show them, inside one transaction."""

    def __init__(self, transaction: Transaction, *, tenant: str) -> None:
        self._tx = transaction
        self._tenant = tenant

    def pending(self, *, held: bool, after: str = "", limit: int = PAGE) -> list[Card]:
        """Return what waits, the oldest first: the requests, or the holds; behind the cursor `after`."""
        at, _, last = after.partition("|")
        return self._cards(
            f"""state = 'pending' AND {"kind = 'hold'" if held else "kind <> 'hold'"}
               AND (created_at > :at OR (created_at = :at AND approval_id > :last))
               ORDER BY created_at, approval_id LIMIT :limit""",
            at=_number(at),
            last=last,
            limit=limit,
        )

    def history(self, *, words: str, state: str, before: str = "") -> list[Card]:
        """Return requests in any state, the latest change first, whose texts hold `words`; behind the cursor."""
        at, _, last = before.partition("|")
        return self._cards(
            """(:state = '' OR state = :state) AND (:words = '' OR LOWER(target || ' ' || approval_id || ' ' || tool
                 || ' ' || principal || ' ' || run_id || ' ' || rules || ' ' || state_reason || ' ' || content)
                 LIKE :pattern ESCAPE '!')
               AND (:at = 0 OR changed_at < :at OR (changed_at = :at AND approval_id < :last))
               ORDER BY changed_at DESC, approval_id DESC LIMIT :limit""",
            state=state,
            words=words,
            pattern=f"%{_literal(words.lower())}%",
            at=_number(at),
            last=last,
            limit=HISTORY_PAGE + 1,
        )

    def get(self, approval_id: str) -> Approval:
        """Return a request of this tenant, whole.

        Raises:
            NotFoundError: If there is none, or it is another tenant's.
        """
        request = Records(self._tx).get(approval_id)
        if request.tenant != self._tenant:
            raise NotFoundError("no approval has this id.", next_step="Go on from the inbox.")
        return request

    def newer(self, request: Approval) -> Approval | None:
        """Return the request that took this one's place: its edited form, or the one for a newer draft."""
        row = self._tx.one(
            f"""SELECT {_COLUMNS} FROM approvals
                WHERE tenant = :tenant AND approval_id <> :id AND (edited_from = :id
                  OR (target = :target AND operation = :operation AND kind = :kind AND created_at >= :created
                      AND state IN ('pending', 'approved', 'claimed')))
                ORDER BY edited_from = :id DESC, created_at DESC LIMIT 1""",  # noqa: S608 - constant columns
            tenant=self._tenant,
            id=request.approval_id,
            target=request.target,
            operation=request.operation,
            kind=request.kind,
            created=request.created_at,
        )
        return Approval.model_validate(dict(row)) if row else None

    def of_run(self, run_id: str) -> list[Card]:
        """Return what a run asked for."""
        return self._cards("run_id = :run AND run_id <> '' ORDER BY created_at LIMIT 500", run=run_id)

    def _cards(self, where: str, **parameters: str | float) -> list[Card]:
        rows = self._tx.all(
            f"""SELECT {_CARD}, content, facts, (SELECT COUNT(*) FROM decisions
                  WHERE decisions.approval_id = approvals.approval_id AND verdict = 'approve') AS votes
                FROM approvals WHERE tenant = :tenant AND {where}""",  # noqa: S608 - constants
            tenant=self._tenant,
            **parameters,
        )
        return [_card(row) for row in rows]


def _card(row: Row) -> Card:
    shown = {name: value for name, value in row.items() if name not in ("content", "facts")}
    subject = str(json.loads(str(row["facts"])).get("subject", ""))[:_PREVIEW_CHARS]
    return Card.model_validate({**shown, "subject": subject, "preview": _preview(str(row["content"]))})


def cursor_of(cards: Sequence[Card], *, by: str) -> str:
    """Return the cursor behind the last card, in the order of the column `by`."""
    return f"{getattr(cards[-1], by)!r}|{cards[-1].approval_id}" if cards else ""


def batches_of(cards: Sequence[Card]) -> list[list[Card]]:
    """Return which requests may be decided on one card: two or more of the same tool and rules."""
    alike: dict[tuple[str, str, str, tuple[str, ...]], list[Card]] = {}
    for card in cards:
        if card.batchable:
            alike.setdefault((card.server, card.tool, card.mode, card.rules), []).append(card)
    return [group for group in alike.values() if len(group) > 1]


def _preview(content: str) -> str:
    """Return the beginning of what would leave, of a content in its canonical form."""
    fields = cast("dict[str, object]", json.loads(content))
    if isinstance(passages := fields.get("passages"), list):
        texts = [str(entry.get("text", "")) for entry in cast("list[dict[str, object]]", passages)]
        return _line(" … ".join(texts))
    for name in _TEXTS:
        if isinstance(value := fields.get(name), str) and value:
            return _line(value)
    return _line(", ".join(f"{name}: {_short(value)}" for name, value in fields.items() if value))


def _line(text: str) -> str:
    # In a list the layout of a text would only hide what it says.
    return " ".join(text[: 2 * _PREVIEW_CHARS].split())[:_PREVIEW_CHARS]


def _short(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _number(text: str) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0


def _literal(words: str) -> str:
    return words.replace("!", "!!").replace("%", "!%").replace("_", "!_")
