import pytest
from suite import *
pytestmark = pytest.mark.anyio
async def test_x(suite, mode):
    suite.tickets([ticket()])
    async with suite.agent("tickets", "runs", mode=mode) as agent:
        print(await agent.call("draft_reply", ref="local:AB-1", body="hello", evil="CANARY"))
        print(await agent.call("draft_reply", ref="local:AB-1", body="hello", CANARYNAME="x"))
        print(await agent.call("draft_reply", ref=["CANARY"], body="hello"))
        print(await agent.call("nope", ref=["CANARY"], body="hello"))
        print(await agent.call("draft_reply", ref="local:AB-1", body="hello"))
        print(await agent.call("start_run", key="k"))
    assert 0
