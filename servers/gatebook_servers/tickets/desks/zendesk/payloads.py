"""What Zendesk answers, as far as it is used. Unknown fields are ignored: the API grows."""

from datetime import datetime
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from gatebook.errors import UpstreamUnavailableError
from gatebook_servers.tickets.desk import Status

M = TypeVar("M", bound="Payload")


class Payload(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class User(Payload):
    """Somebody in the account. `role` is end-user, agent or admin."""

    id: int
    name: str | None = None
    email: str | None = None
    role: str = ""


class Via(Payload):
    """How something came in."""

    channel: str | int | None = None


class ZendeskTicket(Payload):
    """A ticket. `description` is the text of its first comment; stamps have whole seconds."""

    id: int
    external_id: str | None = None
    subject: str | None = None
    description: str | None = None
    status: Status
    priority: str | None = None
    type: str | None = None
    requester_id: int
    assignee_id: int | None = None
    tags: tuple[str, ...] = ()
    created_at: datetime
    updated_at: datetime
    generated_timestamp: int = 0
    via: Via = Via()


class Attachment(Payload):
    """A file at a comment. Its address may be another company's and is not read."""

    file_name: str | None = None
    content_type: str | None = None
    size: int | None = None


class ZendeskComment(Payload):
    """A message on a ticket."""

    id: int
    author_id: int
    body: str | None = None
    public: bool
    created_at: datetime
    attachments: tuple[Attachment, ...] = ()


class Metadata(Payload):
    """What was given with a change; `custom` is the giver's own."""

    custom: dict[str, JsonValue] | None = None


class AuditEvent(Payload):
    """A part of a change. `public` only where the type is Comment or VoiceComment."""

    id: int
    type: str
    public: bool | None = None


class Audit(Payload):
    """A change of a ticket."""

    id: int
    created_at: datetime
    metadata: Metadata | None = None
    events: tuple[AuditEvent, ...] = ()

    @property
    def custom(self) -> dict[str, JsonValue]:
        """What the author of the change gave along."""
        return (self.metadata and self.metadata.custom) or {}


class Meta(Payload):
    """Where a list with a cursor goes on."""

    has_more: bool = False
    after_cursor: str | None = None


class TicketAnswer(Payload):
    """A ticket, after a change with its audit."""

    ticket: ZendeskTicket
    audit: Audit | None = None
    users: tuple[User, ...] = ()


class TicketsAnswer(Payload):
    """Some tickets."""

    tickets: tuple[ZendeskTicket, ...]
    users: tuple[User, ...] = ()
    meta: Meta = Meta()


class ExportAnswer(Payload):
    """Some tickets of the incremental export."""

    tickets: tuple[ZendeskTicket, ...]
    users: tuple[User, ...] = ()
    after_cursor: str | None = None
    end_of_stream: bool = False


class CommentsAnswer(Payload):
    """Some messages."""

    comments: tuple[ZendeskComment, ...]
    users: tuple[User, ...] = ()
    meta: Meta = Meta()


class AuditsAnswer(Payload):
    """Some changes."""

    audits: tuple[Audit, ...]
    meta: Meta = Meta()


class Indexed(Payload):
    """A ticket as the search index has it, which lags behind."""

    id: int
    created_at: datetime
    updated_at: datetime


class SearchAnswer(Payload):
    """Some tickets that were found."""

    results: tuple[Indexed, ...]
    next_page: str | None = None


class PeopleAnswer(Payload):
    """Some users that were found."""

    results: tuple[User, ...] = Field(default=())


def parsed(kind: type[M], body: JsonValue) -> M:
    """Return an answer in its form.

    Raises:
        UpstreamUnavailableError: If it has another form.
    """
    try:
        return kind.model_validate(body)
    except ValidationError:
        # What does not fit may be a customer's text.
        raise UpstreamUnavailableError(
            "Zendesk's answer has another form than its documentation says.", next_step="Tell the operator."
        ) from None
