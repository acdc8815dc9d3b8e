"""Replicas over HTTP: two that are listed for the agent, and one that is started already for when one of them dies."""

import json
import re
import subprocess
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from programs.agent_servers import IN_USE
from programs.trials.installation import SERVE, Installation

_ADDRESS = re.compile(r"^tickets: (http://\S+)/tickets/mcp$", re.MULTILINE)


@dataclass(frozen=True)
class Replica:
    """A server process, and where it says its address."""

    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def url(self) -> str:
        """Its address, empty until it listens."""
        found = _ADDRESS.search(self.log.read_text(encoding="utf-8"))
        return found[1] if found else ""

    def end(self) -> None:
        """Kill it, unless it is dead, and forget it."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None
        self.process.stdin.close()


class Replicas:
    """The replicas of one installation. `tend` has to be called all the time."""

    def __init__(self, installation: Installation, directory: Path) -> None:
        self.file = directory / "replicas.json"
        self.file.write_text("[]", encoding="utf-8")
        self._directory = directory
        self._environment = installation.environment
        self._numbers = count(1)
        self._replicas: list[Replica] = []
        self._listed = "[]"

    def tend(self) -> None:
        """Start what is missing and list the first that listen."""
        for replica in self._replicas:
            if replica.process.poll() is not None:
                replica.end()
        self._replicas = [replica for replica in self._replicas if replica.process.returncode is None]
        while len(self._replicas) <= IN_USE:
            self._replicas.append(self._started())
        listening = [{"url": one.url, "pid": one.process.pid} for one in self._replicas if one.url]
        listed = json.dumps(listening[:IN_USE])
        if listed != self._listed:
            new = self.file.with_suffix(".new")
            new.write_text(listed, encoding="utf-8")
            new.replace(self.file)
            self._listed = listed

    def end(self) -> None:
        """Kill them all."""
        for replica in self._replicas:
            replica.end()

    def _started(self) -> Replica:
        log = self._directory / f"replica-{next(self._numbers)}.log"
        with log.open("w", encoding="utf-8") as errors:
            process = subprocess.Popen(
                [*SERVE, "--transport", "http", "--port", "0"],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
        return Replica(process, log)
