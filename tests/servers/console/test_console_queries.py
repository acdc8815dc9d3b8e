"""What the console asks the database, on every database."""

import pytest

from gatebook.errors import NotFoundError, RateLimitedError
from gatebook_servers.console.people import People, hashed
from gatebook_servers.console.pulse import look
from gatebook_servers.console.queries import Cards, batches_of, cursor_of
from gatebook_servers.console.sessions import MOST_BY_NAME, Sessions
from suite import Json, Suite, ticket

pytestmark = [pytest.mark.anyio, pytest.mark.any_database]


async def test_lists_page_search_and_keep_to_their_tenant(suite: Suite) -> None:
    suite.tickets([ticket(f"AB-{number}") for number in (1, 2, 3)])
    async with suite.agent("tickets") as agent:
        for number in (1, 2, 3):
            suite.clock.advance(1)
            draft = await agent.ok("draft_reply", ref=f"local:AB-{number}", body=f"Answer {number}.")
            send: Json = {"draft_id": draft["draft_id"], "visibility": "public"}
            assert (await agent.call("send_reply", send)).code == "approval_required"
    with suite.runtime.database.transaction() as tx:
        cards = Cards(tx, tenant="default")
        first = cards.pending(held=False, limit=2)
        rest = cards.pending(held=False, after=cursor_of(first, by="created_at"))
        assert [card.preview for card in [*first, *rest]] == ["Answer 1.", "Answer 2.", "Answer 3."]
        assert [len(batch) for batch in batches_of([*first, *rest])] == [3]
        latest = cards.history(words="ANSWER", state="")
        assert [card.preview for card in latest] == ["Answer 3.", "Answer 2.", "Answer 1."]
        before = cards.history(words="", state="pending", before=cursor_of(latest[:1], by="changed_at"))
        assert [card.preview for card in before] == ["Answer 2.", "Answer 1."]
        assert cards.newer(cards.get(first[0].approval_id)) is None
        assert cards.of_run("run_none") == []
        assert look(tx, tenant="default").pending == 3
        others = Cards(tx, tenant="another")
        assert others.pending(held=False) == []
        with pytest.raises(NotFoundError):
            others.get(first[0].approval_id)


async def test_people_sessions_and_attempts_are_kept(suite: Suite) -> None:
    password_hash = hashed("an invented password")
    with suite.runtime.database.transaction() as tx:
        ada = People(tx).add_first("ada", password_hash=password_hash)
        People(tx).add("lin", password_hash=password_hash, roles=("reviewer",))
        assert [person.name for person in People(tx).all()] == ["ada", "lin"]
        token = Sessions(tx).begin(ada)
    suite.clock.advance(120)
    with suite.runtime.database.transaction() as tx:
        assert Sessions(tx).person(token) == ada
        taken_back = Sessions(tx).attempt(name="ada", address="127.0.0.1")
        Sessions(tx).succeeded(taken_back)
        for _ in range(MOST_BY_NAME):
            Sessions(tx).attempt(name="ada", address="127.0.0.1")
        with pytest.raises(RateLimitedError):
            Sessions(tx).attempt(name="ada", address="127.0.0.2")
        People(tx).disable("ada")
        assert Sessions(tx).person(token) is None
