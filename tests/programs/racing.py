"""Replicas that do the same at the same moment, and what a desk has afterwards."""

import random
from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path

import anyio
import httpx
import pytest

from fakes.stands import Stand, tickets
from gatebook.http import Answer as HttpAnswer
from gatebook.http import HttpClient
from programs.sending import BATCH, asking, in_short_time
from programs.standing import closed
from suite import Agent, Suite

LONGEST_WAIT_S = 2.0
Racer = Callable[[], Coroutine[object, object, object]]


async def same_draft(
    stand: Stand, home: Path, *, races: int, seed: int, database_url: str | None = None
) -> Counter[int]:
    """Have two replicas on one database send the same approved reply; how often replies are there, counted.

    A replica sends from its outbox, or because its agent repeats the call.
    """
    suite, dice, texts = asking(stand, home, database_url=database_url), random.Random(seed), list[str]()
    with in_short_time(suite):
        replicas = [suite.runtime, suite.another_process()]
        desks = [stand.open(suite, replica) for replica in replicas]
        async with AsyncExitStack() as stack:
            agents = [await stack.enter_async_context(suite.agent("tickets", runtime=one)) for one in replicas]
            for first in range(1, races + 1, BATCH):
                numbers = range(first, min(first + BATCH, races + 1))
                texts += [_body(number) for number in numbers]
                for draft_id, approval_id in await approved(stand, suite, agents[0], numbers, texts[first - 1 :]):
                    racers: list[Racer] = [
                        partial(suite.execute, approval_id, runtime=replica)
                        if dice.random() < 0.5
                        else partial(agent.call, "send_reply", draft_id=draft_id, visibility="public")
                        for replica, agent in zip(replicas, agents, strict=True)
                    ]
                    dice.shuffle(racers)
                    await at_once(racers)
        found = await _left(stand, suite)
        for desk in desks:
            await closed(desk)
    suite.close()
    # Some desks add their marker to a text.
    return Counter(sum(text in one for one in found) for text in texts)


async def two_drafts(stand: Stand, directory: Path, *, races: int) -> tuple[Counter[int], Counter[str]]:
    """Have two installations answer the same tickets; how many answers tickets have, and what the approvals became.

    Both have read the ticket when the first of them writes.
    """
    clock = stand.clock()
    suites = [asking(stand, directory / name, clock=clock) for name in ("one", "other")]
    texts, states = list[str](), Counter[str]()
    with in_short_time(suites[0]):
        desks = [stand.open(suite, suite.runtime) for suite in suites]
        async with AsyncExitStack() as stack:
            agents = [await stack.enter_async_context(suite.agent("tickets")) for suite in suites]
            for number in range(1, races + 1):
                racers: list[Racer] = []
                for suite, agent in zip(suites, agents, strict=True):
                    body = f"{_body(number)} {suite.home.name}"
                    [(_, approval_id)] = await approved(stand, suite, agent, [number], [body])
                    racers.append(partial(suite.execute, approval_id))
                with _meeting(len(racers)):
                    await at_once(racers)
        for suite, desk in zip(suites, desks, strict=True):
            texts = await _left(stand, suite)
            states += Counter(request.state for request in suite.requests("all"))
            await closed(desk)
    found = Counter(sum(_body(number) in text for text in texts) for number in range(1, races + 1))
    for suite in suites:
        suite.close()
    return found, states


async def approved(
    stand: Stand, suite: Suite, agent: Agent, numbers: Sequence[int], bodies: Sequence[str]
) -> list[tuple[str, str]]:
    """Approve a reply to each ticket, which are new unless they are there; the ids of the drafts and approvals."""
    made: list[tuple[str, str]] = []
    new = [number for number in numbers if (await agent.call("get_ticket", ref=stand.ref(number))).code == "not_found"]
    stand.put(suite, *tickets(new))
    for number, body in zip(numbers, bodies, strict=True):
        draft_id = (await agent.ok("draft_reply", ref=stand.ref(number), body=body))["draft_id"]
        refused = await agent.call("send_reply", draft_id=draft_id, visibility="public")
        assert refused.code == "approval_required", refused.text
        approval_id = str(refused.error["approval_id"])
        suite.approve(approval_id)
        made.append((str(draft_id), approval_id))
    return made


async def at_once(racers: Sequence[Racer]) -> None:
    """Let all begin at the same moment and wait until they are done."""
    async with anyio.create_task_group() as group:
        for racer in racers:
            group.start_soon(racer)


@contextmanager
def _meeting(count: int) -> Generator[None]:
    """Let no write leave before so many are about to: each was written on the state in which the others found it."""
    send, waiting, met = HttpClient._sent, iter(range(count - 1)), anyio.Event()

    async def sent(self: HttpClient, request: httpx.Request, *, read: bool) -> HttpAnswer:
        if request.method != "GET" and not met.is_set():
            if next(waiting, None) is None:
                met.set()
            # One that is refused before it writes never comes.
            with anyio.move_on_after(LONGEST_WAIT_S):
                await met.wait()
        return await send(self, request, read=read)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HttpClient, "_sent", sent)
        yield


async def _left(stand: Stand, suite: Suite) -> list[str]:
    """Do what is left when every claim may be taken over; what the service has then."""
    for _ in range(3):
        suite.clock.advance(suite.runtime.settings.lease_s + suite.runtime.settings.settle_s + 1)
        await suite.work()
    return stand.texts(suite)


def _body(number: int) -> str:
    return f"Open the menu and choose Rename. It is entry number{number}end."
