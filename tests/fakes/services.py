"""A fake service in a process of its own, as a test steers it."""

import json
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import httpx
from pydantic import JsonValue

Json = dict[str, JsonValue]
PATIENCE_S = 60.0
"""Longest wait for a control, which may put thousands of tickets there."""


@dataclass(frozen=True)
class RunningService:
    """The running service."""

    url: str
    process: "subprocess.Popen[str]"

    def reset(self) -> None:
        """Let it forget everything."""
        self.control("reset")

    def tickets(self, rows: Sequence[Mapping[str, JsonValue]]) -> None:
        """Put tickets there, in the form of an import file's rows."""
        self.control("tickets", {"tickets": [dict(row) for row in rows]})

    def faults(self, *faults: Json, seed: int = 0) -> None:
        """Let these go wrong from now on, and nothing else; see `Fault` in `network.py`."""
        self.control("faults", {"faults": list(faults), "seed": seed})

    def state(self) -> Json:
        """Return what the service really has."""
        return self.control("state")

    def requests(self, method: str) -> int:
        """Return how often anything was asked with an HTTP method, control apart."""
        asked = cast("list[str]", self.state()["requests"])
        return sum(request.startswith(method) for request in asked)

    def land(self) -> int:
        """Apply the requests that are still on their way, and return how many they were."""
        return cast("int", self.control("land")["landed"])

    def down(self) -> None:
        """Refuse every connection from now on; what is there stays."""
        self._tell("down")

    def up(self) -> None:
        """Listen again, on the same port."""
        self._tell("up")

    def control(self, what: str, body: Json | None = None) -> Json:
        """Do what only a test may do."""
        answer = httpx.post(f"{self.url}/control/{what}", json=body or {}, trust_env=False, timeout=PATIENCE_S)
        answer.raise_for_status()
        return cast("Json", json.loads(answer.content))

    def _tell(self, word: str) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline().strip() == word


S = TypeVar("S", bound=RunningService)


@contextmanager
def running(kind: type[S], program: str, *arguments: str) -> Generator[S]:
    """Run a program of this folder in a process of its own until the end of the block."""
    command = [sys.executable, str(Path(__file__).with_name(program)), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        url = process.stdout.readline().removeprefix("listening ").strip()
        try:
            yield kind(url, process)
        finally:
            process.stdin.close()
            process.wait(timeout=10)
