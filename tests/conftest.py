"""Fixtures that every test may use."""

import sys
from collections.abc import Generator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from suite import Suite


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["auto", "legacy"])
def mode(request: pytest.FixtureRequest) -> str:
    """Both protocol eras."""
    return str(request.param)


@pytest.fixture
def suite(tmp_path: Path) -> Generator[Suite]:
    made = Suite(tmp_path / "home")
    yield made
    made.runtime.close()


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the developer's own settings."""
    import os  # noqa: PLC0415

    for name in [name for name in os.environ if name.startswith(("GATEBOOK_", "OTEL_"))]:
        if not name.startswith("GATEBOOK_TEST_") and name != "GATEBOOK_SHARED_DATA":
            monkeypatch.delenv(name)
