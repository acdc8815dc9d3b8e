"""The night shift: read the overnight tickets, sort them, draft replies, ask for approval, leave a summary.

Every call can be repeated: what was done already is answered from the record. So a crash costs at most the calls since
the last checkpoint, and none of them has a second effect.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta
from itertools import count
from typing import cast

from pydantic import JsonValue

from gatebook_servers.nightly.client import Answer, RefusedError, Servers
from gatebook_servers.nightly.replies import FALLBACK, PREFIX, choose, fill
from gatebook_servers.nightly.reporting import Figures, report_of, summary_of, timed
from gatebook_servers.nightly.state import Category, Item, Night, Order, Report

GOAL = "the night shift over the tickets of the window"
PAGE = 25
MOST_WAITED = 50
PREVIEW_CHARS = 900
SUBJECT_CHARS = 160
LOOK_BACK = timedelta(hours=24)
"""How long before the window a person's release, denial or an expiry is still taken over from."""

BUDGETS = {"step_budget_exceeded", "token_budget_exceeded", "cost_budget_exceeded", "ceiling_reached"}
WAITS_FOR_A_PERSON = {"approval_required", "in_progress", "outcome_unknown", "paused"}
Progress = Callable[[int, int, str], None]


class OutOfBudgetError(Exception):
    """The run may not go on for now."""


