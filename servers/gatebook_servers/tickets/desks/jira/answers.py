"""What Jira answers, as far as it is used (https://developer.atlassian.com/cloud/jira/platform/rest/v3/intro/)."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

MARKER = "gatebook.marker"
"""Key of the property that carries a marker: of a comment, or of an issue that we created."""


def _empty_unless_there(value: object) -> object:
    return "" if value is None else value


Text = Annotated[str, BeforeValidator(_empty_unless_there)]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class User(_Answer):
    """Somebody. `account_type` is atlassian (licensed), customer (of the portal) or app."""

    account_id: Text = Field(default="", alias="accountId")
    account_type: Text = Field(default="", alias="accountType")
    name: Text = Field(default="", alias="displayName")
    email: Text = Field(default="", alias="emailAddress")
    time_zone: Text = Field(default="", alias="timeZone")


class Named(_Answer):
    """A priority or type."""

    name: Text = ""


class Category(_Answer):
    """What kind of status it is: new, indeterminate or done."""

    key: Text = ""


class StatusAnswer(_Answer):
    """A status of a workflow."""

    id: Text = ""
    name: Text = ""
    category: Category = Field(default=Category(), alias="statusCategory")


class Project(_Answer):
    """A project. `kind` is service_desk where customers have a portal."""

    key: Text = ""
    kind: Text = Field(default="", alias="projectTypeKey")


class Attachment(_Answer):
    """A file on an issue."""

    filename: Text = ""
    mime: Text = Field(default="", alias="mimeType")
    size: int = 0


class Fields(_Answer):
    """The fields of an issue that are asked for; see `ISSUE_FIELDS`."""

    summary: Text = ""
    description: JsonValue = None
    status: StatusAnswer = StatusAnswer()
    priority: Named | None = None
    issuetype: Named | None = None
    assignee: User | None = None
    reporter: User | None = None
    labels: tuple[str, ...] = ()
    attachment: tuple[Attachment, ...] = ()
    project: Project = Project()
    created: AwareDatetime
    updated: AwareDatetime


ISSUE_FIELDS = tuple(field.alias or name for name, field in Fields.model_fields.items())


class Issue(_Answer):
    """An issue."""

    id: str = Field(pattern=r"^\d{1,18}$")
    key: str
    fields: Fields
    properties: dict[str, JsonValue] = Field(default_factory=dict)

    @property
    def number(self) -> int:
        """The id that never changes, also when the issue moves to another project."""
        return int(self.id)


class Found(_Answer):
    """A page of a search."""

    issues: tuple[Issue, ...] = ()
    token: str | None = Field(default=None, alias="nextPageToken")


class Created(_Answer):
    """A new issue."""

    id: str = Field(pattern=r"^\d{1,18}$")
    key: str


class Property(_Answer):
    """A property of a comment."""

    key: Text = ""
    value: JsonValue = None


class Restriction(_Answer):
    """To which role or group a comment is restricted."""

    type: Text = ""


class JiraComment(_Answer):
    """A comment. `public` is whether customers of the portal see it."""

    id: str
    author: User | None = None
    body: JsonValue = None
    created: AwareDatetime
    updated: AwareDatetime | None = None
    public: bool = Field(default=True, alias="jsdPublic")
    restriction: Restriction | None = Field(default=None, alias="visibility")
    properties: tuple[Property, ...] = ()

    @property
    def marker(self) -> str:
        """The marker that it carries, empty without one."""
        return next((marker_in(found.value) for found in self.properties if found.key == MARKER), "")


class Comments(_Answer):
    """A page of an issue's comments."""

    comments: tuple[JiraComment, ...] = ()
    total: int = 0


class Moment(_Answer):
    """A time of the service desk API."""

    milliseconds: int = Field(alias="epochMillis")


class Note(_Answer):
    """A comment of the service desk API."""

    id: str
    body: Text = ""
    public: bool | None = None
    created: Moment


class Transition(_Answer):
    """A way from a status to another."""

    id: str
    to: StatusAnswer
    available: bool = Field(default=True, alias="isAvailable")


class Transitions(_Answer):
    """The ways from an issue's status."""

    transitions: tuple[Transition, ...] = ()


class EntityProperty(_Answer):
    """A property of an issue."""

    key: Text = ""
    value: JsonValue = None


def marker_in(value: JsonValue) -> str:
    """Return the marker in a property's value, empty without one."""
    marker = value.get("marker") if isinstance(value, dict) else None
    return marker if isinstance(marker, str) else ""


def stamp(moment: datetime) -> str:
    """Return a time of Jira's, which has milliseconds, in one spelling whatever the zone it came in."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
