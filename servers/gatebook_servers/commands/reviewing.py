"""`gatebook approvals edit`, `settle` and `watch`: beyond yes and no."""

import argparse
import sys
from functools import partial
from pathlib import Path
from time import sleep

import anyio

from gatebook.approvals.models import Approval
from gatebook.approvals.requests import Approvals
from gatebook.deciding import edit
from gatebook.guard import Guard
from gatebook.intents import MARK
from gatebook.runtime import Runtime
from gatebook.settling import settle, settle_unasked
from gatebook_servers.catalogue import catalogue
from gatebook_servers.commands.context import Commands, opened, reviewer
from gatebook_servers.commands.files import text_from
from gatebook_servers.commands.output import emit, say
from gatebook_servers.commands.showing import show_request, time_of

CHANNEL = "command line"
LOOK_S = 1.0
MOST_WATCHED = 1_000


def add(actions: Commands) -> None:
    """Declare the commands."""
    edition = actions.add_parser("edit", help="change a text; the changed request then waits for a yes")
    edition.add_argument("id")
    edition.add_argument("--field", default="body", help="the field of the content, `show` names those")
    edition.add_argument("--file", required=True, help="the new text in UTF-8, - for standard input")
    edition.set_defaults(run=edit_command)
    settlement = actions.add_parser("settle", help="say what became of an effect in doubt, after looking")
    settlement.add_argument("id", help="the request, or the marker where nobody had to approve it")
    outcome = settlement.add_mutually_exclusive_group(required=True)
    outcome.add_argument("--happened", action="store_true", help="it was done; it is never repeated")
    outcome.add_argument("--did-not", action="store_true", help="it was not done; while the approval lasts it is tried")
    settlement.add_argument("--note", required=True, help="how you know, for the record")
    settlement.set_defaults(run=settle_command)
    watch = actions.add_parser("watch", help="print new requests as they come, until you end it")
    watch.add_argument("--json", action="store_true", help="one object a line")
    watch.set_defaults(run=watch_command)


def edit_command(options: argparse.Namespace) -> int:
    """Put a changed text in the place of what the agent wrote."""
    text = text_from(sys.stdin if options.file == "-" else Path(options.file)).strip("\n")
    with opened() as runtime:
        with runtime.database.transaction() as tx:
            shown = Approvals(tx).get(options.id).shown
        edited = anyio.run(_edit, runtime, options.id, shown, {options.field: text})
    show_request(edited, [])
    say(f"decide: gatebook approvals approve {edited.approval_id} --fingerprint {edited.shown}")
    return 0


def settle_command(options: argparse.Namespace) -> int:
    """Record what a person found out about an effect in doubt."""
    with opened() as runtime, runtime.database.transaction() as tx:
        if options.id.startswith(MARK):
            found = partial(settle_unasked, tx, runtime.settings, options.id)
        else:
            found = partial(settle, tx, options.id)
        after = found(reviewer=reviewer(), channel=CHANNEL, happened=options.happened, note=options.note)
    say(f"settled: {after.state}")
    return 0


def watch_command(options: argparse.Namespace) -> int:
    """Print each pending request once."""
    seen: set[str] = set()
    with opened() as runtime:
        try:
            while True:
                for request in _new(runtime, seen):
                    _announce(request, as_json=options.json)
                sleep(LOOK_S)
        except KeyboardInterrupt:
            return 0


def _new(runtime: Runtime, seen: set[str]) -> list[Approval]:
    with runtime.database.transaction(durable=False) as tx:
        found = Approvals(tx).select(tenant=runtime.settings.tenant, state="pending", limit=MOST_WATCHED)
    new = [request for request in found if request.approval_id not in seen]
    seen.clear()
    seen.update(request.approval_id for request in found)
    return new


def _announce(request: Approval, *, as_json: bool) -> None:
    if as_json:
        emit(request.model_dump(mode="json"))
    else:
        what = request.tool if request.kind == "effect" else request.kind
        about = f"{request.target} {request.facts.subject}".rstrip()
        say(f"{time_of(request.created_at)} {request.approval_id} {request.shown} {what} {about}")
    sys.stdout.flush()


async def _edit(runtime: Runtime, approval_id: str, shown: str, changes: dict[str, str]) -> Approval:
    guard = Guard(runtime, catalogue())
    return await edit(guard, approval_id, reviewer=reviewer(), channel=CHANNEL, shown=shown, changes=changes)
