"""An agent without a model: it works a list of effects through real MCP clients, and is killed and started again.

A call that gets no answer, or is told to wait, is issued again as a new call to another server, as MCP demands;
meanwhile it goes on with other work. What it does it says on stdout, one JSON object a line. `finish` on stdin lets it
end what it began; it ends at once with whoever holds the other side of its stdin.
"""

import os
import sys
import threading
import time
from collections import Counter, deque
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import anyio

from programs.agent_servers import AGAIN, Json, Order, Servers, say

LONGEST_WAIT_S = 1.5
CHECKPOINT_EVERY = 8
MAX_STEPS = 100_000


class Plan:
    """Which effects are done, which are not, and which have to be tried again. Each is a number from 0 on.

    Args:
        state: What `state` returned to the process before.
        ending: Set when nothing new is to be begun.
    """

    def __init__(self, state: Json | None, ending: threading.Event) -> None:
        self._next = cast("int", state["next"]) if state else 0
        self._open = cast("list[int]", state["open"]) if state else []
        self._todo = deque(self._open)
        self._later: list[tuple[float, int]] = []
        self._ending = ending

    @property
    def begun(self) -> int:
        """How many were begun."""
        return self._next

    @property
    def settled(self) -> bool:
        """Whether nothing is left to do."""
        return not self._open and self._ending.is_set()

    def take(self) -> int | None:
        """Return an effect to work on, None when there is none at this moment."""
        for due, effect in self._later:
            if due <= time.monotonic():
                self._later.remove((due, effect))
                return effect
        if self._todo:
            return self._todo.popleft()
        if self._ending.is_set():
            return None
        self._next += 1
        self._open.append(self._next - 1)
        return self._next - 1

    def put_back(self, effect: int, *, after_s: float) -> None:
        """Try an effect again later."""
        self._later.append((time.monotonic() + after_s, effect))

    def done(self, effect: int) -> None:
        """Strike an effect off."""
        self._open.remove(effect)

    def state(self) -> Json:
        """Return what another process needs to go on."""
        return {"next": self._next, "open": list(self._open)}


class Agent:
    """Works a plan in a run, whose handle and last checkpoint it is given."""

    def __init__(self, servers: Servers, plan: Plan, *, run_id: str, seq: int) -> None:
        self._servers = servers
        self._plan = plan
        self._run_id = run_id
        self._seq = seq
        self._since = 0
        self._attempts = Counter[int]()

    async def work(self, hands: int) -> None:
        """Do everything, `hands` effects at a time."""
        async with anyio.create_task_group() as group:
            for _ in range(hands):
                group.start_soon(self._hand)
        await self._servers.insist("finish_run", {"run_id": self._run_id, "status": "completed"})

    async def _hand(self) -> None:
        while not self._plan.settled:
            effect = self._plan.take()
            if effect is None:
                await anyio.sleep(0.02)
                continue
            wait_s = await self._perform(effect)
            if wait_s is not None:
                self._plan.put_back(effect, after_s=wait_s)
                continue
            self._plan.done(effect)
            await self._checkpoint()

    async def _perform(self, effect: int) -> float | None:
        """Try an effect; the seconds to wait before it is tried again, None when it is done."""
        ref: Json = {"ref": f"remote:T-{effect}"}
        if effect % 2:
            return await self._issue(effect, "update_ticket", {**ref, "version": "v1", "add_tags": ["seen"]})
        draft = await self._servers.insist("draft_reply", {**ref, "body": f"Reply to {effect}", "run_id": self._run_id})
        if draft.code:
            raise RuntimeError(f"draft_reply was refused: {draft.code}")
        return await self._issue(effect, "send_reply", {"draft_id": draft.content["draft_id"], "visibility": "public"})

    async def _issue(self, effect: int, tool: str, arguments: Json) -> float | None:
        self._attempts[effect] += 1
        server = await self._servers.pick(effect + self._attempts[effect])
        say("issued", effect=effect, pid=server.pid)
        answer = await server.call(tool, {**arguments, "run_id": self._run_id})
        if answer is None:
            say("unanswered", effect=effect)
            return 0.0
        if answer.code in AGAIN:
            say("again", effect=effect, code=answer.code)
            return min(answer.wait_s, LONGEST_WAIT_S)
        say("answered", effect=effect, outcome=answer.outcome)
        return None

    async def _checkpoint(self) -> None:
        self._since += 1
        if self._since < CHECKPOINT_EVERY:
            return
        self._since, self._seq = 0, self._seq + 1
        state = self._plan.state()
        await self._servers.insist("checkpoint", {"run_id": self._run_id, "seq": self._seq, "state": state})


def listen(ending: threading.Event) -> None:
    """Hear that nothing new is to be begun, or that nobody is there any more."""
    for _ in sys.stdin:
        ending.set()
    os._exit(1)


async def main(order: Order, ending: threading.Event) -> None:
    servers = Servers(order)
    async with anyio.create_task_group() as group:
        group.start_soon(servers.keep)
        started = await servers.insist("start_run", {"key": order.key, "max_steps": MAX_STEPS})
        resumed = (await servers.insist("resume_run", {"run_id": started.content["run_id"]})).content
        plan = Plan(cast("Json | None", resumed["state"]), ending)
        agent = Agent(servers, plan, run_id=str(resumed["run_id"]), seq=cast("int", resumed["seq"]))
        await agent.work(order.hands)
        say("finished", begun=plan.begun)
        group.cancel_scope.cancel()


if __name__ == "__main__":
    told = threading.Event()
    threading.Thread(target=listen, args=[told], daemon=True).start()
    anyio.run(main, Order.model_validate_json(sys.argv[1]), told)
