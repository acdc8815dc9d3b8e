"""The states of a request under every order of events: what a person did not allow is never done."""

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gatebook.approvals.models import OPEN_STATES, ApprovalState, Origin, Reviewer
from gatebook.approvals.requests import Approvals
from gatebook.approvals.terms import satisfied, terms_of
from gatebook.approvals.verdicts import Outcome, Verdict
from gatebook.clock import ManualClock
from gatebook.database.sqlite import SqliteDatabase
from gatebook.errors import ConflictError, ForbiddenError, NotFoundError
from gatebook.intents import digest

HOUR_S = 3_600.0
MOVES: dict[ApprovalState, set[ApprovalState]] = {
    "pending": {"approved", "denied", "expired", "cancelled"},
    "approved": {"claimed", "lapsed"},
    "claimed": {"used", "in_doubt", "lapsed", "approved"},
    "in_doubt": {"used", "approved", "lapsed"},
}
ANY = Reviewer(person="person:ada", roles=("*",))
REVIEWERS = [ANY, Reviewer(person="person:ben"), Reviewer(person="person:lea", roles=("lead",))]
STRICTER = Verdict(outcome=Outcome.REVIEW, rules=("now",), quorum=2, roles=("lead",))
"""What policy says after it became stricter: two persons, each in the role of a lead or of an owner."""
CONTENTS = st.integers(0, 2)


