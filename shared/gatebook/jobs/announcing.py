"""Telling people, where they are, that something waits for them or expired."""

from gatebook.approvals.announcements import EVENTS, Announcements
from gatebook.database.port import Transaction
from gatebook.outbox import Job, Outbox, Place
from gatebook.runtime import Runtime

NOTIFY_WITHIN_S = 86_400.0
"""How long it is tried to deliver a message."""


def announce(tx: Transaction, *, tenant: str, mode: str) -> None:
    """Enqueue a message for each event that has something new to tell."""
    for event in EVENTS:
        message = Announcements(tx).collect(event, tenant=tenant, mode=mode)
        if message:
            place = Place(tenant=tenant, mode=mode)
            Outbox(tx).add("notify", message, use_by=tx.now + NOTIFY_WITHIN_S, place=place)


async def notify(runtime: Runtime, job: Job) -> None:
    """Deliver a message, unless all that it would ask for was decided meanwhile."""
    # Imported here: a start of a server does not wait for the HTTP client.
    from gatebook.approvals.channels.events import notification  # noqa: PLC0415
    from gatebook.approvals.channels.webhook import Webhook, read_secret  # noqa: PLC0415

    told = await runtime.transact(lambda tx: Announcements(tx).told(job.subject))
    if told is None:
        return
    settings = runtime.settings
    secret = read_secret(settings.notify_secret_file or settings.home / "notify-secret")
    await Webhook(settings.notify_url, secret).deliver(job.subject, notification(told), now=runtime.clock.now())
