"""Prism, which answers a vendor's contract and refuses what does not fit it; for tests that have node and the network.

The contracts are the vendors' and stay outside the project, beside it.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

SHARED = Path(os.environ.get("GATEBOOK_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")).parent
"""Contracts and recordings of vendors, where they are there."""
PACKAGE = "@stoplight/prism-cli@5.16.0"
_INSTALL_S = 240
_READY_S = 60


def shared(name: str) -> Path:
    """Return a file or folder beside the project; without it the test is skipped."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{name} is not here; GATEBOOK_SHARED_DATA names the folder beside its folder")
    return path


@contextmanager
def running_prism(contract: str) -> Generator[str]:
    """Serve a contract of `specs/` until the end of the block and yield its address; without Prism it is skipped."""
    file = shared(f"specs/{contract}")
    npx = _npx()
    port = _free_port()
    command = [npx, "-y", PACKAGE, "mock", "--errors", str(file), "-p", str(port), "-h", "127.0.0.1"]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            _wait(process, url)
            yield url
        finally:
            os.killpg(process.pid, 15)
            process.wait(timeout=10)


def _npx() -> str:
    npx = shutil.which("npx")
    if npx is None:
        pytest.skip("npx is not installed")
    # Fetches the package when it is not there yet.
    fetched = subprocess.run(
        [npx, "-y", PACKAGE, "--version"],
        capture_output=True,
        timeout=_INSTALL_S,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if fetched.returncode:
        pytest.skip("Prism cannot be fetched: no network, or a node too old")
    return npx


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(process: "subprocess.Popen[bytes]", url: str) -> None:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        assert process.poll() is None, "Prism ended by itself"
        try:
            httpx.get(url, trust_env=False)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("Prism does not listen")
