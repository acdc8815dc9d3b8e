"""What a checkpoint costs, beside LangGraph's savers, on the same disk and in turn.

    uv run --group benchmarks python benchmarks/checkpoints.py --interleave

Both sides are called as their callers call them (an awaited method of an open store), both wait for the disk. Gatebook
waits for PostgreSQL's answer on the spot, for at most a millisecond; LangGraph lets the event loop turn to others.

Not the same work, and that is the point of the design: Gatebook checks the run's handle, stores one JSON text, compares
its number with the newest and prunes to the last three and every hundredth, on PostgreSQL with every tenth. LangGraph's
savers serialise with msgpack, keep metadata and channel versions, on PostgreSQL in tables of their own, and prune
nothing. Through MCP both are dwarfed by the transport (see guard.py).
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Generator
from contextlib import AsyncExitStack, contextmanager
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from statistics import median

import anyio
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint, CheckpointMetadata, empty_checkpoint
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from pydantic import JsonValue, SecretStr

from filesystem import require_disk
from gatebook.ledger.runs import Runs
from gatebook.runtime import Runtime, open_runtime
from gatebook.settings import Settings
from gatebook_servers.runs import saving
from gatebook_servers.runs.tools import STATE

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from programs.postgres import running_postgres, schema

SIZES = (1_000, 10_000, 50_000)
JUDGED = 10_000
WARM_UP = 20
RATIOS = {"SQLite": 1.3, "PostgreSQL": 1.5}
SERVERS = 5
"""On how many PostgreSQL servers the rounds are measured: where one keeps its files and runs moves its ratio by 0.1."""

MAX_MB = 5.0
KEPT = (1_000, 100_000)
"""How many checkpoints of which size the file is measured with."""

Save = Callable[[int], Awaitable[object]]
Saver = AsyncSqliteSaver | AsyncPostgresSaver
Times = dict[str, list[float]]


def state_of(size: int) -> dict[str, JsonValue]:
    """Return a state as a night shift has it: references and short texts, `size` bytes of JSON."""
    dice = random.Random(size)
    done: list[JsonValue] = []
    state: dict[str, JsonValue] = {"cursor": "2026-11-22", "done": done}
    while len(json.dumps(state)) < size:
        done.append({"ref": f"local:AB-{len(done)}", "category": "Support", "draft": f"{dice.getrandbits(160):x}"})
    return state


def ours(runtime: Runtime, size: int) -> Save:
    """Return what saves a checkpoint in Gatebook's store, as the tool does."""
    state = state_of(size)
    with runtime.database.transaction() as tx:
        run = Runs(tx).create(
            tenant="default",
            principal="agent:a",
            key=f"size-{size}",
            goal="",
            max_steps=10,
            max_tokens=None,
            max_usd=None,
        )

    async def save(number: int) -> object:
        written = STATE.dump_json({**state, "number": number})
        with runtime.call_under_way():
            if not await saving.save(runtime, run.handle, seq=number + WARM_UP + 1, state=written):
                sys.exit("a checkpoint was not saved")
        return None

    return save


def theirs(saver: Saver, size: int) -> Save:
    """Return what saves the same state with a saver of LangGraph."""
    state = state_of(size)
    config: RunnableConfig = {"configurable": {"thread_id": str(uuid.uuid4()), "checkpoint_ns": ""}}

    async def save(number: int) -> object:
        nonlocal config
        checkpoint: Checkpoint = empty_checkpoint()
        checkpoint["channel_values"] = {"state": {**state, "number": number}}
        checkpoint["channel_versions"] = {"state": number + WARM_UP + 1}
        metadata: CheckpointMetadata = {"source": "loop", "step": number}
        config = await saver.aput(config, checkpoint, metadata, {"state": number + WARM_UP + 1})
        return config

    return save


async def interleaved(rounds: int, saves: dict[str, Save]) -> Times:
    """Call each in turn, in changing order; milliseconds by name."""
    times: Times = {name: [] for name in saves}
    names = list(saves)
    for number in range(-WARM_UP, rounds):
        random.shuffle(names)
        for name in names:
            begun = time.perf_counter()
            await saves[name](number)
            if number >= 0:
                times[name].append((time.perf_counter() - begun) * 1000)
    return times


