"""One request as a person at a terminal sees it: what the server knows first, the agent's words last."""

import difflib
import json
from typing import cast

from gatebook.approvals.models import Approval, Decision
from gatebook.clock import moment
from gatebook.deciding import limit_changes
from gatebook.foreign import input_of
from gatebook.rendering import render
from gatebook_servers.commands.output import say

SHORT = 100
"""Characters of a value that is shown beside its name; longer ones get a section of their own."""


def show_request(request: Approval, decisions: list[Decision]) -> None:
    """Print a request whole."""
    say(f"{request.approval_id}  fingerprint {request.shown}  {request.state} {request.state_reason}".rstrip())
    fields = fields_of(request)
    short = [field for field in fields if not _long(field[1])]
    for name, text in [*_lines(request, decisions), *short]:
        say(f"{name + ':':<10} {text}")
    long = [field for field in fields if _long(field[1])]
    for title, text in [*long, *_background(request)]:
        say(f"--- {title}")
        print(render(text).plain())
    texts = [text for _, text in (*fields, *_background(request))]
    for sentence in dict.fromkeys(notice.sentence for text in texts for notice in render(text).notices):
        say(f"--- look twice: {sentence}")
    for decision in decisions:
        say(f"{decision.verdict} by {decision.person} at {time_of(decision.decided_at)} {decision.reason}".rstrip())


def fields_of(request: Approval) -> list[tuple[str, str]]:
    """Return what would leave, or be raised, as named texts."""
    if request.kind == "limit":
        return [(name, f"{change['from']} -> {change['to']}") for name, change in limit_changes(request).items()]
    if request.kind == "foreign":
        return [(label, text) for _, label, text in input_of(request)]
    return [field for name, value in request.content.items() for field in _fields(name, value)]


def progress_of(request: Approval, decisions: list[Decision]) -> str:
    """Return how many of the persons whom it takes said yes."""
    said_yes = sum(decision.verdict == "approve" for decision in decisions)
    return f"{said_yes} of {request.quorum}"


def time_of(seconds: float) -> str:
    """Return a moment as it is printed."""
    return moment(seconds).isoformat(timespec="minutes")


def _lines(request: Approval, decisions: list[Decision]) -> list[tuple[str, str]]:
    facts = request.facts
    lines = [
        ("what", _what(request)),
        ("about", f"{request.target} {facts.subject}".rstrip()),
        ("reaches", ", ".join(facts.recipients)),
        ("mode", request.mode),
        ("risk", request.risk if request.risk != "normal" else ""),
        ("why asked", ", ".join(request.rules)),
        ("judged on", ", ".join(facts.origins)),
        ("asked by", f"{request.principal}{f' in {request.run_id}' if request.run_id else ''}"),
        ("edited by", f"{request.edited_by} (revision {request.revision})" if request.edited_by else ""),
        ("said yes", f"{progress_of(request, decisions)}{_restrictions(request)}"),
        ("editable", ", ".join(request.editable)),
        ("decide by", time_of(request.decide_by)),
    ]
    return [(name, text) for name, text in lines if text]


def _background(request: Approval) -> list[tuple[str, str]]:
    """Return the long texts that go with a request, the agent's own last."""
    facts = request.facts
    texts = [
        (f"what changed since the draft of {facts.previous_from}", _difference(request) if facts.previous else ""),
        (f"the newest message, of {facts.newest_from}", facts.newest),
        ("the agent's words (unverified)", request.reason),
    ]
    return [(title, text) for title, text in texts if text]


def _restrictions(request: Approval) -> str:
    by = f", with role {' or '.join(request.roles)}" if request.roles else ""
    return f"{by}, another person than who edited it" if request.four_eyes and request.edited_by else by


def _difference(request: Approval) -> str:
    body = str(request.content.get("body", ""))
    lines = difflib.unified_diff(request.facts.previous.splitlines(), body.splitlines(), lineterm="", n=1)
    return "\n".join(list(lines)[2:])


def _long(text: str) -> bool:
    return len(text) > SHORT or "\n" in text


def _what(request: Approval) -> str:
    if request.kind == "hold":
        return "release this text for the agent"
    if request.kind == "foreign":
        return f"{request.tool}, a tool that is not Gatebook's"
    return "raise limits of a run" if request.kind == "limit" else f"{request.tool} ({request.operation})"


def _fields(name: str, value: object) -> list[tuple[str, str]]:
    """Return a part of the content as named texts; the passages of a hold are named by where they stand."""
    if name == "passages":
        return [(str(entry["where"]), str(entry["text"])) for entry in cast("list[dict[str, str]]", value)]
    return [(name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))]
