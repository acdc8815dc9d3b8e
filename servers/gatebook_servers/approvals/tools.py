"""Approvals: ask for a person's yes, wait for it, withdraw it. Nothing here decides."""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, JsonValue

from gatebook.approvals.models import Approval, ApprovalState
from gatebook.approvals.requests import Approvals
from gatebook.database.port import Transaction
from gatebook.errors import ForbiddenError
from gatebook.injection import Broker, Caller, Progress
from gatebook.runtime import Runtime
from gatebook.toolset import Toolset
from gatebook_servers.approvals.claude_code import LONGEST_PROMPT_S, permission_prompt, refused
from gatebook_servers.approvals.models import ApprovalPage, ApprovalView, Waited, view
from gatebook_servers.approvals.waiting import decided

tools = Toolset(
    "approvals",
    instructions="A person approves what cannot be undone. Calling the tool itself asks; use these tools to see "
    "what became of it. An approved effect is done without you.",
    steps=False,
)

LONGEST_WAIT_S = 50
PAGE = 50

ApprovalId = Annotated[str, Field(description="An approval_id.", min_length=1, max_length=40)]


@tools.stages(graceful=True)
async def request_approval(
    broker: Broker,
    caller: Caller,
    tool: Annotated[str, Field(description="Name of the tool to be called later.", max_length=40)],
    arguments: Annotated[dict[str, JsonValue], Field(description="The exact arguments of that call.")],
    reason: Annotated[str, Field(description="Why, for the person; shown as your words.", max_length=500)] = "",
) -> ApprovalView:
    """Ask a person to approve a later call of a tool, exactly as given. The same request twice is one."""
    return view(await broker.ask(tool, arguments, caller=caller, reason=reason))


@tools.waits(longest_s=LONGEST_WAIT_S + 10)
async def wait_for_approvals(
    runtime: Runtime,
    caller: Caller,
    progress: Progress,
    approval_ids: Annotated[list[ApprovalId], Field(description="Requests to wait for.", min_length=1, max_length=50)],
    wait_for: Annotated[Literal["any", "all"], Field(description="Return when any, or all, are decided.")] = "any",
    timeout_s: Annotated[int, Field(description="Seconds to wait.", ge=0, le=LONGEST_WAIT_S)] = LONGEST_WAIT_S,
) -> Waited:
    """Wait until people decided. A timeout is no answer: call again, or go on and leave it to them."""
    found = await decided(
        runtime, _reading(caller, approval_ids), wait_for=wait_for, timeout_s=timeout_s, progress=progress
    )
    return Waited(
        approvals=[view(request) for request in found], pending=sum(request.state == "pending" for request in found)
    )


@tools.reads
async def get_approval(runtime: Runtime, caller: Caller, approval_id: ApprovalId) -> ApprovalView:
    """Read one of your requests: its state and, when denied, the reason."""
    [request] = await runtime.transact(_reading(caller, [approval_id]))
    return view(request)


@tools.reads
async def list_approvals(
    runtime: Runtime,
    caller: Caller,
    run: Annotated[str, Field(description="Only requests of this run_id.", max_length=60)] = "",
    state: Annotated[ApprovalState | None, Field(description="Only requests in this state.")] = None,
    changed_since: Annotated[AwareDatetime | None, Field(description="Only requests that changed at or after.")] = None,
    limit: Annotated[int, Field(description="Most requests.", ge=1, le=PAGE)] = 15,
    cursor: Annotated[
        str,
        Field(description="next_cursor of the page before.", max_length=80, pattern=r"^(\d+(\.\d+)?\|apr_[a-z0-9]+)?$"),
    ] = "",
) -> ApprovalPage:
    """List your requests, oldest first: pending, approved, denied, used, expired and so on."""

    def read(tx: Transaction) -> list[Approval]:
        return Approvals(tx).select(
            tenant=runtime.settings.tenant,
            principal=caller.principal,
            run_id=run.partition(".")[0],
            state=state,
            changed_since=changed_since.timestamp() if changed_since else 0,
            after=cursor,
            limit=limit + 1,
        )

    found = await runtime.transact(read)
    shown = found[:limit]
    more = f"{shown[-1].created_at!r}|{shown[-1].approval_id}" if len(found) > limit else None
    return ApprovalPage(approvals=[view(request) for request in shown], next_cursor=more)


@tools.stages(graceful=True)
async def cancel_approval(
    runtime: Runtime,
    caller: Caller,
    approval_id: ApprovalId,
    reason: Annotated[str, Field(description="Why it is withdrawn.", max_length=500)] = "",
) -> ApprovalView:
    """Withdraw one of your pending requests. The same content cannot be asked for again."""
    cancelled = await runtime.transact(
        lambda tx: Approvals(tx).cancel(approval_id, principal=caller.principal, reason=reason)
    )
    return view(cancelled)


tools.answers_client(refusing=refused, longest_s=LONGEST_PROMPT_S)(permission_prompt)


def _reading(caller: Caller, approval_ids: Sequence[str]) -> Callable[[Transaction], list[Approval]]:
    """Return what reads the caller's requests with these ids; of one that a person changed, what it became."""

    def read(tx: Transaction) -> list[Approval]:
        found = [Approvals(tx).at_last(request) for request in Approvals(tx).several(approval_ids)]
        if any(request.principal != caller.principal for request in found):
            raise ForbiddenError("the request is another principal's.", next_step="Call list_approvals for your own.")
        return found

    return read
