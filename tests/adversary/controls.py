"""Each check of the guard, switched off by itself: one line of its source is replaced, and nothing else."""

import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import cast

from adversary.by_agents import OTHERS, REUSED, SELF_APPROVAL, SWAPPED, TOOL_CHANGED
from adversary.by_browsers import FORGED
from adversary.by_circumstance import DODGING, FLOOD, POLICY_CHANGED, PRE_APPROVED, STOPPED, TIMEOUT
from adversary.by_hand import LOG_EDITED
from adversary.by_persons import WRONG_PERSON
from adversary.cases import Threat
from gatebook.admission import Admission
from gatebook.approvals import requests, terms, verifying
from gatebook.approvals.policy import Policy
from gatebook.approvals.records import Records
from gatebook.approvals.requests import Approvals
from gatebook.asking import Asking
from gatebook.foreign import ForeignCalls
from gatebook.gate import Gate
from gatebook.guard import Guard
from gatebook.intents import canonical, fingerprint
from gatebook_servers.approvals import tools as approval_tools
from gatebook_servers.console import sessions, visit
from gatebook_servers.console.pages import batches
from gatebook_servers.console.pages import requests as request_pages
from gatebook_servers.console.security import Form, Gatekeeper, read_form
from gatebook_servers.console.sessions import Sessions
from gatebook_servers.tickets import outgoing
from gatebook_servers.tickets.desks.local import LocalDesk
from gatebook_servers.tickets.drafts import Drafts


@dataclass(frozen=True)
class Check:
    """A check: the function it is in, its words there, and what stands in their place without it."""

    of: Callable[..., object]
    words: str
    without: str = "if False:"

    def code(self) -> tuple[FunctionType, CodeType]:
        """Return the function, and its code without the check."""
        function = cast("FunctionType", self.of)
        source = textwrap.dedent(inspect.getsource(function))
        assert source.count(self.words) == 1, f"{function.__qualname__} has no such check any more"
        names: dict[str, object] = {}
        exec(source.replace(self.words, self.without), function.__globals__, names)  # noqa: S102 - our own source
        return function, cast("FunctionType", names[function.__name__]).__code__


@dataclass(frozen=True)
class Control:
    """One check, or several that cover each other, and the threat whose cases find that they are missing.

    `attempts` are those of the threat, where not all are tried; `tools` likewise. `settings` may say more than the
    threat does.
    """

    name: str
    threat: Threat
    checks: tuple[Check, ...]
    attempts: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()


_SHOWN = "if len(shown) < 6 or not request.fingerprint.startswith(shown.lower()):"
_CODING = 'if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":'
_SUPERSEDE = 'Approvals(self._tx).supersede(tenant=tenant, target=target, operation=REPLY, reason="superseded")'
_WITHOUT_REF = 'data = _dumps({k: v for k, v in value.items() if k != "ref"} if isinstance(value, dict) else value)'
_HASH = 'if row["hash"] != leaf.hex():'
_ROOT = "if waiting.pop().root != tree.root():"
_PENDING = 'if not granted and known is not None and known.state == "pending":'


def _control(name: str, threat: Threat, of: Callable[..., object], words: str, without: str = "if False:") -> Control:
    return Control(name, threat, (Check(of, words, without),))


