"""The databases under the contract, each empty for every test.

PostgreSQL is the one of GATEBOOK_TEST_POSTGRES_URL or else a server that starts with the first test that wants it, on a
socket in a directory of its own, and ends with the tests, even when they are killed.
"""

import os
import shutil
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import pytest
from pydantic import SecretStr

from gatebook.clock import Clock, ManualClock
from gatebook.database.port import Database
from gatebook.database.postgres import PostgresDatabase
from gatebook.database.sqlite import SqliteDatabase
from programs.postgres import UnavailableError, running_postgres, schema


@dataclass(frozen=True)
class Place:
    """Where an empty database is; several connections may be opened to it."""

    name: str
    home: Path
    url: str = ""

    def open(self, clock: Clock | None = None) -> Database:
        """Open it once more, as another process would."""
        if self.url:
            return PostgresDatabase(SecretStr(self.url), clock)
        return SqliteDatabase(self.home / "gatebook.db", clock)


@pytest.fixture(scope="session")
def postgres_server() -> Generator[str]:
    """The address of a server in which schemas can be made."""
    given = os.environ.get("GATEBOOK_TEST_POSTGRES_URL")
    if given:
        yield given
        return
    try:
        with running_postgres() as server:
            yield server.address
    except UnavailableError as reason:
        pytest.skip(f"{reason}; GATEBOOK_TEST_POSTGRES_URL can name a server")


@pytest.fixture
def postgres_url(postgres_server: str) -> Generator[str]:
    """The address of an empty database."""
    with schema(postgres_server) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty database of every kind."""
    url = str(request.getfixturevalue("postgres_url")) if request.param == "postgres" else ""
    return Place(str(request.param), tmp_path, url)


@pytest.fixture
def database(place: Place) -> Generator[Database]:
    """An empty database of every kind, open, with a clock that stands still."""
    with closing(place.open(ManualClock())) as database:
        yield database


@contextmanager
def another(place: Place) -> Generator[Place]:
    """An empty database of the same kind, for tests that need many."""
    home = Path(mkdtemp())
    try:
        if not place.url:
            yield Place(place.name, home)
            return
        with schema(place.url) as url:
            yield Place(place.name, home, url)
    finally:
        shutil.rmtree(home)
