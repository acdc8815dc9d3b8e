"""A person's own text in the place of the agent's."""

from starlette.responses import Response

from gatebook.approvals.models import Approval
from gatebook.deciding import edit
from gatebook.errors import ConflictError, ForbiddenError, GatebookError
from gatebook_servers.console.drawing import notices_of
from gatebook_servers.console.pages.requests import stale
from gatebook_servers.console.showing import parts_of, title_of
from gatebook_servers.console.visit import CHANNEL, Visit, status_of


async def edit_page(visit: Visit) -> Response:
    """The form with the texts that may be changed."""
    return await _page(visit, await _request(visit))


async def edit_request(visit: Visit) -> Response:
    """Replace the request by one with the person's text; nobody has approved that yet."""
    request = await _request(visit)
    editable = [part.name for part in parts_of(request) if part.editable]
    written = {name: visit.form.text(name) for name in editable if name in visit.form.fields}
    try:
        edited = await edit(
            visit.console.guard,
            request.approval_id,
            reviewer=visit.person.reviewer,
            channel=CHANNEL,
            shown=visit.form.text("shown"),
            changes=written,
        )
    except ConflictError as conflict:
        return await stale(visit, conflict)
    except GatebookError as refusal:
        return await _page(visit, request, written=written, refusal=refusal)
    return visit.to(f"/requests/{edited.approval_id}", done="edited")


async def _request(visit: Visit) -> Approval:
    request = await visit.transact(visit.request_of)
    if request.state == "pending" and not request.editable:
        raise ForbiddenError("nothing of this may be changed.", next_step="Approve it or deny it as it is.")
    return request


async def _page(
    visit: Visit,
    request: Approval,
    *,
    written: dict[str, str] | None = None,
    refusal: GatebookError | None = None,
) -> Response:
    parts = [part for part in parts_of(request) if part.editable]
    return await visit.page(
        "edit.html",
        status=status_of(refusal) if refusal else 200,
        refusal=refusal,
        request=request,
        title=title_of(request),
        parts=parts,
        notices=notices_of([part.text for part in parts]),
        written=written or {},
    )
