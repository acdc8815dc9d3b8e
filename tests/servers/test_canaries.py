"""Credentials that sing: whatever a desk answers, none of them is found where it does not belong.

A desk is a `Stage`; another company's desk adds a row to `STAGES`. Every credential begins with "canary" there.
"""

import base64
import re
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.types import CallToolResult
from pydantic import JsonValue, SecretStr

from fakes.github import LOGIN, running_github
from fakes.jira import running_jira
from fakes.listening import listening
from fakes.oauth import FIRST_REFRESH, OAuthService, running_oauth
from fakes.remote_desk import running_service
from fakes.services import Json, RunningService
from fakes.zendesk import running_zendesk
from gatebook.approvals.requests import Approvals
from gatebook.ledger.recordings import Recordings
from gatebook.runtime import open_runtime
from gatebook.settings import Settings
from gatebook.token_store import TokenStore
from programs.processes import environment
from suite import REPLY, ticket

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

CANARY = "canary"
TROUBLED = 2
"""How many of the calls are made while something is wrong."""
POLICY = """
version = 1
always_allow = ["tickets.create_ticket"]
always_review = ["tickets.escalate_ticket"]
"""
FAKES = Path(__file__).parents[1] / "fakes"


@dataclass
class Stage:
    """A desk that is open, with a ticket in it.

    Args:
        name: As GATEBOOK_DESK has it.
        program: The `gatebook` command with this desk.
        desk: The service, whose faults follow.
        ref: The ticket.
        settings: What the desk needs; its credentials are canaries.
        given: What the command reads from a pipe, by its arguments.
        echo: Headers with which the service sends credentials back.
        encoded: A form in which a credential travels that does not begin with "canary".
    """

    name: str
    program: Sequence[str]
    desk: RunningService
    ref: str
    settings: dict[str, str]
    given: dict[tuple[str, ...], str] = field(default_factory=dict[tuple[str, ...], str])
    echo: Json = field(default_factory=dict[str, JsonValue])
    encoded: str = CANARY


@dataclass
class Foreign:
    """A server that has no business here: where it is, and everything that it was sent."""

    url: str
    heard: list[bytes] = field(default_factory=list[bytes])


