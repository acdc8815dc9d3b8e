"""The fake Jira site, as a test steers it, and the desk on it."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import cast

from pydantic import SecretStr

from fakes.services import Json, RunningService, running
from gatebook.http import Credentials
from gatebook.runtime import Runtime
from gatebook_servers.tickets.desks.jira.adf import text_of
from gatebook_servers.tickets.desks.jira.desk import JiraDesk

CUSTOMER: Json = {"accountId": "u-Robin Reyes", "displayName": "Robin Reyes", "accountType": "customer"}
US: Json = {"accountId": "self", "displayName": "Gatebook", "accountType": "app"}
CLOUD = "/ex/jira/a1b2c3"


@dataclass(frozen=True)
class JiraService(RunningService):
    """The running site."""

    def customer_writes(self, ticket_id: str, text: str) -> None:
        """Add a public message of the customer."""
        self.says(ticket_id, text, CUSTOMER, public=True)

    def says(self, ticket_id: str, text: str, author: Json, *, public: bool) -> None:
        """Add a message of anybody's."""
        self.control("says", {"key": ticket_id, "text": text, "author": author, "public": public})

    def lags(self, *, on: bool = True) -> None:
        """Let the search know nothing new from now on; switched off it knows everything again."""
        self.control("lag", {"on": on})

    def expire_tokens(self, times: int, *, cap: int) -> None:
        """Refuse the next tokens of pages, so often, and let a page have at most `cap` issues."""
        self.control("tokens", {"times": times, "cap": cap})

    def index(self, ticket_id: str) -> None:
        """Let the search know one ticket as it is now, though it lags."""
        self.control("index", {"key": ticket_id})

    def sets(self, ticket_id: str, fields: Json) -> None:
        """Change fields without a trace in time."""
        self.control("fields", {"key": ticket_id, "fields": fields})

    def moves(self, ticket_id: str, to: str) -> None:
        """Move a ticket to another project; its old key still leads to it."""
        self.control("move", {"key": ticket_id, "to": to})

    def removes(self, ticket_id: str) -> None:
        """Delete a ticket."""
        self.control("remove", {"key": ticket_id})

    def takes(self, *tokens: str) -> None:
        """Accept these bearer tokens from now on, and no others."""
        self.control("bearers", {"valid": list(tokens)})

    def log(self) -> list[Json]:
        """Return every request with its query and body."""
        return cast("list[Json]", self.state()["log"])

    def makes(self, *, public: bool | None) -> None:
        """Let messages become as visible as this, whatever is asked."""
        self.control("visibility", {"public": public})

    def issue(self, ticket_id: str) -> Json:
        """Return what the site really has."""
        issues = cast("dict[str, Json]", self.state()["issues"])
        return next(issue for issue in issues.values() if issue["key"] == ticket_id)

    def texts(self, ticket_id: str) -> list[str]:
        """Return what was said on a ticket."""
        return [text_of(said["body"]) for said in cast("list[Json]", self.issue(ticket_id)["comments"])]

    def queries(self) -> list[Json]:
        """Return the searches that were made."""
        return cast("list[Json]", self.state()["queries"])

    def asked(self) -> list[str]:
        """Return every request, as METHOD and path."""
        return cast("list[str]", self.state()["requests"])


def running_jira() -> AbstractContextManager[JiraService]:
    """Run the site in a process of its own."""
    return running(JiraService, "jira_server.py")


def jira_desk(runtime: Runtime, service: JiraService, *, credentials: Credentials | None = None) -> JiraDesk:
    """Open the desk on the fake site, with the account that it knows."""
    runtime.settings = runtime.settings.model_copy(update=settings_of(service))
    return JiraDesk(runtime, credentials=credentials)


def settings_of(service: JiraService) -> dict[str, object]:
    """Return the settings of the desk on the fake site."""
    return {"jira_url": service.url, "jira_email": "bot@acme.example", "jira_api_token": SecretStr("token")}
