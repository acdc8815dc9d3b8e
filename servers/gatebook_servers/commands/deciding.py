"""`gatebook approvals`, `pause`, `resume` and `attention`: what people decide."""

import argparse
import sys
from typing import get_args

import anyio

from gatebook.approvals.models import Approval, ApprovalState
from gatebook.approvals.requests import Approvals
from gatebook.database.port import Transaction
from gatebook.deciding import approve, deny
from gatebook.effects import Effects
from gatebook.errors import ConfigurationError
from gatebook.outbox import Job, Outbox
from gatebook.runtime import Runtime
from gatebook.switches import PAUSE, Switches
from gatebook_servers.commands import auditing, hooks, policy, reviewing
from gatebook_servers.commands.context import Commands, opened, pause_in, person, reviewer, worker_of
from gatebook_servers.commands.output import at_most, complain, emit, say, table
from gatebook_servers.commands.showing import fields_of, progress_of, show_request, time_of

CHANNEL = "command line"
ALL = "all"
LOOK_S = 0.1
MOST_LISTED = 1_000
NOT_EXECUTED = 3
"""Exit code of `approve` when the approval stands and its effect did not happen yet."""


def add(commands: Commands) -> None:
    """Declare the commands."""
    approvals = commands.add_parser("approvals", help="see and decide what waits for a person").add_subparsers(
        required=True, metavar="ACTION"
    )
    listing = approvals.add_parser("list", help="what waits")
    listing.add_argument("--state", choices=[*get_args(ApprovalState), ALL], default="pending")
    listing.add_argument("--json", action="store_true")
    listing.set_defaults(run=list_command)
    show = approvals.add_parser("show", help="one request, whole")
    show.add_argument("id")
    show.add_argument("--json", action="store_true")
    show.set_defaults(run=show_command)
    approval = approvals.add_parser("approve", help="say yes to exactly what `show` shows")
    approval.add_argument("id")
    approval.add_argument("--fingerprint", metavar="HEX6", help="the fingerprint that `show` printed")
    approval.set_defaults(run=approve_command)
    denial = approvals.add_parser("deny", help="say no; the reason reaches the agent")
    denial.add_argument("id")
    denial.add_argument("--reason", required=True)
    denial.set_defaults(run=deny_command)
    reviewing.add(approvals)
    policy.add(approvals)
    auditing.add(approvals)
    hooks.add(approvals)
    pause = commands.add_parser("pause", help="stop all writes and sends at once")
    pause.add_argument("--reason", default="")
    pause.set_defaults(run=pause_command)
    commands.add_parser("resume", help="end a pause").set_defaults(run=resume_command)
    attention = commands.add_parser("attention", help="what failed, is in doubt, lapsed or expired")
    attention.add_argument("--json", action="store_true")
    attention.set_defaults(run=attention_command)


def list_command(options: argparse.Namespace) -> int:
    """Print the requests in a state."""
    with opened() as runtime, runtime.database.transaction() as tx:
        state = None if options.state == ALL else options.state
        found = Approvals(tx).select(tenant=runtime.settings.tenant, state=state, limit=MOST_LISTED + 1)
    found = at_most(MOST_LISTED, found, "the oldest requests")
    if options.json:
        emit([request.model_dump(mode="json") for request in found])
        return 0
    table(
        f"{len(found)} requests ({options.state})",
        ["id", "fingerprint", "what", "about", "why", "waits since", "decide by"],
        [
            (
                request.approval_id,
                request.shown,
                request.tool if request.kind in ("effect", "foreign") else request.kind,
                request.target,
                ", ".join(request.rules),
                time_of(request.created_at),
                time_of(request.decide_by),
            )
            for request in found
        ],
    )
    if found and options.state == "pending":
        say(
            "look: gatebook approvals show ID    decide: gatebook approvals approve ID --fingerprint HEX6"
            "    or: gatebook approvals deny ID --reason TEXT"
        )
    return 0


def show_command(options: argparse.Namespace) -> int:
    """Print one request: what the server knows first, the agent's words last."""
    with opened() as runtime, runtime.database.transaction() as tx:
        request = Approvals(tx).get(options.id)
        decisions = Approvals(tx).decisions(options.id)
    if options.json:
        emit({**request.model_dump(mode="json"), "decisions": [d.model_dump(mode="json") for d in decisions]})
        return 0
    show_request(request, decisions)
    return 0