class NightShift:
    """One night.

    Args:
        servers: The connected servers.
        order: What to do.
        progress: Told how many tickets of how many are settled.
    """

    def __init__(self, servers: Servers, order: Order, progress: Progress) -> None:
        self._servers = servers
        self._order = order
        self._progress = progress
        self._night = Night()
        self._key = order.key
        self._run_id = ""
        self._seq = 0
        self._since_checkpoint = 0
        self._resumed_from: int | None = None

    async def work(self) -> Report:
        """Do the night and return its report; a finished night's report comes back as it was.

        Raises:
            RefusedError: If a server refuses something without which the night cannot go on.
        """
        finished = await self._start()
        if finished is not None:
            return finished
        try:
            await self._prepare()
            await self._pull()
            await self._settle()
        except OutOfBudgetError:
            return await self._end("paused")
        return await self._end("completed")

    async def _start(self) -> Report | None:
        order = self._order
        limits: dict[str, JsonValue] = {"max_tokens": order.max_tokens, "max_usd": order.max_usd}
        limits = {name: value for name, value in limits.items() if value is not None}
        for round_ in count(1):
            self._key = order.key if round_ == 1 else f"{order.key}#{round_}"
            run = await self._servers.call(
                "start_run", {"key": self._key, "goal": GOAL, "max_steps": order.max_steps, **limits}
            )
            self._run_id = str(run["run_id"])
            if run["status"] not in ("running", "paused"):
                if order.again:
                    continue
                return timed(Report.model_validate_json(str(run["summary"])), run)
            if run["resumed"]:
                await self._resume()
            return None
        raise AssertionError("count never ends")

    async def _resume(self) -> None:
        run = await self._servers.call("resume_run", {"run_id": self._run_id, "max_steps": self._order.max_steps})
        self._run_id = str(run["run_id"])
        self._seq = int(cast("int", run["seq"]))
        self._resumed_from = int(cast("int", run["checkpoint_step"]))
        if run["state"] is not None:
            self._night = Night.model_validate(run["state"])

    async def _prepare(self) -> None:
        """Read the templates, and see what people did since the last night."""
        if not self._night.templates:
            listed = await self._call("memory_list", {"prefix": PREFIX, "limit": 50})
            keys = [str(note["key"]) for note in cast("list[Answer]", listed["notes"])]
            # All or none: a checkpoint that falls in between must not hold a part of them for the whole.
            self._night.templates = {key: str((await self._call("memory_get", {"key": key}))["text"]) for key in keys}
        if self._night.taken_over is None:
            await self._take_over()

    async def _take_over(self) -> None:
        """Put on the list what a person released, and what expired or was voided, since the last night."""
        refs: list[str] = []
        for state in ("approved", "expired", "lapsed", "cancelled"):
            page = await self._servers.call(
                "list_approvals",
                {"state": state, "changed_since": self._look_back(), "limit": 50, "run_id": self._run_id},
            )
            for request in cast("list[Answer]", page["approvals"]):
                wanted = request["kind"] == "hold" if state == "approved" else request["kind"] == "effect"
                # What a person changed goes on as another request.
                if wanted and request["reason"] != "edited" and str(request["target"]) not in refs:
                    refs.append(str(request["target"]))
        items: list[Item] = []
        for ref in refs:
            item = await self._unanswered(ref)
            if item is not None:
                items.append(item)
        if items:
            await self._classify(items)
        self._night.items += items
        self._night.taken_over = len(items)

    async def _unanswered(self, ref: str) -> Item | None:
        try:
            ticket = await self._call("get_ticket", {"ref": ref})
        except RefusedError:
            return None
        if ticket["answered"] or ticket["status"] in ("solved", "closed", "deleted"):
            return None
        body = cast("Answer", ticket["body"])
        return Item(
            ref=ref,
            subject=str(ticket["subject"])[:SUBJECT_CHARS],
            text=str(body["text"])[:PREVIEW_CHARS],
            requester=str(cast("Answer", ticket["requester"])["name"]),
            version=str(ticket["version"]),
        )

    async def _pull(self) -> None:
        """Take the window's tickets page by page; a page is in a checkpoint before its cursor is presented."""
        while not self._night.pulled:
            page = await self._call(
                "pull_tickets",
                {
                    "subscription": self._key,
                    "since": self._order.since.isoformat(),
                    "until": self._order.until.isoformat(),
                    "limit": PAGE,
                    "preview_chars": PREVIEW_CHARS,
                    "cursor": self._night.cursor,
                },
            )
            known = {item.ref for item in self._night.items}
            items = [_item(ticket) for ticket in cast("list[Answer]", page["tickets"]) if ticket["ref"] not in known]
            if items:
                await self._classify(items)
            self._night.items += items
            self._night.naive_times += int(cast("int", page["naive_times"]))
            self._night.cursor = str(page["next_cursor"] or "")
            self._night.pulled = bool(page["complete"])
            await self._checkpoint()

    async def _classify(self, items: list[Item]) -> None:
        """Sort tickets and choose their templates; their texts are needed no longer and stay out of the checkpoint."""
        answer = await self._call(
            "classify_tickets",
            {"items": [{"ref": item.ref, "subject": item.subject, "text": item.text} for item in items]},
        )
        for item, found in zip(items, cast("list[Answer]", answer["items"]), strict=True):
            item.category = cast("Category", found["category"])
            item.template = choose(self._night.templates, subject=item.subject, text=item.text)
            item.text = ""

    async def _settle(self) -> None:
        total = len(self._night.items)
        for item in self._night.waiting():
            self._progress(total - len(self._night.waiting()), total, item.ref)
            try:
                await self._tag(item)
                await self._reply(item)
                item.stage = "drafted" if item.draft_id else "done"
            except RefusedError as refusal:
                held = refusal.code == "held" or (refusal.code == "approval_denied" and not item.draft_id)
                item.stage = "held" if held else "failed"
                item.problem = refusal.code
        self._progress(total, total, "")

    async def _tag(self, item: Item) -> None:
        """Write the category on the ticket, where the operator lets us."""
        if item.tagged or item.category is None or not self._servers.offers("update_ticket"):
            return
        tag: list[JsonValue] = [f"category:{item.category.lower()}"]
        try:
            await self._call("update_ticket", {"ref": item.ref, "version": item.version, "add_tags": tag})
        except RefusedError as refusal:
            if refusal.code != "conflict":
                raise
            version = (await self._call("get_ticket", {"ref": item.ref}))["version"]
            await self._call("update_ticket", {"ref": item.ref, "version": version, "add_tags": tag})
        item.tagged = True

    async def _reply(self, item: Item) -> None:
        if item.category != "Support":
            return
        template = self._night.templates.get(item.template, self._night.templates.get(FALLBACK, ""))
        if not template:
            return
        body = fill(template, name=item.requester, subject=item.subject, ticket=item.ref.rpartition(":")[2])
        draft = await self._call("draft_reply", {"ref": item.ref, "body": body})
        item.draft_id = str(draft["draft_id"])
        if not self._servers.offers("send_reply"):
            return
        try:
            await self._call("send_reply", {"draft_id": item.draft_id, "visibility": "public"})
            item.sent = True
        except RefusedError as refusal:
            # What waits for a person is done without us; a denial is an answer, too.
            if refusal.code not in WAITS_FOR_A_PERSON | {"approval_denied"}:
                raise
            item.approval_id = str(refusal.details.get("approval_id", ""))
            item.problem = "" if refusal.code == "approval_required" else refusal.code

    async def _end(self, status: str) -> Report:
        await self._checkpoint()
        key = f"tickets/{self._order.day}"
        report = await self._report(status, key)
        try:
            await self._servers.call(
                "memory_put", {"key": key, "value": summary_of(report, self._night), "run_id": self._run_id}
            )
        except RefusedError as refusal:
            if refusal.code not in BUDGETS:
                raise
        run = await self._servers.call(
            "finish_run", {"run_id": self._run_id, "status": status, "summary": report.model_dump_json()}
        )
        return timed(report, run)

    async def _report(self, status: str, summary_key: str) -> Report:
        run = await self._servers.call("get_run", {"run_id": self._run_id})
        states = await self._request_states()
        figures = Figures(
            status=status, checkpoints=self._seq, resumed_from=self._resumed_from, summary_key=summary_key
        )
        return report_of(self._order, self._night, run=run, states=states, figures=figures)

    async def _request_states(self) -> Counter[str]:
        """Count the states of what this night's drafts asked for; people may have decided some already."""
        asked = [item.approval_id for item in self._night.items if item.approval_id]
        states: Counter[str] = Counter()
        for start in range(0, len(asked), MOST_WAITED):
            ids = cast("list[JsonValue]", asked[start : start + MOST_WAITED])
            page = await self._servers.call(
                "wait_for_approvals", {"approval_ids": ids, "timeout_s": 0, "run_id": self._run_id}
            )
            states.update(str(request["state"]) for request in cast("list[Answer]", page["approvals"]))
        return states

    async def _call(self, tool: str, arguments: Mapping[str, JsonValue]) -> Answer:
        """Call a tool as a step of the run, and save a checkpoint when it is time."""
        try:
            return await self._servers.call(tool, {**arguments, "run_id": self._run_id})
        except RefusedError as refusal:
            if refusal.code in BUDGETS:
                raise OutOfBudgetError from refusal
            raise
        finally:
            self._since_checkpoint += 1
            if self._since_checkpoint >= self._order.checkpoint_every:
                await self._checkpoint()

    async def _checkpoint(self) -> None:
        self._seq += 1
        self._since_checkpoint = 0
        await self._servers.call(
            "checkpoint", {"run_id": self._run_id, "seq": self._seq, "state": self._night.model_dump(mode="json")}
        )

    def _look_back(self) -> str:
        return (self._order.since - LOOK_BACK).isoformat()


def _item(ticket: Answer) -> Item:
    return Item(
        ref=str(ticket["ref"]),
        subject=str(ticket["subject"])[:SUBJECT_CHARS],
        text=str(ticket["preview"]),
        requester=str(ticket["requester"]),
        version=str(ticket["version"]),
    )
