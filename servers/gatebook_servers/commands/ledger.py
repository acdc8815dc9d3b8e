"""`gatebook runs`: what the ledger knows of runs, and their replay."""

import argparse
import json
from collections.abc import Sequence
from itertools import groupby

from gatebook.clock import moment
from gatebook.effects import Effects
from gatebook.errors import NotFoundError
from gatebook.ledger.recordings import Recording, Recordings
from gatebook.ledger.runs import Runs
from gatebook.ledger.usage import UsageReports, UsageSum
from gatebook.settings import load_settings
from gatebook.telemetry import configure_logging
from gatebook.toolset import answered_by, merged
from gatebook_servers.catalogue import SERVERS
from gatebook_servers.commands.context import Commands, opened
from gatebook_servers.commands.output import at_most, complain, emit, say, table
from gatebook_servers.commands.serving import add_transport, serve_over
from gatebook_servers.runs.replay import Player

DAY_S = 86_400.0
MOST_LISTED = 100
DIVERGED = 4
"""Exit code of a replay in which a call was another than the recorded one."""


def add(commands: Commands) -> None:
    """Declare the commands."""
    runs = commands.add_parser("runs", help="the run ledger").add_subparsers(required=True, metavar="ACTION")
    listing = runs.add_parser("list", help="runs, newest first")
    listing.add_argument("--json", action="store_true")
    listing.set_defaults(run=list_command)
    show = runs.add_parser("show", help="one run's timeline, or one of its calls")
    show.add_argument("id")
    show.add_argument("--call", type=int, metavar="N", help="what was said in call N")
    show.add_argument("--json", action="store_true")
    show.set_defaults(run=show_command)
    usage = runs.add_parser("usage", help="time, success, retries, tokens and cost by tool")
    usage.add_argument("id", nargs="?", default="", help="one run; default every run")
    usage.add_argument("--days", type=float, default=30, help="how far back; default 30")
    usage.add_argument("--json", action="store_true")
    usage.set_defaults(run=usage_command)
    replay = runs.add_parser("replay", help="serve a run's recorded answers to any client; nothing happens")
    replay.add_argument("id")
    replay.add_argument("--from", dest="first", type=int, default=1, metavar="N", help="begin at call N")
    add_transport(replay)
    replay.set_defaults(run=replay_command)


def list_command(options: argparse.Namespace) -> int:
    """Print the runs."""
    with opened() as runtime, runtime.database.transaction() as tx:
        found = Runs(tx).select(tenant=runtime.settings.tenant, limit=MOST_LISTED + 1)
    found = at_most(MOST_LISTED, found, "the newest runs")
    if options.json:
        emit([run.model_dump(mode="json") for run in found])
    else:
        table(
            f"{len(found)} runs",
            ["run", "key", "status", "steps"],
            [(run.run_id, run.key, run.status, f"{run.steps} of {run.step_limit}") for run in found],
        )
    return 0


def show_command(options: argparse.Namespace) -> int:
    """Print one run: every call in order, and what was executed for it after an approval."""
    with opened() as runtime, runtime.database.transaction() as tx:
        run = Runs(tx).get(options.id)
        if options.call is not None:
            said = Recordings(tx, runtime.vault).message(run.run_id, options.call)
            _print_call(options.call, *said, as_json=options.json)
            return 0
        calls = Recordings(tx, runtime.vault).select(run.run_id)
        steps = Runs(tx).steps(run.run_id, limit=run.steps)
        effects = Effects(tx).approved_of(run.run_id)
    if options.json:
        parts = {"steps": steps, "calls": calls, "executed": effects}
        listed = {name: [row.model_dump(mode="json") for row in rows] for name, rows in parts.items()}
        emit({"run": run.model_dump(mode="json"), **listed})
        return 0
    rows = [(call.finished_at, *_call_row(call)) for call in calls]
    rows += [
        (effect.finished_at or 0.0, "", "", effect.tool, "approved: " + effect.outcome, "", "", effect.target)
        for effect in effects
    ]
    rows.sort(key=lambda row: row[0])
    table(
        f"{run.run_id} {run.status}: {run.key}, {run.steps} of {run.step_limit} steps",
        ["time", "call", "step", "what", "outcome", "ms", "tries", "note"],
        [(moment(at).astimezone(runtime.settings.zone).strftime("%H:%M:%S.%f")[:-3], *row) for at, *row in rows],
    )
    return 0


