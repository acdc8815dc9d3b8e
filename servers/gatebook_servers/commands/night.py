"""`gatebook demo` and `gatebook nightly`."""

import argparse
import os
import shlex
import shutil
from collections.abc import Mapping
from datetime import datetime
from importlib import resources
from pathlib import Path
from zoneinfo import ZoneInfo

import anyio
from mcp import StdioServerParameters
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from gatebook.approvals.requests import Approvals
from gatebook.errors import ConfigurationError
from gatebook.settings import PREFIX, Settings, default_home, load_settings
from gatebook_servers.catalogue import SERVERS
from gatebook_servers.commands import hosts
from gatebook_servers.commands.claude import claude_night
from gatebook_servers.commands.context import Commands, opened
from gatebook_servers.commands.data import seed_templates
from gatebook_servers.commands.output import complain, emit, say, table
from gatebook_servers.nightly.client import RefusedError, connected
from gatebook_servers.nightly.shift import NightShift
from gatebook_servers.nightly.state import Order, Report
from gatebook_servers.tickets.importing import import_tickets

DEMO_SINCE = "2026-11-21T18:00:00Z"
DEMO_UNTIL = "2026-11-22T06:00:00Z"
DEMO_MARK = ".gatebook-demo"
DEMO_SETTINGS = ("home", "mode", "tz", "claude", "log_level")
"""What may be set for a demo: nothing of it reaches beyond the demo's own home."""
SHOWN = 5
CHECKPOINT_EVERY = 10
PAUSED = 4
"""Exit code of a night that ended paused; the same command continues it."""


def add(commands: Commands) -> None:
    """Declare the commands."""
    demo = commands.add_parser("demo", help="the night shift over a bundled inbox")
    _add_agent(demo)
    demo.set_defaults(run=demo_command)
    nightly = commands.add_parser("nightly", help="the night shift over the configured desk")
    nightly.add_argument("--since", required=True, help="tickets created at or after; ISO 8601")
    nightly.add_argument("--until", required=True, help="and before")
    nightly.add_argument("--max-steps", type=int, default=200)
    nightly.add_argument("--checkpoint-every", type=int, default=CHECKPOINT_EVERY)
    nightly.add_argument("--max-tokens", type=int, help="daily token budget")
    nightly.add_argument("--max-usd", type=float, help="daily cost budget")
    nightly.add_argument("--again", action="store_true", help="do a finished night once more")
    nightly.add_argument("--json", action="store_true", help="print one report object and nothing else")
    _add_agent(nightly)
    nightly.set_defaults(run=nightly_command)


def demo_command(options: argparse.Namespace) -> int:
    """Run the night shift over the bundled inbox in a home of its own."""
    _require_no_settings()
    home = _fresh_demo_home(default_home().parent / "gatebook-demo")
    os.environ["GATEBOOK_HOME"] = str(home)
    settings = load_settings()
    inbox = resources.files("gatebook_servers.demo").joinpath("inbox.jsonl")
    with opened(settings) as runtime, resources.as_file(inbox) as path:
        imported = import_tickets(runtime.database, path, zone=settings.zone)
    say(f"{imported.added} tickets came in overnight. The night shift works through them; nothing leaves without you.")
    order = _order(settings, DEMO_SINCE, DEMO_UNTIL)
    report = _run(settings, order, agent=options.agent, quiet=False)
    _print_report(report, settings)
    _print_waiting(settings, home)
    return 0


def nightly_command(options: argparse.Namespace) -> int:
    """Run the night shift over the configured desk."""
    settings = load_settings()
    if options.agent == "claude":
        _require_only_what_claude_heeds(options)
    order = _order(settings, options.since, options.until).model_copy(
        update={
            "max_steps": _positive(options.max_steps, "--max-steps"),
            "checkpoint_every": _positive(options.checkpoint_every, "--checkpoint-every"),
            "max_tokens": options.max_tokens,
            "max_usd": options.max_usd,
            "again": options.again,
        }
    )
    report = _run(settings, order, agent=options.agent, quiet=options.json)
    if options.json:
        emit(report.model_dump(mode="json"))
    else:
        _print_report(report, settings)
    return 0 if report.status == "completed" else PAUSED


def _run(settings: Settings, order: Order, *, agent: str, quiet: bool) -> Report:
    with opened(settings) as runtime:
        seed_templates(runtime)
    if agent == "claude":
        return claude_night(settings, order)
    parameters = {
        name: StdioServerParameters(command=command[0], args=list(command[1:]), env=_environment())
        for name, command in ((name, hosts.server_command(name)) for name in SERVERS)
    }
    try:
        return anyio.run(_night, parameters, order, settings, quiet)
    except* RefusedError as refusals:
        raise _stopped(_first(refusals)) from None


async def _night(
    parameters: Mapping[str, StdioServerParameters],
    order: Order,
    settings: Settings,
    quiet: bool,  # noqa: FBT001
) -> Report:
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[ref]}"),
        console=Console(stderr=True),
        disable=quiet,
        transient=True,
    )
    with bar:
        task = bar.add_task("starting the servers" if not quiet else "", total=None, ref="")

        def progress(done: int, total: int, ref: str) -> None:
            bar.update(task, description="night shift", completed=done, total=total, ref=ref)

        async with connected(parameters, logs=settings.home / "logs") as servers:
            return await NightShift(servers, order, progress).work()


