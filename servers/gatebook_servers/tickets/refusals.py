"""What every desk refuses in the same words."""

from gatebook.errors import ConflictError, InvalidArgumentsError, NotFoundError


def unknown_ref() -> NotFoundError:
    """Return the refusal of a ref that names no ticket."""
    return NotFoundError("no ticket has this ref.", next_step="Use a ref from list_tickets or search_tickets.")


def foreign_cursor() -> InvalidArgumentsError:
    """Return the refusal of a position that is none of the desk's."""
    return InvalidArgumentsError(
        "the cursor is not one of ours.", next_step="Pass next_cursor exactly as it came, or none."
    )


def changed_since_read(version: str) -> ConflictError:
    """Return the refusal to change a ticket that has another version by now."""
    return ConflictError(
        "the ticket changed since you read it.",
        next_step="Read it again and decide anew.",
        details={"version": version},
    )


def customer_wrote_again() -> ConflictError:
    """Return the refusal to answer a conversation that has gone on."""
    return ConflictError("the customer wrote again.", next_step="Read the new message and draft anew.")
