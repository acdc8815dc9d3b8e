"""`gatebook approvals audit`: the log of what was asked, decided and used."""

import argparse
import json
from datetime import datetime
from pathlib import Path

from gatebook.approvals.audit import Audit
from gatebook.approvals.signing import Notes, PublicKey
from gatebook.approvals.verifying import Verdict, verify
from gatebook.clock import moment
from gatebook.errors import ConfigurationError
from gatebook.runtime import Runtime
from gatebook_servers.commands.context import Commands, opened
from gatebook_servers.commands.output import complain, emit, say, table

FAULTY = 1
"""Exit code of `verify` when the log is not what it was."""


def add(commands: Commands) -> None:
    """Declare the commands, below `gatebook approvals`."""
    audit = commands.add_parser("audit", help="the log of what was asked, decided and used").add_subparsers(
        required=True, metavar="ACTION"
    )
    verify = audit.add_parser("verify", help="whether it is what it was; exit code 1 when not")
    verify.add_argument("--checkpoints", type=Path, metavar="FILE", help="default GATEBOOK_AUDIT_CHECKPOINT_FILE")
    verify.add_argument("--public-key", metavar="HEX", help="the key to believe; default the one in the home")
    verify.add_argument("--json", action="store_true")
    verify.set_defaults(run=verify_command)
    show = audit.add_parser("show", help="the events, oldest first")
    show.add_argument("--since", type=_time, default=0.0, metavar="TIME", help="ISO 8601, such as 2026-11-21T18:00:00Z")
    show.add_argument("--json", action="store_true", help="one JSON object a line")
    show.set_defaults(run=show_command)
    audit.add_parser("key", help="the public key of the checkpoints").set_defaults(run=key_command)


def verify_command(options: argparse.Namespace) -> int:
    """Walk the whole log and compare it with the checkpoints."""
    with opened() as runtime:
        notes = _notes(runtime, options.checkpoints, options.public_key)
        verdict = verify(runtime.database, notes.checkpoints)
    if notes.damaged is not None and verdict.bad_seq is None:
        # What is good up to the last checkpoint that can be believed is not proven behind it.
        proven = max((checkpoint.size for checkpoint in notes.checkpoints), default=0)
        fault = f"line {notes.damaged} of the checkpoints is damaged, or signed with another key"
        verdict = verdict.model_copy(update={"bad_seq": proven + 1, "fault": fault})
    if options.json:
        emit({**verdict.model_dump(mode="json"), "torn_checkpoints": notes.torn})
    else:
        _tell(verdict, torn=notes.torn)
    return 0 if verdict.bad_seq is None else FAULTY


def show_command(options: argparse.Namespace) -> int:
    """Print the events."""
    with opened() as runtime:
        after = 0
        while True:
            with runtime.database.transaction(durable=False) as tx:
                events = Audit(tx).events(after=after, since=options.since)
            if not events:
                return 0
            if options.json:
                for event in events:
                    print(json.dumps({**event.model_dump(mode="json"), "body": json.loads(event.body)}))
            else:
                rows = [
                    (str(e.seq), moment(e.at).isoformat(timespec="seconds"), e.event, e.subject, e.actor, e.body)
                    for e in events
                ]
                table(f"events {events[0].seq} to {events[-1].seq}", ["seq", "at", "event", "of", "by", "body"], rows)
            after = events[-1].seq


def key_command(options: argparse.Namespace) -> int:
    """Print the public key, to be kept where the checkpoints are checked."""
    del options
    with opened() as runtime:
        public = runtime.audit_key.public
    say(public.raw.hex())
    say(f"for other programs that read signed notes: {public.verifier}")
    return 0


def _notes(runtime: Runtime, named: Path | None, key: str | None) -> Notes:
    if named is not None and not named.exists():
        raise ConfigurationError("there is no such file of checkpoints.", next_step="Name another one.")
    public = PublicKey.from_hex(key) if key else runtime.audit_key.public
    return public.read_file(named or runtime.settings.checkpoint_path)


def _tell(verdict: Verdict, *, torn: int) -> None:
    for restore in verdict.restores:
        say(
            f"event {restore.seq}: {restore.person} put the database back from a copy at "
            f"{moment(restore.at).isoformat(timespec='seconds')}; the log went on from {restore.events} events, "
            f"of {restore.signed} that were signed"
        )
    if torn:
        say(f"{torn} checkpoints were not written to their end, as by a crash; they prove nothing")
    if verdict.bad_seq is not None:
        complain(f"the audit log is not what it was, from event {verdict.bad_seq} on: {verdict.fault}")
        return
    say(f"{verdict.events} events are what they were, by {verdict.checkpoints} signed checkpoints")
    if not verdict.checkpoints:
        say("without a checkpoint a log that was cut at its end or rewritten as a whole looks the same")


def _time(text: str) -> float:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("not a time of ISO 8601") from None
    if at.tzinfo is None:
        raise argparse.ArgumentTypeError("a time needs its zone, such as Z")
    return at.timestamp()