async def compared(runtime: Runtime, saver: Saver, rounds: int) -> dict[int, Times]:
    """Measure one database, by size."""
    await saver.setup()
    return {
        size: await interleaved(rounds, {"ours": ours(runtime, size), "theirs": theirs(saver, size)}) for size in SIZES
    }


def judged(name: str, measured: list[dict[int, Times]]) -> bool:
    """Print the medians over all of a kind's databases; whether the ratio is reached at 10 KB."""
    reached = True
    for size in SIZES:
        mine, other = (median(chain.from_iterable(one[size][side] for one in measured)) for side in ("ours", "theirs"))
        wanted = f", to be at least {RATIOS[name]}" if size == JUDGED else ""
        sides = f"ours {mine:6.2f} ms  LangGraph {other:6.2f} ms"
        print(f"{name:11}{size // 1000:4} KB  {sides}  ratio {other / mine:5.2f}{wanted}")
        reached = reached and (size != JUDGED or other / mine >= RATIOS[name])
    return reached


async def many(runtime: Runtime) -> None:
    """Save many large checkpoints."""
    count, size = KEPT
    save = ours(runtime, size)
    for number in range(count):
        await save(number)
    runtime.close()


def grown(home: Path) -> bool:
    """Look at the file that many large checkpoints leave."""
    count, size = KEPT
    anyio.run(many, open_runtime(Settings(home=home)))
    megabytes = sum(file.stat().st_size for file in home.glob("gatebook.db*")) / 1e6
    print(f"{count} checkpoints of {size // 1000} KB leave {megabytes:.1f} MB (to be at most {MAX_MB})")
    return megabytes <= MAX_MB


async def on_sqlite(directory: Path, rounds: int) -> bool:
    """Measure the embedded databases."""
    runtime = open_runtime(Settings(home=directory / "ours"))
    async with AsyncSqliteSaver.from_conn_string(str(directory / "theirs.db")) as saver:
        measured = await compared(runtime, saver, rounds)
    runtime.close()
    return judged("SQLite", [measured])


async def on_postgres(directory: Path, rounds: int) -> bool:
    """Measure both on PostgreSQL servers whose commits wait for the disk."""
    return judged("PostgreSQL", [await on_one_server(directory, rounds // SERVERS) for _ in range(SERVERS)])


async def on_one_server(directory: Path, rounds: int) -> dict[int, Times]:
    """Measure both on a new server."""
    with running_postgres(durable=True) as server, schema(server.address) as address:
        settings = Settings(home=directory / "postgres", database_url=SecretStr(address))
        runtime = open_runtime(settings)
        async with AsyncExitStack() as stack:
            saver = await stack.enter_async_context(AsyncPostgresSaver.from_conn_string(server.address))
            measured = await compared(runtime, saver, rounds)
        runtime.close()
    return measured


@contextmanager
def scratch(parent: Path) -> Generator[Path]:
    """Make a directory and remove it."""
    directory = Path(tempfile.mkdtemp(prefix="benchmark-", dir=parent))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def main() -> int:
    """Measure and print; 1 when a figure is not reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--interleave", action="store_true", help="call by call in turn, which is the only way there is"
    )
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--database", choices=["sqlite", "postgres", "both"], default="both")
    parser.add_argument("--directory", type=Path, default=Path.cwd(), help="a directory on a disk")
    options = parser.parse_args()
    kind = require_disk(options.directory)
    require_disk(Path(tempfile.gettempdir()))
    names = ("langgraph-checkpoint-sqlite", "langgraph-checkpoint-postgres")
    peers = ", ".join(f"{name} {version(name)}" for name in names)
    print(f"{peers}; {kind}; {os.cpu_count()} cores; p50 of {options.rounds}")
    good = True
    with scratch(options.directory) as directory:
        if options.database != "postgres":
            good = anyio.run(on_sqlite, directory, options.rounds)
            good = grown(directory / "grown") and good
        if options.database != "sqlite":
            good = anyio.run(on_postgres, directory, options.rounds) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
