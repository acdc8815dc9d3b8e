"""A person's change of a reply: a draft of theirs, in the place of the agent's."""

from collections.abc import Mapping

from gatebook.clock import new_id
from gatebook.database.port import Transaction
from gatebook.errors import InvalidArgumentsError
from gatebook.runtime import Runtime
from gatebook.toolspec import Edit
from gatebook_servers.tickets.desk import Visibility
from gatebook_servers.tickets.drafts import Drafts, StoredDraft
from gatebook_servers.tickets.outgoing import reply_by, reply_judged
from gatebook_servers.tickets.parameters import REPLY_BODY
from gatebook_servers.tickets.ports import Desk, target_of


async def reply_edit(
    runtime: Runtime, desk: Desk, draft_id: str, visibility: Visibility, changes: Mapping[str, str], editor: str
) -> Edit:
    """Turn a person's text into a draft of theirs, on the state of the conversation that the agent's draft answers.

    Raises:
        NotFoundError: If there is no such draft.
        InvalidArgumentsError: If the text does not fit a reply.
        ConflictError: If the customer wrote again or has another address.
    """
    before = await runtime.transact(lambda tx: Drafts(tx).get(draft_id))
    draft = StoredDraft.written(
        draft_id=new_id("drf"),
        ref=before.ref,
        body=_fitting(changes["body"]),
        head=before.head,
        recipient=before.recipient,
        author=editor,
        run_id=before.run_id,
        at=runtime.clock.now(),
    )
    target = target_of(desk, draft.ref)

    def store(tx: Transaction) -> None:
        Drafts(tx).replace(before.draft_id, draft, tenant=runtime.settings.tenant, target=target)

    return Edit(
        arguments={"draft_id": draft.draft_id, "visibility": visibility},
        intent=reply_by(desk, draft, visibility),
        facts=await reply_judged(runtime, desk, draft, visibility, previous=before),
        store=store,
    )


def _fitting(body: str) -> str:
    try:
        return REPLY_BODY.validate_python(body)
    except ValueError:
        raise InvalidArgumentsError(
            "the text does not fit a reply.", next_step="Write at least one word and at most 200."
        ) from None