def usage_command(options: argparse.Namespace) -> int:
    """Print what the calls of a run, or of the last days, took and how they ended."""
    with opened() as runtime, runtime.database.transaction() as tx:
        run_id = Runs(tx).get(options.id).run_id if options.id else ""
        recordings, since = Recordings(tx, runtime.vault), tx.now - options.days * DAY_S
        calls = recordings.select(run_id) if run_id else recordings.begun_since(since, tenant=runtime.settings.tenant)
        used = UsageReports(tx).total(run_id) if run_id else None
    tools = [_usage_of(name, list(group)) for name, group in groupby(sorted(calls, key=_tool_of), key=_tool_of)]
    if options.json:
        emit({"tools": tools, "usage": used.model_dump(mode="json") if used else None})
        return 0
    table(
        f"{len(calls)} calls",
        ["tool", "calls", "success", "refused", "failed", "replayed", "retries", "p50 ms", "p95 ms"],
        [tuple("-" if value is None else value for value in tool.values()) for tool in tools],
    )
    if run_id:
        tokens = f"{used.input_tokens} in, {used.output_tokens} out" if used else "unknown"
        say(f"tokens: {tokens}; cost: {_cost_of(used)}")
    return 0


def replay_command(options: argparse.Namespace) -> int:
    """Serve a run's record until the client leaves, then say whether it kept to it."""
    settings = load_settings()
    configure_logging(settings.log_level)
    with opened(settings) as runtime:
        with runtime.database.transaction() as tx:
            run = Runs(tx).get(options.id)
            found = Recordings(tx, runtime.vault).select(run.run_id)
        recordings = [call for call in found if call.number >= options.first]
        if not recordings:
            raise NotFoundError("this run has no such record.", next_step="Look at `gatebook runs list`.")
        player = Player(runtime, recordings)
        toolsets = list(SERVERS.values())
        server = answered_by(player, toolsets, offered=list(merged(toolsets).values()), state=runtime, name="replay")
        code = serve_over(options, settings, {"replay": server}, on_stop=lambda: complain(player.report()))
    return DIVERGED if player.divergence else code


def _tool_of(call: Recording) -> str:
    return call.tool


def _call_row(call: Recording) -> tuple[object, ...]:
    took = round((call.finished_at - call.started_at) * 1000, 1)
    return call.number, call.step or "", call.tool, call.outcome, took, call.attempts, call.error


def _cost_of(used: UsageSum | None) -> str:
    if used is None or used.usd is None or not (used.usd or used.usd_complete):
        return "unknown"
    return f"{'' if used.usd_complete else 'at least '}{used.usd:.4f} US dollars"


def _print_call(number: int, arguments: str | None, result: str | None, *, as_json: bool) -> None:
    if as_json:
        kept = {"arguments": arguments, "result": result}
        emit({"call": number, **{name: json.loads(text) if text else None for name, text in kept.items()}})
        return
    say(f"arguments: {arguments or 'not kept'}")
    say(f"answer:    {json.loads(result)['text'] if result else 'not kept'}")


def _usage_of(tool: str, calls: Sequence[Recording]) -> dict[str, object]:
    # What a person has to approve is neither a success nor a failure; nor is a refusal that the agent brought about.
    outcomes = [_verdict(call) for call in calls]
    judged = outcomes.count("success") + outcomes.count("failed")
    times = sorted((call.finished_at - call.started_at) * 1000 for call in calls)
    return {
        "tool": tool,
        "calls": len(calls),
        "success": round(outcomes.count("success") / judged, 4) if judged else None,
        "refused": outcomes.count("refused"),
        "failed": outcomes.count("failed"),
        "replayed": sum(call.outcome == "replayed" for call in calls),
        "retries": sum(call.attempts - 1 for call in calls),
        "p50_ms": round(times[(len(times) - 1) // 2], 1),
        "p95_ms": round(times[int(0.95 * (len(times) - 1))], 1),
    }


_FAILURES = {"upstream_unavailable", "rate_limited", "outcome_unknown", "storage_full", "store_busy", "internal"}


def _verdict(call: Recording) -> str:
    if not call.error:
        return "success"
    return "failed" if call.error in _FAILURES else "refused"
