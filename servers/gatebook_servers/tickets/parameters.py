"""The arguments of the ticket tools: what they mean to the model, and their limits."""

from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field, TypeAdapter

MAX_WORDS = 200


def _at_most_200_words(body: str) -> str:
    if not 1 <= len(body.split()) <= MAX_WORDS:
        raise ValueError(f"a reply has at least one word and at most {MAX_WORDS}")
    return body


Ref = Annotated[str, Field(description="A ticket's ref.", min_length=1, max_length=80)]
Limit = Annotated[int, Field(description="Most items.", ge=1, le=50)]
MessageLimit = Annotated[int, Field(description="Most messages.", ge=1, le=20)]
Cursor = Annotated[str, Field(description="next_cursor of the page before.", max_length=200)]
MessageCursor = Annotated[str, Field(description="next_cursor of the page before.", pattern=r"^\d{0,6}$")]
PreviewChars = Annotated[int, Field(description="Characters of each text.", ge=0, le=1_200)]
Offset = Annotated[int, Field(description="Where to go on in a long text.", ge=0)]
CommentId = Annotated[str, Field(description="Only this message, more of it, from offset on.", max_length=80)]
Since = Annotated[AwareDatetime, Field(description="Created (or without until: changed) at or after.")]
SinceOrAlways = Annotated[AwareDatetime | None, Field(description="Created (or without until: changed) at or after.")]
Until = Annotated[AwareDatetime | None, Field(description="Created before.")]
Words = Annotated[
    str, Field(description="Words that all have to occur; no query language.", min_length=2, max_length=200)
]
Subscription = Annotated[
    str, Field(description="Name of your work, such as the run's key.", min_length=1, max_length=200)
]
ReplyBody = Annotated[
    str,
    Field(description="Plain text, at most 200 words.", min_length=1, max_length=8_000),
    AfterValidator(_at_most_200_words),
]
REPLY_BODY = TypeAdapter[str](ReplyBody)
DraftId = Annotated[str, Field(description="A draft_id of draft_reply.", min_length=1, max_length=40)]
Version = Annotated[str, Field(description="The ticket's version as you read it.", max_length=80)]
Tag = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\s,][^,\n]*$")]
Tags = Annotated[list[Tag], Field(max_length=20)]
Project = Annotated[str, Field(description="Project key.", pattern="^[A-Z][A-Z0-9_]{1,9}$")]
Title = Annotated[str, Field(description="What it is about.", min_length=5, max_length=200)]
Description = Annotated[str, Field(description="Everything a person needs.", max_length=20_000)]
Distinct = Annotated[str, Field(description="Tells two tickets apart that are otherwise the same.", max_length=80)]
Reason = Annotated[str, Field(description="Why a person must see it now.", min_length=5, max_length=2_000)]