ALONE: tuple[Control, ...] = (
    # The gate.
    _control("never", POLICY_CHANGED, Gate.claim, "if verdict.outcome is Outcome.DENY:"),
    _control("review", SWAPPED, Gate.claim, "if not granted and verdict.outcome is Outcome.REVIEW:"),
    _control("a no sticks to the call", FLOOD, Gate.claim, "self._require_undenied(history, intent)", "None"),
    _control("a no sticks to asking", FLOOD, Gate.request, "self._require_undenied(history, intent)", "None"),
    _control(
        "stricter of then and now",
        POLICY_CHANGED,
        Gate.claim,
        "if known is not None and self._outgrown(tx, known, verdict):",
    ),
    _control("what waits is not overtaken", POLICY_CHANGED, Gate.claim, _PENDING),
    _control("one request for one call", FLOOD, Gate.claim, _PENDING),
    _control("holds", DODGING, Gate.hold, "if found:"),
    _control(
        "the grant is taken",
        REUSED,
        Gate._granted,
        "Approvals(tx).consume(known)",
        "known.approval_id",
    ),
    _control("the strictest wins", PRE_APPROVED, Policy.judge, "strictest = max((outcome", "strictest = min((outcome"),
    # What a yes is bound to.
    _control("binding to the content", SWAPPED, fingerprint, "intent.canonical_content", "b'{}'"),
    _control("binding to the principal", OTHERS, fingerprint, '"principal": principal', '"principal": ""'),
    _control("binding to the mode", OTHERS, fingerprint, '"mode": mode', '"mode": ""'),
    _control("binding to the tool's form", TOOL_CHANGED, fingerprint, '"schema": tool_sha256', '"schema": ""'),
    # The broker.
    _control("decide-by", TIMEOUT, Records.apply_clocks, "AND decide_by <= :now", "AND decide_by < 0"),
    _control("only what waits is decided", TIMEOUT, Approvals._decidable, 'if request.state != "pending":'),
    _control("the role", WRONG_PERSON, requests._require_role, "if not reviewer.may_decide(request.roles):"),
    _control("what was shown", WRONG_PERSON, Approvals._decidable, _SHOWN),
    _control("distinct persons", WRONG_PERSON, Approvals.approve, "if reviewer.person in before:"),
    _control(
        "four eyes", WRONG_PERSON, Approvals.approve, "if request.four_eyes and request.edited_by == reviewer.person:"
    ),
    _control(
        "votes against the policy of now",
        POLICY_CHANGED,
        terms.satisfied,
        "return len(persons) >= both.quorum",
        "return True",
    ),
    _control("cancel one's own", OTHERS, Approvals.cancel, "if request.principal != principal:"),
    _control(
        "read one's own",
        OTHERS,
        approval_tools._reading,
        "if any(request.principal != caller.principal for request in found):",
    ),
    _control("list one's own", OTHERS, Records.select, "(:principal = '' OR principal = :principal)", "TRUE"),
    _control(
        "most of a principal",
        FLOOD,
        Asking._require_room,
        "if waiting.of_principal >= settings.max_pending_per_principal:",
    ),
    _control("most for a tool", FLOOD, Asking._require_room, "if waiting.of_tool >= settings.max_pending_per_tool:"),
    Control(
        "foreign calls are asked about",
        SELF_APPROVAL,
        (Check(ForeignCalls._decide, "if verdict.outcome is Outcome.REVIEW or standing is not asked:"),),
        tools=("permission_prompt",),
    ),
    _control("the customer's address", SWAPPED, outgoing.reply_judged, "if ticket.requester.email != draft.recipient:"),
    # The operator.
    _control("the ceiling", STOPPED, Admission.require_ceiling, "if not self.within_ceiling(spec):"),
    _control("the pause", STOPPED, Guard._look, "if call.spec.reach >= Reach.WRITE:"),
    # The console.
    _control("the form's token", FORGED, Form.require_token, "if not hmac.compare_digest(given, expected.encode()):"),
    _control(
        "the host",
        FORGED,
        Gatekeeper._refusal,
        'if len(headers.getlist("host")) != 1 or not self._address.admits(host):',
    ),
    _control(
        "forms from elsewhere",
        FORGED,
        Gatekeeper._refusal,
        "if method not in _SAFE_METHODS and not self._is_own(headers, self._address.origin(host)):",
    ),
    _control("the origin", FORGED, Gatekeeper._is_own, "origin == own and site", "site"),
    _control("the site of an own origin", FORGED, Gatekeeper._is_own, ' and site in ("", "same-origin")', ""),
    _control("the site of no origin", FORGED, Gatekeeper._is_own, ' and site == "same-origin"', ""),
    _control("the coding of forms", FORGED, read_form, _CODING),
    _control("signed in", FORGED, visit.form, "if visit.signed_in is None:"),
    _control("idle sessions", FORGED, Sessions.person, "AND seen_at > :idle", ""),
    _control("long sessions", FORGED, Sessions.person, "AND begun_at > :old", ""),
    _control("the session's secret", FORGED, Sessions.person, "WHERE token_sha256 = :token AND", "WHERE"),
    _control("disabled persons", FORGED, sessions._enabled, "None if person.disabled else person", "person"),
    _control("who looks on", FORGED, visit.form, "if not person.decides or", "if"),
    _control(
        "the whole text was shown",
        FORGED,
        request_pages.approve_request,
        'if visit.form.text("seen") != visit.seen(shown):',
    ),
    _control("each line was shown", FORGED, batches._decided, " or line[2] != visit.seen(line[1])", ""),
    # The log.
    _control("the log's checkpoints", LOG_EDITED, verifying._honest, _ROOT, "if waiting.pop() is None:"),
    _control("the log's end", LOG_EDITED, verifying._honest, "    if waiting:", "    if False:"),
)
TOGETHER: tuple[Control, ...] = (
    Control(
        "approved only, in the gate and in the statement that takes the grant",
        REUSED,
        (
            Check(Gate._granted, 'known is not None and known.state == "approved" and', "known is not None and"),
            Check(Approvals.consume, "AND state = 'approved' ", ""),
        ),
    ),
    Control(
        "use-by, by the clocks and in the statement that takes the grant",
        TIMEOUT,
        (
            Check(Records.apply_clocks, "AND use_by <= :now", "AND use_by < 0"),
            Check(Approvals.consume, "AND use_by > :now", ""),
        ),
    ),
    Control(
        "the quorum, when people decide and when the grant is used",
        WRONG_PERSON,
        (
            Check(Approvals.approve, "if len(before) + 1 >= request.quorum:", "if True:"),
            Check(terms.satisfied, "return len(persons) >= both.quorum", "return True"),
        ),
    ),
    Control(
        "the tenant, in the fingerprint and in the look for requests",
        OTHERS,
        (
            Check(fingerprint, '"tenant": tenant', '"tenant": ""'),
            Check(Records.recorded, "tenant = :tenant AND (", "("),
        ),
    ),
    Control(
        "the ticket, as the target and in the content",
        SWAPPED,
        (
            Check(fingerprint, '"target": intent.target', '"target": ""'),
            Check(canonical, "data = _dumps(value)", _WITHOUT_REF),
        ),
        attempts=("call otherwise", "call otherwise again"),
    ),
    Control(
        "superseded drafts, when a newer one is stored and when one is sent",
        SWAPPED,
        (
            Check(Drafts.replace, _SUPERSEDE, "None"),
            Check(outgoing.reply_facts, "if draft.superseded_by:"),
        ),
        attempts=("swap the draft",),
    ),
    Control(
        "the customer's newest message, in the guard and in the desk",
        SWAPPED,
        (
            Check(outgoing.reply_judged, "if newest_from_customer(comments) != draft.head:"),
            Check(LocalDesk.comment, "if head is not None and newest_from_customer(_comments(tx, row)) != head:"),
        ),
        attempts=("customer moves",),
    ),
    Control(
        "an event of the log, by its hash and by the checkpoint",
        LOG_EDITED,
        (Check(verifying._fault, _HASH), Check(verifying._honest, _ROOT, "if waiting.pop() is None:")),
        attempts=("flip",),
    ),
)
"""Checks that cover each other: each alone may be missing and nothing gets through."""
