"""What a crash trial works on: one database, one desk in a process of its own, and the settings of every process."""

import sys
from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from pydantic import JsonValue

from fakes.remote_desk import RemoteService, running_service
from gatebook.runtime import open_runtime
from gatebook.settings import Settings
from programs.failpoints import DIRECTORY, RECALL, Failpoints
from programs.postgres import Postgres, running_postgres, schema
from programs.processes import environment

Database = Literal["sqlite", "postgres"]
DATABASES: tuple[Database, ...] = ("sqlite", "postgres")

PROGRAMS = Path(__file__).parents[1]
SERVE = (sys.executable, str(PROGRAMS / "failing_gatebook.py"), "serve", "all")
POLICY = """
version = 1
always_allow = ["tickets.send_reply", "tickets.update_ticket"]
"""
SETTINGS = {
    "GATEBOOK_DESK": "remote",
    "GATEBOOK_CEILING": "send",
    "GATEBOOK_LEASE_S": "1",
    "GATEBOOK_SETTLE_S": "0.3",
    "GATEBOOK_MAX_STEPS_PER_RUN": "100000",
    "GATEBOOK_MAX_CALLS_PER_DAY": "1000000",
}


@dataclass(frozen=True)
class Installation:
    """A database, the desk, and the settings of every process that works on them."""

    home: Path
    service: RemoteService
    failpoints: Failpoints
    environment: dict[str, str]
    postgres: Postgres | None

    def plan(self, effects: range) -> None:
        """Put a ticket there for each effect."""
        row: dict[str, JsonValue] = {
            "subject": "How do I rename a board?",
            "body": "I cannot find where a board is renamed.",
            "created_at": "2026-11-21T20:00:00Z",
            "requester": {"name": "Robin Reyes", "email": "robin@customer.example"},
        }
        self.service.tickets([{**row, "id": f"T-{effect}"} for effect in effects])

    def done(self) -> list[int]:
        """Return how often each effect happened, as the desk has them."""
        state = self.service.state()
        comments = cast("Mapping[str, list[JsonValue]]", state["comments"])
        tickets = cast("Mapping[str, Mapping[str, list[str]]]", state["tickets"])
        found = [
            int("seen" in tickets[f"T-{effect}"]["tags"]) if effect % 2 else len(comments[f"T-{effect}"])
            for effect in range(len(tickets))
        ]
        applied = cast("Mapping[str, int]", state["applied"])
        assert sum(applied.values()) == sum(found), "the desk applied something that is on no planned ticket"
        return found

    def swallowed(self) -> int:
        """Return how many repetitions the desk's fence kept from being applied; none without a fence."""
        return self.service.swallowed()

    def unsettled(self) -> int:
        """Return how many effects the suite does not know the end of."""
        url = self.environment["GATEBOOK_DATABASE_URL"]
        settings = Settings.model_validate({"home": self.home, "database_url": url})
        with closing(open_runtime(settings)) as runtime, runtime.database.transaction() as tx:
            row = tx.one("SELECT COUNT(*) AS n FROM effects WHERE state <> 'done'")
        assert row is not None
        return int(row["n"] or 0)


@contextmanager
def installed(directory: Path, database: Database, *, fenced: bool, recall: bool = True) -> Generator[Installation]:
    """Start a desk, and a PostgreSQL server if need be, and end them behind the block.

    Args:
        directory: For files; it need not exist.
        database: Which.
        fenced: Whether the desk knows a marker again.
        recall: False lets the suite forget every effect at once: the control.
    """
    home, failpoints = directory / "home", directory / "failpoints"
    for made in (home, failpoints):
        made.mkdir(parents=True)
    (home / "policy.toml").write_text(POLICY, encoding="utf-8")
    with (
        running_service(fenced=fenced) as service,
        running_postgres() if database == "postgres" else nullcontext() as postgres,
        schema(postgres.address) if postgres else nullcontext("") as address,
    ):
        settings = {
            **SETTINGS,
            "GATEBOOK_TEST_DESK_URL": service.url,
            "GATEBOOK_TEST_DESK_FENCED": "1" if fenced else "0",
            "GATEBOOK_DATABASE_URL": address,
            DIRECTORY: str(failpoints),
            RECALL: "on" if recall else "off",
        }
        yield Installation(home, service, Failpoints(failpoints), environment(home, **settings), postgres)