@contextmanager
def foreign() -> Generator[Foreign]:
    """Run a server that hears everything and answers that it went well."""
    place = Foreign("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            place.heard.append(f"{self.requestline}\n{self.headers}".encode() + body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        do_GET = do_PATCH = do_PUT = do_DELETE = do_POST  # noqa: N815 - the names that http.server calls

    with listening(Handler) as place.url:
        yield place


@contextmanager
def remote() -> Generator[Stage]:
    """The desk of the tests, with tokens that renew."""
    with running_service() as desk, running_oauth() as oauth:
        desk.tickets([ticket("R-1", created_at="2026-09-21T14:00:00Z")])
        oauth.configure(life_s=1.0)
        yield Stage(
            "remote",
            (sys.executable, str(FAKES / "gatebook_with_remote_desk.py")),
            desk,
            "remote:R-1",
            {"GATEBOOK_TEST_DESK_URL": desk.url, "GATEBOOK_TEST_OAUTH_URL": oauth.url},
            {("desk", "connect", "remote"): FIRST_REFRESH},
            {"www-authenticate": 'Bearer realm="canary-access-1"', "x-echo": "canary-access-2"},
        )
        assert_used(oauth)


def assert_used(oauth: OAuthService) -> None:
    assert oauth.granted() > 2, "the tokens were renewed on the way"


@contextmanager
def zendesk() -> Generator[Stage]:
    """A Zendesk account, with an API token."""
    pair = _pair("night@desk.example/token:canary-zendesk_api_token")
    settings = {"ZENDESK_EMAIL": "night@desk.example"}
    with running_zendesk() as desk:
        desk.options(accepts=[f"Basic {pair}"])
        desk.tickets([{**ticket("AB-1", created_at="2026-09-21T14:00:00Z"), "id": 1}])
        yield _vendor("zendesk", desk, "zendesk:1", settings, pair)


@contextmanager
def jira() -> Generator[Stage]:
    """A Jira site, with an API token."""
    pair = _pair("bot@acme.example:canary-jira_api_token")
    with running_jira() as desk:
        desk.control("bearers", {"valid": [f"Basic {pair}"]})
        desk.tickets([ticket("AB-1", created_at="2026-09-21T14:00:00Z")])
        yield _vendor("jira", desk, "jira:AB-1", {"JIRA_EMAIL": "bot@acme.example"}, pair)


@contextmanager
def github() -> Generator[Stage]:
    """A repository, with a token in a file beside the home."""
    with running_github() as desk, TemporaryDirectory() as directory:
        token = Path(directory, "token")
        token.write_text("canary-github-token\n", encoding="ascii")
        desk.set(tokens={"canary-github-token": LOGIN})
        desk.tick()
        desk.tickets([ticket("AB-1", created_at="2026-09-21T14:00:00Z")])
        settings = {"GITHUB_REPOSITORY": "acme/support", "GITHUB_TOKEN_FILE": str(token)}
        yield _vendor("github", desk, "github:1", settings, "canary-github-token")


def _vendor(name: str, desk: RunningService, ref: str, settings: dict[str, str], pair: str) -> Stage:
    return Stage(
        name,
        (sys.executable, "-m", "gatebook_servers"),
        desk,
        ref,
        {f"GATEBOOK_{key}": value for key, value in {f"{name.upper()}_URL": desk.url, **settings}.items()},
        echo={"www-authenticate": f"Basic {pair}", "x-echo": "canary-echoed"},
        encoded=pair,
    )


def _pair(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


STAGES: dict[str, Callable[[], AbstractContextManager[Stage]]] = {
    "github": github,
    "jira": jira,
    "remote": remote,
    "zendesk": zendesk,
}


def canaries() -> dict[str, str]:
    """Every secret that the environment may hold, apart from the database's address."""
    secret = [name for name, found in Settings.model_fields.items() if SecretStr.__name__ in str(found.annotation)]
    return {f"GATEBOOK_{name.upper()}": f"{CANARY}-{name}" for name in secret if name != "database_url"}


def faults(stage: Stage, elsewhere: Foreign) -> list[Json]:
    """What goes wrong, one after the other."""
    away: Json = {"location": f"{elsewhere.url}/away", **stage.echo}
    link: Json = {"link": f'<{elsewhere.url}/next>; rel="next"', **stage.echo}
    every: Json = {"on": "(GET|POST|PATCH|PUT) .*", "times": None}
    statuses = [(401, stage.echo), (403, stage.echo), (500, stage.echo), (302, away), (307, away), (200, link)]
    return [
        *({**every, "kind": "status", "status": status, "headers": headers} for status, headers in statuses),
        *({**every, "kind": kind} for kind in ("half", "garbled", "reset")),
    ]


@dataclass
class Sinks:
    """Everything that came out, by where."""

    texts: dict[str, str] = field(default_factory=dict[str, str])

    def found(self, encoded: str = CANARY) -> list[str]:
        """Where a canary is, with a little of what is around it."""
        sought = rf".{{0,80}}({CANARY}|{re.escape(encoded)}).{{0,40}}"
        around = {name: re.search(sought, text) for name, text in self.texts.items()}
        return [f"{name}: {hit[0]}" for name, hit in around.items() if hit]


@dataclass
class Installation:
    """A home with its command."""

    home: Path
    stage: Stage
    collector: Foreign
    sinks: Sinks

    def environment(self) -> dict[str, str]:
        more = {
            "GATEBOOK_DESK": self.stage.name,
            "GATEBOOK_CEILING": "send",
            "GATEBOOK_LOG_LEVEL": "DEBUG",
            "GATEBOOK_CALL_S": "3",
            **canaries(),
            **self.stage.settings,
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.collector.url,
        }
        return environment(self.home, **more)

    def run(self, *arguments: str, given: str = "") -> None:
        done = subprocess.run(
            [*self.stage.program, *arguments],
            env=self.environment(),
            input=given,
            capture_output=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )
        self.sinks.texts[f"gatebook {' '.join(arguments)}"] = done.stdout + done.stderr

    async def work(self, elsewhere: Foreign) -> None:
        """Call every tool of the desk through every fault."""
        command = StdioServerParameters(
            command=self.stage.program[0],
            args=[*self.stage.program[1:], "serve", "all"],
            env=self.environment(),
        )
        with (self.home.parent / "stderr").open("w", encoding="utf-8") as errors:
            async with Client(stdio_client(command, errlog=errors)) as client:
                started = (await client.call_tool("start_run", {"key": "night"})).structured_content
                assert started is not None

                async def call(tool: str, arguments: dict[str, JsonValue], *, when: str) -> None:
                    result = await client.call_tool(tool, {**arguments, "run_id": started["run_id"]})
                    self.sinks.texts[f"{tool} {when}"] = text_of(result)

                # In between all is well, or else the breaker would keep the later faults from happening.
                for number, fault in enumerate([None, *faults(self.stage, elsewhere)]):
                    if fault is not None:
                        self.stage.desk.faults(fault)
                        for tool, arguments in calls(self.stage.ref, f"in trouble {number}")[:TROUBLED]:
                            await call(tool, arguments, when=f"in trouble {number}")
                        self.stage.desk.faults()
                    for tool, arguments in calls(self.stage.ref, f"behind {number}"):
                        await call(tool, arguments, when=f"behind {number}")
        self.sinks.texts["stderr of the server"] = (self.home.parent / "stderr").read_text(encoding="utf-8")

    def look(self) -> None:
        """Look into everything that is kept, also into what is sealed, apart from the tokens."""
        for file in self.home.rglob("*"):
            if file.is_file():
                self.sinks.texts[f"file {file.relative_to(self.home)}"] = file.read_bytes().decode("latin-1")
        runtime = open_runtime(Settings.model_validate({"home": self.home}))
        with runtime.database.transaction() as tx:
            for row in tx.all("SELECT run_id FROM runs"):
                for number, recorded in enumerate(Recordings(tx, runtime.vault).select(str(row["run_id"]))):
                    self.sinks.texts[f"recorded call {number}"] = repr(recorded)
            for table in ("audit_events", "effects", "outbox", "desk_writes", "approvals"):
                self.sinks.texts[table] = repr([dict(row) for row in tx.all(f"SELECT * FROM {table}")])  # noqa: S608
            held = [TokenStore(tx, runtime.vault).find(str(row["account"])) for row in tx.all(_ACCOUNTS)]
            self.kept = [one.tokens.access for one in held if one is not None]
        runtime.close()

    def first_request(self) -> str:
        runtime = open_runtime(Settings.model_validate({"home": self.home}))
        with runtime.database.transaction() as tx:
            [request, *_] = [one for one in Approvals(tx).select(tenant="default", limit=100) if one.kind == "effect"]
        runtime.close()
        return f"{request.approval_id} --fingerprint {request.shown}"


_ACCOUNTS = "SELECT account FROM desk_tokens"


def calls(ref: str, number: str) -> list[tuple[str, dict[str, JsonValue]]]:
    """Return a night's calls, first those that are also made in trouble."""
    return [
        ("get_ticket", {"ref": ref}),
        ("create_ticket", {"project": "OPS", "title": f"Disk {number} is full"}),
        ("list_tickets", {}),
        ("pull_tickets", {"subscription": number.replace(" ", "-"), "since": "2026-09-21T00:00:00Z"}),
        ("list_comments", {"ref": ref}),
        ("search_tickets", {"text": "board"}),
        ("draft_reply", {"ref": ref, "body": f"{REPLY} {number}"}),
        ("escalate_ticket", {"ref": ref, "reason": "They wait."}),
    ]


def text_of(result: CallToolResult) -> str:
    return result.model_dump_json()


@pytest.mark.parametrize("name", STAGES)
async def test_no_credential_is_anywhere_whatever_the_desk_answers(tmp_path: Path, name: str) -> None:
    sinks = Sinks()
    with STAGES[name]() as stage, foreign() as elsewhere, foreign() as collector:
        installation = Installation(tmp_path / "home", stage, collector, sinks)
        installation.home.mkdir(mode=0o700)
        (installation.home / "policy.toml").write_text(POLICY, encoding="utf-8")
        for arguments, given in stage.given.items():
            installation.run(*arguments, given=given)
        await installation.work(elsewhere)
        installation.run("approvals", "approve", *installation.first_request().split())
        stage.desk.faults({"kind": "status", "status": 401, "on": ".*", "headers": stage.echo, "times": None})
        installation.run("doctor")
        installation.run("attention")
        installation.look()
        sinks.texts["spans and metrics"] = b"\n".join(collector.heard).decode("latin-1")
        assert elsewhere.heard == []
    assert sinks.found(stage.encoded) == []
    assert collector.heard, "something was told"
    troubles = {text for where, text in sinks.texts.items() if "in trouble" in where}
    assert sum('"is_error":true' in text or '"isError":true' in text for text in troubles) >= len(troubles) / 2
    assert any("recorded call" in where for where in sinks.texts)
    assert not stage.given or CANARY in "".join(installation.kept), "there was something to find"


def test_a_canary_would_be_found() -> None:
    assert Sinks({"somewhere": f"a header: Bearer {CANARY}-1"}).found() == ["somewhere: a header: Bearer canary-1"]
