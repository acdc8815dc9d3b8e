"""The scripted agent as its driver sees it: what it does, told by itself, line by line."""

import subprocess
import sys
from collections import Counter
from pathlib import Path
from threading import Lock, Thread

from pydantic import BaseModel, ConfigDict

from programs.agent_servers import Order, Said
from programs.trials.installation import PROGRAMS


class Event(BaseModel):
    """A line of the agent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    event: Said
    effect: int = 0
    pid: int = 0
    begun: int = 0
    code: str = ""
    outcome: str = ""


class AgentProcess:
    """A running agent.

    Attributes:
        connected: The servers it is connected to, the first two of them in use.
        lost: How many effects were in flight at a server when its connection ended.
        in_flight: At which server each effect is that has no answer yet.
        begun: How many effects were begun, as far as this agent told.
        answers: How often an effect ended as it did.
        delays: How often an effect had to be tried again, by the code of the refusal.
    """

    def __init__(self, order: Order, log: Path) -> None:
        self.connected: list[int] = []
        self.lost: dict[int, int] = {}
        self.in_flight: dict[int, int] = {}
        self.begun = 0
        self.finished = False
        self.answers = Counter[str]()
        self.delays = Counter[str]()
        self._open = set[int]()
        self._log = log
        self._lock = Lock()
        with log.open("a", encoding="utf-8") as errors:
            self._process = subprocess.Popen(
                [sys.executable, str(PROGRAMS / "scripted_agent.py"), order.model_dump_json()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                encoding="utf-8",
                start_new_session=True,
            )
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def require_alive(self) -> None:
        """Fail with what the agent said last when it ended by itself."""
        code = self._process.poll()
        if code is not None and not self.finished:
            raise AssertionError(f"the agent ended with {code}:\n{self._log.read_text(encoding='utf-8')[-4_000:]}")

    def at(self, pid: int) -> set[int]:
        """Return the effects that are in flight at a server."""
        with self._lock:
            return {effect for effect, server in self.in_flight.items() if server == pid}

    def unanswered(self) -> set[int]:
        """Return the effects that were begun and have no answer that is one, in flight or to be tried again."""
        with self._lock:
            return set(self._open)

    def answered(self, effects: int) -> bool:
        """Whether the first effects, as many as this, were begun and answered."""
        return self.begun >= effects and min(self.unanswered(), default=effects) >= effects

    def finish(self) -> None:
        """Let it end what it began."""
        assert self._process.stdin is not None
        self._process.stdin.write("finish\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """Kill it and hear its last words. Servers that it started end as soon as they are done."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()

    def wait(self) -> None:
        """Wait for its end, once it finished."""
        self._process.wait(timeout=30)
        self.kill()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._lock:
                self._hear(Event.model_validate_json(line))

    def _hear(self, said: Event) -> None:
        match said.event:
            case "connected":
                self.connected.append(said.pid)
            case "lost":
                self.connected.remove(said.pid)
                self.lost[said.pid] = sum(server == said.pid for server in self.in_flight.values())
            case "issued":
                self.in_flight[said.effect] = said.pid
                self._open.add(said.effect)
                self.begun = max(self.begun, said.effect + 1)
            case "answered" | "again" | "unanswered":
                del self.in_flight[said.effect]
                if said.event == "answered":
                    self._open.remove(said.effect)
                self.answers.update([said.outcome] if said.outcome else [])
                self.delays.update([said.code] if said.code else [])
            case "finished":
                self.begun, self.finished = said.begun, True