class Broker(RuleBasedStateMachine):
    """Everything that may happen to requests, in any order and at any time."""

    def __init__(self) -> None:
        super().__init__()
        self._home = tempfile.TemporaryDirectory()
        self.clock = ManualClock()
        self.database = SqliteDatabase(Path(self._home.name) / "gatebook.db", self.clock)
        self.ids: list[str] = []
        self.seen: dict[str, ApprovalState] = {}
        self.said_yes: set[str] = set()
        self.grants: dict[str, int] = {}
        self.taken: dict[str, int] = {}
        self.yes: dict[str, list[Reviewer]] = {}
        self.strict = False

    def teardown(self) -> None:
        self.database.close()
        self._home.cleanup()

    def _in(self, state: ApprovalState, index: int) -> str:
        # In the order of asking: the ids themselves are random, and a run must be repeatable.
        ids = [one for one in self.ids if self.seen[one] == state]
        return ids[index % len(ids)] if ids else "apr_none"

    @rule(content=CONTENTS, quorum=st.integers(1, 2), lead=st.booleans(), four_eyes=st.booleans())
    def ask(self, content: int, quorum: int, lead: bool, four_eyes: bool) -> None:  # noqa: FBT001 - as below
        with self.database.transaction() as tx:
            history = Approvals(tx).history(tenant="t", effect_key=f"e{content}", fingerprint=f"{content}" * 64)
            known, refused = history.exact, history.refusal_of("")
            if (known is not None and known.state in OPEN_STATES) or refused is not None:
                return
            made = Approvals(tx).ask(
                tenant="t", principal="agent:a", run_id="", kind="effect", server="s", tool="t", tool_sha256="",
                arguments={}, effect_key=f"e{content}", target="x", operation="o", content={"n": content},
                fingerprint=f"{content}" * 64, mode="live", reason="", decide_within_s=10 * HOUR_S,
                editable=["n"],
                verdict=Verdict(
                    outcome=Outcome.REVIEW, rules=(), quorum=quorum, roles=("lead",) if lead else (),
                    four_eyes=four_eyes,
                ),
            )  # fmt: skip
        self.ids.append(made.approval_id)
        self.seen[made.approval_id] = "pending"

    @rule(
        index=st.integers(0, 9),
        state=st.sampled_from(["pending", "pending", "pending", "denied", "expired", "used", "approved"]),
        reviewer=st.sampled_from(REVIEWERS),
    )
    def approve(self, index: int, state: ApprovalState, reviewer: Reviewer) -> None:
        chosen = self._in(state, index)
        with self.database.transaction() as tx:
            stored = Approvals(tx)
            try:
                before = stored.get(chosen)
                after = stored.approve(
                    chosen, reviewer=reviewer, channel="", shown=before.shown, use_within_s=5 * HOUR_S
                )
            except (ConflictError, ForbiddenError, NotFoundError):
                return
        assert before.state == "pending"
        assert not before.roles or {"*", "lead"} & set(reviewer.roles), "only a named role decides"
        assert not (before.four_eyes and before.edited_by == reviewer.person), "an editor does not approve"
        assert reviewer not in self.yes.setdefault(chosen, []), "a person votes once"
        self.yes[chosen].append(reviewer)
        assert (after.state == "approved") == (len(self.yes[chosen]) >= before.quorum)
        if after.state == "approved":
            self.said_yes.add(chosen)
            self.grants[chosen] = 1

    @rule(index=st.integers(0, 9), content=CONTENTS, reviewer=st.sampled_from(REVIEWERS))
    def edit(self, index: int, content: int, reviewer: Reviewer) -> None:
        chosen = self._in("pending", index)
        with self.database.transaction() as tx:
            stored = Approvals(tx)
            try:
                before = stored.get(chosen)
                stored.require_editable(chosen, reviewer=reviewer, shown=before.shown, changes={"n": str(content)})
            except (ConflictError, ForbiddenError, NotFoundError):
                return
            revision = f"{len(self.ids):02d}{content}"
            stored.record_edit(before, reviewer=reviewer, channel="", shown=before.shown)
            stored.void(before, reason="edited")
            made = stored.ask(
                tenant="t", principal="agent:a", run_id="", kind="effect", server="s", tool="t", tool_sha256="",
                arguments={}, effect_key=f"e{revision}", target="x", operation="o", content={"n": revision},
                fingerprint=digest(revision), mode="live", reason="", decide_within_s=10 * HOUR_S, editable=["n"],
                verdict=terms_of(before),
                origin=Origin(revision=before.revision + 1, edited_by=reviewer.person, edited_from=chosen),
            )  # fmt: skip
            assert stored.at_last(before) == made
            assert stored.decisions(made.approval_id) == [], "votes are on one revision"
        self.ids.append(made.approval_id)
        self.seen[made.approval_id] = "pending"

    @rule()
    def let_policy_become_stricter(self) -> None:
        self.strict = True

    @rule(
        index=st.integers(0, 9),
        state=st.sampled_from(["pending", "approved", "claimed", "expired"]),
        reviewer=st.sampled_from(REVIEWERS),
    )
    def deny(self, index: int, state: ApprovalState, reviewer: Reviewer) -> None:
        chosen = self._in(state, index)
        with self.database.transaction() as tx:
            try:
                shown = Approvals(tx).get(chosen).shown
                Approvals(tx).deny(chosen, reviewer=reviewer, channel="", shown=shown, reason="no")
            except (ConflictError, ForbiddenError, NotFoundError):
                return

    @rule(index=st.integers(0, 9), state=st.sampled_from(["pending", "approved", "denied"]))
    def cancel(self, index: int, state: ApprovalState) -> None:
        with self.database.transaction() as tx:
            try:
                Approvals(tx).cancel(self._in(state, index), principal="agent:a", reason="")
            except (ConflictError, NotFoundError):
                return

    @rule(content=CONTENTS)
    def consume(self, content: int) -> None:
        self._consume(f"{content}" * 64)

    @rule(index=st.integers(0, 9))
    def consume_any(self, index: int) -> None:
        with self.database.transaction() as tx:
            try:
                wanted = Approvals(tx).get(self._in("approved", index))
            except NotFoundError:
                return
        self._consume(wanted.fingerprint)

    def _consume(self, fingerprint: str) -> None:
        with self.database.transaction() as tx:
            known = Approvals(tx).history(tenant="t", effect_key="", fingerprint=fingerprint).exact
            if known is None:
                return
            votes = Approvals(tx).decisions(known.approval_id)
            now = STRICTER if self.strict else terms_of(known)
            if known.state == "approved" and not satisfied(known, votes, now):
                Approvals(tx).void(known, reason="policy_changed")
                leads = [one for one in self.yes[known.approval_id] if one.roles]
                assert len(leads) < STRICTER.quorum, "what suffices under the stricter policy is not asked anew"
                return
            taken = Approvals(tx).consume(known)
            if taken is None:
                return
            use_by = Approvals(tx).get(taken).use_by
        assert len({one.person for one in self.yes[taken]}) >= max(known.quorum, now.quorum)
        assert {vote.fingerprint for vote in votes if vote.verdict == "approve"} == {fingerprint}
        assert all(vote.verdict != "deny" for vote in votes)
        self.taken[taken] = self.taken.get(taken, 0) + 1
        assert taken in self.said_yes
        assert self.taken[taken] <= self.grants[taken], "a grant is taken once"
        assert use_by is not None
        assert self.clock.now() < use_by

    @precondition(lambda self: "claimed" in self.seen.values())
    @rule(index=st.integers(0, 9), state=st.sampled_from(["used", "in_doubt", "lapsed", "approved"]))
    def settle(self, index: int, state: ApprovalState) -> None:
        chosen = self._in("claimed", index)
        with self.database.transaction() as tx:
            Approvals(tx).settle(chosen, state=state)
        self.grants[chosen] += state == "approved"

    @precondition(lambda self: "in_doubt" in self.seen.values())
    @rule(index=st.integers(0, 9), happened=st.booleans(), reviewer=st.sampled_from(REVIEWERS))
    def settle_a_doubt(self, index: int, happened: bool, reviewer: Reviewer) -> None:  # noqa: FBT001 - as below
        chosen = self._in("in_doubt", index)
        with self.database.transaction() as tx:
            try:
                after = Approvals(tx).settle_doubt(
                    chosen, reviewer=reviewer, channel="", happened=happened, note="looked"
                )
            except ForbiddenError:
                return
        in_time = after.use_by is not None and self.clock.now() < after.use_by
        assert after.state == ("used" if happened else "approved" if in_time else "lapsed")
        self.grants[chosen] += after.state == "approved"

    @rule(index=st.integers(0, 9), state=st.sampled_from(list(MOVES)), late=st.booleans())
    def void(self, index: int, state: ApprovalState, late: bool) -> None:  # noqa: FBT001 - hypothesis passes by name
        chosen = self._in(state, index)
        with self.database.transaction() as tx:
            try:
                request = Approvals(tx).get(chosen)
            except NotFoundError:
                return
        if late:
            self._consume(request.fingerprint)
        with self.database.transaction() as tx:
            before = Approvals(tx).get(chosen).state
            Approvals(tx).void(request, reason="superseded")
            after = Approvals(tx).get(chosen).state
        assert before in (after, request.state), "what moved on meanwhile is not voided by an old view of it"

    @rule(content=CONTENTS)
    def supersede(self, content: int) -> None:
        del content
        with self.database.transaction() as tx:
            Approvals(tx).supersede(tenant="t", target="x", operation="o", reason="superseded")

    @rule(hours=st.sampled_from([-1, 0.5, 4, 6, 11]))
    def let_time_pass(self, hours: float) -> None:
        self.clock.advance(hours * HOUR_S)

    @invariant()
    def states_only_move_as_they_may(self) -> None:
        with self.database.transaction() as tx:
            requests = [Approvals(tx).get(one) for one in self.ids]
        still_open = [one.fingerprint for one in requests if one.state in OPEN_STATES]
        assert len(still_open) == len(set(still_open))
        for one in requests:
            before = self.seen[one.approval_id]
            assert one.state == before or reachable(before, one.state), (before, one.state)
            assert one.approval_id in self.said_yes or one.state in {"pending", "denied", "expired", "cancelled"}
            self.seen[one.approval_id] = one.state


def reachable(before: ApprovalState, after: ApprovalState) -> bool:
    """Whether `after` can follow `before`; one step of the machine may pass through `claimed`."""
    return after in MOVES.get(before, set()) or (before == "approved" and after in MOVES["claimed"])


def test_every_edge_of_the_states_is_the_documented_one() -> None:
    document = (Path(__file__).parents[2] / "docs" / "concepts.md").read_text(encoding="utf-8")
    for before, afters in MOVES.items():
        [line] = [line for line in document.splitlines() if line.startswith(f"| `{before}` |")]
        assert {word.strip("` ") for word in line.split("|")[2].split(",")} == afters


TestBroker = Broker.TestCase
TestBroker.settings = settings(
    max_examples=40, database=None, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