def approve_command(options: argparse.Namespace) -> int:
    """Record a yes, then execute it and say what came of it."""
    with opened() as runtime:
        shown = options.fingerprint or _ask_for_fingerprint(runtime, options.id)
        with runtime.database.transaction() as tx:
            request = approve(tx, runtime.settings, options.id, reviewer=reviewer(), channel=CHANNEL, shown=shown)
            decisions = Approvals(tx).decisions(options.id)
        if request.state == "pending":
            say(f"your yes is recorded: {progress_of(request, decisions)}; others have to say yes too")
            return 0
        if request.kind == "limit":
            return _tell_raised(request)
        if request.kind == "hold":
            say(f"released: the next run may work on {request.target}")
            return 0
        if request.kind == "foreign":
            say(f"recorded: exactly this call of {request.tool} passes once, when it is asked for")
            return 0
        return anyio.run(_execute, runtime, request)


def deny_command(options: argparse.Namespace) -> int:
    """Record a no."""
    with opened() as runtime, runtime.database.transaction() as tx:
        shown = Approvals(tx).get(options.id).shown
        deny(tx, options.id, reviewer=reviewer(), channel=CHANNEL, shown=shown, reason=options.reason)
    say("denied; exactly this content stays denied")
    return 0


def pause_command(options: argparse.Namespace) -> int:
    """Stop writes and sends of every process."""
    with opened() as runtime, runtime.database.transaction() as tx:
        Switches(tx).set(PAUSE, reason=options.reason, person=person())
    say("paused: nothing is written or sent until `gatebook resume`")
    return 0


def resume_command(options: argparse.Namespace) -> int:
    """End the pause."""
    del options
    with opened() as runtime, runtime.database.transaction() as tx:
        was_paused = Switches(tx).clear(PAUSE, person=person())
    say("resumed" if was_paused else "it was not paused")
    return 0


def attention_command(options: argparse.Namespace) -> int:
    """Print what needs a person; the exit code is 1 when there is something."""
    with opened() as runtime, runtime.database.transaction() as tx:
        tenant = runtime.settings.tenant
        requests = Approvals(tx).needing_attention(tenant=tenant)
        effects = Effects(tx).unsettled(tenant=tenant)
        jobs = Outbox(tx).failed(tenant=tenant)
    if options.json:
        emit(
            {
                "approvals": [request.model_dump(mode="json") for request in requests],
                "effects": [effect.model_dump(mode="json") for effect in effects],
                "jobs": [job.model_dump(mode="json") for job in jobs],
            }
        )
    else:
        rows = [(r.approval_id, r.state, r.tool, r.target, r.state_reason) for r in requests]
        known = {request.approval_id for request in requests}
        rows += [
            (e.marker, e.state, e.tool, e.target, "look into the desk, then settle it")
            for e in effects
            if e.approval_id not in known
        ]
        rows += [(j.subject, "failed", j.kind, "", j.error) for j in jobs]
        table(f"{len(rows)} need attention", ["id", "state", "what", "about", "why"], rows)
    return 1 if requests or effects or jobs else 0


def _tell_raised(request: Approval) -> int:
    if request.state != "used":
        complain(f"approved, but nothing was raised: {request.state_reason}")
        return NOT_EXECUTED
    say(f"raised for {request.target}: {', '.join(f'{name} {value}' for name, value in fields_of(request))}")
    return 0


async def _execute(runtime: Runtime, request: Approval) -> int:
    def look(tx: Transaction) -> tuple[Job | None, Approval]:
        job = Outbox(tx).of_subject("execute_approved", request.approval_id)
        return job, Approvals(tx).get(request.approval_id)

    await worker_of(runtime).run_one(subject=request.approval_id)
    job, after = await runtime.transact(look)
    with anyio.move_on_after(runtime.settings.call_s):
        while job is not None and job.state == "leased":  # a server was faster
            await anyio.sleep(LOOK_S)
            job, after = await runtime.transact(look)
    if after.state == "used":
        say(f"approved and done: {request.tool} on {request.target}")
        return 0
    complain(_pending_text(job, after, await runtime.transact(pause_in)))
    return NOT_EXECUTED


def _pending_text(job: Job | None, after: Approval, pause: str) -> str:
    if after.state in ("approved", "claimed") and job is not None and job.state != "failed":
        if pause:
            return f"approved, not done yet: {pause}; then a running server or worker does it"
        why = f" ({job.error})" if job.error else ""
        return f"approved, not done yet{why}: a running `gatebook serve tickets` or `gatebook worker` does it"
    return f"approved, but it could not be done: {after.state} {after.state_reason}; see `gatebook attention`"


def _ask_for_fingerprint(runtime: Runtime, approval_id: str) -> str:
    if not sys.stdin.isatty():
        raise ConfigurationError(
            "nobody can be asked for the fingerprint.", next_step="Pass --fingerprint with what `show` printed."
        )
    with runtime.database.transaction() as tx:
        request, decisions = Approvals(tx).get(approval_id), Approvals(tx).decisions(approval_id)
    show_request(request, decisions)
    return input(f"Type {request.shown} to approve exactly this: ").strip()
