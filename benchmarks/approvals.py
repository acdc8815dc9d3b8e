"""How long people and agents wait for the broker.

`--console` prints how long the inbox takes with 500 pending requests, from a signed-in browser's request to the last
byte of the page, on this machine.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from pydantic import JsonValue

from consoles import running_console
from gatebook.approvals.policy import Outcome, Verdict
from gatebook.approvals.requests import Approvals
from gatebook.intents import Briefing, text_digest
from suite import Suite

CARDS = 500
ROUNDS = 20
WANTED_MS = 300


def main() -> int:
    """Print what was asked for; the exit code is 1 when it takes too long."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--console", action="store_true", help="the inbox with 500 pending requests")
    options = parser.parse_args()
    if not options.console:
        parser.error("say what to measure")
    with tempfile.TemporaryDirectory() as folder:
        took = sorted(inbox_ms(Suite(Path(folder) / "home")))
    median, worst = took[len(took) // 2], took[-1]
    print(f"inbox with {CARDS} pending: median {median:.0f} ms, worst {worst:.0f} ms (wanted: {WANTED_MS})")
    return 0 if median < WANTED_MS else 1


def inbox_ms(suite: Suite) -> list[float]:
    """Return how long the inbox with 500 requests took, round by round."""
    with suite.runtime.database.transaction() as tx:
        for number in range(CARDS):
            ask(Approvals(tx), number)
    took: list[float] = []
    with running_console(suite) as console, console.visitor("ada", "admin") as ada:
        for _ in range(ROUNDS):
            began = time.perf_counter()
            page = ada.get("/").text
            took.append((time.perf_counter() - began) * 1000)
            assert page.count('class="card"') == CARDS
    suite.close()
    return took


def ask(approvals: Approvals, number: int) -> None:
    """Make a pending request of ordinary size."""
    content: dict[str, JsonValue] = {
        "body": f"Hello Robin,\n\nthis is answer {number}. " + "Open the board menu and choose Rename. " * 20,
        "recipients": ["robin@customer.example"],
        "visibility": "public",
    }
    approvals.ask(
        tenant="default",
        principal="agent:local",
        run_id="",
        kind="effect",
        server="tickets",
        tool="send_reply",
        tool_sha256="",
        arguments={},
        effect_key=f"effect {number}",
        target=f"local:AB-{number}",
        operation="reply",
        content=content,
        fingerprint=text_digest(str(number)),
        mode="live",
        verdict=Verdict(outcome=Outcome.REVIEW, rules=("always_review",)),
        reason="",
        decide_within_s=72 * 3600,
        facts=Briefing(subject=f"How do I rename board {number}?"),
    )


if __name__ == "__main__":
    sys.exit(main())
