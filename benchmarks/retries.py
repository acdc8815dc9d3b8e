"""What the retry layer makes of single faults, of an outage and of lost and late requests.

    uv run python benchmarks/retries.py

The upstream is the tests' ticket service, a process of its own on this machine. Faults are drawn with a seed. Nothing
waits between attempts and no rate limit asks for more than a second, so the figures are counts, not times. In an outage
the time between calls is that of a clock which the benchmark moves: from a burst to a call every five seconds.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import anyio

from gatebook.clock import ManualClock
from gatebook.retry import Operation, without_waiting
from gatebook.upstream import Upstream

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from fakes.lossy import (
    NoBreaker,
    NoLimit,
    Tally,
    Watched,
    installed,
    many_reads,
    one_percent,
    sent_in_bad_weather,
)
from fakes.remote_desk import RemoteService, running_service
from suite import ticket

ATTEMPT_S = 2.0
"""An attempt's limit here, so that a slow answer costs the benchmark less than the real 8 seconds."""
MOST_TERMINAL = 1
MOST_ATTEMPTS = 1.2
PACES_S = (0.0, 0.25, 1.0, 5.0)
BURST_CONTROL = 500
"""Calls of the control run, which really makes four attempts each."""


def shown(tally: Tally) -> str:
    """Return the counts of a run."""
    ratio, failed = tally.attempts / tally.calls, sum(tally.failed.values())
    return f"{tally.calls:>6} calls  {tally.attempts:>6} attempts  {ratio:.3f} x  failed {failed}"


def fresh(service: RemoteService) -> RemoteService:
    """Empty the service but for one ticket."""
    service.reset()
    service.tickets([ticket()])
    return service


async def single_faults(service: RemoteService, calls: int, *, concurrency: int, seed: int) -> bool:
    """Let one request in a hundred fail; True when at most one call does."""
    fresh(service).faults(*one_percent(slow_s=ATTEMPT_S * 1.5), seed=seed)
    begun = time.perf_counter()
    tally = await many_reads(service.url, calls, concurrency=concurrency, upstream=Upstream(breaker=Watched()))
    print(f"1 % faults             {shown(tally)}  {time.perf_counter() - begun:.0f} s")
    return sum(tally.failed.values()) <= MOST_TERMINAL


async def outage(url: str, calls: int, *, name: str, concurrency: int) -> bool:
    """Call an upstream that is down; True when it is asked at most 1.2 times as often as it is called.

    So rarely called that the breaker never sees enough, the bucket alone bounds it: the same and its first ten tokens.
    """
    good = True
    for pace_s in PACES_S:
        clock = ManualClock()
        watched = Upstream(breaker=Watched(now=lambda clock=clock: clock.seconds))
        tally = await many_reads(
            url,
            calls,
            concurrency=concurrency,
            upstream=watched,
            before_each=lambda clock=clock, pace_s=pace_s: clock.advance(pace_s),
        )
        print(f"{name}, every {pace_s:.2f} s {shown(tally)}")
        good = good and tally.attempts <= MOST_ATTEMPTS * calls
    tally = await many_reads(url, BURST_CONTROL, concurrency=concurrency, upstream=Upstream(NoLimit(), NoBreaker()))
    print(f"{name}, unprotected  {shown(tally)}")
    return good and tally.attempts > MOST_ATTEMPTS * tally.calls


async def bad_weather(service: RemoteService, replies: int) -> bool:
    """Send approved replies while most writes fail, are lost or land late; True when each is there exactly once."""
    good = True
    for name, effects in (("classes as they are", None), ("every failure repeated", Operation.READ)):
        with tempfile.TemporaryDirectory() as home:
            async with installed(Path(home) / "home", service, effects=effects) as lossy:
                await sent_in_bad_weather(lossy, replies)
                applied = list(service.applied().values())
                writes = service.requests("POST")
        duplicates = sum(applied) - len(applied)
        lost = replies - len(applied)
        print(f"bad weather, {name:<22} {replies} replies  {writes} writes asked  lost {lost}  duplicates {duplicates}")
        good = good and lost == 0 and (duplicates > 0 if effects else duplicates == 0)
    return good


async def measure(*, calls: int, outage_calls: int, concurrency: int, replies: int, seed: int) -> bool:
    """Run everything; True when every figure is reached and every control shows the opposite."""
    good = True
    with running_service() as service, without_waiting():
        good &= await bad_weather(service, replies)
        fresh(service).faults({"kind": "status", "status": 503, "when": "before", "on": "GET .*", "times": None})
        good &= await outage(service.url, outage_calls, name="always 503 ", concurrency=concurrency)
        service.down()
        good &= await outage(service.url, outage_calls, name="port closed", concurrency=concurrency)
        service.up()
        good &= await single_faults(service, calls, concurrency=concurrency, seed=seed)
    return good


def main() -> int:
    """Measure and print; 1 when a figure is not reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=25_000, help="reads at 1 %% faults")
    parser.add_argument("--outage-calls", type=int, default=2_000, help="reads of each outage")
    parser.add_argument("--concurrency", type=int, default=20)
    parser.add_argument("--replies", type=int, default=20, help="approved replies in bad weather")
    parser.add_argument("--seed", type=int, default=11)
    options = parser.parse_args()
    with patch("gatebook.http.ATTEMPT_S", ATTEMPT_S):
        good = anyio.run(lambda: measure(**vars(options)))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
