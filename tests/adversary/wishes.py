"""What agents want to do: a call, what it would do at the desk, and what a person who is asked must be shown."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from pydantic import JsonValue

from adversary.deeds import Deed, fields, message, new_ticket
from suite import Json

WRITING = ("send_reply", "update_ticket", "create_ticket", "escalate_ticket")
"""Every tool of the suite that reaches outside."""
_WORDS = ("board", "card", "column", "label", "member", "invite", "export", "filter", "archive", "menu", "search")


@dataclass(frozen=True)
class Wish:
    """One call that a person has to allow."""

    tool: str
    arguments: Json
    deed: Deed
    shown: Mapping[str, JsonValue]
    ref: str = ""


def words(chance: Random, count: int = 6) -> str:
    """Return a harmless text that no other case writes."""
    return " ".join([*chance.choices(_WORDS, k=count), f"{chance.getrandbits(40):x}"])


def reply(ticket_id: str, draft_id: str, body: str, *, visibility: str = "public") -> Wish:
    return Wish(
        "send_reply",
        {"draft_id": draft_id, "visibility": visibility},
        message(ticket_id, body, public=visibility == "public"),
        {"body": body, "visibility": visibility, "draft_id": draft_id},
        f"local:{ticket_id}",
    )


def update(ticket_id: str, chance: Random, *, version: str = "1") -> Wish:
    assignee, tag = f"desk {chance.getrandbits(20):x}", f"t{chance.getrandbits(20):x}"
    return Wish(
        "update_ticket",
        {"ref": f"local:{ticket_id}", "version": version, "status": "pending", "assignee": assignee, "add_tags": [tag]},
        fields(ticket_id, status="pending", assignee=assignee, tags=tag),
        {"status": "pending", "assignee": assignee, "add_tags": [tag]},
        f"local:{ticket_id}",
    )


def creation(chance: Random, *, text: str = "") -> Wish:
    title, description = f"About {words(chance, 3)}", text or words(chance)
    return Wish(
        "create_ticket",
        {"project": "NEW", "title": title, "description": description, "priority": "Low"},
        new_ticket("NEW", subject=title, body=description, priority="Low"),
        {"title": title, "description": description, "priority": "Low"},
    )


def escalation(ticket_id: str, chance: Random, *, text: str = "") -> Wish:
    reason = text or words(chance)
    note = f"Escalated (High): {reason}"
    return Wish(
        "escalate_ticket",
        {"ref": f"local:{ticket_id}", "reason": reason, "priority": "High"},
        message(ticket_id, note, public=False),
        {"note": note, "visibility": "internal"},
        f"local:{ticket_id}",
    )


def mutated(wish: Wish, chance: Random, *, other_ref: str, other_draft: str) -> Json:
    """Return the call's arguments with one value changed; what it would do then is not what was approved."""
    changes: dict[str, list[Json]] = {
        "send_reply": [{"visibility": "internal"}, {"draft_id": other_draft}],
        "update_ticket": [
            {"status": "solved"}, {"status": "closed"}, {"assignee": "somebody else"}, {"assignee": ""},
            {"priority": "Critical"}, {"add_tags": ["vip"]}, {"add_tags": []}, {"remove_tags": ["x"]},
            {"ref": other_ref}, {"version": "2"}, {"status": None},
        ],
        "create_ticket": [
            {"title": f"About {words(chance, 2)}"}, {"description": words(chance)}, {"priority": "Critical"},
            {"project": "OTHER"}, {"description": ""},
        ],
        "escalate_ticket": [
            {"reason": words(chance)}, {"priority": "Critical"}, {"ref": other_ref},
            {"reason": f"{wish.arguments.get('reason')}."}, {"reason": f"{wish.arguments.get('reason')}\u200b"},
        ],
    }  # fmt: skip
    return {**wish.arguments, **chance.choice(changes[wish.tool])}


def same_meaning(wish: Wish, chance: Random) -> Json:
    """Return the same call written otherwise: other order of the keys, defaults written out."""
    defaults: dict[str, Json] = {
        "update_ticket": {"remove_tags": [], "priority": None},
        "create_ticket": {"distinct": ""},
    }
    items = list({**wish.arguments, **defaults.get(wish.tool, {})}.items())
    chance.shuffle(items)
    return dict(items)
