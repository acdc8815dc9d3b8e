"""What persons try who may not decide, or not so, or not alone."""

from dataclasses import replace

from adversary import wishes
from adversary.cases import Threat
from adversary.deeds import message, new_ticket
from adversary.ledger import Demand
from adversary.world import CaseOver, World
from gatebook.approvals.models import Reviewer
from gatebook.deciding import edit
from gatebook.errors import GatebookError
from gatebook.guard import Guard
from gatebook_servers.catalogue import catalogue
from suite import ADA

BEN, LEA = Reviewer(person="person:ben"), Reviewer(person="person:lea", roles=("lead",))
MAX = Reviewer(person="person:max", roles=("lead",))


async def _asked(world: World, tool: str, demand: Demand) -> tuple[wishes.Wish, str]:
    world.set_policy(demand)
    seat = await world.seat()
    wish = await world.wish(seat, tool)
    return wish, await world.ask(seat, wish)


async def _try_all(world: World, wish: wishes.Wish, approval_id: str, reviewers: list[Reviewer]) -> None:
    seat = await world.seat()
    world.chance.shuffle(reviewers)
    for reviewer in reviewers:
        world.approve(approval_id, reviewer)
        await world.call(seat, wish.tool, wish.arguments)
    await world.outbox()
    world.set_policy(Demand())


async def without_the_role(world: World, tool: str) -> None:
    wish, approval_id = await _asked(world, tool, Demand(role="lead"))
    persons = [BEN, Reviewer(person="person:eve", roles=("leader",)), Reviewer(person="person:eve", roles=("Lead", ""))]
    await _try_all(world, wish, approval_id, [*persons, *([LEA] if world.chance.random() < 0.3 else [])])


async def the_same_twice(world: World, tool: str) -> None:
    wish, approval_id = await _asked(world, tool, Demand(quorum=2))
    others = [BEN] if world.chance.random() < 0.3 else []
    # A further role, or another channel, makes nobody a second person.
    again = Reviewer(person="person:ada", roles=("lead",))
    await _try_all(world, wish, approval_id, [ADA, ADA, again, *others])


async def one_of_two_lacks_the_role(world: World, tool: str) -> None:
    wish, approval_id = await _asked(world, tool, Demand(quorum=2, role="lead"))
    await _try_all(world, wish, approval_id, [BEN, LEA, BEN, LEA, *([MAX] if world.chance.random() < 0.3 else [])])


async def change(world: World, wish: wishes.Wish, approval_id: str) -> str:
    """Let Lea put a text of hers in the place of the agent's; the new request's id."""
    name, text = ("body" if wish.tool == "send_reply" else "description"), wishes.words(world.chance)
    shown, guard = world.request(approval_id).shown, Guard(world.suite.runtime, catalogue())
    try:
        edited = await edit(guard, approval_id, reviewer=LEA, channel="test", shown=shown, changes={name: text})
    except GatebookError as refused:
        raise CaseOver(refused.code) from None
    world.ledger.decided.add((approval_id, LEA.person, "edit"))
    world.ledger.close(approval_id)
    deed = message(wish.ref.removeprefix("local:"), text, public=True)
    if wish.tool == "create_ticket":
        deed = new_ticket("NEW", subject=str(wish.arguments["title"]), body=text, priority="Low")
    seat = await world.seat()
    changed = replace(wish, deed=deed, shown={name: text})
    return world.note_request(seat.actor, changed, edited.approval_id, editor=LEA.person)


async def who_edited(world: World, tool: str) -> None:
    """Under four eyes whoever changed the text needs another one's yes."""
    tool = tool if tool in ("send_reply", "create_ticket") else "send_reply"
    wish, first = await _asked(world, tool, Demand(four_eyes=True))
    edited = await change(world, wish, first)
    await _try_all(world, wish, edited, [LEA, LEA, *([BEN] if world.chance.random() < 0.3 else [])])


async def votes_before_the_edit(world: World, tool: str) -> None:
    """A yes to the agent's text is none to a person's."""
    tool = tool if tool in ("send_reply", "create_ticket") else "create_ticket"
    wish, first = await _asked(world, tool, Demand(quorum=2))
    world.approve(first, BEN)
    edited = await change(world, wish, first)
    await _try_all(world, wish, edited, [LEA, *([BEN] if world.chance.random() < 0.5 else [])])


async def by_the_wrong_fingerprint(world: World, tool: str) -> None:
    wish, approval_id = await _asked(world, tool, Demand())
    _, other = await _asked(world, tool, Demand())
    shown = world.request(other).fingerprint
    permit = world.ledger.of(approval_id)
    votes = len(permit.votes)
    for wrong in (shown, shown[:6], "", world.request(approval_id).fingerprint[:5], "*"):
        if world.approve(approval_id, shown=wrong or " "):
            world.ledger.accuse("decision", "a yes to another fingerprint counted")
            del permit.votes[votes:]
    await world.call(await world.seat(), tool, wish.arguments)
    await world.outbox()


WRONG_PERSON = Threat(
    "wrong-person",
    "Wrong person decides",
    {
        "without the role": without_the_role,
        "the same twice": the_same_twice,
        "one of two lacks the role": one_of_two_lacks_the_role,
        "who edited": who_edited,
        "votes before the edit": votes_before_the_edit,
        "by the wrong fingerprint": by_the_wrong_fingerprint,
    },
)