def _order(settings: Settings, since: str, until: str) -> Order:
    start, end = _moment(since, settings.zone), _moment(until, settings.zone)
    if start >= end:
        raise ConfigurationError("--since is not before --until.", next_step="Give a window.")
    key = f"nightly/{settings.desk}/{start.isoformat()}/{end.isoformat()}"
    key += "" if settings.mode == "live" else f"/{settings.mode}"
    return Order(since=start, until=end, key=key, day=end.astimezone(settings.zone).date().isoformat())


def _moment(text: str, zone: ZoneInfo) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=zone)
        moment.astimezone(zone)
    except (ValueError, OverflowError):
        raise ConfigurationError("a time is not ISO 8601.", next_step="Write 2026-11-21T18:00:00Z.") from None
    return moment


def _require_only_what_claude_heeds(options: argparse.Namespace) -> None:
    unheeded = {
        "--again": options.again, "--checkpoint-every": options.checkpoint_every != CHECKPOINT_EVERY,
        "--max-tokens": options.max_tokens is not None,
    }  # fmt: skip
    if given := [name for name, there in unheeded.items() if there]:
        raise ConfigurationError(
            f"Claude Code does not heed {', '.join(given)}.", next_step="Leave it out, or use the reference agent."
        )


def _positive(value: int, name: str) -> int:
    if value < 1:
        raise ConfigurationError(f"{name} is below 1.", next_step="Give a positive number.")
    return value


def _environment() -> dict[str, str]:
    """Pass our own variables on; the client library passes only a few by itself."""
    return {name: value for name, value in os.environ.items() if name.startswith((PREFIX, "OTEL_", "COVERAGE_"))}


def _require_no_settings() -> None:
    """Refuse what would lead the demo, and the commands that it prints, to a real desk, database or webhook."""
    settings = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields if name not in DEMO_SETTINGS}
    given = sorted(name for name, value in os.environ.items() if value and name.upper() in settings)
    if given:
        raise ConfigurationError(
            "the demo keeps to a home and a desk of its own.", next_step=f"Leave out for it: {', '.join(given)}."
        )


def _fresh_demo_home(home: Path) -> Path:
    """Begin every demo anew, in a directory that only a demo made."""
    if home.exists() and any(home.iterdir()):
        if not (home / DEMO_MARK).exists():
            raise ConfigurationError(f"{home} exists and is not a demo's.", next_step="Move it away.")
        shutil.rmtree(home)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    (home / DEMO_MARK).touch()
    return home


def _first(refusals: BaseExceptionGroup[RefusedError]) -> RefusedError:
    """Return one of the refusals that a task group wrapped."""
    inner = refusals.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


def _stopped(refusal: RefusedError) -> ConfigurationError:
    return ConfigurationError(
        f"the night shift stopped: {refusal}.", next_step="Run the same command again; it goes on from the checkpoint."
    )


def _print_report(report: Report, settings: Settings) -> None:
    categories = ", ".join(f"{name} {count}" for name, count in report.by_category.items())
    rows = [
        ("status", report.status if settings.mode == "live" else f"{report.status} ({settings.mode}: nothing is sent)"),
        ("tickets", f"{report.tickets}: {categories}"),
        ("drafts", report.drafts),
        ("held for a person", report.held),
        ("waiting for approval", report.approvals.pending),
        ("failed, left", ", ".join("unknown" if n is None else str(n) for n in (report.failed, report.remaining))),
        ("steps, retries, checkpoints", f"{report.steps}, {report.retries}, {report.checkpoints}"),
        ("summary", f"memory: {report.summary_key}"),
        ("time", f"{report.duration_s} s"),
    ]
    table(f"{report.key}", ["", ""], rows)
    if report.status == "paused":
        complain("Out of budget: the same command goes on from here.")


def _print_waiting(settings: Settings, home: Path) -> None:
    with opened(settings) as runtime, runtime.database.transaction() as tx:
        waiting = Approvals(tx).select(tenant=settings.tenant, state="pending", limit=1_000)
    replies = [request for request in waiting if request.kind == "effect"]
    holds = [request for request in waiting if request.kind == "hold"]
    table(
        f"{len(replies)} replies and {len(holds)} held texts wait for you (the first of each)",
        ["id", "fingerprint", "what", "ticket", "why"],
        [
            (
                request.approval_id,
                request.shown,
                "hold" if request.kind == "hold" else request.tool,
                request.target,
                ", ".join(request.rules),
            )
            for request in [*replies[:SHOWN], *holds[:SHOWN]]
        ],
    )
    if waiting:
        first = waiting[0] if not replies else replies[0]
        command = f"GATEBOOK_HOME={shlex.quote(str(home))} {'uv run ' if 'UV' in os.environ else ''}gatebook approvals"
        say(f"All of it: {command} list")
        say(f"Read one:  {command} show {first.approval_id}")
        say(f"Decide it: {command} approve {first.approval_id} --fingerprint {first.shown}")


def _add_agent(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--agent",
        choices=["reference", "claude"],
        default="reference",
        help="who drives: the reference agent, or headless Claude Code",
    )
