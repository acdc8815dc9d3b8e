"""The file that holds the bearer token of the HTTP transports."""

import stat
import threading
from pathlib import Path

import pytest

from gatebook.transports.auth import TokenFileError, ensure_token


def test_a_token_file_is_created_for_its_owner_alone_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "home" / "token"
    token = ensure_token(path)
    assert len(token) >= 43
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert ensure_token(path) == token
    assert [entry.name for entry in path.parent.iterdir()] == ["token"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o622])
def test_a_token_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "token"
    ensure_token(path)
    path.chmod(mode)
    with pytest.raises(TokenFileError, match="chmod 600"):
        ensure_token(path)


@pytest.mark.parametrize("content", ["", "\n", "two words", "ünïcode", "line\nline"])
def test_a_token_file_without_a_token_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "token"
    path.touch(mode=0o600)
    path.write_text(content, encoding="utf-8")
    with pytest.raises(TokenFileError, match="holds no bearer token"):
        ensure_token(path)


def test_processes_that_start_at_once_get_the_same_token(tmp_path: Path) -> None:
    path = tmp_path / "token"
    tokens: list[str] = []
    ready = threading.Barrier(16)

    def start() -> None:
        ready.wait()
        tokens.append(ensure_token(path))

    threads = [threading.Thread(target=start) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(tokens) == {path.read_text().strip()}
    assert len(tokens) == 16
