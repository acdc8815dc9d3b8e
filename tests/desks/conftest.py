"""The desk that is under trial."""

from collections.abc import Generator

import pytest

from fakes.stands import STANDS, Stand


@pytest.fixture(params=STANDS)
def stand(request: pytest.FixtureRequest) -> Generator[Stand]:
    """Every desk, with nothing in it."""
    with STANDS[str(request.param)]() as standing:
        yield standing
