"""Fixtures that every test may use."""

import sys
from collections.abc import Generator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from suite import Suite

pytest_plugins = ["contracts.databases", "consoles"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["auto", "legacy"])
def mode(request: pytest.FixtureRequest) -> str:
    """Both protocol eras."""
    return str(request.param)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is marked `any_database` on every database, the slow one only with the slow tests."""
    if "suite" in metafunc.fixturenames and metafunc.definition.get_closest_marker("any_database"):
        databases = ["sqlite", pytest.param("postgres", marks=pytest.mark.slow)]
        metafunc.parametrize("suite", databases, indirect=True)


@pytest.fixture
def suite(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Suite]:
    overrides: dict[str, object] = {}
    if getattr(request, "param", "sqlite") == "postgres":
        overrides["database_url"] = request.getfixturevalue("postgres_url")
    made = Suite(tmp_path / "home", overrides=overrides)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the developer's own settings."""
    import os  # noqa: PLC0415

    for name in [name for name in os.environ if name.startswith(("GATEBOOK_", "OTEL_"))]:
        if not name.startswith("GATEBOOK_TEST_") and name != "GATEBOOK_SHARED_DATA":
            monkeypatch.delenv(name)
