"""`gatebook console` as the operator starts and ends it."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from consoles import PASSWORD, Visitor
from gatebook.errors import ConfigurationError
from gatebook_servers.console.security import Address

GATEBOOK = [sys.executable, "-m", "gatebook_servers"]


def run(home: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*GATEBOOK, *arguments],
        env={**os.environ, "GATEBOOK_HOME": str(home)},
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


@pytest.mark.slow
def test_people_are_added_listed_and_disabled_on_the_command_line(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert run(home, "console", "people", "add", "ada", "--role", "admin", stdin=f"{PASSWORD}\n").returncode == 0
    assert run(home, "console", "people", "add", "eve", "--looks-on", stdin=f"{PASSWORD}\n").returncode == 0
    assert run(home, "console", "people", "add", "ada", stdin=f"{PASSWORD}\n").returncode == 1
    assert run(home, "console", "people", "add", "lin", stdin="short\n").returncode == 1
    assert run(home, "console", "people", "disable", "eve").returncode == 0
    assert run(home, "console", "people", "password", "ada", stdin="another invented one\n").returncode == 0
    listed = run(home, "console", "people", "list", "--json").stdout
    assert '"name": "ada", "roles": ["admin"], "disabled": false' in listed
    assert '"name": "eve", "roles": [], "disabled": true' in listed
    assert PASSWORD not in listed


@pytest.mark.slow
def test_the_first_start_prints_the_link_and_a_signal_ends_it_cleanly(tmp_path: Path) -> None:
    environment = {**os.environ, "GATEBOOK_HOME": str(tmp_path / "home")}
    command = [*GATEBOOK, "console", "--port", "0"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stderr is not None
        link = ""
        while not link:
            link = next(iter(re.findall(r"http://\S+/first-run\?token=\S+", process.stderr.readline())), "")
        with httpx.Client(base_url=str(httpx.URL(link).join("/")), timeout=30) as client:
            visitor = Visitor(client)
            answer = visitor.submit(link, "/first-run", name="ada", password=PASSWORD, again=PASSWORD)
            assert answer.status_code == 303
            with client.stream("GET", "/events") as stream:
                assert next(stream.iter_lines()) == "retry: 3000"
                process.send_signal(signal.SIGTERM)
                assert process.wait(30) == 143
        assert "Traceback" not in process.stderr.read()


@pytest.mark.parametrize(
    ("host", "public_url"),
    [
        ("0.0.0.0", ""),  # noqa: S104 - it is refused
        ("0.0.0.0", "http://console.example"),  # noqa: S104 - as above
        ("127.0.0.1", "https://console.example/path"),
        ("127.0.0.1", "https://ada@console.example"),
        ("127.0.0.1", "console.example"),
    ],
)
def test_it_listens_beyond_this_machine_only_under_a_name_that_is_encrypted(host: str, public_url: str) -> None:
    with pytest.raises(ConfigurationError):
        Address(host=host, public_url=public_url)


def test_under_a_public_name_only_that_name_counts_and_the_cookie_is_bound_to_it() -> None:
    address = Address(host="0.0.0.0", public_url="https://console.example")  # noqa: S104 - a proxy is in front
    assert address.admits("console.example")
    assert not address.admits("127.0.0.1:8765")
    assert not address.admits("console.example.elsewhere.example")
    assert address.origin("console.example") == "https://console.example"
    assert address.cookie == "__Host-gatebook"
