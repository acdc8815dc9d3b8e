"""What the guard costs: the same tools on a bare mcp server and behind the guard, call by call in turn, over stdio.

    uv run python benchmarks/guard.py

Each round calls every server once, in an order that changes, so that all of them meet the same moments of the machine.
The guarded server keeps its ledger on a disk, `synchronous=FULL` where a commit has to last. The figures to reach are
what a call of Gatebook takes longer than the same call of a plain server of the SDK; what the guard adds to our own
stdio transport, which is faster than the SDK's, is printed beside them.
"""

import argparse
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import cast

import anyio
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.types import CallToolResult

from filesystem import require_disk
from percentiles import percentile

PROGRAMS = Path(__file__).parent / "programs"
POLICY = 'version = 1\ndefault = "allow"\n'
WARM_UP = 30
LIMITS_MS = {"read p50": 1.0, "effect p50": 2.0, "effect p95": 6.0}

Call = Callable[[int], Awaitable[CallToolResult]]
Times = dict[str, list[float]]


async def measure(home: Path, rounds: int) -> tuple[Times, dict[str, tuple[float, float]]]:
    """Return milliseconds by series, and durable and relaxed commits a call by series."""
    environment = {"GATEBOOK_HOME": str(home), "GATEBOOK_LOG_LEVEL": "ERROR", "GATEBOOK_MAX_STEPS_PER_RUN": "100000"}
    environment["GATEBOOK_MAX_CALLS_PER_DAY"] = "1000000"
    async with AsyncExitStack() as stack:
        servers = {
            name: await stack.enter_async_context(_connected(environment, *command))
            for name, command in {
                "sdk": ("bare_server.py", "sdk"),
                "bare": ("bare_server.py", "ours"),
                "guarded": ("guarded_server.py",),
            }.items()
        }
        started = await servers["guarded"].call_tool("start_run", {"key": "benchmark", "max_steps": 100_000})
        if started.is_error:
            sys.exit(f"start_run: {started.content}")
        run = str(cast("dict[str, object]", started.structured_content)["run_id"])
        series = _series(servers, run)
        times: Times = {name: [] for name in series}
        names = list(series)
        for number in range(-WARM_UP, rounds):
            random.shuffle(names)
            for name in names:
                begun = time.perf_counter()
                result = await series[name](number)
                took = (time.perf_counter() - begun) * 1000
                if result.is_error:
                    sys.exit(f"{name}: {result.content}")
                if number >= 0:
                    times[name].append(took)
        commits = {name: await _commits(servers["guarded"], series[name]) for name in series if "guard" in name}
    return times, commits


def _series(servers: dict[str, Client], run: str) -> dict[str, Call]:
    async def read(server: str, **more: str) -> CallToolResult:
        return await servers[server].call_tool("read_item", {"item": "a", **more})

    async def write(server: str, item: str, **more: str) -> CallToolResult:
        return await servers[server].call_tool("write_item", {"item": item, "text": "x" * 500, **more})

    return {
        "read, bare, SDK's stdio": lambda _: read("sdk"),
        "read, bare": lambda _: read("bare"),
        "read, guarded": lambda _: read("guarded"),
        "read, guarded, in a run": lambda _: read("guarded", run_id=run),
        "effect, bare, SDK's stdio": lambda n: write("sdk", f"i{n}"),
        "effect, bare": lambda n: write("bare", f"i{n}"),
        "effect, guarded": lambda n: write("guarded", f"i{n}"),
        "effect, guarded, in a run": lambda n: write("guarded", f"r{n}", run_id=run),
        "replay, guarded": lambda _: write("guarded", "i0"),
    }


async def _commits(server: Client, call: Call) -> tuple[float, float]:
    calls = 20

    async def counted() -> tuple[int, int]:
        content = cast("dict[str, int]", (await server.call_tool("commits", {})).structured_content)
        return content["durable"], content["relaxed"]

    # Looking costs commits of its own; they are taken off.
    first, second = await counted(), await counted()
    own = (second[0] - first[0], second[1] - first[1])
    for number in range(calls):
        await call(1_000_000 + number)
    after = await counted()
    return (after[0] - second[0] - own[0]) / calls, (after[1] - second[1] - own[1]) / calls


def _connected(environment: dict[str, str], program: str, *arguments: str) -> Client:
    parameters = StdioServerParameters(
        command=sys.executable, args=[str(PROGRAMS / program), *arguments], env={**os.environ, **environment}
    )
    return Client(stdio_client(parameters))


def _report(times: Times, commits: dict[str, tuple[float, float]]) -> bool:
    print(f"{'':28}{'':>16}{'added to the SDK':>18}{'to our stdio':>16}{'commits a call':>18}")
    print(f"{'':28}{'p50 ms':>8}{'p95 ms':>8}{'p50':>9}{'p95':>9}{'p50':>8}{'p95':>8}{'durable':>9}{'relaxed':>9}")
    for name, series in times.items():
        added = [*_added(series, times[_bare(name, "SDK's stdio")]), *_added(series, times[_bare(name)])]
        counted = "".join(f"{count:9.2f}" for count in commits.get(name, ()))
        print(
            f"{name:28}{percentile(series, 0.5):8.2f}{percentile(series, 0.95):8.2f}"
            f"{added[0]:9.2f}{added[1]:9.2f}{added[2]:8.2f}{added[3]:8.2f}{counted}"
        )
    read, _ = _added(times["read, guarded"], times[_bare("read", "SDK's stdio")])
    effect, tail = _added(times["effect, guarded"], times[_bare("effect", "SDK's stdio")])
    reached = {"read p50": read, "effect p50": effect, "effect p95": tail}
    for name, limit in LIMITS_MS.items():
        print(f"added to the SDK's {name}: {reached[name]:.2f} ms (to be at most {limit})")
    return all(reached[name] <= limit for name, limit in LIMITS_MS.items())


def _bare(name: str, transport: str = "") -> str:
    """Return the bare series that does the same work."""
    work = "read" if name.startswith("read") else "effect"
    return ", ".join(part for part in (work, "bare", transport) if part)


def _added(series: list[float], base: list[float]) -> tuple[float, float]:
    """Return what a series takes more than its base: the median of the pairs, and between the 95th percentiles."""
    paired = statistics.median(mine - bare for mine, bare in zip(series, base, strict=True))
    return paired, percentile(series, 0.95) - percentile(base, 0.95)


def main() -> int:
    """Measure and print; 1 when a figure is not reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--directory", type=Path, default=Path.cwd(), help="a directory on a disk")
    options = parser.parse_args()
    file_system = require_disk(options.directory)
    home = Path(tempfile.mkdtemp(prefix="benchmark-", dir=options.directory))
    try:
        (home / "policy.toml").write_text(POLICY, encoding="utf-8")
        times, commits = anyio.run(measure, home, options.rounds)
    finally:
        shutil.rmtree(home)
    print(f"{options.rounds} rounds on {file_system}, SQLite, synchronous=FULL for durable commits, NORMAL for others")
    return 0 if _report(times, commits) else 1


if __name__ == "__main__":
    sys.exit(main())
