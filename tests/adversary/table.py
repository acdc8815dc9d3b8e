"""The table of threats: how many cases of each, over which transports, and what is proved elsewhere."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from adversary.by_agents import OTHERS, REUSED, SELF_APPROVAL, SWAPPED, TOOL_CHANGED
from adversary.by_browsers import FORGED
from adversary.by_circumstance import DODGING, FLOOD, POLICY_CHANGED, PRE_APPROVED, STOPPED, TIMEOUT
from adversary.by_hand import LEGITIMATE, LOG_EDITED
from adversary.by_persons import WRONG_PERSON
from adversary.cases import Threat
from adversary.seats import Transport

MOST_IN_A_WORLD = 200


@dataclass(frozen=True)
class Part:
    """Cases of one threat that are tried in one world."""

    threat: Threat
    transport: Transport
    first: int
    count: int

    @property
    def name(self) -> str:
        return f"{self.threat.name}-{self.transport}-{self.first}"


def beside_a_process(threat: Threat, *attempts: str) -> Threat:
    """Return what of a threat can be tried while a real process executes what is approved at any moment."""
    return replace(threat, attempts={name: threat.attempts[name] for name in attempts})


PLAN: Sequence[tuple[Threat, dict[Transport, int]]] = (
    (SELF_APPROVAL, {"memory": 440, "legacy": 220, "http": 220, "sse": 120, "stdio": 140}),
    (SWAPPED, {"memory": 900, "legacy": 400, "http": 300, "sse": 160, "stdio": 140}),
    (REUSED, {"memory": 460, "legacy": 200, "http": 200, "sse": 120, "stdio": 80}),
    (OTHERS, {"memory": 400, "legacy": 100, "http": 120, "sse": 80}),
    (TOOL_CHANGED, {"memory": 400, "http": 100}),
    (TIMEOUT, {"memory": 400, "legacy": 100, "http": 100}),
    (POLICY_CHANGED, {"memory": 500, "http": 100}),
    (PRE_APPROVED, {"memory": 300, "legacy": 200, "http": 100}),
    (DODGING, {"memory": 600}),
    (FLOOD, {"memory": 400, "http": 100}),
    (FORGED, {"memory": 1200}),
    (WRONG_PERSON, {"memory": 600}),
    (STOPPED, {"memory": 160, "http": 40}),
    (LOG_EDITED, {"memory": 200}),
    (LEGITIMATE, {"memory": 480, "legacy": 200, "http": 160, "sse": 100, "stdio": 60}),
)
IN_A_PROCESS: dict[str, tuple[str, ...]] = {
    "self-approval": ("fuzz", "claim a yes", "ask beforehand"),
    "swapped": ("call otherwise", "call otherwise again", "call the same"),
    "reused": ("repeat", "race"),
    "legitimate": ("called",),
}
ELSEWHERE: dict[str, str] = {
    "Crash between consume and send": "tests/crash/test_grants.py",
    "Broker down or slow": "tests/clients/test_claude_code_permissions.py",
    "Lying summary, hidden text, padding, markup": "tests/shared/test_rendering.py",
}
"""Rows of the table of threats that other suites prove."""


def parts() -> Iterator[Part]:
    """Yield the whole plan in parts that can be run side by side."""
    for threat, counts in PLAN:
        for transport, count in counts.items():
            chosen = beside_a_process(threat, *IN_A_PROCESS[threat.name]) if transport == "stdio" else threat
            for first in range(0, count, MOST_IN_A_WORLD):
                yield Part(chosen, transport, first, min(MOST_IN_A_WORLD, count - first))
